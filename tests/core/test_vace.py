"""The functions of vace: what each one takes, needs and refuses, every cell of its row at its edges, and its bill.

The figures are copied by hand from section 2.6 of the reference, and from 2.5 for the clips.
"""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from test_rules import verdict

import corpus
from rawgenai.config import Settings
from rawgenai.dashscope import generation, roster, rules, submitting, tasks, vace_rules, wire
from rawgenai.dashscope.budget import bill
from rawgenai.dashscope.models import MODELS
from rawgenai.dashscope.spec import INPUTS, Spec, Vace
from rawgenai.dashscope.vace import FUNCTIONS, refined
from rawgenai.emulator import sender
from rawgenai.errors import RawgenaiError
from rawgenai.ledger import Ledger
from rawgenai.message import Media, Send

BEIJING, SINGAPORE = "wanx2.1-vace-plus", "wan2.1-vace-plus"
IMAGE, VIDEO = "https://example.com/a.png", "https://example.com/a.mp4"
CLIP = Media("a.mp4", "video/mp4", 1, 640, 480, seconds=3.0, fps=30.0)
MASK = Media("m.png", "image/png", 1, 640, 480)
BASE = "https://dashscope.aliyuncs.com/api/v1"

# Function -> the least that it needs.
LEAST: dict[str, dict[str, Any]] = {
    "image-reference": {"refs": (IMAGE,)},
    "repainting": {"video": VIDEO, "control": "depth"},
    "edit": {"video": VIDEO, "mask": IMAGE},
    "extension": {"first_clip": VIDEO},
    "outpainting": {"video": VIDEO, "left_scale": 1.5},
}
# Function -> all that it takes, each with a value that it accepts.
TAKES: dict[str, dict[str, Any]] = {
    "image-reference": {"refs": (IMAGE,), "ref_roles": ("obj",), "size": "960*960", "ratio": "9:16",
                        "resolution": "720P", "duration": 5},
    "repainting": {"refs": (IMAGE,), "video": VIDEO, "control": "scribble", "strength": 0.5},
    "edit": {"refs": (IMAGE,), "video": VIDEO, "mask": IMAGE, "mask_video": VIDEO, "control": "depth",
             "mask_frame": 1, "mask_type": "tracking", "expand_ratio": 0.5, "expand_mode": "hull", "size": "960*960",
             "ratio": "9:16", "resolution": "720P"},
    "extension": {"first_frame": IMAGE, "last_frame": IMAGE, "first_clip": VIDEO, "last_clip": VIDEO, "video": VIDEO,
                  "control": "depth", "duration": 5},
    "outpainting": {"video": VIDEO, "top_scale": 1.5, "bottom_scale": 1.5, "left_scale": 1.5, "right_scale": 1.5},
}  # fmt: skip
EVERYTHING: dict[str, Any] = {
    "image": IMAGE, "ref_voices": (VIDEO,), "audio_url": VIDEO, "negative": "b", "audio": True, "no_audio": True,
    "audio_setting": "auto", "shot_type": "multi",
}  # fmt: skip
for _taken in TAKES.values():
    EVERYTHING |= _taken
# Field -> the code of its own, where it has one.
CODES = {
    "size": "invalid_size", "ratio": "invalid_ratio", "resolution": "invalid_resolution",
    "duration": "invalid_duration", "audio": "incompatible_audio", "no_audio": "incompatible_no_audio",
    "audio_url": "incompatible_audio_url", "shot_type": "incompatible_shot_type",
}  # fmt: skip


def spec(function: str, **given: Any) -> Spec:
    """The least of a function with changes; a None takes away."""
    fields = {"prompt": "a"} | LEAST.get(function, {}) | given
    parameters = {name: fields.pop(name) for name in Vace._fields if name in fields}
    return Spec(**fields, vace=Vace(function, **parameters))


def beside(function: str, field: str) -> dict[str, Any]:
    """What a field must have beside it, or cannot have."""
    if field == "mask_video":
        return {"mask": None}
    if function == "extension" and field in ("video", "control"):
        return {"video": VIDEO, "control": "depth"}
    return {"video": VIDEO} if field == "ref_voices" else {}


# --- what it takes ---------------------------------------------------------------------------------------------------


