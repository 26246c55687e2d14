"""The pages say what the code does: generated blocks are fresh, examples parse, refusals are refused as shown."""

import itertools
import json
import os
import re
import shlex
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import pytest
from cogapp import Cog  # type: ignore[import-untyped]  # it has no types

from rawgenai import cli
from rawgenai.cli.command import Group
from rawgenai.dashscope.spec import Spec, Vace
from rawgenai.errors import CODES, RawgenaiError

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))

import _pages  # noqa: E402 - it is no package, and its folder is known only now

PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
PROSE = [*PAGES, ROOT / ".github" / "CONTRIBUTING.md"]
COMMANDS = list(_pages.commands())
SHELL = ("bash", "console", "text")


def read(page: Path) -> str:
    return page.read_text("utf-8")


def name(value: Any) -> str:
    return value.name if isinstance(value, Path) else " ".join(value) if isinstance(value, tuple) else ""


EXAMPLES = [(page.name, example) for page in PAGES for example in _pages.examples(read(page), *SHELL)]


# --- generated blocks ----------------------------------------------------------------------------------------------


@pytest.mark.slow  # `poe lint` asks the same
@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_generated_block_is_what_the_code_prints(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failed = Cog().main(["cog", "-P", "-I", str(DOCS), "--check", "--diff", str(page)])
    assert not failed, f"Run: uv run poe docs\n{capsys.readouterr().out}"


def test_a_stale_block_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stale = tmp_path / "models.md"
    stale.write_text(read(DOCS / "models.md").replace("| 2-15 |", "| 2-16 |", 1), "utf-8")
    assert Cog().main(["cog", "-P", "-I", str(DOCS), "--check", str(stale)]) != 0
    assert "models.md" in capsys.readouterr().out


@pytest.mark.parametrize(
    "function", ["models", "prices", "error_codes", "help_pages", "requests", "exit_statuses", "faults"]
)
def test_what_can_be_printed_is_on_a_page(function: str) -> None:
    assert any(f"_pages.{function}()" in read(page) for page in PAGES)


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_a_row_on_the_page_of_errors(code: str) -> None:
    assert f"| `{code}` | {CODES[code].sentence} |" in read(DOCS / "errors.md")


# --- examples ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("line", "argv", "piped"), [
    ("$ rawgenai a 'b c' 2>err.json | jq .x", ["a", "b c"], False),
    ("cat x | rawgenai a > out", ["a"], True),
    ("rawgenai a - < x.txt", ["a", "-"], True),
    ("A=1 uv run --extra media rawgenai a b", ["a", "b"], False),
    ("id=$(uv run rawgenai a | cut -d'\"' -f6)", ["a"], False),
    ("while x=$(rawgenai a 2>&1); do", ["a"], False),
    ("A=1 B=2 rawgenai a --x=1 -d 5", ["a", "--x=1", "-d", "5"], False),
    ("case 1 in 1) rawgenai a ;; esac", ["a"], False),
])  # fmt: skip
def test_a_command_is_found_in_a_line_of_shell(line: str, argv: list[str], *, piped: bool) -> None:
    assert _pages.examples(f"```bash\n{line}\n```", "bash") == [_pages.Example(line, argv, piped)]


def test_a_continued_line_is_one_command() -> None:
    page = "```bash\nrawgenai a \\\n  --b c\n```"
    assert [example.argv for example in _pages.examples(page, "bash")] == [["a", "--b", "c"]]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_command_in_a_code_block_is_overlooked(page: Path) -> None:
    blocks = "\n".join(_pages.blocks(read(page), *SHELL)).replace("Usage: rawgenai", "")
    said = re.findall(r"(?<![\w/.`])rawgenai(?= (?:dashscope|config|video|completion \w+ |-))", blocks)
    assert len(said) == len(_pages.examples(read(page), *SHELL))


@pytest.mark.parametrize("page", ["README.md", "usage.md", "emulator.md", "cli.md", "requests.md"])
def test_a_page_of_commands_has_some(page: str) -> None:
    assert page in {where for where, _ in EXAMPLES}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_an_example_parses(page: Path) -> None:
    for example in _pages.examples(read(page), *SHELL):
        try:
            parse(example.argv)
        except click.UsageError as error:
            pytest.fail(f"{example.line}: {error.format_message()}")


CREATES = [
    example
    for page in PAGES
    for example in _pages.examples(read(page), "bash", "text")
    if example.argv[:3] == ["dashscope", "video", "create"]
]


@pytest.mark.slow
@pytest.mark.parametrize("example", CREATES, ids=lambda example: shlex.join(example.argv[3:]))
def test_an_example_that_is_shown_as_working_passes_the_rules(example: _pages.Example) -> None:
    assert _pages.shown(example)["method"] == "POST"


@pytest.mark.parametrize("argv", [["dashscope", "video", "create", "--no-such"], ["dashscope", "video", "status"]])
def test_a_wrong_example_would_not_parse(argv: list[str]) -> None:
    with pytest.raises(click.UsageError):
        parse(argv)


def test_a_command_that_there_is_not_would_not_parse() -> None:
    with pytest.raises(AssertionError):
        parse(["dashscope", "video", "destroy"])


def parse(argv: list[str]) -> None:
    """Parse a command line with its click command, and run nothing."""
    command: click.Command | None = cli.main
    words = list(argv)
    while isinstance(command, Group) and words and not words[0].startswith("-"):
        command = command.get_command(click.Context(command), words.pop(0))
    assert command is not None
    command.make_context("rawgenai", words)


