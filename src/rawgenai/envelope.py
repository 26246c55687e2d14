"""The envelope: the one JSON object that an invocation prints."""

import json
import re
from typing import Any

from rawgenai.errors import RawgenaiError

# What json.dumps leaves raw though a terminal would act on it: DEL and C1 controls, bidirectional overrides, line
# separators and lone surrogates. A server may have sent them (design section 6).
_UNSAFE = "[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"


def success(**fields: Any) -> dict[str, Any]:
    """Build the envelope of a success; fields that are None are left out."""
    return {"success": True, **{name: value for name, value in fields.items() if value is not None}}


def failure(error: RawgenaiError) -> dict[str, Any]:
    """Build the envelope of a failure: code and message, then what else is known (design section 4)."""
    known = {name: getattr(error, name) for name in ("api_code", "request_id", "task_id", "outcome")}
    extra = {name: value for name, value in known.items() if value is not None}
    return {"success": False, "error": {"code": error.code, "message": error.message, **extra}}


def dumps(envelope: dict[str, Any], *, indent: bool = False) -> str:
    """Write an envelope as JSON: one line, or indented for a person; Chinese stays readable."""
    text = json.dumps(envelope, ensure_ascii=False, allow_nan=False, indent=2 if indent else None)
    return plain(text)


def plain(text: str) -> str:
    """Escape what a terminal would act on, except line breaks."""
    if text.isprintable():  # no unsafe character is; the expression is dear to compile
        return text
    return re.sub(_UNSAFE, lambda match: f"\\u{ord(match[0]):04x}", text)


def line(text: str) -> str:
    """Make one line of text that a terminal can show: for sentences on stderr that may quote a server."""
    return plain(re.sub(r"[\x00-\x1f]", lambda match: f"\\u{ord(match[0]):04x}", text))
