"""What a large file costs: ``uv run python tests/bench/transfer.py``. It prints and never gates: exit status 0.

A download of 500 MB to a disk in memory, without a checksum, and curl's from the same raw socket, by turns: whole
processes, the median of each round's ratio; and what it holds in memory beyond a download of 10 KB. A task with an
inline image of 7 MB, and of 10 KB; a task with a reference video of 100 MB, and of 10 KB, that is uploaded first, and
what `curl -F` needs for the same.
"""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from shutil import which
from statistics import median

from measuring import RAWGENAI, Usage, report, run

MB = 1_000_000
CLIPS = {"500 MB": 500 * MB, "10 KB": 10_000}
PIECE = bytes(256 * 1024)
ROUNDS = 11  # of each command, taking turns; medians are compared
_BOXES = (20).to_bytes(4) + b"ftypisom" + bytes(8) + (8).to_bytes(4) + b"moov"
# A picture of 1280*720, filled up to a size behind its end; drawn by a process of its own (see Usage.peak).
DRAW = """import sys
from PIL import Image
Image.new("RGB", (1280, 720), "gray").save(sys.argv[1], "JPEG", quality=10)
with open(sys.argv[1], "ab") as file:
    file.write(bytes(max(0, int(sys.argv[2]) - file.tell())))"""
# A clip of five seconds that says so in its header and nothing else, filled up to a size.
FILM = """import sys
def box(name, *parts):
    body = b"".join(parts)
    return (8 + len(body)).to_bytes(4, "big") + name + body
def mvhd(seconds):
    return box(b"mvhd", bytes(12), (1000).to_bytes(4, "big"), (1000 * seconds).to_bytes(4, "big"), bytes(80))
head = box(b"ftyp", b"isom", bytes(4), b"isom") + box(b"moov", mvhd(5))
with open(sys.argv[1], "wb") as file:
    file.write(head + (int(sys.argv[2]) - len(head)).to_bytes(4, "big") + b"mdat")
    file.truncate(int(sys.argv[2]))"""
CREATE = (*RAWGENAI, "dashscope", "video", "create", "A")
MEMORY = "/dev/shm"  # a disk in memory, where there is one


def main() -> None:
    """Print the ratios."""
    if not os.path.isdir(MEMORY):
        print("no disk in memory: downloads are measured with the disk's own time")
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory(dir=MEMORY if os.path.isdir(MEMORY) else None) as memory,
        _server() as port,
    ):
        environ = _environ(folder, port)
        clip = f"{memory}/clip.mp4"
        commands: dict[str, tuple[str, ...]] = {}
        for name, size in CLIPS.items():
            commands[f"download of {name}"] = (
                *(*RAWGENAI, "dashscope", "video", "download", str(size)),
                *("-o", f"{memory}/{size}.mp4"),
            )
        commands["status"] = (*RAWGENAI, "dashscope", "video", "status", "task")
        for name, size in (("create, image of 7 MB", 7 * MB), ("create, image of 10 KB", 10_000)):
            image = f"{folder}/{size}.jpg"
            subprocess.run([sys.executable, "-c", DRAW, image, str(size)], check=True)
            commands[name] = (*CREATE, "--image", image, "--no-ledger")
        for name, size in (("100 MB", 100 * MB), ("10 KB", 10_000)):
            video = f"{folder}/{size}.mp4"
            subprocess.run([sys.executable, "-c", FILM, video, str(size)], check=True)
            commands[f"create, video of {name}"] = (*CREATE, "--ref", video, "--no-ledger")
            if which("curl"):
                commands[f"curl -F of {name}"] = (
                    "curl",
                    "-sS",
                    "-H",
                    "Expect:",
                    "-F",
                    f"file=@{video}",
                    f"http://127.0.0.1:{port}/upload",
                )
        if which("curl"):
            commands["curl of 500 MB"] = ("curl", "-sS", "-o", clip, f"http://127.0.0.1:{port}/clip/{CLIPS['500 MB']}")
        else:
            print("curl is not installed: nothing to compare a download with")
        rounds = _rounds(commands, environ)
    used = {name: _middle([each[name] for each in rounds]) for name in commands}
    for name, usage in used.items():
        print(f"{name:<26}{usage.cpu:8.3f} s CPU{usage.wall:8.3f} s wall{usage.peak:8.1f} MiB at most")
    pairs = (  # dearer, cheaper, target for CPU time (reference, performance)
        ("download of 500 MB", "curl of 500 MB", None),
        ("create, image of 7 MB", "create, image of 10 KB", 1.2),
    )
    known = [pair for pair in pairs if pair[1] in used]
    report("Times CPU", [(f"{one} / {two}", used[one].cpu / used[two].cpu, target) for one, two, target in known])
    report("Times wall", [(f"{one} / {two}", used[one].wall / used[two].wall, None) for one, two, _ in known])
    more = (
        ("download of 500 MB", "download of 10 KB"),
        ("create, image of 7 MB", "create, image of 10 KB"),
        ("create, video of 100 MB", "create, video of 10 KB"),
    )
    report("MiB resident more than", [(f"{one} - {two}", used[one].peak - used[two].peak, 2.0) for one, two in more])
    if "curl of 500 MB" in used:
        speed = median(each["curl of 500 MB"].wall / each["download of 500 MB"].wall for each in rounds)
        report("Times curl's throughput", [("download of 500 MB, whole process", speed, 0.45)], least=True)
        ours, theirs = (
            used[f"{one} of 100 MB"].wall - used[f"{one} of 10 KB"].wall for one in ("create, video", "curl -F")
        )
        report("Times the wall time that 100 MB add", [("upload / curl -F", ours / theirs, 1.5)])


