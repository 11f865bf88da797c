"""Answers to orders and cancellations, and frames of the socket, spoiled at random.

An order becomes accepted under its own id, rejected or unknown: accepted only by an answer that
names it, rejected only by a refusal. Whatever comes over the socket harms nothing.
"""

from types import SimpleNamespace
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot.adapters.kucoin import KucoinVenue
from bot.adapters.kucoin_account import AccountReader
from bot.adapters.kucoin_client import KucoinClient
from bot.adapters.kucoin_prompt import PING_MS, Prompter, ping_ms
from bot.core.errors import UnreachableError
from bot.core.market import HOUR_MS
from bot.core.messages import CancelOrder, Event, OrderAccepted, OrderRejected, PlaceOrder, Role
from bot.core.observations import OutcomeUnknown
from bot.core.specs import BUILTIN
from tests.support.broken_replies import BROKEN, CLIENT, answering, broken, good, result
from tests.support.kucoin_samples import ANYTHING, JUNK

BTC = "BTC-USDT-PERP"
ID, NAME = "5bd6e9286d99522a52e458de", "t-1-entry"
PLACED = good({"orderId": ID, "clientOid": NAME})
REFUSED = {"code": "300003", "msg": "Balance insufficient"}
CANCELLED = good({"cancelledOrderIds": [ID]})
ORDER, CANCEL = "POST /api/v1/orders", f"DELETE /api/v1/orders/{ID}"
ORDERS = {
    Role.ENTRY: PlaceOrder(NAME, 0, Role.ENTRY, 1, 1.0, 60_000.0, 2.0),
    Role.STOP: PlaceOrder(NAME, 0, Role.STOP, -1, 1.0, 60_000.0, 1.0),
    Role.EXIT: PlaceOrder(NAME, 0, Role.EXIT, -1, 1.0, 0.0, 1.0),
}
REPLIES = st.sampled_from(JUNK) | ANYTHING


def venue(client: KucoinClient, woken: list[str]) -> KucoinVenue:
    reader = AccountReader(client, [BTC], client.clock, 0)
    wire: Any = SimpleNamespace()  # nothing is started: the coroutines are called
    return KucoinVenue(
        wire, client, reader, [BUILTIN[BTC]], HOUR_MS, client.clock, wake=lambda: woken.append("")
    )


def place(reply: Any, role: Role = Role.ENTRY) -> tuple[Event, dict[str, str]]:
    """Return what a reply makes of an order, and which ids were learnt from it."""

    async def placed() -> tuple[Event, dict[str, str]]:
        async with answering({ORDER: reply}) as client:
            woken: list[str] = []
            made = venue(client, woken)
            made.flying.add(NAME)
            await made._place(ORDERS[role])
            assert client.ccxt.session.asked == [ORDER]  # once, whatever comes of it
            assert (woken, made.flying) == ([""], set())
            [event] = made.answers
            # An answer without sense is counted; a bug of ours would not be.
            assert client.errors or not isinstance(event, OutcomeUnknown)
            return event, made.reader.order_ids

    return result(placed())


def cancel(reply: Any) -> None:
    """Cancel an order and see that the account is read for what came of it."""

    async def cancelled() -> None:
        async with answering({CANCEL: reply}) as client:
            woken: list[str] = []
            made = venue(client, woken)
            made.reader.learn(NAME, ID)
            made.cancelling.add(NAME)
            await made._cancel(CancelOrder(NAME, 0))
            assert client.ccxt.session.asked == [CANCEL]
            assert (woken, made.cancelling, made.heard) == ([""], set(), True)
            assert made.reader.order_ids == {NAME: ID}
            assert not made.answers  # an order is gone when a read says so, and not before

    result(cancelled())


def test_the_untouched_answers_are_the_truth() -> None:
    for role in ORDERS:
        event, learnt = place(PLACED, role)
        assert isinstance(event, OrderAccepted)
        assert learnt == {NAME: ID}
    assert isinstance(place(REFUSED)[0], OrderRejected)
    cancel(CANCELLED)


@settings(max_examples=300)
@given(broken(PLACED), st.sampled_from(list(ORDERS)))
def test_a_broken_answer_to_an_order_accepts_it_as_itself_or_says_nothing(
    reply: Any, role: Role
) -> None:
    event, learnt = place(reply, role)
    assert getattr(event, "client_id", "") == NAME
    if isinstance(event, OrderAccepted):
        assert reply["code"] == "200000"
        assert reply["data"].get("clientOid") in (None, NAME)
        assert learnt == {NAME: reply["data"]["orderId"]}
        assert learnt[NAME] in (ID, "1_0")  # a text like any other is an id
    else:
        assert isinstance(event, OutcomeUnknown), event
        assert learnt == {}


