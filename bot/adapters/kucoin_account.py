"""One account on KuCoin Futures, read as a whole: `Snapshot`, or an error; never a part of it.

Rules of this file: both order lists, every page of each; fills before positions, so that what is
held may be ahead of what is booked (an order under way explains it) and never behind; an order that
is on no list is asked for by name; everything that is kept to save questions is bounded.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from bot.adapters import kucoin_parse as parse
from bot.adapters.exchange_clock import Clock
from bot.adapters.kucoin_client import MALFORMED, KucoinClient, RefusedError
from bot.adapters.kucoin_errors import Treat
from bot.adapters.kucoin_fields import Fields, MalformedReplyError, array, wire_index
from bot.core.errors import UnreachableError
from bot.core.market import HOUR_MS, MINUTE_MS
from bot.core.reconcile import Entry, Holding, OrderReport, Snapshot

log = logging.getLogger("radbot.exchange")
RECENT_MS = 23 * HOUR_MS  # `recentFills` goes back 24 h and is fresher than `fills`
RECENT_ROWS = 1_000  # and holds no more than that (KuCoin, "recent 1000 fills")
NO_CONTRACT = ("100001", "100003", "200003")  # of a contract that is gone (reference, section 6)
WEEK_MS = 7 * 24 * HOUR_MS  # the longest window of `fills`
SLOW_MS = MINUTE_MS  # between two questions about funding and transfers
FLAT = Holding(0, 0.0, 0.0)
MOVED = 0.01  # USDT; less is rounding
PAGE = 200
ROWS = 100
LAG_MS = MINUTE_MS  # an order that traded may be unknown to the exchange's lists this long
MOST_PAGES = 50
REMEMBERED = 4_096


async def together(*work: Coroutine[Any, Any, Any]) -> list[Any]:
    """Do all at once; the first failure ends the others and is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except* Exception as errors:
        raise errors.exceptions[0] from errors
    return [task.result() for task in tasks]


async def order_rows(client: KucoinClient, call: str, weight: int) -> AsyncIterator[object]:
    """Yield the rows of one of the two books of open orders, every page of it.

    Raises
    ------
    UnreachableError : a page could not be read, or there are more than make sense
    """
    for number in range(1, MOST_PAGES + 1):
        params = {"status": "active", "currentPage": number, "pageSize": PAGE}
        rows, pages = parse.page(await client.read(call, params, weight=weight))
        for row in rows:
            yield row
        if number >= pages:
            return
    raise UnreachableError(f"{call}: expected at most {MOST_PAGES} pages, was more")


