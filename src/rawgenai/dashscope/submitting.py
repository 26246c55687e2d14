"""Submit a task: what is asked for as an Order, its one POST, and what is on disk before and after it.

The ledger's row is there before the POST and has the task's id right after it (design section 5).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from rawgenai import config, files
from rawgenai.config import Settings
from rawgenai.dashscope import loading, roster, rules, uploads, wire
from rawgenai.dashscope.exchange import exchange, explained, held
from rawgenai.dashscope.models import Model
from rawgenai.dashscope.recording import Means, warned
from rawgenai.dashscope.spec import Spec
from rawgenai.dashscope.wire import Task
from rawgenai.errors import CODES, RawgenaiError
from rawgenai.message import NotSent, Request, Response, Unknown

PROVIDER = "dashscope"
GRACE = 10.0  # seconds that an interrupted POST is still given to answer
REMEMBERED = 24 * 3600.0  # seconds that the API knows a task
KEY_PATIENCE = 240.0  # seconds to wait for a process that creates our key's task; its POST may take 180


class Order(NamedTuple):
    """A Spec that is ready to be asked for: checked, its files sealed, and named by what it asks for."""

    spec: Spec
    model: Model
    digest: str
    duration: float | None  # seconds of clip; None where the input or the model decides


def order(
    spec: Spec, settings: Settings, *, strict: bool = False, more: Mapping[str, Any] | None = None
) -> tuple[Order, list[str]]:
    """Make an Order of a Spec for a base URL and its region, without network or key; and what to warn people of.

    ``more`` is what else makes two orders differ. Raises RawgenaiError with the first objection.
    """
    loaded, model, warnings = loading.prepare(spec, strict=strict)
    loaded, model = roster.spelled(loaded, model, settings.region)
    warnings += rules.judge_region(model, settings.region, settings.named_region, strict=strict)
    sealed = loading.seal(loaded)
    request = wire.create_request(sealed, model)
    digest = wire.digest(request, PROVIDER, settings.base_url, dict(more or {}))
    asked = model.default_duration if sealed.duration is None else sealed.duration
    duration = asked if asked > 0 else None
    return Order(sealed, model, digest, duration), warnings


def submit(
    made: Order,
    means: Means,
    *,
    key: str | None = None,
    patience: float = KEY_PATIENCE,
    claim: str | None = None,
    output: str | None = None,
) -> tuple[Task, int]:
    """Send an order's POST, unless its key has a task already: the task, and its row in the ledger.

    ``patience`` is how many seconds a process is waited for that creates the key's task, ``claim`` the lock that the
    row names while somebody works on it, ``output`` where the clip is promised to go.
    """
    from rawgenai.ledger import Taken

    settings, book = means.settings, means.book
    _mention_unsettled(means, claim)
    while True:
        if key is not None and (found := keyed(key, made, means, patience)):
            return found
        ready = uploads.upload(
            made.spec,
            made.model,
            settings=settings,
            send=means.send,
            ledger=book,
            progress=means.progress,
            now=means.now,
            sleep=means.sleep,
        )
        try:
            row = book.intend(
                provider=PROVIDER,
                model=made.model.name,
                mode=rules.select_mode(made.spec, made.model),
                prompt=made.spec.prompt,
                base_url=settings.base_url,
                account=config.fingerprint(settings),
                key=key,
                digest=made.digest,
                duration=made.duration,
                output=output,
                claim=claim,
            )
        except Taken:  # by a process that was faster while we uploaded
            continue
        return _post(wire.create_request(ready, made.model), row, means), row


def _mention_unsettled(means: Means, claim: str | None) -> None:
    """Remind people of submissions that they may have paid and know nothing of."""
    rows = means.book.unsettled(means.now() - REMEMBERED)
    count = sum(row.claim != claim and not means.book.is_claimed(row) for row in rows)
    if count:
        are = "submission is" if count == 1 else "submissions are"
        means.warn(f"{count} earlier {are} not settled and may be paid: run `rawgenai dashscope video recover`")


def _post(request: Request, row: int, means: Means) -> Task:
    """Send the one POST of a row, and write down what became of it."""
    book, settings, warn = means.book, means.settings, means.warn
    end, interrupt = held(lambda: exchange(means.send, request, sleep=means.sleep, now=means.now), GRACE)
    try:
        task = _settle(end)
    except RawgenaiError as error:
        record = book.unknown if error.outcome == "unknown" else book.refuse
        with warned(warn):  # a ledger that fails now must not hide what became of the POST
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


def keyed(key: str, made: Order, means: Means, patience: float) -> tuple[Task, int] | None:
    """Find the task that an idempotency key has, waiting for a process that is just creating it; None: it has none.

    Raises RawgenaiError: `invalid_usage` where the key was used for another request or nothing remembers it, and an
    unknown outcome where nobody knows whether the key's submission was accepted.
    """
    book, base_url = means.book, means.settings.base_url
    if not book.path:
        raise RawgenaiError("invalid_usage", "an idempotency key is remembered by the ledger, which is switched off")
    end = means.now() + patience
    while row := book.by_key(base_url, key):
        if row.digest != made.digest:
            raise RawgenaiError("invalid_usage", f"the idempotency key {key!r} was used for another request")
        if row.task_id is not None:
            return Task(task_id=row.task_id, status=row.status or "pending", request_id=row.request_id), row.id
        left = not book.is_claimed(row) and book.by_key(base_url, key) == row
        if left or means.now() >= end:
            became = "never learnt what became of it" if left else "is still on its way, in another process"
            message = f"the submission with the idempotency key {key!r} {became}"
            raise wire.unknown(RawgenaiError(row.code or "connection_error", message))
        means.sleep(0.1)
    return None


def _settle(end: Callable[[], Response | NotSent | Unknown] | None) -> Task:
    """Judge what became of the POST."""
    if end is None:
        raise wire.unknown(RawgenaiError("connection_error", "interrupted before the answer came"))
    try:
        outcome = end()
    except OSError as error:  # the request's own file; without all its bytes the API has no request
        message = f"an input file could not be read to its end: {files.reason(error)}"
        raise RawgenaiError("image_read_error", message) from error
    except RawgenaiError:
        raise
    except Exception as error:  # our own mistake, or no memory: nobody knows how far the request came
        message = f"{CODES['internal_error'].sentence}: {type(error).__name__}"
        raise wire.unknown(RawgenaiError("internal_error", message)) from error
    if isinstance(outcome, NotSent):
        raise RawgenaiError(outcome.code, f"{outcome}; nothing was sent") from outcome
    if isinstance(outcome, Unknown):
        request_id = wire.request_id_of(outcome.headers)
        raise wire.unknown(RawgenaiError(outcome.code, str(outcome), request_id=request_id)) from outcome
    return wire.parse_created(outcome)
