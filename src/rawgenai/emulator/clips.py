"""Clips: the signed link that names one, and its bytes, whole or in parts.

Source: the API reference, section 3.4. The clip's host objects as OSS does.
"""

import hmac
import re
from collections.abc import Mapping
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

from rawgenai.dashscope.models import MODELS
from rawgenai.emulator.answers import ACCESS_KEY_ID, Answer, Desk, Refused, sign, xml_error_answer
from rawgenai.emulator.faults import read_faults
from rawgenai.emulator.store import Task

_LINK_LIFE = 24 * 3600  # seconds from the end of the task (reference 3.4)


def clip_url(desk: Desk, task: Task, expired: bool) -> str:
    """Write the signed link to a task's clip; ``expired``: one that is good no longer."""
    expires = str(int(task.created) - 1 if expired else int(task.created + task.seconds) + _LINK_LIFE)
    signature = sign(desk.secret, "clip", task.task_id, expires)
    query = f"Expires={expires}&OSSAccessKeyId={ACCESS_KEY_ID}&Signature={signature}"
    return f"{desk.call.origin}/clips/{task.task_id}.mp4?{query}"


def serve_clip(desk: Desk) -> Answer:
    """Answer with the clip that a signed link names, or the part that is asked for; raises Refused."""
    task_id, expires = desk.groups[0], desk.query.get("Expires", "")
    signature = desk.query.get("Signature", "")
    if not hmac.compare_digest(signature.encode(), sign(desk.secret, "clip", task_id, expires).encode()):
        message = "The request signature we calculated does not match the signature you provided."
        raise Refused("SignatureDoesNotMatch", message, 403)
    if desk.now > int(expires):
        raise Refused("AccessDenied", "Request has expired.", 403)
    task = desk.store.task(task_id)
    if task is None:
        raise Refused("NoSuchKey", "The specified key does not exist.", 404)
    faults = read_faults(task.prompt)
    answer = _serve(
        desk.store.clip(task, task.mode or MODELS[task.model].mode), desk.call.headers, ranged="range" not in faults
    )
    return replace(answer, cut=int(faults["cut"]) if "cut" in faults else None)


def _serve(clip: Path, headers: Mapping[str, str], *, ranged: bool) -> Answer:
    facts = clip.stat()
    size = facts.st_size
    etag = f'"{facts.st_mtime_ns:X}-{size:X}"'
    modified = formatdate(facts.st_mtime, usegmt=True)
    told = {"content-type": "video/mp4", "etag": etag, "last-modified": modified, "x-oss-hash-crc64ecma": _crc64(clip)}
    if ranged:
        told["accept-ranges"] = "bytes"
    whole = Answer(200, told, clip=clip, length=size)
    span = re.fullmatch(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))", headers.get("range", ""), re.ASCII)
    if not ranged or span is None or headers.get("if-range", etag) not in (etag, modified):
        return whole
    first, last, suffix = span.groups()
    start = max(0, size - int(suffix)) if suffix else int(first)
    end = min(size - 1, int(last)) if last else size - 1
    if start > end:
        refused = Refused("InvalidRange", "The requested range cannot be satisfied.", 416)
        answer = xml_error_answer(refused, etag)
        return replace(answer, headers={**answer.headers, "content-range": f"bytes */{size}"})
    told["content-range"] = f"bytes {start}-{end}/{size}"
    return Answer(206, told, clip=clip, start=start, length=end - start + 1)


def _crc64(clip: Path) -> str:
    """Compute what OSS says of an object, also with a part of it."""
    from fastcrc import crc64

    crc = 0
    with clip.open("rb") as file:
        while piece := file.read(1 << 20):
            crc = crc64.xz(piece, crc)
    return str(crc)
