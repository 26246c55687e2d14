"""Golden requests of every model family, and of every combination of inputs that the reference lists.

The combinations are written down by hand, from sections 2.3 to 2.6 of the reference; one golden file a family, one
line a request. ``RAWGENAI_TEST_UPDATE=1`` rewrites them; read the difference before you keep it.
"""

import json
import os
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import pytest

from rawgenai.dashscope import wire
from rawgenai.dashscope.models import MODELS
from rawgenai.dashscope.rules import kind_of, select
from rawgenai.dashscope.spec import Spec, Vace
from rawgenai.dashscope.vace import FUNCTIONS

GOLDEN = Path(__file__).parent / "requests"
IMAGE, OTHER, VIDEO = "https://example.com/a.png", "https://example.com/b.jpg", "https://example.com/a.mp4"
SOUND, VOICE = "https://example.com/a.mp3", "https://example.com/b.wav"
FIRST = {"first_frame": IMAGE}
FRAMES = FIRST | {"last_frame": OTHER}


def subsets(*names: str) -> list[tuple[str, ...]]:
    return list(chain.from_iterable(combinations(names, count) for count in range(1, len(names) + 1)))


Combination = dict[str, Any]
TEXT: list[Combination] = [{}]
TEXT_SOUND: list[Combination] = [{}, {"audio_url": SOUND}]
IMAGE_ALONE: list[Combination] = [{"image": IMAGE}]
IMAGE_SOUND = [{"image": IMAGE}, {"image": IMAGE, "audio_url": SOUND}]
TWO_FRAMES: list[Combination] = [FIRST, FRAMES]
REFERENCES: list[Combination] = [{"refs": refs} for refs in ((IMAGE,), (IMAGE, OTHER), (VIDEO,), (IMAGE, VIDEO))]
FRAMES_27: list[Combination] = [
    FIRST,
    FIRST | {"audio_url": SOUND},
    FRAMES,
    FRAMES | {"audio_url": SOUND},
    {"first_clip": VIDEO},
    {"first_clip": VIDEO, "last_frame": OTHER},
]
REFERENCES_27: list[Combination] = [
    *REFERENCES,
    *(each | FIRST for each in REFERENCES),
    {"refs": (IMAGE, VIDEO), "ref_voices": (SOUND,)},
    {"refs": (IMAGE, VIDEO), "ref_voices": (None, SOUND)},
    {"refs": (IMAGE, VIDEO), "ref_voices": (SOUND, VOICE)},
]
EDITS: list[Combination] = [{"video": VIDEO, "refs": refs} for refs in (None, (IMAGE,), (IMAGE, OTHER))]
ALL_30: list[Combination] = [
    {},
    FIRST,
    FRAMES,
    *({"refs": refs} for refs in subsets(IMAGE, VIDEO, SOUND)),
    {"refs": (IMAGE, OTHER, VIDEO, VIDEO, SOUND, VOICE)},
    *({"refs": refs, "audio_url": SOUND} for refs in (None, *subsets(IMAGE, VIDEO, VOICE))),
]
IMAGES: list[Combination] = [{"refs": (IMAGE,)}, {"refs": (IMAGE, OTHER)}]

