"""What a whole process costs: instructions, CPU seconds, resident memory. Linux and macOS."""

import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import NamedTuple

RAWGENAI = (sys.executable, "-c", "from rawgenai.__main__ import main; main()")  # what the console script does
_ROUNDS = 15  # of runs that take turns, where there is no valgrind


class Usage(NamedTuple):
    """What one process used."""

    cpu: float  # seconds, user and system
    wall: float  # seconds
    peak: float  # MiB resident at most; never less than this process has, which therefore stays small
    status: int  # exit status
    out: str  # its stdout


def run(command: Sequence[str], environ: Mapping[str, str]) -> Usage:
    """Run a process to its end and say what it used, apart from all other processes."""
    start = time.perf_counter()
    with subprocess.Popen(
        command,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        out = process.stdout.read() if process.stdout else ""
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1024 * 1024 if sys.platform == "darwin" else 1024  # ru_maxrss is bytes there, KiB elsewhere
    wall = time.perf_counter() - start
    return Usage(used.ru_utime + used.ru_stime, wall, used.ru_maxrss / unit, process.returncode, out)


@contextmanager
def emulator(folder: Path, environ: Mapping[str, str], seconds: float) -> Iterator[str]:
    """Serve the emulator, whose tasks take ``seconds``, from a process of its own; its base URL."""
    command = (sys.executable, "-m", "rawgenai", "dashscope", "emulator", "--state", str(folder / "emulator"))
    with subprocess.Popen(
        command,
        env={**environ, "RAWGENAI_EMULATOR_SECONDS": str(seconds)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield json.loads(process.stdout.readline() if process.stdout else "")["base_url"]
        finally:
            process.terminate()


def ratios(commands: Sequence[Sequence[str]], yardstick: Sequence[str], environ: Mapping[str, str]) -> list[float]:
    """How many times the yardstick's work each command does: instructions, else CPU time.

    Each runs once before it counts, which compiles its modules and warms the disk's cache.
    """
    environ = {name: value for name, value in environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for command in (*commands, yardstick):
        run(command, environ)
    if which("valgrind"):
        whole = _instructions(yardstick, environ)
        return [_instructions(command, environ) / whole for command in commands]
    # Side by side: what slows the machine for a moment slows a command and its yardstick alike.
    rounds = [[run(command, environ).cpu for command in (*commands, yardstick)] for _ in range(_ROUNDS)]
    *medians, whole = (statistics.median(times) for times in zip(*rounds, strict=True))
    return [median / whole for median in medians]


def unit() -> str:
    """What ``ratios`` compares."""
    return "instructions (callgrind)" if which("valgrind") else f"CPU time (medians of {_ROUNDS} rounds)"


def _instructions(command: Sequence[str], environ: Mapping[str, str]) -> int:
    wrapped = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *command]
    done = subprocess.run(
        wrapped, env=dict(environ), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    found = re.search(r"Collected : (\d+)", done.stderr)
    if not found:
        sys.exit(f"valgrind did not count {command}: {done.stderr[-500:]}")
    return int(found[1])


def report(title: str, figures: Sequence[tuple[str, float, float | None]], *, least: bool = False) -> None:
    """Print a table: what, the figure, its target, and a mark where it is missed; ``least``: where it is below."""
    print(f"\n{title}")
    for what, figure, target in figures:
        missed = target is not None and (figure < target if least else figure > target)
        verdict = "" if target is None else f"{'MISSED' if missed else 'ok':>8}  (target {target:g})"
        print(f"  {what:<58}{figure:>8.2f}{verdict}")
