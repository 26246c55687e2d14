"""Looks at the media of a request with eyes of its own: what came inline or was uploaded. No link is ever followed.

The client looks at headers alone; here pictures are decoded and tracks are walked through, so that the two disagree
when one of them is wrong. The limits are the model's row's; the sentences are the API's (reference 2.5 and 4.1).
"""

import io
import math
import re
import wave
from binascii import a2b_base64
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple
from urllib.parse import urlsplit

from rawgenai.dashscope.models import Limits

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile


class Unfit(Exception):  # noqa: N818 - an answer of the API, no error of the program
    """The media is refused with this code and sentence of the API."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(message)


class Seen(NamedTuple):
    """What was found behind one link of a request."""

    field: str
    kind: str  # image, video or audio; "" where nothing is known, as behind a URL
    source: bytes | Path | None = None  # what came inline, or the file of an upload
    width: int = 0  # pixels as shown, of an image or a video
    height: int = 0
    seconds: float | None = None  # of a video or a sound; None where nobody knows
    fps: float | None = None  # frames a second of a video, on average


class _Format(NamedTuple):
    pattern: bytes  # of the first bytes
    kind: str
    mime: str
    names: tuple[str, ...]  # what a file of it may end in


_FORMATS = (
    _Format(rb"\xff\xd8\xff", "image", "image/jpeg", (".jpg", ".jpeg")),
    _Format(rb"\x89PNG\r\n\x1a\n", "image", "image/png", (".png",)),
    _Format(rb"BM", "image", "image/bmp", (".bmp",)),
    _Format(rb"RIFF.{4}WEBP", "image", "image/webp", (".webp",)),
    _Format(rb"II\*\0|MM\0\*", "image", "image/tiff", (".tif", ".tiff")),
    _Format(rb"RIFF.{4}WAVE", "audio", "audio/wav", (".wav",)),
    _Format(rb"ID3|\xff[\xe2\xe3\xf2\xf3\xfa\xfb]", "audio", "audio/mpeg", (".mp3",)),
    _Format(rb".{4}ftypqt  ", "video", "video/quicktime", (".mov",)),
    _Format(rb".{4}ftyp(?!avif|avis|hei|hev|mif1|msf1|M4A|M4B)", "video", "video/mp4", (".mp4",)),
)
_KNOWN_NAMES = {name for row in _FORMATS for name in row.names}

# Field of the input -> the kinds of media that it takes.
_FIELDS: dict[str, tuple[str, ...]] = {
    "img_url": ("image",),
    "first_frame_url": ("image",),
    "last_frame_url": ("image",),
    "reference_urls": ("image", "video"),
    "audio_url": ("audio",),
    "video_url": ("video",),
    "mask_image_url": ("image",),
    "mask_video_url": ("video",),
    "first_clip_url": ("video",),
    "last_clip_url": ("video",),
    "ref_images_url": ("image",),
}

# What a piece of media is for, where a body lists them -> its kind.
_TYPES: dict[str, str] = {
    "first_frame": "image",
    "last_frame": "image",
    "reference_image": "image",
    "first_clip": "video",
    "video": "video",
    "reference_video": "video",
    "driving_audio": "audio",
    "reference_audio": "audio",
}
VOICE = "reference_voice"
MUSIC = ("audio_url", "driving_audio", "reference_audio")  # what lies under the clip

_GONE = Unfit(
    "InvalidParameter.DataInspection", "Unable to download the media resource during the data inspection process."
)
_BAD_FORMAT = Unfit(
    "InvalidParameter.DataInspection", "The media format is not supported or incorrect for the data inspection."
)
_BAD_SOUND = Unfit("InvalidURL", "File type is not supported. Allowed types are: .wav, .mp3.")
_BAD_IMAGE = Unfit("InvalidParameter", "Failed to decode the image during the data inspection.")
_BAD_SIZE = Unfit("InvalidParameter", "The image size is not supported for the data inspection.")
_BAD_PIXELS = Unfit("InvalidFile.Resolution", "The resolution of the video is not supported.")
_BAD_FPS = Unfit("InvalidFile.FPS", "The frame rate of the video is not supported.")


def inspect(fields: Any, limits: Mapping[str, Limits], upload: Callable[[str], Path]) -> list[Seen]:
    """Look behind every link of a request's input, in the order of the fields; ``upload`` finds the file of a name.

    Raises Unfit for the first that the model does not take.
    """
    found = []
    for field, kinds in _FIELDS.items():
        value = getattr(fields, field, None)
        for link in value if isinstance(value, list) else [value] if value else []:
            allowed = {kind: limits[kind] for kind in kinds if kind in limits}
            found.append(_inspect(field, link, allowed, upload) if allowed else Seen(field, ""))
    for piece in getattr(fields, "media", None) or ():
        kind = _TYPES[piece.type]
        found.append(_inspect(piece.type, piece.url, {kind: limits[kind]}, upload))
        if piece.reference_voice:
            found.append(_inspect(VOICE, piece.reference_voice, {"audio": limits["audio"]}, upload))
    return found


def check_videos(seen: list[Seen], named: int, most: int) -> None:
    """Count the videos: those that were seen, and those that only their name tells. Raises Unfit."""
    count = named + sum(one.kind == "video" and one.field == "reference_urls" for one in seen)
    if count > most:
        raise Unfit("InvalidParameter", f"reference_urls must hold at most {most} videos, got {count}")


def recognise(file: BinaryIO) -> _Format | None:
    """Tell the format of a file by its first bytes."""
    head = file.read(64)
    return next((row for row in _FORMATS if re.match(row.pattern, head, re.DOTALL)), None)


def _inspect(field: str, link: str, limits: Mapping[str, Limits], upload: Callable[[str], Path]) -> Seen:
    if link.startswith("data:"):
        data = a2b_base64(link.partition(",")[2])
        return _look(field, io.BytesIO(data), "", limits)._replace(source=data)
    if link.startswith("oss://"):
        path = upload(link.removeprefix("oss://"))
        try:
            with path.open("rb") as file:
                return _look(field, file, link, limits)._replace(source=path)
        except FileNotFoundError as error:
            raise _GONE from error
    return Seen(field, "")


def _look(field: str, file: BinaryIO, name: str, limits: Mapping[str, Limits]) -> Seen:
    """See what a file is by its content, and whether the model takes it."""
    wrong = _BAD_SOUND if "audio" in limits else _BAD_FORMAT
    found = recognise(file)
    size = file.seek(0, io.SEEK_END)
    if found is None or found.kind not in limits or found.mime not in limits[found.kind].formats:
        raise wrong
    said = Path(urlsplit(name).path).suffix.lower()
    if said in _KNOWN_NAMES and said not in found.names:  # the name of an upload must say what it is (reference 5)
        raise wrong
    row = limits[found.kind]
    if size > row.bytes:
        code, sentence = _TOO_LARGE[found.kind]
        raise Unfit(code, sentence.format(row.bytes // 1024 // 1024))
    return _LOOKS[found.kind](file, found.mime, row, Seen(field, found.kind))


_TOO_LARGE = {
    "image": (_BAD_SIZE.code, _BAD_SIZE.message),
    "video": ("InvalidFile.Size", "File size is larger than {}MB."),
    "audio": ("InvalidURL", "File size is larger than {}MB."),
}


# --- images --------------------------------------------------------------------------------------------------------


def open_image(file: BinaryIO, mime: str) -> "ImageFile":
    """Open an image without Pillow's own guard against many pixels, which would warn where the API refuses."""
    from PIL import BmpImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

    plugins: dict[str, Callable[[BinaryIO], ImageFile]] = {
        "image/jpeg": JpegImagePlugin.JpegImageFile,
        "image/png": PngImagePlugin.PngImageFile,
        "image/bmp": BmpImagePlugin.BmpImageFile,
        "image/webp": WebPImagePlugin.WebPImageFile,
        "image/tiff": TiffImagePlugin.TiffImageFile,
    }
    file.seek(0)
    return plugins[mime](file)