def test_the_functions_are_those_of_the_reference() -> None:
    assert {name: row.key for name, row in FUNCTIONS.items()} == {
        "image-reference": "image_reference",
        "repainting": "video_repainting",
        "edit": "video_edit",
        "extension": "video_extension",
        "outpainting": "video_outpainting",
    }


@pytest.mark.parametrize("function", LEAST)
@pytest.mark.parametrize("model", [None, BEIJING, SINGAPORE])
def test_the_least_is_enough(function: str, model: str | None) -> None:
    assert verdict(spec(function, model=model)) == model or BEIJING


@pytest.mark.parametrize("function", LEAST)
def test_a_field_is_accepted_where_the_function_takes_it_alone(function: str) -> None:
    for field in EVERYTHING:
        if field in TAKES[function]:
            more = {field: TAKES[function][field]} | beside(function, field)
            assert (field, verdict(spec(function, **more))) == (field, BEIJING)
        else:
            code = CODES.get(field, "invalid_usage")
            assert (field, verdict(spec(function, **{field: EVERYTHING[field]}))) == (field, code)


@pytest.mark.parametrize("model", ["wan2.6-t2v", "wan2.7-videoedit"])
def test_a_function_is_for_models_of_vace(model: str) -> None:
    assert verdict(spec("edit", model=model)) == "invalid_model"


@pytest.mark.parametrize("field", ["mask", "mask_video", "last_clip"])
@pytest.mark.parametrize("given", [{}, {"image": IMAGE}, {"video": VIDEO, "model": "wan2.7-videoedit"}])
def test_what_only_vace_takes_is_for_nothing_else(field: str, given: dict[str, Any]) -> None:
    assert verdict(Spec(**{"prompt": "a", field: IMAGE} | given)) == "invalid_usage"


@pytest.mark.parametrize("function", ["", "video_edit", "Edit", "inpainting"])
def test_a_function_that_there_is_not_is_refused_with_those_that_there_are(function: str) -> None:
    with pytest.raises(RawgenaiError, match="is not one of image-reference, repainting, edit, extension, outpainting"):
        rules.select(spec(function))


# --- what it needs ---------------------------------------------------------------------------------------------------

NEEDS: list[tuple[str, dict[str, Any], str, str]] = [
    ("image-reference", {"refs": None}, "missing_ref", "needs --ref"),
    ("image-reference", {"refs": ()}, "missing_ref", "--ref needs"),
    ("repainting", {"video": None}, "invalid_usage", "needs --video"),
    ("repainting", {"control": None}, "invalid_usage", "needs --control: posebodyface, posebody, depth, scribble"),
    ("edit", {"video": None}, "invalid_usage", "needs --video"),
    ("edit", {"mask": None}, "invalid_usage", "needs --mask or --mask-video"),
    ("edit", {"mask_video": VIDEO}, "conflicting_input_flags", "--mask and --mask-video cannot be used together"),
    (
        "extension",
        {"first_clip": None},
        "invalid_usage",
        "needs --first-frame or --last-frame or --first-clip or --last-clip",
    ),
    (
        "extension",
        {"first_clip": None, "video": VIDEO, "control": "depth"},
        "invalid_usage",
        "needs --first-frame or",
    ),
    ("extension", {"video": VIDEO}, "invalid_usage", "needs --control beside --video: posebodyface, depth"),
    ("extension", {"control": "depth"}, "invalid_usage", "--control is only for use with --video"),
    ("outpainting", {"video": None}, "invalid_usage", "needs --video"),
    *((function, {"prompt": None}, "missing_prompt", "vace needs a prompt") for function in LEAST),
    *((function, {"prompt": " \n"}, "missing_prompt", "vace needs a prompt") for function in LEAST),
]


@pytest.mark.parametrize(("function", "changes", "code", "said"), NEEDS)
def test_what_is_needed_is_missed(function: str, changes: dict[str, Any], code: str, said: str) -> None:
    with pytest.raises(RawgenaiError) as caught:
        rules.select(spec(function, **changes))
    assert caught.value.code == code
    assert said in caught.value.message


ENDS = ("first_frame", "last_frame", "first_clip", "last_clip")


