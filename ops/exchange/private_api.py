"""The signed side: the account, its positions, its settings and its statements."""

import math
from typing import Any

from ops.exchange.calls import DEFAULT_PAGE, Call, Route, page, scroll
from ops.exchange.limits import Pool
from ops.exchange.names import decimal_text, short, wire_symbol
from ops.exchange.positions import isolated_margin, spare_margin
from ops.exchange.refusal import RefusedError, bad_parameter, not_simulated
from ops.exchange.validation import MARGIN_MODES, MAX_SIZE, number
from ops.exchange.wire import Wire

FUNDING_PAGE = 10


def overview(wire: Wire, call: Call) -> Any:
    """GET /api/v1/account-overview: of coins unless it is asked for USDT, as on KuCoin"""
    currency = call.params.get("currency") or "XBT"
    found = wire.account.overview()
    if currency == "USDT":
        return found
    return {key: currency if key == "currency" else 0.0 for key in found}


def positions(wire: Wire, call: Call) -> Any:
    """GET /api/v1/positions: the open ones"""
    if call.params.get("currency", "USDT") != "USDT":
        return []
    held = wire.account.ledger.held
    return [wire.account.position(k, call.now) for k in range(len(held)) if held[k].side != 0]


def position(wire: Wire, call: Call) -> Any:
    """GET /api/v1/position: also when there is none"""
    return wire.account.position(_index(wire, call), call.now)


def closed_positions(wire: Wire, call: Call) -> Any:
    """GET /api/v1/history-positions, newest first"""
    start, end = call.window("from", "to")
    name = call.params.get("symbol")
    rows = [
        row
        for row in reversed(wire.account.statements.closed)
        if start <= row["closeTime"] <= end and name in (None, "", row["symbol"])
    ]
    size = {"pageSize": call.params.get("limit", "10")}
    size |= {"currentPage": call.params.get("pageId", "1")}
    return page(Call(size, call.body, call.now), rows)


def transactions(wire: Wire, call: Call) -> Any:
    """GET /api/v1/transaction-history, newest first"""
    start, end = call.window("startAt", "endAt")
    if call.params.get("currency", "USDT") != "USDT":
        return {"hasMore": False, "dataList": []}
    wanted = call.params.get("type") or None
    rows = [
        entry.view()
        for entry in reversed(wire.account.statements.ledger)
        if start <= entry.ms <= end and wanted in (None, entry.type)
    ]
    if call.integer("offset") is None and start <= call.now <= end:
        rows = [row for row in _pending(wire, call) if wanted in (None, row["type"])] + rows
    return scroll(call, rows, "offset", DEFAULT_PAGE)


def _pending(wire: Wire, call: Call) -> list[dict[str, Any]]:
    """Return what the open positions have realised so far: it stands before all that is settled."""
    account = wire.account
    return [
        {
            "time": call.now,
            "type": "RealisedPNL",
            "amount": short(account.tracks[k].net),
            "fee": None,
            "accountEquity": account.ledger.equity(),
            "status": "Pending",
            "remark": wire_symbol(wire.market.symbols[k]),
            "offset": -1,
            "currency": "USDT",
        }
        for k, held in enumerate(account.ledger.held)
        if held.side != 0
    ]


def funding(wire: Wire, call: Call) -> Any:
    """GET /api/v1/funding-history of a symbol, newest first"""
    name = wire_symbol(wire.market.symbols[_index(wire, call)])
    first = "from" if call.params.get("from") else "startAt"
    last = "to" if call.params.get("to") else "endAt"
    start, end = call.window(first, last)
    rows = [
        row
        for record in reversed(wire.account.statements.funding)
        if start <= record.ms <= end and (row := record.view())["symbol"] == name
    ]
    return scroll(call, rows, "id", FUNDING_PAGE)


def trade_fees(wire: Wire, call: Call) -> Any:
    """GET /api/v1/trade-fees"""
    k, params = _index(wire, call), wire.market.exchange.params
    return {
        "symbol": wire_symbol(wire.market.symbols[k]),
        "takerFeeRate": decimal_text(params.taker_fee),
        "makerFeeRate": decimal_text(params.maker_fee),
    }


