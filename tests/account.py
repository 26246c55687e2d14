"""An account of the API, and the host of its clips, on a real socket: what `generate` and `wait` talk to, and faults.

Each stage (``create``, ``list``, ``status``, ``clip``) has a script of faults; after them it answers as it should.
"""

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from faulty import HEAD_END, TASK, Act, Server, clip, ranged, says, serving, then

START = 1_800_000_000.0
CLIP = clip(100_000)

Answer = bytes | Act | str  # "succeeded": what a task says that has ended


class World:
    """The account: a task that is created runs for ``seconds``; ``others`` end as and when they say.

    Its clock goes by as somebody sleeps, or is ``now``.
    """

    def __init__(
        self,
        scripts: Mapping[str, Sequence[Answer]],
        *,
        seconds: float = 40.0,
        others: Mapping[str, tuple[str, float]] | None = None,
        now: Callable[[], float] | None = None,
    ) -> None:
        self._slept = START
        self._now = now
        self._seconds = seconds
        self._others = {"foreign": ("FAILED", 0.0), **(others or {})}  # task -> how it ends, and how soon
        self._booked: dict[str, float] = {}  # task -> when it was created
        self._begins: dict[str, float] = {}  # task -> when it was first asked about
        self._prompt = ""  # of the latest
        self._scripts = {stage: iter(script) for stage, script in scripts.items()}
        self._lock = threading.Lock()
        self._server: Server | None = None
        self.asked: dict[str, list[float]] = {"create": [], "list": [], "status": [], "clip": []}

    @contextmanager
    def served(self) -> Iterator["World"]:
        """Serve the account, meanwhile."""
        with serving(self._answer) as self._server:
            yield self

    @property
    def url(self) -> str:
        """The base URL of the API."""
        return self._server.url if self._server else ""

    @property
    def time(self) -> float:
        """The time, which goes by as somebody sleeps, or of itself."""
        return self._now() if self._now else self._slept

    def sleep(self, seconds: float) -> None:
        """Let time go by."""
        self._slept += seconds

    def heal(self) -> None:
        """Let nothing go wrong any more."""
        self._scripts = {}

    def posts(self) -> int:
        """How many POSTs came."""
        return len(self.asked["create"])

    def _answer(self, connection: socket.socket, request: bytes) -> None:
        stage = _stage(request)
        with self._lock:
            self.asked[stage].append(self.time)
            fault = next(self._scripts.get(stage, iter(())), None)
            if stage == "create" and (fault is None or isinstance(fault, Lost)):
                self._prompt = json.loads(request.partition(HEAD_END)[2])["input"]["prompt"]
                self._booked[f"{TASK[: -len(self._booked)]}{len(self._booked)}" if self._booked else TASK] = self.time
        if isinstance(fault, str):
            fault = self._ended(TASK)
        then(getattr(self, f"_{stage}") if fault is None else fault)(connection, request)

    def _create(self, connection: socket.socket, _: bytes) -> None:
        output = {"task_id": list(self._booked)[-1], "task_status": "PENDING"}
        connection.sendall(says({"request_id": "request-1", "output": output}))

    def _list(self, connection: socket.socket, _: bytes) -> None:
        foreign = {"task_id": "foreign", "model_name": "wan2.6-t2v", "status": "FAILED", "gmt_create": START * 1000}
        made = [
            {"task_id": task_id, "request_id": "request-1", "model_name": "wan2.6-t2v", "gmt_create": moment * 1000}
            for task_id, moment in self._booked.items()
        ]
        connection.sendall(says({"request_id": "r", "data": [foreign, *made], "total_page": 1}))

    def _status(self, connection: socket.socket, request: bytes) -> None:
        task_id = request.split(b" ", 2)[1].rpartition(b"/")[2].decode()
        self._begins.setdefault(task_id, self.time)
        word = self._word(task_id)
        connection.sendall(self._ended(task_id) if word == "SUCCEEDED" else task(word, task_id))

    def _word(self, task_id: str) -> str:
        usual = ("SUCCEEDED", self._seconds) if task_id in self._booked else ("UNKNOWN", 0.0)
        end, moment = self._others.get(task_id, usual)
        # By a real clock a task's time begins when it is first asked about, so that a slow machine sees it run too.
        begin = self._booked[task_id] if task_id in self._booked and not self._now else self._begins[task_id]
        return end if self.time - begin >= moment else "RUNNING"

    def _ended(self, task_id: str) -> bytes:
        url = f"{self.url}/clip.mp4?Expires={int(START) - 1}"
        return task("SUCCEEDED", task_id, video_url=url, orig_prompt=self._prompt)

    def _clip(self, connection: socket.socket, request: bytes) -> None:
        ranged(CLIP)(connection, request)


class Lost:
    """A fault of the answer alone: the task is booked all the same."""

    def __init__(self, act: bytes | Act) -> None:
        self._act = then(act)

    def __call__(self, connection: socket.socket, request: bytes) -> None:
        self._act(connection, request)


def _stage(request: bytes) -> str:
    method, target, _ = request.split(b" ", 2)
    if method == b"POST":
        return "create"
    path = target.partition(b"?")[0].removeprefix(b"/api/v1/")
    return "list" if path == b"tasks/" else "status" if path.startswith(b"tasks/") else "clip"


def task(word: str, task_id: str = TASK, **more: Any) -> bytes:
    """The status of a task."""
    output = {"task_id": task_id, "task_status": word, **more}
    return says({"request_id": "r", "output": output, "usage": {"duration": 5, "SR": 720}})
