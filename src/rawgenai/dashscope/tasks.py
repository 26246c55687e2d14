"""The straight lines: create, status, download. Each reads from top to bottom and judges nothing itself.

What may be asked is in rules.py, how it is said and what an answer means in wire.py, how it travels in http.py. The
loops that ask again are here. Collaborators are arguments with real defaults; time and sleep are too.
"""

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from rawgenai import config, files, media
from rawgenai.config import EMULATOR, Settings
from rawgenai.dashscope import rules, wire
from rawgenai.dashscope.models import Model
from rawgenai.dashscope.spec import Spec
from rawgenai.dashscope.wire import Input, Task
from rawgenai.errors import RawgenaiError
from rawgenai.message import Media, NotSent, Request, Response, Send, Unknown

if TYPE_CHECKING:
    from rawgenai import http
    from rawgenai.ledger import Ledger

PROVIDER = "dashscope"
ATTEMPTS = 4  # of a request that is safe to repeat
PATIENCE = 15.0  # seconds that one command keeps trying, and that a download may stand still
GRACE = 10.0  # seconds that an interrupted POST is still given to answer

T = TypeVar("T")
Progress = Callable[[int, int | None], None]  # bytes so far, bytes in all where known


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


def prepare(spec: Spec, *, strict: bool = False) -> tuple[Spec, Model, list[str]]:
    """Check a Spec and load what it names, without network or key: flags, model, rules, files.

    Returns the Spec with Media leaves in the place of local paths, the model's row, and warnings for people. Raises
    RawgenaiError with the first objection; with ``strict`` a warning is one.
    """
    rules.select(spec, strict=strict)
    loaded = _load_media(_load_prompt(spec))
    model, warnings = rules.select(loaded, strict=strict)  # now with the prompt's text and the files' kinds
    return loaded, model, warnings


def _load_prompt(spec: Spec) -> Spec:
    if spec.prompt is not None:
        return replace(spec, prompt=files.clean(spec.prompt))
    if spec.prompt_file is None:
        return spec
    text = files.read_prompt(spec.prompt_file)
    return replace(spec, prompt=text or None, prompt_file=None)


def _load_media(spec: Spec) -> Spec:
    return wire.with_media(spec, {leaf: _load_leaf(row, leaf) for row, leaf in wire.media_of(spec)})


def _load_leaf(row: Input, value: str | Media) -> str | Media:
    if isinstance(value, Media):
        return value
    if value.startswith("data:"):
        return _load_data_uri(row, value)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", value):
        if re.match(r"(https?|oss)://[^\s/?#]+\S*$", value, re.IGNORECASE):
            return value
        raise RawgenaiError(row.invalid, f"{row.flag} {value[:80]!r} is no http(s) or oss URL, and no path either")
    try:
        look = media.look(value)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise RawgenaiError(row.absent, f"{row.flag} {value!r} does not exist") from error
    except OSError as error:
        raise RawgenaiError(row.unreadable, f"{row.flag} {value!r} cannot be read: {files.reason(error)}") from error
    if not look.size:
        raise RawgenaiError(row.unreadable, f"{row.flag} {value!r} is empty")
    if look.kind not in row.kinds:
        raise RawgenaiError(row.invalid, f"{row.flag} {value!r} is no {' or '.join(row.kinds)} file that the API takes")
    return Media(os.path.abspath(value), look.mime, look.size)


def _load_data_uri(row: Input, value: str) -> str | Media:
    """Check a data URI; where the API takes none, it becomes a leaf that is decoded and uploaded (ruling 11)."""
    import base64

    head, comma, text = value.partition(",")
    try:
        data = base64.b64decode(text, validate=True) if comma and head.endswith(";base64") else b""
    except ValueError:
        data = b""
    look = media.recognise(data[:16], len(data))
    if "image" not in row.kinds or look.kind != "image":
        raise RawgenaiError(row.invalid, f"{row.flag} is a data URI that holds no base64 image the API takes")
    return value if row.inline else Media(value, look.mime, look.size)


