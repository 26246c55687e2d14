"""Prints the generated blocks of README.md and docs/: what a page says of the code is read from the code.

A block is two comment lines around what one of these functions prints; `uv run poe docs` writes them all, and
tests/test_docs.py is red where one is stale. The pages themselves hold no logic.
"""

import inspect
import io
import os
import re
import shlex
import struct
import tempfile
import wave
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, chdir, contextmanager
from functools import cache
from json import dumps
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import click
from click.testing import CliRunner
from PIL import Image

from rawgenai import dashscope
from rawgenai.cli import main
from rawgenai.cli.command import Group
from rawgenai.dashscope.budget import VIDEO_CAPS
from rawgenai.dashscope.media_rules import span_of
from rawgenai.dashscope.models import (
    CURRENCY,
    DEFAULT_MODELS,
    FORMATS,
    MODELS,
    PRICES_DATE,
    SIZES,
    SIZES_27,
    Limits,
    Model,
)
from rawgenai.dashscope.rules import VACE_INPUTS, named, spans
from rawgenai.dashscope.spec import INLINE, INPUTS, Input
from rawgenai.dashscope.vace import ENDLESS, FUNCTIONS, Function, Parameter
from rawgenai.dashscope.wire import ERROR_MESSAGES, ERRORS, HTTP_STATUSES
from rawgenai.emulator.faults import FAULTS, usage
from rawgenai.errors import CODES, STATUSES, RawgenaiError, flag_of
from rawgenai.regions import REGIONS

DOCS = Path(__file__).parent


