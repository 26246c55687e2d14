"""Every row of the emulator's table of faults, asked for in a prompt and met by real processes."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rawgenai.emulator.faults import FAULTS

pytestmark = pytest.mark.slow  # some eighty processes


class Met(NamedTuple):
    """What the last command of create, status, download says."""

    command: str  # the one that meets the fault
    status: int  # its exit status
    word: str  # the code of its failure, or the status that it reports, or "file"
    outcome: str | None = None


# By hand from design sections 4, 5 and 8; "booked" faults leave a task behind that nobody was told of.
ROWS = {
    "refuse=Arrearage": Met("create", 3, "access_denied"),
    "refuse=DataInspectionFailed": Met("create", 1, "content_policy"),
    "status=400": Met("create", 1, "invalid_request"),
    "status=401": Met("create", 3, "invalid_api_key"),
    "status=429": Met("create", 4, "rate_limit"),
    "status=503": Met("create", 6, "server_error", "unknown"),
    "html": Met("create", 6, "server_error", "unknown"),
    "retry-after=60": Met("create", 4, "rate_limit"),
    "retry-after=1": Met("create", 0, "pending"),
    "hang": Met("create", 6, "timeout", "unknown"),
    "hang=booked": Met("create", 6, "timeout", "unknown"),
    "reset": Met("create", 6, "connection_error", "unknown"),
    "reset=booked": Met("create", 6, "connection_error", "unknown"),
    "close": Met("create", 6, "connection_error", "unknown"),
    "close=booked": Met("create", 6, "connection_error", "unknown"),
    "half": Met("create", 6, "connection_error", "unknown"),
    "slow=0.2": Met("create", 0, "pending"),
    "fail=InternalError": Met("status", 1, "server_error"),
    "fail=Nonsense": Met("status", 1, "video_failed"),
    "unknown": Met("status", 1, "task_not_found"),
    "suspended": Met("status", 0, "pending"),
    "canceled": Met("status", 0, "canceled"),
    "no-video": Met("download", 1, "no_video"),
    "expire": Met("download", 1, "url_expired"),
    "cut=200000": Met("download", 0, "file"),
    "range=ignored": Met("download", 0, "file"),
}
LOOKS = {"suspended": 2}  # by poll count: how often to ask until the fault shows; otherwise until it has ended


def run(*words: str, folder: Path) -> tuple[int, dict[str, Any]]:
    environ = {**os.environ, "DASHSCOPE_BASE_URL": "emulator", "RAWGENAI_EMULATOR_SECONDS": "0"}
    command = [sys.executable, "-m", "rawgenai", "dashscope", "video", *words]
    done = subprocess.run(command, env=environ, cwd=folder, capture_output=True, timeout=60, check=False)
    lines = (done.stdout if done.returncode == 0 else done.stderr).decode().splitlines()
    return done.returncode, json.loads(lines[-1])


def meet(directive: str, folder: Path) -> tuple[str, int, dict[str, Any]]:
    """Create, ask and download until the fault shows; return the command that met it and what it said."""
    command, looks = "create", LOOKS.get(directive, 3)
    status, said = run("create", f"A kitten emulator:{directive}", folder=folder)
    wanted = ROWS[directive].command
    if status == 0 and wanted != "create":
        task_id = said["task_id"]
        for _ in range(looks):
            command = "status"
            status, said = run("status", task_id, folder=folder)
        if wanted == "download":
            command = "download"
            status, said = run("download", task_id, "-o", f"{directive}.mp4".replace("=", "-"), folder=folder)
    return command, status, said


@pytest.fixture(scope="module")
def met() -> dict[str, Any]:
    return {}


@pytest.fixture
def all_met(met: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Meet all of them at once, for a process is mostly waiting; each test then looks at its own."""
    if not met:
        with ThreadPoolExecutor(4) as pool:
            met.update(zip(ROWS, pool.map(lambda directive: meet(directive, tmp_path), ROWS), strict=True))
    return met


@pytest.mark.parametrize("directive", ROWS)
def test_a_process_meets_the_fault_that_its_prompt_asks_for(directive: str, all_met: dict[str, Any]) -> None:
    command, status, said = all_met[directive]
    error = said.get("error", {})
    word = error.get("code") or ("file" if "file" in said else said.get("status"))
    assert (command, status, word, error.get("outcome")) == ROWS[directive]


def test_every_fault_of_the_table_is_met_here() -> None:
    assert {directive.partition("=")[0] for directive in ROWS} == set(FAULTS)
