"""The simulated exchange in profile `tick`: latency, depth, marks and races."""

from dataclasses import replace
from itertools import islice

import pytest

from bot.core.errors import InputError, InvariantError
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
from bot.sim.tick_exchange import TickExchange
from bot.sim.ticks import Quote
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
    mirrored,
    moved,
    tick_exchange,
)


@pytest.mark.parametrize(("order", "text"), REFUSALS)
def test_tick_refuses(order: PlaceOrder, text: str) -> None:
    exchange = tick_exchange()
    exchange.submit(order, T)
    [answer] = exchange.advance(T)
    assert isinstance(answer, OrderRejected)
    assert text in answer.message
    assert exchange.book.orders == {}


def holding(
    *orders: PlaceOrder, depth: int = 100, entry: PlaceOrder = BUY, seed: int = 1
) -> tuple[TickExchange, list[Event]]:
    """Return an account with 10 contracts from 100 (a tick worse) under the orders given, at T.

    The market has been quoted anew since, so its whole depth is there.
    """
    exchange = tick_exchange(seed=seed)
    exchange.submit(entry, T)
    list(exchange.advance(T))
    exchange.depth = float(depth)
    moved(exchange, T, 100.0)
    for order in orders:
        exchange.submit(order, T)
    events = list(exchange.advance(T))
    assert exchange.ledger.held[0].contracts == 10.0
    return exchange, events


@pytest.mark.parametrize(
    "wrong",
    [
        {"latency_ms": (5, 1)},
        {"latency_ms": (-1, 1)},
        {"depth": 0},
        {"params": replace(PARAMS, reference=1)},
    ],
    ids=str,
)
def test_tick_exchange_that_makes_no_sense_cannot_be_built(wrong: dict[str, object]) -> None:
    right: dict[str, object] = {"params": PARAMS, "latency_ms": (0, 1), "depth": 1}
    with pytest.raises(InputError, match="expected"):
        TickExchange(specs=[COIN], deposits=BALANCE, seed=1, **(right | wrong))  # type: ignore[arg-type]


def test_tick_order_arrives_after_its_latency() -> None:
    arrivals = set()
    for seed in range(40):
        exchange = tick_exchange(latency_ms=(20, 25), seed=seed)
        exchange.submit(BUY, T)
        assert list(exchange.advance(T + 19)) == []
        accepted, fill = exchange.advance(T + 1_000)
        assert accepted == OrderAccepted(fill.now_ms, "1-entry")
        arrivals.add(fill.now_ms - T)
    assert arrivals == {20, 21, 22, 23, 24, 25}


def test_tick_the_market_moves_while_an_order_is_on_its_way() -> None:
    exchange = moved(tick_exchange(latency_ms=(50, 50)), T + 30, 100.4)
    exchange.submit(BUY, T)
    assert filled(list(exchange.advance(T + 50))) == [("1-entry", 10.0, 100.6)]


def test_tick_entry_walks_the_levels_inside_its_limit_and_drops_the_rest() -> None:
    exchange = tick_exchange(depth=4)
    exchange.submit(replace(BUY, price=100.3), T)
    events = list(exchange.advance(T))
    assert [type(e) for e in events] == [OrderAccepted, OrderFilled, OrderFilled, OrderCancelled]
    # each level is 0.1 % and at least a tick further: 100.1, 100.3, 100.5
    assert filled(events) == [("1-entry", 4.0, 100.1), ("1-entry", 4.0, 100.3)]
    assert {e.now_ms for e in events} == {T}
    assert exchange.ledger.held[0].contracts == 8.0


def test_tick_entry_that_is_filled_leaves_nothing_to_cancel() -> None:
    exchange = tick_exchange(depth=4)
    exchange.submit(replace(BUY, contracts=8.0), T)
    events = list(exchange.advance(T))
    assert [type(e) for e in events] == [OrderAccepted, OrderFilled, OrderFilled]


@pytest.mark.parametrize(("order", "last"), [(BUY, 101.0), (SHORT, 99.0)])
def test_tick_entry_beyond_its_limit_is_cancelled(order: PlaceOrder, last: float) -> None:
    exchange = tick_exchange(at=last)
    exchange.submit(order, T)
    assert list(exchange.advance(T)) == [OrderAccepted(T, "1-entry"), OrderCancelled(T, "1-entry")]


