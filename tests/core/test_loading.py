"""What becomes of a value that names media: golden requests (requests/media-*.json), paths, URLs, and bad files.

``RAWGENAI_TEST_UPDATE=1`` rewrites the golden files; read the difference before you keep it.
"""

import base64
import json
import os
import re
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import corpus
from rawgenai import cli, http, media
from rawgenai.config import Settings
from rawgenai.dashscope import loading, tasks
from rawgenai.dashscope.spec import INPUTS, Input, Spec, Vace
from rawgenai.errors import RawgenaiError
from rawgenai.ledger import Ledger
from rawgenai.message import Form, Media, Receive, Request, Response
from rawgenai.secret import Secret

GOLDEN = Path(__file__).parent / "requests"
PNG = base64.b64decode(  # 360 x 360 pixels, of the same bytes on every machine
    "iVBORw0KGgoAAAANSUhEUgAAAWgAAAFoAQAAAABSnlx4AAAASklEQVR42u3KMQEAAAgDoGn/zjODP9xM87Cxbdu2bdu2bdu2bdu2bdu2bdu2bdu2bdu2bdu2"
    "bdu2bdu2bdu2bdu2bds+r5YDz2gN5YUAAAAASUVORK5CYII="
)
POLICY = {
    "policy": "p",
    "signature": "s",
    "upload_dir": "dashscope-instant/x",
    "upload_host": "https://dashscope-file-x.oss-cn-beijing.aliyuncs.com",
    "oss_access_key_id": "k",
    "x_oss_object_acl": "private",
    "x_oss_forbid_overwrite": "true",
}
CREATED = {"request_id": "r", "output": {"task_id": "t", "task_status": "PENDING"}}


class Api:
    """Takes what is sent, and answers as the API and its upload host do."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.bodies: list[bytes] = []  # as they would leave

    def __call__(self, request: Request, receive: Receive | None = None) -> Response:
        self.requests.append(request)
        self.bodies.append(b"" if request.body is None else b"".join(http.encode(request.body).chunks))
        if isinstance(request.body, Form):
            return Response(200, {})
        return Response(200, {}, json.dumps({"data": POLICY} if request.body is None else CREATED).encode())


def create(spec: Spec) -> Api:
    """Create a task, and return what was sent."""
    settings = Settings(Secret("sk-test"), "test", "https://dashscope.aliyuncs.com/api/v1", "test")
    tasks.create(spec, settings=settings, send=(api := Api()), ledger=Ledger(None))
    return api


def data_uri(data: bytes, mime: str = "image/png") -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command runs, with one good file of each kind."""
    (tmp_path / "local-photo.png").write_bytes(PNG)
    (tmp_path / "local-scene.mov").write_bytes(corpus.clip(2, "mov"))
    (tmp_path / "local-large.mov").write_bytes(corpus.clip(2, "mov", width=320, height=240))
    (tmp_path / "local-clip.mp4").write_bytes(corpus.clip(2, width=360, height=360, rate=25))
    (tmp_path / "local-speech.mp3").write_bytes(corpus.mp3(5))
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- golden requests ---------------------------------------------------------------------------------------------

FORMS = {"url": "HTTPS://example.com/照片.png?a=b", "oss": "oss://dashscope-instant/x/y.png", "data": data_uri(PNG)}
FILES = {"audio_url": "local-speech.mp3", "ref_voices": "local-speech.mp3"} | {
    **dict.fromkeys(("first_clip", "video"), "local-large.mov"),
    **dict.fromkeys(("last_clip", "mask_video"), "local-clip.mp4"),
}
# Field -> what must be asked for beside it.
BESIDE: dict[str, dict[str, Any]] = {
    "last_frame": {"first_frame": "https://example.com/first.png"},
    "first_clip": {"model": "wan2.7-i2v", "duration": 15},
    "video": {"model": "wan2.7-videoedit"},
    "last_clip": {"vace": Vace("extension")},
    "mask": {"video": "https://example.com/video.mp4", "vace": Vace("edit")},
    "mask_video": {"video": "https://example.com/video.mp4", "vace": Vace("edit")},
    "ref_voices": {"model": "wan2.7-r2v", "refs": ("https://example.com/person.png",)},
}


