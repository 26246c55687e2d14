"""Films: every frame in its place, sound in step, what differs encoded and said; the last frame; nothing half done."""

import io
import os
import random
import re
import time
from array import array
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import pytest
from PIL import Image

from footage import (
    LEFT,
    OVER,
    RATE,
    RIGHT,
    beeps,
    ended,
    hashes,
    heard,
    loudness,
    make,
    marks,
    remuxed,
    shades,
    shift,
    stretched,
    times,
    track,
    turned,
)
from rawgenai import film, media
from rawgenai.emulator.render import BARS, draw
from rawgenai.errors import RawgenaiError
from rawgenai.film import pictures, planning, probing, sounds

pytestmark = pytest.mark.slow  # clips are encoded: half a minute; tests/cli/test_video.py joins some by default


def near(found: Sequence[float], expected: Sequence[float], within: float) -> None:
    assert len(found) == len(expected), (found, expected)
    off = [a - b for a, b in zip(found, expected, strict=True)]
    assert max(map(abs, off), default=0) <= within, off


def refused(call: Callable[[], Any]) -> tuple[str, str]:
    with pytest.raises(RawgenaiError) as caught:
        call()
    return caught.value.code, caught.value.message


# --- Copied --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_six_shots_of_the_emulator_are_thirty_seconds_frame_by_frame_in_step(tmp_path: Path) -> None:
    shots = []
    for number in range(6):
        path = tmp_path / f"{number}.mp4"
        draw(
            path, width=832, height=480, seconds=5, sound=True, prompt=f"镜头 {number}",
            model="wan2.6-t2v", mode="t2v", task_id=f"task-{number}", folders=[],
        )  # fmt: skip
        shots.append(str(path))
    made = film.join(shots, str(tmp_path / "film.mp4"))
    assert (made.picture, made.sound, made.reasons) == ("copied", "copied", [])
    assert abs(made.seconds - 30) <= 1 / 30
    assert hashes(made.file) == [digest for shot in shots for digest in hashes(shot)]
    near(times(made.file), [number / 30 for number in range(900)], 0.0001)
    whole, shot = loudness(made.file, RATE), loudness(shots[0], RATE)
    assert abs(heard(made.file) - 30) <= 0.001
    late = [shift(whole, shot, number * 5 * RATE) for number in range(6)]
    near(late, [0] * 6, 0.012)
    assert late[0] == 0


@pytest.mark.parametrize("bframes", [0, 2, 3])
def test_ten_clips_keep_their_frames_their_times_and_their_sound_in_step(tmp_path: Path, bframes: int) -> None:
    clips = [make(tmp_path / f"{mark}.mp4", mark=mark, bframes=bframes) for mark in range(10)]
    made = film.join(clips, str(tmp_path / "film.mp4"))
    assert (made.picture, made.sound, made.reasons) == ("copied", "copied", [])
    assert made.seconds == pytest.approx(17)
    assert marks(made.file) == [(mark, number) for mark in range(10) for number in range(51)]
    assert hashes(made.file) == [digest for clip in clips for digest in hashes(clip)]
    near(times(made.file), [number / 30 for number in range(510)], 0.0001)
    near(beeps(made.file), [clip * 1.7 + second for clip in range(10) for second in (0, 1)], 0.012)
    assert abs(heard(made.file) - 17) <= 0.001


def test_clips_that_reorder_frames_further_follow_those_that_do_not(tmp_path: Path) -> None:
    """Such clips differ in their settings too, unless somebody wrote them alike: then the times are mended."""
    probes = [probing.probe(make(tmp_path / f"{n}.mp4", mark=n, bframes=n, sound=None)) for n in (0, 3, 0)]
    alike = [probe._replace(picture=probes[0].picture) for probe in probes]
    film._write(str(tmp_path / "film.mp4"), planning.plan(alike, None, 0, lambda _: None), lambda *_: None)
    with av.open(str(tmp_path / "film.mp4")) as container:
        packets = [(packet.dts, packet.pts) for packet in container.demux(video=0) if packet.dts is not None]
    assert len(packets) == 153
    assert all(a < b for (a, _), (b, _) in pairwise(packets))
    assert sorted(pts or 0 for _, pts in packets) == [512 * number for number in range(153)]


@pytest.mark.parametrize("crossfade", [0, 0.5])
def test_one_clip_alone_is_a_film(tmp_path: Path, crossfade: float) -> None:
    clip = make(tmp_path / "a.mp4")
    made = film.join([clip], str(tmp_path / "film.mp4"), crossfade=crossfade)
    assert hashes(made.file) == hashes(clip)
    near(beeps(made.file), [0, 1], 0.003)


def test_the_same_clip_may_come_twice(tmp_path: Path) -> None:
    clip = make(tmp_path / "a.mp4", sound=None)
    made = film.join([clip, clip], str(tmp_path / "film.mp4"))
    assert (made.picture, made.sound) == ("copied", "none")
    assert marks(made.file) == [(0, number) for number in range(51)] * 2
    assert not film.info(made.file).sound


