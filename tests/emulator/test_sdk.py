"""The official SDK as a client of the emulator: somebody else's idea of the API."""

import io
import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import pytest
from asking import QUARTERS, quartered, saved
from PIL import Image

from rawgenai.emulator.server import open_server

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

    def run(code: str, **names: str) -> list[dict[str, Any]]:
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
