"""Look at a local image, video or audio file: what it is by its content, its pixels, alpha, seconds and bytes.

Nothing here decodes a pixel or a sample, and no content costs more than some 10,000 small reads and a few megabytes:
what libraries are shown is a short head that was copied out, or a file that runs dry.
"""

import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BytesIO
from struct import error as StructError  # noqa: N812 - it is a class
from struct import iter_unpack, unpack, unpack_from
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_HEAD = 512  # bytes that tell what a file is
_PIECES = 10_000  # boxes, chunks or segments in one file; a long recording in fragments has some thousands
_READS = 20_000  # reads of one file by a library; tinytag needs some 1,300
_PIECE = 1 << 20  # bytes in one of these reads
_EXIF = 1 << 14  # bytes of EXIF; orientation stands among the first tags
_TOLERANCE = 1.0  # seconds by which a clip's header and its frames may differ
_BLOCK = 1 << 19  # bytes read at once where a file is read through
_SCANNED = 1 << 25  # bytes of a picture's data that are searched for its end; more is refused for its size


class UnreadableError(OSError):
    """The file is of a kind that the API takes, and is empty, cut off or garbled; says which."""


class Look(NamedTuple):
    """What a file is by its content; its name says nothing.

    ``kind`` is image, video or audio, or "" for anything that the API does not take; ``what`` names the format in any
    case, where it is known. Pixels are as shown: after the rotation that EXIF or the video track asks for.
    """

    kind: str
    mime: str
    size: int  # bytes
    what: str = ""
    width: int = 0  # pixels; 0 where there are none, or nobody knows
    height: int = 0
    alpha: bool = False  # a transparency channel or colour; whether any pixel uses it is not looked at
    seconds: float | None = None  # None where it does not say, as in many fragmented videos
    fps: float | None = None  # frames a second of a video, on average; None where its index does not say


class _Format(NamedTuple):
    pattern: bytes  # of the first bytes, white space skipped
    what: str
    kind: str = ""
    mime: str = "application/octet-stream"
    extension: str = ""


# The first row that fits wins. Rows without a kind are only there to be named in a refusal.
_FORMATS = (
    _Format(rb"\xff\xd8\xff", "JPEG", "image", "image/jpeg", ".jpg"),
    _Format(rb"\x89PNG\r\n\x1a\n", "PNG", "image", "image/png", ".png"),  # APNG too (ruling 23)
    _Format(rb"BM", "BMP", "image", "image/bmp", ".bmp"),
    _Format(rb"RIFF.{4}WEBP", "WEBP", "image", "image/webp", ".webp"),
    _Format(rb"II\*\0|MM\0\*", "TIFF", "image", "image/tiff", ".tif"),
    _Format(rb"RIFF.{4}WAVE", "WAV", "audio", "audio/wav", ".wav"),
    _Format(rb"ID3|\xff[\xfa\xfb\xf2\xf3\xe2\xe3]", "MP3", "audio", "audio/mpeg", ".mp3"),
    _Format(rb".{4}ftypqt  ", "MOV", "video", "video/quicktime", ".mov"),
    _Format(rb".{4}ftyp(hei[cmsx]|hev[cmsx]|mif1|msf1)", "HEIC"),
    _Format(rb".{4}ftypavi[fs]", "AVIF"),
    _Format(rb".{4}ftypM4[AB]", "M4A"),
    _Format(rb".{4}ftyp", "MP4", "video", "video/mp4", ".mp4"),
    _Format(rb"GIF8", "GIF"),
    _Format(rb"\0\0\0\x0cJXL |\xff\x0a", "JPEG XL"),
    _Format(rb"RIFF.{4}AVI ", "AVI"),
    _Format(rb"\x1aE\xdf\xa3", "WebM or Matroska"),
    _Format(rb"fLaC", "FLAC"),
    _Format(rb"OggS", "Ogg"),
    _Format(rb"%PDF", "PDF"),
    _Format(rb"(\xef\xbb\xbf)?\s*(?i:<!doctype html|<html)", "HTML"),
    # Atomic and possessive, so that no text makes it try twice.
    _Format(rb"(\xef\xbb\xbf)?(?>\s+|<[?!](?!--)[^>]*>|<!--.*?-->)*+<svg\b", "SVG"),
)


# --- Looking ----------------------------------------------------------------------------------------------------