# Family -> model, or function of vace, -> every combination of inputs.
FAMILIES: dict[str, dict[str, list[Combination]]] = {
    "classic": {
        "wan2.6-t2v": TEXT_SOUND,
        "wan2.6-t2v-us": TEXT_SOUND,
        "wan2.5-t2v-preview": TEXT_SOUND,
        "wan2.2-t2v-plus": TEXT,
        "wanx2.1-t2v-turbo": TEXT,
        "wan2.1-t2v-turbo": TEXT,
        "wanx2.1-t2v-plus": TEXT,
        "wan2.1-t2v-plus": TEXT,
        "wan2.6-i2v-flash": IMAGE_SOUND,
        "wan2.6-i2v": IMAGE_SOUND,
        "wan2.6-i2v-us": IMAGE_SOUND,
        "wan2.5-i2v-preview": IMAGE_SOUND,
        "wan2.2-i2v-flash": IMAGE_ALONE,
        "wan2.2-i2v-plus": IMAGE_ALONE,
        "wanx2.1-i2v-turbo": IMAGE_ALONE,
        "wan2.1-i2v-turbo": IMAGE_ALONE,
        "wanx2.1-i2v-plus": IMAGE_ALONE,
        "wan2.1-i2v-plus": IMAGE_ALONE,
        "wan2.6-r2v-flash": REFERENCES,
        "wan2.6-r2v": REFERENCES,
        "wan2.2-kf2v-flash": TWO_FRAMES,
        "wanx2.1-kf2v-plus": TWO_FRAMES,
        "wan2.1-kf2v-plus": TWO_FRAMES,
    },
    "wan2.7": {
        "wan2.7-t2v": TEXT_SOUND,
        "wan2.7-t2v-2026-04-25": TEXT_SOUND,
        "wan2.7-t2v-2026-06-12": TEXT_SOUND,
        "wan2.7-i2v": FRAMES_27,
        "wan2.7-i2v-2026-04-25": FRAMES_27,
        "wan2.7-r2v": REFERENCES_27,
        "wan2.7-r2v-2026-06-12": REFERENCES_27,
        "wan2.7-videoedit": EDITS,
    },
    "wan3.0": {"wan3.0-video": ALL_30, "wan3.0-video-prime": ALL_30},
    "happyhorse": {
        "happyhorse-1.0-t2v": TEXT,
        "happyhorse-1.0-i2v": [FIRST],
        "happyhorse-1.0-r2v": IMAGES,
        "happyhorse-1.0-video-edit": EDITS,
        "happyhorse-1.1-t2v": TEXT,
        "happyhorse-1.1-i2v": [FIRST],
        "happyhorse-1.1-r2v": IMAGES,
    },
    "vace": {
        "image-reference": [
            {"refs": (IMAGE,)},
            {"refs": (IMAGE,), "ref_roles": ("bg",)},
            {"refs": (IMAGE, OTHER), "ref_roles": ("obj", "bg")},
            {"refs": (IMAGE, OTHER, IMAGE), "ref_roles": ("obj", "obj", "obj")},
        ],
        "repainting": [{"video": VIDEO, "control": "depth", "refs": refs} for refs in (None, (IMAGE,))],
        "edit": [
            {"video": VIDEO, "refs": refs} | mask
            for mask in ({"mask": OTHER}, {"mask_video": VIDEO})
            for refs in (None, (IMAGE,))
        ],
        "extension": [
            {name: VIDEO if name.endswith("clip") else IMAGE for name in ends} | motion
            for motion in ({}, {"video": VIDEO, "control": "depth"})
            for ends in subsets("first_frame", "last_frame", "first_clip", "last_clip")
        ],
        "outpainting": [{"video": VIDEO, "left_scale": 1.5}],
    },
}


def spec_of(name: str, inputs: Combination) -> Spec:
    """Ask for the least of a model, or a function, with these inputs."""
    if name in FUNCTIONS:
        told = {field: value for field, value in inputs.items() if field in Vace._fields}
        return Spec("a", **{field: inputs[field] for field in inputs if field not in told}, vace=Vace(name, **told))
    resolution = None if "720P" in MODELS[name].resolutions else "480P"
    return Spec("a", model=name, resolution=resolution, **inputs)


def called(name: str, inputs: Combination) -> str:
    """Name a combination, such as "wan2.6-r2v: image + video"."""
    voices = dict(enumerate(inputs.get("ref_voices", ())))
    parts = [
        f"{kind_of(ref)}{' with a voice' if voices.get(place) else ''}"
        for place, ref in enumerate(inputs.get("refs") or ())
    ]
    parts += [field for field, value in inputs.items() if field not in ("refs", "ref_voices") and value is not None]
    return f"{name}: {' + '.join(parts) or 'prompt'}"


def line(name: str, inputs: Combination) -> str:
    model, warnings = select(spec_of(name, inputs))
    assert warnings == []
    request = wire.create_request(spec_of(name, inputs), model)
    assert (request.method, request.headers) == ("POST", {"X-DashScope-Async": "enable"})
    return f"{json.dumps(called(name, inputs))}: {json.dumps([request.url, request.body])}"


@pytest.mark.parametrize("family", FAMILIES)
def test_every_combination_of_a_family_is_the_golden_request(family: str) -> None:
    lines = [line(name, inputs) for name, listed in FAMILIES[family].items() for inputs in listed]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    assert len(json.loads(text)) == len(lines)  # no combination is there twice
    file = GOLDEN / f"combinations-{family}.json"
    if os.environ.get("RAWGENAI_TEST_UPDATE") == "1":
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def test_every_model_and_function_is_here() -> None:
    named = {name for listed in FAMILIES.values() for name in listed}
    assert named == {name for name, row in MODELS.items() if row.mode != "vace"} | set(FUNCTIONS)
    assert {file.stem for file in GOLDEN.glob("combinations-*")} == {f"combinations-{family}" for family in FAMILIES}


@pytest.mark.parametrize("row", [row for row in MODELS.values() if row.combinations], ids=lambda row: row.name)
def test_every_combination_of_a_row_is_here(row: Any) -> None:
    """By what the inputs are for; every kind of a reference is there as well."""
    from rawgenai.dashscope.rules import roles

    listed = next(models[row.name] for models in FAMILIES.values() if row.name in models)
    specs = [spec_of(row.name, inputs) for inputs in listed]
    assert {frozenset(roles(spec, row)) for spec in specs} == {frozenset(each) for each in row.combinations}
    kinds = {kind_of(ref) for spec in specs for ref in spec.refs or ()}
    counts = {"image": row.max_refs, "video": row.max_ref_videos, "audio": row.max_ref_audios}
    assert kinds == {kind for kind, most in counts.items() if most}
