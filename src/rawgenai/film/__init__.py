"""Films: clips joined to one, the last frame of a clip, what a clip is. PyAV (extra ``media``) does the work.

A film is a picture and a sound, each a stream of packets in the order of their times, each either copied as it is in
the clips or encoded anew, and merged. So clips whose sounds differ keep their picture untouched, and the other way
round. Nothing is held but what is being joined: memory does not grow with the film.
"""

import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from heapq import merge
from math import ceil
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from rawgenai import files, media
from rawgenai.errors import RawgenaiError
from rawgenai.film import pictures, planning, sounds
from rawgenai.film.planning import Plan
from rawgenai.film.probing import AAC_FRAME, check_sound, look_at, probe, require_av, unusable

if TYPE_CHECKING:
    from PIL.Image import Image

LONGEST_FADE = 60  # seconds
INDEX_ENTRY = 48  # bytes of an MP4's index that a packet takes at the most: when, for how long, where, how large
INDEX_HEADERS = 64 * 1024  # bytes of what else an index holds; a codec's settings may be larger


class Info(NamedTuple):
    """What a clip is."""

    seconds: float  # that its picture lasts
    width: int  # pixels as shown
    height: int
    fps: float  # frames a second, on average
    codec: str | None  # of the picture; None where PyAV is not installed
    sound: bool
    audio_codec: str | None  # None where there is no sound, or no PyAV


class Film(NamedTuple):
    """What a join has made, and how."""

    file: str
    seconds: float
    picture: str  # "copied" or "encoded"
    sound: str  # "copied", "encoded" or "none"
    reasons: list[str]  # why what could have been copied was encoded; sentences


def info(path: str) -> Info:
    """Tell what a local MP4 or MOV clip is. No frame is decoded.

    Without PyAV it is what the file's own index says: no codecs, edit lists are not looked at, and fragmented clips
    are refused. Raises RawgenaiError: file_not_found, invalid_usage (no clip, cut off, unreadable).
    """
    look = look_at(path)
    try:
        require_av("")
    except RawgenaiError:
        return _measured(path, look)
    clip = probe(path)
    sound = None if clip.sound is None else clip.sound.codec
    shown = clip.picture
    return Info(float(clip.length), shown.width, shown.height, shown.fps, shown.codec, sound is not None, sound)


def _measured(path: str, look: media.Look) -> Info:
    try:
        found = media.measure(path)
    except (OSError, ValueError) as error:
        raise unusable(path, f"cannot be measured without PyAV: {files.reason(error)}") from error
    return Info(found.seconds, look.width, look.height, found.fps, None, found.sound, None)


def last_frame(clip: str, output: str) -> str:
    """Write the last frame of a clip that is shown to a PNG file, of the clip's own pixels; return its absolute path.

    Raises RawgenaiError: file_not_found, invalid_usage (no clip, or the output is the clip), invalid_format (not
    .png), output_write_error, missing_extra.
    """
    target = files.check_target(output, ".png")
    look_at(clip)
    files.refuse_own_input(target, [clip])
    image = _last_image(clip)
    with _part_of(target) as part:
        image.save(part, "PNG")
    return target


def last_picture(clip: str, most: int) -> tuple[bytes, str]:
    """Take the last frame of a clip that is shown, of the clip's own pixels, as a file's bytes and their MIME type.

    It is a PNG, as ``last_frame`` writes it; where that has over ``most`` bytes, which no frame of 1920x1080 has at
    10 MiB, a JPEG that looks the same. The same clip gives the same bytes. Raises RawgenaiError: file_not_found,
    invalid_usage (no clip), missing_extra.
    """
    image, data = _last_image(clip), io.BytesIO()
    image.save(data, "PNG")
    if data.tell() <= most:
        return data.getvalue(), "image/png"
    data = io.BytesIO()
    image.save(data, "JPEG", quality=95, subsampling=0)
    return data.getvalue(), "image/jpeg"


