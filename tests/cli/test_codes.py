"""Every code that a command line can end with, reached by one, as a process: exit status, envelope, empty stdout."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import pytest

from rawgenai.emulator import sender
from rawgenai.errors import CODES
from rawgenai.message import Request, Send

pytestmark = pytest.mark.slow  # about a hundred processes

CREATE = ("dashscope", "video", "create")
STATUS = ("dashscope", "video", "status")
DOWNLOAD = ("dashscope", "video", "download")
MOONLIGHT = (*CREATE, "a kitten")
TO = ("-o", "out.mp4")


class Case(NamedTuple):
    """A command line and how it ends. ``{words}`` in it stand for what the fixture knows."""

    code: str
    status: int
    argv: tuple[str, ...]
    environ: dict[str, str] = {}  # noqa: RUF012 - no case changes it
    stdin: bytes | None = None


REAL = {"DASHSCOPE_BASE_URL": "http://127.0.0.1:{port}/api/v1", "DASHSCOPE_API_KEY": "sk-test"}
CLOSED = {"DASHSCOPE_BASE_URL": "http://127.0.0.1:{closed}/api/v1", "DASHSCOPE_API_KEY": "sk-test"}
CASES = [
    # The command line.
    Case("missing_api_key", 3, MOONLIGHT, {"DASHSCOPE_BASE_URL": ""}),
    Case("missing_prompt", 2, CREATE),
    Case("missing_prompt", 2, CREATE, stdin=b" \n"),
    Case("missing_task_id", 2, STATUS),
    Case("missing_task_id", 2, (*DOWNLOAD, "", *TO)),
    Case("missing_output", 2, (*DOWNLOAD, "t")),
    Case("file_not_found", 2, (*CREATE, "-f", "nowhere.txt")),
    Case("file_not_found", 2, (*MOONLIGHT, "--audio-url", "nowhere.wav")),
    Case("image_not_found", 2, (*CREATE, "-i", "nowhere.jpg")),
    Case("image_read_error", 2, (*CREATE, "-i", ".")),
    Case("image_read_error", 2, (*CREATE, "--first-frame", ".")),
    Case("first_frame_not_found", 2, (*CREATE, "--first-frame", "nowhere.jpg")),
    Case("last_frame_not_found", 2, (*CREATE, "--first-frame", "a.jpg", "--last-frame", "nowhere.jpg")),
    Case("last_frame_requires_first", 2, (*MOONLIGHT, "--last-frame", "a.jpg")),
    Case("conflicting_input_flags", 2, (*MOONLIGHT, "--image", "a.jpg", "--ref", "a.jpg")),
    Case("missing_ref", 2, (*MOONLIGHT, "--ref", "")),
    Case("missing_ref", 2, (*MOONLIGHT, "--ref")),
    Case("too_many_refs", 2, (*MOONLIGHT, *("--ref", "a.jpg") * 6)),
    Case("too_many_ref_videos", 2, (*MOONLIGHT, *("--ref", "https://example.com/a.mp4") * 4)),
    Case("ref_not_found", 2, (*MOONLIGHT, "--ref", "nowhere.jpg")),
    Case("ref_read_error", 2, (*MOONLIGHT, "--ref", ".")),
    Case("invalid_model", 2, (*MOONLIGHT, "-m", "wan9")),
    Case("invalid_resolution", 2, (*MOONLIGHT, "-r", "480P")),
    Case("invalid_duration", 2, (*MOONLIGHT, "-d", "16")),
    Case("invalid_duration", 2, (*MOONLIGHT, "-d", "abc")),
    Case("invalid_ratio", 2, (*MOONLIGHT, "--ratio", "1:1")),
    Case("invalid_format", 2, (*DOWNLOAD, "t", "-o", "out.avi")),
    Case("incompatible_audio", 2, (*MOONLIGHT, "--audio")),
    Case(
        "incompatible_audio_url", 2, (*MOONLIGHT, "-m", "wan2.2-t2v-plus", "-r", "480P", "--audio-url", "https://x/a")
    ),
    Case("incompatible_shot_type", 2, (*MOONLIGHT, "-m", "wan2.5-t2v-preview", "--shot-type", "multi")),
    Case("incompatible_no_audio", 2, (*MOONLIGHT, "--no-audio")),
    Case("output_write_error", 2, (*DOWNLOAD, "t", "-o", "nowhere/out.mp4")),
    Case("output_write_error", 2, MOONLIGHT, {"XDG_STATE_HOME": "{folder}/a.jpg"}),  # no ledger, no POST
    # The API.
    Case("invalid_api_key", 3, (*CREATE, "emulator:refuse=InvalidApiKey")),
    Case("invalid_request", 1, (*CREATE, "emulator:refuse=InvalidParameter")),
    Case("content_policy", 1, (*CREATE, "emulator:refuse=DataInspectionFailed")),
    Case("content_policy", 1, (*STATUS, "{rude}")),
    Case("task_not_found", 1, (*STATUS, "0385dc79-5ff8-4d82-bcb6-7b2bbf2b1a24")),
    Case("rate_limit", 4, (*CREATE, "emulator:retry-after=999")),
    Case("server_error", 6, (*CREATE, "emulator:html")),
    Case("server_error", 1, (*STATUS, "{broken}")),
    Case("server_error", 4, (*STATUS, "busy"), REAL),
    Case("wait_timeout", 5, ("dashscope", "video", "wait", "{fresh}", "--timeout", "0")),
    Case("over_budget", 2, (*MOONLIGHT, "--max-cost", "1")),
    Case("task_not_cancelable", 1, ("dashscope", "video", "cancel", "{rude}")),
    Case("access_denied", 3, (*CREATE, "emulator:refuse=AccessDenied.Unpurchased")),
    # Download.
    Case("video_not_ready", 5, (*DOWNLOAD, "{fresh}", *TO)),
    Case("video_failed", 1, (*DOWNLOAD, "{rude}", *TO)),
    Case("no_video", 1, (*DOWNLOAD, "{empty}", *TO)),
    Case("url_expired", 1, (*DOWNLOAD, "{expired}", *TO)),
    Case("download_error", 4, (*DOWNLOAD, "done", *TO), REAL),
    Case("connection_error", 6, (*CREATE, "emulator:reset")),
    Case("connection_error", 4, (*STATUS, "t"), CLOSED),
    Case("timeout", 6, (*CREATE, "emulator:hang")),
    Case("timeout", 4, (*STATUS, "slow"), {**REAL, "RAWGENAI_TIMEOUT": "0.05"}),
    # Beyond the specification.
    Case("invalid_usage", 2, (*MOONLIGHT, "--fast")),
    Case("invalid_usage", 2, ("dashscope", "video", "make")),
    Case("invalid_usage", 2, (*MOONLIGHT, "--size", "960*960", "-r", "720P")),
    Case("invalid_usage", 2, ("dashscope", "emulator", "--port", "{port}")),  # the fixture's own server has it
    Case("invalid_usage", 2, ("dashscope", "emulator", "--port", "70000")),
    Case("invalid_seed", 2, (*MOONLIGHT, "--seed", "-1")),
    Case("invalid_size", 2, (*MOONLIGHT, "--size", "1*1")),
    Case("invalid_shot_type", 2, (*MOONLIGHT, "--shot-type", "one")),
    Case("invalid_image", 2, (*CREATE, "-i", "text.jpg")),
    Case("invalid_ref", 2, (*MOONLIGHT, "--ref", "text.jpg")),
    Case("invalid_audio", 2, (*MOONLIGHT, "--audio-url", "text.jpg")),
    Case("invalid_prompt", 2, CREATE, stdin=b"\xff\xfe"),
    Case("incompatible_prompt_extend", 2, (*MOONLIGHT, "--ref", "a.jpg", "--prompt-extend")),
    Case("prompt_too_long", 2, (*CREATE, "a" * 1501, "--strict")),
    Case("invalid_task_id", 2, (*STATUS, "../t")),
    Case("invalid_key", 2, ("config", "get", "colour")),
    Case("config_error", 3, MOONLIGHT, {"DASHSCOPE_BASE_URL": "http://example.com/api/v1"}),
    Case("missing_extra", 2, (*DOWNLOAD, "{ready}", *TO), {"PYTHONPATH": "{folder}/without"}),
    Case("internal_error", 1, (*STATUS, "t"), {**CLOSED, "PYTHONPATH": "{folder}/broken"}),
]
# Tasks of the emulator that the cases ask for: name -> prompt, how often it was asked for before.
TASKS = {
    "fresh": ("a kitten", 0),
    "ready": ("a kitten", 3),
    "rude": ("emulator:fail=DataInspectionFailed", 3),
    "broken": ("emulator:fail=InternalError", 3),
    "empty": ("emulator:no-video", 3),
    "expired": ("emulator:expire", 3),
}
Outcome = subprocess.CompletedProcess[bytes]


class _Api(BaseHTTPRequestHandler):
    """What the emulator is never asked to do to a status: it is busy, slow, or names a clip that nobody gives."""

    def do_GET(self) -> None:
        if self.path.endswith("/slow"):
            time.sleep(0.2)
        output = {"task_id": "done", "task_status": "SUCCEEDED", "video_url": f"http://{self.headers['Host']}/clip"}
        self.send_response(503 if self.path.endswith("/busy") else 400 if self.path == "/clip" else 200)
        self.send_header("Retry-After", "99")
        body = json.dumps({"output": output}).encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def api() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Api) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture(scope="module")
def closed_port() -> Iterator[int]:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from PIL import Image

    folder = tmp_path_factory.mktemp("codes")
    Image.new("RGB", (640, 480)).save(folder / "a.jpg")
    (folder / "text.jpg").write_text("this is no picture")
    for name, module, line in (("without", "av", "raise ImportError"), ("broken", "httpx", "raise ZeroDivisionError")):
        (folder / name).mkdir()
        (folder / name / f"{module}.py").write_text(line)
    return folder


@pytest.fixture(scope="module")
def environ(folder: Path) -> dict[str, str]:
    """A home of its own: this fixture comes before the sealed one."""
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "LANG") if name in os.environ}
    return {
        **kept,
        "HOME": str(folder),
        "USERPROFILE": str(folder),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "XDG_STATE_HOME": str(folder / "state"),
        "DASHSCOPE_BASE_URL": "emulator",
        "RAWGENAI_EMULATOR_SECONDS": "0",
    }


def booked(send: Send, prompt: str, asked: int) -> str:
    """Create a task and ask for it that often."""
    url = "services/aigc/video-generation/video-synthesis"
    body = {"model": "wan2.6-t2v", "input": {"prompt": prompt}}
    answer = send(Request("POST", url, {"X-DashScope-Async": "enable"}, body))
    task_id = str(json.loads(answer.body)["output"]["task_id"])
    for _ in range(asked):
        send(Request("GET", f"tasks/{task_id}"))
    return task_id


@pytest.fixture(scope="module")
def outcomes(folder: Path, environ: dict[str, str], api: int, closed_port: int) -> Iterator[list[Future[Outcome]]]:
    """Every case, run as a process, several at a time."""
    send = sender(environ=environ)
    known: dict[str, Any] = {name: booked(send, *task) for name, task in TASKS.items()}
    known |= {"folder": folder, "port": api, "closed": closed_port}

    def execute(case: Case) -> Outcome:
        argv = [sys.executable, "-m", "rawgenai", *(word.format(**known) for word in case.argv)]
        environment = environ | {name: value.format(**known) for name, value in case.environ.items()}
        stdin: dict[str, Any] = {"stdin": subprocess.DEVNULL} if case.stdin is None else {"input": case.stdin}
        return subprocess.run(argv, cwd=folder, env=environment, capture_output=True, timeout=60, check=False, **stdin)

    with ThreadPoolExecutor(6) as pool:
        yield [pool.submit(execute, case) for case in CASES]


@pytest.mark.parametrize("number", range(len(CASES)), ids=[f"{case.code}-{case.status}" for case in CASES])
def test_a_code_is_reached_by_a_command_line(outcomes: list[Future[Outcome]], number: int) -> None:
    case, done = CASES[number], outcomes[number].result()
    assert done.stdout == b""
    lines = done.stderr.decode().splitlines()
    envelope = json.loads(lines[-1])
    error = envelope["error"]
    assert (list(envelope), envelope["success"]) == (["success", "error"], False)
    assert (error["code"], done.returncode) == (case.code, case.status)
    assert list(error)[:2] == ["code", "message"]
    assert error.keys() <= {"code", "message", "api_code", "request_id", "task_id", "outcome"}
    assert error["message"]
    assert ("outcome" in error) is (case.status == 6)
    assert not any(line.startswith("Traceback") or "sk-test" in line for line in lines)


def test_every_code_is_reached_or_belongs_to_a_later_issue() -> None:
    assert {case.code for case in CASES} == set(CODES)


def test_no_refusal_left_a_file_behind(outcomes: list[Future[Outcome]], folder: Path) -> None:
    for outcome in outcomes:
        outcome.result()
    assert {file.name for file in folder.iterdir()} <= {"a.jpg", "text.jpg", "without", "broken", "config", "state"}
