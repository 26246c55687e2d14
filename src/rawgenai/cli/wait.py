"""``rawgenai dashscope video wait``."""

import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from rawgenai.cli import streams
from rawgenai.cli.command import Argument, Command, Option
from rawgenai.cli.flags import number
from rawgenai.cli.region import regional, settings_of, words
from rawgenai.cli.watching import Display, Stages, Watch
from rawgenai.errors import RawgenaiError

if TYPE_CHECKING:
    from rawgenai.config import Settings
    from rawgenai.dashscope.waiting import Look
    from rawgenai.dashscope.wire import Task

MAX_STDIN = 1024 * 1024  # bytes of ids
_FEW = 5  # ids that a person still likes to copy
_NAME = "{task_id}"  # in a file's name, where several clips are downloaded
_EXAMPLES = """\b
Examples:
  rawgenai dashscope video wait 0385dc79-5ff8-4d82-bcb6-7b2bbf2b1a24 -o cat.mp4
  rawgenai dashscope video wait 0385dc79-5ff8-4d82-bcb6-7b2bbf2b1a24 --timeout 600 && echo done
  rawgenai dashscope video wait - -o 'clips/{task_id}.mp4' < ids.txt"""


@click.command(cls=Command, epilog=_EXAMPLES, short_help="Wait until tasks have ended.")
@click.argument("task_ids", cls=Argument, code="missing_task_id", nargs=-1, metavar="TASK_ID...")
@click.option(
    "--output", "-o", cls=Option, code="missing_output", metavar="FILE.mp4",
    help="Download the clip to this file; for several tasks its name holds {task_id}.",
)  # fmt: skip
@click.option("--timeout", type=number, metavar="S", help="Wait no longer; the tasks go on.  [default: 1800]")
@click.option(
    "--poll-interval", type=number, metavar="S", help="Ask every so many seconds.  [default: 5, growing to 15]"
)
@regional()
@click.option("--verbose", "-v", is_flag=True, help="Also show the clip's URL and the prompts.")
@click.option("--quiet", "-q", is_flag=True, help="No progress and no warnings on stderr.")
def wait(
    task_ids: tuple[str, ...],
    output: str | None,
    timeout: float | None,
    poll_interval: float | None,
    *,
    region: str | None,
    verbose: bool,
    quiet: bool,
) -> dict[str, Any] | None:
    """Wait until tasks have ended, whatever the network does meanwhile.

    - reads ids from stdin. For several tasks, and with -, one line of JSON is printed for each as it ends, failures
    too. Ctrl-C stops the waiting, not the tasks.
    """
    from rawgenai.dashscope import tasks, waiting, wire

    ids = list(dict.fromkeys(_ids(task_ids)))
    if not ids:
        raise RawgenaiError("missing_task_id")
    for task_id in ids:
        wire.check_task_id(task_id)
    _check_output(output, ids)
    settings = settings_of(region)
    with Display(_watch(ids), quiet=quiet) as display:
        patience = waiting.TIMEOUT if timeout is None else timeout
        ending = _Ending(output, display, settings, patience, poll_interval, verbose=verbose, quiet=quiet)
        try:
            looks = tasks.wait_all(
                ids,
                timeout=patience,
                interval=poll_interval,
                settings=settings,
                warn=display.warn,
                seen=display.seen,
                sleep=display.sleep,
            )
            if len(ids) == 1 and "-" not in task_ids:
                return ending.envelope(next(looks))
            _each(len(ids), looks, ending)
        except KeyboardInterrupt:
            display.pause()
            streams.err(how_to_go_on([task_id for task_id in ids if task_id not in ending.done], output, region))
            raise
    return None


def how_to_go_on(task_ids: list[str], output: str | None, region: str | None = None) -> str:
    """Say to who stopped waiting that the tasks were not stopped, and how to wait for them again."""
    to = [*(["-o", output] if output else []), *words(region)]
    if len(task_ids) > _FEW:
        return f"{len(task_ids)} tasks are not stopped, only the waiting; to go on, run the same command again"
    they = f"{len(task_ids)} tasks are" if len(task_ids) > 1 else "the task is"
    command = shlex.join(["rawgenai", "dashscope", "video", "wait", *task_ids, *to])
    return f"{they} not stopped, only the waiting; to go on: {command}"


