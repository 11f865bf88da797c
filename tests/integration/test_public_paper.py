"""Paper trading on KuCoin's public data: real bars, a simulated account, the wire in between."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.adapters import kucoin_client
from bot.adapters.journal_reader import JournalReader
from bot.adapters.kucoin_bars import Bars
from bot.core.errors import InputError, UnreachableError
from bot.core.history import MOST_MISSED
from bot.core.kernel.codes import FLAT, FLATTEN, HALT, OPERATOR, STOP, TARGET
from bot.core.kernel.records import Position, Trade
from bot.core.market import HOUR_MS, MINUTE_MS
from bot.core.messages import Command, Operator
from bot.core.modes import Cause
from bot.shell import emergency
from bot.shell.config import Config
from bot.shell.paper import new_engine, synthetic_source, warmup_rows
from ops.exchange.public_api import ROUTES
from tests.support.lasting import BUSY
from tests.support.live_processes import EAGER
from tests.support.processes import PATIENCE_S, Bot, real_bot, told_by
from tests.support.public_drills import PublicDrill, public_config
from tests.support.wire import Simulator, simulator
from tests.support.wire_drills import plan

SYMBOLS = "BTC-USDT-PERP,ETH-USDT-PERP,SOL-USDT-PERP"
SEED = 16
PAST = 600
SOON_FUNDING, BARS = 820, 180
"""rows of the past, and bars of trading in which funding is settled"""
DOWN = {"kind": "outage"}
NO_CANDLES = {"kind": "status", "path": "/api/v1/kline", "status": 503, "times": 0}
NO_PRICES = {"kind": "status", "path": "/api/v1/ticker", "status": 503, "times": 0}
NO_RATES = {"kind": "status", "path": "/api/v1/contract/funding", "status": 503, "times": 0}

type Begin = Callable[..., PublicDrill]


@pytest.fixture(scope="module")
def exchange() -> Iterator[Simulator]:
    words = ["--speed", "step", "--symbols", SYMBOLS, "--seed", str(SEED)]
    with simulator(*words) as made:
        yield made
        public = {f"{route.method} {route.path}" for route in ROUTES}
        assert made.truth()["requests"].keys() <= public  # nothing that has to be signed, ever


@pytest.fixture
def begin(exchange: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Begin]:
    """Return what opens the paper bot of this test's state directory, again and again."""
    monkeypatch.setenv("RADBOT_LOCK_DIR", str(tmp_path))
    monkeypatch.setattr(kucoin_client, "PAUSE_S", 0.005)
    with ExitStack() as opened:

        def make(*more: str, skip: int | None = None, recover: bool = True) -> PublicDrill:
            plan(exchange, []) if skip is not None else None
            drill = PublicDrill(tmp_path / "s", exchange, settings(exchange, *more), skip=skip)
            opened.callback(drill.close)
            if recover:
                drill.recover()
            return drill

        yield make
        plan(exchange, [])


def settings(exchange: Simulator, *more: str) -> Config:
    return public_config(exchange, *BUSY, "stops.min=0.005", "stops.max=0.01", *more)


def kinds(folder: Path) -> list[str]:
    reader = JournalReader(folder / "journal.sqlite3")
    try:
        return [one["kind"] for one in reader.incidents(200)]
    finally:
        reader.close()


