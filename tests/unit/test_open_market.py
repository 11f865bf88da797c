"""The simulated account on an open market: what follows from the bars and prices it is told."""

from dataclasses import replace

import pytest

from bot.core.market import HOUR_MS, MINUTE_MS, Bar
from bot.core.messages import (
    Event,
    FundingSettled,
    Liquidated,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    PlaceOrder,
)
from bot.sim.open_market import MOST_OWED, RATE_LAG_MS, OpenMarket
from tests.support.exchange_cases import BALANCE, BUY, COIN, EXIT, PARAMS, STOP

START = 1_704_067_200_000  # a full hour
NOW = START + 2_500
END = START + MINUTE_MS


def bar(low: float, high: float, close: float = 0.0) -> Bar:
    return Bar(close or low, high, low, close or low, 1.0)


def fill(event: Event | None) -> OrderFilled:
    assert isinstance(event, OrderFilled)
    return event


@pytest.fixture
def market() -> OpenMarket:
    return OpenMarket(replace(PARAMS, timeframe_ms=MINUTE_MS), [COIN], BALANCE, START)


def held(market: OpenMarket) -> OpenMarket:
    """Return the market with a long position of ten contracts, bought at 100, and its stop."""
    market.submit(BUY, NOW)
    market.quote(0, 100.0)
    assert isinstance(market.poll(NOW), OrderFilled)
    assert isinstance(market.submit(STOP, NOW), OrderAccepted)
    return market


def test_an_order_trades_at_the_first_price_after_it(market: OpenMarket) -> None:
    assert isinstance(market.submit(BUY, NOW), OrderAccepted)
    assert market.poll(NOW) is None
    assert market.waiting() == {0}
    market.quote(0, 100.0)
    event = market.poll(NOW + 90)
    assert (fill(event).price, fill(event).now_ms) == (pytest.approx(100.0, rel=1e-2), NOW + 90)
    assert market.waiting() == set()
    assert market.poll(NOW + 91) is None
    assert market.quotes == {}  # a price is for the orders that waited for it


@pytest.mark.parametrize("price", [0.0, 2.0 * BUY.price])
def test_an_entry_without_a_price_or_outside_its_limit_expires(
    market: OpenMarket, price: float
) -> None:
    market.submit(BUY, NOW)
    market.quote(0, price)
    assert market.poll(NOW) == OrderCancelled(NOW, BUY.client_id)
    assert market.records.finished[BUY.client_id].filled == 0.0


def test_an_exit_without_a_price_goes_on_waiting(market: OpenMarket) -> None:
    held(market).submit(EXIT, NOW)
    market.quote(0, 0.0)
    assert market.poll(NOW) is None
    assert market.waiting() == {0}
    market.quote(0, 99.0)
    assert fill(market.poll(NOW)).contracts == 10.0
    assert market.held() == []


def test_an_exit_whose_position_is_gone_is_cancelled(market: OpenMarket) -> None:
    held(market).submit(EXIT, NOW)
    market.begin(END, (bar(STOP.price - 1.0, 101.0),))
    assert fill(market.poll(END)).client_id == STOP.client_id
    market.quote(0, 99.0)
    assert market.poll(END) == OrderCancelled(END, EXIT.client_id)


def test_a_stop_is_hit_inside_the_bar_it_was_told_of_and_only_once(market: OpenMarket) -> None:
    held(market)
    bars = (bar(STOP.price - 1.0, 101.0, 100.5),)
    market.begin(END, bars)
    event = fill(market.poll(END + 2_000))
    assert (event.client_id, event.now_ms) == (STOP.client_id, END)
    wallet = market.exchange.ledger.wallet
    market.begin(END, bars)
    assert market.poll(END + 2_000) is None
    assert market.exchange.ledger.wallet == wallet
    assert market.past.seen == [END]


