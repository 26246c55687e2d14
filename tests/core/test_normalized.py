"""The normalised request of the skill documents: what is read, what is refused, what Spec it means."""

import base64
import json
import math
import re
from dataclasses import fields
from itertools import chain
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import corpus
from rawgenai.dashscope import loading, rules, wire
from rawgenai.dashscope.models import DEFAULT_DURATION, DEFAULT_MODELS, MODELS, SIZES
from rawgenai.dashscope.normalized import MAX_REQUEST, Normalized, read, response, spec_of
from rawgenai.dashscope.spec import Spec
from rawgenai.errors import CODES, RawgenaiError

URL = "https://example.com/a.png"
FULL: dict[str, Any] = {
    "prompt": "让画面中的人物微笑",
    "negative_prompt": "模糊",
    "duration": 5,
    "fps": 24,
    "size": "1280*720",
    "seed": 0,
    "reference_image": URL,
    "motion_strength": 0.7,
    "model": "wan2.6-i2v-flash",
}


def refusal(text: str | bytes) -> RawgenaiError:
    with pytest.raises(RawgenaiError) as caught:
        read(text)
    return caught.value


def verdict(text: str | bytes) -> Normalized | str:
    """The request; or the code of the refusal."""
    try:
        return read(text)
    except RawgenaiError as error:
        return error.code


def spec(**request: Any) -> Spec:
    return spec_of(Normalized(**request))[0]


def parameters(spec: Spec) -> dict[str, Any]:
    body: Any = wire.create_request(spec, rules.select(spec)[0]).body
    found: dict[str, Any] = body["parameters"]
    return found


# --- reading ------------------------------------------------------------------------------------------------------


def test_every_field_of_the_skill_documents_is_read() -> None:
    assert read(json.dumps(FULL)) == Normalized(**FULL)
    assert {field.name for field in fields(Normalized)} == set(FULL)


@pytest.mark.parametrize("text", ["{}", b"{}", "\ufeff{}", b"\xef\xbb\xbf {}\r\n", json.dumps(dict.fromkeys(FULL))])
def test_what_is_left_out_or_null_is_not_given(text: str | bytes) -> None:
    assert read(text) == Normalized()


def test_chinese_is_read_raw_and_escaped() -> None:
    assert read('{"prompt": "海浪"}'.encode()) == read('{"prompt": "\\u6d77\\u6d6a"}') == Normalized(prompt="海浪")


@pytest.mark.parametrize("value", [5, 5.0, 4.5, 0, -1, 1e300])
@pytest.mark.parametrize("name", ["duration", "fps", "motion_strength"])
def test_a_number_is_a_number_whichever(name: str, value: float) -> None:
    assert getattr(read(json.dumps({name: value})), name) == value


NO_TEXTS: list[Any] = [5, True, [], {}, ["a"]]
NO_NUMBERS: list[Any] = ["5", True, False, [5], {}, 10**400]
TEXTS = ("prompt", "negative_prompt", "size", "reference_image", "model")
NUMBERS = ("duration", "fps", "motion_strength")
WRONG: list[tuple[str, Any]] = [
    *((name, value) for name in TEXTS for value in NO_TEXTS),
    *((name, value) for name in NUMBERS for value in NO_NUMBERS),
    *(("seed", value) for value in ("5", 5.0, 0.5, True, [5])),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=lambda value: str(value)[:16])
def test_a_wrong_type_is_refused_by_the_fields_code_and_name(name: str, value: Any) -> None:
    error = refusal(json.dumps({name: value}))
    own = {"duration": "invalid_duration", "size": "invalid_size", "seed": "invalid_seed"}
    assert error.code == own.get(name, "invalid_usage")
    assert CODES[error.code].status == 2
    assert repr(name) in error.message
    assert len(error.message) < 200


@pytest.mark.parametrize("name", ["resolution", "img_url", "Prompt", "prompt ", "", "audio", "__class__", "x" * 9999])
def test_an_unknown_field_is_refused_by_its_name(name: str) -> None:
    error = refusal(json.dumps({"prompt": "a", name: None}))
    assert error.code == "invalid_usage"
    assert repr(name[:80]) in error.message
    assert len(error.message) < 300


