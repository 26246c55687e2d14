"""``list``: what the ledger knows, what the API adds, and what a person sees in terminals of any width."""

import io
import json
import os
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from invoking import create, invoke
from rich.console import Console
from terminal import COLUMNS, at_terminal, play

from faulty import KEY, TASK, Server, refuses, reply, says, serving, settings, succeeded
from rawgenai.cli.listing import _WORDS, moment, shown
from rawgenai.dashscope import listing
from rawgenai.dashscope.listing import Entry
from rawgenai.ledger import Ledger, Row

LIST = ("dashscope", "video", "list")
HOUR = 3600.0
NOW = 1_800_000_000.0
age = [0.0]  # seconds ago that the next row is written


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Ledger]:
    """The user's own ledger, whose clock a test may set."""
    with Ledger(str(tmp_path / "state" / "rawgenai" / "tasks.db"), now=lambda: time.time() - age[0]) as ledger:
        age[0] = 0.0
        yield ledger


def write(book: Ledger, task_id: str | None, status: str = "pending", *, hours: float = 0, **more: Any) -> None:
    """Write a row; ``status`` is the state where there is no task id."""
    age[0] = hours * HOUR
    asked = {"provider": "dashscope", "model": "wan2.6-t2v", "mode": "t2v", "prompt": "A kitten", "duration": 5}
    row = book.intend(**{**asked, "base_url": "https://dashscope.aliyuncs.com/api/v1", **more})
    if task_id is not None:
        book.accept(row, task_id, "request-1")
        book.update(task_id, status=status)
    elif status != "intended":
        {"refused": book.refuse, "unknown": book.unknown}[status](row, "connection_error")


def listed(*argv: str) -> list[dict[str, Any]]:
    result = invoke(*LIST, *argv)
    assert result.status == 0, result.err
    found: list[dict[str, Any]] = result.envelope["tasks"]
    return found


def ids(*argv: str) -> list[str]:
    return [str(task.get("task_id")) for task in listed(*argv)]


# --- the ledger -----------------------------------------------------------------------------------------------------


def test_without_a_ledger_the_list_is_empty_and_nothing_is_made(tmp_path: Path) -> None:
    assert invoke(*LIST).envelope == {"success": True, "tasks": []}
    assert not (tmp_path / "state").exists()


def test_a_ledger_that_is_switched_off_is_an_empty_list(book: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    write(book, "t1")
    monkeypatch.setenv("RAWGENAI_LEDGER", "off")
    assert ids() == []


def test_a_broken_ledger_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "state" / "rawgenai").mkdir(parents=True)
    (tmp_path / "state" / "rawgenai" / "tasks.db").write_text("this is no database, but text that is long enough")
    assert invoke(*LIST).code == "output_write_error"


def test_the_newest_comes_first_with_all_that_is_known_of_it(book: Ledger) -> None:
    write(book, "old", "succeeded", hours=2, prompt="月光下的小猫")
    book.update("old", file="/clips/a.mp4")
    write(book, None, "refused", hours=1)
    new, old = listed()
    assert new.pop("created_at") > old.pop("created_at")
    assert new == {
        "status": "refused",
        "model": "wan2.6-t2v",
        "mode": "t2v",
        "prompt": "A kitten",
        "duration": 5,
        "code": "connection_error",
        "base_url": "https://dashscope.aliyuncs.com/api/v1",
    }
    assert old == {
        "task_id": "old",
        "status": "succeeded",
        "model": "wan2.6-t2v",
        "mode": "t2v",
        "prompt": "月光下的小猫",
        "duration": 5,
        "hours_left": 21.9,
        "file": "/clips/a.mp4",
        "request_id": "request-1",
        "base_url": "https://dashscope.aliyuncs.com/api/v1",
    }


