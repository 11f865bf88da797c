"""The account's limits between two cycles: what a read of the exchange shows at its mark prices.

A cycle judges every bar in every mode (kernel/limits.py). Where reads bring the exchange's marks,
they are judged too, so that a long bar does not hide a loss. One read proves nothing, a mark may be
wrong for a moment: the kill switch needs a second one, `CONFIRM_MS` later. Peaks are made by cycles
only, for the same reason.
"""

from collections.abc import Sequence

from bot.core.kernel.accounting import wallet
from bot.core.kernel.codes import FLAT, KILL
from bot.core.kernel.limits import share_lost
from bot.core.kernel.records import WINDOW_SLOTS, World
from bot.core.messages import Effect, Level, Notice
from bot.core.modes import Cause
from bot.core.observations import LossSeen
from bot.core.protect import cancel_entries, close_all
from bot.core.state import State

CONFIRM_MS = 10_000


def equity_at(world: World, marks: Sequence[float]) -> float | None:
    """Return our wallet and the positions at `marks` by symbol, USDT; None where a mark is
    missing."""
    equity = wallet(world.account)
    for k, pos in enumerate(world.positions):
        if pos.side != FLAT:
            if marks[k] <= 0.0:
                return None
            gain = pos.side * (marks[k] - pos.entry_price)
            equity += gain * pos.contracts * world.specs[k].multiplier
    return equity


def recent_peak(world: World, now_ms: int) -> float:
    """Return the highest equity of a cycle within the window of the fast drawdown."""
    account = world.account
    oldest = now_ms - world.params.fast_window_ms
    for i in range(account.window_head, account.window_tail):  # decreasing: the first is the peak
        if world.window_times[i % WINDOW_SLOTS] >= oldest:
            return world.window_equity[i % WINDOW_SLOTS]
    return 0.0


def kills(world: World, equity: float, now_ms: int) -> bool:
    """Return whether `equity` is a drawdown that the kill switch is for."""
    params = world.params
    fast = share_lost(recent_peak(world, now_ms), equity)
    slow = share_lost(world.account.peak_equity, equity)
    return slow > params.drawdown_limit or fast > params.fast_drawdown_limit


def exceeds(state: State, equity: float, now_ms: int) -> bool:
    """Return whether `equity` is beyond a limit that does not hold us back already."""
    world, causes = state.world, state.modes.causes
    if world.params.reference != 0 or Cause.DRAWDOWN in causes:
        return False
    day_lost = share_lost(world.account.day_equity, equity) > world.params.daily_loss_limit
    return kills(world, equity, now_ms) or (day_lost and Cause.DAILY_LOSS not in causes)


def on_loss_seen(state: State, event: LossSeen) -> list[Effect]:
    """Judge the limits at the exchange's marks."""
    world, account, now = state.world, state.world.account, event.now_ms
    effects: list[Effect] = []
    lost = share_lost(account.day_equity, event.equity)
    if lost > world.params.daily_loss_limit and state.modes.tighten(Cause.DAILY_LOSS, now):
        account.daily_locked = 1
        text = f"daily loss {100.0 * lost:.1f} % at mark prices: no entries until the next day"
        effects.append(Notice(now, Level.CRITICAL, "daily_loss", -1, text))
    if not kills(world, event.equity, now):
        state.watch.breach_ms = 0
    elif state.watch.breach_ms == 0:
        state.watch.breach_ms = now
    elif now - state.watch.breach_ms >= CONFIRM_MS and account.killed_at == 0:
        account.killed_at, state.watch.breach_ms = now, 0
        state.modes.tighten(Cause.DRAWDOWN, now)
        lost = share_lost(account.peak_equity, event.equity)
        text = f"drawdown {100.0 * lost:.1f} % at mark prices, seen twice: everything is closed"
        effects.append(Notice(now, Level.CRITICAL, "drawdown", -1, text))
        effects += cancel_entries(state) + close_all(state, KILL)
    return effects
