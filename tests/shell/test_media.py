"""What a look at a file finds, what it refuses, and that neither costs more for a file that was made to cost."""

import io
import os
import re
import socket
import struct
import subprocess
import sys
import time
from base64 import b64encode
from contextlib import suppress
from pathlib import Path

import av
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

import corpus
from rawgenai import media
from rawgenai.media import Look, UnreadableError

_LINUX = sys.platform == "linux"


def write(folder: Path, name: str) -> str:
    path = folder / name
    path.write_bytes(corpus.MAKERS[name]())
    return str(path)


# --- What is found -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", corpus.GOOD)
def test_a_look_finds_what_the_content_says_and_not_the_name(tmp_path: Path, name: str) -> None:
    good = corpus.GOOD[name]
    path = write(tmp_path, name)
    data = Path(path).read_bytes()
    look = media.look(path)
    assert look[:3] == (good.mime.partition("/")[0], good.mime, len(data))
    assert (look.width, look.height, look.alpha) == (good.width, good.height, good.alpha)
    assert look.seconds == (good.seconds and pytest.approx(good.seconds, abs=0.1))
    assert media.look_at_bytes(data) == look


# Pillow refuses or warns of the others.
_FOR_PILLOW = {
    name: good
    for name, good in corpus.GOOD.items()
    if good.mime.startswith("image/")
    and not name.startswith(("bomb", "garbled", "turned-and-garbled", "with-thumbnail"))
}


@pytest.mark.parametrize("name", _FOR_PILLOW)
def test_pillow_sees_the_same_pixels_and_alpha(name: str) -> None:
    good = corpus.GOOD[name]
    with Image.open(io.BytesIO(good.make())) as image:
        alpha = image.has_transparency_data
        assert (*ImageOps.exif_transpose(image).size, alpha) == (good.width, good.height, good.alpha)


@pytest.mark.parametrize("orientation", range(10))
def test_orientations_five_to_eight_swap_the_sides(orientation: int) -> None:
    look = media.look_at_bytes(corpus.turned("JPEG", orientation))
    assert (look.width, look.height) == ((32, 48) if 5 <= orientation <= 8 else (48, 32))


@pytest.mark.parametrize("format", ["mp4", "mov"])
def test_a_video_of_any_length_tells_its_seconds_and_pixels(format: str) -> None:  # noqa: A002 - FFmpeg's word
    look = media.look_at_bytes(corpus.clip(29.9, format, width=64, height=16))
    assert look.seconds == pytest.approx(29.9)
    assert (look.width, look.height) == (64, 16)


def test_a_64_bit_header_tells_its_seconds() -> None:
    mvhd = corpus.box(b"mvhd", b"\1" + bytes(19) + struct.pack(">IQ", 1000, 7_500) + bytes(80))
    wide = struct.pack(">I4sQ", 1, b"free", 24) + bytes(8)
    assert media.look_at_bytes(corpus.FTYP + wide + corpus.box(b"moov", mvhd)).seconds == 7.5


def test_the_seconds_of_an_mp3_are_not_cut_by_rounded_frames() -> None:
    assert media.look_at_bytes(corpus.mp3(31)).seconds == pytest.approx(31, abs=0.03)


@pytest.mark.parametrize("scale_and_length", [(1000, 0), (0, 1000), (1000, 2**32 - 1)])
def test_a_length_that_is_not_said_is_unknown(scale_and_length: tuple[int, int]) -> None:
    mvhd = corpus.box(b"mvhd", bytes(12) + struct.pack(">II", *scale_and_length) + bytes(80))
    assert media.look_at_bytes(corpus.FTYP + corpus.box(b"moov", mvhd)).seconds is None


def test_a_fragmented_video_is_of_unknown_length_without_pyav(monkeypatch: pytest.MonkeyPatch) -> None:
    data = corpus.GOOD["fragmented.mp4"].make()
    monkeypatch.setitem(sys.modules, "av", None)
    look = media.look_at_bytes(data)
    assert (look.kind, look.width, look.seconds) == ("video", 48, None)


def test_pyav_is_asked_only_where_the_video_itself_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    data = corpus.clip(2)
    monkeypatch.setattr(av, "open", lambda *_, **__: pytest.fail("not needed"))
    assert media.look_at_bytes(data).seconds == 2


