"""The emulator's media dialect: what it looks at, in which pixels it draws, and what it refuses."""

import io
from functools import partial
from pathlib import Path
from typing import Any

import av
import pytest
from asking import RESOLVE, book, create, film, inline, put, quartered, said, saved, watched, wav
from PIL import Image

from rawgenai.dashscope.models import MODELS
from rawgenai.emulator import render
from rawgenai.emulator.schema import parse_body
from rawgenai.emulator.state import status_of
from rawgenai.emulator.store import Store

IMAGE, VIDEO, SOUND = "https://example.org/a.png", "https://example.org/a.mp4", "https://example.org/a.mp3"
I2V, R2V, EDIT, HORSE, ALL = (
    "wan2.7-i2v", "wan2.7-r2v", "wan2.7-videoedit", "happyhorse-1.0-video-edit", "wan3.0-video",
)  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "emulator")


def piece(kind: str, url: str = IMAGE, **more: str) -> dict[str, str]:
    return {"type": kind, "url": url, **more}


def document(model: str, *pieces: dict[str, str], **parameters: Any) -> dict[str, Any]:
    return {"model": model, "input": {"prompt": "p", "media": list(pieces)}, "parameters": parameters}


def complaint(model: str, *pieces: dict[str, str], **parameters: Any) -> str | None:
    try:
        parse_body(document(model, *pieces, **parameters), MODELS[model])
    except ValueError as error:
        return str(error)
    return None


FIRST, LAST = piece("first_frame"), piece("last_frame")


@pytest.mark.parametrize(
    ("model", "pieces", "parameters", "said"),
    [
        (I2V, [FIRST, FIRST], {}, "media must not hold 2 items of the type first_frame"),
        (I2V, [piece("head")], {}, "media must not hold 1 items of the type head"),
        (I2V, [piece("reference_audio", SOUND)], {}, "media must not hold 1 items of the type reference_audio"),
        (I2V, [piece("first_frame", "C:/a.png")], {}, "input.media.0.url: The provided URL does not appear"),
        (I2V, [{"type": "first_frame"}], {}, "Field required: input.media.0.url"),
        (I2V, [FIRST | {"role": "a"}], {}, "Unknown field: input.media.0.role"),
        (I2V, [FIRST], {"ratio": "16:9"}, "The ratio is not match 16:9"),
        (I2V, [FIRST], {"size": "1280*720"}, "Unknown field: parameters.size"),
        (I2V, [FIRST | {"reference_voice": SOUND}], {}, "Unknown field: input.media.reference_voice"),
        (R2V, [piece("reference_image"), FIRST | {"reference_voice": SOUND}], {}, "Unknown field: input.media.refer"),
        (R2V, [piece("reference_image")] * 6, {}, "media must hold at most 5 references"),
        (R2V, [piece("reference_video", VIDEO)], {"duration": 11}, "The duration is not match 11 beside"),
        (EDIT, [piece("video", VIDEO)], {"audio_setting": "loud"}, "parameters.audio_setting: "),
        (EDIT, [piece("video", VIDEO), piece("reference_video", VIDEO)], {}, "media must hold at most 4 references, 0"),
        (HORSE, [piece("video", VIDEO)], {"prompt_extend": True}, "Unknown field: parameters.prompt_extend"),
        (HORSE, [piece("video", VIDEO)], {"duration": 5}, "The duration is not match 5"),
        (ALL, [piece("reference_image")] * 11, {}, "media must hold at most 20 references"),
        (ALL, [piece("reference_audio", SOUND)] * 6, {}, "media must hold at most 5 reference_audio"),
        (ALL, [piece("driving_audio", SOUND)], {}, "media must not hold 1 items of the type driving_audio"),
        ("wan2.7-t2v", [FIRST], {}, "The combination of media is not supported by wan2.7-t2v: first_frame"),
        ("wan2.7-t2v", [], {"audio_setting": "auto"}, "Unknown field: parameters.audio_setting"),
    ],
)
def test_what_a_model_does_not_take_is_refused(
    model: str, pieces: list[dict[str, str]], parameters: dict[str, Any], said: str
) -> None:
    assert (complaint(model, *pieces, **parameters) or "accepted").startswith(said)


def test_a_sound_among_the_media_is_no_field_of_its_own() -> None:
    for model, refused in ((I2V, True), ("wan2.7-t2v", False)):
        pieces = [FIRST] if model == I2V else []
        body = document(model, *pieces)
        body["input"]["audio_url"] = SOUND
        try:
            parse_body(body, MODELS[model])
        except ValueError as error:
            assert (refused, str(error)) == (True, "Unknown field: input.audio_url")  # noqa: PT017 - only one is refused
        else:
            assert not refused


# --- media that came along -------------------------------------------------------------------------------------------


