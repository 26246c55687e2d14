"""``rawgenai dashscope video list``; a module named ``list`` would hide the built-in one from its package."""

import re
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from rawgenai.cli import streams
from rawgenai.cli.command import Command, integer
from rawgenai.cli.region import regional
from rawgenai.ledger import STATES, STATUSES

if TYPE_CHECKING:
    from rawgenai.dashscope.listing import Entry

_EXAMPLES = """\b
Examples:
  rawgenai dashscope video list --since 7d --model wan2.6-t2v
  rawgenai dashscope video list --remote --status succeeded | jq -r '.tasks[].task_id'

\b
Statuses: pending, running, succeeded, failed, canceled; and where no task is known,
what became of its submission: intended (it was on its way), refused (there is no
task), unknown (there may be one), lost (nobody will ever know)."""

# What a task can be: its status, or where no task is known, what is known of the submission.
_WORDS = (*STATUSES, *(state for state in STATES if state != "accepted"))
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_NARROW = 72  # columns of a terminal below which a task takes lines of its own
_PROMPT = 20  # columns that a prompt should have
_GAP = 2  # columns between two cells


def moment(text: str, now: float | None = None) -> float:
    """Read a moment: so long ago, such as 90m, 24h or 7d, or an ISO date or time, local unless it says its zone."""
    age = re.fullmatch(r"([0-9]{1,6})([smhdw])", text)
    if age:
        return (time.time() if now is None else now) - int(age[1]) * _SECONDS[age[2]]
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        message = f"{text!r} is neither an age, such as 90m, 24h or 7d, nor an ISO date or time."
        raise click.BadParameter(message) from None


def at_least_one(text: str | int) -> int:
    """Read a whole number above 0."""
    number = integer(text)
    if number < 1:
        raise click.BadParameter(f"{number} is not above 0.")
    return number


@click.command("list", cls=Command, epilog=_EXAMPLES, short_help="List the tasks that are known, newest first.")
@click.option("--status", type=click.Choice(_WORDS), metavar="WORD", help="Only those with this status, see below.")
@click.option("--model", "-m", metavar="MODEL", help="Only those of this model.")
@click.option("--since", type=moment, metavar="TIME", help="Only those since: 90m, 24h, 7d, or an ISO date or time.")
@click.option("--limit", "-L", type=at_least_one, default=30, metavar="N", help="At most so many.  [default: 30]")
@regional("Only those of this region; with --remote also by its list, not the configured one's.")
@click.option("--remote", is_flag=True, help="Also ask the API for its list of the last 24 hours; needs a key.")
@click.option("--json", "as_json", is_flag=True, help="Print the envelope at a terminal, too.")
def list_(limit: int, *, region: str | None, remote: bool, as_json: bool, **wanted: Any) -> dict[str, Any] | str:
    """List the tasks that the local ledger knows, newest first.

    hours_left is for how long a clip can surely still be downloaded: the API keeps it for 24 hours.
    """
    from rawgenai import config, envelope
    from rawgenai.dashscope import listing

    settings = config.load(region=region) if remote else None
    if settings is not None:
        streams.emulated(settings.base_url)
    found = listing.list_tasks(limit + 1, region=region, remote=remote, settings=settings, **wanted)
    entries, now = found[:limit], time.time()
    if settings is not None and (sentence := listing.elsewhere(entries, settings, now)):
        streams.err(sentence)
    if as_json or not streams.is_screen():
        return envelope.success(tasks=[listing.facts(entry, now) for entry in entries])
    if len(found) > limit:
        streams.err(f"these are the newest {limit}; there are more: --limit N")
    return streams.drawn(lambda columns: shown(entries, now, columns)) if entries else "no tasks are known"


def shown(entries: Sequence["Entry"], now: float, columns: int) -> Iterator[Any]:
    """Draw entries for a person: a line each where the terminal is wide enough, with the columns that fit."""
    from rich.table import Table
    from rich.text import Text

    from rawgenai.dashscope.listing import hours_left

    left = [hours_left(entry, now) for entry in entries]
    every = {
        "TASK ID": [entry.task_id or "-" for entry in entries],
        "STATUS": [entry.status for entry in entries],
        "LEFT": ["-" if hours is None else f"{hours:g} h" for hours in left],
        "MODEL": [_plain(entry.model or "-") for entry in entries],
        "CREATED": [_local(entry.created_at) for entry in entries],
        "PROMPT": [_plain(entry.prompt or "") for entry in entries],
    }
    if columns < _NARROW:
        for cells in zip(*every.values(), strict=True):
            yield Text("\n  ".join(_stacked(cells, columns)))
        return
    widths = {name: _width([name, *cells]) + _GAP for name, cells in every.items() if name != "PROMPT"}
    for name in ("CREATED", "MODEL"):  # the first to go where it is narrow
        if sum(widths.values()) + _PROMPT > columns:
            del widths[name], every[name]
    room = columns - sum(widths.values())
    every["PROMPT"] = [_cut(prompt, room) for prompt in every["PROMPT"]]
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False)
    for name in every:
        table.add_column(name, header_style="dim", overflow="fold")
    for cells in zip(*every.values(), strict=True):
        table.add_row(*map(Text, cells))
    yield table


def _stacked(cells: Sequence[str], columns: int) -> Iterator[str]:
    """Write a task in lines of its own: its id whole, because it is what people copy."""
    task_id, status, left, model, created, prompt = cells
    yield "(no task id)" if task_id == "-" else task_id
    state = f"{status}, {created}" if left == "-" else f"{status}, {left} left, {created}"
    yield from (_cut(text, columns - 2) for text in (state, model, prompt) if text)


def _width(cells: Sequence[str]) -> int:
    """How many columns the widest cell takes; a Chinese character takes two."""
    from rich.cells import cell_len

    return max(map(cell_len, cells))


def _cut(text: str, columns: int) -> str:
    """Make text fit into so many columns, with an ellipsis where something is missing."""
    from rich.text import Text

    line = Text(text)
    line.truncate(max(1, columns), overflow="ellipsis")
    return line.plain


def _plain(text: str) -> str:
    """Make one line of text that acts on no terminal: breaks become spaces, other controls are escaped."""
    from rawgenai import envelope

    return envelope.line(" ".join(text.split()))


def _local(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC).astimezone():%Y-%m-%d %H:%M}"
