"""The emulator's vace: which bodies it takes, what it looks at, what it books, and what its clips show."""

import io
from functools import partial
from pathlib import Path
from typing import Any

import av
import pytest
from asking import NOW, RED, RESOLVE, ask, book, create, film, inline, local, look, put, quartered, said, saved
from PIL import Image, ImageStat

from rawgenai.dashscope.models import MODELS
from rawgenai.emulator.schema import parse_body
from rawgenai.emulator.store import Store

MODEL = "wanx2.1-vace-plus"
IMAGE, VIDEO = "https://example.org/a.png", "https://example.org/a.mp4"
SAME_LENGTH = "ref_images_url and obj_or_bg must be the same length."  # reference 4.1

LEAST: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "image_reference": ({"ref_images_url": [IMAGE]}, {}),
    "video_repainting": ({"video_url": VIDEO}, {"control_condition": "depth"}),
    "video_edit": ({"video_url": VIDEO, "mask_image_url": IMAGE}, {}),
    "video_extension": ({"first_clip_url": VIDEO}, {}),
    "video_outpainting": ({"video_url": VIDEO}, {}),
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "emulator")


def document(function: str, inputs: dict[str, Any] | None = None, **parameters: Any) -> dict[str, Any]:
    """The least of a function with changes; None takes a field away."""
    least, needed = LEAST.get(function, ({}, {}))
    given = {"function": function, "prompt": "p"} | least | (inputs or {})
    told = needed | parameters
    return {
        "model": MODEL,
        "input": {name: value for name, value in given.items() if value is not None},
        "parameters": {name: value for name, value in told.items() if value is not None},
    }


def complaint(asked: dict[str, Any]) -> str:
    try:
        parse_body(asked, MODELS[MODEL])
    except ValueError as error:
        return str(error)
    return ""


TAKEN: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    *((function, {}, {"prompt_extend": False, "watermark": True, "seed": 0}) for function in LEAST),
    *((function, {"extend_prompt": True}, {}) for function in LEAST),  # what the SDK says besides
    ("image_reference", {"ref_images_url": [IMAGE] * 2}, {"obj_or_bg": ["obj", "bg"]}),
    ("image_reference", {}, {"size": "720*1280", "duration": 5}),
    ("image_reference", {"ref_images_url": [IMAGE] * 4}, {"obj_or_bg": ["obj"] * 4}),  # the fourth is dropped
    ("video_repainting", {"ref_images_url": [IMAGE]}, {"control_condition": "scribble", "strength": 0.5}),
    ("video_repainting", {}, {"strength": 1}),
    ("video_edit", {"ref_images_url": [IMAGE], "mask_frame_id": 1}, {"control_condition": "", "mask_type": "tracking"}),
    ("video_edit", {}, {"expand_ratio": 0.05, "expand_mode": "original", "size": "960*960"}),
    ("video_edit", {"mask_image_url": None, "mask_video_url": VIDEO}, {"control_condition": "posebodyface"}),
    ("video_extension", {"last_frame_url": IMAGE, "video_url": VIDEO}, {"control_condition": "depth", "duration": 5}),
    *(("video_extension", {"first_clip_url": None, name: VIDEO}, {})
      for name in ("first_frame_url", "last_frame_url", "last_clip_url")),
    ("video_outpainting", {}, {"top_scale": 1, "bottom_scale": 1.5, "left_scale": 2.0, "right_scale": 1.0}),
]  # fmt: skip


@pytest.mark.parametrize(("function", "inputs", "parameters"), TAKEN)
def test_what_a_function_knows_is_accepted(function: str, inputs: dict[str, Any], parameters: dict[str, Any]) -> None:
    assert complaint(document(function, inputs, **parameters)) == ""


