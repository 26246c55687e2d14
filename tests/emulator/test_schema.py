"""Which bodies the emulator accepts."""

import base64
from typing import Any

import pytest

from rawgenai.dashscope.models import MODELS
from rawgenai.emulator.schema import parse_body

PNG = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
LINK = "https://example.org/a.png"
INPUTS: dict[str, dict[str, Any]] = {
    "t2v": {"prompt": "A kitten"},
    "i2v": {"img_url": LINK},
    "r2v": {"prompt": "character1 waves", "reference_urls": [LINK]},
    "kf2v": {"first_frame_url": LINK},
    "vace": {"prompt": "A kitten", "function": "image_reference", "ref_images_url": [LINK]},
}


MEDIA: dict[str, dict[str, Any]] = {  # of the media dialect
    "t2v": {"prompt": "A kitten"},
    "i2v": {"media": [{"type": "first_frame", "url": LINK}]},
    "r2v": {"prompt": "Image 1 waves", "media": [{"type": "reference_image", "url": LINK}]},
    "edit": {"prompt": "Make it clay", "media": [{"type": "video", "url": "https://example.org/a.mp4"}]},
}


def _complaint(model: str, change: dict[str, Any], parameters: Any = None) -> str | None:
    row = MODELS[model]
    least = (MEDIA if row.dialect == "media" else INPUTS)[row.mode]
    inputs = {name: value for name, value in (least | change).items() if value != "absent"}
    document = {"model": model, "input": inputs, "parameters": parameters or {}}
    try:
        parse_body(document, row)
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.parametrize("model", MODELS)
def test_the_least_body_of_every_model_is_accepted(model: str) -> None:
    assert _complaint(model, {}) is None


@pytest.mark.parametrize("model", MODELS)
def test_every_choice_of_the_row_is_accepted_and_its_neighbours_are_not(model: str) -> None:
    row = MODELS[model]
    offered: dict[str, tuple[Any, ...]] = {
        "size": row.sizes,
        "duration": row.durations,
        "resolution": row.resolutions,
        "ratio": row.ratios if row.dialect == "media" else (),
    }
    del offered["resolution" if row.sizes else "size"]
    if row.mode == "kf2v":
        del offered["duration"]
    strange: dict[str, list[Any]] = {
        "size": ["1280x720", "1*1"],
        "resolution": ["4K", "720p"],
        "duration": [-2, -1, 0, 99, *range(1, 16)],
        "ratio": ["16:10", "", "adaptive", "21:9"],
    }
    for name, values in offered.items():
        for value in values:
            assert _complaint(model, {}, {name: value}) is None
        for value in set(strange[name]) - set(values):
            assert _complaint(model, {}, {name: value}), (name, value)


T2V, I2V, FLASH, R2V, KF2V = "wan2.6-t2v", "wan2.6-i2v", "wan2.6-i2v-flash", "wan2.6-r2v", "wan2.2-kf2v-flash"
OLD = "wan2.2-t2v-plus"


@pytest.mark.parametrize(
    ("model", "change", "parameters"),
    [
        (T2V, {"audio_url": "https://example.org/a.mp3", "negative_prompt": ""}, {"shot_type": "multi", "seed": 0}),
        (T2V, {"extend_prompt": True, "function": "video-synthesis"}, {"seed": 2147483647, "watermark": True}),
        (T2V, {"audio_url": "oss://dashscope-instant/a b.mp3"}, {}),
        (FLASH, {"prompt": None, "img_url": PNG}, {"audio": False, "resolution": "720P"}),
        (I2V, {"prompt": "", "img_url": "oss://x/y.png"}, {"prompt_extend": False}),
        ("wan2.6-r2v-flash", {}, {"audio": True}),
        (R2V, {"reference_urls": ["https://e.org/a.mp4", "https://e.org/B.MOV?x=1", "https://e.org/c.mp4", LINK]}, {}),
        (KF2V, {"first_frame_url": PNG, "last_frame_url": LINK}, {"resolution": "480P"}),
        ("wanx2.1-vace-plus", {"extend_prompt": True}, {"obj_or_bg": ["bg"], "duration": 5, "seed": 0}),
    ],
)
def test_what_a_model_knows_is_accepted(model: str, change: dict[str, Any], parameters: dict[str, Any]) -> None:
    assert _complaint(model, change, parameters) is None


