"""The bodies that the API accepts: one pydantic model a mode or dialect, and the rules that differ between models.

Rule: types are exact JSON types, and a field that the mode or the model does not know is refused, so that a client
cannot get away with sending it. The model's row says the rest (reference 2.2, 2.3 and 2.5).
"""

import binascii
import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from rawgenai.dashscope.models import AUDIO_SETTINGS, MAX_SEED, Model

_MAX_DATA_URI = 10 * 1024 * 1024  # characters of one data: URI (reference 2.5)
_DATA_URI = re.compile(r"data:image/(?:jpeg|jpg|png|bmp|webp);base64,")
_VIDEO_NAMES = (".mp4", ".mov")


def _is_link(text: str) -> bool:
    # The name of an uploaded file is the client's choice, so oss:// may hold spaces; no other link may.
    unfit = r"[\x00-\x1f\x7f]" if _is_upload(text) else r"[\s\x00-\x1f\x7f]"
    if re.search(unfit, text):
        return False
    parts = urlsplit(text)  # its ValueError is pydantic's to report
    return parts.scheme in ("http", "https", "oss") and bool(parts.netloc)


def _is_upload(text: str) -> bool:
    return text.startswith("oss://")


def _link(text: str) -> str:
    if not _is_link(text):
        raise ValueError("The provided URL does not appear to be valid. Ensure it is correctly formatted.")
    return text


def _image(text: str) -> str:
    head = _DATA_URI.match(text)
    if head is None:
        return _link(text)
    if len(text) > _MAX_DATA_URI:
        raise ValueError("Exceeded limit on max bytes per data-uri item : 10485760")
    try:
        data = binascii.a2b_base64(text[head.end() :], strict_mode=True)
    except ValueError as error:
        raise ValueError("Failed to decode the image during the data inspection.") from error
    if not data:
        raise ValueError("Failed to decode the image during the data inspection.")
    return text


Link = Annotated[str, AfterValidator(_link)]
_Image = Annotated[str, AfterValidator(_image)]


class Strict(BaseModel):
    """A part of a body: exact types, no unknown fields."""

    model_config = ConfigDict(extra="forbid", strict=True)


class _Input(Strict):
    prompt: str | None = None
    negative_prompt: str | None = None
    # What the official SDK sends along with every video request; the API takes no notice.
    extend_prompt: bool | None = None
    function: str | None = None


class _TextInput(_Input):
    audio_url: Link | None = None


class _ImageInput(_Input):
    img_url: _Image
    audio_url: Link | None = None


class _ReferenceInput(_Input):
    reference_urls: list[Link] = Field(min_length=1)


class _FramesInput(_Input):
    first_frame_url: _Image
    last_frame_url: _Image | None = None


class Piece(Strict):
    """One piece of media, and what it is for (reference 2.4)."""

    type: str
    url: _Image  # base64 is for images alone
    reference_voice: Link | None = None


class _MediaInput(_Input):
    audio_url: Link | None = None
    media: list[Piece] = []


class Parameters(Strict):
    """What every request may say."""

    prompt_extend: bool | None = None
    watermark: bool | None = None
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = None


class _Timed(Parameters):
    duration: int | None = None
    shot_type: Literal["single", "multi"] | None = None
    audio: bool | None = None


class _Sized(_Timed):
    size: str | None = None


class _Tiered(_Timed):
    resolution: str | None = None


class _FramesParameters(Parameters):
    resolution: str | None = None


class _Ratioed(Parameters):
    resolution: str | None = None
    ratio: str | None = None
    duration: int | None = None
    audio: bool | None = None
    audio_setting: Literal[AUDIO_SETTINGS] | None = None  # type: ignore[valid-type]  # the table's own words


class TextBody(Strict):
    """t2v."""

    model: str
    input: _TextInput
    parameters: _Sized = _Sized()


class ImageBody(Strict):
    """i2v."""

    model: str
    input: _ImageInput
    parameters: _Tiered = _Tiered()


class ReferenceBody(Strict):
    """r2v."""

    model: str
    input: _ReferenceInput
    parameters: _Sized = _Sized()


class FramesBody(Strict):
    """kf2v."""

    model: str
    input: _FramesInput
    parameters: _FramesParameters = _FramesParameters()


class VaceInput(Strict):
    """What every function of vace takes (reference 2.6); ``vace`` has the rest."""

    function: str
    prompt: str | None = None
    extend_prompt: bool | None = None  # the SDK's, as above


class VaceBody(Strict):
    """vace: the body of one function."""

    model: str
    input: VaceInput
    parameters: Parameters = Parameters()


class MediaBody(Strict):
    """The media dialect, whatever the mode."""

    model: str
    input: _MediaInput
    parameters: _Ratioed = _Ratioed()


Body = TextBody | ImageBody | ReferenceBody | FramesBody | VaceBody | MediaBody