REFUSED: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    *((function, {"prompt": None}, {}, "Field required: input.prompt") for function in LEAST),
    *((function, {"prompt": " "}, {}, "Field required: input.prompt") for function in LEAST),
    *((function, {"negative_prompt": "b"}, {}, "Unknown field: input.negative_prompt") for function in LEAST),
    *((function, {}, {"resolution": "720P"}, "Unknown field: parameters.resolution") for function in LEAST),
    *((function, {}, {"seed": -1}, "parameters.seed: ") for function in LEAST),
    ("", {"function": None}, {}, "Field required: input.function"),
    ("video-synthesis", {}, {}, "input.function: Input should be one of image_reference, video_repainting, "),
    # Media.
    ("image_reference", {"ref_images_url": None}, {}, "Field required: input.ref_images_url"),
    ("image_reference", {"ref_images_url": []}, {}, "input.ref_images_url: "),
    ("image_reference", {"ref_images_url": IMAGE}, {}, "input.ref_images_url: "),
    ("image_reference", {"ref_images_url": [inline(b"x")]}, {}, "input.ref_images_url.0: The provided URL"),
    ("image_reference", {"video_url": VIDEO}, {}, "Unknown field: input.video_url"),
    ("video_repainting", {"video_url": None}, {}, "Field required: input.video_url"),
    ("video_repainting", {"ref_images_url": [IMAGE] * 2}, {}, "input.ref_images_url: "),
    ("video_repainting", {"mask_image_url": IMAGE}, {}, "Unknown field: input.mask_image_url"),
    ("video_edit", {"video_url": None}, {}, "Field required: input.video_url"),
    ("video_edit", {"mask_image_url": None}, {}, "Field required: one of input.mask_image_url and input.mask_video"),
    ("video_edit", {"mask_video_url": VIDEO}, {}, "Field required: one of input.mask_image_url and input.mask_video"),
    ("video_edit", {"mask_image_url": "m.png"}, {}, "input.mask_image_url: The provided URL"),
    ("video_edit", {"mask_frame_id": 0}, {}, "input.mask_frame_id: "),
    ("video_edit", {"mask_frame_id": "1"}, {}, "input.mask_frame_id: "),
    ("video_extension", {"first_clip_url": None}, {}, "Field required: input.first_frame_url, last_frame_url, first"),
    ("video_extension", {"video_url": VIDEO}, {}, "Field required: parameters.control_condition"),
    ("video_extension", {"first_frame_url": inline(b"x")}, {}, "input.first_frame_url: The provided URL"),
    ("video_outpainting", {"video_url": None}, {}, "Field required: input.video_url"),
    ("video_outpainting", {"ref_images_url": [IMAGE]}, {}, "Unknown field: input.ref_images_url"),
    # Parameters.
    ("image_reference", {"ref_images_url": [IMAGE] * 2}, {}, SAME_LENGTH),
    ("image_reference", {}, {"obj_or_bg": ["obj", "bg"]}, SAME_LENGTH),
    ("image_reference", {}, {"obj_or_bg": []}, SAME_LENGTH),
    ("image_reference", {"ref_images_url": [IMAGE] * 2}, {"obj_or_bg": ["bg", "bg"]}, "obj_or_bg must hold at most "),
    ("image_reference", {}, {"obj_or_bg": ["subject"]}, "parameters.obj_or_bg.0: "),
    ("image_reference", {}, {"size": "1920*1080"}, "The size is not match 1920*1080"),
    ("image_reference", {}, {"duration": 6}, "The duration is not match 6"),
    ("image_reference", {}, {"control_condition": "depth"}, "Unknown field: parameters.control_condition"),
    ("video_repainting", {}, {"control_condition": None}, "Field required: parameters.control_condition"),
    ("video_repainting", {}, {"control_condition": "canny"}, "parameters.control_condition: "),
    *(("video_repainting", {}, {"strength": value}, "parameters.strength: ") for value in (-0.1, 1.1, "1", True)),
    *(("video_repainting", {}, {name: value}, f"Unknown field: parameters.{name}")
      for name, value in (("duration", 5), ("size", "1280*720"), ("left_scale", 1.5))),
    ("video_edit", {}, {"control_condition": "scribble"}, "parameters.control_condition: "),
    ("video_edit", {}, {"mask_type": "still"}, "parameters.mask_type: "),
    ("video_edit", {}, {"expand_mode": "box"}, "parameters.expand_mode: "),
    *(("video_edit", {}, {"expand_ratio": value}, "parameters.expand_ratio: ") for value in (-0.1, 1.1)),
    ("video_edit", {}, {"size": "1280x720"}, "The size is not match 1280x720"),
    ("video_edit", {}, {"strength": 0.5}, "Unknown field: parameters.strength"),
    ("video_extension", {"video_url": VIDEO}, {"control_condition": "posebody"}, "parameters.control_condition: "),
    ("video_extension", {}, {"duration": 0}, "The duration is not match 0"),
    *(("video_outpainting", {}, {f"{side}_scale": value}, f"parameters.{side}_scale: ")
      for side in ("top", "bottom", "left", "right") for value in (0.99, 2.01)),
]  # fmt: skip


