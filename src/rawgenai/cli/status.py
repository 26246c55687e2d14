"""``rawgenai dashscope video status``."""

from typing import TYPE_CHECKING, Any

import click

from rawgenai.cli import streams
from rawgenai.cli.command import Argument, Command
from rawgenai.cli.region import regional, settings_of

if TYPE_CHECKING:
    from rawgenai.dashscope.wire import Task

_EXAMPLES = """\b
Examples:
  rawgenai dashscope video status 0385dc79-5ff8-4d82-bcb6-7b2bbf2b1a24
  rawgenai dashscope video status 0385dc79-5ff8-4d82-bcb6-7b2bbf2b1a24 -v | jq -r .video_url"""


@click.command(cls=Command, epilog=_EXAMPLES, short_help="Get the status of a task.")
@click.argument("task_id", cls=Argument, code="missing_task_id")
@regional()
@click.option("--verbose", "-v", is_flag=True, help="Also show the clip's URL and the prompts.")
@click.option("--quiet", "-q", is_flag=True, help="No warnings on stderr.")
def status(task_id: str, *, region: str | None, verbose: bool, quiet: bool) -> dict[str, Any]:
    """Get the status of a task: pending, running, succeeded or canceled; a failed one is an error that says why."""
    from rawgenai.dashscope import tasks, wire

    task = tasks.status(task_id, settings=settings_of(region), warn=streams.warner(quiet=quiet))
    if task.status == "failed":
        raise wire.failure(task)
    return shown(task, verbose=verbose)


def shown(task: "Task", *, verbose: bool, **more: Any) -> dict[str, Any]:
    """Write the envelope of a task that has not failed; ``more`` is what is known besides."""
    from rawgenai import envelope

    if task.status != "succeeded":
        return envelope.success(task_id=task.task_id, status=task.status, **more)
    said = {name: getattr(task, name) for name in ("video_url", "orig_prompt", "actual_prompt") if verbose}
    known = {"duration": task.duration, "resolution": task.resolution}
    return envelope.success(task_id=task.task_id, status=task.status, **more, **known, **said)