def test_times_are_utc() -> None:
    with_task = create_on_emulator()
    (task,) = listed()
    written = datetime.strptime(task["created_at"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert task["task_id"] == with_task
    assert abs(written.timestamp() - time.time()) < 60


def create_on_emulator() -> str:
    os.environ["DASHSCOPE_BASE_URL"] = "emulator"
    try:
        return str(create("A kitten").envelope["task_id"])
    finally:
        del os.environ["DASHSCOPE_BASE_URL"]


@pytest.fixture
def five(book: Ledger) -> None:
    write(book, "a", "succeeded", hours=50)
    write(book, "b", "failed", hours=20, model="wan2.6-i2v-flash")
    write(book, None, "unknown", hours=3)
    write(book, "c", "running", hours=2, base_url="https://dashscope-intl.aliyuncs.com/api/v1")
    write(book, None, "intended")


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ("", "None c None b a"),
        ("--limit 2", "None c"),
        ("-L 99", "None c None b a"),
        ("--status succeeded", "a"),
        ("--status unknown", "None"),
        ("--status intended", "None"),
        ("--status pending", ""),
        ("--model wan2.6-i2v-flash", "b"),
        ("-m none", ""),
        ("--since 24h", "None c None b"),
        ("--since 1d", "None c None b"),
        ("--since 150m", "None c"),
        ("--since 3w", "None c None b a"),
        ("--since 0s", ""),
        ("--since 2020-01-01", "None c None b a"),
        ("--since 2020-01-01T12:00:00Z", "None c None b a"),
        ("--since 2999-12-31", ""),
        ("--since 24h --status failed --model wan2.6-i2v-flash --limit 1", "b"),
    ],
)
@pytest.mark.usefixtures("five")
def test_a_filter_leaves_what_fits(argv: str, expected: str) -> None:
    assert ids(*argv.split()) == expected.split()


@pytest.mark.usefixtures("five")
def test_tasks_of_other_regions_are_shown_with_their_base_url() -> None:
    (task,) = listed("--status", "running")
    assert task["base_url"] == "https://dashscope-intl.aliyuncs.com/api/v1"


def test_thirty_are_shown_unless_more_are_asked_for(book: Ledger) -> None:
    for number in range(32):
        write(book, f"t{number}")
    assert ids() == [f"t{number}" for number in range(31, 1, -1)]
    assert len(ids("--limit", "31")) == 31


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        ("--status done", "'lost'"),
        ("--status SUCCEEDED", "'succeeded'"),
        ("--since yesterday", "90m, 24h or 7d"),
        ("--since 24", "90m, 24h or 7d"),
        ("--since 1y", "90m, 24h or 7d"),
        ("--since ٣h", "90m, 24h or 7d"),
        ("--since -1h", "90m, 24h or 7d"),
        ("--since 0001-01-01", "90m, 24h or 7d"),
        ("--since 2026-02-30", "90m, 24h or 7d"),
        ("--limit 0", "not above 0"),
        ("--limit -1", "not above 0"),
        ("--limit all", "not a whole number"),
        ("extra", "unexpected extra argument"),
    ],
)
def test_a_wrong_word_is_refused_with_those_that_are_right(argv: str, named: str) -> None:
    result = invoke(*LIST, *argv.split())
    assert (result.status, result.code) == (2, "invalid_usage")
    assert named in result.envelope["error"]["message"]


def test_the_help_names_every_word_of_status() -> None:
    text = invoke(*LIST, "--help").out
    assert [word for word in _WORDS if word not in text] == []


def test_an_age_counts_back_from_now() -> None:
    assert moment("90m", NOW) == NOW - 5400


def test_a_date_is_local_and_a_time_may_name_its_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    try:
        assert moment("2027-01-15T16:00") == moment("2027-01-15T08:00Z") == moment("2027-01-15 10:00+02:00") == NOW
    finally:
        monkeypatch.undo()
        time.tzset()


# --- the API's own list ---------------------------------------------------------------------------------------------


def task_row(task_id: str, status: str, ago: float = 60) -> dict[str, Any]:
    return {
        "task_id": task_id,
        "status": status,
        "gmt_create": int((time.time() - ago) * 1000),
        "model_name": "wan2.6-i2v",
        "request_id": "request-9",
    }


def page(*rows: dict[str, Any], pages: int = 1) -> bytes:
    return says({"request_id": "r", "total_page": pages, "data": list(rows)})


