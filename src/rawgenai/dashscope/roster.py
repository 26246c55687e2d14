"""The models that there are: the rows of the table, and those that a user's own file adds to them.

The file, ``models.json`` in the config folder, is read only for a name that is not in the table. It is an object of
rows by name; a row has the cells of ``models.Model``, and with ``like`` it takes what it does not say from the table.
A name that is in the table means the table's row, so that a release that knows the model supersedes the file.
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from rawgenai import files
from rawgenai.dashscope import rules
from rawgenai.dashscope.models import AUTO, DIALECTS, FEATURES, MODELS, MODES, ROLES, SIZES, Limits, Model
from rawgenai.dashscope.spec import Spec
from rawgenai.errors import RawgenaiError
from rawgenai.message import parse_json
from rawgenai.regions import REGIONS
from rawgenai.secret import ENVIRON

FILE = "models.json"
BUILT_IN = "built in"
_MAX_FILE = 1024 * 1024  # bytes
_NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,127}"  # it becomes part of a URL


def select(spec: Spec, *, strict: bool = False) -> tuple[Model, list[str]]:
    """Choose the model for a Spec that may be sent, as ``rules.select`` does, also among the user's own.

    Raises RawgenaiError with the first objection; `config_error` where the file is wrong.
    """
    return rules.select(spec, strict=strict, rows=rows_for(spec.model))


def select_model(spec: Spec, mode: str) -> Model:
    """Take the row of the named model, also of the user's own, or of the mode's default model."""
    return rules.select_model(spec, mode, rows_for(spec.model))


def spelled(spec: Spec, model: Model, region: str | None) -> tuple[Spec, Model]:
    """Take the usual model by the name that it has in a region; one that the Spec names stays as it is."""
    if spec.model is not None or region is None or region not in model.spellings:
        return spec, model
    there = replace(spec, model=model.spellings[region])
    return there, select(there)[0]


def rows_for(name: str | None, environ: Mapping[str, str] = ENVIRON) -> Mapping[str, Model]:
    """Return the rows that a name is looked up in: the table, and the user's own where it has none of that name."""
    return MODELS if name is None or name in MODELS else all_rows(environ)


def all_rows(environ: Mapping[str, str] = ENVIRON) -> Mapping[str, Model]:
    """Return every row: the table's first. Raises RawgenaiError `config_error` where the file is wrong."""
    try:
        file = path(environ)
        text = files.read_bounded(file, "models.json", _MAX_FILE)
    except FileNotFoundError:  # no home folder that it could be in
        return MODELS
    except RawgenaiError as error:
        if error.code == "file_not_found":
            return MODELS
        raise RawgenaiError("config_error", error.message) from error
    return {**MODELS, **{name: row for name, row in _rows(file, text).items() if name not in MODELS}}


def path(environ: Mapping[str, str] = ENVIRON) -> str:
    """Name the user's own file, whether it exists or not. Raises FileNotFoundError where no home folder is known."""
    return os.path.join(files.config_folder(environ), FILE)


def source_of(row: Model, environ: Mapping[str, str] = ENVIRON) -> str:
    """Say where a row comes from: ``"built in"``, or the file's path."""
    return BUILT_IN if MODELS.get(row.name) is row else path(environ)


# --- the file ----------------------------------------------------------------------------------------------------


def _rows(file: str, text: bytes) -> dict[str, Model]:
    if len(text) > _MAX_FILE:
        raise _fault(file, f"is larger than {_MAX_FILE} bytes")
    try:
        document = parse_json(text.decode("utf-8-sig"))
    except ValueError as error:
        raise _fault(file, f"is not JSON that can be read: {error}") from None
    if not isinstance(document, dict):
        raise _fault(file, "does not hold a JSON object of rows by name")
    return {name: _row(file, name, cells) for name, cells in document.items()}


