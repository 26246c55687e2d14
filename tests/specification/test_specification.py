"""The documents' own tables against the code's: specification.md and reference.md are copied from the documents."""

import re
from pathlib import Path
from typing import Any

import click
import pytest

from rawgenai import regions
from rawgenai.cli import vace
from rawgenai.cli.create import create
from rawgenai.cli.download import download
from rawgenai.cli.status import status
from rawgenai.dashscope import models, rules, wire
from rawgenai.dashscope.models import MODELS, SIZES, Model
from rawgenai.dashscope.spec import INPUTS, Input
from rawgenai.errors import CODES, STATUSES, RawgenaiError

_HERE = Path(__file__).parent
Row = dict[str, str]


def table(page: str, heading: str) -> list[Row]:
    """Read the table under a heading of a page: one dict a row, marks of code taken off."""
    text = (_HERE / page).read_text(encoding="utf-8")
    section = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    head, _, *rows = [_cells(line) for line in section.splitlines() if line.startswith("|")]
    return [dict(zip(head, row, strict=True)) for row in rows]


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]


def words(cell: str) -> list[str]:
    return re.findall(r"[\w.*-]+", cell)


def seconds(cell: str) -> tuple[int, ...]:
    """Read "2-15 seconds (integer)", "3, 4, or 5 seconds", "≤5"."""
    numbers = [int(number) for number in re.findall(r"\d+", cell)]
    if re.search(r"\d[-–]\d", cell):
        return tuple(range(numbers[0], numbers[1] + 1))
    return tuple(range(1, numbers[0] + 1)) if "≤" in cell else tuple(numbers)


# --- the specification's tables of models ------------------------------------------------------------------------

# The specification's word for some models -> the models that it means, of those that the specification names.
SERIES = {
    "wan2.6 (t2v)": ["wan2.6-t2v"],
    "wan2.6 (r2v)": ["wan2.6-r2v-flash", "wan2.6-r2v"],
    "wan2.6": ["wan2.6-t2v", "wan2.6-i2v-flash", "wan2.6-i2v", "wan2.6-r2v-flash", "wan2.6-r2v"],
    "wan2.5": ["wan2.5-t2v-preview", "wan2.5-i2v-preview"],
    "wan2.2": ["wan2.2-t2v-plus", "wan2.2-i2v-flash", "wan2.2-i2v-plus"],
    "wan2.2-t2v-plus": ["wan2.2-t2v-plus"],
    "wan2.2-i2v-flash": ["wan2.2-i2v-flash"],
    "wan2.2-i2v-plus": ["wan2.2-i2v-plus"],
    "wanx2.1-turbo": ["wanx2.1-t2v-turbo", "wanx2.1-i2v-turbo"],
    "wanx2.1-plus": ["wanx2.1-t2v-plus", "wanx2.1-i2v-plus"],
    "kf2v (all)": ["wan2.2-kf2v-flash", "wanx2.1-kf2v-plus"],
    "kf2v-flash": ["wan2.2-kf2v-flash"],
    "kf2v-plus": ["wanx2.1-kf2v-plus"],
}
SELECTION = table("specification.md", "create: Model Auto-Selection")
NAMED = [name for row in SELECTION for name in words(f"{row['Default Model']} {row['Alternatives']}")]


def by_model(heading: str, column: str) -> dict[str, str]:
    rows = table("specification.md", f"create: {heading}")
    return {name: row[column] for row in rows for name in SERIES[row["Model Series"]]}


@pytest.mark.parametrize(
    ("input_type", "mode"),
    [
        ("Text only", "t2v"),
        ("Image (--image)", "i2v"),
        ("Reference (--ref)", "r2v"),
        ("Keyframe (--first-frame)", "kf2v"),
    ],
)
def test_each_input_has_the_specified_models(input_type: str, mode: str) -> None:
    (row,) = [row for row in SELECTION if row["Input Type"] == input_type]
    assert models.DEFAULT_MODELS[mode] == row["Default Model"]
    assert {MODELS[name].mode for name in words(row["Alternatives"])} == {mode}


