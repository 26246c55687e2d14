"""What recover takes for the task of a submission that nobody knows the outcome of, what it never takes, and when."""

import json
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from faulty import clip
from rawgenai import cli, config, emulator, files
from rawgenai.config import Settings
from rawgenai.dashscope import recovery, wire
from rawgenai.dashscope.recovery import REACH, Recovery
from rawgenai.emulator import render
from rawgenai.errors import RawgenaiError
from rawgenai.ledger import Ledger, Row, open_ledger
from rawgenai.message import Receive, Request, Response, Unknown

SETTINGS = Settings(None, None, "emulator", "test")
CLIP = clip(20_000)
START = 1_800_000_000.0
HOUR, DAY = 3600.0, 24 * 3600.0
LIST, STATUS = "tasks/?", "tasks/"  # how their URLs begin
MODEL, LIMIT = "wan2.6-t2v", 1500

Instead = Callable[[Request], Response | None]


class World:
    """A ledger, and the emulator in process with a clock that only sleeping moves; takes 90 s for a task."""

    def __init__(self, folder: Path, ledger: Ledger) -> None:
        self.time = START
        self.ahead = 0.0  # of the server's clock
        self.ledger = ledger
        self.asked: list[tuple[float, str]] = []  # when, and what
        self.said: list[str] = []
        self.instead: Instead = lambda _: None  # answers in the emulator's place
        environ = {"RAWGENAI_EMULATOR_SECONDS": "90"}
        self._send = emulator.sender(
            folder / "emulator", environ=environ, now=lambda: self.time + self.ahead, sleep=self.sleep
        )

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def send(self, request: Request, receive: Receive | None = None) -> Response:
        self.asked.append((self.time - START, request.url))
        return self.instead(request) or self._send(request, receive)

    def book(self, prompt: str = "A kitten", at: float = 0.0, **more: Any) -> str:
        """Have the emulator book a task ``at`` seconds from the start; its id."""
        body = {"model": more.get("model", MODEL), "input": {"prompt": prompt}}
        parameters = {"duration": more.get("duration", 5)}
        header = {"X-DashScope-Async": "enable"}
        url = "services/aigc/video-generation/video-synthesis"
        self.time, now = START + at, self.time
        answer = json.loads(self._send(Request("POST", url, header, {**body, "parameters": parameters})).body)
        self.time, self.request_id = now, answer["request_id"]
        return str(answer["output"]["task_id"])

    def submission(self, prompt: str = "A kitten", at: float = 0.0, *, left: float | None = 0.0, **facts: Any) -> int:
        """Write a submission into the ledger whose outcome was found unknown ``left`` s later; None: it was killed."""
        request_id, ledger = facts.pop("request_id", None), facts.pop("ledger", self.ledger)
        known = {"base_url": "emulator", "account": config.fingerprint(SETTINGS), "duration": 5.0, "digest": "one"}
        self.time, now = START + at, self.time
        row: int = ledger.intend(provider="dashscope", model=MODEL, mode="t2v", prompt=prompt, **known | facts)
        if left is not None:
            self.time += left
            ledger.unknown(row, "timeout", request_id)
        self.time = now
        return row

    def promised(self, output: Path | str, task_id: str | None = None, at: float = 0.0) -> str:
        """Have a task in the ledger whose clip was promised to go somewhere, and nothing of it on disk."""
        row = self.submission(at=at, left=None, output=str(output))
        task_id = task_id or self.book(at=at)
        self.ledger.accept(row, task_id)
        return task_id

    def recover(self, **how: Any) -> Recovery:
        facts: dict[str, Any] = {"settings": SETTINGS, "send": self.send, "ledger": self.ledger, "settle": 180.0}
        facts |= {"now": lambda: self.time, "clock": lambda: self.time, "sleep": self.sleep, "say": self.said.append}
        return recovery.recover(**facts | how)

    def ends(self, **how: Any) -> dict[int, tuple[str, str | None]]:
        """Recover, and say what became of each row; the ledger must say the same."""
        ends = {each.row.id: (each.end, each.task_id) for each in self.recover(**how).settled}
        for number, (end, task_id) in ends.items():
            row = self.row(number)
            expected = {"adopted": "accepted", "absent": "refused", "lost": "lost"}.get(end, "unsettled")
            assert (row.state if row.state not in ("intended", "unknown") else "unsettled") == expected
            assert row.task_id == task_id
        return ends

    def row(self, number: int) -> Row:
        found = self.ledger.row(number)
        assert found is not None
        return found

    def looks(self) -> list[float]:
        """When the list was asked for, in seconds since the start."""
        return [when for when, url in self.asked if url.startswith(LIST)]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(render, "draw", lambda file, **_: file.write_bytes(CLIP))
    monkeypatch.setattr("rawgenai.ledger._PRAGMAS", ("PRAGMA synchronous = OFF",))  # no kill here, and it is quicker
    made: list[World] = []
    with open_ledger(now=lambda: made[0].time) as ledger:
        made.append(World(tmp_path, ledger))
        yield made[0]


