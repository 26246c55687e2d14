"""The bodies that the API accepts: one pydantic model a mode, and the rules that differ between models.

Rule: types are exact JSON types, and a field that the mode or the model does not know is refused, so that a client
cannot get away with sending it. The model's row says the rest (reference 2.2, 2.3 and 2.5).
"""

import binascii
import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from rawgenai.dashscope.models import MAX_SEED, Model

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


_Link = Annotated[str, AfterValidator(_link)]
_Image = Annotated[str, AfterValidator(_image)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Input(_Strict):
    prompt: str | None = None
    negative_prompt: str | None = None
    # What the official SDK sends along with every video request; the API takes no notice.
    extend_prompt: bool | None = None
    function: str | None = None


class _TextInput(_Input):
    audio_url: _Link | None = None


class _ImageInput(_Input):
    img_url: _Image
    audio_url: _Link | None = None


class _ReferenceInput(_Input):
    reference_urls: list[_Link] = Field(min_length=1)


class _FramesInput(_Input):
    first_frame_url: _Image
    last_frame_url: _Image | None = None


class _VaceInput(_Input):
    """Loose: vace has five functions with fields of their own (reference 2.6)."""

    model_config = ConfigDict(extra="allow", strict=True)


class _Parameters(_Strict):
    prompt_extend: bool | None = None
    watermark: bool | None = None
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = None


class _Timed(_Parameters):
    duration: int | None = None
    shot_type: Literal["single", "multi"] | None = None
    audio: bool | None = None


class _Sized(_Timed):
    size: str | None = None


class _Tiered(_Timed):
    resolution: str | None = None


class _FramesParameters(_Parameters):
    resolution: str | None = None


class _VaceParameters(_Sized):
    model_config = ConfigDict(extra="allow", strict=True)


class TextBody(_Strict):
    """t2v."""

    model: str
    input: _TextInput
    parameters: _Sized = _Sized()


class ImageBody(_Strict):
    """i2v."""

    model: str
    input: _ImageInput
    parameters: _Tiered = _Tiered()


class ReferenceBody(_Strict):
    """r2v."""

    model: str
    input: _ReferenceInput
    parameters: _Sized = _Sized()


class FramesBody(_Strict):
    """kf2v."""

    model: str
    input: _FramesInput
    parameters: _FramesParameters = _FramesParameters()


class VaceBody(_Strict):
    """vace."""

    model: str
    input: _VaceInput
    parameters: _VaceParameters = _VaceParameters()


Body = TextBody | ImageBody | ReferenceBody | FramesBody | VaceBody

BODIES: dict[str, type[Body]] = {
    "t2v": TextBody,
    "i2v": ImageBody,
    "r2v": ReferenceBody,
    "kf2v": FramesBody,
    "vace": VaceBody,
}
_PROMPT_NEEDED = ("t2v", "r2v", "vace")

# Field -> the features that let a model know it.
_KNOWN_BY = {
    ("input", "negative_prompt"): {"negative"},
    ("input", "audio_url"): {"audio_url"},
    ("parameters", "prompt_extend"): {"prompt_extend"},
    ("parameters", "shot_type"): {"shot_type"},
    ("parameters", "audio"): {"audio", "no_audio"},
}


def field(body: Body, part: str, name: str) -> Any:
    """Return one field of a body, None where it is absent."""
    return getattr(getattr(body, part), name, None)


def links(body: Body) -> Iterator[str]:
    """Every string of the input that may be a link to media."""
    for name, value in body.input:
        if name not in _Input.model_fields:
            yield from (text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str))


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
    if row.mode in _PROMPT_NEEDED and not (body.input.prompt or "").strip():
        return "Field required: input.prompt"
    return None


def _check_choice(name: str, offered: Callable[[Model], tuple[Any, ...]]) -> Callable[[Body, Model], str | None]:
    def check(body: Body, row: Model) -> str | None:
        value = field(body, "parameters", name)
        if value is None or value in offered(row):
            return None
        return f"The {name} is not match {value}. {row.name} supports: {', '.join(map(str, offered(row)))}"

    return check


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
    _check_references,
)


def parse_body(document: Any, row: Model) -> Body:
    """Turn parsed JSON into the body of this model; raises ValueError with the API's sentence."""
    try:
        body = BODIES[row.mode].model_validate(document)
    except ValidationError as error:
        raise ValueError(_sentence(error)) from None
    for check in CHECKS:
        complaint = check(body, row)
        if complaint is not None:
            raise ValueError(complaint)
    return body


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
