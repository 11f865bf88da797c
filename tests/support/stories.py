"""Plays the stories in tests/scenario: a person's words in, what the core does about them out.

A story is a text. Lines that begin with `#` are for the reader. A block is one command a line, then
`----`, then what the core did, up to an empty line. The commands:

timeframe 4h                        first of all; a bar is an hour where nothing is said
bars 100 101.5                      one bar after the other, each at its close
accept [order]                      the exchange has the order, or all that wait
fill [order] 5 at 100.2             contracts trade; without a name the entry or exit
reject [order] "text"               the exchange refuses it
cancelled [order]                   the exchange cancelled what was left of it
foreign 3 at 100.2                  a fill of an order that is not ours
liquidate 10 at 91                  the exchange takes contracts over
funding -1.2                        the exchange settles funding, USDT
stale, fresh                        data goes stale and comes back
unreachable, reachable              the exchange goes away and comes back
pass 6s, pass 15m                   time passes, with a tick each second or minute
kill, halt, resume, close "reason"  a person's order
status                              what the core knows

An order is a role (`stop`) or a number (`#3`). The market and the account are those of
tests/support/states.py: one coin at 100, ten contracts an entry.
"""

import shlex
from collections.abc import Callable

from bot.core.kernel.codes import REASON_NAMES, SIDE_NAMES
from bot.core.market import MINUTE_MS, parse_timeframe
from bot.core.messages import (
    CancelOrder,
    Command,
    Condition,
    Effect,
    FundingSettled,
    Notice,
    OrderFilled,
    PlaceOrder,
    Role,
    Tick,
)
from bot.core.modes import Cause
from bot.core.orders import Status
from tests.support.states import Desk, eager_params, make_state, number

CONDITIONS = {
    "stale": (Cause.STALE_DATA, True),
    "fresh": (Cause.STALE_DATA, False),
    "unreachable": (Cause.EXCHANGE_UNREACHABLE, True),
    "reachable": (Cause.EXCHANGE_UNREACHABLE, False),
}


def play(story: str) -> str:
    """Return the story with what the core does now below each `----`."""
    desk = Desk()
    told: list[str] = []
    skipping = False
    did: list[str] = []
    for line in story.splitlines():
        if line == "----":
            told += [line, *(did or ["nothing"])]
            skipping, did = True, []
        elif not line.strip():
            told.append("")
            skipping = False
        elif not skipping:
            told.append(line)
            if not line.startswith("#"):
                verb, *words = shlex.split(line)
                if verb == "timeframe":
                    params = eager_params(timeframe_ms=parse_timeframe(words[0]))
                    desk = Desk(make_state(params=params))
                else:
                    did += status(desk) if verb == "status" else obey(desk, verb, words)
    return "\n".join(told).rstrip() + "\n"


def obey(desk: Desk, verb: str, words: list[str]) -> list[str]:
    """Carry out one command and return what came of it, a line each."""
    if verb == "pass":
        return let_pass(desk, words[0])
    if verb == "accept" and not words:
        waiting = [o for o in desk.state.orders.values() if o.status is Status.SENT]
        names = [f"#{number(order.request.client_id)}" for order in waiting]
        return [line for name in names for line in tell(desk.accept(name))]
    if verb == "bars":
        return [line for close in words for line in tell(desk.bars(float(close)))]
    return tell(VERBS[verb](desk, words))


def let_pass(desk: Desk, length: str) -> list[str]:
    """Tick through `6s` or `15m`; what happens is stamped with how long it took."""
    unit = 1_000 if length.endswith("s") else MINUTE_MS
    begin, lines = desk.now, []
    for _ in range(int(length[:-1])):
        effects = desk.feed(Tick(desk.now + unit))
        lines += [f"+{(desk.now - begin) // unit}{length[-1]} {line}" for line in tell(effects)]
    return lines


