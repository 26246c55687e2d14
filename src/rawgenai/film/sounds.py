"""A film's sound: copied, or decoded to PCM, mixed and encoded as AAC."""

from array import array
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from functools import partial
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from rawgenai import media
from rawgenai.errors import RawgenaiError
from rawgenai.film.planning import Plan, Span, spliced
from rawgenai.film.probing import AAC_FRAME, Clip, Timed, base_of, check_sound, opened, packets, seconds_of, timed

if TYPE_CHECKING:
    from av import AudioStream, Packet
    from av.container import OutputContainer

AUDIO_RATE = 48_000  # where the sound's own is none that AAC knows
AUDIO_RATES = (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000)
AUDIO_BITS = 192_000  # a second
SHORT_OF = 0.1  # seconds of silence at a film's end that nobody is told of
MICROSECONDS = 1_000_000  # in a second, which FFmpeg counts a file in


def track(container: "OutputContainer", plan: Plan) -> Iterator[Timed]:
    """Add a stream for the sound, and make its packets as they are asked for."""
    if plan.sound == "copied":
        with opened(next(clip.path for clip in plan.clips if clip.sound)) as template:
            return _copied(plan, container.add_stream_from_template(template.streams.audio[0]))
    if plan.audio is None:
        sound = next(clip.sound for clip in plan.clips if clip.sound)
        voice = _voice_of(sound.rate, sound.layout)
        heard = [(clip.path if clip.sound else None, span) for clip, span in zip(plan.clips, plan.spans, strict=True)]
        reels = (_shares(path, span, plan.rate, voice) for path, span in heard)
        shares = spliced(reels, plan.spans, plan.fade, partial(faded, step=1 / max(1, plan.fade)))
    else:
        kind = check_sound(plan.audio)
        voice = probe_voice(plan.audio, kind)
        shares = _shares(plan.audio, Span(0, plan.frames), plan.rate, voice, kind)
    stream: AudioStream = container.add_stream("aac", rate=voice.rate, layout=voice.layout, bit_rate=AUDIO_BITS)
    return _encoded(shares, stream, voice)


