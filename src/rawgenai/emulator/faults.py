"""What a prompt can ask to go wrong: the table of faults, and what each does to a task's course or to its creation.

Faults that act on other answers are acted on where those are written: ``state`` and ``clips`` ask ``read_faults``.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from rawgenai.emulator.answers import Answer, Desk, Refused, error_answer, sign


class Fault(NamedTuple):
    """What a prompt can ask for with ``emulator:NAME`` or ``emulator:NAME=VALUE``."""

    sentence: str  # what happens
    call: str  # the call that it acts on: create, status or download
    value: str  # what VALUE stands for; empty: there is none
    pattern: str  # what VALUE must match; one that matches nothing at all may be left out
    example: str


_CODE = r"\w+(?:\.\w+)*"
FAULTS = {
    "refuse": Fault("the task is refused with this code of the API", "create", "CODE", _CODE, "refuse=Arrearage"),
    "status": Fault("the answer has this HTTP status and a JSON error", "create", "N", r"[2-5]\d\d", "status=503"),
    "html": Fault("the answer is 502 with an HTML page, as gateways send it", "create", "", "", "html"),
    "retry-after": Fault(
        "429 Throttling.RateQuota with Retry-After, until N seconds after the first try of the same prompt",
        "create",
        "N",
        r"\d{1,5}",
        "retry-after=2",
    ),
    "hang": Fault("no answer ever comes; =booked: the task was accepted", "create", "booked", "(booked)?", "hang"),
    "reset": Fault("the connection is reset; =booked: the task was accepted", "create", "booked", "(booked)?", "reset"),
    "close": Fault(
        "the connection closes without an answer; =booked: the task was accepted",
        "create",
        "booked",
        "(booked)?",
        "close=booked",
    ),
    "half": Fault("the task is accepted, and half of the answer comes", "create", "", "", "half"),
    "slow": Fault(
        "the call is acted on at once, and the answer comes S seconds later",
        "create",
        "S",
        r"\d{1,4}(\.\d+)?",
        "slow=0.5",
    ),
    "fail": Fault("the task ends FAILED with this code of the API", "status", "CODE", _CODE, "fail=InternalError"),
    "unknown": Fault("the task is UNKNOWN, as one that expired", "status", "", "", "unknown"),
    "suspended": Fault("the task is SUSPENDED for a while before it runs", "status", "", "", "suspended"),
    "canceled": Fault("the task ends CANCELED", "status", "", "", "canceled"),
    "no-video": Fault("the task ends SUCCEEDED, and names no clip", "status", "", "", "no-video"),
    "expire": Fault("the clip's link has expired when it is first named", "download", "", "", "expire"),
    "cut": Fault(
        "every connection delivers at most N bytes of the clip and closes; resuming gets on",
        "download",
        "N",
        r"[1-9]\d{0,9}",
        "cut=100000",
    ),
    "range": Fault(
        "a request for a part of the clip gets the whole of it", "download", "ignored", "ignored", "range=ignored"
    ),
}

# Fault -> the status in the first, second and last third of a task's time, and after it.
COURSES = {
    "": ("PENDING", "RUNNING", "RUNNING", "SUCCEEDED"),
    "fail": ("PENDING", "RUNNING", "RUNNING", "FAILED"),
    "canceled": ("PENDING", "RUNNING", "RUNNING", "CANCELED"),
    "suspended": ("PENDING", "SUSPENDED", "RUNNING", "SUCCEEDED"),
    "unknown": ("UNKNOWN",) * 4,
}

# What the emulator says with an HTTP status that a prompt asked for; 4xx and 5xx that are not here: by their class.
_STATUS_CODES = {
    401: "InvalidApiKey",
    403: "AccessDenied",
    404: "ModelNotFound",
    409: "Conflict",
    429: "Throttling",
    503: "ModelUnavailable",
    504: "GatewayTimeout",
}

_DIRECTIVE = re.compile(r"emulator:([A-Za-z][A-Za-z-]*)(?:=([\w.]*))?", re.ASCII)


def read_faults(prompt: str | None) -> dict[str, str]:
    """Find the faults that a prompt asks for, name -> value; raises Refused for one that does not exist."""
    found = {name: value.rstrip(".") for name, value in _DIRECTIVE.findall(prompt or "")}
    for name, value in found.items():
        row = FAULTS.get(name)
        if row is None or not re.fullmatch(row.pattern, value, re.ASCII):
            known = ", ".join(usage(name) for name in FAULTS)
            said = f"emulator:{name}={value}" if value else f"emulator:{name}"
            raise Refused("InvalidParameter", f"{said} is no fault of the emulator. It knows: {known}")
    return found


def usage(name: str) -> str:
    """Write how a fault is asked for: ``hang[=booked]``, ``cut=N``."""
    row = FAULTS[name]
    if not row.value:
        return name
    return f"{name}[={row.value}]" if re.fullmatch(row.pattern, "") else f"{name}={row.value}"


def answer_instead(desk: Desk, faults: Mapping[str, str], body: Any) -> Answer | None:
    """Answer without booking, where the prompt asks for it."""
    if "refuse" in faults:
        return error_answer(Refused(faults["refuse"]), desk.new_id())
    if "status" in faults:
        status = int(faults["status"])
        code = _STATUS_CODES.get(status, "InternalError" if status >= 500 else "InvalidParameter")
        answer = error_answer(Refused(code, status=status), desk.new_id())
        return replace(answer, body=b"") if status in (204, 304) else answer
    if "html" in faults:
        page = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
        return Answer(502, {"content-type": "text/html"}, page)
    if "retry-after" in faults:
        name = sign(desk.secret, "throttle", desk.account, body.model, body.input.prompt)
        wait = desk.store.throttle(name, desk.now, float(faults["retry-after"]))
        if wait > 0:
            answer = error_answer(Refused("Throttling.RateQuota"), desk.new_id())
            return replace(answer, headers={**answer.headers, "retry-after": str(math.ceil(wait))})
    return None
