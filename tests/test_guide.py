"""Every block of commands in the guide, typed into bash as it stands: the emulator answers, and the files are there."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import footage
from rawgenai import media

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="the guide is written for bash"),
]

GUIDE = Path(__file__).parents[1] / "docs" / "guide.md"
# `rawgenai` as it is installed, except that it looks at a task more often than the API would like.
RAWGENAI = f"""#!{sys.executable}
from rawgenai.__main__ import main
from rawgenai.dashscope import waiting
waiting.FIRST = waiting.LONGEST = 0.1
main()
"""


def sections() -> dict[str, list[str]]:
    """The blocks of commands below each heading."""
    _, *parts = re.split("^## (.*)$", GUIDE.read_text("utf-8"), flags=re.MULTILINE)
    found = {
        heading: re.findall(r"^```bash\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
        for heading, text in zip(parts[::2], parts[1::2], strict=True)
    }
    return {heading: blocks for heading, blocks in found.items() if blocks}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The emulator in process, which moves a task on each time it is asked for, and `rawgenai` on the path."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "rawgenai").write_text(RAWGENAI, "utf-8")
    (programs / "rawgenai").chmod(0o755)
    return os.environ | {
        "DASHSCOPE_BASE_URL": "emulator",
        "RAWGENAI_EMULATOR_SECONDS": "0",
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
    }


def typed(block: str, folder: Path, environ: dict[str, str]) -> str:
    command = ["bash", "-euo", "pipefail", "-c", block]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
    return done.stdout


def picture(path: Path) -> None:
    Image.new("RGB", (1280, 720), (len(path.stem) * 16 % 256, 80, 120)).save(path)


def mask(path: Path) -> None:
    image = Image.new("L", (640, 360))
    image.paste(255, (200, 100, 400, 300))
    image.save(path)


def clip(path: Path) -> object:
    return footage.make(path, frames=75, size=(640, 360))


def sound(path: Path) -> object:
    return footage.track(path, 5)


# What the guide's reader has, by the ends of its names. What the commands make is not there before.
GIVEN: dict[str, Callable[[Path], object]] = {"jpg": picture, "png": mask, "mp4": clip, "wav": sound}


@pytest.mark.parametrize("heading", sections())
def test_what_the_guide_says_works_as_it_is_typed(heading: str, tmp_path: Path, environ: dict[str, str]) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    text = "\n".join(sections()[heading])
    made = set(re.findall(r"(?:-o|--output) (\S+)", text))
    for name, end in set(re.findall(rf"\b(\w+\.({'|'.join(GIVEN)}))\b", text)):
        if name not in made:
            GIVEN[end](folder / name)
    for block in sections()[heading]:
        said = typed(block, folder, environ)
        assert "null" not in said.split(), f"{block} asks jq for what is not there"
    assert {name: media.look(str(folder / name)).kind for name in made} == {
        name: "image" if name.endswith(".png") else "video" for name in made
    }