def _rounds(commands: dict[str, tuple[str, ...]], environ: dict[str, str]) -> list[dict[str, Usage]]:
    rounds = [{name: run(command, environ) for name, command in commands.items()} for _ in range(1 + ROUNDS)][1:]
    failed = [name for name in commands for each in rounds if each[name].status]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")
    return rounds


def _middle(used: list[Usage]) -> Usage:
    cpu, wall, peak = (median(figures) for figures in zip(*(each[:3] for each in used), strict=True))
    return Usage(cpu, wall, peak, status=0, out="")


def _environ(folder: str, port: int) -> dict[str, str]:
    dropped = ("DASHSCOPE_", "RAWGENAI_", "PYTHONDONTWRITEBYTECODE")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    homes = {"HOME": folder, "XDG_STATE_HOME": f"{folder}/state", "XDG_CONFIG_HOME": f"{folder}/config"}
    return environ | homes | {"DASHSCOPE_API_KEY": "sk-bench", "DASHSCOPE_BASE_URL": f"http://127.0.0.1:{port}/api/v1"}


# --- a server that costs little, so that the clients' own work shows -----------------------------------------------


@contextlib.contextmanager
def _server() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_serve, args=(listening,), daemon=True).start()
        yield listening.getsockname()[1]


def _serve(listening: socket.socket) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return  # closed: the benchmark is over
        with connection, contextlib.suppress(ConnectionError):
            _answer(connection, listening.getsockname()[1])


def _answer(connection: socket.socket, port: int) -> None:
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(65536)
    head, _, body = head.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    left = int(length[1]) - len(body) if length else 0
    while left > 0:
        left -= len(connection.recv(min(left, len(PIECE))))
    if clip := re.match(rb"GET /clip/(\d+) ", head):
        left = int(clip[1])
        connection.sendall(b'HTTP/1.1 200 OK\r\nETag: "clip"\r\nContent-Length: %d\r\n\r\n' % left)
        start = _BOXES + (left - len(_BOXES)).to_bytes(4) + b"mdat"  # what makes the rest an MP4 file
        connection.sendall(start)
        left -= len(start)
        while left:
            sent = min(left, len(PIECE))
            connection.sendall(PIECE[:sent])
            left -= sent
        return
    if b"/uploads?" in head:
        _say(connection, {"data": _policy(port)})
        return
    new = head.startswith(b"POST")
    output = {"task_id": "task", "task_status": "PENDING" if new else "SUCCEEDED"}
    if task := re.search(rb"/tasks/(\w+)", head):
        output |= {"task_id": task[1].decode(), "video_url": f"http://127.0.0.1:{port}/clip/{task[1].decode()}"}
    _say(connection, {"request_id": "request", "output": output})


def _policy(port: int) -> dict[str, str]:
    names = ("policy", "signature", "oss_access_key_id", "x_oss_object_acl", "x_oss_forbid_overwrite")
    return dict.fromkeys(names, "x") | {"upload_host": f"http://127.0.0.1:{port}/upload", "upload_dir": "x"}


def _say(connection: socket.socket, document: Mapping[str, object]) -> None:
    answer = json.dumps(document).encode()
    connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)


if __name__ == "__main__":
    main()
