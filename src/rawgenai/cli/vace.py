"""``rawgenai dashscope video vace``: a command for each function, with the flags that the function's row takes.

All that is not a function's own is `create`'s, or with -o `generate`'s: their flags are these, and so is the work.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import click
from click.core import ParameterSource

from rawgenai.cli.command import Command, Group, Option, integer
from rawgenai.cli.create import create
from rawgenai.cli.flags import number
from rawgenai.cli.generate import generate
from rawgenai.dashscope.vace import ENDLESS, FUNCTIONS, Function, Parameter
from rawgenai.errors import flag_of

_GROUP_EXAMPLES = """\b
Examples:
  rawgenai dashscope video vace repainting "A car of brass and steam" --video car.mp4 --control depth -o steam.mp4
  rawgenai dashscope video vace edit "狮子在喝咖啡" --video cafe.mp4 --mask lion.png -o lion.mp4
  rawgenai dashscope video vace outpainting "海边的小提琴手" --video violin.mp4 --left-scale 1.5 --right-scale 1.5

\b
With -o the command waits and downloads, as generate does; without, it answers at once, as create does. Clips are
720P, silent, and at most 5 s long."""

_EXAMPLES = {
    "image-reference": """\b
Examples:
  rawgenai dashscope video vace image-reference "女孩从森林深处走来" --ref girl.png -o girl.mp4
  rawgenai dashscope video vace image-reference "A girl walks out of the forest" --ref girl.png --ref-role obj \\
    --ref forest.png --ref-role bg --size 720*1280""",
    "repainting": """\b
Examples:
  rawgenai dashscope video vace repainting "黑色蒸汽朋克风格的汽车" --video car.mp4 --control depth -o steam.mp4
  rawgenai dashscope video vace repainting "She dances on the moon" --video dance.mp4 --control posebodyface \\
    --ref astronaut.png --no-prompt-extend

\b
The controls: posebodyface keeps the pose and the face, posebody the pose, depth the composition and the outlines of
what moves, scribble the lines. --no-prompt-extend is recommended: a prompt that was rewritten may fit less.""",
    "edit": """\b
Examples:
  rawgenai dashscope video vace edit "一只狮子在喝咖啡" --video cafe.mp4 --mask lion.png -o lion.mp4
  rawgenai dashscope video vace edit "An empty chair" --video cafe.mp4 --mask chair.png --mask-type fixed
  rawgenai dashscope video vace edit "A red coat" --video walk.mp4 --mask-video coat.mp4 --ref coat.png --control depth

\b
What is white in the mask is edited, what is black stays. The mask has the video's own pixels.""",
    "extension": """\b
Examples:
  rawgenai dashscope video vace extension "一只戴墨镜的狗在滑滑板" --first-clip dog.mp4 -o longer.mp4
  rawgenai dashscope video vace extension "The door opens" --first-frame closed.png --last-clip inside.mp4
  rawgenai dashscope video vace extension "She turns around" --first-clip her.mp4 \\
    --video turn.mp4 --control posebodyface

\b
The clip has 5 s in all, those of the clips that go in among them.""",
    "outpainting": """\b
Examples:
  rawgenai dashscope video vace outpainting "海边的小提琴手" --video violin.mp4 --left-scale 1.5 -o wide.mp4
  rawgenai dashscope video vace outpainting "A stage, seen from far away" --video violin.mp4 --top-scale 2""",
}

# A field, of one function or of all -> what its flag says.
_HELP = {
    "image-reference.refs": "Image of what the clip shows: a subject, or the background; up to 3.",
    "refs": "Image of the subject that is painted instead; one.",
    "ref_roles": "What a reference shows: the first one is the first --ref's, and so on. obj is a subject, bg the"
    " background; one of them may be the background. A single --ref needs none.",
    "repainting.video": "Video to paint anew: MP4 of 16 or more frames a second; its first 5 s.",
    "edit.video": "Video to edit: MP4 of 16 or more frames a second; its first 5 s.",
    "extension.video": "Video whose movement the clip takes; with --control.",
    "outpainting.video": "Video to show more around: MP4 of 16 or more frames a second; its first 5 s.",
    "mask": "Image in the video's pixels, white where it is edited.",
    "mask_video": "Video in the same pixels, white where it is edited; instead of --mask.",
    "mask_frame": "The frame of the video that the mask is of, counted from 1",
    "mask_type": "Let the mask follow what it shows, or stay where it is",
    "expand_ratio": "By how much a mask that follows may grow",
    "expand_mode": "Shape of a mask that follows: around the outline, as a box, or as it was",
    "first_frame": "Image that the clip begins with.",
    "last_frame": "Image that the clip ends with.",
    "first_clip": "Clip that it begins with: MP4, up to 3 s; both clips together up to 3 s.",
    "last_clip": "Clip that it ends with, as above.",
    "repainting.control": "What of the video is kept; required",
    "edit.control": "What of the video is kept, besides what is outside of the mask",
    "extension.control": "What of the video's movement is taken; required with --video",
    "strength": "How strictly it is kept; less leaves more freedom",
    "top_scale": "How far the frame reaches upward from the middle: 1 is as far as the video, 2 twice as far",
    "bottom_scale": "How far downward",
    "left_scale": "How far to the left",
    "right_scale": "How far to the right",
    "size": "Exact size of the clip: 1280*720, 720*1280, 960*960, 1088*832 or 832*1088.",
}


