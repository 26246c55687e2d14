"""Draws the emulator's clip: a test card with a prompt on it, and a ball that lands on every note.

What stands still is drawn once. A frame is a few pastes into grey planes (Y, U, V), so it costs milliseconds, and one
frame is held at a time. Facts of the format: H.264 in MP4, frames a second as the model's
row says (reference sections 2.4 and 3). PyAV comes with the extra ``media``; numpy is not needed.
"""

import colorsys
import math
import zlib
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rawgenai.dashscope.models import FPS
from rawgenai.emulator.backdrop import compose
from rawgenai.emulator.letters import LEADING, Letters, fit, font_folders, load_fonts

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import OutputContainer
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

SAMPLE_RATE = 48_000
BEATS = 2  # a second: landings of the ball, and notes
BEGUN = ("i2v", "kf2v")  # modes whose first picture is the clip's first frame, and nothing else is on that
FADE = 10  # frames in which all the rest comes over it
MELODY = (261.63, 392.0, 329.63, 440.0, 392.0, 523.25, 329.63, 293.66)  # Hz
LOUDNESS = 0.3  # of full scale: audible, and two partials together stay far from clipping

OWNER = "rawgenai emulator, not a Wan clip"
WATERMARK = "AI生成"

INK = (245, 246, 250, 255)
AMBER = (255, 205, 90, 255)
QUIET = (168, 176, 192, 255)
PAPER = (10, 13, 20, 178)
COVER = (10, 13, 20, 235)  # over a picture, which may be another clip's last frame, and have panels itself
BARS = ((235, 235, 235), (235, 220, 60), (60, 210, 220), (70, 200, 90), (215, 80, 205), (225, 70, 60), (60, 90, 225))


def draw(
    path: Path,
    *,
    width: int,
    height: int,
    seconds: float,
    sound: bool,
    fps: int = FPS,
    prompt: str,
    model: str,
    mode: str,
    task_id: str,
    watermark: bool = False,
    pictures: Sequence[Path | None] = (),
    fields: Sequence[str] = (),
    scales: Sequence[float] = (),
    music: Path | None = None,
    folders: Sequence[Path] | None = None,
) -> None:
    """Write the clip of a task to ``path``, an MP4 whatever the name ends in.

    ``width`` and ``height`` are even, in pixels; ``round(seconds * fps)`` frames at ``fps`` a second, which is even
    and a divisor of 48,000, at least one; a stereo AAC track exactly when ``sound``. ``pictures`` are the files that
    the clip shows by its mode's rule, None for one that is not known; ``fields`` what each is in the request,
    ``scales`` how far the frame reaches beyond a video: up, down, left and right. ``music`` is the sound that lies
    under it, cut or followed by silence. ``folders`` are where fonts are looked for (default: the system's). The same
    arguments and fonts give the same bytes. Raises RawgenaiError (missing_extra) without PyAV, OSError if ``path``
    cannot be written.
    """
    from rawgenai.film.probing import require_av

    require_av("the emulator draws its clips")
    import av

    letters = Letters(load_fonts(font_folders() if folders is None else folders))
    facts = (("model", model), ("mode", mode), ("task", task_id))
    frames = max(1, round(seconds * fps))
    scene = Scene(
        (width, height), letters, prompt=prompt, facts=facts, watermark=watermark, small=any(pictures), fps=fps
    )
    begun = mode in BEGUN and any(pictures[:1])
    shown = compose(pictures, mode, (width, height), scene.blank, fields=fields, scales=scales)
    scene.show(shown, frames, fade=FADE if begun else 0)
    track = (played(music, fps) if music else melody(fps)) if sound else None
    # "file:" keeps a colon in the name from being read as a protocol; faststart puts moov before mdat.
    with av.open(f"file:{path}", "w", format="mp4", options={"movflags": "+faststart"}) as container:
        encode(container, scene, frames, track)


def encode(container: "OutputContainer", scene: "Scene", frames: int, track: Iterator[bytes] | None) -> None:
    """Encode frame by frame, with each frame's share of the sound beside it; what ends early is followed by silence."""
    import av

    # The number of threads is fixed because the bytes depend on it.
    video = container.add_stream(
        "libx264", rate=scene.fps, options={"preset": "ultrafast", "crf": "23", "threads": "4"}
    )
    video.width, video.height, video.pix_fmt = scene.width, scene.height, "yuv420p"
    context = video.codec_context
    context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709, as scene.planes
    context.color_range = 1  # 16-235
    share = SAMPLE_RATE // scene.fps  # samples that go with a frame
    audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="stereo", bit_rate=128_000) if track else None
    for number in range(frames):
        picture = scene.frame(number)
        picture.pts = number
        container.mux(video.encode(picture))
        if audio and track:
            samples = av.AudioFrame(format="s16", layout="stereo", samples=share)
            samples.sample_rate, samples.pts = SAMPLE_RATE, number * share
            samples.planes[0].update(next(track, b"").ljust(share * 4, b"\0"))
            container.mux(audio.encode(samples))
    container.mux(video.encode())
    if audio:
        container.mux(audio.encode())


