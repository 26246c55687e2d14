"""A terminal of 40 columns for the tests: runs the command line at it, and shows what a person would see."""

import os
import re
import signal
import subprocess
import threading
import unicodedata
from collections.abc import Callable, Mapping
from typing import NamedTuple

from faulty import Run, command, environ

COLUMNS = 40


class Terminal:
    """The side of a pseudo terminal where a person sits: what was drawn, and keys to press."""

    def __init__(self, ours: int) -> None:
        self._ours = ours
        self._more = threading.Condition()
        self.drawn = bytearray()

    def read(self) -> None:
        """Take in what is drawn until the other side is closed."""
        while True:
            try:
                piece = os.read(self._ours, 65536)
            except OSError:  # Linux's way to say that the other side is closed
                return
            if not piece:
                return
            with self._more:
                self.drawn.extend(piece)
                self._more.notify_all()

    def wait_for(self, text: bytes) -> None:
        """Wait until a text was drawn."""
        with self._more:
            assert self._more.wait_for(lambda: text in self.drawn, timeout=20), bytes(self.drawn)

    def press(self, keys: bytes) -> None:
        """Press keys; Ctrl-C is 3."""
        os.write(self._ours, keys)


def at_terminal(
    url: str,
    *arguments: str,
    both: bool = False,
    meanwhile: Callable[[Terminal, subprocess.Popen[bytes]], None] = lambda *_: None,
    more: Mapping[str, str] | None = None,
) -> tuple[Run, bytes]:
    """Run the command line with stderr, or both streams, at a terminal; what it did, and what it drew.

    It has 40 columns, or as many as COLUMNS says, which the command itself never sees.
    """
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 10, int((more or {}).get("COLUMNS", COLUMNS)), 0, 0))
    env = environ(url, **{"TERM": "xterm", **(more or {})})
    env.pop("COLUMNS", None)
    terminal = Terminal(ours)
    reader = threading.Thread(target=terminal.read)
    with subprocess.Popen(
        command(*arguments),
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=theirs if both else subprocess.PIPE,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=_sit_down,  # noqa: PLW1509 - two calls, and no lock is held
    ) as process:
        os.close(theirs)
        reader.start()
        meanwhile(terminal, process)
        stdout = process.stdout.read() if process.stdout else b""
        process.wait(timeout=30)
    reader.join()
    os.close(ours)
    return Run(process.returncode, stdout.decode(), ""), bytes(terminal.drawn)


def _sit_down() -> None:
    """Make stderr the terminal of this process, and hear its Ctrl-C, which a shell's background job ignores."""
    import fcntl
    import termios

    fcntl.ioctl(2, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Screen(NamedTuple):
    """What a terminal shows after it was written to."""

    lines: list[str]  # not blank
    widest: int  # column that was ever written to
    redrawn: int  # how often a line was begun anew
    cursor: bool  # it can be seen
    rows: int  # that were ever used


_PIECE = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|(\r)|(\n)|([^\x00-\x1f\x7f-\x9f])")


def play(written: bytes) -> Screen:
    """Draw on a screen as a terminal does; what is not known here fails."""
    text, place = written.decode(), 0
    rows: dict[int, dict[int, str]] = {}
    row = column = widest = redrawn = deepest = 0
    cursor = True
    while place < len(text):
        piece = _PIECE.match(text, place)
        assert piece, f"a terminal would act on {text[place : place + 10]!r}"
        place = piece.end()
        argument, control, back, down, letter = piece.groups()
        if letter:
            rows.setdefault(row, {})[column] = letter
            column += 2 if unicodedata.east_asian_width(letter) in "WF" else not unicodedata.combining(letter)
            widest, deepest = max(widest, column), max(deepest, row)
        elif back:
            column, redrawn = 0, redrawn + 1
        elif down:
            row += 1
        elif control == "K":
            line = rows.get(row, {})
            rows[row] = {} if argument == "2" else {at: letter for at, letter in line.items() if at < column}
        elif control == "A":
            row -= int(argument or 1)
            assert row >= 0
        elif argument == "?25":
            cursor = control == "h"
        else:
            assert control in "mhl", f"a terminal would act on {piece[0]!r}"
    shown = ["".join(line[at] for at in sorted(line)) for _, line in sorted(rows.items())]
    return Screen([line.rstrip() for line in shown if line.strip()], widest, redrawn, cursor, deepest + 1)