# --- What is not -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", corpus.UNREADABLE)
def test_what_is_empty_cut_off_or_garbled_cannot_be_read(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name)
    with pytest.raises(UnreadableError, match=r"^it (is|has) [^\n]+$") as caught:
        media.look(path)
    assert isinstance(caught.value, OSError)
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("empty.png", "it is empty"),
        ("cut-off-at-0.9.jpeg", "it is cut off"),
        ("endless-box.mp4", "it is cut off: it has no 'moov' box"),
        ("nested-boxes.mp4", "it is garbled: it has no 'mvhd' box"),
        ("giant-box.mp4", "it is cut off or garbled: box 'moov' at byte 28 ends beyond byte 108"),
        ("garbled-header.png", "it is no PNG that can be read"),
        ("only-a-tag.mp3", "it is cut off or holds no sound"),
    ],
)
def test_the_reason_is_told(name: str, reason: str) -> None:
    with pytest.raises(UnreadableError, match=f"^{reason}$"):
        media.look_at_bytes(corpus.UNREADABLE[name]())


@pytest.mark.parametrize("before", range(10))
def test_the_end_of_a_picture_is_found_across_two_reads(before: int) -> None:
    data = b"x" * (media._BLOCK - before) + b"IEND\xaeB`\x82"
    media._must_hold(io.BytesIO(data), 0, b"IEND\xaeB`\x82")
    with pytest.raises(UnreadableError, match="it is cut off"):
        media._must_hold(io.BytesIO(data[:-1]), 0, b"IEND\xaeB`\x82")


@pytest.mark.parametrize("name", corpus.FOREIGN)
def test_what_the_api_does_not_take_is_no_kind_and_is_named(tmp_path: Path, name: str) -> None:
    look = media.look(write(tmp_path, name))
    assert (look.kind, look.mime, look.what) == ("", "application/octet-stream", corpus.FOREIGN[name][1])


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _terminal(path: Path) -> None:
    path.symlink_to("/dev/tty")


_SPECIAL = [
    pytest.param(make, reason, marks=[] if make is Path.mkdir else _POSIX)
    for _POSIX in [(pytest.mark.platform, pytest.mark.skipif(os.name == "nt", reason="no such files"))]
    for make, reason in (
        (Path.mkdir, "it is a directory"),
        (_fifo, "it is a FIFO, and only a regular file is read"),
        (_socket, "it is a socket, and only a regular file is read"),
        (_device, "it is a device, and only a regular file is read"),
        (_terminal, "it is a device, and only a regular file is read"),
    )
]


@pytest.mark.parametrize(("make", "reason"), _SPECIAL)
def test_what_is_no_regular_file_is_refused_without_being_opened(
    tmp_path: Path, make: object, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "special.png"
    make(path)  # type: ignore[operator]  # one of the makers above
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("it was opened"))
    for refuse in (lambda: media.look(str(path)), lambda: media.fingerprint(str(path), 1)):
        with pytest.raises(OSError, match=f"^{reason}$"):
            refuse()


@pytest.mark.platform
@pytest.mark.skipif(os.name == "nt", reason="no FIFOs")
def test_a_fifo_that_took_the_files_place_just_now_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(fifo := tmp_path / "fifo.png")
    (tmp_path / "regular").write_bytes(b"x")
    regular = (tmp_path / "regular").stat()
    monkeypatch.setattr(os, "stat", lambda *_, **__: regular)
    with pytest.raises(OSError, match="it is a FIFO"):
        media.look(str(fifo))


@pytest.mark.platform
@pytest.mark.skipif(not _LINUX, reason="no /proc")
def test_a_file_of_proc_says_no_size_and_is_empty() -> None:
    with pytest.raises(UnreadableError, match="it is empty"):
        media.look("/proc/self/status")


def test_a_link_to_a_regular_file_is_followed(tmp_path: Path) -> None:
    path = write(tmp_path, "plain.png")
    (tmp_path / "link.jpg").symlink_to(path)
    assert media.look(str(tmp_path / "link.jpg")) == media.look(path)


def test_a_file_that_vanished_is_not_found(tmp_path: Path) -> None:
    for read in (media.look, lambda path: media.fingerprint(path, 1)):
        with pytest.raises(FileNotFoundError):
            read(str(tmp_path / "vanished.png"))


def test_a_path_with_nul_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="null"):
        media.look("a\0b.png")


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "plain.png")

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)  # root reads everything
    with pytest.raises(PermissionError):
        media.look(path)


