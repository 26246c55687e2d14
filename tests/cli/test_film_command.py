"""The command `film`, and --continue: what is said of a film, what is shown of it beforehand, what it may cost."""

import json
from pathlib import Path
from typing import Any

import pytest
from invoking import Result, invoke

from footage import make, marks
from rawgenai.dashscope import generation
from rawgenai.emulator import render

SIZE = (640, 360)
FRAMES = 8
FILM = ("dashscope", "video", "film")
KITTEN = {"prompt": "月光下奔跑的小猫", "duration": 2}
ON = {"prompt": "它跳上窗台", "duration": 2, "audio": True}
CUT = {"prompt": "The garden", "duration": 2, "continue": False}


@pytest.fixture(autouse=True)
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The prompts whose clips the emulator has drawn."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DASHSCOPE_BASE_URL", "emulator")
    monkeypatch.setenv("RAWGENAI_EMULATOR_SECONDS", "0")
    prompts: list[str] = []

    def draw(file: Path, *, prompt: str, **_: Any) -> None:
        prompts.append(prompt)
        make(file, mark=len(prompts), frames=FRAMES, size=SIZE)

    monkeypatch.setattr(render, "draw", draw)
    return prompts


def lines(*shots: dict[str, Any]) -> bytes:
    return "".join(json.dumps(shot, ensure_ascii=False) + "\n" for shot in shots).encode()


def film(*argv: str, shots: tuple[dict[str, Any], ...] = (KITTEN, ON, CUT)) -> Result:
    Path("shots.jsonl").write_bytes(lines(*shots))
    return invoke(*FILM, "shots.jsonl", "-o", "film.mp4", "--poll-interval", "0", *argv)


def test_a_films_envelope_names_the_film_and_each_shot(tmp_path: Path) -> None:
    result = film("-q")
    assert (result.status, result.err, result.out.count("\n")) == (0, "", 1)
    shots = result.envelope["shots"]
    assert result.envelope == {
        "success": True, "file": str(tmp_path / "film.mp4"), "seconds": pytest.approx(0.8), "picture": "copied",
        "sound": "copied", "shots": shots,
    }  # fmt: skip
    for shot in shots:
        file = str(tmp_path / "film.clips" / f"{shot['task_id']}.mp4")
        assert shot == {
            "task_id": shot["task_id"], "status": "succeeded", "file": file, "duration": 2, "resolution": 720,
        }  # fmt: skip
    assert marks("film.mp4", SIZE) == [(shot, frame) for shot in (1, 2, 3) for frame in range(FRAMES)]


@pytest.mark.slow
def test_the_same_command_again_says_what_was_there(drawn: list[str]) -> None:
    first, again = film(), film()
    assert [shot["cached"] for shot in again.envelope["shots"]] == [True] * 3
    assert len(drawn) == 3
    named = [f"{shot['task_id']}.mp4 is there already" for shot in first.envelope["shots"]]
    said = [line for number, name in enumerate(named, 1) for line in (f"shot {number} of 3", name)]
    assert again.err.splitlines()[1:] == said


@pytest.mark.slow
def test_a_log_says_what_it_costs_and_how_each_shot_comes_along() -> None:
    said = film().err.splitlines()
    assert said[0].startswith("3 shots, if none is there yet: 6 s are billed, 3 CNY by the list (beijing assumed,")
    assert [line for line in said if line.startswith("shot")] == [f"shot {number} of 3" for number in (1, 2, 3)]
    assert sum(": succeeded after" in line for line in said) == 3


def test_a_warning_names_its_line() -> None:
    said = film(shots=(KITTEN, {"prompt": "b" * 1501, "duration": 2})).err.splitlines()
    assert [line for line in said if line.startswith("warning")] == [
        "warning: line 2: the prompt has 1501 characters; wan2.6-i2v-flash reads the first 1500"
    ]


def test_verbose_shows_the_urls_and_prompts() -> None:
    shots = film("-v").envelope["shots"]
    assert [shot["orig_prompt"] for shot in shots] == [one["prompt"] for one in (KITTEN, ON, CUT)]
    assert all("video_url" in shot for shot in shots)


