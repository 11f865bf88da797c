"""`radbot paper --market kucoin`: a simulated account on KuCoin's public market, opened, recovered.

No key is needed and none is used. The contracts come from the exchange and are kept, so that a bot
that was founded also starts while the exchange cannot be reached: halted, until it answers.
"""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from bot.adapters.kucoin_bars import SETTLE_MS
from bot.adapters.kucoin_market import PublicMarket, read_contracts
from bot.adapters.paper_store import PaperStore, check_market, check_same, reading_account
from bot.core.codec import decode, encode
from bot.core.errors import InputError
from bot.core.kernel.records import World
from bot.core.market import ContractSpec
from bot.core.state import State
from bot.shell.assemble import (
    Base,
    Bot,
    check_kind,
    make_folder,
    open_base,
    recover_books,
)
from bot.shell.build import build_world
from bot.shell.clocks import LiveClock
from bot.shell.config import Config
from bot.shell.engine import Engine
from bot.shell.exchange_line import Line, connect
from bot.shell.live import first_look
from bot.shell.open_venue import OpenVenue
from bot.shell.paper import INSTALLATION, Source
from bot.shell.paper_venue import restore_records
from bot.shell.recovery import begin_anew
from bot.shell.state_folder import PAPER
from bot.shell.stop import Stop
from bot.sim.open_market import OpenMarket

log = logging.getLogger("radbot")


@dataclass(slots=True)
class Known:
    """What the database holds of the market: when the account was founded, and its contracts."""

    founded_ms: int
    contracts: list[ContractSpec]


def open_kucoin_paper(
    config: Config, source: Source, state_dir: Path, stop: Stop
) -> Bot[OpenVenue]:
    """Open the paper bot of a state directory on KuCoin's market, or found it.

    Raises
    ------
    InputError : the directory cannot be used, or belongs to another market; a symbol is not listed
    LockedError, JournalError : as `open_base`
    UnreachableError : a bot cannot be founded without the exchange
    """
    make_folder(state_dir)
    check_kind(state_dir, live=False)
    path = state_dir / PAPER
    base = open_base(state_dir, str(path.resolve()), durable=True)
    with ExitStack() as failed:
        failed.callback(base.close, clean=True)
        line = connect(config, None)
        failed.callback(line.close)
        store = PaperStore(path, durable=True)
        failed.callback(store.close)
        bot = assemble(config, source, base, store, line, stop)
        failed.pop_all()
    return bot


def assemble(
    config: Config, source: Source, base: Base, store: PaperStore, line: Line, stop: Stop
) -> Bot[OpenVenue]:
    """Put the parts together; see `open_kucoin_paper`."""
    known = read_known(store, source)
    traded = known is not None
    told = first_look(lambda: contracts(line, config), stop, known=known is not None)
    known = now_known(known, told, config, line)
    world = build_world(config, known.contracts, known.founded_ms)
    market = open_account(store, source, world, known)
    template = State(world, source.symbols, INSTALLATION)
    stored = base.journal.load_state(template)
    check_same(store.path, account=traded, journal=stored is not None)
    state = template if stored is None else stored
    market.told_ms = max(market.told_ms, state.now_ms)
    if told is None:
        line.begin_at(state.now_ms)
    public = PublicMarket(line.client, known.contracts, config.timeframe_ms)
    speed = config.exchange.speed
    venue = OpenVenue(
        market,
        store,
        line.wire,
        public,
        line.clock,
        speed,
        wake=stop.wake,
        close=line.close,
        monotonic=line.monotonic,
    )
    venue.restore_moment()
    if stored is None and traded:
        begin_anew(state, venue.told_ms())
    clock = LiveClock(line.clock.now, speed)
    source = replace(source, specs=tuple(known.contracts), start_ms=known.founded_ms)
    bot = Bot(base, Engine(state, venue), venue, clock, lambda *_: None, source)
    bot.recover = Recovery(bot, line).run
    return bot


def read_known(store: PaperStore, source: Source) -> Known | None:
    """Return what was stored, None in a new database; raise InputError for another market's."""
    with reading_account(store.path):
        identity = store.read("identity")
    if identity is None:
        return None
    check_market(store.path, source.identity, identity)
    return decode(Known, store.read("known"))


def contracts(line: Line, config: Config) -> list[ContractSpec | None]:
    """Ask for time and contracts; None for what is not listed. Raises UnreachableError."""
    line.ask(line.client.sync_clock())
    found = line.ask(read_contracts(line.client, config.symbols))
    for symbol, contract in zip(config.symbols, found, strict=True):
        if contract is not None and contract.status != "Open":
            log.warning("%s: the contract is %s: it does not trade", symbol, contract.status)
    return [None if contract is None else contract.spec for contract in found]


def now_known(
    known: Known | None, told: Sequence[ContractSpec | None] | None, config: Config, line: Line
) -> Known:
    """Return what the bot goes on with: what was told, and where nothing was, what was known."""
    specs = list(told) if told is not None else [None for _ in config.symbols]
    missing = [s for s, spec in zip(config.symbols, specs, strict=True) if spec is None]
    if known is None:
        if missing:
            raise InputError(
                f"symbols: expected contracts that KuCoin Futures lists, was {', '.join(missing)}"
            )
        now = line.clock.now() - SETTLE_MS
        founded_ms = now // config.timeframe_ms * config.timeframe_ms
        return Known(founded_ms, [spec for spec in specs if spec is not None])
    if told is not None:
        for symbol in missing:
            log.warning("%s: KuCoin Futures does not list it any more", symbol)
    pairs = zip(specs, known.contracts, strict=True)
    return Known(known.founded_ms, [spec or before for spec, before in pairs])


def open_account(store: PaperStore, source: Source, world: World, known: Known) -> OpenMarket:
    """Return the account as it was left, or a new one; what is known is written."""
    market = OpenMarket(world.params, world.specs, world.account.deposits, known.founded_ms)
    with reading_account(store.path):
        data = store.read("market")
        if data is not None:
            market.restore(data, None)
            market.restore_past(store.read("past"), 0)
            restore_records(market, store)
    store.save(
        {
            "identity": source.identity,
            "known": encode(known),
            "params": encode(world.params),  # these two are for emergencies
            "specs": encode(world.specs),
            "market": market.dump(),
            "past": market.dump_past(),
        },
        {},
    )
    return market


class Recovery:
    """The start, which may have to be tried again."""

    def __init__(self, bot: Bot[OpenVenue], line: Line) -> None:
        self.bot, self.line = bot, line

    def run(self, config: Config, now: int) -> None:
        """Play the bars that were missed, stops included; make the books true; let bars come.
        Raises UnreachableError."""
        bot, venue, clock = self.bot, self.bot.venue, self.line.clock
        self.line.ask(self.line.client.sync_clock())
        venue.play_missed(clock.now())
        with venue.read.waited_for():
            recover_books(bot, config, clock.now(), None)
        venue.start_feed(self.line.feed(venue.public, venue.wake, config, bot.engine.state))
