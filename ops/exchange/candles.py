"""Candles as the wire serves them: what is over, and the bar that is forming.

Bounded: of each symbol the newest `KEPT` bars of the base timeframe are there.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from bot.core.kernel.params import Spec
from bot.core.market import Bar

KEPT = 50_000
MAX_ROWS = 500  # of one answer
WEEK_MINUTES = 10_080
GRANULARITIES = (1, 5, 15, 30, 60, 120, 240, 480, 720, 1440, WEEK_MINUTES)
"""minutes"""
MONDAY_MS = 4 * 86_400_000  # the epoch began on a Thursday
MINUTE_MS = 60_000

type CandleRow = list[float]


@dataclass(slots=True)
class Forming:
    """The bar of one symbol that is not over yet, and how much of it has been seen."""

    open_ms: int
    open: float
    high: float
    low: float
    close: float
    quotes: int = 1


class CandleStore:
    """The candles of all symbols in the base timeframe; answers are put together from them."""

    def __init__(self, specs: list[Spec], timeframe_ms: int, quotes_a_bar: int) -> None:
        self.specs = specs
        self.timeframe_ms = timeframe_ms
        self.quotes_a_bar = quotes_a_bar
        self.times: list[list[int]] = [[] for _ in specs]
        self.bars: list[list[Bar]] = [[] for _ in specs]
        self.forming: list[Forming | None] = [None for _ in specs]
        self.volumes = [0.0 for _ in specs]
        """base coins that the forming bar will have"""

    def add(self, k: int, open_ms: int, bar: Bar) -> None:
        """Take a bar that is over."""
        self.forming[k] = None
        self.times[k].append(open_ms)
        self.bars[k].append(bar)
        if len(self.times[k]) > 2 * KEPT:
            del self.times[k][:KEPT]
            del self.bars[k][:KEPT]

    def begin(self, k: int, bar: Bar | None) -> None:
        """Prepare for a bar that will trade so much."""
        self.volumes[k] = bar.volume if bar is not None else 0.0

    def quoted(self, k: int, ms: int, last: float) -> None:
        """Let a price form the bar."""
        forming = self.forming[k]
        if forming is None:
            # A quote at a bar's end belongs to that bar.
            open_ms = (ms - 1) // self.timeframe_ms * self.timeframe_ms
            self.forming[k] = Forming(open_ms, last, last, last, last)
            return
        forming.high = max(forming.high, last)
        forming.low = min(forming.low, last)
        forming.close = last
        forming.quotes += 1

    def base(self, k: int, from_ms: int, to_ms: int) -> list[tuple[int, Bar]]:
        """Return the bars of a symbol that open in [from_ms, to_ms], the forming one last."""
        times = self.times[k]
        low, high = bisect_left(times, from_ms), bisect_right(times, to_ms)
        found = list(zip(times[low:high], self.bars[k][low:high], strict=True))
        forming = self.forming[k]
        if forming is not None and from_ms <= forming.open_ms <= to_ms:
            f, share = forming, min(1.0, forming.quotes / self.quotes_a_bar)
            bar = Bar(f.open, f.high, f.low, f.close, self.volumes[k] * share)
            found.append((f.open_ms, bar))
        return found

    def query(self, k: int, minutes: int, from_ms: int | None, to_ms: int) -> list[CandleRow]:
        """Return candles of `minutes` that open in the window, oldest first, at most MAX_ROWS.

        With a start the rows follow it, without one they end at `to_ms`. Rows are
        [open ms, open, high, low, close, volume in contracts].
        """
        length = minutes * MINUTE_MS
        last = _bucket(to_ms, length)
        if from_ms is None:
            first = last - (MAX_ROWS - 1) * length
        else:
            first = _bucket(from_ms + length - 1, length)
            last = min(last, first + (MAX_ROWS - 1) * length)
        spec, rows = self.specs[k], []
        bucket: list[tuple[int, Bar]] = []
        for item in self.base(k, first, last + length - 1):
            if bucket and _bucket(bucket[0][0], length) != _bucket(item[0], length):
                rows.append(_row(bucket, length, spec))
                bucket = []
            bucket.append(item)
        return [*rows, _row(bucket, length, spec)] if bucket else rows

    def newest(self, k: int, minutes: int) -> CandleRow | None:
        """Return the candle of `minutes` that is forming or was the last."""
        length, forming, times = minutes * MINUTE_MS, self.forming[k], self.times[k]
        at = forming.open_ms if forming else times[-1] if times else None
        if at is None:
            return None
        rows = self.query(k, minutes, _bucket(at, length), at)
        return rows[-1] if rows else None

    def day(self, k: int, now_ms: int) -> list[Bar]:
        """Return the bars of the last 24 hours."""
        return [bar for _, bar in self.base(k, now_ms - 86_400_000, now_ms)]


def served(minutes: int, timeframe_ms: int) -> bool:
    """Return whether candles of so many minutes can be made of the base timeframe."""
    return minutes in GRANULARITIES and minutes * MINUTE_MS % timeframe_ms == 0


def contracts_of(volume: float, spec: Spec) -> int:
    """Return a volume in base coins as whole contracts; what traded at all is at least one."""
    return max(1, round(volume / spec.multiplier)) if volume > 0.0 else 0


def _bucket(ms: int, length: int) -> int:
    return (ms - MONDAY_MS) // length * length + MONDAY_MS


def _row(bucket: list[tuple[int, Bar]], length: int, spec: Spec) -> CandleRow:
    bars = [bar for _, bar in bucket]
    volume = sum(bar.volume for bar in bars)
    return [
        _bucket(bucket[0][0], length),
        bars[0].open,
        max(bar.high for bar in bars),
        min(bar.low for bar in bars),
        bars[-1].close,
        contracts_of(volume, spec),
    ]
