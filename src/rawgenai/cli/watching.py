"""What people see while tasks are waited for: one live line at a terminal, one line per change and minute in a log."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from rawgenai.cli import streams
from rawgenai.errors import RawgenaiError

if TYPE_CHECKING:
    from rawgenai.dashscope.waiting import Look
    from rawgenai.dashscope.wire import Task

MINUTE = 60.0  # seconds between two lines of a log that say the same


class Watch:
    """What is known of the tasks that are waited for, and how long that has been."""

    def __init__(
        self, label: str = "", minutes: tuple[int, int] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.label = label
        self.minutes = minutes  # that a task of this model usually takes
        self._clock = clock
        self._start = clock()
        self._states: dict[str, str] = {}
        self._said: dict[str, tuple[str, float]] = {}

    def seen(self, look: "Look") -> None:
        """Take in what a look showed."""
        known = self._states.get(look.task_id, "")
        if not isinstance(look.found, RawgenaiError):
            self._states[look.task_id] = look.found.status
        elif look.ended:
            self._states[look.task_id] = look.found.code
        else:  # nobody knows just now; what was known is still the best there is
            self._states[look.task_id] = f"{known.partition(',')[0] or 'unknown'}, {look.found.code}"

    def line(self) -> str:
        """All in one line, short enough for 40 columns where there is one task."""
        states = list(self._states.values())
        what = states[0] if len(states) == 1 else ", ".join(f"{n} {state}" for state, n in Counter(states).items())
        return f"{what or self.label} {self.gone()}{self._usual()}"

    def gone(self) -> str:
        """The time gone, as m:ss."""
        seconds = int(self._clock() - self._start)
        return f"{seconds // 60}:{seconds % 60:02}"

    def _usual(self) -> str:
        return f" (usually {self.minutes[0]}-{self.minutes[1]} min)" if self.minutes else ""

    def news(self, task_id: str) -> str | None:
        """The line of a log for a task, where its status is new or a minute has passed."""
        state, now = self._states[task_id], self._clock()
        said, when = self._said.get(task_id, ("", 0.0))
        if state == said and now - when < MINUTE:
            return None
        self._said[task_id] = state, now
        return f"{task_id}: {state} after {self.gone()}{'' if said else self._usual()}"


class Display:
    """Shows a watch to whoever looks: a live line at a terminal, else plain lines; nothing where it is quiet."""

    def __init__(self, watch: Watch, *, quiet: bool) -> None:
        self.watch = watch
        self._plain = not quiet and not (streams.is_person() and os.environ.get("TERM") != "dumb")
        self._live = None if quiet or self._plain else _Live(watch)

    def seen(self, look: "Look") -> None:
        """Show what a look showed."""
        self.watch.seen(look)
        news = self.watch.news(look.task_id) if self._plain else None
        if news is not None:
            streams.err(news)
        if self._live:
            self._live.start()

    def pause(self) -> None:
        """Take the live line away, until the next look; something else is to be shown."""
        if self._live:
            self._live.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.pause()


class _Live:
    """A line that rich draws anew once a second: enough for a clock, and cheap over minutes."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._live: Any = None

    def start(self) -> None:
        if self._live is None:
            from rich.console import Console
            from rich.live import Live

            self._live = Live(self, console=Console(stderr=True), refresh_per_second=1, transient=True)
            self._live.start()

    def stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __rich_console__(self, _console: Any, _options: Any) -> Iterator[Any]:
        from rich.text import Text

        from rawgenai import envelope

        yield Text(envelope.line(self._watch.line()), no_wrap=True, overflow="ellipsis")


class Stages:
    """What people see from the upload to the download: a bar, the watch, a bar, one after the other."""

    def __init__(self, display: Display, output: str | None, bill: str, *, quiet: bool) -> None:
        self.task: Task | None = None
        self._bill = bill  # said once there is something to pay
        self._display = display
        self._output = output
        self._quiet = quiet
        self._bar: ExitStack | None = None
        self._show: Callable[[int, int | None], None] = lambda _done, _total: None

    def progress(self, done: int, total: int | None) -> None:
        """Show how far the upload, or later the download, is."""
        if self._bar is None:
            self._display.pause()
            label = "upload" if self.task is None else os.path.basename(self._output or f"{self.task.task_id}.mp4")
            self._bar = ExitStack()
            self._show = self._bar.enter_context(streams.transfer(label, quiet=self._quiet))
        self._show(done, total)

    def created(self, task: "Task") -> None:
        """Show the task, from its first moment."""
        from rawgenai.dashscope.waiting import Look

        self.end()
        self.task = task
        if not self._quiet:
            streams.err(f"task {task.task_id}: {self._bill}")
        self.seen(Look(task.task_id, task, ended=False))

    def seen(self, look: "Look") -> None:
        """Show what a look showed."""
        self._display.seen(look)
        if look.ended:
            self._display.pause()

    def end(self) -> None:
        """Take everything away."""
        self._display.pause()
        if self._bar is not None:
            self._bar.close()
            self._bar = None
