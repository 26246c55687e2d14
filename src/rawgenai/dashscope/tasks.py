"""The straight lines: create, status, download. Each reads from top to bottom and judges nothing itself.

What may be asked is in rules.py, how it is said and what an answer means in wire.py, how it travels in http.py, and
how it is asked again in exchange.py. Collaborators are arguments with real defaults; time and sleep are too.
"""

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rawgenai import config, files
from rawgenai.config import EMULATOR, Settings
from rawgenai.dashscope import downloading, loading, uploads, wire
from rawgenai.dashscope.downloading import Progress
from rawgenai.dashscope.exchange import answer_of, exchange, explained, held, interruptible
from rawgenai.dashscope.spec import Spec
from rawgenai.dashscope.wire import Task
from rawgenai.errors import RawgenaiError
from rawgenai.message import NotSent, Response, Send, Unknown

if TYPE_CHECKING:
    from rawgenai.ledger import Ledger

PROVIDER = "dashscope"
GRACE = 10.0  # seconds that an interrupted POST is still given to answer


def sender(settings: Settings, environ: Mapping[str, str] = os.environ) -> Send:
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
    settings: Settings | None = None,
    send: Send | None = None,
    ledger: "Ledger | None" = None,
    strict: bool = False,
    warn: Callable[[str], None] = lambda _: None,
    progress: Progress = lambda _done, _total: None,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Task:
    """Submit a task and return it, pending, with its ``task_id``.

    The POST is sent once, and again only on proof that nothing was accepted; the intent is on disk before it, the
    task id right after it. ``warn`` is told what a person should know, ``progress`` how many bytes are uploaded.
    Raises RawgenaiError with any code of the table; ``outcome="unknown"`` where the task may have been accepted all the
    same. Source: reference 2 and 3.1.
    """
    loaded, model, warnings = loading.prepare(spec, strict=strict)
    sealed = loading.seal(loaded)
    settings = settings or config.load()
    for warning in [*warnings, *wire.region_warnings(model, settings.base_url)]:
        warn(warning)
    send = send or sender(settings)
    with _recorded(ledger) as book:
        ready = uploads.upload(
            sealed, model, settings=settings, send=send, ledger=book, progress=progress, now=now, sleep=sleep
        )
        request = wire.create_request(ready, model)
        row = book.intend(
            provider=PROVIDER,
            model=model.name,
            mode=model.mode,
            prompt=ready.prompt,
            base_url=settings.base_url,
        )
        end, interrupt = held(lambda: exchange(send, request, sleep=sleep, now=now), GRACE)
        try:
            task = _settle(end)
        except RawgenaiError as error:
            record = book.unknown if error.outcome == "unknown" else book.refuse
            with _warned(warn):  # a ledger that fails now must not hide what became of the POST
                record(row, error.code, error.request_id)
            if interrupt is not None:
                warn(error.message)
            raise interrupt or explained(error, settings) from error
        try:
            book.accept(row, task.task_id, task.request_id)
        except RawgenaiError as error:
            error.task_id, error.final = task.task_id, True
            raise
        if interrupt is not None:
            warn(f"task {task.task_id} was created all the same, and goes on")
            raise interrupt
    return task


def _settle(end: Callable[[], Response | NotSent | Unknown] | None) -> Task:
    """Judge what became of the POST."""
    if end is None:
        raise wire.unknown(RawgenaiError("connection_error", "interrupted before the answer came"))
    try:
        outcome = end()
    except OSError as error:  # the request's own file; without all its bytes the API has no request
        message = f"an input file could not be read to its end: {files.reason(error)}"
        raise RawgenaiError("image_read_error", message) from error
    if isinstance(outcome, NotSent):
        raise RawgenaiError(outcome.code, f"{outcome}; nothing was sent") from outcome
    if isinstance(outcome, Unknown):
        raise wire.unknown(RawgenaiError(outcome.code, str(outcome))) from outcome
    return wire.parse_created(outcome)


@contextmanager
def _warned(warn: Callable[[str], None]) -> Iterator[None]:
    """Turn an error into a warning, where something else matters more."""
    try:
        yield
    except RawgenaiError as error:
        warn(error.message)


@contextmanager
def _recorded(ledger: "Ledger | None", *, create: bool = True) -> Iterator["Ledger"]:
    """Give the caller's ledger, or open the user's own and close it again; ``create`` makes it where there is none."""
    if ledger is not None:
        yield ledger
        return
    from rawgenai.ledger import open_ledger

    with open_ledger(create=create) as opened:
        yield opened


# --- status ------------------------------------------------------------------------------------------------------


def status(
    task_id: str,
    *,
    settings: Settings | None = None,
    send: Send | None = None,
    ledger: "Ledger | None" = None,
    warn: Callable[[str], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Task:
    """Ask once what became of a task.

    Returns it in any status, failed ones too (``wire.failure`` says why). Raises RawgenaiError: `task_not_found` for a
    task of another account, another region, or over 24 hours old. Source: reference 3.2 and 3.3.
    """
    request = wire.status_request(task_id)
    settings = settings or config.load()
    send = send or sender(settings)
    try:
        task = wire.parse_task(answer_of(interruptible(lambda: exchange(send, request, sleep=sleep))), task_id)
    except RawgenaiError as error:
        error.task_id = task_id
        raise explained(error, settings) from error
    _note(ledger, warn, task_id, status=task.status)
    return task


def _note(ledger: "Ledger | None", warn: Callable[[str], None], task_id: str, **facts: Any) -> None:
    """Write down what was learnt of a task that the ledger knows; a broken ledger is a warning here (ruling 24)."""
    with _warned(warn), _recorded(ledger, create=False) as book:
        book.update(task_id, **facts)


# --- download ----------------------------------------------------------------------------------------------------


def download(
    task_id: str,
    output: str,
    *,
    settings: Settings | None = None,
    send: Send | None = None,
    ledger: "Ledger | None" = None,
    warn: Callable[[str], None] = lambda _: None,
    progress: Progress = lambda _done, _total: None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> str:
    """Fetch a succeeded task's clip into the MP4 file ``output`` and return its absolute path.

    The bytes gather in a part file beside it, are resumed where they stopped, checked, synced and moved into place:
    the target is the old file or the whole new one. Raises RawgenaiError: `video_not_ready`, `video_failed`,
    `no_video`, `url_expired`, `download_error`, `output_write_error` and those of ``status``.
    """
    wire.check_task_id(task_id)
    target = files.check_target(output)
    settings = settings or config.load()
    send = send or sender(settings)

    def clip_url() -> str:
        task = status(task_id, settings=settings, send=send, ledger=ledger, warn=warn, sleep=sleep)
        return wire.clip_url(task, settings.base_url)

    try:
        with files.only_writer(target):
            part = downloading.fetch(clip_url, target, task_id, send, progress, sleep=sleep, clock=clock)
            files.finish(part, target)
    except RawgenaiError as error:
        error.task_id = task_id
        raise
    except OSError as error:
        reason = f"{target} cannot be written: {files.reason(error)}"
        raise RawgenaiError("output_write_error", reason, task_id=task_id, final=True) from error
    _note(ledger, warn, task_id, file=target)
    return target
