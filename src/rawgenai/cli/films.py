"""``rawgenai dashscope video film``."""

import os
from itertools import count
from typing import TYPE_CHECKING, Any

import click

from rawgenai.cli import streams
from rawgenai.cli.command import Argument, Command, Option
from rawgenai.cli.film import joined
from rawgenai.cli.flags import number
from rawgenai.cli.region import regional
from rawgenai.cli.watching import Display, Stages, Watch

if TYPE_CHECKING:
    from rawgenai.dashscope.budget import Bill
    from rawgenai.dashscope.films import Shot
    from rawgenai.dashscope.generation import Clip
    from rawgenai.dashscope.spec import Spec

_EXAMPLES = """\b
Examples:
  rawgenai dashscope video film shots.jsonl -o film.mp4
  rawgenai dashscope video film shots.jsonl -o film.mp4 --dry-run | jq .billed_seconds
  jq -c '.[]' shots.json | rawgenai dashscope video film - -o film.mp4 --audio 配乐.mp3 --max-cost 20

\b
A line is a JSON object with the fields that docs/usage.md lists, named as the flags of generate:
  {"prompt": "A kitten wakes up in the moonlight"}
  {"prompt": "它跳上窗台", "duration": 4, "audio": true}
  {"prompt": "The garden at dawn", "continue": false}

\b
The same command again goes on where it was cut off, and never pays twice: clips that are on disk are not asked for
again, a task that was paid is waited for."""