def fill(desk: Desk, words: list[str]) -> list[Effect]:
    """`fill [order] 5 at 100.2`"""
    *named, contracts, _, price = words
    return desk.fill(named[0] if named else trading(desk), float(contracts), float(price))


def trading(desk: Desk) -> str:
    """Return the name of the entry or exit that is under way."""
    for order in desk.state.orders.values():
        if order.live and order.role in (Role.ENTRY, Role.EXIT):
            return f"#{number(order.request.client_id)}"
    raise AssertionError("expected an entry or an exit under way, was none")


def foreign(desk: Desk, words: list[str]) -> list[Effect]:
    """`foreign 3 at 100.2`"""
    contracts, _, price = words
    event = OrderFilled(desk.now, "web-1", "w1", float(contracts), float(price), 0.1)
    return desk.feed(event)


def reject(desk: Desk, words: list[str]) -> list[Effect]:
    """`reject [order] "text"`"""
    *named, message = words
    return desk.reject(named[0] if named else trading(desk), message)


def say(command: Command) -> Callable[[Desk, list[str]], list[Effect]]:
    """`kill "reason"` and its like"""
    return lambda desk, words: desk.say(command, words[0], symbol=0)


def condition(verb: str) -> Callable[[Desk, list[str]], list[Effect]]:
    """`stale` and its like"""
    return lambda desk, words: desk.feed(Condition(desk.now, *CONDITIONS[verb]))


VERBS: dict[str, Callable[[Desk, list[str]], list[Effect]]] = {
    "accept": lambda desk, words: desk.accept(words[0]),
    "fill": fill,
    "reject": reject,
    "cancelled": lambda desk, words: desk.cancelled(words[0] if words else trading(desk)),
    "foreign": foreign,
    "liquidate": lambda desk, words: desk.liquidate(float(words[0]), float(words[2])),
    "funding": lambda desk, words: desk.feed(FundingSettled(desk.now, 0, float(words[0]))),
    **{command.value: say(command) for command in Command},
    **{verb: condition(verb) for verb in CONDITIONS},
}


def tell(effects: list[Effect]) -> list[str]:
    """Return effects as a person would write them down."""
    return [tell_one(effect) for effect in effects]


def tell_one(effect: Effect) -> str:
    """Return one effect as a line."""
    if isinstance(effect, PlaceOrder):
        deal = f"{'buy' if effect.side > 0 else 'sell'} {effect.contracts:g}"
        price = f"{effect.price:g}" if effect.price else "market"
        return f"place #{number(effect.client_id)} {effect.role.value}: {deal} at {price}"
    if isinstance(effect, CancelOrder):
        return f"cancel #{number(effect.client_id)} {effect.client_id.rpartition('-')[2]}"
    if isinstance(effect, Notice):
        return f"{effect.level.value} {effect.kind}: {effect.text}"
    trade = effect.trade
    prices = f"{trade.entry_price:.2f} to {trade.exit_price:.2f}"
    size = f"{SIDE_NAMES[trade.side]} {trade.contracts:g}"
    return f"closed by {REASON_NAMES[trade.reason]}: {size}, {prices}, {trade.pnl:+.2f} USDT"


def status(desk: Desk) -> list[str]:
    """Return mode, position and orders, as the core knows them."""
    state, pos = desk.state, desk.position
    causes = ", ".join(sorted(cause.label for cause in state.modes.causes))
    lines = [f"{state.modes.name} ({causes})" if causes else state.modes.name]
    if pos.side:
        levels = f"stop {pos.stop_price:g}, target {pos.target_price:g}"
        size = f"{SIDE_NAMES[pos.side]} {pos.contracts:g} at {pos.entry_price:.2f}"
        lines.append(f"{size}, {levels}, covered {state.covered(0):g}")
    else:
        lines.append("flat")
    if state.world.symbols[0].locked:
        lines.append("locked")
    for order in state.orders.values():
        name = f"#{number(order.request.client_id)} {order.role.value}"
        lines.append(f"{name} {order.status.value}, {order.remaining:g} to go")
    return lines
