"""The media dialect: every combination of inputs, by the rules and by the emulator; lengths, prompts and bills.

What may be named together is written down here by hand, from section 2.4 of the reference.
"""

import json
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_rules import legal, name_of

from rawgenai.config import Settings
from rawgenai.dashscope import rules, tasks, wire
from rawgenai.dashscope.budget import bill
from rawgenai.dashscope.models import MODELS, Model
from rawgenai.dashscope.recovery import _limit
from rawgenai.dashscope.spec import Spec
from rawgenai.emulator import sender
from rawgenai.errors import RawgenaiError
from rawgenai.ledger import Ledger
from rawgenai.message import Media, Send

IMAGE, VIDEO, SOUND = "https://example.com/a.png", "https://example.com/a.mp4", "https://example.com/a.mp3"
NEWER = [row for row in MODELS.values() if row.dialect == "media"]
BASE = "https://dashscope.aliyuncs.com/api/v1"

# Every input that a flag can name.
INPUTS: dict[str, Any] = {
    "image": IMAGE,
    "first_frame": IMAGE,
    "last_frame": IMAGE,
    "first_clip": VIDEO,
    "refs": (IMAGE,),
    "video": VIDEO,
    "audio_url": SOUND,
}
SETS = [frozenset(names) for count in range(len(INPUTS) + 1) for names in combinations(INPUTS, count)]
FRAMES = ("image", "first_frame")


def sets(*listed: str) -> set[frozenset[str]]:
    """Read "first +last_frame": `first` stands for either flag of a first frame."""
    found = set()
    for text in listed:
        words = text.replace("+", "").split()
        for frame in FRAMES:
            found.add(frozenset(frame if word == "first" else word for word in words))
    return found


ALONE = sets("")
ACCEPTED = {
    "wan2.7-t2v": sets("", "audio_url"),
    "wan2.7-i2v": sets(
        "first", "first +audio_url", "first +last_frame", "first +last_frame +audio_url", "first_clip",
        "first_clip +last_frame",
    ),
    "wan2.7-r2v": sets("refs", "refs +first"),
    "wan2.7-videoedit": sets("video", "video +refs"),
    "wan3.0-video": sets("", "first", "first +last_frame", "refs", "refs +audio_url", "audio_url"),
    "happyhorse-1.0-t2v": ALONE,
    "happyhorse-1.0-i2v": sets("first"),
    "happyhorse-1.0-r2v": sets("refs"),
    "happyhorse-1.0-video-edit": sets("video", "video +refs"),
}  # fmt: skip
SAME = {  # a snapshot, a variant or a later generation takes what its model does
    "wan2.7-t2v-2026-04-25": "wan2.7-t2v",
    "wan2.7-t2v-2026-06-12": "wan2.7-t2v",
    "wan2.7-i2v-2026-04-25": "wan2.7-i2v",
    "wan2.7-r2v-2026-06-12": "wan2.7-r2v",
    "wan3.0-video-prime": "wan3.0-video",
    "happyhorse-1.1-t2v": "happyhorse-1.0-t2v",
    "happyhorse-1.1-i2v": "happyhorse-1.0-i2v",
    "happyhorse-1.1-r2v": "happyhorse-1.0-r2v",
}


@pytest.fixture(scope="module")
def send(tmp_path_factory: pytest.TempPathFactory) -> Send:
    return sender(tmp_path_factory.mktemp("emulator"), environ={"RAWGENAI_EMULATOR_SECONDS": "0"})


def asked(row: Model, names: frozenset[str]) -> Spec:
    return Spec("a", model=row.name, **{name: INPUTS[name] for name in names})


def test_every_newer_model_has_its_combinations_here() -> None:
    assert {row.name for row in NEWER} == set(ACCEPTED) | set(SAME)


@pytest.mark.parametrize("row", NEWER, ids=name_of)
def test_the_listed_combinations_are_accepted_and_no_other(row: Model) -> None:
    accepted = set()
    for names in SETS:
        try:
            assert rules.select(asked(row, names)) == (row, [])
            accepted.add(names)
        except RawgenaiError as error:
            codes = {"invalid_model", "conflicting_input_flags", "last_frame_requires_first", "incompatible_audio_url"}
            assert error.code in codes  # noqa: PT017 - which of them depends on what else was named
    assert accepted == ACCEPTED[SAME.get(row.name, row.name)]


