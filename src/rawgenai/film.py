"""Films: clips joined to one, the last frame of a clip, what a clip is. PyAV (extra ``media``) does the work.

A film is a picture and a sound, each a stream of packets in the order of their times, each either copied as it is in
the clips or encoded anew, and merged. So clips whose sounds differ keep their picture untouched, and the other way
round. Nothing is held but what is being joined: memory does not grow with the film.
"""

import io
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from functools import partial
from heapq import merge
from itertools import accumulate, chain, islice, pairwise, repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from rawgenai import files, media
from rawgenai.errors import RawgenaiError

if TYPE_CHECKING:
    from av import AudioStream, Packet, VideoFrame, VideoStream
    from av.container import InputContainer, OutputContainer
    from PIL.Image import Image

T = TypeVar("T")
Colours = tuple[int, int, int]  # matrix, primaries and transfer, by H.273; 2 is unknown
Timed = tuple[float, "Packet[Any]"]  # when it is decoded, in seconds

VIDEO_ENCODERS = {  # H.264, the first that PyAV has -> its options for a quality that nobody tells from the clip's own
    "libx264": {"crf": "18", "preset": "fast"},
    "libopenh264": {"b": "12M"},
    "h264_videotoolbox": {"b": "12M"},
    "h264_mf": {"b": "12M"},
}
LONGEST_FADE = 60  # seconds
COPIED = ("h264", "hevc", "av1", "vp9", "mpeg4")  # what MP4 may hold and players know
# Opening an MP4 reads and decodes its beginning to learn what its index says already, unless it is told not to.
UNREAD = {"skip_frame": "all", "probesize": "32"}
AUDIO_RATE = 48_000  # where the sound's own is none that AAC knows
AUDIO_RATES = (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000)
AUDIO_BITS = 192_000  # a second
AAC_FRAME = 1024  # samples in a packet of AAC-LC
SOUNDS = {"WAV": "wav", "MP3": "mp3", "M4A": "mov", "MP4": "mov", "MOV": "mov"}  # what it is -> FFmpeg's demuxer
MATRICES = {1: "bt709", 5: "smpte170m", 6: "smpte170m", 7: "smpte240m", 9: "bt2020"}  # H.273 -> FFmpeg's scale filter
TURNS = {90: "transpose=cclock", -90: "transpose=clock", 180: "hflip,vflip", -180: "hflip,vflip"}  # degrees to the left


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


class Span(NamedTuple):
    """Where a clip lies in a film, in the film's frames."""

    start: int
    frames: int


class Info(NamedTuple):
    """What a clip is."""

    seconds: float  # that its picture lasts
    width: int  # pixels as shown
    height: int
    fps: float  # frames a second, on average
    codec: str | None  # of the picture; None where PyAV is not installed
    sound: bool
    audio_codec: str | None  # None where there is no sound, or no PyAV


class Film(NamedTuple):
    """What a join has made, and how."""

    file: str
    seconds: float
    picture: str  # "copied" or "encoded"
    sound: str  # "copied", "encoded" or "none"
    reasons: list[str]  # why what could have been copied was encoded; sentences


# --- The three things to do ----------------------------------------------------------------------------------------


def info(path: str) -> Info:
    """Tell what a local MP4 or MOV clip is. No frame is decoded.

    Without PyAV it is what the file's own index says: no codecs, edit lists are not looked at, and fragmented clips
    are refused. Raises RawgenaiError: file_not_found, invalid_usage (no clip, cut off, unreadable).
    """
    look = _look("the clip", path)
    try:
        _require_av("")
    except RawgenaiError:
        return _measured(path, look)
    clip = _probe(path)
    sound = None if clip.sound is None else clip.sound.codec
    shown = clip.picture
    return Info(float(clip.length), shown.width, shown.height, shown.fps, shown.codec, sound is not None, sound)


def _measured(path: str, look: media.Look) -> Info:
    try:
        found = media.measure(path)
    except (OSError, ValueError) as error:
        raise _unusable("the clip", path, f"cannot be measured without PyAV: {files.reason(error)}") from error
    return Info(found.seconds, look.width, look.height, found.fps, None, found.sound, None)