def test_the_specified_models_are_sixteen_and_all_there() -> None:
    assert len(NAMED) == 16
    assert set(NAMED) <= set(MODELS)
    assert len(models.DEFAULT_MODELS.keys() - {"vace"}) == len(SELECTION) == 4  # for vace the page has no row


def test_durations_are_the_specified_ones() -> None:
    said = by_model("Duration Rules", "Supported Duration")
    # Ruling 1: the specification's table has no row for wan2.6 i2v, whose length is 2 to 15 s.
    assert set(NAMED) - set(said) == {"wan2.6-i2v-flash", "wan2.6-i2v"}
    ruled = dict.fromkeys(("wan2.6-i2v-flash", "wan2.6-i2v"), tuple(range(2, 16)))
    expected = {name: seconds(cell) for name, cell in said.items()} | ruled
    assert expected == {name: MODELS[name].durations for name in NAMED}


def test_resolutions_are_the_specified_ones() -> None:
    said = by_model("Resolution Rules", "Supported Resolutions")
    assert {name: tuple(words(cell)) for name, cell in said.items()} == {
        name: MODELS[name].resolutions for name in NAMED
    }


def test_sizes_are_the_specified_ones() -> None:
    rows = table("specification.md", "Internal: Resolution to Size Mapping (t2v, r2v)")
    for row in rows:
        said = {"16:9": row["Ratio 16:9"], "9:16": row["Ratio 9:16"]}
        assert said.items() <= SIZES[row["Resolution"]].items()
    assert [row["Resolution"] for row in rows] == list(SIZES)
    assert models.RATIOS == ("16:9", "9:16")


def test_regions_are_the_specified_ones() -> None:
    rows = table("specification.md", "API Regions")
    for row in rows:
        name = row["Region"].split()[0].lower()
        assert regions.REGIONS[name].base_url() == row["Base URL"]
        assert regions.of_url(row["Base URL"]) == name
    assert {row["Region"].split()[0].lower() for row in rows} == set(regions.shared_urls())


def test_the_limits_of_references_are_the_specified_ones() -> None:
    # "Limits": images 0-5, videos 0-3, total at most 5 files.
    limits = {name: (MODELS[name].max_refs, MODELS[name].max_ref_videos) for name in NAMED}
    assert limits == {name: ((5, 3) if "-r2v" in name else (0, 0)) for name in NAMED}


# "Mutual Exclusivity" and the flags' table: feature -> the models that the specification gives it to.
SERIES_26 = set(SERIES["wan2.6"])
WAN25_UP = {name for name in NAMED if name in SERIES_26 or name in SERIES["wan2.5"]}
SPECIFIED = {
    "audio": {"wan2.6-i2v-flash"},
    "no_audio": {"wan2.6-r2v-flash"},
    "audio_url": {name for name in WAN25_UP if "-t2v" in name or "-i2v" in name},
    "shot_type": SERIES_26,
    "prompt_extend": {name for name in NAMED if "-r2v" not in name},
    "negative": set(NAMED),
}


@pytest.mark.parametrize("feature", SPECIFIED)
def test_a_feature_is_for_the_specified_models_only(feature: str) -> None:
    assert {name for name in NAMED if feature in MODELS[name].features} == SPECIFIED[feature]


# --- the reference, section 2, row by row ------------------------------------------------------------------------

RULED = {  # (model, column) -> what the design rules instead
    ("wanx2.1-t2v-turbo", "Duration"): (3, 4, 5),  # ruling 1: the specification's row wins
    ("wan2.1-t2v-turbo", "Duration"): (3, 4, 5),  # ruling 16: the same model in Singapore
}
SOUND = {
    "always; audio_url": {"sound", "audio_url"},
    "always": {"sound"},
    "silent": set[str](),
    "`audio`; audio_url": {"sound", "audio", "audio_url"},
    # Ruling 5 and the specification: r2v-flash is told only by --no-audio.
    "`audio`; no audio_url": {"sound", "no_audio"},
}
PLACES = {"BJ": ["beijing"], "SG": ["singapore"], "GL": ["virginia", "frankfurt"], "US": ["virginia"]}
KNOWS = {row["Field"]: words(row["Modes that know it"]) for row in table("reference.md", "2.2 Parameters")}


