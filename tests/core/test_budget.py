"""What a clip is billed: the price list and the caps of the reference, copied by hand, and limits at their edges."""

import itertools
import json
import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from test_rules import REACHABLE, legal, name_of

from rawgenai.dashscope import budget, wire
from rawgenai.dashscope.budget import Bill, bill, check_budget, sentence, shown
from rawgenai.dashscope.models import MODELS, SIZES, Model
from rawgenai.dashscope.spec import Spec
from rawgenai.emulator import sender
from rawgenai.errors import RawgenaiError
from rawgenai.message import Media
from rawgenai.regions import REGIONS

TIERS = ("480P", "720P", "1080P")
BASES = {
    "beijing": "https://dashscope.aliyuncs.com/api/v1",
    "singapore": "https://dashscope-intl.aliyuncs.com/api/v1",
    "virginia": "https://dashscope-us.aliyuncs.com/api/v1",
    "frankfurt": "https://ws-1.eu-central-1.maas.aliyuncs.com/api/v1",
}
BJ, SG, US, GL = "beijing", "singapore", "virginia", "beijing virginia frankfurt"

# Reference 2.3 and 2.4, "BJ ¥/s" and "SG ¥/s", row for row: model, regions, prices of 480P, 720P and 1080P as they are
# printed. A dated snapshot costs what its model does.
LIST = """
wan2.6-t2v          | GL |     -   .6       1
wan2.6-t2v          | SG |     -   .733924  1.100886
wan2.6-t2v-us       | US |     -   .733924  1.100886
wan2.5-t2v-preview  | BJ |    .3   .6       1
wan2.5-t2v-preview  | SG |    .366961 .733923 1.100885
wan2.2-t2v-plus     | BJ |    .14  -        .70
wan2.2-t2v-plus     | SG |    .146785 -     .733924
wanx2.1-t2v-turbo   | BJ |    .24  .24      -
wan2.1-t2v-turbo    | SG |    .264213 .264213 -
wanx2.1-t2v-plus    | BJ |    -    .70      -
wan2.1-t2v-plus     | SG |    -    .733924  -
wan2.6-i2v-flash    | BJ |    -    .3       .5
wan2.6-i2v-flash    | SG |    -    .366962  .550443
wan2.6-i2v          | GL |    -    .6       1
wan2.6-i2v          | SG |    -    .733924  1.100886
wan2.6-i2v-us       | US |    -    .733924  1.100886
wan2.5-i2v-preview  | BJ |    .3   .6       1
wan2.5-i2v-preview  | SG |    .366961 .733923 1.100885
wan2.2-i2v-flash    | BJ |    .10  .20      .48
wan2.2-i2v-flash    | SG |    .110089 .264213 -
wan2.2-i2v-plus     | BJ |    .14  -        .70
wan2.2-i2v-plus     | SG |    .146785 -     .733924
wanx2.1-i2v-turbo   | BJ |    .24  .24      -
wan2.1-i2v-turbo    | SG |    .264213 .264213 -
wanx2.1-i2v-plus    | BJ |    -    .70      -
wan2.1-i2v-plus     | SG |    -    .733924  -
wan2.6-r2v-flash    | BJ |    -    .3       .5
wan2.6-r2v-flash    | SG |    -    .366962  .550443
wan2.6-r2v          | GL |    -    .6       1
wan2.6-r2v          | SG |    -    .733924  1.100886
wan2.2-kf2v-flash   | BJ |    .10  .20      .48
wanx2.1-kf2v-plus   | BJ |    -    .70      -
wan2.1-kf2v-plus    | SG |    -    .733924  -
wanx2.1-vace-plus   | BJ |    -    .70      -
wan2.1-vace-plus    | SG |    -    .733924  -
wan2.7-t2v          | BJ |    -    .6       1
wan2.7-t2v          | SG |    -    .733924  1.100886
wan2.7-i2v          | BJ |    -    .6       1
wan2.7-i2v          | SG |    -    .733924  1.100886
wan2.7-r2v          | BJ |    -    .6       1
wan2.7-r2v          | SG |    -    .733924  1.100886
wan2.7-videoedit    | BJ |    -    .6       1
wan2.7-videoedit    | SG |    -    .733924  1.100886
wan3.0-video        | BJ |    .30  .60      1.20
wan3.0-video-prime  | BJ |    .45  .90      1.80
happyhorse-1.0-t2v  | GL |    -    .9       1.6
happyhorse-1.0-t2v  | SG |    -    1.049188 1.798608
happyhorse-1.0-i2v  | GL |    -    .9       1.6
happyhorse-1.0-i2v  | SG |    -    1.049188 1.798608
happyhorse-1.0-r2v  | GL |    -    .9       1.6
happyhorse-1.0-r2v  | SG |    -    1.049188 1.798608
happyhorse-1.0-video-edit | GL | - .9       1.6
happyhorse-1.0-video-edit | SG | - 1.049188 1.798608
happyhorse-1.1-t2v  | GL |    -    .9       1.6
happyhorse-1.1-t2v  | SG |    -    1.049188 1.798608
happyhorse-1.1-i2v  | GL |    -    .9       1.6
happyhorse-1.1-i2v  | SG |    -    1.049188 1.798608
happyhorse-1.1-r2v  | GL |    -    .9       1.6
happyhorse-1.1-r2v  | SG |    -    1.049188 1.798608
"""
SILENT_LIST = """
wan2.6-i2v-flash    | BJ |    -    .15      .25
wan2.6-i2v-flash    | SG |    -    .183481  .275221
wan2.6-r2v-flash    | BJ |    -    .15      .25
wan2.6-r2v-flash    | SG |    -    .183481  .275221
"""


