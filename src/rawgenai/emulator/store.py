"""What the emulator remembers: tasks, uploads and throttled prompts in one SQLite file, and the drawn clips beside it.

Every call is one transaction on a connection of its own, so threads and processes may share a folder, and a process
that is killed takes nothing with it. No API key is ever here, only the fingerprint that names an account.
"""

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rawgenai import files
from rawgenai.errors import RawgenaiError

if TYPE_CHECKING:
    import sqlite3

_SCHEMA = """
CREATE TABLE IF NOT EXISTS secret (value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS tasks (
    task_id TEXT PRIMARY KEY, account TEXT NOT NULL, created REAL NOT NULL, task TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS tasks_by_account ON tasks (account, created);
CREATE TABLE IF NOT EXISTS uploads (
    name TEXT PRIMARY KEY, account TEXT NOT NULL, model TEXT NOT NULL, created REAL NOT NULL);
CREATE TABLE IF NOT EXISTS throttled (name TEXT PRIMARY KEY, until REAL NOT NULL);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A booked task: who asked when, what is to be drawn, and how far it has come. Times are Unix seconds."""

    task_id: str
    request_id: str  # of the answer that booked it; the task list repeats it
    account: str
    model: str
    created: float
    seconds: float  # how long it takes in all; 0: it moves by being asked
    prompt: str | None
    extended: bool  # the prompt was rewritten
    width: int
    height: int
    tier: int  # 480, 720, 1080
    duration: float  # seconds of the clip
    input_duration: float  # seconds of the videos that went in and are billed
    sound: bool
    watermark: bool
    mode: str = ""  # that it was asked for; "": its model's own
    pictures: Sequence[str] = ()  # names of the files that were sent, in their order; "" for one behind a URL
    fields: Sequence[str] = ()  # of the request that named each of them
    scales: Sequence[float] = ()  # how far the frame reaches beyond a video: up, down, left, right
    music: str = ""  # name of the file of a sound that was sent
    polls: int = 0
    canceled: bool = False


def state_folder(environ: Mapping[str, str]) -> Path:
    """Name the folder that holds the emulator's state where none was given: one in ours (design, ruling 24)."""
    try:
        return Path(files.state_folder(environ)) / "emulator"
    except FileNotFoundError as error:
        raise RawgenaiError("config_error", f"there is no place for the emulator's state: {error}") from error


