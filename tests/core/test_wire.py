"""DashScope's language: golden requests (requests/*.json), what answers mean, and whether to ask again.

``RAWGENAI_TEST_UPDATE=1`` rewrites the golden files; read the difference before you keep it.
"""

import json
import os
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rawgenai.dashscope import wire
from rawgenai.dashscope.models import MODELS
from rawgenai.dashscope.rules import select
from rawgenai.dashscope.spec import Spec, Vace, with_media
from rawgenai.errors import CODES, RawgenaiError
from rawgenai.message import Media, NotSent, Request, Response, Unknown

GOLDEN = Path(__file__).parent / "requests"

# --- Spec -> Request ---------------------------------------------------------------------------------------------

PHOTO = Media("photo.jpg", "image/jpeg", 631)
PERSON = "oss://dashscope-instant/x/person.jpg"  # what an uploaded file is called by then
SCENE = "oss://dashscope-instant/x/scene.mp4"
URL = "https://example.com/photo.jpg"
SPEECH = "https://example.com/speech.wav"
START, END = Media("start.jpg", "image/jpeg", 631), Media("end.jpg", "image/jpeg", 632)

REQUESTS = {
    # The usage examples of the specification, in its order; local files are loaded, references uploaded.
    "text": Spec("一只猫在花园里玩耍"),
    "image": Spec("让画面中的人物微笑", image=PHOTO),
    "image-url": Spec("让画面动起来", image=URL),
    "first-frame": Spec("镜头缓缓推进", first_frame=START),
    "frames": Spec("场景过渡", first_frame=START, last_frame=END),
    "audio-url": Spec("人物说话", image=PHOTO, audio_url="https://example.com/speech.wav"),
    "custom": Spec("竖屏短视频", ratio="9:16", resolution="1080P", duration=10),
    "multi-shot": Spec("多镜头叙事短片", shot_type="multi", duration=15),
    "reference": Spec("character1 在海边散步", refs=(PERSON,)),
    "references": Spec("character1 和 character2 在公园聊天", refs=(PERSON, PERSON)),
    "reference-video": Spec("character1 在视频中的场景里跳舞", refs=(PERSON, SCENE)),
    "reference-silent": Spec("character1 微笑", refs=(PERSON,), no_audio=True),
    # Every flag of a mode.
    "t2v-full": Spec(
        "a",
        negative="b",
        audio_url="oss://x/a.wav",
        size="960x960",
        duration=2,
        shot_type="single",
        prompt_extend=False,
        watermark=True,
        seed=0,
    ),
    "i2v-full": Spec(
        image=URL, negative="b", audio=True, resolution="1080P", duration=15, prompt_extend=True, seed=2147483647
    ),
    "r2v-full": Spec(
        "a", refs=(PERSON,), negative="b", resolution="1080P", ratio="9:16", shot_type="multi", watermark=True, seed=1
    ),
    "kf2v-full": Spec(
        "a", first_frame=START, last_frame=URL, negative="b", resolution="480P", duration=5, prompt_extend=False, seed=1
    ),
    # Each family of models.
    "wan2.6-t2v-us": Spec("a", model="wan2.6-t2v-us"),
    "wan2.5-t2v": Spec("a", model="wan2.5-t2v-preview", resolution="480P"),
    "wan2.2-t2v": Spec("a", model="wan2.2-t2v-plus", resolution="480P"),
    "wanx2.1-t2v": Spec("a", model="wanx2.1-t2v-turbo", duration=3),
    "wan2.6-i2v": Spec(image=URL, model="wan2.6-i2v"),
    "wan2.5-i2v": Spec(image=URL, model="wan2.5-i2v-preview", duration=10),
    "wan2.2-i2v": Spec(image=URL, model="wan2.2-i2v-flash"),
    "wan2.1-i2v": Spec(image=URL, model="wan2.1-i2v-turbo", duration=4),
    "wan2.6-r2v": Spec("a", refs=(PERSON,), model="wan2.6-r2v"),
    "wanx2.1-kf2v": Spec(first_frame=URL, model="wanx2.1-kf2v-plus"),
    # The newer families (reference 2.4): each combination of media, and every parameter.
    "wan2.7-t2v": Spec("a", model="wan2.7-t2v"),
    "wan2.7-t2v-full": Spec(
        "海边的日落", model="wan2.7-t2v-2026-06-12", negative="b", audio_url="oss://x/a.wav", resolution="1080P",
        ratio="3:4", duration=15, prompt_extend=False, watermark=True, seed=0,
    ),
    "wan2.7-i2v-image": Spec(image=PHOTO, model="wan2.7-i2v"),
    "wan2.7-i2v-first-frame": Spec("镜头缓缓推进", first_frame=START, model="wan2.7-i2v-2026-04-25"),
    "wan2.7-i2v-audio": Spec("人物说话", image=URL, audio_url=SPEECH, model="wan2.7-i2v"),
    "wan2.7-i2v-frames": Spec("场景过渡", first_frame=START, last_frame=END, model="wan2.7-i2v"),
    "wan2.7-i2v-frames-audio": Spec(
        "a", image=URL, last_frame=END, audio_url=SPEECH, model="wan2.7-i2v", negative="b", resolution="1080P",
        duration=2, prompt_extend=False, watermark=True, seed=1,
    ),
    "wan2.7-i2v-clip": Spec("a", first_clip=SCENE, duration=15, model="wan2.7-i2v"),
    "wan2.7-i2v-clip-last": Spec(first_clip=SCENE, last_frame=END, duration=10, model="wan2.7-i2v"),
    "wan2.7-r2v": Spec("图1 在海边散步", refs=(PHOTO,), model="wan2.7-r2v"),
    "wan2.7-r2v-voices": Spec(
        "Image 1 和 Video 1 聊天", refs=(PHOTO, SCENE, PERSON), ref_voices=(None, SPEECH),
        model="wan2.7-r2v-2026-06-12", negative="b", resolution="1080P", ratio="4:3",
        duration=10, prompt_extend=False, watermark=True, seed=1,
    ),
    "wan2.7-r2v-first-frame": Spec("a", refs=(PHOTO,), first_frame=START, duration=15, model="wan2.7-r2v"),
    "wan2.7-videoedit": Spec(video=SCENE, model="wan2.7-videoedit"),
    "wan2.7-videoedit-refs": Spec(
        "把衣服换成图中的", video=SCENE, refs=(PHOTO, PERSON), model="wan2.7-videoedit", negative="b",
        resolution="1080P", ratio="1:1", duration=10, audio_setting="origin", prompt_extend=False, watermark=True,
        seed=1,
    ),
    "wan3.0": Spec("a", model="wan3.0-video"),
    "wan3.0-first-frame": Spec(image=PHOTO, duration=-1, model="wan3.0-video-prime"),
    "wan3.0-frames": Spec(first_frame=START, last_frame=END, resolution="480P", duration=30, model="wan3.0-video"),
    "wan3.0-refs": Spec(
        "a", refs=(PHOTO, SCENE), audio_url=SPEECH, model="wan3.0-video", ratio="9:16", no_audio=True,
        prompt_extend=False, watermark=True, seed=1,
    ),
    "wan3.0-sound": Spec(audio_url=SPEECH, model="wan3.0-video"),
    "happyhorse-t2v": Spec("a", model="happyhorse-1.0-t2v"),
    "happyhorse-t2v-full": Spec(
        "a", model="happyhorse-1.1-t2v", resolution="1080P", ratio="21:9", duration=3, watermark=True, seed=1
    ),
    "happyhorse-i2v": Spec(image=PHOTO, model="happyhorse-1.1-i2v"),
    "happyhorse-i2v-first-frame": Spec("a", first_frame=URL, duration=15, model="happyhorse-1.0-i2v"),
    "happyhorse-r2v": Spec("[Image 1] 微笑", refs=(PHOTO, PERSON), ratio="5:4", model="happyhorse-1.0-r2v"),
    "happyhorse-edit": Spec("a", video=SCENE, model="happyhorse-1.0-video-edit"),
    "happyhorse-edit-refs": Spec(
        "a", video=SCENE, refs=(PHOTO,), model="happyhorse-1.0-video-edit", resolution="1080P", audio_setting="auto",
        watermark=True, seed=1,
    ),
    # vace (reference 2.6): each function with the least it needs, every combination of inputs, and every parameter.
    "vace-image-reference": Spec("a", refs=(URL,), vace=Vace("image-reference")),
    "vace-image-reference-full": Spec(
        "女孩从森林深处走来", refs=(PERSON, URL, PERSON), size="720x1280", duration=5, prompt_extend=False,
        watermark=True, seed=0, vace=Vace("image-reference", ref_roles=("obj", "bg", "obj")), model="wan2.1-vace-plus",
    ),
    "vace-image-reference-ratio": Spec("a", refs=(URL,), ratio="9:16", vace=Vace("image-reference", ref_roles=("bg",))),
    "vace-repainting": Spec("a", video=SCENE, vace=Vace("repainting", control="depth")),
    "vace-repainting-full": Spec(
        "黑色蒸汽朋克风格的汽车", video=SCENE, refs=(PERSON,), prompt_extend=False, watermark=True, seed=1,
        vace=Vace("repainting", control="posebodyface", strength=0.5), model="wan2.1-vace-plus",
    ),
    "vace-edit": Spec("a", video=SCENE, mask=URL, vace=Vace("edit")),
    "vace-edit-full": Spec(
        "一只狮子在喝咖啡", video=SCENE, mask=PERSON, refs=(URL,), size="960*960", prompt_extend=False, watermark=True,
        seed=1, vace=Vace(
            "edit", mask_frame=7, control="posebodyface", mask_type="tracking", expand_ratio=0.0, expand_mode="bbox"
        ),
    ),
    "vace-edit-fixed": Spec("a", video=SCENE, mask=URL, vace=Vace("edit", mask_type="fixed")),
    "vace-edit-mask-video": Spec("a", video=SCENE, mask_video=SCENE, vace=Vace("edit", control="depth")),
    "vace-extension-first-frame": Spec("a", first_frame=PERSON, vace=Vace("extension")),
    "vace-extension-last-frame": Spec("a", last_frame=PERSON, vace=Vace("extension")),
    "vace-extension-first-clip": Spec("a", first_clip=SCENE, vace=Vace("extension")),
    "vace-extension-last-clip": Spec("a", last_clip=SCENE, vace=Vace("extension")),
    "vace-extension-full": Spec(
        "一只戴墨镜的狗在滑滑板", first_clip=SCENE, last_frame=URL, video=SCENE, duration=5, prompt_extend=False,
        watermark=True, seed=1, vace=Vace("extension", control="posebodyface"),
    ),
    "vace-extension-clips": Spec("a", first_clip=SCENE, last_clip=SCENE, vace=Vace("extension")),
    "vace-extension-frames": Spec("a", first_frame=URL, last_frame=PERSON, vace=Vace("extension")),
    "vace-outpainting": Spec("a", video=SCENE, vace=Vace("outpainting", left_scale=1.5)),
    "vace-outpainting-full": Spec(
        "海边的小提琴手", video=SCENE, prompt_extend=False, watermark=True, seed=1,
        vace=Vace("outpainting", top_scale=1.0, bottom_scale=1.25, left_scale=2.0, right_scale=1.5),
    ),
}  # fmt: skip