def join(
    clips: Sequence[str],
    output: str,
    *,
    audio: str | None = None,
    crossfade: float = 0,
    warn: Callable[[str], None] = lambda _: None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Film:
    """Join local clips to one film, an MP4 file, in their order.

    Picture and sound are copied where the clips are alike, else encoded: to the first clip's pixels and frames a
    second, with black bars where the shape differs; ``warn`` is told why, and ``progress`` how many of the film's
    seconds are encoded, which may take long. A clip without sound among others is
    silent. ``audio`` names a WAV, MP3 or M4A file that stands in for all sound, cut to the film's length or followed
    by silence. ``crossfade`` is how many seconds each clip fades over into the next. Raises RawgenaiError:
    invalid_usage (no clip, cut off, output is an input, fade too long), file_not_found, invalid_audio,
    invalid_format, output_write_error, missing_extra.
    """
    target = check(clips, output, audio=audio, crossfade=crossfade)
    found = [probe(path) for path in clips]
    plan = planning.plan(found, audio, crossfade, warn)
    if audio is not None:
        sounds.warn_of_silence(audio, float(plan.frames / plan.rate), warn)
    with _part_of(target) as part:
        _write_once(part, plan, progress)
        seconds = _length_of(part)
    return Film(target, seconds, plan.picture, plan.sound, plan.reasons)


def check(clips: Sequence[str], output: str, *, audio: str | None = None, crossfade: float = 0) -> str:
    """Object to a join before anything of it is done, also before its clips are made; the film's absolute path.

    Raises RawgenaiError as ``join``.
    """
    target = files.check_target(output)
    if not 0 <= crossfade <= LONGEST_FADE:
        raise RawgenaiError("invalid_usage", f"--crossfade {crossfade:g} is not from 0 to {LONGEST_FADE} seconds")
    for path in clips:
        look_at(path)
    kind = "" if audio is None else check_sound(audio)
    files.refuse_own_input(target, [*clips, *([] if audio is None else [audio])])
    require_av("clips are joined")
    if audio is not None:
        sounds.probe_voice(audio, kind)
    return target


def check_fade(place: int, count: int, seconds: float, crossfade: float) -> None:
    """Object to a clip, the ``place``-th of ``count`` from 0, that is shorter than what fades of it at both its ends.

    Raises RawgenaiError: invalid_usage.
    """
    if seconds < crossfade * ((place > 0) + (place < count - 1)):
        raise RawgenaiError("invalid_usage", f"{seconds:g} s are too short for a crossfade of {crossfade:g} s")


def _last_image(clip: str) -> "Image":
    look_at(clip)
    require_av("the last frame is taken")
    return pictures.last_image(clip)


@contextmanager
def _part_of(target: str) -> Iterator[str]:
    """Give a file to write beside the target; it takes the target's place if all goes well, else it vanishes.

    Whatever fails in between that is nobody else's error is one of writing: output_write_error.
    """
    import av

    part = files.part_path(target, "film", "")
    try:
        yield part
        files.finish(part, target)
        files.sweep_parts(target, "film")  # of a join that was killed
    except (OSError, av.FFmpegError) as error:
        why = f"--output {target!r} cannot be written: {files.reason(error)}"
        raise RawgenaiError("output_write_error", why) from error
    finally:
        with suppress(OSError):
            os.unlink(part)


def _write_once(part: str, plan: Plan, progress: Callable[[int, int], None]) -> None:
    """Write a film whose index is before its media, where a player that still downloads it finds it.

    Room is kept for the index. To move the media out of its way afterwards, as "faststart" does, is to write the film
    twice; that is left for what needs more room: large settings of a codec, a fragmented clip that does not say how
    many frames it has.
    """
    import av

    try:
        _write(part, plan, progress, moov_size=str(_room(plan)))
    except av.ArgumentError:  # that is all that FFmpeg says of too little room
        _write(part, plan, progress, movflags="+faststart")


def _write(part: str, plan: Plan, progress: Callable[[int, int], None], **options: str) -> None:
    import av

    # "file:" keeps a colon in the name from being read as a protocol.
    with av.open(f"file:{part}", "w", format="mp4", options=options) as container:
        tracks = [pictures.track(container, plan)]
        if plan.sound != "none":
            tracks.append(sounds.track(container, plan))
        done, total = -1, ceil(plan.frames / plan.rate)
        for at, packet in merge(*tracks, key=itemgetter(0)):
            container.mux_one(packet)
            if at >= done + 1 and plan.picture == "encoded":  # what is copied is done before anybody looks
                progress(done := int(at), total)


def _room(plan: Plan) -> int:
    """Bytes to keep free before the media, which hold the index of nearly any such film."""
    packets = plan.frames + ceil(plan.frames / plan.rate * max(sounds.AUDIO_RATES) / AAC_FRAME)
    return INDEX_HEADERS + INDEX_ENTRY * packets


def _length_of(part: str) -> float:
    try:
        return media.measure(part).seconds
    except ValueError as error:
        raise OSError(str(error)) from error
