"""Stop, target, trailing and liquidation levels of a position, and what one bar does to them."""

from bot.core.kernel.codes import LIQUIDATION, STOP, TARGET
from bot.core.kernel.params import Params, Spec
from bot.core.kernel.prices import market_price, round_near
from bot.core.kernel.records import Position, SymbolState
from bot.core.kernel.registry import kernel


@kernel
def liquidation_distance(leverage: float, p: Params, spec: Spec) -> float:
    """Return how far from entry, as a fraction, an isolated position is liquidated; at least 0.

    Margin is 1/leverage of the entry notional; liquidation comes when what is left equals the
    maintenance margin and the closing fee of the value then. Exact for shorts; for longs, whose
    value shrinks on the way, a little early.

    Example: leverage 10, maintenance 0.4 %, taker fee 0.06 % -> (0.1 - 0.0046) / 1.0046 = 0.09496.
    """
    if leverage <= 0.0:
        return 0.0
    kept = spec.maintenance_rate + p.taker_fee
    return max((1.0 / leverage - kept) / (1.0 + kept), 0.0)


@kernel
def stop_distance(s: SymbolState, leverage: float, p: Params, spec: Spec) -> float:
    """Return the stop distance as a fraction of entry, or 0 when none inside the limits is safe.

    Volatility proposes, `stop_min`..`stop_max` bounds it, and it ends before the liquidation price
    by `stop_liquidation_buffer` of that distance.
    """
    distance = p.stop_min
    if s.mark > 0.0:
        distance = p.stop_atr * s.atr / s.mark
    distance = min(max(distance, p.stop_min), p.stop_max)
    furthest = (1.0 - p.stop_liquidation_buffer) * liquidation_distance(leverage, p, spec)
    if furthest < p.stop_min:
        return 0.0
    return min(distance, furthest)


@kernel
def set_levels(pos: Position, p: Params, spec: Spec) -> None:
    """Set stop, target and liquidation price from the entry price and the distances."""
    entry = pos.entry_price
    pos.stop_price = round_near(entry * (1.0 - pos.side * pos.stop_distance), spec)
    pos.target_price = round_near(entry * (1.0 + pos.side * pos.target_distance), spec)
    pos.liquidation_price = 0.0
    if p.reference == 0:
        distance = liquidation_distance(pos.leverage, p, spec)
        pos.liquidation_price = entry * (1.0 - pos.side * distance)


@kernel
def trailed_stop(pos: Position, close: float, p: Params, spec: Spec) -> float:
    """Return the stop after a close: it follows the best close and never moves back."""
    if pos.side * (close - pos.best_close) > 0.0:
        pos.best_close = close
    gain = pos.side * (pos.best_close - pos.entry_price)
    if p.reference != 0 or gain < p.trail_start * pos.stop_distance * pos.entry_price:
        return pos.stop_price
    gap = p.trail_gap * pos.stop_distance * pos.entry_price
    wanted = round_near(pos.best_close - pos.side * gap, spec)
    if pos.side * (wanted - pos.stop_price) > 0.0:
        return wanted
    return pos.stop_price


@kernel
def bankruptcy_price(entry: float, side: int, leverage: float) -> float:
    """Return the price at which the isolated margin is gone; what liquidation leaves us with."""
    if leverage <= 0.0:
        return entry
    return entry * (1.0 - side / leverage)


@kernel
def bar_exit(
    side: int,
    stop: float,
    target: float,
    liquidation: float,
    spec: Spec,
    open_: float,
    high: float,
    low: float,
) -> int:
    """Return what a bar does to a position: STOP, TARGET, LIQUIDATION, or 0 for nothing.

    A level of 0 is not there. A bar that opens beyond the liquidation price liquidates; else the
    stop comes before everything inside the bar, and the target fills when price trades one tick
    through it.
    """
    worst = low
    best = high
    if side < 0:
        worst = high
        best = low
    if liquidation > 0.0 and side * (open_ - liquidation) <= 0.0:
        return LIQUIDATION
    if stop > 0.0 and side * (worst - stop) <= 0.0:
        return STOP
    if liquidation > 0.0 and side * (worst - liquidation) <= 0.0:
        return LIQUIDATION
    if target > 0.0 and side * (best - target) >= spec.tick * 0.999999:
        return TARGET
    return 0


@kernel
def stop_fill_price(stop: float, side: int, open_: float, p: Params, spec: Spec) -> float:
    """Return what a triggered stop gets: the stop, or the open where the bar gapped through it."""
    trigger = stop
    if side * (open_ - stop) < 0.0:
        trigger = open_
    return market_price(trigger, -side, p, spec)


@kernel
def target_fill_price(target: float, side: int, open_: float) -> float:
    """Return what a resting target gets: its price, or the open where the bar gapped through it."""
    if side * (open_ - target) > 0.0:
        return open_
    return target
