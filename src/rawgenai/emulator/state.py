"""What the emulator answers: ``handle(call) -> Answer``. Routes, the course of a task, errors and faults are tables.

Everything that differs between calls is in the call, the clock or the store, so a test needs no socket. Where a fault
must be acted out on the wire, the answer says so, and the mount (``server``, or ``sender`` in process) acts.

Sources: the API reference, sections 1 (headers), 3 (tasks), 4 (errors) and 5 (uploads).
"""

import base64
import hashlib
import hmac
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from email.utils import formatdate
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote
from uuid import uuid4

from rawgenai.dashscope.models import DEFAULT_DURATION, DEFAULT_RATIO, MODELS, SIZED_MODES, SIZES, Model
from rawgenai.emulator.store import Store, Task
from rawgenai.errors import RawgenaiError

JSON_CAP = 80 * 1024 * 1024  # bytes of a body (faults.md, J5)
FORM_CAP = 110 * 1024 * 1024

_DAY = 24 * 3600  # a task id and its clip's link live that long (reference 3.4)
_UPLOAD_LIFE = 2 * _DAY  # (reference 5)
_POLICY_LIFE = 300
_UPLOAD_MB = 100
_ACCESS_KEY_ID = "emulator"
_CHINA = timezone(timedelta(hours=8))  # the API's times carry no zone mark
_PIECE = 64 * 1024


class Call(NamedTuple):
    """One HTTP request: the target as it stood in the request line, header names in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""
    origin: str = "http://emulator.localhost"  # what links in answers begin with


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, and what is to go wrong with it on the wire.

    The body is ``body``, or ``length`` bytes of the file ``clip`` from ``start``. ``wire`` is "hang", "reset" or
    "close": nothing of the answer gets out. ``cut`` bytes of the body get out before the connection closes.
    ``delay`` is in seconds.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    clip: Path | None = None
    start: int = 0
    length: int = 0
    wire: str = ""
    cut: int | None = None
    delay: float = 0.0

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes of the body that get out."""
        if self.clip is None:
            yield self.body[: self.cut]
            return
        left = self.length if self.cut is None else min(self.cut, self.length)
        with self.clip.open("rb") as file:
            file.seek(self.start)
            while left > 0 and (piece := file.read(min(_PIECE, left))):
                left -= len(piece)
                yield piece


class Refused(Exception):  # noqa: N818 - an answer of the API, no error of the program
    """The call is answered with an error: a row of ERRORS, unless message and status say otherwise."""

    def __init__(self, code: str, message: str = "", status: int = 0) -> None:
        row = ERRORS.get(code, (400, f"The emulator was asked to answer {code}."))
        self.code = code
        self.message = message or row[1]
        self.status = status or row[0]
        super().__init__(code)


