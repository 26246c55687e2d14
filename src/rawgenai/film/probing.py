"""What the inputs of a film are: each is looked at and opened here, and what decides how it is joined is found.

Nothing is decoded.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from rawgenai import files, media
from rawgenai.errors import RawgenaiError

if TYPE_CHECKING:
    from av import AudioStream, Packet, VideoStream
    from av.container import InputContainer

Colours = tuple[int, int, int]  # matrix, primaries and transfer, by H.273; 2 is unknown
Timed = tuple[float, "Packet[Any]"]  # when it is decoded, in seconds

# Opening an MP4 reads and decodes its beginning to learn what its index says already, unless it is told not to.
UNREAD = {"skip_frame": "all", "probesize": "32"}
AAC_FRAME = 1024  # samples in a packet of AAC-LC
SOUNDS = {"WAV": "wav", "MP3": "mp3", "M4A": "mov", "MP4": "mov", "MOV": "mov"}  # what it is -> FFmpeg's demuxer


class Picture(NamedTuple):
    """What pictures must share to be joined as they are."""

    codec: str
    width: int  # pixels as shown: after the rotation and the stretching that the file asks for
    height: int
    rate: Fraction  # frames a second, on average
    time_base: Fraction  # seconds
    matrix: bytes  # how it is turned
    settings: bytes  # the codec's own: of H.264, SPS and PPS
    colours: Colours  # as the file says; its frames may know more

    @property
    def fps(self) -> float:
        """Frames a second."""
        return float(self.rate)


class Sound(NamedTuple):
    """What sounds must share to be joined as they are."""

    codec: str
    rate: int  # samples a second
    layout: str
    settings: bytes  # the codec's own: of AAC, the AudioSpecificConfig

    @property
    def plain(self) -> bool:
        """Whether it is AAC-LC of 1024 samples a packet, and nothing on top, so that silence can be put into it.

        Source: ISO/IEC 14496-3, section 1.6: five bits of object type, then rate and channels, three flags, and maybe
        an extension, which says here that there is no SBR.
        """
        head, more = int.from_bytes(self.settings[:2]), self.settings[2:]
        return self.codec == "aac" and head >> 11 == 2 and not head & 7 and more in (b"", b"V\xe5\x00")


class Clip(NamedTuple):
    """A clip as a probe finds it."""

    path: str
    length: Fraction  # seconds that its picture lasts
    cut: bool  # an edit list leaves frames out that its streams contain
    lead: int  # samples from its first packet of sound that is of use to where its picture begins; under two packets
    picture: Picture
    sound: Sound | None


def unusable(path: str, why: str) -> RawgenaiError:
    """Say why a clip cannot be used."""
    return RawgenaiError("invalid_usage", f"the clip {path!r} {why}")


def _absent(what: str, path: str) -> RawgenaiError:
    """Say that a file is not there."""
    why = "is a URL; download it first" if "://" in path else "does not exist"
    return RawgenaiError("file_not_found", f"{what} {path!r} {why}")


def look_at(path: str) -> media.Look:
    """Look at a clip. Raises RawgenaiError: file_not_found, invalid_usage."""
    try:
        look = media.look(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _absent("the clip", path) from error
    except (OSError, ValueError) as error:
        raise unusable(path, f"cannot be read: {files.reason(error)}") from error
    if look.kind != "video":
        raise unusable(path, f"is {look.what or 'of an unknown format'}, not MP4 or MOV")
    if not look.width:
        raise unusable(path, "has no picture")
    return look


def check_sound(path: str) -> str:
    """Name FFmpeg's demuxer for a sound file. Raises RawgenaiError: file_not_found, invalid_audio."""
    try:
        what = media.look(path).what
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _absent("--audio", path) from error
    except (OSError, ValueError) as error:
        raise RawgenaiError("invalid_audio", f"--audio {path!r} cannot be read: {files.reason(error)}") from error
    if what not in SOUNDS:
        raise RawgenaiError("invalid_audio", f"--audio {path!r} is {what or 'of an unknown format'}, not WAV, MP3, M4A")
    return SOUNDS[what]


