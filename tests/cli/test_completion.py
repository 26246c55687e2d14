"""``completion``: in a real bash at a terminal; of zsh and fish, which are not here, only the scripts and answers."""

import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import pytest
from invoking import invoke

from rawgenai.cli import completion, main
from rawgenai.dashscope.models import MODELS
from rawgenai.ledger import Ledger

SHELLS = ("bash", "zsh", "fish")
VIDEO = "rawgenai dashscope video"
I2V = " ".join(name for name, row in MODELS.items() if "i2v" in row.modes)


def database(folder: Path) -> Path:
    return folder / "state" / "rawgenai" / "tasks.db"


def parameters(command: click.Command) -> Iterator[click.Parameter]:
    """The parameters of a command and of all below it."""
    yield from command.params
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            below = command.get_command(click.Context(command), name)
            assert below is not None
            yield from parameters(below)


def restore_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the words from the parameters after a test: a process that completes does nothing else, this one goes on."""
    for param in parameters(main):
        monkeypatch.setattr(param, "type", param.type)


@pytest.fixture
def ledger(tmp_path: Path) -> None:
    """Twenty-five tasks, and a submission that never became one."""
    with Ledger(str(database(tmp_path))) as book:
        for number in range(25):
            asked: dict[str, Any] = {
                "provider": "dashscope",
                "model": "wan2.6-t2v",
                "mode": "t2v",
                "prompt": "a\tb\n,c",
            }
            row = book.intend(**asked, base_url="https://a.test")
            book.accept(row, f"task-{number}")
        book.intend(**asked, base_url="https://a.test")
        book.update("task-24", status="succeeded")


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_is_text_that_asks_by_our_variable(shell: str) -> None:
    result = invoke("completion", shell)
    assert (result.status, result.err) == (0, "")
    assert f"_RAWGENAI_COMPLETE={shell}_complete" in result.out
    assert "_rawgenai_completion" in result.out
    assert "%(" not in result.out


def test_the_zsh_script_registers_itself_and_fish_has_its_command() -> None:
    assert invoke("completion", "zsh").out.startswith("#compdef rawgenai\n")
    assert "compdef _rawgenai_completion rawgenai" in invoke("completion", "zsh").out
    assert "complete --no-files --command rawgenai" in invoke("completion", "fish").out


@pytest.mark.parametrize("argv", [(), ("powershell",), ("bash", "zsh")])
def test_a_wrong_shell_is_refused_with_the_three(argv: tuple[str, ...]) -> None:
    result = invoke("completion", *argv)
    assert (result.status, result.code) == (2, "invalid_usage")
    assert len(argv) == 2 or all(shell in result.envelope["error"]["message"] for shell in SHELLS)


# --- what a shell is answered ---------------------------------------------------------------------------------------


def answered(monkeypatch: pytest.MonkeyPatch, shell: str, line: str) -> list[str]:
    """What is printed to a shell that asks for the last word of a line."""
    words = line.split(" ")
    restore_later(monkeypatch)
    monkeypatch.setenv("_RAWGENAI_COMPLETE", f"{shell}_complete")
    monkeypatch.setenv("COMP_WORDS", " ".join(words))
    monkeypatch.setenv("COMP_CWORD", words[-1] if shell == "fish" else str(len(words) - 1))
    result = invoke()
    assert (result.status, result.err) == (0, "")
    return result.out.splitlines()


@pytest.mark.usefixtures("ledger")
def test_zsh_and_fish_show_what_a_task_is(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = answered(monkeypatch, "zsh", f"{VIDEO} status ")
    assert lines[:6] == ["plain", "task-24", "succeeded, wan2.6-t2v", "plain", "task-23", "pending, wan2.6-t2v"]
    lines = answered(monkeypatch, "fish", f"{VIDEO} status task-24")
    assert lines == ["plain,task-24\tsucceeded, wan2.6-t2v"]


@pytest.mark.parametrize("command", ["status", "download", "cancel", "wait"])
@pytest.mark.usefixtures("ledger")
def test_the_newest_twenty_task_ids_complete(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = answered(monkeypatch, "bash", f"{VIDEO} {command} ")
    assert lines == [f"plain,task-{number}" for number in range(24, 4, -1)]


@pytest.mark.parametrize("shell", SHELLS)
def test_asking_for_task_ids_makes_no_ledger(shell: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "".join(answered(monkeypatch, shell, f"{VIDEO} status ")) == ""
    assert not (tmp_path / "state").exists()


def test_a_broken_ledger_is_no_words_and_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    database(tmp_path).parent.mkdir(parents=True)
    database(tmp_path).write_text("this is no database, but text that is long enough")
    assert answered(monkeypatch, "bash", f"{VIDEO} status ") == []


@pytest.mark.parametrize(
    "environ",
    [
        {"_RAWGENAI_COMPLETE": "bash_complete"},
        {"_RAWGENAI_COMPLETE": ""},
        {"_RAWGENAI_COMPLETE": "tcsh_complete", "COMP_WORDS": "rawgenai ", "COMP_CWORD": "1"},
        {"_RAWGENAI_COMPLETE": "bash_complete", "COMP_WORDS": "rawgenai ", "COMP_CWORD": "many"},
        {"_RAWGENAI_COMPLETE": "zsh_complete", "COMP_WORDS": f"{VIDEO} create --audio=7 --model ", "COMP_CWORD": "6"},
    ],
    ids=str,
)
def test_a_question_that_makes_no_sense_is_answered_with_nothing(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    restore_later(monkeypatch)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    result = invoke()
    assert (result.status, result.out.strip(), result.err) == (0, "", "")


def test_who_exports_the_scripts_as_click_documents_it_gets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_RAWGENAI_COMPLETE", "fish_source")
    assert "complete --no-files --command rawgenai" in invoke().out


@pytest.mark.parametrize(
    ("words", "joined"),
    [
        (["a", "--ratio", "16", ":", "9"], ["a", "--ratio", "16:9"]),
        (["a", "--ratio", "=", "16", ":"], ["a", "--ratio=16:"]),
        (["a", "b: c", "d"], ["a", "b: c", "d"]),
        ([""], [""]),
        ([":"], [":"]),
    ],
)
def test_what_bash_takes_apart_is_put_together(words: list[str], joined: list[str]) -> None:
    assert completion._joined(words) == joined


def test_every_parameter_that_the_table_names_is_one_of_a_command() -> None:
    assert set(completion.WORDS) <= {param.name for param in parameters(main)}


def test_asking_for_words_loads_nothing_heavy() -> None:
    code = "import sys; from rawgenai.cli import run; run(); print(*sys.modules, file=sys.stderr)"
    asked = {"_RAWGENAI_COMPLETE": "bash_complete", "COMP_WORDS": f"{VIDEO} create --model ", "COMP_CWORD": "5"}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **asked}, capture_output=True, text=True, check=True
    )
    assert "plain,wan2.6-t2v" in done.stdout.splitlines()
    loaded = set(done.stderr.split())
    assert not loaded & {"httpx", "pydantic", "rich", "sqlite3", "PIL", "ssl", "tenacity", "json", "subprocess"}


def test_without_the_variable_nothing_of_it_is_loaded() -> None:
    code = "import sys; from rawgenai.cli import run; run(['--version']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"rawgenai.cli.completion", "click.shell_completion"} & set(done.stdout.split())


# --- a real bash ----------------------------------------------------------------------------------------------------

TAB, ALL = b"\t", b"\x18a"  # the second inserts every word there is
SETUP = r"""
PS1='$ '; bind '"\C-xa": insert-completions'; bind -x '"\C-xp": printf "{%s}" "$READLINE_LINE"'
eval "$(rawgenai completion bash)"; printf 're''ady\n'
"""


class Bash:
    """An interactive bash at a terminal, in which our command is on the path."""

    def __init__(self, folder: Path) -> None:
        import fcntl
        import pty
        import struct
        import termios

        (folder / "bin").mkdir()
        script = folder / "bin" / "rawgenai"
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rawgenai "$@"\n')
        script.chmod(0o755)
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 2000, 0, 0))
        self.process = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "-i"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=folder,
            env={
                **os.environ,
                "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
                "TERM": "dumb",
                "INPUTRC": "/dev/null",
            },
            start_new_session=True,
        )
        os.close(theirs)
        os.write(self.ours, SETUP.encode())
        self.read("ready")

    def read(self, pattern: str) -> "re.Match[str]":
        """Read until something is there."""
        seen, end = b"", time.monotonic() + 20
        while time.monotonic() < end:
            if select.select([self.ours], [], [], 1)[0]:
                seen += os.read(self.ours, 65536)
            if found := re.search(pattern, seen.decode(errors="replace"), re.DOTALL):
                return found
        raise AssertionError(seen)

    def typed(self, line: str, key: bytes = ALL) -> str:
        """Type a line and a key; the line that is there then."""
        os.write(self.ours, b"\x15" + line.encode() + key + b"\x18p")
        return self.read(r"\{([^{}]*)\}")[1].rstrip(" ")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.ours)


@pytest.fixture
def bash(tmp_path: Path) -> Iterator[Bash]:
    shell = Bash(tmp_path)
    yield shell
    with suppress(OSError):
        shell.close()


real = pytest.mark.skipif(os.name != "posix" or not shutil.which("bash"), reason="there is no bash")


@pytest.mark.slow
@real
@pytest.mark.platform
def test_bash_completes_what_is_typed(bash: Bash, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    one = {
        "rawgenai dash": "rawgenai dashscope",
        f"{VIDEO} crea": f"{VIDEO} create",
        f"{VIDEO} create --mod": f"{VIDEO} create --model",
        f"{VIDEO} create --ratio 1": f"{VIDEO} create --ratio 16:9",
        f"{VIDEO} create --ratio 16:": f"{VIDEO} create --ratio 16:9",
        f"{VIDEO} create --ratio=16:": f"{VIDEO} create --ratio=16:9",
        f"{VIDEO} create --ratio=9": f"{VIDEO} create --ratio=9:16",
        f"{VIDEO} create --image pho": f"{VIDEO} create --image photo.jpg",
        f"{VIDEO} create --image=pho": f"{VIDEO} create --image=photo.jpg",
    }
    every = {
        f"{VIDEO} create --image photo.jpg --model ": I2V,
        f"{VIDEO} create 'a b: c=d' --model wan2.6-t": "wan2.6-t2v wan2.6-t2v-us",
        f"{VIDEO} create -i photo.jpg -d 10 -r 480P -m ": "wan2.5-i2v-preview wan3.0-video wan3.0-video-prime",
        f"{VIDEO} create -m wan3.0-video --ratio ": "adaptive 16:9 4:3 1:1 3:4 9:16",
        f"{VIDEO} create --audio-setting ": "auto origin",
        f"{VIDEO} create -m wan2.2-t2v-plus -r ": "480P 1080P",
        f"{VIDEO} create --resolution ": "480P 720P 1080P",
        f"{VIDEO} create --shot-type ": "single multi",
        f"{VIDEO} list --status ": "pending running succeeded failed canceled intended refused unknown lost",
        "rawgenai config get ": "dashscope_api_key dashscope_base_url dashscope_region dashscope_workspace",
        f"{VIDEO} status task --region ": "beijing singapore virginia frankfurt",
        "rawgenai completion ": "bash zsh fish",
    }
    assert {line: bash.typed(line, TAB) for line in one} == one
    assert {line: bash.typed(line).removeprefix(line[: line.rindex(" ") + 1]) for line in every} == every


@pytest.mark.slow
@real
@pytest.mark.platform
@pytest.mark.usefixtures("ledger")
def test_bash_completes_task_ids(bash: Bash) -> None:
    assert bash.typed(f"{VIDEO} status task-2").split()[4:] == [f"task-{number}" for number in (24, 23, 22, 21, 20)]


def test_all_models_are_offered_while_inputs_may_still_come(monkeypatch: pytest.MonkeyPatch) -> None:
    assert answered(monkeypatch, "bash", f"{VIDEO} create kitten --model ") == [
        f"plain,{name}" for name, row in MODELS.items() if row.mode != "vace"
    ]


def test_inputs_that_contradict_each_other_are_no_words(monkeypatch: pytest.MonkeyPatch) -> None:
    assert answered(monkeypatch, "bash", f"{VIDEO} create --video a --first-frame b --model ") == [""]


@pytest.mark.parametrize(
    ("inputs", "models"),
    [
        ("--image a --ref b", ["wan2.7-r2v", "wan2.7-r2v-2026-06-12"]),
        ("--first-clip a", ["wan2.7-i2v", "wan2.7-i2v-2026-04-25"]),
        ("--video a --ref b", ["wan2.7-videoedit", "happyhorse-1.0-video-edit"]),
    ],
)
def test_models_are_offered_that_take_what_was_named(
    monkeypatch: pytest.MonkeyPatch, inputs: str, models: list[str]
) -> None:
    said = answered(monkeypatch, "bash", f"{VIDEO} create {inputs} --model ")
    assert said == [f"plain,{name}" for name in models]
