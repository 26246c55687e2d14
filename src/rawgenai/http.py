"""HTTP over a socket: one attempt to send a request, and what became of it. The only file that names httpx.

It judges nothing: what an answer means, and whether sending again is safe, is the provider's knowledge. Every attempt
has a connection of its own, so that a stale one can never make it unclear whether a request was acted on.
"""

import base64
import errno
import io
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from rawgenai import __version__, files
from rawgenai.errors import RawgenaiError
from rawgenai.message import Form, Media, NotSent, Receive, Request, Response, Send, Unknown, is_loopback

if TYPE_CHECKING:
    import socket
    import ssl
    from types import ModuleType

MAX_BODY = 1024 * 1024  # bytes of an answer that are read; the longest real one is a few KiB
_INLINE_PIECE = 48 * 1024  # bytes read at once; a multiple of 3, so that base64 pieces join without padding
_FORM_PIECE = 512 * 1024  # the same where they are sent as they are; larger ones save no time


class Timeouts(NamedTuple):
    """Seconds for one attempt: to connect, between two bytes, and in all (None: no bound)."""

    connect: float
    idle: float
    total: float | None


# faults.md section 2. A POST waits long on purpose: a short time-out only makes more outcomes unknown.
ASK = Timeouts(5, 15, 15)
CREATE = Timeouts(10, 120, 180)
TRANSFER = Timeouts(10, 15, None)
UPLOAD = Timeouts(10, 30, 120)  # and in all what its bytes take at SLOWEST
SLOWEST = 50_000  # bytes a second of an upload


# --- bodies ------------------------------------------------------------------------------------------------------


class Encoded(NamedTuple):
    """A body ready to be sent: its type, its exact length in bytes, and the bytes in pieces."""

    content_type: str
    length: int
    chunks: Iterator[bytes]


def encode(body: Any) -> Encoded:
    """Write a body as bytes, streaming the files that its Media leaves stand for."""
    if isinstance(body, Form):
        return _encode_form(body)
    return _encode_json(body)


