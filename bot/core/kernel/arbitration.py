"""Collisions between wishes, and who wins (DESIGN section 4).

Exits come before entries. The owner keeps its symbol; only the owner, a stop or risk closes it.
Opposite entries are both refused. Same side: the first strategy in configuration order. Caps go by
strength, then configuration order, then symbol. Every wish ends with a verdict, and `audit_entries`
checks the outcome by rules of its own.
"""

from bot.core.kernel.codes import (
    ALREADY_IN,
    ENTRY,
    FLAT,
    IN_FLIGHT,
    LIQUIDATION_NEAR,
    LOCKED,
    MAX_POSITIONS,
    MODE,
    NO_EQUITY,
    NO_INTENT,
    NO_WISH,
    OPPOSITE,
    OWNED,
    RUN,
    SAME_SIDE,
)
from bot.core.kernel.exposure import (
    correlated_notional,
    used_notional,
    used_risk,
    used_side,
)
from bot.core.kernel.levels import stop_distance
from bot.core.kernel.limits import choose_tier
from bot.core.kernel.prices import entry_limit
from bot.core.kernel.records import World
from bot.core.kernel.registry import kernel
from bot.core.kernel.sizing import position_cap, size_entry
from bot.core.kernel.strategies import entry_signal, reward

PENDING = -1  # a candidate whose verdict is still open
SLACK = 1.0 + 1e-9  # rounding noise that the audit forgives


@kernel
def side_of(wish: float) -> int:
    """Return the side of a wish: 1, -1, or 0 for none."""
    if wish > 0.0:
        return 1
    if wish < 0.0:
        return -1
    return FLAT


@kernel
def ask_strategies(w: World, k: int) -> int:
    """Ask every strategy about symbol `k`, keep the answers in `wishes`; return how many wish."""
    n = len(w.symbols)
    s, p = w.symbols[k], w.params
    wishes, verdicts = w.wishes, w.verdicts
    count = 0
    i = k
    for kind in w.strategies:
        wish = entry_signal(kind, s, p)
        wishes[i] = wish
        verdicts[i] = NO_WISH
        i += n
        if wish != 0.0:
            count += 1
    return count


@kernel
def judge_owned(w: World, k: int) -> None:
    """Give the wishes for a symbol that is held their verdict: its owner stays, all others are
    refused."""
    n = len(w.symbols)
    pos = w.positions[k]
    for j in range(len(w.strategies)):
        side = side_of(w.wishes[j * n + k])
        if side == FLAT:
            continue
        if j == pos.strategy:
            w.verdicts[j * n + k] = ALREADY_IN
        else:
            w.verdicts[j * n + k] = OWNED
            if side != pos.side:
                w.account.collisions_owned += 1


@kernel
def opposed(w: World, k: int) -> bool:
    """Return whether strategies want both sides of symbol `k`."""
    n = len(w.symbols)
    longs = 0
    shorts = 0
    for j in range(len(w.strategies)):
        side = side_of(w.wishes[j * n + k])
        if side > 0:
            longs += 1
        elif side < 0:
            shorts += 1
    return longs > 0 and shorts > 0


@kernel
def entry_bar(w: World, k: int, mode: int) -> int:
    """Return the verdict that bars every entry on the free symbol `k`, or PENDING when none
    does."""
    if opposed(w, k):
        w.account.collisions_opposite += 1
        return OPPOSITE
    if mode != RUN:
        return MODE
    if w.symbols[k].locked != 0:
        return LOCKED
    if w.intents[k].kind != NO_INTENT:
        return IN_FLIGHT
    if w.account.equity <= 0.0:
        return NO_EQUITY
    return PENDING


@kernel
def judge_free(w: World, k: int, mode: int) -> int:
    """Give the wishes for a free symbol their verdict; return 1 when one of them is a candidate."""
    n = len(w.symbols)
    verdict = entry_bar(w, k, mode)
    candidates = 0
    for j in range(len(w.strategies)):
        if w.wishes[j * n + k] == 0.0:
            continue
        w.verdicts[j * n + k] = verdict
        if verdict == PENDING:
            candidates = 1
            verdict = SAME_SIDE  # the first in configuration order stands for all
    return candidates


