"""What every venue promises (bot/shell/venue.py), asked of the simulated exchange in process and of
the KuCoin adapter over real sockets, there with the slim and with the ordinary import of ccxt.

Time is moved by hand; what came of an order is looked up in a read, which both must answer alike.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from bot.adapters.kucoin import ContractsChangedError, KucoinVenue
from bot.adapters.kucoin_account import AccountReader
from bot.adapters.kucoin_bars import SETTLE_MS, BarFeed
from bot.adapters.kucoin_client import KucoinClient
from bot.adapters.kucoin_market import WireSource
from bot.adapters.kucoin_site import Site
from bot.adapters.token_bucket import TokenBucket
from bot.adapters.wire_thread import WireThread
from bot.core.errors import UnreachableError
from bot.core.kernel.params import Spec
from bot.core.market import Bar, Row
from bot.core.messages import (
    CancelOrder,
    Event,
    OrderAccepted,
    OrderFilled,
    OrderRejected,
    PlaceOrder,
    Role,
)
from bot.core.reconcile import Snapshot
from bot.core.specs import BUILTIN
from bot.shell.build import to_spec
from bot.shell.venue import Venue
from bot.sim.tick_exchange import TickExchange
from bot.sim.tick_market import TickMarket
from ops.exchange.hand_clock import HandClock
from ops.exchange.wire import exchange_params
from tests.support.market_files import write_candles
from tests.support.wire import KEYS, Simulator, simulator

SYMBOL = "BTC-USDT-PERP"
SPEC = BUILTIN[SYMBOL]
START_MS = 1_704_067_200_000
MINUTE = 60_000
DEPOSIT = 10_000.0
ORDINARY = "RADBOT_TEST_ORDINARY_CCXT"
"""set in the process that runs this suite with the ordinary import"""
PATIENCE_MS = 20_000

# Minute by minute: still, a fall, still, a rise, still.
CLOSES = [50_000.0] * 6 + [49_000.0] * 4 + [51_000.0] * 20


def bars() -> list[Bar]:
    """Return the market all venues play."""
    found, before = [], CLOSES[0]
    for close in CLOSES:
        high, low = max(before, close), min(before, close)
        found.append(Bar(before, high + 1.0, low - 1.0, close, 100.0))
        before = close
    return found


class Bench(Protocol):
    """One venue with a fresh account, and time in a test's hands."""

    venue: Venue
    now_ms: int

    def pass_time(self, ms: int) -> list[Event]:
        """Let time pass; return what the venue has told."""

    def break_line(self) -> None:
        """Let nothing pass any more."""


class TickBench:
    """The simulated exchange, in process."""

    def __init__(self) -> None:
        spec: Spec = to_spec(SPEC, False)
        rows = [Row(START_MS + i * MINUTE, (bar,), ()) for i, bar in enumerate(bars())]
        exchange = TickExchange(
            exchange_params(MINUTE), [spec], DEPOSIT, seed=1, latency_ms=(5, 40), depth=1_000_000
        )
        self.market = TickMarket(exchange, iter(rows), MINUTE)
        self.venue: Venue = self.market
        self.now_ms = START_MS

    def pass_time(self, ms: int) -> list[Event]:
        self.now_ms += ms
        told = []
        while (event := self.venue.poll(self.now_ms)) is not None:
            told.append(event)
        return told

    def break_line(self) -> None:
        def refuse(*_: object) -> Snapshot:
            raise UnreachableError("no connection")

        self.market.snapshot = refuse  # type: ignore[method-assign]