@settings(max_examples=100)
@given(st.text(min_size=1, max_size=30) | st.sampled_from(["t-2-entry", f"{NAME} ", NAME.upper()]))
def test_an_answer_to_another_order_is_none_to_this(name: str) -> None:
    event, learnt = place(good({"orderId": ID, "clientOid": name}))
    assert isinstance(event, OrderAccepted if name == NAME else OutcomeUnknown)
    assert learnt == ({NAME: ID} if name == NAME else {})


@settings(max_examples=200)
@given(broken(REFUSED))
def test_a_broken_refusal_refuses_or_says_nothing(reply: Any) -> None:
    event, learnt = place(reply)
    if isinstance(event, OrderRejected):
        assert reply["code"] == REFUSED["code"]
        assert not event.local
        assert isinstance(reply["msg"], str)
    else:
        assert isinstance(event, OutcomeUnknown)
    assert learnt == {}


@settings(max_examples=200)
@given(REPLIES)
def test_nonsense_in_place_of_an_answer_to_an_order_says_nothing(junk: Any) -> None:
    for reply in (junk, good(junk), {"code": junk, "data": PLACED["data"]}):
        event, learnt = place(reply)
        assert isinstance(event, OutcomeUnknown), (reply, event)
        assert learnt == {}


@settings(max_examples=200)
@given(broken(CANCELLED) | broken(REFUSED) | REPLIES)
def test_whatever_comes_of_a_cancellation_is_read(reply: Any) -> None:
    cancel(reply)


class Socket:
    """A socket that may be rejected."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self.subscriptions = {"1": "hash", "hash": {"id": "1"}}
        self.url = "wss://somewhere/?connectId=private"
        self.keepAlive = PING_MS
        self.lastPong = 0

    def reject(self, error: Exception) -> None:
        self.errors.append(error)


FRAMES: list[dict[str, Any]] = [
    {"id": "1", "type": "welcome"},
    {"id": "1", "type": "ack"},
    {"id": "1", "type": "pong", "timestamp": 1729163001780},
    {"id": "1", "type": "error", "code": 404, "data": "topic is not found"},
    {
        "type": "message",
        "topic": "/contractMarket/tradeOrders",
        "subject": "symbolOrderChange",
        "userId": "1",
        "channelType": "private",
        "data": {"symbol": "XBTUSDTM", "status": "done", "filledSize": "1", "orderId": ID},
    },
]
ODD: list[dict[str, Any]] = [{"result": False}, {"T": "x"}, {"type": "welcome", "pingInterval": -1}]


def hear(frame: Any) -> tuple[int, Socket, Prompter]:
    """Return how often a frame prompts, the socket it came over, and the prompter."""
    prompts: list[str] = []
    prompter = Prompter(CLIENT, lambda: prompts.append(""), monotonic=lambda: 7.0)
    socket = Socket()
    prompter._message(socket, frame)
    return len(prompts), socket, prompter


def test_the_untouched_frames_are_understood() -> None:
    assert [hear(frame)[0] for frame in FRAMES] == [0, 1, 0, 0, 1]
    assert [len(hear(frame)[1].errors) for frame in FRAMES] == [0, 0, 0, 1, 0]


@settings(max_examples=300)
@given(st.sampled_from([*FRAMES, *ODD]).flatmap(broken) | REPLIES | st.sampled_from(BROKEN))
@example(ODD[0])
@example(ODD[1])
@example(ODD[2])
def test_a_frame_prompts_or_ends_the_socket_or_is_nothing(frame: Any) -> None:
    """An exception would end ccxt's loop that receives, and nobody would be told."""
    prompts, socket, prompter = hear(frame)
    kind = frame.get("type") if isinstance(frame, dict) else None
    assert prompts == (kind in ("message", "ack") if isinstance(kind, str) else 0)
    assert [type(error) for error in socket.errors] == [UnreachableError] * (kind == "error")
    assert prompter.connected is (kind != "error")
    assert prompter.heard_s == 7.0
    assert socket.keepAlive == PING_MS


@settings(max_examples=100)
@given(st.none() | st.integers() | st.sampled_from([0, -1, 1, 20, 10**30]))
def test_a_socket_is_pinged_as_often_as_makes_sense(interval: Any) -> None:
    assert 0 < ping_ms(interval) <= PING_MS