@pytest.mark.parametrize("silent", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 2)])
def test_a_clip_without_sound_is_silent_and_the_others_stay_in_step(tmp_path: Path, silent: tuple[int, ...]) -> None:
    clips = [make(tmp_path / f"{n}.mp4", mark=n, sound=None if n in silent else "aac") for n in range(3)]
    made = film.join(clips, str(tmp_path / "film.mp4"))
    assert (made.picture, made.sound) == ("copied", "copied")
    assert marks(made.file) == [(mark, number) for mark in range(3) for number in range(51)]
    near(beeps(made.file), [n * 1.7 + second for n in range(3) if n not in silent for second in (0, 1)], 0.012)
    assert abs(heard(made.file) - 5.1) <= 0.001


@pytest.mark.parametrize("length", [1.2, 1.69, 1.9, 2.5])
def test_sound_that_is_shorter_or_longer_than_its_picture_moves_no_other(tmp_path: Path, length: float) -> None:
    clips = [make(tmp_path / "a.mp4", sound_seconds=length), make(tmp_path / "b.mp4", mark=1)]
    made = film.join([clips[0], clips[0], clips[1]], str(tmp_path / "film.mp4"))
    assert made.sound == "copied"
    near(beeps(made.file), [n * 1.7 + second for n in range(3) for second in (0, 1)], 0.012)


@pytest.mark.parametrize("late", [0.0, 0.25])
def test_a_beginning_is_as_clean_as_in_the_clip_itself(tmp_path: Path, late: float) -> None:
    """The packet that prepares the decoder comes along: what a second clip sounds like does not depend on the first."""
    quiet, loud = make(tmp_path / "a.mp4", late=5), make(tmp_path / "b.mp4", late=late)
    made = film.join([quiet, loud], str(tmp_path / "film.mp4"))
    whole, part = loudness(made.file, RATE), loudness(loud, RATE)
    begin = round(1.7 * RATE)
    lags = [lag for lag in range(-512, 513) if whole[begin + lag : begin + lag + 24_000] == part[:24_000]]
    assert len(lags) == 1


def test_a_fragmented_clip_is_copied_too(tmp_path: Path) -> None:
    clip = make(tmp_path / "a.mp4", late=0.3)
    fragments = remuxed(clip, tmp_path / "b.mp4", movflags="frag_keyframe+empty_moov+default_base_moof")
    assert film.info(fragments).seconds == pytest.approx(1.7)
    made = film.join([fragments, clip, fragments], str(tmp_path / "film.mp4"))
    assert made.picture == "copied"
    assert marks(made.file) == [(0, number) for number in range(51)] * 3
    near(times(made.file), [number / 30 for number in range(153)], 0.0001)
    # Without an edit list all of it begins two frames late, and the sound goes by the picture.
    near(beeps(made.file), [clip + second + 0.3 for clip in (0, 1.7, 3.4) for second in (0, 1)], 0.012)


@pytest.mark.parametrize(("late", "heard_at"), [((0, 0.2), [0.2, 1.2]), ((0.2, 0), [0.8]), ((0.5, 0.4), [0.9])])
@pytest.mark.parametrize("layout", ["stereo", "mono"])
def test_sound_that_does_not_begin_with_its_picture_goes_by_it(
    tmp_path: Path, late: tuple[float, float], heard_at: list[float], layout: str
) -> None:
    clip = remuxed(make(tmp_path / "a.mp4"), tmp_path / "b.mp4", picture_late=late[0], sound_late=late[1])
    made = film.join([clip, make(tmp_path / "c.mp4", layout=layout), clip], str(tmp_path / "film.mp4"))
    assert made.sound == ("copied" if layout == "stereo" else "encoded")
    assert len(marks(made.file)) == 153
    near(beeps(made.file), [*heard_at, 1.7, 2.7, *(3.4 + at for at in heard_at)], 0.012)


def test_sound_that_an_edit_list_ends_is_silent_from_there(tmp_path: Path) -> None:
    clip = make(tmp_path / "a.mp4", late=0.3)
    cut = ended(clip, tmp_path / "b.mp4", b"soun", 0.8)
    assert beeps(cut) == beeps(clip)[:1]
    made = film.join([cut, clip], str(tmp_path / "film.mp4"))
    assert (made.picture, made.sound) == ("copied", "copied")
    near(beeps(made.file), [0.3, 2, 3], 0.012)


@pytest.mark.parametrize("quarter", [LEFT, RIGHT, OVER])
def test_turned_clips_that_are_alike_are_copied_and_stay_turned(
    tmp_path: Path, quarter: tuple[int, int, int, int]
) -> None:
    clip = turned(make(tmp_path / "a.mp4", sound=None), tmp_path / "b.mp4", quarter)
    made = film.join([clip, clip], str(tmp_path / "film.mp4"))
    assert made.picture == "copied"
    assert media.matrix(made.file) == media.matrix(clip) != media.matrix(str(tmp_path / "a.mp4"))
    assert film.info(made.file)[1:3] == film.info(clip)[1:3]


