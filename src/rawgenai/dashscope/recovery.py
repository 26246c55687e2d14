"""Settle what nobody knows, and deliver what was paid: submissions without an answer, downloads that were cut.

A submission is settled by asking the API, never by posting again (design section 5; faults, sections 2.2 and 4): by the
request's id, else by model, time, length and prompt among the account's tasks that no row of the ledger owns.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from rawgenai import config, files
from rawgenai.config import Settings
from rawgenai.dashscope import origin, tasks, waiting, wire
from rawgenai.dashscope.models import MODELS
from rawgenai.dashscope.recording import Means, Progress, Warn, recorded, silent
from rawgenai.dashscope.submitting import REMEMBERED
from rawgenai.dashscope.wire import TERMINAL, Listed, Task
from rawgenai.errors import RawgenaiError
from rawgenai.ledger import UNSETTLED
from rawgenai.message import Send

if TYPE_CHECKING:
    from rawgenai.ledger import Ledger, Row

SETTLE = 180.0  # seconds that a task must stay absent from the list before it counts as never created
EARLIER = 5.0  # seconds before its POST that a task may seem to be created: clocks differ
POSTING = 200.0  # seconds after its row that a POST may at the latest leave: its attempts, and what each may take
REACH = REMEMBERED - 120  # seconds; of an older submission the list may show no more, so that nothing proves it absent
# When an absent task is looked for again, in parts of SETTLE since the first time (faults 2.2).
SCHEDULE = (2 / 180, 8 / 180, 20 / 180, 60 / 180, 90 / 180)
GONE = ("refused", "lost")  # states of rows that no clip will come of
PASSING = ("server_error", "timeout", "connection_error", "rate_limit")


class Settled(NamedTuple):
    """What became of one submission that nobody knew the outcome of."""

    row: "Row"
    end: str  # adopted, absent, lost, or why it is not settled: busy, elsewhere, ambiguous, undecided
    task_id: str | None = None  # of the task that it turned out to be

    @property
    def is_settled(self) -> bool:
        """Whether it is known now."""
        return self.end in ("adopted", "absent", "lost")


def settle_all(
    rows: Sequence["Row"], means: Means, *, absent: float = SETTLE, timeout: float = waiting.TIMEOUT
) -> list[Settled]:
    """Find out what became of submissions, and write it into the ledger.

    Asks the API's list until each is found, or was absent for ``absent`` seconds, or ``timeout`` seconds are over.
    Others of the ledger that asked for the same are settled with them. No task is given to two rows, and none that
    another program may have created. To be called with the ledger's lock (``settling``). Raises RawgenaiError where
    the list cannot be read at all.
    """
    done, open_rows = _sorted_out(rows, means)
    search = _Search(open_rows, means, absent)
    end = means.clock() + timeout
    while search.rows:
        done += search.look()
        if not search.rows:
            break
        pause = search.pause()
        if means.clock() + pause > end:
            done += [Settled(row, "undecided") for row in search.rows]
            break
        means.sleep(pause)
    return done


def _sorted_out(rows: Iterable["Row"], means: Means) -> tuple[list[Settled], list["Row"]]:
    """Tell the rows that can be looked for from those that cannot."""
    done, left = list[Settled](), list["Row"]()
    for row in rows:
        if _is_in_flight(row, means.book):
            done.append(Settled(row, "busy"))
        elif means.now() - row.created_at > REMEMBERED:
            done.append(_lost(row, means.book))
        elif row.base_url != means.settings.base_url:
            done.append(Settled(row, "elsewhere"))
        else:
            left.append(row)
    return done, left


def _is_in_flight(row: "Row", book: "Ledger") -> bool:
    """Tell whether a row's POST may still be on its way."""
    return row.state == "intended" and book.is_claimed(row)


def _lost(row: "Row", book: "Ledger") -> Settled:
    book.lose(row.id, row.code or "task_not_found")
    return Settled(row, "lost")


