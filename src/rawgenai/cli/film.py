"""``rawgenai video``: what is done with clips on this machine, whoever made them."""

import os
from collections.abc import Callable
from typing import Any

import click

from rawgenai.cli import streams
from rawgenai.cli.command import Argument, Command, Group, Option
from rawgenai.cli.flags import number


def _output(name: str, what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(
        "--output", "-o", cls=Option, code="missing_output", required=True, metavar=name,
        help=f"Where {what} goes; an existing file is replaced once the new one is whole.",
    )  # fmt: skip


@click.command(
    cls=Command,
    short_help="Join clips to a film.",
    epilog="""\b
Examples:
  rawgenai video join morning.mp4 noon.mp4 evening.mp4 -o day.mp4
  rawgenai video join shot-*.mp4 -o film.mp4 --audio 配乐.mp3 --crossfade 0.5""",
)
@click.argument("clips", nargs=-1, required=True, cls=Argument, metavar="CLIP...")
@_output("FILM.mp4", "the film")
@click.option("--audio", metavar="FILE", help="A WAV, MP3 or M4A file that stands in for all sound.")
@click.option(
    "--crossfade", type=number, default=0.0, metavar="S", help="Seconds that each clip fades over into the next."
)
@click.option("--quiet", "-q", is_flag=True, help="No warnings on stderr.")
def join(clips: tuple[str, ...], output: str, *, audio: str | None, crossfade: float, quiet: bool) -> dict[str, Any]:
    """Join clips to a film, in their order, without encoding anew what is alike in all of them.

    What differs is encoded to the first clip's pixels and frames a second; the envelope and a warning say why.
    """
    from rawgenai import envelope, film

    warn = streams.warner(quiet=quiet)
    with streams.transfer(os.path.basename(output), quiet=quiet, unit="s") as progress:
        made = film.join(clips, output, audio=audio, crossfade=crossfade, warn=warn, progress=progress)
    return envelope.success(**joined(made))


def joined(made: Any) -> dict[str, Any]:
    """Write a film that was joined as an envelope has it."""
    fields: dict[str, Any] = made._asdict()
    return fields | {"seconds": _plain(made.seconds), "reasons": made.reasons or None}


@click.command(
    "last-frame",
    cls=Command,
    short_help="Take the last frame of a clip.",
    epilog="""\b
Example:
  rawgenai video last-frame kitten.mp4 -o last.png""",
)
@click.argument("clip", cls=Argument, metavar="CLIP")
@_output("IMAGE.png", "the picture")
def last_frame(clip: str, output: str) -> dict[str, Any]:
    """Take the last frame of a clip that is shown, with the clip's own pixels: the next clip can begin with it."""
    from rawgenai import envelope, film

    return envelope.success(file=film.last_frame(clip, output))


@click.command(
    cls=Command,
    short_help="Say what a clip is.",
    epilog="""\b
Examples:
  rawgenai video info kitten.mp4
  rawgenai video info kitten.mp4 | jq .seconds""",
)
@click.argument("clip", cls=Argument, metavar="CLIP")
def info(clip: str) -> dict[str, Any]:
    """Say what a clip is: seconds, pixels as shown, frames a second, sound and codecs."""
    from rawgenai import envelope, film

    found = film.info(clip)
    return envelope.success(**found._asdict() | {"seconds": _plain(found.seconds), "fps": _plain(found.fps)})


def _plain(number: float) -> float:
    """Round to milliseconds and the like; what is whole is written as such."""
    rounded = round(number, 3)
    return int(rounded) if rounded == int(rounded) else rounded


video = Group(
    "video",
    help="Work on clips on this machine: no key, no network, nothing to pay.",
    epilog="""\b
Example:
  rawgenai video join morning.mp4 noon.mp4 evening.mp4 -o day.mp4""",
    lazy={
        "join": ("rawgenai.cli.film:join", "Join clips to a film."),
        "last-frame": ("rawgenai.cli.film:last_frame", "Take the last frame of a clip."),
        "info": ("rawgenai.cli.film:info", "Say what a clip is."),
    },
)
