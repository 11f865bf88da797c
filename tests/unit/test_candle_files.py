"""Reading one file of candles or funding rates: every rule, and the line where it is broken."""

import random
import re
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bot.adapters import candle_files
from bot.adapters.candle_files import read_candles, read_funding
from bot.core.errors import InputError
from bot.core.market import Candles, Funding
from tests.support.market_files import (
    HEADER,
    HOUR,
    T0,
    assert_refused,
    candle_lines,
    write,
    write_candles,
    write_funding,
)

BTC = "BTC-USDT-PERP"
HOURLY = candle_files._CANDLES._replace(grid_ms=HOUR)


# -- one file of candles ---------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_candles_are_read_with_their_exact_values(tmp_path: Path, ending: str) -> None:
    lines = [f"{T0},1,2.5,0.1,1.7,0", f"{T0 + HOUR},1.7,1.7,1.7,1.7,12.25"]
    candles = read_candles(write_candles(tmp_path / f"x.{ending}", lines), BTC, HOUR)
    assert candles == Candles(
        symbol=BTC,
        timestamp=array("q", [T0, T0 + HOUR]),
        open=array("d", [1.0, 1.7]),
        high=array("d", [2.5, 1.7]),
        low=array("d", [0.1, 1.7]),
        close=array("d", [1.7, 1.7]),
        volume=array("d", [0.0, 12.25]),
    )
    assert candles.timestamp.typecode == "q"
    assert candles.volume.typecode == "d"


@pytest.mark.parametrize(
    "content",
    [
        f"{HEADER}\n{T0},1,2,0.5,1.5,3",
        f"{HEADER}\r\n{T0},1,2,0.5,1.5,3\r\n",
        f"{HEADER}\n{T0},1.0,2e0,.5,1.50,+3\n",
    ],
    ids=["no newline at the end", "Windows line ends", "other spellings of numbers"],
)
def test_harmless_spellings_are_read_by_both_readers(tmp_path: Path, content: str) -> None:
    path = write(tmp_path / "x.csv", content)
    candles = read_candles(path, BTC, HOUR)
    assert (candles.timestamp[0], candles.low[0], candles.close[0]) == (T0, 0.5, 1.5)
    assert candles.volume.tolist() == [3.0]
    fast = candle_files._read_fast(path, HOURLY)
    assert fast is not None
    assert fast == candle_files._read_slow(path, HOURLY)


def test_holes_are_allowed_and_stay(tmp_path: Path) -> None:
    lines = candle_lines(10)
    candles = read_candles(write_candles(tmp_path / "x.csv", lines[:3] + lines[7:]), BTC, HOUR)
    assert [(t - T0) // HOUR for t in candles.timestamp] == [0, 1, 2, 7, 8, 9]


LINE_4 = T0 + 2 * HOUR  # the time that line 4 of a file of candle_lines has

BAD_LINES = {
    "five fields": (f"{LINE_4},1,2,0.5,1.5", "expected 6 fields, was 5"),
    "seven fields": (f"{LINE_4},1,2,0.5,1.5,3,", "expected 6 fields, was 7"),
    "blank": ("", "expected 6 fields, was 1"),
    "quoted": (f'"{LINE_4}",1,2,0.5,1.5,3', "timestamp: expected whole milliseconds"),
    "fraction of a millisecond": (f"{LINE_4}.0,1,2,0.5,1.5,3", "timestamp: expected whole"),
    "date": ("2024-01-01T02:00Z,1,2,0.5,1.5,3", "was '2024-01-01T02:00Z'"),
    "word": (f"{LINE_4},1,2,n/a,1.5,3", "low: expected a number, was 'n/a'"),
    "empty field": (f"{LINE_4},1,,0.5,1.5,3", "high: expected a number, was ''"),
    "underscore": (f"{LINE_4},1,2,0.5,1.5,3_0", "volume: expected a number, was '3_0'"),
    "other digits": (f"{LINE_4},1,2,0.5,1.5,٣", "volume: expected a number, was '٣'"),
    "nan": (f"{LINE_4},nan,2,0.5,1.5,3", "open: expected a finite number, was nan"),
    "nan volume": (f"{LINE_4},1,2,0.5,1.5,NaN", "volume: expected a finite number, was nan"),
    "infinite": (f"{LINE_4},1,inf,0.5,1.5,3", "high: expected a finite number, was inf"),
    "too large": (f"{LINE_4},1,2,0.5,1.5,1e999", "volume: expected a finite number, was inf"),
    "price 0": (f"{LINE_4},1,2,0,1.5,3", "low: expected a price above 0, was 0.0"),
    "price below 0": (f"{LINE_4},1,2,-0.5,1.5,3", "low: expected a price above 0, was -0.5"),
    "volume below 0": (f"{LINE_4},1,2,0.5,1.5,-3", "volume: expected 0 or more, was -3.0"),
    "low above open": (f"{LINE_4},1,2,1.25,1.5,3", "low: expected at most open 1.0"),
    "low above close": (f"{LINE_4},1.5,2,1.25,1,3", "and close 1.0, was 1.25"),
    "high below open": (f"{LINE_4},1.5,1.25,0.5,1,3", "high: expected at least open 1.5"),
    "high below close": (f"{LINE_4},1,1.25,0.5,1.5,3", "and close 1.5, was 1.25"),
    "duplicate": (f"{T0 + HOUR},1,2,0.5,1.5,3", f"was {T0 + HOUR} (a duplicate)"),
    "disorder": (f"{T0},1,2,0.5,1.5,3", f"expected later than {T0 + HOUR} before it, was {T0}"),
    "off the grid": (f"{LINE_4 - 1},1,2,0.5,1.5,3", "multiple of 3600000 (the bar's open), was"),
    "before 1970": (
        f"-{LINE_4},1,2,0.5,1.5,3",
        f"UTC milliseconds from 1970 to 2099, was -{LINE_4}",
    ),
    "microseconds": (f"{LINE_4}000,1,2,0.5,1.5,3", "UTC milliseconds from 1970 to 2099, was"),
    "beyond int64": (f"{LINE_4}{'0' * 20},1,2,0.5,1.5,3", "UTC milliseconds from 1970"),
}


@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
@pytest.mark.parametrize(("line", "message"), BAD_LINES.values(), ids=BAD_LINES)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, message: str, ending: str) -> None:
    lines = candle_lines(6)
    lines[2] = line
    path = write_candles(tmp_path / f"x.{ending}", lines)
    with pytest.raises(InputError) as error:
        read_candles(path, BTC, HOUR)
    assert_refused(error, f"{path}: line 4: ", message)