def test_tick_entry_before_the_first_quote_is_cancelled() -> None:
    exchange = TickExchange(PARAMS, [COIN], BALANCE, seed=1, latency_ms=(0, 0), depth=1)
    exchange.submit(BUY, T)
    assert list(exchange.advance(T))[-1] == OrderCancelled(T, "1-entry")


def test_tick_exit_takes_as_many_quotes_as_it_needs() -> None:
    exchange, _ = holding(depth=4)
    exchange.submit(EXIT, T + 10)
    for i, price in enumerate((99.0, 98.0, 97.0), start=1):
        moved(exchange, T + i * 100, price)
    events = list(exchange.advance(T + 1_000))
    assert filled(events) == [("2-exit", 4.0, 99.9), ("2-exit", 4.0, 98.9), ("2-exit", 2.0, 97.9)]
    assert [e.now_ms - T for e in events] == [10, 10, 100, 200]  # accepted, and three fills
    assert exchange.ledger.held[0].side == 0


def test_tick_orders_share_the_depth_of_a_quote() -> None:
    exchange, _ = holding(STOP, depth=6)
    exchange.submit(EXIT, T + 1)  # finds nothing: the stop took it all
    moved(exchange, T + 1, 97.0)
    moved(exchange, T + 2, 96.0)
    fills = filled(list(exchange.advance(T + 2)))
    assert fills == [("3-stop", 6.0, 96.9), ("3-stop", 4.0, 95.9)]


def test_tick_stop_triggers_on_the_mark_and_not_on_the_last_price() -> None:
    exchange, _ = holding(STOP)
    moved(exchange, T + 1, 97.0, mark=98.1)
    assert list(exchange.advance(T + 1)) == []
    moved(exchange, T + 2, 99.0, mark=98.0)
    assert filled(list(exchange.advance(T + 2))) == [("3-stop", 10.0, 98.9)]


def test_tick_all_but_targets_pay_the_taker_fee_out_of_the_wallet() -> None:
    exchange, _ = holding(STOP)
    moved(exchange, T + 1, 98.0)
    [stopped] = exchange.advance(T + 1)
    assert isinstance(stopped, OrderFilled)
    assert stopped.fee == pytest.approx(10 * 97.9 * 0.0006)
    paid = 10 * 100.1 * 0.0006 + stopped.fee
    assert exchange.ledger.wallet == pytest.approx(BALANCE + 10 * (97.9 - 100.1) - paid)


def test_tick_short_stop_triggers_above() -> None:
    exchange, _ = holding(mirrored(STOP), entry=SHORT)
    moved(exchange, T + 1, 103.0, mark=101.9)
    assert list(exchange.advance(T + 1)) == []
    moved(exchange, T + 2, 101.0, mark=102.0)
    assert filled(list(exchange.advance(T + 2))) == [("3-stop", 10.0, 101.2)]


def test_tick_triggered_stop_goes_on_when_the_mark_returns() -> None:
    exchange, _ = holding(STOP, depth=7)
    moved(exchange, T + 1, 98.0)
    moved(exchange, T + 2, 105.0)
    fills = filled(list(exchange.advance(T + 2)))
    assert fills == [("3-stop", 7.0, 97.9), ("3-stop", 3.0, 104.8)]


def test_tick_stop_that_arrives_too_late_triggers_at_once() -> None:
    exchange, _ = holding()
    moved(exchange, T + 1, 97.0)
    list(exchange.advance(T + 1))
    exchange.submit(STOP, T + 2)
    assert filled(list(exchange.advance(T + 2))) == [("3-stop", 10.0, 96.9)]


