"""One cell of the fault matrix: a live bot on the wire simulator, a fault at a phase of its order's
life, and what must be true afterwards.

For every cell, whatever its fault: no order twice, no position that two entries have built, none
without its stops for longer than the deadline, every fill booked, books as the exchange's own, few
orders in memory, the mode as before, flat and latched by the kill switch, and every decision again
from the journal.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from bot.core.kernel.codes import FLAT, FLATTEN
from bot.core.messages import Command, Effect, Event, Notice, Operator, PlaceOrder
from bot.core.modes import Cause
from bot.core.state import State
from tests.support.cover import UNCOVERED
from tests.support.wire import Simulator
from tests.support.wire_drills import SOON_MS, WireDrill, drill_config, plan
from tests.support.wire_faults import ROLES, Aim, Cell, Deed, Phase, Plain

SYMBOLS = "BTC-USDT-PERP,ETH-USDT-PERP,SOL-USDT-PERP"
MARKET = (
    "--market", "synthetic", "--symbols", SYMBOLS, "--seed", "2", "--speed", "step",
    "--history", "700",
)  # fmt: skip
"""words of the simulator on whose rows the starts were found"""
LATENCY_MS = [5, 250]
MOST_TO_ORDER_MS = 240_000
"""after the start the phase's order has gone out"""
MOST_TO_PEACE_MS = 180_000
"""after the fault everything is in order again"""
AGREED_MS = 11_000
"""books and exchange agree this long, an account snapshot in between: nothing more is to come"""
BUSY_TURNS = 20
"""so many short steps of time, then longer ones: an order in doubt waits for half a minute"""
LONG_MS = 1_500
METRIC_LAG_S = 3.0
"""a second between two reads, and a turn of LONG_MS"""
SOCKET_S = 5.0
MOST_ORDERS = 30
"""live orders that the bot may have; what grows is bounded"""


@dataclass(frozen=True)
class Start:
    """A row of the market at whose end a bot enters, and replaces its stop a bar or two later."""

    row: int
    depth: int = 10_000
    """contracts at the market price: few of them, and orders fill in parts"""

    def setting(self, seed: int = 1) -> Plain:
        """Return what the simulator is reset to."""
        return {"skip": self.row, "seed": seed, "depth": self.depth, "latency_ms": LATENCY_MS}


# Found by `python -m tests.support.wire_starts 640 1040 DEPTH`.
STARTS = (
    Start(821),  # ETH long
    Start(677),  # SOL short, in four parts
    Start(739, 40),  # BTC long, in three parts
    Start(848, 100_000),  # SOL long
)


