"""The command `generate`: where the clip goes, what is said of it, and that the same command pays once."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from invoking import Result, invoke

from account import CLIP, Lost, World
from faulty import CLOSE, KEY, TASK, command, environ
from rawgenai.ledger import Ledger, open_ledger

GENERATE = ("dashscope", "video", "generate")
AT_ONCE = ("--poll-interval", "0", "-q")
KITTEN = "月光下奔跑的小猫"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with World({}, seconds=0.2, now=time.time).served() as served:
        monkeypatch.setenv("DASHSCOPE_BASE_URL", served.url)
        monkeypatch.setenv("DASHSCOPE_API_KEY", KEY)
        yield served


def generate(*argv: str, stdin: bytes | None = None) -> Result:
    return invoke(*GENERATE, *AT_ONCE, *argv, stdin=stdin)


# --- the clip and its envelope ----------------------------------------------------------------------------------------


def test_a_clip_is_on_disk_and_its_envelope_on_stdout(world: World, tmp_path: Path) -> None:
    result = generate(KITTEN, "-o", "cat.mp4")
    assert (result.status, result.err, result.out.count("\n")) == (0, "", 1)
    assert result.envelope == {
        "success": True, "task_id": TASK, "status": "succeeded", "file": str(tmp_path / "cat.mp4"), "duration": 5,
        "resolution": 720,
    }  # fmt: skip
    assert (tmp_path / "cat.mp4").read_bytes() == CLIP


def test_verbose_shows_the_url_and_the_prompts_too(world: World) -> None:
    plain, verbose = (
        generate(KITTEN, "-o", "a.mp4").envelope,
        generate(KITTEN, "-o", "a.mp4", "--no-cache", "-v").envelope,
    )
    assert verbose.keys() - plain.keys() >= {"video_url", "orig_prompt"}


@pytest.mark.parametrize("folder", [None, "", "here", "not/there/yet", "with {braces}", "月光"])
def test_without_o_a_clip_goes_where_the_skill_says(
    folder: str | None, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if folder is not None:
        monkeypatch.setenv("OUTPUT_DIR", folder)
    result = generate(KITTEN)
    place = tmp_path / (folder or "output") / "ai-video-wan-video" / "videos" / f"{TASK}.mp4"
    assert result.envelope["file"] == str(place)
    assert place.read_bytes() == CLIP


def test_an_output_dir_that_is_a_file_is_refused_before_anything_is_sent(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("OUTPUT_DIR", "file")
    result = generate(KITTEN)
    assert (result.code, result.status, world.posts()) == ("output_write_error", 2, 0)


@pytest.mark.parametrize(("flags", "code"), [
    (("-o", "missing/cat.mp4"), "output_write_error"),
    (("-o", "cat.avi"), "invalid_format"),
    (("--duration", "99"), "invalid_duration"),
    (("--timeout", "-1"), "invalid_usage"),
    (("--settle", "soon"), "invalid_usage"),
    (("--idempotency-key", "a", "--no-ledger"), "invalid_usage"),
])  # fmt: skip
@pytest.mark.parametrize("dry", [(), ("--dry-run",), ("--dry-run=curl",)])
def test_what_is_wrong_is_refused_before_anything_is_sent(
    flags: tuple[str, ...], code: str, dry: tuple[str, ...], world: World
) -> None:
    result = generate(KITTEN, *flags, *dry)
    assert (result.code, result.status, world.posts()) == (code, 2, 0)


def test_a_dry_run_prints_the_request_and_sends_nothing(world: World, tmp_path: Path) -> None:
    result = generate(KITTEN, "-o", "cat.mp4", "--dry-run")
    assert result.envelope["dry_run"] is True
    assert result.envelope["request"]["body"]["input"]["prompt"] == KITTEN
    assert (world.posts(), (tmp_path / "cat.mp4").exists(), (tmp_path / "state").exists()) == (0, False, False)


def test_the_prompt_may_come_from_a_pipe(world: World) -> None:
    assert generate("-o", "cat.mp4", stdin=KITTEN.encode()).status == 0


def test_a_wait_that_is_over_names_the_task(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with World({}, now=time.time).served() as slow:
        monkeypatch.setenv("DASHSCOPE_BASE_URL", slow.url)
        result = generate(KITTEN, "-o", "cat.mp4", "--timeout", "0.3")
    assert (result.code, result.status, result.envelope["error"]["task_id"]) == ("wait_timeout", 5, TASK)


def test_a_log_gets_one_line_for_each_change(world: World) -> None:
    lines = invoke(*GENERATE, "--poll-interval", "0", KITTEN, "-o", "cat.mp4").err.splitlines()
    assert lines[0].startswith(f"task {TASK}: 5 s are billed")
    assert re.fullmatch(rf"{TASK}: pending after 0:\d\d \(usually 1-5 min\)", lines[1])
    assert [line.partition(" after ")[0] for line in lines[2:]] == [f"{TASK}: running", f"{TASK}: succeeded"]


# --- paid once --------------------------------------------------------------------------------------------------------


def test_the_same_command_again_is_answered_from_disk(world: World) -> None:
    first = generate(KITTEN, "-o", "cat.mp4")
    again = generate(KITTEN, "-o", "cat.mp4")
    assert again.envelope == {**first.envelope, "cached": True}
    assert world.posts() == 1


def test_no_cache_makes_a_new_clip(world: World) -> None:
    first = generate(KITTEN, "-o", "cat.mp4")
    again = generate(KITTEN, "-o", "cat.mp4", "--no-cache")
    assert world.posts() == 2
    assert again.envelope["task_id"] != first.envelope["task_id"]
    assert "cached" not in again.envelope


@pytest.mark.parametrize("flag", ["--no-ledger", "RAWGENAI_LEDGER"])
def test_without_a_ledger_there_is_a_clip_and_no_memory(
    flag: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = [flag] if flag.startswith("--") else []
    if not flags:
        monkeypatch.setenv(flag, "off")
    for _ in range(2):
        assert generate(KITTEN, "-o", "cat.mp4", *flags).status == 0
    assert world.posts() == 2
    assert not list(tmp_path.rglob("tasks.db"))


def test_a_lost_answer_is_warned_of_and_looked_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with World({"create": [Lost(CLOSE)]}, seconds=0.2, now=time.time).served() as losing:
        monkeypatch.setenv("DASHSCOPE_BASE_URL", losing.url)
        result = invoke(*GENERATE, "--poll-interval", "0", "--settle", "3", KITTEN, "-o", "cat.mp4")
    assert (result.status, losing.posts()) == (0, 1)
    assert result.err.startswith("warning: connection_error: ")
    assert "asking the API what became of it" in result.err


@pytest.mark.slow  # it really waits
def test_one_that_settles_for_long_is_waited_for_no_longer_than_the_timeout(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        World({"create": [Lost(CLOSE)]}, now=time.time).served() as losing,
        open_ledger() as ledger,
        ledger.settling(0),  # another process, for all that the commands know
    ):
        monkeypatch.setenv("DASHSCOPE_BASE_URL", losing.url)
        result = generate(KITTEN, "-o", "cat.mp4", "--timeout", "0.5")
        again = generate(KITTEN, "-o", "cat.mp4", "--timeout", "0.5")
        recovered = invoke("dashscope", "video", "recover", "--timeout", "0.5")
    for each in (result, again):
        assert (each.status, each.code, each.envelope["error"]["outcome"]) == (6, "wait_timeout", "unknown")
        said = each.envelope["error"]["message"]
        assert re.match(r"another process is still settling submissions after 0(\.\d)? seconds; the task may", said)
    assert (recovered.status, recovered.code) == (5, "wait_timeout")
    assert (losing.posts(), losing.asked["list"]) == (1, [])


@pytest.mark.slow
@pytest.mark.platform
@pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals")
@pytest.mark.parametrize(("number", "status", "output"), [
    (signal.SIGINT, 130, ("-o", "my cat.mp4")),
    (signal.SIGTERM, 143, ()),
])  # fmt: skip
def test_after_a_signal_the_same_command_goes_on_and_pays_once(
    output: tuple[str, ...], number: signal.Signals, status: int, tmp_path: Path
) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    argv = [*GENERATE, *AT_ONCE, KITTEN, *output]
    with World({}, seconds=1.5, now=time.time).served() as world:
        process = subprocess.Popen(
            command(*argv), env=environ(world.url), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        signal.signal(signal.SIGINT, before)
        end = time.monotonic() + 20
        while not world.asked["status"] and time.monotonic() < end:
            time.sleep(0.01)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out) == (status, "")
        *_, advice, word = err.splitlines()
        assert word in ("interrupted", "terminated")
        place = "my cat.mp4" if output else f"output/ai-video-wan-video/videos/{TASK}.mp4"
        assert advice.partition("; to go on: ")[2].replace("'", "") == (
            f"rawgenai dashscope video wait {TASK} -o {place}"
        )
        run = subprocess.run(
            command(*argv), env=environ(world.url), stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    assert run.returncode == 0, run
    assert (json.loads(run.stdout)["task_id"], world.posts()) == (TASK, 1)
    assert (tmp_path / place).read_bytes() == CLIP
    with Ledger(str(tmp_path / "state" / "rawgenai" / "tasks.db")) as ledger:
        assert [(row.status, row.file) for row in ledger.rows()] == [("succeeded", str(tmp_path / place))]
