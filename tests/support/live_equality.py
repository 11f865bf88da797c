"""`radbot live` beside `radbot paper` on the same minutes of a market, as processes, in fast time.

A fast clock makes the machine slow in market time: what takes it half a second takes 20 s at speed
40. A run in which it was too slow shows nothing about decisions, so whoever compares must ask
`Run.late` first.
"""

import csv
import gzip
import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from bot.adapters.history import load_market
from bot.adapters.journal_reader import JournalReader
from bot.core.market import MINUTE_MS, Bar, Row
from bot.core.messages import Cycle, OrderAccepted, PlaceOrder
from bot.shell.config import load_config
from bot.shell.paper import SYNTHETIC_START_MS
from bot.sim.markets import MarketModel, SyntheticMarket
from tests.support.equality import QUOTES, Fill, Ground, fills_of
from tests.support.live_processes import LiveBot
from tests.support.market_files import write_candles
from tests.support.processes import Bot, real_bot
from tests.support.wire import simulator

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "binance-spot"
COINS = ("BTC", "ETH", "SOL")
SYMBOLS = tuple(f"{coin}-USDT-PERP" for coin in COINS)
WARMUP = 131
"""bars until the first decision that may enter"""
START = 6
"""of these the bars that a bot has for its start; nothing can be entered meanwhile"""
BARS = 40
"""that are traded"""
SPARE = 20
"""for what was entered last, and for a start that took too long"""
MOST_LATE_MS = 25_000
"""later than this an order trades at a price that may change what comes of it: the stretches below
were chosen so that no order which is in time does"""
RULES = (
    f"symbols={json.dumps(SYMBOLS)}",
    "timeframe=1m",
    f"warmup_bars={WARMUP}",
    "regime.slow=60",
    "stops.min=0.005",
    "stops.max=0.01",
    "stops.atr=1.0",
    "stops.trail_start=0",
    "trend.fast=3",
    "trend.slow=8",
    "trend.adx_period=5",
    "trend.reward=1.0",
    "momentum.period=5",
    "momentum.entry=1.0",
    "momentum.reward=1.0",
    "reversion.period=6",
    "reversion.entry=1.2",
    "reversion.reward=1.0",
    # Small: of positions that are correlated a second one then has room.
    "risk.tiers=[{floor: 0, leverage: 5, max_position_share: 0.6, risk_per_trade: 0.0012}]",
    # In market time, of which everything takes so many times more than on the real exchange.
    "timing.bar_wait_s=29",
    "timing.uncovered_alert_s=300",
    "timing.uncovered_close_s=600",
    "timing.watchdog_s=1200",
)
"""settings under which a bot trades every other minute, by signals, targets and stops"""
RULE_WORDS = [f"--set={rule}" for rule in RULES]


class Stretch(NamedTuple):
    """Some minutes of a market: recorded ones, or of the embedded market where there is a seed."""

    begins: str
    seed: int = 0

    @property
    def begin_ms(self) -> int:
        return int(datetime.fromisoformat(self.begins).replace(tzinfo=UTC).timestamp() * 1000)


RECORDED = (
    Stretch("2024-01-03T18:47"),
    Stretch("2024-03-05T05:57"),
    Stretch("2024-04-13T13:11"),
    Stretch("2024-03-05T10:51"),
)
EMBEDDED = (
    Stretch("2025-01-01T03:20", 5),
    Stretch("2025-01-01T00:40", 11),
    Stretch("2025-01-01T00:30", 5),
    Stretch("2025-01-01T01:50", 3),
)
RECORDS = SHARED.is_dir()
STRETCHES = RECORDED if RECORDS else EMBEDDED


def write_stretch(folder: Path, stretch: Stretch) -> Ground:
    """Write a stretch as candle files; return what is traded on. The recorded minutes of 2024 are
    those of the spot market; here they stand for a perpetual's."""
    count = WARMUP + BARS + SPARE
    for name, lines in zip(SYMBOLS, _lines(stretch, count), strict=True):
        write_candles(folder / f"{name}-1m.csv", lines)
    config = load_config(None, RULES)
    data = load_market([folder], SYMBOLS, "1m", None, None)
    rows = list(data.rows())
    assert len(rows) == count
    return Ground(config, data.specs, rows[: WARMUP - 1], rows[WARMUP - 1 :])


