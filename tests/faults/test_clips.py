"""A clip arrives whole or not at all, whatever its host and the disk do (design section 5, faults 1D)."""

import base64
import email.utils
import hashlib
import os
import shutil
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from fastcrc import crc64

from faulty import (
    CLOSE,
    HEAD_END,
    KEY,
    TASK,
    Server,
    Step,
    clip,
    closed_port,
    command,
    download_to,
    dripped,
    environ,
    hang,
    header,
    ranged,
    rawgenai,
    reply,
    reset,
    serving,
    settings,
    succeeded,
    then,
)
from rawgenai import http
from rawgenai.dashscope import downloading, tasks
from rawgenai.errors import RawgenaiError
from rawgenai.ledger import Ledger
from rawgenai.message import Receive, Request, Response, Unknown

posix = pytest.mark.skipif(os.name != "posix", reason="mode bits, links and FIFOs are POSIX")
CLIP, OTHER = clip(100_000), clip(60_000)
OLD = b"the old file"
CUT = ranged(CLIP, cut=40_000)
WHOLE = ranged(CLIP)


def _download(api: Server, target: Path, timeout: float = 10, sleep: Callable[[float], None] = lambda _: None) -> str:
    send = http.sender(api.url, lambda: KEY, timeout)
    return tasks.download(TASK, str(target), settings=settings(api.url), send=send, ledger=Ledger(None), sleep=sleep)


def _fault(
    api: Server, target: Path, timeout: float = 10, sleep: Callable[[float], None] = lambda _: None
) -> RawgenaiError | None:
    """Download; the error that came of it, if any."""
    try:
        _download(api, target, timeout, sleep)
    except RawgenaiError as error:
        return error
    return None


def _chunked(body: bytes, *, whole: bool = True) -> bytes:
    head = reply(200, b"", "Transfer-Encoding: chunked", 'ETag: "one"', length=-1)
    return head + f"{len(body):X}\r\n".encode() + body + (b"\r\n0\r\n\r\n" if whole else b"")


def _chunked_from(start: int, body: bytes, total: int = len(CLIP)) -> bytes:
    place = f"Content-Range: bytes {start}-{total - 1}/{total}"
    return _chunked(body).replace(b" 200 X\r\n", f" 206 X\r\n{place}\r\n".encode(), 1)


def _partial(place: str, body: bytes) -> bytes:
    return reply(206, body, f"Content-Range: {place}", 'ETag: "one"')


class Fault(NamedTuple):
    """What a clip's host does, one step a request; what becomes of it; how often it is asked."""

    script: tuple[Step, ...]
    asked: int
    code: str | None = None
    got: bytes = CLIP


