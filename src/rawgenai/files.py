"""Files: the prompt, the target and the parts of a download, private files, locks, and the folders of the program.

Floor 1: knows no provider. Paths are plain strings.
Failures that a caller can mend here are RawgenaiErrors; where the caller alone knows what failed, OSError propagates.
"""

import io
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import BinaryIO, NamedTuple, TextIO

from rawgenai.errors import RawgenaiError
from rawgenai.secret import ENVIRON

MAX_PROMPT = 64 * 1024  # bytes of UTF-8
MAX_NAME = 255  # bytes of a file's name, on every usual file system

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_WINDOWS = os.name == "nt"
_REPLACE_PAUSES = (0.01, 0.05, 0.2, 0.5)  # seconds between attempts on Windows, where a virus scanner may hold the file


def _token() -> str:
    return os.urandom(8).hex()


def reason(error: Exception) -> str:
    """What went wrong, in the operating system's words, without number or path."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


# --- The prompt -------------------------------------------------------------------------------------------------

# Anything but text: control characters other than \n and \t, and the lone surrogates that stand for undecodable bytes.
_NOT_TEXT = "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]"  # dear to compile, so only where a prompt is read

_TOO_LONG = f"is longer than {MAX_PROMPT // 1024} KiB"
_BOMS = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)


def stdin_is_given(stdin: TextIO | BinaryIO | None = None) -> bool:
    """Whether stdin is a pipe or a regular file, so that reading it cannot wait for a person (design, ruling 7).

    A stream in memory counts too; a terminal, a device, a socket and a closed stdin do not.
    """
    stream = sys.stdin if stdin is None else stdin
    if stream is None:
        return False
    try:
        mode = os.fstat(stream.fileno()).st_mode
    except io.UnsupportedOperation:
        return not stream.isatty()
    except (OSError, ValueError):  # closed
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)


def read_prompt(source: str, stdin: BinaryIO | None = None) -> str:
    """The prompt from a file, or from stdin where ``source`` is ``"-"``, as ``clean`` returns it.

    Reads at most 64 KiB and a byte, so an endless pipe ends. Raises RawgenaiError: file_not_found, missing_prompt (no
    stdin), invalid_prompt, invalid_usage (a folder, or unreadable).
    """
    if source != "-":
        return _decode(_read_file(source, "--prompt-file", MAX_PROMPT))
    if stdin is None:
        if not stdin_is_given():
            raise RawgenaiError("missing_prompt", "the prompt '-' means stdin, and stdin is neither a pipe nor a file")
        stdin = sys.stdin.buffer
    try:
        return _decode(stdin.read(MAX_PROMPT + 1))
    except OSError as error:
        raise RawgenaiError("invalid_usage", f"the prompt cannot be read from stdin: {reason(error)}") from error


def _read_file(path: str, flag: str, most: int) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(most + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RawgenaiError("file_not_found", f"{flag} {path!r} does not exist") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise RawgenaiError("invalid_usage", f"{flag} {path!r} cannot be read: {reason(error)}") from error


def read_bounded(source: str, flag: str, most: int) -> bytes:
    """The bytes of a file, or of stdin where ``source`` is ``"-"``: at most ``most`` and one, so that endless ones end.

    Raises RawgenaiError: file_not_found, invalid_usage (a folder, unreadable, or no stdin).
    """
    if source != "-":
        return _read_file(source, flag, most)
    if not stdin_is_given():
        raise RawgenaiError("invalid_usage", f"{flag} '-' means stdin, and stdin is neither a pipe nor a file")
    return sys.stdin.buffer.read(most + 1)


def _decode(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8")
        fault = _TOO_LONG if len(raw) > MAX_PROMPT else text_fault(text)
    except UnicodeDecodeError:
        fault = _TOO_LONG if len(raw) > MAX_PROMPT else f"is not UTF-8 text; it looks like {_guess(raw)}: convert it"
    if fault is not None:
        raise RawgenaiError("invalid_prompt", f"the prompt {fault}")
    return clean(text)


def _guess(raw: bytes) -> str:
    """The likely name of an encoding that is not UTF-8."""
    for bom, name in _BOMS:
        if raw.startswith(bom):
            return name
    if b"\x00" in raw:
        return "UTF-16"
    try:
        raw.decode("gbk")
    except UnicodeDecodeError:
        return "Latin-1"
    return "GBK"


def clean(text: str) -> str:
    """The text without BOM and outer white space, its lines ended by LF; ``""`` where nothing is left."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").strip()


