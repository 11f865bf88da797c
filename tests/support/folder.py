"""What a state directory holds, read from outside: the books of its bot, and its exchange's own.

The bot may run meanwhile. Where it is dead, look at a copy: whoever opens the exchange's file
tidies up what the bot itself shall find at its next start.
"""

from contextlib import closing
from pathlib import Path

from bot.adapters.journal_reader import JournalReader
from bot.core.messages import PlaceOrder, Role
from bot.core.modes import Cause
from bot.core.reconcile import Snapshot
from bot.core.state import State
from bot.core.step import step
from bot.shell.emergency import PaperAccount
from bot.shell.offline import template
from tests.support.lasting import check_books, check_entries, check_orders


def books(folder: Path) -> State:
    """Return the state that the journal holds."""
    with closing(JournalReader(folder / "journal.sqlite3")) as reader, reader.at_once():
        state = reader.load_state(template(list(reader.symbols()), reader.identity()))
    assert state is not None
    return state


def exchange(folder: Path) -> Snapshot:
    """Return what the exchange has stored; its records are looked through on the way."""
    with closing(PaperAccount(folder)) as account:
        market = account.venue.market
        check_entries(market.records.entries)
        return market.snapshot((), 0, account.venue.told_ms())


def check_folder(folder: Path) -> None:
    """Compare books and exchange: positions, stops, orders, the wallet; nothing is doubled."""
    state, seen = books(folder), exchange(folder)
    check_books(state, seen)
    check_orders(state, seen)


def check_starts(folder: Path) -> int:
    """See that no start let an entry out before every position rested under stops of its size.

    Return how many starts let one out. There may be no more starts than a journal keeps stored
    states of.
    """
    with closing(JournalReader(folder / "journal.sqlite3")) as reader, reader.at_once():
        symbols, identity = list(reader.symbols()), reader.identity()
        starts, stored = reader.starts(), {n for n, _, _ in reader.checkpoints()}
        ends = [*starts[1:], None]
        assert set(starts) <= stored
        return sum(
            check_start(reader, reader.state_at(first, template(symbols, identity)), first, end)
            for first, end in zip(starts, ends, strict=True)
        )


def check_start(reader: JournalReader, state: State, first: int, end: int | None) -> bool:
    """Decide the events of a start again, up to its first entry; return whether there is one."""
    for n, event, effects in reader.events(first, end):
        if any(isinstance(one, PlaceOrder) and one.role is Role.ENTRY for one in effects):
            assert Cause.RECOVERING not in state.modes.causes, n
            for k in state.held:
                assert state.covered(k) >= state.world.positions[k].contracts, (n, k)
            return True
        step(state, event)
    return False
