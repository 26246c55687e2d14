"""Settings: environment, then config file, then credentials files, then default (design, ruling 17).

Floor 1. Rule: every setting is a row of ``SETTINGS``, and a row says all there is to know about a setting.
No message here ever holds a value, because a value may be the key. A region becomes a base URL here.
"""

import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rawgenai import files, regions
from rawgenai.errors import RawgenaiError
from rawgenai.message import parse_json
from rawgenai.secret import ENVIRON, Secret

EMULATOR = "emulator"  # the base URL that means the emulator in process (design, ruling 18)
MAX_FILE = 1024 * 1024  # bytes of a file that settings are read from
LOCK_SECONDS = 10.0  # how long to wait for another process that changes the config file

# --- What a value may be: each check returns the value to use, or raises ValueError with what is wrong ----------------


def check_key(value: str) -> str:
    """An API key, without outer white space. Its shape is the API's business (reference 6: sk-, sk-ws-, st-, ...)."""
    value = value.strip()
    if not re.fullmatch("[!-~]+", value):
        raise ValueError("is empty or has white space, control or non-ASCII characters in it")
    return value


def check_base_url(value: str) -> str:
    """The API's base URL without the last slash, or the word ``emulator``. Plain http is for loopback only."""
    from urllib.parse import urlsplit

    value = value.strip()
    if value == EMULATOR:
        return value
    if not re.fullmatch("[!-~]+", value):
        raise ValueError("is empty or has white space, control or non-ASCII characters in it")
    try:
        url = urlsplit(value)
        host, _ = url.hostname or "", url.port
    except ValueError:
        host = ""
    if not re.fullmatch(r"[0-9a-z._-]+|[0-9a-f:.]*:[0-9a-f:.]*", host) or url.scheme not in ("http", "https"):
        raise ValueError(f"is neither an https URL with a host nor the word {EMULATOR!r}")
    if re.search(r"[@?#\\]", value):
        raise ValueError("has a user, a query, a fragment or a backslash in it")
    if url.scheme == "http" and not _is_loopback(host):
        raise ValueError("is plain http, which would show the key to the network; only loopback may have it")
    return value.rstrip("/")


def check_region(value: str) -> str:
    """A region by our name or the API's id; our name of it."""
    row = regions.find(value)
    if row is None:
        raise ValueError(f"is not one of {regions.listed()}")
    return row.name


def check_workspace(value: str) -> str:
    """A workspace's id, which becomes the first label of a host's name (reference 6; a label has 63 characters)."""
    value = value.strip()
    if not re.fullmatch("[A-Za-z0-9][A-Za-z0-9_-]{0,62}", value):
        raise ValueError("is not 1 to 63 letters, digits, '-' and '_', the first one a letter or a digit")
    return value


def is_stand_in(base_url: str) -> bool:
    """Tell whether a base URL is the emulator or this machine, which stands for every region: nothing there is real."""
    from urllib.parse import urlsplit

    return base_url == EMULATOR or _is_loopback(urlsplit(base_url).hostname or "")


def _is_loopback(host: str) -> bool:
    """Tell whether a host is this machine; stricter than message.is_loopback.

    Names below localhost are left to a resolver, which may ask the network for them; the key would go where it says.
    """
    from ipaddress import ip_address

    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


# --- The table ----------------------------------------------------------------------------------------------------


class Setting(NamedTuple):
    """A setting: a row of the table."""

    sentence: str  # what it is, for people
    environ: tuple[str, ...]  # environment variables, the first one set wins; empty counts as not set
    check: Callable[[str], str]
    default: "Callable[[Mapping[str, str]], Found | None] | None" = None
    secret: bool = False
    listed_whole: bool = False  # not masked in a list: a word that everybody knows
    credentials: str | None = None  # its name in ~/.alibabacloud/credentials
    plain: str | None = None  # a file below the home folder that holds nothing else


SETTINGS = {
    "dashscope_api_key": Setting(
        sentence="the DashScope API key",
        environ=("DASHSCOPE_API_KEY",),
        check=check_key,
        secret=True,
        credentials="dashscope_api_key",
        plain=".dashscope/api_key",
    ),
    "dashscope_base_url": Setting(
        sentence=f"the base URL of the DashScope API in your region, or {EMULATOR}",
        environ=("DASHSCOPE_BASE_URL", "DASHSCOPE_HTTP_BASE_URL"),
        check=check_base_url,
        default=lambda environ: _at(lookup("dashscope_region", environ), environ),
    ),
    "dashscope_region": Setting(
        sentence=f"the region where there is no base URL: {', '.join(regions.REGIONS)}",
        environ=("DASHSCOPE_REGION",),
        check=check_region,
        listed_whole=True,
    ),
    "dashscope_workspace": Setting(
        sentence="the id of your workspace, for its own host in the region",
        environ=("DASHSCOPE_WORKSPACE",),
        check=check_workspace,
    ),
}

_SPELLINGS = {spelling: name for name in SETTINGS for spelling in (name, name.upper())}
_CREDENTIALS = ".alibabacloud/credentials"  # INI, below the home folder
_PROFILES = ("ALIBABA_CLOUD_PROFILE", "ALICLOUD_PROFILE")  # name the section of it


