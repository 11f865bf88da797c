"""The market as KuCoin sends it: candles, contracts, prices."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.adapters import kucoin_parse_market as parse
from bot.adapters.kucoin_fields import MalformedReplyError
from bot.core.market import HOUR_MS, Bar
from bot.core.specs import BUILTIN
from tests.support.kucoin_samples import (
    ANYTHING,
    CONTRACT,
    JUNK,
    KLINES,
    MARK,
    RATE,
    TICKER,
    changed,
    sound,
    spoiled,
)

BTC = "BTC-USDT-PERP"
SPEC = BUILTIN[BTC]


def test_candles_come_oldest_first_with_volumes_in_coins() -> None:
    first = Bar(42283.6, 42554.5, 42261.1, 42475.3, 1224610 * 0.001)
    second = Bar(42475.3, 42775.0, 42431.6, 42613.5, 1115220 * 0.001)
    expected = [(1704067200000, first), (1704070800000, second)]
    assert parse.candles(KLINES, SPEC, HOUR_MS) == expected
    assert parse.candles([*reversed(KLINES), KLINES[0]], SPEC, HOUR_MS) == expected
    texts = [[str(value) for value in row] + ["turnover"] for row in KLINES]
    assert parse.candles(texts, SPEC, HOUR_MS) == expected
    assert parse.candles([], SPEC, HOUR_MS) == []


@pytest.mark.parametrize(
    ("position", "value", "named"),
    [
        (0, 1704067200, "time"),
        (0, 1704067200001, "time"),
        (0, None, "time"),
        (1, 0, "open"),
        (1, None, "open"),
        (2, 42283.5, "high"),
        (2, float("inf"), "high"),
        (3, 42283.7, "low"),
        (3, -1.0, "low"),
        (4, "nan", "close"),
        (5, -1, "volume"),
        (5, 0.5, "volume"),
        (5, None, "volume"),
    ],
)
def test_a_wrong_value_of_a_candle_is_named(position: int, value: object, named: str) -> None:
    row = list(KLINES[0])
    row[position] = value
    with pytest.raises(MalformedReplyError, match=f"^kline.*: {named}: expected"):
        parse.candles([row], SPEC, HOUR_MS)


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        "<html>",
        [None],
        [KLINES[0][:5]],
        [KLINES[0], [*KLINES[0][:5], 7]],  # two candles of one hour
    ],
)
def test_doubtful_candles_are_malformed(data: object) -> None:
    with pytest.raises(MalformedReplyError):
        parse.candles(data, SPEC, HOUR_MS)


def test_a_contract_is_read() -> None:
    assert parse.contract(CONTRACT, BTC) == parse.Contract(SPEC, "Open", 0.0002, 0.0006)
    rebate = changed(CONTRACT, makerFeeRate=-0.00015, status="Paused", multiplier="0.001")
    assert parse.contract(rebate, BTC)[1:3] == ("Paused", -0.00015)


def test_the_largest_order_is_one_that_the_market_takes_back() -> None:
    fewer = changed(CONTRACT, marketMaxOrderQty=5_000)
    assert parse.contract(fewer, BTC).spec.max_contracts == 5_000.0
    more = changed(CONTRACT, marketMaxOrderQty="2000000")
    assert parse.contract(more, BTC).spec.max_contracts == 1e6


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("symbol", "ETHUSDTM"),
        ("quoteCurrency", "USDC"),
        ("settleCurrency", "XBT"),
        ("isInverse", True),
        ("isInverse", None),
        ("lotSize", 10),
        ("multiplier", -1),
        ("multiplier", 0),
        ("multiplier", 1e14),
        ("tickSize", None),
        ("maintainMargin", None),
        ("maxLeverage", "many"),
        ("makerFeeRate", None),
        ("takerFeeRate", 0.5),
        ("maxOrderQty", 0),
        ("maxOrderQty", None),
        ("marketMaxOrderQty", 0),
        ("marketMaxOrderQty", 0.5),
        ("status", None),
    ],
)
def test_a_contract_that_does_not_fit_the_core_is_malformed(name: str, value: object) -> None:
    with pytest.raises(MalformedReplyError, match=r"^contract BTC-USDT-PERP"):
        parse.contract(changed(CONTRACT, **{name: value}), BTC)


def test_a_maintenance_rate_beyond_reason_is_malformed() -> None:
    with pytest.raises(MalformedReplyError, match="maintenance_rate: expected 0 to 0"):
        parse.contract(changed(CONTRACT, maintainMargin=0.7), BTC)


def test_prices_and_times() -> None:
    assert parse.ticker(TICKER, BTC) == parse.Ticker(67158.4, 1729163001780)
    assert parse.mark_price(MARK, BTC) == 67160.91
    assert parse.server_time(1729163001780) == 1729163001780
    for data in (None, changed(TICKER, symbol="ETHUSDTM"), changed(TICKER, ts=1729163001780)):
        with pytest.raises(MalformedReplyError):
            parse.ticker(data, BTC)
    for data in (None, changed(MARK, value=0), changed(MARK, symbol=".XBTUSDTM")):
        with pytest.raises(MalformedReplyError):
            parse.mark_price(data, BTC)
    for time in (None, 1729163001, "soon", True, 1729163001.5):
        with pytest.raises(MalformedReplyError, match=r"^timestamp"):
            parse.server_time(time)


def test_settled_funding() -> None:
    later = changed(RATE, timepoint=1702324800000, fundingRate="-0.0001")
    found = parse.funding_rates([later, RATE], BTC)
    assert found == [(1702324800000, -0.0001), (1702296000000, 2.26e-4)]
    assert parse.funding_rates([], BTC) == []
    for name, value in (("fundingRate", None), ("fundingRate", 0.5), ("timepoint", 1702296000)):
        with pytest.raises(MalformedReplyError, match=name):
            parse.funding_rates([changed(RATE, **{name: value})], BTC)
    for data in (None, {}, [changed(RATE, symbol="ETHUSDTM")], [None]):
        with pytest.raises(MalformedReplyError):
            parse.funding_rates(data, BTC)


def test_the_list_of_contracts() -> None:
    assert parse.listed([CONTRACT, changed(CONTRACT, symbol="ETHUSDTM")]) == {
        "XBTUSDTM",
        "ETHUSDTM",
    }
    for data in (None, [{}], [None]):
        with pytest.raises(MalformedReplyError):
            parse.listed(data)


PARSERS: list[tuple[Callable[[Any], object], dict[str, Any]]] = [
    (lambda value: parse.contract(value, BTC), CONTRACT),
    (lambda value: parse.ticker(value, BTC), TICKER),
    (lambda value: parse.mark_price(value, BTC), MARK),
    (lambda value: parse.funding_rates([value], BTC), RATE),
    (lambda value: sorted(parse.listed([value])), CONTRACT),
]


def check(parser: Callable[[Any], object], value: object) -> None:
    try:
        result = parser(value)
    except MalformedReplyError as error:
        result = str(error)
    assert sound(result), result


@pytest.mark.parametrize(("parser", "sample"), PARSERS)
@settings(max_examples=50)
@given(data=st.data())
def test_spoiled_objects(
    parser: Callable[[Any], object], sample: dict[str, Any], data: st.DataObject
) -> None:
    check(parser, data.draw(spoiled(sample)))
    check(parser, data.draw(ANYTHING))


ROWS = st.lists(
    st.lists(st.sampled_from([*JUNK, *KLINES[0], *KLINES[1]]), min_size=5, max_size=7)
    | st.sampled_from(KLINES)
    | ANYTHING,
    max_size=4,
)


@given(rows=ROWS, whole=ANYTHING)
def test_arbitrary_candles(rows: list[Any], whole: object) -> None:
    check(lambda value: parse.candles(value, SPEC, HOUR_MS), rows)
    check(lambda value: parse.candles(value, SPEC, HOUR_MS), whole)
    check(parse.server_time, whole)
