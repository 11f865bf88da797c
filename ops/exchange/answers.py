"""What the market says about the account: events of the simulated exchange become orders, fills,
statements and news."""

from typing import Any

from bot.core.errors import InvariantError
from bot.core.kernel.codes import MAKER
from bot.core.kernel.prices import fee
from bot.core.messages import (
    Event,
    FundingSettled,
    Liquidated,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    Role,
)
from bot.core.observations import Takeover
from ops.exchange import news
from ops.exchange.account import Account
from ops.exchange.door import place_exits
from ops.exchange.names import nanoseconds, order_id, record_number, wire_symbol
from ops.exchange.orders import Stage, WireOrder
from ops.exchange.positions import Track, closed_view
from ops.exchange.statements import Fill, FundingRecord

TRADE_TYPES = {
    Takeover.LIQUIDATION: "liquid",
    Takeover.ADL: "adl",
    Takeover.SETTLEMENT: "settlement",
}
REASONS = {"liquid": "liquidation", "adl": "adl"}
CHANGED = "positionChange"


def take(account: Account, event: Event) -> None:
    """Take an event of the simulated exchange."""
    match event:
        case OrderAccepted(now_ms=now, client_id=name):
            _accepted(account, account.orders[name], now)
        case OrderFilled():
            _filled(account, event)
        case OrderCancelled(now_ms=now, client_id=name):
            _ended(account, account.orders[name], now, "")
        case OrderRejected(now_ms=now, client_id=name, message=message):
            _ended(account, account.orders[name], now, message)
        case FundingSettled():
            _funded(account, event)
        case Liquidated():
            _liquidated(account, event)
        case _:
            raise InvariantError(f"an event that no exchange has: {event}")


def triggered(account: Account, name: str, now: int) -> None:
    """Note that a stop order has become an order of the market."""
    order = account.orders[name]
    if order.stage is Stage.TRANSIT:  # its price was reached when it came
        _tell_stop(account, order, "open", now)
    order.triggered = True
    if order.close_order:
        order.size = int(account.ledger.held[order.symbol].contracts)
    order.stage = Stage.OPEN
    order.updated_ms = now
    _tell_stop(account, order, "triggered", now)
    _tell_order(account, order, "open", now)


def _accepted(account: Account, order: WireOrder, now: int) -> None:
    order.updated_ms = now
    if order.stop and not order.triggered:
        order.stage = Stage.WAITING
        _tell_stop(account, order, "open", now)
        return
    order.stage = Stage.OPEN
    if not order.triggered:
        _tell_order(account, order, "open", now)
    account.wallet_changed = account.wallet_changed or order.role is Role.ENTRY


def _filled(account: Account, event: OrderFilled) -> None:
    order = account.orders[event.client_id]
    fill = _fill_of(account, event, order)
    _book(account, fill, order.symbol)
    order.filled += fill.contracts
    order.value += fill.value
    order.updated_ms = event.now_ms
    _tell_order(account, order, "match", event.now_ms, fill)
    if order.filled >= order.size:
        order.end(event.now_ms, cancelled=False)
        account.remember(order)
        _tell_order(account, order, "filled", event.now_ms)
        place_exits(account, order, event.now_ms)


def _fill_of(account: Account, event: OrderFilled, order: WireOrder) -> Fill:
    params, spec = account.exchange.params, account.exchange.specs[order.symbol]
    notional = event.contracts * spec.multiplier * event.price
    maker = event.fee == fee(notional, MAKER, params)
    return Fill(
        fill_id=event.fill_id,
        order_id=order.order_id,
        client_oid=order.client_oid,
        name=order.name,
        spec=spec,
        side=order.side,
        contracts=int(event.contracts),
        price=event.price,
        fee=event.fee,
        fee_rate=params.maker_fee if maker else params.taker_fee,
        ms=event.now_ms,
        maker=maker,
        closed=account.tracks[order.symbol].closing(order.side, int(event.contracts)),
        kind=order.kind,
        stop=order.stop,
        margin_mode=order.margin_mode,
    )


