"""From bars to quotes: the way the price took inside a bar, and the mark price beside it.

A bar says where the price has been, not when. An up bar is taken to have visited its low first, a
down bar its high: the shorter way, and the one most real bars took. Nothing here is random.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from bot.core.kernel.params import Spec
from bot.core.kernel.prices import round_near
from bot.core.market import Bar, Row

MARK_PULL = 0.5  # share of the way to the last price that the mark goes with each quote


class Quote(NamedTuple):
    """One symbol's prices from `ms` on, USDT."""

    ms: int
    symbol: int
    last: float
    mark: float


class QuotePath:
    """Makes quotes of bars. It remembers the marks, so one object reads one market, row by row."""

    def __init__(
        self, specs: Sequence[Spec], timeframe_ms: int, steps: int = 4, pull: float = MARK_PULL
    ) -> None:
        """Prepare for bars of `timeframe_ms`; each of a bar's three legs gets `steps` quotes, and
        with each the mark goes `pull` of its way to the last price."""
        self.specs = specs
        self.timeframe_ms = timeframe_ms
        self.steps = steps
        self.pull = pull
        self.marks = [0.0 for _ in specs]

    def quotes(self, row: Row) -> list[Quote]:
        """Return the quotes of one row, by time and then by symbol; none where there is no bar.

        The open is quoted 1 ms after the bar begins, because that instant is the end of the bar
        before; the close is quoted at the end of the bar.
        """
        found: list[Quote] = []
        for k, bar in enumerate(row.bars):
            if bar is not None:
                prices = bar_path(bar, self.specs[k], self.steps)
                for i, last in enumerate(prices):
                    ms = row.open_ms + max(1, self.timeframe_ms * i // (len(prices) - 1))
                    found.append(Quote(ms, k, last, self.mark(k, last, bar)))
        return sorted(found, key=lambda quote: (quote.ms, quote.symbol))

    def mark(self, k: int, last: float, bar: Bar) -> float:
        """Move the mark of symbol `k` towards the last price, inside the bar's range; return it."""
        mark = self.marks[k] if self.marks[k] > 0.0 else last
        mark += self.pull * (last - mark)
        self.marks[k] = min(max(mark, bar.low), bar.high)
        return round_near(self.marks[k], self.specs[k])


def bar_path(bar: Bar, spec: Spec, steps: int) -> list[float]:
    """Return the way through one bar: open, two extremes, close, in `steps` prices for each leg.

    The four prices of the bar appear as they are; what lies between them is rounded to the grid.

    >>> bar_path(Bar(10.0, 12.0, 9.0, 11.0, 1.0), Spec(tick=0.5, ticks_per_unit=2.0), 2)
    [10.0, 9.5, 9.0, 10.5, 12.0, 11.5, 11.0]
    """
    extremes = (bar.low, bar.high) if bar.close >= bar.open else (bar.high, bar.low)
    path = [bar.open]
    for begin, end in pairwise((bar.open, *extremes, bar.close)):
        between = (begin + (end - begin) * i / steps for i in range(1, steps))
        path += [*(round_near(price, spec) for price in between), end]
    return path
