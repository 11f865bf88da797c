"""The spot listener: what a futures client asks api.kucoin.com beside the contracts."""

from typing import Any

from ops.exchange import private_api
from ops.exchange.calls import Call, Route
from ops.exchange.contracts import contract_view, tier_view, unified_funding_view
from ops.exchange.limits import Pool
from ops.exchange.names import wire_base, wire_symbol
from ops.exchange.public_api import status, timestamp
from ops.exchange.refusal import bad_parameter
from ops.exchange.wire import Wire


def currencies(wire: Wire, call: Call) -> Any:
    """GET /api/v3/currencies: the coins of this market"""
    coins = [wire_base(symbol).replace("XBT", "BTC") for symbol in wire.market.symbols]
    return [_currency(coin) for coin in dict.fromkeys([*coins, "USDT"])]


def _currency(coin: str) -> dict[str, Any]:
    return {
        "currency": coin,
        "name": coin,
        "fullName": coin,
        "precision": 8,
        "confirms": None,
        "contractAddress": None,
        "isMarginEnabled": True,
        "isDebitEnabled": True,
        "chains": [],
    }


def account_mode(wire: Wire, call: Call) -> Any:
    """GET /api/ua/v1/account/mode"""
    return {"selfAccountMode": wire.account_mode}


def margin_symbols(wire: Wire, call: Call) -> Any:
    """GET /api/v3/margin/symbols"""
    return {"timestamp": call.now, "items": []}


def isolated_symbols(wire: Wire, call: Call) -> Any:
    """GET /api/v1/isolated/symbols"""
    return []


def high_frequency(wire: Wire, call: Call) -> Any:
    """GET /api/v1/hf/accounts/opened"""
    return False


def key_information(wire: Wire, call: Call) -> Any:
    """GET /api/v1/user/api-key"""
    return {
        "remark": "simulated",
        "apiKey": wire.options.credentials.key,
        "apiVersion": 3,
        "permission": wire.rights.words(),
        "ipWhitelist": "127.0.0.1",
        "createdAt": wire.options.source.start_ms,
        "uid": 100_000_001,
        "isMaster": True,
    }


def universal_transfer(wire: Wire, call: Call) -> Any:
    """POST /api/v3/accounts/universal-transfer between this account and any other of the person"""
    if call.fields().get("toAccountType") == "CONTRACT":
        private_api.transfer_in(wire, call)
    else:
        private_api.transfer_out(wire, call)
    return {"orderId": str(800_000_000_000 + wire.account.statements.entries)}


def open_interest(wire: Wire, call: Call) -> Any:
    """GET /api/ua/v1/market/open-interest"""
    views = [contract_view(wire.market, k, call.now) for k in _wanted(wire, call)]
    keys = ("symbol", "openInterest")
    return [{key: view[key] for key in keys} | {"ts": call.now} for view in views]


def funding_rates(wire: Wire, call: Call) -> Any:
    """GET /api/ua/v2/market/funding-rate"""
    return [unified_funding_view(wire.market, k, call.now) for k in _wanted(wire, call)]


def position_tiers(wire: Wire, call: Call) -> Any:
    """GET /api/ua/v1/market/position-tiers of contracts, for cross margin alone"""
    if call.text("tradeType") != "FUTURES" or call.text("marginMode") != "CROSS":
        raise bad_parameter("expected tradeType FUTURES and marginMode CROSS")
    for name in call.text("symbol").split(","):
        wire.market.index(name)
    return [tier_view(wire.market, k) for k in _wanted(wire, call)]


def spot_marks(wire: Wire, call: Call) -> Any:
    """GET /api/v3/mark-price/all-symbols: of the spot market, which knows no contracts"""
    coins = [wire_base(symbol).replace("XBT", "BTC") for symbol in wire.market.symbols]
    return [
        {"symbol": f"{coin}-USDT", "timePoint": call.now, "value": wire.market.mark(k)}
        for k, coin in enumerate(coins)
    ]


def _wanted(wire: Wire, call: Call) -> list[int]:
    """Return the contracts that a call names, all of them when it names none."""
    wanted = call.params.get("symbol", "").split(",")
    names = [wire_symbol(symbol) for symbol in wire.market.symbols]
    return [k for k, name in enumerate(names) if wanted == [""] or name in wanted]


def bullet_public(wire: Wire, call: Call) -> Any:
    """POST /api/v1/bullet-public"""
    return wire.hub.issue(private=False, base_url=wire.endpoint, spot=True)


def bullet_private(wire: Wire, call: Call) -> Any:
    """POST /api/v1/bullet-private and v2: a token whose socket knows no contracts"""
    return wire.hub.issue(private=True, base_url=wire.endpoint, spot=True)


ROUTES = [
    Route("GET", "/api/v1/timestamp", timestamp, Pool.PUBLIC, 3),
    Route("GET", "/api/v1/status", status, Pool.PUBLIC, 3),
    Route("GET", "/api/v3/currencies", currencies, Pool.PUBLIC, 3),
    Route("GET", "/api/ua/v1/market/open-interest", open_interest, Pool.PUBLIC, 3),
    Route("GET", "/api/ua/v2/market/funding-rate", funding_rates, Pool.PUBLIC, 3),
    Route("GET", "/api/ua/v1/market/position-tiers", position_tiers, Pool.PUBLIC, 20),
    Route("GET", "/api/v3/mark-price/all-symbols", spot_marks, Pool.PUBLIC, 10),
    Route("POST", "/api/v1/bullet-public", bullet_public, Pool.PUBLIC, 10),
    Route("GET", "/api/ua/v1/account/mode", account_mode, Pool.MANAGEMENT, 5),
    Route("GET", "/api/v1/user/api-key", key_information, Pool.MANAGEMENT, 20),
    Route("POST", "/api/v3/accounts/universal-transfer", universal_transfer, Pool.MANAGEMENT, 4),
    Route("GET", "/api/v3/margin/symbols", margin_symbols, Pool.SPOT, 3),
    Route("GET", "/api/v1/isolated/symbols", isolated_symbols, Pool.SPOT, 3),
    Route("GET", "/api/v1/hf/accounts/opened", high_frequency, Pool.SPOT, 2),
    Route("POST", "/api/v1/bullet-private", bullet_private, Pool.SPOT, 10),
    Route("POST", "/api/v2/bullet-private", bullet_private, Pool.SPOT, 10),
]
