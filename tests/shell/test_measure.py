"""What a clip's boxes say of its length, frames and sound: as PyAV says, or nothing, and never without end."""

import io
import math
import os
import struct
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from functools import cache, partial
from pathlib import Path

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import corpus
from corpus import FTYP, box
from rawgenai import media
from rawgenai.emulator.render import draw
from rawgenai.media import Measured, measure


def measured(folder: Path, data: bytes) -> Measured:
    (folder / "clip.mp4").write_bytes(data)
    return measure(str(folder / "clip.mp4"))


def by_av(data: bytes) -> Measured:
    """What PyAV says of the same; its frames are counted, not believed."""
    with av.open(io.BytesIO(data), "r") as container:
        (video,) = container.streams.video
        assert video.average_rate is not None
        sound = bool(container.streams.audio)
        frames = sum(packet.size > 0 for packet in container.demux(video))
        seconds = frames / float(video.average_rate)
        return Measured(seconds, float(video.average_rate), video.width, video.height, sound)


@cache
def made(rate: Fraction, frames: int, bframes: int = 0) -> bytes:
    """A clip of 64 x 48 pixels at any frame rate."""
    file = io.BytesIO()
    with av.open(file, "w", "mp4") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        if bframes:
            stream.codec_context.max_b_frames = bframes
        for number in range(frames):
            frame = av.VideoFrame(64, 48, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([number % 256]) * plane.buffer_size)
            frame.pts = number
            frame.time_base = 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


# --- as PyAV says -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("sound", [True, False], ids=["sound", "silent"])
@pytest.mark.parametrize(
    ("width", "height", "seconds"),
    [(480, 270, 2), (832, 480, 5), (1280, 720, 1), (720, 1280, 1.5), (624, 624, 0.51), (1920, 1080, 0.1)],
)
def test_a_clip_of_the_emulator_is_measured_as_it_was_drawn(
    tmp_path: Path, width: int, height: int, seconds: float, sound: bool
) -> None:
    path = tmp_path / "clip.mp4"
    draw(
        path, width=width, height=height, seconds=seconds, sound=sound,
        prompt="海浪", model="wan2.6-t2v", mode="t2v", task_id="0385dc79", folders=[],
    )  # fmt: skip
    found = measure(str(path))
    assert found[1:] == (30, width, height, sound)
    assert abs(found.seconds - seconds) <= 1 / 30
    said = by_av(path.read_bytes())
    assert found[1:] == said[1:]
    assert abs(found.seconds - said.seconds) <= 1 / 30
    with av.open(str(path)) as container:
        assert container.duration is not None
        assert abs(found.seconds - container.duration / av.time_base) <= 1 / 30


RATES = [Fraction(24), Fraction(25), Fraction(30), Fraction(16), Fraction(30000, 1001), Fraction(24000, 1001)]


@pytest.mark.parametrize("rate", [*RATES, Fraction(60), Fraction(1)], ids=str)
def test_any_frame_rate_is_measured_exactly(tmp_path: Path, rate: Fraction) -> None:
    found = measured(tmp_path, made(rate, 31))
    assert found.seconds == pytest.approx(float(31 / rate))
    assert found[1:] == (float(rate), 64, 48, False)


VARIANTS: dict[str, Callable[[], bytes]] = {
    "B-frames and an edit list": lambda: made(Fraction(24), 30, bframes=2),
    "the index first": lambda: corpus.clip(2, movflags="faststart"),
    "MPEG-4 video": lambda: corpus.clip(2),
    "a single frame": lambda: made(Fraction(24), 1),
    "QuickTime": lambda: corpus.clip(2, "mov"),
    "an open end": corpus.GOOD["open-end.mp4"].make,
}


@pytest.mark.parametrize("name", VARIANTS)
def test_whoever_wrote_it_pyav_measures_the_same(tmp_path: Path, name: str) -> None:
    data = VARIANTS[name]()
    found, said = measured(tmp_path, data), by_av(data)
    assert found.seconds == pytest.approx(said.seconds)
    assert found[1:] == said[1:]


@pytest.mark.parametrize("name", VARIANTS)
def test_a_look_tells_the_frame_rate_that_is_measured(name: str) -> None:
    data = VARIANTS[name]()
    assert media.look_at_bytes(data).fps == by_av(data).fps


def test_a_video_whose_index_tells_no_frame_rate_is_looked_at_all_the_same() -> None:
    look = media.look_at_bytes(corpus.GOOD["fragmented.mp4"].make())
    assert (look.kind, look.fps) == ("video", None)


def test_neither_pyav_nor_pillow_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = made(Fraction(24), 30)
    for name in ("av", "PIL"):
        monkeypatch.setitem(sys.modules, name, None)
    assert measured(tmp_path, data).fps == 24


# --- boxes by hand ------------------------------------------------------------------------------------------------


