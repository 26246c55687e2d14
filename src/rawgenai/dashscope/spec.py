"""Spec: what the caller asked for, and the table of its fields that name media. Pure."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, NamedTuple

from rawgenai.message import Media


@dataclass(frozen=True, slots=True)
class Spec:
    """One clip, as asked for; a field that was not given is None, and defaults come from the model's row.

    Media fields take a local path, an http(s) or ``oss://`` URL, images also a ``data:`` URI; once loaded, a local
    file stands there as a ``Media`` leaf. Seconds, pixels and the words are those of the specification's flags.
    """

    prompt: str | None = None
    _: KW_ONLY
    prompt_file: str | None = None  # read when there is no prompt; "-" is stdin
    image: str | Media | None = None  # makes it image-to-video
    continues: str | bool | None = None  # a local clip: its last frame is the first; in a film True is the shot before
    refs: tuple[str | Media, ...] | None = None  # reference images, videos and sounds; makes it reference-to-video
    ref_voices: tuple[str | Media | None, ...] | None = None  # of the references, in their order; None: its own
    first_frame: str | Media | None = None  # makes it keyframe-to-video
    last_frame: str | Media | None = None
    first_clip: str | Media | None = None  # a clip to go on from
    last_clip: str | Media | None = None  # a clip to end with (vace)
    video: str | Media | None = None  # makes it video editing
    mask: str | Media | None = None  # an image: what is white in it is edited (vace)
    mask_video: str | Media | None = None  # the same for each frame; instead of a mask
    vace: "Vace | None" = None  # makes it general editing by a function
    model: str | None = None
    resolution: str | None = None  # a tier: 480P, 720P, 1080P
    ratio: str | None = None  # 16:9, 9:16, or what else the model has
    size: str | None = None  # exact pixels, "W*H" or "WxH"
    duration: int | None = None  # seconds; 0: as the input, -1: as the model sees fit, where it takes these
    negative: str | None = None  # what must not be in the clip
    audio: bool | None = None  # make sound (wan2.6-i2v-flash)
    no_audio: bool | None = None  # make none (wan2.6-r2v-flash)
    audio_url: str | Media | None = None  # sound to use
    audio_setting: str | None = None  # auto or origin: the sound of a video that is edited
    shot_type: str | None = None  # single or multi
    prompt_extend: bool | None = None  # let the API rewrite the prompt
    watermark: bool | None = None
    seed: int | None = None


class Vace(NamedTuple):
    """A function of general editing and its parameters; one that was not given is None.

    Which function takes which of them, and within what, is in vace.py.
    """

    function: str  # image-reference, repainting, edit, extension or outpainting
    ref_roles: tuple[str, ...] | None = None  # what each reference shows: obj, a subject, or bg, the background
    control: str | None = None  # what is kept of the video's movement: posebodyface, posebody, depth, scribble
    strength: float | None = None  # how strictly, 0 to 1
    mask_frame: int | None = None  # the frame of the video that the mask is of, from 1
    mask_type: str | None = None  # tracking: the mask follows what moves; fixed: it stays
    expand_ratio: float | None = None  # by how much the followed mask grows, 0 to 1
    expand_mode: str | None = None  # the shape of it: hull, bbox, original
    top_scale: float | None = None  # how far the frame is moved outward, 1 to 2
    bottom_scale: float | None = None
    left_scale: float | None = None
    right_scale: float | None = None


class Input(NamedTuple):
    """A field of a Spec that names media: what it may be, how it travels, and what is said when it is wrong."""

    name: str  # of the field
    flag: str
    key: str  # of the request's input, in the classic dialect; "" where that has none
    kinds: tuple[str, ...]  # what the file may be: image, video, audio
    inline: int  # bytes up to which a local file travels inside the classic request (ruling 11)
    absent: str  # code: there is no such file
    unreadable: str  # code: there is one, and it cannot be read
    invalid: str  # code: it is not what the API takes


INLINE = 7 * 1024 * 1024
_IMAGE, _AUDIO, _VIDEO = ("image",), ("audio",), ("video",)
_ANY = (*_IMAGE, *_VIDEO, *_AUDIO)

INPUTS = (
    Input("image", "--image", "img_url", _IMAGE, INLINE, "image_not_found", "image_read_error", "invalid_image"),
    Input(
        "first_frame", "--first-frame", "first_frame_url", _IMAGE, INLINE,
        "first_frame_not_found", "image_read_error", "invalid_image",
    ),
    Input(
        "last_frame", "--last-frame", "last_frame_url", _IMAGE, INLINE,
        "last_frame_not_found", "image_read_error", "invalid_image",
    ),
    Input("refs", "--ref", "reference_urls", _ANY, 0, "ref_not_found", "ref_read_error", "invalid_ref"),
    Input("audio_url", "--audio-url", "audio_url", _AUDIO, 0, "file_not_found", "invalid_audio", "invalid_audio"),
    Input("first_clip", "--first-clip", "", _VIDEO, 0, "ref_not_found", "ref_read_error", "invalid_ref"),
    Input("last_clip", "--last-clip", "", _VIDEO, 0, "ref_not_found", "ref_read_error", "invalid_ref"),
    Input("video", "--video", "", _VIDEO, 0, "ref_not_found", "ref_read_error", "invalid_ref"),
    Input("mask", "--mask", "", _IMAGE, 0, "image_not_found", "image_read_error", "invalid_image"),
    Input("mask_video", "--mask-video", "", _VIDEO, 0, "ref_not_found", "ref_read_error", "invalid_ref"),
    Input("ref_voices", "--ref-voice", "", _AUDIO, 0, "file_not_found", "invalid_audio", "invalid_audio"),
)  # fmt: skip


def media_of(spec: Spec) -> list[tuple[Input, str | Media]]:
    """List every piece of media that a Spec names, in the order of the request."""
    found = []
    for row in INPUTS:
        value = getattr(spec, row.name)
        if value is not None:
            leaves = value if isinstance(value, tuple) else (value,)
            found += [(row, leaf) for leaf in leaves if leaf is not None]
    return found


def paths_of(spec: Spec) -> list[str]:
    """List where a Spec's media are: paths, URLs and data URIs; also the clip whose last frame it begins with."""
    going_on = [spec.continues] if isinstance(spec.continues, str) else []
    return going_on + [leaf.path if isinstance(leaf, Media) else leaf for _, leaf in media_of(spec)]


def with_media(spec: Spec, leaves: Mapping[str | Media, str | Media]) -> Spec:
    """Put other leaves in the place of some of a Spec's media."""
    changes: dict[str, Any] = {}
    for row in INPUTS:
        value = getattr(spec, row.name)
        if isinstance(value, tuple):
            changes[row.name] = tuple(leaves.get(leaf, leaf) for leaf in value)
        elif value is not None:
            changes[row.name] = leaves.get(value, value)
    return replace(spec, **changes)
