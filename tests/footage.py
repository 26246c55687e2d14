"""Draws clips whose frames and sounds can be told apart, and reads them back from what was made of them.

Each frame carries its clip's number and its own as bars of black and white, and where there is sound, each second
begins with a beep. So a film is read back, not believed.
"""

import math
import struct
from array import array
from collections.abc import Iterator
from fractions import Fraction
from heapq import merge
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
from PIL import Image

RATE = 48_000
BITS = 16  # of a frame's mark: 5 say which clip it is of, 11 which frame it is


def make(
    path: Path,
    *,
    mark: int = 0,
    frames: int = 51,
    fps: Fraction | int = 30,
    size: tuple[int, int] = (256, 144),
    grey: int | None = None,
    chroma: tuple[int, int] = (128, 128),
    matrix: int | None = None,
    codec: str = "libx264",
    bframes: int = 2,
    sound: str | None = "aac",
    rate: int = RATE,
    layout: str = "stereo",
    late: float = 0,
    sound_seconds: float | None = None,
    options: dict[str, str] | None = None,
) -> str:
    """A clip of marked frames, or grey ones; beeps of 50 ms as each second begins, ``late`` seconds later."""
    given = {"preset": "ultrafast", "bf": str(bframes), "g": "20", "crf": "12"} if codec == "libx264" else {}
    with av.open(f"file:{path}", "w", format="mp4", options={}) as container:
        video = container.add_stream(codec, rate=fps, options=given | (options or {}))
        video.width, video.height, video.pix_fmt = *size, "yuv420p"  # type: ignore[union-attr]  # it is a video stream
        if matrix:
            video.codec_context.colorspace = matrix  # type: ignore[union-attr]  # as above
        tracks = [_timed(_pictures(video, frames, Fraction(fps), size=size, mark=mark, grey=grey, chroma=chroma))]
        if sound:
            audio = container.add_stream(sound, rate=rate, layout=layout)
            length = frames / Fraction(fps) if sound_seconds is None else Fraction(sound_seconds)
            tracks.append(_timed(tones(audio, round(length * rate), rate, layout, late)))
        for _, packet in merge(*tracks, key=lambda row: row[0]):
            container.mux(packet)
    return str(path)


def _pictures(
    stream: Any,
    frames: int,
    fps: Fraction,
    *,
    size: tuple[int, int],
    mark: int,
    grey: int | None,
    chroma: tuple[int, int],
) -> Iterator[Any]:
    for number in range(frames):
        frame = picture(size, mark << 11 | number, grey, chroma)
        frame.pts, frame.time_base = number, 1 / fps
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _timed(packets: Iterator[Any]) -> Iterator[tuple[float, Any]]:
    return ((float(packet.dts * packet.time_base), packet) for packet in packets)