def test_lines_broken_or_joined_at_the_wrong_place_are_found(tmp_path: Path) -> None:
    """The number of fields of the whole file proves nothing."""
    text = "\n".join(candle_lines(4))
    broken = write_candles(tmp_path / "x.csv", [text.replace(f"\n{LINE_4},", f",{LINE_4}\n")])
    with pytest.raises(InputError, match="line 3: expected 6 fields, was 7"):
        read_candles(broken, BTC, HOUR)
    joined = write_candles(tmp_path / "x.csv", [text.replace(f"\n{LINE_4},", f",0,{LINE_4},")])
    with pytest.raises(InputError, match="line 3: expected 6 fields, was 13"):
        read_candles(joined, BTC, HOUR)


def test_a_file_that_is_off_the_grid_as_a_whole_is_refused(tmp_path: Path) -> None:
    path = write_candles(tmp_path / "x.csv", candle_lines(4, T0 + HOUR // 2))
    with pytest.raises(
        InputError, match=r"x\.csv: line 2: timestamp: expected a multiple of 36000"
    ):
        read_candles(path, BTC, HOUR)
    assert len(read_candles(path, BTC, HOUR // 2)) == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", f"line 1: expected the header {HEADER}, was the end of the file"),
        (HEADER, "line 2: expected a line of data, was the end of the file"),
        (f"{HEADER}\n", "line 2: expected a line of data, was the end of the file"),
        (f"{HEADER}\n\n", "line 2: expected 6 fields, was 1"),
        (f"{T0},1,2,0.5,1.5,3\n", f"line 1: expected the header {HEADER}, was '{T0},"),
        (f"time{HEADER[9:]}\n{T0},1,2,0.5,1.5,3\n", "was 'time,open"),
        (f"\ufeff{HEADER}\n{T0},1,2,0.5,1.5,3\n", "line 1: expected the header"),
        ("timestamp;open\n", "line 1: expected the header"),
        (f"{HEADER}\n{T0},1,2,0.5,1.5,3\n\n", "line 3: expected 6 fields, was 1"),
        (f"{HEADER}\n{T0},1,2,0.5,1.5,3 ".encode() + b"\xb5\n", "line 2: expected UTF-8 text, was"),
    ],
)
@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_a_wrong_file_is_refused(
    tmp_path: Path, content: str | bytes, message: str, ending: str
) -> None:
    path = write(tmp_path / f"x.{ending}", content)
    with pytest.raises(InputError) as error:
        read_candles(path, BTC, HOUR)
    assert_refused(error, f"{path}: ", message)


def test_a_truncated_gzip_file_is_refused_at_the_line_where_it_ends(tmp_path: Path) -> None:
    path = write_candles(tmp_path / "x.csv.gz", candle_lines(5000))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="truncated") as error:
        read_candles(path, BTC, HOUR)
    line = re.search(r"x\.csv\.gz: line (\d+): ", str(error.value))
    assert line is not None
    assert 4000 < int(line[1]) <= 5001


def test_damage_inside_a_gzip_file_is_refused(tmp_path: Path) -> None:
    path = write_candles(tmp_path / "x.csv.gz", candle_lines(5000))
    data = bytearray(path.read_bytes())
    data[-8:-4] = b"\0\0\0\0"  # the checksum
    path.write_bytes(data)
    with pytest.raises(InputError, match="CRC check failed"):
        read_candles(path, BTC, HOUR)


@pytest.mark.parametrize("make", [Path.mkdir, lambda p: p.write_text(HEADER), lambda p: None])
def test_what_is_no_gzip_file_is_refused(tmp_path: Path, make: Any) -> None:
    path = tmp_path / "x.csv.gz"
    make(path)
    with pytest.raises(InputError, match=r"x\.csv\.gz: line 1: expected a readable file"):
        read_candles(path, BTC, HOUR)


def first_line_of_the_second_block(lines: Sequence[str]) -> int:
    size = 0
    for index, line in enumerate(lines):
        size += len(line) + 1
        if size > candle_files._BLOCK_BYTES:
            return index + 1
    raise AssertionError("the file has one block only")


def test_a_file_of_several_blocks_is_read_whole(tmp_path: Path) -> None:
    lines = candle_lines(9000)
    assert 3000 < first_line_of_the_second_block(lines) < 8000
    path = write_candles(tmp_path / "x.csv.gz", lines)
    assert candle_files._read_fast(path, HOURLY) is not None
    candles = read_candles(path, BTC, HOUR)
    assert candles.timestamp.tolist() == [T0 + i * HOUR for i in range(9000)]
    assert candles.close.tolist() == [101.0 + i % 7 for i in range(9000)]


def test_a_duplicate_across_two_blocks_is_found(tmp_path: Path) -> None:
    lines = candle_lines(9000)
    index = first_line_of_the_second_block(lines)
    lines[index] = lines[index - 1]
    with pytest.raises(InputError, match=rf"x\.csv: line {index + 2}: .*a duplicate"):
        read_candles(write_candles(tmp_path / "x.csv", lines), BTC, HOUR)


def test_the_fast_and_the_slow_reader_agree_on_damaged_files(tmp_path: Path) -> None:
    """The slow reader defines what is right; the fast one may only say the same or nothing."""
    rng = random.Random(1)
    good = "\n".join([HEADER, *candle_lines(5)]) + "\n"
    path = tmp_path / "x.csv"
    agreed = 0
    for _ in range(800):
        at = rng.randrange(len(HEADER), len(good) + 1)
        text = (
            good[:at] + rng.choice("0123456789.,,\n\n_-+e \rné\0") + good[at + rng.randrange(2) :]
        )
        path.write_text(text, encoding="utf-8", newline="")
        fast = candle_files._read_fast(path, HOURLY)
        try:
            slow = candle_files._read_slow(path, HOURLY)
        except InputError:
            assert fast is None, text
        else:
            assert fast == slow, text
            agreed += 1
    assert agreed > 80


# -- one file of funding rates ---------------------------------------------------------------------


def test_funding_times_are_kept_as_recorded(tmp_path: Path) -> None:
    records = [(T0 + 11, 0.0001), (T0 + 8 * HOUR + 2, -0.00046), (T0 + 12 * HOUR, 0.0)]
    funding = read_funding(write_funding(tmp_path / "x.csv.gz", records), BTC)
    assert funding == Funding(
        BTC, array("q", [t for t, _ in records]), array("d", [r for _, r in records])
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"{T0 + HOUR},0.1", "funding_rate: expected a fraction between -0.1 and 0.1, was 0.1"),
        (f"{T0 + HOUR},-0.5", "was -0.5 (a percentage?)"),
        (f"{T0 + HOUR},nan", "funding_rate: expected a finite number, was nan"),
        (f"{T0 + HOUR},", "funding_rate: expected a number, was ''"),
        (f"{T0 + HOUR}", "expected 2 fields, was 1"),
        (f"{T0 + HOUR},0.01,0.01", "expected 2 fields, was 3"),
        (f"{T0},0.01", "(a duplicate)"),
        (f"{T0 - 1},0.01", "(disorder)"),
    ],
)
def test_a_wrong_funding_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    text = f"timestamp,funding_rate\n{T0},0.0001\n{line}\n{T0 + 9 * HOUR},0.0001\n"
    path = write(tmp_path / "x.csv", text)
    with pytest.raises(InputError) as error:
        read_funding(path, BTC)
    assert_refused(error, f"{path}: line 3: ", message)


