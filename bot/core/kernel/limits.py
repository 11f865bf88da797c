"""What the account as a whole may do: balance tier, daily loss, drawdown, the day roll.

Only losses are judged here and only facts are written (`killed_at`, `daily_locked`). What follows
from them is a mode, and in the trading process a mode has more causes than these
(bot/core/modes.py).
"""

from bot.core.kernel.codes import FLATTEN, REDUCE_ONLY, RUN
from bot.core.kernel.params import Params, Tier
from bot.core.kernel.records import WINDOW_SLOTS, Account, World
from bot.core.kernel.registry import kernel

DAY = 86_400_000  # ms


@kernel
def choose_tier(a: Account, tiers: list[Tier], p: Params) -> int:
    """Set and return the row of the balance table for the present equity.

    A higher row is entered only `tier_hysteresis` above its floor and left at the floor, so that an
    account at a boundary does not flap, and never uses more than the table allows.
    """
    if a.tier < 0:
        a.tier = 0
        while a.tier + 1 < len(tiers) and a.equity >= tiers[a.tier + 1].floor:
            a.tier += 1
        return a.tier
    rise = 1.0 + p.tier_hysteresis
    while a.tier + 1 < len(tiers) and a.equity >= tiers[a.tier + 1].floor * rise:
        a.tier += 1
    while a.tier > 0 and a.equity < tiers[a.tier].floor:
        a.tier -= 1
    return a.tier


@kernel
def window_peak(w: World, time: int) -> float:
    """Add the present equity to the fast-drawdown window and return the window's maximum.

    The ring holds a decreasing sequence: a sample that a later, higher one makes irrelevant is
    dropped.
    """
    a = w.account
    oldest = time - w.params.fast_window_ms
    while a.window_head < a.window_tail and w.window_times[a.window_head % WINDOW_SLOTS] < oldest:
        a.window_head += 1
    while (
        a.window_head < a.window_tail
        and w.window_equity[(a.window_tail - 1) % WINDOW_SLOTS] <= a.equity
    ):
        a.window_tail -= 1
    if a.window_tail - a.window_head == WINDOW_SLOTS:  # full: forget the newest, keep the maximum
        a.window_tail -= 1
    w.window_times[a.window_tail % WINDOW_SLOTS] = time
    w.window_equity[a.window_tail % WINDOW_SLOTS] = a.equity
    a.window_tail += 1
    return w.window_equity[a.window_head % WINDOW_SLOTS]


@kernel
def share_lost(peak: float, equity: float) -> float:
    """Return the loss from `peak` to `equity` as a fraction of the peak, at least 0."""
    if peak <= 0.0:
        return 0.0
    return max(1.0 - equity / peak, 0.0)


@kernel
def judge_limits(w: World, time: int) -> None:
    """Measure daily loss and drawdowns at the present equity and latch what is exceeded."""
    a = w.account
    p = w.params
    a.peak_equity = max(a.peak_equity, a.equity)
    a.drawdown = share_lost(a.peak_equity, a.equity)
    a.max_drawdown = max(a.max_drawdown, a.drawdown)
    if p.reference != 0:
        return
    a.daily_loss = share_lost(a.day_equity, a.equity)
    a.fast_drawdown = share_lost(window_peak(w, time), a.equity)
    if a.daily_loss > p.daily_loss_limit:
        a.daily_locked = 1
    exceeded = a.drawdown > p.drawdown_limit or a.fast_drawdown > p.fast_drawdown_limit
    if exceeded and a.killed_at == 0:
        a.killed_at = time


@kernel
def roll_day(a: Account, time: int) -> bool:
    """Start a new day at 00:00 UTC: the equity that closed the old day opens the new one."""
    day = time // DAY
    if day == a.day:
        return False
    a.day = day
    a.day_equity = a.equity
    a.daily_loss = 0.0
    a.daily_locked = 0
    return True


@kernel
def limit_mode(a: Account) -> int:
    """Return the mode that the account's own limits demand."""
    if a.killed_at != 0:
        return FLATTEN
    if a.daily_locked != 0:
        return REDUCE_ONLY
    return RUN
