"""KuCoin Futures as a venue (bot/shell/venue.py): orders out, answers, bars and reads back.

The trading loop never waits for the wire. What it asks for is begun in the wire thread; what comes
of it is taken by `poll` and `snapshot` in a later turn, and `wake` ends the loop's sleep. Fills are
learnt from reads alone: an answer, or a push of the socket, only says that now is a good time to
read.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from random import Random
from typing import Any

from bot.adapters import kucoin_parse as parse
from bot.adapters import kucoin_parse_market as parse_market
from bot.adapters.exchange_clock import Clock
from bot.adapters.kucoin_account import AccountReader
from bot.adapters.kucoin_bars import BarFeed, Bars
from bot.adapters.kucoin_client import KucoinClient, RefusedError
from bot.adapters.kucoin_fields import MalformedReplyError
from bot.adapters.kucoin_orders import order_body
from bot.adapters.token_bucket import Priority
from bot.adapters.wire_thread import WireThread
from bot.core.errors import NoAnswerError, UnreachableError
from bot.core.market import ContractSpec
from bot.core.messages import CancelOrder, Event, OrderAccepted, OrderRejected, PlaceOrder, Role
from bot.core.observations import OutcomeUnknown
from bot.core.reconcile import Snapshot

log = logging.getLogger("radbot.exchange")
READ_S = 15.0  # one read of the account, with its tries; below the account's progress deadline
SOON_S, LATER_S = 0.2, 1.0
"""between two reads while an order that trades at once is under way: from, to"""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0
"""before a read that failed is tried again: from, to; with jitter"""
HOT_S = 10.0
LATER_MS = 1_000
SYNC_S = 600.0  # clocks drift
CANDLES_PAGE = 200
PRIORITIES = {
    Role.ENTRY: Priority.ENTRY,
    Role.TARGET: Priority.ENTRY,
    Role.STOP: Priority.REDUCE,
    Role.EXIT: Priority.REDUCE,
}


def usable[**P, T](read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what a parser makes of an answer; one that makes no sense is a read that failed."""
    try:
        return read(*args, **kwargs)
    except MalformedReplyError as error:
        raise UnreachableError(f"an answer that makes no sense: {error}") from error


