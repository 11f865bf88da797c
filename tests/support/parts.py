"""What tests put around an engine to have the real daemon on it; time is moved by hand."""

from collections.abc import Callable
from pathlib import Path

from bot.adapters.journal import Journal
from bot.adapters.latches import Latches
from bot.adapters.outbox import Outbox
from bot.adapters.systemd import Notifier
from bot.shell.clocks import MarketClock
from bot.shell.config import Config
from bot.shell.control import Commands
from bot.shell.daemon import Parts
from bot.shell.engine import Engine
from bot.shell.obedience import Obedience
from bot.shell.progress import Progress, deadlines
from bot.shell.stop import Stop
from bot.shell.telemetry import Telemetry

SNAPSHOT_S = 10.0


class DrillClock:
    """Market time, and with it the monotonic clock, as far as somebody moves it."""

    def __init__(self, start_ms: int) -> None:
        self.start_ms = self.now_ms = start_ms

    def now(self) -> int:
        return self.now_ms

    def seconds_until(self, moment_ms: int) -> float:
        return max(0.0, (moment_ms - self.now_ms) / 1000.0)

    def monotonic(self) -> float:
        return (self.now_ms - self.start_ms) / 1000.0


def make_parts(
    folder: Path,
    config: Config,
    engine: Engine,
    journal: Journal,
    stop: Stop,
    clock: MarketClock,
    next_ms: Callable[[], int | None],
    monotonic: Callable[[], float],
) -> Parts:
    """Return the parts of a daemon in a state directory; nobody is notified."""
    latches = Latches(folder / "latches")
    latches.prepare()
    commands = Commands(lambda reason, by: latches.pull("kill_switch", reason, by, 0))
    names = ("version", "release_id", "content_hash", "config_hash", "run_id", "trading")
    return Parts(
        journal=journal,
        latches=latches,
        outbox=Outbox(folder / "outbox"),
        notifier=Notifier(None, None),
        progress=Progress(deadlines(config, 1.0, lined=True), 0.0),
        telemetry=Telemetry(dict.fromkeys(names, "drill"), monotonic),
        obedience=Obedience(engine, commands, latches, monotonic),
        stop=stop,
        clock=clock,
        next_ms=next_ms,
        snapshot_s=SNAPSHOT_S,
        monotonic=monotonic,
    )
