"""Spec: what the caller asked for. Pure."""

from dataclasses import KW_ONLY, dataclass

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
    refs: tuple[str | Media, ...] | None = None  # reference images and videos; makes it reference-to-video
    first_frame: str | Media | None = None  # makes it keyframe-to-video
    last_frame: str | Media | None = None
    model: str | None = None
    resolution: str | None = None  # a tier: 480P, 720P, 1080P
    ratio: str | None = None  # 16:9 or 9:16
    size: str | None = None  # exact pixels, "W*H" or "WxH"
    duration: int | None = None  # seconds
    negative: str | None = None  # what must not be in the clip
    audio: bool | None = None  # make sound (wan2.6-i2v-flash)
    no_audio: bool | None = None  # make none (wan2.6-r2v-flash)
    audio_url: str | Media | None = None  # sound to use
    shot_type: str | None = None  # single or multi
    prompt_extend: bool | None = None  # let the API rewrite the prompt
    watermark: bool | None = None
    seed: int | None = None
