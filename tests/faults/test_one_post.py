"""One logical create is one POST, whatever goes wrong on the wire; and what is told about it (design section 5)."""

import email.utils
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from faulty import (
    CLOSE,
    CREATE,
    CREATED,
    HEAD_END,
    KEY,
    STATUS,
    TASK,
    Server,
    Step,
    closed_port,
    dripped,
    endless,
    hang,
    rawgenai,
    refuses,
    reply,
    reset,
    says,
    serving,
    settings,
    succeeded,
    then,
)
from rawgenai import http
from rawgenai.dashscope import tasks
from rawgenai.dashscope.spec import Spec
from rawgenai.errors import RawgenaiError
from rawgenai.ledger import Ledger
from rawgenai.message import NotSent, Receive, Request, Response, Unknown

HTML = b"<html><body><h1>502 Bad Gateway</h1>\x1b[31m</body></html>"
RATE = refuses(429, "Throttling.RateQuota", "Requests rate limit exceeded")
HALF = CREATED[:-30]
TWICE = b'{"request_id": "a", "request_id": "b", ' + CREATED.partition(HEAD_END)[2].partition(b", ")[2]


class Fate(NamedTuple):
    """What must become of a create whose POSTs are answered by a script of steps."""

    script: tuple[Step, ...]
    posts: int
    code: str | None
    status: int
    state: str  # of the row in the ledger


HANGS = 0.4  # seconds that a request may take where it is never answered: enough to be sent on a busy machine
once = partial(Fate, posts=1, status=6, state="unknown")
FATES = {
    "closed after the request": once((CLOSE,), code="connection_error"),
    "reset": once((reset,), code="connection_error"),
    "hang": once((hang,), code="timeout"),
    "half a body": once((HALF,), code="connection_error"),
    "half a head": once((b"HTTP/1.1 200 OK\r\nContent-Le",), code="connection_error"),
    "half a body, then reset": once((then(HALF, reset),), code="connection_error"),
    "half a body, then hang": once((then(HALF, hang),), code="timeout"),
    "cut chunks": once((reply(200, b"40\r\n{", "Transfer-Encoding: chunked", length=-1),), code="connection_error"),
    "500": once((refuses(500, "InternalError"),), code="server_error"),
    "500 of a time-out": once((refuses(500, "InternalError.Timeout"),), code="server_error"),
    "502 with HTML": once((reply(502, HTML, "Content-Type: text/html"),), code="server_error"),
    "503": once((refuses(503, "ModelUnavailable"),), code="server_error"),
    "503, try again": once((reply(503, b"", "Retry-After: 0"),), code="server_error"),
    "504": once((reply(504, HTML),), code="timeout"),
    "408": once((refuses(408, "RequestTimeOut"),), code="server_error"),
    "301": once((reply(301, b"", "Location: /api/v1/other"),), code="server_error"),
    "304": once((reply(304, length=-1),), code="server_error"),
    "101": once(
        (
            reply(
                101,
                length=-1,
            ),
        ),
        code="connection_error",
    ),
    "200 with junk": once((reply(200, b"\x00\xff junk"),), code="server_error"),
    "200 with HTML": once((reply(200, HTML),), code="server_error"),
    "200 with nothing": once((reply(200),), code="server_error"),
    "200 with null": once((says(None),), code="server_error"),
    "200 with a list": once((says([]),), code="server_error"),
    "200 without a task": once((says({"request_id": "request-1"}),), code="server_error"),
    "200 with an empty task": once((says({"output": {"task_id": ""}}),), code="server_error"),
    "200 with a number for a task": once((says({"output": {"task_id": 7}}),), code="server_error"),
    "200 with a code": once((refuses(200, "Throttling"),), code="rate_limit"),
    "200 with NaN": once((reply(200, b'{"output": {"task_id": NaN}}'),), code="server_error"),
    "200 with a key twice": once((reply(200, TWICE),), code="server_error"),
    "nested brackets": once((reply(200, b"[" * 100_000),), code="server_error"),
    "a number of 100,000 digits": once((reply(200, b"1" * 100_000),), code="server_error"),
    "an endless body": once((endless(300_000_000),), code="server_error"),
    "100,000 headers": once((then(reply(200)[:-2], b"X-Y: z\r\n" * 100_000, hang),), code="connection_error"),
    "no HTTP": once((b"SSH-2.0-OpenSSH_9.6\r\n",), code="connection_error"),
    "compressed": once((reply(200, b"\x1f\x8b", "Content-Encoding: gzip"),), code="server_error"),
    "compressed twice": once((reply(200, b"\x1f\x8b", "Content-Encoding: gzip, gzip"),), code="server_error"),
    "two lengths": once((reply(200, b"{}", "Content-Length: 1"),), code="connection_error"),
    "head dripped": once((dripped(CREATED, 0.05),), code="timeout"),
    "body dripped": once((then(reply(length=999), dripped(b" " * 999, 0.05)),), code="timeout"),
    "interim answers without end": once((dripped(b"HTTP/1.1 103 Early\r\n\r\n" * 99, 0.005),), code="timeout"),
    "400": Fate((refuses(400, "InvalidParameter"),), 1, "invalid_request", 1, "refused"),
    "401": Fate((refuses(401, "InvalidApiKey"),), 1, "invalid_api_key", 3, "refused"),
    "403": Fate((refuses(403, "AccessDenied.Unpurchased"),), 1, "access_denied", 3, "refused"),
    "403 with HTML": Fate((reply(403, HTML),), 1, "access_denied", 3, "refused"),
    "content": Fate((refuses(400, "DataInspectionFailed"),), 1, "content_policy", 1, "refused"),
    "429 about billing": Fate((refuses(429, "PrepaidBillOverdue"),), 1, "access_denied", 3, "refused"),
    "429 about a purchase": Fate((refuses(429, "CommodityNotPurchased"),), 1, "access_denied", 3, "refused"),
    "429 about the free tier": Fate(
        (refuses(429, "Throttling.AllocationQuota", "Free allocated quota exceeded."),),
        1,
        "access_denied",
        3,
        "refused",
    ),
    "429 about rate": Fate((RATE,), 4, "rate_limit", 4, "refused"),
    "429 without a word": Fate((reply(429),), 4, "rate_limit", 4, "refused"),
    "429 about rate, then accepted": Fate((RATE, RATE, CREATED), 3, None, 0, "accepted"),
    "429 about rate, then closed": Fate((RATE, CLOSE), 2, "connection_error", 6, "unknown"),
    "accepted": Fate((CREATED,), 1, None, 0, "accepted"),
    "accepted, and says that it keeps the connection": Fate(
        (CREATED.replace(b"close", b"keep-alive"), CLOSE), 1, None, 0, "accepted"
    ),
    "accepted in one drip": Fate((dripped(CREATED, 0),), 1, None, 0, "accepted"),
    "accepted with a BOM": Fate(
        (reply(200, b"\xef\xbb\xbf" + CREATED.partition(HEAD_END)[2]),), 1, None, 0, "accepted"
    ),
    "accepted as text": Fate((CREATED.replace(b"application/json", b"text/html"),), 1, None, 0, "accepted"),
}


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    monkeypatch.setattr("rawgenai.ledger._PRAGMAS", ("PRAGMA synchronous = OFF",))  # no kill here, and it is quicker
    with Ledger(str(tmp_path / "tasks.db")) as opened:
        yield opened


