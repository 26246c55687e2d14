"""From a prompt to a file through each fault of the wire, at every stage: the right file or error, and one POST."""

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from account import CLIP, START, Answer, Lost, World, task
from faulty import (
    CLOSE,
    CREATED,
    KEY,
    TASK,
    clip,
    dripped,
    endless,
    hang,
    ranged,
    rawgenai,
    refuses,
    reply,
    reset,
    says,
    settings,
    then,
)
from rawgenai import http
from rawgenai.dashscope import Spec, waiting
from rawgenai.dashscope.generation import generate
from rawgenai.errors import RawgenaiError
from rawgenai.ledger import Ledger

OTHER = clip(60_000)
HTML = reply(502, b"<html><h1>502 Bad Gateway</h1>\x1b[31m</html>", "Content-Type: text/html")
BUSY = refuses(429, "Throttling.RateQuota", "slow down", "Retry-After: 7")
DENIED = reply(403, b"<Error><Code>AccessDenied</Code></Error>", "Date: Fri, 15 Jan 2027 08:00:00 GMT")


class Case(NamedTuple):
    """What goes wrong at each stage, and what must become of it."""

    scripts: Mapping[str, Sequence[Answer]]
    code: str | None = None  # of the error; None: the clip is there
    exit: int = 0
    posts: int = 1
    state: str = "accepted"  # of the row in the ledger
    outcome: str | None = None
    got: bytes = CLIP
    slow: float = 10.0  # seconds that a request may take; few where something hangs
    timeout: float = 1800.0  # of the waiting
    looks: int | None = None  # at the task's status, where the number matters


HANGS = 0.15
GZIP = reply(200, b"\x1f\x8b\x08", "Content-Encoding: gzip")
JUNK = reply(200, b"\x00\xff junk")
DOWN = refuses(503, "ModelUnavailable")
RUNNING, UNKNOWN, NAMELESS = task("RUNNING"), task("UNKNOWN"), task("SUCCEEDED")
OTHER_TASK = task("SUCCEEDED", task_id="another", video_url="https://clips.example.test/wrong")
ANSWERS: dict[str, Sequence[Answer]] = {  # of the API, to a GET; each passes
    "cut": [RUNNING[:-20]],
    "cut in the head": [RUNNING[:20]],
    "closed": [CLOSE],
    "reset": [reset],
    "stall": [hang],
    "stall in the body": [then(RUNNING[:-20], hang)],
    "drip": [dripped(RUNNING, 0.05)],
    "429 with Retry-After": [BUSY, BUSY, BUSY],
    "5xx": [DOWN, refuses(500, "InternalError"), reply(504)],
    "HTML 502": [HTML, HTML, HTML],
    "HTML 200": [reply(200, b"<html>log in</html>")],
    "empty": [reply(200)],
    "junk": [JUNK],
    "gzip": [GZIP],
    "10 MB": [endless(10_000_000)],
    "nested": [reply(200, b"[" * 100_000)],
    "redirect": [reply(302, b"", "Location: /api/v1/other")],
}


def _slow(name: str) -> float:
    return HANGS if "stall" in name or "drip" in name else 10.0