# --- what is taken ----------------------------------------------------------------------------------------------


def test_a_request_id_names_the_task_at_once_beside_others_that_asked_for_the_same(world: World) -> None:
    world.book()
    task_id = world.book()
    row = world.submission(request_id=world.request_id)
    world.book()
    world.time += 3
    assert world.ends() == {row: ("adopted", task_id)}
    assert world.looks() == [3.0]


def test_without_one_a_task_is_known_by_its_prompt_which_is_waited_for(world: World) -> None:
    row, task_id = world.submission(), world.book(at=0.3)
    assert world.ends() == {row: ("adopted", task_id)}
    assert 90 <= world.time - START <= 90.3 + 15, "a running task repeats no prompt; one interval later it is known"
    assert (world.row(row).status, world.row(row).answer is None) == ("succeeded", False)


FOREIGN: dict[str, dict[str, Any]] = {
    "another prompt": {"prompt": "A dog"},
    "another length": {"duration": 10},
    "another model": {"model": "wan2.5-t2v-preview"},
    "booked before": {"at": -6.0},
    "booked much later": {"at": 182.0},
}


@pytest.mark.parametrize("foreign", FOREIGN)
def test_two_equal_submissions_get_their_own_tasks_and_no_foreign_one(foreign: str, world: World) -> None:
    rows = [world.submission(at=0.0), world.submission(at=1.0)]
    mine = [world.book(at=0.3), world.book(at=1.4)]
    other = world.book(**{"at": 0.7} | FOREIGN[foreign])
    world.time += 200
    assert world.ends() == {row: ("adopted", task_id) for row, task_id in zip(rows, mine, strict=True)}
    assert world.ledger.find(other) is None


def test_beside_a_foreign_task_of_the_same_prompt_nothing_is_taken(world: World) -> None:
    rows = [world.submission(at=0.0), world.submission(at=1.0)]
    for at in (0.3, 0.7, 1.4):
        world.book(at=at)
    world.time += 100
    assert world.ends() == dict.fromkeys(rows, ("ambiguous", None))
    assert world.ends() == dict.fromkeys(rows, ("ambiguous", None)), "and not the next time either"


@pytest.mark.parametrize(("rows", "tasks", "pairs"), [
    ([0, 10], [0.3], [0, None]),
    ([0, 10], [10.3], [None, 0]),
    ([0, 10], [8, 11], [0, 1]),  # the first was slow: it is nearer to the second row, and yet not its
    ([0, 10], [12, 13], [0, 1]),
    ([0, 10, 20], [0.3, 20.3], [0, None, 1]),
    ([0, 1000], [0.3, 1000.3], [0, 1]),
    ([0, 1000], [500], [None, None]),  # between the two, and of neither
    ([0, 1000], [500, 1000.3], [None, 1]),
])  # fmt: skip
def test_equal_submissions_share_out_the_tasks_by_time(
    rows: list[float], tasks: list[float], pairs: list[int | None], world: World
) -> None:
    numbers, ids = [world.submission(at=at) for at in rows], [world.book(at=at) for at in tasks]
    world.time += 1200
    expected = [("absent", None) if index is None else ("adopted", ids[index]) for index in pairs]
    assert world.ends() == dict(zip(numbers, expected, strict=True))


def test_two_foreign_tasks_beside_one_submission_do_not_hide_another_that_is_certain(world: World) -> None:
    first, second = world.submission(at=0), world.submission(at=1000)
    for at in (0.2, 0.4):
        world.book(at=at)
    task_id = world.book(at=1000.2)
    world.time += 1200
    assert world.ends() == {first: ("ambiguous", None), second: ("adopted", task_id)}


def test_a_task_that_a_row_owns_is_never_taken(world: World) -> None:
    world.promised("/dev/null/a.mp4", world.book(at=0.2))
    row = world.submission()
    world.time += 200
    assert world.ends() == {row: ("absent", None)}


@pytest.mark.parametrize("word", ["fail=InternalError", "canceled"])
def test_a_task_that_made_nothing_is_not_waited_for(word: str, world: World) -> None:
    prompt = f"A kitten emulator:{word}"
    row = world.submission(prompt)
    world.book(prompt)
    world.time += 300
    assert world.ends() == {row: ("absent", None)}