class _Search:
    """Looks for the tasks of rows, again and again, and remembers what it has learnt."""

    def __init__(self, rows: list["Row"], means: Means, settle: float) -> None:
        self.rows = rows  # what is still looked for
        self._ids = {row.id for row in rows}  # what ever was
        self._means = means
        self._settle = settle
        self._account = config.fingerprint(means.settings)
        self._look_at = waiting.looking(means.send, lambda _: None, now=means.now)
        self._ended: dict[str, Task] = {}  # candidates that are at their end
        self._begun: dict[int, float] = {}  # row -> when it was first looked for
        self._absent: dict[int, float] = {}  # row -> when it was first seen to be absent
        self._looks = 0

    def pause(self) -> float:
        """How long to wait before the next look: by the schedule, but no longer than until a row is settled."""
        step = SCHEDULE[min(self._looks, len(SCHEDULE)) - 1] * self._settle
        pauses = [min(max(step, 1.0), waiting.LONGEST) if self._settle else 0.5]
        now = self._means.now()
        pauses += [max(0.1, self._due(row) - now) for row in self.rows if row.id in self._absent]
        return min(pauses)

    def _due(self, row: "Row") -> float:
        """When a row that stays absent counts as never created: two clean looks apart, the last one late enough."""
        return max(self._sent(row) + self._settle, self._absent[row.id] + self._settle / 3)

    def _sent(self, row: "Row") -> float:
        """When a row's POST left at the latest: nobody knows how long its process lived, unless it wrote that down."""
        return row.updated_at if row.state == "unknown" else min(self._begun[row.id], row.created_at + POSTING)

    def look(self) -> list[Settled]:
        """Ask the API once, and settle what its answer settles."""
        means, self._looks = self._means, self._looks + 1
        for row in self.rows:
            self._begun.setdefault(row.id, means.now())
        since = min(row.created_at for row in self.rows) - 60
        try:
            listed, skew = tasks.remote(
                since, settings=means.settings, send=means.send, now=means.now, sleep=means.sleep
            )
        except RawgenaiError as error:
            if error.code not in PASSING:
                raise
            self._absent.clear()  # no clean look
            return []
        known = means.book.rows(since=since - REMEMBERED)  # read after the list: whoever made a task of it is here
        owned = {row.task_id for row in known}
        free = sorted((task for task in listed if task.task_id not in owned), key=lambda task: task.created_at)
        busy = self._join(known)
        found = self._by_request_id(free)
        for asked, group in groupby(sorted(self._left(found), key=_asked), key=_asked):
            equal = sorted(group, key=lambda row: row.created_at)
            if asked in busy:  # a process that asks for the same will own one of these tasks in a moment
                self._wait(equal)
                continue
            for cluster in self._clusters(equal):
                taken = {each.task_id for each in found}
                near = [task for task in free if task.task_id not in taken]
                found += self._by_prompt(cluster, near, skew)
        self.rows = self._left(found)
        return found

    def _left(self, found: Iterable[Settled]) -> list["Row"]:
        gone = {each.row.id for each in found}
        return [row for row in self.rows if row.id not in gone]

    def _join(self, known: Iterable["Row"]) -> set["Asked"]:
        """Look also for others that asked for the same and lost their process; what those in flight ask for."""
        means, asked = self._means, {_asked(row) for row in self.rows}
        rivals = [
            row
            for row in known
            if row.state in UNSETTLED
            and row.id not in self._ids
            and row.base_url == means.settings.base_url
            and means.now() - row.created_at <= REMEMBERED
            and _asked(row) in asked
        ]
        busy = {row.id for row in rivals if _is_in_flight(row, means.book)}
        joining = [row for row in rivals if row.id not in busy]
        self.rows += joining
        self._ids |= {row.id for row in joining}
        self._begun |= {row.id: means.now() for row in joining}
        return {_asked(row) for row in rivals if row.id in busy}

    def _by_request_id(self, free: Iterable[Listed]) -> list[Settled]:
        named = {task.request_id: task for task in free if task.request_id}
        return [self._adopt(row, named[row.request_id]) for row in self.rows if row.request_id in named]

    def _span(self, row: "Row") -> tuple[float, float]:
        """The moments, by our clock, between which a row's task was created."""
        return row.created_at - EARLIER, self._sent(row) + max(self._settle, SETTLE)

    def _clusters(self, rows: Iterable["Row"]) -> Iterator[list["Row"]]:
        """Split rows, oldest first, into those that compete for the same tasks: their spans touch."""
        cluster, end = list["Row"](), 0.0
        for row in rows:
            start, until = self._span(row)
            if cluster and start > end:
                yield cluster
                cluster = []
            cluster.append(row)
            end = max(end, until)
        yield cluster

    def _by_prompt(self, rows: list["Row"], free: Iterable[Listed], skew: float) -> list[Settled]:
        """Settle rows that asked for the same: each may be any of the tasks that were made for just that."""

        def fits(row: "Row", task: Listed) -> bool:
            start, end = self._span(row)
            return start <= task.created_at - skew <= end

        near = [task for task in free if task.model == rows[0].model and any(fits(row, task) for row in rows)]
        states = {task.task_id: self._resembles(task, rows[0]) for task in near}
        if None in states.values():
            self._wait(rows)
            return []
        pairs = dict[int, Listed]()
        # The latest task belongs to the latest row before it, and so on; a row of our own account comes first.
        for task in sorted((task for task in near if states[task.task_id]), key=lambda task: -task.created_at):
            fitting = [row for row in rows if row.id not in pairs and fits(row, task)]
            if not fitting:
                return [Settled(row, "ambiguous") for row in rows]
            pairs[max(fitting, key=lambda row: (row.account == self._account, row.created_at)).id] = task
        found = [self._adopt(row, pairs[row.id]) for row in rows if row.id in pairs]
        return found + self._absentees(row for row in rows if row.id not in pairs)

    def _wait(self, rows: Iterable["Row"]) -> None:
        for row in rows:
            self._absent.pop(row.id, None)

    def _resembles(self, task: Listed, row: "Row") -> bool | None:
        """Tell whether a task was made for what a row asked for; None: that cannot be told before it has ended.

        Only a succeeded task repeats its prompt. One that failed or was canceled made nothing and is not paid, so it
        does not matter whose it was. No error is an answer: a new task may be UNKNOWN for a while.
        """
        if task.task_id not in self._ended:
            found = self._look_at(task.task_id).found
            if not isinstance(found, Task) or found.status not in TERMINAL:
                return None
            self._ended[task.task_id] = found
        ended = self._ended[task.task_id]
        if ended.status != "succeeded":
            return False
        same_length = None in (ended.duration, row.duration) or abs(ended.duration - row.duration) < 1  # type: ignore[operator]  # neither is None
        return same_length and _is_prompt(ended.orig_prompt, row)

    def _adopt(self, row: "Row", task: Listed) -> Settled:
        self._means.book.accept(row.id, task.task_id, task.request_id)
        ended = self._ended.get(task.task_id)
        if ended is not None:
            self._means.book.update(task.task_id, status=ended.status, answer=wire.to_json(ended))
        return Settled(row, "adopted", task.task_id)

    def _absentees(self, rows: Iterable["Row"]) -> list[Settled]:
        """Settle the rows whose task was absent for long enough: it was never created, and nothing was paid."""
        found, now = [], self._means.now()
        for row in rows:
            if row.account != self._account:  # another key may belong to another account, which has another list
                found.append(Settled(row, "elsewhere"))
                continue
            if now - row.created_at > REACH:
                found.append(_lost(row, self._means.book))
                continue
            again = row.id in self._absent
            self._absent.setdefault(row.id, now)
            if again and now >= self._due(row):
                self._means.book.refuse(row.id, row.code or "connection_error")
                found.append(Settled(row, "absent"))
        return found


