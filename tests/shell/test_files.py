import io
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from rawgenai import files
from rawgenai.errors import RawgenaiError

posix = pytest.mark.skipif(os.name != "posix", reason="mode bits and FIFOs are POSIX")
TASK = "0385dc79-5ff8-4d82-bcb6-7d2f5d1a8c3e"
ETAG = "D41D8CD98F00B204E9800998ECF8427E"


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(RawgenaiError) as caught:
        call()
    return caught.value.code


def mode_of(path: str | Path) -> int:
    return stat.S_IMODE(Path(path).stat().st_mode)


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def pipe() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as out, os.fdopen(writer, "wb", buffering=0) as into:
        yield out, into


# --- The prompt ---------------------------------------------------------------------------------------------------

PROMPTS = [
    (b"A kitten", "A kitten"),
    (b"\xef\xbb\xbfA kitten\r\nin the\rmoonlight\r\n", "A kitten\nin the\nmoonlight"),
    (b"  A\tkitten \n\n", "A\tkitten"),
    ("月光下的小猫，跑\n".encode(), "月光下的小猫，跑"),
    ("\N{CAT FACE}\N{ZERO WIDTH JOINER}".encode(), "\N{CAT FACE}\N{ZERO WIDTH JOINER}"),
    (b"", ""),
    (b" \n\t\r\n", ""),
    (b"\xef\xbb\xbf", ""),
    (b"x" * 65536, "x" * 65536),
]
REFUSED = [
    ("A kitten".encode("utf-16"), "UTF-16"),
    ("A kitten".encode("utf-16-le"), "U+0000"),
    ("月光下".encode("utf-16-le"), "U+0008"),
    ("A kitten".encode("utf-32"), "UTF-32"),
    ("月光下的小猫".encode("gbk"), "GBK"),
    ("café au lait".encode("latin-1"), "Latin-1"),
    (b"A\x00kitten", "U+0000 at character 2"),
    (b"A\x1b[2Jkitten", "U+001B at character 2"),
    (b"A\x7fkitten", "U+007F"),
    (b"A\x0bkitten", "U+000B"),
    ("A\x9bkitten".encode(), "U+009B"),
    (b"\x1cA kitten", "U+001C"),
    (b"x" * 65537, "64 KiB"),
    (("猫" * 22000).encode(), "64 KiB"),
]


@pytest.mark.parametrize(("raw", "text"), PROMPTS)
def test_a_prompt_file_is_read_as_text(raw: bytes, text: str, tmp_path: Path) -> None:
    (tmp_path / "prompt").write_bytes(raw)
    assert files.read_prompt(str(tmp_path / "prompt")) == text


@pytest.mark.parametrize(("raw", "text"), PROMPTS)
def test_a_prompt_on_stdin_is_read_as_text(raw: bytes, text: str) -> None:
    assert files.read_prompt("-", io.BytesIO(raw)) == text


@pytest.mark.parametrize(("raw", "said"), REFUSED)
def test_what_is_no_text_is_refused_with_a_reason(raw: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "prompt").write_bytes(raw)
    for source in (str(tmp_path / "prompt"), "-"):
        with pytest.raises(RawgenaiError, match=said.replace("+", r"\+")) as caught:
            files.read_prompt(source, io.BytesIO(raw))
        assert caught.value.code == "invalid_prompt"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A \udce9 kitten", "cannot be decoded"),
        ("\ud800", "cannot be decoded"),
        ("\x00", "U+0000"),
        ("猫" * 22000, "64 KiB"),
    ],
)
def test_text_that_cannot_be_sent_is_found_out(text: str, said: str) -> None:
    assert said in (files.text_fault(text) or "")


