"""The numbers behind the charts of the report, reduced to what a screen can show.

Rules of this file: the size of a result does not grow with the number of bars, yet no high and no
low is lost; times leave in seconds UTC, as report.js wants them.
"""

from bisect import bisect_left
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from bot.core.kernel.records import Trade
from bot.core.market import Candles, MarketData
from bot.core.summary import RunResult, equity_series, trade_row

MAX_TRADES = 2_000  # in the list and on the charts: the latest ones
CURVE_PARTS = 1_500  # of at most four points each: more than one for each pixel of a wide screen
MAX_CANDLES = 3_000  # for one symbol
MAX_CANDLES_TOTAL = 30_000  # for all symbols together, about 1.3 MB
TRADE_KEYS = (
    "entry", "exit", "symbol", "strategy", "side", "contracts", "entryPrice", "exitPrice",
    "fees", "funding", "pnl", "reason",
)  # fmt: skip

type Points = list[tuple[int, float]]


def thin(points: Sequence[tuple[int, float]], parts: int) -> Points:
    """Return the first, lowest, highest and last point of each of `parts` equal parts of a curve.

    Drawn as a line over at most `parts` pixels, the result looks like the whole curve. A curve of
    no more than 4 x `parts` points is returned as it is.
    """
    if len(points) <= 4 * parts:
        return list(points)
    size = -(-len(points) // parts)
    kept: Points = []
    for begin in range(0, len(points), size):
        part = points[begin : begin + size]
        values = [value for _, value in part]
        extremes = {values.index(min(values)), values.index(max(values))}
        kept += [part[i] for i in sorted({0, *extremes, len(part) - 1})]
    return kept


def drawdowns(points: Sequence[tuple[int, float]]) -> Points:
    """Return the distance of an equity curve from its peak so far, in percent, 0 or below."""
    peak = 0.0
    found: Points = []
    for time, equity in points:
        peak = max(peak, equity)
        found.append((time, 100.0 * (equity / peak - 1.0) if peak > 0.0 else 0.0))
    return found


def join_candles(
    candles: Candles, start_ms: int, end_ms: int, timeframe_ms: int, limit: int
) -> dict[str, Any]:
    """Return the candles that open in [start_ms, end_ms), joined to at most `limit`, as columns.

    Keys: `start` and `step` in seconds UTC; `n` the number of each candle, whose open time is
    start + n x step; `o h l c` prices to seven digits. A joined candle has the open of its first,
    the close of its last, the highest high and the lowest low. Numbers without a bar are left out.
    """
    times = candles.timestamp
    bars = -(-(end_ms - start_ms) // timeframe_ms)
    step = timeframe_ms * max(1, -(-bars // limit))
    columns: dict[str, list[float]] = {name: [] for name in "nohlc"}
    first, end = bisect_left(times, start_ms), bisect_left(times, end_ms)
    while first < end:
        n = (times[first] - start_ms) // step
        after = bisect_left(times, start_ms + (n + 1) * step, first, end)
        prices = (
            candles.open[first],
            max(candles.high[first:after]),
            min(candles.low[first:after]),
            candles.close[after - 1],
        )
        columns["n"].append(n)
        for name, value in zip("ohlc", prices, strict=True):
            columns[name].append(float(f"{value:.7g}"))
        first = after
    return {"name": candles.symbol, "start": start_ms // 1000, "step": step // 1000, **columns}


def monthly_returns(result: RunResult) -> dict[tuple[int, int], float]:
    """Return (year, month) -> change of the equity in that month, in percent.

    The equity at 00:00 on the first of a month closes the month before. Months that the run covers
    only in part count as far as they go.
    """
    closes: dict[tuple[int, int], float] = {}
    for time, equity in equity_series(result)[1:]:
        before = datetime.fromtimestamp((time - 1) / 1000, UTC)
        closes[before.year, before.month] = equity
    values = [result.deposits, *closes.values()]
    changes = [100.0 * (b / a - 1.0) if a > 0.0 else 0.0 for a, b in pairwise(values)]
    return dict(zip(closes, changes, strict=True))


def year_return(months: Sequence[float]) -> float:
    """Return what monthly returns in percent make together, in percent.

    >>> round(year_return([10.0, 10.0]), 9)
    21.0
    """
    growth = 1.0
    for month in months:
        growth *= 1.0 + month / 100.0
    return 100.0 * (growth - 1.0)


def chart_trade(trade: Trade, symbols: Sequence[str]) -> list[Any]:
    """Return a trade as the values of `TRADE_KEYS`; prices to nine digits, money to 1e-4 USDT."""
    row = trade_row(trade, symbols)
    return [
        trade.entry_time // 1000,
        trade.exit_time // 1000,
        trade.symbol,
        row["strategy"],
        row["side"],
        row["contracts"],
        float(f"{trade.entry_price:.9g}"),
        float(f"{trade.exit_price:.9g}"),
        round(trade.fees, 4),
        round(trade.funding, 4),
        round(trade.pnl, 4),
        row["reason"],
    ]


def chart_data(
    result: RunResult, curve: Sequence[tuple[int, float]], market: MarketData
) -> dict[str, Any]:
    """Return what report.js draws: equity and drawdown, candles and trades.

    The equity begins with the deposits at the start of the run and ends with its final equity.
    """
    whole = [(result.start_ms, result.deposits), *curve, (result.end_ms, result.final_equity)]
    limit = max(1, min(MAX_CANDLES, MAX_CANDLES_TOTAL // max(1, len(market.candles))))
    period = (result.start_ms, result.end_ms)
    return {
        "period": [ms // 1000 for ms in period],
        "timeframe": result.timeframe_ms // 1000,
        "deposits": result.deposits,
        "halted": None if result.halted_at is None else result.halted_at // 1000,
        "equity": _columns(thin(whole, CURVE_PARTS), 2),
        "drawdown": _columns(thin(drawdowns(whole), CURVE_PARTS), 3),
        "symbols": [
            join_candles(candles, *period, result.timeframe_ms, limit) for candles in market.candles
        ],
        "fields": TRADE_KEYS,
        "trades": [chart_trade(trade, result.symbols) for trade in result.trades[-MAX_TRADES:]],
    }


def _columns(points: Points, digits: int) -> dict[str, list[float]]:
    return {"t": [t // 1000 for t, _ in points], "v": [round(v, digits) for _, v in points]}
