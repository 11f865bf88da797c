"""Turn the configuration into what the kernel runs on. The one place where units are converted."""

import math
from collections.abc import Sequence

from bot.core.errors import InvariantError
from bot.core.kernel.codes import STRATEGY_CODES
from bot.core.kernel.params import Params, Spec, Tier
from bot.core.kernel.records import World, new_world
from bot.core.market import HOUR_MS, MINUTE_MS, ContractSpec, ticks_per_unit
from bot.shell.config_schema import Config

BPS = 1e4  # basis points in one
# Profile reference, by the contract of ema_cross: every fill pays the same fee, market fills 2 bps.
REFERENCE_FEE = 0.0006
REFERENCE_SLIPPAGE = 0.0002


def ema_alpha(period: int) -> float:
    """Return the weight of the newest value in an exponential average over `period` bars.

    >>> ema_alpha(3)
    0.5
    """
    return 2.0 / (period + 1)


def to_params(config: Config) -> Params:
    """Return the kernel's parameters; what the configuration does not have keeps its default."""
    costs, risk, stops = config.costs, config.risk, config.stops
    params = Params(
        timeframe_ms=config.timeframe_ms,
        warmup_bars=config.warmup_bars_in_use(),
        maker_fee=costs.maker_fee,
        taker_fee=costs.taker_fee,
        slippage=(costs.spread_bps / 2 + costs.slippage_bps + costs.latency_bps) / BPS,
        entry_band=costs.entry_band_bps / BPS,
        max_positions=risk.max_positions,
        max_total_share=risk.max_total_notional,
        max_stop_risk=risk.max_stop_risk,
        tier_hysteresis=risk.tier_hysteresis,
        stop_min=stops.min,
        stop_max=stops.max,
        stop_atr=stops.atr,
        stop_liquidation_buffer=stops.liquidation_buffer,
        trail_start=stops.trail_start,
        trail_gap=stops.trail_gap,
        sample_ms=max(HOUR_MS, config.timeframe_ms),
        correlation_limit=risk.correlation_limit,
        daily_loss_limit=risk.daily_loss_limit,
        drawdown_limit=risk.drawdown_limit,
        fast_drawdown_limit=risk.fast_drawdown_limit,
        fast_window_ms=risk.fast_drawdown_minutes * MINUTE_MS,
        uncovered_alert_ms=round(1000.0 * config.timing.uncovered_alert_s),
        uncovered_close_ms=round(1000.0 * config.timing.uncovered_close_s),
    )
    _set_strategies(params, config)
    if config.is_reference:
        params.reference = 1
        params.use_indicators = 0
        params.maker_fee = params.taker_fee = REFERENCE_FEE
        params.slippage = REFERENCE_SLIPPAGE
    return params


def _set_strategies(params: Params, config: Config) -> None:
    trend, momentum, reversion, regime = (
        config.trend,
        config.momentum,
        config.reversion,
        config.regime,
    )
    params.ema_fast = ema_alpha(trend.fast)
    params.ema_slow = ema_alpha(trend.slow)
    params.trend_band = trend.band_atr
    params.trend_adx = trend.adx
    params.wilder = 1.0 / trend.adx_period
    params.trend_reward = trend.reward
    params.momentum_alpha = ema_alpha(momentum.period)
    # The mean of an exponential average has the variance of (2 - alpha) / alpha independent values.
    params.momentum_scale = math.sqrt((2.0 - params.momentum_alpha) / params.momentum_alpha)
    params.momentum_entry = momentum.entry
    params.momentum_exit = momentum.exit
    params.momentum_reward = momentum.reward
    params.reversion_alpha = ema_alpha(reversion.period)
    params.reversion_entry = reversion.entry
    params.reversion_exit = reversion.exit
    params.reversion_reward = reversion.reward
    params.vol_fast = ema_alpha(regime.fast)
    params.vol_slow = ema_alpha(regime.slow)
    params.panic_ratio = regime.panic_ratio


def to_tiers(config: Config) -> list[Tier]:
    """Return the balance table, lowest floor first."""
    return [
        Tier(
            floor=row.floor,
            leverage=row.leverage,
            max_share=row.max_position_share,
            risk_share=row.risk_per_trade,
            max_notional=row.max_position_usdt or 0.0,
        )
        for row in config.risk.tiers
    ]


def to_spec(contract: ContractSpec, reference: bool) -> Spec:
    """Return a contract as the kernel knows it; profile `reference` has no contracts and no grid.

    Example: tick 0.1 gives 10 ticks a unit; tick 0.3 gives 0, prices are then multiples of 0.3.
    """
    if reference:
        return Spec(multiplier=1.0, tick=0.0, ticks_per_unit=0.0)
    return Spec(
        multiplier=float(contract.multiplier),
        tick=float(contract.tick),
        ticks_per_unit=ticks_per_unit(contract.tick),
        maintenance_rate=float(contract.maintenance_rate),
        max_leverage=float(contract.max_leverage),
        max_contracts=float(contract.max_contracts),
    )


def build_world(config: Config, specs: Sequence[ContractSpec], start_ms: int) -> World:
    """Return the World of a run that starts at `start_ms`, with one contract per configured symbol.

    Raises
    ------
    InvariantError : `specs` are not those of the configured symbols, in their order
    """
    given = tuple(spec.symbol for spec in specs)
    if given != config.symbols:
        raise InvariantError(f"contracts: expected {config.symbols}, was {given}")
    return new_world(
        params=to_params(config),
        tiers=to_tiers(config),
        strategies=[STRATEGY_CODES[name] for name in config.strategies],
        specs=[to_spec(spec, config.is_reference) for spec in specs],
        deposits=config.balance,
        start_ms=start_ms,
    )