class FaultDrill(WireDrill):
    """A bot that is about to enter, and the fault of a cell."""

    def __init__(self, folder: Path, exchange: Simulator, cell: Cell, seed: int) -> None:
        exchange.ask("reset", STARTS[seed % len(STARTS)].setting(seed))
        words = ("exchange.websocket=true",) if cell.fault.sockets else ()
        super().__init__(folder, exchange, config=drill_config(exchange, *words))
        self.cell, self.fault = cell, cell.fault
        self.shared = cell.fault.turns
        self.rng = Random(f"{seed} {cell}")
        self.symbol = -1
        """of the phase's order"""
        self.armed = False
        """the phase's order brings the fault"""
        self.struck = False
        self.deeds: tuple[Deed, ...] = ()
        """come when the exchange holds a position: before the bot's turn, or after it"""
        self.early = self.rng.random() < 0.5
        self.back_ms = 0
        """when the fault is taken back; 0: it is not"""
        self.causes: set[Cause] = set()
        """what has held the bot back since the fault came"""
        self.notices: Counter[str] = Counter()
        self.fired: list[Plain] = []
        """the faults of the wire that were taken back"""
        self.busy_turns = 0
        self.told_s = 0.0
        """the longest uncovered time that the metrics have shown"""

    def open_bot(self) -> None:
        super().open_bot()
        self.submit, self.venue.submit = self.venue.submit, self.sending  # type: ignore[method-assign]
        self.daemon.parts.listeners.append(self.listen)
        self.daemon.parts.publish = self.publish

    # Time.

    def step(self) -> int:
        """Return how far time may go at once, ms: further when much has been waited for."""
        usual = super().step()
        self.busy_turns = self.busy_turns + 1 if usual == SOON_MS else 0
        if self.back_ms:
            usual = int(self.fault.stride_s * 1000) or usual
        return LONG_MS if usual == SOON_MS and self.busy_turns > BUSY_TURNS else usual

    def meanwhile(self) -> None:
        if self.back_ms and self.clock.now_ms >= self.back_ms:
            self.take_back()
        if self.early:
            self.do_deeds()

    def watch(self) -> None:
        super().watch()
        self.do_deeds()
        assert len(self.state.orders) <= MOST_ORDERS, f"{len(self.state.orders)} live orders"

    def until(self, what: str, true: Callable[[], bool], most_ms: int) -> None:
        """Let time pass until something is true."""
        end_ms = self.clock.now_ms + most_ms
        while not true():
            assert self.clock.now_ms < end_ms, f"{what}: not within {most_ms // 1000} s"
            self.turn()

    # The fault.

    def listen(self, event: Event, effects: list[Effect]) -> None:
        """Note what people are told, and what holds the bot back."""
        self.notices.update(effect.kind for effect in effects if isinstance(effect, Notice))
        if self.struck:
            self.causes |= set(self.state.modes.causes)

    def publish(self, state: State) -> None:
        """Publish as the service does; note for how long the metrics call a position uncovered."""
        telemetry = self.daemon.parts.telemetry
        telemetry.publish(state, True, {})
        samples = telemetry.latest.samples
        longest = max(samples["uncovered_seconds"].values())
        assert samples["unprotected_seconds"] == {(): longest}
        self.told_s = max(self.told_s, longest)

    def sending(self, order: PlaceOrder, now: int) -> Event | None:
        """Let the fault come the moment before the order of its phase goes out."""
        if self.armed and self.is_of_phase(order):
            self.strike(order.symbol)
        return self.submit(order, now)

    def is_of_phase(self, order: PlaceOrder) -> bool:
        return order.role.value == ROLES[self.cell.phase] and self.symbol in (-1, order.symbol)

    def strike(self, symbol: int) -> None:
        """Let the fault come."""
        self.symbol, self.armed, self.struck = symbol, False, True
        plan(self.exchange, self.cell.specs(self.rng))
        self.deeds = self.fault.deeds
        if self.cell.phase is not Phase.ENTRY and self.early:
            self.do_deeds()
        self.line_down = self.fault.blind
        if self.fault.lasts_s:
            self.back_ms = self.clock.now_ms + int(self.fault.lasts_s * 1000)

    def do_deeds(self) -> None:
        """Do what people and the exchange do, once there is a position (and a stop to cancel)."""
        if not self.deeds:
            return
        truth = self.exchange.truth()
        wants_stop = self.deeds[0][1]["do"] == "cancel"
        if truth["positions"] and (not wants_stop or self.stops(truth)):
            deeds, self.deeds = self.deeds, ()
            self.do(deeds)

    def stops(self, truth: Plain) -> list[Plain]:
        """Return the stops on the phase's symbol, oldest first."""
        name = self.state.symbols[self.symbol]
        return [o for o in truth["orders"] if o["role"] == "stop" and o["symbol"] == name]

    def do(self, deeds: tuple[Deed, ...]) -> None:
        for path, said in deeds:
            self.exchange.ask(path, said | self.details(said))

    def details(self, said: Plain) -> Plain:
        """Return what a deed needs to know: the symbol, the newest stop, a coarser grid."""
        name = self.state.symbols[self.symbol]
        match said["do"]:
            case "cancel":
                return {"client_id": self.stops(self.exchange.truth())[-1]["client_id"]}
            case "tick_size":
                return {"symbol": name, "tick": 10.0 * self.venue.specs[self.symbol].tick}
            case "transfer":
                return {}
        return {"symbol": name}

    def take_back(self) -> None:
        """Let the fault be over."""
        self.back_ms, self.line_down = 0, False
        self.fired = self.exchange.ask("faults")["faults"]
        self.exchange.ask("faults", method="DELETE")
        self.do(self.fault.undo)

    # The story.

    def play(self) -> None:
        """Bring the bot to the phase, let the fault come, and see that all is well in the end."""
        self.start()
        if self.fault.sockets:
            self.wait_for_socket()
        phase = self.cell.phase
        self.armed = phase is Phase.ENTRY
        if phase is not Phase.ENTRY:
            self.until("a covered position", self.at_rest, MOST_TO_ORDER_MS)
            self.symbol = next(k for k, p in enumerate(self.state.world.positions) if p.side)
            self.armed = True
        if phase in (Phase.EXIT, Phase.KILL):
            self.command(Command.CLOSE if phase is Phase.EXIT else Command.KILL)
            self.do_deeds()
        self.until("the order of the phase", lambda: self.struck, MOST_TO_ORDER_MS)
        self.until("the end of the fault", self.is_over, 10**9)
        self.find_peace()
        if self.fault.sockets and phase is Phase.STOP:  # what is silent would have told of an exit
            self.command(Command.CLOSE)
            self.find_peace()
        self.check_fault()
        self.end()

    def command(self, command: Command) -> None:
        """Let a person command something."""
        now = max(self.clock.now(), self.state.now_ms)
        self.bot.engine.feed(Operator(now, command, "drill", self.symbol))

    def wait_for_socket(self) -> None:
        """Wait until the bot listens."""
        end = time.monotonic() + SOCKET_S
        while not any(self.exchange.truth()["sockets"]):
            assert time.monotonic() < end, "the bot has no socket"
            self.stop.wait(0.02)

    def at_rest(self) -> bool:
        """Return whether something is held and nothing is under way."""
        held = any(p.side != FLAT for p in self.state.world.positions)
        return held and self.peaceful()

    def is_over(self) -> bool:
        return not (self.back_ms or self.deeds)

    def peaceful(self) -> bool:
        """Return whether nothing is under way or in doubt in the bot's books."""
        state = self.state
        doubts = state.wallet_doubts or state.puzzles or any(g.differs for g in state.guards)
        down = Cause.EXCHANGE_UNREACHABLE in state.modes.causes
        resting = all(order.rests for order in state.orders.values())
        held = [k for k, p in enumerate(state.world.positions) if p.side != FLAT]
        covered = all(state.covered(k) >= state.world.positions[k].contracts for k in held)
        return resting and covered and not (doubts or down or self.venue.flying)

    def find_peace(self) -> None:
        """Let time pass until books and exchange have agreed for a while."""
        end_ms, since = self.clock.now_ms + MOST_TO_PEACE_MS, 0
        while not since or self.clock.now_ms - since < AGREED_MS:
            self.turn()
            if self.agrees() and self.peaceful() and not self.wants_exit():
                since = since or self.clock.now_ms
                continue
            since = 0
            if self.clock.now_ms > end_ms:
                self.check()
                raise AssertionError(f"no peace: {self.describe()}")

    def agrees(self) -> bool:
        """Return whether the books are the exchange's."""
        try:
            self.check()
        except AssertionError:
            return False
        return True

    def wants_exit(self) -> bool:
        """Return whether something is held that has to go."""
        phase, positions = self.cell.phase, self.state.world.positions
        if phase is Phase.KILL:
            return any(p.side != FLAT for p in positions)
        return phase is Phase.EXIT and self.state.guards[self.symbol].closing

    def describe(self) -> str:
        orders = {name: o.status.value for name, o in self.state.orders.items()}
        return f"orders {orders}, puzzles {self.state.puzzles}, guards {self.state.guards}"

    # What must follow.

    def check_fault(self) -> None:
        """See that the fault came, and that its own consequences are as documented."""
        fault, state = self.fault, self.state
        late = fault.locks and self.cell.phase in (Phase.EXIT, Phase.KILL)
        # Somebody closes what the bot closes: whose order comes first is open.
        self.check_fired()
        counted = self.daemon.parts.telemetry.errors
        assert all(counted[kind] > 0 for kind in fault.errors), counted
        self.bucket.check()
        assert bool(self.bucket.pauses) == any(spec.get("status") == 429 for spec in fault.wire)
        assert set(fault.causes) <= self.causes, self.causes
        expected = {*fault.leaves, Cause.KILL_SWITCH} if self.is_kill else {*fault.leaves}
        left = set(state.modes.causes)
        assert set(fault.leaves) & set(fault.causes) <= left <= expected, left
        if fault.notices and not late:
            assert self.notices.keys() & set(fault.notices), self.notices
        if fault.locks and not late:
            assert state.guards[self.symbol].locked_until > 0
        if fault.turns:
            # An order that was under way may have met it; nothing was sent for it since.
            assert self.notices["order_rejected"] <= 1, self.notices
            assert self.notices["uncovered"] == 0, self.notices
        self.check_metric()
        # Another tick size is noticed by the first order that it refuses; no other fault is one.
        anew = any(said["do"] == "tick_size" for _, said in fault.deeds)
        assert self.restarts == int(anew and self.notices["order_rejected"] > 0)
        if "foreign_order" in fault.notices:
            orders = self.exchange.truth()["orders"]
            assert any(not self.ours(order["client_id"]) for order in orders), "it was touched"

    def check_metric(self) -> None:
        """See that the metrics have shown the uncovered time that there was, and no other; what a
        bot cannot read it cannot show."""
        real_s, timing = self.cover.longest[UNCOVERED] / 1000.0, self.config.timing
        if "uncovered" in self.fault.notices:
            assert real_s >= timing.uncovered_close_s
        if not self.fault.blind:
            assert self.told_s <= real_s + METRIC_LAG_S, (self.told_s, real_s)
        if real_s > timing.uncovered_alert_s and self.fault.aim is not Aim.READ:
            assert self.told_s >= real_s - METRIC_LAG_S, (self.told_s, real_s)
        assert self.daemon.parts.telemetry.latest.samples["unprotected_seconds"] == {(): 0.0}

    @property
    def is_kill(self) -> bool:
        return self.cell.phase is Phase.KILL

    def check_fired(self) -> None:
        """See that every fault of the wire has come; a socket connects again in its own time."""
        end = time.monotonic() + SOCKET_S
        while True:
            known = self.fired or self.exchange.ask("faults")["faults"]
            missing = [fault for fault in known if not fault["fired"]]
            if not missing:
                return
            assert self.fault.sockets, f"it never came: {missing}"
            assert time.monotonic() < end, f"it never came: {missing}"
            self.stop.wait(0.05)

    def end(self) -> None:
        """Kill, if that was not the phase; see that it stays flat; replay the journal."""
        self.exchange.ask("faults", method="DELETE")
        if not self.is_kill:
            self.command(Command.KILL)
        decided = self.state.decided_ms
        self.until("flat", self.is_flat, 2 * self.config.timeframe_ms)
        self.until("a cycle", lambda: self.state.decided_ms > decided, 10**6)
        self.until("peace", lambda: self.agrees() and self.peaceful(), 2 * AGREED_MS)
        assert self.is_flat()
        assert self.state.modes.mode == FLATTEN
        assert self.bot.latches.read() is not None
        self.close()
        self.replayed()

    def is_flat(self) -> bool:
        """Return whether the exchange has no position and no order of ours."""
        truth = self.exchange.truth()
        ours = [o for o in truth["orders"] if self.ours(o["client_id"])]
        return not self.held(truth) and not ours