class KucoinVenue:
    """One account. All methods but the coroutines are the trading loop's."""

    def __init__(
        self,
        wire: WireThread,
        client: KucoinClient,
        reader: AccountReader,
        specs: Sequence[ContractSpec],
        timeframe_ms: int,
        clock: Clock,
        close: Callable[[], None] = lambda: None,
        wake: Callable[[], None] = lambda: None,
        rng: Random | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.wire, self.client, self.reader = wire, client, reader
        self.specs = tuple(specs)
        self.timeframe_ms = timeframe_ms
        self.clock, self.wake = clock, wake
        self.close = close
        """closes the line"""
        self.synced_at = monotonic()
        self.rng = rng if rng is not None else Random()
        self.monotonic = monotonic
        self.answers: deque[Event] = deque()
        self.flying: set[str] = set()
        """orders whose answer is not in: a read knows nothing certain of them"""
        self.hot: dict[str, float] = {}
        """orders that trade at once or are being cancelled, and since when (monotonic): read soon
        and often, until nobody asks for them any more"""
        self.touched: set[str] = set()
        """orders that a cancel was sent for after the present read had begun: it may be older"""
        self.heard = False
        """something happened that a read should look at"""
        self.reading: Future[Snapshot] | None = None
        self.read_began = -LATER_S
        self.soon_s = SOON_S
        self.pause_s = FIRST_PAUSE_S
        self.retry_at = 0.0
        self.patient = False
        """reads are waited for: while the bot starts, and for emergencies"""
        self.bars_feed: BarFeed | None = None

    # The port.

    def submit(self, order: PlaceOrder, now: int) -> Event | None:
        """Begin to send an order; its answer comes from `poll`."""
        self.flying.add(order.client_id)
        self.wire.start(self._place(order))
        return None

    def cancel(self, wish: CancelOrder, now: int) -> Event | None:
        """Begin to cancel; that it is gone is told by a read."""
        self.touched.add(wish.client_id)
        self.wire.start(self._cancel(wish))
        return None

    def poll(self, until_ms: int) -> Event | None:
        """Return the next answer, else the next bar. Never waits."""
        if self.monotonic() - self.synced_at > SYNC_S:
            self.synced_at = self.monotonic()
            self.wire.start(self._sync_clock())
        if self.answers:
            return self.answers.popleft()
        return self.bars_feed.poll(until_ms) if self.bars_feed is not None else None

    def snapshot(self, asked: tuple[str, ...], since_ms: int, now: int) -> Snapshot | None:
        """Return a read of the account; None while it is under way, or while it is too early to try
        again after one that failed. Raises UnreachableError when one has just failed."""
        if self.reading is None:
            moment = self.monotonic()
            early = moment < max(self.retry_at, self.read_began + self.soon_s)
            if early and not self.patient:
                return None
            known = tuple(name for name in asked if name not in self.flying)
            self.heard, self.read_began = False, moment
            self.touched.clear()
            self.reading = self.wire.start(self.reader.read(known, since_ms))
        late = self.monotonic() - self.read_began > READ_S
        if not self.patient and not self.reading.done() and not late:
            return None
        return self._take_read(self.reading)

    def check_equity(self, ours: float) -> None:
        """Nothing: a read compares wallets, and what differs is an event (bot/core/truth.py)."""

    # What the daemon asks besides.

    def prompted(self) -> bool:
        """Return whether the account should be read; `snapshot` sees that it is not too often."""
        return self.heard or bool(self.hot)

    def next_ms(self) -> int:
        """Return when the feed of bars has something to do next."""
        now = self.clock.now()
        return self.bars_feed.next_ms(now) if self.bars_feed is not None else now + LATER_MS

    def take_errors(self) -> list[str]:
        """Return the kinds of errors since the last call."""
        found = list(self.client.errors)
        del self.client.errors[: len(found)]
        return found

    def idle(self) -> bool:
        """Return whether nothing is under way on the wire."""
        reading = self.reading is not None and not self.reading.done()
        asked = self.bars_feed.asked.values() if self.bars_feed is not None else ()
        return not (self.flying or reading or any(not f.done() for f, _ in asked))

    # BarSource.

    def bars(self, symbol: int, from_ms: int, to_ms: int) -> "Future[Bars]":
        """Ask for closed bars that opened in [from_ms, to_ms)."""
        return self._woken(self.wire.start(self._bars(symbol, from_ms, to_ms)))

    def traded_ms(self, symbol: int) -> "Future[int]":
        """Ask when the newest price was made, ms UTC."""
        return self.wire.start(self._traded_ms(symbol))

    # In the wire thread.

    async def _place(self, order: PlaceOrder) -> None:
        name = order.client_id
        event: Event
        try:
            body = order_body(order, self.reader.wires[order.symbol], self.specs[order.symbol])
            data = await self.client.send(
                "futuresPrivatePostOrders", body, weight=2, priority=PRIORITIES[order.role]
            )
            self.reader.learn(name, parse.order_id_of(data, name))
            event = OrderAccepted(self.clock.now(), name)
        except RefusedError as error:
            event = OrderRejected(self.clock.now(), name, str(error))
        except UnreachableError as error:
            event = OrderRejected(self.clock.now(), name, str(error), local=True)
        except NoAnswerError as error:
            log.warning("order %s: %s", name, error)
            event = OutcomeUnknown(self.clock.now(), name)
        except Exception:  # a bug of ours: whether it was sent is not known
            log.exception("order %s", name)
            event = OutcomeUnknown(self.clock.now(), name)
        if isinstance(event, OutcomeUnknown) or order.role in (Role.ENTRY, Role.EXIT):
            self._watch(name)
        self.answers.append(event)
        self.flying.discard(name)
        self.wake()

    async def _cancel(self, wish: CancelOrder) -> None:
        order_id = self.reader.order_ids.get(wish.client_id)
        call, params = "futuresPrivateDeleteOrdersOrderId", {"orderId": order_id}
        if order_id is None:
            call = "futuresPrivateDeleteOrdersClientOrderClientOid"
            symbol = self.reader.wires[wish.symbol] if wish.symbol >= 0 else ""
            params = {"clientOid": wish.client_id, "symbol": symbol}
        try:
            await self.client.cancel(call, params)
        except Exception as error:  # a read shows what has become of it, and the wish is repeated
            log.info("cancel %s: %s", wish.client_id, error)
        self._watch(wish.client_id)
        self.wake()

    def _watch(self, client_id: str) -> None:
        """Let the account be read, again and again: something is about to happen."""
        self.heard = True
        self.hot = {**self.hot, client_id: self.monotonic()}  # whole: the other thread reads it
        self.soon_s = SOON_S

    def hear(self) -> None:
        """A push of the socket."""
        self.heard = True
        self.wake()

    def _woken[T](self, future: "Future[T]") -> "Future[T]":
        future.add_done_callback(lambda _: self.wake())
        return future

    def _take_read(self, reading: "Future[Snapshot]") -> Snapshot:
        """Return the result of a read, and note what it means for the next one."""
        self.reading = None
        try:
            seen = reading.result(READ_S if self.patient else 0.0)
        except (UnreachableError, TimeoutError) as error:
            reading.cancel()
            self.retry_at = self.monotonic() + self.pause_s * (0.5 + self.rng.random())
            self.pause_s = min(2.0 * self.pause_s, LONGEST_PAUSE_S)
            if isinstance(error, UnreachableError):
                raise
            raise UnreachableError(f"the account was not read within {READ_S:g} s") from error
        self.pause_s = FIRST_PAUSE_S
        self.soon_s = min(2.0 * self.soon_s, LATER_S)
        oldest = self.monotonic() - HOT_S
        for name, since in list(self.hot.items()):
            unasked = name not in seen.asked and since < self.read_began
            if unasked or since < oldest:
                self.hot.pop(name, None)
        return replace(seen, asked=tuple(n for n in seen.asked if n not in self.touched))

    async def _bars(self, k: int, from_ms: int, to_ms: int) -> Bars:
        timeframe_ms = self.timeframe_ms
        found: dict[int, Any] = {}
        for begin in range(from_ms, to_ms, CANDLES_PAGE * timeframe_ms):
            end = min(begin + CANDLES_PAGE * timeframe_ms, to_ms)
            params = {
                "symbol": self.reader.wires[k],
                "granularity": timeframe_ms // 60_000,
                "from": begin,
                "to": end - 1,
            }
            data = await self.client.read(
                "futuresPublicGetKlineQuery", params, weight=3, priority=Priority.MARKET
            )
            found |= dict(usable(parse_market.candles, data, self.specs[k], timeframe_ms))
        return sorted((ms, bar) for ms, bar in found.items() if from_ms <= ms < to_ms)

    async def mark_price(self, k: int) -> float:
        """Return the mark price of a symbol, USDT."""
        data = await self.client.read(
            "futuresPublicGetMarkPriceSymbolCurrent", {"symbol": self.reader.wires[k]}, weight=3
        )
        return usable(parse_market.mark_price, data, self.specs[k].symbol)

    async def _sync_clock(self) -> None:
        try:
            await self.client.sync_clock()
        except UnreachableError as error:
            log.info("%s", error)

    async def _traded_ms(self, k: int) -> int:
        data = await self.client.read(
            "futuresPublicGetTicker",
            {"symbol": self.reader.wires[k]},
            weight=2,
            priority=Priority.MARKET,
        )
        return usable(parse_market.ticker, data, self.specs[k].symbol).ms
