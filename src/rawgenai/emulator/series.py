"""What differs between the families of models in what they are asked and answer, beyond the rows of ``models``.

Sources: the API reference, sections 1.1 (endpoints), 2.3 (default tiers) and 3.3 (usage and prompts).
"""

import math
from typing import TYPE_CHECKING, Any

from rawgenai.dashscope.models import (
    AS_INPUT,
    AUTO,
    DEFAULT_DURATION,
    DEFAULT_RATIO,
    MODELS,
    SIZED_MODES,
    SIZES,
    Model,
)
from rawgenai.emulator.store import Task

if TYPE_CHECKING:
    from rawgenai.emulator.inputs import Seen

# (series, mode) -> the fields of `usage`, in the API's order (reference 3.3).
_NEW = ("duration", "size", "input_video_duration", "output_video_duration", "video_count", "SR")
_NEW_TIERED = ("duration", "input_video_duration", "output_video_duration", "video_count", "SR", "audio")
_OLD = ("video_duration", "video_ratio", "video_count")
_OLD_TIERED = ("duration", "SR", "video_count")
_STANDARD = ("video_duration", "standard", "video_count")
_RATIOED = ("duration", "input_video_duration", "output_video_duration", "video_count", "SR", "ratio")
_FOLLOWING = _RATIOED[:-1]
_MEDIA_MODES = {"t2v": _RATIOED, "i2v": _FOLLOWING, "r2v": _RATIOED, "edit": _FOLLOWING}
_30 = ("video_count", "duration", "input_video_duration", "output_video_duration", "fps", "SR", "ratio")
USAGE = {
    ("wan2.6", "t2v"): _NEW,
    ("wan2.6", "i2v"): _NEW_TIERED,
    ("wan2.6", "r2v"): _NEW,
    ("wan2.5", "t2v"): _OLD,
    ("wan2.5", "i2v"): _OLD_TIERED,
    ("wan2.2", "t2v"): _OLD,
    ("wan2.2", "i2v"): _OLD_TIERED,
    ("wan2.2", "kf2v"): ("video_duration", "video_count", "SR"),
    ("wanx2.1", "t2v"): _OLD,
    ("wanx2.1", "i2v"): _STANDARD,
    ("wanx2.1", "kf2v"): _STANDARD,
    ("wanx2.1", "vace"): _STANDARD,
    **{("wan2.7", mode): fields for mode, fields in _MEDIA_MODES.items()},
    # The reference has no sample of HappyHorse but for editing; it is taken to be as wan2.7.
    **{(f"happyhorse-{one}", mode): fields for one in ("1.0", "1.1") for mode, fields in _MEDIA_MODES.items()},
    ("wan3.0", "t2v"): _30,
}
_REWRITTEN = ("wan2.5", "wan2.2", "wanx2.1")  # series that return actual_prompt; wan2.6 never does (reference 3.3)
_SIDE = 16  # pixels; sides that follow a picture's ratio are multiples of it (reference 2.1)
_VIDEO_CAPS = (5, 5, 2.5, 1.65, 1.25, 1)  # seconds billed of each reference video, by the number of references
_DEFAULT_TIERS = {  # series -> the tier that the API draws where none is asked for, the first on offer (reference 2.3)
    "wan2.6": ("1080P",),
    "wan2.5": ("1080P",),
    "wan2.2": ("720P", "1080P"),
    "wanx2.1": ("720P",),
}
_NEWER_TIERS = ("1080P",)  # of the media dialect's families (reference 2.4)
_ENDPOINTS = {"kf2v": "image2video"}  # mode -> its endpoint; all others: video-generation (reference 1.1)
_OTHER_ENDPOINT = "video-generation"


def endpoint_of(mode: str) -> str:
    """Name the endpoint that books a task of this mode."""
    return _ENDPOINTS.get(mode, _OTHER_ENDPOINT)


def tier_of(body: Any, row: Model) -> str:
    """Say in which tier a body (``bodies``) is drawn: the one it asks for, or its series' default."""
    from rawgenai.emulator import bodies

    default = next(tier for tier in _DEFAULT_TIERS.get(row.series, _NEWER_TIERS) if tier in row.resolutions)
    if row.mode not in SIZED_MODES or row.dialect == "media":
        return bodies.field(body, "parameters", "resolution") or default
    size = bodies.field(body, "parameters", "size")
    return next((tier for tier in row.resolutions if size in SIZES[tier].values()), default)


def size_of(asked: str, row: Model, seen: list["Seen"]) -> tuple[int, int]:
    """Choose the pixels of the clip: the first picture's ratio within the budget, where the mode takes tiers."""
    width, height = map(int, asked.split("*"))
    if (row.mode in SIZED_MODES and row.dialect == "classic") or not seen or not seen[0].width:
        return width, height
    return _within(width * height, seen[0].width, seen[0].height)


