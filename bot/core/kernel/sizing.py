"""How many whole contracts an entry gets, and which cap decided it."""

import math

from bot.core.kernel.codes import (
    ACCEPTED,
    CORRELATED,
    CUT,
    FLAT,
    MARGIN,
    MIN_CONTRACT,
    RISK_CAP,
    TOTAL_CAP,
)
from bot.core.kernel.exposure import (
    correlated_notional,
    correlated_room,
    used_margin,
    used_notional,
    used_risk,
    worst_price,
)
from bot.core.kernel.params import Params, Spec, Tier
from bot.core.kernel.records import Account, World
from bot.core.kernel.registry import kernel


@kernel
def position_cap(equity: float, tier: Tier) -> float:
    """Return the largest notional of one position at this equity, USDT."""
    cap = tier.max_share * equity
    if tier.max_notional > 0.0:
        cap = min(cap, tier.max_notional)
    return cap


@kernel
def room_left(
    a: Account, p: Params, leverage: float, distance: float, used: tuple[float, float, float]
) -> tuple[float, int]:
    """Return the notional the account's caps still allow and the code of the tightest one.

    `used` is what is taken already: notional, stop risk and margin, USDT.
    """
    room = p.max_total_share * a.equity - used[0]
    code = TOTAL_CAP
    risk_room = (p.max_stop_risk * a.equity - used[1]) / distance
    if risk_room < room:
        room = risk_room
        code = RISK_CAP
    margin_room = (a.equity - used[2]) * leverage
    if margin_room < room:
        room = margin_room
        code = MARGIN
    return room, code


@kernel
def used_totals(w: World, held_only: bool) -> tuple[float, float, float]:
    """Return notional, stop risk and margin in use, USDT; accepted entries count unless
    `held_only`."""
    total = 0.0
    risk = 0.0
    margin = 0.0
    for j in range(len(w.positions)):
        if held_only and w.positions[j].side == FLAT:
            continue
        total += used_notional(w, j)
        risk += used_risk(w, j)
        margin += used_margin(w, j)
    return total, risk, margin


@kernel
def one_order(spec: Spec, contracts: float) -> float:
    """Return as much of `contracts` (whole ones) as one order of this contract may have."""
    if spec.max_contracts > 0.0:
        return float(min(contracts, math.floor(spec.max_contracts)))
    return contracts


@kernel
def whole_contracts(w: World, k: int, notional: float) -> float:
    """Return how many contracts of symbol `k` a notional buys at the worst entry price; at least 0,
    and at most what one order may have."""
    spec = w.specs[k]
    price = spec.multiplier * worst_price(w, w.symbols[k].mark)
    if price <= 0.0 or notional <= 0.0:
        return 0.0
    return one_order(spec, float(math.floor(notional / price)))


@kernel
def size_entry(
    w: World, k: int, side: int, distance: float, leverage: float, time: int
) -> tuple[float, int]:
    """Return (contracts, verdict) for an entry on symbol `k` with its stop at `distance`.

    The verdict is ACCEPTED for the natural size (risk per trade and cap of one position), CUT when
    another cap made it smaller, else the reason of the refusal, with 0 contracts. Collisions of two
    wishes of one cycle that only together exceed a cap, or that correlate, are counted here.
    """
    a = w.account
    tier = w.tiers[a.tier]
    cap = position_cap(a.equity, tier)
    natural = min(cap, a.equity * tier.risk_share / distance)
    if whole_contracts(w, k, natural) < 1.0:
        return 0.0, MIN_CONTRACT
    alone, _ = room_left(a, w.params, leverage, distance, used_totals(w, True))
    room, code = room_left(a, w.params, leverage, distance, used_totals(w, False))
    if room < min(natural, alone):
        a.collisions_cap += 1
    related = correlated_room(w, k, side, time, cap)
    if related < min(natural, room):
        room = related
        code = CORRELATED
        if correlated_notional(w, k, side, time, True) > 0.0:
            a.collisions_correlated += 1
    if room >= natural:
        return whole_contracts(w, k, natural), ACCEPTED
    contracts = whole_contracts(w, k, room)
    if contracts < 1.0:
        return 0.0, code
    return contracts, CUT
