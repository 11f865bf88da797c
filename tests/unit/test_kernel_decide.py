"""One decision cycle: what is seen and judged, exits by mode, trailing, profile reference."""

import pytest

from bot.core.kernel.codes import (
    ENTRY,
    EXIT,
    FLATTEN,
    HALT,
    KILL,
    LONG,
    NO_INTENT,
    REDUCE_ONLY,
    REVERSAL,
    RUN,
    SHORT,
    SIGNAL,
    TREND,
)
from bot.core.kernel.decide import decide, judge, see_bar
from bot.core.kernel.records import CORRELATION_SLOTS, Intent, Position, World
from tests.support.worlds import DAY, HOUR, START, make_spec, make_world, reference_world

NOW = START + HOUR


def holding(side: int = LONG, symbols: int = 1) -> World:
    """Return a world where trend holds 10 contracts of symbol 0 from 100, marked at 105."""
    specs = [make_spec(multiplier=1.0) for _ in range(symbols)]
    w = make_world(symbols, strategies=(TREND,), specs=specs)
    w.positions[0] = Position(
        side=side,
        contracts=10.0,
        entry_price=100.0,
        stop_distance=0.02,
        stop_price=100.0 - 2.0 * side,
        best_close=100.0,
    )
    s = w.symbols[0]
    s.bar_time, s.mark, s.bars = NOW, 100.0 + 5.0 * side, 200
    return w


@pytest.mark.parametrize("side", [LONG, SHORT])
@pytest.mark.parametrize("mode", [RUN, REDUCE_ONLY])
def test_the_owner_leaves_on_its_signal(side: int, mode: int) -> None:
    w = holding(side)
    w.symbols[0].spread = -0.1 * side
    decide(w, NOW, mode)
    intent = w.intents[0]
    assert (intent.kind, intent.reason, intent.time) == (EXIT, SIGNAL, NOW)
    assert (intent.side, intent.contracts, intent.limit_price) == (side, 10.0, 0.0)
    assert w.positions[0].stop_price == 100.0 - 2.0 * side  # a leaving position is not trailed


@pytest.mark.parametrize("mode", [RUN, REDUCE_ONLY, HALT])
def test_the_stop_trails_at_the_decision(mode: int) -> None:
    """Also in HALT, which still protects."""
    w = holding()
    w.symbols[0].spread = 0.1
    decide(w, NOW, mode)
    assert w.intents[0].kind == NO_INTENT
    assert w.positions[0].stop_price == 103.0  # best close 105 - 2 % of the entry price


def test_halt_leaves_positions_to_their_stops() -> None:
    w = holding()
    w.symbols[0].spread = -0.1
    decide(w, NOW, HALT)
    assert w.intents[0].kind == NO_INTENT


def test_flatten_closes_everything_even_without_a_bar() -> None:
    w = holding(symbols=3)
    w.positions[2] = Position(side=SHORT, contracts=4.0, entry_price=100.0)
    w.symbols[2].bar_time = NOW - HOUR
    decide(w, NOW, FLATTEN)
    assert [(i.kind, i.reason, i.side, i.contracts) for i in w.intents] == [
        (EXIT, KILL, LONG, 10.0),
        (NO_INTENT, 0, 0, 0.0),
        (EXIT, KILL, SHORT, 4.0),
    ]


@pytest.mark.parametrize("mode", [RUN, FLATTEN])
def test_a_wanted_exit_stays_as_it_is(mode: int) -> None:
    w = holding()
    w.symbols[0].spread = 0.1
    w.intents[0] = Intent(kind=EXIT, time=START, side=LONG, contracts=10.0, reason=SIGNAL)
    decide(w, NOW, mode)
    assert w.intents[0] == Intent(kind=EXIT, time=START, side=LONG, contracts=10.0, reason=SIGNAL)


def test_without_a_bar_nothing_is_decided() -> None:
    w = holding()
    w.symbols[0].spread = -0.1
    w.symbols[0].bar_time = NOW - HOUR
    decide(w, NOW, RUN)
    assert w.intents[0].kind == NO_INTENT
    assert w.positions[0].stop_price == 98.0


