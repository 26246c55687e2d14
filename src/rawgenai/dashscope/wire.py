"""DashScope's own language: Spec -> Request, Response -> Task, and what an answer means. Pure.

Answers are parsed here by hand, leniently and once; nothing behind this door sees a foreign shape. Whether sending
again is safe is judged here too (design section 5); the loop that sends is in exchange.py. What the hosts of uploads
and clips speak is in oss.py.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from rawgenai.dashscope.models import (
    DEFAULT_RATIO,
    DEFAULT_RESOLUTION,
    SIZED_MODES,
    SIZES,
    Model,
)
from rawgenai.dashscope.rules import kind_of, normal_size, roles
from rawgenai.dashscope.spec import INLINE, INPUTS, Input, Spec, media_of
from rawgenai.errors import RawgenaiError
from rawgenai.message import Media, NotSent, Request, Response, Unknown, parse_json

if TYPE_CHECKING:
    from rawgenai.dashscope.vace import Function

# --- Spec -> Request ---------------------------------------------------------------------------------------------

_PATHS = {"kf2v": "services/aigc/image2video/video-synthesis"}  # reference 1.1
_PATH = "services/aigc/video-generation/video-synthesis"


def create_request(spec: Spec, model: Model) -> Request:
    """Write the request that creates a task: exactly what the API knows of this model, and nothing else.

    A Media leaf that is still in the Spec travels inline.
    """
    texts = {"prompt": spec.prompt, "negative_prompt": spec.negative}
    media = _MEDIA[model.dialect](spec, model)
    body = {
        "model": model.name,
        "input": {key: value for key, value in {**texts, **media}.items() if value},
        "parameters": parameters_of(spec, model),
    }
    headers = {"X-DashScope-Async": "enable"}
    if any(isinstance(leaf, str) and leaf.startswith("oss://") for _, leaf in media_of(spec)):
        headers["X-DashScope-OssResourceResolve"] = "enable"
    return Request("POST", _PATHS.get(model.mode, _PATH), headers, body)


def parameters_of(spec: Spec, model: Model) -> dict[str, Any]:
    """Write what decides about the clip: size or tier, length, sound and the rest; a bill is read from it, too."""
    parameters = _SHAPES[model.dialect](spec, model)
    duration = model.default_duration if spec.duration is None and model.durations else spec.duration
    if model.mode != "kf2v" and duration is not None:  # a key-frame clip's length is no parameter (ruling 3)
        parameters["duration"] = duration
    if "prompt_extend" in model.features:
        parameters["prompt_extend"] = spec.prompt_extend is not False
    if spec.shot_type is not None:
        parameters["shot_type"] = spec.shot_type
    if "audio" in model.features:
        parameters["audio"] = bool(spec.audio or spec.audio_url)
    if spec.no_audio:
        parameters["audio"] = False
    if spec.audio_setting is not None:
        parameters["audio_setting"] = spec.audio_setting
    parameters["watermark"] = bool(spec.watermark)
    if spec.seed is not None:
        parameters["seed"] = spec.seed
    return parameters


# --- its dialects ---


def _classic_media(spec: Spec, model: Model) -> dict[str, Any]:  # noqa: ARG001 - the dialects are called alike
    """A field for each piece of media."""
    return {row.key: _leaves(getattr(spec, row.name)) for row in INPUTS if row.key}


def _leaves(value: Any) -> Any:
    """Write several values as JSON does."""
    return list(value) if isinstance(value, tuple) else value


def _classic_shape(spec: Spec, model: Model) -> dict[str, Any]:
    """Exact pixels, or a tier where the clip has its image's shape."""
    resolution = spec.resolution or DEFAULT_RESOLUTION
    if model.mode not in SIZED_MODES:
        return {"resolution": resolution}
    return {"size": normal_size(spec.size) if spec.size else SIZES[resolution][spec.ratio or DEFAULT_RATIO]}


def _media_list(spec: Spec, model: Model) -> dict[str, Any]:
    """All media in one list, each with what it is for; another sound has a field of its own (reference 2.4)."""
    voices = dict(enumerate(spec.ref_voices or ()))
    listed = [
        ("first_frame", spec.first_frame if spec.image is None else spec.image, None),
        ("first_clip", spec.first_clip, None),
        ("last_frame", spec.last_frame, None),
        ("video", spec.video, None),
        *((f"reference_{kind_of(ref)}", ref, voices.get(place)) for place, ref in enumerate(spec.refs or ())),
        (model.audio_type, spec.audio_url if model.audio_type else None, None),
    ]
    media = [
        {"type": name, "url": leaf} | ({"reference_voice": voice} if voice else {})
        for name, leaf, voice in listed
        if leaf is not None
    ]
    return {"audio_url": None if model.audio_type else spec.audio_url, "media": media}


