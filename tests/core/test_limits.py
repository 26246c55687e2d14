"""What a local file may be: every limit of the documents, at its edges, for every model that takes such a file.

The figures are copied by hand: from the specification's sections "Image Input", "Reference Input" and "Audio
Requirements", from section 2.5 of the reference, and from ruling 10, which says where to refuse and where to warn.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from test_rules import URL, legal, name_of, verdict

from rawgenai.dashscope import media_rules, rules
from rawgenai.dashscope.models import MODELS, SIZES_27, Limits, Model
from rawgenai.dashscope.spec import Spec, Vace
from rawgenai.message import Media

MB = 1024 * 1024
PICTURES = ("image/jpeg", "image/png", "image/bmp", "image/webp")
CLIPS = ("video/mp4", "video/quicktime")
SOUNDS = ("audio/wav", "audio/mpeg")

# (mode, series) -> kind -> what is refused beyond, and what is warned of beyond.
_PLAIN = Limits(PICTURES, 10 * MB, (240, 8000), usual_sides=(360, 2000))
_LARGE = Limits(PICTURES, 20 * MB, (240, 8000), usual_bytes=10 * MB, usual_sides=(360, 2000))
_REF = Limits(PICTURES, 20 * MB, (240, 8000), usual_bytes=10 * MB, usual_sides=(240, 5000))
_CLIP = Limits(CLIPS, 100 * MB, seconds=(1, 30))
_SOUND = Limits(SOUNDS, 15 * MB, seconds=(3, 30))
_IMAGE_27 = Limits(PICTURES, 20 * MB, (240, 8000), stretch=8)
_CLIP_27 = Limits(CLIPS, 100 * MB, (240, 4096), seconds=(2, 10), stretch=8)
_REF_CLIP_27 = Limits(CLIPS, 100 * MB, (240, 4096), seconds=(1, 30), stretch=8)
_SOUND_27 = Limits(SOUNDS, 15 * MB, seconds=(2, 30))
_VOICE_27 = Limits(SOUNDS, 15 * MB, seconds=(1, 10))
_HORSE_PICTURES = ("image/jpeg", "image/png", "image/webp")
_HORSE = Limits(_HORSE_PICTURES, 20 * MB, (300, 100_000), alpha=True)
_HORSE_REF = Limits(_HORSE_PICTURES, 20 * MB, (400, 100_000), alpha=True)
_ALL_30 = {
    "image": Limits(PICTURES, 20 * MB, alpha=True),
    "video": Limits(CLIPS, 100 * MB, seconds=(0, 15)),
    "audio": Limits(SOUNDS, 15 * MB, seconds=(0, 15)),
}
_ALL_VACE = {
    "image": Limits((*PICTURES, "image/tiff"), 10 * MB, (360, 2000), alpha=True),
    "video": Limits(("video/mp4",), 50 * MB, fps=16),
}
LIMITS: dict[tuple[str, str], dict[str, Limits]] = {
    ("t2v", "wan2.6"): {"audio": _SOUND},
    ("t2v", "wan2.5"): {"audio": _SOUND},
    ("i2v", "wan2.6"): {"audio": _SOUND, "image": _LARGE},
    ("i2v", "wan2.5"): {"audio": _SOUND, "image": _LARGE},
    ("i2v", "wan2.2"): {"image": _PLAIN},
    ("i2v", "wan2.1"): {"image": _PLAIN},
    ("i2v", "wanx2.1"): {"image": _PLAIN},
    ("kf2v", "wan2.2"): {"image": _PLAIN},
    ("kf2v", "wan2.1"): {"image": _PLAIN},
    ("kf2v", "wanx2.1"): {"image": _PLAIN},
    ("r2v", "wan2.6"): {"image": _REF, "video": _CLIP},
    # Reference 2.4.
    ("t2v", "wan2.7"): {"audio": _SOUND_27},
    ("i2v", "wan2.7"): {"image": _IMAGE_27, "audio": _SOUND_27, "video": _CLIP_27},
    ("r2v", "wan2.7"): {"image": _IMAGE_27, "audio": _VOICE_27, "video": _REF_CLIP_27},
    ("edit", "wan2.7"): {"image": _IMAGE_27, "video": _CLIP_27},
    ("t2v", "wan3.0"): _ALL_30,
    ("i2v", "happyhorse-1.0"): {"image": _HORSE},
    ("i2v", "happyhorse-1.1"): {"image": _HORSE},
    ("r2v", "happyhorse-1.0"): {"image": _HORSE_REF},
    ("r2v", "happyhorse-1.1"): {"image": _HORSE_REF},
    ("edit", "happyhorse-1.0"): {"image": _HORSE, "video": Limits(CLIPS, 100 * MB, seconds=(3, 60))},
    # Reference 2.5.
    ("vace", "wanx2.1"): _ALL_VACE,
    ("vace", "wan2.1"): _ALL_VACE,
}
# References in all, videos and sounds among them.
REFS = {
    ("r2v", "wan2.6"): (5, 3, 0),
    ("r2v", "wan2.7"): (5, 5, 0),
    ("edit", "wan2.7"): (4, 0, 0),
    ("t2v", "wan3.0"): (20, 5, 5),
    ("r2v", "happyhorse-1.0"): (9, 0, 0),
    ("r2v", "happyhorse-1.1"): (9, 0, 0),
    ("edit", "happyhorse-1.0"): (5, 0, 0),
}


@pytest.mark.parametrize("row", MODELS.values(), ids=name_of)
def test_a_models_limits_are_those_of_the_documents(row: Model) -> None:
    assert row.limits == LIMITS.get((row.mode, row.series), {})
    refs = (row.max_refs, row.max_ref_videos, row.max_ref_audios)
    assert refs == REFS.get((row.mode, row.series), (0, 0, 0))


def test_the_pixels_of_wan27_are_its_own() -> None:
    """Reference 2.1, the last two rows."""
    ratios = ("16:9", "9:16", "1:1", "4:3", "3:4")
    table = {
        "720P": ("1280*720", "720*1280", "960*960", "1104*832", "832*1104"),
        "1080P": ("1920*1080", "1080*1920", "1440*1440", "1648*1248", "1248*1648"),
    }
    assert {tier: dict(zip(ratios, sizes, strict=True)) for tier, sizes in table.items()} == SIZES_27
    assert {row.series for row in MODELS.values() if row.pixels is SIZES_27} == {"wan2.7"}


# --- every limit at its edges ------------------------------------------------------------------------------------

FINE, WARNED, REFUSED = "fine", "warned", "refused"


class Edge(NamedTuple):
    """A file on one side of a limit: what is odd about it, and what becomes of it."""

    odd: dict[str, Any]
    fate: str


def sides(**fates: str) -> list[Edge]:
    """Each side of a picture in turn, as long as the name says: ``_240``."""
    return [Edge({side: int(name[1:])}, fate) for name, fate in fates.items() for side in ("width", "height")]


def most(refused: int, warned: int | None = None) -> list[Edge]:
    """Bytes at, and one beyond, what is refused and what is warned of."""
    edges = [Edge({"size": 1}, FINE), Edge({"size": refused + 1}, REFUSED)]
    if warned is None:
        return [*edges, Edge({"size": refused}, FINE)]
    return [*edges, Edge({"size": refused}, WARNED), Edge({"size": warned}, FINE), Edge({"size": warned + 1}, WARNED)]


def formats(*mimes: str) -> list[Edge]:
    return [Edge({"mime": mime}, FINE) for mime in mimes]


def seconds(shortest: float, longest: float) -> list[Edge]:
    return [
        Edge({"seconds": shortest - 0.01}, REFUSED),
        Edge({"seconds": float(shortest)}, FINE),
        Edge({"seconds": float(longest)}, FINE),
        Edge({"seconds": longest + 0.01}, REFUSED),
        Edge({"seconds": None}, WARNED),  # nobody knows, so it is tried
    ]


_PICTURE = [
    *formats(*PICTURES),
    Edge({"mime": "image/tiff"}, REFUSED),
    Edge({"mime": "image/gif"}, REFUSED),
    Edge({"alpha": True}, REFUSED),
    Edge({"alpha": True, "mime": "image/webp"}, REFUSED),
    Edge({"width": 8000, "height": 360}, WARNED),
    Edge({"width": 0, "height": 0}, FINE),  # nobody knows
]
_FRAME = [
    *_PICTURE,
    *sides(_239=REFUSED, _240=WARNED, _359=WARNED, _360=FINE, _2000=FINE, _2001=WARNED, _8000=WARNED, _8001=REFUSED),
]
_SMALL_FRAME = [*_FRAME, *most(10 * MB)]
_LARGE_FRAME = [*_FRAME, *most(20 * MB, 10 * MB)]
_REFERENCE = [
    *_PICTURE,
    *sides(_239=REFUSED, _240=FINE, _5000=FINE, _5001=WARNED, _8000=WARNED, _8001=REFUSED),
    *most(20 * MB, 10 * MB),
]
_VIDEO = [*formats(*CLIPS), Edge({"mime": "video/webm"}, REFUSED), *most(100 * MB), *seconds(1, 30)]
_MEDIA_PICTURE = [  # of the media dialect, whose rows warn of nothing
    *formats("image/jpeg", "image/png", "image/webp"),
    Edge({"mime": "image/gif"}, REFUSED),
    Edge({"width": 0, "height": 0}, FINE),
    *most(20 * MB),
]
_PICTURE_27 = [
    *_MEDIA_PICTURE,
    Edge({"mime": "image/tiff"}, REFUSED),
    *formats("image/bmp"),
    Edge({"alpha": True}, REFUSED),
    *sides(_239=REFUSED, _240=FINE),
    Edge({"width": 8000, "height": 1000}, FINE),
    Edge({"width": 8001, "height": 1001}, REFUSED),
    Edge({"width": 1921, "height": 240}, REFUSED),
    Edge({"width": 240, "height": 1920}, FINE),
    Edge({"width": 240, "height": 1921}, REFUSED),
]


def _clip_27(shortest: float, longest: float) -> list[Edge]:
    return [
        *formats(*CLIPS),
        Edge({"mime": "video/webm"}, REFUSED),
        *most(100 * MB),
        *seconds(shortest, longest),
        *sides(_239=REFUSED, _240=FINE),
        Edge({"width": 4096, "height": 512}, FINE),
        Edge({"width": 4097, "height": 1000}, REFUSED),
        Edge({"width": 1000, "height": 4097}, REFUSED),
        Edge({"width": 1921, "height": 240}, REFUSED),
    ]


def _sound(shortest: float, longest: float) -> list[Edge]:
    return [
        *formats(*SOUNDS),
        Edge({"mime": "audio/flac"}, REFUSED),
        *most(15 * MB),
        *seconds(shortest, longest)[0 if shortest else 1 :],
    ]


_PICTURE_HORSE = [
    *_MEDIA_PICTURE,
    Edge({"mime": "image/tiff"}, REFUSED),
    Edge({"mime": "image/bmp"}, REFUSED),
    Edge({"alpha": True}, FINE),
]
_VIDEO_HORSE = [
    *formats(*CLIPS),
    Edge({"mime": "video/webm"}, REFUSED),
    *most(100 * MB),
    *seconds(3, 60)[:2],
    Edge({"seconds": 15.0}, FINE),
    Edge({"seconds": 15.2}, WARNED),  # the rest is cut
    Edge({"seconds": 60.0}, WARNED),
    *seconds(3, 60)[3:],
]
_PICTURE_30 = [
    *_MEDIA_PICTURE,
    Edge({"mime": "image/tiff"}, REFUSED),
    *formats("image/bmp"),
    Edge({"alpha": True}, FINE),
    *sides(_1=FINE, _9000=FINE),
]
_VIDEO_30 = [*formats(*CLIPS), Edge({"mime": "video/webm"}, REFUSED), *most(100 * MB), *seconds(0, 15)[1:]]
# (mode, series) -> the fields that take a file: field, kind and edges.
_PICTURE_VACE = [*_MEDIA_PICTURE[:3], *formats("image/bmp", "image/tiff"), Edge({"alpha": True}, FINE), *most(10 * MB)]
_PICTURE_VACE += sides(_359=REFUSED, _360=FINE, _2000=FINE, _2001=REFUSED)
_VIDEO_VACE = [
    Edge({"mime": "video/mp4"}, FINE),
    Edge({"mime": "video/quicktime"}, REFUSED),
    *most(50 * MB),
    Edge({"seconds": 0.1}, FINE),
    Edge({"seconds": 5.0}, FINE),
    Edge({"seconds": 5.2}, WARNED),  # the rest is cut
    Edge({"fps": 15.0}, REFUSED),
    Edge({"fps": 15.984}, FINE),  # an average
    Edge({"fps": 16.0}, FINE),
    Edge({"fps": None}, FINE),  # nobody knows
]
_PLACES_VACE = [
    *((field, "image", _PICTURE_VACE) for field in ("refs", "first_frame", "last_frame")),
    ("video", "video", _VIDEO_VACE),
]
NEWER: dict[tuple[str, str], list[tuple[str, str, list[Edge]]]] = {
    ("t2v", "wan2.7"): [("audio_url", "audio", _sound(2, 30))],
    ("i2v", "wan2.7"): [
        ("image", "image", _PICTURE_27),
        ("audio_url", "audio", _sound(2, 30)),
        ("first_clip", "video", _clip_27(2, 10)),
        ("last_frame", "image", _PICTURE_27),
    ],
    ("r2v", "wan2.7"): [
        ("refs", "image", _PICTURE_27),
        ("refs", "video", _clip_27(1, 30)),
        ("ref_voices", "audio", _sound(1, 10)),
        ("first_frame", "image", _PICTURE_27),
    ],
    ("edit", "wan2.7"): [("refs", "image", _PICTURE_27), ("video", "video", _clip_27(2, 10))],
    ("t2v", "wan3.0"): [
        ("refs", "image", _PICTURE_30),
        ("refs", "video", _VIDEO_30),
        ("refs", "audio", _sound(0, 15)),
        ("first_frame", "image", _PICTURE_30),
        ("audio_url", "audio", _sound(0, 15)),
    ],
    ("i2v", "happyhorse"): [("image", "image", [*_PICTURE_HORSE, *sides(_299=REFUSED, _300=FINE, _9000=FINE)])],
    ("r2v", "happyhorse"): [("refs", "image", [*_PICTURE_HORSE, *sides(_399=REFUSED, _400=FINE, _9000=FINE)])],
    ("edit", "happyhorse"): [
        ("refs", "image", [*_PICTURE_HORSE, *sides(_299=REFUSED, _300=FINE)]),
        ("video", "video", _VIDEO_HORSE),
    ],
    ("vace", "wanx2.1"): _PLACES_VACE,
    ("vace", "wan2.1"): _PLACES_VACE,
}
_AUDIO = [*formats(*SOUNDS), Edge({"mime": "audio/flac"}, REFUSED), *most(15 * MB), *seconds(3, 30)]

GOOD = {
    "image": Media("photo.png", "image/png", 1000, 640, 480),
    "video": Media("scene.mp4", "video/mp4", 1000, 640, 480, seconds=5.0),
    "audio": Media("speech.wav", "audio/wav", 1000, seconds=5.0),
}
CODES = {"image": "invalid_image", "first_frame": "invalid_image", "last_frame": "invalid_image"} | {
    "refs": "invalid_ref",
    "audio_url": "invalid_audio",
    "ref_voices": "invalid_audio",
    "first_clip": "invalid_ref",
    "video": "invalid_ref",
}
# Field -> what is asked for beside it, or instead of the least of the model.
BESIDE: dict[str, dict[str, Any]] = {
    "ref_voices": {"refs": (URL, URL)},
    "first_clip": {"image": None, "duration": 15},
}


def places(row: Model) -> Iterator[tuple[str, str, list[Edge]]]:
    """The fields of a Spec that take a file for this model: field, kind and edges."""
    if row.dialect != "classic":
        yield from NEWER.get((row.mode, row.series.partition("-")[0]), ())
        return
    if row.mode == "i2v":
        yield "image", "image", _LARGE_FRAME if row.series in ("wan2.5", "wan2.6") else _SMALL_FRAME
    if row.mode == "kf2v":
        yield "first_frame", "image", _SMALL_FRAME
        yield "last_frame", "image", _SMALL_FRAME
    if row.mode == "r2v":
        yield "refs", "image", _REFERENCE
        yield "refs", "video", _VIDEO
    if "audio_url" in row.features:
        yield "audio_url", "audio", _AUDIO


PLACES = [(row, *place) for row in MODELS.values() for place in places(row)]


# The functions that take one.
_VACE = {
    "refs": Vace("image-reference"),
    "video": Vace("outpainting", left_scale=2),
    **dict.fromkeys(("first_frame", "last_frame"), Vace("extension")),
}


def fate(row: Model, field: str, leaf: Media, *, strict: bool = False) -> str:
    """What becomes of a model's request with that file in that place."""
    value: Any = {"refs": (URL, leaf), "ref_voices": (None, leaf)}.get(field, leaf)
    if row.mode == "vace":
        value = (leaf,) if field == "refs" else leaf
        asked = Spec("a", model=row.name, vace=_VACE[field])
        said = verdict(replace(asked, **{field: value}), strict=strict)
    else:
        said = verdict(legal(row, **BESIDE.get(field, {}), **{field: value}), strict=strict)
    return {row.name: FINE, f"{row.name}!": WARNED, CODES[field]: REFUSED}.get(said, said)


