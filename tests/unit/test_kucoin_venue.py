"""What a read of the account is not believed about: orders that are under way while it is made; and
what becomes of an order by its answer."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from bot.adapters.kucoin import ContractsChangedError, KucoinVenue
from bot.adapters.kucoin_bars import BarFeed, Bars
from bot.adapters.kucoin_client import RefusedError
from bot.adapters.kucoin_errors import Treat, Verdict
from bot.adapters.kucoin_fields import MalformedReplyError
from bot.core.errors import NoAnswerError, UnreachableError
from bot.core.market import HOUR_MS, ContractSpec
from bot.core.messages import CancelOrder, OrderAccepted, OrderRejected, PlaceOrder, Role
from bot.core.observations import OutcomeUnknown
from bot.core.reconcile import Holding, Snapshot

SPEC = ContractSpec("BTC-USDT-PERP", 0.001, 0.1)
SENT = PlaceOrder("sent", 0, Role.ENTRY, 1, 1.0, 60_000.0, 2.0)


class Wire:
    """Begins nothing; the test gives the answers."""

    def __init__(self) -> None:
        self.begun: list[Future[Any]] = []

    def start(
        self, work: Coroutine[Any, Any, Any], wake: Callable[[], None] | None = None
    ) -> "Future[Any]":
        work.close()
        self.begun.append(Future())
        return self.begun[-1]

    def begin(self, work: Coroutine[Any, Any, Any]) -> "Future[Any]":
        return self.start(work)

    def wait(self, future: "Future[Any]", timeout_s: float) -> Any:
        return future.result(0.0)


class NoBars:
    """A source that is not asked."""

    def bars(self, symbol: int, from_ms: int, to_ms: int) -> "Future[Bars]":
        raise AssertionError

    def traded_ms(self, symbol: int) -> "Future[int]":
        raise AssertionError

    def name(self, symbol: int) -> str:
        raise AssertionError


class Desk:
    """A venue whose reads are written down."""

    def __init__(self) -> None:
        self.wire, self.asked = Wire(), [("",)]
        client: Any = SimpleNamespace(errors=[], send=self.send, cancel=self.note_cancel)
        client.sync_clock = self.note_sync
        self.cancelled: list[tuple[str, Any]] = []
        self.synced = 0
        self.sent_answer: object = None
        reader: Any = SimpleNamespace(
            read=self.read, order_ids={}, wires=("XBTUSDTM",), learn=lambda *_: None
        )
        self.now_ms = HOUR_MS
        clock: Any = SimpleNamespace(now=lambda: self.now_ms)
        wire: Any = self.wire
        self.venue = KucoinVenue(
            wire, client, reader, [SPEC], HOUR_MS, clock, monotonic=lambda: 100.0
        )

    def read(self, asked: tuple[str, ...], since_ms: int) -> Coroutine[Any, Any, None]:
        self.asked.append(asked)

        async def nothing() -> None: ...

        return nothing()

    async def send(self, call: str, body: Any, **_: Any) -> object:
        """Answer an order; an exception is raised."""
        if isinstance(self.sent_answer, Exception):
            raise self.sent_answer
        return self.sent_answer

    async def note_cancel(self, call: str, params: Any) -> None:
        self.cancelled.append((call.removeprefix("futuresPrivateDeleteOrders"), params))

    async def note_sync(self) -> None:
        self.synced += 1
        raise UnreachableError("one question is enough here")

    def look(self, *asked: str) -> Snapshot | None:
        return self.venue.snapshot(asked, 0, HOUR_MS)

    def answer(self) -> None:
        """Let the read end: the exchange knows neither order."""
        flat = (Holding(0, 0.0, 0.0),)
        seen = Snapshot(HOUR_MS, 100.0, flat, (), self.asked[-1], {}, (), ())
        self.venue.read.pending.set_result(seen)  # type: ignore[union-attr]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_an_order_without_its_answer_is_not_asked_for(desk: Desk) -> None:
    """The exchange may get it after the question: that it is not found says nothing."""
    desk.venue.submit(SENT, HOUR_MS)
    assert desk.look("sent", "other") is None
    assert desk.asked[-1] == ("other",)


def test_an_order_that_is_cancelled_during_a_read_is_not_told_by_it(desk: Desk) -> None:
    """The read may be older than the cancellation, and told of it the wish would end with it."""
    assert desk.look("cancelled", "other") is None
    desk.venue.cancel(CancelOrder("cancelled", 0), HOUR_MS)
    desk.answer()
    seen = desk.look("cancelled", "other")
    assert seen is not None
    assert seen.asked == ("other",)


ACCEPTED = {"orderId": "7"}
TOLD = [
    (ACCEPTED, OrderAccepted),
    ({"orderId": None}, OutcomeUnknown),
    (NoAnswerError("no usable answer"), OutcomeUnknown),
    (MalformedReplyError("a page"), OutcomeUnknown),
    (ZeroDivisionError("a mistake of ours"), OutcomeUnknown),
    (UnreachableError("no connection"), OrderRejected),
    (RefusedError(Verdict(Treat.REJECTED, "300003", "no money")), OrderRejected),
]


@pytest.mark.parametrize(("answer", "told"), TOLD)
def test_only_what_proves_that_an_order_is_not_there_is_a_refusal(
    desk: Desk, answer: object, told: type
) -> None:
    """One that is taken for refused and has traded is a position that nobody stops."""
    desk.sent_answer = answer
    asyncio.run(desk.venue._place(SENT))
    event = desk.venue.poll(HOUR_MS)
    assert type(event) is told
    if isinstance(event, OrderRejected):
        assert event.local is isinstance(answer, UnreachableError)


def test_an_order_is_cancelled_by_the_name_that_is_known(desk: Desk) -> None:
    """By ours where no answer came; KuCoin wants the contract with it."""
    wish = CancelOrder("sent", 0)
    asyncio.run(desk.venue._cancel(wish))
    desk.venue.reader.order_ids["sent"] = "7"
    asyncio.run(desk.venue._cancel(wish))
    assert desk.cancelled == [
        ("ClientOrderClientOid", {"clientOid": "sent", "symbol": "XBTUSDTM"}),
        ("OrderId", {"orderId": "7"}),
    ]


def test_the_clock_is_measured_again_and_again(desk: Desk) -> None:
    """The host's drifts within hours, and what is signed 5 s late is refused."""
    asyncio.run(desk.venue._keep_up())
    asyncio.run(desk.venue._keep_up())
    assert desk.synced == 2


