"""When a task is looked at, what a look shows, and when it is given up (faults, section 2: polling)."""

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from faulty import HEAD_END, KEY, TASK, refuses, reply, says
from rawgenai.config import Settings
from rawgenai.dashscope import tasks, waiting
from rawgenai.dashscope.waiting import FIRST, JITTER, LAG, LONGEST, OVERTIME, PACE, REREADS, TIMEOUT, Look
from rawgenai.dashscope.wire import Task
from rawgenai.errors import RawgenaiError
from rawgenai.ledger import Ledger
from rawgenai.message import NotSent, Receive, Request, Response, Unknown
from rawgenai.secret import Secret

START = 1_800_000_000.0
SETTINGS = Settings(Secret(KEY), "test", "https://dashscope.aliyuncs.com/api/v1", "test")


class World:
    """Tasks that end at their moments, and a clock that only sleeping and looking move."""

    def __init__(self, ends: dict[str, float] | None = None, *, takes: float = 0.0, busy: Iterable[float] = ()) -> None:
        self.time = 0.0
        self.ends = ends or {}
        self.busy = iter(busy)  # what the first looks get instead: 429 with Retry-After
        self.takes = takes  # seconds of one look
        self.looks: list[tuple[float, str]] = []
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.slept.append(seconds)
        self.time += seconds

    def look(self, task_id: str) -> Look:
        self.looks.append((self.time, task_id))
        assert len(self.looks) < 9999, "it looks for ever"
        self.time += self.takes
        asked = next(self.busy, None)
        if asked is not None:
            return Look(task_id, RawgenaiError("rate_limit"), ended=False, after=asked)
        ended = self.time >= self.ends.get(task_id, float("inf"))
        return Look(task_id, _task("succeeded" if ended else "running", task_id), ended)

    def watch(self, tasks: Iterable[tuple[str, float | None]] | None = None, **more: Any) -> list[Look]:
        """Watch tasks, which were created just now; without jitter, unless there is a chance."""
        watched = [(task_id, START) for task_id in self.ends] if tasks is None else tasks
        facts: dict[str, Any] = {"look": self.look, "chance": lambda: 0.5, "clock": lambda: self.time}
        facts |= {"now": lambda: START + self.time, "sleep": self.sleep}
        return list(waiting.watch(watched, **facts | more))

    def times(self, task_id: str = "a") -> list[float]:
        return [time for time, looked_at in self.looks if looked_at == task_id]


def _task(status: str, task_id: str = "a") -> Task:
    return Task(task_id=task_id, status=status)


def _code(look: Look) -> str | None:
    return look.found.code if isinstance(look.found, RawgenaiError) else None


# --- the schedule -------------------------------------------------------------------------------------------------


def test_the_numbers_are_those_of_the_policy() -> None:
    assert (FIRST, waiting.GROWTH, LONGEST, JITTER, PACE, TIMEOUT) == (5, 1.5, 15, 0.2, 0.1, 1800)


def test_a_task_is_looked_at_after_5_seconds_and_then_in_growing_pauses() -> None:
    world = World({"a": 75})
    assert [look.found for look in world.watch()] == [_task("succeeded")]
    assert world.times() == [5, 10, 17.5, 28.75, 43.75, 58.75, 73.75, 88.75]


@pytest.mark.parametrize(("chance", "pauses"), [
    (0.0, [5, 4, 6, 9, 12, 12]),
    (0.5, [5, 5, 7.5, 11.25, 15, 15]),
    (1.0, [5, 6, 9, 13.5, 18, 18]),
])  # fmt: skip
def test_jitter_moves_a_pause_by_a_fifth_at_most(chance: float, pauses: list[float]) -> None:
    world = World({"a": sum(pauses)})
    world.watch(chance=lambda: chance)
    assert world.slept == pytest.approx(pauses)


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_a_task_of_five_minutes_takes_about_24_looks(chance: float) -> None:
    world = World({"a": 300})
    world.watch(chance=lambda: chance)
    assert len(world.looks) == {0.0: 27, 0.5: 23, 1.0: 19}[chance]


