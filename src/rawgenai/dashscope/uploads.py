"""Upload the local files that cannot travel inside a request, side by side (reference section 5).

An upload costs nothing and lives 48 hours, so a doubtful one is simply made again under a new name. The task's POST
comes after the last of them.
"""

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from rawgenai import config, files, media
from rawgenai.config import Settings
from rawgenai.dashscope import oss, wire
from rawgenai.dashscope.exchange import ATTEMPTS, answer_of, exchange, explained, interruptible, outcome_of
from rawgenai.dashscope.models import Model
from rawgenai.dashscope.spec import Input, Spec, with_media
from rawgenai.dashscope.wire import Policy
from rawgenai.errors import RawgenaiError
from rawgenai.message import Media, Response, Send

if TYPE_CHECKING:
    from rawgenai.ledger import Ledger

LIFE = 47 * 3600.0  # seconds that an upload is used again; the API keeps it an hour longer
MARGIN = 30.0  # seconds before its end that a policy is not used any more

T = TypeVar("T")
R = TypeVar("R")


def upload(
    spec: Spec,
    model: Model,
    *,
    settings: Settings,
    send: Send,
    ledger: "Ledger",
    progress: Callable[[int, int | None], None],
    now: Callable[[], float],
    sleep: Callable[[float], None],
) -> Spec:
    """Name by its ``oss://`` URL each file that cannot travel inside the request, uploaded now or remembered.

    Raises RawgenaiError; no task was created then.
    """
    rows = wire.to_upload(spec, model)
    if not rows:
        return spec
    account = config.fingerprint(settings)
    urls: dict[str | Media, str | Media] = {}
    for leaf in rows:
        url = ledger.find_upload(leaf.digest, model.name, account, now()) if leaf.digest else None
        if url is not None:
            urls[leaf] = url
    fresh = [leaf for leaf in rows if leaf not in urls]
    if not fresh:
        return with_media(spec, urls)
    leave = _Leave(lambda: _ask(model, send, settings, sleep), now)
    _check_sizes(leave.policy(), {leaf: rows[leaf] for leaf in fresh})
    tally = _Tally(sum(leaf.size for leaf in fresh), progress)
    done = side_by_side(lambda leaf: _upload_one(rows[leaf], leaf, leave, tally, send=send, sleep=sleep), fresh)
    for leaf, url in zip(fresh, done, strict=True):
        urls[leaf] = url
        if leaf.digest:
            ledger.remember_upload(leaf.digest, model.name, account, url, now() + LIFE)
    return with_media(spec, urls)


def _check_sizes(policy: Policy, rows: dict[Media, Input]) -> None:
    for leaf, row in rows.items():
        if leaf.size > policy.max_bytes:
            limit = policy.max_bytes // (1024 * 1024)
            raise RawgenaiError(row.invalid, f"{row.flag} {leaf.path[:200]!r} is over the upload limit of {limit} MB")


def _upload_one(
    row: Input, leaf: Media, leave: "_Leave", tally: "_Tally", *, send: Send, sleep: Callable[[float], None]
) -> str:
    policy = leave.policy()
    attempt, renewed = 0, False
    while True:
        attempt += 1
        # Always a new name: an upload whose answer was lost may have taken the old one.
        name = f"{os.urandom(16).hex()}{media.extension(leaf.mime)}"
        try:
            outcome = outcome_of(send, oss.upload_request(policy, leaf, name, tally.counter(leaf)))
            fault = oss.upload_fault(outcome, leaf)
        except OSError as error:
            message = f"{row.flag} {leaf.path[:200]!r} cannot be read: {files.reason(error)}"
            raise RawgenaiError(row.unreadable, message) from error
        if fault is None:
            return oss.oss_url(policy, name)
        expired = isinstance(outcome, Response) and outcome.status == 403
        if attempt == ATTEMPTS or not oss.may_upload_again(outcome) or (expired and renewed):
            raise fault
        sleep(0.5 * 2**attempt)
        policy = leave.policy(refused=policy if expired else None)
        renewed = renewed or expired


class _Leave:
    """Leave to upload: one policy serves all files while it is valid; one that is refused is asked for anew."""

    def __init__(self, ask: Callable[[], Policy], now: Callable[[], float]) -> None:
        self._ask = ask
        self._now = now
        self._lock = threading.Lock()
        self._policy: Policy | None = None
        self._until = 0.0

    def policy(self, refused: Policy | None = None) -> Policy:
        with self._lock:
            if self._policy is None or self._policy is refused or self._now() >= self._until:
                self._policy = self._ask()
                self._until = self._now() + self._policy.seconds - MARGIN
            return self._policy


class _Tally:
    """How many bytes of all files are on their way; an attempt that is made again counts from nothing."""

    def __init__(self, total: int, progress: Callable[[int, int | None], None]) -> None:
        self._total = total
        self._progress = progress
        self._lock = threading.Lock()
        self._parts: dict[Media, int] = {}  # bytes of a file's present attempt

    def counter(self, leaf: Media) -> Callable[[int], None]:
        start = 0

        def count(size: int) -> None:
            nonlocal start
            start += size
            with self._lock:
                self._parts[leaf] = start
                self._progress(min(sum(self._parts.values()), self._total), self._total)

        return count


def _ask(model: Model, send: Send, settings: Settings, sleep: Callable[[float], None]) -> Policy:
    response = answer_of(interruptible(lambda: exchange(send, wire.policy_request(model), sleep=sleep)))
    try:
        policy = wire.parse_policy(response)
        host = oss.checked_url(policy.host, settings.base_url, aliyun=True)
    except ValueError as error:
        raise RawgenaiError("connection_error", f"upload refused: {error}", final=True) from error
    except RawgenaiError as error:
        raise explained(error, settings) from error
    return policy._replace(host=host)


def side_by_side(work: Callable[[T], R], items: list[T]) -> list[R]:
    """Do the work for all items at once, each in a thread of its own, and return the results in order.

    Raises the first error. Ctrl-C does not wait for the threads: what they do costs nothing.
    """
    results: dict[int, R] = {}
    errors: list[BaseException] = []
    done = threading.Semaphore(0)

    def run(index: int, item: T) -> None:
        try:
            results[index] = work(item)
        except BaseException as error:  # noqa: BLE001 - handed over to the caller's thread
            errors.append(error)
        finally:
            done.release()

    for index, item in enumerate(items):
        threading.Thread(target=run, args=(index, item), daemon=True).start()
    for _ in items:
        while not done.acquire(timeout=1):  # not without end: a signal just before it would not be seen
            pass
        if errors:
            raise errors[0]
    return [results[index] for index in range(len(items))]