def test_a_bar_is_not_decided_on_before_what_it_did_to_positions_was_read(desk: Desk) -> None:
    """A stop was hit inside it: the decision would be about a position that is gone."""
    feed = BarFeed(NoBars(), 1, HOUR_MS, 5_000, 1, HOUR_MS, HOUR_MS)
    desk.venue.follow(feed)
    desk.now_ms = feed.end_ms - 1
    desk.look()
    desk.answer()
    desk.look()
    feed.known_ms = [feed.end_ms]
    assert not feed.complete()
    assert not desk.venue.bar_waits()
    desk.now_ms = feed.end_ms
    assert desk.venue.bar_waits()
    desk.look()
    desk.answer()
    desk.look()
    assert feed.complete()
    assert not desk.venue.bar_waits()


def test_the_read_after_a_cancellation_tells_of_it(desk: Desk) -> None:
    desk.venue.cancel(CancelOrder("cancelled", 0), HOUR_MS)
    assert desk.look("cancelled") is None
    desk.answer()
    seen = desk.look("cancelled")
    assert seen is not None
    assert seen.asked == ("cancelled",)


def test_contracts_that_have_changed_end_the_bot_when_no_order_is_on_its_way(desk: Desk) -> None:
    """The entry trades after the process has ended, and its position has no stop."""
    venue = desk.venue
    venue.submit(SENT, HOUR_MS)
    venue.changed, venue.changed_s = "contract X", venue.monotonic()
    assert venue.poll(HOUR_MS) is None
    desk.sent_answer = ACCEPTED
    asyncio.run(venue._place(SENT))
    assert type(venue.poll(HOUR_MS)) is OrderAccepted
    assert venue.poll(HOUR_MS) is None  # what it has traded is not read yet
    venue.hot.clear()
    with pytest.raises(ContractsChangedError, match="contract X"):
        venue.poll(HOUR_MS)


def test_an_order_that_gets_no_answer_does_not_keep_a_bot_with_old_contracts(desk: Desk) -> None:
    desk.venue.submit(SENT, HOUR_MS)
    desk.venue.changed, desk.venue.changed_s = "contract X", desk.venue.monotonic() - 11.0
    with pytest.raises(ContractsChangedError, match="contract X"):
        desk.venue.poll(HOUR_MS)
