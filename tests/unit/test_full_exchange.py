"""Profile `tick` with the orders that people send: resting, conditional, market, against."""

from dataclasses import replace
from typing import Any

import pytest

from bot.core.messages import (
    Event,
    Liquidated,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    PlaceOrder,
    Role,
)
from bot.core.observations import Takeover
from bot.sim.full_exchange import FullExchange, Terms, Trigger
from bot.sim.ticks import Quote
from tests.support.exchange_cases import BALANCE, BUY, COIN, EXIT, PARAMS, STOP, T, filled

MARKET = replace(BUY, price=0.0)
REST = Terms(rests=True)
ABOVE, BELOW = Trigger(True, 102.0, True), Trigger(False, 98.0, True)


class Watch:
    """A watcher that writes everything down."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def quoted(self, quote: Quote) -> None:
        self.heard.append(quote.last)

    def triggered(self, client_id: str, now: int) -> None:
        self.heard.append((client_id, now))


def exchange(depth: int = 100, *, latency: int = 0) -> FullExchange:
    """Return an empty account in a market that stands at 100, at time T."""
    made = FullExchange(
        PARAMS,
        [COIN],
        BALANCE,
        seed=1,
        latency_ms=(latency, latency),
        depth=depth,
        watcher=Watch(),
    )
    return quoted(made, T, 100.0)


def quoted(made: FullExchange, ms: int, last: float, mark: float = 0.0) -> FullExchange:
    made.load([Quote(ms, 0, last, mark or last)])
    return made


def sent(made: FullExchange, order: PlaceOrder, terms: Terms = REST) -> list[Event]:
    """Send an order now and return what happens at once."""
    list(made.advance(made.now_ms or T))
    made.send(order, terms, made.now_ms)
    return list(made.advance(made.now_ms))


def moved(made: FullExchange, last: float, mark: float = 0.0) -> list[Event]:
    """Let the market move a millisecond later and return what happens."""
    at = made.now_ms + 1
    return list(quoted(made, at, last, mark).advance(at))


def test_a_market_order_walks_the_levels_up_to_its_band() -> None:
    made = exchange(depth=1)
    events = sent(made, replace(MARKET, contracts=50.0), Terms())
    prices = [price for _, _, price in filled(events)]
    assert prices[0] == 100.1
    assert 104.5 < prices[-1] <= 105.0
    assert isinstance(events[-1], OrderCancelled)


def test_a_market_order_pays_for_itself_at_the_market_price() -> None:
    made = exchange()
    assert isinstance(sent(made, replace(MARKET, contracts=100.0), Terms())[0], OrderRejected)
    # 95 contracts need 950 of 1,000 at 100 and 997.5 at the end of the band
    assert filled(sent(made, replace(MARKET, client_id="x", contracts=95.0), Terms()))


def test_a_limit_order_takes_what_it_can_and_rests() -> None:
    made = exchange(depth=4)
    assert filled(sent(made, replace(BUY, price=100.3))) == [
        ("1-entry", 4.0, 100.1),
        ("1-entry", 4.0, 100.3),
    ]
    assert made.book.left == {"1-entry": 2.0}
    assert made.reserved_margin() == pytest.approx(2 * 100.3 / 10)
    assert moved(made, 100.3) == []
    [fill] = moved(made, 100.2)
    assert isinstance(fill, OrderFilled)
    assert (fill.contracts, fill.price) == (2.0, 100.3)
    assert fill.fee == pytest.approx(2 * 100.3 * PARAMS.maker_fee)
    assert made.reserved_margin() == 0.0
    assert (made.terms, made.transit) == ({}, {})


def test_margin_that_resting_orders_keep_is_not_there_for_others() -> None:
    made = exchange()
    sent(made, replace(BUY, contracts=60.0, price=95.0))
    [refused] = sent(made, replace(BUY, client_id="2", contracts=50.0, price=95.0))
    assert isinstance(refused, OrderRejected)
    assert "300003" in refused.message
    assert len(sent(made, replace(BUY, client_id="3", contracts=45.0, price=95.0))) == 1


def test_a_resting_order_is_limited_by_the_depth() -> None:
    made = exchange(depth=7)
    sent(made, replace(BUY, price=99.0))
    assert filled(moved(made, 98.0)) == [("1-entry", 7.0, 99.0)]
    assert filled(moved(made, 98.0)) == [("1-entry", 3.0, 99.0)]


SELL = replace(BUY, client_id="2", side=-1, price=99.0, contracts=15.0)


def signed(made: FullExchange) -> float:
    """Return what is held, contracts, negative for a short."""
    return made.ledger.held[0].side * made.ledger.held[0].contracts


def test_a_resting_order_that_meets_a_position_turns_it_around() -> None:
    made = exchange()
    sent(made, replace(SELL, price=102.0))
    sent(made, BUY, Terms())
    assert made.reserved_margin() == pytest.approx(5 * 102.0 / 10)
    assert filled(moved(made, 102.1)) == [("2", 15.0, 102.0)]
    assert signed(made) == -5.0


@pytest.mark.parametrize("price", [0.0, 99.5])
def test_an_order_against_the_position_opens_another_with_the_rest(price: float) -> None:
    made = exchange()
    sent(made, BUY, Terms())
    wallet = made.ledger.wallet
    made.now_ms += 7
    [accepted, fill] = sent(made, replace(SELL, price=price, leverage=5.0), Terms())
    assert isinstance(accepted, OrderAccepted)
    assert isinstance(fill, OrderFilled)
    assert (fill.contracts, fill.price) == (15.0, 99.9)
    assert fill.fee == pytest.approx(15 * 99.9 * PARAMS.taker_fee)
    assert made.ledger.wallet == pytest.approx(wallet - 10 * 0.2 - fill.fee)
    held = made.ledger.held[0]
    assert (held.side, held.contracts, held.entry_price) == (-1, 5.0, 99.9)
    assert (held.leverage, held.opened_ms) == (5.0, T + 7)
    assert made.ledger.liquidation_price(0) > 110.0


def test_an_order_turns_a_position_around_in_parts() -> None:
    made = exchange(depth=6)
    sent(made, replace(BUY, contracts=6.0), Terms())
    assert filled(sent(made, replace(SELL, price=0.0), Terms())) == [
        ("2", 6.0, 99.8),
        ("2", 6.0, 99.7),
        ("2", 3.0, 99.6),
    ]
    assert signed(made) == -9.0


def test_what_only_reduces_never_turns_a_position_around() -> None:
    made = exchange()
    sent(made, BUY, Terms())
    made.submit(replace(EXIT, contracts=15.0), T)
    assert filled(list(made.advance(T))) == [("2-exit", 10.0, 99.9)]
    assert signed(made) == 0.0


def test_reduce_only_orders_go_with_a_position_that_is_turned_around() -> None:
    made = exchange()
    sent(made, BUY, Terms())
    made.submit(STOP, T)
    sent(made, replace(EXIT, client_id="profit"), Terms(trigger=ABOVE))
    sent(made, replace(EXIT, client_id="t", role=Role.TARGET, price=103.0))
    sent(made, replace(SELL, client_id="more", price=104.0))
    events = sent(made, SELL, Terms())
    gone = [event.client_id for event in events if isinstance(event, OrderCancelled)]
    assert gone == ["3-stop", "t", "profit"]
    assert list(made.book.orders) == ["more"]
    assert made.waiting == {}
    [refused] = sent(made, replace(EXIT, client_id="late"))
    assert isinstance(refused, OrderRejected)
    assert "300009" in refused.message


def test_only_what_opens_a_position_needs_margin() -> None:
    made = exchange()
    sent(made, replace(BUY, contracts=50.0), Terms())
    free = made.ledger.free_margin()  # some 496 of 1,000
    [refused] = sent(made, replace(SELL, contracts=102.0), Terms())
    assert isinstance(refused, OrderRejected)
    assert "300003" in refused.message
    sent(made, replace(SELL, price=103.0, contracts=30.0))
    assert made.reserved_margin() == 0.0
    sent(made, replace(SELL, client_id="3", price=103.0, contracts=30.0))
    assert made.reserved_margin() == pytest.approx(10 * 103.0 / 10)
    [refused] = sent(made, replace(SELL, client_id="4", contracts=41.0), Terms())
    assert isinstance(refused, OrderRejected)  # the others have taken what there was to close
    assert filled(sent(made, replace(SELL, client_id="5", contracts=30.0), Terms()))
    assert made.reserved_margin() == pytest.approx(40 * 103.0 / 10)
    assert made.ledger.free_margin() > free


def test_a_resting_order_whose_margin_has_gone_is_cancelled() -> None:
    made = exchange(depth=1_000)
    sent(made, replace(BUY, contracts=60.0), Terms())
    sent(made, replace(SELL, price=102.0, contracts=60.0))
    made.submit(replace(EXIT, contracts=60.0), T)
    sent(made, replace(BUY, client_id="x", contracts=30.0, price=99.0))
    made.ledger.wallet -= 500.0
    assert moved(made, 102.1) == [OrderCancelled(T + 1, "2")]
    assert (signed(made), list(made.book.orders), list(made.terms)) == (0.0, ["x"], ["x"])


def test_a_position_that_appears_while_an_order_is_on_its_way_is_turned_around() -> None:
    made = exchange(latency=50)
    list(made.advance(T))
    made.send(SELL, Terms(), T)
    made.ledger.increase(0, 1, 4.0, 100.0, 10.0, T)
    assert filled(list(made.advance(T + 50))) == [("2", 15.0, 99.9)]
    assert signed(made) == -11.0


def test_post_only_is_cancelled_rather_than_take() -> None:
    made = exchange()
    only = Terms(rests=True, post_only=True)
    assert [type(e) for e in sent(made, replace(BUY, price=100.1), only)] == [
        OrderAccepted,
        OrderCancelled,
    ]
    assert [type(e) for e in sent(made, replace(BUY, price=100.0), only)] == [OrderAccepted]


@pytest.mark.parametrize(
    ("trigger", "last", "mark", "reached"),
    [
        (ABOVE, 103.0, 101.9, False),
        (ABOVE, 101.0, 102.0, True),
        (ABOVE._replace(on_mark=False), 102.0, 101.0, True),
        (BELOW, 97.0, 98.1, False),
        (BELOW, 99.0, 98.0, True),
        (BELOW._replace(on_mark=False), 98.1, 90.0, False),
    ],
)
def test_a_condition_is_on_the_price_it_names(
    trigger: Trigger, last: float, mark: float, reached: bool
) -> None:
    made = exchange()
    assert [type(e) for e in sent(made, MARKET, Terms(trigger=trigger))] == [OrderAccepted]
    assert made.book.orders == {}
    events = moved(made, last, mark)
    assert bool(filled(events)) is reached
    assert made.watcher.heard == [  # type: ignore[attr-defined]
        100.0,
        *([("1-entry", T + 1)] if reached else []),
        last,
    ]


def test_a_condition_that_holds_already_triggers_at_once() -> None:
    made = exchange()
    events = sent(made, MARKET, Terms(trigger=Trigger(True, 100.0, True)))
    assert [type(e) for e in events] == [OrderAccepted, OrderAccepted, OrderFilled]


def test_a_conditional_order_may_be_refused_when_its_time_has_come() -> None:
    made = exchange()
    sent(made, replace(MARKET, contracts=500.0), Terms(trigger=ABOVE))
    [refused] = moved(made, 102.0)
    assert isinstance(refused, OrderRejected)
    assert (made.waiting, made.terms, made.transit) == ({}, {}, {})


def test_a_conditional_order_can_be_cancelled() -> None:
    made = exchange()
    sent(made, MARKET, Terms(trigger=ABOVE))
    made.cancel("1-entry", T)
    assert list(made.advance(T)) == [OrderCancelled(T, "1-entry")]
    assert moved(made, 110.0) == []
    assert made.terms == {}


def test_conditional_exits_go_with_their_position_and_entries_stay() -> None:
    made = exchange()
    sent(made, BUY, Terms())
    sent(made, replace(EXIT, client_id="profit"), Terms(trigger=ABOVE))
    sent(made, replace(BUY, client_id="more"), Terms(trigger=ABOVE))
    made.submit(EXIT, made.now_ms)
    events = list(made.advance(made.now_ms))
    assert events[-1] == OrderCancelled(T, "profit")
    assert list(made.waiting) == ["more"]


def test_a_conditional_exit_needs_a_position() -> None:
    [refused] = sent(exchange(), EXIT, Terms(trigger=BELOW))
    assert isinstance(refused, OrderRejected)
    assert "300009" in refused.message


def test_a_stop_tells_once_that_it_was_triggered() -> None:
    made = exchange(depth=6)
    sent(made, replace(BUY, contracts=6.0), Terms())
    made.submit(replace(STOP, contracts=6.0), T)
    made.depth = 4.0
    moved(made, 98.0)
    moved(made, 97.0)
    heard = made.watcher.heard  # type: ignore[attr-defined]
    assert heard == [100.0, ("3-stop", T + 1), 98.0, 97.0]
    assert made.ledger.held[0].side == 0


def test_a_halted_symbol_stands_still() -> None:
    made = exchange()
    sent(made, BUY, Terms())
    made.submit(STOP, T)
    made.halted.add(0)
    assert [type(e) for e in moved(made, 50.0)] == [OrderAccepted]
    assert (made.last, made.ledger.marks) == ([100.0], [100.0])


def test_what_arrives_in_a_market_that_stands_still_does_not_trade() -> None:
    made = exchange()
    sent(made, BUY, Terms())
    made.halted.add(0)
    heard = [type(e) for e in sent(made, replace(BUY, client_id="9-entry"), Terms())]
    assert heard == [OrderAccepted, OrderCancelled]
    assert [type(e) for e in sent(made, EXIT, Terms())] == [OrderAccepted]
    made.halted.discard(0)
    assert [type(e) for e in moved(made, 100.0)] == [OrderFilled]


@pytest.mark.parametrize("terms", [None, Terms(), Terms(rests=True), Terms(trigger=BELOW)])
def test_what_arrives_after_a_contract_has_ended_is_refused(terms: Terms | None) -> None:
    made = exchange()
    moved(made, 100.0)
    if terms is None:
        made.submit(BUY, T)
    else:
        made.send(BUY, terms, T)
    made.settle(0)
    [refused] = made.advance(T + 1)
    assert isinstance(refused, OrderRejected)
    assert "200003" in refused.message
    assert (made.ledger.held[0].side, made.transit, made.terms) == (0, {}, {})


def test_a_contract_that_ends_is_settled_at_the_mark_without_a_fee() -> None:
    made = exchange()
    sent(made, BUY, Terms())
    made.submit(STOP, T)
    moved(made, 100.0, 99.0)
    wallet = made.ledger.wallet
    made.settle(0)
    settled, gone = made.advance(made.now_ms)
    assert isinstance(settled, Liquidated)
    assert (settled.contracts, settled.price, settled.fee) == (10.0, 99.0, 0.0)
    assert settled.way is Takeover.SETTLEMENT
    assert gone == OrderCancelled(made.now_ms, "3-stop")
    assert made.ledger.wallet == pytest.approx(wallet + 10 * (99.0 - 100.1))
    made.settle(0)
    assert list(made.advance(made.now_ms)) == []


def test_the_bots_orders_fare_as_in_profile_tick() -> None:
    def run(with_terms: bool) -> list[Event]:
        made = exchange(depth=4, latency=3)
        for order in (replace(BUY, price=100.3), replace(EXIT, contracts=2.0), STOP):
            if with_terms and order.role is Role.ENTRY:
                made.send(order, Terms(), T)
            else:
                made.submit(order, T)
        for i, last in enumerate((100.0, 99.0, 98.0, 97.0, 97.0), start=4):
            quoted(made, T + i, last)
        return list(made.advance(T + 20))

    assert len(run(True)) > 6
    assert run(True) == run(False)
