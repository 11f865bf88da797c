"""What tests of a lasting bot have in common: one that trades often, opened and recovered without
its daemon, and the comparison of its books with its exchange.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

from bot.adapters.journal_reader import JournalReader
from bot.adapters.outbox import Outbox
from bot.core.kernel.codes import FLAT
from bot.core.messages import Liquidated, OrderFilled, Role
from bot.core.reconcile import Entry, Snapshot
from bot.core.state import State
from bot.shell.assemble import Bot, begin_run, open_paper_bot
from bot.shell.config import Config
from bot.shell.engine import Outcome
from bot.shell.paper import Source
from bot.shell.paper_venue import PaperVenue
from bot.shell.replay import replay

BUSY = [
    'symbols=["BTC-USDT-PERP","ETH-USDT-PERP","SOL-USDT-PERP"]',
    "warmup_bars=60",
    "regime.slow=60",
    "stops.trail_start=0",
    "stops.atr=1.0",
]
"""settings under which a bot soon trades, and often"""


def check_books(state: State, seen: Snapshot) -> None:
    """Compare positions, their stops and the wallet with a read of the exchange."""
    for k, holding in enumerate(seen.holdings):
        pos = state.world.positions[k]
        assert (holding.side, holding.contracts) == (pos.side, pos.contracts), (k, holding, pos)
        if holding.side != FLAT:
            assert state.covered(k) >= holding.contracts, f"{k} is uncovered"
    account = state.world.account
    ours = account.deposits + account.realised - account.fees + account.funding
    assert abs(ours - seen.wallet) < 1e-6, (ours, seen.wallet)


def check_told(folder: Path, symbols: Sequence[str]) -> None:
    """Compare the incidents in the journal with the messages that were left: one of each."""
    written = Outbox(folder / "outbox").written()
    told = Counter((m["kind"], m["body"], m["market_ms"]) for m in written)
    with closing(sqlite3.connect(folder / "journal.sqlite3")) as db:
        rows = db.execute(
            "SELECT kind, text, symbol, now_ms FROM incidents WHERE level <> 'INFO'"
        ).fetchall()
    names = [f"{name}: " for name in symbols] + [""]  # -1 is the whole bot
    happened = Counter((kind, names[k] + text, ms) for kind, text, k, ms in rows)
    assert not happened - told, happened - told
    twice = {one: count for one, count in (told - happened).items() if one in happened}
    assert not twice, twice


def replayed(folder: Path) -> int:
    """Return how many events the journal of a bot holds; each must be decided as it was."""
    with closing(JournalReader(folder / "journal.sqlite3")) as reader:
        result = replay(reader)
    assert result.different == 0, result.differences[:3]
    return result.events


def check_orders(state: State, seen: Snapshot) -> None:
    """Compare resting orders with a read of the exchange; what is under way may be there or not."""
    resting = {report.client_id for report in seen.open_orders}
    live = {o.request.client_id for o in state.orders.values() if o.rests}
    waiting = {
        o.request.client_id
        for o in state.orders.values()
        if not o.rests or o.role in (Role.ENTRY, Role.EXIT)
    }
    assert live <= resting, live - resting
    assert resting <= live | waiting, resting - live


def check_entries(entries: Iterable[Entry]) -> None:
    """See in an exchange's records that no position was ever built by two entries, and that no
    order traded too much."""
    holders: dict[int, str] = {}
    held: dict[int, float] = {}
    for entry in entries:
        if isinstance(entry, OrderFilled):
            k = entry.symbol
            if entry.client_id.endswith("-entry"):
                builder = holders.setdefault(k, entry.client_id)
                assert builder == entry.client_id, f"{k}: {builder} and {entry.client_id}"
                held[k] = held.get(k, 0.0) + entry.contracts
                continue
        elif not isinstance(entry, Liquidated):
            continue
        k = entry.symbol
        held[k] = held.get(k, 0.0) - entry.contracts
        assert held[k] >= 0.0, (k, entry)
        if held[k] == 0.0:
            holders.pop(k, None)


def recovered(
    config: Config, source: Source, folder: Path, now: int | None = None
) -> Bot[PaperVenue]:
    """Return the bot of a state directory, recovered at market time `now` (default: its own)."""
    bot = open_paper_bot(config, source, folder, durable=False)

    def commit(outcomes: Sequence[Outcome], state: State) -> bool:
        bot.journal.commit(outcomes, state)
        return True

    begin_run(bot, config, {})
    bot.engine.commit = commit
    bot.recover(config, bot.engine.state.now_ms if now is None else now)
    return bot
