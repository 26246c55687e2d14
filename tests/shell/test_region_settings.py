"""A region becomes a base URL: who wins, workspaces, and what the settings then say of the region."""

import json
import os
from pathlib import Path

import pytest

from conftest import CANARY
from rawgenai import config
from rawgenai.errors import RawgenaiError

BEIJING, SINGAPORE, VIRGINIA = (f"https://dashscope{part}.aliyuncs.com/api/v1" for part in ("", "-intl", "-us"))
GATEWAY, LOCAL, EMULATOR = "https://gateway.example.com/v1", "http://127.0.0.1:8900/api/v1", "emulator"

# flag | environment | config file -> base URL, where it comes from, the region, the region that somebody named.
# U is a base URL, R a region, W a workspace.
CASES = [
    # One at a time.
    (None, "", "", BEIJING, "default", "beijing", None),
    (None, "", "R=singapore", SINGAPORE, "region singapore by config file", "singapore", "singapore"),
    (None, "R=virginia", "", VIRGINIA, "region virginia by environment DASHSCOPE_REGION", "virginia", "virginia"),
    (None, "R=us-east-1", "", VIRGINIA, "region virginia by environment DASHSCOPE_REGION", "virginia", "virginia"),
    ("singapore", "", "", SINGAPORE, "region singapore by --region", "singapore", "singapore"),
    ("ap-southeast-1", "", "", SINGAPORE, "region singapore by --region", "singapore", "singapore"),
    ("beijing", "", "", BEIJING, "region beijing by --region", "beijing", "beijing"),
    (None, "", f"U={SINGAPORE}", SINGAPORE, "config file", "singapore", None),
    (None, f"U={SINGAPORE}", "", SINGAPORE, "environment DASHSCOPE_BASE_URL", "singapore", None),
    # One above the other.
    (None, "R=virginia", "R=singapore", VIRGINIA, "region virginia by environment", "virginia", "virginia"),
    (None, "R= ", "R=singapore", SINGAPORE, "region singapore by config file", "singapore", "singapore"),
    (None, f"U={VIRGINIA}", f"U={SINGAPORE}", VIRGINIA, "environment", "virginia", None),
    (None, f"U={VIRGINIA}", "R=singapore", VIRGINIA, "environment", "virginia", None),
    (None, f"U={VIRGINIA} R=singapore", "", VIRGINIA, "environment", "virginia", None),
    (None, "R=virginia", f"U={SINGAPORE}", SINGAPORE, "config file", "singapore", None),
    ("virginia", "R=singapore", "R=beijing", VIRGINIA, "region virginia by --region", "virginia", "virginia"),
    ("virginia", f"U={SINGAPORE}", "", VIRGINIA, "region virginia by --region", "virginia", "virginia"),
    ("virginia", "", f"U={SINGAPORE}", VIRGINIA, "region virginia by --region", "virginia", "virginia"),
    # A base URL that is no region's host: the region is for checks alone; the flag asks the region all the same.
    (None, f"U={GATEWAY}", "", GATEWAY, "environment", None, None),
    (None, f"U={GATEWAY}", "R=singapore", GATEWAY, "environment", "singapore", "singapore"),
    (None, "R=virginia", f"U={GATEWAY}", GATEWAY, "config file", "virginia", "virginia"),
    ("virginia", f"U={GATEWAY}", "", VIRGINIA, "region virginia by --region", "virginia", "virginia"),
    # A stand-in stays, whoever names a region.
    (None, f"U={EMULATOR}", "", EMULATOR, "environment", None, None),
    (None, f"U={EMULATOR}", "R=singapore", EMULATOR, "environment", "singapore", "singapore"),
    ("virginia", f"U={EMULATOR}", "R=singapore", EMULATOR, "environment", "virginia", "virginia"),
    ("virginia", "", f"U={EMULATOR}", EMULATOR, "config file", "virginia", "virginia"),
    ("virginia", f"U={LOCAL}", "", LOCAL, "environment", "virginia", "virginia"),
    ("frankfurt", f"U={LOCAL}", "", LOCAL, "environment", "frankfurt", "frankfurt"),
    # Workspaces.
    (None, "W=ws-1", "", "https://ws-1.cn-beijing.maas.aliyuncs.com/api/v1", "default", "beijing", None),
    (None, "", "R=frankfurt W=ws-1", "https://ws-1.eu-central-1.maas.aliyuncs.com/api/v1",
     "region frankfurt by config file", "frankfurt", "frankfurt"),
    (None, "W=two", "R=singapore W=one", "https://two.ap-southeast-1.maas.aliyuncs.com/api/v1",
     "region singapore by config file", "singapore", "singapore"),
    ("virginia", "W=ws-1", "", "https://ws-1.us-east-1.maas.aliyuncs.com/api/v1",
     "region virginia by --region", "virginia", "virginia"),
    ("frankfurt", "W=ws-1", f"U={SINGAPORE}", "https://ws-1.eu-central-1.maas.aliyuncs.com/api/v1",
     "region frankfurt by --region", "frankfurt", "frankfurt"),
    (None, f"W=ws-1 U={SINGAPORE}", "", SINGAPORE, "environment", "singapore", None),
]  # fmt: skip
NAMES = {"U": "dashscope_base_url", "R": "dashscope_region", "W": "dashscope_workspace"}