def test_the_index_comes_first_and_the_boxes_are_whole(tmp_path: Path) -> None:
    made = film.join([make(tmp_path / "a.mp4")], str(tmp_path / "film.mp4"))
    data = Path(made.file).read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert media.mp4_fault(made.file) is None
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["a.mp4", "film.mp4"]


DENSE: dict[str, dict[str, Any]] = {
    "reordered": {"bframes": 3},
    "silent": {"sound": None},
    "many packets of sound": {"rate": 96_000, "fps": 8},
    "one frame in a key frame's group": {"bframes": 0, "options": {"g": "1"}},
}


@pytest.mark.parametrize("dense", DENSE)
def test_the_room_for_an_index_holds_it(dense: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = make(tmp_path / "a.mp4", **DENSE[dense])
    monkeypatch.setattr(film, "INDEX_HEADERS", 2048)  # so that the entries count
    written: list[str] = []
    write = film._write

    def writing(*arguments: Any, **options: Any) -> None:
        written.extend(options)
        write(*arguments, **options)

    monkeypatch.setattr(film, "_write", writing)
    film.join([clip] * 40, str(tmp_path / "film.mp4"))
    assert written == ["moov_size"]
    monkeypatch.setattr(film, "INDEX_ENTRY", 2)
    film.join([clip] * 40, str(tmp_path / "film.mp4"))
    assert written == ["moov_size", "moov_size", "movflags"]


def test_a_clip_whose_codec_has_large_settings_is_joined_with_the_index_first(tmp_path: Path) -> None:
    with av.open(make(tmp_path / "a.mp4", codec="libx265", sound=None)) as source:
        picture = source.streams.video[0]
        with av.open(str(tmp_path / "b.mp4"), "w") as target:
            stream = target.add_stream_from_template(picture, opaque=True)
            settings = bytearray(picture.codec_context.extradata or b"")
            settings[22] += 1  # so many kinds of units follow; of the last one, 39, there are two here
            unit = b"\x4e\x01\x05" + 60_000 * b"U"
            settings += bytes([39, 0, 2]) + 2 * (len(unit).to_bytes(2) + unit)
            stream.codec_context.extradata = bytes(settings)
            for packet in source.demux(picture):
                if packet.dts is not None:
                    packet.stream = stream
                    target.mux(packet)
    made = film.join([str(tmp_path / "b.mp4")] * 2, str(tmp_path / "film.mp4"))
    assert made.picture == "copied"
    data = Path(made.file).read_bytes()
    assert len(data) > 2 * 60_000
    assert data.index(b"moov") < data.index(b"mdat")


# --- Encoded -------------------------------------------------------------------------------------------------------

SIZES = [(256, 144), (128, 72), (512, 288)]
DIFFERENT: dict[str, tuple[dict[str, Any], str]] = {  # how the second clip is made -> what is said of it
    "smaller": ({"size": SIZES[1]}, "has 128*72 pixels, not 256*144"),
    "larger": ({"size": SIZES[2]}, "has 512*288 pixels, not 256*144"),
    "slower": ({"fps": 24, "frames": 41}, "has 24 frames a second, not 30"),
    "faster": ({"fps": 60, "frames": 102}, "has 60 frames a second, not 30"),
    "NTSC": ({"fps": Fraction(30_000, 1001)}, "has 29.97 frames a second, not 30"),
    "codec": ({"codec": "mpeg4", "options": {"qscale": "2"}}, "is mpeg4, not h264"),
    "settings": ({"options": {"x264-params": "cabac=0:8x8dct=0:weightp=0:ref=4"}}, "was encoded with other settings"),
}


@pytest.mark.parametrize(("change", "said"), DIFFERENT.values(), ids=DIFFERENT)
def test_what_differs_is_encoded_like_the_first_clip_and_said(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    one, two = make(tmp_path / "a.mp4"), make(tmp_path / "b.mp4", mark=1, **change)
    warnings: list[str] = []
    made = film.join([one, two, one], str(tmp_path / "film.mp4"), warn=warnings.append)
    assert (made.picture, made.sound) == ("encoded", "copied")
    assert made.reasons == [f"{two!r} {said}"]
    assert warnings == [f"the picture is encoded anew: {two!r} {said}"]
    found = film.info(made.file)
    assert (found.width, found.height, found.fps, found.codec) == (256, 144, 30, "h264")
    length = film.info(two).seconds
    assert abs(made.seconds - (3.4 + length)) <= 1 / 30
    seen = marks(made.file)
    count = len(seen) - 102
    assert abs(count / 30 - length) <= 1 / 30
    assert seen[:51] == seen[-51:] == [(0, number) for number in range(51)]
    between = [number for mark, number in seen[51:-51] if mark == 1]
    ratio = change.get("fps", 30) / 30
    assert len(between) == count
    assert all(abs(number - place * ratio) <= 1 for place, number in enumerate(between))
    assert between == sorted(between)
    assert between[-1] >= change.get("frames", 51) - max(1, ratio)
    cut = 1.7 + count / 30
    near(beeps(made.file), [0, 1, 1.7, 2.7, cut, cut + 1], 0.014)


SOUNDS: dict[str, tuple[dict[str, Any], str]] = {
    "rate": ({"rate": 44_100}, "has sound at 44100 Hz, not 48000"),
    "mono": ({"layout": "mono"}, "has mono sound, not stereo"),
    "codec": ({"sound": "libmp3lame"}, "has mp3 sound, not aac"),
}


@pytest.mark.parametrize(("change", "said"), SOUNDS.values(), ids=SOUNDS)
@pytest.mark.parametrize("first", [False, True])
def test_where_only_the_sound_differs_the_picture_is_copied(
    tmp_path: Path, change: dict[str, Any], said: str, first: bool
) -> None:
    plain, other = make(tmp_path / "a.mp4"), make(tmp_path / "b.mp4", mark=1, **change)
    clips = [other, plain] if first else [plain, other]
    made = film.join([*clips, make(tmp_path / "c.mp4", sound=None)], str(tmp_path / "film.mp4"))
    assert (made.picture, made.sound) == ("copied", "encoded")
    assert len(made.reasons) == 1
    assert first or made.reasons == [f"{other!r} {said}"]
    assert hashes(made.file) == [digest for clip in (*clips, str(tmp_path / "c.mp4")) for digest in hashes(clip)]
    near(beeps(made.file), [0, 1, 1.7, 2.7], 0.004)
    assert abs(heard(made.file) - 5.1) <= 0.001


CONFIGURATIONS = [  # AudioSpecificConfig in hex, and whether it is AAC-LC alone
    ("1190", True), ("119056e500", True), ("1210", True), ("1188", True), ("139056e5a0", False), ("2b92080", False),
    ("1194", False), ("0990", False), ("", False), ("11", False), ("eb098800", False), ("1190aabbcc", False),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "plain"), CONFIGURATIONS)
def test_only_plain_aac_is_copied(settings: str, plain: bool) -> None:
    data = bytes.fromhex(settings.ljust(len(settings) + len(settings) % 2, "0"))
    assert probing.Sound("aac", RATE, "stereo", data).plain is plain
    assert not probing.Sound("mp3", RATE, "stereo", bytes.fromhex("1190")).plain


def test_sound_that_silence_cannot_be_put_into_is_encoded(tmp_path: Path) -> None:
    clip = make(tmp_path / "a.mp4", sound="libmp3lame")
    made = film.join([clip, make(tmp_path / "b.mp4", sound=None), clip], str(tmp_path / "film.mp4"))
    assert (made.picture, made.sound) == ("copied", "encoded")
    assert made.reasons == [f"{clip!r} has mp3 sound, not plain AAC-LC"]
    near(beeps(made.file), [0, 1, 3.4, 4.4], 0.012)


def test_a_stretched_clip_is_shown_as_wide_as_it_asks_for(tmp_path: Path) -> None:
    plain = make(tmp_path / "a.mp4", size=(128, 144), sound=None)
    narrow = make(tmp_path / "b.mp4", size=(128, 144), sound=None, grey=180)
    wide = stretched(narrow, tmp_path / "c.mp4", (128, 144), (256, 144))
    assert film.info(wide)[1:3] == (256, 144)
    made = film.join([plain, wide], str(tmp_path / "film.mp4"))
    column = [shades(made.file, (64, y))[-1] for y in (2, 30, 40, 72, 104, 114, 141)]
    assert [shade > 100 for shade in column] == [False, False, True, True, True, False, False]


ENCODERS = dict(zip(planning.COPIED, ("libx264", "libx265", "libsvtav1", "libvpx-vp9"), strict=True))


@pytest.mark.parametrize("codec", ["mpeg2video", "mpeg4"])
@pytest.mark.parametrize("count", [1, 2])
def test_what_not_every_player_knows_is_encoded(tmp_path: Path, codec: str, count: int) -> None:
    clip = make(tmp_path / "a.mp4", codec=codec, sound=None)
    made = film.join([clip] * count, str(tmp_path / "film.mp4"))
    assert made.reasons == [f"{clip!r} is {codec}, which not every player knows"]
    assert film.info(made.file).codec == "h264"


@pytest.mark.parametrize(("codec", "encoder"), ENCODERS.items(), ids=ENCODERS)
@pytest.mark.parametrize("count", [1, 2])
def test_what_players_know_is_copied(tmp_path: Path, codec: str, encoder: str, count: int) -> None:
    clip = make(tmp_path / "a.mp4", codec=encoder, frames=10, sound=None)
    made = film.join([clip] * count, str(tmp_path / "film.mp4"))
    assert (made.picture, made.reasons, film.info(made.file).codec) == ("copied", [], codec)
    assert len(times(made.file)) == 10 * count


def test_another_shape_is_shown_whole_between_bars(tmp_path: Path) -> None:
    wide, tall = make(tmp_path / "a.mp4"), make(tmp_path / "b.mp4", mark=1, size=(144, 256), grey=180, sound=None)
    made = film.join([wide, tall], str(tmp_path / "film.mp4"))
    with av.open(made.file) as container:
        *_, last = container.decode(video=0)
    luma = Image.frombuffer("L", (256, 144), bytes(last.planes[0]), "raw", "L", last.planes[0].line_size, 1).convert(
        "L"
    )
    row = luma.tobytes()[72 * 256 :][:256]
    inside = [x for x, shade in enumerate(row) if shade > 150]
    assert abs(len(inside) - 81) <= 3
    assert abs(inside[0] + inside[-1] - 255) <= 3
    assert {row[2], row[-3]} <= {15, 16, 17}
    assert bytes(last.planes[1])[0] in (127, 128, 129)


@pytest.mark.parametrize("quarter", [LEFT, RIGHT, OVER])
def test_a_turned_clip_among_others_is_encoded_upright(tmp_path: Path, quarter: tuple[int, int, int, int]) -> None:
    upright = make(tmp_path / "a.mp4", size=(256, 256), sound=None)
    other = turned(upright, tmp_path / "b.mp4", quarter)
    made = film.join([upright, other], str(tmp_path / "film.mp4"))
    assert made.reasons == [f"{other!r} is turned another way"]
    film.last_frame(made.file, str(tmp_path / "film.png"))
    film.last_frame(other, str(tmp_path / "clip.png"))
    film.last_frame(upright, str(tmp_path / "upright.png"))
    shown, wanted, plain = (
        Image.open(tmp_path / f"{name}.png").convert("L").resize((16, 16)) for name in ("film", "clip", "upright")
    )
    assert apart(shown, wanted) < 6
    assert apart(shown, plain) > 20
    turn = {LEFT: Image.Transpose.ROTATE_90, RIGHT: Image.Transpose.ROTATE_270, OVER: Image.Transpose.ROTATE_180}
    assert apart(plain.transpose(turn[quarter]), wanted) < 3


def apart(one: Image.Image, two: Image.Image) -> float:
    """The mean difference of two grey pictures."""
    return sum(abs(a - b) for a, b in zip(one.tobytes(), two.tobytes(), strict=True)) / len(one.tobytes())


BT601, BT709 = 6, 1


@pytest.mark.parametrize(("film_is", "clip_is"), [(BT709, BT601), (BT601, BT709), (BT709, None), (None, BT709)])
def test_a_colour_stays_what_it_is_where_the_film_counts_colours_another_way(
    tmp_path: Path, film_is: int | None, clip_is: int | None
) -> None:
    one = make(tmp_path / "a.mp4", sound=None, grey=120, matrix=film_is)
    two = make(tmp_path / "b.mp4", sound=None, grey=120, chroma=(90, 200), matrix=clip_is, frames=20)
    made = film.join([one, two], str(tmp_path / "film.mp4"))
    assert made.picture == "encoded"
    film.last_frame(two, str(tmp_path / "b.png"))
    film.last_frame(made.file, str(tmp_path / "film.png"))
    wanted, found = (Image.open(tmp_path / f"{name}.png").tobytes()[:3] for name in ("b", "film"))
    assert max(abs(a - b) for a, b in zip(wanted, found, strict=True)) <= 4, (tuple(wanted), tuple(found))


def test_a_clip_that_an_edit_list_cuts_is_encoded_as_it_is_shown(tmp_path: Path) -> None:
    plain = make(tmp_path / "a.mp4")
    cut = remuxed(make(tmp_path / "b.mp4", mark=1), tmp_path / "c.mp4", picture_late=-1, sound_late=-1)
    made = film.join([plain, cut], str(tmp_path / "film.mp4"))
    assert (made.picture, made.reasons) == ("encoded", [f"{cut!r} is cut by an edit list"])
    assert marks(made.file) == [(0, number) for number in range(51)] + [(1, number) for number in range(30, 51)]
    near(beeps(made.file), [0, 1, 1.7], 0.014)


def test_a_film_of_encoded_clips_can_be_joined_again(tmp_path: Path) -> None:
    made = film.join([make(tmp_path / "a.mp4"), make(tmp_path / "b.mp4", size=SIZES[1])], str(tmp_path / "c.mp4"))
    again = film.join([made.file, made.file], str(tmp_path / "d.mp4"))
    assert (again.picture, again.sound) == ("copied", "copied")
    assert len(marks(again.file)) == 204


def test_the_encoder_is_not_bound_by_the_key_frames_of_the_clips(tmp_path: Path) -> None:
    clips = [make(tmp_path / f"{n}.mp4", grey=90, sound=None, size=size) for n, size in enumerate(SIZES)]
    made = film.join(clips, str(tmp_path / "film.mp4"))
    with av.open(made.file) as container:
        assert [packet.pts for packet in container.demux(video=0) if packet.is_keyframe] == [0]


# --- Crossfade -----------------------------------------------------------------------------------------------------


def test_a_crossfade_blends_pictures_and_shortens_the_film(tmp_path: Path) -> None:
    clips = [make(tmp_path / f"{shade}.mp4", grey=shade, frames=45, sound=None) for shade in (40, 200, 80)]
    made = film.join(clips, str(tmp_path / "film.mp4"), crossfade=0.5)
    assert (made.picture, made.sound, made.reasons) == ("encoded", "none", [])
    assert made.seconds == pytest.approx(3.5)
    found = shades(made.file)
    ramp = [round(40 + 160 * step / 15) for step in range(15)]
    back = [round(200 - 120 * step / 15) for step in range(15)]
    near(found, [40] * 30 + ramp + [200] * 15 + back + [80] * 30, 4)


def test_a_crossfade_blends_sound_in_step_with_the_picture(tmp_path: Path) -> None:
    clips = [make(tmp_path / f"{n}.mp4", mark=n, frames=60, rate=44_100 if n else RATE) for n in range(3)]
    made = film.join(clips, str(tmp_path / "film.mp4"), crossfade=0.5)
    assert made.seconds == pytest.approx(5)
    assert (made.picture, made.sound) == ("encoded", "encoded")
    # At 1.5 and 3.0 s a clip begins under the one before, and is not heard yet.
    near(beeps(made.file), [0, 1, 2.5, 4], 0.004)
    assert abs(heard(made.file) - 5) <= 0.001


def test_the_shares_of_a_fade_add_up(tmp_path: Path) -> None:
    old, new = array("f", [1.0] * 8).tobytes(), array("f", [0.0] * 8).tobytes()
    faded = [value for step in range(4) for value in array("f", sounds.faded(old, new, step / 4, 1 / 4))]
    assert faded == pytest.approx([1 - i / 32 for i in range(32)])


@pytest.mark.parametrize(("seconds", "fine"), [(0.8, True), (0.83, True), (0.9, False), (1.7, False), (60, False)])
def test_a_fade_that_does_not_fit_into_a_clip_is_refused(tmp_path: Path, seconds: float, fine: bool) -> None:
    clips = [make(tmp_path / f"{n}.mp4", sound=None, frames=51 if n == 1 else 99) for n in range(3)]
    out = tmp_path / "film.mp4"
    if fine:
        assert film.join(clips, str(out), crossfade=seconds).seconds == pytest.approx(8.3 - 2 * seconds, abs=1 / 15)
    else:
        code, message = refused(lambda: film.join(clips, str(out), crossfade=seconds))
        assert code == "invalid_usage"
        assert f"too short for a crossfade of {seconds:g} s" in message
        assert not out.exists()


# --- A sound track -------------------------------------------------------------------------------------------------


TRACKS = [("a.wav", "pcm_s16le", RATE), ("b.wav", "pcm_s16le", 22_050), ("c.wav", "pcm_s16le", 192_000),
          ("d.mp3", "libmp3lame", 44_100), ("e.m4a", "aac", RATE)]  # fmt: skip


@pytest.mark.parametrize(("name", "codec", "rate"), TRACKS, ids=[row[0] for row in TRACKS])
@pytest.mark.parametrize("seconds", [2.0, 9.0])
def test_a_sound_track_is_cut_to_the_film_or_followed_by_silence(
    tmp_path: Path, name: str, codec: str, rate: int, seconds: float
) -> None:
    clips = [make(tmp_path / f"{n}.mp4", mark=n, sound=None) for n in range(3)]
    made = film.join(clips, str(tmp_path / "film.mp4"), audio=track(tmp_path / name, seconds, codec, rate))
    assert (made.picture, made.sound, made.reasons) == ("copied", "encoded", [])
    assert hashes(made.file) == [digest for clip in clips for digest in hashes(clip)]
    near(beeps(made.file), [second + 0.3 for second in range(5) if second < min(seconds, 5)], 0.03)
    assert abs(heard(made.file) - 5.1) <= 0.001


ENDS = [("a.wav", "pcm_s16le", 2.0, 1), ("b.m4a", "aac", 2.0, 1), ("c.wav", "pcm_s16le", 9.0, 0.1),
        ("d.mp3", "libmp3lame", 9.0, 0.2), ("e.wav", "pcm_s16le", 3.35, 1)]  # fmt: skip


@pytest.mark.parametrize(("name", "codec", "seconds", "kept"), ENDS, ids=[row[0] for row in ENDS])
def test_a_sound_track_that_ends_before_the_film_is_told_of_also_where_its_header_promises_more(
    tmp_path: Path, name: str, codec: str, seconds: float, kept: float
) -> None:
    clip = make(tmp_path / "a.mp4", sound=None)
    sound = Path(track(tmp_path / name, seconds, codec))
    sound.write_bytes(sound.read_bytes()[: int(sound.stat().st_size * kept)])
    warnings: list[str] = []
    film.join([clip, clip], str(tmp_path / "film.mp4"), audio=str(sound), warn=warnings.append)
    told = [re.findall(r"ends after ([0-9.]+) s of the film's 3.4; the rest is silent$", text) for text in warnings]
    ends = seconds * kept
    assert [[float(said) for said in found] for found in told] == (
        [[pytest.approx(ends, abs=0.05)]] if ends < 3 else []
    )


def test_a_sound_track_of_a_header_alone_is_refused(tmp_path: Path) -> None:
    sound = Path(track(tmp_path / "a.wav", 2))
    data = sound.read_bytes()
    sound.write_bytes(data[: data.index(b"data") + 8])
    found = refused(lambda: film.check([], str(tmp_path / "film.mp4"), audio=str(sound)))
    assert found == ("invalid_audio", f"--audio {str(sound)!r} has no sound")


@pytest.mark.parametrize(("seconds", "said"), [
    (0, []), (0.01, ["--crossfade 0.01 is less than half a frame of 0.0333 s: nothing is faded"]), (0.02, []),
])  # fmt: skip
def test_a_fade_of_no_frame_is_told_of(tmp_path: Path, seconds: float, said: list[str]) -> None:
    clip = make(tmp_path / "a.mp4", frames=10, sound=None)
    warnings: list[str] = []
    made = film.join([clip, clip], str(tmp_path / "film.mp4"), crossfade=seconds, warn=warnings.append)
    assert (warnings, made.picture) == (said, "encoded" if seconds == 0.02 else "copied")


def test_a_sound_track_replaces_the_clips_own_and_says_so(tmp_path: Path) -> None:
    clip = make(tmp_path / "a.mp4", late=0.6)
    warnings: list[str] = []
    sound = track(tmp_path / "a.wav", 5)
    made = film.join([clip, clip], str(tmp_path / "film.mp4"), audio=sound, warn=warnings.append)
    assert warnings == ["the clips' own sound gives way to --audio"]
    near(beeps(made.file), [0.3, 1.3, 2.3, 3.3], 0.004)


def test_a_sound_track_lies_under_a_film_with_crossfades(tmp_path: Path) -> None:
    clips = [make(tmp_path / f"{n}.mp4", mark=n, sound=None) for n in range(2)]
    made = film.join(clips, str(tmp_path / "film.mp4"), audio=track(tmp_path / "a.wav", 9), crossfade=0.4)
    assert made.seconds == pytest.approx(3)
    assert abs(heard(made.file) - 3) <= 0.001
    near(beeps(made.file), [0.3, 1.3, 2.3], 0.004)


# --- The last frame ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [1, 2, 19, 20, 21, 41, 50])
@pytest.mark.parametrize("bframes", [0, 3])
def test_the_last_frame_is_the_last_one_that_is_shown(tmp_path: Path, frames: int, bframes: int) -> None:
    clip = make(tmp_path / "a.mp4", frames=frames, bframes=bframes)
    assert number_of(clip, tmp_path) == frames - 1


def number_of(clip: str, folder: Path) -> int:
    """The number of a clip's last frame, read from the PNG; its pixels are those of a plain decode of all."""
    out = film.last_frame(clip, str(folder / "last.png"))
    image = Image.open(out)
    assert (image.format, image.mode, image.size) == ("PNG", "RGB", (256, 144))
    with av.open(clip) as container:
        *_, last = container.decode(video=0)
    assert image.tobytes() == pictures.image_of(last).tobytes()
    luma = image.convert("L")
    found = [luma.getpixel(((2 * bit + 1) * 8, 72)) for bit in range(11)]
    return sum((isinstance(shade, int) and shade > 125) << bit for bit, shade in enumerate(found))


def test_an_edit_list_at_the_beginning_moves_no_last_frame(tmp_path: Path) -> None:
    cut = remuxed(make(tmp_path / "a.mp4"), tmp_path / "b.mp4", picture_late=-1, sound_late=-1)
    assert len(marks(cut)) == 21
    assert number_of(cut, tmp_path) == 50


@pytest.mark.parametrize("shown", [50, 45, 41, 40, 39, 30, 21, 20, 19, 12, 1])
@pytest.mark.parametrize("bframes", [0, 3])
def test_an_edit_list_that_ends_early_names_the_last_frame(tmp_path: Path, shown: int, bframes: int) -> None:
    clip = make(tmp_path / "a.mp4", frames=51, sound=None, bframes=bframes)
    cut = ended(clip, tmp_path / "b.mp4", b"vide", shown / 30)
    seen = marks(cut)
    assert abs(len(seen) - shown) <= 1
    assert number_of(cut, tmp_path) == seen[-1][1] == len(seen) - 1


def test_the_colours_of_the_last_frame_are_the_clips(tmp_path: Path) -> None:
    draw(
        tmp_path / "a.mp4", width=480, height=270, seconds=0.2, sound=False,
        prompt="色彩", model="wan2.6-t2v", mode="t2v", task_id="t", folders=[],
    )  # fmt: skip
    film.last_frame(str(tmp_path / "a.mp4"), str(tmp_path / "a.png"))
    image = Image.open(tmp_path / "a.png")
    bars = [image.getpixel((round((bar + 0.5) * 480 / 7), 1)) for bar in range(7)]
    assert all(max(abs(a - b) for a, b in zip(found, wanted, strict=True)) < 16  # type: ignore[arg-type]  # RGB
               for found, wanted in zip(bars, BARS, strict=True)), bars  # fmt: skip


def test_pixels_are_those_that_are_shown(tmp_path: Path) -> None:
    clip = turned(make(tmp_path / "a.mp4"), tmp_path / "b.mp4", LEFT)
    assert film.info(clip)[1:3] == (144, 256)


@pytest.mark.parametrize("name", ["cut.m4a", "cut.mp3"])
def test_a_sound_that_is_cut_off_is_told_as_the_sound(tmp_path: Path, name: str) -> None:
    whole = tmp_path / f"whole{name[-4:]}"
    sound = Path(track(whole, 2, "aac" if name.endswith("m4a") else "libmp3lame"))
    cut = tmp_path / name
    cut.write_bytes(sound.read_bytes()[: 3000 if name.endswith("m4a") else 600])
    code, message = refused(lambda: film.check([], str(tmp_path / "film.mp4"), audio=str(cut)))
    assert (code, message.startswith("--audio ")) == ("invalid_audio", True)


# --- Nothing half done ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["same", "dotted", "symlink", "hardlink", "audio"])
def test_an_output_that_is_an_input_is_refused_and_the_input_stays(tmp_path: Path, how: str) -> None:
    clip = Path(make(tmp_path / "a.mp4"))
    before, out, audio = clip.read_bytes(), tmp_path / "b.mp4", None
    if how == "same":
        out = clip
    elif how == "dotted":
        out = tmp_path / ".." / tmp_path.name / "a.mp4"
    elif how == "symlink":
        out.symlink_to(clip)
    elif how == "hardlink":
        out.hardlink_to(clip)
    else:
        audio = make(out)
    code, message = refused(lambda: film.join([str(clip)], str(out), audio=audio))
    assert code == "invalid_usage"
    assert "is an input" in message
    assert clip.read_bytes() == before


@pytest.mark.parametrize(("home", "at"), [(film, "_length_of"), (pictures, "timed"), (sounds, "_hush")])
@pytest.mark.parametrize("stop", [KeyboardInterrupt, MemoryError])
def test_whatever_stops_a_join_leaves_the_old_film_and_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: ModuleType, at: str, stop: type[BaseException]
) -> None:
    clip, out = make(tmp_path / "a.mp4"), tmp_path / "film.mp4"
    out.write_bytes(b"the old one")

    def halt(*_: Any) -> Any:
        raise stop

    monkeypatch.setattr(home, at, halt)
    with pytest.raises(stop):
        film.join([clip, clip], str(out), crossfade=0.1 if home is pictures else 0)
    assert out.read_bytes() == b"the old one"
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["a.mp4", "film.mp4"]


