"""``vace`` and its five commands: flags become the request, with -o the clip is waited for, nothing is paid twice."""

import json
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import pytest
from invoking import Result, invoke
from test_completion import answered
from test_examples import MP4

from rawgenai.cli import vace
from rawgenai.cli.create import create
from rawgenai.cli.generate import generate
from rawgenai.dashscope.spec import Spec, Vace
from rawgenai.dashscope.vace import FUNCTIONS
from rawgenai.emulator import render
from rawgenai.errors import flag_of

IMAGE, VIDEO = "https://example.com/a.png", "https://example.com/a.mp4"
BOX = "--expand-mode bbox --size 720*1280"
LEAST = {
    "image-reference": f"--ref {IMAGE}",
    "repainting": f"--video {VIDEO} --control depth",
    "edit": f"--video {VIDEO} --mask {IMAGE}",
    "extension": f"--first-clip {VIDEO}",
    "outpainting": f"--video {VIDEO} --left-scale 1.5",
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the emulator, where a task moves on each time it is asked for, and a clip is no film."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DASHSCOPE_BASE_URL", "emulator")
    monkeypatch.setenv("RAWGENAI_EMULATOR_SECONDS", "0")
    monkeypatch.setattr(render, "draw", lambda path, **_: path.write_bytes(MP4))


def run(function: str, flags: str = "", *more: str, prompt: str = "a") -> Result:
    return invoke("dashscope", "video", "vace", function, prompt, *shlex.split(flags), *more)


def body(function: str, flags: str) -> Any:
    return run(function, flags, "--dry-run").envelope["request"]["body"]


# --- flags -----------------------------------------------------------------------------------------------------------

# What is typed -> input and parameters that are sent, besides what is the same for all of them.
TYPED: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("image-reference", f"--ref {IMAGE}", {"ref_images_url": [IMAGE]}, {"size": "1280*720", "duration": 5}),
    (
        "image-reference",
        f"--ref {IMAGE} --ref-role obj --ref {IMAGE} --ref-role bg --size 960x960 --seed 0",
        {"ref_images_url": [IMAGE, IMAGE]},
        {"obj_or_bg": ["obj", "bg"], "size": "960*960", "duration": 5, "seed": 0},
    ),
    (
        "repainting",
        f"--video {VIDEO} --ref {IMAGE} --control posebody --strength 0.25",
        {"video_url": VIDEO, "ref_images_url": [IMAGE]},
        {"control_condition": "posebody", "strength": 0.25},
    ),
    (
        "edit",
        f"--video {VIDEO} --mask {IMAGE} --mask-frame 3 --control depth --mask-type tracking --expand-ratio 0 {BOX}",
        {"video_url": VIDEO, "mask_image_url": IMAGE, "mask_frame_id": 3},
        {"control_condition": "depth", "mask_type": "tracking", "expand_ratio": 0, "expand_mode": "bbox",
         "size": "720*1280"},
    ),
    (
        "edit",
        f"--video {VIDEO} --mask-video {VIDEO} --ref {IMAGE}",
        {"video_url": VIDEO, "mask_video_url": VIDEO, "ref_images_url": [IMAGE]},
        {},
    ),
    (
        "extension",
        f"--first-frame {IMAGE} --last-frame {IMAGE} --video {VIDEO} --control posebodyface",
        {"first_frame_url": IMAGE, "last_frame_url": IMAGE, "video_url": VIDEO},
        {"control_condition": "posebodyface", "duration": 5},
    ),
    (
        "extension",
        f"--first-clip {VIDEO} --last-clip {VIDEO}",
        {"first_clip_url": VIDEO, "last_clip_url": VIDEO},
        {"duration": 5},
    ),
    (
        "outpainting",
        f"--video {VIDEO} --top-scale 1 --bottom-scale 1.25 --left-scale 1.5 --right-scale 2",
        {"video_url": VIDEO},
        {"top_scale": 1, "bottom_scale": 1.25, "left_scale": 1.5, "right_scale": 2},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("function", "flags", "inputs", "parameters"), TYPED)
def test_flags_become_the_request(
    function: str, flags: str, inputs: dict[str, Any], parameters: dict[str, Any]
) -> None:
    assert body(function, f"{flags} --no-prompt-extend --watermark") == {
        "model": "wanx2.1-vace-plus",
        "input": {"prompt": "a", "function": FUNCTIONS[function].key, **inputs},
        "parameters": {**parameters, "prompt_extend": False, "watermark": True},
    }


