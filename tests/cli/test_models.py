"""The table of models: an envelope for programs that has every cell, and a table that fits a person's terminal."""

import os
import re
import subprocess
import sys
from typing import Any

import pytest
from invoking import Result, invoke
from terminal import COLUMNS, at_terminal, play

from rawgenai.dashscope.models import DEFAULT_MODELS, MODELS, MODES, Model
from rawgenai.regions import REGIONS

MODELS_COMMAND = ("dashscope", "video", "models")


def models(*argv: str) -> Result:
    return invoke(*MODELS_COMMAND, *argv)


def names(result: Result) -> list[str]:
    return [model["name"] for model in result.envelope["models"]]


# --- for programs ------------------------------------------------------------------------------------------------


def test_every_row_is_in_the_envelope_in_the_order_of_the_table() -> None:
    result = models()
    assert (result.status, result.err) == (0, "")
    assert list(result.envelope) == ["success", "models"]
    assert names(result) == list(MODELS)


LISTED = {model["name"]: model for model in models().envelope["models"]}


@pytest.mark.parametrize("row", MODELS.values(), ids=lambda row: row.name)
def test_a_model_says_what_its_row_has(row: Model) -> None:
    said = LISTED[row.name]
    for name in ("mode", "series", "prompt_limit", "cjk_limit", "sound", "default_resolution", "default_duration"):
        assert said.get(name) == getattr(row, name), name
    for name in ("total_seconds", "input_seconds"):
        assert said.get(name) == getattr(row, name), name
    assert said.get("video_durations", []) == list(row.video_durations)
    for name in ("resolutions", "sizes", "durations", "regions"):
        assert said[name] == list(getattr(row, name)), name
    assert set(said["features"]) == row.features
    assert said["usual_minutes"] == list(row.minutes)
    assert said["default"] is (row.name in DEFAULT_MODELS.values())
    assert said.get("max_refs", 0) == row.max_refs
    assert said.get("max_ref_videos", 0) == row.max_ref_videos
    assert said["limits"].keys() == row.limits.keys()
    assert None not in said.values()


@pytest.mark.parametrize("row", MODELS.values(), ids=lambda row: row.name)
def test_every_limit_of_a_file_is_told(row: Model) -> None:
    for kind, limits in row.limits.items():
        stated = {name for name, value in limits._asdict().items() if value is not None}
        assert LISTED[row.name]["limits"][kind].keys() == stated - ({"alpha"} if kind != "image" else set())


@pytest.mark.parametrize("row", MODELS.values(), ids=lambda row: row.name)
def test_a_price_has_its_currency_its_date_and_a_warning(row: Model) -> None:
    said = LISTED[row.name]["list_price"]
    assert (said["currency"], said["as_of"], said["note"]) == ("CNY", "2026-05", "check the price page")
    for key, prices in (("per_second", row.prices), ("per_second_silent", row.silent_prices)):
        expected = {region: {tier: float(price) for tier, price in tiers.items()} for region, tiers in prices.items()}
        assert said.get(key, {}) == expected


def test_a_row_without_a_price_says_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    free = MODELS["wan2.6-t2v"]._replace(prices={})
    monkeypatch.setitem(MODELS, free.name, free)
    assert "list_price" not in models(free.name).envelope["models"][0]


WRITTEN: dict[str, Any] = {  # as it stands in the documents
    "name": "wan2.6-r2v-flash",
    "mode": "r2v",
    "series": "wan2.6",
    "source": "built in",
    "default": True,
    "resolutions": ["720P", "1080P"],
    "default_resolution": "720P",
    "sizes": [
        *("1280*720", "720*1280", "960*960", "1088*832", "832*1088"),
        *("1920*1080", "1080*1920", "1440*1440", "1632*1248", "1248*1632"),
    ],
    "durations": [2, 3, 4, 5, 6, 7, 8, 9, 10],
    "default_duration": 5,
    "features": ["negative", "no_audio", "shot_type", "sound"],
    "sound": "unless --no-audio",
    "regions": ["beijing", "singapore"],
    "prompt_limit": 1500,
    "max_refs": 5,
    "max_ref_videos": 3,
    "limits": {
        "image": {
            "formats": ["JPEG", "PNG", "BMP", "WEBP"],
            "bytes": 20971520,
            "sides": [240, 8000],
            "alpha": False,
            "usual_bytes": 10485760,
            "usual_sides": [240, 5000],
        },
        "video": {"formats": ["MP4", "MOV"], "bytes": 104857600, "seconds": [1, 30]},
    },
    "usual_minutes": [1, 5],
    "list_price": {
        "currency": "CNY",
        "per_second": {
            "beijing": {"720P": 0.3, "1080P": 0.5},
            "singapore": {"720P": 0.366962, "1080P": 0.550443},
        },
        "per_second_silent": {
            "beijing": {"720P": 0.15, "1080P": 0.25},
            "singapore": {"720P": 0.183481, "1080P": 0.275221},
        },
        "as_of": "2026-05",
        "note": "check the price page",
    },
}