def test_the_lines_may_come_from_a_pipe() -> None:
    result = invoke(*FILM, "-", "-o", "film.mp4", "--poll-interval", "0", stdin=lines(KITTEN))
    assert len(result.envelope["shots"]) == 1


def test_a_film_of_one_shot_is_told_in_the_singular() -> None:
    assert film(shots=(KITTEN,)).err.startswith("1 shot, if it is not there yet: 2 s are billed")


def test_clips_go_where_they_are_told() -> None:
    assert {Path(shot["file"]).parent.name for shot in film("--clips", "here").envelope["shots"]} == {"here"}


# --- beforehand -------------------------------------------------------------------------------------------------------


def test_a_dry_run_prints_every_request_and_names_the_frames_that_are_not_there_yet(tmp_path: Path) -> None:
    result = film("--dry-run")
    made = result.envelope
    inputs = [shot["request"]["body"]["input"] for shot in made["shots"]]
    assert [given.get("img_url") for given in inputs] == [
        None, "data:image/png;base64,(the last frame of line 1)", None,
    ]  # fmt: skip
    assert (made["dry_run"], made["billed_seconds"], made["list_price"]["amount"]) == (True, 6, 3.0)
    assert [shot["billed_seconds"] for shot in made["shots"]] == [2, 2, 2]
    assert not (tmp_path / "film.clips").exists()
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("flags", [("-o", "film.mov"), ("--audio", "missing.wav")])
def test_an_objection_comes_before_the_bill(flags: tuple[str, str]) -> None:
    assert len(film(*flags).err.splitlines()) == 1


def test_a_dry_run_warns_of_each_line() -> None:
    assert film("--dry-run", shots=(KITTEN, {"prompt": "b" * 1501})).err.startswith("warning: line 2: the prompt has")


@pytest.mark.parametrize(("flags", "code"), [
    (("--max-seconds", "5.9"), "over_budget"),
    (("--max-cost", "2.99"), "over_budget"),
    (("--crossfade", "61"), "invalid_usage"),
    (("--crossfade", "soon"), "invalid_usage"),
    (("--audio", "missing.wav"), "file_not_found"),
    (("-o", "film.mov"), "invalid_format"),
    (("-o", "missing/film.mp4"), "output_write_error"),
    (("--clips", "shots.jsonl"), "output_write_error"),
])  # fmt: skip
@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_what_is_wrong_is_refused_before_anything_is_sent_or_said_of_paying(
    flags: tuple[str, ...], code: str, dry: tuple[str, ...], tmp_path: Path
) -> None:
    result = film(*flags, *dry)
    assert (result.code, result.status, result.out, result.err.count("\n")) == (code, 2, "", 1)
    assert {path.name for path in tmp_path.iterdir()} == {"home", "shots.jsonl"}


def test_every_line_is_judged_by_the_region_before_the_first_is_sent(tmp_path: Path) -> None:
    result = film("--region", "virginia", shots=({"prompt": "A", "model": "wan2.6-t2v-us"}, KITTEN))
    assert (result.code, result.status) == ("invalid_model", 2)
    assert result.envelope["error"]["message"].startswith("line 2: ")
    assert not (tmp_path / "state" / "rawgenai" / "emulator").exists()
    assert film("--region", "singapore", "--dry-run").envelope["list_price"]["region"] == "singapore"


def test_within_its_budget_a_film_is_made() -> None:
    assert film("--max-seconds", "6", "--max-cost", "3").status == 0


@pytest.mark.parametrize(("shots", "code", "said"), [
    (b'{"prompt": "A"}\n{"promt": "B"}\n', "invalid_usage", "line 2: the unknown field 'promt'"),
    (b'{"prompt": "A"}\nA kitten\n', "invalid_usage", "line 2: it is not JSON"),
    (b'{"prompt": "A"}\n{"prompt": "B", "duration": 99}\n', "invalid_duration", "line 2: --duration 99"),
    (b'{"prompt": "A"}\n\n{"prompt": "B", "duration": 99}\n', "invalid_duration", "line 3: --duration 99"),
    (b'[\n  {"prompt": "A"}\n]\n', "invalid_usage", "line 1: it is not JSON"),
    (b"", "invalid_usage", "a film has one shot or more"),
])  # fmt: skip
def test_a_wrong_line_is_named(shots: bytes, code: str, said: str) -> None:
    result = invoke(*FILM, "-", "-o", "film.mp4", stdin=shots)
    assert (result.code, result.status) == (code, 2)
    assert result.envelope["error"]["message"].startswith(said)