def _copied(plan: Plan, stream: "AudioStream") -> Iterator[Timed]:
    """Lay the clips' packets on one grid of AAC's frames, each clip's as near to its picture as the grid has a place.

    That is half a packet at most (11 ms at 48 kHz), and never adds up. What is left of the grid is silence. Where two
    clips meet, the second one's first packet, which only prepares its decoder, takes the place of the last 21 ms of
    the first one: a beginning is heard better than an end.
    """
    from av import Packet

    rate, layout = next((clip.sound.rate, clip.sound.layout) for clip in plan.clips if clip.sound)
    hush, origin, cursor = _hush(rate, layout), -plan.clips[0].lead, 0
    starts = [round(cut / plan.rate * rate) for cut in (*(span.start for span in plan.spans), plan.frames)]
    begins = [start - clip.lead for start, clip in zip(starts, plan.clips, strict=False)]
    stops = [*(_slot(at - origin) for at in begins[1:]), -((origin - starts[-1]) // AAC_FRAME)]
    unit = Fraction(1, rate)

    def placed(packet: "Packet[Any]", slot: int) -> Timed:
        at = origin + slot * AAC_FRAME
        packet.time_base, packet.stream, packet.is_keyframe = unit, stream, True
        packet.pts = packet.dts = at
        packet.duration = min(AAC_FRAME, starts[-1] - at)
        return at / rate, packet

    for clip, start, stop in zip(plan.clips, starts, stops, strict=False):
        for slot, packet in chain(_aac(clip, start, origin), [(stop, None)]):
            for silent in range(cursor, min(slot, stop)):
                yield placed(Packet(hush), silent)
            if packet is not None and cursor <= slot < stop:
                yield placed(packet, slot)
            cursor = max(cursor, min(slot + 1, stop))


def _slot(samples: int) -> int:
    return (samples + AAC_FRAME // 2) // AAC_FRAME


def _aac(clip: Clip, start: int, origin: int) -> Iterator[tuple[int, "Packet[Any]"]]:
    """Read a clip's packets of sound, each with its place on the grid that begins at ``origin``."""
    if clip.sound is None:
        return
    with opened(clip.path) as container:
        source, shown = container.streams.audio[0], container.streams.video[0]
        begins = start - origin
        shift = begins - round(seconds_of(shown.start_time, shown) * clip.sound.rate)
        up, down = (base_of(source) * clip.sound.rate).as_integer_ratio()  # both 1, unless the clip counts otherwise
        for packet in packets(container, source):
            at = shift + (packet.pts or 0) * up // down
            if at >= begins - clip.lead:
                yield _slot(at), packet


def _hush(rate: int, layout: str) -> bytes:
    """Encode a packet of silence."""
    from av import AudioFrame, CodecContext

    encoder = CodecContext.create("aac", "w")
    encoder.sample_rate, encoder.layout, encoder.format = rate, layout, "fltp"
    encoder.time_base = Fraction(1, rate)
    silence = AudioFrame("fltp", layout, 4 * AAC_FRAME)
    silence.sample_rate, silence.pts = rate, 0
    for plane in silence.planes:
        plane.update(bytes(plane.buffer_size))
    return bytes([*encoder.encode(silence), *encoder.encode(None)][2])  # the first ones name the encoder


class Voice(NamedTuple):
    """What an encoded sound is: PCM of 32-bit floats, channels by turns, until AAC takes it."""

    rate: int
    layout: str

    @property
    def width(self) -> int:
        """Bytes of a sample, all channels."""
        return 4 if self.layout == "mono" else 8


def _voice_of(rate: int, layout: str) -> Voice:
    return Voice(rate if rate in AUDIO_RATES else AUDIO_RATE, "mono" if layout == "mono" else "stereo")


def probe_voice(path: str, kind: str) -> Voice:
    """Say as what a sound file is encoded; ``kind`` names its demuxer. Raises RawgenaiError: invalid_audio."""
    with opened(path, kind=kind) as container:
        source = container.streams.audio[0] if container.streams.audio else None
        if source is None or next(container.decode(source), None) is None:  # a file may end after its header
            raise RawgenaiError("invalid_audio", f"--audio {path!r} has no sound")
        return _voice_of(source.rate, source.layout.name)


def warn_of_silence(audio: str, film: float, warn: Callable[[str], None]) -> None:
    """Tell of a sound file that is shorter than the film; where it was cut off, its header may promise more."""
    with opened(audio, kind=check_sound(audio)) as container:
        said = (media.look(audio).seconds, (container.duration or 0) / MICROSECONDS)
    lasts = min(filter(None, said), default=film)
    if lasts < film - SHORT_OF:
        warn(f"--audio {audio!r} ends after {lasts:.3g} s of the film's {film:.4g}; the rest is silent")


def _shares(path: str | None, span: Span, frame_rate: Fraction, voice: Voice, kind: str = "") -> Iterator[bytes]:
    """Decode a sound in shares, one for each frame of the film in the span; silence where there is none.

    ``kind`` names the demuxer of a sound file; without it the path is a clip, and its sound goes by its picture.
    """
    pcm, held = iter(()) if path is None else _pcm(path, voice, kind), bytearray()
    bounds = [round(frame / frame_rate * voice.rate) for frame in range(span.start, span.start + span.frames + 1)]
    for begin, end in pairwise(bounds):
        size = (end - begin) * voice.width
        while len(held) < size and (piece := next(pcm, None)) is not None:
            held += piece
        yield bytes(held[:size]).ljust(size, b"\0")
        del held[:size]


def _pcm(path: str, voice: Voice, kind: str) -> Iterator[bytes]:
    import av

    with opened(path, kind=kind) as container:
        source = container.streams.audio[0]
        resampler = av.AudioResampler("flt", voice.layout, voice.rate)
        late: int | None = None if not kind else 0  # samples after the picture begins; negative is before
        for frame in chain(container.decode(source), [None]):
            if late is None and frame is not None:
                picture = container.streams.video[0]
                begins = (frame.pts or 0) * (frame.time_base or 0) - seconds_of(picture.start_time, picture)
                late = round(begins * voice.rate)
                yield bytes(max(0, late) * voice.width)
            for piece in resampler.resample(frame):
                data = bytes(piece.planes[0])[: piece.samples * voice.width]
                early = min(piece.samples, -min(0, late or 0))
                late = (late or 0) + early
                yield data[early * voice.width :]


def faded(old: bytes, new: bytes, share: float, step: float) -> bytes:
    """Mix two shares of PCM; the new one's part grows from ``share`` by ``step``, so that there is no jump."""
    left, right = array("f", old), array("f", new)
    slope = step / max(1, len(left))
    mixed = ((a + (b - a) * (share + slope * i)) for i, (a, b) in enumerate(zip(left, right, strict=True)))
    return array("f", mixed).tobytes()


def _encoded(shares: Iterable[bytes], stream: "AudioStream", voice: Voice) -> Iterator[Timed]:
    from av import AudioFrame

    at = 0
    for share in shares:
        samples = AudioFrame("flt", voice.layout, len(share) // voice.width)
        samples.sample_rate, samples.pts = voice.rate, at
        samples.planes[0].update(share)
        at += samples.samples
        yield from timed(stream.encode(samples))
    yield from timed(stream.encode(None))