# code -> HTTP status, message (reference 4.1).
ERRORS: dict[str, tuple[int, str]] = {
    "InvalidApiKey": (401, "Invalid API-key provided."),
    "AccessDenied": (403, "Access denied."),
    "AccessDenied.Unpurchased": (
        403,
        "Access to model denied. Please make sure you are eligible for using the model.",
    ),
    "Model.AccessDenied": (403, "Model access denied."),
    "App.AccessDenied": (403, "App access denied."),
    "Workspace.AccessDenied": (403, "Workspace access denied."),
    "Endpoint.AccessDenied": (403, "Workspace endpoint access denied."),
    "AllocationQuota.FreeTierOnly": (403, "The free tier of the model has been exhausted."),
    "Arrearage": (400, "Access denied, please make sure your account is in good standing."),
    "DataInspectionFailed": (400, "Input or output data may contain inappropriate content."),
    "data_inspection_failed": (400, "Input or output data may contain inappropriate content."),
    "IPInfringementSuspect": (400, "Input data is suspected of being involved in IP infringement."),
    "CustomRoleBlocked": (400, "Input or output data may contain inappropriate content with custom rule."),
    "FaqRuleBlocked": (400, "Input or output data is blocked by faq rule."),
    "InvalidParameter": (400, "Required body invalid, please check the request body format."),
    "InvalidParameter.DataInspection": (
        400,
        "Unable to download the media resource during the data inspection process.",
    ),
    "InvalidURL": (400, "Invalid URL provided."),
    "InvalidURL.ConnectionRefused": (400, "Connection to the URL refused."),
    "InvalidURL.Timeout": (400, "Download of the URL timeout."),
    "BadRequest.EmptyInput": (400, "Required input parameter missing from request."),
    "BadRequest.EmptyModel": (400, "Required parameter model missing from request."),
    "BadRequest.TooLarge": (400, "Payload Too Large"),
    "UnsupportedOperation": (400, "Failed to cancel the task, please confirm if the task is in PENDING status."),
    "ModelNotFound": (404, "Model can not be found."),
    "Model.NotExist": (404, "Model can not be found."),
    "WorkSpaceNotFound": (404, "WorkSpace can not be found."),
    "NotFound": (404, "Not found!"),
    "Conflict": (409, "Conflict."),
    "Throttling": (429, "Requests throttling triggered."),
    "Throttling.RateQuota": (429, "Requests rate limit exceeded, please try again later."),
    "Throttling.BurstRate": (429, "Request rate increased too quickly."),
    "Throttling.Concurrency": (429, "Too many concurrent requests."),
    "Throttling.AllocationQuota": (429, "Allocated quota exceeded, please increase your quota limit."),
    "LimitRequests": (429, "You have exceeded your request limit."),
    "CommodityNotPurchased": (429, "Commodity has not purchased yet."),
    "PrepaidBillOverdue": (429, "The prepaid bill is overdue."),
    "PostpaidBillOverdue": (429, "The postpaid bill is overdue."),
    "InternalError": (500, "An internal error has occured, please try again later or contact service support."),
    "InternalError.Algo": (500, "An internal error has occured during the algorithm process."),
    "InternalError.Timeout": (500, "An internal timeout error has occured during execution."),
    "SystemError": (500, "An system error has occured, please try again later."),
    "ModelServingError": (
        503,
        "Too many requests. Your requests are being throttled due to system capacity limits.",
    ),
    "ModelUnavailable": (503, "Model is unavailable, please try again later."),
    "ServiceUnavailable": (503, "Service is temporarily unavailable."),
    "GatewayTimeout": (504, "Gateway timeout."),
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


# --- faults --------------------------------------------------------------------------------------------------------


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


# --- the course of a task ------------------------------------------------------------------------------------------

# Fault -> the status in the first, second and last third of a task's time, and after it.
COURSES = {
    "": ("PENDING", "RUNNING", "RUNNING", "SUCCEEDED"),
    "fail": ("PENDING", "RUNNING", "RUNNING", "FAILED"),
    "canceled": ("PENDING", "RUNNING", "RUNNING", "CANCELED"),
    "suspended": ("PENDING", "SUSPENDED", "RUNNING", "SUCCEEDED"),
    "unknown": ("UNKNOWN",) * 4,
}
_TERMINAL = ("SUCCEEDED", "FAILED", "CANCELED", "UNKNOWN")


def speed(environ: Mapping[str, str]) -> float:
    """Read how many seconds a task takes; 0: it moves each time it is asked for. Raises ``config_error``."""
    text = environ.get("RAWGENAI_EMULATOR_SECONDS") or "3"
    if not re.fullmatch(r"\d{1,6}(\.\d+)?", text, re.ASCII):
        raise RawgenaiError("config_error", f"RAWGENAI_EMULATOR_SECONDS is {text!r}; it must be a number of seconds")
    return float(text)


def status_of(task: Task, now: float) -> str:
    """Say where a task stands: by the time since it was booked, or by how often it was asked for."""
    if now - task.created >= _DAY:
        return "UNKNOWN"
    if task.canceled:
        return "CANCELED"
    faults = read_faults(task.prompt)
    course = COURSES[next((name for name in COURSES if name in faults), "")]
    if task.seconds > 0:
        return course[min(3, max(0, int((now - task.created) * 3 / task.seconds)))]
    steps = tuple(dict.fromkeys(course))
    return steps[min(len(steps), max(1, task.polls)) - 1]


# --- what a task reports as its usage ------------------------------------------------------------------------------

# (series, mode) -> the fields of `usage`, in the API's order (reference 3.3).
_NEW = ("duration", "size", "input_video_duration", "output_video_duration", "video_count", "SR")
_NEW_TIERED = ("duration", "input_video_duration", "output_video_duration", "video_count", "SR", "audio")
_OLD = ("video_duration", "video_ratio", "video_count")
_OLD_TIERED = ("duration", "SR", "video_count")
_STANDARD = ("video_duration", "standard", "video_count")
USAGE = {
    ("wan2.6", "t2v"): _NEW,
    ("wan2.6", "i2v"): _NEW_TIERED,
    ("wan2.6", "r2v"): _NEW,
    ("wan2.5", "t2v"): _OLD,
    ("wan2.5", "i2v"): _OLD_TIERED,
    ("wan2.2", "t2v"): _OLD,
    ("wan2.2", "i2v"): _OLD_TIERED,
    ("wan2.2", "kf2v"): ("video_duration", "video_count", "SR"),
    ("wanx2.1", "t2v"): _OLD,
    ("wanx2.1", "i2v"): _STANDARD,
    ("wanx2.1", "kf2v"): _STANDARD,
    ("wanx2.1", "vace"): _STANDARD,
}
_REWRITTEN = ("wan2.5", "wan2.2", "wanx2.1")  # series that return actual_prompt; wan2.6 never does (reference 3.3)
_VIDEO_CAPS = (5, 5, 2.5, 1.65, 1.25, 1)  # seconds billed of each reference video, by the number of references
_DEFAULT_TIERS = {  # series -> the tier that the API draws where none is asked for, the first on offer (reference 2.3)
    "wan2.6": ("1080P",),
    "wan2.5": ("1080P",),
    "wan2.2": ("720P", "1080P"),
    "wanx2.1": ("720P",),
}


def usage_of(task: Task, row: Model) -> dict[str, Any]:
    """Build the `usage` of a task that succeeded."""
    size = f"{task.width}*{task.height}"
    total = task.duration + task.input_duration
    values: dict[str, tuple[str, Any]] = {
        "duration": ("duration", float(total) if row.mode == "r2v" else task.duration),
        "size": ("size", size),
        "input_video_duration": ("input_video_duration", _number(task.input_duration)),
        "output_video_duration": ("output_video_duration", task.duration),
        "video_count": ("video_count", 1),
        "SR": ("SR", task.tier),
        "video_duration": ("video_duration", task.duration),
        "video_ratio": ("video_ratio", size),
        "standard": ("video_ratio", "standard"),
        "audio": ("audio", task.sound),
    }
    told = (name for name in USAGE[row.series, row.mode] if name != "audio" or "audio" in row.features)
    return dict(values[name] for name in told)


def _number(value: float) -> float:
    return int(value) if value == int(value) else value


# --- calls ---------------------------------------------------------------------------------------------------------


class _Desk(NamedTuple):
    """One call being worked on."""

    call: Call
    groups: tuple[str, ...]  # what the route's pattern caught
    query: Mapping[str, str]
    store: Store
    now: float
    seconds: float
    new_id: Callable[[], str]
    secret: bytes
    account: str


def handle(
    call: Call,
    store: Store,
    *,
    now: float,
    seconds: float = 3.0,
    new_id: Callable[[], str] = lambda: str(uuid4()),
) -> Answer:
    """Answer one call; ``now`` is in Unix seconds, ``seconds`` is what a task booked now will take.

    Raises RawgenaiError ``config_error`` (the state folder cannot be used) and ``missing_extra`` (no PyAV for a clip).
    """
    path, _, query = call.target.partition("?")
    found = _find(call.method, path)
    if found is None:
        return refusal(Refused("NotFound"), now)
    route, groups = found
    try:
        _check_cap(call, route)
        secret = store.secret()
        account = _account(call.headers, secret, keyed=route.keyed)
        fields = dict(parse_qsl(query, keep_blank_values=True))
        answer = route.work(_Desk(call, groups, fields, store, now, seconds, new_id, secret, account))
    except Refused as refused:
        answer = (_error if route.keyed else _xml_error)(refused, new_id())
    return _sealed(answer, now)


def _sealed(answer: Answer, now: float) -> Answer:
    length = answer.length if answer.clip else len(answer.body)
    headers = {"date": formatdate(now, usegmt=True), "content-length": str(length), **answer.headers}
    return replace(answer, headers=headers)


def refusal(refused: Refused, now: float) -> Answer:
    """Write a refusal that the mount has to make, as ``handle`` would."""
    return _sealed(_error(refused, str(uuid4())), now)


def _find(method: str, path: str) -> tuple["Route", tuple[str, ...]] | None:
    for route in ROUTES:
        match = re.fullmatch(route.path, path)
        if route.method == method and match:
            return route, tuple(unquote(group) for group in match.groups())
    return None


def cap_of(method: str, target: str) -> int:
    """Say how many bytes the body of such a call may have."""
    found = _find(method, target.partition("?")[0])
    return found[0].cap if found else 0


def _check_cap(call: Call, route: "Route") -> None:
    if len(call.body) > route.cap:
        raise Refused("BadRequest.TooLarge", status=413)


def _account(headers: Mapping[str, str], secret: bytes, *, keyed: bool) -> str:
    said = headers.get("authorization", "")
    if not keyed:
        if said:  # a tripwire: the key must never leave the API's own host
            raise Refused("InvalidArgument", "The Authorization header must not be sent to this host.", 400)
        return ""
    scheme, _, key = said.partition(" ")
    if scheme != "Bearer" or not key.strip():
        raise Refused("InvalidApiKey", "No API-key provided.")
    if key.startswith("sk-invalid"):
        raise Refused("InvalidApiKey")
    return _sign(secret, "account", key.strip())[:16]


def _sign(secret: bytes, *parts: str) -> str:
    return hmac.new(secret, "\n".join(parts).encode(), hashlib.sha256).hexdigest()


def _json(status: int, document: Any, **headers: str) -> Answer:
    body = json.dumps(document, ensure_ascii=False).encode()
    return Answer(status, {"content-type": "application/json", **headers}, body)


def _error(refused: Refused, request_id: str) -> Answer:
    document = {"code": refused.code, "message": refused.message, "request_id": request_id}
    return _json(refused.status, document)


def _xml_error(refused: Refused, request_id: str) -> Answer:
    from xml.sax.saxutils import escape

    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Error>\n'
        f"  <Code>{escape(refused.code)}</Code>\n  <Message>{escape(refused.message)}</Message>\n"
        f"  <RequestId>{escape(request_id)}</RequestId>\n</Error>\n"
    )
    return Answer(refused.status, {"content-type": "application/xml"}, body.encode())


