"""Flags as people type them: Go's booleans, odd numbers, odd prompts, stdin; and the curl line against what is sent."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import click
import pytest
from invoking import Result, create, invoke

from rawgenai.cli.command import Command

URL = "https://example.com/a.png"
COMMANDS = [
    [],
    ["dashscope"],
    ["dashscope", "video"],
    ["dashscope", "video", "create"],
    ["dashscope", "video", "status"],
    ["dashscope", "video", "download"],
    ["dashscope", "emulator"],
    ["config"],
    ["config", "get"],
    ["config", "set"],
    ["config", "unset"],
    ["config", "list"],
    ["config", "path"],
]
GROUPS = [[], ["dashscope"], ["dashscope", "video"], ["config"]]


def body(done: Result) -> Any:
    """The request's body that a dry run shows."""
    assert (done.status, done.envelope["success"], done.envelope["dry_run"]) == (0, True, True)
    return done.envelope["request"]["body"]


def dry(*argv: str, stdin: bytes | None = None) -> Any:
    return body(create(*argv, "--dry-run", stdin=stdin))


# --- booleans in Go's spelling (ruling 6) ------------------------------------------------------------------------

TRUE = ["", "=true", "=True", "=TRUE", "=t", "=T", "=1"]
FALSE = ["=false", "=False", "=FALSE", "=f", "=F", "=0"]
TRUTHS = [(spelling, True) for spelling in TRUE] + [(spelling, False) for spelling in FALSE]
BOOLEANS: list[tuple[str, list[str], str, Any, Any]] = [
    # flag, what it needs, parameter, its value when true, when false
    ("--watermark", [], "watermark", True, False),
    ("--prompt-extend", [], "prompt_extend", True, False),
    ("--no-prompt-extend", [], "prompt_extend", False, True),
    ("--audio", ["--image", URL], "audio", True, False),
    ("--no-audio", ["--ref", URL], "audio", False, None),
]


@pytest.mark.parametrize(("spelling", "truth"), TRUTHS)
@pytest.mark.parametrize(("flag", "needs", "name", "true", "false"), BOOLEANS, ids=[row[0] for row in BOOLEANS])
def test_a_boolean_takes_gos_spelling_right_before_the_prompt(  # noqa: PLR0917 - two tables crossed
    flag: str, needs: list[str], name: str, true: Any, false: Any, spelling: str, truth: bool
) -> None:
    sent = dry(*needs, f"{flag}{spelling}", "a cat")
    assert sent["input"]["prompt"] == "a cat"
    assert sent["parameters"].get(name) == (true if truth else false)


@pytest.mark.parametrize(("spelling", "truth"), TRUTHS)
@pytest.mark.parametrize("flag", ["--quiet", "-q"])
def test_quiet_takes_gos_spelling(flag: str, spelling: str, truth: bool) -> None:
    done = create("--dry-run", f"{flag}{spelling}", "a" * 1501)
    assert done.status == 0
    assert done.err.startswith("warning: the prompt has 1501 characters") is not truth


@pytest.mark.parametrize(("spelling", "truth"), TRUTHS)
def test_strict_takes_gos_spelling(spelling: str, truth: bool) -> None:
    assert create("--dry-run", f"--strict{spelling}", "a" * 1501).code == ("prompt_too_long" if truth else "")


@pytest.mark.parametrize(("spelling", "truth"), TRUTHS)
def test_no_ledger_takes_gos_spelling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelling: str, truth: bool
) -> None:
    monkeypatch.setenv("DASHSCOPE_BASE_URL", "emulator")
    assert create(f"--no-ledger{spelling}", "a cat").status == 0
    assert (tmp_path / "state" / "rawgenai" / "tasks.db").exists() is not truth


@pytest.mark.parametrize(("spelling", "truth"), TRUTHS)
@pytest.mark.parametrize("flag", ["--verbose", "-v"])
def test_verbose_takes_gos_spelling(monkeypatch: pytest.MonkeyPatch, flag: str, spelling: str, truth: bool) -> None:
    monkeypatch.setenv("DASHSCOPE_BASE_URL", "emulator")
    assert ("source" in invoke("config", "get", f"{flag}{spelling}", "dashscope_base_url").envelope) is truth


@pytest.mark.parametrize("flag", ["--watermark", "--prompt-extend", "--no-prompt-extend", "--strict", "-q"])
@pytest.mark.parametrize("value", ["=", "=maybe", "=2", "=yes", "=tr", "=true ", "==true", "=真"])
def test_a_boolean_that_is_neither_is_refused(flag: str, value: str) -> None:
    done = create("a cat", f"{flag}{value}")
    assert (done.code, done.status) == ("invalid_usage", 2)