def text_fault(text: str) -> str | None:
    """What keeps a text from being sent: undecodable bytes, control characters other than LF and tab, over 64 KiB."""
    if found := re.search(_NOT_TEXT, text.replace("\r", "\n").removeprefix("\ufeff")):
        return _objection(found.group(), found.start() + 1)
    return _TOO_LONG if len(text.encode()) > MAX_PROMPT else None


def _objection(char: str, position: int) -> str:
    if "\ud800" <= char <= "\udfff":
        return f"is not UTF-8 text: character {position} cannot be decoded"
    hint = " (is it UTF-16?)" if char == "\x00" else ""
    return f"has the control character U+{ord(char):04X} at character {position}{hint}"


# --- Private files ----------------------------------------------------------------------------------------------


def make_private(folder: str) -> None:
    """Make a folder and its missing parents, each 0700 and durable. Raises OSError."""
    if os.path.isdir(folder):
        return
    parent = os.path.dirname(os.path.abspath(folder))
    make_private(parent)
    with suppress(FileExistsError):  # another process was faster; or it is no folder, which the next step finds
        os.mkdir(folder, 0o700)
    sync_folder(parent)


def keep_private(path: str) -> None:
    """Take from group and others what they may do with our own file or folder; silent where that is not ours to do."""
    with suppress(OSError):
        mode = stat.S_IMODE(os.stat(path).st_mode)
        if not _WINDOWS and mode & 0o077:
            os.chmod(path, mode & 0o700)


