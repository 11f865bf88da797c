"""Whole reads of an account whose answers are spoiled at random: an error, or the truth.

The adapter's reader over a stand-in for the wire that answers with KuCoin's own forms, of which one
is broken: a field is gone, null, of another type or nonsense. Nothing but UnreachableError may come
of it, and no read may show another position, wallet, order or trade than the account has.
"""

import asyncio
import copy
from collections.abc import Mapping
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bot.adapters.kucoin_account import AccountReader
from bot.core.errors import UnreachableError
from bot.core.messages import Liquidated, OrderFilled
from bot.core.reconcile import Snapshot
from ops.exchange.hand_clock import HandClock
from tests.support.broken_replies import one_broken
from tests.support.kucoin_samples import (
    FILL,
    FUNDING,
    JUNK,
    ORDER,
    OVERVIEW,
    POSITION,
    TRANSFER,
    changed,
)

SYMBOLS = ("BTC-USDT-PERP", "ETH-USDT-PERP")
NOW = 1_732_000_000_000


def page(*items: Any) -> dict[str, Any]:
    number = len(items)
    return {
        "currentPage": 1,
        "pageSize": 200,
        "totalNum": number,
        "totalPage": 1,
        "items": [*items],
    }


def rows(*items: Any) -> dict[str, Any]:
    return {"hasMore": False, "dataList": [*items]}


STOP = changed(ORDER, id="77", clientOid="t-2-stop", isActive=True, status="open", filledSize=0)
ANSWERS: dict[str, Any] = {
    "futuresPrivateGetOrders": page(),
    "futuresPrivateGetStopOrders": page(STOP),
    "futuresPrivateGetRecentFills": [FILL],
    "futuresPrivateGetPositions": [POSITION],
    "futuresPrivateGetPosition": changed(
        POSITION, symbol=FILL["symbol"], isOpen=False, currentQty=0, markPrice=0
    ),
    "futuresPrivateGetAccountOverview": OVERVIEW,
    "futuresPrivateGetTransactionHistory": rows(TRANSFER),
    "futuresPrivateGetFundingHistory": rows(FUNDING),
    "futuresPrivateGetOrdersOrderId": changed(ORDER, id=FILL["orderId"], clientOid="t-1-entry"),
}


class Wire:
    """Answers a reader's questions from a table."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = answers
        self.errors: list[str] = []

    async def read(self, call: str, params: Any = None, **_: Any) -> Any:
        return copy.deepcopy(self.answers[call])


def read(answers: Mapping[str, Any]) -> Snapshot:
    reader = AccountReader(Wire(answers), SYMBOLS, HandClock(NOW), 0)  # type: ignore[arg-type]
    return asyncio.run(reader.read((), NOW - 1_000))


def traded(seen: Snapshot) -> list[tuple[float, float]]:
    """Return (contracts, price) of what has traded; positions are booked from it."""
    trades = [e for e in seen.entries if isinstance(e, OrderFilled | Liquidated)]
    return [(trade.contracts, trade.price) for trade in trades]


TRUTH = read(ANSWERS)


def test_the_untouched_answers_are_the_truth() -> None:
    assert [holding.side for holding in TRUTH.holdings].count(0) == 1
    assert [order.client_id for order in TRUTH.open_orders] == ["t-2-stop"]
    assert TRUTH.wallet > 0.0
    assert traded(TRUTH) == [(2.0, 86_275.1)]


@settings(max_examples=600)
@given(one_broken(ANSWERS))
def test_a_broken_answer_is_an_error_or_changes_nothing_that_matters(
    case: tuple[str, dict[str, Any]],
) -> None:
    call, answers = case
    assume(answers[call] != [])  # an empty list of positions is what a flat account answers
    try:
        seen = read(answers)
    except UnreachableError:
        return
    assert seen.holdings == TRUTH.holdings, call
    assert seen.wallet == TRUTH.wallet, call
    # An order without a name of its own is a person's: it is foreign, and never overlooked.
    assert len(seen.open_orders) == len(TRUTH.open_orders), call
    assert seen.foreign == (), call
    assert traded(seen) == traded(TRUTH), call


@settings(max_examples=100)
@given(st.sampled_from(sorted(ANSWERS)), st.sampled_from(JUNK))
def test_an_answer_that_is_nonsense_as_a_whole_is_an_error(call: str, junk: Any) -> None:
    if junk == ANSWERS[call] or (junk == [] and isinstance(ANSWERS[call], list)):
        return  # an empty list of positions is what a flat account answers
    try:
        seen = read({**ANSWERS, call: junk})
    except UnreachableError:
        return
    assert call in (
        "futuresPrivateGetOrdersOrderId",  # not asked for: its fill is too old
        "futuresPrivateGetPosition",  # the list is believed, and it is asked for again
    )
    assert seen.holdings == TRUTH.holdings