# --- create --------------------------------------------------------------------------------------------------------

_ENDPOINTS = {"kf2v": "image2video"}  # mode -> its endpoint; all others: video-generation (reference 1.1)
_OTHER_ENDPOINT = "video-generation"


def _endpoint(mode: str) -> str:
    return _ENDPOINTS.get(mode, _OTHER_ENDPOINT)


def _create(desk: _Desk) -> Answer:
    if desk.call.headers.get("x-dashscope-async") != "enable":
        raise Refused("AccessDenied", "current user api does not support synchronous calls.")
    body, row = _parse(desk)
    faults = read_faults(body.input.prompt)
    answer = _refusal(desk, faults, body)
    if answer is None:
        wire = next((name for name in ("hang", "reset", "close") if name in faults), "")
        answer = Answer(0) if wire and not faults[wire] else _book(desk, body, row)
        cut = len(answer.body) // 2 if "half" in faults else None
        answer = replace(answer, wire=wire, cut=cut)
    return replace(answer, delay=float(faults.get("slow", 0)))


def _parse(desk: _Desk) -> tuple[Any, Model]:
    from rawgenai.emulator import schema

    content_type = desk.call.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise Refused("InvalidParameter")
    try:
        document = json.loads(desk.call.body.decode(), parse_constant=_no_constant)
        if rb"\ud" in desk.call.body.lower():  # half a character, which no file and no answer could hold
            json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise Refused("InvalidParameter") from None
    if not isinstance(document, dict):
        raise Refused("InvalidParameter")
    if "model" not in document:
        raise Refused("InvalidParameter", "Field required: model")
    row = MODELS.get(document["model"]) if isinstance(document["model"], str) else None
    if row is None:
        raise Refused("InvalidParameter", "Model not exist.")
    if _endpoint(row.mode) != desk.groups[0]:
        raise Refused("InvalidParameter", "url error, please check url！")
    try:
        body = schema.parse_body(document, row)
    except ValueError as error:
        raise Refused("InvalidParameter", str(error)) from None
    _check_uploads(desk, [link for link in schema.links(body) if link.startswith("oss://")], row)
    return body, row


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _check_uploads(desk: _Desk, links: list[str], row: Model) -> None:
    if links and desk.call.headers.get("x-dashscope-ossresourceresolve") != "enable":
        message = "The provided URL does not appear to be valid. Ensure it is correctly formatted."
        raise Refused("InvalidParameter.DataInspection", message)
    for link in links:
        name = link.removeprefix("oss://")
        if not desk.store.uploaded(name, desk.account, row.name, desk.now - _UPLOAD_LIFE):
            raise Refused("InvalidParameter.DataInspection")


