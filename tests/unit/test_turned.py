"""A position of ours that a trade has turned around: by somebody else, and by a late entry of our
own (DESIGN section 5). On KuCoin that is one fill, larger than the position."""

from dataclasses import replace

import pytest

from bot.core.kernel.codes import EXTERNAL, KILL
from bot.core.messages import Command, Effect, Level, OrderFilled, Role
from bot.core.modes import Cause
from bot.core.observations import OutcomeUnknown
from bot.core.reconcile import Entry, Holding, OrderReport, reconcile
from bot.core.state import DIFFERENT_MS
from tests.support.states import Desk, cancels, notices, placed
from tests.unit.test_truth import ENTRY_PRICE, equity_of, in_a_trade, kinds, read, seen


def sold(desk: Desk, contracts: float, fill_id: str = "w1") -> OrderFilled:
    """Return a sale by somebody else."""
    fee = 0.06 * contracts
    return OrderFilled(desk.now, "web-1", fill_id, contracts, 100.0, fee, 0, -1)


def shown(desk: Desk, net: float, *entries: Entry) -> list[Effect]:
    """Read an account that holds `net` contracts and whose stops and targets went with ours."""
    side = (net > 0.0) - (net < 0.0)
    gone = {name: OrderReport(name, 0, False) for name, o in desk.state.orders.items() if o.live}
    account = {"holdings": (Holding(side, abs(net), 100.0),), "entries": entries}
    return seen(desk, read(desk, **account, open_orders=(), reports=gone))


def test_what_the_position_explains_is_booked_at_once() -> None:
    desk = in_a_trade()
    before = equity_of(desk)
    effects = shown(desk, -5.0, sold(desk, 15.0))
    assert kinds(effects) == ["foreign_order", "external_position_change"]
    assert all(notice.level is Level.CRITICAL for notice in notices(effects))
    [trade] = desk.trades
    assert (trade.side, trade.contracts, trade.reason) == (1, 10.0, EXTERNAL)
    assert equity_of(desk) == pytest.approx(before - 10.0 - 0.6)  # from 101, and 10 of 15 fees
    assert (desk.position.contracts, desk.state.orders) == (0.0, {})
    assert desk.state.modes.name == "REDUCE_ONLY"
    assert desk.state.world.symbols[0].locked == 1


def test_nothing_is_sent_for_a_position_that_was_turned_around() -> None:
    desk = in_a_trade()
    record = sold(desk, 15.0)
    effects = shown(desk, -5.0, record)
    for _ in range(40):
        effects += desk.wait(1)
        effects += shown(desk, -5.0, record)
    assert placed(effects) == []
    assert len(desk.trades) == 1
    assert desk.state.guards[0].differs > 0  # theirs: the symbol stays locked for as long
    assert kinds(effects).count("foreign_order") == 1
    shown(desk, 0.0, record)
    assert desk.state.guards[0].differs == 0


def test_a_trade_in_parts_turns_it_around_with_one_of_them() -> None:
    desk = in_a_trade()
    prices = {"w1": 100.0, "w2": 99.0, "w3": 98.0}
    sizes = {"w1": 6.0, "w2": 6.0, "w3": 3.0}
    parts = [replace(sold(desk, sizes[name], name), price=prices[name]) for name in prices]
    effects = shown(desk, -5.0, *parts)
    assert set(kinds(effects)) == {"external_position_change", "foreign_order"}
    assert kinds(effects).count("external_position_change") == 2
    assert [trade.exit_price for trade in desk.trades] == [99.6]  # 6 at 100 and 4 at 99
    assert desk.state.puzzles == {}
    assert kinds(shown(desk, -5.0, *parts)) == []