def look(path: str) -> Look:
    """Tell what a regular file is by its content.

    Raises FileNotFoundError where there is none; UnreadableError where it is empty, cut off or garbled; OSError where
    it cannot be opened or is no regular file, which is neither opened nor waited for; ValueError for NUL in the path.
    """
    with _open(path) as file:
        return _look(file, os.fstat(file.fileno()).st_size)


def look_at_bytes(data: bytes) -> Look:
    """Tell what some bytes are, as ``look`` does for a file. Raises UnreadableError."""
    return _look(BytesIO(data), len(data))


def recognise(head: bytes, size: int) -> Look:
    """Tell what a file is from its first 512 bytes alone: kind, MIME type and format, nothing else."""
    for row in _FORMATS:
        if re.match(row.pattern, head, re.DOTALL):
            return Look(row.kind, row.mime, size, row.what)
    return Look("", "application/octet-stream", size)


def extension(mime: str) -> str:
    """Name the extension of a MIME type that ``look`` tells."""
    return next((row.extension for row in _FORMATS if row.mime == mime), "")


class Fingerprint(NamedTuple):
    """What tells a content from others, and what tells that it arrived whole."""

    digest: str  # BLAKE3 in hex
    crc64: int  # CRC-64/XZ, which OSS calls crc64ecma


def fingerprint(path: str, size: int) -> Fingerprint:
    """Read a regular file of exactly ``size`` bytes, or a data URI. Raises OSError, also where it is not that long."""
    from blake3 import blake3
    from fastcrc import crc64

    digest, crc, left = blake3(), crc64.xz(b""), size
    with BytesIO(decode_data_uri(path, size)) if path.startswith("data:") else _open(path) as file:
        while block := file.read(min(_BLOCK, left + 1)):
            left -= len(block)
            if left < 0:
                raise OSError(f"it became longer than the {size} bytes that were looked at")
            digest.update(block)
            crc = crc64.xz(block, crc)
    if left:
        raise OSError(f"it became shorter than the {size} bytes that were looked at")
    return Fingerprint(digest.hexdigest(), crc)


