"""Read one file of candles or funding rates: .csv.gz, .csv, or .parquet where pyarrow is installed.

Rules of this file: a file is right as a whole, or refused with its name, the line and the values;
nothing is repaired, sorted or resampled. The fast reader takes whole blocks and answers "all right"
or nothing at all; then the slow reader, which defines what is right, goes line by line and names
what is wrong.
"""

import gzip
import struct
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from io import BufferedReader
from itertools import islice
from math import inf, isfinite
from operator import ge, le, sub
from pathlib import Path
from typing import Any, NamedTuple

from bot.core.errors import InputError
from bot.core.market import Candles, Funding

# Far above any exchange's cap: catches files that give the rate in percent.
FUNDING_RATE_LIMIT = 0.1
# 2100-01-01: catches files in micro- or nanoseconds.
LATEST_MS = 4_102_444_800_000
# Measured: smaller blocks cost more calls, larger ones leave the processor's cache when parsed.
_BLOCK_BYTES = 1 << 17

type _Times = list[int]
type _Values = list[list[float]]


class _Layout(NamedTuple):
    """What a file must hold. `hold` judges whole columns; `check` judges one row and raises."""

    header: tuple[str, ...]
    hold: Callable[[_Values], bool]
    check: Callable[[Sequence[float]], None]
    grid_ms: int = 1
    """every timestamp is a multiple of this"""


class _Table(NamedTuple):
    """The columns of one file: the timestamps, then the others in the order of the header."""

    times: "array[int]"
    values: "list[array[float]]"

    def extend(self, times: _Times, values: _Values) -> None:
        # struct converts a list about four times as fast as array.fromlist.
        self.times.frombytes(struct.pack(f"{len(times)}q", *times))
        for column, new in zip(self.values, values, strict=True):
            column.frombytes(struct.pack(f"{len(new)}d", *new))


def read_candles(path: Path, symbol: str, timeframe_ms: int) -> Candles:
    """Return all candles of a file: open times in ms UTC, prices in USDT, volume as recorded.

    Raises
    ------
    InputError : the file cannot be read or breaks a rule; the text names file, line and values
    """
    table = _read_table(path, _CANDLES._replace(grid_ms=timeframe_ms))
    return Candles(symbol, table.times, *table.values)


def read_funding(path: Path, symbol: str) -> Funding:
    """Return all settlements of a file: times in ms UTC as recorded, rates as fractions.

    Raises
    ------
    InputError : the file cannot be read or breaks a rule; the text names file, line and values
    """
    table = _read_table(path, _FUNDING)
    return Funding(symbol, table.times, *table.values)


def _candles_hold(values: _Values) -> bool:
    open_, high, low, close, volume = values
    # A comparison with NaN is false, so the four orderings also prove that no price is NaN; a sum
    # is finite only without NaN and infinity.
    return (
        all(map(le, low, open_))
        and all(map(le, low, close))
        and all(map(ge, high, open_))
        and all(map(ge, high, close))
        and min(low) > 0.0
        and max(high) < inf
        and min(volume) >= 0.0
        and isfinite(sum(volume))
    )


def _check_candle(values: Sequence[float]) -> None:
    open_, high, low, close, volume = values
    for name, price in zip(_CANDLES.header[1:5], values, strict=False):
        if price <= 0.0:
            raise InputError(f"{name}: expected a price above 0, was {price}")
    if volume < 0.0:
        raise InputError(f"volume: expected 0 or more, was {volume}")
    if low > min(open_, close):
        raise InputError(f"low: expected at most open {open_} and close {close}, was {low}")
    if high < max(open_, close):
        raise InputError(f"high: expected at least open {open_} and close {close}, was {high}")


def _rates_hold(values: _Values) -> bool:
    return all(-FUNDING_RATE_LIMIT < rate < FUNDING_RATE_LIMIT for rate in values[0])


def _check_rate(values: Sequence[float]) -> None:
    if abs(values[0]) >= FUNDING_RATE_LIMIT:
        raise InputError(
            f"funding_rate: expected a fraction between -{FUNDING_RATE_LIMIT} and "
            f"{FUNDING_RATE_LIMIT}, was {values[0]} (a percentage?)"
        )


_CANDLES = _Layout(
    ("timestamp", "open", "high", "low", "close", "volume"), _candles_hold, _check_candle
)
_FUNDING = _Layout(("timestamp", "funding_rate"), _rates_hold, _check_rate)


def _read_table(path: Path, layout: _Layout) -> _Table:
    if path.suffix == ".parquet":
        return _read_parquet(path, layout)
    return _read_fast(path, layout) or _read_slow(path, layout)


def _empty(layout: _Layout) -> _Table:
    return _Table(array("q"), [array("d") for _ in layout.header[1:]])


def _open(path: Path) -> gzip.GzipFile | BufferedReader:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _columns_hold(times: _Times, values: _Values, after: int, layout: _Layout) -> bool:
    # Few different distances between bars: judging those costs less than judging each bar.
    steps = set(map(sub, islice(times, 1, None), times))
    return (
        after < times[0]
        and times[-1] < LATEST_MS
        and min(steps, default=1) > 0
        and times[0] % layout.grid_ms == 0
        and not any(step % layout.grid_ms for step in steps)
        and layout.hold(values)
    )


