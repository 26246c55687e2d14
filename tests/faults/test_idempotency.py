"""An idempotency key: the same key again is the same task, however many ask at once and whatever went wrong."""

import json
import signal
import sqlite3
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from faulty import CREATED, TASK, Run, clip, command, emulated, environ, rawgenai, serving
from rawgenai import cli, emulator
from rawgenai.config import Settings
from rawgenai.dashscope import Clip, RawgenaiError, Spec, create, generate, uploads
from rawgenai.dashscope.recovery import recover
from rawgenai.dashscope.submitting import KEY_PATIENCE
from rawgenai.dashscope.wire import Task
from rawgenai.emulator import render
from rawgenai.emulator.server import Server
from rawgenai.emulator.store import Store
from rawgenai.emulator.store import Task as Booked
from rawgenai.ledger import Ledger, Row, open_ledger
from rawgenai.message import Receive, Request, Response

CLIP = clip(20_000)
SETTINGS = Settings(None, None, "emulator", "test")
KITTEN = ("dashscope", "video", "create", "A kitten")
KEY = ("--idempotency-key", "build-7")


class World:
    """The emulator in process, with a clock that only sleeping moves; counts the POSTs."""

    def __init__(self, folder: Path) -> None:
        self.time = 1_800_000_000.0
        self.posts = 0
        self._send = emulator.sender(folder / "emulator", environ={}, now=lambda: self.time, sleep=self.sleep)
        self.ledger = open_ledger(now=lambda: self.time)

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def send(self, request: Request, receive: Receive | None = None) -> Response:
        self.posts += request.method == "POST"
        return self._send(request, receive)

    def _facts(self, more: dict[str, Any]) -> dict[str, Any]:
        usual: dict[str, Any] = {"key": "build-7", "settings": SETTINGS, "send": self.send, "ledger": self.ledger}
        return usual | {"now": lambda: self.time, "sleep": self.sleep} | more

    def create(self, spec: Spec | str = "A kitten", **more: Any) -> Task:
        return create(spec if isinstance(spec, Spec) else Spec(spec), **self._facts(more))

    def generate(self, spec: Spec | str = "A kitten", **more: Any) -> Clip:
        more = {"output": "clip.mp4", "clock": lambda: self.time, "settle": 30.0, **more}
        return generate(spec if isinstance(spec, Spec) else Spec(spec), **self._facts(more))

    def recover(self) -> None:
        facts = self._facts({"clock": lambda: self.time})
        del facts["key"]
        recover(**facts)

    def row(self) -> Row:
        [row] = self.ledger.rows(1)
        return row


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(render, "draw", lambda file, **_: file.write_bytes(CLIP))
    monkeypatch.setattr("rawgenai.ledger._PRAGMAS", ("PRAGMA synchronous = OFF",))  # no kill here, and it is quicker
    made = World(tmp_path)
    with made.ledger:
        yield made


def picture(name: str, colour: str) -> str:
    Image.new("RGB", (400, 400), colour).save(name)
    return name


# --- one key, one task --------------------------------------------------------------------------------------------


def test_the_same_key_again_is_the_same_task(world: World) -> None:
    first = world.create()
    assert [world.create().task_id for _ in range(3)] == [first.task_id] * 3
    assert (world.posts, len(world.ledger.rows())) == (1, 1)


def test_another_key_or_none_is_another_task(world: World) -> None:
    ids = {world.create(key=key).task_id for key in ("build-7", "build-8", "BUILD-7", None, None)}
    assert (len(ids), world.posts) == (5, 5)


def test_a_key_belongs_to_the_api_that_it_was_used_with(world: World) -> None:
    first = world.create()
    elsewhere = Settings(None, None, "https://example.test/api/v1", "test")
    assert world.create(settings=elsewhere).task_id != first.task_id
    assert world.create(settings=elsewhere).task_id != first.task_id
    assert world.posts == 2