def _table(head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
    for cells in (head, ("---",) * len(head), *rows):
        print("|", " | ".join(str(cell).replace("|", r"\|") for cell in cells), "|")


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


# --- the table of models -------------------------------------------------------------------------------------------


def models() -> None:
    """Print the table of models, one row a model."""
    head = ("Model", "Mode", "Resolutions", "Seconds", "Prompt", "Regions", "Features")
    _table(
        head,
        (
            (
                f"`{row.name}`",
                ", ".join(row.modes),
                ", ".join(row.resolutions),
                _seconds(row),
                row.prompt_limit if row.cjk_limit is None else f"{row.prompt_limit}, CJK {row.cjk_limit}",
                ", ".join(row.regions),
                ", ".join(sorted(row.features)),
            )
            for row in MODELS.values()
        ),
    )


def _seconds(row: Model) -> str:
    beside = [f"beside a reference video {spans(row.video_durations)}"] if row.video_durations else []
    total = [f"with the reference videos {row.total_seconds} in all"] if row.total_seconds else []
    return "; ".join([spans(row.durations) or "-", *beside, *total])


def inputs() -> None:
    """Print how each input travels and what is said when it is wrong, one row an input."""
    head = ("Input", "Takes", "Local file", "No such file", "Cannot be read", "Not accepted")
    _table(
        head,
        (
            (
                f"`{row.flag}`",
                " or ".join(row.kinds),
                _travel(row),
                *(f"`{code}`" for code in (row.absent, row.unreadable, row.invalid)),
            )
            for row in INPUTS
        ),
    )


def _travel(row: Input) -> str:
    inside = f"inside the request up to {INLINE // 2**20} MiB"
    if row.inline:
        return f"{inside}, else uploaded"
    if row.name in VACE_INPUTS:
        return "uploaded"
    return f"uploaded; an image {inside} with the newer families" if "image" in row.kinds else "uploaded"


def combinations() -> None:
    """Print what may be named together, one row for the models whose rows say it."""
    said = [row for row in MODELS.values() if row.media is not None]
    _table(
        ("Model", "Modes", "What may be named together"),
        (
            (f"`{row.name}`", ", ".join(row.modes), "; ".join(named(row, each) for each in row.media or ()))
            for row in said
        ),
    )


def functions() -> None:
    """Print what each function of vace needs, takes besides, and how long and of which shape its clip is."""
    shapes = {"said": "as asked, 1280*720 by default", "asked": "the video's, or as asked", "input": "its input's"}
    _table(
        ("Function", "Needs", "Takes besides", "Seconds", "Shape"),
        (
            (
                f"`{name}`",
                "; ".join([*(" or ".join(map(_flag, group)) for group in row.needs), *_asked(row, required=True)]),
                ", ".join([*_inputs_besides(row), *_asked(row, required=False)]) or "-",
                spans(row.durations) or "as the video, up to 5",
                shapes[row.shape],
            )
            for name, row in FUNCTIONS.items()
        ),
    )


def parameters() -> None:
    """Print the parameters of the functions of vace: what each may be, its default, and its name in the request."""
    rows = ((row.name, each) for row in FUNCTIONS.values() for each in row.parameters)
    head = ("Parameter", "Function", "May be", "Default", "In the request")
    _table(head, ((_flag(each.name), name, *_said(each), f"`{each.part}.{each.key}`") for name, each in rows))


def _said(parameter: Parameter) -> tuple[str, str]:
    least, most = parameter.span or (0, 0)
    numbers = f"{least:g} or more" if most == ENDLESS else f"{least:g} to {most:g}"
    default = parameter.default if isinstance(parameter.default, str) else f"{parameter.default or 0:g}"
    return ", ".join(parameter.words) or numbers, "-" if parameter.default is None else default


def _flag(name: str) -> str:
    return f"`{flag_of(name)}`"


def _asked(row: Function, *, required: bool) -> list[str]:
    return [_flag(each.name) for each in row.parameters if (each.required and not each.beside) is required]


def _inputs_besides(row: Function) -> list[str]:
    needed = {name for group in row.needs for name in group}
    return [_flag(name) for name in row.inputs if name not in needed]


def ratios() -> None:
    """Print the ratios of the models that are asked for one, one row for all that have the same."""
    models: dict[tuple[str, ...], list[str]] = {}
    for row in MODELS.values():
        if row.dialect == "media" and row.ratios:
            models.setdefault(row.ratios, []).append(f"`{row.name}`")
    _table(("`--ratio`", "Models"), ((", ".join(found), ", ".join(names)) for found, names in models.items()))


def limits() -> None:
    """Print what the models take of each kind of local file, one row for all models that take the same."""
    models: dict[tuple[str, str, Limits], list[str]] = {}
    for row in MODELS.values():
        for kind, found in row.limits.items():
            models.setdefault((row.mode, kind, found), []).append(f"`{row.name}`")
    head = ("Mode", "Kind", "Formats", "Refused over", "Pixels a side", "Seconds", "Longer side", "Warned of", "Models")
    _table(
        head, ((mode, kind, *_limits(kind, found), ", ".join(names)) for (mode, kind, found), names in models.items())
    )


def _limits(kind: str, found: Limits) -> tuple[str, ...]:
    formats = ", ".join(FORMATS[mime] for mime in found.formats)
    usual = [] if found.usual_bytes is None else [f"over {found.usual_bytes // 2**20} MB"]
    usual += [] if found.usual_sides is None else ["sides outside {}-{}".format(*found.usual_sides)]
    pixels = "-" if found.sides is None else span_of(found.sides, "-")
    seconds = "-" if found.seconds is None else "{:g}-{:g}".format(*found.seconds)
    seconds = seconds if found.fps is None else f"any, of {found.fps:g} or more frames"
    stretch = "-" if found.stretch is None else f"up to {found.stretch:g} times the other"
    alpha = " (no transparency)" if kind == "image" and not found.alpha else ""
    return (formats + alpha, f"{found.bytes // 2**20} MB", pixels, seconds, stretch, ", ".join(usual) or "-")


def prices() -> None:
    """Print the list prices: a row for each model and sound, and for all regions where they are the same."""
    regions: dict[tuple[str, ...], list[str]] = {}
    for row in MODELS.values():
        for sound, table in (("", row.prices), ("without sound", row.silent_prices)):
            for region, tiers in table.items():
                cells = (f"`{row.name}`", sound, *(tiers.get(tier, "-") for tier in SIZES))
                regions.setdefault(cells, []).append(region)
    print(f"{CURRENCY} a second, list of {PRICES_DATE}:\n")
    rows = ((name, ", ".join(where), *cells) for (name, *cells), where in regions.items())
    _table(("Model", "Region", "Sound", *SIZES), rows)


def video_caps() -> None:
    """Print how much of each reference video is billed, by the number of references."""
    _table(("References in all", "Seconds billed of each video, at most"), VIDEO_CAPS.items())


def defaults() -> None:
    """Print the model that is taken for each mode where none is named."""
    _table(("Mode", "Model"), ((mode, f"`{name}`") for mode, name in DEFAULT_MODELS.items()))


def sizes() -> None:
    """Print the exact sizes of every tier, by aspect ratio; those of wan2.7 below the others."""
    ratios = list(dict.fromkeys(ratio for tier in SIZES.values() for ratio in tier))
    tiers = [*SIZES.items(), *((f"{name}, wan2.7", tier) for name, tier in SIZES_27.items())]
    rows = ((name, *(tier.get(ratio, "-") for ratio in ratios)) for name, tier in tiers)
    _table(("Resolution", *ratios), rows)


def regions() -> None:
    """Print the table of regions, one row a region."""
    rows = (
        (
            row.name,
            f"`{row.id}`",
            f"`{row.base_url()}`" if row.base_url() else "none: only workspaces have one",
            f"`{row.base_url('WORKSPACE')}`",
        )
        for row in REGIONS.values()
    )
    _table(("Region", "The API calls it", "Base URL", "Base URL of a workspace"), rows)


# --- errors --------------------------------------------------------------------------------------------------------


def exit_statuses() -> None:
    """Print what every exit status means."""
    _table(("Exit status", "What to do"), STATUSES.items())


def error_codes() -> None:
    """Print every code with its sentence and the exit status that it usually has."""
    _table(("Code", "Meaning", "Exit status"), ((f"`{name}`", row.sentence, row.status) for name, row in CODES.items()))


def api_codes() -> None:
    """Print which codes of the API become which of ours."""
    ours = dict.fromkeys(code for _, code in ERRORS)
    theirs = {code: [pattern for pattern, mapped in ERRORS if mapped == code] for code in ours}
    _table(("Our code", "Codes of the API"), ((f"`{code}`", _code(patterns)) for code, patterns in theirs.items()))


def api_messages() -> None:
    """Print which words of the API's messages win over its codes."""
    _table(("The message says", "Our code"), ((part, f"`{code}`") for part, code in ERROR_MESSAGES))


def http_statuses() -> None:
    """Print what an HTTP status means where the API says nothing more; the first row that fits wins."""
    _table(("HTTP status", "Our code"), ((_range(statuses), f"`{code}`") for statuses, code in HTTP_STATUSES))


def _range(numbers: range) -> str:
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}"


