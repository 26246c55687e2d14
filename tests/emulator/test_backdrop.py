"""What a clip shows of the pictures that were sent: frames are decoded, and colours compared away from the panels."""

import io
import math
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import pytest
from asking import BLUE, GOLD, GREEN, QUARTERS, RED, film, quartered, saved, wav
from PIL import Image, ImageChops, ImageStat

from rawgenai.emulator.render import draw

Colour = Sequence[float]
WIDTH, HEIGHT = 640, 480
NEAR = 14  # of 255; what H.264 makes of a flat colour


def _clip(path: Path, **changes: Any) -> Path:
    """A clip of half a second, which uses no font of the machine."""
    arguments: dict[str, Any] = {
        "width": WIDTH,
        "height": HEIGHT,
        "seconds": 0.5,
        "sound": False,
        "prompt": "A quiet harbour at dawn, a small red boat drifts out through the mist. " * 3,
        "model": "wan2.6-i2v",
        "mode": "i2v",
        "task_id": "0385dc79-5ff8-4d82-bcb6-1f2a3b4c5d6e",
        "folders": [],
    }
    draw(path, **(arguments | changes))
    return path


def _frames(path: Path) -> list[Image.Image]:
    with av.open(str(path)) as container:
        return [frame.to_image() for frame in container.decode(video=0)]  # type: ignore[no-untyped-call]  # PyAV's gap


def _mean(frame: Image.Image, left: float, top: float, right: float, bottom: float) -> Colour:
    """The average colour of a part, whose edges are shares of the frame."""
    width, height = frame.size
    box = (round(left * width), round(top * height), round(right * width), round(bottom * height))
    return ImageStat.Stat(frame.crop(box)).mean


def _quarters(frame: Image.Image) -> list[Colour]:
    """The average colour of each quarter, between the panels and to the right of them."""
    return [_mean(frame, *box) for box in [(0.02, 0.2, 0.48, 0.4), (0.52, 0.2, 0.98, 0.48)]] + [
        _mean(frame, *box) for box in [(0.1, 0.52, 0.48, 0.64), (0.52, 0.52, 0.98, 0.95)]
    ]


def _same(seen: Sequence[Colour], wanted: Sequence[Colour]) -> bool:
    return all(math.dist(a, b) < NEAR for a, b in zip(seen, wanted, strict=True))