def create(
    spec: Spec,
    *,
    settings: Settings | None = None,
    send: Send | None = None,
    ledger: "Ledger | None" = None,
    strict: bool = False,
    warn: Callable[[str], None] = lambda _: None,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Task:
    """Submit a task and return it, pending, with its ``task_id``.

    The POST is sent once, and again only on proof that nothing was accepted; the intent is on disk before it, the
    task id right after it. ``warn`` is told what a person should know. Raises RawgenaiError with any code of the
    table; ``outcome="unknown"`` where the task may have been accepted all the same. Source: reference 2 and 3.1.
    """
    loaded, model, warnings = prepare(spec, strict=strict)
    settings = settings or config.load()
    for warning in [*warnings, *wire.region_warnings(model, settings.base_url)]:
        warn(warning)
    send = send or sender(settings)
    with _recorded(ledger) as book:
        ready = _upload(loaded, model, send, settings, sleep)
        request = wire.create_request(ready, model)
        row = book.intend(
            provider=PROVIDER,
            model=model.name,
            mode=model.mode,
            prompt=ready.prompt,
            base_url=settings.base_url,
        )
        outcome, interrupt = _held(lambda: exchange(send, request, sleep=sleep, now=now))
        try:
            task = _settle(outcome)
        except RawgenaiError as error:
            record = book.unknown if error.outcome == "unknown" else book.refuse
            with _warned(warn):  # a ledger that fails now must not hide what became of the POST
                record(row, error.code, error.request_id)
            if interrupt is not None:
                warn(error.message)
            raise interrupt or _explained(error, settings) from error
        try:
            book.accept(row, task.task_id, task.request_id)
        except RawgenaiError as error:
            error.task_id, error.final = task.task_id, True
            raise
        if interrupt is not None:
            warn(f"task {task.task_id} was created all the same, and goes on")
            raise interrupt
    return task


def _settle(outcome: Response | Exception | None) -> Task:
    """Judge what became of the POST."""
    if isinstance(outcome, Response):
        return wire.parse_created(outcome)
    if isinstance(outcome, NotSent):
        raise RawgenaiError(outcome.code, f"{outcome}; nothing was sent") from outcome
    if isinstance(outcome, Unknown):
        raise wire.unknown(RawgenaiError(outcome.code, str(outcome))) from outcome
    if outcome is None:
        raise wire.unknown(RawgenaiError("connection_error", "interrupted before the answer came"))
    if isinstance(outcome, OSError):  # the request's own file; without all its bytes the API has no request
        raise RawgenaiError("image_read_error", f"an input file could not be read to its end: {files.reason(outcome)}")
    raise outcome


def _held(call: Callable[[], T]) -> tuple[T | Exception | None, BaseException | None]:
    """Run a call so that Ctrl-C cannot cut it off at once: it gets GRACE seconds more, then its outcome is unknown.

    Returns what it returned or raised (None: nothing yet) and the interrupt, if one came.
    """
    import threading

    box: list[T | Exception] = []
    done = threading.Event()  # not join(): until Python 3.13 an interrupted join takes the thread for finished

    def work() -> None:
        try:
            box.append(call())
        except Exception as error:  # noqa: BLE001 - handed over to the caller's thread, which judges it
            box.append(error)
        finally:
            done.set()

    interrupt = None
    try:
        threading.Thread(target=work, daemon=True).start()
        done.wait()
    except BaseException as error:  # noqa: BLE001 - KeyboardInterrupt and its kin; raised again by the caller
        interrupt = error
        done.wait(GRACE)
    return (box[0] if box else None), interrupt


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


def _explained(error: RawgenaiError, settings: Settings) -> RawgenaiError:
    """Name the region where a key was refused: keys belong to regions (ruling 16)."""
    if error.code == "invalid_api_key":
        region = wire.region(settings.base_url) or "unknown"
        error.message += f" (asked {settings.base_url}, region {region}; a key is valid in its own region only)"
    return error


# --- upload ------------------------------------------------------------------------------------------------------


def _upload(spec: Spec, model: Model, send: Send, settings: Settings, sleep: Callable[[float], None]) -> Spec:
    """Upload what cannot travel inside the request, and name it by its ``oss://`` URL instead (reference section 5)."""
    leaves = wire.to_upload(spec)
    if not leaves:
        return spec
    policy = _policy(model, send, settings, sleep)
    urls: dict[str | Media, str | Media] = {}
    for leaf in leaves:
        if leaf.size > policy.max_bytes:
            limit = policy.max_bytes // (1024 * 1024)
            raise RawgenaiError("invalid_request", f"{leaf.path[:80]} is over the upload limit of {limit} MB")
        for attempt in range(ATTEMPTS):
            # Always a new name: an upload that was lost on the way may have taken the old one.
            name = f"{os.urandom(16).hex()}{media.extension(leaf.mime)}"
            outcome = _outcome(send, wire.upload_request(policy, leaf, name))
            if isinstance(outcome, Response) and outcome.status == 200:
                urls[leaf] = wire.oss_url(policy, name)
                break
            if attempt + 1 == ATTEMPTS or (isinstance(outcome, Response) and outcome.status == 400):
                raise _upload_error(outcome)
            sleep(float(2**attempt))
            policy = _policy(model, send, settings, sleep)
    return wire.with_media(spec, urls)


def _policy(model: Model, send: Send, settings: Settings, sleep: Callable[[float], None]) -> wire.Policy:
    response = _answer(exchange(send, wire.policy_request(model), sleep=sleep))
    try:
        policy = wire.parse_policy(response)
        host = wire.checked_url(policy.host, settings.base_url, aliyun=True)
    except ValueError as error:
        raise RawgenaiError("connection_error", f"upload refused: {error}", final=True) from error
    except RawgenaiError as error:
        raise _explained(error, settings) from error
    return policy._replace(host=host)


def _upload_error(outcome: Response | NotSent | Unknown) -> RawgenaiError:
    if isinstance(outcome, Response):
        code = "invalid_request" if outcome.status < 500 else "server_error"
        return RawgenaiError(code, f"the upload was refused with HTTP status {outcome.status}; no task was created")
    return RawgenaiError(outcome.code, f"the upload failed: {outcome}; no task was created")


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
        task = wire.parse_task(_answer(exchange(send, request, sleep=sleep)), task_id)
    except RawgenaiError as error:
        error.task_id = task_id
        raise _explained(error, settings) from error
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
            part = _fetch(clip_url, target, task_id, send, progress, sleep=sleep, clock=clock)
            files.finish(part, target)
    except RawgenaiError as error:
        error.task_id = task_id
        raise
    except OSError as error:
        reason = f"{target} cannot be written: {files.reason(error)}"
        raise RawgenaiError("output_write_error", reason, task_id=task_id, final=True) from error
    _note(ledger, warn, task_id, file=target)
    return target


def _fetch(
    clip_url: Callable[[], str],
    target: str,
    task_id: str,
    send: Send,
    progress: Progress,
    *,
    sleep: Callable[[float], None],
    clock: Callable[[], float],
) -> str:
    """Gather a clip's bytes until they are a whole MP4, and return the part file that holds them."""
    url = clip_url()
    chances = {"moved": 3, "gone": 1, "spoiled": 1}  # how often each may happen before it is a failure
    while True:
        fetched = _gather(url, target, task_id, send, progress, sleep=sleep, clock=clock)
        if fetched.part is None:
            event, fault = wire.clip_event(fetched.answer), None
        else:
            event, fault = "spoiled", media.mp4_fault(fetched.part)
            if fault is None:
                return fetched.part
            os.remove(fetched.part)
        if not chances.get(event):
            raise wire.download_failure(fetched.answer, url, fault)
        chances[event] -= 1
        if event == "moved":
            url = wire.redirected(fetched.answer, url)
        elif event == "gone":
            url = clip_url()  # while a task lives, its clip can get a fresh URL


def _gather(
    url: str,
    target: str,
    task_id: str,
    send: Send,
    progress: Progress,
    *,
    sleep: Callable[[float], None],
    clock: Callable[[], float],
) -> "http.Fetched":
    """Ask for a clip and go on where it was cut; gives up after PATIENCE seconds, or ATTEMPTS, without a new byte."""
    from rawgenai import http

    size, moment, tries = _gathered(target, task_id), clock(), 0
    while True:
        try:
            fetched = http.download(send, url, target, task_id, progress)
            outcome: Response | NotSent | Unknown = fetched.answer
            if fetched.part is not None or not wire.may_resume(outcome):
                return fetched
        except (NotSent, Unknown) as fate:
            outcome = fate
        if _gathered(target, task_id) > size:
            size, moment, tries = _gathered(target, task_id), clock(), 0
        tries += 1
        if not wire.may_resume(outcome) or tries >= ATTEMPTS or clock() - moment >= PATIENCE:
            raise wire.download_failure(outcome, url)
        sleep(2.0 ** (tries - 2))


def _gathered(target: str, task_id: str) -> int:
    part = files.find_part(target, task_id)
    return part.size if part else 0


# --- asking again ------------------------------------------------------------------------------------------------


def exchange(
    send: Send,
    request: Request,
    *,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.time,
) -> Response | NotSent | Unknown:
    """Send a request, and again while that is safe and of use: ATTEMPTS times, within PATIENCE seconds.

    ``Retry-After`` is obeyed, or ends the attempts where it asks for more than there is.
    """
    outcome = _outcome(send, request)
    if not wire.may_repeat(request, outcome):
        return outcome
    # tenacity is worth its import only now; the attempt that was made is the first of its attempts.
    from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_attempt, stop_before_delay
    from tenacity.wait import wait_random_exponential

    made = [outcome]
    jitter = wait_random_exponential(multiplier=0.5, max=8)

    def pause(state: RetryCallState) -> float:
        answer = state.outcome.result() if state.outcome else None
        asked = wire.retry_after(answer.headers, now()) if isinstance(answer, Response) else None
        return jitter(state) if asked is None else asked

    retrying = Retrying(
        retry=retry_if_result(lambda outcome: wire.may_repeat(request, outcome)),
        stop=stop_after_attempt(ATTEMPTS) | stop_before_delay(PATIENCE),
        wait=pause,
        sleep=sleep,
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else outcome,
    )
    return retrying(lambda: made.pop() if made else _outcome(send, request))


def _outcome(send: Send, request: Request) -> Response | NotSent | Unknown:
    try:
        return send(request)
    except (NotSent, Unknown) as fate:
        return fate


def _answer(outcome: Response | NotSent | Unknown) -> Response:
    if isinstance(outcome, Response):
        return outcome
    raise RawgenaiError(outcome.code, str(outcome)) from outcome