def test_a_task_without_a_clip_is_a_task_all_the_same(world: World) -> None:
    prompt = "A kitten emulator:no-video"
    row, task_id = world.submission(prompt), world.book(prompt)
    world.time += 100
    assert world.ends() == {row: ("adopted", task_id)}
    assert len(world.looks()) == 1


def _status_of(task_id: str, until: float, world: World, answer: Response | Unknown) -> Instead:
    def instead(request: Request) -> Response | None:
        if request.url != STATUS + task_id or world.time - START >= until:
            return None
        if isinstance(answer, Unknown):
            raise answer
        return answer

    return instead


DOUBTS: dict[str, Response | Unknown] = {
    "UNKNOWN": Response(200, {}, b'{"output": {"task_status": "UNKNOWN"}}'),
    "HTML": Response(502, {}, b"<html>"),
    "cut": Unknown("connection_error", "cut"),
    "refused": Response(400, {}, b'{"code": "InvalidParameter"}'),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_a_listed_task_of_which_nothing_is_said_keeps_the_submission_open(doubt: str, world: World) -> None:
    row, task_id = world.submission(), world.book(at=0.3)
    world.instead = _status_of(task_id, 500, world, DOUBTS[doubt])
    world.time += 200
    assert world.ends() == {row: ("adopted", task_id)}
    assert world.time - START >= 500


def test_a_look_that_shows_a_candidate_is_no_clean_one(world: World) -> None:
    row = world.submission()
    world.book("A dog", at=150)  # which nobody can tell before it has ended, at 240
    assert world.ends() == {row: ("absent", None)}
    assert world.time - START >= 240 + 60


# --- prompts that the API cuts -----------------------------------------------------------------------------------


def _cut_in_utf16(prompt: str) -> str:
    """Cut a prompt as a server does that counts UTF-16 units; half a character becomes a question mark."""
    units = prompt.encode("utf-16-le")[: 2 * LIMIT]
    return units.decode("utf-16-le", "surrogatepass").encode(errors="replace").decode()


@pytest.mark.parametrize("cut", [str, lambda prompt: prompt[:LIMIT], _cut_in_utf16], ids=["whole", "cut", "in UTF-16"])
@pytest.mark.parametrize("prompt", [
    "A kitten. " * 200,
    "画面中的人物微笑。" * 200,
    "🐱猫" * 1000,
    "x" + "🐱" * 1600,
    "x" * 1499 + "🐱",
    "x" * 1500,
    "x" * 1501,
])  # fmt: skip
def test_a_prompt_is_known_by_as_much_as_the_api_reads(prompt: str, cut: Callable[[str], str], world: World) -> None:
    row, task_id = world.submission(prompt), world.book(prompt[:LIMIT])
    output = {"task_id": task_id, "task_status": "SUCCEEDED", "orig_prompt": cut(prompt)}
    said = Response(200, {}, json.dumps({"output": output}).encode())
    world.instead = _status_of(task_id, DAY, world, said)
    assert world.ends() == {row: ("adopted", task_id)}


@pytest.mark.parametrize(("asked", "said"), [
    ("x" * 1500, "x" * 1499),
    ("x" * 1500, "x" * 1501),
    ("x" * 1500, ""),
    ("x" * 2000, ""),
    ("x" * 2000, None),
    ("x" * 2000, "x" * 749),
    ("x" * 2000, "x" * 1499 + "y"),
    ("x" * 2000, "y" * 1500),
])  # fmt: skip
def test_another_prompt_is_none_of_ours_however_long(asked: str, said: str | None, world: World) -> None:
    row, task_id = world.submission(asked), world.book("x")
    output = {"task_id": task_id, "task_status": "SUCCEEDED", "orig_prompt": said}
    world.instead = _status_of(task_id, DAY, world, Response(200, {}, json.dumps({"output": output}).encode()))
    assert world.ends() == {row: ("absent", None)}


def test_the_same_task_is_not_given_to_another_that_asked_for_the_same(world: World) -> None:
    first, task_id = world.submission(), world.book(at=0.3)
    world.ledger._write("UPDATE tasks SET request_id = ? WHERE id = ?", (world.request_id, first))
    second, unsaid = world.submission(at=0.1), world.submission(at=0.2, duration=None)
    world.time += 200
    assert world.ends() == {first: ("adopted", task_id), second: ("absent", None), unsaid: ("absent", None)}


def test_one_of_unsaid_length_competes_with_one_whose_length_is_known(world: World) -> None:
    world.submission(), world.submission(at=0.1, duration=None)
    task_id = world.book(at=0.3)
    world.time += 200
    assert sorted(world.ends().values(), key=str) == [("absent", None), ("adopted", task_id)]


def test_prompts_that_differ_only_in_what_is_cut_compete_for_one_task(world: World) -> None:
    rows = [world.submission("x" * LIMIT + end, at=at) for at, end in enumerate("ab")]
    task_id = world.book("x" * LIMIT, at=1.3)
    world.time += 200
    assert world.ends() == {rows[0]: ("absent", None), rows[1]: ("adopted", task_id)}


# --- clocks and pages ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [-7200, -600, -90, -3, 3, 30, 90, 600, 7200])
def test_the_server_s_clock_may_differ(ahead: float, world: World) -> None:
    world.ahead = ahead
    row, task_id = world.submission(), world.book(at=0.3)
    other = world.submission("Another")
    assert world.ends() == {row: ("adopted", task_id), other: ("absent", None)}
    assert 180 <= world.time - START <= 200, "a wrong clock makes nothing absent earlier"


def test_a_task_is_found_behind_pages_of_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "PAGE", 10)
    row, task_id = world.submission(), world.book(at=0.3)
    for number in range(21):
        world.book(f"Another {number}", at=1 + number / 10, model="wan2.5-t2v-preview")
    world.time += 100
    assert world.ends() == {row: ("adopted", task_id)}
    assert [url.partition("page_no=")[2] for _, url in world.asked if url.startswith(LIST)] == [
        f"{page}&page_size=10" for page in (1, 2, 3)
    ]


