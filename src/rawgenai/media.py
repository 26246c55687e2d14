"""Look at a local image, video or audio file: what it is by its content, and how large."""

import os
import stat
from typing import NamedTuple


class Look(NamedTuple):
    """What a file is: ``kind`` is image, video or audio, or "" where its content says nothing known."""

    kind: str
    mime: str
    extension: str
    size: int  # bytes


# The first bytes of each format that the API takes: offset, bytes, kind, MIME type, extension.
_MAGIC = (
    (0, b"\xff\xd8\xff", "image", "image/jpeg", ".jpg"),
    (0, b"\x89PNG\r\n\x1a\n", "image", "image/png", ".png"),
    (0, b"BM", "image", "image/bmp", ".bmp"),
    (8, b"WEBP", "image", "image/webp", ".webp"),
    (4, b"ftypqt  ", "video", "video/quicktime", ".mov"),
    (4, b"ftyp", "video", "video/mp4", ".mp4"),
    (8, b"WAVE", "audio", "audio/wav", ".wav"),
    (0, b"ID3", "audio", "audio/mpeg", ".mp3"),
    (0, b"\xff\xfb", "audio", "audio/mpeg", ".mp3"),
    (0, b"\xff\xf3", "audio", "audio/mpeg", ".mp3"),
    (0, b"\xff\xf2", "audio", "audio/mpeg", ".mp3"),
)


def look(path: str) -> Look:
    """Tell what a regular file is by its first bytes; its name says nothing.

    Raises FileNotFoundError where there is none and OSError where it cannot be read or is no regular file.
    """
    # O_NONBLOCK: a FIFO that nobody writes to is refused, never waited for.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("it is not a regular file")
        return recognise(file.read(16), status.st_size)


def recognise(head: bytes, size: int) -> Look:
    """Tell what a file is from its first 16 bytes."""
    for offset, magic, kind, mime, extension in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return Look(kind, mime, extension, size)
    return Look("", "application/octet-stream", "", size)


def extension(mime: str) -> str:
    """Name the extension of a MIME type that ``look`` tells."""
    return next((row[-1] for row in _MAGIC if row[3] == mime), "")


def mp4_fault(path: str) -> str | None:
    """Say what is wrong with an MP4 file's boxes, or nothing: `ftyp` first, `moov` and `mdat`, no byte over or short.

    Costs a few reads whatever the file's size.
    """
    missing = {b"ftyp", b"moov", b"mdat"}
    with open(path, "rb") as file:
        end = file.seek(0, os.SEEK_END)
        start = 0
        while start < end:
            file.seek(start)
            head = file.read(16)
            size, name = int.from_bytes(head[:4]), head[4:8]
            if start == 0 and name != b"ftyp":
                return "it is not an MP4 file"
            if size == 1:
                size = int.from_bytes(head[8:16])
            elif size == 0:
                size = end - start
            if size < 8 or start + size > end:
                return f"box {name!r} at byte {start} ends beyond the file's {end} bytes"
            missing.discard(name)
            start += size
    return f"it has no {min(missing).decode()} box" if missing else None