broken = partial(Fault, code="download_error", got=OLD)
FAULTS = {
    "whole": Fault((WHOLE,), 1),
    "without an ETag": Fault((ranged(CLIP, None),), 1),
    "in chunks": Fault((_chunked(CLIP),), 1),
    "in chunks, with a length all the same": Fault((_chunked(CLIP).replace(b"ETag", b"Content-Length: 9\r\nETag"),), 1),
    "until the connection closes": Fault((reply(200, CLIP, length=-1),), 1),
    "cut": Fault((CUT, WHOLE), 2),
    "cut, and cut again": Fault((CUT, ranged(CLIP, cut=10_000), ranged(CLIP, cut=1), WHOLE), 4),
    "cut ten times": Fault((*[ranged(CLIP, cut=10_000)] * 10, WHOLE), 11),
    "cut before the first byte": Fault((ranged(CLIP, cut=0), WHOLE), 2),
    "cut by a reset": Fault((then(CUT, reset), WHOLE), 2),
    "cut without an ETag": Fault((ranged(CLIP, None, cut=40_000), ranged(CLIP, None)), 2),
    "cut with a weak ETag": Fault((ranged(CLIP, 'W/"one"', cut=40_000), ranged(CLIP, 'W/"one"')), 2),
    "cut with an ETag that is no name": Fault((ranged(CLIP, '"../one"', cut=40_000), ranged(CLIP, '"../one"')), 2),
    "cut chunks": Fault((_chunked(CLIP[:40_000], whole=False), WHOLE), 2),
    "cut in the middle of a chunk": Fault((_chunked(CLIP, whole=False)[:40_000], WHOLE), 2),
    "cut until the connection closes": Fault((reply(200, CLIP[:40_000], length=-1), WHOLE), 2),
    "stalled": Fault((then(CUT, hang), WHOLE), 2),
    "stalled before the head": Fault((hang, WHOLE), 2),
    "dripped": Fault((dripped(reply(200, clip(400)), 0),), 1, got=clip(400)),
    "refused meanwhile": Fault((CUT, CLOSE, reset, WHOLE), 4),
    "failing meanwhile": Fault((CUT, reply(500), reply(503), WHOLE), 4),
    "too many requests": Fault((reply(429), WHOLE), 2),
    "replaced between the parts": Fault((CUT, ranged(OTHER, '"two"')), 2, got=OTHER),
    "range ignored": Fault((CUT, ranged(CLIP, None)), 2),
    "wrong start of a range": Fault((CUT, _partial("bytes 7-99/100", b"x" * 93), WHOLE), 3),
    "wrong total of a range": Fault((CUT, _partial("bytes 40000-50000/40000", b"x" * 10_001), WHOLE), 3),
    "range of another object": Fault((CUT, ranged(CLIP, '"two"', faithless=True), WHOLE), 3),
    "range of an object without an ETag": Fault((CUT, ranged(CLIP, None, faithless=True), WHOLE), 3),
    "range of nothing known": Fault((CUT, _partial("bytes */*", b"x"), WHOLE), 3),
    "range without a Content-Range": Fault((CUT, reply(206, CLIP[40_000:]), WHOLE), 3),
    "range in several parts": Fault((CUT, reply(206, b"x", "Content-Type: multipart/byteranges"), WHOLE), 3),
    "more than the range": Fault((CUT, _partial(f"bytes 40000-{len(CLIP) - 1}/{len(CLIP)}", CLIP), WHOLE), 3),
    "more than the range, in chunks": Fault((CUT, _chunked_from(40_000, CLIP), WHOLE), 3),
    "less than the range": Fault((CUT, _partial(f"bytes 40000-49999/{len(CLIP)}", CLIP[40_000:50_000]), WHOLE), 3),
    "416 though there is more": Fault((CUT, reply(416, b"", "Content-Range: bytes */40000"), WHOLE), 3),
    "416 of another length": Fault((CUT, reply(416, b"", "Content-Range: bytes */7"), WHOLE), 3),
    "416 without a length": Fault((CUT, reply(416), WHOLE), 3),
    "always cut": broken((ranged(CLIP, None, cut=40_000),), 4),
    "always closed": broken((CLOSE,), 4),
    "always failing": broken((reply(503),), 4),
    "always cut until the connection closes": broken((reply(200, CLIP[:40_000], length=-1),), 2),
    "a length that is too small": broken((reply(200, CLIP, 'ETag: "one"', length=40_000),), 2),
    "a byte too few in the last box": broken((reply(200, CLIP[:-1]),), 2),
    "a byte too many after the last box": broken((reply(200, CLIP + b"x"),), 2),
    "nothing": broken((reply(200),), 2),
    "nothing until the connection closes": broken((reply(200, length=-1),), 2),
    "nothing in chunks": broken((reply(200, b"0\r\n\r\n", "Transfer-Encoding: chunked", length=-1),), 2),
    "204": broken((reply(204, length=-1),), 1),
    "HTML": broken((reply(200, b"<html>Log in to the hotel's network</html>"),), 2),
    "206 to no range": broken((_partial(f"bytes 0-{len(CLIP) - 1}/{len(CLIP)}", CLIP),), 2),
    "always another piece": broken((*(CUT, _partial("bytes 7-99/100", b"x" * 93)) * 2, WHOLE), 4),
    "compressed": broken((reply(200, CLIP, "Content-Encoding: gzip"),), 4),
    "400": broken((reply(400),), 1),
    "100,000 headers": broken((then(reply(200)[:-2], b"X-Y: z\r\n" * 100_000),), 4),
    "a length over 2 GiB": broken((reply(length=2**31 + 1),), 1),
    "a range of a file over 2 GiB": broken((CUT, _chunked_from(40_000, b"", 2**31 + 1)), 2),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_target_is_the_old_file_or_the_whole_new_one(name: str, tmp_path: Path) -> None:
    fault = FAULTS[name]
    target = tmp_path / "clips" / "cat.mp4"
    target.parent.mkdir()
    target.write_bytes(OLD)
    with serving(*fault.script) as host, serving(succeeded(f"{host.url}/cat.mp4")) as api:
        error = _fault(api, target, 0.2 if "stalled" in name else 10)
    assert (error and error.code, len(host.requests)) == (fault.code, fault.asked)
    assert error is None or error.task_id == TASK
    assert target.read_bytes() == fault.got
    assert [file.name for file in target.parent.iterdir()] == ["cat.mp4"]
    _assert_clean(host)


def _assert_clean(host: Server) -> None:
    """Nothing but what a download needs went to the clip's host, the key least of all."""
    for request in host.requests:
        names = {line.partition(b":")[0].lower() for line in request.partition(HEAD_END)[0].split(b"\r\n")[1:]}
        wanted = {b"host", b"accept", b"accept-encoding", b"connection", b"user-agent", b"range", b"if-range"}
        assert names <= wanted
        assert KEY.encode() not in request


def test_a_download_goes_on_where_it_stopped_and_only_with_the_same_object(tmp_path: Path) -> None:
    with serving(CUT, WHOLE) as host, serving(succeeded(f"{host.url}/cat.mp4")) as api:
        _download(api, tmp_path / "cat.mp4")
    first, second = host.requests
    assert (header(first, "range"), header(first, "if-range")) == (None, None)
    assert (header(second, "range"), header(second, "if-range")) == ("bytes=40000-", '"one"')
    assert header(first, "accept-encoding") == "identity"


@pytest.mark.parametrize("etag", [None, 'W/"one"', '"../one"', '""'])
def test_nothing_is_resumed_that_no_strong_etag_vouches_for(etag: str | None, tmp_path: Path) -> None:
    with serving(ranged(CLIP, etag, cut=9), ranged(CLIP, etag)) as host, serving(succeeded(f"{host.url}/a")) as api:
        _download(api, tmp_path / "cat.mp4")
    assert [header(request, "range") for request in host.requests] == [None, None]


def test_a_part_that_can_be_resumed_outlives_the_command(tmp_path: Path) -> None:
    target = tmp_path / "cat.mp4"
    with serving(CUT, CLOSE, CLOSE, CLOSE, CLOSE, WHOLE) as host, serving(succeeded(f"{host.url}/cat.mp4")) as api:
        with pytest.raises(RawgenaiError):
            _download(api, target)
        assert [file.stat().st_size for file in tmp_path.glob(".cat.mp4.*.part")] == [40_000]
        _download(api, target)
    assert header(host.requests[-1], "range") == "bytes=40000-"
    assert target.read_bytes() == CLIP
    assert not list(tmp_path.glob(".cat*"))


def test_a_whole_part_is_finished_with_the_byte_that_its_checksum_comes_with(tmp_path: Path) -> None:
    (tmp_path / f".cat.mp4.{TASK}.one.part").write_bytes(CLIP)
    with serving(WHOLE) as host, serving(succeeded(f"{host.url}/cat.mp4")) as api:
        _download(api, tmp_path / "cat.mp4")
    asked = [header(request, "range") for request in host.requests]
    assert asked == [f"bytes={len(CLIP)}-", f"bytes={len(CLIP) - 1}-"]
    assert (tmp_path / "cat.mp4").read_bytes() == CLIP


@pytest.mark.parametrize("right", [True, False])
def test_a_whole_part_is_finished_without_another_byte_where_the_416_names_its_checksum(
    right: bool, tmp_path: Path
) -> None:
    (tmp_path / f".cat.mp4.{TASK}.one.part").write_bytes(CLIP if right else FLIPPED)
    full = reply(416, b"", f"Content-Range: bytes */{len(CLIP)}", f"x-oss-hash-crc64ecma: {crc64.xz(CLIP)}")
    with serving(full, WHOLE) as host, serving(succeeded(f"{host.url}/cat.mp4")) as api:
        _download(api, tmp_path / "cat.mp4")
    assert len(host.requests) == (1 if right else 2)
    assert (tmp_path / "cat.mp4").read_bytes() == CLIP


# --- checksums ----------------------------------------------------------------------------------------------------

FLIPPED = CLIP[:70_000] + bytes([CLIP[70_000] ^ 1]) + CLIP[70_001:]
CRC = f"x-oss-hash-crc64ecma: {crc64.xz(CLIP)}"


def _md5(body: bytes) -> str:
    return f"Content-MD5: {base64.b64encode(hashlib.md5(body).digest()).decode()}"


def _all(body: bytes, said: str) -> bytes:
    return reply(200, body, said, 'ETag: "one"')


def _cut(body: bytes, said: str, at: int = 80_000) -> bytes:
    return reply(200, body[:at], said, 'ETag: "one"', length=len(body))


def _rest(body: bytes, said: str, start: int = 80_000) -> bytes:
    place = f"Content-Range: bytes {start}-{len(body) - 1}/{len(body)}"
    return reply(206, body[start:], said, place, 'ETag: "one"')


NONE = "X-Nothing: said"
FLIPS = {  # what the host does -> how often it is asked, the code, what is under the target's name
    "whole, CRC-64": ((_all(CLIP, CRC),), 1, None, CLIP),
    "whole, MD5": ((_all(CLIP, _md5(CLIP)),), 1, None, CLIP),
    "in two parts, CRC-64": ((_cut(CLIP, CRC), _rest(CLIP, CRC)), 2, None, CLIP),
    "in two parts, MD5 of the whole": ((_cut(CLIP, _md5(CLIP)), _rest(CLIP, _md5(CLIP))), 2, None, CLIP),
    "in two parts, MD5 of the part": ((_cut(CLIP, _md5(CLIP)), _rest(CLIP, _md5(CLIP[80_000:]))), 2, None, CLIP),
    "a bit flipped once, CRC-64": ((_all(FLIPPED, CRC), _all(CLIP, CRC)), 2, None, CLIP),
    "a bit flipped once, MD5": ((_all(FLIPPED, _md5(CLIP)), _all(CLIP, _md5(CLIP))), 2, None, CLIP),
    "flipped in the first part": ((_cut(FLIPPED, CRC), _rest(CLIP, CRC), _all(CLIP, CRC)), 3, None, CLIP),
    "flipped in the first part, said later": ((_cut(FLIPPED, NONE), _rest(CLIP, CRC), _all(CLIP, CRC)), 3, None, CLIP),
    "flipped in the first part, MD5": (
        (_cut(FLIPPED, _md5(CLIP)), _rest(CLIP, _md5(CLIP)), _all(CLIP, _md5(CLIP))),
        *(3, None, CLIP),
    ),
    "flipped in the second part": ((_cut(CLIP, CRC, 9), _rest(FLIPPED, CRC, 9), _all(CLIP, CRC)), 3, None, CLIP),
    "flipped twice": ((_all(FLIPPED, CRC),), 2, "download_error", OLD),
    "flipped twice, MD5": ((_all(FLIPPED, _md5(CLIP)),), 2, "download_error", OLD),
    "a CRC-64 wins over an MD5": ((reply(200, CLIP, CRC, _md5(FLIPPED)),), 1, None, CLIP),
    "a CRC-64 of another object": ((_all(CLIP, f"x-oss-hash-crc64ecma: {crc64.xz(OTHER)}"),), 2, "download_error", OLD),
    "a CRC-64 that is no number": ((_all(CLIP, "x-oss-hash-crc64ecma: yes"),), 1, None, CLIP),
    "an MD5 that is none": ((_all(CLIP, "Content-MD5: yes"),), 1, None, CLIP),
    "an ETag of 32 digits proves nothing": ((reply(200, CLIP, f'ETag: "{"0" * 32}"'),), 1, None, CLIP),
    "until the connection closes": ((reply(200, CLIP, CRC, length=-1),), 1, None, CLIP),
    "in chunks": ((_chunked(FLIPPED).replace(b"ETag", f"{CRC}\r\nETag".encode()), _all(CLIP, CRC)), 2, None, CLIP),
    # The control: without a checksum nobody can see it.
    "flipped, and nothing is said": ((_all(FLIPPED, NONE),), 1, None, FLIPPED),
}


@pytest.mark.parametrize("name", FLIPS)
def test_a_clip_is_what_its_host_says_that_it_is(name: str, tmp_path: Path) -> None:
    script, asked, code, got = FLIPS[name]
    target = tmp_path / "cat.mp4"
    target.write_bytes(OLD)
    with serving(*script) as host, serving(succeeded(f"{host.url}/cat.mp4")) as api:
        error = _fault(api, target)
    assert (error and error.code, len(host.requests)) == (code, asked)
    assert error is None or "checksum" in error.message
    assert target.read_bytes() == got
    assert not list(tmp_path.glob(".cat*"))


def test_a_last_box_without_an_end_is_whole_only_where_the_length_is_known(tmp_path: Path) -> None:
    endless = CLIP.replace((len(CLIP) - 44).to_bytes(4) + b"mdat", bytes(4) + b"mdat")
    assert endless != CLIP
    for said, cut, code in (
        (len(CLIP), None, None),
        ("in chunks", None, None),
        (-1, None, "download_error"),
        (-1, 50_000, "download_error"),
    ):
        target = tmp_path / f"{said}{cut}.mp4"
        answer = reply(200, endless[:cut], length=said) if isinstance(said, int) else _chunked(endless)
        with serving(answer) as host, serving(succeeded(f"{host.url}/a")) as api:
            error = _fault(api, target)
        assert ((error and error.code), target.exists()) == (code, code is None)


# --- bounds -------------------------------------------------------------------------------------------------------


def test_a_body_without_a_length_ends_at_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_FILE", 50_000)
    whole = reply(200, CLIP, 'ETag: "one"', length=-1)
    with serving(whole) as host, serving(succeeded(f"{host.url}/a")) as api:
        error = _fault(api, tmp_path / "cat.mp4")
    assert error is not None
    assert (error.code, error.status, len(host.requests)) == ("download_error", 1, 1)
    assert not list(tmp_path.glob(".cat*"))


def test_a_clip_larger_than_what_the_disk_has_left_is_refused_before_a_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 10**6 - 90_000, 90_000))
    with serving(WHOLE) as host, serving(succeeded(f"{host.url}/a")) as api:
        error = _fault(api, tmp_path / "cat.mp4")
    assert error is not None
    assert (error.code, error.status, len(host.requests)) == ("output_write_error", 1, 1)
    assert not list(tmp_path.glob(".cat*"))


