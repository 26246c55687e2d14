"""Whether a model takes the local files that a Spec names: the judges, which read the limits of its row. Pure.

Only who names a local file imports this. A fault is refused; a doubt is warned of, and the file is sent (ruling 10).
"""

from collections.abc import Callable, Iterator

from rawgenai.dashscope.models import FORMATS, MANY, Limits, Model
from rawgenai.dashscope.spec import Spec, media_of
from rawgenai.errors import Objection
from rawgenai.message import Media

Judge = Callable[[Media, Limits], str | None]


def check(spec: Spec, model: Model) -> Objection | None:
    """Say the first fault of a Spec's local files."""
    return next(_said(spec, model, FAULTS), None)


def warn(spec: Spec, model: Model) -> Objection | None:
    """Say every doubt of a Spec's local files, as one."""
    said = list(_said(spec, model, DOUBTS))
    return Objection(said[0].code, "; ".join(one.message for one in said)) if said else None


def _said(spec: Spec, model: Model, judges: tuple[Judge, ...]) -> Iterator[Objection]:
    for row, leaf in media_of(spec):
        if isinstance(leaf, Media):
            limits = model.limits.get(leaf.mime.partition("/")[0])
            if limits is None:  # nothing is known; the API decides
                continue
            path = "its data URI" if leaf.path.startswith("data:") else repr(leaf.path)
            name = leaf.called or f"{row.flag}: {path}"
            for judge in judges:
                said = judge(leaf, limits)
                if said is not None:
                    yield Objection(row.invalid, f"{name} {said}")


def fault_of_format(leaf: Media, limits: Limits) -> str | None:
    """The content is in a format that the model takes."""
    if leaf.mime not in limits.formats:
        return f"is {_format(leaf.mime)}; {', '.join(FORMATS[mime] for mime in limits.formats)} are accepted"
    return None


def fault_of_bytes(leaf: Media, limits: Limits) -> str | None:
    """It is not too large."""
    return f"has {_mb(leaf.size)}; the limit is {_mb(limits.bytes)}" if leaf.size > limits.bytes else None


def fault_of_sides(leaf: Media, limits: Limits) -> str | None:
    """Each side has enough pixels, and not too many."""
    return _beyond_sides(leaf, limits.sides)


def fault_of_stretch(leaf: Media, limits: Limits) -> str | None:
    """Its shape is not too long."""
    if limits.stretch is None or max(leaf.width, leaf.height) <= limits.stretch * min(leaf.width, leaf.height):
        return None
    return f"is {leaf.width}x{leaf.height} pixels; no side may be over {limits.stretch:g} times the other"


def fault_of_alpha(leaf: Media, limits: Limits) -> str | None:
    """It has no transparency where none is taken."""
    return "has a transparency channel, which is not accepted" if leaf.alpha and not limits.alpha else None


def fault_of_seconds(leaf: Media, limits: Limits) -> str | None:
    """It is long enough, and not too long."""
    if limits.seconds is None or leaf.seconds is None:
        return None
    least, most = limits.seconds
    if least <= leaf.seconds <= most:
        return None
    return f"is {leaf.seconds:.2f} s long; {least:g} to {most:g} s are accepted"


def fault_of_fps(leaf: Media, limits: Limits) -> str | None:
    """It has enough frames a second."""
    if limits.fps is None or leaf.fps is None or leaf.fps >= limits.fps - _FPS_LENIENCE:
        return None
    return f"has {leaf.fps:.2f} frames a second; {limits.fps:g} or more are accepted"


_FPS_LENIENCE = 0.1  # an average over few frames is no round number


def doubt_of_bytes(leaf: Media, limits: Limits) -> str | None:
    """It is not larger than the specification says."""
    if limits.usual_bytes is None or leaf.size <= limits.usual_bytes:
        return None
    return f"has {_mb(leaf.size)}; over {_mb(limits.usual_bytes)} some models refuse it"


def doubt_of_sides(leaf: Media, limits: Limits) -> str | None:
    """Its sides are not beyond what the specification says."""
    beyond = _beyond_sides(leaf, limits.usual_sides)
    return beyond and f"{beyond} by the specification; it is sent all the same"


def doubt_of_seconds(leaf: Media, limits: Limits) -> str | None:
    """Its length is known, where it matters."""
    if limits.seconds is None or leaf.seconds is not None:
        return None
    return f"does not say how long it is; {limits.seconds[0]:g} to {limits.seconds[1]:g} s are accepted"


def _beyond_sides(leaf: Media, sides: tuple[int, int] | None) -> str | None:
    if (
        sides is None
        or not leaf.width
        or (min(sides) <= leaf.width <= max(sides) and min(sides) <= leaf.height <= max(sides))
    ):
        return None
    return f"is {leaf.width}x{leaf.height} pixels; {span_of(sides)} a side are accepted"


def span_of(sides: tuple[int, int], dash: str = " to ") -> str:
    """Write how many pixels a side may have: ``"240 to 8000"``, or ``"300 or more"`` where no most is known."""
    return f"{sides[0]} or more" if sides[1] >= MANY else f"{sides[0]}{dash}{sides[1]}"


def _mb(size: int) -> str:
    return f"{-(-size * 100 // (1024 * 1024)) / 100:g} MB"  # rounded up: what is over a limit looks it


def _format(mime: str) -> str:
    return FORMATS.get(mime) or mime.rpartition("/")[2].upper()


FAULTS: tuple[Judge, ...] = (
    fault_of_format,
    fault_of_bytes,
    fault_of_sides,
    fault_of_stretch,
    fault_of_alpha,
    fault_of_seconds,
    fault_of_fps,
)
DOUBTS: tuple[Judge, ...] = (doubt_of_bytes, doubt_of_sides, doubt_of_seconds)
