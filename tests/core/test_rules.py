"""What may be asked for: a table of cases, every row of MODELS with its neighbours, each check taken away once."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from rawgenai.dashscope import rules
from rawgenai.dashscope.models import DEFAULT_MODELS, DEFAULT_RESOLUTION, MODELS, SIZES, Model
from rawgenai.dashscope.spec import Spec, Vace
from rawgenai.errors import CODES, RawgenaiError
from rawgenai.message import Media

URL = "https://example.com/a.png"
VIDEO = "https://example.com/a.mp4"
INPUTS: dict[str, dict[str, Any]] = {  # what makes the mode, at least
    "t2v": {"prompt": "a cat"},
    "i2v": {"image": URL},
    "r2v": {"prompt": "character1 walks", "refs": (URL,)},
    "kf2v": {"first_frame": URL},
    "edit": {"prompt": "make it clay", "video": VIDEO},
}
FRAME = {"first_frame": URL}
IMAGE = {"image": URL}
ON = {"continues": "clip.mp4"}
REFS: dict[str, Any] = {"prompt": "a", "refs": (URL,)}
CLIP = {"video": VIDEO, "prompt": "a"}
SOUND = "https://example.com/a.mp3"
REACHABLE = [row for row in MODELS.values() if row.mode in INPUTS]  # vace has functions, see test_vace.py


def verdict(spec: Spec, *, strict: bool = False) -> str:
    """The model's name, with a "!" for each warning; or the code of the objection."""
    try:
        model, warnings = rules.select(spec, strict=strict)
    except RawgenaiError as error:
        return error.code
    return model.name + "!" * len(warnings)


