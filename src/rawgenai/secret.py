"""A value that no text of ours shows, and the last look at text before it leaves the program."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

_TELLING = 8  # characters; what is shorter stands in ordinary words too, and is no real key
_known: set[str] = set()  # every secret of this process; whatever a server echoes, it is not passed on


class Secret:
    """A value that no text shows; ``reveal`` gives it to whoever sends it to the API."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        if len(value) >= _TELLING:
            _known.add(value)

    def reveal(self) -> str:
        """Return the value itself."""
        return self._value

    def __repr__(self) -> str:
        return "[redacted]"

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a secret cannot be pickled or copied")


class _Environ(Mapping[str, str]):
    """The environment as a default of arguments: a signature shows its defaults, and the key may be in there."""

    def __getitem__(self, name: str) -> str:
        return os.environ[name]

    def __iter__(self) -> Iterator[str]:
        return iter(os.environ)

    def __len__(self) -> int:
        return len(os.environ)

    def __repr__(self) -> str:
        return "os.environ"


ENVIRON = _Environ()


def redact(text: str) -> str:
    """Take every secret of this process out of a text."""
    for value in _known:
        text = text.replace(value, "[redacted]")
    return text
