"""What of a body a model does not take: the rules that differ between models, read from the model's row.

Source: the API reference, sections 2.2, 2.3 and 2.5.
"""

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from rawgenai.dashscope.models import Model
from rawgenai.emulator import bodies, vace
from rawgenai.emulator.bodies import Body

# Field -> the features that let a model know it.
_KNOWN_BY = {
    ("input", "negative_prompt"): {"negative"},
    ("input", "audio_url"): {"audio_url"},
    ("parameters", "prompt_extend"): {"prompt_extend"},
    ("parameters", "shot_type"): {"shot_type"},
    ("parameters", "audio"): {"audio", "no_audio"},
    ("parameters", "audio_setting"): {"audio_setting"},
}


def _check_known(body: Body, row: Model) -> str | None:
    for (part, name), features in _KNOWN_BY.items():
        if bodies.field(body, part, name) is not None and not features & row.features:
            return f"Unknown field: {part}.{name}. {row.name} does not support it."
    return None


def _check_prompt(body: Body, row: Model) -> str | None:
    needed = row.needs_prompt == "always" or (row.needs_prompt == "alone" and not bodies.pieces(body))
    if needed and not (body.input.prompt or "").strip():
        return "Field required: input.prompt"
    return None


def _check_choice(name: str, offered: Callable[[Model], tuple[Any, ...]]) -> Callable[[Body, Model], str | None]:
    def check(body: Body, row: Model) -> str | None:
        value = bodies.field(body, "parameters", name)
        if value is None or value in offered(row):
            return None
        return f"The {name} is not match {value}. {row.name} supports: {', '.join(map(str, offered(row)))}"

    return check


_REFERENCES = ("reference_image", "reference_video", "reference_audio")
_ONCE = ("first_frame", "last_frame", "first_clip", "driving_audio", "video")


def _check_types(body: Body, row: Model) -> str | None:
    given = bodies.pieces(body)
    kinds = [piece.type for piece in given]
    for piece in given:
        sound = piece.type.endswith("_audio")
        unknown = piece.type not in (*_REFERENCES, *_ONCE) or (sound and piece.type != row.audio_type)
        if unknown or (piece.type in _ONCE and kinds.count(piece.type) > 1):
            return f"media must not hold {kinds.count(piece.type)} items of the type {piece.type}"
        if piece.reference_voice and ("voices" not in row.features or piece.type not in _REFERENCES):
            return f"Unknown field: input.media.reference_voice. {row.name} does not support it there."
    return None


def _check_combination(body: Body, row: Model) -> str | None:
    if not isinstance(body, bodies.MediaBody):
        return None
    if body.input.audio_url is not None and row.audio_type is not None:
        return "Unknown field: input.audio_url"
    given = set(bodies.roles(body))
    if not any(given == set(combination) for combination in row.combinations or ()):
        return f"The combination of media is not supported by {row.name}: {', '.join(sorted(given)) or 'none'}"
    return None


def _check_counts(body: Body, row: Model) -> str | None:
    types = [piece.type for piece in bodies.pieces(body)]
    images, videos, sounds = (types.count(name) for name in _REFERENCES)
    most_images = row.max_refs if row.max_ref_images is None else row.max_ref_images
    if images + videos + sounds > row.max_refs or images > most_images or videos > row.max_ref_videos:
        return f"media must hold at most {row.max_refs} references, {row.max_ref_videos} of them videos"
    if sounds > row.max_ref_audios:
        return f"media must hold at most {row.max_ref_audios} reference_audio"
    asked = bodies.field(body, "parameters", "duration")
    if videos and row.video_durations and asked is not None and asked not in row.video_durations:
        return f"The duration is not match {asked} beside a reference video."
    return None


def _check_references(body: Body, row: Model) -> str | None:
    references = bodies.field(body, "input", "reference_urls") or []
    videos = bodies.count_named_videos(body)
    if len(references) > row.max_refs:
        return f"reference_urls must hold 1 to {row.max_refs} items, got {len(references)}"
    if bodies.names_sound(body):
        return "The media format is not supported or incorrect for the data inspection."
    if videos > row.max_ref_videos:
        return f"reference_urls must hold at most {row.max_ref_videos} videos, got {videos}"
    return None


CHECKS: tuple[Callable[[Body, Model], str | None], ...] = (
    _check_known,
    _check_prompt,
    _check_choice("size", lambda row: row.sizes),
    _check_choice("resolution", lambda row: row.resolutions),
    _check_choice("duration", lambda row: row.durations),
    _check_choice("ratio", lambda row: row.ratios),
    _check_references,
    _check_types,
    _check_combination,
    _check_counts,
)


def parse_body(document: Any, row: Model) -> Body:
    """Turn parsed JSON into the body of this model; raises ValueError with the API's sentence."""
    try:
        body = _model_of(document, row).model_validate(document)
    except ValidationError as error:
        raise ValueError(_sentence(error)) from None
    for check in (*CHECKS, *vace.CHECKS):
        complaint = check(body, row)
        if complaint is not None:
            raise ValueError(complaint)
    return body


def _model_of(document: Any, row: Model) -> type[Body]:
    """Choose the body that a row's requests have; of vace, by the function that this one names."""
    if row.dialect == "vace":
        return vace.body_of(document)
    return bodies.MediaBody if row.dialect == "media" else bodies.BODIES[row.mode]


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    match first["type"]:
        case "missing":
            return f"Field required: {where}"
        case "extra_forbidden":
            return f"Unknown field: {where}"
        case "value_error":
            return f"{where}: {first['ctx']['error']}"
        case _:
            return f"{where}: {first['msg']}"
