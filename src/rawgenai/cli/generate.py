"""``rawgenai dashscope video generate``."""

import os
from typing import Any

import click

from rawgenai.cli import streams
from rawgenai.cli.command import Command, Option
from rawgenai.cli.flags import asking, checked_key, number, spec_of
from rawgenai.cli.wait import how_to_go_on
from rawgenai.cli.watching import Display, Stages, Watch

_EXAMPLES = """\b
Examples:
  rawgenai dashscope video generate "A kitten running in the moonlight" -o kitten.mp4
  rawgenai dashscope video generate "一只猫在花园里玩耍" --ratio 9:16 -o cat.mp4
  rawgenai dashscope video generate "让画面中的人物微笑" --image photo.jpg -o smile.mp4

\b
The same command again goes on where it was cut off, and never pays twice: a clip that is on disk is not asked for
again (--no-cache does), a task that was paid is waited for, a lost answer is looked up."""


@click.command(cls=Command, epilog=_EXAMPLES, short_help="From prompt to file: create, wait and download.")
@asking
@click.option(
    "--output", "-o", cls=Option, code="missing_output", metavar="FILE.mp4",
    help="Where the clip goes.  [default: ai-video-wan-video/videos/TASK_ID.mp4 under $OUTPUT_DIR or output/]",
)  # fmt: skip
@click.option("--no-cache", is_flag=True, help="Make a new clip, whatever there is of the same request already.")
@click.option("--timeout", type=number, metavar="S", help="Wait no longer; the task goes on.  [default: 1800]")
@click.option(
    "--poll-interval", type=number, metavar="S", help="Ask every so many seconds.  [default: 5, growing to 15]"
)
@click.option(
    "--settle", type=number, metavar="S",
    help="How long a task whose answer was lost must stay absent to count as never created.  [default: 180]",
)  # fmt: skip
@click.option("--verbose", "-v", is_flag=True, help="Also show the clip's URL and the prompts.")
def generate(
    prompt: str | None,
    prompt_file: str | None,
    refs: tuple[str, ...],
    *,
    strict: bool,
    dry_run: str | None,
    no_ledger: bool,
    idempotency_key: str | None,
    output: str | None,
    no_cache: bool,
    timeout: float | None,
    poll_interval: float | None,
    settle: float | None,
    verbose: bool,
    quiet: bool,
    **given: Any,
) -> dict[str, Any] | str:
    """Make a clip and wait until it is on disk: create, wait and download in one.

    The PROMPT is the argument, else --prompt-file, else stdin where it is a pipe or a file; - is stdin.
    """
    from rawgenai.dashscope import rules

    key = checked_key(idempotency_key, no_ledger=no_ledger)
    spec = spec_of(prompt, prompt_file, refs, given)
    rules.select(spec, strict=strict)  # flags, model and rules object first; a refusal needs nothing of what follows
    from rawgenai.dashscope import loading

    spec, model, _ = loading.prepare(spec, strict=strict)
    from rawgenai import config

    settings = config.load()
    warn = streams.warner(quiet=quiet)
    if dry_run is not None:
        from rawgenai.cli import dryrun

        return dryrun.answer(spec, settings.base_url, dry_run, warn)
    from rawgenai.cli.status import shown
    from rawgenai.dashscope import generation, recovery, waiting
    from rawgenai.ledger import Ledger

    if not quiet:
        streams.emulated(settings.base_url)
    with Display(Watch("submitted", model.minutes), quiet=quiet) as display:
        stages = Stages(display, output, quiet=quiet)
        try:
            clip = generation.generate(
                spec,
                output=output,
                cache=not no_cache,
                key=key,
                timeout=waiting.TIMEOUT if timeout is None else timeout,
                interval=poll_interval,
                settle=recovery.SETTLE if settle is None else settle,
                settings=settings,
                ledger=Ledger(None) if no_ledger else None,
                strict=strict,
                warn=warn,
                progress=stages.progress,
                created=stages.created,
                seen=stages.seen,
            )
        except KeyboardInterrupt:
            stages.end()
            if stages.task is not None:
                default = os.path.join(os.environ.get("OUTPUT_DIR") or "output", generation.FOLDER, "{task_id}.mp4")
                place = output or default.format(task_id=stages.task.task_id)
                streams.err(how_to_go_on([stages.task.task_id], place))
            raise
        finally:
            stages.end()
    return shown(clip.task, verbose=verbose, file=clip.file, cached=clip.cached or None)
