"""Lists that KuCoin tells piece by piece, and questions that fail: a read is whole or none."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest

from bot.adapters import kucoin_account
from bot.adapters.kucoin_account import AccountReader
from bot.adapters.kucoin_client import KucoinClient, RefusedError
from bot.adapters.kucoin_errors import Treat, Verdict
from bot.core.errors import UnreachableError
from bot.core.market import HOUR_MS
from bot.core.messages import FundingSettled, OrderFilled
from bot.core.observations import Transferred
from bot.core.reconcile import Snapshot
from ops.exchange.hand_clock import HandClock
from tests.support.kucoin_samples import FILL, FUNDING, ORDER, OVERVIEW, POSITION, TRANSFER, changed

NOW = 1_740_700_000_000
DAY_MS = 24 * HOUR_MS
PIECE = 2  # rows in one answer
OFFSETS = {"FundingHistory": "id", "TransactionHistory": "offset"}


class Exchange:
    """Tells its lists in pieces of two rows. What a test does not name is empty."""

    def __init__(self, **lists: list[dict[str, Any]]) -> None:
        self.lists = lists
        self.refused: dict[str, Verdict] = {}
        """what it answers instead, by the end of a call's name"""
        self.errors: list[str] = []
        self.reader = AccountReader(
            cast(KucoinClient, self), ["BTC-USDT-PERP"], HandClock(NOW), NOW - 30 * DAY_MS
        )

    async def read(self, call: str, params: Mapping[str, Any], **named: Any) -> Any:
        """Answer one question; see KucoinClient.read."""
        name = call.removeprefix("futuresPrivateGet")
        if name in self.refused:
            raise RefusedError(self.refused[name])
        rows = self.lists.get(name, [])
        if name in ("Orders", "StopOrders", "Fills"):
            if "startAt" in params:
                rows = [r for r in rows if params["startAt"] <= r["createdAt"] < params["endAt"]]
            first = PIECE * (params["currentPage"] - 1)
            pages = -(-len(rows) // PIECE)
            number = {"currentPage": params["currentPage"], "totalPage": pages}
            return {"items": rows[first : first + PIECE], "totalNum": len(rows), **number}
        if name in OFFSETS:
            ids = [str(row[OFFSETS[name]]) for row in rows]
            first = ids.index(params["offset"]) + 1 if "offset" in params else 0
            more = first + PIECE < len(rows)
            return {"dataList": rows[first : first + PIECE], "hasMore": more}
        if name in ("OrdersOrderId", "OrdersByClientOid"):
            return changed(ORDER, isActive=False, status="done")
        return OVERVIEW if name == "AccountOverview" else rows

    def seen(self, *asked: str, since_ms: int = NOW - HOUR_MS) -> Snapshot:
        """Return a read of the account."""
        return asyncio.run(self.reader.read(asked, since_ms))


def orders(count: int, role: str) -> list[dict[str, Any]]:
    """Return so many orders that rest."""
    return [
        changed(ORDER, id=f"{role}{i}", clientOid=f"t-{i}-{role}", isActive=True, status="open")
        for i in range(count)
    ]


def fundings(count: int) -> list[dict[str, Any]]:
    """Return so many settlements, newest first."""
    return [
        changed(FUNDING, symbol="XBTUSDTM", id=70 + i, timePoint=NOW - 2 - i) for i in range(count)
    ]


def test_every_page_of_both_order_lists_is_read() -> None:
    exchange = Exchange(Orders=orders(5, "target"), StopOrders=orders(3, "stop"))
    seen = exchange.seen()
    targets, stops = [f"t-{i}-target" for i in range(5)], [f"t-{i}-stop" for i in range(3)]
    assert [report.client_id for report in seen.open_orders] == targets + stops


def test_fills_of_days_ago_are_on_the_long_list_on_all_its_pages() -> None:
    """The short one goes back a day: what traded in a longer outage is not on it."""
    times = [NOW - days * DAY_MS + 1_000 * i for i, days in enumerate((10, 9, 3, 3, 3, 2))]
    old = [
        changed(FILL, tradeId=f"f{i}", orderId=f"o{i}", createdAt=ms) for i, ms in enumerate(times)
    ]
    seen = Exchange(Fills=old).seen(since_ms=NOW - 12 * DAY_MS)
    fills = [entry.fill_id for entry in seen.entries if isinstance(entry, OrderFilled)]
    assert fills == [f"f{i}" for i in range(len(old))]


def test_a_week_of_more_fills_than_can_be_paged_is_read_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else an account that traded much while nobody looked could never be read again."""
    monkeypatch.setattr(kucoin_account, "MOST_PAGES", 3)
    times = [NOW - 3 * DAY_MS + i * i * HOUR_MS // 4 for i in range(17)]
    old = [
        changed(FILL, tradeId=f"f{i}", orderId=f"o{i}", createdAt=ms) for i, ms in enumerate(times)
    ]
    seen = Exchange(Fills=old).seen(since_ms=NOW - 12 * DAY_MS)
    assert {entry.entry_id for entry in seen.entries} == {f"f{i}" for i in range(len(old))}


class Tiring(Exchange):
    """Fails at one of its answers about old fills, as if the time for the read was over."""

    def __init__(self, fails_at: int, **lists: list[dict[str, Any]]) -> None:
        super().__init__(**lists)
        self.fails_at = fails_at
        self.windows: list[int] = []
        """where the windows asked for begin, ms"""

    async def read(self, call: str, params: Mapping[str, Any], **named: Any) -> Any:
        if call.endswith("GetFills"):
            self.windows.append(params["startAt"])
            if len(self.windows) == self.fails_at:
                raise UnreachableError("the time is over")
        return await super().read(call, params, **named)


def test_a_read_of_weeks_that_fails_goes_on_where_it_was() -> None:
    """Each may last 15 s only, and what takes longer would never come to its end."""
    times = [NOW - days * DAY_MS for days in (20, 19, 12, 11, 5, 4)]
    old = [
        changed(FILL, tradeId=f"f{i}", orderId=f"o{i}", createdAt=ms) for i, ms in enumerate(times)
    ]
    exchange = Tiring(3, Fills=old)
    since_ms = NOW - 21 * DAY_MS
    with pytest.raises(UnreachableError, match="the time is over"):
        exchange.seen(since_ms=since_ms)
    seen = exchange.seen(since_ms=since_ms)
    assert {entry.entry_id for entry in seen.entries} == {f"f{i}" for i in range(len(old))}
    week = since_ms + 7 * DAY_MS
    assert exchange.windows[:3] == [since_ms, week, week + 7 * DAY_MS]
    assert min(exchange.windows[3:]) == week + 7 * DAY_MS - kucoin_account.LAG_MS
    exchange.seen(since_ms=since_ms)
    assert exchange.windows[-3] == since_ms  # what was told is looked for again, as always


def test_more_records_in_one_read_than_are_remembered_are_all_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kucoin_account, "REMEMBERED", 4)
    exchange = Exchange(FundingHistory=fundings(11))
    for _ in range(2):
        assert len(exchange.seen().entries) == 11
        assert {entry.now_ms for entry in exchange.reader.entries.values()} == {
            NOW - 2 - i for i in range(4)
        }
        exchange.reader.slow_ms = 0  # time to ask again
        exchange.reader.held = {0}


@pytest.mark.parametrize("name", ["RecentFills", "Fills"])
def test_fills_of_one_moment_stay_in_their_order(name: str) -> None:
    """An order that takes several levels trades within a millisecond; lists are newest first."""
    times = {"a": NOW - 9 * DAY_MS, **dict.fromkeys("bcd", NOW - 8 * DAY_MS)}
    rows = [changed(FILL, tradeId=f"f{i}", createdAt=ms) for i, ms in times.items()]
    seen = Exchange(**{name: rows[::-1]}).seen(since_ms=NOW - 12 * DAY_MS)
    ids = [entry.fill_id for entry in seen.entries if isinstance(entry, OrderFilled)]
    assert ids == ["fa", "fb", "fc", "fd"]


def test_every_piece_of_the_histories_is_read() -> None:
    exchange = Exchange(
        FundingHistory=fundings(5),
        TransactionHistory=[changed(TRANSFER, offset=80 + i, time=NOW - 2 - i) for i in range(5)],
    )
    entries = exchange.seen().entries
    assert sum(isinstance(entry, FundingSettled) for entry in entries) == 5
    assert sum(isinstance(entry, Transferred) for entry in entries) == 5


def test_funding_that_could_not_be_read_is_asked_for_again() -> None:
    exchange = Exchange(FundingHistory=fundings(1))
    exchange.refused = {"FundingHistory": Verdict(Treat.REJECTED, "100001", "busy")}
    with pytest.raises(UnreachableError):
        exchange.seen()
    exchange.refused = {}
    [funding] = exchange.seen().entries
    assert isinstance(funding, FundingSettled)


@pytest.mark.parametrize("known", [True, False])
def test_an_order_is_missing_only_when_the_exchange_says_so(known: bool) -> None:
    """Any other answer has failed: three that were taken for "no such order" would void it."""
    exchange = Exchange()
    call = "OrdersByClientOid"
    if known:
        exchange.reader.learn("t-1-entry", "o1")
        call = "OrdersOrderId"
    exchange.refused = {call: Verdict(Treat.NOT_CANCELABLE, "100004", "odd")}
    with pytest.raises(UnreachableError, match="odd"):
        exchange.seen("t-1-entry")
    exchange.refused = {call: Verdict(Treat.NOT_FOUND, "100001", "no such order")}
    assert exchange.seen("t-1-entry").reports == {}


def test_a_position_that_is_not_configured_is_in_every_read() -> None:
    exchange = Exchange(Positions=[changed(POSITION, symbol="PEPEUSDTM")])
    assert exchange.seen().foreign == ("PEPEUSDTM",)


@pytest.mark.parametrize("field", ["currentQty", "isOpen", "positionSide", "markPrice"])
@pytest.mark.parametrize("value", [None, "many", []])
def test_a_position_of_others_that_makes_no_sense_is_theirs_and_blinds_nobody(
    field: str, value: Any
) -> None:
    if (field, value) == ("positionSide", "many"):
        return  # another side is hedge mode, which is ours, too
    odd = changed(POSITION, symbol="PEPEUSDTM", **{field: value})
    seen = Exchange(Positions=[odd, HELD]).seen()
    assert (seen.holdings[0].contracts, seen.foreign) == (7.0, ("PEPEUSDTM",))


@pytest.mark.parametrize("field", ["currentQty", "isOpen", "positionSide", "markPrice", "symbol"])
def test_a_position_of_ours_or_of_nobody_that_makes_no_sense_fails_the_read(field: str) -> None:
    with pytest.raises(UnreachableError, match=field):
        Exchange(Positions=[changed(HELD, **{field: None})]).seen()


@pytest.mark.parametrize("symbol", ["pepe", "PEPE USDTM", "7", "\u0395TH"])
def test_a_name_that_no_contract_has_may_stand_for_ours(symbol: str) -> None:
    with pytest.raises(UnreachableError, match="currentQty"):
        Exchange(Positions=[changed(HELD, symbol=symbol, currentQty=None)]).seen()


def test_an_order_of_others_that_makes_no_sense_is_foreign_and_blinds_nobody() -> None:
    [sound] = orders(1, "stop")
    odd = changed(sound, id="77", symbol="PEPEUSDTM", filledSize=None)
    nameless = changed(odd, id=None)
    seen = Exchange(Orders=[odd, nameless], StopOrders=[sound]).seen()
    assert [(order.client_id, order.symbol) for order in seen.open_orders] == [
        ("77", -1),
        ("without an id on PEPEUSDTM", -1),
        ("t-0-stop", 0),
    ]


@pytest.mark.parametrize("symbol", ["XBTUSDTM", None])
def test_an_order_that_may_be_ours_and_makes_no_sense_fails_the_read(symbol: str | None) -> None:
    with pytest.raises(UnreachableError, match="makes no sense"):
        Exchange(Orders=[changed(ORDER, symbol=symbol, filledSize=None)]).seen()


@pytest.mark.parametrize(
    "field",
    ["createdAt", "tradeId", "orderId", "size", "price", "fee", "feeCurrency", "side", "tradeType"],
)
@pytest.mark.parametrize("days", [0, 3])
def test_a_fill_of_others_that_makes_no_sense_is_left_out_and_one_of_ours_fails_the_read(
    field: str, days: int, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once."""
    made_ms = NOW - days * DAY_MS - 1
    ours = changed(FILL, symbol="XBTUSDTM", createdAt=made_ms, tradeTime=None)
    odd = changed(ours, symbol="PEPEUSDTM", tradeId="odd")
    odd[field] = None
    if days and field == "createdAt":
        return  # the stand-in sorts by it
    name = "Fills" if days else "RecentFills"
    exchange = Exchange(**{name: [odd, ours]}, Position=changed(HELD, currentQty=0, isOpen=False))
    for _ in range(2):
        seen = exchange.seen(since_ms=made_ms - 1)
        assert [entry.entry_id for entry in seen.entries] == [FILL["tradeId"]]
    assert caplog.text.count("make no sense") == 1
    exchange = Exchange(**{name: [changed(odd, symbol="XBTUSDTM")]})
    with pytest.raises(UnreachableError, match="makes no sense"):
        exchange.seen(since_ms=made_ms - 1)


HELD = changed(POSITION, symbol="XBTUSDTM")


def test_a_list_without_a_position_is_not_believed_against_the_position_itself() -> None:
    """A list that is empty for a moment would take a position its stops away."""
    exchange = Exchange(Positions=[HELD], Position=HELD)
    exchange.seen()
    exchange.lists["Positions"] = []
    for _ in range(2):
        with pytest.raises(UnreachableError, match="XBTUSDTM: 7 contracts"):
            exchange.seen()
    exchange.lists["Position"] = changed(HELD, currentQty=0, isOpen=False)
    assert [holding.side for holding in exchange.seen().holdings] == [0]


def test_what_the_books_hold_is_asked_for_from_the_first_read_on() -> None:
    exchange = Exchange(Position=HELD)
    exchange.reader.held_last = {0}
    with pytest.raises(UnreachableError, match="XBTUSDTM: 7 contracts"):
        exchange.seen()


def test_what_has_just_traded_is_held_before_the_list_of_positions_says_so() -> None:
    """Else what an entry has bought would be booked as gone again, and would lose its stop; and a
    read that failed would not tell of it."""
    bought = changed(FILL, symbol="XBTUSDTM", createdAt=NOW - 1)
    exchange = Exchange(RecentFills=[bought], Position=HELD)
    for _ in range(2):
        seen = exchange.seen()
        assert (len(seen.entries), seen.holdings[0].contracts) == (1, 7.0)
    exchange.lists["Positions"] = [HELD]
    assert exchange.seen().holdings[0].contracts == 7.0
    exchange.lists["Positions"] = []
    with pytest.raises(UnreachableError, match="XBTUSDTM: 7 contracts"):
        exchange.seen()


def test_what_has_traded_and_is_flat_is_asked_for_once() -> None:
    sold = changed(FILL, symbol="XBTUSDTM", createdAt=NOW - 1)
    exchange = Exchange(RecentFills=[sold], Position=changed(HELD, currentQty=0, isOpen=False))
    assert exchange.seen().holdings[0].side == 0
    exchange.lists["Position"] = HELD
    assert exchange.seen().holdings[0].side == 0


def test_what_has_traded_is_asked_for_again_after_an_answer_that_makes_no_sense() -> None:
    bought = changed(FILL, symbol="XBTUSDTM", createdAt=NOW - 1)
    exchange = Exchange(RecentFills=[bought], Position=changed(HELD, currentQty="many"))
    assert exchange.seen().holdings[0].side == 0
    exchange.lists["Position"] = HELD
    assert exchange.seen().holdings[0].contracts == 7.0


@pytest.mark.parametrize("answer", [None, {}, [], changed(HELD, symbol="ETHUSDTM")])
def test_what_says_nothing_of_a_position_leaves_the_list_to_be_believed(answer: Any) -> None:
    """Else a contract that is delisted, or an answer of another form, would fail every read."""
    exchange = Exchange(Positions=[HELD], Position=answer)
    if answer is None:
        exchange.refused = {"Position": Verdict(Treat.REJECTED, "100003", "no such contract")}
    exchange.seen()
    exchange.lists["Positions"] = []
    assert [holding.side for holding in exchange.seen().holdings] == [0]
