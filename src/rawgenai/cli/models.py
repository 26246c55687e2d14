"""``rawgenai dashscope video models``."""

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from rawgenai.cli import streams
from rawgenai.cli.command import Command
from rawgenai.cli.region import regional

if TYPE_CHECKING:
    from rawgenai.dashscope.models import Limits, Model, Prices

_EXAMPLES = """\b
Examples:
  rawgenai dashscope video models
  rawgenai dashscope video models wan2.6-i2v-flash
  rawgenai dashscope video models --mode i2v --region singapore
  rawgenai dashscope video models | jq -r '.models[] | select(.default) | .name'

\b
The modes: t2v 文生视频, i2v 图生视频, r2v 参考生视频, kf2v 首尾帧生视频, vace 通用视频编辑, edit 视频编辑."""


@click.command(
    cls=Command, epilog=_EXAMPLES, short_help="List the models: what each one takes, where, and its list price."
)
@click.argument("model", required=False)
@click.option("--mode", metavar="MODE", help="Only the models of a mode: t2v, i2v, r2v, kf2v, vace or edit.")
@regional("Only what a region offers: beijing, singapore, virginia, frankfurt.")
@click.option("--json", "as_json", is_flag=True, help="Print the envelope at a terminal too, not a table.")
def models(model: str | None, *, mode: str | None, region: str | None, as_json: bool) -> dict[str, Any] | str:
    """List the models: what each one takes, where, and its list price; or one MODEL in full.

    Prices are those of a dated list: check the price page.
    """
    from rawgenai import envelope
    from rawgenai.dashscope import roster, rules
    from rawgenai.dashscope.models import MODES
    from rawgenai.errors import RawgenaiError

    known = roster.all_rows() if model is None else roster.rows_for(model)
    if model is not None and model not in known:
        raise RawgenaiError("invalid_model", f"{model!r} is no known model{rules.nearest(model, known)}")
    _check_word("--mode", mode, MODES)
    asked = known.values() if model is None else [known[model]]
    rows = [row for row in asked if mode in (None, *row.modes) and region in (None, *row.regions)]
    if as_json or not streams.is_screen():
        return envelope.success(models=[shown(row) for row in rows])
    if not rows:
        return "No model is like that."
    if model is not None:
        return streams.drawn(lambda _: map(_page, rows))
    return streams.drawn(lambda width: _tables(rows, region or _configured(), width))


def _configured() -> str | None:
    """Name the region in force, whose prices people want to see; a wrong setting is said where something is asked."""
    from rawgenai import config
    from rawgenai.errors import RawgenaiError

    try:
        return config.load().region
    except RawgenaiError:
        return None


def _check_word(flag: str, word: str | None, words: Collection[str]) -> None:
    from rawgenai.errors import RawgenaiError

    if word is not None and word not in words:
        raise RawgenaiError("invalid_usage", f"{flag} {word!r} is not one of {', '.join(words)}")


# --- for programs ------------------------------------------------------------------------------------------------


def shown(row: "Model") -> dict[str, Any]:
    """Write a row as JSON values; what it does not have is left out."""
    from rawgenai.dashscope import roster

    return _present(
        name=row.name,
        mode=row.mode,
        also=list(row.also) or None,
        series=row.series,
        source=roster.source_of(row),
        default=_is_default(row),
        resolutions=list(row.resolutions),
        default_resolution=row.default_resolution,
        sizes=list(row.sizes),
        ratios=list(row.ratios) if row.dialect != "classic" else None,
        durations=list(row.durations),
        default_duration=row.default_duration,
        video_durations=list(row.video_durations) or None,
        total_seconds=row.total_seconds,
        input_seconds=row.input_seconds,
        features=sorted(row.features),
        sound=row.sound,
        regions=list(row.regions),
        doubtful_regions=list(row.doubtful_regions) or None,
        spellings=dict(row.spellings) or None,
        prompt_limit=row.prompt_limit,
        cjk_limit=row.cjk_limit,
        inputs=_inputs(row),
        max_refs=row.max_refs or None,
        max_ref_images=row.max_ref_images,
        max_ref_videos=row.max_ref_videos or None,
        max_ref_audios=row.max_ref_audios or None,
        limits={kind: _limits(kind, limits) for kind, limits in row.limits.items()},
        usual_minutes=list(row.minutes),
        list_price=_list_price(row),
    )