def spellings(row: Row) -> list[tuple[str, str]]:
    names, regions = row["Model id"].split(" / "), row["Regions"].split(" / ")
    return list(zip(names, regions, strict=True))


def facts(row: Row, name: str, regions: str) -> dict[str, Any]:
    """What the reference says of one model, as the columns of a row of MODELS."""
    features = set(SOUND[next(cell for cell in SOUND if cell.replace("`", "") == row["Audio"])])
    features |= {"shot_type"} if row["shot_type"] == "✓" else set()
    features |= {"negative"} if row["Mode"] in KNOWS["negative_prompt"] else set()
    features |= {"prompt_extend"} if row["Mode"] in KNOWS["prompt_extend"] else set()
    return {
        "mode": row["Mode"],
        "regions": tuple(place for word in words(regions) for place in PLACES[word]),
        "resolutions": tuple(f"{number}P" for number in words(row["Size/resolution"])),
        "durations": RULED.get((name, "Duration"), seconds(row["Duration"])),
        "prompt_limit": int(row["Prompt"]),
        "features": features,
    }


REFERENCE = {
    name: facts(row, name, regions)
    for row in table("reference.md", "2.3 Master table")
    for name, regions in spellings(row)
}


@pytest.mark.parametrize("name", REFERENCE)
def test_a_model_is_as_the_reference_says(name: str) -> None:
    row = MODELS[name]
    assert {column: getattr(row, column) for column in REFERENCE[name]} == REFERENCE[name]
    assert row.name == name


def test_no_model_is_without_a_row_of_the_reference() -> None:
    assert set(MODELS) == set(REFERENCE) | set(NEWER)


# Reference, C15: one has a price in Singapore and no rate limit, one is on its list of models and has neither: "assume
# callable, warn".
DOUBTED = {("wan2.2-i2v-flash", "singapore"), ("wan2.2-kf2v-flash", "singapore")}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_for_the_regions_of_the_reference_alone(name: str) -> None:
    for region in regions.REGIONS:
        is_as_the_reference_says(name, region)


def is_as_the_reference_says(name: str, region: str) -> None:
    cell = next((row["Regions"] for row in NEWER.values() if name in dated(row["Model"])), None)
    offered = REFERENCE[name]["regions"] if cell is None else [where for word in words(cell) for where in PLACES[word]]
    row = MODELS[name]
    warned = rules.judge_region(row, region, named=None)
    if region in offered:
        assert (rules.judge_region(row, region, named=region), warned) == ([], [])
    elif (name, region) in DOUBTED:
        assert rules.judge_region(row, region, named=region) == warned
        assert warned == [f"whether {name} is offered in {region} is not certain: the sources differ"]
    else:
        assert warned[0].startswith(f"{name} is not offered in {region}")
        with pytest.raises(RawgenaiError, match=f"^invalid_model: {name} is not offered in {region}"):
            rules.judge_region(row, region, named=region)
    assert rules.judge_region(row, None, named=None) == []  # nobody knows what is there


def spelled(row: Row) -> dict[str, dict[str, str]]:
    """Read "wanx2.1-t2v-turbo / wan2.1-t2v-turbo" with "BJ / SG": each name's other spelling, by region."""
    pairs = [(name, where) for name, places in spellings(row) for word in words(places) for where in PLACES[word]]
    return {name: {where: other for other, where in pairs if other != name} for name, _ in pairs}


@pytest.mark.parametrize("row", table("reference.md", "2.3 Master table"), ids=lambda row: str(row["Model id"]))
def test_the_two_spellings_of_a_model_are_the_references(row: Row) -> None:
    for name, others in spelled(row).items():
        assert MODELS[name].spellings == others


def test_the_2_1_models_alone_have_two_spellings() -> None:
    assert {row.series for row in MODELS.values() if row.spellings} == {"wanx2.1"}
    assert {name for name, row in MODELS.items() if row.spellings} == {name for name in MODELS if "2.1-" in name}


