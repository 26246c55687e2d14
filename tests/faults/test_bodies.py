"""Answers that are too much: whatever a server sends, the process stays small and says `server_error`."""

import socket
import subprocess
import sys
import zlib
from functools import cache
from pathlib import Path

import pytest

from faulty import (
    CREATE,
    KEY,
    STATUS,
    Run,
    Step,
    command,
    download_to,
    endless,
    environ,
    reply,
    serving,
    succeeded,
)

MEGABYTES = 80
pytestmark = [
    pytest.mark.platform,
    pytest.mark.skipif(sys.platform != "linux", reason="the peak of one child's memory is read as Linux tells it"),
]


@cache
def _bomb() -> bytes:
    """300 MB of spaces, packed to 300 KB."""
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(b" " * 1_000_000) for _ in range(300)) + packer.flush()


def _chunked(connection: socket.socket, request: bytes) -> None:
    connection.sendall(reply(200, b"", "Transfer-Encoding: chunked", length=-1))
    for _ in range(300):
        connection.sendall(b"F4240\r\n" + b" " * 1_000_000 + b"\r\n")


def _failed(connection: socket.socket, request: bytes) -> None:
    connection.sendall(reply(500, length=300_000_000))
    for _ in range(300):
        connection.sendall(b"<" * 1_000_000)


BODIES: dict[str, Step] = {
    "300 MB": endless(300_000_000),
    "300 MB in chunks": _chunked,
    "300 MB of an error": _failed,
    "a gzip bomb": lambda connection, _: connection.sendall(reply(200, _bomb(), "Content-Encoding: gzip")),
    "100,000 nested brackets": reply(200, b"[" * 100_000),
    "100,000 nested objects": reply(200, b'{"output":' * 100_000),
    "a number of a million digits": reply(200, b"1" * 1_000_000),
    "a million empty strings": reply(200, b'{"output":[' + b'"",' * 333_333 + b"1]}"),
}


# A process begins with the peak of the one that started it, and pytest is no small one.
_LAUNCHER = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[2:])
open(sys.argv[1], "w").write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(status)
"""


def _measured(folder: Path, command: list[str], environ: dict[str, str] | None = None) -> tuple[Run, float]:
    """Run a command; what it did, and the peak of its resident memory in MB."""
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(folder / "peak"), *command]
    run = subprocess.run(launcher, env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return Run(run.returncode, run.stdout.decode(), run.stderr.decode()), int((folder / "peak").read_text()) / 1024


@pytest.mark.slow
@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("arguments", [CREATE, STATUS], ids=["create", "status"])
def test_a_huge_answer_is_a_server_error_and_takes_no_memory(
    arguments: tuple[str, ...], name: str, tmp_path: Path
) -> None:
    with serving(BODIES[name]) as server:
        run, peak = _measured(tmp_path, command(*arguments), environ(server.url))
    print(f"{name}: peak {peak:.0f} MB")
    assert (run.status, run.error["code"]) == (6 if arguments == CREATE else 4, "server_error")
    assert server.posts() == (arguments == CREATE)
    assert peak < MEGABYTES
    assert KEY not in run.stdout + run.stderr


@pytest.mark.slow
def test_a_clip_of_300_megabytes_takes_no_memory(tmp_path: Path) -> None:
    def send(connection: socket.socket, request: bytes) -> None:
        head = b"\x00\x00\x00\x10ftypisom\x00\x00\x02\x00\x00\x00\x00\x08moov"
        size = 300 * 1024 * 1024
        connection.sendall(reply(length=len(head) + size) + head + size.to_bytes(4) + b"mdat")
        for _ in range(300):
            connection.sendall(bytes(1024 * 1024 - (8 if _ == 0 else 0)))

    target = tmp_path / "cat.mp4"
    with serving(send) as host, serving(succeeded(f"{host.url}/cat.mp4")) as server:
        run, peak = _measured(tmp_path, command(*download_to(target)), environ(server.url))
    print(f"300 MB clip: peak {peak:.0f} MB")
    assert run.status == 0, run
    assert peak < MEGABYTES
    target.unlink()


def test_the_measure_of_memory_sees_what_is_taken(tmp_path: Path) -> None:
    _, peak = _measured(tmp_path, [sys.executable, "-c", "bytearray(200_000_000)"])
    _, nothing = _measured(tmp_path, [sys.executable, "-c", "pass"])
    assert peak > 190
    assert nothing < 20