def _inputs(row: "Model") -> list[str] | None:
    """Name what may be given together, by flags, where the mode alone does not say it."""
    from rawgenai.dashscope import rules

    return None if row.media is None else [rules.named(row, each) for each in row.media]


def _is_default(row: "Model") -> bool:
    from rawgenai.dashscope.models import DEFAULT_MODELS

    return DEFAULT_MODELS.get(row.mode) == row.name


def _present(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _limits(kind: str, limits: "Limits") -> dict[str, Any]:
    """Write what is taken of a kind of file; only an image can be transparent."""
    from rawgenai.dashscope.models import FORMATS

    formats, alpha = [FORMATS[mime] for mime in limits.formats], limits.alpha if kind == "image" else None
    return _present(**limits._asdict() | {"formats": formats, "alpha": alpha})


def _list_price(row: "Model") -> dict[str, Any] | None:
    from rawgenai.dashscope.models import CURRENCY, PRICES_DATE, PRICES_NOTE

    if not row.prices:
        return None
    silent = _numbers(row.silent_prices) if row.silent_prices else None
    prices = _present(per_second=_numbers(row.prices), per_second_silent=silent)
    return {"currency": CURRENCY, **prices, "as_of": PRICES_DATE, "note": PRICES_NOTE}


def _numbers(prices: "Prices") -> dict[str, dict[str, float]]:
    return {region: {tier: float(price) for tier, price in tiers.items()} for region, tiers in prices.items()}


# --- for people --------------------------------------------------------------------------------------------------

_NEEDED = 3  # columns, the first ones, without which a table says too little


def _tables(rows: list["Model"], region: str | None, width: int) -> Iterator[Any]:
    """Draw a table for each mode, with as many columns as fit; where too few do, lists are written downwards.

    Where even these are too wide, each model's name stands on a line of its own.
    """
    from rich.text import Text

    from rawgenai.dashscope.models import MODES

    layout = _laid_out(rows, region, width)
    for mode, words in MODES.items():
        lines = [line for row, line in zip(rows, layout.lines, strict=True) if row.mode == mode]
        if lines:
            yield Text("  ".join((mode, *words)), style="bold")
            yield from _named_lines(layout, lines) if layout.stacked else [_table(layout, lines)]
            yield ""
    yield _note(layout.heads[len(layout.widths) :], region)


class _Layout(NamedTuple):
    """What fits into a width."""

    heads: list[str]
    lines: list[list[str]]
    widths: list[int]  # of the columns that fit
    gap: int  # between them
    stacked: bool  # names stand above their lines


def _table(layout: _Layout, lines: list[list[str]], *, heads: bool = True) -> Any:
    from rich.table import Table

    table = Table(box=None, padding=(0, layout.gap, 0, 0), pad_edge=False, show_header=heads)
    for head, columns in zip(layout.heads, layout.widths, strict=False):
        table.add_column(head, width=columns, header_style="dim", overflow="fold")
    for line in lines:
        table.add_row(*line[: len(layout.widths)])
    return table


def _named_lines(layout: _Layout, lines: list[list[str]]) -> Iterator[Any]:
    """Draw each model's name, and below it its line without the name."""
    from rich.text import Text

    for number, (name, *cells) in enumerate(lines):
        yield Text(name, overflow="fold")
        yield _table(layout._replace(heads=["", *layout.heads[1:]]), [["", *cells]], heads=number == 0)


def _laid_out(rows: list["Model"], region: str | None, width: int) -> _Layout:
    """Choose the first layout whose needed columns fit, else the last."""
    from rawgenai.dashscope.models import CURRENCY

    for comma, seconds, gap, stacked in ((", ", "Seconds", 2, False), ("\n", "s", 1, False), ("\n", "s", 1, True)):
        heads = ["Model", seconds, f"{CURRENCY}/s", "Sound", "Regions"]
        lines = [_cells(row, region, comma) for row in rows]
        shown = [["", *line[1:]] for line in (heads, *lines)] if stacked else [heads, *lines]
        widths = _fitting(shown, width, gap)
        if len(widths) >= _NEEDED:
            break
    return _Layout(heads, lines, widths, gap, stacked)


def _fitting(lines: list[list[str]], width: int, gap: int) -> list[int]:
    """Say how wide each column is, of those that fit; the first one is always there."""
    widths = [max(len(part) for cell in column for part in cell.split("\n")) for column in zip(*lines, strict=True)]
    ends = range(1, len(widths) + 1)
    return widths[: max(1, sum(sum(widths[:end]) + gap * (end - 1) <= width for end in ends))]


def _cells(row: "Model", region: str | None, comma: str) -> list[str]:
    default = " *" if _is_default(row) else ""
    where = region if region in row.regions else row.regions[0]
    prices = _prices(row, where, comma, rounded=True)
    seconds = _seconds(row, comma.strip(" "))
    return [row.name + default, seconds, prices, row.sound, ", ".join(row.regions)]


def _seconds(row: "Model", comma: str = ", ") -> str:
    """Write the lengths on offer; what is no number of seconds is a word: as the input, or as the model sees fit."""
    from rawgenai.dashscope.models import AS_INPUT, AUTO
    from rawgenai.dashscope.rules import spans

    words = {AS_INPUT: "input", AUTO: "auto"}
    plain = tuple(number for number in row.durations if number not in words)
    named = [words[number] for number in (row.durations or (AS_INPUT,)) if number in words]
    return comma.join([*named, *([spans(plain, comma=comma)] if plain else [])])


def _prices(row: "Model", region: str, comma: str = ", ", *, rounded: bool = False) -> str:
    """Write each tier with its price, ``"720P 0.6"``, without and with sound where that differs."""

    def price(tier: str) -> str:
        found = [table[region][tier] for table in (row.silent_prices, row.prices) if tier in table.get(region, {})]
        return "/".join(f"{float(digits):.3f}".rstrip("0").rstrip(".") if rounded else digits for digits in found)

    return comma.join(f"{tier} {price(tier)}".rstrip() for tier in row.resolutions)


def _note(dropped: list[str], region: str | None) -> str:
    from rawgenai.dashscope.models import CURRENCY, PRICES_DATE, PRICES_NOTE

    where = f"{region or 'beijing'}, else where the model is"
    prices = f"{CURRENCY}/s: the list price of a second, rounded, as of {PRICES_DATE}, in {where};"
    narrow = f" Too narrow for: {', '.join(dropped)}." if dropped else ""
    return (
        f"* is taken by default. {prices} a/b is without/with sound; {PRICES_NOTE}.{narrow}"
        " In full:\n  rawgenai dashscope video models MODEL"
    )


def _page(row: "Model") -> Any:
    """Draw all that a row says."""
    from rich.table import Table

    from rawgenai.dashscope.models import CURRENCY, MODES, PRICES_DATE, PRICES_NOTE
    from rawgenai.dashscope.rules import spans

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    listed = [f"{region}: {_prices(row, region)}" for region in row.prices]
    both = ["a/b: without/with sound"] if row.silent_prices else []
    fields = shown(row) | {
        "mode": f"{row.mode} ({', '.join(MODES[row.mode])})",
        "default": "yes" if _is_default(row) else "no",
        "resolutions": [tier + " (default)" * (tier == row.default_resolution) for tier in row.resolutions],
        "default_resolution": "",  # said beside the tiers
        "durations": f"{_seconds(row)} s (default: {row.default_duration or 'input'})",
        "default_duration": "",
        "video_durations": f"{spans(row.video_durations)} s beside a reference video" if row.video_durations else "",
        "usual_minutes": "{}-{}".format(*row.minutes),
        "limits": [f"{kind}: {_limits_line(kind, limits)}" for kind, limits in row.limits.items()],
        "list_price": [*listed, *both, f"{CURRENCY} a second, as of {PRICES_DATE}: {PRICES_NOTE}"] if listed else [],
    }
    for name, value in fields.items():
        comma = "\n" if name in ("limits", "list_price") else ", "
        text = comma.join(map(str, value)) if isinstance(value, list) else str(value)
        if text:
            table.add_row(name.replace("_", " "), text)
    return table


def _limits_line(kind: str, limits: "Limits") -> str:
    from rawgenai.dashscope.media_rules import span_of
    from rawgenai.dashscope.models import FORMATS

    parts = [", ".join(FORMATS[mime] for mime in limits.formats), f"up to {limits.bytes // 2**20} MB"]
    parts += [f"{span_of(limits.sides, '-')} pixels a side"] if limits.sides else []
    parts += [f"no side over {limits.stretch:g} times the other"] if limits.stretch else []
    parts += ["{:g}-{:g} s".format(*limits.seconds)] if limits.seconds else []
    parts += ["no transparency"] if kind == "image" and not limits.alpha else []
    parts += [f"{limits.fps:g} or more frames a second"] if limits.fps else []
    return "; ".join(parts)