class Store:
    """The emulator's memory in ``folder``, which is made when first needed.

    Raises RawgenaiError ``config_error`` where the folder cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "emulator.db"

    @contextmanager
    def _transaction(self) -> Iterator["sqlite3.Connection"]:
        import sqlite3

        try:
            if not self.file.exists():
                # Its parent may be the folder of the ledger, which is no less private.
                self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self.folder.mkdir(mode=0o700, exist_ok=True)
                os.close(os.open(self.file, os.O_CREAT | os.O_WRONLY, 0o600))
            db = sqlite3.connect(self.file, timeout=30, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error
        try:
            # Killing a process loses nothing that the system was told to write; a power cut may cost the emulator
            # its tasks, and nobody any money.
            db.execute("PRAGMA synchronous = OFF")
            db.execute("BEGIN IMMEDIATE")
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'secret'").fetchone():
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    db.execute(statement)
                db.execute("INSERT INTO secret VALUES (?)", (secrets.token_bytes(32),))
            yield db
            db.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        finally:
            db.close()  # without COMMIT: rolls back

    def _unusable(self, error: Exception) -> RawgenaiError:
        return RawgenaiError("config_error", f"the emulator cannot use its state folder {self.folder}: {error}")

    def secret(self) -> bytes:
        """Return the random bytes that this folder's signatures and account fingerprints are made with."""
        with self._transaction() as db:
            return bytes(db.execute("SELECT value FROM secret").fetchone()[0])

    def book(self, task: Task) -> None:
        """Remember a new task."""
        row = (task.task_id, task.account, task.created, _dumps(task))
        with self._transaction() as db:
            db.execute("INSERT INTO tasks VALUES (?, ?, ?, ?)", row)

    def task(self, task_id: str) -> Task | None:
        """Return the task, if there is one."""
        with self._transaction() as db:
            return _load(db, task_id)

    def tasks(self, account: str) -> list[Task]:
        """Return an account's tasks, the newest first."""
        query = "SELECT task FROM tasks WHERE account = ? ORDER BY created DESC, task_id"
        with self._transaction() as db:
            return [Task(**json.loads(text)) for (text,) in db.execute(query, (account,))]

    def change(self, task_id: str, change: Callable[[Task], Task]) -> Task | None:
        """Replace a task by ``change(task)`` with nobody in between, and return the new one."""
        with self._transaction() as db:
            old = _load(db, task_id)
            if old is None:
                return None
            new = change(old)
            if new != old:
                db.execute("UPDATE tasks SET task = ? WHERE task_id = ?", (_dumps(new), task_id))
            return new

    def forget(self, before: float) -> None:
        """Drop the tasks, clips and uploads that are older than ``before`` (Unix seconds)."""
        with self._transaction() as db:
            old = db.execute("SELECT task_id FROM tasks WHERE created < ?", (before,)).fetchall()
            gone = db.execute("SELECT name FROM uploads WHERE created < ?", (before,)).fetchall()
            db.execute("DELETE FROM tasks WHERE created < ?", (before,))
            db.execute("DELETE FROM uploads WHERE created < ?", (before,))
            db.execute("DELETE FROM throttled WHERE until < ?", (before,))
        for (task_id,) in old:
            self._clip(task_id).unlink(missing_ok=True)
            self._part(task_id).unlink(missing_ok=True)
            shutil.rmtree(self._inputs(task_id), ignore_errors=True)
        for (name,) in gone:
            self.uploaded_file(name).unlink(missing_ok=True)

    def upload(self, name: str, account: str, model: str, now: float, pieces: Iterable[bytes] = ()) -> bool:
        """Keep an uploaded file; False if there is one of that name."""
        file = self.uploaded_file(name)
        part = file.with_name(f"{secrets.token_hex(8)}.part")
        try:
            _write(part, pieces)
            with self._transaction() as db:
                row = (name, account, model, now)
                new = db.execute("INSERT OR IGNORE INTO uploads VALUES (?, ?, ?, ?)", row).rowcount == 1
                if new:
                    part.replace(file)
                return new
        except OSError as error:
            raise self._unusable(error) from error
        finally:
            part.unlink(missing_ok=True)

    def uploaded_file(self, name: str) -> Path:
        """Name the file that holds what was uploaded; a client's name never becomes one of ours."""
        return self.folder / "uploads" / sha256(name.encode()).hexdigest()

    def keep(self, task_id: str, sources: Sequence[bytes | Path | None]) -> list[str]:
        """Put what a task was sent beside it, for as long as the task lives; a name for each, "" for None."""
        return [
            "" if source is None else self._keep(task_id, str(number), source) for number, source in enumerate(sources)
        ]

    def _keep(self, task_id: str, name: str, source: bytes | Path) -> str:
        file = self._inputs(task_id) / name
        try:
            if isinstance(source, bytes):
                _write(file, [source])
            else:
                _link(source, file)
        except OSError as error:
            raise self._unusable(error) from error
        return name

    def _inputs(self, task_id: str) -> Path:
        return self.folder / "inputs" / task_id

    def uploaded(self, name: str, account: str, model: str, since: float) -> bool:
        """Say whether this account uploaded a file of that name for this model, no earlier than ``since``."""
        query = "SELECT 1 FROM uploads WHERE name = ? AND account = ? AND model = ? AND created >= ?"
        with self._transaction() as db:
            return db.execute(query, (name, account, model, since)).fetchone() is not None

    def throttle(self, name: str, now: float, seconds: float) -> float:
        """Return how many seconds ``name`` must still wait, from its first try on; then 0, once, and forget it."""
        with self._transaction() as db:
            db.execute("INSERT OR IGNORE INTO throttled VALUES (?, ?)", (name, now + seconds))
            until: float = db.execute("SELECT until FROM throttled WHERE name = ?", (name,)).fetchone()[0]
            if until <= now:
                db.execute("DELETE FROM throttled WHERE name = ?", (name,))
            return max(0.0, until - now)

    def _clip(self, task_id: str) -> Path:
        return self.folder / "clips" / f"{task_id}.mp4"

    def _part(self, task_id: str) -> Path:
        return self.folder / "clips" / f"{task_id}.part.mp4"

    def clip(self, task: Task, mode: str) -> Path:
        """Return the file of the task's clip, drawn once; raises RawgenaiError ``missing_extra`` without PyAV."""
        path = self._clip(task.task_id)
        if path.exists():
            return path
        from filelock import FileLock

        from rawgenai.dashscope.models import MODELS
        from rawgenai.emulator import render

        path.parent.mkdir(mode=0o700, exist_ok=True)
        with FileLock(path.parent / "lock"):  # one drawing at a time: each takes every core
            if path.exists():
                return path
            part, inputs = self._part(task.task_id), self._inputs(task.task_id)
            render.draw(
                part,
                width=task.width,
                height=task.height,
                seconds=task.duration,
                sound=task.sound,
                fps=MODELS[task.model].fps,
                prompt=task.prompt or "",
                model=task.model,
                mode=mode,
                task_id=task.task_id,
                watermark=task.watermark,
                pictures=[inputs / name if name else None for name in task.pictures],
                fields=task.fields,
                scales=task.scales,
                music=inputs / task.music if task.music else None,
            )
            part.replace(path)
        return path


def _write(file: Path, pieces: Iterable[bytes]) -> None:
    """Write a private file that does not exist yet."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.writelines(pieces)


def _link(source: Path, file: Path) -> None:
    """Give a file that never changes a second name, or copy it where the file system knows none."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        os.link(source, file)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, file)
        file.chmod(0o600)


def _dumps(task: Task) -> str:
    return json.dumps(asdict(task))


def _load(db: "sqlite3.Connection", task_id: str) -> Task | None:
    row: tuple[Any, ...] | None = db.execute("SELECT task FROM tasks WHERE task_id = ?", (task_id,)).fetchone()
    return None if row is None else Task(**json.loads(row[0]))
