"""A script laid over a market: how much prices change in each bar, for rehearsals.

A CSV file with a column of percentages for each scripted symbol; an empty field leaves the bar to
the market. The script begins with the first bar after the history; when it is over, the market goes
on from the price it has come to.
"""

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bot.core.errors import InputError
from bot.core.kernel.params import Spec
from bot.core.kernel.prices import round_near
from bot.core.market import Bar, Row, parse_symbol
from ops.exchange.source import Source

type Move = tuple[float | None, ...]
"""the change of each symbol within one bar, as a factor; None is the market's own"""

FEWEST, MOST = -99.0, 1_000.0  # percent


def scripted(source: Source, path: Path, history: int) -> Source:
    """Return a market that follows a script after its first `history` rows.

    Raises
    ------
    InputError : the file is not there or not right
    """
    moves = read_script(path, source.symbols)
    return replace(
        source,
        rows=lambda: follow(source.rows(), moves, history, source.specs()),
        label=f"{source.label}, {len(moves)} bars scripted",
    )


def read_script(path: Path, symbols: Sequence[str]) -> list[Move]:
    """Return the moves of a file, one for each bar."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = [line for line in csv.reader(file) if any(map(str.strip, line))]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: expected a script, was: {error}") from error
    if len(lines) < 2:
        raise InputError(f"{path}: expected a line of symbols, then one line for each bar")
    names = [parse_symbol(name.strip()) for name in lines[0]]
    if len(set(names)) < len(names) or not set(names) <= set(symbols):
        known = ", ".join(symbols)
        raise InputError(f"{path}: expected each of {known} at most once, was {','.join(lines[0])}")
    moves = []
    for number, line in enumerate(lines[1:], 1):
        if len(line) != len(names):
            raise InputError(f"{path}: bar {number}: expected {len(names)} fields, was {len(line)}")
        fields = dict(zip(names, line, strict=True))
        moves.append(tuple(_factor(path, number, fields.get(name, "")) for name in symbols))
    return moves


def _factor(path: Path, number: int, text: str) -> float | None:
    if not text.strip():
        return None
    try:
        percent = float(text)
    except ValueError:
        percent = math.nan
    if not FEWEST <= percent <= MOST:
        raise InputError(
            f"{path}: bar {number}: expected {FEWEST:g} to {MOST:g} percent, was {text!r}"
        )
    return 1.0 + percent / 100.0


def follow(
    rows: Iterator[Row], moves: Sequence[Move], history: int, specs: Sequence[Spec]
) -> Iterator[Row]:
    """Yield the rows of a market with a script laid over them."""
    paths = [_Path(spec) for spec in specs]
    own: Move = (None,) * len(paths)
    for number, row in enumerate(rows, -history):
        move = moves[number] if 0 <= number < len(moves) else own
        bars = (
            bar and path.step(bar, factor)
            for path, bar, factor in zip(paths, row.bars, move, strict=True)
        )
        yield row._replace(bars=tuple(bars))


@dataclass(slots=True)
class _Path:
    """Where the script has brought one symbol."""

    spec: Spec
    scale: float = 1.0
    """its price over the market's own"""
    last: float = 0.0

    def step(self, bar: Bar, factor: float | None) -> Bar:
        """Return the next bar; with a factor it goes straight from the last price to another."""
        if self.scale != 1.0:
            open_, high, low, close = (self._priced(price * self.scale) for price in bar[:4])
            bar = Bar(open_, high, low, close, bar.volume)
        if factor is not None:
            first = self.last or bar.open
            end = self._priced(first * factor)
            self.scale *= end / bar.close
            bar = Bar(first, max(first, end), min(first, end), end, bar.volume)
        self.last = bar.close
        return bar

    def _priced(self, price: float) -> float:
        return max(round_near(price, self.spec), self.spec.tick)