# --- the reference, section 2.4: the newer families --------------------------------------------------------------

SERIES_27 = re.compile(r"(wan2\.7|wan3\.0|happyhorse-1\.[01])-")


def dated(cell: str) -> list[str]:
    """Read "wan2.7-t2v +2026-04-25 +2026-06-12"."""
    name, *dates = cell.split(" +")
    return [name, *(f"{name}-{date}" for date in dates)]


NEWER = {name: row for row in table("reference.md", "2.4 Newer families") for name in dated(row["Model"])}


def combined(cell: str) -> set[frozenset[str]]:
    """Read "prompt; first_frame + last_frame": what may be named together."""
    return {frozenset(set(part.strip().split(" + ")) - {"prompt"}) for part in cell.split(";")}


def lengths(cell: str) -> tuple[int, ...]:
    """Read "-1, 2–30"; "—" is no parameter."""
    numbers: list[int] = []
    for part in cell.replace("—", "").split(", "):
        first, _, last = part.partition("–")
        numbers += range(int(first), int(last or first) + 1) if first else []
    return tuple(numbers)


@pytest.mark.parametrize("name", NEWER)
def test_a_newer_model_is_as_the_reference_says(name: str) -> None:
    said, row = NEWER[name], MODELS[name]
    assert (row.dialect, row.mode, row.sizes) == ("media", said["Mode"], ())
    assert row.regions == tuple(place for word in words(said["Regions"]) for place in PLACES[word])
    assert row.resolutions == tuple(f"{number}P" for number in words(said["Resolution"]))
    assert row.ratios == tuple(said["Ratio"].replace("—", "").split())
    assert row.durations == lengths(said["Duration"])
    assert {frozenset(each) for each in row.combinations or ()} == combined(said["Media"])
    limits = said["Prompt"].split()
    assert (row.needs_prompt, row.prompt_limit, row.cjk_limit) == (
        limits[0], int(limits[1]), int(limits[2]) if limits[2:] else None,
    )  # fmt: skip
    knows = set(words(said["Knows"]))
    assert knows == {
        word
        for word in ("negative", "prompt_extend", "audio_setting", "no_audio", "voices", "audio_url")
        if word in row.features
    }
    assert not row.features & {"shot_type", "audio"}


def test_every_newer_model_is_transcribed() -> None:
    assert set(NEWER) == {name for name in MODELS if SERIES_27.match(name)}


def test_the_exact_sizes_are_the_references() -> None:
    for row in table("reference.md", "2.1 Exact size lists"):
        said = {ratio: size for ratio, size in row.items() if ratio != "Tier" and size != "—"}
        assert said == SIZES[row["Tier"]]


@pytest.mark.parametrize(
    ("mode", "sized"), [("t2v", True), ("r2v", True), ("vace", True), ("i2v", False), ("kf2v", False)]
)
def test_a_mode_takes_sizes_or_tiers(mode: str, sized: bool) -> None:
    for row in (row for row in MODELS.values() if row.mode == mode and row.dialect == "classic"):
        assert row.sizes == (sizes_of(row) if sized else ())


def sizes_of(row: Model) -> tuple[str, ...]:
    return tuple(size for tier in row.resolutions for size in SIZES[tier].values())


def test_the_numbers_that_hold_for_all_models_are_the_documented_ones() -> None:
    assert models.MAX_SEED == 2147483647
    assert models.NEGATIVE_LIMIT == 500
    assert (models.DEFAULT_RESOLUTION, models.DEFAULT_RATIO, models.DEFAULT_DURATION) == ("720P", "16:9", 5)
    assert models.SHOT_TYPES == ("single", "multi")


# --- codes, statuses, flags --------------------------------------------------------------------------------------