def _ids(words: tuple[str, ...]) -> Iterator[str]:
    for word in words:
        if word == "-":
            yield from _read_ids()
        else:
            yield word


def _read_ids() -> list[str]:
    """Read ids from stdin, which is never waited for at a terminal (ruling 7)."""
    from rawgenai import files

    if not files.stdin_is_given():
        raise RawgenaiError("missing_task_id", "'-' reads ids from stdin, and stdin is neither a pipe nor a file")
    raw = sys.stdin.buffer.read(MAX_STDIN + 1)
    if len(raw) > MAX_STDIN:
        raise RawgenaiError("invalid_usage", f"stdin holds more than {MAX_STDIN // 1024} KiB of task ids")
    return raw.decode("utf-8-sig", "replace").split()


def _check_output(output: str | None, ids: list[str]) -> None:
    """Find a place that cannot be written to before the waiting, not after it."""
    from rawgenai import files

    if output is None:
        return
    if len(ids) > 1 and _NAME not in output:
        raise RawgenaiError("invalid_usage", f"several clips cannot all be {output!r}: put {_NAME} into the name")
    for task_id in ids:
        files.check_target(output.replace(_NAME, task_id))


def _watch(ids: list[str]) -> Watch:
    """Make the watch; of one task it says how old that is and how long its model usually takes, where that is known."""
    from rawgenai.dashscope.models import MODELS
    from rawgenai.dashscope.recording import recorded

    with suppress(RawgenaiError), recorded(None, create=False) as book:
        row = book.find(ids[0]) if len(ids) == 1 else None
        if row is not None:
            minutes = MODELS[row.model].minutes if row.model in MODELS else None
            return Watch("waiting", minutes, age=max(0.0, time.time() - row.created_at))
    return Watch("waiting", total=len(ids))


class _Ending:
    """What becomes of a task that has ended: its clip on disk, its envelope."""

    def __init__(
        self,
        output: str | None,
        display: Display,
        settings: "Settings | None",
        patience: float,
        interval: float | None,
        *,
        verbose: bool,
        quiet: bool,
    ) -> None:
        self.done: list[str] = []
        self._end = time.monotonic() + patience
        self._interval = interval
        self._output = output
        self._display = display
        self._settings = settings
        self._verbose = verbose
        self._quiet = quiet

    def envelope(self, look: "Look") -> dict[str, Any]:
        """Download the clip, where that is wanted, and say how the task ended. Raises RawgenaiError."""
        from rawgenai.cli.status import shown
        from rawgenai.dashscope import wire

        self._display.pause()
        if isinstance(look.found, RawgenaiError):
            raise look.found
        if look.found.status != "succeeded":
            raise wire.failure(look.found)
        task, file = self._deliver(look.found) if self._output else (look.found, None)
        self.done.append(look.task_id)
        return shown(task, verbose=self._verbose, file=file)

    def _deliver(self, task: "Task") -> tuple["Task", str]:
        from rawgenai.dashscope import tasks

        output = (self._output or "").replace(_NAME, task.task_id)
        stages = Stages(self._display, output, "", quiet=self._quiet)
        stages.task = task
        try:
            return tasks.deliver(
                task.task_id,
                output,
                task=task,
                timeout=max(0.0, self._end - time.monotonic()),
                interval=self._interval,
                settings=self._settings,
                warn=stages.warn,
                seen=stages.seen,
                progress=stages.progress,
                sleep=stages.sleep,
            )
        finally:
            stages.end()


def _each(count: int, looks: Iterator["Look"], ending: _Ending) -> None:
    """Print a line for each task as it ends. Raises, of the errors among them, the most urgent."""
    from rawgenai import envelope

    errors: list[RawgenaiError] = []
    for look in looks:
        try:
            line = ending.envelope(look)
        except RawgenaiError as error:
            ending.done += [look.task_id] if error.status == 1 else []  # it failed for good
            errors.append(error)
            line = envelope.failure(error)
        streams.out(envelope.dumps(line))
    if errors:
        # The higher an exit status, the more can still become of the task: wait longer, try again, give up.
        worst = max(errors, key=lambda error: error.status)
        message = f"{len(errors)} of {count} tasks came to an error; the first to act on: {worst.message}"
        raise RawgenaiError(worst.code, message, task_id=worst.task_id, final=worst.final)
