"""Find recorded market data in directories and put together what a finite run reads.

Rules of this file: names are taken as they are spelled, so a spot file (BTC-USDT-1h) never stands
in for a perpetual (BTC-USDT-PERP-1h); two files for one thing are an error, never a choice; what no
file says is assumed, and the result says so.
"""

import json
import os
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bot.adapters.candle_files import read_candles, read_funding
from bot.core.errors import InputError
from bot.core.market import (
    ASSUMED_FUNDING_RATE,
    FUNDING_INTERVAL_MS,
    MINUTE_MS,
    TIMEFRAMES_MS,
    Candles,
    ContractSpec,
    Funding,
    MarketData,
    assumed_spec,
    common_source,
    parse_symbol,
    parse_timeframe,
)
from bot.core.specs import BUILTIN

ENDINGS = (".csv.gz", ".csv", ".parquet")
CONTRACTS_FILE = "contracts.json"
_SPEC_KEYS = ("multiplier", "tick", "maintenance_rate", "max_leverage", "max_contracts")
_REQUIRED_KEYS = _SPEC_KEYS[:2]


def load_market(
    directories: Sequence[Path],
    symbols: Sequence[str],
    timeframe: str,
    start_ms: int | None,
    end_ms: int | None,
) -> MarketData:
    """Return candles, funding and contract specs of the symbols, in their order.

    Parameters
    ----------
    directories : searched with their sub-folders
    symbols : spelled as in the file names, BTC-USDT-PERP
    timeframe : one of bot.core.market.TIMEFRAMES_MS
    start_ms, end_ms : bars with start_ms <= open time < end_ms, ms UTC; None: no bound

    Raises
    ------
    InputError : a wrong request; a missing, doubled or wrong file; no bar of a symbol in the period
    """
    _check_request(symbols, start_ms, end_ms)
    bar_ms = parse_timeframe(timeframe)
    files = find_files(directories)
    # All names first: a missing file is reported before minutes are spent on reading the others.
    candle_paths = [candle_file(files, symbol, timeframe) for symbol in symbols]
    funding_paths = [only_file(files, f"{symbol}-funding") for symbol in symbols]
    contracts_path = only_file(files, CONTRACTS_FILE)

    contracts = read_contracts(contracts_path) if contracts_path else {}
    candles = tuple(
        _clip(path, read_candles(path, symbol, bar_ms), start_ms, end_ms)
        for path, symbol in zip(candle_paths, symbols, strict=True)
    )
    funding, funding_sources = zip(
        *(
            complete_funding(read_funding(path, bars.symbol) if path else None, bars, bar_ms)
            for path, bars in zip(funding_paths, candles, strict=True)
        ),
        strict=True,
    )
    specs, spec_sources = zip(
        *(
            _spec(symbol, contracts, bars.close[0])
            for symbol, bars in zip(symbols, candles, strict=True)
        ),
        strict=True,
    )
    return MarketData(
        timeframe_ms=bar_ms,
        symbols=tuple(symbols),
        candles=candles,
        funding=funding,
        specs=specs,
        funding_source=common_source(funding_sources),
        spec_source=common_source(spec_sources),
    )


def find_files(directories: Sequence[Path]) -> dict[str, list[Path]]:
    """Return the data files of the directories and their sub-folders by name without the ending.

    `contracts.json` keeps its name. A file that is reached in two ways (a directory given twice, a
    symbolic link) counts once.

    Raises
    ------
    InputError : no directory was given, or one is missing, not a directory, or unreadable
    """
    if not directories:
        raise InputError("data: expected at least one data directory, was none")
    found: dict[str, dict[Path, Path]] = {}
    for directory in directories:
        for path in _walk(directory):
            ending = next((e for e in ENDINGS if path.name.endswith(e)), "")
            if ending or path.name == CONTRACTS_FILE:
                name = path.name.removesuffix(ending)
                found.setdefault(name, {}).setdefault(path.resolve(), path)
    return {name: list(paths.values()) for name, paths in found.items()}