def _flat(width: int, height: int) -> bytes:
    return saved(Image.new("RGB", (width, height)), "JPEG")


def _clip(seconds: float, width: int = 320, height: int = 240) -> bytes:
    return film(seconds, image=quartered(width, height))


PIXELS = "InvalidFile.Resolution"
LENGTH = "InvalidFile.Duration"
SIZE = "InvalidParameter"
SEEN: list[tuple[tuple[str, str], Any, str, str | None]] = [  # model and type, file, its name, code of the refusal
    ((I2V, "first_frame"), partial(_flat, 240, 1920), "a.jpg", None),
    ((I2V, "first_frame"), partial(_flat, 240, 1921), "a.jpg", SIZE),
    ((I2V, "first_frame"), partial(_flat, 239, 480), "a.jpg", SIZE),
    ((I2V, "first_clip"), partial(_clip, 2), "a.mp4", None),
    ((I2V, "first_clip"), partial(_clip, 1.5), "a.mp4", LENGTH),
    ((I2V, "first_clip"), partial(_clip, 10.5), "a.mp4", LENGTH),
    ((I2V, "first_clip"), partial(_clip, 2, 320, 238), "a.mp4", PIXELS),
    ((EDIT, "video"), partial(_clip, 2, 2400, 240), "a.mp4", PIXELS),
    ((EDIT, "video"), partial(_flat, 320, 240), "a.jpg", "InvalidParameter.DataInspection"),
    ((HORSE, "video"), partial(_clip, 3, 96, 64), "a.mp4", None),  # no pixels are listed
    ((HORSE, "video"), partial(_clip, 2), "a.mp4", LENGTH),
    (("happyhorse-1.0-r2v", "reference_image"), partial(_flat, 400, 400), "a.jpg", None),
    (("happyhorse-1.0-r2v", "reference_image"), partial(_flat, 399, 800), "a.jpg", SIZE),
    ((ALL, "reference_audio"), partial(wav, 15), "a.wav", None),
    ((ALL, "reference_audio"), partial(wav, 16), "a.wav", "InvalidURL"),
]


@pytest.mark.parametrize(("place", "make", "name", "code"), SEEN)
def test_what_was_uploaded_is_looked_at(
    store: Store, place: tuple[str, str], make: Any, name: str, code: str | None
) -> None:
    model, kind = place
    link = put(store, make(), name, model)
    answer = create(store, document(model, piece(kind, link)), headers=RESOLVE)
    assert (answer.status, said(answer).get("code")) == ((200, None) if code is None else (400, code))


def test_a_voice_is_a_sound_of_1_to_10_seconds(store: Store) -> None:
    for seconds, status in ((1, 200), (10, 200), (11, 400), (0.5, 400)):
        voice = put(store, wav(seconds), f"{seconds}.wav", R2V)
        answer = create(store, document(R2V, piece("reference_image", reference_voice=voice)), headers=RESOLVE)
        assert answer.status == status, seconds


def test_an_upload_for_another_model_is_refused_wherever_it_is_named(store: Store) -> None:
    voice, clip = put(store, wav(2), "a.wav", I2V), put(store, _clip(2), "a.mp4", I2V)
    for pieces in ([piece("reference_image", reference_voice=voice)], [piece("reference_video", clip)]):
        answer = create(store, document(R2V, *pieces), headers=RESOLVE)
        assert (answer.status, said(answer)["code"]) == (400, "InvalidParameter.DataInspection")


def test_videos_of_wan30_are_30_seconds_with_the_clip(store: Store) -> None:
    link = put(store, _clip(10), "a.mp4", ALL)
    for duration, status in ((20, 200), (21, 400), (-1, 200)):
        body = document(ALL, piece("reference_video", link), duration=duration)
        assert create(store, body, headers=RESOLVE).status == status, duration


# --- what is drawn ---------------------------------------------------------------------------------------------------

TALL = inline(_flat(750, 1000), "image/jpeg")
WIDE = inline(_flat(1600, 800), "image/jpeg")
DRAWN: list[tuple[str, list[dict[str, str]], dict[str, Any], tuple[int, int]]] = [
    ("wan2.7-t2v", [], {}, (1920, 1080)),
    ("wan2.7-t2v", [], {"resolution": "720P", "ratio": "4:3"}, (1104, 832)),
    ("wan2.7-t2v", [], {"resolution": "1080P", "ratio": "3:4"}, (1248, 1648)),
    (I2V, [piece("first_frame", TALL)], {"resolution": "720P"}, (816, 1104)),
    (R2V, [piece("reference_image", TALL)], {"resolution": "720P", "ratio": "9:16"}, (720, 1280)),
    (R2V, [piece("reference_image", TALL), piece("first_frame", WIDE)], {"resolution": "720P", "ratio": "9:16"},
     (1344, 672)),
    (EDIT, [piece("video", VIDEO)], {"resolution": "720P"}, (1280, 720)),
    (EDIT, [piece("video", VIDEO), piece("reference_image", TALL)], {"resolution": "720P", "ratio": "1:1"}, (960, 960)),
    (ALL, [piece("first_frame", TALL)], {"resolution": "720P"}, (816, 1104)),
    (ALL, [piece("first_frame", TALL)], {"resolution": "720P", "ratio": "16:9"}, (1280, 720)),
    (ALL, [], {"resolution": "480P", "ratio": "adaptive"}, (832, 480)),
    ("happyhorse-1.0-t2v", [], {"resolution": "720P", "ratio": "21:9"}, (1456, 624)),
]  # fmt: skip


