"""The synthetic market: repeatable, valid on every grid, and statistically like real perpetuals."""

import json
import math
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bot.core.errors import InputError
from bot.core.market import DAY_MS, FUNDING_INTERVAL_MS, HOUR_MS, MINUTE_MS, Row
from bot.sim.market_model import REGIMES, MarketModel, weekly_profile
from bot.sim.markets import SyntheticMarket
from ops.research import market_stats

START = 1_704_067_200_000  # 2024-01-01 00:00 UTC
SYMBOLS = ("BTC-USDT-PERP", "ETH-USDT-PERP", "FOO-USDT-PERP")
MAJORS = ("BTC-USDT-PERP", "ETH-USDT-PERP", "XRP-USDT-PERP")


def model(seed: int = 1, timeframe_ms: int = HOUR_MS, **changes: Any) -> MarketModel:
    values: dict[str, Any] = {"symbols": SYMBOLS, "start_ms": START} | changes
    return MarketModel(seed=seed, timeframe_ms=timeframe_ms, **values)


def rows(of: MarketModel, count: int) -> list[Row]:
    return list(islice(SyntheticMarket(of).rows(), count))


def single_regime(name: str, seed: int = 1, **changes: Any) -> MarketModel:
    """Return a model that stays in one regime for good."""
    regime = next(regime for regime in REGIMES if regime.name == name)
    lasting = replace(regime, days=1e9, next=((name, 1.0),))
    return model(seed, regimes=(lasting,), **changes)


def statistics(of: MarketModel, bars: int) -> dict[str, list[float]]:
    return market_stats.market_statistics(SyntheticMarket(of).market_data(bars))


@pytest.mark.parametrize("timeframe_ms", [MINUTE_MS, HOUR_MS, DAY_MS])
def test_stream_and_batch_are_the_same_market(timeframe_ms: int) -> None:
    of = model(seed=5, timeframe_ms=timeframe_ms, hole_rate=0.1)
    data = SyntheticMarket(of).market_data(300)
    stream = rows(of, 300)
    for i, (candles, funding) in enumerate(zip(data.candles, data.funding, strict=True)):
        present = [(row.open_ms, row.bars[i]) for row in stream if row.bars[i] is not None]
        columns = (candles.open, candles.high, candles.low, candles.close, candles.volume)
        assert list(zip(candles.timestamp, zip(*columns, strict=True), strict=True)) == present
        settled = [(time, rate) for row in stream for j, time, rate in row.funding if j == i]
        assert list(zip(funding.timestamp, funding.rate, strict=True)) == settled


def test_a_short_run_is_the_beginning_of_a_long_one() -> None:
    short, long = (SyntheticMarket(model(seed=3)).market_data(bars) for bars in (100, 300))
    for a, b in zip(short.candles, long.candles, strict=True):
        assert a.close == b.close[:100]
        assert a.volume == b.volume[:100]
    for f, g in zip(short.funding, long.funding, strict=True):
        assert f.rate == g.rate[: len(f)]


def test_the_same_seed_repeats_and_another_differs() -> None:
    market = SyntheticMarket(model(seed=3))
    first = list(islice(market.rows(), 50))
    assert list(islice(market.rows(), 50)) == first
    assert rows(model(seed=4), 50) != first


def test_the_seed_reaches_each_symbols_own_part() -> None:
    # Without a common part what is left is the symbol's own.
    still = {"volatility": 1e-12, "jumps_per_day": 0.0, "components": ()}
    one, other = (rows(single_regime("range", seed, **still), 20) for seed in (1, 2))
    for i in range(len(SYMBOLS)):
        assert [row.bars[i] for row in one] != [row.bars[i] for row in other]


def test_a_symbol_does_not_depend_on_its_company() -> None:
    alone = rows(model(symbols=("ETH-USDT-PERP",)), 200)
    together = rows(model(), 200)
    assert [row.bars[0] for row in alone] == [row.bars[1] for row in together]


