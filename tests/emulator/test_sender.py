"""The emulator in process: no socket, no key."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from asking import CLIP, NOW, TEXT, fake_draw, quartered, saved, text

from rawgenai.emulator import render, sender
from rawgenai.errors import RawgenaiError
from rawgenai.message import Form, Media, Request, Response, Send, Unknown

SUBMIT = "services/aigc/video-generation/video-synthesis"
ASYNC = {"X-DashScope-Async": "enable"}


@pytest.fixture(autouse=True)
def _drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "draw", fake_draw)


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def send(tmp_path: Path, slept: list[float]) -> Send:
    environ = {"RAWGENAI_EMULATOR_SECONDS": "0"}
    return sender(tmp_path / "emulator", environ=environ, now=lambda: NOW, sleep=slept.append)


def _said(response: Response) -> Any:
    return json.loads(response.body)


def _create(send: Send, document: Any = TEXT, **headers: str) -> Response:
    return send(Request("POST", SUBMIT, ASYNC | headers, document))


def _clip_url(send: Send, document: Any = TEXT) -> str:
    task_id = _said(_create(send, document))["output"]["task_id"]
    asked = [_said(send(Request("GET", f"tasks/{task_id}"))) for _ in range(3)]
    return str(asked[-1]["output"]["video_url"])


def test_a_task_goes_from_create_to_clip_without_a_key(send: Send, slept: list[float]) -> None:
    url = _clip_url(send)
    assert url.startswith("http://emulator.localhost/clips/")
    response = send(Request("GET", url))
    assert (response.status, response.body) == (200, CLIP)
    assert not any(slept)


def test_tasks_live_on_between_senders(tmp_path: Path) -> None:
    def anew() -> Send:
        return sender(tmp_path / "emulator", environ={}, now=lambda: NOW)

    task_id = _said(_create(anew()))["output"]["task_id"]
    assert _said(anew()(Request("GET", f"tasks/{task_id}")))["output"]["task_status"] == "PENDING"


def test_the_state_is_in_the_state_folder_of_the_environment(tmp_path: Path) -> None:
    _create(sender(environ={"XDG_STATE_HOME": str(tmp_path)}))
    assert (tmp_path / "rawgenai" / "emulator" / "emulator.db").is_file()


@pytest.mark.parametrize(
    ("fault", "code", "tasks"),
    [
        ("hang", "timeout", 0),
        ("hang=booked", "timeout", 1),
        ("reset", "connection_error", 0),
        ("reset=booked", "connection_error", 1),
        ("close", "connection_error", 0),
        ("close=booked", "connection_error", 1),
        ("half", "connection_error", 1),
    ],
)
def test_a_fault_of_the_wire_acts_at_once_as_its_outcome(
    send: Send, slept: list[float], fault: str, code: str, tasks: int
) -> None:
    with pytest.raises(Unknown) as caught:
        _create(send, text(f"emulator:{fault}"))
    assert caught.value.code == code
    assert not any(slept)
    assert _said(send(Request("GET", "tasks/")))["total"] == tasks


def test_a_slow_answer_sleeps(send: Send, slept: list[float]) -> None:
    assert _create(send, text("emulator:slow=2.5")).status == 200
    assert slept == [2.5]


def test_receive_gets_the_answer_as_it_arrives(send: Send) -> None:
    url = _clip_url(send)
    seen: list[Any] = []

    def receive(status: int, headers: Mapping[str, str], chunks: Iterator[bytes]) -> bytes:
        seen.extend((status, headers["content-range"], b"".join(chunks)))
        return b"mine"

    response = send(Request("GET", url, {"Range": "bytes=1000-"}), receive)
    assert seen == [206, "bytes 1000-1023/1024", CLIP[1000:]]
    assert response.body == b"mine"


def test_a_clip_is_never_held_whole(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    big = 5 * 1024 * 1024
    monkeypatch.setattr(render, "draw", lambda path, **_: path.write_bytes(bytes(big)))
    sizes: list[int] = []

    def receive(status: int, headers: Mapping[str, str], chunks: Iterator[bytes]) -> bytes:
        sizes.extend(map(len, chunks))
        return b""

    send(Request("GET", _clip_url(send)), receive)
    assert sum(sizes) == big
    assert max(sizes) <= 64 * 1024


def test_a_cut_clip_delivers_its_bytes_and_then_breaks(send: Send) -> None:
    got = bytearray()

    def receive(status: int, headers: Mapping[str, str], chunks: Iterator[bytes]) -> bytes:
        for piece in chunks:
            got.extend(piece)
        return b""

    url = _clip_url(send, text("emulator:cut=600"))
    with pytest.raises(Unknown, match="before the end"):
        send(Request("GET", url), receive)
    assert got == CLIP[:600]
    assert send(Request("GET", url, {"Range": "bytes=600-"}), receive).status == 206
    assert got == CLIP


def test_a_local_image_goes_inline_and_by_upload(send: Send, tmp_path: Path) -> None:
    image = tmp_path / "cat.png"
    image.write_bytes(saved(quartered()))
    media = Media(str(image), "image/png", image.stat().st_size)
    assert _create(send, {"model": "wan2.6-i2v", "input": {"img_url": media}}).status == 200

    data = _said(send(Request("GET", "uploads?action=getPolicy&model=wan2.6-i2v")))["data"]
    fields = {
        "OSSAccessKeyId": data["oss_access_key_id"],
        "Signature": data["signature"],
        "policy": data["policy"],
        "key": f"{data['upload_dir']}/x.png",
        "x-oss-object-acl": data["x_oss_object_acl"],
        "x-oss-forbid-overwrite": data["x_oss_forbid_overwrite"],
        "success_action_status": "200",
    }
    assert send(Request("POST", data["upload_host"], body=Form(fields, media, "x.png"))).status == 200
    document = {"model": "wan2.6-i2v", "input": {"img_url": f"oss://{fields['key']}"}}
    assert _create(send, document).status == 400
    assert _create(send, document, **{"X-DashScope-OssResourceResolve": "enable"}).status == 200


def test_nothing_else_is_ever_contacted(send: Send) -> None:
    with pytest.raises(Unknown, match=r"never contacts another host \(example.org\)"):
        send(Request("GET", "https://example.org/clip.mp4"))


def test_a_missing_extra_is_said_by_its_code(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(path: Path, **_: Any) -> None:
        raise RawgenaiError("missing_extra")

    monkeypatch.setattr(render, "draw", draw)
    with pytest.raises(RawgenaiError, match="missing_extra"):
        send(Request("GET", _clip_url(send)))


def test_a_wrong_speed_is_said_before_anything_is_sent() -> None:
    with pytest.raises(RawgenaiError, match="config_error"):
        sender(environ={"RAWGENAI_EMULATOR_SECONDS": "soon"})


def test_asking_for_a_status_loads_no_heavy_module(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from rawgenai.emulator import sender; from rawgenai.message import Request\n"
        "sender(Path(sys.argv[1]), environ={})(Request('GET', 'tasks/x'))\n"
        "print(*{'pydantic', 'av', 'PIL', 'http.server', 'filelock', 'httpx', 'ssl'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
