"""What the emulator sees in the media that it is sent, what it refuses, and what it keeps of them."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import pytest
from asking import (
    CLIP,
    NOW,
    RESOLVE,
    ask,
    book,
    create,
    film,
    inline,
    local,
    look,
    mp3,
    put,
    quartered,
    said,
    saved,
    watched,
    wav,
)
from PIL import Image

from rawgenai.dashscope.models import Limits
from rawgenai.emulator import inputs
from rawgenai.emulator.store import Store

LINK = "https://example.org/a.png"
DAY = 86400.0
I2V, OLD, R2V, KF2V, T2V = "wan2.6-i2v", "wan2.2-i2v-plus", "wan2.6-r2v", "wan2.2-kf2v-flash", "wan2.6-t2v"
Make = Callable[[], bytes]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "emulator")


@pytest.fixture(autouse=True)
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    return watched(monkeypatch)


def _document(model: str, **fields: Any) -> dict[str, Any]:
    return {"model": model, "input": {"prompt": "p"} | fields}


def _refusal(store: Store, document: Any) -> tuple[int, str, str] | None:
    """What is refused, or None."""
    answer = create(store, document, headers=RESOLVE)
    return None if answer.status == 200 else (answer.status, said(answer)["code"], said(answer)["message"])


def _animated() -> bytes:
    return saved(quartered(), save_all=True, append_images=[quartered(colours=((0, 0, 0),) * 4)])


def _png_of(width: int, height: int) -> bytes:
    """A PNG that claims its size in 100 bytes."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def _turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(quartered(1000, 750), "JPEG", exif=exif)


def _mode(mode: str, kind: str = "PNG") -> Make:
    return lambda: saved(quartered().convert(mode), kind)


def _translucent() -> bytes:
    image = quartered()
    image.putalpha(128)
    return saved(image, "WEBP")


def _sized(width: int, height: int, kind: str = "PNG") -> Make:
    return lambda: saved(quartered(width, height), kind)


# --- images --------------------------------------------------------------------------------------------------------

GOOD_IMAGES: dict[str, Make] = {
    "a.jpg": _mode("RGB", "JPEG"),
    "a.jpeg": _mode("CMYK", "JPEG"),
    "a.png": _mode("P"),
    "16-bit.png": lambda: saved(Image.new("I;16", (300, 300), 40000)),
    "animated.png": _animated,
    "a.bmp": _mode("RGB", "BMP"),
    "a.webp": _mode("RGB", "WEBP"),
    "turned.jpg": _turned,
    "least.png": _sized(240, 240),
    "longest.PNG": _sized(8000, 240),
    "a.bin": _mode("RGB"),
    "no extension": _mode("L"),
}
FORMAT = "The media format is not supported or incorrect for the data inspection."
DECODE = "Failed to decode the image during the data inspection."
SIZE = "The image size is not supported for the data inspection."
BAD_IMAGES: dict[str, tuple[Make, str, str]] = {
    "alpha.png": (_mode("RGBA"), "InvalidParameter.DataInspection", FORMAT),
    "alpha.webp": (_translucent, "InvalidParameter.DataInspection", FORMAT),
    "a.gif": (_mode("P", "GIF"), "InvalidParameter.DataInspection", FORMAT),
    "a.svg": (lambda: b"<svg/>", "InvalidParameter.DataInspection", FORMAT),
    "text.png": (lambda: b"hello", "InvalidParameter.DataInspection", FORMAT),
    "film.mp4": (partial(film, 2), "InvalidParameter.DataInspection", FORMAT),
    "half.png": (lambda: saved(quartered())[:200], "InvalidParameter", DECODE),
    "half.jpg": (lambda: _mode("RGB", "JPEG")()[:-900], "InvalidParameter", DECODE),
    "half.webp": (lambda: _mode("RGB", "WEBP")()[:200], "InvalidParameter", DECODE),
    "head.png": (lambda: b"\x89PNG\r\n\x1a\n", "InvalidParameter", DECODE),
    "few-pixels.png": (partial(_png_of, 300, 300), "InvalidParameter", DECODE),
    "small.png": (_sized(239, 400), "InvalidParameter", SIZE),
    "long.png": (_sized(300, 8001), "InvalidParameter", SIZE),
    "bomb.png": (partial(_png_of, 50_000, 50_000), "InvalidParameter", SIZE),
}


