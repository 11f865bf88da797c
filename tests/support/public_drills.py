"""A whole paper bot on the public data of the wire simulator, in virtual time.

The real daemon, engine, journal, database, feed and ccxt over real sockets; only time is moved by
hand, on both sides at once.
"""

from pathlib import Path

from bot.adapters.kucoin_bars import SETTLE_MS, Bars
from bot.adapters.kucoin_client import KucoinClient
from bot.adapters.kucoin_site import Site
from bot.adapters.paper_store import PaperStore
from bot.adapters.token_bucket import TokenBucket
from bot.adapters.wire_thread import WireThread
from bot.core.messages import Effect, Event, Notice, TradeClosed
from bot.shell.assemble import begin_run, open_base
from bot.shell.config import Config, load_config
from bot.shell.daemon import Daemon
from bot.shell.exchange_line import Line
from bot.shell.kucoin_paper import assemble
from bot.shell.paper import kucoin_source
from bot.shell.stop import Stop
from ops.exchange.hand_clock import HandClock
from tests.support.lasting import check_books, replayed
from tests.support.wire import Simulator
from tests.support.wire_drills import wire_parts

MOST_STEP_MS = 20_000
TURNS = 20
TIMEOUT_S = 2.0


def public_config(exchange: Simulator, *more: str) -> Config:
    """Return the configuration of a paper bot on a simulator."""
    urls = [f"exchange.futures_url={exchange.futures}", f"exchange.spot_url={exchange.spot}"]
    return load_config(None, [*urls, f"exchange.timeout_s={TIMEOUT_S}", *more])


class PublicDrill:
    """One paper bot on one simulator, that was not recovered yet."""

    def __init__(
        self, folder: Path, exchange: Simulator, config: Config, *, skip: int | None = None
    ) -> None:
        """Begin the market after `skip` rows; None: go on with it as it is."""
        self.folder, self.exchange, self.config = folder, exchange, config
        if skip is not None:
            exchange.ask("reset", {"skip": skip})
        self.clock = HandClock(int(exchange.truth()["now_ms"]))
        self.stop = Stop().__enter__()
        self.open = True
        site = Site(exchange.futures, exchange.spot, TIMEOUT_S, True)
        wire = WireThread()
        client = KucoinClient(site, None, self.clock, TokenBucket(monotonic=self.clock.seconds))
        wire.run(client.open(), 5.0)
        line = Line(wire, client, self.clock, site, self.clock.seconds)
        base = open_base(folder, str(folder), durable=False)
        store = PaperStore(folder / "paper.sqlite3", durable=False)
        try:
            source = kucoin_source(config)
            self.bot = assemble(config, source, base, store, line, self.stop)
        except BaseException:
            for opened in (store, line):
                opened.close()
            base.close(clean=True)
            self.stop.__exit__()
            raise
        self.venue, self.state = self.bot.venue, self.bot.engine.state
        parts = wire_parts(self.bot, folder, config, self.clock, self.stop)
        self.daemon = Daemon(self.bot.engine, parts)
        self.daemon.parts.listeners.append(self.heard)
        self.trades: list[TradeClosed] = []
        self.kinds: list[str] = []
        """of notices"""
        begin_run(self.bot, config, {})

    def heard(self, _event: Event, effects: list[Effect]) -> None:
        self.trades += [effect for effect in effects if isinstance(effect, TradeClosed)]
        self.kinds += [effect.kind for effect in effects if isinstance(effect, Notice)]

    def recover(self) -> None:
        """Catch up with the market and be ready. Raises UnreachableError."""
        self.bot.recover(self.config, self.clock.now())

    # Time.

    def turn(self, by_ms: int) -> None:
        """Let time pass for everybody, and the loop turn until it has nothing more to do."""
        self.clock.now_ms = self.exchange.advance(by_ms)
        for _ in range(TURNS):
            self.daemon.turn()
            if not self.wait_for_wire():
                break

    def questions(self) -> list[object]:
        """Return what is under way."""
        venue = self.venue
        asked = [*venue.prices.values(), *(rates for rates, _ in venue.rates.values())]
        if venue.feed is not None:
            asked += [bars for bars, _ in venue.feed.asked.values()]
            asked += venue.feed.ages
        return [*asked, *([venue.read.pending] if venue.read.pending is not None else [])]

    def wait_for_wire(self) -> bool:
        """Wait until every question is answered; return whether there was one."""
        questions = self.questions()
        for question in questions:
            question.exception(20.0)  # type: ignore[attr-defined]
        return bool(questions)

    def run_bars(self, bars: int) -> None:
        """Let so many bars pass, to the moment when the last of them is known to be closed."""
        length = self.config.timeframe_ms
        for _ in range(bars):
            to_bar = length - (self.clock.now_ms - SETTLE_MS) % length
            while to_bar > 0:
                step = min(MOST_STEP_MS, to_bar)
                self.turn(step)
                to_bar -= step

    def run_until(self, wanted: str, bars: int = 500) -> None:
        """Let bars pass until a position is `held`, or nothing is (`flat`)."""
        for _ in range(bars):
            if bool(self.venue.market.held()) == (wanted == "held"):
                return
            self.run_bars(1)
        raise AssertionError(f"never {wanted}")

    # Truth.

    def check(self) -> None:
        """Compare the bot's books with its simulated account's."""
        check_books(self.state, self.venue.market.snapshot((), 0, self.state.now_ms))

    def candles(self, k: int, from_ms: int, to_ms: int) -> Bars:
        """Return the exchange's candles that opened in [from_ms, to_ms)."""
        return self.venue.wire.run(self.venue.public.bars(k, from_ms, to_ms), 20.0)

    def held(self) -> list[int]:
        """Return the symbols that the books hold."""
        return self.state.held

    def close(self, *, clean: bool = True) -> None:
        """Close what is open; again is nothing."""
        if self.open:
            self.open = False
            self.bot.close(clean=clean)
            self.stop.__exit__()

    def replayed(self) -> int:
        """See `lasting.replayed`."""
        return replayed(self.folder)
