"""A film of the emulator's: thirty seconds to the frame, without a seam, and in step."""

import json
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import av
import pytest
from PIL import Image, ImageChops, ImageStat

from faulty import command, environ
from footage import RATE, heard, loudness, shift

pytestmark = pytest.mark.slow
SHOTS = 6
PROMPTS = ("月光下的小猫", "It wakes up", "它跳上窗台", "It looks at the stars", "星星很亮", "It falls asleep")
MODELS = {"t2v": "wan2.5-t2v-preview", "i2v": "wan2.5-i2v-preview"}  # they make sound, and 480P
ALIKE, APART = 2.0, 8.0  # of 255: how far a pixel is from the same one of the next frame, on average


def line(prompt: str, mode: str = "i2v", **more: Any) -> dict[str, Any]:
    """A line of a film."""
    return {"prompt": prompt, "model": MODELS[mode], "resolution": "480P", **more}


def filmed(folder: Path, name: str, lines: list[dict[str, Any]]) -> Any:
    """Make a film on the emulator; its envelope."""
    shots = folder / f"{name}.jsonl"
    shots.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")
    places = ("-o", str(folder / f"{name}.mp4"), "--clips", str(folder / "clips"))
    run = subprocess.run(
        command("dashscope", "video", "film", str(shots), *places, "-q", "--poll-interval", "0"),
        env=environ("emulator", RAWGENAI_EMULATOR_SECONDS="0"),
        stdin=subprocess.DEVNULL, capture_output=True, timeout=300, check=True,
    )  # fmt: skip
    return json.loads(run.stdout)


class Shown(NamedTuple):
    """What a clip shows, frame by frame."""

    times: list[float]
    frames: list[int]  # a hash of each
    steps: list[float]  # how far the pixels of each frame are from those of the one before, on average


def shown(path: str) -> Shown:
    """Look at every frame of a clip."""
    found, before = Shown([], [], []), None
    with av.open(path) as container:
        for frame in container.decode(video=0):
            plane = frame.planes[0]
            luma = Image.frombuffer("L", (frame.width, frame.height), bytes(plane), "raw", "L", plane.line_size, 1)
            found.times.append(frame.time or 0.0)
            found.frames.append(hash(b"".join(bytes(each) for each in frame.planes)))
            if before is not None:
                found.steps.append(ImageStat.Stat(ImageChops.difference(before, luma)).mean[0])
            before = luma
    return found


def test_six_shots_of_five_seconds_are_thirty_seconds_without_a_seam_and_in_step(tmp_path: Path) -> None:
    lines = [line(PROMPTS[0], "t2v"), *map(line, PROMPTS[1:])]
    made = filmed(tmp_path, "film", lines)
    clips = [shot["file"] for shot in made["shots"]]
    assert (made["picture"], made["sound"], len(set(clips))) == ("copied", "copied", SHOTS)

    assert abs(made["seconds"] - 30) <= 1 / 30
    whole = shown(made["file"])
    assert len(whole.times) == 900
    assert max(abs(at - number / 30) for number, at in enumerate(whole.times)) < 0.001
    assert whole.frames == [frame for clip in clips for frame in shown(clip).frames]
    assert len(set(whole.frames)) == 900  # so no shot is taken for another

    cuts = [whole.steps[150 * number - 1] for number in range(1, SHOTS)]
    print(f"at the cuts {[round(cut, 2) for cut in cuts]}, within shots {max(whole.steps):.2f} at most")
    assert max(cuts) < ALIKE

    sound = loudness(made["file"], RATE)
    last = loudness(clips[-1], RATE)
    late = [shift(sound, loudness(clip, RATE), number * 5 * RATE) for number, clip in enumerate(clips)]
    end = heard(made["file"]) - (whole.times[-1] + 1 / 30)
    print(
        f"sound is late by {[round(1000 * each) for each in late]} ms in the shots, and by {1000 * end:.1f} at the end"
    )
    assert max(map(abs, [*late, end])) <= 0.040
    assert shift(sound, last, 25 * RATE - RATE // 20) > 0.040 - 0.012 + 0.005  # were it later, that would be seen

    cut = filmed(tmp_path, "cut", [lines[0], line(PROMPTS[1], "t2v", **{"continue": False})])
    assert cut["shots"][0]["cached"] is True
    seam = shown(cut["file"]).steps[149]
    print(f"where a shot does not go on from the one before: {seam:.2f}")
    assert seam > APART