# --- what is absent ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("at", "left", "settle", "when"), [
    (0, 0, 180, 180),  # the last look no earlier than 180 s after the POST
    (0, 0, 60, 60),
    (0, 0, 3, 3),
    (0, 0, 0, 0.1),  # two looks, whatever is asked for
    (0, 150, 180, 330),  # it may have left as late as its outcome became unknown
    (-100, 0, 180, 80),
    (-170, 0, 180, 60),  # two clean looks, 60 s apart
    (-HOUR, 0, 180, 60),
    (0, None, 180, 180),  # killed: it may have left until just now
    (-100, None, 180, 180),
    (-250, None, 180, 130),  # but no POST takes longer than 200 s
    (-HOUR, None, 180, 60),
])  # fmt: skip
def test_a_submission_counts_as_never_created_only_after_a_while(
    at: float, left: float | None, settle: float, when: float, world: World
) -> None:
    row = world.submission(at=at, left=left)
    world.time = START + max(0.0, at + (left or 0))
    begun = world.time - START
    assert world.ends(settle=settle) == {row: ("absent", None)}
    assert world.time - START == pytest.approx(max(when, begun), abs=0.11)
    assert len(world.looks()) >= 2
    assert world.row(row).code == ("timeout" if left is not None else "connection_error")


def test_the_looks_follow_the_schedule(world: World) -> None:
    world.submission()
    world.ends()
    pauses = [after - before for before, after in zip(world.looks(), world.looks()[1:], strict=False)]
    assert pauses[:2] == [2, 8]
    assert max(pauses) == 15


@pytest.mark.parametrize("fault", [
    Response(500, {}, b""), Response(503, {}, b"{}"), Response(502, {}, b"<html>"), Response(200, {}, b"{}"),
    Response(200, {}, b"null"), Response(429, {}, b'{"code": "Throttling"}'), Unknown("connection_error", "cut"),
    Unknown("timeout", "late"),
])  # fmt: skip
def test_a_list_that_fails_is_no_clean_look(fault: Response | Unknown, world: World) -> None:
    row = world.submission()

    def instead(request: Request) -> Response | None:
        if not 100 <= world.time - START < 175 or not request.url.startswith(LIST):
            return None
        if isinstance(fault, Unknown):
            raise fault
        return fault

    world.instead = instead
    assert world.ends() == {row: ("absent", None)}
    assert world.time - START >= 175 + 60, "two clean looks after the last that was none"


def test_a_list_that_fails_on_a_later_page_is_no_clean_look(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "PAGE", 10)
    row = world.submission()
    for number in range(11):
        world.book(f"Another {number}", model="wan2.5-t2v-preview")
    world.instead = lambda request: Response(500, {}, b"") if "page_no=2" in request.url else None
    assert world.ends(timeout=HOUR) == {row: ("undecided", None)}


@pytest.mark.parametrize(("timeout", "looks"), [(0, 1), (1, 1), (2, 2), (9, 2), (10, 3)])
def test_what_is_not_settled_in_time_stays_unsettled(timeout: float, looks: int, world: World) -> None:
    row = world.submission()
    assert world.ends(timeout=timeout) == {row: ("undecided", None)}
    assert world.time - START <= timeout
    assert len(world.looks()) == looks


