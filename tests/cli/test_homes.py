"""A task is asked for in the region that created it: the commands on real sockets, by the regions' real names.

A proxy on this machine carries every name to one TLS server, so what the proxy was asked for is where the key went.
"""

import json
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from invoking import Result, invoke

from faulty import KEY, Act, Server, clip, header, ranged, refuses, says, serving, tunnel
from rawgenai.config import Settings, fingerprint
from rawgenai.ledger import open_ledger
from rawgenai.secret import Secret

pytestmark = [
    pytest.mark.platform,
    pytest.mark.skipif(not shutil.which("openssl"), reason="the certificate is made with the openssl command"),
]
BEIJING, SINGAPORE = "dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com"
FRANKFURT = "ws-1.eu-central-1.maas.aliyuncs.com"
CLIPS = "dashscope-result-bj.oss-cn-beijing.aliyuncs.com"
GATEWAY = "gateway.example.test"
HOSTS = (BEIJING, SINGAPORE, FRANKFURT, CLIPS, GATEWAY)
CLIP = clip(10_000)
AGE = 100.0  # seconds; a younger task that is not found is waited for


class World(NamedTuple):
    """What every name leads to, and who asked for which."""

    server: Server
    proxy: Server
    homes: dict[str, str]  # task -> the host that knows it

    def asked(self) -> list[str]:
        """The hosts that were asked, one after the other, without repeats."""
        hosts = [request.split()[1].decode().removesuffix(":443") for request in self.proxy.requests]
        return list(dict.fromkeys(hosts))

    def given_the_key(self) -> set[str]:
        """The hosts that got the key."""
        return {str(header(each, "host")) for each in self.server.requests if header(each, "authorization")}


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ssl.SSLContext]:
    folder = tmp_path_factory.mktemp("hosts")
    file, key = str(folder / "certificate.pem"), str(folder / "key.pem")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=hosts", "-addext", f"subjectAltName={','.join(f'DNS:{host}' for host in HOSTS)}"]
    command = ["openssl", "req", "-x509", *curve, "-keyout", key, "-out", file, "-days", "30", *names]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key)
    return file, context


def answering(homes: dict[str, str]) -> Act:
    """Answer as the APIs of all regions do: each knows its own tasks alone."""

    def answer(connection: socket.socket, request: bytes) -> None:
        host, (method, path, *_) = header(request, "host"), request.decode("latin-1").split(" ", 2)
        if host == CLIPS:
            return ranged(CLIP)(connection, request)
        task = re.fullmatch(r"/api/v1/tasks/([\w-]+)(/cancel)?", path)
        if task is None:
            connection.sendall(says({"request_id": "request-1", "total": 0, "data": []}))
        elif homes.get(task[1]) != host:
            unknown = {"task_id": task[1], "task_status": "UNKNOWN"}
            connection.sendall(
                refuses(400, "UnsupportedOperation", "no") if task[2] else says({"request_id": "r", "output": unknown})
            )
        elif method == "POST":
            homes[f"{task[1]} canceled"] = ""
            connection.sendall(says({"request_id": "request-3"}))
        else:
            status = "CANCELED" if f"{task[1]} canceled" in homes else "SUCCEEDED"
            output = {"task_id": task[1], "task_status": status, "video_url": f"https://{CLIPS}/{task[1]}.mp4"}
            connection.sendall(says({"request_id": "r", "output": output, "usage": {"duration": 5, "SR": 720}}))
        return None

    return answer


