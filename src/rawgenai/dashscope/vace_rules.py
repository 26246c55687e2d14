"""Whether a function of vace allows what is asked of it: the checks, which read its row (vace.py). Pure.

Only who asks for a function imports this.
"""

from collections.abc import Callable, Iterable
from typing import Any

from rawgenai.dashscope.spec import INPUTS, Spec, Vace, media_of
from rawgenai.dashscope.vace import ENDLESS, FUNCTIONS, Function, Parameter
from rawgenai.errors import Objection, flag_of
from rawgenai.message import Media


def check(spec: Spec, given: Vace) -> Objection | None:
    """Say the first objection to a Spec whose function is ``given``, by the function's row."""
    row = FUNCTIONS.get(given.function)
    if row is None:
        return Objection("invalid_usage", f"vace {given.function!r} is not one of {_listed(FUNCTIONS)}")
    return next((said for each in CHECKS if (said := each(spec, given, row))), None)


def warn_scales(given: Vace) -> Objection | None:
    """A frame that is moved outward on no side stays as it is."""
    scales = [each for each in FUNCTIONS[given.function].parameters if each.name.endswith("_scale")]
    if not scales or any(getattr(given, each.name) not in (None, each.default) for each in scales):
        return None
    return Objection("invalid_usage", "every scale is 1, so that nothing is added; such as --left-scale 1.5 does")


# Field of the clip's shape -> the code of its own.
_SHAPE = {"size": "invalid_size", "ratio": "invalid_ratio", "resolution": "invalid_resolution"}
_BY_FEATURE = ("audio_url", "ref_voices")  # inputs that have a check of their own


def check_taken(spec: Spec, given: Vace, row: Function) -> Objection | None:
    """Nothing was given that the function does not take."""
    inputs = [each.name for each in INPUTS if each.name not in _BY_FEATURE and getattr(spec, each.name) is not None]
    parameters = [name for name in Vace._fields[1:] if getattr(given, name) is not None]
    shape = [name for name in _SHAPE if getattr(spec, name) is not None]
    takes = {*row.inputs, *(each.name for each in row.parameters), *([] if row.shape == "input" else _SHAPE)}
    stray = next((name for name in (*inputs, *parameters, *shape) if name not in takes), None)
    if stray is None:
        return None
    others = [
        each.name for each in FUNCTIONS.values() if stray in (*each.inputs, *(one.name for one in each.parameters))
    ]
    only = f", only for {_listed(others)}" if others else ""
    return Objection(_SHAPE.get(stray, "invalid_usage"), f"{flag_of(stray)} is not for vace {row.name}{only}")


def check_needs(spec: Spec, given: Vace, row: Function) -> Objection | None:  # noqa: ARG001 - called alike
    """Of each group of inputs one at least is there, and one at most where they mean the same."""
    for group in row.needs:
        if all(getattr(spec, name) is None for name in group):
            code = "missing_ref" if group == ("refs",) else "invalid_usage"
            return Objection(code, f"vace {row.name} needs {' or '.join(map(flag_of, group))}")
    for group in row.alone:
        if all(getattr(spec, name) is not None for name in group):
            return Objection("conflicting_input_flags", f"{' and '.join(map(flag_of, group))} cannot be used together")
    return None


def check_parameters(spec: Spec, given: Vace, row: Function) -> Objection | None:
    """Each parameter is within its row, there where it must be, and only beside what it says something of."""
    return next((said for each in row.parameters if (said := _check_parameter(spec, given, row, each))), None)


def _check_parameter(spec: Spec, given: Vace, row: Function, parameter: Parameter) -> Objection | None:
    value = getattr(given, parameter.name)
    beside = not parameter.beside or getattr(spec, parameter.beside) is not None
    if value is not None:
        return _check_value(parameter, value) or _check_sense(given, parameter, beside=beside)
    if not (parameter.required and beside):
        return None
    where = f" beside {flag_of(parameter.beside)}" if parameter.beside else ""
    message = f"vace {row.name} needs {flag_of(parameter.name)}{where}: {_listed(parameter.words)}"
    return Objection("invalid_usage", message)


