"""What is kept of a run: each exchange whole, no key, no signature, no byte of media; and nothing is lost for it."""

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import corpus
from conftest import CANARY
from faulty import CREATED, HEAD_END, TASK, clip, environ, header, ranged, reply, reset, serving, succeeded
from faulty import settings as of_server
from rawgenai import emulator, envelope, files, http, secret
from rawgenai.config import Settings
from rawgenai.dashscope import evidence as subject
from rawgenai.dashscope import tasks, wire
from rawgenai.dashscope.evidence import Evidence
from rawgenai.dashscope.spec import Spec
from rawgenai.emulator import render
from rawgenai.errors import RawgenaiError
from rawgenai.ledger import open_ledger
from rawgenai.message import Form, Media, NotSent, Receive, Request, Response, Send, Unknown
from rawgenai.secret import Secret

NOW = 1_800_000_000.25
POST = Request("POST", "services/x", {"X-DashScope-Async": "enable"}, {"model": "m", "input": {"prompt": "猫"}})
GET = Request("GET", f"tasks/{TASK}")
OK = Response(200, {"content-type": "application/json"}, b'{"request_id": "r"}')


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def kept(tmp_path: Path, told: list[str]) -> Evidence:
    return Evidence(str(tmp_path / "evidence" / "run"), warn=told.append, now=lambda: NOW)


def pages(kept: Evidence) -> list[Any]:
    """Every exchange, in order."""
    kept._catch_up()
    return [json.loads(path.read_text()) for path in sorted(Path(kept.folder).glob("[0-9]*.json"))]


def log(kept: Evidence) -> list[str]:
    kept._catch_up()
    return (Path(kept.folder) / "run.log").read_text().splitlines()


def everything(kept: Evidence) -> str:
    kept._catch_up()
    return "\n".join(path.read_text() for path in sorted(Path(kept.folder).iterdir()))


def answering(outcome: Response | BaseException) -> Send:
    def send(request: Request, receive: Receive | None = None) -> Response:
        if isinstance(outcome, BaseException):
            raise outcome
        if receive is None:
            return outcome
        return Response(outcome.status, outcome.headers, receive(outcome.status, outcome.headers, iter([outcome.body])))

    return send


def page_of(kept: Evidence, request: Request, outcome: Response) -> Any:
    assert kept.recording(answering(outcome))(request) is outcome
    return pages(kept)[-1]


def body_of(kept: Evidence, body: bytes, request: Request = GET) -> Any:
    return page_of(kept, request, Response(200, {}, body))["answer"].get("body")


# --- an exchange --------------------------------------------------------------------------------------------------


def test_an_exchange_is_kept_with_request_and_answer(kept: Evidence) -> None:
    answer = {"content-type": "application/json", "x-request-id": "r-1", "set-cookie": "a=b", "server": "x"}
    page = page_of(kept, POST, Response(200, answer, '{"output": {"task_id": "t", "说": "好"}}'.encode()))
    assert page == {
        "at": "2027-01-15T08:00:00.250Z",
        "request": {"method": "POST", "url": POST.url, "headers": POST.headers, "body": POST.body},
        "answer": {
            "status": 200,
            "headers": {"content-type": "application/json", "x-request-id": "r-1"},
            "body": {"output": {"task_id": "t", "说": "好"}},
        },
        "seconds": 0,
    }


def test_the_request_is_on_disk_before_it_leaves(kept: Evidence) -> None:
    seen = []

    def send(request: Request, receive: Receive | None = None) -> Response:
        seen.extend(pages(kept))
        return OK

    kept.recording(send)(POST)
    (page,) = seen
    assert page.keys() == {"at", "request"}
    assert page["request"]["body"] == POST.body


# generate, with a mistake of ours right after the task is in the ledger.
MISTAKEN = """
from rawgenai.cli.watching import Stages

def created(self, task):
    raise ValueError("a mistake of ours")

Stages.created = created
from rawgenai.__main__ import main
main()
"""