def told(trades: list[Trade]) -> list[tuple[Any, ...]]:
    """Return all of trades but the seconds that pass until a bar is known to be closed."""
    return [
        (
            *(t.symbol, t.strategy, t.side, t.contracts, t.entry_price, t.exit_price),
            *(t.fees, t.funding, t.pnl, t.reason),
            *(t.entry_time // MINUTE_MS, t.exit_time // MINUTE_MS),
        )
        for t in trades
    ]


def test_real_bars_trade_as_the_same_market_does_in_virtual_time(
    begin: Begin, exchange: Simulator
) -> None:
    """The simulator plays the embedded market, and nothing trades in the two seconds until a bar is
    closed: so every trade is the same to the bit, across a settlement of funding too."""
    drill = begin(skip=SOON_FUNDING)
    drill.run_bars(BARS)
    config = drill.config
    whole = synthetic_source(config, MINUTE_MS, SEED, SOON_FUNDING + BARS + 1)
    rows = [*whole.history, *whole.stream()][: SOON_FUNDING + BARS + 1]
    past, coming = rows[SOON_FUNDING - warmup_rows(config) : SOON_FUNDING], rows[SOON_FUNDING:]
    source = replace(whole, history=past, stream=lambda: iter(coming), start_ms=coming[0].open_ms)
    engine, market = new_engine(config, source)
    for _ in range(BARS):
        engine.pump(market.next_ms() or 0)
    trades = told([closed.trade for closed in drill.trades])
    assert len(trades) > 5
    assert {trade[-3] for trade in trades} >= {STOP}
    assert any(trade[7] != 0.0 for trade in trades)  # funding
    assert trades == told(engine.record.trades)
    drill.check()
    drill.close()
    assert drill.replayed() > 0


def test_candles_that_are_late_are_decided_on(begin: Begin, exchange: Simulator) -> None:
    drill = begin(skip=PAST)
    drill.run_bars(1)
    plan(exchange, [{"kind": "late_klines", "ms": 2_300}])
    for _ in range(3):
        before_ms = drill.state.decided_ms
        drill.run_bars(1)
        assert drill.state.decided_ms == before_ms
        drill.turn(500)
        assert drill.state.decided_ms == before_ms + MINUTE_MS
        assert {symbol.bar_time for symbol in drill.state.world.symbols} == {drill.state.decided_ms}


def test_a_contract_that_goes_takes_no_other_with_it(begin: Begin, exchange: Simulator) -> None:
    drill = begin(skip=PAST)
    drill.run_bars(1)
    gone_ms = drill.state.decided_ms
    exchange.ask("market", {"do": "delist", "symbol": SYMBOLS.split(",")[2]})
    for n in range(1, MOST_MISSED + 5):
        drill.run_bars(1)
        drill.turn(3_000)
        end_ms = gone_ms + n * MINUTE_MS
        assert drill.state.decided_ms == end_ms
        assert [s.bar_time for s in drill.state.world.symbols] == [end_ms, end_ms, gone_ms]
    assert "rewarm" not in drill.kinds
    assert drill.state.modes.name == "RUN"
    drill.close()
    again = begin()
    again.run_bars(1)
    again.turn(3_000)
    end_ms = again.state.decided_ms
    assert end_ms > gone_ms + (MOST_MISSED + 4) * MINUTE_MS
    assert [s.bar_time for s in again.state.world.symbols] == [end_ms, end_ms, gone_ms]


def fate(pos: Position, bars: Bars) -> tuple[int, int] | None:
    """Return when a position that nobody looks after ends, and by what; None while it goes on."""
    for open_ms, bar in bars:
        worst, best = (bar.low, bar.high) if pos.side > 0 else (bar.high, bar.low)
        if pos.side * (worst - pos.stop_price) <= 0.0:
            return open_ms + MINUTE_MS, STOP
        if pos.side * (best - pos.target_price) > 0.0:
            return open_ms + MINUTE_MS, TARGET
    return None


@pytest.mark.parametrize(("bars", "ends"), [(5, False), (68, False), (1_500, True)])
def test_what_happened_while_the_bot_was_down_is_booked(
    begin: Begin, exchange: Simulator, bars: int, ends: bool
) -> None:
    drill = begin(skip=PAST)
    drill.run_until("held")
    drill.run_bars(1)
    [k, *_] = drill.held()
    pos, died_ms = drill.state.world.positions[k], drill.clock.now_ms
    drill.close(clean=False)
    exchange.advance(bars * MINUTE_MS)

    again = begin()
    end = fate(pos, again.candles(k, died_ms // MINUTE_MS * MINUTE_MS, again.clock.now_ms))
    assert (end is not None) == ends
    trades = [trade for trade in again.bot.journal.trades() if trade.symbol == k]
    assert [(trade.exit_time, trade.reason) for trade in trades] == ([end] if end else [])
    if end and end[1] == STOP:
        assert trades[0].exit_price == pytest.approx(pos.stop_price, rel=1e-3)
    again.check()
    again.run_bars(3)
    assert again.state.modes.name == "RUN"
    assert again.state.decided_ms == again.clock.now_ms // MINUTE_MS * MINUTE_MS
    assert ("rewarm" in kinds(again.folder)) == (bars > MOST_MISSED)
    again.close()
    assert again.replayed() > 0


def test_a_bot_that_dies_in_the_middle_of_a_row_goes_on_there(begin: Begin) -> None:
    drill = begin(skip=PAST)
    drill.run_until("held")
    drill.turn(70_000)  # bars came, and what followed from them was told or not
    drill.close(clean=False)
    again = begin()
    again.run_bars(3)
    again.check()


def test_an_outage_halts_and_what_it_hid_is_played_when_it_is_over(
    begin: Begin, exchange: Simulator
) -> None:
    drill = begin(skip=PAST)
    drill.run_until("held")
    [k, *_] = drill.held()
    pos = drill.state.world.positions[k]
    began_ms, stop_price = drill.clock.now_ms, pos.stop_price
    plan(exchange, [DOWN])
    for _ in range(5):
        drill.turn(4 * HOUR_MS)
        assert drill.held() == [k]  # nobody knows better
    assert Cause.EXCHANGE_UNREACHABLE in drill.state.modes.causes
    assert drill.state.modes.mode == HALT
    assert len(drill.trades) == 0
    plan(exchange, [])
    drill.turn(20_000)
    drill.run_bars(2)
    assert drill.state.modes.name == "RUN"
    missed = drill.candles(k, began_ms // MINUTE_MS * MINUTE_MS, drill.clock.now_ms)
    assert any(bar.low <= stop_price <= bar.high for _, bar in missed)
    assert drill.trades[0].trade.reason == STOP
    assert drill.trades[0].trade.symbol == k
    drill.check()
    drill.close()
    assert drill.replayed() > 0


def test_bars_that_come_late_are_played_when_they_come(begin: Begin, exchange: Simulator) -> None:
    """The exchange answers, but has no candles for a while: no outage, no entries, no lost stop."""
    drill = begin(skip=PAST)
    drill.run_until("held")
    [k, *_] = drill.held()
    stop_price, began_ms = drill.state.world.positions[k].stop_price, drill.clock.now_ms
    plan(exchange, [NO_CANDLES])
    drill.run_bars(5)
    for _ in range(5):
        drill.turn(4 * HOUR_MS)
    assert Cause.EXCHANGE_UNREACHABLE not in drill.state.modes.causes
    assert drill.held() == [k]
    plan(exchange, [])
    drill.run_bars(2)
    missed = drill.candles(k, began_ms // MINUTE_MS * MINUTE_MS, drill.clock.now_ms)
    assert any(bar.low <= stop_price <= bar.high for _, bar in missed)
    assert drill.trades[0].trade.reason == STOP
    drill.check()


def test_a_start_without_the_exchange_waits_for_it(begin: Begin, exchange: Simulator) -> None:
    drill = begin(skip=PAST)
    drill.run_until("held")
    drill.close(clean=False)
    plan(exchange, [DOWN])
    again = begin(recover=False)
    with pytest.raises(UnreachableError):
        again.recover()
    plan(exchange, [])
    again.recover()
    again.run_bars(2)
    assert again.state.modes.name == "RUN"
    again.check()


def test_a_new_bot_needs_the_exchange_and_contracts_that_are_listed(
    begin: Begin, exchange: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.shell.live.FOUND_TRIES", 1)
    plan(exchange, [DOWN])
    with pytest.raises(UnreachableError):
        begin(recover=False)
    plan(exchange, [])
    with pytest.raises(InputError, match=r"that KuCoin Futures lists, was PEPE-USDT-PERP"):
        begin('symbols=["BTC-USDT-PERP","PEPE-USDT-PERP"]', recover=False)


def test_another_market_is_refused(begin: Begin) -> None:
    begin(skip=PAST).close()
    with pytest.raises(InputError, match="use another --state"):
        begin("timeframe=5m", recover=False)


def test_funding_whose_rate_is_told_late_is_paid_all_the_same(
    begin: Begin, exchange: Simulator
) -> None:
    drill = begin(skip=15 * 60 + 40)  # 15:40; funding is at 16:00
    drill.run_until("held", 19)
    held = drill.held()
    drill.run_bars(19 - (drill.clock.now_ms // MINUTE_MS) % 60 + 40)
    plan(exchange, [NO_RATES])
    drill.run_bars(3)
    owed = [one for one in drill.venue.market.past.owed if one.hour_ms % (8 * HOUR_MS) == 0]
    assert held
    assert {one.symbol for one in owed} <= set(held) | set(drill.held())
    assert drill.state.world.account.funding == 0.0
    plan(exchange, [])
    drill.run_bars(1)
    rates = {
        one.symbol: drill.venue.wire.run(
            drill.venue.public.funding_rates(one.symbol, one.hour_ms, one.hour_ms), 20.0
        )
        for one in owed
    }
    amounts = [
        -one.side
        * one.contracts
        * drill.state.world.specs[one.symbol].multiplier
        * one.mark
        * rates[one.symbol][0][1]
        for one in owed
    ]
    assert amounts
    assert drill.state.world.account.funding == pytest.approx(sum(amounts), abs=1e-12)
    assert drill.state.world.account.funding != 0.0
    drill.run_bars(6)
    assert drill.venue.market.past.owed == []  # 16:00 was settled, no other hour
    drill.check()


def test_without_a_price_entries_expire_and_exits_wait(begin: Begin, exchange: Simulator) -> None:
    drill = begin(skip=PAST)
    plan(exchange, [NO_PRICES])
    for _ in range(60):
        drill.run_bars(1)
        assert drill.held() == []
        assert not drill.venue.market.waiting()
        if "entry" in drill.kinds:
            break
    else:
        raise AssertionError("never an entry")
    plan(exchange, [])
    drill.run_until("held")
    plan(exchange, [NO_PRICES])
    [k, *_] = drill.held()
    drill.bot.engine.feed(Operator(drill.state.now_ms, Command.CLOSE, "drill", k))
    drill.turn(5_000)
    assert drill.held() == [k]
    assert drill.venue.market.waiting() == {k}
    plan(exchange, [])
    drill.turn(20_000)
    assert k not in drill.held()
    assert drill.trades[-1].trade.reason == OPERATOR
    drill.check()


def test_the_kill_switch_closes_everything_at_the_price_of_the_moment(
    begin: Begin, exchange: Simulator
) -> None:
    drill = begin(skip=PAST)
    drill.run_until("held")
    [k, *_] = drill.held()
    drill.turn(20_000)
    drill.bot.engine.feed(Operator(drill.state.now_ms, Command.KILL, "drill"))
    drill.turn(1_000)
    assert drill.held() == []
    assert drill.state.modes.mode == FLATTEN
    last = drill.venue.wire.run(drill.venue.public.last_price(k), 20.0)
    assert drill.trades[-1].trade.exit_price == pytest.approx(last, rel=5e-4)
    assert all(held.side == FLAT for held in drill.venue.market.exchange.ledger.held)
    drill.check()


def test_a_bot_that_is_dead_is_flattened_and_finds_it_so(begin: Begin) -> None:
    drill = begin(skip=PAST)
    drill.run_until("held")
    drill.close(clean=False)
    done = emergency.flatten(drill.folder, "drill", say=lambda text: None)
    assert done["flat"]
    assert done["closed"]
    again = begin()
    assert again.held() == []
    assert len(again.bot.journal.trades()) == len(done["closed"])
    again.run_bars(2)
    again.check()


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    """A market that goes on by itself, a bar in each second."""
    with simulator("--speed", "60", "--symbols", SYMBOLS, "--seed", str(SEED)) as made:
        yield made


class PaperBot(Bot):
    def status(self) -> dict[str, Any]:
        return told_by(self.state)


def test_the_command_trades_and_survives_and_never_signs(running: Simulator) -> None:
    words = ["--market", "kucoin", "--exchange", running.futures, running.spot, "--speed", "60"]
    words += ["--symbols", SYMBOLS, *(f"--set={one}" for one in (*EAGER, "exchange.speed=60"))]
    with real_bot(PaperBot) as bot:
        process = bot.start(*words)
        before = bot.until(lambda told: told["positions"])
        process.kill()
        process.wait()
        running.ask("faults", {"faults": [DOWN]})
        bot.spawn(*words)
        down = bot.until(lambda told: told["source"] == "bot" and told["mode"] == "HALT")
        assert "exchange_unreachable" in [cause["cause"] for cause in down["causes"]]
        assert not down["ready"]
        running.ask("faults", method="DELETE")
        told = bot.until(lambda told: told["mode"] == "RUN" and told["cycles"] > before["cycles"])
        assert told["ready"]
        assert all(one["covered"] >= one["contracts"] for one in told["positions"])
        other = bot.command("paper", "--market", "kucoin", "--metrics-port", "0")
        assert other.returncode == 75
        bot.processes[-1].terminate()
        _, errors = bot.processes[-1].communicate(timeout=PATIENCE_S)
        assert bot.processes[-1].returncode == 0
        assert "exchange: reached again" in errors
        done = bot.command_of("replay", str(bot.state))
        assert done.returncode == 0, done.stderr
    public = {f"{route.method} {route.path}" for route in ROUTES}
    asked = running.truth()["requests"]
    assert asked.keys() <= public
    assert asked["GET /api/v1/kline/query"] > 10


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--speed", "60"], "speed: expected 1 on https://api-futures.kucoin.com, was 60"),
        (["--speed", "max"], "speed: expected 1 on https://api-futures.kucoin.com, was max"),
        (["--exchange", "https://example.com", "http://127.0.0.1:1"], "was https://example.com"),
        (["--data", "."], "--data, --start and --end go with --market replay"),
        (["--seed", "7"], "--seed goes with --market synthetic"),
        (["--market", "synthetic", "--exchange", "http://127.0.0.1:1", "http://127.0.0.1:1"],
         "--exchange goes with --market kucoin"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_on_a_real_market_is_refused(words: list[str], said: str) -> None:
    with real_bot() as bot:
        done = bot.command("paper", "--market", "kucoin", "--metrics-port", "0", *words)
        assert done.returncode == 2
        assert said in done.stderr
        assert not bot.state.exists()
