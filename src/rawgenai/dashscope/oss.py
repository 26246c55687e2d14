"""OSS's language: the hosts that uploads go to and clips come from, and what they answer. Pure.

Alibaba's object storage (OSS) is no part of the API: it never gets the key, and speaks XML. Whether asking it again is
of use is judged here; the loops that ask are in uploads.py and downloading.py.
"""

import re
from collections.abc import Callable, Mapping
from urllib.parse import urljoin, urlsplit, urlunsplit

from rawgenai.dashscope import wire
from rawgenai.dashscope.wire import TERMINAL, Policy, Task
from rawgenai.errors import RawgenaiError
from rawgenai.message import Form, Media, NotSent, Request, Response, Unknown, is_loopback

_HOST = r"[a-z0-9._-]+|[0-9a-f:.]+"  # a name, or an address of IPv6


def checked_url(url: str, base_url: str, *, aliyun: bool = False) -> str:
    """Return a URL that a server named, fit to be asked: https, or loopback where the API is on loopback.

    http at aliyuncs.com becomes https. With ``aliyun`` no other host will do. Raises ValueError with the reason.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if not re.fullmatch(_HOST, host) or parts.username is not None or any(char <= " " or char == "\\" for char in url):
        raise ValueError("the server named no usable URL")
    if is_loopback(host):
        if parts.scheme in ("http", "https") and (
            base_url == "emulator" or is_loopback(urlsplit(base_url).hostname or "")
        ):
            return url
        raise ValueError("the server named a URL on this machine")
    official = host.endswith(".aliyuncs.com")
    if parts.scheme == "http" and official:
        return urlunsplit(parts._replace(scheme="https"))
    if parts.scheme != "https":
        raise ValueError(f"the server named a URL that is not https, at {host}")
    if aliyun and not official:
        raise ValueError(f"the server named a host that is not Alibaba's, {host}")
    return url


# --- uploads (reference section 5) -------------------------------------------------------------------------------


def upload_request(policy: Policy, media: Media, filename: str, sent: Callable[[int], None] | None = None) -> Request:
    """Write the form that uploads one file under a name that says nothing about the local one.

    ``sent`` is told of the file's bytes as they leave.
    """
    fields = {**policy.fields, "key": f"{policy.folder}/{filename}", "success_action_status": "200"}
    order = ("OSSAccessKeyId", "Signature", "policy", "key")  # as the API's page has it; the file comes last
    ordered = {name: fields[name] for name in (*order, *sorted(fields.keys() - set(order)))}
    return Request("POST", policy.host, {}, Form(ordered, media, filename, sent))


def upload_fault(outcome: Response | NotSent | Unknown, media: Media) -> RawgenaiError | None:
    """Say what went wrong with an upload, or nothing: OSS answers 200, and the checksum of what it stored."""
    if not isinstance(outcome, Response):
        return RawgenaiError(outcome.code, f"the upload failed: {outcome}; no task was created")
    if outcome.status != 200:
        code = "invalid_request" if outcome.status < 500 else "server_error"
        return RawgenaiError(code, f"the upload was refused with HTTP status {outcome.status}; no task was created")
    stored = outcome.headers.get("x-oss-hash-crc64ecma")
    if stored is not None and media.crc64 is not None and stored != str(media.crc64):
        return RawgenaiError("server_error", "the upload host stored other bytes than were sent; no task was created")
    return None


def may_upload_again(outcome: Response | NotSent | Unknown) -> bool:
    """Tell whether an upload is worth another attempt: not where the form itself was refused."""
    if isinstance(outcome, NotSent):
        return outcome.passing
    return not isinstance(outcome, Response) or outcome.status != 400


def oss_url(policy: Policy, filename: str) -> str:
    """Name an uploaded file, for the request that uses it."""
    return f"oss://{policy.folder}/{filename}"


# --- clips -------------------------------------------------------------------------------------------------------


def clip_url(task: Task, base_url: str) -> str:
    """Name the clip of a succeeded task. Raises RawgenaiError where there is none to fetch (ruling 20)."""
    if task.status not in TERMINAL:
        raise RawgenaiError("video_not_ready", f"task {task.task_id} is {task.status}", task_id=task.task_id)
    if task.status != "succeeded":
        error = wire.failure(task)
        error.code = "video_failed"
        raise error
    if task.video_url is None:
        raise RawgenaiError("no_video", f"task {task.task_id} succeeded, but names no clip", task_id=task.task_id)
    return _usable(task.video_url, base_url)


def _usable(url: str, base_url: str, *, asked: str = "") -> str:
    try:
        return checked_url(urljoin(asked, url), base_url)
    except ValueError as error:
        raise RawgenaiError("download_error", f"the clip cannot be asked for: {error}") from error


def clip_event(answer: Response) -> str:
    """Name what a clip's host says instead of giving it.

    `moved`; `gone`, for this URL at least; `strayed`: not the piece that was asked for; or `refused`.
    """
    if answer.status in (206, 416):
        return "strayed"
    if answer.status in (301, 302, 303, 307, 308) and "location" in answer.headers:
        return "moved"
    return "gone" if answer.status in (403, 404) else "refused"


def redirected(answer: Response, url: str) -> str:
    """Name that place; it must be as safe as the first, and https never becomes http. Raises RawgenaiError."""
    return _usable(answer.headers["location"], url, asked=url)


def may_resume(answer: Response | NotSent | Unknown) -> bool:
    """Tell whether asking a clip's host again is of use."""
    if isinstance(answer, NotSent):
        return answer.passing
    return isinstance(answer, Unknown) or answer.status in (408, 429) or answer.status >= 500


def download_failure(answer: Response | NotSent | Unknown, url: str, fault: str | None = None) -> RawgenaiError:
    """Say why a clip could not be fetched (ruling 20); ``fault`` is what is wrong with the bytes that did come."""
    if fault is not None:
        return RawgenaiError("download_error", f"what the server sent is no whole clip: {fault}")
    if not isinstance(answer, Response):
        return RawgenaiError("download_error", str(answer))
    said = re.search(rb"<Code>([A-Za-z0-9_.-]{1,64})</Code>", answer.body)
    api_code = said[1].decode() if said else None
    if clip_event(answer) == "gone" and not _is_valid(url, answer.headers):
        return RawgenaiError("url_expired", api_code=api_code)
    message = f"the clip's host answered with HTTP status {answer.status}"
    if clip_event(answer) == "strayed":
        message = "the clip's host sent another piece of it than was asked for"
    return RawgenaiError("download_error", message, api_code=api_code)


def _is_valid(url: str, headers: Mapping[str, str]) -> bool:
    """Tell whether a signed URL has not run out by the server's own clock."""
    from email.utils import parsedate_to_datetime

    expires = re.search(r"[?&]Expires=(\d{1,12})(?:&|$)", url)
    try:
        return expires is not None and parsedate_to_datetime(headers["date"]).timestamp() < int(expires[1])
    except (KeyError, ValueError):
        return False