@pytest.mark.parametrize(
    ("entry", "target", "touch", "through"),
    [(BUY, TARGET, 104.0, 104.1), (SHORT, mirrored(TARGET), 96.0, 95.9)],
)
def test_tick_target_fills_a_tick_through(
    entry: PlaceOrder, target: PlaceOrder, touch: float, through: float
) -> None:
    exchange, _ = holding(target, entry=entry)
    moved(exchange, T + 1, touch)
    assert list(exchange.advance(T + 1)) == []
    moved(exchange, T + 2, through)
    [fill] = exchange.advance(T + 2)
    paid = 10 * touch * PARAMS.maker_fee
    side = -entry.side
    assert fill == OrderFilled(T + 2, "4-target", "f2", 10.0, touch, paid, symbol=0, side=side)


def test_tick_target_is_limited_by_depth_and_leaves_the_stop() -> None:
    exchange, _ = holding(STOP, TARGET, depth=7)
    moved(exchange, T + 1, 105.0)
    events = list(exchange.advance(T + 1))
    assert filled(events) == [("4-target", 7.0, 104.0)]
    assert exchange.book.left == {"3-stop": 10.0, "4-target": 3.0}
    moved(exchange, T + 2, 97.0)
    events = list(exchange.advance(T + 2))
    assert filled(events) == [("3-stop", 3.0, 96.9)]
    # cut to the position: what is left of both is cancelled
    assert events[1:] == [OrderCancelled(T + 2, "3-stop"), OrderCancelled(T + 2, "4-target")]


def test_tick_stop_comes_before_target_at_one_quote() -> None:
    # The mark lags: the last price is beyond the target while the mark is at the stop.
    exchange, _ = holding(TARGET, STOP)
    moved(exchange, T + 1, 105.0, mark=98.0)
    assert filled(list(exchange.advance(T + 1))) == [("3-stop", 10.0, 104.8)]


def test_tick_reduce_only_orders_go_with_their_position() -> None:
    exchange, _ = holding(STOP, TARGET)
    exchange.submit(EXIT, T + 1)
    moved(exchange, T + 1, 100.0)
    _, fill, *gone = exchange.advance(T + 1)
    assert isinstance(fill, OrderFilled)
    assert gone == [OrderCancelled(T + 1, "3-stop"), OrderCancelled(T + 1, "4-target")]
    assert exchange.book.orders == {}


def test_tick_liquidation_is_on_the_mark_and_takes_everything() -> None:
    exchange, _ = holding(STOP, TARGET)
    moved(exchange, T + 1, 80.0, mark=97.0)
    moved(exchange, T + 2, 95.0, mark=91.0)
    wallet = exchange.ledger.wallet
    exchange.cancel("3-stop", T)
    exchange.submit(replace(STOP, client_id="5-stop", price=90.0), T)
    *_, liquidated, gone, gone_too = exchange.advance(T + 2)
    assert isinstance(liquidated, Liquidated)
    assert (liquidated.now_ms, liquidated.symbol, liquidated.contracts) == (T + 2, 0, 10.0)
    assert liquidated.price == pytest.approx(90.09)
    assert (gone, gone_too) == (OrderCancelled(T + 2, "4-target"), OrderCancelled(T + 2, "5-stop"))
    # the isolated margin and the fee
    assert exchange.ledger.wallet == pytest.approx(wallet - 100.1 - 10 * 90.09 * PARAMS.taker_fee)


def test_tick_funding_is_settled_at_its_time_on_the_mark() -> None:
    exchange, _ = holding()  # opened at T
    exchange.load([Quote(T + 5, 0, 101.0, 102.0)], [(0, T, 0.001), (0, T + 5, 0.001)])
    [event] = exchange.advance(T + 5)
    assert event == FundingSettled(T + 5, 0, -10 * 102.0 * 0.001, "f2")
    exchange.submit(EXIT, T + 6)
    exchange.load([], [(0, T + 7, 0.001)])
    assert filled(list(exchange.advance(T + 7)))
    assert exchange.ledger.held[0].side == 0


def test_tick_at_one_instant_quote_then_funding_then_orders() -> None:
    exchange, _ = holding()
    exchange.submit(EXIT, T + 5)
    exchange.load([Quote(T + 5, 0, 101.0, 102.0)], [(0, T + 5, 0.001)])
    events = list(exchange.advance(T + 5))
    assert [type(e) for e in events] == [FundingSettled, OrderAccepted, OrderFilled]
    assert events[0].amount == pytest.approx(-1.02)  # type: ignore[union-attr]
    assert filled(events) == [("2-exit", 10.0, 100.8)]


