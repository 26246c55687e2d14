import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import TypedDict

import pytest

from rawgenai import files, ledger
from rawgenai.errors import RawgenaiError
from rawgenai.ledger import Ledger, Row, open_ledger
from rawgenai.secret import Secret

posix = pytest.mark.skipif(os.name != "posix", reason="mode bits and SIGKILL are POSIX")


class Intent(TypedDict):
    provider: str
    model: str
    mode: str
    prompt: str | None
    base_url: str


INTENT = Intent(
    provider="dashscope",
    model="wan2.6-t2v",
    mode="t2v",
    prompt="月光下的小猫",
    base_url="https://dashscope.aliyuncs.com/api/v1",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "rawgenai" / "tasks.db"


@pytest.fixture
def tasks() -> Iterator[Ledger]:
    """An open ledger whose clock ticks once a call."""
    ticks = map(float, count(1))
    with open_ledger(now=lambda: next(ticks)) as opened:
        yield opened


def only(tasks: Ledger) -> Row:
    (row,) = tasks.rows()
    return row


def refusal(call: Callable[[], object] = open_ledger) -> str:
    """What a ledger that cannot be used says: always its code, its file and the way round it."""
    with pytest.raises(RawgenaiError, match=r"tasks\.db.*--no-ledger|no place.*--no-ledger") as caught:
        call()
    assert caught.value.code == "output_write_error"
    return caught.value.message


# --- A task's life --------------------------------------------------------------------------------------------------


def test_an_intent_is_there_before_anything_is_sent(tasks: Ledger) -> None:
    number = tasks.intend(**INTENT)
    assert only(tasks) == Row(
        id=number,
        **INTENT,
        task_id=None,
        request_id=None,
        state="intended",
        status=None,
        code=None,
        file=None,
        created_at=1.0,
        updated_at=1.0,
    )


def test_an_accepted_task_is_found_by_its_id(tasks: Ledger) -> None:
    number = tasks.intend(**INTENT)
    tasks.accept(number, "task-1", "request-1")
    found = tasks.find("task-1")
    assert found == only(tasks)
    assert (found.id, found.state, found.status, found.request_id) == (number, "accepted", "pending", "request-1")
    assert (found.created_at, found.updated_at) == (1.0, 2.0)
    assert tasks.find("task-2") is None


def test_a_refusal_keeps_its_reason(tasks: Ledger) -> None:
    tasks.refuse(tasks.intend(**INTENT), "invalid_request", "request-1")
    row = only(tasks)
    assert (row.request_id, row.state, row.status, row.code) == ("request-1", "refused", None, "invalid_request")


def test_a_key_that_a_server_echoes_is_not_kept(tasks: Ledger) -> None:
    key = Secret("sk-echoed-by-a-server").reveal()
    tasks.accept(tasks.intend(**INTENT), "task-1", f"request of {key}")
    assert only(tasks).request_id == "request of [redacted]"


def test_an_unknown_outcome_is_settled_later(tasks: Ledger) -> None:
    first, second = tasks.intend(**INTENT), tasks.intend(**INTENT)
    for number in (first, second):
        tasks.unknown(number, "timeout", "request-1")
    assert [(row.id, row.state, row.code) for row in tasks.unsettled()] == [
        (second, "unknown", "timeout"),
        (first, "unknown", "timeout"),
    ]
    tasks.accept(first, "task-1")
    tasks.refuse(second, "server_error")
    assert tasks.unsettled() == []
    rows = [(row.state, row.code, row.request_id) for row in tasks.rows()]
    assert rows == [("refused", "server_error", "request-1"), ("accepted", None, "request-1")]


def test_unsettled_rows_are_those_intended_or_unknown(tasks: Ledger) -> None:
    numbers = [tasks.intend(**INTENT) for _ in range(4)]
    tasks.accept(numbers[0], "task-1")
    tasks.refuse(numbers[1], "rate_limit")
    tasks.unknown(numbers[2], "timeout")
    assert [row.id for row in tasks.unsettled()] == [numbers[3], numbers[2]]


def test_rows_come_newest_first_and_as_many_as_asked_for(tasks: Ledger) -> None:
    numbers = [tasks.intend(**INTENT) for _ in range(3)]
    assert [row.id for row in tasks.rows()] == numbers[::-1]
    assert [row.id for row in tasks.rows(2)] == numbers[:0:-1]


TO_STATE: dict[str, Callable[[Ledger, int], None]] = {
    "intended": lambda tasks, number: None,
    "accepted": lambda tasks, number: tasks.accept(number, f"task-{number}"),
    "refused": lambda tasks, number: tasks.refuse(number, "rate_limit"),
    "unknown": lambda tasks, number: tasks.unknown(number, "timeout"),
    "lost": lambda tasks, number: tasks.lose(number, "timeout"),
}


@pytest.mark.parametrize("new", ["accepted", "refused", "unknown", "lost"])
@pytest.mark.parametrize("old", ledger.STATES)
def test_a_state_changes_along_the_table_and_in_no_other_way(old: str, new: str, tasks: Ledger) -> None:
    number = tasks.intend(**INTENT)
    TO_STATE[old](tasks, number)
    before = only(tasks)
    if (old, new) in ledger.TRANSITIONS:
        TO_STATE[new](tasks, number)
        assert only(tasks).state == new
    else:
        assert "cannot change its state" in refusal(lambda: TO_STATE[new](tasks, number))
        assert only(tasks) == before


def test_the_table_of_transitions_is_the_one_of_design_section_5() -> None:
    assert set(ledger.TRANSITIONS) == {
        ("intended", "accepted"),
        ("intended", "refused"),
        ("intended", "unknown"),
        ("intended", "lost"),
        ("accepted", "accepted"),
        ("unknown", "accepted"),
        ("unknown", "refused"),
        ("unknown", "lost"),
    }


def test_a_task_never_gets_another_id(tasks: Ledger) -> None:
    number = tasks.intend(**INTENT)
    tasks.accept(number, "task-1")
    assert "has lost its row" in refusal(lambda: tasks.accept(number, "task-2"))
    assert only(tasks).task_id == "task-1"


@pytest.mark.parametrize(
    ("updates", "status", "code"),
    [
        ([{"status": "running"}], "running", None),
        ([{"status": "running"}, {"status": "succeeded"}], "succeeded", None),
        ([{"status": "succeeded"}, {"status": "running"}], "succeeded", None),
        ([{"status": "succeeded"}, {"status": "failed", "code": "server_error"}], "succeeded", None),
        ([{"status": "failed", "code": "content_policy"}, {"status": "pending"}], "failed", "content_policy"),
        ([{"status": "canceled"}, {"status": "succeeded"}], "canceled", None),
        ([{}], "pending", None),
    ],
)
def test_a_terminal_status_stays(updates: list[dict[str, str]], status: str, code: str | None, tasks: Ledger) -> None:
    tasks.accept(tasks.intend(**INTENT), "task-1")
    for update in updates:
        tasks.update("task-1", **update)
    assert (only(tasks).status, only(tasks).code) == (status, code)


def test_the_file_of_a_finished_task_is_kept_whatever_bytes_its_name_has(tasks: Ledger) -> None:
    tasks.accept(tasks.intend(**INTENT), "task-1")
    tasks.update("task-1", status="succeeded")
    tasks.update("task-1", file="/tmp/caf\udce9 小猫.mp4")
    assert only(tasks).file == r"/tmp/caf\udce9 小猫.mp4"
    tasks.update("task-1", status="succeeded")
    assert only(tasks).file == r"/tmp/caf\udce9 小猫.mp4"


def test_an_update_of_a_task_of_somebody_else_does_nothing(tasks: Ledger) -> None:
    tasks.update("task-1", status="running")
    assert tasks.rows() == []


def test_a_status_that_is_none_of_ours_is_refused(tasks: Ledger) -> None:
    tasks.accept(tasks.intend(**INTENT), "task-1")
    refusal(lambda: tasks.update("task-1", status="RUNNING"))


def test_a_task_id_is_recorded_once(tasks: Ledger) -> None:
    first, second = tasks.intend(**INTENT), tasks.intend(**INTENT)
    tasks.accept(first, "task-1")
    refusal(lambda: tasks.accept(second, "task-1"))


def test_a_lost_row_is_no_silence(tasks: Ledger) -> None:
    assert "lost its row" in refusal(lambda: tasks.accept(7, "task-1"))


# --- Uploads --------------------------------------------------------------------------------------------------------

UPLOAD = ("a" * 64, "wan2.6-r2v", "account")


def test_an_upload_is_found_until_it_expires(tasks: Ledger) -> None:
    assert tasks.find_upload(*UPLOAD, 0) is None
    tasks.remember_upload(*UPLOAD, "oss://a/b.png", 100.5)
    assert [tasks.find_upload(*UPLOAD, now) for now in (0, 100.4)] == ["oss://a/b.png"] * 2
    assert [tasks.find_upload(*UPLOAD, now) for now in (100.5, 1e12)] == [None] * 2


@pytest.mark.parametrize("other", [("b" * 64, *UPLOAD[1:]), (UPLOAD[0], "wan2.6-i2v", UPLOAD[2]), (*UPLOAD[:2], "a")])
def test_an_upload_is_of_its_content_model_and_account(tasks: Ledger, other: tuple[str, str, str]) -> None:
    tasks.remember_upload(*UPLOAD, "oss://a/b.png", 100)
    assert tasks.find_upload(*other, 0) is None
    tasks.remember_upload(*other, "oss://c/d.png", 100)
    assert (tasks.find_upload(*UPLOAD, 0), tasks.find_upload(*other, 0)) == ("oss://a/b.png", "oss://c/d.png")


def test_a_new_upload_takes_the_place_of_the_old_one(tasks: Ledger) -> None:
    tasks.remember_upload(*UPLOAD, "oss://a/b.png", 100)
    tasks.remember_upload(*UPLOAD, "oss://c/d.png", 200)
    assert tasks.find_upload(*UPLOAD, 150) == "oss://c/d.png"


def test_an_upload_is_found_by_another_process_and_is_no_task(path: Path) -> None:
    with open_ledger() as tasks:
        tasks.remember_upload(*UPLOAD, "oss://a/b.png", 100)
    with open_ledger(create=False) as tasks:
        assert tasks.find_upload(*UPLOAD, 0) == "oss://a/b.png"
        assert (tasks.rows(), tasks.unsettled()) == ([], [])


def test_no_ledger_remembers_no_upload() -> None:
    with Ledger(None) as tasks:
        tasks.remember_upload(*UPLOAD, "oss://a/b.png", 100)
        assert tasks.find_upload(*UPLOAD, 0) is None


# The file as version 1 made it, with a row; transcribed by hand.
FIRST = """
CREATE TABLE tasks (
    id INTEGER PRIMARY KEY, provider TEXT NOT NULL, task_id TEXT UNIQUE, request_id TEXT, model TEXT NOT NULL,
    mode TEXT NOT NULL, prompt TEXT, base_url TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('intended', 'accepted', 'refused', 'unknown')),
    status TEXT CHECK (status IN ('pending', 'running', 'succeeded', 'failed', 'canceled')),
    code TEXT, file TEXT, created_at REAL NOT NULL, updated_at REAL NOT NULL,
    CHECK ((state = 'accepted') = (task_id IS NOT NULL))
) STRICT;
CREATE TRIGGER transitions BEFORE UPDATE OF state ON tasks
    WHEN (OLD.state || '>' || NEW.state) NOT IN ('intended>accepted', 'intended>refused', 'intended>unknown',
        'unknown>accepted', 'unknown>refused')
    BEGIN SELECT RAISE(ABORT, 'a task cannot change its state like this'); END;
PRAGMA application_id = 1381451598;
PRAGMA user_version = 1;
INSERT INTO tasks VALUES (7, 'dashscope', 'task-7', 'request-7', 'wan2.6-t2v', 't2v', '小猫', 'https://x', 'accepted',
    'succeeded', NULL, '/clips/7.mp4', 1.0, 2.0);
INSERT INTO tasks VALUES (8, 'dashscope', NULL, NULL, 'wan2.6-t2v', 't2v', NULL, 'https://x', 'unknown',
    NULL, 'timeout', NULL, 3.0, 4.0);
"""


UPLOADS = """CREATE TABLE uploads (digest TEXT NOT NULL, model TEXT NOT NULL, account TEXT NOT NULL, url TEXT NOT NULL,
    expires_at REAL NOT NULL, PRIMARY KEY (digest, model, account));"""


@pytest.mark.parametrize("uploads", ["", UPLOADS])
def test_a_ledger_of_version_1_keeps_its_rows_and_learns_the_rest(uploads: str, path: Path) -> None:
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as db:
        db.executescript(FIRST + uploads)
    with open_ledger() as tasks:
        unknown, done = tasks.rows()
        assert (done.id, done.task_id, done.prompt, done.file, done.updated_at) == (
            7,
            "task-7",
            "小猫",
            "/clips/7.mp4",
            2,
        )
        assert (unknown.id, unknown.state, unknown.code, unknown.key) == (8, "unknown", "timeout", None)
        tasks.lose(8, "timeout")
        tasks.remember_upload(*UPLOAD, "oss://a/b.png", 100)
        assert tasks.find_upload(*UPLOAD, 0) == "oss://a/b.png"
        assert tasks.intend(**INTENT) == 9
    with open_ledger() as tasks:
        assert [row.state for row in tasks.rows()] == ["intended", "lost", "accepted"]


def test_uploads_that_cannot_be_written_or_read_are_refused(path: Path) -> None:
    with open_ledger() as tasks:
        damage(path, "DROP TABLE uploads")
        refusal(lambda: tasks.remember_upload(*UPLOAD, "oss://a/b.png", 100))
        refusal(lambda: tasks.find_upload(*UPLOAD, 0))


# --- The file -------------------------------------------------------------------------------------------------------


@pytest.mark.platform
@posix
def test_the_ledger_and_its_journal_are_private_from_the_first_moment(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect

    def seen(*args: object, **kwargs: object) -> sqlite3.Connection:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        return connect(*args, **kwargs)  # type: ignore[no-any-return, call-overload]

    monkeypatch.setattr(sqlite3, "connect", seen)
    before = os.umask(0)
    try:
        with open_ledger() as tasks:
            tasks.intend(**INTENT)
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        assert modes == {"tasks.db": 0o600, "tasks.db-journal": 0o600}
        path.chmod(0o644)
        path.parent.chmod(0o755)
        open_ledger().close()
        assert [stat.S_IMODE(each.stat().st_mode) for each in (path, path.parent)] == [0o600, 0o700]
    finally:
        os.umask(before)


@pytest.mark.platform
@posix
@pytest.mark.parametrize("linked", [False, True])
def test_a_new_ledger_is_never_anything_but_private(
    linked: bool, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "keep_private", lambda path: None)  # it must not depend on being tightened later
    real = tmp_path / "elsewhere.db" if linked else path
    if linked:
        path.parent.mkdir(parents=True)
        path.symlink_to(real)
    before = os.umask(0)
    try:
        make(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(real.stat().st_mode) == 0o600


def test_the_table_is_made_by_one_process_at_a_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    identity, looks = ledger._identity, []

    def intruded(db: sqlite3.Connection) -> tuple[int, int]:
        if db.in_transaction:
            looks.append(identity(db))
            with closing(sqlite3.connect(path, timeout=0)) as other, pytest.raises(sqlite3.Error, match="locked"):
                other.execute("BEGIN IMMEDIATE")
        return identity(db)

    monkeypatch.setattr(ledger, "_identity", intruded)
    make(path)
    assert looks == [(0, 0)]


def test_rows_outlive_the_program_that_wrote_them(tasks: Ledger) -> None:
    tasks.accept(tasks.intend(**INTENT), "task-1")
    rows = tasks.rows()
    tasks.close()
    with open_ledger() as again:
        assert again.rows() == rows


def test_every_write_is_synced_to_the_disk(tasks: Ledger) -> None:
    assert tasks._db
    pragmas = {"journal_mode": "truncate", "synchronous": 3, "trusted_schema": 0, "busy_timeout": 10_000}
    assert {name: tasks._db.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas} == pragmas
    assert not tasks._db.in_transaction


def damage(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        for statement in statements:
            db.execute(statement)


def make(path: Path) -> None:
    with open_ledger() as tasks:
        tasks.intend(**INTENT)


DAMAGES: dict[str, list[Callable[[Path], object]]] = {
    "text": [lambda path: path.write_text("dear diary, " * 100)],
    "cut": [make, lambda path: path.write_bytes(path.read_bytes()[:5000])],
    "scribbled on": [make, lambda path: path.write_bytes(path.read_bytes()[:100] + b"\xff" * 8092)],
    "newer": [make, lambda path: damage(path, "PRAGMA user_version = 3")],
    "of another program": [lambda path: damage(path, "CREATE TABLE songs (title)")],
    "of a program with a number": [lambda path: damage(path, "PRAGMA user_version = 1")],
    "without its table": [make, lambda path: damage(path, "DROP TABLE tasks")],
    "a folder": [Path.mkdir],
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_ledger_that_is_not_ours_is_refused_and_left_as_it_is(name: str, path: Path) -> None:
    path.parent.mkdir(parents=True)
    for step in DAMAGES[name]:
        step(path)
    before = path.read_bytes() if path.is_file() else None

    def use() -> None:
        with open_ledger() as tasks:
            tasks.intend(**INTENT)

    refusal(use)
    assert (path.read_bytes() if path.is_file() else None) == before


def test_a_newer_ledger_is_said_to_be_newer(path: Path) -> None:
    make(path)
    damage(path, "PRAGMA user_version = 3")
    assert "another version of rawgenai" in refusal()


def test_an_empty_file_becomes_a_ledger(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.touch()
    make(path)
    assert path.stat().st_size


def test_a_ledger_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    refusal()


def test_a_ledger_without_a_place_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # what it does for a user without passwd entry
    monkeypatch.setattr(sys, "platform", "linux")
    assert "XDG_STATE_HOME" in refusal(lambda: open_ledger({}))


def test_a_full_disk_refuses_the_intent(path: Path) -> None:
    with open_ledger() as tasks:
        assert tasks._db
        tasks._db.execute("PRAGMA max_page_count = 1")
        assert "full" in refusal(lambda: [tasks.intend(**INTENT) for _ in range(100)])


def test_a_python_without_sqlite_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlite3", None)
    refusal()
    open_ledger({"RAWGENAI_LEDGER": "off"}).close()


# --- No ledger --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make_none", [lambda: Ledger(None), lambda: open_ledger({**os.environ, "RAWGENAI_LEDGER": "off"})]
)
def test_no_ledger_records_nothing_and_finds_nothing(make_none: Callable[[], Ledger], tmp_path: Path) -> None:
    with make_none() as tasks:
        number = tasks.intend(**INTENT)
        tasks.unknown(number, "timeout")
        tasks.refuse(number, "timeout")
        tasks.accept(number, "task-1")
        tasks.update("task-1", status="running")
        assert (tasks.find("task-1"), tasks.rows(), tasks.unsettled()) == (None, [], [])
    assert not (tmp_path / "state").exists()


def test_a_ledger_that_need_not_exist_is_not_made(path: Path) -> None:
    with open_ledger(create=False) as tasks:
        assert tasks.rows() == []
    assert not path.exists()
    make(path)
    with open_ledger(create=False) as tasks:
        assert len(tasks.rows()) == 1


def test_no_ledger_loads_no_sqlite() -> None:
    program = """
import sys
from rawgenai.ledger import open_ledger
open_ledger(create=False).update("task-1", status="running")
open_ledger({"RAWGENAI_LEDGER": "off"}).close()
sys.exit("sqlite3" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


# --- Many processes, and processes that die -----------------------------------------------------------------------

WRITER = f"""
import os, sys
from rawgenai.ledger import open_ledger
os.read(0, 1)  # all start at once, on a ledger that is not there
with open_ledger() as tasks:
    for i in range(4):
        tasks.accept(tasks.intend(**{dict(INTENT)!r}), f"task-{{sys.argv[1]}}-{{i}}")
"""
KILLED_WRITER = f"""
import itertools, os
from rawgenai.ledger import open_ledger
with open_ledger() as tasks:
    for i in itertools.count():
        number = tasks.intend(**{dict(INTENT)!r})
        os.write(1, b"%d\\n" % number)
"""


@pytest.mark.slow
def test_32_processes_that_make_it_at_once_lose_nothing(path: Path) -> None:
    command = [sys.executable, "-c", WRITER]
    children = [subprocess.Popen([*command, str(i)], stdin=subprocess.PIPE) for i in range(32)]
    for child in children:
        assert child.stdin
        child.stdin.write(b"!")
        child.stdin.close()
    assert [child.wait() for child in children] == [0] * 32
    with open_ledger() as tasks:
        assert {row.task_id for row in tasks.rows()} == {f"task-{i}-{j}" for i in range(32) for j in range(4)}


@pytest.mark.slow
@pytest.mark.platform
@posix
def test_a_killed_process_leaves_every_intent_that_it_announced(path: Path) -> None:
    announced = 0
    runs = int(os.environ.get("RAWGENAI_TEST_RUNS", "10"))
    for run in range(runs):
        with subprocess.Popen([sys.executable, "-c", KILLED_WRITER], stdout=subprocess.PIPE) as child:
            assert child.stdout
            first = child.stdout.readline()
            time.sleep(run * 0.0007)  # the moment of the kill moves on with every run
            child.send_signal(signal.SIGKILL)
            announced = int((first + child.stdout.read()).rsplit(b"\n", 2)[-2])
        with open_ledger() as tasks:
            rows = tasks.rows()
        assert {row.state for row in rows} == {"intended"}
        assert rows[0].id >= announced
        assert len(rows) == rows[0].id
