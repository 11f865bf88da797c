"""The simulated exchange in profile `bar`: what it accepts, what fills when and at which price."""

from dataclasses import replace

import pytest

from bot.core.errors import InvariantError
from bot.core.market import Bar
from bot.core.messages import (
    Event,
    FundingSettled,
    Liquidated,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    PlaceOrder,
)
from bot.sim.exchange import BarExchange
from bot.sim.ledger import Ledger
from tests.support.exchange_cases import (
    BALANCE,
    BUY,
    COIN,
    EXIT,
    PARAMS,
    REFUSALS,
    SHORT,
    STOP,
    TARGET,
    T,
    filled,
    flat_bar,
    mirrored,
    row,
)


@pytest.mark.parametrize(("order", "text"), REFUSALS)
def test_bar_refuses(order: PlaceOrder, text: str) -> None:
    answer = BarExchange(PARAMS, [COIN], BALANCE).submit(order, T)
    assert isinstance(answer, OrderRejected)
    assert text in answer.message


def test_an_id_that_is_on_the_book_is_refused() -> None:
    exchange = BarExchange(PARAMS, [COIN], BALANCE)
    assert exchange.submit(BUY, T) == OrderAccepted(T, "1-entry")
    assert exchange.submit(BUY, T) == OrderRejected(T, "1-entry", "clientOid already exists")


def test_margin_in_use_is_not_free() -> None:
    exchange = BarExchange(PARAMS, [COIN, COIN], 150.0)
    enter_at_open(exchange, 100.0)  # ties up 100.1
    other = replace(BUY, client_id="9-entry", symbol=1, contracts=5.0)  # needs 50.5
    assert isinstance(exchange.submit(other, T), OrderRejected)
    assert isinstance(exchange.submit(replace(other, contracts=4.0), T), OrderAccepted)


def test_an_entry_never_reduces() -> None:
    ledger = Ledger(PARAMS, [COIN], BALANCE)
    ledger.increase(0, 1, 10.0, 100.0, 10.0, T)
    with pytest.raises(InvariantError, match="side -1 met a position on 1"):
        ledger.increase(0, -1, 5.0, 100.0, 10.0, T)


def enter_at_open(exchange: BarExchange, price: float, order: PlaceOrder = BUY) -> list[Event]:
    exchange.begin_bar(row(flat_bar(price), flat_bar(price)))
    exchange.submit(order, T)
    return list(exchange.trade_at_open(T))


def protected_bar_exchange(order: PlaceOrder = BUY) -> BarExchange:
    """Return an account with 10 contracts from 100 (a tick worse), under stop and target."""
    exchange = BarExchange(PARAMS, [COIN], BALANCE)
    enter_at_open(exchange, 100.0, order)
    for protection in (STOP, TARGET):
        exchange.submit(protection if order.side == 1 else mirrored(protection), T)
    return exchange


def test_bar_entry_pays_slippage_and_fee_at_the_open() -> None:
    exchange = BarExchange(PARAMS, [COIN], BALANCE)
    [fill] = enter_at_open(exchange, 100.0)
    paid = 10 * 100.1 * PARAMS.taker_fee
    assert fill == OrderFilled(T, "1-entry", "f1", 10.0, 100.1, paid, symbol=0, side=1)
    assert exchange.ledger.wallet == BALANCE - 10 * 100.1 * PARAMS.taker_fee
    assert exchange.book.orders == {}


@pytest.mark.parametrize(("order", "open_"), [(BUY, 101.0), (SHORT, 99.0)])
def test_bar_entry_expires_beyond_its_limit(order: PlaceOrder, open_: float) -> None:
    exchange = BarExchange(PARAMS, [COIN], BALANCE)
    assert enter_at_open(exchange, open_, order) == [OrderCancelled(T, "1-entry")]
    assert exchange.ledger.wallet == BALANCE


def test_bar_entry_expires_where_there_is_no_bar() -> None:
    exchange = BarExchange(PARAMS, [COIN], BALANCE)
    exchange.submit(BUY, T)
    exchange.begin_bar(None)
    assert list(exchange.trade_at_open(T)) == [OrderCancelled(T, "1-entry")]


def test_bar_exit_waits_for_a_bar_and_fills_whole_at_its_open() -> None:
    exchange = protected_bar_exchange()
    exchange.submit(EXIT, T)
    exchange.begin_bar(row(None))
    assert list(exchange.trade_at_open(T)) == []
    exchange.begin_bar(row(flat_bar(102.0)))
    assert filled([*exchange.trade_at_open(T)]) == [("2-exit", 10.0, 101.8)]
    assert exchange.ledger.held[0].side == 0


INSIDE = [
    # what the bar does, and what it does to a long from 100.1 with stop 98 and target 104
    (Bar(100.0, 104.0, 98.1, 100.0, 1.0), []),
    (Bar(100.0, 104.1, 99.0, 104.0, 1.0), [("4-target", 10.0, 104.0)]),
    (Bar(105.0, 106.0, 99.0, 100.0, 1.0), [("4-target", 10.0, 105.0)]),
    (Bar(100.0, 101.0, 98.0, 100.0, 1.0), [("3-stop", 10.0, 97.9)]),
    (Bar(97.0, 101.0, 96.0, 100.0, 1.0), [("3-stop", 10.0, 96.9)]),
    (Bar(100.0, 110.0, 90.9, 100.0, 1.0), [("3-stop", 10.0, 97.9)]),
]


@pytest.mark.parametrize(("bar", "fills"), INSIDE)
def test_bar_triggers_inside(bar: Bar, fills: list[tuple[str, float, float]]) -> None:
    exchange = protected_bar_exchange()
    assert filled(list(exchange.end_bar(row(bar), T))) == fills


def test_bar_that_opens_beyond_the_liquidation_price_liquidates() -> None:
    exchange = protected_bar_exchange()
    # margin 1/10, maintenance 1 %, fee 0.06 %: liquidated at 8.94 % below 100.1, settled at 10 %
    [event] = exchange.end_bar(row(Bar(91.0, 91.0, 90.0, 90.0, 1.0)), T)
    assert isinstance(event, Liquidated)
    assert (event.symbol, event.contracts) == (0, 10.0)
    assert event.price == pytest.approx(90.09)
    assert exchange.ledger.held[0].side == 0


def test_bar_the_nearest_of_two_stops_triggers() -> None:
    exchange = protected_bar_exchange()
    exchange.submit(replace(STOP, client_id="5-stop", price=99.0), T)
    bar = Bar(100.0, 100.0, 97.0, 97.0, 1.0)
    assert filled(list(exchange.end_bar(row(bar), T))) == [("5-stop", 10.0, 98.9)]


def test_bar_funding_is_for_who_held_before_it() -> None:
    exchange = protected_bar_exchange()  # opened at T
    bar = flat_bar(100.0)
    funding = ((0, T, 0.001), (0, T + 1, 0.001))
    [event] = exchange.end_bar(row(bar, funding=funding), T)
    assert event == FundingSettled(T, 0, -10 * 100.0 * 0.001, f"funding-0-{T + 1}")


def test_bar_cancel_answers_once() -> None:
    exchange = protected_bar_exchange()
    assert exchange.cancel("3-stop", T) == OrderCancelled(T, "3-stop")
    assert exchange.cancel("3-stop", T) is None
