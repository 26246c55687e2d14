"""Text in a picture: a character is drawn in the first font that has a glyph for it, and lines are broken to fit."""

import math
import os
import re
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

LONGEST = 1000  # characters of a text that are looked at; a frame of the API's sizes holds fewer
LEADING = 1.32  # from line to line, in font sizes
PROBE = 32  # pixels; the size at which a glyph is compared with the one for missing characters

# (name, index in a collection): every one that is found is used, a character taking the first that can draw it.
FONTS = (
    ("dejavusans.ttf", 0),
    ("notosans-regular.ttf", 0),
    ("liberationsans-regular.ttf", 0),
    ("segoeui.ttf", 0),
    ("helveticaneue.ttc", 0),
    ("arial.ttf", 0),
    ("notosanscjk-regular.ttc", 2),  # 0 is the Japanese, 2 the simplified Chinese
    ("notosanscjk-vf*.ttc", 2),
    ("notosans[cs][jc]*-regular.[ot]tf", 0),
    ("sourcehansans*-regular.*", 0),
    ("pingfang.ttc", 0),
    ("hiragino sans gb.ttc", 0),
    ("stheiti *.ttc", 0),
    ("msyh.tt[cf]", 0),
    ("wqy-*.ttc", 0),
    ("droidsansfallback*.ttf", 0),
    ("simhei.ttf", 0),
    ("simsun.ttc", 0),
    ("arial unicode.ttf", 0),
    ("malgun.ttf", 0),
    ("uming.ttc", 0),
)

WIDE = "\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\U00020000-\U0003fffd"
DOTS = "…"  # Pillow's own font has it
STOPS = " ,.;:，。、；：…"  # not left standing before an ellipsis
CLOSING = "，。！？、；：）」』】》〉”’…"
# What a line may not break: white space, a wide character or a word, each with the punctuation that closes it.
UNIT = re.compile(rf"\s+|(?:[{WIDE}]|[^\s{WIDE}]+)[{CLOSING}]*")


class Letters:
    """Text in several fonts: a character is drawn in the first that has a glyph for it."""

    def __init__(self, fonts: Sequence["FreeTypeFont"]) -> None:
        self.fonts = fonts
        self.missing = [glyph(font, "\U0010fffd") for font in fonts]  # a private character that no font has
        self.chosen: dict[str, int | None] = {" ": 0}
        self.sized: dict[tuple[int, int], FreeTypeFont] = {}

    def choose(self, char: str) -> int | None:
        """The number of the font that draws ``char``, None if none does."""
        if char not in self.chosen:
            able = (i for i, font in enumerate(self.fonts) if glyph(font, char) != self.missing[i])
            self.chosen[char] = next(able, None)
        return self.chosen[char]

    def spelled(self, text: str) -> str:
        """``text`` as it can be drawn: no controls, one space for white space, U+XXXX for what has no glyph."""
        shown = "".join(char for char in " ".join(text.split()) if not hidden(char))
        if len(shown) > LONGEST:
            shown = shown[:LONGEST] + DOTS
        drawn = (char if self.choose(char) is not None else f" U+{ord(char):04X} " for char in shown)
        return " ".join("".join(drawn).split())

    def runs(self, text: str, size: float) -> Iterator[tuple[str, "FreeTypeFont"]]:
        """``text`` in pieces of one font each."""
        start = 0
        for i in range(1, len(text) + 1):
            if i == len(text) or self.choose(text[i]) != self.choose(text[start]):
                yield text[start:i], self.font(self.choose(text[start]) or 0, round(size))
                start = i

    def font(self, number: int, size: int) -> "FreeTypeFont":
        """One of the fonts in a size, in pixels."""
        if (number, size) not in self.sized:
            self.sized[number, size] = self.fonts[number].font_variant(size=size)
        return self.sized[number, size]

    def length(self, text: str, size: float) -> float:
        """The width of a line, in pixels."""
        return sum(font.getlength(run) for run, font in self.runs(text, size))

    def write(self, pen: Any, corner: tuple[float, float], text: str, size: float, colour: tuple[int, ...]) -> None:
        """Draw one line whose upper left corner is ``corner``; all its fonts stand on one base line."""
        x, y = corner
        for run, font in self.runs(text, size):
            pen.text((x, y + size), run, colour, font, anchor="ls")
            x += font.getlength(run)

    def mask(self, char: str, size: float) -> "Image":
        """One character, white on black."""
        from PIL import Image, ImageDraw

        mask = Image.new("L", (math.ceil(self.length(char, size)), round(size * 1.1)))
        self.write(ImageDraw.Draw(mask), (0, -size * 0.15), char, size, (255,))
        return mask


