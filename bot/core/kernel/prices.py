"""The price grid and what a market order pays: tick rounding, slippage, entry limits, fees."""

import math

from bot.core.kernel.codes import MAKER
from bot.core.kernel.params import Params, Spec
from bot.core.kernel.registry import kernel

# A price that is on the grid may come out of a division a few units in the last place off it; this
# much of a tick is treated as noise.
GRID_NOISE = 1e-6


@kernel
def on_grid(steps: float, spec: Spec) -> float:
    """Return the price that lies `steps` whole ticks above zero, as the nearest float to the
    decimal."""
    if spec.ticks_per_unit > 0.0:
        return steps / spec.ticks_per_unit
    return steps * spec.tick


@kernel
def round_down(price: float, spec: Spec) -> float:
    """Return the highest grid price at or below `price`; the price itself where there is no
    grid."""
    if spec.tick <= 0.0:
        return price
    return on_grid(float(math.floor(price / spec.tick + GRID_NOISE)), spec)


@kernel
def round_up(price: float, spec: Spec) -> float:
    """Return the lowest grid price at or above `price`; the price itself where there is no grid."""
    if spec.tick <= 0.0:
        return price
    return on_grid(float(-math.floor(GRID_NOISE - price / spec.tick)), spec)


@kernel
def round_near(price: float, spec: Spec) -> float:
    """Return the grid price nearest to `price`; the price itself where there is no grid."""
    if spec.tick <= 0.0:
        return price
    return on_grid(float(math.floor(price / spec.tick + 0.5)), spec)


@kernel
def market_price(price: float, side: int, p: Params, spec: Spec) -> float:
    """Return what a market order gets when the market stands at `price`: worse by slippage, to the
    tick.

    `side` is 1 for a buy, -1 for a sell. Rounding is against us, so costs are never understated.

    Example: buying at 100 with slippage 0.0003 and tick 0.1 pays 100.1.
    """
    if side > 0:
        return round_up(price * (1.0 + p.slippage), spec)
    return max(round_down(price * (1.0 - p.slippage), spec), spec.tick)


@kernel
def entry_limit(reference: float, side: int, p: Params, spec: Spec) -> float:
    """Return the worst price an entry may pay: the reference price plus or minus the entry band."""
    if side > 0:
        return round_down(reference * (1.0 + p.entry_band), spec)
    return round_up(reference * (1.0 - p.entry_band), spec)


@kernel
def entry_fills(price: float, limit_price: float, side: int) -> bool:
    """Return whether an IOC limit order would fill at `price`; without a limit (0) it always
    does."""
    if limit_price <= 0.0:
        return True
    if side > 0:
        return price <= limit_price
    return price >= limit_price


@kernel
def fee(notional: float, liquidity: int, p: Params) -> float:
    """Return the fee in USDT for a fill of `notional` USDT as TAKER or MAKER.

    Source: KuCoin Futures base level, maker 0.02 %, taker 0.06 %.
    """
    if liquidity == MAKER:
        return notional * p.maker_fee
    return notional * p.taker_fee
