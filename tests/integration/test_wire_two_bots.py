"""Two bots on one account, each on a host of its own (DESIGN section 5 rule 10).

Both were founded while it was flat, so that neither knows of the other before both have traded.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from bot.core.messages import Command, Operator
from bot.core.modes import Cause
from tests.support.cover import MOST_UNCOVERED_MS, all_covered
from tests.support.wire import Simulator, simulator
from tests.support.wire_crash import HECTIC, MARKET, ROW
from tests.support.wire_drills import TURNS, Plain, WireDrill, drill_config

MOST_BARS = 20
BTC = "BTC-USDT-PERP"
RISES = (0.5, 0.5, 0.3, *(-0.01 for _ in range(9)))
"""percent in each bar, again and again: at the end of the third one momentum buys what reversion
sells"""
HISTORY = 100
WIDE = (
    *(f'symbols=["{BTC}"]', "warmup_bars=20", "trend.adx=90"),
    *("momentum.period=12", "momentum.entry=2.5", "momentum.exit=-100.0", "momentum.reward=10.0"),
    *("reversion.period=4", "reversion.entry=1.0", "reversion.exit=100.0", "reversion.reward=10.0"),
)
BUYS = (*WIDE, 'strategies=["momentum"]', "stops.min=0.05", "stops.max=0.05")
SELLS = (*WIDE, 'strategies=["reversion"]')
AS_MUCH, LESS = ("stops.min=0.05", "stops.max=0.05"), ("stops.min=0.07", "stops.max=0.07")
"""risk decides the size: with a stop that is further away it is smaller"""


class Pair:
    """Two bots in lock-step."""

    def __init__(
        self,
        exchange: Simulator,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        skip: int,
        *settings: Sequence[str],
    ) -> None:
        """Begin after `skip` rows, with the settings of each."""
        self.exchange = exchange
        self.bots: list[WireDrill] = []
        exchange.ask("reset", {"skip": skip})
        for name, words in zip(("here", "there"), settings, strict=True):
            monkeypatch.setenv("RADBOT_LOCK_DIR", str(folder / name / "locks"))
            config = drill_config(exchange, *words)
            self.bots.append(WireDrill(folder / name, exchange, config=config))
            self.bots[-1].start()
        self.uncovered_ms = 0

    def run_bars(self, bars: int) -> None:
        end_ms = self.bots[0].clock.now_ms + bars * 60_000
        while self.bots[0].clock.now_ms < end_ms:
            self.turn()

    def turn(self) -> None:
        """Let time pass; the account as a whole must be covered before long."""
        before_ms = self.bots[0].clock.now_ms
        now_ms = self.exchange.advance(min(bot.step() for bot in self.bots))
        for bot in self.bots:
            bot.clock.now_ms = now_ms
            for _ in range(TURNS):
                bot.daemon.turn()
                if not bot.wait_for_wire():
                    break
        self.uncovered_ms += now_ms - before_ms
        if all_covered(self.exchange.truth(), self.bots[0].config):
            self.uncovered_ms = 0
        assert self.uncovered_ms <= MOST_UNCOVERED_MS

    def entries(self) -> Counter[str]:
        """Return how many entries each installation has sent."""
        truth = self.exchange.truth()
        names = {o["client_id"] for o in (*truth["finished"], *truth["orders"])}
        return Counter(n.partition("-")[0] for n in names if n.endswith("-entry"))

    def fills(self) -> list[list[Plain]]:
        """Return the fills of each."""
        fills = self.exchange.truth()["fills"]
        return [[fill for fill in fills if bot.ours(fill["client_id"])] for bot in self.bots]

    def causes(self) -> list[set[Cause]]:
        return [set(bot.state.modes.causes) for bot in self.bots]

    def close(self) -> None:
        for bot in reversed(self.bots):
            bot.close()


def test_two_hosts_on_one_account_hold_each_other_until_a_person_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        simulator(*MARKET) as exchange,
        closing(Pair(exchange, tmp_path, monkeypatch, ROW, HECTIC, HECTIC)) as pair,
    ):
        pair.run_bars(2)
        entries = pair.entries()
        assert len(entries) == len(pair.bots)  # neither knew of the other before both had entered
        assert pair.causes() == [{Cause.FOREIGN_ORDER}] * 2
        assert [bot.state.modes.name for bot in pair.bots] == ["REDUCE_ONLY"] * 2
        pair.run_bars(6)
        assert pair.entries() == entries
        # A person lets one go on; the other still waits for its own.
        first, second = (bot.state.installation for bot in pair.bots)
        state = pair.bots[0].state
        said = Operator(state.now_ms, Command.RESUME, "the other one is to be stopped")
        pair.bots[0].bot.engine.feed(said)
        for _ in range(MOST_BARS):
            pair.run_bars(1)
            if pair.entries()[first] > entries[first]:
                break
        assert state.modes.name == "RUN"
        assert pair.entries() > entries
        assert pair.entries()[second] == entries[second]
        assert pair.causes()[1] >= {Cause.FOREIGN_ORDER}
        pair.close()
        assert all(bot.replayed() > 0 for bot in pair.bots)


@pytest.mark.parametrize("depth", [10_000, 30])
@pytest.mark.parametrize("stops", [AS_MUCH, LESS])
def test_two_hosts_whose_bots_oppose_each_other_in_one_cycle_stop_there(
    stops: Sequence[str], depth: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes the other's entry for a trade against its position, and what is left is covered;
    the next signals of both are refused."""
    (tmp_path / "script.csv").write_text("\n".join((BTC, *map(str, RISES * 3), "")))
    words = ("--market", "synthetic", "--symbols", BTC, "--seed", "2", "--speed", "step")
    script = ("--history", str(HISTORY), "--script", str(tmp_path / "script.csv"))
    settings = BUYS, (*SELLS, *stops)
    with (
        simulator(*words, *script, "--depth", str(depth)) as exchange,
        closing(Pair(exchange, tmp_path, monkeypatch, HISTORY + 2, *settings)) as pair,
    ):
        pair.run_bars(2)
        assert list(pair.entries().values()) == [1, 1]
        assert pair.causes() == [{Cause.FOREIGN_ORDER}] * 2
        bought, sold = (sum(f["contracts"] for f in fills) for fills in pair.fills())
        assert (bought > sold) == (stops is LESS)
        pair.run_bars(2 * len(RISES))
        assert list(pair.entries().values()) == [1, 1]
        held = [bot.state.world.positions[0].contracts for bot in pair.bots]
        assert held == [bought - sold, 0.0]
        truth = exchange.truth()
        assert [p["side"] * p["contracts"] for p in truth["positions"]] == [n for n in held if n]
        assert [bot.state.puzzles for bot in pair.bots] == [{}, {}]
        pair.close()
        assert all(bot.replayed() > 0 for bot in pair.bots)
