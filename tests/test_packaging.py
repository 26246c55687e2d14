"""What people install: the wheel that ``uv build`` makes holds the package and says what it needs, and works bare."""

import email.message
import email.parser
import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import rawgenai

ROOT = Path(__file__).parents[1]
PACKAGE = Path(rawgenai.__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
INSTALL = "pip install 'rawgenai[media]'"
CREATE = ("dashscope", "video", "create")


def _uv(*arguments: str | Path) -> None:
    uv = os.environ.get("UV") or shutil.which("uv") or "uv"
    subprocess.run([uv, *arguments], cwd=ROOT, check=True, capture_output=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source archive, which thereby has all that a build needs."""
    folder = tmp_path_factory.mktemp("dist")
    _uv("build", "--quiet", "--out-dir", folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of a fresh environment that has the wheel and no extra."""
    folder = tmp_path_factory.mktemp("bare")
    _uv("venv", "--quiet", "--python", sys.executable, folder)
    binaries = folder / ("Scripts" if os.name == "nt" else "bin")
    _uv("pip", "install", "--quiet", "--python", binaries / "python", wheel)
    return binaries / "rawgenai"


def _run(command: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [command, *arguments], stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", check=False
    )


def _metadata(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.parser.BytesParser().parsebytes(archive.read(name))


def test_the_version_that_the_command_prints_is_the_package_s() -> None:
    done = subprocess.run([sys.executable, "-m", "rawgenai", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"rawgenai {rawgenai.__version__}\n"


@pytest.mark.slow
def test_the_wheel_holds_exactly_the_package(wheel: Path) -> None:
    sources = {path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    about = f"rawgenai-{rawgenai.__version__}.dist-info"
    expected = {path.relative_to(PACKAGE.parent).as_posix() for path in sources}
    expected |= {f"{about}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")}
    with zipfile.ZipFile(wheel) as archive:
        assert set(archive.namelist()) == expected
        assert b"Root-Is-Purelib: true" in archive.read(f"{about}/WHEEL")
    assert "rawgenai/py.typed" in expected
    assert not [name for name in expected if name.endswith(".pth")]


@pytest.mark.slow
def test_the_metadata_say_what_the_project_file_says(wheel: Path) -> None:
    metadata = _metadata(wheel)
    assert metadata["Version"] == rawgenai.__version__
    assert metadata["Requires-Python"] == PROJECT["requires-python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"
    assert metadata.get_all("Provides-Extra") == list(PROJECT["optional-dependencies"]) == ["media"]
    needed = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert len(needed) == len(PROJECT["dependencies"])
    assert not [line for line in needed if line.startswith("dashscope")]


@pytest.mark.slow
def test_the_installed_command_runs_and_says_its_version(bare: Path) -> None:
    done = _run(bare, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"rawgenai {rawgenai.__version__}\n", "")


@pytest.mark.slow
def test_a_dry_run_works_without_any_extra(bare: Path) -> None:
    done = _run(bare, *CREATE, "A kitten", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["request"]["body"]["input"] == {"prompt": "A kitten"}


@pytest.mark.slow
def test_a_clip_of_the_emulator_without_its_extra_is_missing_extra_with_the_install_line(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASHSCOPE_BASE_URL", "emulator")
    monkeypatch.setenv("RAWGENAI_EMULATOR_SECONDS", "0")
    task_id = json.loads(_run(bare, *CREATE, "A kitten").stdout)["task_id"]
    for _ in range(3):  # polls, each of which moves the task on
        state = json.loads(_run(bare, "dashscope", "video", "status", task_id).stdout)["status"]
    assert state == "succeeded"
    done = _run(bare, "dashscope", "video", "download", task_id, "-o", str(tmp_path / "clip.mp4"))
    error = json.loads(done.stderr.splitlines()[-1])["error"]
    assert (done.returncode, error["code"]) == (2, "missing_extra")
    assert INSTALL in error["message"]
    assert not (tmp_path / "clip.mp4").exists()
