"""`core.step` through the life of a trade: entry, protection, exit, and what the exchange reports.

Stops and their deadlines are in test_step_protection.py, modes, limits and the operator in
test_step_modes.py, races over a simulated exchange in tests/property/test_protection.py.
"""

from dataclasses import asdict, replace
from typing import Any

import pytest

from bot.core.codec import decode
from bot.core.errors import InvariantError
from bot.core.kernel.codes import END, EXTERNAL, LIQUIDATION, SIGNAL, STOP, TARGET
from bot.core.kernel.records import CORRELATION_SLOTS
from bot.core.market import Bar
from bot.core.messages import (
    Command,
    Cycle,
    Finish,
    FundingSettled,
    Level,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    Rewarm,
    Role,
    Tick,
)
from bot.core.modes import Cause
from bot.core.observations import Takeover
from bot.core.state import ERROR_LOCK_MS
from tests.support.states import Desk, cancels, make_state, notices, placed

# 2,100 USDT in the third balance tier: half of it at 101 x 1.003 buys 10 coins at leverage 8.
# Stop 2 % and target 5 % (2.5 stop distances) from the fill.
ENTRY_PRICE, STOP_PRICE, TARGET_PRICE = 101.1, 99.1, 106.2


def in_a_trade() -> Desk:
    """Return a desk with 10 contracts from 101.1: entry #1 done, stop #2 and target #3 resting."""
    desk = Desk()
    desk.enter()
    return desk


def test_a_signal_becomes_an_entry_inside_its_band() -> None:
    [order] = placed(Desk().bars(101.0))
    assert order.client_id == "t-1-entry"
    assert (order.role, order.side, order.contracts) == (Role.ENTRY, 1, 10.0)
    assert order.price == 101.3  # 101 + 30 bps, down to the tick
    assert order.leverage == 8.0


def test_a_falling_market_is_sold() -> None:
    desk = Desk()
    [order] = placed(desk.bars(99.0))
    assert (order.side, order.price) == (-1, 98.8)  # 99 - 30 bps, up to the tick
    stop, target = placed(desk.fill("entry", 10.0, 98.9))
    assert (stop.side, stop.price, target.side, target.price) == (1, 100.9, 1, 94.0)


def test_a_fill_is_protected_at_once_and_sized_from_the_position() -> None:
    desk = Desk()
    desk.bars(101.0)
    assert desk.accept("entry") == []
    effects = desk.fill("entry", 10.0, ENTRY_PRICE)
    stop, target = placed(effects)
    assert (stop.role, stop.side, stop.contracts, stop.price) == (Role.STOP, -1, 10.0, STOP_PRICE)
    assert (target.role, target.side, target.contracts) == (Role.TARGET, -1, 10.0)
    assert target.price == TARGET_PRICE
    assert [n.kind for n in notices(effects)] == ["opened"]
    assert desk.state.covered(0) == 0.0
    desk.accept("stop")
    assert desk.state.covered(0) == 10.0
    assert "t-1-entry" not in desk.state.orders


def test_the_rest_of_an_entry_is_dropped_and_the_part_is_kept() -> None:
    desk = Desk()
    desk.bars(101.0)
    desk.fill("entry", 4.0, ENTRY_PRICE)
    assert notices(desk.cancelled("entry"), "entry_expired") == []
    assert desk.position.contracts == 4.0
    assert desk.find("stop").request.contracts == 4.0


def test_an_entry_that_gets_nothing_is_over() -> None:
    desk = Desk()
    desk.bars(101.0)
    desk.accept("entry")
    assert [n.kind for n in notices(desk.cancelled("entry"))] == ["entry_expired"]
    assert desk.state.orders == {}
    assert len(placed(desk.signal_again())) == 1


def test_a_symbol_with_an_entry_on_its_way_takes_no_other() -> None:
    desk = Desk()
    desk.bars(101.0)
    effects = desk.signal_again()
    assert placed(effects) == []
    assert [n.kind for n in notices(effects)] == ["refused"]