@pytest.mark.parametrize(("row", "field", "kind", "edges"), PLACES, ids=name_of)
def test_a_file_is_judged_at_every_edge(row: Model, field: str, kind: str, edges: list[Edge]) -> None:
    for edge in edges:
        assert fate(row, field, replace(GOOD[kind], **edge.odd)) == edge.fate, edge


@pytest.mark.parametrize(("row", "field", "kind", "edges"), PLACES, ids=name_of)
def test_strict_refuses_what_is_else_warned_of(row: Model, field: str, kind: str, edges: list[Edge]) -> None:
    for edge in edges:
        expected = REFUSED if edge.fate == WARNED else edge.fate
        assert fate(row, field, replace(GOOD[kind], **edge.odd), strict=True) == expected, edge


def test_every_limit_of_a_row_has_an_edge() -> None:
    """What a row says of a kind is what some place has edges for."""
    said = {(row.name, kind) for row in MODELS.values() for kind in row.limits}
    assert said == {(row.name, kind) for row, _, kind, _ in PLACES}


@pytest.mark.parametrize(("field", "kind"), [("refs", "image"), ("refs", "video")])
def test_each_of_several_files_is_judged(field: str, kind: str) -> None:
    good, bad = GOOD[kind], replace(GOOD[kind], size=200 * MB)
    row = MODELS["wan2.6-r2v"]
    assert verdict(legal(row, refs=(good, good, bad))) == verdict(legal(row, refs=(bad, good))) == "invalid_ref"


