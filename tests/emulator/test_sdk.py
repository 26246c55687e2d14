"""The official SDK as a client of the emulator: somebody else's idea of the API."""

import io
import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import pytest
from asking import QUARTERS, film, quartered, saved
from PIL import Image

from rawgenai.dashscope import roster, wire
from rawgenai.dashscope.spec import Spec, Vace
from rawgenai.emulator import server
from rawgenai.emulator.answers import Answer, Call
from rawgenai.emulator.server import open_server
from rawgenai.emulator.state import handle

pytestmark = pytest.mark.sdk

Run = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Run SDK calls in a process of their own, as the SDK keeps threads and sessions; each `show(x)` is returned."""
    server = open_server(folder=tmp_path / "state", environ={"RAWGENAI_EMULATOR_SECONDS": "0"})
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    environ = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    environ |= {"DASHSCOPE_HTTP_BASE_URL": server.base_url, "DASHSCOPE_API_KEY": "sk-sdk", "HOME": str(tmp_path)}
    start = "import json\nfrom dashscope import VideoSynthesis\ndef show(x): print(json.dumps(x, default=str))\n"

    def run(code: str, **names: Any) -> list[dict[str, Any]]:
        head = "".join(f"{name} = {value!r}\n" for name, value in names.items())
        done = subprocess.run(
            [sys.executable, "-c", start + head + code], env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    yield run
    server.shutdown()
    server.server_close()
    thread.join()


def test_text_to_video(run: Run) -> None:
    booked, asked, ended = run("""
task = VideoSynthesis.async_call(model="wan2.6-t2v", prompt="A kitten", size="1280*720", duration=2, shot_type="multi",
                                 prompt_extend=True, watermark=False, seed=0, negative_prompt="dogs")
show(task); show(VideoSynthesis.fetch(task)); show(VideoSynthesis.wait(task))
""")
    assert (booked["status_code"], booked["output"]["task_status"]) == (200, "PENDING")
    assert (asked["status_code"], asked["output"]["task_status"]) == (200, "PENDING")
    assert ended["output"]["task_status"] == "SUCCEEDED"
    assert ended["output"]["video_url"].startswith("http://127.0.0.1:")
    assert ended["usage"]["output_video_duration"] == 2


def test_image_to_video_with_a_url(run: Run) -> None:
    booked, ended = run("""
task = VideoSynthesis.async_call(model="wan2.6-i2v-flash", img_url="https://example.org/cat.png", resolution="720P",
                                 duration=2, audio=False)
show(task); show(VideoSynthesis.wait(task))
""")
    assert booked["status_code"] == 200, booked
    assert ended["output"]["task_status"] == "SUCCEEDED"
    assert ended["usage"]["audio"] is False


def test_image_to_video_with_a_local_file_which_the_sdk_uploads(run: Run, tmp_path: Path) -> None:
    image = tmp_path / "小猫 cat.png"
    data = saved(quartered(750, 1000)) + b"--\r\n\r\n" * 1000  # what follows the picture looks like a form's end
    image.write_bytes(data)
    booked, ended = run(
        """
task = VideoSynthesis.async_call(model="wan2.6-i2v-flash", prompt="it moves", img_url=url, duration=2)
show(task); show(VideoSynthesis.wait(task))
""",
        url=f"file://{image}",
    )
    assert booked["status_code"] == 200, booked
    assert ended["output"]["task_status"] == "SUCCEEDED"
    (kept,) = (tmp_path / "state" / "inputs" / booked["output"]["task_id"]).iterdir()
    assert kept.read_bytes() == data
    with (
        urllib.request.urlopen(ended["output"]["video_url"]) as answer,
        av.open(io.BytesIO(answer.read()), "r") as clip,
    ):
        first: Image.Image = next(clip.decode(video=0)).to_image()  # type: ignore[no-untyped-call]  # PyAV's gap
    assert first.size == (1232, 1648)  # 3:4 at 1080P
    places = [(0.25, 0.3), (0.75, 0.3), (0.25, 0.6), (0.75, 0.6)]
    colours = [first.getpixel((round(x * first.width), round(y * first.height))) for x, y in places]
    assert colours == [pytest.approx(colour, abs=14) for colour in QUARTERS]


def test_keyframes_to_video(run: Run) -> None:
    booked, ended = run("""
