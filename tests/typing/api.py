"""Never run: mypy reads it, and what users write must type-check as it stands here."""

from typing import assert_type

from rawgenai.dashscope import RawgenaiError, Spec, Task, create, download, status


def clip(prompt: str) -> str:
    try:
        task = create(Spec(prompt, duration=10, ratio="9:16"))
        assert_type(task, Task)
        assert_type(status(task.task_id).video_url, str | None)
        return download(task.task_id, "clip.mp4")
    except RawgenaiError as error:
        assert_type(error.status, int)
        assert_type(error.task_id, str | None)
        raise


Spec("A", seconds=5)  # type: ignore[call-arg]  # no such field
Spec("A", "a.txt")  # type: ignore[call-arg]  # everything but the prompt goes by name
create("A")  # type: ignore[arg-type]  # a Spec, not a prompt