def require_av(what: str) -> None:
    """Object where PyAV is not installed. Raises RawgenaiError: missing_extra."""
    try:
        import av  # noqa: F401 - whether it is there is the question
    except ImportError as error:
        raise RawgenaiError(
            "missing_extra",
            f"{what} with PyAV, which is not installed: uv tool install 'rawgenai[media]'"
            " (or: pip install 'rawgenai[media]')",
        ) from error


@contextmanager
def opened(path: str, *, kind: str = "", decode: bool = False) -> Iterator["InputContainer"]:
    """Open a file with one demuxer: a text that claims to be a playlist is never followed to other files.

    ``kind`` is that of a sound file, empty for a clip. ``decode`` lets it look at the first frames; an MP4 is opened
    faster without. What FFmpeg says of the file meanwhile becomes an error of that input.
    """
    import av

    options = {} if kind or decode else UNREAD
    try:
        with av.open(f"file:{path}", "r", format=kind or "mov", options=options) as container:
            yield container
    except av.FFmpegError as error:
        code, what = ("invalid_audio", "--audio ") if kind else ("invalid_usage", "")
        raise RawgenaiError(code, f"{what}{path!r} cannot be read: {files.reason(error)}") from error


def probe(path: str) -> Clip:
    """Find what decides how a clip is joined. Nothing is decoded. Raises RawgenaiError: invalid_usage."""
    look, matrix = look_at(path), media.matrix(path)
    with opened(path) as container:
        if not container.streams.video or container.streams.video[0].codec_context is None:
            raise unusable(path, "has no picture that can be decoded")
        source = container.streams.video[0]
        context, rate = source.codec_context, source.average_rate or source.guessed_rate
        cut = any(entry.is_discard for entry in source.index_entries)
        sound, lead = _probe_sound(container)
        length = seconds_of(source.duration, source)
        if not rate or not length:
            raise unusable(path, "has no frames")
        picture = Picture(
            context.codec.canonical_name,
            look.width,
            look.height,
            Fraction(rate),
            base_of(source),
            matrix,
            context.extradata or b"",
            (context.colorspace, context.color_primaries, context.color_trc),
        )
    return Clip(path, length, cut, lead, picture, sound)


def _probe_sound(container: "InputContainer") -> tuple[Sound | None, int]:
    for source in container.streams.audio[:1]:
        context = source.codec_context
        if context is None:
            return None, 0
        sound = Sound(
            context.codec.canonical_name,
            source.rate,
            source.layout.name,
            context.extradata or b"",
        )
        picture = container.streams.video[0]
        first = next((entry.timestamp for entry in source.index_entries), 0)
        lead = max(0, round((seconds_of(picture.start_time, picture) - seconds_of(first, source)) * source.rate))
        return sound, lead if lead <= AAC_FRAME else AAC_FRAME + lead % AAC_FRAME
    return None, 0


def base_of(source: "VideoStream | AudioStream") -> Fraction:
    """Return the unit in which a stream counts its time, in seconds."""
    return source.time_base or Fraction(1)


def seconds_of(units: int | None, source: "VideoStream | AudioStream") -> Fraction:
    """Turn a time of a stream into seconds."""
    return (units or 0) * base_of(source)


def packets(container: "InputContainer", source: "VideoStream | AudioStream") -> Iterator["Packet[Any]"]:
    """Read the packets of one stream; those of others are skipped, not read."""
    from av.stream import Discard

    for other in container.streams:
        if other.index != source.index:
            other.discard = Discard.all
    return (packet for packet in container.demux(source) if packet.dts is not None and packet.size)


def timed(packets: Iterable["Packet[Any]"]) -> Iterator[Timed]:
    """Give packets that an encoder made, each with its time."""
    return ((float((packet.dts or 0) * packet.time_base), packet) for packet in packets)
