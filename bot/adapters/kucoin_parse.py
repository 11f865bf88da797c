"""KuCoin's account as the core sees it: orders, fills, positions, money.

Rules of this file: it reads the raw JSON, because ccxt's unified objects hide nulls and call an
order cancelled that is still active. Whatever is not as expected raises MalformedReplyError, which
fails the read as a whole; only rows of contracts of others may make no sense (`of_others`). `index`
is KuCoin's symbol -> symbol index (kucoin_fields.wire_index); a symbol that is not in it is
somebody else's and becomes -1. Sources of the forms: the API reference, sections 4 and 5.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from bot.adapters.kucoin_fields import Fields, MalformedReplyError, array
from bot.core.messages import FundingSettled, Liquidated, OrderFilled
from bot.core.observations import Takeover, Transferred
from bot.core.reconcile import Holding, OrderReport

log = logging.getLogger("radbot.exchange")
SUCCESS = "200000"
CURRENCY = "USDT"
_SIDES = {"buy": 1, "sell": -1}
_TAKEOVERS = {  # trade types without an order of ours behind them; KuCoin writes "ADL", too
    "liquid": Takeover.LIQUIDATION,
    "liquidation": Takeover.LIQUIDATION,
    "adl": Takeover.ADL,
    "settlement": Takeover.SETTLEMENT,
}
_TRANSFERS = {"TransferIn": 1.0, "Deposit": 1.0, "TransferOut": -1.0, "Withdrawal": -1.0}
_HEDGE = "BOTH (the account is in hedge mode: switch it to one-way mode)"
_NONE: Mapping[str, str] = MappingProxyType({})
_CONTRACT = re.compile(r"[A-Z0-9]{4,30}", re.ASCII)


class HedgeModeError(MalformedReplyError):
    """A position has two sides: the account is in hedge mode."""


class Overview(NamedTuple):
    """The account's money, USDT. The wallet is the equity without unrealised profit."""

    wallet: float
    available: float
    equity: float


def envelope(reply: object, what: str = "reply") -> object:
    """Return the data of a reply as ccxt hands it over; `what` names it in an error.

    A page of HTML arrives here as a text, since ccxt takes it for a success.
    """
    fields = Fields(reply, what)
    if fields.text("code") != SUCCESS:
        raise fields.wrong("code", SUCCESS)
    return fields.any("data")


def page(data: object) -> tuple[list[object], int]:
    """Return the rows of one page of orders or fills, and how many pages there are.

    A page that counts rows but shows none is malformed.
    """
    fields = Fields(data, "page")
    rows = fields.items("items")
    number, pages, total = map(fields.integer, ("currentPage", "totalPage", "totalNum"))
    if number < 1 or pages < 0 or total < 0:
        raise fields.wrong("currentPage", f"1 or more (of {pages} pages with {total} rows)")
    if rows and not (pages and total):
        raise fields.wrong("totalNum", f"{len(rows)} rows or more")
    if not rows and total and number <= pages:
        raise fields.wrong("totalNum", "0 where there are no rows")
    return rows, pages


def data_list(data: object) -> tuple[list[object], bool]:
    """Return rows of the ledger or of the funding history, and whether there are more: then this is
    not everything that was asked for, and the next part begins at an offset."""
    fields = Fields(data, "history")
    return fields.items("dataList"), fields.flag("hasMore")


def of_others(value: object, index: Mapping[str, int]) -> bool:
    """Return whether a row names a contract that is not ours, whatever else it says. One that names
    none may be ours."""
    try:
        symbol = Fields(value, "row").text("symbol")
    except MalformedReplyError:
        return False
    return symbol not in index and _CONTRACT.fullmatch(symbol) is not None


def order_id_of(data: object, client_id: str) -> str:
    """Return the exchange's id of an order it has just accepted; it must have answered to ours."""
    fields = Fields(data, f"answer to order {client_id}")
    if fields.has("clientOid") and fields.text("clientOid") != client_id:
        raise fields.wrong("clientOid", client_id)
    return fields.identity("orderId")


def order(
    value: object,
    index: Mapping[str, int],
    client_ids: Mapping[str, str] = _NONE,
    *,
    listed: bool = False,
) -> tuple[OrderReport, str]:
    """Return an order object as a report, and the exchange's id of the order.

    Parameters
    ----------
    client_ids : order id -> client id of orders we know, for where KuCoin leaves the client id out.
        An order without either is a person's: its order id stands in.
    listed : it comes from the list of active orders or of untriggered stops, so it rests

    It rests as long as KuCoin calls it active or open: `cancelExist` is also true of an order of
    which a part was cancelled or whose cancellation is under way. Nothing in it says that the order
    was refused: one that ended without a fill looks cancelled.
    """
    fields = Fields(value, "order")
    order_id = fields.identity("id")
    fields.what = f"order {order_id}"
    filled = fields.contracts("filledSize")
    size = fields.contracts("size") if fields.has("size") else 0.0  # closeOrder needs no size
    if 0.0 < size < filled:
        raise fields.wrong("filledSize", f"at most {size:g} contracts")
    active = fields.flag("isActive")
    still_open = fields.has("status") and fields.text("status") == "open"
    client_id = client_ids.get(order_id, order_id)
    if fields.has("clientOid") and fields.any("clientOid") != "":
        client_id = fields.text("clientOid")
    k = index.get(fields.text("symbol"), -1)
    return OrderReport(client_id, k, listed or active or still_open, filled), order_id