def shown(request: Request) -> str:
    """A request as the text of its golden file; a file's bytes are named, not held."""

    def name(leaf: Media) -> str:
        return f"data:{leaf.mime};base64,<{leaf.size} bytes of {leaf.path}>"

    fields = {"method": request.method, "url": request.url, "headers": request.headers, "body": request.body}
    return json.dumps(fields, ensure_ascii=False, indent=2, default=name) + "\n"


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_the_golden_one(name: str) -> None:
    spec = REQUESTS[name]
    model, warnings = select(spec)
    assert warnings == []
    text = shown(wire.create_request(spec, model))
    file = GOLDEN / f"{name}.json"
    if os.environ.get("RAWGENAI_TEST_UPDATE") == "1":
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def test_there_is_no_other_golden_file_but_of_other_tests() -> None:
    others = ("media-", "combinations-")  # of test_loading.py and test_combinations.py
    assert {file.stem for file in GOLDEN.iterdir() if not file.stem.startswith(others)} == set(REQUESTS)


@pytest.mark.parametrize("row", MODELS.values(), ids=MODELS)
def test_nothing_is_sent_that_the_model_does_not_know(row: Any) -> None:
    media: dict[str, Any] = {"i2v": {"image": URL}, "r2v": {"refs": (URL,)}, "kf2v": {"first_frame": URL}}
    media |= {"edit": {"video": SCENE}, "vace": {"refs": (URL,), "vace": Vace("image-reference")}}
    spec = Spec("a", resolution=row.resolutions[0], **media.get(row.mode, {}))
    body: Any = wire.create_request(spec, row).body
    classic = row.dialect != "media"
    known = {"watermark", "size" if row.mode in ("t2v", "r2v", "vace") and classic else "resolution"}
    known |= {"duration"} if row.mode != "kf2v" and row.durations else set()  # ruling 3
    known |= row.features & {"prompt_extend", "audio"}  # rulings 5 and 6: always said where it is known
    known |= set() if classic or not row.ratios or row.mode == "edit" else {"ratio"}  # an edit has its input's shape
    assert body["parameters"].keys() == known


