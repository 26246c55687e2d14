"""What a person, a log and a dumb terminal see while tasks are waited for."""

import errno
import io
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from terminal import COLUMNS, Screen, Terminal, at_terminal, play

from account import CLIP, Answer, Lost, World, task
from faulty import CLOSE, TASK, refuses
from rawgenai.cli import streams, watching
from rawgenai.cli.watching import Display, Watch
from rawgenai.dashscope.waiting import Look
from rawgenai.dashscope.wire import TERMINAL, Task
from rawgenai.errors import RawgenaiError
from rawgenai.ledger import STATUSES

PASSING = ("server_error", "timeout", "connection_error", "rate_limit", "task_not_found")


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds


def _saw(status: str, task_id: str = "a", *, trouble: str | None = None) -> Look:
    found = RawgenaiError(trouble) if trouble else Task(task_id=task_id, status=status)
    return Look(task_id, found, ended=status in TERMINAL)


def _watched(*looks: Look, gone: float = 0.0, minutes: tuple[int, int] | None = (1, 5), total: int = 1) -> str:
    clock = Clock()
    watch = Watch("waiting", minutes, total=total, clock=clock)
    for look in looks:
        watch.seen(look)
    clock.time += gone
    return watch.line()


# --- the line ---------------------------------------------------------------------------------------------------------


def test_what_is_done_stands_whole_before_the_time() -> None:
    assert Watch("shot 1 of 2", (1, 5), clock=Clock()).line() == "shot 1 of 2 0:00"


def test_the_line_says_status_time_gone_and_time_usual() -> None:
    assert _watched(_saw("running"), gone=65) == "running 1:05 (usually 1-5 min)"
    assert _watched(_saw("pending"), gone=3599, minutes=(5, 10)) == "pending 59:59 (usually 5-10 min)"
    assert _watched(_saw("running"), gone=7384, minutes=None) == "running 2:03:04"


def test_before_anything_is_known_the_line_says_what_is_done() -> None:
    assert _watched(gone=2) == "waiting 0:02"
    assert _watched(_saw("", trouble="timeout"), gone=2) == "waiting 0:02 (retry: timeout)"


def test_trouble_is_said_beside_what_was_known_until_it_is_over() -> None:
    trouble = _saw("", trouble="rate_limit")
    assert _watched(_saw("running"), trouble) == "running 0:00 (retry: rate_limit)"
    assert _watched(_saw("running"), trouble, _saw("running")) == "running 0:00 (usually 1-5 min)"


@pytest.mark.parametrize("minutes", [(1, 5), (5, 10)])
@pytest.mark.parametrize("trouble", [None, *PASSING])
@pytest.mark.parametrize("status", sorted({"", *STATUSES} - {*TERMINAL}))
def test_the_line_of_one_task_fits_into_40_columns(status: str, trouble: str | None, minutes: tuple[int, int]) -> None:
    looks = [_saw(status)] if status else []
    looks += [_saw("", trouble=trouble)] if trouble else []
    assert len(_watched(*looks, gone=59 * 60 + 59, minutes=minutes)) <= COLUMNS


def test_the_line_of_several_tasks_counts_them() -> None:
    looks = [_saw("running", "a"), _saw("pending", "b"), _saw("running", "c"), _saw("succeeded", "d")]
    assert _watched(*looks, gone=65, total=45) == "1 of 45 ended 1:05; 2 running, 1 pending"
    assert _watched(_saw("failed"), _saw("succeeded", "b"), total=2) == "2 of 2 ended 0:00"


def test_the_time_of_a_task_counts_from_its_creation() -> None:
    watch = Watch("waiting", age=125, clock=Clock())
    assert watch.line() == "waiting 2:05"


def test_a_line_that_is_longer_is_cut_and_never_wrapped() -> None:
    watch = Watch("waiting", total=99, clock=Clock())
    for number, status in enumerate((*["running"] * 40, *["pending"] * 30)):
        watch.seen(_saw(status, f"task-{number}"))
    watch.seen(_saw("", "task-0", trouble="connection_error"))
    assert len(watch.line()) > COLUMNS
    drawn = io.StringIO()
    Console(file=drawn, width=COLUMNS).print(watching._Live(watch))
    assert drawn.getvalue() == "0 of 99 ended 0:00; 39 running, 30 pend…\n"


