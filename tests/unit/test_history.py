"""Loading a market from directories: which files, which period, and funding over the whole run."""

import gzip
import os
import sys
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from bot.adapters.candle_files import read_candles
from bot.adapters.history import complete_funding, find_files, load_market
from bot.core.errors import InputError
from bot.core.market import ASSUMED_FUNDING_RATE, Candles, Funding
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
SOL = "SOL-USDT-PERP"
REAL_DATA = Path(__file__).parents[3] / "shared" / "data"


# -- which files -----------------------------------------------------------------------------------


def test_files_are_found_in_sub_folders_of_all_directories(tmp_path: Path) -> None:
    write_candles(tmp_path / "a" / "b" / f"{BTC}-1h.csv.gz", candle_lines(3))
    write_candles(tmp_path / "c" / f"{SOL}-1h.csv", candle_lines(4))
    market = load_market([tmp_path / "a", tmp_path / "c"], [SOL, BTC], "1h", None, None)
    assert market.symbols == (SOL, BTC)
    assert [c.symbol for c in market.candles] == [SOL, BTC]
    assert [len(c) for c in market.candles] == [4, 3]
    assert market.timeframe_ms == HOUR


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("{}.csv", "{}.csv.gz"),
        ("{}.csv", "{}.parquet"),
        ("x/{}.csv.gz", "y/z/{}.csv.gz"),
        ("{}.csv.gz", "x/{}.csv.gz"),
    ],
)
def test_two_files_for_one_thing_are_refused(tmp_path: Path, first: str, second: str) -> None:
    """In one directory or in two; no matter what is in them, so empty files will do."""
    write_candles(tmp_path / f"{SOL}-1h.csv", candle_lines(3))
    for symbol, name in ((BTC, f"{BTC}-1h"), (SOL, f"{SOL}-funding")):
        paths = [write(tmp_path / d / p.format(name), "") for d, p in (("a", first), ("b", second))]
        for directories in ([tmp_path], [tmp_path, tmp_path / "a", tmp_path / "b"]):
            with pytest.raises(InputError) as error:
                load_market(directories, [symbol], "1h", None, None)
            assert_refused(error, f"{name}: expected one file, was found 2 times", *paths)


def test_a_doubled_file_that_is_not_asked_for_does_not_matter(tmp_path: Path) -> None:
    write_candles(tmp_path / f"{BTC}-1h.csv", candle_lines(3))
    for name in (f"{BTC}-5m", f"{SOL}-1h", f"{SOL}-funding"):
        write(tmp_path / "x" / f"{name}.csv", "")
        write(tmp_path / "y" / f"{name}.csv", "")
    assert load_market([tmp_path], [BTC], "1h", None, None).bars() == 3


def test_one_file_reached_in_several_ways_counts_once(tmp_path: Path) -> None:
    path = write_candles(tmp_path / "a" / f"{BTC}-1h.csv", candle_lines(3))
    for name in ("link", "other"):  # two loops: walked blindly, they would take for ever
        (tmp_path / "a" / name).symlink_to(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / path.name).symlink_to(path)
    ways = [tmp_path / "a", tmp_path / "b", tmp_path, tmp_path / "b" / ".." / "a"]
    assert find_files(ways) == {f"{BTC}-1h": [path]}
    assert load_market(ways, [BTC], "1h", None, None).bars() == 3


def test_a_linked_folder_is_searched(tmp_path: Path) -> None:
    write_candles(tmp_path / "disk" / f"{BTC}-1h.csv", candle_lines(3))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "link").symlink_to(tmp_path / "disk")
    assert load_market([tmp_path / "data"], [BTC], "1h", None, None).bars() == 3


def test_a_link_to_nothing_is_an_error_and_not_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / f"{BTC}-1h.csv.gz").symlink_to(tmp_path / "gone")
    with pytest.raises(InputError, match=r"BTC-USDT-PERP-1h\.csv\.gz: line 1: expected a readable"):
        load_market([tmp_path], [BTC], "1h", None, None)