def test_a_key_that_is_refused_is_an_error_and_settles_nothing(world: World) -> None:
    row = world.submission()
    world.instead = lambda _: Response(401, {}, b'{"code": "InvalidApiKey", "message": "no"}')
    with pytest.raises(RawgenaiError) as caught:
        world.recover()
    assert (caught.value.code, world.row(row).state) == ("invalid_api_key", "unknown")


# --- what cannot be looked for --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "end"), [(REACH - 200, "absent"), (REACH + 1, "lost"), (DAY, "lost"), (DAY + 1, "lost")]
)
def test_after_a_day_nobody_knows_any_more(age: float, end: str, world: World) -> None:
    row = world.submission(at=-age)
    assert world.ends() == {row: (end, None)}
    assert (world.asked == []) is (age > DAY)


def test_a_task_of_almost_a_day_ago_is_still_found(world: World) -> None:
    row, task_id = world.submission(), world.book(at=0.3)
    world.time = START + DAY - 120
    assert world.ends() == {row: ("adopted", task_id)}


def test_what_was_sent_elsewhere_is_left_alone(world: World) -> None:
    row = world.submission(base_url="https://dashscope-intl.aliyuncs.com/api/v1")
    world.book()
    world.time += 200
    assert world.ends() == {row: ("elsewhere", None)}
    assert world.asked == []


def test_another_key_proves_nothing_by_an_absent_task_but_finds_one(world: World) -> None:
    absent, there = world.submission("A dog", account="another"), world.submission(account="another")
    task_id = world.book()
    world.time += HOUR
    assert world.ends() == {absent: ("elsewhere", None), there: ("adopted", task_id)}


def test_a_submission_of_our_own_key_comes_first(world: World) -> None:
    mine = world.submission()
    other = world.submission(at=0.2, account="another")
    task_id = world.book(at=0.3)
    world.time += 200
    assert world.ends() == {mine: ("adopted", task_id), other: ("elsewhere", None)}


def test_a_row_of_a_process_that_is_sending_is_left_alone(world: World) -> None:
    with world.ledger.claimed() as claim:
        row = world.submission(left=None, claim=claim)
        world.book()
        world.time += HOUR
        assert world.ends() == {row: ("busy", None)}
    world.time += 1
    assert world.ends()[row][0] == "adopted", "once it is gone"


def test_one_that_asks_for_the_same_just_now_is_waited_for(world: World) -> None:
    row, task_id = world.submission(), world.book(at=0.5)
    stack = ExitStack()
    claim = stack.enter_context(world.ledger.claimed())
    world.time += 100

    def instead(request: Request) -> Response | None:
        if world.time == START + 100 and request.url.startswith(LIST):  # it was begun after recover
            with open_ledger(now=lambda: world.time) as ledger:  # this is another thread
                world.submission(at=100, left=None, claim=claim, ledger=ledger)
            world.book(at=100.2)
        return None

    def sleep(seconds: float) -> None:
        world.sleep(seconds)
        if world.time >= START + 130:
            stack.close()  # it was killed before it knew its task

    world.instead = instead
    ends = world.ends(sleep=sleep)
    assert ends[row] == ("adopted", task_id)
    assert [end for end, _ in ends.values()] == ["adopted", "adopted"], "the one that was killed is settled with it"
    assert world.time - START >= 190.2


def test_what_one_that_asks_for_the_same_just_now_may_have_made_is_not_taken(world: World) -> None:
    row = world.submission()
    world.time += 200
    with world.ledger.claimed() as claim:
        other = world.submission(at=1.0, left=None, claim=claim)
        task_id = world.book(at=1.3)
        assert world.ends(timeout=HOUR) == {other: ("busy", None), row: ("undecided", None)}
        world.ledger.accept(other, task_id)
    assert world.ends() == {row: ("absent", None)}


def test_another_that_asks_for_something_else_just_now_is_not(world: World) -> None:
    row, task_id = world.submission(), world.book(at=0.5)
    world.time += 100
    with world.ledger.claimed() as claim:
        other = world.submission("A dog", at=99, left=None, claim=claim)
        assert world.ends() == {row: ("adopted", task_id), other: ("busy", None)}
    assert len(world.looks()) == 1


def test_of_many_that_recover_at_once_each_row_is_settled_by_one(world: World, tmp_path: Path) -> None:
    rows = [world.submission(f"Number {number}") for number in range(6)]
    booked = {row: world.book(f"Number {number}") for number, row in enumerate(rows) if number % 3}
    outputs = [world.promised(tmp_path / f"{number}.mp4") for number in range(2)]
    world.time += 400
    barrier, moment = Barrier(32), world.time

    def recover(_: int) -> tuple[list[int], list[str | None]]:
        with open_ledger(now=lambda: moment) as ledger:
            other = World(tmp_path, ledger)
            other.time = moment
            barrier.wait()
            done = other.recover()
            assert all(each.is_settled for each in done.settled)
            return [each.row.id for each in done.settled], [row.task_id for row in done.delivered]

    with ThreadPoolExecutor(32) as pool:
        done = list(pool.map(recover, range(32)))
    assert Counter(row for settled, _ in done for row in settled) == Counter(rows)
    assert Counter(task_id for _, delivered in done for task_id in delivered) == Counter(outputs)
    assert {row: world.row(row).task_id for row in rows} == {row: booked.get(row) for row in rows}