def last_frame(clip: str, output: str) -> str:
    """Write the last frame of a clip that is shown to a PNG file, of the clip's own pixels; return its absolute path.

    Raises RawgenaiError: file_not_found, invalid_usage (no clip, or the output is the clip), invalid_format (not
    .png), output_write_error, missing_extra.
    """
    target = files.check_target(output, ".png")
    _look("the clip", clip)
    files.refuse_own_input(target, [clip])
    image = _last_image(clip)
    with _part_of(target) as part:
        image.save(part, "PNG")
    return target


def last_picture(clip: str, most: int) -> tuple[bytes, str]:
    """Take the last frame of a clip that is shown, of the clip's own pixels, as a file's bytes and their MIME type.

    It is a PNG, as ``last_frame`` writes it; where that has over ``most`` bytes, which no frame of 1920x1080 has at
    10 MiB, a JPEG that looks the same. The same clip gives the same bytes. Raises RawgenaiError: file_not_found,
    invalid_usage (no clip), missing_extra.
    """
    image, data = _last_image(clip), io.BytesIO()
    image.save(data, "PNG")
    if data.tell() <= most:
        return data.getvalue(), "image/png"
    data = io.BytesIO()
    image.save(data, "JPEG", quality=95, subsampling=0)
    return data.getvalue(), "image/jpeg"


def join(
    clips: Sequence[str],
    output: str,
    *,
    audio: str | None = None,
    crossfade: float = 0,
    warn: Callable[[str], None] = lambda _: None,
) -> Film:
    """Join local clips to one film, an MP4 file, in their order.

    Picture and sound are copied where the clips are alike, else encoded: to the first clip's pixels and frames a
    second, with black bars where the shape differs; ``warn`` is told why. A clip without sound among others is
    silent. ``audio`` names a WAV, MP3 or M4A file that stands in for all sound, cut to the film's length or followed
    by silence. ``crossfade`` is how many seconds each clip fades over into the next. Raises RawgenaiError:
    invalid_usage (no clip, cut off, output is an input, fade too long), file_not_found, invalid_audio,
    invalid_format, output_write_error, missing_extra.
    """
    target = check(clips, output, audio=audio, crossfade=crossfade)
    found = [_probe(path) for path in clips]
    plan = _plan(found, audio, crossfade, warn)
    with _part_of(target) as part:
        _write(part, plan)
        seconds = _length_of(part)
    return Film(target, seconds, plan.picture, plan.sound, plan.reasons)


def check(clips: Sequence[str], output: str, *, audio: str | None = None, crossfade: float = 0) -> str:
    """Object to a join before anything of it is done, also before its clips are made; the film's absolute path.

    Raises RawgenaiError as ``join``.
    """
    target = files.check_target(output)
    if not 0 <= crossfade <= LONGEST_FADE:
        raise RawgenaiError("invalid_usage", f"--crossfade {crossfade:g} is not from 0 to {LONGEST_FADE} seconds")
    for path in clips:
        _look("the clip", path)
    kind = "" if audio is None else _check_sound(audio)
    files.refuse_own_input(target, [*clips, *([] if audio is None else [audio])])
    _require_av("clips are joined")
    if audio is not None:
        _probe_voice(audio, kind)
    return target


def check_fade(place: int, count: int, seconds: float, crossfade: float) -> None:
    """Object to a clip, the ``place``-th of ``count`` from 0, that is shorter than what fades of it at both its ends.

    Raises RawgenaiError: invalid_usage.
    """
    if seconds < crossfade * ((place > 0) + (place < count - 1)):
        raise RawgenaiError("invalid_usage", f"{seconds:g} s are too short for a crossfade of {crossfade:g} s")


# --- What the inputs are -------------------------------------------------------------------------------------------


def _unusable(what: str, path: str, why: str) -> RawgenaiError:
    return RawgenaiError("invalid_usage", f"{what} {path!r} {why}")


