"""What an emergency reads of an account: as much as can be read, and nothing is taken for flat."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

import pytest

from bot.adapters import kucoin_emergency
from bot.adapters.kucoin_client import CredentialsError, KucoinClient, RefusedError
from bot.adapters.kucoin_emergency import EmergencyReader, Exposure
from bot.adapters.kucoin_errors import Treat, Verdict
from bot.core.errors import UnreachableError
from tests.support.kucoin_samples import ORDER, OVERVIEW, POSITION, changed

SYMBOLS = ("BTC-USDT-PERP", "ETH-USDT-PERP")
BTC, ETH = (changed(POSITION, symbol=name) for name in ("XBTUSDTM", "ETHUSDTM"))
GONE = RefusedError(Verdict(Treat.REJECTED, "100003", "no such contract"))
REFUSED = RefusedError(Verdict(Treat.REJECTED, "100004", "no"))
NO_LINE = UnreachableError("no line")
RESTING = changed(ORDER, isActive=True, status="open", symbol="XBTUSDTM")
BOTH = [0, 1]


def flat(row: dict[str, Any]) -> dict[str, Any]:
    return changed(row, isOpen=False, currentQty=0)


def page(*rows: Any) -> dict[str, Any]:
    number = int(bool(rows))
    return {"items": [*rows], "currentPage": 1, "totalPage": number, "totalNum": len(rows)}


class Account:
    """Answers from a table; an exception in it is raised. Flat, unless a test says otherwise."""

    def __init__(self, **answers: Any) -> None:
        own = {"XBTUSDTM": flat(BTC), "ETHUSDTM": flat(ETH)}
        self.answers: dict[str, Any] = {
            "Orders": page(),
            "StopOrders": page(),
            "Positions": [],
            "AccountOverview": OVERVIEW,
            **own,
            **answers,
        }
        self.asked: Counter[str] = Counter()
        self.reader = EmergencyReader(cast(KucoinClient, self), SYMBOLS)

    async def read(self, call: str, params: Mapping[str, Any], **named: Any) -> Any:
        """Answer one question; see KucoinClient.read."""
        name = call.removeprefix("futuresPrivateGet")
        self.asked[name] += 1
        answer = self.answers[params["symbol"] if name == "Position" else name]
        if isinstance(answer, Exception):
            raise answer
        return answer() if callable(answer) else answer

    def positions(self) -> Exposure:
        return asyncio.run(self.reader.read_positions())

    def exposure(self) -> Exposure:
        return asyncio.run(self.reader.read_exposure())


def test_it_asks_for_positions_and_orders_alone() -> None:
    account = Account()
    assert account.positions().held == (0.0, 0.0)
    assert account.asked == {"Positions": 1}
    seen = account.exposure()
    assert (seen.held, seen.orders, seen.doubts(BOTH)) == ((0.0, 0.0), (), [])
    assert account.asked.keys() == {"Orders", "StopOrders", "Positions", "Position"}


def test_an_order_that_trades_meanwhile_is_a_position() -> None:
    account = Account()

    def traded() -> Any:
        account.answers["Positions"] = [BTC]
        return page()

    account.answers["Orders"] = traded
    assert account.exposure().held == (-7.0, 0.0)


def test_what_the_list_does_not_have_is_asked_for() -> None:
    """It has seen no list before, and "flat, verified" is the end of it."""
    account = Account(XBTUSDTM=BTC)
    assert account.positions().held == (0.0, 0.0)
    assert account.exposure().held == (-7.0, 0.0)
    assert account.positions().held == (-7.0, 0.0)  # for its exit
    account.answers["XBTUSDTM"] = flat(BTC)
    assert account.positions().held == (0.0, 0.0)
    assert account.exposure().held == (0.0, 0.0)


def test_what_the_list_does_not_have_any_more_is_asked_for() -> None:
    account = Account(Positions=[BTC], XBTUSDTM=BTC)
    account.positions()
    account.answers["Positions"] = []
    assert account.positions().held == (-7.0, 0.0)


@pytest.mark.parametrize("field", ["currentQty", "isOpen", "positionSide"])
def test_a_row_that_makes_no_sense_spoils_no_other_and_is_asked_for(field: str) -> None:
    account = Account(Positions=[changed(ETH, **{field: None}), BTC], ETHUSDTM=ETH)
    seen = account.positions()
    assert seen.held == (-7.0, -7.0)
    assert field in "".join(seen.doubts([1]))
    assert seen.doubts([0]) == []


def test_a_mark_that_makes_no_sense_is_nothing_to_an_emergency() -> None:
    seen = Account(Positions=[changed(BTC, markPrice=None)]).positions()
    assert (seen.held, seen.doubts(BOTH)) == ((-7.0, 0.0), [])


@pytest.mark.parametrize(
    "answer", [GONE, REFUSED, NO_LINE, None, {}, [], changed(ETH, currentQty="many"), BTC]
)
@pytest.mark.parametrize("rows", [[changed(ETH, currentQty="many")], [ETH, ETH]])
def test_nobody_knows_a_position_without_a_row_and_an_answer_that_make_sense(
    answer: Any, rows: Any
) -> None:
    seen = Account(Positions=[*rows, BTC], ETHUSDTM=answer).positions()
    expected = 0.0 if answer is GONE else None
    assert seen.held == (-7.0, expected)
    assert "ETHUSDTM" in seen.doubts([1])[0]


@pytest.mark.parametrize("rows", [NO_LINE, REFUSED, None, {}, "<html>", [None, BTC], [{}, BTC]])
def test_a_list_that_does_not_tell_all_has_every_position_asked_for(rows: Any) -> None:
    account = Account(Positions=rows, ETHUSDTM=ETH, XBTUSDTM=BTC)
    seen = account.positions()
    assert seen.held == (-7.0, -7.0)
    assert "the list of positions" in seen.doubts([0])[0]


@pytest.mark.parametrize(("answer", "held"), [(GONE, 0.0), (REFUSED, None), (NO_LINE, None)])
def test_what_is_not_listed_and_cannot_be_asked_for_is_not_flat(
    answer: Any, held: float | None
) -> None:
    seen = Account(ETHUSDTM=answer).exposure()
    assert seen.held == (0.0, held)
    assert len(seen.doubts(BOTH)) == (held is None)


def test_an_answer_that_does_not_come_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kucoin_emergency, "ANSWER_S", 0.0)
    account = Account(Positions=[BTC, changed(ETH, currentQty=None)])
    slow = asyncio.Event()
    answered = account.read

    async def read(call: str, params: Mapping[str, Any], **named: Any) -> Any:
        if call == "futuresPrivateGetPosition":
            await slow.wait()
        return await answered(call, params, **named)

    account.read = read  # type: ignore[method-assign]
    seen = account.positions()
    assert seen.held == (-7.0, None)


def test_positions_of_others_are_named_even_when_they_make_no_sense() -> None:
    rows = [changed(BTC, symbol="PEPEUSDTM", currentQty=None), flat(changed(BTC, symbol="XUSDTM"))]
    seen = Account(Positions=rows).exposure()
    assert (seen.foreign, seen.held, seen.doubts(BOTH)) == (("PEPEUSDTM",), (0.0, 0.0), [])


@pytest.mark.parametrize("book", ["Orders", "StopOrders"])
def test_an_order_that_makes_no_sense_is_one_all_the_same(book: str) -> None:
    rows = [
        RESTING,
        changed(RESTING, id="77", filledSize=None),
        changed(RESTING, id="78", symbol=None),
        changed(RESTING, id=None),
        changed(RESTING, id="79", symbol="PEPEUSDTM", isActive=None),
        None,
    ]
    seen = Account(**{book: page(*rows)}).exposure()
    assert [(order.order_id, order.symbol) for order in seen.orders] == [
        (RESTING["id"], 0), ("77", 0), ("78", None), ("", 0), ("79", -1), ("", None),
    ]  # fmt: skip
    assert seen.doubts(BOTH) == []


@pytest.mark.parametrize("answer", [NO_LINE, REFUSED, None, {}, {**page(RESTING), "items": []}])
@pytest.mark.parametrize("book", ["Orders", "StopOrders"])
def test_a_book_that_cannot_be_read_spoils_neither_the_other_nor_positions(
    answer: Any, book: str
) -> None:
    other = {"Orders": "StopOrders", "StopOrders": "Orders"}[book]
    seen = Account(Positions=[BTC], **{book: answer, other: page(RESTING)}).exposure()
    assert (seen.held, len(seen.orders)) == ((-7.0, 0.0), 1)
    assert "the list of orders" in seen.doubts([1])[0]


@pytest.mark.parametrize("call", ["Orders", "StopOrders", "Positions", "XBTUSDTM"])
def test_a_key_that_is_not_accepted_ends_the_read(call: str) -> None:
    with pytest.raises(CredentialsError):
        Account(**{call: CredentialsError("no such key")}).exposure()


def test_margin_is_told_or_the_read_fails() -> None:
    account = Account(AccountOverview=changed(OVERVIEW, accountEquity=None, positionMargin=-0.5))
    assert asyncio.run(account.reader.read_margin()) == -0.5
    account.answers["AccountOverview"] = changed(OVERVIEW, positionMargin=None)
    with pytest.raises(Exception, match="positionMargin"):
        asyncio.run(account.reader.read_margin())