def test_of_many_that_look_at_once_none_takes_another_for_the_process_that_is_gone(world: World) -> None:
    def look(_: int) -> bool:
        with open_ledger() as ledger:
            barrier.wait()
            return ledger.is_claimed(row)

    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            row = world.row(world.submission(left=None, claim="gone"))
            with files.locked(world.ledger._claim("gone"), wait=0):
                pass  # what a process leaves behind that was killed
            barrier = Barrier(8)
            assert not any(pool.map(look, range(8)))


# --- clips ------------------------------------------------------------------------------------------------------


def test_a_clip_is_brought_to_where_it_was_promised(world: World, tmp_path: Path) -> None:
    task_id = world.promised(tmp_path / "clip.mp4")
    world.time += 100
    [row] = world.recover().delivered
    assert (row.task_id, row.file) == (task_id, str(tmp_path / "clip.mp4"))
    assert (tmp_path / "clip.mp4").read_bytes() == CLIP
    done = world.recover()
    assert (done.delivered, done.waiting, done.failed) == ([], [], []), "and only once"


class _KilledError(Exception):
    """Nothing of ours catches it."""


def test_a_download_that_was_cut_goes_on_where_it_stopped(world: World, tmp_path: Path) -> None:
    task_id = world.promised(tmp_path / "clip.mp4", world.book("A kitten emulator:cut=6000"))
    world.time += 100
    send, deliveries = world.send, 0

    def dying(request: Request, receive: Receive | None = None) -> Response:
        nonlocal deliveries
        deliveries += receive is not None
        if deliveries == 3:
            raise _KilledError
        return send(request, receive)

    with pytest.raises(_KilledError):
        world.recover(send=dying)
    assert not (tmp_path / "clip.mp4").exists()
    [part] = tmp_path.glob(f".clip.mp4.{task_id}.*.part")
    assert part.stat().st_size == 12_000
    ranges: list[str | None] = []

    def noting(request: Request, receive: Receive | None = None) -> Response:
        if receive is not None:
            ranges.append(request.headers.get("Range"))
        return send(request, receive)

    assert [row.task_id for row in world.recover(send=noting).delivered] == [task_id]
    assert ranges[0] == "bytes=12000-"
    assert (tmp_path / "clip.mp4").read_bytes() == CLIP
    assert not list(tmp_path.glob("*.part"))


