"""Where a task was created, as the ledger remembers it: there it is asked for, because nobody else knows it.

A task belongs to the region that created it (reference 1.3). The key goes to no host but the configured one and the
regions' own, whatever the ledger says.
"""

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from rawgenai import config, regions
from rawgenai.config import EMULATOR, Settings
from rawgenai.dashscope.recording import recorded
from rawgenai.errors import RawgenaiError

if TYPE_CHECKING:
    from rawgenai.ledger import Ledger, Row

SOURCE = "the ledger"
CODES = ("task_not_found", "invalid_api_key")  # what a wrong region ends in


def row_of(task_id: str, ledger: "Ledger | None") -> "Row | None":
    """Find a task's row; None also where the ledger cannot be read, which whoever writes to it will say."""
    with suppress(RawgenaiError), recorded(ledger, create=False) as book:
        return book.find(task_id)
    return None


def settings_of(row: "Row | None", settings: Settings) -> Settings:
    """Return the settings to ask for a row's task with: those in force, at the base URL where it was created.

    Followed are only rows of the regions' own https hosts and of the emulator, and only from settings for a region's
    own host: the emulator, this machine and a gateway stand for all regions, and whoever set them means them.
    """
    if row is None or row.base_url == settings.base_url or regions.of_url(settings.base_url) is None:
        return settings
    if row.base_url == EMULATOR:
        return replace(settings, api_key=None, api_key_source=None, base_url=EMULATOR, base_url_source=SOURCE)
    try:
        base_url = config.check_base_url(row.base_url)
    except ValueError:
        return settings
    if regions.of_url(base_url) is None:
        return settings
    return replace(settings, base_url=base_url, base_url_source=SOURCE)


def explained(error: RawgenaiError, row: "Row | None", settings: Settings) -> RawgenaiError:
    """Say of a task that is not found, or whose key was refused, where the ledger says that it was created."""
    if row is None or error.code not in CODES:
        return error
    if row.base_url != settings.base_url:
        error.message += (
            f"; the ledger says that it was created at {row.base_url}: {how_to_ask(row.base_url, settings)}"
        )
    elif settings.base_url_source == SOURCE:
        error.message += "; that is where the ledger says that it was created"
    return error


def how_to_ask(base_url: str, settings: Settings) -> str:
    """Say which flag or variable makes a command ask a base URL; the flag never leaves a stand-in."""
    shared = {url: name for name, url in regions.shared_urls().items()}
    if base_url in shared and not config.is_stand_in(settings.base_url):
        return f"--region {shared[base_url]}"
    return f"DASHSCOPE_BASE_URL={base_url}"
