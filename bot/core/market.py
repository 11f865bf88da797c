"""Market data as the whole project passes it around: names, candles, funding, contract specs.

Rules of this file: times are int64 milliseconds UTC; a candle is named by its *open* time; arrays
are `array.array` so that the trading process needs no NumPy and research can wrap them without a
copy.
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bot.core.errors import InputError

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
FUNDING_INTERVAL_MS = 8 * HOUR_MS  # KuCoin's usual interval for perpetuals
ASSUMED_FUNDING_RATE = (
    0.0001  # 0.01 % per 8 h, the exchange's base rate; used without a funding file
)

TIMEFRAMES_MS: dict[str, int] = {
    "1m": MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": HOUR_MS,
    "2h": 2 * HOUR_MS,
    "4h": 4 * HOUR_MS,
    "8h": 8 * HOUR_MS,
    "12h": 12 * HOUR_MS,
    "1d": DAY_MS,
}


def parse_symbol(text: str) -> str:
    """Return the project's name of a perpetual, `BTC-USDT-PERP`; ccxt's `BTC/USDT:USDT` is an
    alias.

    Raises
    ------
    InputError : the text is neither form

    >>> parse_symbol("BTC/USDT:USDT")
    'BTC-USDT-PERP'
    """
    name = text.strip().upper() if text.isascii() else ""
    if "/" in name and ":" in name:
        pair, _, settle = name.partition(":")
        base, _, quote = pair.partition("/")
        name = f"{base}-{quote}-PERP" if quote == settle else name
    parts = name.split("-")
    if len(parts) != 3 or parts[2] != "PERP" or parts[1] != "USDT" or not parts[0].isalnum():
        raise InputError(
            f"symbol: expected a name like BTC-USDT-PERP (or BTC/USDT:USDT), was {text!r}"
        )
    return name


def parse_timeframe(text: str) -> int:
    """Return the length of a bar in milliseconds; raise InputError for an unknown timeframe."""
    if text not in TIMEFRAMES_MS:
        raise InputError(f"timeframe: expected one of {', '.join(TIMEFRAMES_MS)}, was {text!r}")
    return TIMEFRAMES_MS[text]


@dataclass(frozen=True, slots=True)
class ContractSpec:
    """What one contract is. Source of a value that was not given: see `assumed_spec`."""

    symbol: str
    multiplier: float
    """base coins per contract"""
    tick: float
    """smallest price step, USDT"""
    maintenance_rate: float = 0.01
    """maintenance margin, fraction of notional"""
    max_leverage: float = 50.0
    max_contracts: float = 0.0
    """the largest order, at the market too; 0 means no limit"""

    def __post_init__(self) -> None:
        for name in ("multiplier", "tick", "max_leverage"):
            value = getattr(self, name)
            if not 0.0 < value < 1e12:
                raise InputError(f"{self.symbol}: {name}: expected a number above 0, was {value!r}")
        if not 0.0 <= self.maintenance_rate < 0.5:
            raise InputError(
                f"{self.symbol}: maintenance_rate: expected 0 to 0.5, was {self.maintenance_rate!r}"
            )
        if not (self.max_contracts == 0.0 or 1.0 <= self.max_contracts < 1e12):
            raise InputError(
                f"{self.symbol}: max_contracts: expected a number from 1 on, was "
                f"{self.max_contracts!r}"
            )


class Bar(NamedTuple):
    """One candle of one symbol, USDT per base coin; the volume is in base coins."""

    open: float
    high: float
    low: float
    close: float
    volume: float


class Row(NamedTuple):
    """All bars that open at one time; None where a symbol did not trade."""

    open_ms: int
    bars: tuple[Bar | None, ...]
    funding: tuple[tuple[int, int, float], ...]
    """(symbol index, settlement time, rate) for settlements in (open_ms, open_ms + timeframe]"""


@dataclass(frozen=True, slots=True)
class Candles:
    """The candles of one symbol, oldest first, strictly increasing, holes allowed."""

    symbol: str
    timestamp: "array[int]"
    """open time of each bar, ms UTC, type code q"""
    open: "array[float]"
    high: "array[float]"
    low: "array[float]"
    close: "array[float]"
    volume: "array[float]"

    def __len__(self) -> int:
        return len(self.timestamp)


@dataclass(frozen=True, slots=True)
class Funding:
    """Settlements of one symbol, oldest first: time in ms UTC and the rate paid by longs, a
    fraction."""

    symbol: str
    timestamp: "array[int]"
    rate: "array[float]"

    def __len__(self) -> int:
        return len(self.timestamp)


@dataclass(frozen=True, slots=True)
class MarketData:
    """Everything a finite run reads, in configuration order of the symbols."""

    timeframe_ms: int
    symbols: tuple[str, ...]
    candles: tuple[Candles, ...]
    funding: tuple[Funding, ...]
    """complete over the run: assumed settlements are already filled in"""
    specs: tuple[ContractSpec, ...]
    funding_source: str
    """`file`, `assumed`, or `mixed` where a file covers a part of the run only"""
    spec_source: str
    """`file`, `builtin`, `assumed`, or `mixed`"""

    def first_open_ms(self) -> int:
        """Open time of the earliest bar of any symbol."""
        return min(c.timestamp[0] for c in self.candles if len(c))

    def last_open_ms(self) -> int:
        """Open time of the latest bar of any symbol."""
        return max(c.timestamp[-1] for c in self.candles if len(c))

    def bars(self) -> int:
        """Number of bars of all symbols together."""
        return sum(len(c) for c in self.candles)

    def rows(self) -> Iterator[Row]:
        """Yield every bar time from the first to the last, also those at which nothing traded."""
        n = len(self.symbols)
        bar, due = [0] * n, [0] * n
        for open_ms in range(self.first_open_ms(), self.last_open_ms() + 1, self.timeframe_ms):
            bars: list[Bar | None] = [None] * n
            funding: list[tuple[int, int, float]] = []
            for k in range(n):
                candles, i = self.candles[k], bar[k]
                if i < len(candles) and candles.timestamp[i] == open_ms:
                    bars[k] = Bar(
                        candles.open[i],
                        candles.high[i],
                        candles.low[i],
                        candles.close[i],
                        candles.volume[i],
                    )
                    bar[k] = i + 1
                settled = self.funding[k]
                while due[k] < len(settled) and (
                    settled.timestamp[due[k]] <= open_ms + self.timeframe_ms
                ):
                    funding.append((k, settled.timestamp[due[k]], settled.rate[due[k]]))
                    due[k] += 1
            yield Row(open_ms, tuple(bars), tuple(funding))


def ticks_per_unit(step: float) -> float:
    """Return 1 / step where that is a whole number, else 0 (see `Spec.ticks_per_unit`).

    >>> ticks_per_unit(0.1), ticks_per_unit(0.3), ticks_per_unit(5.0)
    (10.0, 0.0, 0.0)
    """
    whole = float(round(1.0 / step))
    return whole if whole > 0.0 and abs(whole * step - 1.0) < 1e-9 else 0.0


def power_of_ten_at_most(limit: float) -> float:
    """Return the largest power of ten that is at most `limit` (> 0), found without logarithms.

    >>> power_of_ten_at_most(0.034)
    0.01
    """
    value, exponent = 1.0, 0
    if not 1e-300 < limit < 1e300:
        raise InputError(f"expected a price between 1e-300 and 1e300, was {limit!r}")
    while value > limit:
        exponent -= 1
        value = float(f"1e{exponent}")
    while float(f"1e{exponent + 1}") <= limit:
        exponent += 1
        value = float(f"1e{exponent}")
    return value


def assumed_spec(symbol: str, first_close: float) -> ContractSpec:
    """Return the spec used where nothing is known: a contract worth at most 1 USDT, tick at most
    1e-5."""
    return ContractSpec(
        symbol=symbol,
        multiplier=power_of_ten_at_most(1.0 / first_close),
        tick=power_of_ten_at_most(first_close * 1e-5),
    )


def common_source(sources: Sequence[str]) -> str:
    """Return the one source that all share, else `mixed`."""
    return sources[0] if len(set(sources)) == 1 else "mixed"
