"""The straight lines: create, status, cancel, wait, download, deliver. Each reads from top to bottom, judging nothing.

What may be asked is in rules.py, how it is said and what an answer means in wire.py, how it travels in http.py, and
how it is asked again in exchange.py. Collaborators are arguments with real defaults; time and sleep are too.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from rawgenai import config, files
from rawgenai.config import EMULATOR, Settings
from rawgenai.dashscope import downloading, loading, origin, oss, submitting, waiting, wire
from rawgenai.dashscope.exchange import answer_of, exchange, explained, interruptible
from rawgenai.dashscope.recording import Means, Progress, Warn, note, note_file, recorded, silent, warned
from rawgenai.dashscope.spec import Spec
from rawgenai.dashscope.waiting import Look
from rawgenai.dashscope.wire import Listed, Task
from rawgenai.errors import RawgenaiError
from rawgenai.message import Send
from rawgenai.secret import ENVIRON

if TYPE_CHECKING:
    from rawgenai.ledger import Ledger, Row

SLACK = 60.0  # seconds that the list is asked for beyond now: clocks differ
MAX_PAGES = 500  # of the API's list; of 100 tasks each
CLIP_TRIES = 3  # more downloads of a clip whose host fails: with their pauses, they outlast half a minute
CANCEL_PAUSES = (0.0, 1.0, 2.0)  # seconds before each look at a task that should be canceled by now


def sender(settings: Settings, environ: Mapping[str, str] = ENVIRON) -> Send:
    """Choose what requests are sent with: the emulator in process (ruling 18), or a socket and the key.

    Raises RawgenaiError (`missing_api_key`, `config_error`).
    """
    if settings.base_url == EMULATOR:
        from rawgenai import emulator

        return emulator.sender(environ=environ)
    if settings.api_key is None:
        raise RawgenaiError(
            "missing_api_key",
            "no DashScope API key is set: export DASHSCOPE_API_KEY=sk-..., or put it on stdin of"
            " `rawgenai config set dashscope_api_key -` (to try without one: export DASHSCOPE_BASE_URL=emulator)",
        )
    from rawgenai import http  # what is refused before this line does without it

    return http.sender(settings.base_url, settings.api_key.reveal, _patience(environ))


def _patience(environ: Mapping[str, str]) -> float | None:
    value = environ.get("RAWGENAI_TIMEOUT")
    if not value:
        return None
    if not re.fullmatch(r"\d{1,5}(\.\d{1,3})?", value, re.ASCII) or not float(value):
        raise RawgenaiError("config_error", f"RAWGENAI_TIMEOUT is not a number of seconds above 0: {value!r}")
    return float(value)


# --- create ------------------------------------------------------------------------------------------------------


def create(
    spec: Spec,
    *,
    key: str | None = None,
    settings: Settings | None = None,
    send: Send | None = None,
    ledger: "Ledger | None" = None,
    strict: bool = False,
    warn: Warn = silent,
    progress: Progress = silent,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Task:
    """Submit a task and return it, pending, with its ``task_id``.

    The POST is sent once, and again only on proof that nothing was accepted; the intent is on disk before it, the
    task id right after it. With an idempotency ``key`` that has a task already, that task is returned and nothing is
    sent. ``warn`` is told what a person should know, ``progress`` how many bytes are uploaded. Raises RawgenaiError
    with any code of the table; ``outcome="unknown"`` where the task may have been accepted all the same.
    Source: reference 2 and 3.1.
    """
    loaded, *_ = loading.prepare(spec, strict=strict)  # its objections come before those to the settings
    settings = settings or config.load()
    made, warnings = submitting.order(loaded, settings, strict=strict)
    for warning in warnings:
        warn(warning)
    send = send or sender(settings)
    with recorded(ledger) as book, book.claimed() as claim:
        means = Means(settings=settings, send=send, book=book, warn=warn, progress=progress, now=now, sleep=sleep)
        return submitting.submit(made, means, key=key, claim=claim)[0]


# --- status, cancel ----------------------------------------------------------------------------------------------


def _at_home(
    task_id: str, settings: Settings | None, send: Send | None, ledger: "Ledger | None"
) -> tuple[Settings, Send]:
    """Return what was given; what was not is what is in force, at the base URL where the task was created."""
    if settings is None:
        settings = config.load()
        if send is None:
            settings = origin.settings_of(origin.row_of(task_id, ledger), settings)
    return settings, send or sender(settings)


def _explained(error: RawgenaiError, task_id: str, settings: Settings, ledger: "Ledger | None") -> RawgenaiError:
    """Say where a key was refused, and of a task that is not found where it was created."""
    error.task_id = task_id
    if error.code not in origin.CODES:
        return error
    return origin.explained(explained(error, settings), origin.row_of(task_id, ledger), settings)


def status(
    task_id: str,
    *,
    settings: Settings | None = None,
    send: Send | None = None,
    ledger: "Ledger | None" = None,
    warn: Warn = silent,
    sleep: Callable[[float], None] = time.sleep,
) -> Task:
    """Ask once what became of a task.

    Returns it in any status, failed ones too (``wire.failure`` says why). Without ``settings`` it is asked for in the
    region where the ledger says that it was created. Raises RawgenaiError: `task_not_found` for a task of another
    account, another region, or over 24 hours old. Source: reference 3.2 and 3.3.
    """
    request = wire.status_request(task_id)
    settings, asking = _at_home(task_id, settings, send, ledger)
    try:
        task = wire.parse_task(answer_of(interruptible(lambda: exchange(asking, request, sleep=sleep))), task_id)
    except RawgenaiError as error:
        raise _explained(error, task_id, settings, ledger) from error
    note(ledger, warn, task)
    return task


def cancel(
    task_id: str,
    *,
    settings: Settings | None = None,
    send: Send | None = None,
    ledger: "Ledger | None" = None,
    warn: Warn = silent,
    sleep: Callable[[float], None] = time.sleep,
) -> Task:
    """Take a pending task back, and return it, canceled; one that was canceled before is returned as well.

    Raises RawgenaiError: `task_not_cancelable` in any other status (a running task goes on, and is paid), and those of
    ``status``. Source: reference 3.4.
    """
    request = wire.cancel_request(task_id)
    settings, asking = _at_home(task_id, settings, send, ledger)
    refusal: RawgenaiError | None = None
    try:
        wire.parse_object(answer_of(interruptible(lambda: exchange(asking, request, sleep=sleep))))
    except RawgenaiError as error:
        if error.api_code != "UnsupportedOperation":
            raise _explained(error, task_id, settings, ledger) from error
        refusal = error
    for pause in CANCEL_PAUSES:  # what is shown may lag behind what was done
        sleep(pause)
        task = status(task_id, settings=settings, send=asking, ledger=ledger, warn=warn, sleep=sleep)
        if task.status != "pending":
            break
    if task.status != "canceled":
        raise wire.not_cancelable(task, refusal) from refusal
    return task


# --- wait --------------------------------------------------------------------------------------------------------


def wait(
    task_id: str,
    *,
    timeout: float = waiting.TIMEOUT,
    interval: float | None = None,
    created_at: float | None = None,
    settings: Settings | None = None,
    send: Send | None = None,
    ledger: "Ledger | None" = None,
    warn: Warn = silent,
    seen: Callable[[Look], None] = silent,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Task:
    """Ask about a task until it has ended, and return it: succeeded, failed or canceled.

    Looks at it 5 seconds after its creation, then in growing pauses of up to 15, or every ``interval`` seconds, and
    outlasts whatever the network does. ``created_at`` is the moment of its creation (UTC, seconds), where the ledger
    does not know it: a new task may not be found at once. ``seen`` is told of each look. Raises RawgenaiError:
    `wait_timeout` after ``timeout`` seconds (the task goes on), and those of ``status`` that will not pass.
    """
    looks = wait_all(
        [task_id], timeout=timeout, interval=interval, born={} if created_at is None else {task_id: created_at},
        settings=settings, send=send, ledger=ledger, warn=warn, seen=seen, now=now, sleep=sleep, clock=clock,
    )  # fmt: skip
    found = next(looks).found
    if isinstance(found, RawgenaiError):
        raise found
    return found


def wait_all(
    task_ids: Iterable[str],
    *,
    timeout: float = waiting.TIMEOUT,
    interval: float | None = None,
    born: Mapping[str, float] | None = None,
    settings: Settings | None = None,
    send: Send | None = None,
    ledger: "Ledger | None" = None,
    warn: Warn = silent,
    seen: Callable[[Look], None] = silent,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Look]:
    """Ask about several tasks at once, as ``wait`` does about one, and give the last look at each as it ends.

    ``born`` are the moments of their creation, where the ledger does not know them. Without ``settings`` each is asked
    for in the region where the ledger says that it was created.
    """
    ids = list(dict.fromkeys(task_ids))
    for task_id in ids:
        wire.check_task_id(task_id)
    usual = settings or config.load()
    rows: dict[str, Row] = {}
    with warned(warn), recorded(ledger, create=False) as book:
        rows = {each: row for each in ids if (row := book.find(each))}
    moments = dict(born or {}) | {each: row.created_at for each, row in rows.items()}
    followed = settings is None and send is None
    homes = {each: origin.settings_of(rows.get(each), usual) if followed else usual for each in ids}
    senders = {home.base_url: send or sender(home) for home in dict.fromkeys(homes.values())}
    looks = {url: waiting.looking(one, moments.get, now=now) for url, one in senders.items()}
    known: dict[str, str] = {}

    def shown(look: Look) -> None:
        task = look.found
        if isinstance(task, Task) and (look.ended or task.status != known.get(look.task_id)):
            known[look.task_id] = task.status
            note(ledger, warn, task)
        elif isinstance(task, RawgenaiError):
            home = homes[look.task_id]
            origin.explained(explained(task, home), rows.get(look.task_id), home)
        seen(look)

    def look_at(task_id: str) -> Look:
        return looks[homes[task_id].base_url](task_id)

    watched = [(task_id, moments.get(task_id)) for task_id in ids]
    yield from waiting.watch(
        watched, look_at, timeout=timeout, interval=interval, seen=shown, now=now, sleep=sleep, clock=clock
    )


# --- download ----------------------------------------------------------------------------------------------------


def download(
    task_id: str,
    output: str,
    *,
    task: Task | None = None,
    settings: Settings | None = None,
    send: Send | None = None,
    ledger: "Ledger | None" = None,
    warn: Warn = silent,
    progress: Progress = silent,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> str:
    """Fetch a succeeded task's clip into the MP4 file ``output`` and return its absolute path.

    ``task`` is what was last learnt of it; without, it is asked for. The bytes gather in a part file beside the
    target, are resumed where they stopped, checked, synced and moved into place: the target is the old file or the
    whole new one. Raises RawgenaiError: `video_not_ready`, `video_failed`, `no_video`, `url_expired`,
    `download_error`, `output_write_error` and those of ``status``.
    """
    wire.check_task_id(task_id)
    target = files.check_target(output)
    settings, asking = _at_home(task_id, settings, send, ledger)
    latest = task

    def clip_url() -> str:
        nonlocal latest, task
        latest = task or status(task_id, settings=settings, send=asking, ledger=ledger, warn=warn, sleep=sleep)
        task = None  # what is known already serves once
        return oss.clip_url(latest, settings.base_url)

    try:
        with files.only_writer(target):
            part = downloading.fetch(clip_url, target, task_id, asking, progress, sleep=sleep, clock=clock)
            files.finish(part, target)
    except RawgenaiError as error:
        error.task_id = task_id
        raise
    except OSError as error:
        reason = f"{target} cannot be written: {files.reason(error)}"
        raise RawgenaiError("output_write_error", reason, task_id=task_id, final=True) from error
    note_file(ledger, warn, task_id, target)
    return target


def deliver(
    task_id: str,
    output: str,
    *,
    task: Task | None = None,
    timeout: float = waiting.TIMEOUT,
    interval: float | None = None,
    created_at: float | None = None,
    settings: Settings | None = None,
    send: Send | None = None,
    ledger: "Ledger | None" = None,
    warn: Warn = silent,
    seen: Callable[[Look], None] = silent,
    progress: Progress = silent,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[Task, str]:
    """Wait for a task, unless ``task`` has ended already, and download its clip: the task, and the clip's path.

    A status may flip back for a while, which is waited for again, and a clip's host may be down for longer than one
    download waits. Raises RawgenaiError as ``wait`` and ``download``, and where the task failed, why.
    """
    end, tries = clock() + timeout, 0
    while True:
        task = task or wait(
            task_id, timeout=max(0.0, end - clock()), interval=interval, created_at=created_at, settings=settings,
            send=send, ledger=ledger, warn=warn, seen=seen, now=now, sleep=sleep, clock=clock,
        )  # fmt: skip
        if task.status != "succeeded":
            raise wire.failure(task)
        try:
            file = download(
                task_id, output, task=task, settings=settings, send=send, ledger=ledger, warn=warn, progress=progress,
                sleep=sleep, clock=clock,
            )  # fmt: skip
        except RawgenaiError as error:
            flipped, down = error.code == "video_not_ready", error.code == "download_error" and error.status == 4
            if not (flipped or (down and tries < CLIP_TRIES)) or clock() >= end:
                raise
            task, tries = None, tries + 1
            sleep(waiting.FIRST * tries if down or interval is None else interval)
        else:
            return task, file


# --- the API's own list ------------------------------------------------------------------------------------------


def remote(
    since: float,
    *,
    settings: Settings,
    send: Send,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[list[Listed], float]:
    """List the account's tasks that the API still knows, created at or after ``since`` (at most 24 hours ago).

    Also how many seconds the server's clock is ahead of ours. Raises RawgenaiError as ``status``.
    Source: reference 3.4.
    """

    def ask(ahead: float) -> tuple[list[Listed], float]:
        """Ask a server whose clock is ahead of ours for every page; and how far it is further ahead than that."""
        found: dict[str, Listed] = {}
        until, number, pages, further = now() + ahead + SLACK, 1, 1, 0.0
        start = max(since + ahead, until - 24 * 3600 + 1)
        while number <= pages:
            request = wire.list_request(start, until, number)
            try:
                answer = answer_of(interruptible(partial(exchange, send, request, sleep=sleep)))
                page = wire.parse_page(answer, now() + ahead)
            except RawgenaiError as error:
                raise explained(error, settings) from error
            found.update((task.task_id, task) for task in page.tasks)
            pages, further, number = min(page.pages, MAX_PAGES), page.skew, number + 1
        return list(found.values()), further

    skew = 0.0
    for _ in range(3):  # only an answer says how far the clocks differ, and the list goes by the server's
        listed, further = ask(skew)
        skew += further
        if abs(further) < SLACK / 2:
            break
    return listed, skew