def _read_fast(path: Path, layout: _Layout) -> _Table | None:
    """Return the table, or None if anything at all is unusual."""
    table = _empty(layout)
    width = len(layout.header)
    last = -1
    try:
        with _open(path) as file:
            if file.readline().decode("ascii").rstrip("\r\n") != ",".join(layout.header):
                return None
            while block := file.read(_BLOCK_BYTES) + file.readline():
                text = block.removesuffix(b"\n").decode("ascii")
                # Line ends become fields of their own, which are no numbers: every line has `width`
                # fields exactly when they stand at each (width + 1)th place.
                fields = text.replace("\n", ",\n,").split(",")
                lines = len(fields) // (width + 1) + 1
                ends = fields[width :: width + 1].count("\n")
                if "_" in text or len(fields) != lines * (width + 1) - 1 or ends != lines - 1:
                    return None
                times = list(map(int, fields[:: width + 1]))
                values = [list(map(float, fields[i :: width + 1])) for i in range(1, width)]
                if not _columns_hold(times, values, last, layout):
                    return None
                table.extend(times, values)
                last = times[-1]
    except (OSError, EOFError, zlib.error, ValueError, struct.error):
        return None
    return table if table.times else None


def _read_slow(path: Path, layout: _Layout) -> _Table:
    """Return the table, or raise InputError for the first line that is wrong."""
    times: _Times = []
    rows: _Values = []
    number = 0
    for number, text in _lines(path):
        try:
            if number == 1:
                _check_header(text, layout)
                continue
            time, values = _parse_line(text, layout)
            _check_row(time, values, times[-1] if times else -1, layout)
        except InputError as error:
            raise InputError(f"{path}: line {number}: {error}") from None
        times.append(time)
        rows.append(values)
    if not times:
        expected = "a line of data" if number else f"the header {','.join(layout.header)}"
        raise InputError(f"{path}: line {number + 1}: expected {expected}, was the end of the file")
    table = _empty(layout)
    table.extend(times, [list(column) for column in zip(*rows, strict=True)])
    return table


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    number = 0
    try:
        with _open(path) as file:
            for raw in file:
                number += 1
                yield number, raw.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        was = error.object[error.start : error.start + 8]
        raise InputError(f"{path}: line {number}: expected UTF-8 text, was {was!r}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(
            f"{path}: line {number + 1}: expected a readable file: {error} "
            "(truncated or damaged? get it again)"
        ) from None


def _check_header(text: str, layout: _Layout) -> None:
    if text != ",".join(layout.header):
        raise InputError(f"expected the header {','.join(layout.header)}, was {_quoted(text)}")


def _parse_line(text: str, layout: _Layout) -> tuple[int, list[float]]:
    fields = text.split(",")
    if len(fields) != len(layout.header):
        raise InputError(
            f"expected {len(layout.header)} fields, was {len(fields)}: {_quoted(text)}"
        )
    time = _number(int, "whole milliseconds", layout.header[0], fields[0])
    pairs = zip(layout.header[1:], fields[1:], strict=True)
    return time, [_number(float, "a number", name, field) for name, field in pairs]


def _number[T](convert: Callable[[str], T], kind: str, name: str, text: str) -> T:
    try:
        # Python also reads 1_000 and the digits of other scripts as numbers; a data file has none.
        if "_" in text or not text.isascii():
            raise ValueError
        return convert(text)
    except ValueError:
        raise InputError(f"{name}: expected {kind}, was {_quoted(text)}") from None


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:80] + "...")


def _check_row(time: int, values: Sequence[float], last: int, layout: _Layout) -> None:
    if not 0 <= time < LATEST_MS:
        raise InputError(f"timestamp: expected UTC milliseconds from 1970 to 2099, was {time}")
    if time <= last:
        problem = "a duplicate" if time == last else "disorder"
        raise InputError(f"timestamp: expected later than {last} before it, was {time} ({problem})")
    if time % layout.grid_ms:
        raise InputError(
            f"timestamp: expected a multiple of {layout.grid_ms} (the bar's open), was {time}"
        )
    for name, value in zip(layout.header[1:], values, strict=True):
        if not isfinite(value):
            raise InputError(f"{name}: expected a finite number, was {value}")
    layout.check(values)


def _read_parquet(path: Path, layout: _Layout) -> _Table:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise InputError(
            f"{path}: expected pyarrow to read it, was not installed; "
            "install pyarrow or give a .csv.gz file"
        ) from None
    table = _empty(layout)
    try:
        with parquet.ParquetFile(path) as file:
            _check_schema(path, file.schema_arrow, pyarrow.types, layout)
            for batch in file.iter_batches():
                times, *values = (column.to_pylist() for column in batch.columns)
                _add_batch(path, table, times, values, layout)
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{path}: expected a readable parquet file: {error}") from None
    if not table.times:
        raise InputError(f"{path}: row 1: expected a row of data, was the end of the file")
    return table


def _check_schema(path: Path, schema: Any, types: Any, layout: _Layout) -> None:
    if tuple(schema.names) != layout.header:
        raise InputError(
            f"{path}: expected the columns {','.join(layout.header)}, was {','.join(schema.names)}"
        )
    for field in schema:
        number = types.is_integer(field.type)
        if not number and (field.name == layout.header[0] or not types.is_floating(field.type)):
            kind = "whole milliseconds" if field.name == layout.header[0] else "numbers"
            raise InputError(f"{path}: {field.name}: expected {kind}, was {field.type}")


def _add_batch(path: Path, table: _Table, times: _Times, values: _Values, layout: _Layout) -> None:
    last = table.times[-1] if table.times else -1
    try:
        hold = _columns_hold(times, values, last, layout)
    except TypeError:  # an empty cell is None
        hold = False
    rows = () if hold else zip(times, *values, strict=True)
    for number, (time, *row) in enumerate(rows, start=len(table.times) + 1):
        try:
            if None in (time, *row):
                raise InputError(f"expected a number in every column, was {(time, *row)}")
            _check_row(time, row, last, layout)
        except InputError as error:
            raise InputError(f"{path}: row {number}: {error}") from None
        last = time
    table.extend(times, values)