task = VideoSynthesis.async_call(model="wan2.2-kf2v-flash", prompt="from one to the other", resolution="480P",
                                 first_frame_url="https://example.org/a.png", last_frame_url="https://example.org/b.png")
show(task); show(VideoSynthesis.wait(task))
""")
    assert booked["status_code"] == 200, booked
    assert ended["usage"] == {"video_duration": 5, "video_count": 1, "SR": 480, "video_ratio": ""}  # the SDK's own


def test_reference_to_video(run: Run) -> None:
    booked, ended = run("""
task = VideoSynthesis.async_call(model="wan2.6-r2v-flash", prompt="character1 waves", size="1280*720", duration=2,
                                 reference_urls=["https://example.org/a.mp4", "https://example.org/b.png"])
show(task); show(VideoSynthesis.wait(task))
""")
    assert booked["status_code"] == 200, booked
    assert ended["usage"]["duration"] == 4.5


def test_cancel_and_list(run: Run) -> None:
    booked, canceled, asked, listed, again = run("""
task = VideoSynthesis.async_call(model="wan2.6-t2v", prompt="A kitten")
show(task); show(VideoSynthesis.cancel(task)); show(VideoSynthesis.fetch(task))
show(VideoSynthesis.list(model_name="wan2.6-t2v", status="CANCELED", page_size=5))
show(VideoSynthesis.cancel(task))
""")
    assert canceled["status_code"] == 200
    assert asked["output"]["task_status"] == "CANCELED"
    # The SDK shows the answer's body under `output` only as far as it has one, so it is looked for anywhere in it.
    assert booked["output"]["task_id"] in json.dumps(listed)
    assert (again["status_code"], again["code"]) == (400, "UnsupportedOperation")


def test_a_refusal_reaches_the_caller(run: Run) -> None:
    (refused,) = run("""
