"""Settle what nobody knows, and deliver what was paid: submissions without an answer, downloads that were cut.

A submission is settled by asking the API, never by posting again (design section 5; faults, sections 2.2 and 4): by the
request's id, else by model, time, length and prompt among the account's tasks that no row of the ledger owns.
"""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from rawgenai import config, files
from rawgenai.config import Settings
from rawgenai.dashscope import tasks, waiting, wire
from rawgenai.dashscope.models import MODELS
from rawgenai.dashscope.recording import Means, Progress, Warn, recorded, silent
from rawgenai.dashscope.submitting import REMEMBERED
from rawgenai.dashscope.wire import TERMINAL, Listed, Task
from rawgenai.errors import RawgenaiError
from rawgenai.message import Send

if TYPE_CHECKING:
    from rawgenai.ledger import Ledger, Row

SETTLE = 180.0  # seconds that a task must stay absent from the list before it counts as never created
EARLIER = 5.0  # seconds before its POST that a task may seem to be created: clocks differ
# When an absent task is looked for again, in parts of SETTLE since the first time (faults 2.2).
SCHEDULE = (2 / 180, 8 / 180, 20 / 180, 60 / 180, 90 / 180)
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

    Asks the API's list until each is found, or was absent for ``absent`` seconds, or ``timeout`` seconds are over. No
    task is given to two rows, and none that another program may have created. To be called with the ledger's lock
    (``settling``). Raises RawgenaiError where the list cannot be read at all.
    """
    done, open_rows = _sorted_out(rows, means)
    search = _Search(means, absent)
    end = means.clock() + timeout
    while open_rows:
        found = search.look(open_rows)
        done += found
        gone = {each.row.id for each in found}
        open_rows = [row for row in open_rows if row.id not in gone]
        if not open_rows:
            break
        pause = search.pause(open_rows)
        if means.clock() + pause > end:
            done += [Settled(row, "undecided") for row in open_rows]
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
            means.book.lose(row.id, row.code or "task_not_found")
            done.append(Settled(row, "lost"))
        elif row.base_url != means.settings.base_url:
            done.append(Settled(row, "elsewhere"))
        else:
            left.append(row)
    return done, left


def _is_in_flight(row: "Row", book: "Ledger") -> bool:
    """Tell whether a row's POST may still be on its way."""
    return row.state == "intended" and book.is_claimed(row)


class _Search:
    """Looks for the tasks of rows, again and again, and remembers what it has learnt."""

    def __init__(self, means: Means, settle: float) -> None:
        self._means = means
        self._settle = settle
        self._account = config.fingerprint(means.settings)
        self._ended: dict[str, Task | None] = {}  # candidates that are at their end; None: there is none
        self._absent: dict[int, float] = {}  # row -> when it was first seen to be absent
        self._looks = 0

    def pause(self, rows: Sequence["Row"]) -> float:
        """How long to wait before the next look: by the schedule, but no longer than until a row is settled."""
        step = SCHEDULE[min(self._looks, len(SCHEDULE)) - 1] * self._settle
        pauses = [min(max(step, 1.0), waiting.LONGEST) if self._settle else 0.5]
        now = self._means.now()
        pauses += [max(0.1, self._due(row) - now) for row in rows if row.id in self._absent]
        return min(pauses)

    def _due(self, row: "Row") -> float:
        """When a row that stays absent counts as never created: two clean looks apart, the last one late enough."""
        return max(row.created_at + self._settle, self._absent[row.id] + self._settle / 3)

    def look(self, rows: Sequence["Row"]) -> list[Settled]:
        """Ask the API once, and settle what its answer settles."""
        means, self._looks = self._means, self._looks + 1
        since = min(row.created_at for row in rows) - 60
        try:
            listed, skew = tasks.remote(
                since, settings=means.settings, send=means.send, now=means.now, sleep=means.sleep
            )
        except RawgenaiError as error:
            if error.code not in PASSING:
                raise
            self._absent.clear()  # no clean look
            return []
        known = means.book.rows(since=since - REMEMBERED)
        owned = {row.task_id for row in known}
        free = sorted((task for task in listed if task.task_id not in owned), key=lambda task: task.created_at)
        mine = {row.id for row in rows}
        others = {_asked(row) for row in known if row.id not in mine and _is_in_flight(row, means.book)}
        found = self._by_request_id(rows, free)
        taken, gone = {each.task_id for each in found}, {each.row.id for each in found}
        free = [task for task in free if task.task_id not in taken]
        left = sorted((row for row in rows if row.id not in gone), key=_asked)
        for asked, group in groupby(left, key=_asked):
            equal = sorted(group, key=lambda row: row.created_at)
            if asked in others:  # a process that asks for the same will own one of these tasks in a moment
                self._wait(equal)
            else:
                found += self._by_prompt(equal, free, skew)
        return found

    def _by_request_id(self, rows: Iterable["Row"], free: Iterable[Listed]) -> list[Settled]:
        named = {task.request_id: task for task in free if task.request_id}
        return [self._adopt(row, named[row.request_id]) for row in rows if row.request_id in named]

    def _by_prompt(self, rows: list["Row"], free: Sequence[Listed], skew: float) -> list[Settled]:
        """Settle rows that asked for the same: each may be any of the tasks that were made for just that."""
        window = (rows[0].created_at - EARLIER + skew, rows[-1].created_at + max(self._settle, SETTLE) + skew)
        near = [task for task in free if task.model == rows[0].model and window[0] <= task.created_at <= window[1]]
        states = {task.task_id: self._resembles(task, rows[0]) for task in near}
        alike = [task for task in near if states[task.task_id] is True]
        if None in states.values():
            self._wait(rows)
            return []
        if len(alike) > len(rows):
            return [Settled(row, "ambiguous") for row in rows]
        found = []
        for task in alike:
            row = min(rows, key=lambda row: abs(row.created_at + skew - task.created_at))
            rows.remove(row)
            found.append(self._adopt(row, task))
        return found + self._absentees(rows)

    def _wait(self, rows: Iterable["Row"]) -> None:
        for row in rows:
            self._absent.pop(row.id, None)

    def _resembles(self, task: Listed, row: "Row") -> bool | None:
        """Tell whether a task was made for what a row asked for; None: that cannot be told before it has ended.

        Only a succeeded task repeats its prompt. One that failed or was canceled made nothing and is not paid, so it
        does not matter whose it was.
        """
        if task.task_id not in self._ended:
            shown = waiting.looking(self._means.send, lambda _: None, now=self._means.now)(task.task_id)
            if not shown.ended:
                return None
            self._ended[task.task_id] = shown.found if isinstance(shown.found, Task) else None
        ended = self._ended[task.task_id]
        if ended is None or ended.status != "succeeded":
            return False
        same_length = None in (ended.duration, row.duration) or abs(ended.duration - row.duration) < 1  # type: ignore[operator]  # neither is None
        return same_length and _read(ended.orig_prompt, row) == _read(row.prompt, row)

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
            again = row.id in self._absent
            self._absent.setdefault(row.id, now)
            if again and now >= self._due(row):
                self._means.book.refuse(row.id, row.code or "connection_error")
                found.append(Settled(row, "absent"))
        return found


