"""``cancel``: on the emulator, and on sockets that go wrong."""

from pathlib import Path

import pytest
from invoking import create, invoke

from faulty import (
    CLOSE,
    TASK,
    Step,
    closed_port,
    rawgenai,
    refuses,
    reply,
    reset,
    says,
    serving,
    settings,
    succeeded,
)
from rawgenai.dashscope import Task, tasks
from rawgenai.errors import RawgenaiError
from rawgenai.ledger import Ledger

CANCEL = ("dashscope", "video", "cancel")
DONE = says({"request_id": "request-1"})
REFUSED = refuses(400, "UnsupportedOperation", "Failed to cancel the task, please confirm if the task is in PENDING")


def is_(status: str) -> bytes:
    return says({"request_id": "request-2", "output": {"task_id": TASK, "task_status": status}})


def canceled(*script: Step) -> tuple[Task, int, list[float]]:
    """Cancel a task on a server; the task, how many POSTs came, and how long it would have slept."""
    pauses: list[float] = []
    with serving(*script) as server:
        task = tasks.cancel(TASK, settings=settings(server.url), ledger=Ledger(None), sleep=pauses.append)
    return task, server.posts(), pauses


def refused(*script: Step) -> RawgenaiError:
    with pytest.raises(RawgenaiError) as raised:
        canceled(*script)
    return raised.value


def test_cancel_asks_for_it_once_and_looks_once() -> None:
    with serving(DONE, is_("CANCELED")) as server:
        run = rawgenai(server.url, *CANCEL, TASK)
    assert run.envelope == {"success": True, "task_id": TASK, "status": "canceled"}
    assert [request.split(b" HTTP")[0] for request in server.requests] == [
        f"POST /api/v1/tasks/{TASK}/cancel".encode(),
        f"GET /api/v1/tasks/{TASK}".encode(),
    ]


AMBIGUOUS: dict[str, Step] = {
    "closed": CLOSE,
    "reset": reset,
    "cut": reply(200, b'{"request', length=100),
    "busy": refuses(503, "ServiceUnavailable"),
    "an HTML page": reply(502, b"<html>"),
    "too many": refuses(429, "Throttling.RateQuota"),
}


@pytest.mark.parametrize("step", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_an_answer_that_says_nothing_is_asked_for_again(step: Step) -> None:
    task, posts, _ = canceled(step, DONE, is_("CANCELED"))
    assert (task.status, posts) == ("canceled", 2)


@pytest.mark.parametrize("word", ["CANCELED", "CANCELLED"])
def test_a_task_that_is_canceled_already_is_a_success(word: str) -> None:
    """Such as one whose first cancellation was accepted, and its answer cut."""
    task, posts, _ = canceled(CLOSE, REFUSED, is_(word))
    assert (task.status, posts) == ("canceled", 2)


def test_a_status_that_lags_behind_is_looked_at_again() -> None:
    task, posts, pauses = canceled(DONE, is_("PENDING"), is_("PENDING"), is_("CANCELED"))
    assert (task.status, posts, pauses) == ("canceled", 1, [0, 1, 2])


@pytest.mark.parametrize(
    ("word", "status", "consequence"),
    [
        ("RUNNING", "running", "goes on, and is paid"),
        ("SUSPENDED", "pending", "goes on, and is paid"),
        ("SUCCEEDED", "succeeded", "has ended"),
        ("FAILED", "failed", "has ended"),
    ],
)
def test_a_task_that_is_not_pending_is_not_canceled_and_the_error_says_what_it_costs(
    word: str, status: str, consequence: str
) -> None:
    error = refused(REFUSED, is_(word))
    assert (error.code, error.status, error.task_id) == ("task_not_cancelable", 1, TASK)
    assert f"is {status}" in error.message
    assert consequence in error.message
    assert (error.api_code, error.request_id) == ("UnsupportedOperation", "request-1")


def test_an_accepted_cancellation_of_a_task_that_runs_all_the_same_is_no_success() -> None:
    error = refused(DONE, is_("RUNNING"))
    assert error.code == "task_not_cancelable"
    assert "is paid" in error.message


OTHER = {
    "invalid_api_key": refuses(401, "InvalidApiKey"),
    "access_denied": refuses(403, "AccessDenied"),
    "invalid_request": refuses(400, "InvalidParameter"),
    "server_error": refuses(500, "InternalError"),
    "connection_error": CLOSE,
}


@pytest.mark.parametrize("code", OTHER)
def test_another_failure_keeps_its_code_and_names_the_task(code: str) -> None:
    error = refused(OTHER[code])
    assert (error.code, error.task_id, error.outcome) == (code, TASK, None)


@pytest.mark.parametrize("code", ["invalid_api_key", "access_denied", "invalid_request"])
def test_a_refusal_of_another_kind_is_not_looked_behind(code: str) -> None:
    assert refused(OTHER[code], is_("CANCELED")).code == code


def test_a_refused_key_names_the_region() -> None:
    assert "a key is valid in its own region only" in refused(OTHER["invalid_api_key"]).message


@pytest.mark.slow
def test_an_api_that_is_not_there_is_a_connection_error() -> None:
    run = rawgenai(f"http://127.0.0.1:{closed_port()}/api/v1", *CANCEL, TASK)
    assert (run.status, run.error["code"], run.error["task_id"]) == (4, "connection_error", TASK)


@pytest.mark.parametrize(("task_id", "code"), [("a/b", "invalid_task_id"), ("", "missing_task_id")])
def test_a_wrong_id_is_refused_before_anything_is_sent(task_id: str, code: str) -> None:
    with serving(DONE) as server:
        run = rawgenai(server.url, *CANCEL, task_id)
    assert (run.status, run.error["code"], server.connections) == (2, code, 0)


def test_the_clips_url_of_a_task_that_ended_is_not_shown() -> None:
    with serving(REFUSED, succeeded("https://clips.example.test/a?Signature=x")) as server:
        run = rawgenai(server.url, *CANCEL, TASK)
    assert run.status == 1
    assert "clips.example" not in run.stdout + run.stderr


# --- on the emulator, where a task moves on each time it is asked for -------------------------------------------------


@pytest.fixture(autouse=True)
def _emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHSCOPE_BASE_URL", "emulator")
    monkeypatch.setenv("RAWGENAI_EMULATOR_SECONDS", "0")


def test_a_pending_task_is_canceled_for_good_and_the_ledger_knows(tmp_path: Path) -> None:
    task_id = create("A kitten").envelope["task_id"]
    for _ in range(2):
        assert invoke(*CANCEL, task_id).envelope == {"success": True, "task_id": task_id, "status": "canceled"}
    assert invoke("dashscope", "video", "status", task_id).envelope["status"] == "canceled"
    with Ledger(str(tmp_path / "state" / "rawgenai" / "tasks.db")) as book:
        assert [(row.task_id, row.status) for row in book.rows()] == [(task_id, "canceled")]


def test_a_task_that_left_the_queue_is_not_canceled() -> None:
    task_id = create("A kitten").envelope["task_id"]
    while invoke("dashscope", "video", "status", task_id).envelope["status"] == "pending":
        pass
    result = invoke(*CANCEL, task_id)
    assert (result.status, result.code) == (1, "task_not_cancelable")
    assert invoke("dashscope", "video", "status", task_id).envelope["status"] == "succeeded"


def test_a_task_that_does_not_exist_is_not_found() -> None:
    result = invoke(*CANCEL, TASK)
    assert (result.status, result.code) == (1, "task_not_found")