def decode_data_uri(text: str, limit: int) -> bytes:
    """Decode ``data:[mime];base64,...`` of at most ``limit`` bytes; the size is checked before anything is decoded.

    Strict: no white space, no percent signs, exact padding. Raises ValueError with a sentence for people.
    """
    from binascii import a2b_base64

    head, comma, encoded = text.partition(",")
    if not (comma and re.fullmatch(r"data:.*;base64", head, re.IGNORECASE | re.DOTALL)):
        raise ValueError("it is no data URI in base64")
    if (size := len(encoded) // 4 * 3 - encoded.count("=", -2)) > limit:
        raise ValueError(f"it holds {size} bytes, and {limit} is the limit")
    try:
        return a2b_base64(encoded.encode("ascii"), strict_mode=True)
    except ValueError as error:
        raise ValueError("its base64 is garbled") from error


_SPECIAL = (
    (stat.S_ISDIR, "it is a directory"),
    (stat.S_ISFIFO, "it is a FIFO, and only a regular file is read"),
    (stat.S_ISSOCK, "it is a socket, and only a regular file is read"),
    (lambda mode: not stat.S_ISREG(mode), "it is a device, and only a regular file is read"),
)


def _refuse_special(status: os.stat_result) -> None:
    for is_special, reason in _SPECIAL:
        if is_special(status.st_mode):
            raise OSError(reason)


def _open(path: str) -> BinaryIO:
    _refuse_special(os.stat(path))  # before it is opened: opening a device may already do something
    # O_NONBLOCK: a FIFO that took the file's place just now is not waited for either.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    file = open(os.open(path, flags), "rb")  # noqa: SIM115 - the caller closes it
    try:
        _refuse_special(os.fstat(file.fileno()))
    except OSError:
        file.close()
        raise
    return file


def _look(file: BinaryIO, size: int) -> Look:
    if not size:
        raise UnreadableError("it is empty")
    found = recognise(file.read(_HEAD), size)
    if found.kind == "":
        return found
    try:
        return found._replace(**_FACTS[found.what](file, size))
    except Exception as error:  # what libraries raise on garbage is no closed list
        if isinstance(error, UnreadableError) or getattr(error, "errno", None):
            raise
        raise UnreadableError(f"it is no {found.what} that can be read") from error


# --- Images: Pillow reads a head that holds what a picture is, and nothing that could be large ---------------------


class _Head(NamedTuple):
    image: bytes  # the same picture without its pixels, text, profiles and thumbnails
    exif: bytes
    end: int  # where the pixels begin


def _jpeg(file: BinaryIO, _: int) -> dict[str, Any]:
    from PIL.JpegImagePlugin import JpegImageFile

    head = _jpeg_head(file)
    _must_hold(file, head.end, b"\xff\xd9")
    return _facts(JpegImageFile(BytesIO(head.image)), head.exif)


def _jpeg_head(file: BinaryIO) -> _Head:
    """Keep frame (SOFn) and scan (SOS) of a JPEG's segments, and EXIF apart (ITU T.81, B.1)."""
    kept, exif = b"\xff\xd8", b""
    file.seek(2)
    for _ in range(_PIECES):
        marker = _exactly(file, 2)
        if marker == b"\xff\xff":  # a fill byte
            file.seek(-1, os.SEEK_CUR)
            continue
        (length,) = unpack(">H", _exactly(file, 2))
        body = _exactly(file, max(length - 2, 0))
        if marker == b"\xff\xe1" and body.startswith(b"Exif\0\0"):
            exif = exif or body[6 : 6 + _EXIF]
        elif re.match(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf\xda]", marker):
            kept += marker + length.to_bytes(2) + body
        if marker == b"\xff\xda":
            return _Head(kept, exif, file.tell())
    raise UnreadableError("it has too many segments before the picture")


def _png(file: BinaryIO, _: int) -> dict[str, Any]:
    from PIL.PngImagePlugin import PngImageFile

    head = _png_head(file)
    _must_hold(file, head.end, b"IEND\xaeB`\x82")
    return _facts(PngImageFile(BytesIO(head.image)), head.exif)


def _png_head(file: BinaryIO) -> _Head:
    """Keep header, palette and transparency of a PNG's chunks, and EXIF apart (PNG specification, section 5)."""
    file.seek(0)
    kept, exif = _exactly(file, 8), b""
    for _ in range(_PIECES):
        start = _exactly(file, 8)
        length, name = unpack(">I4s", start)
        after = file.tell() + length + 4
        if name == b"IDAT":
            return _Head(kept + start, exif, file.tell())
        if name in (b"IHDR", b"PLTE", b"tRNS") and length <= 256 * 3:
            kept += start + _exactly(file, length + 4)
        elif name == b"eXIf":
            exif = file.read(min(length, _EXIF))
        file.seek(after)
    raise UnreadableError("it has too many chunks before the picture")


def _bmp(file: BinaryIO, size: int) -> dict[str, Any]:
    from PIL.BmpImagePlugin import BmpImageFile

    file.seek(0)
    image = BmpImageFile(BytesIO(file.read(1 << 12)))  # more than the longest header and palette
    codec, (_, _, _, rows), start, args = cast("Any", image.tile[0])
    if codec == "raw" and start + args[1] * rows > size:  # args: mode, bytes a row, direction
        raise UnreadableError("it is cut off")
    return _facts(image, b"")


def _facts(image: "ImageFile", exif: bytes) -> dict[str, Any]:
    return {"alpha": image.has_transparency_data, **_as_shown(*image.size, exif)}


def _as_shown(width: int, height: int, exif: bytes) -> dict[str, Any]:
    """Swap the sides where EXIF says so: orientation 5 to 8 lies on its side (Exif 2.32, 4.6.4)."""
    return (
        {"width": height, "height": width} if _orientation(exif) in range(5, 9) else {"width": width, "height": height}
    )


def _orientation(exif: bytes) -> Any:
    if not exif:
        return 1
    from warnings import catch_warnings, simplefilter

    from PIL.Image import Exif

    tags = Exif()
    with suppress(Exception), catch_warnings():  # garbled EXIF is no reason to refuse a picture
        simplefilter("ignore")  # Pillow warns of tags that were cut away here
        tags.load(exif)
        return tags.get(0x0112, 1)
    return 1


# Not Pillow: it reads a whole WEBP into memory, and makes room for all its pixels, to learn what the first chunk says.


def _webp_lossy(head: bytes) -> tuple[int, int, bool]:
    width, height = unpack_from("<HH", head, 26)
    return width & 0x3FFF, height & 0x3FFF, False


def _webp_lossless(head: bytes) -> tuple[int, int, bool]:
    (bits,) = unpack_from("<I", head, 21)
    return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), bool(bits >> 28 & 1)


def _webp_extended(head: bytes) -> tuple[int, int, bool]:
    flags, width, height = unpack_from("<B3x3s3s", head, 20)
    return 1 + int.from_bytes(width, "little"), 1 + int.from_bytes(height, "little"), bool(flags & 0x10)