def plain(name: str) -> str:
    """The model that a dated name is a snapshot of."""
    return re.sub(r"-\d{4}-\d\d-\d\d$", "", name)


def listed(text: str) -> dict[tuple[str, str, str], Decimal]:
    """The prices of a list by model, region and tier."""
    found = {}
    for line in text.strip().splitlines():
        name, where, prices = (cell.strip() for cell in line.split("|"))
        for region in {"BJ": BJ, "SG": SG, "US": US, "GL": GL}[where].split():
            for tier, price in zip(TIERS, prices.split(), strict=True):
                if price != "-":
                    found[name, region, tier] = Decimal(price)
    return found


LOUD, SILENT = listed(LIST), listed(SILENT_LIST)


def table(field: str) -> dict[tuple[str, str, str], Decimal]:
    """What the rows have, in the same shape."""
    return {
        (plain(row.name), region, tier): Decimal(price)
        for row in MODELS.values()
        for region, tiers in getattr(row, field).items()
        for tier, price in tiers.items()
    }


def test_the_rows_have_every_price_of_the_list_and_no_other() -> None:
    assert table("prices") == LOUD
    assert table("silent_prices") == SILENT


@pytest.mark.parametrize("row", MODELS.values(), ids=name_of)
def test_a_price_is_of_a_region_and_a_tier_that_the_model_has(row: Model) -> None:
    for prices in (row.prices, row.silent_prices):
        assert set(prices) <= {*row.regions, *row.doubtful_regions}
        assert all(set(tiers) <= set(row.resolutions) for tiers in prices.values())


@pytest.mark.parametrize("row", MODELS.values(), ids=name_of)
def test_a_silent_clip_has_a_price_of_its_own_exactly_where_it_can_be_asked_for(row: Model) -> None:
    can = bool(row.features & {"audio", "no_audio"}) and row.series != "wan3.0"  # whose list knows no difference
    assert set(row.silent_prices) == (set(row.prices) if can else set())


def test_every_region_has_prices_here() -> None:
    assert set(REGIONS) == set(BASES)


# --- every row, in every region and tier ---------------------------------------------------------------------------


