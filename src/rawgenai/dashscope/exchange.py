"""Exchange a request for an answer: ask again while that is safe and of use, and say where a key was refused.

Whether it is safe, and how long to wait, is judged in wire.py; this is the loop.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import NoReturn, TypeVar

from rawgenai.config import Settings
from rawgenai.dashscope import wire
from rawgenai.errors import RawgenaiError
from rawgenai.message import NotSent, Request, Response, Send, Unknown

T = TypeVar("T")
ATTEMPTS = 4  # of a request that is safe to repeat
PATIENCE = 15.0  # seconds that one command keeps trying, and that a download may stand still


def exchange(
    send: Send,
    request: Request,
    *,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.time,
) -> Response | NotSent | Unknown:
    """Send a request, and again while that is safe and of use: ATTEMPTS times, within PATIENCE seconds.

    ``Retry-After`` is obeyed, or ends the attempts where it asks for more than there is.
    """
    outcome = outcome_of(send, request)
    if not wire.may_repeat(request, outcome):
        return outcome
    # tenacity is worth its import only now; the attempt that was made is the first of its attempts.
    from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_attempt, stop_before_delay
    from tenacity.wait import wait_random_exponential

    made = [outcome]
    jitter = wait_random_exponential(multiplier=0.5, max=8)

    def pause(state: RetryCallState) -> float:
        answer = state.outcome.result() if state.outcome else None
        asked = wire.retry_after(answer.headers, now()) if isinstance(answer, Response) else None
        return jitter(state) if asked is None else asked

    retrying = Retrying(
        retry=retry_if_result(lambda outcome: wire.may_repeat(request, outcome)),
        stop=stop_after_attempt(ATTEMPTS) | stop_before_delay(PATIENCE),
        wait=pause,
        sleep=sleep,
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else outcome,
    )
    return retrying(lambda: made.pop() if made else outcome_of(send, request))


def outcome_of(send: Send, request: Request) -> Response | NotSent | Unknown:
    """Send a request once; what became of it is a value."""
    try:
        return send(request)
    except (NotSent, Unknown) as fate:
        return fate


def answer_of(outcome: Response | NotSent | Unknown) -> Response:
    """Take the answer; without one, raise RawgenaiError with the reason's code."""
    if isinstance(outcome, Response):
        return outcome
    raise RawgenaiError(outcome.code, str(outcome)) from outcome


def explained(error: RawgenaiError, settings: Settings) -> RawgenaiError:
    """Name the region where a key was refused: keys belong to regions (ruling 16)."""
    if error.code == "invalid_api_key":
        region = settings.region or "unknown"
        error.message += f" (asked {settings.base_url}, region {region}; a key is valid in its own region only)"
    return error


def held(call: Callable[[], T], grace: float) -> tuple[Callable[[], T] | None, BaseException | None]:
    """Run a call so that Ctrl-C cannot cut it off at once: it gets ``grace`` seconds more, then is left to itself.

    Returns what gives its value, or raises its error (None: it has not ended), and the interrupt, if one came.
    """
    import threading

    ends: list[Callable[[], T]] = []
    done = threading.Event()  # not join(): until Python 3.13 an interrupted join takes the thread for finished

    def work() -> None:
        try:
            value = call()
            ends.append(lambda: value)
        except Exception as error:  # noqa: BLE001 - handed over to the caller's thread, which judges it
            ends.append(partial(_raise, error))
        finally:
            done.set()

    interrupt = None
    try:
        threading.Thread(target=work, daemon=True).start()
        # Not without end: a signal that comes just before a blocking call is seen only after it.
        while not done.wait(1):
            pass
    except BaseException as error:  # noqa: BLE001 - KeyboardInterrupt and its kin; raised again by the caller
        interrupt = error
        done.wait(grace)
    return (ends[0] if ends else None), interrupt


def _raise(error: Exception) -> NoReturn:
    raise error


def interruptible(call: Callable[[], T]) -> T:
    """Run a call that may wait for the network, so that Ctrl-C ends the wait within a second, whatever it waits in."""
    end, interrupt = held(call, 0)
    if interrupt is not None or end is None:
        raise interrupt or KeyboardInterrupt
    return end()
