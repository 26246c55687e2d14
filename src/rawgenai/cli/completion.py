"""``rawgenai completion``, and the answer when a shell asks for words.

click completes commands, options and choices by itself; here is what else has words, by the parameter's name. Whatever
goes wrong, a shell that asks gets no words, and nobody an error.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    shell_complete,
)

from rawgenai.cli.command import Command
from rawgenai.secret import ENVIRON

if TYPE_CHECKING:
    from rawgenai.dashscope.models import Model

_ASKED = "_RAWGENAI_COMPLETE"  # the variable by which click's scripts ask
_TASKS = 20  # of the ledger, the newest
_SHELLS = ("bash", "zsh", "fish")

_EXAMPLES = """\b
Examples:
  eval "$(rawgenai completion bash)"      in ~/.bashrc
  eval "$(rawgenai completion zsh)"       in ~/.zshrc, after compinit
  rawgenai completion fish | source       in ~/.config/fish/config.fish"""


@click.command(cls=Command, epilog=_EXAMPLES, short_help="Print the script by which a shell completes our words.")
@click.argument("shell", type=click.Choice(_SHELLS), required=False, metavar="bash|zsh|fish")
@click.pass_context
def completion(ctx: click.Context, shell: str | None) -> str:
    """Print the script by which a shell completes commands, flags, models and task ids."""
    if shell is None:
        raise click.UsageError(f"name the shell: {', '.join(_SHELLS)}", ctx=ctx)
    return _CLASSES[shell](ctx.find_root().command, {}, "rawgenai", _ASKED).source().rstrip("\n")


def answer(main: click.Command, environ: Mapping[str, str] = ENVIRON) -> int:
    """Print the words that a shell asks for, and return the exit status."""
    with suppress(Exception):
        shell_complete(main, {}, "rawgenai", _ASKED, environ[_ASKED])
    return 0


# --- words ---------------------------------------------------------------------------------------------------------

Words = Iterator[tuple[str, str | None]]  # a word, and what it means where a shell can show that


def _models(ctx: click.Context) -> Words:
    from rawgenai.dashscope.models import MODELS

    given, edits = ctx.params, ctx.parent is not None and ctx.parent.info_name == "vace"
    for row in MODELS.values():
        fits = row.dialect == "vace" if edits else row.dialect != "vace" and _takes(row, given)
        fits = fits and given.get("resolution") in (None, *row.resolutions)
        if fits and given.get("duration") in (None, *row.durations):
            yield row.name, f"{row.mode}, {' '.join(row.resolutions)}"


def _takes(row: "Model", given: Mapping[str, Any]) -> bool:
    """Tell whether a model takes the inputs so far; others may still come."""
    from rawgenai.dashscope import rules
    from rawgenai.dashscope.spec import Spec
    from rawgenai.errors import RawgenaiError

    names = ("image", "refs", "first_frame", "last_frame", "first_clip", "video")
    spec = Spec(**{name: given.get(name) or None for name in names})
    roles = rules.roles(spec, row).keys()
    if not roles:
        return True
    try:
        fits = rules.select_mode(spec, row) in row.modes
    except RawgenaiError:
        return False
    return fits and any(roles <= set(combination) for combination in row.combinations or ())


def _resolutions(ctx: click.Context) -> Words:
    from rawgenai.dashscope.models import MODELS, SIZES

    row = MODELS.get(ctx.params.get("model") or "")
    yield from ((tier, None) for tier in (row.resolutions if row else SIZES))


def _ratios(ctx: click.Context) -> Words:
    from rawgenai.dashscope.models import MODELS, RATIOS

    row = MODELS.get(ctx.params.get("model") or "")
    yield from ((ratio, None) for ratio in (row.ratios if row else RATIOS))


def _audio_settings(_ctx: click.Context) -> Words:
    from rawgenai.dashscope.models import AUDIO_SETTINGS

    yield from ((word, None) for word in AUDIO_SETTINGS)


def _shot_types(_ctx: click.Context) -> Words:
    from rawgenai.dashscope.models import SHOT_TYPES

    yield from ((word, None) for word in SHOT_TYPES)


def _modes(_ctx: click.Context) -> Words:
    from rawgenai.dashscope.models import MODES

    yield from ((mode, ", ".join(words)) for mode, words in MODES.items())


def _regions(_ctx: click.Context) -> Words:
    from rawgenai.regions import REGIONS

    yield from ((name, row.id) for name, row in REGIONS.items())


def _settings(_ctx: click.Context) -> Words:
    from rawgenai.config import SETTINGS

    yield from ((name, row.sentence) for name, row in SETTINGS.items())


def _task_ids(_ctx: click.Context) -> Words:
    from rawgenai.ledger import open_ledger

    with open_ledger(create=False) as book:
        rows = book.rows(5 * _TASKS)  # some may have no id
    known = [(row.task_id, f"{row.status}, {row.model}") for row in rows if row.task_id is not None]
    yield from known[:_TASKS]


WORDS: Mapping[str, Callable[[click.Context], Words]] = {  # a parameter's name -> its words
    "model": _models,
    "resolution": _resolutions,
    "ratio": _ratios,
    "audio_setting": _audio_settings,
    "shot_type": _shot_types,
    "mode": _modes,
    "region": _regions,
    "name": _settings,
    "task_id": _task_ids,
    "task_ids": _task_ids,
}


class _Word(click.types.StringParamType):
    """Text that has known words."""

    def __init__(self, words: Callable[[click.Context], Words]) -> None:
        self._words = words

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002 - click's signature
        return [CompletionItem(word, help=told) for word, told in self._words(ctx) if word.startswith(incomplete)]


# --- shells --------------------------------------------------------------------------------------------------------


class _Ours(ShellComplete):
    """Gives the parameters of the command that is typed their words."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        command = self.cli
        for word in args:
            if isinstance(command, click.Group):
                command = command.get_command(click.Context(command), word) or command
        for param in command.params:
            if param.name in WORDS:
                param.type = _Word(WORDS[param.name])
            elif (param.metavar or "").startswith("FILE"):
                param.type = click.Path()  # the shell completes it
        return super().get_completions(args, incomplete)


class _Bash(_Ours, BashComplete):
    """Bash takes ``=`` and ``:`` for words of their own, and replaces what stands behind them."""

    def get_completion_args(self) -> tuple[list[str], str]:
        args, incomplete = super().get_completion_args()
        *args, incomplete = _joined([*args, incomplete])
        return args, incomplete

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        value = incomplete.rpartition("=")[2]
        typed = value[: value.rfind(":") + 1]
        found = super().get_completions(args, incomplete)
        return [CompletionItem(item.value.removeprefix(typed), item.type, item.help) for item in found]


class _Zsh(_Ours, ZshComplete):
    """As click has it."""


class _Fish(_Ours, FishComplete):
    """As click has it."""


_CLASSES = {kind.name: add_completion_class(kind) for kind in (_Bash, _Zsh, _Fish)}


def _joined(words: list[str]) -> list[str]:
    """Put words together again that were one before bash took them apart at ``=`` and ``:``."""
    joined = words[:1]
    for word, before in zip(words[1:], words, strict=False):
        if word in ("=", ":") or before in ("=", ":"):
            joined[-1] += word
        else:
            joined.append(word)
    return joined