def _refusal(desk: _Desk, faults: Mapping[str, str], body: Any) -> Answer | None:
    """Answer without booking, where the prompt asks for it."""
    if "refuse" in faults:
        return _error(Refused(faults["refuse"]), desk.new_id())
    if "status" in faults:
        status = int(faults["status"])
        code = _STATUS_CODES.get(status, "InternalError" if status >= 500 else "InvalidParameter")
        answer = _error(Refused(code, status=status), desk.new_id())
        return replace(answer, body=b"") if status in (204, 304) else answer
    if "html" in faults:
        page = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
        return Answer(502, {"content-type": "text/html"}, page)
    if "retry-after" in faults:
        name = _sign(desk.secret, "throttle", desk.account, body.model, body.input.prompt)
        wait = desk.store.throttle(name, desk.now, float(faults["retry-after"]))
        if wait > 0:
            answer = _error(Refused("Throttling.RateQuota"), desk.new_id())
            return replace(answer, headers={**answer.headers, "retry-after": str(math.ceil(wait))})
    return None


def _book(desk: _Desk, body: Any, row: Model) -> Answer:
    desk.store.forget(desk.now - _UPLOAD_LIFE)
    task = _task(desk, body, row)
    desk.store.book(task)
    output = {"task_status": "PENDING", "task_id": task.task_id}
    return _json(200, {"output": output, "request_id": task.request_id})


