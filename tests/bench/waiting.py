"""What waiting costs: ``uv run python tests/bench/waiting.py [--real]``. Linux and macOS.

The CPU time of a whole ``wait``, piped and at a terminal: with the looks of a five-minute task, made at once, and
with --real those five minutes themselves. It prints and never gates: the exit status is 0.
"""

import json
import os
import pty
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from measuring import RAWGENAI, emulator, run

VIDEO = (*RAWGENAI, "dashscope", "video")
LOOKS = 24  # at a task of five minutes (faults, section 2)
SECONDS = 300
TARGET = 1.0  # CPU seconds


def main() -> None:
    """Print the figures."""
    real = "--real" in sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        names = [name for name in os.environ if not name.startswith(("DASHSCOPE_", "RAWGENAI_"))]
        environ = {name: os.environ[name] for name in names} | {"TERM": "xterm", "DASHSCOPE_API_KEY": "sk-bench"}
        environ |= {"HOME": folder, "XDG_STATE_HOME": f"{folder}/state", "XDG_CONFIG_HOME": f"{folder}/config"}
        seconds = SECONDS if real else LOOKS * 0.1
        with emulator(Path(folder), environ, seconds) as base_url:
            environ["DASHSCOPE_BASE_URL"] = base_url
            flags = () if real else ("--poll-interval", "0")
            waits = [
                threading.Thread(target=_measure, args=(how, (*flags, "-o", f"{folder}/{how}.mp4"), environ))
                for how in ("piped", "terminal")
            ]
            for wait in waits:
                wait.start()
                if not real:
                    wait.join()
            for wait in waits:
                wait.join()


def _measure(how: str, flags: Sequence[str], environ: Mapping[str, str]) -> None:
    """Create a task, wait for it, and print what the waiting took."""
    task_id = json.loads(run((*VIDEO, "create", "A kitten", "--idempotency-key", how), environ).out)["task_id"]
    command = (*VIDEO, "wait", task_id, *flags)
    start = time.time()
    ours, theirs = pty.openpty()
    drawn = bytearray()
    reader = threading.Thread(target=_read, args=(ours, drawn))
    reader.start()
    with subprocess.Popen(
        command,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs if how == "terminal" else subprocess.PIPE,
    ) as process:
        os.close(theirs)
        out = process.stdout.read() if process.stdout else b""
        said = process.stderr.read() if process.stderr else b""
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    end = time.time()
    reader.join()
    envelope = json.loads(out or "{}")
    lines = len(said.splitlines())
    shown = f"{len(drawn)} bytes drawn" if how == "terminal" else f"{lines} lines"
    late = ""
    if "--real" in sys.argv[1:] and process.returncode == 0:
        late = f", on disk {os.stat(envelope['file']).st_mtime - start - SECONDS:+.1f} s after the task's end"
    print(
        f"{how:<9}exit {process.returncode}, CPU {used.ru_utime + used.ru_stime:.2f} s (target under {TARGET:g}),"
        f" wall {end - start:.1f} s, {shown}{late}",
        flush=True,
    )


def _read(terminal: int, drawn: bytearray) -> None:
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # Linux's way to say that the other side is closed
            break
        if not piece:
            break
        drawn.extend(piece)
    os.close(terminal)


if __name__ == "__main__":
    main()