def picture(size: tuple[int, int], code: int, grey: int | None, chroma: tuple[int, int]) -> av.VideoFrame:
    """A frame with its code as 16 bars from the left, the lowest bit first, or of one shade."""
    width, height = size
    luma = Image.new("L", size, 100 if grey is None else grey)
    for bit in range(0 if grey is not None else BITS):
        shade = 235 if code >> bit & 1 else 16
        luma.paste(shade, (bit * width // BITS, height // 4, (bit + 1) * width // BITS, 3 * height // 4))
    frame = av.VideoFrame(width, height, "yuv420p")
    halves = (Image.new("L", (width // 2, height // 2), shade) for shade in chroma)
    for plane, image in zip(frame.planes, (luma, *halves), strict=True):
        canvas = Image.new("L", (plane.line_size, plane.height))
        canvas.paste(image, (0, 0))
        plane.update(canvas.tobytes())
    return frame


def tones(stream: Any, samples: int, rate: int, layout: str, late: float) -> Any:
    channels = 1 if layout == "mono" else 2
    wave = [round(16_000 * math.sin(2 * math.pi * 1000 * i / rate)) for i in range(rate // 20)]
    pcm = array("h", bytes(2 * samples))
    for second in range(samples // rate + 1):
        begin = second * rate + round(late * rate)
        for i, value in enumerate(wave):
            if 0 <= begin + i < samples:
                pcm[begin + i] = value
    for at in range(0, samples, 4800):
        piece = array("h", [value for value in pcm[at : at + 4800] for _ in range(channels)])
        frame = av.AudioFrame("s16", layout, len(piece) // channels)
        frame.sample_rate, frame.pts = rate, at
        frame.planes[0].update(piece.tobytes())
        yield from stream.encode(frame)
    yield from stream.encode(None)


def track(path: Path, seconds: float, codec: str = "pcm_s16le", rate: int = RATE) -> str:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="stereo")
        for packet in tones(stream, round(seconds * rate), rate, "stereo", 0.3):
            container.mux(packet)
    return str(path)


def remuxed(clip: str, path: Path, *, picture_late: float = 0, sound_late: float = 0, **options: str) -> str:
    """A clip's packets in another file, later or, by an edit list, earlier: what is before 0 is not to be shown."""
    with av.open(clip) as source, av.open(str(path), "w", format="mp4", options=options) as target:
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None and packet.pts is not None:
                late = round(Fraction(picture_late if packet.stream.type == "video" else sound_late) / packet.time_base)
                packet.pts, packet.dts = packet.pts + late, packet.dts + late
                packet.stream = streams[packet.stream_index]
                target.mux(packet)
    return str(path)


def stretched(clip: str, path: Path, before: tuple[int, int], after: tuple[int, int]) -> str:
    """A clip whose track asks for other pixels than it has."""
    data = Path(clip).read_bytes()
    path.write_bytes(data.replace(struct.pack(">HxxHxx", *before), struct.pack(">HxxHxx", *after), 1))
    return str(path)


def ended(clip: str, path: Path, kind: bytes, seconds: float) -> str:
    """A clip whose edit list ends the track of a kind, "vide" or "soun", early."""
    data = Path(clip).read_bytes()
    at = data.rindex(b"elst", 0, data.index(b"hdlr" + bytes(8) + kind)) + 12
    path.write_bytes(data[:at] + struct.pack(">I", round(seconds * 1000)) + data[at + 4 :])
    return str(path)


def turned(clip: str, path: Path, quarter: tuple[int, int, int, int]) -> str:
    """A clip whose track asks to be shown turned."""
    a, b, c, d = (65536 * value for value in quarter)
    data = Path(clip).read_bytes()
    matrix = data.index(struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30), data.index(b"tkhd"))
    path.write_bytes(data[:matrix] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + data[matrix + 36 :])
    return str(path)


LEFT, RIGHT, OVER = (0, -1, 1, 0), (0, 1, -1, 0), (-1, 0, 0, -1)


def marks(path: str, size: tuple[int, int] = (256, 144), offset: tuple[int, int] = (0, 0)) -> list[tuple[int, int]]:
    """Each frame's clip and number, in the order in which they are shown."""
    width, height = size
    found = []
    with av.open(path) as container:
        for frame in container.decode(video=0):
            plane = frame.planes[0]
            luma = Image.frombuffer("L", (frame.width, frame.height), bytes(plane), "raw", "L", plane.line_size, 1)
            at = [(offset[0] + (2 * bit + 1) * width // (2 * BITS), offset[1] + height // 2) for bit in range(BITS)]
            code = sum((luma.tobytes()[y * frame.width + x] > 125) << bit for bit, (x, y) in enumerate(at))
            found.append((code >> 11, code & 2047))
    return found


def times(path: str) -> list[float]:
    """When each frame is shown."""
    with av.open(path) as container:
        return [frame.time or 0.0 for frame in container.decode(video=0)]


def loudness(path: str, rate: int = 8000) -> "array[int]":
    """The film's sound, mono, each sample where it is heard."""
    pcm = array("h")
    with av.open(path) as container:
        resampler = av.AudioResampler("s16", "mono", rate)
        for frame in [*container.decode(audio=0), None]:
            if frame is not None and not pcm:
                pcm.extend(bytes(round((frame.time or 0) * rate)))
            for piece in resampler.resample(frame):
                pcm.frombytes(bytes(piece.planes[0])[: 2 * piece.samples])
    return pcm


def heard(path: str) -> float:
    """How many seconds the sound lasts, as the file says; a decoder gives a whole packet at the end."""
    with av.open(path) as container:
        sound = container.streams.audio[0]
        return float((sound.duration or 0) * (sound.time_base or 0))


def beeps(path: str) -> list[float]:
    """When a beep begins, in seconds."""
    pcm = loudness(path)
    loud = [i for i, value in enumerate(pcm) if abs(value) > 6000]
    return [b / 8000 for a, b in pairwise([-8000, *loud]) if b - a > 800]


def shift(whole: "array[int]", part: "array[int]", begin: int) -> float:
    """By how many seconds a part is heard later in the whole than from sample ``begin`` on; both at 48 kHz."""
    wanted = part[600:4600:7]
    misfits = {
        lag: sum((a - b) ** 2 for a, b in zip(wanted, whole[begin + 600 + lag : begin + 4600 + lag : 7], strict=False))
        for lag in range(-min(begin, 2400), 2401)
    }
    return min(misfits, key=lambda lag: misfits[lag]) / RATE


def shades(path: str, at: tuple[int, int] = (0, 0)) -> list[int]:
    """The luma of one pixel, frame by frame."""
    with av.open(path) as container:
        return [bytes(f.planes[0])[at[1] * f.planes[0].line_size + at[0]] for f in container.decode(video=0)]


def hashes(path: str) -> list[int]:
    with av.open(path) as container:
        return [hash(b"".join(bytes(plane) for plane in frame.planes)) for frame in container.decode(video=0)]