FIRST_LOOKS = {  # seconds since the creation of the task, --poll-interval -> the first look
    (0.0, None): 5,
    (2.0, None): 3,
    (5.0, None): 0,
    (3600.0, None): 0,
    (-2.0, None): 5,  # our clock is behind that of the file system, or was set back
    (None, None): 0,
    (0.0, 60.0): 60,
    (0.0, 0.0): 0,
    (None, 60.0): 0,
}


@pytest.mark.parametrize(("age", "interval"), FIRST_LOOKS)
def test_the_first_look_waits_only_for_what_is_new(age: float | None, interval: float | None) -> None:
    world = World({"a": 0})
    world.watch([("a", None if age is None else START - age)], interval=interval)
    assert world.times() == [FIRST_LOOKS[age, interval]]


@pytest.mark.parametrize("interval", [2.0, 60.0])
def test_an_interval_that_is_given_is_kept_without_jitter(interval: float) -> None:
    world = World({"a": 4 * interval})
    world.watch(interval=interval, chance=lambda: 1.0)
    assert world.times() == [interval, 2 * interval, 3 * interval, 4 * interval]


def test_no_interval_is_still_ten_requests_a_second() -> None:
    world = World({"a": 0.95})
    world.watch(interval=0.0)
    assert world.times() == pytest.approx([0.1 * number for number in range(11)])


@pytest.mark.parametrize("interval", [None, 0.0])
def test_two_hundred_tasks_are_looked_at_ten_times_a_second_at_most_and_each_in_its_turn(
    interval: float | None,
) -> None:
    ends = {f"task-{number}": 90.0 for number in range(200)}
    world = World(ends)
    looks = world.watch(interval=interval)
    assert {look.task_id for look in looks if _code(look) is None} == ends.keys()
    times = [time for time, _ in world.looks]
    assert min(after - before for before, after in pairwise(times)) >= PACE - 1e-9
    assert max(after - before for task in ends for before, after in pairwise(world.times(task))) <= LONGEST + 20 + 1e-6


def test_tasks_are_given_as_they_end() -> None:
    world = World({"a": 50, "b": 10, "c": 30})
    assert [look.task_id for look in world.watch()] == ["b", "c", "a"]


@example(end=0.0, seed=[0.5], takes=0.0)
@example(end=300.0, seed=[1.0], takes=0.0)
@given(
    end=st.floats(0, 1700),
    seed=st.lists(st.floats(0, 1), min_size=1, max_size=9),
    takes=st.floats(0, 5),
)
def test_the_end_of_a_task_is_known_one_poll_interval_later_at_most(
    end: float, seed: list[float], takes: float
) -> None:
    world = World({"a": end}, takes=takes)
    turns = iter(seed * 1000)
    [look] = world.watch(chance=lambda: next(turns))
    assert look.found == _task("succeeded")
    before, last = ([0.0, 0.0, *world.times()])[-2:]
    assert last + takes >= end
    assert before == 0.0 or before + takes < end  # the look before could not know
    assert last - before <= LONGEST * (1 + JITTER) + takes + 1e-6


# --- the end of the waiting -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("timeout", "looks"), [
    (0.0, [0]),
    (3.0, [3]),
    (5.0, [5]),
    (12.0, [5, 10, 12]),
    (30.0, [5, 10, 17.5, 28.75, 30]),
])  # fmt: skip
def test_the_last_look_is_at_the_very_end(timeout: float, looks: list[float]) -> None:
    world = World({"a": 9999})
    [look] = world.watch(timeout=timeout)
    assert world.times() == looks
    assert isinstance(look.found, RawgenaiError)
    assert (look.found.code, look.found.status, look.found.task_id) == ("wait_timeout", 5, "a")
    assert look.found.message == f"task a is still running after {timeout:g} seconds of waiting; it goes on"
    assert look.ended


def test_a_task_that_ends_at_the_very_end_has_ended() -> None:
    [look] = World({"a": 30}).watch(timeout=30.0)
    assert look.found == _task("succeeded")


