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
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, NamedTuple, NoReturn

from rawgenai import __version__, files
from rawgenai.errors import RawgenaiError
from rawgenai.message import Form, Media, NotSent, Receive, Request, Response, Send, Unknown, is_loopback

if TYPE_CHECKING:
    import hashlib
    import socket
    import ssl
    from types import ModuleType

MAX_BODY = 1024 * 1024  # bytes of an answer that are read; the longest real one is a few KiB
_INLINE_PIECE = 48 * 1024  # bytes read at once; a multiple of 3, so that base64 pieces join without padding
_FORM_PIECE = 512 * 1024  # the same where they are sent as they are; larger ones save no time
_PIECE = 256 * 1024  # bytes of an answer, or of a part file, that are read at once; with less, a download is slower


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
MAX_FILE = 2 * 1024**3  # bytes of a download; the largest clip has some 100 MB
CRAWL, CRAWLED = 1024, 60  # a download with fewer bytes a second, over so many seconds, counts as stalled


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
            chunks = _plain_chunks(fields, _chunks(answer, fields, timeouts.idle))
            body = (receive or read_bounded)(answer.status_code, fields, chunks)
            return Response(answer.status_code, fields, body)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _fate(error, attempt, request.url) from error


def _chunks(answer: Any, headers: Mapping[str, str], idle: float) -> Iterator[bytes]:
    """Give an answer's body as it comes; of a known length, past httpx, whose copies take longer than the reading.

    Its first piece is all that httpx has read beyond the head; the rest is still in its ``network_stream``, where TLS
    and proxies are already dealt with.
    """
    pieces, left, stream = answer.iter_raw(), _length(headers), answer.extensions.get("network_stream")
    if left is None or stream is None:
        yield from pieces
        return
    piece = next(pieces, b"")  # none where the status, as 204, allows no body
    while piece:
        yield piece
        left -= len(piece)
        if not left:
            return
        piece = _read_on(stream, min(left, _PIECE), idle)


def _read_on(stream: Any, size: int, idle: float) -> bytes:
    import httpcore  # what httpx stands on

    httpx = _httpx()
    try:
        piece: bytes = stream.read(size, timeout=idle)
    except httpcore.TimeoutException as error:
        raise httpx.ReadTimeout(str(error)) from error
    except httpcore.NetworkError as error:
        raise httpx.ReadError(str(error)) from error
    if not piece:
        raise httpx.RemoteProtocolError("the connection ended before the body")
    return piece


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
    fault: str | None = None  # what a checksum that the server named says against the part
    sized: bool = False  # whether the server said how long it is, or where it ends


class _Place(NamedTuple):
    """Where the bytes of an answer belong."""

    path: str  # of the part
    start: int
    end: int | None  # of what this answer brings; None where it does not say
    total: int | None  # bytes of the whole file