# (what is asked for, what becomes of it)
CASES: list[tuple[dict[str, Any], str]] = [
    # The mode follows from the inputs.
    ({"prompt": "a"}, "wan2.6-t2v"),
    (IMAGE, "wan2.6-i2v-flash"),
    (REFS, "wan2.6-r2v-flash"),
    (FRAME, "wan2.2-kf2v-flash"),
    (FRAME | {"last_frame": URL}, "wan2.2-kf2v-flash"),
    (IMAGE | {"prompt": "a"}, "wan2.6-i2v-flash"),
    (IMAGE | REFS, "conflicting_input_flags"),
    (IMAGE | FRAME, "conflicting_input_flags"),
    (REFS | FRAME, "conflicting_input_flags"),
    (IMAGE | REFS | FRAME, "conflicting_input_flags"),
    ({"prompt": "a", "last_frame": URL}, "last_frame_requires_first"),
    (IMAGE | {"last_frame": URL}, "last_frame_requires_first"),
    (REFS | {"last_frame": URL}, "last_frame_requires_first"),
    # A clip to go on from gives the first frame, of whichever mode takes one.
    (ON, "wan2.6-i2v-flash"),
    (ON | {"last_frame": URL}, "wan2.2-kf2v-flash"),
    (ON | {"model": "wan2.2-kf2v-flash"}, "wan2.2-kf2v-flash"),
    (ON | {"model": "wan2.2-kf2v-flash", "last_frame": URL}, "wan2.2-kf2v-flash"),
    (ON | {"model": "wan2.6-i2v"}, "wan2.6-i2v"),
    (ON | {"model": "wan2.7-i2v"}, "wan2.7-i2v"),
    (ON | {"model": "wan2.7-i2v", "last_frame": URL}, "wan2.7-i2v"),
    (ON | REFS | {"model": "wan2.7-r2v"}, "wan2.7-r2v"),
    (ON | {"model": "wan3.0-video"}, "wan3.0-video"),
    (ON | {"model": "wan2.6-t2v"}, "invalid_model"),
    (ON | REFS, "conflicting_input_flags"),
    (ON | IMAGE, "conflicting_input_flags"),
    (ON | FRAME, "conflicting_input_flags"),
    (ON | IMAGE | {"model": "wan2.7-i2v"}, "conflicting_input_flags"),
    (ON | FRAME | {"model": "wan3.0-video"}, "conflicting_input_flags"),
    (ON | {"first_clip": VIDEO, "model": "wan2.7-i2v"}, "conflicting_input_flags"),
    ({"prompt": "a", "continues": True}, "invalid_usage"),  # only in a film
    ({"prompt": "a", "continues": False}, "invalid_usage"),
    # The model.
    ({"prompt": "a", "model": "wan2.5-t2v-preview"}, "wan2.5-t2v-preview"),
    ({"prompt": "a", "model": "wan9"}, "invalid_model"),
    ({"prompt": "a", "model": "zzzzzzzz"}, "invalid_model"),
    ({"prompt": "a", "model": ""}, "invalid_model"),
    ({"prompt": "a", "model": "WAN2.6-T2V"}, "invalid_model"),
    ({"prompt": "a", "model": "wan2.6-i2v"}, "invalid_model"),
    (IMAGE | {"model": "wan2.6-t2v"}, "invalid_model"),
    (FRAME | {"model": "wan2.6-i2v"}, "invalid_model"),
    (REFS | {"model": "wan2.6-t2v"}, "invalid_model"),
    # The prompt (ruling 7): needed unless a picture says enough; blank text is none.
    ({}, "missing_prompt"),
    ({"prompt": ""}, "missing_prompt"),
    ({"prompt": " \n\t　"}, "missing_prompt"),
    (REFS | {"prompt": None}, "missing_prompt"),
    (IMAGE | {"prompt": ""}, "wan2.6-i2v-flash"),
    (FRAME | {"prompt": ""}, "wan2.2-kf2v-flash"),
    (IMAGE | {"prompt": "  "}, "missing_prompt"),
    (FRAME | {"prompt": "\n"}, "missing_prompt"),
    ({"prompt_file": "-"}, "wan2.6-t2v"),  # it is read later
    ({"prompt": "", "prompt_file": "-"}, "missing_prompt"),  # the argument wins (ruling 19)
    ({"prompt": "猫\n\t🐈"}, "wan2.6-t2v"),
    ({"prompt": "a\x00b"}, "invalid_prompt"),
    ({"prompt": "a\x1bb"}, "invalid_prompt"),
    ({"prompt": "a\x7fb"}, "invalid_prompt"),
    ({"prompt": "a\x9bb"}, "invalid_prompt"),
    ({"prompt": "a\ud800b"}, "invalid_prompt"),
    ({"prompt": "a", "negative": "a\udcffb"}, "invalid_prompt"),
    ({"prompt": "a" * 65536}, "wan2.6-t2v!"),
    ({"prompt": "a" * 65537}, "invalid_prompt"),
    ({"prompt": "猫" * 21845}, "wan2.6-t2v!"),
    ({"prompt": "猫" * 21846}, "invalid_prompt"),
    ({"prompt": "a", "negative": "a" * 65537}, "invalid_prompt"),
    # What the API cuts in silence (ruling 8): one character is one, whatever it is.
    ({"prompt": "猫" * 1500}, "wan2.6-t2v"),
    ({"prompt": "🐈" * 1501}, "wan2.6-t2v!"),
    ({"prompt": "a", "negative": "b" * 500}, "wan2.6-t2v"),
    ({"prompt": "a", "negative": "b" * 501}, "wan2.6-t2v!"),
    ({"prompt": "a" * 1501, "negative": "b" * 501}, "wan2.6-t2v!!"),
    # Words.
    ({"prompt": "a", "ratio": "9:16"}, "wan2.6-t2v"),
    ({"prompt": "a", "ratio": "1:1"}, "invalid_ratio"),
    ({"prompt": "a", "ratio": ""}, "invalid_ratio"),
    (IMAGE | {"ratio": "9:16"}, "wan2.6-i2v-flash"),  # ignored (ruling 4)
    (IMAGE | {"ratio": "4:3"}, "invalid_ratio"),
    ({"prompt": "a", "shot_type": "multi"}, "wan2.6-t2v"),
    ({"prompt": "a", "shot_type": "Multi"}, "invalid_shot_type"),
    ({"prompt": "a", "shot_type": ""}, "invalid_shot_type"),
    ({"prompt": "a", "seed": 0}, "wan2.6-t2v"),
    ({"prompt": "a", "seed": 2147483647}, "wan2.6-t2v"),
    ({"prompt": "a", "seed": -1}, "invalid_seed"),
    ({"prompt": "a", "seed": 2147483648}, "invalid_seed"),
    # Tiers and sizes (rulings 2, 4 and 23).
    ({"prompt": "a", "resolution": "720p"}, "invalid_resolution"),
    ({"prompt": "a", "resolution": ""}, "invalid_resolution"),
    ({"prompt": "a", "resolution": "4K"}, "invalid_resolution"),
    ({"prompt": "a", "model": "wan2.2-t2v-plus"}, "invalid_resolution"),
    ({"prompt": "a", "model": "wan2.2-t2v-plus", "resolution": "480P"}, "wan2.2-t2v-plus"),
    ({"prompt": "a", "model": "wan2.2-t2v-plus", "size": "624*624"}, "wan2.2-t2v-plus"),
    (IMAGE | {"model": "wan2.2-i2v-plus"}, "invalid_resolution"),
    ({"prompt": "a", "size": "960*960"}, "wan2.6-t2v"),
    ({"prompt": "a", "size": "960x960"}, "wan2.6-t2v"),
    ({"prompt": "a", "size": "624*624"}, "invalid_size"),
    ({"prompt": "a", "size": "720P"}, "invalid_size"),
    ({"prompt": "a", "size": ""}, "invalid_size"),
    ({"prompt": "a", "size": "960*960*1"}, "invalid_size"),
    (REFS | {"size": "832x1088"}, "wan2.6-r2v-flash"),
    (IMAGE | {"size": "960*960"}, "invalid_size"),
    (FRAME | {"size": "960*960"}, "invalid_size"),
    ({"prompt": "a", "size": "960*960", "resolution": "720P"}, "invalid_usage"),
    ({"prompt": "a", "size": "960*960", "ratio": "16:9"}, "invalid_usage"),
    # Lengths.
    ({"prompt": "a", "duration": 15}, "wan2.6-t2v"),
    ({"prompt": "a", "duration": 0}, "invalid_duration"),
    ({"prompt": "a", "duration": -5}, "invalid_duration"),
    (FRAME | {"duration": 5}, "wan2.2-kf2v-flash"),  # accepted, not sent (ruling 3)
    (FRAME | {"duration": 4}, "invalid_duration"),
    # Features (rulings 5 and 6).
    ({"prompt": "a", "audio": True}, "incompatible_audio"),
    ({"prompt": "a", "audio": False}, "wan2.6-t2v"),
    (IMAGE | {"audio": True}, "wan2.6-i2v-flash"),
    (REFS | {"audio": True}, "incompatible_audio"),
    (REFS | {"no_audio": True}, "wan2.6-r2v-flash"),
    (REFS | {"no_audio": True, "model": "wan2.6-r2v"}, "incompatible_no_audio"),
    (IMAGE | {"no_audio": True}, "incompatible_no_audio"),
    (IMAGE | {"audio": True, "no_audio": True}, "incompatible_no_audio"),
    ({"prompt": "a", "no_audio": False}, "wan2.6-t2v"),
    (REFS | {"audio_url": URL}, "incompatible_audio_url"),
    (FRAME | {"audio_url": URL}, "incompatible_audio_url"),
    (FRAME | {"shot_type": "single"}, "incompatible_shot_type"),
    ({"prompt": "a", "shot_type": "multi", "prompt_extend": False}, "incompatible_shot_type"),
    (IMAGE | {"shot_type": "multi", "prompt_extend": False}, "incompatible_shot_type"),
    ({"prompt": "a", "shot_type": "multi", "prompt_extend": True}, "wan2.6-t2v"),
    ({"prompt": "a", "shot_type": "single", "prompt_extend": False}, "wan2.6-t2v"),
    (REFS | {"shot_type": "multi"}, "wan2.6-r2v-flash"),  # the reference knows no such condition for r2v (R20)
    (REFS | {"prompt_extend": True}, "incompatible_prompt_extend"),
    (REFS | {"prompt_extend": False}, "incompatible_prompt_extend"),
    (REFS | {"prompt_extend": False, "shot_type": "multi"}, "incompatible_prompt_extend"),
    (FRAME | {"prompt_extend": False}, "wan2.2-kf2v-flash"),
    ({"prompt": "a", "watermark": True}, "wan2.6-t2v"),
    # References.
    (REFS | {"refs": (URL,) * 5}, "wan2.6-r2v-flash"),
    (REFS | {"refs": (URL,) * 6}, "too_many_refs"),
    (REFS | {"refs": (VIDEO,) * 3}, "wan2.6-r2v-flash"),
    (REFS | {"refs": (VIDEO,) * 3 + (URL,) * 2}, "wan2.6-r2v-flash"),
    (REFS | {"refs": (VIDEO,) * 4}, "too_many_ref_videos"),
    (REFS | {"refs": ("https://example.com/a.MOV?Expires=1", VIDEO, VIDEO, VIDEO)}, "too_many_ref_videos"),
    (REFS | {"refs": (VIDEO,) * 6}, "too_many_refs"),
    (REFS | {"refs": (Media("a.jpg", "video/mp4", 1),) * 4}, "too_many_ref_videos"),  # the content says what it is
    (REFS | {"refs": (Media("a.mp4", "image/png", 1),) * 4}, "wan2.6-r2v-flash"),
    (REFS | {"refs": ()}, "missing_ref"),
    # Local files; all their edges are in test_limits.py.
    ({"image": Media("a.png", "image/png", 1, 640, 480)}, "wan2.6-i2v-flash"),
    ({"image": Media("a.png", "image/png", 1, 239, 480)}, "invalid_image"),
    ({"image": Media("a.png", "image/png", 1, 240, 480)}, "wan2.6-i2v-flash!"),
    (REFS | {"refs": ("",)}, "missing_ref"),
    (REFS | {"refs": (URL, "")}, "missing_ref"),
    # What the newer families' media may be named together is in test_newer.py.
    (CLIP, "invalid_model"),  # editing has no usual model
    (CLIP | {"model": "wan2.7-videoedit"}, "wan2.7-videoedit"),
    (CLIP | {"model": "wan2.6-t2v"}, "invalid_model"),
    (CLIP | IMAGE, "conflicting_input_flags"),
    ({"first_clip": VIDEO}, "invalid_model"),
    ({"first_clip": VIDEO, "model": "wan2.7-i2v"}, "wan2.7-i2v"),
    ({"first_clip": VIDEO, "last_frame": URL, "model": "wan2.7-i2v"}, "wan2.7-i2v"),
    ({"last_frame": URL, "model": "wan2.7-i2v"}, "last_frame_requires_first"),
    (IMAGE | FRAME | {"model": "wan2.7-i2v"}, "conflicting_input_flags"),
    (REFS | FRAME, "conflicting_input_flags"),
    (REFS | FRAME | {"model": "wan2.7-r2v"}, "wan2.7-r2v"),
    (REFS | FRAME | {"model": "wan2.7-r2v", "ratio": "1:1"}, "wan2.7-r2v!"),
    (REFS | {"model": "wan2.7-r2v", "ratio": "1:1"}, "wan2.7-r2v"),
    (REFS | {"model": "wan2.7-r2v", "refs": ("https://example.com/a",)}, "wan2.7-r2v!"),
    (REFS | {"model": "wan2.7-r2v", "ref_voices": (SOUND,)}, "wan2.7-r2v"),
    (REFS | {"model": "wan2.7-r2v", "refs": (URL, URL), "ref_voices": (None, SOUND)}, "wan2.7-r2v"),
    (REFS | {"model": "wan2.7-r2v", "ref_voices": (None, SOUND)}, "invalid_usage"),
    (REFS | {"ref_voices": (SOUND,)}, "invalid_usage"),
    (CLIP | {"model": "wan2.7-videoedit", "audio_setting": "origin"}, "wan2.7-videoedit"),
    (CLIP | {"model": "wan2.7-videoedit", "audio_setting": "Auto"}, "invalid_usage"),
    ({"prompt": "a", "audio_setting": "auto"}, "invalid_usage"),
    (
        {"first_clip": Media("a.mp4", "video/mp4", 1, 640, 480, seconds=5.0), "model": "wan2.7-i2v"},
        "wan2.7-i2v!",  # nothing is left of the length to make
    ),
    (
        {"first_clip": Media("a.mp4", "video/mp4", 1, 640, 480, seconds=4.9), "model": "wan2.7-i2v"},
        "wan2.7-i2v",
    ),
    # vace: more in test_vace.py.
    (CLIP | {"vace": Vace("outpainting", left_scale=1.5)}, "wanx2.1-vace-plus"),
    (CLIP | {"vace": Vace("outpainting")}, "wanx2.1-vace-plus!"),
    (CLIP | {"vace": Vace("outpainting", left_scale=2.5)}, "invalid_usage"),
    ({"prompt": "a", "mask": URL}, "invalid_usage"),
    (
        {
            "prompt": "a",
            "video": Media("a.mp4", "video/mp4", 1, 640, 480, seconds=5.2),
            "vace": Vace("outpainting", left_scale=1.5),
        },
        "wanx2.1-vace-plus!",  # the rest is cut
    ),
]


