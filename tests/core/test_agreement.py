"""Client and emulator agree: what the rules accept, it books; what they refuse, it refuses when asked all the same."""

from typing import Any

import pytest
from test_rules import FEATURES, REACHABLE, URL, legal, name_of, neighbours, offers

from rawgenai.dashscope import wire
from rawgenai.dashscope.models import MODELS, Model
from rawgenai.dashscope.rules import select
from rawgenai.dashscope.spec import Spec
from rawgenai.emulator import sender
from rawgenai.message import Response, Send


@pytest.fixture(scope="module")
def send(tmp_path_factory: pytest.TempPathFactory) -> Send:
    return sender(tmp_path_factory.mktemp("emulator"), environ={"RAWGENAI_EMULATOR_SECONDS": "0"})


def ask(send: Send, spec: Spec, row: Model) -> Response:
    """Send what the client would, with its checks switched off."""
    return send(wire.create_request(spec, row))


@pytest.mark.parametrize("row", REACHABLE, ids=name_of)
def test_everything_that_the_rules_accept_is_booked(send: Send, row: Model) -> None:
    offered = [(field, value) for field, values in offers(row).items() for value in values]
    features = [(FEATURES[name][0], FEATURES[name][1]) for name in FEATURES if name in row.features]
    for field, value in [("seed", 0), ("watermark", True), *offered, *features]:
        spec = legal(row, **{field: value})
        assert select(spec)[0] is row
        answer = ask(send, spec, row)
        assert answer.status == 200, (field, value, answer.body)


@pytest.mark.parametrize("row", REACHABLE, ids=name_of)
def test_what_lies_beside_an_offer_is_refused_by_the_emulator_too(send: Send, row: Model) -> None:
    for (field, _), values in neighbours(row).items():
        # A kf2v model's length is no parameter of its request (ruling 3), nor is the size of a model that takes tiers;
        # the next test sends them all the same.
        if (row.mode == "kf2v" and field == "duration") or (field == "size" and not row.sizes):
            continue
        for value in values:
            answer = ask(send, legal(row, **{field: value}), row)
            assert answer.status == 400, (field, value, answer.body)


@pytest.mark.parametrize("row", REACHABLE, ids=name_of)
def test_a_field_that_the_model_does_not_know_is_refused_by_the_emulator_too(send: Send, row: Model) -> None:
    # What each feature puts into a body; create_request leaves out what the row has no feature for.
    fields: dict[str, tuple[str, str, Any]] = {
        "audio_url": ("input", "audio_url", URL),
        "shot_type": ("parameters", "shot_type", "multi"),
        "prompt_extend": ("parameters", "prompt_extend", True),
    }
    unknown = [field for feature, field in fields.items() if feature not in row.features]
    # The API knows `audio` for both flash models (reference, R12); the flags are narrower (ruling 5).
    unknown += [] if row.features & {"audio", "no_audio"} else [("parameters", "audio", True)]
    unknown += [("parameters", "size", "1280*720") if not row.sizes else ("parameters", "resolution", "720P")]
    unknown += [("parameters", "duration", 5)] if row.mode == "kf2v" else []
    for part, name, value in unknown:
        request = wire.create_request(legal(row), row)
        body: Any = request.body
        body[part][name] = value
        answer = send(request)
        assert answer.status == 400, (part, name, answer.body)


@pytest.mark.parametrize(
    "spec",
    [
        Spec(),
        Spec("  "),
        Spec("a", seed=-1),
        Spec("a", seed=2147483648),
        Spec("a", shot_type="none"),
        Spec("a", size="1*1"),
        Spec("a", refs=(), model="wan2.6-r2v"),
        Spec("a", refs=("",), model="wan2.6-r2v"),
        Spec("a", image="data:image/png;base64,x", model="wan2.6-i2v"),
        Spec("a", model="wan2.6-i2v"),
        Spec("a", model="wan2.2-kf2v-flash"),
        Spec(None, refs=(URL,), model="wan2.6-r2v"),
    ],
)
def test_other_wrong_requests_are_refused_by_the_emulator_too(send: Send, spec: Spec) -> None:
    request = wire.create_request(spec, MODELS[spec.model or "wan2.6-t2v"])
    assert send(request).status == 400


def test_a_model_of_the_other_endpoint_is_refused(send: Send) -> None:
    row = next(row for row in REACHABLE if row.mode == "kf2v")
    request = wire.create_request(legal(row), row)
    wrong = request._replace(url="services/aigc/video-generation/video-synthesis")
    answer = send(wrong)
    assert (answer.status, b"url error" in answer.body) == (400, True)
    assert send(request._replace(headers={})).status == 403
