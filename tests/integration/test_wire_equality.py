"""L2 (DESIGN section 3): `radbot live` over the wire simulator decides as paper does on the same
market. Same bars, same entries and exits, contracts and prices within what latency and spread cost.

The market is the real year 2024 where it is there, else an embedded one.
"""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pytest

from bot.adapters.history import load_market
from bot.core.kernel.codes import REASON_NAMES, SIDE_NAMES
from bot.core.kernel.records import Trade
from bot.core.market import HOUR_MS, Row
from bot.core.messages import History
from bot.core.state import State
from bot.shell.build import build_world
from bot.shell.config import Config, load_config
from bot.shell.engine import Engine
from bot.shell.paper import Source, recorded_source, synthetic_source, warmup_rows
from bot.sim.paper_market import PaperMarket
from tests.support.counts import Count
from tests.support.wire import simulator
from tests.support.wire_drills import WireDrill

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
SYMBOLS = ("BTC-USDT-PERP", "ETH-USDT-PERP", "XRP-USDT-PERP")
SEED = 3
"""of the embedded market, which stands in where there is no real data"""
SETTINGS = (f"symbols={list(SYMBOLS)}".replace("'", '"'), "timeframe=1h", "stops.atr=1.5")
BARS = 400
NEAR_BPS = 10.0
"""entries and exits by signal: spread and slippage are the same, latency is 1 bps there and real
here, and between two quotes the price goes on"""
STOP_BPS = 30.0
"""a stop trades at the first quote beyond its level; quotes are a third of a minute apart"""


@dataclass(frozen=True)
class Deal:
    """One round trip, by the bars in which it began and ended."""

    symbol: int
    side: str
    reason: str
    entered: int
    left: int
    contracts: float
    entry_price: float
    exit_price: float

    @property
    def decision(self) -> tuple[object, ...]:
        return self.symbol, self.side, self.reason, self.entered, self.left


def deal(trade: Trade, *, inside: int) -> Deal:
    """Return a trade; what happens inside a bar is stamped with its end (`inside` 1) or not (0)."""
    reason = REASON_NAMES[trade.reason]
    shift = inside if reason in ("stop", "target", "liquidation") else 0
    return Deal(
        trade.symbol,
        SIDE_NAMES[trade.side],
        reason,
        trade.entry_time // HOUR_MS,
        (trade.exit_time - shift) // HOUR_MS,
        trade.contracts,
        trade.entry_price,
        trade.exit_price,
    )


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


def paper_deals(config: Config, source: Source, rows: list[Row], first: int) -> list[Deal]:
    """Return what paper trades from row `first` on, after the warm-up that a live bot has, and the
    bar that ended when that bot began: it came too late to be decided on."""
    warmup = warmup_rows(config)
    world = build_world(config, source.specs, rows[first].open_ms)
    market = PaperMarket(world.params, world.specs, config.balance, iter(rows[first:]))
    engine = Engine(State(world, source.symbols, "paper"), market)
    for row in rows[first - 1 - warmup : first]:
        engine.feed(History(row.open_ms + HOUR_MS, row.bars))
    while (due := market.next_ms()) is not None:
        engine.pump(due)
    return [deal(trade, inside=1) for trade in engine.record.trades]


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
    paper = paper_deals(config, source, rows, skip)
    words += ["--symbols", ",".join(SYMBOLS), "--timeframe", "1h", "--speed", "step"]
    words += ["--history", str(skip), "--depth", str(10**9), "--quotes", "60", "--marks", "last"]
    with simulator(*words) as exchange:
        urls = [f"exchange.futures_url={exchange.futures}", f"exchange.spot_url={exchange.spot}"]
        config = load_config(None, [*SETTINGS, *urls, "exchange.websocket=false"])
        drill = Equality(folder, exchange, skip=skip, config=config)
        drill.start()
        drill.run_bars(BARS)
        drill.check()
        live = [deal(trade, inside=0) for trade in drill.bot.journal.trades(1_000)]
        drill.close()
    paper = [one for one in paper if one.left < rows[skip].open_ms // HOUR_MS + BARS]
    assert len(paper) >= 10
    assert [one.decision for one in live] == [one.decision for one in paper]
    worst = {"contracts": 0.0, "entry": 0.0, "exit": 0.0}
    for ours, theirs in zip(live, paper, strict=True):
        size = abs(ours.contracts / theirs.contracts - 1.0)
        entry = 1e4 * abs(ours.entry_price / theirs.entry_price - 1.0)
        leave = 1e4 * abs(ours.exit_price / theirs.exit_price - 1.0)
        assert size < 0.01, (ours, theirs)
        assert entry < NEAR_BPS, (ours, theirs)
        assert leave < (STOP_BPS if ours.reason == "stop" else NEAR_BPS), (ours, theirs)
        worst = {
            "contracts": max(worst["contracts"], size),
            "entry": max(worst["entry"], entry),
            "exit": max(worst["exit"], leave),
        }
    Count(f"L2: {'2024' if SHARED.is_dir() else 'embedded market'}").add(
        trades=len(live),
        worst_entry_milli_bps=int(1000 * worst["entry"]),
        worst_exit_milli_bps=int(1000 * worst["exit"]),
    )