def test_every_own_flag_is_typed_above() -> None:
    for function in FUNCTIONS:
        typed = {word for name, flags, *_ in TYPED if name == function for word in shlex.split(flags)}
        own = _flags(getattr(vace, function.replace("-", "_"))) - _flags(generate)
        assert own | {"--video", "--ref"} & _flags(getattr(vace, function.replace("-", "_"))) <= typed


def _flags(command: click.Command) -> set[str]:
    return {name for param in command.params if isinstance(param, click.Option) for name in param.opts}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_command_has_its_functions_flags_and_those_that_every_clip_has(function: str) -> None:
    row = FUNCTIONS[function]
    own = {name: flag_of(name) for name in (*row.inputs, *(each.name for each in row.parameters))}
    command = getattr(vace, function.replace("-", "_"))
    common = _flags(generate) - {flag_of(name) for name in vace._OTHERS} - {"--request", "-i", "-r", "-d"}
    assert _flags(command) == common | set(own.values()) | ({"--size"} if row.shape != "input" else set())
    assert all(param.help for param in command.params if isinstance(param, click.Option))


def test_what_is_said_of_other_clips_is_every_field_that_is_not_common() -> None:
    common = {"prompt", "prompt_file", "model", "prompt_extend", "watermark", "seed", "vace"}
    own = {"last_clip", "mask", "mask_video"}  # which `create` has no flags for
    assert set(vace._OTHERS) == {field.name for field in fields(Spec)} - common - own
    assert set(Vace._fields[1:]) == {each.name for row in FUNCTIONS.values() for each in row.parameters}


