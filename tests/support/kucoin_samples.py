"""Objects as KuCoin Futures sends them (API reference, sections 3 to 5), and ways to spoil them."""

import copy
from dataclasses import fields, is_dataclass
from math import isfinite
from typing import Any

from hypothesis import strategies as st

CONTRACT: dict[str, Any] = {
    "symbol": "XBTUSDTM",
    "baseCurrency": "XBT",
    "quoteCurrency": "USDT",
    "settleCurrency": "USDT",
    "multiplier": 0.001,
    "tickSize": 0.1,
    "lotSize": 1,
    "maxOrderQty": 1000000,
    "maxPrice": 1000000.0,
    "maxLeverage": 125,
    "makerFeeRate": 2.0e-4,
    "takerFeeRate": 6.0e-4,
    "initialMargin": 0.008,
    "maintainMargin": 0.004,
    "isInverse": False,
    "status": "Open",
    "expireDate": None,
    "nextFundingRateTime": 17671466,
}
KLINES: list[Any] = [
    [1704067200000, 42283.6, 42554.5, 42261.1, 42475.3, 1224610],
    [1704070800000, 42475.3, 42775.0, 42431.6, 42613.5, 1115220.0],
]
TICKER: dict[str, Any] = {
    "sequence": 1697895100310,
    "symbol": "XBTUSDM",
    "side": "sell",
    "size": 2936,
    "tradeId": "1697901180000",
    "price": "67158.4",
    "bestBidPrice": None,
    "bestAskSize": 1157,
    "ts": 1729163001780000000,
} | {"symbol": "XBTUSDTM"}
MARK: dict[str, Any] = {
    "symbol": "XBTUSDTM",
    "granularity": 1000,
    "timePoint": 1729163500000,
    "value": 67160.91,
    "indexPrice": 67155.7,
}
RATE: dict[str, Any] = {"symbol": "XBTUSDTM", "fundingRate": 2.26e-4, "timepoint": 1702296000000}
ORDER: dict[str, Any] = {
    "id": "236655147005071361",
    "symbol": "XBTUSDTM",
    "type": "limit",
    "side": "buy",
    "price": "60000.1",
    "size": 3,
    "value": "180.0003",
    "dealValue": "60.0001",
    "dealSize": 1,
    "stp": "",
    "stop": "",
    "stopPriceType": "",
    "stopTriggered": False,
    "stopPrice": None,
    "timeInForce": "GTC",
    "postOnly": False,
    "leverage": "3",
    "closeOrder": False,
    "clientOid": "a1b2c3-41-target",
    "remark": None,
    "isActive": True,
    "cancelExist": False,
    "createdAt": 1729236185949,
    "updatedAt": 1729236185949,
    "endAt": None,
    "orderTime": 1729236185885647952,
    "settleCurrency": "USDT",
    "marginMode": "ISOLATED",
    "avgDealPrice": "60000.1",
    "filledSize": 1,
    "filledValue": "60.0001",
    "status": "open",
    "reduceOnly": True,
}
FILL: dict[str, Any] = {
    "symbol": "XBTUSDTM",
    "tradeId": "1828954878212",
    "orderId": "284486580251463680",
    "side": "buy",
    "liquidity": "taker",
    "forceTaker": False,
    "price": "86275.1",
    "size": 2,
    "value": "172.5502",
    "openFeePay": "0.10353012",
    "closeFeePay": "0",
    "stop": "",
    "feeRate": "0.00060",
    "fixFee": "0",
    "feeCurrency": "USDT",
    "fee": "0.10353012",
    "marginMode": "ISOLATED",
    "settleCurrency": "USDT",
    "orderType": "market",
    "displayType": "market",
    "tradeType": "trade",
    "tradeTime": 1740640088244000000,
    "createdAt": 1740640088427,
}
POSITION: dict[str, Any] = {
    "id": "500000000001046430",
    "symbol": "ETHUSDTM",
    "crossMode": False,
    "delevPercentage": 0.71,
    "openingTimestamp": 1730635780702,
    "currentTimestamp": 1730636040926,
    "currentQty": -7,
    "currentCost": -17.9,
    "isOpen": True,
    "markPrice": 2445.35,
    "markValue": -171.1745,
    "posCost": -171.5,
    "posInit": 57.2,
    "realisedPnl": -0.102,
    "unrealisedPnl": 3.0e-1,
    "avgEntryPrice": 2450.0,
    "liquidationPrice": 3250.1,
    "settleCurrency": "USDT",
    "isInverse": False,
    "marginMode": "ISOLATED",
    "positionSide": "BOTH",
    "leverage": 3,
}
OVERVIEW: dict[str, Any] = {
    "accountEquity": 394.439280806,
    "unrealisedPNL": 20.15278,
    "marginBalance": 374.286500806,
    "positionMargin": 100.5,
    "orderMargin": 0.0,
    "frozenFunds": 0,
    "availableBalance": 289.939280806,
    "currency": "USDT",
    "riskRatio": 0.05,
    "maxWithdrawAmount": 289.939280806,
}
FUNDING: dict[str, Any] = {
    "id": 1472387374042586,
    "symbol": "ETHUSDTM",
    "timePoint": 1731470400000,
    "fundingRate": 6.41e-4,
    "markPrice": 2445.35,
    "positionQty": -7,
    "positionCost": -171.1745,
    "funding": 0.1097,
    "settleCurrency": "USDT",
    "context": "{}",
    "marginMode": "ISOLATED",
}
TRANSFER: dict[str, Any] = {
    "time": 1733330400000,
    "type": "TransferOut",
    "amount": -14.0,
    "fee": 0,
    "accountEquity": 20.8664,
    "status": "Completed",
    "remark": "Transferred to Funding Account",
    "offset": 51360793,
    "currency": "USDT",
}

JUNK: list[Any] = [
    None, True, False, 0, -1, 1.5, float("nan"), float("inf"), -float("inf"), 10**30, -(10**400),
    "", " 5", "5 ", "1_000", "NaN", "inf", "1e999", "0x10", "\u0663", "abc", "a\nb", "x" * 5_000,
    "-5", "2.0E-4", [], {}, [[]], {"a": 1}, 1e300, "1e300", 1730635780, 1730635780702000000,
]  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)


def changed(sample: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a copy with other values."""
    return copy.deepcopy(sample) | changes


def without(sample: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return a copy without some fields."""
    return {name: value for name, value in copy.deepcopy(sample).items() if name not in names}


@st.composite
def spoiled(draw: st.DrawFn, sample: dict[str, Any]) -> dict[str, Any]:
    """Make copies in which up to three fields are missing or hold something else."""
    copied = copy.deepcopy(sample)
    for name in draw(st.lists(st.sampled_from(sorted(sample)), min_size=1, max_size=3)):
        if draw(st.booleans()):
            copied.pop(name, None)
        else:
            copied[name] = draw(st.sampled_from(JUNK) | ANYTHING)
    return copied


def sound(value: object) -> bool:
    """Return whether every number in a result is finite and every text says something."""
    if is_dataclass(value) and not isinstance(value, type):
        # A refusal is the one text that may be empty.
        parts = [getattr(value, f.name) for f in fields(value) if f.name != "refusal"]
        return all(map(sound, parts))
    if isinstance(value, tuple | list):
        return all(map(sound, value))
    if isinstance(value, dict):
        return all(map(sound, value)) and all(map(sound, value.values()))
    if isinstance(value, str):
        return 0 < len(value) <= 300 and value.isprintable()
    return value is None or isinstance(value, int) or (isinstance(value, float) and isfinite(value))
