"""One self-contained HTML page about a backtest: figures, charts, tables, the list of trades.

Rules of this file: the page loads nothing and sends nothing, which its content security policy
makes the browser enforce; every text from outside is escaped. report.css and report.js, beside
this file, are put into the page.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from bot.adapters.files import atomic_file
from bot.core.market import MarketData
from bot.core.summary import Number, RunResult, json_safe, result_object
from ops.research.report_data import (
    MAX_TRADES,
    TRADE_KEYS,
    chart_data,
    monthly_returns,
    year_return,
)

FULL_HEAT = 10.0  # percent; a month that moved this much or more has the full colour
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
TRADE_HEADS = (
    "Entry (UTC)", "Exit (UTC)", "Symbol", "Strategy", "Side", "Contracts", "Entry price",
    "Exit price", "Fees", "Funding", "PnL", "Reason",
)  # fmt: skip
WORDS = ("entry", "exit", "symbol", "strategy", "side", "reason")  # columns that align left
COLLISIONS = {
    "opposite": "opposite sides of one symbol",
    "owned": "against another's position",
    "cap": "together over a cap",
    "correlated": "correlated symbols",
}
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
ABOUT = (
    "Results of trades are after fees, slippage and funding. Sharpe and Sortino ratio come from"
    " daily changes of equity, 365 days a year, with a risk-free rate of 0; drawdown from the"
    " equity at the end of every bar, open positions included. Times are UTC, money is USDT. A dash"
    " means: not defined for this run. Past results, simulated above all, promise nothing."
)


def write_report(
    path: Path,
    result: RunResult,
    curve: Sequence[tuple[int, float]],
    market: MarketData,
    title: str,
) -> None:
    """Write the report of a run to `path`, whole or not at all; an older file is replaced.

    Parameters
    ----------
    curve : time in ms UTC and equity in USDT of every cycle, oldest first
    market : the candles of the run, symbols as in `result`

    Raises
    ------
    InputError : the folder is missing, or the file cannot be written there
    """
    page = render_report(result, curve, market, title)
    with atomic_file(path) as file:
        file.write(page)


def render_report(
    result: RunResult, curve: Sequence[tuple[int, float]], market: MarketData, title: str
) -> str:
    """Return the page; parameters as in `write_report`."""
    found = result_object(result, {})
    folder = Path(__file__).parent
    style = (folder / "report.css").read_text(encoding="utf-8")
    script = (folder / "report.js").read_text(encoding="utf-8")
    data = script_json(json_safe(chart_data(result, curve, market)))
    parts = (
        _header(found, title),
        *_cards(found),
        EQUITY,
        _months(monthly_returns(result)),
        _price(result.symbols),
        f'<div class="pair">{_groups(found)}{_collisions(found)}</div>',
        _trade_list(len(result.trades)),
        f'<footer class="soft">{ABOUT}</footer>',
    )
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n{body}\n"
        f'<script type="application/json" id="data">{data}</script>\n'
        f"<script>\n{script}</script>\n</body>\n</html>\n"
    )


def script_json(value: Any) -> str:
    """Return JSON that can stand inside a script element: no markup can begin or end in it."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _number(value: Number, form: str = ",.2f", unit: str = "") -> str:
    """Return a number as people read it, with a real minus sign; a dash where it is undefined."""
    return "\u2013" if value is None else f"{value:{form}}{unit}".replace("-", "\u2212")


def _tone(value: Number) -> str:
    """Return the class of a number: gain, loss, or none for 0 and undefined."""
    return "" if not value else "gain" if value > 0 else "loss"


def _header(found: Mapping[str, Any], title: str) -> str:
    start, end = (found[key].removesuffix("T00:00:00Z") for key in ("start", "end"))
    facts = (
        f"{start} to {end} UTC",
        f"{found['timeframe']} bars",
        ", ".join(found["symbols"]),
        f"{found['bars']:,} bars in {found['elapsed_s']:.2f} s",
        f"funding: {found['funding_source']}",
        f"contracts: {found['spec_source']}",
    )
    notices = [f"Note: {warning}." for warning in found["warnings"]]
    if found["halted_at"] is not None:
        notices.insert(
            0, f"Halted at {found['halted_at']} by the kill switch: no trade after that."
        )
    return (
        f'<header><h1>{escape(title)}</h1><p class="soft">{escape(" · ".join(facts))}</p>'
        + "".join(f'<p class="notice">{escape(notice)}</p>' for notice in notices)
        + "</header>"
    )