Pauses = list[float]


def _create(url: str, ledger: Ledger, pauses: Pauses, timeout: float = 10) -> RawgenaiError | None:
    """Create a task in process; the error that came of it, if any."""
    send = http.sender(url, lambda: KEY, timeout)
    try:
        tasks.create(Spec("A kitten"), settings=settings(url), send=send, ledger=ledger, sleep=pauses.append)
    except RawgenaiError as error:
        return error
    return None


@pytest.mark.parametrize("name", FATES)
def test_one_create_is_one_post(name: str, ledger: Ledger) -> None:
    fate = FATES[name]
    with serving(*fate.script) as server:
        error = _create(server.url, ledger, [], HANGS if fate.code == "timeout" else 10)
    assert (server.posts(), server.connections) == (fate.posts, fate.posts)
    [row] = ledger.rows()
    assert (row.state, row.code, row.task_id) == (fate.state, fate.code, None if fate.code else TASK)
    assert (error.code if error else None, error.status if error else 0) == (fate.code, fate.status)
    if error:
        assert error.outcome == ("unknown" if fate.status == 6 else None)
        assert ("may have been accepted" in error.message) == (fate.status == 6)


AS_PROCESS = ("closed after the request", "hang", "502 with HTML", "429 about billing", "accepted")


@pytest.mark.slow  # five processes, some of which really wait
@pytest.mark.parametrize("name", AS_PROCESS)
def test_one_create_is_one_post_as_a_process(name: str, tmp_path: Path) -> None:
    fate = FATES[name]
    with serving(*fate.script) as server:
        run = rawgenai(server.url, *CREATE, RAWGENAI_TIMEOUT="1" if fate.code == "timeout" else "20")
    assert (run.status, server.posts()) == (fate.status, fate.posts), run
    with Ledger(str(tmp_path / "state" / "rawgenai" / "tasks.db")) as ledger:
        assert [row.state for row in ledger.rows()] == [fate.state]
    if fate.code:
        assert not run.stdout
        assert run.stderr.count("\n") == 1  # the envelope and nothing else
        assert run.error["code"] == fate.code
        assert run.error.get("outcome") == ("unknown" if fate.status == 6 else None)
        assert "\x1b" not in run.stderr
    else:
        assert run.stdout == f'{{"success": true, "task_id": "{TASK}", "status": "pending"}}\n'
        assert not run.stderr