@pytest.mark.parametrize("names", [names for count in range(1, 5) for names in combinations(ENDS, count)])
def test_an_extension_takes_one_end_or_several(names: tuple[str, ...]) -> None:
    given: dict[str, Any] = {name: EVERYTHING[name] for name in names}
    assert verdict(Spec("a", **given, vace=Vace("extension"))) == BEIJING


# --- every cell at its edges -----------------------------------------------------------------------------------------

FINE = BEIJING
EDGES: list[tuple[str, dict[str, Any], str]] = [
    # How many references.
    ("image-reference", {"refs": (IMAGE,) * 2, "ref_roles": ("obj", "bg")}, FINE),
    ("image-reference", {"refs": (IMAGE,) * 3, "ref_roles": ("obj", "obj", "obj")}, FINE),
    ("image-reference", {"refs": (IMAGE,) * 4, "ref_roles": ("obj",) * 4}, "too_many_refs"),
    ("image-reference", {"refs": (VIDEO,)}, "too_many_ref_videos"),
    ("repainting", {"refs": (IMAGE,) * 2}, "too_many_refs"),
    ("edit", {"refs": (IMAGE,) * 2}, "too_many_refs"),
    # obj_or_bg: one for each, and one background at most; a single image may go without.
    ("image-reference", {"refs": (IMAGE,) * 2}, "invalid_usage"),
    ("image-reference", {"refs": (IMAGE,) * 2, "ref_roles": ("obj",)}, "invalid_usage"),
    ("image-reference", {"ref_roles": ("obj", "bg")}, "invalid_usage"),
    ("image-reference", {"ref_roles": ("bg",)}, FINE),
    ("image-reference", {"ref_roles": ("subject",)}, "invalid_usage"),
    ("image-reference", {"ref_roles": ("",)}, "invalid_usage"),
    ("image-reference", {"refs": (IMAGE,) * 2, "ref_roles": ("bg", "bg")}, "invalid_usage"),
    ("image-reference", {"refs": (IMAGE,) * 3, "ref_roles": ("bg", "obj", "obj")}, FINE),
    # Words.
    *(("repainting", {"control": word}, FINE) for word in ("posebodyface", "posebody", "depth", "scribble")),
    *(("repainting", {"control": word}, "invalid_usage") for word in ("", "Depth", "canny")),
    *(("edit", {"control": word}, FINE) for word in ("posebodyface", "depth")),
    *(("edit", {"control": word}, "invalid_usage") for word in ("", "posebody", "scribble")),
    *(("extension", {"video": VIDEO, "control": word}, FINE) for word in ("posebodyface", "depth")),
    *(("extension", {"video": VIDEO, "control": word}, "invalid_usage") for word in ("posebody", "scribble")),
    *(("edit", {"mask_type": word}, FINE) for word in ("tracking", "fixed")),
    ("edit", {"mask_type": "still"}, "invalid_usage"),
    *(("edit", {"expand_mode": word}, FINE) for word in ("hull", "bbox", "original")),
    ("edit", {"expand_mode": "box"}, "invalid_usage"),
    # Spans.
    *(("repainting", {"strength": value}, FINE) for value in (0, 0.0, 0.5, 1, 1.0)),
    *(("repainting", {"strength": value}, "invalid_usage") for value in (-0.01, 1.01, float("nan"), float("inf"))),
    *(("edit", {"expand_ratio": value}, FINE) for value in (0.0, 0.05, 1.0)),
    *(("edit", {"expand_ratio": value}, "invalid_usage") for value in (-0.01, 1.01)),
    *(("edit", {"mask_frame": value}, FINE) for value in (1, 151, 10_000)),  # of a video that nobody knows
    *(("edit", {"mask_frame": value}, "invalid_usage") for value in (0, -1)),
    *(
        ("outpainting", {f"{side}_scale": value}, fate)
        for side in ("top", "bottom", "left", "right")
        for value, fate in ((1, FINE), (1.01, FINE), (2.0, FINE), (0.99, "invalid_usage"), (2.01, "invalid_usage"))
        if (side, value) != ("left", 1)
    ),
    ("outpainting", {"left_scale": 1.0}, f"{FINE}!"),  # nothing is added
    ("outpainting", {"left_scale": None}, f"{FINE}!"),
    ("outpainting", {"left_scale": None, "top_scale": 1.0, "right_scale": 1.0}, f"{FINE}!"),
    # What is said of a mask that is an image, and of one that follows.
    *(
        ("edit", {"mask": None, "mask_video": VIDEO, name: TAKES["edit"][name]}, "invalid_usage")
        for name in ("mask_frame", "mask_type", "expand_ratio", "expand_mode")
    ),
    ("edit", {"mask_type": "fixed", "expand_ratio": 0.1}, "invalid_usage"),
    ("edit", {"mask_type": "fixed", "expand_mode": "bbox"}, "invalid_usage"),
    # Sizes and lengths.
    *(
        (function, {"size": size}, FINE)
        for function in ("image-reference", "edit")
        for size in ("1280*720", "720*1280", "960x960", "1088*832", "832*1088")
    ),
    *((function, {"size": "1920*1080"}, "invalid_size") for function in ("image-reference", "edit")),
    ("image-reference", {"resolution": "1080P"}, "invalid_resolution"),
    ("image-reference", {"ratio": "1:1"}, "invalid_ratio"),
    *((function, {"duration": 5}, FINE) for function in ("image-reference", "extension")),
    *(
        (function, {"duration": value}, "invalid_duration")
        for function in ("image-reference", "extension")
        for value in (0, 1, 4, 6)
    ),
    # The prompt.
    *((function, {"prompt": "猫" * 800}, FINE) for function in LEAST),
    *((function, {"prompt": "猫" * 801}, f"{FINE}!") for function in LEAST),
    # Clips: 3 s each, and together.
    ("extension", {"first_clip": CLIP}, FINE),
    ("extension", {"first_clip": replace(CLIP, seconds=3.01)}, "invalid_ref"),
    ("extension", {"first_clip": None, "last_clip": replace(CLIP, seconds=3.01)}, "invalid_ref"),
    ("extension", {"first_clip": replace(CLIP, seconds=1.2), "last_clip": replace(CLIP, seconds=1.8)}, FINE),
    ("extension", {"first_clip": replace(CLIP, seconds=1.2), "last_clip": replace(CLIP, seconds=1.81)}, "invalid_ref"),
    ("extension", {"first_clip": replace(CLIP, seconds=None), "last_clip": CLIP}, FINE),
    ("extension", {"video": replace(CLIP, seconds=4.0), "control": "depth"}, FINE),
    # Masks: the video's own pixels, and one of its frames.
    ("edit", {"video": CLIP, "mask": MASK}, FINE),
    ("edit", {"video": CLIP, "mask": replace(MASK, width=641)}, "invalid_image"),
    ("edit", {"video": CLIP, "mask": replace(MASK, height=479)}, "invalid_image"),
    ("edit", {"video": CLIP, "mask": replace(MASK, width=480, height=640)}, "invalid_image"),
    ("edit", {"video": CLIP, "mask": None, "mask_video": CLIP}, FINE),
    ("edit", {"video": CLIP, "mask": None, "mask_video": replace(CLIP, width=320, height=240)}, "invalid_ref"),
    ("edit", {"video": CLIP}, FINE),  # nobody knows the mask's
    ("edit", {"mask": MASK}, FINE),  # nobody knows the video's
    ("edit", {"video": replace(CLIP, width=0, height=0), "mask": MASK}, FINE),
    ("edit", {"video": CLIP, "mask": MASK, "mask_frame": 91}, FINE),  # 3 s of 30 frames, and one more
    ("edit", {"video": CLIP, "mask": MASK, "mask_frame": 92}, "invalid_usage"),
    ("edit", {"video": replace(CLIP, fps=None), "mask": MASK, "mask_frame": 92}, FINE),
    ("edit", {"video": replace(CLIP, seconds=None), "mask": MASK, "mask_frame": 92}, FINE),
    # A URL is ASCII.
    ("edit", {"video": "https://example.com/%E7%8C%AB.mp4"}, FINE),
    ("edit", {"video": "https://example.com/猫.mp4"}, "invalid_ref"),
    ("edit", {"mask": "http://example.com/a.png?name=猫"}, "invalid_image"),
    ("edit", {"refs": ("HTTPS://example.com/é.png",)}, "invalid_ref"),
    ("extension", {"first_clip": None, "last_frame": "https://example.com/猫.png"}, "invalid_image"),
]  # fmt: skip


