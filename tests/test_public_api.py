"""The Python API is what ``rawgenai.dashscope.__all__`` says: all of it there, typed, documented, nothing beside it."""

import importlib
import inspect
import pkgutil
import sys
import typing
from pathlib import Path

import pytest

import rawgenai
from rawgenai import dashscope


def test_all_is_sorted() -> None:
    assert dashscope.__all__ == sorted(set(dashscope.__all__))


def test_the_version_is_a_plain_literal_and_the_only_name_of_the_package() -> None:
    source = Path(rawgenai.__file__).read_text("utf-8")
    assert source == f'__version__ = "{rawgenai.__version__}"\n'


def test_what_type_checkers_see_is_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    # The names come when they are asked for; the import block that only type checkers read must say the same.
    monkeypatch.setattr(typing, "TYPE_CHECKING", True)
    monkeypatch.delitem(sys.modules, "rawgenai.dashscope")
    checked = vars(importlib.import_module("rawgenai.dashscope"))
    imported = {name for name, value in checked.items() if getattr(value, "__module__", "").startswith("rawgenai.")}
    assert imported - {"__getattr__"} == set(dashscope.__all__)
    assert [checked[name] for name in dashscope.__all__] == [getattr(dashscope, name) for name in dashscope.__all__]


def test_an_unknown_name_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match=r"module 'rawgenai.dashscope' has no attribute 'creat'"):
        dashscope.creat  # type: ignore[attr-defined]  # noqa: B018 - asking for it is the point


@pytest.mark.parametrize("name", dashscope.__all__)
def test_each_name_is_documented(name: str) -> None:
    assert inspect.getdoc(getattr(dashscope, name))


@pytest.mark.parametrize("name", [name for name in dashscope.__all__ if name.islower()])
def test_functions_are_typed_and_take_collaborators_by_name_only(name: str) -> None:
    signature = inspect.signature(getattr(dashscope, name))
    assert signature.return_annotation is not inspect.Signature.empty
    for parameter in signature.parameters.values():
        assert parameter.annotation is not inspect.Parameter.empty
        given = parameter.default is not inspect.Parameter.empty
        assert given is (parameter.kind is inspect.Parameter.KEYWORD_ONLY), parameter


def test_no_signature_shows_the_environment(monkeypatch: pytest.MonkeyPatch, canary: str) -> None:
    monkeypatch.setenv("DASHSCOPE_API_KEY", canary)
    shown = [
        f"{name}{inspect.signature(function)}"
        for module in pkgutil.walk_packages(rawgenai.__path__, "rawgenai.")
        if module.name != "rawgenai.__main__"
        for name, function in inspect.getmembers(importlib.import_module(module.name), inspect.isfunction)
    ]
    assert any("environ: collections.abc.Mapping[str, str] = os.environ" in text for text in shown)
    assert [text for text in shown if canary in text] == []
