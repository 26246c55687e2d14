"""``rawgenai video`` as people type it: envelopes, warnings, wrong inputs, wrong outputs, a full disk, Ctrl-C."""

import os
import re
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from invoking import invoke
from terminal import COLUMNS, at_terminal, play

import corpus
from faulty import Run
from footage import RATE, make, tones, track

SMALL = (128, 72)


# --- What a clip is ------------------------------------------------------------------------------------------------

KNOWN: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "sound": ({}, {"seconds": 1.7, "fps": 30, "codec": "h264", "sound": True, "audio_codec": "aac"}),
    "silent": ({"sound": None, "frames": 60}, {"seconds": 2, "fps": 30, "codec": "h264", "sound": False}),
    "NTSC": ({"fps": Fraction(30_000, 1001), "frames": 60, "sound": None},
             {"seconds": 2.002, "fps": 29.97, "codec": "h264", "sound": False}),
    "mpeg4": ({"codec": "mpeg4", "sound": "libmp3lame"},
              {"seconds": 1.7, "fps": 30, "codec": "mpeg4", "sound": True, "audio_codec": "mp3"}),
}  # fmt: skip


@pytest.mark.parametrize(("clip", "known"), KNOWN.values(), ids=KNOWN)
def test_info_says_what_a_clip_is(tmp_path: Path, clip: dict[str, Any], known: dict[str, Any]) -> None:
    done = invoke("video", "info", make(tmp_path / "a.mp4", **clip))
    assert (done.status, done.err) == (0, "")
    assert done.envelope == {"success": True, "width": 256, "height": 144} | known


@pytest.mark.parametrize(("clip", "known"), KNOWN.values(), ids=KNOWN)
def test_without_pyav_info_says_what_the_index_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip: dict[str, Any], known: dict[str, Any]
) -> None:
    path = make(tmp_path / "a.mp4", **clip)
    monkeypatch.setitem(sys.modules, "av", None)
    left = {name: value for name, value in known.items() if "codec" not in name}
    assert invoke("video", "info", path).envelope == {"success": True, "width": 256, "height": 144} | left


# --- Wrong inputs, wrong outputs -------------------------------------------------------------------------------------

