"""The market goes on while the bot is dead: what happened meanwhile is found, booked and told."""

from pathlib import Path

import pytest

from bot.adapters.journal_reader import JournalReader
from bot.core.history import MOST_MISSED
from bot.core.kernel.codes import FLAT
from bot.core.market import DAY_MS, HOUR_MS
from bot.shell.assemble import Bot, open_paper_bot
from bot.shell.config import load_config
from bot.shell.paper import synthetic_source
from bot.shell.paper_venue import MOST_AWAY_MS
from tests.support.lasting import check_books, recovered, replayed

CONFIG = load_config(
    None, ['symbols=["BTC-USDT-PERP","ETH-USDT-PERP"]', "stops.min=0.005", "stops.atr=1.0"]
)
SOURCE = synthetic_source(CONFIG, CONFIG.timeframe_ms, 16, None)
MINUTE = CONFIG.timeframe_ms


@pytest.fixture(autouse=True)
def _locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADBOT_LOCK_DIR", str(tmp_path))


def start(folder: Path, now: int | None = None) -> Bot:
    return recovered(CONFIG, SOURCE, folder, now)


def into_a_position(bot: Bot) -> int:
    """Trade until a position is held; return its symbol."""
    for _ in range(3_000):
        bot.engine.pump(bot.venue.next_ms() or 0)
        for k, pos in enumerate(bot.engine.state.world.positions):
            if pos.side != FLAT:
                return k
    raise AssertionError("never in a position")


@pytest.mark.parametrize("bars", [1, 5, 47, 60, 600])
def test_what_happened_meanwhile_is_booked(tmp_path: Path, bars: int) -> None:
    bot = start(tmp_path / "s")
    into_a_position(bot)
    died_ms = bot.engine.state.now_ms
    bot.close(clean=False)

    bot = start(tmp_path / "s", died_ms + bars * MINUTE + 1_000)
    state = bot.engine.state
    check_books(state, bot.venue.snapshot((), 0, state.now_ms))
    # All bars but the last are history; the last one is decided, and the indicators stand there.
    due = bot.venue.decides_ms()
    assert due is not None
    assert died_ms + bars * MINUTE <= due <= died_ms + (bars + 1) * MINUTE
    assert {symbol.bar_time for symbol in state.world.symbols} == {due - MINUTE}
    for _ in range(50):
        bot.engine.pump(bot.venue.next_ms() or 0)
    bot.venue.check_equity(state.world.account.equity)
    bot.close(clean=True)
    reader = JournalReader(tmp_path / "s" / "journal.sqlite3")
    warmed = [one for one in reader.incidents(100) if one["kind"] == "rewarm"]
    assert len(warmed) == (1 if bars > MOST_MISSED + 1 else 0)
    reader.close()
    assert replayed(tmp_path / "s") > 0


def test_a_stop_that_was_hit_meanwhile_is_a_trade(tmp_path: Path) -> None:
    bot = start(tmp_path / "s")
    into_a_position(bot)
    trades, died_ms = bot.engine.state.world.account.trades, bot.engine.state.now_ms
    bot.close(clean=False)
    bot = start(tmp_path / "s", died_ms + 12 * HOUR_MS)
    assert bot.engine.state.world.account.trades > trades
    reader_trades = bot.journal.trades()
    assert reader_trades[-1].exit_time > died_ms
    bot.close(clean=True)


def test_a_paced_market_goes_on_at_its_pace_and_no_further_than_a_week(tmp_path: Path) -> None:
    bot = start(tmp_path / "s")
    wall = [1_000.0]
    bot.venue.wall = lambda: wall[0]
    due = bot.venue.next_ms() or 0
    bot.engine.pump(due)
    bot.close(clean=False)
    bot = open_paper_bot(CONFIG, SOURCE, tmp_path / "s", durable=False)
    bot.venue.wall = lambda: wall[0]
    wall[0] += 90.0
    assert bot.venue.now_ms(60.0) == due + 90 * MINUTE
    wall[0] += 10 * DAY_MS
    assert bot.venue.now_ms(60.0) == due + MOST_AWAY_MS
    wall[0] = 0.0  # a clock that was set back
    assert bot.venue.now_ms(60.0) == due
    bot.close(clean=True)
