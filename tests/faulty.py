"""A raw-socket HTTP server that can do wrong, for tests; and the command line as a process, to be run against it.

Each connection takes the next step of the server's script, the last step again and again. A step is the bytes to
answer with before the connection is closed, or a function of the socket and the request that was read; ``Early`` ones
are taken when its head is there.
"""

import json
import os
import select
import socket
import socketserver
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from conftest import CANARY
from rawgenai.config import Settings
from rawgenai.emulator import server as emulating
from rawgenai.secret import Secret

KEY = CANARY
TASK = "0385dc79-5ff8-4d82-bcb6-7d2f5d1a8c3e"
HEAD_END = b"\r\n\r\n"

Act = Callable[[socket.socket, bytes], None]


class Early(NamedTuple):
    """What is done as soon as a request's head is there; it may go on reading with ``read_rest``."""

    act: Act


Step = bytes | Act | Early


class Server(socketserver.ThreadingTCPServer):
    """Counts connections and keeps every request's bytes, as far as they came."""

    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, script: Iterable[Step], context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = list(script)
        self.context = context
        self.connections = 0
        self.requests: list[bytes] = []
        self.stopping = threading.Event()
        self.lock = threading.Lock()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        """Where a client finds it, as a base URL."""
        scheme = "https" if self.context else "http"
        return f"{scheme}://127.0.0.1:{self.port}/api/v1"

    def next_step(self) -> Step:
        """The step of a new connection."""
        with self.lock:
            self.connections += 1
            return self.script[min(self.connections, len(self.script)) - 1]

    def posts(self) -> int:
        """How many POSTs came."""
        return sum(request.startswith(b"POST ") for request in self.requests)


class _Handler(socketserver.BaseRequestHandler):
    server: Server
    request: socket.socket

    def handle(self) -> None:
        step = self.server.next_step()
        with suppress(OSError):
            self.request.settimeout(20)
            if self.server.context:
                self.request = self.server.context.wrap_socket(self.request, server_side=True)
            request = read_head(self.request)
            if not isinstance(step, Early):
                request = read_rest(self.request, request)
            self.server.requests.append(request)
            if isinstance(step, bytes):
                self.request.sendall(step)
            elif isinstance(step, Early):
                step.act(self.request, request)
            else:
                step(self.request, request)

    def finish(self) -> None:
        with suppress(OSError):
            self.request.close()


def read_head(connection: socket.socket) -> bytes:
    """Read a request's head, and what came with it of the body."""
    data = b""
    while HEAD_END not in data and not data.startswith(b"\x16") and (piece := connection.recv(65536)):
        data += piece
    return data


def read_rest(connection: socket.socket, data: bytes) -> bytes:
    """Read the rest of a request whose head, at least, is there."""
    head, _, body = data.partition(HEAD_END)
    left = int(header(data, "content-length") or 0) - len(body)
    while left > 0 and (piece := connection.recv(65536)):
        body += piece
        left -= len(piece)
    return head + HEAD_END + body


def header(request: bytes, name: str) -> str | None:
    """The value of a request's header."""
    for line in request.partition(HEAD_END)[0].split(b"\r\n")[1:]:
        found, _, value = line.partition(b":")
        if found.decode().lower() == name.lower():
            return value.decode().strip()
    return None


@contextmanager
def serving(*script: Step, context: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Serve a script on loopback, meanwhile."""
    server = Server(script, context)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.001})
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.shutdown()
        thread.join()
        server.server_close()


def closed_port() -> int:
    """A loopback port where nobody listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return int(server.getsockname()[1])


# --- steps --------------------------------------------------------------------------------------------------------


def reply(status: int = 200, body: bytes = b"", *headers: str, length: int | None = None) -> bytes:
    """An answer with a Content-Length: the body's, or another one that lies. ``length=-1`` leaves it out."""
    said = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status} X", *([f"Content-Length: {said}"] if said >= 0 else []), "Connection: close", *headers]
    return "\r\n".join(lines).encode() + HEAD_END + body


def says(document: Any, status: int = 200, *headers: str) -> bytes:
    """An answer in JSON."""
    return reply(status, json.dumps(document).encode(), "Content-Type: application/json", *headers)


def refuses(status: int, code: str, message: str = "no", *headers: str) -> bytes:
    """An answer that is one of the API's own refusals."""
    return says({"request_id": "request-1", "code": code, "message": message}, status, *headers)


CREATED = says({"request_id": "request-1", "output": {"task_id": TASK, "task_status": "PENDING"}})
CLOSE = b""