def glyph(font: "FreeTypeFont", char: str) -> tuple[Any, ...]:
    """What a font draws for a character; two that look the same are equal."""
    mask, offset = font.getmask2(char)
    return (mask.size, offset, bytes(mask))


def hidden(char: str) -> bool:
    """Whether a character is a control, a format, half of a pair or a variation selector: nothing to be drawn."""
    return unicodedata.category(char) in {"Cc", "Cf", "Cs"} or "\ufe00" <= char <= "\ufe0f"


def wrap(letters: Letters, text: str, size: float, width: float) -> list[str]:
    """The lines of ``text``, none wider than ``width`` unless one character is."""
    lines = [""]
    for unit in UNIT.findall(text):
        pieces = [unit] if letters.length(unit, size) <= width else list(unit)
        for piece in pieces:
            if lines[-1] and letters.length(lines[-1] + piece, size) > width:
                lines[-1] = lines[-1].rstrip()
                lines.append("")
            lines[-1] = (lines[-1] + piece).lstrip()
    return [line for line in lines if line]


def cut(letters: Letters, text: str, size: float, width: float) -> str:
    """As much of ``text`` as fits before an ellipsis."""
    text = text.rstrip(STOPS)
    while text and letters.length(text + DOTS, size) > width:
        text = text[:-1].rstrip(STOPS)
    return text + DOTS


def fit(letters: Letters, text: str, width: float, height: float, sizes: Sequence[float]) -> tuple[float, list[str]]:
    """The first of ``sizes`` at which ``text`` fits, and its lines; at the last one it is cut."""
    for size in sizes:
        lines = wrap(letters, text, size, width)
        if len(lines) * size * LEADING <= height:
            return size, lines
    room = max(1, int(height / (size * LEADING)))
    return size, [*lines[: room - 1], cut(letters, lines[room - 1], size, width)]


def font_folders() -> list[Path]:
    """Where Linux, macOS and Windows keep fonts: the user's and the system's."""
    home = Path.home()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA", str(home / "AppData" / "Local"))
        return [Path(os.environ.get("WINDIR", "C:/Windows"), "Fonts"), Path(local, "Microsoft", "Windows", "Fonts")]
    if sys.platform == "darwin":
        return [home / "Library/Fonts", Path("/Library/Fonts"), Path("/System/Library/Fonts")]
    return [home / ".local/share/fonts", home / ".fonts", Path("/usr/local/share/fonts"), Path("/usr/share/fonts")]


def load_fonts(folders: Sequence[Path]) -> list["FreeTypeFont"]:
    """The fonts of the table that the folders have, in its order, and last the one that Pillow brings along."""
    from PIL import ImageFont

    files = sorted(
        (name.lower(), Path(parent, name))
        for folder in folders
        for parent, _, names in os.walk(folder)
        for name in names
    )
    fonts = []
    for pattern, index in FONTS:
        for name, file in files:
            if fnmatch(name, pattern):
                try:
                    fonts.append(ImageFont.truetype(file, PROBE, index))
                except OSError:  # a broken or foreign file is not a font of ours
                    continue
    default = ImageFont.load_default(PROBE)
    return [*fonts, default] if isinstance(default, ImageFont.FreeTypeFont) else fonts
