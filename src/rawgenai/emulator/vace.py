"""The functions of vace: the body of each, what must fit together in it, and which pixels its clip has.

Own words throughout, as in ``bodies``: what the client reads from a table of rows stands here as bodies. Source: the
API reference, section 2.6; where it has no sentence for a refusal, the sentence is ours.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from rawgenai.dashscope.models import Model
from rawgenai.emulator import bodies
from rawgenai.emulator.bodies import Body, Parameters, VaceBody, VaceInput
from rawgenai.emulator.inputs import Seen, Unfit

_CLIP_SECONDS = 3  # of the clips that are extended, together
_LENIENCE = 0.1  # seconds; the last frame of a clip ends a little later


def _plain(text: str) -> str:
    if not text.startswith("oss:") and not text.isascii():
        raise ValueError("The provided URL must not contain Chinese characters.")
    return text


Link = Annotated[bodies.Link, AfterValidator(_plain)]
_Share = Annotated[float, Field(ge=0, le=1)]
_Scale = Annotated[float, Field(ge=1, le=2)]


class _Images(VaceInput):
    ref_images_url: list[Link] = Field(min_length=1)


class _ImagesParameters(Parameters):
    obj_or_bg: list[Literal["obj", "bg"]] | None = None
    size: str | None = None
    duration: int | None = None


class ImageReference(VaceBody):
    """image_reference."""

    input: _Images
    parameters: _ImagesParameters = _ImagesParameters()


class _Repainted(VaceInput):
    video_url: Link
    ref_images_url: list[Link] | None = Field(None, min_length=1, max_length=1)


class _Repainting(Parameters):
    control_condition: Literal["posebodyface", "posebody", "depth", "scribble"]
    strength: _Share | None = None


class Repainting(VaceBody):
    """video_repainting."""

    input: _Repainted
    parameters: _Repainting


class _Edited(_Repainted):
    mask_image_url: Link | None = None
    mask_video_url: Link | None = None
    mask_frame_id: Annotated[int, Field(ge=1)] | None = None


class _Editing(Parameters):
    control_condition: Literal["", "posebodyface", "depth"] | None = None
    mask_type: Literal["tracking", "fixed"] | None = None
    expand_ratio: _Share | None = None
    expand_mode: Literal["hull", "bbox", "original"] | None = None
    size: str | None = None


class Edit(VaceBody):
    """video_edit."""

    input: _Edited
    parameters: _Editing = _Editing()


class _Extended(VaceInput):
    first_frame_url: Link | None = None
    last_frame_url: Link | None = None
    first_clip_url: Link | None = None
    last_clip_url: Link | None = None
    video_url: Link | None = None


class _Extending(Parameters):
    control_condition: Literal["posebodyface", "depth"] | None = None
    duration: int | None = None


class Extension(VaceBody):
    """video_extension."""

    input: _Extended
    parameters: _Extending = _Extending()


class _Outpainted(VaceInput):
    video_url: Link


class _Outpainting(Parameters):
    top_scale: _Scale | None = None
    bottom_scale: _Scale | None = None
    left_scale: _Scale | None = None
    right_scale: _Scale | None = None


class Outpainting(VaceBody):
    """video_outpainting."""

    input: _Outpainted
    parameters: _Outpainting = _Outpainting()


_FUNCTIONS: dict[str, type[VaceBody]] = {
    "image_reference": ImageReference,
    "video_repainting": Repainting,
    "video_edit": Edit,
    "video_extension": Extension,
    "video_outpainting": Outpainting,
}


def body_of(document: Any) -> type[VaceBody]:
    """Choose the body by the function that a document names; raises ValueError with the API's sentence."""
    inputs = document.get("input")
    name = inputs.get("function") if isinstance(inputs, dict) else None
    if name is None:
        raise ValueError("Field required: input.function")
    if name not in _FUNCTIONS:
        raise ValueError(f"input.function: Input should be one of {', '.join(_FUNCTIONS)}")
    return _FUNCTIONS[name]


# --- what must fit together ------------------------------------------------------------------------------------------


def _check_roles(body: Body, _: Model) -> str | None:
    if not isinstance(body, ImageReference):
        return None
    images, roles = len(body.input.ref_images_url), body.parameters.obj_or_bg
    if roles is None:
        roles = ["obj"]  # which one image may leave out
    if len(roles) != images:
        return "ref_images_url and obj_or_bg must be the same length."
    return "obj_or_bg must hold at most one bg." if roles.count("bg") > 1 else None


def _check_masks(body: Body, _: Model) -> str | None:
    if isinstance(body, Edit) and (body.input.mask_image_url is None) == (body.input.mask_video_url is None):
        return "Field required: one of input.mask_image_url and input.mask_video_url"
    return None


def _check_extension(body: Body, _: Model) -> str | None:
    if not isinstance(body, Extension):
        return None
    given = body.input
    if not any((given.first_frame_url, given.last_frame_url, given.first_clip_url, given.last_clip_url)):
        return "Field required: input.first_frame_url, last_frame_url, first_clip_url or last_clip_url"
    if given.video_url is not None and body.parameters.control_condition is None:
        return "Field required: parameters.control_condition"
    return None


CHECKS: tuple[Callable[[Body, Model], str | None], ...] = (_check_roles, _check_masks, _check_extension)


def check_seen(body: Body, seen: Sequence[Seen]) -> None:
    """Compare what was sent along: masks with their video, and how long the clips are. Raises Unfit."""
    found = {one.field: one for one in seen}
    video = found.get("video_url")
    for name in ("mask_image_url", "mask_video_url"):
        mask = found.get(name)
        if mask and video and mask.width and video.width and mask[3:5] != video[3:5]:
            raise Unfit("InvalidParameter", "The mask must have the same resolution as the video.")
    frame = getattr(body.input, "mask_frame_id", None)
    if frame and video and video.seconds and video.fps and frame > round(video.fps * video.seconds) + 1:
        raise Unfit("InvalidParameter", f"mask_frame_id {frame} is beyond the end of the video.")
    seconds = sum(one.seconds or 0 for name, one in found.items() if name in ("first_clip_url", "last_clip_url"))
    if seconds > _CLIP_SECONDS + _LENIENCE:
        raise Unfit("InvalidFile.Duration", f"The clips must be at most {_CLIP_SECONDS}s long in all.")


# --- what becomes of it ----------------------------------------------------------------------------------------------


def follows(body: Body) -> bool:
    """Tell whether the clip is as long as the video that goes in."""
    return isinstance(body, Repainting | Edit | Outpainting)


def scales(body: Body) -> tuple[float, float, float, float]:
    """How far the frame reaches from the video's middle: upward, downward, to the left and to the right."""
    if not isinstance(body, Outpainting):
        return (1, 1, 1, 1)
    told = body.parameters
    top, bottom, left, right = told.top_scale, told.bottom_scale, told.left_scale, told.right_scale
    return (top or 1, bottom or 1, left or 1, right or 1)


_SHAPES = ("video_url", "first_clip_url", "first_frame_url", "last_clip_url", "last_frame_url")  # the first seen


def shape(body: Body, seen: Sequence[Seen]) -> tuple[float, float] | None:
    """Say whose shape the clip has, widened by the scales; None where no video or frame is known."""
    if isinstance(body, ImageReference):
        return None
    sized = {one.field: one for one in seen if one.width}
    one = next((sized[name] for name in _SHAPES if name in sized), None)
    if one is None:
        return None
    top, bottom, left, right = scales(body)
    return one.width * (left + right) / 2, one.height * (top + bottom) / 2
