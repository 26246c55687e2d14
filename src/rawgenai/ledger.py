"""The ledger: the local record of every task, in SQLite.

Floor 1: knows no provider. The intent is on disk before the POST and the task's id right after it (design section 5),
so every method that writes returns only when the row is on disk. The key never comes near it.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from rawgenai import files
from rawgenai.errors import RawgenaiError
from rawgenai.secret import ENVIRON, redact

if TYPE_CHECKING:
    import sqlite3

APPLICATION = 0x5257474E  # "RWGN", in the file's header
VERSION = 2  # of the table; a file of a later one is never touched
WAIT_SECONDS = 10.0  # how long to wait for another process that writes

# What is known about the POST; "lost": its outcome was never known, and the provider has forgotten it by now.
STATES = ("intended", "accepted", "refused", "unknown", "lost")
UNSETTLED = ("intended", "unknown")
TRANSITIONS = (  # what a row's state may become; all others are refused by a trigger
    ("intended", "accepted"),
    ("intended", "refused"),
    ("intended", "unknown"),
    ("intended", "lost"),
    ("accepted", "accepted"),  # by its own process and by one that settled it meanwhile, with the same id
    ("unknown", "accepted"),
    ("unknown", "refused"),
    ("unknown", "lost"),
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
    account: str | None = None  # fingerprint of the key that the POST was sent with
    key: str | None = None  # the caller's idempotency key
    digest: str | None = None  # names what was asked for: equal for equal requests
    duration: float | None = None  # seconds of clip that were asked for
    output: str | None = None  # where the clip was promised to be put: a file, or a folder, which ends in a slash
    answer: str | None = None  # what the provider said when the task ended, as JSON
    file_digest: str | None = None  # of the file's bytes
    claim: str | None = None  # names the lock of the process that works on it


class Taken(Exception):  # noqa: N818 - a fact that the caller goes on from, no error of the program
    """The idempotency key has a row already."""


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
        account TEXT,
        key TEXT,
        digest TEXT,
        duration REAL,
        output TEXT,
        answer TEXT,
        file_digest TEXT,
        claim TEXT,
        CHECK ((state = 'accepted') = (task_id IS NOT NULL))
    )""",
    # A key may be tried again once its task was provably refused.
    "CREATE UNIQUE INDEX keys ON tasks (base_url, key) WHERE key IS NOT NULL AND state <> 'refused'",
    "CREATE INDEX digests ON tasks (digest)",
    f"""CREATE TRIGGER transitions BEFORE UPDATE OF state ON tasks
        WHEN (OLD.state || '>' || NEW.state) NOT IN ({_words(tuple(">".join(pair) for pair in TRANSITIONS))})
        BEGIN SELECT RAISE(ABORT, 'a task cannot change its state like this'); END""",
    """CREATE TABLE IF NOT EXISTS uploads (
        digest TEXT NOT NULL,
        model TEXT NOT NULL,
        account TEXT NOT NULL,
        url TEXT NOT NULL,
        expires_at REAL NOT NULL,
        PRIMARY KEY (digest, model, account)
    )""",
    f"PRAGMA application_id = {APPLICATION}",
    f"PRAGMA user_version = {VERSION}",
)

_SELECT = f"SELECT {', '.join(Row._fields)} FROM tasks"  # noqa: S608 - its own columns

# TRUNCATE, not WAL: SQLite before 3.51.3 can corrupt a WAL file that two connections write (faults, section 4).
_PRAGMAS = (
    "PRAGMA journal_mode = TRUNCATE",
    "PRAGMA synchronous = EXTRA",
    "PRAGMA fullfsync = ON",
    "PRAGMA trusted_schema = OFF",
)


