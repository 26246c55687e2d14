"""Ways for the emulator's tests to ask it, without a socket."""

import base64
import io
import json
import wave
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import pytest
from PIL import Image

from rawgenai.emulator import render
from rawgenai.emulator.answers import Answer, Call
from rawgenai.emulator.state import handle
from rawgenai.emulator.store import Store

NOW = 1_800_000_000.25  # 2027-01-15 16:00:00.250 in China
CLIP = bytes(range(256)) * 4  # stands in for a drawn clip
KEY = "sk-test"
TEXT: dict[str, Any] = {"model": "wan2.6-t2v", "input": {"prompt": "A kitten"}}


def fake_draw(path: Path, **_: Any) -> None:
    path.write_bytes(CLIP)


def watched(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Draw nothing, which takes seconds and has tests of its own, and list what should have been drawn, in order."""
    asked: list[dict[str, Any]] = []

    def draw(path: Path, **what: Any) -> None:
        asked.append(what)
        fake_draw(path)

    monkeypatch.setattr(render, "draw", draw)
    return asked


def text(prompt: str, **parameters: Any) -> dict[str, Any]:
    return {"model": "wan2.6-t2v", "input": {"prompt": prompt}, "parameters": parameters}


def ask(
    store: Store,
    method: str,
    target: str,
    document: Any = None,
    *,
    now: float = NOW,
    seconds: float = 3.0,
    key: str = KEY,
    headers: Mapping[str, str | None] | None = None,
    body: bytes = b"",
) -> Answer:
    """Put one call; a document goes as JSON, the key goes to the API alone, and a header of None is left out."""
    told: dict[str, str | None] = {}
    if target.startswith("/api/"):
        told["authorization"] = f"Bearer {key}"
    if document is not None:
        told |= {"content-type": "application/json", "x-dashscope-async": "enable"}
        body = json.dumps(document).encode()
    told |= headers or {}
    call = Call(method, target, {name: value for name, value in told.items() if value is not None}, body)
    return handle(call, store, now=now, seconds=seconds)


def endpoint(document: Any) -> str:
    group = "image2video" if "kf2v" in document["model"] else "video-generation"
    return f"/api/v1/services/aigc/{group}/video-synthesis"


def create(store: Store, document: Any, **how: Any) -> Answer:
    return ask(store, "POST", endpoint(document), document, **how)


def book(store: Store, document: Any = TEXT, **how: Any) -> str:
    """Create a task and return its id."""
    answer = create(store, document, **how)
    assert answer.status == 200, answer.body
    return str(said(answer)["output"]["task_id"])


def look(store: Store, task_id: str, **how: Any) -> Any:
    """Ask for a task's status."""
    return said(ask(store, "GET", f"/api/v1/tasks/{task_id}", **how))


def said(answer: Answer) -> Any:
    return json.loads(answer.body)


def local(url: str) -> str:
    """The target of a link in an answer."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def form(fields: Mapping[str, str], data: bytes | None, after: Mapping[str, str] | None = None) -> bytes:
    """A multipart body with the boundary BOUNDARY."""

    def part(name: str, value: bytes) -> bytes:
        return b'--BOUNDARY\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), value)

    parts = [part(name, value.encode()) for name, value in fields.items()]
    if data is not None:
        parts.append(part('file"; filename="a', data))
    parts += [part(name, value.encode()) for name, value in (after or {}).items()]
    return b"".join(parts) + b"--BOUNDARY--\r\n"


FORM_TYPE = {"content-type": "multipart/form-data; boundary=BOUNDARY"}


def upload_fields(store: Store, *, name: str = "a.png", model: str = "wan2.6-i2v", **how: Any) -> dict[str, str]:
    """Ask for an upload policy, and return the fields of the form that it asks for."""
    data = said(ask(store, "GET", f"/api/v1/uploads?action=getPolicy&model={model}", **how))["data"]
    return {
        "OSSAccessKeyId": data["oss_access_key_id"],
        "Signature": data["signature"],
        "policy": data["policy"],
        "key": f"{data['upload_dir']}/{name}",
        "x-oss-object-acl": data["x_oss_object_acl"],
        "x-oss-forbid-overwrite": data["x_oss_forbid_overwrite"],
        "success_action_status": "200",
    }


def put(store: Store, data: bytes, name: str, model: str, **how: Any) -> str:
    """Upload a file, and return its link."""
    fields = upload_fields(store, name=name, model=model, **how)
    answer = ask(store, "POST", "/upload", headers=FORM_TYPE, body=form(fields, data), **how)
    assert answer.status == 200, answer.body
    return f"oss://{fields['key']}"


RESOLVE: dict[str, str | None] = {"x-dashscope-ossresourceresolve": "enable"}


# --- media ---------------------------------------------------------------------------------------------------------

RED, GREEN, BLUE, GOLD = (200, 30, 40), (30, 160, 60), (40, 60, 210), (220, 190, 40)
QUARTERS = (RED, GREEN, BLUE, GOLD)  # upper left, upper right, lower left, lower right


def quartered(width: int = 320, height: int = 240, colours: tuple[tuple[int, int, int], ...] = QUARTERS) -> Image.Image:
    """A picture in four colours, a quarter each."""
    small = Image.new("RGB", (2, 2))
    small.putdata(colours)
    return small.resize((width, height), Image.Resampling.NEAREST)


def saved(image: Image.Image, kind: str = "PNG", **how: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def inline(data: bytes, mime: str = "image/png") -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def film(seconds: float, kind: str = "mp4", image: Image.Image | None = None, *, rate: int = 10) -> bytes:
    """A still picture as a video of 10 frames a second."""
    image = image or quartered(96, 64)
    file = io.BytesIO()
    with av.open(file, "w", kind) as container:
        stream = container.add_stream("mpeg4", rate=rate, bit_rate=2_000_000)
        stream.width, stream.height, stream.pix_fmt = image.width, image.height, "yuv420p"
        for number in range(round(seconds * rate)):
            frame: av.VideoFrame = av.VideoFrame.from_image(image)  # type: ignore[no-untyped-call]  # PyAV's gap
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


def wav(seconds: float, level: int = 0) -> bytes:
    """A square wave of 400 Hz, mono, 16 bits."""
    file = io.BytesIO()
    period = b"".join(value.to_bytes(2, "little", signed=True) for value in [level] * 10 + [-level] * 10)
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(period * round(seconds * 400))
    return file.getvalue()


def mp3(seconds: float) -> bytes:
    """Silence, by hand: empty frames of 128 kbit/s at 44.1 kHz."""
    return (b"\xff\xfb\x90\xc0" + bytes(413)) * round(seconds * 44100 / 1152)
