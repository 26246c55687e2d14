"""The table of regions: each base URL copied by hand from the reference (1.1 and 1.3), and which region a URL means."""

import pytest

from rawgenai import config, regions
from rawgenai.dashscope.models import MODELS
from rawgenai.regions import REGIONS

# Region | id | shared host | a workspace's host, of the workspace ws-1.
HOSTS = """
beijing   | cn-beijing     | dashscope.aliyuncs.com      | ws-1.cn-beijing.maas.aliyuncs.com
singapore | ap-southeast-1 | dashscope-intl.aliyuncs.com | ws-1.ap-southeast-1.maas.aliyuncs.com
virginia  | us-east-1      | dashscope-us.aliyuncs.com   | ws-1.us-east-1.maas.aliyuncs.com
frankfurt | eu-central-1   | -                           | ws-1.eu-central-1.maas.aliyuncs.com
"""
ROWS = [tuple(cell.strip() for cell in line.split("|")) for line in HOSTS.strip().splitlines()]


@pytest.mark.parametrize(("name", "id_", "shared", "workspace"), ROWS)
def test_a_region_has_the_hosts_of_the_reference(name: str, id_: str, shared: str, workspace: str) -> None:
    row = REGIONS[name]
    assert (row.name, row.id, row.host is None) == (name, id_, shared == "-")
    assert row.base_url() == (None if shared == "-" else f"https://{shared}/api/v1")
    assert row.base_url("ws-1") == f"https://{workspace}/api/v1"


def test_there_are_no_other_regions() -> None:
    assert list(REGIONS) == [name for name, *_ in ROWS]
    assert regions.DEFAULT == "beijing"


@pytest.mark.parametrize(("name", "id_"), [row[:2] for row in ROWS])
def test_a_region_is_found_by_its_name_and_by_the_apis_id_in_any_case(name: str, id_: str) -> None:
    assert {regions.find(word) for word in (name, id_, name.upper(), f" {id_.title()}\n")} == {REGIONS[name]}


@pytest.mark.parametrize("word", ["", "tokyo", "ap-northeast-1", "cn-hongkong", "cn", "beijing,singapore", "Пекин"])
def test_another_word_is_no_region(word: str) -> None:
    assert regions.find(word) is None


@pytest.mark.parametrize(
    ("base_url", "region"),
    [
        *((f"https://{shared}/api/v1", name) for name, _, shared, _ in ROWS if shared != "-"),
        *((f"https://{workspace}/api/v1", name) for name, *_, workspace in ROWS),
        ("https://DASHSCOPE-INTL.aliyuncs.com/api/v1", "singapore"),
        ("https://dashscope.aliyuncs.com:443/api/v1", "beijing"),
        ("https://dashscope.aliyuncs.com:8443/api/v1", None),
        ("http://dashscope.aliyuncs.com/api/v1", None),  # the key would be seen on the way
        ("https://ws.ap-northeast-1.maas.aliyuncs.com/api/v1", None),  # no model of the table is there
        ("https://xcn-beijing.maas.aliyuncs.com/api/v1", None),
        ("https://cn-beijing.maas.aliyuncs.com/api/v1", None),
        ("https://ws.cn-beijing.maas.aliyuncs.com.example.com/api/v1", None),
        ("https://dashscope.aliyuncs.com.example.com/api/v1", None),
        ("https://notdashscope.aliyuncs.com/api/v1", None),
        ("https://example.com/dashscope.aliyuncs.com/api/v1", None),
        ("https://dashscope.aliyuncs.com@example.com/api/v1", None),
        ("https://[::1", None),
        ("https://dashscope.aliyuncs.com:x/api/v1", None),
        ("http://127.0.0.1:1/api/v1", None),
        ("emulator", None),
        ("", None),
    ],
)
def test_a_base_url_belongs_to_a_region(base_url: str, region: str | None) -> None:
    assert regions.of_url(base_url) == region


def test_every_region_of_a_row_is_one_of_the_table() -> None:
    for row in MODELS.values():
        named = {*row.regions, *row.doubtful_regions, *row.spellings, *row.prices}
        assert named <= set(REGIONS), row.name
        assert not set(row.regions) & {*row.doubtful_regions, *row.spellings}, row.name
        assert all(where in MODELS[name].regions for where, name in row.spellings.items()), row.name


def test_the_default_base_url_is_beijings() -> None:
    assert config.load({}).base_url == "https://dashscope.aliyuncs.com/api/v1"
