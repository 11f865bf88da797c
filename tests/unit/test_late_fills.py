"""Hundreds of short lives on an exchange that lists its fills late and out of order: every position
is covered soon, and once all is told the books are the exchange's (DESIGN section 5)."""

from random import Random

import pytest

from bot.core.kernel.accounting import wallet
from bot.core.messages import Command
from bot.core.modes import Cause
from tests.support.late_exchange import LATEST_MS, LateExchange
from tests.support.states import Desk, eager_params, make_state

LIVES = 40
SECONDS = 600
BAR_S = 30
READS = 0.7
"""share of seconds in which the account is read"""
MOST_UNCOVERED_MS = 12_000
"""a second between two reads that say so, and reads may fail for some seconds in a row"""
MOVES = (0.99, 1.0, 1.01, 1.01, 1.012)


class Life:
    """A bot on such an exchange."""

    def __init__(self, seed: int, late: float) -> None:
        self.rng = Random(seed)
        self.desk = Desk(make_state(params=eager_params(timeframe_ms=1_000 * BAR_S)))
        self.exchange = LateExchange(self.rng, self.desk, late)
        self.since = 0

    def second(self, reads: float = READS) -> None:
        """Let a second pass for both."""
        exchange, desk = self.exchange, self.desk
        if desk.now + 1_000 >= desk.close_ms + 1_000 * BAR_S:
            exchange.price = round(exchange.price * self.rng.choice(MOVES), 1)
            desk.bars(exchange.price)
        else:
            desk.wait(1)
        exchange.obey()
        exchange.let_time_pass()
        if self.rng.random() < reads:
            exchange.read()
        exchange.obey()

    def look(self) -> None:
        """See that what is held is covered, or has not been for long."""
        if not self.exchange.uncovered:
            self.since = 0
            return
        self.since = self.since or self.desk.now
        assert self.desk.now - self.since <= MOST_UNCOVERED_MS, self.exchange.orders


@pytest.mark.parametrize("late", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(LIVES))
def test_what_is_listed_late_is_covered_soon_and_booked_right(seed: int, late: float) -> None:
    life = Life(seed, late)
    desk, exchange = life.desk, life.exchange
    for _ in range(SECONDS):
        life.second()
        life.look()
        if life.rng.random() < 0.01:
            desk.say(Command.CLOSE, "now and then", 0)
    exchange.late = 0.0
    desk.say(Command.HALT, "the end")
    for _ in range(2 * LATEST_MS // 1_000):
        life.second(reads=1.0)
    desk.say(Command.CLOSE, "the end", 0)
    for _ in range(10):
        life.second(reads=1.0)
    assert (exchange.held, desk.position.side) == (0, 0)
    assert wallet(desk.state.world.account) == pytest.approx(exchange.wallet, abs=1e-6)
    assert set(desk.state.modes.causes) == {Cause.OPERATOR_HALT}
