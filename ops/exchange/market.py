"""The market of one world: it plays the rows of a source on the simulated exchange.

Rules of this file: `play` is the only way in which time passes; what the account must know comes
out of it event by event. A symbol that is paused has no quotes and so no bars.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from bot.core.errors import InputError
from bot.core.kernel.params import Params
from bot.core.market import ASSUMED_FUNDING_RATE, FUNDING_INTERVAL_MS, Row, ticks_per_unit
from bot.core.messages import Event
from bot.sim.full_exchange import FullExchange
from bot.sim.ticks import MARK_PULL, Quote, QuotePath
from ops.exchange.candles import CandleStore, contracts_of
from ops.exchange.names import short, wire_symbol
from ops.exchange.refusal import RefusedError, bad_parameter
from ops.exchange.source import Source

KEPT_TRADES = 100  # of each symbol
KEPT_RATES = 1_000
OFF_GRID = 0.3  # of a tick: the marks that are told are above those that the market trades by


@dataclass(frozen=True, slots=True)
class PublicTrade:
    """A trade of the market, not of the account."""

    number: int
    ms: int
    price: float
    contracts: int
    side: int


@dataclass(frozen=True, slots=True)
class Setting:
    """What one life of the account on the market is made of."""

    balance: float
    seed: int
    latency_ms: tuple[int, int]
    depth: int
    """contracts at the market price with each quote"""
    history: int
    """rows of the market that are past when the life begins"""
    steps: int = 4
    """quotes on each leg of a bar's way (bot/sim/ticks.py)"""
    mark_pull: float = MARK_PULL