@pytest.mark.parametrize(("given", "expected"), CASES)
def test_what_is_asked_for_is_judged(given: dict[str, Any], expected: str) -> None:
    assert verdict(Spec(**given)) == expected


@pytest.mark.parametrize(
    ("given", "strict", "expected"),
    [
        ({"prompt": "a"}, True, "wan2.6-t2v"),
        ({"prompt": "a" * 1501}, True, "prompt_too_long"),
        ({"prompt": "a", "negative": "b" * 501}, True, "prompt_too_long"),
        ({"prompt": "a" * 1501, "duration": 99}, True, "invalid_duration"),  # a warning never hides an objection
    ],
)
def test_strict_refuses_what_is_else_a_warning(given: dict[str, Any], strict: bool, expected: str) -> None:
    assert verdict(Spec(**given), strict=strict) == expected


# --- every row, and its neighbours -------------------------------------------------------------------------------


def legal(row: Model, **changes: Any) -> Spec:
    """The least that can be asked of a model, with changes."""
    tier = None if DEFAULT_RESOLUTION in row.resolutions or "size" in changes else row.resolutions[0]
    return Spec(**INPUTS[row.mode] | {"model": row.name, "resolution": tier} | changes)


ALL_RATIOS = list(dict.fromkeys(ratio for row in MODELS.values() for ratio in row.ratios))
ALL_SIZES = [size for tier in SIZES.values() for size in tier.values()]


