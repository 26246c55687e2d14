"""``--region`` on every command that asks the API, and what a region that was named means for a create."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from invoking import Result, create, invoke

from faulty import KEY, TASK, rawgenai, says, serving
from rawgenai.cli import main
from rawgenai.dashscope import Spec, budget, generate, tasks
from rawgenai.dashscope.models import MODELS
from rawgenai.errors import RawgenaiError

# What is asked of nobody; and the words that a command needs to get as far as its settings.
SILENT = {("dashscope", "emulator")}
WORDS: dict[str, tuple[str, ...]] = {
    "create": ("A kitten",),
    "generate": ("A kitten", "-o", "kitten.mp4"),
    "film": ("shots.jsonl", "-o", "film.mp4"),
    "status": (TASK,),
    "wait": (TASK,),
    "download": (TASK, "-o", "kitten.mp4"),
    "cancel": (TASK,),
    "list": ("--remote",),
    "image-reference": ("A kitten", "--ref", "https://example.com/a.png"),
    "repainting": ("A kitten", "--video", "https://example.com/a.mp4", "--control", "depth"),
    "edit": ("A kitten", "--video", "https://example.com/a.mp4", "--mask", "https://example.com/a.png"),
    "extension": ("A kitten", "--first-clip", "https://example.com/a.mp4"),
    "outpainting": ("A kitten", "--video", "https://example.com/a.mp4", "--left-scale", "2"),
}
INTL = "https://dashscope-intl.aliyuncs.com/api/v1"
OWN = {("dashscope", "video", "models")}  # names a region, and asks nobody


def leaves(group: click.Group, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        elif command is not None:
            yield (*path, name), command


def _under_dashscope() -> dict[tuple[str, ...], click.Command]:
    group = main.get_command(click.Context(main), "dashscope")
    assert isinstance(group, click.Group)
    return dict(leaves(group, ("dashscope",)))


COMMANDS = _under_dashscope()
ASKING = [path for path in COMMANDS if path not in SILENT]


@pytest.mark.parametrize("path", ASKING, ids=" ".join)
def test_every_command_that_asks_the_api_has_the_flag(path: tuple[str, ...]) -> None:
    (flag,) = (param for param in COMMANDS[path].params if param.name == "region")
    assert flag.opts == ["--region"]
    assert flag.type("ap-southeast-1") == flag.type("SINGAPORE") == "singapore"


@pytest.mark.parametrize("path", [path for path in ASKING if path not in OWN], ids=" ".join)
def test_every_command_asks_the_region_that_its_flag_names(
    path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Frankfurt without a workspace cannot be asked: who says so has read the flag, whatever else is set."""
    monkeypatch.setenv("DASHSCOPE_API_KEY", KEY)
    monkeypatch.setenv("DASHSCOPE_REGION", "singapore")
    monkeypatch.chdir(tmp_path)
    Path("shots.jsonl").write_text('{"prompt": "A kitten"}', "utf-8")
    result = invoke(*path, *WORDS.get(path[-1], ()), "--region", "frankfurt")
    assert (result.status, result.code) == (3, "config_error")
    assert "`rawgenai config set dashscope_workspace ID`" in result.envelope["error"]["message"]


@pytest.mark.parametrize("path", ASKING, ids=" ".join)
@pytest.mark.parametrize("word", ["mars", ""])
def test_another_word_is_refused_with_the_right_ones(path: tuple[str, ...], word: str) -> None:
    result = invoke(*path, *WORDS.get(path[-1], ()), "--region", word)
    assert (result.status, result.code) == (2, "invalid_usage")
    assert "beijing (cn-beijing), singapore (ap-southeast-1)" in result.envelope["error"]["message"]


# --- what is sent where, and whose models and prices -----------------------------------------------------------------


def dry(*argv: str, **environ: str) -> Result:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(f"DASHSCOPE_{name}", value)
        return create("--dry-run", "A kitten", *argv)