def _task(desk: _Desk, body: Any, row: Model) -> Task:
    from rawgenai.emulator import schema

    tier = _tier(body, row)
    size = schema.field(body, "parameters", "size") or SIZES[tier][DEFAULT_RATIO]
    width, height = map(int, size.split("*"))
    references = schema.field(body, "input", "reference_urls") or []
    videos = sum(map(schema.is_video, references))
    return Task(
        task_id=desk.new_id(),
        request_id=desk.new_id(),
        account=desk.account,
        model=row.name,
        created=desk.now,
        seconds=desk.seconds,
        prompt=body.input.prompt,
        extended=body.parameters.prompt_extend is not False,
        width=width,
        height=height,
        tier=int(tier.removesuffix("P")),
        duration=schema.field(body, "parameters", "duration") or DEFAULT_DURATION,
        input_duration=videos * _VIDEO_CAPS[len(references)],
        sound="sound" in row.features and schema.field(body, "parameters", "audio") is not False,
        watermark=bool(body.parameters.watermark),
    )


def _tier(body: Any, row: Model) -> str:
    from rawgenai.emulator import schema

    default = next(tier for tier in _DEFAULT_TIERS[row.series] if tier in row.resolutions)
    if row.mode not in SIZED_MODES:
        return schema.field(body, "parameters", "resolution") or default
    size = body.parameters.size
    return next((tier for tier in row.resolutions if size in SIZES[tier].values()), default)


