"""The tasks that are known: those of the ledger, and on request those that the API itself still lists."""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from rawgenai import config, regions
from rawgenai.config import Settings
from rawgenai.dashscope import origin, tasks, wire
from rawgenai.dashscope.recording import recorded
from rawgenai.dashscope.wire import TERMINAL, Listed
from rawgenai.ledger import Ledger, Row
from rawgenai.message import Send

KEPT = 24 * 3600.0  # seconds that the API keeps a task and its clip (reference 3.4)


class Entry(NamedTuple):
    """A task, or a submission of which no task is known."""

    status: str  # where no task is known, the ledger's state of the submission
    base_url: str
    created_at: float  # UTC, seconds since 1970, by our clock
    task_id: str | None = None
    model: str | None = None
    mode: str | None = None
    prompt: str | None = None
    duration: float | None = None  # seconds of clip that were asked for
    file: str | None = None  # where its clip was downloaded to
    code: str | None = None  # why it was refused, is unknown, or failed
    request_id: str | None = None
    known: bool = True  # to the ledger


def list_tasks(
    limit: int | None = None,
    *,
    status: str | None = None,
    model: str | None = None,
    since: float | None = None,
    region: str | None = None,
    remote: bool = False,
    settings: Settings | None = None,
    send: Send | None = None,
    book: Ledger | None = None,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Entry]:
    """List the tasks that the ledger knows, newest first, at most ``limit``; with ``remote`` also the API's own list.

    ``status`` is a task's status or a submission's state, ``since`` a moment (UTC, seconds), ``region`` one of
    ``regions.REGIONS``. The API lists the account's tasks of the last 24 hours, and its status wins over one that may
    have changed. Raises RawgenaiError `output_write_error` for a ledger that cannot be read, and with ``remote`` those
    of ``tasks.status``. Source: reference 3.4.
    """
    listed: list[Listed] = []
    skew = 0.0
    if remote:
        settings = settings or config.load(region=region)
        send = send or tasks.sender(settings)
        listed, skew = tasks.remote(0.0, settings=settings, send=send, now=now, sleep=sleep)
    with recorded(book, create=False) as opened:
        # What the API says can change what a row is, so the rows are chosen after the two lists are one.
        rows = opened.rows() if remote or region else opened.rows(limit, status=status, model=model, since=since)
    entries = merged(rows, listed, skew, settings.base_url if settings else "")
    fitting = [
        entry
        for entry in entries
        if status in (None, entry.status) and model in (None, entry.model)
        if since is None or entry.created_at >= since
        if region in (None, regions.of_url(entry.base_url)) or (settings and entry.base_url == settings.base_url)
    ]
    return fitting[:limit]


def elsewhere(entries: Iterable[Entry], settings: Settings, now: float) -> str | None:
    """Say which of the tasks that still live are not on the list that was asked, so that their status may be old."""
    urls = Counter(
        entry.base_url
        for entry in entries
        if entry.base_url != settings.base_url and entry.status not in TERMINAL and hours_left(entry, now)
    )
    if not urls:
        return None
    asked = "; ".join(f"{url}: {origin.how_to_ask(url, settings)}" for url in urls)
    return f"of {urls.total()} tasks at other base URLs the status is what the ledger knows ({asked})"


def merged(rows: Iterable[Row], listed: Iterable[Listed], skew: float, base_url: str) -> list[Entry]:
    """Make one list of the ledger's rows and the tasks that an API lists, newest first.

    ``skew`` is how many seconds the API's clock is ahead of ours.
    """
    fresh = {task.task_id: task for task in listed}
    entries = [_entry(row, fresh.pop(row.task_id or "", None)) for row in rows]
    if not fresh:
        return entries
    entries += [
        Entry(
            task.status,
            base_url,
            task.created_at - skew,
            task_id=task.task_id,
            model=task.model,
            request_id=task.request_id,
            known=False,
        )
        for task in fresh.values()
    ]
    return sorted(entries, key=lambda entry: entry.created_at, reverse=True)


def _entry(row: Row, theirs: Listed | None) -> Entry:
    status = row.status or row.state
    if theirs is not None and status not in TERMINAL:
        status = theirs.status
    code = row.code
    if code is None and row.status == "failed" and row.answer is not None:
        code = wire.failure(wire.from_json(row.answer)).code
    facts = {name: getattr(row, name) for name in ("task_id", "model", "mode", "prompt", "duration", "file")}
    return Entry(status, row.base_url, row.created_at, **facts, code=code, request_id=row.request_id)


def hours_left(entry: Entry, now: float) -> float | None:
    """Tell for how many hours a task's clip can surely still be fetched, rounded down; None where there will be none.

    The API keeps it for 24 hours; they are counted from the task's creation, because that is what is known here.
    """
    if entry.task_id is None or entry.status in ("failed", "canceled"):
        return None
    left = min(entry.created_at + KEPT - now, KEPT)
    return max(0.0, math.floor(left / 360) / 10)


def facts(entry: Entry, now: float) -> dict[str, Any]:
    """Write an entry for an envelope; what is not known is left out, and a clip's URL is never in it."""
    duration = entry.duration
    said = {
        "task_id": entry.task_id,
        "status": entry.status,
        "model": entry.model,
        "mode": entry.mode,
        "prompt": entry.prompt,
        "created_at": f"{datetime.fromtimestamp(entry.created_at, UTC):%Y-%m-%dT%H:%M:%SZ}",
        "duration": int(duration) if duration is not None and duration == int(duration) else duration,
        "hours_left": hours_left(entry, now),
        "file": entry.file,
        "code": entry.code,
        "request_id": entry.request_id,
        "base_url": entry.base_url,
        "known": None if entry.known else False,
    }
    return {name: value for name, value in said.items() if value is not None}
