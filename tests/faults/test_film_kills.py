"""Films that are killed on their way and gone on with, again and again: six tasks, six rows, one film.

``RAWGENAI_TEST_RUNS`` scales how often that is (50 times of 60), ``RAWGENAI_TEST_SEED`` repeats a run's moments as far
as the machine does.
"""

import json
import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from test_generate_kills import NO_ROW_BEFORE_THE_POST

from faulty import emulated, environ
from footage import make
from rawgenai import film
from rawgenai.emulator import render
from rawgenai.emulator.server import Server
from rawgenai.emulator.store import Store, Task
from rawgenai.ledger import Ledger

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("RAWGENAI_TEST_RUNS", "60")) * 5 // 6
SEED = int(os.environ.get("RAWGENAI_TEST_SEED") or random.SystemRandom().randrange(10**6))
SHOTS = 6
# When a process is killed: at any moment from its first imports on, as the emulator gets one of its first requests, or
# as it has booked a task and not answered yet.
HOW = ("moment",) * 4 + ("request",) * 5 + ("booking",)

START = "from rawgenai.__main__ import main\nmain()\n"
# The ways to do it wrong; each is the program with one thing changed.
OTHER_FRAMES = f"""
import os
from rawgenai import film
picture = film.last_picture
film.last_picture = lambda *args: (picture(*args)[0] + os.urandom(8), "image/png")
{START}
"""
NO_MEMORY = f"""
from rawgenai.ledger import Ledger
intend = Ledger.intend
Ledger.intend = lambda self, **facts: intend(self, **facts | {{"digest": None}})
{START}
"""


