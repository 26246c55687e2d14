"""kill -9 of generate at random moments, over an emulator that fails every fourth time; then recover.

Every booked task is in the ledger and its clip on disk, nothing is booked twice, no file is ever partial under its
final name; and three ways to do it wrong each fail the same run. ``RAWGENAI_TEST_RUNS`` is how many commands are run,
``RAWGENAI_TEST_SEED`` repeats a run's plan.
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
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from faulty import clip, environ, rawgenai
from rawgenai.emulator import render
from rawgenai.emulator.server import Server, open_server
from rawgenai.emulator.store import Store, Task
from rawgenai.ledger import Ledger

pytestmark = pytest.mark.slow
RUNS = int(os.environ.get("RAWGENAI_TEST_RUNS", "60"))
SEED = int(os.environ.get("RAWGENAI_TEST_SEED") or random.SystemRandom().randrange(10**6))
AT_ONCE = 3
# When a command is killed: not at all, at any moment of it, or so many seconds after its task was booked.
KILLS: dict[str, tuple[float, float]] = {"never": (0, 0), "any": (0, 0), "soon": (0, 0.08), "late": (0.3, 1.0)}
# What every fourth prompt asks for, in turn. Every third of these is not killed, so that no control's failure is luck.
FAULTS = (
    "reset=booked", "hang=booked", "close", "close=booked", "half", "slow=0.3", "half", "reset=booked", "reset",
    "hang=booked", "close=booked", "cut=20000", "status=503", "hang", "retry-after=1", "html", "cut=20000", "slow=0.3",
)  # fmt: skip
CLIP = clip(50_000)

# The ways to do it wrong; each is the program with one thing changed.
START = "from rawgenai.__main__ import main\n"
NO_ROW_BEFORE_THE_POST = f"""
from rawgenai.ledger import Ledger

intend, accept = Ledger.intend, Ledger.accept

def remember(self, **facts):
    self.facts = facts
    return 0

def write(self, row, *task):
    row = intend(self, **self.facts)
    accept(self, row, *task)

Ledger.intend, Ledger.accept = remember, write
{START}
main()
"""
BLIND_RETRY = f"""
from rawgenai.dashscope import wire
from rawgenai.message import Response

may_repeat = wire.may_repeat

def blindly(request, outcome):
    return may_repeat(request, outcome) or not isinstance(outcome, Response) or outcome.status >= 500

wire.may_repeat = blindly
{START}
main()
"""
ROW_AFTER_PRINTING = f"""
from rawgenai.ledger import Ledger, open_ledger

intend, accept, later = Ledger.intend, Ledger.accept, []

def remember(self, **facts):
    later.append((facts, []))
    return 0

Ledger.intend, Ledger.accept = remember, lambda self, row, *task: later[-1][1].append(task)
{START}
try:
    main()
finally:
    with open_ledger() as book:
        for facts, tasks in later:
            row = intend(book, **facts)
            for task in tasks:
                accept(book, row, *task)
