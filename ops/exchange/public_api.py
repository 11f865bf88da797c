"""The public side of the futures listener: market data."""

from typing import Any

from ops.exchange.calls import Call, Route
from ops.exchange.candles import MINUTE_MS, served
from ops.exchange.contracts import (
    BOOK_LEVELS,
    book_view,
    contract_view,
    funding_view,
    risk_view,
    ticker_view,
    trade_views,
)
from ops.exchange.limits import Pool
from ops.exchange.names import wire_symbol
from ops.exchange.refusal import RefusedError, bad_parameter
from ops.exchange.wire import Wire

RATE_ROWS = 100


def timestamp(wire: Wire, call: Call) -> Any:
    """GET /api/v1/timestamp"""
    return wire.exchange_now()


def status(wire: Wire, call: Call) -> Any:
    """GET /api/v1/status"""
    return {"status": "open", "msg": ""}


def active_contracts(wire: Wire, call: Call) -> Any:
    """GET /api/v1/contracts/active: everything but what was delisted."""
    return [contract_view(wire.market, k, call.now) for k in _listed(wire)]


def contract(wire: Wire, call: Call) -> Any:
    """GET /api/v1/contracts/{symbol}"""
    return contract_view(wire.market, _index(wire, call), call.now)


def ticker(wire: Wire, call: Call) -> Any:
    """GET /api/v1/ticker"""
    return ticker_view(wire.market, _index(wire, call), call.now)


def all_tickers(wire: Wire, call: Call) -> Any:
    """GET /api/v1/allTickers: everything but what was delisted."""
    return [ticker_view(wire.market, k, call.now) for k in _listed(wire)]


def mark_price(wire: Wire, call: Call) -> Any:
    """GET /api/v1/mark-price/{symbol}/current"""
    k = _index(wire, call)
    mark = wire.market.mark(k)
    return {
        "symbol": wire_symbol(wire.market.symbols[k]),
        "granularity": 1_000,
        "timePoint": call.now,
        "value": mark,
        "indexPrice": mark,
    }


def snapshot(wire: Wire, call: Call) -> Any:
    """GET /api/v1/level2/snapshot"""
    return book_view(wire.market, _index(wire, call), BOOK_LEVELS, call.now)


def part_of_book(wire: Wire, call: Call) -> Any:
    """GET /api/v1/level2/depth20 and depth100"""
    levels = int(call.text("levels"))
    return book_view(wire.market, _index(wire, call), min(levels, BOOK_LEVELS), call.now)


def klines(wire: Wire, call: Call) -> Any:
    """GET /api/v1/kline/query"""
    k = _index(wire, call)
    if not wire.market.is_listed(k):
        raise RefusedError("200003", "The contract is not available")
    text = call.text("granularity")
    minutes = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
    if not served(minutes, wire.market.timeframe_ms):
        raise bad_parameter(
            f"granularity: expected minutes that bars of {wire.market.timeframe_ms // 60_000} "
            f"minutes make up, was {text!r}"
        )
    to_ms = call.integer("to", call.now) or call.now
    rows = wire.market.candles.query(k, minutes, call.integer("from"), min(to_ms, call.now))
    late_ms = wire.faults.late_ms("late_klines")
    if late_ms:
        return [row for row in rows if row[0] + minutes * MINUTE_MS <= call.now - late_ms]
    return rows


def trades(wire: Wire, call: Call) -> Any:
    """GET /api/v1/trade/history"""
    return trade_views(wire.market, _index(wire, call))


def funding_rate(wire: Wire, call: Call) -> Any:
    """GET /api/v1/funding-rate/{symbol}/current"""
    return funding_view(wire.market, _index(wire, call), call.now)


def funding_rates(wire: Wire, call: Call) -> Any:
    """GET /api/v1/contract/funding-rates, newest first"""
    k = _index(wire, call)
    start, end = call.window("from", "to")
    found = [(ms, rate) for ms, rate in wire.market.rates[k] if start <= ms <= min(end, call.now)]
    name = wire_symbol(wire.market.symbols[k])
    return [
        {"symbol": name, "fundingRate": rate, "timepoint": ms}
        for ms, rate in reversed(found[-RATE_ROWS:])
    ]


def risk_limit(wire: Wire, call: Call) -> Any:
    """GET /api/v1/contracts/risk-limit/{symbol}"""
    return [risk_view(wire.market, _index(wire, call))]


def bullet_public(wire: Wire, call: Call) -> Any:
    """POST /api/v1/bullet-public"""
    return wire.hub.issue(private=False, base_url=wire.endpoint)


def _listed(wire: Wire) -> list[int]:
    return [k for k in range(len(wire.market.symbols)) if wire.market.is_listed(k)]


def _index(wire: Wire, call: Call) -> int:
    return wire.market.index(call.params.get("symbol"))


ROUTES = [
    Route("GET", "/api/v1/timestamp", timestamp, Pool.PUBLIC, 2),
    Route("GET", "/api/v1/status", status, Pool.PUBLIC, 4),
    Route("GET", "/api/v1/contracts/active", active_contracts, Pool.PUBLIC, 3),
    Route("GET", "/api/v1/contracts/{symbol}", contract, Pool.PUBLIC, 3),
    Route("GET", "/api/v1/contracts/risk-limit/{symbol}", risk_limit, Pool.PUBLIC, 5),
    Route("GET", "/api/v1/ticker", ticker, Pool.PUBLIC, 2),
    Route("GET", "/api/v1/allTickers", all_tickers, Pool.PUBLIC, 5),
    Route("GET", "/api/v1/mark-price/{symbol}/current", mark_price, Pool.PUBLIC, 3),
    Route("GET", "/api/v1/level2/snapshot", snapshot, Pool.PUBLIC, 3),
    Route("GET", r"/api/v1/level2/depth{levels:20|100}", part_of_book, Pool.PUBLIC, 5),
    Route("GET", "/api/v1/kline/query", klines, Pool.PUBLIC, 3),
    Route("GET", "/api/v1/trade/history", trades, Pool.PUBLIC, 5),
    Route("GET", "/api/v1/funding-rate/{symbol}/current", funding_rate, Pool.PUBLIC, 2),
    Route("GET", "/api/v1/contract/funding-rates", funding_rates, Pool.PUBLIC, 5),
    Route("POST", "/api/v1/bullet-public", bullet_public, Pool.PUBLIC, 10),
]
