"""The table a person sees in the terminal when a run has ended: plain ASCII, about 25 lines."""

from collections.abc import Sequence
from typing import Any

MAX_SYMBOL_ROWS = 5  # more do not fit a screen; JSON and the HTML report list them all


def _number(value: float | None, form: str = ".2f", unit: str = "") -> str:
    """Return a number in a format with its unit, or `n/a`."""
    return "n/a" if value is None else f"{value:{form}}{unit}"


def _headline(found: dict[str, Any]) -> str:
    """Return period, timeframe, symbols and speed of a run."""
    start, end = (found[key].removesuffix("T00:00:00Z") for key in ("start", "end"))
    symbols = found["symbols"]
    names = symbols[0] if len(symbols) == 1 else f"{len(symbols)} symbols"
    speed = f"{found['bars']:,} bars in {found['elapsed_s']:.2f} s"
    return f"{start} to {end} UTC, {found['timeframe']}, {names}: {speed}"


def _figures(found: dict[str, Any]) -> list[list[str]]:
    """Return the headline figures as rows of label, value, label, value."""
    m = found["metrics"]
    money, signed = ",.2f", "+,.2f"
    costs = f"{_number(m['fees_usdt'], money)} / {_number(m['funding_usdt'], signed)}"
    extremes = (_number(m[f"{which}_trade_usdt"], signed) for which in ("best", "worst"))
    pairs = [
        ("Final equity", _number(m["final_equity"], money, " USDT")),
        ("Trades", f"{found['trades']:,}"),
        ("Total return", _number(m["total_return_pct"], signed, " %")),
        ("Expectancy", _number(m["expectancy_usdt"], signed, " USDT")),
        ("Per year", _number(m["annual_return_pct"], signed, " %")),
        ("Best / worst", " / ".join(extremes)),
        ("Max drawdown", _number(m["max_drawdown_pct"], ".2f", " %")),
        ("Losing streak", f"{m['longest_losing_streak']}"),
        ("Sharpe ratio", _number(m["sharpe_ratio"])),
        ("Average trade", _number(m["avg_trade_hours"], ",.1f", " h")),
        ("Sortino ratio", _number(m["sortino_ratio"])),
        ("Fees / funding", costs),
        ("Profit factor", _number(m["profit_factor"])),
        ("Exposure", _number(m["exposure_pct"], ".1f", " %")),
        ("Win rate", _number(m["win_rate"], ".1f", " %")),
        ("Collisions", f"{m['collisions']:,} ({m['collisions_unresolved']} unresolved)"),
    ]
    return [[*pairs[i], *pairs[i + 1]] for i in range(0, len(pairs), 2)]


def _group(name: str, row: dict[str, Any]) -> list[str]:
    """Return the cells of one strategy or symbol."""
    return [
        name,
        f"{row['trades']:,}",
        _number(row["win_rate"], ".1f", " %"),
        _number(row["profit_factor"]),
        _number(row["pnl"], "+,.2f"),
        _number(row["fees"], ",.2f"),
        _number(row["funding"], "+,.2f"),
    ]


def _groups(found: dict[str, Any]) -> list[list[str]]:
    """Return the rows per strategy and per symbol, a header above and a blank between them."""
    symbols = found["per_symbol"]
    by_size = sorted(symbols, key=lambda name: -abs(symbols[name]["pnl"] or 0.0))
    shown = [name for name in symbols if name in by_size[:MAX_SYMBOL_ROWS]]
    rows = [["", "trades", "win rate", "profit factor", "pnl USDT", "fees", "funding"]]
    rows += [_group(name, row) for name, row in found["per_strategy"].items()]
    rows += [[""] * 7] if found["per_strategy"] else []
    return rows + [_group(name, symbols[name]) for name in shown]


def _align(rows: Sequence[Sequence[str]], left: Sequence[int]) -> list[str]:
    """Return rows as lines of equal columns; those numbered in `left` are aligned left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = zip(row, widths, strict=True)
        padded = [c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(cells)]
        lines.append("   ".join(padded).rstrip())
    return lines


def text_summary(found: dict[str, Any]) -> str:
    """Return the result object of `bot.core.summary.result_object` as text for a terminal.

    Plain ASCII without colours, no newline at the end. Of the symbols, the five with the largest
    results are listed. What is undefined reads `n/a`.
    """
    left_out = len(found["symbols"]) - MAX_SYMBOL_ROWS
    lines = [_headline(found), "", *_align(_figures(found), left=(0, 2)), ""]
    lines += _align(_groups(found), left=(0,))
    if left_out > 0:
        lines.append(f"and {left_out} more with smaller results")
    if found["halted_at"] is not None:
        lines += ["", f"HALTED at {found['halted_at']} by the kill switch: no trade after that"]
    if found["warnings"]:
        lines += ["", *(f"Warning: {warning}" for warning in found["warnings"])]
    return "\n".join(lines)
