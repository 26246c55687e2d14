"""What a clip will be billed by the price list, and whether that is within limits. Pure.

What is billed is read from what would be sent, so that the two cannot differ. Money is Decimal throughout,
and is never rounded. A list price is what the row of the model has; it is of ``PRICES_DATE`` and no promise.
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from rawgenai import regions
from rawgenai.dashscope import wire
from rawgenai.dashscope.models import (
    AS_INPUT,
    AUTO,
    CURRENCY,
    PRICES_DATE,
    PRICES_NOTE,
    SIZES,
    Model,
)
from rawgenai.dashscope.rules import is_video, named_kind
from rawgenai.dashscope.spec import Spec
from rawgenai.errors import RawgenaiError
from rawgenai.message import Media

# References in all, images too -> the most seconds that are billed of each video among them (reference 2.3).
VIDEO_CAPS = {1: Decimal(5), 2: Decimal("2.5"), 3: Decimal("1.65"), 4: Decimal("1.25"), 5: Decimal(1)}


class Bill(NamedTuple):
    """What a clip will be billed: seconds of video, and money where the list has a price for it."""

    seconds: Decimal  # the clip's, and those of the videos that go in
    upper_bound: bool  # nobody knows how long one of them is, or the clip, so that it may be less
    price: Decimal | None  # of a second; None where the list has none, or several clips have several
    cost: Decimal | None
    region: str  # whose price that is
    region_assumed: bool  # nothing tells the region
    currency: str = CURRENCY
    date: str = PRICES_DATE  # of the list


def bill(spec: Spec, model: Model, base_url: str, *, region: str | None = None) -> Bill:
    """Say what the clip of a Spec, which the rules allow, will be billed where ``base_url`` leads to.

    Where that does not tell the region, as with the emulator, it is ``region``; without one, the first of the model's
    own is assumed: Beijing, for all models that are there. Failed tasks are not billed. Source: reference 2.3 and 2.4.
    """
    parameters = wire.parameters_of(spec, model)
    known = regions.of_url(base_url) or region
    where = known or model.regions[0]
    prices = model.silent_prices if parameters.get("audio") is False and model.silent_prices else model.prices
    digits = prices.get(where, {}).get(_tier(parameters, model))
    price = None if digits is None else Decimal(digits)
    videos, upper_bound = _BILLED[model.billed_input](spec, model)
    asked = parameters.get("duration", model.default_duration)
    if asked == AS_INPUT:
        clip, upper_bound = _whole_seconds(spec, model)
    else:
        clip = Decimal(max(model.durations) if asked == AUTO else asked)
    seconds = min(clip + videos, Decimal(model.total_seconds or "Infinity"))
    return Bill(
        seconds=seconds,
        upper_bound=upper_bound or asked == AUTO,
        price=price,
        cost=None if price is None else price * seconds,
        region=where,
        region_assumed=known is None,
    )


def total(bills: Iterable[Bill]) -> Bill:
    """Add the bills of several clips of one account up; there is a price of a second only where all have the same."""
    each = list(bills)
    costs = [bill.cost for bill in each]
    known = [cost for cost in costs if cost is not None]
    prices = {bill.price for bill in each}
    return each[0]._replace(
        seconds=sum((bill.seconds for bill in each), Decimal(0)),
        upper_bound=any(bill.upper_bound for bill in each),
        price=prices.pop() if len(prices) == 1 else None,
        cost=sum(known, Decimal(0)) if len(known) == len(costs) else None,
        region=", ".join(dict.fromkeys(bill.region for bill in each)),
    )


def _tier(parameters: dict[str, Any], model: Model) -> str:
    """Name the tier of a request: as it says, or the one that has its exact size, or the model's first."""
    tiers = (tier for tier, sizes in SIZES.items() if parameters.get("size") in sizes.values())
    tier: str = parameters.get("resolution") or next(tiers, model.resolutions[0])
    return tier


