"""What only a planted mistake (scripts/mutants.py) showed to be untested in `core.step`."""

from typing import Any

import pytest

from bot.core.errors import InvariantError
from bot.core.kernel.codes import (
    ALREADY_IN,
    CUT,
    ENTRY,
    LONG,
    NO_WISH,
    OPPOSITE,
    REVERSION,
    SAME_SIDE,
    SHORT,
    TREND,
)
from bot.core.kernel.records import Intent
from bot.core.market import Bar
from bot.core.messages import Command, History, OrderRejected, PlaceOrder, Role, Tick
from bot.core.orders import Order, Trigger
from bot.core.risk import review
from bot.core.state import ERROR_QUIET_MS, REMEMBERED_FILLS
from tests.support.states import (
    Desk,
    cancels,
    eager_params,
    make_state,
    notices,
    number,
    placed,
)
from tests.support.worlds import MINUTE, START, make_world


def desk_of(symbols: int = 1, **params: Any) -> Desk:
    """Return a desk whose symbols are not related to each other."""
    return Desk(make_state(symbols, params=eager_params(correlation_limit=2.0, **params)))


def test_a_second_partial_fill_at_the_same_price_gets_its_stop_too() -> None:
    """The level stays where it is, so only the size tells the new stop from the old one."""
    desk = Desk()
    desk.bars(101.0)
    desk.accept("entry")
    desk.fill("entry", 6.0, 101.1)
    desk.accept("stop")
    [stop] = placed(desk.fill("entry", 4.0, 101.1), Role.STOP)
    assert (stop.contracts, stop.price) == (10.0, desk.position.stop_price)


def test_a_stop_that_does_not_cover_everything_replaces_nothing() -> None:
    """Three parts fill, and the stop for all ten is refused: three and six protect nine."""
    desk = Desk()
    desk.bars(101.0)
    desk.accept("entry")
    desk.fill("entry", 3.0, 101.1)
    desk.accept("stop")
    [six] = placed(desk.fill("entry", 3.0, 101.1), Role.STOP)
    [ten] = placed(desk.fill("entry", 4.0, 101.1), Role.STOP)
    desk.reject(f"#{number(ten.client_id)}")
    effects = desk.accept(f"#{number(six.client_id)}")
    assert cancels(effects) == []
    assert desk.state.covered(0) == 9.0


def test_a_stop_that_is_being_cancelled_protects_no_more_after_a_partial_fill() -> None:
    stop = Order(
        PlaceOrder("t-1-stop", 0, Role.STOP, -1, 10.0, 98.0, 10.0), reason=0, sent_ms=START
    )
    for trigger in (Trigger.ACCEPT, Trigger.ASK_CANCEL, Trigger.FILL_PART):
        stop.apply(trigger)
    assert stop.live
    assert not stop.rests


def test_the_deadline_of_one_position_is_not_that_of_the_next() -> None:
    desk = desk_of(timeframe_ms=MINUTE)
    desk.bars(101.0)
    desk.fill("entry", 10.0, 101.1)
    desk.wait(3)  # its stop has no answer
    desk.fill("target", 10.0, 104.0)
    desk.signal_again()
    effects = desk.fill("entry", 10.0, 104.1)
    assert [order.role for order in placed(effects)] == [Role.STOP, Role.TARGET]
    assert notices(effects, "uncovered") == []


def test_after_a_lock_the_errors_are_counted_anew() -> None:
    desk = Desk()
    desk.bars(101.0)
    desk.fill("entry", 10.0, 101.1)
    locks = 0
    for _ in range(9):
        locks += len(notices(desk.reject("stop"), "symbol_locked"))
        desk.wait(1)
    assert locks == 1
    assert len(notices(desk.reject("stop"), "symbol_locked")) == 1


def test_a_refusal_of_an_order_we_do_not_know_changes_nothing() -> None:
    desk = Desk()
    desk.enter()
    before = desk.state.digest()
    assert desk.feed(OrderRejected(desk.now, "web-7", "busy")) == []
    assert desk.state.digest() == before


