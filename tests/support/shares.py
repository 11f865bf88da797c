"""Whose is what on an account on which others trade, too: worked out from the exchange's fills.

The exchange holds one position for everybody. Our entries add to our part of it; whatever trades
against our part takes from it what there is, whoever has sent it; all else is of others.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass
class Part:
    """Our part of one position; contracts with a sign, price USDT."""

    contracts: int = 0
    entry: float = 0.0

    def take(self, side: int, contracts: int, price: float) -> float:
        """Let so many contracts be closed; return the gain in USDT for a multiplier of 1."""
        self.contracts += side * contracts
        return -side * (price - self.entry) * contracts

    def add(self, side: int, contracts: int, price: float) -> None:
        """Let so many contracts come to it."""
        held = abs(self.contracts)
        self.entry = (self.entry * held + price * contracts) / (held + contracts)
        self.contracts += side * contracts


@dataclass(frozen=True)
class Share:
    """What is ours: contracts with a sign by symbol, and gains less fees in USDT."""

    held: dict[str, int]
    earned: float


def our_share(
    fills: list[dict[str, Any]], ours: Callable[[str], bool], multipliers: Mapping[str, float]
) -> Share:
    """Return what is ours by the fills of the whole account, oldest first."""
    parts: defaultdict[str, Part] = defaultdict(Part)
    earned = 0.0
    for fill in fills:
        part, side, size = parts[fill["symbol"]], fill["side"], fill["contracts"]
        name, multiplier = fill["client_id"], multipliers[fill["symbol"]]
        closing = min(size, max(0, -side * part.contracts))
        opening = size - closing if ours(name) and name.endswith("-entry") else 0
        earned -= fill["fee"] * (closing + opening) / size
        if closing:
            earned += part.take(side, closing, fill["price"]) * multiplier
        if opening:
            part.add(side, opening, fill["price"])
    held = {symbol: part.contracts for symbol, part in parts.items() if part.contracts}
    return Share(held, earned)