def stts(*rows: tuple[int, int], count: int | None = None) -> bytes:
    body = b"".join(struct.pack(">II", *row) for row in rows)
    return box(b"stts", struct.pack(">4xI", len(rows) if count is None else count) + body)


def hdlr(kind: bytes) -> bytes:
    return box(b"hdlr", bytes(8) + kind + bytes(13))


def mdhd(scale: int = 600, length: int = 3000, *, version: int = 0) -> bytes:
    if version:
        return box(b"mdhd", b"\1" + bytes(19) + struct.pack(">IQ", scale, length) + bytes(4))
    return box(b"mdhd", bytes(12) + struct.pack(">II", scale, length) + bytes(4))


def stsd(width: int = 64, height: int = 48) -> bytes:
    entry = box(b"avc1", bytes(24) + struct.pack(">HH", width, height) + bytes(50))
    return box(b"stsd", struct.pack(">4xI", 1) + entry)


TIMES = stts((150, 20))


def trak(*, time: bytes = mdhd(), kind: bytes = b"vide", size: bytes = stsd(), times: bytes = TIMES) -> bytes:
    """A track of five seconds, 30 frames a second."""
    return box(b"trak", box(b"mdia", time + hdlr(kind) + box(b"minf", box(b"stbl", size + times))))


def movie(*tracks: bytes, more: bytes = b"") -> bytes:
    return FTYP + box(b"moov", b"".join(tracks) + more) + box(b"mdat", bytes(64))


