"""Wait for tasks: when to look at which, and when to stop looking (faults, section 2: polling).

One look after the other, the most urgent first. Time, sleep and randomness are arguments, so no test waits.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from rawgenai.dashscope import wire
from rawgenai.dashscope.exchange import answer_of, interruptible, outcome_of
from rawgenai.dashscope.wire import TERMINAL, Task
from rawgenai.errors import RawgenaiError
from rawgenai.message import Response, Send

FIRST = 5.0  # seconds after a task's creation that it is first looked at
GROWTH = 1.5  # how much longer each pause is than the one before
LONGEST = 15.0  # seconds between two looks
JITTER = 0.2  # of a pause, up or down, so that many clients do not come at once
PACE = 0.1  # seconds between two requests of this process: 10 a second, where the API takes 20 from an account
TIMEOUT = 30 * 60.0  # seconds that a wait lasts unless it is told otherwise
LAG = 60.0  # seconds after its creation that a task may not be found yet
REREADS = 3  # more looks at a task that contradicts itself: it succeeded and names no clip, or is gone all at once
OVERTIME = 1.0  # seconds for each task that its last look may come after the end, where looks take their time


class Look(NamedTuple):
    """What one look at a task showed."""

    task_id: str
    found: Task | RawgenaiError  # how it stands, or why nobody knows just now
    ended: bool  # no later look will show anything else
    after: float = 0.0  # seconds that the server asks to wait before it is asked anything again


def watch(
    tasks: Iterable[tuple[str, float | None]],
    look: Callable[[str], Look],
    *,
    timeout: float = TIMEOUT,
    interval: float | None = None,
    seen: Callable[[Look], None] = lambda _: None,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    chance: Callable[[], float] = random.random,
) -> Iterator[Look]:
    """Look at tasks until each has ended, and give the last look at each as it ends.

    ``tasks`` are ids with the moment of their creation (UTC, seconds), where it is known. ``look`` asks once, and
    ``seen`` is told what it showed. ``interval`` fixes the seconds between two looks at a task. What has not
    ended after ``timeout`` seconds, and a last look then, ends in `wait_timeout`: the task goes on.
    """
    start = clock()
    end = start + timeout
    pause = FIRST if interval is None else interval
    queue = [
        (min(start + _until_first(created_at, now(), pause), end), number, task_id, pause)
        for number, (task_id, created_at) in enumerate(tasks)
    ]
    heapify(queue)
    latest: dict[str, Look] = {}
    closing = end + max(LONGEST, OVERTIME * len(queue))
    last, free = start - PACE, start  # the last look at any task; when the server may be asked again
    while queue:
        due, number, task_id, pause = heappop(queue)
        if clock() < closing:
            sleep(max(0.0, max(due, min(free, end), last + PACE) - clock()))
            last = clock()
            shown = latest[task_id] = look(task_id)
            free = max(free, clock() + shown.after)
            seen(shown)
            if shown.ended:
                yield shown
                continue
        if clock() >= end:
            yield Look(task_id, _timed_out(task_id, latest.get(task_id), timeout), ended=True)
            continue
        jitter = 1.0 if interval is not None else 1 + JITTER * (2 * chance() - 1)
        longer = pause if interval is not None else min(pause * GROWTH, LONGEST)
        heappush(queue, (min(clock() + pause * jitter, end), number, task_id, longer))


def _until_first(created_at: float | None, now: float, pause: float) -> float:
    """How many seconds to the first look: none at a task of whose age nothing is known."""
    return 0.0 if created_at is None else min(max(0.0, created_at + pause - now), pause)


def _timed_out(task_id: str, shown: Look | None, timeout: float) -> RawgenaiError:
    if shown is None:
        how = "could not be asked about"
    elif isinstance(shown.found, RawgenaiError):
        how = f"could not be asked about at last ({shown.found.message})"
    else:
        how = f"is still {shown.found.status}"
    message = f"task {task_id} {how} after {round(timeout, 1):g} seconds of waiting; it goes on"
    return RawgenaiError("wait_timeout", message, task_id=task_id)


def looking(
    send: Send, born: Callable[[str], float | None], *, now: Callable[[], float] = time.time
) -> Callable[[str], Look]:
    """Make what ``watch`` looks with: one question a look, judged.

    It outlasts whatever a network or a failing server does, a task that is not found while it is new (``born`` gives
    the moment of its creation, where it is known), and a few times one that contradicts itself: it succeeded and names
    no clip, or was there before and is not found any more.
    """
    there: set[str] = set()  # tasks that were found once
    odd: Counter[str] = Counter()  # how often each contradicted itself

    def once_more(task_id: str) -> bool:
        odd[task_id] += 1
        return odd[task_id] <= REREADS

    def may_appear(task_id: str) -> bool:
        created_at = born(task_id)
        new = created_at is not None and now() - created_at < LAG
        return new or (task_id in there and once_more(task_id))

    def look(task_id: str) -> Look:
        request = wire.status_request(task_id)
        outcome = interruptible(lambda: outcome_of(send, request))
        after = wire.retry_after(outcome.headers, now()) or 0.0 if isinstance(outcome, Response) else 0.0
        try:
            task = wire.parse_task(answer_of(outcome), task_id)
        except RawgenaiError as error:
            error.task_id = task_id
            if error.code == "task_not_found":
                passing = may_appear(task_id)
            else:  # an answer that makes no sense may make sense next time
                passing = error.code == "server_error" or wire.may_repeat(request, outcome)
            return Look(task_id, error, ended=not passing, after=after)
        there.add(task_id)
        if task.status == "succeeded" and task.video_url is None:
            return Look(task_id, task, ended=not once_more(task_id))
        return Look(task_id, task, ended=task.status in TERMINAL)

    return look
