"""The emulator on a loopback socket. It hears nothing but this machine, bounds what it reads, and acts faults out.

Sources of the bounds: faults.md, section 1J. It prints nothing, and follows no URL that it is given.
"""

import io
import os
import re
import socket
import socketserver
import struct
import sys
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from rawgenai.emulator.answers import Answer, Call, Refused, refusal
from rawgenai.emulator.state import cap_of, handle, speed
from rawgenai.emulator.store import Store, state_folder
from rawgenai.errors import RawgenaiError
from rawgenai.secret import ENVIRON

_CONNECTIONS = 256
_HEAD_BYTES = 40 * 1024  # 32 KiB, and what is read ahead
_WRITE_SECONDS = 60.0
_DRAIN_SECONDS = 1.0
_PIECE = 64 * 1024


class Server(ThreadingHTTPServer):
    """The emulator, listening; ``serve_forever`` answers, ``shutdown`` and ``server_close`` end it."""

    daemon_threads = True
    block_on_close = False  # a hanging connection must not keep the server
    request_queue_size = 128
    allow_reuse_address = os.name != "nt"  # on Windows it would let two servers share a port

    def __init__(
        self, port: int, *, store: Store, seconds: float, now: Callable[[], float], head_limit: float, body_limit: float
    ) -> None:
        self.store = store
        self.seconds = seconds
        self.now = now
        self.head_limit = head_limit
        self.body_limit = body_limit
        self.stopping = threading.Event()
        self._free = threading.Semaphore(_CONNECTIONS)
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def origin(self) -> str:
        """``http://127.0.0.1:PORT``."""
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def base_url(self) -> str:
        """What DASHSCOPE_BASE_URL is set to."""
        return f"{self.origin}/api/v1"

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's own asks the DNS for a name
        self.server_name, self.server_port = "127.0.0.1", int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is nobody's error, and nothing is printed."""

    def server_close(self) -> None:
        self.stopping.set()
        super().server_close()


def open_server(
    port: int = 0,
    folder: Path | None = None,
    *,
    environ: Mapping[str, str] = ENVIRON,
    now: Callable[[], float] = time.time,
    head_limit: float = 10.0,
    body_limit: float = 30.0,
) -> Server:
    """Listen on 127.0.0.1 (port 0: a free one) with state in ``folder``; the limits are seconds for reading.

    Raises OSError where the port is taken, OverflowError where it is none, RawgenaiError ``config_error`` for a wrong
    RAWGENAI_EMULATOR_SECONDS or a state folder that cannot be used.
    """
    store = Store(folder or state_folder(environ))
    store.secret()  # finds out now, not at the first request, whether the folder can be used
    seconds = speed(environ)
    return Server(port, store=store, seconds=seconds, now=now, head_limit=head_limit, body_limit=body_limit)


class _Incoming(io.RawIOBase):
    """What a connection sends, until a deadline and up to a number of bytes."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._deadline = 0.0
        self._left = 0

    def allow(self, seconds: float, size: int) -> None:
        self._deadline = time.monotonic() + seconds
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        seconds = self._deadline - time.monotonic()
        if seconds <= 0 or self._left <= 0:
            raise TimeoutError("too slow or too much")  # what BaseHTTPRequestHandler ends a connection for
        self._connection.settimeout(seconds)
        count = self._connection.recv_into(buffer)
        self._left -= count
        return count


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server
    connection: socket.socket

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self._incoming = _Incoming(self.connection)
        self.rfile = io.BufferedReader(self._incoming)

    def handle_one_request(self) -> None:
        self._incoming.allow(self.server.head_limit, _HEAD_BYTES)
        super().handle_one_request()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that the library gave it
        """Nothing is printed."""

    def _serve(self) -> None:
        refused = self._refuse_head()
        if refused is not None:
            self.close_connection = True
            self._send(refused)
            self._drain()
            return
        answer = self._answer()
        self.server.stopping.wait(answer.delay)
        self._act(answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = _serve  # noqa: N815 - the library's names

    def _refuse_head(self) -> Answer | None:
        """Refuse what no client of ours sends: another site's page, or a body that cannot be bounded."""
        names = {f"{name}:{self.server.server_port}" for name in ("127.0.0.1", "localhost", "[::1]")}
        hosts = self.headers.get_all("Host", [])
        lengths = self.headers.get_all("Content-Length", ["0"])
        cap = cap_of(self.command, self.path)
        if len(hosts) != 1 or hosts[0].strip().lower() not in names:
            return self._refusal(Refused("AccessDenied", "This Host is not the emulator.", 403))
        if "Origin" in self.headers:
            return self._refusal(Refused("AccessDenied", "The emulator does not answer web pages.", 403))
        if "Transfer-Encoding" in self.headers:
            return self._refusal(Refused("InvalidParameter", "Transfer-Encoding is not supported.", 411))
        if len(lengths) != 1 or not re.fullmatch(r"\d{1,15}", lengths[0], re.ASCII):
            return self._refusal(Refused("InvalidParameter", "Content-Length is wrong."))
        if int(lengths[0]) > cap:
            return self._refusal(Refused("BadRequest.TooLarge", status=413))
        return None

    def _refusal(self, refused: Refused) -> Answer:
        return refusal(refused, self.server.now())

    def _answer(self) -> Answer:
        length = int(self.headers.get("Content-Length", "0"))
        self._incoming.allow(self.server.body_limit, length + 1)
        body = self.rfile.read(length)
        if len(body) < length:
            raise TimeoutError("the client left")
        headers = {name.lower(): value for name, value in self.headers.items()}
        call = Call(self.command, self.path, headers, body, self.server.origin)
        try:
            return handle(call, self.server.store, now=self.server.now(), seconds=self.server.seconds)
        except RawgenaiError as error:
            return self._refusal(Refused("InternalError", f"The emulator: {error.message}", 500))
        except Exception as error:  # noqa: BLE001 - a fault of ours must not look like one of the wire
            return self._refusal(Refused("InternalError", f"The emulator failed: {error!r}", 500))

    def _act(self, answer: Answer) -> None:
        """Send the answer, or do to the connection what the answer says instead."""
        self.close_connection = self.close_connection or bool(answer.wire) or answer.cut is not None
        match answer.wire:
            case "hang":
                self._hang()
            case "reset":
                # Lingering for no time turns close into RST; closing it here, because the server would say FIN first.
                linger = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.connection.close()
            case "close":
                pass  # what happens next anyway
            case _:
                self._send(answer)

    def _drain(self) -> None:
        """Take in the body of a call that was refused, so that closing does not destroy the answer on its way."""
        self.connection.shutdown(socket.SHUT_WR)
        self._incoming.allow(_DRAIN_SECONDS, sys.maxsize)
        while self.rfile.read(_PIECE):
            pass

    def _hang(self) -> None:
        """Say nothing until the client leaves or the server stops."""
        self.connection.settimeout(0.1)
        while not self.server.stopping.is_set():
            try:
                if not self.connection.recv(4096):
                    return
            except TimeoutError:
                continue

    def _send(self, answer: Answer) -> None:
        self.connection.settimeout(_WRITE_SECONDS)
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            for piece in answer.chunks():
                self.wfile.write(piece)