def offers(row: Model) -> dict[str, tuple[Any, ...]]:
    """Every value on offer, by the field that asks for it."""
    images = (URL,) * (row.max_ref_images or row.max_refs)
    videos = (VIDEO,) * row.max_ref_videos
    sounds = (SOUND,) * row.max_ref_audios
    found: dict[str, tuple[Any, ...]] = {
        "duration": row.durations,
        "resolution": row.resolutions,
        "size": row.sizes,
        "ratio": row.ratios,
        "prompt": ("猫" * (row.cjk_limit or row.prompt_limit), "a" * row.prompt_limit),
        "refs": tuple(filter(None, (videos, images, sounds, (videos + images + sounds)[: row.max_refs]))),
    }
    return found


def neighbours(row: Model) -> dict[tuple[str, str], list[Any]]:
    """The values beside those on offer, by the field that asks for them and the code that they get."""
    beside = {seconds + step for seconds in row.durations or (5,) for step in (-1, 1)}
    images, videos = row.max_ref_images or row.max_refs, row.max_ref_videos
    return {
        ("duration", "invalid_duration"): sorted(beside - set(row.durations)),
        ("resolution", "invalid_resolution"): [tier for tier in SIZES if tier not in row.resolutions],
        ("size", "invalid_size"): [size for size in ALL_SIZES if size not in row.sizes],
        # Of the classic dialect a ratio is a column of the table of sizes; what it may be is in CASES.
        ("ratio", "invalid_ratio"): [
            ratio for ratio in ALL_RATIOS if ratio not in row.ratios and row.dialect != "classic"
        ],
        ("refs", "too_many_ref_videos"): [(VIDEO,) * (videos + 1)] if videos < row.max_refs else [],
        ("refs", "invalid_ref"): [(SOUND,)] if row.max_refs and not row.max_ref_audios else [],
        ("refs", "too_many_refs"): [(URL,) * (images + 1), (VIDEO,) * (row.max_refs + 1)] if row.max_refs else [],
    }