def spec_of(field: str, value: str) -> Spec:
    """The least that can be asked for with a value in that field."""
    changes: dict[str, Any] = {field: (value,) if field in ("refs", "ref_voices") else value}
    return Spec("a", **BESIDE.get(field, {}), **changes)


def form_of(field: str, value: str) -> str:
    """Write a URL as vace takes it: in ASCII."""
    return value.replace("照片", "photo") if "vace" in BESIDE.get(field, {}) else value


GOLDEN_SPECS = {
    f"media-{row.flag[2:]}-{form}": spec_of(row.name, form_of(row.name, value))
    for row in INPUTS
    for form, value in {"path": FILES.get(row.name, "local-photo.png"), **FORMS}.items()
    if "image" in row.kinds or form != "data"
} | {
    "media-ref-several": Spec(
        "a", refs=("local-photo.png", "https://example.com/b.mp4", "local-scene.mov", data_uri(PNG))
    )
}


def shown(request: Request, body: bytes) -> dict[str, Any]:
    """A request with its body as it leaves, but for what is random."""
    if isinstance(request.body, Form):
        file = request.body.file
        says: Any = {**request.body.fields, "file": f"{request.body.filename} {file.mime} {file.size} bytes"}
    else:
        says = json.loads(body) if body else None
    return {"method": request.method, "url": request.url, "headers": dict(request.headers), "body": says}


@pytest.mark.parametrize("name", GOLDEN_SPECS)
def test_what_is_sent_for_media_is_the_golden_requests(folder: Path, name: str) -> None:
    api = create(GOLDEN_SPECS[name])
    requests = [shown(request, body) for request, body in zip(api.requests, api.bodies, strict=True)]
    text = json.dumps(requests)
    for number, random in enumerate(dict.fromkeys(re.findall(r"\b[0-9a-f]{32}\b", json.dumps(requests[-1]))), 1):
        text = text.replace(random, f"RANDOM-{number}")
    *before, last = json.loads(text)
    before.sort(key=json.dumps)  # uploads run side by side, so they come in any order
    text = json.dumps([*before, last], ensure_ascii=False, indent=2) + "\n"
    file = GOLDEN / f"{name}.json"
    if os.environ.get("RAWGENAI_TEST_UPDATE") == "1":
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def test_there_is_no_other_golden_file_of_media() -> None:
    assert {file.stem for file in GOLDEN.glob("media-*")} == set(GOLDEN_SPECS)


@pytest.mark.parametrize("name", GOLDEN_SPECS)
def test_the_header_that_resolves_oss_urls_goes_with_them_alone(folder: Path, name: str) -> None:
    api = create(GOLDEN_SPECS[name])
    named = [b"oss://" in body for body in api.bodies]
    assert named == [request.headers.get("X-DashScope-OssResourceResolve") == "enable" for request in api.requests]
    assert not any(named[:-1])


@pytest.mark.parametrize("name", [name for name in GOLDEN_SPECS if "path" in name or "several" in name])
def test_a_local_name_is_in_no_request(folder: Path, name: str) -> None:
    api = create(GOLDEN_SPECS[name])
    for request, body in zip(api.requests, api.bodies, strict=True):
        assert b"local-" not in body
        assert "local-" not in request.url + str(request.headers)


def test_the_bytes_that_arrive_are_the_files(folder: Path) -> None:
    (image,) = create(Spec(image="local-photo.png")).bodies
    assert base64.b64decode(json.loads(image)["input"]["img_url"].partition(",")[2]) == PNG
    uploaded = create(Spec("a", refs=(data_uri(PNG, "image/lies"),))).bodies[1]
    assert b"\r\n\r\n" + PNG + b"\r\n--" in uploaded
    assert b"image/png" in uploaded
    assert b"lies" not in uploaded


