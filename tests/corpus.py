"""Builds media files, good and bad, so that none has to be committed: pictures, clips, sounds and what only looks so.

Three tables say what each file is, by a name that may lie: GOOD with what a look must find, UNREADABLE, and FOREIGN
with the format that the API does not take. The makers are functions of their own, for any size and length.
"""

import io
import struct
import wave
import zlib
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import av
from PIL import Image

Make = Callable[[], bytes]


# --- Pictures ----------------------------------------------------------------------------------------------------


@cache
def picture(format: str, width: int = 48, height: int = 32, *, mode: str = "RGB", **save: Any) -> bytes:  # noqa: A002 - Pillow's word
    """A picture in one of Pillow's formats and modes."""
    colours = sum(len(band) for band in Image.new(mode, (1, 1)).getbands())
    image = Image.new(mode, (width, height), 99 if colours == 1 else tuple(range(60, 60 + 40 * colours, 40)))
    return _saved(image, format, **save)


def _saved(image: Image.Image, format: str, **save: Any) -> bytes:  # noqa: A002 - as above
    file = io.BytesIO()
    image.save(file, format, **save)
    return file.getvalue()


def exif(orientation: int) -> bytes:
    """EXIF that says how a picture lies; 5 to 8 swap its sides."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def half_garbled_exif() -> bytes:
    """EXIF with an orientation, 6, and with a tag whose data is elsewhere."""
    return struct.pack("<4sIHHHIIHHII", b"II*\0", 8, 2, 0x0112, 3, 1, 6, 1000, 7, 32_000, 33_000) + bytes(4)


def turned(format: str, orientation: int = 6) -> bytes:  # noqa: A002 - as above
    return picture(format, exif=exif(orientation))


def animated(format: str) -> bytes:  # noqa: A002 - as above
    frames = [Image.new("RGB", (48, 32), colour) for colour in ("red", "green", "blue")]
    return _saved(frames[0], format, save_all=True, append_images=frames[1:], duration=100)


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, *extra: bytes, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG by hand: extra chunks before the pixels, of which there are 64 KB whatever the header says."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(1 << 16)))
    return b"".join((b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), *extra, pixels, chunk(b"IEND", b"")))


def alpha_bmp() -> bytes:
    """A BMP of 48 x 32 pixels with a mask for alpha, as only a longer header has it."""
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 108, 48, 32, 1, 32, 3, 0, 0, 0, 0, 0) + masks + bytes(52)
    return b"BM" + struct.pack("<IHHI", 122 + 48 * 32 * 4, 0, 0, 122) + header + bytes(48 * 32 * 4)


def jpeg(*segments: bytes, junk: bytes = b"") -> bytes:
    """A good JPEG of 48 x 32 pixels with more segments (marker and body) in front, and bytes behind its end."""
    plain = picture("JPEG")
    more = b"".join(segment[:2] + struct.pack(">H", len(segment)) + segment[2:] for segment in segments)
    return plain[:2] + more + plain[2:] + junk


def exif_bomb() -> bytes:
    """64 KB of EXIF whose 2,700 tags each claim the same 32 KB: 86 MB where each is kept."""
    tags = b"".join(struct.pack("<HHII", 1000 + row, 7, 32_000, 33_000) for row in range(2_700))
    return jpeg(b"\xff\xe1Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2_700) + tags + bytes(33_000))


def webp_with(name: bytes, size: int) -> bytes:
    """A WEBP of 48 x 32 pixels with a chunk of zeros behind the picture."""
    data = picture("WEBP", xmp=b"x") + name + struct.pack("<I", size) + bytes(size)
    return b"RIFF" + struct.pack("<I", len(data) - 8) + data[8:]


def text_bomb(name: bytes, count: int) -> bytes:
    """A PNG with text or profiles of 1 MB each, packed to 1 KB."""
    packed = zlib.compress(bytes(1_000_000))
    return png(48, 32, *(chunk(name, b"k%d\0\0" % row + packed) for row in range(count)))


# --- Video -------------------------------------------------------------------------------------------------------


@cache
def clip(
    seconds: float,
    format: str = "mp4",  # noqa: A002 - FFmpeg's word
    movflags: str = "",
    width: int = 48,
    height: int = 32,
    *,
    rate: int = 10,
) -> bytes:
    """A clip of MPEG-4 video at 10 frames a second."""
    options = {"movflags": movflags} if movflags else {}
    with TemporaryDirectory() as folder:  # FFmpeg moves an index to the front in a file, not in memory
        path = Path(folder, f"clip.{format}")
        with av.open(path, "w", options=options) as container:
            stream = container.add_stream("mpeg4", rate=rate, width=width, height=height, pix_fmt="yuv420p")
            for number in range(round(seconds * rate)):
                frame = av.VideoFrame(width, height, "yuv420p")
                for plane in frame.planes:
                    plane.update(bytes([128]) * plane.buffer_size)
                frame.pts = number
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path.read_bytes()


def box(name: bytes, body: bytes = b"", size: int | None = None) -> bytes:
    """A box of an MP4; a size of its own makes it lie, and one over 32 bits takes 64."""
    claimed = len(body) + 8 if size is None else size
    head = struct.pack(">I", claimed) if claimed < 2**32 else b"\0\0\0\x01"
    return head + name + (b"" if claimed < 2**32 else struct.pack(">Q", claimed)) + body


FTYP = box(b"ftyp", b"isom\0\0\2\0isomiso2mp41")


def nested(depth: int, name: bytes = b"moov") -> bytes:
    """Boxes in boxes, the innermost empty."""
    sizes = range(8 * depth, 0, -8)
    return FTYP + b"".join(struct.pack(">I", size) + name for size in sizes)


def turned_clip() -> bytes:
    """A clip whose track asks to be shown turned by 90 degrees, as telephones do."""
    data = clip(0.5)
    matrix = data.index(struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30), data.index(b"tkhd"))
    turn = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
    return data[:matrix] + turn + data[matrix + 36 :]


# --- Audio -------------------------------------------------------------------------------------------------------


@cache
def wav(seconds: float, rate: int = 8000) -> bytes:
    """Silence: mono, 16 bits."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(bytes(2 * round(seconds * rate)))
    return file.getvalue()


