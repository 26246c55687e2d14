"""What a local file is by its content, and whether an MP4 is whole."""

import os
from pathlib import Path

import pytest

from rawgenai import media

MAGIC = {
    "jpeg": (b"\xff\xd8\xff\xe0", "image", "image/jpeg", ".jpg"),
    "png": (b"\x89PNG\r\n\x1a\n", "image", "image/png", ".png"),
    "bmp": (b"BM\x00\x00", "image", "image/bmp", ".bmp"),
    "webp": (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image", "image/webp", ".webp"),
    "mov": (b"\x00\x00\x00\x14ftypqt  ", "video", "video/quicktime", ".mov"),
    "mp4": (b"\x00\x00\x00\x18ftypisom", "video", "video/mp4", ".mp4"),
    "wav": (b"RIFF\x00\x00\x00\x00WAVEfmt ", "audio", "audio/wav", ".wav"),
    "mp3 with a tag": (b"ID3\x04\x00", "audio", "audio/mpeg", ".mp3"),
    "mp3": (b"\xff\xfb\x90\x00", "audio", "audio/mpeg", ".mp3"),
    "mpeg 2 mp3": (b"\xff\xf3\x90\x00", "audio", "audio/mpeg", ".mp3"),
    "text": (b"hello", "", "application/octet-stream", ""),
    "svg": (b"<svg xmlns=", "", "application/octet-stream", ""),
    "avi": (b"RIFF\x00\x00\x00\x00AVI ", "", "application/octet-stream", ""),
    "gif": (b"GIF89a", "", "application/octet-stream", ""),
    "nothing": (b"", "", "application/octet-stream", ""),
}


@pytest.mark.parametrize("name", MAGIC)
def test_a_file_is_what_its_first_bytes_say(name: str, tmp_path: Path) -> None:
    head, *said = MAGIC[name]
    file = tmp_path / "lying.gif"
    file.write_bytes(head + b"\x00" * 20)
    size = len(head) + 20
    assert media.look(str(file)) == (*said[:2], said[2], size)
    assert media.recognise(head, 7) == (*said, 7)


@pytest.mark.parametrize("name", [name for name, (_, kind, _, _) in MAGIC.items() if kind])
def test_every_type_has_its_extension(name: str) -> None:
    _, _, mime, extension = MAGIC[name]
    assert media.extension(mime) == extension


def test_a_type_that_is_not_known_has_no_extension() -> None:
    assert media.extension("text/html") == ""


def test_what_is_not_there_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        media.look(str(tmp_path / "nothing"))


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(OSError):  # noqa: PT011 - which one is the platform's
        media.look(str(tmp_path))


@pytest.mark.platform
@pytest.mark.skipif(os.name != "posix", reason="FIFOs and /dev are POSIX")
@pytest.mark.parametrize("name", ["fifo", "device"])
def test_what_could_be_waited_for_is_refused_at_once(name: str, tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with pytest.raises(OSError, match="not a regular file"):
        media.look(str(path) if name == "fifo" else os.devnull)


# --- whole or not -------------------------------------------------------------------------------------------------


def _box(name: bytes, body: bytes = b"", *, size: int | None = None) -> bytes:
    return (len(body) + 8 if size is None else size).to_bytes(4) + name + body


FTYP, MOOV, MDAT = _box(b"ftyp", b"isom\x00\x00\x02\x00"), _box(b"moov", b"\x00" * 9), _box(b"mdat", b"\x00" * 50)
LONG = b"\x00\x00\x00\x01mdat" + (66).to_bytes(8) + b"\x00" * 50
WHOLE = {
    "the index first": FTYP + MOOV + MDAT,
    "the index last": FTYP + MDAT + MOOV,
    "with other boxes": FTYP + _box(b"free") + MOOV + _box(b"uuid", b"\x01" * 20) + MDAT,
    "a last box of no stated size": FTYP + MOOV + _box(b"mdat", b"\x00" * 50, size=0),
    "a box of 64 bits": FTYP + LONG + MOOV,
    "in fragments": FTYP + MOOV + (_box(b"moof", b"\x00" * 9) + MDAT) * 3,
}
BROKEN = {
    "nothing": (b"", "it has no "),
    "one byte": (b"\x00", "it is not an MP4 file"),
    "text": (b"<html>Log in</html>", "it is not an MP4 file"),
    "text that looks like a small box": (b"\x00\x00\x00\x08html", "it is not an MP4 file"),
    "another box first": (MOOV + FTYP + MDAT, "it is not an MP4 file"),
    "no index": (FTYP + MDAT, "it has no moov box"),
    "no picture": (FTYP + MOOV, "it has no mdat box"),
    "no more than a head": (FTYP, "it has no "),
    "a byte too many": (FTYP + MOOV + MDAT + b"\x00", "ends beyond"),
    "a box smaller than its head": (FTYP + MOOV + MDAT + _box(b"free", size=7), "ends beyond"),
    "a long box smaller than its head": (FTYP + MOOV + b"\x00\x00\x00\x01mdat" + (7).to_bytes(8), "ends beyond"),
    "a box of 2^63 bytes": (FTYP + MOOV + b"\x00\x00\x00\x01mdat" + b"\x7f" + b"\xff" * 7, "ends beyond"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_mp4_has_no_fault(name: str, tmp_path: Path) -> None:
    file = tmp_path / "clip.mp4"
    file.write_bytes(WHOLE[name])
    assert media.mp4_fault(str(file)) is None


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_mp4_has_a_fault(name: str, tmp_path: Path) -> None:
    content, fault = BROKEN[name]
    file = tmp_path / "clip.mp4"
    file.write_bytes(content)
    assert fault in (media.mp4_fault(str(file)) or "no fault")


@pytest.mark.parametrize("name", ["the index first", "the index last", "a box of 64 bits"])
def test_an_mp4_that_is_cut_anywhere_has_a_fault(name: str, tmp_path: Path) -> None:
    file = tmp_path / "clip.mp4"
    for size in range(len(WHOLE[name])):
        file.write_bytes(WHOLE[name][:size])
        assert media.mp4_fault(str(file)) is not None, size