def test_an_exit_does_not_free_a_symbol_whose_entry_is_still_open() -> None:
    desk = Desk()
    desk.bars(101.0)
    desk.fill("entry", 4.0, ENTRY_PRICE)
    desk.say(Command.CLOSE, "drill", symbol=0)
    desk.fill("exit", 4.0, 101.0)
    # The six contracts that are left of the entry may still trade: an unresolved order is in
    # flight until the exchange has said what became of it (DESIGN section 5).
    assert desk.find("entry").remaining == 6.0
    assert placed(desk.signal_again(), Role.ENTRY) == []


def test_a_wanted_exit_stays_wanted_when_the_rest_of_the_entry_is_dropped() -> None:
    desk = Desk()
    desk.bars(101.0)
    desk.fill("entry", 4.0, ENTRY_PRICE)
    desk.accept("stop")
    desk.say(Command.CLOSE, "drill", symbol=0)
    desk.cancelled("entry")
    # A position on its way out moves its stop no more.
    assert placed(desk.bars(104.0)) == []


@pytest.mark.parametrize(
    ("role", "price", "reason", "gain"),
    [("stop", 99.0, STOP, -21.0), ("target", 106.2, TARGET, 51.0)],
)
def test_stop_and_target_end_the_trade_and_take_the_other_with_them(
    role: str, price: float, reason: int, gain: float
) -> None:
    desk = in_a_trade()
    effects = desk.fill(role, 10.0, price)
    [trade] = desk.trades
    assert (trade.reason, trade.contracts, trade.exit_price) == (reason, 10.0, price)
    fees = 10 * (ENTRY_PRICE + price) * 0.0006
    assert trade.pnl == pytest.approx(gain - fees)
    other = "t-3-target" if role == "stop" else "t-2-stop"
    assert cancels(effects) == [other]
    desk.feed(OrderCancelled(desk.now, other))
    assert desk.state.orders == {}


def test_a_target_that_fills_in_part_leaves_the_rest_covered() -> None:
    desk = in_a_trade()
    assert desk.fill("target", 7.0, TARGET_PRICE) == []
    assert desk.position.contracts == 3.0
    assert desk.state.covered(0) == 10.0
    assert placed(desk.bars(105.0), Role.TARGET) == []


def test_a_signal_leaves_at_the_market_once() -> None:
    desk = in_a_trade()
    effects = desk.bars(98.0)
    [order] = placed(effects)
    assert (order.role, order.side, order.contracts, order.price) == (Role.EXIT, -1, 10.0, 0.0)
    assert cancels(effects) == []  # stop and target stay until the position is gone
    assert placed(desk.bars(97.0)) == []
    desk.fill("exit", 6.0, 97.0)
    assert desk.trades == []
    assert sorted(cancels(desk.fill("exit", 4.0, 96.9))) == ["t-2-stop", "t-3-target"]
    assert desk.trades[0].reason == SIGNAL
    assert desk.trades[0].exit_price == pytest.approx(96.96)


def test_a_repeated_fill_is_booked_once() -> None:
    desk = Desk()
    desk.bars(101.0)
    desk.fill("entry", 4.0, ENTRY_PRICE, fill_id="x")
    before = desk.state.digest()
    assert desk.fill("entry", 4.0, ENTRY_PRICE, fill_id="x") == []
    assert desk.position.contracts == 4.0
    assert desk.state.digest() == before
    desk.fill("entry", 6.0, ENTRY_PRICE)
    # Also after the order is finished and forgotten.
    assert desk.feed(OrderFilled(desk.now, "t-1-entry", "x", 4.0, ENTRY_PRICE, 0.1)) == []
    assert desk.state.modes.causes == {}


