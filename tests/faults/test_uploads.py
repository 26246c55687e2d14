"""Uploads that go wrong: one object in the request, no POST before the last of them is done, and that POST once.

Two raw-socket servers stand for the API and for the upload host that it names (reference section 5; faults 1H).
"""

import base64
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from socket import socket
from typing import Any, NamedTuple

import pytest

import corpus
from faulty import (
    CLOSE,
    HEAD_END,
    KEY,
    TASK,
    Early,
    Server,
    Step,
    closed_port,
    command,
    dripped,
    environ,
    hang,
    header,
    rawgenai,
    read_rest,
    reply,
    reset,
    says,
    serving,
    settings,
    then,
)
from rawgenai import http, media
from rawgenai.config import Settings
from rawgenai.dashscope import tasks
from rawgenai.dashscope.spec import Spec
from rawgenai.errors import RawgenaiError
from rawgenai.ledger import Ledger
from rawgenai.message import Form, Receive, Request, Response
from rawgenai.secret import Secret

STORED = reply(200)
REFUSED = reply(403, b"<Error><Code>AccessDenied</Code><Message>Policy expired.</Message></Error>")
CLASH = reply(409, b"<Error><Code>FileAlreadyExists</Code></Error>")


# --- the checksum, by hand --------------------------------------------------------------------------------------------


@cache
def _table() -> tuple[int, ...]:
    def row(value: int) -> int:
        for _ in range(8):
            value = value >> 1 ^ (0xC96C5795D7870F42 if value & 1 else 0)
        return value

    return tuple(map(row, range(256)))


def crc64(data: bytes) -> int:
    """CRC-64/XZ, as its definition says: reflected, begun and ended with ones."""
    value = 2**64 - 1
    for byte in data:
        value = value >> 8 ^ _table()[(value ^ byte) & 255]
    return value ^ (2**64 - 1)


def test_the_checksum_has_its_check_value(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"123456789")
    assert media.fingerprint(str(tmp_path / "file"), 9).crc64 == crc64(b"123456789") == 0x995DC9BBDF1939FA
    assert media.fingerprint("data:;base64,MTIzNDU2Nzg5", 9).crc64 == 0x995DC9BBDF1939FA


@pytest.mark.parametrize("size", [0, 1, 2**18 - 1, 2**18, 2**18 + 1, 600_000])
def test_the_checksum_is_that_of_the_whole_file(tmp_path: Path, size: int) -> None:
    (tmp_path / "file").write_bytes(data := os.urandom(size))
    assert media.fingerprint(str(tmp_path / "file"), size).crc64 == crc64(data)


# --- two servers, and what went through them --------------------------------------------------------------------------


class Upload(NamedTuple):
    """One form that came to the upload host."""

    head: bytes
    fields: dict[str, str]  # in the order in which they came, the file's name as the last
    file: bytes

    @property
    def url(self) -> str:
        """What the task's request calls the object."""
        return f"oss://{self.fields['key']}"


def parse_form(request: bytes) -> Upload:
    """Take a multipart/form-data request apart."""
    head, _, body = request.partition(HEAD_END)
    boundary = (header(request, "content-type") or "").partition("boundary=")[2]
    first, *parts, last = body.split(f"--{boundary}".encode())
    assert (first, last) == (b"", b"--\r\n")
    fields: dict[str, str] = {}
    content = b""
    for part in parts:
        says, _, content = part.removeprefix(b"\r\n").removesuffix(b"\r\n").partition(HEAD_END)
        name, filename = re.findall(rb'name="([^"]*)"', says), re.findall(rb'filename="([^"]*)"', says)
        fields[name[0].decode()] = (filename[0] if filename else content).decode()
    return Upload(head, fields, content)


class Hosts(NamedTuple):
    """The API and its upload host."""

    api: Server
    host: Server
    log: list[str]  # what came and was answered, in order: policy, upload, stored, task

    @property
    def uploads(self) -> list[Upload]:
        """The forms that came whole."""
        return [parse_form(request) for request in self.host.requests if is_whole(request)]

    @property
    def task(self) -> dict[str, Any]:
        """The one request for a task."""
        [request] = [request for request in self.api.requests if request.startswith(b"POST ")]
        found: dict[str, Any] = json.loads(request.partition(HEAD_END)[2])
        return found


