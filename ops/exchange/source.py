"""Which market the exchange plays: the embedded generator or recorded candles, from their start."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bot.adapters.history import load_market
from bot.core.errors import InputError
from bot.core.kernel.params import Spec
from bot.core.market import ContractSpec, Row
from bot.shell.build import to_spec
from bot.shell.paper import SYNTHETIC_START_MS
from bot.sim.markets import MarketModel, SyntheticMarket


@dataclass(frozen=True, slots=True)
class Source:
    """A market that can be played as often as one likes."""

    symbols: tuple[str, ...]
    contracts: tuple[ContractSpec, ...]
    timeframe_ms: int
    start_ms: int
    rows: Callable[[], Iterator[Row]]
    label: str

    def specs(self) -> list[Spec]:
        """Return the contracts as the kernel knows them, new ones each time."""
        return [to_spec(contract, False) for contract in self.contracts]


def synthetic(symbols: tuple[str, ...], timeframe_ms: int, seed: int) -> Source:
    """Return the embedded market, the same that `radbot paper --seed` trades on."""
    market = SyntheticMarket(
        MarketModel(
            seed=seed, symbols=symbols, timeframe_ms=timeframe_ms, start_ms=SYNTHETIC_START_MS
        )
    )
    return Source(
        symbols=symbols,
        contracts=market.specs,
        timeframe_ms=timeframe_ms,
        start_ms=SYNTHETIC_START_MS,
        rows=market.rows,
        label=f"synthetic market, seed {seed}",
    )


def recorded(
    directories: list[Path],
    symbols: tuple[str, ...],
    timeframe: str,
    start_ms: int | None,
    end_ms: int | None,
) -> Source:
    """Return recorded candles; raise InputError when they are not there or not right."""
    if not directories:
        raise InputError("--market replay: expected --data DIR with recorded candles, was none")
    data = load_market(directories, symbols, timeframe, start_ms, end_ms)
    return Source(
        symbols=data.symbols,
        contracts=data.specs,
        timeframe_ms=data.timeframe_ms,
        start_ms=data.first_open_ms(),
        rows=data.rows,
        label=f"recorded candles, {', '.join(data.symbols)}",
    )