def only_file(files: Mapping[str, Sequence[Path]], name: str) -> Path | None:
    """Return the one file of this name out of `find_files`, None if there is none.

    Raises
    ------
    InputError : there are several; the text names two of them
    """
    paths = files.get(name, ())
    if len(paths) > 1:
        raise InputError(
            f"{name}: expected one file, was found {len(paths)} times: {paths[0]} and {paths[1]}; "
            "remove one or give a narrower data directory"
        )
    return paths[0] if paths else None


def candle_file(files: Mapping[str, Sequence[Path]], symbol: str, timeframe: str) -> Path:
    """Return the file with the candles of a symbol, spelled as given, out of `find_files`.

    Raises
    ------
    InputError : there is none (the text says what there is instead) or there are several
    """
    path = only_file(files, f"{symbol}-{timeframe}")
    if path is not None:
        return path
    candles = [name.rpartition("-")[::2] for name in sorted(files)]
    intervals = [
        interval for name, interval in candles if name == symbol and interval in TIMEFRAMES_MS
    ]
    others = [name for name, interval in candles if interval == timeframe]
    raise InputError(
        f"{symbol}: expected a file {symbol}-{timeframe}{ENDINGS[0]} (or {', '.join(ENDINGS[1:])}) "
        f"in the data directories, was none; intervals of {symbol} there: {_listed(intervals)}; "
        f"symbols with {timeframe} there: {_listed(others)}"
    )


