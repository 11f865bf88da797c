"""KuCoin's public market data: bars, prices, funding rates, contracts. Nothing here is signed.

Rules of this file: every method of PublicMarket is a coroutine of the wire thread and raises
UnreachableError, and nothing else that is wrong.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from bot.adapters import kucoin_parse_market as parse
from bot.adapters.kucoin_bars import Bars
from bot.adapters.kucoin_client import MALFORMED, KucoinClient, RefusedError
from bot.adapters.kucoin_fields import MalformedReplyError, wire_symbol
from bot.adapters.line_state import LineState
from bot.adapters.token_bucket import Priority
from bot.adapters.wire_thread import WireThread
from bot.core.errors import UnreachableError
from bot.core.market import HOUR_MS, Bar, ContractSpec

log = logging.getLogger("radbot")
CANDLES_PAGE = 200
RATES_PAGE_MS = 90 * HOUR_MS  # rates settle once an hour at most, and an answer holds 100


class PublicMarket:
    """The contracts of one configuration, by index."""

    def __init__(
        self, client: KucoinClient, specs: Sequence[ContractSpec], timeframe_ms: int
    ) -> None:
        self.client = client
        self.specs = tuple(specs)
        self.wires = tuple(wire_symbol(spec.symbol) for spec in specs)
        self.timeframe_ms = timeframe_ms
        self.answers = 0
        """questions for bars and for the newest price that were answered, or failed"""

    def line(self) -> LineState:
        """Return how the line to the exchange is; any thread may ask."""
        client = self.client
        return LineState(self.answers, client.bucket.level, client.clock.offset_ms / 1000.0)

    async def bars(self, k: int, from_ms: int, to_ms: int) -> Bars:
        """Return the bars of a symbol that opened in [from_ms, to_ms), oldest first."""
        try:
            return await self._bars(k, from_ms, to_ms)
        finally:
            self.answers += 1

    async def _bars(self, k: int, from_ms: int, to_ms: int) -> Bars:
        timeframe_ms = self.timeframe_ms
        found: dict[int, Bar] = {}
        for begin in range(from_ms, to_ms, CANDLES_PAGE * timeframe_ms):
            end = min(begin + CANDLES_PAGE * timeframe_ms, to_ms)
            params = {
                "symbol": self.wires[k],
                "granularity": timeframe_ms // 60_000,
                "from": begin,
                "to": end - 1,
            }
            data = await _read(self.client, "futuresPublicGetKlineQuery", params, 3)
            found |= dict(self._sound(data, k))
        return sorted((ms, bar) for ms, bar in found.items() if from_ms <= ms < to_ms)

    def _sound(self, data: object, k: int) -> Bars:
        """Return the candles of an answer. One that makes no sense is left out, as if it were not
        there: else it would hide all others for as long as it is asked for with them."""
        try:
            return parse.candles(data, self.specs[k], self.timeframe_ms)
        except MalformedReplyError as error:
            self.client.errors.append(MALFORMED)
            sound = self._one_by_one(data, k)
            if not sound:
                raise UnreachableError(f"an answer that makes no sense: {error}") from error
            log.info("%s: %s", self.specs[k].symbol, error)
            return sound

    def _one_by_one(self, data: object, k: int) -> Bars:
        """Return the candles of an answer that make sense and do not contradict each other."""
        told: dict[int, set[Bar]] = {}
        for row in data if isinstance(data, list) else ():
            with suppress(MalformedReplyError):
                for ms, bar in parse.candles([row], self.specs[k], self.timeframe_ms):
                    told.setdefault(ms, set()).add(bar)
        return [(ms, bar) for ms, [bar, *others] in sorted(told.items()) if not others]

    async def traded_ms(self, k: int) -> int:
        """Return when the newest price of a symbol was made, ms UTC."""
        try:
            return (await self._ticker(k, Priority.MARKET)).ms
        finally:
            self.answers += 1

    async def last_price(self, k: int) -> float:
        """Return the price of the last trade, USDT."""
        return (await self._ticker(k, Priority.ENTRY)).price

    async def mark_price(self, k: int) -> float:
        """Return the mark price of a symbol, USDT."""
        call, params = "futuresPublicGetMarkPriceSymbolCurrent", {"symbol": self.wires[k]}
        data = await _read(self.client, call, params, 3, Priority.ACCOUNT)
        return usable(parse.mark_price, data, self.specs[k].symbol)

    async def funding_rates(self, k: int, from_ms: int, to_ms: int) -> list[tuple[int, float]]:
        """Return (settlement time, rate) of the settlements in [from_ms, to_ms], oldest first."""
        found: dict[int, float] = {}
        for begin in range(from_ms, to_ms + 1, RATES_PAGE_MS):
            params = {
                "symbol": self.wires[k],
                "from": begin,
                "to": min(begin + RATES_PAGE_MS - 1, to_ms),
            }
            data = await _read(self.client, "futuresPublicGetContractFundingRates", params, 5)
            found |= dict(usable(parse.funding_rates, data, self.specs[k].symbol))
        return sorted(found.items())

    async def server_time(self) -> None:
        """Ask for the time, to know whether the exchange can be reached."""
        await _read(self.client, "futuresPublicGetTimestamp", {}, 2, Priority.ACCOUNT)

    async def _ticker(self, k: int, priority: Priority) -> parse.Ticker:
        data = await _read(
            self.client, "futuresPublicGetTicker", {"symbol": self.wires[k]}, 2, priority
        )
        return usable(parse.ticker, data, self.specs[k].symbol)


async def read_contracts(
    client: KucoinClient, symbols: Sequence[str]
) -> list[parse.Contract | None]:
    """Return what KuCoin says of the contracts of `symbols`; None for what it does not list.

    Raises
    ------
    UnreachableError : it could not all be read
    """
    answers = await asyncio.gather(*(_contract(client, symbol) for symbol in symbols))
    errors = [answer for answer in answers if isinstance(answer, UnreachableError)]
    if not errors:
        return [answer for answer in answers if isinstance(answer, parse.Contract)]
    # KuCoin refuses what it does not list; which words it has for that is not for sure.
    listed = usable(parse.listed, await _read(client, "futuresPublicGetContractsActive", {}, 3))
    found: list[parse.Contract | None] = []
    for symbol, answer in zip(symbols, answers, strict=True):
        if isinstance(answer, UnreachableError) and wire_symbol(symbol) in listed:
            raise answer
        found.append(answer if isinstance(answer, parse.Contract) else None)
    return found


async def _contract(client: KucoinClient, symbol: str) -> parse.Contract | UnreachableError:
    params = {"symbol": wire_symbol(symbol)}
    try:
        data = await _read(client, "futuresPublicGetContractsSymbol", params, 3, Priority.ACCOUNT)
        return usable(parse.contract, data, symbol)
    except UnreachableError as error:
        return error


class WireSource:
    """Where the feed's bars come from (bot/adapters/kucoin_bars.py); the trading loop asks."""

    def __init__(self, wire: WireThread, public: PublicMarket, wake: Callable[[], None]) -> None:
        self.wire, self.public, self.wake = wire, public, wake

    def bars(self, symbol: int, from_ms: int, to_ms: int) -> "Future[Bars]":
        """Ask for closed bars that opened in [from_ms, to_ms)."""
        return self.wire.start(self.public.bars(symbol, from_ms, to_ms), self.wake)

    def traded_ms(self, symbol: int) -> "Future[int]":
        """Ask when the newest price was made, ms UTC."""
        return self.wire.start(self.public.traded_ms(symbol), self.wake)

    def name(self, symbol: int) -> str:
        """Return what people call a symbol."""
        return self.public.specs[symbol].symbol


async def _read(
    client: KucoinClient,
    call: str,
    params: Mapping[str, Any],
    weight: int,
    priority: Priority = Priority.MARKET,
) -> Any:
    try:
        return await client.read(call, params, weight=weight, priority=priority)
    except RefusedError as error:
        raise UnreachableError(f"{call}: {error}") from error


def usable[**P, T](read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what a parser makes of an answer; one that makes no sense is a read that failed."""
    try:
        return read(*args, **kwargs)
    except MalformedReplyError as error:
        raise UnreachableError(f"an answer that makes no sense: {error}") from error
