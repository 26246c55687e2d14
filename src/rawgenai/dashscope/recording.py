"""What the ledger is told of tasks, and how it is opened for a call.

A broken ledger stops a create; to whoever only learns something of a task it is a warning (ruling 24).
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rawgenai import media
from rawgenai.config import Settings
from rawgenai.dashscope import wire
from rawgenai.dashscope.wire import TERMINAL, Task
from rawgenai.errors import RawgenaiError
from rawgenai.message import Send

if TYPE_CHECKING:
    from rawgenai.ledger import Ledger

Warn = Callable[[str], None]  # tells a person
Progress = Callable[[int, int | None], None]  # bytes so far, bytes in all where known


def silent(*_: object) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a line works with: the settings, what sends, the open ledger; whom to tell; time and sleep."""

    settings: Settings
    send: Send
    book: "Ledger"
    warn: Warn = silent
    progress: Progress = silent
    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


@contextmanager
def warned(warn: Warn) -> Iterator[None]:
    """Turn an error into a warning, where something else matters more."""
    try:
        yield
    except RawgenaiError as error:
        warn(error.message)


@contextmanager
def recorded(ledger: "Ledger | None", *, create: bool = True) -> Iterator["Ledger"]:
    """Give the caller's ledger, or open the user's own and close it again; ``create`` makes it where there is none."""
    if ledger is not None:
        yield ledger
        return
    from rawgenai.ledger import open_ledger

    with open_ledger(create=create) as opened:
        yield opened


def note(ledger: "Ledger | None", warn: Warn, task: Task, **facts: Any) -> None:
    """Write down what was learnt of a task that the ledger knows; a broken ledger is a warning here (ruling 24)."""
    answer = wire.to_json(task) if task.status in TERMINAL else None
    with warned(warn), recorded(ledger, create=False) as book:
        book.update(task.task_id, status=task.status, answer=answer, **facts)


def note_file(ledger: "Ledger | None", warn: Warn, task_id: str, target: str) -> None:
    """Write down where a clip went and what it holds, so that it is known for whole later."""
    with warned(warn), recorded(ledger, create=False) as book:
        if book.find(task_id) is not None:
            book.update(task_id, file=target, file_digest=file_digest(target))


def file_digest(path: str) -> str | None:
    """Name a file's content; None where it is not there, or cannot be read."""
    try:
        return media.fingerprint(path, os.stat(path).st_size)[0]
    except OSError:
        return None