def write_private(path: str, data: bytes, *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Write a file of mode 0600 so that it is the old or the whole new one, whatever happens. Raises OSError.

    A symbolic link stays, and the file that it names is written.
    """
    target = os.path.realpath(path)
    make_private(os.path.dirname(target))
    temporary = os.path.join(os.path.dirname(target), f".rawgenai-{_token()}.tmp")
    try:
        with os.fdopen(os.open(temporary, _CREATE, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _replace(temporary, target, sleep)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    sync_folder(os.path.dirname(target))


def _replace(source: str, target: str, sleep: Callable[[float], None]) -> None:
    for pause in _REPLACE_PAUSES if _WINDOWS else ():
        try:
            return os.replace(source, target)
        except PermissionError:
            sleep(pause)
    return os.replace(source, target)


def sync_folder(folder: str) -> None:
    """Make the names in a folder durable, where the operating system can."""
    if _WINDOWS:
        return
    with suppress(OSError):  # some network file systems cannot
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def locked(path: str, *, wait: float) -> Iterator[None]:
    """Hold a lock between processes, in the file ``path`` of mode 0600, which stays.

    Waits at most ``wait`` seconds, then raises TimeoutError; other OSErrors propagate.
    """
    from filelock import FileLock, Timeout

    make_private(os.path.dirname(path))
    lock = FileLock(path, timeout=wait, mode=0o600)
    try:
        lock.acquire()
    except Timeout as error:
        raise TimeoutError(f"{path!r} is locked by another process") from error
    try:
        yield
    finally:
        lock.release()


# --- Folders of the program -------------------------------------------------------------------------------------

_HOME = "USERPROFILE" if _WINDOWS else "HOME"


def home_folder(environ: Mapping[str, str] = ENVIRON) -> str:
    """The user's home folder. Raises FileNotFoundError where none is known (a container without HOME)."""
    home = environ.get(_HOME) or os.path.expanduser("~")
    if not os.path.isabs(home):
        raise FileNotFoundError(f"no home folder is known; set {_HOME}")
    return home


def config_folder(environ: Mapping[str, str] = ENVIRON) -> str:
    """``$XDG_CONFIG_HOME/rawgenai``, else ``~/.config/rawgenai``, on every platform. Raises FileNotFoundError."""
    base = environ.get("XDG_CONFIG_HOME", "")
    return os.path.join(base if os.path.isabs(base) else os.path.join(home_folder(environ), ".config"), "rawgenai")


def state_folder(environ: Mapping[str, str] = ENVIRON) -> str:
    """``$XDG_STATE_HOME/rawgenai``, else what the platform has for state (Linux: ``~/.local/state/rawgenai``).

    Raises FileNotFoundError.
    """
    base = environ.get("XDG_STATE_HOME", "")
    if os.path.isabs(base):
        return os.path.join(base, "rawgenai")
    if sys.platform.startswith("linux"):
        return os.path.join(home_folder(environ), ".local", "state", "rawgenai")
    import platformdirs

    return platformdirs.user_state_dir("rawgenai", appauthor=False)


# --- The target and the parts of a download ---------------------------------------------------------------------

_ETAG = re.compile("[0-9A-Za-z_-]{1,64}")
_NOT_RESUMABLE = "~"  # first character of a random token, which no ETag above has
_LEFTOVER = 24 * 3600  # seconds after which a part that nobody adds to is nobody's


class Part(NamedTuple):
    """What an earlier download left behind."""

    path: str
    etag: str  # of the clip that it is the beginning of
    size: int  # bytes


def check_target(path: str, ending: str = ".mp4") -> str:
    """The absolute path of a clip or a picture to write, once it is certain that its folder takes a new file.

    A symbolic link at the end is not followed: the link is what will be replaced. Raises RawgenaiError:
    missing_output, invalid_format (another ending), output_write_error.
    """
    if not path:
        raise RawgenaiError("missing_output")
    if not path.lower().endswith(ending):
        raise RawgenaiError("invalid_format", f"--output {path!r} does not end in {ending}")
    try:
        if objection := _object_to_target(target := os.path.abspath(path)):
            raise RawgenaiError("output_write_error", f"--output {path!r} cannot be written: {objection}")
    except (OSError, ValueError) as error:  # ValueError: a NUL, or characters that no file name can have
        raise RawgenaiError("output_write_error", f"--output {path!r} cannot be written: {reason(error)}") from error
    return target


def _object_to_target(target: str) -> str | None:
    folder, name = os.path.split(target)
    if len(os.fsencode(name)) > MAX_NAME:
        return f"its name is longer than {MAX_NAME} bytes"
    if not os.path.isdir(folder):
        return f"{folder!r} is not a folder" if os.path.lexists(folder) else f"the folder {folder!r} does not exist"
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(mode := os.stat(target).st_mode):
            return "it is a folder" if stat.S_ISDIR(mode) else "it is not a regular file"
    # Only really creating a file proves that the folder takes one: root passes every test of mode bits. Where the
    # system has files without a name, this is one, so that a kill leaves nothing in the folder.
    from tempfile import TemporaryFile

    TemporaryFile(dir=folder, prefix=".rawgenai-", suffix=".tmp").close()
    return None


def refuse_own_input(target: str, inputs: Iterable[str]) -> None:
    """Object to a target that is one of the files that it is made of, however either is spelled.

    What is no path of a file here, such as a URL, is no target. Raises RawgenaiError: invalid_usage.
    """
    for path in inputs:
        with suppress(OSError, ValueError):  # ValueError: a NUL
            if os.path.samefile(path, target):
                raise RawgenaiError("invalid_usage", f"--output {target!r} is an input, {path!r}; it stays as it is")


def part_path(target: str, task_id: str, etag: str, *, token: Callable[[], str] = _token) -> str:
    """Where the bytes of a clip are gathered: ``.NAME.TASKID.ETAG.part`` beside the target, at most 255 bytes of name.

    ``etag`` is the text of a strong ETag without its quotes. Where it is not of 1 to 64 letters, digits, "_" and "-",
    or empty, a random token stands in its place, and ``find_part`` will not find the part.
    """
    mark = etag if _ETAG.fullmatch(etag) else _NOT_RESUMABLE + token()
    return f"{_part_prefix(target, task_id)}{mark}.part"


def _part_prefix(target: str, task_id: str) -> str:
    folder, name = os.path.split(target)
    room = MAX_NAME - len(f"..{task_id}..part") - 64  # the longest ETag; a name must not depend on which one it is
    short = name.encode("utf-8", "ignore")
    if len(short) > room or len(short) != len(os.fsencode(name)):  # what is cut must not meet its like
        from hashlib import sha256

        mark = sha256(os.fsencode(name)).hexdigest()[:16]
        short = short[: room - len(mark)].decode("utf-8", "ignore").encode() + mark.encode()
    return os.path.join(folder, f".{short.decode()}.{task_id}.")


def find_part(target: str, task_id: str) -> Part | None:
    """The largest part of this task's clip that a download can go on from, if there is any. Raises OSError."""
    folder, prefix = os.path.split(_part_prefix(target, task_id))
    with os.scandir(folder) as entries:
        parts = [
            Part(entry.path, etag, entry.stat(follow_symlinks=False).st_size)
            for entry in entries
            if entry.name.startswith(prefix)
            and entry.name.endswith(".part")
            and _ETAG.fullmatch(etag := entry.name[len(prefix) : -len(".part")])
            and entry.is_file(follow_symlinks=False)
        ]
    return max((part for part in parts if part.size), key=lambda part: part.size, default=None)


def open_part(path: str) -> io.FileIO:
    """Open a part to read it and to append to it; it is made where there is none. Raises OSError.

    A symbolic link in its place is not followed: in a folder that others write to, its name can be guessed.
    """

    def no_link(name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)

    return open(path, "ab+", buffering=0, opener=no_link)


def sweep_parts(target: str, task_id: str, *, now: Callable[[], float] = time.time) -> None:
    """Remove the parts of this task's clip that nobody can go on from and nobody added to for a day.

    A download that is killed leaves them; the one that holds the target's lock may take them away.
    """
    folder, prefix = os.path.split(_part_prefix(target, task_id))
    ours = re.compile(re.escape(prefix + _NOT_RESUMABLE) + r"[0-9a-f]{16}\.part")
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if ours.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with suppress(OSError):
                    if entry.stat(follow_symlinks=False).st_mtime < now() - _LEFTOVER:
                        os.remove(entry.path)


@contextmanager
def only_writer(target: str, environ: Mapping[str, str] = ENVIRON) -> Iterator[None]:
    """Keep other downloads of ours away from a target's part files meanwhile; without a state folder, do without.

    Waits for them as long as a large clip takes; raises TimeoutError then.
    """
    from hashlib import sha256

    folder, name = os.path.split(target)
    name = sha256(os.fsencode(os.path.join(os.path.realpath(folder), name))).hexdigest()[:32]
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(os.path.join(state_folder(environ), "locks", f"{name}.lock"), wait=600))
        except TimeoutError:
            raise
        except OSError:
            pass  # a read-only home must not keep anybody from a clip that is paid
        yield


def finish(part: str, target: str, *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Move a whole part into the target's place: durable, with the mode of any new file. Raises OSError."""
    with open(part, "rb+") as file:
        os.fsync(file.fileno())
    if not _WINDOWS:
        os.chmod(part, 0o666 & ~_umask())
    _replace(part, target, sleep)
    sync_folder(os.path.dirname(target))


def _umask() -> int:
    umask = os.umask(0o077)  # it can be read only by setting it; this errs on the private side meanwhile
    os.umask(umask)
    return umask