@pytest.mark.parametrize("name", GOOD_IMAGES)
def test_an_image_that_the_model_takes_is_taken_inline_and_uploaded(store: Store, name: str) -> None:
    data = GOOD_IMAGES[name]()
    for link in (inline(data), put(store, data, name, I2V)):
        assert _refusal(store, _document(I2V, img_url=link)) is None


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_an_image_that_the_model_does_not_take_is_refused_inline_and_uploaded(store: Store, name: str) -> None:
    make, code, sentence = BAD_IMAGES[name]
    data = make()
    for link in (inline(data), put(store, data, name, I2V)):
        assert _refusal(store, _document(I2V, img_url=link)) == (400, code, sentence)


def test_every_picture_of_a_request_is_looked_at(store: Store) -> None:
    good, bad = saved(quartered()), b"hello"
    for first, last in ((good, bad), (bad, good)):
        document = _document(KF2V, first_frame_url=inline(first), last_frame_url=inline(last))
        assert _refusal(store, document) == (400, "InvalidParameter.DataInspection", FORMAT)
    links = [put(store, data, "a.png", R2V) for data in (good, good, bad)]
    assert _refusal(store, _document(R2V, reference_urls=links)) == (400, "InvalidParameter.DataInspection", FORMAT)


def test_a_large_image_is_refused_where_the_model_takes_ten_megabytes(store: Store) -> None:
    data = saved(quartered(1900, 1900), "BMP")
    assert _refusal(store, _document(I2V, img_url=put(store, data, "a.bmp", I2V))) is None
    refused = _refusal(store, _document(OLD, img_url=put(store, data, "a.bmp", OLD)))
    assert refused == (400, "InvalidParameter", SIZE)


def test_a_format_is_taken_only_where_the_row_names_it() -> None:
    fields = SimpleNamespace(img_url=inline(saved(quartered(), "BMP")))
    for formats in (("image/bmp", "image/png"), ("image/png",)):
        limits = {"image": Limits(formats, 10**6)}
        with nullcontext() if "image/bmp" in formats else pytest.raises(inputs.Unfit, match="media format"):
            assert inputs.inspect(fields, limits, Path)[0].kind == "image"


@pytest.mark.parametrize("name", ["a.jpg", "a.MP4", "a.wav"])
def test_an_upload_whose_name_says_another_format_is_refused(store: Store, name: str) -> None:
    link = put(store, saved(quartered()), name, I2V)
    assert _refusal(store, _document(I2V, img_url=link)) == (400, "InvalidParameter.DataInspection", FORMAT)


# --- sound ---------------------------------------------------------------------------------------------------------


def _from_a_pipe(seconds: float) -> bytes:
    data = wav(seconds)
    at = data.index(b"data") + 4
    return data[:at] + b"\xff\xff\xff\xff" + data[at + 4 :]


TYPE = "File type is not supported. Allowed types are: .wav, .mp3."
SOUNDS: dict[str, tuple[Make, str | None]] = {
    "3.wav": (partial(wav, 3), None),
    "30.wav": (partial(wav, 30), None),
    "3.mp3": (partial(mp3, 3), None),
    "30.mp3": (partial(mp3, 30), None),
    "pipe.wav": (partial(_from_a_pipe, 5), None),
    "tagged.mp3": (lambda: b"ID3\x04\0\0\0\0\7\x68" + bytes(1000) + mp3(5), None),
    "2.wav": (partial(wav, 2), "The input audio is shorter than 3s."),
    "31.wav": (partial(wav, 31), "The input audio is longer than 30s."),
    "2.mp3": (partial(mp3, 2), "The input audio is shorter than 3s."),
    "31.mp3": (partial(mp3, 31), "The input audio is longer than 30s."),
    "large.wav": (lambda: wav(5) + bytes(15 * 1024 * 1024), "File size is larger than 15MB."),
    "picture.wav": (lambda: saved(quartered()), TYPE),
    "sound.mp3": (partial(wav, 5), TYPE),
    "head.wav": (lambda: wav(5)[:12], TYPE),
    "tag.mp3": (lambda: b"ID3\x04\0\0\0\0\7\x68" + bytes(1000), TYPE),
}


@pytest.mark.parametrize("name", SOUNDS)
def test_a_sound_is_wav_or_mp3_and_3_to_30_seconds_long(store: Store, name: str) -> None:
    make, sentence = SOUNDS[name]
    link = put(store, make(), name, T2V)
    refused = _refusal(store, _document(T2V, audio_url=link))
    assert refused == (None if sentence is None else (400, "InvalidURL", sentence))