def _kept(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def _turned(image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned to the right
    return saved(image.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95)


PICTURES = {
    "png": saved(quartered()),
    "palette": saved(quartered().convert("P", palette=Image.Palette.ADAPTIVE)),
    "jpeg": saved(quartered(4000, 3000), "JPEG", quality=95),
    "cmyk": saved(quartered().convert("CMYK"), "JPEG", quality=95),
    "turned": _turned(quartered()),
    "bmp": saved(quartered(), "BMP"),
    "webp": saved(quartered(), "WEBP", lossless=True),
    "another ratio": saved(quartered(300, 900)),
}


pytestmark = pytest.mark.slow  # every test draws a clip or several


@pytest.mark.parametrize("name", PICTURES)
def test_an_image_is_the_first_frame_and_stays(tmp_path: Path, name: str) -> None:
    frames = _frames(_clip(tmp_path / "clip.mp4", pictures=[_kept(tmp_path, "0", PICTURES[name])]))
    assert len(frames) == 15
    for frame in (frames[0], frames[-1]):
        assert _same(_quarters(frame), QUARTERS), _quarters(frame)


@pytest.mark.parametrize("mode", ["i2v", "kf2v"])
def test_a_clip_begins_with_its_first_picture_and_nothing_else(tmp_path: Path, mode: str) -> None:
    earlier = _clip(tmp_path / "earlier.mp4", mode="t2v")
    last = _frames(earlier)[-1]
    frames = _frames(_clip(tmp_path / "clip.mp4", mode=mode, pictures=[_kept(tmp_path, "0", saved(last))], prompt="B"))
    apart = [ImageStat.Stat(ImageChops.difference(last, frame).convert("L")).mean[0] for frame in frames]
    assert apart[0] < 2
    assert min(apart[-4:]) > apart[0] + 2  # there is a panel, a ball and a clock by then


def test_a_16_bit_image_keeps_its_grey(tmp_path: Path) -> None:
    data = saved(Image.new("I;16", (300, 300), 100 * 257))
    (frame, *_) = _frames(_clip(tmp_path / "clip.mp4", pictures=[_kept(tmp_path, "0", data)]))
    assert _same(_quarters(frame), [(100, 100, 100)] * 4)


@pytest.mark.parametrize(("width", "height"), [(160, 5536), (5536, 160), (464, 832)])
def test_a_picture_of_any_ratio_is_drawn(tmp_path: Path, width: int, height: int) -> None:
    picture = _kept(tmp_path, "0", saved(quartered(width, height)))
    path = _clip(tmp_path / "clip.mp4", pictures=[picture], width=width, height=height, seconds=0.1)
    assert [frame.size for frame in _frames(path)] == [(width, height)] * 3


def test_keyframes_fade_from_the_first_to_the_last(tmp_path: Path) -> None:
    colours = (GOLD, BLUE, GREEN, RED)
    pictures = [
        _kept(tmp_path, "0", saved(quartered())),
        _kept(tmp_path, "1", saved(quartered(300, 300, colours))),
    ]
    frames = _frames(_clip(tmp_path / "clip.mp4", mode="kf2v", pictures=pictures))
    half = [[(a + b) / 2 for a, b in zip(one, two, strict=True)] for one, two in zip(QUARTERS, colours, strict=True)]
    for number, wanted in ((0, QUARTERS), (7, half), (14, colours)):
        assert _same(_quarters(frames[number]), wanted), (number, _quarters(frames[number]))


def test_a_first_keyframe_alone_stays(tmp_path: Path) -> None:
    pictures = [_kept(tmp_path, "0", saved(quartered()))]
    frames = _frames(_clip(tmp_path / "clip.mp4", mode="kf2v", pictures=pictures))
    assert all(_same(_quarters(frame), QUARTERS) for frame in (frames[0], frames[-1]))


def _plain(*colours: tuple[int, int, int]) -> list[bytes]:
    return [saved(Image.new("RGB", (300, 300), colour)) for colour in colours]


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (720, 1280)])
@pytest.mark.parametrize("colours", [(RED,), (RED, BLUE), (RED, GREEN, BLUE), (RED, GREEN, BLUE, GOLD, RED)])
def test_references_are_side_by_side(
    tmp_path: Path, width: int, height: int, colours: tuple[tuple[int, int, int], ...]
) -> None:
    pictures = [_kept(tmp_path, str(number), data) for number, data in enumerate(_plain(*colours))]
    path = _clip(tmp_path / "clip.mp4", mode="r2v", pictures=pictures, width=width, height=height, prompt="")
    (frame, *_) = _frames(path)
    share = 1 / len(colours)
    starts = [share * number for number in range(len(colours))]
    if width > height:
        seen = [_mean(frame, start + 0.01, 0.2, start + share - 0.01, 0.65) for start in starts]
    else:
        seen = [_mean(frame, 0.6, start + 0.01, 0.95, start + share - 0.01) for start in starts]
    assert _same(seen, colours), seen


def test_a_reference_is_shown_whole(tmp_path: Path) -> None:
    image = Image.new("RGB", (400, 300), GREEN)
    image.paste(RED, (0, 0, 40, 300))
    pictures = [_kept(tmp_path, str(number), saved(image)) for number in range(2)]
    (frame, *_) = _frames(_clip(tmp_path / "clip.mp4", mode="r2v", pictures=pictures, width=1280, height=720))
    for left in (0, 0.5):  # each half is 640 x 720, and in its middle the picture is 640 x 480
        boxes = [(left + 0.01, 0.3, left + 0.04, 0.6), (left + 0.06, 0.3, left + 0.49, 0.6)]
        assert _same([_mean(frame, *box) for box in boxes], [RED, GREEN])


def test_of_a_reference_video_its_first_frame_is_shown(tmp_path: Path) -> None:
    pictures = [_kept(tmp_path, "0", film(1, image=quartered())), _kept(tmp_path, "1", _plain(GREEN)[0])]
    (frame, *_) = _frames(_clip(tmp_path / "clip.mp4", mode="r2v", pictures=pictures, width=1280, height=720))
    boxes = [(0.02, 0.3, 0.23, 0.48), (0.27, 0.3, 0.48, 0.48), (0.52, 0.3, 0.98, 0.95)]
    assert _same([_mean(frame, *box) for box in boxes], [RED, GREEN, GREEN])


