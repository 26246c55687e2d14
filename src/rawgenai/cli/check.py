"""``rawgenai dashscope check``."""

from typing import Any

import click

from rawgenai.cli import streams
from rawgenai.cli.command import Command
from rawgenai.cli.region import regional

_EXAMPLES = """\b
Examples:
  rawgenai dashscope check
  rawgenai dashscope check --all-regions"""


@click.command(cls=Command, epilog=_EXAMPLES, short_help="Check the key, the region and the connection; costs nothing.")
@regional()
@click.option("--all-regions", is_flag=True, help="Where the key is refused, ask the other regions' official hosts.")
@click.option("--json", "as_json", is_flag=True, help="Print the envelope at a terminal, too.")
def check(*, region: str | None, all_regions: bool, as_json: bool) -> dict[str, Any] | str:
    """Check the key, the region and the connection, by one question that changes nothing and costs nothing.

    The key goes to the configured host alone, unless --all-regions is given.
    """
    from rawgenai import config, envelope
    from rawgenai.dashscope import checking

    settings = config.load(region=region)
    streams.emulated(settings.base_url)
    found = checking.check(all_regions=all_regions, settings=settings)
    emulated = found.base_url == config.EMULATOR
    if as_json or not streams.is_screen():
        return envelope.success(**found._asdict(), emulator=emulated or None, reachable=True, accepted=True)
    rows = [
        ("key", f"{found.key}, from {found.key_source}" if found.key else "none is needed"),
        ("base URL", f"{found.base_url}, from {found.base_url_source}"),
        ("region", "none: nothing is real" if emulated else found.region or "not a region's shared host"),
        ("reachable", "yes"),
        ("key accepted", "yes"),
    ]
    return streams.drawn(lambda _: [_table(rows)])


def _table(rows: list[tuple[str, str]]) -> Any:
    from rich.table import Table
    from rich.text import Text

    from rawgenai import envelope

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, Text(envelope.line(value)))
    return table
