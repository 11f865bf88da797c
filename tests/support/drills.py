"""A whole bot on a simulated exchange with faults, in virtual time, watched from the exchange's
side.

The real daemon, engine and journal; only the clock is moved by hand, and the line to the exchange
is a `FaultyVenue`. After every turn the exchange's own books are looked at: what the bot believes
does not matter there.
"""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from bot.adapters.journal import Journal
from bot.core.kernel.codes import FLAT, FLATTEN
from bot.core.market import Row
from bot.core.messages import Command, History, Operator, Role
from bot.core.orders import is_ours
from bot.core.state import State
from bot.shell.build import build_world
from bot.shell.config import load_config
from bot.shell.daemon import Daemon
from bot.shell.engine import Engine
from bot.shell.offline import run_identity
from bot.shell.paper import Source, synthetic_source
from bot.shell.stop import Stop
from bot.sim.faults import HIDDEN_READS, Fault, FaultyVenue, Kind
from bot.sim.outsiders import PaperOutsider, TickOutsider
from bot.sim.paper_market import PaperMarket
from bot.sim.tick_exchange import TickExchange
from bot.sim.tick_market import TickMarket
from tests.support.cover import CoverJudge, Held, RestingStop
from tests.support.lasting import BUSY, check_books, check_entries, replayed
from tests.support.parts import DrillClock, make_parts

INSTALLATION = "drill"
STEP_MS = 2_500
READ_MS = 10_000
"""between two reads: nothing prompts one here"""
MOST_BARS = 400
AFTER_BARS = 4
"""bars that follow the last fault: time to put everything right"""
CONFIG = load_config(
    None,
    [
        *BUSY,
        "stops.min=0.005",
        "stops.max=0.01",
        "momentum.reward=1.0",
        "trend.reward=1.0",
        "reversion.reward=1.0",
    ],
)
MARKETS: dict[int, tuple[Source, list[Row]]] = {}


def beside_ms(plan: Sequence[Fault]) -> int:
    """Return how long a replaced stop may be there: each word about a stop that is lost is found by
    the next read, one that reads do not show by a later one; a turn before it, and one until the
    cancellation has arrived."""
    lost = [fault for fault in plan if fault.role is Role.STOP]
    hidden = HIDDEN_READS * any(fault.kind is Kind.UNKNOWN for fault in lost)
    return (max(1, len(lost)) + hidden) * READ_MS + 2 * STEP_MS


def drawn(seed: int) -> tuple[Source, list[Row]]:
    """Return a market and its bars; drawn once."""
    if seed not in MARKETS:
        source = synthetic_source(CONFIG, CONFIG.timeframe_ms, seed, None)
        rows = list(islice(source.stream(), MOST_BARS + 20))
        MARKETS[seed] = source, rows
    return MARKETS[seed]


class Drill:
    """One bot, one exchange, one plan."""

    def __init__(self, folder: Path, profile: str, seed: int, plan: Sequence[Fault]) -> None:
        self.folder = folder
        source, rows = drawn(seed)
        world = build_world(CONFIG, source.specs, source.start_ms)
        deposits = world.account.deposits
        self.market: PaperMarket | TickMarket
        if profile == "bar":
            self.market = PaperMarket(world.params, world.specs, deposits, iter(rows))
            outsider: PaperOutsider | TickOutsider = PaperOutsider(self.market)
        else:
            exchange = TickExchange(
                world.params, world.specs, deposits, seed=seed, latency_ms=(30, 400), depth=40
            )
            self.market = TickMarket(exchange, iter(rows), world.params.timeframe_ms)
            outsider = TickOutsider(self.market)
        self.venue = FaultyVenue(self.market, outsider, plan)
        self.state = State(world, source.symbols, INSTALLATION)
        self.engine = Engine(self.state, self.venue)
        for row in source.history:
            self.engine.feed(History(row.open_ms + world.params.timeframe_ms, row.bars))
        self.stop = Stop().__enter__()
        self.open = True
        self.clock = DrillClock(rows[0].open_ms)
        self.journal = Journal.open(folder / "journal.sqlite3", durable=False)
        self.journal.begin_run("drill", 0, run_identity(world), self.state)
        parts = make_parts(
            folder,
            CONFIG,
            self.engine,
            self.journal,
            self.stop,
            self.clock,
            self.market.next_ms,
            self.clock.monotonic,
        )
        self.daemon = Daemon(self.engine, parts)
        self.cover = CoverJudge(CONFIG, beside_ms(plan))

    def run(self) -> None:
        """Trade until the plan is through and the time to put things right is over."""
        after_ms = 0
        end_ms = self.clock.start_ms + MOST_BARS * CONFIG.timeframe_ms
        while (due := self.market.next_ms()) is not None and due < end_ms:
            self.turn()
            if not self.venue.waiting and after_ms == 0:
                after_ms = due + AFTER_BARS * CONFIG.timeframe_ms
            if after_ms and self.clock.now_ms > after_ms:
                break

    def turn(self) -> None:
        """Let a step of time pass for everybody."""
        self.clock.now_ms += STEP_MS
        self.daemon.turn()
        self.watch()

    def watch(self) -> None:
        """Look at the exchange's books: how long is a position without its stops?"""
        now, exchange = self.clock.now_ms, self.market.exchange
        book, marks = exchange.book, exchange.ledger.marks
        for k, one in enumerate(exchange.ledger.held):
            if now < self.venue.down_until:
                self.cover.excuse(str(k))
                continue
            resting = [o for o in book.resting(k, Role.STOP) if is_ours(INSTALLATION, o.client_id)]
            stops = [
                RestingStop(o.side, book.left[o.client_id], o.price, o.client_id in book.triggered)
                for o in resting
            ]
            held = Held(one.side, one.contracts, one.entry_price, marks[k])
            position = held if one.side != FLAT else None
            self.cover.look(str(k), now, position, stops, self.state.world.positions[k])

    def check(self) -> None:
        """Compare the books with the exchange's; nothing may be lost, doubled or left over."""
        state = self.state
        check_books(state, self.market.snapshot((), 0, self.clock.now_ms))
        resting = self.market.exchange.book.orders
        ours = {name for name in resting if is_ours(INSTALLATION, name)}
        assert ours == set(state.orders), ours ^ set(state.orders)
        check_entries(self.market.records.entries)

    def kill(self) -> None:
        """Pull the kill switch; the account must be flat, and latched, within a bar or two."""
        self.engine.feed(Operator(self.clock.now_ms, Command.KILL, "end of the drill"))
        for _ in range(3 * CONFIG.timeframe_ms // STEP_MS):
            self.turn()
        assert all(held.side == FLAT for held in self.market.exchange.ledger.held)
        assert not [n for n in self.market.exchange.book.orders if is_ours(INSTALLATION, n)]
        assert self.state.modes.mode == FLATTEN
        assert self.daemon.parts.latches.read() is not None
        self.check()

    def close(self) -> None:
        """Close what is open; again is nothing."""
        if self.open:
            self.open = False
            self.stop.__exit__()
            self.journal.close(clean=True)

    def replayed(self) -> int:
        """See `lasting.replayed`."""
        return replayed(self.folder)