# --- videos --------------------------------------------------------------------------------------------------------


def _noise() -> bytes:
    """A video whose index is whole and whose pictures are not."""
    data = film(2)
    start, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    return data[:start] + bytes(end - start) + data[end:]


LONG = "The video must be 1 to 30s long, and is {}s."
FILMS: dict[str, tuple[Make, tuple[str, str] | None]] = {
    "1.mp4": (partial(film, 1), None),
    "30.mp4": (partial(film, 30), None),
    "2.mov": (partial(film, 2, "mov"), None),
    "short.mp4": (partial(film, 0.5), ("InvalidFile.Duration", LONG.format("0.50"))),
    "long.mov": (partial(film, 31, "mov"), ("InvalidFile.Duration", LONG.format("31.00"))),
    "half.mp4": (lambda: film(2)[:1000], ("InvalidParameter.DataInspection", FORMAT)),
    "noise.mp4": (_noise, ("InvalidParameter.DataInspection", FORMAT)),
    "sound.mp4": (partial(wav, 5), ("InvalidParameter.DataInspection", FORMAT)),
    "film.avi": (partial(film, 2, "avi"), ("InvalidParameter.DataInspection", FORMAT)),
}


@pytest.mark.parametrize("name", FILMS)
def test_a_reference_video_is_mp4_or_mov_and_1_to_30_seconds_long(store: Store, name: str) -> None:
    make, refused = FILMS[name]
    link = put(store, make(), name, R2V)
    assert _refusal(store, _document(R2V, reference_urls=[link])) == (refused and (400, *refused))


def test_uploaded_videos_are_counted_by_content_and_links_by_name(store: Store) -> None:
    clip, image = (put(store, data, "a", R2V) for data in (film(1), saved(quartered())))
    url = "https://example.org/a.mp4"
    too_many = (400, "InvalidParameter", "reference_urls must hold at most 3 videos, got 4")
    for references, refused in [
        ([clip] * 4, too_many),
        ([clip] * 3 + [url], too_many),
        ([clip] * 2 + [url] + [image] * 2, None),
        ([image] * 5, None),
    ]:
        assert _refusal(store, _document(R2V, reference_urls=references)) == refused


def test_an_uploaded_video_is_billed_as_long_as_it_is_and_no_longer_than_the_cap(store: Store) -> None:
    short, long = (put(store, film(seconds), "a.mp4", R2V) for seconds in (1.5, 4))
    for references, billed in [
        ([short], 1.5),
        ([long], 4),
        ([short, long], 1.5 + 2.5),
        ([short, "https://example.org/a.mp4"], 1.5 + 2.5),
        ([long, LINK], 2.5),
        ([LINK], 0),
    ]:
        task_id = book(store, _document(R2V, reference_urls=references), headers=RESOLVE)
        assert look(store, task_id, now=NOW + 3)["usage"]["input_video_duration"] == billed