def _look(what: str, path: str) -> media.Look:
    """Look at a clip. Raises RawgenaiError: file_not_found, invalid_usage."""
    try:
        look = media.look(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RawgenaiError("file_not_found", f"{what} {path!r} does not exist") from error
    except (OSError, ValueError) as error:
        raise _unusable(what, path, f"cannot be read: {files.reason(error)}") from error
    if look.kind != "video":
        raise _unusable(what, path, f"is {look.what or 'of an unknown format'}, not MP4 or MOV")
    if not look.width:
        raise _unusable(what, path, "has no picture")
    return look


def _check_sound(path: str) -> str:
    """Name FFmpeg's demuxer for a sound file. Raises RawgenaiError: file_not_found, invalid_audio."""
    try:
        what = media.look(path).what
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RawgenaiError("file_not_found", f"--audio {path!r} does not exist") from error
    except (OSError, ValueError) as error:
        raise RawgenaiError("invalid_audio", f"--audio {path!r} cannot be read: {files.reason(error)}") from error
    if what not in SOUNDS:
        raise RawgenaiError("invalid_audio", f"--audio {path!r} is {what or 'of an unknown format'}, not WAV, MP3, M4A")
    return SOUNDS[what]


def _require_av(what: str) -> None:
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
def _opened(path: str, *, kind: str = "", decode: bool = False) -> Iterator["InputContainer"]:
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


def _probe(path: str) -> Clip:
    """Find what decides how a clip is joined. Nothing is decoded. Raises RawgenaiError: invalid_usage."""
    look, matrix = _look("the clip", path), media.matrix(path)
    with _opened(path) as container:
        if not container.streams.video or container.streams.video[0].codec_context is None:
            raise _unusable("the clip", path, "has no picture that can be decoded")
        source = container.streams.video[0]
        context, rate = source.codec_context, source.average_rate or source.guessed_rate
        cut = any(entry.is_discard for entry in source.index_entries)
        sound, lead = _probe_sound(container)
        length = _time(source.duration, source)
        if not rate or not length:
            raise _unusable("the clip", path, "has no frames")
        picture = Picture(
            context.codec.canonical_name,
            look.width,
            look.height,
            Fraction(rate),
            _base(source),
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
        lead = max(0, round((_time(picture.start_time, picture) - _time(first, source)) * source.rate))
        return sound, lead if lead <= AAC_FRAME else AAC_FRAME + lead % AAC_FRAME
    return None, 0


def _base(source: "VideoStream | AudioStream") -> Fraction:
    return source.time_base or Fraction(1)


def _time(units: int | None, source: "VideoStream | AudioStream") -> Fraction:
    return (units or 0) * _base(source)


# --- The plan ------------------------------------------------------------------------------------------------------


class Plan(NamedTuple):
    """How a film will be made."""

    clips: list[Clip]
    audio: str | None
    spans: list[Span]
    fade: int  # frames
    picture: str  # as in Film
    sound: str
    reasons: list[str]

    @property
    def rate(self) -> Fraction:
        """Frames of the film a second."""
        return self.clips[0].picture.rate

    @property
    def frames(self) -> int:
        """Frames of the film."""
        return self.spans[-1].start + self.spans[-1].frames


_PICTURES_DIFFER = {  # a field of Picture -> how a difference is told, {0} being the clip and {1} the first one
    "codec": "is {0.codec}, not {1.codec}",
    "width": "has {0.width}*{0.height} pixels, not {1.width}*{1.height}",
    "height": "has {0.width}*{0.height} pixels, not {1.width}*{1.height}",
    "rate": "has {0.fps:.6g} frames a second, not {1.fps:.6g}",
    "matrix": "is turned another way",
}
_SOUNDS_DIFFER = {
    "codec": "has {0.codec} sound, not {1.codec}",
    "rate": "has sound at {0.rate} Hz, not {1.rate}",
    "layout": "has {0.layout} sound, not {1.layout}",
}


def _difference(ours: Picture | Sound, theirs: Picture | Sound, said: dict[str, str]) -> str | None:
    for field in ours._fields:
        if getattr(ours, field) != getattr(theirs, field):
            return said.get(field, "was encoded with other settings").format(theirs, ours)
    return None


def _plan(clips: list[Clip], audio: str | None, crossfade: float, warn: Callable[[str], None]) -> Plan:
    """Decide what is copied, and where the clips lie. Raises RawgenaiError: invalid_usage (the fade is too long)."""
    rate = clips[0].picture.rate
    fade = round(crossfade * rate) if len(clips) > 1 else 0
    spans = _spans(clips, rate, fade)
    for number, (clip, span) in enumerate(zip(clips, spans, strict=True)):
        fades = fade * ((number > 0) + (number < len(clips) - 1))
        if span.frames < fades:
            why = f"lasts {float(clip.length):g} s, too short for a crossfade of {crossfade:g} s"
            raise _unusable("the clip", clip.path, why)
    pictures, sounds = _picture_reasons(clips), [] if audio is not None else _sound_reasons(clips)
    for why in pictures:
        warn(f"the picture is encoded anew: {why}")
    for why in sounds:
        warn(f"the sound is encoded anew: {why}")
    if audio is not None and any(clip.sound for clip in clips):
        warn("the clips' own sound gives way to --audio")
    has_sound = audio is not None or any(clip.sound for clip in clips)
    sound = "encoded" if audio is not None or sounds or fade else "copied"
    picture = "encoded" if pictures or fade else "copied"
    return Plan(clips, audio, spans, fade, picture, sound if has_sound else "none", [*pictures, *sounds])


def _picture_reasons(clips: Sequence[Clip]) -> list[str]:
    first = clips[0]
    if first.picture.codec not in COPIED:
        return [f"{first.path!r} is {first.picture.codec}, which not every player knows"]
    found = [(clip, "is cut by an edit list" if clip.cut else None) for clip in clips]
    found = [(clip, why or _difference(first.picture, clip.picture, _PICTURES_DIFFER)) for clip, why in found]
    return [f"{clip.path!r} {why}" for clip, why in found if why]


def _sound_reasons(clips: Sequence[Clip]) -> list[str]:
    heard = [(clip.path, clip.sound) for clip in clips if clip.sound is not None]
    if not heard:
        return []
    (path, first), *rest = heard
    if not first.plain:
        return [f"{path!r} has {first.codec} sound, not plain AAC-LC"]
    found = [(path, _difference(first, sound, _SOUNDS_DIFFER)) for path, sound in rest]
    return [f"{path!r} {why}" for path, why in found if why]


def _spans(clips: Sequence[Clip], rate: Fraction, fade: int) -> list[Span]:
    """Lay the clips on the film's grid of frames; what is rounded is the place, so that nothing adds up."""
    cuts = [round(time * rate) for time in accumulate((clip.length for clip in clips), initial=Fraction(0))]
    return [Span(start - number * fade, end - start) for number, (start, end) in enumerate(pairwise(cuts))]


def _spliced(
    reels: Iterable[Iterator[T]], spans: Sequence[Span], fade: int, mix: Callable[[T, T, float], T]
) -> Iterator[T]:
    """Put reels one behind the other, each ``fade`` items over the end of the one before; the share grows from 0 to 1.

    Each reel yields at least as many items as its span says.
    """
    leaving: Iterator[T] = iter(())
    for number, (reel, span) in enumerate(zip(reels, spans, strict=True)):
        over = fade if number else 0
        for step, (old, new) in enumerate(zip(leaving, islice(reel, over), strict=False)):
            yield mix(old, new, step / over)
        yield from islice(reel, span.frames - over - (fade if number < len(spans) - 1 else 0))
        leaving = reel


# --- The picture ---------------------------------------------------------------------------------------------------


def _copied_picture(clips: Iterable[Clip], stream: "VideoStream") -> Iterator[Timed]:
    """Move each clip's packets behind those of the one before: its first frame where the last one's time is over."""
    end, before = 0, None
    for clip in clips:
        with _opened(clip.path) as container:
            source = container.streams.video[0]
            shift = end - (source.start_time or 0)
            for packet in _packets(container, source):
                packet.pts = pts = (packet.pts or 0) + shift
                dts = (packet.dts or 0) + shift
                # A clip whose encoder looks further ahead than the last one's begins to be decoded before it ends.
                packet.dts = before = dts if before is None else max(dts, before + 1)
                packet.stream = stream
                end = max(end, pts + (packet.duration or 0))
                yield before * float(clip.picture.time_base), packet


def _packets(container: "InputContainer", source: "VideoStream | AudioStream") -> Iterator["Packet[Any]"]:
    """Read the packets of one stream; those of others are skipped, not read."""
    from av.stream import Discard

    for other in container.streams:
        if other.index != source.index:
            other.discard = Discard.all
    return (packet for packet in container.demux(source) if packet.dts is not None and packet.size)


class Canvas(NamedTuple):
    """What the frames of an encoded film are, besides 8-bit 4:2:0 from 16 to 235."""

    width: int
    height: int
    rate: Fraction
    colours: Colours


def _canvas(first: Clip) -> Canvas:
    """Make a film's frames like its first clip's, whose own colours are known only where it is decoded."""
    with _opened(first.path, decode=True) as container:
        context = container.streams.video[0].codec_context
        colours = context.colorspace, context.color_primaries, context.color_trc
    return Canvas(*_even(first.picture), first.picture.rate, colours)


def _even(picture: Picture) -> tuple[int, int]:
    # 4:2:0 has a colour for every second pixel each way.
    return max(2, picture.width & ~1), max(2, picture.height & ~1)


def _reel(clip: Clip, count: int, canvas: Canvas) -> Iterator["VideoFrame"]:
    """Decode so many frames of a clip, at the film's rate: each moment shows the frame that the clip shows then.

    Where the clip ends early, its last frame stays; where it has more, there are more.
    """
    shown, number = None, 0
    with _opened(clip.path) as container:
        source = container.streams.video[0]
        source.thread_type = "AUTO"
        fit = _fitter(clip.picture, canvas)
        start = source.start_time or 0
        for frame in container.decode(source):
            begins = round(_time((frame.pts or 0) - start, source) * canvas.rate)
            if shown is not None:
                yield from repeat(shown, begins - number)
                number = max(number, begins)
            shown = fit(frame)
    if shown is None:
        raise _unusable("the clip", clip.path, "has no frame that can be decoded")
    yield from repeat(shown, count - number)


def _fitter(picture: Picture, film: Canvas) -> Callable[["VideoFrame"], "VideoFrame"]:
    """Give the function that turns a clip's frames into the film's: upright, and scaled between bars."""
    from av.filter import Graph

    size = (film.width, film.height)
    graphs: dict[Any, Graph] = {}  # one, unless a clip changes its pixels on the way

    def fit(frame: "VideoFrame") -> "VideoFrame":
        known = (frame.format.name, frame.width, frame.height, frame.rotation, _matrix(frame.colorspace, film))
        if known == ("yuv420p", *size, 0, "") and _even(picture) == size:
            return frame
        if known not in graphs:
            graphs[known] = _graph(frame, picture, film)
        frame.pts = None  # when it is shown is not the graph's affair
        graphs[known].push(frame)
        return graphs[known].vpull()

    return fit


def _matrix(theirs: int, film: Canvas) -> str:
    """Say to the scale filter which colours become which; nothing where they are the same.

    What is not known counts as BT.601, as all of FFmpeg takes it, ``last_frame`` too.
    """
    before, after = (MATRICES.get(code, "smpte170m") for code in (theirs, film.colours[0]))
    return f":in_color_matrix={before}:out_color_matrix={after}" if before != after else ""


def _graph(frame: "VideoFrame", picture: Picture, film: Canvas) -> Any:
    from av.filter import Graph

    share = min(Fraction(film.width, picture.width), Fraction(film.height, picture.height))
    width = min(film.width, 2 * max(1, round(picture.width * share / 2)))
    height = min(film.height, 2 * max(1, round(picture.height * share / 2)))
    steps = [
        *filter(None, TURNS.get(frame.rotation, "").split(",")),
        f"scale={width}:{height}:flags=bicubic:out_range=tv{_matrix(frame.colorspace, film)}",
        "format=yuv420p",
        f"pad={film.width}:{film.height}:-1:-1",
        "setsar=1",
    ]
    graph = Graph()
    nodes = [graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1000))]
    nodes += [graph.add(name, arguments or None) for name, _, arguments in (step.partition("=") for step in steps)]
    graph.link_nodes(*nodes, graph.add("buffersink")).configure()
    return graph


