"""The shape of what goes out and comes in, on mocks of httpx's transport; test_http.py and tests/faults use sockets."""

import json

import httpx
import pytest
import respx

from rawgenai import config, http
from rawgenai.dashscope import tasks
from rawgenai.errors import RawgenaiError
from rawgenai.ledger import Ledger
from rawgenai.message import Request

BASE = "https://dashscope.aliyuncs.com/api/v1"
KEY = "sk-for-a-mock"
pytestmark = pytest.mark.respx(base_url=BASE)  # an unrouted request and an uncalled route both fail


@pytest.fixture
def settings(canary: str) -> config.Settings:
    return config.load({"DASHSCOPE_API_KEY": canary, "HOME": "/nowhere"})


def test_a_relative_url_gets_the_base_the_key_and_our_name(respx_mock: respx.MockRouter) -> None:
    route = respx_mock.get("/tasks/abc").respond(json={})
    http.sender(BASE, lambda: KEY)(Request("GET", "tasks/abc"))
    sent = route.calls.last.request.headers
    assert sent["authorization"] == f"Bearer {KEY}"
    assert sent["accept-encoding"] == "identity"
    assert sent["user-agent"].startswith("rawgenai/")
    assert "cookie" not in sent


@respx.mock
def test_an_absolute_url_never_gets_the_key() -> None:
    route = respx.get("https://clips.example.com/a.mp4").respond(content=b"x")
    http.sender(BASE, lambda: KEY)(Request("GET", "https://clips.example.com/a.mp4"))
    assert "authorization" not in route.calls.last.request.headers


def test_a_body_is_json_of_the_length_that_was_said(respx_mock: respx.MockRouter) -> None:
    route = respx_mock.post("/x").respond(json={})
    http.sender(BASE, lambda: KEY)(Request("POST", "x", {"X-DashScope-Async": "enable"}, {"prompt": "月光下的小猫"}))
    request = route.calls.last.request
    assert json.loads(request.content) == {"prompt": "月光下的小猫"}
    assert int(request.headers["content-length"]) == len(request.content)
    assert (request.headers["content-type"], request.headers["x-dashscope-async"]) == ("application/json", "enable")


def test_a_question_is_asked_again_until_the_server_has_recovered(
    respx_mock: respx.MockRouter, settings: config.Settings
) -> None:
    done = {"output": {"task_id": "abc", "task_status": "RUNNING"}}
    route = respx_mock.get("/tasks/abc")
    route.side_effect = [httpx.ConnectError("refused"), httpx.Response(503), httpx.Response(200, json=done)]
    pauses: list[float] = []
    task = tasks.status("abc", settings=settings, ledger=Ledger(None), sleep=pauses.append)
    assert (task.status, route.call_count, len(pauses)) == ("running", 3, 2)


def test_a_refused_key_names_the_region_that_was_asked(respx_mock: respx.MockRouter, settings: config.Settings) -> None:
    respx_mock.get("/tasks/abc").respond(401, json={"code": "InvalidApiKey", "message": "Invalid API-key provided."})
    with pytest.raises(RawgenaiError, match="region beijing") as caught:
        tasks.status("abc", settings=settings, ledger=Ledger(None))
    assert (caught.value.code, caught.value.api_code) == ("invalid_api_key", "InvalidApiKey")