def transcripts() -> list[tuple[list[str], str]]:
    """The commands in the pages' console blocks, each with the line that it answers."""
    found = []
    for page in PAGES:
        for block in _pages.blocks(read(page), "console"):
            lines = block.splitlines()
            found += [
                (example.argv, answer)
                for line, answer in itertools.pairwise(lines)
                for example in _pages.examples(f"```console\n{line}\n```", "console")
            ]
    return found


def test_the_pages_show_refusals() -> None:
    assert len(transcripts()) >= 8


@pytest.mark.parametrize(("argv", "answer"), transcripts(), ids=lambda value: "" if isinstance(value, str) else None)
def test_a_documented_refusal_is_refused_as_shown(
    argv: list[str], answer: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with _pages.example_folder():
        os.environ["DASHSCOPE_BASE_URL"] = "emulator"  # the folder takes it away again
        status = cli.run(argv)
    out, err = capfd.readouterr()
    shown = json.loads(answer)
    assert json.loads(err.splitlines()[-1]) == shown
    assert out == ""
    assert status == RawgenaiError(shown["error"]["code"], outcome=shown["error"].get("outcome")).status


@pytest.mark.parametrize("wrong", ["exit", "set -", "jq", "status=", "#", "!"])
def test_the_readmes_first_block_is_safe_to_paste_anywhere(wrong: str) -> None:
    """Exit ends the reader's shell; in zsh, `status` is read-only and a pasted `#` is a command."""
    assert wrong not in _pages.blocks(read(ROOT / "README.md"), "bash")[0]


# --- help ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=name)
def test_a_command_has_help_with_an_example(path: tuple[str, ...], command: click.Command) -> None:
    assert command.help
    assert re.search(f"Examples?:\n(.*\n)*  .*rawgenai {' '.join(path)}", command.epilog or "")


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=name)
def test_an_option_has_help(path: tuple[str, ...], command: click.Command) -> None:
    params = command.get_params(click.Context(command))
    assert [option.name for option in params if isinstance(option, click.Option) and not option.help] == [], path


GROUPS = [(path, group) for path, group in COMMANDS if isinstance(group, Group)]


@pytest.mark.parametrize(("path", "group"), GROUPS, ids=name)
def test_a_groups_table_has_each_commands_own_short_help(path: tuple[str, ...], group: Group) -> None:
    below = {words[-1]: command for words, command in COMMANDS if words and words[:-1] == path}
    assert {word: line for word, (_, line) in group.lazy.items()} == {
        word: command.get_short_help_str(limit=200) for word, command in below.items()
    }


# --- what else must stand on a page -----------------------------------------------------------------------------------

_VARIABLE = re.compile(r'"((?:RAWGENAI|DASHSCOPE|ALIBABA_CLOUD|ALICLOUD|XDG|SSL_CERT)_[A-Z_]+)"')
VARIABLES = sorted({found for file in (ROOT / "src").rglob("*.py") for found in _VARIABLE.findall(read(file))})


def test_the_search_for_variables_finds_some() -> None:
    assert {"DASHSCOPE_API_KEY", "RAWGENAI_DEBUG", "RAWGENAI_LEDGER", "XDG_STATE_HOME"} <= set(VARIABLES)


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_variable_that_the_source_reads_is_in_the_usage_pages_table(variable: str) -> None:
    table = read(DOCS / "usage.md").partition("## Every variable")[2]
    assert f"`{variable}`" in table


@pytest.mark.parametrize("field", [*(field.name for field in fields(Spec)[1:]), *Vace._fields[1:]])
def test_a_named_field_of_a_spec_is_on_the_library_page(field: str) -> None:
    assert re.search(rf"`{field}`|\b{field}=", read(DOCS / "python.md").partition("## Films")[0])


def test_the_architecture_page_names_every_module() -> None:
    tree = read(DOCS / "architecture.md")
    modules = {file.name for file in (ROOT / "src").rglob("*.py")}
    assert [module for module in sorted(modules) if not re.search(rf"\b{module}\b", tree)] == []


def test_each_ruling_that_the_code_cites_is_on_its_page() -> None:
    ruled = set(re.findall(r"^(\d+)\. ", read(DOCS / "rulings.md"), re.MULTILINE))
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    cited = {number for file in files for number in re.findall(r"\brulings? (\d+)", read(file))}
    assert len(cited) > 20
    assert cited <= ruled


@pytest.mark.parametrize("page", PROSE, ids=name)
def test_a_link_between_pages_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)", read(page))
    for path, anchor in links:
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as the usual hosts of Markdown make them."""
    headings = re.findall("^#+ (.*)$", read(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


_PRIVATE = re.compile(
    r"(?<!\w)/(?:home|root|Users|work|tmp|mnt|opt)/|[A-Z]:\\|pypi\.|pythonhosted|index-url|\bregistry\.\w"
)


@pytest.mark.parametrize("page", [*PROSE, DOCS / "_pages.py"], ids=name)
def test_no_path_of_a_machine_and_no_registry_is_named(page: Path) -> None:
    assert not (found := _PRIVATE.findall(read(page))), found
    assert str(ROOT) not in read(page)


@pytest.mark.parametrize("text", ["see /home/ann/x", "https://pypi.example/simple", r"C:\Users"])
def test_a_path_of_a_machine_would_be_found(text: str) -> None:
    assert _PRIVATE.search(text)