def test_each_of_many_tasks_is_looked_at_once_however_short_the_wait() -> None:
    world = World({f"task-{number}": 0.0 for number in range(300)}, takes=0.3)
    assert all(_code(look) is None for look in world.watch(timeout=0.0))


def test_a_server_that_stalls_cannot_hold_many_tasks_long_after_the_end() -> None:
    ends = {f"task-{number}": 9999.0 for number in range(200)}
    world = World(ends, takes=15.0)
    looks = world.watch(timeout=60.0)
    assert world.time <= 60 + OVERTIME * 200 + 15
    assert [_code(look) for look in looks] == ["wait_timeout"] * 200
    messages = [look.found.message for look in looks if isinstance(look.found, RawgenaiError)]
    assert len({message.partition(" ")[2].partition(" ")[2] for message in messages}) == 2
    assert any("could not be asked about after 60 seconds" in message for message in messages)


def test_the_seconds_of_a_wait_are_rounded_for_people() -> None:
    [look] = World({"a": 9999}).watch(timeout=8.71264)
    assert isinstance(look.found, RawgenaiError)
    assert "after 8.7 seconds" in look.found.message


# --- Retry-After ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "second"), [(0.0, 10), (3.0, 10), (60.0, 65), (1e9, 1800)])
def test_retry_after_is_obeyed_until_the_end_of_the_waiting(asked: float, second: float) -> None:
    world = World({"a": 1}, busy=[asked])
    [look] = world.watch()
    assert world.times() == [5, second]
    assert _code(look) is None


def test_retry_after_holds_for_every_task_of_the_process() -> None:
    world = World({f"task-{number}": 100.0 for number in range(20)}, busy=[60.0])
    world.watch()
    first, second, *_ = [time for time, _ in world.looks]
    assert second - first == 60


def test_a_server_that_is_busy_for_ever_ends_in_wait_timeout() -> None:
    world = World({"a": 1}, busy=[700.0] * 9)
    [look] = world.watch()
    assert world.times() == [5, 705, 1405, 1800]
    assert _code(look) == "wait_timeout"
    assert isinstance(look.found, RawgenaiError)
    assert "could not be asked about at last (too many requests)" in look.found.message


# --- what a look shows ------------------------------------------------------------------------------------------------

Outcome = bytes | Exception


class Api:
    """Answers a script, the last again and again; counts what is asked."""

    def __init__(self, *script: Outcome) -> None:
        self.script = script
        self.requests: list[Request] = []

    def send(self, request: Request, receive: Receive | None = None) -> Response:
        self.requests.append(request)
        outcome = self.script[min(len(self.requests), len(self.script)) - 1]
        if isinstance(outcome, Exception):
            raise outcome
        head, _, body = outcome.partition(HEAD_END)
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        return Response(int(first.split()[1]), headers, body)


def task(status: str, **more: Any) -> bytes:
    return says({"request_id": "r", "output": {"task_id": TASK, "task_status": status, **more}})


CLIP = {"video_url": "https://clips.example.test/a"}
GONE = task("UNKNOWN")


class Shown(NamedTuple):
    """What a look must show of an outcome."""

    outcome: Outcome
    ended: bool
    found: str  # status or code