def test_a_fault_of_the_disk_keeps_its_own_words() -> None:
    class Broken(io.BytesIO):
        def seek(self, *_: int) -> int:
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error") as caught:
        media._look(Broken(corpus.picture("PNG")), 99)
    assert not isinstance(caught.value, UnreadableError)


# --- What it costs -----------------------------------------------------------------------------------------------

_COST = """
import sys, time
import av, tinytag, PIL.BmpImagePlugin, PIL.JpegImagePlugin, PIL.PngImagePlugin
from rawgenai import media
def cost(path):
    start = time.process_time()
    try:
        media.look(path)
    except OSError:
        pass
    return time.process_time() - start
# The best of three: what else the machine does is not the file's fault.
slow = [path for path in sys.argv[1:] if min(cost(path) for _ in range(3)) >= 0.1]
with open("/proc/self/status") as status:
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
print(slow, peak < 60_000, peak)
"""


@pytest.mark.slow
@pytest.mark.platform
@pytest.mark.skipif(not _LINUX, reason="asks /proc for the peak of memory")
def test_a_look_at_any_file_takes_less_than_100_ms_and_60_mb(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("corpus")  # the hunt for the key would read 50 GB of zeros in tmp_path
    paths = [write(folder, name) for name in corpus.MAKERS]
    for like in ("2-s.mp4", "2-s.mp3", "plain.bmp", "plain.png", "plain.jpg", "garbled.wav"):
        name, make = f"large-{like}", corpus.MAKERS[like]  # sparse: they take no disk
        with (folder / name).open("wb") as file:
            file.write(make()[:-2])
            file.truncate(10**10)
        paths.append(str(folder / name))
    done = subprocess.run([sys.executable, "-c", _COST, *paths], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[] True"), done.stdout


def test_a_look_loads_only_what_its_kind_needs() -> None:
    code = "import sys, rawgenai.media as m; m.look_at_bytes(b'GIF89a'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"PIL", "av", "tinytag", "hashlib", "pathlib"}.intersection(done.stdout.split())


def test_a_picture_as_large_as_pillow_fears_leaves_its_guard_as_it_was() -> None:
    before = Image.MAX_IMAGE_PIXELS
    look = media.look_at_bytes(corpus.png(50_000, 50_000))
    assert (look.width, look.height) == (50_000, 50_000)
    assert before == Image.MAX_IMAGE_PIXELS
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(corpus.png(50_000, 50_000)))


def test_of_any_exif_only_the_beginning_is_kept() -> None:
    assert len(media._jpeg_head(io.BytesIO(corpus.exif_bomb())).exif) == media._EXIF
    assert len(media._webp_exif(io.BytesIO(corpus.webp_with(b"EXIF", 9_000_000)))) == media._EXIF
    assert len(media._png_head(io.BytesIO(corpus.png(1, 1, corpus.chunk(b"eXIf", bytes(10**6))))).exif) == media._EXIF


def test_a_webp_is_walked_to_its_end_and_no_further() -> None:
    class Counted(io.BytesIO):
        reads = 0

        def read(self, size: int | None = -1, /) -> bytes:
            self.reads += 1
            return super().read(size)

    media._webp_exif(file := Counted(corpus.picture("WEBP")))
    assert file.reads < 5


_ANY = st.one_of(
    st.binary(max_size=2_000),
    st.builds(
        bytes.__add__,
        st.sampled_from([make()[:16] for make in corpus.MAKERS.values()]),
        st.binary(max_size=2_000),
    ),
)
_SMALL = [data for make in corpus.MAKERS.values() if len(data := make()) < 10_000]


@st.composite
def _mutants(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(_SMALL)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 9))
        data[at : at + length] = draw(st.binary(max_size=9))
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


@pytest.mark.slow
@settings(max_examples=400)
@given(data=st.one_of(_ANY, _mutants()))
def test_no_bytes_raise_anything_else_or_take_long(data: bytes) -> None:
    with suppress(UnreadableError):
        look = media.look_at_bytes(data)
        assert look.size == len(data)
        assert min(look.width, look.height) >= (1 if look.kind == "image" else 0)
        assert look.seconds is None or look.seconds > 0
    # Once more may be needed: the garbage collector, busy with what hypothesis keeps, can take longer than any look.
    assert any(_seconds(data) < 0.1 for _ in range(3))


def _seconds(data: bytes) -> float:
    start = time.thread_time()
    with suppress(UnreadableError):
        media.look_at_bytes(data)
    return time.thread_time() - start