class Run:
    """Films that are killed on their way, the emulator that they ask, and what was seen of both."""

    def __init__(self, server: Server, folder: Path, program: str, chance: random.Random) -> None:
        self.server = server
        self.folder = folder
        self.program = program
        self.chance = chance
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0.0
        self.first = 0.0  # seconds from a start to its first booking, at the least
        self.how = ""  # the process is killed
        self.requests = 0  # that come before it is killed
        self.figures: Counter[str] = Counter()
        self.films = 0

    def command(self) -> subprocess.Popen[bytes]:
        """Start the film of this moment, or go on with it."""
        name = f"{self.films}"
        arguments = [str(self.folder / f"{name}.jsonl"), "-o", str(self.folder / f"{name}.mp4"), "-q"]
        arguments += ["--poll-interval", "0.1", "--settle", "1.5"]
        return subprocess.Popen(
            [sys.executable, "-c", self.program, "dashscope", "video", "film", *arguments],
            env=environ(self.server.base_url),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def booked(self, store: Store) -> list[Task]:
        """The tasks of the film of this moment that were booked."""
        with closing(sqlite3.connect(store.file)) as db:
            tasks = [Task(**json.loads(text)) for (text,) in db.execute("SELECT task FROM tasks ORDER BY created")]
        return [task for task in tasks if (task.prompt or "").startswith(f"film {self.films} ")]

    def play(self, kills: int) -> None:
        """Make a film, killed at most so many times."""
        self.films += 1
        lines = [{"prompt": f"film {self.films} shot {number}", "audio": number > 0 or None} for number in range(SHOTS)]
        shots = "".join(json.dumps(line) + "\n" for line in lines)
        (self.folder / f"{self.films}.jsonl").write_text(shots, "utf-8")
        for left in range(kills, -1, -1):
            with self.command() as process:
                self.process, self.started = process, time.monotonic()
                self.how = ("booking" if not self.first else self.chance.choice(HOW)) if left else ""
                self.requests = self.chance.randint(1, 4)
                if self.how == "moment":
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(self.chance.uniform(0.3, 1.5) * self.first)
                    process.kill()
                out = process.communicate(timeout=60)[0]
            if process.returncode == 0:
                self.figures["films"] += 1
                self.check(json.loads(out))
                return
            assert process.returncode == -9, process.returncode
            self.figures["kills"] += 1
            booked = self.booked(self.server.store)
            self.figures[f"killed after {len(booked)} bookings"] += 1
            if len({task.prompt for task in booked}) < len(booked):
                self.figures["WRONG: paid twice"] += 1
                return
        raise AssertionError("it was not killed, and did not end")

    def book(self) -> None:
        """Take notice of a booking, which is not answered yet."""
        took = time.monotonic() - self.started
        self.first = min(self.first or took, took)
        if self.how == "booking" and self.process:
            self.process.kill()

    def connect(self, *_: object) -> bool:
        """Take notice of a request that comes, and let it in."""
        self.requests -= 1
        if self.how == "request" and self.requests == 0 and self.process:
            threading.Timer(self.chance.uniform(0, 0.05), self.process.kill).start()
        return True

    def check(self, made: Any) -> None:
        """Compare what was booked with the ledger and the disk."""
        booked = [task.task_id for task in self.booked(self.server.store)]
        with Ledger(str(Path(os.environ["XDG_STATE_HOME"], "rawgenai", "tasks.db"))) as ledger:
            rows = [row for row in ledger.rows() if (row.prompt or "").startswith(f"film {self.films} ")]
        self.figures["booked"] += len(booked)
        self.figures["rows without a task"] += len(rows) - len([row for row in rows if row.task_id])
        found = {
            "not paid": len(booked) < SHOTS,
            "lost": sorted(row.task_id for row in rows if row.task_id) != sorted(booked),
            "unsettled": any(row.task_id is None and row.state != "refused" for row in rows),
            "not its shots": [shot["task_id"] for shot in made["shots"]] != booked,
            "not its clips": sorted(Path(shot["file"]) for shot in made["shots"])
            != sorted(self.folder.glob(f"{self.films}.clips/*")),
            "another film": Path(made["file"]).read_bytes() != (self.folder / "whole.mp4").read_bytes(),
            "two films": len(list(self.folder.glob(f"{self.films}*.mp4"))) != 1,
        }
        self.figures.update(f"WRONG: {name}" for name, wrong in found.items() if wrong)

    @property
    def violations(self) -> set[str]:
        """What went wrong in any film."""
        return {name.removeprefix("WRONG: ") for name in self.figures if name.startswith("WRONG: ")}


Playing = Callable[[str, int], set[str]]


@pytest.fixture
def playing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Playing:
    """Make films with a program until they were killed so many times; what that violates."""
    folder = tmp_path / "films"
    folder.mkdir()
    clips = [make(tmp_path / f"{number}.mp4", mark=number, frames=150, size=(432, 240)) for number in range(SHOTS)]
    film.join(clips, str(folder / "whole.mp4"))

    def draw(file: Path, *, prompt: str, **_: Any) -> None:
        file.write_bytes(Path(clips[int(prompt[-1])]).read_bytes())

    monkeypatch.setattr(render, "draw", draw)

    def play(program: str, kills: int) -> set[str]:
        with emulated(tmp_path / "emulator", 0.2) as server:
            run = Run(server, folder, program, random.Random(SEED))
            book = Store.book

            def booking(store: Store, task: Task) -> None:
                book(store, task)
                run.book()

            monkeypatch.setattr(Store, "book", booking)
            monkeypatch.setattr(server, "verify_request", run.connect)
            started = time.monotonic()
            try:
                while (left := kills - run.figures["kills"]) > 0 and not run.violations:
                    run.play(left)
            finally:
                took = time.monotonic() - started
                print(f"seed {SEED}, {took:.0f} s: {dict(sorted(run.figures.items()))}")
            return run.violations

    return play


def test_a_film_that_is_killed_again_and_again_is_six_tasks_and_one_film(playing: Playing) -> None:
    assert playing(START, KILLS) == set()


CONTROLS = {
    "frames that differ each time": (OTHER_FRAMES, {"paid twice"}),
    "rows that do not say what was asked for": (NO_MEMORY, {"paid twice"}),
    "no row before the POST": (NO_ROW_BEFORE_THE_POST, {"paid twice"}),
}


@pytest.mark.parametrize("control", CONTROLS)
def test_the_same_film_catches(control: str, playing: Playing) -> None:
    program, violations = CONTROLS[control]
    assert violations <= playing(program, 12)
