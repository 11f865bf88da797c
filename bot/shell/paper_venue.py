"""The simulated exchange as a venue that survives the bot: a market of candles and its database."""

import logging
import pickle
import time
from collections.abc import Callable, Iterator

from bot.adapters.line_state import LineState
from bot.adapters.paper_store import PaperStore, PaperStoreError, check_market, reading_account
from bot.core.codec import decode, decode_member, encode, encode_member
from bot.core.errors import InputError
from bot.core.kernel.params import Params, Spec
from bot.core.market import DAY_MS, Row
from bot.core.messages import (
    CancelOrder,
    Event,
    PlaceOrder,
)
from bot.core.reconcile import Entry, OrderReport, Snapshot
from bot.sim.markets import MarketStream
from bot.sim.paper_market import PaperMarket

log = logging.getLogger("radbot")
MOST_AWAY_MS = 7 * DAY_MS
"""a bot that comes back after longer finds its market no further than this"""
BOOKMARK_ROWS = 256
"""a restart reads at most twice this many rows to find its place"""


class StoredVenue:
    """A simulated account behind a database that is written before anything is answered.

    When the database cannot be written (the disk is full) the exchange goes on in memory and writes
    later: an exchange that died with the bot's disk would prove nothing about the bot.
    """

    market: PaperMarket

    def __init__(self, market: PaperMarket, store: PaperStore) -> None:
        self.market = market
        self.store = store
        self.wall: Callable[[], float] = time.time
        self.moment: tuple[int, int] | None = None
        """(wall clock, market time) of the newest poll, ms"""
        self.trouble: str | None = None
        """why the last write failed"""
        self.errors: list[str] = []
        """kinds of errors since the last call of `take_errors`"""

    def submit(self, order: PlaceOrder, now: int) -> Event | None:
        answer = self.market.submit(order, now)
        self.save()
        return answer

    def cancel(self, wish: CancelOrder, now: int) -> Event | None:
        answer = self.market.cancel(wish, now)
        self.save()
        return answer

    def prompted(self) -> bool:
        return False

    def take_errors(self) -> list[str]:
        """Return the kinds of errors since the last call: writes that failed, as the journal's."""
        found, self.errors = self.errors, []
        return found

    def line(self) -> LineState | None:
        return None

    def while_waiting(self, call: Callable[[], None]) -> None:
        """Nothing: an answer of this exchange is there at once."""

    def close(self) -> None:
        """Give the file back, with what could not be written before if it can be now."""
        try:
            if self.trouble is not None:
                self.save()
        finally:
            self.store.close()

    def restore_moment(self) -> None:
        """Know again when the market stood where."""
        moment = self.store.read("moment")
        if isinstance(moment, list):
            self.moment = (int(moment[0]), int(moment[1]))

    def told_ms(self) -> int:
        """Return the time of the newest thing that this exchange has told, ms."""
        moment = 0 if self.moment is None else self.moment[1]
        records = (entry.now_ms for entry in self.market.records.entries)
        return max(self.market.ended_ms(), moment, *records)

    def values(self) -> dict[str, object]:
        """Return what is written each time."""
        return {"market": self.market.dump(), "moment": self.moment}

    def blobs(self) -> dict[str, bytes]:
        """Return the bytes that are written besides."""
        return {}

    def save(self) -> None:
        """Write what has changed, in one transaction; `trouble` says why that could not be."""
        records = self.market.records
        try:
            self.store.save(
                self.values(),
                self.blobs(),
                [encode_member(entry) for entry in records.fresh_entries],
                [(r.client_id, encode(r)) for r in records.fresh_finished],
            )
        except PaperStoreError as error:
            self.errors.append("journal")
            if self.trouble is None:
                log.error("account: %s", error)
            self.trouble = str(error)
            return
        if self.trouble is not None:
            log.warning("account: writable again")
        self.trouble = None
        records.fresh_entries.clear()
        records.fresh_finished.clear()


