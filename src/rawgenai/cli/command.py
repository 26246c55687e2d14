"""click, with what our command line wants of it: lazy groups, codes on options, Go's spelling of booleans."""

import importlib
import re
from collections.abc import Mapping
from typing import Any

import click

from rawgenai.cli import streams

HELP = ["-h", "--help"]
CONTEXT = {"help_option_names": HELP, "max_content_width": 100}
_TRUTHS = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}  # Go's, in any case


class Helpful(click.Command):
    """A command whose help goes to stdout as all our text does: seen to be out, or an error that says why not."""

    def get_help_option_names(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Name them without asking the context: click keeps what the first one said, and a bare one knows no -h."""
        return HELP

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """Give click's own --help another way to print."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.callback = _print_help
        return option


def _print_help(ctx: click.Context, _param: click.Parameter, asked: bool) -> None:
    if asked:
        streams.out(ctx.get_help())
        ctx.exit()


class Group(Helpful, click.Group):
    """A group whose commands are imported only when they are called; --help imports none."""

    def __init__(self, name: str, *, lazy: Mapping[str, tuple[str, str]], **attrs: Any) -> None:
        super().__init__(name, context_settings=CONTEXT, invoke_without_command=True, **attrs)
        self.lazy = lazy  # name -> "module:attribute", one line of help
        self.callback = _show_help

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Name the commands in the order of the table."""
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import a command."""
        if cmd_name not in self.lazy:
            return None
        module, _, attribute = self.lazy[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        """List the commands with the help that the table has."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self.lazy.items()])


def _show_help() -> None:
    ctx = click.get_current_context()
    if ctx.invoked_subcommand is None:
        streams.out(ctx.get_help())


class Command(Helpful):
    """A command that also takes ``--flag=true`` and ``--flag=false``, and options whose value may be left out."""

    def __init__(self, *args: Any, **attrs: Any) -> None:
        attrs.setdefault("context_settings", CONTEXT)
        super().__init__(*args, **attrs)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Rewrite what click has no words for, then let it parse."""
        try:
            return super().parse_args(ctx, self._rewritten(ctx, args))
        except click.UsageError as error:
            error.ctx = error.ctx or ctx  # click's parser forgets it; the option's code is found through it
            raise

    def _rewritten(self, ctx: click.Context, args: list[str]) -> list[str]:
        options = {name: p for p in self.get_params(ctx) if isinstance(p, click.Option) for name in p.opts}
        negatives = {name: p for p in options.values() for name in p.secondary_opts}
        rest, done = list(args), list[str]()
        while rest:
            word = rest.pop(0)
            if word == "--":
                return [*done, word, *rest]
            name, equals, value = word.partition("=")
            option = options.get(name)
            if equals and (option or negatives.get(name)) and (option or negatives[name]).is_flag:
                done += _spelled(ctx, option or negatives[name], name, value)
            elif not equals and isinstance(option, Option) and option.bare is not None:
                done.append(f"{word}={option.bare}")
            else:
                done.append(word)
                if not equals and option is not None and not option.is_flag and rest:
                    done.append(rest.pop(0))  # its value, whatever it looks like
        return done


def _spelled(ctx: click.Context, option: click.Option, name: str, value: str) -> list[str]:
    truth = _TRUTHS.get(value.lower())
    if truth is None:
        raise click.BadParameter(f"{value!r} is neither true nor false.", ctx=ctx, param=option)
    if (name in option.opts) is truth:
        return [option.opts[0]]
    return option.secondary_opts[:1]  # empty where false is what leaving it out means


class Option(click.Option):
    """An option with the documented code of its own errors, and the value it has when given bare."""

    def __init__(self, *args: Any, code: str = "invalid_usage", bare: str | None = None, **attrs: Any) -> None:
        super().__init__(*args, **attrs)
        self.code = code
        self.bare = bare


class Argument(click.Argument):
    """An argument with the documented code of its own errors."""

    def __init__(self, *args: Any, code: str = "invalid_usage", **attrs: Any) -> None:
        super().__init__(*args, **attrs)
        self.code = code


def integer(text: str | int) -> int:
    """Read a whole number in ASCII digits; int() alone would take other scripts' digits, underscores and spaces too."""
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", str(text)):
        raise click.BadParameter(f"{text!r} is not a whole number.")
    return int(text)
