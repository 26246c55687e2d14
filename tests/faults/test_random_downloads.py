"""Whatever a clip's host does, at random and one connection after another: the exact bytes or a clean error.

Each course is one download through faults that a seed chooses, then the same download from an honest host.
``RAWGENAI_TEST_SEED`` repeats a run; ``RAWGENAI_TEST_COURSES`` is how many the long one has.
"""

import base64
import hashlib
import os
import random
import re
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from fastcrc import crc64

from faulty import KEY, TASK, clip, header, reply, reset, serving, settings, succeeded
from rawgenai import files, http, media
from rawgenai.dashscope import tasks
from rawgenai.errors import RawgenaiError
from rawgenai.ledger import Ledger
from rawgenai.message import Receive, Request, Response

COURSES = int(os.environ.get("RAWGENAI_TEST_COURSES", "500"))
SEED = int(os.environ.get("RAWGENAI_TEST_SEED") or random.SystemRandom().randrange(10**9))
OLD = b"the old file"
CLEAN = {"download_error", "url_expired", "output_write_error"}
STALL = 0.15  # seconds without a byte that a stalled connection may last
PART = re.compile(rf"\.cat\.mp4\.{TASK}\.[0-9A-Za-z_-]+\.part")


# --- the host -----------------------------------------------------------------------------------------------------


class Object(NamedTuple):
    """What is at the clip's URL, and what the host says of it."""

    body: bytes
    told: tuple[str, ...]  # its ETag and its checksum, where the host names one

    @property
    def etag(self) -> str | None:
        return next((line.removeprefix("ETag: ") for line in self.told if line.startswith("ETag: ")), None)

    @property
    def proved(self) -> bool:
        """Whether the host names a checksum."""
        return len(self.told) > (self.etag is not None)

    @property
    def open_ended(self) -> bool:
        """Whether the last box leaves open where it ends."""
        at = self.body.index(b"mdat")
        return self.body[at - 4 : at] == bytes(4)


def make_object(chance: random.Random, number: int, like: Object | None = None) -> Object:
    """Make a clip of random bytes; ``like`` another one, it has its boxes and its size."""
    shape = like.body if like else clip(4 * chance.randrange(2_000, 15_000))
    start = shape.index(b"mdat") + 4
    body = shape[:start] + chance.randbytes(len(shape) - start)
    if not like and chance.random() < 0.3:  # open-ended
        body = body[: start - 8] + bytes(4) + body[start - 4 :]
    etag = chance.choice([f'ETag: "v{number}"'] * 6 + [f'ETag: W/"v{number}"', f'ETag: "../{number}"', ""])
    md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
    checksum = chance.choice([f"x-oss-hash-crc64ecma: {crc64.xz(body)}", f"Content-MD5: {md5}", "", ""])
    return Object(body, tuple(line for line in (etag, checksum) if line))


class Course:
    """One download's host: it takes the next fault of its script at each connection, and then always the last step."""

    def __init__(self, seed: str, weights: Mapping[str, int]) -> None:
        self.chance = random.Random(seed)
        self.numbers = count(1)
        self.objects = [make_object(self.chance, next(self.numbers))]
        honest = [HONEST] if self.chance.random() < 0.7 else []
        odds = [weights.get(name, 1) for name in FAULTS]
        self.script = [*self.chance.choices(list(FAULTS), odds, k=self.chance.randrange(1, 9)), *honest]
        self.met: list[str] = []

    def replace(self) -> None:
        """Put another object at the URL."""
        like = self.objects[-1] if self.chance.random() < 0.5 else None
        self.objects.append(make_object(self.chance, next(self.numbers), like))

    def serve(self, connection: socket.socket, request: bytes) -> None:
        name = self.script[min(len(self.met), len(self.script) - 1)]
        self.met.append(name)
        FAULTS.get(name, honest)(Visit(self, connection, request))


HONEST, ALL, REPLACED = "no fault", "all courses", "replaced, If-Range ignored"


