"""The emulator on a socket: what it refuses, what it bounds, and faults acted out for real."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from asking import CLIP, FORM_TYPE, TEXT, endpoint, fake_draw, form, text

from rawgenai.emulator import render
from rawgenai.emulator.server import Server, open_server
from rawgenai.errors import RawgenaiError

JSON = {"Content-Type": "application/json", "X-DashScope-Async": "enable"}


@pytest.fixture(autouse=True)
def _drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "draw", fake_draw)


Start = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start servers that end with the test."""
    running: list[tuple[Server, threading.Thread]] = []

    def start(**how: Any) -> Server:
        server = open_server(folder=tmp_path / "emulator", environ={"RAWGENAI_EMULATOR_SECONDS": "0"}, **how)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        running.append((server, thread))
        return server

    yield start
    for server, thread in running:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def server(start: Start) -> Server:
    return start()


Answer = tuple[int, dict[str, str], bytes]


def _ask(server: Server, method: str, target: str, body: Any = None, **headers: str) -> Answer:
    with closing(http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)) as connection:
        connection.request(method, target, body, headers)
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


def _create(server: Server, document: Any = TEXT, key: str = "sk-test") -> Any:
    headers = JSON | {"Authorization": f"Bearer {key}"}
    status, _, body = _ask(server, "POST", endpoint(document), json.dumps(document), **headers)
    return status, json.loads(body)


def _get(server: Server, target: str) -> Any:
    return json.loads(_ask(server, "GET", target, Authorization="Bearer sk-test")[2])


def _clip_target(server: Server, document: Any = TEXT) -> str:
    task_id = _create(server, document)[1]["output"]["task_id"]
    asked = [_get(server, f"/api/v1/tasks/{task_id}") for _ in range(3)]
    url = urlsplit(asked[-1]["output"]["video_url"])
    assert f"{url.scheme}://{url.netloc}" == server.origin
    return f"{url.path}?{url.query}"


def _raw(server: Server, *pieces: bytes, pause: float = 0.0) -> bytes:
    """Send pieces with pauses, and read until the server closes; what a reset swallows is lost."""
    answer = b""
    with closing(socket.create_connection(("127.0.0.1", server.server_port), timeout=20)) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)
            while piece := connection.recv(65536):
                answer += piece
        except (ConnectionResetError, BrokenPipeError):
            pass
    return answer


def _head(server: Server, *lines: str, first: str = "GET /api/v1/tasks/ HTTP/1.1", host: str | None = None) -> bytes:
    told = f"Host: {host or f'127.0.0.1:{server.server_port}'}"
    return "\r\n".join([first, told, "Authorization: Bearer sk-test", "Connection: close", *lines, "", ""]).encode()


# --- serving -------------------------------------------------------------------------------------------------------


def test_a_task_goes_from_create_to_clip(server: Server, canary: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert server.base_url == f"http://127.0.0.1:{server.server_port}/api/v1"
    assert _create(server, key=canary)[0] == 200
    status, headers, body = _ask(server, "GET", _clip_target(server))
    assert (status, headers["content-length"], body) == (200, "1024", CLIP)
    assert capfd.readouterr() == ("", "")


def test_a_connection_is_kept_for_the_next_call(server: Server) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)) as connection:
        for status in (200, 200, 401):
            headers = {"Authorization": "Bearer x"} if status == 200 else {}
            connection.request("GET", "/api/v1/tasks/", headers=headers)
            response = connection.getresponse()
            assert (response.status, response.getheader("connection")) == (status, None)
            response.read()


def test_a_file_is_uploaded_to_the_host_that_the_policy_names(server: Server) -> None:
    data = _get(server, "/api/v1/uploads?action=getPolicy&model=wan2.6-i2v")["data"]
    fields = {
        "OSSAccessKeyId": data["oss_access_key_id"],
        "Signature": data["signature"],
        "policy": data["policy"],
        "key": f"{data['upload_dir']}/a.png",
        "x-oss-object-acl": data["x_oss_object_acl"],
        "x-oss-forbid-overwrite": data["x_oss_forbid_overwrite"],
        "success_action_status": "200",
    }
    assert data["upload_host"].startswith(server.origin)
    body = form(fields, bytes(1024 * 1024))
    assert _ask(server, "POST", urlsplit(data["upload_host"]).path, body, **FORM_TYPE)[0] == 200


def test_only_this_machine_is_heard(server: Server) -> None:
    assert server.socket.getsockname()[0] == "127.0.0.1"


def test_a_url_that_it_is_given_is_never_fetched(server: Server) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        link = f"http://127.0.0.1:{listener.getsockname()[1]}/a.png"
        document = {"model": "wan2.6-i2v", "input": {"prompt": "x", "img_url": link, "audio_url": link}}
        assert _ask(server, "GET", _clip_target(server, document))[0] == 200
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_a_port_that_is_taken_is_an_oserror(server: Server, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"in use|permitted|denied"):
        open_server(server.server_port, tmp_path / "other")