def test_a_fill_of_an_order_we_do_not_know_is_foreign() -> None:
    desk = in_a_trade()
    effects = desk.feed(OrderFilled(desk.now, "web-7", "w1", 3.0, 100.0, 0.1))
    [notice] = notices(effects)
    assert (notice.level, notice.kind) == (Level.CRITICAL, "foreign_order")
    assert Cause.FOREIGN_ORDER in desk.state.modes.causes
    assert desk.position.contracts == 10.0  # never adopted
    # One alarm is enough.
    assert desk.feed(OrderFilled(desk.now, "web-7", "w2", 3.0, 100.0, 0.1)) == []


def test_answers_about_orders_we_do_not_know_change_nothing() -> None:
    desk = in_a_trade()
    before = desk.state.digest()
    assert desk.feed(OrderAccepted(desk.now, "web-7")) == []
    assert desk.feed(OrderCancelled(desk.now, "web-7")) == []
    assert desk.state.digest() == before


def test_liquidation_ends_the_trade_and_clears_the_symbol() -> None:
    desk = in_a_trade()
    effects = desk.liquidate(10.0, 88.5)
    assert [n.level for n in notices(effects, "liquidated")] == [Level.CRITICAL]
    assert desk.trades[0].reason == LIQUIDATION
    assert cancels(effects) == ["t-2-stop", "t-3-target"]
    assert desk.position.side == 0


def test_partial_liquidation_keeps_the_rest_under_its_stop() -> None:
    desk = in_a_trade()
    effects = desk.liquidate(4.0, 90.0)
    assert [n.kind for n in notices(effects)] == ["liquidated"]
    assert desk.trades == []
    assert desk.position.contracts == 6.0
    assert desk.state.covered(0) >= 6.0


def test_deleveraging_is_an_external_change_after_which_the_symbol_rests() -> None:
    desk = in_a_trade()
    effects = desk.liquidate(4.0, 101.0, Takeover.ADL)
    (told,) = notices(effects)
    assert (told.level, told.kind) == (Level.CRITICAL, "external_position_change")
    assert told.text == "auto-deleveraged 4 contracts at 101"
    assert desk.state.guards[0].locked_until == desk.now + ERROR_LOCK_MS
    assert desk.state.covered(0) >= desk.position.contracts == 6.0
    effects = desk.liquidate(6.0, 101.0, Takeover.ADL)
    assert desk.trades[0].reason == EXTERNAL
    assert cancels(effects) == ["t-2-stop", "t-3-target"]


def test_liquidation_of_what_we_do_not_hold_is_foreign() -> None:
    desk = Desk()
    effects = desk.liquidate(10.0, 90.0)
    assert [n.kind for n in notices(effects)] == ["foreign_order"]
    assert desk.position.contracts == 0.0


def test_funding_belongs_to_the_position() -> None:
    desk = in_a_trade()
    assert desk.feed(FundingSettled(desk.now, 0, -1.5)) == []
    assert desk.position.funding == desk.state.world.account.funding == -1.5
    desk.fill("stop", 10.0, 99.0)
    assert desk.trades[0].funding == -1.5


def test_funding_that_is_told_late_is_no_part_of_the_next_trade() -> None:
    desk = in_a_trade()
    desk.fill("stop", 10.0, 99.0)
    assert desk.feed(FundingSettled(desk.now, 0, -1.5)) == []
    assert desk.state.world.account.funding == -1.5
    assert desk.position.funding == 0.0


def test_a_fill_beyond_the_position_is_a_broken_promise() -> None:
    desk = in_a_trade()
    with pytest.raises(InvariantError, match="filled 11"):
        desk.fill("stop", 11.0, 99.0)


