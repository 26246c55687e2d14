"""The flags that `create` and `generate` share, and the way from them to a Spec that may be sent."""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rawgenai.cli.command import Option, integer
from rawgenai.secret import ENVIRON

if TYPE_CHECKING:
    from rawgenai.config import Settings
    from rawgenai.dashscope.models import Model
    from rawgenai.dashscope.spec import Spec

F = TypeVar("F", bound=Callable[..., Any])


def number(text: str | float) -> float:
    """Read a number above or at 0 in ASCII digits, such as 2.5 or .5."""
    if not re.fullmatch(r"(?=.)[0-9]{0,9}(\.[0-9]{1,9})?", str(text)):
        raise click.BadParameter(f"{text!r} is not a number of 0 or more.")
    return float(text)


def _voices(_ctx: click.Context, _param: click.Parameter, given: tuple[str, ...]) -> tuple[str | None, ...] | None:
    """Read voices as the Spec has them: None for a reference that has none."""
    return tuple(voice or None for voice in given) or None


_ASKING = (
    click.argument("prompt", required=False),
    click.option("--image", "-i", metavar="FILE|URL", help="Input image, for i2v."),
    click.option(
        "--ref", "refs", cls=Option, code="missing_ref", multiple=True, metavar="FILE|URL",
        help="Reference image or video, for r2v; up to 5, at most 3 of them videos (wan3.0: also sounds)."
        " They are character1, character2, ...",
    ),
    click.option(
        "--ref-voice", "ref_voices", multiple=True, callback=_voices, metavar="FILE|URL",
        help="Voice of a reference: the first one is the first --ref's, and so on; '' for none (wan2.7-r2v)."
        " WAV or MP3, 1 to 10 s.",
    ),
    click.option("--first-frame", metavar="FILE|URL", help="First frame, for kf2v."),
    click.option("--last-frame", metavar="FILE|URL", help="Last frame, for kf2v; with --first-frame."),
    click.option(
        "--continue", "continues", metavar="CLIP",
        help="Begin with the last frame of a local clip, for i2v (needs the extra media).",
    ),
    click.option("--first-clip", metavar="FILE|URL", help="Clip to go on from: MP4 or MOV, 2 to 10 s (wan2.7-i2v)."),
    click.option("--video", metavar="FILE|URL", help="Video to edit: MP4 or MOV (wan2.7-videoedit, happyhorse)."),
    click.option("--prompt-file", "-f", metavar="FILE", help="Read the prompt from a file; - is stdin."),
    click.option("--model", "-m", metavar="MODEL", help="Model name; by default the mode's usual one."),
    click.option("--resolution", "-r", metavar="TIER", help="480P, 720P or 1080P.  [default: 720P]"),
    click.option(
        "--ratio", metavar="W:H",
        help="16:9 or 9:16, for t2v and r2v; more with wan2.7, wan3.0, happyhorse.  [default: 16:9]",
    ),
    click.option(
        "--size", metavar="W*H", help="Exact size, such as 960*960, for t2v and r2v; instead of the two above."
    ),
    click.option(
        "--duration", "-d", cls=Option, code="invalid_duration", type=integer, metavar="SECONDS",
        help="Length of the clip; what is allowed depends on the model: 0 is the input's length, -1 the model's choice."
        "  [default: 5]",
    ),
    click.option("--negative", metavar="TEXT", help="What must not be in the clip; up to 500 characters."),
    click.option("--audio", is_flag=True, default=None, help="Make sound (wan2.6-i2v-flash)."),
    click.option("--no-audio", is_flag=True, default=None, help="Make no sound (wan2.6-r2v-flash, wan3.0)."),
    click.option(
        "--audio-url", metavar="FILE|URL",
        help="Sound to use: WAV or MP3, 3 to 30 s (wan2.5, wan2.6, wan2.7; t2v, i2v; wan3.0).",
    ),
    click.option(
        "--audio-setting", metavar="WORD",
        help="Sound of an edited video: auto or origin, which keeps it.  [default: auto]",
    ),
    click.option("--shot-type", metavar="TYPE", help="single or multi (wan2.6)."),
    click.option(
        "--prompt-extend/--no-prompt-extend", default=None,
        help="Let the API rewrite the prompt; not for wan2.6 r2v and happyhorse.  [default: on]",
    ),
    click.option("--watermark", is_flag=True, default=None, help='Add the watermark "AI生成".'),
    click.option(
        "--seed", cls=Option, code="invalid_seed", type=integer, metavar="N", help="Random seed, 0 to 2147483647."
    ),
    click.option("--strict", is_flag=True, help="Refuse what would only be warned of, such as a prompt that is cut."),
    click.option("--max-cost", type=number, metavar="AMOUNT", help="Refuse what costs more by the price list, in CNY."),
    click.option("--max-seconds", type=number, metavar="S", help="Refuse what is billed for more seconds than these."),
    click.option(
        "--idempotency-key", metavar="KEY", envvar="RAWGENAI_IDEMPOTENCY_KEY",
        help="The same key again gets the same task, and nothing is paid twice (or RAWGENAI_IDEMPOTENCY_KEY).",
    ),
    click.option(
        "--dry-run", cls=Option, bare="json", type=click.Choice(["json", "curl"]), metavar="[=curl]",
        help="Print the request as JSON, or as a curl line, and send nothing; needs no key.",
    ),
    click.option("--no-ledger", is_flag=True, help="Do without the local record of the task (or RAWGENAI_LEDGER=off)."),
    click.option("--quiet", "-q", is_flag=True, help="No progress, warnings and hints on stderr."),
)  # fmt: skip