@pytest.mark.parametrize("row", NEWER, ids=name_of)
def test_the_emulator_books_the_listed_combinations_and_no_other(send: Send, row: Model) -> None:
    """The client's own checks are switched off; two first frames are one in the request, so they are left out."""
    for names in SETS:
        if set(FRAMES) <= names:
            continue
        answer = send(wire.create_request(asked(row, names), row))
        assert (answer.status == 200) == (names in ACCEPTED[SAME.get(row.name, row.name)]), (set(names), answer.body)


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        ({"first_clip": VIDEO}, "invalid_model", "--first-clip is not for wan2.6-i2v-flash, which takes --image;"),
        ({"first_clip": VIDEO}, "invalid_model", "--first-clip is for wan2.7-i2v, wan2.7-i2v-2026-04-25"),
        ({"video": VIDEO}, "invalid_model", "edit, which has no usual model: choose --model from wan2.7-videoedit, "),
        (
            {"first_clip": VIDEO, "audio_url": SOUND, "model": "wan2.7-i2v"},
            "conflicting_input_flags",
            "--first-clip with --audio-url is not for wan2.7-i2v, which takes --image, or --image with --audio-url, or",
        ),
        ({"model": "wan2.7-videoedit"}, "invalid_model", "is for edit, and needs --video; these inputs mean t2v"),
        ({"model": "wan2.7-i2v"}, "invalid_model", "is for i2v and kf2v, and needs --image or --first-frame; "),
        ({"model": "wan3.0-video", "prompt": None}, "missing_prompt", "t2v needs a prompt"),
        ({"model": "happyhorse-1.0-i2v", "image": IMAGE, "ratio": "16:9"}, "invalid_ratio", "follows the shape"),
        ({"model": "wan2.7-t2v", "ratio": "21:9"}, "invalid_ratio", "is not one of 16:9, 9:16, 1:1, 4:3, 3:4"),
        (
            {"model": "wan2.7-t2v", "size": "1280*720"},
            "invalid_size",
            "wan2.7-t2v takes a --ratio; choose --resolution",
        ),
        ({"model": "wan3.0-video", "duration": 31}, "invalid_duration", "wan3.0-video offers -1, 2 to 30 seconds"),
        ({"model": "wan2.7-videoedit", "video": VIDEO, "duration": 1}, "invalid_duration", "offers 0, 2 to 10 seconds"),
        (
            {"model": "happyhorse-1.0-video-edit", "video": VIDEO, "duration": 5},
            "invalid_duration",
            "makes the clip as long as its input",
        ),
        (
            {"model": "wan2.7-r2v", "refs": (IMAGE,), "ref_voices": (SOUND, SOUND)},
            "invalid_usage",
            "--ref-voice is given 2 times, --ref 1 times",
        ),
        ({"audio_setting": "none"}, "invalid_usage", "--audio-setting none is not one of auto, origin"),
        ({"model": "happyhorse-1.0-t2v", "negative": "b"}, "invalid_usage", "--negative is not for happyhorse-1.0-t2v"),
    ],
)
def test_a_refusal_names_what_is_accepted(given: dict[str, Any], code: str, said: str) -> None:
    with pytest.raises(RawgenaiError) as caught:
        rules.select(Spec(**{"prompt": "a", **given}))
    assert caught.value.code == code
    assert said in caught.value.message


# --- lengths -------------------------------------------------------------------------------------------------------


def video(seconds: float | None) -> Media:
    return Media("scene.mp4", "video/mp4", 1000, 640, 480, seconds=seconds)


@pytest.mark.parametrize(
    ("model", "refs", "duration", "code"),
    [
        # wan2.7-r2v: 2 to 10 s beside a video, else 2 to 15 s.
        ("wan2.7-r2v", (IMAGE,), 15, ""),
        ("wan2.7-r2v", (IMAGE, VIDEO), 10, ""),
        ("wan2.7-r2v", (IMAGE, VIDEO), 11, "invalid_duration"),
        ("wan2.7-r2v", (video(5.0),), 11, "invalid_duration"),
        # wan3.0: with videos 30 s in all.
        ("wan3.0-video", (video(15.0),), 15, ""),
        ("wan3.0-video", (video(15.0),), 16, "invalid_duration"),
        ("wan3.0-video", (video(10.0), video(10.0)), 10, ""),
        ("wan3.0-video", (video(10.0), video(10.01)), 10, "invalid_duration"),
        ("wan3.0-video", (video(15.0), video(15.0)), -1, ""),
        ("wan3.0-video", (IMAGE,), 30, ""),
        ("wan3.0-video", (VIDEO,), 30, ""),  # nobody knows
    ],
)
def test_a_length_beside_videos(model: str, refs: tuple[str | Media, ...], duration: int, code: str) -> None:
    spec = Spec("a", model=model, refs=refs, duration=duration)
    objection = rules.check_duration(spec, MODELS[model])
    assert (objection.code if objection else "") == code


