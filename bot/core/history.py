"""What the indicators are shown: bars that ended, bars that were missed, or a new beginning."""

from bot.core.kernel.decide import see_bar
from bot.core.kernel.records import CORRELATION_SLOTS, SymbolState
from bot.core.messages import Cycle, Effect, History, Level, Notice, Rewarm
from bot.core.state import State

MOST_MISSED = 48
"""after more missed bars than this, whoever shows them begins with a Rewarm (DESIGN section 5 rule
11)"""


def see_bars(state: State, event: Cycle | History) -> None:
    """Take the bars that ended into the indicators, in configuration order."""
    world, now = state.world, event.now_ms
    for k, bar in enumerate(event.bars):
        if bar is not None:
            see_bar(world, k, now, bar.high, bar.low, bar.close)


def on_history(state: State, event: History) -> list[Effect]:
    """See bars that nothing is decided on any more; a bar that was seen already is skipped."""
    symbols = state.world.symbols
    bars = tuple(
        bar if symbols[k].bar_time < event.now_ms else None for k, bar in enumerate(event.bars)
    )
    see_bars(state, History(event.now_ms, bars))
    return []


def on_rewarm(state: State, event: Rewarm) -> list[Effect]:
    """Forget indicators: too much was missed to go on. Marks stay until a bar comes."""
    world = state.world
    for k in event.symbols or range(len(world.symbols)):
        old = world.symbols[k]
        world.symbols[k] = SymbolState(mark=old.mark, locked=old.locked)
        slots = slice(k * CORRELATION_SLOTS, (k + 1) * CORRELATION_SLOTS)
        world.samples[slots] = [-1] * CORRELATION_SLOTS
    text = f"{event.missed} bars were missed: the indicators are warmed up anew"
    if event.symbols:
        text += f" ({', '.join(state.symbols[k] for k in event.symbols)})"
    symbol = event.symbols[0] if len(event.symbols) == 1 else -1
    return [Notice(event.now_ms, Level.WARNING, "rewarm", symbol, text)]
