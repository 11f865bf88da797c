"""L2 (DESIGN section 3) with the real commands: `radbot live` on `radops exchange`, in accelerated
time, decides as `radbot paper` does on the same minutes of 2024; of an embedded market where these
are not there. How the two are compared: tests/support/equality.py.
"""

from pathlib import Path

import pytest

from tests.support import equality
from tests.support.counts import CHAOS, Count
from tests.support.live_equality import (
    BARS,
    RECORDS,
    STRETCHES,
    Stretch,
    traded_by_paper,
    traded_live,
    write_stretch,
)

SPEEDS = (40, 15)
"""only where the machine was too slow for the first is the next one tried, and that is counted; a
trade that differs fails at once"""
QUICK_MS = 12_000
"""2 s until a bar is closed for sure; the rest is 250 ms at the higher speed"""


@pytest.mark.parametrize("stretch", STRETCHES if CHAOS > 1 else STRETCHES[:1])
def test_the_command_trades_as_paper_does_on_the_same_market(
    tmp_path: Path, stretch: Stretch
) -> None:
    candles = tmp_path / "candles"
    ground = write_stretch(candles, stretch)
    length = ground.length
    end = ground.coming[0].open_ms // length + BARS
    every = equality.paper_deals(traded_by_paper(tmp_path, candles), length)
    paper = [one for one in every if one.left < end]
    assert len(paper) >= 10
    with Count(f"L2, commands: {'2024' if RECORDS else 'embedded market'}") as count:
        late = {}
        for speed in SPEEDS:
            run = traded_live(candles, ground, speed)
            if not run.late:
                break
            late[speed] = run.late
        assert not run.late, late
        live = equality.live_deals(run.trades, run.fills, length)
        live = [one for one in live if one.left < end]
        worst = equality.check(ground, paper, live, run.fills)
        assert equality.entries(run.fills, length, end) == [
            (one.entered, one.symbol, one.side) for one in every if one.entered < end
        ]
        assert min(equality.waits(run.fills, length)) < QUICK_MS
    numbers = {"too_slow": len(late), "slowest_answer_ms": run.slowest_ms, **worst.numbers()}
    count.add(trades=len(live), **numbers)