def _book(account: Account, fill: Fill, k: int) -> None:
    """Keep a fill and what it does to the position: it may close one and open the next."""
    account.statements.fills.append(fill)
    account.changed[k] = REASONS.get(fill.trade_type, CHANGED)
    track = account.tracks[k]
    if fill.closed:
        track.add(fill.side, fill.closed, fill.price, fill.closing_fee, fill.spec)
        if track.contracts == 0:
            _close(account, fill, track)
            track = account.tracks[k] = Track()
    opened = fill.contracts - fill.closed
    if opened:
        if track.contracts == 0:
            leverage = account.ledger.held[k].leverage
            track = account.tracks[k] = Track(opened_ms=fill.ms, leverage=leverage)
        track.add(fill.side, opened, fill.price, fill.fee - fill.closing_fee, fill.spec)


def _close(account: Account, last: Fill, track: Track) -> None:
    """Keep a position that is over, and put its result into the ledger."""
    statements, equity = account.statements, account.ledger.equity()
    statements.positions += 1
    statements.closed.append(closed_view(track, last, statements.positions))
    remark = wire_symbol(last.name)
    statements.book(last.ms, "RealisedPNL", track.net, equity, remark, track.fees)


def _ended(account: Account, order: WireOrder, now: int, refusal: str) -> None:
    waited = order.stage is Stage.WAITING
    order.end(now, cancelled=True, refusal=refusal)
    account.remember(order)
    account.wallet_changed = account.wallet_changed or order.role is Role.ENTRY
    if order.stop and not order.triggered:
        # What waits is refused when its price has been reached, and never was an order of the book.
        order.triggered = waited and bool(refusal)
        _tell_stop(account, order, "triggered" if order.triggered else "cancel", now, refusal)
        return
    _tell_order(account, order, "canceled", now)
    if order.filled:
        place_exits(account, order, now)


def _funded(account: Account, event: FundingSettled) -> None:
    k, now = event.symbol, event.now_ms
    track, mark = account.tracks[k], account.ledger.marks[k]
    track.funding += event.amount
    account.changed.setdefault(k, CHANGED)
    record = FundingRecord(
        number=record_number(event.entry_id),
        name=account.listing.symbols[k],
        ms=now,
        rate=account.listing.rate_at(k, now),
        mark=mark,
        contracts=track.contracts,
        cost=track.contracts * account.exchange.specs[k].multiplier * mark,
        amount=event.amount,
        margin_mode=account.margin_modes[k],
    )
    account.statements.funding.append(record)
    data: dict[str, Any] = {
        "fundingTime": now,
        "qty": record.contracts,
        "markPrice": mark,
        "fundingRate": record.rate,
        "fundingFee": record.amount,
        "ts": nanoseconds(now),
        "settleCurrency": "USDT",
        "marginMode": record.margin_mode,
    }
    account.tell(f"{news.POSITION}:{wire_symbol(record.name)}", "position.settlement", data)


def _liquidated(account: Account, event: Liquidated) -> None:
    """Book a position that the exchange took over, or settled when its contract ended."""
    account.numbered += 1
    k, track = event.symbol, account.tracks[event.symbol]
    fill = Fill(
        fill_id=event.entry_id,
        order_id=order_id(account.numbered),
        client_oid="",
        name=account.listing.symbols[k],
        spec=account.exchange.specs[k],
        side=-1 if track.contracts > 0 else 1,
        contracts=int(event.contracts),
        price=event.price,
        fee=event.fee,
        fee_rate=account.exchange.params.taker_fee,
        ms=event.now_ms,
        maker=False,
        closed=int(event.contracts),
        kind="market",
        stop="",
        margin_mode=account.margin_modes[k],
        trade_type=TRADE_TYPES[event.way],
    )
    _book(account, fill, k)
    account.tell(news.ORDERS, "orderChange", news.liquidation_change(fill))


def _tell_order(
    account: Account, order: WireOrder, type_: str, now: int, fill: Fill | None = None
) -> None:
    account.tell(news.ORDERS, "orderChange", news.order_change(order, type_, now, fill))


def _tell_stop(account: Account, order: WireOrder, type_: str, now: int, error: str = "") -> None:
    account.tell(news.STOPS, "stopOrder", news.stop_change(order, type_, now, error))