def _row(file: str, name: str, cells: Any) -> Model:
    import json

    from pydantic import ValidationError

    if not re.fullmatch(_NAME, name):
        raise _fault(file, f"names a model {name[:80]!r}; a name is letters, digits, '.', '-' and '_'")
    like = cells.pop("like", None) if isinstance(cells, dict) else None
    if like is not None and (not isinstance(like, str) or like not in MODELS):
        raise _fault(file, f"{name}.like: {str(like)[:80]!r} is no model of the table")
    try:
        checked = _checker(whole=like is None).model_validate_json(json.dumps(cells))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, (name, *first["loc"])))
        raise _fault(file, f"{where}: {first['msg']}") from None
    given = {cell: getattr(checked, cell) for cell in checked.model_fields_set}
    row = MODELS[like]._replace(name=name, **given) if like else Model(name=name, **given)
    shapes = [SIZES[tier] for tier in row.resolutions]
    unknown = [ratio for ratio in row.ratios if any(ratio not in shape for shape in shapes)]
    if row.dialect != "media" and unknown:  # whose requests state exact pixels
        raise _fault(file, f"{name}.ratios: there are no sizes of {unknown[0]} for {', '.join(row.resolutions)}")
    return row


def _fault(file: str, what: str) -> RawgenaiError:
    return RawgenaiError("config_error", f"the file {file!r}: {what}")


@cache
def _checker(*, whole: bool) -> Any:
    """Build the pydantic model of a row; ``whole``: one that takes nothing from another."""
    from typing import get_type_hints

    from pydantic import ConfigDict, create_model

    hints = get_type_hints(Model) | _cells()
    asked: dict[str, Any] = {}
    for cell in Model._fields:
        needed = whole and cell not in Model._field_defaults
        asked[cell] = (hints[cell], ... if needed else None)
    del asked["name"]
    return create_model("Row", __config__=ConfigDict(strict=True, extra="forbid"), **asked)


def _cells() -> dict[str, Any]:
    """Say what a cell may hold where its type says too little: the table's own words, and figures within bounds."""
    from types import GenericAlias
    from typing import Annotated, Literal

    from pydantic import Field

    def word(words: Iterable[str]) -> Any:
        return Literal[tuple(words)]

    def text(pattern: str) -> Any:
        return Annotated[str, Field(pattern=f"^({pattern})$")]

    def number(least: int, most: int) -> Any:
        return Annotated[int, Field(ge=least, le=most)]

    def several(kind: Any, least: int = 0) -> Any:
        return Annotated[GenericAlias(tuple, (kind, ...)), Field(min_length=least)]

    def each(key: Any, value: Any) -> Any:
        return GenericAlias(dict, (key, value))

    mode, tier, region, role = word(MODES), word(SIZES), word(REGIONS), word(ROLES)
    seconds, count, ratio = number(AUTO, 3600), number(0, 1000), text(r"[1-9]\d?:[1-9]\d?|adaptive")
    prices = each(region, each(tier, text(r"\d{1,6}(\.\d{1,9})?")))
    return {
        "mode": mode,
        "also": several(mode),
        "dialect": word(DIALECTS),
        "resolutions": several(tier, 1),
        "durations": several(seconds),
        "video_durations": several(seconds),
        "default_duration": seconds,
        "prompt_limit": number(1, 1_000_000),
        "cjk_limit": number(1, 1_000_000) | None,
        "regions": several(region, 1),
        "doubtful_regions": several(region),
        "spellings": each(region, text(_NAME)),
        "features": GenericAlias(frozenset, (word(FEATURES),)),
        "limits": each(word(("image", "video", "audio")), Limits),
        "max_refs": count,
        "max_ref_videos": count,
        "max_ref_audios": count,
        "max_ref_images": count | None,
        "prices": prices,
        "silent_prices": prices,
        "media": several(several(role)) | None,
        "audio_type": word(("driving_audio", "reference_audio")) | None,
        "ratios": several(ratio),
        "default_ratio": ratio | None,
        "follows": several(role),
        "pixels": each(tier, each(ratio, text(r"[1-9]\d{1,4}\*[1-9]\d{1,4}"))),
        "needs_prompt": word(("always", "never", "alone")),
        "billed_input": word(("capped", "whole", "none")),
        "fps": number(1, 240),
    }