def test_leaves_are_replaced_where_they_stand() -> None:
    spec = Spec("a", refs=(PHOTO, START, PHOTO))
    changed = with_media(spec, {PHOTO: "oss://photo"})
    assert changed.refs == ("oss://photo", START, "oss://photo")
    assert with_media(Spec("a", image=PHOTO), {PHOTO: URL}).image == URL
    assert with_media(Spec("a"), {PHOTO: URL}) == Spec("a")


def test_files_that_cannot_go_inline_are_uploaded_once_each() -> None:
    seven = 7 * 1024 * 1024
    small, large, clip = Media("a", "image/png", seven), Media("b", "image/png", seven + 1), Media("d", "video/mp4", 1)
    tiny = Media("c", "audio/wav", 1)

    def uploaded(spec: Spec, model: str = "wan2.6-t2v") -> list[Media]:
        return list(wire.to_upload(spec, MODELS[model]))

    assert uploaded(Spec(image=small)) == []
    assert uploaded(Spec(image=large)) == [large]
    assert uploaded(Spec(first_frame=small, last_frame=large)) == [large]
    assert uploaded(Spec("a", refs=(small, URL, small))) == [small]
    assert uploaded(Spec("a", audio_url=tiny)) == uploaded(Spec("a", refs=(tiny,))) == [tiny]
    # The media dialect takes an image inside the request wherever it stands (reference 2.4).
    assert uploaded(Spec("a", refs=(small, large, clip)), "wan2.7-r2v") == [large, clip]
    assert uploaded(Spec("a", refs=(small,), ref_voices=(tiny,)), "wan2.7-r2v") == [tiny]
    # vace takes links alone (reference 2.5).
    edit = Spec("a", video=clip, mask=small, refs=(large,), vace=Vace("edit"))
    assert set(uploaded(edit, "wanx2.1-vace-plus")) == {clip, small, large}
    assert uploaded(Spec(video=clip), "wan2.7-videoedit") == uploaded(Spec(first_clip=clip), "wan2.7-i2v") == [clip]


@pytest.mark.parametrize(
    ("task_id", "code"),
    [
        ("", "missing_task_id"),
        ("a" * 129, "invalid_task_id"),
        ("../keys", "invalid_task_id"),
        ("a/b", "invalid_task_id"),
        ("a?b", "invalid_task_id"),
        ("a b", "invalid_task_id"),
        ("a\n", "invalid_task_id"),
        ("任务", "invalid_task_id"),
        ("١", "invalid_task_id"),  # a digit, though not an ASCII one
    ],
)
def test_what_is_no_task_id_never_gets_into_a_url(task_id: str, code: str) -> None:
    with pytest.raises(RawgenaiError) as caught:
        wire.status_request(task_id)
    assert caught.value.code == code
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("task_id", ["0385dc79-5ff8-4d82-bcb6-7b2bbf2b1a24", "a" * 128, "-", "_", "A1"])
def test_a_task_id_becomes_part_of_a_url(task_id: str) -> None:
    assert wire.status_request(task_id) == Request("GET", f"tasks/{task_id}")


