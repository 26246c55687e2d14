"""``rawgenai dashscope video cancel``."""

from typing import Any

import click

from rawgenai.cli import streams
from rawgenai.cli.command import Argument, Command
from rawgenai.cli.region import regional, settings_of

_EXAMPLES = """\b
Example:
  rawgenai dashscope video cancel 0385dc79-5ff8-4d82-bcb6-7b2bbf2b1a24

Only a pending task can be canceled; a running one goes on, and is paid."""


@click.command(cls=Command, epilog=_EXAMPLES, short_help="Take a pending task back, so that it is not paid.")
@click.argument("task_id", cls=Argument, code="missing_task_id")
@regional()
@click.option("--quiet", "-q", is_flag=True, help="No warnings on stderr.")
def cancel(task_id: str, *, region: str | None, quiet: bool) -> dict[str, Any]:
    """Take a pending task back, so that it never starts and is not paid; once more does no harm."""
    from rawgenai import envelope
    from rawgenai.dashscope import tasks

    task = tasks.cancel(task_id, settings=settings_of(region), warn=streams.warner(quiet=quiet))
    return envelope.success(task_id=task.task_id, status=task.status)