def most_open(wire: Wire, call: Call) -> Any:
    """GET /api/v2/getMaxOpenSize"""
    k = _index(wire, call)
    given = {key: value for key, value in call.params.items() if value}
    price = number({"price": wire.market.exchange.last[k], **given}, "price")
    leverage = number({"leverage": 1.0, **given}, "leverage")
    if price <= 0.0 or leverage <= 0.0:
        raise bad_parameter("price and leverage: expected numbers above 0")
    spec = wire.market.exchange.specs[k]
    size = int(wire.account.available() * leverage / (spec.multiplier * price))
    most = max(0, min(size, MAX_SIZE))
    name = wire_symbol(wire.market.symbols[k])
    return {"symbol": name, "maxBuyOpenSize": most, "maxSellOpenSize": most}


def cross_leverage(wire: Wire, call: Call) -> Any:
    """GET /api/v2/getCrossUserLeverage"""
    k = _index(wire, call)
    name = wire_symbol(wire.market.symbols[k])
    return {"symbol": name, "leverage": decimal_text(wire.account.cross_leverage[k])}


def change_cross_leverage(wire: Wire, call: Call) -> Any:
    """POST /api/v2/changeCrossUserLeverage"""
    k = wire.market.index(call.fields().get("symbol"))
    leverage = number(call.fields(), "leverage")
    if not 1.0 <= leverage <= wire.market.exchange.specs[k].max_leverage:
        raise RefusedError("300016", "The leverage is outside the limits of the contract")
    wire.account.cross_leverage[k] = leverage
    return True


def margin_mode(wire: Wire, call: Call) -> Any:
    """GET /api/v2/position/getMarginMode"""
    k = _index(wire, call)
    return {
        "symbol": wire_symbol(wire.market.symbols[k]),
        "marginMode": wire.account.margin_modes[k],
    }


def change_margin_mode(wire: Wire, call: Call) -> Any:
    """POST /api/v2/position/changeMarginMode: only without orders and position"""
    fields, account = call.fields(), wire.account
    k, mode = wire.market.index(fields.get("symbol")), fields.get("marginMode")
    if mode not in MARGIN_MODES:
        raise bad_parameter(f"marginMode: expected ISOLATED or CROSS, was {mode!r}")
    busy = account.ledger.held[k].side != 0 or any(o.symbol == k for o in account.live.values())
    if busy and mode != account.margin_modes[k]:
        raise RefusedError("50002", "exist.order.or.position")
    account.margin_modes[k] = str(mode)
    return {"symbol": wire_symbol(wire.market.symbols[k]), "marginMode": mode}


def position_mode(wire: Wire, call: Call) -> Any:
    """GET /api/v2/position/getPositionMode"""
    return {"positionMode": int(wire.account.hedged)}


def switch_position_mode(wire: Wire, call: Call) -> Any:
    """POST /api/v2/position/switchPositionMode: only without orders and positions"""
    mode = str(call.fields().get("positionMode"))
    if mode not in ("0", "1"):
        raise bad_parameter(f"positionMode: expected 0 or 1, was {mode!r}")
    busy = any(held.side != 0 for held in wire.account.ledger.held) or wire.account.live
    if busy and wire.account.hedged != (mode == "1"):
        raise RefusedError("50002", "exist.order.or.position")
    wire.account.hedged = mode == "1"
    return {"positionMode": int(mode)}


def add_margin(wire: Wire, call: Call) -> Any:
    """POST /api/v1/position/margin/deposit-margin"""
    k, amount = _moved(wire, call, "margin")
    account, spec = wire.account, wire.market.exchange.specs[k]
    held = account.ledger.held[k]
    if amount > account.available():
        raise RefusedError("300003", "Balance insufficient")
    value = held.contracts * spec.multiplier * held.entry_price
    if isolated_margin(held, spec) + amount > value:
        raise not_simulated("margin beyond the value of a position")
    account.move_margin(k, amount, call.now)
    return account.position(k, call.now)


def withdraw_margin(wire: Wire, call: Call) -> Any:
    """POST /api/v1/margin/withdrawMargin"""
    k, amount = _moved(wire, call, "withdrawAmount")
    most = _spare(wire, k)
    if amount > most:
        raise bad_parameter(f"withdrawAmount: expected at most {most:g}, was {amount:g}")
    wire.account.move_margin(k, -amount, call.now)
    return decimal_text(amount)


def most_withdrawn(wire: Wire, call: Call) -> Any:
    """GET /api/v1/margin/maxWithdrawMargin"""
    return decimal_text(_spare(wire, _index(wire, call)))


def _spare(wire: Wire, k: int) -> float:
    """Return what can be taken out of a position, USDT, rounded down."""
    ledger, spec = wire.account.ledger, wire.market.exchange.specs[k]
    return math.floor(spare_margin(ledger.held[k], ledger.marks[k], spec) * 1e8) / 1e8