def _reference_seconds(spec: Spec, model: Model) -> tuple[Decimal, bool]:
    """Add up the billed seconds of reference videos; also tell whether they are only the most that it can be."""
    refs = spec.refs or ()
    local = [ref for ref in refs if isinstance(ref, Media) and ref.mime.startswith("video/")]
    lengths = [ref.seconds for ref in local]
    # What only the API will see is a video unless its name says that it is a picture; but no more than are allowed.
    doubtful = sum(isinstance(ref, str) and named_kind(ref) != "image" for ref in refs)
    lengths += [None] * min(doubtful, model.max_ref_videos - len(local))
    cap = VIDEO_CAPS.get(len(refs), Decimal(0))
    billed = [cap if length is None else min(round(Decimal(length), 2), cap) for length in lengths]
    return sum(billed, Decimal(0)), None in lengths


def _whole_seconds(spec: Spec, model: Model) -> tuple[Decimal, bool]:
    """Add up the seconds of the videos that go in, as far as the model reads them; also tell as above."""
    videos = [*(spec.refs or ()), *([] if spec.video is None else [spec.video])]
    lengths = [_length(video) for video in videos if video is spec.video or is_video(video)]
    limits = model.limits.get("video")
    most = model.input_seconds or (limits.seconds[1] if limits and limits.seconds else 0)
    billed = [Decimal(most) if length is None else min(round(Decimal(length), 2), Decimal(most)) for length in lengths]
    return sum(billed, Decimal(0)), None in lengths


def _length(video: str | Media) -> float | None:
    return video.seconds if isinstance(video, Media) else None


_BILLED: Mapping[str, Callable[[Spec, Model], tuple[Decimal, bool]]] = {
    "capped": _reference_seconds,
    "whole": _whole_seconds,
    "none": lambda _spec, _model: (Decimal(0), False),
}


def check_budget(bill: Bill, *, max_cost: float | None = None, max_seconds: float | None = None) -> None:
    """Object to a bill over a limit: ``max_cost`` in the bill's currency, ``max_seconds`` billed; None is no limit.

    Raises RawgenaiError `over_budget`, with the numbers, also where there is no price to compare with the limit: a
    limit that cannot be checked is not kept. `invalid_usage` where a limit is not a number.
    """
    for flag, limit, value in (("--max-seconds", max_seconds, bill.seconds), ("--max-cost", max_cost, bill.cost)):
        if limit is None:
            continue
        most = Decimal(str(limit))
        if most.is_nan():
            raise RawgenaiError("invalid_usage", f"{flag} {limit} is not a number")
        if value is None:
            raise RawgenaiError("over_budget", f"{flag} {_digits(most)} cannot be checked: {sentence(bill)}")
        if value > most:
            raise RawgenaiError("over_budget", f"{flag} {_digits(most)}: {sentence(bill)}")


def sentence(bill: Bill) -> str:
    """Say a bill to a person: ``"5 s are billed, 3 CNY by the list (0.6 a second, beijing, 2026-05; check ...)"``."""
    seconds = f"{'at most ' if bill.upper_bound else ''}{_digits(bill.seconds)} s are billed"
    if bill.cost is None:
        return f"{seconds}; no price is known of this model and resolution in {bill.region}"
    region = f"{bill.region}{' assumed' if bill.region_assumed else ''}"
    rate = "" if bill.price is None else f"{_digits(bill.price)} a second, "
    source = f"{rate}{region}, {bill.date}; {PRICES_NOTE}"
    return f"{seconds}, {_digits(bill.cost)} {bill.currency} by the list ({source})"


def shown(bill: Bill) -> dict[str, Any]:
    """Write a bill for an envelope: ``billed_seconds``, and ``list_price`` where it is known.

    ``upper_bound`` and ``region_assumed`` are there only where they are true.
    """
    fields: dict[str, Any] = {"billed_seconds": _number(bill.seconds)}
    if bill.upper_bound:
        fields["upper_bound"] = True
    if bill.cost is not None:
        fields["list_price"] = {
            "amount": float(bill.cost),
            "currency": bill.currency,
            **({} if bill.price is None else {"per_second": float(bill.price)}),
            "region": bill.region,
            **({"region_assumed": True} if bill.region_assumed else {}),
            "as_of": bill.date,
            "note": PRICES_NOTE,
        }
    return fields


def _digits(number: Decimal) -> str:
    """Write a number without an exponent and without zeros at its end."""
    return f"{number.normalize():f}"


def _number(value: Decimal) -> float:
    return int(value) if value == int(value) else float(value)
