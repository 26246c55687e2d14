"""The README's first block, taken as it is, on a machine with Python and pip alone: it makes the clip it promises."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from av.container import InputContainer

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
# Taken before conftest seals the tests off: installing needs this machine's proxies, certificates and caches.
MACHINE = dict(os.environ)
_FOREIGN = re.compile("(DASHSCOPE|RAWGENAI|XDG)_.*|VIRTUAL_ENV.*|PYTHON.*|COVERAGE.*|UV(_RUN.*|_PROJECT.*)?")


def first_block() -> str:
    found = re.search(r"^```bash\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert found
    return found[1]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a clone of this checkout would hold, ignored files left out."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    folder = tmp_path_factory.mktemp("readme") / "clone"
    for name in listed.stdout.decode().rstrip("\0").split("\0"):
        if (ROOT / name).is_file():  # one that is deleted and not yet committed is listed too
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def clip(clone: Path) -> Path:
    """What the block leaves behind; uv comes from its first line, everything else from there."""
    python = clone.parent / "python"
    subprocess.run([sys.executable, "-m", "venv", python], check=True)
    programs = python / ("Scripts" if os.name == "nt" else "bin")
    environ = {name: value for name, value in MACHINE.items() if not _FOREIGN.fullmatch(name)}
    environ |= {
        "HOME": str(clone.parent / "home"),
        "PATH": os.pathsep.join([str(programs), MACHINE["PATH"]]),
        **_cache(),
    }
    Path(environ["HOME"]).mkdir()
    done = subprocess.run(
        ["bash", "-c", first_block()], cwd=clone, env=environ, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(programs.glob("uv*")), done.stdout + done.stderr
    assert (clone / ".venv").is_dir()
    return clone / "kitten.mp4"


def _cache() -> dict[str, str]:
    """The cache of this machine's uv, if it has one: sharing it saves the downloads and hides nothing."""
    uv = shutil.which("uv", path=MACHINE["PATH"])
    if uv is None:
        return {}
    told = subprocess.run([uv, "cache", "dir"], env=MACHINE, capture_output=True, text=True, check=True)
    return {"UV_CACHE_DIR": told.stdout.strip()}


@pytest.fixture
def opened(clip: Path) -> Iterator["InputContainer"]:
    import av

    with av.open(str(clip)) as container:
        yield container


def test_the_clip_is_h264_of_the_default_size_at_30_fps(opened: "InputContainer") -> None:
    stream = opened.streams.video[0]
    assert stream.codec_context.name == "h264"
    assert (stream.width, stream.height) == (1280, 720)
    assert stream.average_rate == 30


def test_the_clip_is_five_seconds_long_to_the_frame(opened: "InputContainer") -> None:
    stream = opened.streams.video[0]
    assert stream.duration is not None
    assert stream.time_base is not None
    assert abs(float(stream.duration * stream.time_base) - 5) <= 1 / 30
    assert sum(1 for _ in opened.decode(video=0)) in (149, 150, 151)


def test_consecutive_frames_differ(opened: "InputContainer") -> None:
    pictures = [bytes(frame.reformat(width=320, format="gray").planes[0]) for frame in opened.decode(video=0)]
    assert [index for index, (one, next_one) in enumerate(pairwise(pictures)) if one == next_one] == []


def test_the_clip_has_sound_that_can_be_heard(opened: "InputContainer") -> None:
    import av

    resampler = av.AudioResampler(format="s16", layout="mono", rate=8000)
    samples = [
        sample
        for frame in opened.decode(audio=0)
        for small in resampler.resample(frame)
        for sample in memoryview(bytes(small.planes[0])[: small.samples * 2]).cast("h")
    ]
    assert len(samples) / 8000 == pytest.approx(5, abs=0.2)
    halves = [samples[start : start + 4000] for start in range(0, len(samples) - 4000, 4000)]
    assert all(max(map(abs, half)) > 1000 for half in halves)  # of 32767: no half second is silent


@pytest.mark.parametrize(
    ("fault", "code"),
    [("fail=InternalError", "server_error"), ("canceled", "video_failed"), ("refuse=Arrearage", "access_denied")],
)
def test_a_failure_is_said_and_leaves_no_clip(fault: str, code: str, tmp_path: Path) -> None:
    _, *lines = first_block().replace("uv run --extra media ", "").splitlines()
    lines = [line.replace("in the moonlight", f"emulator:{fault}") for line in lines]
    programs = str(Path(sys.executable).parent)  # with rawgenai
    environ = {**os.environ, "PATH": os.pathsep.join([programs, MACHINE["PATH"]]), "RAWGENAI_EMULATOR_SECONDS": "1"}
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert f'"code": "{code}"' in done.stderr.splitlines()[-1]
    assert done.returncode != 0
    assert not (tmp_path / "kitten.mp4").exists()