def test_a_mistake_of_ours_leaves_the_answer_to_what_is_paid_as_evidence(tmp_path: Path) -> None:
    with serving(CREATED) as server:
        argv = ["dashscope", "video", "generate", "A kitten", "-o", str(tmp_path / "a.mp4")]
        run = subprocess.run(
            [sys.executable, "-c", MISTAKEN, *argv, f"--evidence={tmp_path / 'evidence'}"],
            env=environ(server.url), stdin=subprocess.DEVNULL, capture_output=True, check=False,
        )  # fmt: skip
    assert b"internal_error" in run.stderr
    [page] = [json.loads(path.read_text()) for path in (tmp_path / "evidence").rglob("0001.json")]
    assert page["answer"]["body"]["output"]["task_id"] == TASK
    [log] = [path.read_text() for path in (tmp_path / "evidence").rglob("run.log")]
    assert log.splitlines()[-1].endswith("Z end: ValueError")


# generate, killed as it begins to write the answer of the POST into its evidence.
KILLED_AT_THE_ANSWER = """
import os
from rawgenai.dashscope import evidence

page = evidence._page

def kill(request, outcome, *args, **kwargs):
    if request.method == "POST" and outcome is not None:
        os.kill(os.getpid(), 9)
    return page(request, outcome, *args, **kwargs)

evidence._page = kill
from rawgenai.__main__ import main
main()
"""


def test_the_ledger_has_the_tasks_id_before_the_evidence_has_the_answer(tmp_path: Path) -> None:
    with serving(CREATED, reply(503)) as server:
        argv = ["dashscope", "video", "generate", "A kitten", "-o", str(tmp_path / "a.mp4"), "--poll-interval", "0"]
        run = subprocess.run(
            [sys.executable, "-c", KILLED_AT_THE_ANSWER, *argv, f"--evidence={tmp_path / 'evidence'}"],
            env=environ(server.url), stdin=subprocess.DEVNULL, capture_output=True, check=False,
        )  # fmt: skip
    assert run.returncode not in range(7), run.stderr  # it was killed
    with open_ledger() as ledger:
        assert [row.task_id for row in ledger.rows()] == [TASK]
    [page] = [json.loads(path.read_text()) for path in (tmp_path / "evidence").rglob("0001.json")]
    assert page.keys() == {"at", "request"}


def test_the_seconds_are_those_of_the_exchange(tmp_path: Path) -> None:
    moments = iter([NOW, NOW + 1.5, NOW + 2])
    kept = Evidence(str(tmp_path / "e"), now=lambda: next(moments))
    kept.recording(answering(OK))(GET)
    assert pages(kept)[0]["seconds"] == 1.5


FATES: list[tuple[BaseException, str, str, str]] = [
    (NotSent("connection_error", "refused"), "not_sent", "connection_error", "not sent, connection_error"),
    (Unknown("timeout", "late"), "unknown", "timeout", "outcome unknown, timeout"),
    (OSError(errno.EIO, "broken"), "raised", "OSError", "raised, OSError"),
    (RawgenaiError("missing_extra", "no PyAV"), "raised", "missing_extra", "raised, missing_extra"),
    (KeyboardInterrupt(), "raised", "KeyboardInterrupt", "raised, KeyboardInterrupt"),
]


@pytest.mark.parametrize(("fate", "name", "code", "line"), FATES, ids=lambda value: str(value)[:20])
def test_what_became_of_a_request_without_an_answer_is_kept_and_raised(
    kept: Evidence, fate: BaseException, name: str, code: str, line: str
) -> None:
    with pytest.raises(type(fate)) as caught:
        kept.recording(answering(fate))(POST)
    assert caught.value is fate
    (page,) = pages(kept)
    assert page.keys() == {"at", "request", name, "seconds"}
    assert page[name]["code"] == code
    assert page[name]["message"] == getattr(fate, "message", str(fate))
    assert log(kept)[-1].endswith(f"0001 POST services/x: {line}")


def test_the_kinds_of_headers_that_are_kept(kept: Evidence) -> None:
    request = Request("GET", "x", {"authorization": "Basic 1", "COOKIE": "a", "Proxy-Authorization": "b", "Range": "c"})
    names = ["content-type", "content-length", "date", "etag", "retry-after", "x-request-id", "x-oss-request-id"]
    page = page_of(kept, request, Response(429, dict.fromkeys([*names, "location", "set-cookie", "x-other"], "v")))
    assert page["request"]["headers"] == {"Range": "c"}
    assert page["answer"] == {"status": 429, "headers": dict.fromkeys(names, "v")}


