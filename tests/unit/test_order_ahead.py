"""Orders that the exchange has executed although its list of fills does not show it yet: what an
entry has bought is covered, and closed where it must be, and what an exit has sold is let be,
before the fills are told (DESIGN section 5)."""

from collections.abc import Sequence

import pytest

from bot.core.kernel.codes import OPERATOR
from bot.core.messages import Command, OrderFilled, Role
from bot.core.modes import Cause
from bot.core.observations import OrderMissing
from bot.core.reconcile import Holding, OrderReport
from bot.core.state import DIFFERENT_MS
from bot.core.truth import AHEAD_MS, AWAITED_MS
from bot.shell.ending import unrest
from tests.support.reads import kinds, read, seen
from tests.support.states import Desk, placed

MARK = 101.0
SECONDS = AHEAD_MS // 1_000


def bought(number: int, contracts: float, price: float = 101.1) -> OrderFilled:
    """A fill of the entry, of a time at which nothing else was sold yet."""
    return OrderFilled(0, "t-1-entry", f"f{number}", contracts, price, 0.06, 0, 1)


def show(
    desk: Desk,
    traded: float = 10.0,
    held: float | None = None,
    fills: Sequence[OrderFilled] = (),
) -> list[str]:
    """Read an account in which the entry has traded so much, and so much is held."""
    contracts = traded if held is None else held
    orders = [o for o in desk.state.orders.values() if o.role is not Role.ENTRY and o.rests]
    reports = {o.request.client_id: OrderReport(o.request.client_id, 0, True) for o in orders}
    entry = OrderReport("t-1-entry", 0, False, traded)
    return kinds(
        seen(
            desk,
            read(
                desk,
                holdings=(Holding(1 if contracts else 0, contracts, MARK if contracts else 0.0),),
                reports=reports | {"t-1-entry": entry},
                open_orders=tuple(reports.values()),
                entries=tuple(fills),
            ),
        )
    )


def stops(desk: Desk) -> list[tuple[float, float]]:
    """Return contracts and level of every stop that was sent."""
    return [(o.contracts, o.price) for o in placed(desk.effects) if o.role is Role.STOP]


@pytest.fixture
def desk() -> Desk:
    made = Desk()
    made.bars(101.0)
    made.accept("entry")
    return made


def test_what_is_read_a_moment_before_its_fills_waits_for_them(desk: Desk) -> None:
    assert show(desk) == []
    desk.wait(SECONDS - 1)
    assert show(desk) == []
    assert stops(desk) == []
    desk.wait(1)
    assert show(desk, fills=[bought(1, 10.0)]) == ["opened"]
    assert stops(desk) == [(10.0, desk.position.stop_price)]


def test_a_position_without_any_fill_is_under_a_stop_measured_from_the_mark(desk: Desk) -> None:
    show(desk)
    desk.wait(SECONDS)
    assert show(desk) == ["fills_late"]
    distance = desk.state.world.intents[0].stop_distance
    [(contracts, level)] = stops(desk)
    assert (contracts, level) == (10.0, pytest.approx(MARK * (1.0 - distance), abs=0.1))
    desk.accept("stop")
    assert show(desk) == []
    assert desk.state.guards[0].uncovered_since == 0
    assert kinds(desk.wait(30)) == []
    assert show(desk, fills=[bought(1, 4.0)]) == ["opened"]
    assert stops(desk)[1:] == [(10.0, desk.position.stop_price)]  # all of it, not the four
    desk.accept("stop")
    assert desk.find("#2").status.name == "CANCELLING"
    assert show(desk, fills=[bought(1, 4.0), bought(2, 6.0)]) == []
    assert desk.position.contracts == 10.0
    assert len(stops(desk)) == 2


def test_a_position_with_some_of_its_fills_is_covered_whole(desk: Desk) -> None:
    show(desk, fills=[bought(1, 2.0)])
    desk.accept("stop")
    desk.wait(SECONDS)
    assert show(desk, fills=[bought(1, 2.0)]) == ["fills_late"]
    level = desk.position.stop_price
    assert stops(desk) == [(2.0, level), (10.0, level)]
    assert desk.state.guards[0].uncovered_since == desk.now


def test_a_stop_that_is_refused_meanwhile_is_sent_again_and_missed(desk: Desk) -> None:
    show(desk)
    desk.wait(SECONDS)
    show(desk)
    assert kinds(desk.reject("stop")) == ["order_rejected"]
    told = desk.wait(1)
    assert [o.role for o in placed(told)] == [Role.STOP]
    assert kinds(desk.wait(5)) == ["uncovered"]
    ways = [o for o in placed(desk.wait(10)) if o.role is Role.EXIT]
    assert [(o.side, o.contracts) for o in ways] == [(-1, 10.0)]


