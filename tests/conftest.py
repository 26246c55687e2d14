"""What holds for every test: it is sealed off from this machine and the network, and the API key stays out of sight.

``test_sealed.py`` proves that each guard works.
"""

import ipaddress
import os
import re
import signal
import socket
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

CANARY = "sk-canary-7f3a9c51e2d84b06"  # THE API key of every test: where it turns up unasked, something leaks

_FOREIGN = re.compile(
    "(DASHSCOPE|RAWGENAI(?!_TEST)|ALIBABA|ALICLOUD)_.*|.*_PROXY|(NO|FORCE)_COLOR|SSL_CERT_(FILE|DIR)|PYTHONUNBUFFERED"
)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "platform: may be skipped in CI, where the operating system has no such thing")
    usual: dict[str, Any] = {"SIGINT": signal.default_int_handler, "SIGHUP": signal.SIG_DFL}
    for name, handler in usual.items():  # ignored in a background job or under nohup: the commands would inherit it
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(autouse=True)
def sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key_homes: set[Path]) -> Iterator[None]:
    """A home of its own, none of this machine's variables, no network but loopback; then the hunt for the canary."""
    for name in [name for name in os.environ if _FOREIGN.fullmatch(name.upper())]:
        monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for method in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, method, _only_to_loopback(getattr(socket.socket, method)))
    monkeypatch.setattr(socket, "getaddrinfo", _only_of_loopback(socket.getaddrinfo))
    yield
    assert not (found := leaks(tmp_path, key_homes)), f"the API key is in {found}"


@pytest.fixture
def canary() -> str:
    """The API key that tests use."""
    return CANARY


@pytest.fixture
def key_homes(tmp_path: Path) -> set[Path]:
    """Files and folders that may hold the key: where it is read from by design, and what a test adds to the set."""
    home = tmp_path / "home"
    return {
        tmp_path / "config" / "rawgenai" / "config.json",
        home / ".config" / "rawgenai" / "config.json",
        home / ".alibabacloud" / "credentials",
        home / ".dashscope" / "api_key",
    }


def leaks(folder: Path, allowed: set[Path]) -> list[Path]:
    """The files in a folder that hold the canary's text and may not."""
    return [
        file
        for file in folder.rglob("*")
        if file.is_file() and allowed.isdisjoint((file, *file.parents)) and CANARY.encode() in file.read_bytes()
    ]


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _only_to_loopback(connect: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address[0]):
            # It is no Exception, so no code under test catches it.
            pytest.fail(f"a test must not reach the network, and this one goes to {address}")
        return connect(self, address)

    return guarded


def _only_of_loopback(getaddrinfo: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name is None or _is_loopback(name):
            return getaddrinfo(host, *args, **kwargs)
        try:
            ipaddress.ip_address(name)
        except ValueError:
            raise socket.gaierror(socket.EAI_NONAME, "a test knows no host names") from None
        return getaddrinfo(host, *args, **kwargs)

    return guarded


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if any(CANARY in text for name, text in report.sections if name.endswith(report.when)):
        report.outcome, report.longrepr = "failed", "the API key was printed"
    if _may_not_skip(report) and not item.get_closest_marker("platform"):
        report.outcome, report.longrepr = "failed", f"skipped, which is a failure where CI=true: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if _may_not_skip(report):
        report.outcome, report.longrepr = "failed", f"skipped, which is a failure where CI=true: {report.longrepr}"
    return report


def _may_not_skip(report: pytest.TestReport | pytest.CollectReport) -> bool:
    return report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true"