# The name of the first chunk, and who reads width, height and alpha from it (RFC 9649, section 2).
_WEBP = {b"VP8 ": _webp_lossy, b"VP8L": _webp_lossless, b"VP8X": _webp_extended}


def _webp(file: BinaryIO, size: int) -> dict[str, Any]:
    file.seek(0)
    head = file.read(30)
    if unpack_from("<I", head, 4)[0] + 8 > size:
        raise UnreadableError("it is cut off")
    width, height, alpha = _WEBP[head[12:16]](head)
    if not width or not height:
        raise UnreadableError("it has no pixels")
    return {"alpha": alpha, **_as_shown(width, height, _webp_exif(file))}


def _webp_exif(file: BinaryIO) -> bytes:
    file.seek(12)
    for _ in range(_PIECES):
        name, length = unpack("<4sI", file.read(8).ljust(8, b"\0"))
        if name == b"\0\0\0\0":  # the end
            break
        if name == b"EXIF":
            return file.read(min(length, _EXIF)).removeprefix(b"Exif\0\0")
        file.seek(length + length % 2, os.SEEK_CUR)
    return b""


# Not Pillow: a directory may claim tags of any size.


def _tiff(file: BinaryIO, size: int) -> dict[str, Any]:
    """Read the first directory's tags: sides, alpha, how it lies, where its pixels are (TIFF 6.0, sections 2 and 8)."""
    file.seek(0)
    order = "<" if _exactly(file, 4)[:1] == b"I" else ">"
    file.seek(*unpack(f"{order}I", _exactly(file, 4)))
    (count,) = unpack(f"{order}H", _exactly(file, 2))
    tags = {tag: more for tag, *more in iter_unpack(f"{order}HHI4s", _exactly(file, 12 * count))}

    def numbers(*names: int) -> tuple[int, ...]:
        kind, many, data = next((tags[name] for name in names if name in tags), (3, 0, b""))
        many = min(many, _PIECES)
        if many * _TIFF_BYTES[kind] > len(data):
            file.seek(*unpack(f"{order}I", data))
            data = _exactly(file, many * _TIFF_BYTES[kind])
        return unpack_from(f"{order}{many}{_TIFF_CODES[kind]}", data)

    (width,), (height,) = numbers(0x0100), numbers(0x0101)
    starts, lengths = numbers(0x0111, 0x0144), numbers(0x0117, 0x0145)  # of strips, or of tiles
    if not width or not height or not starts:
        raise UnreadableError("it has no pixels")
    if max(map(sum, zip(starts, lengths, strict=True))) > size:
        raise UnreadableError("it is cut off")
    alpha = not {1, 2}.isdisjoint(numbers(0x0152))  # what else there is besides the colours
    lying = numbers(0x0112)[:1] in {(turn,) for turn in range(5, 9)}
    return {"alpha": alpha, "width": height if lying else width, "height": width if lying else height}


_TIFF_BYTES, _TIFF_CODES = {1: 1, 3: 2, 4: 4}, {1: "B", 3: "H", 4: "I"}  # by the type of a tag's numbers


