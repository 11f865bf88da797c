"""A position that is turned around over the wire: by another bot, and while the bot is down or in
the middle of its read (DESIGN section 5).

A person who does it is a row of the fault matrix ("flipped by hand", test_wire_faults.py).
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bot.adapters import kucoin_client
from bot.core.messages import Effect, Event, Level, Notice, OrderFilled, PlaceOrder, Role
from bot.core.modes import Cause
from tests.support.wire import Simulator, simulator
from tests.support.wire_drills import WireDrill
from tests.support.wire_fault_drill import AGREED_MS, MARKET, STARTS

MOST_TURNS = 2_000


class Crash(BaseException):
    """The process is gone."""


class Turned(WireDrill):
    """A bot on an account on which others trade, too."""

    def __init__(self, folder: Path, exchange: Simulator) -> None:
        super().__init__(folder, exchange)
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

    def until(self, true: Callable[[], bool]) -> None:
        for _ in range(MOST_TURNS):
            if true():
                return
            self.turn()
        raise AssertionError("it never came")

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