Asked = tuple[str, str, float]


def _asked(row: "Row") -> Asked:
    """What a row asked for, as far as a task can show it."""
    return row.model, (row.prompt or "").strip()[: _limit(row)], row.duration or 0.0


def _limit(row: "Row") -> int | None:
    model = MODELS.get(row.model)
    return (model.cjk_limit or model.prompt_limit) if model else None


def _is_prompt(said: str | None, row: "Row") -> bool:
    """Tell whether a prompt is a row's. The API cuts long ones in silence, maybe inside an emoji (it counts twice)."""
    said, asked, limit = (said or "").strip(), (row.prompt or "").strip(), _limit(row)
    if limit is None or len(asked.encode("utf-16-le")) // 2 <= limit:
        return said == asked
    return len(said) >= limit // 2 and asked.startswith(said.removesuffix("?"))


# --- recover -----------------------------------------------------------------------------------------------------


class Recovery(NamedTuple):
    """What ``recover`` did: each list in the order in which it did it."""

    settled: list[Settled]
    delivered: list["Row"]  # clips that are on disk now; ``file`` says where
    waiting: list["Row"]  # tasks that have not ended yet
    failed: list[tuple["Row", RawgenaiError]]  # clips that could not be fetched
    elsewhere: list["Row"]  # clips that were not tried: their tasks belong to another base URL