def test_text_is_cleaned_of_what_editors_add() -> None:
    assert files.text_fault("\ufeff A\r\nkitten ") is None
    assert files.clean("\ufeff A\r\nkitten ") == "A\nkitten"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("absent", "file_not_found"),
        ("file/absent", "file_not_found"),
        ("", "file_not_found"),
        ("folder", "invalid_usage"),
        ("nul\x00", "invalid_usage"),
    ],
)
def test_an_unreadable_prompt_file_is_named(name: str, code: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(RawgenaiError, match="--prompt-file") as caught:
        files.read_prompt(str(tmp_path / name) if name else "")
    assert caught.value.code == code


@pytest.mark.platform
@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no /dev/zero")
def test_an_endless_file_ends_at_once() -> None:
    assert code_of(lambda: files.read_prompt("/dev/zero")) == "invalid_prompt"


@pytest.mark.platform
@posix
def test_a_prompt_file_may_be_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    writer = threading.Thread(target=(tmp_path / "fifo").write_bytes, args=(b"A kitten\n",))
    writer.start()
    assert files.read_prompt(str(tmp_path / "fifo")) == "A kitten"
    writer.join()


def test_an_endless_stdin_is_read_up_to_its_bound() -> None:
    class Endless(io.RawIOBase):
        read_bytes = 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any, /) -> int:
            buffer[:] = b"y" * len(buffer)
            self.read_bytes += len(buffer)
            return len(buffer)

    source = Endless()
    with io.BufferedReader(source) as stdin:
        assert code_of(lambda: files.read_prompt("-", stdin)) == "invalid_prompt"
    assert source.read_bytes < 2 * files.MAX_PROMPT


def test_stdin_is_given_by_a_pipe_or_a_file_alone(tmp_path: Path, pipe: tuple[BinaryIO, BinaryIO]) -> None:
    (tmp_path / "file").touch()
    assert files.stdin_is_given(pipe[0])
    with (tmp_path / "file").open("rb") as file:
        assert files.stdin_is_given(file)
    assert not files.stdin_is_given(file)  # closed
    with Path(os.devnull).open("rb") as device:
        assert not files.stdin_is_given(device)


def test_a_missing_stdin_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert not files.stdin_is_given()
    assert code_of(lambda: files.read_prompt("-")) == "missing_prompt"


def test_a_stream_in_memory_is_given() -> None:
    assert files.stdin_is_given(io.BytesIO())


@pytest.mark.platform
@posix
def test_a_terminal_is_not_given_and_never_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import pty

    main, terminal = pty.openpty()
    with os.fdopen(terminal, "r") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert not files.stdin_is_given()
        assert code_of(lambda: files.read_prompt("-")) == "missing_prompt"
    os.close(main)


def test_stdin_that_fails_is_a_refusal() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(5, "Input/output error")

    assert code_of(lambda: files.read_prompt("-", Broken())) == "invalid_usage"


# --- Private files ------------------------------------------------------------------------------------------------


@pytest.mark.platform
@posix
def test_private_files_and_folders_are_private_under_any_umask(tmp_path: Path, open_umask: None) -> None:
    path = tmp_path / "a" / "b" / "file"
    files.write_private(str(path), b"one")
    assert [mode_of(each) for each in (path, path.parent, path.parent.parent)] == [0o600, 0o700, 0o700]
    path.chmod(0o644)
    files.write_private(str(path), b"two")
    assert (path.read_bytes(), mode_of(path)) == (b"two", 0o600)


@pytest.mark.platform
@posix
def test_a_private_file_is_private_from_its_first_moment(
    tmp_path: Path, open_umask: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode)))
    files.write_private(str(tmp_path / "file"), b"one")
    assert seen[0] == 0o600


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    files.write_private(str(folder / "file"), b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write_private(str(folder / "file"), b"new")
    assert [(each.name, each.read_bytes()) for each in folder.iterdir()] == [("file", b"old")]


@pytest.mark.platform
@posix
@pytest.mark.parametrize("exists", [True, False])
def test_a_symbolic_link_stays_and_its_file_is_written(exists: bool, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles" / "file"
    real.parent.mkdir(mode=0o755)
    if exists:
        real.write_bytes(b"old")
    (tmp_path / "link").symlink_to(real)
    files.write_private(str(tmp_path / "link"), b"new")
    assert (tmp_path / "link").is_symlink()
    assert real.read_bytes() == b"new"
    assert mode_of(real.parent) == 0o755


def test_the_file_is_synced_before_and_its_folder_after_it_is_put_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    replace = os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: steps.append("sync"))
    monkeypatch.setattr(files, "sync_folder", lambda folder: steps.append(f"sync {Path(folder).name}"))

    def noted(source: str, target: str) -> None:
        steps.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "replace", noted)
    (tmp_path / "x").mkdir()
    files.write_private(str(tmp_path / "x" / "file"), b"one")
    assert steps == ["sync", "replace", "sync x"]
    steps.clear()
    (tmp_path / "x" / "part").write_bytes(b"clip")
    files.finish(str(tmp_path / "x" / "part"), str(tmp_path / "x" / "clip.mp4"))
    assert steps == ["sync", "replace", "sync x"]