# --- status, cancel, list ------------------------------------------------------------------------------------------


def _status(desk: _Desk) -> Answer:
    task_id = desk.groups[0]
    task = desk.store.change(task_id, lambda task: _polled(task, desk.account))
    status = status_of(task, desk.now) if task and task.account == desk.account else "UNKNOWN"
    document: dict[str, Any] = {"request_id": desk.new_id()}
    if task is None or status in ("UNKNOWN", "CANCELED"):
        document["output"] = {"task_id": task_id, "task_status": status}
        return _json(200, document)
    document["output"] = {"task_id": task_id, "task_status": status, **_times(task, status)}
    faults = read_faults(task.prompt)
    if status == "FAILED":
        refused = Refused(faults["fail"])
        document["output"] |= {"code": refused.code, "message": refused.message}
    if status == "SUCCEEDED":
        document["output"] |= _prompts(task)
        document["usage"] = usage_of(task, MODELS[task.model])
        if "no-video" not in faults:
            document["output"]["video_url"] = _clip_url(desk, task, "expire" in faults)
    return _json(200, document)


def _polled(task: Task, account: str) -> Task:
    if task.seconds > 0 or task.account != account:
        return task
    return replace(task, polls=task.polls + 1)


def _times(task: Task, status: str) -> dict[str, str]:
    told = {"submit_time": task.created}
    if status != "PENDING":
        told["scheduled_time"] = task.created + task.seconds / 3
    if status in _TERMINAL:
        told["end_time"] = task.created + task.seconds
    return {name: _china_time(moment) for name, moment in told.items()}


def _china_time(moment: float) -> str:
    return datetime.fromtimestamp(moment, _CHINA).isoformat(" ", "milliseconds").removesuffix("+08:00")


def _prompts(task: Task) -> dict[str, str]:
    if not task.prompt:
        return {}
    row = MODELS[task.model]
    prompts = {"orig_prompt": task.prompt}
    if task.extended and row.series in _REWRITTEN:
        prompts["actual_prompt"] = f"{task.prompt} (rewritten by the emulator)"
    return prompts


def _cancel(desk: _Desk) -> Answer:
    def cancel(task: Task) -> Task:
        if task.account != desk.account or status_of(task, desk.now) != "PENDING":
            raise Refused("UnsupportedOperation")
        return replace(task, canceled=True)

    if desk.store.change(desk.groups[0], cancel) is None:
        raise Refused("UnsupportedOperation")
    return _json(200, {"request_id": desk.new_id()})


def _list(desk: _Desk) -> Answer:
    page, size = _whole(desk.query, "page_no", 1), _whole(desk.query, "page_size", 10)
    start, end = _window(desk)
    wanted = {"task_id": desk.query.get("task_id"), "model_name": desk.query.get("model_name")}
    wanted["status"] = desk.query.get("status")
    rows = [
        row
        for task in desk.store.tasks(desk.account)
        if start <= task.created <= end and (row := _listed(task, desk.now))["status"] != "UNKNOWN"
        if all(value in (None, "", row[name]) for name, value in wanted.items())
    ]
    document = {
        "total": len(rows),
        "total_page": -(-len(rows) // size),
        "page_no": page,
        "page_size": size,
        "request_id": desk.new_id(),
        "data": rows[(page - 1) * size : page * size],
    }
    return _json(200, document)


def _whole(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name) or str(default)
    if not re.fullmatch(r"[1-9]\d{0,5}", text, re.ASCII):
        raise Refused("InvalidParameter", f"{name} must be a positive integer")
    return int(text)


def _window(desk: _Desk) -> tuple[float, float]:
    """Read start_time and end_time, ``YYYYMMDDhhmmss`` in UTC+8; the last 24 hours where neither is given."""
    given = {name: desk.query[name] for name in ("start_time", "end_time") if desk.query.get(name)}
    try:
        read = {
            name: datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=_CHINA).timestamp()
            for name, text in given.items()
        }
    except ValueError:
        raise Refused("InvalidParameter", "start_time and end_time must be YYYYMMDDhhmmss") from None
    end = read.get("end_time", read["start_time"] + _DAY if "start_time" in read else desk.now) + 0.999
    start = read.get("start_time", end - _DAY)
    if not 0 <= end - start <= _DAY + 1:
        raise Refused("InvalidParameter", "start_time and end_time must be at most 24 hours apart")
    return start, end