# Feature -> the field that needs it, a value that shows it, and the code where the model has not got it.
FEATURES = {
    "audio": ("audio", True, "incompatible_audio"),
    "no_audio": ("no_audio", True, "incompatible_no_audio"),
    "audio_url": ("audio_url", URL, "incompatible_audio_url"),
    "shot_type": ("shot_type", "multi", "incompatible_shot_type"),
    "prompt_extend": ("prompt_extend", True, "incompatible_prompt_extend"),
    "negative": ("negative", "b", "invalid_usage"),
    "audio_setting": ("audio_setting", "origin", "invalid_usage"),
}


def name_of(row: object) -> str | None:
    return row.name if isinstance(row, Model) else None


@pytest.mark.parametrize("row", REACHABLE, ids=name_of)
def test_what_a_model_offers_is_accepted(row: Model) -> None:
    for field, values in offers(row).items():
        for value in values:
            assert verdict(legal(row, **{field: value})) == row.name, (field, value)


@pytest.mark.parametrize("row", REACHABLE, ids=name_of)
def test_what_lies_beside_an_offer_is_refused(row: Model) -> None:
    for (field, code), values in neighbours(row).items():
        for value in values:
            assert verdict(legal(row, **{field: value})) == code, (field, value)


@pytest.mark.parametrize("row", REACHABLE, ids=name_of)
def test_a_feature_is_accepted_where_the_row_has_it_alone(row: Model) -> None:
    verdicts = {feature: verdict(legal(row, **{field: value})) for feature, (field, value, _) in FEATURES.items()}
    codes = {feature: code for feature, (_, _, code) in FEATURES.items()}
    assert verdicts == codes | dict.fromkeys(row.features & FEATURES.keys(), row.name)