def test_the_emulator_refuses_a_length_beside_a_video_that_is_not_offered(send: Send) -> None:
    row = MODELS["wan2.7-r2v"]
    statuses = [
        send(wire.create_request(Spec("a", refs=refs, duration=11), row)).status for refs in ((IMAGE,), (VIDEO,))
    ]
    assert statuses == [200, 400]


@pytest.mark.parametrize(
    ("counts", "code"),
    [
        ((10, 0, 0, 0), ""),
        ((11, 0, 0, 0), "too_many_refs"),
        ((0, 5, 0, 0), ""),
        ((0, 6, 0, 0), "too_many_ref_videos"),
        ((0, 0, 5, 0), ""),
        ((0, 0, 6, 0), "too_many_refs"),
        ((0, 0, 4, 1), ""),
        ((0, 0, 5, 1), "too_many_refs"),  # --audio-url is one of them
        ((10, 5, 5, 0), ""),
        ((11, 5, 4, 0), "too_many_refs"),
    ],
)
def test_wan30_counts_images_videos_and_sounds_apart(send: Send, counts: tuple[int, int, int, int], code: str) -> None:
    row = MODELS["wan3.0-video"]
    refs = (IMAGE,) * counts[0] + (VIDEO,) * counts[1] + (SOUND,) * counts[2]
    spec = Spec("a", refs=refs, audio_url=SOUND if counts[3] else None)
    objection = rules.check_refs(spec, row)
    assert (objection.code if objection else "") == code
    assert (send(wire.create_request(spec, row)).status == 200) is not bool(code)


# --- prompts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "read"),
    [
        ("a" * 5000, 5000),
        ("a" * 5001, 5000),
        ("猫" * 2500, 2500),
        ("猫" * 2501, 2500),
        ("ネコ" * 1251, 2500),
        ("고양" * 1251, 2500),
        ("猫。" * 1251, 2500),
        ("猫" * 2000 + "a" * 1001, 3000),
        ("𠀀" * 2501, 2500),
        ("é" * 5001, 5000),
    ],
)
def test_happyhorse_reads_half_as_many_cjk_characters(prompt: str, read: int) -> None:
    assert len(MODELS["happyhorse-1.0-t2v"].read(prompt)) == read


def test_other_models_count_every_character_alike() -> None:
    assert len(MODELS["wan2.7-t2v"].read("猫" * 5001)) == 5000


def test_recovery_knows_that_a_cjk_prompt_may_be_cut_earlier() -> None:
    rows: dict[str, Any] = {name: SimpleNamespace(model=name) for name in ("happyhorse-1.0-t2v", "wan2.7-t2v", "wan9")}
    assert {name: _limit(row) for name, row in rows.items()} == {
        "happyhorse-1.0-t2v": 2500, "wan2.7-t2v": 5000, "wan9": None,
    }  # fmt: skip


# --- bills -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "given", "seconds", "upper_bound"),
    [
        ("wan2.7-videoedit", {"video": video(5.02)}, "10.04", False),  # the reference's own figures
        ("wan2.7-videoedit", {"video": VIDEO}, "20", True),
        ("wan2.7-videoedit", {"video": video(8.0), "duration": 3}, "11", False),
        ("wan2.7-videoedit", {"video": video(5.0), "refs": (IMAGE,)}, "10", False),
        ("happyhorse-1.0-video-edit", {"video": video(10.0)}, "20", False),
        ("happyhorse-1.0-video-edit", {"video": video(60.0)}, "30", False),  # it reads 15 s
        ("happyhorse-1.0-video-edit", {"video": VIDEO}, "30", True),
        ("wan2.7-i2v", {"first_clip": video(5.0), "duration": 10}, "10", False),  # the clip's seconds are in it
        ("wan2.7-r2v", {"refs": (video(30.0), IMAGE), "duration": 10}, "12.5", False),
        ("wan2.7-r2v", {"refs": (IMAGE,), "duration": 15}, "15", False),
        ("wan3.0-video", {"duration": -1}, "30", True),
        ("wan3.0-video", {"refs": (video(6.0),), "duration": 5}, "11", False),
        ("wan3.0-video", {"refs": (VIDEO,), "duration": 5}, "20", True),
        ("wan3.0-video", {"refs": (VIDEO, VIDEO), "duration": 20}, "30", True),
        ("happyhorse-1.0-r2v", {"refs": (IMAGE,) * 9, "duration": 5}, "5", False),
    ],
)
def test_what_is_billed(model: str, given: dict[str, Any], seconds: str, *, upper_bound: bool) -> None:
    found = bill(Spec("a", **given), MODELS[model], BASE)
    assert (str(found.seconds.normalize()).replace("E+1", "0"), found.upper_bound) == (seconds, upper_bound)


