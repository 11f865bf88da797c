"""Flat when the bot cannot do it: stop a process that hangs, close and cancel on the exchange.

Needs neither the journal nor a configuration. What it does is found by the bot's next recovery,
because its orders carry ids of ours with an `e`.
"""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from bot.adapters.locks import InstanceLock, LockedError, holder
from bot.adapters.paper_store import PaperStore
from bot.core.codec import decode
from bot.core.errors import InputError
from bot.core.kernel.params import Params, Spec
from bot.core.messages import CancelOrder, OrderFilled, PlaceOrder, Role
from bot.shell.paper import INSTALLATION
from bot.shell.paper_venue import PaperVenue, restore_records
from bot.sim.paper_market import PaperMarket

LOCK_WAIT_S = 5.0


def flatten(
    state_dir: Path,
    reason: str,
    symbol: str | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, object]:
    """Close everything, or one symbol, on the account of `state_dir`; return what was done.

    The result has `flat` (verified by reading the account again), `closed`, `cancelled`, `seconds`.

    Raises
    ------
    InputError : there is no account
    LockedError : another process took the account over meanwhile
    """
    began = time.monotonic()
    stop_holder(state_dir / "lock", say)
    lock = take_lock(state_dir / "lock")
    try:
        venue, symbols = open_account(state_dir)
        if symbol is not None and symbol not in symbols:
            raise InputError(f"symbol: expected one of {', '.join(symbols)}, was {symbol!r}")
        wanted = range(len(symbols)) if symbol is None else [symbols.index(symbol)]
        closed, cancelled = close_symbols(venue, list(wanted), symbols, say)
        after = venue.snapshot((), 0, 0)
        left = [symbols[k] for k in wanted if after.holdings[k].side != 0]
        orders = [o for o in after.open_orders if o.symbol in wanted]
    finally:
        lock.release()
    return {
        "flat": not left and not orders,
        "left": left,
        "closed": closed,
        "cancelled": cancelled,
        "reason": reason,
        "seconds": round(time.monotonic() - began, 3),
    }


def stop_holder(path: Path, say: Callable[[str], None]) -> None:
    """Kill the process that holds the lock: it was asked and did not answer."""
    note = holder(path)
    pid = note.get("pid") if note is not None else None
    if not isinstance(pid, int) or pid == os.getpid():
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


def open_account(state_dir: Path) -> tuple[PaperVenue, list[str]]:
    """Open the simulated exchange of a state directory as it stands, without its market."""
    path = state_dir / "paper.sqlite3"
    if not path.exists():
        raise InputError(f"{state_dir}: expected an account (paper.sqlite3), was none")
    store = PaperStore(path, durable=True)
    identity, data = store.read("identity"), store.read("market")
    params, specs = store.read("params"), store.read("specs")
    if not isinstance(identity, dict) or not isinstance(specs, list) or data is None:
        raise InputError(f"{path}: expected a simulated exchange, was something else")
    market = PaperMarket(
        decode(Params, params), [decode(Spec, spec) for spec in specs], 0.0, iter(())
    )
    market.restore(data, None)
    restore_records(market, store)
    venue = PaperVenue(market, store, iter(()), lambda: iter(()))
    venue.restore_moment()
    return venue, [str(name) for name in identity["symbols"]]


def close_symbols(
    venue: PaperVenue, wanted: list[int], symbols: list[str], say: Callable[[str], None]
) -> tuple[list[str], int]:
    """Close positions at the mark, then cancel what is left; return names and a count.

    In this order: stops protect until their position is gone.
    """
    market = venue.market
    # Not before anything the exchange has told already: its records are read by time.
    told = (entry.now_ms for entry in market.records.entries)
    now = max([market.ended_ms(), venue.moment[1] if venue.moment else 0, *told])
    closed = []
    for k in wanted:
        held = market.exchange.ledger.held[k]
        if held.side == 0:
            continue
        order = PlaceOrder(
            client_id=f"{INSTALLATION}-e{now}{k:02d}-exit",
            symbol=k,
            role=Role.EXIT,
            side=-held.side,
            contracts=held.contracts,
            price=0.0,
            leverage=held.leverage,
        )
        event = market.trade_now(order, now)
        if isinstance(event, OrderFilled):
            closed.append(symbols[k])
            say(f"closed {symbols[k]}: {event.contracts:g} contracts at {event.price:g}")
    open_orders = [o for o in market.snapshot((), 0, now).open_orders if o.symbol in wanted]
    for report in open_orders:
        market.cancel(CancelOrder(report.client_id, report.symbol), now)
    venue.save()
    return closed, len(open_orders)
