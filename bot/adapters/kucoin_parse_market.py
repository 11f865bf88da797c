"""KuCoin's market data as the core sees it: candles, contracts, prices, the exchange's time.

Rules of this file: those of kucoin_parse. Sources of the forms: the API reference, sections 2.3
and 3. Volumes come in contracts and leave in base coins.
"""

from typing import NamedTuple

from bot.adapters.kucoin_fields import Fields, MalformedReplyError, array, wire_symbol
from bot.core.errors import InputError
from bot.core.market import Bar, ContractSpec

_CURRENCY = "USDT"
_KLINE = ("time", "open", "high", "low", "close", "volume")
_LARGEST_FRACTION = 0.1  # KuCoin's fees are below 0.001, its funding rates below 0.04


class Contract(NamedTuple):
    """What KuCoin says of one contract. Fees are fractions, a maker may receive (negative)."""

    spec: ContractSpec
    status: str
    """`Open` when it trades; else Init, BeingSettled, Settled, Paused, Closed or CancelOnly"""
    maker_fee: float
    taker_fee: float


class Ticker(NamedTuple):
    """The last trade: its price in USDT and the time of the ticker, ms UTC."""

    price: float
    ms: int


def candles(data: object, spec: ContractSpec, bar_ms: int) -> list[tuple[int, Bar]]:
    """Return klines as (open time, bar), oldest first, the forming one included.

    Every candle must open at a whole multiple of `bar_ms`, the length of a bar.
    """
    bars: dict[int, Bar] = {}
    for value in array(data, "klines"):
        open_ms, bar = _candle(value, bar_ms, spec.multiplier)
        if bars.setdefault(open_ms, bar) != bar:
            raise MalformedReplyError(f"kline {open_ms}: expected once, was given twice")
    return sorted(bars.items())


def _candle(value: object, bar_ms: int, multiplier: float) -> tuple[int, Bar]:
    row = array(value, "kline")
    if len(row) < len(_KLINE):
        raise MalformedReplyError(f"kline: expected {len(_KLINE)} values, was {len(row)}")
    fields = Fields(dict(zip(_KLINE, row, strict=False)), "kline")
    open_ms = fields.time_ms("time")
    fields.what = f"kline {open_ms}"
    if open_ms % bar_ms:
        raise fields.wrong("time", f"a multiple of {bar_ms} ms")
    open_, high, low, close = (fields.positive(name) for name in _KLINE[1:5])
    if low > min(open_, close):
        raise fields.wrong("low", f"at most open {open_:g} and close {close:g}")
    if high < max(open_, close):
        raise fields.wrong("high", f"at least open {open_:g} and close {close:g}")
    return open_ms, Bar(open_, high, low, close, fields.contracts("volume") * multiplier)


def contract(data: object, symbol: str) -> Contract:
    """Return the contract object of `symbol` (BTC-USDT-PERP); only linear USDT perpetuals with lots
    of one contract fit the core."""
    fields = Fields(data, f"contract {symbol}")
    _same_symbol(fields, symbol)
    for name in ("quoteCurrency", "settleCurrency"):
        if fields.text(name) != _CURRENCY:
            raise fields.wrong(name, _CURRENCY)
    if fields.flag("isInverse"):
        raise fields.wrong("isInverse", "false")
    if fields.number("lotSize") != 1.0:
        raise fields.wrong("lotSize", "1")
    try:
        spec = ContractSpec(
            symbol,
            multiplier=fields.positive("multiplier"),
            tick=fields.positive("tickSize"),
            maintenance_rate=fields.number("maintainMargin"),
            max_leverage=fields.positive("maxLeverage"),
            max_contracts=_largest_order(fields),
        )
    except InputError as error:
        raise MalformedReplyError(f"contract {error}") from None
    return Contract(
        spec,
        fields.text("status"),
        _fraction(fields, "makerFeeRate"),
        _fraction(fields, "takerFeeRate"),
    )


def _largest_order(fields: Fields) -> float:
    """Return how many contracts fit into one order, of either type: what an entry opens at a limit
    is left at the market, where fewer may be allowed. Older replies do not have that field."""
    most, at_market = fields.positive("maxOrderQty"), "marketMaxOrderQty"
    return min(most, fields.positive(at_market)) if fields.has(at_market) else most


def listed(data: object) -> set[str]:
    """Return KuCoin's names of the contracts in a list of them. It is never empty: else every
    contract would be taken for delisted."""
    found = {Fields(value, "contract").text("symbol") for value in array(data, "contracts")}
    if not found:
        raise MalformedReplyError("contracts: expected some, was an empty list")
    return found


def ticker(data: object, symbol: str) -> Ticker:
    """Return the ticker of `symbol`; bid and ask are often missing and are not read."""
    fields = Fields(data, f"ticker {symbol}")
    _same_symbol(fields, symbol)
    return Ticker(fields.positive("price"), fields.time_ns("ts"))


def mark_price(data: object, symbol: str) -> float:
    """Return the mark price of `symbol`, USDT."""
    fields = Fields(data, f"mark price {symbol}")
    _same_symbol(fields, symbol)
    return fields.positive("value")


def funding_rates(data: object, symbol: str) -> list[tuple[int, float]]:
    """Return settled funding of `symbol` as (settlement time ms UTC, rate), as it came."""
    found = []
    for value in array(data, "funding rates"):
        fields = Fields(value, f"funding rate {symbol}")
        _same_symbol(fields, symbol)
        found.append((fields.time_ms("timepoint"), _fraction(fields, "fundingRate")))
    return found


def server_time(data: object) -> int:
    """Return the exchange's time, ms UTC."""
    return Fields({"data": data}, "timestamp").time_ms("data")


def _same_symbol(fields: Fields, symbol: str) -> None:
    if fields.text("symbol") != wire_symbol(symbol):
        raise fields.wrong("symbol", wire_symbol(symbol))


def _fraction(fields: Fields, name: str) -> float:
    value = fields.number(name)
    if not -_LARGEST_FRACTION < value < _LARGEST_FRACTION:
        raise fields.wrong(name, "a fraction")
    return value