def _vace_media(spec: Spec, model: Model) -> dict[str, Any]:  # noqa: ARG001 - the dialects are called alike
    """A function, a field for each of its inputs, and what says more of one of them (reference 2.6)."""
    row = _function(spec)
    media = {key: _leaves(getattr(spec, name)) for name, key in row.inputs.items()}
    return {"function": row.key, **media, **_vace_parameters(spec, "input")}


def _vace_shape(spec: Spec, model: Model) -> dict[str, Any]:
    """Exact pixels where the clip does not follow a video, and what the function takes besides."""
    row = _function(spec)
    asked = any((spec.size, spec.ratio, spec.resolution))
    shape = _classic_shape(spec, model) if row.shape == "said" or (row.shape == "asked" and asked) else {}
    return {**shape, **_vace_parameters(spec, "parameters")}


def _vace_parameters(spec: Spec, part: str) -> dict[str, Any]:
    """Write the parameters that were given, and those that are said in any case."""
    found = {}
    for each in _function(spec).parameters:
        value = getattr(spec.vace, each.name)
        if value is None and each.said and getattr(spec, each.beside) is not None:
            value = each.default
        if value is not None and each.part == part:
            found[each.key] = _leaves(value)
    return found


def _function(spec: Spec) -> "Function":
    from rawgenai.dashscope.vace import FUNCTIONS

    return FUNCTIONS[spec.vace.function if spec.vace else ""]


def _ratioed_shape(spec: Spec, model: Model) -> dict[str, Any]:
    """A tier, and a ratio where nothing that goes in has the clip's shape already."""
    ratio = spec.ratio or (model.default_ratio if model.ratios else None)
    follows = any(role in model.follows for role in roles(spec, model))
    return {"resolution": spec.resolution or DEFAULT_RESOLUTION} | ({"ratio": ratio} if ratio and not follows else {})


# A row's dialect (models.DIALECTS) -> how it writes media, and how it writes the clip's shape.
_MEDIA: Mapping[str, Callable[[Spec, Model], dict[str, Any]]] = {
    "classic": _classic_media,
    "media": _media_list,
    "vace": _vace_media,
}
_SHAPES: Mapping[str, Callable[[Spec, Model], dict[str, Any]]] = {
    "classic": _classic_shape,
    "media": _ratioed_shape,
    "vace": _vace_shape,
}


def inline_limit(row: Input, leaf: Media, model: Model) -> int:
    """Say up to how many bytes a local file travels inside a model's request: every image in the media dialect."""
    if model.dialect == "media":
        return INLINE if leaf.mime.startswith("image/") else 0
    return row.inline if model.dialect == "classic" else 0


def digest(request: Request, *more: Any) -> str:
    """Name what a request asks for: equal for equal fields and equal contents of its sealed files.

    ``more`` is what else two requests must share to count as the same.
    """
    import json
    from hashlib import sha256

    def content(leaf: Media) -> Any:
        return {"content": leaf.digest or leaf.path}

    text = json.dumps([request.url, request.body, more], ensure_ascii=False, sort_keys=True, default=content)
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def to_upload(spec: Spec, model: Model) -> dict[Media, Input]:
    """List the local files that cannot travel inside the request, each with the input that names it."""
    return {
        leaf: row
        for row, leaf in media_of(spec)
        if isinstance(leaf, Media) and leaf.size > inline_limit(row, leaf, model)
    }


# --- the other requests ------------------------------------------------------------------------------------------


def status_request(task_id: str) -> Request:
    """Ask what became of a task. Raises RawgenaiError: `missing_task_id`, `invalid_task_id`."""
    check_task_id(task_id)
    return Request("GET", f"tasks/{task_id}")


def cancel_request(task_id: str) -> Request:
    """Ask that a pending task never starts (reference 3.4). Raises RawgenaiError as ``status_request``."""
    check_task_id(task_id)
    return Request("POST", f"tasks/{task_id}/cancel")


