"""What a finished run was worth: its metrics, the result object, the rows of the trades file.

Rules of this file: everything follows from a `RunResult`, and nothing else; what is undefined is
None (null in JSON), never NaN or infinity; sums over trades follow the order of the list.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import fsum, isfinite
from typing import Any

from bot.core.kernel.codes import REASON_NAMES, SIDE_NAMES, STRATEGY_NAMES
from bot.core.kernel.limits import share_lost
from bot.core.kernel.records import Account, Trade
from bot.core.market import ASSUMED_FUNDING_RATE, DAY_MS, HOUR_MS, TIMEFRAMES_MS
from bot.core.performance import (
    compound_annual,
    longest_losing_streak,
    mean,
    profit_factor,
    sharpe_ratio,
    sortino_ratio,
    win_rate,
)

ANNUAL_MIN_DAYS = 90  # a shorter run, compounded to a year, says more about luck
MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

TRADE_COLUMNS = (
    "entry_time", "exit_time", "symbol", "strategy", "side", "contracts", "quantity",
    "entry_price", "exit_price", "fees", "funding", "pnl", "reason",
)  # fmt: skip

type Number = float | int | None


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run over the period [start_ms, end_ms) leaves behind; USDT and ms UTC."""

    bars: int
    """candles read, all symbols together"""
    elapsed_s: float
    trades: list[Trade]
    """in the order they were closed"""
    symbols: tuple[str, ...]
    """in configuration order; `Trade.symbol` is an index into it"""
    halted_at: int | None
    """time of the cycle that pulled the kill switch"""
    funding_source: str
    spec_source: str
    start_ms: int
    end_ms: int
    timeframe_ms: int
    deposits: float
    """what the account began with; nothing is paid in or out later"""
    final_equity: float
    """after the positions still open at the end were closed"""
    account: Account
    daily: list[tuple[int, float]]
    """time and equity at each 00:00 UTC inside the run, oldest first"""


def iso_time(ms: int) -> str:
    """Return a time in ms UTC, 1970 or later, as ISO 8601; milliseconds only where there are any.

    >>> iso_time(1_709_164_800_000)
    '2024-02-29T00:00:00Z'
    """
    day, rest = divmod(ms, DAY_MS)
    year, month = 1970, 0
    while True:
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        length = MONTH_DAYS[month] + (leap and month == 1)
        if day < length:
            break
        day -= length
        year, month = (year, month + 1) if month < 11 else (year + 1, 0)
    seconds, millis = divmod(rest, 1000)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{year:04}-{month + 1:02}-{day + 1:02}T{clock}{f'.{millis:03}' if millis else ''}Z"


def equity_series(result: RunResult) -> list[tuple[int, float]]:
    """Return the daily series of a run: deposits, equity at each 00:00 UTC, final equity.

    A 00:00 that is the start or the end of the run itself is left out: there the deposits and the
    final equity stand, and the same instant would otherwise count as one more day.
    """
    inside = [point for point in result.daily if result.start_ms < point[0] < result.end_ms]
    return [(result.start_ms, result.deposits), *inside, (result.end_ms, result.final_equity)]


def daily_returns(result: RunResult) -> list[float]:
    """Return the relative change from each point of `equity_series` to the next, as fractions.

    A run that starts or ends within a day has a shorter first or last day, which counts as a day;
    so do the days after a halt, with a return of 0. Empty where the equity was ever used up: a
    change from 0 or from a debt has no meaning.
    """
    equity = [value for _, value in equity_series(result)]
    if min(equity[:-1]) <= 0.0:
        return []
    return [after / before - 1.0 for before, after in pairwise(equity)]


def annual_return_pct(result: RunResult) -> float | None:
    """Return the compound return in percent per 365 days.

    None for runs under 90 days, and where nothing is left to compound.
    """
    days = (result.end_ms - result.start_ms) / DAY_MS
    if days < ANNUAL_MIN_DAYS or result.deposits <= 0.0 or result.final_equity <= 0.0:
        return None
    return 100.0 * (compound_annual(result.final_equity / result.deposits, days) - 1.0)


def collisions_by_kind(account: Account) -> dict[str, int]:
    """Return how many collisions of each kind a run had (DESIGN section 4)."""
    return {
        "opposite": account.collisions_opposite,
        "owned": account.collisions_owned,
        "cap": account.collisions_cap,
        "correlated": account.collisions_correlated,
    }