def test_an_upload_never_carries_the_key(folder: Path) -> None:
    for request in create(GOLDEN_SPECS["media-ref-several"]).requests:
        assert "authorization" not in map(str.lower, request.headers)
        # http.py gives the key to relative URLs alone.
        assert ("://" in request.url) == isinstance(request.body, Form)


@pytest.mark.parametrize(
    ("size", "inline"), [(7 * 1024 * 1024, True), (7 * 1024 * 1024 + 1, False)], ids=["7 MB", "7 MB and a byte"]
)
@pytest.mark.parametrize("field", ["image", "first_frame", "last_frame"])
def test_an_image_goes_inline_up_to_7_mb(folder: Path, field: str, size: int, inline: bool) -> None:
    (folder / "large.png").write_bytes(PNG.ljust(size, b"\0"))
    api = create(spec_of(field, "large.png"))
    assert len(api.requests) == (1 if inline else 3)
    assert (b"data:image/png;base64," in api.bodies[-1]) is inline


# --- paths and URLs ----------------------------------------------------------------------------------------------


def objection(load: Callable[[], object]) -> str:
    """The code that a value is refused with."""
    with pytest.raises(RawgenaiError) as caught:
        load()
    assert (caught.value.status, caught.value.outcome) == (2, None)
    return caught.value.code


PATHS = [  # what names no file here, and looks more or less like a URL
    "photo.png",
    "http:/x",
    "https:",
    "https:/example.com/a.png",
    "http:example.com",
    "://example.com/a.png",
    "//example.com/a.png",
    "/example.com/a.png",
    "example.com/a.png",
    "www.example.com",
    "localhost:8000/a.png",
    r"C:\x",
    "C:/x",
    "C://x",
    r"\\host\x",
    "~",
    "~/a.png",
    "a b.png",
    " https://example.com/a.png",
    "\thttps://example.com/a.png",
    "ht tp://example.com/a.png",
    "?x=http://example.com",
    "-",
    "data",
    "dat:image/png;base64,AAAA",
    "oss:/x/y",
    "oss:x",
    "a\0b",
    "https:\0//example.com",
    "照片.png",
    "photo.png/",
]


@pytest.mark.parametrize("value", PATHS)
def test_a_path_that_does_not_exist_is_never_sent_as_a_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.chdir(tmp_path)
    codes = {row.flag: objection(partial(loading.load, spec_of(row.name, value))) for row in INPUTS}
    assert codes == {row.flag: row.absent for row in INPUTS}