@pytest.mark.parametrize(("before", "ours"), [(10.0, 0.0), (6.0, 4.0)])
def test_an_exit_that_closes_what_others_hold_here_is_foreign(before: float, ours: float) -> None:
    # Somebody has added as much by hand, and closes a part of it while our exit is under way.
    desk = in_a_trade()
    desk.bars(98.0)
    theirs = OrderFilled(desk.now, "app1", "x1", before, 98.0, 0.0, 0, -1)
    assert [n.kind for n in notices(desk.feed(theirs))] == ["external_position_change"]
    wallet = desk.state.world.account.realised - desk.state.world.account.fees
    told = OrderFilled(desk.now, desk.find("exit").request.client_id, "f9", 10.0, 97.0, 1.0)
    assert desk.feed(told) == []  # the fill that it needs may be told late
    desk.wait(5)
    effects = desk.feed(replace(told, now_ms=desk.now))
    assert Cause.FOREIGN_ORDER in desk.state.modes.causes
    assert f"closed {10.0 - ours:g} contracts that are not ours" in str(effects)
    assert desk.position.contracts == 0.0
    assert not placed(desk.wait(2))
    assert not any(order.role is Role.EXIT for order in desk.state.orders.values())
    booked = desk.state.world.account.realised - desk.state.world.account.fees - wallet
    assert booked == pytest.approx(ours * (97.0 - 101.1) - 1.0 * ours / 10.0)


def test_time_does_not_run_backwards() -> None:
    desk = in_a_trade()
    early = desk.now - 1
    with pytest.raises(InvariantError, match="time ran backwards"):
        desk.feed(Tick(early))
    with pytest.raises(InvariantError, match="time ran backwards"):
        desk.feed(OrderFilled(early, "t-2-stop", "y", 1.0, 99.0, 0.0))
    assert desk.position.contracts == 10.0


def test_the_same_instant_again_is_not_backwards() -> None:
    desk = in_a_trade()
    assert desk.feed(Tick(desk.now)) == []


def test_what_a_late_bar_leads_to_is_of_when_it_came() -> None:
    # A tick without effects is in no journal, and a replay must come to the same without it.
    ticked, replayed = in_a_trade(), in_a_trade()
    end = ticked.close_ms + 60_000
    cycle = Cycle(end, end + 2_300, (Bar(101.0, 101.0, 99.5, 99.5, 1.0),))
    ticked.feed(Tick(end + 2_100))
    for desk in (ticked, replayed):
        assert placed(desk.feed(cycle), Role.EXIT)
        assert desk.find("exit").sent_ms == desk.now == end + 2_300
    assert ticked.state.digest() == replayed.state.digest()


@pytest.mark.parametrize("stored", [{}, {"symbols": [1]}])
def test_a_new_beginning_of_one_symbol_leaves_the_others(stored: dict[str, Any]) -> None:
    """A journal of a release that knew no symbols means all of them."""
    desk = Desk(make_state(2))
    world = desk.state.world
    world.samples[:] = range(len(world.samples))
    before = [asdict(symbol) for symbol in world.symbols]
    event = decode(Rewarm, {"now_ms": desk.now, "missed": 60, **stored})
    [notice] = notices(desk.feed(event))
    forgets = [not stored, True]
    for k, forgot in enumerate(forgets):
        symbol, slots = world.symbols[k], slice(k * CORRELATION_SLOTS, (k + 1) * CORRELATION_SLOTS)
        assert (asdict(symbol) != before[k]) == forgot
        assert (symbol.bars == 0) == forgot
        assert symbol.mark == 100.0
        assert (set(world.samples[slots]) == {-1}) == forgot
    assert notice.symbol == (1 if stored else -1)
    assert (desk.state.symbols[1] in notice.text) == bool(stored)


def test_the_end_closes_what_is_open() -> None:
    desk = in_a_trade()
    [order] = placed(desk.feed(Finish(desk.now)))
    assert (order.role, order.contracts) == (Role.EXIT, 10.0)
    desk.fill("exit", 10.0, 101.0)
    assert desk.trades[0].reason == END


def test_the_end_is_the_reason_of_an_exit_that_is_in_flight() -> None:
    desk = in_a_trade()
    desk.say(Command.CLOSE, "drill", symbol=0)
    assert placed(desk.feed(Finish(desk.now))) == []
    desk.fill("exit", 10.0, 101.0)
    assert desk.trades[0].reason == END