PAGE = 100  # tasks that one answer lists
_CHINA = timezone(timedelta(hours=8))  # of every time that the API states without a zone


def list_request(since: float, until: float, page: int = 1) -> Request:
    """Ask for the tasks of the account that were created between two moments, at most 24 hours apart (reference 3.4).

    The moments are UTC, in seconds since 1970; ``page`` counts from 1.
    """
    start, end = (f"{datetime.fromtimestamp(moment, _CHINA):%Y%m%d%H%M%S}" for moment in (since, until))
    return Request("GET", f"tasks/?start_time={start}&end_time={end}&page_no={page}&page_size={PAGE}")


def check_request() -> Request:
    """Ask for next to nothing: whether the API is there, and takes the key."""
    return Request("GET", "tasks/?page_size=1")


_TASK_ID = re.compile("[A-Za-z0-9_-]{1,128}")


def check_task_id(task_id: str) -> None:
    """Refuse what cannot be a task's id, before it becomes part of a URL (ruling 22)."""
    if not task_id:
        raise RawgenaiError("missing_task_id")
    if not _TASK_ID.fullmatch(task_id):
        shown = task_id if len(task_id) <= 60 else f"{task_id[:60]}..."
        raise RawgenaiError("invalid_task_id", f"{shown!r} is no task id: 1 to 128 letters, digits, '-' and '_'")


def policy_request(model: Model) -> Request:
    """Ask for leave to upload files for a model (reference section 5)."""
    return Request("GET", f"uploads?action=getPolicy&model={model.name}")


class Policy(NamedTuple):
    """Leave to upload files for one model, for a few minutes."""

    host: str
    folder: str
    fields: Mapping[str, str]
    max_bytes: int
    seconds: float  # how long it is valid


def parse_policy(response: Response) -> Policy:
    """Read the answer to ``policy_request``. Raises RawgenaiError."""
    data = parse_object(response).get("data")
    names = {
        "OSSAccessKeyId": "oss_access_key_id",
        "Signature": "signature",
        "policy": "policy",
        "x-oss-object-acl": "x_oss_object_acl",
        "x-oss-forbid-overwrite": "x_oss_forbid_overwrite",
    }
    wanted = (*names.values(), "upload_host", "upload_dir")
    if not isinstance(data, dict) or not all(isinstance(data.get(name), str) for name in wanted):
        raise RawgenaiError("server_error", "the API's leave to upload is incomplete")
    fields = {field: data[name] for field, name in names.items()}
    megabytes = _number(data.get("max_file_size_mb")) or 100
    seconds = _number(data.get("expire_in_seconds")) or 300
    return Policy(data["upload_host"], data["upload_dir"].strip("/"), fields, int(megabytes * 1024 * 1024), seconds)


# --- Response -> Task --------------------------------------------------------------------------------------------

# Their word -> ours (reference 3.2, ruling 12). A word that is not here is no terminal status.
STATUSES = {
    "PENDING": "pending",
    "SUSPENDED": "pending",
    "RUNNING": "running",
    "SUCCEEDED": "succeeded",
    "FAILED": "failed",
    "CANCELED": "canceled",
    "CANCELLED": "canceled",
}
TERMINAL = ("succeeded", "failed", "canceled")


class Task(NamedTuple):
    """The provider's record of the work."""

    task_id: str
    status: str  # pending, running, succeeded, failed or canceled
    request_id: str | None = None
    duration: float | int | None = None  # seconds of the clip
    resolution: int | None = None  # its tier: 480, 720, 1080
    video_url: str | None = None  # valid for 24 hours
    orig_prompt: str | None = None
    actual_prompt: str | None = None  # as the API rewrote it
    api_code: str | None = None  # why it failed, in the API's words
    api_message: str | None = None


def to_json(task: Task) -> str:
    """Write what a task became, for the ledger."""
    import json

    return json.dumps({name: value for name, value in task._asdict().items() if value is not None}, ensure_ascii=False)


def from_json(text: str) -> Task:
    """Read what ``to_json`` wrote."""
    import json

    return Task(**json.loads(text))


def parse_object(response: Response) -> dict[str, Any]:
    """Read an answer that must be a JSON object and no refusal. Raises RawgenaiError."""
    body = _json_object(response)
    if response.status != 200 or (body.get("code") and "output" not in body):
        raise _refusal(response, body)
    return body