def download(
    send: Send,
    url: str,
    target: str,
    task_id: str,
    progress: Callable[[int, int | None], None],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Fetched:
    """Ask once for a file, from where an earlier attempt stopped, and add what comes to the part beside ``target``.

    An object that changed meanwhile starts anew (If-Range). What is added is checked against the checksum that the
    server names, if any. A part that the answer does not go on from is removed. Raises NotSent, Unknown, OSError of the
    local disk, and RawgenaiError (`download_error`) where the file is longer than MAX_FILE.
    """
    old = files.find_part(target, task_id)
    found: tuple[str, str | None, bool] | None = None

    def receive(status: int, headers: Mapping[str, str], chunks: Iterator[bytes]) -> bytes:
        nonlocal found
        if status not in (200, 206, 416):
            return read_bounded(status, headers, chunks)
        if status == 200:
            length = _length(headers)
            place = _Place(files.part_path(target, task_id, _etag(headers)), 0, length, length)
        elif old is None or (continued := _continued(headers, old)) is None:
            place = None
        else:
            place = _Place(old.path, old.size, *continued)
        if old is not None and (place is None or status == 200):
            os.remove(old.path)
        if place is None:
            return b""
        checksum = _Checksum(headers)
        try:
            if status == 416 and not checksum.named:
                _ask_again(place)
            _append(place, () if status == 416 else chunks, checksum, progress, clock)
        except BaseException as error:
            _drop_unless_resumable(place.path, target, task_id, error)
            raise
        sized = place.total is not None or checksum.named or "transfer-encoding" in headers  # chunks have an end
        found = place.path, checksum.fault(), sized
        return b""

    resume = {"Range": f"bytes={old.size}-", "If-Range": f'"{old.etag}"'} if old else {}
    answer = send(Request("GET", url, resume), receive)
    if found is None:
        return Fetched(None, answer)
    part, fault, sized = found
    return Fetched(part, answer, fault, sized)


class _OverlongError(Unknown):
    """More came than was announced, so nobody knows which of the bytes are the file's."""


def _drop_unless_resumable(path: str, target: str, task_id: str, error: BaseException) -> None:
    """Take away a part that no later attempt should go on from: wrong, without a byte, or without a strong ETag."""
    kept = files.find_part(target, task_id)
    if isinstance(error, _OverlongError | RawgenaiError) or kept is None or kept.path != path:
        with suppress(OSError):
            os.remove(path)


def _ask_again(place: _Place) -> NoReturn:
    """Give up the last byte of a whole part, for the checksum that comes with it."""
    os.truncate(place.path, place.start - 1)
    raise Unknown("server_error", "the server says nothing of what the bytes before are")


def _append(
    place: _Place,
    chunks: Iterable[bytes],
    checksum: "_Checksum",
    progress: Callable[[int, int | None], None],
    clock: Callable[[], float],
) -> None:
    path, done, end, total = place
    _check_room(path, done, total)
    with files.open_part(path) as file:
        file.truncate(done)
        if checksum.named:
            checksum.go_on(file, done)
        mark, since = done, clock()
        for chunk in chunks:
            if done + len(chunk) > (MAX_FILE if end is None else end):
                raise _too_large() if end is None else _OverlongError("server_error", "more came than was announced")
            left = memoryview(chunk)
            while left:  # a disk may take less at once than it is given
                left = left[file.write(left) :]
            checksum.add(chunk)
            done += len(chunk)
            progress(done, total)
            if (now := clock()) - since >= CRAWLED:
                if done - mark < CRAWL * CRAWLED:
                    raise Unknown("timeout", f"the server sends less than {CRAWL} bytes a second")
                mark, since = done, now
        if os.fstat(file.fileno()).st_size != done:  # only where there is no place for the lock
            raise _OverlongError("server_error", "another process writes to the same part")
    if total is not None and done != total:
        raise Unknown("connection_error", f"the connection ended after {done} of {total} bytes")


def _check_room(path: str, start: int, total: int | None) -> None:
    import shutil

    if total is None:
        return
    if total > MAX_FILE:
        raise _too_large()
    if total - start > shutil.disk_usage(os.path.dirname(path)).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _too_large() -> RawgenaiError:
    return RawgenaiError("download_error", f"the clip has more than {MAX_FILE >> 30} GiB", final=True)


class _Checksum:
    """What a server names to prove a file's bytes by, computed while they pass: OSS's CRC-64, else Content-MD5.

    An ETag proves no bytes, whatever it looks like: nobody says how it came about. What a Content-MD5 covers in a part
    of a file, the whole or the part, servers see differently (RFC 7231, appendix B), so either will do.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        crc, md5 = (headers.get(name, "").strip() for name in ("x-oss-hash-crc64ecma", "content-md5"))
        self._crc_named = int(crc) if re.fullmatch(r"\d{1,20}", crc, re.ASCII) else None
        self._md5_named = md5 if self._crc_named is None and re.fullmatch("[0-9A-Za-z+/]{22}==", md5) else None
        self.named = (self._crc_named, self._md5_named) != (None, None)
        self._crc = 0
        self._md5s: list[hashlib._Hash] = []
        self._begin()

    def _begin(self) -> None:
        if self._md5_named is not None:
            import hashlib

            self._md5s.append(hashlib.md5(usedforsecurity=False))

    def go_on(self, file: IO[bytes], size: int) -> None:
        """Take in what an earlier attempt wrote: the first ``size`` bytes."""
        if not size:
            return
        file.seek(0)
        while size and (piece := file.read(min(size, _PIECE))):
            self.add(piece)
            size -= len(piece)
        self._begin()

    def add(self, piece: bytes) -> None:
        """Take in the next bytes."""
        if self._crc_named is not None:
            from fastcrc import crc64

            self._crc = crc64.xz(piece, self._crc)
        for md5 in self._md5s:
            md5.update(piece)

    def fault(self) -> str | None:
        """Say where the bytes are not those that the server named."""
        md5s = [base64.b64encode(md5.digest()).decode() for md5 in self._md5s]
        if self._crc_named in (None, self._crc) and (not md5s or self._md5_named in md5s):
            return None
        return "it has another checksum than the server named"


def _etag(headers: Mapping[str, str]) -> str:
    """Read a strong ETag; a weak one cannot vouch for bytes."""
    match = re.fullmatch('"([^"]*)"', headers.get("etag", ""))
    return match[1] if match else ""


def _length(headers: Mapping[str, str]) -> int | None:
    """Read how long a body is; what comes in chunks has no length, whatever it says (RFC 9112, 6.3)."""
    value = headers.get("content-length", "") if "transfer-encoding" not in headers else ""
    return int(value) if re.fullmatch(r"\d{1,18}", value, re.ASCII) else None


def _continued(headers: Mapping[str, str], old: files.Part) -> tuple[int, int] | None:
    """Read the end of a piece that goes on where a part ends, and the whole length; None where it does not.

    Nothing may be missing as well. A piece has the part's ETag, or it is another object's: not every server minds
    If-Range, and each must name the ETag (RFC 9110, 15.3.7).
    """
    place = r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18})"
    match = re.fullmatch(place, headers.get("content-range", ""), re.ASCII)
    if match is None:
        return None
    total = int(match[3])
    first, end = int(match[1] or total), int(match[2] or total - 1) + 1
    if match[1] and (_etag(headers) != old.etag or _length(headers) not in (None, end - first)):
        return None
    return (end, total) if old.size == first <= end <= total else None


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
    except (ImportError, ValueError, httpx.InvalidURL) as error:  # a SOCKS proxy, or what is no URL; NO_PROXY's too
        names = "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY or NO_PROXY"
        raise RawgenaiError("config_error", f"the proxy that {names} names cannot be used: {error}") from error


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