def test_a_person_closes_what_is_not_told_yet(desk: Desk) -> None:
    show(desk, fills=[bought(1, 2.0)])
    desk.wait(SECONDS)
    show(desk, fills=[bought(1, 2.0)])
    way = [o for o in placed(desk.say(Command.CLOSE, "by hand", 0)) if o.role is Role.EXIT]
    assert [(o.side, o.contracts) for o in way] == [(-1, 10.0)]
    sold = OrderFilled(desk.now, way[0].client_id, "s1", 10.0, 101.0, 0.06, 0, -1)
    assert show(desk, held=0.0, fills=[bought(1, 2.0), sold]) == []
    desk.wait(20)  # no stranger's: the fills of the entry are still awaited
    assert show(desk, held=0.0, fills=[bought(1, 2.0), sold]) == []
    show(desk, held=0.0, fills=[bought(1, 2.0), bought(2, 8.0), sold])
    assert [(t.quantity, t.reason) for t in desk.trades] == [(10.0, OPERATOR)]
    assert Cause.FOREIGN_ORDER not in desk.state.modes.causes


def test_what_is_gone_before_its_fills_are_told_keeps_no_stop(desk: Desk) -> None:
    show(desk)
    desk.wait(SECONDS)
    show(desk)
    desk.accept("stop")
    assert show(desk, held=0.0) == []
    assert desk.find("stop").status.name == "CANCELLING"
    assert kinds(desk.wait(30)) == []


def test_what_somebody_else_has_bought_besides_is_not_ours_to_cover(desk: Desk) -> None:
    show(desk, held=15.0)
    desk.wait(SECONDS)
    show(desk, held=15.0)
    assert [contracts for contracts, _ in stops(desk)] == [10.0]


def test_a_position_that_is_read_later_than_its_entry_says_nothing(desk: Desk) -> None:
    show(desk, held=0.0)
    desk.wait(SECONDS)
    assert show(desk, held=0.0) == []
    assert stops(desk) == []


# What an exit has sold.


def leaving() -> tuple[Desk, str]:
    """Return a desk whose 10 contracts are being closed at the market, and the name of the exit."""
    desk = Desk()
    desk.enter()
    [way] = placed(desk.say(Command.CLOSE, "by hand", 0))
    desk.accept("exit")
    return desk, way.client_id


def show_sold(desk: Desk, name: str, sold: float, **changes: object) -> list[str]:
    """Read an account in which the exit has sold so much; without stops, when that was all."""
    left = 10.0 - sold
    orders = [o for o in desk.state.orders.values() if left and o.rests and o.role is not Role.EXIT]
    resting = {o.request.client_id: OrderReport(o.request.client_id, 0, True) for o in orders}
    told = {
        "holdings": (Holding(1, left, MARK) if left else Holding(0, 0.0, 0.0),),
        "reports": resting | {name: OrderReport(name, 0, False, sold)},
        "open_orders": tuple(resting.values()),
        "asked": (name, *resting),
    }
    return kinds(seen(desk, read(desk, **(told | changes))))


def test_what_is_sold_and_not_listed_is_sold_no_second_time() -> None:
    desk, name = leaving()
    assert show_sold(desk, name, 10.0) == []
    desk.cancelled("stop")  # as an exchange does when nothing is held
    desk.cancelled("target")
    assert unrest(desk.state) == []
    desk.effects.clear()
    assert kinds(desk.wait(30)) == []
    assert placed(desk.effects) == []
    assert desk.state.guards[0].uncovered_since == 0
    assert desk.position.contracts == 10.0  # nobody has told a price
    sold = OrderFilled(desk.now, name, "s1", 10.0, 101.0, 0.06, 0, -1)
    show_sold(desk, name, 10.0, entries=(sold,))
    assert [(t.quantity, t.reason, t.exit_price) for t in desk.trades] == [(10.0, OPERATOR, 101.0)]


def test_what_is_left_of_a_sale_that_is_not_listed_stays_covered() -> None:
    desk, name = leaving()
    show_sold(desk, name, 4.0)
    assert desk.state.at_risk(0).contracts == 6.0
    desk.cancelled("stop")
    assert desk.state.guards[0].uncovered_since == desk.now
    [stop] = placed(desk.wait(1), Role.STOP)
    assert (stop.contracts, stop.price) == (6.0, desk.position.stop_price)