def _lines(stretch: Stretch, count: int) -> Iterator[list[str]]:
    begin_ms = stretch.begin_ms
    if not stretch.seed:
        for coin in COINS:
            with gzip.open(SHARED / f"{coin}-USDT-1m.csv.gz", "rt") as file:
                next(file)
                later = (line.rstrip() for line in file if int(line[:13]) >= begin_ms)
                yield list(islice(later, count))
        return
    model = MarketModel(
        seed=stretch.seed, symbols=SYMBOLS, timeframe_ms=MINUTE_MS, start_ms=SYNTHETIC_START_MS
    )
    skip = (begin_ms - SYNTHETIC_START_MS) // MINUTE_MS
    rows = list(islice(SyntheticMarket(model).rows(), skip, skip + count))
    for k in range(len(SYMBOLS)):
        yield [_line(row, k) for row in rows]


def _line(row: Row, k: int) -> str:
    bar = row.bars[k]
    assert bar is not None
    return ",".join(map(repr, (row.open_ms, *bar)))


# The two commands.


def traded_by_paper(folder: Path, candles: Path) -> list[dict[str, Any]]:
    """Run `radbot paper` over candles; return its trades."""
    found = folder / "paper.csv"
    with real_bot(Bot) as bot:
        words = ["--market", "replay", "--data", str(candles), "--speed", "max", "--json"]
        done = bot.command_of("paper", *words, *RULE_WORDS, "--trades", str(found))
        assert done.returncode == 0, done.stderr
    with found.open(encoding="utf-8", newline="") as file:
        return [{name: number(text) for name, text in row.items()} for row in csv.DictReader(file)]


def number(text: str) -> float | str:
    """Return a field of a trades file."""
    try:
        return float(text)
    except ValueError:
        return text


class Rehearsal(LiveBot):
    """A live bot with the rules above."""

    def words(self, *more: str) -> list[str]:
        words = ["live", "--exchange", self.exchange.futures, self.exchange.spot]
        words += ["--credentials", str(self.keys), "--state", str(self.state)]
        return [*words, "--metrics-port", "0", "--json", *RULE_WORDS, *more]


class Run(NamedTuple):
    """What a live bot did."""

    trades: list[dict[str, Any]]
    """in the words of the trades file, by `radbot trades`"""
    fills: list[Fill]
    late: list[str]
    """where the machine was too slow for a clock that runs so fast"""
    slowest_ms: int
    """longest way from an event to the answer to an order that it led to, market time"""


def traded_live(candles: Path, ground: Ground, speed: int) -> Run:
    """Run `radbot live` on `radops exchange`, from its start until the bars are over."""
    words = ["--market", "replay", "--data", str(candles), "--symbols", ",".join(SYMBOLS)]
    words += ["--history", str(WARMUP - START), "--speed", str(speed), "--quotes", str(QUOTES)]
    words += ["--marks", "last", "--depth", str(10**9)]
    minutes = START + BARS + 1
    with simulator(*words) as exchange, real_bot(lambda f: Rehearsal(f, exchange)) as bot:
        lasting = f"--for={minutes}m", f"--set=exchange.speed={speed}"
        process = bot.spawn(*lasting)
        _, said = process.communicate(timeout=3.0 * minutes * 60.0 / speed + 60.0)
        assert process.returncode == 0, said
        told = bot.command("trades", "--last", "1000", "--json")
        assert told.returncode == 0, told.stderr
        fills = fills_of(exchange.truth())
        late, slowest_ms = too_late(bot.state / "journal.sqlite3", ground)
    return Run(json.loads(told.stdout)["trades"], fills, late, slowest_ms)


def too_late(journal: Path, ground: Ground) -> tuple[list[str], int]:
    """Return what came later than it may, or not at all, of decisions and answers to orders, and
    how long the slowest answer took."""
    due = {row.open_ms + ground.length: prices(row.bars) for row in ground.coming[:BARS]}
    sent: dict[str, int] = {}
    found, slowest_ms = [], 0
    with closing(JournalReader(journal)) as reader:
        for _, event, effects in reader.events(0):
            if isinstance(event, Cycle):
                seen = prices(event.bars)
                if due.pop(event.now_ms, seen) != seen:
                    found.append(f"{event.now_ms}: decided on bars that are not whole: {seen}")
            if isinstance(event, OrderAccepted):
                waited = event.now_ms - sent.pop(event.client_id, event.now_ms)
                slowest_ms = max(slowest_ms, waited)
                if waited > MOST_LATE_MS:
                    found.append(f"{event.client_id}: accepted after {waited} ms")
            for effect in effects:
                if isinstance(effect, PlaceOrder):
                    sent[effect.client_id] = event.now_ms
    return [*found, *(f"{ms}: not decided" for ms in due)], slowest_ms


def prices(bars: Sequence[Bar | None]) -> list[tuple[float, ...] | None]:
    """Return bars without their volumes, which the wire tells in whole contracts."""
    return [(bar.open, bar.high, bar.low, bar.close) if bar is not None else None for bar in bars]