@pytest.mark.parametrize(("function", "inputs", "parameters", "said"), REFUSED)
def test_what_a_function_does_not_take_is_refused(
    function: str, inputs: dict[str, Any], parameters: dict[str, Any], said: str
) -> None:
    assert (complaint(document(function, inputs, **parameters)) or "accepted").startswith(said)


# --- media that came along -------------------------------------------------------------------------------------------


def flat(width: int = 480, height: int = 368) -> bytes:
    return saved(Image.new("RGB", (width, height)))


def clip(seconds: float, width: int = 480, height: int = 368, *, rate: int = 16, colour: Any = RED) -> bytes:
    return film(seconds, image=Image.new("RGB", (width, height), colour), rate=rate)


FPS, LENGTH, FORMAT, OTHER = (
    "InvalidFile.FPS",
    "InvalidFile.Duration",
    "InvalidParameter.DataInspection",
    "InvalidParameter",
)
FILES: list[tuple[str, dict[str, tuple[Any, str]], dict[str, Any], str | None]] = [
    ("image_reference", {"ref_images_url": (partial(flat, 360, 360), "a.png")}, {}, None),
    ("image_reference", {"ref_images_url": (partial(flat, 359, 400), "a.png")}, {}, OTHER),
    ("image_reference", {"ref_images_url": (partial(flat, 2001, 400), "a.png")}, {}, OTHER),
    ("image_reference", {"ref_images_url": (partial(saved, quartered(400, 400), "TIFF"), "a.tif")}, {}, None),
    ("image_reference", {"ref_images_url": (partial(saved, quartered(359, 400), "TIFF"), "a.tiff")}, {}, OTHER),
    ("image_reference", {"ref_images_url": (partial(saved, quartered(400, 400), "TIFF"), "a.png")}, {}, FORMAT),
    ("image_reference", {"ref_images_url": (partial(clip, 1), "a.mp4")}, {}, FORMAT),
    ("video_repainting", {"video_url": (partial(clip, 1), "a.mp4")}, {}, None),
    ("video_repainting", {"video_url": (partial(clip, 6), "a.mp4")}, {}, None),  # its first 5 s are used
    ("video_repainting", {"video_url": (partial(clip, 1, rate=15), "a.mp4")}, {}, FPS),
    ("video_repainting", {"video_url": (partial(flat), "a.png")}, {}, FORMAT),
    ("video_repainting", {"video_url": (partial(film, 1, "mov", rate=16), "a.mov")}, {}, FORMAT),
    ("video_edit", {"video_url": (partial(clip, 1), "a.mp4"), "mask_image_url": (flat, "m.png")}, {}, None),
    ("video_edit", {"video_url": (partial(clip, 1), "a.mp4")}, {"mask_frame_id": 17}, None),
    ("video_edit", {"video_url": (partial(clip, 1), "a.mp4")}, {"mask_frame_id": 18}, OTHER),
    (
        "video_edit",
        {"video_url": (partial(clip, 1), "a.mp4"), "mask_image_url": (partial(flat, 368, 480), "m.png")},
        {},
        OTHER,
    ),
    (
        "video_edit",
        {"video_url": (partial(clip, 1), "a.mp4"), "mask_video_url": (partial(clip, 1), "m.mp4")},
        {"mask_image_url": None},
        None,
    ),
    (
        "video_edit",
        {"video_url": (partial(clip, 1), "a.mp4"), "mask_video_url": (partial(clip, 1, 368, 480), "m.mp4")},
        {"mask_image_url": None},
        OTHER,
    ),
    ("video_extension", {"first_clip_url": (partial(clip, 3), "a.mp4")}, {}, None),
    ("video_extension", {"first_clip_url": (partial(clip, 3.5), "a.mp4")}, {}, LENGTH),
    (
        "video_extension",
        {"first_clip_url": (partial(clip, 2), "a.mp4"), "last_clip_url": (partial(clip, 1), "b.mp4")},
        {},
        None,
    ),
    (
        "video_extension",
        {"first_clip_url": (partial(clip, 2), "a.mp4"), "last_clip_url": (partial(clip, 1.5), "b.mp4")},
        {},
        LENGTH,
    ),
    ("video_outpainting", {"video_url": (partial(clip, 1), "a.mp4")}, {}, None),
]  # fmt: skip