@pytest.mark.parametrize(("failures", "succeeds"), [(0, True), (1, True), (4, True), (5, False)])
def test_windows_tries_again_while_a_scanner_holds_the_file(
    failures: int, succeeds: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    left = iter([True] * failures)
    replace = os.replace

    def held(source: str, target: str) -> None:
        if next(left, False):
            raise PermissionError(13, "held")
        replace(source, target)

    monkeypatch.setattr(os, "replace", held)
    monkeypatch.setattr(files, "_WINDOWS", True)
    (tmp_path / "new").write_bytes(b"new")

    def move() -> None:
        files._replace(str(tmp_path / "new"), str(tmp_path / "file"), slept.append)

    if succeeds:
        move()
        assert (tmp_path / "file").read_bytes() == b"new"
    else:
        with pytest.raises(PermissionError):
            move()
    assert len(slept) == min(failures, 4)


@pytest.mark.platform
@posix
@pytest.mark.parametrize(("before", "after"), [(0o755, 0o700), (0o777, 0o700), (0o644, 0o600), (0o400, 0o400)])
def test_what_is_ours_is_tightened_and_never_widened(before: int, after: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    path.chmod(before)
    files.keep_private(str(path))
    assert mode_of(path) == after
    files.keep_private(str(tmp_path / "absent"))


def test_a_lock_keeps_another_process_out(tmp_path: Path) -> None:
    lock = str(tmp_path / "deep" / "lock")
    program = f"""
from rawgenai.files import locked
try:
    with locked({lock!r}, wait=0.01):
        print("in")
except TimeoutError:
    print("out")
"""

    def other() -> str:
        return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    with files.locked(lock, wait=1):
        assert other() == "out\n"
    assert other() == "in\n"
    if os.name == "posix":
        assert (mode_of(lock), mode_of(tmp_path / "deep")) == (0o600, 0o700)


# --- Folders of the program ---------------------------------------------------------------------------------------


@pytest.mark.platform
@posix
def test_a_lock_whose_file_is_removed_while_it_is_taken_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    lock, flock = tmp_path / "locks" / "a.lock", fcntl.flock

    def late(descriptor: int, operation: int) -> None:
        monkeypatch.undo()
        lock.unlink()  # by who held it, before it let it go
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with files.locked(str(lock), wait=1):
        assert lock.exists()
        with pytest.raises(TimeoutError), files.locked(str(lock), wait=0):
            pass


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have other folders")
@pytest.mark.parametrize(
    ("environ", "config", "state"),
    [
        ({"HOME": "/h"}, "/h/.config/rawgenai", "/h/.local/state/rawgenai"),
        ({"HOME": "/h", "XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "/s"}, "/c/rawgenai", "/s/rawgenai"),
        (
            {"HOME": "/h", "XDG_CONFIG_HOME": "", "XDG_STATE_HOME": ""},
            "/h/.config/rawgenai",
            "/h/.local/state/rawgenai",
        ),
        (
            {"HOME": "/h", "XDG_CONFIG_HOME": "c", "XDG_STATE_HOME": "s"},
            "/h/.config/rawgenai",
            "/h/.local/state/rawgenai",
        ),
    ],
)
def test_folders_follow_xdg(environ: dict[str, str], config: str, state: str) -> None:
    assert (files.config_folder(environ), files.state_folder(environ)) == (config, state)


def test_xdg_state_home_counts_on_every_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert files.state_folder({"XDG_STATE_HOME": str(tmp_path)}) == str(tmp_path / "rawgenai")


def test_other_platforms_keep_state_where_they_keep_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import platformdirs

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(platformdirs, "user_state_dir", lambda name, appauthor: f"{tmp_path}/Library/{name}")
    assert files.state_folder({}) == f"{tmp_path}/Library/rawgenai"


def test_no_home_is_said_and_never_a_folder_named_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # what it does for a user without passwd entry
    with pytest.raises(FileNotFoundError, match="no home folder"):
        files.config_folder({})


# --- The target and the parts of a download -----------------------------------------------------------------------


def test_a_target_is_an_absolute_path_and_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    for name in ("clip.mp4", "CLIP.MP4", "-clip.mp4", "小猫.mp4", "a\nb.mp4", "x" * 251 + ".mp4"):
        assert files.check_target(name) == str(tmp_path / "out" / name)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("", "missing_output", "no output file"),
        ("clip.avi", "invalid_format", "clip.avi"),
        ("clip", "invalid_format", "mp4"),
        ("mp4", "invalid_format", "mp4"),
        ("clip.mp4/", "invalid_format", "mp4"),
        ("absent/clip.mp4", "output_write_error", "does not exist"),
        ("file/clip.mp4", "output_write_error", "is not a folder"),
        ("folder.mp4", "output_write_error", "it is a folder"),
        ("nul\x00.mp4", "output_write_error", "null"),
        ("x" * 252 + ".mp4", "output_write_error", "255 bytes"),
        ("猫" * 84 + ".mp4", "output_write_error", "255 bytes"),
    ],
)
def test_a_target_that_cannot_be_is_refused(
    name: str, code: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(RawgenaiError, match=said) as caught:
        files.check_target(name)
    assert caught.value.code == code
    str(caught.value).encode()


@pytest.mark.platform
@posix
@pytest.mark.parametrize("link", [False, True])
def test_a_target_that_is_a_pipe_or_a_device_is_refused(link: bool, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.mp4")
    (tmp_path / "null.mp4").symlink_to(os.devnull)
    target = tmp_path / ("null.mp4" if link else "fifo.mp4")
    assert code_of(lambda: files.check_target(str(target))) == "output_write_error"


@pytest.mark.platform
@posix
@pytest.mark.parametrize("exists", [True, False])
def test_a_target_that_is_a_link_stays_the_link(exists: bool, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    if exists:
        (tmp_path / "elsewhere" / "real.mp4").touch()
    (tmp_path / "clip.mp4").symlink_to(tmp_path / "elsewhere" / "real.mp4")
    assert files.check_target(str(tmp_path / "clip.mp4")) == str(tmp_path / "clip.mp4")


@pytest.mark.platform
@posix
def test_a_target_whose_name_no_file_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RawgenaiError, match="surrogates") as caught:
        files.check_target(str(tmp_path / "sur\ud800rogate.mp4"))
    assert caught.value.code == "output_write_error"
    str(caught.value).encode()


def test_a_folder_that_takes_no_file_is_found_by_trying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*args: object) -> int:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(RawgenaiError, match="Read-only file system") as caught:
        files.check_target(str(tmp_path / "clip.mp4"))
    assert caught.value.code == "output_write_error"


@pytest.mark.platform
@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that takes no file, even from root")
def test_a_read_only_folder_is_refused_even_for_root() -> None:
    assert code_of(lambda: files.check_target("/proc/self/clip.mp4")) == "output_write_error"


@pytest.mark.parametrize("etag", [ETAG, "a-b_C9", "x" * 64])
def test_a_part_is_a_hidden_sibling_that_is_found_again(etag: str, tmp_path: Path) -> None:
    target = str(tmp_path / "clip.mp4")
    part = files.part_path(target, TASK, etag)
    assert part == str(tmp_path / f".clip.mp4.{TASK}.{etag}.part")
    Path(part).write_bytes(b"half")
    assert files.find_part(target, TASK) == files.Part(part, etag, 4)


@pytest.mark.parametrize("etag", ["", "x" * 65, "a/b", "../x", 'W/"x"', "a b", "~x", "é"])
def test_a_part_without_a_plain_strong_etag_is_never_resumed(etag: str, tmp_path: Path) -> None:
    target = str(tmp_path / "clip.mp4")
    part = files.part_path(target, TASK, etag, token=lambda: "cafe")
    assert part == str(tmp_path / f".clip.mp4.{TASK}.~cafe.part")
    Path(part).write_bytes(b"half")
    assert files.find_part(target, TASK) is None
    assert files.part_path(target, TASK, etag) != files.part_path(target, TASK, etag)


@pytest.mark.parametrize("name", ["x" * 251, "猫" * 83, "\udce9" * 251])
def test_a_part_of_a_long_name_fits_and_is_found(name: str, tmp_path: Path) -> None:
    target = str(tmp_path / f"{name}.mp4")
    part = files.part_path(target, "t" * 128, "e" * 64)
    Path(part).write_bytes(b"half")
    assert len(os.fsencode(Path(part).name)) <= 255
    assert files.find_part(target, "t" * 128) == files.Part(part, "e" * 64, 4)


def test_the_largest_part_of_the_same_task_and_target_is_taken(tmp_path: Path) -> None:
    target = str(tmp_path / "clip.mp4")
    for task, etag, size in [(TASK, "a", 3), (TASK, "b", 9), (TASK, "c", 0), ("other", "d", 99), (TASK, "~e", 99)]:
        (tmp_path / f".clip.mp4.{task}.{etag}.part").write_bytes(b"x" * size)
    (tmp_path / f".other.mp4.{TASK}.f.part").write_bytes(b"x" * 99)
    (tmp_path / f".clip.mp4.{TASK}.g.part").mkdir()
    assert files.find_part(target, TASK) == files.Part(str(tmp_path / f".clip.mp4.{TASK}.b.part"), "b", 9)


def test_one_download_at_a_time_writes_the_parts_of_a_target(tmp_path: Path) -> None:
    with files.only_writer("/x/clip.mp4"), files.only_writer("/x/other.mp4"):
        locks = list((tmp_path / "state" / "rawgenai" / "locks").iterdir())
        assert len(locks) == 2
        for lock in locks:
            with pytest.raises(TimeoutError), files.locked(str(lock), wait=0):
                pass
    with files.only_writer("/x/clip.mp4"):
        pass


@posix
@pytest.mark.platform
def test_a_folder_by_another_name_has_the_same_lock(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "clips")
    for folder in ("clips", "link"):
        with files.only_writer(str(tmp_path / folder / "clip.mp4")):
            pass
    assert len(list((tmp_path / "state" / "rawgenai" / "locks").iterdir())) == 1


def test_two_long_names_never_share_a_part(tmp_path: Path) -> None:
    one, two = (files.part_path(str(tmp_path / f"{'x' * 240}{end}.mp4"), TASK, ETAG) for end in "12")
    assert one != two


def test_a_download_goes_on_where_there_is_no_place_for_a_lock(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with files.only_writer("/x/clip.mp4"):
        pass


def test_an_empty_part_is_nothing_to_go_on_from(tmp_path: Path) -> None:
    (tmp_path / f".clip.mp4.{TASK}.{ETAG}.part").touch()
    assert files.find_part(str(tmp_path / "clip.mp4"), TASK) is None


@pytest.mark.platform
@posix
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0, 0o666), (0o077, 0o600)])
def test_a_finished_clip_replaces_the_target_with_the_mode_of_a_new_file(umask: int, mode: int, tmp_path: Path) -> None:
    part, target = tmp_path / "part", tmp_path / "clip.mp4"
    part.write_bytes(b"new")
    part.chmod(0o600)
    target.write_bytes(b"old")
    target.chmod(0o777)
    before = os.umask(umask)
    try:
        files.finish(str(part), str(target))
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert (target.read_bytes(), mode_of(target), part.exists()) == (b"new", mode, False)


@pytest.mark.platform
@posix
def test_a_finished_clip_replaces_a_link_and_not_the_file_behind_it(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "clip.mp4").symlink_to(tmp_path / "real")
    (tmp_path / "part").write_bytes(b"new")
    files.finish(str(tmp_path / "part"), str(tmp_path / "clip.mp4"))
    assert not (tmp_path / "clip.mp4").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"old"