def test_the_last_spelling_wins() -> None:
    sent = dry("--prompt-extend=false", "--prompt-extend", "a cat")
    assert sent["parameters"]["prompt_extend"] is True
    assert dry("--no-prompt-extend=false", "--prompt-extend=0", "a")["parameters"]["prompt_extend"] is False


# --- a value that may be left out --------------------------------------------------------------------------------


@pytest.mark.parametrize("argv", [["--dry-run", "a cat"], ["a cat", "--dry-run"], ["--dry-run=json", "a cat"]])
def test_a_dry_run_shows_json(argv: list[str]) -> None:
    assert body(create(*argv))["input"]["prompt"] == "a cat"


@pytest.mark.parametrize("argv", [["--dry-run=curl", "a cat"], ["a cat", "--dry-run=curl"]])
def test_a_dry_run_shows_a_curl_line(argv: list[str]) -> None:
    done = create(*argv)
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("curl ")
    assert done.out.count("\n") == 1
    assert '"prompt": "a cat"' in done.out
    assert "Bearer $DASHSCOPE_API_KEY" in done.out


@pytest.mark.parametrize("value", ["=", "=xml", "=CURL"])
def test_a_dry_run_of_another_form_is_refused(value: str) -> None:
    assert create("a cat", f"--dry-run{value}").code == "invalid_usage"


def test_a_dry_run_needs_no_key_and_leaves_nothing(tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    done = create("--dry-run", "a cat")
    assert done.envelope == {
        "success": True,
        "dry_run": True,
        "request": {
            "method": "POST",
            "url": "https://dashscope.aliyuncs.com/api/v1/services/aigc/video-generation/video-synthesis",
            "headers": {
                "Authorization": "Bearer $DASHSCOPE_API_KEY",
                "Content-Type": "application/json",
                "X-DashScope-Async": "enable",
            },
            "body": {
                "model": "wan2.6-t2v",
                "input": {"prompt": "a cat"},
                "parameters": {"size": "1280*720", "duration": 5, "prompt_extend": True, "watermark": False},
            },
        },
        "billed_seconds": 5,
        "list_price": {
            "amount": 3.0,
            "currency": "CNY",
            "per_second": 0.6,
            "region": "beijing",
            "as_of": "2026-05",
            "note": "check the price page",
        },
    }
    assert sorted(tmp_path.rglob("*")) == before


def test_a_dry_run_shortens_what_nobody_reads(photo: Path) -> None:
    data = f"data:image/jpeg;base64,{base64.b64encode(photo.read_bytes()).decode()}"
    size = photo.stat().st_size
    assert dry("-i", str(photo))["input"]["img_url"] == f"data:image/jpeg;base64,({size} bytes of {photo.name})"
    assert dry("-i", data)["input"]["img_url"] == f"data:image/jpeg;base64,({size} bytes of data)"
    sent = dry("a", "--ref", str(photo), "--ref", data, "--ref", URL)
    assert sent["input"]["reference_urls"] == [f"oss://UPLOADED/{photo.name}", "oss://UPLOADED/data", URL]


def test_a_curl_line_that_cannot_upload_says_so(photo: Path) -> None:
    done = create("a", "--ref", str(photo), "--dry-run=curl")
    assert done.err.startswith("warning: the local files that this request names as oss://UPLOADED/")
    assert '"oss://UPLOADED/it' in done.out


# --- what looks like a flag --------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", ["-x", "--audio", "--", "--duration=3", "--watermark=true", "--dry-run", "-h"])
def test_after_two_dashes_everything_is_a_prompt(prompt: str) -> None:
    assert body(create("--dry-run", "--", prompt))["input"]["prompt"] == prompt


def test_a_dash_is_stdin_even_after_two_dashes() -> None:
    assert body(create("--dry-run", "--", "-", stdin=b"from stdin"))["input"]["prompt"] == "from stdin"


@pytest.mark.parametrize("value", ["--dry-run", "--watermark=false", "-q", "--", "-", "a=b", "--negative=x"])
def test_a_value_may_look_like_a_flag(value: str) -> None:
    sent = dry("--negative", value, "a cat")
    assert (sent["input"]["prompt"], sent["input"]["negative_prompt"]) == ("a cat", value)
    assert sent["parameters"]["watermark"] is False
    assert dry(f"--negative={value}", "a cat")["input"]["negative_prompt"] == value


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["--fast", "a"], "invalid_usage"),
        (["-x", "a"], "invalid_usage"),
        (["--watermar", "a"], "invalid_usage"),  # no abbreviations
        (["a", "b"], "invalid_usage"),
        (["--watermark", "true", "a"], "invalid_usage"),
        (["a", "--negative"], "invalid_usage"),
        (["a", "--duration"], "invalid_duration"),
        (["a", "--seed"], "invalid_seed"),
        (["a", "--ref"], "missing_ref"),
        (["a", "--no-watermark"], "invalid_usage"),
    ],
)
def test_what_click_complains_of_is_an_envelope(argv: list[str], code: str) -> None:
    done = create(*argv)
    assert (done.code, done.status) == (code, 2)
    assert "rawgenai dashscope video create --help" in done.envelope["error"]["message"]


