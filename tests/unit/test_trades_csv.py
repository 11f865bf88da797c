"""The trades file: the columns of the contract, exact floats, whole or not there."""

import csv
from pathlib import Path

import pytest

from bot.adapters.trades_csv import write_trades
from bot.core.errors import InputError
from bot.core.kernel.codes import REVERSION, SHORT, STOP
from bot.core.market import HOUR_MS
from bot.core.summary import TRADE_COLUMNS, trade_row
from tests.support.runs import BTC, ETH, T0, random_trades, trade

# The columns of DESIGN section 11, letter by letter.
CONTRACT_HEADER = (
    "entry_time,exit_time,symbol,strategy,side,contracts,quantity,entry_price,exit_price,fees,"
    "funding,pnl,reason"
)


def test_trade_row_by_hand() -> None:
    done = trade(-1.5, symbol=1, strategy=REVERSION, side=SHORT, fees=0.25, reason=STOP)
    row = trade_row(done, (BTC, ETH))
    assert ",".join(row) == ",".join(TRADE_COLUMNS) == CONTRACT_HEADER
    assert list(row.values()) == [
        T0, T0 + 3 * HOUR_MS, ETH, "reversion", "short", 2, 0.2, 100.0, 101.0, 0.25, 0.0, -1.5,
        "stop",
    ]  # fmt: skip
    assert isinstance(row["contracts"], int)
    assert trade_row(trade(0.0, contracts=0.5), (BTC,))["contracts"] == 0.5


def test_trades_file_reads_back_equal_to_the_bit(tmp_path: Path) -> None:
    trades = random_trades(3, 200)
    path = tmp_path / "trades.csv"
    path.write_text("an older file\n")
    with path.open() as reader:
        write_trades(path, trades, (BTC, ETH))
        assert reader.read() == "an older file\n"  # who reads it keeps it
    with path.open(encoding="utf-8", newline="") as file:
        assert file.readline() == CONTRACT_HEADER + "\n"
        rows = list(csv.DictReader(file, CONTRACT_HEADER.split(",")))
    assert len(rows) == len(trades)
    for row, done in zip(rows, trades, strict=True):
        for name in ("entry_time", "exit_time"):
            assert int(row[name]) == getattr(done, name)
        for name in ("quantity", "entry_price", "exit_price", "fees", "funding", "pnl"):
            assert float(row[name]) == getattr(done, name)
        assert row["contracts"] == f"{done.contracts:.0f}"
    assert list(tmp_path.iterdir()) == [path]


def test_trades_file_without_trades_is_a_header(tmp_path: Path) -> None:
    write_trades(tmp_path / "trades.csv", [], (BTC,))
    assert (tmp_path / "trades.csv").read_text() == CONTRACT_HEADER + "\n"


def test_trades_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    path.write_text("an older file\n")
    with pytest.raises(IndexError):
        write_trades(path, [trade(1.0), trade(1.0, symbol=7)], (BTC, ETH))
    assert path.read_text() == "an older file\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["missing/trades.csv", "folder", "x" * 300])
def test_trades_file_that_cannot_be_written_is_reported(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="expected "):
        write_trades(tmp_path / name, [trade(1.0)], (BTC,))
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]
