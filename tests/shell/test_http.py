"""One attempt over a socket: what is sent, what is told of it, and how bodies are written."""

import base64
import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faulty import (
    CLOSE,
    HEAD_END,
    KEY,
    Step,
    clip,
    closed_port,
    dripped,
    endless,
    hang,
    header,
    ranged,
    reply,
    reset,
    says,
    serving,
)
from rawgenai import files, http
from rawgenai.message import Form, Media, NotSent, Receive, Request, Response, Unknown


def _written(body: Any) -> bytes:
    """A body as bytes, whose length is as it was announced."""
    encoded = http.encode(body)
    data = b"".join(encoded.chunks)
    assert len(data) == encoded.length
    return data


# --- bodies -------------------------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
)


@settings(max_examples=50)
@given(values)
def test_a_body_is_its_json(body: object) -> None:
    assert json.loads(_written(body)) == body


@pytest.mark.parametrize("size", [0, 1, 2, 3, 48 * 1024 - 1, 48 * 1024, 48 * 1024 + 1, 200_000])
def test_a_file_travels_inline_as_its_exact_bytes(size: int, tmp_path: Path) -> None:
    file = tmp_path / "photo.jpg"
    content = bytes(range(256)) * (size // 256 + 1)
    file.write_bytes(content[:size])
    leaf = Media(str(file), "image/jpeg", size)
    body = json.loads(_written({"input": {"img_url": leaf, "last": leaf, "prompt": "月光下的小猫"}}))
    uri = "data:image/jpeg;base64," + base64.b64encode(content[:size]).decode()
    assert body == {"input": {"img_url": uri, "last": uri, "prompt": "月光下的小猫"}}


def test_chinese_is_sent_as_it_is() -> None:
    assert _written("小猫") == '"小猫"'.encode()


@pytest.mark.parametrize("body", [float("nan"), float("inf"), {"a": object()}, {"a": b"bytes"}])
def test_what_is_not_json_is_never_sent(body: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        http.encode(body)


def test_a_file_that_became_shorter_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(b"123")
    with pytest.raises(OSError, match="became shorter"):
        _written(Media(str(file), "image/jpeg", 4))


def test_a_file_that_became_longer_is_sent_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(b"1234567")
    assert _written(Media(str(file), "image/jpeg", 3)) == b'"data:image/jpeg;base64,MTIz"'


@pytest.mark.parametrize("source", ["file", "data URI"])
def test_a_form_is_its_fields_in_order_and_the_file_last(source: str, tmp_path: Path) -> None:
    file = tmp_path / 'a "strange"\r\nname.png'.replace("\r\n", " ")
    file.write_bytes(b"\x89PNG\r\n\x1a\n")
    path = str(file) if source == "file" else "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode()
    form = Form({"key": "a/b.png", "policy": "小猫"}, Media(path, "image/png", 8), "b.png")
    encoded = http.encode(form)
    boundary = encoded.content_type.removeprefix("multipart/form-data; boundary=").encode()
    disposition = b"\r\nContent-Disposition: form-data; name="
    assert b"".join(encoded.chunks).split(b"--" + boundary) == [
        b"",
        disposition + b'"key"\r\n\r\na/b.png\r\n',
        disposition + '"policy"\r\n\r\n小猫\r\n'.encode(),
        disposition + b'"file"; filename="b.png"\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n\x1a\n\r\n',
        b"--\r\n",
    ]
    assert len(_written(form)) == encoded.length


# --- what is sent -------------------------------------------------------------------------------------------------


def test_a_relative_url_gets_the_base_and_the_key() -> None:
    with serving(says({"a": 1})) as server:
        answer = http.sender(server.url, lambda: KEY)(Request("GET", "tasks/7"))
    [request] = server.requests
    assert request.startswith(b"GET /api/v1/tasks/7 HTTP/1.1\r\n")
    assert header(request, "authorization") == f"Bearer {KEY}"
    assert header(request, "accept-encoding") == "identity"
    assert (header(request, "user-agent") or "").startswith("rawgenai/")
    assert (answer.status, json.loads(answer.body), answer.headers["content-type"]) == (
        200,
        {"a": 1},
        "application/json",
    )


def test_an_absolute_url_never_gets_the_key() -> None:
    with serving(reply()) as server:
        http.sender("https://api.example.test", lambda: KEY)(Request("GET", f"{server.url}/clip"))
    assert KEY.encode() not in server.requests[0]


def test_a_post_has_a_length_and_its_headers(tmp_path: Path) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(b"x" * 100_000)
    body = {"img_url": Media(str(file), "image/jpeg", 100_000)}
    with serving(reply()) as server:
        http.sender(server.url, lambda: KEY)(Request("POST", "x", {"X-DashScope-Async": "enable"}, body))
    [request] = server.requests
    assert header(request, "content-type") == "application/json"
    assert header(request, "x-dashscope-async") == "enable"
    assert header(request, "transfer-encoding") is None
    assert request.partition(HEAD_END)[2] == _written(body)


def test_every_attempt_has_a_connection_of_its_own() -> None:
    alive = reply().replace(b"close", b"keep-alive")
    with serving(alive) as server:
        send = http.sender(server.url, lambda: KEY)
        for _ in range(3):
            send(Request("GET", "x"))
    assert server.connections == 3


# --- what is told -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 204, 304, 307, 400, 404, 429, 500, 599])
def test_any_whole_answer_is_a_response(status: int) -> None:
    with serving(reply(status, length=-1 if status in (204, 304) else None)) as server:
        assert http.sender(server.url, lambda: KEY)(Request("GET", "x")).status == status


UNKNOWN: dict[str, tuple[Step, str]] = {
    "closed": (CLOSE, "connection_error"),
    "reset": (reset, "connection_error"),
    "cut": (reply(200, b"{", length=2), "connection_error"),
    "no HTTP": (b"hello\r\n\r\n", "connection_error"),
    "hang": (hang, "timeout"),
    "drip": (dripped(reply(200, b"x" * 999), 0.03), "timeout"),
    "too long": (endless(2_000_000), "server_error"),
    "compressed": (reply(200, b"", "Content-Encoding: br"), "server_error"),
}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("name", UNKNOWN)
def test_a_request_that_left_without_a_whole_answer_is_unknown(name: str, method: str) -> None:
    step, code = UNKNOWN[name]
    with serving(step) as server, pytest.raises(Unknown) as caught:
        http.sender(server.url, lambda: KEY, 0.4 if code == "timeout" else 10)(Request(method, "x"))
    assert (caught.value.code, server.connections) == (code, 1)


def test_an_answer_may_be_as_long_as_the_bound() -> None:
    with serving(reply(200, b" " * http.MAX_BODY)) as server:
        assert len(http.sender(server.url, lambda: KEY)(Request("GET", "x")).body) == http.MAX_BODY


UNREACHABLE = (
    "http://127.0.0.1:{port}/",
    "https://api.example.test/",
    "https://x..y.test/",
    "https://127.0.0.1:99999/",
)


@pytest.mark.parametrize("url", UNREACHABLE)
def test_a_request_that_never_left_is_not_sent(url: str) -> None:
    with pytest.raises(NotSent) as caught:
        http.send(Request("GET", url.format(port=closed_port())))
    assert caught.value.code == "connection_error"


def test_a_dripping_server_cannot_outlast_the_whole_time() -> None:
    started = time.monotonic()
    with serving(dripped(reply(200, b"x" * 9999), 0.01)) as server, pytest.raises(Unknown):
        http.send(Request("GET", server.url), timeouts=http.Timeouts(9, 9, 0.4))
    assert time.monotonic() - started < 30  # its drips take 100 s


def test_a_receiver_takes_the_body_and_its_own_error_passes() -> None:
    def receive(status: int, headers: Mapping[str, str], chunks: Iterator[bytes]) -> bytes:
        assert (status, headers["content-length"]) == (200, "3")
        return b"".join(chunks)[::-1]

    def fail(status: int, headers: Mapping[str, str], chunks: Iterator[bytes]) -> bytes:
        raise OSError("the disk is full")

    with serving(reply(200, b"abc")) as server:
        send = http.sender(server.url, lambda: KEY)
        assert send(Request("GET", "x"), receive).body == b"cba"
        with pytest.raises(OSError, match="the disk is full"):
            send(Request("GET", "x"), fail)


TIMEOUTS = {  # method, body, whether the answer is received in pieces, RAWGENAI_TIMEOUT -> connect, idle, total
    ("GET", None, False, None): http.ASK,
    ("POST", "json", False, None): http.CREATE,
    ("POST", "form", False, None): (10, 30, 120 + 2),  # 100,000 bytes at 50,000 a second
    ("GET", None, True, None): http.TRANSFER,
    ("GET", None, False, 1.0): (1, 1, 1),
    ("POST", "json", False, 300.0): (10, 300, 300),
    ("POST", "form", False, 20.0): (10, 20, 20 + 2),
    ("GET", None, True, 2.0): (2, 2, None),
}


@pytest.mark.parametrize("case", TIMEOUTS, ids=str)
def test_each_kind_of_request_has_its_patience(
    case: tuple[str, str | None, bool, float | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    method, body, received, timeout = case
    seen: list[Any] = []

    def send(request: Request, receive: object, *, timeouts: http.Timeouts) -> Response:
        seen.append(timeouts)
        return Response(200, {})

    monkeypatch.setattr(http, "send", send)
    kinds: dict[str | None, Any] = {"json": {}, "form": Form({}, Media("x", "image/png", 100_000), "x.png"), None: None}
    receive = http.read_bounded if received else None
    http.sender("https://api.example.test", lambda: KEY, timeout)(Request(method, "x", {}, kinds[body]), receive)
    assert seen == [TIMEOUTS[case]]


# --- pieces of a download -----------------------------------------------------------------------------------------

ETAGS = {'"one"': "one", '""': "", 'W/"one"': "", "one": "", "": "", '"a"b"': "", '"a", "b"': ""}


@pytest.mark.parametrize("value", ETAGS)
def test_only_a_strong_etag_counts(value: str) -> None:
    assert http._etag({"etag": value}) == ETAGS[value]


PLACES = {  # Content-Range -> the end of the piece and the whole length, where it goes on at byte 40
    "bytes 40-99/100": (100, 100),
    "bytes 40-59/100": (60, 100),
    "bytes */40": (40, 40),
    "bytes 40-40/41": (41, 41),
    "bytes 0-99/100": None,
    "bytes 41-99/100": None,
    "bytes 40-100/100": None,
    "bytes 40-38/100": None,
    "bytes 40-99/*": None,
    "bytes */100": None,
    "bytes */39": None,
    "bytes */*": None,
    "items 40-99/100": None,
    "bytes ٤٠-٩٩/100": None,
    "bytes 40-99/9999999999999999999": None,
    "": None,
}


PART = files.Part("part", "one", 40)


@pytest.mark.parametrize("value", PLACES)
def test_a_range_must_go_on_where_the_part_ends(value: str) -> None:
    assert http._continued({"content-range": value, "etag": '"one"'}, PART) == PLACES[value]


@pytest.mark.parametrize(("length", "place"), [("60", (100, 100)), ("59", None), ("61", None), ("100", None)])
def test_a_range_must_be_as_long_as_it_says(length: str, place: tuple[int, int] | None) -> None:
    assert (
        http._continued({"content-range": "bytes 40-99/100", "content-length": length, "etag": '"one"'}, PART) == place
    )


@pytest.mark.parametrize(("etag", "same"), [('"one"', True), ('"two"', False), (None, False), ('W/"one"', False)])
def test_a_range_must_be_of_the_same_object(etag: str | None, same: bool) -> None:
    headers = {"content-range": "bytes 40-99/100", **({"etag": etag} if etag else {})}
    assert (http._continued(headers, PART) is not None) == same


class Slow(io.FileIO):
    """A file on a disk that takes 7 bytes at once."""

    def write(self, data: Any) -> int:
        return super().write(data[:7])


def test_a_disk_that_takes_less_at_once_gets_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "open_part", lambda path: Slow(path, "a+"))
    with serving(ranged(clip(1000))) as server:
        send = http.sender(server.url, lambda: KEY)
        fetched = http.download(
            send, f"{server.url}/clip", str(tmp_path / "cat.mp4"), "task", lambda _done, _total: None
        )
    assert fetched.part is not None
    assert Path(fetched.part).read_bytes() == clip(1000)


def test_another_writer_of_the_same_part_is_noticed(tmp_path: Path) -> None:
    target = str(tmp_path / "cat.mp4")

    def send(request: Request, receive: Receive | None = None) -> Response:
        def chunks() -> Iterator[bytes]:
            yield b"one"
            with files.open_part(files.part_path(target, "task", "one")) as other:
                other.write(b"two")
            yield b"one"

        assert receive is not None
        return Response(200, {}, receive(200, {"content-length": "6", "etag": '"one"'}, chunks()))

    with pytest.raises(Unknown, match="another process"):
        http.download(send, "", target, "task", lambda *_: None)
    assert not list(tmp_path.glob(".cat*"))


# --- what it costs ------------------------------------------------------------------------------------------------


def test_httpx_comes_without_its_command_line() -> None:
    code = "import sys; from rawgenai import http; http._httpx(); print({'rich', 'pygments', 'click'} & {*sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout == "set()\n"
