"""The plan of a film: what is copied and what is encoded, and where each clip lies. No file is opened."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import accumulate, islice, pairwise
from typing import NamedTuple, TypeVar

from rawgenai.film.probing import Clip, Picture, Sound, unusable

T = TypeVar("T")

COPIED = ("h264", "hevc", "av1", "vp9")  # what MP4 may hold and players, also those of browsers, know


class Span(NamedTuple):
    """Where a clip lies in a film, in the film's frames."""

    start: int
    frames: int


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


def plan(clips: list[Clip], audio: str | None, crossfade: float, warn: Callable[[str], None]) -> Plan:
    """Decide what is copied, and where the clips lie. Raises RawgenaiError: invalid_usage (the fade is too long)."""
    rate = clips[0].picture.rate
    fade = round(crossfade * rate) if len(clips) > 1 else 0
    spans = _spans(clips, rate, fade)
    for number, (clip, span) in enumerate(zip(clips, spans, strict=True)):
        fades = fade * ((number > 0) + (number < len(clips) - 1))
        if span.frames < fades:
            why = f"lasts {float(clip.length):g} s, too short for a crossfade of {crossfade:g} s"
            raise unusable(clip.path, why)
    pictures, sounds = _picture_reasons(clips), [] if audio is not None else _sound_reasons(clips)
    for why in pictures:
        warn(f"the picture is encoded anew: {why}")
    for why in sounds:
        warn(f"the sound is encoded anew: {why}")
    if audio is not None and any(clip.sound for clip in clips):
        warn("the clips' own sound gives way to --audio")
    if crossfade and not fade and len(clips) > 1:
        warn(f"--crossfade {crossfade:g} is less than half a frame of {float(1 / rate):.3g} s: nothing is faded")
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


def spliced(
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
