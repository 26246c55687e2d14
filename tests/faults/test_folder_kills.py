"""kill -9 of generate before each thing that it does in a clip's folder, one after another; then the same command."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from faulty import clip, emulated, environ
from rawgenai.emulator import render

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="a probe of the folder has a name where no other file is"),
]
CLIP = clip(50_000)

START = "from rawgenai.__main__ import main\nmain()\n"
# The program, killed before the AT-th event that names the folder, whether or not it changes anything there.
KILLED = f"""
import os, sys

left = int(os.environ["AT"])

def look(event, args):
    global left
    if event.partition(".")[0] in ("open", "os", "shutil") and any(os.environ["FOLDER"] in str(each) for each in args):
        left -= 1
        if not left:
            os.kill(os.getpid(), 9)

sys.addaudithook(look)
{START}
"""
NAMED_PROBE = f"""
import tempfile
tempfile.TemporaryFile = tempfile.NamedTemporaryFile
{KILLED}
"""
PLACES: dict[str, Callable[[Path], list[str]]] = {
    "a file": lambda folder: ["-o", str(folder / "clip.mp4")],
    "the folder of clips": lambda _: [],
}


def run(url: str, program: str, place: str, folder: Path, kill: int) -> subprocess.CompletedProcess[bytes]:
    """Run the command whose clip goes to a place, to its end or to its death."""
    arguments = ["dashscope", "video", "generate", f"killed at {kill}", *PLACES[place](folder)]
    return subprocess.run(
        [sys.executable, "-c", program, *arguments, "--poll-interval", "0.1", "--settle", "1"],
        env=environ(url, OUTPUT_DIR=str(folder), FOLDER=str(folder), AT=str(kill)),
        stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False,
    )  # fmt: skip


def left_behind(program: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Kill a program at every place, make its clip with the same command; the files beside the clip, for each kill."""

    def draw(file: Path, **_: Any) -> None:
        file.write_bytes(CLIP)

    monkeypatch.setattr(render, "draw", draw)
    found = list[list[str]]()
    with emulated(tmp_path / "emulator", 0.1) as server:
        for kill in range(1, 100):
            folder = tmp_path / f"clips {kill}"
            folder.mkdir()
            if (ended := run(server.base_url, program, place, folder, kill)).returncode == 0:
                return found
            assert ended.returncode == -9, ended
            ended = run(server.base_url, START, place, folder, kill)
            assert ended.returncode == 0, ended
            files = [file for file in folder.rglob("*") if file.is_file()]
            assert [file.read_bytes() for file in files if file.suffix == ".mp4"] == [CLIP]
            found.append([file.name for file in files if file.suffix != ".mp4"])
    raise AssertionError("it never ended")


@pytest.mark.parametrize("place", PLACES)
def test_whenever_generate_is_killed_the_same_command_leaves_its_clip_and_nothing_else(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = left_behind(KILLED, place, tmp_path, monkeypatch)
    assert len(found) > 8, found  # as many things it does there at the least
    assert not any(found), found


def test_the_same_kills_catch_a_probe_with_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert any(left_behind(NAMED_PROBE, "a file", tmp_path, monkeypatch))
