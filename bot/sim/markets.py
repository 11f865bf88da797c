"""A seeded synthetic market of perpetuals: candles and funding that look like the real thing.

`SyntheticMarket(model).rows()` streams without end, `market_data(bars)` returns the same bars as a
finite run reads them: bar i depends on the model alone, never on how many bars are drawn. How
prices move is in `paths`, the numbers are in `market_model`; docs/MARKETS.md compares with reality.
"""

from array import array
from itertools import islice

from bot.core.market import (
    FUNDING_INTERVAL_MS,
    Candles,
    ContractSpec,
    Funding,
    MarketData,
    Row,
    assumed_spec,
    common_source,
)
from bot.core.specs import BUILTIN
from bot.sim.market_model import MarketModel
from bot.sim.paths import MarketFactor, SymbolPath

__all__ = ["MarketModel", "SyntheticMarket"]


class SyntheticMarket:
    """The market that a model describes. Iterating twice gives the same bars twice."""

    def __init__(self, model: MarketModel) -> None:
        self.model = model
        self.specs = tuple(_spec(model, symbol) for symbol in model.symbols)
        self.spec_source = common_source(
            ["builtin" if symbol in BUILTIN else "assumed" for symbol in model.symbols]
        )

    def rows(self) -> "MarketStream":
        """Stream the market from its start, without end."""
        return MarketStream(self.model, self.specs)

    def market_data(self, bars: int) -> MarketData:
        """Return the first `bars` rows as a finite run reads them; holes are absent candles."""
        symbols = self.model.symbols
        candles = [
            Candles(s, array("q"), array("d"), array("d"), array("d"), array("d"), array("d"))
            for s in symbols
        ]
        funding = [Funding(s, array("q"), array("d")) for s in symbols]
        for row in islice(self.rows(), bars):
            for candle, bar in zip(candles, row.bars, strict=True):
                if bar is not None:
                    candle.timestamp.append(row.open_ms)
                    candle.open.append(bar.open)
                    candle.high.append(bar.high)
                    candle.low.append(bar.low)
                    candle.close.append(bar.close)
                    candle.volume.append(bar.volume)
            for index, time_ms, rate in row.funding:
                funding[index].timestamp.append(time_ms)
                funding[index].rate.append(rate)
        return MarketData(
            timeframe_ms=self.model.timeframe_ms,
            symbols=symbols,
            candles=tuple(candles),
            funding=tuple(funding),
            specs=self.specs,
            funding_source="synthetic",
            spec_source=self.spec_source,
        )


class MarketStream:
    """The rows of a market, one after the other. A pickled stream goes on where it was."""

    def __init__(self, model: MarketModel, specs: tuple[ContractSpec, ...]) -> None:
        self.timeframe_ms = model.timeframe_ms
        self.factor = MarketFactor(model)
        self.paths = [SymbolPath(model, spec) for spec in specs]
        self.open_ms = model.start_ms

    def __iter__(self) -> "MarketStream":
        return self

    def __next__(self) -> Row:
        open_ms, factor = self.open_ms, self.factor
        factor.step(open_ms)
        bars = tuple([path.step(factor) for path in self.paths])
        end_ms = open_ms + self.timeframe_ms
        funding: list[tuple[int, int, float]] = []
        for time_ms in _settlements(open_ms, end_ms):
            premium = factor.settle()
            funding += [
                (i, time_ms, path.settle(premium, factor.premium_decay))
                for i, path in enumerate(self.paths)
            ]
        self.open_ms = end_ms
        return Row(open_ms, bars, tuple(funding))


def _spec(model: MarketModel, symbol: str) -> ContractSpec:
    return BUILTIN.get(symbol) or assumed_spec(symbol, model.coin(symbol).price)


def _settlements(open_ms: int, end_ms: int) -> range:
    """Return the funding times after `open_ms` and up to `end_ms`: 00, 08 and 16 o'clock UTC."""
    first = (open_ms // FUNDING_INTERVAL_MS + 1) * FUNDING_INTERVAL_MS
    return range(first, end_ms + 1, FUNDING_INTERVAL_MS)