GOOD = Measured(5.0, 30.0, 64, 48, sound=False)
SOUND = trak(kind=b"soun", size=box(b"stsd"), times=box(b"stts"), time=box(b"mdhd"))
RIGHT: dict[str, tuple[bytes, Measured]] = {
    "plain": (movie(trak()), GOOD),
    "with sound behind": (movie(trak(), SOUND), GOOD._replace(sound=True)),
    "with sound in front": (movie(SOUND, trak()), GOOD._replace(sound=True)),
    "with subtitles": (movie(trak(kind=b"text"), trak()), GOOD),
    "two pictures, of which the first counts": (movie(trak(), trak(size=stsd(1, 1), times=stts((150, 40)))), GOOD),
    "64 bits of time": (movie(trak(time=mdhd(version=1))), GOOD),
    "a header that does not say how long": (movie(trak(time=mdhd(600, 0))), GOOD),
    "a header of unknown length": (movie(trak(time=mdhd(600, 2**32 - 1))), GOOD),
    "a header of unknown length in 64 bits": (movie(trak(time=mdhd(600, 2**64 - 1, version=1))), GOOD),
    "a header that rounds": (movie(trak(time=mdhd(600, 2980))), GOOD),
    "frames of different length": (movie(trak(times=stts((100, 10), (50, 40)))), GOOD),
    "a row for each frame": (movie(trak(times=stts(*[(1, 20)] * 150))), GOOD),
    "other boxes between": (movie(box(b"free"), trak(), box(b"udta", bytes(9)), more=box(b"free")), GOOD),
    "the last box without size": (FTYP + movie(trak())[len(FTYP) : -72] + box(b"mdat", bytes(64), 0), GOOD),
    "an index without size at the end": (FTYP + box(b"mdat") + box(b"moov", trak(), 0), GOOD),
    "sizes of 64 bits": (FTYP + struct.pack(">I4sQ", 1, b"moov", 16 + len(trak())) + trak(), GOOD),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_the_boxes_say_is_added_up(tmp_path: Path, name: str) -> None:
    data, found = RIGHT[name]
    assert measured(tmp_path, data) == found


def _without(name: bytes) -> bytes:
    return movie(trak()).replace(name, b"none", 1)


NEEDED = ("moov", "trak", "mdia", "mdhd", "hdlr", "minf", "stbl", "stts", "stsd")
WRONG: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "not an MP4"),
    "text": (lambda: b"<html>Log in</html>", "not an MP4"),
    "a picture": (lambda: corpus.picture("PNG"), "not an MP4"),
    "no more than a head": (lambda: FTYP, "no 'moov' box"),
    "no track": (movie, "no video track"),
    "sound alone": (lambda: movie(SOUND), "no video track"),
    **{f"no {name}": (partial(_without, name.encode()), f"no '{name}' box|no video track") for name in NEEDED},
    "in fragments": (corpus.GOOD["fragmented.mp4"].make, "in fragments"),
    "an index, and fragments behind it": (lambda: movie(trak(), more=box(b"mvex")), "in fragments"),
    "a timescale of 0": (lambda: movie(trak(time=mdhd(0))), "says nothing"),
    "no frames": (lambda: movie(trak(times=stts())), "says nothing"),
    "frames without length": (lambda: movie(trak(times=stts((150, 0)))), "says nothing"),
    "a row of no frames": (lambda: movie(trak(times=stts((0, 20)))), "says nothing"),
    "no width": (lambda: movie(trak(size=stsd(0, 48))), "says nothing"),
    "no height": (lambda: movie(trak(size=stsd(64, 0))), "says nothing"),
    "two lengths": (lambda: movie(trak(time=mdhd(600, 30_000))), "two different lengths"),
    "a length of 2^63": (lambda: movie(trak(time=mdhd(600, 2**63, version=1))), "two different lengths"),
    "more rows than there are": (lambda: movie(trak(times=stts((150, 20), count=2))), "cut off"),
    "2^32 rows": (lambda: movie(trak(times=stts((150, 20), count=2**32 - 1))), "cut off"),
    "rows of which there are too many": (lambda: movie(trak(times=stts(*[(1, 20)] * 140_000))), "garbled"),
    "a short mdhd": (lambda: movie(trak(time=box(b"mdhd", bytes(4)))), "too short"),
    "an empty mdhd": (lambda: movie(trak(time=box(b"mdhd"))), "too short"),
    "a short stts": (lambda: movie(trak(times=box(b"stts"))), "cut off"),
    "a short stsd": (lambda: movie(trak(size=box(b"stsd", bytes(8)))), "too short"),
    "an empty hdlr": (lambda: movie(box(b"trak", box(b"mdia", box(b"hdlr")))), "no video track"),
    "a box smaller than its head": (lambda: movie(box(b"trak", size=7)), "ends beyond"),
    "a box of 2^63": (lambda: FTYP + box(b"moov", trak(), 2**63), "ends beyond"),
    "a box of 2^64 - 1": (lambda: FTYP + box(b"moov", trak(), 2**64 - 1), "ends beyond"),
    "a track of 2^63": (lambda: movie(box(b"trak", trak(), 2**63)), "ends beyond"),
    "a track beyond its movie": (lambda: movie(box(b"trak", trak(), 10_000)), "ends beyond"),
    "boxes in boxes": (partial(corpus.nested, 10_000), "no video track"),
    "boxes without end": (lambda: FTYP + box(b"free") * 300_000, "more than 10000 boxes"),
    "tracks without end": (lambda: movie(*[trak(kind=b"text")] * 9_000, trak()), "garbled"),
    "cut off": (lambda: corpus.clip(2, movflags="faststart")[:-1], "ends beyond"),
    "cut off before its index": (lambda: made(Fraction(24), 30)[:2000], "no 'moov' box|ends beyond"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_say_is_not_guessed_at_and_costs_little(tmp_path: Path, name: str) -> None:
    make, why = WRONG[name]
    data = make()
    start = time.process_time()
    with pytest.raises(ValueError, match=why) as caught:
        measured(tmp_path, data)
    assert time.process_time() - start < 1
    assert len(str(caught.value)) < 120


def test_no_more_than_a_megabyte_is_read_at_once_of_a_file_of_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(movie(trak())[:-72] + box(b"mdat", b"", 2**33))
    os.truncate(path, path.stat().st_size + 2**33 - 16)
    read: list[int] = []
    dry = media._Dry.read

    def counted(self: media._Dry, count: int) -> bytes:
        read.append(count)
        return dry(self, count)

    monkeypatch.setattr(media._Dry, "read", counted)
    assert measure(str(path)) == GOOD
    assert sum(read) < 2000
    assert len(read) < 50
    path.unlink()  # before conftest reads it through, in search of the key


@pytest.mark.parametrize("cut", range(0, 600, 7))
def test_a_clip_that_is_cut_anywhere_is_not_measured(tmp_path: Path, cut: int) -> None:
    data = movie(trak(), SOUND)
    assert measured(tmp_path, data).sound
    with pytest.raises(ValueError, match="it "):
        measured(tmp_path, data[: cut % len(data)])


HEX = movie(trak(), SOUND)
PLACE = st.integers(0, len(HEX) - 5)
WORD = st.sampled_from([0, 1, 7, 8, 16, 2**16, 2**31, 2**32 - 1]) | st.integers(0, 2**32 - 1)


@settings(max_examples=400)
@given(st.lists(st.tuples(PLACE, WORD), min_size=1, max_size=3))
def test_whatever_word_is_garbled_it_is_measured_or_refused(
    tmp_path_factory: pytest.TempPathFactory, words: list[tuple[int, int]]
) -> None:
    data = bytearray(HEX)
    for place, word in words:
        struct.pack_into(">I", data, place, word)
    path = tmp_path_factory.getbasetemp() / "garbled.mp4"
    path.write_bytes(data)
    try:
        found = measure(str(path))
    except ValueError:
        return
    assert math.isfinite(found.seconds)
    assert found.seconds > 0
    assert found.fps > 0
    assert found.width > 0 < found.height


def test_a_file_that_is_not_there_is_an_error_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        measure(str(tmp_path / "none.mp4"))
    with pytest.raises(OSError, match="directory"):
        measure(str(tmp_path))