class WireBench:
    """The adapter over the wire simulator."""

    def __init__(self, exchange: Simulator) -> None:
        self.exchange = exchange
        self.now_ms = int(exchange.ask("reset", {"skip": 1})["now_ms"])
        self.clock = HandClock(self.now_ms)
        self.wire = WireThread()
        site = Site(exchange.futures, exchange.spot, 2.0)
        slim = ORDINARY not in os.environ
        self.client = KucoinClient(
            site, KEYS, self.clock, TokenBucket(monotonic=self.clock.seconds), slim=slim
        )
        self.wire.run(self.client.open(), 5.0)
        reader = AccountReader(self.client, (SYMBOL,), self.clock, self.now_ms)
        self.kucoin = KucoinVenue(
            self.wire, self.client, reader, [SPEC], MINUTE, self.clock, monotonic=self.clock.seconds
        )
        self.kucoin.read.patient = True
        self.venue: Venue = self.kucoin

    def pass_time(self, ms: int) -> list[Event]:
        self.settle()
        self.clock.now_ms = self.now_ms = self.exchange.advance(ms)
        told = []
        while (event := self.venue.poll(self.now_ms)) is not None:
            told.append(event)
        return told

    def settle(self) -> None:
        """Wait for the answers that are on their way."""

        async def nothing() -> None:
            return None

        while not self.kucoin.idle():
            self.wire.run(nothing(), 5.0)

    def break_line(self) -> None:
        self.exchange.ask("faults", {"faults": [{"kind": "outage"}]})

    def close(self) -> None:
        self.exchange.ask("faults", method="DELETE")
        self.wire.close(self.client.close)


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    folder = tmp_path_factory.mktemp("market")
    lines = [f"{START_MS + i * MINUTE},{','.join(map(repr, bar))}" for i, bar in enumerate(bars())]
    write_candles(folder / f"{SYMBOL}-1m.csv", lines)
    words = ["--market", "replay", "--data", str(folder), "--symbols", SYMBOL, "--timeframe", "1m"]
    words += ["--speed", "step", "--history", "1", "--depth", "1000000"]
    with simulator(*words) as made:
        yield made