# --- Values -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Found:
    """A setting's value and where it comes from: ``"environment NAME"``, ``"config file PATH"``, ``"default"``, ..."""

    value: str = field(repr=False)
    source: str


@dataclass(frozen=True, slots=True)
class Settings:
    """The resolved configuration."""

    api_key: Secret | None
    api_key_source: str | None
    base_url: str  # without a slash at the end, or "emulator"
    base_url_source: str
    named_region: str | None = None  # of regions.REGIONS, by an argument or a setting; None: nobody named one

    @property
    def region(self) -> str | None:
        """The region, of regions.REGIONS: its host's, else the one that was named; None where neither tells."""
        return regions.of_url(self.base_url) or self.named_region


def load(environ: Mapping[str, str] = ENVIRON, *, region: str | None = None) -> Settings:
    """The settings in force, with the base URL of ``region`` where one is named, such as ``"singapore"``.

    A base URL that is set wins over a region that is set, and a region that is named here over both; but the emulator
    and what is on this machine stay what they are, so that a trial never turns into a paid task: a region then only
    says by whose models and prices to judge. Under the emulator no key is looked for. Raises RawgenaiError:
    `config_error`, also for a region that needs a workspace where none is set, and `invalid_usage` for a word that is
    no region.
    """
    url = _stated("dashscope_base_url", environ)
    named: Found | None = None
    if region is not None:
        named = _argument(region)
        url = url if url and is_stand_in(url.value) else None
    elif url is None or regions.of_url(url.value) is None:  # a host that is a region's own says more than a setting
        named = lookup("dashscope_region", environ)
    url = url or _at(named, environ)
    if url is None:
        raise _no_workspace(named)
    key = None if url.value == EMULATOR else lookup("dashscope_api_key", environ)
    return Settings(
        api_key=Secret(key.value) if key else None,
        api_key_source=key.source if key else None,
        base_url=url.value,
        base_url_source=url.source,
        named_region=named.value if named else None,
    )


def _argument(region: str) -> Found:
    try:
        return Found(check_region(region), "--region")
    except ValueError as error:
        raise RawgenaiError("invalid_usage", f"the region {region[:80]!r} {error}") from None


def _at(region: Found | None, environ: Mapping[str, str]) -> Found | None:
    """The base URL of a region, Beijing's without one; None where it needs a workspace and there is none."""
    workspace = lookup("dashscope_workspace", environ)
    row = regions.REGIONS[region.value if region else regions.DEFAULT]
    url = row.base_url(workspace.value if workspace else None)
    if url is None:
        return None
    return Found(url, f"region {row.name} by {region.source}" if region else "default")


def _no_workspace(region: Found | None) -> RawgenaiError:
    where = f"{region.value} (by {region.source})" if region else regions.DEFAULT
    command = "`rawgenai config set dashscope_workspace ID`"
    message = f"the region {where} has no shared host, only workspaces have one: name yours by {command}"
    return RawgenaiError("config_error", f"{message}, or in DASHSCOPE_WORKSPACE; the console shows its id")


def fingerprint(settings: Settings) -> str:
    """A name for the account that says nothing of the key: 16 hex digits."""
    from hashlib import sha256

    key = settings.api_key.reveal() if settings.api_key else ""
    return sha256(f"{settings.base_url}\n{key}".encode()).hexdigest()[:16]


def lookup(name: str, environ: Mapping[str, str] = ENVIRON) -> Found | None:
    """The value in force of one setting, checked. Raises RawgenaiError: invalid_key, config_error."""
    name = check_name(name)
    default = SETTINGS[name].default
    return _stated(name, environ) or (default(environ) if default else None)


def _stated(name: str, environ: Mapping[str, str]) -> Found | None:
    """The value of one setting that somebody has set."""
    for source in _SOURCES:
        try:
            found = source(name, environ)
        except (FileNotFoundError, NotADirectoryError):  # no such file, or no home folder that it could be in
            continue
        if found and found.value.strip():
            return Found(_checked(name, found.value, f" from {found.source}"), found.source)
    return None


def check_name(name: str) -> str:
    """The name of a setting, given in lower or upper case. Raises RawgenaiError invalid_key."""
    if name not in _SPELLINGS:
        raise RawgenaiError("invalid_key", f"there is no setting {name!r}; the settings are {', '.join(SETTINGS)}")
    return _SPELLINGS[name]


def mask(value: str) -> str:
    """The first three and last three characters, or ``***`` for eight or fewer."""
    return f"{value[:3]}...{value[-3:]}" if len(value) > 8 else "***"


def _checked(name: str, value: str, origin: str = "") -> str:
    try:
        return SETTINGS[name].check(value)
    except ValueError as error:
        raise RawgenaiError("config_error", f"{name}{origin} {error}") from None


# --- The config file ------------------------------------------------------------------------------------------------