CLIP = "good.mp4"
WRONG = [  # the file, the code, and what is said
    ("nowhere.mp4", "file_not_found", "does not exist"),
    ("good.mp4/x.mp4", "file_not_found", "does not exist"),
    ("https://example.com/clip.mp4", "file_not_found", "is a URL; download it first"),
    ("nul\0.mp4", "invalid_usage", "cannot be read"),
    ("folder.mp4", "invalid_usage", "cannot be read"),
    ("empty.mp4", "invalid_usage", "cannot be read"),
    ("cut.mp4", "invalid_usage", "cut off"),
    ("half.mp4", "invalid_usage", "cut off"),
    ("picture.mp4", "invalid_usage", "is PNG, not MP4"),
    ("text.mp4", "invalid_usage", "is of an unknown format, not MP4"),
    ("list.mp4", "invalid_usage", "is of an unknown format, not MP4"),
    ("sound.mp4", "invalid_usage", "has no picture"),
    ("no-pixels.mp4", "invalid_usage", "has no picture"),
    ("sound.m4a", "invalid_usage", "is M4A, not MP4"),
    ("film.webm", "invalid_usage", "is WebM or Matroska, not MP4"),
    ("garbled.mp4", "invalid_usage", "garbled"),
]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good clip, and those that are not."""
    here = tmp_path_factory.mktemp("wrong")
    data = Path(make(here / CLIP)).read_bytes()
    make(here / "silent.mp4", sound=None)
    (here / "folder.mp4").mkdir()
    with av.open(str(here / "sound.mp4"), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=RATE, layout="stereo")
        for packet in tones(stream, RATE, RATE, "stereo", 0):
            container.mux(packet)
    track(here / "sound.m4a", 1, "aac")
    remux = {
        "empty.mp4": b"",
        "cut.mp4": data[:-1000], "half.mp4": data[: len(data) // 2],
        "picture.mp4": corpus.picture("PNG"),
        "text.mp4": b"just some text, long enough to be looked at", "film.webm": b"\x1aE\xdf\xa3" + bytes(100),
        "list.mp4": b"ffconcat version 1.0\nfile good.mp4\n",
        "no-pixels.mp4": data.replace(struct.pack(">HxxHxx", 256, 144), bytes(8)),
        "garbled.mp4": data.replace(b"mvhd", b"mvxx"),
    }  # fmt: skip
    for name, content in remux.items():
        (here / name).write_bytes(content)
    return here


@pytest.fixture
def _here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


COMMANDS: dict[str, Callable[[str, str], list[str]]] = {
    "join": lambda clip, out: ["join", clip, "-o", f"{out}.mp4"],
    "join-second": lambda clip, out: ["join", CLIP, clip, "-o", f"{out}.mp4"],
    "last-frame": lambda clip, out: ["last-frame", clip, "-o", f"{out}.png"],
    "info": lambda clip, _: ["info", clip],
}


@pytest.mark.parametrize(("name", "code", "said"), WRONG, ids=[ascii(row[0]) for row in WRONG])
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.usefixtures("_here")
def test_a_wrong_input_is_refused_in_one_envelope(
    tmp_path: Path, command: str, name: str, code: str, said: str
) -> None:
    done = invoke("video", *COMMANDS[command](name, str(tmp_path / "out")))
    assert (done.status, done.out, done.code) == (2, "", code)
    assert said in done.envelope["error"]["message"]
    assert done.err.count("\n") == 1
    assert not list(tmp_path.glob("*out*"))


def test_a_clip_whose_media_are_garbled_is_an_error_or_a_film_but_no_crash(folder: Path, tmp_path: Path) -> None:
    data = bytearray((folder / CLIP).read_bytes())
    media_at = data.index(b"mdat") + 200
    data[media_at : media_at + 4000] = bytes(4000)
    (tmp_path / "bad.mp4").write_bytes(data)
    for more in ([], ["--crossfade", "0.2"]):
        done = invoke(
            "video", "join", str(tmp_path / "bad.mp4"), str(folder / CLIP), "-o", str(tmp_path / "f.mp4"), *more
        )
        assert done.status == 0 or done.code == "invalid_usage"
        assert (tmp_path / "f.mp4").exists() is (done.status == 0)
        (tmp_path / "f.mp4").unlink(missing_ok=True)


AUDIO = [
    ("nowhere.wav", "file_not_found", "does not exist"),
    ("https://example.com/sound.mp3", "file_not_found", "is a URL; download it first"),
    ("folder.mp4", "invalid_audio", "cannot be read"),
    ("empty.mp4", "invalid_audio", "cannot be read"),
    ("text.mp4", "invalid_audio", "is of an unknown format"),
    ("picture.mp4", "invalid_audio", "is PNG"),
    ("silent.mp4", "invalid_audio", "has no sound"),
]


@pytest.mark.parametrize(("name", "code", "said"), AUDIO, ids=[row[0] for row in AUDIO])
@pytest.mark.usefixtures("_here")
def test_a_wrong_sound_track_is_refused(tmp_path: Path, name: str, code: str, said: str) -> None:
    done = invoke("video", "join", CLIP, "-o", str(tmp_path / "film.mp4"), "--audio", name)
    assert (done.status, done.out, done.code) == (2, "", code)
    assert said in done.envelope["error"]["message"]
    assert not list(tmp_path.glob("*film*"))


OUTPUTS = [("", "missing_output"), ("film.avi", "invalid_format"), ("nowhere/film.mp4", "output_write_error")]


@pytest.mark.parametrize(("name", "code"), OUTPUTS)
def test_a_wrong_output_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: str) -> None:
    monkeypatch.chdir(folder)
    assert invoke("video", "join", CLIP, "-o", name).code == code
    assert invoke("video", "last-frame", CLIP, "-o", name.replace(".mp4", ".png")).code == code


def test_no_clip_is_refused() -> None:
    assert invoke("video", "join", "-o", "film.mp4").code == "invalid_usage"


@pytest.mark.parametrize("name", ["pipe:1.mp4", "a b'c.mp4", "片段 ①.mp4", "-x.mp4", "%03d.mp4", "concat:a.mp4"])
def test_a_name_is_only_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    make(Path(name))
    done = invoke("video", "join", "-o", f"out-{name}", "--", name, name)
    assert done.status == 0, done.err
    assert Path(done.envelope["file"]).name == f"out-{name}"
    assert invoke("video", "last-frame", "-o", f"out-{name}.png", "--", name).status == 0
    assert len(list(tmp_path.glob("*"))) == 4  # with the home


@pytest.mark.parametrize("call", ["join", "last-frame"])
def test_without_pyav_the_error_says_what_to_install(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    done = invoke("video", *COMMANDS[call](str(folder / CLIP), str(tmp_path / "out")))
    assert (done.status, done.code) == (2, "missing_extra")
    assert "uv tool install 'rawgenai[media]'" in done.envelope["error"]["message"]


def test_a_full_disk_is_an_output_write_error_and_the_old_film_stays(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"the old one")
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000));"
        "from rawgenai.cli import run; sys.exit(run())"
    )
    words = ["video", "join", *[str(folder / CLIP)] * 9, "-o", str(tmp_path / "film.mp4")]
    for more in ([], ["--crossfade", "0.1"]):
        done = subprocess.run([sys.executable, "-c", code, *words, *more], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert '"code": "output_write_error"' in done.stderr.splitlines()[-1]
        assert (tmp_path / "film.mp4").read_bytes() == b"the old one"
        assert not list(tmp_path.glob(".*part"))


@pytest.mark.parametrize("seconds", ["-1", "nan", "inf", "-0.5", "1e308"])
def test_a_crossfade_that_is_no_length_is_refused_before_anything(tmp_path: Path, seconds: str) -> None:
    done = invoke("video", "join", "nowhere.mp4", "-o", str(tmp_path / "film.mp4"), "--crossfade", seconds)
    assert (done.status, done.code) == (2, "invalid_usage")
    assert "--crossfade" in done.envelope["error"]["message"]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_in_the_middle_leaves_no_file(tmp_path: Path, number: int, status: int) -> None:
    clip = make(tmp_path / "a.mp4", size=(1280, 720), frames=90, sound=None)
    words = ["video", "join", *[clip] * 20, "-o", str(tmp_path / "film.mp4"), "--crossfade", "0.5"]
    command = [sys.executable, "-c", "from rawgenai.__main__ import main; main()", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not list(tmp_path.glob(".*part")):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (status, "")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["a.mp4"]


# --- The envelopes ---------------------------------------------------------------------------------------------------


def test_a_join_says_how_the_film_was_made(folder: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "film.mp4")
    done = invoke("video", "join", str(folder / CLIP), str(folder / CLIP), "-o", out)
    assert (done.status, done.err) == (0, "")
    assert done.envelope == {"success": True, "file": out, "seconds": 3.4, "picture": "copied", "sound": "copied"}


def test_a_joins_seconds_are_written_as_info_writes_them(tmp_path: Path) -> None:
    clip, out = make(tmp_path / "a.mp4", frames=60, sound=None), str(tmp_path / "film.mp4")
    said = [invoke("video", "join", clip, clip, "-o", out).out, invoke("video", "info", out).out]
    assert all('"seconds": 4,' in each for each in said), said


@pytest.mark.parametrize("quiet", [[], ["-q"]])
def test_a_join_that_encodes_says_why_on_stderr_and_in_the_envelope(
    folder: Path, tmp_path: Path, quiet: list[str]
) -> None:
    other = make(tmp_path / "b.mp4", size=SMALL)
    done = invoke("video", "join", str(folder / CLIP), other, "-o", str(tmp_path / "film.mp4"), *quiet)
    why = f"{other!r} has 128*72 pixels, not 256*144"
    assert done.envelope["picture"] == "encoded"
    assert done.envelope["reasons"] == [why]
    assert done.err == ("" if quiet else f"warning: the picture is encoded anew: {why}\n")


def test_a_last_frame_names_its_file(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke("video", "last-frame", str(folder / CLIP), "-o", "x.PNG").envelope == {
        "success": True,
        "file": os.path.abspath("x.PNG"),
    }


# --- A terminal ----------------------------------------------------------------------------------------------------


def _watched(tmp_path: Path, *more: str, fps: int = 24, **variables: str) -> tuple[Run, bytes]:
    """Join two clips of 4 s, the second one with so many frames a second, at a terminal."""
    clips = [make(tmp_path / f"{rate}.mp4", frames=4 * rate, fps=rate, size=SMALL, sound=None) for rate in (25, fps)]
    film = tmp_path / "a film with a name that is wider than this.mp4"
    return at_terminal("emulator", "video", "join", *clips, "-o", str(film), *more, more=variables)


@pytest.mark.platform
@pytest.mark.skipif(os.name != "posix", reason="Windows has no such terminals")
def test_a_join_that_encodes_shows_its_seconds_in_place_and_clears_them(tmp_path: Path) -> None:
    run, drawn = _watched(tmp_path)
    warning, _, shown = drawn.partition(b"\n")
    screen = play(shown)
    assert (run.status, warning.startswith(b"warning: the picture is encoded anew")) == (0, True)
    assert re.search(rb"[1-7]/8", shown)
    assert (screen.lines, screen.cursor) == ([], True)
    assert screen.widest <= COLUMNS


@pytest.mark.platform
@pytest.mark.skipif(os.name != "posix", reason="Windows has no such terminals")
def test_at_a_dumb_terminal_these_are_plain_lines(tmp_path: Path) -> None:
    run, drawn = _watched(tmp_path, TERM="dumb")
    lines = [line for line in drawn.decode().splitlines() if line.startswith("a film")]
    assert run.status == 0
    assert lines == [f"a film with a name that is wider than this.mp4: {part}% of 8.0 s" for part in (0, 25, 50, 75)]


@pytest.mark.platform
@pytest.mark.skipif(os.name != "posix", reason="Windows has no such terminals")
@pytest.mark.parametrize(("more", "fps"), [((), 25), (("--quiet",), 24)], ids=["copied", "quiet"])
def test_a_join_that_copies_or_is_quiet_shows_nothing(more: tuple[str, ...], fps: int, tmp_path: Path) -> None:
    run, drawn = _watched(tmp_path, *more, fps=fps)
    assert (run.status, drawn) == (0, b"")