def test_a_host_that_gives_a_byte_each_time_is_not_waited_for_without_end(tmp_path: Path) -> None:
    with serving(ranged(CLIP, cut=1)) as host, serving(succeeded(f"{host.url}/a")) as api:
        error = _fault(api, tmp_path / "cat.mp4")
    assert error is not None
    assert (error.code, len(host.requests)) == ("download_error", downloading.CUTS)


@pytest.mark.parametrize(("bytes_a_minute", "stalls"), [(1024 * 60 - 1, True), (1024 * 60, False)])
def test_a_crawling_download_counts_as_stalled(bytes_a_minute: int, stalls: bool, tmp_path: Path) -> None:
    times = iter([0.0, 60.0, 120.0, 180.0])

    def send(request: Request, receive: Receive | None = None) -> Response:
        assert receive is not None
        receive(200, {"content-length": str(3 * bytes_a_minute)}, iter([bytes(bytes_a_minute)] * 3))
        return Response(200, {})

    with pytest.raises(Unknown, match="less than 1024 bytes a second") if stalls else nullcontext():
        http.download(send, "", str(tmp_path / "cat.mp4"), TASK, lambda *_: None, clock=lambda: next(times))


@pytest.mark.parametrize(
    ("asked", "slept", "code"), [("7", [7.0], None), ("0", [0.5], None), ("15", [], "download_error")]
)
def test_the_clips_host_may_ask_for_a_pause(asked: str, slept: list[float], code: str | None, tmp_path: Path) -> None:
    pauses: list[float] = []
    with (
        serving(reply(503, b"", f"Retry-After: {asked}"), WHOLE) as host,
        serving(succeeded(f"{host.url}/cat.mp4")) as api,
    ):
        error = _fault(api, tmp_path / "cat.mp4", sleep=pauses.append)
    assert (error and error.code, pauses) == (code, slept)