@pytest.mark.parametrize(("model", "pieces", "parameters", "pixels"), DRAWN)
def test_a_clip_has_the_pixels_of_its_tier_and_ratio_or_of_what_it_follows(
    store: Store, model: str, pieces: list[dict[str, str]], parameters: dict[str, Any], pixels: tuple[int, int]
) -> None:
    task = store.task(book(store, document(model, *pieces, **parameters)))
    assert task is not None
    assert (task.width, task.height) == pixels


def test_an_edit_has_its_videos_shape_and_length(store: Store) -> None:
    link = put(store, _clip(2.5, 300, 400), "a.mp4", EDIT)
    task = store.task(book(store, document(EDIT, piece("video", link), resolution="720P"), headers=RESOLVE))
    assert task is not None
    assert (task.width, task.height, task.duration, task.input_duration) == (816, 1104, 2.5, 2.5)
    link = put(store, _clip(20), "b.mp4", HORSE)
    task = store.task(book(store, document(HORSE, piece("video", link)), headers=RESOLVE))
    assert task is not None
    assert (task.duration, task.input_duration) == (15.0, 15.0)  # it reads 15 s


@pytest.mark.parametrize(
    ("pieces", "mode"),
    [
        ([], "t2v"),
        ([FIRST], "i2v"),
        ([FIRST, LAST], "kf2v"),
        ([piece("reference_image")], "r2v"),
        ([piece("reference_audio", SOUND)], "r2v"),
    ],
)
def test_a_model_of_all_modes_is_drawn_in_the_one_that_its_media_mean(
    store: Store, monkeypatch: pytest.MonkeyPatch, pieces: list[dict[str, str]], mode: str
) -> None:
    drawn = watched(monkeypatch)
    task = store.task(book(store, document(ALL, *pieces)))
    assert task is not None
    store.clip(task, task.mode)
    assert drawn[0]["mode"] == mode
    assert status_of(task, task.created) == "PENDING"


@pytest.mark.parametrize(("model", "fps"), [("happyhorse-1.1-t2v", 24), ("wan2.7-t2v", 30)])
def test_a_clip_has_the_frames_a_second_of_its_models_row(
    store: Store, monkeypatch: pytest.MonkeyPatch, model: str, fps: int
) -> None:
    drawn: list[Any] = []

    def draw(path: Path, **what: Any) -> None:
        drawn.append(what)
        path.write_bytes(b"x")

    monkeypatch.setattr(render, "draw", draw)
    task = store.task(book(store, document(model)))
    assert task is not None
    store.clip(task, task.mode)
    assert (drawn[0]["fps"], MODELS[model].fps) == (fps, fps)


@pytest.mark.slow
def test_an_edit_shows_its_video_from_the_first_frame_to_the_last(store: Store, tmp_path: Path) -> None:
    red, blue = Image.new("RGB", (320, 240), (200, 30, 40)), Image.new("RGB", (320, 240), (40, 60, 210))
    file = io.BytesIO()
    with av.open(file, "w", "mp4") as container:
        stream = container.add_stream("mpeg4", rate=10, bit_rate=2_000_000)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for number in range(30):
            frame: av.VideoFrame = av.VideoFrame.from_image(red if number < 15 else blue)  # type: ignore[no-untyped-call]  # PyAV's gap
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    link = put(store, file.getvalue(), "a.mp4", EDIT)
    task = store.task(book(store, document(EDIT, piece("video", link), resolution="720P"), headers=RESOLVE))
    assert task is not None
    with av.open(store.clip(task, task.mode)) as clip:
        frames: list[Any] = [frame.to_image() for frame in clip.decode(video=0)]  # type: ignore[no-untyped-call]  # as above
    assert len(frames) == 90
    spot = (frames[0].width * 3 // 4, frames[0].height // 2)
    assert frames[0].getpixel(spot) == pytest.approx((200, 30, 40), abs=20)
    assert frames[-1].getpixel(spot) == pytest.approx((40, 60, 210), abs=20)
