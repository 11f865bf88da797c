"""The line to KuCoin Futures: a client in its own thread, and the exchange's time."""

import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from bot.adapters.exchange_clock import ExchangeClock
from bot.adapters.kucoin_bars import BarFeed
from bot.adapters.kucoin_client import KucoinClient
from bot.adapters.kucoin_market import PublicMarket, WireSource
from bot.adapters.kucoin_site import Credentials, Site
from bot.adapters.token_bucket import WINDOW_S, TokenBucket
from bot.adapters.wire_thread import WireThread
from bot.core.errors import UnreachableError
from bot.core.state import State
from bot.shell.config import Config
from bot.shell.live_checks import Account, clock_refusals, inspect, inspect_key
from bot.shell.paper import warmup_rows

LOOK_S = 20.0  # how long a question of the start may take, with its tries


@dataclass(slots=True)
class Line:
    """The connection to the exchange."""

    wire: WireThread
    client: KucoinClient
    clock: ExchangeClock
    site: Site
    monotonic: Callable[[], float] = time.monotonic

    def look(self, config: Config) -> Account:
        """Ask for time and account, not for what `look_at_key` asks. Raises UnreachableError."""
        self.ask(self.client.sync_clock())
        seen = self.ask(inspect(self.client, config))
        seen.refusals += clock_refusals(self.clock, self.site.futures_url, config)
        return seen

    def look_at_key(self, seen: Account) -> Account:
        """Add what the spot host says, as far as it does."""
        self.ask(inspect_key(self.client, seen))
        return seen

    def ask[T](self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` on the wire and wait for it. Raises UnreachableError when it takes too long."""
        try:
            return self.wire.run(work, LOOK_S)
        except TimeoutError as error:
            raise UnreachableError(f"no answers within {LOOK_S:g} s") from error

    def feed(
        self, public: PublicMarket, wake: Callable[[], None], config: Config, state: State
    ) -> BarFeed:
        """Return the feed of a bot's bars; it begins where the books stand."""
        return BarFeed(
            WireSource(self.wire, public, wake),
            len(state.symbols),
            config.timeframe_ms,
            int(config.timing.bar_wait_s * 1000),
            warmup_rows(config),
            state.decided_ms,
            self.clock.now(),
            [symbol.bar_time for symbol in state.world.symbols],
        )

    def begin_at(self, known_ms: int) -> None:
        """Begin with the last time that is known: without the exchange the host's own may be ahead
        of it, or a simulator plays another year."""
        self.clock.begin_at(known_ms)

    def close(self) -> None:
        """Close every connection, then the thread."""
        self.wire.close(self.client.close)


def connect(config: Config, credentials: Credentials | None) -> Line:
    """Open a line; nothing is sent yet."""
    exchange = config.exchange
    site = Site(exchange.futures_url, exchange.spot_url, exchange.timeout_s, exchange.ipv4)
    clock = ExchangeClock(exchange.speed)
    # The exchange counts its windows in its own time.
    bucket = TokenBucket(window_s=WINDOW_S / exchange.speed)
    client = KucoinClient(site, credentials, clock, bucket)
    wire = WireThread()
    wire.run(client.open(), LOOK_S)
    return Line(wire, client, clock, site)
