"""The reference strategy ema_cross in vectorbt, as far as it can be said there.

    PYTHON vectorbt_ema_cross.py MARKET BARS BALANCE

Runs in an interpreter of its own, next to vectorbt. MARKET is the file of bench_peers.write_market.
Warms up (import, compilation), prints one JSON line, then answers each line on standard input with
one pass over the bars. Timed are averages, signals and `Portfolio.from_signals`, no statistics.

What cannot be said: a size in percent that reverses, so each entry buys for a fixed sum, 30 % of
the first balance, and the cash is beyond counting; a stop on the bar of the entry; two orders of
one symbol in one bar.
"""

import json
import sys
import time
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

FIRST_SIGNAL = 48


def signals(close: Any) -> tuple[Any, Any]:
    """Return where to buy and where to sell short: one bar after the averages crossed."""
    fast = close.ewm(span=12, adjust=False).mean()
    slow = close.ewm(span=48, adjust=False).mean()
    diff = (fast - slow).to_numpy()
    before, now = diff[FIRST_SIGNAL - 1 : -2], diff[FIRST_SIGNAL:-1]
    long, short = np.zeros(len(diff), dtype=bool), np.zeros(len(diff), dtype=bool)
    long[FIRST_SIGNAL + 1 :] = (before <= 0.0) & (now > 0.0)
    short[FIRST_SIGNAL + 1 :] = (before >= 0.0) & (now < 0.0)
    return long, short


def one_pass(vbt: Any, market: list[Any], balance: float) -> dict[str, float]:
    """Trade the market once; return seconds and what came of it."""
    open_, high, low, close = market
    began = time.perf_counter()
    long, short = signals(close)
    portfolio = vbt.Portfolio.from_signals(
        close,
        entries=long,
        short_entries=short,
        open=open_,
        high=high,
        low=low,
        price=open_,
        size=0.3 * balance / open_,
        fees=0.0006,
        slippage=0.0002,
        sl_stop=0.02,
        tp_stop=0.04,
        upon_opposite_entry="reverse",
        init_cash=1e12,
    )
    seconds = time.perf_counter() - began
    trades, profit = int(portfolio.trades.count()), float(portfolio.total_profit())
    return {"seconds": seconds, "trades": trades, "profit": profit}


def main() -> None:
    """Warm up, then run once for each line on standard input."""
    began = time.perf_counter()
    import vectorbt as vbt  # type: ignore[import-not-found]

    imported = time.perf_counter()
    path, bars, balance = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    columns = np.fromfile(path, dtype=np.float64).reshape(4, bars)
    market = [pd.Series(column) for column in columns]
    one_pass(vbt, market, balance)
    hello = {
        "version": version("vectorbt"),
        "numba": version("numba"),
        "import_s": imported - began,
        "first_pass_s": time.perf_counter() - imported,
    }
    print(json.dumps(hello), flush=True)
    for _ in sys.stdin:
        print(json.dumps(one_pass(vbt, market, balance)), flush=True)


if __name__ == "__main__":
    main()
