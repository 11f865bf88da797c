"""A lasting bot as a service: what stands around the daemon, opened and closed in order."""

import faulthandler
import logging
import os
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bot.adapters.control_socket import ControlServer
from bot.adapters.metrics import MetricsServer
from bot.adapters.outbox import Outbox
from bot.adapters.systemd import Notifier
from bot.core.errors import BotError, InputError, UnreachableError
from bot.core.messages import Configured, Effect, Event, Notice, TradeClosed
from bot.core.state import State
from bot.core.summary import RunResult, trade_row
from bot.shell.assemble import Bot, begin_run
from bot.shell.build import to_params, to_tiers
from bot.shell.config import Config, trading_hash
from bot.shell.control import Commands
from bot.shell.daemon import EXTEND_S, Daemon, Parts
from bot.shell.ending import come_to_rest, tell_unrest, unrest
from bot.shell.engine import Engine
from bot.shell.failed_starts import FailedStarts
from bot.shell.obedience import Obedience
from bot.shell.offline import finished_trades
from bot.shell.paper import result_of
from bot.shell.progress import Progress, deadlines
from bot.shell.state_folder import OUTBOX, control_socket
from bot.shell.stop import Stop
from bot.shell.telemetry import Telemetry, resident_bytes
from bot.shell.terminal import Terminal
from bot.shell.untold import tell_untold
from bot.shell.venue import LastingVenue

log = logging.getLogger("radbot")
notices = logging.getLogger("radbot.notices")
LEVELS = logging.getLevelNamesMapping()  # ours have the same names
HOST = "127.0.0.1"
MEMORY_LIMIT = 1_750 * 2**20  # bytes; systemd's MemoryHigh is above it (DESIGN section 6)
SHOWN_TRADES = 100
ROOT = Path(__file__).parents[2]


class TimingError(InputError):
    """The service's own timing is not that of the configuration. Exit code 78."""

    exit_code = 78


class StoppedError(BotError):
    """A person or the service manager has ended it before it had begun. Exit code 0."""

    exit_code = 0


@dataclass(frozen=True, slots=True)
class Wish:
    """How a run shall be."""

    state_dir: Path
    for_ms: int | None
    """market time after which it ends"""
    metrics_port: int
    reread: Callable[[], Config]
    """reads the configuration again, for SIGHUP"""
    speed: float | None = 1.0
    """market seconds per second; None is virtual time"""
    trading: str = "paper"
    """or live: whose money it is"""


def run_service[V: LastingVenue](
    open_bot: Callable[[Stop], Bot[V]],
    config: Config,
    terminal: Terminal,
    wish: Wish,
) -> tuple[RunResult, State, int]:
    """Trade until stopped; return the summary, the final state and the exit code.

    `open_bot` may wake the loop through what it is given.

    Raises
    ------
    BotError : it could not start, and why; StoppedError when somebody would not wait for it
    """
    if hasattr(faulthandler, "enable"):  # the watchdog ends a hung process with SIGABRT
        faulthandler.enable()
    began = time.monotonic()
    with Stop() as stop:
        notifier = Notifier.from_environ(os.environ)
        check_timing(config, notifier.watchdog_s)
        notifier.extend(EXTEND_S)
        try:
            bot = open_bot(stop)
        except UnreachableError as error:
            if not stop.asked or error.exit_code != UnreachableError.exit_code:
                raise
            raise StoppedError(f"stopped before it had begun: {error}") from error
        clean = False
        try:
            code = serve(bot, config, terminal, wish, notifier, stop)
            elapsed_s = time.monotonic() - began
            trades, daily = bot.journal.trades(), bot.journal.daily()
            result = result_of(bot.engine, bot.source, elapsed_s, trades, daily)
            clean = True
        finally:
            bot.close(clean=clean)
    terminal.stopped(stop.asked, flat=bot.engine.state.flat)
    return result, bot.engine.state, code