def is_whole(request: bytes) -> bool:
    return len(request.partition(HEAD_END)[2]) == int(header(request, "content-length") or 0)


@contextmanager
def hosts(*script: Step, **policy: Any) -> Iterator[Hosts]:
    """An API that books every task, and an upload host with a script; ``policy`` is odd about the API's leave."""
    log: list[str] = []

    def noted(step: Step) -> Step:
        def act(connection: socket, request: bytes) -> None:
            log.append("upload")
            if isinstance(step, bytes):
                if step.startswith(b"HTTP/1.1 200"):
                    log.append("stored")
                connection.sendall(step)
            else:
                (step.act if isinstance(step, Early) else step)(connection, request)

        return Early(act) if isinstance(step, Early) else act

    with serving(*map(noted, script)) as host:

        def answer(connection: socket, request: bytes) -> None:
            asked = request.startswith(b"GET /api/v1/uploads?action=getPolicy&model=wan")
            log.append("policy" if asked else "task")
            leave = {
                "policy": f"policy-{log.count('policy')}",
                "signature": "signature",
                "upload_dir": "dashscope-instant/x",
                "upload_host": host.url.removesuffix("/api/v1"),
                "expire_in_seconds": 300,
                "max_file_size_mb": 100,
                "oss_access_key_id": "id",
                "x_oss_object_acl": "private",
                "x_oss_forbid_overwrite": "true",
            }
            count = log.count("task")
            task = {"task_id": TASK if count < 2 else f"{TASK}-{count}", "task_status": "PENDING"}
            connection.sendall(
                says({"request_id": "r", **({"data": {**leave, **policy}} if asked else {"output": task})})
            )

        with serving(answer) as api:
            yield Hosts(api, host, log)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(str(tmp_path / "tasks.db")) as opened:
        yield opened


LOCAL = "my secret holiday.jpg"  # though it is a PNG


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / LOCAL
    path.write_bytes(corpus.picture("PNG", 300, 240))
    return path


def create(url: str, ledger: Ledger, *refs: Path, timeout: float = 10, **more: Any) -> RawgenaiError | None:
    """Create a task of references, in process; the error that came of it, if any."""
    collaborators = {"settings": settings(url), "sleep": lambda _: None, **more}
    collaborators.setdefault("send", http.sender(url, lambda: KEY, timeout))
    try:
        tasks.create(Spec("a", refs=tuple(map(str, refs))), ledger=ledger, **collaborators)
    except RawgenaiError as error:
        return error
    return None


# --- what goes wrong, once --------------------------------------------------------------------------------------------


def cut_in_the_middle(connection: socket, request: bytes) -> None:
    while len(request) < 500_000:
        request += connection.recv(65536)
    reset(connection, request)


def with_crc(value: int | str) -> bytes:
    return reply(200, b"", f"x-oss-hash-crc64ecma: {value}")


FAULTS: dict[str, Step] = {
    "lost answer": CLOSE,
    "half an answer": b"HTTP/1.1 200 OK\r\nContent-Le",
    "reset": reset,
    "reset in the middle": Early(cut_in_the_middle),
    "closed in the middle": Early(lambda connection, _: connection.close()),
    "silence": hang,
    "slow drip": dripped(STORED, 0.1),
    "drip in the body": then(reply(200, length=99), dripped(b" " * 99, 0.1)),
    "policy expired": REFUSED,
    "name taken": CLASH,
    "busy": reply(503),
    "internal error": reply(500),
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "redirect": reply(307, b"", "Location: http://127.0.0.1:9/elsewhere"),
    "created, not 200": reply(204, length=-1),
    "wrong checksum": with_crc(1),
    "no checksum at all": with_crc("x"),
}
SLOW = ("silence", "slow drip", "drip in the body")  # they wait for a time-out
LARGE = 3_000_000  # bytes, more than sockets hold back


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_an_upload_that_went_wrong_is_made_again_under_a_new_name(name: str, photo: Path, ledger: Ledger) -> None:
    if "middle" in name:
        photo.write_bytes(photo.read_bytes().ljust(LARGE, b"\0"))
    with hosts(FAULTS[name], STORED) as seen:
        error = create(seen.api.url, ledger, photo, timeout=1 if name in SLOW else 10)
    assert error is None
    assert seen.host.connections == 2
    policies = ["policy"] if name == "policy expired" else []
    assert [word for word in seen.log if word != "stored"] == ["policy", "upload", *policies, "upload", "task"]
    *before, last = seen.uploads
    assert seen.task["input"]["reference_urls"] == [last.url]
    assert last.url not in [upload.url for upload in before]
    assert last.file == photo.read_bytes()
    [row] = ledger.rows()
    assert (row.state, row.task_id) == ("accepted", TASK)


