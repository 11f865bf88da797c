"""How KuCoin spells what the project calls otherwise: symbols, sides, numbers, ids, times."""

import math
from decimal import Decimal

_WIRE_BASES = {"BTC": "XBT"}  # KuCoin Futures' own name of the coin


def wire_base(symbol: str) -> str:
    """Return the coin of a perpetual as the wire names it.

    >>> wire_base("BTC-USDT-PERP"), wire_base("ETH-USDT-PERP")
    ('XBT', 'ETH')
    """
    base = symbol.partition("-")[0]
    return _WIRE_BASES.get(base, base)


def wire_symbol(symbol: str) -> str:
    """Return the wire's name of a perpetual.

    >>> wire_symbol("BTC-USDT-PERP")
    'XBTUSDTM'
    """
    return f"{wire_base(symbol)}{symbol.split('-')[1]}M"


def side_word(side: int) -> str:
    """Return `buy` for 1 and `sell` for -1."""
    return "buy" if side > 0 else "sell"


def decimal_text(value: float) -> str:
    """Return a number as the wire writes it in strings: without exponent, without needless zeros.

    >>> decimal_text(1e-05), decimal_text(60000.0), decimal_text(0.1), decimal_text(-0.0)
    ('0.00001', '60000', '0.1', '0')
    """
    text = format(Decimal(repr(float(value) + 0.0)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def short(value: float) -> float:
    """Return money rounded to 8 places, as far as KuCoin reports it; nothing has no sign.

    >>> short(-0.0), short(-1e-9)
    (0.0, 0.0)
    """
    return round(value, 8) + 0.0


def whole(value: float) -> int:
    """Return a count of contracts as an integer, never more than there are."""
    return math.floor(value + 1e-9)


def order_id(number: int) -> str:
    """Return the exchange's id of its n-th order; digits only, in order of time."""
    return str(230_000_000_000_000_000 + number)


def trade_id(entry_id: str) -> str:
    """Return the wire's id of a record of the simulated exchange (`f12`).

    >>> trade_id("f12")
    '1700000000012'
    """
    return str(1_700_000_000_000 + int(entry_id[1:]))


def record_number(entry_id: str) -> int:
    """Return the wire's number of a funding record of the simulated exchange (`f12`)."""
    return 600_000_000_000 + int(entry_id[1:])


def nanoseconds(ms: int) -> int:
    """Return a time in ns, which the wire uses for ticker, books, trades and order times."""
    return ms * 1_000_000