def _check_value(parameter: Parameter, value: Any) -> Objection | None:
    """A word is on the row's list, a number within its span."""
    name = flag_of(parameter.name)
    for each in value if isinstance(value, tuple) else (value,):
        if parameter.words and each not in parameter.words:
            return Objection("invalid_usage", f"{name} {each} is not one of {_listed(parameter.words)}")
        if parameter.span and not parameter.span[0] <= each <= parameter.span[1]:
            least, most = parameter.span
            allowed = f"{least:g} or more" if most == ENDLESS else f"between {least:g} and {most:g}"
            return Objection("invalid_usage", f"{name} {each} is not {allowed}")
    return None


def _check_sense(given: Vace, parameter: Parameter, *, beside: bool) -> Objection | None:
    """What it says something of is there, and nothing else leaves it without effect."""
    name = flag_of(parameter.name)
    if not beside:
        return Objection("invalid_usage", f"{name} is only for use with {flag_of(parameter.beside)}")
    if parameter.unless is not None and getattr(given, parameter.unless[0]) == parameter.unless[1]:
        other, word = parameter.unless
        return Objection("invalid_usage", f"{name} does nothing with {flag_of(other)} {word}")
    return None


def check_roles(spec: Spec, given: Vace, row: Function) -> Objection | None:
    """Each reference has a role where there are several, and one at most is the background."""
    roles, refs = given.ref_roles, spec.refs or ()
    if roles is None:
        roled = any(each.name == "ref_roles" for each in row.parameters)
        if roled and len(refs) > 1:
            return Objection("invalid_usage", f"--ref is given {len(refs)} times: each needs a --ref-role, obj or bg")
        return None
    if len(roles) != len(refs):
        message = f"--ref-role is given {len(roles)} times, --ref {len(refs)} times: one for each"
        return Objection("invalid_usage", message)
    if roles.count("bg") > 1:
        return Objection("invalid_usage", "--ref-role bg is given more than once: there is one background at most")
    return None


def check_clips(spec: Spec, given: Vace, row: Function) -> Objection | None:  # noqa: ARG001 - called alike
    """Its clips are short enough, each and all together, as far as is known."""
    lengths = {name: leaf.seconds or 0.0 for name in row.clips if isinstance(leaf := getattr(spec, name), Media)}
    if round(sum(lengths.values()), 3) <= row.clip_seconds:
        return None
    said = " and ".join(f"{flag_of(name)} of {seconds:.2f} s" for name, seconds in lengths.items())
    together = " together" if len(lengths) > 1 else ""
    return Objection("invalid_ref", f"{said}: vace {row.name} takes {row.clip_seconds:g} s{together} at most")


def check_masks(spec: Spec, given: Vace, row: Function) -> Objection | None:
    """A mask has the video's own pixels, and is of a frame that the video has, as far as is known."""
    video = spec.video
    if not isinstance(video, Media):
        return None
    for each in INPUTS:
        mask = getattr(spec, each.name) if each.name in row.like_video else None
        if isinstance(mask, Media) and mask.width and video.width and not _same_sides(mask, video):
            said = f"{each.flag} is {mask.width}x{mask.height} pixels, --video {video.width}x{video.height}"
            return Objection(each.invalid, f"{said}: they must be the same")
    if given.mask_frame is None or video.seconds is None or video.fps is None:
        return None
    frames = round(video.seconds * video.fps) + 1
    if given.mask_frame <= frames:
        return None
    return Objection(
        "invalid_usage", f"--mask-frame {given.mask_frame} is beyond --video, which has {frames - 1} frames"
    )


def check_links(spec: Spec, given: Vace, row: Function) -> Objection | None:  # noqa: ARG001 - called alike
    """A link has no Chinese character in it (reference 2.5); none that is not ASCII, which no URL has unencoded."""
    for each, leaf in media_of(spec):
        if isinstance(leaf, str) and leaf[:8].lower().startswith(("http://", "https://")) and not leaf.isascii():
            message = f"{each.flag} {leaf[:80]!r}: vace takes ASCII URLs alone; write other characters as %XX"
            return Objection(each.invalid, message)
    return None


def _same_sides(one: Media, other: Media) -> bool:
    return (one.width, one.height) == (other.width, other.height)


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)


CHECKS: tuple[Callable[[Spec, Vace, Function], Objection | None], ...] = (
    check_taken,
    check_needs,
    check_parameters,
    check_roles,
    check_clips,
    check_masks,
    check_links,
)