def listed_order(
    value: object, index: Mapping[str, int], client_ids: Mapping[str, str] = _NONE
) -> tuple[OrderReport, str]:
    """Return a row of a list of open orders as `order` does. One of others that makes no sense is
    somebody's order all the same: it fails no read."""
    try:
        return order(value, index, client_ids, listed=True)
    except MalformedReplyError:
        if not of_others(value, index):
            raise
    fields = Fields(value, "order")
    try:
        name = fields.identity("id")
    except MalformedReplyError:
        name = f"without an id on {fields.text('symbol')}"
    return OrderReport(name, -1, True, 0.0), name


def fills_with_sense(rows: Sequence[object], index: Mapping[str, int]) -> list[object]:
    """Return fills without those in contracts of others that make no sense: nothing of ours can
    stand behind them. One of ours stays, and fails the read."""
    return [row for row in rows if not of_others(row, index) or _has_sense(row)]


def _has_sense(value: object) -> bool:
    try:
        fields = Fields(value, f"fill {fill_id(value)}")
        _traded(fields)
        return bool(fill_ms(value) and order_id_of_fill(value) and fields.text("tradeType"))
    except MalformedReplyError:
        return False


def fill_id(value: object) -> str:
    """Return the id of a fill, which is the id of its record."""
    return Fields(value, "fill").identity("tradeId")


def fill_ms(value: object) -> int:
    """Return when a fill was made, ms UTC."""
    fields = Fields(value, "fill")
    return fields.time_ms("createdAt") if fields.has("createdAt") else fields.time_ns("tradeTime")


def order_id_of_fill(value: object) -> str:
    """Return the exchange's id of the order a fill belongs to; a fill has no client id."""
    return Fields(value, "fill").identity("orderId")


def may_be_ours(value: object, index: Mapping[str, int]) -> bool:
    """Return whether an order of ours may stand behind a fill: it is not on another's contract, and
    not what the exchange took over. A word that is new says nothing."""
    fields = Fields(value, f"fill {fill_id(value)}")
    return fields.text("symbol") in index and fields.text("tradeType").lower() not in _TAKEOVERS


def fill(value: object, index: Mapping[str, int], client_id: str) -> OrderFilled | Liquidated:
    """Return a fill object as an event.

    Parameters
    ----------
    client_id : of the order with the id `order_id_of_fill`, "" where it has none, or none that
        anybody knows: then its own id stands in, which is no client id of ours, so that the core
        takes the fill for foreign

    The fee is positive when paid and negative when received. One that was taken in another currency
    is 0: the USDT wallet did not pay it. What the exchange took over on a symbol of others comes as
    an OrderFilled on symbol -1: no position of ours can stand behind it. A trade type that we do
    not know is taken for a liquidation, which a person is told of, unless the order has a client
    id.
    """
    fields = Fields(value, f"fill {fill_id(value)}")
    k = index.get(fields.text("symbol"), -1)
    contracts, price, fee, side = _traded(fields)
    time, entry = fill_ms(value), fields.identity("tradeId")
    way = _takeover(fields, client_id)
    if way is not None and k >= 0:
        return Liquidated(time, k, contracts, price, fee, entry, way)
    name = client_id or order_id_of_fill(value)
    return OrderFilled(time, name, entry, contracts, price, fee, k, side)


def _traded(fields: Fields) -> tuple[float, float, float, int]:
    # Contracts, price, fee and side of a fill.
    contracts, price = fields.contracts("size"), fields.positive("price")
    if contracts == 0.0:
        raise fields.wrong("size", "1 contract or more")
    fee = fields.number("fee")
    if fields.text("feeCurrency") != CURRENCY:
        fee = 0.0
    side = _SIDES.get(fields.text("side"))
    if side is None:
        raise fields.wrong("side", "buy or sell")
    return contracts, price, fee, side


def _takeover(fields: Fields, client_id: str) -> Takeover | None:
    # None is a trade. A word that is new says nothing against an order that we know.
    kind = fields.text("tradeType").lower()
    if kind == "trade" or kind in _TAKEOVERS:
        return _TAKEOVERS.get(kind)
    way = None if client_id else Takeover.LIQUIDATION
    meaning = "a trade of " + client_id if way is None else "a liquidation"
    log.warning("%s: tradeType %r is not known: taken for %s", fields.what, kind, meaning)
    return way