def test_a_silent_clip_of_wan30_costs_what_it_does_with_sound() -> None:
    row = MODELS["wan3.0-video"]
    assert bill(legal(row, no_audio=True), row, BASE).cost == bill(legal(row), row, BASE).cost


# --- what the emulator answers ---------------------------------------------------------------------------------------

NEW = {"input_video_duration": 0, "video_count": 1}
USAGE: list[tuple[str, dict[str, Any], dict[str, Any]]] = [  # reference 3.3
    (
        "wan2.7-t2v",
        {"duration": 2},
        {"duration": 2, "output_video_duration": 2, "SR": 720, "ratio": "16:9"} | NEW,
    ),
    ("wan2.7-i2v", {"duration": 2}, {"duration": 2, "output_video_duration": 2, "SR": 720} | NEW),
    (
        "wan2.7-r2v",
        {"refs": (VIDEO,), "duration": 2, "ratio": "9:16"},
        {"duration": 7.0, "output_video_duration": 2, "SR": 720, "ratio": "9:16"} | NEW | {"input_video_duration": 5},
    ),
    (
        "wan2.7-videoedit",
        {"duration": 3},
        {"duration": 8.0, "output_video_duration": 3, "SR": 720} | NEW | {"input_video_duration": 5},
    ),
    (
        "wan3.0-video",
        {"resolution": "480P", "ratio": "1:1"},
        {"duration": 5, "output_video_duration": 5, "SR": 480, "ratio": "1:1", "fps": 30} | NEW,
    ),
]


@pytest.mark.parametrize(("model", "given", "usage"), USAGE)
def test_the_usage_is_as_the_reference_shows_it(
    tmp_path: Path, model: str, given: dict[str, Any], usage: dict[str, Any]
) -> None:
    send = sender(tmp_path, environ={"RAWGENAI_EMULATOR_SECONDS": "0"})
    row = MODELS[model]
    task = wire.parse_created(send(wire.create_request(legal(row, **given), row)))
    answers = [json.loads(send(wire.status_request(task.task_id)).body) for _ in range(4)]
    assert answers[-1]["usage"] == usage


# --- what the ledger is told -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "mode", "seconds"),
    [
        (Spec("a", model="wan3.0-video", duration=-1), "t2v", None),  # as the model sees fit
        (Spec("a", model="wan3.0-video", image=IMAGE), "i2v", 5),
        (Spec("a", model="wan3.0-video", first_frame=IMAGE, last_frame=IMAGE, duration=30), "kf2v", 30),
        (Spec("a", model="wan3.0-video", refs=(IMAGE,)), "r2v", 5),
        (Spec("a", model="wan2.7-i2v", first_frame=IMAGE), "kf2v", 5),
        (Spec("a", model="wan2.7-videoedit", video=VIDEO), "edit", None),  # as the input
        (Spec("a", model="wan2.7-videoedit", video=VIDEO, duration=3), "edit", 3),
        (Spec("a", model="happyhorse-1.0-video-edit", video=VIDEO), "edit", None),
    ],
)
def test_the_ledger_is_told_the_mode_of_the_inputs_and_a_length_that_is_known(
    tmp_path: Path, send: Send, spec: Spec, mode: str, seconds: int | None
) -> None:
    book = Ledger(str(tmp_path / "tasks.db"))
    task = tasks.create(spec, settings=Settings(None, None, "emulator", "test"), send=send, ledger=book)
    row = book.find(task.task_id)
    assert row is not None
    assert (row.mode, row.duration) == (mode, seconds)
