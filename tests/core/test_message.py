"""Messages as values; which hosts can only mean this machine."""

import json

import pytest

from rawgenai.message import Media, NotSent, Request, Response, Unknown, is_loopback, parse_json


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("emulator.localhost", True),
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("::1", True),
        ("", False),
        ("localhost.example.com", False),
        ("notlocalhost", False),
        ("127.0.0.1.example.com", False),
        ("128.0.0.1", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False),
        ("example.com", False),
    ],
)
def test_only_loopback_is_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_a_request_is_a_value() -> None:
    body = {"input": {"img_url": Media("a.png", "image/png", 3)}}
    assert Request("POST", "tasks", {}, body) == Request("POST", "tasks", body=body)
    assert Request("GET", "a") != Request("GET", "b")
    assert Response(200, {}) == Response(200, {}, b"")


def test_what_became_of_a_request_has_a_code_and_a_sentence() -> None:
    assert (NotSent("timeout", "late").code, str(NotSent("timeout", "late"))) == ("timeout", "late")
    assert (Unknown("timeout", "late").code, str(Unknown("timeout", "late"))) == ("timeout", "late")
    assert NotSent("connection_error", "refused").passing
    assert not NotSent("connection_error", "no trust", passing=False).passing


@pytest.mark.parametrize("text", ['{"a": [1, 2.5, null, "猫"]}', "[]", "1e300"])
def test_json_that_everybody_reads_alike_is_read(text: str) -> None:
    assert parse_json(text) == json.loads(text)


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"a": 1, "a": 2}', "NaN", "[-Infinity]", "1e999", "[-1e999]", "1" * 5000, "[" * 100_000, "\ufeff1"],
    ids=lambda text: text[:20],
)
def test_json_that_somebody_reads_otherwise_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_json(text)