def test_what_is_printed_beside_the_live_line_stays_on_stdout(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "is_person", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes what pytest captures for a terminal
    with Display(Watch("waiting"), quiet=False) as display:
        display.show()
        print("an envelope")
    out, err = capsys.readouterr()
    assert out == "an envelope\n"
    assert "waiting 0:0" in err


# --- a log ------------------------------------------------------------------------------------------------------------


def _log(capsys: pytest.CaptureFixture[str], act: Callable[[Display, Clock], None], *, total: int = 1) -> list[str]:
    clock = Clock()
    watch = Watch("waiting", (1, 5), total=total, clock=clock)
    with Display(watch, quiet=False, clock=clock, nap=clock.sleep) as display:
        act(display, clock)
    return capsys.readouterr().err.splitlines()


def test_a_log_gets_a_line_for_each_change_and_one_for_each_minute(capsys: pytest.CaptureFixture[str]) -> None:
    def act(display: Display, clock: Clock) -> None:
        for status in ("pending", "running", *["running"] * 9, "succeeded"):
            display.sleep(15)
            display.seen(_saw(status))

    assert _log(capsys, act) == [
        "a: pending after 0:15 (usually 1-5 min)",
        "a: running after 0:30",
        "running 1:30 (usually 1-5 min)",
        "running 2:30 (usually 1-5 min)",
        "a: succeeded after 3:00",
    ]


def test_a_log_gets_its_line_each_minute_of_one_long_sleep_too(capsys: pytest.CaptureFixture[str]) -> None:
    def act(display: Display, clock: Clock) -> None:
        display.sleep(200)
        assert clock.time == 1200

    assert _log(capsys, act) == ["waiting 1:00", "waiting 2:00", "waiting 3:00"]


def test_a_log_says_trouble_once_and_when_it_is_over(capsys: pytest.CaptureFixture[str]) -> None:
    def act(display: Display, clock: Clock) -> None:
        for look in (_saw("running"), *[_saw("", trouble="server_error")] * 3, _saw("running")):
            display.seen(look)
            display.sleep(5)

    assert _log(capsys, act) == [
        "a: running after 0:00 (usually 1-5 min)",
        "a: running (retry: server_error) after 0:05",
        "a: running after 0:20",
    ]


def test_a_log_of_many_tasks_gets_one_line_each_minute_for_all(capsys: pytest.CaptureFixture[str]) -> None:
    def act(display: Display, clock: Clock) -> None:
        for number in range(5):
            display.seen(_saw("running", f"task-{number}"))
        display.sleep(61)

    lines = _log(capsys, act, total=5)
    assert len(lines) == 6
    assert lines[-1] == "0 of 5 ended 1:00; 5 running"


def test_quiet_says_nothing_and_sleeps_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with Display(Watch("waiting", clock=clock), quiet=True, clock=clock, nap=clock.sleep) as display:
        display.show()
        display.sleep(120)
        display.seen(_saw("running"))
        display.warn("x")
    assert (clock.slept, capsys.readouterr().err) == ([120], "")


def test_a_sleep_lasts_as_long_as_it_should(capsys: pytest.CaptureFixture[str]) -> None:
    def act(display: Display, clock: Clock) -> None:
        for seconds in (0.0, 0.1, 59.9, 60.0, 61.0, 1800.0):
            before = clock.time
            display.sleep(seconds)
            assert clock.time - before == pytest.approx(seconds)
        assert watching.MINUTE == 60

    _log(capsys, act)


# --- a terminal -------------------------------------------------------------------------------------------------------

posix = pytest.mark.skipif(os.name != "posix", reason="pseudo terminals are POSIX")
CAT = "月光下的小猫在花园里玩耍很久很久.mp4"
SECONDS = 1.5
FLAGS = ("--poll-interval", "0.5")


def _generate(
    folder: Path,
    *flags: str,
    seconds: float = SECONDS,
    scripts: dict[str, list[Answer]] | None = None,
    more: dict[str, str] | None = None,
    meanwhile: Callable[[Terminal, subprocess.Popen[bytes]], None] = lambda *_: None,
) -> tuple[int, Screen, bytes]:
    """Generate at a terminal: the exit status, what is left on the screen, and all that was drawn."""
    argv = ("dashscope", "video", "generate", "月光", "-o", str(folder / CAT), *FLAGS, *flags)
    with World(scripts or {}, seconds=seconds, now=time.time).served() as world:
        run, drawn = at_terminal(world.url, *argv, more=more, meanwhile=meanwhile)
    assert world.posts() == 1
    return run.status, play(drawn), drawn


def _is_bill(lines: list[str]) -> bool:
    """Tell whether all that is left on a screen is what the task costs."""
    return len(lines) == 1 and lines[0].startswith(f"task {TASK}: 5 s are billed")


def _wait(*argv: str, end: str = "SUCCEEDED", more: dict[str, str] | None = None) -> tuple[int, Screen, bytes]:
    """Wait at a terminal for tasks that end after two seconds."""
    others = {"one": (end, SECONDS), "two": (end, SECONDS / 2)}
    with World({}, others=others, now=time.time).served() as world:
        run, drawn = at_terminal(world.url, "dashscope", "video", "wait", *argv, *FLAGS, more=more)
    return run.status, play(drawn), drawn


@pytest.mark.slow
@pytest.mark.platform
@posix
def test_generate_shows_one_line_in_place_then_the_bar_and_leaves_nothing_but_the_bill(tmp_path: Path) -> None:
    status, screen, drawn = _generate(tmp_path, scripts={"status": [task("PENDING")]})
    assert (status, screen.cursor) == (0, True)
    assert _is_bill(screen.lines)
    assert screen.rows == 2  # the bill's, and that of the line
    assert play(drawn.replace(screen.lines[0].encode(), b"")).widest <= COLUMNS
    assert screen.redrawn > 4
    said = drawn.decode()
    stages = (r"submitting 0:0\d", r"pending 0:0\d \(usually 1-5 min\)", r"running 0:0[1-9]", "月光")
    assert re.search(".*".join(stages), said, re.DOTALL)
    assert (tmp_path / CAT).read_bytes() == CLIP


@pytest.mark.slow
@pytest.mark.platform
@posix
def test_wait_shows_one_line_in_place_and_leaves_nothing() -> None:
    status, screen, drawn = _wait("one")
    assert (status, screen.lines, screen.rows, screen.cursor) == (0, [], 1, True)
    assert screen.widest <= COLUMNS
    assert re.search(rb"running 0:0[1-9]", drawn)
    assert not re.search(rb"\x1b\[\d+(;\d+)*m", drawn)


@pytest.mark.slow
@pytest.mark.platform
@posix
def test_a_wait_for_several_counts_them_in_one_line() -> None:
    status, screen, drawn = _wait("one", "two")
    assert (status, screen.lines, screen.cursor) == (0, [], True)
    assert screen.widest <= COLUMNS
    assert re.search(rb"1 of 2 ended 0:0\d; 1 running", drawn)


@pytest.mark.platform
@posix
def test_a_task_that_has_ended_already_draws_nothing() -> None:
    with World({}, others={"one": ("SUCCEEDED", 0.0)}, now=time.time).served() as world:
        run, drawn = at_terminal(world.url, "dashscope", "video", "wait", "one")
    assert (run.status, drawn) == (0, b"")


@pytest.mark.slow
@pytest.mark.platform
@posix
def test_a_failure_is_alone_on_the_screen() -> None:
    status, screen, _ = _wait("one", end="FAILED")
    assert (status, screen.cursor, screen.lines[0], screen.lines[-1]) == (1, True, "{", "}")


@pytest.mark.slow
@pytest.mark.platform
@posix
def test_a_dumb_terminal_gets_the_lines_of_a_log(tmp_path: Path) -> None:
    status, screen, drawn = _generate(tmp_path, more={"TERM": "dumb"})
    assert status == 0
    assert not re.search(rb"\x1b|\r(?!\n)", drawn)
    bill, first, *changes, _ = screen.lines
    assert _is_bill([bill])
    assert re.fullmatch(rf"{TASK}: pending after 0:0\d \(usually 1-5 min\)", first)
    assert [line.partition(" after ")[0] for line in changes[:2]] == [f"{TASK}: running", f"{TASK}: succeeded"]
    assert screen.lines[-1] == f"{CAT}: 100% of 0.1 MB"


@pytest.mark.slow
@pytest.mark.platform
@posix
def test_no_color_means_none_while_waiting_and_downloading(tmp_path: Path) -> None:
    status, screen, drawn = _generate(tmp_path, more={"NO_COLOR": "1"})
    assert (status, _is_bill(screen.lines)) == (0, True)
    assert screen.redrawn > 4
    assert not re.search(rb"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7])(?:;\d+)*m", drawn)


@pytest.mark.slow
@pytest.mark.platform
@posix
def test_quiet_means_nothing_at_a_terminal(tmp_path: Path) -> None:
    assert _generate(tmp_path, "-q")[2] == b""
    assert _wait("one", "-q")[2] == b""


@pytest.mark.slow
@pytest.mark.platform
@posix
def test_a_warning_stands_whole_above_the_live_line(tmp_path: Path) -> None:
    status, screen, drawn = _generate(tmp_path, "--settle", "3", scripts={"create": [Lost(CLOSE)]})
    assert (status, screen.cursor, _is_bill(screen.lines[1:])) == (0, True, True)
    assert screen.lines[0].startswith("warning: connection_error: ")
    assert screen.lines[0].endswith("; asking the API what became of it")
    assert re.search(rb"submitting 0:0[1-9]", drawn)


@pytest.mark.slow
@pytest.mark.platform
@posix
def test_trouble_shows_in_the_live_line(tmp_path: Path) -> None:
    down = refuses(503, "ModelUnavailable")
    _, screen, drawn = _generate(tmp_path, scripts={"status": [down, down]})
    assert _is_bill(screen.lines)
    assert re.search(rb"pending 0:0\d \(retry: server_error\)", drawn)


def _press(keys: bytes) -> Callable[[Terminal, subprocess.Popen[bytes]], None]:
    def act(terminal: Terminal, _: subprocess.Popen[bytes]) -> None:
        terminal.wait_for(b"running 0:0")
        terminal.press(keys)

    return act


def _send(number: signal.Signals) -> Callable[[Terminal, subprocess.Popen[bytes]], None]:
    def act(terminal: Terminal, process: subprocess.Popen[bytes]) -> None:
        terminal.wait_for(b"running 0:0")
        process.send_signal(number)

    return act


ENDS = {"Ctrl-C": (_press(b"\x03"), 130, "interrupted"), "SIGTERM": (_send(signal.SIGTERM), 143, "terminated")}


@pytest.mark.platform
@posix
@pytest.mark.parametrize("name", ["Ctrl-C", pytest.param("SIGTERM", marks=pytest.mark.slow)])
def test_a_signal_leaves_clean_lines_and_the_cursor(name: str, tmp_path: Path) -> None:
    meanwhile, expected, word = ENDS[name]
    status, screen, drawn = _generate(tmp_path, seconds=60, meanwhile=meanwhile)
    assert status == expected
    assert screen.cursor
    bill, advice, last = screen.lines
    assert _is_bill([bill])
    assert advice.startswith("the task is not stopped, only the waiting; to go on: rawgenai dashscope video wait ")
    assert advice.endswith(f" -o '{tmp_path / CAT}'")  # quoted, as a shell wants it
    assert last == word
    assert (b"^C" in drawn) == (name == "Ctrl-C")  # it was echoed, and wiped away with the live line


@pytest.mark.parametrize("name", ["start", "refresh", "stop"])
def test_a_terminal_that_is_closed_while_a_line_is_shown_fails_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*_: Any, **__: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(streams, "is_person", lambda: True)
    discarded: list[object] = []
    monkeypatch.setattr(streams, "discard", discarded.append)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(f"rich.live.Live.{name}", closed)
    with Display(Watch("two", (1, 5)), quiet=False) as display:
        display.show()
        display.seen(Look(TASK, Task(task_id=TASK, status="running"), ended=False))
        display.warn("it was created all the same")
    assert discarded