def _blended(old: "VideoFrame", new: "VideoFrame", share: float) -> "VideoFrame":
    """Mix two frames of the same size in 8-bit 4:2:0."""
    import av
    from PIL import Image

    mixed = av.VideoFrame(new.width, new.height, "yuv420p")
    for ours, theirs, target in zip(old.planes, new.planes, mixed.planes, strict=True):
        size = (target.width, target.height)
        grey = [Image.frombuffer("L", size, bytes(plane), "raw", "L", plane.line_size, 1) for plane in (ours, theirs)]
        canvas = Image.new("L", (target.line_size, target.height))  # a plane's lines may be longer than the picture
        canvas.paste(Image.blend(grey[0], grey[1], share), (0, 0))
        target.update(canvas.tobytes())
    return mixed


def _encoded_picture(frames: Iterable["VideoFrame"], stream: "VideoStream", rate: Fraction) -> Iterator[Timed]:
    for number, frame in enumerate(frames):
        frame.pts, frame.time_base = number, 1 / rate
        frame.pict_type = 0  # else the encoder would repeat what the clip's own made of it
        yield from _timed(stream.encode(frame))
    yield from _timed(stream.encode(None))


def _timed(packets: Iterable["Packet[Any]"]) -> Iterator[Timed]:
    return ((float((packet.dts or 0) * packet.time_base), packet) for packet in packets)


