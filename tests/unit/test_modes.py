"""The ladder of operating modes: which causes set which mode, and who may take them back."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.errors import InvariantError
from bot.core.kernel.codes import FLATTEN, HALT, MODE_NAMES, REDUCE_ONLY, RUN
from bot.core.modes import Cause, Clearer, Modes

# DESIGN section 4, once more by hand: a changed row must be changed here too, on purpose.
LADDER = {
    Cause.STALE_DATA: (REDUCE_ONLY, Clearer.CONDITION),
    Cause.EQUITY_JUMP: (REDUCE_ONLY, Clearer.PERSON),
    Cause.DAILY_LOSS: (REDUCE_ONLY, Clearer.NEXT_DAY),
    Cause.EXCHANGE_ERRORS: (REDUCE_ONLY, Clearer.QUIET_TIME),
    Cause.JOURNAL_FAILED: (REDUCE_ONLY, Clearer.CONDITION),
    Cause.RECOVERING: (HALT, Clearer.CONDITION),
    Cause.STOPPING: (HALT, Clearer.CONDITION),
    Cause.FOREIGN_ORDER: (REDUCE_ONLY, Clearer.PERSON),
    Cause.EXCHANGE_UNREACHABLE: (HALT, Clearer.CONDITION),
    Cause.OPERATOR_HALT: (HALT, Clearer.PERSON),
    Cause.RECOVERY_FAILED: (HALT, Clearer.PERSON),
    Cause.DRAWDOWN: (FLATTEN, Clearer.PERSON),
    Cause.KILL_SWITCH: (FLATTEN, Clearer.PERSON),
}
causes = st.sampled_from(list(Cause))


def test_the_ladder_rises() -> None:
    assert RUN < REDUCE_ONLY < HALT < FLATTEN
    assert set(MODE_NAMES) == {RUN, REDUCE_ONLY, HALT, FLATTEN}


def test_every_cause_is_in_the_table_above() -> None:
    assert {cause: (cause.mode, cause.clearer) for cause in Cause} == LADDER


def test_no_cause_is_run() -> None:
    assert Modes().mode == RUN
    assert Modes().name == "RUN"


@pytest.mark.parametrize("cause", Cause, ids=lambda cause: cause.label)
@pytest.mark.parametrize("clearer", Clearer, ids=lambda clearer: clearer.name.lower())
def test_only_the_named_party_clears_a_cause(cause: Cause, clearer: Clearer) -> None:
    modes = Modes()
    modes.tighten(cause, 5)
    assert modes.mode == LADDER[cause][0]
    if clearer is LADDER[cause][1]:
        assert modes.clear(cause, clearer) is True
        assert modes.mode == RUN
        assert modes.clear(cause, clearer) is False
    else:
        with pytest.raises(InvariantError, match=cause.label):
            modes.clear(cause, clearer)
        assert modes.causes == {cause: 5}


@pytest.mark.parametrize("cause", Cause, ids=lambda cause: cause.label)
def test_the_wrong_party_is_refused_even_when_there_is_nothing_to_clear(cause: Cause) -> None:
    for clearer in set(Clearer) - {cause.clearer}:
        with pytest.raises(InvariantError):
            Modes().clear(cause, clearer)


def test_a_cause_that_comes_again_keeps_its_first_time() -> None:
    modes = Modes()
    assert modes.tighten(Cause.DAILY_LOSS, 1) is True
    assert modes.tighten(Cause.DAILY_LOSS, 2) is False
    assert modes.causes == {Cause.DAILY_LOSS: 1}


@given(st.lists(causes, unique=True), st.randoms(use_true_random=False))
def test_the_mode_is_the_maximum_in_whatever_order_causes_come(
    found: list[Cause], random: Random
) -> None:
    one, two = Modes(), Modes()
    for cause in found:
        one.tighten(cause, 1)
    random.shuffle(found)
    for cause in found:
        before = two.mode
        two.tighten(cause, 1)
        assert two.mode >= before
    assert one.mode == two.mode == max((LADDER[cause][0] for cause in found), default=RUN)
    assert one.name == MODE_NAMES[one.mode]


@given(st.lists(causes, unique=True, min_size=1))
def test_clearing_one_cause_leaves_the_mode_of_the_others(found: list[Cause]) -> None:
    modes = Modes()
    for cause in found:
        modes.tighten(cause, 1)
    first, *others = found
    modes.clear(first, first.clearer)
    assert modes.mode == max((LADDER[cause][0] for cause in others), default=RUN)
