"""The specification's usage examples, copied into usage.sh, typed on the emulator; their envelopes, to the key."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from invoking import Result, invoke

from rawgenai.emulator import render

USAGE = Path(__file__).parents[1] / "specification" / "usage.sh"
LINES = [
    shlex.split(line, comments=True)
    for line in USAGE.read_text(encoding="utf-8").replace("\\\n", "").splitlines()
    if line and not line.startswith("#")
]
CREATES = [line for line in LINES if "create" in line]
OTHERS = [line for line in LINES if "create" not in line]
# What each example asks for, in the page's order: seconds and tier of its clip (the defaults are 5 and 720), if any.
CLIPS: list[tuple[int, int] | None] = [
    (5, 720),  # text
    (5, 720),  # image
    (5, 720),  # image by URL
    (5, 720),  # first frame
    (5, 720),  # both frames
    None,  # "With audio" has no image: --audio is for wan2.6-i2v-flash only, as the specification says four times
    (5, 720),  # custom audio
    (10, 1080),  # custom settings
    (15, 720),  # several shots
    (5, 720),  # one character
    (5, 720),  # two characters
    (5, 720),  # a video
    (5, 720),  # no audio
    (5, 720),  # from a file
    (5, 720),  # from stdin
]
UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
PROMPT = "一只猫从文件里走出来"
BOXES = ((b"ftyp", b"isom"), (b"moov", b""), (b"mdat", b"clip"))
MP4 = b"".join((8 + len(body)).to_bytes(4) + name + body for name, body in BOXES)


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the examples name, each of them real."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("examples")
    for number, name in enumerate(("photo", "person", "person1", "person2", "start", "end")):
        Image.new("RGB", (640, 480), (40 * number, 80, 120)).save(folder / f"{name}.jpg")
    clip: dict[str, Any] = {"prompt": "a scene", "model": "m", "mode": "t2v", "task_id": "t"}
    render.draw(folder / "scene.mp4", width=320, height=240, seconds=1, sound=False, **clip)
    (folder / "prompt.txt").write_text(f"{PROMPT}\n", encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def _here(media: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In that folder, on the emulator, where a task moves on each time it is asked for."""
    monkeypatch.chdir(media)
    monkeypatch.setenv("DASHSCOPE_BASE_URL", "emulator")
    monkeypatch.setenv("RAWGENAI_EMULATOR_SECONDS", "0")
    monkeypatch.setattr(render, "draw", lambda path, **_: path.write_bytes(MP4))
    yield
    (media / "output.mp4").unlink(missing_ok=True)


def typed(words: list[str], **values: str) -> Result:
    """Run an example's words, with values in the place of <names>; ``cat FILE |`` in front is its stdin."""
    words = [values.get(word.strip("<>"), word) for word in words]
    stdin = None
    if words[0] == "cat":
        stdin, words = Path(words[1]).read_bytes(), words[3:]
    assert words[0] == "rawgenai"
    return invoke(*words[1:], stdin=stdin)


def created(words: list[str]) -> str:
    done = typed(words)
    assert (done.status, done.err) == (0, "")
    assert list(done.envelope) == ["success", "task_id", "status"]
    assert (done.envelope["success"], done.envelope["status"]) == (True, "pending")
    assert UUID.fullmatch(done.envelope["task_id"])
    return str(done.envelope["task_id"])


def test_there_are_as_many_examples_as_the_page_has() -> None:
    assert len(CREATES) == len(CLIPS) == 15
    assert [line[3] for line in OTHERS] == ["status", "status", "download"]


@pytest.mark.parametrize(
    ("words", "clip"), list(zip(CREATES, CLIPS, strict=True)), ids=[" ".join(words[4:])[:40] for words in CREATES]
)
def test_an_example_gives_its_documented_envelopes(words: list[str], clip: tuple[int, int] | None) -> None:
    status, verbose, download = OTHERS
    if clip is None:
        done = typed(words)
        assert (done.status, done.out, done.code) == (2, "", "incompatible_audio")
        assert list(done.envelope["error"]) == ["code", "message"]
        return
    task_id = created(words)
    brief = {"success": True, "task_id": task_id}
    for phase in ("pending", "running"):
        assert typed(status, task_id=task_id).envelope == {**brief, "status": phase}
    whole = {**brief, "status": "succeeded", "duration": clip[0], "resolution": clip[1]}
    done = typed(status, task_id=task_id)
    assert done.envelope == whole
    assert list(done.envelope) == list(whole)

    prompt = next((word for word in words[4:] if not re.match("-|\\||cat|rawgenai", word)), "")
    prompt = PROMPT if "prompt.txt" in words else prompt
    shown = typed(verbose, task_id=task_id).envelope
    more: dict[str, Any] = {"video_url": shown["video_url"], "orig_prompt": prompt}
    if "--first-frame" in words:  # wan2.6 never says how it rewrote the prompt (reference 3.3)
        more["actual_prompt"] = shown["actual_prompt"]
    assert shown == whole | more
    assert list(shown) == [*whole, *more]
    assert shown["video_url"].startswith("http")

    done = typed(download, task_id=task_id)
    assert done.envelope == {**brief, "file": str(Path("output.mp4").absolute())}
    assert Path("output.mp4").read_bytes() == MP4


def test_a_failed_task_gives_the_documented_envelope() -> None:
    task_id = created([*CREATES[0][:4], "emulator:fail=DataInspectionFailed"])
    for phase in ("pending", "running"):
        assert typed(OTHERS[0], task_id=task_id).envelope["status"] == phase
    done = typed(OTHERS[0], task_id=task_id)
    assert done.status == 1
    error = done.envelope["error"]
    # The documented keys, and what the API said of a task that exists (design section 4).
    assert list(error) == ["code", "message", "api_code", "request_id", "task_id"]
    assert (error["code"], error["api_code"], error["task_id"]) == ("content_policy", "DataInspectionFailed", task_id)


def test_a_canceled_task_is_a_status_like_the_others() -> None:
    task_id = created([*CREATES[0][:4], "emulator:canceled"])
    for phase in ("pending", "running", "canceled"):
        done = typed(OTHERS[0], task_id=task_id)
        assert done.envelope == {"success": True, "task_id": task_id, "status": phase}


def test_a_prompt_file_that_is_stdin_is_read_as_such() -> None:
    done = typed(["cat", "prompt.txt", "|", *CREATES[0][:4], "-f", "-"])
    assert done.status == 0