def _encode_json(body: Any) -> Encoded:
    import json
    import secrets

    # Each leaf is first written as a mark that no text of the body can hold, then replaced by its file.
    leaves: list[Media] = []
    seal = secrets.token_hex(16)

    def mark(leaf: Any) -> str:
        if not isinstance(leaf, Media):
            raise TypeError(f"{type(leaf).__name__} is not JSON")
        leaves.append(leaf)
        return seal

    text = json.dumps(body, ensure_ascii=False, allow_nan=False, default=mark).encode()
    pieces = text.split(seal.encode())

    def chunks() -> Iterator[bytes]:
        yield pieces[0]
        for leaf, piece in zip(leaves, pieces[1:], strict=True):
            yield f"data:{leaf.mime};base64,".encode()
            yield from map(base64.b64encode, _read(leaf, _INLINE_PIECE))
            yield piece

    inline = sum(len(f"data:{leaf.mime};base64,") + 4 * -(-leaf.size // 3) for leaf in leaves)
    return Encoded("application/json", sum(map(len, pieces)) + inline, chunks())


def _encode_form(form: Form) -> Encoded:
    import secrets

    boundary = secrets.token_hex(16)
    head = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in form.fields.items()
    )
    head += (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{form.filename}"\r\n'
        f"Content-Type: {form.file.mime}\r\n\r\n"
    )
    tail = f"\r\n--{boundary}--\r\n"

    def chunks() -> Iterator[bytes]:
        yield head.encode()
        for piece in _read(form.file, _FORM_PIECE):
            yield piece
            if form.sent is not None:
                form.sent(len(piece))
        yield tail.encode()

    length = len(head.encode()) + form.file.size + len(tail)
    return Encoded(f"multipart/form-data; boundary={boundary}", length, chunks())


def _read(media: Media, size: int) -> Iterator[bytes]:
    """Give a leaf's bytes in pieces of at most ``size``, exactly those that were checked.

    The last piece is held back until the whole is known to be right, so that nobody ever gets a whole wrong file.
    Raises OSError.
    """
    from fastcrc import crc64

    left, crc = media.size, crc64.xz(b"")
    with open_media(media) as file:
        while left:
            piece = file.read(min(left, size))
            if not piece:
                raise OSError("it became shorter while it was sent")
            left -= len(piece)
            crc = crc64.xz(piece, crc)
            if not left and media.crc64 not in (None, crc):
                raise OSError("it was changed while it was sent")
            yield piece


def open_media(media: Media) -> IO[bytes]:
    """Open a leaf's bytes: a local file, or what a data URI holds."""
    if media.path.startswith("data:"):
        return io.BytesIO(base64.b64decode(media.path.partition(",")[2], validate=True))
    return open(media.path, "rb")


# --- one attempt -------------------------------------------------------------------------------------------------


def sender(base_url: str, key: Callable[[], str], timeout: float | None = None) -> Callable[..., Response]:
    """Make a Send that puts relative URLs under ``base_url`` and gives them, and nothing else, the key.

    ``timeout`` is how many seconds an answer may take, where that is not what the kind of request suggests.
    """

    def send_one(request: Request, receive: Receive | None = None) -> Response:
        headers = dict(request.headers)
        if "://" not in request.url:
            headers["Authorization"] = f"Bearer {key()}"
            request = Request(request.method, f"{base_url}/{request.url}", headers, request.body)
        return send(request, receive, timeouts=_timeouts(request, receive, timeout))

    return send_one


def _timeouts(request: Request, receive: Receive | None, timeout: float | None) -> Timeouts:
    form = request.body if isinstance(request.body, Form) else None
    if receive is not None:
        usual = TRANSFER
    elif form is not None:
        usual = UPLOAD
    else:
        usual = ASK if request.method == "GET" else CREATE
    if timeout is not None:
        usual = Timeouts(min(usual.connect, timeout), timeout, timeout if usual.total else None)
    if form is not None and usual.total is not None:
        return usual._replace(total=usual.total + form.file.size / SLOWEST)
    return usual


@dataclass(slots=True)
class _Attempt:
    """What the attempt knows about itself, for telling NotSent from Unknown."""

    sent: bool = False  # the first byte of the request may have left
    late: bool = False  # the whole time is up
    socket: "socket.socket | None" = None
    headers: Mapping[str, str] | None = None  # of the answer, once they came

    def trace(self, name: str, info: Mapping[str, Any]) -> None:
        if name == "connection.connect_tcp.complete":
            self.socket = info["return_value"].get_extra_info("socket")
        # A CONNECT is for the proxy alone; the request itself has not left by then.
        elif name.endswith("send_request_headers.started") and info["request"].method != b"CONNECT":
            self.sent = True

    def give_up(self) -> None:
        """End the attempt from outside: even a server that drips bytes cannot outlast the whole time."""
        import socket

        self.late = True
        if self.socket is not None:
            try:
                self.socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # it is closed already


def send(request: Request, receive: Receive | None = None, *, timeouts: Timeouts = ASK) -> Response:
    """Send a request to its absolute URL once; no redirect is followed and no cookie kept.

    Raises NotSent where the request provably stayed here, and Unknown where it left and no whole answer came back.
    """
    httpx = _httpx()
    attempt = _Attempt()
    headers = {"User-Agent": f"rawgenai/{__version__}", "Accept-Encoding": "identity", **request.headers}
    content = None
    if request.body is not None:
        encoded = encode(request.body)
        headers |= {"Content-Type": encoded.content_type, "Content-Length": str(encoded.length)}
        content = encoded.chunks
    try:
        with (
            _client(request.url, timeouts) as client,
            _alarm(timeouts.total, attempt.give_up),
            client.stream(
                request.method, request.url, headers=headers, content=content, extensions={"trace": attempt.trace}
            ) as answer,
        ):
            attempt.headers = fields = {name.lower(): value for name, value in answer.headers.items()}
            chunks = _plain_chunks(fields, answer.iter_raw())
            body = (receive or read_bounded)(answer.status_code, fields, chunks)
            return Response(answer.status_code, fields, body)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _fate(error, attempt, request.url) from error


def read_bounded(status: int, headers: Mapping[str, str], chunks: Iterator[bytes]) -> bytes:  # noqa: ARG001 - a Receive
    """Read a whole body, up to MAX_BODY."""
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > MAX_BODY:
            raise Unknown("server_error", f"the answer is longer than {MAX_BODY // 1024} KiB")
    return bytes(body)


def _plain_chunks(headers: Mapping[str, str], chunks: Iterator[bytes]) -> Iterator[bytes]:
    # We asked for `identity`; what is compressed all the same may be a bomb, and is never unpacked.
    coding = headers.get("content-encoding", "identity")
    if coding not in ("identity", ""):
        raise Unknown("server_error", f"the answer is compressed ({coding[:40]}), which was not asked for")
    yield from chunks


def _fate(error: Exception, attempt: _Attempt, url: str) -> NotSent | Unknown:
    httpx = _httpx()
    host = _host(url)
    late = attempt.late or isinstance(error, httpx.TimeoutException)
    code = "timeout" if late else "connection_error"
    if attempt.sent:
        what = "did not answer in time" if late else "closed the connection before a whole answer came"
        return Unknown(code, f"{host} {what}", attempt.headers)
    what = "could not be reached in time" if late else f"could not be reached: {error}"
    distrusted = "CERTIFICATE" in str(error).upper()
    if distrusted:
        what += " (a company's own certificate authority is named by SSL_CERT_FILE)"
    return NotSent(code, f"{host} {what}", passing=not distrusted)


def _host(url: str) -> str:
    from urllib.parse import urlsplit

    return urlsplit(url).hostname or url


@contextmanager
def _alarm(seconds: float | None, ring: Callable[[], None]) -> Iterator[None]:
    if seconds is None:
        yield
        return
    import threading

    timer = threading.Timer(seconds, ring)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


# --- a download, one attempt of it ---------------------------------------------------------------------------------


class Fetched(NamedTuple):
    """What one attempt at a download got: the path of a part file that is whole, or an answer that says why not."""

    part: str | None
    answer: Response


def download(send: Send, url: str, target: str, task_id: str, progress: Callable[[int, int | None], None]) -> Fetched:
    """Ask once for a file, from where an earlier attempt stopped, and add what comes to the part beside ``target``.

    An object that changed meanwhile starts anew (If-Range). Raises NotSent, Unknown, and OSError of the local disk.
    """
    old = files.find_part(target, task_id)
    part: str | None = None

    def receive(status: int, headers: Mapping[str, str], chunks: Iterator[bytes]) -> bytes:
        nonlocal part
        if status == 200:
            path, start, total = files.part_path(target, task_id, _etag(headers)), 0, _length(headers)
            if old is not None:
                os.remove(old.path)
        elif old is not None and status in (206, 416):
            path, start, total = old.path, old.size, _continued(headers, old.size)
            if total is None:
                os.remove(old.path)
                raise Unknown("server_error", "the server sent another piece of the file than was asked for")
        else:
            return read_bounded(status, headers, chunks)
        if status != 416:
            try:
                _append(path, start, total, chunks, progress)
            except BaseException:
                _drop_unless_resumable(path, target, task_id)
                raise
        part = path
        return b""

    resume = {"Range": f"bytes={old.size}-", "If-Range": f'"{old.etag}"'} if old else {}
    answer = send(Request("GET", url, resume), receive)
    return Fetched(part, answer)


def _drop_unless_resumable(path: str, target: str, task_id: str) -> None:
    """Take away a part that no later attempt would go on from: no strong ETag vouches for it, or it has no byte."""
    kept = files.find_part(target, task_id)
    if kept is None or kept.path != path:
        with suppress(OSError):
            os.remove(path)


def _append(
    path: str, start: int, total: int | None, chunks: Iterator[bytes], progress: Callable[[int, int | None], None]
) -> None:
    import shutil

    done = start
    if total is not None and total - start > shutil.disk_usage(os.path.dirname(path)).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with open(path, "ab", buffering=0) as file:
        file.truncate(start)
        for chunk in chunks:
            left = memoryview(chunk)
            while left:  # a disk may take less at once than it is given
                left = left[file.write(left) :]
            done += len(chunk)
            progress(done, total)
    if total is not None and done != total:
        raise Unknown("connection_error", f"the connection ended after {done} of {total} bytes")


def _etag(headers: Mapping[str, str]) -> str:
    """Read a strong ETag; a weak one cannot vouch for bytes."""
    match = re.fullmatch('"([^"]*)"', headers.get("etag", ""))
    return match[1] if match else ""


def _length(headers: Mapping[str, str]) -> int | None:
    value = headers.get("content-length", "")
    return int(value) if re.fullmatch(r"\d{1,18}", value, re.ASCII) else None


def _continued(headers: Mapping[str, str], start: int) -> int | None:
    """Read the whole length from a Content-Range that goes on at ``start``, or that says that nothing is missing."""
    place = r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18})"
    match = re.fullmatch(place, headers.get("content-range", ""), re.ASCII)
    if match is None:
        return None
    total = int(match[3])
    first, end = int(match[1] or total), int(match[2] or total - 1) + 1
    return total if start == first <= end <= total else None


