import json
import os
import pickle
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import CANARY
from rawgenai import config
from rawgenai.errors import RawgenaiError
from rawgenai.secret import Secret

posix = pytest.mark.skipif(os.name != "posix", reason="mode bits, FIFOs and SIGKILL are POSIX")
BEIJING = "https://dashscope.aliyuncs.com/api/v1"
URL = "https://dashscope-intl.aliyuncs.com/api/v1"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The config file, not there yet; its folder is."""
    (tmp_path / "config" / "rawgenai").mkdir(parents=True)
    return tmp_path / "config" / "rawgenai" / "config.json"


def refusal(name: str = "dashscope_api_key", environ: dict[str, str] | None = None) -> RawgenaiError:
    with pytest.raises(RawgenaiError) as caught:
        config.lookup(name, {**os.environ, **(environ or {})})
    chain = [caught.value, caught.value.__cause__, not caught.value.__suppress_context__ and caught.value.__context__]
    for error in filter(None, chain):
        assert CANARY not in f"{error}{error!r}{vars(error)}"
    return caught.value


# --- Where a value comes from (ruling 17) -------------------------------------------------------------------------


def test_the_key_is_taken_from_the_first_source_that_has_it(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / ".alibabacloud").mkdir()
    (home / ".dashscope").mkdir()
    plain, credentials = home / ".dashscope" / "api_key", home / ".alibabacloud" / "credentials"
    assert config.lookup("dashscope_api_key") is None
    layers: list[tuple[Callable[[], object], str, str]] = [
        (lambda: plain.write_text("sk-plain\n"), f"key file {plain}", "sk-plain"),
        (
            lambda: credentials.write_text("[default]\ndashscope_api_key = sk-credentials\n"),
            f"credentials file {credentials} [default]",
            "sk-credentials",
        ),
        (lambda: file.write_text('{"dashscope_api_key": " sk-config "}'), f"config file {file}", "sk-config"),
        (lambda: monkeypatch.setenv("DASHSCOPE_API_KEY", f" {CANARY}\n"), "environment DASHSCOPE_API_KEY", CANARY),
    ]
    for add, source, value in layers:
        add()
        assert config.lookup("dashscope_api_key") == config.Found(value, source)


def test_the_base_url_is_taken_from_the_first_source_that_has_it(file: Path) -> None:
    name = "dashscope_base_url"
    assert config.lookup(name) == config.Found(BEIJING, "default")
    file.write_text(json.dumps({name: "https://config"}))
    assert config.lookup(name) == config.Found("https://config", f"config file {file}")
    environ = {**os.environ, "DASHSCOPE_HTTP_BASE_URL": "https://http"}
    assert config.lookup(name, environ) == config.Found("https://http", "environment DASHSCOPE_HTTP_BASE_URL")
    environ["DASHSCOPE_BASE_URL"] = " "
    assert config.lookup(name, environ) == config.Found("https://http", "environment DASHSCOPE_HTTP_BASE_URL")
    environ["DASHSCOPE_BASE_URL"] = "https://first/"
    assert config.lookup(name, environ) == config.Found("https://first", "environment DASHSCOPE_BASE_URL")


@pytest.mark.parametrize("empty", ["", " ", "\n"])
def test_an_empty_value_counts_as_not_set(empty: str, file: Path) -> None:
    file.write_text(json.dumps({"dashscope_api_key": empty, "dashscope_base_url": empty}))
    environ = {**os.environ, "DASHSCOPE_BASE_URL": empty, "DASHSCOPE_API_KEY": empty}
    assert config.load(environ) == config.Settings(None, None, BEIJING, "default")


@pytest.mark.parametrize(
    ("environ", "key"),
    [
        ({}, "sk-default"),
        ({"ALICLOUD_PROFILE": "two"}, "sk-two"),
        ({"ALIBABA_CLOUD_PROFILE": "one", "ALICLOUD_PROFILE": "two"}, "sk-%one"),
        ({"ALIBABA_CLOUD_PROFILE": "", "ALICLOUD_PROFILE": "two"}, "sk-two"),
        ({"ALIBABA_CLOUD_PROFILE": "absent"}, None),
    ],
)
def test_the_profile_names_the_section_of_the_credentials_file(
    environ: dict[str, str], key: str | None, tmp_path: Path
) -> None:
    (tmp_path / "home" / ".alibabacloud").mkdir()
    sections = {"default": "sk-default", "one": "sk-%one", "two": "sk-two"}
    text = "".join(f"[{name}]\ntype = access_key\ndashscope_api_key = {value}\n" for name, value in sections.items())
    (tmp_path / "home" / ".alibabacloud" / "credentials").write_text(text)
    found = config.lookup("dashscope_api_key", {**os.environ, **environ})
    assert (found.value if found else None) == key


def test_later_sources_are_not_even_read(file: Path) -> None:
    file.write_text("{")
    environ = {**os.environ, "DASHSCOPE_API_KEY": CANARY, "DASHSCOPE_BASE_URL": URL}
    assert config.load(environ).base_url == URL
    assert refusal("dashscope_base_url").code == "config_error"


def test_settings_hold_both_values_and_where_they_come_from(file: Path) -> None:
    config.set_value("dashscope_base_url", URL + "/")
    settings = config.load({**os.environ, "DASHSCOPE_API_KEY": CANARY})
    assert settings.api_key
    assert settings.api_key.reveal() == CANARY
    assert (settings.base_url, settings.base_url_source) == (URL, f"config file {file}")
    assert settings.api_key_source == "environment DASHSCOPE_API_KEY"


def test_under_the_emulator_no_key_is_looked_for(file: Path) -> None:
    environ = {**os.environ, "DASHSCOPE_BASE_URL": "emulator", "DASHSCOPE_API_KEY": "not\na key"}
    assert config.load(environ) == config.Settings(None, None, "emulator", "environment DASHSCOPE_BASE_URL")


def test_without_a_home_the_environment_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # what it does for a user without passwd entry
    settings = config.load({"DASHSCOPE_API_KEY": CANARY})
    assert settings.api_key
    assert settings.base_url == BEIJING
    assert config.load({}).api_key is None
    with pytest.raises(RawgenaiError, match="XDG_CONFIG_HOME") as caught:
        config.set_value("dashscope_base_url", URL, {})
    assert caught.value.code == "config_error"


# --- What a value may be --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["{}", "{!r}", "{!s:>20}", "%s"])
def test_no_text_shows_a_secret(text: str) -> None:
    secret = Secret(CANARY)
    settings = config.Settings(secret, "environment", BEIJING, "default")
    for value in (secret, settings, [secret], {"key": secret}, config.Found(CANARY, "default")):
        if text == "%s":
            assert CANARY not in text % (value,)
        elif isinstance(value, Secret) or ":" not in text:
            assert CANARY not in text.format(value)
    assert "[redacted]" in f"{secret:>20}{secret!r}{settings}"


def test_a_secret_cannot_be_pickled() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Secret(CANARY))


@pytest.mark.parametrize(
    "bad", ["two words", "Bearer " + CANARY, "a\nb", "a\rb", "a\tb", "a\x00b", "a\x7fb", "sk-ключ", "sk-\udce9", "ｓk"]
)
def test_a_key_that_no_header_can_hold_is_refused_without_showing_it(bad: str, file: Path) -> None:
    environ = {**os.environ, "DASHSCOPE_API_KEY": bad}
    with pytest.raises(RawgenaiError, match="environment DASHSCOPE_API_KEY") as caught:
        config.load(environ)
    with pytest.raises(RawgenaiError) as on_set:
        config.set_value("dashscope_api_key", bad)
    for error in (caught.value, on_set.value):
        assert error.code == "config_error"
        assert bad not in error.message
    assert not file.exists()


@pytest.mark.parametrize("good", ["sk-abc", "sk-ws-A_b.c~", "st-1", "x", '"quoted"', f"  {CANARY}\n"])
def test_any_other_key_is_taken_as_it_is(good: str) -> None:
    assert config.check_key(good) == good.strip()


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        (URL, URL),
        (URL + "//", URL),
        ("  https://h\n", "https://h"),
        ("HTTPS://H:8443/x", "HTTPS://H:8443/x"),
        ("https://ws-1_a.cn-beijing.maas.aliyuncs.com/api/v1", "https://ws-1_a.cn-beijing.maas.aliyuncs.com/api/v1"),
        ("http://127.0.0.1:8000/api/v1", "http://127.0.0.1:8000/api/v1"),
        ("http://127.9.9.9", "http://127.9.9.9"),
        ("http://localhost:1", "http://localhost:1"),
        ("http://LOCALHOST", "http://LOCALHOST"),
        ("http://[::1]:80/", "http://[::1]:80"),
        ("https://[2001:db8::1]/", "https://[2001:db8::1]"),
        ("emulator", "emulator"),
    ],
)
def test_a_base_url_is_https_or_loopback_or_the_emulator(url: str, taken: str) -> None:
    assert config.check_base_url(url) == taken


@pytest.mark.parametrize(
    "url",
    [
        "http://dashscope.aliyuncs.com/api/v1",
        "http://10.0.0.1",
        "http://127.0.0.1.evil.com",
        "http://localhost.evil.com",
        "http://127.1",
        "http://0.0.0.0",
        "http://[::]",
        "http://2130706433",
        "http://localhost@evil.com",
        "http://evil.com\\@127.0.0.1",
        "http://evil.com#@127.0.0.1",
        "https://user:pass@h",
        "https://@h",
        "https://h?x=1",
        "https://h?",
        "https://h#x",
        "https://h\\x",
        "https://h/a\\b",
        "https://",
        "https:///api/v1",
        "https:h",
        "https://h:port",
        "https://h:99999",
        "https://[::1",
        "https://[x]",
        "https://h%2f.com",
        "https://ｅxample.com",
        "https://h/a b",
        "https://h\n.com",
        "ftp://h",
        "file:///etc/passwd",
        "dashscope.aliyuncs.com",
        "Emulator",
        "",
    ],
)
def test_any_other_base_url_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        config.check_base_url(url)
    assert not url or url not in str(caught.value)
    if url:
        assert refusal("dashscope_base_url", {"DASHSCOPE_BASE_URL": url}).code == "config_error"


@pytest.mark.parametrize(
    ("value", "masked"),
    [("sk-123456abc", "sk-...abc"), ("123456789", "123...789"), ("12345678", "***"), ("1", "***"), ("", "***")],
)
def test_a_mask_shows_three_characters_at_each_end(value: str, masked: str) -> None:
    assert config.mask(value) == masked


# --- The config file --------------------------------------------------------------------------------------------------


def test_a_value_set_is_found_listed_masked_and_unset(tmp_path: Path) -> None:
    config.set_value("DASHSCOPE_API_KEY", f"{CANARY}\n")
    path = config.path()
    assert path == str(tmp_path / "config" / "rawgenai" / "config.json")
    assert config.lookup("DASHSCOPE_API_KEY") == config.Found(CANARY, f"config file {path}")
    assert config.list_values() == {
        "dashscope_api_key": config.Found("sk-...b06", f"config file {path}"),
        "dashscope_base_url": config.Found("htt.../v1", "default"),
    }
    assert config.unset("dashscope_api_key")
    assert not config.unset("dashscope_api_key")
    assert config.lookup("dashscope_api_key") is None


@pytest.mark.parametrize("name", ["", "api_key", "DashScope_Api_Key", "dashscope_api_key ", "DASHSCOPE_API_\u212aEY"])
def test_an_unknown_setting_is_refused_and_the_known_ones_named(name: str, file: Path) -> None:
    for call in (config.lookup, config.unset, lambda name: config.set_value(name, "x")):
        with pytest.raises(RawgenaiError, match="dashscope_api_key, dashscope_base_url") as caught:
            call(name)
        assert caught.value.code == "invalid_key"
    assert not file.exists()


def test_unknown_keys_survive_a_write(file: Path) -> None:
    others = {"later": {"deep": [1, 2.5, None, "小猫 \ud800"]}, "dashscope_api_key": "sk-old-key"}
    file.write_text("\ufeff" + json.dumps(others), encoding="utf-8")
    config.set_value("dashscope_api_key", "sk-new-key")
    config.set_value("dashscope_base_url", URL)
    config.unset("dashscope_base_url")
    assert json.loads(file.read_bytes()) == {**others, "dashscope_api_key": "sk-new-key"}


CORRUPT = [
    (b'{\n"dashscope_api_key": "%b"\n"x": 1}' % CANARY.encode(), "line 3"),
    (b"", "line 1"),
    (b"[]", "object"),
    (b'"%b"' % CANARY.encode(), "object"),
    (b"\xff\xfe{\x00}\x00", "UTF-8"),
    (b"[" * 100000, "JSON"),
    (b'{"x": ' + b"9" * 5000 + b"}", "JSON"),
    (b'{"dashscope_api_key": "a", "dashscope_api_key": "%b"}' % CANARY.encode(), "stands twice"),
    (b'{"x": "' + b"y" * 1024 * 1024 + b'"}', "larger"),
    (b'{"dashscope_api_key": 5}', "not a string"),
    (b'{"dashscope_api_key": ["%b"]}' % CANARY.encode(), "not a string"),
]


@pytest.mark.parametrize(("raw", "said"), CORRUPT)
def test_a_corrupt_config_file_is_named_and_never_overwritten(raw: bytes, said: str, file: Path) -> None:
    file.write_bytes(raw)
    error = refusal()
    assert error.code == "config_error"
    assert said in error.message
    assert str(file) in error.message
    if "string" not in said:  # the file is sound then, and setting the value mends it
        for change in (
            lambda: config.set_value("dashscope_api_key", "sk-new"),
            lambda: config.unset("dashscope_api_key"),
        ):
            with pytest.raises(RawgenaiError, match=said):
                change()
        assert file.read_bytes() == raw


@pytest.mark.platform
@posix
@pytest.mark.parametrize("kind", ["folder", "fifo", "device"])
def test_a_config_file_that_is_no_file_is_refused_without_waiting(kind: str, file: Path) -> None:
    make: dict[str, Callable[[], object]] = {
        "folder": file.mkdir,
        "fifo": lambda: os.mkfifo(file),
        "device": lambda: file.symlink_to(os.devnull),
    }
    make[kind]()
    assert ("Is a directory" if kind == "folder" else "is not a regular file") in refusal().message
    with pytest.raises(RawgenaiError) as caught:
        config.set_value("dashscope_api_key", "sk-new")
    assert caught.value.code == "config_error"


def test_an_unreadable_config_file_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("{}")

    def denied(*args: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(config, "_open_without_waiting", denied)
    assert "Permission denied" in refusal().message


@pytest.mark.parametrize(
    "text", [f"dashscope_api_key = {CANARY}\n", f"[default]\n{CANARY}\n", f"[default\n{CANARY}", "\x00"]
)
def test_a_corrupt_credentials_file_is_named_and_not_quoted(text: str, tmp_path: Path) -> None:
    (tmp_path / "home" / ".alibabacloud").mkdir()
    credentials = tmp_path / "home" / ".alibabacloud" / "credentials"
    credentials.write_text(text)
    error = refusal()
    assert error.code == "config_error"
    assert str(credentials) in error.message


def test_a_config_folder_that_is_a_file_is_refused_on_writing(tmp_path: Path) -> None:
    (tmp_path / "config").touch()
    assert config.lookup("dashscope_api_key") is None
    with pytest.raises(RawgenaiError) as caught:
        config.set_value("dashscope_api_key", "sk-new")
    assert caught.value.code == "config_error"


@pytest.mark.platform
@posix
def test_the_config_file_is_private_and_tightened(file: Path) -> None:
    def modes() -> list[int]:
        return [stat.S_IMODE(path.stat().st_mode) for path in (file.parent, file)]

    before = os.umask(0)
    try:
        file.parent.rmdir()
        config.set_value("dashscope_api_key", CANARY)
        assert modes() == [0o700, 0o600]
        for touch in (config.load, lambda: config.unset("dashscope_base_url")):
            file.chmod(0o644)
            file.parent.chmod(0o755)
            touch()
            assert modes() == [0o700, 0o600]
    finally:
        os.umask(before)


@pytest.mark.platform
@posix
def test_a_linked_config_file_stays_a_link(file: Path, tmp_path: Path, key_homes: set[Path]) -> None:
    real = tmp_path / "dotfiles" / "config.json"
    key_homes.add(real)
    real.parent.mkdir(mode=0o755)
    file.symlink_to(real)
    config.set_value("dashscope_api_key", CANARY)
    assert file.is_symlink()
    assert json.loads(real.read_bytes()) == {"dashscope_api_key": CANARY}
    assert stat.S_IMODE(real.parent.stat().st_mode) == 0o755


# --- Many writers, and writers that die ---------------------------------------------------------------------------

WRITERS = """
import os, sys
from rawgenai import config
os.read(0, 1)  # all start at once
config._change(lambda stored: {**stored, sys.argv[1]: "x" * 1000}, os.environ)
"""
ENDLESS_WRITER = """
import itertools, os
from rawgenai import config
for i in itertools.count():
    config._change(lambda stored: {"a": i, "b": "x" * 100_000, "c": i}, os.environ)
    if i == 0:
        os.write(1, b"ready")
"""


@pytest.mark.slow
def test_32_writers_at_once_lose_nothing(file: Path) -> None:
    names = [f"name{i}" for i in range(32)]
    children = [subprocess.Popen([sys.executable, "-c", WRITERS, name], stdin=subprocess.PIPE) for name in names]
    for child in children:
        assert child.stdin
        child.stdin.write(b"!")
        child.stdin.close()
    assert [child.wait() for child in children] == [0] * 32
    assert sorted(json.loads(file.read_bytes())) == sorted(names)


@pytest.mark.slow
@pytest.mark.platform
@posix
def test_a_writer_killed_at_any_moment_leaves_a_whole_file(file: Path) -> None:
    runs = int(os.environ.get("RAWGENAI_TEST_RUNS", "20"))
    for run in range(runs):
        with subprocess.Popen([sys.executable, "-c", ENDLESS_WRITER], stdout=subprocess.PIPE) as child:
            assert child.stdout
            assert child.stdout.read(5) == b"ready"
            time.sleep(run * 0.0007)  # the moment of the kill moves on with every run
            child.send_signal(signal.SIGKILL)
        stored = json.loads(file.read_bytes())
        assert stored["a"] == stored["c"]
        config.set_value("dashscope_base_url", URL)  # no lock is left behind
