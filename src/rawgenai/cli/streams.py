"""Stdout, where one envelope goes, and stderr, where people are talked to (design section 4)."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from rawgenai.errors import RawgenaiError
from rawgenai.secret import redact


class StdoutError(Exception):
    """What should be on stdout is not: it is closed, or its disk is full."""


def out(result: dict[str, Any] | str) -> None:
    """Print a command's value, and make sure that it is out. Raises StdoutError, BrokenPipeError."""
    stream = sys.stdout
    if stream is None or stream.closed:
        raise StdoutError("it is closed")
    if isinstance(result, str):
        text = result
    else:
        from rawgenai import envelope

        text = envelope.dumps(result, indent=stream.isatty())
    try:
        _write(stream, redact(text) + "\n")
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StdoutError(error.strerror or str(error)) from error


def failure(error: RawgenaiError) -> None:
    """Print an error's envelope as the last line of stderr."""
    from rawgenai import envelope

    indent = sys.stderr is not None and sys.stderr.isatty()
    err(envelope.dumps(envelope.failure(error), indent=indent), lines=indent)


def err(text: str, *, lines: bool = False) -> None:
    """Print text for people on stderr: one line, unless it may be more; where stderr is gone, nobody reads it."""
    if sys.stderr is None or sys.stderr.closed:
        return
    from rawgenai import envelope

    text = "\n".join(map(envelope.line, text.split("\n"))) if lines else envelope.line(text)
    try:
        _write(sys.stderr, redact(text).rstrip("\n") + "\n")
    except OSError:
        discard(sys.stderr)


def _write(stream: TextIO, text: str) -> None:
    """Write UTF-8 whatever the locale says: an envelope is JSON."""
    buffer = getattr(stream, "buffer", None)
    if buffer is None or stream.isatty():
        encoding = stream.encoding or "utf-8"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
        return
    stream.flush()
    buffer.write(text.encode("utf-8", "backslashreplace"))
    buffer.flush()


def discard(stream: TextIO) -> None:
    """Lead a stream that failed nowhere: what is still in its buffer would fail again when the interpreter ends."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError, AttributeError):
        return


@contextmanager
def unseen() -> Iterator[None]:
    """Go on where a person's terminal was closed while something is shown on it: nobody looks."""
    try:
        yield
    except OSError:
        discard(sys.stderr)


def is_screen() -> bool:
    """Tell whether stdout is a terminal, where a table is better than an envelope."""
    return sys.stdout is not None and not sys.stdout.closed and sys.stdout.isatty()


def drawn(draw: Callable[[int], Iterable[Any]]) -> str:
    """Draw what rich can draw as text for stdout; ``draw`` is given the columns that there are."""
    from rich.console import Console

    console = Console(highlight=False)
    with console.capture() as capture:
        console.print(*draw(console.width), sep="\n")
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def is_person() -> bool:
    """Tell whether somebody looks at stderr."""
    return sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty()


def warner(*, quiet: bool) -> Callable[[str], None]:
    """Give the function that tells people of warnings."""
    return (lambda _: None) if quiet else (lambda text: err(f"warning: {text}"))


_UNITS = {"MB": 1e6, "s": 1}  # of what is counted: bytes of a transfer, seconds of a film


@contextmanager
def transfer(label: str, *, quiet: bool, unit: str = "MB") -> Iterator[Callable[[int, int | None], None]]:
    """Show how far a transfer is, or a film: a live line at a terminal, plain lines at a dumb one, else nothing."""
    if quiet or not is_person():
        yield lambda _done, _total: None
    elif os.environ.get("TERM") == "dumb":
        with _plain_transfer(label, unit) as show:
            yield show
    else:
        with _live_transfer(label, unit) as show:
            yield show


@contextmanager
def _plain_transfer(label: str, unit: str) -> Iterator[Callable[[int, int | None], None]]:
    last = -1

    def show(done: int, total: int | None) -> None:
        nonlocal last
        quarter = 4 * done // total if total else 0
        if quarter > last:
            last = quarter
            err(f"{label}: {25 * quarter}% of {total / _UNITS[unit]:.1f} {unit}" if total else f"{label}: started")

    yield show


@contextmanager
def _live_transfer(label: str, unit: str) -> Iterator[Callable[[int, int | None], None]]:
    bar: Any = None

    def show(done: int, total: int | None) -> None:
        nonlocal bar
        new = bar is None
        bar = bar or _bar(label, unit)  # only now is there anything to show
        with unseen():
            bar.update(0, completed=done, total=total)
            if new:
                bar.start()

    try:
        yield show
    finally:
        if bar is not None:
            with unseen():
                bar.stop()


def _bar(label: str, unit: str) -> Any:
    """Make a bar with one task, 0, that fits into the terminal and is cleared at the end."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.table import Column

    from rawgenai import envelope

    console = Console(stderr=True)
    bar_width = min(40, console.width // 4)
    label_width = max(4, console.width - bar_width - 20)  # the longest numbers have 18 columns
    columns = [
        TextColumn(
            "{task.description}",
            markup=False,  # a file may be named [bold]
            table_column=Column(no_wrap=True, overflow="ellipsis", max_width=label_width),
        ),
        BarColumn(bar_width=bar_width),
        *(
            (DownloadColumn(table_column=Column(no_wrap=True)),)
            if unit == "MB"
            else (MofNCompleteColumn(), TextColumn(unit))
        ),
    ]
    bar = Progress(*columns, console=console, transient=True, expand=False)
    bar.add_task(envelope.line(label), total=None)
    return bar


def emulated(base_url: str) -> None:
    """Tell a person that nothing is real, where the emulator answers (ruling 25)."""
    if base_url == "emulator" and is_person():
        err("the emulator answers: nothing is sent to DashScope and nothing is paid")
