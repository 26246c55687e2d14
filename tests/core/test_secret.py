"""A secret is in no text."""

import copy
import json
import pickle

import pytest

from rawgenai.secret import Secret, redact

VALUE = "sk-core-0123456789"


def test_a_secret_shows_nowhere_but_by_reveal() -> None:
    secret = Secret(VALUE)
    shown = [str(secret), repr(secret), f"{secret}", f"{secret:>20}", f"{secret!r}", repr([secret])]
    assert not any(VALUE in text for text in shown)
    assert f"{secret:>20}".strip() == "[redacted]"
    assert secret.reveal() == VALUE


def test_a_secret_cannot_be_written_or_copied() -> None:
    for leak in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps, vars):
        with pytest.raises(TypeError):
            leak(Secret(VALUE))


def test_the_last_look_takes_every_secret_out() -> None:
    Secret(VALUE)
    other = Secret("sk-core-abcdefgh")
    assert redact(f"a {VALUE}b {other.reveal()}") == "a [redacted]b [redacted]"
    assert redact("nothing of the kind") == "nothing of the kind"
