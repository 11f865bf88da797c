"""The statistics of a synthetic market beside those of real candles, as a table or as JSON.

    python -m ops.research.market_stats --data DIR --timeframe 1h --bars 8760 --seeds 8

Without --data only the synthetic side is printed. The seeds SEED, SEED + 1, ... give its spread.
The parameters in bot/sim/market_model.py were fitted with this program.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bot.adapters.history import load_market
from bot.core.errors import InputError
from bot.core.market import (
    DAY_MS,
    Candles,
    Funding,
    MarketData,
    parse_symbol,
    parse_timeframe,
)
from bot.sim.markets import MarketModel, SyntheticMarket

type Series = npt.NDArray[np.float64]
type Table = dict[str, list[float]]

YEAR_MS = 365 * DAY_MS
START_MS = 1_609_459_200_000  # 2021-01-01, where the synthetic side starts
TAIL_SHARE = 0.05
ABS_LAGS = (1, 6, 24, 168)
RATIO_LENGTHS = (24, 168)
SPREAD = (0.05, 0.5, 0.95)  # quantiles shown for the synthetic side
CORRELATION = "mean pairwise correlation"


def autocorrelation(x: Series, lag: int) -> float:
    """Return the autocorrelation of `x` at `lag` (in elements); nan where it is not defined."""
    centred = x - x.mean()
    power = float(centred @ centred)
    if len(x) <= lag or power <= 0.0:
        return math.nan
    return float(centred[lag:] @ centred[:-lag]) / power


def variance_ratio(x: Series, length: int) -> float:
    """Return the variance of sums of `length` elements over what a random walk would have.

    Above 1 prices trend, below 1 they revert. nan where `x` is too short.
    """
    if len(x) <= 2 * length:
        return math.nan
    walk = np.concatenate(([0.0], np.cumsum(x)))
    sums = walk[length:] - walk[:-length]
    return float(sums.var() / (length * x.var()))


def hill_exponent(x: Series, share: float = TAIL_SHARE) -> float:
    """Return Hill's estimate of the tail exponent of |x| from its largest `share`.

    Source: B. M. Hill, "A simple general approach to inference about the tail", 1975.
    """
    magnitude = np.sort(np.abs(x[x != 0.0]))
    count = int(len(magnitude) * share)
    if count < 2:
        return math.nan
    return float(1.0 / np.mean(np.log(magnitude[-count:] / magnitude[-count - 1])))


def max_drawdown(close: Series) -> float:
    """Return the largest fall from a peak, as a fraction of the peak."""
    return float(np.max(1.0 - close / np.maximum.accumulate(close)))


def log_returns(candles: Candles) -> Series:
    """Return the log returns between consecutive closes, shape (bars - 1,)."""
    return np.diff(np.log(np.asarray(candles.close)))


def candle_statistics(candles: Candles, timeframe_ms: int) -> dict[str, float]:
    """Return the statistics of one symbol's candles by name; lags are in bars."""
    returns = log_returns(candles)
    size = np.abs(returns)
    deviation = float(returns.std())
    z = (returns - returns.mean()) / deviation
    high, low = np.asarray(candles.high), np.asarray(candles.low)
    body = np.abs(np.log(np.asarray(candles.close) / np.asarray(candles.open)))
    result = {
        "annualised volatility": deviation * math.sqrt(YEAR_MS / timeframe_ms),
        "skew": float(np.mean(z**3)),
        "excess kurtosis": float(np.mean(z**4)) - 3.0,
        "autocorrelation of returns, lag 1": autocorrelation(returns, 1),
    }
    for length in RATIO_LENGTHS:
        result[f"variance ratio, {length} bars"] = variance_ratio(returns, length)
    for lag in ABS_LAGS:
        result[f"autocorrelation of absolute returns, lag {lag}"] = autocorrelation(size, lag)
    return result | {
        "Hill tail exponent, upper 5 %": hill_exponent(returns),
        "beyond 4 sigma, % of bars": 100.0 * float(np.mean(np.abs(z) > 4.0)),
        "maximum drawdown": max_drawdown(np.asarray(candles.close)),
        "mean range / mean absolute body": float(np.mean(np.log(high / low)) / np.mean(body)),
        "correlation of volume and absolute return": float(
            np.corrcoef(np.asarray(candles.volume)[1:], size)[0, 1]
        ),
    }


def funding_statistics(funding: Funding) -> dict[str, float]:
    """Return the statistics of one symbol's funding by name, in basis points per settlement."""
    rate = 1e4 * np.asarray(funding.rate)
    if not len(rate):
        return {}
    return {
        "funding mean, bps": float(rate.mean()),
        "funding deviation, bps": float(rate.std()),
        "funding minimum, bps": float(rate.min()),
        "funding maximum, bps": float(rate.max()),
        "funding autocorrelation, lag 1": autocorrelation(rate, 1),
    }