def lying_wav(seconds: float, claimed: int) -> bytes:
    """A WAV whose data chunk claims to be longer than the file; FFmpeg writes 2^32 - 1 into a pipe."""
    data = wav(seconds)
    at = data.index(b"data") + 4
    return data[:at] + struct.pack("<I", claimed) + data[at + 4 :]


def mp3(seconds: float) -> bytes:
    """An MP3 without any tag, by hand: frames of 128 kbit/s at 44.1 kHz, all of them empty."""
    return (b"\xff\xfb\x90\xc0" + bytes(413)) * round(seconds * 44100 / 1152)


def id3(size: int) -> bytes:
    """An ID3 tag of zeros, as padding or a cover picture takes room."""
    return b"ID3\x04\0\0" + bytes(size >> shift & 127 for shift in (21, 14, 7, 0)) + bytes(size)


@cache
def lame_mp3(seconds: float) -> bytes:
    """An MP3 as LAME writes it: an ID3 tag, and a first frame that tells the length."""
    file = io.BytesIO()
    with av.open(file, "w", "mp3") as container:
        stream = container.add_stream("libmp3lame", rate=16000, layout="mono")
        sound = av.AudioFrame("s16p", "mono", round(seconds * 16000))
        sound.rate = 16000
        for plane in sound.planes:
            plane.update(bytes(plane.buffer_size))
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    return file.getvalue()


# --- The tables ----------------------------------------------------------------------------------------------------


class Good(NamedTuple):
    """A file that can be read, and what a look must find in it; seconds within 0.1, as MP3 counts in frames."""

    make: Make
    mime: str
    width: int = 48
    height: int = 32
    alpha: bool = False
    seconds: float | None = None


def _png_of(mode: str, **save: Any) -> Make:
    return partial(picture, "PNG", mode=mode, **save)


_JPEG, _PNG, _BMP, _WEBP = "image/jpeg", "image/png", "image/bmp", "image/webp"
_TIFF = "image/tiff"
_MP4, _MOV, _WAV, _MP3 = "video/mp4", "video/quicktime", "audio/wav", "audio/mpeg"