@pytest.mark.parametrize("row", REACHABLE, ids=name_of)
def test_a_clip_costs_its_seconds_times_the_list_price(row: Model) -> None:
    for region, tier, duration in itertools.product(BASES, row.resolutions, row.durations):
        if duration < 1:  # as the input, or as the model sees fit: test_newer.py
            continue
        seconds = (5 if row.mode == "kf2v" else duration) + (10 if row.mode == "edit" else 0)  # s of video, at most
        spec = legal(row, resolution=tier, duration=duration)
        found = bill(spec, row, BASES[region])
        silent = "audio" in row.features  # it is told to be silent unless asked otherwise
        price = (SILENT if silent else LOUD).get((plain(row.name), region, tier))
        assert (found.seconds, found.upper_bound) == (Decimal(seconds), row.mode == "edit")
        assert (found.region, found.region_assumed) == (region, False)
        assert found.price == price
        assert found.cost == (None if price is None else price * seconds)


@pytest.mark.parametrize("row", [row for row in REACHABLE if row.sizes], ids=name_of)
def test_an_exact_size_costs_what_its_tier_does(row: Model) -> None:
    for tier in row.resolutions:
        for size in SIZES[tier].values():
            found = bill(legal(row, size=size.replace("*", "x")), row, BASES[row.regions[0]])
            assert found.price == LOUD[row.name, row.regions[0], tier], size


I2V_FLASH, R2V_FLASH, R2V = (MODELS[f"wan2.6-{name}"] for name in ("i2v-flash", "r2v-flash", "r2v"))
T2V, KF2V = MODELS["wan2.6-t2v"], MODELS["wan2.2-kf2v-flash"]
URL = "https://example.com/a.mp3"


@pytest.mark.parametrize(
    ("row", "given", "price"),
    [
        (I2V_FLASH, {}, "0.15"),
        (I2V_FLASH, {"audio": False}, "0.15"),
        (I2V_FLASH, {"audio": True}, "0.3"),
        (I2V_FLASH, {"audio_url": URL}, "0.3"),
        (I2V_FLASH, {"audio": True, "resolution": "1080P"}, "0.5"),
        (I2V_FLASH, {"resolution": "1080P"}, "0.25"),
        (R2V_FLASH, {}, "0.3"),
        (R2V_FLASH, {"no_audio": False}, "0.3"),
        (R2V_FLASH, {"no_audio": True}, "0.15"),
        (R2V_FLASH, {"no_audio": True, "resolution": "1080P"}, "0.25"),
        (R2V, {}, "0.6"),
        (T2V, {"audio_url": URL}, "0.6"),
    ],
    ids=name_of,
)
def test_silence_costs_half_where_it_is_what_is_sent(row: Model, given: dict[str, Any], price: str) -> None:
    assert bill(legal(row, **given), row, BASES["beijing"]).price == Decimal(price)


def test_a_key_frame_clip_is_5_seconds_though_its_length_is_not_sent() -> None:
    assert bill(legal(KF2V), KF2V, BASES["beijing"]).cost == 1
    assert bill(legal(KF2V, duration=5), KF2V, BASES["beijing"]).seconds == 5


@pytest.mark.parametrize(
    ("base_url", "model", "region", "assumed"),
    [
        ("emulator", "wan2.6-t2v", "beijing", True),
        ("http://127.0.0.1:8900/api/v1", "wan2.6-t2v", "beijing", True),
        ("https://proxy.example.com/api/v1", "wan2.1-t2v-plus", "singapore", True),  # Beijing has no such model
        ("https://proxy.example.com/api/v1", "wan2.6-t2v-us", "virginia", True),
        ("https://ws-1.cn-beijing.maas.aliyuncs.com/api/v1", "wan2.6-t2v", "beijing", False),
        ("https://ws-1.ap-southeast-1.maas.aliyuncs.com/api/v1", "wan2.6-t2v", "singapore", False),
        ("https://ws-1.us-east-1.maas.aliyuncs.com/api/v1", "wan2.6-t2v", "virginia", False),
        ("https://ws-1.ap-northeast-1.maas.aliyuncs.com/api/v1", "wan2.6-t2v", "beijing", True),
        ("https://cn-beijing.maas.aliyuncs.com.example.com/api/v1", "wan2.6-t2v", "beijing", True),
    ],
)
def test_the_price_is_that_of_the_base_urls_region_or_says_that_it_is_assumed(
    base_url: str, model: str, region: str, *, assumed: bool
) -> None:
    found = bill(legal(MODELS[model]), MODELS[model], base_url)
    assert (found.region, found.region_assumed) == (region, assumed)
    assert found.price == LOUD[model, region, "720P"]
    assert (" assumed" in sentence(found)) is assumed
    assert ("region_assumed" in shown(found)["list_price"]) is assumed