# --- uploads (reference section 5) -------------------------------------------------------------------------------

POLICY = {  # the sample of the API's page
    "policy": "p",
    "signature": "s",
    "upload_dir": "dashscope-instant/xxx/2024-07-18/xxx",
    "upload_host": "https://dashscope-file-xxx.oss-cn-beijing.aliyuncs.com",
    "expire_in_seconds": 300,
    "max_file_size_mb": 100,
    "capacity_limit_mb": 999999999,
    "oss_access_key_id": "k",
    "x_oss_object_acl": "private",
    "x_oss_forbid_overwrite": "true",
}


def said(document: Any, status: int = 200) -> Response:
    return Response(status, {}, json.dumps(document).encode())


def test_leave_to_upload_is_asked_for_the_model_of_the_later_call() -> None:
    request = wire.policy_request(MODELS["wan2.6-i2v"])
    assert request == Request("GET", "uploads?action=getPolicy&model=wan2.6-i2v")


@pytest.mark.parametrize(
    "data", [None, [], "x", {}, *({**POLICY, name: None} for name in POLICY if name[-1] not in "sb")]
)
def test_leave_to_upload_that_is_incomplete_is_the_servers_error(data: Any) -> None:
    assert code_of(wire.parse_policy, said({"data": data})) == "server_error"


@pytest.mark.parametrize(("limit", "megabytes"), [("50", 50), (None, 100), ("x", 100), (0, 100)])
def test_the_upload_limit_is_read_leniently(limit: Any, megabytes: int) -> None:
    policy = wire.parse_policy(said({"data": {**POLICY, "max_file_size_mb": limit}}))
    assert policy.max_bytes == megabytes * 1024 * 1024


# --- Response -> Task --------------------------------------------------------------------------------------------


def code_of(function: Callable[..., Any], *args: Any) -> str:
    with pytest.raises(RawgenaiError) as caught:
        function(*args)
    assert caught.value.code in CODES
    assert caught.value.message
    return caught.value.code


def task(status: str, usage: Any = None, **output: Any) -> Response:
    return said({"request_id": "r", "output": {"task_id": "t", "task_status": status, **output}, "usage": usage})


def test_a_created_task_is_pending_and_named() -> None:
    answer = said({"output": {"task_status": "PENDING", "task_id": "0385dc79"}, "request_id": "4909100c"})
    assert wire.parse_created(answer) == wire.Task(task_id="0385dc79", status="pending", request_id="4909100c")


@pytest.mark.parametrize("status", [None, "", 5, "NEW"])
def test_a_created_task_counts_whatever_its_status_says(status: Any) -> None:
    assert wire.parse_created(said({"output": {"task_id": "t", "task_status": status}})).status == "pending"


def test_a_task_beats_a_code_beside_it() -> None:
    assert wire.parse_created(said({"code": "X", "output": {"task_id": "t"}})).task_id == "t"


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [  # reference 3.2, ruling 12
        ("PENDING", "pending"),
        ("RUNNING", "running"),
        ("SUSPENDED", "pending"),
        ("SUCCEEDED", "succeeded"),
        ("FAILED", "failed"),
        ("CANCELED", "canceled"),
        ("CANCELLED", "canceled"),
        ("succeeded", "succeeded"),
        ("NEW_WORD", "running"),  # whatever it is, it is no end
    ],
)
def test_a_status_is_ours(theirs: str, ours: str) -> None:
    assert wire.parse_task(task(theirs), "t").status == ours


@pytest.mark.parametrize(
    "answer", [task("UNKNOWN"), task("unknown"), Response(404, {}), said({"code": "NotFound"}, 404)]
)
def test_an_unknown_task_is_not_found(answer: Response) -> None:
    with pytest.raises(RawgenaiError) as caught:
        wire.parse_task(answer, "t")
    assert (caught.value.code, caught.value.task_id) == ("task_not_found", "t")