@pytest.mark.parametrize(("end", "made_nothing"), [
    ("", None), ("emulator:fail=InternalError", "server_error"), ("emulator:canceled", "video_failed"),
])  # fmt: skip
def test_a_key_s_task_stays_whatever_becomes_of_it(end: str, made_nothing: str | None, world: World) -> None:
    prompt = f"A kitten {end}"
    first = world.create(prompt)
    world.time += 3600
    with nullcontext() if made_nothing is None else pytest.raises(RawgenaiError, match=made_nothing):
        world.generate(prompt)
    assert world.create(prompt).task_id == first.task_id
    assert world.posts == 1


OTHERS = {
    "prompt": Spec("A dog"),
    "seed": Spec("A kitten", seed=7),
    "duration": Spec("A kitten", duration=10),
    "model": Spec("A kitten", model="wan2.5-t2v-preview"),
    "negative": Spec("A kitten", negative="dogs"),
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("line", ["create", "generate"])
def test_a_key_is_refused_to_another_request(line: str, other: str, world: World) -> None:
    world.create()
    with pytest.raises(RawgenaiError) as caught:
        getattr(world, line)(OTHERS[other])
    assert (caught.value.code, caught.value.status, world.posts) == ("invalid_usage", 2, 1)
    assert "another request" in caught.value.message


def test_what_counts_of_a_file_is_what_it_holds(world: World) -> None:
    first = world.create(Spec("Smile", image=picture("a.png", "red")))
    assert world.create(Spec("Smile", image=picture("b.png", "red"))).task_id == first.task_id
    with pytest.raises(RawgenaiError) as caught:
        world.create(Spec("Smile", image=picture("a.png", "blue")))
    assert (caught.value.code, world.posts) == ("invalid_usage", 1)


def test_defaults_count_as_what_they_stand_for(world: World) -> None:
    first = world.create()
    assert world.create(Spec("A kitten", duration=5, resolution="720P")).task_id == first.task_id


# --- refused, unknown, killed ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["refuse=Arrearage", "status=400", "status=401", "refuse=DataInspectionFailed"])
def test_a_refused_submission_frees_its_key(word: str, world: World) -> None:
    for posts in (1, 2):
        with pytest.raises(RawgenaiError) as caught:
            world.create(f"A kitten emulator:{word}")
        assert (caught.value.outcome, world.posts) == (None, posts)
    assert world.create("A dog").task_id, "also for another request"


UNKNOWN = ("close", "reset", "half", "status=503", "html", "close=booked", "hang=booked")
BOOKED = ("half", "close=booked", "hang=booked")


@pytest.mark.parametrize("word", UNKNOWN)
def test_an_unknown_submission_keeps_its_key_and_is_never_posted_again(word: str, world: World) -> None:
    prompt = f"A kitten emulator:{word}"
    for _ in range(3):
        with pytest.raises(RawgenaiError) as caught:
            world.create(prompt)
        assert (caught.value.status, caught.value.outcome, world.posts) == (6, "unknown", 1)
        assert "rawgenai dashscope video recover" in caught.value.message
    with pytest.raises(RawgenaiError) as caught:
        world.create("A dog")
    assert (caught.value.code, world.posts) == ("invalid_usage", 1)


@pytest.mark.parametrize("word", UNKNOWN)
def test_recover_gives_the_key_its_task_or_frees_it(word: str, world: World) -> None:
    prompt = f"A kitten emulator:{word}"
    with pytest.raises(RawgenaiError):
        world.create(prompt)
    world.recover()
    if word in BOOKED:
        assert world.create(prompt).task_id == world.row().task_id
        assert world.posts == 1
    else:
        with pytest.raises(RawgenaiError):
            world.create(prompt)
        assert world.posts == 2


def _intend(world: World, **facts: Any) -> int:
    """Write down that another process is about to submit the same."""
    world.create(key="another")
    row = world.row()
    same = {name: getattr(row, name) for name in ("provider", "model", "mode", "prompt", "base_url", "digest")}
    world.posts = 0
    return world.ledger.intend(**same, key="build-7", **facts)


def test_the_key_of_a_process_that_was_killed_is_not_posted_with_again(world: World) -> None:
    _intend(world)
    with pytest.raises(RawgenaiError) as caught:
        world.create()
    assert (caught.value.status, world.posts) == (6, 0)


def test_a_key_that_another_process_is_posting_with_is_waited_for(world: World) -> None:
    with world.ledger.claimed() as claim:
        number, began = _intend(world, claim=claim), world.time

        def sleep(seconds: float) -> None:
            world.sleep(seconds)
            if world.time > began + 20:
                world.ledger.accept(number, "task-of-the-other")

        assert world.create(sleep=sleep).task_id == "task-of-the-other"
    assert world.posts == 0


def test_one_that_was_faster_while_files_were_uploaded_has_the_key(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload, others = uploads.upload, list[str]()

    def overtaken(spec: Spec, *args: Any, **facts: Any) -> Spec:
        if not others:
            others.append("")
            others.append(world.create().task_id)
        return upload(spec, *args, **facts)

    monkeypatch.setattr(uploads, "upload", overtaken)
    assert world.create().task_id == others[-1]
    assert world.posts == 1


@pytest.mark.parametrize(("line", "facts", "seconds"), [
    ("create", {}, KEY_PATIENCE),
    ("generate", {"timeout": 7.0}, 7),
])  # fmt: skip
def test_it_is_waited_for_no_longer_than_its_post_can_take_or_the_timeout_says(
    line: str, facts: dict[str, Any], seconds: float, world: World
) -> None:
    warnings: list[str] = []
    with world.ledger.claimed() as claim:
        _intend(world, claim=claim)
        began = world.time
        with pytest.raises(RawgenaiError) as caught:
            getattr(world, line)(warn=warnings.append, **facts)
    assert (caught.value.status, world.posts) == (6, 0)
    assert seconds <= world.time - began < seconds + 1
    said = " ".join([caught.value.message, *warnings])
    assert "the submission with the idempotency key 'build-7' is still on its way, in another process" in said
    assert "never learnt" not in said


# --- generate -------------------------------------------------------------------------------------------------------


def test_generate_with_a_key_pays_once_and_delivers_wherever_it_is_asked(world: World, tmp_path: Path) -> None:
    first = world.generate()
    again = world.generate(output="other.mp4")
    assert (again.task.task_id, world.posts) == (first.task.task_id, 1)
    assert {(tmp_path / name).read_bytes() for name in ("clip.mp4", "other.mp4")} == {CLIP}


def test_generate_takes_up_the_task_that_create_made_with_the_key(world: World, tmp_path: Path) -> None:
    task = world.create()
    assert world.generate().task.task_id == task.task_id
    assert (world.posts, (tmp_path / "clip.mp4").read_bytes()) == (1, CLIP)


def test_a_clip_that_was_deleted_is_fetched_again_not_paid_again(world: World, tmp_path: Path) -> None:
    world.generate()
    (tmp_path / "clip.mp4").unlink()
    world.generate()
    assert (world.posts, (tmp_path / "clip.mp4").read_bytes()) == (1, CLIP)


def test_two_keys_of_the_same_request_are_two_clips(world: World) -> None:
    ids = {world.generate(key=key).task.task_id for key in ("a", "b")}
    assert (len(ids), world.posts) == (2, 2)


@pytest.mark.parametrize("word", BOOKED)
def test_generate_finds_the_task_of_its_key_when_the_answer_was_lost(word: str, world: World) -> None:
    prompt = f"A kitten emulator:{word}"
    with pytest.raises(RawgenaiError):
        world.create(prompt)
    made = world.generate(prompt)
    assert (made.task.task_id, world.posts) == (world.row().task_id, 1)


def test_what_another_process_settled_while_we_waited_is_taken_as_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = world.create(key=None, ledger=Ledger(None))
    settling = Ledger.settling

    @contextmanager
    def after_another(ledger: Ledger, wait: float) -> Iterator[None]:
        ledger.accept(world.row().id, made.task_id)
        with settling(ledger, wait):
            yield

    monkeypatch.setattr(Ledger, "settling", after_another)
    assert world.generate("A kitten emulator:close", key=None).task.task_id == made.task_id


# --- the command ----------------------------------------------------------------------------------------------------


Ran = tuple[int, Any]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run a command in this process, against the emulator: its status and its envelope."""
    monkeypatch.setenv("DASHSCOPE_BASE_URL", "emulator")

    def invoke(*argv: str) -> Ran:
        old = signal.getsignal(signal.SIGTERM)
        try:
            status = cli.run(argv)
        finally:
            signal.signal(signal.SIGTERM, old)
        out, err = capsys.readouterr()
        return status, json.loads(out or err.splitlines()[-1])

    return invoke


def test_the_flag_and_the_variable_are_one_key(run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    status, first = run(*KITTEN, *KEY)
    assert status == 0
    monkeypatch.setenv("RAWGENAI_IDEMPOTENCY_KEY", "build-7")
    assert run(*KITTEN) == (0, first)
    assert run(*KITTEN, "--idempotency-key", "build-8")[1]["task_id"] != first["task_id"], "the flag wins"
    status, refused = run("dashscope", "video", "create", "A dog")
    assert (status, refused["error"]["code"]) == (2, "invalid_usage")
    with open_ledger() as ledger:
        assert [row.key for row in ledger.rows()] == ["build-8", "build-7"]


@pytest.mark.parametrize("line", [("create",), ("generate", "-o", "a.mp4")], ids=["create", "generate"])
@pytest.mark.parametrize("off", ["--no-ledger", "RAWGENAI_LEDGER"])
def test_a_key_that_nothing_would_remember_is_refused(
    off: str, line: tuple[str, ...], run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DASHSCOPE_BASE_URL")  # nor is there a key for the API, and this is said first
    flags = [off] if off.startswith("--") else []
    if not flags:
        monkeypatch.setenv(off, "off")
    status, envelope = run("dashscope", "video", line[0], "A kitten", *line[1:], *KEY, *flags)
    assert (status, envelope["error"]["code"]) == (2, "invalid_usage")
    assert "ledger" in envelope["error"]["message"]
    assert not (tmp_path / "state" / "rawgenai").exists()


def test_the_library_refuses_it_too(world: World) -> None:
    with pytest.raises(RawgenaiError) as caught:
        world.create(ledger=Ledger(None))
    assert (caught.value.code, world.posts) == ("invalid_usage", 0)


@pytest.mark.parametrize("key", ["", " ", "two words", "käse", "a\nb", "x" * 256])
def test_a_key_is_a_word(key: str, run: Callable[..., Ran]) -> None:
    status, envelope = run(*KITTEN, f"--idempotency-key={key}")
    assert (status, envelope["error"]["code"]) == (2, "invalid_usage")


# --- many processes at once ------------------------------------------------------------------------------------------


def _at_once(count: int, url: str, *arguments: str) -> list[Run]:
    """Run a command in many processes at the same moment; in an argument, {} is the number of the process."""
    processes = [
        subprocess.Popen(
            command(*(argument.format(number) for argument in arguments)),
            env=environ(url),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for number in range(count)
    ]  # fmt: skip
    said = [process.communicate(timeout=120) for process in processes]
    return [
        Run(process.returncode, out.decode(), err.decode()) for process, (out, err) in zip(processes, said, strict=True)
    ]


def _booked(server: Server) -> list[str]:
    with closing(sqlite3.connect(server.store.file)) as db:
        return [task_id for (task_id,) in db.execute("SELECT task_id FROM tasks")]


@pytest.mark.slow
def test_of_32_processes_with_one_key_one_pays_and_all_name_its_task(tmp_path: Path) -> None:
    with emulated(tmp_path / "emulator", 0.1) as server:
        runs = _at_once(32, server.base_url, "dashscope", "video", "create", "A kitten emulator:slow=0.5", *KEY)
        [booked] = _booked(server)
    assert Counter(run.status for run in runs) == {0: 32}, runs
    assert {run.envelope["task_id"] for run in runs} == {booked}
    with open_ledger() as ledger:
        assert [row.task_id for row in ledger.rows()] == [booked]


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "flags", "paid"), [
    ("slow=0.5", (), 1),
    ("reset=booked", (), 1),
    ("slow=0.5", ("--no-cache",), 8),
    ("refuse=Arrearage", (), 0),
])  # fmt: skip
def test_of_many_that_ask_for_the_same_clip_at_once_one_pays_and_all_have_it(
    fault: str, flags: tuple[str, ...], paid: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(file: Path, **_: Any) -> None:
        file.write_bytes(CLIP)

    monkeypatch.setattr(render, "draw", draw)
    line = ("dashscope", "video", "generate", f"A kitten emulator:{fault}", "-o", f"{tmp_path}/{{}}.mp4", *flags)
    with emulated(tmp_path / "emulator", 0.5) as server:
        runs = _at_once(8, server.base_url, *line, "--poll-interval", "0.1", "--settle", "2")
        booked = _booked(server)
    assert Counter(run.status for run in runs) == {0 if paid else 3: 8}, runs
    assert len(booked) == paid
    if paid:
        assert {run.envelope["task_id"] for run in runs} == set(booked)
        assert [Path(run.envelope["file"]).read_bytes() for run in runs] == [CLIP] * 8


@pytest.mark.slow
def test_one_whose_twin_is_killed_in_its_post_finds_what_that_one_paid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render, "draw", lambda file, **_: file.write_bytes(CLIP))
    booked = threading.Event()
    book = Store.book

    def booking(store: Store, task: Booked) -> None:
        book(store, task)
        booked.set()

    monkeypatch.setattr(Store, "book", booking)
    line = ["dashscope", "video", "generate", "A kitten emulator:slow=1", "--poll-interval", "0.1", "--settle", "2"]
    with emulated(tmp_path / "emulator", 0.1) as server:
        twins = {
            file: subprocess.Popen(
                command(*line, "-o", file),
                env=environ(server.base_url),
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            for file in (str(tmp_path / "one.mp4"), str(tmp_path / "two.mp4"))
        }  # fmt: skip
        assert booked.wait(20)
        with open_ledger() as ledger:
            [row] = ledger.rows()
        twins[row.output or ""].kill()
        ends = {file: process.wait(60) for file, process in twins.items()}
        assert (row.state, len(_booked(server))) == ("intended", 1)
    del ends[row.output or ""]
    assert [(status, Path(file).read_bytes()) for file, status in ends.items()] == [(0, CLIP)]


@pytest.mark.slow
def test_of_many_whose_answer_was_lost_none_pays_again_and_recover_tells_them(tmp_path: Path) -> None:
    line = ("dashscope", "video", "create", "A kitten emulator:reset=booked", *KEY)
    with emulated(tmp_path / "emulator", 0.1) as server:
        runs = _at_once(8, server.base_url, *line)
        assert Counter(run.status for run in runs) == {6: 8}, runs
        [booked] = _booked(server)
        done = rawgenai(server.base_url, "dashscope", "video", "recover", "--settle", "2")
        assert [each["task_id"] for each in done.envelope["settled"]] == [booked]
        assert [rawgenai(server.base_url, *line).envelope["task_id"]] == [booked]
        assert _booked(server) == [booked]


def test_a_job_that_was_killed_and_is_retried_does_not_pay_again(tmp_path: Path) -> None:
    arrived = threading.Event()

    def slow(connection: Any, request: bytes) -> None:
        arrived.set()
        connection.recv(1)  # until the client is gone

    with serving(slow, CREATED) as server:
        process = subprocess.Popen(
            command(*KITTEN, *KEY), env=environ(server.url), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        assert arrived.wait(20)
        process.kill()
        process.wait()
        again = rawgenai(server.url, *KITTEN, *KEY)
        other = rawgenai(server.url, *KITTEN, "--idempotency-key", "build-8")
    assert (again.status, again.error["outcome"]) == (6, "unknown")
    assert (other.status, other.envelope["task_id"]) == (0, TASK)
    assert server.posts() == 2