@pytest.mark.parametrize("row", REACHABLE, ids=name_of)
def test_one_character_beyond_what_a_model_reads_is_warned_of(row: Model) -> None:
    assert verdict(legal(row, prompt="猫" * ((row.cjk_limit or row.prompt_limit) + 1))) == f"{row.name}!"
    assert verdict(legal(row, prompt="a" * (row.prompt_limit + 1))) == f"{row.name}!"


@pytest.mark.parametrize("row", [row for row in MODELS.values() if row.mode == "vace"], ids=name_of)
@pytest.mark.parametrize("mode", INPUTS)
def test_vace_is_out_of_the_reach_of_other_inputs(row: Model, mode: str) -> None:
    assert verdict(Spec(**INPUTS[mode] | {"model": row.name})) == "invalid_model"


# --- what is said ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"prompt": "a", "duration": 16}, "--duration 16: wan2.6-t2v offers 2 to 15 seconds"),
        ({"prompt": "a", "duration": 7, "model": "wan2.5-t2v-preview"}, "wan2.5-t2v-preview offers 5, 10 seconds"),
        (FRAME | {"duration": 6}, "wan2.2-kf2v-flash offers 5 seconds"),
        ({"prompt": "a", "model": "wan2.6-tv2"}, "did you mean wan2.6-t2v"),
        ({"prompt": "a", "model": "zzzzzzzz"}, "the models are wan2.6-t2v, "),
        (IMAGE | {"model": "wan2.6-t2v"}, "is for t2v; these inputs mean i2v: wan2.6-i2v-flash, "),
        ({"prompt": "a", "model": "wan2.2-t2v-plus"}, "default, 720P: choose --resolution from 480P, 1080P"),
        ({"prompt": "a", "audio": True}, "--audio is not for wan2.6-t2v, only for wan2.6-i2v-flash"),
        ({"prompt": "a", "seed": -1}, "--seed -1 is not between 0 and 2147483647"),
        (IMAGE | REFS | FRAME, "--image and --ref and --first-frame cannot be used together"),
        ({"prompt": "a\x00"}, "the prompt has the control character U+0000 at character 2"),
        (IMAGE | {"size": "1*1"}, "--size 1*1: wan2.6-i2v-flash follows its image"),
    ],
)
def test_an_objection_names_the_flag_the_value_and_what_is_allowed(given: dict[str, Any], said: str) -> None:
    with pytest.raises(RawgenaiError) as caught:
        rules.select(Spec(**given))
    assert said in caught.value.message
    assert caught.value.status == 2