LEAF = Media("/home/ann/cat.png", "image/png", 12, digest="d1")
DATA = Media("data:image/png;base64,SEVMTE8=", "image/png", 5)


def test_media_leaves_are_named_and_never_read(kept: Evidence) -> None:
    refs = [DATA, "data:image/png;base64,SEVMTE8=", "DATA:;base64,SEVMTE8=", "data:x,y"]
    body = {"input": {"img_url": LEAF, "refs": refs}}
    page = page_of(kept, Request("POST", "x", {}, body), OK)
    assert page["request"]["body"]["input"] == {
        "img_url": {"file": "cat.png", "mime": "image/png", "bytes": 12, "digest": "d1"},
        "refs": [
            {"file": "data", "mime": "image/png", "bytes": 5, "digest": None},
            "data:image/png;base64,(5 bytes)",
            "DATA:;base64,(5 bytes)",
            "data:x,y",
        ],
    }
    assert "SEVMTE8" not in everything(kept)
    assert "ann" not in everything(kept)


# --- answers that are not what they should be ---------------------------------------------------------------------

DEEP = b'{"a":' * 400 + b"1" + b"}" * 400
ODD: dict[str, tuple[bytes, Any]] = {
    "nothing": (b"", None),
    "text": ("<h1>502 坏</h1>".encode(), "<h1>502 坏</h1>"),
    "a byte order mark": (b"\xef\xbb\xbf{}", {}),
    "a list": (b"[1, null]", [1, None]),
    "cut off": (b'{"a": ', '{"a": '),
    "a key twice": (b'{"a": 1, "a": 2}', '{"a": 1, "a": 2}'),
    "NaN": (b'{"a": NaN}', '{"a": NaN}'),
    "an infinite number": (b'{"a": 1e999}', '{"a": 1e999}'),
    "digits without end": (b"1" * 5000, "1" * 5000),
    "deep": (DEEP, DEEP.decode()),
    "deeper": (b"[" * 100_000, f"{'[' * 10_000}... (100000 bytes)"),
    "no UTF-8": (b"\xff\xd8\xff", {"bytes": 3}),
    "GBK": ("海浪".encode("gbk"), {"bytes": 4}),
    "NUL": (b"\x00\x00\x00\x10ftypisom", {"bytes": 12}),
    "half a character": (b'{"a": "\\ud800"}', {"a": "\ud800"}),
    "a data URI": (b'{"a": "data:image/png;base64,SEVMTE8="}', {"a": "data:image/png;base64,(5 bytes)"}),
    "a long text": (b"x" * 20_000, f"{'x' * 10_000}... (20000 bytes)"),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_answer_is_kept_as_json_or_as_bounded_text(kept: Evidence, told: list[str], name: str) -> None:
    body, shown = ODD[name]
    assert body_of(kept, body) == shown
    assert told == []


def test_an_answer_cannot_speak_to_a_terminal_or_forge_a_line_of_the_log(kept: Evidence) -> None:
    evil = "\x1b[31m\u202e\x9b\n2027-01-01 forged"
    body_of(kept, json.dumps({"a": evil}).encode())
    body_of(kept, evil.encode())
    kept.note(f"status {evil}")
    kept.finish({"success": False, "error": {"message": evil}})
    text = everything(kept)
    assert not {"\x1b", "\u202e", "\x9b"} & set(text)
    assert all(line.startswith("2027-01-15T08:00:00.250Z ") for line in log(kept))


# --- clips --------------------------------------------------------------------------------------------------------

CLIP = clip(100_000)
MARK = CLIP[5000:5064]


def taking(status: int, headers: Mapping[str, str], chunks: Iterator[bytes]) -> bytes:
    return b"".join(chunks)


@pytest.mark.parametrize("status", [200, 206])
def test_of_a_clip_only_its_length_is_kept_even_where_it_is_handed_on(kept: Evidence, status: int) -> None:
    answer = Response(status, {"content-type": "video/mp4", "etag": '"one"'}, b"plain text, as a clip" * 9)
    response = kept.recording(answering(answer))(Request("GET", "https://clips.example/a?Signature=x"), taking)
    assert response.body == answer.body
    assert pages(kept)[0]["answer"] == {"status": status, "headers": dict(answer.headers), "taken": 21 * 9}
    assert "plain" not in everything(kept)


def test_a_clip_that_nobody_takes_as_it_arrives_is_not_kept_either(kept: Evidence) -> None:
    assert body_of(kept, CLIP) == {"bytes": len(CLIP)}


def test_why_a_clip_was_refused_is_kept(kept: Evidence) -> None:
    refused = Response(403, {}, b"<Error><Code>AccessDenied</Code></Error>")
    kept.recording(answering(refused))(GET, taking)
    assert pages(kept)[0]["answer"]["body"] == "<Error><Code>AccessDenied</Code></Error>"


def test_of_a_clip_that_was_cut_it_is_kept_how_much_came(kept: Evidence, tmp_path: Path) -> None:
    target = str(tmp_path / "clip.mp4")
    with serving(ranged(CLIP, cut=30_000), ranged(CLIP)) as server:
        send = kept.recording(http.sender(server.url, lambda: CANARY))
        url = f"http://127.0.0.1:{server.port}/clip.mp4"
        with pytest.raises(Unknown):
            http.download(send, url, target, TASK, lambda _done, _total: None)
        part = http.download(send, url, target, TASK, lambda _done, _total: None).part
    assert part is not None
    assert Path(part).read_bytes() == CLIP
    first, second = pages(kept)
    assert (first["answer"]["status"], first["answer"]["taken"]) == (200, 30_000)
    assert first["unknown"]["code"] == "connection_error"
    assert second["request"]["headers"] == {"Range": "bytes=30000-", "If-Range": '"one"'}
    assert (second["answer"]["status"], second["answer"]["taken"]) == (206, len(CLIP) - 30_000)
    assert not any(MARK in path.read_bytes() for path in Path(kept.folder).iterdir())


# --- secrets ------------------------------------------------------------------------------------------------------

SIGNED = {"OSSAccessKeyId": "LTAI5tSECRET", "Signature": "c2lnbmF0dXJlSECRET=", "policy": "cG9saWN5SECRET"}
GRANT = {"signature": SIGNED["Signature"], "policy": SIGNED["policy"], "oss_access_key_id": SIGNED["OSSAccessKeyId"]}
FORM = Request("POST", "https://up.example", {}, Form(SIGNED | {"key": "dir/a.png"}, LEAF, "a.png"))


def test_what_signs_an_upload_is_redacted_in_its_form(kept: Evidence) -> None:
    page = page_of(kept, FORM, Response(200, {}))
    assert page["request"]["body"] == {
        "fields": dict.fromkeys(SIGNED, "[redacted]") | {"key": "dir/a.png"},
        "filename": "a.png",
        "file": {"file": "cat.png", "mime": "image/png", "bytes": 12, "digest": "d1"},
    }
    assert "SECRET" not in everything(kept)


ECHOES: dict[str, bytes] = {
    "the answer that grants it": json.dumps({"data": GRANT | {"upload_dir": "dir"}}).encode(),
    "that answer, cut off": json.dumps({"data": GRANT}).encode()[:-3],
    "a refusal that quotes it": "".join(
        f"<{name}>{value}</{name}>"
        for name, value in [
            ("Code", "SignatureDoesNotMatch"),
            ("OSSAccessKeyId", SIGNED["OSSAccessKeyId"]),
            ("SignatureProvided", SIGNED["Signature"]),
            ("StringToSign", SIGNED["policy"]),
            ("StringToSignBytes", "SECRET 41 42"),
        ]
    ).encode(),
    "a refusal that is cut off": b"<Code>x</Code><StringToSign>SECRET",
    "a page that quotes the form": f"your form: {SIGNED['Signature']} {SIGNED['policy']}".encode(),
}


@pytest.mark.parametrize("name", ECHOES)
def test_what_signs_an_upload_is_redacted_in_what_servers_say(kept: Evidence, name: str) -> None:
    body_of(kept, ECHOES[name], FORM if name == "a page that quotes the form" else GET)
    text = everything(kept)
    assert "SECRET" not in text
    assert "[redacted]" in text
    assert any(word in text for word in ("upload_dir", "data", "Code", "your form"))


def test_the_final_url_stays_whole_though_it_is_signed(kept: Evidence) -> None:
    url = "https://dashscope-result.oss-cn-beijing.aliyuncs.com/a.mp4?Expires=1&OSSAccessKeyId=LTAI&Signature=c2ln%3D"
    assert body_of(kept, json.dumps({"output": {"video_url": url}}).encode())["output"]["video_url"] == url
    kept.note(f"final URL {url}")
    assert log(kept)[-1].endswith(url)


ODD_KEYS = ['sk-"quoted"-0123', "sk-back\\slash-0123", "sk-\u00fcml\u00e4ut-0123", "sk-<&>-01234567"]


@pytest.mark.parametrize("key", [CANARY, *ODD_KEYS])
def test_the_key_is_nowhere_wherever_it_comes_from(kept: Evidence, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret, "_known", {key})
    body = {key: [key, {"a": f"b{key}c"}], "leaf": Media(f"/a/{key}", "m", 1)}
    request = Request("POST", f"x/{key}", {"X-Echo": key}, body)
    echo = {"etag": f'"{key}"', "x-request-id": key}
    for said in (json.dumps({key: [key]}), json.dumps({"a": key}, ensure_ascii=False), key, f"{'x' * 9_990}{key}"):
        kept.recording(answering(Response(200, echo, said.encode())))(request)
    for fate in (NotSent("timeout", key), Unknown("timeout", key), OSError(key), RawgenaiError("timeout", key)):
        with pytest.raises(type(fate)):
            kept.recording(answering(fate))(request)
    kept.note(f"created with {key}")
    kept.finish({"success": False, "error": {"message": key, key: [key]}})
    written = everything(kept)
    assert len(pages(kept)) == 8
    for spelling in {key, json.dumps(key)[1:-1], json.dumps(key, ensure_ascii=False)[1:-1]}:
        assert spelling not in written
    assert key[:8] not in written


def _echo(connection: Any, request: bytes) -> None:
    head = request.partition(HEAD_END)[0].decode()
    named = f"X-Request-Id: {header(request, 'authorization')}"
    connection.sendall(reply(400, json.dumps({"code": head, "message": head}).encode(), named))


def test_servers_that_echo_the_key_get_it_into_no_file(kept: Evidence, tmp_path: Path) -> None:
    """The hunt after every test (conftest) would find it in any file."""
    page = reply(502, b"")
    with serving(_echo, _echo, page, reset, CREATED, succeeded("https://x.test/a.mp4")) as server:
        settings = of_server(server.url)
        send = kept.recording(http.sender(server.url, settings.api_key.reveal if settings.api_key else str))
        for request in (POST, GET, POST):
            send(request)
        with pytest.raises(Unknown):
            send(POST)
        assert wire.parse_created(send(POST)).task_id == TASK
        assert wire.parse_task(send(GET), TASK).video_url == "https://x.test/a.mp4"
    assert all(CANARY in request.decode() for request in server.requests)
    assert CANARY not in everything(kept)
    echoed = pages(kept)[0]["answer"]
    assert echoed["headers"]["x-request-id"] == "Bearer [redacted]"
    assert "Bearer [redacted]" in echoed["body"]["message"]
    assert [next(iter(page.keys() - {"at", "request", "seconds"})) for page in pages(kept)] == [
        *["answer"] * 3, "unknown", *["answer"] * 2,
    ]  # fmt: skip


# --- a whole run over the emulator --------------------------------------------------------------------------------


def test_a_run_over_the_emulator_leaves_its_whole_story(
    kept: Evidence, told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render, "draw", lambda path, **_: path.write_bytes(CLIP))
    Secret(CANARY)
    (tmp_path / "inputs").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "inputs" / f"{name}.png").write_bytes(corpus.picture("PNG", 400 + ord(name), 400))
    refs = tuple(str(tmp_path / "inputs" / f"{name}.png") for name in ("a", "b", "c"))
    plain = emulator.sender(tmp_path / "emulator", environ={"RAWGENAI_EMULATOR_SECONDS": "0"})
    send = kept.recording(plain)
    settings = Settings(Secret(CANARY), "test", "emulator", "default")

    kept.note("start")
    task = tasks.create(Spec(f"character1 says {CANARY}", refs=refs), settings=settings, send=send)
    kept.note(f"created {task.task_id}")
    target = str(tmp_path / "out.mp4")
    while task.status != "succeeded":
        task = tasks.status(task.task_id, settings=settings, send=send)
    assert Path(tasks.download(task.task_id, target, settings=settings, send=send)).read_bytes() == CLIP
    kept.finish(envelope.success(task_id=task.task_id, file=target))

    story = pages(kept)
    urls = [(page["request"]["method"], page["request"]["url"].partition("?")[0]) for page in story]
    uploads = [page for page in story if "fields" in (page["request"].get("body") or {})]
    assert urls[0] == ("GET", "uploads")
    assert len(uploads) == 3
    assert sorted(page["request"]["body"]["file"]["file"] for page in uploads) == ["a.png", "b.png", "c.png"]
    assert all(len(page["request"]["body"]["file"]["digest"]) == 64 for page in uploads)
    assert urls[4][0] == "POST"
    assert story[4]["answer"]["body"]["output"]["task_id"] == task.task_id
    assert story[4]["request"]["body"]["input"]["prompt"] == "character1 says [redacted]"
    final = story[-2]["answer"]["body"]["output"]["video_url"]
    assert final == task.video_url or "Signature=" in final
    assert story[-1]["request"]["url"] == final
    assert story[-1]["answer"]["taken"] == len(CLIP)
    grant = json.loads(plain(Request("GET", "uploads?action=getPolicy&model=wan2.6-r2v-flash")).body)["data"]
    assert story[0]["answer"]["body"]["data"].keys() == grant.keys()
    for name in ("policy", "signature", "oss_access_key_id"):
        assert story[0]["answer"]["body"]["data"][name] == "[redacted]"
    assert json.loads((Path(kept.folder) / "result.json").read_text()) == {
        "success": True, "task_id": task.task_id, "file": target,
    }  # fmt: skip
    lines = [line.partition(" ")[2] for line in log(kept)]
    assert lines[0] == "start"
    assert f"created {task.task_id}" in lines
    assert lines[-1] == "end: success"
    assert len(lines) == len(story) + 3
    assert told == []
    written = everything(kept)
    assert CANARY not in written
    assert not any(MARK in path.read_bytes() for path in Path(kept.folder).iterdir())
    # The emulator's own folder, and the request that carried the prompt, hold it by this test's own wish.
    for path in (tmp_path / "emulator").rglob("*"):
        if path.is_file():
            path.unlink()


