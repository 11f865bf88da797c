"""KuCoin's public market as a venue for paper trading: real bars and prices, a simulated account.

The account is `OpenMarket` behind its database, as in every paper run; this file carries the market
to it. Nothing is signed. As on the real exchange the trading loop never waits for the wire, a read
of the account needs an exchange that answers, and without one nothing trades.
"""

import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from typing import Any

from bot.adapters.exchange_clock import Clock
from bot.adapters.kucoin import LATER_MS, SYNC_S
from bot.adapters.kucoin_account import together
from bot.adapters.kucoin_bars import SETTLE_MS, BarFeed, Bars
from bot.adapters.kucoin_market import PublicMarket
from bot.adapters.line_state import LineState
from bot.adapters.paced_read import PacedRead
from bot.adapters.paper_store import PaperStore
from bot.adapters.wire_thread import WireThread
from bot.core.errors import UnreachableError
from bot.core.market import Bar
from bot.core.messages import Cycle, Event, History, PlaceOrder
from bot.core.reconcile import Snapshot
from bot.shell.paper_venue import StoredVenue
from bot.sim.open_market import OpenMarket

RATES_S = 30.0
"""between two questions for funding that has not been told yet, market time"""
MISSED_BARS = 1_000
"""played at once when the bot comes back"""
MISSED_S = 30.0
"""how long the answers for so many may take"""

type Rates = list[tuple[int, float]]


