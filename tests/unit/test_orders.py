"""The life of an order as a table, client ids, and messages that refuse to be wrong."""

import math
import re
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.errors import InvariantError
from bot.core.messages import Command, Operator, OrderFilled, PlaceOrder, Role
from bot.core.orders import (
    ORDER_TABLE,
    RESTING,
    TERMINAL,
    Order,
    Status,
    Trigger,
    client_id,
    is_ours,
)

STOP = PlaceOrder("t-1-stop", 0, Role.STOP, -1, 5.0, 99.0, 8.0)
FILL = OrderFilled(1, "t-1-stop", "f1", 5.0, 99.0, 0.1)
nan, inf = math.nan, math.inf

# What an exchange can do to an order in a status; all else is a broken promise. Written by hand
# from the story of an order, not read from the table.
LEGAL = {
    Status.SENT: "accept reject fill_part fill_all cancel ask_cancel lose",
    Status.UNRESOLVED: "accept reject fill_part fill_all cancel ask_cancel lose void",
    Status.OPEN: "accept reject fill_part fill_all ask_cancel cancel lose",
    Status.PARTIAL: "accept fill_part fill_all ask_cancel cancel lose",
    Status.CANCELLING: "accept fill_part fill_all cancel reject lose void",
    Status.FILLED: "accept",
    Status.CANCELLED: "accept",
    Status.REJECTED: "",
}


def order_in(status: Status) -> Order:
    return Order(STOP, reason=0, sent_ms=0, status=status)


@pytest.mark.parametrize(("status", "trigger"), [*product(Status, Trigger)])
def test_every_pair_is_a_row_or_raises(status: Status, trigger: Trigger) -> None:
    order = order_in(status)
    if trigger.value in LEGAL[status].split():
        order.apply(trigger)
        assert order.status is ORDER_TABLE[status, trigger]
    else:
        with pytest.raises(InvariantError, match=f"{trigger.value} cannot follow {status.value}"):
            order.apply(trigger)
        assert order.status is status


def test_terminal_statuses_stay_as_they_are() -> None:
    assert {Status.FILLED, Status.CANCELLED, Status.REJECTED} == set(TERMINAL)
    leaving = [key for key, after in ORDER_TABLE.items() if key[0] in TERMINAL and after != key[0]]
    assert leaving == []


@pytest.mark.parametrize(
    ("trigger", "after"),
    [
        (Trigger.FILL_ALL, Status.FILLED),
        (Trigger.CANCEL, Status.CANCELLED),
        (Trigger.REJECT, Status.REJECTED),
    ],
)
def test_what_ends_an_order_ends_it_from_every_status(trigger: Trigger, after: Status) -> None:
    ends = {end for (status, what), end in ORDER_TABLE.items() if what is trigger}
    assert ends == {after}


def test_nothing_else_ends_an_order() -> None:
    ending = {Trigger.FILL_ALL, Trigger.CANCEL, Trigger.REJECT, Trigger.VOID}
    for (status, trigger), after in ORDER_TABLE.items():
        assert after not in TERMINAL or trigger in ending or status in TERMINAL


def test_every_status_is_reached_and_every_live_one_can_end() -> None:
    assert set(ORDER_TABLE.values()) | {Status.SENT} == set(Status)
    for status in set(Status) - set(TERMINAL):
        assert {ORDER_TABLE.get((status, trigger)) for trigger in Trigger} & set(TERMINAL)


@pytest.mark.parametrize("status", Status)
def test_only_an_acknowledged_order_that_stays_protects(status: Status) -> None:
    order = order_in(status)
    assert order.rests == (status in (Status.OPEN, Status.PARTIAL)) == (status in RESTING)
    assert order.live == (status not in TERMINAL)


def test_an_asked_cancellation_is_final_even_when_the_order_is_only_now_accepted() -> None:
    order = order_in(Status.SENT)
    order.apply(Trigger.ASK_CANCEL)
    order.apply(Trigger.ACCEPT)
    assert not order.rests
    order.apply(Trigger.CANCEL)
    assert order.status is Status.CANCELLED


def test_what_remains_is_what_was_asked_for_less_what_traded() -> None:
    order = order_in(Status.OPEN)
    order.filled = 2.0
    assert order.remaining == 3.0


installations = st.text("abcxyz0189", min_size=1, max_size=12)
sequences = st.integers(1, 10**12)


@given(installations, sequences, st.sampled_from(Role))
def test_a_client_id_is_pure_and_fits_the_exchange(name: str, sequence: int, role: Role) -> None:
    made = client_id(name, sequence, role)
    assert made == client_id(name, sequence, role)
    assert len(made) <= 40
    assert re.fullmatch(r"[A-Za-z0-9-]+", made)


@given(installations, st.lists(sequences, unique=True, min_size=2), st.sampled_from(Role))
def test_another_sequence_number_is_another_id(name: str, numbers: list[int], role: Role) -> None:
    assert len({client_id(name, number, role) for number in numbers}) == len(numbers)
    assert client_id(name, numbers[0], role) != client_id(name + "x", numbers[0], role)


@pytest.mark.parametrize("role", Role)
def test_all_but_an_entry_only_reduces(role: Role) -> None:
    assert replace(STOP, role=role).reduce_only == (role is not Role.ENTRY)


@pytest.mark.parametrize("price", [0.0, 99.0])
@pytest.mark.parametrize("side", [1, -1])
def test_a_sensible_order_is_built(side: int, price: float) -> None:
    assert replace(STOP, side=side, price=price).side == side
    # Profile reference: sized in USDT.
    assert replace(STOP, contracts=0.0, notional=50.0).notional == 50.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"side": 0},
        {"side": 2},
        {"contracts": 0.0},
        {"contracts": -1.0},
        {"contracts": nan},
        {"contracts": 0.0, "notional": -5.0},
        {"price": -0.1},
        {"price": nan},
    ],
    ids=str,
)
def test_an_order_that_makes_no_sense_cannot_be_built(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvariantError):
        replace(STOP, **wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"contracts": 0.0},
        {"contracts": -5.0},
        {"contracts": nan},
        {"price": 0.0},
        {"price": -1.0},
        {"price": nan},
        {"fee": nan},
        {"fee": inf},
    ],
    ids=str,
)
def test_a_fill_that_makes_no_sense_cannot_be_built(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvariantError):
        replace(FILL, **wrong)


def test_a_fill_may_earn_a_rebate() -> None:
    assert replace(FILL, fee=-0.05).fee == -0.05


@pytest.mark.parametrize("reason", ["", "   "])
def test_resume_without_a_reason_cannot_be_built(reason: str) -> None:
    with pytest.raises(InvariantError):
        Operator(1, Command.RESUME, reason)


def test_close_names_its_symbol() -> None:
    assert Operator(1, Command.CLOSE, "drill", symbol=0).symbol == 0
    with pytest.raises(InvariantError):
        Operator(1, Command.CLOSE, "drill")


def test_an_order_is_ours_by_the_whole_name_of_the_installation() -> None:
    """Another bot's may begin with the same letters: its fills would be booked as ours."""
    assert is_ours("r1a", "r1a-3-entry")
    assert is_ours("r1a", "r1a-e170406720000003-exit")
    assert not any(is_ours("r1a", name) for name in ("r1ab-3-entry", "r1a", "r1", "ar1a-3-entry"))
