"""Check the key, the region and the connection, by one question that changes nothing and costs nothing."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

from rawgenai import config, regions
from rawgenai.config import Settings
from rawgenai.dashscope import tasks, wire
from rawgenai.dashscope.exchange import answer_of, exchange, explained, interruptible
from rawgenai.errors import RawgenaiError
from rawgenai.message import Send

# Where else a key is ever offered: the official shared endpoints.
REGION_URLS = regions.shared_urls()


class Checked(NamedTuple):
    """What was found, and it works."""

    key: str | None  # masked; None under the emulator, which needs none
    key_source: str | None
    base_url: str
    base_url_source: str
    region: str | None  # of regions.REGIONS; None where nothing tells it


def check(
    *,
    all_regions: bool = False,
    region_urls: Mapping[str, str] = REGION_URLS,
    settings: Settings | None = None,
    sender: Callable[[Settings], Send] = tasks.sender,
    sleep: Callable[[float], None] = time.sleep,
) -> Checked:
    """Find the key and the base URL, and ask the API one read-only question.

    Where the key is refused, ``all_regions`` asks the other regions (name -> base URL) the same, and the error says
    which one takes it; otherwise the key goes to the configured host alone. Raises RawgenaiError `missing_api_key`,
    `invalid_api_key`, `connection_error`, `timeout` and others of the table, each with what was found so far.
    """
    settings = settings or config.load()
    found = _found(settings)
    try:
        _ask(sender(settings), sleep)
    except RawgenaiError as error:
        explained(error, settings)
        error.message += f". So far: {_so_far(found)}"
        if error.code == "invalid_api_key":
            others = {name: url for name, url in region_urls.items() if url != settings.base_url}
            error.message += f". {_elsewhere(others, settings, sender, sleep) if all_regions else _HINT}"
        raise
    return found


_HINT = "`rawgenai dashscope check --all-regions` asks the other regions, too"


def _found(settings: Settings) -> Checked:
    return Checked(
        config.mask(settings.api_key.reveal()) if settings.api_key else None,
        settings.api_key_source,
        settings.base_url,
        settings.base_url_source,
        settings.region,
    )


def _so_far(found: Checked) -> str:
    key = f"key {found.key} ({found.key_source})" if found.key else "no key"
    where = f"region {found.region}" if found.region else "no region's shared host"
    return f"{key}, base URL {found.base_url} ({found.base_url_source}), {where}"


def _ask(send: Send, sleep: Callable[[float], None]) -> None:
    """Ask for next to nothing. Raises RawgenaiError, also for an answer that is not this API's."""
    body = wire.parse_object(answer_of(interruptible(lambda: exchange(send, wire.check_request(), sleep=sleep))))
    if "data" not in body and "request_id" not in body:
        raise RawgenaiError("server_error", "what answers there is not the DashScope API")


def _elsewhere(
    others: Mapping[str, str],
    settings: Settings,
    sender: Callable[[Settings], Send],
    sleep: Callable[[float], None],
) -> str:
    """Ask the other regions, and say what each answered."""
    said = []
    for region, url in others.items():
        try:
            _ask(sender(replace(settings, base_url=url)), sleep)
        except RawgenaiError as error:
            refused = error.code == "invalid_api_key"
            said.append(f"{region} refuses it" if refused else f"{region} could not be asked ({error.code})")
        else:
            said.append(f"{region} takes it: {_command(url, settings.base_url_source)}")
    return "The other regions: " + "; ".join(said)


def _command(url: str, source: str) -> str:
    """Write the command that sets a base URL; an environment variable would win over it."""
    command = f"`rawgenai config set dashscope_base_url {url}`"
    kind, _, variable = source.partition(" ")
    return f"{command}, and unset {variable}, which wins over it" if kind == "environment" else command
