"""What a film costs: ``uv run python tests/bench/film.py``. It prints and never gates: exit status 0.

`rawgenai video join` of ten clips of 10 MB that are alike, beside `ffmpeg -f concat -c copy` of the same, as whole
processes in a folder in memory where there is one; and how much memory ten clips need more than one or small ones.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from shutil import which
from statistics import median

from measuring import RAWGENAI, Usage, report, run

ROUNDS = 9  # of each command, taking turns; medians are compared
CLIPS = 10
# Ten seconds of noise with B-frames and sound, some 10 MB; drawn by a process of its own (see Usage.peak).
DRAW = """import os, sys, av
with av.open(sys.argv[1], "w") as container:
    rate = int(sys.argv[2])
    video = container.add_stream("libx264", rate=30, options={"preset": "ultrafast", "bf": "2", "maxrate": str(rate),
                                                              "bufsize": str(rate // 8)})
    video.width, video.height, video.pix_fmt, video.bit_rate = 1280, 720, "yuv420p", rate
    audio = container.add_stream("aac", rate=48_000, layout="stereo")
    noise = os.urandom(1 << 21)
    for number in range(300):
        frame = av.VideoFrame(1280, 720, "yuv420p")
        for plane in frame.planes:
            plane.update(noise[number * 999 :][: plane.buffer_size])
        frame.pts = number
        container.mux(video.encode(frame))
        sound = av.AudioFrame("s16", "stereo", 1600)
        sound.rate, sound.pts = 48_000, number * 1600
        sound.planes[0].update(noise[number * 777 :][: sound.planes[0].buffer_size])
        container.mux(audio.encode(sound))
    container.mux(video.encode())
    container.mux(audio.encode())
"""


def main() -> None:
    """Print the ratios."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        clips, small = _clips(Path(folder, "large"), 8_000_000), _clips(Path(folder, "small"), 100_000)
        join = (*RAWGENAI, "video", "join")
        commands: dict[str, tuple[str, ...]] = {
            "join of ten": (*join, *clips, "-o", f"{folder}/film.mp4"),
            "join of one": (*join, clips[0], "-o", f"{folder}/one.mp4"),
            "join of ten small ones": (*join, *small, "-o", f"{folder}/small.mp4"),
            "join of forty": (*join, *clips * 4, "-o", f"{folder}/forty.mp4"),
        }
        if which("ffmpeg"):
            listed = Path(folder, "list.txt")
            listed.write_text("".join(f"file '{clip}'\n" for clip in clips), "utf-8")
            concat = ("-f", "concat", "-safe", "0", "-i", str(listed), "-c", "copy", f"{folder}/theirs.mp4")
            commands["ffmpeg of ten"] = ("ffmpeg", "-v", "error", "-y", *concat)
        else:
            print("ffmpeg is not installed: nothing to compare with")
        used = _measured(commands)
        sizes = [os.path.getsize(each[0]) / 1e6 for each in (clips, small)]
        print(f"ten clips of {sizes[0]:.1f} MB; the small ones have {sizes[1]:.1f} MB")
    for name, usage in used.items():
        print(f"{name:<26}{usage.cpu:8.3f} s CPU{usage.wall:8.3f} s wall{usage.peak:8.1f} MiB at most")
    ours = used["join of ten"]
    if theirs := used.get("ffmpeg of ten"):
        report("Times", [("CPU, join / ffmpeg", ours.cpu / theirs.cpu, 2), ("wall", ours.wall / theirs.wall, 2)])
    more = [
        (f"ten clips - {name}", ours.peak - used[f"join of {name}"].peak) for name in ("one", "ten small ones", "forty")
    ]
    report("MiB resident more", [(what, abs(figure), 2) for what, figure in more])


def _clips(folder: Path, rate: int) -> list[str]:
    folder.mkdir()
    first = folder / "0.mp4"
    subprocess.run([sys.executable, "-c", DRAW, str(first), str(rate)], check=True)
    for number in range(1, CLIPS):
        shutil.copy(first, folder / f"{number}.mp4")
    return [str(folder / f"{number}.mp4") for number in range(CLIPS)]


def _measured(commands: dict[str, tuple[str, ...]]) -> dict[str, Usage]:
    rounds = [{name: run(command, os.environ) for name, command in commands.items()} for _ in range(1 + ROUNDS)][1:]
    failed = [name for name in commands for each in rounds if each[name].status]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")
    return {name: _middle([each[name] for each in rounds]) for name in commands}


def _middle(used: list[Usage]) -> Usage:
    cpu, wall, peak = (median(figures) for figures in zip(*(each[:3] for each in used), strict=True))
    return Usage(cpu, wall, peak, status=0, out="")


if __name__ == "__main__":
    main()
