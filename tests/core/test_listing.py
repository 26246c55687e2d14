"""How the ledger's rows and the API's own list become one list, and what an entry says."""

from typing import Any

import pytest

from rawgenai.dashscope.listing import Entry, facts, hours_left, merged
from rawgenai.dashscope.wire import Listed, Task, to_json
from rawgenai.ledger import Row

NOW = 1_800_000_000.0  # 2027-01-15 08:00 UTC
HOUR = 3600.0
EMULATOR = "emulator"


def row(task_id: str | None = "t1", **more: Any) -> Row:
    given: dict[str, Any] = {"state": "accepted" if task_id else "unknown", "status": "pending" if task_id else None}
    given |= {"id": 1, "provider": "dashscope", "task_id": task_id, "request_id": "r1", "model": "wan2.6-t2v"}
    given |= {"mode": "t2v", "prompt": "小猫", "base_url": "https://a.test", "code": None, "file": None}
    return Row(**(given | {"created_at": NOW - HOUR, "updated_at": NOW} | more))


def listed(task_id: str = "t1", status: str = "running", created_at: float = NOW - HOUR) -> Listed:
    return Listed(task_id, "r2", "wan2.6-i2v", status, created_at)


@pytest.mark.parametrize(
    ("ours", "theirs", "shown"),
    [
        ("pending", "running", "running"),
        ("running", "succeeded", "succeeded"),
        ("running", "pending", "pending"),
        ("succeeded", "running", "succeeded"),
        ("failed", "succeeded", "failed"),
        ("canceled", "pending", "canceled"),
    ],
)
def test_the_apis_status_wins_over_one_that_may_have_changed(ours: str, theirs: str, shown: str) -> None:
    (entry,) = merged([row(status=ours)], [listed(status=theirs)], 0, EMULATOR)
    assert (entry.status, entry.known, entry.model, entry.request_id) == (shown, True, "wan2.6-t2v", "r1")


def test_a_task_that_only_the_api_knows_takes_its_place_by_age() -> None:
    rows = [row("new", created_at=NOW), row("old", created_at=NOW - 2 * HOUR)]
    entries = merged(rows, [listed("foreign"), listed("old")], 0, EMULATOR)
    assert [(entry.task_id, entry.known) for entry in entries] == [("new", True), ("foreign", False), ("old", True)]
    assert entries[1].base_url == EMULATOR


def test_the_apis_time_is_turned_into_ours() -> None:
    (entry,) = merged([], [listed(created_at=NOW + 100)], 100, EMULATOR)
    assert entry.created_at == NOW


def test_rows_without_a_task_are_not_taken_for_one_another() -> None:
    entries = merged([row(None, state="unknown"), row(None, state="refused")], [listed()], 0, EMULATOR)
    assert [(entry.task_id, entry.status) for entry in entries] == [
        (None, "unknown"),
        (None, "refused"),
        ("t1", "running"),
    ]


def test_why_a_task_failed_is_read_from_its_answer() -> None:
    task = Task(task_id="t1", status="failed", api_code="DataInspectionFailed", api_message="no")
    (entry,) = merged([row(status="failed", answer=to_json(task))], [], 0, EMULATOR)
    assert entry.code == "content_policy"


ENTRY = Entry("succeeded", EMULATOR, NOW, task_id="t1")


@pytest.mark.parametrize(
    ("age", "hours"),
    [
        (0, 24),
        (1, 23.9),
        (359, 23.9),
        (361, 23.8),
        (23.5 * HOUR, 0.5),
        (24 * HOUR - 1, 0),
        (24 * HOUR, 0),
        (9e9, 0),
        (-HOUR, 24),
    ],
)
def test_the_hours_left_to_download_are_rounded_down_and_never_below_0(age: float, hours: float) -> None:
    assert hours_left(ENTRY, NOW + age) == hours


@pytest.mark.parametrize(
    ("status", "task_id", "told"),
    [
        ("pending", "t1", True),
        ("running", "t1", True),
        ("succeeded", "t1", True),
        ("failed", "t1", False),
        ("canceled", "t1", False),
        ("refused", None, False),
        ("unknown", None, False),
    ],
)
def test_hours_are_told_of_every_task_that_has_not_failed(status: str, task_id: str | None, *, told: bool) -> None:
    assert ("hours_left" in facts(Entry(status, EMULATOR, NOW, task_id=task_id), NOW)) is told


def test_an_entry_says_all_that_is_known_in_one_order_and_nothing_else() -> None:
    (entry,) = merged([row(duration=5.0, file="/a.mp4", status="succeeded")], [], 0, EMULATOR)
    assert list(facts(entry, NOW).items()) == [
        ("task_id", "t1"),
        ("status", "succeeded"),
        ("model", "wan2.6-t2v"),
        ("mode", "t2v"),
        ("prompt", "小猫"),
        ("created_at", "2027-01-15T07:00:00Z"),
        ("duration", 5),
        ("hours_left", 23.0),
        ("file", "/a.mp4"),
        ("request_id", "r1"),
        ("base_url", "https://a.test"),
    ]
    assert isinstance(facts(entry, NOW)["duration"], int)


def test_what_is_not_known_is_left_out() -> None:
    assert facts(Entry("refused", EMULATOR, NOW, code="rate_limit"), NOW) == {
        "status": "refused",
        "created_at": "2027-01-15T08:00:00Z",
        "code": "rate_limit",
        "base_url": EMULATOR,
    }
    assert "known" not in facts(ENTRY, NOW)
    assert facts(ENTRY._replace(known=False), NOW)["known"] is False
