"""``rawgenai dashscope video status``."""

from typing import Any

import click

from rawgenai.cli import streams
from rawgenai.cli.command import Argument, Command

_EXAMPLES = """\b
Examples:
  rawgenai dashscope video status 0385dc79-5ff8-4d82-bcb6-7b2bbf2b1a24
  rawgenai dashscope video status 0385dc79-5ff8-4d82-bcb6-7b2bbf2b1a24 -v | jq -r .video_url"""


@click.command(cls=Command, epilog=_EXAMPLES, short_help="Get the status of a task.")
@click.argument("task_id", cls=Argument, code="missing_task_id")
@click.option("--verbose", "-v", is_flag=True, help="Also show the clip's URL and the prompts.")
@click.option("--quiet", "-q", is_flag=True, help="No warnings on stderr.")
def status(task_id: str, *, verbose: bool, quiet: bool) -> dict[str, Any]:
    """Get the status of a task: pending, running, succeeded or canceled; a failed one is an error that says why."""
    from rawgenai import envelope
    from rawgenai.dashscope import tasks, wire

    task = tasks.status(task_id, warn=streams.warner(quiet=quiet))
    if task.status == "failed":
        raise wire.failure(task)
    if task.status != "succeeded":
        return envelope.success(task_id=task_id, status=task.status)
    more = {name: getattr(task, name) for name in ("video_url", "orig_prompt", "actual_prompt") if verbose}
    return envelope.success(
        task_id=task_id, status=task.status, duration=task.duration, resolution=task.resolution, **more
    )