def test_a_candle_file_is_no_funding_file(tmp_path: Path) -> None:
    path = write_candles(tmp_path / "x.csv", candle_lines(3))
    with pytest.raises(InputError, match="line 1: expected the header timestamp,funding_rate, was"):
        read_funding(path, BTC)


# -- parquet ---------------------------------------------------------------------------------------


def write_parquet(path: Path, **columns: Any) -> Path:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed: parquet not tested")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(columns), path)
    return path


def parquet_candles(count: int) -> dict[str, list[Any]]:
    rows = [line.split(",") for line in candle_lines(count)]
    columns = list(zip(*rows, strict=True))
    content: dict[str, list[Any]] = {"timestamp": [int(text) for text in columns[0]]}
    for name, column in zip(HEADER.split(",")[1:], columns[1:], strict=True):
        content[name] = [float(text) for text in column]
    return content


def test_parquet_is_read_like_csv(tmp_path: Path) -> None:
    parquet = write_parquet(tmp_path / "x.parquet", **parquet_candles(50))
    csv = write_candles(tmp_path / "x.csv", candle_lines(50))
    assert read_candles(parquet, BTC, HOUR) == read_candles(csv, BTC, HOUR)


def test_parquet_is_read_and_its_rows_counted_across_batches(tmp_path: Path) -> None:
    count = 70_000  # pyarrow's batches have 65,536 rows
    flat: dict[str, list[Any]] = {name: [7.0] * count for name in HEADER.split(",")[1:]}
    times = [T0 + i * HOUR for i in range(count)]
    path = write_parquet(tmp_path / "x.parquet", timestamp=times, **flat)
    assert read_candles(path, BTC, HOUR).timestamp.tolist() == times
    times[-1] = times[-2]
    path = write_parquet(tmp_path / "x.parquet", timestamp=times, **flat)
    with pytest.raises(InputError, match=r"x\.parquet: row 70000: timestamp: .* \(a duplicate\)"):
        read_candles(path, BTC, HOUR)