@pytest.mark.parametrize("timeframe_ms", [MINUTE_MS, 5 * MINUTE_MS, HOUR_MS, 4 * HOUR_MS, DAY_MS])
@pytest.mark.parametrize("seed", range(4))
def test_every_bar_is_valid_and_on_the_grid(seed: int, timeframe_ms: int) -> None:
    market = SyntheticMarket(model(seed, timeframe_ms))
    previous = [math.nan] * len(SYMBOLS)
    for row in islice(market.rows(), 300):
        assert (row.open_ms - START) % timeframe_ms == 0
        for i, (bar, spec) in enumerate(zip(row.bars, market.specs, strict=True)):
            assert bar is not None
            assert 0.0 < bar.low <= min(bar.open, bar.close)
            assert max(bar.open, bar.close) <= bar.high < math.inf
            for price in bar[:4]:
                decimals = max(0, -math.floor(math.log10(spec.tick)))
                assert price == round(round(price / spec.tick) * spec.tick, decimals)
            contracts = bar.volume / spec.multiplier
            assert contracts >= 1.0 - 1e-9
            assert contracts == pytest.approx(round(contracts), rel=1e-9)
            assert not abs(bar.open - previous[i]) > 1.01 * spec.tick
            previous[i] = bar.close


def test_a_price_near_one_tick_stays_positive() -> None:
    market = SyntheticMarket(single_regime("panic", symbols=("FOO-USDT-PERP",), anchor_years=1e9))
    spec = replace(market.specs[0], tick=10.0)
    market.specs = (spec,)
    lows = [row.bars[0].low for row in islice(market.rows(), 5000) if row.bars[0] is not None]
    assert min(lows) == 10.0


@pytest.mark.parametrize("rate", [0.02, 0.3, 0.9])
def test_holes_remove_bars_and_change_no_other(rate: float) -> None:
    full, holed = rows(model(seed=2), 1200), rows(model(seed=2, hole_rate=rate), 1200)
    pairs = [
        (a, b)
        for one, other in zip(full, holed, strict=True)
        for a, b in zip(one.bars, other.bars, strict=True)
    ]
    assert all(b is None or b == a for a, b in pairs)
    assert sum(b is None for _, b in pairs) / len(pairs) == pytest.approx(rate, abs=0.03)
    assert [row.funding for row in full] == [row.funding for row in holed]


@pytest.mark.parametrize("timeframe_ms", [MINUTE_MS, HOUR_MS, 8 * HOUR_MS, 12 * HOUR_MS, DAY_MS])
def test_funding_settles_at_0_8_and_16_oclock(timeframe_ms: int) -> None:
    start = START + 12 * HOUR_MS if timeframe_ms < 8 * HOUR_MS else START
    bars = 3 * DAY_MS // timeframe_ms
    stream = rows(model(timeframe_ms=timeframe_ms, start_ms=start), bars)
    times = []
    for row in stream:
        for _, time, rate in row.funding:
            assert row.open_ms < time <= row.open_ms + timeframe_ms
            assert -0.0075 <= rate <= 0.0075
            times.append(time)
    first = start - start % FUNDING_INTERVAL_MS + FUNDING_INTERVAL_MS
    expected = range(first, start + bars * timeframe_ms + 1, FUNDING_INTERVAL_MS)
    assert times == [time for time in expected for _ in SYMBOLS]
    assert [i for row in stream for i, _, _ in row.funding] == [0, 1, 2] * len(expected)


def test_funding_is_high_in_euphoria_and_low_in_panic() -> None:
    def mean_rate(name: str) -> float:
        of = single_regime(name, timeframe_ms=8 * HOUR_MS)
        return float(np.mean([rate for row in rows(of, 500) for _, _, rate in row.funding]))

    assert mean_rate("euphoria") > 0.0004
    assert mean_rate("range") == pytest.approx(0.0001, abs=0.00005)
    assert mean_rate("panic") < 0.00005


def test_correlation_rises_in_panic() -> None:
    panic, euphoria = (
        statistics(single_regime(name), 1500)[market_stats.CORRELATION][0]
        for name in ("panic", "euphoria")
    )
    assert panic > euphoria + 0.1