@pytest.mark.parametrize(
    "argv", [["vids"], ["--fast"], ["dashscope", "image"], ["dashscope", "video", "ls"], ["config", "ls"]]
)
def test_an_unknown_command_is_an_envelope(argv: list[str]) -> None:
    done = invoke(*argv)
    assert (done.code, done.status) == ("invalid_usage", 2)
    assert argv[-1] in done.envelope["error"]["message"]


def test_a_bare_context_that_came_first_takes_no_help_away() -> None:
    command = Command("x")
    command.get_params(click.Context(command))
    help_option = command.get_help_option(command.make_context("x", []))
    assert help_option is not None
    assert sorted(help_option.opts) == ["--help", "-h"]


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_is_everywhere_and_shows_an_example(command: list[str], flag: str) -> None:
    done = invoke(*command, flag)
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith(f"Usage: {' '.join(['rawgenai', *command])} ")
    assert "Example" in done.out


@pytest.mark.parametrize("command", GROUPS, ids=" ".join)
def test_a_group_alone_shows_its_help(command: list[str]) -> None:
    assert invoke(*command) == invoke(*command, "--help")


# --- numbers -----------------------------------------------------------------------------------------------------

NO_NUMBERS = ["５", "٥", "5.0", "1e3", "5_0", " 5", "5 ", "", "0x5", "five", "5s", "--", "+", "1" * 5000, str(2**63)]


@pytest.mark.parametrize("value", NO_NUMBERS)
@pytest.mark.parametrize(("flag", "code"), [("--duration", "invalid_duration"), ("--seed", "invalid_seed")])
def test_what_is_no_whole_number_is_refused(flag: str, code: str, value: str) -> None:
    for argv in ([flag, value], [f"{flag}={value}"]):
        done = create("a cat", *argv)
        assert (done.code, done.status) == (code, 2)
        assert len(done.err) < 6000


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["-d", "-0"], "invalid_duration"),
        (["-d", "-5"], "invalid_duration"),
        (["-d-5"], "invalid_duration"),
        (["-d", "5"], ""),
        (["-d5"], ""),
        (["-d", "+5"], ""),
        (["-d", "05"], ""),
        (["--seed", "-0"], ""),
        (["--seed", "-1"], "invalid_seed"),
        (["--seed", "2147483647"], ""),
        (["--seed", "2147483648"], "invalid_seed"),
        (["--seed", str(2**59)], "invalid_seed"),
    ],
)
def test_a_whole_number_is_judged_by_the_rules(argv: list[str], code: str) -> None:
    assert create("a cat", "--dry-run", *argv).code == code


def test_seed_0_is_sent() -> None:
    assert dry("a", "--seed", "0")["parameters"]["seed"] == 0
    assert "seed" not in dry("a")["parameters"]


# --- prompts -----------------------------------------------------------------------------------------------------

PROMPTS = {
    "Chinese": "一只猫，在花园里玩耍。",
    "emoji": "🐈‍⬛ 🚀",
    "quotes": """it's "quoted" `now`""",
    "shell": "$HOME $(id) `id` ${X:-y} !! ~ * ? [a] {b,c} ; & | > < #",
    "backslashes": r"\ \\ \n \t \' \" \$ \u0041",
    "the curl line's own marks": r"\u00000\u0000 \u00001\u0000",
    "lines": "line 1\nline 2\tand a tab",
    "printf": "%s %d %% \\x41 \\101",
    "curl": "@/etc/passwd",
    "dash": "-n",
    "header": "X: y\nX-Evil: z",
    "separators": "a\u2028b\u2029c\u200bd",
    "right to left": "\u202eevil\u202c",
    "json": '{"prompt": "x"}',
}


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_a_prompt_arrives_as_it_was_typed(prompt: str) -> None:
    assert body(create("--dry-run", "--", prompt))["input"]["prompt"] == prompt
    assert dry("--prompt-file", "-", stdin=prompt.encode())["input"]["prompt"] == prompt


