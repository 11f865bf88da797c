"""The numbers of the synthetic market: its coins, its regimes, and every parameter of a run.

Rules of this file: volatilities are annualised (365 days) standard deviations of log prices, drifts
are annual log returns, premiums and rates are fractions per 8 h. The numbers were fitted to real
perpetual candles with `ops/research/market_stats.py`; docs/MARKETS.md shows the comparison.
"""

import math
from dataclasses import dataclass

from bot.core.errors import InputError
from bot.core.market import TIMEFRAMES_MS, parse_symbol


@dataclass(frozen=True, slots=True)
class Coin:
    """What sets one coin apart from the market."""

    price: float
    """first price, USDT"""
    beta: float
    """log move of the coin per log move of the market"""
    volatility: float
    """annualised volatility of its own part"""
    turnover: float
    """typical turnover, USDT a day"""


COINS: dict[str, Coin] = {
    "BTC": Coin(60_000.0, 0.96, 0.12, 14e9),
    "ETH": Coin(3_000.0, 1.15, 0.25, 6.8e9),
    "SOL": Coin(150.0, 1.2, 0.45, 2.1e9),
    "XRP": Coin(0.6, 1.2, 0.48, 7e8),
    "DOGE": Coin(0.15, 1.2, 0.45, 5.8e8),
    "ADA": Coin(0.45, 1.25, 0.43, 3.8e8),
    "LTC": Coin(80.0, 1.15, 0.40, 2.7e8),
    "LINK": Coin(15.0, 1.2, 0.40, 2.4e8),
    "AVAX": Coin(30.0, 1.25, 0.45, 2.4e8),
    "BNB": Coin(550.0, 0.8, 0.24, 3.9e8),
}
OTHER_COIN = Coin(10.0, 1.2, 0.5, 1e8)


@dataclass(frozen=True, slots=True)
class Regime:
    """A state of the whole market, and where it leads: a Markov chain in continuous time."""

    name: str
    days: float
    """mean duration"""
    drift: float
    """annual log drift of the market"""
    volatility: float
    """multiplies the market's volatility"""
    own_volatility: float
    """multiplies the coins' own volatility; below `volatility` it raises correlation"""
    jumps: float
    """multiplies the rate of jumps"""
    premium: float
    """where the perpetuals' premium is pulled to"""
    next: tuple[tuple[str, float], ...]
    """the regimes that may follow, with probabilities"""