@pytest.mark.parametrize(("function", "files", "inputs", "code"), FILES)
def test_what_was_uploaded_is_looked_at(
    store: Store, function: str, files: dict[str, tuple[Any, str]], inputs: dict[str, Any], code: str | None
) -> None:
    links: dict[str, Any] = {name: put(store, make(), file, MODEL) for name, (make, file) in files.items()}
    if "ref_images_url" in links:
        links["ref_images_url"] = [links["ref_images_url"]]
    answer = create(store, document(function, inputs | links), headers=RESOLVE)
    assert (said(answer).get("code"), answer.status) == (code, 400 if code else 200)


# --- what becomes of it ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "seconds", "parameters", "duration", "size"),
    [
        ("video_repainting", 2.5, {}, 2.5, (1088, 832)),  # 4:3, in the pixels of 720P
        ("video_repainting", 6, {}, 5, (1088, 832)),
        ("video_edit", 2, {}, 2, (1088, 832)),
        ("video_edit", 2, {"size": "720*1280"}, 2, (720, 1280)),
        ("video_outpainting", 2, {"left_scale": 1.5, "right_scale": 1.5}, 2, (1344, 672)),  # 2:1
        ("video_outpainting", 2, {"top_scale": 2.0}, 2, (896, 1008)),  # 4:4.5
        ("video_extension", 2, {}, 5, (1088, 832)),
    ],
)
def test_a_clip_is_as_long_and_has_the_shape_that_it_should(  # noqa: PLR0917 - a table
    store: Store, function: str, seconds: float, parameters: dict[str, Any], duration: float, size: tuple[int, int]
) -> None:
    field = "first_clip_url" if function == "video_extension" else "video_url"
    link = put(store, clip(seconds, 640, 480), "a.mp4", MODEL)
    task_id = book(store, document(function, {field: link}, **parameters), headers=RESOLVE)
    task = store.task(task_id)
    assert task is not None
    assert (task.duration, task.input_duration, task.sound) == (duration, 0, False)
    width, height = task.width, task.height
    assert abs(width - size[0]) <= 16
    assert abs(height - size[1]) <= 16
    usage = look(store, task_id, now=NOW + 3)["usage"]
    assert usage == {"video_duration": duration, "video_ratio": "standard", "video_count": 1}


def test_a_video_behind_a_url_is_taken_to_be_5_seconds_of_720p(store: Store) -> None:
    task = store.task(book(store, document("video_repainting")))
    assert task is not None
    assert (task.duration, task.width, task.height, task.mode) == (5, 1280, 720, "vace video_repainting")


GREEN, BLUE, WHITE, BLACK = (30, 160, 60), (40, 60, 210), (255, 255, 255), (0, 0, 0)


def drawn(store: Store, asked: dict[str, Any]) -> list[Image.Image]:
    """The frames of the clip that is made of what was asked."""
    task_id = book(store, asked, headers=RESOLVE)
    url = look(store, task_id, now=NOW + 3)["output"]["video_url"]
    answer = ask(store, "GET", local(url), now=NOW + 3)
    with av.open(io.BytesIO(b"".join(answer.chunks())), "r") as container:
        return [frame.to_image() for frame in container.decode(video=0)]  # type: ignore[no-untyped-call]  # PyAV's gap