def test_a_clip_that_was_promised_a_folder_is_named_after_its_task(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "output" / "ai-video-wan-video" / "videos"
    task_id = world.promised(f"{folder}/")
    world.time += 100
    assert [row.file for row in world.recover().delivered] == [str(folder / f"{task_id}.mp4")]
    assert (folder / f"{task_id}.mp4").read_bytes() == CLIP


def test_a_folder_that_vanished_is_made_again(world: World, tmp_path: Path) -> None:
    world.promised(tmp_path / "a" / "b" / "clip.mp4")
    world.time += 100
    assert len(world.recover().delivered) == 1
    assert (tmp_path / "a" / "b" / "clip.mp4").read_bytes() == CLIP


def test_a_submission_that_is_found_gets_its_clip_in_the_same_breath(world: World, tmp_path: Path) -> None:
    row, task_id = world.submission(output=str(tmp_path / "clip.mp4")), world.book()
    world.time += 100
    done = world.recover()
    assert [(each.row.id, each.end) for each in done.settled] == [(row, "adopted")]
    assert [each.task_id for each in done.delivered] == [task_id]
    assert (tmp_path / "clip.mp4").read_bytes() == CLIP


@pytest.mark.parametrize("delivered", [True, False])
def test_an_older_clip_never_takes_the_place_of_a_later_one(delivered: bool, world: World, tmp_path: Path) -> None:
    old, new = world.promised(tmp_path / "clip.mp4"), world.promised(tmp_path / "clip.mp4", at=1)
    if delivered:
        (tmp_path / "clip.mp4").write_bytes(b"the later one")
        world.ledger.update(new, file=str(tmp_path / "clip.mp4"))
    world.time += 100
    world.recover()
    assert (tmp_path / "clip.mp4").read_bytes() == (b"the later one" if delivered else CLIP)
    files = {task_id: row.file for task_id in (old, new) if (row := world.ledger.find(task_id))}
    assert files == {old: str(tmp_path / f"{old}.mp4"), new: str(tmp_path / "clip.mp4")}
    assert (tmp_path / f"{old}.mp4").read_bytes() == CLIP


def test_a_later_one_that_came_to_nothing_leaves_it_its_place(world: World, tmp_path: Path) -> None:
    world.promised(tmp_path / "clip.mp4")
    row = world.submission(at=1, output=str(tmp_path / "clip.mp4"))
    world.ledger.refuse(row, "invalid_request")
    failed = world.promised(tmp_path / "clip.mp4", at=2)
    world.ledger.update(failed, status="failed")
    world.time += 100
    assert [each.file for each in world.recover().delivered] == [str(tmp_path / "clip.mp4")]


def test_what_is_not_ready_is_named_and_how_to_wait_for_it(world: World, tmp_path: Path) -> None:
    task_id = world.promised(tmp_path / "clip.mp4")
    world.time += 10
    assert [row.task_id for row in world.recover().waiting] == [task_id]
    assert world.said == [
        f"task {task_id} is pending; wait for it: rawgenai dashscope video wait {task_id} -o {tmp_path / 'clip.mp4'}"
    ]


def test_a_status_that_flips_back_while_its_clip_is_fetched_is_not_ready(world: World, tmp_path: Path) -> None:
    task_id = world.promised(tmp_path / "clip.mp4")
    looks: list[str] = []

    def instead(request: Request) -> Response | None:
        if not request.url.startswith(f"tasks/{task_id}"):
            return Response(403, {}, b"<Code>AccessDenied</Code>")
        looks.append(request.url)
        running = {"output": {"task_id": task_id, "task_status": "RUNNING"}}
        return Response(200, {}, json.dumps(running).encode()) if len(looks) > 1 else None

    world.instead = instead
    world.time += 100
    done = world.recover()
    assert ([row.task_id for row in done.waiting], done.failed, len(looks)) == ([task_id], [], 2)
    assert world.said[0].startswith(f"task {task_id} is running; wait for it: ")


def test_what_cannot_be_fetched_does_not_keep_the_others(world: World, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    failing = {
        "video_failed": world.promised(tmp_path / "a.mp4", world.book("A emulator:fail=InternalError")),
        "url_expired": world.promised(tmp_path / "b.mp4", world.book("B emulator:expire")),
        "no_video": world.promised(tmp_path / "c.mp4", world.book("C emulator:no-video")),
        "output_write_error": world.promised(tmp_path / "file" / "d.mp4"),
        "task_not_found": world.promised(tmp_path / "e.mp4", "no-such-task"),
    }
    task_id = world.promised(tmp_path / "f.mp4")
    world.time += 100
    done = world.recover()
    assert {error.code: row.task_id for row, error in done.failed} == failing
    assert [row.task_id for row in done.delivered] == [task_id]
    assert sorted(file.name for file in tmp_path.glob("*.mp4")) == ["f.mp4"]


def test_what_nobody_promised_or_somebody_works_on_is_not_fetched(world: World, tmp_path: Path) -> None:
    world.ledger.accept(world.submission(), world.book())
    world.ledger.accept(world.submission(output="/dev/null/a.mp4", base_url="https://example.test"), world.book())
    world.ledger.accept(world.submission(output="/dev/null/b.mp4", at=-DAY - 1), world.book())
    with world.ledger.claimed() as claim:
        world.ledger.accept(world.submission(output=str(tmp_path / "clip.mp4"), claim=claim), world.book())
        world.time += 100
        done = world.recover()
        assert (done.delivered, done.waiting, done.failed) == ([], [], [])
    assert len(world.recover().delivered) == 1


# --- the command ------------------------------------------------------------------------------------------------


Ran = tuple[int, Any, list[str]]


@pytest.fixture
def command(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run the command in the world: its status, its envelope, and the other lines on stderr."""
    monkeypatch.setenv("DASHSCOPE_BASE_URL", "emulator")
    time: dict[str, Any] = {
        "now": lambda: world.time,
        "clock": lambda: world.time,
        "sleep": world.sleep,
        "send": world.send,
    }
    monkeypatch.setattr(recovery, "recover", partial(recovery.recover, ledger=world.ledger, **time))

    def run(*argv: str) -> Ran:
        old = signal.getsignal(signal.SIGTERM)
        try:
            status = cli.run(("dashscope", "video", "recover", *argv))
        finally:
            signal.signal(signal.SIGTERM, old)
        out, err = capsys.readouterr()
        lines = err.splitlines()
        return status, json.loads(out) if out else json.loads(lines.pop()), lines

    return run


def test_the_command_says_what_it_did(command: Callable[..., Ran], world: World, tmp_path: Path) -> None:
    rows = [world.submission("一只猫", output=str(tmp_path / "cat.mp4")), world.submission("A dog")]
    old = world.submission(at=-DAY - 1)
    task_id, waiting = world.book("一只猫"), world.promised(tmp_path / "late.mp4", at=250)
    failed = world.promised(tmp_path / "b.mp4", world.book("B emulator:fail=InternalError"))
    world.time += 250
    status, envelope, said = command()
    assert (status, envelope) == (0, {
        "success": True,
        "settled": [
            {"model": MODEL, "prompt": "A kitten", "outcome": "lost", "task_id": None},
            {"model": MODEL, "prompt": "一只猫", "outcome": "adopted", "task_id": task_id},
            {"model": MODEL, "prompt": "A dog", "outcome": "absent", "task_id": None},
        ],
        "delivered": [{"task_id": task_id, "file": str(tmp_path / "cat.mp4")}],
        "waiting": [waiting],
        "failed": [{"task_id": failed, "code": "video_failed"}],
    })  # fmt: skip
    assert said == [
        f"submission {old} ({MODEL}, 'A kitten') is over 24 hours old: the API has forgotten whether it was accepted",
        f"submission {rows[0]} ({MODEL}, '一只猫') was accepted: it is task {task_id}",
        f"submission {rows[1]} ({MODEL}, 'A dog') was not accepted, or failed: nothing was paid",
        f"task {failed}: An internal error has occured, please try again later or contact service support.",
        f"task {waiting} is running; wait for it: rawgenai dashscope video wait {waiting} -o {tmp_path / 'late.mp4'}",
        f"task {task_id}: its clip is in {tmp_path / 'cat.mp4'}",
    ]  # fmt: skip


def test_the_command_has_nothing_to_do_and_asks_nobody(command: Callable[..., Ran], world: World) -> None:
    nothing: dict[str, Any] = {"success": True, "settled": [], "delivered": [], "waiting": [], "failed": []}
    assert command() == (0, nothing, [])
    assert world.asked == []


def test_quietly_it_says_nothing_beside_the_envelope(command: Callable[..., Ran], world: World) -> None:
    world.submission()
    status, envelope, said = command("-q", "--settle", "1")
    assert (status, envelope["settled"][0]["outcome"], said) == (0, "absent", [])


@pytest.mark.parametrize("facts", [{"account": "another"}, {"base_url": "https://example.test/api/v1"}])
def test_what_is_left_unsettled_is_status_6(facts: dict[str, Any], command: Callable[..., Ran], world: World) -> None:
    row = world.submission(**facts)
    world.submission("A dog")
    status, envelope, said = command()
    assert (status, envelope["error"]["outcome"], envelope["error"]["code"]) == (6, "unknown", "timeout")
    assert "1 of 2 submissions are not settled (elsewhere)" in envelope["error"]["message"]
    assert f"submission {row} ({MODEL}, 'A kitten') was sent with another base URL or key" in "\n".join(said)
    assert world.row(row).state == "unknown"


def test_a_timeout_of_its_own_leaves_it_for_later(command: Callable[..., Ran], world: World) -> None:
    row = world.submission()
    status, envelope, said = command("--timeout", "20")
    assert (status, envelope["error"]["outcome"]) == (6, "unknown")
    assert said == [f"submission {row} ({MODEL}, 'A kitten') is not settled yet: run recover again later"]
    assert world.time - START <= 20


def test_an_api_that_cannot_be_asked_for_a_clip_is_status_4(
    command: Callable[..., Ran], world: World, tmp_path: Path
) -> None:
    task_id = world.promised(tmp_path / "clip.mp4")
    world.instead = lambda _: Response(503, {}, b"{}")
    status, envelope, said = command()
    assert (status, envelope["error"]["code"], envelope["error"]["task_id"]) == (4, "server_error", task_id)
    assert len(said) == 1


def test_a_clip_that_cannot_be_written_is_a_failure(command: Callable[..., Ran], world: World, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    world.promised(tmp_path / "file" / "clip.mp4")
    world.time += 100
    status, envelope, _ = command()
    assert (status != 0, envelope["error"]["code"]) == (True, "output_write_error")


def test_a_refused_key_is_status_3(command: Callable[..., Ran], world: World) -> None:
    world.submission()
    world.instead = lambda _: Response(401, {}, b'{"code": "InvalidApiKey", "message": "no"}')
    status, envelope, _ = command()
    assert (status, envelope["error"]["code"]) == (3, "invalid_api_key")
