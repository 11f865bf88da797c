"""The trades file of a backtest (DESIGN section 11)."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from bot.adapters.files import atomic_file
from bot.core.kernel.records import Trade
from bot.core.summary import TRADE_COLUMNS, trade_row


def write_trades(path: Path, trades: Iterable[Trade], symbols: Sequence[str]) -> None:
    """Write one row for each trade, in the given order, under the header `TRADE_COLUMNS`.

    Floats are written by `repr`, so they read back equal to the bit. The file appears whole or not
    at all and replaces an older one.

    Raises
    ------
    InputError : the folder is missing, or the file cannot be written there
    """
    with atomic_file(path) as file:
        writer = csv.DictWriter(file, TRADE_COLUMNS, lineterminator="\n")
        writer.writeheader()
        for trade in trades:
            writer.writerow(trade_row(trade, symbols))
