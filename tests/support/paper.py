"""Runs a market of `tests.support.worlds` through the paper engine: core.step and the simulated
exchange."""

from array import array

from bot.core.kernel.records import World
from bot.core.market import Candles, Funding, MarketData
from bot.core.messages import Cycle, Effect, Event
from bot.core.state import State
from bot.shell.engine import Engine
from bot.shell.paper import finish
from bot.sim.paper_market import PaperMarket
from tests.support.worlds import Market, Run


def market_data(market: Market) -> MarketData:
    """Return the market in the form the loader and the paper engine use."""
    names = tuple(f"C{k}-USDT-PERP" for k in range(len(market.candles)))
    candles, funding = [], []
    for name, bars, settled in zip(names, market.candles, market.funding, strict=True):
        columns = [array("d", [bar[i] for bar in bars]) for i in range(1, 5)]
        times = array("q", [bar.time for bar in bars])
        candles.append(Candles(name, times, *columns, array("d", [0.0] * len(bars))))
        rates = array("d", [rate for _, rate in settled])
        funding.append(Funding(name, array("q", [time for time, _ in settled]), rates))
    return MarketData(
        timeframe_ms=market.timeframe_ms,
        symbols=names,
        candles=tuple(candles),
        funding=tuple(funding),
        specs=(),
        funding_source="file",
        spec_source="file",
    )


def paper_engine(world: World, data: MarketData) -> tuple[Engine, PaperMarket]:
    """Return an engine in profile `bar` around `world`, and its market."""
    market = PaperMarket(world.params, world.specs, world.account.deposits, data.rows())
    return Engine(State(world, data.symbols, "test"), market), market


def run_paper(world: World, market: Market) -> Run:
    """Trade the whole market event by event and close what is open at its end."""
    data = market_data(market)
    engine, market_of_paper = paper_engine(world, data)
    curve: list[float] = []

    def keep_equity(event: Event, _effects: list[Effect]) -> None:
        if isinstance(event, Cycle):
            curve.append(world.account.equity)

    engine.listener = keep_equity
    while (due := market_of_paper.next_ms()) is not None:
        engine.pump(due)
    finish(engine, market_of_paper)
    return Run(engine.record.trades, curve, world)
