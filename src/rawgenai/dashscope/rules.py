"""Which mode and model a Spec means, and whether Wan's rules allow it. Pure.

``select_`` chooses by rule; a ``check_`` objects or stays silent. Each check reads the facts from the model's row, so
that a new model needs no new check. The order of the tuples is the order of objections (design section 2).
"""

from collections.abc import Callable, Iterable, Mapping

from rawgenai.dashscope.models import (
    AUDIO_SETTINGS,
    DEFAULT_MODELS,
    DEFAULT_RESOLUTION,
    MAX_SEED,
    MODELS,
    NEGATIVE_LIMIT,
    SHOT_TYPES,
    Model,
)
from rawgenai.dashscope.spec import Spec, media_of
from rawgenai.errors import Objection, RawgenaiError, flag_of
from rawgenai.files import text_fault
from rawgenai.message import Media

# --- the mode, from the inputs -----------------------------------------------------------------------------------

_INPUT_MODES = (
    ("video", "--video", "edit"),
    ("image", "--image", "i2v"),
    ("continues", "--continue", "i2v"),
    ("refs", "--ref", "r2v"),
    ("first_clip", "--first-clip", "i2v"),
    ("first_frame", "--first-frame", "kf2v"),
)
_FIRST = ("continues", "image", "first_frame")  # three ways to name one picture
_BEGINNINGS = (*_FIRST, "first_clip")  # what a last frame is the end of


def select_mode(spec: Spec, row: Model | None = None) -> str:
    """Tell the mode by the inputs that were given (specification, "dashscope video create").

    ``row`` is the named model's, where it is known: one of the media dialect may take inputs of several modes at once.
    """
    if spec.vace is not None:
        return "vace"
    given = [(flag, mode) for name, flag, mode in _INPUT_MODES if getattr(spec, name) is not None]
    mixed = row is not None and row.dialect != "classic"
    if spec.continues is not None:
        _raise_on(_named_twice(spec))
    if len(given) > 1 and not mixed:
        flags = " and ".join(flag for flag, _ in given)
        raise RawgenaiError("conflicting_input_flags", f"{flags} cannot be used together: each is a mode of its own")
    modes = [mode for _, mode in given] or ["t2v"]
    if spec.continues is not None:  # the frame that it gives may be a key frame, too
        modes.insert(1 if spec.last_frame is None else 0, "kf2v")
    mode = next((mode for mode in modes if row is not None and mode in row.modes), modes[0])
    begun = any(getattr(spec, name) is not None for name in _BEGINNINGS) if mixed else mode == "kf2v"
    if spec.last_frame is not None and not begun:
        raise RawgenaiError("last_frame_requires_first", "--last-frame requires --first-frame")
    return mode


def _named_twice(spec: Spec) -> Objection | None:
    """The first frame is named once."""
    given = [flag_of(name) for name in _FIRST if getattr(spec, name) is not None]
    if len(given) > 1:
        message = f"{' and '.join(given)} cannot be used together: each says how the clip begins"
        return Objection("conflicting_input_flags", message)
    return None


# Mode -> what means it, said to those who gave a prompt alone.
_MEANT_BY = {
    "i2v": "--image",
    "r2v": "--ref",
    "kf2v": "--first-frame",
    "edit": "--video",
    "vace": "a function of vace",
}


def select_model(spec: Spec, mode: str, rows: Mapping[str, Model] = MODELS) -> Model:
    """Take the row of the named model, or of the mode's default model."""
    name = DEFAULT_MODELS.get(mode) if spec.model is None else spec.model
    fitting = _listed(model.name for model in rows.values() if mode in model.modes)
    if name is None:
        message = f"these inputs mean {mode}, which has no usual model: choose --model from {fitting}"
        raise RawgenaiError("invalid_model", message)
    row = rows.get(name)
    if row is None:
        raise RawgenaiError("invalid_model", f"--model {name!r} is not known{nearest(name, rows)}")
    if mode not in row.modes:
        modes = " and ".join(row.modes)
        needs = f", and needs {' or '.join(_MEANT_BY[each] for each in row.modes)}" if mode == "t2v" else ""
        message = f"--model {name} is for {modes}{needs}; these inputs mean {mode}: {fitting}"
        raise RawgenaiError("invalid_model", message)
    return row


