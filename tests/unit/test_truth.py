"""Reads of the exchange against our books: doubts, strays, strangers, money (DESIGN section 5)."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from bot.core.kernel.accounting import mark_equity
from bot.core.kernel.codes import EXIT, EXTERNAL, STOP
from bot.core.messages import (
    CancelOrder,
    Command,
    Condition,
    Effect,
    FundingSettled,
    Liquidated,
    OrderAccepted,
    OrderFilled,
    Role,
)
from bot.core.modes import Cause
from bot.core.observations import (
    OrderAhead,
    OutcomeUnknown,
    PositionSeen,
    Takeover,
    Transferred,
)
from bot.core.orders import Status
from bot.core.outside import LATE_MS
from bot.core.protect import MOST_IN_DOUBT, doubts
from bot.core.reconcile import CLOCK_MS, Holding, OrderReport, Snapshot, reconcile
from bot.core.state import DIFFERENT_MS, ERROR_LOCK_MS
from bot.core.truth import AWAITED_MS, MISSING_MS
from tests.support.reads import kinds, read, seen
from tests.support.states import Desk, cancels, notices, placed

ENTRY_PRICE = 101.1


def in_a_trade() -> Desk:
    """Return a desk with 10 contracts: entry #1 done, stop #2 and target #3 resting."""
    desk = Desk()
    desk.enter()
    return desk


def sent() -> Desk:
    """Return a desk whose entry got no answer."""
    desk = Desk()
    desk.bars(101.0)
    desk.feed(OutcomeUnknown(desk.now, "t-1-entry"))
    return desk


def by_hand(now_ms: int, contracts: float) -> OrderFilled:
    """Return a sale of a person."""
    return OrderFilled(now_ms, "web-1", "w1", contracts, 100.0, 0.6, 0, -1)


def taken_over(now_ms: int, contracts: float) -> Liquidated:
    """Return what the exchange has taken of a profitable position."""
    return Liquidated(now_ms, 0, contracts, 100.0, 0.6, "w1", Takeover.ADL)


def test_a_read_that_agrees_changes_nothing() -> None:
    desk = in_a_trade()
    before = desk.state.digest()
    assert seen(desk, read(desk)) == []
    assert desk.state.digest() == before


def test_an_order_without_an_answer_blocks_its_symbol_and_nothing_is_sent_again() -> None:
    desk = sent()
    assert desk.state.orders["t-1-entry"].status is Status.UNRESOLVED
    assert desk.state.world.symbols[0].locked == 1
    assert placed(desk.bars(101.0, 100.0, 101.5)) == []


def test_an_order_found_resting_was_accepted() -> None:
    desk = sent()
    report = OrderReport("t-1-entry", 0, True)
    seen(desk, read(desk, open_orders=(report,), reports={"t-1-entry": report}))
    assert desk.state.orders["t-1-entry"].status is Status.OPEN
    assert desk.state.world.symbols[0].locked == 0


def test_an_answer_that_comes_after_all_ends_the_doubt() -> None:
    desk = sent()
    desk.feed(OrderAccepted(desk.now, "t-1-entry"))
    assert desk.state.world.symbols[0].locked == 0


def test_a_fill_ends_the_doubt_about_an_order() -> None:
    desk = in_a_trade()
    desk.feed(OutcomeUnknown(desk.now, "t-3-target"))
    lost = read(desk, reports={"t-2-stop": OrderReport("t-2-stop", 0, True)})
    seen(desk, lost)
    assert desk.state.world.symbols[0].locked == 1
    desk.fill("target", 4.0, 104.0)
    assert desk.state.world.symbols[0].locked == 0


def test_the_records_of_one_read_are_booked_by_time() -> None:
    """The exchange lists the newest first: an exit booked before its entry is somebody else's."""
    desk = sent()
    opened = OrderFilled(desk.now - 2, "t-1-entry", "f1", 10.0, ENTRY_PRICE, 0.6, 0, 1)
    closed = OrderFilled(desk.now - 1, "web-1", "w1", 10.0, 100.0, 0.6, 0, -1)
    told = read(
        desk,
        entries=(closed, opened),
        reports={"t-1-entry": OrderReport("t-1-entry", 0, False, 10.0)},
        holdings=(Holding(0, 0.0, 0.0),),
    )
    seen(desk, told)
    assert [trade.exit_price for trade in desk.trades] == [100.0]
    assert desk.state.puzzles == {}