class Market:
    """Prices, candles, funding and the state of each contract. Symbols are indices inside."""

    def __init__(self, source: Source, params: Params, setting: Setting) -> None:
        """Play the first `setting.history` rows into the past.

        Raises
        ------
        InputError : the source has not so many rows
        """
        self.source = source
        self.symbols = source.symbols
        self.wire = {wire_symbol(symbol): k for k, symbol in enumerate(source.symbols)}
        self.timeframe_ms = source.timeframe_ms
        specs = source.specs()
        self.exchange = FullExchange(
            params,
            specs,
            setting.balance,
            seed=setting.seed,
            latency_ms=setting.latency_ms,
            depth=setting.depth,
            watcher=self,
        )
        self.status = ["Open" for _ in specs]
        self.quotes_a_bar = 3 * setting.steps + 1
        self.quote_ms = source.timeframe_ms // (3 * setting.steps)
        self.candles = CandleStore(specs, source.timeframe_ms, self.quotes_a_bar)
        self.path = QuotePath(specs, source.timeframe_ms, setting.steps, setting.mark_pull)
        self.trades: list[deque[PublicTrade]] = [deque(maxlen=KEPT_TRADES) for _ in specs]
        self.rates: list[deque[tuple[int, float]]] = [deque(maxlen=KEPT_RATES) for _ in specs]
        """settled funding (ms, rate) by symbol, oldest first"""
        self.sequences = [1_000_000 for _ in specs]
        """number of the newest change of each book"""
        self.seen = [0.0 for _ in specs]
        """price of the newest trade"""
        self.numbered = 0
        self.on_trigger: Callable[[str, int], None] = lambda name, now: None
        self.on_quote: Callable[[Quote], None] = lambda quote: None
        self.rows = source.rows()
        self.current: Row | None = None
        self._read_past(setting.history)

    def _read_past(self, history: int) -> None:
        closes = [0.0 for _ in self.symbols]
        end_ms, seen = self.source.start_ms, 0
        for row in islice(self.rows, history):
            seen, end_ms = seen + 1, row.open_ms + self.timeframe_ms
            for k, bar in enumerate(row.bars):
                if bar is not None:
                    self.candles.add(k, row.open_ms, bar)
                    closes[k] = bar.close
            self._note_rates(row)
        if seen < history:
            raise InputError(f"history: expected at most the {seen} rows there are, was {history}")
        self.start_ms = end_ms
        for k, close in enumerate(closes):
            if close > 0.0:
                # The market stands where the past left it until the first quote.
                self.exchange.last[k] = close
                self.exchange.ledger.marks[k] = close
                self.path.marks[k] = close
        self.exchange.now_ms = end_ms
        self._begin_row()

    def _note_rates(self, row: Row) -> None:
        for k, ms, rate in row.funding:
            self.rates[k].append((ms, rate))

    # -- time ----------------------------------------------------------------------------------

    def play(self, to_ms: int) -> Iterator[Event]:
        """Let time pass up to and including `to_ms`; yield what happens to the account."""
        while self.current is not None:
            end = self.current.open_ms + self.timeframe_ms
            yield from self.exchange.advance(min(to_ms, end))
            if to_ms < end:
                return
            self._end_row(self.current)
            self._begin_row()
        yield from self.exchange.advance(to_ms)

    def _begin_row(self) -> None:
        self.current = next(self.rows, None)
        if self.current is not None:
            for k, bar in enumerate(self.current.bars):
                self.candles.begin(k, bar)
            # Rates are known to be of this row only once it is played; see `rate_at`.
            self.exchange.load(self.path.quotes(self.current), self.current.funding)

    def _end_row(self, row: Row) -> None:
        for k, bar in enumerate(row.bars):
            if bar is not None and self.candles.forming[k] is not None:
                self.candles.add(k, row.open_ms, bar)
        self._note_rates(row)

    def quoted(self, quote: Quote) -> None:
        """Learn of a price (bot/sim/full_exchange.py, Watcher)."""
        k = quote.symbol
        self.candles.quoted(k, quote.ms, quote.last)
        self.numbered += 1
        share = self.candles.volumes[k] / self.quotes_a_bar
        contracts = max(1, contracts_of(share, self.exchange.specs[k]))
        side = 1 if quote.last >= self.seen[k] else -1
        self.seen[k] = quote.last
        self.trades[k].append(PublicTrade(self.numbered, quote.ms, quote.last, contracts, side))
        self.on_quote(quote)

    def triggered(self, client_id: str, now: int) -> None:
        """Learn that a stop was reached (Watcher)."""
        self.on_trigger(client_id, now)

    # -- what can be asked ---------------------------------------------------------------------

    def index(self, wire: object) -> int:
        """Return the symbol of a wire name; raise RefusedError when there is none."""
        if isinstance(wire, str) and wire in self.wire:
            return self.wire[wire]
        if not wire:
            raise bad_parameter("symbol: expected a contract, was missing")
        raise RefusedError("100003", f"The contract {wire} does not exist")

    def check_open(self, k: int) -> None:
        """Raise RefusedError while the symbol does not trade."""
        if self.status[k] == "Paused":
            raise RefusedError("300002", "Trading of this contract has been suspended")
        if self.status[k] != "Open":
            raise RefusedError("200003", "The contract is not available for trading")

    def is_listed(self, k: int) -> bool:
        """Return whether the contract is still on the market, paused or not."""
        return self.status[k] != "Closed"

    def mark(self, k: int) -> float:
        """Return the mark price of a symbol as it is told, USDT: off the grid, as on KuCoin."""
        mark = self.exchange.ledger.marks[k]
        return short(mark + OFF_GRID * self.exchange.specs[k].tick) if mark > 0.0 else mark

    def rate_at(self, k: int, ms: int) -> float:
        """Return the funding rate of a settlement that is being or has been paid."""
        row = self.current
        coming = [(at, rate) for s, at, rate in row.funding if s == k] if row else []
        return dict([*self.rates[k], *coming]).get(ms, ASSUMED_FUNDING_RATE)

    def settled(self, k: int, now: int) -> tuple[int, float]:
        """Return the newest settlement: time and rate."""
        for ms, rate in reversed(self.rates[k]):
            if ms <= now:
                return ms, rate
        return now // FUNDING_INTERVAL_MS * FUNDING_INTERVAL_MS, ASSUMED_FUNDING_RATE

    # -- what people and the exchange do to it -------------------------------------------------

    def pause(self, k: int) -> None:
        """Let a symbol stand still."""
        self._check_listed(k)
        self.status[k] = "Paused"
        self.exchange.halted.add(k)

    def resume(self, k: int) -> None:
        """Let a symbol go on."""
        self._check_listed(k)
        self.status[k] = "Open"
        self.exchange.halted.discard(k)

    def delist(self, k: int) -> None:
        """Take a symbol off the market for good; positions are settled at the mark."""
        self.status[k] = "Closed"
        self.exchange.halted.add(k)
        self.exchange.settle(k)

    def _check_listed(self, k: int) -> None:
        if not self.is_listed(k):
            raise InputError(f"{self.symbols[k]}: expected a contract on the market, was delisted")

    def set_tick(self, k: int, tick: float) -> None:
        """Change the price grid of a symbol."""
        if not 0.0 < tick < 1e6:
            raise InputError(f"tick: expected a price step above 0, was {tick!r}")
        spec = self.exchange.specs[k]
        spec.tick, spec.ticks_per_unit = tick, ticks_per_unit(tick)

    def set_largest_order(self, k: int, contracts: float) -> None:
        """Change how many contracts of a symbol fit into one order at the market."""
        if not 1.0 <= contracts < 1e6 or contracts != int(contracts):
            raise InputError(f"contracts: expected a whole number from 1, was {contracts!r}")
        self.exchange.specs[k].max_contracts = contracts


def next_settlement(now: int) -> int:
    """Return the next funding time: 00, 08 and 16 o'clock UTC."""
    return (now // FUNDING_INTERVAL_MS + 1) * FUNDING_INTERVAL_MS