def _listed(task: Task, now: float) -> dict[str, Any]:
    status = status_of(task, now)
    row = {
        "api_key_id": task.account,
        "caller_parent_id": task.account,
        "caller_uid": task.account,
        "gmt_create": int(task.created * 1000),
        "model_name": task.model,
        "region": "cn-beijing",
        "request_id": task.request_id,
        "status": status,
        "task_id": task.task_id,
        "user_api_unique_key": f"apikey:v1:aigc:{_endpoint(MODELS[task.model].mode)}:video-synthesis:{task.model}",
    }
    if status != "PENDING":
        row["start_time"] = int((task.created + task.seconds / 3) * 1000)
    if status in _TERMINAL:
        row["end_time"] = int((task.created + task.seconds) * 1000)
    return row


# --- uploads -------------------------------------------------------------------------------------------------------


def _policy(desk: _Desk) -> Answer:
    model = desk.query.get("model", "")
    if desk.query.get("action") != "getPolicy":
        raise Refused("InvalidParameter", "action must be getPolicy")
    if model not in MODELS:
        raise Refused("InvalidParameter", "Model not exist.")
    day = datetime.fromtimestamp(desk.now, _CHINA).date()
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
        "signature": _sign(desk.secret, "policy", text),
        "upload_dir": folder,
        "upload_host": f"{desk.call.origin}/upload",
        "expire_in_seconds": _POLICY_LIFE,
        "max_file_size_mb": _UPLOAD_MB,
        "capacity_limit_mb": 999999999,
        "oss_access_key_id": _ACCESS_KEY_ID,
        "x_oss_object_acl": "private",
        "x_oss_forbid_overwrite": "true",
    }
    return _json(200, {"request_id": desk.new_id(), "data": data})


class _FormParts(NamedTuple):
    fields: Mapping[str, str]  # those before the file; what follows it is not read, as OSS does
    size: int | None  # bytes of the file; None: there is none


def _upload(desk: _Desk) -> Answer:
    form = _parse_form(desk.call)
    policy = _check_policy(desk, form)
    if form.size is None:
        raise Refused("IncorrectNumberOfFilesInPOSTRequest", "POST requires exactly one file upload per request.", 400)
    for condition in policy["conditions"]:
        _check_condition(condition, form)
    name = form.fields["key"]
    if not desk.store.upload(name, policy["emulator"]["account"], policy["emulator"]["model"], desk.now):
        message = "The object you specified already exists and can not be overwritten."
        raise Refused("FileAlreadyExists", message, 409)
    return Answer(200 if form.fields.get("success_action_status") == "200" else 204)


def _check_policy(desk: _Desk, form: _FormParts) -> Any:
    """Return the policy that the form came with, once it is known to be ours and still good."""
    fields = form.fields
    for name in ("OSSAccessKeyId", "policy", "Signature", "key"):
        if not fields.get(name):
            raise Refused("InvalidArgument", f"Missing required field: {name} (fields must precede the file).", 400)
    if fields["OSSAccessKeyId"] != _ACCESS_KEY_ID:
        raise Refused("InvalidAccessKeyId", "The OSS Access Key Id you provided does not exist in our records.", 403)
    if not hmac.compare_digest(fields["Signature"].encode(), _sign(desk.secret, "policy", fields["policy"]).encode()):
        message = "The request signature we calculated does not match the signature you provided."
        raise Refused("SignatureDoesNotMatch", message, 403)
    policy = json.loads(base64.b64decode(fields["policy"]))
    if desk.now >= policy["emulator"]["expires"]:
        raise Refused("AccessDenied", "Invalid according to Policy: Policy expired.", 403)
    return policy