class AccountReader:
    """Reads the account through a client, in its wire thread."""

    def __init__(
        self, client: KucoinClient, symbols: Sequence[str], clock: Clock, founded_ms: int
    ) -> None:
        """Read for a bot that was founded at `founded_ms`: what was before is not its own."""
        self.founded_ms = founded_ms
        self.client = client
        self.index = wire_index(symbols)
        self.wires = tuple(self.index)
        """KuCoin's names of the symbols, in configuration order"""
        self.clock = clock
        self.order_ids: dict[str, str] = {}
        """KuCoin's ids of our orders by client id"""
        self.client_ids: dict[str, str] = {}
        """the other way round"""
        self.entries: dict[str, Entry] = {}
        """records that were read already, by id"""
        self.marks = [0.0 for _ in symbols]
        """the newest mark prices that came with positions"""
        self.held: set[int] = set(range(len(self.wires)))
        """symbols that were held since funding was asked for: it may have been settled; at first
        all"""
        self.held_last: set[int] = set()
        """symbols that were held when positions were read last"""
        self.unasked: set[int] = set()
        """symbols not in `held` that new fills show to have been held meanwhile"""
        self.traded: set[int] = set()
        """symbols with new fills that no list of positions has shown since: it may lag behind"""
        self.archived_ms = 0
        """up to when old fills were taken by a read that has failed: the next one goes on there,
        because many weeks take longer than one read may; 0 after a read that has not failed"""
        self.slow_ms, self.wallet_seen = 0, 0.0
        self.moved = True
        """the wallet has changed since the read before: somebody may have moved money"""
        self.odd_fills = 0
        """the most fills of others on one list that made no sense"""
        self.missing: dict[str, int] = {}
        """orders that traded and are not found, and since when, ms"""

    def learn(self, client_id: str, order_id: str) -> None:
        """Remember which order is which."""
        both = (self.order_ids, client_id, order_id), (self.client_ids, order_id, client_id)
        for names, key, value in both:
            names[key] = value
            if len(names) > REMEMBERED:
                names.pop(next(iter(names)))

    async def read(self, asked: tuple[str, ...], since_ms: int) -> Snapshot:
        """Return the account as it is, with orders `asked` for and records since `since_ms`.

        Raises
        ------
        UnreachableError : something could not be read
        """
        with self.all_or_nothing():
            return await self._read(asked, max(since_ms, self.founded_ms))

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """Make UnreachableError of an answer that is refused or makes no sense."""
        try:
            yield
        except MalformedReplyError as error:
            self.client.errors.append(MALFORMED)
            raise UnreachableError(f"an answer that makes no sense: {error}") from error
        except RefusedError as error:
            raise UnreachableError(f"the read was refused: {error}") from error

    async def _read(self, asked: tuple[str, ...], since_ms: int) -> Snapshot:
        active, stops, _, _ = await together(
            self.open_orders("futuresPrivateGetOrders", 2),
            self.open_orders("futuresPrivateGetStopOrders", 6),
            self.read_fills(since_ms),
            self.read_slow(since_ms),
        )
        listed = {report.client_id: report for report in (*active, *stops)}
        missing = [client_id for client_id in asked if client_id not in listed]
        now = self.clock.now()
        (holdings, foreign), wallet, _, *found = await together(
            self.positions(),
            self.wallet(),
            self.read_unasked(since_ms, now),
            *(self.order(name) for name in missing),
        )
        self.moved, self.wallet_seen = abs(wallet - self.wallet_seen) > MOVED, wallet
        known = {report.client_id: report for report in found if report is not None}
        entries = tuple(e for e in self.entries.values() if e.now_ms >= since_ms)
        self.forget()
        return Snapshot(
            now_ms=self.clock.now(),
            wallet=wallet,
            holdings=holdings,
            open_orders=tuple(listed.values()),
            asked=asked,
            reports=listed | known,
            entries=entries,
            foreign=foreign,
        )

    async def open_orders(self, call: str, weight: int) -> list[OrderReport]:
        """Return the orders of one of the two books."""
        found: list[OrderReport] = []
        async for row in order_rows(self.client, call, weight):
            report, order_id = parse.listed_order(row, self.index, self.client_ids)
            self.learn(report.client_id, order_id)
            found.append(report)
        return found

    async def order(self, client_id: str) -> OrderReport | None:
        """Return what became of one order, None when the exchange does not know it."""
        order_id = self.order_ids.get(client_id)
        try:
            if order_id is not None:
                row = await self.client.read(
                    "futuresPrivateGetOrdersOrderId", {"orderId": order_id}, weight=5
                )
            else:
                row = await self.client.read(
                    "futuresPrivateGetOrdersByClientOid", {"clientOid": client_id}, weight=5
                )
        except RefusedError as error:
            if error.verdict.treat is Treat.NOT_FOUND:
                return None
            raise UnreachableError(str(error)) from error
        report, order_id = parse.order(row, self.index, self.client_ids)
        self.learn(report.client_id, order_id)
        return report

    async def positions(self) -> tuple[tuple[Holding, ...], tuple[str, ...]]:
        """Return what is held by symbol, and the names of contracts that are not configured."""
        data = await self.client.read("futuresPrivateGetPositions", {"currency": "USDT"}, weight=2)
        found, foreign = parse.positions(data, self.index)
        self.traded -= found.keys()
        gone = tuple((self.held_last | self.traded) - found.keys())
        there = await together(*map(self.see_gone, gone))
        found |= {k: holding for k, holding in zip(gone, there, strict=True) if holding}
        self.held_last = {k for k, holding in found.items() if holding.side} - self.traded
        for k, holding in found.items():
            self.marks[k] = holding.mark
            self.held.add(k)
        flat = (Holding(0, 0.0, mark) for mark in self.marks)
        return tuple(found.get(k, empty) for k, empty in enumerate(flat)), foreign

    async def see_gone(self, k: int) -> Holding | None:
        """Ask for a position that the list does not have: one that is believed to be gone loses its
        stops. Return what has just traded and is there; raise UnreachableError when another is.
        What says nothing leaves the list to be believed: a contract may be gone as well."""
        wire = self.wires[k]
        try:
            data = await self.client.read(
                "futuresPrivateGetPosition", {"symbol": wire}, weight=2, answers=NO_CONTRACT
            )
            held, _ = parse.positions([data], {wire: k})
        except RefusedError:
            held = {k: FLAT}
        except MalformedReplyError:
            held = {}  # it is asked for again
        if not held.get(k, FLAT).side:
            self.traded -= held.keys()
            return None
        if k in self.held_last:
            raise UnreachableError(f"position {wire}: {held[k].contracts:g} contracts, not listed")
        return held[k]

    async def wallet(self) -> float:
        """Return the money without unrealised profit, USDT."""
        data = await self.client.read(
            "futuresPrivateGetAccountOverview", {"currency": "USDT"}, weight=5
        )
        return parse.overview(data).wallet

    async def read_fills(self, since_ms: int) -> None:
        """Take the fills since a time into `entries`."""
        now = self.clock.now()
        recent = await self.client.read("futuresPrivateGetRecentFills", {}, weight=3)
        found = self.with_sense(array(recent, "recent fills"))
        oldest = min(map(parse.fill_ms, found), default=now)
        cut = len(recent) >= RECENT_ROWS and oldest >= since_ms
        if cut or now - since_ms > RECENT_MS:
            for begin in range(max(since_ms, self.archived_ms), now, WEEK_MS):
                await self.read_old_fills(begin, min(begin + WEEK_MS, now), since_ms)
        await self.take_fills(found, since_ms)

    async def read_old_fills(self, from_ms: int, to_ms: int, since_ms: int) -> None:
        """Take the fills of at most a week into `entries`; where it has too many, of its halves."""
        found: list[Any] = []
        for number in range(1, MOST_PAGES + 1):
            params = {"startAt": from_ms, "endAt": to_ms, "currentPage": number, "pageSize": PAGE}
            data = await self.client.read("futuresPrivateGetFills", params, weight=5)
            rows, pages = parse.page(data)
            found += rows
            if number >= pages:
                await self.take_fills(self.with_sense(found), since_ms)
                self.archived_ms = to_ms - LAG_MS
                return
            if pages > MOST_PAGES and to_ms - from_ms > MINUTE_MS:
                middle = (from_ms + to_ms) // 2
                await self.read_old_fills(from_ms, middle, since_ms)
                await self.read_old_fills(middle, to_ms, since_ms)
                return
        raise UnreachableError(f"fills: expected at most {MOST_PAGES} pages, was more")

    def with_sense(self, rows: list[object]) -> list[object]:
        """Return fills without those of others that make no sense; those are said once."""
        found = parse.fills_with_sense(rows, self.index)
        odd = len(rows) - len(found)
        if odd > self.odd_fills:
            log.warning("%d fills in contracts of others make no sense: left out", odd)
            self.odd_fills = odd
        return found

    async def take_fills(self, rows: Sequence[object], since_ms: int) -> None:
        """Take fills since a time into `entries`, with the client ids of their orders.

        The lists are newest first; what traded within one ms stays in its order.
        """
        oldest_first = rows[::-1]
        for row in sorted(oldest_first, key=parse.fill_ms):
            # What is too old or known costs no question, and cannot fail the read.
            time = parse.fill_ms(row)
            old = time < since_ms or time <= self.founded_ms
            if old or parse.fill_id(row) in self.entries:
                continue
            order_id = parse.order_id_of_fill(row)
            asked = parse.may_be_ours(row, self.index)
            name = await self.client_id_of(order_id) if asked else order_id
            entry = parse.fill(row, self.index, "" if name == order_id else name)
            if entry.symbol >= 0:
                self.traded.add(entry.symbol)
                self.unasked |= {entry.symbol} - self.held
            self.keep(entry)

    async def client_id_of(self, order_id: str) -> str:
        """Return the client id of an order that traded: a fill does not say it.

        An order that is not found may be found a moment later, because the exchange's lists lag
        behind its matching; until then the read fails. One that stays unknown keeps its own id,
        which is nobody's client id.
        """
        if order_id in self.client_ids:
            return self.client_ids[order_id]
        try:
            row = await self.client.read(
                "futuresPrivateGetOrdersOrderId", {"orderId": order_id}, weight=5
            )
        except RefusedError as error:
            missing_since = self.missing.setdefault(order_id, self.clock.now())
            lasting = self.clock.now() - missing_since >= LAG_MS
            if error.verdict.treat is not Treat.NOT_FOUND or not lasting:
                raise UnreachableError(f"an order that traded: {error}") from error
            del self.missing[order_id]
            self.learn(order_id, order_id)
            return order_id
        report, _ = parse.order(row, self.index, self.client_ids)
        self.missing.pop(order_id, None)
        self.learn(report.client_id, order_id)
        return report.client_id

    async def read_slow(self, since_ms: int) -> None:
        """Take funding and transfers into `entries`, once in a while and when the wallet moves."""
        now = self.clock.now()
        if now - self.slow_ms < SLOW_MS and not self.moved:
            return
        asked, self.held = self.held, set()
        begin = min(since_ms, self.slow_ms) if self.slow_ms else since_ms
        try:
            await together(
                self.read_transfers(begin, now), *(self.read_funding(k, begin, now) for k in asked)
            )
        except BaseException:
            self.held |= asked
            raise
        self.slow_ms = now

    async def read_unasked(self, since_ms: int, now: int) -> None:
        """Take the funding of symbols that turn out to have been held since the last read: what was
        settled then belongs to this read, because later ones do not look back so far."""
        asked = set(self.unasked)
        await together(*(self.read_funding(k, since_ms, now) for k in asked))
        self.unasked -= asked

    async def read_funding(self, k: int, from_ms: int, to_ms: int) -> None:
        params = {"symbol": self.wires[k], "startAt": from_ms, "endAt": to_ms}
        for row in await self.history("futuresPrivateGetFundingHistory", params, "id", 5):
            self.keep(parse.funding(row, self.index))

    async def read_transfers(self, from_ms: int, to_ms: int) -> None:
        params = {"currency": "USDT", "startAt": from_ms, "endAt": to_ms}
        for row in await self.history("futuresPrivateGetTransactionHistory", params, "offset", 2):
            entry = parse.transfer(row)
            if entry is not None:
                self.keep(entry)

    async def history(
        self, call: str, params: Mapping[str, Any], offset: str, weight: int
    ) -> list[object]:
        """Return the rows of a list that is told newest first, piece by piece: each piece begins
        after the row whose field `offset` is given."""
        found: list[object] = []
        after: dict[str, str] = {}
        for _ in range(MOST_PAGES):
            asked = {**params, **after, "maxCount": ROWS}
            rows, more = parse.data_list(await self.client.read(call, asked, weight=weight))
            found += rows
            if not more or not rows:
                return found
            after = {"offset": Fields(rows[-1], call).identity(offset)}
        raise UnreachableError(f"{call}: expected at most {MOST_PAGES} pages, was more")

    def keep(self, entry: Entry) -> None:
        if entry.now_ms <= self.founded_ms:
            return
        self.entries[entry.entry_id] = entry

    def forget(self) -> None:
        """Drop the oldest records. Not before they are told: a read holds all there are."""
        self.archived_ms = 0
        extra = len(self.entries) - REMEMBERED
        if extra > 0:  # not by when they came: recent ones are read before those of last week
            for entry in sorted(self.entries.values(), key=lambda entry: entry.now_ms)[:extra]:
                del self.entries[entry.entry_id]