@pytest.fixture
def world(certificate: tuple[str, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    file, context = certificate
    homes: dict[str, str] = {}
    with serving(answering(homes), context=context) as server, serving(tunnel(server.port)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("SSL_CERT_FILE", file)
        monkeypatch.setenv("DASHSCOPE_API_KEY", KEY)
        yield World(server, proxy, homes)


def created(world: World, task: str, host: str, base_url: str | None = None, output: str | None = None) -> None:
    """Have a task created at a host, by what the ledger says."""
    world.homes[task] = host
    url = base_url or f"https://{host}/api/v1"
    with open_ledger(now=lambda: time.time() - AGE) as book:
        account = fingerprint(Settings(Secret(KEY), "test", url, "test"))
        row = book.intend(
            provider="dashscope",
            model="wan2.6-t2v",
            mode="t2v",
            prompt="A kitten",
            base_url=url,
            account=account,
            output=output,
        )
        book.accept(row, task)


def video(command: str, *argv: str) -> Result:
    return invoke("dashscope", "video", command, *argv)


COMMANDS: dict[str, tuple[str, ...]] = {
    "status": ("task-b",),
    "wait": ("task-b",),
    "download": ("task-b", "-o", "cat.mp4"),
    "cancel": ("task-b",),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("home", "elsewhere"),
    [
        (BEIJING, {"DASHSCOPE_REGION": "singapore"}),
        (SINGAPORE, {}),
        (BEIJING, {"DASHSCOPE_BASE_URL": f"https://{SINGAPORE}/api/v1"}),
        (FRANKFURT, {"DASHSCOPE_REGION": "singapore"}),
        (SINGAPORE, {"DASHSCOPE_REGION": "frankfurt", "DASHSCOPE_WORKSPACE": "ws-1"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "/".join(value.values()) or "default",
)
def test_the_region_that_created_a_task_is_asked_for_it(  # noqa: PLR0917 - two tables crossed, and three fixtures
    command: str, home: str, elsewhere: dict[str, str], world: World, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in elsewhere.items():
        monkeypatch.setenv(name, value)
    created(world, "task-b", home)
    result = video(command, *COMMANDS[command])
    assert (result.status, result.envelope["task_id"]) == (0, "task-b")
    assert world.asked() == ([home, CLIPS] if command == "download" else [home])
    assert world.given_the_key() == {home}
    if command == "download":
        assert (folder / "cat.mp4").read_bytes() == CLIP


@pytest.mark.parametrize("command", COMMANDS)
def test_a_region_that_is_named_is_asked_whatever_the_ledger_says(command: str, world: World, folder: Path) -> None:
    created(world, "task-b", BEIJING)
    result = video(command, *COMMANDS[command], "--region", "singapore")
    assert (result.status, result.code) == (1, "task_not_found")
    assert world.asked() == [SINGAPORE]
    said = result.envelope["error"]["message"]
    assert f"the ledger says that it was created at https://{BEIJING}/api/v1: --region beijing" in said


@pytest.mark.parametrize("command", COMMANDS)
def test_beside_a_region_that_is_named_no_setting_matters(
    command: str, world: World, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASHSCOPE_REGION", "frankfurt")  # where only workspaces have hosts
    world.homes["task-b"] = SINGAPORE
    more = ("-o", "cat.mp4") if command == "wait" else ()
    assert video(command, *COMMANDS[command], *more, "--region", "singapore").status == 0
    assert world.given_the_key() == {SINGAPORE}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_task_that_the_ledger_does_not_know_is_asked_for_where_the_settings_say(
    command: str, world: World, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASHSCOPE_REGION", "singapore")
    world.homes["task-b"] = SINGAPORE
    assert video(command, *COMMANDS[command]).status == 0
    assert world.given_the_key() == {SINGAPORE}


def test_one_wait_asks_each_tasks_own_region(world: World, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHSCOPE_REGION", "singapore")
    homes = {"task-a": BEIJING, "task-b": SINGAPORE, "task-c": FRANKFURT}
    for task, host in homes.items():
        created(world, task, host)
    (folder / "clips").mkdir()
    result = video("wait", *homes, "-o", "clips/{task_id}.mp4", "--poll-interval", "0.1")
    lines = [json.loads(line) for line in result.out.splitlines()]
    assert {line["task_id"]: line["status"] for line in lines} == dict.fromkeys(homes, "succeeded")
    asked = [(str(header(each, "host")), each.split()[1].decode()) for each in world.server.requests]
    assert {(host, path) for host, path in asked if host != CLIPS} == {
        (host, f"/api/v1/tasks/{task}") for task, host in homes.items()
    }
    assert all((folder / "clips" / f"{task}.mp4").read_bytes() == CLIP for task in homes)


def test_a_refused_key_says_that_the_ledger_named_the_region(
    world: World, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    created(world, "task-b", BEIJING)
    monkeypatch.setenv("DASHSCOPE_REGION", "singapore")
    world.server.script[:] = [refuses(401, "InvalidApiKey", "Invalid API-key provided.")]
    for command, argv in COMMANDS.items():
        result = video(command, *argv)
        assert (result.status, result.code) == (3, "invalid_api_key")
        said = result.envelope["error"]["message"]
        assert "region beijing" in said
        assert "that is where the ledger says that it was created" in said


# --- whom the key is never sent to, whatever the ledger says --------------------------------------------------------


@pytest.mark.parametrize(
    "base_url",
    [
        f"https://{GATEWAY}/api/v1",  # configured once, and not any more
        f"https://{BEIJING}@{GATEWAY}/api/v1",
        f"https://{GATEWAY}/{BEIJING}/api/v1",
        f"https://{GATEWAY}\\@{BEIJING}/api/v1",
        f"http://{BEIJING}/api/v1",
        f"https://{BEIJING}:8443/api/v1",
        f"https://{BEIJING}.example.test/api/v1",
        "https://[::1",
        "nonsense",
    ],
)
def test_a_host_that_is_no_regions_never_gets_the_key(
    base_url: str, world: World, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASHSCOPE_REGION", "singapore")
    created(world, "task-b", GATEWAY, base_url)
    for command, argv in COMMANDS.items():
        assert video(command, *argv).code == "task_not_found"
    assert world.given_the_key() == {SINGAPORE}
    assert world.asked() == [SINGAPORE]


def test_what_listens_on_this_machine_now_is_not_given_a_real_key(
    world: World, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASHSCOPE_REGION", "singapore")
    with serving(answering({"task-b": "any"})) as stranger:
        created(world, "task-b", SINGAPORE, stranger.url)
        for command, argv in COMMANDS.items():
            assert video(command, *argv).status == 0
    assert stranger.connections == 0


def test_a_gateway_stands_for_all_regions(world: World, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHSCOPE_BASE_URL", f"https://{GATEWAY}/api/v1")
    created(world, "task-b", GATEWAY, f"https://{BEIJING}/api/v1")
    for command, argv in COMMANDS.items():
        assert video(command, *argv).status == 0
    assert world.given_the_key() == {GATEWAY}


def test_a_server_on_this_machine_stands_for_all_regions(
    world: World, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    homes = {"task-b": "here"}
    with serving(answering(homes)) as server:
        homes["task-b"] = f"127.0.0.1:{server.port}"
        monkeypatch.setenv("DASHSCOPE_BASE_URL", server.url)
        created(world, "task-b", BEIJING)
        assert video("status", "task-b").envelope["status"] == "succeeded"
        assert video("status", "task-b", "--region", "beijing").envelope["status"] == "succeeded"
    assert (world.proxy.connections, server.connections) == (0, 2)


# --- the emulator ---------------------------------------------------------------------------------------------------


def test_a_task_of_the_emulator_is_asked_of_the_emulator_without_any_key(
    world: World, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAWGENAI_EMULATOR_SECONDS", "0")
    monkeypatch.setenv("DASHSCOPE_BASE_URL", "emulator")
    task = video("create", "A kitten").envelope["task_id"]
    monkeypatch.delenv("DASHSCOPE_BASE_URL")
    for key in (KEY, ""):
        monkeypatch.setenv("DASHSCOPE_API_KEY", key)
        assert video("status", task).envelope["task_id"] == task
    assert video("wait", task, "--poll-interval", "0").envelope["status"] == "succeeded"
    assert world.proxy.connections == 0


def test_under_the_emulator_no_region_is_asked_for_a_real_task(
    world: World, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    created(world, "task-b", BEIJING)
    monkeypatch.setenv("DASHSCOPE_BASE_URL", "emulator")
    result = video("status", "task-b")
    assert result.code == "task_not_found"
    assert f"DASHSCOPE_BASE_URL=https://{BEIJING}/api/v1" in result.envelope["error"]["message"]
    assert world.proxy.connections == 0


# --- what list and recover say of other regions ---------------------------------------------------------------------


def test_list_remote_says_whose_status_is_not_the_apis(
    world: World, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    created(world, "task-a", BEIJING)
    created(world, "task-b", SINGAPORE)
    created(world, "task-c", FRANKFURT)
    created(world, "task-d", SINGAPORE)
    with open_ledger() as book:
        book.update("task-d", status="succeeded")  # which stays so
    result = video("list", "--remote")
    assert [task["task_id"] for task in result.envelope["tasks"]] == ["task-d", "task-c", "task-b", "task-a"]
    assert "of 2 tasks at other base URLs the status is what the ledger knows" in result.err
    assert f"https://{SINGAPORE}/api/v1: --region singapore" in result.err
    assert f"https://{FRANKFURT}/api/v1: DASHSCOPE_BASE_URL=https://{FRANKFURT}/api/v1" in result.err
    assert world.asked() == [BEIJING]


def test_list_says_nothing_where_all_is_asked(world: World, folder: Path) -> None:
    created(world, "task-a", BEIJING)
    assert (video("list", "--remote").err, video("list").err) == ("", "")


@pytest.mark.parametrize("remote", [(), ("--remote",)], ids=["ledger", "remote"])
def test_list_of_a_region_has_its_tasks_alone(remote: tuple[str, ...], world: World, folder: Path) -> None:
    created(world, "task-a", BEIJING)
    created(world, "task-b", SINGAPORE)
    created(world, "task-c", BEIJING)
    result = video("list", "--region", "singapore", "--limit", "1", *remote)
    assert [task["task_id"] for task in result.envelope["tasks"]] == ["task-b"]
    assert result.err == ""
    assert world.asked() == ([SINGAPORE] if remote else [])


def test_recover_says_which_clips_it_did_not_fetch_and_how_to(world: World, folder: Path) -> None:
    created(world, "task-a", BEIJING, output=str(folder / "a.mp4"))
    created(world, "task-b", SINGAPORE, output=str(folder / "b.mp4"))
    result = video("recover")
    assert [each["task_id"] for each in result.envelope["delivered"]] == ["task-a"]
    assert result.envelope["elsewhere"] == [{"task_id": "task-b", "base_url": f"https://{SINGAPORE}/api/v1"}]
    said = f"1 clip was not fetched, from https://{SINGAPORE}/api/v1: recover with --region singapore"
    assert said in result.err.splitlines()
    assert SINGAPORE not in world.asked()

    again = video("recover", "--region", "singapore")
    assert [each["task_id"] for each in again.envelope["delivered"]] == ["task-b"]
    assert "elsewhere" not in again.envelope
    assert (folder / "b.mp4").read_bytes() == CLIP