# --- what is said ------------------------------------------------------------------------------------------------

I2V, T2V = MODELS["wan2.6-i2v"], MODELS["wan2.6-t2v"]
SAID = [
    (I2V, "image", {"mime": "image/gif"}, "'photo.png' is GIF; JPEG, PNG, BMP, WEBP are accepted"),
    (I2V, "image", {"size": 30 * MB + MB // 2}, "'photo.png' has 30.5 MB; the limit is 20 MB"),
    (I2V, "image", {"size": 20 * MB + 1}, "'photo.png' has 20.01 MB; the limit is 20 MB"),
    (I2V, "image", {"width": 8001}, "'photo.png' is 8001x480 pixels; 240 to 8000 a side are accepted"),
    (I2V, "image", {"alpha": True}, "'photo.png' has a transparency channel, which is not accepted"),
    (I2V, "image", {"path": "data:;base64,AAAA", "size": 30 * MB}, "its data URI has 30 MB; the limit is 20 MB"),
    (I2V, "image", {"size": 15 * MB}, "'photo.png' has 15 MB; over 10 MB some models refuse it"),
    (I2V, "image", {"height": 240}, "'photo.png' is 640x240 pixels; 360 to 2000 a side are accepted by the"),
    (T2V, "audio_url", {"seconds": 2.5}, "'speech.wav' is 2.50 s long; 3 to 30 s are accepted"),
    (T2V, "audio_url", {"seconds": None}, "'speech.wav' does not say how long it is; 3 to 30 s are accepted"),
]


@pytest.mark.parametrize(("row", "field", "odd", "said"), SAID, ids=name_of)
def test_the_flag_the_figure_and_the_limit_are_told(row: Model, field: str, odd: dict[str, Any], said: str) -> None:
    leaf = replace(GOOD["image" if field == "image" else "audio"], **odd)
    spec = legal(row, **{field: leaf})
    objection = rules.check_media(spec, row) or rules.warn_media(spec, row)
    assert objection is not None
    assert objection.message.startswith(f"--{field.replace('_', '-')}: {said}")


def test_all_warnings_of_all_files_are_told() -> None:
    odd = replace(GOOD["image"], height=240, path="other.png")
    row = MODELS["wan2.2-kf2v-flash"]
    _, warnings = rules.select(legal(row, first_frame=replace(GOOD["image"], width=300), last_frame=odd))
    assert [part.partition(" pixels")[0] for part in warnings[0].split("; --")] == [
        "--first-frame: 'photo.png' is 300x480",
        "last-frame: 'other.png' is 640x240",
    ]
    assert len(warnings) == 1


# --- take any of them away ---------------------------------------------------------------------------------------


def wrong() -> list[Edge]:
    """The edges whose fate is not what it should be."""
    return [
        edge for row, field, kind, edges in PLACES for edge in edges if fate_of(row, field, kind, edge) != edge.fate
    ]


def fate_of(row: Model, field: str, kind: str, edge: Edge) -> str:
    return fate(row, field, replace(GOOD[kind], **edge.odd))


JUDGES = [(media_rules, name, judge) for name in ("FAULTS", "DOUBTS") for judge in getattr(media_rules, name)]


@pytest.mark.parametrize(
    ("home", "name", "judge"),
    [*JUDGES, (rules, "CHECKS", rules.check_media), (rules, "WARNINGS", rules.warn_media)],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_without_a_judge_some_file_meets_another_fate(
    monkeypatch: pytest.MonkeyPatch, home: ModuleType, name: str, judge: Callable[..., Any]
) -> None:
    assert wrong() == []
    monkeypatch.setattr(home, name, tuple(other for other in getattr(home, name) if other is not judge))
    assert wrong() != []


def test_every_judge_is_asked() -> None:
    defined = {name for name in vars(media_rules) if name.startswith(("fault_of_", "doubt_of_"))}
    assert {judge.__name__ for *_, judge in JUDGES} == defined
