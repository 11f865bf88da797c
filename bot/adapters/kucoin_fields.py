"""Strict reading of KuCoin's JSON: field by field, with the name of what is wrong.

Rules of this file: what is missing, null, of another type, not finite or beyond reason is no
value: it raises MalformedReplyError and never becomes 0, flat or an empty list. Numbers may come as
JSON numbers or as strings, KuCoin uses both. Nothing else than MalformedReplyError is ever raised.
"""

import math
import re
from collections.abc import Sequence

from bot.core.errors import BotError, InputError

_NUMBER = re.compile(r"-?\d{1,40}(\.\d{1,40})?([eE][+-]?\d{1,3})?", re.ASCII)
_INTEGER = re.compile(r"-?\d{1,25}", re.ASCII)
_LARGEST = 1e15  # above any price, amount or number of contracts
_SHOWN = 60  # characters of a wrong value that are repeated
_ID_CHARS = 100
_MS = 10**12, 10**13  # the years 2001 to 2286; seconds and ns lie outside
_NS = 10**18, 10**19


class MalformedReplyError(BotError):
    """KuCoin answered, but not in the form we know. The read failed and says nothing: never take
    it for flat or for no orders; after sending an order its outcome is unknown."""

    exit_code = 75


class Fields:
    """One JSON object. Each method returns a required field or raises MalformedReplyError."""

    __slots__ = ("_values", "what")

    def __init__(self, value: object, what: str) -> None:
        if not isinstance(value, dict):
            raise MalformedReplyError(f"{what}: expected an object, was {_shown(value)}")
        self._values = value
        self.what = what
        """what the object is, for the text of an error"""

    def has(self, name: str) -> bool:
        """Return whether there is a value at all."""
        return self._values.get(name) is not None

    def wrong(self, name: str, expected: str) -> MalformedReplyError:
        """Return the error that says a field is not what it has to be."""
        shown = _shown(self._values[name]) if name in self._values else "missing"
        return MalformedReplyError(f"{self.what}: {name}: expected {expected}, was {shown}")

    def any(self, name: str) -> object:
        """Return a field of any type but null."""
        if not self.has(name):
            raise self.wrong(name, "a value")
        return self._values[name]

    def text(self, name: str) -> str:
        """Return a word: not empty, printable, at most 100 characters."""
        value = self._values.get(name)
        if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= _ID_CHARS:
            raise self.wrong(name, "a text")
        return value

    def identity(self, name: str) -> str:
        """Return an id, which KuCoin writes as a text or as a number above 0."""
        if isinstance(self._values.get(name), str):
            return self.text(name)
        number = self.integer(name)
        if number <= 0:
            raise self.wrong(name, "an id")
        return str(number)

    def flag(self, name: str) -> bool:
        """Return true or false."""
        value = self._values.get(name)
        if not isinstance(value, bool):
            raise self.wrong(name, "true or false")
        return value

    def items(self, name: str) -> list[object]:
        """Return a list."""
        value = self._values.get(name)
        if not isinstance(value, list):
            raise self.wrong(name, "a list")
        return value

    def number(self, name: str) -> float:
        """Return a finite number."""
        number = to_number(self._values.get(name))
        if number is None:
            raise self.wrong(name, "a number")
        return number

    def positive(self, name: str) -> float:
        """Return a number above 0."""
        number = self.number(name)
        if not number > 0.0:
            raise self.wrong(name, "a number above 0")
        return number

    def whole(self, name: str) -> float:
        """Return a whole number, negative ones too, as the float the core counts with."""
        number = self.number(name)
        if not number.is_integer():
            raise self.wrong(name, "a whole number")
        return number

    def contracts(self, name: str) -> float:
        """Return a number of contracts, 0 or more."""
        number = self.whole(name)
        if number < 0.0:
            raise self.wrong(name, "0 or more contracts")
        return number

    def integer(self, name: str) -> int:
        """Return an integer, exactly where it came as one."""
        value = self._values.get(name)
        if isinstance(value, str) and _INTEGER.fullmatch(value):
            return int(value)
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**25:
            return value
        if isinstance(value, float) and value.is_integer() and abs(value) < 1e25:
            return int(value)
        raise self.wrong(name, "an integer")

    def time_ms(self, name: str) -> int:
        """Return a time that KuCoin gives in ms, as ms UTC."""
        time = self.integer(name)
        if not _MS[0] <= time < _MS[1]:
            raise self.wrong(name, "a time in ms")
        return time

    def time_ns(self, name: str) -> int:
        """Return a time that KuCoin gives in ns, as ms UTC."""
        time = self.integer(name)
        if not _NS[0] <= time < _NS[1]:
            raise self.wrong(name, "a time in ns")
        return time // 1_000_000


def to_number(value: object) -> float | None:
    """Return a JSON number, or a text that is one, as a float; None for anything else.

    >>> to_number("2.0E-4"), to_number(3), to_number("nan"), to_number(True), to_number("1_0")
    (0.0002, 3.0, None, None, None)
    """
    if isinstance(value, str):
        number = float(value) if _NUMBER.fullmatch(value) else math.nan
    elif isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool)):
        number = float(value) if abs(value) <= _LARGEST else math.nan
    else:
        return None
    return number if abs(number) <= _LARGEST else None


def array(data: object, what: str) -> list[object]:
    """Return data that has to be a list."""
    if not isinstance(data, list):
        raise MalformedReplyError(f"{what}: expected a list, was {_shown(data)}")
    return data


def wire_symbol(symbol: str) -> str:
    """Return KuCoin's name of a perpetual; raise InputError for a name KuCoin cannot have.

    >>> wire_symbol("BTC-USDT-PERP"), wire_symbol("ETH-USDT-PERP")
    ('XBTUSDTM', 'ETHUSDTM')
    """
    base = symbol.removesuffix("-USDT-PERP")
    if base == symbol or not (base.isascii() and base.isalnum() and base.isupper()):
        raise InputError(f"symbol: expected a name like BTC-USDT-PERP, was {symbol!r}")
    if base == "XBT":
        raise InputError("symbol: expected BTC-USDT-PERP, was XBT-USDT-PERP: XBT is KuCoin's word")
    return f"{'XBT' if base == 'BTC' else base}USDTM"


def wire_index(symbols: Sequence[str]) -> dict[str, int]:
    """Return KuCoin's name -> symbol index, in configuration order."""
    return {wire_symbol(symbol): k for k, symbol in enumerate(symbols)}


def _shown(value: object) -> str:
    # No repr of containers: they may be nested deeper than Python can print.
    if isinstance(value, str):
        return repr(value[:_SHOWN])
    if value is None or isinstance(value, bool | float):
        return repr(value)
    if isinstance(value, int) and abs(value) < 10**_SHOWN:
        return repr(value)
    return type(value).__name__
