"""The clips of the emulator, read back with PyAV; every text is checked as pixels or as bytes of the clip.

The same arguments give the same bytes, so that "drawn alike" is equality of files.
"""

import struct
import sys
from array import array
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image, ImageChops

from rawgenai.emulator import render
from rawgenai.emulator.letters import LEADING, LONGEST, Letters, fit, font_folders, load_fonts, wrap
from rawgenai.emulator.render import draw
from rawgenai.errors import RawgenaiError

pytestmark = pytest.mark.slow  # every test draws a clip or several

ENGLISH = "A quiet harbour at dawn, a small red boat drifts out through the mist while gulls circle overhead. "
CHINESE = "黎明时分安静的港口，一艘红色的小渔船穿过薄雾缓缓驶出，海鸥在头顶盘旋。"


@pytest.fixture(autouse=True)
def no_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numpy is no dependency: nothing here may need it."""
    monkeypatch.setitem(sys.modules, "numpy", None)


def clip(path: Path, **changes: Any) -> Path:
    """A short, small clip that uses no font of the machine."""
    arguments: dict[str, Any] = {
        "width": 480,
        "height": 270,
        "seconds": 0.2,
        "sound": False,
        "prompt": "A cat",
        "model": "wan2.6-t2v",
        "mode": "t2v",
        "task_id": "0385dc79-5ff8-4d82-bcb6-1f2a3b4c5d6e",
        "folders": [],
    }
    draw(path, **(arguments | changes))
    return path


def frames(path: Path) -> list[Image.Image]:
    """All pictures of a clip, in grey."""
    with av.open(str(path)) as container:
        planes = [frame.planes[0] for frame in container.decode(video=0)]
    lines = [Image.frombytes("L", (plane.line_size, plane.height), bytes(plane)) for plane in planes]
    return [line.crop((0, 0, plane.width, plane.height)) for line, plane in zip(lines, planes, strict=True)]


def sound_of(path: Path) -> list[tuple[float, float]]:
    """Left and right of the sound track, -1 to 1."""
    sides: tuple[array[float], array[float]] = (array("f"), array("f"))
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            for side, plane in zip(sides, frame.planes, strict=True):
                side.frombytes(bytes(plane)[: frame.samples * 4])
    return list(zip(*sides, strict=True))


def changed(before: Image.Image, after: Image.Image, by: int) -> Image.Image:
    """White where two pictures differ by at least ``by``."""
    return ImageChops.difference(before, after).point(lambda level: 255 if level >= by else 0)


def chinese_font(folder: Path) -> Path:
    """A TrueType font whose every character from U+4E00 to U+9FFF is a diamond, and whose .notdef is a box."""

    def outline(*points: tuple[int, int]) -> bytes:
        xs, ys = zip(*points, strict=True)
        steps = [b - a for axis in (xs, ys) for a, b in pairwise((0, *axis))]
        head = struct.pack(">5h", 1, min(xs), min(ys), max(xs), max(ys)) + struct.pack(">2H", len(points) - 1, 0)
        body = head + b"\x01" * len(points) + struct.pack(f">{len(steps)}h", *steps)
        return body + bytes(-len(body) % 4)

    box = outline((100, 0), (100, 800), (900, 800), (900, 0))
    diamond = outline((500, 0), (100, 400), (500, 800), (900, 400))
    groups = struct.pack(">2HIII", 13, 0, 28, 0, 1) + struct.pack(">III", 0x4E00, 0x9FFF, 1)
    tables = {
        b"cmap": struct.pack(">2H2HI", 0, 1, 3, 10, 12) + groups,
        b"glyf": box + diamond,
        b"head": struct.pack(">4I2H2Q4h2H3h", 65536, 0, 0, 0x5F0F3CF5, 0, 1000, 0, 0, 100, 0, 900, 800, 0, 8, 2, 1, 0),
        b"hhea": struct.pack(">I3hH11hH", 65536, 900, -100, 0, 1000, *[0] * 11, 1),
        b"hmtx": struct.pack(">Hhh", 1000, 100, 100),
        b"loca": struct.pack(">3I", 0, len(box), len(box + diamond)),
        b"maxp": struct.pack(">I14H", 65536, 2, 4, 1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0),
    }
    start = 12 + 16 * len(tables)
    index, data = b"", b""
    for tag, table in tables.items():
        index += tag + struct.pack(">3I", 0, start + len(data), len(table))
        data += table + bytes(-len(table) % 4)
    path = folder / "simhei.ttf"
    path.write_bytes(struct.pack(">I4H", 65536, len(tables), 64, 2, 48) + index + data)
    return path


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({"width": 1920, "height": 1080, "seconds": 0.3, "fps": 30, "sound": True}, 9),
        ({"width": 1280, "height": 720, "seconds": 1, "fps": 30, "sound": False}, 30),
        ({"width": 480, "height": 832, "seconds": 1.5, "fps": 30, "sound": True}, 45),
        ({"width": 624, "height": 624, "seconds": 0.51, "fps": 30, "sound": False}, 15),
        ({"width": 480, "height": 832, "seconds": 1.5, "fps": 24, "sound": True}, 36),
    ],
)
def test_a_clip_has_the_size_the_frames_and_the_sound_that_were_asked_for(
    tmp_path: Path, asked: dict[str, Any], count: int
) -> None:
    path, fps = clip(tmp_path / "clip.mp4", **asked, folders=None), asked["fps"]
    with av.open(str(path)) as container:
        (video,) = container.streams.video
        assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (video.width, video.height) == (asked["width"], asked["height"])
        assert video.average_rate == fps
        assert video.frames == count
        assert container.duration is not None
        assert abs(container.duration / av.time_base - asked["seconds"]) <= 1 / fps
        assert [stream.type for stream in container.streams] == ["video", *(["audio"] if asked["sound"] else [])]
        times = [frame.time for frame in container.decode(video=0)]
    assert times == pytest.approx([i / fps for i in range(count)], abs=1e-4)


@pytest.mark.parametrize("fps", [30, 24])
def test_the_sound_is_stereo_never_silent_never_clipping_and_as_long_as_the_picture(tmp_path: Path, fps: int) -> None:
    path = clip(tmp_path / "clip.mp4", seconds=2, sound=True, fps=fps)
    with av.open(str(path)) as container:
        (audio,) = container.streams.audio
        assert (audio.codec_context.name, audio.layout.name, audio.rate) == ("aac", "stereo", 48_000)
        assert audio.start_time == 0
        assert audio.duration is not None
        assert audio.time_base is not None
        assert abs(audio.duration * audio.time_base - 2) <= 1 / 30
    samples = sound_of(path)
    assert abs(len(samples) / 48_000 - 2) <= 1 / 30
    for side in zip(*samples, strict=True):
        assert max(map(abs, side)) < 0.9
        tenths = [side[i : i + 4800] for i in range(0, 96_000, 4800)]
        assert min(max(map(abs, tenth)) for tenth in tenths) > 0.02
    assert max(abs(left - right) for left, right in samples) > 0.1


@pytest.mark.parametrize(("fps", "beat"), [(30, 15), (24, 12)])
def test_a_note_begins_whenever_the_ball_is_on_the_floor(tmp_path: Path, fps: int, beat: int) -> None:
    samples = [abs(left) for left, _ in sound_of(clip(tmp_path / "clip.mp4", seconds=2, sound=True, fps=fps))]
    letters = Letters(load_fonts([]))
    scene = render.Scene((480, 270), letters, prompt="", facts=[("task", "1")], watermark=False, fps=fps)
    heights = [scene.ball_at(number)[1] for number in range(2 * fps)]
    landings = [number for number, height in enumerate(heights) if height == max(heights)]
    frame = 48_000 // fps
    loud = [max(samples[number * frame : (number + 1) * frame]) for number in range(2 * fps)]
    jumps = [number for number in range(1, 2 * fps) if loud[number] > 2 * loud[number - 1]]
    assert landings == [0, *jumps] == [0, beat, 2 * beat, 3 * beat]


def test_every_frame_differs_from_the_one_before_even_without_its_timecode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render, "timecode", lambda *_: "00:00:00")
    pictures = frames(clip(tmp_path / "clip.mp4", seconds=1.5))
    assert len(pictures) == 45
    for before, after in pairwise(pictures):
        assert changed(before, after, 8).histogram()[255] > 480 * 270 / 200


@pytest.mark.parametrize(
    ("number", "shown"), [(0, "00:00:00"), (29, "00:00:29"), (30, "00:01:00"), (449, "00:14:29"), (1800, "01:00:00")]
)
def test_the_timecode_is_minutes_seconds_and_frames(number: int, shown: str) -> None:
    assert render.timecode(number) == shown


def test_the_timecode_counts_as_many_frames_as_a_second_has() -> None:
    assert [render.timecode(number, 24) for number in (23, 24)] == ["00:00:23", "00:01:00"]


def test_the_timecode_is_seen_and_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = frames(clip(tmp_path / "running.mp4"))
    monkeypatch.setattr(render, "timecode", lambda *_: "00:00:00")
    standing = frames(clip(tmp_path / "standing.mp4"))
    boxes = [changed(a, b, 64).getbbox() for a, b in zip(running, standing, strict=True)]
    assert boxes[0] is None
    assert None not in boxes[1:]


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("prompt", {"prompt": "A dog"}),
        ("model", {"facts": [("model", "wan2.5-t2v-preview"), ("mode", "t2v"), ("task", "1")]}),
        ("mode", {"facts": [("model", "wan2.6-t2v"), ("mode", "i2v"), ("task", "1")]}),
        ("task id", {"facts": [("model", "wan2.6-t2v"), ("mode", "t2v"), ("task", "2")]}),
        ("watermark", {"watermark": True}),
    ],
)
def test_a_card_shows(what: str, change: dict[str, Any]) -> None:
    facts = [("model", "wan2.6-t2v"), ("mode", "t2v"), ("task", "1")]
    arguments: dict[str, Any] = {"prompt": "A cat", "facts": facts, "watermark": False}
    letters = Letters(load_fonts([]))
    plain, *_ = render.draw_card((480, 270), letters, **arguments)
    other, *_ = render.draw_card((480, 270), letters, **(arguments | change))
    assert plain.tobytes() != other.tobytes(), what


def test_a_clip_says_whose_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marked = clip(tmp_path / "marked.mp4")
    assert render.OWNER == "rawgenai emulator, not a Wan clip"
    monkeypatch.setattr(render, "OWNER", "")
    assert changed(frames(marked)[0], frames(clip(tmp_path / "unmarked.mp4"))[0], 64).getbbox()


@pytest.mark.parametrize(("width", "height"), [(832, 480), (480, 832)])
def test_the_watermark_is_at_the_bottom_right(tmp_path: Path, width: int, height: int) -> None:
    with_it = frames(clip(tmp_path / "with.mp4", width=width, height=height, watermark=True))
    without = frames(clip(tmp_path / "without.mp4", width=width, height=height))
    box = changed(with_it[0], without[0], 64).getbbox()
    assert box is not None
    assert box[0] > width / 2
    assert box[1] > height * 0.9


def test_the_index_comes_before_the_media_and_the_boxes_tile_the_file(tmp_path: Path) -> None:
    data = clip(tmp_path / "clip.mp4", sound=True).read_bytes()
    names, at = [], 0
    while at < len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        assert size >= 8
        names.append(name)
        at += size
    assert at == len(data)
    assert [name for name in names if name != b"free"] == [b"ftyp", b"moov", b"mdat"]


@pytest.mark.parametrize("name", ["clip", "clip.avi", ".clip.mp4.1-2.part", "片段.mp4"])
def test_the_file_is_an_mp4_at_exactly_the_given_path_whatever_its_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    path = clip(folder / name)
    assert path.read_bytes()[4:8] == b"ftyp"
    assert list(folder.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="no such names there")
def test_a_colon_in_the_name_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert clip(Path("pipe:1")).stat().st_size > 1000


def test_a_missing_folder_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        clip(tmp_path / "nowhere" / "clip.mp4")


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    one, two = (clip(tmp_path / name, sound=True).read_bytes() for name in ("one.mp4", "two.mp4"))
    assert one == two


def test_without_a_chinese_font_chinese_is_written_as_code_points(tmp_path: Path) -> None:
    chinese = clip(tmp_path / "chinese.mp4", prompt="两只cat在睡觉")
    points = clip(tmp_path / "points.mp4", prompt="U+4E24 U+53EA cat U+5728 U+7761 U+89C9")
    assert chinese.read_bytes() == points.read_bytes()


def test_a_chinese_font_that_is_found_draws_what_it_has(tmp_path: Path) -> None:
    chinese_font(tmp_path)
    letters = Letters(load_fonts([tmp_path]))
    assert letters.spelled("两只cat😀ㄱ") == "两只cat U+1F600 U+3131"
    middle, edge = letters.mask("两", 100).getpixel((50, 55)), letters.mask("两", 100).getpixel((15, 20))
    assert (middle, edge) == (255, 0)  # the diamond; the box of .notdef would be white at both
    drawn = clip(tmp_path / "drawn.mp4", prompt="两只cat", folders=[tmp_path])
    points = clip(tmp_path / "points.mp4", prompt="U+4E24 U+53EA cat", folders=[tmp_path])
    assert drawn.read_bytes() != points.read_bytes()


def test_a_file_that_is_no_font_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "simhei.ttf").write_bytes(b"no font")
    assert len(load_fonts([tmp_path])) == 1


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("a\x1b[2Jb\x00\x7f\x9bc", "a[2Jbc"),
        ("a\u202eb\u200b\ufeffc\ufe0f", "abc"),
        (" a\r\n\tb\u2028c\u3000 d ", "a b c d"),
        ("lone \ud800surrogate", "lone surrogate"),
    ],
)
def test_control_characters_are_never_drawn(raw: str, shown: str) -> None:
    assert Letters(load_fonts([])).spelled(raw) == shown


@pytest.mark.parametrize("text", [ENGLISH * 50, "x" * 3000, CHINESE * 50, "a, b; c. " * 300], ids=lambda text: text[:5])
@pytest.mark.parametrize(("width", "height"), [(400, 300), (900, 200)])
def test_a_long_prompt_is_cut_to_the_box_with_an_ellipsis(tmp_path: Path, text: str, width: int, height: int) -> None:
    chinese_font(tmp_path)
    letters = Letters(load_fonts([tmp_path]))
    size, lines = fit(letters, letters.spelled(text), width, height, [40, 30, 20])
    assert size == 20
    assert lines[-1].endswith("…")
    assert len(lines) * size * LEADING <= height < (len(lines) + 1) * size * LEADING
    assert max(letters.length(line, size) for line in lines) <= width


def test_a_text_longer_than_is_looked_at_ends_in_an_ellipsis() -> None:
    letters = Letters(load_fonts([]))
    assert letters.spelled("x" * 70_000) == "x" * LONGEST + "…"
    assert letters.spelled("x" * LONGEST) == "x" * LONGEST


@pytest.mark.parametrize(("text", "size"), [("A cat", 40), (ENGLISH, 30), (ENGLISH * 2, 20)])
def test_a_prompt_is_written_as_large_as_it_fits_and_whole(text: str, size: float) -> None:
    letters = Letters(load_fonts([]))
    chosen, lines = fit(letters, letters.spelled(text), 500, 150, [40, 30, 20])
    assert chosen == size
    assert " ".join(lines) == text.strip()


def test_chinese_is_broken_anywhere_but_before_what_closes(tmp_path: Path) -> None:
    chinese_font(tmp_path)
    letters = Letters(load_fonts([tmp_path]))
    letters.chosen["，"] = 0  # the test's font has no punctuation
    for width in range(60, 200, 7):
        lines = wrap(letters, CHINESE.replace("。", ""), 20, width)
        assert not any(line.startswith("，") for line in lines)
        assert "".join(lines) == CHINESE.replace("。", "")
        assert max(letters.length(line, 20) for line in lines) <= width


def test_without_pyav_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(RawgenaiError) as caught:
        clip(tmp_path / "clip.mp4")
    assert caught.value.code == "missing_extra"
    assert "uv tool install 'rawgenai[media]'" in caught.value.message
    assert not (tmp_path / "clip.mp4").exists()


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_each_platform_has_folders_for_fonts(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert len(font_folders()) >= 2
