"""The numbers that never change while a run lasts: parameters, balance tiers, contracts.

Like all kernel records, slotted dataclasses of int and float fields. Money is USDT, prices are USDT
per base coin, times ms, shares and rates fractions (0.01 is 1 %).
"""

from dataclasses import dataclass


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
    """spacing of the returns that correlation is measured on: an hour, or the bar where it is
    longer"""
    correlation_limit: float = 0.8
    correlation_min_samples: int = 24
    """with fewer common hourly returns two symbols count as correlated: unknown is the risky
    case"""
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
    uncovered_alert_ms: int = 5_000
    """a position without a full stop is CRITICAL after this; only where orders are real"""
    uncovered_close_ms: int = 15_000
    """and closed after this"""


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
    """One contract: base coins per contract, price step, maintenance margin rate, largest leverage
    and order."""

    multiplier: float = 1.0
    tick: float = 0.0
    """0 means no grid (profile reference)"""
    ticks_per_unit: float = 0.0
    """1 / tick where that is a whole number, else 0: dividing by it gives exact decimal prices"""
    maintenance_rate: float = 0.01
    max_leverage: float = 50.0
    max_contracts: float = 0.0
    """the largest order, so that one can close what one has opened; 0 means no limit"""