def reset(connection: socket.socket, request: bytes) -> None:
    """Cut the connection with a RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("hh" if os.name == "nt" else "ii", 1, 0))


def hang(connection: socket.socket, request: bytes) -> None:
    """Say nothing until the client goes away."""
    connection.recv(1)


def then(*steps: bytes | Act) -> Act:
    """One step after another on the same connection."""

    def run(connection: socket.socket, request: bytes) -> None:
        for step in steps:
            if isinstance(step, bytes):
                connection.sendall(step)
            else:
                step(connection, request)

    return run


def dripped(data: bytes, seconds: float) -> Act:
    """Send byte by byte, with a pause after each."""

    def drip(connection: socket.socket, request: bytes) -> None:
        for byte in data:
            connection.sendall(bytes([byte]))
            time.sleep(seconds)

    return drip


def endless(size: int, piece: bytes = b" " * 65536) -> Act:
    """Send an answer of 200 whose body has ``size`` bytes."""

    def send(connection: socket.socket, request: bytes) -> None:
        connection.sendall(reply(length=size))
        for _ in range(-(-size // len(piece))):
            connection.sendall(piece)

    return send


def succeeded(url: str, task_id: str = TASK) -> bytes:
    """The status of a task whose clip is at a URL."""
    output = {"task_id": task_id, "task_status": "SUCCEEDED", "video_url": url}
    return says({"request_id": "request-2", "output": output, "usage": {"duration": 5, "SR": 720}})


def clip(size: int = 100_000) -> bytes:
    """The boxes of an MP4, with bytes that are all different enough to notice a mix-up."""
    payload = b"".join(index.to_bytes(4) for index in range(size // 4))
    boxes = ((b"ftyp", b"isom\x00\x00\x02\x00isom"), (b"moov", b"\x00" * 16), (b"mdat", payload))
    return b"".join((len(body) + 8).to_bytes(4) + name + body for name, body in boxes)


def ranged(
    body: bytes, etag: str | None = '"one"', *, cut: int | None = None, pause: float = 0, faithless: bool = False
) -> Act:
    """Do as RFC 9110 says: Range, If-Range, 206, 416; ``faithless``: without a look at If-Range.

    ``cut`` ends the answer after so many bytes of the body; ``pause`` seconds pass after every tenth of it.
    """

    def send(connection: socket.socket, request: bytes) -> None:
        tag = [f"ETag: {etag}"] if etag else []
        asked = header(request, "range")
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if asked is None or (header(request, "if-range") not in (None, etag) and not faithless):
            answer, part = reply(200, b"", *tag, length=len(body)), body
        elif start >= len(body):
            answer, part = reply(416, b"", f"Content-Range: bytes */{len(body)}", *tag), b""
        else:
            place = f"Content-Range: bytes {start}-{len(body) - 1}/{len(body)}"
            answer, part = reply(206, b"", place, *tag, length=len(body) - start), body[start:]
        connection.sendall(answer)
        piece = len(body) // 10 if pause else len(body)
        for start in range(0, len(part[:cut]), piece):
            connection.sendall(part[:cut][start : start + piece])
            time.sleep(pause)

    return send


# --- clients ------------------------------------------------------------------------------------------------------


def settings(url: str) -> Settings:
    """The settings of a client of that server."""
    return Settings(Secret(KEY), "test", url, "test")


class Run(NamedTuple):
    """What a process did."""

    status: int
    stdout: str
    stderr: str

    @property
    def envelope(self) -> Any:
        """The one envelope: on stdout, or the last line of stderr."""
        return json.loads(self.stdout or self.stderr.splitlines()[-1])

    @property
    def error(self) -> Any:
        """What the failure's envelope says."""
        return self.envelope["error"]


CREATE = ("dashscope", "video", "create", "A kitten")
STATUS = ("dashscope", "video", "status", TASK)


def download_to(output: str | Path) -> tuple[str, ...]:
    """The command line of a download."""
    return ("dashscope", "video", "download", TASK, "-o", str(output))


def command(*arguments: str) -> list[str]:
    """The command line, as a process."""
    return [sys.executable, "-m", "rawgenai", *arguments]


def environ(url: str, **more: str) -> dict[str, str]:
    """The environment of that process: its server and its key."""
    return {**os.environ, "DASHSCOPE_BASE_URL": url, "DASHSCOPE_API_KEY": KEY, "RAWGENAI_TIMEOUT": "20", **more}


def rawgenai(url: str, *arguments: str, **more: str) -> Run:
    """Run the command line against a server."""
    run = subprocess.run(
        command(*arguments),
        env=environ(url, **more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return Run(run.returncode, run.stdout.decode(), run.stderr.decode())


def tunnel(port: int) -> Act:
    """Do what CONNECT asks of a proxy: carry bytes to and fro; every name leads to one port of this machine."""

    def carry(connection: socket.socket, request: bytes) -> None:
        with socket.create_connection(("127.0.0.1", port)) as target, suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            while True:
                for source in select.select([connection, target], [], [], 10)[0]:
                    piece = source.recv(65536)
                    if not piece:
                        return
                    (target if source is connection else connection).sendall(piece)

    return carry


@contextmanager
def emulated(folder: Path, seconds: float) -> Iterator[emulating.Server]:
    """Serve the emulator, whose tasks take so many seconds, from a thread of this process."""
    server = emulating.open_server(folder=folder, environ={"RAWGENAI_EMULATOR_SECONDS": str(seconds)})
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
