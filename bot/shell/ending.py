"""How a run ends: nothing half done is left behind, for nobody may be there to look after it.

No entry is on its way any more, every order has its answer, every position rests under its stop;
with `close`, because the configuration wants a stop to, there is no position at all.
"""

import logging

from bot.core.kernel.codes import FLAT
from bot.core.messages import Command, Condition, Level, Operator, Role
from bot.core.modes import Cause
from bot.core.state import State
from bot.shell.daemon import TURN_S, Daemon

log = logging.getLogger("radbot")
REST_S = 10.0
"""how long it may take: the service manager waits 20 s (TimeoutStopSec)"""


def unrest(state: State) -> list[str]:
    """Return what is half done, for people; nothing when the bot may end."""
    found = []
    for k in range(len(state.symbols)):
        live = state.live_orders(k)
        if any(order.role is Role.ENTRY for order in live):
            found.append(f"{state.symbols[k]}: an entry is on its way")
        elif not all(order.rests for order in live):
            found.append(f"{state.symbols[k]}: an order has no answer yet")
        held = state.at_risk(k).contracts
        if state.covered(k) < held:
            found.append(f"{state.symbols[k]}: {held:g} contracts without a stop")
    return found


def come_to_rest(daemon: Daemon, *, close: bool) -> None:
    """Cancel what would open risk and see to stops until all is at rest, `REST_S` at most.

    With `close` every position is left; what has not left by then stays under its stop, and the
    next start goes on closing it.
    """
    parts, engine, state = daemon.parts, daemon.engine, daemon.engine.state

    def done() -> bool:
        return state.flat if close else not unrest(state)

    if done():
        return
    engine.ending = lambda: False
    engine.feed(Condition(daemon.moment(), Cause.STOPPING, True))
    end = parts.monotonic() + REST_S
    for k in range(len(state.symbols) if close else 0):
        if state.world.positions[k].side != FLAT or state.live_orders(k):
            engine.feed(Operator(daemon.moment(), Command.CLOSE, "the bot is stopped", k))
    while not done() and parts.monotonic() < end:
        daemon.turn()
        parts.stop.pause(TURN_S)
    if not done():
        what = "; ".join(unrest(state)) or "what is left stays under its stops"
        tell_unrest(daemon, "not_closed" if close else "not_at_rest", what)
    engine.feed(Condition(daemon.moment(), Cause.STOPPING, False))
    daemon.post()


def tell_unrest(daemon: Daemon, kind: str, what: str) -> None:
    """Tell a person that the bot ends although something is half done."""
    log.error("stop: %s: %s", kind.replace("_", " "), what)
    daemon.tell(Level.CRITICAL, kind, f"the bot has ended: {what}", daemon.engine.state.now_ms)
