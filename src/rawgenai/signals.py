"""Ctrl-C, SIGTERM and SIGHUP as exceptions, which are never raised in the middle of Python's own import machinery.

There, an exception can be lost with the import lock still held, and the next thread that imports waits for ever.
"""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

_IMPORTING = "<frozen importlib"  # how the file names of that machinery begin
_SOON = 0.02  # seconds


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP came; it passes everything that catches mere errors, as Ctrl-C does."""

    status = 143  # the exit status; Ctrl-C's own is 130


RAISED: dict[int, type[KeyboardInterrupt]] = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}
if hasattr(signal, "SIGHUP"):  # the terminal was closed; Windows has no such signal
    RAISED[signal.SIGHUP] = Terminated


def listen() -> None:
    """Answer these signals from now on; only the main thread can."""
    if threading.current_thread() is threading.main_thread():
        for number in RAISED:
            if signal.getsignal(number) is not signal.SIG_IGN:  # what a parent ignored for us stays so
                signal.signal(number, answer)


def interrupt_in(error: BaseException | None) -> KeyboardInterrupt | None:
    """Find the interrupt that an error wraps: until Python 3.12, one that meets a class in the making is wrapped."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error


def answer(number: int, frame: FrameType | None, *, later: Callable[..., Any] = threading.Timer) -> None:
    """Raise the signal's exception, or the signal once more where this is no moment for it."""
    if frame is not None and frame.f_code.co_filename.startswith(_IMPORTING):
        timer = later(_SOON, signal.raise_signal, (number,))
        timer.daemon = True
        timer.start()
        return
    raise RAISED[number]