def test_without_pyav_nobody_knows_how_long_a_video_is(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    link = put(store, film(31), "a.mp4", R2V)
    monkeypatch.setattr(inputs, "find_spec", lambda name: None)
    task_id = book(store, _document(R2V, reference_urls=[link]), headers=RESOLVE)
    assert look(store, task_id, now=NOW + 3)["usage"]["input_video_duration"] == 5


# --- what is kept, and what the drawing is told --------------------------------------------------------------------


def _draw(store: Store, task_id: str, after: float = 3) -> None:
    url = look(store, task_id, now=NOW + after)["output"]["video_url"]
    answer = ask(store, "GET", local(url), now=NOW + after)
    assert b"".join(answer.chunks()) == CLIP


@pytest.mark.parametrize(
    ("size", "tier", "wanted"),
    [
        ((750, 1000), "720P", (816, 1104)),  # the reference's own example
        ((1280, 720), "720P", (1280, 720)),
        ((1000, 1000), "1080P", (1440, 1440)),
        ((1080, 1920), "1080P", (1072, 1920)),  # 1080 is no multiple of 16
        ((8000, 240), "720P", (5536, 160)),
    ],
)
def test_a_clip_has_the_ratio_of_its_first_picture(
    store: Store, drawn: list[dict[str, Any]], size: tuple[int, int], tier: str, wanted: tuple[int, int]
) -> None:
    first = inline(saved(quartered(*size)))
    for document in (
        _document("wan2.6-i2v", img_url=first),
        _document("wan2.2-kf2v-flash", first_frame_url=first, last_frame_url=inline(saved(quartered()))),
    ):
        _draw(store, book(store, document | {"parameters": {"resolution": tier}}))
    assert [(what["width"], what["height"]) for what in drawn] == [wanted] * 2


def test_a_picture_that_lies_on_its_side_is_measured_as_it_is_shown(store: Store, drawn: list[dict[str, Any]]) -> None:
    _draw(store, book(store, _document("wan2.2-i2v-flash", img_url=inline(_turned(), "image/jpeg"))))
    assert (drawn[0]["width"], drawn[0]["height"]) == (816, 1104)


def test_the_drawing_is_given_what_was_sent_in_its_order(store: Store, drawn: list[dict[str, Any]]) -> None:
    one, two, sound = saved(quartered()), saved(quartered(300, 300)), wav(4)
    links = [put(store, one, "a.png", R2V), LINK, put(store, two, "b.png", R2V)]
    music = put(store, sound, "a.wav", I2V)
    for document in (
        _document(R2V, reference_urls=links),
        _document(KF2V, first_frame_url=LINK, last_frame_url=inline(two)),
        _document(I2V, img_url=inline(one), audio_url=music),
    ):
        _draw(store, book(store, document, headers=RESOLVE))
    told = [[path and path.read_bytes() for path in (*what["pictures"], what["music"])] for what in drawn]
    assert told == [[one, None, two, None], [None, two, None], [one, sound]]


def test_pictures_are_files_and_not_in_the_database(store: Store) -> None:
    noise = Image.effect_noise((1000, 1000), 90)
    book(store, _document(I2V, img_url=inline(saved(noise))))
    assert store.file.stat().st_size < 200_000


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
def test_what_is_kept_is_private(store: Store) -> None:
    link = put(store, saved(quartered()), "../../a b.png", I2V)
    book(store, _document(I2V, img_url=link), headers=RESOLVE)
    book(store, _document(I2V, img_url=inline(saved(quartered()))))
    kept = [path for name in ("uploads", "inputs") for path in (store.folder / name).rglob("*")]
    assert len(kept) == 5
    assert {path.stat().st_mode & 0o777 for path in kept} == {0o600, 0o700}


def test_an_upload_is_removed_after_two_days_and_a_task_keeps_its_pictures(
    store: Store, drawn: list[dict[str, Any]]
) -> None:
    data = saved(quartered())
    link = put(store, data, "a.png", I2V)
    task_id = book(store, _document(I2V, img_url=link), headers=RESOLVE, now=NOW + 2 * DAY - 9)
    assert len(list((store.folder / "uploads").iterdir())) == 1
    book(store, now=NOW + 2 * DAY + 1)
    assert not list((store.folder / "uploads").iterdir())
    _draw(store, task_id, 2 * DAY + 2)
    assert drawn[0]["pictures"][0].read_bytes() == data
    book(store, now=NOW + 4 * DAY)
    assert not list((store.folder / "inputs").iterdir())


def test_a_link_that_the_file_system_does_not_make_is_a_copy(
    store: Store, drawn: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", link)
    data = saved(quartered())
    _draw(store, book(store, _document(I2V, img_url=put(store, data, "a.png", I2V)), headers=RESOLVE))
    assert drawn[0]["pictures"][0].read_bytes() == data


def test_an_upload_that_is_refused_leaves_nothing(store: Store) -> None:
    link = put(store, b"one", "a.png", I2V)
    name = link.removeprefix("oss://")
    assert store.upload(name, "account", I2V, NOW, [b"two"]) is False
    (kept,) = (store.folder / "uploads").iterdir()
    assert kept.read_bytes() == b"one"


def test_an_upload_whose_file_is_gone_cannot_be_downloaded(store: Store) -> None:
    link = put(store, saved(quartered()), "a.png", I2V)
    store.uploaded_file(link.removeprefix("oss://")).unlink()
    refused = _refusal(store, _document(I2V, img_url=link))
    assert refused
    assert refused[1:] == (
        "InvalidParameter.DataInspection",
        "Unable to download the media resource during the data inspection process.",
    )


def test_the_films_of_these_tests_are_as_long_as_they_say() -> None:
    with av.open(io.BytesIO(film(2)), "r") as container:
        assert container.duration == 2_000_000
