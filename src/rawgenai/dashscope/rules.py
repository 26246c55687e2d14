"""Which mode and model a Spec means, and whether Wan's rules allow it. Pure.

``select_`` chooses by rule; a ``check_`` objects or stays silent. Each check reads the facts from the model's row, so
that a new model needs no new check. The order of the tuples is the order of objections (design section 2).
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from rawgenai.dashscope.models import (
    DEFAULT_DURATION,
    DEFAULT_MODELS,
    DEFAULT_RESOLUTION,
    FORMATS,
    MAX_SEED,
    MODELS,
    NEGATIVE_LIMIT,
    RATIOS,
    SHOT_TYPES,
    Limits,
    Model,
)
from rawgenai.dashscope.spec import Spec, media_of
from rawgenai.errors import RawgenaiError
from rawgenai.files import text_fault
from rawgenai.message import Media


class Objection(NamedTuple):
    """Why a Spec cannot be sent: a code of the table and a sentence with the flag, the value and what is allowed."""

    code: str
    message: str


# --- the mode, from the inputs -----------------------------------------------------------------------------------

_INPUT_MODES = (("image", "--image", "i2v"), ("refs", "--ref", "r2v"), ("first_frame", "--first-frame", "kf2v"))


def select_mode(spec: Spec) -> str:
    """Tell the mode by the inputs that were given (specification, "dashscope video create")."""
    given = [(flag, mode) for name, flag, mode in _INPUT_MODES if getattr(spec, name) is not None]
    if len(given) > 1:
        flags = " and ".join(flag for flag, _ in given)
        raise RawgenaiError("conflicting_input_flags", f"{flags} cannot be used together: each is a mode of its own")
    mode = given[0][1] if given else "t2v"
    if spec.last_frame is not None and mode != "kf2v":
        raise RawgenaiError("last_frame_requires_first", "--last-frame requires --first-frame")
    return mode


def select_model(spec: Spec, mode: str) -> Model:
    """Take the row of the named model, or of the mode's default model."""
    name = DEFAULT_MODELS[mode] if spec.model is None else spec.model
    row = MODELS.get(name)
    if row is None:
        raise RawgenaiError("invalid_model", f"--model {name!r} is not known{nearest(name)}")
    if row.mode != mode:
        fitting = _listed(model.name for model in MODELS.values() if model.mode == mode)
        raise RawgenaiError("invalid_model", f"--model {name} is for {row.mode}; these inputs mean {mode}: {fitting}")
    return row


