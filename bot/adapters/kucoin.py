"""KuCoin Futures as a venue (bot/shell/venue.py): orders out, answers, bars and reads back.

The trading loop never waits for the wire. What it asks for is begun in the wire thread; what comes
of it is taken by `poll` and `snapshot` in a later turn, and `wake` ends the loop's sleep. Fills are
learnt from reads alone: an answer, or a push of the socket, only says that now is a good time to
read.
"""

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace

from bot.adapters import kucoin_parse as parse
from bot.adapters.exchange_clock import Clock
from bot.adapters.kucoin_account import AccountReader
from bot.adapters.kucoin_bars import BarFeed
from bot.adapters.kucoin_client import MALFORMED, KucoinClient, RefusedError
from bot.adapters.kucoin_errors import Treat
from bot.adapters.kucoin_fields import MalformedReplyError
from bot.adapters.kucoin_market import PublicMarket, read_contracts
from bot.adapters.kucoin_orders import order_body
from bot.adapters.kucoin_prompt import Prompter
from bot.adapters.line_state import LineState
from bot.adapters.paced_read import PacedRead
from bot.adapters.token_bucket import Priority
from bot.adapters.wire_thread import WireThread
from bot.core.errors import BotError, NoAnswerError, UnreachableError
from bot.core.market import ContractSpec
from bot.core.messages import CancelOrder, Event, OrderAccepted, OrderRejected, PlaceOrder, Role
from bot.core.observations import OutcomeUnknown
from bot.core.reconcile import Snapshot

log = logging.getLogger("radbot.exchange")
SOON_S, LATER_S = 0.2, 1.0
"""between two reads while an order that trades at once is under way: from, to"""
URGENT_S, URGENT_PAUSE_S = 60.0, 2.0
"""after an order or a cancellation: so long a read that failed is put off by no more than this"""
HOT_S = 10.0
LATER_MS = 1_000
SYNC_S = 600.0  # clocks drift, and contracts change now and then
REFUSED_S = 5.0  # a refused order may be the first word of it; no more often than this
QUIET_MS = 2_000
GONE = (Treat.NOT_CANCELABLE, Treat.NOT_FOUND)  # what a cancel is for: a closed position's orders
PRIORITIES = {
    Role.ENTRY: Priority.ENTRY,
    Role.TARGET: Priority.ENTRY,
    Role.STOP: Priority.REDUCE,
    Role.EXIT: Priority.REDUCE,
}


