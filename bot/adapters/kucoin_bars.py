"""Closed bars of KuCoin Futures, by REST: what the bot decides on.

Rules of this file (DESIGN section 5 rule 7): a bar is closed when REST returns it and exchange time
is at least its end + 2 s; it is waited for until its end + `wait_ms`, then decided without. A bar
that is absent from an answer did not trade, and is no event. What a failed question would have told
is asked for again with the next bar and shown to the indicators then: `History`, never decided on.

A market that was missed for too long is begun anew: everything is shown again, from a warm-up on.

`poll` never waits: questions are asked in the wire thread, answers are collected when they are in.
"""

import sys
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol

from bot.core.errors import UnreachableError
from bot.core.market import Bar
from bot.core.messages import Condition, Cycle, Event, History, Rewarm
from bot.core.modes import Cause

SETTLE_MS = 2_000
RETRY_MS = 500
DECIDE_MS = 60_000  # an older bar is not decided on any more: the market has moved on
MOST_MISSED = 48
"""more missed bars than this: the indicators begin anew (DESIGN section 5 rule 11)"""
STALE_MS = 60_000  # a market whose newest price is older stands still

type Bars = list[tuple[int, Bar]]
"""(open time, bar)"""


class BarSource(Protocol):
    """Where bars come from. An answer may be UnreachableError, and nothing else that is wrong."""

    def bars(self, symbol: int, from_ms: int, to_ms: int) -> "Future[Bars]":
        """Ask for the bars of a symbol that opened in [from_ms, to_ms)."""

    def traded_ms(self, symbol: int) -> "Future[int]":
        """Ask when the newest price of a symbol was made, ms UTC."""