def test_only_the_newest_fill_ids_are_remembered() -> None:
    desk = Desk()
    desk.state.fill_ids = {f"x{i}": None for i in range(REMEMBERED_FILLS)}
    desk.bars(101.0)
    desk.fill("entry", 10.0, 101.1)
    assert len(desk.state.fill_ids) == REMEMBERED_FILLS
    assert "x0" not in desk.state.fill_ids
    assert {"x1", "f1"} <= set(desk.state.fill_ids)


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("account", "identity_error", 1.1),
        ("account", "equity", float("nan")),
        ("position", "contracts", 9.5),
        ("position", "contracts", 0.0),
        ("position", "stop_price", 0.0),
        ("position", "side", 0),
    ],
)
def test_a_state_that_contradicts_itself_ends_the_process(
    part: str, field: str, value: float
) -> None:
    desk = Desk()
    desk.enter()
    desk.wait(1)
    setattr(desk.position if part == "position" else desk.state.world.account, field, value)
    with pytest.raises(InvariantError):
        desk.wait(1)


def test_bars_from_before_the_run_only_warm_up() -> None:
    desk = Desk(warm=False)
    assert desk.feed(History(START, (Bar(100.0, 101.0, 99.0, 100.0, 1.0),))) == []
    assert (desk.state.world.symbols[0].bars, desk.state.world.symbols[0].mark) == (1, 100.0)
    assert desk.state.world.account.cycles == 0


def test_a_limit_that_flattens_cancels_the_entries_that_are_on_their_way() -> None:
    """10 coins fall from 101.1 to 95: 61 of 2,100 USDT are over 2 %."""
    desk = desk_of(2, drawdown_limit=0.02)
    first, second = placed(desk.bars(101.0))
    desk.fill(f"#{number(first.client_id)}", 10.0, 101.1)
    desk.accept("stop")
    assert cancels(desk.bars(101.0)) == []  # as long as nothing is wrong it stays
    effects = desk.bars(95.0)
    assert desk.state.modes.name == "FLATTEN"
    assert cancels(effects) == [second.client_id]
    assert [exit_.symbol for exit_ in placed(effects, Role.EXIT)] == [0]


def test_resume_forgets_the_fast_drawdown_it_was_called_for() -> None:
    desk = desk_of(
        timeframe_ms=MINUTE, drawdown_limit=0.9, daily_loss_limit=0.9, fast_drawdown_limit=0.02
    )
    desk.enter()
    desk.bars(95.0)
    assert desk.state.modes.name == "FLATTEN"
    desk.fill("exit", 10.0, 95.0)
    desk.say(Command.RESUME, "checked")
    desk.bars(95.0)
    assert desk.state.modes.name == "RUN"


def test_errors_from_before_the_quiet_time_are_not_counted_again() -> None:
    desk = desk_of(timeframe_ms=MINUTE)
    desk.bars(101.0)
    desk.fill("entry", 10.0, 101.1)
    for _ in range(11):
        desk.reject("stop")
        desk.wait(1)
    assert desk.state.modes.name == "REDUCE_ONLY"
    desk.accept("stop")
    desk.fill("stop", 10.0, 99.0)
    desk.feed(Tick(desk.now + ERROR_QUIET_MS))
    desk.signal_again()
    desk.reject("entry")
    assert desk.state.modes.name == "RUN"


def test_a_review_names_symbol_strategy_and_side() -> None:
    """Two strategies, three symbols: one entry is cut, two wishes are refused, one is no news."""
    w = make_world(3, strategies=(TREND, REVERSION))
    w.wishes[:] = [0.0, -1.0, 2.0, 0.0, 3.0, -1.0]
    w.verdicts[:] = [NO_WISH, SAME_SIDE, CUT, NO_WISH, ALREADY_IN, OPPOSITE]
    w.intents[2] = Intent(kind=ENTRY, time=START, side=LONG, contracts=5.0, strategy=0)
    approved, refused = review(w, START)
    assert [(a.symbol, a.strategy, a.side, a.contracts, a.cut) for a in approved] == [
        (2, "trend", LONG, 5.0, True)
    ]
    assert [(r.symbol, r.strategy, r.side, r.reason) for r in refused] == [
        (1, "trend", SHORT, "same_side"),
        (2, "reversion", SHORT, "opposite"),
    ]
    assert review(w, START + 1)[0] == []