RULING_15 = {
    "invalid_usage",
    "invalid_seed",
    "invalid_size",
    "invalid_shot_type",
    "invalid_image",
    "invalid_ref",
    "invalid_audio",
    "invalid_prompt",
    "incompatible_prompt_extend",
    "prompt_too_long",
    "access_denied",
    "wait_timeout",
    "task_not_cancelable",
    "over_budget",
    "invalid_task_id",
    "invalid_key",
    "config_error",
    "missing_extra",
    "internal_error",
}


def test_the_codes_are_the_documented_ones_and_ruling_15s() -> None:
    pages = ("CLI Errors", "API Errors", "Download Errors")
    documented = [row["Code"] for page in pages for row in table("specification.md", page)]
    assert len(documented) == 26 + 6 + 7
    assert set(CODES) == set(documented) | RULING_15


def test_the_statuses_are_the_documented_ones() -> None:
    rows = table("specification.md", "status: Status Values")
    said = {row["API Status"]: row["Status"] for row in rows}
    # Ruling 12; UNKNOWN is no status but task_not_found.
    ruled = {"SUSPENDED": "pending", "CANCELED": "canceled", "CANCELLED": "canceled"}
    assert said | ruled == wire.STATUSES
    assert set(wire.TERMINAL) == {"succeeded", "failed", "canceled"}


# Flags that the specification does not have; of --no-prompt-extend ruling 6 speaks.
BEYOND = {
    "create": {"--size", "--strict", "--dry-run", "--no-ledger", "--quiet", "--no-prompt-extend"}
    | {"--idempotency-key", "--max-cost", "--max-seconds"}
    | {"--ref-voice", "--first-clip", "--video", "--audio-setting"}
    | {"--region"}
    | {"--continue"}
}
BEYOND |= {"status": {"--quiet", "--region"}, "download": {"--quiet", "--region"}}
COMMANDS: dict[str, click.Command] = {"create": create, "status": status, "download": download}
FLAGS = [(name, row) for name in COMMANDS for row in table("specification.md", f"{name}: Flags")]


def options(command: str | click.Command) -> dict[str, click.Option]:
    command = COMMANDS[command] if isinstance(command, str) else command
    found = [param for param in command.params if isinstance(param, click.Option)]
    return {name: option for option in found for name in (*option.opts, *option.secondary_opts)}


@pytest.mark.parametrize(("command", "row"), FLAGS, ids=[f"{command} {row['Flag']}" for command, row in FLAGS])
def test_a_flag_is_as_the_specification_says(command: str, row: Row) -> None:
    option = options(command)[row["Flag"]]
    if row["Short"] != "-":
        assert options(command)[row["Short"]] is option
    assert option.is_flag is (row["Type"] == "bool")
    assert option.multiple is (row["Type"] == "string[]")
    assert option.required is (row["Required"] == "Yes")
    if row["Type"] == "int":
        assert option.type.convert("7", None, None) == 7
        with pytest.raises(click.BadParameter):
            option.type.convert("7.0", None, None)
    # None is "not given" (design section 2), so the defaults of the specification are the core's, shown in the help.
    ctx = COMMANDS[command].make_context(command, [], resilient_parsing=True)
    assert ctx.params[option.name or ""] in (None, False, ())
    if row["Default"] not in ("-", "false", "auto", "true"):
        assert f"[default: {row['Default']}]" in (option.help or "")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_has_no_other_flags(command: str) -> None:
    said = {row["Flag"] for name, row in FLAGS if name == command}
    assert {name for name in options(command) if name.startswith("--")} == said | BEYOND[command]


@pytest.mark.parametrize("row", INPUTS, ids=[row.flag for row in INPUTS])
def test_media_is_named_by_the_flag_that_takes_it(row: Input) -> None:
    own = {"last_clip": vace.extension, "mask": vace.edit, "mask_video": vace.edit}  # which alone take these
    assert options(own.get(row.name, create))[row.flag].name == row.name
    assert {row.absent, row.unreadable, row.invalid} <= set(CODES)


# --- exit statuses, design section 4 -----------------------------------------------------------------------------


def test_the_exit_statuses_are_the_designs() -> None:
    assert list(STATUSES) == [0, 1, 2, 3, 4, 5, 6, 130, 141, 143]