def parse_created(response: Response) -> Task:
    """Read the answer to ``create_request``.

    Raises RawgenaiError; with ``outcome="unknown"`` where the answer does not prove that nothing was accepted.
    """
    try:
        return _created(parse_object(response))
    except RawgenaiError as error:
        if not _is_refusal(response):
            raise unknown(error) from error
        raise


def _created(body: Mapping[str, Any]) -> Task:
    output, request_id = _dict(body.get("output")), _text(body.get("request_id"))
    task_id = _text(output.get("task_id")) or ""
    if not _TASK_ID.fullmatch(task_id):  # none, or one that nobody could ask for
        message = f"the answer names no task (its task_id is {task_id!r:.200})"
        raise RawgenaiError("server_error", message, request_id=request_id)
    status = STATUSES.get(str(output.get("task_status")), "pending")
    return Task(task_id=task_id, status=status, request_id=request_id)


def unknown(error: RawgenaiError) -> RawgenaiError:
    """Say of an error that the task may have been accepted all the same (design section 5)."""
    advice = "the task may have been accepted: settle it with `rawgenai dashscope video recover` before you repeat this"
    return RawgenaiError(
        error.code,
        f"{error.message}; {advice}",
        api_code=error.api_code,
        request_id=error.request_id,
        outcome="unknown",
    )


def parse_task(response: Response, task_id: str) -> Task:
    """Read the answer to ``status_request``. Raises RawgenaiError; `task_not_found` where there is no such task."""
    if response.status == 404:
        raise _not_found(task_id, None)
    body = parse_object(response)
    output, usage = _dict(body.get("output")), _dict(body.get("usage"))
    word = _text(output.get("task_status"))
    if word is None:
        raise RawgenaiError("server_error", "the answer names no status")
    if output.get("task_id", task_id) != task_id:
        raise RawgenaiError("server_error", "the answer is about another task")
    request_id = _text(body.get("request_id"))
    if word.upper() == "UNKNOWN":
        raise _not_found(task_id, request_id)
    return Task(
        task_id=task_id,
        status=STATUSES.get(word.upper(), "running"),
        request_id=request_id,
        duration=_first_number(usage, "output_video_duration", "duration", "video_duration"),
        resolution=_resolution(usage),
        video_url=_text(output.get("video_url")) or _text(_dict(output.get("results")).get("video_url")),
        orig_prompt=_text(output.get("orig_prompt")),
        actual_prompt=_text(output.get("actual_prompt")),
        api_code=_text(output.get("code")),
        api_message=_text(output.get("message")),
    )


class Listed(NamedTuple):
    """A task as the API's list shows it: without prompt and clip."""

    task_id: str
    request_id: str | None  # of the answer that created it
    model: str | None
    status: str
    created_at: float  # UTC, seconds since 1970


class Page(NamedTuple):
    """One page of the API's list."""

    tasks: list[Listed]
    pages: int  # how many there are
    skew: float  # seconds that the server's clock is ahead of ours


def parse_page(response: Response, now: float) -> Page:
    """Read the answer to ``list_request``. Raises RawgenaiError; rows that name no task are left out."""
    body = parse_object(response)
    data = body.get("data")
    if not isinstance(data, list):
        raise RawgenaiError("server_error", "the answer lists no tasks")
    tasks = [task for row in data if (task := _listed(_dict(row))) is not None]
    return Page(tasks, int(_number(body.get("total_page")) or 1), _skew(response.headers, now))


def _listed(row: Mapping[str, Any]) -> Listed | None:
    task_id, created = _text(row.get("task_id")) or "", row.get("gmt_create")
    if isinstance(created, str) and re.fullmatch(r"\d{1,15}", created, re.ASCII):
        created = int(created)
    if not _TASK_ID.fullmatch(task_id) or not isinstance(created, int | float):
        return None
    word = str(row.get("status")).upper()
    return Listed(
        task_id,
        request_id=_text(row.get("request_id")),
        model=_text(row.get("model_name")),
        status=STATUSES.get(word, "running"),
        created_at=created / 1000,
    )


def _skew(headers: Mapping[str, str], now: float) -> float:
    from email.utils import parsedate_to_datetime

    try:
        ahead = parsedate_to_datetime(headers["date"]).timestamp() - now
    except (KeyError, ValueError):
        return 0.0
    return ahead if abs(ahead) > 2 else 0.0  # the header counts whole seconds, and the answer took its time


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """Name the request that an answer belongs to, where only its head came."""
    return _text(headers.get("x-request-id"))