# --- The last frame as bytes -----------------------------------------------------------------------------------------


def noisy(path: Path, width: int, height: int) -> str:
    """A clip of a frame of noise in all its colours, without loss: what a PNG of it is largest of."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"qp": "0", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv444p"
        frame = av.VideoFrame(width, height, "yuv444p")
        for plane in frame.planes:
            plane.update(random.Random(1).randbytes(plane.buffer_size))
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return str(path)


MIB = 1024 * 1024


def test_the_worst_frame_that_the_api_makes_travels_inside_a_request(tmp_path: Path) -> None:
    data, mime = film.last_picture(noisy(tmp_path / "a.mp4", 1920, 1080), 10 * MIB)
    assert (mime, data[:4]) == ("image/png", b"\x89PNG")
    assert len(data) <= 7 * MIB  # spec.INLINE


def test_a_last_frame_of_too_many_bytes_is_a_jpeg_that_looks_the_same(tmp_path: Path) -> None:
    clip = make(tmp_path / "a.mp4")
    exact, _ = film.last_picture(clip, 10 * MIB)
    data, mime = film.last_picture(clip, len(exact) - 1)
    with Image.open(io.BytesIO(data)) as smaller, Image.open(io.BytesIO(exact)) as image:
        assert (mime, smaller.format, smaller.size) == ("image/jpeg", "JPEG", image.size)
        assert apart(smaller, image) < 2


def test_a_last_frame_is_the_same_as_bytes_and_as_a_file(tmp_path: Path) -> None:
    clip = make(tmp_path / "a.mp4")
    data, _ = film.last_picture(clip, 10 * MIB)
    assert Path(film.last_frame(clip, str(tmp_path / "last.png"))).read_bytes() == data
    assert film.last_picture(make(tmp_path / "b.mp4", mark=1), 10 * MIB)[0] != data


def test_a_join_sweeps_away_what_killed_ones_left_long_ago(tmp_path: Path) -> None:
    clip = make(tmp_path / "a.mp4")
    for age, name in ((0, "0"), (25 * 3600, "1")):
        part = tmp_path / f".film.mp4.film.~{name * 16}.part"
        part.touch()
        os.utime(part, (time.time() - age,) * 2)
    film.join([clip], str(tmp_path / "film.mp4"))
    assert [path.name for path in tmp_path.glob(".*")] == [f".film.mp4.film.~{'0' * 16}.part"]