class ContractsChangedError(BotError):
    """Tick size, multiplier or margin of a contract has changed. Exit code 75: the next start takes
    the new ones."""

    exit_code = 75


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
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.wire, self.client, self.reader = wire, client, reader
        self.specs = tuple(specs)
        self.public = PublicMarket(client, specs, timeframe_ms)
        self.clock, self.wake = clock, wake
        self.close = close
        """closes the line"""
        self.synced_at = monotonic()
        self.upkeep: Future[None] | None = None
        self.refused = False
        """an order was, since the contracts were looked at"""
        self.changed, self.changed_s = "", 0.0
        """which contract is not what it was, and since when that is known (monotonic)"""
        self.monotonic = monotonic
        self.answers: deque[Event] = deque()
        self.flying: set[str] = set()
        """orders whose answer is not in: a read knows nothing certain of them"""
        self.cancelling: set[str] = set()
        """orders whose cancellation has not been answered"""
        self.hot: dict[str, float] = {}
        """orders that trade at once or are being cancelled, and since when (monotonic): read soon
        and often, until nobody asks for them any more"""
        self.touched: set[str] = set()
        """orders that a cancel was sent for after the present read had begun: it may be older"""
        self.heard = False
        """something happened that a read should look at"""
        self.read: PacedRead[Snapshot] = PacedRead(wire, wake, monotonic=monotonic)
        self.soon_s = SOON_S
        self.asked_ms = self.account_ms = 0
        """exchange time at which the present read began, and the newest one that came through"""
        self.bars_feed: BarFeed | None = None
        self.prompter: Prompter | None = None
        """keeps the WebSocket, where one is wanted"""

    # The port.

    def submit(self, order: PlaceOrder, now: int) -> Event | None:
        """Begin to send an order; its answer comes from `poll`."""
        self.flying.add(order.client_id)
        self.wire.begin(self._place(order))
        return None

    def cancel(self, wish: CancelOrder, now: int) -> Event | None:
        """Begin to cancel; that it is gone is told by a read."""
        self.touched.add(wish.client_id)
        self.cancelling.add(wish.client_id)
        self.wire.begin(self._cancel(wish))
        return None

    def poll(self, until_ms: int) -> Event | None:
        """Return the next answer, else the next bar. Never waits.

        Contracts that have changed end the process: not while an order is on its way, for nobody
        may be there to see to what it trades; but soon, for with the old ones none may be taken.
        """
        if self.due_for_upkeep():
            self.synced_at, self.refused = self.monotonic(), False
            self.upkeep = self.wire.begin(self._keep_up())
        if self.answers:
            return self.answers.popleft()
        if self.changed:
            busy = self.flying or self.cancelling or self.hot
            if busy and self.monotonic() - self.changed_s < HOT_S:
                return None
            raise ContractsChangedError(
                f"{self.changed}: the bot starts anew with it; positions are under their stops"
            )
        return self.bars_feed.poll(until_ms) if self.bars_feed is not None else None

    def snapshot(self, asked: tuple[str, ...], since_ms: int, now: int) -> Snapshot | None:
        """Return a read of the account; None while it is under way, or while it is too early to try
        again after one that failed. Raises UnreachableError when one has just failed."""
        read = self.read
        if read.pending is None:
            early = self.monotonic() < read.began_s + self.soon_s and not self.bar_waits()
            if (early and not read.patient) or not read.may_begin(self._longest_pause()):
                return None
            known = tuple(name for name in asked if name not in self.flying)
            self.heard, self.asked_ms = False, self.clock.now()
            self.touched.clear()
            read.begin(self.reader.read(known, since_ms))
        seen = read.take()
        return self._taken(seen) if seen is not None else None

    def check_equity(self, ours: float) -> None:
        """Nothing: a read compares wallets, and what differs is an event (bot/core/truth.py)."""

    # What the daemon asks besides.

    def prompted(self) -> bool:
        """Return whether the account should be read; `snapshot` sees that it is not too often."""
        return self.heard or bool(self.hot) or self.bar_waits()

    def bar_waits(self) -> bool:
        """Return whether a bar has ended and the account was not read since: the stops inside it
        come before the decision at its end (DESIGN section 3 rule 2)."""
        feed = self.bars_feed
        return feed is not None and self.account_ms < feed.end_ms <= self.clock.now()

    def due_for_upkeep(self) -> bool:
        """Return whether clock and contracts should be looked at again: between bars, where it
        holds up no order, unless the bar that is waited for does not come; soon after an order was
        refused, for the tick size may be another one."""
        passed_s = self.monotonic() - self.synced_at
        if self.refused and passed_s > REFUSED_S:
            return True
        feed = self.bars_feed
        between = feed is None or feed.begins_ms() - self.clock.now() > QUIET_MS
        return passed_s > (SYNC_S if between else 2.0 * SYNC_S)

    def follow(self, feed: BarFeed) -> None:
        """Let bars come; each waits for a read of the account that began after its end."""
        feed.account_ms = lambda: self.account_ms
        self.bars_feed = feed

    def next_ms(self) -> int:
        """Return when the feed of bars has something to do next."""
        now = self.clock.now()
        return self.bars_feed.next_ms(now) if self.bars_feed is not None else now + LATER_MS

    def take_errors(self) -> list[str]:
        """Return the kinds of errors since the last call."""
        return self.client.take_errors()

    def line(self) -> LineState:
        """Return how the line to the exchange is."""
        state, prompter = self.public.line(), self.prompter
        if prompter is None:
            return state
        pushed = prompter.pushed_s
        age_s = self.monotonic() - pushed if pushed > 0.0 else None
        return replace(state, pushing=prompter.connected, push_age_s=age_s)

    def while_waiting(self, call: Callable[[], None]) -> None:
        """Have `call` called about once a second while a read is waited for."""
        self.wire.waiting = call

    def idle(self) -> bool:
        """Return whether nothing is under way on the wire."""
        asked = self.bars_feed.asked.values() if self.bars_feed is not None else ()
        work = [self.read.pending, self.upkeep, *(question for question, _ in asked)]
        waiting = any(one is not None and not one.done() for one in work)
        return not (self.flying or self.cancelling or waiting)

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
            self.refused = self.refused or error.verdict.treat is Treat.REJECTED
            event = OrderRejected(self.clock.now(), name, str(error))
        except UnreachableError as error:
            event = OrderRejected(self.clock.now(), name, str(error), local=True)
        except (NoAnswerError, MalformedReplyError) as error:
            if isinstance(error, MalformedReplyError):
                self.client.errors.append(MALFORMED)
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
            gone = isinstance(error, RefusedError) and error.verdict.treat in GONE
            log.log(logging.DEBUG if gone else logging.INFO, "cancel %s: %s", wish.client_id, error)
        self._watch(wish.client_id)
        self.cancelling.discard(wish.client_id)
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

    def _taken(self, seen: Snapshot) -> Snapshot:
        """Return a finished read without its word on orders that a cancel was sent for after it had
        begun; forget the hot orders that it has answered for, or that are hot no more."""
        self.account_ms = self.asked_ms
        self.soon_s = min(2.0 * self.soon_s, LATER_S)
        oldest = self.monotonic() - HOT_S
        hot = self.hot  # an entry that the wire renews meanwhile is in another one, and stays
        for name, since in list(hot.items()):
            unasked = name not in seen.asked and since < self.read.began_s
            if unasked or since < oldest:
                hot.pop(name, None)
        return replace(seen, asked=tuple(n for n in seen.asked if n not in self.touched))

    def _longest_pause(self) -> float:
        """Return how long a read that failed may be put off, s: not for long while an order that
        was sent just now may have traded, because its position needs a stop."""
        newest = max(self.hot.values(), default=-math.inf)
        return URGENT_PAUSE_S if self.monotonic() - newest < URGENT_S else math.inf

    async def _keep_up(self) -> None:
        """Measure the clock, and see whether the contracts are still what we trade by."""
        try:
            await self.client.sync_clock()
            found = await read_contracts(self.client, [spec.symbol for spec in self.specs])
        except UnreachableError as error:
            log.info("%s", error)
            return
        for ours, theirs in zip(self.specs, found, strict=True):
            if theirs is not None and theirs.spec != ours:
                self.changed_s = self.monotonic()
                self.changed = f"contract {ours.symbol} was {ours} and is {theirs.spec}"
                self.wake()