def test_wrong_directories_are_refused(tmp_path: Path) -> None:
    path = write_candles(tmp_path / f"{BTC}-1h.csv", candle_lines(3))
    with pytest.raises(InputError, match="gone: expected a data directory, but it does not exist"):
        load_market([tmp_path, tmp_path / "gone"], [BTC], "1h", None, None)
    with pytest.raises(
        InputError, match=r"1h\.csv: expected a data directory, but it is not a dir"
    ):
        load_market([path], [BTC], "1h", None, None)
    with pytest.raises(InputError, match="expected at least one data directory"):
        load_market([], [BTC], "1h", None, None)


@contextmanager
def nobody() -> Iterator[None]:
    """Be a user without rights for a while; root may read everything."""
    mine = os.geteuid()
    if mine == 0:
        os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(mine)


def test_an_unreadable_folder_is_refused() -> None:
    with TemporaryDirectory() as folder:  # not under tmp_path, which only its owner may enter
        closed = Path(folder) / "closed"
        closed.mkdir(mode=0)
        Path(folder).chmod(0o755)
        with nobody(), pytest.raises(InputError, match="closed: expected a readable data dir"):
            find_files([Path(folder)])


def test_a_missing_file_says_what_there_is(tmp_path: Path) -> None:
    for name in (f"{BTC}-5m", f"{BTC}-1m", f"{BTC}-funding", f"{SOL}-1h"):
        write(tmp_path / f"{name}.csv.gz", "")
    with pytest.raises(InputError) as error:
        load_market([tmp_path], [SOL, BTC], "1h", None, None)
    assert_refused(
        error,
        f"{BTC}: expected a file {BTC}-1h.csv.gz (or .csv, .parquet)",
        f"intervals of {BTC} there: 1m, 5m;",
        f"symbols with 1h there: {SOL}",
    )


def test_a_spot_file_never_stands_in_for_a_perpetual(tmp_path: Path) -> None:
    write_candles(tmp_path / "BTC-USDT-1h.csv", candle_lines(3))
    with pytest.raises(InputError, match=f"intervals of {BTC} there: none; .* there: BTC-USDT$"):
        load_market([tmp_path], [BTC], "1h", None, None)
    assert load_market([tmp_path], ["BTC-USDT"], "1h", None, None).symbols == ("BTC-USDT",)


def test_parquet_without_pyarrow_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / f"{BTC}-1h.parquet", "never opened")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        InputError, match=r"BTC-USDT-PERP-1h\.parquet: expected pyarrow .* not inst"
    ):
        load_market([tmp_path], [BTC], "1h", None, None)


# -- the request and its period --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("symbols", "timeframe", "start", "end", "message"),
    [
        ([], "1h", None, None, "symbols: expected at least one"),
        ([BTC, SOL, BTC], "1h", None, None, f"expected each once, was {BTC} 2 times"),
        ([BTC], "7h", None, None, "timeframe: expected one of"),
        ([BTC], "1h", T0, T0, "start must be before end: start was 2024-01-01 00:00 UTC"),
        ([BTC], "1h", T0 + 1, T0, "start must be before end"),
        ([BTC], "5m", None, None, f"expected a file {BTC}-5m"),
    ],
)
def test_a_wrong_request_is_refused(
    tmp_path: Path,
    symbols: list[str],
    timeframe: str,
    start: int | None,
    end: int | None,
    message: str,
) -> None:
    write_candles(tmp_path / f"{BTC}-1h.csv", candle_lines(3))
    write_candles(tmp_path / f"{SOL}-1h.csv", candle_lines(3))
    with pytest.raises(InputError) as error:
        load_market([tmp_path], symbols, timeframe, start, end)
    assert_refused(error, message)


@pytest.mark.parametrize(
    ("start", "end", "bars"),
    [
        (None, None, range(10)),
        (T0 + 3 * HOUR, None, range(3, 10)),
        (T0 + 3 * HOUR + 1, None, range(4, 10)),
        (None, T0 + 3 * HOUR, range(3)),
        (None, T0 + 3 * HOUR + 1, range(4)),
        (T0 + 3 * HOUR, T0 + 4 * HOUR, range(3, 4)),
        (T0 - HOUR, T0 + 99 * HOUR, range(10)),
    ],
)
def test_bars_from_start_until_before_end_are_returned(
    tmp_path: Path, start: int | None, end: int | None, bars: range
) -> None:
    path = write_candles(tmp_path / f"{BTC}-1h.csv", candle_lines(10))
    market = load_market([tmp_path], [BTC], "1h", start, end)
    whole, part = read_candles(path, BTC, HOUR), market.candles[0]
    for name in HEADER.split(","):
        assert list(getattr(part, name)) == [getattr(whole, name)[i] for i in bars]