# --- the emulator --------------------------------------------------------------------------------------------------


def faults() -> None:
    """Print what a prompt can ask the emulator to do wrong."""
    rows = ((f"`emulator:{usage(name)}`", row.sentence, row.call) for name, row in FAULTS.items())
    _table(("In the prompt", "What happens", "Acts on"), rows)


# --- the commands --------------------------------------------------------------------------------------------------


def commands(command: click.Command = main, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Walk the commands, groups before what they hold: the words after `rawgenai`, and the click command."""
    yield path, command
    if isinstance(command, Group):
        for name in command.lazy:
            below = command.get_command(click.Context(command), name)
            assert below is not None  # the table names only what there is
            yield from commands(below, (*path, name))


def help_pages() -> None:
    """Print every --help."""
    for path, _ in commands():
        result = CliRunner().invoke(main, [*path, "--help"], prog_name="rawgenai", terminal_width=100, color=False)
        print(f"## {' '.join(('rawgenai', *path))}\n\n```text\n{result.output.rstrip()}\n```\n")


# --- the library ---------------------------------------------------------------------------------------------------


def python_api() -> None:
    """Print the functions of the Python API: what each takes, and its docstring."""
    for name in sorted(dashscope.__all__):
        function = getattr(dashscope, name)
        if not inspect.isfunction(function):
            continue
        signature = inspect.signature(function)
        parameters = [_parameter(parameter) for parameter in signature.parameters.values()]
        named = next((i for i, p in enumerate(signature.parameters.values()) if p.kind is p.KEYWORD_ONLY), None)
        parameters[named:named] = ["*"] if named is not None else []
        takes = "\n".join(f"    {parameter}," for parameter in parameters)
        returns = _type(signature.return_annotation)
        print(f"### {name}\n\n```text\n{name}(\n{takes}\n) -> {returns}\n```\n\n{inspect.getdoc(function)}\n")


def _parameter(parameter: inspect.Parameter) -> str:
    if parameter.default is inspect.Parameter.empty:
        return f"{parameter.name}: {_type(parameter.annotation)}"
    plain = isinstance(parameter.default, str | int | float | None)
    return f"{parameter.name}: {_type(parameter.annotation)} = {parameter.default if plain else '...'}"


def _type(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])", "", text)


# --- the examples on the pages -------------------------------------------------------------------------------------

# Words of the shell that may stand before a command, besides NAME=value.
_BEFORE = {"$", "uv", "run", "while", "until", "if", "then", "else", "do", "!", "time"}


class Example(NamedTuple):
    """A rawgenai command on a page: its line, the words after `rawgenai`, and whether its stdin is given."""

    line: str
    argv: list[str]
    piped: bool


def blocks(page: str, *languages: str) -> list[str]:
    """Take a page's code blocks in these languages, continued lines joined."""
    found = re.findall(r"^```(\w+)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return [re.sub(r" *\\\n *", " ", text) for language, text in found if language in languages]


def examples(page: str, *languages: str) -> list[Example]:
    """Find the rawgenai commands in a page's code blocks."""
    lines = [line for block in blocks(page, *languages) for line in block.splitlines() if "rawgenai " in line]
    return [Example(line.strip(), *command) for line in lines for command in _commands(line)]


def _commands(line: str) -> Iterator[tuple[list[str], bool]]:
    """Split a line as a shell would: at pipes, lists and `$(...)`; redirections are dropped."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    given = False  # by a pipe or a redirection
    for word in [*lexer, ";"]:
        if words and re.fullmatch("[0-9]?>.*|<", words[-1]):
            given = given or words[-1] == "<"
            words.pop()  # with `word`, the file
        elif re.fullmatch("[<>]&?|>>", word):
            number = words.pop() if words and re.fullmatch("[0-9]", words[-1]) else ""
            words.append(number + word)
        elif re.fullmatch("[();|&]+", word):
            while words and (words[0] in _BEFORE or re.fullmatch(r"\w+=.*", words[0])):
                words.pop(0)
                del words[: 2 if words[:1] == ["--extra"] else 0]  # of `uv run`
            if words and words[0] == "rawgenai":
                yield words[1:], given
            words, given = [], word == "|"
        else:
            words.append(word)


# --- the requests --------------------------------------------------------------------------------------------------

_PROMPT = "一只猫在花园里玩耍".encode()
_MEDIA_BYTES = 100_000


@cache
def _picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (1280, 720)).save(file, "JPEG")
    return file.getvalue().ljust(_MEDIA_BYTES, b"\0")  # of one size on all machines


@cache
def _clip() -> bytes:
    """Write the boxes of an MP4 that says that it has two seconds, and has nothing else."""
    head = struct.pack(">I8s12x", 24, b"ftypmp42")
    return head + struct.pack(">I4sI4sIIIII", 36, b"moov", 28, b"mvhd", 0, 0, 0, 1000, 2000)


@cache
def _sound() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(_MEDIA_BYTES))
    return file.getvalue()


# The files that the examples name, by extension: what a file is, is read from its content.
_FILES: dict[str, Callable[[], bytes]] = {".jpg": _picture, ".mp4": _clip, ".wav": _sound, ".txt": lambda: _PROMPT}


@contextmanager
def example_folder() -> Iterator[None]:
    """Work where the examples' files are, with no settings but the defaults."""
    foreign = [name for name in os.environ if name.upper().startswith(("DASHSCOPE_", "RAWGENAI_", "ALI"))]
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        home = dict.fromkeys(("HOME", "USERPROFILE", "XDG_CONFIG_HOME", "XDG_STATE_HOME"), folder)
        stack.enter_context(mock.patch.dict(os.environ, home))
        for name in foreign:
            del os.environ[name]
        stack.enter_context(chdir(folder))
        for name in re.findall(r"\b[a-z0-9]+\.(?:jpg|mp4|wav|txt)\b", (DOCS / "usage.md").read_text("utf-8")):
            Path(name).write_bytes(_FILES[Path(name).suffix]())
        yield


_CREATES = (["dashscope", "video", "create"], ["dashscope", "video", "vace"])


def requests() -> None:
    """Print the request that every `create` and every function of vace on the usage page sends."""
    page = (DOCS / "usage.md").read_text("utf-8")
    found = [example for example in examples(page, "bash") if example.argv[:3] in _CREATES]
    for example in {tuple(example.argv): example for example in found}.values():
        request = shown(example)
        head = [f"{name}: {value}" for name, value in request["headers"].items()]
        print(f"```bash\n{example.line}\n```\n\n```http\n{request['method']} {request['url']}")
        print(*head, "", dumps(request["body"], ensure_ascii=False, indent=2), "```", "", sep="\n")


def shown(example: Example) -> dict[str, Any]:
    """Return what --dry-run shows for an example. Raises RawgenaiError where it is refused."""
    argv = [word for word in example.argv if not word.startswith("--dry-run")]
    with example_folder():
        text = _PROMPT if example.piped else b""
        result = CliRunner().invoke(main, [*argv, "--dry-run", "--quiet"], input=text, standalone_mode=False)
    if isinstance(result.exception, RawgenaiError):
        raise result.exception
    request: dict[str, Any] = result.return_value["request"]
    return request