# --- what a killed download leaves --------------------------------------------------------------------------------


def test_a_leftover_that_nobody_can_go_on_from_is_swept_after_a_day(api: Server, tmp_path: Path) -> None:
    ours = tmp_path / f".cat.mp4.{TASK}.~0123456789abcdef.part"
    others = [
        tmp_path / f".cat.mp4.{TASK}.~00112233445566ff.part",  # of this minute: somebody may be writing it
        tmp_path / f".cat.mp4.{TASK}x.~0123456789abcdef.part",
        tmp_path / f".hat.mp4.{TASK}.~0123456789abcdef.part",
        tmp_path / f".cat.mp4.{TASK}.~0123456789abcdef.part.mp4",
        tmp_path / f".cat.mp4.{TASK}.~0123456789ABCDEF.part",
        tmp_path / f".cat.mp4.{TASK}.~0123456789abcde.part",
        tmp_path / f"cat.mp4.{TASK}.~0123456789abcdef.part",
    ]
    old = time.time() - 24 * 3600 - 9
    for file in [ours, *others]:
        file.write_bytes(b"x")
        if file is not others[0]:
            os.utime(file, (old, old))
    folder = tmp_path / f".cat.mp4.{TASK}.~aaaaaaaaaaaaaaaa.part"
    folder.mkdir()
    os.utime(folder, (old, old))
    _download(api, tmp_path / "cat.mp4")
    assert not ours.exists()
    assert all(file.exists() for file in [*others, folder])