@dataclass
class Visit:
    """One connection to the host."""

    course: Course
    connection: socket.socket
    request: bytes
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = self.course.chance

    @property
    def clip(self) -> Object:
        return self.course.objects[-1]

    @property
    def start(self) -> int | None:
        """Where the wanted piece begins; None where the whole is to be sent."""
        asked, condition = header(self.request, "range"), header(self.request, "if-range")
        if asked is None or condition not in (None, self.clip.etag):
            return None
        return int(asked.removeprefix("bytes=").removesuffix("-"))

    def answer(self, *, start: int | None = None, length: int | None = None, body: bytes | None = None) -> bytes:
        """Head and body of the answer that an honest host gives; ``body`` is another one for the object's."""
        whole = self.clip.body if body is None else body
        if start is None:
            return reply(200, whole, *self.clip.told, length=length)
        if start >= len(whole):
            return reply(416, b"", f"Content-Range: bytes */{len(whole)}")
        place = f"Content-Range: bytes {start}-{len(whole) - 1}/{len(whole)}"
        return reply(206, whole[start:], place, *self.clip.told, length=length)

    def say(self, data: bytes) -> None:
        self.connection.sendall(data)

    def some(self, data: bytes) -> bytes:
        """The beginning of an answer: its head, and not all of what follows."""
        head = data.index(b"\r\n\r\n") + 4
        return data[: self.chance.randrange(head, max(len(data), head + 1))]


def honest(visit: Visit) -> None:
    visit.say(visit.answer(start=visit.start))


def cut(visit: Visit) -> None:
    visit.say(visit.some(visit.answer(start=visit.start)))


def cut_by_reset(visit: Visit) -> None:
    cut(visit)
    reset(visit.connection, visit.request)


def stall(visit: Visit) -> None:
    cut(visit)
    with suppress(OSError):
        visit.connection.recv(1)


def replaced(visit: Visit) -> None:
    visit.course.replace()
    visit.chance.choice([cut, cut, honest])(visit)


def replaced_without_a_look(visit: Visit) -> None:
    """The host does not mind If-Range."""
    visit.course.replace()
    asked = header(visit.request, "range")
    start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else None
    visit.say(visit.answer(start=start))


def range_ignored(visit: Visit) -> None:
    data = visit.answer()
    visit.say(visit.chance.choice([data, visit.some(data)]))