@pytest.mark.parametrize("prompt", ["a\x00b", "a\x1b[2Jb", "a\ud800b", "a\x7fb"])
def test_what_is_no_text_is_refused(prompt: str) -> None:
    done = create("--dry-run", prompt)
    assert (done.code, done.status) == ("invalid_prompt", 2)
    assert "\x1b" not in done.err


@pytest.mark.parametrize(
    ("argv", "stdin", "expected"),
    [  # rulings 7 and 19
        (["a"], b"from stdin", "a"),
        (["a", "-f", "nowhere.txt"], None, "a"),
        (["a", "-f", "-"], b"from stdin", "a"),
        (["-f", "prompt.txt"], b"from stdin", "from the file"),
        (["-f", "-"], b"from stdin", "from stdin"),
        (["-"], b"from stdin\n", "from stdin"),
        ([], b"\xef\xbb\xbf  from stdin\r\n", "from stdin"),
        (["-i", URL], b"from stdin", "from stdin"),
        (["-i", URL], b"", None),
        (["-i", URL, ""], b"from stdin", None),
        (["--first-frame", URL, ""], b"from stdin", None),
        (["-i", URL], None, None),
        (["--first-frame", URL], None, None),
    ],
)
def test_a_prompt_comes_from_the_argument_then_the_file_then_stdin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str], stdin: bytes | None, expected: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompt.txt").write_text("from the file\n")
    assert dry(*argv, stdin=stdin)["input"].get("prompt") == expected


@pytest.mark.parametrize(
    ("argv", "stdin", "code"),
    [
        ([], None, "missing_prompt"),
        ([], b"", "missing_prompt"),
        ([], b" \n\t", "missing_prompt"),
        ([""], b"from stdin", "missing_prompt"),
        (["   "], b"from stdin", "missing_prompt"),
        (["-"], None, "missing_prompt"),
        (["-f", "-"], None, "missing_prompt"),
        (["-f", "nowhere.txt"], b"from stdin", "file_not_found"),
        (["-f", "blank.txt"], b"from stdin", "missing_prompt"),
        (["-f", "."], None, "invalid_usage"),
        (["-f", ""], None, "file_not_found"),
        ([], b"\xff", "invalid_prompt"),
        ([], b"a" * 65537, "invalid_prompt"),
        # Rulings 19, 20 and 23.
        (["a", "--ref", ""], None, "missing_ref"),
        (["a", "-r", "720p"], None, "invalid_resolution"),
        (["-i", URL, "--size", "960*960"], None, "invalid_size"),
        (["--first-frame", URL, "--size", "960*960"], None, "invalid_size"),
        (["-i", ""], None, "image_not_found"),
        (["-i", "ftp://example.com/a.png"], None, "invalid_image"),
        (["a", "--audio-url", "data:audio/wav;base64,AAAA"], None, "invalid_audio"),
    ],
)
def test_a_wrong_input_is_refused_with_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str], stdin: bytes | None, code: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "blank.txt").write_text(" \n")
    done = create("--dry-run", *argv, stdin=stdin)
    assert (done.code, done.status) == (code, 2)


@pytest.mark.parametrize("size", ["960x960", "960*960"])
def test_an_exact_size_is_sent_as_the_api_spells_it(size: str) -> None:
    assert dry("a", "--size", size)["parameters"]["size"] == "960*960"


@pytest.mark.parametrize("task_id", ["a/b", "../t", "a b", "a" * 129, "任务", "a\n", "%2e", "-"])
@pytest.mark.parametrize("command", [["status"], ["download", "-o", "a.mp4"]], ids=["status", "download"])
def test_what_is_no_task_id_is_refused_before_any_request(
    monkeypatch: pytest.MonkeyPatch, command: list[str], task_id: str
) -> None:
    monkeypatch.setenv("DASHSCOPE_BASE_URL", "http://127.0.0.1:9/api/v1")
    done = invoke("dashscope", "video", *command, "--", task_id)
    assert done.code == ("invalid_task_id" if task_id != "-" else "missing_api_key")