@posix
@pytest.mark.platform
def test_a_link_in_the_place_of_a_part_is_not_followed(api: Server, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(OLD)
    (tmp_path / f".cat.mp4.{TASK}.one.part").symlink_to(victim)
    error = _fault(api, tmp_path / "cat.mp4")
    assert error is not None
    assert (error.code, victim.read_bytes()) == ("output_write_error", OLD)


def test_a_part_that_is_longer_than_the_clip_is_thrown_away(tmp_path: Path) -> None:
    (tmp_path / f".cat.mp4.{TASK}.one.part").write_bytes(CLIP + b"x")
    with serving(WHOLE) as host, serving(succeeded(f"{host.url}/cat.mp4")) as api:
        _download(api, tmp_path / "cat.mp4")
    assert len(host.requests) == 2
    assert (tmp_path / "cat.mp4").read_bytes() == CLIP


def test_a_part_of_one_byte_that_must_be_asked_for_again_is_not_left_empty(tmp_path: Path) -> None:
    (tmp_path / f".cat.mp4.{TASK}.old.part").write_bytes(b"x")
    full = reply(416, b"", "Content-Range: bytes */1")
    with serving(full, WHOLE) as host, serving(succeeded(f"{host.url}/cat.mp4")) as api:
        _download(api, tmp_path / "cat.mp4")
    assert [header(request, "range") for request in host.requests] == ["bytes=1-", None]
    assert [file.name for file in tmp_path.glob("*cat*")] == ["cat.mp4"]


def test_a_download_gives_up_after_15_seconds_without_a_byte(tmp_path: Path) -> None:
    times = iter([0.0, 1.0, 16.0, 17.0])
    with serving(reply(503)) as host, serving(succeeded(f"{host.url}/cat.mp4")) as api:
        send = http.sender(api.url, lambda: KEY, 10)
        with pytest.raises(RawgenaiError) as caught:
            tasks.download(
                TASK,
                str(tmp_path / "cat.mp4"),
                settings=settings(api.url),
                send=send,
                ledger=Ledger(None),
                sleep=lambda _: None,
                clock=lambda: next(times),
            )
    assert (caught.value.code, len(host.requests)) == ("download_error", 2)


def test_a_host_that_nobody_is_at_is_a_download_error(tmp_path: Path) -> None:
    with serving(succeeded(f"http://127.0.0.1:{closed_port()}/cat.mp4")) as api:
        error = _fault(api, tmp_path / "cat.mp4")
    assert error is not None
    assert (error.code, error.status, error.task_id) == ("download_error", 4, TASK)


# --- URLs that run out --------------------------------------------------------------------------------------------

DENIED = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Request has expired.</Message></Error>"
NOW = f"Date: {email.utils.formatdate(1_800_000_000, usegmt=True)}"
GONE = {  # answers of the clip's host, Expires of its URL -> the code, how often the API is asked, and the host
    "expired": ((reply(403, DENIED, NOW),), 1_799_999_999, "url_expired", 2, 2),
    "not found": ((reply(404, DENIED, NOW),), 1_799_999_999, "url_expired", 2, 2),
    "not expired": ((reply(403, DENIED, NOW),), 1_800_009_999, "download_error", 2, 2),
    "not expired, and a fresh URL helps": ((reply(403, DENIED, NOW), WHOLE), 1_800_009_999, None, 2, 2),
    "expired, and a fresh URL helps": ((reply(403, DENIED, NOW), WHOLE), 1_799_999_999, None, 2, 2),
    "expired meanwhile": ((CUT, reply(403, DENIED, NOW), WHOLE), 1_799_999_999, None, 2, 3),
}


@pytest.mark.parametrize("name", GONE)
def test_a_url_that_ran_out_is_asked_for_anew_once(name: str, tmp_path: Path) -> None:
    script, expires, code, api_asked, host_asked = GONE[name]
    with serving(*script) as host, serving(succeeded(f"{host.url}/cat.mp4?Expires={expires}&Signature=x")) as api:
        error = _fault(api, tmp_path / "cat.mp4")
    assert (error and error.code, len(api.requests), len(host.requests)) == (code, api_asked, host_asked)
    assert error is None or error.api_code == "AccessDenied"
    assert (tmp_path / "cat.mp4").exists() == (code is None)
    _assert_clean(host)


# --- redirects ----------------------------------------------------------------------------------------------------


def _moved(url: str, status: int = 302) -> bytes:
    return reply(status, b"", f"Location: {url}")


@pytest.mark.parametrize(("status", "hops"), [(301, 1), (302, 2), (303, 3), (307, 3), (308, 3), (302, 4), (308, 4)])
def test_a_clip_may_move_three_times(status: int, hops: int, tmp_path: Path) -> None:
    target = tmp_path / "cat.mp4"
    with (
        serving(WHOLE) as last,
        serving(*[_moved("/next", status)] * (hops - 1), _moved(f"{last.url}/a")) as host,
        serving(succeeded(f"{host.url}/cat.mp4")) as api,
    ):
        error = _fault(api, target)
    assert (error and error.code) == (None if hops <= 3 else "download_error")
    assert target.exists() == (hops <= 3)
    _assert_clean(host)
    _assert_clean(last)


BAD_PLACES = (
    "http://clips.example.test/a",
    "ftp://clips.example.test/a",
    "file:///etc/passwd",
    "http://127.0.0.1:1/a",
    "https://127.0.0.1/a",
    "https://user:password@clips.example.test/a",
    "https://",
    "https://[::1/",
    "https://clips.example.test:99999/a",
    "//",
)


@pytest.mark.parametrize("place", BAD_PLACES)
@pytest.mark.parametrize("how", ["moves to", "is at"])
def test_a_clip_on_the_network_is_never_fetched_from_a_lesser_place(how: str, place: str, tmp_path: Path) -> None:
    first = "https://clips.example.test/cat.mp4" if how == "moves to" else place
    asked = []

    def send(request: Request, receive: Receive | None = None) -> Response:
        if request.url.startswith("tasks/"):
            return Response(200, {}, succeeded(first).partition(HEAD_END)[2])
        asked.append(request.url)
        if request.url == "https://clips.example.test/cat.mp4":
            return Response(302, {"location": place})
        return http.send(request, receive)

    with pytest.raises(RawgenaiError) as caught:
        tasks.download(
            TASK,
            str(tmp_path / "cat.mp4"),
            settings=settings("https://dashscope.aliyuncs.com/api/v1"),
            send=send,
            ledger=Ledger(None),
            sleep=lambda _: None,
        )
    assert caught.value.code == "download_error"
    assert set(asked) <= {"https://clips.example.test/cat.mp4", "https://clips.example.test:99999/a"}


# --- the target ---------------------------------------------------------------------------------------------------


@pytest.fixture
def api() -> Iterator[Server]:
    with serving(WHOLE) as host, serving(succeeded(f"{host.url}/cat.mp4")) as server:
        yield server


def _fifo(target: Path) -> None:
    os.mkfifo(target)


def _device(target: Path) -> None:
    target.symlink_to(os.devnull)


TARGETS: dict[str, Callable[[Path], None]] = {
    "a folder": lambda target: target.mkdir(),
    "a FIFO": _fifo,
    "a device": _device,
    "a link to a folder": lambda target: target.symlink_to(target.parent),
}


@posix
@pytest.mark.platform
@pytest.mark.parametrize("name", TARGETS)
def test_what_is_no_file_is_refused_before_the_network(name: str, api: Server, tmp_path: Path) -> None:
    target = tmp_path / "cat.mp4"
    TARGETS[name](target)
    before = target.lstat().st_ino
    with pytest.raises(RawgenaiError) as caught:
        _download(api, target)
    assert (caught.value.code, caught.value.status, api.connections) == ("output_write_error", 2, 0)
    assert target.lstat().st_ino == before


UNWRITABLE = {
    "missing": "missing/cat.mp4",
    "a file": "file/cat.mp4",
    "a name too long": "x" * 252 + ".mp4",
    "a NUL": "a\0.mp4",
}


@pytest.mark.parametrize("name", UNWRITABLE)
def test_a_folder_that_takes_no_file_is_found_before_the_network(name: str, api: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RawgenaiError) as caught:
        _download(api, tmp_path / UNWRITABLE[name])
    assert (caught.value.code, caught.value.status, api.connections) == ("output_write_error", 2, 0)


@posix
@pytest.mark.platform
def test_a_read_only_folder_is_found_before_the_network(api: Server, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir(0o500)
    if os.access(folder, os.W_OK):  # root may write everywhere, but not even root into /proc
        folder = Path("/proc")
    run = rawgenai(api.url, *download_to(folder / "cat.mp4"))
    assert (run.status, run.error["code"], api.connections) == (2, "output_write_error", 0)


@posix
@pytest.mark.platform
@pytest.mark.parametrize("there", [True, False], ids=["link", "dangling link"])
def test_a_symbolic_link_is_replaced_itself(there: bool, api: Server, tmp_path: Path) -> None:
    target, other = tmp_path / "cat.mp4", tmp_path / "other.mp4"
    target.symlink_to(other)
    if there:
        other.write_bytes(OLD)
    _download(api, target)
    assert target.is_file()
    assert not target.is_symlink()
    assert other.exists() == there
    assert not there or other.read_bytes() == OLD


def test_the_other_name_of_a_hard_link_keeps_the_old_bytes(api: Server, tmp_path: Path) -> None:
    target, other = tmp_path / "cat.mp4", tmp_path / "other.mp4"
    other.write_bytes(OLD)
    target.hardlink_to(other)
    _download(api, target)
    assert (target.read_bytes(), other.read_bytes()) == (CLIP, OLD)


@posix
@pytest.mark.platform
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o027, 0o000])
@pytest.mark.parametrize("before", [None, 0o600])
def test_a_clip_has_the_mode_of_any_new_file(before: int | None, umask: int, api: Server, tmp_path: Path) -> None:
    target = tmp_path / "cat.mp4"
    if before is not None:
        target.touch(before)
    old = os.umask(umask)
    try:
        _download(api, target)
    finally:
        os.umask(old)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~umask