@pytest.mark.platform
@pytest.mark.skipif(os.name == "nt", reason="such names are none there")
@pytest.mark.parametrize("value", [value for value in PATHS if "\0" not in value and value[-1] != "/"])
def test_a_file_may_be_named_almost_like_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.chdir(tmp_path)
    (inside := tmp_path / value.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
    inside.write_bytes(PNG)
    name = str(inside) if value.startswith("/") else value
    leaf = loading.load(Spec(image=name)).image
    assert isinstance(leaf, Media)
    assert leaf == Media(str(inside), "image/png", len(PNG), 360, 360)


URLS = [
    "http://example.com",
    "https://example.com/a.png?x=y#z",
    "https://example.com:8443/照片.png",
    "https://用户.example.com/a",
    "http://[::1]/a.png",
    "oss://bucket/key.png",
]
NO_URLS = [  # schemes that are none of ours, and hosts that are none
    "file:///etc/passwd",
    "FILE://x",
    "ftp://example.com/a.png",
    "s3://bucket/key.png",
    "gopher://x",
    "httpss://example.com",
    "ht-tp://example.com",
    "http://",
    "https:///a.png",
    "https://?x",
    "https://#x",
    "oss://",
    "oss:///key",
    "https://example.com/a b.png",
    "https://example.com/a.png\n",
    "https://exam\tple.com/",
    "https:// example.com/",
    "https://example.com/\0",
    "https://example.com/\x1b[31m",
    "https://example.com/\udcff",
]


@pytest.fixture
def unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a good file where a value would lead if it were a path; nothing may be looked at any more."""
    monkeypatch.chdir(tmp_path)

    def trap(value: str) -> None:
        if not re.search(r"[\0]", value) and os.name != "nt" and value.rpartition("/")[2]:
            path = os.path.abspath(value)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            Path(path).write_bytes(PNG)
            assert media.look(value).kind == "image"
        monkeypatch.setattr(media, "look", lambda path: pytest.fail(f"{path} was read"))

    return trap


@pytest.mark.parametrize("value", URLS)
def test_a_url_is_sent_as_it_is_and_never_read(unread: Callable[[str], None], value: str) -> None:
    unread(value)
    specs = {row.flag: spec_of(row.name, value) for row in INPUTS}
    assert {flag: loading.load(spec) for flag, spec in specs.items()} == specs


@pytest.mark.parametrize("value", NO_URLS)
def test_what_looks_like_a_url_and_is_none_is_neither_sent_nor_read(unread: Callable[[str], None], value: str) -> None:
    unread(value)
    codes = {row.flag: objection(partial(loading.load, spec_of(row.name, value))) for row in INPUTS}
    assert codes == {row.flag: row.invalid for row in INPUTS}


@pytest.mark.parametrize(
    ("value", "meant"),
    [("HTTPS://Example.com/A", "https://Example.com/A"), ("Oss://B/K", "oss://B/K"), ("hTTp://x", "http://x")],
)
def test_a_scheme_is_one_in_capitals_too(value: str, meant: str) -> None:
    assert loading.load(Spec(image=value)).image == meant


def test_a_ref_may_be_empty_only_where_it_says_so() -> None:
    for row in INPUTS:
        expected = "missing_ref" if row.name == "refs" else row.absent
        assert objection(lambda row=row: loading.prepare(spec_of(row.name, ""))) == expected  # type: ignore[misc]  # bound


# --- data URIs ---------------------------------------------------------------------------------------------------

PICTURES = [row for row in INPUTS if "image" in row.kinds]


@pytest.mark.parametrize("row", PICTURES, ids=lambda row: row.flag)
@pytest.mark.parametrize("head", ["data:image/png;base64,", "DATA:;base64,", "data:image/jpeg;base64,"])
def test_a_data_uri_is_looked_into(row: Input, head: str) -> None:
    value = head + base64.b64encode(PNG).decode()
    loaded = getattr(loading.load(spec_of(row.name, value)), row.name)
    leaf = loaded[0] if row.name == "refs" else loaded
    assert leaf == Media("data:" + value[5:], "image/png", len(PNG), 360, 360)


@pytest.mark.parametrize("row", PICTURES, ids=lambda row: row.flag)
@pytest.mark.parametrize(
    "value",
    [
        "data:",
        "data:image/png;base64,",
        "data:image/png,abc",
        "data:image/png;base64,AAAA",
        data_uri(PNG)[:-1],
        data_uri(PNG[:60]),
        data_uri(PNG) + "\n",
        data_uri(b"<svg/>", "image/svg+xml"),
        data_uri(corpus.wav(5), "audio/wav"),
        data_uri(PNG.ljust(20 * 1024 * 1024 + 1, b"\0")),
    ],
    ids=lambda value: value[:32],
)
def test_a_data_uri_that_is_no_picture_is_invalid(row: Input, value: str) -> None:
    assert objection(lambda: loading.load(spec_of(row.name, value))) == row.invalid


def test_a_video_among_the_references_may_be_a_data_uri() -> None:
    data = corpus.clip(1)
    loaded = loading.load(Spec("a", refs=(data_uri(data, "video/mp4"),)))
    assert loaded.refs == (Media(data_uri(data, "video/mp4"), "video/mp4", len(data), 48, 32, seconds=1.0, fps=10.0),)


def test_sound_is_no_data_uri() -> None:
    value = data_uri(corpus.wav(5), "audio/wav")
    assert objection(lambda: loading.load(Spec("a", audio_url=value))) == "invalid_audio"


# --- between the look and the sending ----------------------------------------------------------------------------

SIZE = 10_000  # bytes of the file before it changes
CHANGES: dict[str, Callable[[Path], object]] = {
    "longer": lambda path: path.write_bytes(PNG.ljust(SIZE + 1, b"\0")),
    "shorter": lambda path: path.write_bytes(PNG.ljust(SIZE - 1, b"\0")),
    "garbled": lambda path: path.write_bytes(PNG[:60].ljust(SIZE, b"\0")),
    "other sides": lambda path: path.write_bytes(corpus.png(8001, 480).ljust(SIZE, b"\0")),
    "another format": lambda path: path.write_bytes(corpus.picture("JPEG", 360, 360).ljust(SIZE, b"\0")),
    "gone": lambda path: path.unlink(),
    "a directory": lambda path: [path.unlink(), path.mkdir()],  # type: ignore[func-returns-value]  # two steps
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("row", PICTURES, ids=lambda row: row.flag)
def test_a_file_that_changed_after_it_was_looked_at_is_not_sealed(folder: Path, row: Input, change: str) -> None:
    path = folder / "local-photo.png"
    path.write_bytes(PNG.ljust(SIZE, b"\0"))
    loaded = loading.load(spec_of(row.name, path.name))
    CHANGES[change](path)
    assert objection(lambda: loading.seal(loaded)) == row.unreadable


def test_sealing_hashes_what_is_not_a_url(folder: Path) -> None:
    loaded = loading.load(Spec("a", refs=("local-photo.png", "https://x/y", data_uri(PNG))))
    sealed = loading.seal(loaded)
    assert sealed.refs is not None
    assert loaded.refs is not None
    first, *rest = sealed.refs
    assert isinstance(first, Media)
    assert (first.digest, first.crc64) == media.fingerprint("local-photo.png", len(PNG))
    assert rest[0] == "https://x/y"
    assert isinstance(rest[1], Media)
    assert rest[1].digest == first.digest
    assert loading.seal(sealed) == sealed


# --- the corpus, by the command line -----------------------------------------------------------------------------


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[[Input, str], str]:
    """Runs `create` with a value of a flag: the code it is refused with, or "" for what a dry run shows."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tasks, "sender", lambda *_: pytest.fail("it would have been sent"))

    def run(row: Input, value: str, *more: str) -> str:
        beside = {
            name: value[0] if isinstance(value, tuple) else value for name, value in BESIDE.get(row.name, {}).items()
        }
        function = beside.pop("vace", None)
        command = ("create",) if function is None else ("vace", function)
        words = [f"--{name.removesuffix('s').replace('_', '-')}={value}" for name, value in beside.items()]
        status = cli.run(("dashscope", "video", *command, "a", *words, row.flag, value, *more))
        out, err = capfd.readouterr()
        if status == 0:
            return ""
        assert (status, out) == (2, "")
        error = json.loads(err.splitlines()[-1])["error"]
        assert row.flag in error["message"]
        return str(error["code"])

    return run


@pytest.mark.parametrize("name", corpus.UNREADABLE)
def test_an_unreadable_file_has_its_code(tmp_path: Path, refused: Callable[[Input, str], str], name: str) -> None:
    (tmp_path / name).write_bytes(corpus.UNREADABLE[name]())
    assert {row.flag: refused(row, name) for row in INPUTS} == {row.flag: row.unreadable for row in INPUTS}


@pytest.mark.parametrize("name", corpus.FOREIGN)
def test_a_foreign_file_has_its_code(tmp_path: Path, refused: Callable[[Input, str], str], name: str) -> None:
    (tmp_path / name).write_bytes(corpus.FOREIGN[name][0]())
    assert {row.flag: refused(row, name) for row in INPUTS} == {row.flag: row.invalid for row in INPUTS}


SECONDS = {"video": (1, 30), "audio": (3, 30)}
# Of the clips none has enough pixels, or enough frames a second.
OWN_SECONDS = {"ref_voices": (1, 10)} | dict.fromkeys(("first_clip", "last_clip", "video", "mask_video"), (9, 0))


@pytest.mark.parametrize("name", corpus.GOOD)
def test_a_readable_file_has_its_code_where_it_does_not_fit(
    tmp_path: Path, refused: Callable[..., str], name: str
) -> None:
    good = corpus.GOOD[name]
    kind = good.mime.partition("/")[0]
    (tmp_path / name).write_bytes(good.make())
    for row in INPUTS:
        # Of the pictures none has enough pixels, or all have too many.
        shortest, longest = OWN_SECONDS.get(row.name, SECONDS.get(kind, (9, 0)))
        # One of them does not say how many frames it has a second, and vace takes whatever has pixels.
        unknown = row.name in ("last_clip", "mask_video") and name == "fragmented.mp4"
        sound = row.name == "refs" and kind == "audio"  # the usual model takes none there
        fits = unknown or (kind in row.kinds and not sound and shortest <= (good.seconds or shortest) <= longest)
        code = refused(row, name, *(["--dry-run"] if fits else []))
        assert (row.flag, code) == (row.flag, "" if fits else row.invalid)


def _socket(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)


SPECIAL: dict[str, Callable[[str], object]] = {
    "directory": os.mkdir,
    "fifo": lambda path: os.mkfifo(path),  # noqa: PLW0108 - Windows has none to name
    "socket": _socket,
    "zero": lambda path: os.symlink("/dev/zero", path),
    "loop": lambda path: os.symlink(path, path),
    "empty": lambda path: os.symlink(os.devnull, path),
}


@pytest.mark.platform
@pytest.mark.skipif(os.name == "nt", reason="no such files")
@pytest.mark.parametrize("row", INPUTS, ids=lambda row: row.flag)
@pytest.mark.parametrize("name", SPECIAL)
def test_a_special_file_has_its_code(
    tmp_path: Path, refused: Callable[[Input, str], str], row: Input, name: str
) -> None:
    SPECIAL[name](name)
    assert refused(row, name) == row.unreadable


@pytest.mark.parametrize("row", INPUTS, ids=lambda row: row.flag)
@pytest.mark.parametrize("value", ["nowhere.png", "nowhere/photo.png", "file/photo.png", ""])
def test_a_file_that_is_not_there_has_its_code(
    tmp_path: Path, refused: Callable[[Input, str], str], row: Input, value: str
) -> None:
    (tmp_path / "file").write_bytes(b"x")
    if value or row.name not in ("refs", "ref_voices"):  # --ref "" is missing_ref, --ref-voice "" is none
        assert refused(row, value) == row.absent


@pytest.mark.parametrize("row", INPUTS, ids=lambda row: row.flag)
@pytest.mark.parametrize("fault", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")])
def test_a_file_that_cannot_be_opened_has_its_code(
    monkeypatch: pytest.MonkeyPatch, refused: Callable[[Input, str], str], row: Input, fault: OSError
) -> None:
    def look(_: str) -> media.Look:
        raise fault

    monkeypatch.setattr(media, "look", look)
    assert refused(row, "photo.png") == row.unreadable


def test_a_name_that_is_no_text_is_a_name(tmp_path: Path, refused: Callable[..., str]) -> None:
    name = os.fsdecode(b"\xff.png") if os.name != "nt" else "x.png"
    (tmp_path / name).write_bytes(corpus.picture("PNG", 360, 360))
    assert refused(INPUTS[0], name, "--dry-run") == ""
    assert refused(INPUTS[0], f"not-{name}") == "image_not_found"