def test_a_model_that_the_region_has_no_price_for_has_none() -> None:
    found = bill(legal(MODELS["wan2.6-t2v-us"]), MODELS["wan2.6-t2v-us"], BASES["beijing"])
    assert (found.price, found.cost) == (None, None)
    assert shown(found) == {"billed_seconds": 5}
    assert sentence(found) == "5 s are billed; no price is known of this model and resolution in beijing"


def test_a_tier_that_the_list_leaves_out_has_no_price() -> None:
    row = MODELS["wan2.2-i2v-flash"]
    assert bill(legal(row, resolution="1080P"), row, BASES["singapore"]).cost is None
    assert bill(legal(row, resolution="720P"), row, BASES["singapore"]).price == Decimal("0.264213")


def test_a_row_without_prices_is_billed_seconds_alone() -> None:
    assert shown(bill(legal(T2V), T2V._replace(prices={}), BASES["beijing"])) == {"billed_seconds": 5}


# --- reference videos ------------------------------------------------------------------------------------------------

PICTURE, NAMED = "https://example.com/a.png", "https://example.com/a.mp4?Expires=1"
CAPS = {1: "5", 2: "2.5", 3: "1.65", 4: "1.25", 5: "1"}  # reference 2.3, "r2v billing": references in all -> seconds


def video(seconds: float | None) -> Media:
    return Media("scene.mp4", "video/mp4", 1000, 640, 480, seconds=seconds)


def test_the_caps_are_those_of_the_reference() -> None:
    assert {count: Decimal(cap) for count, cap in CAPS.items()} == budget.VIDEO_CAPS


# references; seconds that are billed of them; whether it may be less
REFERENCES: list[tuple[tuple[str | Media, ...], str, bool]] = [
    ((PICTURE,) * 5, "0", False),
    ((Media("a.mp4", "image/png", 1),) * 5, "0", False),  # the content says what it is
    (
        ("https://example.com/a.JPG?x=a.mp4", "oss://key/b.webp", Media("data:image/png;base64,AA", "image/png", 1)),
        "0",
        False,
    ),
    ((video(4.99),), "4.99", False),
    ((video(5.0),), "5", False),
    ((video(5.01),), "5", False),
    ((video(30),), "5", False),
    ((video(1.2345),), "1.23", False),
    ((video(None),), "5", True),
    ((NAMED,), "5", True),
    (("scene.mov",), "5", True),
    (("https://example.com/no-extension",), "5", True),  # it may be a video
    ((video(2.0), PICTURE), "2", False),
    ((video(2.49), PICTURE), "2.49", False),
    ((video(2.51), PICTURE), "2.5", False),
    ((video(30), video(30)), "5", False),
    ((video(30), video(1.1)), "3.6", False),
    ((video(30), PICTURE, PICTURE), "1.65", False),
    ((video(30), video(30), video(30)), "4.95", False),
    ((video(30), NAMED, PICTURE), "3.3", True),
    ((video(1.25), PICTURE, PICTURE, PICTURE), "1.25", False),
    ((video(1.3), video(1.2), PICTURE, PICTURE), "2.45", False),
    ((video(30), *(PICTURE,) * 4), "1", False),
    ((NAMED, NAMED, NAMED, PICTURE, PICTURE), "3", True),
    (("oss://key",) * 5, "3", True),  # no more than 3 of them can be videos
    ((video(1), video(1), *("oss://key",) * 3), "3", True),
    ((video(1), video(1), video(1), *("oss://key",) * 2), "3", False),
]