def wrong_206(visit: Visit) -> None:
    body = visit.clip.body
    start, size = visit.start or 0, len(body)
    first, left = visit.chance.randrange(size), size - start
    place, piece = visit.chance.choice(
        [
            *[(f"bytes {first // 2}-{first // 2 + left - 1}/{size}", body[first // 2 :][:left])] * 4,
            (f"bytes {first}-{size - 1}/{size}", body[first:]),
            (f"bytes {start}-{size - 1}/{size}", body),
            (f"bytes {start}-{size - 1}/{size}", body[first:]),
            (f"bytes {start}-{size - 1}/{first}", body[start:]),
            (f"bytes {start}-{size + 8}/{size + 9}", body[start:]),
            (f"bytes {start}-{size - 1}/*", body[start:]),
            ("bytes */*", body[start:]),
            ("", body[start:]),
        ]
    )
    visit.say(reply(206, piece, *visit.clip.told, f"Content-Range: {place}"))


def wrong_416(visit: Visit) -> None:
    size = visit.chance.choice([visit.start or 0, len(visit.clip.body), 7])
    visit.say(reply(416, b"", f"Content-Range: bytes */{size}"))


def short_length(visit: Visit) -> None:
    body = visit.clip.body
    if visit.clip.open_ended and not visit.clip.proved:
        return cut(visit)  # nobody could tell that this length is a lie
    left = max(0, len(body) - (visit.start or 0))
    return visit.say(visit.answer(start=visit.start, length=visit.chance.randrange(left + 1)))


def long_length(visit: Visit) -> None:
    visit.say(visit.answer(start=visit.start, length=len(visit.clip.body) + visit.chance.randrange(1, 99)))


def no_length(visit: Visit) -> None:
    data = visit.answer(start=visit.start, length=-1)
    visit.say(visit.chance.choice([data, visit.some(data)]))


def chunks(visit: Visit) -> None:
    head, _, body = visit.answer(start=visit.start, length=-1).partition(b"\r\n\r\n")
    pieces = [body[at : at + 9_000] for at in range(0, len(body), 9_000)]
    coded = b"".join(f"{len(piece):X}\r\n".encode() + piece + b"\r\n" for piece in pieces) + b"0\r\n\r\n"
    data = head + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + coded
    visit.say(visit.chance.choice([data, visit.some(data)]))


def flip(visit: Visit) -> None:
    """Flip a bit: anywhere where the host names a checksum, else in the sizes and names of the outermost boxes."""
    body = bytearray(visit.clip.body)
    marks = [body.index(name) + at for name in (b"ftyp", b"moov", b"mdat") for at in range(-4, 4)]
    places = range(len(body)) if visit.clip.proved else marks[: -8 if visit.clip.open_ended else None]
    body[visit.chance.choice(places)] ^= 1 << visit.chance.randrange(8)
    start = visit.start if visit.clip.proved else None
    data = visit.answer(start=start, body=bytes(body))
    visit.say(visit.chance.choice([data, data, visit.some(data)]) if visit.clip.proved else data)


def unfit(answer: Callable[[Visit], bytes]) -> Callable[[Visit], None]:
    def act(visit: Visit) -> None:
        visit.say(answer(visit))

    return act


def status(*statuses: int) -> Callable[[Visit], None]:
    return unfit(lambda visit: reply(visit.chance.choice(statuses), b"<Error><Code>Sorry</Code></Error>"))


FAULTS: dict[str, Callable[[Visit], None]] = {
    "cut": cut,
    "cut by a reset": cut_by_reset,
    "stall": stall,
    "replaced": replaced,
    REPLACED: replaced_without_a_look,
    "range ignored": range_ignored,
    "wrong 206": wrong_206,
    "wrong 416": wrong_416,
    "short length": short_length,
    "long length": long_length,
    "no length": no_length,
    "chunks": chunks,
    "bit flip": flip,
    "closed": unfit(lambda _: b""),
    "no HTTP": unfit(lambda _: b"SSH-2.0-x\r\n"),
    "half a head": unfit(lambda visit: visit.answer(start=visit.start)[:25]),
    "nothing in it": unfit(lambda visit: reply(200, b"", *visit.clip.told)),
    "HTML": unfit(lambda visit: reply(200, b"<html>Log in to the hotel's network</html>")),
    "compressed": unfit(lambda visit: reply(200, visit.clip.body, "Content-Encoding: gzip")),
    "moved": unfit(lambda _: reply(302, b"", "Location: /elsewhere")),
    "busy": status(429, 500, 502, 503, 504),
    "gone": status(403, 404),
    "refused": status(400, 401, 410),
}
# How often each is chosen, against 1.
WEIGHTS = {"cut": 3, "replaced": 3, REPLACED: 3, "wrong 206": 3, "short length": 3, "no length": 3, "bit flip": 3}


# --- a run --------------------------------------------------------------------------------------------------------


class WrongError(AssertionError):
    """What must never be."""


def run(courses: int, folder: Path, weights: Mapping[str, int] = WEIGHTS) -> Counter[tuple[str, str]]:
    """Take so many courses and count how each ended, by fault. Raises WrongError."""
    ends: Counter[tuple[str, str]] = Counter()
    current: list[Course] = []

    def serve(connection: socket.socket, request: bytes) -> None:
        current[-1].serve(connection, request)

    with (
        serving(serve) as host,
        serving(succeeded(f"{host.url}/cat.mp4")) as api,
    ):
        for number in range(courses):
            current.append(Course(f"{SEED}/{number}", weights))
            place = folder / str(number)
            place.mkdir()
            try:
                end = take(current[-1], place, api.url)
            except WrongError as wrong:
                raise WrongError(f"{wrong}: RAWGENAI_TEST_SEED={SEED}, course {number}: {current[-1].met}") from wrong
            ends.update({(fault, end) for fault in [*current[-1].met, ALL]})
    return ends


def take(course: Course, folder: Path, api: str) -> str:
    """Download through the course's faults, then from an honest host; say how the first attempt ended."""
    target = folder / "cat.mp4"
    before = OLD if course.chance.random() < 0.5 else None
    if before:
        target.write_bytes(before)
    end = attempt(target, api, STALL)
    faults = course.met.copy()
    found = target.read_bytes() if target.exists() else None
    if end == "well" and found not in [each.body for each in course.objects]:
        raise WrongError("a wrong file under the final name")
    if end != "well" and found != before:
        raise WrongError(f"{end}, and yet another file under the final name")
    if end not in {"well", *CLEAN}:
        raise WrongError(f"the error is {end}")
    left = [file.name for file in folder.iterdir() if file != target and not PART.fullmatch(file.name)]
    if left or (end == "well" and len(list(folder.iterdir())) != 1):
        raise WrongError(f"left behind: {sorted(file.name for file in folder.iterdir())}")
    course.script = [HONEST]
    again = attempt(target, api, 10)
    if again != "well":
        raise WrongError(f"the command, repeated when the faults were over, ended with {again}")
    if target.read_bytes() != course.objects[-1].body:
        raise WrongError("the command, repeated when the faults were over, left a wrong file under the final name")
    if [file.name for file in folder.iterdir()] != ["cat.mp4"]:
        raise WrongError("a part is left of a clip that is whole")
    course.met = faults
    return end


def attempt(target: Path, api: str, idle: float) -> str:
    asking, fetching = (http.sender(api, lambda: KEY, seconds) for seconds in (10, idle))

    def send(request: Request, receive: Receive | None = None) -> Response:
        return (fetching if receive else asking)(request, receive)

    config: dict[str, Any] = {"settings": settings(api), "send": send, "ledger": Ledger(None)}
    try:
        tasks.download(TASK, str(target), **config, sleep=lambda _: None)
    except RawgenaiError as error:
        return error.code
    return "well"


@pytest.mark.parametrize("courses", [40, pytest.param(COURSES, marks=pytest.mark.slow, id="all")])
def test_a_download_through_random_faults_is_exact_or_a_clean_error(courses: int, tmp_path: Path) -> None:
    ends = run(courses, tmp_path)
    print(f"RAWGENAI_TEST_SEED={SEED}")
    for fault in [ALL, HONEST, *FAULTS]:
        said = (f"{ends[fault, end]} {end}" for end in sorted({"well", *CLEAN}) if ends[fault, end])
        print(f"{fault:<28}{', '.join(said)}")
    assert sum(ends[ALL, end] for end in ("well", *CLEAN)) == courses
    assert ends[ALL, "well"]
    assert ends[ALL, "download_error"]  # about a third of them, so that no seed has none in 40


# --- the controls: without a guard, the same run finds what it guards against --------------------------------------


def _no_checksum(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(http._Checksum, "fault", lambda _: None)


def _no_object(patch: pytest.MonkeyPatch) -> None:
    """Neither If-Range is asked nor the ETag of a piece compared."""
    _no_etag(patch)
    send = http.send

    def ask(request: Request, *args: Any, **kwargs: Any) -> Response:
        headers = {name: value for name, value in request.headers.items() if name != "If-Range"}
        return send(Request(request.method, request.url, headers, request.body), *args, **kwargs)

    patch.setattr(http, "send", ask)


def _no_etag(patch: pytest.MonkeyPatch) -> None:
    continued = http._continued

    def whatever(headers: Any, old: files.Part) -> Any:
        return continued({**headers, "etag": f'"{old.etag}"'}, old)

    patch.setattr(http, "_continued", whatever)


def _no_length(patch: pytest.MonkeyPatch) -> None:
    """What ends is whole."""
    chunks, fetched = http._chunks, http.Fetched

    def until_the_end(*args: Any) -> Any:
        with suppress(httpx.HTTPError):
            yield from chunks(*args)

    patch.setattr(http, "_chunks", until_the_end)
    patch.setattr(http, "_length", lambda _: None)
    patch.setattr(http, "Fetched", lambda *args: fetched(*args)._replace(sized=True))


def _no_place(patch: pytest.MonkeyPatch) -> None:
    """Any 206 is the piece that was asked for."""
    patch.setattr(http, "_continued", lambda _, old: (None, None))


def _no_boxes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(media, "mp4_fault", lambda *_, **__: None)


def _no_part(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(files, "part_path", lambda target, *_: target)


# What takes a guard away, and the faults that it is there for: they come more often, so that no control takes long.
GUARDS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], tuple[str, ...]]] = {
    "the checksum": (_no_checksum, ("bit flip",)),
    "the object": (_no_object, ("cut", "replaced")),
    "the ETag of a piece": (_no_etag, ("cut", REPLACED)),
    "the length": (_no_length, ("cut",)),
    "the place of a piece": (_no_place, ("cut", "wrong 206")),
    "the boxes": (_no_boxes, ("no length",)),
    "the part file": (_no_part, ("cut",)),
}


@pytest.mark.slow
@pytest.mark.parametrize("guard", GUARDS)
def test_without_a_guard_the_same_run_fails(guard: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take_away, faults = GUARDS[guard]
    take_away(monkeypatch)
    with pytest.raises(WrongError, match="final name"):
        run(500, tmp_path, {**WEIGHTS, **dict.fromkeys(faults, 30)})