@pytest.mark.parametrize("error", [MemoryError(), ValueError("a mistake of ours")], ids=repr)
def test_what_fails_here_once_the_request_may_have_left_leaves_the_outcome_unknown(
    error: Exception, ledger: Ledger
) -> None:
    with serving(CREATED) as server:

        def send(request: Request, receive: Receive | None = None) -> Response:
            http.sender(server.url, lambda: KEY)(request, receive)
            raise error

        with pytest.raises(RawgenaiError) as caught:
            tasks.create(Spec("A kitten"), settings=settings(server.url), send=send, ledger=ledger)
    assert (caught.value.code, caught.value.status, caught.value.outcome) == ("internal_error", 6, "unknown")
    assert [(row.state, row.code) for row in ledger.rows()] == [("unknown", "internal_error")]
    assert server.posts() == 1


# --- proof that nothing was accepted ------------------------------------------------------------------------------


def test_a_refused_connection_is_tried_four_times_and_then_nothing_was_sent(ledger: Ledger) -> None:
    pauses: Pauses = []
    error = _create(f"http://127.0.0.1:{closed_port()}", ledger, pauses)
    assert error is not None
    assert (error.code, error.status, error.outcome) == ("connection_error", 4, None)
    assert "nothing was sent" in error.message
    assert len(pauses) == 3
    assert [row.state for row in ledger.rows()] == ["refused"]


def test_an_unknown_host_is_never_sent_to(ledger: Ledger) -> None:
    pauses: Pauses = []
    error = _create("https://api.example.test", ledger, pauses)
    assert error is not None
    assert (error.code, error.outcome, len(pauses)) == ("connection_error", None, 3)
    assert "api.example.test" in error.message
    assert [row.state for row in ledger.rows()] == ["refused"]


@contextmanager
def _full_backlog() -> Iterator[str]:
    """A port that takes no more connections, as a firewall that drops packets looks."""
    with socket.socket() as server, socket.socket() as first, socket.socket() as second:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for client in (first, second):
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.platform
@pytest.mark.skipif("sys.platform != 'linux'", reason="what a full backlog does differs")
def test_a_connection_that_is_never_made_is_not_sent() -> None:
    with _full_backlog() as url, pytest.raises(NotSent) as caught:
        http.sender(url, lambda: KEY, 0.2)(Request("POST", "x", body={}))
    assert caught.value.code == "timeout"


def test_one_that_hangs_up_while_the_body_is_sent_leaves_the_outcome_unknown(tmp_path: Path) -> None:
    image = tmp_path / "photo.jpg"
    image.write_bytes(b"\xff\xd8\xff" + bytes(5_000_000))
    from rawgenai.message import Media

    body = {"image": Media(str(image), "image/jpeg", image.stat().st_size)}
    with socket.create_server(("127.0.0.1", 0)) as server:
        import threading

        def cut() -> None:
            connection, _ = server.accept()
            connection.recv(65536)
            reset(connection, b"")
            connection.close()

        thread = threading.Thread(target=cut)
        thread.start()
        with pytest.raises(Unknown) as caught:
            http.sender(f"http://127.0.0.1:{server.getsockname()[1]}", lambda: KEY, 2)(Request("POST", "x", body=body))
        thread.join()
    assert caught.value.code == "connection_error"


# --- redirects ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_redirect_of_the_api_is_never_followed(method: str, status: int, ledger: Ledger) -> None:
    with serving(CREATED) as other, serving(reply(status, b"", f"Location: {other.url}/x")) as server:
        if method == "POST":
            error = _create(server.url, ledger, [])
            assert error is not None
            assert (error.code, error.outcome) == ("server_error", "unknown")
        else:
            send = http.sender(server.url, lambda: KEY, 1)
            with pytest.raises(RawgenaiError) as caught:
                tasks.status(TASK, settings=settings(server.url), send=send, ledger=ledger, sleep=lambda _: None)
            assert caught.value.code == "server_error"
    assert (other.connections, other.requests) == (0, [])


# --- how long it is waited, and how often it is asked --------------------------------------------------------------

ASKED = {  # Retry-After -> the pauses that are made of it, where they are certain
    "0": [0.0, 0.0, 0.0],
    "3": [3.0, 3.0, 3.0],
    "3.5": [3.5, 3.5, 3.5],
    "7": [7.0, 7.0],  # a third one would be over 15 s
    "14": [14.0],
    "16": [],
    "999999999": [],
}