def recover(
    *,
    settle: float = SETTLE,
    timeout: float = waiting.TIMEOUT,
    settings: Settings | None = None,
    send: Send | None = None,
    ledger: "Ledger | None" = None,
    warn: Warn = silent,
    progress: Progress = silent,
    say: Callable[[str], None] = silent,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Recovery:
    """Settle every submission whose outcome is unknown, and finish every download that was promised and cut.

    A task that stays absent from the API's list for ``settle`` seconds was never created. ``say`` is told what is
    done. Raises RawgenaiError where the API cannot be asked; what could not be settled or fetched is in the result.
    """
    settings = settings or config.load()
    send = send or tasks.sender(settings)
    end = clock() + timeout
    with recorded(ledger, create=False) as book, book.settling(timeout):
        means = Means(
            settings=settings, send=send, book=book, warn=warn, progress=progress, now=now, sleep=sleep, clock=clock
        )
        settled = settle_all(book.unsettled(), means, absent=settle, timeout=max(0.0, end - clock()))
        for each in settled:
            say(sentence(each))
        recovery = Recovery(settled, [], [], [], [])
        for row in book.undelivered(now() - REMEMBERED):
            if book.is_claimed(row):
                continue
            if row.base_url == settings.base_url:
                _deliver(row, means, recovery, say)
            else:
                recovery.elsewhere.append(row)
    for url, count in Counter(row.base_url for row in recovery.elsewhere).items():
        are = "clip was" if count == 1 else "clips were"
        say(f"{count} {are} not fetched, from {url}: recover with {origin.how_to_ask(url, settings)}")
    return recovery


def _deliver(row: "Row", means: Means, recovery: Recovery, say: Callable[[str], None]) -> None:
    """Bring a clip to where it was promised to go, if it is there to be had."""
    task_id, target = row.task_id or "", _target(row, means.book)
    try:
        file = tasks.download(
            task_id,
            make_place(target),
            settings=means.settings,
            send=means.send,
            ledger=means.book,
            warn=means.warn,
            progress=means.progress,
            sleep=means.sleep,
            clock=means.clock,
        )
    except RawgenaiError as error:
        if error.code == "video_not_ready":
            recovery.waiting.append(row)
            say(f"{error.message}; wait for it: rawgenai dashscope video wait {task_id} -o {target}")
        else:
            recovery.failed.append((row, error))
            say(f"task {task_id}: {error.message}")
    else:
        recovery.delivered.append(row._replace(file=file))
        say(f"task {task_id}: its clip is in {file}")


def place(row: "Row") -> str:
    """Where a row's clip was promised to go: a file; in a folder it is named after the task."""
    output = row.output or ""
    return os.path.join(output, f"{row.task_id}.mp4") if output.endswith(os.sep) else output


def _target(row: "Row", book: "Ledger") -> str:
    """Where a row's clip goes: beside its place, named after the task, where a later clip is there or will be."""
    target = place(row)
    later = (other for other in book.rows(since=row.created_at) if other.id > row.id)
    alive = (other for other in later if other.state not in GONE and other.status not in ("failed", "canceled"))
    taken = any(target in (other.file, place(other)) for other in alive)
    return os.path.join(os.path.dirname(target), f"{row.task_id}.mp4") if taken else target


def make_place(file: str) -> str:
    """Make the folder of a clip that goes to a place of our choice. Raises RawgenaiError output_write_error."""
    try:
        os.makedirs(os.path.dirname(file), exist_ok=True)
    except OSError as error:
        reason = f"{os.path.dirname(file)!r} cannot be made: {files.reason(error)}"
        raise RawgenaiError("output_write_error", reason) from error
    return file


_ENDS = {  # what is said of a submission, after what was asked for
    "adopted": "was accepted: it is task {task_id}",
    "absent": "was not accepted, or failed: nothing was paid",
    "lost": "is over 24 hours old: the API has forgotten whether it was accepted",
    "busy": "is being sent by another process just now",
    "elsewhere": "was sent with another base URL or key: recover it with these",
    "ambiguous": "may be one of several tasks that asked for the same: look into the console's task list",
    "undecided": "is not settled yet: run recover again later",
}


def sentence(settled: Settled) -> str:
    """Say to a person what became of a submission."""
    asked = f"{settled.row.model}, {prompt[:40]!r}" if (prompt := settled.row.prompt) else settled.row.model
    return f"submission {settled.row.id} ({asked}) {_ENDS[settled.end].format(task_id=settled.task_id)}"