REGIMES: tuple[Regime, ...] = (
    Regime(
        "range", 9.0, 0.0, 0.80, 0.85, 0.6, -0.00015,
        (("trend_up", 0.45), ("trend_down", 0.40), ("panic", 0.10), ("euphoria", 0.05)),
    ),
    Regime(
        "trend_up", 9.0, 1.4, 0.90, 1.0, 0.8, 0.00045,
        (("range", 0.50), ("euphoria", 0.30), ("panic", 0.10), ("trend_down", 0.10)),
    ),
    Regime(
        "trend_down", 8.0, -0.9, 1.05, 0.95, 1.2, -0.00035,
        (("range", 0.55), ("panic", 0.25), ("trend_up", 0.20)),
    ),
    Regime(
        "panic", 1.2, -4.5, 2.2, 1.65, 5.0, -0.0005,
        (("trend_down", 0.35), ("range", 0.40), ("trend_up", 0.25)),
    ),
    Regime(
        "euphoria", 4.0, 2.8, 1.35, 1.6, 2.0, 0.0011,
        (("range", 0.35), ("trend_up", 0.25), ("trend_down", 0.20), ("panic", 0.20)),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LogVolatility:
    """A component of log volatility: reverts to zero in about `hours`, with spread `deviation`."""

    hours: float
    deviation: float


@dataclass(frozen=True, slots=True)
class MarketModel:
    """Everything that determines a synthetic market. Defaults: liquid crypto perpetuals.

    Raises
    ------
    InputError : symbols, timeframe, start or hole rate are not usable; the text says which and why
    """

    seed: int
    symbols: tuple[str, ...]
    timeframe_ms: int
    start_ms: int
    """open time of the first bar, on the grid of the timeframe"""
    hole_rate: float = 0.0
    """probability that a symbol has no trade in a bar"""
    regimes: tuple[Regime, ...] = REGIMES
    regime_hours: float = 6.0
    """volatility moves to the level of a new regime in about this time"""
    volatility: float = 0.61
    """annualised volatility of the market factor"""
    components: tuple[LogVolatility, ...] = (
        LogVolatility(0.15, 0.30),
        LogVolatility(1.5, 0.26),
        LogVolatility(8.0, 0.26),
        LogVolatility(36.0, 0.20),
        LogVolatility(480.0, 0.24),
        LogVolatility(4800.0, 0.38),
    )
    """of the market, shortest first: a jump raises the first three"""
    own_components: tuple[LogVolatility, ...] = (
        LogVolatility(0.5, 0.35),
        LogVolatility(12.0, 0.30),
        LogVolatility(240.0, 0.30),
    )
    """of each coin's own part"""
    own_share: float = 0.75
    """how much of the market's log volatility the coins' own parts follow"""
    leverage_effect: float = 0.10
    """correlation of a fall with the rise of volatility after it"""
    jumps_per_day: float = 0.15
    jump_size: float = 0.011
    """mean size of a market jump, log; sizes are exponential"""
    jump_down: float = 0.68
    """share of market jumps that go down"""
    own_jumps_per_day: float = 0.08
    own_jump_size: float = 0.07
    """mean size at a coin volatility of 1"""
    rush_minutes: float = 12.0
    """a jump takes about this time: it is a rush of orders, not a step"""
    jump_shock: float = 0.35
    """what a jump adds to the short components of log volatility"""
    overreaction: float = 0.06
    """share of each move that is given back"""
    overreaction_minutes: float = 75.0
    """and in about what time"""
    wick: float = 0.75
    """mean reach of a long bar's extremes beyond its sub-path, in deviations of a sub-step"""
    moves_per_minute: float = 12.0
    """price changes a minute; few of them in a short bar mean short wicks"""
    anchor_years: float = 3.0
    """log prices revert to their first value in about this time: endless runs stay sane"""
    volume_slope: float = 1.05
    """elasticity of a bar's volume to its range"""
    volume_components: tuple[LogVolatility, ...] = (
        LogVolatility(0.02, 0.5),
        LogVolatility(0.5, 0.45),
        LogVolatility(240.0, 0.45),
    )
    """of log volume, beside what the range explains"""
    premium_days: float = 1.8
    """memory of the funding premium"""
    premium_noise: float = 0.00032
    """deviation of the market's premium around its regime's level; half of it for each coin's"""
    premium_momentum: float = 0.005
    """premium gained per log return of the coin since the last settlement"""

    def __post_init__(self) -> None:
        if not self.symbols or len(set(self.symbols)) != len(self.symbols):
            raise InputError(f"symbols: expected one or more, each once, was {self.symbols!r}")
        for symbol in self.symbols:
            if parse_symbol(symbol) != symbol:
                raise InputError(f"symbols: expected names like BTC-USDT-PERP, was {symbol!r}")
        if self.timeframe_ms not in TIMEFRAMES_MS.values():
            raise InputError(
                f"timeframe_ms: expected the length of {', '.join(TIMEFRAMES_MS)}, "
                f"was {self.timeframe_ms}"
            )
        if self.start_ms < 0 or self.start_ms % self.timeframe_ms:
            raise InputError(
                f"start_ms: expected a multiple of the bar length {self.timeframe_ms}, "
                f"was {self.start_ms}; use {self.start_ms - self.start_ms % self.timeframe_ms}"
            )
        if not 0.0 <= self.hole_rate < 1.0:
            raise InputError(f"hole_rate: expected 0 to below 1, was {self.hole_rate!r}")

    def coin(self, symbol: str) -> Coin:
        """Return the coin behind a symbol, a typical small one where it is not known."""
        return COINS.get(symbol.split("-", 1)[0], OTHER_COIN)


# Volatility by UTC hour relative to the day: quiet before Europe wakes, busiest at the American
# open, a second peak at 00:00 when the daily bar rolls.
HOURLY_VOLATILITY = (
    1.18, 1.10, 0.96, 0.90, 0.84, 0.85, 0.88, 0.92, 0.97, 0.92, 0.90, 0.92,
    1.02, 1.14, 1.24, 1.18, 1.10, 1.05, 1.02, 1.02, 1.02, 1.00, 0.97, 0.95,
)  # fmt: skip
WEEKEND_VOLATILITY = 0.82
HOURS_PER_WEEK = 168


def weekly_profile(hours_per_bar: int) -> tuple[float, ...]:
    """Return the volatility of a bar by the hour of the week it opens in, mean square 1.

    Hour 0 is Thursday 00:00 UTC, as the epoch: the index is `open_ms // 3_600_000 % 168`.
    """
    squares = []
    for hour in range(HOURS_PER_WEEK):
        weekend = WEEKEND_VOLATILITY if hour // 24 in (2, 3) else 1.0
        squares.append((HOURLY_VOLATILITY[hour % 24] * weekend) ** 2)
    mean = sum(squares) / HOURS_PER_WEEK
    return tuple(
        math.sqrt(
            sum(squares[(hour + k) % HOURS_PER_WEEK] for k in range(hours_per_bar))
            / (mean * hours_per_bar)
        )
        for hour in range(HOURS_PER_WEEK)
    )
