"""A Request shown instead of sent: as JSON for reading, as a curl line for running. The key is never in it."""

import json
import os
import re
import shlex
from typing import TYPE_CHECKING, Any

from rawgenai.cli import streams
from rawgenai.message import Media, Request

if TYPE_CHECKING:
    from rawgenai.config import Settings
    from rawgenai.dashscope.budget import Bill
    from rawgenai.dashscope.models import Model
    from rawgenai.dashscope.spec import Spec

_ARGUMENT = 100_000  # bytes that one argument of a program may have; Linux ends at 128 KiB, `printf` of a shell nowhere
_KEY = "$DASHSCOPE_API_KEY"
_LEAF = "\x00%d\x00"  # stands for a leaf while JSON is written; no text of a request can hold it


def answer(spec: "Spec", settings: "Settings", form: str, bill: "Bill", *, quiet: bool) -> dict[str, Any] | str:
    """Write what would be sent, and what it would be billed, as an envelope or as a curl line.

    Raises RawgenaiError where it would be refused.
    """
    from rawgenai import envelope
    from rawgenai.dashscope import budget, roster, rules, wire

    warn = streams.warner(quiet=quiet)
    model, warnings = roster.select(spec)
    for warning in [*warnings, *rules.judge_region(model, settings.region, settings.named_region)]:
        warn(warning)
    request = request_of(spec, model)
    if form == "curl":
        if wire.to_upload(spec, model):
            warn("the local files that this request names as oss://UPLOADED/... are uploaded by create, not by curl")
        if streams.is_person() and not quiet:
            streams.err(budget.sentence(bill))
        return curl(request, settings.base_url)
    return envelope.success(dry_run=True, request=shown(request, settings.base_url), **budget.shown(bill))


def request_of(spec: "Spec", model: "Model") -> Request:
    """Write the request of a loaded Spec, with names of our own for what would be uploaded."""
    from rawgenai.dashscope import wire
    from rawgenai.dashscope.spec import with_media

    uploads: dict[str | Media, str | Media] = {
        leaf: f"oss://UPLOADED/{name_of(leaf)}" for leaf in wire.to_upload(spec, model)
    }
    return wire.create_request(with_media(spec, uploads), model)


def shown(request: Request, base_url: str) -> dict[str, Any]:
    """Write a request as JSON values, with files and data URIs shortened."""
    return {
        "method": request.method,
        "url": _url(request, base_url),
        "headers": _headers(request),
        "body": _brief(request.body),
    }


def curl(request: Request, base_url: str) -> str:
    """Write a request as a shell command that sends just what ``create`` sends; files are read when it runs."""
    leaves: list[Media] = []

    def mark(leaf: Any) -> str:
        leaves.append(leaf)
        return _LEAF % (len(leaves) - 1)

    # json.dumps escapes NUL, so each mark comes out as \u0000N\u0000.
    pieces = re.split(r"\\u0000(\d+)\\u0000", json.dumps(request.body, ensure_ascii=False, default=mark))
    parts = [
        f"printf %s {shlex.quote(piece)}" if index % 2 == 0 else _encoding(leaves[int(piece)])
        for index, piece in enumerate(pieces)
    ]
    head = ["curl", "-sS", "-X", request.method, shlex.quote(_url(request, base_url))]
    head += [f'-H "{name}: {value}"' for name, value in _headers(request).items()]
    if len(parts) == 1 and len(parts[0].encode()) <= _ARGUMENT:
        return " ".join([*head, "--data-binary", shlex.quote(pieces[0])])
    return " ".join(["{", "; ".join(parts), "; } |", *head, "--data-binary", "@-"])


def name_of(leaf: Media) -> str:
    """Name a leaf for people."""
    return "data" if leaf.path.startswith("data:") else os.path.basename(leaf.path)


def _encoding(leaf: Media) -> str:
    head, _, data = leaf.path.partition(",")
    if head.startswith("data:"):
        return f"printf %s data:{leaf.mime}';base64,{data}'"
    file = shlex.quote(leaf.path)
    return f"printf %s 'data:{leaf.mime};base64,'; base64 < {file} | tr -d '\\n'"


def _url(request: Request, base_url: str) -> str:
    base = "http://emulator.localhost/api/v1" if base_url == "emulator" else base_url  # never a URL that costs
    return f"{base}/{request.url}"


def _headers(request: Request) -> dict[str, str]:
    return {"Authorization": f"Bearer {_KEY}", "Content-Type": "application/json", **request.headers}


def _brief(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _brief(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_brief(item) for item in value]
    if isinstance(value, Media):
        size = f"{value.size} bytes of " if value.size else ""  # of a frame that is not there yet nobody knows it
        return f"data:{value.mime};base64,({size}{name_of(value)})"
    return value