def test_a_state_folder_that_cannot_be_used_is_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RawgenaiError, match="config_error"):
        open_server(folder=tmp_path / "file")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RawgenaiError("missing_extra", "install rawgenai[media]"), "The emulator: install rawgenai[media]"),
        (ValueError("oops"), "The emulator failed: ValueError('oops')"),
    ],
)
def test_a_clip_that_cannot_be_drawn_is_a_500(
    server: Server, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def draw(path: Path, **_: Any) -> None:
        raise error

    monkeypatch.setattr(render, "draw", draw)
    status, _, body = _ask(server, "GET", _clip_target(server))
    assert (status, json.loads(body)["message"]) == (500, message)


# --- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1:{}", "localhost:{}", "[::1]:{}", "LOCALHOST:{}"])
def test_a_host_of_this_machine_is_served(server: Server, host: str) -> None:
    assert _raw(server, _head(server, host=host.format(server.server_port))).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{}", "127.0.0.1", "127.0.0.1:1", "127.0.0.1.evil.example:{}", "\t"]
)
def test_a_foreign_host_is_refused(server: Server, host: str) -> None:
    answer = _raw(server, _head(server, host=host.format(server.server_port)))
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"This Host is not the emulator." in answer


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (["Host: 127.0.0.1"], 403),
        (["Origin: http://127.0.0.1"], 403),
        (["Origin: null"], 403),
        (["Transfer-Encoding: chunked"], 411),
        (["Content-Length: 1", "Content-Length: 1"], 400),
        (["Content-Length: -1"], 400),
        (["Content-Length: 1e3"], 400),
        (["Content-Length: 99999999999999999999"], 400),
        (["Content-Length: 1"], 413),
    ],
)
def test_a_head_that_no_client_of_ours_sends_is_refused(server: Server, head: list[str], status: int) -> None:
    assert _raw(server, _head(server, *head)).startswith(f"HTTP/1.1 {status} ".encode())


def test_a_call_without_a_host_is_refused(server: Server) -> None:
    assert _raw(server, b"GET /api/v1/tasks/ HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize(
    ("target", "size"), [("/upload", 110 * 1024 * 1024 + 1), (endpoint(TEXT), 80 * 1024 * 1024 + 1), ("/nowhere", 1)]
)
def test_a_body_that_is_too_large_is_refused_unread(server: Server, target: str, size: int) -> None:
    head = _head(server, f"Content-Length: {size}", first=f"POST {target} HTTP/1.1")
    assert _raw(server, head, b"x").startswith(b"HTTP/1.1 413 ")


def test_a_client_that_sends_its_body_all_the_same_can_read_the_refusal(server: Server) -> None:
    body = bytes(4 * 1024 * 1024)
    head = _head(server, f"Content-Length: {len(body)}", first="POST /nowhere HTTP/1.1")
    assert b"BadRequest.TooLarge" in _raw(server, head, body)


def test_a_head_request_gets_no_body(server: Server) -> None:
    assert _raw(server, _head(server, first="HEAD /nowhere HTTP/1.1")).endswith(b"\r\n\r\n")


def test_a_call_whose_client_left_before_its_end_is_not_acted_on(server: Server) -> None:
    body = json.dumps(TEXT).encode()
    lines = [f"{name}: {value}" for name, value in JSON.items()]
    lines.append(f"Content-Length: {len(body) + 1}")
    head = _head(server, *lines, first=f"POST {endpoint(TEXT)} HTTP/1.1")
    with closing(socket.create_connection(("127.0.0.1", server.server_port), timeout=20)) as connection:
        connection.sendall(head + body)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
    assert _total(server) == 0


def test_an_endless_head_is_cut_off(server: Server) -> None:
    lines = [f"X-{number}: {'x' * 1000}" for number in range(90)]
    assert _raw(server, _head(server, *lines)) == b""


@pytest.mark.parametrize(
    "pieces",
    [
        [b"G"] * 400,
        [b"GET / HTTP/1.1\r\n", *[b"X: y\r\n"] * 400],
        [b"POST /upload HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 1000\r\n\r\n", *[b"x"] * 400],
    ],
    ids=["request line", "headers", "body"],
)
def test_a_client_that_drips_is_cut_off(start: Start, pieces: list[bytes]) -> None:
    server = start(head_limit=0.2, body_limit=0.2)
    pieces = [piece.replace(b"%d", str(server.server_port).encode()) for piece in pieces]
    began = time.monotonic()
    assert _raw(server, *pieces, pause=0.02) == b""
    assert time.monotonic() - began < 6  # 400 drips take 8 s


@pytest.mark.slow  # it really waits
def test_a_connection_too_many_is_closed(server: Server) -> None:
    crowd = []
    try:
        for _ in range(256):
            connection = socket.create_connection(("127.0.0.1", server.server_port), timeout=20)
            crowd.append(connection)
        assert _raw(server) == b""
    finally:
        for connection in crowd:
            connection.close()
    for _ in range(100):  # the crowd is gone when its threads have noticed
        if _raw(server, _head(server)).startswith(b"HTTP/1.1 200 "):
            return
        time.sleep(0.02)
    pytest.fail("the server did not recover")


