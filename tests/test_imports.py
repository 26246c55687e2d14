"""What is imported when: help and refusals load nothing heavy (design section 2), in processes of their own."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import click
import pytest

import rawgenai
from rawgenai.cli import main

HEAVY = {  # as design section 2 has it
    *("httpx", "pydantic", "rich", "sqlite3", "PIL", "av", "ssl", "asyncio"),
    # and what this project keeps to where it is needed
    *("tenacity", "platformdirs", "filelock", "tinytag", "certifi", "http", "socket", "logging", "pathlib"),
    *("tempfile", "subprocess", "configparser", "traceback"),
}
LIGHTEST = HEAVY | {"json", "dataclasses", "urllib", "base64"}  # what --help does without, too

PROBE = """
import os, sys
report = os.open(sys.argv.pop(1), os.O_WRONLY)
before = set(sys.modules)
from rawgenai.__main__ import main
try:
    main()
finally:
    os.write(report, " ".join(set(sys.modules) - before).encode())
"""

CREATE = ("dashscope", "video", "create")
REFUSED = {  # the stages in the order of the line -> a command line that goes no further
    "missing_prompt": CREATE,
    "invalid_usage": (*CREATE, "A", "--no-such-flag"),
    "invalid_duration": (*CREATE, "A", "--duration", "99"),
    "conflicting_input_flags": (*CREATE, "A", "--image", "a.jpg", "--ref", "b.jpg"),
    "invalid_model": (*CREATE, "A", "--model", "none"),
    "incompatible_audio": (*CREATE, "A", "--audio"),
    "file_not_found": (*CREATE, "--prompt-file", "missing.txt"),
    "image_not_found": (*CREATE, "A", "--image", "missing.jpg"),
    "missing_api_key": (*CREATE, "A"),
    "missing_task_id": ("dashscope", "video", "status"),
    "invalid_task_id": ("dashscope", "video", "status", "a/b"),
    "missing_output": ("dashscope", "video", "download", "task"),
    "invalid_format": ("dashscope", "video", "download", "task", "-o", "clip.mov"),
    "output_write_error": ("dashscope", "video", "download", "task", "-o", "missing/clip.mp4"),
    "invalid_key": ("config", "get", "none"),
    "config_error": ("config", "set", "dashscope_base_url", "ftp://host"),
}


def _commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterable[tuple[str, ...]]:
    yield path
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        if isinstance(command, click.Group):
            yield from _commands(command, (*path, name))
        else:
            yield (*path, name)


def _loaded(folder: Path, *arguments: str) -> tuple[set[str], "subprocess.CompletedProcess[str]"]:
    """Run the console script's entry point, and tell the top-level packages that it made the interpreter load."""
    report = folder / "modules"
    report.touch()
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(report), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        encoding="utf-8",
    )
    return {name.partition(".")[0] for name in report.read_text().split()}, done


@pytest.mark.parametrize("arguments", [("--version",), *((*path, "--help") for path in _commands(main))], ids=" ".join)
def test_help_and_version_load_nothing_heavy(arguments: tuple[str, ...], tmp_path: Path) -> None:
    loaded, done = _loaded(tmp_path, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert "rawgenai" in loaded
    assert loaded & LIGHTEST == set()


@pytest.mark.parametrize(("code", "arguments"), REFUSED.items(), ids=REFUSED)
def test_a_refusal_loads_nothing_heavy(code: str, arguments: tuple[str, ...], tmp_path: Path) -> None:
    loaded, done = _loaded(tmp_path, *arguments)
    assert json.loads(done.stderr)["error"]["code"] == code
    assert loaded & HEAVY == set()


def test_what_is_sent_loads_httpx_so_that_the_probe_sees_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-probe")
    monkeypatch.setenv("DASHSCOPE_BASE_URL", "http://127.0.0.1:9/api/v1")
    monkeypatch.setenv("RAWGENAI_LEDGER", "off")
    loaded, done = _loaded(tmp_path, *CREATE, "A")
    assert json.loads(done.stderr)["error"]["code"] == "connection_error"
    assert {"httpx", "ssl"} <= loaded
    assert not loaded & {"pydantic", "rich", "pygments", "sqlite3", "PIL", "av"}


def test_the_python_api_loads_nothing_heavy_until_it_is_used() -> None:
    code = "import rawgenai.dashscope as api, sys; [getattr(api, name) for name in api.__all__]; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & (HEAVY - {"http", "socket", "logging", "pathlib", "tempfile", "subprocess", "traceback"})


def test_the_code_has_no_assert_which_python_may_strip() -> None:
    sources = sorted(Path(rawgenai.__file__).parent.rglob("*.py"))
    asserts = [
        f"{source.name}:{node.lineno}"
        for source in sources
        for node in ast.walk(ast.parse(source.read_text("utf-8")))
        if isinstance(node, ast.Assert)
    ]
    assert sources
    assert not asserts