LOOKS = {
    "pending": Shown(task("PENDING"), False, "pending"),
    "suspended": Shown(task("SUSPENDED"), False, "pending"),
    "running": Shown(task("RUNNING"), False, "running"),
    "a status that nobody has heard of": Shown(task("DREAMING"), False, "running"),
    "succeeded": Shown(task("SUCCEEDED", **CLIP), True, "succeeded"),
    "failed": Shown(task("FAILED", code="DataInspectionFailed"), True, "failed"),
    "canceled": Shown(task("CANCELED"), True, "canceled"),
    "refused connection": Shown(NotSent("connection_error", "refused", passing=True), False, "connection_error"),
    "wrong certificate": Shown(NotSent("connection_error", "expired", passing=False), True, "connection_error"),
    "reset": Shown(Unknown("connection_error", "reset"), False, "connection_error"),
    "timeout": Shown(Unknown("timeout", "no answer"), False, "timeout"),
    "429": Shown(refuses(429, "Throttling.RateQuota"), False, "rate_limit"),
    "429 about billing": Shown(refuses(429, "PrepaidBillOverdue"), True, "access_denied"),
    "500": Shown(refuses(500, "InternalError"), False, "server_error"),
    "502 with HTML": Shown(reply(502, b"<html>"), False, "server_error"),
    "504": Shown(reply(504), False, "timeout"),
    "408": Shown(reply(408), False, "timeout"),
    "200 with HTML": Shown(reply(200, b"<html>"), False, "server_error"),
    "200 with nothing": Shown(reply(200), False, "server_error"),
    "200 with a code": Shown(refuses(200, "Throttling"), False, "rate_limit"),
    "200 without a status": Shown(says({"output": {"task_id": TASK}}), False, "server_error"),
    "another task": Shown(says({"output": {"task_id": "b", "task_status": "FAILED"}}), False, "server_error"),
    "302": Shown(reply(302, b"", "Location: https://x.test/"), False, "server_error"),
    "400": Shown(refuses(400, "InvalidParameter"), True, "invalid_request"),
    "401": Shown(refuses(401, "InvalidApiKey"), True, "invalid_api_key"),
    "403": Shown(refuses(403, "AccessDenied"), True, "access_denied"),
    "404": Shown(reply(404), True, "task_not_found"),
    "unknown": Shown(GONE, True, "task_not_found"),
}


def _looking(api: Api, age: float | None = None) -> Callable[[], Look]:
    look = waiting.looking(api.send, lambda _: None if age is None else START - age, now=lambda: START)
    return lambda: look(TASK)


@pytest.mark.parametrize("name", LOOKS)
def test_a_look_shows_what_stays_and_outlasts_what_passes(name: str) -> None:
    shown = LOOKS[name]
    api = Api(shown.outcome)
    look = _looking(api)()
    found = look.found.code if isinstance(look.found, RawgenaiError) else look.found.status
    assert (look.ended, found, len(api.requests)) == (shown.ended, shown.found, 1)
    assert look.found.task_id == TASK


@pytest.mark.parametrize(("header", "after"), [("7", 7.0), ("Fri, 15 Jan 2027 08:01:00 GMT", 60.0), ("soon", 0.0)])
@pytest.mark.parametrize("status", [429, 503])
def test_a_look_says_how_long_the_server_asks_to_wait(status: int, header: str, after: float) -> None:
    assert _looking(Api(reply(status, b"", f"Retry-After: {header}")))().after == after


@pytest.mark.parametrize(("age", "ended"), [(0.0, False), (LAG - 1, False), (LAG, True), (None, True)])
@pytest.mark.parametrize("answer", [GONE, reply(404)], ids=["UNKNOWN", "404"])
def test_a_task_may_not_be_found_while_it_is_new(age: float | None, ended: bool, answer: bytes) -> None:
    look = _looking(Api(answer), age)
    assert [look().ended for _ in range(9)] == [ended] * 9


def test_a_task_that_succeeded_without_a_clip_is_asked_about_three_times_more() -> None:
    look = _looking(Api(task("SUCCEEDED")))
    assert [look().ended for _ in range(REREADS + 1)] == [False, False, False, True]


def test_a_clip_that_is_named_late_is_found() -> None:
    look = _looking(Api(task("SUCCEEDED"), task("SUCCEEDED"), task("SUCCEEDED", **CLIP)))
    looks = [look() for _ in range(3)]
    assert [each.ended for each in looks] == [False, False, True]
    assert isinstance(looks[-1].found, Task)
    assert looks[-1].found.video_url == CLIP["video_url"]


def test_a_task_that_was_there_and_is_gone_is_asked_about_three_times_more() -> None:
    look = _looking(Api(task("RUNNING"), GONE), LAG)
    assert [look().ended for _ in range(REREADS + 2)] == [False, False, False, False, True]


