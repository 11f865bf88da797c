"""The loop over candle arrays: backtests, walk-forward and optimisation.

It composes the same functions as `core.step` and the simulated exchange in profile `bar`, in the
same order at one instant (DESIGN section 3), and agrees with them in every bit. Times: the bar that
opens at T - timeframe ends at T; what happens inside it is stamped T.
"""

from typing import NamedTuple

from bot.core.kernel.accounting import (
    book_entry,
    book_funding,
    book_reduce,
    finish_trade,
    funding_payment,
    mark_equity,
    owes_funding,
)
from bot.core.kernel.codes import (
    END,
    ENTRY,
    EXIT,
    FLAT,
    LIQUIDATION,
    MAKER,
    NO_INTENT,
    STOP,
    TAKER,
    TARGET,
)
from bot.core.kernel.decide import decide, judge, see_bar, want_reference_entry
from bot.core.kernel.levels import bankruptcy_price, bar_exit, stop_fill_price, target_fill_price
from bot.core.kernel.limits import limit_mode
from bot.core.kernel.prices import entry_fills, fee, market_price
from bot.core.kernel.records import Trade, World
from bot.core.kernel.registry import kernel


class Tape(NamedTuple):
    """Candles and funding of all symbols, flat: symbol k owns [first[k], first[k + 1])."""

    times: list[int]
    """open times"""
    opens: list[float]
    highs: list[float]
    lows: list[float]
    closes: list[float]
    first: list[int]
    cursor: list[int]
    """[n] next bar of each symbol"""
    funding_times: list[int]
    funding_rates: list[float]
    funding_first: list[int]
    funding_cursor: list[int]
    """[n] next settlement of each symbol"""


@kernel
def close_at(
    w: World, k: int, time: int, price: float, maker: int, reason: int, out: Trade
) -> None:
    """Close the whole position on symbol `k` at `price` and write its trade."""
    pos = w.positions[k]
    contracts = pos.contracts
    paid = fee(contracts * w.specs[k].multiplier * price, maker, w.params)
    book_reduce(w.account, pos, w.specs[k], contracts, price, paid)
    finish_trade(w, k, time, reason, out)


@kernel
def inside_bar(
    w: World, k: int, time: int, open_: float, high: float, low: float, out: Trade
) -> int:
    """Let the bar that ends at `time` trigger stop, target or liquidation; return the trades
    made."""
    pos = w.positions[k]
    spec = w.specs[k]
    p = w.params
    reason = bar_exit(
        pos.side,
        pos.stop_price,
        pos.target_price,
        pos.liquidation_price,
        spec,
        open_,
        high,
        low,
    )
    if reason == STOP:
        price = stop_fill_price(pos.stop_price, pos.side, open_, p, spec)
        close_at(w, k, time, price, TAKER, reason, out)
        return 1
    if reason == TARGET:
        price = target_fill_price(pos.target_price, pos.side, open_)
        close_at(w, k, time, price, MAKER, reason, out)
        return 1
    if reason == LIQUIDATION:
        price = bankruptcy_price(pos.entry_price, pos.side, pos.leverage)
        close_at(w, k, time, price, TAKER, reason, out)
        return 1
    return 0


@kernel
def settle_funding(w: World, tape: Tape, k: int, time: int) -> None:
    """Settle what falls due on symbol `k` up to `time`, on a position opened before the
    settlement."""
    cursor = tape.funding_cursor[k]
    while cursor < tape.funding_first[k + 1] and tape.funding_times[cursor] <= time:
        pos = w.positions[k]
        if owes_funding(pos.side, pos.entry_time, tape.funding_times[cursor], w.params):
            rate = tape.funding_rates[cursor]
            mark = w.symbols[k].mark
            book_funding(
                w.account, pos, funding_payment(pos.side, pos.contracts, mark, rate, w.specs[k])
            )
        cursor += 1
    tape.funding_cursor[k] = cursor


