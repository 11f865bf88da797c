"""What is already used of each cap: by open positions and by entries accepted in this cycle.

An entry that is not filled yet counts in full, at the worst price its limit allows. An exit that is
not filled yet frees nothing.
"""

import math

from bot.core.kernel.codes import ENTRY, FLAT
from bot.core.kernel.records import CORRELATION_SLOTS, World
from bot.core.kernel.registry import kernel

# A variance below this share of the mean square is what rounding leaves of a constant series.
NO_VARIATION = 1e-12


@kernel
def worst_price(w: World, reference: float) -> float:
    """Return the price that entries are sized at: the worst a long can pay inside its band.

    A short that fills on a gap upwards gets more than this, and its notional is larger by the gap.
    """
    return reference * (1.0 + w.params.entry_band)


@kernel
def used_notional(w: World, k: int) -> float:
    """Return the notional symbol `k` uses, USDT: its position at the mark, or its accepted
    entry."""
    if w.positions[k].side != FLAT:
        return w.positions[k].contracts * w.specs[k].multiplier * w.symbols[k].mark
    intent = w.intents[k]
    if intent.kind == ENTRY:
        price = worst_price(w, intent.reference_price)
        return intent.contracts * w.specs[k].multiplier * price
    return 0.0


@kernel
def used_risk(w: World, k: int) -> float:
    """Return what symbol `k` loses if its stop is hit, from entry, USDT; 0 once the stop locks a
    gain."""
    pos = w.positions[k]
    if pos.side != FLAT:
        loss = pos.side * (pos.entry_price - pos.stop_price)
        return max(loss, 0.0) * pos.contracts * w.specs[k].multiplier
    intent = w.intents[k]
    if intent.kind == ENTRY:
        return used_notional(w, k) * intent.stop_distance
    return 0.0


@kernel
def used_margin(w: World, k: int) -> float:
    """Return the isolated margin symbol `k` ties up, USDT."""
    pos = w.positions[k]
    if pos.side != FLAT:
        return pos.contracts * w.specs[k].multiplier * pos.entry_price / max(pos.leverage, 1.0)
    intent = w.intents[k]
    if intent.kind == ENTRY:
        return used_notional(w, k) / max(intent.leverage, 1.0)
    return 0.0


@kernel
def used_side(w: World, k: int) -> int:
    """Return the side symbol `k` is exposed on: of its position or of its accepted entry, 0 for
    none."""
    if w.positions[k].side != FLAT:
        return w.positions[k].side
    if w.intents[k].kind == ENTRY:
        return w.intents[k].side
    return FLAT


@kernel
def correlation(w: World, i: int, j: int, time: int) -> float:
    """Return Pearson's correlation of the common hourly returns of two symbols, in [-1, 1].

    With fewer than `correlation_min_samples` common samples, or without any variation, the answer
    is
    1.0: what cannot be measured is treated as correlated.
    """
    oldest = time // w.params.sample_ms - CORRELATION_SLOTS
    samples, returns = w.samples, w.returns
    at_i, at_j = i * CORRELATION_SLOTS, j * CORRELATION_SLOTS
    count = 0
    sum_x = 0.0
    sum_y = 0.0
    sum_xx = 0.0
    sum_yy = 0.0
    sum_xy = 0.0
    for slot in range(CORRELATION_SLOTS):
        sample = samples[at_i + slot]
        if sample >= 0 and sample > oldest and sample == samples[at_j + slot]:
            x = returns[at_i + slot]
            y = returns[at_j + slot]
            count += 1
            sum_x += x
            sum_y += y
            sum_xx += x * x
            sum_yy += y * y
            sum_xy += x * y
    if count < w.params.correlation_min_samples or count < 2:
        return 1.0
    var_x = sum_xx - sum_x * sum_x / count
    var_y = sum_yy - sum_y * sum_y / count
    if var_x <= sum_xx * NO_VARIATION or var_y <= sum_yy * NO_VARIATION:
        return 1.0
    return (sum_xy - sum_x * sum_y / count) / math.sqrt(var_x * var_y)


@kernel
def correlated_notional(w: World, k: int, side: int, time: int, accepted_only: bool) -> float:
    """Return the notional held on `side` in symbols that correlate with symbol `k`, USDT.

    With `accepted_only` only the entries accepted in this cycle count.
    """
    total = 0.0
    for j in range(len(w.positions)):
        if j == k or used_side(w, j) != side:
            continue
        if accepted_only and w.positions[j].side != FLAT:
            continue
        if correlation(w, k, j, time) >= w.params.correlation_limit:
            total += used_notional(w, j)
    return total


@kernel
def correlated_room(w: World, k: int, side: int, time: int, cap: float) -> float:
    """Return the notional an entry on symbol `k` may add so that no correlated group exceeds `cap`.

    Correlation is not transitive: the entry has a group of its own, and it joins the group of every
    symbol it correlates with. The tightest of them counts.
    """
    room = cap - correlated_notional(w, k, side, time, False)
    for j in range(len(w.positions)):
        if j == k or used_side(w, j) != side:
            continue
        if correlation(w, k, j, time) >= w.params.correlation_limit:
            group = used_notional(w, j) + correlated_notional(w, j, side, time, False)
            room = min(room, cap - group)
    return room
