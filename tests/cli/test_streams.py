"""What is on stdout and stderr, and what when one of them is closed, full, a pipe that nobody reads, or a terminal."""

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from terminal import COLUMNS, at_terminal, play

import corpus
from faulty import (
    CREATE,
    CREATED,
    HEAD_END,
    STATUS,
    TASK,
    Early,
    Run,
    Server,
    Step,
    clip,
    command,
    download_to,
    environ,
    header,
    ranged,
    rawgenai,
    refuses,
    reply,
    says,
    serving,
    succeeded,
)
from rawgenai.ledger import Ledger

pytestmark = [
    pytest.mark.slow,  # real processes, most of them at terminals
    pytest.mark.platform,
    pytest.mark.skipif(os.name != "posix", reason="shells, pseudo terminals and /dev are POSIX"),
]


# --- stdout and stderr that fail ----------------------------------------------------------------------------------


def _shell(url: str, redirection: str, *arguments: str, **more: str) -> Run:
    """Run the command line with a shell's redirection."""
    run = subprocess.run(
        ["sh", "-c", f'"$@" {redirection}', "sh", *command(*arguments)],
        env=environ(url, **more),
        capture_output=True,
        check=False,
        text=True,
    )
    return Run(run.returncode, run.stdout, run.stderr)


def _states(folder: Path) -> list[tuple[str, str | None]]:
    with Ledger(str(folder / "state" / "rawgenai" / "tasks.db")) as ledger:
        return [(row.state, row.task_id) for row in ledger.rows()]


LOST = (">&-", ">/dev/full", "> /dev/full 2>&1", "<&- >&- 2>&-")


@pytest.mark.skipif("sys.platform != 'linux'", reason="/dev/full is Linux's")
@pytest.mark.parametrize("redirection", LOST)
def test_a_task_whose_envelope_cannot_be_printed_is_named_on_stderr_and_in_the_ledger(
    redirection: str, tmp_path: Path
) -> None:
    with serving(CREATED) as server:
        run = _shell(server.url, redirection, *CREATE)
    assert (run.status, server.posts()) == (1, 1)
    assert _states(tmp_path) == [("accepted", TASK)]
    if "2>" not in redirection:
        assert run.stderr.count("\n") == 1
        assert (run.error["code"], run.error["task_id"]) == ("output_write_error", TASK)