failed = partial(Case, exit=1)
never = partial(Case, state="refused", exit=4)
CASES = {
    "nothing goes wrong": Case({}, looks=5),
    # --- the POST; the task was booked, and the answer is lost
    "create: cut": Case({"create": [Lost(CREATED[:-30])]}),
    "create: closed": Case({"create": [Lost(CLOSE)]}),
    "create: reset": Case({"create": [Lost(reset)]}),
    "create: stall": Case({"create": [Lost(hang)]}, slow=HANGS),
    "create: stall in the body": Case({"create": [Lost(then(CREATED[:-30], hang))]}, slow=HANGS),
    "create: drip": Case({"create": [Lost(dripped(CREATED, 0.05))]}, slow=HANGS),
    "create: HTML 502": Case({"create": [Lost(HTML)]}),
    "create: 500": Case({"create": [Lost(refuses(500, "InternalError"))]}),
    "create: 503 with Retry-After": Case({"create": [Lost(reply(503, b"", "Retry-After: 1"))]}),
    "create: 504": Case({"create": [Lost(reply(504))]}),
    "create: 408": Case({"create": [Lost(reply(408))]}),
    "create: redirect": Case({"create": [Lost(reply(307, b"", "Location: /api/v1/other"))]}),
    "create: empty": Case({"create": [Lost(reply(200))]}),
    "create: junk": Case({"create": [Lost(JUNK)]}),
    "create: gzip": Case({"create": [Lost(GZIP)]}),
    "create: 10 MB": Case({"create": [Lost(endless(10_000_000))]}),
    "create: no task id": Case({"create": [Lost(says({"request_id": "request-1", "output": {}}))]}),
    # --- the POST; nothing was booked
    "create: never booked": never({"create": [CLOSE]}, "connection_error"),
    "create: never booked, reset": never({"create": [reset]}, "connection_error"),
    "create: never booked, stall": never({"create": [hang]}, "timeout", slow=HANGS),
    "create: never booked, HTML 502": never({"create": [HTML]}, "server_error"),
    "create: 429, then taken": Case({"create": [BUSY, BUSY]}, posts=3),
    "create: 429, then lost": Case({"create": [BUSY, Lost(CLOSE)]}, posts=2),
    "create: 429 for ever": never({"create": [refuses(429, "Throttling")] * 9}, "rate_limit", posts=4),
    "create: 429 with a long Retry-After": never(
        {"create": [refuses(429, "Throttling", "no", "Retry-After: 9999")]}, "rate_limit"
    ),
    "create: 400": never({"create": [refuses(400, "InvalidParameter")]}, "invalid_request", exit=1),
    "create: moderation": never({"create": [refuses(400, "DataInspectionFailed")]}, "content_policy", exit=1),
    "create: 401": never({"create": [refuses(401, "InvalidApiKey")]}, "invalid_api_key", exit=3),
    "create: arrears": never({"create": [refuses(400, "Arrearage")]}, "access_denied", exit=3),
    # --- the list, while a lost answer is settled
    **{
        f"list: {name}": Case({"create": [Lost(CLOSE)], "list": answers}, slow=_slow(name))
        for name, answers in ANSWERS.items()
    },
    "list: down for 30 s and more": Case({"create": [Lost(CLOSE)], "list": [DOWN] * 24}),
    "list: down for ever": Case(
        {"create": [Lost(CLOSE)], "list": [DOWN] * 999}, "connection_error", 6, 1, "unknown", "unknown", timeout=100.0
    ),
    "list: 401": Case(
        {"create": [Lost(CLOSE)], "list": [refuses(401, "InvalidApiKey")]},
        "invalid_api_key",
        6,
        1,
        "unknown",
        "unknown",
    ),
    "list: not allowed": Case(
        {"create": [Lost(HTML)], "list": [refuses(403, "AccessDenied")]}, "access_denied", 6, 1, "unknown", "unknown"
    ),
    # --- the status
    **{f"status: {name}": Case({"status": answers}, slow=_slow(name)) for name, answers in ANSWERS.items()},
    "status: 5xx for 30 s and more": Case({"status": [DOWN] * 6}, looks=7),
    "status: another task": Case({"status": [OTHER_TASK, OTHER_TASK]}),
    "status: UNKNOWN at first": Case({"status": [UNKNOWN] * 4}),
    "status: 404 at first": Case({"status": [reply(404)] * 4}),
    "status: UNKNOWN for ever": failed({"status": [UNKNOWN] * 99}, "task_not_found", looks=7),
    "status: UNKNOWN in between": Case({"status": [RUNNING] * 6 + [UNKNOWN] * 3}, looks=10),
    "status: flips back": Case({"status": [NAMELESS, RUNNING, task("PENDING"), NAMELESS, RUNNING]}, looks=6),
    "status: flips back after the end": Case({"status": ["succeeded", RUNNING, RUNNING], "clip": [DENIED]}),
    "status: no clip at first": Case({"status": [NAMELESS] * 3}, looks=5),
    "status: no clip for ever": failed({"status": [NAMELESS] * 99}, "no_video", looks=4),
    "status: moderation": failed({"status": [task("FAILED", code="DataInspectionFailed")]}, "content_policy", looks=1),
    "status: failed": failed({"status": [task("FAILED", code="InternalError")]}, "server_error", looks=1),
    "status: failed for a parameter": failed({"status": [task("FAILED", code="InvalidParameter")]}, "invalid_request"),
    "status: failed without a reason": failed({"status": [task("FAILED")]}, "video_failed", looks=1),
    "status: canceled": failed({"status": [RUNNING, task("CANCELED")]}, "video_failed", looks=2),
    "status: 401": Case({"status": [RUNNING, refuses(401, "InvalidApiKey")]}, "invalid_api_key", 3, looks=2),
    "status: down for ever": Case({"status": [DOWN] * 999}, "wait_timeout", 5, looks=123),
    "status: a Retry-After beyond the timeout": Case(
        {"status": [refuses(429, "Throttling", "no", "Retry-After: 99999")]}, looks=2
    ),
    # --- the clip
    "clip: cut": Case({"clip": [ranged(CLIP, cut=40_000), ranged(CLIP, cut=10)]}),
    "clip: cut without an ETag": Case({"clip": [ranged(CLIP, None, cut=40_000), ranged(CLIP, None)]}),
    "clip: cut for ever": Case({"clip": [ranged(CLIP, None, cut=40_000)] * 99}, "download_error", 4),
    "clip: closed": Case({"clip": [CLOSE, CLOSE]}),
    "clip: reset": Case({"clip": [then(ranged(CLIP, cut=40_000), reset)]}),
    "clip: stall": Case({"clip": [hang, then(ranged(CLIP, cut=40_000), hang)]}, slow=HANGS),
    "clip: 429 with Retry-After": Case({"clip": [reply(429, b"", "Retry-After: 3")]}),
    "clip: 5xx": Case({"clip": [reply(500), reply(503), reply(504)]}),
    "clip: 5xx for 30 s": Case({"clip": [reply(503)] * 12}),
    "clip: down for ever": Case({"clip": [reply(503)] * 99}, "download_error", 4),
    "clip: HTML 502": Case({"clip": [HTML]}),
    "clip: HTML 200": Case({"clip": [reply(200, b"<html>log in</html>")]}),
    "clip: HTML for ever": Case({"clip": [reply(200, b"<html>log in</html>")] * 9}, "download_error", 4),
    "clip: empty": Case({"clip": [reply(200)]}),
    "clip: gzip": Case({"clip": [GZIP]}),
    "clip: another range": Case({"clip": [ranged(CLIP, cut=40_000), reply(206, b"x", "Content-Range: bytes 7-7/8")]}),
    "clip: replaced": Case({"clip": [ranged(CLIP, cut=40_000), ranged(OTHER, '"two"')]}, got=OTHER),
    "clip: URL expired, and a fresh one": Case({"clip": [DENIED]}),
    "clip: URL expired in the middle": Case({"clip": [ranged(CLIP, cut=40_000), DENIED]}),
    "clip: URL expired": failed({"clip": [DENIED] * 9}, "url_expired"),
    "clip: gone": failed({"clip": [reply(404)] * 9}, "url_expired"),
}
OLD = b"the old file"


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    monkeypatch.setattr("rawgenai.ledger._PRAGMAS", ("PRAGMA synchronous = OFF",))  # no kill here, and it is quicker
    usual = waiting.watch.__kwdefaults__ or {}
    monkeypatch.setitem(usual, "chance", lambda: 0.5)  # no jitter, so that looks can be counted
    with Ledger(str(tmp_path / "tasks.db"), now=lambda: START) as opened:
        yield opened


