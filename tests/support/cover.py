"""Whether positions rest under their stops, judged by the exchange's books.

A stop covers when it would really close the position before its loss is too large: another side, a
price that the mark has passed, or one too far away protects nothing, whatever its name says. That
it is at the level of the bot's books, and the only one, is judged besides: a replaced stop is
there for a moment beside the new one.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.core.kernel.records import Position
from bot.shell.config import Config

MOST_UNCOVERED_MS = 20_000
"""closed after 15 s (DESIGN section 5), counted from when the bot knows of the position: up to a
second between two reads and a turn of 1.5 s before that; a turn until it acts, a quarter of a
second on the wire and a turn until that is looked at afterwards. 16.2 s is usual; the market may
then take its time for the exit (`Quotes.taking_ms`). Reads of fills that fail say nothing of a
position: the drills have them fail for 16.2 s at most, and what lasts longer is no time in which
anybody could act"""
MOST_BESIDE_MS = 5_000
"""the old stop beside the new one; a cancellation that fails is sent again with the next read, 2 s
later where the exchange has asked for a pause. 1.8 s is the longest seen"""
MOST_ASTRAY_MS = 15_000
"""beyond the bar: a stop that was not placed anew is, in the next cycle"""
UNCOVERED, ASTRAY = "uncovered", "not at the level of the books"
BESIDE, USELESS = "under more stops than it needs", "under a stop that does not protect it"
ON_MARK = "MP"
TOLERANCE = 1e-9  # share of a price: what floats make of a level


@dataclass(frozen=True, slots=True)
class Held:
    """A position: side +1 or -1, contracts, prices in USDT."""

    side: int
    contracts: float
    entry: float
    mark: float


@dataclass(frozen=True, slots=True)
class RestingStop:
    """What rests of a stop: side, contracts, trigger price in USDT; one that is triggered trades
    already."""

    side: int
    contracts: float
    price: float
    triggered: bool = False


@dataclass(frozen=True, slots=True)
class Quotes:
    """The market at the market price: so many contracts with each quote, one every so many ms."""

    depth: int
    every_ms: int

    def taking_ms(self, contracts: float) -> int:
        """Return how long it takes to trade `contracts` from now on, ms: what the present quote
        brings trades at once."""
        return (math.ceil(contracts / self.depth) - 1) * self.every_ms


def protects(stop: RestingStop, held: Held, most_loss: float) -> bool:
    """Return whether a stop closes `held` before more than `most_loss` of its entry is lost."""
    waits = held.side * (held.mark - stop.price) > 0.0
    lost = held.side * (held.entry - stop.price) / held.entry
    return stop.side == -held.side and (waits or stop.triggered) and lost <= most_loss


def total(stops: Sequence[RestingStop]) -> float:
    return sum(stop.contracts for stop in stops)


def at_level(stops: Sequence[RestingStop], books: Position) -> list[RestingStop]:
    """Return the stops that are where the books say; one that trades already is let be."""
    return [
        stop
        for stop in stops
        if stop.triggered or math.isclose(stop.price, books.stop_price, rel_tol=TOLERANCE)
    ]


def superfluous(stops: Sequence[RestingStop], held: Held) -> bool:
    """Return whether the position is covered without one of the stops that wait."""
    stops = [stop for stop in stops if not stop.triggered]
    return len(stops) > 1 and total(stops) - min(s.contracts for s in stops) >= held.contracts


def furthest(config: Config) -> float:
    """Return the share of its entry that a position may lose at its stop: as configured, and the
    parts of an entry trade anywhere within its band."""
    return config.stops.max + 2.0 * config.costs.entry_band_bps / 10_000.0


class CoverJudge:
    """The clocks of one account: for how long, ms, has what must be so not been so?"""

    def __init__(self, config: Config, beside_ms: int = MOST_BESIDE_MS) -> None:
        """Judge positions of `config`; a replaced stop may be there for `beside_ms`."""
        self.most_loss = furthest(config)
        self.most_ms = {
            ASTRAY: config.timeframe_ms + MOST_ASTRAY_MS,
            BESIDE: beside_ms,
            USELESS: beside_ms,
        }
        self.since: dict[tuple[str, str], int] = {}
        self.largest: dict[str, float] = {}
        """contracts that were held while uncovered, by symbol"""
        self.longest: Counter[str] = Counter()
        """by what was amiss, ms"""

    def look(
        self,
        symbol: str,
        now: int,
        held: Held | None,
        stops: Sequence[RestingStop],
        books: Position,
        leaving: Quotes | None = None,
    ) -> None:
        """See to one position, None when there is none. `leaving` is the market, where an exit of
        it has been sent."""
        if held is None:
            self.excuse(symbol)
            return
        good = self.good(stops, held)
        covered, known = self.covers(stops, held), books.side == held.side
        amiss = {
            UNCOVERED: not covered,
            ASTRAY: covered and known and total(at_level(good, books)) < held.contracts,
            BESIDE: superfluous(stops, held),
            USELESS: len(good) < len(stops),
        }
        self.largest[symbol] = 0.0 if covered else max(held.contracts, self.largest.get(symbol, 0))
        exit_ms = leaving.taking_ms(self.largest[symbol]) if leaving and not covered else 0
        for what, so in amiss.items():
            ms = self._lasts(symbol, what, now, so)
            most_ms = self.most_ms.get(what, MOST_UNCOVERED_MS + exit_ms)
            assert ms <= most_ms, f"{symbol}: {what} for {ms} ms: {held}, {stops}, {books}"

    def good(self, stops: Sequence[RestingStop], held: Held) -> list[RestingStop]:
        """Return the stops that protect `held`."""
        return [stop for stop in stops if protects(stop, held, self.most_loss)]

    def covers(self, stops: Sequence[RestingStop], held: Held) -> bool:
        """Return whether all of `held` is protected."""
        return total(self.good(stops, held)) >= held.contracts

    def excuse(self, symbol: str) -> None:
        """Begin anew: there is no position, or nobody can do anything."""
        self.since = {key: ms for key, ms in self.since.items() if key[0] != symbol}

    def _lasts(self, symbol: str, what: str, now: int, so: bool) -> int:
        if not so:
            self.since.pop((symbol, what), None)
            return 0
        ms = now - self.since.setdefault((symbol, what), now)
        self.longest[what] = max(self.longest[what], ms)
        return ms


# What the wire simulator tells.


def wire_held(truth: Mapping[str, Any]) -> dict[str, Held]:
    """Return the positions by symbol."""
    return {
        p["symbol"]: Held(p["side"], p["contracts"], p["entry_price"], p["mark"])
        for p in truth["positions"]
    }


def wire_stops(
    truth: Mapping[str, Any], installation: str, *, in_transit: bool = False
) -> dict[str, list[RestingStop]]:
    """Return the stops of an installation by symbol, those in transit only where they are wanted;
    each must be as all of them are: reduce-only, on the mark price, and waiting for the price to
    get worse."""
    found: dict[str, list[RestingStop]] = {}
    for order in truth["orders"]:
        name = order["client_id"]
        if not (name.startswith(f"{installation}-") and name.endswith("-stop")):
            continue
        assert order["reduce_only"], order
        assert order["stop_price_type"] == ON_MARK, order
        assert order["stop"] == ("up" if order["side"] > 0 else "down"), order
        if in_transit or order["stage"] != "transit":
            left = order["contracts"] - order["filled"]
            stop = RestingStop(order["side"], left, order["stop_price"], order["stage"] == "open")
            found.setdefault(order["symbol"], []).append(stop)
    return found


def wire_quotes(truth: Mapping[str, Any]) -> Quotes:
    """Return what the market gives."""
    return Quotes(truth["depth"], truth["quote_ms"])


def all_covered(truth: Mapping[str, Any], config: Config) -> bool:
    """Return whether all that is held on an account rests under stops that protect it, whichever
    bot with the limits of `config` they are of."""
    judge = CoverJudge(config)
    stops: dict[str, list[RestingStop]] = {}
    for installation in {order["client_id"].partition("-")[0] for order in truth["orders"]}:
        for symbol, found in wire_stops(truth, installation).items():
            stops.setdefault(symbol, []).extend(found)
    return all(judge.covers(stops.get(name, ()), held) for name, held in wire_held(truth).items())
