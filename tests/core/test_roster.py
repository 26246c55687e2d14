"""Rows of the user's own: what models.json may hold, what is said of it where it is wrong, and when it is read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rawgenai.cli import run
from rawgenai.config import Settings
from rawgenai.dashscope import loading, roster, submitting, wire
from rawgenai.dashscope.models import MODELS, Limits, Model
from rawgenai.dashscope.spec import Spec
from rawgenai.errors import RawgenaiError

Write = Callable[[Any], Path]
WHOLE = {
    "mode": "t2v",
    "series": "wan9",
    "resolutions": ["720P"],
    "durations": [5, 10],
    "prompt_limit": 100,
    "regions": ["beijing"],
}


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Put a file of models into the config folder, as JSON or as the text that it is."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "rawgenai").mkdir()

    def written(content: Any) -> Path:
        file = tmp_path / "rawgenai" / "models.json"
        file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return file

    return written


def test_a_row_that_says_all_is_a_model(write: Write) -> None:
    write({"wan9-t2v": WHOLE})
    model, warnings = roster.select(Spec("a", model="wan9-t2v"))
    assert (model, warnings) == (
        Model(
            name="wan9-t2v",
            mode="t2v",
            series="wan9",
            resolutions=("720P",),
            durations=(5, 10),
            prompt_limit=100,
            regions=("beijing",),
        ),
        [],
    )


def test_a_row_takes_what_it_does_not_say_from_one_of_the_table(write: Write) -> None:
    limits = {"audio": {"formats": ["audio/wav"], "bytes": 1000, "seconds": [1, 60]}}
    write({"wan2.8-t2v": {"like": "wan2.7-t2v", "durations": [2, 20], "prices": {"beijing": {"720P": "0.5"}}} | {
        "features": ["sound"], "limits": limits, "default_ratio": None, "also": ["i2v"],
    }})  # fmt: skip
    model = roster.rows_for("wan2.8-t2v")["wan2.8-t2v"]
    assert model == MODELS["wan2.7-t2v"]._replace(
        name="wan2.8-t2v",
        durations=(2, 20),
        prices={"beijing": {"720P": "0.5"}},
        features=frozenset({"sound"}),
        limits={"audio": Limits(("audio/wav",), 1000, seconds=(1, 60))},
        default_ratio=None,
        also=("i2v",),
    )


def test_every_row_of_the_table_could_stand_in_the_file(write: Write) -> None:
    from pydantic import TypeAdapter

    cells_of = TypeAdapter(Model).dump_python
    rows = {
        f"my-{name}": dict(zip(Model._fields, cells_of(row, mode="json"), strict=True)) for name, row in MODELS.items()
    }
    for cells in rows.values():
        del cells["name"]
        cells["limits"] = {
            kind: dict(zip(Limits._fields, limits, strict=True)) for kind, limits in cells["limits"].items()
        }
    write(rows)
    found = roster.all_rows()
    assert {name: found[f"my-{name}"]._replace(name=name) for name in MODELS} == MODELS


def test_a_model_of_the_file_is_asked_for_as_its_row_says(write: Write) -> None:
    write({"wan9-i2v": {"like": "wan2.7-i2v"}})
    spec = Spec(image="https://example.com/a.png", model="wan9-i2v")
    loaded, model, _ = loading.prepare(spec)
    body: Any = wire.create_request(loaded, model).body
    assert body["model"] == "wan9-i2v"
    assert body["input"]["media"] == [{"type": "first_frame", "url": "https://example.com/a.png"}]
    assert submitting.order(spec, Settings(None, None, "emulator", "test"))[0].model.name == "wan9-i2v"


def test_the_example_on_the_page_is_read(write: Write) -> None:
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    write(page.partition("```json\n")[2].partition("```")[0])
    assert set(roster.all_rows()) - set(MODELS) == {"wan2.8-t2v", "wan9-i2v"}
    spec = Spec(first_frame="https://e.org/a.png", last_frame="https://e.org/b.png", model="wan9-i2v")
    assert roster.select(spec)[1] == []


def test_the_rules_judge_by_the_row_of_the_file(write: Write) -> None:
    write({"wan9-t2v": WHOLE})
    with pytest.raises(RawgenaiError) as caught:
        roster.select(Spec("a", model="wan9-t2v", duration=6))
    assert caught.value.message == "--duration 6: wan9-t2v offers 5, 10 seconds"


# --- when it is read -----------------------------------------------------------------------------------------------


def test_the_file_is_not_read_for_a_model_of_the_table(write: Write) -> None:
    write("this is no JSON")
    assert roster.select(Spec("a"))[0].name == "wan2.6-t2v"
    assert roster.select(Spec("a", model="wan2.7-t2v"))[0].name == "wan2.7-t2v"
    with pytest.raises(RawgenaiError):
        roster.select(Spec("a", model="wan9"))


def test_a_row_of_the_table_wins_over_the_files(write: Write) -> None:
    write({"wan2.7-t2v": WHOLE, "wan9-t2v": WHOLE})
    assert roster.all_rows()["wan2.7-t2v"] is MODELS["wan2.7-t2v"]


def test_without_a_file_the_table_is_all_there_is(write: Write) -> None:
    assert roster.all_rows() is MODELS
    with pytest.raises(RawgenaiError) as caught:
        roster.select(Spec("a", model="wan2.7-tv"))
    assert (caught.value.code, "did you mean wan2.7-t2v" in caught.value.message) == ("invalid_model", True)


def test_the_nearest_name_may_be_the_files(write: Write) -> None:
    write({"wan9-t2v": WHOLE})
    with pytest.raises(RawgenaiError) as caught:
        roster.select(Spec("a", model="wan9-tv2"))
    assert "did you mean wan9-t2v" in caught.value.message


def test_no_home_folder_is_no_file() -> None:
    assert roster.all_rows({}) is MODELS


# --- what is wrong -------------------------------------------------------------------------------------------------

CELLS: list[tuple[str, Any, str]] = [  # a cell, a value that it cannot have, and where that is
    ("mode", "t3v", "mode"),
    ("mode", None, "mode"),
    ("also", ["x"], "also.0"),
    ("series", 9, "series"),
    ("dialect", "classical", "dialect"),
    ("resolutions", [], "resolutions"),
    ("resolutions", ["720p"], "resolutions.0"),
    ("resolutions", "720P", "resolutions"),
    ("durations", ["5"], "durations.0"),
    ("durations", [5.5], "durations.0"),
    ("durations", [True], "durations.0"),
    ("durations", [-2], "durations.0"),
    ("default_duration", 1e9, "default_duration"),
    ("prompt_limit", 0, "prompt_limit"),
    ("cjk_limit", 0, "cjk_limit"),
    ("regions", ["tokyo"], "regions.0"),
    ("regions", [], "regions"),
    ("features", ["loud"], "features.0"),
    ("minutes", [1], "minutes.1"),
    ("limits", {"smell": {"formats": [], "bytes": 1}}, "limits.smell.[key]"),
    ("limits", {"image": {"bytes": 1}}, "limits.image.formats"),
    ("max_refs", -1, "max_refs"),
    ("prices", {"beijing": {"720P": 0.5}}, "prices.beijing.720P"),
    ("prices", {"beijing": {"720P": "cheap"}}, "prices.beijing.720P"),
    ("prices", {"tokyo": {}}, "prices.tokyo.[key]"),
    ("silent_prices", {"beijing": {"4K": "1"}}, "silent_prices.beijing.4K.[key]"),
    ("media", [["last_clip"]], "media.0.0"),
    ("audio_type", "noise", "audio_type"),
    ("ratios", ["wide"], "ratios.0"),
    ("default_ratio", "0:1", "default_ratio"),
    ("follows", ["me"], "follows.0"),
    ("pixels", {"720P": {"16:9": "1280x720"}}, "pixels.720P.16:9"),
    ("needs_prompt", "maybe", "needs_prompt"),
    ("billed_input", "twice", "billed_input"),
    ("fps", 0, "fps"),
    ("total_seconds", "30", "total_seconds"),
]
WRONG: list[tuple[Any, str]] = [
    ("nothing", "is not JSON that can be read: "),
    ('{"a": 1, "a": 2}', "is not JSON that can be read: a key stands twice"),
    ("[]", "does not hold a JSON object of rows by name"),
    ({"wan9": 5}, "wan9: Input should be an object"),
    ({"": WHOLE}, "names a model ''"),
    ({"a/b": WHOLE}, "names a model 'a/b'"),
    ({"a b": WHOLE}, "names a model 'a b'"),
    ({"x" * 129: WHOLE}, "names a model 'xxx"),
    ({"wan9": {}}, "wan9.mode: Field required"),
    ({"wan9": WHOLE | {"colour": "red"}}, "wan9.colour: Extra inputs are not permitted"),
    ({"wan9": WHOLE | {"name": "wan8"}}, "wan9.name: Extra inputs are not permitted"),
    ({"wan9": {"like": "wan2.7"}}, "wan9.like: 'wan2.7' is no model of the table"),
    ({"wan9": {"like": ["wan2.7-t2v"]}}, "wan9.like: \"['wan2.7-t2v']\" is no model"),
    ({"wan9": {"like": "wan2.7-t2v", "like2": 1}}, "wan9.like2: Extra"),
    ({"wan9": WHOLE | {"ratios": ["16:9", "2:1"]}}, "wan9.ratios: there are no sizes of 2:1 for 720P"),
    ({"wan9": WHOLE | {"resolutions": ["480P"], "ratios": ["4:3"]}}, "wan9.ratios: there are no sizes of 4:3"),
    *(({"wan9": WHOLE | {cell: value}}, f"wan9.{where}: ") for cell, value, where in CELLS),
]


@pytest.mark.parametrize(("content", "said"), WRONG)
def test_a_wrong_file_is_a_config_error_that_names_file_and_field(write: Write, content: Any, said: str) -> None:
    file = write(content)
    with pytest.raises(RawgenaiError) as caught:
        roster.select(Spec("a", model="wan9"))
    assert caught.value.code == "config_error"
    assert str(file) in caught.value.message
    assert said in caught.value.message


def test_a_file_that_is_not_utf8_or_too_large_is_refused(write: Write) -> None:
    file = write("")
    for content, said in ((b"\xff\xfe", "is not JSON"), (b" " * (1024 * 1024 + 1), "is larger than 1048576 bytes")):
        file.write_bytes(content)
        with pytest.raises(RawgenaiError) as caught:
            roster.all_rows()
        assert (caught.value.code, said in caught.value.message) == ("config_error", True)


def test_a_folder_in_its_place_is_a_config_error(write: Write) -> None:
    file = write("")
    file.unlink()
    file.mkdir()
    with pytest.raises(RawgenaiError) as caught:
        roster.all_rows()
    assert caught.value.code == "config_error"


# --- the commands --------------------------------------------------------------------------------------------------


def test_models_shows_where_a_row_comes_from(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    file = write({"wan9-t2v": {"like": "wan2.7-t2v"}})
    assert run(("dashscope", "video", "models")) == 0
    found = {model["name"]: model["source"] for model in json.loads(capsys.readouterr().out)["models"]}
    assert found == dict.fromkeys(MODELS, "built in") | {"wan9-t2v": str(file)}
    assert run(("dashscope", "video", "models", "wan9-t2v")) == 0
    assert json.loads(capsys.readouterr().out)["models"][0]["source"] == str(file)


def test_create_asks_for_a_model_of_the_file(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    write({"wan9-t2v": {"like": "wan2.7-t2v"}})
    assert run(("dashscope", "video", "create", "a", "-m", "wan9-t2v", "--ratio", "3:4", "--dry-run", "-q")) == 0
    body = json.loads(capsys.readouterr().out)["request"]["body"]
    assert (body["model"], body["parameters"]["ratio"]) == ("wan9-t2v", "3:4")