# --- faults --------------------------------------------------------------------------------------------------------


def _total(server: Server) -> int:
    return int(_get(server, "/api/v1/tasks/")["total"])


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("reset", ConnectionResetError),
        ("close", http.client.RemoteDisconnected),
        pytest.param("hang", TimeoutError, marks=pytest.mark.slow),  # it really waits
    ],
)
@pytest.mark.parametrize(("booked", "total"), [("", 0), ("=booked", 1)])
def test_an_answer_is_lost_as_asked(
    server: Server, fault: str, error: type[Exception], booked: str, total: int
) -> None:
    body = json.dumps(text(f"emulator:{fault}{booked}"))
    headers = JSON | {"Authorization": "Bearer sk-test"}
    patience = 1 if fault == "hang" else 20
    with closing(http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=patience)) as connection:
        connection.request("POST", endpoint(TEXT), body, headers)
        with pytest.raises(error) as caught:
            connection.getresponse()
    assert caught.type is error
    assert _total(server) == total


def test_a_hanging_call_ends_with_the_server(start: Start) -> None:
    server = start()
    body = json.dumps(text("emulator:hang")).encode()
    lines = [f"{name}: {value}" for name, value in JSON.items()]
    head = _head(server, *lines, f"Content-Length: {len(body)}", first=f"POST {endpoint(TEXT)} HTTP/1.1")
    threading.Timer(0.2, server.stopping.set).start()
    assert _raw(server, head, body) == b""


def test_half_an_answer_has_the_length_of_the_whole(server: Server) -> None:
    with pytest.raises(http.client.IncompleteRead) as caught:
        _create(server, text("emulator:half"))
    assert caught.value.partial.startswith(b'{"output": {"task_status": "PENDING"')
    assert abs(len(caught.value.partial) - (caught.value.expected or 0)) <= 1
    assert _total(server) == 1


def test_a_slow_answer_is_booked_before_it_comes(server: Server) -> None:
    answers: list[Any] = []
    waiting = threading.Thread(target=lambda: answers.append(_create(server, text("emulator:slow=4"))))
    began = time.monotonic()
    waiting.start()
    while not _total(server):
        assert waiting.is_alive()
    assert not answers
    server.stopping.set()  # nobody waits any longer
    waiting.join()
    assert time.monotonic() - began < 4
    assert answers[0][0] == 200


def test_a_slow_answer_takes_as_long_as_asked(server: Server) -> None:
    began = time.monotonic()
    _create(server, text("emulator:slow=0.2"))
    assert time.monotonic() - began >= 0.2


def test_a_cut_clip_is_got_by_resuming(server: Server) -> None:
    target = _clip_target(server, text("emulator:cut=600"))
    with pytest.raises(http.client.IncompleteRead) as caught:
        _ask(server, "GET", target)
    assert caught.value.partial == CLIP[:600]
    status, headers, body = _ask(server, "GET", target, Range="bytes=600-")
    assert (status, headers["content-range"], body) == (206, "bytes 600-1023/1024", CLIP[600:])


def test_an_ignored_range_gets_the_whole_clip(server: Server) -> None:
    target = _clip_target(server, text("emulator:range=ignored"))
    assert _ask(server, "GET", target, Range="bytes=600-")[::2] == (200, CLIP)


def test_no_body_follows_a_204(server: Server) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)) as connection:
        body = json.dumps(text("emulator:status=204"))
        for _ in range(2):
            connection.request("POST", endpoint(TEXT), body, JSON | {"Authorization": "Bearer sk-test"})
            response = connection.getresponse()
            assert (response.status, response.read()) == (204, b"")


# --- processes -----------------------------------------------------------------------------------------------------

SERVER = """
import sys
from pathlib import Path
from rawgenai.emulator.server import open_server
with open_server(folder=Path(sys.argv[1]), environ={}) as server:
    print(server.server_port, flush=True)
    server.serve_forever()
"""


def _process(folder: Path) -> tuple["subprocess.Popen[str]", int]:
    process = subprocess.Popen([sys.executable, "-c", SERVER, folder], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    return process, int(process.stdout.readline())


def test_a_killed_server_keeps_its_tasks(tmp_path: Path) -> None:
    found = []
    task_id = ""
    for _ in range(2):
        process, port = _process(tmp_path / "emulator")
        with process, closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
            key = {"Authorization": "Bearer sk-test"}
            if not task_id:
                connection.request("POST", endpoint(TEXT), json.dumps(TEXT), JSON | key)
                task_id = json.loads(connection.getresponse().read())["output"]["task_id"]
            connection.request("GET", f"/api/v1/tasks/{task_id}", headers=key)
            found.append(json.loads(connection.getresponse().read())["output"]["task_status"])
            process.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
    assert set(found) <= {"PENDING", "RUNNING", "SUCCEEDED"}  # and not UNKNOWN