# --- the folder ---------------------------------------------------------------------------------------------------


def test_files_are_0600_in_a_0700_folder_whatever_the_umask(kept: Evidence, tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        again = Evidence(str(tmp_path / "new" / "run"))
        for one in (kept, again):
            one.recording(answering(OK))(GET)
            one.finish({"success": True})
    finally:
        os.umask(old)
    for folder in (Path(kept.folder), Path(again.folder)):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {path.name for path in folder.iterdir()} == {"0001.json", "run.log", "result.json"}
        assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_a_folder_that_others_may_read_is_closed_to_them(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    kept = Evidence(str(tmp_path / "open"))
    assert stat.S_IMODE(os.stat(kept.folder).st_mode) == 0o700


def test_a_second_run_in_a_folder_goes_on_and_overwrites_nothing(kept: Evidence) -> None:
    for _ in range(2):
        kept.recording(answering(OK))(GET)
    again = Evidence(kept.folder, now=lambda: NOW)
    again.recording(answering(OK))(POST)
    assert [page["request"]["method"] for page in pages(kept)] == ["GET", "GET", "POST"]


def test_a_program_that_goes_elsewhere_keeps_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    kept = Evidence("run")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    kept.recording(answering(OK))(GET)
    assert (tmp_path / "run" / "0001.json").is_file()


def test_exchanges_of_many_threads_are_kept_each_in_a_file_of_its_own(kept: Evidence, told: list[str]) -> None:
    together = threading.Barrier(16)

    def send(request: Request, receive: Receive | None = None) -> Response:
        together.wait(20)
        return Response(200, {}, json.dumps({"of": request.url}).encode())

    recorded = kept.recording(send)
    threads = [threading.Thread(target=recorded, args=(Request("GET", f"x/{name}"),)) for name in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    story = pages(kept)
    assert {page["request"]["url"] for page in story} == {f"x/{name}" for name in range(16)}
    assert all(page["answer"]["body"] == {"of": page["request"]["url"]} for page in story)
    assert sorted(line.split()[1] for line in log(kept)) == [f"{number:04d}" for number in range(1, 17)]
    assert told == []


# --- trouble with the disk ------------------------------------------------------------------------------------------


def _no_space(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _be_a_file(folder: Path) -> None:
    folder.rmdir()
    folder.write_text("")


TROUBLES: dict[str, Callable[[pytest.MonkeyPatch, Path], None]] = {
    "no room for a page": lambda patch, _: patch.setattr(files, "write_private", _no_space),
    "no room for anything": lambda patch, _: patch.setattr(subject, "open", _no_space, raising=False),
    "a disk that syncs nothing": lambda patch, _: patch.setattr(os, "fsync", _no_space),
    "a mistake of our own": lambda patch, _: patch.setattr(subject, "_page", lambda *_, **__: 1 / 0),
    "a folder that is a file": lambda _, folder: _be_a_file(folder),
}


@pytest.mark.parametrize("name", TROUBLES)
def test_trouble_is_told_once_and_nothing_is_lost_for_it(
    name: str, kept: Evidence, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    TROUBLES[name](monkeypatch, Path(kept.folder))
    send = kept.recording(answering(OK))
    assert [send(GET), send(POST)] == [OK, OK]
    with pytest.raises(Unknown):
        kept.recording(answering(Unknown("timeout", "late")))(POST)
    assert kept.recording(answering(Response(200, {}, CLIP)))(GET, taking).body == CLIP
    kept.note("still here")
    kept.finish({"success": True})
    assert len(told) == 1
    assert told[0].startswith(f"the evidence in {kept.folder} is not complete: ")


@pytest.mark.parametrize("folder", ["file/x", "a\0", "", "x" * 300], ids=["in a file", "NUL", "empty", "long"])
def test_where_the_folder_cannot_be_had_nothing_is_kept_anywhere(
    folder: str, told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    before, mode = sorted(tmp_path.rglob("*")), tmp_path.stat().st_mode
    kept = Evidence(folder, warn=told.append)
    assert kept.recording(answering(OK))(GET) is OK
    kept.note("x")
    kept.finish({"success": True})
    assert len(told) == 1
    assert (sorted(tmp_path.rglob("*")), tmp_path.stat().st_mode) == (before, mode)


def test_a_disk_that_is_full_for_evidence_alone_costs_no_clip(
    kept: Evidence, told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = files.write_private
    full = lambda path, *rest: _no_space() if str(path).startswith(kept.folder) else write(path, *rest)  # noqa: E731 - two lines would hide it
    monkeypatch.setattr(files, "write_private", full)
    with serving(ranged(CLIP)) as host:
        url = f"http://127.0.0.1:{host.port}/clip.mp4"
        with serving(CREATED, succeeded(url)) as server:
            settings = of_server(server.url)
            send = kept.recording(http.sender(server.url, lambda: CANARY))
            task = tasks.create(Spec("海浪拍打沙滩"), settings=settings, send=send)
            tasks.download(task.task_id, str(tmp_path / "out.mp4"), settings=settings, send=send)
    assert (tmp_path / "out.mp4").read_bytes() == CLIP
    assert server.posts() == 1
    assert len(told) == 1
    assert "No space left" in told[0]


KILLED = """
import sys
from rawgenai.dashscope.evidence import Evidence
from rawgenai.message import Request, Response
kept = Evidence(sys.argv[1])
def send(request, receive=None):
    return Response(200, {}, b'{"a": "%s"}' % (b"x" * 50_000))
recorded = kept.recording(send)
request = Request("POST", "x", {}, {"prompt": "y" * 50_000})
recorded(request)
recorded(request)
print("go", flush=True)  # one is whole, however slow the disk
while True:
    recorded(request)
"""


@pytest.mark.slow
def test_a_program_that_is_killed_at_any_moment_leaves_only_whole_files(tmp_path: Path) -> None:
    for turn in range(6):
        folder = tmp_path / f"run-{turn}"
        with subprocess.Popen([sys.executable, "-c", KILLED, str(folder)], stdout=subprocess.PIPE) as program:
            assert program.stdout is not None
            program.stdout.readline()
            time.sleep(turn * 0.013)
            program.send_signal(signal.SIGKILL)
        found = [json.loads(path.read_text()) for path in folder.glob("*.json")]
        assert found
        assert all(page["request"]["body"]["prompt"] == "y" * 50_000 for page in found)
        lines = (folder / "run.log").read_text().splitlines()
        assert len(found) - 1 <= len(lines) <= len(found)