class PaperVenue(StoredVenue):
    """An account on a market of candles that can be read from its start again."""

    def __init__(
        self,
        market: PaperMarket,
        store: PaperStore,
        stream: Iterator[Row],
        source: Callable[[], Iterator[Row]],
    ) -> None:
        super().__init__(market, store)
        self.stream = stream
        """where the market's rows come from now"""
        self.source = source
        """makes them anew from the start"""
        self.rows = 0

    def poll(self, until_ms: int) -> Event | None:
        before = self.market.progress.open_ms
        self.moment = (int(self.wall() * 1000.0), until_ms)
        event = self.market.poll(until_ms)
        if event is not None or self.market.progress.open_ms != before:
            self.save()
        return event

    def now_ms(self, speed: float) -> int:
        """Return the market time of this moment: a market goes on while nobody trades on it.

        At `speed`, and at most `MOST_AWAY_MS` further than it was; 0 before the first poll.
        """
        if self.moment is None:
            return 0
        wall_ms, market_ms = self.moment
        away_ms = max(0.0, self.wall() * 1000.0 - wall_ms) * speed
        return market_ms + int(min(away_ms, MOST_AWAY_MS))

    def catch_up(self, until_ms: int, decided_ms: int) -> None:
        """Play the market that the bot missed, stops included."""
        self.market.catch_up(until_ms, decided_ms)
        self.save()

    def bars(self, after_ms: int, before_ms: int) -> list[Row]:
        """Return the rows whose bars ended in (after_ms, before_ms)."""
        timeframe_ms = self.market.timeframe_ms
        found: list[Row] = []
        if before_ms - after_ms <= timeframe_ms:  # a quick restart: nothing was missed
            return found
        for row in nearest_stream(self.store, self.source, after_ms - timeframe_ms):
            ended = row.open_ms + timeframe_ms
            if ended >= before_ms:
                break
            if ended > after_ms:
                found.append(row)
        return found

    def decides_ms(self) -> int | None:
        return self.market.decides_ms()

    def next_ms(self) -> int | None:
        return self.market.next_ms()

    def snapshot(self, asked: tuple[str, ...], since_ms: int, now: int) -> Snapshot:
        return self.market.snapshot(asked, since_ms, now)

    def check_equity(self, ours: float) -> None:
        self.market.check_equity(ours)

    def close_market(self) -> None:
        self.market.close_market()

    def blobs(self) -> dict[str, bytes]:
        """Return a bookmark, now and then."""
        row = self.market.progress.open_ms // self.market.timeframe_ms
        if not isinstance(self.stream, MarketStream) or row - self.rows < BOOKMARK_ROWS:
            return {}
        self.rows = row
        # Ours to read only: the file belongs to the user that runs the bot.
        return {f"bookmark{row // BOOKMARK_ROWS % 2}": pickle.dumps(self.stream)}


def open_paper_venue(
    store: PaperStore,
    params: Params,
    specs: list[Spec],
    deposits: float,
    identity: dict[str, object],
    stream: Callable[[], Iterator[Row]],
) -> tuple[PaperVenue, bool]:
    """Open the exchange that is kept in `store`, or found it; return it and whether it was there.

    Parameters
    ----------
    identity : what the market is (symbols, timeframe, seed, files); it never changes
    stream : makes the market's rows from the start

    Raises
    ------
    InputError : the file holds another market, or is damaged
    """
    with reading_account(store.path):
        known = store.read("identity")
        if known is None:
            rows = stream()
            venue = PaperVenue(PaperMarket(params, specs, deposits, rows), store, rows, stream)
            founded = {"identity": identity, "market": venue.market.dump(), "deposits": deposits}
            store.save(founded | {"params": encode(params), "specs": encode(specs)}, {})
            return venue, False
        check_market(store.path, identity, known)
        data = store.read("market")
        open_ms = _stored_open_ms(data)
        rows, current = _find(store, stream, open_ms)
        market = PaperMarket(params, specs, deposits, rows)
        market.restore(data, current)
        restore_records(market, store)
        venue = PaperVenue(market, store, rows, stream)
        venue.restore_moment()
        return venue, True


def restore_records(market: PaperMarket, store: PaperStore) -> None:
    """Give a market its account's records and finished orders back."""
    entries, finished = store.records()
    market.records.entries.extend(decode_member(Entry, entry) for entry in entries)
    reports = [decode(OrderReport, body) for body in finished]
    market.records.finished = {report.client_id: report for report in reports}


def _stored_open_ms(data: object) -> int:
    assert isinstance(data, dict)
    return int(data["progress"]["open_ms"])


def _find(
    store: PaperStore, stream: Callable[[], Iterator[Row]], open_ms: int
) -> tuple[Iterator[Row], Row | None]:
    """Return the rows after the one that opens at `open_ms`, and that row."""
    if open_ms < 0:
        return stream(), None
    rows = nearest_stream(store, stream, open_ms)
    for row in rows:
        if row.open_ms == open_ms:
            return rows, row
    raise InputError(
        f"{store.path}: expected a row that opens at {open_ms}, was none: data changed?"
    )


def nearest_stream(
    store: PaperStore, stream: Callable[[], Iterator[Row]], open_ms: int
) -> Iterator[Row]:
    """Return the rows from a bookmark at or before `open_ms` on, or from the start."""
    rows = stream()
    if isinstance(rows, MarketStream):
        for name in ("bookmark0", "bookmark1"):
            blob = store.read_blob(name)
            if blob is not None:
                marked: MarketStream = pickle.loads(blob)
                if rows.open_ms < marked.open_ms <= open_ms:
                    rows = marked
    return rows
