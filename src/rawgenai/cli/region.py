"""The flag --region, which every command that asks the API has, and the settings that it means."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from rawgenai.config import Settings

F = TypeVar("F", bound=Callable[..., Any])
_HELP = "Ask this region, not the configured one: beijing, singapore, virginia or frankfurt."


def regional(text: str = _HELP) -> Callable[[F], F]:
    """Give a command --region, ``region``: the name of a region, or None."""
    return click.option("--region", type=_named, metavar="REGION", help=text)


def _named(text: str) -> str:
    """Read a region, by our name or the API's id."""
    from rawgenai import regions

    row = regions.find(text)
    if row is None:
        raise click.BadParameter(f"{text!r} is not one of {regions.listed()}.")
    return row.name


def settings_of(region: str | None) -> "Settings | None":
    """Resolve the settings for a task that exists: None where no region was named, so that it is asked for at home."""
    if region is None:
        return None
    from rawgenai import config

    return config.load(region=region)


def words(region: str | None) -> list[str]:
    """Write the flag, for a command that goes on where this one ended."""
    return [] if region is None else ["--region", region]