def test_a_warning_has_the_numbers() -> None:
    _, warnings = rules.select(Spec("a" * 1600, negative="b" * 600))
    assert warnings == [
        "the prompt has 1600 characters; wan2.6-t2v reads the first 1500",
        "--negative has 600 characters; the API reads the first 500",
    ]


# Everything wrong at once, and what is objected to first; mending one thing after the other walks down the line.
ORDER: list[tuple[str, dict[str, Any]]] = [
    ("conflicting_input_flags", {"first_frame": None}),
    ("missing_ref", {"refs": (VIDEO,) * 6}),
    ("invalid_usage", {"size": None}),
    ("invalid_shot_type", {"shot_type": "multi"}),
    ("invalid_seed", {"seed": 1}),
    ("invalid_prompt", {"prompt": " "}),
    ("invalid_model", {"model": "wan2.6-r2v"}),
    ("missing_prompt", {"prompt": "a" * 1501}),
    ("invalid_ratio", {"ratio": "16:9"}),
    ("invalid_resolution", {"resolution": "720P"}),
    ("invalid_duration", {"duration": 2}),
    ("incompatible_audio", {"audio": None}),
    ("incompatible_no_audio", {"no_audio": None}),
    ("incompatible_audio_url", {"audio_url": None}),
    ("incompatible_prompt_extend", {"prompt_extend": None}),
    ("too_many_refs", {"refs": (VIDEO,) * 4}),
    ("too_many_ref_videos", {"refs": (VIDEO,)}),
    ("wan2.6-r2v!", {}),
]


def test_the_order_of_objections_is_flags_then_model_then_rules_then_warnings() -> None:
    spec = Spec(
        "\x00",
        refs=("",),
        first_frame=URL,
        model="wan",
        resolution="4K",
        ratio="1:1",
        size="1*1",
        duration=1,
        audio=True,
        no_audio=True,
        audio_url=URL,
        shot_type="none",
        prompt_extend=False,
        seed=-1,
    )
    for expected, mended in ORDER:
        assert verdict(spec) == expected
        spec = replace(spec, **mended)


# --- take any check away -----------------------------------------------------------------------------------------


def changed() -> list[dict[str, Any]]:
    """The cases whose verdict is not what it should be."""
    return [given for given, expected in CASES if verdict(Spec(**given)) != expected]


TUPLES = ("FLAG_CHECKS", "CHECKS", "WARNINGS")
ALL_CHECKS = [(name, check) for name in TUPLES for check in getattr(rules, name)]


@pytest.mark.parametrize(("name", "check"), ALL_CHECKS, ids=[check.__name__ for _, check in ALL_CHECKS])
def test_without_a_check_some_verdict_changes(
    monkeypatch: pytest.MonkeyPatch, name: str, check: Callable[..., Any]
) -> None:
    assert changed() == []
    monkeypatch.setattr(rules, name, tuple(other for other in getattr(rules, name) if other is not check))
    assert changed() != []


def test_every_check_is_on_the_line() -> None:
    defined = {name for name in vars(rules) if name.startswith(("check_", "warn_"))}
    assert {check.__name__ for _, check in ALL_CHECKS} == defined


def _blind(function: Callable[..., Any], code: str, instead: Callable[..., Any]) -> Callable[..., Any]:
    def blind(*args: Any) -> Any:
        try:
            return function(*args)
        except RawgenaiError as error:
            if error.code != code:
                raise
            return instead(*args)

    return blind


@pytest.mark.parametrize(
    ("name", "code", "instead"),
    [
        ("select_mode", "conflicting_input_flags", lambda *_: "i2v"),
        ("select_mode", "last_frame_requires_first", lambda *_: "t2v"),
        ("select_model", "invalid_model", lambda _, mode, __: MODELS[DEFAULT_MODELS.get(mode, "wan2.6-t2v")]),
    ],
)
def test_without_an_objection_of_selection_some_verdict_changes(
    monkeypatch: pytest.MonkeyPatch, name: str, code: str, instead: Callable[..., Any]
) -> None:
    monkeypatch.setattr(rules, name, _blind(getattr(rules, name), code, instead))
    assert changed() != []


def test_every_objection_is_a_code_of_the_table() -> None:
    refused = {expected for _, expected in CASES if expected.rstrip("!") not in MODELS}
    assert refused <= set(CODES)
