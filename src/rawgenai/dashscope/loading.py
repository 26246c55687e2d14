"""Load what a Spec names: the prompt from its file, local media as leaves that know what they are.

Nothing here touches the network. What is allowed is judged in rules.py, from the facts that a leaf carries.
"""

import os
import re
from dataclasses import replace

from rawgenai import files, media
from rawgenai.dashscope import roster, rules
from rawgenai.dashscope.models import Model
from rawgenai.dashscope.spec import Input, Spec, media_of, with_media
from rawgenai.errors import RawgenaiError
from rawgenai.message import Media

_FRAME_BYTES = 10 * 1024 * 1024  # every model that takes an image takes one of these
_DATA_URI_BYTES = 20 * 1024 * 1024  # no input of any model may be larger


def prepare(spec: Spec, *, strict: bool = False) -> tuple[Spec, Model, list[str]]:
    """Check a Spec and load what it names, without network or key: flags, model, rules, files.

    Returns the Spec with text and Media leaves in the place of local files, the model's row, and warnings for people.
    Raises RawgenaiError with the first objection; with ``strict`` a warning is one. What is prepared already stays so.
    """
    roster.select(spec, strict=strict)
    loaded = load(spec)
    model, warnings = roster.select(loaded, strict=strict)  # now with the prompt's text and the files' facts
    return loaded, model, warnings


def load(spec: Spec) -> Spec:
    """Read the prompt and look at the local files: the Spec with text and Media leaves in their place.

    Raises RawgenaiError: the prompt's codes, and for each input its own for a file that is absent, unreadable or of a
    kind that no model takes there.
    """
    if isinstance(spec.continues, str):
        spec = begun(spec, last_frame(spec.continues))
    return with_media(_load_prompt(spec), {leaf: _load_leaf(row, leaf) for row, leaf in media_of(spec)})


def begun(spec: Spec, frame: str | Media) -> Spec:
    """Put a frame where a Spec has its first one, in the place of the clip that it goes on from."""
    row = roster.rows_for(spec.model).get(spec.model or "")
    if rules.select_mode(spec, row) == "kf2v":
        return replace(spec, continues=None, first_frame=frame)
    return replace(spec, continues=None, image=frame)


def last_frame(clip: str) -> Media:
    """Take the last frame of a local clip, as a leaf that holds it in a data URI: the same clip gives the same one.

    Raises RawgenaiError as ``film.last_picture``.
    """
    from base64 import b64encode

    from rawgenai import film

    data, mime = film.last_picture(clip, _FRAME_BYTES)
    leaf = _media(f"data:{mime};base64,{b64encode(data).decode()}", media.look_at_bytes(data))
    return replace(leaf, called=f"--continue: the last frame of {clip!r}")


def seal(spec: Spec) -> Spec:
    """Hash the local files, so that no other bytes than those that were checked are ever sent. Raises RawgenaiError."""
    return with_media(spec, {leaf: _sealed(row, leaf) for row, leaf in media_of(spec) if isinstance(leaf, Media)})


def _load_prompt(spec: Spec) -> Spec:
    if spec.prompt is not None:
        return replace(spec, prompt=files.clean(spec.prompt))
    if spec.prompt_file is None:
        return spec
    text = files.read_prompt(spec.prompt_file)
    return replace(spec, prompt=text or None, prompt_file=None)


def _load_leaf(row: Input, value: str | Media) -> str | Media:
    if isinstance(value, Media):
        return value
    scheme = re.match(r"data:|[A-Z][A-Z0-9+.-]+://", value, re.IGNORECASE)
    if scheme is not None:
        value = scheme[0].lower() + value.removeprefix(scheme[0])
        return _load_data_uri(row, value) if scheme[0].lower() == "data:" else _checked_url(row, value)
    try:
        return _leaf(row, os.path.abspath(value) if value else value, media.look(value), repr(value))
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise RawgenaiError(row.absent, f"{row.flag} {value!r} does not exist") from error
    except OSError as error:
        raise _unreadable(row, value, error) from error


def _checked_url(row: Input, value: str) -> str:
    if re.fullmatch(r"(https?|oss)://[^\s/?#]\S*", value) and not files.text_fault(value):
        return value
    raise RawgenaiError(row.invalid, f"{row.flag} {value[:80]!r} is no http(s) or oss URL, and no path either")


def _load_data_uri(row: Input, value: str) -> Media:
    """Look into a data URI as into a file; it travels inline, or is uploaded where the API takes none (ruling 11)."""
    if "image" not in row.kinds:
        raise RawgenaiError(row.invalid, f"{row.flag} takes no data URI; give a path or a URL")
    seen = row._replace(kinds=tuple(kind for kind in row.kinds if kind != "audio"))  # sound is no data URI (ruling 11)
    try:
        return _leaf(seen, value, media.look_at_bytes(media.decode_data_uri(value, _DATA_URI_BYTES)), "its data URI")
    except (ValueError, OSError) as error:
        raise RawgenaiError(row.invalid, f"{row.flag} is a data URI, but {files.reason(error)}") from error


def _leaf(row: Input, path: str, look: media.Look, name: str) -> Media:
    if look.kind not in row.kinds:
        what = f"is {look.what}, no" if look.what else "is no"
        raise RawgenaiError(row.invalid, f"{row.flag} {name} {what} {' or '.join(row.kinds)} file that the API takes")
    return _media(path, look)


def _media(path: str, look: media.Look) -> Media:
    return Media(path, look.mime, look.size, look.width, look.height, look.alpha, look.seconds, look.fps)


def _sealed(row: Input, leaf: Media) -> Media:
    if leaf.digest:
        return leaf
    try:
        digest, crc64 = media.fingerprint(leaf.path, leaf.size)
        # Looked at once more, so that what was hashed is what was checked; a data URI cannot change behind our back.
        same = leaf.path.startswith("data:") or _media(leaf.path, media.look(leaf.path)) == leaf
    except OSError as error:
        raise _unreadable(row, leaf.path, error) from error
    if not same:
        raise _unreadable(row, leaf.path, OSError("it was changed while it was checked"))
    return replace(leaf, digest=digest, crc64=crc64)


def _unreadable(row: Input, path: str, error: OSError) -> RawgenaiError:
    return RawgenaiError(row.unreadable, f"{row.flag} {path!r} cannot be read: {files.reason(error)}")