def _not_found(task_id: str, request_id: str | None) -> RawgenaiError:
    message = f"task {task_id} does not exist here, or is over 24 hours old (tasks belong to a key's region)"
    return RawgenaiError("task_not_found", message, task_id=task_id, request_id=request_id)


def _resolution(usage: Mapping[str, Any]) -> int | None:
    """Tell the tier: SR, else by the size's pixels, else nothing (ruling 21)."""
    tier = _number(usage.get("SR"))
    if tier is not None:
        return int(tier)
    size = usage.get("size") or usage.get("video_ratio")
    for name, sizes in SIZES.items():
        if size in sizes.values():
            return int(name.removesuffix("P"))
    return None


def failure(task: Task) -> RawgenaiError:
    """Turn a failed or canceled task into the error that its user should see (ruling 13)."""
    known = error_code(200, task.api_code or "", task.api_message or "")
    reasons = ("content_policy", "invalid_request", "server_error")
    return RawgenaiError(
        known if known in reasons and task.api_code else "video_failed",
        _shown(task.api_message) or f"task {task.task_id} {task.status}",
        api_code=task.api_code,
        request_id=task.request_id,
        task_id=task.task_id,
        final=True,
    )


def not_cancelable(task: Task, refusal: RawgenaiError | None) -> RawgenaiError:
    """Say why a task could not be taken back, whether or not the API refused; what runs, or ran, is paid."""
    paid = "it goes on, and is paid" if task.status not in TERMINAL else "it has ended"
    return RawgenaiError(
        "task_not_cancelable",
        f"task {task.task_id} is {task.status}, and was not canceled: only a pending task can be; {paid}",
        api_code=refusal.api_code if refusal else None,
        request_id=refusal.request_id if refusal else task.request_id,
        task_id=task.task_id,
    )


# --- what an answer means ----------------------------------------------------------------------------------------

# What the API's code says -> our code (reference 4.1 and 4.3). `*` stands for anything; the first row that fits wins.
# InvalidParameter.DataInspection is a media download problem, not moderation (ruling 14).
ERRORS = (
    ("InvalidApiKey", "invalid_api_key"),
    ("invalid_api_key", "invalid_api_key"),
    ("NOT AUTHORIZED", "invalid_api_key"),
    ("AccessDenied*", "access_denied"),
    ("access_denied", "access_denied"),
    ("*.AccessDenied", "access_denied"),
    ("AllocationQuota.FreeTierOnly", "access_denied"),
    ("Arrearage", "access_denied"),
    ("CommodityNotPurchased", "access_denied"),
    ("PrepaidBillOverdue", "access_denied"),
    ("PostpaidBillOverdue", "access_denied"),
    ("DataInspection*", "content_policy"),
    ("data_inspection_failed", "content_policy"),
    ("IPInfringementSuspect", "content_policy"),
    ("CustomRoleBlocked", "content_policy"),
    ("FaqRuleBlocked", "content_policy"),
    ("InvalidParameter*", "invalid_request"),
    ("InvalidFile*", "invalid_request"),
    ("InvalidImage*", "invalid_request"),
    ("InvalidURL*", "invalid_request"),
    ("BadRequest*", "invalid_request"),
    ("UnsupportedOperation", "invalid_request"),
    ("ModelNotFound", "invalid_request"),
    ("model_not_found", "invalid_request"),
    ("Model.NotExist", "invalid_request"),
    ("WorkSpaceNotFound", "invalid_request"),
    ("NotFound", "invalid_request"),
    ("Conflict", "invalid_request"),
    ("Throttling*", "rate_limit"),
    ("LimitRequests", "rate_limit"),
    ("limit_requests", "rate_limit"),
    ("limit_burst_rate", "rate_limit"),
    ("ResourceExhausted", "rate_limit"),
    ("insufficient_quota", "rate_limit"),
    ("InternalError*", "server_error"),
    ("internal_error", "server_error"),
    ("SystemError", "server_error"),
    ("ModelServiceFailed", "server_error"),
    ("ModelServingError", "server_error"),
    ("ModelUnavailable", "server_error"),
    ("RewriteFailed", "server_error"),
    ("RequestTimeOut", "server_error"),
    ("ResponseTimeout", "server_error"),
    ("ServiceUnavailable", "server_error"),
    ("GatewayTimeout", "server_error"),
)
# What a message says wins over its code.
ERROR_MESSAGES = (
    ("green network verification", "content_policy"),
    ("free allocated quota", "access_denied"),
    ("free tier", "access_denied"),
    ("support synchronous calls", "invalid_request"),
    ("support asynchronous calls", "invalid_request"),
)
# What the HTTP status says, where neither says anything known; the first row whose range holds it.
HTTP_STATUSES = (
    (range(401, 402), "invalid_api_key"),
    (range(403, 404), "access_denied"),
    (range(408, 409), "timeout"),
    (range(429, 430), "rate_limit"),
    (range(400, 500), "invalid_request"),
    (range(504, 505), "timeout"),
    (range(201, 1000), "server_error"),
)