# --- Fingerprints, data URIs, clips --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 2**18 - 1, 2**18, 2**18 + 1, 10**6])
def test_a_fingerprint_names_the_whole_file(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "file").write_bytes(data)
    assert media.fingerprint(str(tmp_path / "file"), size).digest == blake3(data).hexdigest()


@pytest.mark.parametrize(
    ("size", "reason"),
    [(99_999, "longer"), (0, "longer"), (100_001, "shorter"), (10**12, "shorter")],
)
def test_a_file_of_another_length_has_no_fingerprint(tmp_path: Path, size: int, reason: str) -> None:
    (tmp_path / "file").write_bytes(bytes(100_000))
    with pytest.raises(OSError, match=f"it became {reason} than the {size} bytes that were looked at"):
        media.fingerprint(str(tmp_path / "file"), size)


@pytest.mark.parametrize("head", ["data:image/png;base64,", "DATA:;BASE64,", "data:image/png;charset=x;base64,"])
@pytest.mark.parametrize("data", [b"", b"a", b"ab", b"abc", bytes(range(256))])
def test_a_data_uri_is_decoded_up_to_its_limit(head: str, data: bytes) -> None:
    assert media.decode_data_uri(head + b64encode(data).decode(), len(data)) == data


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("data:image/png,abcd", "it is no data URI in base64"),
        ("data:image/png;base64", "it is no data URI in base64"),
        ("image/png;base64,YWJj", "it is no data URI in base64"),
        ("data:;base64,YWJjZA==", "it holds 4 bytes, and 3 is the limit"),
        ("data:;base64," + "Y!" * 1_000_000, "it holds 1500000 bytes, and 3 is the limit"),
        ("data:;base64,YQ=", "its base64 is garbled"),
        ("data:;base64,YQ", "its base64 is garbled"),
        ("data:;base64,YQ==YQ", "its base64 is garbled"),
        ("data:;base64,=YQ=", "its base64 is garbled"),
        ("data:;base64,Y Q=", "its base64 is garbled"),
        ("data:;base64,YQ=\n", "its base64 is garbled"),
        ("data:;base64,Y%3D", "its base64 is garbled"),
        ("data:;base64,YQ=é", "its base64 is garbled"),
    ],
)
def test_a_data_uri_that_is_not_exact_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}$"):
        media.decode_data_uri(text, 3)


def test_the_limit_of_a_data_uri_is_checked_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("binascii.a2b_base64", lambda *_, **__: pytest.fail("decoded"))
    with pytest.raises(ValueError, match="it holds 3 bytes, and 2 is the limit"):
        media.decode_data_uri("data:;base64,YWJj", 2)


@pytest.mark.parametrize("good", {good.mime: good for good in corpus.GOOD.values()}.values(), ids=lambda g: g.mime)
def test_every_mime_type_has_its_extension_and_16_bytes_tell_it(good: corpus.Good) -> None:
    found = media.recognise(good.make()[:16], 7)
    assert found == Look(good.mime.partition("/")[0], good.mime, 7, found.what)
    assert re.fullmatch(r"\.[a-z0-9]{3,4}", media.extension(good.mime))


def test_an_unknown_mime_type_has_no_extension() -> None:
    assert [media.extension(mime) for mime in ("", "image/gif", "application/octet-stream")] == ["", "", ""]


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (corpus.clip(2), None),
        (corpus.clip(2)[:-1], r"box 'moov' at byte \d+ ends beyond"),
        (corpus.clip(2) + b"junk", r"box '' at byte \d+ ends beyond"),
        (corpus.clip(2) + b"\0\0\0\4", r"box '' at byte \d+ ends beyond"),
        (corpus.FTYP + corpus.box(b"mdat", bytes(9), 0), "it has no moov box"),
        (corpus.FTYP + corpus.box(b"moov"), "it has no mdat box"),
        (b"<html><body>no clip</body></html>", "it is not an MP4 file"),
        (b"", "it is not an MP4 file"),
        (corpus.UNREADABLE["bomb-of-boxes.mp4"](), "it has more than 10000 boxes"),
    ],
)
def test_a_clips_fault_is_found_in_its_boxes(tmp_path: Path, data: bytes, fault: str | None) -> None:
    (tmp_path / "clip.part").write_bytes(data)
    found = media.mp4_fault(str(tmp_path / "clip.part"))
    assert found is None if fault is None else re.search(fault, found or "")


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
    "nothing": (b"", "it is not an MP4 file"),
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