def _help(row: Function, name: str) -> str:
    return _HELP.get(f"{row.name}.{name}") or _HELP[name]


def _several(_ctx: click.Context, _param: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...] | None:
    """Read a list as a Spec has it: None where nothing was given."""
    return given or None


def _input(row: Function, name: str) -> click.Option:
    many: dict[str, Any] = {"code": "missing_ref", "multiple": True} if name == "refs" else {}
    return Option([flag_of(name), name], metavar="FILE|URL", help=_help(row, name), **many)


def _parameter(row: Function, parameter: Parameter) -> click.Option:
    """Make an option of a row: its words are choices, its span and its default stand in its help."""
    said = _help(row, parameter.name)
    attrs: dict[str, Any] = {"metavar": "N", "type": number}
    if parameter.words:
        attrs = {"type": click.Choice(parameter.words)}
    elif parameter.span is not None and parameter.span[1] == ENDLESS:
        attrs = {"metavar": "N", "type": integer}
    elif parameter.span is not None:
        said += "; {:g} to {:g}".format(*parameter.span)
    if parameter.name == "ref_roles":
        attrs |= {"multiple": True, "callback": _several}
    default = parameter.default if isinstance(parameter.default, str) else f"{parameter.default or 0:g}"
    said = said.removesuffix(".") + "." + (f"  [default: {default}]" if parameter.default is not None else "")
    return Option([flag_of(parameter.name), parameter.name], help=said, **attrs)


# The flags of `create` that say what only other clips have; a function's own flags are made of its row.
_OTHERS = (
    *("image", "continues", "refs", "ref_voices", "first_frame", "last_frame", "first_clip", "video"),
    *("resolution", "ratio", "size", "duration", "negative"),
    *("audio", "no_audio", "audio_url", "audio_setting", "shot_type"),
)
_OUTPUT = Option(
    ["--output", "-o"], code="missing_output", metavar="FILE.mp4",
    help="Wait for the clip, and put it here. Without it the command answers with the task's id at once.",
)  # fmt: skip
_WITH_FILE = tuple(each for each in generate.params if each.name not in {param.name for param in create.params})


def _command(row: Function) -> click.Command:
    """Make the command of a function."""
    own = [*(_input(row, name) for name in row.inputs), *(_parameter(row, each) for each in row.parameters)]
    if row.shape != "input":
        own.append(Option(["--size"], metavar="W*H", help=_help(row, "size")))
    own.append(_OUTPUT)
    shared = [each for each in generate.params if each.name not in (*_OTHERS, "request", "output")]
    return Command(
        row.name,
        params=[*own, *shared],
        callback=click.pass_context(partial(_run, row)),
        help=f"{row.what}\n\nThe PROMPT is the argument, else --prompt-file, else stdin where it is a pipe or a file;"
        " - is stdin.",
        short_help=row.what,
        epilog=_EXAMPLES[row.name],
    )


def _run(row: Function, ctx: click.Context, **given: Any) -> Any:
    """Ask for a clip: with -o as `generate` does, else as `create` does."""
    from rawgenai.dashscope.spec import Vace

    vace = Vace(row.name, **{name: given.pop(name) for name in Vace._fields if name in given})
    asked: Mapping[str, Any] = {**dict.fromkeys(_OTHERS), "refs": (), **given, "vace": vace}
    if asked["output"] is not None:
        return ctx.invoke(generate, **asked)
    for each in _WITH_FILE:
        if ctx.get_parameter_source(str(each.name)) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{each.opts[0]} is for a clip that is waited for: give -o FILE.mp4 too", ctx=ctx)
    unused = {each.name for each in _WITH_FILE}
    return ctx.invoke(create, **{name: value for name, value in asked.items() if name not in unused})


image_reference, repainting, edit, extension, outpainting = (_command(row) for row in FUNCTIONS.values())

vace = Group(
    "vace",
    help="Make or edit videos by the functions of general editing (通用视频编辑).",
    epilog=_GROUP_EXAMPLES,
    lazy={name: (f"{__name__}:{name.replace('-', '_')}", row.what) for name, row in FUNCTIONS.items()},
)