@pytest.mark.parametrize(("function", "changes", "expected"), EDGES)
def test_every_cell_of_a_row_is_kept_at_its_edges(function: str, changes: dict[str, Any], expected: str) -> None:
    assert verdict(spec(function, **changes)) == expected


@pytest.mark.parametrize("check", vace_rules.CHECKS, ids=lambda check: check.__name__)
def test_without_a_check_some_verdict_changes(monkeypatch: pytest.MonkeyPatch, check: Callable[..., Any]) -> None:
    cases = [*EDGES, *((function, changes, code) for function, changes, code, _ in NEEDS)]
    cases += [(function, {field: EVERYTHING[field]}, CODES.get(field, "invalid_usage"))
              for function in LEAST for field in EVERYTHING if field not in TAKES[function]]  # fmt: skip

    def changed() -> list[tuple[str, dict[str, Any], str]]:
        return [case for case in cases if verdict(spec(case[0], **case[1])) != case[2]]

    assert changed() == []
    monkeypatch.setattr(vace_rules, "CHECKS", tuple(other for other in vace_rules.CHECKS if other is not check))
    assert changed() != []


def test_what_was_uploaded_and_what_will_be_may_have_any_name() -> None:
    for name in ("oss://dashscope-instant/x/猫.mp4", "猫.mp4", "https/猫.mp4"):
        assert verdict(spec("extension", first_clip=name)) == BEIJING