USAGE: list[tuple[str, dict[str, Any], float | None, int | None]] = [  # reference 3.3, row by row
    (
        "wan2.6 t2v",
        {
            "duration": 10,
            "size": "1280*720",
            "input_video_duration": 0,
            "output_video_duration": 10,
            "video_count": 1,
            "SR": 720,
        },
        10,
        720,
    ),
    ("wan2.5 t2v and older", {"video_duration": 5, "video_ratio": "832*480", "video_count": 1}, 5, 480),
    (
        "wan2.6 i2v",
        {
            "duration": 10,
            "input_video_duration": 0,
            "output_video_duration": 10,
            "video_count": 1,
            "SR": 720,
            "audio": True,
        },
        10,
        720,
    ),
    ("wan2.5 and wan2.2 i2v", {"duration": 5, "SR": 720, "video_count": 1}, 5, 720),
    ("2.1 i2v, kf2v, vace", {"video_duration": 5, "video_ratio": "standard", "video_count": 1}, 5, None),
    ("wan2.2-kf2v-flash", {"video_duration": 5, "video_count": 1, "SR": 480}, 5, 480),
    ("wan2.2-kf2v-flash without SR", {"video_duration": 5, "video_count": 1}, 5, None),
    (
        "wan2.6 r2v",
        {
            "duration": 10.0,
            "size": "1280*720",
            "input_video_duration": 5,
            "output_video_duration": 5,
            "video_count": 1,
            "SR": 720,
        },
        5,
        720,
    ),
    ("wan2.7", {"duration": 5, "output_video_duration": 5, "SR": 1080, "ratio": "16:9"}, 5, 1080),
    (
        "videoedit",
        {
            "duration": 10.04,
            "input_video_duration": 5.02,
            "output_video_duration": 5.02,
            "video_count": 1,
            "SR": 720,
        },
        5.02,
        720,
    ),
    ("wan3.0", {"duration": 5, "output_video_duration": 5, "fps": 30, "SR": 720, "ratio": "16:9"}, 5, 720),
    ("s2v", {"duration": 10.23, "video_count": 1, "SR": 480, "size": "640*480", "fps": 16}, 10.23, 480),
    ("animate", {"video_duration": 5.2, "video_ratio": "standard"}, 5.2, None),
    ("strings, as the Java SDK has them", {"duration": "5", "SR": "720"}, 5, 720),
    ("a float as a string", {"duration": "5.5"}, 5.5, None),
    ("a size without SR", {"duration": 5, "size": "1440*1440"}, 5, 1080),
    ("a square of 480P", {"video_duration": 5, "video_ratio": "624*624"}, 5, 480),
    ("a size of no tier", {"duration": 5, "size": "1*1"}, 5, None),
    ("booleans are no numbers", {"duration": True, "SR": True}, None, None),
    ("nonsense", {"duration": [], "SR": {}, "size": [1], "video_ratio": 5}, None, None),
    ("words", {"duration": "five", "SR": "720P"}, None, None),
    ("out of bounds", {"duration": -1, "SR": 1e300}, None, None),
    ("zero", {"duration": 0, "SR": 0}, 0, 0),
    ("nothing", {}, None, None),
]


@pytest.mark.parametrize(("usage", "seconds", "tier"), [row[1:] for row in USAGE], ids=[row[0] for row in USAGE])
def test_a_usage_is_read(usage: dict[str, Any], seconds: float | None, tier: int | None) -> None:
    found = wire.parse_task(task("SUCCEEDED", usage), "t")
    assert (found.duration, found.resolution) == (seconds, tier)
    assert not isinstance(found.duration, float) or found.duration != int(found.duration)


@pytest.mark.parametrize("usage", [None, [], "x", 5])
def test_a_usage_that_is_none_is_left_out(usage: Any) -> None:
    found = wire.parse_task(task("SUCCEEDED", usage), "t")
    assert (found.duration, found.resolution) == (None, None)


def test_an_answer_with_an_infinite_length_is_no_json() -> None:
    body = b'{"output": {"task_id": "t", "task_status": "SUCCEEDED"}, "usage": {"duration": 1e999}}'
    with pytest.raises(RawgenaiError) as caught:
        wire.parse_task(Response(200, {}, body), "t")
    assert caught.value.code == "server_error"


def test_a_succeeded_task_has_its_clip_and_prompts() -> None:
    found = wire.parse_task(task("SUCCEEDED", video_url="https://x/v", orig_prompt="o", actual_prompt="a"), "t")
    assert (found.video_url, found.orig_prompt, found.actual_prompt) == ("https://x/v", "o", "a")
    assert wire.parse_task(task("SUCCEEDED", results={"video_url": "https://x/v"}), "t").video_url == "https://x/v"
    assert wire.parse_task(task("SUCCEEDED", results=[1], video_url=5), "t").video_url is None


def test_half_a_character_in_a_prompt_does_not_cost_the_clip() -> None:
    found = wire.parse_task(task("SUCCEEDED", video_url="https://x/v", orig_prompt="a\ud83d"), "t")
    assert (found.video_url, found.orig_prompt) == ("https://x/v", "a?")


def test_an_answer_may_begin_with_a_bom() -> None:
    assert wire.parse_created(Response(200, {}, b'\xef\xbb\xbf{"output":{"task_id":"t"}}')).task_id == "t"


LIES: dict[str, bytes] = {
    "nothing": b"",
    "a list": b"[]",
    "null": b"null",
    "a number": b"5",
    "a string": b'"output"',
    "html": b"<html><body>502</body></html>",
    "half": b'{"output":{"task_id":"t","task_st',
    "garbage behind": b'{"output":{"task_id":"t","task_status":"RUNNING"}} x',
    "no utf-8": b'{"output":{"task_id":"\xff","task_status":"RUNNING"}}',
    "utf-16": '{"output":{"task_id":"t","task_status":"RUNNING"}}'.encode("utf-16"),
    "NaN": b'{"output":{"task_id":"t","task_status":"RUNNING"},"usage":{"SR":NaN}}',
    "infinity": b'{"output":{"task_id":"t","task_status":"RUNNING"},"usage":{"SR":-Infinity}}',
    "a key twice": b'{"output":{"task_id":"t","task_id":"u","task_status":"RUNNING"}}',
    "no output": b"{}",
    "output null": b'{"output":null}',
    "output a list": b'{"output":[]}',
    "task_id a number": b'{"output":{"task_id":5,"task_status":5}}',
    "task_id empty": b'{"output":{"task_id":"","task_status":""}}',
    "task_id half a character": b'{"output":{"task_id":"\\ud800","task_status":"RUNNING"}}',
    "task_id a path": b'{"output":{"task_id":"../t","task_status":"RUNNING"}}',
    "another task": b'{"output":{"task_id":"t/","task_status":"RUNNING"}}',
    "deep": b"[" * 100_000,
    "deep objects": b'{"output":' * 100_000,
    "a long number": b'{"output":{"task_id":"t","task_status":"RUNNING"},"usage":{"SR":' + b"1" * 5000 + b"}}",
    "a code": b'{"code":"Gibberish","message":"no","request_id":"r"}',
}