def path(environ: Mapping[str, str] = ENVIRON) -> str:
    """The config file, whether it exists or not. Raises RawgenaiError config_error where no home folder is known."""
    try:
        return _file(environ)
    except FileNotFoundError as error:
        raise RawgenaiError("config_error", f"{error}, or XDG_CONFIG_HOME") from error


def set_value(name: str, value: str, environ: Mapping[str, str] = ENVIRON) -> None:
    """Store one setting, checked, in the config file. Raises RawgenaiError: invalid_key, config_error."""
    name = check_name(name)
    value = _checked(name, value)
    _change(lambda stored: {**stored, name: value}, environ)


def unset(name: str, environ: Mapping[str, str] = ENVIRON) -> bool:
    """Take one setting out of the config file, and say whether it was there. Raises as ``set_value``."""
    name = check_name(name)
    stored = _change(lambda stored: {other: stored[other] for other in stored if other != name}, environ)
    return name in stored


def list_values(environ: Mapping[str, str] = ENVIRON) -> dict[str, Found]:
    """Every setting that has a value, masked, with its source. Raises RawgenaiError config_error."""
    found = {name: lookup(name, environ) for name in SETTINGS}
    return {
        name: each if SETTINGS[name].listed_whole else Found(mask(each.value), each.source)
        for name, each in found.items()
        if each
    }


def _change(change: Callable[[dict[str, Any]], dict[str, Any]], environ: Mapping[str, str]) -> dict[str, Any]:
    """Rewrite the config file under a lock, unless nothing changes; what was stored before."""
    import json

    file = path(environ)
    try:
        with files.locked(f"{file}.lock", wait=LOCK_SECONDS):
            try:
                stored = _read_config(file)
            except FileNotFoundError:
                stored = {}
            if (changed := change(stored)) != stored:
                files.write_private(file, (json.dumps(changed, indent=2) + "\n").encode())
    except OSError as error:
        raise _error(file, f"cannot be written: {files.reason(error)}") from error
    return stored


def _file(environ: Mapping[str, str]) -> str:
    return os.path.join(files.config_folder(environ), "config.json")


def _read_config(file: str) -> dict[str, Any]:
    """The config file's object. Raises FileNotFoundError, RawgenaiError config_error."""
    import json

    text = _read(file)
    files.keep_private(os.path.dirname(file))
    files.keep_private(file)
    try:
        stored = parse_json(text)
    except json.JSONDecodeError as error:  # it holds the text, and with it the key: never chained
        raise _error(file, f"is not JSON: line {error.lineno}: {error.msg}") from None
    except ValueError as error:
        raise _error(file, f"is not JSON that can be read: {error}") from None
    if not isinstance(stored, dict):
        raise _error(file, "does not hold a JSON object")
    return stored


def _read(file: str) -> str:
    """The text of a regular file of at most 1 MiB. Raises FileNotFoundError, RawgenaiError config_error."""
    try:
        with open(file, "rb", opener=_open_without_waiting) as stream:
            regular = stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
            raw = stream.read(MAX_FILE + 1) if regular else b""
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise _error(file, f"cannot be read: {files.reason(error)}") from error
    if not regular:
        raise _error(file, "is not a regular file")
    if len(raw) > MAX_FILE:
        raise _error(file, f"is larger than {MAX_FILE} bytes")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _error(file, "is not UTF-8 text") from None


def _open_without_waiting(file: str, flags: int) -> int:
    return os.open(file, flags | getattr(os, "O_NONBLOCK", 0))  # a FIFO would wait for a writer


def _error(file: str, what: str) -> RawgenaiError:
    return RawgenaiError("config_error", f"the file {file!r} {what}")


# --- Sources: each says what it has, or raises FileNotFoundError ----------------------------------------------------


def _in_environment(name: str, environ: Mapping[str, str]) -> Found | None:
    for variable in SETTINGS[name].environ:
        if environ.get(variable, "").strip():
            return Found(environ[variable], f"environment {variable}")
    return None


def _in_config_file(name: str, environ: Mapping[str, str]) -> Found | None:
    file = _file(environ)
    value = _read_config(file).get(name, "")
    if not isinstance(value, str):
        raise _error(file, f"has a {name} that is not a string")
    return Found(value, f"config file {file}")


def _in_credentials_file(name: str, environ: Mapping[str, str]) -> Found | None:
    if not (key := SETTINGS[name].credentials):
        return None
    file = os.path.join(files.home_folder(environ), os.path.normpath(_CREDENTIALS))
    text = _read(file)
    import configparser  # only for the few who have such a file

    section = next((environ[variable] for variable in _PROFILES if environ.get(variable)), "default")
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:  # it quotes the line: never chained
        raise _error(file, "is not an INI file") from None
    return Found(parser.get(section, key, fallback=""), f"credentials file {file} [{section}]")


def _in_plain_file(name: str, environ: Mapping[str, str]) -> Found | None:
    if not (plain := SETTINGS[name].plain):
        return None
    file = os.path.join(files.home_folder(environ), os.path.normpath(plain))
    return Found(_read(file), f"key file {file}")


_SOURCES = (_in_environment, _in_config_file, _in_credentials_file, _in_plain_file)