def _asked(row: "Row") -> tuple[str, str, float]:
    return row.model, row.prompt or "", row.duration or 0.0


def _read(prompt: str | None, row: "Row") -> str:
    """The part of a prompt that the API reads; it cuts the rest in silence."""
    model = MODELS.get(row.model)
    return (prompt or "")[: model.prompt_limit if model else None].strip()


# --- recover -----------------------------------------------------------------------------------------------------


class Recovery(NamedTuple):
    """What ``recover`` did: each list in the order in which it did it."""

    settled: list[Settled]
    delivered: list["Row"]  # clips that are on disk now; ``file`` says where
    waiting: list["Row"]  # tasks that have not ended yet
    failed: list[tuple["Row", RawgenaiError]]  # clips that could not be fetched


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
    with recorded(ledger, create=False) as book, book.settling():
        means = Means(
            settings=settings, send=send, book=book, warn=warn, progress=progress, now=now, sleep=sleep, clock=clock
        )
        settled = settle_all(book.unsettled(), means, absent=settle, timeout=timeout)
        for each in settled:
            say(sentence(each))
        recovery = Recovery(settled, [], [], [])
        for row in book.undelivered(now() - REMEMBERED):
            if row.base_url == settings.base_url and not book.is_claimed(row):
                _deliver(row, means, recovery, say)
    return recovery


def _deliver(row: "Row", means: Means, recovery: Recovery, say: Callable[[str], None]) -> None:
    """Bring a clip to where it was promised to go, if it is there to be had."""
    task_id = row.task_id or ""
    try:
        task = tasks.status(
            task_id, settings=means.settings, send=means.send, ledger=means.book, warn=means.warn, sleep=means.sleep
        )
        if task.status not in TERMINAL:
            recovery.waiting.append(row)
            say(
                f"task {task_id} is {task.status}; wait for it: rawgenai dashscope video wait {task_id} -o {place(row)}"
            )
            return
        file = tasks.download(
            task_id,
            make_place(place(row)),
            task=task,
            settings=means.settings,
            send=means.send,
            ledger=means.book,
            warn=means.warn,
            progress=means.progress,
            sleep=means.sleep,
            clock=means.clock,
        )
    except RawgenaiError as error:
        recovery.failed.append((row, error))
        say(f"task {task_id}: {error.message}")
    else:
        recovery.delivered.append(row._replace(file=file))
        say(f"task {task_id}: its clip is in {file}")


def place(row: "Row") -> str:
    """Where a row's clip was promised to go: a file; in a folder it is named after the task."""
    output = row.output or ""
    return os.path.join(output, f"{row.task_id}.mp4") if output.endswith(os.sep) else output


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
    "absent": "was never accepted: nothing was paid",
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
