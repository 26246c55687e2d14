"""THE TABLE of DashScope's video models: one row a model, and what the API says once for all of them.

Rule: every fact that differs between models is a cell of a row here, and code asks the row; no code compares a
model's name. To add a model, add a row (docs/architecture.md). Pure: no I/O, no imports of the package.

Sources: the specification's tables (duration, resolution, default models), then section 2 of the API reference for
what the specification leaves open; design, ruling 1, says which wins where they differ.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

# Exact pixels of each tier, by aspect ratio (reference 2.1; the specification's table has the first two columns).
SIZES = {
    "480P": {"16:9": "832*480", "9:16": "480*832", "1:1": "624*624"},
    "720P": {"16:9": "1280*720", "9:16": "720*1280", "1:1": "960*960", "4:3": "1088*832", "3:4": "832*1088"},
    "1080P": {"16:9": "1920*1080", "9:16": "1080*1920", "1:1": "1440*1440", "4:3": "1632*1248", "3:4": "1248*1632"},
}
# The pixels that wan2.7 makes of a tier and a ratio (reference 2.1): two of each tier are its own.
SIZES_27 = {
    "720P": SIZES["720P"] | {"4:3": "1104*832", "3:4": "832*1104"},
    "1080P": SIZES["1080P"] | {"4:3": "1648*1248", "3:4": "1248*1648"},
}
RATIOS = ("16:9", "9:16")  # what --ratio takes (specification); the other sizes are reached with --size
SHOT_TYPES = ("single", "multi")
AUDIO_SETTINGS = ("auto", "origin")  # what becomes of the sound of a video that is edited
MAX_SEED = 2147483647
NEGATIVE_LIMIT = 500  # characters of a negative prompt that the API reads

DEFAULT_RESOLUTION = "720P"
DEFAULT_RATIO = "16:9"
DEFAULT_DURATION = 5
FPS = 30  # frames a second of a clip, where its model's row says nothing else (reference 2.1)
AS_INPUT = 0  # a duration: as long as the input
AUTO = -1  # a duration: as the model sees fit

# The model that is taken where none is named (specification, "Model Auto-Selection").
DEFAULT_MODELS = {
    "t2v": "wan2.6-t2v",
    "i2v": "wan2.6-i2v-flash",
    "r2v": "wan2.6-r2v-flash",
    "kf2v": "wan2.2-kf2v-flash",
    "vace": "wanx2.1-vace-plus",
}

# What the modes are called, in English and as the API's Chinese pages do.
MODES = {
    "t2v": ("text to video", "文生视频"),
    "i2v": ("image to video", "图生视频"),
    "r2v": ("reference to video", "参考生视频"),
    "kf2v": ("key frames to video", "首尾帧生视频"),
    "vace": ("general editing", "通用视频编辑"),
    "edit": ("video editing", "视频编辑"),
}

# Modes whose request states exact pixels (`size`); the others state a tier (`resolution`) and follow their image.
SIZED_MODES = ("t2v", "r2v", "vace")

# How a request is spoken; wire.py has a function for each.
#   classic  a field for each piece of media; `size`, or `resolution`
#   media    all of them in one list, `media`, by what each one is for; `resolution`, and `ratio` where there is one
#   vace     a function, and what that one takes (vace.py)
DIALECTS = ("classic", "media", "vace")

# What media may be for; what a row's `combinations` are made of. A reference is an image, a video or a sound.
ROLES = ("first_frame", "last_frame", "first_clip", "driving_audio", "reference", "video")

CURRENCY = "CNY"  # of every price here
PRICES_DATE = "2026-05"  # when the list had these prices
PRICES_NOTE = "check the price page"

# Region -> tier -> list price of a second, as decimal digits: a float would not add up.
Prices = Mapping[str, Mapping[str, str]]


MANY = 100_000  # pixels of a side for which no most is known


class Limits(NamedTuple):
    """What a model takes of one kind of file (reference 2.5; ruling 10).

    Beyond the first figures a file is refused; between them and the ``usual`` ones, which are the specification's and
    narrower, it is sent with a warning.
    """

    formats: tuple[str, ...]  # MIME types
    bytes: int
    sides: tuple[int, int] | None = None  # pixels of width and height, least and most
    seconds: tuple[float, float] | None = None
    alpha: bool = False  # a transparency channel is accepted
    usual_bytes: int | None = None
    usual_sides: tuple[int, int] | None = None
    stretch: float | None = None  # how many times its shorter side the longer one may be
    fps: float | None = None  # frames a second, at least


# MIME type -> what people call the format.
FORMATS = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/bmp": "BMP",
    "image/webp": "WEBP",
    "image/tiff": "TIFF",
    "video/mp4": "MP4",
    "video/quicktime": "MOV",
    "audio/wav": "WAV",
    "audio/mpeg": "MP3",
}

_MB = 1024 * 1024
_PICTURES = ("image/jpeg", "image/png", "image/bmp", "image/webp")
_IMAGE = Limits(_PICTURES, 10 * _MB, (240, 8000), usual_sides=(360, 2000))
_LARGE_IMAGE = _IMAGE._replace(bytes=20 * _MB, usual_bytes=10 * _MB)
_REF_IMAGE = _LARGE_IMAGE._replace(usual_sides=(240, 5000))
_REF_VIDEO = Limits(("video/mp4", "video/quicktime"), 100 * _MB, seconds=(1, 30))
_AUDIO = Limits(("audio/wav", "audio/mpeg"), 15 * _MB, seconds=(3, 30))
_VACE_IMAGE = Limits((*_PICTURES, "image/tiff"), 10 * _MB, (360, 2000), alpha=True)
_VACE_VIDEO = Limits(("video/mp4",), 50 * _MB, fps=16)

# What may be named together where a row says nothing else, by its mode; vace has functions of its own.
_COMBINATIONS: dict[str, tuple[tuple[str, ...], ...]] = {
    "t2v": ((),),
    "i2v": (("first_frame",),),
    "r2v": (("reference",),),
    "kf2v": (("first_frame",), ("first_frame", "last_frame")),
}
# A string: dear to compile, so only where a model counts these characters twice.
_CJK = "[\u2e80-\ua4cf\uac00-\ud7ff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff]"


class Model(NamedTuple):  # its making costs a refused command a third of a dataclass's
    """One model of the API: a row of the table."""

    name: str  # as the API spells it
    mode: str  # a key of MODES
    series: str  # its family, as in wan2.6; both spellings of a 2.1 model have wanx2.1
    resolutions: tuple[str, ...]  # tiers on offer, keys of SIZES
    durations: tuple[int, ...]  # whole seconds on offer
    prompt_limit: int  # characters that the API reads; the rest is cut in silence
    regions: tuple[str, ...]  # that offer it, keys of regions.REGIONS
    features: frozenset[str] = frozenset()  # what only some models accept, see below
    minutes: tuple[int, int] = (1, 5)  # how long a task usually takes
    limits: Mapping[str, Limits] = {}  # of local files: image, video, audio
    max_refs: int = 0  # reference files, of all kinds together
    max_ref_videos: int = 0
    max_ref_audios: int = 0  # sounds among them, --audio-url too where that is one
    prices: Prices = {}  # noqa: RUF012 - nobody changes a row: where and for what the reference has one
    silent_prices: Prices = {}  # noqa: RUF012 - as above: of a clip without sound, where that costs less
    also: tuple[str, ...] = ()  # further modes, whose inputs it takes as well
    dialect: str = "classic"  # of its requests, see DIALECTS
    media: tuple[tuple[str, ...], ...] | None = None  # what may be named together, see ROLES; None: what its mode has
    audio_type: str | None = None  # what --audio-url is among the media; None: a field of its own
    ratios: tuple[str, ...] = RATIOS
    default_ratio: str | None = DEFAULT_RATIO  # None: not said unless asked, and the clip has its input's shape
    follows: tuple[str, ...] = ()  # media whose shape the clip has whatever the ratio is
    pixels: Mapping[str, Mapping[str, str]] = SIZES  # of a tier and a ratio
    default_duration: int = DEFAULT_DURATION
    video_durations: tuple[int, ...] = ()  # on offer beside a reference video, where these are others
    total_seconds: int | None = None  # of the clip and its reference videos together, at most
    needs_prompt: str = "always"  # always, never, or alone: where no media says what to show
    cjk_limit: int | None = None  # characters that it reads of a prompt in Chinese, Japanese or Korean, where fewer
    max_ref_images: int | None = None  # where there may be fewer than max_refs
    input_seconds: int | None = None  # of a video that it edits, read at most; what is longer is cut
    billed_input: str = "capped"  # of videos that go in: capped (see budget.py), whole, or none
    doubtful_regions: tuple[str, ...] = ()  # of which the sources differ: it is warned of, never refused
    spellings: Mapping[str, str] = {}  # region -> what it is called there, where that is another name
    fps: int = FPS  # frames a second of its clips

    @property
    def default_resolution(self) -> str | None:
        """The tier that is taken where none is named; None where one must be (ruling 2)."""
        return DEFAULT_RESOLUTION if DEFAULT_RESOLUTION in self.resolutions else None

    @property
    def sound(self) -> str:
        """When a clip has sound, in words."""
        return next((words for feature, words in SOUND if feature in self.features), "never")

    @property
    def modes(self) -> tuple[str, ...]:
        """Every mode that it serves, its own first."""
        return (self.mode, *self.also)

    @property
    def combinations(self) -> tuple[tuple[str, ...], ...] | None:
        """Which media may be named together, each by its role; None where that is not said by roles (vace)."""
        return self.media if self.media is not None else _COMBINATIONS.get(self.mode)

    @property
    def sizes(self) -> tuple[str, ...]:
        """Every exact size on offer, ``"W*H"``; empty for a mode or a dialect that takes tiers."""
        if self.mode not in SIZED_MODES or self.dialect == "media":
            return ()
        return tuple(size for tier in self.resolutions for size in SIZES[tier].values())

    def read(self, prompt: str) -> str:
        """Take the part of a prompt that it reads; the API drops the rest in silence."""
        if self.cjk_limit is None:
            return prompt[: self.prompt_limit]
        weights = ((self.prompt_limit // self.cjk_limit if re.match(_CJK, char) else 1) for char in prompt)
        total = 0
        for end, weight in enumerate(weights):
            total += weight
            if total > self.prompt_limit:
                return prompt[:end]
        return prompt


# Features, the words that a row's `features` may hold:
#   negative       reads a negative prompt
#   prompt_extend  can have the prompt rewritten by the API
#   shot_type      single shot or several
#   sound          the clip has a sound track unless the request switches it off
#   audio_url      takes a sound file
#   audio          is told whether to make sound; silent costs half, so it is always told (ruling 5)
#   no_audio       sound can be switched off by --no-audio
#   audio_setting  is told what becomes of the sound of the video that is edited
#   voices         takes a voice for each reference
FEATURES = frozenset(
    ("negative", "prompt_extend", "shot_type", "sound", "audio_url", "audio", "no_audio", "audio_setting", "voices")
)
SOUND = (("audio", "with --audio"), ("no_audio", "unless --no-audio"), ("sound", "always"))  # the first that fits

_SILENT = frozenset({"negative", "prompt_extend"})
_WAN25 = _SILENT | {"sound", "audio_url"}
_WAN26 = _WAN25 | {"shot_type"}
_R2V = frozenset({"negative", "sound", "shot_type"})

_BJ, _SG, _VA, _FR = "beijing", "singapore", "virginia", "frankfurt"
_SECONDS_2_15 = tuple(range(2, 16))
_SECONDS_2_10 = tuple(range(2, 11))

# List prices (reference 2.3). Where a model of all regions is called in Virginia or Frankfurt, it costs what it does in
# Beijing; the -us models are Virginia's own.
_BJ_26 = {"720P": "0.6", "1080P": "1"}
_PRICES_26 = {_BJ: _BJ_26, _SG: {"720P": "0.733924", "1080P": "1.100886"}, _VA: _BJ_26, _FR: _BJ_26}
_PRICES_26_US = {_VA: {"720P": "0.733924", "1080P": "1.100886"}}
_PRICES_26_FLASH = {
    _BJ: {"720P": "0.3", "1080P": "0.5"},
    _SG: {"720P": "0.366962", "1080P": "0.550443"},
}
_SILENT_26_FLASH = {
    _BJ: {"720P": "0.15", "1080P": "0.25"},
    _SG: {"720P": "0.183481", "1080P": "0.275221"},
}
_PRICES_25 = {
    _BJ: {"480P": "0.3", "720P": "0.6", "1080P": "1"},
    _SG: {"480P": "0.366961", "720P": "0.733923", "1080P": "1.100885"},
}
_PRICES_22_PLUS = {
    _BJ: {"480P": "0.14", "1080P": "0.7"},
    _SG: {"480P": "0.146785", "1080P": "0.733924"},
}
_PRICES_22_FLASH = {
    _BJ: {"480P": "0.1", "720P": "0.2", "1080P": "0.48"},
    _SG: {"480P": "0.110089", "720P": "0.264213"},
}
_PRICES_21_TURBO = ("0.24", "0.264213")  # Beijing's and Singapore's, for every tier
_PRICES_21_PLUS = ("0.7", "0.733924")


def _wan26_t2v(name: str, durations: tuple[int, ...], *regions: str, prices: Prices = _PRICES_26) -> Model:
    return Model(
        name=name,
        mode="t2v",
        series="wan2.6",
        resolutions=("720P", "1080P"),
        durations=durations,
        prompt_limit=1500,
        regions=regions,
        features=_WAN26,
        limits={"audio": _AUDIO},
        prices={region: prices[region] for region in regions},
    )


def _wan26_i2v(name: str, durations: tuple[int, ...], *regions: str, prices: Prices = _PRICES_26) -> Model:
    row = _wan26_t2v(name, durations, *regions, prices=prices)
    return row._replace(mode="i2v", needs_prompt="never", limits={"image": _LARGE_IMAGE, "audio": _AUDIO})


def _wan26_r2v(name: str, *regions: str, prices: Prices = _PRICES_26) -> Model:
    row = _wan26_t2v(name, _SECONDS_2_10, *regions, prices=prices)
    limits = {"image": _REF_IMAGE, "video": _REF_VIDEO}
    return row._replace(mode="r2v", features=_R2V, limits=limits, max_refs=5, max_ref_videos=3)


def _flash(row: Model, feature: str) -> Model:
    """A row of the 2.6 family whose clips cost less without sound; the feature is the word that decides on it."""
    return row._replace(features=row.features | {feature}, silent_prices=_SILENT_26_FLASH)


def _wan25(name: str, mode: str) -> Model:
    return Model(
        name=name,
        mode=mode,
        series="wan2.5",
        resolutions=("480P", "720P", "1080P"),
        durations=(5, 10),
        prompt_limit=1500,
        regions=(_BJ, _SG),
        features=_WAN25,
        needs_prompt="never" if mode == "i2v" else "always",
        limits={"audio": _AUDIO} | ({"image": _LARGE_IMAGE} if mode == "i2v" else {}),
        prices=_PRICES_25,
    )


def _silent(
    name: str,
    mode: str,
    resolutions: tuple[str, ...],
    *regions: str,
    prices: Prices,
    durations: tuple[int, ...] = (5,),
) -> Model:
    """A row of the 2.1 and 2.2 families, whose clips have no sound."""
    return Model(
        name=name,
        mode=mode,
        series=name.partition("-")[0],
        resolutions=resolutions,
        durations=durations,
        prompt_limit=800,
        regions=regions,
        features=_SILENT,
        needs_prompt="never" if mode in ("i2v", "kf2v") else "always",
        limits={"image": _IMAGE} if mode in ("i2v", "kf2v") else {},
        prices={region: prices[region] for region in regions},
    )


def _wan21(
    name: str,
    mode: str,
    resolutions: tuple[str, ...],
    prices: tuple[str, str] = _PRICES_21_PLUS,
    durations: tuple[int, ...] = (5,),
) -> tuple[Model, ...]:
    """Both spellings of a 2.1 model: wanx2.1-* is Beijing's, wan2.1-* Singapore's (ruling 16)."""
    beijing, singapore = (dict.fromkeys(resolutions, price) for price in prices)
    row = _silent(f"wanx2.1-{name}", mode, resolutions, _BJ, prices={_BJ: beijing}, durations=durations)
    there = row._replace(name=f"wan2.1-{name}", regions=(_SG,), prices={_SG: singapore})
    return row._replace(spellings={_SG: there.name}), there._replace(spellings={_BJ: row.name})


# --- the newer families, which speak the media dialect (reference 2.4) ---------------------------------------------

_FIVE_RATIOS = ("16:9", "9:16", "1:1", "4:3", "3:4")
_HORSE_RATIOS = (*_FIVE_RATIOS, "4:5", "5:4", "9:21", "21:9")
_WAN3_RATIOS = ("adaptive", "16:9", "4:3", "1:1", "3:4", "9:16")
_IMAGE_27 = Limits(_PICTURES, 20 * _MB, (240, 8000), stretch=8)
_VIDEO_27 = Limits(("video/mp4", "video/quicktime"), 100 * _MB, (240, 4096), seconds=(2, 10), stretch=8)
_REF_VIDEO_27 = _VIDEO_27._replace(seconds=(1, 30))
_AUDIO_27 = _AUDIO._replace(seconds=(2, 30))
_VOICE_27 = _AUDIO._replace(seconds=(1, 10))
_IMAGE_HORSE = Limits(("image/jpeg", "image/png", "image/webp"), 20 * _MB, (300, MANY), alpha=True)
_REF_HORSE = _IMAGE_HORSE._replace(sides=(400, MANY))
_VIDEO_HORSE = Limits(("video/mp4", "video/quicktime"), 100 * _MB, seconds=(3, 60))
_IMAGE_30 = Limits(_PICTURES, 20 * _MB, alpha=True)  # of wan3.0 no official page says limits; the API decides
_VIDEO_30 = Limits(("video/mp4", "video/quicktime"), 100 * _MB, seconds=(0, 15))
_AUDIO_30 = Limits(("audio/wav", "audio/mpeg"), 15 * _MB, seconds=(0, 15))

_BJ_HORSE = {"720P": "0.9", "1080P": "1.6"}
_PRICES_HORSE = {_BJ: _BJ_HORSE, _SG: {"720P": "1.049188", "1080P": "1.798608"}, _VA: _BJ_HORSE, _FR: _BJ_HORSE}
_PRICES_30 = {_BJ: {"480P": "0.3", "720P": "0.6", "1080P": "1.2"}}
_PRICES_30_PRIME = {_BJ: {"480P": "0.45", "720P": "0.9", "1080P": "1.8"}}

# What may be named together. Only these are listed, so only these are sent.
_FRAMES_27 = (
    ("first_frame",),
    ("first_frame", "driving_audio"),
    ("first_frame", "last_frame"),
    ("first_frame", "last_frame", "driving_audio"),
    ("first_clip",),
    ("first_clip", "last_frame"),
)
_REFS_27 = (("reference",), ("reference", "first_frame"))
_EDITS = (("video",), ("video", "reference"))
_ALL_30 = ((), ("first_frame",), ("first_frame", "last_frame"), ("reference",))

_T2V_27 = Model(
    name="wan2.7-t2v",
    mode="t2v",
    series="wan2.7",
    dialect="media",
    resolutions=("720P", "1080P"),
    ratios=_FIVE_RATIOS,
    pixels=SIZES_27,
    durations=_SECONDS_2_15,
    prompt_limit=5000,
    regions=(_BJ, _SG),
    features=_WAN25,
    limits={"audio": _AUDIO_27},
    prices={region: _PRICES_26[region] for region in (_BJ, _SG)},
)
_I2V_27 = _T2V_27._replace(
    name="wan2.7-i2v",
    mode="i2v",
    also=("kf2v",),
    media=_FRAMES_27,
    audio_type="driving_audio",
    ratios=(),
    needs_prompt="never",
    limits={"image": _IMAGE_27, "audio": _AUDIO_27, "video": _VIDEO_27},
    billed_input="none",  # the clip's length has the first clip's in it
)
_R2V_27 = _T2V_27._replace(
    name="wan2.7-r2v",
    mode="r2v",
    media=_REFS_27,
    follows=("first_frame",),
    video_durations=_SECONDS_2_10,
    features=_SILENT | {"sound", "voices"},
    limits={"image": _IMAGE_27, "video": _REF_VIDEO_27, "audio": _VOICE_27},
    max_refs=5,
    max_ref_videos=5,
)
_EDIT_27 = _T2V_27._replace(
    name="wan2.7-videoedit",
    mode="edit",
    media=_EDITS,
    default_ratio=None,
    durations=(AS_INPUT, *_SECONDS_2_10),
    default_duration=AS_INPUT,
    needs_prompt="never",
    features=_SILENT | {"sound", "audio_setting"},
    limits={"image": _IMAGE_27, "video": _VIDEO_27},
    max_refs=4,
    billed_input="whole",  # at the family's price: the reference names no other
)


def _wan30(name: str, prices: Prices) -> Model:
    """A row of wan3.0, which takes everything: words alone, frames, or references."""
    return Model(
        name=name,
        mode="t2v",
        also=("i2v", "kf2v", "r2v"),
        series="wan3.0",
        dialect="media",
        media=_ALL_30,
        audio_type="reference_audio",
        resolutions=("480P", "720P", "1080P"),
        ratios=_WAN3_RATIOS,
        default_ratio="adaptive",
        durations=(AUTO, *range(2, 31)),
        total_seconds=30,
        prompt_limit=20000,
        needs_prompt="alone",
        regions=(_BJ, _SG),  # Singapore is probable (reference, C18)
        features=frozenset({"prompt_extend", "sound", "no_audio", "audio_url"}),
        minutes=(1, 12),
        limits={"image": _IMAGE_30, "video": _VIDEO_30, "audio": _AUDIO_30},
        max_refs=20,
        max_ref_images=10,
        max_ref_videos=5,
        max_ref_audios=5,
        prices=prices,
        billed_input="whole",
    )


def _horse(version: str) -> tuple[Model, ...]:
    """The rows of a HappyHorse generation: words, a first frame, references."""
    t2v = Model(
        name=f"happyhorse-{version}-t2v",
        mode="t2v",
        series=f"happyhorse-{version}",
        dialect="media",
        resolutions=("720P", "1080P"),
        ratios=_HORSE_RATIOS,
        durations=tuple(range(3, 16)),
        prompt_limit=5000,
        cjk_limit=2500,
        regions=(_BJ, _SG, _VA, _FR),
        features=frozenset({"sound"}),
        prices=_PRICES_HORSE,
        fps=24,
    )
    i2v = t2v._replace(
        name=f"happyhorse-{version}-i2v",
        mode="i2v",
        also=("kf2v",),
        media=(("first_frame",),),
        ratios=(),
        needs_prompt="never",
        limits={"image": _IMAGE_HORSE},
    )
    r2v = t2v._replace(name=f"happyhorse-{version}-r2v", mode="r2v", limits={"image": _REF_HORSE}, max_refs=9)
    return t2v, i2v, r2v


def _horse_edit(row: Model) -> Model:
    return row._replace(
        name="happyhorse-1.0-video-edit",
        mode="edit",
        media=_EDITS,
        ratios=(),
        durations=(),  # no parameter: as long as the input, and at most 15 s
        default_duration=AS_INPUT,
        features=frozenset({"sound", "audio_setting"}),
        limits={"image": _IMAGE_HORSE, "video": _VIDEO_HORSE},
        max_refs=5,
        input_seconds=15,
        billed_input="whole",
        fps=FPS,  # of its clips nobody says that they have fewer
    )


def _dated(row: Model, *dates: str) -> tuple[Model, ...]:
    """A model and its snapshots of some days."""
    return (row, *(row._replace(name=f"{row.name}-{date}") for date in dates))


_HORSE_10 = _horse("1.0")

_ROWS = (
    _wan26_t2v("wan2.6-t2v", _SECONDS_2_15, _BJ, _SG, _VA, _FR),
    _wan26_t2v("wan2.6-t2v-us", (5, 10), _VA, prices=_PRICES_26_US),
    _wan25("wan2.5-t2v-preview", "t2v"),
    _silent("wan2.2-t2v-plus", "t2v", ("480P", "1080P"), _BJ, _SG, prices=_PRICES_22_PLUS),
    *_wan21("t2v-turbo", "t2v", ("480P", "720P"), _PRICES_21_TURBO, durations=(3, 4, 5)),
    *_wan21("t2v-plus", "t2v", ("720P",)),
    _flash(_wan26_i2v("wan2.6-i2v-flash", _SECONDS_2_15, _BJ, _SG, prices=_PRICES_26_FLASH), "audio"),
    _wan26_i2v("wan2.6-i2v", _SECONDS_2_15, _BJ, _SG, _VA, _FR),
    _wan26_i2v("wan2.6-i2v-us", (5, 10, 15), _VA, prices=_PRICES_26_US),
    _wan25("wan2.5-i2v-preview", "i2v"),
    _silent("wan2.2-i2v-flash", "i2v", ("480P", "720P", "1080P"), _BJ, _SG, prices=_PRICES_22_FLASH)._replace(
        regions=(_BJ,),
        doubtful_regions=(_SG,),  # it has a price there and no rate limit (reference, C15)
    ),
    _silent("wan2.2-i2v-plus", "i2v", ("480P", "1080P"), _BJ, _SG, prices=_PRICES_22_PLUS),
    *_wan21("i2v-turbo", "i2v", ("480P", "720P"), _PRICES_21_TURBO, durations=(3, 4, 5)),
    *_wan21("i2v-plus", "i2v", ("720P",)),
    _flash(_wan26_r2v("wan2.6-r2v-flash", _BJ, _SG, prices=_PRICES_26_FLASH), "no_audio"),
    _wan26_r2v("wan2.6-r2v", _BJ, _SG, _VA, _FR),
    _silent("wan2.2-kf2v-flash", "kf2v", ("480P", "720P", "1080P"), _BJ, prices=_PRICES_22_FLASH)._replace(
        doubtful_regions=(_SG,)  # its list of models has it, its price list has not (reference, C15)
    ),
    *_wan21("kf2v-plus", "kf2v", ("720P",)),
    *(
        row._replace(
            dialect="vace",
            features=frozenset({"prompt_extend"}),
            minutes=(5, 10),
            limits={"image": _VACE_IMAGE, "video": _VACE_VIDEO},
            input_seconds=5,
            billed_input="none",
        )
        for row in _wan21("vace-plus", "vace", ("720P",), durations=(1, 2, 3, 4, 5))
    ),
    *_dated(_T2V_27, "2026-04-25", "2026-06-12"),
    *_dated(_I2V_27, "2026-04-25"),
    *_dated(_R2V_27, "2026-06-12"),
    _EDIT_27,
    _wan30("wan3.0-video", _PRICES_30),
    _wan30("wan3.0-video-prime", _PRICES_30_PRIME),
    *_HORSE_10,
    _horse_edit(_HORSE_10[0]),
    *_horse("1.1"),
)

MODELS = {row.name: row for row in _ROWS}