def test_a_bar_goes_into_indicators_and_samples() -> None:
    w = make_world(2)
    see_bar(w, 1, NOW, 101.0, 99.0, 100.0)
    see_bar(w, 1, NOW + HOUR, 111.0, 99.0, 110.0)
    s = w.symbols[1]
    assert (s.bars, s.bar_time, s.mark) == (2, NOW + HOUR, 110.0)
    slot = CORRELATION_SLOTS + (NOW // HOUR + 1) % CORRELATION_SLOTS
    assert w.samples[slot] == NOW // HOUR + 1
    assert w.returns[slot] == pytest.approx(0.1)
    assert w.symbols[0].bars == 0


def test_judging_marks_counts_and_judges() -> None:
    w = holding()
    judge(w, NOW)
    a = w.account
    # nothing was booked in cash: only the unrealised 10 x 5 shows in equity
    assert (a.equity, a.peak_equity, a.cycles, a.exposed_cycles) == (10_050.0, 10_050.0, 1, 1)
    w.positions[0] = Position()
    judge(w, NOW + HOUR)
    assert (a.equity, a.cycles, a.exposed_cycles) == (10_000.0, 2, 1)


def test_the_limits_are_judged_before_the_day_rolls() -> None:
    """A loss of 16 % that shows at 00:00 kills, although the day's own lock is cleared at once."""
    w = holding()
    w.symbols[0].mark = 100.0 - 160.0
    judge(w, START + DAY)
    a = w.account
    assert a.killed_at == START + DAY
    assert (a.day, a.day_equity, a.daily_locked) == (START // DAY + 1, 8_400.0, 0)


def crossing(side: int, symbols: int = 1) -> World:
    """Return a reference world on which the averages have just crossed towards `side`."""
    w = reference_world(symbols)
    for s in w.symbols:
        s.bars, s.bar_time, s.mark = 49, NOW, 100.0
        s.prev_cross_diff, s.cross_diff = -0.1 * side, 0.1 * side
    return w


@pytest.mark.parametrize("side", [LONG, SHORT])
def test_the_reference_strategy_enters_on_a_cross(side: int) -> None:
    w = crossing(side)
    decide(w, NOW, RUN)
    intent = w.intents[0]
    assert (intent.kind, intent.side, intent.time) == (ENTRY, side, NOW)
    assert (intent.notional, intent.contracts, intent.limit_price) == (3_000.0, 0.0, 0.0)
    assert (intent.leverage, intent.stop_distance, intent.target_distance) == (1.0, 0.02, 0.04)


@pytest.mark.parametrize("mode", [REDUCE_ONLY, HALT, FLATTEN])
def test_the_reference_profile_knows_no_modes(mode: int) -> None:
    w = crossing(LONG)
    decide(w, NOW, mode)
    assert w.intents[0].kind == ENTRY


def test_the_reference_strategy_reverses_on_the_opposite_cross() -> None:
    w = crossing(SHORT)
    w.positions[0] = Position(side=LONG, contracts=30.0, entry_price=100.0)
    decide(w, NOW, RUN)
    intent = w.intents[0]
    assert (intent.kind, intent.reason, intent.side) == (EXIT, REVERSAL, LONG)
    assert (intent.contracts, intent.reverse_side) == (30.0, SHORT)


def test_the_reference_strategy_stays_on_a_cross_its_own_way() -> None:
    w = crossing(LONG)
    w.positions[0] = Position(side=LONG, contracts=30.0, entry_price=100.0)
    decide(w, NOW, RUN)
    assert w.intents[0].kind == NO_INTENT


def test_the_reference_strategy_waits_for_its_order_and_for_a_bar() -> None:
    w = crossing(LONG, 2)
    w.intents[0] = Intent(kind=ENTRY, time=START, side=SHORT, notional=1.0)
    w.symbols[1].bar_time = NOW - HOUR
    decide(w, NOW, RUN)
    assert w.intents[0] == Intent(kind=ENTRY, time=START, side=SHORT, notional=1.0)
    assert w.intents[1].kind == NO_INTENT
