"""The normalised request of the skill documents (`video.generate`): its JSON -> Spec, and its response. Pure.

It is checked here for what it is alone: fields and their types. What Wan allows is judged in rules.py as ever.
"""

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, get_type_hints

from rawgenai import media
from rawgenai.dashscope import roster, rules
from rawgenai.dashscope.models import Model
from rawgenai.dashscope.spec import Spec
from rawgenai.errors import RawgenaiError
from rawgenai.message import parse_json

MAX_REQUEST = 1024 * 1024  # bytes
_MAX_SECONDS = 1e9  # more is no duration, and would only make a long sentence

# A field that is wrong has a code of its own, where its flag has one; else `invalid_usage`.
_CODES = {"duration": "invalid_duration", "size": "invalid_size", "seed": "invalid_seed"}

# The skill documents' fields that no API of these models knows -> what a person is told of each.
_NOT_SENT = {
    "fps": (
        "fps is not sent, for no API of these models takes it: the clip has the frame rate that the model makes."
        " A re-encode could serve it, and is not done unasked: ffmpeg -i clip.mp4 -r {rate} out.mp4 (or PyAV)"
    ),
    "motion_strength": (
        "motion_strength is not sent, for no API of these models takes it: say in the prompt how much is to move"
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalized:
    """A normalised request; a field that was not given, or is null, is None.

    The skill documents require ``duration``, ``fps`` and ``size``; here each may be left out, and our defaults hold:
    5 seconds, 720P. Which inputs need a prompt is a rule of the mode.
    """

    prompt: str | None = None
    negative_prompt: str | None = None
    duration: float | None = None  # whole seconds, though 5.0 is 5
    fps: float | None = None  # frames a second; never sent
    size: str | None = None  # pixels, "W*H" or "WxH"; where the model follows its image, it chooses the tier
    seed: int | None = None
    reference_image: str | bytes | None = None  # a path, URL or data URI; from Python also the file's bytes
    motion_strength: float | None = None  # never sent
    model: str | None = None  # by default the mode's usual one


def read(text: str | bytes) -> Normalized:
    """Parse and check the JSON of a normalised request, of at most 1 MiB in UTF-8.

    Raises RawgenaiError: `invalid_usage` for what is no such request, has an unknown field or a value of a wrong type;
    `invalid_duration`, `invalid_size` and `invalid_seed` for the type of these three.
    """
    document = _document(text)
    from pydantic import ConfigDict, ValidationError, create_model

    fields: dict[str, Any] = {name: (hint, None) for name, hint in get_type_hints(Normalized).items()}
    checker = create_model("Normalized", __config__=ConfigDict(strict=True, extra="forbid"), **fields)
    try:
        checker.model_validate(document)
    except ValidationError as error:
        raise _refusal(error.errors(include_url=False, include_context=False, include_input=False)[0]) from None
    return Normalized(**document)  # strict: a value that passed is what it was


def _document(text: str | bytes) -> dict[str, Any]:
    try:
        raw = text.encode() if isinstance(text, str) else text
        if len(raw) > MAX_REQUEST:
            raise _fault(f"is longer than {MAX_REQUEST // 1024} KiB; name a large picture by its path or URL")
        document = parse_json(raw.decode("utf-8-sig"))
    except UnicodeError:
        raise _fault("is not UTF-8 text") from None
    except ValueError as error:
        raise _fault(f"is not JSON that can be read: {error}") from None
    if not isinstance(document, dict):
        raise _fault("is not a JSON object")
    return document


def _refusal(error: Mapping[str, Any]) -> RawgenaiError:
    """Turn pydantic's first objection into ours; it never holds the value."""
    name = str(error["loc"][0]) if error["loc"] else ""
    if name in get_type_hints(Normalized):
        said = error["msg"][:1].lower() + error["msg"][1:]
        return RawgenaiError(_CODES.get(name, "invalid_usage"), f"the request's field {name!r}: {said}")
    return _fault(f"has the unknown field {name[:80]!r}; it may have {', '.join(get_type_hints(Normalized))}")


def _fault(what: str) -> RawgenaiError:
    return RawgenaiError("invalid_usage", f"the request {what}")


def spec_of(
    request: Normalized, select_model: Callable[[Spec, str], Model] = roster.select_model
) -> tuple[Spec, list[str]]:
    """Map a normalised request to a Spec, and say what a person should know of it.

    ``reference_image`` becomes the image, so the mode follows from it. Raises RawgenaiError: `invalid_model`;
    `invalid_duration` for part of a second; `invalid_size` where the model takes tiers and none of its has that size.
    """
    spec = Spec(
        request.prompt,
        image=_image(request.reference_image),
        model=request.model,
        size=request.size,
        duration=_whole_seconds(request.duration),
        negative=request.negative_prompt,
        seed=request.seed,
    )
    model = select_model(spec, rules.select_mode(spec))
    if request.size is not None and not model.sizes:
        tier, ratio = _tier(request.size, model)
        says_ratio = model.dialect != "classic" and ratio in model.ratios
        spec = replace(spec, size=None, resolution=tier, ratio=ratio if says_ratio else None)
    said = {name: sentence for name, sentence in _NOT_SENT.items() if getattr(request, name) is not None}
    return spec, [sentence.format(rate=_rate(request.fps)) for sentence in said.values()]


def _image(value: str | bytes | None) -> str | None:
    if not isinstance(value, bytes):
        return value
    mime = media.recognise(value[:512], len(value)).mime
    return f"data:{mime};base64,{b64encode(value).decode()}"


def _whole_seconds(value: float | None) -> int | None:
    if value is None:
        return None
    if not (abs(value) < _MAX_SECONDS and value % 1 == 0):  # said so that NaN is refused too
        raise RawgenaiError("invalid_duration", "the request's field 'duration' is not a whole number of seconds")
    return int(value)


def _tier(size: str, model: Model) -> tuple[str, str]:
    """Name the tier and the ratio that have a size, for a model that takes tiers."""
    tables = {tier: model.pixels.get(tier, {}) for tier in model.resolutions}
    named = {pixels: (tier, ratio) for tier, table in tables.items() for ratio, pixels in table.items()}
    found = named.get(rules.normal_size(size))
    if found is None:
        offered = "; ".join(f"{', '.join(table.values())} ({tier})" for tier, table in tables.items())
        raise RawgenaiError("invalid_size", f"the request's field 'size', {size[:40]!r}: {model.name} takes {offered}")
    return found


def _rate(fps: float | None) -> str:
    return f"{fps:.10g}" if fps is not None and 0 < fps <= 1000 else "24"


def response(
    request: Normalized, *, video_url: str | None, duration: float | None, fps: float | None
) -> dict[str, Any]:
    """Write the normalised response: the clip's URL, seconds and frames a second as measured, the seed as asked.

    What is not known, and a seed that was not asked for, is null: the API does not tell the one it chose.
    """
    return {"video_url": video_url, "duration": duration, "fps": fps, "seed": request.seed}