@pytest.mark.parametrize("body", LIES.values(), ids=LIES)
def test_a_lying_answer_is_the_servers_error_and_leaves_the_outcome_unknown(body: bytes) -> None:
    with pytest.raises(RawgenaiError) as caught:
        wire.parse_created(Response(200, {}, body))
    assert (caught.value.code, caught.value.outcome, caught.value.status) == ("server_error", "unknown", 6)
    assert len(caught.value.message) < 400
    assert code_of(wire.parse_task, Response(200, {}, body), "t") == "server_error"
    assert code_of(wire.parse_policy, Response(200, {}, body)) == "server_error"


@pytest.mark.parametrize("body", LIES.values(), ids=LIES)
@pytest.mark.parametrize("status", [500, 502, 503, 302])
def test_a_lying_error_page_is_the_servers_error_too(status: int, body: bytes) -> None:
    assert code_of(wire.parse_created, Response(status, {}, body)) == "server_error"


def test_an_unknown_outcome_says_what_to_do_and_keeps_what_was_said() -> None:
    with pytest.raises(RawgenaiError) as caught:
        wire.parse_created(said({"code": "InternalError", "message": "An internal error", "request_id": "r"}, 500))
    error = caught.value
    assert (error.code, error.api_code, error.request_id, error.status) == ("server_error", "InternalError", "r", 6)
    assert "settle it with `rawgenai dashscope video recover` before you repeat this" in error.message
    assert "An internal error" in error.message


def test_what_a_server_says_is_cut_to_what_a_person_reads() -> None:
    with pytest.raises(RawgenaiError) as caught:
        wire.parse_created(said({"code": "InvalidParameter" + "x" * 5000, "message": "m" * 5000}, 400))
    assert len(caught.value.message) < 2100
    assert len(caught.value.api_code or "") < 2100


NAMES = [
    *("output", "usage", "code", "message", "error", "data", "task_id", "task_status", "request_id"),
    *("results", "video_url", "orig_prompt", "SR", "duration", "size"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), inner, max_size=6)
    ),
    max_leaves=12,
)


@settings(max_examples=150)
@given(JSON, st.sampled_from([200, 200, 200, 302, 400, 404, 408, 429, 500]))
def test_no_json_raises_anything_but_our_error(document: Any, status: int) -> None:
    answer = said(document, status)
    for parse in (wire.parse_created, wire.parse_policy, lambda response: wire.parse_task(response, "t")):
        try:
            found = parse(answer)
        except RawgenaiError as error:
            assert error.code in CODES  # noqa: PT017 - it may be raised, and nothing else
            error.message.encode()
        else:
            str(found).encode()  # nothing that a file or a terminal could not hold
    request = Request("GET", "tasks/t")
    assert wire.may_repeat(request, answer) in (True, False)


@settings(max_examples=100)
@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_but_our_error(body: bytes) -> None:
    for status in (200, 500):
        with pytest.raises(RawgenaiError):
            wire.parse_created(Response(status, {}, body))


# --- section 4.1 of the reference, row by row --------------------------------------------------------------------

