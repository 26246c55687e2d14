"""The bodies that the API accepts: one pydantic model a mode or dialect.

Rule: types are exact JSON types, and a field that the mode does not know is refused, so that a client cannot get away
with sending it (reference 2.2, 2.3 and 2.5). The functions of vace have theirs in ``vace``.
"""

import binascii
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from rawgenai.dashscope.models import AUDIO_SETTINGS, MAX_SEED

_MAX_DATA_URI = 10 * 1024 * 1024  # characters of one data: URI (reference 2.5)
_DATA_URI = re.compile(r"data:image/(?:jpeg|jpg|png|bmp|webp);base64,")
_VIDEO_NAMES = (".mp4", ".mov")
_SOUND_NAMES = (".mp3", ".wav")


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


def names_sound(body: Body) -> bool:
    """Tell whether a reference is a sound by its name."""
    references = field(body, "input", "reference_urls") or []
    return any(urlsplit(link).path.lower().endswith(_SOUND_NAMES) for link in references)


def count_named_videos(body: Body) -> int:
    """Count the references that are videos by their name; what was uploaded is looked at instead."""
    references = field(body, "input", "reference_urls") or []
    return sum(urlsplit(link).path.lower().endswith(_VIDEO_NAMES) for link in references if not _is_upload(link))