@pytest.mark.parametrize("asked", ASKED)
def test_retry_after_is_obeyed_and_bounded(asked: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: Pauses = []
    clock = SimpleNamespace(monotonic=lambda: sum(pauses))  # goes on while it is slept, and on no slow machine else
    monkeypatch.setattr("tenacity.time", clock)
    with serving(refuses(429, "Throttling", "slow", f"Retry-After: {asked}")) as server:
        error = _create(server.url, ledger, pauses)
    assert error is not None
    assert error.code == "rate_limit"
    assert pauses == ASKED[asked]
    assert server.posts() == len(pauses) + 1


def test_retry_after_may_be_a_date(ledger: Ledger) -> None:
    pauses: Pauses = []
    date = email.utils.formatdate(time.time() + 14, usegmt=True)
    with serving(refuses(429, "Throttling", "slow", f"Retry-After: {date}"), CREATED) as server:
        assert _create(server.url, ledger, pauses) is None
    assert [4 < pause <= 14 for pause in pauses] == [True]


@pytest.mark.parametrize("asked", ["-1", "inf", "nan", "1e9", "soon", "٣", "Fri, 99 Foo 2026 99:99:99 GMT"])
def test_a_senseless_retry_after_is_as_none(asked: str, ledger: Ledger) -> None:
    pauses: Pauses = []
    with serving(refuses(429, "Throttling", "slow", f"Retry-After: {asked}"), CREATED) as server:
        assert _create(server.url, ledger, pauses) is None
    assert [0 <= pause <= 8 for pause in pauses] == [True]


GETS: dict[str, tuple[Step, int, str]] = {  # a fault of GET -> how often it is asked, and the code
    "closed": (CLOSE, 4, "connection_error"),
    "reset": (reset, 4, "connection_error"),
    "hang": (hang, 4, "timeout"),
    "500": (refuses(500, "InternalError"), 4, "server_error"),
    "502 with HTML": (reply(502, HTML), 4, "server_error"),
    "503": (reply(503), 4, "server_error"),
    "504": (reply(504), 4, "timeout"),
    "408": (reply(408), 4, "timeout"),
    "429 about rate": (RATE, 4, "rate_limit"),
    "200 with HTML": (reply(200, HTML), 4, "server_error"),
    "200 with nothing": (reply(200), 4, "server_error"),
    "half a body": (succeeded("https://x.test/a")[:-9], 4, "connection_error"),
    "nested brackets": (reply(200, b"[" * 100_000), 4, "server_error"),
    "401": (refuses(401, "InvalidApiKey"), 1, "invalid_api_key"),
    "403": (refuses(403, "AccessDenied"), 1, "access_denied"),
    "404": (refuses(404, "NotFound"), 1, "task_not_found"),
    "400": (refuses(400, "InvalidParameter"), 1, "invalid_request"),
    "429 about billing": (refuses(429, "PostpaidBillOverdue"), 1, "access_denied"),
}
WAITING = {"hang": pytest.mark.slow}  # these really wait


def _status(server: Server, ledger: Ledger, timeout: float) -> str:
    send = http.sender(server.url, lambda: KEY, timeout)
    return tasks.status(TASK, settings=settings(server.url), send=send, ledger=ledger, sleep=lambda _: None).status


@pytest.mark.parametrize("name", [pytest.param(name, marks=WAITING.get(name, ())) for name in GETS])
def test_a_get_is_repeated_where_that_is_of_use(name: str, ledger: Ledger) -> None:
    step, times, code = GETS[name]
    with serving(step) as server, pytest.raises(RawgenaiError) as caught:
        _status(server, ledger, HANGS if name == "hang" else 10)
    assert (len(server.requests), caught.value.code) == (times, code)
    assert (caught.value.task_id, caught.value.outcome) == (TASK, None)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=WAITING.get(name, ())) for name, (_, times, _) in GETS.items() if times > 1]
)
def test_a_get_survives_a_passing_fault(name: str, ledger: Ledger) -> None:
    with serving(GETS[name][0], succeeded("https://x.test/a")) as server:
        assert _status(server, ledger, 1 if name == "hang" else 10) == "succeeded"
    assert len(server.requests) == 2


def test_no_cookie_is_ever_sent_back(ledger: Ledger) -> None:
    with serving(reply(503, b"", "Set-Cookie: a=b; Path=/"), succeeded("https://x.test/a")) as server:
        _status(server, ledger, 10)
    assert not any(b"cookie" in request.lower() for request in server.requests)


@pytest.mark.slow
def test_status_as_a_process_tries_again_by_itself() -> None:
    with serving(CLOSE, reply(502, HTML), succeeded("https://x.test/a")) as server:
        run = rawgenai(server.url, *STATUS)
    assert (run.status, len(server.requests), run.stderr) == (0, 3, "")
