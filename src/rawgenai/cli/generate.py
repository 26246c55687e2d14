"""``rawgenai dashscope video generate``."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click

from rawgenai.cli import streams
from rawgenai.cli.command import Command, Option
from rawgenai.cli.flags import asking, checked_key, number, ready, spec_of
from rawgenai.cli.region import regional
from rawgenai.cli.wait import how_to_go_on
from rawgenai.cli.watching import Display, Stages, Watch
from rawgenai.errors import RawgenaiError, flag_of

if TYPE_CHECKING:
    from rawgenai.dashscope.evidence import Evidence
    from rawgenai.dashscope.generation import Clip
    from rawgenai.dashscope.normalized import Normalized
    from rawgenai.dashscope.spec import Spec
    from rawgenai.dashscope.waiting import Look

_EVIDENCE = os.path.join("ai-video-wan-video", "evidence")

_EXAMPLES = """\b
Examples:
  rawgenai dashscope video generate "A kitten running in the moonlight" -o kitten.mp4
  rawgenai dashscope video generate "一只猫在花园里玩耍" --ratio 9:16 -o cat.mp4
  rawgenai dashscope video generate "让画面中的人物微笑" --image photo.jpg --max-cost 3 -o smile.mp4
  rawgenai dashscope video generate --request request.json | jq -r .video_url

