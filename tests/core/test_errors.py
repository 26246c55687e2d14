"""The table of codes, and which exit status an error ends with (design section 4, transcribed)."""

import re

import pytest

from rawgenai.errors import CODES, STATUSES, RawgenaiError

# "3: mend the key, region or account", "4: try again later", "5: wait longer", "1: the rest" of what is not refused
# before sending. All others are 2: "every refusal before sending, missing_extra, over_budget".
DESIGNED = {
    3: {"missing_api_key", "invalid_api_key", "access_denied", "config_error"},
    4: {"rate_limit", "server_error", "connection_error", "timeout", "download_error"},
    5: {"video_not_ready", "wait_timeout"},
    1: {
        "invalid_request",
        "content_policy",
        "task_not_found",
        "video_failed",
        "no_video",
        "url_expired",
        "task_not_cancelable",
        "internal_error",
    },
}
STATUS = {code: status for status, codes in DESIGNED.items() for code in codes}


@pytest.mark.parametrize("code", CODES)
def test_a_code_ends_with_the_designed_status(code: str) -> None:
    assert RawgenaiError(code).status == CODES[code].status == STATUS.get(code, 2)


def test_every_designed_code_is_a_row() -> None:
    assert STATUS.keys() <= CODES.keys()


@pytest.mark.parametrize("code", CODES)
def test_a_row_is_well_formed(code: str) -> None:
    assert re.fullmatch("[a-z]+(_[a-z]+)*", code)
    assert CODES[code].status in STATUSES
    assert CODES[code].sentence
    assert not CODES[code].sentence.endswith(".")


def test_sentences_differ() -> None:
    assert len({row.sentence for row in CODES.values()}) == len(CODES)


@pytest.mark.parametrize(
    ("code", "outcome", "final", "status"),
    [
        ("timeout", None, False, 4),
        ("timeout", "unknown", False, 6),
        ("connection_error", "unknown", False, 6),
        ("server_error", "unknown", False, 6),
        ("server_error", "unknown", True, 6),  # unknown comes first
        ("server_error", None, True, 1),  # the task has ended
        ("content_policy", None, True, 1),
        ("output_write_error", None, False, 2),  # nothing was sent yet
        ("output_write_error", None, True, 1),  # local I/O failed after something was sent
    ],
)
def test_the_circumstances_win_over_the_row(code: str, outcome: str | None, final: bool, status: int) -> None:
    assert RawgenaiError(code, outcome=outcome, final=final).status == status


def test_an_error_says_the_rows_sentence_unless_told_a_better_one() -> None:
    assert RawgenaiError("rate_limit").message == "too many requests"
    assert RawgenaiError("rate_limit", "slow down").message == "slow down"
    assert str(RawgenaiError("rate_limit", "slow down")) == "rate_limit: slow down"


def test_an_error_carries_what_is_known() -> None:
    error = RawgenaiError(
        "rate_limit", api_code="Throttling", request_id="r", task_id="t", outcome="unknown", final=True
    )
    assert (error.code, error.api_code, error.request_id, error.task_id) == ("rate_limit", "Throttling", "r", "t")
    assert (error.outcome, error.final) == ("unknown", True)


def test_an_error_without_a_row_cannot_be_raised() -> None:
    with pytest.raises(KeyError):
        RawgenaiError("no_such_code")
