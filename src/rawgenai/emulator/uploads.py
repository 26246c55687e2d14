"""Uploads: the policy that allows one, the form that brings it, and the ``oss://`` links that name it afterwards.

Source: the API reference, section 5. The form's host objects as OSS does.
"""

import base64
import hmac
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from rawgenai.dashscope.models import MODELS, Model
from rawgenai.emulator.answers import ACCESS_KEY_ID, CHINA, Answer, Call, Desk, Refused, json_answer, sign

FORM_CAP = 110 * 1024 * 1024  # bytes of a body
UPLOAD_LIFE = 48 * 3600  # seconds (reference 5)
_POLICY_LIFE = 300
_UPLOAD_MB = 100
_BLOCK = 1024 * 1024  # bytes written at once


def grant_upload(desk: Desk) -> Answer:
    """Answer with the policy that lets the account upload a file for a model; raises Refused."""
    model = desk.query.get("model", "")
    if desk.query.get("action") != "getPolicy":
        raise Refused("InvalidParameter", "action must be getPolicy")
    if model not in MODELS:
        raise Refused("InvalidParameter", "Model not exist.")
    day = datetime.fromtimestamp(desk.now, CHINA).date()
    folder = f"dashscope-instant/{desk.account}/{day}/{desk.new_id()}"
    policy = {
        "expiration": datetime.fromtimestamp(desk.now + _POLICY_LIFE, UTC).isoformat().replace("+00:00", "Z"),
        "conditions": [
            ["content-length-range", 0, _UPLOAD_MB * 1024 * 1024],
            ["starts-with", "$key", folder],
            {"x-oss-object-acl": "private"},
            {"x-oss-forbid-overwrite": "true"},
        ],
        "emulator": {"account": desk.account, "model": model, "expires": desk.now + _POLICY_LIFE},
    }
    text = base64.b64encode(json.dumps(policy).encode()).decode()
    data = {
        "policy": text,
        "signature": sign(desk.secret, "policy", text),
        "upload_dir": folder,
        "upload_host": f"{desk.call.origin}/upload",
        "expire_in_seconds": _POLICY_LIFE,
        "max_file_size_mb": _UPLOAD_MB,
        "capacity_limit_mb": 999999999,
        "oss_access_key_id": ACCESS_KEY_ID,
        "x_oss_object_acl": "private",
        "x_oss_forbid_overwrite": "true",
    }
    return json_answer(200, {"request_id": desk.new_id(), "data": data})


class _FormParts(NamedTuple):
    fields: Mapping[str, str]  # those before the file; what follows it is not read, as OSS does
    file: memoryview | None  # None: there is none


def take_upload(desk: Desk) -> Answer:
    """Take in a form that keeps to its policy; raises Refused."""
    form = _parse_form(desk.call)
    policy = _check_policy(desk, form)
    if form.file is None:
        raise Refused("IncorrectNumberOfFilesInPOSTRequest", "POST requires exactly one file upload per request.", 400)
    for condition in policy["conditions"]:
        _check_condition(condition, form)
    name = form.fields["key"]
    hashed = _Hashed(form.file)
    if not desk.store.upload(name, policy["emulator"]["account"], policy["emulator"]["model"], desk.now, hashed):
        message = "The object you specified already exists and can not be overwritten."
        raise Refused("FileAlreadyExists", message, 409)
    status = 200 if form.fields.get("success_action_status") == "200" else 204
    return Answer(status, {"x-oss-hash-crc64ecma": str(hashed.crc)})


class _Hashed:
    """The pieces of a file, whose CRC-64 is known when the last has been taken."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self.crc = 0

    def __iter__(self) -> Iterator[bytes]:
        from fastcrc import crc64

        for start in range(0, len(self._data), _BLOCK):
            piece = bytes(self._data[start : start + _BLOCK])
            self.crc = crc64.xz(piece, self.crc)
            yield piece


def _check_policy(desk: Desk, form: _FormParts) -> Any:
    """Return the policy that the form came with, once it is known to be ours and still good."""
    fields = form.fields
    for name in ("OSSAccessKeyId", "policy", "Signature", "key"):
        if not fields.get(name):
            raise Refused("InvalidArgument", f"Missing required field: {name} (fields must precede the file).", 400)
    if fields["OSSAccessKeyId"] != ACCESS_KEY_ID:
        raise Refused("InvalidAccessKeyId", "The OSS Access Key Id you provided does not exist in our records.", 403)
    if not hmac.compare_digest(fields["Signature"].encode(), sign(desk.secret, "policy", fields["policy"]).encode()):
        message = "The request signature we calculated does not match the signature you provided."
        raise Refused("SignatureDoesNotMatch", message, 403)
    policy = json.loads(base64.b64decode(fields["policy"]))
    if desk.now >= policy["emulator"]["expires"]:
        raise Refused("AccessDenied", "Invalid according to Policy: Policy expired.", 403)
    return policy


def _check_condition(condition: Any, form: _FormParts) -> None:
    match condition:
        case ["content-length-range", low, high]:
            if not low <= len(form.file or b"") <= high:
                raise Refused("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size.", 400)
        case ["starts-with", "$key", folder]:
            if not form.fields["key"].startswith(f"{folder}/") or form.fields["key"] == f"{folder}/":
                raise _unmet(condition)
        case _:
            if any(form.fields.get(name) != value for name, value in condition.items()):
                raise _unmet(condition)


def _unmet(condition: Any) -> Refused:
    message = f"Invalid according to Policy: Policy Condition failed: {json.dumps(condition)}"
    return Refused("AccessDenied", message, 403)


def _parse_form(call: Call) -> _FormParts:
    """Read multipart/form-data up to the file, whose bytes are not copied."""
    malformed = Refused("MalformedPOSTRequest", "The body of your POST request is not well-formed multipart data.", 400)
    boundary = re.fullmatch(
        r'multipart/form-data;\s*boundary="?([^";\s]{1,70})"?', call.headers.get("content-type", ""), re.IGNORECASE
    )
    if boundary is None:
        raise malformed
    mark = b"--" + boundary[1].encode()
    fields: dict[str, str] = {}
    if not call.body.startswith(mark + b"\r\n"):
        raise malformed
    start = len(mark) + 2
    while True:
        head_end = call.body.find(b"\r\n\r\n", start)
        end = call.body.find(b"\r\n" + mark, head_end + 4)
        if min(head_end, end) < 0:
            raise malformed
        head = call.body[start:head_end].decode(errors="replace")
        name = re.search(r'content-disposition: *form-data;.*?\bname="([^"\r\n]*)"', head, re.IGNORECASE)
        if name is None:
            raise malformed
        if name[1] == "file":
            return _FormParts(fields, memoryview(call.body)[head_end + 4 : end])
        fields[name[1]] = call.body[head_end + 4 : end].decode(errors="replace")
        start = end + len(mark) + 4
        if call.body[start - 2 : start] != b"\r\n":
            return _FormParts(fields, None)


def check_links(desk: Desk, links: list[str], row: Model) -> None:
    """Refuse ``oss://`` links that the account did not upload for this model, or not lately enough."""
    if links and desk.call.headers.get("x-dashscope-ossresourceresolve") != "enable":
        message = "The provided URL does not appear to be valid. Ensure it is correctly formatted."
        raise Refused("InvalidParameter.DataInspection", message)
    for link in links:
        name = link.removeprefix("oss://")
        if not desk.store.uploaded(name, desk.account, row.name, desk.now - UPLOAD_LIFE):
            raise Refused("InvalidParameter.DataInspection")
