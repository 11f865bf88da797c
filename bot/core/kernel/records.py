"""The kernel's state: slotted dataclasses of int and float fields, and the World that holds them.

The record type of the compiled loop is generated from these classes, so a field is an int or a
float and nothing else. All money is USDT, all prices USDT per base coin, all times int64 ms UTC,
all shares and rates fractions (0.01 is 1 %).
"""

from dataclasses import dataclass
from typing import NamedTuple

from bot.core.kernel.params import Params, Spec, Tier

CORRELATION_SLOTS = 168  # hourly returns kept for each symbol (DESIGN section 4: the last 168)
WINDOW_SLOTS = (
    512  # equity samples of the fast-drawdown window; 60 min hold 60 bars and 360 snapshots
)


@dataclass(slots=True)
class SymbolState:
    """What is known of one symbol's market: last prices and incremental indicators."""

    bars: int = 0
    bar_time: int = 0
    """end of the last bar seen"""
    mark: float = 0.0
    """close of the last bar; indicators build on it, so nothing but a bar may write it"""
    prev_high: float = 0.0
    prev_low: float = 0.0
    ema_fast: float = 0.0
    ema_slow: float = 0.0
    spread: float = 0.0
    prev_spread: float = 0.0
    """(ema_fast - ema_slow) / atr, now and one bar ago"""
    atr: float = 0.0
    plus_move: float = 0.0
    minus_move: float = 0.0
    adx: float = 0.0
    mean_return: float = 0.0
    var_return: float = 0.0
    score: float = 0.0
    prev_score: float = 0.0
    """t-value of the mean return, now and one bar ago"""
    mean_price: float = 0.0
    var_price: float = 0.0
    zscore: float = 0.0
    prev_zscore: float = 0.0
    vol_fast: float = 0.0
    vol_slow: float = 0.0
    """exponentially weighted variances of returns"""
    regime: int = 0
    cross_fast: float = 0.0
    cross_slow: float = 0.0
    cross_diff: float = 0.0
    prev_cross_diff: float = 0.0
    sample: int = 0
    sample_close: float = 0.0
    """number and price of the last sample of the hourly return series"""
    locked: int = 0
    """1: no new risk here until reconciliation or a timer unlocks it (never set in replay)"""


@dataclass(slots=True)
class Position:
    """One net position; side 0 means none. Contracts are whole except in profile reference."""

    side: int = 0
    contracts: float = 0.0
    entry_price: float = 0.0
    entry_time: int = 0
    strategy: int = 0
    """index in configuration order of the strategy that owns the symbol"""
    leverage: float = 1.0
    stop_distance: float = 0.0
    target_distance: float = 0.0
    """fractions of the entry price"""
    stop_price: float = 0.0
    target_price: float = 0.0
    liquidation_price: float = 0.0
    """0 where there is none"""
    best_close: float = 0.0
    entered: float = 0.0
    """contracts bought or sold to enter, over the life of the trade"""
    exited: float = 0.0
    exit_value: float = 0.0
    """sum of price x contracts over the exits"""
    realised: float = 0.0
    fees: float = 0.0
    funding: float = 0.0


@dataclass(slots=True)
class Account:
    """The money, on two paths: (deposits, realised, fees, funding) and the cash flow of every
    fill."""

    deposits: float = 0.0
    realised: float = 0.0
    fees: float = 0.0
    funding: float = 0.0
    """received; negative when paid"""
    cash: float = 0.0
    """second path: deposits minus what was bought plus what was sold, minus fees, plus funding"""
    equity: float = 0.0
    """at the last cycle, unrealised profit included"""
    peak_equity: float = 0.0
    day: int = 0
    day_equity: float = 0.0
    drawdown: float = 0.0
    max_drawdown: float = 0.0
    daily_loss: float = 0.0
    fast_drawdown: float = 0.0
    window_head: int = 0
    window_tail: int = 0
    """the equity window is a ring; head and tail only grow"""
    tier: int = -1
    """-1 until the first entry"""
    killed_at: int = 0
    """time of the cycle that pulled the kill switch, 0 while it is not pulled"""
    daily_locked: int = 0
    cycles: int = 0
    exposed_cycles: int = 0
    trades: int = 0
    identity_error: float = 0.0
    """largest difference of the two paths seen, as a multiple of the tolerance"""
    collisions_opposite: int = 0
    collisions_owned: int = 0
    collisions_cap: int = 0
    collisions_correlated: int = 0
    collisions_unresolved: int = 0


@dataclass(slots=True)
class Intent:
    """What is wanted on one symbol and not done yet. The caller clears it when it is filled or
    void."""

    kind: int = 0
    time: int = 0
    """the cycle that wanted it"""
    side: int = 0
    """side of the position to enter, or of the position to leave"""
    contracts: float = 0.0
    strategy: int = 0
    reason: int = 0
    reference_price: float = 0.0
    limit_price: float = 0.0
    leverage: float = 1.0
    stop_distance: float = 0.0
    target_distance: float = 0.0
    reverse_side: int = 0
    """profile reference: enter this side as soon as the exit is filled"""
    notional: float = 0.0
    """profile reference: the entry is sized at its fill, contracts = notional / price"""


@dataclass(slots=True)
class Trade:
    """One finished round trip."""

    entry_time: int = 0
    exit_time: int = 0
    symbol: int = 0
    strategy: int = 0
    side: int = 0
    contracts: float = 0.0
    quantity: float = 0.0
    entry_price: float = 0.0
    exit_price: float = 0.0
    fees: float = 0.0
    funding: float = 0.0
    pnl: float = 0.0
    """realised - fees + funding"""
    reason: int = 0


class World(NamedTuple):
    """All state of a run. Lists in plain Python, arrays of records in the compiled loop; n
    symbols."""

    params: Params
    account: Account
    tiers: list[Tier]
    strategies: list[int]
    """kinds, in configuration order"""
    specs: list[Spec]
    symbols: list[SymbolState]
    positions: list[Position]
    intents: list[Intent]
    wishes: list[float]
    """[strategy * n + symbol] signal strength of this cycle, negative for short"""
    verdicts: list[int]
    """[strategy * n + symbol] what became of that wish"""
    returns: list[float]
    """[symbol * CORRELATION_SLOTS + sample % CORRELATION_SLOTS] hourly returns"""
    samples: list[int]
    """the sample number each slot of `returns` belongs to, -1 for none"""
    window_times: list[int]
    window_equity: list[float]
    """[WINDOW_SLOTS] decreasing equity samples: the head is the maximum of the window"""


def new_world(
    params: Params,
    tiers: list[Tier],
    strategies: list[int],
    specs: list[Spec],
    deposits: float,
    start_ms: int = 0,
) -> World:
    """Return the World of a run that starts at `start_ms` with `deposits` USDT in the account."""
    n, wishes = len(specs), len(specs) * len(strategies)
    account = Account(deposits=deposits, cash=deposits, equity=deposits)
    account.peak_equity = account.day_equity = deposits
    account.day = start_ms // 86_400_000
    return World(
        params=params,
        account=account,
        tiers=tiers,
        strategies=strategies,
        specs=specs,
        symbols=[SymbolState() for _ in range(n)],
        positions=[Position() for _ in range(n)],
        intents=[Intent() for _ in range(n)],
        wishes=[0.0] * wishes,
        verdicts=[0] * wishes,
        returns=[0.0] * (n * CORRELATION_SLOTS),
        samples=[-1] * (n * CORRELATION_SLOTS),
        window_times=[0] * WINDOW_SLOTS,
        window_equity=[0.0] * WINDOW_SLOTS,
    )