def test_a_task_that_is_back_after_a_hiccup_is_waited_for() -> None:
    look = _looking(Api(task("RUNNING"), GONE, task("PENDING"), task("RUNNING"), task("SUCCEEDED", **CLIP)), LAG)
    assert [look().ended for _ in range(5)] == [False, False, False, False, True]


# --- wait -------------------------------------------------------------------------------------------------------------


class Waiting(NamedTuple):
    """What came of a wait."""

    end: Task | RawgenaiError
    slept: float


def _wait(api: Api, **more: Any) -> Waiting:
    world = World()
    facts: dict[str, Any] = {"settings": SETTINGS, "send": api.send, "ledger": Ledger(None), "sleep": world.sleep}
    facts |= {"now": lambda: START + world.time, "clock": lambda: world.time}
    try:
        return Waiting(tasks.wait(TASK, **facts | more), world.time)
    except RawgenaiError as error:
        return Waiting(error, world.time)


def _row(ledger: Ledger) -> None:
    row = ledger.intend(provider="dashscope", model="wan2.6-t2v", mode="t2v", prompt="A kitten", base_url="x")
    ledger.accept(row, TASK)


def test_a_wait_outlasts_thirty_seconds_of_trouble_of_every_kind() -> None:
    trouble = [shown.outcome for shown in LOOKS.values() if not shown.ended]
    api = Api(*trouble, task("SUCCEEDED", **CLIP))
    end, slept = _wait(api)
    assert isinstance(end, Task)
    assert end.status == "succeeded"
    assert len(api.requests) == len(trouble) + 1
    assert slept > 30


@pytest.mark.parametrize("answer", [refuses(401, "InvalidApiKey"), refuses(403, "AccessDenied")])
def test_a_key_that_is_refused_in_the_middle_ends_the_wait(answer: bytes) -> None:
    api = Api(task("RUNNING"), answer)
    end, _ = _wait(api)
    assert isinstance(end, RawgenaiError)
    assert (end.status, end.task_id, len(api.requests)) == (3, TASK, 2)
    assert ("region beijing" in end.message) is (end.code == "invalid_api_key")


def test_the_ledger_learns_each_change_and_the_end(tmp_path: Any) -> None:
    with Ledger(str(tmp_path / "tasks.db"), now=lambda: START) as ledger:
        _row(ledger)
        statuses = []

        def seen(_: Look) -> None:
            [row] = ledger.rows()
            statuses.append(row.status)

        api = Api(GONE, task("PENDING"), task("RUNNING"), task("SUCCEEDED", **CLIP))
        _wait(api, ledger=ledger, seen=seen)
        [row] = ledger.rows()
    assert statuses == ["pending", "pending", "running", "succeeded"]
    assert CLIP["video_url"] in (row.answer or "")


def test_what_no_ledger_remembers_is_new_where_its_moment_is_told() -> None:
    api = Api(GONE, GONE, task("SUCCEEDED", **CLIP))
    assert isinstance(_wait(api).end, RawgenaiError)
    end, slept = _wait(Api(*api.script), created_at=START)
    assert isinstance(end, Task)
    assert slept >= FIRST


def test_a_task_is_waited_for_once_however_often_it_is_named() -> None:
    api = Api(task("SUCCEEDED", **CLIP))
    looks = list(tasks.wait_all([TASK, TASK], settings=SETTINGS, send=api.send, ledger=Ledger(None)))
    assert [look.task_id for look in looks] == [TASK]
    assert len(api.requests) == 1


def test_a_wrong_id_among_right_ones_is_refused_before_anything_is_asked() -> None:
    api = Api(task("SUCCEEDED", **CLIP))
    with pytest.raises(RawgenaiError) as caught:
        list(tasks.wait_all([TASK, "../x"], settings=SETTINGS, send=api.send, ledger=Ledger(None)))
    assert caught.value.code == "invalid_task_id"
    assert api.requests == []