@pytest.fixture(params=["simulated", "kucoin"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    if request.param == "simulated":
        yield TickBench()
        return
    made = WireBench(request.getfixturevalue("exchange"))
    yield made
    made.close()


def order(name: str, role: Role, side: int, contracts: float, price: float = 0.0) -> PlaceOrder:
    return PlaceOrder(f"t-{name}-{role.value}", 0, role, side, contracts, price, 10.0)


def send(bench: Bench, wish: PlaceOrder, ms: int = 500) -> Event:
    """Send an order and let its answer come; return the answer."""
    answer = bench.venue.submit(wish, bench.now_ms)
    told = bench.pass_time(ms)
    answers = [e for e in told if getattr(e, "client_id", "") == wish.client_id]
    found = answer or next(e for e in answers if isinstance(e, OrderAccepted | OrderRejected))
    return found


def read(bench: Bench, *asked: str) -> Snapshot:
    """Return a read of the account."""
    seen = bench.venue.snapshot(asked, START_MS, bench.now_ms)
    assert seen is not None
    return seen


def fills(bench: Bench, name: str = "") -> list[OrderFilled]:
    found = [entry for entry in read(bench).entries if isinstance(entry, OrderFilled)]
    return [fill for fill in found if name in fill.client_id]


def enter(bench: Bench, contracts: float = 10.0) -> None:
    """Hold contracts, bought at about 50,000."""
    bench.pass_time(MINUTE)
    assert isinstance(send(bench, order("1", Role.ENTRY, 1, contracts, 50_100.0)), OrderAccepted)


def until(bench: Bench, wanted: Callable[[Snapshot], bool]) -> Snapshot:
    """Let market time pass until the account is as wanted."""
    for _ in range(len(CLOSES) * 4):
        seen = read(bench)
        if wanted(seen):
            return seen
        bench.pass_time(MINUTE // 4)
    raise AssertionError("it never came so")


def test_a_fresh_account_is_flat_and_has_its_money(bench: Bench) -> None:
    seen = read(bench)
    assert [holding.side for holding in seen.holdings] == [0]
    assert seen.open_orders == ()
    assert seen.entries == ()
    assert seen.wallet == pytest.approx(DEPOSIT, abs=1e-9)


def test_an_entry_trades_inside_its_limit_and_costs_its_fee(bench: Bench) -> None:
    enter(bench)
    [fill] = fills(bench)
    assert (fill.client_id, fill.symbol, fill.side, fill.contracts) == ("t-1-entry", 0, 1, 10.0)
    assert 49_900.0 < fill.price <= 50_100.0
    assert fill.fee == pytest.approx(10 * 0.001 * fill.price * 0.0006, rel=1e-6)
    seen = read(bench, "t-1-entry")
    [holding] = seen.holdings
    assert (holding.side, holding.contracts) == (1, 10.0)
    assert holding.mark > 0.0
    assert seen.wallet == pytest.approx(DEPOSIT - fill.fee, abs=1e-9)
    report = seen.reports["t-1-entry"]
    assert (report.resting, report.filled) == (False, 10.0)


def test_an_entry_outside_its_limit_expires_without_a_trade(bench: Bench) -> None:
    bench.pass_time(MINUTE)
    send(bench, order("1", Role.ENTRY, 1, 10.0, 49_800.0))
    seen = read(bench, "t-1-entry")
    assert [holding.side for holding in seen.holdings] == [0]
    report = seen.reports["t-1-entry"]
    assert (report.resting, report.filled) == (False, 0.0)
    assert seen.open_orders == ()


def test_a_stop_rests_in_every_read_and_closes_at_the_fall(bench: Bench) -> None:
    enter(bench)
    stop = order("2", Role.STOP, -1, 10.0, 49_500.0)
    assert isinstance(send(bench, stop), OrderAccepted)
    [resting] = read(bench).open_orders
    assert (resting.client_id, resting.resting, resting.symbol) == ("t-2-stop", True, 0)
    assert read(bench, "t-2-stop").reports["t-2-stop"].resting
    seen = until(bench, lambda seen: seen.holdings[0].side == 0)
    assert seen.open_orders == ()
    [fill] = fills(bench, "stop")
    assert (fill.client_id, fill.side, fill.contracts) == ("t-2-stop", -1, 10.0)
    assert fill.price < 49_500.0
    assert not read(bench, "t-2-stop").reports["t-2-stop"].resting


def test_a_target_rests_and_is_a_maker_at_its_price(bench: Bench) -> None:
    enter(bench)
    send(bench, order("2", Role.TARGET, -1, 10.0, 50_900.0))
    assert [report.client_id for report in read(bench).open_orders] == ["t-2-target"]
    until(bench, lambda seen: seen.holdings[0].side == 0)
    [fill] = fills(bench, "target")
    assert fill.price == 50_900.0
    assert fill.fee == pytest.approx(10 * 0.001 * 50_900.0 * 0.0002, rel=1e-6)


def test_when_a_position_is_gone_so_are_its_reduce_only_orders(bench: Bench) -> None:
    enter(bench)
    send(bench, order("2", Role.STOP, -1, 10.0, 49_500.0))
    send(bench, order("3", Role.TARGET, -1, 10.0, 52_000.0))
    send(bench, order("4", Role.EXIT, -1, 10.0))
    seen = until(bench, lambda seen: seen.holdings[0].side == 0)
    assert seen.open_orders == ()
    assert {fill.client_id for fill in fills(bench)} == {"t-1-entry", "t-4-exit"}
    for name in ("t-2-stop", "t-3-target"):
        assert not read(bench, name).reports[name].resting


def test_an_exit_is_cut_to_the_position_and_refused_without_one(bench: Bench) -> None:
    enter(bench, 4.0)
    send(bench, order("2", Role.EXIT, -1, 9.0))
    seen = until(bench, lambda seen: seen.holdings[0].side == 0)
    assert [fill.contracts for fill in fills(bench, "exit")] == [4.0]
    assert seen.holdings[0].contracts == 0.0
    refused = send(bench, order("3", Role.EXIT, -1, 4.0))
    assert isinstance(refused, OrderRejected)
    assert not refused.local
    assert refused.message


def test_a_cancelled_order_is_gone_and_a_second_cancel_does_nothing(bench: Bench) -> None:
    enter(bench)
    send(bench, order("2", Role.STOP, -1, 10.0, 49_500.0))
    wish = CancelOrder("t-2-stop", 0)
    for _ in range(2):
        bench.venue.cancel(wish, bench.now_ms)
        bench.pass_time(500)
        seen = read(bench, "t-2-stop")
        assert seen.open_orders == ()
        assert not seen.reports["t-2-stop"].resting
        assert seen.reports["t-2-stop"].filled == 0.0


def test_a_client_id_is_good_for_one_order(bench: Bench) -> None:
    enter(bench)
    bench.venue.submit(order("1", Role.ENTRY, 1, 10.0, 50_100.0), bench.now_ms)
    bench.pass_time(500)
    assert sum(fill.contracts for fill in fills(bench)) == 10.0


def test_an_order_that_never_was_is_in_no_read(bench: Bench) -> None:
    seen = read(bench, "t-9-entry")
    assert seen.asked == ("t-9-entry",)
    assert "t-9-entry" not in seen.reports


def test_an_order_beyond_the_money_is_refused(bench: Bench) -> None:
    bench.pass_time(MINUTE)
    refused = send(bench, order("1", Role.ENTRY, 1, 9_000.0, 50_100.0))
    assert isinstance(refused, OrderRejected)
    assert not refused.local
    assert [holding.side for holding in read(bench).holdings] == [0]


def test_a_read_that_fails_is_an_error_and_never_a_flat_account(bench: Bench) -> None:
    enter(bench)
    bench.break_line()
    with pytest.raises(UnreachableError):
        read(bench)


def test_records_are_told_once_each_and_from_the_time_asked_for(bench: Bench) -> None:
    enter(bench)
    bench.pass_time(5_000)
    later = bench.now_ms
    send(bench, order("2", Role.EXIT, -1, 10.0))
    until(bench, lambda seen: seen.holdings[0].side == 0)
    seen = bench.venue.snapshot((), later, bench.now_ms)
    assert seen is not None
    names = {entry.client_id for entry in seen.entries if isinstance(entry, OrderFilled)}
    assert names == {"t-2-exit"}
    ids = [entry.entry_id for entry in read(bench).entries]
    assert len(ids) == len(set(ids))


def test_what_is_paid_and_gained_is_what_the_wallet_says(bench: Bench) -> None:
    enter(bench)
    until(bench, lambda seen: seen.holdings[0].mark > 50_500.0)
    send(bench, order("2", Role.EXIT, -1, 10.0))
    seen = until(bench, lambda seen: seen.holdings[0].side == 0)
    cash = sum(-f.side * f.contracts * 0.001 * f.price - f.fee for f in fills(bench))
    assert seen.wallet == pytest.approx(DEPOSIT + cash, abs=1e-6)


@pytest.mark.skipif(ORDINARY in os.environ, reason="this is the process with the ordinary import")
def test_the_same_with_the_ordinary_import_of_ccxt() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(Path(__file__)), "-k", "kucoin"],
        env={**os.environ, ORDINARY: "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout[-3_000:]
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout


def test_upkeep_holds_up_no_bar(exchange: Simulator) -> None:
    bench = WireBench(exchange)
    venue, now_ms = bench.kucoin, bench.clock.now_ms
    source = WireSource(bench.wire, venue.public, venue.wake)
    feed = BarFeed(source, 1, MINUTE, 2_000, 1, 0, now_ms, [0])
    venue.follow(feed)

    def due(passed_s: int, bar_in_ms: int) -> bool:
        bench.clock.now_ms = now_ms + 1_000 * passed_s
        feed.end_ms = bench.clock.now_ms + bar_in_ms - SETTLE_MS
        return venue.due_for_upkeep()

    try:
        assert not due(599, 30_000)
        assert due(601, 30_000)
        assert not due(601, 1_900)
        assert not due(601, -5_000)  # it is late
        assert due(1_201, -600_000)  # it does not come: the clock is measured all the same
    finally:
        bench.close()


def ask_and_hear(bench: WireBench, ms: int) -> None:
    """Let the venue ask, and take the answer: it may come while the asking turn still polls."""
    bench.pass_time(ms)
    bench.pass_time(1)


def test_a_contract_that_changes_makes_the_bot_start_anew(exchange: Simulator) -> None:
    bench = WireBench(exchange)
    try:
        bench.pass_time(11 * MINUTE)
        bench.settle()
        exchange.ask("market", {"do": "tick_size", "symbol": SYMBOL, "tick": 0.5})
        with pytest.raises(ContractsChangedError, match=r"tick=0\.5"):
            ask_and_hear(bench, 11 * MINUTE)
    finally:
        bench.close()


def test_a_refused_order_lets_the_contract_be_looked_at(exchange: Simulator) -> None:
    """Else every stop of the old grid would be refused for ten minutes."""
    bench = WireBench(exchange)
    try:
        exchange.ask("market", {"do": "tick_size", "symbol": SYMBOL, "tick": 0.5})
        assert isinstance(send(bench, order("1", Role.STOP, -1, 1.0, 95.1)), OrderRejected)
        with pytest.raises(ContractsChangedError, match=r"tick=0\.5"):
            ask_and_hear(bench, 5_000)
    finally:
        bench.close()


def test_nothing_to_close_is_no_word_of_the_contract(exchange: Simulator) -> None:
    bench = WireBench(exchange)
    try:
        assert isinstance(send(bench, order("1", Role.EXIT, -1, 1.0)), OrderRejected)
        bench.pass_time(5_000)
        assert bench.kucoin.upkeep is None
    finally:
        bench.close()
