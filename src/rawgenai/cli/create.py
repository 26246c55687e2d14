"""``rawgenai dashscope video create``."""

from typing import Any

import click

from rawgenai.cli import streams
from rawgenai.cli.command import Command
from rawgenai.cli.flags import asking, checked_key, ready, spec_of
from rawgenai.cli.region import regional, words

_EXAMPLES = """\b
Examples:
  rawgenai dashscope video create "一只猫在花园里玩耍"
  rawgenai dashscope video create "A kitten running in the moonlight" --ratio 9:16 --duration 10
  rawgenai dashscope video create "让画面中的人物微笑" --image photo.jpg --audio
  rawgenai dashscope video create "character1 在海边散步" --ref person.jpg
  rawgenai dashscope video create "场景过渡" --first-frame start.jpg --last-frame end.jpg
  cat prompt.txt | rawgenai dashscope video create --dry-run | jq .request.body

\b
The mode follows from the inputs: a prompt alone is text-to-video (t2v), --image is image-to-video (i2v),
--ref is reference-to-video (r2v), --first-frame is keyframe-to-video (kf2v)."""


@click.command(cls=Command, epilog=_EXAMPLES, short_help="Create a video generation task.")
@asking
@regional()
def create(
    prompt: str | None,
    prompt_file: str | None,
    refs: tuple[str, ...],
    *,
    strict: bool,
    dry_run: str | None,
    no_ledger: bool,
    max_cost: float | None,
    max_seconds: float | None,
    idempotency_key: str | None,
    quiet: bool,
    region: str | None,
    **given: Any,
) -> dict[str, Any] | str:
    """Create a video generation task.

    The PROMPT is the argument, else --prompt-file, else stdin where it is a pipe or a file; - is stdin.
    """
    key = checked_key(idempotency_key, no_ledger=no_ledger)
    spec = spec_of(prompt, prompt_file, refs, given)
    spec, model, settings = ready(spec, region, strict=strict)
    warn = streams.warner(quiet=quiet)
    if max_cost is not None or max_seconds is not None or dry_run is not None:
        from rawgenai.dashscope import budget

        bill = budget.bill(spec, model, settings.base_url, region=settings.region)
        budget.check_budget(bill, max_cost=max_cost, max_seconds=max_seconds)
        if dry_run is not None:
            from rawgenai.cli import dryrun

            return dryrun.answer(spec, settings, dry_run, bill, quiet=quiet)
    from rawgenai import envelope
    from rawgenai.dashscope import tasks
    from rawgenai.ledger import Ledger

    if not quiet:
        streams.emulated(settings.base_url)
    book = Ledger(None) if no_ledger else None
    with streams.transfer("upload", quiet=quiet) as progress:
        task = tasks.create(spec, key=key, settings=settings, ledger=book, strict=strict, warn=warn, progress=progress)
    if not quiet and streams.is_person():
        shortest, longest = model.minutes
        wait = " ".join(["rawgenai dashscope video wait", task.task_id, *words(region)])
        streams.err(f"{model.name} usually takes {shortest} to {longest} minutes; wait with: {wait}")
    return envelope.success(task_id=task.task_id, status=task.status)