def pairwise_correlation(candles: Sequence[Candles]) -> float:
    """Return the mean correlation of the returns of all pairs, over the bars that both have."""
    values = []
    for i, one in enumerate(candles):
        for other in candles[:i]:
            _, a, b = np.intersect1d(
                np.asarray(one.timestamp), np.asarray(other.timestamp), return_indices=True
            )
            pair = [np.diff(np.log(np.asarray(c.close)[k])) for c, k in ((one, a), (other, b))]
            values.append(float(np.corrcoef(pair[0], pair[1])[0, 1]))
    return float(np.mean(values)) if values else math.nan


def market_statistics(data: MarketData) -> Table:
    """Return each statistic by name, one value per symbol, for the correlation one in all."""
    table: Table = {}
    for candles, funding in zip(data.candles, data.funding, strict=True):
        rows = candle_statistics(candles, data.timeframe_ms)
        if data.funding_source != "assumed":
            rows |= funding_statistics(funding)
        for name, value in rows.items():
            table.setdefault(name, []).append(value)
    table[CORRELATION] = [pairwise_correlation(data.candles)]
    return table


def last_bars(data: MarketData, bars: int) -> MarketData:
    """Return the part of `data` from the open of its last `bars` bar times on."""
    start = data.last_open_ms() - (bars - 1) * data.timeframe_ms
    return MarketData(
        data.timeframe_ms,
        data.symbols,
        tuple(_candles_from(c, start) for c in data.candles),
        tuple(_funding_from(f, start) for f in data.funding),
        data.specs,
        data.funding_source,
        data.spec_source,
    )


def _candles_from(c: Candles, start_ms: int) -> Candles:
    k = int(np.searchsorted(np.asarray(c.timestamp), start_ms))
    return Candles(
        c.symbol, c.timestamp[k:], c.open[k:], c.high[k:], c.low[k:], c.close[k:], c.volume[k:]
    )


def _funding_from(f: Funding, start_ms: int) -> Funding:
    k = int(np.searchsorted(np.asarray(f.timestamp), start_ms))
    return Funding(f.symbol, f.timestamp[k:], f.rate[k:])


def synthetic_statistics(
    symbols: tuple[str, ...], timeframe_ms: int, bars: int, seeds: Sequence[int]
) -> Table:
    """Return the statistics of one synthetic market per seed, all values of a name in a list."""
    table: Table = {}
    for done, seed in enumerate(seeds):
        _show_progress(done, len(seeds))
        model = MarketModel(seed, symbols, timeframe_ms, START_MS)
        for name, values in market_statistics(SyntheticMarket(model).market_data(bars)).items():
            table.setdefault(name, []).extend(values)
    _show_progress(len(seeds), len(seeds))
    return table


def _show_progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(
            f"\rsynthetic market {done}/{total}", end="\n" if done == total else "", file=sys.stderr
        )


def format_table(real: Table, synthetic: Table) -> str:
    """Return the table as Markdown: real minimum, median, maximum; synthetic 5 %, 50 %, 95 %."""
    names = sorted(synthetic, key=list(real or synthetic).index)
    lines = [
        "| statistic | real min | median | max | synthetic 5 % | median | 95 % |",
        "| --- " + "| ---: " * 6 + "|",
    ]
    for name in names:
        cells = [*_cells(real.get(name, []), (0.0, 0.5, 1.0)), *_cells(synthetic[name], SPREAD)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cells(values: list[float], quantiles: tuple[float, ...]) -> list[str]:
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return ["-"] * len(quantiles)
    return [f"{q:.2f}" if abs(q) >= 1.0 else f"{q:.3f}" for q in np.quantile(known, quantiles)]


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, was {text}")
    return value


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m ops.research.market_stats",
        description="Compare the synthetic market with real candles, statistic by statistic.",
        epilog="example: python -m ops.research.market_stats --data DIR --seeds 8",
    )
    parser.add_argument("--data", action="append", default=[], help="directory with real candles")
    parser.add_argument("--symbols", default="BTC-USDT-PERP,ETH-USDT-PERP,XRP-USDT-PERP")
    parser.add_argument("--timeframe", default="1h")
    parser.add_argument("--bars", type=_positive, default=8760, help="per symbol; real: the last")
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=_positive, default=4, help="how many seeds")
    parser.add_argument("--json", action="store_true", help="all values, for machines")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the comparison; return the exit code: 0, or 2 where an option or a file is wrong."""
    options = parse_arguments(arguments)
    try:
        symbols = tuple(parse_symbol(text) for text in options.symbols.split(","))
        timeframe_ms = parse_timeframe(options.timeframe)
        real: Table = {}
        if options.data:
            folders = [Path(text) for text in options.data]
            data = load_market(folders, symbols, options.timeframe, None, None)
            real = market_statistics(last_bars(data, options.bars))
        seeds = range(options.seed, options.seed + options.seeds)
        synthetic = synthetic_statistics(symbols, timeframe_ms, options.bars, seeds)
    except InputError as error:
        print(f"market_stats: {error}", file=sys.stderr)
        return error.exit_code
    if options.json:
        print(json.dumps({"symbols": symbols, "real": real, "synthetic": synthetic}, indent=1))
    else:
        print(format_table(real, synthetic))
    return 0


if __name__ == "__main__":
    sys.exit(main())
