"""Hours without an exchange, over the wire: the bot stays up and feeds its watchdog, it grows by
nothing, its positions keep their stops, and afterwards its books are the exchange's."""

import gc
import logging
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from bot.adapters import kucoin_client
from bot.core.modes import Cause
from tests.support.counts import Count
from tests.support.wire import Simulator, simulator
from tests.support.wire_drills import WireDrill, plan
from tests.support.wire_fault_drill import MARKET, STARTS

STRIDE_MS = 20_000
FIRST_HOURS = 1.5
"""after which nothing may grow any more: windows of an hour are full"""
LATER_HOURS = (1.25, 1.25)
MOST_GROWTH = 150
"""blocks of memory, of about a million; a block for each turn would be 225. Whatever else lives in
the process may grow once, but only what is lost again and again grows in each of the later times"""
TRIED = Count("hours without an exchange")


class OutageDrill(WireDrill):
    """A live bot whose time goes in strides while the exchange is away."""

    away = False

    def step(self) -> int:
        return STRIDE_MS if self.away else super().step()


@pytest.fixture
def drill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OutageDrill]:
    monkeypatch.setenv("RADBOT_LOCK_DIR", str(tmp_path))
    monkeypatch.setattr(kucoin_client, "PAUSE_S", 0.01)
    logging.disable(logging.CRITICAL)  # what pytest keeps of the log grows
    with simulator(*MARKET) as exchange, closing(begun(tmp_path / "s", exchange)) as made:
        yield made
    logging.disable(logging.NOTSET)


def begun(folder: Path, exchange: Simulator) -> OutageDrill:
    """Return a bot that is about to enter."""
    exchange.ask("reset", STARTS[0].setting())
    return OutageDrill(folder, exchange)


def without_exchange(drill: OutageDrill, hours: float) -> int:
    """Let so much time pass; every turn must feed the watchdog. Return how many blocks of memory
    are taken."""
    for _ in range(int(hours * 3_600_000 / STRIDE_MS)):
        pings = drill.daemon.parts.notifier.pings
        drill.turn()  # and sees that stops rest under what is held
        assert drill.daemon.parts.notifier.pings > pings
        assert Cause.EXCHANGE_UNREACHABLE in drill.state.modes.causes
    gc.collect()
    return sys.getallocatedblocks()


def test_hours_of_outage(drill: OutageDrill) -> None:
    drill.start()
    while not drill.state.held or drill.daemon.in_doubt():
        drill.turn()
    drill.run_bars(1)
    held = len(drill.state.held)
    assert held > 0
    plan(drill.exchange, [{"kind": "outage"}])
    drill.run_bars(1)
    drill.away = True
    with TRIED:
        blocks = [without_exchange(drill, hours) for hours in (FIRST_HOURS, *LATER_HOURS)]
    grown = [late - early for early, late in pairwise(blocks)]
    hours = int(FIRST_HOURS + sum(LATER_HOURS))
    pings = drill.daemon.parts.notifier.pings
    TRIED.add(hours=hours, positions=held, pings=pings, grown_blocks=min(grown))
    assert min(grown) < MOST_GROWTH
    drill.away = False
    plan(drill.exchange, [])
    drill.run_bars(3)
    assert Cause.EXCHANGE_UNREACHABLE not in drill.state.modes.causes
    drill.check()
    drill.kill()
    drill.replayed()
