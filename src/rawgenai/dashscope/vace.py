"""The functions of vace, general editing: one row a function. Pure.

Rule: every fact that differs between the functions is a cell of a row here; the checks in vace_rules.py, the request in
wire.py and the commands in cli/vace.py read it. Source: reference 2.6, and 2.5 for the clips.
"""

from collections.abc import Mapping
from typing import NamedTuple

from rawgenai.dashscope.models import AS_INPUT, DEFAULT_DURATION, Model


class Parameter(NamedTuple):
    """A parameter of a function; ``name`` is its field of Spec's ``Vace``, and tells its flag."""

    name: str
    key: str  # of the request
    words: tuple[str, ...] = ()  # what it may be, or where it is a list, each of it
    span: tuple[float, float] | None = None  # or from which number to which
    default: str | float | None = None  # what the API takes where none is said
    part: str = "parameters"  # of the request
    required: bool = False
    beside: str = ""  # the input that it says something of; without that it has no sense
    unless: tuple[str, str] | None = None  # a parameter and its word that leave it no sense
    said: bool = False  # the default is sent as well, because sources differ on it


class Function(NamedTuple):
    """What one function takes."""

    name: str  # the command's
    key: str  # of the request
    what: str  # it does, in a sentence
    inputs: Mapping[str, str]  # field of a Spec -> key of the request's input
    needs: tuple[tuple[str, ...], ...]  # fields of a Spec: of each group one at least
    parameters: tuple[Parameter, ...] = ()
    alone: tuple[tuple[str, ...], ...] = ()  # of each group one at most
    max_refs: int = 0
    shape: str = "input"  # of the clip: said, asked (only where it was given), or input, which it follows
    durations: tuple[int, ...] = ()  # whole seconds on offer; none: as long as the video
    clips: tuple[str, ...] = ()  # inputs that are short clips
    clip_seconds: float = 0  # of each of them, and of all together, at most
    like_video: tuple[str, ...] = ()  # inputs that must have the video's own pixels


_POSES = ("posebodyface", "posebody", "depth", "scribble")
_SCALE = (1.0, 2.0)
ENDLESS = float("inf")

_ROWS = (
    Function(
        name="image-reference",
        key="image_reference",
        what="Make a clip of what images show.",
        inputs={"refs": "ref_images_url"},
        needs=(("refs",),),
        parameters=(Parameter("ref_roles", "obj_or_bg", ("obj", "bg")),),
        max_refs=3,
        shape="said",
        durations=(5,),
    ),
    Function(
        name="repainting",
        key="video_repainting",
        what="Paint a video anew; its movement stays.",
        inputs={"video": "video_url", "refs": "ref_images_url"},
        needs=(("video",),),
        parameters=(
            Parameter("control", "control_condition", _POSES, required=True),
            Parameter("strength", "strength", span=(0.0, 1.0), default=1.0),
        ),
        max_refs=1,
    ),
    Function(
        name="edit",
        key="video_edit",
        what="Edit what a mask shows of a video.",
        inputs={
            "video": "video_url",
            "mask": "mask_image_url",
            "mask_video": "mask_video_url",
            "refs": "ref_images_url",
        },
        needs=(("video",), ("mask", "mask_video")),
        alone=(("mask", "mask_video"),),
        parameters=(
            Parameter(
                "mask_frame", "mask_frame_id", span=(1, ENDLESS), default=1, part="input", beside="mask", said=True
            ),
            Parameter("control", "control_condition", ("posebodyface", "depth")),
            Parameter("mask_type", "mask_type", ("tracking", "fixed"), default="tracking", beside="mask"),
            Parameter(
                "expand_ratio", "expand_ratio", span=(0.0, 1.0), default=0.05, beside="mask",
                unless=("mask_type", "fixed"),
            ),
            Parameter(
                "expand_mode", "expand_mode", ("hull", "bbox", "original"), default="hull", beside="mask",
                unless=("mask_type", "fixed"),
            ),
        ),
        max_refs=1,
        shape="asked",
        like_video=("mask", "mask_video"),
    ),
    Function(
        name="extension",
        key="video_extension",
        what="Make more of a clip: before it, after it, or between two.",
        inputs={
            "first_frame": "first_frame_url",
            "last_frame": "last_frame_url",
            "first_clip": "first_clip_url",
            "last_clip": "last_clip_url",
            "video": "video_url",
        },
        needs=(("first_frame", "last_frame", "first_clip", "last_clip"),),
        parameters=(
            Parameter("control", "control_condition", ("posebodyface", "depth"), required=True, beside="video"),
        ),
        durations=(5,),
        clips=("first_clip", "last_clip"),
        clip_seconds=3,
    ),
    Function(
        name="outpainting",
        key="video_outpainting",
        what="Show more around a video.",
        inputs={"video": "video_url"},
        needs=(("video",),),
        parameters=tuple(
            Parameter(f"{side}_scale", f"{side}_scale", span=_SCALE, default=1.0)
            for side in ("top", "bottom", "left", "right")
        ),
    ),
)  # fmt: skip

FUNCTIONS = {row.name: row for row in _ROWS}


def refined(model: Model, function: str) -> Model:
    """Write a model's row as a function has it; as it is where there is no such function."""
    row = FUNCTIONS.get(function)
    if row is None:
        return model
    duration = DEFAULT_DURATION if row.durations else AS_INPUT
    return model._replace(durations=row.durations, default_duration=duration, max_refs=row.max_refs)