ENDS = {  # a fault that does not pass -> code, exit status, uploads, policies
    "lost answer": ("connection_error", 4, 4, 1),
    "silence": ("timeout", 4, 4, 1),
    "slow drip": ("timeout", 4, 4, 1),
    "policy expired": ("invalid_request", 1, 2, 2),
    "name taken": ("invalid_request", 1, 4, 1),
    "busy": ("server_error", 4, 4, 1),
    "redirect": ("invalid_request", 1, 4, 1),
    "wrong checksum": ("server_error", 4, 4, 1),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ENDS)
def test_a_fault_that_does_not_pass_ends_before_the_task(name: str, photo: Path, ledger: Ledger) -> None:
    code, status, uploads, policies = ENDS[name]
    pauses: list[float] = []
    with hosts(FAULTS[name]) as seen:
        error = create(seen.api.url, ledger, photo, timeout=0.5 if name in SLOW else 10, sleep=pauses.append)
    assert error is not None
    assert (error.code, error.status, error.outcome) == (code, status, None)
    assert "no task was created" in error.message
    assert (seen.log.count("upload"), seen.log.count("policy"), seen.api.posts()) == (uploads, policies, 0)
    assert len({upload.url for upload in seen.uploads}) == uploads
    assert pauses == [1, 2, 4][: uploads - 1]
    assert ledger.rows() == []


def test_a_form_that_is_refused_is_not_sent_again(photo: Path, ledger: Ledger) -> None:
    with hosts(reply(400)) as seen:
        error = create(seen.api.url, ledger, photo)
    assert error is not None
    assert (error.code, error.status, seen.log) == ("invalid_request", 1, ["policy", "upload"])


def test_an_upload_host_where_nobody_listens_is_tried_four_times(photo: Path, ledger: Ledger) -> None:
    pauses: list[float] = []
    with hosts(STORED, upload_host=f"http://127.0.0.1:{closed_port()}") as seen:
        error = create(seen.api.url, ledger, photo, sleep=pauses.append)
    assert error is not None
    assert (error.code, error.status, len(pauses), seen.log) == ("connection_error", 4, 3, ["policy"])


def test_a_redirect_is_never_followed(photo: Path, ledger: Ledger) -> None:
    with serving(STORED) as elsewhere:
        moved = reply(307, b"", f"Location: {elsewhere.url}")
        with hosts(moved, moved, STORED) as seen:
            assert create(seen.api.url, ledger, photo) is None
    assert (elsewhere.connections, seen.host.connections) == (0, 3)


def test_the_right_checksum_is_accepted(photo: Path, ledger: Ledger) -> None:
    with hosts(with_crc(crc64(photo.read_bytes()))) as seen:
        assert create(seen.api.url, ledger, photo) is None
    assert seen.host.connections == 1


def test_leave_that_cannot_be_had_at_first_is_asked_for_again(photo: Path, ledger: Ledger) -> None:
    with hosts(STORED) as seen:
        [answer] = seen.api.script
        seen.api.script = [reply(503), says({"code": "Throttling.RateQuota"}, 429), answer]
        assert create(seen.api.url, ledger, photo) is None
    assert seen.log == ["policy", "upload", "stored", "task"]