def test_lines_that_are_not_there_are_not_found() -> None:
    assert invoke(*FILM, "missing.jsonl", "-o", "film.mp4").code == "file_not_found"


def test_a_film_needs_a_place() -> None:
    assert invoke(*FILM, "-", stdin=lines(KITTEN)).code == "missing_output"


# --- on the way -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_shot_that_fails_ends_with_its_own_envelope_and_the_others_are_kept(drawn: list[str]) -> None:
    bad = {"prompt": "emulator:fail=DataInspectionFailed"}
    result = film("-q", shots=(KITTEN, bad, CUT))
    error = result.envelope["error"]
    assert (result.code, result.status, error["api_code"]) == ("content_policy", 1, "DataInspectionFailed")
    assert error["message"].startswith("line 2: ")
    assert "task_id" in error
    assert film("-q", shots=(KITTEN, ON, CUT)).envelope["shots"][0]["cached"] is True
    assert drawn == [one["prompt"] for one in (KITTEN, ON, CUT)]


def test_ctrl_c_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(generation, "generate", interrupted)
    result = film("-q")
    assert (result.status, result.out) == (130, "")
    assert result.err.splitlines()[-2].startswith("the same command goes on where this one stopped")


# --- one clip from another --------------------------------------------------------------------------------------------


def test_continue_begins_with_a_clips_last_frame_and_the_same_again_is_there(drawn: list[str]) -> None:
    make(Path("early.mp4"), mark=30, frames=FRAMES, size=SIZE)
    command = ("dashscope", "video", "generate", "它跳上窗台", "--continue", "early.mp4", "--poll-interval", "0", "-q")
    first, again = (invoke(*command, "-o", "on.mp4").envelope for _ in range(2))
    assert (first.get("cached"), again["cached"], again["task_id"]) == (None, True, first["task_id"])
    shown = invoke(*command, "--dry-run").envelope["request"]["body"]
    assert shown["model"] == "wan2.6-i2v-flash"
    assert shown["input"]["img_url"].startswith("data:image/png;base64,(")
    assert len(drawn) == 1


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_a_clip_that_is_gone_on_from_is_no_place_for_the_next_one(dry: tuple[str, ...], drawn: list[str]) -> None:
    before = Path(make(Path("early.mp4"), frames=FRAMES, size=SIZE)).read_bytes()
    result = invoke("dashscope", "video", "generate", "A", "--continue", "early.mp4", "-o", "./early.mp4", *dry)
    assert (result.code, result.status) == ("invalid_usage", 2)
    assert "--output './early.mp4' is an input, 'early.mp4'" in result.envelope["error"]["message"]
    assert (Path("early.mp4").read_bytes() == before, drawn) == (True, [])


@pytest.mark.parametrize(("flags", "code", "said"), [
    (("--image", "a.png"), "conflicting_input_flags", "--continue and --image cannot be used together: each says how"),
    (("--first-frame", "a.png"), "conflicting_input_flags", "--continue and --first-frame cannot be used together"),
    (("--ref", "a.png"), "conflicting_input_flags", "--continue and --ref cannot be used together"),
    (("--model", "wan2.6-t2v"), "invalid_model", "--model wan2.6-t2v is for t2v; these inputs mean i2v"),
    (("--request", "r.json"), "invalid_usage", "--request says all that is asked for; --continue cannot"),
    ((), "file_not_found", "the clip 'missing.mp4' does not exist"),
])  # fmt: skip
def test_continue_is_refused_beside_what_begins_too(flags: tuple[str, ...], code: str, said: str) -> None:
    result = invoke("dashscope", "video", "generate", "--continue", "missing.mp4", *flags)
    assert (result.code, result.status) == (code, 2)
    assert result.envelope["error"]["message"].startswith(said)
