"""The terminal's text about a run, letter by letter and for runs that are large or empty."""

import re
from dataclasses import replace

from bot.core.kernel.records import Account
from bot.core.market import DAY_MS
from bot.core.summary import result_object
from bot.core.summary_text import text_summary
from tests.support.runs import BTC, PNLS, T0, random_trades, run_result, three_days, trade

TEXT = """\
2024-01-01 to 2024-01-04 UTC, 1h, 2 symbols: 144 bars in 0.25 s

Final equity    1,039.50 USDT   Trades                          6
Total return          +3.95 %   Expectancy            +33.33 USDT
Per year                  n/a   Best / worst     +200.00 / -50.00
Max drawdown           5.50 %   Losing streak                   2
Sharpe ratio             3.06   Average trade               3.0 h
Sortino ratio            5.52   Fees / funding       7.50 / -1.25
Profit factor            3.00   Exposure                      n/a
Win rate               33.3 %   Collisions       0 (0 unresolved)

                trades   win rate   profit factor   pnl USDT   fees   funding
trend                6     33.3 %            3.00    +200.00   0.00     +0.00

BTC-USDT-PERP        6     33.3 %            3.00    +200.00   0.00     +0.00
ETH-USDT-PERP        0        n/a             n/a      +0.00   0.00     +0.00

HALTED at 2024-01-02T00:00:00Z by the kill switch: no trade after that

Warning: contract specifications are assumed; add contracts.json to the data"""


def test_text_of_a_run() -> None:
    result = replace(
        three_days(),
        trades=[trade(pnl) for pnl in PNLS],
        account=Account(peak_equity=1100.0, fees=7.5, funding=-1.25),  # 1 - 1039.5 / 1100 = 5.5 %
        halted_at=T0 + DAY_MS,
        spec_source="assumed",
    )
    assert text_summary(result_object(result, {})) == TEXT


def test_text_of_many_symbols_shows_the_largest_results() -> None:
    symbols = tuple(f"C{k}-USDT-PERP" for k in range(8))
    pnls = [1.0, -9.0, 2.0, 8.0, 0.0, -7.0, 6.0, 5.0]
    trades = [trade(pnl, symbol=k) for k, pnl in enumerate(pnls)]
    lines = text_summary(result_object(run_result(trades, symbols=symbols), {})).splitlines()
    shown = [line.split()[0] for line in lines if line.startswith("C") and "-USDT" in line]
    assert shown == [symbols[k] for k in (1, 3, 5, 6, 7)]  # in their own order
    assert lines[-1] == "and 3 more with smaller results"


def test_text_fits_a_screen_and_is_plain() -> None:
    trades = random_trades(4, 2000)
    symbols = tuple(f"COIN{k}-USDT-PERP" for k in range(12))
    result = run_result(trades, symbols=symbols, funding_source="assumed", spec_source="assumed")
    text = text_summary(result_object(result, {}))
    assert text.isascii()
    assert len(text.splitlines()) <= 26
    assert max(map(len, text.splitlines())) <= 90


def test_text_of_an_empty_run_says_what_is_undefined() -> None:
    text = text_summary(result_object(run_result(symbols=(BTC,)), {}))
    assert re.search(r"^Sharpe ratio +n/a  ", text, re.MULTILINE)
    assert "UTC, 1h, BTC-USDT-PERP: 144 bars" in text
    assert "nan" not in text