def check_timing(config: Config, watchdog_s: float | None) -> None:
    """Raise TimingError unless the service manager waits as long for progress as configured: the
    deadlines of the configuration are checked against that time."""
    expected = config.timing.watchdog_s
    if watchdog_s is not None and watchdog_s != expected:
        raise TimingError(
            f"watchdog: expected WatchdogSec={expected:g}, as timing.watchdog_s, was "
            f"{watchdog_s:g}: make the two equal"
        )


def program_version() -> str:
    """Return the version in pyproject.toml, which is part of every release."""
    try:
        text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        return str(tomllib.loads(text)["project"]["version"])
    except (OSError, ValueError, KeyError):
        return "unknown"


def serve[V: LastingVenue](
    bot: Bot[V], config: Config, terminal: Terminal, wish: Wish, notifier: Notifier, stop: Stop
) -> int:
    """Open what stands beside the loop, recover, run the loop; return the exit code."""
    identity = {
        "version": program_version(),
        "release_id": os.environ.get("RADBOT_RELEASE_ID", "checkout"),
        "content_hash": os.environ.get("RADBOT_CONTENT_HASH", "unknown"),
        "config_hash": trading_hash(config),
        "trading": wish.trading,
        "run_id": bot.run_id,
    }
    telemetry = Telemetry(identity)
    journal = bot.journal
    telemetry.restore(journal.trades(SHOWN_TRADES), journal.daily(), journal.trade_counts())
    commands = Commands(
        lambda reason, by: bot.latches.pull("kill_switch", reason, by, int(time.time() * 1000)),
        stop.wake,
        stored=lambda last: finished_trades(journal.path, last),
    )
    parts = build_parts(bot, config, wish, notifier, stop, telemetry, commands)
    daemon = Daemon(bot.engine, parts)
    parts.listeners += [terminal.show, log_effects(bot.engine.state.symbols)]
    publisher = Publisher(bot, parts, commands, terminal)
    parts.publish = publisher.publish
    reloader = Reloader(bot.engine, config, wish.reread, telemetry)
    parts.reload = reloader.reload
    bot.venue.while_waiting(daemon.alive)
    metrics = MetricsServer(
        HOST, wish.metrics_port, lambda: telemetry.latest, time.monotonic, stalled_after(config)
    )
    try:
        control = ControlServer(control_socket(wish.state_dir), commands.handle)
        try:
            publisher.publish(bot.engine.state)
            begin_run(bot, config, identity)
            tell_untold(daemon)
            with FailedStarts(wish.state_dir).watching(bot, daemon):
                if not daemon.recover(lambda now: bot.recover(config, now)):
                    if what := unrest(bot.engine.state):
                        tell_unrest(daemon, "not_at_rest", "; ".join(what))
                    return daemon.code
                publisher.ready = True
                end_ms = None if wish.for_ms is None else parts.clock.start_ms + wish.for_ms
                code = daemon.run(end_ms)
                come_to_rest(daemon, close=stop.asked and reloader.config.on_stop == "close")
                return code
        finally:
            notifier.stopping()
            daemon.post()
            control.close()
    finally:
        metrics.close()


def stalled_after(config: Config) -> float:
    """Return after how many seconds without a turn of the loop /healthz says it hangs."""
    return config.timing.watchdog_s


def build_parts[V: LastingVenue](
    bot: Bot[V],
    config: Config,
    wish: Wish,
    notifier: Notifier,
    stop: Stop,
    telemetry: Telemetry,
    commands: Commands,
) -> Parts:
    """Return what the daemon needs besides the engine."""
    limits = deadlines(config, wish.speed or 1.0, lined=bot.venue.line() is not None)
    return Parts(
        journal=bot.journal,
        latches=bot.latches,
        outbox=Outbox(wish.state_dir / OUTBOX),
        notifier=notifier,
        progress=Progress(limits, time.monotonic()),
        telemetry=telemetry,
        obedience=Obedience(bot.engine, commands, bot.latches),
        stop=stop,
        clock=bot.clock,
        next_ms=bot.venue.next_ms,
        snapshot_s=config.timing.snapshot_s,
        prompted=bot.venue.prompted,
        take_errors=bot.venue.take_errors,
        line=bot.venue.line,
        memory_limit=MEMORY_LIMIT,
        resident=resident_bytes,
    )


