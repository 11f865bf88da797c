"""The kernel's state: slotted dataclasses of int and float fields, and the World that holds them.

The record type of the compiled loop is generated from these classes, so a field is an int or a float and
nothing else. All money is USDT, all prices USDT per base coin, all times int64 ms UTC, all shares and
rates fractions (0.01 is 1 %).
"""

from dataclasses import dataclass
from typing import NamedTuple

CORRELATION_SLOTS = 168  # hourly returns kept for each symbol (DESIGN section 4: the last 168)
WINDOW_SLOTS = 512  # equity samples of the fast-drawdown window; 60 min hold 60 bars and 360 snapshots


@dataclass(slots=True)
class Params:
    """The numbers of a run that never change while it lasts. Filled from the configuration."""

    reference: int = 0
    """1: profile `reference` (DESIGN section 11), the naive rules for comparing engines"""
    timeframe_ms: int = 3_600_000
    warmup_bars: int = 200
    """bars a symbol must have shown before its signals count"""
    maker_fee: float = 0.0002
    taker_fee: float = 0.0006
    slippage: float = 0.0003
    """what a market fill loses: half spread, slippage and latency together"""
    entry_band: float = 0.003
    """entries are IOC limits at most this far from the reference price"""
    reference_share: float = 0.3
    """profile reference: notional of an entry as a share of equity"""
    max_positions: int = 3
    max_total_share: float = 1.5
    """total notional as a multiple of equity"""
    max_stop_risk: float = 0.06
    tier_hysteresis: float = 0.05
    stop_min: float = 0.02
    stop_max: float = 0.05
    stop_atr: float = 2.5
    """stop distance in average true ranges, before it is clamped to stop_min..stop_max"""
    stop_liquidation_buffer: float = 0.25
    """the stop lies before the liquidation price by this share of the distance"""
    trail_start: float = 1.0
    """trailing starts at this profit, in stop distances"""
    trail_gap: float = 1.0
    """the trailing stop follows the best close at this many stop distances"""
    sample_ms: int = 3_600_000
    """spacing of the returns that correlation is measured on: an hour, or the bar where it is longer"""
    correlation_limit: float = 0.8
    correlation_min_samples: int = 24
    """with fewer common hourly returns two symbols count as correlated: unknown is the risky case"""
    daily_loss_limit: float = 0.10
    drawdown_limit: float = 0.15
    fast_drawdown_limit: float = 0.10
    fast_window_ms: int = 3_600_000
    ema_fast: float = 2.0 / 21.0
    ema_slow: float = 2.0 / 56.0
    trend_band: float = 0.5
    """trend enters when the spread of the averages passes this many ATR"""
    trend_reward: float = 3.0
    """target distance in stop distances"""
    wilder: float = 1.0 / 14.0
    trend_adx: float = 22.0
    """average directional index at and above which the regime is trending"""
    momentum_alpha: float = 2.0 / 49.0
    momentum_entry: float = 2.0
    momentum_exit: float = 0.0
    momentum_scale: float = 5.0
    """square root of the effective sample, so that the score is a t-value"""
    momentum_reward: float = 2.5
    reversion_alpha: float = 2.0 / 41.0
    reversion_entry: float = 2.0
    """standard deviations from the mean that make an extreme"""
    reversion_exit: float = 0.0
    reversion_reward: float = 1.5
    vol_fast: float = 2.0 / 25.0
    vol_slow: float = 2.0 / 241.0
    panic_ratio: float = 2.5
    """short-term volatility over long-term volatility at and above which nothing is entered"""
    cross_fast: float = 2.0 / 13.0
    cross_slow: float = 2.0 / 49.0
    cross_first_bar: int = 48
    cross_stop: float = 0.02
    cross_target: float = 0.04
    use_indicators: int = 1
    """0 where only ema_cross runs: the other indicators are not kept"""


@dataclass(slots=True)
class Tier:
    """One row of the balance table (DESIGN section 4)."""

    floor: float = 0.0
    leverage: float = 4.0
    max_share: float = 0.3
    risk_share: float = 0.01
    max_notional: float = 0.0
    """absolute cap on one position, USDT; 0 means none"""


@dataclass(slots=True)
class Spec:
    """One contract: base coins per contract, price step, maintenance margin rate, largest leverage."""

    multiplier: float = 1.0
    tick: float = 0.0
    """0 means no grid (profile reference)"""
    ticks_per_unit: float = 0.0
    """1 / tick where that is a whole number, else 0: dividing by it gives exact decimal prices"""
    maintenance_rate: float = 0.01
    max_leverage: float = 50.0


@dataclass(slots=True)
class SymbolState:
    """What is known of one symbol's market: last prices and incremental indicators."""

    bars: int = 0
    bar_time: int = 0
    """end of the last bar seen"""
    mark: float = 0.0
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
    """The money, on two paths: (deposits, realised, fees, funding) and the cash flow of every fill."""

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
    """What is wanted on one symbol and not done yet. The caller clears it when it is filled or void."""

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
    """All state of a run. Lists in plain Python, arrays of records in the compiled loop; n symbols."""

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