# HTTP, codes, message or the beginning of it, ours, which requests are worth repeating. An empty code is none at all.
SECTION_4_1 = [
    (401, "InvalidApiKey|invalid_api_key", "Invalid API-key provided.", "invalid_api_key", "never"),
    (401, "InvalidApiKey", "No API-key provided.", "invalid_api_key", "never"),
    (401, "NOT AUTHORIZED", "Access denied: Either you are not authorized to access this", "invalid_api_key", "never"),
    (401, "", "invalid access token or token expired.", "invalid_api_key", "never"),
    (403, "AccessDenied", "current user api does not support synchronous calls.", "invalid_request", "never"),
    (403, "access_denied", "current user api does not support synchronous calls.", "invalid_request", "never"),
    (403, "AccessDenied", "Current user api does not support asynchronous calls.", "invalid_request", "never"),
    (429, "AccessDenied", "Current user api does not support asynchronous calls.", "invalid_request", "never"),
    (403, "AccessDenied|access_denied", "Access denied.", "access_denied", "never"),
    (403, "AccessDenied", "Invalid according to Policy: Policy expired.", "access_denied", "never"),
    (403, "AccessDenied.Unpurchased", "Access to model denied. Please make sure you are", "access_denied", "never"),
    (403, "Model.AccessDenied|App.AccessDenied", "Model access denied.", "access_denied", "never"),
    (403, "Workspace.AccessDenied", "Model access denied.", "access_denied", "never"),
    (403, "Endpoint.AccessDenied", "Workspace endpoint access denied.", "access_denied", "never"),
    (403, "AllocationQuota.FreeTierOnly", "The free tier of the model has been exhausted", "access_denied", "never"),
    (400, "Arrearage", "Access denied, please make sure your account is in good standing.", "access_denied", "never"),
    (400, "DataInspectionFailed|data_inspection_failed", "Input or output data may", "content_policy", "never"),
    (400, "IPInfringementSuspect", "Input data is suspected of being involved in IP", "content_policy", "never"),
    (400, "CustomRoleBlocked|FaqRuleBlocked", "Input or output data may contain", "content_policy", "never"),
    (400, "InvalidParameter", "... does not comply with green network verification.", "content_policy", "never"),
    (400, "InvalidParameter.DataInspection", "Unable to download the media resource", "invalid_request", "never"),
    (400, "InvalidParameter.DataInspection", "Download the media resource timed out", "invalid_request", "never"),
    (400, "InvalidParameter.DataInspection", "The media format is not supported", "invalid_request", "never"),
    (400, "InvalidParameter", "Field required: input.img_url", "invalid_request", "never"),
    (400, "InvalidParameter", "url error, please check url！", "invalid_request", "never"),
    (400, "InvalidParameter", "Failed to decode the image during the data inspection.", "invalid_request", "never"),
    (400, "InvalidParameter", "Model not exist.", "invalid_request", "never"),
    (400, "InvalidParameter", "The size is not match xxxxxx", "invalid_request", "never"),
    (400, "InvalidParameter", "Required body invalid", "invalid_request", "never"),
    (400, "InvalidParameter", "Don't have authorization to access the media resource", "invalid_request", "never"),
    (400, "InvalidParameter", "Failed to find the requested media resource", "invalid_request", "never"),
    (400, "InvalidParameter", "The image size is not supported for the data inspection.", "invalid_request", "never"),
    (400, "InvalidParameter", "ref_images_url and obj_or_bg must be the same length.", "invalid_request", "never"),
    (400, "InvalidURL|InvalidURL.ConnectionRefused", "Invalid URL provided", "invalid_request", "never"),
    (400, "InvalidURL", "The input audio is longer than xxs.", "invalid_request", "never"),
    (400, "InvalidURL.Timeout", "Download xxx timeout", "invalid_request", "never"),
    (400, "InvalidFile.Size|InvalidFile.Duration|InvalidFile.Resolution", "", "invalid_request", "never"),
    (400, "InvalidFile.AspectRatio|InvalidFile.Format|InvalidFile.FPS", "", "invalid_request", "never"),
    (400, "InvalidFile.Openerror|InvalidFile.NoHuman|InvalidFile.MultiHuman", "", "invalid_request", "never"),
    (400, "InvalidFile.FacePose|InvalidImage.FileFormat|InvalidImageResolution", "", "invalid_request", "never"),
    (400, "InvalidImageFormat", "", "invalid_request", "never"),
    (400, "BadRequest.EmptyInput|BadRequest.EmptyParameters|BadRequest.EmptyModel", "", "invalid_request", "never"),
    (400, "BadRequest.IllegalInput|BadRequest.InputDownloadFailed", "", "invalid_request", "never"),
    (400, "BadRequest.UnsupportedFileFormat|BadRequest.TooLarge", "", "invalid_request", "never"),
    (400, "BadRequest.ResourceNotExist", "", "invalid_request", "never"),
    (400, "UnsupportedOperation", "Failed to cancel the task, please confirm if the task", "invalid_request", "never"),
    (404, "ModelNotFound|model_not_found|Model.NotExist", "Model can not be found.", "invalid_request", "never"),
    (404, "WorkSpaceNotFound|NotFound", "Not found!", "invalid_request", "never"),
    (409, "Conflict", "", "invalid_request", "never"),
    (429, "Throttling", "Requests throttling triggered.", "rate_limit", "always"),
    (429, "Throttling.RateQuota|LimitRequests", "Requests rate limit exceeded, please try", "rate_limit", "always"),
    (429, "limit_requests|ResourceExhausted", "Requests rate limit exceeded, please try", "rate_limit", "always"),
    (429, "Throttling.BurstRate|limit_burst_rate", "Request rate increased too quickly", "rate_limit", "always"),
    (429, "Throttling.Concurrency", "Request rate increased too quickly", "rate_limit", "always"),
    (429, "Throttling.AllocationQuota|insufficient_quota", "Allocated quota exceeded", "rate_limit", "always"),
    # The same at HTTP 400; a POST is repeated on a 429 alone (design section 5).
    (400, "Throttling.AllocationQuota|insufficient_quota", "Allocated quota exceeded", "rate_limit", "GET"),
    (429, "Throttling.AllocationQuota|insufficient_quota", "Free allocated quota exceeded.", "access_denied", "never"),
    (429, "CommodityNotPurchased|PrepaidBillOverdue|PostpaidBillOverdue", "", "access_denied", "never"),
    (500, "InternalError|internal_error|InternalError.Algo", "An internal error has occured", "server_error", "GET"),
    (500, "InternalError.FileUpload|InternalError.Upload", "An internal error has occured", "server_error", "GET"),
    (500, "SystemError|ModelServiceFailed|RewriteFailed", "An internal error has occured", "server_error", "GET"),
    (500, "RequestTimeOut|ResponseTimeout", "An internal error has occured", "server_error", "GET"),
    (500, "InternalError.Timeout", "An internal timeout error has occured", "server_error", "GET"),
    (500, "ModelServingError", "Too many requests. Your requests are being throttled due to", "server_error", "GET"),
    (503, "ModelServingError", "Too many requests. Your requests are being throttled due to", "server_error", "GET"),
    (503, "ModelUnavailable|ServiceUnavailable", "", "server_error", "GET"),
    (504, "GatewayTimeout", "", "server_error", "GET"),
]
ANSWERS = [(http, code, *rest) for http, codes, *rest in SECTION_4_1 for code in codes.split("|")]
GET, POST = Request("GET", "uploads"), Request("POST", "services")