def test_a_symbol_that_starts_late_is_fine(tmp_path: Path) -> None:
    write_candles(tmp_path / f"{BTC}-1h.csv", candle_lines(10))
    write_candles(tmp_path / f"{SOL}-1h.csv", candle_lines(2, T0 + 8 * HOUR))
    market = load_market([tmp_path], [BTC, SOL], "1h", T0, None)
    assert [len(c) for c in market.candles] == [10, 2]


@pytest.mark.parametrize(
    ("start", "end", "period"),
    [
        (T0 + 10 * HOUR, None, "from 2024-01-01 10:00 UTC until before its last bar"),
        (None, T0, "from its first bar until before 2024-01-01 00:00 UTC"),
        (T0 + 1, T0 + HOUR, "from 2024-01-01 00:00 UTC until before 2024-01-01 01:00 UTC"),
    ],
)
def test_a_symbol_without_a_bar_in_the_period_is_refused(
    tmp_path: Path, start: int | None, end: int | None, period: str
) -> None:
    path = write_candles(tmp_path / f"{BTC}-1h.csv", candle_lines(10))
    with pytest.raises(InputError) as error:
        load_market([tmp_path], [BTC], "1h", start, end)
    covers = "the file covers 2024-01-01 00:00 UTC to 2024-01-01 09:00 UTC"
    assert_refused(error, f"{path}: {BTC}: ", period, covers)


# -- funding ---------------------------------------------------------------------------------------

A = ASSUMED_FUNDING_RATE
WHOLE_DAY = (0, 8, 16, 24)  # hours of a run: T0 .. T0 + 24 h

FUNDING_CASES: dict[str, tuple[int, int, list[tuple[int, float]] | None, Any, str]] = {
    # first bar, number of bars, record as (hour, rate), result as (hour, rate), source
    "no file": (0, 24, None, [(8, A), (16, A), (24, A)], "assumed"),
    "no file, first bar inside an interval": (1, 7, None, [(8, A)], "assumed"),
    "no file, ends before a settlement": (0, 7, None, [], "assumed"),
    "covered": (
        0,
        24,
        [(h, h / 1e6) for h in WHOLE_DAY],
        [(8, 8e-6), (16, 16e-6), (24, 24e-6)],
        "file",
    ),
    "at the first open nothing is held": (8, 8, [(8, 0.01), (16, 0.02)], [(16, 0.02)], "file"),
    "starts late": (0, 24, [(16, 0.02), (24, 0.03)], [(8, A), (16, 0.02), (24, 0.03)], "mixed"),
    "ends early": (0, 24, [(0, 0.01), (8, 0.02)], [(8, 0.02), (16, A), (24, A)], "mixed"),
    "another rhythm": (
        0,
        24,
        [(4, 0.01), (12, 0.02)],
        [(4, 0.01), (12, 0.02), (16, A), (24, A)],
        "mixed",
    ),
    "another rhythm, late": (0, 24, [(12, 0.01), (28, 0.02)], [(8, A), (12, 0.01)], "mixed"),
    "a hole stays": (0, 24, [(0, 0.01), (24, 0.02)], [(24, 0.02)], "file"),
    "lies before the run": (48, 8, [(0, 0.01), (8, 0.02)], [(56, A)], "assumed"),
    "lies after the run": (0, 8, [(16, 0.01)], [(8, A)], "assumed"),
    "run between two settlements": (1, 6, [(0, 0.01), (8, 0.02)], [], "file"),
}


def candles_of(first_hour: int, bars: int) -> Candles:
    times = array("q", [T0 + (first_hour + i) * HOUR for i in range(bars)])
    flat = array("d", [7.0]) * bars
    return Candles(BTC, times, flat, flat, flat, flat, flat)


