"""A local stand-in for DashScope's video API, with behaviour: it books tasks, moves them on and draws real clips.

``sender`` mounts it in process, ``server.open_server`` on a loopback socket; both answer with ``state.handle``, on
state that lives in one folder. It never contacts anything, and shares nothing with the client but the model table.
"""

import io
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rawgenai.message import Receive, Request, Response, Send, Unknown
from rawgenai.secret import ENVIRON

if TYPE_CHECKING:
    from rawgenai.emulator.answers import Answer

ORIGIN = "http://emulator.localhost"
_KEY = "sk-emulator"  # stands in for the API key, which nobody needs in process

# What becomes of a call whose answer never comes whole: the code and the sentence.
_OUTCOMES = {
    "hang": ("timeout", "the emulator did not answer, as the prompt asked"),
    "reset": ("connection_error", "the emulator reset the connection, as the prompt asked"),
    "close": ("connection_error", "the emulator closed the connection without an answer, as the prompt asked"),
    "cut": ("connection_error", "the emulator closed the connection before the end, as the prompt asked"),
}


def sender(
    folder: Path | None = None,
    *,
    environ: Mapping[str, str] = ENVIRON,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], object] = time.sleep,
) -> Send:
    """Return a ``Send`` that the emulator answers in process; ``folder`` holds its state.

    Raises RawgenaiError ``config_error`` for a wrong RAWGENAI_EMULATOR_SECONDS; sending raises it for a state folder
    that cannot be used, and ``missing_extra`` where a clip is asked for and PyAV is not installed.
    """
    from rawgenai.emulator.answers import Call
    from rawgenai.emulator.state import handle, speed
    from rawgenai.emulator.store import Store, state_folder

    store = Store(folder or state_folder(environ))
    seconds = speed(environ)

    def send(request: Request, receive: Receive | None = None) -> Response:
        answer = handle(Call(*_call(request), ORIGIN), store, now=now(), seconds=seconds)
        sleep(answer.delay)
        if answer.wire:
            raise Unknown(*_OUTCOMES[answer.wire])
        if receive is None:
            return Response(answer.status, answer.headers, b"".join(_delivered(answer)))
        return Response(answer.status, answer.headers, receive(answer.status, answer.headers, _delivered(answer)))

    return send


def _call(request: Request) -> tuple[str, str, Mapping[str, str], bytes]:
    """Write a request as it would arrive: method, target, headers, body."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    body = b""
    if request.body is not None:
        from rawgenai.http import encode

        encoded = encode(request.body)
        headers["content-type"] = encoded.content_type
        whole = io.BytesIO()  # join would hold an upload twice
        whole.writelines(encoded.chunks)
        body = whole.getvalue()
    parts = urlsplit(request.url)
    if not parts.scheme:
        return request.method, f"/api/v1/{request.url}", {"authorization": f"Bearer {_KEY}", **headers}, body
    if f"{parts.scheme}://{parts.netloc}" != ORIGIN:
        raise Unknown("connection_error", f"the emulator never contacts another host ({parts.netloc})")
    return request.method, f"{parts.path}?{parts.query}", headers, body


def _delivered(answer: "Answer") -> Iterator[bytes]:
    delivered = 0
    for piece in answer.chunks():
        delivered += len(piece)
        yield piece
    if delivered < int(answer.headers["content-length"]):
        raise Unknown(*_OUTCOMES["cut"])
