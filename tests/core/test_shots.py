"""Films: which shot goes on from which, what is asked for once or anew, what is refused before anything is sent."""

import base64
import errno
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from footage import make, marks
from rawgenai import emulator
from rawgenai import film as cutting
from rawgenai.config import Settings
from rawgenai.dashscope import Film, RawgenaiError, Spec, film, films, generate
from rawgenai.emulator import render
from rawgenai.ledger import Ledger, open_ledger
from rawgenai.message import Media, Receive, Request, Response

SETTINGS = Settings(None, None, "emulator", "test")
SIZE = (432, 240)
FRAMES = 8


class World:
    """The emulator in process, with a clock that only sleeping moves; each clip that it draws has a mark of its own."""

    def __init__(self, folder: Path) -> None:
        self.time = 1_800_000_000.0
        self.drawn = 0
        self.bodies: list[Any] = []  # of the tasks that were asked for
        self._send = emulator.sender(folder / "emulator", environ={}, now=lambda: self.time, sleep=self.sleep)
        self.ledger = open_ledger(now=lambda: self.time)

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def send(self, request: Request, receive: Receive | None = None) -> Response:
        if request.method == "POST" and "synthesis" in request.url:
            self.bodies.append(request.body)
        return self._send(request, receive)

    def draw(self, file: Path, **_: Any) -> None:
        self.drawn += 1
        make(file, mark=self.drawn, frames=FRAMES, size=SIZE)

    @property
    def shoot(self) -> Callable[..., Any]:
        clock: dict[str, Any] = {
            "now": lambda: self.time,
            "clock": lambda: self.time,
            "sleep": self.sleep,
            "settle": 30.0,
        }
        return partial(generate, send=self.send, ledger=self.ledger, **clock)

    def film(self, *shots: Spec | str, output: str = "film.mp4", **more: Any) -> Film:
        specs = [shot if isinstance(shot, Spec) else Spec(shot) for shot in shots]
        return film(specs, output, settings=SETTINGS, shoot=self.shoot, **more)

    def asked(self) -> list[dict[str, Any]]:
        """What was asked for since the last time."""
        bodies, self.bodies = self.bodies, []
        return bodies


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.chdir(tmp_path)
    made = World(tmp_path)
    monkeypatch.setattr(render, "draw", made.draw)
    with made.ledger:
        yield made


def decoded(leaf: Any) -> bytes:
    """The bytes of an image inside a request's body."""
    return base64.b64decode(leaf.path.partition(",")[2])


def refused(call: Callable[[], Any]) -> RawgenaiError:
    with pytest.raises(RawgenaiError) as caught:
        call()
    return caught.value


# --- which shot goes on from which ------------------------------------------------------------------------------------


def test_a_film_is_its_shots_in_their_order_each_from_the_last_frame_of_the_one_before(world: World) -> None:
    made = world.film("月光下的小猫", "It jumps onto the sill", "And looks out")
    assert marks(made.file, SIZE) == [(shot, frame) for shot in (1, 2, 3) for frame in range(FRAMES)]
    assert (made.picture, made.sound) == ("copied", "copied")
    assert made.seconds == pytest.approx(3 * FRAMES / 30)
    first, *others = world.asked()
    assert first["model"] == "wan2.6-t2v"
    assert [body["model"] for body in others] == ["wan2.6-i2v-flash"] * 2
    for body, before in zip(others, made.shots, strict=False):
        assert decoded(body["input"]["img_url"]) == cutting.last_picture(before.file, 1 << 30)[0]


