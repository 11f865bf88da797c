"""A position that is turned around over the wire: by another bot, by a late entry of our own, and
while the bot is down or in the middle of its read (DESIGN section 5).

A person who does it is a row of the fault matrix ("flipped by hand", test_wire_faults.py).
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from bot.adapters import kucoin_client
from bot.core.messages import Effect, Event, Level, Notice, OrderFilled, PlaceOrder, Role
from bot.core.modes import Cause
from tests.support.wire import Simulator, simulator
from tests.support.wire_drills import WireDrill, drill_config, plan
from tests.support.wire_fault_drill import AGREED_MS, MARKET, STARTS

MOST_MS = 30 * 60_000
"""until what is waited for has come"""
LONG_MS = 4_000
BTC = "BTC-USDT-PERP"
SCRIPT = (0.1, 0.3, 0.3, *(-0.01 for _ in range(18)), *(-0.3 for _ in range(20)))
"""percent in each bar: it rises, rests for longer than a symbol whose entry was lost, and falls"""
FOLLOWING = (
    *("stops.min=0.05", "stops.max=0.05", "warmup_bars=20"),
    *("momentum.period=8", "momentum.entry=0.5", "momentum.exit=-100.0", "momentum.reward=10.0"),
    *(f'symbols=["{BTC}"]', 'strategies=["momentum"]'),
)
"""settings of a bot that enters long in the rise and short in the fall, and does not leave"""


class Crash(BaseException):
    """The process is gone."""


class Turned(WireDrill):
    """A bot on an account on which others trade, too."""

    def __init__(self, folder: Path, exchange: Simulator, *settings: str) -> None:
        super().__init__(folder, exchange, config=drill_config(exchange, *settings))
        self.shared = True
        self.sent: list[PlaceOrder] = []
        self.told: list[Notice] = []
        self.crash = False
        """at the first fill of somebody else"""
        self.daemon.parts.listeners.append(self.listen)

    def listen(self, event: Event, effects: list[Effect]) -> None:
        self.sent += [effect for effect in effects if isinstance(effect, PlaceOrder)]
        self.told += [effect for effect in effects if isinstance(effect, Notice)]
        if self.crash and isinstance(event, OrderFilled) and not self.ours(event.client_id):
            raise Crash

    def until(self, true: Callable[[], bool], by_ms: int = 0) -> None:
        """Let time pass, in steps of `by_ms` where they are given, until something is true."""
        end_ms = self.clock.now_ms + MOST_MS
        while not true():
            assert self.clock.now_ms < end_ms, "it never came"
            self.turn(by_ms)

    def settle(self) -> None:
        """Let books and exchange agree on what is ours for a while."""
        end_ms = self.clock.now_ms + AGREED_MS
        while self.clock.now_ms < end_ms:
            self.turn()
        self.check()

    @property
    def symbol(self) -> int:
        """The one that is held."""
        [k] = self.state.held
        return k

    def covered(self) -> bool:
        """Return whether one position is held and rests under its stops."""
        held = self.state.held
        return len(held) == 1 and self.state.covered(held[0]) >= self.contracts(held[0])

    def contracts(self, k: int) -> float:
        return self.state.world.positions[k].contracts

    def kinds(self) -> set[str]:
        return {notice.kind for notice in self.told if notice.level is Level.CRITICAL}


@pytest.fixture(scope="module")
def exchange() -> Iterator[Simulator]:
    with simulator(*MARKET) as made:
        yield made


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADBOT_LOCK_DIR", str(tmp_path))
    monkeypatch.setattr(kucoin_client, "PAUSE_S", 0.01)


def holding(exchange: Simulator, folder: Path, number: int) -> Turned:
    """Return a bot that holds a covered position on a new account."""
    exchange.ask("reset", STARTS[number].setting())
    drill = Turned(folder, exchange)
    drill.start()
    drill.until(drill.covered)
    return drill


def check_turned(drill: Turned, k: int, rest: int) -> None:
    """See that our part is closed and told, that the rest is theirs, and that nothing is sent."""
    state, symbol = drill.state, drill.state.symbols[k]
    [position] = [p for p in drill.exchange.truth()["positions"] if p["symbol"] == symbol]
    assert position["side"] * position["contracts"] == rest
    assert state.world.positions[k].contracts == 0.0
    assert Cause.FOREIGN_ORDER in state.modes.causes
    assert state.modes.name == "REDUCE_ONLY"
    assert state.guards[k].differs > 0
    assert (state.world.symbols[k].locked, state.puzzles) == (1, {})
    assert drill.sent == []


@pytest.mark.parametrize("number", range(len(STARTS)))
def test_another_bot_turns_our_position_around(
    number: int, exchange: Simulator, tmp_path: Path
) -> None:
    """Its entry is what ours is: an IOC limit that is not reduce-only, under a name of its own."""
    with closing(holding(exchange, tmp_path / "s", number)) as drill:
        k = drill.symbol
        pos, spec = drill.state.world.positions[k], drill.venue.specs[k]
        side, contracts = pos.side, float(int(1.5 * pos.contracts))
        price = (
            round(drill.state.world.symbols[k].mark * (1.0 - 0.02 * side) / spec.tick) * spec.tick
        )
        entry = PlaceOrder(
            "other0-1-entry", k, Role.ENTRY, -side, contracts, round(price, 8), pos.leverage
        )
        rest = int(side * (pos.contracts - contracts))
        drill.sent.clear()
        drill.venue.submit(entry, drill.clock.now_ms)
        drill.until(lambda: not drill.state.held)
        drill.settle()
        check_turned(drill, k, rest)
        assert drill.kinds() >= {"foreign_order", "external_position_change"}
        assert "order_rejected" not in drill.kinds()
        drill.close()
        assert drill.replayed() > 0


@pytest.mark.parametrize("down", [True, False])
def test_a_restart_in_the_middle_of_it_agrees(
    down: bool, exchange: Simulator, tmp_path: Path
) -> None:
    """The process has gone before it, or with the first of the parts in which it trades."""
    drill = holding(exchange, tmp_path / "s", 2)
    k, drill.crash = drill.symbol, True
    pos = drill.state.world.positions[k]
    held = int(pos.side * pos.contracts)
    said = {"do": "close", "symbol": drill.state.symbols[k], "share": 1.5}
    with closing(drill):
        exchange.ask("outside", said)
        if not down:
            with pytest.raises(Crash):
                drill.run_bars(2)
    exchange.advance(5_000)
    with closing(Turned(tmp_path / "s", exchange)) as again:
        assert again.state.sequence > 0
        again.start()
        again.settle()
        check_turned(again, k, held - int(1.5 * held))
        again.close()
        assert again.replayed() > 0


@pytest.mark.parametrize("depth", [10_000, 30])
def test_a_late_entry_of_ours_turns_our_position_around_and_is_covered(
    depth: int, tmp_path: Path
) -> None:
    """It never came, was given up, and comes when the opposite of it is held; half of the money has
    been withdrawn meanwhile, so that it is larger. It trades at once, or in three parts."""
    (tmp_path / "script.csv").write_text("\n".join((BTC, *map(str, SCRIPT), "")))
    words = ("--market", "synthetic", "--symbols", BTC, "--seed", "2", "--speed", "step")
    script = ("--history", "100", "--script", str(tmp_path / "script.csv"))
    with (
        simulator(*words, *script, "--depth", str(depth)) as exchange,
        closing(Turned(tmp_path / "s", exchange, *FOLLOWING)) as drill,
    ):
        drill.start()
        lose = {"kind": "drop_before", "method": "POST", "role": "entry", "times": 0}
        plan(exchange, [lose])
        drill.until(lambda: bool(drill.state.ended))
        plan(exchange, [])
        [lost] = [order.request for order in drill.state.ended.values()]
        exchange.ask("outside", {"do": "transfer", "amount": -5_000.0})
        pos = drill.state.world.positions[0]
        drill.until(lambda: pos.side == -lost.side and drill.covered(), LONG_MS)
        drill.settle()
        before = pos.contracts
        assert before < lost.contracts
        drill.sent.clear()
        drill.told.clear()
        # As it was, but for its price: the market has gone on.
        mark = float(round(drill.state.world.symbols[0].mark * (1.0 + 0.02 * lost.side)))
        drill.venue.submit(replace(lost, price=mark), drill.clock.now_ms)
        drill.until(lambda: pos.side == lost.side and drill.covered())
        drill.settle()
        assert pos.contracts == lost.contracts - before
        [held] = exchange.truth()["positions"]
        assert (held["side"], held["contracts"]) == (lost.side, pos.contracts)
        assert drill.state.modes.causes == {}
        assert drill.state.world.symbols[0].locked == 1
        assert "emergency_fill" in {notice.kind for notice in drill.told}
        # Nobody waits for it any more: it may be found by the next look at the account only.
        assert drill.kinds() <= {"uncovered"}
        assert {(o.role, o.side) for o in drill.sent} >= {(Role.STOP, -lost.side)}
        assert all(o.side == -lost.side for o in drill.sent if o.role is not Role.STOP)
        drill.close()
        assert drill.replayed() > 0
