"""What generate takes up from earlier calls, and what it asks for anew: each request is paid once."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from faulty import clip
from rawgenai import emulator
from rawgenai.config import Settings
from rawgenai.dashscope import Clip, RawgenaiError, Spec, create, download, generate
from rawgenai.dashscope import wire as dashscope_wire
from rawgenai.emulator import render
from rawgenai.ledger import Ledger, open_ledger
from rawgenai.message import Media, Receive, Request, Response

CLIP = clip(20_000)
SETTINGS = Settings(None, None, "emulator", "test")
HOUR = 3600.0


class World:
    """The emulator in process, with a clock that only sleeping moves; counts what is asked."""

    def __init__(self, folder: Path) -> None:
        self.time = 1_800_000_000.0
        self.requests: list[Request] = []
        self._send = emulator.sender(folder / "emulator", environ={}, now=lambda: self.time, sleep=self.sleep)
        self.ledger = open_ledger(now=lambda: self.time)

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def send(self, request: Request, receive: Receive | None = None) -> Response:
        self.requests.append(request)
        return self._send(request, receive)

    def generate(self, spec: Spec | str = "A kitten", **more: Any) -> Clip:
        facts: dict[str, Any] = {"output": "clip.mp4", "settings": SETTINGS, "send": self.send, "ledger": self.ledger}
        facts |= {"now": lambda: self.time, "clock": lambda: self.time, "sleep": self.sleep, "settle": 30.0}
        return generate(spec if isinstance(spec, Spec) else Spec(spec), **facts | more)

    def posts(self) -> int:
        return sum(request.method == "POST" for request in self.requests)

    def error(self, *args: Any, **more: Any) -> RawgenaiError:
        with pytest.raises(RawgenaiError) as caught:
            self.generate(*args, **more)
        return caught.value


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(render, "draw", lambda file, **_: file.write_bytes(CLIP))
    made = World(tmp_path)
    with made.ledger:
        yield made


def picture(name: str, colour: str = "red") -> str:
    Image.new("RGB", (400, 400), colour).save(name)
    return name


# --- from a Spec to a file ----------------------------------------------------------------------------------------


def test_a_clip_is_on_disk_after_one_post(world: World, tmp_path: Path) -> None:
    made = world.generate()
    assert made.file == str(tmp_path / "clip.mp4")
    assert (tmp_path / "clip.mp4").read_bytes() == CLIP
    assert (made.task.status, made.task.duration, made.task.resolution, made.cached) == ("succeeded", 5, 720, False)
    assert world.posts() == 1


@pytest.mark.parametrize(("environ", "folder"), [({}, "output"), ({"OUTPUT_DIR": "here"}, "here")])
def test_a_clip_that_is_told_no_place_goes_where_the_skill_says(
    environ: dict[str, str], folder: str, world: World, tmp_path: Path
) -> None:
    made = world.generate(output=None, environ=environ)
    assert made.file == str(tmp_path / folder / "ai-video-wan-video" / "videos" / f"{made.task.task_id}.mp4")
    assert Path(made.file).read_bytes() == CLIP


@pytest.mark.parametrize(("word", "code", "status"), [
    ("fail=DataInspectionFailed", "content_policy", 1),
    ("fail=InternalError", "server_error", 1),
    ("canceled", "video_failed", 1),
    ("no-video", "no_video", 1),
    ("refuse=Arrearage", "access_denied", 3),
    ("status=400", "invalid_request", 1),
])  # fmt: skip
def test_a_task_without_a_clip_is_an_error_that_names_it(word: str, code: str, status: int, world: World) -> None:
    error = world.error(f"A kitten emulator:{word}")
    assert (error.code, error.status) == (code, status)
    assert (error.task_id is None) is word.startswith(("refuse", "status"))
    assert world.posts() == 1


def test_a_place_that_cannot_be_written_to_is_found_before_anything_is_sent(world: World) -> None:
    assert world.error(output="no/such/folder/clip.mp4").code == "output_write_error"
    assert world.requests == []


@pytest.mark.parametrize("asked", [
    {"continues": "own.mp4"},
    {"video": "own.mp4", "model": "wan2.7-videoedit"},
    {"video": "../own.mp4", "model": "wan2.7-videoedit"},
    {"refs": ("a.png", "own.mp4")},
    {"first_clip": Media("own.mp4", "video/mp4", 9), "model": "wan2.7-i2v"},
])  # fmt: skip
def test_a_clip_never_takes_the_place_of_what_it_is_made_from(
    asked: dict[str, Any], world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("own.mp4").write_bytes(b"a clip that was paid")
    if asked.get("video") == "../own.mp4":
        (tmp_path / "below").mkdir()
        monkeypatch.chdir("below")
    error = world.error(Spec("A kitten", **asked), output=str(tmp_path / "." / "own.mp4"))
    assert (error.code, error.status, "is an input" in error.message) == ("invalid_usage", 2, True)
    assert (tmp_path / "own.mp4").read_bytes() == b"a clip that was paid"
    assert world.requests == []


def test_a_wait_that_is_over_names_the_task_which_goes_on(world: World) -> None:
    error = world.error(timeout=1.0)
    assert (error.code, error.status) == ("wait_timeout", 5)
    assert world.ledger.find(error.task_id or "") is not None


# --- cached ---------------------------------------------------------------------------------------------------------


def test_the_same_request_is_answered_from_disk_without_a_post(world: World) -> None:
    first = world.generate()
    world.requests.clear()
    again = world.generate()
    assert (again.cached, again.file, again.task) == (True, first.file, first.task)
    assert world.requests == []


def test_a_cached_clip_is_copied_to_where_it_is_wanted_now(world: World, tmp_path: Path) -> None:
    world.generate()
    again = world.generate(output="other.mp4")
    assert (again.cached, again.file) == (True, str(tmp_path / "other.mp4"))
    assert (tmp_path / "other.mp4").read_bytes() == CLIP == (tmp_path / "clip.mp4").read_bytes()
    assert sorted(file.name for file in tmp_path.glob(".*")) == []


DIFFERENT: dict[str, dict[str, Any]] = {
    "prompt": {"prompt": "A dog"},
    "duration": {"duration": 6},
    "negative": {"negative": "rain"},
    "seed": {"seed": 0},
    "another seed": {"seed": 1},
    "ratio": {"ratio": "9:16"},
    "resolution": {"resolution": "1080P"},
    "model": {"model": "wan2.5-t2v-preview"},
    "watermark": {"watermark": True},
    "prompt_extend": {"prompt_extend": False},
}


@pytest.mark.parametrize("changed", DIFFERENT)
def test_another_field_is_another_request(changed: str, world: World) -> None:
    world.generate()
    assert not world.generate(Spec(**{"prompt": "A kitten"} | DIFFERENT[changed])).cached
    assert world.posts() == 2


def test_what_is_said_besides_makes_another_request_too(world: World) -> None:
    world.generate(more={"fps": 24})
    assert world.generate(more={"fps": 24}).cached
    assert not world.generate(more={"fps": 30}).cached


def test_a_files_content_counts_and_its_name_does_not(world: World) -> None:
    world.generate(Spec("Smile", image=picture("one.png")))
    Path("one.png").rename("two.png")
    assert world.generate(Spec("Smile", image="two.png")).cached
    assert not world.generate(Spec("Smile", image=picture("two.png", "blue"))).cached
    assert world.posts() == 2


def test_no_cache_asks_anew(world: World) -> None:
    first = world.generate()
    second = world.generate(cache=False)
    assert not second.cached
    assert second.task.task_id != first.task.task_id


@pytest.mark.parametrize("harm", [lambda file: file.unlink(), lambda file: file.write_bytes(CLIP[:-1] + b"x")])
def test_a_clip_that_is_gone_or_changed_is_fetched_again_and_not_paid_again(
    harm: Callable[[Path], Any], world: World, tmp_path: Path
) -> None:
    world.generate()
    harm(tmp_path / "clip.mp4")
    again = world.generate()
    assert not again.cached
    assert (tmp_path / "clip.mp4").read_bytes() == CLIP
    assert world.posts() == 1


def test_a_clip_that_is_gone_after_a_day_is_made_anew(world: World, tmp_path: Path) -> None:
    world.generate()
    (tmp_path / "clip.mp4").unlink()
    world.time += 25 * HOUR
    assert not world.generate().cached
    assert world.posts() == 2


def test_a_clip_stays_cached_for_longer_than_the_api_keeps_it(world: World) -> None:
    world.generate()
    world.time += 100 * 24 * HOUR
    assert world.generate().cached


def test_a_clip_that_was_created_and_downloaded_in_single_steps_is_known_too(world: World) -> None:
    means: dict[str, Any] = {"settings": SETTINGS, "send": world.send, "ledger": world.ledger}
    task = create(Spec("A kitten"), **means)
    world.time += 10
    download(task.task_id, "clip.mp4", **means)
    assert world.generate().cached


def test_create_is_never_answered_from_disk(world: World) -> None:
    world.generate()
    create(Spec("A kitten"), settings=SETTINGS, send=world.send, ledger=world.ledger)
    assert world.posts() == 2


def test_without_a_ledger_nothing_is_remembered(world: World) -> None:
    for _ in range(2):
        assert not world.generate(ledger=Ledger(None)).cached
    assert world.posts() == 2


# --- taken up where it stopped ----------------------------------------------------------------------------------------


def test_a_task_that_goes_on_is_waited_for_again(world: World, tmp_path: Path) -> None:
    task_id = world.error(timeout=1.0).task_id
    made = world.generate(output="elsewhere.mp4")
    assert made.task.task_id == task_id
    assert (tmp_path / "elsewhere.mp4").read_bytes() == CLIP
    assert world.posts() == 1


def test_a_task_that_another_process_waits_for_is_waited_for_too_and_its_promise_stays(
    world: World, tmp_path: Path
) -> None:
    world.error(timeout=1.0)
    (row,) = world.ledger.rows()
    with world.ledger.claimed() as claim:
        world.ledger.claim(row.id, claim)
        error = world.error(timeout=1.0, output="elsewhere.mp4")
        (now,) = world.ledger.rows()
        assert (error.task_id, now.claim, now.output) == (row.task_id, claim, str(tmp_path / "clip.mp4"))
        world.generate(output="elsewhere.mp4")
    assert (tmp_path / "elsewhere.mp4").read_bytes() == CLIP
    assert world.posts() == 1


def test_a_submission_that_is_on_its_way_for_one_who_wants_a_clip_of_its_own_is_left_to_it(world: World) -> None:
    world.error(timeout=1.0)
    (row,) = world.ledger.rows()
    same = {name: getattr(row, name) for name in ("provider", "model", "mode", "prompt", "base_url", "digest")}
    world.ledger.update(row.task_id or "", status="failed")
    with world.ledger.claimed() as claim:
        number = world.ledger.intend(**same, output="other.mp4", claim=claim)
        world.generate()
        assert [row.state for row in world.ledger.rows() if row.id == number] == ["intended"]
    assert world.posts() == 2


def test_one_that_asks_for_the_same_just_now_is_waited_for_no_longer_than_the_timeout(world: World) -> None:
    world.generate(output="first.mp4")
    (row,) = world.ledger.rows()
    world.requests.clear()
    with world.ledger.asking(row.digest or "", 0):  # another process, for all that generate knows
        error = world.error(timeout=0.2)
        assert not world.generate(cache=False, timeout=30).cached
        assert not world.generate("A dog").cached
    assert (error.code, error.status, error.outcome) == ("wait_timeout", 5, None)
    assert "another process is still asking for the same" in error.message
    assert world.posts() == 2
    assert world.generate().cached


def test_a_task_that_only_create_made_is_left_alone(world: World) -> None:
    create(Spec("A kitten"), settings=SETTINGS, send=world.send, ledger=world.ledger)
    world.generate()
    assert world.posts() == 2


def test_a_task_that_failed_is_tried_again(world: World) -> None:
    for _ in range(2):
        world.error("A kitten emulator:fail=InternalError")
    assert world.posts() == 2


@pytest.mark.parametrize("word", ["close=booked", "reset=booked", "half", "hang=booked"])
def test_a_lost_answer_is_looked_up_and_the_task_taken(word: str, world: World, tmp_path: Path) -> None:
    warnings: list[str] = []
    made = world.generate(f"A kitten emulator:{word}", warn=warnings.append)
    assert (tmp_path / "clip.mp4").read_bytes() == CLIP
    assert world.posts() == 1
    assert [row.task_id for row in world.ledger.rows()] == [made.task.task_id]
    assert "asking the API what became of it" in warnings[0]


@pytest.mark.parametrize("word", ["close", "reset", "hang", "status=503", "html"])
def test_a_task_that_was_never_booked_is_proved_so_and_not_sent_again(word: str, world: World) -> None:
    start = world.time
    error = world.error(f"A kitten emulator:{word}")
    assert (error.outcome, error.status) == (None, 4)
    assert "was not created, and nothing is paid" in error.message
    assert world.time - start >= 30
    assert world.posts() == 1
    assert [row.state for row in world.ledger.rows()] == ["refused"]


def test_a_submission_that_an_earlier_call_left_open_is_settled_before_anything_is_sent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "accept", killed)
        with pytest.raises(Killed):
            world.generate()
    assert [row.state for row in world.ledger.rows()] == ["intended"]
    world.generate()
    assert world.posts() == 1


def test_an_idempotency_key_decides_alone_what_is_the_same(world: World) -> None:
    first = world.generate(key="one")
    assert world.generate(key="one").task.task_id == first.task.task_id
    assert world.generate(key="two").task.task_id != first.task.task_id
    assert world.posts() == 2
    error = world.error("A dog", key="one")
    assert (error.code, error.status) == ("invalid_usage", 2)


def test_a_digest_says_nothing_of_names_and_all_of_contents() -> None:
    one, two = Request("POST", "x", {}, {"a": 1, "b": [2]}), Request("POST", "x", {}, {"b": [2], "a": 1})
    assert dashscope_wire.digest(one) == dashscope_wire.digest(two)
    assert dashscope_wire.digest(one) != dashscope_wire.digest(one, {"fps": 1})


# --- a folder -------------------------------------------------------------------------------------------------------


def test_a_clip_may_be_told_its_folder_alone(world: World, tmp_path: Path) -> None:
    made = world.generate(output=None, folder="clips/of/mine")
    assert made.file == str(tmp_path / "clips" / "of" / "mine" / f"{made.task.task_id}.mp4")
    (row,) = world.ledger.rows()
    assert row.output == str(tmp_path / "clips" / "of" / "mine") + "/"


def test_a_clip_that_is_where_it_is_wanted_comes_before_a_later_one(world: World) -> None:
    first = world.generate()
    world.generate(output="later.mp4", cache=False)
    assert world.generate().task == first.task
    assert world.generate(output="later.mp4").task != first.task