"""


def whole(task_id: str) -> bytes:
    """The clip of a task: every one has its own bytes."""
    return CLIP[: -len(task_id)] + task_id.encode()


def is_whole(file: Path) -> bool:
    """Tell whether a file is a whole clip of some task."""
    content = file.read_bytes()
    return len(content) == len(CLIP) and content == whole(content[-36:].decode("ascii", "replace"))


class Plan(NamedTuple):
    """One command, and what is done to it."""

    prompt: str
    file: Path
    patience: str  # RAWGENAI_TIMEOUT
    kill: str  # of KILLS
    part: float  # where between the first and the last such moment, 0 to 1
    again: bool  # the same command follows at once


def planned(folder: Path, runs: int, chance: random.Random) -> list[Plan]:
    """Plan the run: every fourth prompt asks for a fault, most commands are killed, and some are repeated."""
    asked = [(FAULTS[number % len(FAULTS)], "never" if number % 3 == 0 else "") for number in range(runs // 4)]
    asked += [("", "")] * (runs - len(asked))
    chance.shuffle(asked)
    return [
        Plan(
            f"run {number}" + (f" emulator:{fault}" if fault else ""),
            folder / f"{number}.mp4",
            "1" if fault.startswith("hang") else "20",
            kill or chance.choices(tuple(KILLS), (1, 2, 2, 2))[0],
            chance.random(),
            chance.random() < 0.3,
        )
        for number, (fault, kill) in enumerate(asked)
    ]


class Run:
    """The commands of a run, the emulator that they ask, and what was seen of both."""

    def __init__(self, server: Server, folder: Path, program: list[str]) -> None:
        self.server = server
        self.folder = folder
        self.program = program
        self.booked: dict[str, threading.Event] = {}
        self.partial: set[str] = set()
        self.figures: Counter[str] = Counter()
        self.longest = 0.0

    def command(self, plan: Plan) -> subprocess.Popen[bytes]:
        """Start a command."""
        arguments = ["dashscope", "video", "generate", plan.prompt, "-o", str(plan.file)]
        nowhere = subprocess.DEVNULL
        return subprocess.Popen(
            [*self.program, *arguments, "--poll-interval", "0.1", "--settle", "2"],
            env=environ(self.server.base_url, RAWGENAI_TIMEOUT=plan.patience),
            stdin=nowhere, stdout=nowhere, stderr=nowhere,
        )  # fmt: skip

    def play(self, plan: Plan) -> None:
        """Run a command, kill it as planned, look at its file, and run it again as planned."""
        booked = self.booked[plan.prompt]
        process = self.command(plan)
        first, last = KILLS[plan.kill] if plan.kill != "any" else (0, self.longest)
        if plan.kill in ("soon", "late"):
            booked.wait(2 * self.longest)
        if plan.kill != "never":
            with suppress(subprocess.TimeoutExpired):
                process.wait(first + plan.part * (last - first))
        alive = process.poll() is None and plan.kill != "never"
        if alive:
            when = "with its clip" if plan.file.exists() else "after the booking" if booked.is_set() else "before it"
            self.figures[f"killed {when}"] += 1
            process.kill()
        status = process.wait(120)
        self.figures["ended with 0" if status == 0 else "killed" if alive else f"ended with {status}"] += 1
        self.look(plan.file)
        if plan.again:
            status = self.command(plan).wait(120)
            self.figures[f"again, {status}"] += 1
            self.look(plan.file)
            assert (status == 0) <= plan.file.exists()

    def look(self, file: Path) -> None:
        """Look whether a file, where there is one, is whole."""
        with suppress(FileNotFoundError):
            if not is_whole(file):
                self.partial.add(file.name)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Look at every file that comes or changes, meanwhile."""
        done, seen = threading.Event(), dict[str, tuple[int, int]]()

        def watch() -> None:
            while not done.wait(0.005):
                for entry in os.scandir(self.folder):
                    with suppress(FileNotFoundError):
                        facts = entry.stat()
                        if entry.name.endswith(".mp4") and seen.get(entry.name) != (facts.st_ino, facts.st_mtime_ns):
                            seen[entry.name] = facts.st_ino, facts.st_mtime_ns
                            self.look(Path(entry.path))

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self.figures["looks at files"] = len(seen)

    def recovered(self) -> bool:
        """Run recover until it names nothing that is still to come; whether it found anything to do."""
        found = False
        for _ in range(20):
            run = rawgenai(self.server.base_url, "dashscope", "video", "recover", "--settle", "2")
            self.figures[f"recover, {run.status}"] += 1
            if run.status == 6:  # as after a blind retry: nobody can tell which of two tasks it is
                return True
            if run.status == 0:
                done = run.envelope
                self.figures.update(f"recover: {each['outcome']}" for each in done["settled"])
                self.figures["recover: delivered"] += len(done["delivered"])
                found = found or bool(done["settled"] or done["delivered"])
                if not done["waiting"]:
                    return found
            time.sleep(0.3)
        raise AssertionError(run)

    def violations(self, plans: list[Plan], restless: bool) -> set[str]:
        """Compare what the emulator booked with the ledger and the disk."""
        with closing(sqlite3.connect(self.server.store.file)) as db:
            tasks = [Task(**json.loads(text)) for (text,) in db.execute("SELECT task FROM tasks")]
        with Ledger(str(Path(os.environ["XDG_STATE_HOME"], "rawgenai", "tasks.db"))) as ledger:
            rows = [row for row in ledger.rows() if row.task_id is not None]
            unsettled = {row.id for row in ledger.unsettled()}
        self.figures["booked"], self.figures["rows with a task"] = len(tasks), len(rows)
        booked, known = {task.task_id for task in tasks}, [row.task_id for row in rows]
        prompts = {task.task_id: task.prompt for task in tasks}
        files = {plan.prompt: plan.file for plan in plans}
        found: dict[str, set[Any]] = {
            "lost": booked - set(known),
            "not booked": set(known) - booked,
            "two rows": {task_id for task_id, count in Counter(known).items() if count > 1},
            "paid twice": {prompt for prompt, count in Counter(task.prompt for task in tasks).items() if count > 1},
            "another's": {row.task_id for row in rows if row.prompt != prompts.get(row.task_id or "")},
            "no clip": {
                task.task_id
                for task in tasks
                if not (file := files[task.prompt or ""]).exists() or file.read_bytes() != whole(task.task_id)
            },
            "partial": self.partial,
            "unsettled": unsettled,
            "more to recover": {"something"} if restless else set(),
        }
        self.figures.update({f"WRONG: {name}": len(what) for name, what in found.items() if what})
        return {name for name, what in found.items() if what}