@pytest.mark.parametrize(("refs", "seconds", "upper_bound"), REFERENCES)
def test_reference_videos_are_billed_up_to_a_cap_that_falls_with_their_number(
    refs: tuple[str | Media, ...], seconds: str, *, upper_bound: bool
) -> None:
    found = bill(legal(R2V, refs=refs, duration=10), R2V, BASES["beijing"])
    assert found.seconds == 10 + Decimal(seconds)
    assert found.cost == found.seconds * Decimal("0.6")
    assert found.upper_bound is upper_bound
    assert ("at most " in sentence(found)) is upper_bound
    assert shown(found).get("upper_bound", False) is upper_bound


COUNTS = [(videos, pictures) for videos in range(4) for pictures in range(6 - videos) if videos + pictures]


@pytest.mark.parametrize(("videos", "pictures"), COUNTS)
def test_the_emulator_bills_the_same_seconds(videos: int, pictures: int, tmp_path: Path) -> None:
    send = sender(tmp_path, environ={"RAWGENAI_EMULATOR_SECONDS": "0"})
    spec = legal(R2V, refs=(NAMED,) * videos + (PICTURE,) * pictures, size="720*1280", duration=2)
    task = wire.parse_created(send(wire.create_request(spec, R2V)))
    answers = [json.loads(send(wire.status_request(task.task_id)).body) for _ in range(4)]
    assert answers[-1]["usage"]["duration"] == float(bill(spec, R2V, "emulator").seconds)


# --- limits ----------------------------------------------------------------------------------------------------------

BILL = bill(Spec("a", duration=5), T2V, BASES["beijing"])  # 5 s, 3 CNY
NO_PRICE = BILL._replace(price=None, cost=None)


def verdict(bill: Bill, **limits: float | None) -> str:
    try:
        check_budget(bill, **limits)
    except RawgenaiError as error:
        return error.code
    return ""


@pytest.mark.parametrize(
    ("found", "limits", "code"),
    [
        (BILL, {}, ""),
        (BILL, {"max_cost": None, "max_seconds": None}, ""),
        (BILL, {"max_cost": 3}, ""),
        (BILL, {"max_cost": 3.0, "max_seconds": 5.0}, ""),
        (BILL, {"max_cost": 2.999999}, "over_budget"),
        (BILL, {"max_cost": 3.000001}, ""),
        (BILL, {"max_cost": 0}, "over_budget"),
        (BILL, {"max_cost": -1}, "over_budget"),
        (BILL, {"max_cost": float("inf")}, ""),
        (BILL, {"max_cost": float("nan")}, "invalid_usage"),
        (BILL, {"max_seconds": 5}, ""),
        (BILL, {"max_seconds": 4.99}, "over_budget"),
        (BILL, {"max_seconds": 0}, "over_budget"),
        (BILL, {"max_seconds": float("nan")}, "invalid_usage"),
        (BILL, {"max_cost": 3, "max_seconds": 4}, "over_budget"),
        (BILL, {"max_cost": 2, "max_seconds": 5}, "over_budget"),
        (NO_PRICE, {}, ""),
        (NO_PRICE, {"max_seconds": 5}, ""),
        (NO_PRICE, {"max_cost": 1000}, "over_budget"),  # a limit that cannot be checked is not kept
        (NO_PRICE, {"max_cost": float("inf")}, "over_budget"),
        # What floats cannot add up: 0.1 * 3 is 0.30000000000000004 to them.
        (BILL._replace(seconds=Decimal(3), cost=Decimal("0.1") * 3), {"max_cost": 0.3}, ""),
        (BILL._replace(upper_bound=True), {"max_seconds": 4}, "over_budget"),  # the most counts
    ],
)
def test_a_bill_is_within_its_limits_or_refused(found: Bill, limits: dict[str, Any], code: str) -> None:
    assert verdict(found, **limits) == code


