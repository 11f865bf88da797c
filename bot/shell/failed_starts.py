"""A bot whose starts end by an exception, again and again, protects and halts instead of starting
for ever.

An exception ends the process, because state may be half changed, and the service manager starts it
again. Where the cause lies in what the account or the journal says, that start ends in the same
way. So such ends are counted in a file, and after `MOST_FAILED` in a row the bot comes up careful
(`Engine.careful`): in HALT until a person resumes, leaving out every event that the core cannot
take, and treating a call of the exchange that raises as one without an answer. It still sees to
stops.
"""

import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bot.core.errors import BotError, UnreachableError
from bot.core.messages import Command, Condition, Cycle, Effect, Event, Level, Operator
from bot.core.modes import Cause
from bot.core.text import clean
from bot.shell.assemble import Bot
from bot.shell.config import Config
from bot.shell.daemon import Daemon
from bot.shell.engine import failing_as
from bot.shell.state_folder import FAILED_STARTS
from bot.shell.venue import LastingVenue

log = logging.getLogger("radbot")
MOST_FAILED = 2
PROVED_CYCLES = 3
"""decisions after which a start counts as good"""


class FailedStarts:
    """The starts in a row that have ended by an exception, kept in a state directory."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / FAILED_STARTS
        self.cycles = 0

    def known(self) -> list[str]:
        """Return what ended the last starts; nothing when they were good."""
        try:
            return [str(text) for text in json.loads(self.file.read_bytes())]
        except (OSError, ValueError, TypeError):
            return []

    def add(self, error: Exception) -> None:
        """Count a start that has ended by `error`."""
        texts = [*self.known(), clean(f"{type(error).__name__}: {error}")][-MOST_FAILED:]
        try:
            temporary = self.file.with_suffix(".tmp")
            with temporary.open("w", encoding="utf-8") as file:
                json.dump(texts, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.file)
        except OSError as trouble:
            log.error("start: its failure could not be counted: %s", trouble)

    def forget(self) -> None:
        """Begin to count anew."""
        try:
            self.file.unlink(missing_ok=True)
        except OSError as trouble:
            log.error("start: its success could not be noted: %s", trouble)

    @contextmanager
    def watching[V: LastingVenue](self, bot: Bot[V], daemon: Daemon) -> Iterator[None]:
        """Count when a run that begins inside ends by an exception; begin it careful after too
        many."""
        texts = self.known()
        again = Cause.RECOVERY_FAILED in bot.engine.state.modes.causes
        if again or len(texts) >= MOST_FAILED:
            begin_careful(bot, daemon, texts)

        def heard(event: Event, _effects: list[Effect]) -> None:
            if isinstance(event, Operator) and event.command is Command.RESUME:
                bot.engine.careful = False
                self.forget()
            elif isinstance(event, Cycle) and not bot.engine.careful:
                self.cycles += 1
                if self.cycles == PROVED_CYCLES:
                    self.forget()

        daemon.parts.listeners.append(heard)
        try:
            yield
        except Exception as error:
            # Others have exit codes that tell the service manager what to do.
            if not isinstance(error, BotError) or error.exit_code == BotError.exit_code:
                self.add(error)
            raise


def begin_careful[V: LastingVenue](bot: Bot[V], daemon: Daemon, texts: list[str]) -> None:
    """Halt until a person resumes, and let nothing end the process."""
    engine, now = bot.engine, bot.engine.state.now_ms
    told: set[str] = set()

    def left_out(event: Event, error: Exception) -> None:
        text = f"{type(event).__name__} is left out: {type(error).__name__}: {error}"
        if text not in told:
            log.error("careful: %s", text, exc_info=error)
            daemon.tell(Level.CRITICAL, "event_left_out", text, now)
        told.add(text)

    engine.careful, engine.left_out = True, left_out
    bot.recover = carefully(bot.recover)
    engine.feed(Condition(now, Cause.RECOVERY_FAILED, True))
    engine.state.modes.tighten(Cause.RECOVERY_FAILED, now)  # should even that be left out
    text = "starts have failed: stops are kept up, nothing is traded until `radbot resume`"
    log.error("start: %s; %s", text, "; ".join(texts))
    daemon.tell(Level.CRITICAL, "recovery_failed", "; ".join([text, *texts]), now)


def carefully(recover: Callable[[Config, int], None]) -> Callable[[Config, int], None]:
    """Return a recovery that finds the exchange unreachable where it would raise."""

    def careful(config: Config, now: int) -> None:
        with failing_as(UnreachableError, active=True):
            recover(config, now)

    return careful
