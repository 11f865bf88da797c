"""Closed bars of KuCoin Futures, by REST: what the bot decides on.

Rules of this file (DESIGN section 5 rule 7): a bar is closed when REST returns it and exchange time
is at least its end + 2 s; it is asked for until its end + `wait_ms`, then decided without, and
asked for once more with the next bar. What comes then is shown to the indicators: `History`, never
decided on. A bar that is absent then, too, did not trade, and is no event.

Each symbol for itself: one that does not answer is left out, and goes on when it answers. One that
was missed for too long begins anew: everything of it is shown again, from a warm-up on. One without
a bar for as long is not waited for, so that it holds up no decision on the others.

`poll` never waits: questions are asked in the wire thread, answers are collected when they are in.
"""

import logging
import sys
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol

from bot.core.errors import UnreachableError
from bot.core.history import MOST_MISSED
from bot.core.market import Bar
from bot.core.messages import Condition, Cycle, Event, History, Rewarm
from bot.core.modes import Cause

log = logging.getLogger("radbot")
SETTLE_MS = 2_000
RETRY_MS = 500
DECIDE_MS = 60_000  # an older bar is not decided on any more: the market has moved on
WARMUP_WAIT_MS = 30_000
"""a first warm-up, which is many answers of each symbol, is waited for so long"""
STALE_MS = 60_000  # a market whose newest price is older stands still

type Bars = list[tuple[int, Bar]]
"""(open time, bar)"""