# --- The sound -----------------------------------------------------------------------------------------------------


def _copied_sound(plan: Plan, stream: "AudioStream") -> Iterator[Timed]:
    """Lay the clips' packets on one grid of AAC's frames, each clip's as near to its picture as the grid has a place.

    That is half a packet at most (11 ms at 48 kHz), and never adds up. What is left of the grid is silence. Where two
    clips meet, the second one's first packet, which only prepares its decoder, takes the place of the last 21 ms of
    the first one: a beginning is heard better than an end.
    """
    from av import Packet

    rate, layout = next((clip.sound.rate, clip.sound.layout) for clip in plan.clips if clip.sound)
    hush, origin, cursor = _hush(rate, layout), -plan.clips[0].lead, 0
    starts = [round(cut / plan.rate * rate) for cut in (*(span.start for span in plan.spans), plan.frames)]
    begins = [start - clip.lead for start, clip in zip(starts, plan.clips, strict=False)]
    stops = [*(_slot(at - origin) for at in begins[1:]), -((origin - starts[-1]) // AAC_FRAME)]
    unit = Fraction(1, rate)

    def placed(packet: "Packet[Any]", slot: int) -> Timed:
        at = origin + slot * AAC_FRAME
        packet.time_base, packet.stream, packet.is_keyframe = unit, stream, True
        packet.pts = packet.dts = at
        packet.duration = min(AAC_FRAME, starts[-1] - at)
        return at / rate, packet

    for clip, start, stop in zip(plan.clips, starts, stops, strict=False):
        for slot, packet in chain(_aac(clip, start, origin), [(stop, None)]):
            for silent in range(cursor, min(slot, stop)):
                yield placed(Packet(hush), silent)
            if packet is not None and cursor <= slot < stop:
                yield placed(packet, slot)
            cursor = max(cursor, min(slot + 1, stop))


def _slot(samples: int) -> int:
    return (samples + AAC_FRAME // 2) // AAC_FRAME


def _aac(clip: Clip, start: int, origin: int) -> Iterator[tuple[int, "Packet[Any]"]]:
    """Read a clip's packets of sound, each with its place on the grid that begins at ``origin``."""
    if clip.sound is None:
        return
    with _opened(clip.path) as container:
        source, shown = container.streams.audio[0], container.streams.video[0]
        begins = start - origin
        shift = begins - round(_time(shown.start_time, shown) * clip.sound.rate)
        up, down = (_base(source) * clip.sound.rate).as_integer_ratio()  # both 1, unless the clip counts otherwise
        for packet in _packets(container, source):
            at = shift + (packet.pts or 0) * up // down
            if at >= begins - clip.lead:
                yield _slot(at), packet


def _hush(rate: int, layout: str) -> bytes:
    """Encode a packet of silence."""
    from av import AudioFrame, CodecContext

    encoder = CodecContext.create("aac", "w")
    encoder.sample_rate, encoder.layout, encoder.format = rate, layout, "fltp"
    encoder.time_base = Fraction(1, rate)
    silence = AudioFrame("fltp", layout, 4 * AAC_FRAME)
    silence.sample_rate, silence.pts = rate, 0
    for plane in silence.planes:
        plane.update(bytes(plane.buffer_size))
    return bytes([*encoder.encode(silence), *encoder.encode(None)][2])  # the first ones name the encoder


class Voice(NamedTuple):
    """What an encoded sound is: PCM of 32-bit floats, channels by turns, until AAC takes it."""

    rate: int
    layout: str

    @property
    def width(self) -> int:
        """Bytes of a sample, all channels."""
        return 4 if self.layout == "mono" else 8


def _voice(rate: int, layout: str) -> Voice:
    return Voice(rate if rate in AUDIO_RATES else AUDIO_RATE, "mono" if layout == "mono" else "stereo")


def _probe_voice(path: str, kind: str) -> Voice:
    with _opened(path, kind=kind) as container:
        if not container.streams.audio:
            raise RawgenaiError("invalid_audio", f"--audio {path!r} has no sound")
        source = container.streams.audio[0]
        return _voice(source.rate, source.layout.name)


def _shares(path: str | None, span: Span, frame_rate: Fraction, voice: Voice, kind: str = "") -> Iterator[bytes]:
    """Decode a sound in shares, one for each frame of the film in the span; silence where there is none.

    ``kind`` names the demuxer of a sound file; without it the path is a clip, and its sound goes by its picture.
    """
    pcm, held = iter(()) if path is None else _pcm(path, voice, kind), bytearray()
    bounds = [round(frame / frame_rate * voice.rate) for frame in range(span.start, span.start + span.frames + 1)]
    for begin, end in pairwise(bounds):
        size = (end - begin) * voice.width
        while len(held) < size and (piece := next(pcm, None)) is not None:
            held += piece
        yield bytes(held[:size]).ljust(size, b"\0")
        del held[:size]


def _pcm(path: str, voice: Voice, kind: str) -> Iterator[bytes]:
    import av

    with _opened(path, kind=kind) as container:
        source = container.streams.audio[0]
        resampler = av.AudioResampler("flt", voice.layout, voice.rate)
        late: int | None = None if not kind else 0  # samples after the picture begins; negative is before
        for frame in chain(container.decode(source), [None]):
            if late is None and frame is not None:
                picture = container.streams.video[0]
                begins = (frame.pts or 0) * (frame.time_base or 0) - _time(picture.start_time, picture)
                late = round(begins * voice.rate)
                yield bytes(max(0, late) * voice.width)
            for piece in resampler.resample(frame):
                data = bytes(piece.planes[0])[: piece.samples * voice.width]
                early = min(piece.samples, -min(0, late or 0))
                late = (late or 0) + early
                yield data[early * voice.width :]


def _faded(old: bytes, new: bytes, share: float, step: float) -> bytes:
    """Mix two shares of PCM; the new one's part grows from ``share`` by ``step``, so that there is no jump."""
    left, right = array("f", old), array("f", new)
    slope = step / max(1, len(left))
    mixed = ((a + (b - a) * (share + slope * i)) for i, (a, b) in enumerate(zip(left, right, strict=True)))
    return array("f", mixed).tobytes()


def _encoded_sound(shares: Iterable[bytes], stream: "AudioStream", voice: Voice) -> Iterator[Timed]:
    from av import AudioFrame

    at = 0
    for share in shares:
        samples = AudioFrame("flt", voice.layout, len(share) // voice.width)
        samples.sample_rate, samples.pts = voice.rate, at
        samples.planes[0].update(share)
        at += samples.samples
        yield from _timed(stream.encode(samples))
    yield from _timed(stream.encode(None))


# --- The file ------------------------------------------------------------------------------------------------------


@contextmanager
def _part_of(target: str) -> Iterator[str]:
    """Give a file to write beside the target; it takes the target's place if all goes well, else it vanishes.

    Whatever fails in between that is nobody else's error is one of writing: output_write_error.
    """
    import av

    part = files.part_path(target, "film", "")
    try:
        yield part
        files.finish(part, target)
        files.sweep_parts(target, "film")  # of a join that was killed
    except (OSError, av.FFmpegError) as error:
        why = f"--output {target!r} cannot be written: {files.reason(error)}"
        raise RawgenaiError("output_write_error", why) from error
    finally:
        with suppress(OSError):
            os.unlink(part)


def _write(part: str, plan: Plan) -> None:
    import av

    # "file:" keeps a colon in the name from being read as a protocol; faststart puts the index before the media.
    with av.open(f"file:{part}", "w", format="mp4", options={"movflags": "+faststart"}) as container:
        tracks = [_picture_track(container, plan)]
        if plan.sound != "none":
            tracks.append(_sound_track(container, plan))
        for _, packet in merge(*tracks, key=itemgetter(0)):
            container.mux_one(packet)


def _picture_track(container: "OutputContainer", plan: Plan) -> Iterator[Timed]:
    first = plan.clips[0]
    if plan.picture == "copied":
        with _opened(first.path) as template:
            return _copied_picture(
                plan.clips, container.add_stream_from_template(template.streams.video[0], opaque=True)
            )
    canvas = _canvas(first)
    encoder = _video_encoder()
    made = container.add_stream(encoder, rate=canvas.rate, options=dict(VIDEO_ENCODERS[encoder]))
    stream = cast("VideoStream", made)
    stream.width, stream.height, stream.pix_fmt = canvas.width, canvas.height, "yuv420p"
    context = stream.codec_context
    context.colorspace, context.color_primaries, context.color_trc = canvas.colours
    context.color_range = 1  # 16-235
    reels = (_reel(clip, span.frames, canvas) for clip, span in zip(plan.clips, plan.spans, strict=True))
    return _encoded_picture(_spliced(reels, plan.spans, plan.fade, _blended), stream, canvas.rate)


def _video_encoder() -> str:
    from av.codec import codecs_available

    found = next((name for name in VIDEO_ENCODERS if name in codecs_available), None)
    if found is None:
        raise RawgenaiError("missing_extra", "this PyAV has no encoder for H.264; its wheels on PyPI have one")
    return found


def _sound_track(container: "OutputContainer", plan: Plan) -> Iterator[Timed]:
    if plan.sound == "copied":
        with _opened(next(clip.path for clip in plan.clips if clip.sound)) as template:
            return _copied_sound(plan, container.add_stream_from_template(template.streams.audio[0]))
    if plan.audio is None:
        sound = next(clip.sound for clip in plan.clips if clip.sound)
        voice = _voice(sound.rate, sound.layout)
        heard = [(clip.path if clip.sound else None, span) for clip, span in zip(plan.clips, plan.spans, strict=True)]
        reels = (_shares(path, span, plan.rate, voice) for path, span in heard)
        shares = _spliced(reels, plan.spans, plan.fade, partial(_faded, step=1 / max(1, plan.fade)))
    else:
        kind = _check_sound(plan.audio)
        voice = _probe_voice(plan.audio, kind)
        shares = _shares(plan.audio, Span(0, plan.frames), plan.rate, voice, kind)
    stream: AudioStream = container.add_stream("aac", rate=voice.rate, layout=voice.layout, bit_rate=AUDIO_BITS)
    return _encoded_sound(shares, stream, voice)


def _length_of(part: str) -> float:
    try:
        return media.measure(part).seconds
    except ValueError as error:
        raise OSError(str(error)) from error


# --- The last frame ------------------------------------------------------------------------------------------------


def _last_image(clip: str) -> "Image":
    _look("the clip", clip)
    _require_av("the last frame is taken")
    return _picture_of(_last_shown(clip))


def _last_shown(path: str) -> "VideoFrame":
    """Decode from the last key frame before the end to the last frame that an edit list leaves."""
    with _opened(path) as container:
        if not container.streams.video or container.streams.video[0].codec_context is None:
            raise _unusable("the clip", path, "has no picture that can be decoded")
        source = container.streams.video[0]
        source.thread_type = "AUTO"
        container.seek((source.start_time or 0) + (source.duration or 0), stream=source)
        last = None
        for frame in container.decode(source):
            last = frame
    if last is not None:
        return last
    raise _unusable("the clip", path, "has no frame that can be decoded")


def _picture_of(frame: "VideoFrame") -> "Image":
    """Turn a frame into a Pillow image, upright, with swscale's careful arithmetic rather than its fast one."""
    from av.video.reformatter import Interpolation
    from PIL.Image import Transpose

    careful = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
    image: Image = frame.to_image(interpolation=careful)  # type: ignore[no-untyped-call]  # it has no types
    turns = {90: Transpose.ROTATE_90, -90: Transpose.ROTATE_270, 180: Transpose.ROTATE_180}
    turn = turns.get(frame.rotation if frame.rotation != -180 else 180)
    return image if turn is None else image.transpose(turn)