# --- httpx, as cheap as it gets (reference, performance) ----------------------------------------------------------


def _httpx() -> "ModuleType":
    if "httpx" not in sys.modules:
        # httpx imports its own command line, which brings in rich and pygments; without it, httpx falls back.
        sys.modules["httpx._main"] = None  # type: ignore[assignment]  # what makes an import fail
        try:
            import httpx
        finally:
            del sys.modules["httpx._main"]
    import httpx

    return httpx


def _client(url: str, timeouts: Timeouts) -> Any:
    httpx = _httpx()
    trust = _tls() if url.startswith("https:") else _no_tls()
    try:
        return httpx.Client(
            verify=trust,
            trust_env=not is_loopback(_host(url)),  # proxies; a loopback server is never behind one
            timeout=httpx.Timeout(timeouts.idle, connect=timeouts.connect),
            follow_redirects=False,
        )
    except (ImportError, ValueError) as error:  # a SOCKS proxy, or a scheme that is none
        raise RawgenaiError("config_error", f"the proxy that the environment names cannot be used: {error}") from error


def _no_tls() -> "ssl.SSLContext":
    import ssl

    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody, and costs nothing


def _tls() -> "ssl.SSLContext":
    """Trust what the system trusts: SSL_CERT_FILE or SSL_CERT_DIR, else the system's folder, else certifi."""
    import ssl

    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if not file and not folder:
        folder = ssl.get_default_verify_paths().capath
        if not folder or not os.path.isdir(folder) or not os.listdir(folder):
            import certifi

            file, folder = certifi.where(), None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(file or None, folder or None)
    except OSError as error:
        raise RawgenaiError("config_error", f"SSL_CERT_FILE or SSL_CERT_DIR cannot be used: {error}") from error
    return context
