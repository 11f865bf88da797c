"""What a person sees while the bot trades: one line for each thing that happened, and a status
line.

Written for a watching person; when the output is piped there is no status line and no colour. The
same lines go to `logs/bot.log` in foreground runs.
"""

import logging
import os
import shutil
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from bot.adapters.logs import file_handler, set_up
from bot.adapters.voice import Voice
from bot.core.kernel.codes import FLAT, REASON_NAMES, REGIME_NAMES, SIDE_NAMES, STRATEGY_NAMES
from bot.core.kernel.records import Trade
from bot.core.market import HOUR_MS
from bot.core.messages import Effect, Event, Level, Notice, TradeClosed
from bot.core.state import State
from bot.shell.engine import Engine

GREEN, RED, YELLOW, DIM, RESET = "\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[2m", "\x1b[0m"
HIDDEN = {"operator"}


def clock(ms: int) -> str:
    """Return a market time for people, UTC.

    >>> clock(1704067260000)
    '2024-01-01 00:01'
    """
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def span(ms: int) -> str:
    """Return a duration for people.

    >>> span(5_400_000)
    '1h 30m'
    """
    minutes = ms // 60_000
    days, hours, rest = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days}d {hours}h"
    return f"{hours}h {rest:02d}m" if hours else f"{rest}m"


def file_log(folder: Path, secrets: Iterable[str] = ()) -> logging.Logger | None:
    """Return a logger that writes to `folder/bot.log`, or None where that cannot be written."""
    logger = logging.getLogger("radbot.foreground")
    logger.handlers.clear()
    logger.propagate = False
    logger.setLevel(logging.INFO)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        logger.addHandler(file_handler(folder / "bot.log", secrets))
    except OSError as error:
        logging.getLogger("radbot").warning("no log file: %s", error)
        return None
    return logger


def open_terminal(
    symbols: tuple[str, ...], *, as_json: bool, lasting: bool, secrets: Iterable[str] = ()
) -> "Terminal":
    """Set logs up and return what shows a run, as it is started: by a person or by a service
    manager, whose log takes our stderr and is the only one on a host.

    Parameters
    ----------
    lasting : it runs in real time: nobody who does not read may hold it up
    """
    journald = "JOURNAL_STREAM" in os.environ
    stream = sys.stderr if journald else Voice(sys.stderr, patient=not lasting)
    set_up(stream, as_json=journald, secrets=secrets)
    logging.getLogger("radbot.notices").disabled = not journald  # elsewhere the terminal shows them
    log = file_log(Path("logs"), secrets) if lasting and not journald else None
    return Terminal(symbols, as_json or journald, Voice(sys.stdout, patient=not lasting), log)


class Terminal:
    """Prints what the engine does. Silent with `quiet` (for --json), except for the log file."""

    def __init__(
        self, state_symbols: tuple[str, ...], quiet: bool, out: Voice, log: logging.Logger | None
    ) -> None:
        self.symbols = [name.removesuffix("-USDT-PERP") for name in state_symbols]
        self.width = max(len(name) for name in self.symbols)
        self.quiet = quiet
        self.out = out
        self.log = log
        self.live = not quiet and out.isatty() and os.environ.get("TERM") != "dumb"
        self.colour = self.live and "NO_COLOR" not in os.environ
        self.status_shown = False
        self.refusals: dict[str, int] = {}

    def paint(self, text: str, colour: str) -> str:
        return f"{colour}{text}{RESET}" if self.colour else text

    def line(self, now_ms: int, symbol: int, text: str, colour: str = "") -> None:
        """Print one line about a symbol, or about the account (-1)."""
        name = self.symbols[symbol] if symbol >= 0 else ""
        row = f"{clock(now_ms)}  {name:<{self.width}}  {text}"
        if self.log is not None:
            self.log.info(row)
        if self.quiet:
            return
        self.clear_status()
        self.out.write(f"{self.paint(row, colour) if colour else row}\n")

    def show(self, _event: Event, effects: list[Effect]) -> None:
        """Show what one event led to."""
        for effect in effects:
            if isinstance(effect, TradeClosed):
                self.trade(effect.trade)
            elif isinstance(effect, Notice) and effect.kind not in HIDDEN:
                self.notice(effect)

    def notice(self, notice: Notice) -> None:
        """Show a notice in the colour of its level; refusals are dim, they are the usual case."""
        colour = {Level.WARNING: YELLOW, Level.CRITICAL: RED}.get(notice.level, "")
        if notice.kind == "refused":
            reason = notice.text.rpartition(": ")[2]
            self.refusals[reason] = self.refusals.get(reason, 0) + 1
            colour = DIM
        mark = "" if notice.level is Level.INFO else f"{notice.level.value} "
        self.line(notice.now_ms, notice.symbol, mark + notice.text, colour)

    def trade(self, trade: Trade) -> None:
        """Show a finished round trip."""
        text = (
            f"closed {SIDE_NAMES[trade.side]} {trade.contracts:g} at {trade.exit_price:g} "
            f"by {REASON_NAMES[trade.reason]} after {span(trade.exit_time - trade.entry_time)}: "
            f"{trade.pnl:+,.2f} USDT ({STRATEGY_NAMES[trade.strategy]})"
        )
        self.line(trade.exit_time, trade.symbol, text, GREEN if trade.pnl > 0.0 else RED)

    def bar(self, engine: Engine) -> None:
        """Say once an hour of market time what the bot sees; refresh the status line."""
        if engine.state.now_ms % HOUR_MS == 0:
            self.line(engine.state.now_ms, -1, self.seen(engine.state), DIM)
        if self.live:
            self.clear_status()
            text = f"{clock(engine.state.now_ms)}  {standing(engine.state)}"
            # Only what fits into one row can be taken back.
            self.out.write(self.paint(text[: shutil.get_terminal_size().columns - 1], DIM))
            self.out.flush()
            self.status_shown = True

    def seen(self, state: State) -> str:
        """Return every symbol's price and market regime, and where the account stands."""
        parts = [
            f"{name} {s.mark:g} {REGIME_NAMES[s.regime]}"
            for name, s in zip(self.symbols, state.world.symbols, strict=True)
        ]
        return f"{', '.join(parts)}; {standing(state)}"

    def clear_status(self) -> None:
        if self.status_shown:
            self.out.write("\r\x1b[2K")
            self.status_shown = False

    def stopped(self, by_person: bool, *, flat: bool = False) -> None:
        """End the status line; say so when a person stopped the run."""
        self.clear_status()
        if by_person and not self.quiet:
            left = (
                "nothing is open" if flat else "open positions stay as they are, under their stops"
            )
            self.out.write(f"stopped: {left}\n")


def standing(state: State) -> str:
    """Return where the account stands."""
    account = state.world.account
    gain = account.equity - account.deposits
    open_ = sum(pos.side != FLAT for pos in state.world.positions)
    return (
        f"equity {account.equity:,.2f} ({gain:+,.2f}), drawdown {100 * account.drawdown:.1f} %, "
        f"{open_} open, {account.trades} trades, {state.modes.name}"
    )
