"""A film: shot after shot, each from the last frame of the one before, joined at the end.

A shot is one Spec, and its clip is made by ``generate``, which loses nothing and pays once; so the same film again goes
on where it was cut off. Nothing is sent before every shot is known to be one that may be.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import cache, partial, reduce
from operator import or_
from types import GenericAlias
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from rawgenai import config, files
from rawgenai.config import Settings
from rawgenai.dashscope import generation, loading, rules, submitting
from rawgenai.dashscope.generation import Clip
from rawgenai.dashscope.models import Model
from rawgenai.dashscope.recording import Warn, silent
from rawgenai.dashscope.spec import Spec, paths_of, with_media
from rawgenai.errors import RawgenaiError
from rawgenai.message import Media, parse_json

NOTHING_SENT = 2  # exit status
MAX_SHOTS = 1024 * 1024  # bytes of their lines

# A field that is wrong has a code of its own, where its flag has one; else `invalid_usage`.
_CODES = {"duration": "invalid_duration", "size": "invalid_size", "seed": "invalid_seed"}
_A_LINE = "a shot is one object on one line, as jq -c '.[]' makes of a list"
_EDITS = ("vace", *rules.VACE_INPUTS)  # edit a clip that there is, which no shot does
_NAMES = {field.name: field.name for field in fields(Spec) if field.name not in _EDITS}  # of fields, in a line
_NAMES["continues"] = "continue"


class Shot(NamedTuple):
    """A shot of a film, checked; nothing of it was sent."""

    line: int  # that names it
    spec: Spec  # loaded; where it goes on from the shot before, a leaf stands for that one's last frame
    model: Model
    warnings: list[str]
    before: Media | None  # the leaf that stands for the last frame of the shot before


class Film(NamedTuple):
    """A film on disk, how it was joined, and the clips that it is made of."""

    file: str  # absolute path
    seconds: float
    picture: str  # "copied" or "encoded"
    sound: str  # "copied", "encoded" or "none"
    reasons: list[str]  # why what could have been copied was encoded; sentences
    shots: list[Clip]


def film(
    shots: Sequence[Spec] | Mapping[int, Spec],
    output: str,
    *,
    folder: str | None = None,
    audio: str | None = None,
    crossfade: float = 0,
    strict: bool = False,
    settings: Settings | None = None,
    warn: Warn = silent,
    shoot: Callable[..., Clip] = generation.generate,
    joining: Callable[[int, int], None] = lambda _done, _total: None,
) -> Film:
    """Make a film of shots, in their order, and return it once it is on disk, in the MP4 file ``output``.

    Each shot begins with the last frame of the one before, unless it names media of its own, or its ``continues`` is
    False; a shot that equals an earlier one is a clip of its own. The clips are ``TASK_ID.mp4`` in ``folder``, by
    default ``NAME.clips`` beside a film ``NAME.mp4``, and stay there. The same call again goes on where it was cut off:
    a clip that is on disk is not asked for again, a task that was paid is waited for. ``audio`` and ``crossfade`` are
    those of ``rawgenai video join``. ``shoot`` makes the clip of a shot and is called as ``generate`` is; ``joining``
    is told how far the join is, in seconds of the film. Raises RawgenaiError with any code of the table, before
    anything is sent where a shot may not be; it names the shot as the line, counted from 1, or by the number that a
    mapping gives it.
    """
    from rawgenai import film as cutting

    planned = plan(shots, strict=strict, crossfade=crossfade)
    target, place = check_target(shots, output, folder=folder, audio=audio, crossfade=crossfade)
    place = generation.clip_folder(place)
    settings = settings or config.load()
    planned = judged(planned, settings, strict=strict)
    clips, equal = list[Clip](), Counter[str]()
    for shot in planned:
        with _kept(clips), _line(shot.line):
            spec = shot.spec
            if shot.before:
                spec = with_media(spec, {shot.before: loading.last_frame(clips[-1].file)})
            digest = submitting.order(spec, settings, strict=strict)[0].digest
            more = {"take": equal[digest]} if equal[digest] else {}
            equal[digest] += 1
            told = partial(_told, warn, shot.line)
            clips.append(shoot(spec, folder=place, more=more, settings=settings, strict=strict, warn=told))
    with _kept(clips):
        made = cutting.join(
            [clip.file for clip in clips], target, audio=audio, crossfade=crossfade, warn=warn, progress=joining
        )
    return Film(*made, shots=clips)


def check_target(
    shots: Sequence[Spec] | Mapping[int, Spec],
    output: str,
    *,
    folder: str | None = None,
    audio: str | None = None,
    crossfade: float = 0,
) -> tuple[str, str]:
    """Object to where a film and its clips shall go and to how it shall be joined; the absolute paths of both.

    Nothing is made. Raises RawgenaiError.
    """
    from rawgenai import film as cutting

    target = cutting.check([], output, audio=audio, crossfade=crossfade)
    place = os.path.abspath(folder or f"{os.path.splitext(target)[0]}.clips")
    if os.path.lexists(place) and not os.path.isdir(place):
        raise RawgenaiError("output_write_error", f"--clips {place!r} is not a folder")
    for number, spec in _numbered(shots):
        with _line(number):
            files.refuse_own_input(target, paths_of(spec))
    return target, place


@contextmanager
def _kept(clips: Sequence[Clip]) -> Iterator[None]:
    """Say in an error that the clips so far are kept, and let none say that nothing was sent where one was paid."""
    try:
        yield
    except RawgenaiError as error:
        if clips:
            folders = " and ".join(dict.fromkeys(os.path.dirname(clip.file) for clip in clips))
            error.message += f"; the shots that are made are in {folders}, and the same command goes on from there"
        if error.status == NOTHING_SENT and not all(clip.cached for clip in clips):
            error.final = True
        raise


def _told(warn: Warn, number: int, text: str) -> None:
    warn(f"line {number}: {text}")


def plan(shots: Sequence[Spec] | Mapping[int, Spec], *, strict: bool = False, crossfade: float = 0) -> list[Shot]:
    """Check every shot of a film, and load what it names, without network or key.

    Raises RawgenaiError with the first objection, which names the line; with ``strict`` a warning is one.
    """
    from rawgenai import film as cutting

    if not shots:
        raise RawgenaiError("invalid_usage", "a film has one shot or more; there is none")
    planned: list[Shot] = []
    for number, spec in _numbered(shots):
        with _line(number):
            planned.append(shot := _planned(spec, number, planned[-1:], strict=strict))
            length = shot.model.default_duration if shot.spec.duration is None else shot.spec.duration
            if length > 0:  # else it is known when the clip is there
                cutting.check_fade(len(planned) - 1, len(shots), length, crossfade)
    return planned


def judged(planned: Sequence[Shot], settings: Settings, *, strict: bool = False) -> list[Shot]:
    """Judge every shot by the region that will be asked, and add what to warn people of. Raises RawgenaiError."""
    done = []
    for shot in planned:
        with _line(shot.line):
            said = rules.judge_region(shot.model, settings.region, settings.named_region, strict=strict)
        done.append(shot._replace(warnings=[*shot.warnings, *said]))
    return done


def _numbered(shots: Sequence[Spec] | Mapping[int, Spec]) -> Iterable[tuple[int, Spec]]:
    return shots.items() if isinstance(shots, Mapping) else enumerate(shots, 1)


def _planned(spec: Spec, number: int, earlier: Sequence[Shot], *, strict: bool) -> Shot:
    """Check a shot; ``earlier`` is the one before it, if there is one."""
    before = None
    if spec.continues is False:
        spec = replace(spec, continues=None)
    elif spec.continues is True or (earlier and not rules.is_begun(spec)):
        if not earlier:
            raise RawgenaiError("invalid_usage", "there is no shot before the first one")
        before = Media(f"the last frame of line {earlier[0].line}", "image/png", 0)
        spec = loading.begun(replace(spec, continues=True), before)
    if spec.prompt_file == "-":
        raise RawgenaiError("invalid_usage", "prompt_file is a file; stdin has no place in a film")
    return Shot(number, *loading.prepare(spec, strict=strict), before)


@contextmanager
def _line(number: int) -> Iterator[None]:
    """Say in an error which shot it is about."""
    try:
        yield
    except RawgenaiError as error:
        error.message = f"line {number}: {error.message}"
        raise


# --- the lines of a file -----------------------------------------------------------------------------------------


def read(text: str | bytes) -> dict[int, Spec]:
    """Parse and check the lines of a film, one JSON object each, of at most 1 MiB in UTF-8: a Spec for each number.

    Empty lines are skipped, and counted. The fields are a Spec's; ``continues`` is called ``continue``. Raises
    RawgenaiError, which names the line: `invalid_usage` for what is no such line, has an unknown field or a value of a
    wrong type; `invalid_duration`, `invalid_size` and `invalid_seed` for the type of these three.
    """
    raw = text.encode() if isinstance(text, str) else text
    if len(raw) > MAX_SHOTS:
        raise RawgenaiError("invalid_usage", f"the shots are longer than {MAX_SHOTS // 1024} KiB")
    specs = {}
    for number, line in enumerate(raw.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        if line.strip():
            with _line(number):
                specs[number] = _spec(line)
    return specs


def _spec(line: bytes) -> Spec:
    try:
        document = parse_json(line.decode())
    except ValueError as error:
        why = getattr(error, "msg", error)  # of a JSONDecodeError the rest is a place in the line, called line 1
        raise RawgenaiError("invalid_usage", f"it is not JSON that can be read: {why}; {_A_LINE}") from None
    if not isinstance(document, dict):
        raise RawgenaiError("invalid_usage", f"it is not a JSON object; {_A_LINE}")
    from pydantic import ValidationError

    try:
        checked = _checker().model_validate_json(line)
    except ValidationError as error:
        raise _refusal(error.errors(include_url=False, include_context=False, include_input=False)[0]) from None
    return Spec(**{name: getattr(checked, name) for name in checked.model_fields_set})


@cache
def _checker() -> Any:
    """Build the pydantic model of a line: a Spec's fields, whose media are paths or URLs."""
    from pydantic import ConfigDict, Field, create_model

    hints = get_type_hints(Spec)
    given: dict[str, Any] = {
        name: (_unloaded(hints[name]), Field(None, alias=called)) for name, called in _NAMES.items()
    }
    return create_model("Shot", __config__=ConfigDict(strict=True, extra="forbid"), **given)


def _unloaded(hint: Any) -> Any:
    """Take Media out of a type: a line names files, and says nothing of what is in them."""
    parts = tuple(_unloaded(part) for part in get_args(hint) if part is not Media)
    if get_origin(hint) is tuple:
        return GenericAlias(tuple, parts)
    return reduce(or_, parts) if parts else hint


def _refusal(error: Mapping[str, Any]) -> RawgenaiError:
    """Turn pydantic's first objection into ours; it never holds the value."""
    name = str(error["loc"][0]) if error["loc"] else ""
    if name in _NAMES.values():
        said = error["msg"][:1].lower() + error["msg"][1:]
        return RawgenaiError(_CODES.get(name, "invalid_usage"), f"the field {name!r}: {said}")
    return RawgenaiError("invalid_usage", f"the unknown field {name[:80]!r}; there are {', '.join(_NAMES.values())}")