@pytest.mark.parametrize(
    ("model", "change", "parameters", "complaint"),
    [
        (T2V, {"prompt": "absent"}, {}, "Field required: input.prompt"),
        (T2V, {"prompt": " \n"}, {}, "Field required: input.prompt"),
        (R2V, {"prompt": None}, {}, "Field required: input.prompt"),
        (I2V, {"img_url": "absent"}, {}, "Field required: input.img_url"),
        (KF2V, {"first_frame_url": "absent"}, {}, "Field required: input.first_frame_url"),
        (R2V, {"reference_urls": "absent"}, {}, "Field required: input.reference_urls"),
        (R2V, {"reference_urls": []}, {}, "input.reference_urls: "),
        (R2V, {"reference_urls": [LINK] * 6}, {}, "reference_urls must hold 1 to 5"),
        (R2V, {"reference_urls": ["https://e.org/a.mp4"] * 4}, {}, "reference_urls must hold at most 3 videos"),
        (R2V, {"reference_urls": [PNG]}, {}, "input.reference_urls.0: "),
        (R2V, {}, {"prompt_extend": True}, "Unknown field: parameters.prompt_extend"),
        (R2V, {}, {"audio": False}, "Unknown field: parameters.audio"),
        (R2V, {"audio_url": LINK}, {}, "Unknown field: input.audio_url"),
        (T2V, {"img_url": LINK}, {}, "Unknown field: input.img_url"),
        (T2V, {}, {"resolution": "720P"}, "Unknown field: parameters.resolution"),
        (T2V, {}, {"audio": True}, "Unknown field: parameters.audio"),
        (T2V, {}, {"fps": 30}, "Unknown field: parameters.fps"),
        (I2V, {}, {"size": "1280*720"}, "Unknown field: parameters.size"),
        (I2V, {}, {"audio": True}, "Unknown field: parameters.audio"),
        (KF2V, {}, {"duration": 5}, "Unknown field: parameters.duration"),
        (OLD, {"audio_url": LINK}, {}, "Unknown field: input.audio_url"),
        (OLD, {}, {"shot_type": "multi"}, "Unknown field: parameters.shot_type"),
        ("wan2.5-t2v-preview", {}, {"shot_type": "single"}, "Unknown field: parameters.shot_type"),
        ("wanx2.1-vace-plus", {"negative_prompt": "dogs"}, {}, "Unknown field: input.negative_prompt"),
        (T2V, {}, {"shot_type": "double"}, "parameters.shot_type: "),
        (T2V, {}, {"duration": "5"}, "parameters.duration: "),
        (T2V, {}, {"duration": 5.0}, "parameters.duration: "),
        (T2V, {}, {"duration": True}, "parameters.duration: "),
        (T2V, {}, {"seed": -1}, "parameters.seed: "),
        (T2V, {}, {"seed": 2147483648}, "parameters.seed: "),
        (T2V, {}, {"seed": "1"}, "parameters.seed: "),
        (T2V, {}, {"prompt_extend": 1}, "parameters.prompt_extend: "),
        (T2V, {}, {"watermark": "true"}, "parameters.watermark: "),
        (T2V, {"prompt": 5}, {}, "input.prompt: "),
        (T2V, {"audio_url": "data:audio/mp3;base64,AAAA"}, {}, "input.audio_url: "),
        (T2V, {"audio_url": "song.mp3"}, {}, "input.audio_url: "),
        (I2V, {"img_url": "/home/me/cat.png"}, {}, "input.img_url: "),
        (I2V, {"img_url": "file:///cat.png"}, {}, "input.img_url: "),
        (I2V, {"img_url": "https:///cat.png"}, {}, "input.img_url: "),
        (I2V, {"img_url": "https://[/cat.png"}, {}, "input.img_url: "),
        (I2V, {"img_url": "https://e.org/a cat.png"}, {}, "input.img_url: "),
        (I2V, {"img_url": "oss://x/a\n.png"}, {}, "input.img_url: "),
        (I2V, {"img_url": PNG + "="}, {}, "input.img_url: "),
        (I2V, {"img_url": PNG[:-1]}, {}, "input.img_url: "),
        (I2V, {"img_url": PNG[:30] + "\n" + PNG[30:]}, {}, "input.img_url: "),
        (I2V, {"img_url": "data:image/png;base64,"}, {}, "input.img_url: "),
        (I2V, {"img_url": "data:image/gif;base64,AAAA"}, {}, "input.img_url: "),
        (I2V, {"img_url": "data:image/png,AAAA"}, {}, "input.img_url: "),
        (I2V, {"img_url": "data:image/png;base64," + "A" * 10 * 1024 * 1024}, {}, "input.img_url: Exceeded limit"),
    ],
)
def test_what_a_model_does_not_know_is_refused_by_name(
    model: str, change: dict[str, Any], parameters: dict[str, Any], complaint: str
) -> None:
    assert (_complaint(model, change, parameters) or "").startswith(complaint)


def test_a_field_beside_input_and_parameters_is_refused() -> None:
    with pytest.raises(ValueError, match="Unknown field: watermark"):
        parse_body({"model": T2V, "input": {"prompt": "x"}, "watermark": True}, MODELS[T2V])