def test_a_picture_that_nobody_knows_is_left_blank(tmp_path: Path) -> None:
    picture = _kept(tmp_path, "0", _plain(RED)[0])
    (frame, *_) = _frames(_clip(tmp_path / "clip.mp4", mode="r2v", pictures=[None, picture], width=1280, height=720))
    assert _same([_mean(frame, 0.52, 0.2, 0.98, 0.95)], [RED])
    assert not _same([_mean(frame, 0.02, 0.2, 0.48, 0.6)], [RED])


@pytest.mark.parametrize("mode", ["i2v", "kf2v", "r2v"])
def test_where_nothing_is_known_the_test_card_is_shown(tmp_path: Path, mode: str) -> None:
    plain = _clip(tmp_path / "plain.mp4", mode=mode)
    blank = _clip(tmp_path / "blank.mp4", mode=mode, pictures=[None, None])
    assert plain.read_bytes() == blank.read_bytes()


@pytest.mark.parametrize(("mode", "names"), [("i2v", "0"), ("kf2v", "01"), ("r2v", "01")])
def test_every_frame_still_differs_from_the_one_before(tmp_path: Path, mode: str, names: str) -> None:
    pictures = [_kept(tmp_path, name, saved(quartered())) for name in names]
    frames = _frames(_clip(tmp_path / "clip.mp4", mode=mode, pictures=pictures))
    assert len({frame.tobytes() for frame in frames}) == 15


@pytest.mark.parametrize("size", [(832, 480), (480, 832), (1920, 1072)])
def test_the_panels_leave_most_of_the_picture_free(tmp_path: Path, size: tuple[int, int]) -> None:
    picture = _kept(tmp_path, "0", _plain(GREEN)[0])
    (frame, *_) = _frames(
        _clip(tmp_path / "clip.mp4", pictures=[picture], width=size[0], height=size[1], prompt="猫" * 900)
    )
    dots = frame.resize((100, 100), Image.Resampling.NEAREST).tobytes()
    free = sum(math.dist(dots[start : start + 3], GREEN) < NEAR for start in range(0, len(dots), 3))
    assert free > 6500


# --- sound ---------------------------------------------------------------------------------------------------------


def _loudness(path: Path) -> list[float]:
    """The average level of each tenth of a second of the left side."""
    side: array[float] = array("f")
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            side.frombytes(bytes(frame.planes[0])[: frame.samples * 4])
    tenths = [side[start : start + 4800] for start in range(0, len(side), 4800)]
    return [sum(map(abs, tenth)) / len(tenth) for tenth in tenths]


def _mp3(seconds: float) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", "mp3") as container, av.open(io.BytesIO(wav(seconds, 9000)), "r") as source:
        stream = container.add_stream("libmp3lame", rate=16000, layout="mono")
        for frame in source.decode(audio=0):
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


@pytest.mark.parametrize("data", [wav(1, 9000), _mp3(1)], ids=["wav", "mp3"])
def test_a_sound_that_was_sent_lies_under_the_clip_and_silence_follows_it(tmp_path: Path, data: bytes) -> None:
    music = _kept(tmp_path, "0", data)
    loud = _loudness(_clip(tmp_path / "clip.mp4", seconds=2, sound=True, music=music))
    assert len(loud) == pytest.approx(20, abs=1)
    assert min(loud[1:9]) > 0.15
    assert max(loud[12:]) < 0.01


def test_a_sound_that_breaks_off_is_followed_by_silence(tmp_path: Path) -> None:
    music = _kept(tmp_path, "0", _mp3(1)[:2000] + b"\xff\xfb\x90\xc0" + b"\xff" * 4000)
    assert max(_loudness(_clip(tmp_path / "clip.mp4", seconds=1, sound=True, music=music))[6:]) < 0.01


def test_a_sound_longer_than_the_clip_is_cut(tmp_path: Path) -> None:
    music = _kept(tmp_path, "0", wav(3, 9000))
    loud = _loudness(_clip(tmp_path / "clip.mp4", seconds=1, sound=True, music=music))
    assert len(loud) == pytest.approx(10, abs=1)
    assert min(loud[1:9]) > 0.15


def test_a_silent_clip_stays_silent_whatever_sound_was_sent(tmp_path: Path) -> None:
    path = _clip(tmp_path / "clip.mp4", music=_kept(tmp_path, "0", wav(3, 9000)))
    with av.open(str(path)) as container:
        assert not container.streams.audio