def log_effects(names: Sequence[str]) -> Callable[[Event, list[Effect]], None]:
    """Return what writes to the log what a person may want to know; a terminal shows it itself."""

    def told(level: int, text: str, kind: str, symbol: int, market_ms: int) -> None:
        name = names[symbol] if symbol >= 0 else None
        notices.log(level, text, extra={"kind": kind, "symbol": name, "market_ms": market_ms})

    def log_all(_event: Event, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Notice):
                level = LEVELS[effect.level.value]
                told(level, effect.text, effect.kind, effect.symbol, effect.now_ms)
            elif isinstance(effect, TradeClosed):
                trade = effect.trade
                text = f"trade closed: {trade.pnl:+.2f} USDT"
                told(logging.INFO, text, "trade", trade.symbol, trade.exit_time)

    return log_all


class Publisher:
    """Shows each turn's outcome to threads, to the service manager and to the terminal."""

    def __init__[V: LastingVenue](
        self, bot: Bot[V], parts: Parts, commands: Commands, terminal: Terminal
    ) -> None:
        self.engine, self.latches = bot.engine, bot.latches
        self.parts, self.commands, self.terminal = parts, commands, terminal
        self.names = list(bot.engine.state.symbols)
        self.ready = False
        self.shown_ms = 0
        self.said = ""
        self.trades = [trade_row(t, self.names) for t in bot.journal.trades(SHOWN_TRADES)]

    def publish(self, state: State) -> None:
        """Replace the picture."""
        parts = self.parts
        record = self.engine.record
        fresh = [trade_row(trade, self.names) for trade in record.trades]
        record.trades.clear()  # the journal has them
        record.daily.clear()
        self.trades = [*self.trades, *fresh][-SHOWN_TRADES:]
        data_ms = parts.telemetry.data_ms or state.decided_ms
        extra = {
            "data_age_seconds": max(0.0, (parts.clock.now() - data_ms) / 1000.0),
            "latched": float(self.latches.pulled),
            "memory_limit_bytes": float(MEMORY_LIMIT),
            "outbox_waiting": float(len(parts.outbox.waiting)),
            "watchdog_pings_total": float(parts.notifier.pings),
        }
        told = parts.telemetry.publish(state, self.ready, extra, parts.line())
        self.commands.publish(told, self.trades)
        text = f"{told['mode']}, {len(told['positions'])} open, equity {told['equity']:.2f} USDT"
        if text != self.said:
            self.said = text
            parts.notifier.status(text)
        if state.decided_ms > self.shown_ms:
            self.shown_ms = state.decided_ms
            self.terminal.bar(self.engine)


class Reloader:
    """SIGHUP: the new configuration takes over whole, or not at all."""

    def __init__(
        self, engine: Engine, config: Config, reread: Callable[[], Config], telemetry: Telemetry
    ) -> None:
        self.engine, self.config, self.reread, self.telemetry = engine, config, reread, telemetry

    def reload(self) -> None:
        """Read, check and apply; say what happened. The old one stays on any error."""
        try:
            new = self.reread()
        except BotError as error:
            log.error("reload refused, the old configuration stays: %s", error)
            return
        fixed = ("symbols", "timeframe", "strategies", "balance", "timing", "exchange", "paper")
        changed = [name for name in fixed if getattr(new, name) != getattr(self.config, name)]
        if changed:
            log.error("reload refused: %s need a restart", ", ".join(changed))
            return
        known = trading_hash(new)
        now = self.engine.state.now_ms
        self.engine.feed(Configured(now, known, to_params(new), tuple(to_tiers(new))))
        self.config = new
        self.telemetry.identity["config_hash"] = known
        log.warning("configuration %s is in force", known)