def test_two_downloads_to_one_path_at_once_both_succeed(tmp_path: Path) -> None:
    target = tmp_path / "cat.mp4"
    slow = then(reply(200, CLIP[:50_000], 'ETag: "one"', length=len(CLIP)), lambda *_: time.sleep(0.1), CLIP[50_000:])
    with serving(slow) as host, serving(succeeded(f"{host.url}/cat.mp4")) as api:
        done: list[str] = []
        threads = [threading.Thread(target=lambda: done.append(_download(api, target))) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert done == [str(target)] * 3
    assert target.read_bytes() == CLIP
    assert not list(tmp_path.glob(".cat*"))


@posix
@pytest.mark.platform
def test_a_full_disk_leaves_the_old_file_and_a_part_to_go_on_from(tmp_path: Path) -> None:
    target = tmp_path / "cat.mp4"
    target.write_bytes(OLD)
    limited = ["sh", "-c", 'ulimit -f 64; exec "$@"', "sh", *command(*download_to(target))]  # 32 or 64 KiB
    with serving(WHOLE) as host, serving(succeeded(f"{host.url}/cat.mp4")) as api:
        run = subprocess.run(limited, env=environ(api.url), capture_output=True, check=False, text=True)
        assert (run.returncode, run.stdout) == (1, "")
        assert '"code": "output_write_error"' in run.stderr
        assert TASK in run.stderr
        assert target.read_bytes() == OLD
        [part] = tmp_path.glob(".cat.mp4.*.part")
        assert 0 < part.stat().st_size < len(CLIP)
        again = rawgenai(api.url, *download_to(target))
    assert again.status == 0
    assert target.read_bytes() == CLIP
    assert header(host.requests[-1], "range") is not None


def test_a_download_as_a_process_prints_one_envelope(api: Server, tmp_path: Path) -> None:
    run = rawgenai(api.url, *download_to(tmp_path / "cat.mp4"))
    assert (run.status, run.stderr) == (0, "")
    assert run.envelope == {"success": True, "task_id": TASK, "file": str(tmp_path / "cat.mp4")}
    assert (tmp_path / "cat.mp4").read_bytes() == CLIP
