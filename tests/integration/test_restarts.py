"""A bot that is restarted again and again trades, to the bit, as one that never was."""

from pathlib import Path

import pytest

from bot.shell.config import load_config
from bot.shell.paper import synthetic_source
from tests.support.lasting import recovered

CONFIG = load_config(None, ['symbols=["BTC-USDT-PERP","ETH-USDT-PERP"]'])
SOURCE = synthetic_source(CONFIG, CONFIG.timeframe_ms, 16, None)
BARS = 900


def curve(folder: Path, restart_bars: int) -> tuple[list[float], int]:
    """Trade `BARS` bars, restarted every so many; return the equity after each, and the trades."""
    equity: list[float] = []
    trades = 0
    while len(equity) < BARS:
        bot = recovered(CONFIG, SOURCE, folder)
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