@pytest.mark.parametrize(
    ("flag", "environ", "host"),
    [
        ((), {}, "dashscope.aliyuncs.com"),
        (("--region", "singapore"), {}, "dashscope-intl.aliyuncs.com"),
        (("--region=us-east-1",), {}, "dashscope-us.aliyuncs.com"),
        ((), {"REGION": "singapore"}, "dashscope-intl.aliyuncs.com"),
        ((), {"REGION": "frankfurt", "WORKSPACE": "ws-1"}, "ws-1.eu-central-1.maas.aliyuncs.com"),
        (("--region", "virginia"), {"BASE_URL": INTL}, "dashscope-us.aliyuncs.com"),
        (("--region", "virginia"), {"BASE_URL": "emulator"}, "emulator.localhost"),
        (("--region", "virginia"), {"BASE_URL": "http://127.0.0.1:1/api/v1"}, "127.0.0.1:1"),
    ],
)  # fmt: skip
def test_a_request_goes_to_the_regions_host(flag: tuple[str, ...], environ: dict[str, str], host: str) -> None:
    result = dry(*flag, **environ)
    assert result.status == 0
    assert result.envelope["request"]["url"].split("/")[2] == host


def price(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = result.envelope["list_price"]
    return {name: found[name] for name in ("per_second", "region", "region_assumed") if name in found}


@pytest.mark.parametrize("base_url", ["", "emulator", "http://127.0.0.1:1/api/v1", "https://gateway.example.com/v1"])
@pytest.mark.parametrize("how", ["flag", "setting"])
def test_a_clip_costs_what_it_costs_in_the_region_that_was_named(how: str, base_url: str) -> None:
    # Reference 2.3: wan2.6-t2v, 720P, in Singapore.
    said = ("--region", "singapore") if how == "flag" else ()
    environ = {"BASE_URL": base_url} | ({} if said else {"REGION": "singapore"})
    assert price(dry(*said, **environ)) == {"per_second": 0.733924, "region": "singapore"}


def test_without_a_region_the_emulators_price_is_assumed() -> None:
    assert price(dry(BASE_URL="emulator")) == {"per_second": 0.6, "region": "beijing", "region_assumed": True}


def test_a_known_host_says_more_than_a_setting() -> None:
    result = dry(BASE_URL=INTL, REGION="beijing")
    assert price(result) == {"per_second": 0.733924, "region": "singapore"}


def test_a_budget_is_kept_by_the_prices_of_the_region() -> None:
    limit = ("--max-cost", "3.1")  # 5 s are 3 CNY in Beijing and 3.66962 in Singapore
    assert dry(*limit).status == 0
    assert dry(*limit, "--region", "singapore").code == "over_budget"


REFUSED = [
    # The 2.1 models have two spellings.
    ("singapore", ("-m", "wanx2.1-t2v-turbo"),
     "wanx2.1-t2v-turbo is not offered in singapore, where it is spelled so: --model wan2.1-t2v-turbo"),
    ("beijing", ("-m", "wan2.1-t2v-plus"),
     "wan2.1-t2v-plus is not offered in beijing, where it is spelled so: --model wanx2.1-t2v-plus"),
    ("virginia", ("-m", "wan2.1-t2v-plus"),
     ("wan2.1-t2v-plus is not offered in virginia, only in singapore;"
      " for t2v there is --model wan2.6-t2v or wan2.6-t2v-us or happyhorse-1.0-t2v")),
    ("beijing", ("-m", "wan2.6-t2v-us"), "wan2.6-t2v-us is not offered in beijing, only in virginia; for t2v there is"),
    # A default model is no exception: another one is not chosen in silence.
    ("virginia", ("--image", "https://example.com/a.png"),
     ("wan2.6-i2v-flash is not offered in virginia, only in beijing, singapore;"
      " for i2v there is --model wan2.6-i2v or wan2.6-i2v-us or happyhorse-1.0-i2v")),
    ("virginia", ("--first-frame", "https://example.com/a.png"), "wan2.2-kf2v-flash is not offered in virginia"),
]  # fmt: skip


@pytest.mark.parametrize(("region", "argv", "said"), REFUSED)
@pytest.mark.parametrize("base_url", ["", "emulator"])
def test_a_model_that_is_not_offered_in_the_named_region_is_refused(
    region: str, argv: tuple[str, ...], said: str, base_url: str
) -> None:
    for result in (dry(*argv, "--region", region, BASE_URL=base_url), dry(*argv, REGION=region, BASE_URL=base_url)):
        assert (result.status, result.code) == (2, "invalid_model")
        assert result.envelope["error"]["message"].startswith(said)


@pytest.mark.parametrize(("region", "argv", "said"), REFUSED)
def test_a_refusal_comes_before_anything_is_sent_or_written(
    region: str, argv: tuple[str, ...], said: str, tmp_path: Any
) -> None:
    with serving(says({})) as server:
        run = rawgenai(server.url, "dashscope", "video", "create", "A kitten", *argv, "--region", region)
    assert (run.status, run.error["code"], server.connections) == (2, "invalid_model", 0)
    assert not os.path.lexists(tmp_path / "state")


@pytest.mark.parametrize("command", ["create", "generate"])
def test_the_region_objects_before_the_budget_does(command: str) -> None:
    argv = ("A", "-m", "wan2.1-t2v-plus", "--max-cost", "0", "--region", "beijing")
    assert invoke("dashscope", "video", command, *argv).code == "invalid_model"


def test_generate_and_the_python_api_refuse_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    result = invoke(
        "dashscope", "video", "generate", "A", "-m", "wan2.1-t2v-plus", "-o", "a.mp4", "--region", "beijing"
    )
    assert (result.status, result.code) == (2, "invalid_model")
    monkeypatch.setenv("DASHSCOPE_REGION", "beijing")
    for call in (tasks.create, generate):
        with pytest.raises(RawgenaiError, match=r"--model wanx2\.1-t2v-plus") as caught:
            call(Spec("A kitten", model="wan2.1-t2v-plus"))
        assert caught.value.code == "invalid_model"


def test_where_sources_differ_a_model_is_warned_of() -> None:
    argv = ("--first-frame", "https://example.com/a.png", "--region", "singapore")
    result = dry(*argv)
    assert result.status == 0
    assert result.err == (
        "warning: whether wan2.2-kf2v-flash is offered in singapore is not certain: the sources differ\n"
    )
    assert dry(*argv, "--strict").code == "invalid_model"


@pytest.mark.parametrize(
    ("base_url", "model", "warning"),
    [
        (INTL, "wanx2.1-t2v-plus",
         ("wanx2.1-t2v-plus is not offered in singapore, where it is spelled wan2.1-t2v-plus,"
          " as far as is known (it is in beijing)")),
        ("", "wan2.6-t2v-us", "wan2.6-t2v-us is not offered in beijing, as far as is known (it is in virginia)"),
    ],
)  # fmt: skip
def test_of_a_region_that_nobody_named_there_is_a_warning(base_url: str, model: str, warning: str) -> None:
    result = dry("-m", model, BASE_URL=base_url)
    assert (result.status, result.err) == (0, f"warning: {warning}\n")


@pytest.mark.parametrize("base_url", ["emulator", "http://127.0.0.1:1/api/v1", "https://gateway.example.com/v1"])
def test_where_nobody_knows_the_region_nothing_is_refused_nor_warned_of(base_url: str) -> None:
    for model in ("wanx2.1-t2v-plus", "wan2.1-t2v-plus", "wan2.6-t2v-us"):
        result = dry("-m", model, BASE_URL=base_url)
        assert (result.status, result.err) == (0, "")


def test_a_bill_takes_the_region_only_where_the_base_url_is_silent() -> None:
    row = MODELS["wan2.6-t2v"]
    assert budget.bill(Spec("a"), row, INTL, region="beijing").region == "singapore"
    assert budget.bill(Spec("a"), row, "emulator", region="virginia").region == "virginia"


# --- config ----------------------------------------------------------------------------------------------------------


def test_a_region_is_set_shown_and_in_force() -> None:
    assert invoke("config", "set", "dashscope_region", "ap-southeast-1").status == 0
    assert invoke("config", "get", "dashscope_region").envelope["value"] == "singapore"
    assert invoke("config", "list").envelope["config"]["dashscope_region"] == "singapore"
    got = invoke("config", "get", "dashscope_base_url", "-v").envelope
    assert got["value"] == INTL
    assert got["source"].startswith("region singapore by config file ")
    assert dry().envelope["request"]["url"].startswith("https://dashscope-intl.aliyuncs.com/")


def test_check_says_which_region_it_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHSCOPE_BASE_URL", "emulator")
    found = invoke("dashscope", "check", "--region", "virginia").envelope
    assert (found["base_url"], found["region"], found["emulator"]) == ("emulator", "virginia", True)


def test_who_goes_on_by_hand_is_told_the_region() -> None:
    from rawgenai.cli.wait import how_to_go_on

    assert how_to_go_on(["task-1"], None, "singapore").endswith("video wait task-1 --region singapore")