def _check_condition(condition: Any, form: _FormParts) -> None:
    match condition:
        case ["content-length-range", low, high]:
            if not low <= (form.size or 0) <= high:
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
    """Read multipart/form-data up to the file, whose bytes are counted and not copied."""
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
            return _FormParts(fields, end - head_end - 4)
        fields[name[1]] = call.body[head_end + 4 : end].decode(errors="replace")
        start = end + len(mark) + 4
        if call.body[start - 2 : start] != b"\r\n":
            return _FormParts(fields, None)


# --- clips ---------------------------------------------------------------------------------------------------------


def _clip_path(task_id: str) -> str:
    return f"/clips/{task_id}.mp4"


def _clip_url(desk: _Desk, task: Task, expired: bool) -> str:
    expires = str(int(task.created) - 1 if expired else int(task.created + task.seconds) + _DAY)
    signature = _sign(desk.secret, "clip", task.task_id, expires)
    query = f"Expires={expires}&OSSAccessKeyId={_ACCESS_KEY_ID}&Signature={signature}"
    return f"{desk.call.origin}{_clip_path(task.task_id)}?{query}"


def _clip(desk: _Desk) -> Answer:
    task_id, expires = desk.groups[0], desk.query.get("Expires", "")
    signature = desk.query.get("Signature", "")
    if not hmac.compare_digest(signature.encode(), _sign(desk.secret, "clip", task_id, expires).encode()):
        message = "The request signature we calculated does not match the signature you provided."
        raise Refused("SignatureDoesNotMatch", message, 403)
    if desk.now > int(expires):
        raise Refused("AccessDenied", "Request has expired.", 403)
    task = desk.store.task(task_id)
    if task is None:
        raise Refused("NoSuchKey", "The specified key does not exist.", 404)
    faults = read_faults(task.prompt)
    answer = _serve(desk.store.clip(task, MODELS[task.model].mode), desk.call.headers, ranged="range" not in faults)
    return replace(answer, cut=int(faults["cut"]) if "cut" in faults else None)


def _serve(clip: Path, headers: Mapping[str, str], *, ranged: bool) -> Answer:
    facts = clip.stat()
    size = facts.st_size
    etag = f'"{facts.st_mtime_ns:X}-{size:X}"'
    modified = formatdate(facts.st_mtime, usegmt=True)
    told = {"content-type": "video/mp4", "etag": etag, "last-modified": modified}
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
        answer = _xml_error(refused, etag)
        return replace(answer, headers={**answer.headers, "content-range": f"bytes */{size}"})
    told["content-range"] = f"bytes {start}-{end}/{size}"
    return Answer(206, told, clip=clip, start=start, length=end - start + 1)


# --- routes --------------------------------------------------------------------------------------------------------


class Route(NamedTuple):
    """One call of the API."""

    method: str
    path: str  # a pattern of the whole path
    work: Callable[[_Desk], Answer]
    keyed: bool  # the API key is needed; elsewhere it is refused
    cap: int = 0  # bytes of body


ROUTES = (
    Route("POST", r"/api/v1/services/aigc/(video-generation|image2video)/video-synthesis/?", _create, True, JSON_CAP),
    Route("GET", r"/api/v1/tasks/?", _list, True),
    Route("GET", r"/api/v1/tasks/([^/]+)", _status, True),
    Route("POST", r"/api/v1/tasks/([^/]+)/cancel", _cancel, True, 4096),
    Route("GET", r"/api/v1/uploads", _policy, True),
    Route("POST", r"/upload", _upload, False, FORM_CAP),
    Route("GET", r"/clips/([0-9a-f-]{36})\.mp4", _clip, False),
)