class BarFeed:
    """Makes events of closed bars, in order of time."""

    def __init__(
        self,
        source: BarSource,
        symbols: int,
        timeframe_ms: int,
        wait_ms: int,
        warmup_rows: int,
        decided_ms: int,
        now: int,
        seen_ms: Sequence[int] = (),
    ) -> None:
        """Begin after the decision at `decided_ms`; 0: never decided, begin with a warm-up.

        `seen_ms` is by symbol the end of the newest bar that was shown, 0 for none: what a decision
        had to do without is shown now. Without it everything up to the decision was.
        """
        self.source = source
        self.timeframe_ms, self.wait_ms = timeframe_ms, wait_ms
        self.warmup_rows = warmup_rows
        newest = self.closed_ms(now)
        self.end_ms = decided_ms + timeframe_ms if decided_ms else newest
        """the end of the bar that is wanted"""
        self.warming = decided_ms == 0
        self.anew = False
        """the warm-up is one in the middle of trading: cycles go on, without bars"""
        self.without_ms = 0
        """the newest bar that a cycle did not wait for"""
        first = newest - warmup_rows * timeframe_ms
        shown = [decided_ms for _ in range(symbols)] if self.warming else seen_ms
        self.shown_ms = [ms or first for ms in shown or [decided_ms for _ in range(symbols)]]
        """by symbol: what opened before this was shown, or did not trade"""
        self.known_ms = list(self.shown_ms)
        """by symbol: what opened before this is in `found`, or did not trade"""
        self.found: list[Bars] = [[] for _ in range(symbols)]
        self.asked: dict[int, tuple[Future[Bars], int]] = {}
        """by symbol: the question under way, and the end of its range"""
        self.tried_ms = [0 for _ in range(symbols)]
        self.account_ms: Callable[[], int] = lambda: sys.maxsize
        """when the account was read last: a decision waits for what the bar did to positions"""
        self.deadline_ms = 0
        self.ready: deque[Event] = deque()
        self.ages: list[Future[int]] = []
        self.age_asked_ms = 0
        self.stale = False
        self.failures = 0
        """questions that failed"""

    def closed_ms(self, now: int) -> int:
        """Return the end of the newest bar that is closed for sure."""
        return (now - SETTLE_MS) // self.timeframe_ms * self.timeframe_ms

    def begins_ms(self) -> int:
        """Return when the wanted bar can be asked for."""
        return self.end_ms + SETTLE_MS

    def next_ms(self, now: int) -> int:
        """Return when there is something to do next, after `now`; answers may come before."""
        return self.begins_ms() if now < self.begins_ms() else now + RETRY_MS

    def poll(self, now: int) -> Event | None:
        """Return the next event up to `now`, None when there is nothing (yet)."""
        if self.ages:
            self.judge_age()
        if not self.ready and now >= self.begins_ms():
            self.work(now)
        return self.ready.popleft() if self.ready else None

    def work(self, now: int) -> None:
        """Ask for what is missing, collect what has come, and close the bar when that is due."""
        self.end_ms = max(self.end_ms, self.closed_ms(now))
        if self.deadline_ms < self.end_ms:  # the first look at this bar
            self.deadline_ms = max(self.end_ms, now - SETTLE_MS) + self.wait_ms
        if not self.warming and self.missed() > MOST_MISSED:
            self.begin_anew(now)
        self.collect()
        for k, known_ms in enumerate(self.known_ms):
            retry = now - self.tried_ms[k] >= RETRY_MS
            if known_ms < self.end_ms and k not in self.asked and retry:
                self.tried_ms[k] = now
                self.asked[k] = (self.source.bars(k, known_ms, self.end_ms), self.end_ms)
        complete = min(self.known_ms) >= self.end_ms and self.account_ms() >= self.end_ms
        late = now >= self.deadline_ms
        if complete or (late and not self.warming):
            self.close(now)
        elif late and self.anew and self.without_ms < self.end_ms:
            # Positions are held meanwhile: limits are judged, and the loop makes progress.
            self.without_ms = self.end_ms
            self.ready.append(Cycle(self.end_ms, now, (None,) * len(self.found)))

    def missed(self) -> int:
        """Return how many bars before the wanted one were not shown."""
        return (self.end_ms - min(self.shown_ms)) // self.timeframe_ms - 1

    def begin_anew(self, now: int) -> None:
        """Forget the indicators: a warm-up is shown instead of everything that was missed."""
        self.ready.append(Rewarm(now, self.missed()))
        begin = self.end_ms - (self.warmup_rows + 1) * self.timeframe_ms
        self.shown_ms = [begin for _ in self.shown_ms]
        self.known_ms = list(self.shown_ms)
        self.found = [[] for _ in self.found]
        self.asked.clear()
        self.warming = self.anew = True

    def collect(self) -> None:
        """Take the answers that are in; what failed is asked for again."""
        for k, (question, to_ms) in list(self.asked.items()):
            if not question.done():
                continue
            del self.asked[k]
            try:
                self.found[k] += question.result()
                self.known_ms[k] = to_ms
            except UnreachableError:
                self.failures += 1

    def close(self, now: int) -> None:
        """Make events of what was found: older bars for the indicators, the newest to decide on."""
        length, nothing = self.timeframe_ms, [None] * len(self.found)
        rows: dict[int, list[Bar | None]] = {}
        for k, bars in enumerate(self.found):
            for open_ms, bar in bars:
                if self.shown_ms[k] <= open_ms < self.known_ms[k]:
                    rows.setdefault(open_ms + length, list(nothing))[k] = bar
            bars.clear()
        self.shown_ms = list(self.known_ms)
        newest = tuple(rows.pop(self.end_ms, nothing))
        for end_ms in sorted(rows):
            self.ready.append(History(end_ms, tuple(rows[end_ms])))
        if any(newest):
            self.ages.clear()
            self.say_stale(now, False)
        else:
            self.ask_age(now)
        in_time = now - self.end_ms <= min(DECIDE_MS, length // 2)
        if in_time and self.without_ms < self.end_ms:
            self.ready.append(Cycle(self.end_ms, now, newest))
        elif any(newest):
            self.ready.append(History(self.end_ms, newest))
        self.end_ms += length
        self.warming = self.anew = False

    def ask_age(self, now: int) -> None:
        """Ask whether the market stands still: no symbol had a bar. Prices say so, missing candles
        do not."""
        if not self.ages:
            self.age_asked_ms = now
            self.ages = [self.source.traded_ms(k) for k in range(len(self.found))]

    def judge_age(self) -> None:
        """Take the answers; one that failed says nothing."""
        if all(age.done() for age in self.ages):
            made = [age.result() for age in self.ages if age.exception() is None]
            self.ages.clear()
            if made:
                self.say_stale(self.age_asked_ms, self.age_asked_ms - max(made) > STALE_MS)

    def say_stale(self, now: int, stale: bool) -> None:
        if stale != self.stale:
            self.stale = stale
            self.ready.append(Condition(now, Cause.STALE_DATA, stale))