GOOD = {
    "plain.jpg": Good(partial(picture, "JPEG"), _JPEG),
    "plain.png": Good(partial(picture, "PNG"), _PNG),
    "plain.bmp": Good(partial(picture, "BMP"), _BMP),
    "plain.webp": Good(partial(picture, "WEBP"), _WEBP),
    "plain.tiff": Good(partial(picture, "TIFF"), _TIFF),
    "lossless.webp": Good(partial(picture, "WEBP", lossless=True), _WEBP),
    "is-a-png.jpg": Good(partial(picture, "PNG"), _PNG),
    "is-a-jpeg.mp4": Good(partial(picture, "JPEG"), _JPEG),
    "is-a-clip.png": Good(partial(clip, 2), _MP4, seconds=2),
    "no-extension": Good(partial(picture, "BMP"), _BMP),
    "progressive.jpg": Good(partial(picture, "JPEG", progressive=True), _JPEG),
    "grey.jpg": Good(partial(picture, "JPEG", mode="L"), _JPEG),
    "cmyk.jpg": Good(partial(picture, "JPEG", mode="CMYK"), _JPEG),
    "turned.jpg": Good(partial(turned, "JPEG"), _JPEG, 32, 48),
    "turned.png": Good(partial(turned, "PNG"), _PNG, 32, 48),
    "turned.webp": Good(partial(turned, "WEBP"), _WEBP, 32, 48),
    "upside-down.jpg": Good(partial(turned, "JPEG", 3), _JPEG),
    "garbled-exif.jpg": Good(partial(jpeg, b"\xff\xe1Exif\0\0nothing that EXIF is"), _JPEG),
    "turned-and-garbled-exif.jpg": Good(partial(jpeg, b"\xff\xe1Exif\0\0" + half_garbled_exif()), _JPEG, 32, 48),
    "with-thumbnail.jpg": Good(lambda: jpeg(b"\xff\xe2MPF\0" + picture("JPEG", 16, 16)), _JPEG),
    "with-fill-bytes.jpg": Good(lambda: picture("JPEG")[:2] + b"\xff" * 9 + picture("JPEG")[2:], _JPEG),
    "with-a-video-behind.jpg": Good(lambda: jpeg(junk=clip(2)), _JPEG),
    "with-junk-behind.png": Good(lambda: picture("PNG") + bytes(100_000), _PNG),
    "animated.png": Good(partial(animated, "PNG"), _PNG),
    "animated.webp": Good(partial(animated, "WEBP"), _WEBP),
    "grey.png": Good(_png_of("L"), _PNG),
    "1-bit.png": Good(_png_of("1"), _PNG),
    "16-bit.png": Good(_png_of("I;16"), _PNG),
    "16-bit-colour.png": Good(partial(png, 48, 32, depth=16), _PNG),
    "16-bit-alpha.png": Good(partial(png, 48, 32, depth=16, colour=6), _PNG, alpha=True),
    "palette.png": Good(_png_of("P"), _PNG),
    "palette-transparent.png": Good(_png_of("P", transparency=3), _PNG, alpha=True),
    "palette-translucent.png": Good(_png_of("P", transparency=b"\xff\x80\x00"), _PNG, alpha=True),
    "colour-key.png": Good(_png_of("RGB", transparency=(1, 2, 3)), _PNG, alpha=True),
    "alpha.png": Good(_png_of("RGBA"), _PNG, alpha=True),
    "grey-alpha.png": Good(_png_of("LA"), _PNG, alpha=True),
    "alpha.webp": Good(partial(picture, "WEBP", mode="RGBA"), _WEBP, alpha=True),
    "lossless-alpha.webp": Good(partial(picture, "WEBP", mode="RGBA", lossless=True), _WEBP, alpha=True),
    "palette.bmp": Good(partial(picture, "BMP", mode="P"), _BMP),
    "1-bit.bmp": Good(partial(picture, "BMP", mode="1"), _BMP),
    "32-bit.bmp": Good(partial(picture, "BMP", mode="RGBA"), _BMP),  # nothing says that the fourth byte is alpha
    "alpha.bmp": Good(alpha_bmp, _BMP, alpha=True),
    "alpha.tif": Good(partial(picture, "TIFF", mode="RGBA"), _TIFF, alpha=True),
    "big-endian.tif": Good(partial(picture, "TIFF", big_endian=True), _TIFF),
    "grey.tif": Good(partial(picture, "TIFF", mode="L"), _TIFF),
    "turned.tif": Good(partial(turned, "TIFF"), _TIFF, 32, 48),
    "strips.tif": Good(partial(picture, "TIFF", 480, 320, strip_size=4800), _TIFF, 480, 320),
    "one-pixel.webp": Good(partial(picture, "WEBP", 1, 1, lossless=True), _WEBP, 1, 1),
    "bomb-of-pixels.png": Good(partial(png, 50_000, 50_000), _PNG, 50_000, 50_000),
    "bomb-of-text.png": Good(partial(text_bomb, b"zTXt", 100), _PNG),
    "bomb-of-profiles.png": Good(partial(text_bomb, b"iCCP", 1000), _PNG),
    "bomb-of-exif.jpg": Good(exif_bomb, _JPEG),
    "bomb-of-segments.jpg": Good(lambda: jpeg(*[b"\xff\xe5" + bytes(65_000)] * 120), _JPEG),
    "bomb-of-metadata.webp": Good(partial(webp_with, b"JUNK", 9_000_000), _WEBP),
    "0.5-s.mp4": Good(partial(clip, 0.5), _MP4, seconds=0.5),
    "2-s.mp4": Good(partial(clip, 2), _MP4, seconds=2),
    "31-s.mp4": Good(partial(clip, 31), _MP4, seconds=31),
    "0.5-s.mov": Good(partial(clip, 0.5, "mov"), _MOV, seconds=0.5),
    "2-s.mov": Good(partial(clip, 2, "mov"), _MOV, seconds=2),
    "31-s.mov": Good(partial(clip, 31, "mov"), _MOV, seconds=31),
    "index-first.mp4": Good(partial(clip, 2, movflags="faststart"), _MP4, seconds=2),
    "fragmented.mp4": Good(partial(clip, 2, movflags="frag_keyframe+empty_moov"), _MP4, seconds=2),
    "turned.mp4": Good(turned_clip, _MP4, 32, 48, seconds=0.5),
    "open-end.mp4": Good(lambda: clip(2, movflags="faststart") + box(b"free", bytes(64), 0), _MP4, seconds=2),
    "2-s.wav": Good(partial(wav, 2), _WAV, 0, 0, seconds=2),
    "5-s.wav": Good(partial(wav, 5), _WAV, 0, 0, seconds=5),
    "31-s.wav": Good(partial(wav, 31), _WAV, 0, 0, seconds=31),
    "from-a-pipe.wav": Good(partial(lying_wav, 5, 2**32 - 1), _WAV, 0, 0, seconds=5),
    "cut-off.wav": Good(lambda: wav(31)[:80_044], _WAV, 0, 0, seconds=5),
    "silent.wav": Good(partial(wav, 0), _WAV, 0, 0),
    "2-s.mp3": Good(partial(mp3, 2), _MP3, 0, 0, seconds=2),
    "5-s.mp3": Good(partial(mp3, 5), _MP3, 0, 0, seconds=5),
    "31-s.mp3": Good(partial(mp3, 31), _MP3, 0, 0, seconds=31),
    "with-cover.mp3": Good(lambda: id3(1_000_000) + mp3(5), _MP3, 0, 0, seconds=5),
    "by-lame.mp3": Good(partial(lame_mp3, 5), _MP3, 0, 0, seconds=5),
    "cut-off.mp3": Good(lambda: lame_mp3(31)[: len(lame_mp3(31)) // 2], _MP3, 0, 0, seconds=15.5),
}


def _cut(make: Make, share: float) -> Make:
    return lambda: make()[: int(len(make()) * share)]


UNREADABLE: dict[str, Make] = {
    "empty.png": bytes,
    **{
        f"cut-off-at-{share}.{name}": _cut(partial(picture, name.upper(), 400, 300), share)
        for name in ("jpeg", "png", "bmp", "webp", "tiff")
        for share in (0.05, 0.5, 0.9, 0.999)
    },
    "cut-off-thumbnail-whole.jpg": lambda: jpeg(b"\xff\xe2MPF\0" + picture("JPEG", 16, 16))[:-2],
    "only-a-head.png": lambda: b"\x89PNG\r\n\x1a\n",
    "garbled-header.png": lambda: picture("PNG").replace(struct.pack(">II", 48, 32), struct.pack(">II", 49, 32)),
    "no-pixels.png": partial(png, 0, 0),
    "no-palette.png": partial(png, 48, 32, colour=3),
    "text.bmp": lambda: b"BMI is a number that says little." * 9,
    "garbled.jpg": lambda: b"\xff\xd8\xff" + b"garbled " * 999,
    "all-fill-bytes.jpg": lambda: b"\xff\xd8" + b"\xff" * 1_000_000,
    "bomb-of-chunks.png": lambda: png(48, 32, *[chunk(b"teXt", b"")] * 300_000),
    "only-a-head.tif": lambda: b"II*\0\x08\0\0\0",
    "no-directory.tif": lambda: b"MM\0*" + bytes(64),
    "no-strips.tif": lambda: b"II*\0" + struct.pack("<IHHHIIHHII", 8, 2, 0x0100, 3, 1, 9, 0x0101, 3, 1, 9),
    "far-directory.tif": lambda: b"II*\0\xff\xff\xff\xff" + bytes(64),
    "garbled.tif": lambda: b"II*\0\x08\0\0\0\xff\xff" + bytes(range(256)) * 4000,
    "no-pixels.webp": lambda: picture("WEBP")[:26] + bytes(4) + picture("WEBP")[30:],
    "garbled.webp": lambda: b"RIFF\x40\0\0\0WEBPVP9 " + bytes(64),
    "cut-off.mp4": _cut(partial(clip, 2), 0.5),
    "cut-off-behind-its-index.mp4": _cut(partial(clip, 2, movflags="faststart"), 0.9),
    "only-a-head.mp4": lambda: FTYP,
    "endless-box.mp4": lambda: FTYP + box(b"mdat", bytes(64), 0),
    "endless-index.mp4": lambda: FTYP + box(b"moov", bytes(64), 0),
    "giant-box.mp4": lambda: FTYP + box(b"moov", bytes(64), 2**63),
    "largest-box.mp4": lambda: FTYP + box(b"moov", bytes(64), 2**64 - 1),
    "nested-boxes.mp4": partial(nested, 10_000),
    "nested-tracks.mp4": partial(nested, 10_000, b"trak"),
    "bomb-of-boxes.mp4": lambda: FTYP + box(b"free") * 300_000,
    "no-header.mp4": lambda: FTYP + box(b"moov", box(b"trak", box(b"tkhd", bytes(84)))),
    "short-header.mp4": lambda: FTYP + box(b"moov", box(b"mvhd", bytes(4))),
    "only-a-head.wav": lambda: wav(2)[:12],
    "garbled.wav": lambda: b"RIFF\x40\0\0\0WAVEfmt \0\0\0\x0c" + bytes(64),
    "bomb-of-chunks.wav": lambda: wav(2)[:12] + b"junk\0\0\0\0" * 300_000,
    "only-a-tag.mp3": partial(id3, 1000),
    "bomb-of-garbage.mp3": lambda: id3(10) + bytes(4_000_000),
    "only-a-sync.mp3": lambda: b"\xff\xfb",
    "is-a-flac.mp3": lambda: id3(10) + b"fLaC\0\0\0\x22" + bytes(64),
}

FOREIGN: dict[str, tuple[Make, str]] = {
    "drawing.svg": (lambda: b'<?xml version="1.0"?>\n<!-- a > b -->\n<svg width="48"/>', "SVG"),
    "bare.svg": (lambda: b"\xef\xbb\xbf \n<svg/>", "SVG"),
    "bomb-of-comments.svg": (lambda: b"<!---->" * 10_000, ""),
    "phone.heic": (lambda: box(b"ftyp", b"heic\0\0\0\0mif1heic") + bytes(64), "HEIC"),
    "small.avif": (lambda: box(b"ftyp", b"avif\0\0\0\0avifmif1") + bytes(64), "AVIF"),
    "song.m4a": (lambda: box(b"ftyp", b"M4A \0\0\2\0isomiso2") + bytes(64), "M4A"),
    "small.gif": (partial(picture, "GIF", mode="P"), "GIF"),
    "error-page.png": (lambda: b"\n<!DOCTYPE html><html><title>404</title></html>", "HTML"),
    "page.jpg": (lambda: b"<HTML><body>", "HTML"),
    "paper.pdf": (lambda: b"%PDF-1.7\n", "PDF"),
    "film.avi": (lambda: b"RIFF\x40\0\0\0AVI LIST" + bytes(64), "AVI"),
    "film.webm": (lambda: b"\x1aE\xdf\xa3" + bytes(64), "WebM or Matroska"),
    "noise.png": (lambda: bytes(range(256)), ""),
    "text.mp4": (lambda: b"hello", ""),
}

MAKERS: dict[str, Make] = {
    **{name: good.make for name, good in GOOD.items()},
    **UNREADABLE,
    **{name: make for name, (make, _) in FOREIGN.items()},
}
