"""Small files of recorded market data for tests of the code that reads them."""

import gzip
from collections.abc import Sequence
from pathlib import Path

import pytest

from bot.core.errors import InputError

HOUR = 3_600_000
T0 = 1_704_067_200_000  # 2024-01-01 00:00 UTC
HEADER = "timestamp,open,high,low,close,volume"


def candle_lines(count: int, start_ms: int = T0) -> list[str]:
    """Return lines of valid candles whose closes go 101, 102 .. 107, 101 .."""
    lines = []
    for i in range(count):
        price = 100.0 + i % 7
        row = (start_ms + i * HOUR, price, price + 2.5, price - 2.25, price + 1, i % 5)
        lines.append(",".join(map(str, row)))
    return lines


def write(path: Path, content: str | bytes) -> Path:
    """Write a file with its folders, compressed if its name ends in .gz, and return its path."""
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def write_candles(path: Path, lines: Sequence[str]) -> Path:
    """Write a candle file of these lines and return its path."""
    return write(path, "\n".join([HEADER, *lines]) + "\n")


def write_funding(path: Path, records: Sequence[tuple[int, float]]) -> Path:
    """Write a funding file of (time in ms, rate) and return its path."""
    lines = [f"{time_ms},{rate}" for time_ms, rate in records]
    return write(path, "\n".join(["timestamp,funding_rate", *lines]) + "\n")


def assert_refused(error: pytest.ExceptionInfo[InputError], *parts: object) -> None:
    """Assert that the text for the operator contains each of the parts."""
    for part in parts:
        assert str(part) in str(error.value)
