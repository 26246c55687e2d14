"""What a command costs before it does anything: ``uv run --group sdk python tests/bench/startup.py``.

Ratios of whole processes with compiled modules. It prints and never gates: the exit status is 0.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from shutil import which

from measuring import RAWGENAI, emulator, ratios, report, run, unit

CREATE = ("dashscope", "video", "create")
LOCAL = {  # target: times `import click`
    "rawgenai --version": (("--version",), 1.15),
    "rawgenai --help": (("--help",), None),
    "rawgenai dashscope video create --help": ((*CREATE, "--help"), 1.35),
    "rawgenai dashscope video create A --duration 99": ((*CREATE, "A", "--duration", "99"), 1.5),
    "rawgenai dashscope video create A --model none": ((*CREATE, "A", "--model", "none"), 1.5),
    "rawgenai dashscope video create A --image missing": ((*CREATE, "A", "--image", "missing"), None),
    "rawgenai dashscope video create A (no key)": ((*CREATE, "A"), None),
}
STATUS_TARGET = 0.2  # times the official CLI


def main() -> None:
    """Print the ratios."""
    print(f"compared: {unit()}; Python {sys.version.split()[0]}; modules compiled by a first run")
    with tempfile.TemporaryDirectory() as folder:
        environ = {
            name: value for name, value in os.environ.items() if not name.startswith(("DASHSCOPE_", "RAWGENAI_"))
        }
        environ |= {"HOME": folder, "XDG_STATE_HOME": f"{folder}/state", "XDG_CONFIG_HOME": f"{folder}/config"}
        commands = [(*RAWGENAI, *arguments) for arguments, _ in LOCAL.values()]
        figures = ratios(commands, (sys.executable, "-c", "import click"), environ)
        targets = [target for _, target in LOCAL.values()]
        report('Times `python -c "import click"`', list(zip(LOCAL, figures, targets, strict=True)))
        official = which("dashscope", path=Path(sys.executable).parent)
        if official is None:
            print("\nstatus: not compared, as the official CLI is not installed (uv run --group sdk)")
            return
        with emulator(Path(folder), environ, 0) as base_url:  # each poll moves a task on
            environ |= {"DASHSCOPE_API_KEY": "sk-bench"}
            environ |= {"DASHSCOPE_BASE_URL": base_url, "DASHSCOPE_HTTP_BASE_URL": base_url}
            task_id = json.loads(run((*RAWGENAI, *CREATE, "A kitten"), environ).out)["task_id"]
            status = (*RAWGENAI, "dashscope", "video", "status", task_id)
            for _ in range(3):
                run(status, environ)  # until it has succeeded
            fetch = (official, "video-synthesis", "fetch", task_id)
            if "succeeded" not in run(status, environ).out or "SUCCEEDED" not in run(fetch, environ).out:
                sys.exit("one of the two does not see the task's end")
            (figure,) = ratios([status], fetch, environ)
    report(
        "Times the official `dashscope video-synthesis fetch`, same server, same task",
        [("rawgenai dashscope video status", figure, STATUS_TARGET)],
    )


if __name__ == "__main__":
    main()
