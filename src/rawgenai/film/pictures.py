"""A film's picture, copied or encoded, and the last picture of a clip."""

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from rawgenai.errors import RawgenaiError
from rawgenai.film.planning import Plan, spliced
from rawgenai.film.probing import Clip, Colours, Picture, Timed, opened, packets, seconds_of, timed, unusable

if TYPE_CHECKING:
    from av import VideoFrame, VideoStream
    from av.container import OutputContainer
    from PIL.Image import Image

VIDEO_ENCODERS = {  # H.264, the first that PyAV has -> its options for a quality that nobody tells from the clip's own
    "libx264": {"crf": "18", "preset": "fast"},
    "libopenh264": {"b": "12M"},
    "h264_videotoolbox": {"b": "12M"},
    "h264_mf": {"b": "12M"},
}
MATRICES = {1: "bt709", 5: "smpte170m", 6: "smpte170m", 7: "smpte240m", 9: "bt2020"}  # H.273 -> FFmpeg's scale filter
TURNS = {90: "transpose=cclock", -90: "transpose=clock", 180: "hflip,vflip", -180: "hflip,vflip"}  # degrees to the left


def track(container: "OutputContainer", plan: Plan) -> Iterator[Timed]:
    """Add a stream for the picture, and make its packets as they are asked for. Raises RawgenaiError: missing_extra."""
    first = plan.clips[0]
    if plan.picture == "copied":
        with opened(first.path) as template:
            return _copied(plan.clips, container.add_stream_from_template(template.streams.video[0], opaque=True))
    canvas = _canvas_of(first)
    encoder = _video_encoder()
    made = container.add_stream(encoder, rate=canvas.rate, options=dict(VIDEO_ENCODERS[encoder]))
    stream = cast("VideoStream", made)
    stream.width, stream.height, stream.pix_fmt = canvas.width, canvas.height, "yuv420p"
    context = stream.codec_context
    context.colorspace, context.color_primaries, context.color_trc = canvas.colours
    context.color_range = 1  # 16-235
    reels = (_reel(clip, span.frames, canvas) for clip, span in zip(plan.clips, plan.spans, strict=True))
    return _encoded(spliced(reels, plan.spans, plan.fade, _blended), stream, canvas.rate)


def _copied(clips: Iterable[Clip], stream: "VideoStream") -> Iterator[Timed]:
    """Move each clip's packets behind those of the one before: its first frame where the last one's time is over."""
    end, before = 0, None
    for clip in clips:
        with opened(clip.path) as container:
            source = container.streams.video[0]
            shift = end - (source.start_time or 0)
            for packet in packets(container, source):
                packet.pts = pts = (packet.pts or 0) + shift
                dts = (packet.dts or 0) + shift
                # A clip whose encoder looks further ahead than the last one's begins to be decoded before it ends.
                packet.dts = before = dts if before is None else max(dts, before + 1)
                packet.stream = stream
                end = max(end, pts + (packet.duration or 0))
                yield before * float(clip.picture.time_base), packet


class Canvas(NamedTuple):
    """What the frames of an encoded film are, besides 8-bit 4:2:0 from 16 to 235."""

    width: int
    height: int
    rate: Fraction
    colours: Colours


def _canvas_of(first: Clip) -> Canvas:
    """Make a film's frames like its first clip's, whose own colours are known only where it is decoded."""
    with opened(first.path, decode=True) as container:
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
    with opened(clip.path) as container:
        source = container.streams.video[0]
        source.thread_type = "AUTO"
        fit = _fitter(clip.picture, canvas)
        start = source.start_time or 0
        for frame in container.decode(source):
            begins = round(seconds_of((frame.pts or 0) - start, source) * canvas.rate)
            if shown is not None:
                yield from repeat(shown, begins - number)
                number = max(number, begins)
            shown = fit(frame)
    if shown is None:
        raise unusable(clip.path, "has no frame that can be decoded")
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


def _encoded(frames: Iterable["VideoFrame"], stream: "VideoStream", rate: Fraction) -> Iterator[Timed]:
    for number, frame in enumerate(frames):
        frame.pts, frame.time_base = number, 1 / rate
        frame.pict_type = 0  # else the encoder would repeat what the clip's own made of it
        yield from timed(stream.encode(frame))
    yield from timed(stream.encode(None))


def _video_encoder() -> str:
    from av.codec import codecs_available

    found = next((name for name in VIDEO_ENCODERS if name in codecs_available), None)
    if found is None:
        raise RawgenaiError("missing_extra", "this PyAV has no encoder for H.264; its wheels on PyPI have one")
    return found


# --- the last one ---


def last_image(path: str) -> "Image":
    """Take the last frame of a clip that is shown. Raises RawgenaiError: invalid_usage."""
    return image_of(_last_shown(path))


def _last_shown(path: str) -> "VideoFrame":
    """Decode from the last key frame before the end to the last frame that an edit list leaves."""
    with opened(path) as container:
        if not container.streams.video or container.streams.video[0].codec_context is None:
            raise unusable(path, "has no picture that can be decoded")
        source = container.streams.video[0]
        source.thread_type = "AUTO"
        container.seek((source.start_time or 0) + (source.duration or 0), stream=source)
        last = None
        for frame in container.decode(source):
            last = frame
    if last is not None:
        return last
    raise unusable(path, "has no frame that can be decoded")


def image_of(frame: "VideoFrame") -> "Image":
    """Turn a frame into a Pillow image, upright, with swscale's careful arithmetic rather than its fast one."""
    from av.video.reformatter import Interpolation
    from PIL.Image import Transpose

    careful = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
    image: Image = frame.to_image(interpolation=careful)  # type: ignore[no-untyped-call]  # it has no types
    turns = {90: Transpose.ROTATE_90, -90: Transpose.ROTATE_270, 180: Transpose.ROTATE_180}
    turn = turns.get(frame.rotation if frame.rotation != -180 else 180)
    return image if turn is None else image.transpose(turn)