def _moved(wire: Wire, call: Call, key: str) -> tuple[int, float]:
    """Return the isolated position whose margin is to change, and by how much, USDT."""
    fields = call.fields()
    k = wire.market.index(fields.get("symbol"))
    if wire.account.ledger.held[k].side == 0:
        raise RefusedError("200000", "Position does not exist")
    if wire.account.margin_modes[k] != "ISOLATED":
        raise RefusedError("330005", "The position has no isolated margin")
    amount = number(fields, key)
    if amount <= 0.0:
        raise bad_parameter(f"{key}: expected an amount above 0, was {amount:g}")
    return k, amount


def transfer_in(wire: Wire, call: Call) -> Any:
    """POST /api/v1/transfer-in"""
    wire.account.transfer(_amount(call), call.now, "Transferred from Trading Account")
    return None


def transfer_out(wire: Wire, call: Call) -> Any:
    """POST /api/v2/transfer-out and v3"""
    amount = _amount(call)
    if amount > wire.account.available():
        raise RefusedError("200004", "Balance insufficient")
    wire.account.transfer(-amount, call.now, "Transferred to Trading Account")
    return {
        "applyId": str(700_000_000_000 + wire.account.statements.entries),
        "bizNo": "",
        "payAccountType": "CONTRACT",
        "payTag": "DEFAULT",
        "remark": "",
        "recAccountType": call.fields().get("recAccountType", "TRADE"),
        "recTag": "DEFAULT",
        "recRemark": "",
        "recSystem": "KUCOIN",
        "status": "PROCESSING",
        "currency": "USDT",
        "amount": decimal_text(amount),
        "fee": "0",
        "sn": wire.account.statements.entries,
        "reason": "",
        "createdAt": call.now,
        "updatedAt": call.now,
    }


def bullet_private(wire: Wire, call: Call) -> Any:
    """POST /api/v1/bullet-private"""
    return wire.hub.issue(private=True, base_url=wire.endpoint)


def _index(wire: Wire, call: Call) -> int:
    return wire.market.index(call.params.get("symbol"))


def _amount(call: Call) -> float:
    fields = call.fields()
    amount = number(fields, "amount")
    if amount <= 0.0 or fields.get("currency") != "USDT":
        raise bad_parameter("expected an amount of USDT above 0")
    return amount


ROUTES = [
    Route("GET", "/api/v1/account-overview", overview, Pool.FUTURES, 5),
    Route("GET", "/api/v1/positions", positions, Pool.FUTURES, 2),
    Route("GET", "/api/v1/position", position, Pool.FUTURES, 2),
    Route("GET", "/api/v1/history-positions", closed_positions, Pool.FUTURES, 2),
    Route("GET", "/api/v1/transaction-history", transactions, Pool.MANAGEMENT, 2),
    Route("GET", "/api/v1/funding-history", funding, Pool.FUTURES, 5),
    Route("GET", "/api/v1/trade-fees", trade_fees, Pool.FUTURES, 3),
    Route("GET", "/api/v2/getMaxOpenSize", most_open, Pool.FUTURES, 2),
    Route("GET", "/api/v2/getCrossUserLeverage", cross_leverage, Pool.FUTURES, 2),
    Route("POST", "/api/v2/changeCrossUserLeverage", change_cross_leverage, Pool.FUTURES, 2),
    Route("GET", "/api/v2/position/getMarginMode", margin_mode, Pool.FUTURES, 2),
    Route("POST", "/api/v2/position/changeMarginMode", change_margin_mode, Pool.FUTURES, 2),
    Route("GET", "/api/v2/position/getPositionMode", position_mode, Pool.FUTURES, 2),
    Route("POST", "/api/v2/position/switchPositionMode", switch_position_mode, Pool.FUTURES, 2),
    Route("POST", "/api/v1/position/margin/deposit-margin", add_margin, Pool.FUTURES, 4),
    Route("GET", "/api/v1/margin/maxWithdrawMargin", most_withdrawn, Pool.FUTURES, 10),
    Route("POST", "/api/v1/margin/withdrawMargin", withdraw_margin, Pool.FUTURES, 10),
    Route("POST", "/api/v1/transfer-in", transfer_in, Pool.MANAGEMENT, 20),
    Route("POST", "/api/v2/transfer-out", transfer_out, Pool.MANAGEMENT, 20),
    Route("POST", "/api/v3/transfer-out", transfer_out, Pool.MANAGEMENT, 20),
    Route("POST", "/api/v1/bullet-private", bullet_private, Pool.FUTURES, 10),
]
