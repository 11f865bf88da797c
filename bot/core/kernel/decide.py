"""One decision cycle: what is seen, what is judged, what is wanted. The same for every caller.

The caller's order at one bar time T (DESIGN section 3): stops inside the bar, `see_bar` for each
bar, funding, `judge`, then `decide` with the mode that holds, then fills at the open. `decide`
leaves the outcome in `World.intents` and `World.verdicts`. It never clears an intent: what is
wanted stays wanted until the caller has seen it filled or void.
"""

from bot.core.kernel.accounting import mark_equity
from bot.core.kernel.arbitration import (
    ask_strategies,
    audit_entries,
    grant,
    judge_free,
    judge_owned,
    side_of,
    strongest,
)
from bot.core.kernel.codes import (
    ENTRY,
    EXIT,
    FLAT,
    FLATTEN,
    HALT,
    KILL,
    NO_INTENT,
    REVERSAL,
    SIGNAL,
)
from bot.core.kernel.indicators import update, update_samples
from bot.core.kernel.levels import trailed_stop
from bot.core.kernel.limits import judge_limits, roll_day
from bot.core.kernel.records import Intent, Position, World
from bot.core.kernel.registry import kernel
from bot.core.kernel.strategies import cross_signal, exit_signal


@kernel
def see_bar(w: World, k: int, time: int, high: float, low: float, close: float) -> None:
    """Take the bar of symbol `k` that ends at `time` into indicators and the hourly returns."""
    s, p = w.symbols[k], w.params
    update(s, p, time, high, low, close)
    if p.use_indicators != 0 and time % p.sample_ms == 0:
        update_samples(s, p, k, time, w.returns, w.samples)


@kernel
def judge(w: World, time: int) -> None:
    """Mark the account at `time` and judge its limits; then the day may roll on the same equity."""
    a = w.account
    mark_equity(w)
    judge_limits(w, time)
    roll_day(a, time)
    a.cycles += 1
    positions = w.positions
    for k in range(len(positions)):
        if positions[k].side != FLAT:
            a.exposed_cycles += 1
            break


@kernel
def want_exit(intent: Intent, pos: Position, time: int, reason: int) -> None:
    """Write the intent to leave a position at the market."""
    intent.kind = EXIT
    intent.time = time
    intent.side = pos.side
    intent.contracts = pos.contracts
    intent.strategy = pos.strategy
    intent.reason = reason
    intent.reference_price = 0.0
    intent.limit_price = 0.0
    intent.reverse_side = FLAT
    intent.notional = 0.0


@kernel
def plan_exit(w: World, k: int, time: int, mode: int) -> None:
    """Decide whether the position on symbol `k` is left, and move its trailing stop if it stays.

    An exit that is wanted already stays wanted, whatever the indicators say now.
    """
    pos = w.positions[k]
    intent = w.intents[k]
    if intent.kind == EXIT:
        return
    if mode == FLATTEN:
        want_exit(intent, pos, time, KILL)
        return
    s = w.symbols[k]
    if s.bar_time != time:
        return
    kind = w.strategies[pos.strategy]
    if mode < HALT and exit_signal(kind, pos.side, s, w.params):
        want_exit(intent, pos, time, SIGNAL)
        return
    pos.stop_price = trailed_stop(pos, s.mark, w.params, w.specs[k])


@kernel
def decide_reference(w: World, time: int) -> None:
    """Decide for the reference strategy: enter on a cross, reverse on the opposite one."""
    for k in range(len(w.symbols)):
        if w.symbols[k].bar_time != time or w.intents[k].kind != NO_INTENT:
            continue
        side = side_of(cross_signal(w.symbols[k], w.params))
        pos = w.positions[k]
        if side == FLAT or side == pos.side:
            continue
        intent = w.intents[k]
        if pos.side != FLAT:
            want_exit(intent, pos, time, REVERSAL)
            intent.reverse_side = side
        else:
            want_reference_entry(w, k, time, side)


@kernel
def want_reference_entry(w: World, k: int, time: int, side: int) -> None:
    """Write the reference strategy's entry: a share of the present equity, sized at its fill."""
    intent = w.intents[k]
    intent.kind = ENTRY
    intent.time = time
    intent.side = side
    intent.contracts = 0.0
    intent.strategy = 0
    intent.reason = NO_INTENT
    intent.reference_price = w.symbols[k].mark
    intent.limit_price = 0.0
    intent.leverage = 1.0
    intent.stop_distance = w.params.cross_stop
    intent.target_distance = w.params.cross_target
    intent.reverse_side = FLAT
    intent.notional = w.params.reference_share * mark_equity(w)


@kernel
def decide(w: World, time: int, mode: int) -> None:
    """Decide the cycle that ends at `time` under `mode`: exits and trailing stops, then entries."""
    if w.params.reference != 0:
        decide_reference(w, time)
        return
    symbols, positions = w.symbols, w.positions
    candidates = 0
    for k in range(len(symbols)):
        if positions[k].side != FLAT:
            plan_exit(w, k, time, mode)
        if symbols[k].bar_time != time:
            clear_wishes(w, k)
        elif ask_strategies(w, k) > 0:
            if positions[k].side != FLAT:
                judge_owned(w, k)
            else:
                candidates += judge_free(w, k, mode)
    if candidates == 0:
        return
    best = strongest(w)
    while best >= 0:
        grant(w, best, time)
        best = strongest(w)
    w.account.collisions_unresolved += audit_entries(w, time)


@kernel
def clear_wishes(w: World, k: int) -> None:
    """Forget the wishes of a symbol whose bar is missing: no bar, no new entry."""
    n = len(w.symbols)
    for j in range(len(w.strategies)):
        w.wishes[j * n + k] = 0.0
        w.verdicts[j * n + k] = 0
