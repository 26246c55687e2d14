"""``rawgenai config``: the settings file, by hand."""

import sys
from typing import Any

import click

from rawgenai.cli import streams
from rawgenai.cli.command import Argument, Command, Group

_EXAMPLES = """\b
Examples:
  rawgenai config set dashscope_api_key -
  rawgenai config set dashscope_base_url "https://dashscope-intl.aliyuncs.com/api/v1"
  rawgenai config list --verbose

The VALUE - is read from stdin, so that a key is in no shell history."""

config = Group(
    "config",
    help="Get and set the key and the region. The environment wins over the file.",
    epilog=_EXAMPLES,
    lazy={
        "get": ("rawgenai.cli.config:get", "Show the value in force of a setting; a key is masked."),
        "set": ("rawgenai.cli.config:set_", "Write a setting into the config file."),
        "unset": ("rawgenai.cli.config:unset", "Take a setting out of the config file."),
        "list": ("rawgenai.cli.config:list_", "List the settings in force, masked."),
        "path": ("rawgenai.cli.config:path", "Show where the config file is."),
    },
)

_verbose = click.option("--verbose", "-v", is_flag=True, help="Also show where each value comes from.")


@click.command("get", cls=Command, epilog="\b\nExample:\n  rawgenai config get dashscope_base_url")
@click.argument("name", cls=Argument, code="invalid_key")
@_verbose
def get(name: str, *, verbose: bool) -> dict[str, Any]:
    """Show the value in force of a setting; a key is masked."""
    from rawgenai import config, envelope

    name = config.check_name(name)
    found = config.lookup(name)
    value = found and (config.mask(found.value) if config.SETTINGS[name].secret else found.value)
    source = {"source": found.source} if found and verbose else {}
    return envelope.success(key=name) | {"value": value} | source


@click.command("set", cls=Command, epilog=_EXAMPLES)
@click.argument("name", cls=Argument, code="invalid_key")
@click.argument("value")
def set_(name: str, value: str) -> dict[str, Any]:
    """Write a setting into the config file."""
    from rawgenai import config, envelope

    name = config.check_name(name)
    if value == "-":
        value = sys.stdin.readline().strip() if sys.stdin else ""
    elif config.SETTINGS[name].secret and streams.is_person():
        streams.err(f"the value is now in the shell's history; `rawgenai config set {name} -` reads it from stdin")
    config.set_value(name, value)
    return envelope.success(key=name, file=config.path())


@click.command("unset", cls=Command, epilog="\b\nExample:\n  rawgenai config unset dashscope_base_url")
@click.argument("name", cls=Argument, code="invalid_key")
def unset(name: str) -> dict[str, Any]:
    """Take a setting out of the config file."""
    from rawgenai import config, envelope

    removed = config.unset(name)
    return envelope.success(key=config.check_name(name), removed=removed)


@click.command("list", cls=Command, epilog="\b\nExample:\n  rawgenai config list --verbose")
@_verbose
def list_(*, verbose: bool) -> dict[str, Any]:
    """List the settings in force, masked."""
    from rawgenai import config, envelope

    found = config.list_values()
    values = {name: {"value": one.value, "source": one.source} if verbose else one.value for name, one in found.items()}
    return envelope.success(config=values)


@click.command("path", cls=Command, epilog="\b\nExample:\n  rawgenai config path")
def path() -> dict[str, Any]:
    """Show where the config file is."""
    from rawgenai import config, envelope

    return envelope.success(path=config.path())
