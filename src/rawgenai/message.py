"""One HTTP message as a plain value, and what can become of sending it.

Nothing here does I/O or knows a provider. A ``Request`` can be printed, compared and sent; a body may hold ``Media``
leaves, which stand for a local file's bytes until the moment of sending.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

Json = Any  # None, bool, int, float, str, list or dict of the same; in a Request's body also Media


@dataclass(frozen=True, slots=True)
class Media:
    """A local file as a leaf of a body; it never holds the bytes.

    Sent inside a JSON body it becomes ``data:MIME;base64,...``; as the last part of a ``Form``, its plain bytes.
    """

    path: str  # of the file; or a data URI that is decoded when its bytes are wanted
    mime: str  # of the content
    size: int  # bytes
    width: int = 0  # pixels as shown; 0 where there are none, or nobody knows
    height: int = 0
    alpha: bool = False
    seconds: float | None = None  # None where it does not say
    fps: float | None = None  # frames a second of a video; None where its index does not say
    digest: str = ""  # names the bytes that were checked, once they are sealed
    crc64: int | None = None  # of these bytes: where it is set, others are never sent whole
    called: str = field(default="", compare=False)  # what people are told it is, where it is no file that they named


@dataclass(frozen=True, slots=True)
class Form:
    """A multipart/form-data body: the fields in order, the file last (reference section 5)."""

    fields: Mapping[str, str]
    file: Media
    filename: str  # what the server is told; never the local name
    sent: Callable[[int], None] | None = field(default=None, compare=False)  # told of the file's bytes as they leave


class Request(NamedTuple):  # its making costs a start a fifth of a dataclass's
    """One HTTP request.

    ``url`` is either relative to the API's base URL (``"tasks/ID"``) or absolute. The API key goes with relative URLs
    and with nothing else, so a request to a clip's or an upload's host cannot carry it.
    """

    method: str
    url: str
    headers: Mapping[str, str] = {}
    body: Json | Form | None = None


class Response(NamedTuple):
    """One HTTP answer: header names in lower case; the body whole, unless a ``Receive`` took it."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


class NotSent(Exception):  # noqa: N818 - a fact about a message that tasks judge, no error of the program
    """The request provably never left this machine (refused, DNS, TLS); ``code`` is a row of the table of codes.

    ``passing`` is False where sending it again will fail in the same way, as with a certificate nobody trusts.
    """

    def __init__(self, code: str, message: str, *, passing: bool = True) -> None:
        self.code = code
        self.passing = passing
        super().__init__(message)


class Unknown(Exception):  # noqa: N818 - as above
    """The request left, and no whole answer came back: the server may have acted on it.

    ``headers`` are those of the answer, where it came as far as that.
    """

    def __init__(self, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        self.code = code
        self.headers = headers or {}
        super().__init__(message)


# Takes the answer's status, headers and body as it arrives; what it returns becomes Response.body.
# Raising stops the transfer. Network failures surface as Unknown from the iterator; its own errors pass through.
Receive = Callable[[int, Mapping[str, str], Iterator[bytes]], bytes]


class Send(Protocol):
    """One attempt to exchange one request for one response, over a socket or with the emulator in process.

    Without ``receive`` the whole body is read, up to a bound. Raises NotSent or Unknown.
    """

    def __call__(self, request: Request, receive: Receive | None = None) -> Response: ...


def parse_json(text: str) -> Json:
    """Parse JSON that means the same to everybody: no NaN or infinity, also not by 1e999, and no key twice.

    Raises ValueError with a sentence, whatever the text is.
    """
    import json

    try:
        return json.loads(text, parse_constant=_reject, parse_float=_finite, object_pairs_hook=_unique)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _reject(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _finite(number: str) -> float:
    value = float(number)
    if value in (float("inf"), float("-inf")):
        raise ValueError("a number is too large")
    return value


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice")
    return value


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address can only mean this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    from ipaddress import ip_address

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