@kernel
def fill_exit(w: World, tape: Tape, k: int, time: int, out: Trade) -> int:
    """Fill the exit wanted on symbol `k` at the open of the bar that begins at `time`, if there is
    one.

    Return the trades made. A reversal of the reference strategy is sized here, on the equity it
    left.
    """
    cursor = tape.cursor[k]
    if cursor >= tape.first[k + 1] or tape.times[cursor] != time:
        return 0
    intent = w.intents[k]
    pos = w.positions[k]
    price = market_price(tape.opens[cursor], -pos.side, w.params, w.specs[k])
    close_at(w, k, time, price, TAKER, intent.reason, out)
    intent.kind = NO_INTENT
    if intent.reverse_side != FLAT:
        want_reference_entry(w, k, time, intent.reverse_side)
        intent.reverse_side = intent.side
    return 1


@kernel
def fill_entry(w: World, tape: Tape, k: int, time: int) -> None:
    """Fill the entry wanted on symbol `k` at the open of the bar that begins at `time`, or drop it.

    An IOC order that finds no bar, or a price beyond its limit, expires. A market order of the
    reference strategy waits for the next bar.
    """
    cursor = tape.cursor[k]
    intent = w.intents[k]
    reference = w.params.reference != 0
    if cursor >= tape.first[k + 1] or tape.times[cursor] != time:
        if not reference:
            intent.kind = NO_INTENT
        return
    spec = w.specs[k]
    price = market_price(tape.opens[cursor], intent.side, w.params, spec)
    if entry_fills(price, intent.limit_price, intent.side):
        contracts = intent.contracts
        if reference:
            contracts = intent.notional / price
        paid = fee(contracts * spec.multiplier * price, TAKER, w.params)
        book_entry(w, k, time, contracts, price, paid)
    intent.kind = NO_INTENT


@kernel
def fills_at_open(w: World, tape: Tape, time: int, trades: list[Trade], count: int) -> int:
    """Fill what the decision wanted: exits, then entries, then the entries of reversals."""
    n = len(w.positions)
    wanted = 0
    for k in range(n):
        if w.intents[k].kind == EXIT:
            count += fill_exit(w, tape, k, time, trades[count])
        if w.intents[k].kind == ENTRY:
            wanted = 1
    if wanted == 0:
        return count
    for reversal in range(2):
        for k in range(n):
            intent = w.intents[k]
            if intent.kind == ENTRY and (intent.reverse_side != FLAT) == (reversal == 1):
                fill_entry(w, tape, k, time)
    return count


@kernel
def replay(
    w: World,
    tape: Tape,
    first_time: int,
    begin: int,
    end: int,
    trades: list[Trade],
    curve: list[float],
) -> tuple[int, int]:
    """Run cycles `begin`..`end` (exclusive); return the next cycle to run and the trades written.

    Cycle i ends at `first_time + i * timeframe`. The loop pauses early when `trades` has no room
    left; the caller empties it and calls again. `curve[i]` becomes the equity of cycle i.
    """
    n = len(w.positions)
    step = w.params.timeframe_ms
    room = len(trades) - 2 * n
    count = 0
    for i in range(begin, end):
        if count > room:
            return i, count
        time = first_time + i * step
        opened = time - step
        for k in range(n):
            c = tape.cursor[k]
            if c < tape.first[k + 1] and tape.times[c] == opened:
                high = tape.highs[c]
                low = tape.lows[c]
                if w.positions[k].side != FLAT:
                    count += inside_bar(w, k, time, tape.opens[c], high, low, trades[count])
                see_bar(w, k, time, high, low, tape.closes[c])
                tape.cursor[k] = c + 1
        for k in range(n):
            settle_funding(w, tape, k, time)
        judge(w, time)
        curve[i] = w.account.equity
        decide(w, time, limit_mode(w.account))
        count = fills_at_open(w, tape, time, trades, count)
    return end, count


@kernel
def finish(w: World, time: int, trades: list[Trade]) -> int:
    """Close what is open at the last marks, reason END; return the trades written."""
    count = 0
    for k in range(len(w.positions)):
        pos = w.positions[k]
        if pos.side != FLAT:
            price = market_price(w.symbols[k].mark, -pos.side, w.params, w.specs[k])
            close_at(w, k, time, price, TAKER, END, trades[count])
            count += 1
        w.intents[k].kind = NO_INTENT
    mark_equity(w)
    return count
