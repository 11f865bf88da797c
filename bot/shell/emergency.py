"""Flat when the bot cannot do it: stop a process that hangs, close and cancel on the exchange.

Needs neither the journal nor a configuration. What it does is found by the bot's next recovery,
because its orders carry ids of ours with an `e`.
"""

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bot.adapters.kucoin_site import Credentials
from bot.adapters.locks import BOT, InstanceLock, LockedError, holder
from bot.adapters.paper_store import PaperStore, reading_account
from bot.core.codec import decode
from bot.core.errors import BotError, InputError
from bot.core.kernel.params import Params, Spec
from bot.core.messages import CancelOrder, OrderFilled, PlaceOrder, Role
from bot.shell.account_file import AccountFile, key_hash, read_account
from bot.shell.credentials import NoCredentialsError, load_credentials
from bot.shell.others import told_of_others
from bot.shell.paper import INSTALLATION
from bot.shell.paper_venue import PaperVenue, restore_records
from bot.shell.state_folder import ACCOUNT, LOCK, PAPER
from bot.sim.paper_market import PaperMarket

LOCK_WAIT_S = 5.0
BUSY_MS = 5_000
"""how long a simulated account that somebody holds is waited for"""

BY_HAND = "or close by hand on the exchange's own page"

type Say = Callable[[str], None]


@dataclass(slots=True)
class Done:
    """What was done, and what is left of it: names of symbols, and a number of orders."""

    closed: list[str]
    cancelled: int
    left: list[str]
    orders: int
    why: str = ""
    """why something is left, where that is known"""
    others: Sequence[str] = ()
    """what is at risk in contracts that are not configured, in words"""


class EmergencyAccount(Protocol):
    """An account as it stands, without its bot."""

    @property
    def symbols(self) -> Sequence[str]:
        """Return the names, in configuration order."""

    def is_flat(self, wanted: Sequence[int]) -> bool:
        """Return whether neither a position nor an order is there; it only reads."""

    def flatten(self, wanted: Sequence[int], say: Say) -> Done:
        """Close positions, then cancel what is left; verified by reading the account again.

        In this order: stops protect until their position is gone.
        """

    def close(self) -> None:
        """Give back what it holds."""


def flatten(
    state_dir: Path,
    reason: str,
    symbol: str | None = None,
    say: Say = print,
    credentials: Path | None = None,
) -> dict[str, object]:
    """Close everything, or one symbol, on the account of `state_dir`; return what was done.

    The result has `flat` (verified by reading the account again), `closed`, `cancelled`, `seconds`,
    and where everything was asked for `foreign`: what is in contracts that are not configured,
    which nobody here touches.
    `credentials` is the folder with the key of a live account. A bot that does not answer is killed
    first, but for two cases: one symbol that has neither position nor order, because the bot's
    other positions need it; and no key, or one that is refused, because the bot may come round and
    then do what nobody else can.

    Raises
    ------
    InputError : there is no account, or the key is another's
    NoCredentialsError : there is no usable key
    LockedError : another process took the account over meanwhile
    BotError : the exchange cannot be reached, or does not accept the key
    """
    began = time.monotonic()
    live = (state_dir / ACCOUNT).exists()
    if live:
        live_key(state_dir, credentials)
    ask_first = symbol is not None or (live and holder(state_dir / LOCK) is not None)
    if ask_first and nothing_there(state_dir, symbol, credentials, say) and symbol is not None:
        done = Done([], 0, [], 0)
        note = f"{symbol} was flat: nothing was done"
        return {**result_of(done, reason, began), "note": note}
    stop_holder(state_dir / LOCK, say)
    lock = take_lock(state_dir / LOCK)
    try:
        account = open_account(state_dir, credentials)
        try:
            done = account.flatten(numbers(account, symbol), say)
        finally:
            account.close()
    finally:
        lock.release()
    result = result_of(done, reason, began)
    told = told_of_others(done.others) if symbol is None else {}
    notes = [str(one["note"]) for one in (result, told) if "note" in one]
    return {**result, **told, **({"note": "; ".join(notes)} if notes else {})}


def numbers(account: EmergencyAccount, symbol: str | None) -> list[int]:
    """Return the number of a symbol, or all numbers for None; raise InputError with the known."""
    symbols = list(account.symbols)
    if symbol is not None and symbol not in symbols:
        raise InputError(f"symbol: expected one of {', '.join(symbols)}, was {symbol!r}")
    return list(range(len(symbols))) if symbol is None else [symbols.index(symbol)]


def nothing_there(state_dir: Path, symbol: str | None, credentials: Path | None, say: Say) -> bool:
    """Return whether a symbol, or all, has neither position nor orders; what cannot be read may
    have. That the exchange refuses the key is raised: with it nobody could do the work of a process
    that hangs.
    """
    try:
        account = open_account(state_dir, credentials)
        try:
            return account.is_flat(numbers(account, symbol))
        finally:
            account.close()
    except InputError:
        raise
    except (BotError, OSError, sqlite3.Error, ValueError) as error:
        if isinstance(error, BotError) and error.exit_code == NoCredentialsError.exit_code:
            raise
        name = symbol or "the account"
        say(f"{name}: it cannot be read ({error}), closing it all the same")
        return False