@pytest.mark.parametrize(
    ("answer", "code", "status"),
    [
        (says({"code": "InvalidApiKey", "message": "no"}, 401), "invalid_api_key", 3),
        (says({"code": "Model.AccessDenied", "message": "no"}, 403), "access_denied", 3),
        (says({"request_id": "r", "data": {}}), "server_error", 4),
        (reply(200, b"<html>"), "server_error", 4),
        (CLOSE, "connection_error", 4),
    ],
)
def test_without_leave_nothing_is_uploaded(photo: Path, ledger: Ledger, answer: bytes, code: str, status: int) -> None:
    with hosts(STORED) as seen:
        seen.api.script = [answer]
        error = create(seen.api.url, ledger, photo)
    assert error is not None
    assert (error.code, error.status, error.outcome) == (code, status, None)
    assert (seen.host.connections, seen.api.posts(), ledger.rows()) == (0, 0, [])


# --- several files ----------------------------------------------------------------------------------------------------


@pytest.fixture
def three(tmp_path: Path, photo: Path) -> list[Path]:
    """A picture, a clip and another picture, two of them of one name."""
    (tmp_path / "other").mkdir()
    other, clip = tmp_path / "other" / LOCAL, tmp_path / "scene.mp4"
    other.write_bytes(corpus.picture("JPEG", 300, 240))
    clip.write_bytes(corpus.clip(2))
    return [photo, clip, other]


def test_several_files_are_uploaded_side_by_side_with_one_policy(three: list[Path], ledger: Ledger) -> None:
    barrier = threading.Barrier(3)  # nobody is answered before all three are there

    def together(connection: socket, request: bytes) -> None:
        barrier.wait(10)
        connection.sendall(STORED)

    with hosts(together) as seen:
        assert create(seen.api.url, ledger, *three) is None
    assert not barrier.broken
    assert seen.log == ["policy", *["upload"] * 3, "task"]
    stored = {upload.url: upload.file for upload in seen.uploads}
    assert [stored[url] for url in seen.task["input"]["reference_urls"]] == [path.read_bytes() for path in three]
    extensions = [os.path.splitext(url)[1] for url in seen.task["input"]["reference_urls"]]
    assert extensions == [".png", ".mp4", ".jpg"]
    names = [re.fullmatch(r"oss://dashscope-instant/x/([0-9a-f]{32})\.\w+", url) for url in stored]
    assert len({name[1] for name in names if name}) == 3


def test_a_policy_that_expired_is_asked_for_anew_once_for_all(three: list[Path], ledger: Ledger) -> None:
    barrier = threading.Barrier(3)

    def expired(connection: socket, request: bytes) -> None:
        barrier.wait(10)
        connection.sendall(REFUSED)

    with hosts(expired, expired, expired, STORED) as seen:
        assert create(seen.api.url, ledger, *three) is None
    assert (seen.log.count("policy"), seen.log.count("stored")) == (2, 3)
    assert sorted(upload.fields["policy"] for upload in seen.uploads) == ["policy-1"] * 3 + ["policy-2"] * 3


@pytest.mark.parametrize(("later", "policies"), [(269, 1), (270, 2)])
def test_a_policy_is_used_until_half_a_minute_before_its_end(
    photo: Path, ledger: Ledger, later: float, policies: int
) -> None:
    clock = [1000.0]

    def sleep(_: float) -> None:
        clock[0] += later

    with hosts(CLASH, STORED) as seen:
        assert create(seen.api.url, ledger, photo, now=lambda: clock[0], sleep=sleep) is None
    assert seen.log.count("policy") == policies


def test_a_file_that_is_named_twice_is_uploaded_once(photo: Path, ledger: Ledger) -> None:
    with hosts(STORED) as seen:
        assert create(seen.api.url, ledger, photo, photo) is None
    [upload] = seen.uploads
    assert seen.task["input"]["reference_urls"] == [upload.url] * 2


def test_no_task_is_asked_for_while_an_upload_is_under_way(three: list[Path], ledger: Ledger) -> None:
    def last(connection: socket, request: bytes) -> None:
        time.sleep(0.3)  # the others have long been done
        seen.log.append("last")
        connection.sendall(STORED)

    with hosts(STORED, STORED, last) as seen:
        assert create(seen.api.url, ledger, *three) is None
    assert seen.log[-2:] == ["last", "task"]