def _within(budget: int, width: float, height: float) -> tuple[int, int]:
    """Fit a shape into so many pixels."""
    # Rounded down: 750 x 1000 at 720P becomes 816 x 1104 (reference 2.1).
    across, down = (
        math.isqrt(int(budget * this // other)) // _SIDE * _SIDE for this, other in ((width, height), (height, width))
    )
    return across, down


def vace_pixels(body: Any, row: Model, seen: list["Seen"]) -> tuple[int, int]:
    """Choose the pixels of a function's clip: as asked, or the shape of the video that goes in, in the tier."""
    from rawgenai.emulator import bodies, vace

    asked = bodies.field(body, "parameters", "size")
    width, height = map(int, (asked or SIZES[tier_of(body, row)][DEFAULT_RATIO]).split("*"))
    shape = None if asked else vace.shape(body, seen)
    return _within(width * height, *shape) if shape else (width, height)


def pixels_of(body: Any, row: Model, seen: list["Seen"]) -> tuple[int, int]:
    """Choose the pixels of a clip whose request says a tier and, maybe, a ratio (reference 2.1 and 2.4)."""
    from rawgenai.emulator import bodies

    table = row.pixels[tier_of(body, row)]
    asked = bodies.field(body, "parameters", "ratio") or row.default_ratio
    followed = [one for one in seen if one.field in row.follows]
    if followed or not row.ratios or asked in (None, "adaptive"):
        shapes = followed or [one for one in seen if one.field in _SHAPES]
        return size_of(table[DEFAULT_RATIO], row, [one for one in shapes if one.width])
    if asked in table:
        return size_of(table[asked], row, [])
    wide, high = map(int, table[DEFAULT_RATIO].split("*"))
    width, height = map(int, str(asked).split(":"))
    return _within(wide * high, width, height)


_SHAPES = ("first_frame", "first_clip", "video", "reference_image", "reference_video")  # whose shape a clip may have


def mode_of(body: Any, row: Model) -> str:
    """Say which of its modes a model is asked for, by the media; of vace, by which function."""
    from rawgenai.emulator import bodies

    if row.dialect == "vace":
        return f"{row.mode} {body.input.function}"
    given = bodies.roles(body)
    found = {
        "edit": "video" in given,
        "r2v": "reference" in given,
        "kf2v": "last_frame" in given,
        "i2v": bool(given),
    }
    return next((mode for mode, holds in found.items() if holds and mode in row.modes), row.mode)


def billed_seconds(body: Any, row: Model, seen: list["Seen"]) -> float:
    """Say how many seconds of the videos that went in are billed: of those that were seen no more than they have."""
    from rawgenai.emulator import bodies

    videos = [one for one in seen if one.kind == "video" or one.field in ("video", "reference_video")]
    named = bodies.count_named_videos(body)
    if row.billed_input == "none":
        return 0
    if row.billed_input == "whole":
        most = row.input_seconds or math.inf
        return round(sum(min(one.seconds or DEFAULT_DURATION, most) for one in videos), 2)
    cap = _VIDEO_CAPS[min(bodies.count_references(body), len(_VIDEO_CAPS) - 1)]
    return round(sum(min(one.seconds or cap, cap) for one in videos) + named * cap, 2)


def seconds_of(body: Any, row: Model, seen: list["Seen"]) -> float:
    """Say how long the clip becomes: as asked for, as its input, or as the emulator sees fit."""
    from rawgenai.emulator import bodies

    asked = bodies.field(body, "parameters", "duration")
    wanted: int = row.default_duration if asked is None else asked
    if row.dialect == "vace":
        from rawgenai.emulator import vace

        wanted = AS_INPUT if vace.follows(body) else wanted
    if wanted == AUTO:
        return DEFAULT_DURATION
    if wanted != AS_INPUT:
        return wanted
    length = next((one.seconds for one in seen if one.field in _EDITED and one.seconds), DEFAULT_DURATION)
    return round(float(min(length, row.input_seconds or length)), 2)


def scales_of(body: Any, row: Model) -> tuple[float, ...]:
    """How far an outpainted frame reaches, to each side; none for all other clips."""
    if row.dialect != "vace":
        return ()
    from rawgenai.emulator import vace

    return vace.scales(body)


_EDITED = ("video", "video_url")  # whose length the clip may have


def usage_of(task: Task, row: Model) -> dict[str, Any]:
    """Build the `usage` of a task that succeeded."""
    size = f"{task.width}*{task.height}"
    total = round(task.duration + task.input_duration, 2)
    values: dict[str, tuple[str, Any]] = {
        "duration": ("duration", float(total) if row.mode in ("r2v", "edit") else _number(total)),
        "size": ("size", size),
        "input_video_duration": ("input_video_duration", _number(task.input_duration)),
        "output_video_duration": ("output_video_duration", task.duration),
        "video_count": ("video_count", 1),
        "SR": ("SR", task.tier),
        "video_duration": ("video_duration", _number(task.duration)),
        "video_ratio": ("video_ratio", size),
        "standard": ("video_ratio", "standard"),
        "audio": ("audio", task.sound),
        "ratio": ("ratio", _nearest_ratio(task, row)),
        "fps": ("fps", 30),
    }
    told = (name for name in USAGE[row.series, row.mode] if name != "audio" or "audio" in row.features)
    return dict(values[name] for name in told)


def _nearest_ratio(task: Task, row: Model) -> str:
    """Name the ratio on offer that is most like the clip's."""

    def distance(ratio: str) -> float:
        width, height = map(int, ratio.split(":"))
        return abs(math.log(task.width * height / (task.height * width)))

    return min((ratio for ratio in row.ratios if ":" in ratio), key=distance, default=DEFAULT_RATIO)


def _number(value: float) -> float:
    return int(value) if value == int(value) else value


def prompts_of(task: Task) -> dict[str, str]:
    """Build what a task that succeeded says of its prompt."""
    if not task.prompt:
        return {}
    row = MODELS[task.model]
    prompts = {"orig_prompt": task.prompt}
    if task.extended and row.series in _REWRITTEN:
        prompts["actual_prompt"] = f"{task.prompt} (rewritten by the emulator)"
    return prompts