def test_parquet_with_whole_numbers_is_read(tmp_path: Path) -> None:
    prices = {name: [7] for name in HEADER.split(",")[1:]}
    candles = read_candles(
        write_parquet(tmp_path / "x.parquet", timestamp=[T0], **prices), BTC, HOUR
    )
    assert (candles.timestamp.tolist(), candles.close.tolist()) == ([T0], [7.0])


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("low", 1000.0, "row 3: low: expected at most open"),
        ("high", float("nan"), "row 3: high: expected a finite number, was nan"),
        ("volume", None, "row 3: expected a number in every column"),
        ("timestamp", T0, "row 3: timestamp: expected later than"),
        ("timestamp", T0 + 2 * HOUR + 1, "row 3: timestamp: expected a multiple of 3600000"),
    ],
)
def test_a_wrong_parquet_row_is_named(
    tmp_path: Path, column: str, value: Any, message: str
) -> None:
    content = parquet_candles(5)
    content[column][2] = value
    path = write_parquet(tmp_path / "x.parquet", **content)
    with pytest.raises(InputError) as error:
        read_candles(path, BTC, HOUR)
    assert_refused(error, f"{path}: {message}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"close": ["1", "2"]}, "close: expected numbers, was string"),
        ({"timestamp": [1.0, 2.0]}, "timestamp: expected whole milliseconds, was double"),
        ({"extra": [1, 2]}, f"expected the columns {HEADER}, was {HEADER},extra"),
    ],
)
def test_wrong_parquet_columns_are_refused(
    tmp_path: Path, change: dict[str, list[Any]], message: str
) -> None:
    path = write_parquet(tmp_path / "x.parquet", **(parquet_candles(2) | change))
    with pytest.raises(InputError) as error:
        read_candles(path, BTC, HOUR)
    assert_refused(error, f"{path}: {message}")


def test_an_empty_or_damaged_parquet_file_is_refused(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed: parquet not tested")
    types = {name: pyarrow.array([], pyarrow.float64()) for name in HEADER.split(",")}
    types["timestamp"] = pyarrow.array([], pyarrow.int64())
    with pytest.raises(InputError, match=r"empty\.parquet: row 1: expected a row of data"):
        read_candles(write_parquet(tmp_path / "empty.parquet", **types), BTC, HOUR)
    with pytest.raises(InputError, match=r"x\.parquet: expected a readable parquet file"):
        read_candles(write(tmp_path / "x.parquet", "no parquet"), BTC, HOUR)