@kernel
def strongest(w: World) -> int:
    """Return the index of the strongest open candidate, or -1; the first one wins a tie.

    Wishes are laid out strategy by strategy, so the first is first in configuration order, then
    symbol.
    """
    best = -1
    for i in range(len(w.wishes)):
        if w.verdicts[i] == PENDING and (best < 0 or abs(w.wishes[i]) > abs(w.wishes[best])):
            best = i
    return best


@kernel
def open_count(w: World) -> int:
    """Return how many symbols carry a position or an accepted entry."""
    count = 0
    for k in range(len(w.positions)):
        if used_side(w, k) != FLAT:
            count += 1
    return count


@kernel
def grant(w: World, i: int, time: int) -> None:
    """Decide candidate `i` of `wishes`: write its verdict and, when approved, the entry intent."""
    n = len(w.symbols)
    k = i % n
    strategy = i // n
    side = side_of(w.wishes[i])
    if open_count(w) >= w.params.max_positions:
        w.verdicts[i] = MAX_POSITIONS
        return
    tier = w.tiers[choose_tier(w.account, w.tiers, w.params)]
    leverage = min(tier.leverage, w.specs[k].max_leverage)
    distance = stop_distance(w.symbols[k], leverage, w.params, w.specs[k])
    if distance <= 0.0:
        w.verdicts[i] = LIQUIDATION_NEAR
        return
    contracts, verdict = size_entry(w, k, side, distance, leverage, time)
    w.verdicts[i] = verdict
    if contracts < 1.0:
        return
    intent = w.intents[k]
    intent.kind = ENTRY
    intent.time = time
    intent.side = side
    intent.contracts = contracts
    intent.strategy = strategy
    intent.reason = NO_INTENT
    intent.reference_price = w.symbols[k].mark
    intent.limit_price = entry_limit(w.symbols[k].mark, side, w.params, w.specs[k])
    intent.leverage = leverage
    intent.stop_distance = distance
    intent.target_distance = distance * reward(w.strategies[strategy], w.params)
    intent.reverse_side = FLAT
    intent.notional = 0.0


@kernel
def audit_entry(w: World, k: int, time: int) -> int:
    """Return how many rules the entry accepted on symbol `k` in this cycle breaks by itself."""
    n = len(w.symbols)
    intent = w.intents[k]
    broken = 0
    if w.positions[k].side != FLAT:
        broken += 1
    for j in range(len(w.strategies)):
        wish = side_of(w.wishes[j * n + k])
        if wish != FLAT and wish != intent.side:
            broken += 1
    related = correlated_notional(w, k, intent.side, time, False)
    cap = position_cap(w.account.equity, w.tiers[w.account.tier])
    if used_notional(w, k) + max(related, 0.0) > cap * SLACK:
        broken += 1
    return broken


@kernel
def audit_entries(w: World, time: int) -> int:
    """Return how many rules the accepted entries of this cycle break; 0 unless arbitration is
    wrong.

    It recomputes the totals from nothing but the intents and positions, and does not look at
    verdicts.
    """
    broken = 0
    entries = 0
    total = 0.0
    risk = 0.0
    for k in range(len(w.positions)):
        total += used_notional(w, k)
        risk += used_risk(w, k)
        if w.intents[k].kind == ENTRY and w.intents[k].time == time:
            entries += 1
            broken += audit_entry(w, k, time)
    if entries == 0:
        return 0
    if open_count(w) > w.params.max_positions:
        broken += 1
    if total > w.params.max_total_share * w.account.equity * SLACK:
        broken += 1
    if risk > w.params.max_stop_risk * w.account.equity * SLACK:
        broken += 1
    return broken
