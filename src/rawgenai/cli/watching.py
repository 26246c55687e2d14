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

MINUTE = 60.0  # seconds without news after which a log gets a line all the same


class Watch:
    """What is known of the tasks that are waited for, and how long that has been."""

    def __init__(
        self,
        label: str,
        minutes: tuple[int, int] | None = None,
        *,
        total: int = 1,
        age: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.label = label  # what is done while nothing is known of any task
        self.minutes = minutes  # that a task of this model usually takes
        self._total = total  # tasks
        self._clock = clock
        self._start = clock() - age
        self._states: dict[str, str] = {}  # task -> its status, or the code it ended with
        self._trouble: dict[str, str] = {}  # task -> why nobody knows just now
        self._ended: set[str] = set()

    def seen(self, look: "Look") -> bool:
        """Take in what a look showed, and tell whether that is news."""
        before = self.about(look.task_id)
        if not isinstance(look.found, RawgenaiError):
            self._states[look.task_id] = look.found.status
        elif look.ended:
            self._states[look.task_id] = look.found.code
        if isinstance(look.found, RawgenaiError) and not look.ended:
            self._trouble[look.task_id] = look.found.code
        else:
            self._trouble.pop(look.task_id, None)
        if look.ended:
            self._ended.add(look.task_id)
        return self.about(look.task_id) != before

    def about(self, task_id: str) -> str:
        """How a task stands, in a word or two."""
        trouble = self._trouble.get(task_id)
        return self._states.get(task_id, self.label) + (f" (retry: {trouble})" if trouble else "")

    def line(self) -> str:
        """All in one line; for one task it is short enough for 40 columns."""
        if self._total > 1:
            return f"{len(self._ended)} of {self._total} ended {self.gone()}{self._counts()}"
        task_id = next(iter({**self._states, **self._trouble}), "")
        state, trouble = self._states.get(task_id, self.label), self._trouble.get(task_id)
        said = f" (retry: {trouble})" if trouble else self._usual() if self._states else ""
        return f"{state} {self.gone()}{said}"

    def _counts(self) -> str:
        open_ones = [task_id for task_id in {**self._states, **self._trouble} if task_id not in self._ended]
        counts = Counter(self.about(task_id) for task_id in open_ones)
        return "; " + ", ".join(f"{count} {state}" for state, count in counts.most_common()) if counts else ""

    def news(self, task_id: str, *, first: bool) -> str:
        """The line of a log that says how a task stands."""
        return f"{task_id}: {self.about(task_id)} after {self.gone()}{self._usual() if first else ''}"

    def gone(self) -> str:
        """The time gone, as m:ss or h:mm:ss."""
        minutes, seconds = divmod(int(self._clock() - self._start), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"

    def _usual(self) -> str:
        return f" (usually {self.minutes[0]}-{self.minutes[1]} min)" if self.minutes else ""


class Display:
    """Shows a watch to whoever looks: a live line at a terminal, else plain lines; nothing where it is quiet.

    What is shown goes on while ``sleep`` sleeps, so a wait is to sleep with that.
    """

    def __init__(
        self,
        watch: Watch,
        *,
        quiet: bool,
        clock: Callable[[], float] = time.monotonic,
        nap: Callable[[float], None] = time.sleep,
    ) -> None:
        self.watch = watch
        self._quiet = quiet
        self._plain = not quiet and not (streams.is_person() and os.environ.get("TERM") != "dumb")
        self._live = None if quiet or self._plain else _Live(watch)
        self._clock = clock
        self._nap = nap
        self._first = True
        self._said = clock()

    def seen(self, look: "Look") -> None:
        """Show what a look showed."""
        news = self.watch.seen(look)
        if self._plain and news:
            self._say(self.watch.news(look.task_id, first=self._first))
            self._first = False
        if self._live:
            self._live.refresh()

    def sleep(self, seconds: float) -> None:
        """Sleep, while a person sees the time go by, and a log gets a line each minute."""
        if seconds > 0:
            self.show()
        end = self._clock() + seconds
        while (left := end - self._clock()) > 0:
            minute = self._said + MINUTE  # when a log gets its next line
            self._nap(min(left, max(0.0, minute - self._clock())) if self._plain else left)
            if self._plain and self._clock() >= minute:
                self._say(self.watch.line())

    def _say(self, line: str) -> None:
        self._said = self._clock()
        streams.err(line)

    def warn(self, text: str) -> None:
        """Tell of a warning, above the live line."""
        if self._quiet:
            return
        shown = self._live is not None and self._live.stop()
        streams.err(f"warning: {text}")
        if shown:
            self.show()

    def show(self) -> None:
        """Show the live line, if there is one."""
        if self._live:
            self._live.start()

    def pause(self) -> None:
        """Take the live line away, until the next sleep; something else is to be shown."""
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

            console = Console(stderr=True)
            self._live = Live(self, console=console, refresh_per_second=1, transient=True, redirect_stdout=False)
            with streams.unseen():
                self._live.start(refresh=True)

    def refresh(self) -> None:
        if self._live is not None:
            with streams.unseen():
                self._live.refresh()

    def stop(self) -> bool:
        """Take the line away; whether it was there."""
        if self._live is None:
            return False
        try:
            with streams.unseen():
                self._live.stop()
        except BaseException:
            self._live.console.show_cursor(True)  # a second Ctrl-C must not cost the cursor
            raise
        self._live = None
        return True

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
        """Show a task that was submitted, from its first moment, and what it bills."""
        self._begin(task, self._bill)

    def resumed(self, task: "Task") -> None:
        """Show a task that an earlier call submitted."""
        self._begin(task, "it was submitted before, and nothing more is paid")

    def _begin(self, task: "Task", sentence: str) -> None:
        from rawgenai.dashscope.waiting import Look

        self.task = task
        if not self._quiet:
            self.end()
            streams.err(f"task {task.task_id}: {sentence}")
        self.seen(Look(task.task_id, task, ended=False))

    def seen(self, look: "Look") -> None:
        """Show what a look showed."""
        self._end_bar()
        self._display.seen(look)

    def sleep(self, seconds: float) -> None:
        """Sleep; a bar stays, and without one the live line shows."""
        if self._bar is None:
            self._display.sleep(seconds)
        else:
            time.sleep(seconds)

    def warn(self, text: str) -> None:
        """Tell of a warning, above what is shown."""
        self._display.warn(text)

    def end(self) -> None:
        """Take everything away."""
        self._display.pause()
        self._end_bar()

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