ON, OWN = "the shot before", "a.png"
BEGINNINGS: dict[str, tuple[dict[str, Any], str, str | None]] = {  # the second shot -> its model, what it begins with
    "nothing said": ({}, "wan2.6-i2v-flash", ON),
    "true": ({"continues": True}, "wan2.6-i2v-flash", ON),
    "false": ({"continues": False}, "wan2.6-t2v", None),
    "a clip": ({"continues": "early.mp4"}, "wan2.6-i2v-flash", "early.mp4"),
    "an image of its own": ({"image": OWN}, "wan2.6-i2v-flash", OWN),
    "a first frame of its own": ({"first_frame": OWN}, "wan2.2-kf2v-flash", OWN),
    "references": ({"refs": (OWN,)}, "wan2.6-r2v-flash", None),
    "another model": ({"model": "wan2.6-i2v"}, "wan2.6-i2v", ON),
    "a last frame": ({"last_frame": OWN}, "wan2.2-kf2v-flash", ON),
    "a model of the media dialect": ({"model": "wan2.7-i2v"}, "wan2.7-i2v", ON),
    "references beside the shot before": (
        {"model": "wan2.7-r2v", "refs": (OWN,), "continues": True}, "wan2.7-r2v", ON,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("second", "model", "begins"), BEGINNINGS.values(), ids=BEGINNINGS)
def test_a_shot_begins_with_what_it_says(second: dict[str, Any], model: str, begins: str | None, world: World) -> None:
    Image.new("RGB", (400, 400), "red").save(OWN)
    make(Path("early.mp4"), mark=30, frames=FRAMES, size=SIZE)
    made = world.film("A kitten", Spec("It walks", **second))
    body = world.asked()[1]
    assert body["model"] == model
    given = body["input"]
    listed = {one["type"]: one["url"] for one in given.get("media", [])}
    first: Any = given.get("img_url") or given.get("first_frame_url") or listed.get("first_frame")
    if begins is None:
        assert first is None
    elif begins == OWN:
        assert first.path == str(Path(OWN).resolve())
    else:
        clip = made.shots[0].file if begins == ON else begins
        assert decoded(first) == cutting.last_picture(clip, 1 << 30)[0]


def test_a_first_shot_goes_on_from_nothing_but_a_clip(world: World) -> None:
    make(Path("early.mp4"), mark=30, frames=FRAMES, size=SIZE)
    world.film(Spec("A kitten", continues="early.mp4"))
    assert "img_url" in world.asked()[0]["input"]
    assert refused(lambda: world.film(Spec("A kitten", continues=True))).message.startswith("line 1: there is no shot")


def test_a_sound_and_a_crossfade_reach_the_join(world: World) -> None:
    make(Path("song.mp4"), frames=60)
    plain, faded = world.film("A", "B"), world.film("A", "B", crossfade=0.1, audio="song.mp4", output="other.mp4")
    assert (plain.sound, faded.sound, faded.picture) == ("copied", "encoded", "encoded")
    assert plain.seconds - faded.seconds == pytest.approx(0.1, abs=0.01)
    assert len(world.asked()) == 2  # the shots were there


# --- once, and anew ---------------------------------------------------------------------------------------------------


def test_the_same_film_again_asks_for_nothing(world: World) -> None:
    first = world.film("A", "B", "C")
    film_bytes = Path(first.file).read_bytes()
    assert len(world.asked()) == 3
    again = world.film("A", "B", "C")
    assert world.asked() == []
    assert [clip.cached for clip in again.shots] == [True] * 3
    assert (again._replace(shots=[]), Path(again.file).read_bytes()) == (first._replace(shots=[]), film_bytes)


def test_equal_shots_are_clips_of_their_own_each_time(world: World) -> None:
    cut = Spec("The sea", continues=False)
    two = world.film(cut, cut)
    assert len({clip.task.task_id for clip in two.shots}) == 2
    assert len(world.asked()) == 2
    three = world.film(cut, cut, cut)
    assert len(world.asked()) == 1
    assert [clip.task.task_id for clip in three.shots[:2]] == [clip.task.task_id for clip in two.shots]
    assert marks(three.file, SIZE) == [(shot, frame) for shot in (1, 2, 3) for frame in range(FRAMES)]


def test_equal_shots_that_go_on_differ_by_what_they_begin_with(world: World) -> None:
    made = world.film("The sea", "The sea", "The sea")
    assert len({clip.task.task_id for clip in made.shots}) == 3
    world.asked()
    world.film("The sea", "The sea", "The sea")
    assert world.asked() == []


def test_what_generate_made_already_is_not_asked_for_again(world: World) -> None:
    alone = world.shoot(Spec("A"), output="a.mp4", settings=SETTINGS)
    made = world.film("A", "B")
    assert made.shots[0].task.task_id == alone.task.task_id
    assert len(world.asked()) == 2


def test_a_later_take_elsewhere_displaces_no_clip_of_a_film(world: World) -> None:
    first = world.film("A", "B")
    world.shoot(Spec("A"), output="another.mp4", settings=SETTINGS, cache=False)
    world.asked()
    again = world.film("A", "B")
    assert world.asked() == []
    assert [clip.file for clip in again.shots] == [clip.file for clip in first.shots]


def test_a_changed_shot_changes_what_follows_and_loses_nothing(world: World) -> None:
    first = world.film("A", "B", "C", Spec("D", continues=False))
    world.asked()
    changed = world.film("A", "B, but slower", "C", Spec("D", continues=False))
    assert [body["input"]["prompt"] for body in world.asked()] == ["B, but slower", "C"]
    kept = {Path(clip.file) for clip in [*first.shots, *changed.shots]}
    assert set(Path("film.clips").resolve().iterdir()) == kept
    assert len(kept) == 6


@pytest.mark.parametrize(("folder", "place"), [(None, "film.clips"), ("here/there", "here/there")])
def test_clips_are_named_after_their_tasks_and_stay(folder: str | None, place: str, world: World) -> None:
    made = world.film("A", "B", folder=folder)
    assert [clip.file for clip in made.shots] == [
        str(Path(place, f"{clip.task.task_id}.mp4").resolve()) for clip in made.shots
    ]
    assert all(Path(clip.file).is_file() for clip in made.shots)


def test_a_shot_that_fails_names_its_line_and_the_film_goes_on_once_that_is_mended(world: World) -> None:
    error = refused(lambda: world.film("A", "B emulator:fail=DataInspectionFailed", "C"))
    assert (error.code, error.status, error.task_id is None) == ("content_policy", 1, False)
    assert error.message.startswith("line 2: ")
    assert "film.clips, and the same command goes on from there" in error.message
    assert not Path("film.mp4").exists()
    assert len(world.asked()) == 2
    world.film("A", "B", "C")
    assert [body["input"]["prompt"] for body in world.asked()] == ["B", "C"]


@pytest.mark.parametrize("paid", [True, False])
def test_a_join_that_fails_says_that_the_shots_are_kept_and_whether_any_was_paid_just_now(
    paid: bool, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not paid:
        world.film("A", "B", output="early.mp4")

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cutting, "_write", full)
    error = refused(lambda: world.film("A", "B"))
    assert (error.code, error.status) == ("output_write_error", 1 if paid else 2)
    folder = Path("film.clips" if paid else "early.clips").resolve()  # where they were made
    said = f"No space left on device; the shots that are made are in {folder}, and the same command goes on from there"
    assert error.message.endswith(said)


def test_what_fails_before_the_first_shot_names_no_shots_that_are_kept(world: World) -> None:
    assert "goes on from there" not in refused(lambda: world.film("A emulator:refuse=Arrearage", "B")).message


# --- refused before anything is sent ----------------------------------------------------------------------------------

KITTEN = Spec("A kitten")
REFUSED: dict[str, tuple[list[Spec], str, str]] = {
    "no shot": ([], "invalid_usage", "a film has one shot or more"),
    "no prompt": ([KITTEN, Spec(continues=False)], "missing_prompt", "line 2: "),
    "a wrong length": ([KITTEN, KITTEN, Spec("A", duration=99)], "invalid_duration", "line 3: "),
    "two beginnings": ([KITTEN, Spec("A", continues=True, image="a.png")], "conflicting_input_flags", "line 2: "),
    "a model that begins with no frame": ([KITTEN, Spec("A", model="wan2.6-t2v")], "invalid_model", "line 2: "),
    "a missing image": ([KITTEN, Spec("A", image="missing.png")], "image_not_found", "line 2: "),
    "a missing clip": ([KITTEN, Spec("A", continues="missing.mp4")], "file_not_found", "line 2: "),
    "a missing prompt file": ([KITTEN, Spec(prompt_file="missing.txt")], "file_not_found", "line 2: "),
    "a prompt on stdin": ([KITTEN, Spec(prompt_file="-")], "invalid_usage", "line 2: prompt_file is a file"),
    "the first goes on": ([Spec("A", continues=True), KITTEN], "invalid_usage", "line 1: there is no shot before"),
}


@pytest.mark.parametrize(("shots", "code", "said"), REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_in_any_shot_is_refused_before_the_first_is_sent(
    shots: list[Spec], code: str, said: str, world: World
) -> None:
    error = refused(lambda: world.film(*shots))
    assert (error.code, error.status, error.message[: len(said)]) == (code, 2, said)
    assert world.asked() == []


@pytest.mark.parametrize(("given", "code"), [
    ({"audio": "missing.wav"}, "file_not_found"),
    ({"audio": "silent.mp4"}, "invalid_audio"),
    ({"crossfade": 61.0}, "invalid_usage"),
    ({"output": "missing/film.mp4"}, "output_write_error"),
    ({"output": "film.mov"}, "invalid_format"),
    ({"folder": "file"}, "output_write_error"),
])  # fmt: skip
def test_what_the_join_would_refuse_is_refused_first(given: dict[str, Any], code: str, world: World) -> None:
    Path("file").touch()
    make(Path("silent.mp4"), frames=FRAMES, size=SIZE, sound=None)
    assert refused(lambda: world.film("A", "B", **given)).code == code
    assert world.asked() == []


def shots_of(*seconds: int) -> list[Spec]:
    return [Spec("A", duration=each) for each in seconds]


@pytest.mark.parametrize(("shots", "crossfade", "line"), [
    (shots_of(2, 3, 2), 1.6, 2),  # faded at both ends
    (shots_of(2, 5), 2.1, 1),
    (shots_of(5, 2), 2.1, 2),
    ([Spec("A"), Spec("B")], 5.1, 1),  # the model's own 5 s
])  # fmt: skip
def test_a_crossfade_that_a_shot_is_too_short_for_is_refused_before_any_is_sent(
    shots: list[Spec], crossfade: float, line: int, world: World
) -> None:
    error = refused(lambda: world.film(*shots, crossfade=crossfade))
    said = f"line {line}: {shots[line - 1].duration or 5} s are too short for a crossfade of {crossfade:g} s"
    assert (error.code, error.status, error.message, world.asked()) == ("invalid_usage", 2, said, [])


@pytest.mark.parametrize(("shots", "crossfade"), [
    (shots_of(2), 60),
    (shots_of(2, 3, 2), 1.5),
    ([Spec("A"), Spec("B", model="wan2.7-videoedit", video="a.mp4"), Spec("C")], 5),  # as long as its input
])  # fmt: skip
def test_a_crossfade_that_every_shot_is_long_enough_for_is_none_to_refuse(
    shots: list[Spec], crossfade: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make(Path("a.mp4"), frames=75, size=SIZE)
    assert len(films.plan(shots, crossfade=crossfade)) == len(shots)


def test_a_film_never_takes_the_place_of_a_clip_that_a_shot_names(world: World) -> None:
    make(Path("film.mp4"), frames=FRAMES, size=SIZE)
    error = refused(lambda: world.film("A", Spec("B", continues="film.mp4")))
    assert (error.code, error.message.startswith("line 2: --output "), world.asked()) == ("invalid_usage", True, [])


def test_without_pyav_nothing_is_sent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    assert refused(lambda: world.film("A", "B")).code == "missing_extra"
    assert world.asked() == []


def test_what_is_only_warned_of_is_refused_where_that_is_asked_for(world: World) -> None:
    error = refused(lambda: world.film("A", Spec("b" * 1501), strict=True))
    assert (error.code, error.message[:8], world.asked()) == ("prompt_too_long", "line 2: ", [])


# --- the lines of a file ----------------------------------------------------------------------------------------------

LINES: dict[str, tuple[dict[str, Any], Spec]] = {
    "a prompt": ({"prompt": "一只猫"}, Spec("一只猫")),
    "a cut": ({"prompt": "A", "continue": False}, Spec("A", continues=False)),
    "a clip": ({"prompt": "A", "continue": "a.mp4"}, Spec("A", continues="a.mp4")),
    "lists": (
        {"refs": ["a.png", "b.mp4"], "ref_voices": [None, "b.wav"]},
        Spec(refs=("a.png", "b.mp4"), ref_voices=(None, "b.wav")),
    ),
    "the rest": (
        {"prompt": "A", "model": "m", "duration": 4, "seed": 0, "audio": True, "prompt_extend": False},
        Spec("A", model="m", duration=4, seed=0, audio=True, prompt_extend=False),
    ),
    "null": ({"prompt": "A", "duration": None}, Spec("A")),
}  # fmt: skip


@pytest.mark.parametrize(("line", "spec"), LINES.values(), ids=LINES)
def test_a_line_is_a_spec(line: dict[str, Any], spec: Spec) -> None:
    assert films.read(json.dumps(line, ensure_ascii=False)) == {1: spec}


@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("between", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_lines_end_as_they_do_on_any_system(start: str, between: str, end: str) -> None:
    text = f'{start}{{"prompt": "A\u2028"}}{between}{{"prompt": "B"}}{end}'
    assert films.read(text) == films.read(text.encode()) == {1: Spec("A\u2028"), 2: Spec("B")}


@pytest.mark.parametrize("empty", ["\n", "\r\n", " \t\n\n"])
def test_empty_lines_are_skipped_and_counted(empty: str, world: World) -> None:
    specs = films.read(f'{empty}{{"prompt": "A"}}\n{empty}{{"prompt": "B"}}\n{empty}{{"duration": 99}}\n{empty}')
    each = empty.count("\n")
    lines = [1 + each, 2 + 2 * each, 3 + 3 * each]
    assert specs == dict(zip(lines, (Spec("A"), Spec("B"), Spec(duration=99)), strict=True))
    assert [shot.before for shot in films.plan({4: Spec("A"), 9: Spec("B")})][1] == Media(
        "the last frame of line 4", "image/png", 0
    )
    error = refused(lambda: film(specs, "film.mp4", settings=SETTINGS, shoot=world.shoot))
    assert (error.message.partition(":")[0], world.asked()) == (f"line {lines[-1]}", [])


def test_what_is_said_of_a_shot_names_it_by_the_number_that_it_was_given(world: World) -> None:
    warnings: list[str] = []
    shots = {3: Spec("A"), 7: Spec("b" * 1501), 8: Spec("C emulator:fail=InternalError")}
    error = refused(lambda: film(shots, "film.mp4", settings=SETTINGS, shoot=world.shoot, warn=warnings.append))
    assert {text.partition(":")[0] for text in warnings} == {"line 7", "line 8"}
    assert (error.message.partition(":")[0], len(world.asked())) == ("line 8", 3)


def test_every_field_of_a_spec_is_one_of_a_line_but_those_that_only_vace_has() -> None:
    error = refused(lambda: films.read('{"none": 1}'))
    known = error.message.partition("there are ")[2].split(", ")
    edits = {"vace", "last_clip", "mask", "mask_video"}
    assert known == [name.replace("continues", "continue") for name in Spec.__slots__ if name not in edits]


WRONG: dict[str, tuple[str, str, str]] = {
    "no JSON": ("{", "invalid_usage", "it is not JSON that can be read"),
    "a list over several lines": ("[", "invalid_usage", "a shot is one object on one line"),
    "a list": ("[]", "invalid_usage", "it is not a JSON object"),
    "a key twice": ('{"prompt": "A", "prompt": "B"}', "invalid_usage", "a key stands twice"),
    "NaN": ('{"duration": NaN}', "invalid_usage", "NaN is not JSON"),
    "an unknown field": ('{"promt": "A"}', "invalid_usage", "the unknown field 'promt'"),
    "Python's word": ('{"continues": true}', "invalid_usage", "the unknown field 'continues'"),
    "a wrong type": ('{"prompt": 5}', "invalid_usage", "the field 'prompt'"),
    "a length in words": ('{"duration": "5"}', "invalid_duration", "the field 'duration'"),
    "a part of a second": ('{"duration": 2.5}', "invalid_duration", "the field 'duration'"),
    "a seed in words": ('{"seed": "1"}', "invalid_seed", "the field 'seed'"),
    "a size of two": ('{"size": [1, 2]}', "invalid_size", "the field 'size'"),
    "a number to go on from": ('{"continue": 1}', "invalid_usage", "the field 'continue'"),
    "what only a program has": (
        '{"image": {"path": "a", "mime": "image/png", "size": 1}}', "invalid_usage", "the field 'image'",
    ),
    "the same in a list": (
        '{"refs": [{"path": "a", "mime": "image/png", "size": 1}]}', "invalid_usage", "the field 'refs'",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("line", "code", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_line_is_named(line: str, code: str, said: str) -> None:
    error = refused(lambda: films.read(f'{{"prompt": "A"}}\n{line}\n{{"prompt": "B"}}'))
    assert (error.code, error.status) == (code, 2)
    assert error.message.startswith("line 2: ")
    assert said in error.message


def test_bytes_that_are_no_text_are_named() -> None:
    assert refused(lambda: films.read(b'{"prompt": "\xff"}')).message.startswith("line 1: it is not JSON")


def test_endless_lines_are_refused() -> None:
    assert refused(lambda: films.read(b" " * (films.MAX_SHOTS + 1))).code == "invalid_usage"


# --- one clip from another --------------------------------------------------------------------------------------------


def test_a_clip_goes_on_from_another_and_the_same_again_is_the_same_request(world: World) -> None:
    clip = make(Path("early.mp4"), mark=30, frames=FRAMES, size=SIZE)
    first = world.shoot(Spec("It walks", continues=clip), output="b.mp4", settings=SETTINGS)
    (body,) = world.asked()
    assert decoded(body["input"]["img_url"]) == cutting.last_picture(clip, 1 << 30)[0]
    again = world.shoot(Spec("It walks", continues=clip), output="b.mp4", settings=SETTINGS)
    assert (again.cached, again.task.task_id, world.asked()) == (True, first.task.task_id, [])
    make(Path("early.mp4"), mark=31, frames=FRAMES, size=SIZE)
    assert world.shoot(Spec("It walks", continues=clip), output="b.mp4", settings=SETTINGS).cached is False


def test_only_a_films_shot_has_one_before_it(world: World) -> None:
    for continues in (True, False):
        error = refused(lambda said=continues: world.shoot(Spec("A", continues=said), settings=SETTINGS))  # type: ignore[misc]  # bound
        assert (error.code, world.asked()) == ("invalid_usage", [])


def test_without_a_ledger_a_film_is_made_all_the_same(world: World) -> None:
    shoot = partial(world.shoot, ledger=Ledger(None))
    made = film([Spec("A"), Spec("B")], "film.mp4", settings=SETTINGS, shoot=shoot)
    assert [clip.cached for clip in made.shots] == [False, False]


@pytest.mark.parametrize("last", [None, "a.png"])
def test_a_last_frame_that_no_model_takes_is_named_with_its_clip(last: str | None, world: World) -> None:
    Image.new("RGB", SIZE).save("a.png")
    small = make(Path("small.mp4"), frames=FRAMES, size=(128, 72))
    spec = Spec("It walks", continues=small, last_frame=last)
    for line, call in (("", lambda: world.shoot(spec, settings=SETTINGS)), ("line 2: ", lambda: world.film("A", spec))):
        error = refused(call)
        assert (error.code, world.asked()) == ("invalid_image", [])
        assert error.message.startswith(f"{line}--continue: the last frame of {small!r} is 128x72 pixels; 240 to ")
