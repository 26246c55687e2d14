"""The examples of the page on the library run as they stand, and their types are right."""

import re
from pathlib import Path

import pytest
from mypy import api as mypy

from rawgenai.dashscope import waiting

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[1] / "docs" / "python.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def test_the_page_has_examples() -> None:
    assert len(BLOCKS) >= 5


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_an_example_runs_and_makes_its_clip(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DASHSCOPE_BASE_URL", "emulator")
    monkeypatch.setenv("RAWGENAI_EMULATOR_SECONDS", "0")
    for pause in ("FIRST", "LONGEST"):
        monkeypatch.setattr(waiting, pause, 0.01)
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "python.md", "exec"), {})
    promised = set(re.findall(r'"(\w+\.mp4)"', block))
    assert {file.name for file in tmp_path.glob("*.mp4") if file.read_bytes()[4:8] == b"ftyp"} == promised
    assert bool(capsys.readouterr().out) is ("print(" in block)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_an_examples_types_are_right(block: str, tmp_path: Path) -> None:
    file = tmp_path / "example.py"
    file.write_text(block, "utf-8")
    said, complaints, status = mypy.run(["--strict", "--cache-dir", str(tmp_path / "cache"), str(file)])
    assert status == 0, said + complaints