def melody(fps: int = FPS) -> Iterator[bytes]:
    """The emulator's own tune, a frame's share at a time, without end."""
    share = SAMPLE_RATE // fps * 4
    for number in count():
        beat, step = divmod(number, fps // BEATS)
        yield note(MELODY[beat % len(MELODY)])[step * share : (step + 1) * share]


def played(path: Path, fps: int = FPS) -> Iterator[bytes]:
    """A sound file, a frame's share at a time: interleaved stereo, 16 bit; it ends where it cannot be decoded."""
    import av

    resampler = av.AudioResampler("s16", "stereo", SAMPLE_RATE, SAMPLE_RATE // fps)
    with suppress(av.FFmpegError), av.open(f"file:{path}") as container:
        for frame in chain(container.decode(audio=0), [None]):
            for piece in resampler.resample(frame):
                yield bytes(piece.planes[0])[: piece.samples * 4]


@cache
def note(pitch: float) -> bytes:
    """One beat of a bell at ``pitch`` Hz: interleaved stereo, 16 bit; it starts and ends at zero, so nothing clicks."""
    samples = SAMPLE_RATE // BEATS
    ramp = SAMPLE_RATE // 200
    pcm = array("h")
    for i in range(samples):
        time = i / SAMPLE_RATE
        level = min(1.0, i / ramp, (samples - i) / ramp) * math.exp(-3.5 * time) * LOUDNESS * 32767
        angle = 2 * math.pi * pitch * time
        tone, overtone = math.sin(angle), 0.3 * math.sin(2 * angle)
        pcm.append(int(level * (tone + overtone)))
        pcm.append(int(level * (tone - overtone)))
    return pcm.tobytes()


# --- the picture ---


class Patch(NamedTuple):
    """A picture as Y, U and V planes with its opacity at full and at half size."""

    planes: tuple["Image", ...]
    masks: tuple["Image", ...]


class Scene:
    """All that is drawn once, and ``frame``, which puts it together for one moment."""

    def __init__(
        self,
        size: tuple[int, int],
        letters: "Letters",
        *,
        prompt: str,
        facts: Sequence[tuple[str, str]],
        watermark: bool,
        small: bool = False,
        fps: int = FPS,
    ) -> None:
        self.fps = fps
        width, height = self.width, self.height = size
        self.unit = unit_of(size, small)
        self.step = 2 * max(1, round(width / 640))  # pixels a frame; even, because chroma has half of them
        hue = 0.48 + zlib.crc32(repr(facts).encode()) % 100 / 220  # teal to magenta: tasks are told apart by colour
        card, self.clock, self.floor, self.ceiling = draw_card(
            (width, height), letters, prompt=prompt, facts=facts, watermark=watermark, small=small
        )
        self.card = patch(card)
        self.ball = patch(draw_ball(2 * round(self.unit * 1.2), hue))
        self.hue = hue
        self.sky = planes(draw_sky(width, height, hue))
        self.stills: list[tuple[Image, ...]] = []
        self.frames = 1
        self.fade = 0
        self.digits = {char: letters.mask(char, self.unit * 1.9) for char in "0123456789:"}

    def blank(self) -> "Image":
        """What stands where a picture is not known."""
        return draw_sky(self.width, self.height, self.hue).crop((0, 0, self.width, self.height))

    def show(self, stills: Sequence["Image"], frames: int, fade: int = 0) -> None:
        """Put stills behind everything in place of the sky: one that stays, or several that fade over ``frames``.

        All else comes over the first of them in ``fade`` frames.
        """
        self.stills = [planes(still) for still in stills]
        self.frames = frames
        self.fade = fade

    def ground(self, index: int, number: int, width: int) -> "Image":
        """Plane ``index`` of what is behind everything, ``width`` pixels of each line."""
        from PIL import Image

        height = self.sky[index].height
        if not self.stills:
            offset = number * self.step % self.width >> min(index, 1)
            return self.sky[index].crop((offset, 0, offset + width, height))
        place = number / max(1, self.frames - 1) * (len(self.stills) - 1)
        before, after = self.stills[int(place)][index], self.stills[min(int(place) + 1, len(self.stills) - 1)][index]
        shown = Image.blend(before, after, place % 1) if before is not after else before
        return shown.crop((0, 0, width, height))

    def frame(self, number: int) -> "VideoFrame":
        """Picture ``number``, counted from 0, in yuv420p."""
        import av
        from PIL import Image

        picture = av.VideoFrame(self.width, self.height, "yuv420p")
        x, y = self.ball_at(number)
        for index, plane in enumerate(picture.planes):
            half = min(index, 1)  # chroma planes have half the pixels each way
            # A plane's lines may be longer than the picture is wide; what is beyond is never shown.
            ground = self.ground(index, number, plane.line_size)
            canvas = ground.copy()
            canvas.paste(self.ball.planes[index], (x >> half, y >> half), self.ball.masks[half])
            canvas.paste(self.card.planes[index], (0, 0), self.card.masks[half])
            if index == 0:
                self.write_clock(canvas, number)
            if number < self.fade:
                canvas = Image.blend(ground, canvas, number / self.fade)
            plane.update(canvas.tobytes())
        picture.colorspace = picture.color_range = 1  # BT.709, 16-235
        return picture

    def ball_at(self, number: int) -> tuple[int, int]:
        """Where the ball is: always moving sideways, and on the floor at each beat."""
        size = self.ball.planes[0].width
        room = self.width - size
        sideways = number * self.step % (2 * room)
        beat = self.fps // BEATS  # frames
        phase = number % beat / beat
        jump = (self.floor - size - self.ceiling) * 4 * phase * (1 - phase)
        return (min(sideways, 2 * room - sideways) & ~1, round(self.floor - size - jump) & ~1)

    def write_clock(self, canvas: "Image", number: int) -> None:
        """The timecode in white; its digits keep their places."""
        x, y = self.clock
        cell = max(mask.width for mask in self.digits.values())
        for char in timecode(number, self.fps):
            mask = self.digits[char]
            advance = cell if char != ":" else cell * 2 // 3
            canvas.paste(235, (x + (advance - mask.width) // 2, y), mask)
            x += advance


def timecode(number: int, fps: int = FPS) -> str:
    """MM:SS:FF, of frame ``number`` counted from 0."""
    seconds, frame = divmod(number, fps)
    return f"{seconds // 60:02}:{seconds % 60:02}:{frame:02}"


def draw_card(
    area: tuple[int, int],
    letters: "Letters",
    *,
    prompt: str,
    facts: Sequence[tuple[str, str]],
    watermark: bool,
    small: bool = False,
) -> tuple["Image", tuple[int, int], int, int]:
    """What stands still, as RGBA; where the timecode goes; the ball's floor and ceiling.

    Where it is ``small``, it leaves room for a picture behind it.
    """
    from PIL import Image, ImageDraw

    width, height = area
    unit = unit_of(area, small)
    card = Image.new("RGBA", (width, height))
    pen = ImageDraw.Draw(card)
    bar = width / len(BARS)
    for i, colour in enumerate(() if small else BARS):
        pen.rectangle((round(i * bar), 0, round((i + 1) * bar), round(unit * 0.35)), (*colour, 255))
    left, right = unit, width - unit
    lowest = max(height / 6, unit * 6) if small else height / 2
    ceiling = write_prompt(pen, letters, (left, unit, right, lowest), unit, prompt, snug=small)
    foot = height - unit * 2.2  # the watermark's line is below
    floor = foot - unit * 3.8 - len(facts) * unit * LEADING
    pad = unit * 0.7
    end = min(right, left + 2 * pad + fact_width(letters, unit, facts)) if small else right
    pen.rounded_rectangle((left, floor, end, foot), unit / 2, COVER if small else PAPER)
    write_facts(pen, letters, (left + pad, floor + unit * 3.1, end - pad), unit, facts)
    if watermark:
        text = letters.spelled(WATERMARK)
        letters.write(pen, (right - letters.length(text, unit * 0.9), foot + unit * 0.5), text, unit * 0.9, INK)
    return card, (round(left + pad), round(floor + pad)), round(floor), round(ceiling)


def unit_of(area: tuple[int, int], small: bool) -> float:
    """The size of plain letters, in pixels; everything on the card is measured in it."""
    return max(10, min(area) / 42) if small else min(area) / 24


def write_prompt(
    pen: "ImageDraw",
    letters: "Letters",
    box: tuple[float, float, float, float],
    unit: float,
    prompt: str,
    *,
    snug: bool,
) -> float:
    """Whose clip it is, and the prompt in the largest letters that the box holds; returns where its panel ends."""
    left, top, right, bottom = box
    pad = unit * 0.7
    start = top + pad + unit * 1.5
    sizes = [unit * scale for scale in ((1.3, 1.05) if snug else (2, 1.6, 1.3, 1.05))]
    size, lines = fit(letters, letters.spelled(prompt), right - left - 2 * pad, bottom - start - pad, sizes)
    end = start + len(lines) * size * LEADING + pad / 2
    if snug:
        widest = max([letters.length(OWNER, unit * 0.9), *(letters.length(line, size) for line in lines)])
        right = min(right, left + 2 * pad + widest)
    pen.rounded_rectangle((left, top, right, end), unit / 2, COVER if snug else PAPER)
    letters.write(pen, (left + pad, top + pad), OWNER, unit * 0.9, AMBER)
    for i, line in enumerate(lines):
        letters.write(pen, (left + pad, start + i * size * LEADING), line, size, INK)
    return end


def name_width(letters: "Letters", unit: float, facts: Sequence[tuple[str, str]]) -> float:
    """The width of the column of names, with the gap after it."""
    return max(letters.length(name, unit) for name, _ in facts) + unit * 0.8


def fact_width(letters: "Letters", unit: float, facts: Sequence[tuple[str, str]]) -> float:
    """The width of the facts and of the timecode, which stands above them."""
    values = (letters.length(letters.spelled(value), unit) for _, value in facts)
    return max(name_width(letters, unit, facts) + max(values), letters.length("00:00:00", unit * 1.9) + unit)


def write_facts(
    pen: "ImageDraw",
    letters: "Letters",
    line: tuple[float, float, float],
    unit: float,
    facts: Sequence[tuple[str, str]],
) -> None:
    """Names and values, one a line, from the ``line`` at (left, top, right) down."""
    left, top, right = line
    column = left + name_width(letters, unit, facts)
    for i, (name, value) in enumerate(facts):
        y = top + i * unit * LEADING
        letters.write(pen, (left, y), name, unit, QUIET)
        sizes = [unit * scale for scale in (1, 0.9, 0.8, 0.72)]
        size, lines = fit(letters, letters.spelled(value), right - column, unit * LEADING, sizes)
        letters.write(pen, (column, y + unit - size), "".join(lines), size, INK)


def draw_sky(width: int, height: int, hue: float) -> "Image":
    """Two periods of a gradient with slanted stripes, ``width`` pixels each, so that any window of it fits its ends."""
    from PIL import Image, ImageDraw

    columns, rows = 64, 24
    small = Image.new("RGB", (columns * 2, rows))
    for x in range(columns * 2):
        for y in range(rows):
            wave = math.sin(2 * math.pi * (x / columns + y / rows / 3))
            value = 0.42 + 0.16 * wave + 0.12 * (1 - y / rows)
            colour = colorsys.hsv_to_rgb((hue + 0.05 * wave + 0.08 * y / rows) % 1, 0.5, value)
            small.putpixel((x, y), (round(colour[0] * 255), round(colour[1] * 255), round(colour[2] * 255)))
    sky = small.resize((width * 2, height), Image.Resampling.BICUBIC)
    stripes = Image.new("L", sky.size)
    pen = ImageDraw.Draw(stripes)
    gap, lean = width / 8, min(width, height) / 2
    for number in range(-8, 18):
        foot = number * gap
        head = foot + lean
        pen.polygon([(foot, height), (foot + gap / 2, height), (head + gap / 2, 0), (head, 0)], 18)
    sky.paste((255, 255, 255), (0, 0), stripes)
    return sky


def draw_ball(size: int, hue: float) -> "Image":
    """A lit ball of ``size`` pixels across, as RGBA, in the sky's opposite colour."""
    from PIL import Image, ImageDraw

    big = Image.new("RGBA", (size * 4, size * 4))
    pen = ImageDraw.Draw(big)
    rings = 24
    for ring in range(rings):
        part = ring / rings
        red, green, blue = colorsys.hsv_to_rgb((hue + 0.5) % 1, 0.5 * (1 - part * 0.8), 0.8 + 0.2 * part)
        radius = size * 2 * (1 - part)
        x, y = size * 2 - size * 0.6 * part, size * 2 - size * 0.7 * part
        colour = (round(red * 255), round(green * 255), round(blue * 255), 255)
        pen.ellipse((x - radius, y - radius, x + radius - 1, y + radius - 1), colour)
    return big.resize((size, size), Image.Resampling.BOX)


def planes(image: "Image") -> tuple["Image", ...]:
    """The Y, U and V planes of a picture whose sides are even: BT.709, 16-235."""
    import av
    from PIL import Image

    frame: av.VideoFrame = av.VideoFrame.from_image(image.convert("RGB"))  # type: ignore[no-untyped-call]  # PyAV's gap
    frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
    return tuple(
        Image.frombytes("L", (plane.line_size, plane.height), bytes(plane)).crop((0, 0, plane.width, plane.height))
        for plane in frame.planes
    )


def patch(image: "Image") -> Patch:
    """An RGBA picture whose sides are even, ready to be pasted into planes."""
    opacity = image.getchannel("A")
    return Patch(planes(image), (opacity, opacity.reduce(2)))