def test_one_model_is_the_same_as_in_the_list() -> None:
    assert models("wan2.6-r2v-flash").envelope == {"success": True, "models": [WRITTEN]}
    assert LISTED["wan2.6-r2v-flash"] == WRITTEN


@pytest.mark.parametrize(
    ("model", "sound", "default_resolution"),
    [
        ("wan2.6-i2v-flash", "with --audio", "720P"),
        ("wan2.6-t2v", "always", "720P"),
        ("wan2.5-i2v-preview", "always", "720P"),
        ("wan2.2-i2v-plus", "never", None),  # it has no 720P, and nothing that costs is chosen in silence
    ],
)
def test_what_the_cells_mean_together(model: str, sound: str, default_resolution: str | None) -> None:
    assert LISTED[model]["sound"] == sound
    assert LISTED[model].get("default_resolution") == default_resolution


@pytest.mark.parametrize("mode", MODES)
def test_the_models_of_a_mode(mode: str) -> None:
    assert names(models("--mode", mode)) == [row.name for row in MODELS.values() if mode in row.modes]


@pytest.mark.parametrize("region", REGIONS)
def test_the_models_of_a_region(region: str) -> None:
    assert names(models("--region", region)) == [row.name for row in MODELS.values() if region in row.regions]


def test_filters_add_up_to_nothing_too() -> None:
    found = ["wan2.6-i2v", "wan2.6-i2v-us", "happyhorse-1.0-i2v", "happyhorse-1.1-i2v"]
    assert names(models("--mode", "i2v", "--region", "virginia")) == found
    assert models("--mode", "vace", "--region", "virginia").envelope == {"success": True, "models": []}


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["wan2.6-i2v-flsh"], "invalid_model", "'wan2.6-i2v-flsh' is no known model; did you mean wan2.6-i2v-flash"),
        (["WAN2.6"], "invalid_model", "; the models are wan2.6-t2v, "),
        ([""], "invalid_model", "'' is no known model"),
        (["--mode", "T2V"], "invalid_usage", "--mode 'T2V' is not one of t2v, i2v, r2v, kf2v, vace"),
        (
            ["--region", "tokyo"],
            "invalid_usage",
            "'tokyo' is not one of beijing (cn-beijing), singapore (ap-southeast-1), virginia (us-east-1), frankfurt",
        ),
        (["wan2.6-t2v", "wan2.6-i2v"], "invalid_usage", "unexpected extra argument"),
    ],
)
def test_a_wrong_word_is_refused_with_the_right_ones(argv: list[str], code: str, said: str) -> None:
    result = models(*argv)
    assert (result.status, result.code) == (2, code)
    assert said in result.envelope["error"]["message"]