class BarSource(Protocol):
    """Where bars come from. An answer may be UnreachableError, and nothing else that is wrong."""

    def bars(self, symbol: int, from_ms: int, to_ms: int) -> "Future[Bars]":
        """Ask for the bars of a symbol that opened in [from_ms, to_ms)."""

    def traded_ms(self, symbol: int) -> "Future[int]":
        """Ask when the newest price of a symbol was made, ms UTC."""

    def name(self, symbol: int) -> str:
        """Return what people call a symbol."""


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
        """the first warm-up is not shown yet"""
        self.patient_ms = now + WARMUP_WAIT_MS if self.warming else 0
        """until then no bar is closed without the whole warm-up"""
        first = newest - warmup_rows * timeframe_ms
        shown = [decided_ms for _ in range(symbols)] if self.warming else seen_ms
        self.known_ms = [ms or first for ms in shown or [decided_ms for _ in range(symbols)]]
        """by symbol: what opened before this was shown, is in `found`, or did not trade"""
        self.found: list[Bars] = [[] for _ in range(symbols)]
        self.anew = [0 for _ in range(symbols)]
        """by symbol: the missed bars after which it begins anew with what is in `found`, else 0"""
        self.silent = [0 for _ in range(symbols)]
        """by symbol: bars that were closed without it since its last one came"""
        self.wrong = ["" for _ in range(symbols)]
        """by symbol: why its last question failed"""
        self.left_out = [False for _ in range(symbols)]
        """by symbol: people were told that it does not answer"""
        self.asked: dict[int, tuple[Future[Bars], int]] = {}
        """by symbol: the question under way, and the end of its range"""
        self.tried_ms = [0 for _ in range(symbols)]
        self.account_ms: Callable[[], int] = lambda: sys.maxsize
        """when the account was read last: a decision waits for what the bar did to positions"""
        self.deadline_ms = 0
        """when the bar is closed without what is missing"""
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
        self.collect()
        for k, known_ms in enumerate(self.known_ms):
            retry = now - self.tried_ms[k] >= RETRY_MS
            if known_ms < self.end_ms and k not in self.asked and retry:
                self.tried_ms[k] = now
                question = self.source.bars(k, self.from_ms(k), self.end_ms)
                self.asked[k] = (question, self.end_ms)
        if self.complete() or self.late(now):
            self.close(now)

    def complete(self) -> bool:
        """Return whether everything is in that is waited for."""
        known = [ms for k, ms in enumerate(self.known_ms) if self.silent[k] <= MOST_MISSED]
        return min(known or self.known_ms) >= self.end_ms and self.account_ms() >= self.end_ms

    def late(self, now: int) -> bool:
        """Return whether it is time to close the bar without the answers that are missing."""
        unanswered = min(self.known_ms) < self.end_ms - self.timeframe_ms
        return now >= self.deadline_ms and not (unanswered and now < self.patient_ms)

    def missed(self, k: int, to_ms: int) -> int:
        """Return how many bars of a symbol are not known before the one that ends at `to_ms`; the
        bars of a first warm-up were not missed."""
        return 0 if self.warming else (to_ms - self.known_ms[k]) // self.timeframe_ms - 1

    def from_ms(self, k: int) -> int:
        """Return from where on a symbol is asked for: a warm-up when too much was missed."""
        if self.missed(k, self.end_ms) > MOST_MISSED:
            return self.end_ms - (self.warmup_rows + 1) * self.timeframe_ms
        return self.known_ms[k]

    def collect(self) -> None:
        """Take the answers that are in; what failed is asked for again."""
        for k, (question, to_ms) in list(self.asked.items()):
            if not question.done():
                continue
            del self.asked[k]
            try:
                self.take(k, question.result(), to_ms)
            except UnreachableError as error:
                self.failures += 1
                self.wrong[k] = str(error)

    def take(self, k: int, bars: Bars, to_ms: int) -> None:
        """Take the bars of a symbol up to `to_ms`, oldest first. Where the newest is not among them
        it may be late and is asked for again; any other did not trade."""
        missed = self.missed(k, to_ms)
        if missed > MOST_MISSED:
            self.anew[k] = missed
        self.found[k] += bars
        if bars and bars[-1][0] + self.timeframe_ms == to_ms:
            self.known_ms[k] = to_ms
        else:
            self.known_ms[k] = to_ms - self.timeframe_ms
        if bars:
            self.silent[k] = 0
        if self.left_out[k]:
            log.info("%s: its bars can be read again", self.source.name(k))
        self.wrong[k], self.left_out[k] = "", False

    def say_left_out(self) -> None:
        """Tell people once of each symbol that does not answer."""
        for k, why in enumerate(self.wrong):
            if why and not self.left_out[k] and self.known_ms[k] < self.end_ms:
                self.left_out[k] = True
                log.warning(
                    "%s: its bars cannot be read (%s): nothing is decided on it until they can; a "
                    "position stays under its stop. If it is this one alone: is it still listed?",
                    self.source.name(k),
                    why,
                )

    def close(self, now: int) -> None:
        """Make events of what was found: older bars for the indicators, the newest to decide on."""
        length, nothing = self.timeframe_ms, [None] * len(self.found)
        self.say_left_out()
        self.begin_anew(now)
        rows: dict[int, list[Bar | None]] = {}
        for k, bars in enumerate(self.found):
            for open_ms, bar in bars:
                rows.setdefault(open_ms + length, list(nothing))[k] = bar
            bars.clear()
        newest = tuple(rows.pop(self.end_ms, nothing))
        self.silent = [n + 1 if newest[k] is None else 0 for k, n in enumerate(self.silent)]
        for end_ms in sorted(rows):
            self.ready.append(History(end_ms, tuple(rows[end_ms])))
        if any(newest):
            self.ages.clear()
            self.say_stale(now, False)
        else:
            self.ask_age(now)
        in_time = now - self.end_ms <= min(DECIDE_MS, length // 2)
        if in_time:
            self.ready.append(Cycle(self.end_ms, now, newest))
        elif any(newest):
            self.ready.append(History(self.end_ms, newest))
        self.end_ms += length
        self.warming = False

    def begin_anew(self, now: int) -> None:
        """Let the indicators forget the symbols of which a warm-up is shown instead of everything
        that was missed."""
        symbols = tuple(k for k, missed in enumerate(self.anew) if missed)
        if symbols:
            every = len(symbols) == len(self.anew)
            self.ready.append(Rewarm(now, max(self.anew), () if every else symbols))
            self.anew = [0 for _ in self.anew]

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
