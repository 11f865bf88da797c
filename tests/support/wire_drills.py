"""A whole live bot on the wire simulator, in virtual time, watched from the exchange's side.

The real daemon, engine, journal, adapter and ccxt over real sockets; only time is moved by hand, on
both sides at once. After every turn the exchange's own books are looked at: what the bot believes
does not matter there.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bot.adapters.kucoin import ContractsChangedError
from bot.adapters.kucoin_site import Site
from bot.adapters.wire_thread import WireThread
from bot.core.kernel.codes import FLAT, FLATTEN
from bot.core.messages import Command, Operator
from bot.shell.account_file import read_account
from bot.shell.assemble import Bot, begin_run, open_base
from bot.shell.config import Config, load_config
from bot.shell.daemon import Daemon, Parts
from bot.shell.exchange_line import Line
from bot.shell.live import assemble
from bot.shell.stop import Stop
from bot.shell.venue import LastingVenue
from ops.exchange.hand_clock import HandClock
from tests.support.cover import CoverJudge, Held, wire_held, wire_quotes, wire_stops
from tests.support.hand_bucket import HandBucket, HandClient
from tests.support.lasting import BUSY, replayed
from tests.support.parts import make_parts
from tests.support.shares import Share, our_share
from tests.support.wire import KEYS, Simulator

type Plain = dict[str, Any]

SOON_MS = 300
"""a step of time while something is under way"""
MOST_STEP_MS = 10_000
RESTART_MS = 2_000
"""RestartSec of the unit (DESIGN section 6)"""
TURNS = 12
"""the loop turns at most so often within one instant"""
TIMEOUT_S = 0.5
SETTINGS = (
    *BUSY,
    "stops.min=0.005",
    "stops.max=0.01",
    "momentum.reward=1.0",
    "trend.reward=1.0",
    "reversion.reward=1.0",
    f"exchange.timeout_s={TIMEOUT_S}",
)


class LoopClock:
    """The time of a hand clock for the daemon, which never sleeps here."""

    def __init__(self, hand: HandClock) -> None:
        self.hand = hand
        self.start_ms = hand.now()

    def now(self) -> int:
        return self.hand.now()

    def seconds_until(self, moment_ms: int) -> float:
        return 0.0


def drill_config(exchange: Simulator, *more: str) -> Config:
    """Return the configuration of a bot that trades often on a simulator."""
    urls = [f"exchange.futures_url={exchange.futures}", f"exchange.spot_url={exchange.spot}"]
    return load_config(None, [*SETTINGS, *urls, "exchange.websocket=false", *more])


def wire_parts[V: LastingVenue](
    bot: Bot[V], folder: Path, config: Config, clock: HandClock, stop: Stop
) -> Parts:
    """Return the parts of a daemon around a bot on the wire."""
    parts = make_parts(
        folder,
        config,
        bot.engine,
        bot.journal,
        stop,
        LoopClock(clock),
        bot.venue.next_ms,
        clock.seconds,
    )
    parts.prompted, parts.take_errors = bot.venue.prompted, bot.venue.take_errors
    return parts


class WireDrill:
    """One live bot on one simulator, from a fresh account on."""

    def __init__(
        self,
        folder: Path,
        exchange: Simulator,
        *,
        skip: int | None = None,
        config: Config | None = None,
    ) -> None:
        """Begin a new account after `skip` rows; None: go on with the account as it is."""
        self.folder, self.exchange = folder, exchange
        self.config = config or drill_config(exchange)
        if skip is None:
            now_ms = int(exchange.truth()["now_ms"])
        else:
            now_ms = int(exchange.ask("reset", {"skip": skip})["now_ms"])
        self.clock = HandClock(now_ms)
        self.cover = CoverJudge(self.config)
        self.line_down = False
        """a fault is in force under which nobody can do anything"""
        self.shared = False
        """others hold positions of their own: ours is told by the fills"""
        self.restarts = 0
        self.open_bot()

    def open_bot(self) -> None:
        """Put a bot together from what the folder holds."""
        self.stop = Stop().__enter__()
        self.open = True
        site = Site(self.exchange.futures, self.exchange.spot, TIMEOUT_S, True)
        self.wire = WireThread()
        self.bucket = HandBucket(self.clock.seconds)
        self.client = HandClient(site, KEYS, self.clock, self.bucket)
        self.wire.run(self.client.open(), 5.0)
        line = Line(self.wire, self.client, self.clock, site, self.clock.seconds)
        base = open_base(self.folder, KEYS.key, durable=False)
        known = read_account(self.folder)
        self.bot = assemble(self.config, KEYS, base, line, known, self.stop)
        parts = wire_parts(self.bot, self.folder, self.config, self.clock, self.stop)
        self.daemon = Daemon(self.bot.engine, parts)
        self.venue, self.state = self.bot.venue, self.bot.engine.state
        begin_run(self.bot, self.config, {})

    def start(self) -> None:
        """Recover and be ready."""
        assert self.daemon.recover(lambda now: self.bot.recover(self.config, now))

    def restart(self) -> None:
        """Do what a service manager does with a bot that asks to be started anew."""
        self.close()
        self.restarts += 1
        self.clock.now_ms = self.exchange.advance(RESTART_MS)
        self.open_bot()
        self.start()
        self.daemon.turn()

    # Time.

    def turn(self, by_ms: int = 0) -> None:
        """Let time pass for everybody, and the loop turn until it has nothing more to do."""
        self.clock.now_ms = self.exchange.advance(by_ms or self.step())
        self.wire.run(self.bucket.ring(), 5.0)
        self.meanwhile()
        for _ in range(TURNS):
            try:
                self.daemon.turn()
            except ContractsChangedError:
                self.restart()
            if not self.wait_for_wire():
                break
        self.watch()

    def meanwhile(self) -> None:
        """What others do before the bot has its turn."""

    def wait_for_wire(self) -> bool:
        """Wait until nothing is under way but what waits for time to pass; return whether there
        was something to take."""
        venue = self.venue
        busy = not venue.idle() or bool(venue.answers) or self.bot.engine.reading
        for _ in range(400):
            if venue.idle():
                return busy
            if self.wire.run(self.client.waits(), 5.0):
                return bool(venue.answers)
            self.stop.wait(0.05)
        raise AssertionError("the wire does not come to rest")

    def step(self) -> int:
        """Return how far time may go at once, ms."""
        venue = self.venue
        busy = venue.hot or venue.heard or venue.flying or self.bot.engine.reading
        if busy or self.daemon.waits() or self.daemon.in_doubt():
            return SOON_MS
        feed = venue.bars_feed
        due = feed.begins_ms() if feed is not None else 0
        to_bar = due - self.clock.now()
        return min(MOST_STEP_MS, to_bar) if to_bar > 0 else SOON_MS

    def run_bars(self, bars: int) -> None:
        """Let so many bars pass."""
        end_ms = self.clock.now_ms + bars * self.config.timeframe_ms
        while self.clock.now_ms < end_ms:
            self.turn()

    # Truth.

    def ours(self, client_id: str) -> bool:
        return client_id.startswith(f"{self.state.installation}-")

    def watch(self) -> None:
        """Look at the exchange's books: how long is a position without its stops?"""
        now, truth = self.clock.now_ms, self.exchange.truth()
        held, stops = self.positions(truth), wire_stops(truth, self.state.installation)
        exits = [o for o in truth["orders"] if o["role"] == "exit" and self.ours(o["client_id"])]
        leaving = {order["symbol"]: wire_quotes(truth) for order in exits}
        for name, books in zip(self.state.symbols, self.state.world.positions, strict=True):
            if self.line_down:
                self.cover.excuse(name)
            else:
                found = stops.get(name, ())
                self.cover.look(name, now, held.get(name), found, books, leaving.get(name))
        assert truth["duplicates"] == []

    def positions(self, truth: Plain) -> dict[str, Held]:
        """Return what has to be covered, by symbol."""
        held = wire_held(truth)
        if not self.shared:
            return held
        return {
            symbol: replace(held[symbol], side=1 if signed > 0 else -1, contracts=abs(signed))
            for symbol, signed in self.share(truth).held.items()
        }

    def held(self, truth: Plain) -> dict[str, int]:
        """Return what the books have to hold, contracts with a sign by symbol."""
        if self.shared:
            return self.share(truth).held
        return {p["symbol"]: p["side"] * p["contracts"] for p in truth["positions"]}

    def share(self, truth: Plain) -> Share:
        """Return what is ours of an account on which others trade, too."""
        specs = zip(self.state.symbols, self.venue.specs, strict=True)
        multipliers = {symbol: spec.multiplier for symbol, spec in specs}
        fills = [fill for fill in truth["fills"] if fill["symbol"] in multipliers]
        return our_share(fills, self.ours, multipliers)

    def check(self) -> None:
        """Compare the books with the exchange's; nothing may be lost, doubled or left over."""
        truth, state = self.exchange.truth(), self.state
        books = {
            symbol: pos.side * pos.contracts
            for symbol, pos in zip(state.symbols, state.world.positions, strict=True)
            if pos.side != FLAT
        }
        assert books == self.held(truth)
        account = state.world.account
        if self.shared:
            ours, theirs = account.realised - account.fees, self.share(truth).earned
        else:
            ours = account.deposits + account.realised - account.fees + account.funding
            theirs = truth["wallet"]
        assert abs(ours - theirs) < 1e-6, (ours, theirs)
        resting = {o["client_id"] for o in truth["orders"] if self.ours(o["client_id"])}
        assert resting == set(state.orders), resting ^ set(state.orders)
        self.check_entries(truth)

    def check_entries(self, truth: Plain) -> None:
        """See that no position was ever built by two entries, and no order traded too much."""
        builders: dict[str, str] = {}
        held: Counter[str] = Counter()
        for fill in sorted(truth["fills"], key=lambda fill: fill["ms"]):
            symbol, name, side = fill["symbol"], fill["client_id"], fill["side"]
            closing = min(fill["contracts"], max(0, -side * held[symbol]))
            held[symbol] += side * closing
            if held[symbol] == 0:
                builders.pop(symbol, None)
            opening = fill["contracts"] - closing
            if self.shared and (opening == 0 or not self.ours(name)):
                continue  # what others trade beyond ours is theirs
            assert name.endswith("-entry") == (opening > 0), fill
            if opening:
                assert closing == 0 or self.shared, fill
                assert builders.setdefault(symbol, name) == name, (symbol, builders[symbol], name)
                held[symbol] += side * opening

    def kill(self) -> None:
        """Pull the kill switch; the account must be flat, and latched, within a bar or two."""
        engine = self.bot.engine
        engine.feed(Operator(max(self.clock.now(), self.state.now_ms), Command.KILL, "drill over"))
        self.run_bars(2)
        truth = self.exchange.truth()
        assert truth["positions"] == []
        assert not [o for o in truth["orders"] if self.ours(o["client_id"])]
        assert self.state.modes.mode == FLATTEN
        assert self.bot.latches.read() is not None
        self.check()

    def close(self) -> None:
        """Close what is open; again is nothing."""
        if self.open:
            self.open = False
            self.bot.close(clean=True)
            self.stop.__exit__()

    def replayed(self) -> int:
        """See `lasting.replayed`."""
        return replayed(self.folder)


def plan(exchange: Simulator, faults: Sequence[Plain]) -> None:
    """Replace the simulator's faults."""
    exchange.ask("faults", method="DELETE")
    exchange.ask("faults", {"faults": list(faults)})
