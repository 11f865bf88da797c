"""Results of runs, built by hand for the tests of what is reported about them."""

import random
from array import array
from collections.abc import Sequence
from typing import Any

from bot.core.kernel.codes import END, LONG, MOMENTUM, REVERSION, SIGNAL, STOP, TREND
from bot.core.kernel.records import Account, Trade
from bot.core.market import DAY_MS, HOUR_MS, Candles, ContractSpec, Funding, MarketData
from bot.core.summary import RunResult

T0 = 1_704_067_200_000  # 2024-01-01T00:00:00Z
BTC, ETH = "BTC-USDT-PERP", "ETH-USDT-PERP"
PNLS = [100.0, -50.0, 0.0, -25.0, -25.0, 200.0]


def trade(pnl: float, **fields: Any) -> Trade:
    """Return a trade of three hours that made `pnl` USDT; anything else can be given."""
    values: dict[str, Any] = {
        "entry_time": T0,
        "exit_time": T0 + 3 * HOUR_MS,
        "strategy": TREND,
        "side": LONG,
        "contracts": 2.0,
        "quantity": 0.2,
        "entry_price": 100.0,
        "exit_price": 101.0,
        "reason": SIGNAL,
    }
    return Trade(pnl=pnl, **(values | fields))


def run_result(trades: Sequence[Trade] = (), **fields: Any) -> RunResult:
    """Return the result of three days that began and ended with 1,000 USDT."""
    values: dict[str, Any] = {
        "bars": 144,
        "elapsed_s": 0.25,
        "symbols": (BTC, ETH),
        "halted_at": None,
        "funding_source": "file",
        "spec_source": "file",
        "start_ms": T0,
        "end_ms": T0 + 3 * DAY_MS,
        "timeframe_ms": HOUR_MS,
        "deposits": 1000.0,
        "final_equity": 1000.0,
        "account": Account(deposits=1000.0, peak_equity=1000.0),
        "daily": [],
    }
    return RunResult(trades=list(trades), **(values | fields))


def three_days() -> RunResult:
    """Return 1000 -> 1100 -> 990 -> 1039.5: returns +10 %, -10 %, +5 %."""
    return run_result(daily=[(T0 + DAY_MS, 1100.0), (T0 + 2 * DAY_MS, 990.0)], final_equity=1039.5)


def random_trades(seed: int, count: int) -> list[Trade]:
    """Return trades whose floats use all their digits."""
    rng = random.Random(seed)
    return [
        trade(
            rng.uniform(-50.0, 60.0),
            exit_time=T0 + rng.randrange(1, 1000) * HOUR_MS,
            symbol=rng.randrange(2),
            strategy=rng.choice((TREND, MOMENTUM, REVERSION)),
            side=rng.choice((1, -1)),
            contracts=float(rng.randrange(1, 10**6)),
            quantity=rng.random() * 1e-7,
            entry_price=rng.uniform(1e-6, 1e6),
            exit_price=rng.uniform(1e-6, 1e6),
            fees=rng.random(),
            funding=rng.uniform(-1.0, 1.0),
            reason=rng.randrange(STOP, END + 1),
        )
        for _ in range(count)
    ]


def candles(symbol: str, rows: Sequence[tuple[int, float, float, float, float]]) -> Candles:
    """Return candles from rows of open time, open, high, low, close."""
    times, *prices = zip(*rows, strict=True)
    opens, highs, lows, closes = (array("d", column) for column in prices)
    volumes = array("d", bytes(8 * len(rows)))
    return Candles(symbol, array("q", times), opens, highs, lows, closes, volumes)


def market(timeframe_ms: int, *series: Candles) -> MarketData:
    """Return a market of these candles."""
    symbols = tuple(one.symbol for one in series)
    return MarketData(
        timeframe_ms=timeframe_ms,
        symbols=symbols,
        candles=series,
        funding=tuple(Funding(symbol, array("q"), array("d")) for symbol in symbols),
        specs=tuple(ContractSpec(symbol, 0.1, 0.1) for symbol in symbols),
        funding_source="file",
        spec_source="file",
    )