@pytest.mark.parametrize(("http", "code", "message", "ours", "repeat"), ANSWERS)
def test_an_error_of_the_api_is_ours(http: int, code: str, message: str, ours: str, repeat: str) -> None:
    answer = said({"code": code, "message": message, "request_id": "r"}, http)
    with pytest.raises(RawgenaiError) as caught:
        wire.parse_created(answer)
    error = caught.value
    assert (error.code, error.api_code, error.request_id) == (ours, code or None, "r")
    assert error.outcome == ("unknown" if http >= 500 else None)
    if code:  # it says the same whatever the HTTP status
        assert wire.error_code(200, code, message) == ours
    assert wire.may_repeat(GET, answer) is (repeat in ("GET", "always"))
    assert wire.may_repeat(POST, answer) is (repeat == "always")


@pytest.mark.parametrize(("http", "code", "message", "ours", "repeat"), ANSWERS)
def test_a_failed_task_has_the_code_of_its_reason(http: int, code: str, message: str, ours: str, repeat: str) -> None:
    failed = wire.parse_task(task("FAILED", code=code, message=message), "t")
    error = wire.failure(failed)
    # Ruling 13: video_failed where the reason maps to none of the three.
    mapped = ours if code and ours in ("content_policy", "invalid_request", "server_error") else "video_failed"
    assert (error.code, error.task_id, error.api_code, error.status) == (mapped, "t", code or None, 1)
    assert (failed.request_id, error.request_id) == ("r", "r")
    assert error.message


def test_a_code_of_an_openai_style_error_is_read_too() -> None:
    answer = said({"error": {"code": "invalid_api_key", "message": "no"}, "request_id": "r"}, 401)
    with pytest.raises(RawgenaiError) as caught:
        wire.parse_created(answer)
    assert (caught.value.code, caught.value.api_code, caught.value.message) == ("invalid_api_key",) * 2 + ("no",)


@pytest.mark.parametrize(
    ("http", "ours", "outcome"),
    [
        (100, "server_error", "unknown"),
        (204, "server_error", "unknown"),
        (301, "server_error", "unknown"),
        (307, "server_error", "unknown"),
        (400, "invalid_request", None),
        (401, "invalid_api_key", None),
        (403, "access_denied", None),
        (402, "invalid_request", None),
        (404, "invalid_request", None),
        (408, "timeout", "unknown"),
        (409, "invalid_request", None),
        (413, "invalid_request", None),
        (418, "invalid_request", None),
        (429, "rate_limit", None),
        (430, "invalid_request", None),
        (499, "invalid_request", None),
        (500, "server_error", "unknown"),
        (502, "server_error", "unknown"),
        (504, "timeout", "unknown"),
        (505, "server_error", "unknown"),
        (599, "server_error", "unknown"),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>", b'{"code":"Gibberish"}'])
def test_an_answer_that_says_nothing_known_is_judged_by_its_http_status(
    http: int, ours: str, outcome: str | None, body: bytes
) -> None:
    with pytest.raises(RawgenaiError) as caught:
        wire.parse_created(Response(http, {}, body))
    assert (caught.value.code, caught.value.outcome) == (ours, outcome)


# --- asking again (design section 5) -----------------------------------------------------------------------------

RATE = said({"code": "Throttling.RateQuota", "message": "Requests rate limit exceeded"}, 429)
BILL = said({"code": "PrepaidBillOverdue", "message": "overdue"}, 429)
FINE = said({"output": {"task_id": "t"}})


@pytest.mark.parametrize(
    ("outcome", "get", "post"),
    [
        (FINE, False, False),
        (Response(200, {}, b"<html>"), True, False),
        (Response(200, {}, b""), True, False),
        (Response(301, {}), True, False),
        (Response(400, {}), False, False),
        (Response(401, {}), False, False),
        (Response(403, {}), False, False),
        (Response(404, {}), False, False),
        (Response(408, {}), True, False),
        (RATE, True, True),
        (Response(429, {}), True, True),
        (BILL, False, False),
        (Response(500, {}), True, False),
        (Response(502, {}, b"<html>"), True, False),
        (Response(503, {}), True, False),
        (NotSent("connection_error", "refused"), True, True),
        (NotSent("timeout", "late"), True, True),
        (NotSent("connection_error", "certificate", passing=False), False, False),
        (Unknown("timeout", "late"), True, False),
        (Unknown("connection_error", "reset"), True, False),
    ],
)
def test_a_request_is_repeated_only_where_that_is_safe(
    outcome: Response | NotSent | Unknown, get: bool, post: bool
) -> None:
    assert wire.may_repeat(GET, outcome) is get
    assert wire.may_repeat(POST, outcome) is post


NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("-5", None),
        ("1e3", None),
        ("nan", None),
        ("inf", None),
        ("٧", None),
        ("9" * 9, 999999999.0),
        ("9" * 400, None),
        ("soon", None),
        (formatdate(NOW + 30, usegmt=True), 30.0),
        (formatdate(NOW - 30, usegmt=True), 0.0),
        ("Wed, 99 Oct 2026 07:28:00 GMT", None),
        ("Wed, 21 Oct 99999999999 07:28:00 GMT", None),
    ],
)
def test_retry_after_is_a_number_or_a_date_or_nothing(value: str | None, seconds: float | None) -> None:
    assert wire.retry_after({} if value is None else {"retry-after": value}, NOW) == seconds


@settings(max_examples=150)
@given(
    st.text(max_size=30)
    | st.from_regex(r"[A-Z][a-z]{2}, \d{1,3} [A-Z][a-z]{2} \d{1,6} \d{1,3}:\d\d:\d\d [A-Z0-9+-]{1,6}")
)
def test_no_retry_after_raises(text: str) -> None:
    asked = wire.retry_after({"retry-after": text}, NOW)
    assert asked is None or asked >= 0