show(VideoSynthesis.async_call(model="wan2.6-t2v", prompt="A kitten", size="1*1"))
""")
    assert (refused["status_code"], refused["code"]) == (400, "InvalidParameter")


# --- the same request, said by the SDK and by us -------------------------------------------------------------------

IMAGE, OTHER = "https://example.com/a.png", "https://example.com/b.jpg"
VIDEO, SOUND = "https://example.com/a.mp4", "https://example.com/a.mp3"
FRAME = {"type": "first_frame", "url": IMAGE}
LAST = {"type": "last_frame", "url": OTHER}
SPEECH = {"type": "driving_audio", "url": SOUND}
PERSON = {"type": "reference_image", "url": IMAGE}
# What the SDK's own examples, and the API's pages by it, ask for -> the Spec that means the same.
SAME: dict[str, tuple[dict[str, Any], Spec]] = {
    "wan2.6-t2v": (
        {"prompt": "A kitten", "negative_prompt": "dogs", "audio_url": SOUND, "size": "1280*720", "duration": 10,
         "prompt_extend": True, "shot_type": "multi", "watermark": False, "seed": 12345},
        Spec("A kitten", negative="dogs", audio_url=SOUND, duration=10, shot_type="multi", seed=12345),
    ),
    "wan2.5-t2v-preview": (
        {"prompt": "A kitten", "size": "832*480", "duration": 10, "prompt_extend": True, "watermark": False},
        Spec("A kitten", resolution="480P", duration=10),
    ),
    "wan2.2-t2v-plus": (
        {"prompt": "A kitten", "size": "1080*1920", "duration": 5, "prompt_extend": False, "watermark": False},
        Spec("A kitten", resolution="1080P", ratio="9:16", prompt_extend=False),
    ),
    "wanx2.1-t2v-turbo": (
        {"prompt": "小猫", "size": "1280*720", "duration": 5, "prompt_extend": True, "watermark": False},
        Spec("小猫"),
    ),
    "wan2.1-t2v-plus": (
        {"prompt": "A kitten", "size": "960*960", "duration": 5, "prompt_extend": True, "watermark": True},
        Spec("A kitten", size="960x960", watermark=True),
    ),
    "wan2.6-i2v-flash": (
        {"prompt": "a", "img_url": IMAGE, "audio": False, "resolution": "720P", "duration": 10, "prompt_extend": True,
         "shot_type": "multi", "watermark": False},
        Spec("a", image=IMAGE, duration=10, shot_type="multi"),
    ),
    "wan2.6-i2v": (
        {"prompt": "rap", "img_url": IMAGE, "audio_url": SOUND, "resolution": "1080P", "duration": 10,
         "prompt_extend": True, "watermark": False, "negative_prompt": "", "seed": 12345},
        Spec("rap", image=IMAGE, audio_url=SOUND, resolution="1080P", duration=10, seed=12345),
    ),
    "wan2.5-i2v-preview": (
        {"prompt": "rap", "img_url": IMAGE, "audio_url": SOUND, "resolution": "480P", "duration": 10,
         "prompt_extend": True, "watermark": False},
        Spec("rap", image=IMAGE, audio_url=SOUND, resolution="480P", duration=10),
    ),
    "wan2.2-i2v-plus": (
        {"prompt": "a", "img_url": IMAGE, "resolution": "1080P", "duration": 5, "prompt_extend": True,
         "watermark": False},
        Spec("a", image=IMAGE, resolution="1080P"),
    ),
    "wanx2.1-i2v-turbo": (
        {"prompt": "a", "img_url": IMAGE, "resolution": "720P", "duration": 3, "prompt_extend": True,
         "watermark": False},
        Spec("a", image=IMAGE, duration=3),
    ),
    "wan2.6-r2v-flash": (
        {"prompt": "character1 greets character2", "reference_urls": [IMAGE, VIDEO], "size": "1280*720", "duration": 10,
         "shot_type": "multi", "audio": False, "watermark": True},
        Spec("character1 greets character2", refs=(IMAGE, VIDEO), duration=10, shot_type="multi", no_audio=True,
             watermark=True),
    ),
    "wan2.6-r2v": (
        {"prompt": "character1 dances", "reference_urls": [VIDEO], "size": "720*1280", "duration": 5,
         "watermark": False, "seed": 0},
        Spec("character1 dances", refs=(VIDEO,), ratio="9:16", seed=0),
    ),
    "wan2.2-kf2v-flash": (
        {"prompt": "a", "first_frame_url": IMAGE, "last_frame_url": OTHER, "resolution": "720P", "prompt_extend": True,
         "watermark": False},
        Spec("a", first_frame=IMAGE, last_frame=OTHER),
    ),
    "wanx2.1-kf2v-plus": (
        {"prompt": "a", "first_frame_url": IMAGE, "last_frame_url": OTHER, "negative_prompt": "b",
         "resolution": "720P", "prompt_extend": False, "watermark": False},
        Spec("a", first_frame=IMAGE, last_frame=OTHER, negative="b", prompt_extend=False),
    ),
    "wan2.7-t2v": (
        {"prompt": "A kitten", "negative_prompt": "dogs", "audio_url": SOUND, "resolution": "720P", "ratio": "16:9",
         "duration": 10, "prompt_extend": True, "watermark": False, "seed": 12345},
        Spec("A kitten", negative="dogs", audio_url=SOUND, duration=10, seed=12345),
    ),
    "wan2.7-i2v": (
        {"prompt": "小猫", "media": [FRAME], "resolution": "720P", "duration": 5, "prompt_extend": True,
         "watermark": False},
        Spec("小猫", image=IMAGE),
    ),
    "wan2.7-i2v with a sound": (
        {"prompt": "rap", "media": [FRAME, SPEECH], "resolution": "720P", "duration": 10, "prompt_extend": True,
         "watermark": False},
        Spec("rap", image=IMAGE, audio_url=SOUND, duration=10),
    ),
    "wan2.7-i2v with frames": (
        {"prompt": "a", "media": [FRAME, LAST], "resolution": "1080P", "duration": 10, "prompt_extend": True,
         "watermark": False},
        Spec("a", first_frame=IMAGE, last_frame=OTHER, resolution="1080P", duration=10),
    ),
    "wan2.7-i2v with frames and a sound": (
        {"prompt": "a", "media": [FRAME, LAST, SPEECH], "resolution": "720P", "duration": 5, "prompt_extend": True,
         "watermark": False},
        Spec("a", first_frame=IMAGE, last_frame=OTHER, audio_url=SOUND),
    ),
    "wan2.7-i2v going on": (
        {"prompt": "a", "media": [{"type": "first_clip", "url": VIDEO}], "resolution": "720P", "duration": 15,
         "prompt_extend": True, "watermark": False},
        Spec("a", first_clip=VIDEO, duration=15),
    ),
    "wan2.7-i2v going on to a frame": (
        {"prompt": "a", "media": [{"type": "first_clip", "url": VIDEO}, LAST], "resolution": "720P", "duration": 15,
         "prompt_extend": True, "watermark": False},
        Spec("a", first_clip=VIDEO, last_frame=OTHER, duration=15),
    ),
    "wan2.7-r2v": (
        {"prompt": "Video 1 greets Image 1", "media": [
            {**PERSON, "reference_voice": SOUND}, {"type": "reference_video", "url": VIDEO}],
         "resolution": "720P", "ratio": "16:9", "duration": 10, "prompt_extend": False, "watermark": True},
        Spec("Video 1 greets Image 1", refs=(IMAGE, VIDEO), ref_voices=(SOUND,), duration=10, prompt_extend=False,
             watermark=True),
    ),
    "wan2.7-r2v of a video": (
        {"prompt": "Video 1 sings", "media": [{"type": "reference_video", "url": VIDEO}], "resolution": "1080P",
         "ratio": "9:16", "duration": 10, "prompt_extend": False, "watermark": False},
        Spec("Video 1 sings", refs=(VIDEO,), resolution="1080P", ratio="9:16", duration=10, prompt_extend=False),
    ),
    "wan2.7-r2v with a first frame": (
        {"prompt": "a", "media": [FRAME, {**PERSON, "url": OTHER}], "resolution": "720P", "duration": 10,
         "prompt_extend": True, "watermark": False},
        Spec("a", refs=(OTHER,), first_frame=IMAGE, duration=10),
    ),
    "wan2.7-videoedit": (
        {"prompt": "黏土风格", "media": [{"type": "video", "url": VIDEO}], "resolution": "720P", "duration": 0,
         "prompt_extend": True, "watermark": True},
        Spec("黏土风格", video=VIDEO, watermark=True),
    ),
    "wan2.7-videoedit with a reference": (
        {"prompt": "a", "media": [{"type": "video", "url": VIDEO}, PERSON], "resolution": "1080P", "ratio": "9:16",
         "duration": 5, "audio_setting": "origin", "prompt_extend": True, "watermark": False, "seed": 1},
        Spec("a", video=VIDEO, refs=(IMAGE,), resolution="1080P", ratio="9:16", duration=5, audio_setting="origin",
             seed=1),
    ),
    "wan3.0-video": (
        {"prompt": "a", "resolution": "720P", "ratio": "adaptive", "duration": -1, "prompt_extend": True,
         "watermark": False},
        Spec("a", duration=-1),
    ),
    "wan3.0-video with references": (
        {"prompt": "a", "media": [PERSON, {"type": "reference_video", "url": VIDEO},
                                  {"type": "reference_audio", "url": SOUND}],
         "resolution": "720P", "ratio": "9:16", "duration": 5, "audio": False, "prompt_extend": True,
         "watermark": False},
        Spec("a", refs=(IMAGE, VIDEO), audio_url=SOUND, ratio="9:16", no_audio=True),
    ),
    "wan3.0-video with a first frame": (
        {"media": [FRAME], "resolution": "480P", "ratio": "adaptive", "duration": 30, "prompt_extend": True,
         "watermark": False},
        Spec(image=IMAGE, resolution="480P", duration=30),
    ),
    "wan3.0-video with sounds": (
        {"prompt": "a", "media": [{"type": "reference_audio", "url": SOUND}] * 2, "resolution": "720P",
         "ratio": "adaptive", "duration": 5, "prompt_extend": True, "watermark": False},
        Spec("a", refs=(SOUND,), audio_url=SOUND),
    ),
    "wan3.0-video-prime with frames": (
        {"prompt": "a", "media": [FRAME, LAST], "resolution": "1080P", "ratio": "adaptive", "duration": 5,
         "prompt_extend": True, "watermark": False},
        Spec("a", first_frame=IMAGE, last_frame=OTHER, resolution="1080P"),
    ),
    "happyhorse-1.0-t2v": (
        {"prompt": "a", "resolution": "720P", "ratio": "16:9", "duration": 5, "watermark": False},
        Spec("a"),
    ),
    "happyhorse-1.1-i2v": (
        {"prompt": "a", "media": [FRAME], "resolution": "720P", "duration": 5, "watermark": False},
        Spec("a", first_frame=IMAGE),
    ),
    "happyhorse-1.1-r2v": (
        {"prompt": "[Image 1] waves", "media": [PERSON, {**PERSON, "url": OTHER}], "resolution": "720P",
         "ratio": "16:9", "duration": 5, "watermark": True, "seed": 7},
        Spec("[Image 1] waves", refs=(IMAGE, OTHER), watermark=True, seed=7),
    ),
    "happyhorse-1.0-video-edit of a video alone": (
        {"prompt": "a", "media": [{"type": "video", "url": VIDEO}], "resolution": "1080P", "watermark": False,
         "seed": 7},
        Spec("a", video=VIDEO, resolution="1080P", seed=7),
    ),
    "happyhorse-1.0-video-edit": (
        {"prompt": "a", "media": [{"type": "video", "url": VIDEO}, PERSON], "resolution": "720P",
         "audio_setting": "origin", "watermark": False},
        Spec("a", video=VIDEO, refs=(IMAGE,), audio_setting="origin"),
    ),
    # vace: the SDK has no words for its inputs and none for its functions, so they go in as they are.
    "wanx2.1-vace-plus image_reference": (
        {"prompt": "a", "extra_input": {"function": "image_reference", "ref_images_url": [IMAGE, OTHER]},
         "obj_or_bg": ["obj", "bg"], "size": "1280*720", "duration": 5, "prompt_extend": True, "watermark": False},
        Spec("a", refs=(IMAGE, OTHER), vace=Vace("image-reference", ref_roles=("obj", "bg"))),
    ),
    "wanx2.1-vace-plus video_repainting": (
        {"prompt": "黑色蒸汽朋克风格的汽车", "extra_input": {"function": "video_repainting", "video_url": VIDEO,
                                                     "ref_images_url": [IMAGE]},
         "control_condition": "depth", "strength": 0.8, "prompt_extend": False, "watermark": False},
        Spec("黑色蒸汽朋克风格的汽车", video=VIDEO, refs=(IMAGE,), prompt_extend=False,
             vace=Vace("repainting", control="depth", strength=0.8)),
    ),
    "wan2.1-vace-plus video_edit": (
        {"prompt": "a", "extra_input": {"function": "video_edit", "video_url": VIDEO, "mask_image_url": IMAGE,
                                        "mask_frame_id": 1},
         "mask_type": "tracking", "expand_ratio": 0.05, "prompt_extend": False, "watermark": False, "seed": 7},
        Spec("a", video=VIDEO, mask=IMAGE, prompt_extend=False, seed=7,
             vace=Vace("edit", mask_type="tracking", expand_ratio=0.05)),
    ),
    "wanx2.1-vace-plus video_edit with a mask video": (
        {"prompt": "a", "extra_input": {"function": "video_edit", "video_url": VIDEO, "mask_video_url": VIDEO},
         "control_condition": "posebodyface", "size": "720*1280", "prompt_extend": True, "watermark": True},
        Spec("a", video=VIDEO, mask_video=VIDEO, size="720*1280", watermark=True,
             vace=Vace("edit", control="posebodyface")),
    ),
    "wan2.1-vace-plus video_extension": (
        {"prompt": "a", "extra_input": {"function": "video_extension", "first_clip_url": VIDEO},
         "duration": 5, "prompt_extend": False, "watermark": False},
        Spec("a", first_clip=VIDEO, prompt_extend=False, vace=Vace("extension")),
    ),
    "wanx2.1-vace-plus video_extension by a video's movement": (
        {"prompt": "a", "first_frame_url": IMAGE, "last_frame_url": OTHER,  # for these two it has words
         "extra_input": {"function": "video_extension", "video_url": VIDEO},
         "control_condition": "posebodyface", "duration": 5, "prompt_extend": True, "watermark": False},
        Spec("a", first_frame=IMAGE, last_frame=OTHER, video=VIDEO, vace=Vace("extension", control="posebodyface")),
    ),
    "wanx2.1-vace-plus video_outpainting": (
        {"prompt": "a", "extra_input": {"function": "video_outpainting", "video_url": VIDEO},
         "top_scale": 1.5, "bottom_scale": 1.5, "left_scale": 1.5, "right_scale": 1.5, "prompt_extend": False,
         "watermark": False},
        Spec("a", video=VIDEO, prompt_extend=False, vace=Vace("outpainting",
             top_scale=1.5, bottom_scale=1.5, left_scale=1.5, right_scale=1.5)),
    ),
}  # fmt: skip
# What the SDK says besides, in every request for a video, and the API takes no notice of; where there is a function of
# vace, that is said instead. A prompt that is not given is null.
BESIDES = {"prompt": None, "extend_prompt": True, "function": "video-synthesis"}


@pytest.fixture
def bodies(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was asked of the emulator's socket, in order: the bodies of the requests that create tasks."""
    found: list[Any] = []

    def recording(call: Call, *more: Any, **how: Any) -> Answer:
        if call.target.endswith("/video-synthesis"):
            found.append(json.loads(call.body))
        return handle(call, *more, **how)

    monkeypatch.setattr(server, "handle", recording)
    return found


