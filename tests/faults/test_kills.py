"""kill -9 at random moments: no booked task is without a row in the ledger, no target file is ever partial.

``RAWGENAI_TEST_RUNS`` is how often each is killed.
"""

import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from faulty import (
    HEAD_END,
    Server,
    clip,
    command,
    download_to,
    environ,
    header,
    ranged,
    rawgenai,
    says,
    serving,
    succeeded,
)
from rawgenai.ledger import Ledger

pytestmark = pytest.mark.slow
RUNS = int(os.environ.get("RAWGENAI_TEST_RUNS", "20"))
AFTER = 0.16  # seconds after the server got the request within which two kills of three fall

# The control: a row that is written only after the answer.
LATE_ROW = """
from rawgenai.ledger import Ledger

intend, accept = Ledger.intend, Ledger.accept

def remember(self, **facts):
    self.facts = facts
    return 0

Ledger.intend = remember
Ledger.accept = lambda self, row, *task: accept(self, intend(self, **self.facts), *task)

from rawgenai.__main__ import main
main()
"""


class Booking:
    """A server that books a task on receipt and delays its answer by 0 to 0.2 s; it writes down when it did what."""

    def __init__(self) -> None:
        self.booked: dict[str, float] = {}
        self.answered: dict[str, float] = {}
        self.arrived = threading.Event()

    def __call__(self, connection: socket.socket, request: bytes) -> None:
        """Serve one POST."""
        if len(request.partition(HEAD_END)[2]) < int(header(request, "content-length") or 0):
            return  # killed while it was sent: nobody books half a request
        prompt = json.loads(request.partition(HEAD_END)[2])["input"]["prompt"]
        assert prompt not in self.booked, "it was posted twice"
        self.booked[prompt] = time.monotonic()
        self.arrived.set()
        time.sleep(random.uniform(0, 0.2))
        self.answered[prompt] = time.monotonic()
        connection.sendall(says({"output": {"task_id": f"task-{prompt}", "task_status": "PENDING"}}))

    def is_between(self, prompt: str, moment: float) -> bool:
        """Tell whether a moment lies between a task's booking and the answer."""
        return self.booked.get(prompt, moment + 1) <= moment < self.answered.get(prompt, moment + 1)


def _kill(process: subprocess.Popen[bytes], arrived: threading.Event, longest: float, *, after: bool) -> float:
    """Kill at a random moment of the whole run, or of the time after the request arrived; when that was."""
    if after:
        arrived.wait(10)
        time.sleep(random.uniform(0, AFTER))
    else:
        time.sleep(random.uniform(0, longest))
    process.kill()
    moment = time.monotonic()
    process.wait()
    return moment


def _start(arguments: list[str], server: Server) -> subprocess.Popen[bytes]:
    nowhere = subprocess.DEVNULL
    env = environ(server.url)
    return subprocess.Popen(arguments, env=env, stdin=nowhere, stdout=nowhere, stderr=nowhere)


def test_a_killed_create_loses_no_booked_task(tmp_path: Path) -> None:
    booking = Booking()
    with serving(booking) as server:
        started = time.monotonic()
        assert rawgenai(server.url, "dashscope", "video", "create", "whole").status == 0
        longest = 1.2 * (time.monotonic() - started)
        between = 0
        for run in range(RUNS):
            booking.arrived.clear()
            process = _start(command("dashscope", "video", "create", f"run-{run}"), server)
            moment = _kill(process, booking.arrived, longest, after=run % 3 != 0)
            between += booking.is_between(f"run-{run}", moment)
    with Ledger(str(tmp_path / "state" / "rawgenai" / "tasks.db")) as ledger:
        rows = {row.prompt: row for row in ledger.rows()}
        assert len(rows) == len(ledger.rows())
    accepted = [row for row in rows.values() if row.state == "accepted"]
    print(
        f"create: {RUNS} kills, {between} between booking and answer, {len(booking.booked) - 1} tasks booked,"
        f" {len(rows) - 1} rows, {len(accepted) - 1} with the task's id"
    )
    assert booking.booked.keys() - rows.keys() == set()
    assert all(row.task_id == f"task-{row.prompt}" for row in accepted)
    assert {row.state for row in rows.values()} <= {"accepted", "intended"}
    assert between >= RUNS / 10


def test_a_row_written_only_after_the_answer_loses_a_task(tmp_path: Path) -> None:
    booking = Booking()
    with serving(booking) as server:
        for run in range(RUNS):
            booking.arrived.clear()
            process = _start([sys.executable, "-c", LATE_ROW, "dashscope", "video", "create", f"run-{run}"], server)
            _kill(process, booking.arrived, 0, after=True)
        control = [sys.executable, "-c", LATE_ROW, "dashscope", "video", "create", "whole"]
        assert _start(control, server).wait() == 0
    with Ledger(str(tmp_path / "state" / "rawgenai" / "tasks.db")) as ledger:
        prompts = {row.prompt for row in ledger.rows()}
    lost = booking.booked.keys() - prompts
    print(f"control: {RUNS} kills, {len(lost)} of {len(booking.booked)} booked tasks lost")
    assert "whole" in prompts
    assert lost


def test_a_killed_download_never_leaves_a_partial_target(tmp_path: Path) -> None:
    target, old, new = tmp_path / "cat.mp4", b"the old file", clip(1_000_000)
    arrived = threading.Event()
    send = ranged(new, pause=0.03)

    def host_step(connection: socket.socket, request: bytes) -> None:
        arrived.set()
        assert callable(send)
        send(connection, request)

    midway = finished = 0
    with serving(host_step) as host, serving(succeeded(f"{host.url}/cat.mp4")) as server:
        started = time.monotonic()
        assert rawgenai(server.url, *download_to(target)).status == 0
        longest = 1.2 * (time.monotonic() - started)
        for run in range(RUNS):
            if target.read_bytes() != old:
                target.write_bytes(old)
            arrived.clear()
            process = _start(command(*download_to(target)), server)
            _kill(process, arrived, longest, after=run % 3 != 0)
            parts = list(tmp_path.glob(".cat.mp4.*.part"))
            midway += any(0 < part.stat().st_size < len(new) for part in parts)
            assert target.read_bytes() in (old, new)
            assert len(parts) <= 1
            if run % 5 == 0:
                assert rawgenai(server.url, *download_to(target)).status == 0
                assert target.read_bytes() == new
                assert not list(tmp_path.glob(".cat.mp4.*.part"))
                finished += 1
    resumed = sum(b"\r\nRange:" in request for request in host.requests)
    print(f"download: {RUNS} kills, {midway} left a part, {finished} repeated to the end, {resumed} requests resumed")
    assert midway >= RUNS / 10
    assert resumed