def positions(data: object, index: Mapping[str, int]) -> tuple[dict[int, Holding], tuple[str, ...]]:
    """Return the positions by symbol index, and KuCoin's names of what others hold: what makes no
    sense in a contract of theirs is held.

    The list has open positions only: a symbol that is missing is flat, and its mark is unknown.
    """
    found: dict[int, Holding] = {}
    foreign: set[str] = set()
    for value in array(data, "positions"):
        fields = Fields(value, "position")
        symbol = fields.text("symbol")
        fields.what = f"position {symbol}"
        k = index.get(symbol)
        if k is None:
            if _of_others_is_held(fields, value, index):
                foreign.add(symbol)
            continue
        quantity = _quantity(fields)
        if k in found:
            raise fields.wrong("symbol", "one position for each")
        side = (quantity > 0.0) - (quantity < 0.0)
        found[k] = Holding(side, abs(quantity), fields.positive("markPrice"))
    return found, tuple(sorted(foreign))


def _of_others_is_held(fields: Fields, value: object, index: Mapping[str, int]) -> bool:
    try:
        return bool(_quantity(fields))
    except HedgeModeError:
        raise  # it is the account's, and ours too
    except MalformedReplyError:
        if not of_others(value, index):
            raise
        return True


class Quantities(NamedTuple):
    """What a list of positions says for an emergency, which acts on every row that it can read."""

    held: dict[int, float]
    """contracts by symbol index, negative when short, 0 when flat"""
    odd: dict[int, str]
    """symbols of ours whose row makes no sense, and why"""
    nameless: int
    """rows that name no contract: they may be of any"""
    foreign: tuple[str, ...]


def quantities(data: object, index: Mapping[str, int]) -> Quantities:
    """Return what a list of positions says, row by row: one that makes no sense spoils no other."""
    held: dict[int, float] = {}
    odd: dict[int, str] = {}
    foreign: set[str] = set()
    nameless = 0
    for value in array(data, "positions"):
        try:
            fields = Fields(value, "position")
            symbol = fields.text("symbol")
        except MalformedReplyError:
            nameless += 1
            continue
        fields.what = f"position {symbol}"
        k = index.get(symbol)
        try:
            quantity = _quantity(fields)
            if k in held:
                raise fields.wrong("symbol", "one position for each")
        except MalformedReplyError as error:
            foreign |= {symbol} if k is None else set()
            odd |= {k: str(error)} if k is not None else {}
            continue
        if k is not None:
            held[k] = quantity
        elif quantity:
            foreign.add(symbol)
    sure = {k: quantity for k, quantity in held.items() if k not in odd}
    return Quantities(sure, odd, nameless, tuple(sorted(foreign)))


def _quantity(fields: Fields) -> float:
    # Contracts of the net position, negative when short.
    if fields.text("positionSide") != "BOTH":
        raise HedgeModeError(str(fields.wrong("positionSide", _HEDGE)))
    quantity = fields.whole("currentQty")
    opened = bool(quantity)
    if fields.flag("isOpen") is not opened:
        raise fields.wrong("isOpen", f"{opened} with {quantity:g} contracts")
    return quantity


def overview(data: object) -> Overview:
    """Return the account overview in USDT."""
    fields = Fields(data, "account overview")
    _in_usdt(fields, "currency")
    equity, unrealised = fields.number("accountEquity"), fields.number("unrealisedPNL")
    return Overview(equity - unrealised, fields.number("availableBalance"), equity)


def position_margin(data: object) -> float:
    """Return what the account overview says that positions tie up, USDT; 0 when there are none.

    Nothing else of it is read. It includes unrealised profit, so it may be below 0.
    """
    fields = Fields(data, "account overview")
    _in_usdt(fields, "currency")
    return fields.number("positionMargin")


def funding(value: object, index: Mapping[str, int]) -> FundingSettled:
    """Return a row of the funding history of one of our symbols; received when positive.

    Source of the sign: KuCoin, "A positive number means that the user received the funding fee".
    """
    fields = Fields(value, "funding")
    entry = fields.identity("id")
    fields.what = f"funding {entry}"
    _in_usdt(fields, "settleCurrency")
    k = index.get(fields.text("symbol"))
    if k is None:
        raise fields.wrong("symbol", "one of ours")
    time, amount = fields.time_ms("timePoint"), fields.number("funding")
    return FundingSettled(time, k, amount, f"funding-{entry}")


def transfer(value: object) -> Transferred | None:
    """Return a row of the transaction history as a transfer; None for a row of another kind and for
    a transfer that is not completed, which comes again.

    The kind gives the sign: KuCoin has been seen to write amounts of TransferOut both ways.
    """
    fields = Fields(value, "transaction")
    kind, status = fields.text("type"), fields.text("status")
    if kind not in _TRANSFERS or status != "Completed":
        return None
    entry = fields.identity("offset")
    fields.what = f"{kind} {entry}"
    _in_usdt(fields, "currency")
    sign, amount = _TRANSFERS[kind], fields.number("amount")
    if sign > 0.0 and amount < 0.0:
        raise fields.wrong("amount", "0 or more USDT")
    return Transferred(fields.time_ms("time"), f"transfer-{entry}", sign * abs(amount))


def _in_usdt(fields: Fields, name: str) -> None:
    if fields.text(name) != CURRENCY:
        raise fields.wrong(name, CURRENCY)
