"""What differs between the families of models in what they are asked and answer, beyond the rows of ``models``.

Sources: the API reference, sections 1.1 (endpoints), 2.3 (default tiers) and 3.3 (usage and prompts).
"""

import math
from typing import TYPE_CHECKING, Any

from rawgenai.dashscope.models import MODELS, SIZED_MODES, SIZES, Model
from rawgenai.emulator.store import Task

if TYPE_CHECKING:
    from rawgenai.emulator.inputs import Seen

# (series, mode) -> the fields of `usage`, in the API's order (reference 3.3).
_NEW = ("duration", "size", "input_video_duration", "output_video_duration", "video_count", "SR")
_NEW_TIERED = ("duration", "input_video_duration", "output_video_duration", "video_count", "SR", "audio")
_OLD = ("video_duration", "video_ratio", "video_count")
_OLD_TIERED = ("duration", "SR", "video_count")
_STANDARD = ("video_duration", "standard", "video_count")
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
_ENDPOINTS = {"kf2v": "image2video"}  # mode -> its endpoint; all others: video-generation (reference 1.1)
_OTHER_ENDPOINT = "video-generation"


def endpoint_of(mode: str) -> str:
    """Name the endpoint that books a task of this mode."""
    return _ENDPOINTS.get(mode, _OTHER_ENDPOINT)


def tier_of(body: Any, row: Model) -> str:
    """Say in which tier a body (``schema``) is drawn: the one it asks for, or its series' default."""
    from rawgenai.emulator import schema

    default = next(tier for tier in _DEFAULT_TIERS[row.series] if tier in row.resolutions)
    if row.mode not in SIZED_MODES:
        return schema.field(body, "parameters", "resolution") or default
    size = body.parameters.size
    return next((tier for tier in row.resolutions if size in SIZES[tier].values()), default)


def size_of(asked: str, row: Model, seen: list["Seen"]) -> tuple[int, int]:
    """Choose the pixels of the clip: the first picture's ratio within the budget, where the mode takes tiers."""
    width, height = map(int, asked.split("*"))
    if row.mode in SIZED_MODES or not seen or not seen[0].width:
        return width, height
    first, budget = seen[0], width * height
    sides = ((first.width, first.height), (first.height, first.width))
    # Rounded down: 750 x 1000 at 720P becomes 816 x 1104 (reference 2.1).
    across, down = (math.isqrt(budget * this // other) // _SIDE * _SIDE for this, other in sides)
    return across, down


def billed_seconds(body: Any, seen: list["Seen"]) -> float:
    """Say how many seconds of the reference videos are billed: of those that were seen no more than they have."""
    from rawgenai.emulator import schema

    cap = _VIDEO_CAPS[len(schema.field(body, "input", "reference_urls") or [])]
    billed = [min(one.seconds or cap, cap) for one in seen if one.kind == "video"]
    return round(sum(billed) + schema.count_named_videos(body) * cap, 2)


def usage_of(task: Task, row: Model) -> dict[str, Any]:
    """Build the `usage` of a task that succeeded."""
    size = f"{task.width}*{task.height}"
    total = task.duration + task.input_duration
    values: dict[str, tuple[str, Any]] = {
        "duration": ("duration", float(total) if row.mode == "r2v" else task.duration),
        "size": ("size", size),
        "input_video_duration": ("input_video_duration", _number(task.input_duration)),
        "output_video_duration": ("output_video_duration", task.duration),
        "video_count": ("video_count", 1),
        "SR": ("SR", task.tier),
        "video_duration": ("video_duration", task.duration),
        "video_ratio": ("video_ratio", size),
        "standard": ("video_ratio", "standard"),
        "audio": ("audio", task.sound),
    }
    told = (name for name in USAGE[row.series, row.mode] if name != "audio" or "audio" in row.features)
    return dict(values[name] for name in told)


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