Playing = Callable[[str, int], set[str]]


@pytest.fixture
def playing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Playing:
    """Play the run with a program, so many commands of it; what it violates."""

    def play(program: str, runs: int) -> set[str]:
        folder = tmp_path / "clips"
        folder.mkdir()
        plans = planned(folder, runs, random.Random(SEED))
        server = open_server(folder=tmp_path / "emulator", environ={"RAWGENAI_EMULATOR_SECONDS": "0.3"})
        run = Run(server, folder, [sys.executable, "-c", program])
        run.booked = {plan.prompt: threading.Event() for plan in plans}
        book = Store.book

        def booking(store: Store, task: Task) -> None:
            book(store, task)
            run.booked[task.prompt or ""].set()

        monkeypatch.setattr(Store, "book", booking)
        monkeypatch.setattr(render, "draw", lambda file, *, task_id, **_: file.write_bytes(whole(task_id)))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            first = Plan("the first", folder / "first.mp4", "20", "never", 0.0, again=False)
            run.booked[first.prompt] = threading.Event()
            started = time.monotonic()
            run.play(first)
            run.longest = 1.3 * (time.monotonic() - started)  # three at once take a little longer
            with run.watched(), ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(run.play, plans))
                played = time.monotonic() - started
                run.recovered()
            violations = run.violations([first, *plans], run.recovered())
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
            print(f"seed {SEED}, {runs} commands in {played:.0f} s: {dict(sorted(run.figures.items()))}")
        return violations

    return play


def test_a_killed_generate_loses_no_clip_and_pays_none_twice(playing: Playing) -> None:
    assert playing(f"{START}\nmain()", RUNS) == set()


CONTROLS = {
    "no row before the POST": (NO_ROW_BEFORE_THE_POST, {"lost"}),
    "a blind retry": (BLIND_RETRY, {"paid twice"}),
    "a row written after printing": (ROW_AFTER_PRINTING, {"lost"}),
}


@pytest.mark.parametrize("control", CONTROLS)
def test_the_same_run_catches(control: str, playing: Playing) -> None:
    program, violations = CONTROLS[control]
    assert violations <= playing(program, min(RUNS, 60) // 2)