def _generate(world: World, ledger: Ledger, target: Path, *, slow: float = 10.0, timeout: float = 1800.0) -> None:
    """Generate a clip into a file."""
    url = world.url
    clip = generate(
        Spec("A kitten"), output=str(target), settings=settings(url), send=http.sender(url, lambda: KEY, slow),
        ledger=ledger, timeout=timeout, now=lambda: world.time, clock=lambda: world.time, sleep=world.sleep,
    )  # fmt: skip
    assert clip.file == str(target)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_generate_ends_with_the_right_file_or_the_right_error_after_one_post(
    name: str, ledger: Ledger, tmp_path: Path
) -> None:
    case = CASES[name]
    target = tmp_path / "clips" / "cat.mp4"
    target.parent.mkdir()
    target.write_bytes(OLD)
    error = None
    with World(case.scripts).served() as world:
        try:
            _generate(world, ledger, target, slow=case.slow, timeout=case.timeout)
        except RawgenaiError as raised:
            error = raised
    [row] = ledger.rows()
    assert (error and error.code, error.status if error else 0) == (case.code, case.exit), error
    assert (world.posts(), row.state) == (case.posts, case.state)
    assert target.read_bytes() == (OLD if error else case.got)
    assert case.looks in (None, len(world.asked["status"]))
    if error:
        assert error.outcome == case.outcome
        assert error.task_id == (TASK if case.state == "accepted" else None)
        assert ("may have been accepted" in error.message) == (case.outcome == "unknown")
    else:
        assert (row.task_id, row.status, row.file) == (TASK, "succeeded", str(target))
        assert [file.name for file in target.parent.iterdir()] == ["cat.mp4"]