def test_one_upload_that_fails_for_good_is_the_end_of_all(three: list[Path], ledger: Ledger) -> None:
    with hosts(STORED, STORED, reply(400)) as seen:
        error = create(seen.api.url, ledger, *three)
    assert error is not None
    assert (error.code, seen.api.posts(), ledger.rows()) == ("invalid_request", 0, [])


def test_the_size_is_checked_against_the_policy_before_anything_is_uploaded(three: list[Path], ledger: Ledger) -> None:
    three[1].write_bytes(three[1].read_bytes() + corpus.box(b"free", bytes(1024 * 1024)))
    with hosts(STORED, max_file_size_mb=1) as seen:
        error = create(seen.api.url, ledger, *three)
    assert error is not None
    assert (error.code, error.status) == ("invalid_ref", 2)
    assert "scene.mp4' is over the upload limit of 1 MB" in error.message
    assert (seen.log, seen.host.connections) == (["policy"], 0)


def test_the_policys_size_itself_is_allowed(photo: Path, ledger: Ledger) -> None:
    photo.write_bytes(photo.read_bytes().ljust(1024 * 1024, b"\0"))
    with hosts(STORED, max_file_size_mb=1) as seen:
        assert create(seen.api.url, ledger, photo) is None


# --- what the host is told --------------------------------------------------------------------------------------------


def test_the_upload_host_is_told_what_it_needs_and_nothing_else(three: list[Path], ledger: Ledger) -> None:
    with hosts(FAULTS["busy"], STORED) as seen:
        assert create(seen.api.url, ledger, *three) is None
    for upload in seen.uploads:
        heads = {line.partition(b":")[0].lower() for line in upload.head.split(b"\r\n")[1:]}
        assert heads <= {
            *(b"host", b"user-agent", b"accept", b"accept-encoding", b"connection"),
            *(b"content-type", b"content-length"),
        }
        assert list(upload.fields) == [
            *("OSSAccessKeyId", "Signature", "policy", "key", "success_action_status"),
            *("x-oss-forbid-overwrite", "x-oss-object-acl", "file"),
        ]
        assert upload.fields["key"] == f"dashscope-instant/x/{upload.fields['file']}"
    for request in (*seen.host.requests, *seen.api.requests):
        assert b"holiday" not in request
        assert b"scene" not in request
    assert not any(KEY.encode() in request for request in seen.host.requests)
    assert [header(request, "authorization") for request in seen.api.requests] == [f"Bearer {KEY}"] * 2
    resolve = [header(request, "x-dashscope-ossresourceresolve") for request in seen.api.requests]
    assert resolve == [None, "enable"]


