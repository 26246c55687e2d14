"""The command `wait`: one envelope, or a line for each of several tasks; signals stop the waiting, not the tasks."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from invoking import Result, invoke

from account import CLIP, Answer, World, task
from faulty import KEY, TASK, command, environ, refuses, reply
from rawgenai.dashscope import downloading
from rawgenai.ledger import Ledger

WAIT = ("dashscope", "video", "wait")
AT_ONCE = ("--poll-interval", "0")
OTHERS = {
    "ready": ("SUCCEEDED", 0.0),
    "soon": ("SUCCEEDED", 0.3),
    "later": ("SUCCEEDED", 0.7),
    "failed": ("FAILED", 0.05),
    "canceled": ("CANCELED", 0.0),
    "never": ("RUNNING", 0.0),
}
signals = pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    # A tenth of a second goes by with each look, however fast the machine is.
    account = World({}, others=OTHERS, now=lambda: len(account.asked["status"]) / 10)
    with account.served() as served:
        monkeypatch.setenv("DASHSCOPE_BASE_URL", served.url)
        monkeypatch.setenv("DASHSCOPE_API_KEY", KEY)
        yield served


def wait(*argv: str, stdin: bytes | None = None) -> Result:
    return invoke(*WAIT, *AT_ONCE, *argv, stdin=stdin)


def _lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def _known(tmp_path: Path, task_id: str) -> Ledger:
    ledger = Ledger(str(tmp_path / "state" / "rawgenai" / "tasks.db"))
    row = ledger.intend(provider="dashscope", model="wan2.6-t2v", mode="t2v", prompt="A kitten", base_url="x")
    ledger.accept(row, task_id)
    return ledger


# --- one task -----------------------------------------------------------------------------------------------------


def test_a_task_that_ends_is_the_documented_envelope(world: World) -> None:
    result = wait("soon")
    assert result.status == 0
    assert result.out.count("\n") == 1
    expected = {"success": True, "task_id": "soon", "status": "succeeded", "duration": 5, "resolution": 720}
    assert result.envelope == expected
    assert "video_url" in wait("soon", "-v").envelope


def test_its_clip_is_downloaded_where_that_is_wanted(world: World, tmp_path: Path) -> None:
    result = wait("soon", "-o", str(tmp_path / "月光.mp4"))
    assert result.envelope["file"] == str(tmp_path / "月光.mp4")
    assert (tmp_path / "月光.mp4").read_bytes() == CLIP


def test_the_name_of_one_clip_may_hold_the_tasks_id_too(world: World, tmp_path: Path) -> None:
    wait("ready", "-o", str(tmp_path / "{task_id}.mp4"))
    assert (tmp_path / "ready.mp4").read_bytes() == CLIP


ENDS = {
    "failed": ("video_failed", 1),
    "canceled": ("video_failed", 1),
    "nobody": ("task_not_found", 1),
    "never": ("wait_timeout", 5),
}


@pytest.mark.parametrize("task_id", ENDS)
@pytest.mark.parametrize("output", [(), ("-o", "clip.mp4")], ids=["", "-o"])
def test_a_task_without_a_clip_is_a_failure(
    task_id: str, output: tuple[str, ...], world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = wait(task_id, "--timeout", "0.5", *output)
    assert (result.code, result.status) == ENDS[task_id]
    assert result.envelope["error"]["task_id"] == task_id
    assert not (tmp_path / "clip.mp4").exists()


def test_the_ledger_learns_the_end_and_the_file(world: World, tmp_path: Path) -> None:
    with _known(tmp_path, "soon") as ledger:
        wait("soon", "-o", str(tmp_path / "a.mp4"))
        [row] = ledger.rows()
    assert (row.status, row.file) == ("succeeded", str(tmp_path / "a.mp4"))
    assert row.file_digest
    assert "clip.mp4" in (row.answer or "")


def test_a_task_that_the_ledger_does_not_know_is_waited_for_and_makes_no_ledger(world: World, tmp_path: Path) -> None:
    assert wait("soon").status == 0
    assert not (tmp_path / "state").exists()


def test_a_broken_ledger_is_a_warning(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "state" / "rawgenai"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "tasks.db").write_bytes(b"no database at all" * 99)
    result = wait("ready")
    assert result.status == 0
    assert "warning: the ledger" in result.err


def test_a_log_gets_one_line_for_each_change(world: World) -> None:
    lines = wait("soon").err.splitlines()
    assert [line.partition(" after ")[0] for line in lines] == ["soon: running", "soon: succeeded"]


def test_the_usual_time_is_said_where_the_ledger_knows_the_model(world: World, tmp_path: Path) -> None:
    with _known(tmp_path, "ready"):
        assert re.fullmatch(r"ready: succeeded after 0:\d\d \(usually 1-5 min\)\n", wait("ready").err)


def test_quiet_means_nothing_on_stderr(world: World) -> None:
    assert wait("soon", "-q").err == ""


def test_a_poll_interval_of_nothing_is_ten_requests_a_second_at_most(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("rawgenai.cli.watching.Display.sleep", lambda _, seconds: slept.append(seconds))
    wait("later")
    assert len(world.asked["status"]) == len(slept) == 8
    assert all(0 <= seconds <= 0.1 for seconds in slept)
    assert sum(slept) > 0


@pytest.mark.parametrize("value", ["-1", "x", "nan", "1e3", ""])
@pytest.mark.parametrize("flag", ["--timeout", "--poll-interval"])
def test_what_is_no_number_of_seconds_is_refused(flag: str, value: str, world: World) -> None:
    assert invoke(*WAIT, "ready", flag, value).code == "invalid_usage"
    assert world.asked["status"] == []


# --- several tasks --------------------------------------------------------------------------------------------------


def test_several_tasks_get_a_line_each_as_they_end_failures_too(world: World) -> None:
    result = wait("later", "failed", "soon", "ready")
    ready, failed, soon, later = _lines(result.out)
    assert [line["task_id"] for line in (ready, soon, later)] == ["ready", "soon", "later"]
    assert failed["error"]["task_id"] == "failed"
    assert (result.status, _lines(result.err.splitlines()[-1])[0]["error"]["code"]) == (1, "video_failed")
    assert "1 of 4 tasks" in result.err


def test_several_tasks_that_succeed_are_a_success(world: World) -> None:
    result = wait("soon", "ready", "-q")
    assert (result.status, len(_lines(result.out)), result.err) == (0, 2, "")


STATUSES = {  # tasks -> the exit status: that of what can still become something, before what cannot
    ("failed", "never"): 5,
    ("failed", "canceled", "ready"): 1,
    ("nobody", "ready"): 1,
    ("never", "ready"): 5,
}


@pytest.mark.parametrize("ids", STATUSES, ids=" ".join)
def test_the_exit_status_of_several_is_the_most_urgent(ids: tuple[str, ...], world: World) -> None:
    result = wait(*ids, "--timeout", "0.6")
    assert result.status == STATUSES[ids]
    assert len(_lines(result.out)) == len(ids)


def test_a_key_that_is_refused_for_one_of_several_is_the_status_of_all(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with World({"status": [refuses(401, "InvalidApiKey")] * 2}, now=time.time).served() as refusing:
        monkeypatch.setenv("DASHSCOPE_BASE_URL", refusing.url)
        result = wait("a", "b")
    assert result.status == 3
    assert [line["error"]["code"] for line in _lines(result.out)] == ["invalid_api_key"] * 2


def test_each_of_several_clips_is_named_after_its_task(world: World, tmp_path: Path) -> None:
    result = wait("soon", "ready", "-o", str(tmp_path / "{task_id}.mp4"))
    assert [line["file"] for line in _lines(result.out)] == [
        str(tmp_path / f"{name}.mp4") for name in ("ready", "soon")
    ]
    assert (tmp_path / "soon.mp4").read_bytes() == (tmp_path / "ready.mp4").read_bytes() == CLIP


def test_a_clip_whose_folder_went_away_meanwhile_is_an_error_of_its_own_line(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    process = subprocess.Popen(
        command(*WAIT, *AT_ONCE, "later", "ready", "-o", str(folder / "{task_id}.mp4")),
        env=environ(world.url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    process.stdout.readline()
    (folder / "ready.mp4").unlink()
    folder.rmdir()
    out, err = process.communicate(timeout=20)
    assert json.loads(out)["error"]["code"] == "output_write_error"
    assert json.loads(err.splitlines()[-1])["error"]["code"] == "output_write_error"
    assert process.returncode in (1, 2)


REFUSED = {
    ("../x",): "invalid_task_id",
    ("ready", "no id"): "invalid_task_id",
    ("ready", ""): "missing_task_id",
    ("x" * 129,): "invalid_task_id",
    ("no/such", "ready", "-o", "{task_id}.mp4"): "invalid_task_id",  # it never becomes part of a path
    (): "missing_task_id",
    ("ready", "soon", "-o", "a.mp4"): "invalid_usage",
    ("ready", "-o", "missing/a.mp4"): "output_write_error",
    ("ready", "-o", "a.avi"): "invalid_format",
    ("ready", "soon", "-o", "missing/{task_id}.mp4"): "output_write_error",
}


@pytest.mark.parametrize("argv", REFUSED, ids=" ".join)
def test_what_is_wrong_is_refused_before_anything_is_asked(
    argv: tuple[str, ...], world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = wait(*argv)
    assert (result.code, result.status) == (REFUSED[argv], 2)
    assert world.asked["status"] == []


# --- ids on stdin -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [b"soon\nready\n", b"\xef\xbb\xbfsoon\r\nready", b" soon\tready soon\n\n"])
def test_ids_come_from_stdin_each_once(text: bytes, world: World) -> None:
    result = wait("-", "ready", stdin=text)
    assert [line["task_id"] for line in _lines(result.out)] == ["ready", "soon"]


def test_one_id_on_stdin_gets_a_line_too_whatever_becomes_of_it(world: World) -> None:
    result = wait("-", stdin=b"failed\n")
    assert _lines(result.out)[0]["error"]["task_id"] == "failed"
    assert result.status == 1


STDIN = {
    b"": "missing_task_id",
    b"\n \n": "missing_task_id",
    b"ready\n../x\n": "invalid_task_id",
    b"\xff\xfe": "invalid_task_id",
    b"ready " * 200_000: "invalid_usage",
}


@pytest.mark.parametrize("text", STDIN, ids=lambda text: repr(text[:20]))
def test_what_is_wrong_on_stdin_is_refused_before_anything_is_asked(text: bytes, world: World) -> None:
    result = wait("-", stdin=text)
    assert (result.status, result.code) == (2, STDIN[text])
    assert world.asked["status"] == []


@pytest.mark.platform
@signals
def test_ids_are_never_waited_for_at_a_terminal(world: World) -> None:
    import pty

    ours, theirs = pty.openpty()
    run = subprocess.run(
        command(*WAIT, "-"), env=environ(world.url), stdin=theirs, capture_output=True, check=False, timeout=20
    )
    os.close(theirs)
    os.close(ours)
    assert run.returncode == 2
    assert b"missing_task_id" in run.stderr


# --- signals ----------------------------------------------------------------------------------------------------------


def _interrupted(world: World, number: signal.Signals, *argv: str) -> tuple[int, str, list[str]]:
    """Run a wait, and send it a signal once it has asked."""
    process = subprocess.Popen(
        command(*WAIT, *argv),
        env=environ(world.url),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 20
    while not world.asked["status"] and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err.splitlines()


@pytest.mark.platform
@signals
@pytest.mark.parametrize(("number", "status", "word"), [
    (signal.SIGINT, 130, "interrupted"),
    (signal.SIGTERM, 143, "terminated"),
])  # fmt: skip
def test_a_signal_stops_the_waiting_and_says_how_to_go_on(
    number: signal.Signals, status: int, word: str, world: World, tmp_path: Path
) -> None:
    target = str(tmp_path / "my cat.mp4")
    returned, out, err = _interrupted(world, number, "never", "-o", target, "-q")
    assert (returned, out) == (status, "")
    assert err == [
        f"the task is not stopped, only the waiting; to go on: rawgenai dashscope video wait never -o '{target}'",
        word,
    ]


@pytest.mark.platform
@signals
def test_only_the_tasks_that_are_left_are_named(world: World) -> None:
    ids = ["never", "ready", "failed", "another", "nobody"]
    with World({}, others={**OTHERS, "another": ("RUNNING", 0.0)}, now=time.time).served() as busy:
        process = subprocess.Popen(
            command(*WAIT, *AT_ONCE, *ids), env=environ(busy.url), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        assert process.stdout
        for _ in range(3):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.splitlines()[-2].endswith(
        "2 tasks are not stopped, only the waiting; to go on: rawgenai dashscope video wait never another"
    )


@pytest.mark.platform
@signals
def test_many_tasks_are_not_listed(world: World) -> None:
    ids = [f"task-{number}" for number in range(30)]
    with World({}, others=dict.fromkeys(ids, ("RUNNING", 0.0)), now=time.time).served() as busy:
        returned, _, err = _interrupted(busy, signal.SIGINT, *ids)
    assert returned == 130
    assert err[-2] == "30 tasks are not stopped, only the waiting; to go on, run the same command again"


# --- the clip -----------------------------------------------------------------------------------------------------


RUNNING, DENIED = task("RUNNING"), refuses(403, "AccessDenied")
FLIPS: dict[str, tuple[list[Answer], str | None, int]] = {
    "for a while": (["succeeded", RUNNING, RUNNING, "succeeded"], None, 0),
    "and fails": (["succeeded", RUNNING, task("FAILED")], "video_failed", 1),
    "for ever": (["succeeded", *[RUNNING] * 999], "wait_timeout", 5),
}


@pytest.mark.parametrize("name", FLIPS)
def test_a_status_that_flips_back_while_its_clip_is_fetched_is_waited_for_again(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: World
) -> None:
    answers, code, status = FLIPS[name]
    with World({"status": answers, "clip": [DENIED]}, now=time.time).served() as flipping:
        monkeypatch.setenv("DASHSCOPE_BASE_URL", flipping.url)
        result = wait(TASK, "-o", str(tmp_path / "a.mp4"), "--timeout", "1" if code == "wait_timeout" else "60")
    assert (result.envelope.get("error", {}).get("code"), result.status) == (code, status)
    assert (tmp_path / "a.mp4").exists() == (code is None)


def test_a_clip_whose_host_is_down_for_longer_than_a_download_waits_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: World
) -> None:
    monkeypatch.setattr(downloading, "PATIENCE", 0.0)  # each download gives up at once
    slept: list[float] = []
    monkeypatch.setattr("rawgenai.cli.watching.Stages.sleep", lambda _, seconds: slept.append(seconds))
    with World({"status": ["succeeded"] * 9, "clip": [reply(503)] * 3}, now=time.time).served() as failing:
        monkeypatch.setenv("DASHSCOPE_BASE_URL", failing.url)
        result = wait(TASK, "-o", str(tmp_path / "a.mp4"))
    assert result.status == 0
    assert (tmp_path / "a.mp4").read_bytes() == CLIP
    assert [seconds for seconds in slept if seconds >= 1] == [5, 10, 15]  # whatever the poll interval: half a minute