BODIES: dict[str, type[Body]] = {
    "t2v": TextBody,
    "i2v": ImageBody,
    "r2v": ReferenceBody,
    "kf2v": FramesBody,
}

# Field -> the features that let a model know it.
_KNOWN_BY = {
    ("input", "negative_prompt"): {"negative"},
    ("input", "audio_url"): {"audio_url"},
    ("parameters", "prompt_extend"): {"prompt_extend"},
    ("parameters", "shot_type"): {"shot_type"},
    ("parameters", "audio"): {"audio", "no_audio"},
    ("parameters", "audio_setting"): {"audio_setting"},
}


def field(body: Body, part: str, name: str) -> Any:
    """Return one field of a body, None where it is absent."""
    return getattr(getattr(body, part), name, None)


def links(body: Body) -> Iterator[str]:
    """Every string of the input that may be a link to media."""
    for piece in pieces(body):
        yield from (piece.url, *([piece.reference_voice] if piece.reference_voice else []))
    for name, value in body.input:
        if name not in _Input.model_fields:  # of whatever body: a function's name is no link
            yield from (text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str))


def pieces(body: Body) -> list[Piece]:
    """The media of a body that lists them."""
    return field(body, "input", "media") or []


def roles(body: Body) -> list[str]:
    """What each piece of media is for: its type, where a reference is one whatever it is."""
    return ["reference" if piece.type.startswith("reference_") else piece.type for piece in pieces(body)]


def count_references(body: Body) -> int:
    """Count the references, of either dialect."""
    return len(field(body, "input", "reference_urls") or []) + roles(body).count("reference")


def count_named_videos(body: Body) -> int:
    """Count the references that are videos by their name; what was uploaded is looked at instead."""
    references = field(body, "input", "reference_urls") or []
    return sum(urlsplit(link).path.lower().endswith(_VIDEO_NAMES) for link in references if not _is_upload(link))


def _check_known(body: Body, row: Model) -> str | None:
    for (part, name), features in _KNOWN_BY.items():
        if field(body, part, name) is not None and not features & row.features:
            return f"Unknown field: {part}.{name}. {row.name} does not support it."
    return None


def _check_prompt(body: Body, row: Model) -> str | None:
    needed = row.needs_prompt == "always" or (row.needs_prompt == "alone" and not pieces(body))
    if needed and not (body.input.prompt or "").strip():
        return "Field required: input.prompt"
    return None


def _check_choice(name: str, offered: Callable[[Model], tuple[Any, ...]]) -> Callable[[Body, Model], str | None]:
    def check(body: Body, row: Model) -> str | None:
        value = field(body, "parameters", name)
        if value is None or value in offered(row):
            return None
        return f"The {name} is not match {value}. {row.name} supports: {', '.join(map(str, offered(row)))}"

    return check


_REFERENCES = ("reference_image", "reference_video", "reference_audio")
_ONCE = ("first_frame", "last_frame", "first_clip", "driving_audio", "video")


def _check_types(body: Body, row: Model) -> str | None:
    given = pieces(body)
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
    if not isinstance(body, MediaBody):
        return None
    if body.input.audio_url is not None and row.audio_type is not None:
        return "Unknown field: input.audio_url"
    given = set(roles(body))
    if not any(given == set(combination) for combination in row.combinations or ()):
        return f"The combination of media is not supported by {row.name}: {', '.join(sorted(given)) or 'none'}"
    return None


def _check_counts(body: Body, row: Model) -> str | None:
    types = [piece.type for piece in pieces(body)]
    images, videos = types.count("reference_image"), types.count("reference_video")
    most_images = row.max_refs if row.max_ref_images is None else row.max_ref_images
    if images + videos > row.max_refs or images > most_images or videos > row.max_ref_videos:
        return f"media must hold at most {row.max_refs} references, {row.max_ref_videos} of them videos"
    asked = field(body, "parameters", "duration")
    if videos and row.video_durations and asked is not None and asked not in row.video_durations:
        return f"The duration is not match {asked} beside a reference video."
    return None


def _check_references(body: Body, row: Model) -> str | None:
    references = field(body, "input", "reference_urls") or []
    videos = count_named_videos(body)
    if len(references) > row.max_refs:
        return f"reference_urls must hold 1 to {row.max_refs} items, got {len(references)}"
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
    for check in (*CHECKS, *_more_checks(row)):
        complaint = check(body, row)
        if complaint is not None:
            raise ValueError(complaint)
    return body


def _model_of(document: Any, row: Model) -> type[Body]:
    """Choose the body that a row's requests have; of vace, by the function that this one names."""
    if row.dialect == "vace":
        from rawgenai.emulator import vace

        return vace.body_of(document)
    return MediaBody if row.dialect == "media" else BODIES[row.mode]


def _more_checks(row: Model) -> tuple[Callable[[Body, Model], str | None], ...]:
    if row.dialect != "vace":
        return ()
    from rawgenai.emulator import vace

    return vace.CHECKS


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
