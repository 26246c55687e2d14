"""The ledger: the local record of every task, in SQLite.

Floor 1: knows no provider. The intent is on disk before the POST and the task's id right after it (design section 5),
so every method that writes returns only when the row is on disk. The key never comes near it.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from rawgenai import files
from rawgenai.errors import RawgenaiError
from rawgenai.secret import redact

if TYPE_CHECKING:
    import sqlite3

APPLICATION = 0x5257474E  # "RWGN", in the file's header
VERSION = 1  # of the table; a file of another one is never touched
WAIT_SECONDS = 10.0  # how long to wait for another process that writes

STATES = ("intended", "accepted", "refused", "unknown")
TRANSITIONS = (  # what a row's state may become; all others are refused by a trigger
    ("intended", "accepted"),
    ("intended", "refused"),
    ("intended", "unknown"),
    ("unknown", "accepted"),
    ("unknown", "refused"),
)
STATUSES = ("pending", "running", "succeeded", "failed", "canceled")
TERMINAL = ("succeeded", "failed", "canceled")  # sticky: no later answer changes them


class Row(NamedTuple):
    """One task, or the intent to create one: a row of the ledger."""

    id: int  # ours
    provider: str
    task_id: str | None  # the provider's; None until accepted
    request_id: str | None
    model: str
    mode: str
    prompt: str | None
    base_url: str
    state: str  # of STATES: what is known about the POST
    status: str | None  # of STATUSES: what the provider said last
    code: str | None  # why it was refused, is unknown, or failed
    file: str | None  # where its clip was downloaded to
    created_at: float  # UTC, seconds since 1970
    updated_at: float


def _words(words: tuple[str, ...]) -> str:
    return ", ".join(f"'{word}'" for word in words)


_SCHEMA = (
    f"""CREATE TABLE tasks (
        id INTEGER PRIMARY KEY,
        provider TEXT NOT NULL,
        task_id TEXT UNIQUE,
        request_id TEXT,
        model TEXT NOT NULL,
        mode TEXT NOT NULL,
        prompt TEXT,
        base_url TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ({_words(STATES)})),
        status TEXT CHECK (status IN ({_words(STATUSES)})),
        code TEXT,
        file TEXT,
        created_at REAL NOT NULL,
        updated_at REAL NOT NULL,
        CHECK ((state = 'accepted') = (task_id IS NOT NULL))
    )""",
    f"""CREATE TRIGGER transitions BEFORE UPDATE OF state ON tasks
        WHEN (OLD.state || '>' || NEW.state) NOT IN ({_words(tuple(">".join(pair) for pair in TRANSITIONS))})
        BEGIN SELECT RAISE(ABORT, 'a task cannot change its state like this'); END""",
    f"PRAGMA application_id = {APPLICATION}",
    f"PRAGMA user_version = {VERSION}",
)

# Not in the first release's files; what an older program does not know does it no harm.
_UPLOADS = """CREATE TABLE IF NOT EXISTS uploads (
    digest TEXT NOT NULL,
    model TEXT NOT NULL,
    account TEXT NOT NULL,
    url TEXT NOT NULL,
    expires_at REAL NOT NULL,
    PRIMARY KEY (digest, model, account)
)"""

_SELECT = f"SELECT {', '.join(Row._fields)} FROM tasks"  # noqa: S608 - its own columns

# TRUNCATE, not WAL: SQLite before 3.51.3 can corrupt a WAL file that two connections write (faults, section 4).
_PRAGMAS = (
    "PRAGMA journal_mode = TRUNCATE",
    "PRAGMA synchronous = EXTRA",
    "PRAGMA fullfsync = ON",
    "PRAGMA trusted_schema = OFF",
)


def open_ledger(
    environ: Mapping[str, str] = os.environ, *, create: bool = True, now: Callable[[], float] = time.time
) -> "Ledger":
    """The ledger ``tasks.db`` in the state folder; one that does nothing where ``RAWGENAI_LEDGER`` is ``off``.

    With ``create=False`` a ledger that does not exist yet is not made, and does nothing. Raises RawgenaiError
    output_write_error: it cannot be opened or made, is damaged, or belongs to another program or version.
    """
    if environ.get("RAWGENAI_LEDGER", "").strip().lower() == "off":
        return Ledger(None)
    try:
        path = os.path.join(files.state_folder(environ), "tasks.db")
    except FileNotFoundError as error:
        message = f"there is no place for the ledger: {error}, or XDG_STATE_HOME; --no-ledger does without it"
        raise RawgenaiError("output_write_error", message) from error
    return Ledger(path if create or os.path.lexists(path) else None, now=now)


class Ledger:
    """An open ledger, to be used with ``with`` and by one thread; ``Ledger(None)`` records nothing and finds nothing.

    Every method raises RawgenaiError output_write_error when the file fails it.
    """

    def __init__(self, path: str | None, *, now: Callable[[], float] = time.time) -> None:
        self._path = path or ""
        self._now = now
        self._db: sqlite3.Connection | None = None
        if path:
            with _translated(path):
                self._db = _connect(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; more than once does no harm."""
        if self._db:
            self._db.close()
            self._db = None

    def intend(self, *, provider: str, model: str, mode: str, prompt: str | None, base_url: str) -> int:
        """Record, before the POST, that a task is about to be created; the row's id (0 without a file)."""
        now = self._now()
        values = (provider, model, mode, prompt, base_url, "intended", now, now)
        sql = """INSERT INTO tasks
            (provider, model, mode, prompt, base_url, state, created_at, updated_at)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
        return self._write(sql, values)[0]

    def accept(self, row: int, task_id: str, request_id: str | None = None) -> None:
        """Record that the provider accepted the task and named it."""
        sql = """UPDATE tasks SET state = 'accepted', task_id = ?, request_id = coalesce(?, request_id),
            status = 'pending', code = NULL, updated_at = ? WHERE id = ?"""
        self._settle(row, sql, (task_id, request_id, self._now(), row))

    def refuse(self, row: int, code: str, request_id: str | None = None) -> None:
        """Record that there is provably no task; ``code`` says why."""
        self._fail(row, "refused", code, request_id)

    def unknown(self, row: int, code: str, request_id: str | None = None) -> None:
        """Record that nobody knows whether there is a task; ``code`` says why."""
        self._fail(row, "unknown", code, request_id)

    def _fail(self, row: int, state: str, code: str, request_id: str | None) -> None:
        sql = "UPDATE tasks SET state = ?, code = ?, request_id = coalesce(?, request_id), updated_at = ? WHERE id = ?"
        self._settle(row, sql, (state, code, request_id, self._now(), row))

    def _settle(self, row: int, sql: str, values: tuple[Any, ...]) -> None:
        if self._db and self._write(sql, values)[1] != 1:
            raise _error(self._path, f"has lost its row {row}")

    def update(
        self, task_id: str, *, status: str | None = None, code: str | None = None, file: str | None = None
    ) -> None:
        """Record what is new about a task that the ledger knows; a terminal status stays, and so does its code."""
        sql = f"""UPDATE tasks SET
            status = CASE WHEN status IN ({_words(TERMINAL)}) THEN status ELSE coalesce(?1, status) END,
            code = CASE WHEN status IN ({_words(TERMINAL)}) THEN code ELSE coalesce(?2, code) END,
            file = coalesce(?3, file), updated_at = ?4 WHERE task_id = ?5"""  # noqa: S608 - words of the table above
        # A file's name may hold bytes that are no text; SQLite takes text alone.
        name = file and file.encode("utf-8", "backslashreplace").decode()
        self._write(sql, (status, code, name, self._now(), task_id))

    def remember_upload(self, digest: str, model: str, account: str, url: str, expires_at: float) -> None:
        """Record where a file's content was uploaded for a model and an account, until when (UTC, seconds)."""
        sql = "INSERT OR REPLACE INTO uploads VALUES (?, ?, ?, ?, ?)"
        self._write(sql, (digest, model, account, url, expires_at))

    def find_upload(self, digest: str, model: str, account: str, now: float) -> str | None:
        """The URL of the same content, uploaded before and not expired."""
        if not self._db:
            return None
        sql = "SELECT url FROM uploads WHERE digest = ? AND model = ? AND account = ? AND expires_at > ?"
        with _translated(self._path):
            found = self._db.execute(sql, (digest, model, account, now)).fetchone()
        return found[0] if found else None

    def find(self, task_id: str) -> Row | None:
        """The row of a task."""
        return next(iter(self._read("WHERE task_id = ?", (task_id,))), None)

    def rows(self, limit: int | None = None) -> list[Row]:
        """The rows, newest first, at most ``limit``."""
        return self._read("ORDER BY id DESC LIMIT ?", (-1 if limit is None else limit,))

    def unsettled(self) -> list[Row]:
        """The rows of which nobody knows whether there is a task, newest first."""
        return self._read("WHERE state IN ('intended', 'unknown') ORDER BY id DESC")

    def _write(self, sql: str, values: tuple[Any, ...]) -> tuple[int, int]:
        """Run one statement, on disk on return; the new row's id and the number of rows written."""
        if not self._db:
            return 0, 0
        with _translated(self._path):
            # What a server said may hold what it was told, and this file outlives the key.
            safe = [redact(value) if isinstance(value, str) else value for value in values]
            cursor = self._db.execute(sql, safe)
            return cursor.lastrowid or 0, cursor.rowcount

    def _read(self, clause: str, values: tuple[Any, ...] = ()) -> list[Row]:
        if not self._db:
            return []
        with _translated(self._path):
            return [Row(*row) for row in self._db.execute(f"{_SELECT} {clause}", values)]