\b
The same command again goes on where it was cut off, and never pays twice: a clip that is on disk is not asked for
again (--no-cache does), a task that was paid is waited for, a lost answer is looked up."""


@click.command(cls=Command, epilog=_EXAMPLES, short_help="From prompt to file: create, wait and download.")
@asking
@regional()
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
    "--settle",
    type=number,
    metavar="S",
    help="How long a task whose answer was lost must stay absent to count as never created.  [default: 180]",
)
@click.option(
    "--request",
    metavar="FILE",
    help="Read what is asked for from a JSON file, the normalised request of video.generate; - is stdin.",
)
@click.option(
    "--evidence",
    cls=Option,
    bare="",
    metavar="[=DIR]",
    help="Keep every request, answer and a log, in a folder of this run's own."
    "  [default: ai-video-wan-video/evidence under $OUTPUT_DIR or output/]",
)
@click.option("--verbose", "-v", is_flag=True, help="Also show the clip's URL and the prompts.")
def generate(
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
    output: str | None,
    no_cache: bool,
    timeout: float | None,
    poll_interval: float | None,
    settle: float | None,
    request: str | None,
    evidence: str | None,
    region: str | None,
    verbose: bool,
    quiet: bool,
    **given: Any,
) -> dict[str, Any] | str:
    """Make a clip and wait until it is on disk: create, wait and download in one.

    The PROMPT is the argument, else --prompt-file, else stdin where it is a pipe or a file; - is stdin.
    """
    warn = streams.warner(quiet=quiet)
    key = checked_key(idempotency_key, no_ledger=no_ledger)
    normalized = None
    if request is None:
        spec = spec_of(prompt, prompt_file, refs, given)
    else:
        _check_alone({"PROMPT": prompt, "prompt_file": prompt_file, "ref": refs or None, **given})
        normalized, spec, warnings = _read_request(request)
        for warning in warnings:
            warn(warning)
    spec, model, settings = ready(spec, region, strict=strict, output=output)
    from rawgenai.dashscope import budget

    bill = budget.bill(spec, model, settings.base_url, region=settings.region)
    budget.check_budget(bill, max_cost=max_cost, max_seconds=max_seconds)
    if dry_run is not None:
        from rawgenai.cli import dryrun

        return dryrun.answer(spec, settings, dry_run, bill, quiet=quiet)
    from rawgenai.dashscope import generation, recovery, tasks, waiting
    from rawgenai.ledger import Ledger

    if not quiet:
        streams.emulated(settings.base_url)
    with (
        Display(Watch("submitting", model.minutes), quiet=quiet) as display,
        _kept(evidence, settings.base_url, warn) as keep,
    ):
        stages = Stages(display, output, budget.sentence(bill), quiet=quiet)
        display.show()
        try:
            clip = generation.generate(
                spec,
                output=output,
                cache=not no_cache,
                key=key,
                more=_unsent(normalized),
                timeout=waiting.TIMEOUT if timeout is None else timeout,
                interval=poll_interval,
                settle=recovery.SETTLE if settle is None else settle,
                settings=settings,
                send=None if keep is None else keep.recording(tasks.sender(settings)),
                ledger=Ledger(None) if no_ledger else None,
                strict=strict,
                warn=stages.warn,
                progress=stages.progress,
                created=stages.created,
                resumed=stages.resumed,
                seen=stages.seen if keep is None else _noting(keep, stages.seen),
                sleep=stages.sleep,
            )
        except KeyboardInterrupt:
            stages.end()
            if stages.task is not None:
                place = output or os.path.join(_folder(generation.FOLDER), f"{stages.task.task_id}.mp4")
                streams.err(how_to_go_on([stages.task.task_id], place, region))
            raise
        finally:
            stages.end()
        result = _envelope(clip, normalized, verbose=verbose)
        if verbose and not clip.cached:
            result |= budget.shown(bill)
        if keep is not None:
            keep.finish(result)
    return result


def _folder(name: str) -> str:
    return os.path.join(os.environ.get("OUTPUT_DIR") or "output", name)


def _check_alone(given: Mapping[str, Any]) -> None:
    """Refuse flags beside a request that says it all."""
    named = [name for name, value in given.items() if value is not None]
    if named:
        flag = named[0] if named[0].isupper() else flag_of(named[0])
        raise RawgenaiError("invalid_usage", f"--request says all that is asked for; {flag} cannot be given beside it")


def _read_request(file: str) -> tuple["Normalized", "Spec", list[str]]:
    from rawgenai import files
    from rawgenai.dashscope import normalized

    request = normalized.read(files.read_bounded(file, "--request", normalized.MAX_REQUEST))
    return request, *normalized.spec_of(request)


def _unsent(request: "Normalized | None") -> dict[str, Any]:
    """Name what makes two requests differ though the API is not told of it (skill, "Cache by")."""
    given = {} if request is None else {"fps": request.fps, "motion_strength": request.motion_strength}
    return {name: value for name, value in given.items() if value is not None}


@contextmanager
def _kept(folder: str | None, base_url: str, warn: Callable[[str], None]) -> Iterator["Evidence | None"]:
    """Keep the evidence of a run, from its start to whatever its end is."""
    if folder is None:
        yield None
        return
    from rawgenai import envelope
    from rawgenai.dashscope.evidence import Evidence

    run = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    keep = Evidence(os.path.join(folder or _folder(_EVIDENCE), run), warn=warn)
    keep.note(f"start: {base_url}")
    try:
        yield keep
    except RawgenaiError as error:
        keep.finish(envelope.failure(error))
        raise
    except KeyboardInterrupt:
        keep.note("interrupted")
        raise
    except Exception as error:  # a mistake of ours
        keep.note(f"end: {type(error).__name__}")
        raise


def _noting(keep: "Evidence", seen: Callable[["Look"], None]) -> Callable[["Look"], None]:
    """Write each change of status into the log of a run, and the final URL."""
    said = ""

    def noted(look: "Look") -> None:
        nonlocal said
        seen(look)
        found = look.found
        now = (
            found.code if isinstance(found, RawgenaiError) else " ".join(filter(None, (found.status, found.video_url)))
        )
        if now != said:
            said = now
            keep.note(f"task {look.task_id}: {now}")

    return noted


def _envelope(clip: "Clip", request: "Normalized | None", *, verbose: bool) -> dict[str, Any]:
    """Write the envelope of a clip, and beside it the normalised response where a normalised request asked."""
    from rawgenai.cli.status import shown

    result = shown(clip.task, verbose=verbose, file=clip.file, cached=clip.cached or None)
    if request is None:
        return result
    from rawgenai import media
    from rawgenai.dashscope import normalized

    seconds = fps = None
    with suppress(ValueError, OSError):  # a clip that does not say is a clip all the same
        measured = media.measure(clip.file)
        seconds, fps = measured.seconds, measured.fps
    return result | normalized.response(request, video_url=clip.task.video_url, duration=seconds, fps=fps)
