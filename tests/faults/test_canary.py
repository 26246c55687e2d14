"""The API key goes to the API's own host and nowhere else, whatever servers echo (design section 6)."""

import json
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from conftest import leaks
from faulty import (
    CLOSE,
    CREATE,
    CREATED,
    HEAD_END,
    KEY,
    STATUS,
    TASK,
    Run,
    Step,
    clip,
    command,
    download_to,
    environ,
    hang,
    header,
    ranged,
    rawgenai,
    reply,
    says,
    serving,
    succeeded,
)
from rawgenai import cli
from rawgenai.ledger import Ledger

CLIP = clip(1_000)


def findings(run: Run, folder: Path, allowed: set[Path], own: Iterable[bytes], foreign: Iterable[bytes]) -> list[str]:
    """Name the places where the key is and may not be."""
    key = KEY.encode()
    places = {
        "stdout": KEY in run.stdout,
        "stderr": KEY in run.stderr,
        "a file": bool(leaks(folder, allowed)),
        "a foreign request": any(key in request for request in foreign),
        "the API's own request, twice or elsewhere": any(
            request.count(key) != 1 or header(request, "authorization") != f"Bearer {KEY}" for request in own
        ),
    }
    return [place for place, found in places.items() if found]


def _echo(answer: Callable[[str], bytes]) -> Step:
    """Answer with what the request's headers say."""

    def step(connection: socket.socket, request: bytes) -> None:
        connection.sendall(answer(request.partition(HEAD_END)[0].decode()))

    return step


def _refuse(status: int) -> Step:
    return _echo(
        lambda head: says({"code": f"Bad.{header(head.encode(), 'authorization')}", "message": f"bad: {head}"}, status)
    )


class Scene(NamedTuple):
    """A command, what the API answers, and what the clip's host does."""

    arguments: tuple[str, ...]
    api: tuple[Step, ...]
    host: Step = CLOSE


FAILED = {"task_id": TASK, "task_status": "FAILED"}
DONE = {"task_id": TASK, "task_status": "SUCCEEDED", "video_url": "https://clips.example.test/a"}
DOWNLOAD = download_to("cat.mp4")
SCENES = {
    "create": Scene(CREATE, (CREATED,)),
    "create, headers echoed by a refusal": Scene(CREATE, (_refuse(400),)),
    "create, headers echoed by a 401": Scene(CREATE, (_refuse(401),)),
    "create, headers echoed by a failure": Scene(CREATE, (_refuse(500),)),
    "create, headers echoed as HTML": Scene(CREATE, (_echo(lambda head: reply(502, head.encode())),)),
    "create, headers echoed as no HTTP": Scene(CREATE, (_echo(lambda head: head.encode()),)),
    "create, headers echoed as a header": Scene(
        CREATE, (_echo(lambda head: reply(302, b"", f"Location: /?{header(head.encode(), 'authorization')}")),)
    ),
    "create, closed": Scene(CREATE, (CLOSE,)),
    "create, hanging": Scene(CREATE, (hang,)),
    "status": Scene(STATUS, (says({"output": DONE}),)),
    "status, headers echoed by a refusal": Scene(STATUS, (_refuse(400),)),
    "status, headers echoed by a failure": Scene(STATUS, (_refuse(500),)),
    "status, headers echoed by a failed task": Scene(
        STATUS, (_echo(lambda head: says({"request_id": head, "output": {**FAILED, "code": head, "message": head}})),)
    ),
    "status, headers echoed as prompts": Scene(
        (*STATUS, "-v"),
        (_echo(lambda head: says({"output": {**DONE, "orig_prompt": head, "actual_prompt": json.dumps(head)}})),),
    ),
    "status, headers echoed in the clip's URL": Scene(
        (*STATUS, "-v"), (_echo(lambda head: says({"output": {**DONE, "video_url": f"https://x.test/{head}"}})),)
    ),
    "download": Scene(DOWNLOAD, (), ranged(CLIP)),
    "download, headers echoed by a refusal": Scene(DOWNLOAD, (), _echo(lambda head: reply(403, head.encode()))),
    "download, headers echoed as a code": Scene(
        DOWNLOAD, (), _echo(lambda head: reply(400, f"<Code>{header(head.encode(), 'authorization')}</Code>".encode()))
    ),
    "download, headers echoed as the clip": Scene(DOWNLOAD, (), _echo(lambda head: reply(200, head.encode()))),
    "download, cut": Scene(DOWNLOAD, (), ranged(CLIP, cut=500)),
    "download, headers echoed by the API": Scene(DOWNLOAD, (_refuse(400),)),
    "dry run": Scene((*CREATE, "--dry-run"), (CREATED,)),
    "dry run as curl": Scene((*CREATE, "--dry-run=curl"), (CREATED,)),
    "config list": Scene(("config", "list", "--verbose"), (CREATED,)),
    "config get": Scene(("config", "get", "dashscope_api_key", "-v"), (CREATED,)),
    "an option that does not exist": Scene((*CREATE, "--key", KEY), (CREATED,)),
}


