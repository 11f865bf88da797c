"""A journal that is lost while its exchange lives on: nothing raises, the lost position keeps its
stop, and nothing new is entered until a person has looked. A simulated exchange that is lost while
the journal lives on is refused.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from bot.core.errors import InputError
from bot.core.kernel.accounting import wallet
from bot.core.kernel.codes import FLAT
from bot.core.messages import Command, Operator, PlaceOrder, Role
from bot.core.modes import Cause
from bot.shell.assemble import Bot
from bot.shell.config import load_config
from bot.shell.emergency import emergency_id
from bot.shell.paper import synthetic_source
from bot.shell.paper_venue import PaperVenue
from tests.support.lasting import BUSY, recovered

CONFIG = load_config(None, BUSY)
SOURCE = synthetic_source(CONFIG, CONFIG.timeframe_ms, 16, None)


def pump(bot: Bot[PaperVenue], bars: int) -> None:
    for _ in range(bars):
        bot.engine.pump(bot.venue.next_ms() or 0)


def stops(bot: Bot[PaperVenue], k: int) -> float:
    book = bot.venue.market.exchange.book
    return sum(book.left[order.client_id] for order in book.resting(k, Role.STOP))


def gap(bot: Bot[PaperVenue]) -> float:
    """Return what the exchange has more than the books, USDT."""
    theirs = bot.venue.market.exchange.ledger.wallet
    return theirs - wallet(bot.engine.state.world.account)


@pytest.mark.parametrize("large", [True, False])
def test_a_lost_journal_is_no_crash_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    monkeypatch.setenv("RADBOT_LOCK_DIR", str(tmp_path))
    bot = recovered(CONFIG, SOURCE, tmp_path / "s")
    held = bot.venue.market.exchange.ledger.held
    while bot.engine.state.world.account.trades < 3 or all(one.side == FLAT for one in held):
        pump(bot, 1)
    bot.venue.market.exchange.ledger.wallet += -200.0 if large else -0.5
    bot.venue.save()
    lost = [k for k, one in enumerate(held) if one.side != FLAT]
    contracts = [one.contracts for one in held]
    bot.close(clean=True)
    for path in (tmp_path / "s").glob("journal.sqlite3*"):
        path.unlink()

    bot = recovered(CONFIG, SOURCE, tmp_path / "s")
    state, held = bot.engine.state, bot.venue.market.exchange.ledger.held
    assert [one.contracts for one in held] == contracts
    for _ in range(10):
        pump(bot, 1)
        assert all(stops(bot, k) >= held[k].contracts for k in lost)
    assert (Cause.EQUITY_JUMP in state.modes.causes) == large
    assert Cause.FOREIGN_ORDER in state.modes.causes
    assert not any(order.role is Role.ENTRY for order in state.orders.values())

    for k in lost:  # as `radbot kill` does without the bot
        side, now = -held[k].side, state.now_ms
        exit_ = PlaceOrder(
            emergency_id("paper", now, k), k, Role.EXIT, side, contracts[k], 0.0, 1.0
        )
        bot.venue.market.trade_now(exit_, now)
    pump(bot, 10)
    bot.engine.feed(Operator(state.now_ms, Command.RESUME, "looked at"))
    pump(bot, 30)
    if large:
        assert abs(gap(bot)) < 1e-3
    assert state.modes.name == "RUN"
    bot.close(clean=True)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda body: b"", "expected the simulated account of the journal beside it"),
        (lambda body: b"no database", "cannot be read"),
        (lambda body: body[:5_000], "cannot be read"),
        (lambda body: body[:4_100] + b"X" * 50 + body[4_150:], "cannot be read"),
        (lambda body: body.replace(b'"open_ms"', b'"open_mx"'), "cannot be read"),
    ],
    ids=["empty", "text", "cut", "page", "field"],
)
def test_an_account_that_is_lost_or_damaged_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[bytes], bytes],
    told: str,
) -> None:
    monkeypatch.setenv("RADBOT_LOCK_DIR", str(tmp_path))
    bot = recovered(CONFIG, SOURCE, tmp_path / "s")
    pump(bot, 30)
    bot.close(clean=True)
    file = tmp_path / "s" / "paper.sqlite3"
    whole = file.read_bytes()
    damaged = damage(whole)
    assert damaged != whole
    file.write_bytes(damaged)
    with pytest.raises(InputError, match=told) as refused:
        recovered(CONFIG, SOURCE, tmp_path / "s")
    assert str(file) in str(refused.value)
    if not damaged:
        file.unlink()
    file.write_bytes(whole)
    bot = recovered(CONFIG, SOURCE, tmp_path / "s")  # nothing was lost, no lock is held
    pump(bot, 1)
    bot.close(clean=True)