@contextmanager
def api(monkeypatch: pytest.MonkeyPatch, *script: Any) -> Iterator[Server]:
    with serving(*script) as server:
        monkeypatch.setenv("DASHSCOPE_BASE_URL", server.url)
        monkeypatch.setenv("DASHSCOPE_API_KEY", KEY)
        yield server


def test_without_remote_nobody_is_asked(book: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    write(book, "t1")
    with api(monkeypatch, page()) as server:
        assert ids() == ["t1"]
    assert server.connections == 0


def test_remote_adds_what_only_the_api_knows_and_brings_statuses_up_to_date(
    book: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(book, "mine", "pending", hours=1)
    write(book, "ended", "succeeded")
    with api(monkeypatch, page(task_row("mine", "SUCCEEDED"), task_row("foreign", "RUNNING"))) as server:
        found = listed("--remote")
        assert ids("--remote", "--status", "succeeded") == ["ended", "mine"]
        assert ids("--remote", "--status", "pending") == []
        assert ids("--remote", "--model", "wan2.6-i2v", "--since", "1h") == ["foreign"]
        assert ids("--remote", "--limit", "1") == ["ended"]
    assert [(task["task_id"], task["status"], task.get("known")) for task in found] == [
        ("ended", "succeeded", None),
        ("foreign", "running", False),
        ("mine", "succeeded", None),
    ]
    assert found[1]["base_url"] == server.url
    assert server.posts() == 0


def test_the_limit_holds_for_both_lists_together(book: Ledger) -> None:
    write(book, "mine", hours=1)
    with serving(page(task_row("a", "RUNNING", 1), task_row("b", "RUNNING", 2))) as server:
        entries = listing.list_tasks(2, remote=True, settings=settings(server.url), book=book)
    assert [entry.task_id for entry in entries] == ["a", "b"]


def test_a_task_that_the_filter_of_the_ledger_would_miss_is_not_taken_for_a_foreign_one(
    book: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger's time is that of the intent, a little before the API's."""
    write(book, "mine", "pending", hours=1.01)
    with api(monkeypatch, page(task_row("mine", "RUNNING", ago=0.99 * HOUR))):
        assert ids("--remote", "--since", "1h") == []


def test_remote_reads_every_page(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = (page(task_row(f"t{number}", "RUNNING", number), pages=3) for number in range(3))
    with api(monkeypatch, *pages) as server:
        assert ids("--remote") == ["t0", "t1", "t2"]
    assert server.connections == 3


def test_remote_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    result = invoke(*LIST, "--remote")
    assert (result.status, result.code) == (3, "missing_api_key")


@pytest.mark.parametrize(
    ("step", "status", "code"),
    [
        (refuses(401, "InvalidApiKey"), 3, "invalid_api_key"),
        (refuses(403, "AccessDenied"), 3, "access_denied"),
        (refuses(503, "ServiceUnavailable", "no", "Retry-After: 99"), 4, "server_error"),
        (says({"request_id": "r"}), 4, "server_error"),
        pytest.param(reply(200, b"<html>"), 4, "server_error", marks=pytest.mark.slow),  # it is really asked again
    ],
)
def test_an_api_that_fails_is_an_error_and_no_short_list(
    step: bytes, status: int, code: str, book: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(book, "t1")
    with api(monkeypatch, step):
        result = invoke(*LIST, "--remote")
    assert (result.status, result.code) == (status, code)


def test_remote_works_with_the_emulator_and_makes_no_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHSCOPE_BASE_URL", "emulator")
    task_id = create("A kitten", "--no-ledger").envelope["task_id"]
    (task,) = listed("--remote")
    assert (task["task_id"], task["model"], task["known"], task["base_url"]) == (
        task_id,
        "wan2.6-t2v",
        False,
        "emulator",
    )
    assert not (tmp_path / "state" / "rawgenai" / "tasks.db").exists()


def test_a_clips_url_is_never_shown(book: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    write(book, TASK)
    with api(monkeypatch, succeeded("https://clips.example.test/a.mp4?Signature=secret")):
        assert invoke("dashscope", "video", "status", TASK).envelope["status"] == "succeeded"
    assert "secret" in str(book.find(TASK))
    assert "clips.example" not in invoke(*LIST).out


# --- a terminal -----------------------------------------------------------------------------------------------------

LONG = "月光下的小猫在花园里玩耍很久很久，镜头缓缓推进，然后它跳上了屋顶，看着远处的城市灯火"
ENTRIES = [
    Entry("succeeded", "x", NOW - HOUR, task_id=TASK, model="wan2.6-i2v-flash", prompt=LONG),
    Entry("unknown", "x", NOW - HOUR, model="wan2.6-t2v", prompt="a\nb\x1b[31m"),
    Entry("running", "x", NOW - HOUR, task_id=TASK[::-1], known=False),
]


def drawn_lines(width: int) -> list[str]:
    """What a terminal of some width shows of them."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as captured:
        console.print(*shown(ENTRIES, NOW, width), sep="\n")
    return [line.rstrip() for line in captured.get().splitlines()]


def columns(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in line)


@pytest.mark.parametrize("width", [40, 60, 71, 72, 80, 100, 120, 200])
def test_no_line_is_wider_than_the_terminal_and_every_id_is_whole(width: int) -> None:
    lines = drawn_lines(width)
    assert max(map(columns, lines)) <= width
    assert sum(line.startswith((TASK, TASK[::-1])) for line in lines) == 2
    assert not any("\x1b" in line for line in lines)


@pytest.mark.parametrize(
    ("width", "head"),
    [
        (72, "TASK ID STATUS LEFT PROMPT"),
        (100, "TASK ID STATUS LEFT MODEL PROMPT"),
        (120, "TASK ID STATUS LEFT MODEL CREATED PROMPT"),
    ],
)
def test_a_wider_terminal_shows_more_columns(width: int, head: str) -> None:
    first, *rest = drawn_lines(width)
    assert first.split() == head.split()
    assert len(rest) == len(ENTRIES)
    assert {columns(line[: line.index(word)]) for line, word in zip(rest, ("succ", "unkn", "runn"), strict=True)} == {
        38
    }


def test_a_narrow_terminal_gets_a_few_lines_a_task() -> None:
    lines = drawn_lines(40)
    assert lines[0] == TASK
    assert lines[1].startswith("  succeeded, 23 h left, 20")
    assert lines[2] == "  wan2.6-i2v-flash"
    assert LONG.startswith(lines[3].strip().rstrip("…").rstrip())
    assert lines[3].endswith("…")
    assert lines[4] == "(no task id)"
    assert "left" not in lines[5]
    assert lines[7] == r"  a b\u001b[31m"


def test_a_person_at_a_terminal_sees_a_table_and_json_brings_the_envelope_back(book: Ledger) -> None:
    write(book, TASK, "succeeded", prompt=LONG)
    run, drawn = at_terminal("emulator", *LIST, both=True)
    screen = play(drawn)
    assert run.status == 0
    assert screen.lines[0] == TASK
    assert screen.widest <= COLUMNS
    _, drawn = at_terminal("emulator", *LIST, "--json", both=True)
    assert json.loads(drawn)["tasks"][0]["prompt"] == LONG


def test_a_person_without_tasks_is_told_so() -> None:
    _, drawn = at_terminal("emulator", *LIST, both=True)
    assert drawn.decode().split("\r\n") == ["no tasks are known", ""]


def test_a_person_is_told_that_there_are_more(book: Ledger) -> None:
    write(book, "t1")
    write(book, "t2")
    assert b"there are more" in at_terminal("emulator", *LIST, "--limit", "1", both=True)[1]
    assert b"there are more" not in at_terminal("emulator", *LIST, "--limit", "2", both=True)[1]


def test_a_dumb_terminal_gets_a_table_without_any_control(book: Ledger) -> None:
    write(book, TASK, prompt=LONG)
    _, drawn = at_terminal("emulator", *LIST, both=True, more={"TERM": "dumb"})
    assert b"\x1b" not in drawn
    assert TASK.encode() in drawn


def test_a_row_of_the_ledger_has_no_field_that_the_list_forgot() -> None:
    """Who adds a column decides whether the list shows it."""
    hidden = {"id", "provider", "state", "updated_at", "account", "key", "digest", "output", "answer", "file_digest"}
    assert set(Row._fields) - hidden - {"claim"} <= set(Entry._fields)