class Trap:
    """An API that names some upload host, which nothing may be sent to but where it is allowed."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.asked: list[str] = []

    def __call__(self, request: Request, receive: Receive | None = None) -> Response:
        if isinstance(request.body, Form):
            self.asked.append(request.url)
            return Response(200, {})
        if request.body is not None:
            return Response(200, {}, b'{"output": {"task_id": "t"}}')
        leave = dict.fromkeys(
            ("oss_access_key_id", "signature", "policy", "x_oss_object_acl", "x_oss_forbid_overwrite"), "x"
        )
        return Response(200, {}, json.dumps({"data": {**leave, "upload_dir": "d", "upload_host": self.host}}).encode())


REAL = "https://dashscope.aliyuncs.com/api/v1"
LOOPBACK = "http://127.0.0.1:9/api/v1"
REFUSED_HOSTS = [
    ("http://uploads.example.com", REAL),
    ("https://uploads.example.com", REAL),
    ("https://aliyuncs.com.example.com", REAL),
    ("https://evilaliyuncs.com", REAL),
    ("https://x.aliyuncs.com@example.com", REAL),
    ("https://user:secret@x.aliyuncs.com", REAL),
    ("https://x.aliyuncs.com\\@example.com", REAL),
    ("ftp://x.aliyuncs.com", REAL),
    ("file:///etc/passwd", REAL),
    ("x.aliyuncs.com", REAL),
    ("//x.aliyuncs.com", REAL),
    ("uploads?action=getPolicy", REAL),  # relative: it would get the key
    ("https:// x.aliyuncs.com", REAL),
    ("", REAL),
    ("http://127.0.0.1:9", REAL),
    ("https://localhost", REAL),
    ("http://[::1]", REAL),
    ("https://uploads.example.com", LOOPBACK),
    ("http://uploads.example.com", LOOPBACK),
]


@pytest.mark.parametrize(("host", "base_url"), REFUSED_HOSTS)
def test_an_upload_host_that_is_not_alibabas_gets_nothing(
    photo: Path, ledger: Ledger, host: str, base_url: str
) -> None:
    error = create(base_url, ledger, photo, send=(trap := Trap(host)))
    assert error is not None
    assert (error.code, error.status, error.outcome) == ("connection_error", 1, None)
    assert error.message.startswith("upload refused: the server named ")
    assert (trap.asked, ledger.rows()) == ([], [])


@pytest.mark.parametrize(
    ("host", "base_url", "asked"),
    [
        ("https://x.oss-cn-beijing.aliyuncs.com", REAL, "https://x.oss-cn-beijing.aliyuncs.com"),
        ("http://x.oss-cn-beijing.aliyuncs.com", REAL, "https://x.oss-cn-beijing.aliyuncs.com"),
        ("https://x.aliyuncs.com", LOOPBACK, "https://x.aliyuncs.com"),
        ("http://127.0.0.1:8", LOOPBACK, "http://127.0.0.1:8"),
    ],
)
def test_an_upload_host_of_alibabas_is_asked_by_https(
    photo: Path, ledger: Ledger, host: str, base_url: str, asked: str
) -> None:
    assert create(base_url, ledger, photo, send=(trap := Trap(host))) is None
    assert trap.asked == [asked]


# --- what was uploaded before -----------------------------------------------------------------------------------------


def uploads_of(*calls: Callable[[Any], RawgenaiError | None]) -> list[int]:
    """How many uploads each call made."""
    counts = []
    with hosts(STORED) as seen:
        for call in calls:
            before = seen.host.connections
            assert call(seen.api.url) is None
            counts.append(seen.host.connections - before)
    assert seen.log.count("task") == len(calls)
    return counts


def test_the_same_content_is_not_uploaded_again_for_47_hours(photo: Path, tmp_path: Path, ledger: Ledger) -> None:
    copy = tmp_path / "a copy.png"
    copy.write_bytes(photo.read_bytes())

    def at(moment: float, path: Path = photo) -> Callable[[str], RawgenaiError | None]:
        return lambda url: create(url, ledger, path, now=lambda: moment)

    hours = 3600.0
    assert uploads_of(at(0), at(1), at(2, copy), at(47 * hours - 1), at(47 * hours), at(94 * hours - 1)) == [
        *(1, 0, 0, 0),
        *(1, 0),
    ]


def test_a_remembered_upload_is_named_with_its_header(photo: Path, ledger: Ledger) -> None:
    with hosts(STORED) as seen:
        assert create(seen.api.url, ledger, photo) is None
        [first] = seen.uploads
        seen.api.requests.clear()
        assert create(seen.api.url, ledger, photo) is None
    assert seen.task["input"]["reference_urls"] == [first.url]
    assert header(seen.api.requests[-1], "x-dashscope-ossresourceresolve") == "enable"
    assert len(seen.api.requests) == 1  # no leave is asked for where there is nothing to upload


def test_another_content_model_or_account_is_uploaded_for(photo: Path, tmp_path: Path, ledger: Ledger) -> None:
    other = tmp_path / "other.png"
    other.write_bytes(photo.read_bytes() + b"\0")

    def by(path: Path = photo, key: str = KEY, model: str | None = None) -> Callable[[str], RawgenaiError | None]:
        def call(url: str) -> None:
            account = Settings(Secret(key), "test", url, "test")
            send = http.sender(url, lambda: key, 10)
            tasks.create(Spec("a", refs=(str(path),), model=model), settings=account, send=send, ledger=ledger)

        return call

    calls = [by(), by(other), by(model="wan2.6-r2v"), by(key="sk-another")]
    assert uploads_of(*calls, *calls) == [1, 1, 1, 1, 0, 0, 0, 0]


def test_only_what_is_new_is_uploaded(three: list[Path], ledger: Ledger) -> None:
    with hosts(STORED) as seen:
        assert create(seen.api.url, ledger, three[0]) is None
        seen.api.requests.clear()
        assert create(seen.api.url, ledger, *three) is None
    assert seen.host.connections == 3
    stored = {upload.url: upload.file for upload in seen.uploads}
    assert [stored[url] for url in seen.task["input"]["reference_urls"]] == [path.read_bytes() for path in three]


def test_without_a_ledger_it_is_uploaded_again(photo: Path) -> None:
    call = lambda url: create(url, Ledger(None), photo)  # noqa: E731 - called twice in a line
    assert uploads_of(call, call) == [1, 1]


def test_no_ledger_on_the_command_line_remembers_nothing(photo: Path, tmp_path: Path) -> None:
    argv = ("dashscope", "video", "create", "a", "--ref", str(photo), "--no-ledger")
    with hosts(STORED) as seen:
        assert [rawgenai(seen.api.url, *argv).status for _ in range(2)] == [0, 0]
    assert seen.host.connections == 2
    assert not (tmp_path / "state").exists()


def test_an_upload_of_a_failed_create_is_remembered_all_the_same(photo: Path, ledger: Ledger) -> None:
    with hosts(STORED) as seen:
        [answer] = seen.api.script
        seen.api.script = [answer, CLOSE, answer]
        error = create(seen.api.url, ledger, photo)
        assert error is not None
        assert error.status == 6
        assert create(seen.api.url, ledger, photo) is None
    assert seen.host.connections == 1


def test_a_data_uri_is_remembered_as_a_file_of_its_content_is(photo: Path, ledger: Ledger) -> None:
    uri = f"data:image/png;base64,{base64.b64encode(photo.read_bytes()).decode()}"

    def call(url: str) -> None:
        send = http.sender(url, lambda: KEY, 10)
        tasks.create(Spec("a", refs=(uri,)), settings=settings(url), send=send, ledger=ledger)

    assert uploads_of(call, call, lambda url: create(url, ledger, photo)) == [1, 0, 0]


def test_the_key_is_not_in_the_account_that_is_remembered(photo: Path, ledger: Ledger, tmp_path: Path) -> None:
    assert uploads_of(lambda url: create(url, ledger, photo)) == [1]
    assert KEY.encode() not in (tmp_path / "tasks.db").read_bytes()  # and the canary's hunt finds no piece of it


# --- a file that changes ----------------------------------------------------------------------------------------------

CHANGES: dict[str, Callable[[Path], object]] = {
    "other bytes": lambda path: path.write_bytes(path.read_bytes()[:-1] + b"!"),
    "shorter": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
    "a directory": lambda path: [path.unlink(), path.mkdir()],  # type: ignore[func-returns-value]  # two steps
}
FLAGS = {"refs": "ref_read_error", "audio_url": "invalid_audio", "image": "image_read_error"}
FORMATS = {
    "refs": corpus.picture("PNG", 300, 240),
    "audio_url": corpus.wav(5),
    "image": corpus.picture("PNG", 360, 360),
}


@pytest.mark.parametrize("size", [0, 7_500_000], ids=["small", "large"])  # that image is inline, or uploaded
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("field", FLAGS)
def test_a_file_that_changed_after_it_was_checked_is_never_sent_whole(
    tmp_path: Path, ledger: Ledger, field: str, change: str, size: int
) -> None:
    path = tmp_path / "local"
    path.write_bytes(FORMATS[field].ljust(size, b"\0"))
    inline = field == "image" and not size

    with hosts(STORED) as seen:
        real = http.sender(seen.api.url, lambda: KEY, 10)

        def send(request: Request, receive: Receive | None = None) -> Response:
            if request.method == "POST":
                CHANGES[change](path)
            return real(request, receive)

        spec = Spec("a", **{field: (str(path),) if field == "refs" else str(path)})  # type: ignore[arg-type]  # a table
        with pytest.raises(RawgenaiError) as caught:
            tasks.create(spec, settings=settings(seen.api.url), send=send, ledger=ledger, sleep=lambda _: None)
    assert (caught.value.code, caught.value.status, caught.value.outcome) == (FLAGS[field], 2, None)
    posts = [*seen.host.requests, *(request for request in seen.api.requests if request.startswith(b"POST"))]
    assert not any(map(is_whole, posts))
    assert "task" not in seen.log or inline
    assert [(row.state, row.code) for row in ledger.rows()] == ([("refused", FLAGS[field])] if inline else [])


@pytest.mark.parametrize("field", ["refs", "image"])
def test_a_file_that_changes_while_it_is_sent_is_never_sent_whole(tmp_path: Path, ledger: Ledger, field: str) -> None:
    path = tmp_path / "local"
    path.write_bytes(FORMATS[field].ljust(6_000_000, b"\0"))

    def change(connection: socket, request: bytes) -> None:
        with path.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"!")
        request = read_rest(connection, request)
        seen.host.requests.append(request)

    with hosts(Early(change)) as seen:
        if field == "image":
            seen.api.script = [Early(change)]
        send = http.sender(seen.api.url, lambda: KEY, 10)
        spec = Spec("a", **{field: (str(path),) if field == "refs" else str(path)})  # type: ignore[arg-type]  # a table
        with pytest.raises(RawgenaiError) as caught:
            tasks.create(spec, settings=settings(seen.api.url), send=send, ledger=ledger, sleep=lambda _: None)
    assert caught.value.code == FLAGS[field]
    longest = max(seen.host.requests, key=len)
    assert len(longest) > 3_000_000
    assert not is_whole(longest)


def test_bytes_that_were_added_behind_the_end_are_not_sent(photo: Path, ledger: Ledger) -> None:
    checked = photo.read_bytes()
    with hosts(STORED) as seen:
        real = http.sender(seen.api.url, lambda: KEY, 10)

        def send(request: Request, receive: Receive | None = None) -> Response:
            with photo.open("ab") as file:
                file.write(b"more")
            return real(request, receive)

        assert create(seen.api.url, ledger, photo, send=send) is None
    assert [upload.file for upload in seen.uploads] == [checked]


# --- progress, and Ctrl-C --------------------------------------------------------------------------------------------


def test_progress_grows_to_the_whole_and_an_attempt_counts_anew(three: list[Path], ledger: Ledger) -> None:
    told: list[tuple[int, int | None]] = []
    three[0].write_bytes(three[0].read_bytes().ljust(LARGE, b"\0"))
    whole = sum(path.stat().st_size for path in three)
    with hosts(CLASH, STORED) as seen:
        assert create(seen.api.url, ledger, *three, progress=lambda done, total: told.append((done, total))) is None
    assert seen.host.connections == 4
    assert told[-1] == (whole, whole)
    assert {total for _, total in told} == {whole}
    assert all(0 < done <= whole for done, _ in told)
    assert len({done for done, _ in told}) > 5


def test_nothing_to_upload_is_no_progress(ledger: Ledger) -> None:
    with hosts(STORED) as seen:
        send = http.sender(seen.api.url, lambda: KEY, 10)
        tasks.create(
            Spec("a", refs=("https://example.com/a.png",)),
            settings=settings(seen.api.url),
            send=send,
            ledger=ledger,
            progress=lambda *_: pytest.fail("progress of nothing"),
        )


@pytest.mark.platform
@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
def test_ctrl_c_during_an_upload_ends_at_once_and_no_task_was_asked_for(photo: Path, tmp_path: Path) -> None:
    came = threading.Event()

    def waiting(connection: socket, request: bytes) -> None:
        came.set()
        hang(connection, request)

    with hosts(waiting) as seen:
        argv = command("dashscope", "video", "create", "a", "--ref", str(photo))
        with subprocess.Popen(
            argv, env=environ(seen.api.url), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert came.wait(30)
            process.send_signal(signal.SIGINT)
            stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (130, b"")
    assert b"Traceback" not in stderr
    assert "task" not in seen.log
    with Ledger(str(tmp_path / "state" / "rawgenai" / "tasks.db")) as ledger:
        assert ledger.rows() == []
