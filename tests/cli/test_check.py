"""``check``: one read-only question, what it says of each answer, and who gets the key."""

import inspect
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from invoking import invoke
from terminal import COLUMNS, at_terminal, play

from faulty import CLOSE, KEY, Step, closed_port, hang, header, rawgenai, refuses, reply, says, serving
from rawgenai import config
from rawgenai.config import Settings
from rawgenai.dashscope import checking, tasks
from rawgenai.errors import RawgenaiError
from rawgenai.message import Request, Response, Send
from rawgenai.regions import REGIONS
from rawgenai.secret import Secret

CHECK = ("dashscope", "check")
MASKED = config.mask(KEY)
TAKEN = says({"request_id": "request-1", "total": 0, "data": []})
REFUSED = refuses(401, "InvalidApiKey", "Invalid API-key provided.")
ALL = "--all-regions"


def test_a_key_that_is_taken_is_a_success_by_one_question() -> None:
    with serving(TAKEN) as server:
        run = rawgenai(server.url, *CHECK)
    assert (run.status, run.stderr) == (0, "")
    assert run.envelope == {
        "success": True,
        "key": MASKED,
        "key_source": "environment DASHSCOPE_API_KEY",
        "base_url": server.url,
        "base_url_source": "environment DASHSCOPE_BASE_URL",
        "reachable": True,
        "accepted": True,
    }
    (request,) = server.requests
    assert request.startswith(b"GET /api/v1/tasks/?page_size=1 HTTP")
    assert header(request, "authorization") == f"Bearer {KEY}"


def test_an_account_without_any_tasks_is_taken_for_what_it_is() -> None:
    with serving(says({"request_id": "request-1"})) as server:
        assert rawgenai(server.url, *CHECK).status == 0


class Fake:
    """Stands in for the hosts by their real names: what each answers, and what it was sent with."""

    def __init__(self, **steps: Any) -> None:
        self.steps = steps  # region -> HTTP status, or an error's code
        self.asked: list[str] = []

    def sender(self, settings: Settings) -> Send:
        assert settings.api_key is not None
        host = urlsplit(settings.base_url).hostname
        region = next((row.name for row in REGIONS.values() if row.host == host), "elsewhere")

        def send(request: Request, receive: object = None) -> Response:
            assert (request.method, request.url, request.body) == ("GET", "tasks/?page_size=1", None)
            self.asked.append(settings.base_url)
            status = self.steps[region]
            if isinstance(status, str):
                raise RawgenaiError(status)
            return Response(status, {}, json.dumps({"request_id": "r"}).encode())

        return send


def settings(base_url: str = "https://dashscope.aliyuncs.com/api/v1", source: str = "default") -> Settings:
    return Settings(Secret(KEY), "environment DASHSCOPE_API_KEY", base_url, source)


def failure(check: Callable[[], object]) -> RawgenaiError:
    with pytest.raises(RawgenaiError) as raised:
        check()
    return raised.value


@pytest.mark.parametrize("region", [name for name, row in REGIONS.items() if row.host])
def test_the_region_is_named(region: str) -> None:
    found = checking.check(settings=settings(checking.REGION_URLS[region]), sender=Fake(**{region: 200}).sender)
    assert found.region == region


SO_FAR = f"key {MASKED} (environment DASHSCOPE_API_KEY), base URL"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "status", "code"),
    [
        (REFUSED, 3, "invalid_api_key"),
        (refuses(403, "AccessDenied"), 3, "access_denied"),
        (reply(404), 1, "invalid_request"),
        (refuses(500, "InternalError", "no", "Retry-After: 99"), 4, "server_error"),
        (refuses(429, "Throttling", "no", "Retry-After: 99"), 4, "rate_limit"),
        (reply(200, b"<html>log in first</html>"), 4, "server_error"),
        (says({"hello": "world"}), 4, "server_error"),
    ],
)
def test_a_failure_says_what_was_found_so_far(step: Step, status: int, code: str) -> None:
    with serving(step) as server:
        run = rawgenai(server.url, *CHECK)
    assert (run.status, run.error["code"], run.stdout) == (status, code, "")
    assert f"{SO_FAR} {server.url} (environment DASHSCOPE_BASE_URL)" in run.error["message"]


@pytest.mark.slow
def test_a_host_that_is_not_there_is_a_connection_error() -> None:
    run = rawgenai(f"http://127.0.0.1:{closed_port()}/api/v1", *CHECK)
    assert (run.status, run.error["code"]) == (4, "connection_error")
    assert SO_FAR in run.error["message"]


@pytest.mark.slow
def test_a_host_that_says_nothing_is_a_timeout() -> None:
    with serving(hang) as server:
        run = rawgenai(server.url, *CHECK, RAWGENAI_TIMEOUT="0.05")
    assert (run.status, run.error["code"]) == (4, "timeout")
    assert SO_FAR in run.error["message"]


def test_a_dropped_connection_is_tried_again() -> None:
    with serving(CLOSE, TAKEN) as server:
        assert rawgenai(server.url, *CHECK).status == 0
    assert server.connections == 2


def test_no_key_is_said_before_anybody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(TAKEN) as server:
        monkeypatch.setenv("DASHSCOPE_BASE_URL", server.url)
        result = invoke(*CHECK, ALL)
    assert (result.status, result.code, server.connections) == (3, "missing_api_key", 0)
    assert f"no key, base URL {server.url}" in result.envelope["error"]["message"]