@pytest.mark.parametrize("timeframe_ms", [MINUTE_MS, HOUR_MS, 4 * HOUR_MS])
def test_volatility_means_the_same_on_every_timeframe(timeframe_ms: int) -> None:
    # A whole number of weeks, or the weekly profile would tilt the result.
    bars = 7 * DAY_MS // timeframe_ms * max(1, timeframe_ms // HOUR_MS * 8)
    flat = replace(REGIMES[0], volatility=1.0, own_volatility=1.0, days=1e9, next=())
    calm = model(
        timeframe_ms=timeframe_ms,
        symbols=("BTC-USDT-PERP",),
        regimes=(flat,),
        components=(),
        own_components=(),
        jumps_per_day=0.0,
        own_jumps_per_day=0.0,
        overreaction=0.0,
    )
    coin = calm.coin("BTC-USDT-PERP")
    expected = math.hypot(coin.beta * calm.volatility, coin.volatility)
    measured = statistics(calm, bars)["annualised volatility"][0]
    assert measured == pytest.approx(expected, rel=0.08)


@pytest.mark.parametrize("jumps", ["jumps_per_day", "own_jumps_per_day"])
def test_jumps_fatten_the_tails(jumps: str) -> None:
    def kurtosis(**changes: Any) -> float:
        calm: dict[str, Any] = {"components": (), "own_components": (), "jumps_per_day": 0.0}
        calm |= {"own_jumps_per_day": 0.0, "symbols": ("ETH-USDT-PERP",)}
        return statistics(single_regime("range", **(calm | changes)), 1500)["excess kurtosis"][0]

    assert kurtosis() < 0.5
    assert kurtosis(**{jumps: 1.0}) > 2.0


# Bands around what real perpetuals show (docs/MARKETS.md), wide enough for one year of one seed.
BANDS_1H = {
    "annualised volatility": (0.25, 2.0),
    "excess kurtosis": (4.0, 400.0),
    "autocorrelation of returns, lag 1": (-0.08, 0.05),
    "autocorrelation of absolute returns, lag 1": (0.15, 0.50),
    "autocorrelation of absolute returns, lag 24": (0.06, 0.40),
    "Hill tail exponent, upper 5 %": (2.0, 3.5),
    "beyond 4 sigma, % of bars": (0.3, 1.2),
    "mean range / mean absolute body": (2.0, 2.3),
    "correlation of volume and absolute return": (0.45, 0.75),
    "variance ratio, 24 bars": (0.75, 1.2),
    "funding mean, bps": (0.0, 4.0),
    "funding autocorrelation, lag 1": (0.5, 0.97),
    market_stats.CORRELATION: (0.5, 0.85),
}
BANDS_1M = {
    "annualised volatility": (0.15, 3.0),
    "excess kurtosis": (3.0, 1000.0),
    "autocorrelation of returns, lag 1": (-0.08, 0.08),
    "autocorrelation of absolute returns, lag 1": (0.15, 0.50),
    "autocorrelation of absolute returns, lag 24": (0.08, 0.40),
    "mean range / mean absolute body": (1.5, 1.9),
    market_stats.CORRELATION: (0.5, 0.92),
}


@pytest.mark.parametrize(
    ("seed", "timeframe_ms", "bands"),
    [(1, HOUR_MS, BANDS_1H), (2, HOUR_MS, BANDS_1H), (3, MINUTE_MS, BANDS_1M)],
)
def test_statistics_are_like_those_of_real_markets(
    seed: int, timeframe_ms: int, bands: dict[str, tuple[float, float]]
) -> None:
    found = statistics(model(seed, timeframe_ms, symbols=MAJORS), 8760)
    for name, (low, high) in bands.items():
        assert all(low <= value <= high for value in found[name]), (name, found[name])


def test_specs_say_where_they_come_from() -> None:
    def sources(*symbols: str) -> tuple[str, str]:
        data = SyntheticMarket(model(symbols=symbols)).market_data(10)
        return data.spec_source, data.funding_source

    assert sources("BTC-USDT-PERP", "ETH-USDT-PERP") == ("builtin", "synthetic")
    assert sources("FOO-USDT-PERP") == ("assumed", "synthetic")
    assert sources("BTC-USDT-PERP", "FOO-USDT-PERP") == ("mixed", "synthetic")