def test_every_check_is_on_the_line() -> None:
    defined = {name for name in vars(vace_rules) if name.startswith("check_")}
    assert {check.__name__ for check in vace_rules.CHECKS} == defined


@pytest.mark.parametrize(
    ("function", "changes", "said"),
    [
        ("outpainting", {"refs": (IMAGE,)}, "--ref is not for vace outpainting, only for image-reference, "),
        ("repainting", {"strength": 2.0}, "--strength 2.0 is not between 0 and 1"),
        ("edit", {"mask_frame": 0}, "--mask-frame 0 is not 1 or more"),
        ("edit", {"mask_type": "fixed", "expand_ratio": 0.1}, "--expand-ratio does nothing with --mask-type fixed"),
        ("edit", {"video": CLIP, "mask": replace(MASK, width=1)}, "--mask is 1x480 pixels, --video 640x480"),
        ("edit", {"video": CLIP, "mask": MASK, "mask_frame": 99}, "--mask-frame 99 is beyond --video, which has 90"),
        ("extension", {"first_clip": replace(CLIP, seconds=4.0)}, "--first-clip of 4.00 s: vace extension takes 3 s"),
        (
            "extension",
            {"first_clip": replace(CLIP, seconds=2.0), "last_clip": replace(CLIP, seconds=2.0)},
            "--first-clip of 2.00 s and --last-clip of 2.00 s: vace extension takes 3 s together at most",
        ),
        ("edit", {"video": "https://example.com/猫.mp4"}, "--video 'https://example.com/猫.mp4': vace takes"),
        ("image-reference", {"duration": 4}, "--duration 4: wanx2.1-vace-plus offers 5 seconds"),
        ("repainting", {"duration": 4}, "--duration 4: wanx2.1-vace-plus makes the clip as long as its input"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_flag_the_value_and_what_is_accepted(
    function: str, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(RawgenaiError) as caught:
        rules.select(spec(function, **changes))
    assert said in caught.value.message


def test_of_a_long_video_the_beginning_is_read() -> None:
    for seconds, warned in ((5.0, False), (5.1, False), (5.11, True), (60.0, True)):
        _, warnings = rules.select(spec("outpainting", video=replace(CLIP, seconds=seconds)))
        assert warnings == [f"--video is {seconds:.2f} s long; {BEIJING} reads the first 5 s"] * warned


# --- the request, by the emulator's own checks -----------------------------------------------------------------------


@pytest.fixture
def send(tmp_path: Path) -> Send:
    return sender(tmp_path / "emulator", environ={"RAWGENAI_EMULATOR_SECONDS": "0"})


@pytest.mark.parametrize("model", [BEIJING, SINGAPORE])
def test_the_emulator_books_what_the_rules_accept(send: Send, model: str) -> None:
    """What it knows nothing of, a local file, is left out; warnings do not stop anybody."""
    fine = [(function, changes) for function, changes, expected in EDGES if expected.rstrip("!") == BEIJING]
    fine += [(function, {field: value} | beside(function, field))
             for function, takes in TAKES.items() for field, value in takes.items()]  # fmt: skip
    for function, changes in fine:
        asked = spec(function, model=model, **changes)
        if any(isinstance(getattr(asked, row.name), Media) for row in INPUTS):
            continue
        answer = send(wire.create_request(asked, rules.select(asked)[0]))
        assert answer.status == 200, (function, changes, answer.body)


# What the client refuses alone: the API takes no notice of it, or drops it in silence.
OURS = [
    *(("edit", {"mask": None, "mask_video": VIDEO, name: TAKES["edit"][name]})
      for name in ("mask_frame", "mask_type", "expand_ratio", "expand_mode")),
    ("edit", {"mask_type": "fixed", "expand_ratio": 0.1}),
    ("edit", {"mask_type": "fixed", "expand_mode": "bbox"}),
    ("edit", {"control": ""}),
    ("edit", {"mask_frame": 0}),  # which a request leaves out as it does what is empty
    ("extension", {"control": "depth"}),
    ("image-reference", {"refs": (IMAGE,) * 4, "ref_roles": ("obj",) * 4}),
    ("image-reference", {"refs": (VIDEO,)}),  # it would not be looked at before it runs
]  # fmt: skip


def test_the_emulator_refuses_what_the_rules_refuse(send: Send) -> None:
    """The client's own checks are left out, and local files, which are looked at elsewhere."""
    refused = [(function, changes) for function, changes, code in EDGES if not code.startswith(BEIJING)]
    refused += [(function, changes) for function, changes, _, _ in NEEDS]
    unsaid = ("resolution", "ratio", "duration")  # of which no such word reaches the request, or others are on offer
    accepted = []
    for function, changes in refused:
        asked = spec(function, **changes)
        local = any(isinstance(getattr(asked, row.name), Media) for row in INPUTS)
        if local or set(changes) & set(unsaid) or any(word in str(changes) for word in ("nan", "inf")):
            continue
        if send(wire.create_request(asked, refined(MODELS[BEIJING], function))).status == 200:
            accepted.append((function, changes))
    assert [case for case in accepted if case not in OURS] == []
    assert [case for case in OURS if case not in accepted] == []


# --- the bill, the order, the line -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "changes", "seconds", "upper_bound"),
    [
        ("image-reference", {}, 5, False),
        ("extension", {"first_clip": CLIP}, 5, False),
        ("extension", {"video": CLIP, "control": "depth"}, 5, False),
        ("repainting", {}, 5, True),  # nobody knows the video
        ("repainting", {"video": CLIP}, 3, False),
        ("edit", {"video": replace(CLIP, seconds=3.25), "size": "960*960"}, Decimal("3.25"), False),
        ("outpainting", {"video": replace(CLIP, seconds=60.0)}, 5, False),
        ("outpainting", {"video": replace(CLIP, seconds=None)}, 5, True),
        ("repainting", {"video": CLIP, "refs": (IMAGE,)}, 3, False),  # what goes in costs nothing
    ],
)
@pytest.mark.parametrize(
    ("model", "price", "base"),
    [
        (BEIJING, "0.7", BASE),
        (SINGAPORE, "0.733924", "https://dashscope-intl.aliyuncs.com/api/v1"),
    ],
)
def test_the_clips_seconds_are_billed_and_no_others(  # noqa: PLR0917 - two tables crossed
    function: str, changes: dict[str, Any], seconds: Decimal, upper_bound: bool, model: str, price: str, base: str
) -> None:
    asked = spec(function, model=model, **changes)
    found = bill(asked, rules.select(asked)[0], base)
    assert (found.seconds, found.upper_bound, found.price) == (seconds, upper_bound, Decimal(price))
    assert found.cost == Decimal(price) * Decimal(seconds)


@pytest.mark.parametrize(
    ("region", "model", "taken"),
    [
        (None, None, BEIJING),
        ("beijing", None, BEIJING),
        ("singapore", None, SINGAPORE),  # where it is spelled so
        ("singapore", SINGAPORE, SINGAPORE),
        ("beijing", SINGAPORE, "invalid_model"),
        ("singapore", BEIJING, "invalid_model"),  # what was named is not replaced
        ("virginia", None, "invalid_model"),
        ("frankfurt", None, "invalid_model"),
    ],
)
def test_the_usual_model_is_the_regions(region: str | None, model: str | None, taken: str) -> None:
    settings = Settings(None, None, "emulator", "test", named_region=region)
    try:
        made, warnings = submitting.order(spec("edit", model=model), settings)
    except RawgenaiError as error:
        assert error.code == taken  # noqa: PT017 - which of them it is depends on the case
    else:
        assert (made.model.name, made.model.durations, warnings) == (taken, (), [])


def test_a_model_of_ones_own_takes_functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "rawgenai").mkdir()
    (tmp_path / "rawgenai" / "models.json").write_text('{"wan9-vace": {"like": "wanx2.1-vace-plus"}}')
    asked = spec("edit", model="wan9-vace")
    body: Any = wire.create_request(asked, roster.select(asked)[0]).body
    assert (body["model"], body["input"]["function"]) == ("wan9-vace", "video_edit")


def files(folder: Path) -> dict[str, str]:
    """A video of 2 s, a mask for it, and a picture."""
    (folder / "video.mp4").write_bytes(corpus.clip(2, width=480, height=368, rate=16))
    (folder / "mask.png").write_bytes(corpus.picture("PNG", 480, 368))
    (folder / "slow.mp4").write_bytes(corpus.clip(2, width=480, height=368, rate=12))
    (folder / "small.png").write_bytes(corpus.picture("PNG", 400, 400))
    return {name: str(folder / name) for name in ("video.mp4", "mask.png", "slow.mp4", "small.png")}


def test_local_files_are_looked_at_uploaded_and_the_clip_delivered(tmp_path: Path, send: Send) -> None:
    named = files(tmp_path)
    settings = Settings(None, None, "emulator", "test")
    asked = spec("edit", video=named["video.mp4"], mask=named["mask.png"], mask_frame=33)
    with Ledger(str(tmp_path / "tasks.db")) as book:
        clip = generation.generate(
            asked, output=str(tmp_path / "a.mp4"), settings=settings, send=send, ledger=book, sleep=lambda _: None
        )
        (row,) = book.rows()
        again = generation.generate(
            asked, output=str(tmp_path / "a.mp4"), settings=settings, send=send, ledger=book, sleep=lambda _: None
        )
    assert (clip.task.duration, clip.cached, again.cached) == (2, False, True)
    assert (row.model, row.mode, row.prompt, row.duration) == (BEIJING, "vace", "a", None)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"video": "slow.mp4"}, "invalid_ref"),  # 12 frames a second
        ({"mask": "small.png"}, "invalid_image"),  # other pixels than the video
        ({"mask_frame": 34}, "invalid_usage"),  # 2 s of 16 frames
        ({"video": "none.mp4"}, "ref_not_found"),
        ({"mask": "none.png"}, "image_not_found"),
        ({"mask": "video.mp4"}, "invalid_image"),
        ({"mask": None, "mask_video": "mask.png"}, "invalid_ref"),
    ],
)
def test_a_local_file_that_does_not_fit_is_refused_before_anything_is_sent(
    tmp_path: Path, changes: dict[str, Any], code: str
) -> None:
    named = files(tmp_path)
    given: dict[str, Any] = {"video": "video.mp4", "mask": "mask.png"} | changes
    given = {name: named.get(value, value) if isinstance(value, str) else value for name, value in given.items()}
    with pytest.raises(RawgenaiError) as caught:
        tasks.create(
            spec("edit", **given),
            settings=Settings(None, None, "emulator", "test"),
            send=lambda *_: pytest.fail("something was sent"),
            ledger=Ledger(None),
        )
    assert caught.value.code == code


def test_two_functions_of_the_same_are_two_orders() -> None:
    settings = Settings(None, None, "emulator", "test")
    digests = {
        submitting.order(asked, settings)[0].digest
        for asked in (
            spec("outpainting"),
            spec("outpainting", left_scale=1.6),
            spec("repainting"),
            spec("repainting", strength=0.5),
        )
    }
    assert len(digests) == 4
