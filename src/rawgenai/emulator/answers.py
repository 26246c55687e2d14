"""One call, what it is worked on with, and what it is answered; and the table of the API's errors.

Sources: the API reference, sections 1 (headers) and 4 (errors).
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta, timezone
from email.utils import formatdate
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from rawgenai.emulator.store import Store

CHINA = timezone(timedelta(hours=8))  # the API's times carry no zone mark
ACCESS_KEY_ID = "emulator"  # whose signature links and upload forms bear
_PIECE = 64 * 1024


class Call(NamedTuple):
    """One HTTP request: the target as it stood in the request line, header names in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""
    origin: str = "http://emulator.localhost"  # what links in answers begin with


class Desk(NamedTuple):
    """One call being worked on, and what it is worked on with."""

    call: Call
    groups: tuple[str, ...]  # what the route's pattern caught
    query: Mapping[str, str]
    store: Store
    now: float
    seconds: float
    new_id: Callable[[], str]
    secret: bytes
    account: str


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


# --- errors --------------------------------------------------------------------------------------------------------


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


# --- how an answer is written --------------------------------------------------------------------------------------


def json_answer(status: int, document: Any) -> Answer:
    """Answer with a JSON document, as the API does."""
    body = json.dumps(document, ensure_ascii=False).encode()
    return Answer(status, {"content-type": "application/json"}, body)


def error_answer(refused: Refused, request_id: str) -> Answer:
    """Answer with an error, as the API does."""
    document = {"code": refused.code, "message": refused.message, "request_id": request_id}
    return json_answer(refused.status, document)


def xml_error_answer(refused: Refused, request_id: str) -> Answer:
    """Answer with an error, as the hosts of uploads and clips do."""
    from xml.sax.saxutils import escape

    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Error>\n'
        f"  <Code>{escape(refused.code)}</Code>\n  <Message>{escape(refused.message)}</Message>\n"
        f"  <RequestId>{escape(request_id)}</RequestId>\n</Error>\n"
    )
    return Answer(refused.status, {"content-type": "application/xml"}, body.encode())


def seal(answer: Answer, now: float) -> Answer:
    """Add the date and the length, which every answer states."""
    length = answer.length if answer.clip else len(answer.body)
    headers = {"date": formatdate(now, usegmt=True), "content-length": str(length), **answer.headers}
    return replace(answer, headers=headers)


def refusal(refused: Refused, now: float) -> Answer:
    """Write a refusal that the mount has to make, as ``handle`` would."""
    return seal(error_answer(refused, str(uuid4())), now)


def sign(secret: bytes, *parts: str) -> str:
    """Sign some words with the secret of the state folder, in hex digits."""
    return hmac.new(secret, "\n".join(parts).encode(), hashlib.sha256).hexdigest()