def _connect(path: str) -> "sqlite3.Connection":
    """Open the ledger, making it where it is not there yet, private from its first moment."""
    import sqlite3

    path = os.path.realpath(path)
    folder = os.path.dirname(path)
    files.make_private(folder)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        files.sync_folder(folder)
    files.keep_private(folder)
    files.keep_private(path)
    db = sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None)
    try:
        for pragma in _PRAGMAS:
            db.execute(pragma)
        if _identity(db) != (APPLICATION, VERSION):
            _make(db, path)
        db.execute(_UPLOADS)
    except BaseException:
        db.close()
        raise
    return db


def _make(db: "sqlite3.Connection", path: str) -> None:
    """Make the table in an empty file, alone; any other file is refused and stays as it is."""
    import sqlite3

    db.execute("BEGIN IMMEDIATE")
    identity = _identity(db)
    if identity == (APPLICATION, VERSION):  # another process was faster
        db.execute("ROLLBACK")
        return
    if identity[0] == APPLICATION:
        raise _error(path, f"was made by another version of rawgenai (table {identity[1]}, not {VERSION})")
    if identity != (0, 0) or db.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
        raise _error(path, "belongs to another program")
    table, *rest = _SCHEMA
    db.execute(table + (" STRICT" if sqlite3.sqlite_version_info >= (3, 37, 0) else ""))
    for statement in rest:
        db.execute(statement)
    db.execute("COMMIT")


def _identity(db: "sqlite3.Connection") -> tuple[int, int]:
    return db.execute("PRAGMA application_id").fetchone()[0], db.execute("PRAGMA user_version").fetchone()[0]


@contextmanager
def _translated(path: str) -> Iterator[None]:
    try:
        import sqlite3
    except ImportError as error:  # a Python built without it
        raise _error(path, f"cannot be used: {error}") from error
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise _error(path, f"cannot be used: {files.reason(error)}") from error


def _error(path: str, what: str) -> RawgenaiError:
    return RawgenaiError("output_write_error", f"the ledger {path!r} {what}; --no-ledger does without it")