@pytest.mark.parametrize(
    ("found", "limits", "message"),
    [
        (
            BILL,
            {"max_cost": 2.5},
            "--max-cost 2.5: 5 s are billed, 3 CNY by the list (0.6 a second, beijing, 2026-05; check the price page)",
        ),
        (
            BILL._replace(upper_bound=True, region_assumed=True),
            {"max_seconds": 4},
            "--max-seconds 4: at most 5 s are billed, 3 CNY by the list (0.6 a second, beijing assumed, 2026-05;",
        ),
        (
            NO_PRICE,
            {"max_cost": 10},
            "--max-cost 10 cannot be checked: 5 s are billed; no price is known of this model and resolution in",
        ),
        (NO_PRICE, {"max_cost": 1e6}, "--max-cost 1000000 cannot be checked"),
    ],
)
def test_a_refusal_says_the_numbers(found: Bill, limits: dict[str, Any], message: str) -> None:
    with pytest.raises(RawgenaiError) as caught:
        check_budget(found, **limits)
    assert caught.value.message.startswith(message)
    assert caught.value.status == 2


def test_a_bill_in_an_envelope() -> None:
    assert shown(BILL) == {
        "billed_seconds": 5,
        "list_price": {
            "amount": 3.0,
            "currency": "CNY",
            "per_second": 0.6,
            "region": "beijing",
            "as_of": "2026-05",
            "note": "check the price page",
        },
    }


@pytest.mark.parametrize("row", REACHABLE, ids=name_of)
def test_no_amount_has_the_noise_of_floats(row: Model) -> None:
    for region, tier, seconds in itertools.product(row.prices, row.resolutions, row.durations):
        spec = legal(row, resolution=tier, duration=seconds)
        if row.mode == "r2v":
            spec = replace(spec, refs=(video(1.1), video(1.3), PICTURE))
        text = json.dumps(shown(bill(spec, row, BASES[region])))
        assert not re.search(r"\.\d{9}", text), text


# --- several clips ------------------------------------------------------------------------------------------------


def each(*changes: dict[str, Any]) -> list[Bill]:
    one = Bill(
        Decimal(5), upper_bound=False, price=Decimal("0.6"), cost=Decimal(3), region="beijing", region_assumed=True
    )
    return [one._replace(**change) for change in changes]


CHEAPER = {"price": Decimal("0.3"), "cost": Decimal("1.5")}
UNKNOWN = {"price": None, "cost": None}
LIST = "beijing assumed, 2026-05; check the price page"
TOTALS: dict[str, tuple[list[Bill], str]] = {
    "one": (each({}), f"5 s are billed, 3 CNY by the list (0.6 a second, {LIST})"),
    "alike": (each({}, {}), f"10 s are billed, 6 CNY by the list (0.6 a second, {LIST})"),
    "of several prices": (each({}, CHEAPER), f"10 s are billed, 4.5 CNY by the list ({LIST})"),
    "one of them unknown": (
        each({}, UNKNOWN), "10 s are billed; no price is known of this model and resolution in beijing",
    ),
    "one of them at most": (
        each({}, {"upper_bound": True}), f"at most 10 s are billed, 6 CNY by the list (0.6 a second, {LIST})",
    ),
    "in two regions": (
        each({}, {"region": "singapore"}),
        "10 s are billed, 6 CNY by the list (0.6 a second, beijing, singapore assumed, 2026-05; check the price page)",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("bills", "said"), TOTALS.values(), ids=TOTALS)
def test_the_bills_of_several_clips_add_up(bills: list[Bill], said: str) -> None:
    assert sentence(budget.total(bills)) == said


def test_several_prices_are_no_price_of_a_second_in_an_envelope() -> None:
    listed = shown(budget.total(each({}, CHEAPER)))["list_price"]
    assert (listed["amount"], "per_second" in listed) == (4.5, False)
