"""A bot that is restarted again and again trades, to the bit, as one that never was."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from bot.core.state import State
from bot.shell.assemble import Bot, begin_run, open_paper_bot, recover_bot
from bot.shell.config import load_config
from bot.shell.engine import Outcome
from bot.shell.paper import synthetic_source

CONFIG = load_config(None, ['symbols=["BTC-USDT-PERP","ETH-USDT-PERP"]'])
SOURCE = synthetic_source(CONFIG, CONFIG.timeframe_ms, 16, None)
BARS = 900


def recovered(folder: Path) -> Bot:
    bot = open_paper_bot(CONFIG, SOURCE, folder, durable=False)

    def commit(outcomes: Sequence[Outcome], state: State) -> bool:
        bot.journal.commit(outcomes, state)
        return True

    begin_run(bot, CONFIG, {})
    bot.engine.commit = commit
    recover_bot(bot, CONFIG, bot.engine.state.now_ms)
    return bot


def curve(folder: Path, restart_bars: int) -> tuple[list[float], int]:
    """Trade `BARS` bars, restarted every so many; return the equity after each, and the trades."""
    equity: list[float] = []
    trades = 0
    while len(equity) < BARS:
        bot = recovered(folder)
        for _ in range(min(restart_bars, BARS - len(equity))):
            bot.engine.pump(bot.venue.next_ms() or 0)
            equity.append(bot.engine.state.world.account.equity)
        trades = bot.engine.state.world.account.trades
        bot.close(clean=True)
    return equity, trades


@pytest.mark.parametrize("restart_bars", [47, 170])
def test_restarts_change_nothing(
    tmp_path: Path, restart_bars: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RADBOT_LOCK_DIR", str(tmp_path))
    whole, trades = curve(tmp_path / "whole", BARS)
    assert trades > 10
    assert curve(tmp_path / "pieces", restart_bars) == (whole, trades)
