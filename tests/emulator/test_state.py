"""What the emulator answers, call by call, without a socket."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from asking import (
    CLIP,
    FORM_TYPE,
    KEY,
    NOW,
    RESOLVE,
    TEXT,
    ask,
    book,
    create,
    form,
    local,
    look,
    quartered,
    said,
    saved,
    text,
    upload_fields,
    watched,
)
from fastcrc import crc64

from rawgenai.dashscope.models import MODELS, SIZES
from rawgenai.emulator.answers import ERRORS, Answer
from rawgenai.emulator.faults import FAULTS, read_faults, usage
from rawgenai.emulator.series import USAGE
from rawgenai.emulator.state import speed
from rawgenai.emulator.store import Store
from rawgenai.emulator.uploads import FORM_CAP
from rawgenai.errors import RawgenaiError

LINK = "https://example.org/a.png"
DAY = 86400.0
T2V = "/api/v1/services/aigc/video-generation/video-synthesis"
KF2V = "/api/v1/services/aigc/image2video/video-synthesis"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "emulator")


@pytest.fixture(autouse=True)
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    return watched(monkeypatch)


def _error(answer: Answer) -> tuple[int, str, str]:
    document = said(answer)
    assert list(document) == ["code", "message", "request_id"]
    return answer.status, document["code"], document["message"]


def _clip(store: Store, task_id: str, headers: Mapping[str, str] | None = None, **how: Any) -> Answer:
    url = look(store, task_id, now=NOW + 3)["output"]["video_url"]
    return ask(store, "GET", local(url), headers=headers, **{"now": NOW + 4} | how)


# --- routes and headers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "target", "headers", "status", "code", "message"),
    [
        ("GET", "/", {}, 404, "NotFound", "Not found!"),
        ("GET", "/api/v1/models", {}, 404, "NotFound", "Not found!"),
        ("DELETE", "/api/v1/tasks/x", {}, 404, "NotFound", "Not found!"),
        ("GET", "/clips/../emulator.db", {}, 404, "NotFound", "Not found!"),
        ("GET", "/clips/%2e%2e%2femulator.db.mp4", {}, 404, "NotFound", "Not found!"),
        ("GET", "/api/v1/tasks/x", {"authorization": None}, 401, "InvalidApiKey", "No API-key provided."),
        ("GET", "/api/v1/tasks/x", {"authorization": "Bearer "}, 401, "InvalidApiKey", "No API-key provided."),
        ("GET", "/api/v1/tasks/x", {"authorization": "Basic eDp5"}, 401, "InvalidApiKey", "No API-key provided."),
        ("GET", "/api/v1/tasks/", {"authorization": None}, 401, "InvalidApiKey", "No API-key provided."),
        ("POST", T2V, {"authorization": None}, 401, "InvalidApiKey", "No API-key provided."),
        (
            "GET",
            "/api/v1/tasks/x",
            {"authorization": "Bearer sk-invalid-1"},
            401,
            "InvalidApiKey",
            "Invalid API-key provided.",
        ),
        (
            "POST",
            T2V,
            {"x-dashscope-async": None},
            403,
            "AccessDenied",
            "current user api does not support synchronous calls.",
        ),
        ("POST", T2V, {"content-type": "text/plain"}, 400, "InvalidParameter", ERRORS["InvalidParameter"][1]),
        ("POST", KF2V, {}, 400, "InvalidParameter", "url error, please check url！"),
        ("POST", "/api/v1/tasks/x/cancel", {}, 400, "UnsupportedOperation", ERRORS["UnsupportedOperation"][1]),
        ("GET", "/api/v1/uploads?model=wan2.6-t2v", {}, 400, "InvalidParameter", "action must be getPolicy"),
        ("GET", "/api/v1/uploads?action=getPolicy&model=x", {}, 400, "InvalidParameter", "Model not exist."),
        ("GET", "/api/v1/uploads?action=getPolicy", {}, 400, "InvalidParameter", "Model not exist."),
    ],
)
def test_a_call_that_is_not_as_the_api_wants_it_is_refused(
    store: Store, *, method: str, target: str, headers: dict[str, str | None], status: int, code: str, message: str
) -> None:
    document = TEXT if target in (T2V, KF2V) else None
    assert _error(ask(store, method, target, document, headers=headers)) == (status, code, message)
    assert said(ask(store, "GET", "/api/v1/tasks/"))["total"] == 0


def test_keyframes_are_refused_at_the_endpoint_of_the_other_modes(store: Store) -> None:
    document = {"model": "wan2.2-kf2v-flash", "input": {"first_frame_url": LINK}}
    assert _error(ask(store, "POST", T2V, document))[2] == "url error, please check url！"
    assert ask(store, "POST", KF2V, document).status == 200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", ERRORS["InvalidParameter"][1]),
        (b"{", ERRORS["InvalidParameter"][1]),
        (b"[]", ERRORS["InvalidParameter"][1]),
        (b"\xff\xfe", ERRORS["InvalidParameter"][1]),
        (b"[" * 100_000, ERRORS["InvalidParameter"][1]),
        (b'{"model":"wan2.6-t2v","input":{"prompt":"x"},"parameters":{"seed":NaN}}', ERRORS["InvalidParameter"][1]),
        (rb'{"model":"wan2.6-t2v","input":{"prompt":"\uD800"}}', ERRORS["InvalidParameter"][1]),
        (b"{}", "Field required: model"),
        (b'{"model":"wan9"}', "Model not exist."),
        (b'{"model":["wan2.6-t2v"]}', "Model not exist."),
        (b'{"model":"wan2.6-t2v"}', "Field required: input"),
        (b'{"model":"wan2.6-t2v","input":{"prompt":"x"},"parameters":{"duration":99}}', "The duration is not match 99"),
    ],
)
def test_a_body_that_is_not_one_is_refused(store: Store, body: bytes, message: str) -> None:
    headers = {"content-type": "application/json; charset=utf-8", "x-dashscope-async": "enable"}
    status, code, sentence = _error(ask(store, "POST", T2V, headers=headers, body=body))
    assert (status, code) == (400, "InvalidParameter")
    assert sentence.startswith(message)


def test_a_body_over_the_cap_is_refused(store: Store) -> None:
    answer = ask(store, "POST", "/api/v1/tasks/x/cancel", body=b"x" * 4097)
    assert _error(answer)[:2] == (413, "BadRequest.TooLarge")


def test_every_answer_states_its_length_and_the_date(store: Store) -> None:
    answer = ask(store, "GET", "/api/v1/tasks/x")
    assert answer.headers == {
        "date": "Fri, 15 Jan 2027 08:00:00 GMT",
        "content-length": str(len(answer.body)),
        "content-type": "application/json",
    }


def test_the_key_is_not_kept(store: Store, canary: str) -> None:
    book(store, key=canary)  # the guard of every test looks for it in the state folder
    assert said(ask(store, "GET", "/api/v1/tasks/", key=canary))["total"] == 1


# --- tasks ---------------------------------------------------------------------------------------------------------


def test_a_created_task_is_pending(store: Store) -> None:
    document = said(create(store, TEXT))
    assert list(document) == ["output", "request_id"]
    assert document["output"] == {"task_status": "PENDING", "task_id": document["output"]["task_id"]}


@pytest.mark.parametrize(
    ("prompt", "course"),
    [
        ("x", {0: "PENDING", 0.9: "PENDING", 1: "RUNNING", 2.9: "RUNNING", 3: "SUCCEEDED", DAY - 1: "SUCCEEDED"}),
        ("emulator:fail=Arrearage", {0: "PENDING", 1: "RUNNING", 3: "FAILED", DAY - 1: "FAILED", DAY: "UNKNOWN"}),
        ("emulator:canceled", {0: "PENDING", 1: "RUNNING", 3: "CANCELED", DAY: "UNKNOWN"}),
        ("emulator:suspended", {0: "PENDING", 1: "SUSPENDED", 2: "RUNNING", 3: "SUCCEEDED", DAY: "UNKNOWN"}),
        ("emulator:unknown", {0: "UNKNOWN", 1: "UNKNOWN", 3: "UNKNOWN"}),
        ("a clock that went back", {-10: "PENDING"}),
    ],
)
def test_a_task_moves_with_time(store: Store, prompt: str, course: dict[float, str]) -> None:
    task_id = book(store, text(prompt))
    seen = {after: look(store, task_id, now=NOW + after)["output"]["task_status"] for after in course}
    assert seen == course


@pytest.mark.parametrize(
    ("prompt", "course"),
    [
        ("x", ["PENDING", "RUNNING", "SUCCEEDED", "SUCCEEDED"]),
        ("emulator:fail=Arrearage", ["PENDING", "RUNNING", "FAILED", "FAILED"]),
        ("emulator:suspended", ["PENDING", "SUSPENDED", "RUNNING", "SUCCEEDED"]),
        ("emulator:unknown", ["UNKNOWN", "UNKNOWN"]),
    ],
)
def test_a_task_of_no_seconds_moves_each_time_it_is_asked_for(store: Store, prompt: str, course: list[str]) -> None:
    task_id = book(store, text(prompt), seconds=0)
    assert [look(store, task_id)["output"]["task_status"] for _ in course] == course


def test_listing_and_strangers_do_not_move_a_task(store: Store) -> None:
    task_id = book(store, seconds=0)
    for _ in range(4):
        ask(store, "GET", "/api/v1/tasks/")
        look(store, task_id, key="sk-other")
    assert look(store, task_id)["output"]["task_status"] == "PENDING"


def test_a_task_keeps_the_speed_that_it_was_booked_with(store: Store) -> None:
    task_id = book(store, seconds=30)
    assert look(store, task_id, now=NOW + 5, seconds=3)["output"]["task_status"] == "PENDING"


@pytest.mark.parametrize("task_id", ["nobody", "%2e%2e", "0385dc79-5ff8-4d82-bcb6-000000000000", "x%00y"])
def test_a_task_that_does_not_exist_is_unknown(store: Store, task_id: str) -> None:
    document = look(store, task_id)
    assert list(document) == ["request_id", "output"]
    assert document["output"]["task_status"] == "UNKNOWN"


def test_a_task_of_another_account_is_unknown(store: Store) -> None:
    task_id = book(store)
    assert look(store, task_id, key="sk-other")["output"] == {"task_id": task_id, "task_status": "UNKNOWN"}


SUBMITTED = {"submit_time": "2027-01-15 16:00:00.250"}
SCHEDULED = {**SUBMITTED, "scheduled_time": "2027-01-15 16:00:01.250"}
ENDED = {**SCHEDULED, "end_time": "2027-01-15 16:00:03.250"}


@pytest.mark.parametrize(
    ("prompt", "after", "output"),
    [
        ("x", 0, {"task_status": "PENDING", **SUBMITTED}),
        ("x", 1, {"task_status": "RUNNING", **SCHEDULED}),
        ("emulator:suspended", 1, {"task_status": "SUSPENDED", **SCHEDULED}),
        ("emulator:canceled", 3, {"task_status": "CANCELED"}),
        (
            "emulator:fail=InternalError.Algo",
            3,
            {
                "task_status": "FAILED",
                **ENDED,
                "code": "InternalError.Algo",
                "message": ERRORS["InternalError.Algo"][1],
            },
        ),
        (
            "emulator:fail=Own.Code",
            3,
            {
                "task_status": "FAILED",
                **ENDED,
                "code": "Own.Code",
                "message": "The emulator was asked to answer Own.Code.",
            },
        ),
        ("emulator:no-video", 3, {"task_status": "SUCCEEDED", **ENDED, "orig_prompt": "emulator:no-video"}),
    ],
)
def test_a_status_says_what_the_reference_says_and_no_more(
    store: Store, prompt: str, after: float, output: dict[str, Any]
) -> None:
    task_id = book(store, text(prompt))
    assert look(store, task_id, now=NOW + after)["output"] == {"task_id": task_id, **output}


PROMPTED = {"prompt": "p"}
REFERRED = PROMPTED | {"function": "image_reference", "ref_images_url": [LINK]}
NEW = {"input_video_duration": 0, "video_count": 1}
OLD_STANDARD = {"video_duration": 5, "video_ratio": "standard", "video_count": 1}


@pytest.mark.parametrize(
    ("model", "inputs", "parameters", "usage", "rewritten"),
    [
        (
            "wan2.6-t2v",
            PROMPTED,
            {"size": "1280*720", "duration": 10},
            NEW | {"duration": 10, "size": "1280*720", "output_video_duration": 10, "SR": 720},
            False,
        ),
        (
            "wan2.5-t2v-preview",
            PROMPTED,
            {"size": "832*480"},
            {"video_duration": 5, "video_ratio": "832*480", "video_count": 1},
            True,
        ),
        (
            "wan2.2-t2v-plus",
            PROMPTED,
            {"size": "624*624"},
            {"video_duration": 5, "video_ratio": "624*624", "video_count": 1},
            True,
        ),
        (
            "wan2.6-i2v",
            PROMPTED | {"img_url": LINK},
            {"resolution": "720P"},
            NEW | {"duration": 5, "output_video_duration": 5, "SR": 720},
            False,
        ),
        (
            "wan2.6-i2v-flash",
            PROMPTED | {"img_url": LINK},
            {},
            NEW | {"duration": 5, "output_video_duration": 5, "SR": 1080, "audio": True},
            False,
        ),
        (
            "wan2.6-i2v-flash",
            PROMPTED | {"img_url": LINK},
            {"audio": False, "duration": 2},
            NEW | {"duration": 2, "output_video_duration": 2, "SR": 1080, "audio": False},
            False,
        ),
        (
            "wan2.5-i2v-preview",
            PROMPTED | {"img_url": LINK},
            {"resolution": "480P", "duration": 10},
            {"duration": 10, "SR": 480, "video_count": 1},
            True,
        ),
        ("wan2.2-i2v-flash", PROMPTED | {"img_url": LINK}, {}, {"duration": 5, "SR": 720, "video_count": 1}, True),
        (
            "wanx2.1-i2v-turbo",
            PROMPTED | {"img_url": LINK},
            {"duration": 3},
            OLD_STANDARD | {"video_duration": 3},
            True,
        ),
        ("wan2.1-kf2v-plus", PROMPTED | {"first_frame_url": LINK}, {}, OLD_STANDARD, True),
        ("wanx2.1-vace-plus", REFERRED, {"duration": 4}, OLD_STANDARD | {"video_duration": 4}, True),
        (
            "wan2.2-kf2v-flash",
            PROMPTED | {"first_frame_url": LINK},
            {"resolution": "480P"},
            {"video_duration": 5, "video_count": 1, "SR": 480},
            True,
        ),
        (
            "wan2.2-kf2v-flash",
            PROMPTED | {"first_frame_url": LINK},
            {"prompt_extend": False},
            {"video_duration": 5, "video_count": 1, "SR": 720},
            False,
        ),
        (
            "wan2.6-r2v",
            PROMPTED | {"reference_urls": ["https://e.org/a.mp4"]},
            {"size": "1280*720"},
            NEW
            | {"duration": 10.0, "size": "1280*720", "input_video_duration": 5, "output_video_duration": 5, "SR": 720},
            False,
        ),
        (
            "wan2.6-r2v-flash",
            PROMPTED | {"reference_urls": ["https://e.org/a.mp4", LINK]},
            {"duration": 2},
            NEW
            | {
                "duration": 4.5,
                "size": "1920*1080",
                "input_video_duration": 2.5,
                "output_video_duration": 2,
                "SR": 1080,
            },
            False,
        ),
    ],
)
def test_a_success_reports_its_usage_as_its_family_does(
    store: Store, *, model: str, inputs: dict[str, Any], parameters: Any, usage: dict[str, Any], rewritten: bool
) -> None:
    task_id = book(store, {"model": model, "input": inputs, "parameters": parameters})
    document = look(store, task_id, now=NOW + 3)
    assert document["usage"] == usage
    assert [type(value) for value in document["usage"].values()] == [type(usage[name]) for name in document["usage"]]
    assert ("actual_prompt" in document["output"]) is rewritten
    assert list(document["output"])[:6] == [
        "task_id",
        "task_status",
        "submit_time",
        "scheduled_time",
        "end_time",
        "orig_prompt",
    ]


def test_a_task_without_a_prompt_repeats_none(store: Store) -> None:
    task_id = book(store, {"model": "wan2.5-i2v-preview", "input": {"img_url": LINK}})
    output = look(store, task_id, now=NOW + 3)["output"]
    assert output["task_status"] == "SUCCEEDED"
    assert not {"orig_prompt", "actual_prompt"} & set(output)


def test_every_model_has_a_usage() -> None:
    unknown = {("happyhorse-1.1", "edit")}  # there is no such model yet
    assert {(row.series, row.mode) for row in MODELS.values()} == set(USAGE) - unknown


# What the API draws where neither size nor resolution is given: reference 2.3, the size in parentheses.
DEFAULTS = {
    "wan2.6-t2v": "1080P",
    "wan2.6-t2v-us": "1080P",
    "wan2.5-t2v-preview": "1080P",
    "wan2.2-t2v-plus": "1080P",
    "wanx2.1-t2v-turbo": "720P",
    "wanx2.1-t2v-plus": "720P",
    "wan2.6-i2v-flash": "1080P",
    "wan2.6-i2v": "1080P",
    "wan2.6-i2v-us": "1080P",
    "wan2.5-i2v-preview": "1080P",
    "wan2.2-i2v-flash": "720P",
    "wan2.2-i2v-plus": "1080P",
    "wanx2.1-i2v-turbo": "720P",
    "wanx2.1-i2v-plus": "720P",
    "wan2.6-r2v-flash": "1080P",
    "wan2.6-r2v": "1080P",
    "wan2.2-kf2v-flash": "720P",
    "wanx2.1-kf2v-plus": "720P",
    "wanx2.1-vace-plus": "720P",
}
SOUND = ("wan2.6-", "wan2.5-")


@pytest.mark.parametrize("model", [name for name, row in MODELS.items() if row.dialect != "media"])
def test_what_is_not_asked_for_is_drawn_as_the_api_would(store: Store, drawn: list[dict[str, Any]], model: str) -> None:
    needs: dict[str, Any] = {
        "i2v": {"img_url": LINK},
        "kf2v": {"first_frame_url": LINK},
        "r2v": {"reference_urls": [LINK]},
        "vace": REFERRED,
    }
    mode = MODELS[model].mode
    fields = {
        "i2v": ["img_url"], "kf2v": ["first_frame_url"], "r2v": ["reference_urls"], "vace": ["ref_images_url"],
    }.get(mode, [])  # fmt: skip
    task_id = book(store, {"model": model, "input": needs.get(mode, {}) | {"prompt": "小猫"}})
    assert b"".join(_clip(store, task_id).chunks()) == CLIP
    width, height = map(int, SIZES[DEFAULTS[model.replace("wan2.1", "wanx2.1")]]["16:9"].split("*"))
    assert drawn == [
        {
            "width": width,
            "height": height,
            "seconds": 5,
            "sound": model.startswith(SOUND),
            "fps": 30,
            "prompt": "小猫",
            "model": model,
            "mode": "vace image_reference" if mode == "vace" else mode,
            "task_id": task_id,
            "watermark": False,
            "pictures": [None] * len(fields),
            "fields": fields,
            "scales": [1, 1, 1, 1] if mode == "vace" else [],
            "music": None,
        }
    ]


def test_what_is_asked_for_is_drawn_once(store: Store, drawn: list[dict[str, Any]]) -> None:
    inputs = {"prompt": "p", "reference_urls": [LINK]}
    parameters = {"size": "832*1088", "duration": 7, "audio": False, "watermark": True}
    task_id = book(store, {"model": "wan2.6-r2v-flash", "input": inputs, "parameters": parameters})
    for _ in range(2):
        _clip(store, task_id)
    (what,) = drawn
    asked = {"width": 832, "height": 1088, "seconds": 7, "sound": False, "watermark": True}
    assert {name: what[name] for name in asked} == asked


@pytest.mark.parametrize("text", ["-1", "abc", "nan", "inf", "1e3", " ", "٣"])
def test_a_wrong_speed_is_a_config_error(text: str) -> None:
    with pytest.raises(RawgenaiError, match="config_error: RAWGENAI_EMULATOR_SECONDS"):
        speed({"RAWGENAI_EMULATOR_SECONDS": text})


@pytest.mark.parametrize(("environ", "seconds"), [({}, 3), ({"RAWGENAI_EMULATOR_SECONDS": "0"}, 0)])
def test_the_speed_is_a_number_of_seconds(environ: dict[str, str], seconds: float) -> None:
    assert speed(environ) == seconds


# --- cancel and list -----------------------------------------------------------------------------------------------


def test_a_pending_task_can_be_canceled_by_its_account_alone(store: Store) -> None:
    task_id = book(store)
    cancel = f"/api/v1/tasks/{task_id}/cancel"
    assert _error(ask(store, "POST", cancel, key="sk-other"))[:2] == (400, "UnsupportedOperation")
    assert list(said(ask(store, "POST", cancel))) == ["request_id"]
    assert look(store, task_id, now=NOW + 9)["output"] == {"task_id": task_id, "task_status": "CANCELED"}
    assert _error(ask(store, "POST", cancel))[:2] == (400, "UnsupportedOperation")


def test_a_running_task_cannot_be_canceled(store: Store) -> None:
    task_id = book(store)
    answer = ask(store, "POST", f"/api/v1/tasks/{task_id}/cancel", now=NOW + 1)
    assert _error(answer) == (400, "UnsupportedOperation", ERRORS["UnsupportedOperation"][1])
    assert look(store, task_id, now=NOW + 3)["output"]["task_status"] == "SUCCEEDED"


def test_the_list_tells_what_the_reference_tells(store: Store) -> None:
    booked = said(create(store, {"model": "wan2.2-kf2v-flash", "input": {"first_frame_url": LINK}}))
    document = said(ask(store, "GET", "/api/v1/tasks/", now=NOW + 3))
    row = document.pop("data")[0]
    assert document == {
        "total": 1,
        "total_page": 1,
        "page_no": 1,
        "page_size": 10,
        "request_id": document["request_id"],
    }
    account = row["api_key_id"]
    assert row == {
        "api_key_id": account,
        "caller_parent_id": account,
        "caller_uid": account,
        "gmt_create": 1800000000250,
        "start_time": 1800000001250,
        "end_time": 1800000003250,
        "model_name": "wan2.2-kf2v-flash",
        "region": "cn-beijing",
        "request_id": booked["request_id"],
        "status": "SUCCEEDED",
        "task_id": booked["output"]["task_id"],
        "user_api_unique_key": "apikey:v1:aigc:image2video:video-synthesis:wan2.2-kf2v-flash",
    }


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [3, 2, 1]),
        ("page_size=2", [3, 2]),
        ("page_size=2&page_no=2", [1]),
        ("page_size=2&page_no=3", []),
        ("status=SUCCEEDED", [2, 1]),
        ("status=PENDING", [3]),
        ("model_name=wan2.5-t2v-preview", [2]),
        ("task_id=nobody", []),
        ("status=&model_name=&api_key_id=x&region=y", [3, 2, 1]),
        ("start_time=20270115160101", [3, 2]),
        ("start_time=20270115160000&end_time=20270115160100", [1]),
        ("end_time=20270115160140", [3, 2, 1]),
        ("start_time=20270114150000&end_time=20270115150000", []),
    ],
)
def test_the_list_is_filtered_and_paged(store: Store, query: str, found: list[int]) -> None:
    tasks = {
        book(store): 1,
        book(store, TEXT | {"model": "wan2.5-t2v-preview"}, now=NOW + 70): 2,
        book(store, now=NOW + 100): 3,
    }
    book(store, key="sk-other")
    book(store, text("emulator:unknown"), now=NOW + 99)
    book(store, now=NOW - DAY - 10)
    rows = said(ask(store, "GET", f"/api/v1/tasks/?{query}", now=NOW + 100))["data"]
    assert [tasks[row["task_id"]] for row in rows] == found


def test_the_list_answers_with_and_without_the_slash(store: Store) -> None:
    assert ask(store, "GET", "/api/v1/tasks").status == ask(store, "GET", "/api/v1/tasks/?x=").status == 200


@pytest.mark.parametrize(
    "query",
    [
        "page_no=0",
        "page_size=x",
        "page_size=-1",
        "start_time=2027",
        "start_time=20270101000000&end_time=20270103000000",
        "start_time=20270103000000&end_time=20270101000000",
    ],
)
def test_a_wrong_filter_is_refused(store: Store, query: str) -> None:
    assert _error(ask(store, "GET", f"/api/v1/tasks/?{query}"))[:2] == (400, "InvalidParameter")


# --- uploads -------------------------------------------------------------------------------------------------------


def _upload(store: Store, fields: Mapping[str, str], data: bytes | None = b"bytes", **how: Any) -> Answer:
    return ask(store, "POST", "/upload", headers=FORM_TYPE | how.pop("headers", {}), body=form(fields, data), **how)


def _image(link: str) -> dict[str, Any]:
    return {"model": "wan2.6-i2v", "input": {"img_url": link}}


def test_the_upload_policy_is_what_the_reference_shows(store: Store) -> None:
    document = said(ask(store, "GET", "/api/v1/uploads?action=getPolicy&model=wan2.6-i2v"))
    assert set(document) == {"request_id", "data"}
    data = document["data"]
    shown = {
        "upload_host": "http://emulator.localhost/upload",
        "expire_in_seconds": 300,
        "max_file_size_mb": 100,
        "capacity_limit_mb": 999999999,
        "x_oss_object_acl": "private",
        "x_oss_forbid_overwrite": "true",
        "oss_access_key_id": "emulator",
    }
    assert {name: data[name] for name in shown} == shown
    assert set(data) == {*shown, "policy", "signature", "upload_dir"}


def test_an_uploaded_file_can_be_named_for_two_days_by_its_account_and_model(store: Store) -> None:
    fields = upload_fields(store)
    data = saved(quartered())
    answer = _upload(store, fields, data)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["x-oss-hash-crc64ecma"] == str(crc64.xz(data))
    link = f"oss://{fields['key']}"
    assert create(store, _image(link), headers=RESOLVE).status == 200
    assert create(store, _image(link), headers=RESOLVE, now=NOW + 2 * DAY - 1).status == 200
    refused: list[tuple[dict[str, Any], dict[str, Any]]] = [
        (_image(link), {"headers": RESOLVE, "now": NOW + 2 * DAY + 1}),
        (_image(link), {"headers": RESOLVE, "key": "sk-other"}),
        (_image(link) | {"model": "wan2.6-i2v-flash"}, {"headers": RESOLVE}),
        (_image(link + "x"), {"headers": RESOLVE}),
        (_image(link), {}),
    ]
    for document, how in refused:
        assert _error(create(store, document, **how))[:2] == (400, "InvalidParameter.DataInspection")


def test_the_header_that_is_missing_is_said_as_the_reference_says_it(store: Store) -> None:
    _, _, message = _error(create(store, _image("oss://dashscope-instant/x")))
    assert message.startswith("The provided URL does not appear to be valid")


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"Signature": "x" * 64}, 403, "SignatureDoesNotMatch"),
        ({"policy": "e30="}, 403, "SignatureDoesNotMatch"),
        ({"OSSAccessKeyId": "mine"}, 403, "InvalidAccessKeyId"),
        ({"key": "elsewhere/a.png"}, 403, "AccessDenied"),
        ({"x-oss-object-acl": "public-read"}, 403, "AccessDenied"),
        ({"x-oss-forbid-overwrite": "false"}, 403, "AccessDenied"),
        ({"Signature": None}, 400, "InvalidArgument"),
        ({"policy": None}, 400, "InvalidArgument"),
        ({"key": None}, 400, "InvalidArgument"),
        ({"x-oss-object-acl": None}, 403, "AccessDenied"),
    ],
)
def test_a_form_that_the_policy_does_not_allow_is_refused(
    store: Store, change: dict[str, str | None], status: int, code: str
) -> None:
    fields = {name: value for name, value in (upload_fields(store) | change).items() if value is not None}
    answer = _upload(store, fields)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/xml")
    assert f"<Code>{code}</Code>".encode() in answer.body


def test_a_policy_is_good_for_five_minutes(store: Store) -> None:
    fields = upload_fields(store)
    assert b"Policy expired" in _upload(store, fields, now=NOW + 300).body
    assert _upload(store, fields, now=NOW + 299).status == 200


def test_a_file_is_not_overwritten(store: Store) -> None:
    fields = upload_fields(store)
    assert _upload(store, fields).status == 200
    answer = _upload(store, fields)
    assert (answer.status, b"<Code>FileAlreadyExists</Code>" in answer.body) == (409, True)


@pytest.mark.slow
def test_a_file_of_a_hundred_megabytes_is_the_largest(store: Store) -> None:
    fields = upload_fields(store)
    data = bytes(range(256)) * 400 * 1024
    assert b"EntityTooLarge" in _upload(store, fields, data + b"x").body
    answer = _upload(store, fields, data)
    assert (answer.status, answer.headers["x-oss-hash-crc64ecma"]) == (200, str(crc64.xz(data)))
    assert len(data) < FORM_CAP


def test_what_follows_the_file_is_not_read(store: Store) -> None:
    fields = upload_fields(store)
    signature = {"Signature": fields.pop("Signature")}
    answer = ask(store, "POST", "/upload", headers=FORM_TYPE, body=form(fields, b"x", signature))
    assert (answer.status, b"Missing required field: Signature" in answer.body) == (400, True)


def test_a_form_that_does_not_ask_for_200_gets_204(store: Store) -> None:
    fields = upload_fields(store)
    del fields["success_action_status"]
    assert _upload(store, fields).status == 204


def test_a_form_needs_a_file(store: Store) -> None:
    assert b"IncorrectNumberOfFilesInPOSTRequest" in _upload(store, upload_fields(store), None).body


def test_an_empty_file_is_a_file(store: Store) -> None:
    assert _upload(store, upload_fields(store), b"").status == 200


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data", b"--BOUNDARY--\r\n"),
        (FORM_TYPE["content-type"], b""),
        (FORM_TYPE["content-type"], b"--BOUNDARY\r\n"),
        (FORM_TYPE["content-type"], b"--BOUNDARY\r\nContent-Disposition: form-data\r\n\r\nx\r\n--BOUNDARY--\r\n"),
        (FORM_TYPE["content-type"], b'--BOUNDARY\r\nContent-Disposition: form-data; name="file"\r\n\r\nhalf of it'),
    ],
)
def test_what_is_no_form_is_refused(store: Store, content_type: str, body: bytes) -> None:
    answer = ask(store, "POST", "/upload", headers={"content-type": content_type}, body=body)
    assert (answer.status, b"<Code>MalformedPOSTRequest</Code>" in answer.body) == (400, True)


def test_a_key_sent_to_the_upload_or_the_clip_host_is_refused(store: Store) -> None:
    leaked = {"authorization": f"Bearer {KEY}"}
    assert b"Authorization header" in _upload(store, upload_fields(store), headers=leaked).body
    answer = _clip(store, book(store), leaked)
    assert (answer.status, answer.headers["content-type"]) == (400, "application/xml")
    assert KEY.encode() not in answer.body


# --- clips ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "status", "span"),
    [
        (None, 200, (0, 1024)),
        ("bytes=0-", 206, (0, 1024)),
        ("bytes=0-0", 206, (0, 1)),
        ("bytes=1000-", 206, (1000, 1024)),
        ("bytes=1000-99999", 206, (1000, 1024)),
        ("bytes=-24", 206, (1000, 1024)),
        ("bytes=-9999", 206, (0, 1024)),
        ("bytes=0-1,5-6", 200, (0, 1024)),
        ("bytes=x-", 200, (0, 1024)),
        ("items=0-1", 200, (0, 1024)),
    ],
)
def test_a_clip_is_served_in_parts(store: Store, asked: str | None, status: int, span: tuple[int, int]) -> None:
    answer = _clip(store, book(store), {"range": asked} if asked else {})
    body = b"".join(answer.chunks())
    assert (answer.status, body) == (status, CLIP[span[0] : span[1]])
    assert answer.headers["content-length"] == str(len(body))
    assert answer.headers["accept-ranges"] == "bytes"
    wanted = f"bytes {span[0]}-{span[1] - 1}/1024" if status == 206 else None
    assert answer.headers.get("content-range") == wanted


@pytest.mark.parametrize("asked", ["bytes=1024-", "bytes=9-5", "bytes=-0"])
def test_a_part_that_is_not_there_is_416(store: Store, asked: str) -> None:
    answer = _clip(store, book(store), {"range": asked})
    assert (answer.status, answer.headers["content-range"]) == (416, "bytes */1024")
    assert b"<Code>InvalidRange</Code>" in answer.body


def test_if_range_gives_a_part_of_the_same_clip_only(store: Store) -> None:
    task_id = book(store)
    first = _clip(store, task_id)
    assert first.headers["etag"].startswith('"')
    for mark, status in [(first.headers["etag"], 206), (first.headers["last-modified"], 206), ('"other"', 200)]:
        assert _clip(store, task_id, {"range": "bytes=9-", "if-range": mark}).status == status


def test_a_clip_and_its_parts_name_the_checksum_of_the_whole(store: Store) -> None:
    task_id = book(store)
    for asked in ({}, {"range": "bytes=9-"}):
        assert _clip(store, task_id, asked).headers["x-oss-hash-crc64ecma"] == str(crc64.xz(CLIP))


def test_a_clips_link_is_good_for_a_day(store: Store) -> None:
    task_id = book(store)
    assert _clip(store, task_id, now=NOW + 3 + DAY - 1).status == 200
    answer = _clip(store, task_id, now=NOW + 3 + DAY + 1)
    assert (answer.status, b"<Code>AccessDenied</Code>" in answer.body) == (403, True)


@pytest.mark.parametrize("change", [("Expires=1", "Expires=2"), ("Signature=", "Signature=0"), ("?", "?é")])
def test_a_clips_link_cannot_be_changed(store: Store, change: tuple[str, str]) -> None:
    url = look(store, book(store), now=NOW + 3)["output"]["video_url"]
    answer = ask(store, "GET", local(url).replace(*change, 1), now=NOW + 4)
    assert (answer.status, b"<Code>SignatureDoesNotMatch</Code>" in answer.body) == (403, True)


def test_a_clip_that_was_forgotten_is_404(store: Store) -> None:
    task_id = book(store)
    url = look(store, task_id, now=NOW + 3)["output"]["video_url"]
    assert _clip(store, task_id).status == 200
    store.forget(NOW + 1)
    answer = ask(store, "GET", local(url), now=NOW + 4)
    assert (answer.status, b"<Code>NoSuchKey</Code>" in answer.body) == (404, True)
    assert not list(store.folder.rglob("*.mp4"))


# --- faults --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAULTS)
def test_the_example_of_every_fault_asks_for_it(name: str) -> None:
    example = FAULTS[name].example
    assert read_faults(f"a cat，emulator:{example}，and a dog") == {name: example.partition("=")[2]}
    assert usage(name).startswith(name)
    assert FAULTS[name].call in ("create", "status", "download")


@pytest.mark.parametrize(
    "prompt",
    [
        "emulator:explode",
        "emulator:cut",
        "emulator:cut=0",
        "emulator:cut=x",
        "emulator:hang=now",
        "emulator:html=1",
        "emulator:status=99",
        "emulator:status=600",
        "emulator:slow=fast",
        "emulator:range=x",
        "emulator:refuse=",
        "emulator:hang emulator:explode",
    ],
)
def test_a_fault_that_does_not_exist_is_refused_and_the_known_ones_named(store: Store, prompt: str) -> None:
    status, code, message = _error(create(store, text(prompt)))
    assert (status, code) == (400, "InvalidParameter")
    assert all(usage(name) in message for name in FAULTS)


@pytest.mark.parametrize("prompt", ["my emulator: hang on", "emulator", None, "the emulator:"])
def test_prose_asks_for_no_fault(prompt: str | None) -> None:
    assert read_faults(prompt) == {}


def _total(store: Store) -> int:
    return int(said(ask(store, "GET", "/api/v1/tasks/"))["total"])


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [(f"refuse={code}", ERRORS[code][0], code) for code in ERRORS]
    + [
        ("refuse=Own.Code", 400, "Own.Code"),
        ("status=500", 500, "InternalError"),
        ("status=503", 503, "ModelUnavailable"),
        ("status=429", 429, "Throttling"),
        ("status=418", 418, "InvalidParameter"),
        ("status=302", 302, "InvalidParameter"),
        ("status=599", 599, "InternalError"),
    ],
)
def test_a_refusal_that_was_asked_for_books_nothing(store: Store, fault: str, status: int, code: str) -> None:
    assert _error(create(store, text(f"emulator:{fault}")))[:2] == (status, code)
    assert _total(store) == 0


def test_a_status_that_has_no_body_has_none(store: Store) -> None:
    answer = create(store, text("emulator:status=204"))
    assert (answer.status, answer.body, answer.headers["content-length"]) == (204, b"", "0")


def test_html_is_a_page(store: Store) -> None:
    answer = create(store, text("emulator:html"))
    assert (answer.status, answer.headers["content-type"], answer.body[:6]) == (502, "text/html", b"<html>")
    assert _total(store) == 0


@pytest.mark.parametrize("wire", ["hang", "reset", "close"])
@pytest.mark.parametrize(("booked", "total"), [("", 0), ("=booked", 1)])
def test_a_lost_answer_is_booked_only_where_asked(store: Store, wire: str, booked: str, total: int) -> None:
    assert create(store, text(f"emulator:{wire}{booked}")).wire == wire
    assert _total(store) == total


def test_half_an_answer_is_booked(store: Store) -> None:
    answer = create(store, text("emulator:half"))
    assert answer.headers["content-length"] == str(len(answer.body))
    assert b"".join(answer.chunks()) == answer.body[: len(answer.body) // 2]
    assert _total(store) == 1


@pytest.mark.parametrize("also", ["", " emulator:refuse=Arrearage", " emulator:close=booked"])
def test_a_slow_answer_says_how_slow(store: Store, also: str) -> None:
    assert create(store, text(f"emulator:slow=1.5{also}")).delay == 1.5


def test_a_throttled_prompt_is_accepted_after_its_time_and_throttled_anew(store: Store) -> None:
    def tries(*moments: float, **how: Any) -> list[tuple[int, str | None]]:
        answers = [create(store, text("emulator:retry-after=2"), now=NOW + moment, **how) for moment in moments]
        return [(answer.status, answer.headers.get("retry-after")) for answer in answers]

    assert tries(0, 0.5, 1.5) == [(429, "2"), (429, "2"), (429, "1")]
    assert tries(1.9, key="sk-other") == [(429, "2")]
    assert tries(2, 2) == [(200, None), (429, "2")]
    assert _error(create(store, text("emulator:retry-after=9")))[1] == "Throttling.RateQuota"


def test_an_expired_link_is_named_expired(store: Store) -> None:
    assert b"<Code>AccessDenied</Code>" in _clip(store, book(store, text("emulator:expire")), now=NOW + 3).body


def test_a_cut_clip_is_got_by_resuming(store: Store) -> None:
    task_id = book(store, text("emulator:cut=300"))
    got, connections = b"", 0
    while len(got) < len(CLIP):
        answer = _clip(store, task_id, {"range": f"bytes={len(got)}-"})
        assert answer.headers["content-length"] == str(len(CLIP) - len(got))
        got += b"".join(answer.chunks())
        connections += 1
    assert (got, connections) == (CLIP, 4)


def test_an_ignored_range_gets_the_whole_clip(store: Store) -> None:
    answer = _clip(store, book(store, text("emulator:range=ignored")), {"range": "bytes=9-"})
    assert (answer.status, b"".join(answer.chunks())) == (200, CLIP)
    assert "accept-ranges" not in answer.headers


def test_no_answer_repeats_a_prompt_outside_json(store: Store) -> None:
    answer = create(store, text("x\r\nSet-Cookie: a=b emulator:slow=1"))
    assert not any("Set-Cookie" in value for value in answer.headers.values())
