"""What a start of the live bot asks of the exchange, and what it does when an answer is no, another
than before, or does not come."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bot.shell.live_checks import LiveRefusedError
from tests.support.wire import Simulator, simulator
from tests.support.wire_drills import WireDrill, plan
from tests.support.wire_fault_drill import MARKET, STARTS

type Plain = dict[str, Any]
TEST_ORDERS = "/api/v1/orders/test"


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with simulator(*MARKET) as made:
        yield made


@pytest.fixture
def exchange(running: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    """Return the simulator with a new account, at a moment when a new bot enters soon."""
    monkeypatch.setenv("RADBOT_LOCK_DIR", str(tmp_path / "locks"))
    running.ask("reset", STARTS[0].setting())
    return running


def error(path: str, code: str, **more: Any) -> Plain:
    """Return the fault by which the exchange answers a path with an error."""
    return {"kind": "error", "path": path, "code": code, "msg": "as told", "times": 0, **more}


# Orders that the exchange checks and does not place.


def test_orders_of_our_kinds_are_understood_at_a_mark_off_the_grid(
    exchange: Simulator, tmp_path: Path
) -> None:
    with closing(WireDrill(tmp_path / "s", exchange)) as drill:
        drill.start()
        drill.run_bars(1)
        asked = exchange.truth()["requests"]
        mark = drill.venue.wire.run(drill.venue.public.mark_price(0), 5.0)
    assert asked[f"POST {TEST_ORDERS}"] == 2
    steps = mark / drill.venue.specs[0].tick
    assert abs(steps - round(steps)) > 0.1


def test_orders_that_are_not_understood_are_refused(exchange: Simulator, tmp_path: Path) -> None:
    with closing(WireDrill(tmp_path / "s", exchange)) as drill:
        plan(exchange, [error(TEST_ORDERS, "330011")])
        with pytest.raises(LiveRefusedError) as refused:
            drill.start()
    for role in ("entry", "stop"):
        said = f"BTC-USDT-PERP: {role} orders are refused: set the account to one-way mode"
        assert said in str(refused.value)
    assert "POST /api/v1/orders" not in exchange.truth()["requests"]