def complete_funding(record: Funding | None, candles: Candles, bar_ms: int) -> tuple[Funding, str]:
    """Return the settlements a position in these candles can meet, and where they come from.

    Kept are those after the first bar's open and up to the last bar's close (who opens at a
    settlement pays none). Before the first and after the last settlement of the record, 00:00,
    08:00 and 16:00 UTC are assumed at ASSUMED_FUNDING_RATE; a hole in the record stays a hole.

    Returns
    -------
    the settlements, and `file` (nothing was assumed), `assumed` (everything was) or `mixed`
    """
    first, last = candles.timestamp[0], candles.timestamp[-1] + bar_ms
    usual = range(first // FUNDING_INTERVAL_MS * FUNDING_INTERVAL_MS, last + 1, FUNDING_INTERVAL_MS)
    assumed = [time for time in usual if time > first]
    if record is None:
        return _funding(candles.symbol, assumed, array("q"), array("d"), []), "assumed"
    low, high = bisect_right(record.timestamp, first), bisect_right(record.timestamp, last)
    # Exchanges stamp settlements some milliseconds late; an assumed one beside a real one is the
    # same.
    before = [time for time in assumed if time < record.timestamp[0] - MINUTE_MS]
    after = [time for time in assumed if time > record.timestamp[-1] + MINUTE_MS]
    funding = _funding(
        candles.symbol, before, record.timestamp[low:high], record.rate[low:high], after
    )
    if not before and not after:
        return funding, "file"
    return funding, "mixed" if high > low else "assumed"


def read_contracts(path: Path) -> dict[str, ContractSpec]:
    """Return the contract specs of a contracts.json by symbol.

    The file is an object of objects: {"BTC-USDT-PERP": {"multiplier": 0.001, "tick": 0.1,
    "maintenance_rate": 0.004, "max_leverage": 125}}; the last two keys may be left out.

    Raises
    ------
    InputError : the file cannot be read or breaks a rule; the text names file, symbol and key
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unique)
    except (OSError, ValueError, RecursionError, InputError) as error:
        raise InputError(f"{path}: expected a readable JSON file: {error}") from None
    if not isinstance(content, dict):
        raise InputError(
            f"{path}: expected an object keyed by symbol, was {type(content).__name__}"
        )
    try:
        return {symbol: _contract(symbol, entry) for symbol, entry in content.items()}
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _check_request(symbols: Sequence[str], start_ms: int | None, end_ms: int | None) -> None:
    if not symbols:
        raise InputError("symbols: expected at least one, was none")
    for symbol in symbols:
        if symbols.count(symbol) > 1:
            raise InputError(
                f"symbols: expected each once, was {symbol} {symbols.count(symbol)} times"
            )
    if start_ms is not None and end_ms is not None and start_ms >= end_ms:
        raise InputError(
            f"start must be before end: start was {_utc(start_ms)}, end was {_utc(end_ms)}"
        )


def _utc(time_ms: int) -> str:
    return (
        f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms):%Y-%m-%d %H:%M} UTC"
    )


def _walk(directory: Path) -> Iterator[Path]:
    if not directory.is_dir():
        what = "is not a directory" if directory.exists() else "does not exist"
        raise InputError(f"{directory}: expected a data directory, but it {what}")

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename}: expected a readable data directory: {error.strerror}")

    visited = set()
    for folder, folders, names in os.walk(directory, onerror=refuse, followlinks=True):
        real = os.path.realpath(folder)
        if real in visited:  # a link to a folder above would be walked forever
            folders.clear()
            continue
        visited.add(real)
        folders.sort()
        yield from (Path(folder, name) for name in sorted(names))


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:20]) or "none"
    return f"{shown} and {len(names) - 20} more" if len(names) > 20 else shown


def _clip(path: Path, candles: Candles, start_ms: int | None, end_ms: int | None) -> Candles:
    times = candles.timestamp
    low = 0 if start_ms is None else bisect_left(times, start_ms)
    high = len(times) if end_ms is None else bisect_left(times, end_ms)
    if low >= high:
        start = "its first bar" if start_ms is None else _utc(start_ms)
        end = "its last bar" if end_ms is None else _utc(end_ms)
        raise InputError(
            f"{path}: {candles.symbol}: expected a bar from {start} until before {end}, was none; "
            f"the file covers {_utc(times[0])} to {_utc(times[-1])}"
        )
    if high - low == len(times):
        return candles
    columns = (candles.open, candles.high, candles.low, candles.close, candles.volume)
    return Candles(candles.symbol, times[low:high], *(column[low:high] for column in columns))


def _funding(
    symbol: str,
    before: Sequence[int],
    times: "array[int]",
    rates: "array[float]",
    after: Sequence[int],
) -> Funding:
    rate = array("d", [ASSUMED_FUNDING_RATE])
    return Funding(
        symbol,
        array("q", before) + times + array("q", after),
        rate * len(before) + rates + rate * len(after),
    )


def _spec(
    symbol: str, contracts: Mapping[str, ContractSpec], first_close: float
) -> tuple[ContractSpec, str]:
    if symbol in contracts:
        return contracts[symbol], "file"
    if symbol in BUILTIN:
        return BUILTIN[symbol], "builtin"
    return assumed_spec(symbol, first_close), "assumed"


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    # JSON keeps the last of two equal keys without a word.
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        doubled = next(key for key in keys if keys.count(key) > 1)
        raise InputError(f"{doubled}: expected once, was given twice")
    return content


def _contract(symbol: str, entry: Any) -> ContractSpec:
    if parse_symbol(symbol) != symbol:
        raise InputError(f"{symbol}: expected the name {parse_symbol(symbol)}, was {symbol!r}")
    if not isinstance(entry, dict):
        raise InputError(f"{symbol}: expected an object, was {entry!r}")
    for key in entry:
        if key not in _SPEC_KEYS:
            raise InputError(f"{symbol}: expected only {', '.join(_SPEC_KEYS)}, was {key!r}")
    for key in _REQUIRED_KEYS:
        if key not in entry:
            raise InputError(f"{symbol}: {key}: expected a number, was missing")
    for key, value in entry.items():
        # bool is an int to Python; comparing with NaN or infinity fails here as well.
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
            raise InputError(f"{symbol}: {key}: expected a number, was {value!r}")
    return ContractSpec(symbol, **{key: float(value) for key, value in entry.items()})