def test_no_setting_is_read_and_rich_is_not_loaded_where_nothing_is_drawn() -> None:
    code = (
        "import sys; from rawgenai.cli import run; run(['dashscope', 'video', 'models']);"
        " print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert names(Result(0, done.stdout, "")) == list(MODELS)
    assert not {"rich", "httpx", "pydantic", "sqlite3", "decimal"} & set(done.stderr.split())


# --- for people --------------------------------------------------------------------------------------------------

_ESCAPE = re.compile(r"\x1b\[[\d;]*m")


def screen(*argv: str, columns: int = COLUMNS, **more: str) -> list[str]:
    """What a terminal shows; nothing is written beyond its last column."""
    run, drawn = at_terminal("emulator", *MODELS_COMMAND, *argv, both=True, more={"COLUMNS": str(columns), **more})
    assert run.status == 0
    played = play(drawn)
    assert played.widest <= columns
    return played.lines


posix = pytest.mark.skipif(os.name != "posix", reason="pseudo terminals are POSIX")
pytestmark = pytest.mark.platform


@posix
@pytest.mark.parametrize("argv", [(), ("--region", "singapore"), ("--mode", "r2v")], ids=" ".join)
def test_40_columns_hold_a_table_with_each_model_each_tier_and_its_price(argv: tuple[str, ...]) -> None:
    lines = screen(*argv)
    text = "\n".join(lines)
    for name in names(models(*argv)):
        row = MODELS[name]
        (at,) = (number for number, line in enumerate(lines) if re.fullmatch(rf"{re.escape(name)}( \*)?", line))
        at += 1 + (lines[at + 1].split()[0] == "s")  # below the name, or the heads below the first name of a mode
        region = "singapore" if argv[:1] == ("--region",) else row.regions[0]
        for line, tier in zip(lines[at:], row.resolutions, strict=False):
            price = row.prices.get(region, {}).get(tier)
            _, _, said = f"{line} ".partition(f" {tier} ")
            assert f" {tier} " in f"{line} ", name
            if price is not None:
                assert float(said.split()[0].rpartition("/")[2]) == pytest.approx(float(price), abs=5e-4), name
    assert re.search(r"Too narrow for: (Sound, )?Regions\.", " ".join(lines))
    assert "  rawgenai dashscope video models MODEL" in lines
    assert "check the price page" in " ".join(lines)
    assert "2026-05" in text


@posix
def test_40_columns_break_no_word() -> None:
    """Each word on the screen is one that a wide screen has too."""
    wide = set(" ".join(screen(columns=300)).replace(",", " ").split())
    narrow = set(" ".join(screen(columns=40)).replace(",", " ").split())
    assert narrow - wide <= {"s", "Too", "narrow", "for:", "Regions."}


@posix
def test_a_wide_terminal_has_a_line_a_model_with_all_columns() -> None:
    lines = screen(columns=150)
    heads = [line.split() for line in lines if line.startswith("Model")]
    assert heads == [["Model", "Seconds", "CNY/s", "Sound", "Regions"]] * len(MODES)
    assert "Too narrow" not in " ".join(lines)
    (flash,) = (line for line in lines if line.startswith("wan2.6-i2v-flash "))
    assert re.split(" {2,}", flash) == [
        "wan2.6-i2v-flash *", "2-15", "720P 0.15/0.3, 1080P 0.25/0.5", "with --audio", "beijing, singapore",
    ]  # fmt: skip
    assert sum(line.startswith(("wan", "happyhorse")) for line in lines) == len(MODELS)


@posix
@pytest.mark.parametrize("columns", [1, 10, 20, 39, 41, 79, 80])
def test_no_width_is_overrun(columns: int) -> None:
    assert screen(columns=columns)


@posix
def test_a_mode_has_its_name_in_chinese_too() -> None:
    assert [line for line in screen() if line.split()[0] in MODES] == [
        "  ".join((mode, *words)) for mode, words in MODES.items()
    ]


@posix
def test_one_model_at_40_columns() -> None:
    text = " ".join(" ".join(screen("wan2.6-r2v-flash")).split())
    for part in (
        "name wan2.6-r2v-flash",
        "mode r2v (reference to video, 参考生视频)",
        "resolutions 720P (default), 1080P",
        "1248*1632",
        "durations 2-10 s (default: 5)",
        "sound unless --no-audio",
        "max ref videos 3",
        "video: MP4, MOV; up to 100 MB; 1-30 s",
        "usual minutes 1-5",
        "list price beijing: 720P 0.15/0.3, 1080P 0.25/0.5 singapore: 720P 0.183481/0.366962,",
        "CNY a second, as of 2026-05: check the price page",
    ):
        assert part in text
    assert "default resolution" not in text


@posix
@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("wanx2.1-vace-plus", "MP4; up to 50 MB; 16 or more frames a second"),
        ("wan2.7-r2v", "2-10 s beside a reference video"),
        ("wan2.7-r2v", "no side over 8 times the other; no transparency"),
    ],
)
def test_one_model_has_its_limits_on_the_page(model: str, said: str) -> None:
    assert any(said in line for line in screen(model, columns=200))


@posix
def test_a_terminal_gets_the_envelope_when_it_asks_for_it() -> None:
    run, drawn = at_terminal("emulator", *MODELS_COMMAND, "--json", "--mode", "kf2v", both=True)
    assert run.status == 0
    assert names(Result(0, drawn.decode(), "")) == names(models("--mode", "kf2v"))
    assert drawn.count(b"\n") > 10  # indented


@posix
def test_no_model_is_said_in_words() -> None:
    assert screen("--mode", "vace", "--region", "virginia") == ["No model is like that."]


@posix
def test_a_dumb_terminal_gets_plain_text() -> None:
    _, drawn = at_terminal("emulator", *MODELS_COMMAND, both=True, more={"TERM": "dumb"})
    assert b"\x1b" not in drawn
    assert "wan2.6-t2v *" in drawn.decode()


@posix
def test_no_colour_is_used_at_all() -> None:
    _, drawn = at_terminal("emulator", *MODELS_COMMAND, both=True)
    assert set(_ESCAPE.findall(drawn.decode())) <= {"\x1b[0m", "\x1b[1m", "\x1b[1;2m"}
