"""``rawgenai dashscope video create``."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from rawgenai.cli import streams
from rawgenai.cli.command import Command, Option, integer

if TYPE_CHECKING:
    from rawgenai.dashscope.spec import Spec
    from rawgenai.message import Media

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
@click.argument("prompt", required=False)
@click.option("--image", "-i", metavar="FILE|URL", help="Input image, for i2v.")
@click.option(
    "--ref", "refs", cls=Option, code="missing_ref", multiple=True, metavar="FILE|URL",
    help="Reference image or video, for r2v; up to 5, at most 3 of them videos. They are character1, character2, ...",
)  # fmt: skip
@click.option("--first-frame", metavar="FILE|URL", help="First frame, for kf2v.")
@click.option("--last-frame", metavar="FILE|URL", help="Last frame, for kf2v; with --first-frame.")
@click.option("--prompt-file", "-f", metavar="FILE", help="Read the prompt from a file; - is stdin.")
@click.option("--model", "-m", metavar="MODEL", help="Model name; by default the mode's usual one.")
@click.option("--resolution", "-r", metavar="TIER", help="480P, 720P or 1080P.  [default: 720P]")
@click.option("--ratio", metavar="W:H", help="16:9 or 9:16, for t2v and r2v.  [default: 16:9]")
@click.option("--size", metavar="W*H", help="Exact size, such as 960*960, for t2v and r2v; instead of the two above.")
@click.option(
    "--duration", "-d", cls=Option, code="invalid_duration", type=integer, metavar="SECONDS",
    help="Length of the clip; what is allowed depends on the model.  [default: 5]",
)  # fmt: skip
@click.option("--negative", metavar="TEXT", help="What must not be in the clip; up to 500 characters.")
@click.option("--audio", is_flag=True, default=None, help="Make sound (wan2.6-i2v-flash).")
@click.option("--no-audio", is_flag=True, default=None, help="Make no sound (wan2.6-r2v-flash).")
@click.option("--audio-url", metavar="FILE|URL", help="Sound to use: WAV or MP3, 3 to 30 s (wan2.5, wan2.6; t2v, i2v).")
@click.option("--shot-type", metavar="TYPE", help="single or multi (wan2.6).")
@click.option(
    "--prompt-extend/--no-prompt-extend",
    default=None,
    help="Let the API rewrite the prompt; not for r2v.  [default: on]",
)
@click.option("--watermark", is_flag=True, default=None, help='Add the watermark "AI生成".')
@click.option(
    "--seed", cls=Option, code="invalid_seed", type=integer, metavar="N", help="Random seed, 0 to 2147483647."
)
@click.option("--strict", is_flag=True, help="Refuse what would only be warned of, such as a prompt that is cut.")
@click.option(
    "--dry-run", cls=Option, bare="json", type=click.Choice(["json", "curl"]), metavar="[=curl]",
    help="Print the request as JSON, or as a curl line, and send nothing; needs no key.",
)  # fmt: skip
@click.option("--no-ledger", is_flag=True, help="Do without the local record of the task (or RAWGENAI_LEDGER=off).")
@click.option("--quiet", "-q", is_flag=True, help="No warnings and hints on stderr.")
def create(
    prompt: str | None,
    prompt_file: str | None,
    refs: tuple[str, ...],
    *,
    strict: bool,
    dry_run: str | None,
    no_ledger: bool,
    quiet: bool,
    **given: Any,
) -> dict[str, Any] | str:
    """Create a video generation task.

    The PROMPT is the argument, else --prompt-file, else stdin where it is a pipe or a file; - is stdin.
    """
    from rawgenai import files
    from rawgenai.dashscope import rules
    from rawgenai.dashscope.spec import Spec

    if prompt == "-":
        prompt, prompt_file = None, "-"
    if prompt is None and prompt_file is None and files.stdin_is_given():
        prompt_file = "-"
    spec = Spec(prompt, prompt_file=prompt_file, refs=refs or None, **given)
    rules.select(spec, strict=strict)  # flags, model and rules object first; a refusal needs nothing of what follows
    from rawgenai.dashscope import loading

    spec, model, _ = loading.prepare(spec, strict=strict)
    from rawgenai import config, envelope

    settings = config.load()
    warn = streams.warner(quiet=quiet)
    if dry_run is not None:
        return _dry_run(spec, settings.base_url, dry_run, warn)
    from rawgenai.dashscope import tasks
    from rawgenai.ledger import Ledger

    if not quiet:
        streams.emulated(settings.base_url)
    book = Ledger(None) if no_ledger else None
    with streams.transfer("upload", quiet=quiet) as progress:
        task = tasks.create(spec, settings=settings, ledger=book, strict=strict, warn=warn, progress=progress)
    if not quiet and streams.is_person():
        shortest, longest = model.minutes
        streams.err(
            f"{model.name} usually takes {shortest} to {longest} minutes;"
            f" ask with: rawgenai dashscope video status {task.task_id}"
        )
    return envelope.success(task_id=task.task_id, status=task.status)


def _dry_run(spec: "Spec", base_url: str, form: str, warn: Callable[[str], None]) -> dict[str, Any] | str:
    from rawgenai import envelope
    from rawgenai.cli import dryrun
    from rawgenai.dashscope import rules, wire
    from rawgenai.dashscope.spec import with_media

    model, warnings = rules.select(spec)
    for warning in [*warnings, *wire.region_warnings(model, base_url)]:
        warn(warning)
    uploads: dict[str | Media, str | Media] = {
        leaf: f"oss://UPLOADED/{dryrun.name_of(leaf)}" for leaf in wire.to_upload(spec)
    }
    request = wire.create_request(with_media(spec, uploads), model)
    if form == "curl":
        if uploads:
            warn("the local files that this request names as oss://UPLOADED/... are uploaded by create, not by curl")
        return dryrun.curl(request, base_url)
    return envelope.success(dry_run=True, request=dryrun.shown(request, base_url))