@pytest.mark.parametrize(
    ("first", "bars", "record", "expected", "source"), FUNDING_CASES.values(), ids=FUNDING_CASES
)
def test_funding_covers_the_run(
    first: int,
    bars: int,
    record: list[tuple[int, float]] | None,
    expected: list[tuple[int, float]],
    source: str,
) -> None:
    funding = record and Funding(
        BTC, array("q", [T0 + h * HOUR for h, _ in record]), array("d", [r for _, r in record])
    )
    complete, was = complete_funding(funding or None, candles_of(first, bars), HOUR)
    hours = [(t - T0) / HOUR for t in complete.timestamp]
    assert list(zip(hours, complete.rate, strict=True)) == expected
    assert was == source
    assert complete.symbol == BTC
    assert (complete.timestamp.typecode, complete.rate.typecode) == ("q", "d")


@pytest.mark.parametrize(
    ("btc", "sol", "source"),
    [
        (WHOLE_DAY, WHOLE_DAY, "file"),
        (None, None, "assumed"),
        (WHOLE_DAY, None, "mixed"),
        (WHOLE_DAY, (0, 8, 16), "mixed"),
        ((0, 8, 16), (0, 8, 16), "mixed"),
    ],
)
def test_the_source_of_funding_counts_all_symbols(
    tmp_path: Path, btc: tuple[int, ...] | None, sol: tuple[int, ...] | None, source: str
) -> None:
    for symbol, hours in ((BTC, btc), (SOL, sol)):
        write_candles(tmp_path / f"{symbol}-1h.csv", candle_lines(24))
        if hours:
            path = tmp_path / "funding" / f"{symbol}-funding.csv.gz"
            write_funding(path, [(T0 + h * HOUR, 0.0003) for h in hours])
    market = load_market([tmp_path], [BTC, SOL], "1h", None, None)
    assert market.funding_source == source
    assert [f.symbol for f in market.funding] == [BTC, SOL]
    rates = [0.0003 if btc and hour in btc else A for hour in (8, 16, 24)]
    assert market.funding[0].rate.tolist() == rates


def test_funding_follows_the_period_and_not_the_file(tmp_path: Path) -> None:
    write_candles(tmp_path / f"{BTC}-1h.csv", candle_lines(48))
    write_funding(
        tmp_path / f"{BTC}-funding.csv", [(T0 + h * HOUR, h / 1e6) for h in range(0, 49, 8)]
    )
    market = load_market([tmp_path], [BTC], "1h", T0 + 8 * HOUR, T0 + 24 * HOUR)
    assert [(t - T0) // HOUR for t in market.funding[0].timestamp] == [16, 24]
    assert market.funding_source == "file"


# -- real data -------------------------------------------------------------------------------------

needs_real_data = pytest.mark.skipif(
    not REAL_DATA.is_dir(),
    reason="REAL MARKET DATA NOT TESTED: ../shared/data does not exist beside the checkout",
)


def lines_in(path: Path) -> int:
    with gzip.open(path, "rb") as file:
        return sum(1 for _ in file)


@needs_real_data
@pytest.mark.parametrize("timeframe", ["1h", "5m", "1m"])
def test_every_real_perpetual_is_read_whole(timeframe: str) -> None:
    directories = [REAL_DATA / "binance-perp", REAL_DATA / "binance-perp-funding"]
    files = sorted(directories[0].glob(f"*-{timeframe}.csv.gz"))
    symbols = [path.name.removesuffix(f"-{timeframe}.csv.gz") for path in files]
    assert len(symbols) >= 3
    market = load_market(directories, symbols, timeframe, None, None)
    assert [len(c) for c in market.candles] == [lines_in(path) - 1 for path in files]
    assert {len(f) > 0 for f in market.funding} == {True}


@needs_real_data
def test_real_data_with_two_files_for_one_thing_is_refused() -> None:
    with pytest.raises(InputError, match=rf"{BTC}-funding: expected one file, was found 3 times"):
        load_market([REAL_DATA], [BTC], "1h", None, None)
