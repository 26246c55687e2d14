"""The command line: thin commands, and the one place where an exception becomes an envelope and an exit status.

A command is flags -> one call -> one value: an envelope, or text, which is printed here.
"""

import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from rawgenai import __version__
from rawgenai.cli import streams
from rawgenai.cli.command import Group
from rawgenai.errors import CODES, STATUSES, RawgenaiError
from rawgenai.signals import Terminated, interrupt_in

_STATUS_HELP = "\n".join(f"  {status:<4}{meaning}" for status, meaning in STATUSES.items())

main = Group(
    "rawgenai",
    help="Make video clips with Alibaba's Wan models: never loses a clip, never pays twice, and knows Wan's rules"
    " before a cent is spent.\n\nPrints one JSON envelope: a success on stdout, a failure on stderr.",
    epilog=f"\b\nExit statuses:\n{_STATUS_HELP}\n\n\b\nExample:\n"
    '  rawgenai dashscope video create "A kitten running in the moonlight"',
    lazy={
        "dashscope": ("rawgenai.cli.dashscope:dashscope", "Wan models behind Alibaba's DashScope API."),
        "video": ("rawgenai.cli.film:video", "Work on clips on this machine: no key, no network, nothing to pay."),
        "config": ("rawgenai.cli.config:config", "Get and set the key and the region."),
        "completion": ("rawgenai.cli.completion:completion", "Print the script by which a shell completes our words."),
    },
)
main.params.append(
    click.Option(
        ["--version"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        help="Show the version and exit.",
        callback=lambda ctx, _param, value: _show_version(ctx) if value else None,
    )
)


def _show_version(ctx: click.Context) -> NoReturn:
    streams.out(f"rawgenai {__version__}")
    ctx.exit()


def run(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status (design section 4)."""
    if "_RAWGENAI_COMPLETE" in os.environ:  # a shell asks for words
        from rawgenai.cli.completion import answer

        return answer(main)
    result = None
    try:
        result = _call(sys.argv[1:] if argv is None else list(argv))
        if result is not None:
            streams.out(result)
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except KeyboardInterrupt as interrupt:
        return _leave(interrupt)
    except Exception as error:  # noqa: BLE001 - the border: no traceback ever reaches a user
        wrapped = None if isinstance(error, RawgenaiError) else interrupt_in(error)
        return _fail(error, result) if wrapped is None else _leave(wrapped)
    return 0


def _leave(interrupt: KeyboardInterrupt) -> int:
    terminated = isinstance(interrupt, Terminated)
    streams.err("terminated" if terminated else "interrupted")
    return Terminated.status if terminated else 130


def _call(argv: list[str]) -> Any:
    # Not main.main(): it answers Ctrl-C, closed pipes and errors in click's own way.
    with main.make_context("rawgenai", argv) as ctx:
        return main.invoke(ctx)


def _fail(cause: Exception, result: Any) -> int:
    """Say what went wrong and return the exit status; ``result`` is the value that could not be printed, if any."""
    if os.environ.get("RAWGENAI_DEBUG") == "1":
        import traceback

        streams.err("".join(traceback.format_exception(cause)), lines=True)
    if isinstance(cause, BrokenPipeError | streams.StdoutError):
        from rawgenai import files

        streams.discard(sys.stdout)
        task_id = result.get("task_id") if isinstance(result, dict) else None
        if task_id is not None or not isinstance(cause, BrokenPipeError):
            message = f"stdout cannot be written: {files.reason(cause)}"
            streams.failure(RawgenaiError("output_write_error", message, task_id=task_id))
        return 141 if isinstance(cause, BrokenPipeError) else 1
    error = _translated(cause)
    streams.failure(error)
    return error.status


def _translated(cause: Exception) -> RawgenaiError:
    if isinstance(cause, RawgenaiError):
        return cause
    if isinstance(cause, click.UsageError):
        return _usage(cause)
    return RawgenaiError("internal_error", f"{CODES['internal_error'].sentence}: {type(cause).__name__}")


def _usage(error: click.UsageError) -> RawgenaiError:
    """Give click's complaint the documented code of the option that it is about, if it has one."""
    param = getattr(error, "param", None)
    name = getattr(error, "option_name", None)
    if param is None and name is not None and error.ctx is not None:
        param = next((p for p in error.ctx.command.params if name in p.opts), None)
    help_line = f" (see {error.ctx.command_path} --help)" if error.ctx is not None else ""
    code = getattr(param, "code", "invalid_usage")
    return RawgenaiError(code, error.format_message().rstrip(".") + help_line)