def asking(command: F) -> F:
    """Give a command the flags that say what is asked for."""
    for flag in reversed(_ASKING):
        command = flag(command)
    return command


_KEY = r"[!-~]{1,255}"


def checked_key(key: str | None, *, no_ledger: bool, environ: Mapping[str, str] = ENVIRON) -> str | None:
    """Refuse an idempotency key that is none, or that nothing would remember."""
    from rawgenai.errors import RawgenaiError

    if key is None:
        return None
    if not re.fullmatch(_KEY, key):
        raise RawgenaiError("invalid_usage", "an idempotency key is 1 to 255 printable ASCII characters without spaces")
    if no_ledger or environ.get("RAWGENAI_LEDGER", "").strip().lower() == "off":
        raise RawgenaiError("invalid_usage", "an idempotency key is remembered by the ledger, which is switched off")
    return key


def spec_of(
    prompt: str | None, prompt_file: str | None, refs: tuple[str, ...], given: Mapping[str, Any], *, stdin: bool = True
) -> "Spec":
    """Make a Spec of flags: the prompt is the argument, else --prompt-file, else stdin where that is given."""
    from rawgenai import files
    from rawgenai.dashscope.spec import Spec

    if prompt == "-":
        prompt, prompt_file = None, "-"
    if stdin and prompt is None and prompt_file is None and files.stdin_is_given():
        prompt_file = "-"
    return Spec(prompt, prompt_file=prompt_file, refs=refs or None, **given)


def ready(
    spec: "Spec", region: str | None, *, strict: bool, output: str | None = None
) -> tuple["Spec", "Model", "Settings"]:
    """Check a Spec, load what it names, and hold it to the region that will be asked: all that is done before sending.

    Raises RawgenaiError with the first objection.
    """
    from rawgenai.dashscope import roster, rules

    roster.select(spec, strict=strict)  # flags, model and rules object first; a refusal needs nothing of what follows
    from rawgenai import config, files
    from rawgenai.dashscope import loading
    from rawgenai.dashscope.spec import paths_of

    if output is not None:  # also before a dry run, which objects to all that the same command would object to
        files.check_target(output)
        files.refuse_own_input(output, paths_of(spec))
    spec, model, _ = loading.prepare(spec, strict=strict)

    settings = config.load(region=region)
    spec, model = roster.spelled(spec, model, settings.region)
    rules.judge_region(model, settings.region, settings.named_region, strict=strict)
    return spec, model, settings