def result_of(done: Done, reason: str, began: float) -> dict[str, object]:
    """Return what was done as the command prints it."""
    result: dict[str, object] = {
        "flat": not done.left and not done.orders,
        "left": done.left,
        "closed": done.closed,
        "cancelled": done.cancelled,
        "reason": reason,
        "seconds": round(time.monotonic() - began, 3),
    }
    if done.why and not result["flat"]:
        result["note"] = done.why
    return result


def stop_holder(path: Path, say: Say) -> None:
    """Kill the bot that holds the lock: it was asked and did not answer.

    Another kill or a resume was not asked; it is done soon, and is waited for.
    """
    note = holder(path) or {}
    pid, program = note.get("pid"), note.get("program", BOT)
    if not isinstance(pid, int) or pid == os.getpid():
        return
    if program != BOT:
        say(f"process {pid} is at work on this account ({program}): waiting for it")
        return
    say(f"process {pid} does not answer: killing it")
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def take_lock(path: Path) -> InstanceLock:
    """Take the instance lock as soon as the killed process has let go of it."""
    end = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            return InstanceLock.acquire(path, {"program": "emergency"})
        except LockedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


def live_key(state_dir: Path, credentials: Path | None) -> tuple[AccountFile, Credentials]:
    """Return what is known of a live account, and its key.

    Raises
    ------
    InputError : there is no live account, or the key is another's
    NoCredentialsError : there is no usable key
    """
    known = read_account(state_dir)
    if known is None:
        raise InputError(f"{state_dir}: expected a live account, was none")
    keys = load_credentials(credentials)
    if key_hash(keys.key) != known.key_hash:
        raise InputError(
            f"{state_dir}: expected the API key of this account, was another: nothing was closed; "
            f"give --credentials the folder of the key it was founded with, {BY_HAND}"
        )
    return known, keys


def open_account(state_dir: Path, credentials: Path | None) -> EmergencyAccount:
    """Open the account of a state directory, live or simulated; raise InputError where none is."""
    if (state_dir / ACCOUNT).exists():
        from bot.shell.emergency_live import LiveAccount  # ccxt, for those who need it

        return LiveAccount(state_dir, credentials)
    if (state_dir / PAPER).exists():
        return PaperAccount(state_dir)
    raise InputError(f"{state_dir}: expected an account ({PAPER} or {ACCOUNT}), was none")


class PaperAccount:
    """The simulated exchange of a state directory as it stands, without its market."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        path = state_dir / PAPER
        store = PaperStore(path, durable=True, busy_ms=BUSY_MS)
        with reading_account(path):
            identity, data = store.read("identity"), store.read("market")
            params, specs = store.read("params"), store.read("specs")
            if not isinstance(identity, dict) or not isinstance(specs, list) or data is None:
                raise InputError(f"{path}: expected a simulated exchange, was something else")
            market = PaperMarket(
                decode(Params, params), [decode(Spec, spec) for spec in specs], 0.0, iter(())
            )
            market.restore(data, None)
            restore_records(market, store)
            self.venue = PaperVenue(market, store, iter(()), lambda: iter(()))
            self.venue.restore_moment()
        self.symbols = [str(name) for name in identity["symbols"]]

    def is_flat(self, wanted: Sequence[int]) -> bool:
        """See EmergencyAccount."""
        return self.left(wanted) == ([], 0)

    def left(self, wanted: Sequence[int]) -> tuple[list[str], int]:
        """Return which of the symbols are held, and how many orders rest on them."""
        seen = self.venue.market.snapshot((), 0, self.venue.told_ms())
        held = [self.symbols[k] for k in wanted if seen.holdings[k].side != 0]
        return held, sum(order.symbol in wanted for order in seen.open_orders)

    def flatten(self, wanted: Sequence[int], say: Say) -> Done:
        """See EmergencyAccount: positions close at the mark.

        What counts is what is in the file then: memory ends with this process.
        """
        market = self.venue.market
        # Not before anything the exchange has told already: its records are read by time.
        now = self.venue.told_ms()
        closed, lines = [], []
        for k in wanted:
            held = market.exchange.ledger.held[k]
            if held.side == 0:
                continue
            name = emergency_id(INSTALLATION, now, k)
            order = PlaceOrder(name, k, Role.EXIT, -held.side, held.contracts, 0.0, held.leverage)
            event = market.trade_now(order, now)
            if isinstance(event, OrderFilled):
                closed.append(self.symbols[k])
                what = f"{event.contracts:g} contracts at {event.price:g}"
                lines.append(f"closed {self.symbols[k]}: {what}")
        open_orders = [o for o in market.snapshot((), 0, now).open_orders if o.symbol in wanted]
        for report in open_orders:
            market.cancel(CancelOrder(report.client_id, report.symbol), now)
        self.venue.save()
        after = PaperAccount(self.state_dir)
        try:
            left, orders = after.left(wanted)
        finally:
            after.close()
        if self.venue.trouble is not None:
            return Done([], 0, left, orders, self.venue.trouble)
        for line in lines:
            say(line)
        return Done(closed, len(open_orders), left, orders)

    def close(self) -> None:
        self.venue.store.close()


def emergency_id(installation: str, now_ms: int, symbol: int) -> str:
    """Return the client id of an emergency's exit: ours, and no other order's.

    >>> emergency_id("paper", 1_704_067_200_000, 3)
    'paper-e170406720000003-exit'
    """
    return f"{installation}-e{now_ms}{symbol:02d}-exit"
