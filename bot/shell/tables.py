"""The bot's answers as text for people: aligned columns, signed gains, at most 100 columns wide.

Colours are for a terminal only, and not where NO_COLOR is set.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TextIO

from bot.shell.terminal import DIM, GREEN, RED, RESET, YELLOW, clock, span

type Painter = Callable[[str, str], str]
type Plain = dict[str, Any]

MODE_COLOURS = {"RUN": GREEN, "REDUCE_ONLY": YELLOW, "HALT": YELLOW, "FLATTEN": RED}
UNKNOWN = "?"
"""a figure that the journal does not say"""


def painter(out: TextIO) -> Painter:
    """Return what puts a text into a colour: nothing happens when `out` is no terminal."""
    plain = not out.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    return lambda text, colour: text if plain or not colour else f"{colour}{text}{RESET}"


def moment(ms: int) -> str:
    """Return a time for people.

    >>> moment(1704067261000)
    '2024-01-01 00:01:01 UTC'
    """
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def price(value: float | None) -> str:
    """Return a price with as many places as its size needs; `-` where there is none.

    >>> price(64283.333333), price(0.0712345678), price(100.0), price(0.0)
    ('64,283.33', '0.07123457', '100', '-')
    """
    if not value:
        return "-"
    places = 2 if value >= 1_000.0 else 4 if value >= 1.0 else 8
    text = f"{value:,.{places}f}"
    return text.rstrip("0").rstrip(".")


def money(value: float | None, form: str = ",.2f") -> str:
    """Return USDT in a format, `?` where it is not known."""
    return UNKNOWN if value is None else f"{value:{form}}"


def gain_colour(value: float | None) -> str:
    """Return the colour of a profit or loss."""
    return "" if not value else GREEN if value > 0.0 else RED


def short(symbol: str) -> str:
    """Return a symbol without what all of them share."""
    return symbol.removesuffix("-USDT-PERP")


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    left: int,
    paint: Painter,
    colours: Mapping[int, Sequence[str]] | None = None,
) -> list[str]:
    """Return lines of aligned columns: the first `left` to the left, numbers to the right.

    `colours` has, by column, the colour of each row.
    """
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]
    lines = []
    for i, row in enumerate([head, *rows]):
        cells = []
        for k, (cell, width) in enumerate(zip(row, widths, strict=True)):
            padded = cell.ljust(width) if k < left else cell.rjust(width)
            colour = DIM if i == 0 else (colours or {}).get(k, [""] * len(rows))[i - 1]
            cells.append(paint(padded, colour))
        lines.append("  ".join(cells).rstrip())
    return lines


def heading(answer: Plain, paint: Painter) -> list[str]:
    """Return where an answer is from, when that is not the running bot in good health."""
    if answer["source"] == "journal":
        as_of = moment(answer["as_of_ms"])
        return [paint(f"{answer['note']}; from the journal, as of {as_of}", YELLOW), ""]
    if answer["stalled"]:
        text = f"the bot's loop stands still: this is {answer['age_s']:.0f} s old"
        return [paint(text, RED), ""]
    return []


def status_lines(answer: Plain, paint: Painter) -> list[str]:
    """Return the answer to `radbot status`."""
    lines = [
        f"mode       {paint(answer['mode'], MODE_COLOURS.get(answer['mode'], ''))}"
        + ("" if answer.get("ready", True) else "  (starting: no entries yet)"),
        *(f"           {cause_text(cause)}" for cause in answer["causes"]),
        *latch_lines(answer, paint),
        f"time       {moment(answer['now_ms'])}, {answer['cycles']:,} cycles",
    ]
    today = answer["equity"] - answer["day_equity"]
    today_text = paint(f"{today:+,.2f} today", gain_colour(today))
    lines += [
        f"equity     {answer['equity']:,.2f} USDT, {today_text}, peak {answer['peak_equity']:,.2f}",
        f"risk       drawdown {answer['drawdown']:.1%}, daily loss {answer['daily_loss']:.1%}",
        f"costs      fees {answer['fees']:,.2f}, funding {answer['funding']:+,.2f}",
        f"trades     {answer['trades']:,} finished, {sum(answer['collisions'].values()):,} "
        f"collisions ({answer['collisions']['unresolved']} unresolved)",
    ]
    if answer["locked"]:
        names = ", ".join(map(short, answer["locked"]))
        lines.append(paint(f"locked     {names}: no new positions there", YELLOW))
    if answer["unprotected_seconds"] > 0.0:
        seconds = f"{answer['unprotected_seconds']:.1f}"
        lines.append(paint(f"DANGER     a position has had no full stop for {seconds} s", RED))
    return [*lines, "", *held_lines(answer, paint)]


def cause_text(cause: Plain) -> str:
    """Return why the bot is held back."""
    since = clock(cause["since_ms"])
    return f"{cause['cause']} ({cause['mode']}) since {since}, cleared by {cause['cleared_by']}"


def latch_lines(answer: Plain, paint: Painter) -> list[str]:
    """Return the latch, and a resume that waits for the next start."""
    lines = []
    if latch := answer.get("latch"):
        text = f"latched    {moment(latch['at_ms'])} by {latch['by']}: {latch['reason']}"
        lines.append(paint(text, RED))
    if left := answer.get("resume"):
        text = f"resume     asked {moment(left['at_ms'])} by {left['by']}: {left['reason']} "
        lines.append(paint(f"{text}(at the next start)", YELLOW))
    return lines


def held_lines(answer: Plain, paint: Painter) -> list[str]:
    """Return the open positions in one table."""
    held = answer["positions"]
    if not held:
        return ["no open positions"]
    rows = [
        [
            short(p["symbol"]),
            p["side"],
            f"{p['contracts']:,g}",
            money(p["notional"]),
            price(p["entry_price"]),
            price(p["mark"]),
            money(p["unrealised"], "+,.2f"),
            price(p["stop_price"]),
            "yes" if p["covered"] >= p["contracts"] else "NO",
        ]
        for p in held
    ]
    head = ("symbol", "side", "contracts", "USDT", "entry", "mark", "gain", "stop", "protected")
    colours = {
        6: [gain_colour(p["unrealised"]) for p in held],
        8: ["" if row[8] == "yes" else RED for row in rows],
    }
    return table(head, rows, 2, paint, colours)


def positions_lines(answer: Plain, paint: Painter) -> list[str]:
    """Return the answer to `radbot positions`: what is held, its levels, its orders."""
    lines = held_lines(answer, paint)
    if answer["positions"]:
        lines += ["", *level_lines(answer, paint)]
    if answer["orders"]:
        lines += ["", *order_lines(answer, paint)]
    return lines


def level_lines(answer: Plain, paint: Painter) -> list[str]:
    """Return what decides when each position is left."""
    rows = [
        [
            short(p["symbol"]),
            p["strategy"] or UNKNOWN,
            span(answer["now_ms"] - p["entry_time"]),
            f"{p['leverage']:g}x",
            price(p["stop_price"]),
            price(p["target_price"]),
            price(p["liquidation_price"]),
        ]
        for p in answer["positions"]
    ]
    head = ("symbol", "strategy", "held", "leverage", "stop", "target", "liquidation")
    return table(head, rows, 2, paint)


def order_lines(answer: Plain, paint: Painter) -> list[str]:
    """Return the orders that may still trade."""
    rows = [
        [
            short(o["symbol"]),
            o["role"],
            o["side"],
            o["status"],
            f"{o['contracts']:,g}",
            f"{o['filled']:,g}",
            price(o["price"]),
            o["client_id"],
        ]
        for o in answer["orders"]
    ]
    head = ("symbol", "order", "side", "status", "contracts", "filled", "price", "id")
    return table(head, rows, 4, paint)


def balance_lines(answer: Plain, paint: Painter) -> list[str]:
    """Return the answer to `radbot balance`."""
    gains = {"realised", "funding", "unrealised"}
    rows, colours = [], []
    for label, key in (
        ("equity", "equity"),
        ("wallet", "wallet"),
        ("unrealised", "unrealised"),
        ("deposits", "deposits"),
        ("realised", "realised"),
        ("fees paid", "fees"),
        ("funding", "funding"),
        ("peak equity", "peak_equity"),
        ("equity at 00:00 UTC", "day_equity"),
    ):
        value = answer[key]
        rows.append([label, money(value, "+,.2f" if key in gains else ",.2f")])
        colours.append(gain_colour(value) if key in gains else "")
    for label, key in (
        ("drawdown", "drawdown"),
        ("largest drawdown", "max_drawdown"),
        ("daily loss", "daily_loss"),
    ):
        rows.append([label, f"{answer[key]:.2%}"])
        colours.append("")
    return table(("", "USDT"), rows, 1, paint, {1: colours})


def trades_lines(answer: Plain, paint: Painter) -> list[str]:
    """Return the answer to `radbot trades`, oldest first."""
    trades = answer["trades"]
    if not trades:
        return ["no finished trades"]
    rows = [
        [
            clock(t["exit_time"]),
            short(t["symbol"]),
            t["side"],
            t["strategy"],
            t["reason"],
            price(t["entry_price"]),
            price(t["exit_price"]),
            span(t["exit_time"] - t["entry_time"]),
            f"{t['pnl']:+,.2f}",
        ]
        for t in trades
    ]
    head = (
        "closed, UTC", "symbol", "side", "strategy", "by", "entry", "exit", "held", "USDT",
    )  # fmt: skip
    total = sum(t["pnl"] for t in trades)
    lines = table(head, rows, 5, paint, {8: [gain_colour(t["pnl"]) for t in trades]})
    total_text = paint(f"{total:+,.2f} USDT", gain_colour(total))
    return [*lines, "", f"{len(trades)} trades, {total_text} after fees and funding"]


LINES: dict[str, Callable[[Plain, Painter], list[str]]] = {
    "status": status_lines,
    "positions": positions_lines,
    "balance": balance_lines,
    "trades": trades_lines,
}