def test_nothing_is_told_of_a_time_before_the_newest_read(market: OpenMarket) -> None:
    """A bot asks for what is newer than its last read, and less an hour."""
    held(market)
    read_ms = END + 3 * HOUR_MS
    market.snapshot((), 0, read_ms)
    market.begin(END, (bar(STOP.price - 1.0, 101.0),))
    assert fill(market.poll(read_ms + 5)).now_ms == read_ms


def test_a_bar_that_is_missing_is_played_when_it_comes(market: OpenMarket) -> None:
    held(market)
    market.begin(END, (None,))
    assert market.poll(END) is None
    assert market.past.seen == [START]
    market.begin(END, (bar(STOP.price - 1.0, 101.0),))
    assert fill(market.poll(END)).client_id == STOP.client_id


def test_a_liquidation_takes_the_position(market: OpenMarket) -> None:
    held(market).exchange.book.remove(STOP.client_id)
    market.begin(END, (bar(1.0, 101.0),))
    assert isinstance(market.poll(END), Liquidated)
    assert market.held() == []


def test_funding_is_owed_for_the_hours_at_which_a_position_was_held(market: OpenMarket) -> None:
    held(market)
    market.begin(START + 3 * HOUR_MS, (bar(100.0, 101.0, 100.5),))
    assert market.poll(START + 3 * HOUR_MS) is None
    hours = [owed.hour_ms for owed in market.past.owed]
    assert hours == [START + n * HOUR_MS for n in (1, 2, 3)]  # opened after START: not that one
    market.submit(EXIT, NOW)
    market.quote(0, 100.0)
    assert isinstance(market.poll(START + 3 * HOUR_MS + 1), OrderFilled)
    wallet = market.exchange.ledger.wallet
    settled = START + 2 * HOUR_MS - 40  # as told, a little off
    market.rates(0, [(settled, 1e-4)], START + 3 * HOUR_MS + 60_000)
    event = market.poll(START + 3 * HOUR_MS + 2)
    amount = -10.0 * COIN.multiplier * 100.5 * 1e-4
    assert isinstance(event, FundingSettled)
    assert (event.symbol, event.amount) == (0, pytest.approx(amount))
    assert event.entry_id == f"funding-0-{START + 2 * HOUR_MS}"
    assert market.exchange.ledger.wallet == pytest.approx(wallet + amount)
    assert market.poll(START + 3 * HOUR_MS + 3) is None
    assert [owed.hour_ms for owed in market.past.owed] == [START + 3 * HOUR_MS]  # may still come


def test_an_hour_whose_rate_never_comes_was_none_of_funding(market: OpenMarket) -> None:
    held(market)
    market.passed(0, START + HOUR_MS)
    market.rates(0, [], START + HOUR_MS + RATE_LAG_MS - 1)
    assert len(market.past.owed) == 1
    market.rates(0, [], START + HOUR_MS + RATE_LAG_MS)
    assert market.past.owed == []


def test_what_is_owed_is_bounded(market: OpenMarket) -> None:
    held(market).passed(0, START + 2 * MOST_OWED * HOUR_MS)
    assert len(market.past.owed) == MOST_OWED


def test_what_is_owed_and_what_was_seen_survives(market: OpenMarket) -> None:
    held(market).passed(0, START + 2 * HOUR_MS)
    again = OpenMarket(market.exchange.params, [COIN], 0.0, START)
    again.restore(market.dump(), None)
    again.restore_past(market.dump_past(), NOW)
    assert again.past == market.past
    assert again.exchange.ledger.held == market.exchange.ledger.held
    assert again.played_ms(0) == START + 2 * HOUR_MS
    assert OpenMarket(market.exchange.params, [COIN], 0.0, START).played_ms(NOW) == NOW


def test_client_ids_are_used_once(market: OpenMarket) -> None:
    order: PlaceOrder = BUY
    market.submit(order, NOW)
    market.quote(0, 0.0)
    market.poll(NOW)
    assert "already exists" in getattr(market.submit(order, NOW), "message", "")