@pytest.mark.parametrize("role", ["entry", "exit"])
def test_a_position_that_an_order_is_changing_is_not_in_doubt(role: str) -> None:
    """A read that is older or newer than what was booked proves nothing."""
    desk = Desk()
    desk.bars(101.0)
    desk.accept("entry")
    desk.fill("entry", 6.0, ENTRY_PRICE)
    desk.accept("stop")
    if role == "exit":
        desk.cancelled("entry")
        desk.say(Command.CLOSE, "drill", 0)
        desk.accept("exit")
    for _ in range(2):
        assert kinds(seen(desk, read(desk, holdings=(Holding(1, 4.0, 100.0),)))) == []
        desk.wait(DIFFERENT_MS // 1_000)
    assert desk.position.contracts == 6.0
    assert desk.state.guards[0].differs == 0


def test_an_order_found_filled_is_booked_and_protected() -> None:
    desk = sent()
    fill = OrderFilled(desk.now, "t-1-entry", "f1", 10.0, ENTRY_PRICE, 0.6, 0, 1)
    done = OrderReport("t-1-entry", 0, False, 10.0)
    wallet = desk.state.world.account.deposits - 0.6
    snapshot = read(
        desk,
        entries=(fill,),
        reports={"t-1-entry": done},
        holdings=(Holding(1, 10.0, 100.0),),
        wallet=wallet,
    )
    assert {order.role for order in placed(seen(desk, snapshot))} == {Role.STOP, Role.TARGET}
    assert desk.position.contracts == 10.0
    # The same read again books nothing twice.
    assert desk.position.contracts == 10.0
    before = desk.state.world.account.fees
    seen(desk, replace(snapshot, asked=(), reports={}))
    assert desk.state.world.account.fees == before


@pytest.mark.parametrize(("reads", "seconds", "void"), [(3, 30, True), (9, 20, False)])
def test_an_order_is_void_after_three_reads_over_thirty_seconds(
    reads: int, seconds: int, void: bool
) -> None:
    desk = sent()
    for i in range(reads):
        if i:
            desk.wait(seconds // (reads - 1))
        seen(desk, read(desk))
    assert ("t-1-entry" not in desk.state.orders) is void
    # A void entry leaves its symbol locked for a while, and is remembered.
    assert (desk.state.guards[0].locked_until == desk.now + ERROR_LOCK_MS) is void
    assert ("t-1-entry" in desk.state.ended) is void


def test_two_reads_are_not_enough_however_far_apart() -> None:
    desk = sent()
    seen(desk, read(desk))
    desk.wait(2 * MISSING_MS // 1_000)
    seen(desk, read(desk))
    assert "t-1-entry" in desk.state.orders


def test_an_order_that_is_found_again_is_missed_anew() -> None:
    """Found by a read, or told by its late answer: reads count from there."""
    report = OrderReport("t-1-entry", 0, True)
    for found in (True, False):
        desk = sent()
        for _ in range(2):
            seen(desk, read(desk))
            desk.wait(MISSING_MS // 2_000)
        if found:
            seen(desk, read(desk, open_orders=(report,), reports={"t-1-entry": report}))
        else:
            desk.feed(OrderAccepted(desk.now, "t-1-entry"))
        assert desk.state.orders["t-1-entry"].status is Status.OPEN
        for _ in range(2):
            seen(desk, read(desk, open_orders=(), reports={}))
            desk.wait(1)
        assert desk.state.orders["t-1-entry"].status is Status.UNRESOLVED


def test_an_order_is_not_void_while_its_position_changes() -> None:
    """The position may have changed by this very order: what the reads said before counts for
    nothing."""
    desk = Desk()
    desk.bars(101.0)
    desk.fill("entry", 10.0, ENTRY_PRICE)
    desk.accept("stop")
    desk.feed(OutcomeUnknown(desk.now, "t-3-target"))
    for _ in range(2):
        seen(desk, read(desk))
        desk.wait(MISSING_MS // 2_000)
    desk.fill("stop", 4.0, 99.1)
    seen(desk, read(desk))
    assert "t-3-target" in desk.state.orders
    for _ in range(2):
        desk.wait(MISSING_MS // 2_000)
        seen(desk, read(desk))
    assert "t-3-target" not in desk.state.orders


def test_a_cancellation_that_did_not_arrive_is_sent_again() -> None:
    desk = in_a_trade()
    desk.bars(104.0)
    assert cancels(desk.accept("#4")) == ["t-2-stop"]
    resting = tuple(OrderReport(name, 0, True) for name in desk.state.orders)
    reports = {report.client_id: report for report in resting}
    still_there = read(desk, open_orders=resting, reports=reports)
    assert cancels(seen(desk, still_there)) == ["t-2-stop"]
    assert desk.state.covered(0) == 10.0


def test_a_stop_that_a_read_finds_resting_replaces_the_older_one() -> None:
    desk = in_a_trade()
    desk.bars(104.0)
    lost = desk.feed(OutcomeUnknown(desk.now, "t-4-stop"))
    assert cancels(lost) == []
    for order in placed(lost):  # sent in its place, and refused
        desk.reject(f"#{order.client_id.split('-')[1]}")
    report = OrderReport("t-4-stop", 0, True)
    agreeing = read(desk)
    found = replace(
        agreeing,
        open_orders=(*agreeing.open_orders, report),
        reports={**agreeing.reports, "t-4-stop": report},
    )
    assert cancels(seen(desk, found)) == ["t-2-stop"]
    assert desk.state.covered(0) == 10.0


def test_a_void_entry_that_trades_after_all_is_ours_and_protected() -> None:
    desk = sent()
    for _ in range(4):
        seen(desk, read(desk))
        desk.wait(15)
    assert "t-1-entry" in desk.state.ended
    effects = desk.feed(OrderFilled(desk.now, "t-1-entry", "f1", 4.0, ENTRY_PRICE, 0.2, 0, 1))
    assert desk.position.contracts == 4.0
    assert Role.STOP in {order.role for order in placed(effects)}
    assert Cause.FOREIGN_ORDER not in desk.state.modes.causes


def after_a_part() -> Desk:
    """Return a desk that holds 6 contracts under their stop; the rest of it was cancelled."""
    desk = Desk()
    desk.bars(101.0)
    desk.accept("entry")
    desk.fill("entry", 6.0, ENTRY_PRICE)
    desk.accept("stop")
    desk.cancelled("entry")
    return desk


def test_a_fill_of_a_cancelled_entry_that_is_told_late_is_covered() -> None:
    desk = after_a_part()
    late = OrderFilled(desk.now, "t-1-entry", "late", 2.0, ENTRY_PRICE, 0.1, 0, 1)
    [stop] = [order for order in placed(desk.feed(late)) if order.role is Role.STOP]
    assert (desk.position.contracts, stop.contracts) == (8.0, 8.0)


def test_an_exit_under_way_stays_wanted_when_its_entry_trades_after_all() -> None:
    desk = after_a_part()
    desk.say(Command.CLOSE, "drill", 0)
    desk.feed(OrderFilled(desk.now, "t-1-entry", "late", 2.0, ENTRY_PRICE, 0.1, 0, 1))
    assert desk.state.world.intents[0].kind == EXIT


@pytest.mark.parametrize("opened", [True, False])
def test_a_fill_of_a_cancelled_entry_that_is_told_after_the_opposite_one_reduces_it(
    opened: bool,
) -> None:
    """Whether the opposite entry has traded by then or only does so a moment later: on the exchange
    there is one position, and it is 6 short."""
    desk = Desk()
    desk.bars(101.0)
    desk.accept("entry")
    desk.cancelled("entry")
    [short] = placed(desk.bars(100.0) + desk.bars(99.0) + desk.bars(97.0))
    assert (short.role, short.side, short.contracts) == (Role.ENTRY, -1, 10.0)
    late = OrderFilled(desk.now, "t-1-entry", "late", 4.0, ENTRY_PRICE, 0.2, 0, 1)
    if not opened:
        assert desk.feed(late) == []
    desk.fill("entry", 10.0, 97.0)
    assert kinds(desk.feed(late)) == ["emergency_fill"]
    assert (desk.position.side, desk.position.contracts) == (-1, 6.0)
    assert desk.state.world.symbols[0].locked == 1
    desk.accept("stop")
    assert desk.state.covered(0) >= 6.0
    equity_of(desk)  # money on both paths


def test_a_stop_that_may_be_lost_is_replaced_at_once() -> None:
    desk = Desk()
    desk.bars(101.0)
    desk.accept("entry")
    desk.fill("entry", 10.0, ENTRY_PRICE)
    stop = desk.find("stop")
    effects = desk.feed(OutcomeUnknown(desk.now, stop.request.client_id))
    assert [order.role for order in placed(effects)] == [Role.STOP]
    [second] = placed(effects)
    assert placed(desk.feed(OutcomeUnknown(desk.now, second.client_id))) == []
    assert [order.role for order in placed(desk.wait(2))] == [Role.STOP]


def test_tries_that_are_in_doubt_come_more_and_more_slowly() -> None:
    """Each of them is asked for by every read."""
    desk = Desk()
    desk.bars(101.0)
    desk.fill("entry", 10.0, ENTRY_PRICE)
    begin, tries = desk.now, []
    for _ in range(40):
        for name in [n for n, o in desk.state.orders.items() if o.status is Status.SENT]:
            desk.feed(OutcomeUnknown(desk.now, name))
        tries += [(desk.now - begin) // 1_000 for _ in placed(desk.wait(1), Role.EXIT)]
    pauses = [later - sooner for sooner, later in pairwise(tries)]
    assert pauses[:6] == [1, 2, 3, 4, 5, 5]


def test_tries_end_while_the_exchange_is_out_of_reach_and_go_on_as_soon_as_it_is_there() -> None:
    desk = Desk()
    desk.bars(101.0)
    desk.accept("entry")
    desk.fill("entry", 10.0, ENTRY_PRICE)
    desk.feed(Condition(desk.now, Cause.EXCHANGE_UNREACHABLE, True))
    for _ in range(1_800):
        desk.wait(1)
        for name in [n for n, o in desk.state.orders.items() if o.status is Status.SENT]:
            desk.feed(OutcomeUnknown(desk.now, name))
    tries = [doubts(desk.state, 0, role) for role in (Role.STOP, Role.EXIT)]
    assert tries == [MOST_IN_DOUBT, MOST_IN_DOUBT]
    effects = desk.feed(Condition(desk.now, Cause.EXCHANGE_UNREACHABLE, False))
    assert {order.role for order in placed(effects)} == {Role.STOP, Role.EXIT}


def test_a_stray_order_of_ours_is_cancelled_and_a_foreign_one_never() -> None:
    desk = in_a_trade()
    resting = read(desk).open_orders
    stray = OrderReport("t-99-stop", 0, True)
    effects = seen(desk, read(desk, open_orders=(*resting, stray)))
    assert [e for e in effects if isinstance(e, CancelOrder)] == [CancelOrder("t-99-stop", 0)]
    stranger = OrderReport("web-1", 0, True)
    effects = seen(desk, read(desk, open_orders=(*resting, stranger)))
    assert cancels(effects) == []
    assert Cause.FOREIGN_ORDER in desk.state.modes.causes


def test_a_target_that_its_own_read_has_ended_is_no_stray() -> None:
    """The read shows the stop's fill, and the target as it rested before that was known."""
    desk, snapshot = a_stop_that_traded()
    target = OrderReport("t-3-target", 0, True)
    stale = replace(
        snapshot, open_orders=(target,), reports={**snapshot.reports, "t-3-target": target}
    )
    effects = []
    for event in reconcile(desk.state, stale):
        effects += desk.feed(event)
        if cancels(effects) and "t-3-target" in desk.state.orders:
            desk.cancelled("target")  # an exchange that answers at once
    assert cancels(effects) == ["t-3-target"]
    assert "stray_order" not in kinds(effects)
    assert cancels(seen(desk, read(desk, open_orders=(target,)))) == ["t-3-target"]  # still there


def test_a_smaller_position_is_followed_only_when_it_lasts() -> None:
    desk = in_a_trade()
    smaller = (Holding(1, 4.0, 100.0),)
    assert seen(desk, read(desk, holdings=smaller)) == []
    assert desk.state.world.symbols[0].locked == 1
    assert seen(desk, read(desk, holdings=smaller)) == []  # the same moment proves nothing
    desk.wait(DIFFERENT_MS // 1_000)
    assert kinds(seen(desk, read(desk, holdings=smaller))) == ["external_position_change"]
    assert desk.position.contracts == 4.0
    # Its fill may still be told: no other position may be taken for the one that it was.
    assert desk.state.guards[0].locked_until - desk.now >= LATE_MS
    assert desk.state.world.symbols[0].locked == 1


def test_a_difference_that_our_books_have_moved_from_has_to_last_anew() -> None:
    """A late fill of the entry ends one doubt; a late fill of its target is the next one."""
    desk = after_a_part()
    desk.accept("target")
    more = read(desk, holdings=(Holding(1, 10.0, 100.0),))
    seen(desk, replace(more, asked=()))
    desk.wait(DIFFERENT_MS // 1_000)
    late = OrderFilled(desk.now, "t-1-entry", "late", 4.0, ENTRY_PRICE, 0.3, 0, 1)
    less = read(desk, holdings=(Holding(1, 9.0, 100.0),), entries=(late,))
    assert "external_position_change" not in kinds(seen(desk, replace(less, asked=())))
    assert desk.position.contracts == 10.0
    desk.fill("target", 1.0, 104.0)
    agreed = read(desk, holdings=(Holding(1, 9.0, 100.0),))
    seen(desk, replace(agreed, asked=()))
    assert (desk.position.contracts, desk.state.guards[0].differs) == (9.0, 0)


def followed(holding: Holding, **changes: object) -> Desk:
    """Return a desk with a trade whose position was found smaller for long enough."""
    desk = in_a_trade()
    for _ in range(2):
        seen(desk, read(desk, holdings=(holding,), **changes))
        desk.wait(DIFFERENT_MS // 1_000)
    seen(desk, read(desk, holdings=(holding,), **changes))
    return desk


def equity_of(desk: Desk) -> float:
    mark_equity(desk.state.world)
    assert desk.state.world.account.identity_error < 1.0
    return desk.state.world.account.equity


def test_the_late_fill_of_a_close_by_hand_is_not_booked_twice() -> None:
    desk = followed(Holding(1, 6.0, 100.0))
    assert desk.position.contracts == 6.0
    before = equity_of(desk)
    closed = OrderFilled(desk.now, "web-1", "w1", 4.0, 99.5, 0.3, 0, -1)
    assert kinds(desk.feed(closed)) == ["late_fill"]
    assert desk.position.contracts == 6.0
    assert desk.state.covered(0) >= 6.0
    assert equity_of(desk) == pytest.approx(before - 4.0 * 0.5 - 0.3)
    assert kinds(desk.feed(replace(closed, fill_id="w2"))) == ["external_position_change"]
    assert desk.position.contracts == 2.0


def test_a_word_that_comes_too_late_is_about_something_else() -> None:
    desk = followed(Holding(1, 6.0, 100.0))
    desk.wait(LATE_MS // 1_000)
    closed = OrderFilled(desk.now, "web-1", "w1", 4.0, 99.5, 0.3, 0, -1)
    assert kinds(desk.feed(closed)) == ["external_position_change"]
    assert desk.position.contracts == 2.0


def test_the_late_word_of_a_takeover_is_not_booked_twice() -> None:
    desk = followed(Holding(1, 6.0, 100.0))
    assert kinds(desk.liquidate(4.0, 99.0, Takeover.ADL)) == ["late_fill"]
    assert desk.position.contracts == 6.0


def test_the_late_word_of_a_takeover_that_took_more_than_was_seen_is_booked_whole() -> None:
    """It is told as one; four of it were booked when the position showed that they had gone."""
    desk = followed(Holding(1, 6.0, 99.0))
    before = equity_of(desk)
    taken = taken_over(desk.now, 10.0)
    assert kinds(desk.feed(taken)) == ["late_fill", "external_position_change"]
    assert desk.position.contracts == 0.0
    assert desk.state.modes.causes == {}
    gain = 4.0 * (100.0 - 99.0) - 6.0 * (101.0 - 100.0)
    assert equity_of(desk) == pytest.approx(before + gain - taken.fee)


def closed_and_listed_in_parts() -> Desk:
    """Return a desk whose position was found gone when five of its ten contracts were listed."""
    desk = Desk()
    desk.bars(101.0)
    desk.accept("entry")
    desk.fill("entry", 5.0, ENTRY_PRICE)
    name = desk.find("entry").request.client_id
    for awaited_s in (AWAITED_MS // 1_000, 0):
        desk.feed(OrderAhead(desk.now, name, 10.0, False, 0.0, 99.0))
        desk.feed(PositionSeen(desk.now, 0, 0, 0.0, 99.0, awaited=True))
        desk.wait(awaited_s)
    assert desk.position.contracts == 0.0
    return desk


@pytest.mark.parametrize("record", [by_hand, taken_over])
def test_what_is_news_in_a_late_word_waits_for_the_fills_of_an_entry(
    record: Callable[[int, float], OrderFilled | Liquidated],
) -> None:
    desk = closed_and_listed_in_parts()
    before = equity_of(desk)
    closed = record(desk.now, 10.0)
    assert desk.feed(closed) == []
    desk.wait(DIFFERENT_MS // 1_000)
    assert desk.feed(replace(closed, now_ms=desk.now)) == []
    opened = desk.fill("entry", 5.0, ENTRY_PRICE)
    assert kinds(opened) == ["opened"]
    told = kinds(desk.feed(replace(closed, now_ms=desk.now)))
    assert told == ["late_fill", "external_position_change"]
    assert desk.position.contracts == 0.0
    assert desk.state.modes.causes == {}
    paid = closed.fee + 5.0 * ENTRY_PRICE * 0.0006
    gain = 5.0 * (100.0 - 99.0) - 5.0 * (ENTRY_PRICE - 100.0)
    assert equity_of(desk) == pytest.approx(before + gain - paid)


def test_a_late_fill_of_our_stop_that_closed_more_than_was_seen_is_booked_whole() -> None:
    """All ten were under it before half of the entry was listed."""
    desk = Desk()
    desk.bars(101.0)
    desk.accept("entry")
    name = desk.find("entry").request.client_id
    for _ in range(2):
        desk.feed(OrderAhead(desk.now, name, 10.0, False, 10.0, 101.0))
        desk.wait(1)
    stop = desk.find("stop").request
    desk.accept("stop")
    desk.fill("entry", 5.0, ENTRY_PRICE)
    for awaited_s in (AWAITED_MS // 1_000, 0):
        desk.feed(OrderAhead(desk.now, stop.client_id, 10.0, False, 0.0, 99.0))
        desk.feed(PositionSeen(desk.now, 0, 0, 0.0, 99.0, awaited=True))
        desk.wait(awaited_s)
    desk.fill("entry", 5.0, ENTRY_PRICE)
    before = equity_of(desk)
    sold = OrderFilled(desk.now, stop.client_id, "s1", 10.0, 98.0, 0.6, 0, -1)
    assert kinds(desk.feed(sold)) == ["late_fill"]
    assert desk.position.contracts == 0.0
    assert [trade.quantity for trade in desk.trades] == [5.0, 5.0]
    gain = 5.0 * (98.0 - 99.0) + 5.0 * (98.0 - 101.0)  # from the price of the last bar
    assert equity_of(desk) == pytest.approx(before + gain - 0.6)
    assert desk.state.modes.causes == {}


STOPPED: dict[str, object] = {
    "holdings": (Holding(0, 0.0, 0.0),),
    "reports": {"t-2-stop": OrderReport("t-2-stop", 0, False, 10.0)},
    "open_orders": (),
    "asked": ("t-2-stop",),
}
"""the stop has traded, and its fill is not on the list"""


def test_a_fill_of_ours_that_is_late_on_the_list_is_waited_for() -> None:
    desk = in_a_trade()
    for _ in range(AWAITED_MS // 10_000):
        assert kinds(seen(desk, read(desk, **STOPPED))) == []
        desk.wait(10)
    assert desk.state.world.symbols[0].locked == 1
    told = desk.feed(OrderFilled(desk.now, "t-2-stop", "s1", 10.0, 99.0, 0.6, 0, -1))
    assert kinds(told) == []
    assert desk.trades[0].reason == STOP
    assert desk.trades[0].exit_price == 99.0


def test_a_fill_of_ours_that_comes_after_all_corrects_what_was_assumed() -> None:
    desk = in_a_trade()
    for _ in range(AWAITED_MS // 10_000 + 1):
        seen(desk, read(desk, **STOPPED))
        desk.wait(10)
    assert desk.trades[0].reason == EXTERNAL
    before, assumed = equity_of(desk), desk.trades[0].exit_price
    assert assumed == desk.state.world.symbols[0].mark > 0.0  # who is flat has no mark there
    told = desk.feed(OrderFilled(desk.now, "t-2-stop", "s1", 10.0, 99.0, 0.6, 0, -1))
    assert kinds(told) == ["late_fill"]
    assert equity_of(desk) == pytest.approx(before + 10.0 * (99.0 - assumed) - 0.6)
    assert "t-2-stop" not in desk.state.orders
    assert Cause.FOREIGN_ORDER not in desk.state.modes.causes


def partly_sold(desk: Desk, contracts: float, *entries: OrderFilled) -> list[Effect]:
    """Read an account with so many contracts of 10 left, whose target has traded 4 of them."""
    target, stop = OrderReport("t-3-target", 0, True, 4.0), OrderReport("t-2-stop", 0, True)
    shown = {"t-3-target": target, "t-2-stop": stop}
    holdings = (Holding(1, contracts, 100.0),)
    told = {"holdings": holdings, "reports": shown, "open_orders": (target, stop)}
    return seen(desk, read(desk, **told, entries=entries))


@pytest.mark.parametrize("sizes", [(4.0,), (1.0, 3.0), (4.0, 3.0)])
def test_a_late_fill_of_ours_that_closed_a_part_is_not_booked_twice(
    sizes: tuple[float, ...],
) -> None:
    desk = in_a_trade()
    for _ in range(AWAITED_MS // 10_000 + 1):
        partly_sold(desk, 6.0)
        desk.wait(10)
    assert desk.position.contracts == 6.0
    before = equity_of(desk)
    fills = [
        OrderFilled(desk.now + n, "t-3-target", f"x{n}", size, 104.0, 0.1, 0, -1)
        for n, size in enumerate(sizes)
    ]
    left = 10.0 - sum(sizes)
    assert set(kinds(partly_sold(desk, left, *fills))) == {"late_fill"}
    assert desk.position.contracts == left
    mark = desk.state.world.symbols[0].mark
    gain = 4.0 * (104.0 - 100.0) + (sum(sizes) - 4.0) * (104.0 - mark)
    assert equity_of(desk) == pytest.approx(before + gain - 0.1 * len(sizes))
    assert desk.state.orders["t-3-target"].filled == sum(sizes)


def test_a_fill_of_ours_is_no_late_word_about_what_somebody_else_closed() -> None:
    desk = followed(Holding(1, 6.0, 100.0))
    own = OrderFilled(desk.now, "t-3-target", "x1", 3.0, 104.0, 0.1, 0, -1)
    assert kinds(partly_sold(desk, 3.0, own)) == []
    assert desk.position.contracts == 3.0


def test_a_difference_that_goes_away_is_forgotten() -> None:
    desk = in_a_trade()
    seen(desk, read(desk, holdings=(Holding(1, 4.0, 100.0),)))
    seen(desk, read(desk))
    assert desk.state.guards[0].differs == 0
    assert desk.state.world.symbols[0].locked == 0
    assert desk.position.contracts == 10.0


@pytest.mark.parametrize("holding", [Holding(1, 12.0, 100.0), Holding(-1, 3.0, 100.0)])
def test_a_larger_or_opposite_position_is_never_adopted(holding: Holding) -> None:
    desk = in_a_trade()
    seen(desk, read(desk, holdings=(holding,)))
    desk.wait(DIFFERENT_MS // 1_000)
    seen(desk, read(desk, holdings=(holding,)))
    assert desk.position.contracts == 10.0
    assert Cause.FOREIGN_ORDER in desk.state.modes.causes


def test_a_close_by_hand_that_overtakes_our_own_fill_is_booked_after_it() -> None:
    desk = sent()
    closed = OrderFilled(desk.now, "web-1", "w1", 10.0, 100.0, 0.6, 0, -1)
    assert desk.feed(closed) == []  # it does not fit: not yet
    assert Cause.FOREIGN_ORDER not in desk.state.modes.causes
    opened = OrderFilled(desk.now, "t-1-entry", "f1", 10.0, ENTRY_PRICE, 0.6, 0, 1)
    desk.feed(opened)
    assert kinds(desk.feed(closed)) == ["external_position_change"]
    assert desk.position.contracts == 0.0
    assert desk.state.world.symbols[0].locked == 1
    assert desk.state.puzzles == {}


@pytest.mark.parametrize("reduction", [by_hand, taken_over])
def test_a_reduction_waits_for_the_fills_of_an_entry_however_late_they_are(
    reduction: Callable[..., OrderFilled | Liquidated],
) -> None:
    desk = sent()
    for _ in range(2):
        assert desk.feed(reduction(desk.now, 10.0)) == []
        desk.wait(DIFFERENT_MS // 1_000)
    assert desk.feed(reduction(desk.now, 10.0)) == []
    desk.feed(OrderFilled(desk.now, "t-1-entry", "f1", 10.0, ENTRY_PRICE, 0.6, 0, 1))
    assert kinds(desk.feed(reduction(desk.now, 10.0))) == ["external_position_change"]
    assert [(trade.quantity, trade.exit_price) for trade in desk.trades] == [(10.0, 100.0)]
    assert Cause.FOREIGN_ORDER not in desk.state.modes.causes


@pytest.mark.parametrize("contracts", [4.0, 10.0, 12.0])
@pytest.mark.parametrize("reduction", [by_hand, taken_over])
def test_what_others_closed_before_our_entry_was_sent_closes_nothing_of_ours(
    reduction: Callable[..., OrderFilled | Liquidated], contracts: float
) -> None:
    """A person sells what they have, and before that is told for good the bot buys."""
    desk = Desk()
    theirs = reduction(desk.now, contracts)
    assert kinds(seen(desk, read(desk, entries=(theirs,)))) == []
    desk.enter()
    for told in (["foreign_order"], []):
        assert kinds(seen(desk, read(desk, entries=(theirs,)))) == told
        desk.wait(DIFFERENT_MS // 1_000)
    assert desk.position.contracts == 10.0
    assert desk.find("stop").status is Status.OPEN


def test_what_others_close_as_our_entry_trades_is_ours_whatever_the_clocks_say() -> None:
    desk = sent()
    early = desk.now - CLOCK_MS
    desk.fill("entry", 10.0, ENTRY_PRICE)
    told = read(desk, entries=(by_hand(early, 10.0),), holdings=(Holding(0, 0.0, 0.0),))
    assert "external_position_change" in kinds(seen(desk, told))
    assert desk.position.contracts == 0.0


def test_a_late_sale_that_a_person_has_bought_back_in_part_is_booked_once() -> None:
    """They sell 6 and buy 2 before either is listed: 4 are booked as gone, and then 2 more."""
    desk = in_a_trade()
    desk.wait(1)
    fills = (by_hand(desk.now, 6.0), OrderFilled(desk.now, "web-2", "w2", 2.0, 100.0, 0.2, 0, 1))
    left = (Holding(1, 6.0, 99.0),)
    seen(desk, read(desk, holdings=left))
    desk.wait(DIFFERENT_MS // 1_000)
    assert kinds(seen(desk, read(desk, holdings=left))) == ["external_position_change"]
    before = equity_of(desk)
    told = kinds(seen(desk, read(desk, holdings=left, entries=fills)))
    assert told[:2] == ["late_fill", "external_position_change"]
    assert desk.position.contracts == 4.0
    assert desk.find("stop").rests
    gain = 4.0 * (100.0 - 99.0) - 2.0 * (101.0 - 100.0)
    assert equity_of(desk) == pytest.approx(before + gain - 0.6)


def test_two_late_sales_are_both_told_of_what_is_gone() -> None:
    """Each is followed before it is listed; the first is then no sale of what is left."""
    desk = in_a_trade()
    for left, mark in ((8.0, 99.0), (4.0, 98.0)):
        for _ in range(2):
            seen(desk, read(desk, holdings=(Holding(1, left, mark),)))
            desk.wait(DIFFERENT_MS // 1_000)
    assert desk.position.contracts == 4.0
    before = equity_of(desk)
    fills = tuple(
        OrderFilled(desk.now, "web-1", f"w{i}", size, 97.0, 0.1, 0, -1)
        for i, size in enumerate((4.0, 2.0))
    )
    held = (Holding(1, 4.0, 98.0),)
    assert kinds(seen(desk, read(desk, holdings=held, entries=fills))) == ["late_fill"] * 2
    assert desk.position.contracts == 4.0
    assert desk.find("stop").rests
    assert equity_of(desk) == pytest.approx(before - 2.0 * 2.0 - 4.0 * 1.0 - 0.2)


def test_more_than_we_hold_that_is_taken_over_has_taken_our_position() -> None:
    desk = in_a_trade()
    before = equity_of(desk)
    assert desk.feed(taken_over(desk.now, 12.0)) == []  # a fill of ours may be told before it
    desk.wait(DIFFERENT_MS // 1_000)
    told = kinds(desk.feed(taken_over(desk.now, 12.0)))
    assert told == ["foreign_order", "external_position_change"]
    assert [(trade.quantity, trade.exit_price) for trade in desk.trades] == [(10.0, 100.0)]
    assert equity_of(desk) == pytest.approx(before - 10.0 - 0.5)  # from 101


def test_a_person_who_sells_more_than_we_hold_has_closed_our_position() -> None:
    desk = in_a_trade()
    before = equity_of(desk)
    sold = OrderFilled(desk.now, "web-1", "w1", 12.0, 100.0, 1.2, 0, -1)
    assert desk.feed(sold) == []  # a fill of ours may still be told before it
    desk.wait(DIFFERENT_MS // 1_000)
    effects = desk.feed(replace(sold, now_ms=desk.now))
    assert kinds(effects) == ["foreign_order", "external_position_change"]
    assert desk.position.contracts == 0.0
    [trade] = desk.trades
    assert (trade.reason, trade.exit_price) == (EXTERNAL, 100.0)
    assert equity_of(desk) == pytest.approx(before - 10.0 * 1.0 - 1.0)  # they pay for their 2
    assert set(cancels(effects)) == {"t-2-stop", "t-3-target"}
    assert desk.state.world.symbols[0].locked == 1
    assert desk.state.modes.name == "REDUCE_ONLY"


def test_another_bot_that_closes_our_position_is_no_close_by_hand() -> None:
    """Nothing of it may be left on the account, and it would trade again."""
    desk = in_a_trade()
    sold = OrderFilled(desk.now, "r5f3a9c01-7-entry", "w1", 10.0, 100.0, 0.6, 0, -1)
    assert kinds(desk.feed(sold)) == ["foreign_order", "external_position_change"]
    assert desk.position.contracts == 0.0
    assert desk.state.modes.name == "REDUCE_ONLY"


def test_another_bot_is_known_before_its_trade_fits() -> None:
    desk = sent()
    sold = OrderFilled(desk.now, "r5f3a9c01-7-entry", "w1", 10.0, 100.0, 0.6, 0, -1)
    assert kinds(desk.feed(sold)) == ["foreign_order"]
    desk.feed(OrderFilled(desk.now, "t-1-entry", "f1", 10.0, ENTRY_PRICE, 0.6, 0, 1))
    assert kinds(desk.feed(sold)) == ["external_position_change"]


def test_a_trade_that_never_fits_is_foreign_in_the_end() -> None:
    desk = Desk()
    stranger = OrderFilled(desk.now, "web-1", "w1", 10.0, 100.0, 0.6, 0, -1)
    assert desk.feed(stranger) == []
    desk.wait(DIFFERENT_MS // 1_000)
    assert kinds(desk.feed(replace(stranger, now_ms=desk.now))) == ["foreign_order"]
    assert desk.feed(replace(stranger, now_ms=desk.now)) == []


def test_a_wallet_that_jumps_and_stays_so_holds_entries() -> None:
    desk = in_a_trade()
    wallet = read(desk).wallet * 1.01
    seen(desk, read(desk, wallet=wallet))
    seen(desk, read(desk, wallet=wallet))  # a fill may be late on the list of fills
    assert Cause.EQUITY_JUMP not in desk.state.modes.causes
    desk.wait(DIFFERENT_MS // 1_000)
    assert kinds(seen(desk, read(desk, wallet=wallet))) == ["equity_jump"]
    assert Cause.EQUITY_JUMP in desk.state.modes.causes


def test_a_wallet_that_is_right_again_is_no_jump() -> None:
    desk = in_a_trade()
    wallet = read(desk).wallet * 1.01
    seen(desk, read(desk, wallet=wallet))
    desk.wait(DIFFERENT_MS // 1_000)
    seen(desk, read(desk))
    assert kinds(seen(desk, read(desk, wallet=wallet))) == []
    assert desk.state.modes.causes == {}


def test_a_person_who_resumes_accepts_the_wallet_as_it_is() -> None:
    desk = in_a_trade()
    account, ours = desk.state.world.account, read(desk).wallet
    deposits, peak = account.deposits, account.peak_equity
    seen(desk, read(desk, wallet=ours + 50.0))
    desk.wait(DIFFERENT_MS // 1_000)
    seen(desk, read(desk, wallet=ours + 50.0))
    assert "transfer" in kinds(desk.say(Command.RESUME, "a rebate"))
    assert account.deposits == pytest.approx(deposits + 50.0)
    assert account.peak_equity <= peak + 50.0
    desk.wait(60)
    assert seen(desk, read(desk, wallet=ours + 50.0)) == []
    assert desk.state.modes.causes == {}


def test_a_person_who_resumes_accepts_no_wallet_that_a_late_sale_will_explain() -> None:
    """They have sold at 106, it was booked at 100, and they resume before the sale is listed."""
    desk = in_a_trade()
    richer = read(desk).wallet + 10.0 * (106.0 - ENTRY_PRICE)
    sold = {"holdings": (Holding(0, 0.0, 100.0),), "wallet": richer}
    for _ in range(3):
        seen(desk, read(desk, **sold))
        desk.wait(DIFFERENT_MS // 1_000)
    seen(desk, read(desk, **sold))
    assert Cause.EQUITY_JUMP in desk.state.modes.causes
    assert kinds(desk.say(Command.RESUME, "it was me"))[:2] == ["operator", "equity_jump"]
    assert Cause.EQUITY_JUMP not in desk.state.modes.causes
    listed = OrderFilled(desk.now, "web-1", "w1", 10.0, 106.0, 0.0, 0, -1)
    assert kinds(seen(desk, read(desk, **sold, entries=(listed,)))) == ["late_fill"]
    assert read(desk).wallet == pytest.approx(richer)


def test_a_wallet_that_no_late_sale_has_explained_in_time_is_accepted() -> None:
    desk = followed(Holding(1, 6.0, 100.0))
    desk.wait(LATE_MS // 1_000)
    richer = read(desk).wallet + 50.0
    for _ in range(2):
        seen(desk, read(desk, holdings=(Holding(1, 6.0, 100.0),), wallet=richer))
        desk.wait(DIFFERENT_MS // 1_000)
    assert "transfer" in kinds(desk.say(Command.RESUME, "nothing was listed"))
    assert read(desk).wallet == pytest.approx(richer)


def test_a_position_that_is_not_configured_is_foreign() -> None:
    desk = in_a_trade()
    effects = seen(desk, read(desk, foreign=("PEPE-USDT-PERP",)))
    assert kinds(effects) == ["foreign_order"]
    assert "PEPE-USDT-PERP" in notices(effects)[0].text
    assert Cause.FOREIGN_ORDER in desk.state.modes.causes


@pytest.mark.parametrize("amount", [500.0, -500.0])
def test_money_moved_by_hand_is_no_profit_and_no_loss(amount: float) -> None:
    desk = in_a_trade()
    account = desk.state.world.account
    peak = account.peak_equity
    desk.feed(Transferred(desk.now, "d1", amount))
    desk.feed(Transferred(desk.now, "d1", amount))  # told twice
    assert account.deposits == 2_100.0 + amount
    assert account.peak_equity == peak + amount
    desk.bars(101.0)
    assert account.daily_loss < 0.002  # the fee
    assert account.drawdown < 0.002
    assert desk.state.modes.causes == {}


def an_entry_that_traded() -> tuple[Desk, Snapshot]:
    desk = sent()
    fills = tuple(
        OrderFilled(desk.now + i, "t-1-entry", f"f{i}", 3.0, ENTRY_PRICE, 0.2, 0, 1)
        for i in range(3)
    )
    return desk, read(
        desk,
        entries=fills,
        reports={"t-1-entry": OrderReport("t-1-entry", 0, False, 9.0)},
        open_orders=(OrderReport("t-77-target", 0, True),),
        holdings=(Holding(1, 9.0, 100.0),),
        wallet=desk.state.world.account.deposits - 0.6,
    )


def a_stop_that_traded() -> tuple[Desk, Snapshot]:
    desk = in_a_trade()
    desk.wait(10)
    fill = OrderFilled(desk.now, "t-2-stop", "s1", 10.0, 99.0, 0.6, 0, -1)
    return desk, read(
        desk,
        entries=(FundingSettled(desk.now - 1, 0, -0.5, "n1"), fill),
        reports={
            "t-2-stop": OrderReport("t-2-stop", 0, False, 10.0),
            "t-3-target": OrderReport("t-3-target", 0, False),
        },
        open_orders=(),
        holdings=(Holding(0, 0.0, 0.0),),
    )


def a_day_with_everything() -> tuple[Desk, Snapshot]:
    desk = in_a_trade()
    desk.wait(10)
    return desk, read(
        desk,
        entries=(
            Liquidated(desk.now - 3, 0, 2.0, 98.0, 0.1, "l1", Takeover.ADL),
            FundingSettled(desk.now - 2, 0, -0.5, "n1"),
            Transferred(desk.now - 1, "m1", 500.0),
            OrderFilled(desk.now, "web-1", "w1", 1.0, 98.5, 0.1, 0, -1),
        ),
        reports={"t-3-target": OrderReport("t-3-target", 0, False, refusal="no")},
        open_orders=(OrderReport("web-9", 0, True), OrderReport("t-77-target", 0, True)),
        holdings=(Holding(1, 5.0, 20.0),),
        foreign=("XRPUSDTM",),
        wallet=1.0,
    )


def an_exit_without_an_answer() -> tuple[Desk, Snapshot]:
    desk = in_a_trade()
    desk.say(Command.CLOSE, "by hand", 0)
    desk.feed(OutcomeUnknown(desk.now, "t-4-exit"))
    desk.wait(1)
    report = OrderReport("t-4-exit", 0, True, 0.0)
    everything = read(desk)
    return desk, replace(
        everything,
        open_orders=(*everything.open_orders, report),
        reports={**everything.reports, "t-4-exit": report},
    )


@pytest.mark.parametrize(
    ("life", "events"),
    [
        (an_entry_that_traded, {"OrderFilled", "StrayOrder"}),
        (a_stop_that_traded, {"OrderFilled", "FundingSettled"}),
        (
            a_day_with_everything,
            {
                "Liquidated",
                "FundingSettled",
                "Transferred",
                "OrderFilled",
                "OrderMissing",
                "OrderRejected",
                "ForeignOrder",
                "ForeignPosition",
                "StrayOrder",
                "PositionSeen",
                "WalletSeen",
                "LossSeen",
            },
        ),
        (an_exit_without_an_answer, {"OrderResting"}),
    ],
)
def test_reconcile_can_be_broken_off_anywhere(
    life: Callable[[], tuple[Desk, Snapshot]], events: set[str]
) -> None:
    """After any prefix the same read, and what is left of it, lead to the same orders, positions
    and money as the whole."""

    def books(desk: Desk) -> list[tuple[str, str]]:
        # How often something was seen is counted, and one that is seen twice is seen more often.
        counts = ("guards", "orders", "causes", "read", "wallet", "watch")
        return [part for part in desk.state.digest_parts() if not part[0].startswith(counts)]

    desk, snapshot = life()
    told = []
    for event in reconcile(desk.state, snapshot):
        told.append(type(event).__name__)
        desk.feed(event)
    assert set(told) >= events
    seen(desk, snapshot)
    whole = books(desk)
    orders = {name: order.status for name, order in desk.state.orders.items()}
    for prefix in range(len(told) + 1):
        desk, snapshot = life()
        for number, event in enumerate(reconcile(desk.state, snapshot)):
            if number == prefix:
                break
            desk.feed(event)
        seen(desk, snapshot)
        assert books(desk) == whole, prefix
        assert {name: order.status for name, order in desk.state.orders.items()} == orders, prefix


def test_a_stop_of_ours_stays_until_another_one_covers() -> None:
    """The journal is older than the stop: an order of ours that it does not know protects."""
    desk = Desk()
    desk.bars(101.0)
    desk.fill("entry", 10.0, ENTRY_PRICE)  # its stop has no answer yet
    unknown = OrderReport("t-77-stop", 0, True)
    held = {"holdings": (Holding(1, 10.0, 100.0),), "open_orders": (unknown,)}
    assert cancels(seen(desk, read(desk, **held))) == []
    desk.accept("stop")
    resting = read(desk).open_orders
    covered = read(desk, holdings=held["holdings"], open_orders=(*resting, unknown))
    assert cancels(seen(desk, covered)) == ["t-77-stop"]


def test_a_stop_under_a_position_that_our_books_have_lost_stays() -> None:
    """All that protects it; a journal that was lost must not leave it bare."""
    desk = Desk()
    lost = {
        "holdings": (Holding(1, 5.0, 100.0),),
        "open_orders": (OrderReport("t-8-stop", 0, True), OrderReport("t-9-target", 0, True)),
    }
    assert cancels(seen(desk, read(desk, **lost))) == ["t-9-target"]
    desk.wait(DIFFERENT_MS // 1_000)
    assert kinds(seen(desk, read(desk, **lost))) == ["stray_order", "foreign_order"]
    gone = read(desk, open_orders=lost["open_orders"][:1])
    assert cancels(seen(desk, gone)) == ["t-8-stop"]


def test_a_doubt_about_the_account_is_known_and_ends() -> None:
    desk = in_a_trade()
    assert not desk.state.doubted
    ours = read(desk).wallet
    seen(desk, read(desk, wallet=ours + 1.0))  # less than a jump
    assert desk.state.doubted
    assert desk.state.wallet_doubts == 0
    seen(desk, read(desk))
    assert not desk.state.doubted
    assert seen(desk, read(desk)) == []
    seen(desk, read(desk, holdings=(Holding(1, 4.0, 100.0),)))
    assert desk.state.doubted
    seen(desk, read(desk))
    assert not desk.state.doubted
    for cause in (Cause.EQUITY_JUMP, Cause.FOREIGN_ORDER):
        desk.state.modes.tighten(cause, 1)
        assert desk.state.doubted
        desk.state.modes.causes.clear()


def test_a_person_who_resumes_accepts_no_difference_that_has_gone() -> None:
    desk = in_a_trade()
    account, ours = desk.state.world.account, read(desk).wallet
    seen(desk, read(desk, wallet=ours + 50.0))
    desk.wait(DIFFERENT_MS // 1_000)
    seen(desk, read(desk, wallet=ours + 50.0))
    seen(desk, read(desk, wallet=ours + 5.0))
    seen(desk, read(desk))
    deposits = account.deposits
    desk.say(Command.RESUME, "the list of records was late")
    assert account.deposits == deposits
