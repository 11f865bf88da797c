"""What people ask of the running bot, carried out by the loop: kill, close, halt, resume.

A kill or a close is answered when the exchange says that nothing is left, not when it was asked.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from bot.adapters.latches import Latches
from bot.core.kernel.codes import FLAT
from bot.core.messages import Command, Operator
from bot.core.observations import ForeignOrder
from bot.shell.control import LONGEST_S, Commands, Request
from bot.shell.engine import Engine
from bot.shell.others import order_text, position_text, told_of_others

log = logging.getLogger("radbot")
NOT_OURS = (
    "the exchange shows a position that is not the bot's: close it by hand, or stop the bot and "
    "give the same command again, which closes whatever is there"
)


@dataclass(slots=True)
class Waiting:
    """A request that ends when a read of the account shows its symbols flat."""

    request: Request
    symbols: list[int]
    began: float
    reads: int
    """reads of the account, by the engine's count, that do not speak of the time after it began"""
    left: int = -1
    """positions still held when last told"""


class Obedience:
    """Turns requests into operator events and tells the asker how it goes."""

    def __init__(
        self,
        engine: Engine,
        commands: Commands,
        latches: Latches,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.engine = engine
        self.commands = commands
        self.latches = latches
        self.monotonic = monotonic
        self.waiting: list[Waiting] = []

    def obey(self, now: int) -> None:
        """Carry out what was asked since the last turn; `now` is market time, ms."""
        for request in self.commands.take():
            self.start(request, now)
        self.waiting = [one for one in self.waiting if not self.finished(one)]

    def start(self, request: Request, now: int) -> None:
        """Begin one request."""
        state, command = self.engine.state, Command(request.command)
        said = request.fields
        by = f"{said.get('reason') or 'no reason given'} (by {said.get('by', 'unknown')})"
        symbol = state.symbols.index(str(said["symbol"])) if command is Command.CLOSE else -1
        if command is Command.RESUME:
            # First: who cannot take the latch away resumes nothing. A crash in between leaves the
            # cause in the journal, which is the safe side.
            kept = self.release()
            if kept:
                request.finish({"error": f"{kept}; nothing is resumed", "code": 75})
                return
        self.engine.feed(Operator(now, command, by, symbol))
        if self.engine.careful and command in (Command.KILL, Command.CLOSE):
            # It does what it can, but whether that is all only the exchange knows.
            request.finish({"error": "the bot's books cannot be trusted", "code": 75})
            return
        if command in (Command.RESUME, Command.HALT):
            request.finish({"mode": state.modes.name})
            return
        symbols = list(range(len(state.symbols))) if symbol < 0 else [symbol]
        reads = self.engine.reads + self.engine.reading
        self.waiting.append(Waiting(request, symbols, self.monotonic(), reads))

    def release(self) -> str:
        """Take the latch away; return why it is still there, or an empty text."""
        try:
            self.latches.release()
        except OSError as error:
            if self.latches.read() is not None:
                return f"the latch cannot be taken away: {error}"
            log.error("latches: released, but not ready for the next: %s", error)
        return ""

    def finished(self, one: Waiting) -> bool:
        """Tell how a kill or close goes; return whether it is done, or nobody waits any longer."""
        state = self.engine.state
        held = [k for k in one.symbols if state.world.positions[k].side != FLAT]
        seconds = round(self.monotonic() - one.began, 3)
        read = self.engine.reads > one.reads
        if read and not held and not any(state.live_orders(k) for k in one.symbols):
            ended = {"seconds": seconds, "mode": state.modes.name}
            doubted = [k for k in one.symbols if state.guards[k].differs]
            if not doubted:
                one.request.finish({"flat": True, **ended, **self.untouched(one)})
                return True
            if all(state.lasting(k) for k in doubted):
                names = [state.symbols[k] for k in doubted]
                one.request.finish({"flat": False, "left": names, "note": NOT_OURS, **ended})
                return True
        if seconds > LONGEST_S:  # its asker was told so; the core goes on closing
            return True
        if len(held) != one.left:
            one.left = len(held)
            names = [state.symbols[k] for k in held]
            one.request.answer({"closing": names, "seconds": seconds})
        return False

    def untouched(self, one: Waiting) -> dict[str, object]:
        """Return what is said of orders and positions of others, as the account was read last: who
        closes one symbol asks for its orders alone."""
        names, texts = self.engine.state.symbols, []
        everything = one.request.command == Command.KILL.value
        for event in self.engine.foreign:
            if isinstance(event, ForeignOrder):
                if everything or event.symbol in one.symbols:
                    name = names[event.symbol] if event.symbol >= 0 else None
                    texts.append(order_text(event.client_id, name))
            elif everything:
                texts.append(position_text(event.name))
        return told_of_others(texts)