def open_ledger(
    environ: Mapping[str, str] = ENVIRON, *, create: bool = True, now: Callable[[], float] = time.time
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
        self._path = path or ""  # empty: nothing is recorded
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

    @property
    def path(self) -> str:
        """The file; empty where nothing is recorded."""
        return self._path

    def close(self) -> None:
        """Close the file; more than once does no harm."""
        if self._db:
            self._db.close()
            self._db = None

    def intend(
        self,
        *,
        provider: str,
        model: str,
        mode: str,
        prompt: str | None,
        base_url: str,
        account: str | None = None,
        key: str | None = None,
        digest: str | None = None,
        duration: float | None = None,
        output: str | None = None,
        claim: str | None = None,
    ) -> int:
        """Record, before the POST, that a task is about to be created; the row's id (0 without a file).

        Raises Taken where the idempotency key has a row already (``by_key``): of many processes, one makes it.
        """
        now = self._now()
        facts = (provider, model, mode, prompt, base_url, account, key, digest, duration, output, claim)
        sql = """INSERT INTO tasks
            (provider, model, mode, prompt, base_url, account, key, digest, duration, output, claim,
             state, created_at, updated_at)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'intended', ?, ?) ON CONFLICT DO NOTHING"""
        number, written = self._write(sql, (*facts, now, now))
        if self._db and not written:
            raise Taken
        return number

    @contextmanager
    def claimed(self) -> Iterator[str | None]:
        """Hold a new lock, and give its name for a row's ``claim``: while it is held, somebody works on that row.

        It goes with the process that holds it, however that ends.
        """
        if not self._db:
            yield None
            return
        claim = os.urandom(8).hex()
        path = self._claim(claim)
        with ExitStack() as stack:
            with _translated(self._path):
                stack.enter_context(files.locked(path, wait=WAIT_SECONDS))
            stack.callback(_unlink, path)
            yield claim

    def is_claimed(self, row: Row) -> bool:
        """Tell whether a process is at work on a row."""
        path = self._claim(row.claim) if row.claim else ""
        if not os.path.lexists(path):
            return False
        # One looks at a time: two would take each other for the process at work, and a new task would be paid.
        with _translated(self._path), files.locked(self._claim("looking"), wait=WAIT_SECONDS):
            try:
                with files.locked(path, wait=0):
                    _unlink(path)  # who held it is gone
            except TimeoutError:
                return True
        return False

    def settling(self, wait: float) -> AbstractContextManager[None]:
        """Keep other processes from settling rows meanwhile; waits at most ``wait`` seconds for one that does.

        Raises RawgenaiError wait_timeout where it is still at it then.
        """
        return self._alone("settling", wait, "settling submissions")

    def asking(self, digest: str, wait: float) -> AbstractContextManager[None]:
        """Keep other processes from asking for the same meanwhile, as ``settling`` does."""
        return self._alone(digest, wait, "asking for the same")

    @contextmanager
    def _alone(self, name: str, wait: float, doing: str) -> Iterator[None]:
        if not self._db:
            yield
            return
        path = self._claim(name)
        with ExitStack() as stack:
            with _translated(self._path):
                try:
                    stack.enter_context(files.locked(path, wait=wait))
                except TimeoutError as error:
                    message = f"another process is still {doing} after {round(wait, 1):g} seconds"
                    raise RawgenaiError("wait_timeout", message) from error
            stack.callback(_unlink, path)
            yield

    def claim(self, row: int, claim: str | None) -> None:
        """Record who works on a row from now on."""
        self._write("UPDATE tasks SET claim = ? WHERE id = ?", (claim, row))

    def _claim(self, name: str) -> str:
        return os.path.join(os.path.dirname(os.path.realpath(self._path)), "locks", f"{name}.lock")

    def accept(self, row: int, task_id: str, request_id: str | None = None) -> None:
        """Record that the provider accepted the task and named it; once more does no harm."""
        sql = """UPDATE tasks SET state = 'accepted', task_id = ?1, request_id = coalesce(?2, request_id),
            status = coalesce(status, 'pending'), code = NULL, updated_at = ?3
            WHERE id = ?4 AND (task_id IS NULL OR task_id = ?1)"""
        self._settle(row, sql, (task_id, request_id, self._now(), row))

    def refuse(self, row: int, code: str, request_id: str | None = None) -> None:
        """Record that there is provably no task; ``code`` says why."""
        self._fail(row, "refused", code, request_id)

    def unknown(self, row: int, code: str, request_id: str | None = None) -> None:
        """Record that nobody knows whether there is a task; ``code`` says why."""
        self._fail(row, "unknown", code, request_id)

    def lose(self, row: int, code: str) -> None:
        """Record that nobody will ever know whether there was a task."""
        self._fail(row, "lost", code, None)

    def _fail(self, row: int, state: str, code: str, request_id: str | None) -> None:
        sql = "UPDATE tasks SET state = ?, code = ?, request_id = coalesce(?, request_id), updated_at = ? WHERE id = ?"
        self._settle(row, sql, (state, code, request_id, self._now(), row))

    def _settle(self, row: int, sql: str, values: tuple[Any, ...]) -> None:
        if self._db and self._write(sql, values)[1] != 1:
            raise _error(self._path, f"has lost its row {row}")

    def update(
        self,
        task_id: str,
        *,
        status: str | None = None,
        code: str | None = None,
        answer: str | None = None,
        file: str | None = None,
        file_digest: str | None = None,
        output: str | None = None,
    ) -> None:
        """Record what is new about a task that the ledger knows; a terminal status stays, and so does its code."""
        sql = f"""UPDATE tasks SET
            status = CASE WHEN status IN ({_words(TERMINAL)}) THEN status ELSE coalesce(?1, status) END,
            code = CASE WHEN status IN ({_words(TERMINAL)}) THEN code ELSE coalesce(?2, code) END,
            answer = coalesce(?3, answer), file = coalesce(?4, file), file_digest = coalesce(?5, file_digest),
            output = coalesce(?6, output), updated_at = ?7 WHERE task_id = ?8"""  # noqa: S608 - words of the table above
        values = (status, code, answer, _name(file), file_digest, _name(output), self._now(), task_id)
        self._write(sql, values)

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

    def row(self, number: int) -> Row | None:
        """The row with an id of ours."""
        return next(iter(self._read("WHERE id = ?", (number,))), None)

    def find(self, task_id: str) -> Row | None:
        """The row of a task."""
        return next(iter(self._read("WHERE task_id = ?", (task_id,))), None)

    def by_key(self, base_url: str, key: str) -> Row | None:
        """The row that has an idempotency key, unless its task was provably refused."""
        clause = "WHERE base_url = ? AND key = ? AND state <> 'refused'"
        return next(iter(self._read(clause, (base_url, key))), None)

    def by_digest(self, digest: str) -> list[Row]:
        """The rows that asked for the same, newest first."""
        return self._read("WHERE digest = ? ORDER BY id DESC", (digest,))

    def rows(
        self,
        limit: int | None = None,
        *,
        status: str | None = None,
        model: str | None = None,
        since: float | None = None,
    ) -> list[Row]:
        """The rows, newest first, at most ``limit``; with this status, of this model, created at or after ``since``.

        A row that has no status yet counts by its state.
        """
        clause = """WHERE (?1 IS NULL OR coalesce(status, state) = ?1) AND (?2 IS NULL OR model = ?2)
            AND (?3 IS NULL OR created_at >= ?3) ORDER BY id DESC LIMIT ?4"""
        return self._read(clause, (status, model, since, -1 if limit is None else limit))

    def unsettled(self, since: float = 0.0) -> list[Row]:
        """The rows of which nobody knows whether there is a task, created at or after ``since``, newest first."""
        clause = f"WHERE state IN ({_words(UNSETTLED)}) AND created_at >= ? ORDER BY id DESC"
        return self._read(clause, (since,))

    def undelivered(self, since: float) -> list[Row]:
        """The accepted tasks whose clip was promised to a place and is not known to be there, newest first.

        Only those created at or after ``since`` (UTC, seconds), and none that failed or was canceled.
        """
        clause = """WHERE state = 'accepted' AND output IS NOT NULL AND file IS NULL AND created_at >= ?
            AND coalesce(status, '') NOT IN ('failed', 'canceled') ORDER BY id DESC"""
        return self._read(clause, (since,))

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


def _unlink(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)


def _name(path: str | None) -> str | None:
    """A file's name may hold bytes that are no text; SQLite takes text alone."""
    return path and path.encode("utf-8", "backslashreplace").decode()


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
    except BaseException:
        db.close()
        raise
    return db


def _make(db: "sqlite3.Connection", path: str) -> None:
    """Make the tables in an empty file, or those of an earlier version anew; any other file stays as it is."""
    db.execute("BEGIN IMMEDIATE")
    identity = _identity(db)
    if identity == (APPLICATION, VERSION):  # another process was faster
        db.execute("ROLLBACK")
        return
    if identity == (APPLICATION, 1):
        _renew(db)
    elif identity[0] == APPLICATION:
        raise _error(path, f"was made by another version of rawgenai (table {identity[1]}, not {VERSION})")
    elif identity != (0, 0) or db.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
        raise _error(path, "belongs to another program")
    else:
        _lay_out(db)
    db.execute("COMMIT")


def _renew(db: "sqlite3.Connection") -> None:
    """Take the rows of version 1 over; it had fewer columns, and one state less."""
    columns = ", ".join(Row._fields[:14])
    db.execute("DROP TRIGGER transitions")
    db.execute("ALTER TABLE tasks RENAME TO earlier")
    _lay_out(db)
    db.execute(f"INSERT INTO tasks ({columns}) SELECT {columns} FROM earlier")  # noqa: S608 - its own columns
    db.execute("DROP TABLE earlier")


def _lay_out(db: "sqlite3.Connection") -> None:
    import sqlite3

    table, *rest = _SCHEMA
    db.execute(table + (" STRICT" if sqlite3.sqlite_version_info >= (3, 37, 0) else ""))
    for statement in rest:
        db.execute(statement)


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
