"""``rawgenai dashscope video recover``."""

from typing import TYPE_CHECKING, Any

import click

from rawgenai.cli import streams
from rawgenai.cli.command import Command
from rawgenai.cli.flags import number
from rawgenai.cli.region import regional
from rawgenai.errors import RawgenaiError

if TYPE_CHECKING:
    from rawgenai.dashscope.recovery import Recovery

_EXAMPLES = """\b
Examples:
  rawgenai dashscope video recover
  rawgenai dashscope video recover --settle 60 | jq .delivered"""


@click.command(cls=Command, epilog=_EXAMPLES, short_help="Settle what nobody knows, and fetch what was paid.")
@click.option(
    "--settle", type=number, metavar="S",
    help="How long a task must stay absent from the API's list to count as never created.  [default: 180]",
)  # fmt: skip
@click.option("--timeout", type=number, metavar="S", help="Give up after so many seconds.  [default: 1800]")
@regional("Settle and fetch what was submitted in this region, not in the configured one.")
@click.option("--quiet", "-q", is_flag=True, help="No progress and no warnings on stderr.")
def recover(settle: float | None, timeout: float | None, *, region: str | None, quiet: bool) -> dict[str, Any]:
    """Settle every submission whose outcome is unknown, and finish every download that was cut.

    It asks the API's list of tasks, and never submits anything.
    """
    from rawgenai import config
    from rawgenai.dashscope import recovery, waiting

    settings = config.load(region=region)
    with streams.transfer("download", quiet=quiet) as progress:
        done = recovery.recover(
            settle=recovery.SETTLE if settle is None else settle,
            timeout=waiting.TIMEOUT if timeout is None else timeout,
            settings=settings,
            warn=streams.warner(quiet=quiet),
            progress=progress,
            say=(lambda _: None) if quiet else streams.err,
        )
    return _envelope(done)


def _envelope(done: "Recovery") -> dict[str, Any]:
    """Say what was done. Raises RawgenaiError where something is left that a later call may mend."""
    from rawgenai import envelope

    left = [each for each in done.settled if not each.is_settled]
    if left:
        message = f"{len(left)} of {len(done.settled)} submissions are not settled ({', '.join(e.end for e in left)})"
        raise RawgenaiError(left[0].row.code or "connection_error", message, outcome="unknown")
    mendable = [error for _, error in done.failed if error.status == 4 or error.code == "output_write_error"]
    if mendable:
        raise mendable[0]
    return envelope.success(
        settled=[
            {"model": each.row.model, "prompt": each.row.prompt, "outcome": each.end, "task_id": each.task_id}
            for each in done.settled
        ],
        delivered=[{"task_id": row.task_id, "file": row.file} for row in done.delivered],
        waiting=[row.task_id for row in done.waiting],
        failed=[{"task_id": row.task_id, "code": error.code} for row, error in done.failed],
        elsewhere=[{"task_id": row.task_id, "base_url": row.base_url} for row in done.elsewhere] or None,
    )