BAD: dict[str, tuple[str | bytes, str]] = {
    "nothing": ("", "is not JSON"),
    "text": ("A kitten", "is not JSON"),
    "cut off": ('{"prompt": "a', "is not JSON"),
    "two objects": ("{}{}", "is not JSON"),
    "a trailing comma": ('{"prompt": "a",}', "is not JSON"),
    "a list": ("[]", "is not a JSON object"),
    "a string": ('"a"', "is not a JSON object"),
    "null": ("null", "is not a JSON object"),
    "NaN": ('{"duration": NaN}', "NaN is not JSON"),
    "infinity": ('{"duration": -Infinity}', "-Infinity is not JSON"),
    "an infinite number": ('{"fps": 1e999}', "a number is too large"),
    "digits without end": ('{"seed": %s}' % ("9" * 5000), "is not JSON"),
    "a field twice": ('{"seed": 1, "seed": 2}', "a key stands twice"),
    "a field twice, escaped": ('{"seed": 1, "see\\u0064": 2}', "a key stands twice"),
    "deep nesting": ('{"prompt": ' + "[" * 100_000, "nested too deeply"),
    "deep nesting of objects": ('{"a":' * 100_000, "nested too deeply"),
    "GBK": ("海浪".encode("gbk"), "is not UTF-8 text"),
    "UTF-16": ("{}".encode("utf-16"), "is not UTF-8 text"),
    "undecoded bytes from stdin": ('{"prompt": "\udcff"}', "is not UTF-8 text"),
    "half a character as a name": ('{"\\ud800": 1}', "has the unknown field"),
    "too long": (b'{"prompt": "%s"}' % (b"a" * MAX_REQUEST), "is longer than 1024 KiB"),
    "too long in bytes alone": ('{"prompt": "%s"}' % ("猫" * (MAX_REQUEST // 3)), "is longer than 1024 KiB"),
    "spaces without end": (b" " * (MAX_REQUEST + 1), "is longer than 1024 KiB"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_request_is_refused_in_a_sentence(name: str) -> None:
    text, what = BAD[name]
    error = refusal(text)
    assert error.code == "invalid_usage"
    assert error.message.startswith("the request ")
    assert what in error.message
    assert len(error.message) < 300


def test_a_request_of_just_a_megabyte_is_read() -> None:
    text = '{"prompt": "%s"}' % ("a" * (MAX_REQUEST - len('{"prompt": ""}')))
    assert len(read(text).prompt or "") > 1_000_000


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text("a猫\0\ud800", max_size=4)


@given(st.dictionaries(st.sampled_from([*FULL, "other"]), VALUES | st.lists(VALUES, max_size=2)))
def test_whatever_the_object_it_is_read_or_refused(document: dict[str, Any]) -> None:
    assert verdict(json.dumps(document)) in [
        Normalized(**document) if document.keys() <= FULL.keys() else None,
        *("invalid_usage", "invalid_duration", "invalid_size", "invalid_seed"),
    ]


@given(st.text('{}[]":,1e9\\u "猫\ud800', max_size=40) | st.binary(max_size=40))
def test_whatever_the_text_it_is_read_or_refused(text: str | bytes) -> None:
    assert verdict(text) in (Normalized(), "invalid_usage")


# --- the Spec -----------------------------------------------------------------------------------------------------


def test_every_field_that_the_api_knows_reaches_the_spec() -> None:
    assert spec_of(Normalized(**FULL))[0] == Spec(
        "让画面中的人物微笑",
        image=URL,
        model="wan2.6-i2v-flash",
        resolution="720P",
        duration=5,
        negative="模糊",
        seed=0,
    )


def test_nothing_given_is_nothing_in_the_spec() -> None:
    assert spec_of(Normalized()) == (Spec(), [])


@pytest.mark.parametrize(
    ("request_", "mode"),
    [({"prompt": "a"}, "t2v"), ({"reference_image": URL}, "i2v"), ({"prompt": "a", "reference_image": "a.png"}, "i2v")],
)
def test_the_mode_follows_from_the_reference_image_and_the_model_from_the_mode(
    request_: dict[str, Any], mode: str
) -> None:
    model, warnings = rules.select(spec(**request_))
    assert (model.name, warnings) == (DEFAULT_MODELS[mode], [])
    assert parameters(spec(**request_))["duration"] == DEFAULT_DURATION == 5


@pytest.mark.parametrize(("request_", "code"), [
    ({"model": "wan9"}, "invalid_model"),
    ({"model": "wan2.2-t2v-flash"}, "invalid_model"),  # the skill's list names it, and no page of the API
    ({"model": "wan2.6-t2v", "reference_image": URL}, "invalid_model"),
    ({"model": "wan2.6-i2v-flash", "prompt": "a"}, "invalid_model"),
    ({}, "missing_prompt"),
    ({"prompt": " "}, "missing_prompt"),
    ({"prompt": "a", "seed": -1}, "invalid_seed"),
    ({"prompt": "a", "duration": 16}, "invalid_duration"),
    ({"prompt": "a", "duration": -5.0}, "invalid_duration"),
    ({"prompt": "a", "size": "1x1"}, "invalid_size"),
    ({"prompt": "a\0"}, "invalid_prompt"),
    ({"prompt": "\ud800"}, "invalid_prompt"),
    ({"prompt": "a", "model": "wan2.2-t2v-plus"}, "invalid_resolution"),  # nothing that costs is chosen silently
])  # fmt: skip
def test_what_the_rules_refuse_is_refused_here_too(request_: dict[str, Any], code: str) -> None:
    with pytest.raises(RawgenaiError) as caught:
        rules.select(spec(**request_))
    assert caught.value.code == code


@pytest.mark.parametrize(("given", "meant"), [(5, 5), (5.0, 5), (1e1, 10), (0, 0), (-0.0, 0), (None, None)])
def test_whole_seconds_are_an_integer(given: float | None, meant: int | None) -> None:
    duration = spec(prompt="a", duration=given).duration
    assert (duration, type(duration)) == (meant, type(meant))


@pytest.mark.parametrize("value", [4.5, 5.0000001, 1e300, 10**400, math.nan, math.inf, -math.inf])
def test_part_of_a_second_and_what_is_none_is_refused(value: float) -> None:
    with pytest.raises(RawgenaiError, match="invalid_duration") as caught:
        spec(prompt="a", duration=value)
    assert "'duration'" in caught.value.message


# --- sizes --------------------------------------------------------------------------------------------------------

TIERED = [row for row in MODELS.values() if not row.sizes and row.dialect == "classic"]
RATIOED = [row for row in MODELS.values() if row.dialect == "media" and row.ratios]
SIZED = [row for row in MODELS.values() if row.sizes]


def test_no_size_belongs_to_two_tiers() -> None:
    sizes = list(chain.from_iterable(tier.values() for tier in SIZES.values()))
    assert len(sizes) == len(set(sizes))


def test_both_kinds_of_models_are_there() -> None:
    assert {row.mode for row in TIERED} == {"i2v", "kf2v"}
    assert {row.mode for row in SIZED} == {"t2v", "r2v", "vace"}


@pytest.mark.parametrize("spelling", ["{}*{}", "{}x{}"])
@pytest.mark.parametrize("row", TIERED, ids=lambda row: row.name)
def test_a_model_that_takes_tiers_gets_the_tier_of_a_size_that_it_offers(row: Any, spelling: str) -> None:
    for tier, sizes in SIZES.items():
        for size in sizes.values():
            request = Normalized(reference_image=URL, size=spelling.format(*size.split("*")))
            if tier in row.resolutions:
                found, _ = spec_of(request, lambda _spec, _mode: row)
                assert (found.resolution, found.size) == (tier, None)
            else:
                with pytest.raises(RawgenaiError) as caught:
                    spec_of(request, lambda _spec, _mode: row)
                assert caught.value.code == "invalid_size"


@pytest.mark.parametrize("row", RATIOED, ids=lambda row: row.name)
def test_a_model_that_takes_ratios_gets_the_tier_and_the_ratio_of_a_size(row: Any) -> None:
    for size, tier, ratio in [("1280x720", "720P", "16:9"), ("1080*1920", "1080P", "9:16")]:
        found, _ = spec_of(Normalized(prompt="a", size=size), lambda _spec, _mode: row)
        assert (found.resolution, found.ratio, found.size) == (tier, ratio, None)


def test_a_size_of_wan27_is_its_own() -> None:
    row = MODELS["wan2.7-t2v"]
    found, _ = spec_of(Normalized(prompt="a", size="1104*832"), lambda _spec, _mode: row)
    assert (found.resolution, found.ratio) == ("720P", "4:3")
    with pytest.raises(RawgenaiError):  # what the older models make of it
        spec_of(Normalized(prompt="a", size="1088*832"), lambda _spec, _mode: row)


@pytest.mark.parametrize("row", SIZED, ids=lambda row: row.name)
def test_a_model_that_takes_sizes_gets_the_size(row: Any) -> None:
    found, _ = spec_of(Normalized(prompt="a", size="960x960"), lambda _spec, _mode: row)
    assert (found.resolution, found.size) == (None, "960x960")


def test_a_size_reaches_the_request_as_the_api_takes_it() -> None:
    for request, parameter in [
        ({"prompt": "a", "size": "960x960"}, {"size": "960*960"}),
        ({"reference_image": URL, "size": "1080x1920"}, {"resolution": "1080P"}),
    ]:
        found = spec(**request)
        assert parameter.items() <= parameters(found).items()


NO_SIZES = ["", "720P", "1280*721", "1280 * 720", "1280*720*1", "*", "832*480", "９*９", "9" * 999]


@pytest.mark.parametrize("size", NO_SIZES)
def test_a_size_of_no_tier_is_refused_with_those_that_there_are(size: str) -> None:
    with pytest.raises(RawgenaiError) as caught:
        spec(reference_image=URL, size=size)
    assert caught.value.code == "invalid_size"
    for tier in ("720P", "1080P"):
        assert ", ".join(SIZES[tier].values()) + f" ({tier})" in caught.value.message
    assert "832*480, " not in caught.value.message  # of a tier that this model does not have
    assert len(caught.value.message) < 300


# --- what is not sent ---------------------------------------------------------------------------------------------


def test_fps_and_motion_strength_are_warned_of_and_never_sent() -> None:
    found, warnings = spec_of(Normalized(**FULL))
    body = json.dumps(wire.create_request(found, rules.select(found)[0]).body)
    assert "fps" not in body
    assert "motion" not in body
    fps, motion = warnings
    assert re.search("^fps is not sent.* not done unasked: ffmpeg -i clip.mp4 -r 24 out.mp4 .*PyAV", fps)
    assert motion.startswith("motion_strength is not sent")


RATES: list[tuple[float, str]] = [
    *((24, "24"), (24.0, "24"), (29.97, "29.97"), (23.976, "23.976")),
    *((value, "24") for value in (0, -1, 1e300, 10**400, math.nan)),
]


@pytest.mark.parametrize(("fps", "rate"), RATES)
def test_the_command_that_would_serve_fps_names_it_where_it_can(fps: float, rate: str) -> None:
    (warning,) = spec_of(Normalized(prompt="a", fps=fps))[1]
    assert f" -r {rate} " in warning


@pytest.mark.parametrize("name", ["fps", "motion_strength"])
def test_what_is_not_asked_for_is_not_warned_of_and_zero_is_asked_for(name: str) -> None:
    assert spec_of(Normalized(prompt="a"))[1] == []
    (warning,) = spec_of(read(json.dumps({"prompt": "a", name: 0})))[1]
    assert warning.startswith(f"{name} is not sent")


# --- bytes from Python ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("format_", "mime"), [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp")])
def test_the_bytes_of_a_picture_travel_as_a_data_uri(format_: str, mime: str) -> None:
    data = corpus.picture(format_, 400, 400)
    found = spec(reference_image=data)
    assert found.image == f"data:{mime};base64,{base64.b64encode(data).decode()}"
    loaded, model, _ = loading.prepare(found)
    assert model.mode == "i2v"
    assert not isinstance(loaded.image, str | None)
    assert (loaded.image.mime, loaded.image.size, loaded.image.width) == (mime, len(data), 400)


@pytest.mark.parametrize("data", [b"", b"hello", b"GIF89a"])
def test_bytes_that_are_no_picture_are_refused_when_they_are_looked_at(data: bytes) -> None:
    with pytest.raises(RawgenaiError) as caught:
        loading.prepare(spec(reference_image=data))
    assert caught.value.code == "invalid_image"


# --- the response ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [None, 0, 2147483647])
def test_the_response_has_what_was_measured_and_the_seed_as_asked(seed: int | None) -> None:
    said = response(Normalized(seed=seed, duration=5, fps=24), video_url=URL, duration=5.03, fps=30.0)
    assert said == {"video_url": URL, "duration": 5.03, "fps": 30.0, "seed": seed}


def test_what_nobody_could_measure_is_null() -> None:
    said = response(Normalized(fps=24), video_url=None, duration=None, fps=None)
    assert said == {"video_url": None, "duration": None, "fps": None, "seed": None}