@pytest.mark.parametrize(
    ("output", "code"),
    [("a.avi", "invalid_format"), ("a.mp4.part", "invalid_format"), ("nowhere/a.mp4", "output_write_error"),
     ("", "missing_output"), ("a.MP4", "missing_api_key"), ("a.mp4", "missing_api_key")],
)  # fmt: skip
def test_an_output_is_judged_before_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, code: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke("dashscope", "video", "download", "t", "-o", output).code == code


@pytest.mark.parametrize(
    ("argv", "code"),
    [  # flags, model, rules, files, key, network (design section 2)
        (["-i", "nowhere.jpg", "-m", "wan9", "-d", "99", "--seed", "-1"], "invalid_seed"),
        (["-i", "nowhere.jpg", "-m", "wan9", "-d", "99", "--ratio", "1:1"], "invalid_model"),
        (["-i", "nowhere.jpg", "-d", "99", "--ratio", "1:1"], "invalid_ratio"),
        (["-i", "nowhere.jpg", "-d", "99"], "invalid_duration"),
        (["-f", "nowhere.txt", "-d", "99"], "invalid_duration"),
        (["-i", "nowhere.jpg"], "image_not_found"),
        (["-f", "nowhere.txt"], "file_not_found"),
        (["-i", URL], "missing_api_key"),
    ],
)
def test_a_missing_key_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str], code: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert create(*argv).code == code


@pytest.mark.parametrize(
    ("host", "model", "warned"),
    [  # ruling 16
        ("dashscope", "wanx2.1-t2v-turbo", False),
        ("dashscope", "wan2.1-t2v-turbo", True),
        ("dashscope", "wan2.6-t2v-us", True),
        ("dashscope-intl", "wanx2.1-t2v-turbo", True),
        ("dashscope-intl", "wan2.1-t2v-turbo", False),
        ("dashscope-us", "wan2.6-t2v-us", False),
        ("dashscope-us", "wan2.6-t2v", False),
        ("dashscope-us", "wan2.5-t2v-preview", True),
    ],
)
def test_a_model_of_another_region_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, host: str, model: str, warned: bool
) -> None:
    monkeypatch.setenv("DASHSCOPE_BASE_URL", f"https://{host}.aliyuncs.com/api/v1")
    done = create("--dry-run", "-m", model, "a")
    assert done.status == 0
    assert done.err.startswith(f"warning: {model} is not offered in ") is warned


# --- stdin, for real ---------------------------------------------------------------------------------------------


def posix(test: Any) -> Any:
    """Mark a test that needs a shell or a terminal of POSIX."""
    return pytest.mark.platform(pytest.mark.skipif(os.name == "nt", reason="needs POSIX")(test))


DRY = [sys.executable, "-m", "rawgenai", "dashscope", "video", "create", "--dry-run"]


def process(*argv: str, **how: Any) -> Result:
    done = subprocess.run(argv or DRY, capture_output=True, timeout=30, check=False, **how)
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


def test_stdin_is_read_from_a_pipe() -> None:
    assert body(process(input=b"from stdin"))["input"]["prompt"] == "from stdin"


def test_stdin_is_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text("from stdin")
    with (tmp_path / "prompt.txt").open("rb") as file:
        assert body(process(stdin=file))["input"]["prompt"] == "from stdin"


def test_dev_null_is_no_prompt() -> None:
    assert process(stdin=subprocess.DEVNULL).code == "missing_prompt"


@posix
def test_a_closed_stdin_is_no_prompt() -> None:
    assert process("sh", "-c", 'exec "$@" <&-', "sh", *DRY).code == "missing_prompt"


@posix
def test_a_terminal_is_never_waited_for() -> None:
    import pty

    ours, theirs = pty.openpty()
    try:
        assert process(stdin=theirs).code == "missing_prompt"
    finally:
        os.close(ours)
        os.close(theirs)


# --- the curl line -----------------------------------------------------------------------------------------------

Sent = tuple[str, dict[str, str], bytes]