def test_tick_cancellation_that_comes_first_wins() -> None:
    exchange, _ = holding(STOP)
    exchange.latency_ms = (10, 10)
    exchange.cancel("3-stop", T + 1)
    moved(exchange, T + 12, 90.0, mark=98.0)
    assert list(exchange.advance(T + 20)) == [OrderCancelled(T + 11, "3-stop")]


def test_tick_cancellation_that_comes_last_loses() -> None:
    exchange, _ = holding(STOP)
    exchange.latency_ms = (10, 10)
    exchange.cancel("3-stop", T + 1)
    moved(exchange, T + 10, 98.0)
    assert filled(list(exchange.advance(T + 20))) == [("3-stop", 10.0, 97.9)]


def test_tick_cancellation_never_overtakes_its_order() -> None:
    for seed in range(20):
        exchange = tick_exchange(latency_ms=(0, 100), seed=seed)
        exchange.submit(BUY, T)
        list(exchange.advance(T + 100))
        exchange.submit(STOP, T + 200)
        exchange.cancel("3-stop", T + 200)
        accepted, cancelled = exchange.advance(T + 300)
        assert isinstance(accepted, OrderAccepted)
        assert isinstance(cancelled, OrderCancelled)


def test_tick_orders_may_overtake_each_other() -> None:
    orders = set()
    for seed in range(20):
        exchange, _ = holding(seed=seed)
        exchange.latency_ms = (0, 100)
        exchange.submit(STOP, T + 1)
        exchange.submit(TARGET, T + 1)
        orders.add(tuple(e.client_id for e in exchange.advance(T + 200)))  # type: ignore[union-attr]
    assert orders == {("3-stop", "4-target"), ("4-target", "3-stop")}


def test_tick_what_is_done_about_an_event_comes_before_the_next_quote() -> None:
    exchange = moved(moved(tick_exchange(), T + 1, 97.0), T + 2, 96.0)
    exchange.submit(BUY, T)
    events: list[Event] = []
    for event in exchange.advance(T + 2):
        events.append(event)
        if isinstance(event, OrderFilled) and event.client_id == "1-entry":
            exchange.submit(STOP, event.now_ms)
    assert filled(events)[1:] == [("3-stop", 10.0, 96.9)]


def test_tick_iteration_that_is_broken_off_loses_nothing() -> None:
    def run(first: int) -> list[Event]:
        exchange = moved(tick_exchange(depth=3), T + 1, 100.0)
        exchange.submit(BUY, T)
        exchange.submit(replace(EXIT, contracts=9.0), T)
        return [*islice(exchange.advance(T + 1), first), *exchange.advance(T + 1)]

    whole = run(0)
    assert len(whole) == 7
    assert all(run(first) == whole for first in range(1, 8))


def test_tick_time_does_not_run_backwards() -> None:
    exchange = tick_exchange()
    list(exchange.advance(T + 10))
    with pytest.raises(InvariantError, match="expected a time from"):
        moved(exchange, T + 9, 100.0)
    with pytest.raises(InvariantError, match="expected a time from"):
        exchange.submit(BUY, T + 9)
    assert exchange.next_ms(7) == 7


def test_tick_every_answer_leaves_through_one_door() -> None:
    class Silent(TickExchange):
        def answer(self, event: Event) -> None:
            kept.append(event)

    kept: list[Event] = []
    exchange = Silent(PARAMS, [COIN], BALANCE, seed=1, latency_ms=(0, 0), depth=7)
    moved(moved(moved(exchange, T, 100.0), T + 1, 105.0), T + 2, 60.0)
    exchange.load([], [(0, T + 1, 0.001)])
    for order in (BUY, replace(BUY, client_id="x", contracts=0.5), STOP, TARGET):
        exchange.submit(order, T)
    exchange.cancel("3-stop", T + 1)
    assert list(exchange.advance(T + 2)) == []
    assert {type(event) for event in kept} == {
        OrderAccepted,
        OrderFilled,
        OrderRejected,
        FundingSettled,
        OrderCancelled,
        Liquidated,
    }
