"""What the emulator answers: ``handle(call) -> Answer``. The routes, and what becomes of a task.

Everything that differs between calls is in the call, the clock or the store, so a test needs no socket. Where a fault
must be acted out on the wire, the answer says so, and the mount (``server``, or ``sender`` in process) acts.

Sources: the API reference, sections 1 (headers) and 3 (tasks).
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, unquote
from uuid import uuid4

from rawgenai.dashscope.models import DEFAULT_RATIO, MODELS, SIZES, Model
from rawgenai.emulator import clips, series, uploads
from rawgenai.emulator.answers import (
    CHINA,
    Answer,
    Call,
    Desk,
    Refused,
    error_answer,
    json_answer,
    refusal,
    seal,
    sign,
    xml_error_answer,
)
from rawgenai.emulator.faults import COURSES, answer_instead, read_faults
from rawgenai.emulator.store import Store, Task
from rawgenai.errors import RawgenaiError

if TYPE_CHECKING:
    from rawgenai.emulator.inputs import Seen

JSON_CAP = 80 * 1024 * 1024  # bytes of a body (faults.md, J5)

_DAY = 24 * 3600  # seconds; a task id lives that long, and a list spans no more (reference 3.4)


# --- calls ---------------------------------------------------------------------------------------------------------


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
        answer = route.work(Desk(call, groups, fields, store, now, seconds, new_id, secret, account))
    except Refused as refused:
        answer = (error_answer if route.keyed else xml_error_answer)(refused, new_id())
    return seal(answer, now)


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
    return sign(secret, "account", key.strip())[:16]


# --- the course of a task ------------------------------------------------------------------------------------------

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


# --- create --------------------------------------------------------------------------------------------------------


def _create(desk: Desk) -> Answer:
    if desk.call.headers.get("x-dashscope-async") != "enable":
        raise Refused("AccessDenied", "current user api does not support synchronous calls.")
    body, row = _parse(desk)
    seen = _inspect(desk, body, row)
    faults = read_faults(body.input.prompt)
    answer = answer_instead(desk, faults, body)
    if answer is None:
        wire = next((name for name in ("hang", "reset", "close") if name in faults), "")
        answer = Answer(0) if wire and not faults[wire] else _book(desk, body, row, seen)
        cut = len(answer.body) // 2 if "half" in faults else None
        answer = replace(answer, wire=wire, cut=cut)
    return replace(answer, delay=float(faults.get("slow", 0)))


def _parse(desk: Desk) -> tuple[Any, Model]:
    from rawgenai.emulator import bodies, schema

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
    if series.endpoint_of(row.mode) != desk.groups[0]:
        raise Refused("InvalidParameter", "url error, please check url！")
    try:
        body = schema.parse_body(document, row)
    except ValueError as error:
        raise Refused("InvalidParameter", str(error)) from None
    uploads.check_links(desk, [link for link in bodies.links(body) if link.startswith("oss://")], row)
    return body, row


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _inspect(desk: Desk, body: Any, row: Model) -> list["Seen"]:
    """Look at the media that came along or was uploaded, and compare them where they must fit together."""
    from rawgenai.emulator import bodies, inputs, vace

    try:
        seen = inputs.inspect(body.input, row.limits, desk.store.uploaded_file)
        inputs.check_videos(seen, bodies.count_named_videos(body), row.max_ref_videos)
        if row.dialect == "vace":
            vace.check_seen(body, seen)
    except inputs.Unfit as unfit:
        raise Refused(unfit.code, unfit.message, 400) from None
    if row.total_seconds is not None:
        videos = sum(one.seconds or 0 for one in seen if one.field == "reference_video")
        if videos and videos + series.seconds_of(body, row, seen) > row.total_seconds:
            raise Refused("InvalidParameter", f"The videos must be at most {row.total_seconds}s long in all.")
    return seen


def _book(desk: Desk, body: Any, row: Model, seen: list["Seen"]) -> Answer:
    from rawgenai.emulator import inputs

    desk.store.forget(desk.now - uploads.UPLOAD_LIFE)
    task = _task(desk, body, row, seen)
    names = desk.store.keep(task.task_id, [one.source for one in seen])
    kept = [(name, one.field) for name, one in zip(names, seen, strict=True)]
    shown = [(name, field) for name, field in kept if field not in (*inputs.MUSIC, inputs.VOICE)]
    music = next((name for name, field in kept if field in inputs.MUSIC), "")
    pictures, fields = [name for name, _ in shown], [field for _, field in shown]
    desk.store.book(replace(task, pictures=pictures, fields=fields, music=music))
    output = {"task_status": "PENDING", "task_id": task.task_id}
    return json_answer(200, {"output": output, "request_id": task.request_id})


def _task(desk: Desk, body: Any, row: Model, seen: list["Seen"]) -> Task:
    from rawgenai.emulator import bodies

    tier = series.tier_of(body, row)
    if row.dialect != "classic":
        pixels = series.vace_pixels if row.dialect == "vace" else series.pixels_of
        width, height = pixels(body, row, seen)
    else:
        asked = bodies.field(body, "parameters", "size") or SIZES[tier][DEFAULT_RATIO]
        width, height = series.size_of(asked, row, seen)
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
        duration=series.seconds_of(body, row, seen),
        input_duration=series.billed_seconds(body, row, seen),
        mode=series.mode_of(body, row),
        scales=series.scales_of(body, row),
        sound="sound" in row.features and bodies.field(body, "parameters", "audio") is not False,
        watermark=bool(body.parameters.watermark),
    )


# --- status, cancel, list ------------------------------------------------------------------------------------------


def _status(desk: Desk) -> Answer:
    task_id = desk.groups[0]
    task = desk.store.change(task_id, lambda task: _polled(task, desk.account))
    status = status_of(task, desk.now) if task and task.account == desk.account else "UNKNOWN"
    document: dict[str, Any] = {"request_id": desk.new_id()}
    if task is None or status in ("UNKNOWN", "CANCELED"):
        document["output"] = {"task_id": task_id, "task_status": status}
        return json_answer(200, document)
    document["output"] = {"task_id": task_id, "task_status": status, **_times(task, status)}
    faults = read_faults(task.prompt)
    if status == "FAILED":
        refused = Refused(faults["fail"])
        document["output"] |= {"code": refused.code, "message": refused.message}
    if status == "SUCCEEDED":
        document["output"] |= series.prompts_of(task)
        document["usage"] = series.usage_of(task, MODELS[task.model])
        if "no-video" not in faults:
            document["output"]["video_url"] = clips.clip_url(desk, task, "expire" in faults)
    return json_answer(200, document)


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
    return datetime.fromtimestamp(moment, CHINA).isoformat(" ", "milliseconds").removesuffix("+08:00")


def _cancel(desk: Desk) -> Answer:
    def cancel(task: Task) -> Task:
        if task.account != desk.account or status_of(task, desk.now) != "PENDING":
            raise Refused("UnsupportedOperation")
        return replace(task, canceled=True)

    if desk.store.change(desk.groups[0], cancel) is None:
        raise Refused("UnsupportedOperation")
    return json_answer(200, {"request_id": desk.new_id()})


def _list(desk: Desk) -> Answer:
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
    return json_answer(200, document)


def _whole(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name) or str(default)
    if not re.fullmatch(r"[1-9]\d{0,5}", text, re.ASCII):
        raise Refused("InvalidParameter", f"{name} must be a positive integer")
    return int(text)


def _window(desk: Desk) -> tuple[float, float]:
    """Read start_time and end_time, ``YYYYMMDDhhmmss`` in UTC+8; the last 24 hours where neither is given."""
    given = {name: desk.query[name] for name in ("start_time", "end_time") if desk.query.get(name)}
    try:
        read = {
            name: datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=CHINA).timestamp()
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
    endpoint = series.endpoint_of(MODELS[task.model].mode)
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
        "user_api_unique_key": f"apikey:v1:aigc:{endpoint}:video-synthesis:{task.model}",
    }
    if status != "PENDING":
        row["start_time"] = int((task.created + task.seconds / 3) * 1000)
    if status in _TERMINAL:
        row["end_time"] = int((task.created + task.seconds) * 1000)
    return row


# --- routes --------------------------------------------------------------------------------------------------------


class Route(NamedTuple):
    """One call of the API."""

    method: str
    path: str  # a pattern of the whole path
    work: Callable[[Desk], Answer]
    keyed: bool  # the API key is needed; elsewhere it is refused
    cap: int = 0  # bytes of body


ROUTES = (
    Route("POST", r"/api/v1/services/aigc/(video-generation|image2video)/video-synthesis/?", _create, True, JSON_CAP),
    Route("GET", r"/api/v1/tasks/?", _list, True),
    Route("GET", r"/api/v1/tasks/([^/]+)", _status, True),
    Route("POST", r"/api/v1/tasks/([^/]+)/cancel", _cancel, True, 4096),
    Route("GET", r"/api/v1/uploads", uploads.grant_upload, True),
    Route("POST", r"/upload", uploads.take_upload, False, uploads.FORM_CAP),
    Route("GET", r"/clips/([0-9a-f-]{36})\.mp4", clips.serve_clip, False),
)
