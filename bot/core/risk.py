"""What risk said to each wish of a cycle, as types: `Approved` or `Refused(reason)`.

The verdicts themselves are the kernel's (arbitration and sizing); this file only gives them a shape
that the rest of the program cannot misuse: an entry order is made from an `Approved` and from
nothing else, and there is no switch around it.
"""

from dataclasses import dataclass

from bot.core.kernel.codes import (
    ACCEPTED,
    ALREADY_IN,
    CUT,
    ENTRY,
    NO_WISH,
    VERDICT_NAMES,
)
from bot.core.kernel.records import World
from bot.core.owners import strategy_name


@dataclass(frozen=True, slots=True)
class Approved:
    """An entry that may be sent, as sized by the kernel."""

    symbol: int
    strategy: str
    side: int
    contracts: float
    limit_price: float
    leverage: float
    notional: float
    """profile reference only: USDT to buy for; the exchange sizes the order"""
    cut: bool
    """a cap made it smaller than the strategy's natural size"""


@dataclass(frozen=True, slots=True)
class Refused:
    """A wish that gets no order, and why (kernel verdict names)."""

    symbol: int
    strategy: str
    side: int
    reason: str


def approve(world: World, k: int, cut: bool = False) -> Approved:
    """Return the entry the kernel accepted on symbol `k`."""
    intent = world.intents[k]
    return Approved(
        symbol=k,
        strategy=strategy_name(world.strategies[intent.strategy]),
        side=intent.side,
        contracts=intent.contracts,
        limit_price=intent.limit_price,
        leverage=intent.leverage,
        notional=intent.notional,
        cut=cut,
    )


def review(world: World, time: int) -> tuple[list[Approved], list[Refused]]:
    """Return what was approved and what was refused in the cycle at `time`, by symbol.

    A wish of the strategy that is in the position already is neither.
    """
    n = len(world.symbols)
    if world.params.reference == 0 and not any(world.verdicts):
        return [], []  # the ordinary cycle: nobody wishes for anything
    approved = [
        approve(world, k, world.verdicts[intent.strategy * n + k] == CUT)
        for k, intent in enumerate(world.intents)
        if intent.kind == ENTRY and intent.time == time
    ]
    refused = []
    if world.params.reference == 0:
        for i, verdict in enumerate(world.verdicts):
            if verdict not in (NO_WISH, ACCEPTED, CUT, ALREADY_IN):
                refused.append(
                    Refused(
                        symbol=i % n,
                        strategy=strategy_name(world.strategies[i // n]),
                        side=1 if world.wishes[i] > 0.0 else -1,
                        reason=VERDICT_NAMES[verdict],
                    )
                )
    return approved, refused
