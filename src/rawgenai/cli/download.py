"""``rawgenai dashscope video download``."""

import os
from typing import Any

import click

from rawgenai.cli import streams
from rawgenai.cli.command import Argument, Command, Option
from rawgenai.cli.region import regional, settings_of

_EXAMPLES = """\b
Example:
  rawgenai dashscope video download 0385dc79-5ff8-4d82-bcb6-7b2bbf2b1a24 -o cat.mp4"""


@click.command(cls=Command, epilog=_EXAMPLES, short_help="Download the clip of a succeeded task.")
@click.argument("task_id", cls=Argument, code="missing_task_id")
@click.option(
    "--output", "-o", cls=Option, code="missing_output", required=True, metavar="FILE.mp4",
    help="Where the clip goes; an existing file is replaced once the new one is whole.",
)  # fmt: skip
@regional()
@click.option("--quiet", "-q", is_flag=True, help="No progress and no warnings on stderr.")
def download(task_id: str, output: str, *, region: str | None, quiet: bool) -> dict[str, Any]:
    """Download the clip of a succeeded task.

    A cut download goes on where it stopped, also when the command is repeated. A clip can be fetched for 24 hours.
    """
    from rawgenai import envelope
    from rawgenai.dashscope import tasks

    with streams.transfer(os.path.basename(output), quiet=quiet) as progress:
        settings, warn = settings_of(region), streams.warner(quiet=quiet)
        file = tasks.download(task_id, output, settings=settings, warn=warn, progress=progress)
    return envelope.success(task_id=task_id, file=file)