def _must_hold(file: BinaryIO, start: int, mark: bytes) -> None:
    """Object where a picture's data has no end; what follows the end is nobody's business."""
    file.seek(start)
    tail = b""
    for _ in range(_SCANNED // _BLOCK):
        block = file.read(_BLOCK)
        if mark in tail + block:
            return
        if not block:
            raise UnreadableError("it is cut off")
        tail = block[1 - len(mark) :]


def _exactly(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise UnreadableError("it is cut off")
    return data


# --- Video: boxes (ISO/IEC 14496-12, section 4.2) ------------------------------------------------------------------


def _boxes(file: BinaryIO, start: int, end: int, *, open_ended: bool = True) -> Iterator[tuple[bytes, int, int]]:
    """Yield each box between two offsets: name, and where its body starts and ends. Raises UnreadableError.

    ``open_ended``: whether the last box may leave open where it ends, and so reach to ``end``.
    """
    for _ in range(_PIECES):
        if start >= end:
            return
        file.seek(start)
        head = file.read(16)
        size, name, body = int.from_bytes(head[:4]), head[4:8], 8
        if size == 1:
            size, body = int.from_bytes(head[8:16]), 16
        elif size == 0 and open_ended:
            size = end - start
        if size < body or start + size > end:
            said = f"box {name.decode('latin-1')!r} at byte {start} ends beyond byte {end}"
            raise UnreadableError(f"it is cut off or garbled: {said}")
        yield name, start + body, start + size
        start += size
    raise UnreadableError(f"it has more than {_PIECES} boxes")


def _video(file: BinaryIO, size: int) -> dict[str, Any]:
    moov = [(start, end) for name, start, end in _boxes(file, 0, size) if name == b"moov"]
    if not moov:
        raise UnreadableError("it is cut off: it has no 'moov' box")
    boxes = list(_boxes(file, *moov[0]))
    header = [_body(file, *at) for name, *at in boxes if name == b"mvhd"]
    if not header:
        raise UnreadableError("it is garbled: it has no 'mvhd' box")
    sides = (_track_sides(file, *at) for name, *at in boxes if name == b"trak")
    width, height = next((found for found in sides if all(found)), (0, 0))
    seconds, fps = _movie_seconds(header[0]) or _ask_av(file), None
    with suppress(UnreadableError, IndexError, StructError):  # a video that does not say is a video all the same
        fps = _indexed(cast("BinaryIO", _Dry(file)), moov[0]).fps
    return {"width": width, "height": height, "seconds": seconds, "fps": fps}


def _body(file: BinaryIO, start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(min(end - start, 128))  # the boxes that are read are no longer


def _movie_seconds(mvhd: bytes) -> float | None:
    scale, length = unpack_from(">IQ", mvhd, 20) if mvhd[0] else unpack_from(">II", mvhd, 12)
    unknown = 2**64 - 1 if mvhd[0] else 2**32 - 1
    return length / scale if scale and length != unknown else None


def _track_sides(file: BinaryIO, start: int, end: int) -> tuple[int, int]:
    for name, *at in _boxes(file, start, end):
        if name == b"tkhd":
            body = _body(file, *at)
            a, b, *_ = unpack_from(">ii", body, 52 if body[0] else 40)
            width, height = unpack_from(">HxxH", body, 88 if body[0] else 76)  # 16.16, the whole part
            return (height, width) if b and not a else (width, height)  # the matrix turns it by 90 degrees
    return 0, 0


def _ask_av(file: BinaryIO) -> float | None:
    """Ask PyAV for the seconds of a video that does not say them, as fragmented ones do; None where it is missing."""
    with suppress(Exception):  # whatever FFmpeg says of it, the answer is that nobody knows
        import av

        with av.open(_Dry(file), "r", format="mov") as container:
            return container.duration / av.time_base if container.duration else None
    return None


class Measured(NamedTuple):
    """What a clip's own index says of it."""

    seconds: float  # of the picture
    fps: float  # frames a second, on average
    width: int  # pixels as stored
    height: int
    sound: bool  # there is a sound track


def measure(path: str) -> Measured:
    """Measure a local MP4 by its boxes: how long its frames last is added up, and no frame is decoded.

    An edit list is not looked at. Raises ValueError where the file is no whole MP4, or does not say, as fragmented
    ones do not; OSError where it cannot be opened. Source: ISO/IEC 14496-12, sections 8.4, 8.5 and 8.6.
    """
    with _open(path) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            return _measured(cast("BinaryIO", _Dry(file)), size)
        except UnreadableError as fault:
            raise ValueError(str(fault)) from fault
        except (IndexError, StructError) as error:
            raise ValueError("it is garbled: a box is too short") from error


def _measured(file: BinaryIO, size: int) -> Measured:
    if file.read(8)[4:] != b"ftyp":
        raise UnreadableError("it is not an MP4 file")
    return _indexed(file, _child(file, (0, size), "moov"))


def _indexed(file: BinaryIO, index: tuple[int, int]) -> Measured:
    """Measure by the index, a `moov` box. Raises UnreadableError, IndexError and struct's error."""
    moov = list(_boxes(file, *index))
    if any(name == b"mvex" for name, *_ in moov):
        raise UnreadableError("it is in fragments, and its index does not say how long they are")
    tracks = [_child(file, (start, end), "mdia") for name, start, end in moov if name == b"trak"]
    kinds = [_body(file, *_child(file, track, "hdlr"))[8:12] for track in tracks]
    if b"vide" not in kinds:
        raise UnreadableError("it has no video track")
    picture = tracks[kinds.index(b"vide")]
    table = _child(file, _child(file, picture, "minf"), "stbl")
    frames, length = _times(file, *_child(file, table, "stts"))
    mdhd = _body(file, *_child(file, picture, "mdhd"))
    (scale,) = unpack_from(">I", mdhd, 20 if mdhd[0] else 12)
    width, height = unpack_from(">HH", _body(file, *_child(file, table, "stsd")), 40)  # of the first sample entry
    if not (frames and length and scale and width and height):
        raise UnreadableError("its index says nothing of the picture's time or size")
    stated = _movie_seconds(mdhd)  # this box has the layout of mvhd
    if stated and abs(stated - length / scale) > _TOLERANCE:
        raise UnreadableError("its index says two different lengths")
    return Measured(length / scale, frames * scale / length, width, height, b"soun" in kinds)


def matrix(path: str) -> bytes:
    """Return the 36 bytes by which an MP4's picture is turned; none where it has no such track. Raises OSError.

    Source: ISO/IEC 14496-12, section 8.3.2.
    """
    with _open(path) as file:
        dry, size = cast("BinaryIO", _Dry(file)), os.fstat(file.fileno()).st_size
        moov = [at for name, *at in _boxes(dry, 0, size) if name == b"moov"]
        traks = [at for name, *at in _boxes(dry, *moov[0]) if name == b"trak"] if moov else []
        for trak in (trak for trak in traks if any(_track_sides(dry, *trak))):
            body = _body(dry, *_child(dry, (trak[0], trak[1]), "tkhd"))
            return body[52:88] if body[0] else body[40:76]
    return b""


def _child(file: BinaryIO, within: tuple[int, int], name: str) -> tuple[int, int]:
    """Find where the first box of that name starts and ends, inside another one whose boxes are all whole."""
    found = [(start, end) for named, start, end in _boxes(file, *within) if named == name.encode()]
    if not found:
        raise UnreadableError(f"it has no '{name}' box")
    return found[0]


def _times(file: BinaryIO, start: int, end: int) -> tuple[int, int]:
    """Add up a time-to-sample box: how many samples, and how long they last in the track's own units."""
    file.seek(start)
    (rows,) = unpack_from(">4xI", file.read(8))
    if rows * 8 > end - start - 8:
        raise UnreadableError("it is garbled: its table of times is cut off")
    times = list(iter_unpack(">II", file.read(rows * 8)))
    return sum(count for count, _ in times), sum(count * delta for count, delta in times)


def mp4_fault(path: str, *, sized: bool = True) -> str | None:
    """Say what is wrong with an MP4 file's boxes, or nothing: `ftyp` first, `moov` and `mdat`, no byte over or short.

    Where its length is not known to be right (``sized``), the last box must say where it ends. Costs a few reads
    whatever the file's size. It looks at the outermost boxes, not at what they hold.
    """
    with open(path, "rb") as file:
        if file.read(8)[4:] != b"ftyp":
            return "it is not an MP4 file"
        try:
            seen = {name for name, *_ in _boxes(file, 0, file.seek(0, os.SEEK_END), open_ended=sized)}
        except UnreadableError as fault:
            return str(fault)
    missing = {b"moov", b"mdat"} - seen
    return f"it has no {min(missing).decode()} box" if missing else None


# --- Audio -------------------------------------------------------------------------------------------------------


def _audio(file: BinaryIO, size: int) -> dict[str, Any]:
    from tinytag import TinyTag

    file.seek(0)
    tag = TinyTag.get(file_obj=_Dry(file), tags=False)  # type: ignore[arg-type]  # all that it calls
    if not tag.samplerate:
        raise UnreadableError("it is cut off or holds no sound")
    return {"seconds": _held(size, tag.bitrate, tag.duration) or None}


def _held(size: int, bitrate: float | None, seconds: float | None) -> float:
    """Correct a header that promises more than the file holds: it was cut off, or begun before its end was known."""
    held = size * 8 / (bitrate * 1000) if bitrate else float("inf")  # bitrate in kbit/s
    return held if (seconds or 0) > held * 1.02 else seconds or 0  # an MP3's frames are rounded to bytes


class _Dry:
    """A file that runs dry: so many reads, none of them large, so that no garbage keeps a library busy."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._left = file, _READS
        self.seek, self.tell = file.seek, file.tell

    def read(self, count: int) -> bytes:
        self._left -= 1
        if self._left < 0 or not 0 <= count <= _PIECE:
            raise UnreadableError("it is garbled")
        return self._file.read(count)


_FACTS: dict[str, Callable[[BinaryIO, int], dict[str, Any]]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "BMP": _bmp,
    "WEBP": _webp,
    "TIFF": _tiff,
    "MP4": _video,
    "MOV": _video,
    "WAV": _audio,
    "MP3": _audio,
}
