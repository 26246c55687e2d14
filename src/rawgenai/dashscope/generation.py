"""From a Spec to a file: create, wait, download in one line that loses nothing and pays once.

What an earlier call left behind is taken up where it stopped: a clip that is on disk, a task that was paid, a
submission that nobody knows the outcome of. So the same call again is always safe.
"""

import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rawgenai import config, files
from rawgenai.config import Settings
from rawgenai.dashscope import loading, recovery, submitting, tasks, waiting, wire
from rawgenai.dashscope.recording import Means, Progress, Warn, file_digest, recorded, silent
from rawgenai.dashscope.spec import Spec, paths_of
from rawgenai.dashscope.submitting import Order
from rawgenai.dashscope.waiting import Look
from rawgenai.dashscope.wire import Task
from rawgenai.errors import RawgenaiError
from rawgenai.ledger import UNSETTLED
from rawgenai.message import Send
from rawgenai.secret import ENVIRON

if TYPE_CHECKING:
    from rawgenai.ledger import Ledger, Row

FOLDER = os.path.join("ai-video-wan-video", "videos")  # of clips that are told no place (skill, "Output location")


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip on disk, and the task that it came from."""

    task: Task
    file: str  # absolute path
    cached: bool = False  # it was there before, and nothing was asked for


def generate(
    spec: Spec,
    *,
    output: str | None = None,
    folder: str | None = None,
    cache: bool = True,
    key: str | None = None,
    more: Mapping[str, Any] | None = None,
    timeout: float = waiting.TIMEOUT,
    interval: float | None = None,
    settle: float = recovery.SETTLE,
    settings: Settings | None = None,
    send: Send | None = None,
    ledger: "Ledger | None" = None,
    strict: bool = False,
    warn: Warn = silent,
    progress: Progress = silent,
    created: Callable[[Task], None] = silent,
    resumed: Callable[[Task], None] = silent,
    seen: Callable[[Look], None] = silent,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    environ: Mapping[str, str] = ENVIRON,
) -> Clip:
    """Make a clip and return it once it is on disk, in the MP4 file ``output``.

    Without ``output`` it goes to ``TASK_ID.mp4`` in ``folder``, which is made where there is none; without that it is
    ``ai-video-wan-video/videos`` under ``$OUTPUT_DIR``, or under ``output``.
    With ``cache``, the same request that has its clip on disk already is answered with that, and one that was cut off
    is taken up where it stopped; ``more`` is what else makes two requests differ. ``key`` is an idempotency key.
    ``created`` is told of a task that was submitted, ``resumed`` of one that was there already, ``seen`` of each look.
    Raises RawgenaiError with any code of the table: after `wait_timeout` and whatever is temporary, the same call goes
    on with the same task.
    Source: specification, video.generate; design section 5.
    """
    if output is not None:
        files.refuse_own_input(output, paths_of(spec))
    loaded, *_ = loading.prepare(spec, strict=strict)  # its objections come before those to the settings
    place = files.check_target(output) if output is not None else clip_folder(folder or default_folder(environ))
    settings = settings or config.load()
    order, warnings = submitting.order(loaded, settings, strict=strict, more=more)
    for warning in warnings:
        warn(warning)
    send = send or tasks.sender(settings)
    with recorded(ledger) as book, book.claimed() as claim:
        means = Means(
            settings=settings, send=send, book=book, warn=warn, progress=progress, now=now, sleep=sleep, clock=clock
        )
        line = _Line(order, means, place, claim, settle, clock() + timeout, interval, seen)
        resume = cache and key is None  # a key says by itself what is the same
        with book.asking(order.digest, line.left()) if resume else nullcontext():
            if resume and (clip := line.cached()):
                return clip
            earlier = line.earlier() if resume else None
            task, row = earlier or line.submitted(key)
        (resumed if earlier else created)(task)
        return line.kept(row) or line.delivered(task.task_id)


def default_folder(environ: Mapping[str, str]) -> str:
    """Name the folder of clips that are told no place."""
    return os.path.join(environ.get("OUTPUT_DIR") or "output", FOLDER)


def clip_folder(folder: str) -> str:
    """Make a folder of clips that are named after their tasks; its absolute path, with a slash at the end.

    Raises RawgenaiError output_write_error.
    """
    folder = os.path.abspath(folder)
    files.check_target(recovery.make_place(os.path.join(folder, "clip.mp4")))
    return folder + os.sep


@dataclass(frozen=True, slots=True)
class _Line:
    """One call of generate: what is to be made, what with, and until when."""

    order: Order
    means: Means
    place: str  # a file, or a folder, which ends in a slash
    claim: str | None  # the lock that this call holds on its row
    settle: float
    end: float  # of the waiting, by the clock
    interval: float | None
    seen: Callable[[Look], None]

    def left(self) -> float:
        """How many seconds may still be waited."""
        return max(0.0, self.end - self.means.clock())

    def cached(self) -> Clip | None:
        """Find the same request's clip, whole, on disk; one that is where it is wanted comes before later ones."""
        rows = sorted(self.means.book.by_digest(self.order.digest), key=lambda row: not self._is_here(row))
        return next((clip for row in rows if (clip := self._whole(row))), None)

    def _is_here(self, row: "Row") -> bool:
        return row.file is not None and self.place in (row.file, os.path.join(os.path.dirname(row.file), ""))

    def kept(self, row: int) -> Clip | None:
        """Find the clip of a row, whole, on disk."""
        found = self.means.book.row(row)
        return self._whole(found) if found else None

    def _whole(self, row: "Row") -> Clip | None:
        if not row.task_id or not row.file or not row.file_digest or file_digest(row.file) != row.file_digest:
            return None
        task = wire.from_json(row.answer) if row.answer else Task(task_id=row.task_id, status="succeeded")
        return Clip(task, self._copied(row.file, row.task_id), cached=True)

    def _copied(self, file: str, task_id: str) -> str:
        """Bring a clip that is on disk to where it is wanted now."""
        if self.place.endswith(os.sep) or os.path.realpath(file) == os.path.realpath(self.place):
            return file
        part = files.part_path(self.place, task_id, "")
        try:
            shutil.copyfile(file, part)
            files.finish(part, self.place)
        except OSError as error:
            reason = f"{self.place} cannot be written: {files.reason(error)}"
            raise RawgenaiError("output_write_error", reason, task_id=task_id, final=True) from error
        return self.place

    def earlier(self) -> tuple[Task, int] | None:
        """Take up what an earlier call for the same left behind: a task that was paid, or may have been."""
        book = self.means.book
        for row in book.by_digest(self.order.digest):
            young = self.means.now() - row.created_at < submitting.REMEMBERED
            if not young or row.output is None:
                continue
            if row.state in UNSETTLED:
                if book.is_claimed(row):  # on its way, for one that wanted a clip of its own
                    continue
                row = self._settled(row)  # noqa: PLW2901 - the same row, as it is now
            if row.task_id is not None and row.status not in ("failed", "canceled"):
                if not book.is_claimed(row):  # else another process keeps what it promised
                    book.claim(row.id, self.claim)
                    book.update(row.task_id, output=self.place)
                return Task(task_id=row.task_id, status=row.status or "pending"), row.id
        return None

    def _settled(self, row: "Row") -> "Row":
        """Find out what became of a submission. Raises RawgenaiError, outcome unknown, where nobody can tell yet."""
        book = self.means.book
        try:
            with book.settling(self.left()):
                now = book.row(row.id) or row  # another process may have settled it while we waited
                if now.state in UNSETTLED:
                    recovery.settle_all([now], self.means, absent=self.settle, timeout=self.left())
        except RawgenaiError as unread:  # the list says nothing of the task, or not in time
            raise wire.unknown(unread) from unread
        now = book.row(row.id) or row
        if now.state in UNSETTLED:
            error = RawgenaiError(now.code or "connection_error", "an earlier submission of the same is not settled")
            raise wire.unknown(error)
        return now

    def submitted(self, key: str | None) -> tuple[Task, int]:
        """Submit the order; where its outcome is unknown, settle it: it is never sent again."""
        book = self.means.book
        try:
            patience = min(self.left(), submitting.KEY_PATIENCE)
            return submitting.submit(
                self.order, self.means, key=key, patience=patience, claim=self.claim, output=self.place
            )
        except RawgenaiError as error:
            row = self._unknown(key) if error.outcome == "unknown" else None
            if row is None:
                raise
            self.means.warn(f"{error.code}: {error.message.partition(';')[0]}; asking the API what became of it")
            now = self._settled(row)
            if now.task_id is None:
                message = f"{error.message.partition(';')[0]}; the task was not created, and nothing is paid"
                raise RawgenaiError(error.code, message, request_id=error.request_id) from error
        book.claim(now.id, self.claim)
        return Task(task_id=now.task_id, status=now.status or "pending"), now.id

    def _unknown(self, key: str | None) -> "Row | None":
        """Find the row of our own submission, or of our key's, that nobody knows the outcome of."""
        rows = self.means.book.unsettled()
        return next((row for row in rows if row.claim == self.claim or (key is not None and row.key == key)), None)

    def delivered(self, task_id: str) -> Clip:
        """Wait for a task and download its clip. Raises RawgenaiError, with the task's id."""
        means = self.means
        task, file = tasks.deliver(
            task_id,
            os.path.join(self.place, f"{task_id}.mp4") if self.place.endswith(os.sep) else self.place,
            timeout=self.left(),
            interval=self.interval,
            created_at=None if means.book.path else means.now(),  # what no ledger remembers was created just now
            settings=means.settings,
            send=means.send,
            ledger=means.book,
            warn=means.warn,
            seen=self.seen,
            progress=means.progress,
            now=means.now,
            sleep=means.sleep,
            clock=means.clock,
        )
        return Clip(task, file)