@pytest.mark.parametrize("hours", [1, 4, 24])
def test_the_weekly_profile_leaves_the_mean_variance_alone(hours: int) -> None:
    profile = weekly_profile(hours)
    assert sum(value * value for value in profile) / len(profile) == pytest.approx(1.0)
    saturday, monday = profile[2 * 24], profile[4 * 24]  # hour 0 is Thursday, as the epoch
    assert saturday < monday


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"symbols": ()}, "symbols: expected one or more"),
        ({"symbols": ("BTC-USDT-PERP", "BTC-USDT-PERP")}, "each once"),
        ({"symbols": ("BTC/USDT:USDT",)}, "names like BTC-USDT-PERP"),
        ({"timeframe_ms": 7 * MINUTE_MS}, "timeframe_ms: expected the length of 1m"),
        ({"start_ms": START + 1}, f"use {START}"),
        ({"hole_rate": 1.0}, "hole_rate: expected 0 to below 1"),
        ({"hole_rate": math.nan}, "hole_rate: expected 0 to below 1"),
    ],
)
def test_a_wrong_model_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        model(**changes)


def test_known_series_have_known_statistics() -> None:
    alternating = np.array([1.0, -1.0] * 50)
    assert market_stats.autocorrelation(alternating, 1) == pytest.approx(-0.99)
    assert market_stats.autocorrelation(alternating, 2) == pytest.approx(0.98)
    assert market_stats.variance_ratio(alternating, 2) == 0.0
    assert math.isnan(market_stats.autocorrelation(np.ones(9), 1))
    pareto = np.arange(1.0, 100_001.0) ** (-1.0 / 3.0)  # quantiles of a tail with exponent 3
    assert market_stats.hill_exponent(pareto) == pytest.approx(3.0, rel=0.01)
    assert market_stats.max_drawdown(np.array([1.0, 4.0, 3.0, 5.0, 1.0, 2.0])) == 0.8


def test_a_symbol_without_funding_record_shows_no_funding_statistics() -> None:
    data = SyntheticMarket(model()).market_data(500)
    assumed = replace(data, funding_source="assumed")
    assert "funding mean, bps" in market_stats.market_statistics(data)
    assert "funding mean, bps" not in market_stats.market_statistics(assumed)


def test_last_bars_cuts_candles_and_funding_at_the_same_time() -> None:
    data = SyntheticMarket(model(hole_rate=0.2)).market_data(500)
    cut = market_stats.last_bars(data, 100)
    start = data.last_open_ms() - 99 * HOUR_MS
    assert all(
        c.timestamp[0] >= start and c.timestamp[-1] <= START + 499 * HOUR_MS for c in cut.candles
    )
    assert [len(f) for f in cut.funding] == [
        sum(t >= start for t in f.timestamp) for f in data.funding
    ]


def test_recorded_candles_are_judged_like_generated_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = SyntheticMarket(model(start_ms=market_stats.START_MS)).market_data(300)
    for c, f in zip(data.candles, data.funding, strict=True):
        candles = zip(c.timestamp, c.open, c.high, c.low, c.close, c.volume, strict=True)
        write_csv(tmp_path / f"{c.symbol}-1h.csv", "timestamp,open,high,low,close,volume", candles)
        funding = zip(f.timestamp, f.rate, strict=True)
        write_csv(tmp_path / f"{f.symbol}-funding.csv", "timestamp,funding_rate", funding)
    options = ["--symbols", ",".join(SYMBOLS), "--bars", "300", "--seeds", "1", "--json"]
    assert market_stats.main(["--data", str(tmp_path), *options]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["real"] == result["synthetic"]


def write_csv(path: Path, header: str, lines: Iterable[tuple[float, ...]]) -> None:
    text = [",".join(map(repr, line)) for line in lines]
    path.write_text("\n".join([header, *text]) + "\n", encoding="utf-8")


def test_the_program_prints_a_table_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--symbols", ",".join(SYMBOLS), "--bars", "300", "--seeds", "2"]
    assert market_stats.main(options) == 0
    table = capsys.readouterr().out.splitlines()
    assert {line.count("|") for line in table} == {8}
    assert market_stats.main([*options, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert len(result["synthetic"]["excess kurtosis"]) == 2 * len(SYMBOLS)
    assert result["real"] == {}
    assert market_stats.main(["--timeframe", "7m"]) == 2
    assert "expected one of 1m" in capsys.readouterr().err