def _cards(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the headline figures, each with a second one below it."""
    m, signed = found["metrics"], "+,.2f"
    total, best = m["total_return_pct"], m["best_trade_usdt"]
    cards = (
        ("Total return", _number(total, signed, " %"), _tone(total),
         f"{_number(m['deposits'])} \u2192 {_number(m['final_equity'])} USDT"),
        ("Per year", _number(m["annual_return_pct"], signed, " %"), "", "compounded"),
        ("Maximum drawdown", _number(m["max_drawdown_pct"], unit=" %"), "", "from peak equity"),
        ("Sharpe ratio", _number(m["sharpe_ratio"]), "", f"Sortino {_number(m['sortino_ratio'])}"),
        ("Profit factor", _number(m["profit_factor"]), "",
         _number(m["expectancy_usdt"], signed, " USDT per trade")),
        ("Win rate", _number(m["win_rate"], ".1f", " %"), "", f"of {found['trades']:,} trades"),
        ("Best trade", _number(best, signed), _tone(best),
         _number(m["worst_trade_usdt"], signed, " USDT worst")),
        ("Average trade", _number(m["avg_trade_hours"], ",.1f", " h"), "",
         f"longest losing streak {m['longest_losing_streak']}"),
        ("Fees", _number(m["fees_usdt"]), "", _number(m["funding_usdt"], signed, " USDT funding")),
        ("Exposure", _number(m["exposure_pct"], ".1f", " %"), "",
         f"{m['collisions']:,} collisions, {m['collisions_unresolved']} unresolved"),
    )  # fmt: skip
    yield '<dl class="cards">'
    for label, value, tone, second in cards:
        yield (
            f'<div><dt>{label}</dt><dd class="value {tone}">{value}</dd>'
            f"<dd><small>{second}</small></dd></div>"
        )
    yield "</dl>"


EQUITY = (
    '<section><div class="head"><h2>Equity and drawdown</h2>'
    "<small>drag to zoom, double-click to see all</small>"
    '<button type="button" id="reset" hidden>Show all</button></div>'
    '<figure><canvas id="equity" role="img" aria-label="Equity in USDT, and drawdown below it">'
    '</canvas><div class="tip" hidden></div></figure>'
    "<noscript><p>The charts and the list of trades need JavaScript.</p></noscript></section>"
)


def _price(symbols: Sequence[str]) -> str:
    options = "".join(f'<option value="{k}">{escape(s)}</option>' for k, s in enumerate(symbols))
    return (
        '<section><div class="head"><h2>Trades on price</h2><small>'
        "entry: \u25b2 long, \u25bc short, filled \u00b7 exit: hollow \u00b7 "
        '<span class="gain">blue: profit</span>, <span class="loss">orange: loss</span></small>'
        f'<select id="symbol" aria-label="Symbol">{options}</select></div>'
        '<figure><canvas id="price" role="img" aria-label="Candles with entries and exits">'
        '</canvas><div class="tip" hidden></div></figure></section>'
    )


def _table(heads: Iterable[str], rows: Iterable[str], kind: str = "") -> str:
    """Return a table that scrolls sideways; `heads` as text, `rows` as markup of the cells."""
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _months(returns: Mapping[tuple[int, int], float]) -> str:
    """Return the table of monthly returns: a row for each year, colours by size."""
    rows = []
    for year in sorted({year for year, _ in returns}):
        months = [returns.get((year, month)) for month in range(1, 13)]
        total = year_return([value for value in months if value is not None])
        cells = "".join(map(_heat, months))
        rows.append(
            f'<th scope="row">{year}</th>{cells}<td class="year">{_number(total, "+,.1f")}</td>'
        )
    table = _table(("", *MONTHS, "Year"), rows, "months")
    return (
        '<section><div class="head"><h2>Monthly returns</h2><small>percent of equity</small></div>'
        f"{table}</section>"
    )


def _heat(value: float | None) -> str:
    """Return the cell of one month."""
    if value is None:
        return "<td></td>"
    heat = 0.08 + 0.52 * min(abs(value) / FULL_HEAT, 1.0)
    return f'<td class="{_tone(value)}" style="--heat:{heat:.2f}">{_number(value, "+,.1f")}</td>'


def _groups(found: Mapping[str, Any]) -> str:
    """Return the table per strategy and per symbol."""
    heads = ("", "Trades", "Win rate", "Profit factor", "PnL", "Fees", "Funding")
    rows = []
    for title, key in (("Strategy", "per_strategy"), ("Symbol", "per_symbol")):
        rows.append(f'<td class="soft">{title}</td><td colspan="6"></td>')
        rows += [_group(name, row) for name, row in found[key].items()]
    return (
        '<section><div class="head"><h2>By strategy and by symbol</h2></div>'
        f"{_table(heads, rows)}</section>"
    )


def _group(name: str, row: Mapping[str, Number]) -> str:
    """Return the cells of one strategy or symbol."""
    return (
        f'<th scope="row">{escape(name)}</th><td>{_number(row["trades"], ",")}</td>'
        f"<td>{_number(row['win_rate'], '.1f', ' %')}</td><td>{_number(row['profit_factor'])}</td>"
        f'<td class="{_tone(row["pnl"])}">{_number(row["pnl"], "+,.2f")}</td>'
        f"<td>{_number(row['fees'])}</td><td>{_number(row['funding'], '+,.2f')}</td>"
    )


def _collisions(found: Mapping[str, Any]) -> str:
    """Return the table of collisions between strategies, by kind."""
    counts = {COLLISIONS[kind]: count for kind, count in found["collisions_by_kind"].items()}
    counts["unresolved, expected 0"] = found["metrics"]["collisions_unresolved"]
    rows = [f'<th scope="row">{kind}</th><td>{count:,}</td>' for kind, count in counts.items()]
    return (
        '<section><div class="head"><h2>Collisions</h2><small>between strategies</small></div>'
        f"{_table(('Kind', 'Count'), rows)}</section>"
    )


def _trade_list(count: int) -> str:
    """Return the empty table that report.js fills; each heading is a button that sorts."""
    shown = f"the last {MAX_TRADES:,} of {count:,}" if count > MAX_TRADES else f"{count:,}"
    heads = "".join(
        f'<th scope="col" data-key="{key}"{" class='words'" if key in WORDS else ""}>'
        f'<button type="button">{head}</button></th>'
        for key, head in zip(TRADE_KEYS, TRADE_HEADS, strict=True)
    )
    return (
        f'<section><div class="head"><h2>Trades</h2><small>{shown}; a heading sorts, a trade shows'
        ' itself on the chart</small></div><div class="scroll tall">'
        f'<table id="trades"><thead><tr>{heads}</tr></thead><tbody></tbody></table></div></section>'
    )