PASSING = [name for name, case in CASES.items() if case.exit in (4, 5, 6) or case.code == "invalid_api_key"]


@pytest.mark.parametrize("name", PASSING)
def test_the_same_call_goes_on_where_it_stopped_and_pays_for_no_second_task(
    name: str, ledger: Ledger, tmp_path: Path
) -> None:
    case, target = CASES[name], tmp_path / "cat.mp4"
    with World(case.scripts).served() as world:
        with pytest.raises(RawgenaiError):
            _generate(world, ledger, target, slow=case.slow, timeout=case.timeout)
        world.heal()
        _generate(world, ledger, target)
    assert target.read_bytes() == CLIP
    assert world.posts() == case.posts + (case.state == "refused")
    assert len([row for row in ledger.rows() if row.task_id]) == 1


@pytest.mark.parametrize("name", ["status: UNKNOWN at first", "clip: cut", "nothing goes wrong"])
def test_without_a_ledger_a_new_task_may_be_unknown_all_the_same(name: str, tmp_path: Path) -> None:
    with World(CASES[name].scripts).served() as world:
        _generate(world, Ledger(None), tmp_path / "cat.mp4")
    assert (tmp_path / "cat.mp4").read_bytes() == CLIP
    assert world.posts() == 1


def test_a_busy_server_is_asked_again_when_it_said(ledger: Ledger, tmp_path: Path) -> None:
    with World({"status": [refuses(429, "Throttling", "no", "Retry-After: 60")]}).served() as world:
        _generate(world, ledger, tmp_path / "cat.mp4")
    assert [time - START for time in world.asked["status"]] == [5, 65]


# --- as a process ----------------------------------------------------------------------------------------------------

AS_PROCESS = (
    "create: closed",
    "status: moderation",
    "clip: cut",
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in (
            "nothing goes wrong",
            "create: 401",
            "status: HTML 502",
            "status: UNKNOWN at first",
            "status: 401",
            "clip: URL expired",
        )
    ),
)


@pytest.mark.slow
@pytest.mark.parametrize("name", AS_PROCESS)
def test_the_same_holds_for_the_command(name: str, tmp_path: Path) -> None:
    case, target = CASES[name], tmp_path / "cat.mp4"
    flags = ("-o", str(target), "--poll-interval", "0", "--settle", "3")
    with World(case.scripts, seconds=0.5, now=time.time).served() as world:
        run = rawgenai(world.url, "dashscope", "video", "generate", "A kitten", *flags)
    assert (run.status, world.posts()) == (case.exit, case.posts), run
    if case.code:
        assert (run.stdout, run.error["code"], target.exists()) == ("", case.code, False)
    else:
        assert target.read_bytes() == CLIP
        assert run.envelope == {
            "success": True, "task_id": TASK, "status": "succeeded", "file": str(target), "duration": 5,
            "resolution": 720,
        }  # fmt: skip
    assert "\x1b" not in run.stderr
