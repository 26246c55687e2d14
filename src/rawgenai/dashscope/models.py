"""THE TABLE of DashScope's video models: one row a model, and what the API says once for all of them.

Rule: every fact that differs between models is a cell of a row here, and code asks the row; no code compares a
model's name. To add a model, add a row (docs/architecture.md). Pure: no I/O, no imports of the package.

Sources: the specification's tables (duration, resolution, default models), then section 2 of the API reference for
what the specification leaves open; design, ruling 1, says which wins where they differ.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

# Exact pixels of each tier, by aspect ratio (reference 2.1; the specification's table has the first two columns).
SIZES = {
    "480P": {"16:9": "832*480", "9:16": "480*832", "1:1": "624*624"},
    "720P": {"16:9": "1280*720", "9:16": "720*1280", "1:1": "960*960", "4:3": "1088*832", "3:4": "832*1088"},
    "1080P": {"16:9": "1920*1080", "9:16": "1080*1920", "1:1": "1440*1440", "4:3": "1632*1248", "3:4": "1248*1632"},
}
RATIOS = ("16:9", "9:16")  # what --ratio takes (specification); the other sizes are reached with --size
SHOT_TYPES = ("single", "multi")
MAX_SEED = 2147483647
NEGATIVE_LIMIT = 500  # characters of a negative prompt that the API reads

DEFAULT_RESOLUTION = "720P"
DEFAULT_RATIO = "16:9"
DEFAULT_DURATION = 5

# The model that is taken where none is named (specification, "Model Auto-Selection").
DEFAULT_MODELS = {
    "t2v": "wan2.6-t2v",
    "i2v": "wan2.6-i2v-flash",
    "r2v": "wan2.6-r2v-flash",
    "kf2v": "wan2.2-kf2v-flash",
}

# What the modes are called, in English and as the API's Chinese pages do.
MODES = {
    "t2v": ("text to video", "文生视频"),
    "i2v": ("image to video", "图生视频"),
    "r2v": ("reference to video", "参考生视频"),
    "kf2v": ("key frames to video", "首尾帧生视频"),
    "vace": ("video editing", "视频编辑"),
}

# Modes whose request states exact pixels (`size`); the others state a tier (`resolution`) and follow their image.
SIZED_MODES = ("t2v", "r2v", "vace")

REGIONS = {  # region -> the host of its shared endpoint, where it has one (reference 1.3)
    "beijing": "dashscope.aliyuncs.com",
    "singapore": "dashscope-intl.aliyuncs.com",
    "virginia": "dashscope-us.aliyuncs.com",
    "frankfurt": None,
}
REGION_IDS = {  # region -> its part in the hosts of workspaces, `WORKSPACE.ID.maas.aliyuncs.com` (reference 1.3)
    "beijing": "cn-beijing",
    "singapore": "ap-southeast-1",
    "virginia": "us-east-1",
    "frankfurt": "eu-central-1",
}

CURRENCY = "CNY"  # of every price here
PRICES_DATE = "2026-05"  # when the list had these prices
PRICES_NOTE = "check the price page"

# Region -> tier -> list price of a second, as decimal digits: a float would not add up.
Prices = Mapping[str, Mapping[str, str]]


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


# MIME type -> what people call the format.
FORMATS = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/bmp": "BMP",
    "image/webp": "WEBP",
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model of the API: a row of the table."""

    name: str  # as the API spells it
    mode: str  # t2v, i2v, r2v, kf2v or vace
    series: str  # its family: wan2.6, wan2.5, wan2.2, wanx2.1
    resolutions: tuple[str, ...]  # tiers on offer, keys of SIZES
    durations: tuple[int, ...]  # whole seconds on offer
    prompt_limit: int  # characters that the API reads; the rest is cut in silence
    regions: tuple[str, ...]  # keys of REGIONS
    features: frozenset[str] = frozenset()  # what only some models accept, see below
    minutes: tuple[int, int] = (1, 5)  # how long a task usually takes
    limits: Mapping[str, Limits] = field(default_factory=dict)  # of local files: image, video, audio
    max_refs: int = 0  # reference files, images and videos together
    max_ref_videos: int = 0
    prices: Prices = field(default_factory=dict)  # where and for what the reference has one
    silent_prices: Prices = field(default_factory=dict)  # of a clip without sound, where that costs less

    @property
    def default_resolution(self) -> str | None:
        """The tier that is taken where none is named; None where one must be (ruling 2)."""
        return DEFAULT_RESOLUTION if DEFAULT_RESOLUTION in self.resolutions else None

    @property
    def sound(self) -> str:
        """When a clip has sound, in words."""
        return next((words for feature, words in SOUND if feature in self.features), "never")

    @property
    def sizes(self) -> tuple[str, ...]:
        """Every exact size on offer, ``"W*H"``; empty for a mode that takes tiers."""
        if self.mode not in SIZED_MODES:
            return ()
        return tuple(size for tier in self.resolutions for size in SIZES[tier].values())


# Features, the words that a row's `features` may hold:
#   negative       reads a negative prompt
#   prompt_extend  can have the prompt rewritten by the API
#   shot_type      single shot or several
#   sound          the clip has a sound track unless the request switches it off
#   audio_url      takes a sound file
#   audio          is told whether to make sound; silent costs half, so it is always told (ruling 5)
#   no_audio       sound can be switched off by --no-audio
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
    return replace(row, mode="i2v", limits={"image": _LARGE_IMAGE, "audio": _AUDIO})


def _wan26_r2v(name: str, *regions: str, prices: Prices = _PRICES_26) -> Model:
    row = _wan26_t2v(name, _SECONDS_2_10, *regions, prices=prices)
    limits = {"image": _REF_IMAGE, "video": _REF_VIDEO}
    return replace(row, mode="r2v", features=_R2V, limits=limits, max_refs=5, max_ref_videos=3)


def _flash(row: Model, feature: str) -> Model:
    """A row of the 2.6 family whose clips cost less without sound; the feature is the word that decides on it."""
    return replace(row, features=row.features | {feature}, silent_prices=_SILENT_26_FLASH)


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
    return row, replace(row, name=f"wan2.1-{name}", regions=(_SG,), prices={_SG: singapore})


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
    _silent("wan2.2-i2v-flash", "i2v", ("480P", "720P", "1080P"), _BJ, _SG, prices=_PRICES_22_FLASH),
    _silent("wan2.2-i2v-plus", "i2v", ("480P", "1080P"), _BJ, _SG, prices=_PRICES_22_PLUS),
    *_wan21("i2v-turbo", "i2v", ("480P", "720P"), _PRICES_21_TURBO, durations=(3, 4, 5)),
    *_wan21("i2v-plus", "i2v", ("720P",)),
    _flash(_wan26_r2v("wan2.6-r2v-flash", _BJ, _SG, prices=_PRICES_26_FLASH), "no_audio"),
    _wan26_r2v("wan2.6-r2v", _BJ, _SG, _VA, _FR),
    _silent("wan2.2-kf2v-flash", "kf2v", ("480P", "720P", "1080P"), _BJ, prices=_PRICES_22_FLASH),
    *_wan21("kf2v-plus", "kf2v", ("720P",)),
    *(
        replace(row, features=frozenset({"prompt_extend"}), minutes=(5, 10))
        for row in _wan21("vace-plus", "vace", ("720P",), durations=(1, 2, 3, 4, 5))
    ),
)

MODELS = {row.name: row for row in _ROWS}