def test_a_request_of_the_sdk_is_ours(bodies: list[Any], run: Run) -> None:
    """All in one process of the SDK, whose import takes a second."""
    asked = {name: {"model": name.partition(" ")[0], **call} for name, (call, _) in SAME.items()}
    booked = run("for call in calls.values(): show(VideoSynthesis.async_call(**call))", calls=asked)
    assert [answer["status_code"] for answer in booked] == [200] * len(SAME), booked
    assert len(bodies) == len(SAME)
    for (name, (_, spec)), theirs in zip(SAME.items(), bodies, strict=True):
        row, warnings = roster.select(replace(spec, model=name.partition(" ")[0]))
        assert warnings == []
        ours: Any = wire.create_request(spec, row).body
        assert {**ours, "input": BESIDES | ours["input"]} == theirs, name


def test_the_sdk_takes_a_function_among_the_extra_inputs_alone(run: Run) -> None:
    (said,) = run("""
try:
    VideoSynthesis.async_call(model="wanx2.1-vace-plus", prompt="a", function="video_outpainting")
except TypeError as error:
    show(str(error))
""")
    assert "function" in said


def test_local_media_of_the_new_families_which_the_sdk_uploads(bodies: list[Any], run: Run, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(film(3, image=quartered(320, 240)))
    (tmp_path / "cat.png").write_bytes(saved(quartered(320, 240)))
    booked, ended = run(
        """
media = [{"type": "video", "url": video}, {"type": "reference_image", "url": image}]
task = VideoSynthesis.async_call(model="wan2.7-videoedit", prompt="as clay", media=media, resolution="720P")
show(task); show(VideoSynthesis.wait(task))
""",
        video=f"file://{tmp_path / 'clip.mp4'}",
        image=f"file://{tmp_path / 'cat.png'}",
    )
    assert booked["status_code"] == 200, booked
    assert [piece["url"].partition("://")[0] for piece in bodies[0]["input"]["media"]] == ["oss", "oss"]
    assert ended["usage"]["input_video_duration"] == ended["usage"]["output_video_duration"] == 3.0
    assert ended["usage"]["duration"] == 6.0