def metrics(result: RunResult) -> dict[str, Number]:
    """Return the performance of a run; a value that is undefined is None.

    Names end in their unit: `_pct` percent, `_usdt` USDT, `_hours` hours; `win_rate` is in percent
    too. Results of trades are after fees and funding. `fees_usdt` and `funding_usdt` (received;
    negative when paid) are the account's, so they hold what open positions have paid as well.
    `max_drawdown_pct` is measured from the peak of the equity, unrealised profit included, at every
    cycle and at the end. `exposure_pct` is the share of cycles with a position. The ratios are
    those of `daily_returns`.
    """
    account, returns = result.account, daily_returns(result)
    pnls = [trade.pnl for trade in result.trades]
    hours = [(trade.exit_time - trade.entry_time) / HOUR_MS for trade in result.trades]
    drawdown = max(account.max_drawdown, share_lost(account.peak_equity, result.final_equity))
    gain = result.final_equity - result.deposits
    return {
        "profit_factor": profit_factor(pnls),
        "sharpe_ratio": sharpe_ratio(returns),
        "sortino_ratio": sortino_ratio(returns),
        "max_drawdown_pct": 100.0 * drawdown,
        "win_rate": win_rate(pnls),
        "total_return_pct": 100.0 * gain / result.deposits if result.deposits > 0.0 else None,
        "annual_return_pct": annual_return_pct(result),
        "expectancy_usdt": mean(pnls),
        "best_trade_usdt": max(pnls, default=None),
        "worst_trade_usdt": min(pnls, default=None),
        "longest_losing_streak": longest_losing_streak(pnls),
        "avg_trade_hours": mean(hours),
        "fees_usdt": account.fees,
        "funding_usdt": account.funding,
        "exposure_pct": 100.0 * account.exposed_cycles / account.cycles if account.cycles else None,
        "collisions": sum(collisions_by_kind(account).values()),
        "collisions_unresolved": account.collisions_unresolved,
        "deposits": result.deposits,
        "final_equity": result.final_equity,
    }


def group_row(trades: Sequence[Trade]) -> dict[str, Number]:
    """Return a row of the tables per strategy and per symbol: USDT, win rate in percent."""
    pnls = [trade.pnl for trade in trades]
    return {
        "trades": len(trades),
        "win_rate": win_rate(pnls),
        "pnl": fsum(pnls),
        "profit_factor": profit_factor(pnls),
        "fees": fsum(trade.fees for trade in trades),
        "funding": fsum(trade.funding for trade in trades),
    }


def _warnings(result: RunResult) -> Iterator[str]:
    """Yield what a reader must know before believing the numbers."""
    if result.funding_source in ("assumed", "mixed"):
        share = "partly assumed" if result.funding_source == "mixed" else "assumed"
        rate = f"{100.0 * ASSUMED_FUNDING_RATE:.2f} % per 8 h"
        yield f"funding rates are {share} ({rate}); add funding files to the data"
    if result.spec_source in ("assumed", "mixed"):
        share = "may be partly" if result.spec_source == "mixed" else "are"
        yield f"contract specifications {share} assumed; add contracts.json to the data"
    if result.account.collisions_unresolved:
        yield f"unresolved collisions: expected 0, was {result.account.collisions_unresolved}"


def json_safe(value: Any) -> Any:
    """Return `value` with every NaN and infinity in it, at any depth, replaced by None."""
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, dict):
        return {key: json_safe(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(inner) for inner in value]
    return value


def result_object(result: RunResult, config_summary: dict[str, Any]) -> dict[str, Any]:
    """Return the one JSON object a run prints (DESIGN section 11); safe for strict JSON.

    `trades` is a count, the period is [start, end), times are ISO 8601 UTC. `per_symbol` lists
    every symbol, `per_strategy` the strategies that traded.
    """
    timeframes = {length: name for name, length in TIMEFRAMES_MS.items()}
    by_strategy: dict[int, list[Trade]] = {}
    by_symbol: list[list[Trade]] = [[] for _ in result.symbols]
    for trade in result.trades:
        by_strategy.setdefault(trade.strategy, []).append(trade)
        by_symbol[trade.symbol].append(trade)
    found: dict[str, Any] = {
        "bars": result.bars,
        "elapsed_s": result.elapsed_s,
        "trades": len(result.trades),
        "halted_at": None if result.halted_at is None else iso_time(result.halted_at),
        "funding_source": result.funding_source,
        "spec_source": result.spec_source,
        "warnings": list(_warnings(result)),
        "symbols": list(result.symbols),
        "timeframe": timeframes[result.timeframe_ms],
        "start": iso_time(result.start_ms),
        "end": iso_time(result.end_ms),
        "final_equity": result.final_equity,
        "metrics": metrics(result),
        "collisions_by_kind": collisions_by_kind(result.account),
        "per_strategy": {STRATEGY_NAMES[k]: group_row(by_strategy[k]) for k in sorted(by_strategy)},
        "per_symbol": dict(zip(result.symbols, map(group_row, by_symbol), strict=True)),
        "config": config_summary,
    }
    return {key: json_safe(value) for key, value in found.items()}


def trade_row(trade: Trade, symbols: Sequence[str]) -> dict[str, str | int | float]:
    """Return one row of the trades file, keys as in `TRADE_COLUMNS`.

    Times are epoch ms UTC. Contracts are an int where they are whole, which they are outside of
    profile reference. Prices, quantities and money are unrounded floats: written by `repr` they
    read back equal.
    """
    contracts = trade.contracts
    return {
        "entry_time": trade.entry_time,
        "exit_time": trade.exit_time,
        "symbol": symbols[trade.symbol],
        "strategy": STRATEGY_NAMES[trade.strategy],
        "side": SIDE_NAMES[trade.side],
        "contracts": int(contracts) if contracts.is_integer() else contracts,
        "quantity": trade.quantity,
        "entry_price": trade.entry_price,
        "exit_price": trade.exit_price,
        "fees": trade.fees,
        "funding": trade.funding,
        "pnl": trade.pnl,
        "reason": REASON_NAMES[trade.reason],
    }
