"""Fetch a clip: its bytes gather in a part file, resumed where they stopped, until they are a whole MP4.

What an answer of the clip's host means is judged in oss.py; one attempt is made by http.py. These are the loops.
"""

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rawgenai import files, media
from rawgenai.dashscope import oss, wire
from rawgenai.dashscope.exchange import ATTEMPTS, PATIENCE, interruptible
from rawgenai.dashscope.recording import Progress
from rawgenai.message import NotSent, Response, Send, Unknown

if TYPE_CHECKING:
    from rawgenai import http

CUTS = 50  # attempts that brought less than PACE: a host that gives a byte each time is no host to wait for
PACE = 1024 * 1024  # bytes


def fetch(
    clip_url: Callable[[], str],
    target: str,
    task_id: str,
    send: Send,
    progress: Progress,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], float] = time.time,
) -> str:
    """Gather a clip's bytes until they are a whole MP4, and return the part file beside ``target`` that holds them.

    ``clip_url`` names the clip, and once more where its first URL is of no use. Raises RawgenaiError
    (`url_expired`, `download_error`) and OSError of the local disk.
    """
    files.sweep_parts(target, task_id)
    url = clip_url()
    chances = {"moved": 3, "gone": 1, "spoiled": 1, "strayed": 1}  # how often each may happen before it is a failure
    while True:
        fetched = _gather(url, target, task_id, send, progress, sleep=sleep, clock=clock, now=now)
        if fetched.part is None:
            event, fault = oss.clip_event(fetched.answer), None
        else:
            event, fault = "spoiled", fetched.fault or media.mp4_fault(fetched.part, sized=fetched.sized)
            if fault is None:
                return fetched.part
            os.remove(fetched.part)
        if not chances.get(event):
            raise oss.download_failure(fetched.answer, url, fault)
        chances[event] -= 1
        if event == "moved":
            url = oss.redirected(fetched.answer, url)
        elif event == "gone":
            url = clip_url()  # while a task lives, its clip can get a fresh URL


def _gather(
    url: str,
    target: str,
    task_id: str,
    send: Send,
    progress: Progress,
    *,
    sleep: Callable[[float], None],
    clock: Callable[[], float],
    now: Callable[[], float],
) -> "http.Fetched":
    """Ask for a clip and go on where it was cut; gives up after PATIENCE seconds, or ATTEMPTS, without a new byte.

    It does so too after CUTS attempts with few bytes, and where the host asks for a longer pause than PATIENCE.
    """
    from rawgenai import http

    size, moment, tries, cuts = _gathered(target, task_id), clock(), 0, 0
    while True:
        try:
            fetched = interruptible(lambda: http.download(send, url, target, task_id, progress))
            outcome: Response | NotSent | Unknown = fetched.answer
            if fetched.part is not None or not oss.may_resume(outcome):
                return fetched
        except (NotSent, Unknown) as fate:
            outcome = fate
        gained = _gathered(target, task_id) - size
        if gained > 0:
            size, moment, tries, cuts = size + gained, clock(), 0, cuts + (gained < PACE)
        tries += 1
        asked = wire.retry_after(outcome.headers, now()) if isinstance(outcome, Response) else None
        patient = tries < ATTEMPTS and cuts < CUTS and clock() - moment + (asked or 0) < PATIENCE
        if not oss.may_resume(outcome) or not patient:
            raise oss.download_failure(outcome, url)
        sleep(max(2.0 ** (tries - 2), asked or 0))


def _gathered(target: str, task_id: str) -> int:
    part = files.find_part(target, task_id)
    return part.size if part else 0
