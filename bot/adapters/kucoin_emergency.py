"""What a live account has at risk, read for an emergency: as much of it as can be read.

Rules of this file: what cannot be read (no answer, a refusal, nonsense) spoils nothing else; it is
named, and never taken for flat. Only a key that is not accepted ends a read. What the list of
positions does not have is asked for by itself.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from bot.adapters import kucoin_parse as parse
from bot.adapters.kucoin_account import NO_CONTRACT, order_rows, together
from bot.adapters.kucoin_client import CredentialsError, KucoinClient, RefusedError
from bot.adapters.kucoin_fields import Fields, MalformedReplyError, wire_index
from bot.core.errors import UnreachableError

ANSWER_S = 5.0
"""so long an answer about one position is waited for: it holds up the exits of the others"""
NO_SENSE = (UnreachableError, RefusedError, MalformedReplyError)


class Resting(NamedTuple):
    """An open order, as far as it can be read."""

    order_id: str
    """the exchange's; "" where it cannot be read"""
    name: str
    """the client id, for people"""
    symbol: int | None
    """-1 in contracts that are not configured, None where it may be of any"""


class Exposure(NamedTuple):
    """What an account has at risk."""

    held: tuple[float | None, ...]
    """contracts by symbol, negative when short; None where nobody knows"""
    foreign: tuple[str, ...]
    """contracts that are held and not configured"""
    odd: dict[int, str]
    """symbols of which something could not be read, in words"""
    unread: tuple[str, ...]
    """what else could not be read, in words: it may be of any symbol"""
    orders: tuple[Resting, ...] = ()
    """every open order, stops included"""

    def at_risk(self, wanted: Sequence[int]) -> list[int]:
        """Return which symbols are not known to be flat."""
        return [k for k in wanted if self.held[k] != 0.0]

    def doubts(self, wanted: Sequence[int]) -> list[str]:
        """Return what could not be read and may be of one of some symbols, in words."""
        return [*(self.odd[k] for k in wanted if k in self.odd), *self.unread]


class EmergencyReader:
    """Reads an account through a client, in its wire thread."""

    def __init__(self, client: KucoinClient, symbols: Sequence[str]) -> None:
        self.client = client
        self.index = wire_index(symbols)
        self.wires = tuple(self.index)
        self.held: set[int] = set()
        """symbols that were not known to be flat when positions were read last"""

    async def read_positions(self, *, each: bool = False) -> Exposure:
        """Return what is held. What the list of positions does not have is asked for by itself:
        everything with `each`, or where there is no list; else only what was not flat before, or
        has a row that makes no sense.

        Raises
        ------
        CredentialsError : the key is not accepted
        """
        unread: list[str] = []
        listed = parse.Quantities({}, {}, 0, ())
        try:
            data = await self.client.read(
                "futuresPrivateGetPositions", {"currency": "USDT"}, weight=2
            )
            listed = parse.quantities(data, self.index)
        except CredentialsError:
            raise
        except NO_SENSE as error:
            unread.append(f"the list of positions: {error}")
        if listed.nameless:
            unread.append("a row of the list of positions that names no contract")
        missing = set(range(len(self.wires))) - listed.held.keys()
        asked = sorted(missing if each or unread else missing & (self.held | listed.odd.keys()))
        answers = await together(*map(self.read_position, asked))
        held: dict[int, float | None] = {**dict.fromkeys(missing, 0.0), **listed.held}
        odd = dict(listed.odd)
        for k, answer in zip(asked, answers, strict=True):
            if isinstance(answer, str):
                held[k], odd[k] = None, odd.get(k, answer)
            else:
                held[k] = answer
        self.held = {k for k, contracts in held.items() if contracts != 0.0}
        in_order = tuple(held[k] for k in range(len(self.wires)))
        return Exposure(in_order, listed.foreign, odd, tuple(unread))

    async def read_position(self, k: int) -> float | str:
        """Return the contracts of one position by its own answer, or why nobody knows. A contract
        that is gone is not held."""
        wire = self.wires[k]
        try:
            async with asyncio.timeout(ANSWER_S):
                data = await self.client.read(
                    "futuresPrivateGetPosition", {"symbol": wire}, weight=2, answers=NO_CONTRACT
                )
            seen = parse.quantities([data], {wire: k})
        except CredentialsError:
            raise
        except RefusedError as error:
            return 0.0 if error.verdict.code in NO_CONTRACT else f"position {wire}: {error}"
        except TimeoutError:
            return f"position {wire}: no answer within {ANSWER_S:g} s"
        except NO_SENSE as error:
            return f"position {wire}: {error}"
        return seen.held.get(k, seen.odd.get(k, f"position {wire}: the answer is another's"))

    async def read_exposure(self) -> Exposure:
        """Return what is held and what rests, and ask for nothing else.

        Orders first: one that trades in between is seen as a position, never as nothing.

        Raises
        ------
        CredentialsError : the key is not accepted
        """
        (active, no_active), (stops, no_stops) = await together(
            self.read_orders("futuresPrivateGetOrders", 2),
            self.read_orders("futuresPrivateGetStopOrders", 6),
        )
        seen = await self.read_positions(each=True)
        unread = (*seen.unread, *filter(None, (no_active, no_stops)))
        return seen._replace(orders=(*active, *stops), unread=unread)

    async def read_orders(self, call: str, weight: int) -> tuple[list[Resting], str]:
        """Return the orders of one of the two books, and why they are not all, "" where they
        are."""
        found: list[Resting] = []
        try:
            async for row in order_rows(self.client, call, weight):
                found.append(self.resting(row))
        except CredentialsError:
            raise
        except NO_SENSE as error:
            return found, f"the list of orders: {error}"
        return found, ""

    def resting(self, row: object) -> Resting:
        """Return a row of a list of orders, as far as it can be read."""
        try:
            report, order_id = parse.listed_order(row, self.index)
        except MalformedReplyError:
            order_id = part_of(row, "id")
            k = self.index.get(part_of(row, "symbol"))
            return Resting(order_id, order_id or "without an id", k)
        return Resting(order_id, report.client_id, report.symbol)

    async def read_margin(self) -> float:
        """Return what positions tie up in the whole account, USDT.

        Raises
        ------
        UnreachableError, RefusedError, MalformedReplyError : it is not told
        """
        data = await self.client.read(
            "futuresPrivateGetAccountOverview", {"currency": "USDT"}, weight=5
        )
        return parse.position_margin(data)


def part_of(row: object, name: str) -> str:
    """Return one field of a row that makes no sense as a whole; "" where that makes none, too."""
    try:
        return Fields(row, "row").identity(name)
    except MalformedReplyError:
        return ""
