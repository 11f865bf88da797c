"""The table a person sees in the terminal when a run has ended: plain ASCII, about 25 lines."""

from collections.abc import Iterator
from typing import Any

MAX_SYMBOL_ROWS = 5  # more do not fit a screen; the JSON object and the HTML report list all of them


def _text(value: float | None, form: str = ".2f", unit: str = "") -> str:
    """Return a number in a format with its unit, or `n/a`."""
    return "n/a" if value is None else f"{value:{form}}{unit}"


def _headline(found: dict[str, Any]) -> str:
    """Return period, timeframe, symbols and speed of a run."""
    days = [found[key].removesuffix("T00:00:00Z") for key in ("start", "end")]
    n = len(found["symbols"])
    symbols = f"{n} symbols" if n > 1 else found["symbols"][0]
    ran = f"{found['bars']:,} bars in {found['elapsed_s']:.2f} s"
    return f"{days[0]} to {days[1]} UTC, {found['timeframe']}, {symbols}: {ran}; amounts in USDT"


def _pairs(found: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Yield the rows of the headline figures: label, value, label, value."""
    m = found["metrics"]
    collisions = f"{m['collisions']:,} ({m['collisions_unresolved']} unresolved)"
    left = {
        "Final equity": _text(m["final_equity"], ",.2f"),
        "Total return": _text(m["total_return_pct"], "+,.2f", " %"),
        "Per year": _text(m["annual_return_pct"], "+,.2f", " %"),
        "Max drawdown": _text(m["max_drawdown_pct"], ".2f", " %"),
        "Sharpe ratio": _text(m["sharpe_ratio"]),
        "Sortino ratio": _text(m["sortino_ratio"]),
        "Profit factor": _text(m["profit_factor"]),
        "Win rate": _text(m["win_rate"], ".1f", " %"),
    }
    right = {
        "Trades": f"{found['trades']:,}",
        "Expectancy": _text(m["expectancy_usdt"], "+,.2f"),
        "Best / worst": f"{_text(m['best_trade_usdt'], '+,.2f')} / {_text(m['worst_trade_usdt'], '+,.2f')}",
        "Losing streak": f"{m['longest_losing_streak']}",
        "Average trade": _text(m["avg_trade_hours"], ",.1f", " h"),
        "Fees / funding": f"{_text(m['fees_usdt'], ',.2f')} / {_text(m['funding_usdt'], '+,.2f')}",
        "Exposure": _text(m["exposure_pct"], ".1f", " %"),
        "Collisions": collisions,
    }
    for (label, value), (other, another) in zip(left.items(), right.items(), strict=True):
        yield label, value, other, another


def _group_rows(found: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table per strategy and per symbol, a blank row between the two."""
    yield "", "trades", "win rate", "pnl", "profit factor", "fees", "funding"
    symbols = found["per_symbol"]
    largest = sorted(symbols, key=lambda name: -abs(symbols[name]["pnl"] or 0.0))[:MAX_SYMBOL_ROWS]
    shown = {name: row for name, row in symbols.items() if name in largest}
    for table in (found["per_strategy"], shown):
        for name, row in table.items():
            yield (
                name,
                f"{row['trades']:,}",
                _text(row["win_rate"], ".1f", " %"),
                _text(row["pnl"], "+,.2f"),
                _text(row["profit_factor"]),
                _text(row["fees"], ",.2f"),
                _text(row["funding"], "+,.2f"),
            )
        yield ("",) * 7
    if len(shown) < len(symbols):
        yield f"({len(symbols) - len(shown)} symbols with smaller results left out)", *[""] * 6