@click.command(cls=Command, epilog=_EXAMPLES, short_help="Make a film, shot after shot.")
@click.argument("shots", cls=Argument, metavar="SHOTS.jsonl")
@click.option(
    "--output", "-o", cls=Option, code="missing_output", required=True, metavar="FILM.mp4",
    help="Where the film goes; an existing file is replaced once the new one is whole.",
)  # fmt: skip
@click.option(
    "--clips", metavar="DIR",
    help="Where the shots' clips go, each named after its task, and stay.  [default: NAME.clips beside NAME.mp4]",
)  # fmt: skip
@regional()
@click.option("--audio", metavar="FILE", help="A WAV, MP3 or M4A file that stands in for all sound.")
@click.option("--crossfade", type=number, default=0.0, metavar="S", help="Seconds that each shot fades over.")
@click.option("--strict", is_flag=True, help="Refuse what would only be warned of, such as a prompt that is cut.")
@click.option("--max-cost", type=number, metavar="AMOUNT", help="Refuse a film that costs more by the list, in CNY.")
@click.option("--max-seconds", type=number, metavar="S", help="Refuse a film that is billed for more seconds.")
@click.option("--timeout", type=number, metavar="S", help="Wait no longer for a shot; it goes on.  [default: 1800]")
@click.option(
    "--poll-interval", type=number, metavar="S", help="Ask every so many seconds.  [default: 5, growing to 15]"
)
@click.option(
    "--settle", type=number, metavar="S",
    help="How long a task whose answer was lost must stay absent to count as never created.  [default: 180]",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Print every shot's request as JSON and send nothing; needs no key.")
@click.option("--verbose", "-v", is_flag=True, help="Also show each clip's URL and prompts.")
@click.option("--quiet", "-q", is_flag=True, help="No progress and no warnings on stderr.")
def film(
    shots: str,
    output: str,
    *,
    clips: str | None,
    region: str | None,
    audio: str | None,
    crossfade: float,
    strict: bool,
    max_cost: float | None,
    max_seconds: float | None,
    timeout: float | None,
    poll_interval: float | None,
    settle: float | None,
    dry_run: bool,
    verbose: bool,
    quiet: bool,
) -> dict[str, Any]:
    """Make a film: one shot a line, each from the last frame of the one before, joined at the end.

    - reads the lines from stdin. "continue": false cuts; a clip's path there goes on from that clip. A shot that names
    an image, a video or references of its own begins with these.
    """
    from rawgenai import config, envelope, files
    from rawgenai.dashscope import films

    specs = films.read(files.read_bounded(shots, "SHOTS", films.MAX_SHOTS))
    planned = films.plan(specs, strict=strict, crossfade=crossfade)
    films.check_target(specs, output, folder=clips, audio=audio, crossfade=crossfade)
    settings = config.load(region=region)
    planned = films.judged(planned, settings, strict=strict)
    from rawgenai.dashscope import budget

    bills = [budget.bill(shot.spec, shot.model, settings.base_url, region=settings.region) for shot in planned]
    whole = budget.total(bills)
    budget.check_budget(whole, max_cost=max_cost, max_seconds=max_seconds)
    if dry_run:
        return _dry(planned, bills, whole, settings.base_url, quiet=quiet)
    if not quiet:
        streams.emulated(settings.base_url)
        shots_of = "1 shot, if it is not" if len(planned) == 1 else f"{len(planned)} shots, if none is"
        streams.err(f"{shots_of} there yet: {budget.sentence(whole)}")
    given = {"timeout": timeout, "interval": poll_interval, "settle": settle}
    screen = _Screen(planned, bills, {name: value for name, value in given.items() if value is not None}, quiet=quiet)
    try:
        with streams.transfer(os.path.basename(output), quiet=quiet, unit="s") as joining:
            made = films.film(
                specs,
                output,
                folder=clips,
                audio=audio,
                crossfade=crossfade,
                strict=strict,
                settings=settings,
                warn=screen.warn,
                shoot=screen.shoot,
                joining=joining,
            )
    except KeyboardInterrupt:
        streams.err("the same command goes on where this one stopped; what was paid is not paid again")
        raise
    done = [_clip(clip, verbose=verbose) for clip in made.shots]
    return envelope.success(**joined(made) | {"shots": done})


def _clip(clip: "Clip", *, verbose: bool) -> dict[str, Any]:
    from rawgenai.cli.status import shown

    said = shown(clip.task, verbose=verbose, file=clip.file, cached=clip.cached or None)
    return {name: value for name, value in said.items() if name != "success"}


def _dry(planned: list["Shot"], bills: list["Bill"], whole: "Bill", base_url: str, *, quiet: bool) -> dict[str, Any]:
    """Write what would be sent of every shot; where it goes on from the one before, the frame is named, not shown."""
    from rawgenai import envelope
    from rawgenai.cli import dryrun
    from rawgenai.dashscope import budget

    warn = streams.warner(quiet=quiet)
    shots = []
    for shot, bill in zip(planned, bills, strict=True):
        for warning in shot.warnings:
            warn(f"line {shot.line}: {warning}")
        request = dryrun.shown(dryrun.request_of(shot.spec, shot.model), base_url)
        shots.append({"request": request, **budget.shown(bill)})
    return envelope.success(dry_run=True, shots=shots, **budget.shown(whole))


class _Screen:
    """Makes the clips of a film's shots, one after the other, and shows people how each of them comes along."""

    def __init__(self, planned: list["Shot"], bills: list["Bill"], given: dict[str, Any], *, quiet: bool) -> None:
        self._planned = planned
        self._bills = bills
        self._given = given
        self._quiet = quiet
        self._warn = streams.warner(quiet=quiet)  # above the live line, while there is one
        self._places = count()

    def warn(self, text: str) -> None:
        """Tell of a warning."""
        self._warn(text)

    def shoot(self, spec: "Spec", **asked: Any) -> "Clip":
        """Make the next shot's clip, as ``generate`` does."""
        from rawgenai.dashscope import budget, generation

        place = next(self._places)
        name = f"shot {place + 1} of {len(self._planned)}"
        self._say(name)
        with Display(Watch(name, self._planned[place].model.minutes), quiet=self._quiet) as display:
            self._warn, plain = display.warn, self._warn
            stages = Stages(display, None, budget.sentence(self._bills[place]), quiet=self._quiet)
            display.show()
            shown = {
                "progress": stages.progress,
                "created": stages.created,
                "resumed": stages.resumed,
                "seen": stages.seen,
                "sleep": stages.sleep,
            }
            try:
                clip = generation.generate(spec, **asked | self._given | shown)
            finally:
                stages.end()
                self._warn = plain
        if clip.cached:
            self._say(f"{os.path.basename(clip.file)} is there already")
        return clip

    def _say(self, line: str) -> None:
        if not self._quiet:
            streams.err(line)