def _to_nobody(*arguments: str, url: str = "emulator") -> tuple[int, str]:
    """Run the command line with a stdout whose reader has gone; its exit status and stderr."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        run = subprocess.run(
            command(*arguments),
            env=environ(url),
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=subprocess.PIPE,
            check=False,
            text=True,
        )
    finally:
        os.close(writer)
    return run.returncode, run.stderr


def test_a_task_whose_reader_has_gone_is_named_on_stderr(tmp_path: Path) -> None:
    with serving(CREATED) as server:
        status, stderr = _to_nobody(*CREATE, url=server.url)
    assert status == 141
    assert f'"task_id": "{TASK}"' in stderr
    assert stderr.count("\n") == 1
    assert _states(tmp_path) == [("accepted", TASK)]


TEXTS = (["--version"], ["config", "-h"], [*CREATE, "--dry-run=curl"])


@pytest.mark.parametrize("arguments", TEXTS, ids=" ".join)
def test_a_reader_that_has_gone_is_no_reason_to_complain(arguments: list[str]) -> None:
    assert _to_nobody(*arguments) == (141, "")


@pytest.mark.skipif("sys.platform != 'linux'", reason="/dev/full is Linux's")
@pytest.mark.parametrize("redirection", [">/dev/full", ">&-"])
@pytest.mark.parametrize("arguments", TEXTS, ids=" ".join)
def test_text_that_cannot_be_printed_is_an_error(arguments: list[str], redirection: str) -> None:
    run = _shell("emulator", redirection, *arguments)
    assert (run.status, run.stdout, run.error["code"]) == (1, "", "output_write_error")


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
def test_without_stderr_all_goes_on(redirection: str, tmp_path: Path) -> None:
    with serving(CREATED, refuses(401, "InvalidApiKey")) as server:
        run = _shell(server.url, redirection, *CREATE)
        assert (run.status, run.envelope["task_id"], run.stderr) == (0, TASK, "")
        run = _shell(server.url, redirection, *CREATE)
        assert run == Run(3, "", "")
    assert {state for state, _ in _states(tmp_path)} == {"accepted", "refused"}


@pytest.mark.parametrize("more", [{"PYTHONIOENCODING": "ascii"}, {"PYTHONUTF8": "0", "LC_ALL": "C"}])
def test_an_envelope_is_utf_8_whatever_the_locale(more: dict[str, str]) -> None:
    with serving(refuses(400, "InvalidParameter", "月光下的小猫")) as server:
        run = rawgenai(server.url, *STATUS, **more)
    assert "月光下的小猫" in run.error["message"]


def test_an_envelope_is_one_line_where_nobody_looks() -> None:
    with serving(succeeded("https://clips.example.test/a")) as server:
        run = rawgenai(server.url, *STATUS)
        failed = rawgenai(server.url, *STATUS[:-1], "no id")
    assert (run.stdout.count("\n"), run.stderr) == (1, "")
    assert (failed.stderr.count("\n"), failed.stdout) == (1, "")


# --- a terminal ---------------------------------------------------------------------------------------------------


CLIP = clip(3_000_000)


def _transfer(
    tmp_path: Path,
    name: str = "cat.mp4",
    *,
    pause: float = 0.01,
    both: bool = False,
    more: dict[str, str] | None = None,
) -> tuple[Run, bytes]:
    with serving(ranged(CLIP, pause=pause)) as host, serving(succeeded(f"{host.url}/cat.mp4")) as server:
        run, drawn = at_terminal(server.url, *download_to(tmp_path / name), both=both, more=more)
    assert run.status == 0, (run, drawn)
    assert (tmp_path / name).read_bytes() == CLIP
    return run, drawn


_COLOUR = re.compile(rb"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7])(?:;\d+)*m")
NAMES = (
    "cat.mp4",
    "月光下的小猫在花园里玩耍很久很久.mp4",
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("a-very-long-name-of-a-clip-that-is-wider.mp4", "[bold]cat[-bold].mp4", "esc\x1b[31m.mp4")
    ),
)


@pytest.mark.parametrize("name", NAMES)
def test_progress_is_redrawn_in_place_never_wrapped_and_cleared_at_the_end(name: str, tmp_path: Path) -> None:
    run, drawn = _transfer(tmp_path, name, pause=0.03)
    screen = play(drawn)
    assert screen.redrawn > 1
    assert screen.widest <= COLUMNS
    assert screen.lines == []
    assert b"3.0/3.0 MB" in drawn
    assert _COLOUR.search(drawn)
    assert run.envelope["success"] is True
    assert run.stdout.count("\n") == 1


def test_nothing_but_the_envelope_is_left_on_a_screen_that_shows_both_streams(tmp_path: Path) -> None:
    _, drawn = _transfer(tmp_path, both=True)
    screen = play(drawn)
    assert screen.lines[:3] == ["{", '  "success": true,', f'  "task_id": "{TASK}",']
    assert screen.lines[-1] == "}"
    assert len(screen.lines) == 5


def test_a_dumb_terminal_gets_plain_lines(tmp_path: Path) -> None:
    _, drawn = _transfer(tmp_path, more={"TERM": "dumb"})
    assert not re.search(rb"\x1b|\r(?!\n)", drawn)
    lines = drawn.decode().splitlines()
    assert lines == [f"cat.mp4: {percent}% of 3.0 MB" for percent in (0, 25, 50, 75, 100)]


def test_no_color_means_none(tmp_path: Path) -> None:
    _, drawn = _transfer(tmp_path, more={"NO_COLOR": "1"})
    assert not _COLOUR.search(drawn)
    assert play(drawn).redrawn > 1


def test_quiet_means_nothing_at_a_terminal(tmp_path: Path) -> None:
    with serving(ranged(CLIP)) as host, serving(succeeded(f"{host.url}/cat.mp4")) as server:
        run, drawn = at_terminal(server.url, *download_to(tmp_path / "cat.mp4"), "--quiet")
    assert (run.status, drawn) == (0, b"")


def test_a_failure_after_progress_is_the_last_thing_on_the_screen(tmp_path: Path) -> None:
    with serving(ranged(CLIP, cut=900_000), says({}, 404)) as host, serving(succeeded(f"{host.url}/cat.mp4")) as server:
        run, drawn = at_terminal(server.url, *download_to(tmp_path / "cat.mp4"))
    screen = play(drawn)
    assert (run.status, run.stdout) == (1, "")
    assert (screen.lines[0], screen.lines[-1]) == ("{", "}")
    assert '"code": "url_expired"' in "".join(screen.lines)


def test_an_envelope_is_indented_at_a_terminal() -> None:
    with serving(succeeded("https://clips.example.test/a")) as server:
        run, drawn = at_terminal(server.url, *STATUS, both=True)
        failed, shown = at_terminal(server.url, *STATUS[:-1], "no id")
    assert (run.status, failed.status) == (0, 2)
    assert drawn.decode().splitlines()[:2] == ["{", '  "success": true,']
    assert shown.decode().splitlines()[:2] == ["{", '  "success": false,']


# --- the progress of an upload --------------------------------------------------------------------------------------

PHOTO_BYTES = 8_000_000
PROMPT = (*CREATE[:-1], "character1 waves")


def _taken_slowly(connection: socket.socket, request: bytes) -> None:
    left = int(header(request, "content-length") or 0) - len(request.partition(HEAD_END)[2])
    while left > 0 and (piece := connection.recv(min(left, 400_000))):
        left -= len(piece)
        time.sleep(0.02)
    connection.sendall(reply(200))


@contextmanager
def _uploading(*script: Step) -> Iterator[Server]:
    """An API whose upload host has a script."""
    with serving(*script) as host:
        names = ("oss_access_key_id", "signature", "policy", "x_oss_object_acl", "x_oss_forbid_overwrite")
        leave = {**dict.fromkeys(names, "x"), "upload_dir": "d", "upload_host": host.url}

        def answer(connection: socket.socket, request: bytes) -> None:
            connection.sendall(CREATED if request.startswith(b"POST") else says({"data": leave}))

        with serving(answer) as server:
            yield server


@pytest.fixture
def photo(tmp_path: Path) -> str:
    path = tmp_path / "photo.png"
    path.write_bytes(corpus.picture("PNG", 400, 400).ljust(PHOTO_BYTES, b"\0"))
    return str(path)


@pytest.mark.parametrize("flags", [("--ref",), ("--ref", "--ref"), ("--image",)], ids=" ".join)
def test_the_progress_of_an_upload_is_redrawn_in_place_and_cleared(flags: tuple[str, ...], photo: str) -> None:
    with open(f"{photo}-2", "wb") as file, open(photo, "rb") as first:
        file.write(first.read() + b"\0")
    argv = [word for flag, path in zip(flags, (photo, f"{photo}-2"), strict=False) for word in (flag, path)]
    with _uploading(Early(_taken_slowly)) as server:
        run, drawn = at_terminal(server.url, *PROMPT, *argv)
    assert run.status == 0, drawn
    screen = play(drawn.partition(b"wan2.6-")[0])  # after it there is a hint
    assert screen.redrawn > 1
    assert screen.widest <= COLUMNS
    assert screen.lines == []
    megabytes = "16.0/16.0 MB" if len(flags) > 1 else "8.0/8.0 MB"
    assert megabytes.encode() in drawn
    assert b"upload" in drawn
    assert server.posts() == 1


def test_an_upload_at_a_dumb_terminal_gets_plain_lines(photo: str) -> None:
    with _uploading(Early(_taken_slowly)) as server:
        run, drawn = at_terminal(server.url, *PROMPT, "--ref", photo, more={"TERM": "dumb"})
    assert run.status == 0, drawn
    assert not re.search(rb"\x1b|\r(?!\n)", drawn)
    lines = drawn.decode().splitlines()
    assert lines[:5] == [f"upload: {percent}% of 8.0 MB" for percent in (0, 25, 50, 75, 100)]


def test_a_failed_upload_leaves_its_envelope_alone_on_the_screen(photo: str) -> None:
    with _uploading(reply(400)) as server:
        run, drawn = at_terminal(server.url, *PROMPT, "--ref", photo)
    screen = play(drawn)
    assert (run.status, server.posts()) == (1, 0)
    assert (screen.lines[0], screen.lines[-1]) == ("{", "}")


@pytest.mark.parametrize(
    "argv",
    [("--ref", "https://example.com/a.png"), ("--ref", "oss://d/a.png"), ("--ref", "PHOTO", "--quiet"), ("a",)],
    ids=" ".join,
)
def test_nothing_is_drawn_of_no_upload_or_quietly(argv: tuple[str, ...], photo: str) -> None:
    words = [photo if word == "PHOTO" else word for word in argv]
    with _uploading(Early(_taken_slowly)) as server:
        run, drawn = at_terminal(server.url, *(CREATE[:-1] if argv == ("a",) else PROMPT), *words)
    assert run.status == 0, drawn
    assert b"upload" not in drawn
    assert b"\x1b" not in drawn


def test_nothing_is_said_of_an_upload_where_nobody_looks(photo: str) -> None:
    with _uploading(Early(_taken_slowly)) as server:
        run = rawgenai(server.url, *PROMPT, "--ref", photo)
    assert (run.status, run.stderr) == (0, "")


# --- what a server says is data -------------------------------------------------------------------------------------

EVIL = "\x1b]0;title\x07\x1b[2J\x1b[31m \x9b31m \x85 \u202eevil\u2066 \u200f\r\n\x08\x7f \ud800 end"
_BYTES = re.compile("[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def _acting(drawn: bytes) -> list[str]:
    """What in some bytes a terminal would act on, line ends apart."""
    return _BYTES.findall(drawn.decode().replace("\r\n", "\n"))


def _prompted(server_says: str) -> bytes:
    output = {"task_id": TASK, "task_status": "SUCCEEDED", "video_url": "https://x.test/a", "orig_prompt": server_says}
    return says({"request_id": server_says, "output": output, "usage": {"duration": 5}})


EVIL_ANSWERS: dict[str, tuple[tuple[str, ...], Step]] = {
    "a refusal of create": (CREATE, refuses(400, EVIL, EVIL)),
    "a request id": (CREATE, says({"request_id": EVIL, "code": "x", "message": EVIL}, 400)),
    "a failed task": (
        STATUS,
        says({"output": {"task_id": TASK, "task_status": "FAILED", "code": EVIL, "message": EVIL}, "request_id": EVIL}),
    ),
    "a prompt": ((*STATUS, "-v"), _prompted(EVIL)),
    "a task id": (CREATE, says({"output": {"task_id": EVIL, "task_status": EVIL}, "request_id": EVIL})),
}


@pytest.mark.parametrize("name", EVIL_ANSWERS)
def test_no_control_character_of_a_server_reaches_a_terminal(name: str) -> None:
    arguments, step = EVIL_ANSWERS[name]
    with serving(step) as server:
        run, drawn = at_terminal(server.url, *arguments, both=True, more={"RAWGENAI_DEBUG": "1"})
    assert b"end" in drawn
    assert not _acting(drawn)
    assert (b"Traceback" in drawn) == (run.status != 0)


def test_the_search_for_control_characters_finds_them() -> None:
    assert len(_acting(EVIL.encode("utf-8", "replace"))) > 8
