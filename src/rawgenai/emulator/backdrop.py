"""What a clip shows of what was sent: a first frame, the way to the last, references side by side, the edited video.

Of vace: the video itself, under a tint where a mask is white, in the middle of a wider frame, or at an end of the clip.

Pillow alone; only of a video PyAV takes the first frame. What is not known (behind a URL) is left blank.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

_LINE = 2  # pixels on either side of where two references meet


Size = tuple[int, int]
Named = Mapping[str, Path | None]  # field of the request -> the file that was sent


def compose(
    pictures: Sequence[Path | None],
    mode: str,
    size: Size,
    blank: Callable[[], "Image"],
    *,
    fields: Sequence[str] = (),
    scales: Sequence[float] = (),
) -> list["Image"]:
    """Draw the stills of ``size`` that the clip goes through, RGB; none where no picture is known.

    ``blank`` draws what stands for a picture that is not known; ``fields`` are those of the request that named the
    pictures, ``scales`` how far the frame reaches beyond a video. Raises OSError where a file is no picture.
    """
    if not any(pictures):
        return []
    if mode in _BY_FIELD:
        return _BY_FIELD[mode](dict(zip(fields, pictures, strict=True)), size, blank, scales)
    if mode == "edit" and pictures[0] is not None:  # the video comes first
        return [_filled(frame, size) for frame in _sampled(pictures[0])]
    shown = [_open(path) if path else None for path in pictures]
    if mode in ("r2v", "vace image_reference"):
        return [_side_by_side(shown, size, blank)]
    return [_filled(picture or blank(), size) for picture in shown]


# --- the functions of vace that are shown a video or frames ---


def _repainted(named: Named, size: Size, *_: Any) -> list["Image"]:
    """The video."""
    video = named["video_url"]
    return [_filled(frame, size) for frame in _sampled(video)] if video else []


def _edited(named: Named, size: Size, *_: Any) -> list["Image"]:
    """The video, under a tint where the mask is white."""
    from PIL import Image

    frames = _repainted(named, size)
    still, moving = named.get("mask_image_url"), named.get("mask_video_url")
    masks = [_open(still)] * len(frames) if still else _sampled(moving) if moving else []
    tint = Image.new("RGB", size, _TINT)
    for number, mask in enumerate(masks[: len(frames)]):
        part = _filled(mask, size).convert("L").point(lambda value: 128 if value > 127 else 0)
        frames[number] = Image.composite(tint, frames[number], part)
    return frames


_TINT = (255, 0, 160)


def _extended(named: Named, size: Size, blank: Callable[[], "Image"], _: Any) -> list["Image"]:
    """The way from what it begins with to what it ends with; where one of them is open, there is nothing."""
    ends = []
    for end in ("first", "last"):
        frame, clip = named.get(f"{end}_frame_url"), named.get(f"{end}_clip_url")
        pictures = _sampled(clip) if clip else [_open(frame)] if frame else [blank()]
        ends += [_filled(picture, size) for picture in pictures]
    return ends


def _outpainted(named: Named, size: Size, _: Any, scales: Sequence[float]) -> list["Image"]:
    """The video where it stands in the wider frame, and around it the same one, blurred."""
    top, bottom, left, right = scales
    width, height = round(size[0] * 2 / (left + right)), round(size[1] * 2 / (top + bottom))
    corner = (round(size[0] * left / (left + right) - width / 2), round(size[1] * top / (top + bottom) - height / 2))
    stills = []
    for frame in _repainted(named, (width, height)):
        ground = _blurred(frame, size)
        ground.paste(frame, corner)
        stills.append(ground)
    return stills


_BY_FIELD: Mapping[str, Callable[[Named, Size, Callable[[], "Image"], Sequence[float]], list["Image"]]] = {
    "vace video_repainting": _repainted,
    "vace video_edit": _edited,
    "vace video_extension": _extended,
    "vace video_outpainting": _outpainted,
}


# --- pictures ---


def _filled(picture: "Image", size: Size) -> "Image":
    from PIL import Image, ImageOps

    return ImageOps.fit(picture, size, Image.Resampling.LANCZOS)


def _side_by_side(pictures: Sequence["Image | None"], size: Size, blank: Callable[[], "Image"]) -> "Image":
    """Give each picture an equal part: columns in a wide clip, rows in a tall one."""
    from PIL import Image, ImageDraw

    whole = Image.new("RGB", size)
    pen = ImageDraw.Draw(whole)
    along = 0 if size[0] >= size[1] else 1
    edges = [round(size[along] * number / len(pictures)) for number in range(len(pictures) + 1)]
    for picture, start, end in zip(pictures, edges, edges[1:], strict=False):
        corner = (start, 0) if along == 0 else (0, start)
        part = (end - start, size[1]) if along == 0 else (size[0], end - start)
        whole.paste(_framed(picture, part) if picture else _filled(blank(), part), corner)
    for edge in edges[1:-1]:
        low, high = edge - _LINE, edge + _LINE - 1
        pen.rectangle((low, 0, high, size[1]) if along == 0 else (0, low, size[0], high), (255, 255, 255))
    return whole


def _framed(picture: "Image", size: Size) -> "Image":
    """Show the whole picture, and around it the same one, blurred."""
    from PIL import Image, ImageOps

    ground = _blurred(picture, size)
    shown = ImageOps.contain(picture, size, Image.Resampling.LANCZOS)
    ground.paste(shown, ((size[0] - shown.width) // 2, (size[1] - shown.height) // 2))
    return ground


def _blurred(picture: "Image", size: Size) -> "Image":
    from PIL import Image

    few = (-(-size[0] // 40), -(-size[1] // 40))
    return _filled(picture, size).resize(few, Image.Resampling.BOX).resize(size, Image.Resampling.BICUBIC)


def _open(path: Path) -> "Image":
    """Open a picture as it is shown, RGB; of a video, its first frame."""
    from PIL import ImageOps

    from rawgenai.emulator.inputs import open_image, recognise

    with path.open("rb") as file:
        found = recognise(file)
        if found is None or found.kind == "video":
            return _first_frame(path)
        image = open_image(file, found.mime)
        image.draft("RGB", (2000, 2000))  # no clip is larger
        upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):  # 16 bits, which Pillow would cut off instead of scaling
        upright = upright.convert("I").point(lambda value: value * (1 / 257))
    return upright.convert("RGB")


def _sampled(path: Path) -> list["Image"]:
    """Take some frames of a video, evenly from the first to the last."""
    import av

    with av.open(f"file:{path}") as container:
        count = max(1, sum(1 for _ in container.decode(video=0)))
    wanted = {round(number * (count - 1) / (_SAMPLES - 1)) for number in range(_SAMPLES)}
    with av.open(f"file:{path}") as container:
        frames = (frame for number, frame in enumerate(container.decode(video=0)) if number in wanted)
        return [frame.to_image().rotate(frame.rotation, expand=True) for frame in frames]  # type: ignore[no-untyped-call]  # PyAV's gap


_SAMPLES = 8  # of a video that is edited


def _first_frame(path: Path) -> "Image":
    import av

    with av.open(f"file:{path}") as container:
        frame = next(container.decode(video=0))
        picture: Image = frame.to_image()  # type: ignore[no-untyped-call]  # PyAV's gap
        return picture.rotate(frame.rotation, expand=True)