def test_what_a_sale_that_is_not_listed_has_left_is_sold_too() -> None:
    """A kill waits for no list: an exit that has ended is on its way no more."""
    desk, name = leaving()
    show_sold(desk, name, 4.0)
    assert placed(desk.wait(DIFFERENT_MS // 1_000 - 1), Role.EXIT) == []
    show_sold(desk, name, 4.0)
    assert [o.contracts for o in placed(desk.wait(1), Role.EXIT)] == [6.0]


def test_a_sale_that_turns_out_to_be_none_leaves_the_position_wanted_gone() -> None:
    desk, name = leaving()
    show_sold(desk, name, 10.0)
    assert desk.state.at_risk(0).side == 0
    desk.feed(OrderMissing(desk.now, name))
    show_sold(desk, name, 0.0)
    assert desk.state.at_risk(0).contracts == 10.0
    assert desk.state.guards[0].closing
    assert [o.contracts for o in placed(desk.wait(5), Role.EXIT)] == [10.0]


def test_the_wallet_of_a_sale_that_is_not_listed_is_no_jump() -> None:
    desk, name = leaving()
    poorer = read(desk).wallet - 200.0
    for _ in range(AWAITED_MS // DIFFERENT_MS):
        assert show_sold(desk, name, 10.0, wallet=poorer) == []
        desk.wait(DIFFERENT_MS // 1_000)


def test_a_person_who_resumes_meanwhile_accepts_no_wallet_that_a_fill_will_explain() -> None:
    desk = Desk()
    desk.enter()
    poorer = read(desk).wallet - 200.0
    seen(desk, read(desk, wallet=poorer))
    desk.wait(DIFFERENT_MS // 1_000)
    assert kinds(seen(desk, read(desk, wallet=poorer))) == ["equity_jump"]
    [way] = placed(desk.say(Command.CLOSE, "by hand", 0))
    desk.accept("exit")
    show_sold(desk, way.client_id, 10.0, wallet=poorer)
    assert "transfer" not in kinds(desk.say(Command.RESUME, "looked at it"))
    assert Cause.EQUITY_JUMP not in desk.state.modes.causes


def test_a_stop_that_has_traded_covers_no_more_before_its_fills_are_listed() -> None:
    desk = Desk()
    desk.enter()
    desk.wait(2)
    target = OrderReport("t-3-target", 0, True)
    stop = OrderReport("t-2-stop", 0, False, 4.0)  # the market gave no more
    shown = {"t-2-stop": stop, "t-3-target": target}
    holdings = (Holding(1, 6.0, MARK),)
    told = seen(desk, read(desk, holdings=holdings, reports=shown, open_orders=(target,)))
    [order] = placed(told, Role.STOP)
    assert (order.contracts, order.price) == (6.0, desk.position.stop_price)
    assert desk.state.guards[0].uncovered_since == desk.now


def test_each_fill_that_is_awaited_has_its_own_minute() -> None:
    desk, name = leaving()
    poorer = read(desk).wallet - 200.0
    step_s = DIFFERENT_MS // 1_000
    sold = [OrderFilled(desk.now, name, f"s{i}", 5.0, 90.0, 0.06, 0, -1) for i in range(2)]
    for _ in range(AWAITED_MS // DIFFERENT_MS):
        assert show_sold(desk, name, 10.0, wallet=poorer) == []
        desk.wait(step_s)
    for _ in range(AWAITED_MS // DIFFERENT_MS):
        assert show_sold(desk, name, 10.0, wallet=poorer, entries=sold[:1]) == []
        desk.wait(step_s)
    assert Cause.EQUITY_JUMP not in desk.state.modes.causes


# Fills that are never listed.


def test_a_person_is_called_for_an_entry_whose_fills_are_not_listed_within_a_minute(
    desk: Desk,
) -> None:
    told = []
    for _ in range(AWAITED_MS // DIFFERENT_MS + 1):
        assert "foreign_order" not in told
        news = show(desk)
        if news == ["fills_late"]:
            desk.accept("stop")
        told += news
        desk.wait(DIFFERENT_MS // 1_000)
    assert told == ["fills_late", "foreign_order"]
    assert stops(desk)
    assert show(desk, fills=[bought(1, 10.0)]) == ["opened"]


def test_an_exit_whose_fills_are_not_listed_within_a_minute_is_booked_at_the_mark() -> None:
    desk, name = leaving()
    told = []
    for _ in range(AWAITED_MS // DIFFERENT_MS + 1):
        assert told == []
        told += show_sold(desk, name, 10.0)
        desk.wait(DIFFERENT_MS // 1_000)
    assert told == ["external_position_change"]
    assert len(desk.trades) == 1
    sold = OrderFilled(desk.now, name, "s1", 10.0, 102.0, 0.06, 0, -1)
    assert show_sold(desk, name, 10.0, entries=(sold,)) == ["late_fill"]
    assert desk.position.side == 0