@pytest.mark.parametrize("net", [-4.0, 0.0, 10.0])
def test_what_the_position_does_not_explain_waits_for_what_is_missing(net: float) -> None:
    desk = in_a_trade()
    record = sold(desk, 15.0)
    assert desk.trades == []
    effects = [e for e in shown(desk, net, record) if e not in placed([e])]
    assert "foreign_order" not in kinds(effects)
    assert list(desk.state.puzzles) == ["w1"]
    desk.wait(DIFFERENT_MS // 1_000)
    assert "foreign_order" in kinds(desk.feed(replace(record, now_ms=desk.now)))


def test_an_own_fill_that_is_missing_still_comes_first() -> None:
    """Our stop has traded, and then somebody sold 15: the list has only theirs so far."""
    desk = in_a_trade()
    theirs = sold(desk, 15.0)
    account = {"holdings": (Holding(-1, 15.0, 100.0),), "asked": ("t-2-stop",)}
    stop = {"t-2-stop": OrderReport("t-2-stop", 0, False, 10.0)}
    seen(desk, read(desk, **account, entries=(theirs,), open_orders=(), reports=stop))
    assert desk.trades == []
    own = OrderFilled(desk.now, "t-2-stop", "s1", 10.0, 99.0, 0.6, 0, -1)
    effects = shown(desk, -15.0, own, theirs)
    assert [trade.exit_price for trade in desk.trades] == [99.0]
    assert kinds(effects) == ["foreign_order"]


def test_an_exit_of_ours_that_was_under_way_does_not_delay_it() -> None:
    desk = in_a_trade()
    desk.say(Command.CLOSE, "a person", 0)
    desk.accept("exit")
    effects = shown(desk, -5.0, sold(desk, 15.0))
    assert kinds(effects) == ["foreign_order", "external_position_change"]
    assert placed(effects + desk.wait(20)) == []
    assert (len(desk.trades), desk.state.puzzles, desk.state.guards[0].closing) == (1, {}, False)


def wants_short_after_an_entry_that_got_nothing() -> Desk:
    """Return a desk that has sent a short entry, after a long entry #1 that was cancelled."""
    desk = Desk()
    desk.bars(101.0)
    desk.accept("entry")
    desk.cancelled("entry")
    for close in (100.0, 99.0, 97.0):
        desk.bars(close)
    return desk


def short_after_an_entry_that_got_nothing() -> Desk:
    """Return the same desk when it is 10 short, under its stop."""
    desk = wants_short_after_an_entry_that_got_nothing()
    desk.accept("entry")
    desk.fill("entry", 10.0, 97.0)
    desk.accept("stop")
    desk.accept("target")
    assert desk.position.side * desk.position.contracts == -10.0
    return desk


def bought(desk: Desk, contracts: float, fill_id: str = "late") -> OrderFilled:
    """Return a late fill of the long entry."""
    paid = 0.06 * contracts
    return OrderFilled(desk.now, "t-1-entry", fill_id, contracts, ENTRY_PRICE, paid, 0, 1)


def test_a_late_entry_of_ours_that_is_larger_turns_our_position_around_and_is_covered() -> None:
    desk = short_after_an_entry_that_got_nothing()
    desk.state.ended["t-1-entry"].request = replace(
        desk.state.ended["t-1-entry"].request, contracts=16.0
    )
    before = equity_of(desk)
    old = [name for name, order in desk.state.orders.items() if order.live]
    effects = shown(desk, 6.0, bought(desk, 16.0))
    assert kinds(effects) == ["emergency_fill", "opened"]
    [trade] = desk.trades
    assert (trade.side, trade.contracts, trade.reason) == (-1, 10.0, KILL)
    assert trade.exit_price == ENTRY_PRICE
    pos = desk.position
    assert (pos.side, pos.contracts) == (1, 6.0)
    assert pos.entry_price == pytest.approx(ENTRY_PRICE)
    assert set(cancels(effects)) == set(old)
    [stop] = placed(effects, Role.STOP)
    assert (stop.side, stop.contracts) == (-1, 6.0)
    assert stop.price < ENTRY_PRICE
    desk.accept(f"#{stop.client_id.split('-')[1]}")
    assert desk.state.covered(0) >= 6.0
    assert desk.state.world.symbols[0].locked == 1
    assert desk.state.modes.name == "RUN"
    assert "t-1-entry" not in desk.state.orders
    mark = desk.state.world.symbols[0].mark
    assert equity_of(desk) == pytest.approx(before - 16.0 * (ENTRY_PRICE - mark) - 0.96)


def test_a_late_entry_of_ours_turns_it_around_in_parts() -> None:
    desk = short_after_an_entry_that_got_nothing()
    order = desk.state.ended["t-1-entry"]
    order.request = replace(order.request, contracts=16.0)
    parts = [bought(desk, 6.0, "l1"), bought(desk, 6.0, "l2"), bought(desk, 4.0, "l3")]
    effects = shown(desk, 6.0, *parts)
    assert kinds(effects) == ["emergency_fill", "emergency_fill", "opened"]
    assert (desk.position.side, desk.position.contracts) == (1, 6.0)
    assert max(stop.contracts for stop in placed(effects, Role.STOP)) == 6.0
    assert "t-1-entry" not in desk.state.orders | desk.state.ended
    assert Cause.FOREIGN_ORDER not in desk.state.modes.causes
    equity_of(desk)


def test_a_late_entry_waits_for_an_entry_of_the_other_side_that_may_still_trade() -> None:
    desk = wants_short_after_an_entry_that_got_nothing()
    short = desk.find("entry").request
    desk.feed(OutcomeUnknown(desk.now, short.client_id))
    for _ in range(3 * DIFFERENT_MS // 1_000):
        assert kinds(desk.feed(bought(desk, 10.0))) == []
        desk.wait(1)
    desk.cancelled("entry")
    effects = desk.feed(bought(desk, 10.0))
    assert kinds(effects) == ["opened"]
    assert [stop.contracts for stop in placed(effects, Role.STOP)] == [10.0]
    assert desk.state.modes.name == "RUN"


def test_a_turn_that_is_broken_off_in_the_middle_of_its_read_goes_on_with_the_next_one() -> None:
    whole, broken = in_a_trade(), in_a_trade()
    record = sold(whole, 15.0)
    shown(whole, -5.0, record)
    account = {"holdings": (Holding(-1, 5.0, 100.0),), "entries": (record,)}
    for event in reconcile(broken.state, read(broken, **account)):
        broken.feed(event)
        break
    shown(broken, -5.0, record)
    assert broken.state.digest() == whole.state.digest()