def _image(file: BinaryIO, mime: str, limits: Limits, seen: Seen) -> Seen:
    try:
        image = open_image(file, mime)
    except Exception as error:  # what Pillow raises on garbage is no closed list
        raise _BAD_IMAGE from error
    least, most = limits.sides or (1, 1 << 16)
    if not (least <= min(image.size) and max(image.size) <= most) or _is_stretched(image.size, limits):
        raise _BAD_SIZE
    if image.has_transparency_data and not limits.alpha:
        raise _BAD_FORMAT
    try:
        size = image.size[::-1] if image.getexif().get(_ORIENTATION) in _LYING else image.size
        image.draft("RGB", (least, least))  # a JPEG is read to its end all the same, at an eighth of its pixels
        image.load()
    except Exception as error:
        raise _BAD_IMAGE from error
    return seen._replace(width=size[0], height=size[1])


def _is_stretched(size: tuple[int, int], limits: Limits) -> bool:
    return limits.stretch is not None and max(size) > limits.stretch * min(size)


_ORIENTATION = 0x0112
_LYING = range(5, 9)  # orientations of pictures that are shown turned to the side


# --- sound and video -----------------------------------------------------------------------------------------------


def _audio(file: BinaryIO, mime: str, limits: Limits, seen: Seen) -> Seen:
    seconds = (_wav_seconds if mime == "audio/wav" else _walked)(file, _BAD_SOUND)
    least, most = limits.seconds or (0, math.inf)
    if seconds is not None and seconds > most + _LENIENCE:
        raise Unfit("InvalidURL", f"The input audio is longer than {most:g}s.")
    if seconds is not None and seconds < least - _LENIENCE:
        raise Unfit("InvalidURL", f"The input audio is shorter than {least:g}s.")
    return seen._replace(seconds=seconds)


