"""What the emulator remembers, and what cannot take it away."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from asking import CLIP, NOW, TEXT, book, fake_draw

from rawgenai.emulator import render
from rawgenai.emulator.store import Store, state_folder
from rawgenai.errors import RawgenaiError

CREATOR = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from asking import TEXT, book
from rawgenai.emulator.store import Store
print("ready", flush=True)
sys.stdin.readline()
for _ in range(int(sys.argv[3])):
    print(book(Store(Path(sys.argv[1]))), flush=True)
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "emulator")


@pytest.fixture
def creator(store: Store) -> Callable[[int], subprocess.Popen[str]]:
    """Start a process that books a number of tasks once it is told a line, and prints their ids."""

    def start(count: int) -> subprocess.Popen[str]:
        here = str(Path(__file__).parent)
        command = [sys.executable, "-c", CREATOR, str(store.folder), here, str(count)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        return process

    return start


@pytest.mark.slow
def test_processes_that_create_at_once_lose_nothing(
    store: Store, creator: Callable[[int], subprocess.Popen[str]]
) -> None:
    creators = [creator(40) for _ in range(3)]
    for process in creators:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    printed = [process.communicate()[0].split() for process in creators]
    assert [len(ids) for ids in printed] == [40, 40, 40]
    assert all(store.task(task_id) for ids in printed for task_id in ids)


def test_a_killed_process_keeps_what_it_booked(store: Store, creator: Callable[[int], subprocess.Popen[str]]) -> None:
    process = creator(1_000_000)
    assert process.stdin
    assert process.stdout
    with process:
        process.stdin.write("go\n")
        process.stdin.flush()
        ids = [process.stdout.readline().strip() for _ in range(50)]
        process.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
    assert all(store.task(task_id) for task_id in ids)
    assert store.task(book(store))


def test_a_poll_is_never_lost(store: Store) -> None:
    task_id = book(store, seconds=0)

    def poll() -> None:
        for _ in range(25):
            store.change(task_id, lambda task: replace(task, polls=task.polls + 1))

    threads = [threading.Thread(target=poll) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    task = store.task(task_id)
    assert task
    assert task.polls == 100


@pytest.mark.platform
@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
def test_the_state_is_private(store: Store) -> None:
    book(store)
    assert [path.stat().st_mode & 0o777 for path in (store.folder, store.file)] == [0o700, 0o600]


@pytest.mark.parametrize("spoil", ["a folder", "no database", "no place"])
def test_a_state_folder_that_cannot_be_used_is_a_config_error(tmp_path: Path, spoil: str) -> None:
    folder = tmp_path / "emulator"
    if spoil == "no place":
        folder.write_text("a file")
    else:
        folder.mkdir()
        file = folder / "emulator.db"
        file.mkdir() if spoil == "a folder" else file.write_text("x" * 10_000)
    with pytest.raises(RawgenaiError, match=f"config_error: .*{folder.name}"):
        Store(folder).secret()


def test_old_tasks_are_forgotten_when_a_new_one_is_booked(store: Store) -> None:
    old = book(store)
    book(store, now=NOW + 2 * 86400 - 1)
    assert store.task(old)
    book(store, now=NOW + 2 * 86400 + 1)
    assert store.task(old) is None


def test_a_clip_is_drawn_once_though_many_ask(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    def draw(path: Path, **what: Any) -> None:
        drawn.append(what)
        time.sleep(0.05)  # time for the others to begin too, if nothing stopped them
        fake_draw(path)

    monkeypatch.setattr(render, "draw", draw)
    task = store.task(book(store))
    assert task
    threads = [threading.Thread(target=store.clip, args=(task, "t2v")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(drawn) == 1
    assert store.clip(task, "t2v").name == f"{task.task_id}.mp4"
    assert store.clip(task, "t2v").read_bytes() == CLIP


def test_a_drawing_that_fails_leaves_no_clip(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(path: Path, **_: Any) -> None:
        path.write_bytes(CLIP[:100])
        raise RawgenaiError("missing_extra")

    monkeypatch.setattr(render, "draw", draw)
    task = store.task(book(store, TEXT))
    assert task
    with pytest.raises(RawgenaiError, match="missing_extra"):
        store.clip(task, "t2v")
    monkeypatch.setattr(render, "draw", fake_draw)
    assert store.clip(task, "t2v").read_bytes() == CLIP


def test_the_state_folder_honours_xdg_state_home() -> None:
    assert state_folder({"XDG_STATE_HOME": "/x"}) == Path("/x/rawgenai/emulator")
    assert state_folder({}).parts[-2:] == ("rawgenai", "emulator")
