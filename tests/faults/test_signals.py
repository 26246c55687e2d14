"""Ctrl-C, SIGTERM and SIGHUP: a POST in flight is given its chance to answer and is recorded; no traceback is seen."""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from faulty import (
    CREATE,
    CREATED,
    STATUS,
    TASK,
    Server,
    Step,
    clip,
    command,
    download_to,
    environ,
    says,
    serving,
    succeeded,
)
from rawgenai.dashscope.submitting import GRACE
from rawgenai.ledger import Ledger, Row

pytestmark = [
    pytest.mark.platform,
    pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals"),
]
RUNS = int(os.environ.get("RAWGENAI_TEST_RUNS", "20"))
SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, **({signal.SIGHUP: 143} if hasattr(signal, "SIGHUP") else {})}


def _start(url: str, *arguments: str, timeout: str = "20") -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*arguments),
        env=environ(url, RAWGENAI_TIMEOUT=timeout),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _rows(tmp_path: Path) -> list[Row]:
    with Ledger(str(tmp_path / "state" / "rawgenai" / "tasks.db")) as ledger:
        return ledger.rows()


@contextmanager
def _waiting(answer: Step = CREATED) -> Iterator[tuple[Server, threading.Event, threading.Event]]:
    """A server that answers only when it is told to; the events say that a request came, and that it may answer."""
    came, go = threading.Event(), threading.Event()

    def step(connection: socket.socket, request: bytes) -> None:
        came.set()
        go.wait(30)
        assert isinstance(answer, bytes)
        connection.sendall(answer)

    with serving(step) as server:
        try:
            yield server, came, go
        finally:
            go.set()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_post_in_flight_may_answer_and_is_recorded(number: signal.Signals, tmp_path: Path) -> None:
    with _waiting() as (server, came, go), _start(server.url, *CREATE) as process:
        assert came.wait(30)
        process.send_signal(number)
        time.sleep(0.2)
        assert process.poll() is None
        go.set()
        stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (SIGNALS[number], "")
    assert TASK in stderr
    assert "Traceback" not in stderr
    assert [(row.state, row.task_id) for row in _rows(tmp_path)] == [("accepted", TASK)]


@pytest.mark.slow  # it really waits
@pytest.mark.parametrize("number", SIGNALS)
def test_a_post_that_never_answers_is_recorded_as_unknown(number: signal.Signals, tmp_path: Path) -> None:
    with _waiting() as (server, came, _), _start(server.url, *CREATE, timeout="2") as process:
        assert came.wait(30)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (SIGNALS[number], "")
    assert "may have been accepted" in stderr
    assert "Traceback" not in stderr
    assert [row.state for row in _rows(tmp_path)] == ["unknown"]


@pytest.mark.slow  # it really waits
def test_ctrl_c_twice_ends_at_once_and_the_intent_stays(tmp_path: Path) -> None:
    with _waiting() as (server, came, _), _start(server.url, *CREATE) as process:
        assert came.wait(30)
        process.send_signal(signal.SIGINT)
        time.sleep(1)
        assert process.poll() is None
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=30)
        assert time.monotonic() - started < GRACE - 1
    assert (process.returncode, stdout) == (130, "")
    assert "Traceback" not in stderr
    assert [row.state for row in _rows(tmp_path)] in (["intended"], ["unknown"])


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("arguments", [STATUS, "download"], ids=["status", "download"])
def test_asking_ends_at_once(arguments: tuple[str, ...] | str, number: signal.Signals, tmp_path: Path) -> None:
    with _waiting(succeeded("https://x.test/a")) as (server, came, _):
        words = download_to(tmp_path / "cat.mp4") if isinstance(arguments, str) else arguments
        process = _start(server.url, *words)
        assert came.wait(30)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (SIGNALS[number], "")
    assert "Traceback" not in stderr


def test_ctrl_c_while_a_clip_comes_keeps_the_part_and_the_old_file(tmp_path: Path) -> None:
    body = clip(1_000_000)
    came = threading.Event()

    def send(connection: socket.socket, request: bytes) -> None:
        head = f'HTTP/1.1 200 X\r\nContent-Length: {len(body)}\r\nETag: "one"\r\n\r\n'
        connection.sendall(head.encode() + body[:500_000])
        came.set()
        connection.recv(1)

    target = tmp_path / "cat.mp4"
    target.write_bytes(b"the old file")
    with serving(send) as host, serving(succeeded(f"{host.url}/cat.mp4")) as server:
        process = _start(server.url, *download_to(target))
        assert came.wait(30)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (130, "")
    assert "Traceback" not in stderr
    assert target.read_bytes() == b"the old file"
    assert [part.stat().st_size for part in tmp_path.glob(".cat.mp4.*.part")] == [500_000]


# Starts the command line with Ctrl-C pressed at the moment when a module is imported.
_AT_IMPORT = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == module and not seen:
            seen.append(name)
            os.kill(os.getpid(), signal.SIGINT)

module, seen = sys.argv.pop(1), []
sys.meta_path.insert(0, Finder())
from rawgenai.__main__ import main
try:
    main()
finally:
    os.write(2, b"" if seen else b"it was never imported")
"""
MODULES = ("click", "rawgenai.cli", "rawgenai.cli.create", "rawgenai.dashscope.tasks", "httpx", "sqlite3", "json")


@pytest.mark.parametrize("module", MODULES)
def test_ctrl_c_during_an_import_is_quiet(module: str, tmp_path: Path) -> None:
    with serving(CREATED) as server:
        run = subprocess.run(
            [sys.executable, "-c", _AT_IMPORT, module, *CREATE],
            env=environ(server.url),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    assert (run.returncode, run.stdout) == (130, "")
    assert "Traceback" not in run.stderr
    assert "never imported" not in run.stderr
    assert not server.posts() or _rows(tmp_path)


# Says when the program proper begins: before that, it is Python itself that answers a signal.
_READY = """
import os
from rawgenai.__main__ import main
os.write(2, b"ready\\n")
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_at_any_moment_loses_nothing_and_is_quiet(number: signal.Signals, tmp_path: Path) -> None:
    def step(connection: socket.socket, request: bytes) -> None:
        task = {"task_id": f"task-{server.connections}", "task_status": "PENDING"}
        time.sleep(random.uniform(0, 0.05))
        connection.sendall(says({"output": task}))

    ends: dict[int, int] = {}
    with serving(step) as server:
        for run in range(RUNS):
            rows = len(_rows(tmp_path))
            posts = server.posts()
            process = subprocess.Popen(
                [sys.executable, "-c", _READY, *CREATE[:-1], f"run-{run}"],
                env=environ(server.url),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            assert process.stderr
            assert process.stderr.readline() == b"ready\n"
            if run % 10:
                time.sleep(random.uniform(0.02, 0.35))  # from the word to the program proper is still Python's own
            else:
                process.wait(timeout=30)  # also where a busy machine lets no other one come to its end
            process.send_signal(number)
            _, stderr = process.communicate(timeout=30)
            ends[process.returncode] = ends.get(process.returncode, 0) + 1
            assert process.returncode != 1, stderr.decode()
            assert b"Traceback" not in stderr, stderr.decode()
            assert server.posts() - posts <= len(_rows(tmp_path)) - rows
    print(f"{number.name}: exit statuses {ends}")
    assert ends.keys() <= {0, SIGNALS[number], -number}
    assert len(ends) > 1