class _Capture(BaseHTTPRequestHandler):
    """Book every task, and remember what was said."""

    seen: list[Sent]

    def do_POST(self) -> None:
        told = {name.lower(): value for name, value in self.headers.items()}
        mattering = {name: told[name] for name in told if name in ("authorization", "content-type") or name[:2] == "x-"}
        self.seen.append((self.path, mattering, self.rfile.read(int(told["content-length"]))))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"output":{"task_id":"t","task_status":"PENDING"}}')

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch, canary: str) -> Iterator[list[Sent]]:
    """What a loopback server is sent, which the settings name as the API."""
    sent: list[Sent] = []
    handler = type("Handler", (_Capture,), {"seen": sent})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        monkeypatch.setenv("DASHSCOPE_BASE_URL", f"http://127.0.0.1:{server.server_address[1]}/api/v1")
        monkeypatch.setenv("DASHSCOPE_API_KEY", canary)
        yield sent
        server.shutdown()
        thread.join()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A real photo, whose name no shell likes."""
    from PIL import Image

    photo = tmp_path / "it's $HOME; a `photo`.jpg"
    Image.effect_noise((320, 240), 80).convert("RGB").save(photo, "JPEG")
    return photo


def sent_twice(seen: list[Sent], script: Path, *argv: str) -> tuple[Sent, Sent]:
    """What ``create`` sends, and what the line of ``--dry-run=curl`` sends when a shell runs it."""
    done = create("-q", *argv)
    assert done.status == 0, done.err
    line = create("-q", "--dry-run=curl", *argv).out
    script.write_text(line, encoding="utf-8")
    subprocess.run(["sh", script], check=True, capture_output=True, timeout=30)
    first, second = seen
    return first, second


@posix
@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_a_curl_line_sends_what_create_sends(seen: list[Sent], tmp_path: Path, prompt: str) -> None:
    first, second = sent_twice(seen, tmp_path / "line.sh", "--negative", prompt, "--", prompt)
    assert first == second
    assert json.loads(first[2])["input"] == {"prompt": prompt, "negative_prompt": prompt}


@posix
@pytest.mark.parametrize("prompt", ["", PROMPTS["the curl line's own marks"], PROMPTS["quotes"]])
def test_a_curl_line_sends_local_images_inline(seen: list[Sent], tmp_path: Path, photo: Path, prompt: str) -> None:
    argv = ("--first-frame", str(photo), "--last-frame", str(photo), "--", prompt)
    first, second = sent_twice(seen, tmp_path / "line.sh", *argv)
    assert first == second
    assert first[0] == "/api/v1/services/aigc/image2video/video-synthesis"
    data = json.loads(first[2])["input"]["first_frame_url"].partition(",")[2]
    assert base64.b64decode(data) == photo.read_bytes()


@posix
def test_a_curl_line_names_an_uploaded_file_with_its_header(seen: list[Sent], tmp_path: Path) -> None:
    first, second = sent_twice(seen, tmp_path / "line.sh", "a", "--ref", "oss://x/it's.png")
    assert first == second
    assert first[1]["x-dashscope-ossresourceresolve"] == "enable"


@posix
def test_a_curl_line_holds_the_longest_prompt(seen: list[Sent], tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text("'" * 65536)
    first, second = sent_twice(seen, tmp_path / "line.sh", "-f", str(tmp_path / "prompt.txt"))
    assert first == second


@posix
def test_a_curl_line_sends_a_large_data_uri(seen: list[Sent], tmp_path: Path, photo: Path) -> None:
    data = base64.b64encode(photo.read_bytes() + bytes(200_000)).decode()
    first, second = sent_twice(seen, tmp_path / "line.sh", "-i", f"data:image/jpeg;base64,{data}", "a")
    assert first == second


# --- what it may cost -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["create", "generate"])
@pytest.mark.parametrize(("flags", "code"), [
    (["--max-seconds", "4"], "over_budget"),
    (["--max-seconds", "5"], ""),
    (["--max-cost", "2.99"], "over_budget"),
    (["--max-cost", "3"], ""),
    (["--max-cost", "3", "--resolution", "1080P"], "over_budget"),
    (["--max-cost", "0"], "over_budget"),
    (["--max-cost", ".5"], "over_budget"),
    (["--max-cost", "."], "invalid_usage"),
    (["--max-cost", ""], "invalid_usage"),
    (["--max-cost", "-1"], "invalid_usage"),
    (["--max-cost", "nan"], "invalid_usage"),
    (["--max-cost", "1e3"], "invalid_usage"),
    (["--max-seconds", "five"], "invalid_usage"),
])  # fmt: skip
def test_what_would_cost_more_than_allowed_is_refused(command: str, flags: list[str], code: str) -> None:
    done = invoke("dashscope", "video", command, "a cat", "--dry-run", *flags)
    assert done.code == code
    assert done.status == (2 if code else 0)


def test_an_over_budget_task_is_refused_before_a_key_is_missed() -> None:
    assert create("a cat", "--max-cost", "1").code == "over_budget"
    assert create("a cat", "--max-cost", "3").code == "missing_api_key"