def colour(frame: Image.Image, across: float, down: float) -> list[int]:
    """The average colour around a place, as shares of the frame."""
    x, y = round(across * frame.width), round(down * frame.height)
    return [round(value) for value in ImageStat.Stat(frame.crop((x - 8, y - 8, x + 8, y + 8))).mean]


def near(seen: list[int], wanted: tuple[int, ...]) -> bool:
    return all(abs(a - b) < 14 for a, b in zip(seen, wanted, strict=True))


@pytest.mark.slow
def test_images_are_shown_side_by_side(store: Store) -> None:
    links = [put(store, saved(Image.new("RGB", (400, 400), each)), "a.png", MODEL) for each in (GREEN, BLUE)]
    asked = document("image_reference", {"ref_images_url": links}, obj_or_bg=["obj", "bg"])
    (first, *_, last) = drawn(store, asked)
    for frame in (first, last):
        assert near(colour(frame, 0.45, 0.4), GREEN)
        assert near(colour(frame, 0.9, 0.4), BLUE)


@pytest.mark.slow
def test_a_repainted_video_is_shown(store: Store) -> None:
    link = put(store, film(1, image=quartered(480, 368), rate=16), "a.mp4", MODEL)
    frames = drawn(store, document("video_repainting", {"video_url": link}))
    assert len(frames) == 30
    for frame in (frames[0], frames[-1]):
        assert near(colour(frame, 0.75, 0.4), GREEN)
        assert near(colour(frame, 0.75, 0.6), (220, 190, 40))


@pytest.mark.slow
@pytest.mark.parametrize("moving", [False, True])
def test_of_an_edited_video_the_mask_is_tinted_and_nothing_else(store: Store, *, moving: bool) -> None:
    mask = quartered(480, 368, (BLACK, WHITE, BLACK, BLACK))
    video = put(store, clip(1, colour=BLUE), "a.mp4", MODEL)
    file = film(1, image=mask, rate=16) if moving else saved(mask)
    link = put(store, file, "m.mp4" if moving else "m.png", MODEL)
    field = "mask_video_url" if moving else "mask_image_url"
    (first, *_, last) = drawn(store, document("video_edit", {"video_url": video, "mask_image_url": None, field: link}))
    for frame in (first, last):
        assert near(colour(frame, 0.75, 0.4), (147, 30, 185))  # half of it, half of the tint
        assert near(colour(frame, 0.75, 0.6), BLUE)


@pytest.mark.slow
def test_an_extension_begins_and_ends_with_what_went_in(store: Store) -> None:
    first = put(store, clip(1, colour=GREEN), "a.mp4", MODEL)
    last = put(store, saved(Image.new("RGB", (480, 368), BLUE)), "b.png", MODEL)
    frames = drawn(store, document("video_extension", {"first_clip_url": first, "last_frame_url": last}))
    assert len(frames) == 150
    assert near(colour(frames[0], 0.7, 0.4), GREEN)
    assert near(colour(frames[-1], 0.7, 0.4), BLUE)


@pytest.mark.slow
def test_an_outpainted_video_stands_where_its_scales_say(store: Store) -> None:
    """The left edge is 1.5 times as far from its middle as it was, so the video begins at a fifth of the width."""
    picture = Image.new("RGB", (480, 368), BLUE)
    picture.paste(GREEN, (0, 0, 240, 368))
    link = put(store, film(1, image=picture, rate=16), "a.mp4", MODEL)
    (first, *_, last) = drawn(store, document("video_outpainting", {"video_url": link}, left_scale=1.5))
    for frame in (first, last):
        assert near(colour(frame, 0.25, 0.45), GREEN)
        assert near(colour(frame, 0.57, 0.45), GREEN)
        assert near(colour(frame, 0.63, 0.45), BLUE)  # the middle of the video is at three fifths
        assert near(colour(frame, 0.97, 0.45), BLUE)