def test_a_key_file_is_named_as_the_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "home" / ".dashscope").mkdir()
    (tmp_path / "home" / ".dashscope" / "api_key").write_text(KEY)
    with serving(TAKEN) as server:
        monkeypatch.setenv("DASHSCOPE_BASE_URL", server.url)
        assert invoke(*CHECK).envelope["key_source"].startswith("key file ")


# --- the other regions ----------------------------------------------------------------------------------------------


def test_the_other_regions_are_the_official_hosts_over_https() -> None:
    assert checking.REGION_URLS == {
        "beijing": "https://dashscope.aliyuncs.com/api/v1",
        "singapore": "https://dashscope-intl.aliyuncs.com/api/v1",
        "virginia": "https://dashscope-us.aliyuncs.com/api/v1",
    }


def test_without_the_flag_the_key_goes_to_the_configured_host_alone_and_the_flag_is_hinted_at() -> None:
    fake = Fake(beijing=401, singapore=200, virginia=200)
    error = failure(lambda: checking.check(settings=settings(), sender=fake.sender))
    assert fake.asked == ["https://dashscope.aliyuncs.com/api/v1"]
    assert (error.code, error.status) == ("invalid_api_key", 3)
    assert "check --all-regions" in error.message
    assert "asked https://dashscope.aliyuncs.com/api/v1, region beijing" in error.message


def test_with_the_flag_each_other_region_is_asked_once_and_the_one_that_takes_the_key_is_named() -> None:
    fake = Fake(beijing=401, singapore=200, virginia=401)
    error = failure(lambda: checking.check(all_regions=True, settings=settings(), sender=fake.sender))
    assert fake.asked == list(checking.REGION_URLS.values())
    assert error.code == "invalid_api_key"
    command = "rawgenai config set dashscope_base_url https://dashscope-intl.aliyuncs.com/api/v1"
    assert f"singapore takes it: `{command}`; virginia refuses it" in error.message
    assert "unset" not in error.message


def test_the_command_says_that_a_variable_wins_over_it() -> None:
    given = settings(source="environment DASHSCOPE_HTTP_BASE_URL")
    fake = Fake(beijing=401, singapore=200, virginia=401)
    error = failure(lambda: checking.check(all_regions=True, settings=given, sender=fake.sender))
    assert "and unset DASHSCOPE_HTTP_BASE_URL, which wins over it" in error.message


def test_a_region_that_cannot_be_asked_does_not_hide_the_others() -> None:
    fake = Fake(beijing=401, singapore="connection_error", virginia=403)
    error = failure(lambda: checking.check(all_regions=True, settings=settings(), sender=fake.sender))
    assert "singapore could not be asked (connection_error); virginia could not be asked (access_denied)" in (
        error.message
    )


@pytest.mark.parametrize("status", [200, 403, "connection_error", "timeout"])
def test_only_a_refused_key_is_offered_to_other_regions(status: int | str) -> None:
    fake = Fake(beijing=status, singapore=200, virginia=200)
    try:
        checking.check(all_regions=True, settings=settings(), sender=fake.sender)
    except RawgenaiError as error:
        assert "regions" not in error.message  # noqa: PT017 - the 200 raises nothing
    assert fake.asked == ["https://dashscope.aliyuncs.com/api/v1"]


def test_real_servers_are_asked_for_the_same_with_the_key() -> None:
    with serving(REFUSED) as here, serving(REFUSED) as first, serving(TAKEN) as second:
        given = settings(here.url)
        urls = {"here": here.url, "first": first.url, "second": second.url}
        error = failure(lambda: checking.check(all_regions=True, region_urls=urls, settings=given))
    assert [len(server.requests) for server in (here, first, second)] == [1, 1, 1]
    for server in (here, first, second):
        assert server.requests[0].startswith(b"GET /api/v1/tasks/?page_size=1 HTTP")
        assert header(server.requests[0], "authorization") == f"Bearer {KEY}"
    assert "first refuses it; second takes it" in error.message
    assert KEY not in str(error)


def test_the_default_sender_is_that_of_all_commands() -> None:
    assert inspect.signature(checking.check).parameters["sender"].default is tasks.sender


# --- the emulator, and a terminal -----------------------------------------------------------------------------------


def test_the_emulator_says_that_it_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHSCOPE_BASE_URL", "emulator")
    assert invoke(*CHECK).envelope == {
        "success": True,
        "base_url": "emulator",
        "base_url_source": "environment DASHSCOPE_BASE_URL",
        "emulator": True,
        "reachable": True,
        "accepted": True,
    }


def test_a_person_at_a_terminal_sees_a_table() -> None:
    with serving(TAKEN) as server:
        run, drawn = at_terminal(server.url, *CHECK, both=True)
        _, enveloped = at_terminal(server.url, *CHECK, "--json", both=True)
    screen = play(drawn)
    assert (run.status, screen.widest <= COLUMNS) == (0, True)
    assert screen.lines[0].split() == ["key", f"{MASKED},", "from"]
    assert [line.split() for line in screen.lines[-2:]] == [["reachable", "yes"], ["key", "accepted", "yes"]]
    assert json.loads(enveloped)["accepted"] is True


def test_a_person_is_told_that_the_emulator_answers() -> None:
    _, drawn = at_terminal("emulator", *CHECK, both=True)
    assert b"nothing is sent to DashScope" in drawn.replace(b"\r\n", b" ")
    assert b"nothing is real" in drawn
