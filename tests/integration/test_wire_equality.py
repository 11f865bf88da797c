"""L2 (DESIGN section 3): `radbot live` over the wire simulator decides as paper does on the same
market: 400 bars of an hour, with time moved by hand. With the real commands and a clock that runs:
test_live_equality.py.

The market is the real year 2024 where it is there, else an embedded one.
"""

from itertools import islice
from pathlib import Path

import pytest

from bot.adapters.history import load_market
from bot.core.market import HOUR_MS, Row
from bot.shell.config import Config, load_config
from bot.shell.paper import Source, recorded_source, synthetic_source, warmup_rows
from tests.support import equality
from tests.support.counts import Count
from tests.support.wire import simulator
from tests.support.wire_drills import WireDrill

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
SYMBOLS = ("BTC-USDT-PERP", "ETH-USDT-PERP", "XRP-USDT-PERP")
SEED = 3
"""of the embedded market, which stands in where there is no real data"""
SETTINGS = (f"symbols={list(SYMBOLS)}".replace("'", '"'), "timeframe=1h", "stops.atr=1.5")
BARS = 400


def drawn(config: Config) -> tuple[Source, list[Row], list[str]]:
    """Return the market, its rows, and the simulator's words for it."""
    warmup = warmup_rows(config)
    if SHARED.is_dir():
        data = load_market([SHARED / "binance-perp"], SYMBOLS, "1h", 1_693_526_400_000, None)
        source = recorded_source(data, "2024")
        words = ["--market", "replay", "--data", str(SHARED / "binance-perp")]
        words += ["--start", "2023-09-01"]
    else:
        source = synthetic_source(config, HOUR_MS, SEED, None)
        words = ["--market", "synthetic", "--seed", str(SEED)]
        rows = [*source.history, *islice(source.stream(), 600 + BARS)]
        return source, rows[: 600 + warmup + BARS], words
    return source, list(islice(source.stream(), 600 + warmup + BARS)), words


class Equality(WireDrill):
    """A drill that goes from bar to bar: first to its last second, then past its end."""

    def step(self) -> int:
        soon = super().step()
        feed = self.venue.bars_feed
        if soon < 1_000 or feed is None:
            return soon
        to_end = feed.end_ms - 1_000 - self.clock.now()
        return to_end if to_end > 0 else 1_000 + 2_100


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RADBOT_LOCK_DIR", str(tmp_path))
    return tmp_path / "s"


def test_live_decides_as_paper_does_on_the_same_market(folder: Path) -> None:
    config = load_config(None, SETTINGS)
    skip = 600 + warmup_rows(config)
    source, rows, words = drawn(config)
    # The bar that ended when the bot began came too late to be decided on.
    past, coming = rows[skip - 1 - warmup_rows(config) : skip], rows[skip:]
    words += ["--symbols", ",".join(SYMBOLS), "--timeframe", "1h", "--speed", "step"]
    words += ["--history", str(skip), "--depth", str(10**9), "--marks", "last"]
    with simulator(*words, "--quotes", str(equality.QUOTES)) as exchange:
        urls = [f"exchange.futures_url={exchange.futures}", f"exchange.spot_url={exchange.spot}"]
        wired = load_config(None, [*SETTINGS, *urls, "exchange.websocket=false"])
        drill = Equality(folder, exchange, skip=skip, config=wired)
        drill.start()
        drill.run_bars(BARS)
        drill.check()
        traded = equality.in_words(drill.bot.journal.trades(1_000), SYMBOLS)
        fills = equality.fills_of(exchange.truth())
        drill.close()
    ground = equality.Ground(config, source.specs, past, coming)
    end = coming[0].open_ms // HOUR_MS + BARS
    paper = [one for one in equality.on_paper(ground) if one.left < end]
    live = equality.live_deals(traded, fills, HOUR_MS)
    assert len(paper) >= 10
    worst = equality.check(ground, paper, live, fills)
    Count(f"L2: {'2024' if SHARED.is_dir() else 'embedded market'}").add(
        trades=len(live), **worst.numbers()
    )