def words(said: str) -> dict[str, str]:
    """Read "R=singapore W=one" as settings; a value may be blank."""
    return {NAMES[name]: value for name, _, value in (word.partition("=") for word in said.split(" ") if word)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The config file, not there yet; its folder is."""
    (tmp_path / "config" / "rawgenai").mkdir(parents=True)
    return tmp_path / "config" / "rawgenai" / "config.json"


def environ(said: str = "") -> dict[str, str]:
    return {**os.environ, "DASHSCOPE_API_KEY": CANARY, **{name.upper(): value for name, value in words(said).items()}}


@pytest.mark.parametrize(("flag", "env", "stored", "url", "source", "region", "named"), CASES)
def test_who_says_where_to_ask(  # noqa: PLR0917 - the columns of the table
    file: Path, flag: str | None, env: str, stored: str, url: str, source: str, region: str | None, named: str | None
) -> None:
    file.write_text(json.dumps(words(stored)))
    found = config.load(environ(env), region=flag)
    assert (found.base_url, found.region, found.named_region) == (url, region, named)
    assert found.base_url_source.startswith(source)
    assert (found.api_key is None) is (url == EMULATOR)
    if flag is None:  # what is shown as the base URL in force is the one that is asked
        assert config.lookup("dashscope_base_url", environ(env)) == config.Found(url, found.base_url_source)


def refused(env: str = "", region: str | None = None) -> RawgenaiError:
    with pytest.raises(RawgenaiError) as caught:
        config.load(environ(env), region=region)
    return caught.value


@pytest.mark.parametrize(
    ("env", "stored", "flag", "by"),
    [
        ("R=frankfurt", "", None, "environment DASHSCOPE_REGION"),
        ("R=eu-central-1", "", None, "environment DASHSCOPE_REGION"),
        ("", "R=frankfurt", None, "config file"),
        ("", "", "frankfurt", "--region"),
        (f"U={SINGAPORE}", "", "frankfurt", "--region"),
        ("W= ", "R=frankfurt", None, "config file"),
    ],
)
def test_a_region_without_a_shared_host_needs_a_workspace_and_the_error_says_how_to_name_it(
    file: Path, env: str, stored: str, flag: str | None, by: str
) -> None:
    file.write_text(json.dumps(words(stored)))
    error = refused(env, flag)
    assert (error.code, error.status) == ("config_error", 3)
    assert f"the region frankfurt (by {by}" in error.message
    assert "`rawgenai config set dashscope_workspace ID`" in error.message


def test_a_region_that_is_not_needed_is_not_even_read(file: Path) -> None:
    file.write_text('{"dashscope_region": "mars"}')
    assert config.load(environ(f"U={SINGAPORE}")).region == "singapore"
    assert refused().code == "config_error"
    assert "mars" not in refused().message  # a value may be the key


@pytest.mark.parametrize("word", ["mars", "", "tokyo", "cn-hongkong"])
def test_an_argument_that_is_no_region_is_a_wrong_call(word: str) -> None:
    error = refused(region=word)
    assert (error.code, error.status) == ("invalid_usage", 2)
    assert "beijing (cn-beijing), singapore (ap-southeast-1)" in error.message


@pytest.mark.parametrize(
    ("given", "stored"),
    [("singapore", "singapore"), ("ap-southeast-1", "singapore"), (" Frankfurt\n", "frankfurt")],
)
def test_a_region_is_stored_by_its_name(file: Path, given: str, stored: str) -> None:
    config.set_value("dashscope_region", given)
    assert json.loads(file.read_text()) == {"dashscope_region": stored}


@pytest.mark.parametrize("bad", ["", "mars", "ap-northeast-1", "beijing singapore"])
def test_another_word_is_not_stored(file: Path, bad: str) -> None:
    with pytest.raises(RawgenaiError, match="is not one of beijing") as caught:
        config.set_value("dashscope_region", bad)
    assert (caught.value.code, file.exists()) == ("config_error", False)


@pytest.mark.parametrize("good", ["a", "llm-x1_Y2", "0", "a" * 63, " ws-1\n"])
def test_a_workspace_is_a_word_that_a_host_can_begin_with(good: str) -> None:
    config.set_value("dashscope_workspace", good)
    found = config.load(environ(), region="frankfurt")
    assert found.base_url == f"https://{good.strip()}.eu-central-1.maas.aliyuncs.com/api/v1"
    assert config.check_base_url(found.base_url) == found.base_url
    assert found.region == "frankfurt"


@pytest.mark.parametrize(
    "bad", ["", "a" * 64, "-a", "_a", "a.b", "a/b", "a@b", "a b", "a:b", "a?b", "a#b", "a\\b", "ä", "evil.com/x", "１"]
)
def test_a_workspace_cannot_become_another_host(bad: str, file: Path) -> None:
    with pytest.raises(RawgenaiError) as caught:
        config.set_value("dashscope_workspace", bad)
    assert (caught.value.code, file.exists()) == ("config_error", False)
    if bad:
        assert (
            "dashscope_workspace from environment" in refused(env=f"R=frankfurt W={bad.replace(' ', chr(9))}").message
        )


def test_a_region_is_listed_whole_and_the_rest_is_masked(file: Path) -> None:
    config.set_value("dashscope_region", "beijing")
    config.set_value("dashscope_workspace", "llm-0123456789")
    listed = {name: found.value for name, found in config.list_values().items()}
    assert listed == {
        "dashscope_region": "beijing",
        "dashscope_workspace": "llm...789",
        "dashscope_base_url": "htt.../v1",
    }


def test_the_rest_is_listed_where_a_region_still_lacks_its_workspace(file: Path) -> None:
    config.set_value("dashscope_region", "frankfurt")
    assert config.lookup("dashscope_base_url") is None
    assert set(config.list_values()) == {"dashscope_region"}