WAITING = ("create, hanging", "status, headers echoed by a failure", "download, cut")  # for real


@pytest.mark.parametrize("name", [name for name in SCENES if name not in WAITING])
def test_the_key_is_nowhere_but_in_the_apis_own_authorization(
    name: str,
    tmp_path: Path,
    key_homes: set[Path],
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    monkeypatch.chdir(tmp_path)
    scene = SCENES[name]
    before = signal.getsignal(signal.SIGTERM)
    with serving(scene.host) as host, serving(*(scene.api or (succeeded(f"{host.url}/cat.mp4"),))) as server:
        for variable, value in environ(server.url, RAWGENAI_DEBUG="1").items():
            monkeypatch.setenv(variable, value)
        status = cli.run(scene.arguments)
    signal.signal(signal.SIGTERM, before)
    printed = capfdbinary.readouterr()
    run = Run(status, printed.out.decode(), printed.err.decode())
    assert findings(run, tmp_path, key_homes, server.requests, host.requests) == []
    assert ("Traceback" in run.stderr) == bool(status)


@pytest.mark.slow
@pytest.mark.parametrize("debug", ["0", "1"])
@pytest.mark.parametrize("name", SCENES)
def test_the_key_is_nowhere_but_in_the_apis_own_authorization_as_a_process(
    name: str, debug: str, tmp_path: Path, key_homes: set[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scene = SCENES[name]
    with serving(scene.host) as host, serving(*(scene.api or (succeeded(f"{host.url}/cat.mp4"),))) as server:
        run = rawgenai(server.url, *scene.arguments, RAWGENAI_DEBUG=debug, RAWGENAI_TIMEOUT="1")
    assert findings(run, tmp_path, key_homes, server.requests, host.requests) == []
    assert run.stdout or run.stderr
    assert ("Traceback" in run.stderr) == (debug == "1" and run.status != 0)


def test_the_key_on_stdin_is_in_the_config_file_alone(tmp_path: Path, key_homes: set[Path]) -> None:
    run = subprocess.run(
        command("config", "set", "dashscope_api_key", "-"),
        env=environ("emulator"),
        input=KEY,
        capture_output=True,
        check=True,
        text=True,
    )
    assert KEY in (tmp_path / "config" / "rawgenai" / "config.json").read_text()
    assert findings(Run(0, run.stdout, run.stderr), tmp_path, key_homes, (), ()) == []


# --- the check itself ---------------------------------------------------------------------------------------------

GOOD = f"POST /api/v1/x HTTP/1.1\r\nAuthorization: Bearer {KEY}\r\n\r\n{{}}".encode()
PLANTED = {
    "stdout": {"stdout": f'{{"message": "{KEY}"}}'},
    "stderr": {"stderr": f"Traceback ... Bearer {KEY}"},
    "a file": {"file": KEY},
    "a foreign request": {"foreign": f"GET /cat.mp4 HTTP/1.1\r\nAuthorization: Bearer {KEY}\r\n\r\n"},
    "the API's own request, twice or elsewhere": {"own": GOOD.decode() + KEY},
}


@pytest.mark.parametrize("place", PLANTED)
def test_the_check_goes_red_where_the_key_is_planted(place: str, tmp_path: Path, key_homes: set[Path]) -> None:
    seed = PLANTED[place]
    file = tmp_path / "state" / "planted"
    if "file" in seed:
        file.parent.mkdir()
        file.write_text(seed["file"])
    found = findings(
        Run(1, seed.get("stdout", ""), seed.get("stderr", "")),
        tmp_path,
        key_homes,
        [seed["own"].encode() if "own" in seed else GOOD],
        [seed.get("foreign", "").encode()],
    )
    file.unlink(missing_ok=True)  # or conftest's own hunt finds it too
    assert found == [place]


def test_the_check_finds_the_key_in_the_ledger(tmp_path: Path, key_homes: set[Path]) -> None:
    path = tmp_path / "state" / "rawgenai" / "tasks.db"
    with Ledger(str(path)) as ledger:
        ledger.intend(provider="dashscope", model="m", mode="t2v", prompt=None, base_url="https://x")
    with closing(sqlite3.connect(path)) as db, db:  # behind the ledger's back, which would redact it
        db.execute("UPDATE tasks SET base_url = ?", (f"https://x/{KEY}",))
    found = findings(Run(0, "", ""), tmp_path, key_homes, (), ())
    path.unlink()
    assert found == ["a file"]