def nearest(name: str, rows: Mapping[str, Model] = MODELS) -> str:
    """Go on after a name that no model has: the nearest ones, or all."""
    import difflib

    near = difflib.get_close_matches(name, rows, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else f"; the models are {_listed(rows)}"


def _listed(words: Iterable[object]) -> str:
    return ", ".join(map(str, words))


def is_begun(spec: Spec) -> bool:
    """Tell whether a Spec names media that say what its clip begins with, or what it is made of."""
    return any(getattr(spec, name) is not None for name, *_ in _INPUT_MODES)


# --- flags: what needs no model ----------------------------------------------------------------------------------


def check_refs_given(spec: Spec) -> Objection | None:
    """--ref without a value names no file."""
    if spec.refs is not None and not all(spec.refs or [""]):
        return Objection("missing_ref", "--ref needs a file or a URL; its value is empty")
    return None


def check_continued(spec: Spec) -> Objection | None:
    """Only in a film there is a clip before."""
    if isinstance(spec.continues, bool):
        return Objection("invalid_usage", "only a film's shots have one before them: --continue names a clip")
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


def check_audio_setting(spec: Spec) -> Objection | None:
    """--audio-setting is one of two words."""
    if spec.audio_setting is not None and spec.audio_setting not in AUDIO_SETTINGS:
        message = f"--audio-setting {spec.audio_setting} is not one of {_listed(AUDIO_SETTINGS)}"
        return Objection("invalid_usage", message)
    return None


def check_voices(spec: Spec) -> Objection | None:
    """Each --ref-voice belongs to the --ref in the same place, so there are no more of them."""
    voices, refs = len(spec.ref_voices or ()), len(spec.refs or ())
    if voices > refs:
        return Objection("invalid_usage", f"--ref-voice is given {voices} times, --ref {refs} times: one for each")
    return None


def check_seed(spec: Spec) -> Objection | None:
    """--seed is a 31-bit number; 0 is one too (ruling 9)."""
    if spec.seed is not None and not 0 <= spec.seed <= MAX_SEED:
        return Objection("invalid_seed", f"--seed {spec.seed} is not between 0 and {MAX_SEED}")
    return None


def check_vace_inputs(spec: Spec) -> Objection | None:
    """What only functions of vace take is for no other clip."""
    stray = next((name for name in VACE_INPUTS if getattr(spec, name) is not None), None)
    if stray is None or spec.vace is not None:
        return None
    return Objection("invalid_usage", f"{flag_of(stray)} is only for vace")


VACE_INPUTS = ("last_clip", "mask", "mask_video")  # fields


def check_text(spec: Spec) -> Objection | None:
    """What is sent as text is text: no NUL, no control character, nothing that UTF-8 cannot hold, no 64 KiB."""
    for name, text in (("the prompt", spec.prompt), ("--negative", spec.negative)):
        fault = text_fault(text or "")
        if fault is not None:
            return Objection("invalid_prompt", f"{name} {fault}")
    return None


# --- rules: what the model's row decides -------------------------------------------------------------------------

# Field -> what it is for (models.ROLES), and the flag that is named for it.
_ROLES = {
    "continues": ("first_frame", "--continue"),
    "image": ("first_frame", "--image"),
    "first_frame": ("first_frame", "--first-frame"),
    "last_frame": ("last_frame", "--last-frame"),
    "first_clip": ("first_clip", "--first-clip"),
    "refs": ("reference", "--ref"),
    "video": ("video", "--video"),
}
_ROLE_FLAGS = dict(_ROLES.values()) | {"driving_audio": "--audio-url"}


def roles(spec: Spec, model: Model) -> dict[str, str]:
    """Say what the given media are for, by the model's row, each with the flag that gave it."""
    found = dict(_ROLES[name] for name in _ROLES if getattr(spec, name) is not None)
    if spec.audio_url is not None and model.audio_type is not None:
        role = "reference" if model.audio_type.startswith("reference_") else model.audio_type
        found.setdefault(role, "--audio-url")
    return found


def check_inputs(spec: Spec, model: Model) -> Objection | None:
    """The media are some that may be named together."""
    if model.combinations is None:
        return None
    if twice := _named_twice(spec):
        return twice
    given = roles(spec, model)
    if _takes(model, given):
        return None
    known = {role for combination in model.combinations for role in combination}
    code = "conflicting_input_flags" if given.keys() <= known else "invalid_model"
    others = _listed(row.name for row in MODELS.values() if _takes(row, given))
    flags = " with ".join(given.values()) or _ALONE
    offered = ", or ".join(named(model, combination) for combination in model.combinations)
    message = f"{flags} is not for {model.name}, which takes {offered}"
    return Objection(code, f"{message}; {flags} is for {others}" if others else message)


def _takes(model: Model, given: Iterable[str]) -> bool:
    return any(set(given) == set(combination) for combination in model.combinations or ())


def named(model: Model, combination: tuple[str, ...]) -> str:
    """Name a combination of media by its flags."""
    flags = _ROLE_FLAGS | ({"first_frame": "--image"} if model.mode == "i2v" else {})
    flags |= {"reference": "--ref or --audio-url"} if model.audio_type == "reference_audio" else {}
    return " with ".join(flags[role] for role in combination) or _ALONE


_ALONE = "a prompt alone"


def check_vace(spec: Spec, model: Model) -> Objection | None:  # noqa: ARG001 - all checks are called alike
    """A function of vace is one that there is, has what it needs, and nothing that it does not take."""
    if spec.vace is None:
        return None
    from rawgenai.dashscope import vace_rules

    return vace_rules.check(spec, spec.vace)


def check_prompt(spec: Spec, model: Model) -> Objection | None:
    """A prompt is required where the picture does not say enough (ruling 7); blank text is none."""
    if spec.prompt_file is not None and spec.prompt is None:
        return None  # it is read later, and checked then
    required = model.needs_prompt == "always" or (
        model.needs_prompt == "alone" and not (media_of(spec) or spec.continues)
    )
    if (required and not (spec.prompt or "").strip()) or (spec.prompt and not spec.prompt.strip()):
        return Objection(
            "missing_prompt", f"{model.mode} needs a prompt: as an argument, by --prompt-file, or on stdin"
        )
    return None


def check_ratio(spec: Spec, model: Model) -> Objection | None:
    """--ratio is one that the model has; for i2v and kf2v of the specification it is ignored (ruling 4)."""
    if spec.ratio is None or spec.ratio in model.ratios:
        return None
    if not model.ratios:
        return Objection("invalid_ratio", f"--ratio {spec.ratio}: {model.name} follows the shape of its input")
    more = "; see also --size" if model.sizes else ""
    return Objection("invalid_ratio", f"--ratio {spec.ratio} is not one of {_listed(model.ratios)}{more}")


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
        why = "takes a --ratio" if model.dialect != "classic" and model.ratios else "follows its image"
        message = f"--size {spec.size}: {model.name} {why}; choose --resolution instead"
        return Objection("invalid_size", message)
    return Objection("invalid_size", f"--size {spec.size}: {model.name} offers {_listed(model.sizes)}")


def normal_size(size: str) -> str:
    """Spell a size as the API does: ``"1280x720"`` is ``"1280*720"``."""
    return size.replace("x", "*")


def check_duration(spec: Spec, model: Model) -> Objection | None:
    """The length is on offer."""
    duration = model.default_duration if spec.duration is None else spec.duration
    if not model.durations:
        message = f"--duration {duration}: {model.name} makes the clip as long as its input"
        return None if spec.duration is None else Objection("invalid_duration", message)
    beside_video = bool(model.video_durations) and any(map(is_video, spec.refs or ()))
    offered = model.video_durations if beside_video else model.durations
    if duration not in offered:
        where = " beside a video" if beside_video else ""
        message = f"--duration {duration}: {model.name} offers {spans(offered, ' to ')} seconds{where}"
        return Objection("invalid_duration", message)
    return _check_total(spec, model, duration)


def _check_total(spec: Spec, model: Model, duration: int) -> Objection | None:
    """The clip and its reference videos together are not too long, as far as is known."""
    if model.total_seconds is None or duration <= 0:
        return None
    videos = [ref.seconds or 0 for ref in spec.refs or () if isinstance(ref, Media) and is_video(ref)]
    if sum(videos) + duration <= model.total_seconds:
        return None
    message = f"--duration {duration}: with {sum(videos):.2f} s of video {model.name} takes {model.total_seconds} s"
    return Objection("invalid_duration", f"{message} in all")


def spans(numbers: tuple[int, ...], dash: str = "-", comma: str = ", ") -> str:
    """Write whole numbers, from the first to the last where none between them is missing: ``"0, 2-10"``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return comma.join(f"{run[0]}{dash}{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def _with(feature: str) -> str:
    return _listed(model.name for model in MODELS.values() if feature in model.features)


# Field -> the feature of the models that take it, and the code of its own.
_BY_FEATURE = {
    "audio": ("audio", "incompatible_audio"),
    "no_audio": ("no_audio", "incompatible_no_audio"),
    "audio_url": ("audio_url", "incompatible_audio_url"),
    "negative": ("negative", "invalid_usage"),
    "audio_setting": ("audio_setting", "invalid_usage"),
    "ref_voices": ("voices", "invalid_usage"),
}


def check_features(spec: Spec, model: Model) -> Objection | None:
    """What only some models know is not for the others."""
    for name, (feature, code) in _BY_FEATURE.items():
        if getattr(spec, name) not in (None, False) and feature not in model.features:
            others = f", only for {_with(feature)}" if name != "negative" else ""  # which nearly all take
            return Objection(code, f"{flag_of(name)} is not for {model.name}{others}")
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
    """There are not too many references, nor too many of a kind among them."""
    refs = spec.refs or ()
    sounds = sum(kind_of(ref) == "audio" for ref in refs)
    if sounds and not model.max_ref_audios:
        return Objection("invalid_ref", f"--ref names a sound; {model.name} takes none there")
    if len(refs) > model.max_refs and spec.refs is not None:
        return Objection("too_many_refs", f"--ref is given {len(refs)} times; {model.name} takes {model.max_refs}")
    videos = sum(map(is_video, refs))
    images = len(refs) - videos - sounds
    if model.max_ref_images is not None and images > model.max_ref_images:
        return Objection("too_many_refs", f"--ref names {images} images; {model.name} takes {model.max_ref_images}")
    if model.max_ref_audios and sounds + (spec.audio_url is not None) > model.max_ref_audios:
        message = f"--ref and --audio-url name {sounds + (spec.audio_url is not None)} sounds"
        return Objection("too_many_refs", f"{message}; {model.name} takes {model.max_ref_audios}")
    if videos > model.max_ref_videos:
        message = f"--ref names {videos} videos; {model.name} takes {model.max_ref_videos}"
        return Objection("too_many_ref_videos", message)
    return None


def is_video(ref: str | Media) -> bool:
    """Tell a video from all else, as ``kind_of`` does."""
    return kind_of(ref) == "video"


def kind_of(ref: str | Media) -> str:
    """Say whether a reference is an image, a video or a sound: by what it is once loaded, until then by its name.

    Where its name does not say, it is called an image.
    """
    if isinstance(ref, Media):
        return ref.mime.partition("/")[0]
    return named_kind(ref) or "image"


def named_kind(url: str) -> str | None:
    """Say by its name whether a URL is of an image, a video or a sound; None where it does not say."""
    name = url.partition("?")[0].lower() if "://" in url else ""
    return next((kind for kind, endings in _ENDINGS.items() if name.endswith(endings)), None)


_ENDINGS = {
    "image": (".jpg", ".jpeg", ".png", ".bmp", ".webp"),
    "video": (".mp4", ".mov"),
    "audio": (".wav", ".mp3"),
}


def check_media(spec: Spec, model: Model) -> Objection | None:
    """Each local file is what the model takes, by the limits in its row."""
    if not _names_files(spec):
        return None
    from rawgenai.dashscope import media_rules

    return media_rules.check(spec, model)


def _names_files(spec: Spec) -> bool:
    return any(isinstance(leaf, Media) for _, leaf in media_of(spec))


# --- warnings: what the API accepts, though it hardly does what was meant -----------------------------------------


def warn_prompt_length(spec: Spec, model: Model) -> Objection | None:
    """The API reads so many characters of a prompt and drops the rest in silence (ruling 8)."""
    prompt = spec.prompt or ""
    read = len(model.read(prompt))
    if read < len(prompt):
        message = f"the prompt has {len(prompt)} characters; {model.name} reads the first {read}"
        return Objection("prompt_too_long", message)
    return None


def warn_negative_length(spec: Spec, model: Model) -> Objection | None:  # noqa: ARG001 - all warnings are called alike
    """The API reads 500 characters of a negative prompt."""
    length = len(spec.negative or "")
    if length > NEGATIVE_LIMIT:
        message = f"--negative has {length} characters; the API reads the first {NEGATIVE_LIMIT}"
        return Objection("prompt_too_long", message)
    return None


def warn_ratio(spec: Spec, model: Model) -> Objection | None:
    """A ratio does nothing beside media whose shape the clip has."""
    follows = [flag for role, flag in roles(spec, model).items() if role in model.follows]
    if spec.ratio is None or not follows:
        return None
    return Objection(
        "invalid_ratio", f"--ratio {spec.ratio} does nothing beside {follows[0]}, whose shape the clip has"
    )


def warn_length_of_clip(spec: Spec, model: Model) -> Objection | None:
    """The length of a clip that goes on from another has that one's seconds in it."""
    seconds = spec.first_clip.seconds if isinstance(spec.first_clip, Media) else None
    duration = model.default_duration if spec.duration is None else spec.duration
    if seconds is None or duration > seconds:
        return None
    message = f"--duration {duration} is the whole length, --first-clip has {seconds:.2f} s of it: nothing is added"
    return Objection("invalid_duration", message)


def warn_length_of_video(spec: Spec, model: Model) -> Objection | None:
    """A model may read the beginning of a video alone."""
    seconds = spec.video.seconds if isinstance(spec.video, Media) else None
    if seconds is None or model.input_seconds is None or seconds <= model.input_seconds + _LENIENCE:
        return None
    message = f"--video is {seconds:.2f} s long; {model.name} reads the first {model.input_seconds} s"
    return Objection("invalid_ref", message)


_LENIENCE = 0.1  # seconds; a clip of 5 s has frames that end a little later


def warn_vace(spec: Spec, model: Model) -> Objection | None:  # noqa: ARG001 - all warnings are called alike
    """A function of vace may be asked for nothing."""
    if spec.vace is None:
        return None
    from rawgenai.dashscope import vace_rules

    return vace_rules.warn_scales(spec.vace)


def warn_refs(spec: Spec, model: Model) -> Objection | None:
    """A reference whose name does not say what it is, where the request must, is called an image."""
    if model.dialect != "media":
        return None
    unknown = [ref for ref in spec.refs or () if isinstance(ref, str) and "://" in ref and named_kind(ref) is None]
    if not unknown:
        return None
    message = f"--ref {unknown[0][:80]!r} does not say by its name what it is; it is sent as an image"
    return Objection("invalid_ref", message)


def warn_media(spec: Spec, model: Model) -> Objection | None:
    """Each local file is also within the narrower limits of the specification (ruling 10), and its length is known."""
    if not _names_files(spec):
        return None
    from rawgenai.dashscope import media_rules

    return media_rules.warn(spec, model)


# --- the region, once it is known --------------------------------------------------------------------------------


def _refusal_there(model: Model, region: str | None) -> Objection | None:
    """The region offers the model; where nobody knows which region it is, nothing is objected to."""
    if region is None or region in (*model.regions, *model.doubtful_regions):
        return None
    said = f"{model.name} is not offered in {region}"
    if region in model.spellings:
        return Objection("invalid_model", f"{said}, where it is spelled so: --model {model.spellings[region]}")
    others = [row.name for row in MODELS.values() if model.mode in row.modes and region in row.regions]
    instead = (
        f"for {model.mode} there is --model {' or '.join(others)}" if others else f"nothing there does {model.mode}"
    )
    return Objection("invalid_model", f"{said}, only in {_listed(model.regions)}; {instead}")


def _doubt_there(model: Model, region: str | None) -> Objection | None:
    """The region is known to offer the model (ruling 16)."""
    if region is None or region in model.regions:
        return None
    if region in model.doubtful_regions:
        message = f"whether {model.name} is offered in {region} is not certain: the sources differ"
        return Objection("invalid_model", message)
    spelled = f", where it is spelled {model.spellings[region]}" if region in model.spellings else ""
    where = f"as far as is known (it is in {_listed(model.regions)})"
    return Objection("invalid_model", f"{model.name} is not offered in {region}{spelled}, {where}")


# --- the line ----------------------------------------------------------------------------------------------------

FLAG_CHECKS: tuple[Callable[[Spec], Objection | None], ...] = (
    check_refs_given,
    check_continued,
    check_voices,
    check_size_alone,
    check_shot_word,
    check_audio_setting,
    check_seed,
    check_vace_inputs,
    check_text,
)
CHECKS: tuple[Callable[[Spec, Model], Objection | None], ...] = (
    check_inputs,
    check_vace,
    check_prompt,
    check_ratio,
    check_resolution,
    check_size,
    check_duration,
    check_features,
    check_shot_type,
    check_prompt_extend,
    check_refs,
    check_media,
)
WARNINGS: tuple[Callable[[Spec, Model], Objection | None], ...] = (
    warn_prompt_length,
    warn_negative_length,
    warn_ratio,
    warn_length_of_clip,
    warn_length_of_video,
    warn_vace,
    warn_refs,
    warn_media,
)


def select(spec: Spec, *, strict: bool = False, rows: Mapping[str, Model] = MODELS) -> tuple[Model, list[str]]:
    """Choose the model for a Spec that may be sent; also return what a person should be warned of.

    ``rows`` are the models that there are. Raises RawgenaiError with the first objection; with ``strict`` a warning is
    one too.
    """
    mode = select_mode(spec, rows.get(spec.model or ""))
    for check_flag in FLAG_CHECKS:
        _raise_on(check_flag(spec))
    model = select_model(spec, mode, rows)
    if spec.vace is not None:
        from rawgenai.dashscope import vace

        model = vace.refined(model, spec.vace.function)
    for check in CHECKS:
        _raise_on(check(spec, model))
    warnings = [objection for warn in WARNINGS if (objection := warn(spec, model))]
    if strict and warnings:
        _raise_on(warnings[0])
    return model, [objection.message for objection in warnings]


def judge_region(model: Model, region: str | None, named: str | None, *, strict: bool = False) -> list[str]:
    """Judge a model by the region that will be asked; return what a person should be warned of.

    A region that somebody ``named`` is held to the table; of one that only a base URL tells there is a warning
    (ruling 16), so that the API decides where the table is behind. Raises RawgenaiError `invalid_model`.
    """
    if region == named:
        _raise_on(_refusal_there(model, region))
    warning = _doubt_there(model, region)
    if strict:
        _raise_on(warning)
    return [warning.message] if warning else []


def _raise_on(objection: Objection | None) -> None:
    if objection is not None:
        raise RawgenaiError(objection.code, objection.message)