class OpenVenue(StoredVenue):
    """One simulated account on KuCoin's market. All methods but the coroutines are the loop's."""

    market: OpenMarket

    def __init__(
        self,
        market: OpenMarket,
        store: PaperStore,
        wire: WireThread,
        public: PublicMarket,
        clock: Clock,
        speed: float = 1.0,
        wake: Callable[[], None] = lambda: None,
        close: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(market, store)
        self.wire, self.public, self.clock, self.speed = wire, public, clock, speed
        self.wake, self.close_line = wake, close
        self.monotonic = monotonic
        self.synced_at = monotonic()
        self.feed: BarFeed | None = None
        self.warmup_rows = 0
        self.held_back: Event | None = None
        """bars that the bot sees after it heard what happened inside them"""
        self.saved: list[int] = list(market.past.seen)
        """the bars that are known to be on the disk"""
        self.prices: dict[int, Future[float]] = {}
        """questions under way, by symbol"""
        self.rates: dict[int, tuple[Future[Rates], int]] = {}
        """the same, and when they were asked, ms"""
        self.rates_at = 0.0
        self.read: PacedRead[dict[int, float]] = PacedRead(wire, wake, monotonic=monotonic)
        """of the marks of what is held"""

    def start_feed(self, feed: BarFeed) -> None:
        """Let bars come; the account is at the present."""
        self.feed, self.warmup_rows = feed, feed.warmup_rows

    # The port.

    def submit(self, order: PlaceOrder, now: int) -> Event | None:
        """Take or refuse an order; it trades when a price is told, see `poll`."""
        answer = super().submit(order, now)
        self.ask_prices()
        return answer

    def poll(self, until_ms: int) -> Event | None:
        """Return the next thing: what happened to the account, then the bars in which it did."""
        self.moment = (int(self.wall() * 1000.0), until_ms)
        self.sync_clock()
        self.take_answers()
        while True:
            event = self.market.poll(until_ms)
            if event is not None or self.saved != self.market.past.seen:
                self.save()
            if event is not None:
                return event
            if self.held_back is not None:
                event, self.held_back = self.held_back, None
                return event
            event = self.next_bars(until_ms)
            if event is None:
                self.ask_prices()
                self.ask_rates()
                return None
            if isinstance(event, Cycle | History):
                self.market.begin(event.now_ms, event.bars)
            self.held_back = event

    def next_bars(self, until_ms: int) -> Event | None:
        """Return the feed's next event."""
        if self.feed is None:
            return None
        # A new beginning of the indicators must not leave out what the account has not seen.
        missed = (until_ms - self.market.played_ms(until_ms)) // self.market.timeframe_ms
        self.feed.warmup_rows = max(self.warmup_rows, missed)
        return self.feed.poll(until_ms)

    def snapshot(self, asked: tuple[str, ...], since_ms: int, now: int) -> Snapshot | None:
        """Return a read of the account, with KuCoin's marks of what is held; None while it is under
        way, or too early after one that failed. Raises UnreachableError when one has just failed.
        """
        if self.read.pending is None:
            if not self.read.may_begin():
                return None
            self.read.begin(self._marks(self.market.held()))
        marks = self.read.take()
        if marks is None:
            return None
        seen = self.market.snapshot(asked, since_ms, max(now, self.clock.now()))
        holdings = (replace(h, mark=marks.get(k, h.mark)) for k, h in enumerate(seen.holdings))
        return replace(seen, holdings=tuple(holdings))

    def check_equity(self, ours: float) -> None:
        """Nothing: a read compares wallets. Marks may differ for a moment, when a bar is late."""

    # What the daemon asks besides.

    def next_ms(self) -> int:
        """Return when the feed of bars has something to do next."""
        now = self.clock.now()
        return self.feed.next_ms(now) if self.feed is not None else now + LATER_MS

    def take_errors(self) -> list[str]:
        """Return the kinds of errors since the last call."""
        return self.public.client.take_errors() + super().take_errors()

    def line(self) -> LineState | None:
        """Return how the line to the exchange is."""
        return self.public.line()

    def while_waiting(self, call: Callable[[], None]) -> None:
        """Have `call` called about once a second while the exchange is waited for."""
        self.wire.waiting = call

    def close(self) -> None:
        try:
            self.close_line()
        finally:
            super().close()

    def values(self) -> dict[str, object]:
        self.saved = list(self.market.past.seen)
        return super().values() | {"past": self.market.dump_past()}

    # Questions and answers.

    def sync_clock(self) -> None:
        if self.monotonic() - self.synced_at > SYNC_S:
            self.synced_at = self.monotonic()
            self.wire.begin(self._sync_clock())

    def ask_prices(self) -> None:
        """Ask for the prices at which the orders that wait trade."""
        if self.read.may_begin():
            for k in self.market.waiting() - self.prices.keys():
                self.prices[k] = self._begin(self.public.last_price(k))

    def ask_rates(self) -> None:
        """Ask for the funding that is owed, and again until it is told."""
        owed = self.market.past.owed
        if not owed or self.rates or self.monotonic() < self.rates_at:
            return
        self.rates_at = self.monotonic() + RATES_S / self.speed
        now = self.clock.now()
        for k in {one.symbol for one in owed}:
            first_ms = min(one.hour_ms for one in owed if one.symbol == k)
            question = self.public.funding_rates(k, first_ms - LATER_MS, now)
            self.rates[k] = (self._begin(question), now)

    def take_answers(self) -> None:
        """Give the account the prices and rates that are in; what failed is asked again."""
        for k, price in list(self.prices.items()):
            if price.done():
                del self.prices[k]
                self.market.quote(k, self._price_of(price))
        for k, (rates, asked_ms) in list(self.rates.items()):
            if rates.done():
                del self.rates[k]
                with suppress(UnreachableError):
                    self.market.rates(k, rates.result(), asked_ms)

    def _price_of(self, price: "Future[float]") -> float:
        try:
            return price.result()
        except UnreachableError:  # an entry expires, an exit goes on waiting
            self.read.later()
            return 0.0

    def _begin[T](self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        return self.wire.start(work, self.wake)

    async def _marks(self, held: list[int]) -> dict[int, float]:
        if not held:
            await self.public.server_time()
        found = await together(*(self.public.mark_price(k) for k in held))
        return dict(zip(held, found, strict=True))

    async def _sync_clock(self) -> None:
        with suppress(UnreachableError):  # reads say whether the exchange is there
            await self.public.client.sync_clock()

    # While nobody was there.

    def play_missed(self, now: int) -> None:
        """Play on what is held the bars that closed until `now`; what happened is in the records.

        Raises UnreachableError; then it is begun again where it was.
        """
        market, length = self.market, self.market.timeframe_ms
        end_ms = (now - SETTLE_MS) // length * length
        while (begin_ms := market.played_ms(end_ms)) < end_ms:
            upto_ms = min(begin_ms + MISSED_BARS * length, end_ms)
            held = market.held()
            rows: dict[int, list[Bar | None]] = {}
            for k, found in zip(held, self._missed(held, begin_ms, upto_ms), strict=True):
                for open_ms, bar in found:
                    rows.setdefault(open_ms + length, [None] * len(market.past.seen))[k] = bar
            for ends_ms in sorted(rows):
                market.begin(ends_ms, tuple(rows[ends_ms]))
                while market.poll(ends_ms) is not None:
                    pass  # the bot reads the account next
            for k in held:
                market.passed(k, upto_ms)
            self.save()

    def _missed(self, held: list[int], from_ms: int, to_ms: int) -> list[Bars]:
        work = together(*(self.public.bars(k, from_ms, to_ms) for k in held))
        try:
            return self.wire.run(work, MISSED_S)
        except TimeoutError as error:
            raise UnreachableError(f"missed bars did not come within {MISSED_S:g} s") from error