@pytest.mark.parametrize(
    ("function", "flags", "code"),
    [
        ("repainting", f"--video {VIDEO}", "invalid_usage"),
        ("repainting", f"--video {VIDEO} --control canny", "invalid_usage"),
        ("repainting", f"--video {VIDEO} --control depth --strength 1.5", "invalid_usage"),
        ("repainting", f"--video {VIDEO} --control depth --strength half", "invalid_usage"),
        ("repainting", f"--video {VIDEO} --control depth --duration 5", "invalid_usage"),  # there is no such flag
        ("edit", f"--video {VIDEO}", "invalid_usage"),
        ("edit", f"--video {VIDEO} --mask {IMAGE} --mask-video {VIDEO}", "conflicting_input_flags"),
        ("edit", f"--video {VIDEO} --mask {IMAGE} --mask-frame 0", "invalid_usage"),
        ("edit", f"--video {VIDEO} --mask {IMAGE} --mask-frame 1.5", "invalid_usage"),
        ("edit", f"--video {VIDEO} --mask {IMAGE} --size 1920*1080", "invalid_size"),
        ("edit", f"--video {VIDEO} --mask none.png", "image_not_found"),
        ("extension", "", "invalid_usage"),
        ("outpainting", f"--video {VIDEO} --left-scale 2.1", "invalid_usage"),
        ("outpainting", f"--video {VIDEO} --left-scale 0.9", "invalid_usage"),
        ("outpainting", f"--video {VIDEO} --left-scale -1", "invalid_usage"),
        ("outpainting", f"--video {VIDEO} --left-scale 1.5 --model wan2.6-t2v", "invalid_model"),
        ("outpainting", f"--video {VIDEO} --left-scale 1.5 --seed -1", "invalid_seed"),
        ("outpainting", f"--video {VIDEO} --left-scale 1.5 --max-seconds 4", "over_budget"),
        ("outpainting", f"--video {VIDEO} --strict", "invalid_usage"),  # nothing is added
        ("image-reference", "", "missing_ref"),
        ("image-reference", "--ref", "missing_ref"),
        ("image-reference", f"--ref {IMAGE} --ref {IMAGE}", "invalid_usage"),
        ("image-reference", f"--ref {IMAGE} --ref-role subject", "invalid_usage"),
    ],
)  # fmt: skip
def test_a_refusal_has_its_code_and_sends_nothing(
    function: str, flags: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rawgenai.dashscope import tasks

    monkeypatch.setattr(tasks, "sender", lambda *_: pytest.fail("something would be sent"))
    done = run(function, flags)
    assert (done.code, done.status) == (code, 2)


def test_the_prompt_comes_from_a_file_or_stdin_too(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("海边的小提琴手\n", encoding="utf-8")
    words = ("dashscope", "video", "vace", "outpainting", *shlex.split(LEAST["outpainting"]), "--dry-run")
    for done in (invoke(*words, "-f", "p.txt"), invoke(*words, stdin="海边的小提琴手".encode())):
        assert done.envelope["request"]["body"]["input"]["prompt"] == "海边的小提琴手"
    assert invoke(*words).code == "missing_prompt"


# --- the work --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", FUNCTIONS)
def test_without_a_file_it_answers_at_once_and_every_other_command_knows_the_task(function: str) -> None:
    done = run(function, LEAST[function])
    task_id = done.envelope["task_id"]
    assert done.envelope == {"success": True, "task_id": task_id, "status": "pending"}
    assert invoke("dashscope", "video", "status", task_id).envelope["status"] == "pending"
    (row,) = invoke("dashscope", "video", "list").envelope["tasks"]
    assert (row["task_id"], row["model"], row["prompt"]) == (task_id, "wanx2.1-vace-plus", "a")
    waited = invoke("dashscope", "video", "wait", task_id, "-o", "a.mp4", "--poll-interval", "0", "-q")
    assert (waited.envelope["status"], Path("a.mp4").read_bytes()) == ("succeeded", MP4)


def test_a_pending_task_is_canceled() -> None:
    task_id = run("edit", LEAST["edit"]).envelope["task_id"]
    assert invoke("dashscope", "video", "cancel", task_id).envelope["status"] == "canceled"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_with_a_file_it_waits_downloads_and_pays_once(function: str, tmp_path: Path) -> None:
    flags = f"{LEAST[function]} -o clip.mp4 --poll-interval 0 -q"
    done, again = run(function, flags).envelope, run(function, flags).envelope
    assert done == {
        "success": True, "task_id": done["task_id"], "status": "succeeded", "file": str(tmp_path / "clip.mp4"),
        "duration": 5,
    }  # fmt: skip
    assert again == {**done, "cached": True}
    assert (tmp_path / "clip.mp4").read_bytes() == MP4


def test_an_idempotency_key_is_kept_with_a_file_and_without() -> None:
    first = run("edit", f"{LEAST['edit']} --idempotency-key k").envelope["task_id"]
    assert run("edit", f"{LEAST['edit']} --idempotency-key k").envelope["task_id"] == first
    done = run("edit", f"{LEAST['edit']} --idempotency-key k -o a.mp4 --poll-interval 0 -q")
    assert done.envelope["task_id"] == first
    assert run("repainting", f"{LEAST['repainting']} --idempotency-key k").code == "invalid_usage"  # another request


def test_evidence_is_kept(tmp_path: Path) -> None:
    run("edit", f"{LEAST['edit']} -o a.mp4 --poll-interval 0 -q --evidence=runs")
    (folder,) = (tmp_path / "runs").iterdir()
    assert any("video_edit" in file.read_text(encoding="utf-8") for file in folder.iterdir())


@pytest.mark.parametrize("flag", ["--timeout 5", "--poll-interval 1", "--no-cache", "--evidence", "-v", "--settle 1"])
def test_what_is_said_of_waiting_needs_a_file(flag: str) -> None:
    done = run("edit", f"{LEAST['edit']} {flag}")
    assert (done.code, done.status) == ("invalid_usage", 2)
    assert "give -o FILE.mp4 too" in done.envelope["error"]["message"]


def test_create_and_generate_have_no_flag_of_a_function() -> None:
    assert not {"--mask", "--control", "--left-scale", "--last-clip"} & (_flags(create) | _flags(generate))


def test_a_region_is_asked_for_the_usual_model_by_its_own_name() -> None:
    more = ("--dry-run", "--region")
    asked = {where: run("edit", LEAST["edit"], *more, where).envelope for where in ("beijing", "singapore")}
    names = {where: envelope["request"]["body"]["model"] for where, envelope in asked.items()}
    assert names == {"beijing": "wanx2.1-vace-plus", "singapore": "wan2.1-vace-plus"}
    assert asked["singapore"]["list_price"]["per_second"] == 0.733924
    assert run("edit", LEAST["edit"], *more, "virginia").code == "invalid_model"


# --- completion ------------------------------------------------------------------------------------------------------


def test_a_shell_completes_functions_words_and_models(monkeypatch: pytest.MonkeyPatch) -> None:
    def words(line: str) -> list[str]:
        return [word.partition(",")[2] for word in answered(monkeypatch, "bash", f"rawgenai dashscope video {line}")]

    assert words("vace ") == list(FUNCTIONS)
    assert words("vace edit --control ") == ["posebodyface", "depth"]
    assert words(f"vace edit --video {VIDEO} --model ") == ["wanx2.1-vace-plus", "wan2.1-vace-plus"]
    assert not [word for word in words("create --model ") if "vace" in word]


def test_a_dry_run_as_curl_is_the_same_request() -> None:
    done = run("edit", LEAST["edit"], "--dry-run=curl")
    sent = json.loads(shlex.split(done.out)[-1])
    assert sent == body("edit", LEAST["edit"])
