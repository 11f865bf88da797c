"""The figures people judge trading by, from plain lists: daily returns, or results of trades.

Rules of this file: what is undefined is None, never NaN or infinity, because a comparison with NaN
lets a gate pass or fail silently. Sums are `math.fsum`, so equal lists give equal figures.
"""

from collections.abc import Sequence
from math import fsum, sqrt

DAYS_PER_YEAR = 365  # crypto trades every day
ROUNDING = 1e-12  # daily returns that deviate less than this are equal but for rounding


def sharpe_ratio(returns: Sequence[float]) -> float | None:
    """Return the annual Sharpe ratio of daily returns: mean / sample deviation x sqrt(365).

    The risk-free rate is 0 and a year has 365 days. None with fewer than two returns, and where all
    are equal.
    """
    n = len(returns)
    if n < 2:
        return None
    average = fsum(returns) / n
    deviation = sqrt(fsum((r - average) * (r - average) for r in returns) / (n - 1))
    return None if deviation < ROUNDING else average / deviation * sqrt(DAYS_PER_YEAR)


def sortino_ratio(returns: Sequence[float]) -> float | None:
    """Return the annual Sortino ratio of daily returns: mean / downside deviation x sqrt(365).

    The downside deviation is the root of the mean, over *all* returns, of the squares of the
    negative ones; target and risk-free rate are 0, a year has 365 days. None with fewer than two
    returns, and where none is negative.
    """
    n = len(returns)
    if n < 2:
        return None
    downside = sqrt(fsum(r * r for r in returns if r < 0.0) / n)
    return None if downside < ROUNDING else fsum(returns) / n / downside * sqrt(DAYS_PER_YEAR)


def profit_factor(pnls: Sequence[float]) -> float | None:
    """Return gross profit / gross loss of trade results.

    None where no trade lost: the ratio would be infinite, which JSON cannot say, and a run without
    one losing trade shows that there were too few trades rather than that the strategy is perfect.
    """
    loss = -fsum(pnl for pnl in pnls if pnl < 0.0)
    return None if loss <= 0.0 else fsum(pnl for pnl in pnls if pnl > 0.0) / loss


def win_rate(pnls: Sequence[float]) -> float | None:
    """Return the share of trades with a result above 0, in percent; None without trades."""
    return 100.0 * sum(pnl > 0.0 for pnl in pnls) / len(pnls) if pnls else None


def mean(values: Sequence[float]) -> float | None:
    """Return the arithmetic mean; None of nothing."""
    return fsum(values) / len(values) if values else None


def longest_losing_streak(pnls: Sequence[float]) -> int:
    """Return the largest number of results below 0 in a row, in the order of the list."""
    longest = streak = 0
    for pnl in pnls:
        streak = streak + 1 if pnl < 0.0 else 0
        longest = max(longest, streak)
    return longest


def compound_annual(growth: float, days: float) -> float:
    """Return growth over `days` days as growth per 365 days; a factor above 0, 1.0 is none.

    >>> compound_annual(1.21, 730.0)
    1.1
    """
    factor: float = growth ** (DAYS_PER_YEAR / days)
    return factor
