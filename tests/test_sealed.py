"""The guards of conftest.py go red when they should: each inner test runs in a pytest of its own, with CI=true."""

import os
import shutil
import socket
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from conftest import CANARY, leaks

FOREIGN = (
    "DASHSCOPE_API_KEY",
    "RAWGENAI_LEDGER",
    "ALIBABA_CLOUD_PROFILE",
    "ALICLOUD_PROFILE",
    "https_proxy",
    "ALL_PROXY",
    "NO_COLOR",
    "SSL_CERT_DIR",
)

INNER = """
import logging, os, socket, sys
import pytest
from conftest import CANARY
from test_sealed import FOREIGN

def test_red_key_in_a_file(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(b"\\x00" + CANARY.encode() + b"\\xff")

def test_red_key_in_a_state_file(tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "tasks.db").write_text(CANARY)

def test_red_key_on_stdout():
    print("Bearer " + CANARY)

def test_red_key_on_stderr():
    print(CANARY, file=sys.stderr)

def test_red_key_on_a_descriptor():
    os.write(2, CANARY.encode())

def test_red_key_in_the_log():
    logging.getLogger("x").warning("key %s", CANARY)

@pytest.fixture
def talkative():
    yield
    print(CANARY)

def test_red_key_printed_after_the_test(talkative):
    pass

def test_red_connection_to_the_network():
    try:
        socket.create_connection(("192.0.2.1", 80), timeout=0.1)
    except Exception:
        pass

def test_red_connect_ex_to_the_network():
    with socket.socket() as s:
        s.settimeout(0.1)
        s.connect_ex(("192.0.2.1", 80))

def test_red_connection_over_ipv6():
    with socket.socket(socket.AF_INET6) as s:
        s.settimeout(0.1)
        s.connect_ex(("2001:db8::1", 80))

def test_red_skip():
    pytest.skip("no reason")

@pytest.mark.skipif(True, reason="none")
def test_red_skip_by_mark():
    pass

def test_green_key_where_it_belongs(tmp_path):
    (tmp_path / "config" / "rawgenai").mkdir(parents=True)
    (tmp_path / "config" / "rawgenai" / "config.json").write_text(CANARY)

def test_green_key_in_an_allowed_folder(tmp_path, key_homes):
    (tmp_path / "captured").mkdir()
    (tmp_path / "captured" / "1").write_text(CANARY)
    key_homes.add(tmp_path / "captured")

@pytest.mark.platform
def test_green_skip_of_a_platform():
    pytest.skip("not here")

@pytest.mark.xfail
def test_green_expected_failure():
    raise ValueError

@pytest.mark.parametrize("name", FOREIGN)
def test_green_variable_of_this_machine_is_unset(name):
    assert name not in os.environ

def test_green_nothing():
    print("hello")
"""
SKIPPED_FILE = 'import pytest\npytest.importorskip("no_such_module")\n'


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bool]:
    """The names of the inner tests, and whether each was red."""
    folder = tmp_path_factory.mktemp("inner")
    shutil.copy(Path(__file__).with_name("conftest.py"), folder)
    shutil.copy(__file__, folder)
    (folder / "test_inner.py").write_text(INNER)
    (folder / "test_skipped_file.py").write_text(SKIPPED_FILE)
    (folder / "pytest.ini").write_text(
        "[pytest]\naddopts = --strict-markers -p no:cacheprovider --continue-on-collection-errors\n"
    )
    inner = ["test_inner.py", "test_skipped_file.py", "--junitxml=report.xml", f"--basetemp={folder / 'base'}"]
    environ = {**os.environ, "CI": "true", **dict.fromkeys(FOREIGN, "x")}
    command = [sys.executable, "-m", "pytest", *inner]
    run = subprocess.run(command, cwd=folder, env=environ, capture_output=True, check=False)
    cases = ET.parse(folder / "report.xml").getroot().iter("testcase")
    found: dict[str, bool] = {}
    for case in cases:
        # A failed report that was expected to fail is written as skipped.
        unexpected = "unexpectedly" in ET.tostring(case, encoding="unicode")
        red = case.find("failure") is not None or case.find("error") is not None or unexpected
        name = case.attrib["name"].split("[")[0]
        found[name] = found.get(name, False) or red
    assert found, run.stdout
    return found


INNER_TESTS = [line.split("(")[0].removeprefix("def ") for line in INNER.splitlines() if line.startswith("def test_")]


@pytest.mark.parametrize("name", INNER_TESTS)
def test_a_guard_goes_red_when_it_should(name: str, verdicts: dict[str, bool]) -> None:
    assert verdicts[name] == name.startswith("test_red_")


def test_a_file_that_skips_itself_is_red_in_ci(verdicts: dict[str, bool]) -> None:
    assert verdicts["test_skipped_file"]


def test_home_and_folders_are_in_tmp_path(tmp_path: Path) -> None:
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        assert tmp_path in Path(os.environ[name]).parents


def test_loopback_is_reachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()


def test_no_host_name_is_known() -> None:
    with pytest.raises(socket.gaierror):
        socket.create_connection(("dashscope.aliyuncs.com", 443))


def test_leaks_names_the_file(tmp_path: Path) -> None:
    leak = tmp_path / "leak"
    leak.write_text(f"Authorization: Bearer {CANARY}")
    assert leaks(tmp_path, set()) == [leak]
    assert leaks(tmp_path, {tmp_path}) == []
    leak.unlink()
