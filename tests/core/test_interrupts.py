import signal
from types import SimpleNamespace
from typing import Any

import pytest

from rawgenai import signals


def _in(file: str) -> Any:
    return SimpleNamespace(f_code=SimpleNamespace(co_filename=file))


@pytest.mark.parametrize(("number", "raised"), list(signals.RAISED.items()))
def test_a_signal_is_raised_where_the_program_is(number: int, raised: type[BaseException]) -> None:
    for frame in (None, _in("tasks.py")):
        with pytest.raises(raised) as caught:
            signals.answer(number, frame)
        assert caught.type is raised


def test_in_the_import_machinery_a_signal_comes_again_a_little_later() -> None:
    started: list[tuple[Any, ...]] = []

    class Timer:
        daemon = False

        def __init__(self, *what: Any) -> None:
            self.what = what

        def start(self) -> None:
            started.append((*self.what, self.daemon))

    signals.answer(signal.SIGINT, _in("<frozen importlib._bootstrap>"), later=Timer)
    assert started == [(signals._SOON, signal.raise_signal, (signal.SIGINT,), True)]


def test_an_interrupt_is_found_in_the_error_that_wraps_it() -> None:
    error = RuntimeError("Error calling __set_name__")
    error.__cause__ = interrupt = signals.Terminated()
    assert signals.interrupt_in(error) is interrupt
    assert signals.interrupt_in(RuntimeError()) is None