def error_code(status: int, api_code: str, message: str) -> str | None:
    """Map what the API said to a code of ours; None where a 200 says nothing known."""
    from fnmatch import fnmatchcase

    said = message.lower()
    fits = (
        *(code for part, code in ERROR_MESSAGES if part in said),
        *(code for pattern, code in ERRORS if fnmatchcase(api_code, pattern)),
        *(code for statuses, code in HTTP_STATUSES if status in statuses),
    )
    return fits[0] if fits else None


def _refusal(response: Response, body: Mapping[str, Any]) -> RawgenaiError:
    """Turn an answer that is not 200, or says a code, into our error."""
    inner = _dict(body.get("error")) or body
    api_code, said = _text(inner.get("code")), _text(inner.get("message"))
    code = error_code(response.status, api_code or "", said or "") or "server_error"
    message = _shown(said) or f"the server answered with HTTP status {response.status}"
    return RawgenaiError(code, message, api_code=_shown(api_code), request_id=_text(body.get("request_id")))


def _is_refusal(response: Response) -> bool:
    """Tell whether an answer proves that no task was accepted: a 4xx other than 408."""
    return 400 <= response.status < 500 and response.status != 408


def may_repeat(request: Request, outcome: Response | NotSent | Unknown) -> bool:
    """Tell whether sending a request again is safe and of use (design section 5).

    A POST is sent again only on proof that nothing was accepted: it never left, or a 429 about rate came back.
    """
    if isinstance(outcome, NotSent):
        return outcome.passing
    if isinstance(outcome, Response) and outcome.status == 429:
        return _code_of(outcome) == "rate_limit"
    if request.method != "GET" and not request.url.endswith("/cancel"):  # what is canceled twice is canceled
        return False
    if isinstance(outcome, Unknown):
        return True
    return _code_of(outcome) in ("server_error", "timeout", "rate_limit")


def _code_of(response: Response) -> str | None:
    try:
        parse_object(response)
    except RawgenaiError as error:
        return error.code
    return None


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Read how many seconds the server asks to wait: a number or a date; None where it asks nothing sensible."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", value, re.ASCII):
        return float(value)
    if not value:
        return None
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError):
        return None


# --- leniently ---------------------------------------------------------------------------------------------------


def _json_object(response: Response) -> dict[str, Any]:
    """Parse a body that must be a JSON object; of an error status, also nothing at all."""
    try:
        value = parse_json(response.body.decode("utf-8-sig"))
    except ValueError:
        value = None
    if isinstance(value, dict):
        return value
    if response.status != 200:
        return {}
    raise RawgenaiError("server_error", "the server's answer is not the JSON object it should be")


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    """Read a string; half a character, as from a prompt that was cut inside an emoji, becomes a question mark."""
    return value.encode(errors="replace").decode() if isinstance(value, str) and value else None


def _number(value: Any) -> float | int | None:
    """Read an int, a float, or a string of one; a whole float becomes an int."""
    if isinstance(value, str) and re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value, re.ASCII):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        return None
    return int(value) if value == int(value) else value


def _first_number(usage: Mapping[str, Any], *names: str) -> float | int | None:
    return next((number for name in names if (number := _number(usage.get(name))) is not None), None)


def _shown(text: str | None) -> str | None:
    """Cut what a server says to a length that a person reads."""
    limit = 2000
    return text if text is None or len(text) <= limit else f"{text[:limit]}..."
