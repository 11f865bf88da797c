"""The live bot: opened on KuCoin Futures, checked, recovered, and taken apart again.

Order: the locks (one writer for each account on this host), the account file, the line to the
exchange, the checks, the journal's state or the founding of a new one. A bot that has been founded
also starts while the exchange cannot be reached: from its own files, halted, and checked as soon as
there is an answer.
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from bot.adapters.kucoin import ContractsChangedError, KucoinVenue
from bot.adapters.kucoin_account import AccountReader
from bot.adapters.kucoin_prompt import Prompter
from bot.adapters.kucoin_site import Credentials
from bot.adapters.outbox import Outbox
from bot.core.errors import InputError, UnreachableError
from bot.core.kernel.accounting import wallet
from bot.core.kernel.prices import GRID_NOISE, round_near
from bot.core.market import HOUR_MS, MINUTE_MS
from bot.core.messages import Command, Operator, Tick
from bot.core.state import State
from bot.shell.account_file import (
    AccountFile,
    key_hash,
    new_installation,
    read_account,
    write_account,
)
from bot.shell.assemble import Base, Bot, check_kind, make_folder, open_base, recover_books
from bot.shell.build import build_world
from bot.shell.clocks import LiveClock
from bot.shell.config import Config
from bot.shell.config_rules import is_loopback
from bot.shell.engine import Engine
from bot.shell.exchange_line import Line, connect
from bot.shell.live_checks import (
    Account,
    LiveRefusedError,
    changed,
    judge,
    newest,
    self_test,
)
from bot.shell.paper import Source
from bot.shell.recovery import begin_anew
from bot.shell.state_folder import ACCOUNT, OUTBOX
from bot.shell.stop import Stop

log = logging.getLogger("radbot")
FOUND_TRIES = 4
COVER_S = 4.0  # a start waits this long for the stops of open positions to be acknowledged


def open_live_bot(
    config: Config, credentials: Credentials, state_dir: Path, stop: Stop, override: str = ""
) -> Bot[KucoinVenue]:
    """Open the live bot of a state directory, or found it.

    `override` says who lets it trade without a verdict, and why; it is told when the bot is open,
    because a start that is refused has overridden nothing.

    Raises
    ------
    LiveRefusedError : the account is not as it must be; all reasons
    InputError : the directory belongs to another account
    LockedError : another bot trades on this account
    UnreachableError : a bot cannot be founded without the exchange
    CredentialsError : the exchange does not accept the key
    """
    make_folder(state_dir)
    check_kind(state_dir, live=True)
    known = read_account(state_dir)
    check_same(state_dir, known, config, credentials)
    base = open_base(state_dir, credentials.key, durable=True)
    with ExitStack() as failed:
        failed.callback(base.close, clean=True)
        line = connect(config, credentials)
        failed.callback(line.close)
        bot = assemble(config, credentials, base, line, known, stop)
        if override:
            log.warning(override)
            tell(state_dir, "WARNING", "override", override, 0)
        failed.pop_all()
    return bot


def check_same(
    state_dir: Path, known: AccountFile | None, config: Config, credentials: Credentials
) -> None:
    """Raise InputError when the directory belongs to another account or exchange."""
    if known is None:
        return
    hint = "use another --state"
    if known.key_hash != key_hash(credentials.key):
        raise InputError(
            f"{state_dir}: expected the API key it was founded with, was another; for a new key of "
            f"the same account while it is flat, remove {state_dir / ACCOUNT}; else {hint}"
        )
    if known.futures_url != config.exchange.futures_url:
        raise InputError(
            f"{state_dir}: expected the exchange {known.futures_url}, was "
            f"{config.exchange.futures_url}; {hint}"
        )
    if known.symbols != config.symbols:
        raise InputError(
            f"{state_dir}: expected the symbols {', '.join(known.symbols)}, was "
            f"{', '.join(config.symbols)}; {hint}"
        )


def check_time(state_dir: Path, config: Config, known_ms: int, now_ms: int) -> None:
    """Raise InputError when a simulator was started anew: its market is before what the bot has
    seen, so that nothing would be due for hours. On KuCoin a start is never refused for a time."""
    exchange = config.exchange
    if is_loopback(exchange.futures_url) and known_ms - now_ms > MINUTE_MS * exchange.speed:
        raise InputError(
            f"{state_dir}: expected a market that has gone on, was one that is "
            f"{(known_ms - now_ms) / HOUR_MS:.1f} h before it: the simulator was started anew; use "
            "another --state"
        )


def assemble(
    config: Config,
    credentials: Credentials,
    base: Base,
    line: Line,
    known: AccountFile | None,
    stop: Stop,
) -> Bot[KucoinVenue]:
    """Put the parts together; see `open_live_bot`."""
    if known is None:
        seen = first_look(lambda: line.look_at_key(line.look(config)), stop, known=False)
    else:  # positions first; what the spot host says has time
        seen = first_look(lambda: line.look(config), stop, known=True)
    halted_for = judge(seen, fresh=known is None) if seen is not None else []
    account = known or found(config, credentials, line, base, seen)
    account = as_of_now(account, base.state_dir, line, seen)
    world = build_world(config, account.specs, account.founded_ms)
    template = State(world, config.symbols, account.installation)
    state = base.journal.load_state(template)
    if state is None:
        if seen is None:
            raise UnreachableError("a new journal needs the exchange, which cannot be reached")
        state = with_deposit(template, seen.wallet)
        state.read_ms = account.founded_ms
        if known is not None:  # lost, or never begun: what was before is in the wallet already
            account = replace(account, founded_ms=line.clock.now())
            write_account(base.state_dir, account)
            begin_anew(state, account.founded_ms)
    keep_to_grid(state)
    if seen is None:
        line.begin_at(state.now_ms)
    else:
        check_time(base.state_dir, config, state.now_ms, line.clock.now())
    reader = AccountReader(line.client, config.symbols, line.clock, account.founded_ms)
    reader.held_last.update(state.held)
    venue = KucoinVenue(
        line.wire,
        line.client,
        reader,
        account.specs,
        config.timeframe_ms,
        line.clock,
        close=line.close,
        wake=stop.wake,
        monotonic=line.monotonic,
    )
    clock = LiveClock(line.clock.now, config.exchange.speed)
    bot = Bot(base, Engine(state, venue), venue, clock, lambda *_: None, live_source(account))
    bot.recover = Recovery(bot, line, seen, halted_for, fresh=known is None).run
    if config.exchange.websocket:
        venue.prompter = Prompter(line.client, venue.hear)
        line.wire.begin(venue.prompter.run())
    return bot


def first_look[T](look: Callable[[], T], stop: Stop, *, known: bool) -> T | None:
    """Return what the exchange says; None when it cannot be reached and the bot knows its account.

    A bot that does not know it tries again for a while, unless it is to stop, and then fails.
    """
    for attempt in range(FOUND_TRIES):
        try:
            return look()
        except UnreachableError as error:
            if error.exit_code != UnreachableError.exit_code:
                raise
            if not known and (stop.asked or attempt + 1 == FOUND_TRIES):
                raise UnreachableError(
                    f"the exchange cannot be reached, and a first start needs it: {error}"
                ) from error
            log.warning("exchange: cannot be reached: %s", error)
            if known:
                return None
            stop.wait(2.0**attempt)
    return None


def found(
    config: Config, credentials: Credentials, line: Line, base: Base, seen: Account | None
) -> AccountFile:
    """Found the installation: from now on orders with its name are ours."""
    if seen is None:
        raise UnreachableError("a bot cannot be founded while the exchange cannot be reached")
    account = AccountFile(
        installation=new_installation(),
        founded_ms=line.clock.now(),
        key_hash=key_hash(credentials.key),
        futures_url=config.exchange.futures_url,
        spot_url=config.exchange.spot_url,
        specs=tuple(spec for spec in seen.specs if spec is not None),  # all: else it was refused
        speed=config.exchange.speed,
        timeout_s=config.exchange.timeout_s,
        ipv4=config.exchange.ipv4,
    )
    write_account(base.state_dir, account)
    return account


def as_of_now(account: AccountFile, folder: Path, line: Line, seen: Account | None) -> AccountFile:
    """Return the account with contracts and line as they are now; what has changed is written."""
    specs = newest(account.specs, seen) if seen is not None else account.specs
    if specs != account.specs:
        text = f"contracts have changed: {changed(account.specs, specs)}"
        log.warning(text)
        tell(folder, "WARNING", "contracts_changed", text, line.clock.now())
    now = replace(account, specs=specs, timeout_s=line.site.timeout_s, ipv4=line.site.ipv4)
    if now != account:
        note_account(folder, now, line.clock.now())
    return now


def note_account(folder: Path, account: AccountFile, now: int) -> None:
    """Write how contracts and line are now: an emergency has no configuration and goes by this. A
    full disk keeps nobody from their positions: the next start writes it."""
    try:
        write_account(folder, account)
    except InputError as error:
        log.error("account: the file stays as it was: %s", error)
        tell(folder, "WARNING", "account_file", f"it stays as it was: {error}", now)


def with_deposit(state: State, wallet: float) -> State:
    """Return a new state whose deposit is the money on the account."""
    account = state.world.account
    account.deposits = account.cash = account.equity = wallet
    account.peak_equity = account.day_equity = wallet
    return state


def keep_to_grid(state: State) -> None:
    """Let the levels of open positions be prices of their contract, whose tick may have changed:
    at any other no stop can be placed."""
    for k in state.held:
        pos, spec = state.world.positions[k], state.world.specs[k]
        for name in ("stop_price", "target_price"):
            level = getattr(pos, name)
            near = max(round_near(level, spec), spec.tick)
            if level > 0.0 and abs(near - level) > GRID_NOISE * spec.tick:
                setattr(pos, name, near)


def live_source(account: AccountFile) -> Source:
    """Return what a summary says of the market."""
    return Source(
        symbols=account.symbols,
        specs=account.specs,
        stream=lambda: iter(()),
        history=[],
        start_ms=account.founded_ms,
        total=None,
        funding_source="exchange",
        spec_source="exchange",
        label="KuCoin Futures",
        identity={"market": "kucoin"},
    )


class Recovery:
    """The start of a live bot, which may have to be tried again."""

    def __init__(
        self,
        bot: Bot[KucoinVenue],
        line: Line,
        seen: Account | None,
        halted_for: Sequence[str],
        *,
        fresh: bool,
    ) -> None:
        self.bot, self.line, self.seen, self.fresh = bot, line, seen, fresh
        self.halted_for = halted_for
        """what is wrong with the account, and positions are held"""

    def run(self, config: Config, now: int) -> None:
        """Check the account if that has not been possible, make the books true, see every position
        under its stop, then let bars come. Raises UnreachableError."""
        bot, venue = self.bot, self.bot.venue
        if self.seen is None:
            seen = self.line.look(config)
            if (specs := newest(venue.specs, seen)) != venue.specs:
                raise ContractsChangedError(
                    f"contracts have changed: {changed(venue.specs, specs)}: the bot starts anew "
                    "with them"
                )
            self.halted_for = judge(seen, fresh=False)
            self.seen = seen
        with venue.read.waited_for():
            recover_books(bot, config, self.line.clock.now(), None)
        self.wait_for_cover()
        self.halt([*self.halted_for, *self.judge_key(self.seen), *self.try_orders(self.seen)])
        state = bot.engine.state
        venue.follow(self.line.feed(venue.public, venue.wake, config, state))
        money = f"{wallet(state.world.account):,.2f} USDT"
        log.info("ready: wallet %s, %d open, mode %s", money, len(state.held), state.modes.name)

    def wait_for_cover(self) -> None:
        """Let the stops that recovery sent be acknowledged before the bot says that it is ready."""
        engine, clock = self.bot.engine, self.line.clock
        state = engine.state
        end = time.monotonic() + COVER_S
        while time.monotonic() < end:
            engine.pump(clock.now())
            symbols = range(len(state.symbols))
            if all(state.covered(k) >= state.at_risk(k).contracts for k in symbols):
                return
            engine.feed(Tick(max(clock.now(), state.now_ms)))
            time.sleep(0.02)

    def judge_key(self, seen: Account) -> list[str]:
        """See what the spot host says; a new bot has asked it before it was founded."""
        if self.fresh:
            return []
        state = self.bot.engine.state
        held = tuple(state.symbols[k] for k in state.held)
        untold = replace(seen, held=held, refusals=[], concerns=[], warnings=[])
        return judge(self.line.look_at_key(untold), fresh=False)

    def try_orders(self, seen: Account) -> list[str]:
        """Let the exchange check, without placing them, orders of the kinds the bot sends; return
        what it does not take."""
        if not seen.tradable:
            log.warning("self-test of orders is left out: no contract is open")
            return []
        k, venue = seen.tradable[0], self.bot.venue
        price = venue.reader.marks[k]
        if price <= 0.0:
            price = self.line.ask(venue.public.mark_price(k))
        return self.line.ask(self_test(self.line.client, venue.specs[k], price))

    def halt(self, reasons: Sequence[str]) -> None:
        """Let nothing be entered until a person resumes, and call one. Raise LiveRefusedError where
        nothing is held: a process that has ended looks after no position."""
        engine, state = self.bot.engine, self.bot.engine.state
        if not reasons:
            return
        if not state.held:
            raise LiveRefusedError(reasons)
        text = "; ".join(reasons)
        now = max(self.line.clock.now(), state.now_ms)
        engine.feed(Operator(now, Command.HALT, text))
        said = f"positions are held, so the bot protects them and enters nothing: {text}"
        log.error("account: %s", said)
        tell(self.bot.base.state_dir, "CRITICAL", "account_unfit", said, now)


def tell(state_dir: Path, severity: str, kind: str, text: str, now_ms: int) -> None:
    """Leave a message for people."""
    outbox = Outbox(state_dir / OUTBOX)
    outbox.put(severity, kind, f"radbot: {kind}", text, now_ms)
    outbox.flush()