def _video(file: BinaryIO, _: str, limits: Limits, seen: Seen) -> Seen:
    seconds = _walked(file, _BAD_FORMAT)
    least, most = limits.seconds or (0, math.inf)
    if seconds is not None and not least - _LENIENCE <= seconds <= most + _LENIENCE:
        raise Unfit("InvalidFile.Duration", f"The video must be {least:g} to {most:g}s long, and is {seconds:.2f}s.")
    size, fps = _pixels(file)
    if size is not None and limits.sides is not None:
        least, most = limits.sides
        if not (least <= min(size) and max(size) <= most) or _is_stretched(size, limits):
            raise _BAD_PIXELS
    if fps is not None and limits.fps is not None and fps < limits.fps - _LENIENCE:
        raise _BAD_FPS
    width, height = size or (0, 0)
    return seen._replace(seconds=seconds, width=width, height=height, fps=fps)


def _pixels(file: BinaryIO) -> tuple[tuple[int, int] | None, float | None]:
    """Look at the first frame of a video as it is shown, and at how fast they follow; None where PyAV is missing."""
    if not find_spec("av"):
        return None, None
    import av

    file.seek(0)
    with av.open(file, "r") as container:
        rate = container.streams.video[0].average_rate
        frame = next(container.decode(video=0))
    size = (frame.height, frame.width) if frame.rotation % 180 else (frame.width, frame.height)
    return size, float(rate) if rate else None


_LENIENCE = 0.1  # seconds or frames; a clip of 30 s has frames that end a little later, and so has an MP3
_LOOKS = {"image": _image, "video": _video, "audio": _audio}


def _wav_seconds(file: BinaryIO, wrong: Unfit) -> float | None:
    """Divide the bytes by what a second takes; a header may claim more than the file has, as one from a pipe does."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    try:
        with wave.open(file) as sound:
            frame = sound.getnchannels() * sound.getsampwidth()
            return float(min(sound.getnframes() * frame, size) / frame / sound.getframerate())
    except (wave.Error, EOFError, ZeroDivisionError):  # broken, or not plain PCM, of which PyAV knows more
        return _walked(file, wrong)


def _walked(file: BinaryIO, wrong: Unfit) -> float | None:
    """Walk through the packets of a file to its end, and say when the last one ends; None where PyAV is missing."""
    if not find_spec("av"):
        return None
    import av

    kind = "audio" if wrong is _BAD_SOUND else "video"
    starts, ends = [], []
    try:
        file.seek(0)
        with av.open(file, "r") as container:
            next(container.decode(container.streams.get({kind: 0})))  # the clip will have to show it
        file.seek(0)
        with av.open(file, "r") as container:
            for packet in container.demux(container.streams.get({kind: 0})):
                if packet.pts is not None and packet.time_base:
                    starts.append(packet.pts * packet.time_base)
                    ends.append((packet.pts + (packet.duration or 0)) * packet.time_base)
        return float(max(ends) - min(starts))
    except (av.FFmpegError, StopIteration, IndexError, ValueError) as error:
        raise wrong from error