def nearest(name: str) -> str:
    """Go on after a name that no model has: the nearest ones, or all."""
    import difflib

    near = difflib.get_close_matches(name, MODELS, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else f"; the models are {_listed(MODELS)}"


def _listed(words: Iterable[object]) -> str:
    return ", ".join(map(str, words))


# --- flags: what needs no model ----------------------------------------------------------------------------------


def check_refs_given(spec: Spec) -> Objection | None:
    """--ref without a value names no file."""
    if spec.refs is not None and not all(spec.refs or [""]):
        return Objection("missing_ref", "--ref needs a file or a URL; its value is empty")
    return None


def check_ratio(spec: Spec) -> Objection | None:
    """--ratio is one of two words."""
    if spec.ratio is not None and spec.ratio not in RATIOS:
        return Objection("invalid_ratio", f"--ratio {spec.ratio} is not one of {_listed(RATIOS)}; see also --size")
    return None


def check_size_alone(spec: Spec) -> Objection | None:
    """--size says all that --resolution and --ratio say."""
    if spec.size is not None and (spec.resolution is not None or spec.ratio is not None):
        return Objection("invalid_usage", "--size cannot be used together with --resolution or --ratio")
    return None


def check_shot_word(spec: Spec) -> Objection | None:
    """--shot-type is one of two words."""
    if spec.shot_type is not None and spec.shot_type not in SHOT_TYPES:
        return Objection("invalid_shot_type", f"--shot-type {spec.shot_type} is not one of {_listed(SHOT_TYPES)}")
    return None


def check_seed(spec: Spec) -> Objection | None:
    """--seed is a 31-bit number; 0 is one too (ruling 9)."""
    if spec.seed is not None and not 0 <= spec.seed <= MAX_SEED:
        return Objection("invalid_seed", f"--seed {spec.seed} is not between 0 and {MAX_SEED}")
    return None


def check_text(spec: Spec) -> Objection | None:
    """What is sent as text is text: no NUL, no control character, nothing that UTF-8 cannot hold, no 64 KiB."""
    for name, text in (("the prompt", spec.prompt), ("--negative", spec.negative)):
        fault = text_fault(text or "")
        if fault is not None:
            return Objection("invalid_prompt", f"{name} {fault}")
    return None


# --- rules: what the model's row decides -------------------------------------------------------------------------


def check_prompt(spec: Spec, model: Model) -> Objection | None:
    """A prompt is required where the picture does not say enough (ruling 7); blank text is none."""
    if spec.prompt_file is not None and spec.prompt is None:
        return None  # it is read later, and checked then
    required = model.mode not in ("i2v", "kf2v")
    if (required and not (spec.prompt or "").strip()) or (spec.prompt and not spec.prompt.strip()):
        return Objection(
            "missing_prompt", f"{model.mode} needs a prompt: as an argument, by --prompt-file, or on stdin"
        )
    return None


def check_resolution(spec: Spec, model: Model) -> Objection | None:
    """The tier is on offer; a default that is not is never replaced in silence, for it changes the price (ruling 2)."""
    if spec.size is not None:
        return None
    offered = _listed(model.resolutions)
    if spec.resolution is None and DEFAULT_RESOLUTION not in model.resolutions:
        message = f"{model.name} does not offer the default, {DEFAULT_RESOLUTION}: choose --resolution from {offered}"
        return Objection("invalid_resolution", message)
    if spec.resolution is not None and spec.resolution not in model.resolutions:
        return Objection("invalid_resolution", f"--resolution {spec.resolution}: {model.name} offers {offered}")
    return None


def check_size(spec: Spec, model: Model) -> Objection | None:
    """The exact size is on offer, and the mode takes one (rulings 4 and 23)."""
    if spec.size is None or normal_size(spec.size) in model.sizes:
        return None
    if not model.sizes:
        message = f"--size {spec.size}: {model.name} follows its image; choose --resolution instead"
        return Objection("invalid_size", message)
    return Objection("invalid_size", f"--size {spec.size}: {model.name} offers {_listed(model.sizes)}")


def normal_size(size: str) -> str:
    """Spell a size as the API does: ``"1280x720"`` is ``"1280*720"``."""
    return size.replace("x", "*")


def check_duration(spec: Spec, model: Model) -> Objection | None:
    """The length is on offer."""
    duration = DEFAULT_DURATION if spec.duration is None else spec.duration
    if duration in model.durations:
        return None
    return Objection(
        "invalid_duration", f"--duration {duration}: {model.name} offers {_spans(model.durations)} seconds"
    )


def _spans(numbers: tuple[int, ...]) -> str:
    whole = tuple(range(numbers[0], numbers[-1] + 1))
    return f"{numbers[0]} to {numbers[-1]}" if numbers == whole and len(numbers) > 1 else _listed(numbers)


def _with(feature: str) -> str:
    return _listed(model.name for model in MODELS.values() if feature in model.features)


def check_audio(spec: Spec, model: Model) -> Objection | None:
    """--audio is for models that are told whether to make sound."""
    if spec.audio and "audio" not in model.features:
        return Objection("incompatible_audio", f"--audio is not for {model.name}, only for {_with('audio')}")
    return None


def check_no_audio(spec: Spec, model: Model) -> Objection | None:
    """--no-audio is for models whose sound can be switched off by it."""
    if spec.no_audio and "no_audio" not in model.features:
        return Objection("incompatible_no_audio", f"--no-audio is not for {model.name}, only for {_with('no_audio')}")
    return None


def check_audio_url(spec: Spec, model: Model) -> Objection | None:
    """--audio-url is for models that take a sound file."""
    if spec.audio_url is not None and "audio_url" not in model.features:
        message = f"--audio-url is not for {model.name}, only for {_with('audio_url')}"
        return Objection("incompatible_audio_url", message)
    return None


def check_shot_type(spec: Spec, model: Model) -> Objection | None:
    """--shot-type is for models that know it; several shots are planned while the prompt is rewritten (ruling 6)."""
    if spec.shot_type is None:
        return None
    if "shot_type" not in model.features:
        message = f"--shot-type is not for {model.name}, only for {_with('shot_type')}"
        return Objection("incompatible_shot_type", message)
    if spec.shot_type == "multi" and spec.prompt_extend is False and "prompt_extend" in model.features:
        return Objection("incompatible_shot_type", "--shot-type multi does nothing with --no-prompt-extend")
    return None


def check_prompt_extend(spec: Spec, model: Model) -> Objection | None:
    """--prompt-extend, either way, is for models that can rewrite the prompt (ruling 6)."""
    if spec.prompt_extend is not None and "prompt_extend" not in model.features:
        message = f"--prompt-extend and --no-prompt-extend are not for {model.name}"
        return Objection("incompatible_prompt_extend", message)
    return None


def check_refs(spec: Spec, model: Model) -> Objection | None:
    """There are not too many references, nor too many videos among them."""
    refs = spec.refs or ()
    if len(refs) > model.max_refs and spec.refs is not None:
        return Objection("too_many_refs", f"--ref is given {len(refs)} times; {model.name} takes {model.max_refs}")
    videos = sum(map(is_video, refs))
    if videos > model.max_ref_videos:
        message = f"--ref names {videos} videos; {model.name} takes {model.max_ref_videos}"
        return Objection("too_many_ref_videos", message)
    return None


def is_video(ref: str | Media) -> bool:
    """Tell a video from an image: by what it is once loaded, until then by its name."""
    if isinstance(ref, Media):
        return ref.mime.startswith("video/")
    return "://" in ref and ref.partition("?")[0].lower().endswith((".mp4", ".mov"))


def fault_of_format(leaf: Media, limits: Limits) -> str | None:
    """The content is in a format that the model takes."""
    if leaf.mime not in limits.formats:
        return f"is {_format(leaf.mime)}; {_listed(FORMATS[mime] for mime in limits.formats)} are accepted"
    return None


def fault_of_bytes(leaf: Media, limits: Limits) -> str | None:
    """It is not too large."""
    return f"has {_mb(leaf.size)}; the limit is {_mb(limits.bytes)}" if leaf.size > limits.bytes else None


def fault_of_sides(leaf: Media, limits: Limits) -> str | None:
    """Each side has enough pixels, and not too many."""
    return _beyond_sides(leaf, limits.sides)


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
    return f"is {leaf.width}x{leaf.height} pixels; {sides[0]} to {sides[1]} a side are accepted"


def _mb(size: int) -> str:
    return f"{-(-size * 100 // (1024 * 1024)) / 100:g} MB"  # rounded up: what is over a limit looks it


def _format(mime: str) -> str:
    return FORMATS.get(mime) or mime.rpartition("/")[2].upper()


FAULTS: tuple[Callable[[Media, Limits], str | None], ...] = (
    fault_of_format,
    fault_of_bytes,
    fault_of_sides,
    fault_of_alpha,
    fault_of_seconds,
)
DOUBTS: tuple[Callable[[Media, Limits], str | None], ...] = (doubt_of_bytes, doubt_of_sides, doubt_of_seconds)


def check_media(spec: Spec, model: Model) -> Objection | None:
    """Each local file is what the model takes, by the limits in its row."""
    return next(_said_of_media(spec, model, FAULTS), None)


def _said_of_media(
    spec: Spec, model: Model, judges: tuple[Callable[[Media, Limits], str | None], ...]
) -> Iterator[Objection]:
    for row, leaf in media_of(spec):
        if isinstance(leaf, Media):
            limits = model.limits[leaf.mime.partition("/")[0]]
            name = "its data URI" if leaf.path.startswith("data:") else repr(leaf.path)
            for judge in judges:
                said = judge(leaf, limits)
                if said is not None:
                    yield Objection(row.invalid, f"{row.flag}: {name} {said}")


# --- warnings: what the API accepts, though it hardly does what was meant -----------------------------------------


def warn_prompt_length(spec: Spec, model: Model) -> Objection | None:
    """The API reads so many characters of a prompt and drops the rest in silence (ruling 8)."""
    length = len(spec.prompt or "")
    if length > model.prompt_limit:
        message = f"the prompt has {length} characters; {model.name} reads the first {model.prompt_limit}"
        return Objection("prompt_too_long", message)
    return None


def warn_negative_length(spec: Spec, model: Model) -> Objection | None:  # noqa: ARG001 - all warnings are called alike
    """The API reads 500 characters of a negative prompt."""
    length = len(spec.negative or "")
    if length > NEGATIVE_LIMIT:
        message = f"--negative has {length} characters; the API reads the first {NEGATIVE_LIMIT}"
        return Objection("prompt_too_long", message)
    return None


def warn_media(spec: Spec, model: Model) -> Objection | None:
    """Each local file is also within the narrower limits of the specification (ruling 10), and its length is known."""
    said = list(_said_of_media(spec, model, DOUBTS))
    return Objection(said[0].code, "; ".join(one.message for one in said)) if said else None


# --- the line ----------------------------------------------------------------------------------------------------

FLAG_CHECKS: tuple[Callable[[Spec], Objection | None], ...] = (
    check_refs_given,
    check_ratio,
    check_size_alone,
    check_shot_word,
    check_seed,
    check_text,
)
CHECKS: tuple[Callable[[Spec, Model], Objection | None], ...] = (
    check_prompt,
    check_resolution,
    check_size,
    check_duration,
    check_audio,
    check_no_audio,
    check_audio_url,
    check_shot_type,
    check_prompt_extend,
    check_refs,
    check_media,
)
WARNINGS: tuple[Callable[[Spec, Model], Objection | None], ...] = (
    warn_prompt_length,
    warn_negative_length,
    warn_media,
)


def select(spec: Spec, *, strict: bool = False) -> tuple[Model, list[str]]:
    """Choose the model for a Spec that may be sent; also return what a person should be warned of.

    Raises RawgenaiError with the first objection; with ``strict`` a warning is one too.
    """
    mode = select_mode(spec)
    for check_flag in FLAG_CHECKS:
        _raise_on(check_flag(spec))
    model = select_model(spec, mode)
    for check in CHECKS:
        _raise_on(check(spec, model))
    warnings = [objection for warn in WARNINGS if (objection := warn(spec, model))]
    if strict and warnings:
        _raise_on(warnings[0])
    return model, [objection.message for objection in warnings]


def _raise_on(objection: Objection | None) -> None:
    if objection is not None:
        raise RawgenaiError(objection.code, objection.message)
