"""The audit of accepted entries finds every planted violation, and nothing in a clean cycle."""

from bot.core.kernel.arbitration import audit_entries
from bot.core.kernel.codes import ENTRY, LONG, MOMENTUM, REVERSION, RUN, TREND
from bot.core.kernel.decide import decide
from bot.core.kernel.records import Intent, Position, World
from tests.support.wishes import NOW, wish, wishing_world
from tests.support.worlds import START


def accepted(symbols: int = 3, **params: float) -> World:
    """Return a world in which entries of 20 contracts were accepted by the book on every symbol."""
    w = wishing_world(symbols, (TREND, MOMENTUM, REVERSION), **params)
    w.account.tier = 3
    for k in range(symbols):
        w.wishes[k] = 2.0
        w.intents[k] = Intent(
            kind=ENTRY,
            time=NOW,
            side=LONG,
            contracts=20.0,
            reference_price=100.0,
            leverage=10.0,
            stop_distance=0.05,
        )
    return w


def test_the_audit_finds_nothing_wrong_in_a_clean_cycle() -> None:
    assert audit_entries(accepted(), NOW) == 0
    assert audit_entries(wishing_world(), NOW) == 0


def test_the_audit_finds_an_entry_on_a_held_symbol() -> None:
    w = accepted()
    w.positions[1] = Position(side=LONG, contracts=1.0, entry_price=100.0, stop_price=99.0)
    assert audit_entries(w, NOW) == 1


def test_the_audit_finds_an_entry_against_a_wish() -> None:
    w = accepted()
    w.wishes[1 * 3 + 2] = -1.0
    assert audit_entries(w, NOW) == 1


def test_the_audit_finds_a_position_over_its_cap() -> None:
    w = accepted(1)
    w.intents[0].contracts, w.intents[0].stop_distance = 60.0, 0.02
    assert audit_entries(w, NOW) == 0
    w.intents[0].contracts = 61.0
    assert audit_entries(w, NOW) == 1


def test_the_audit_finds_correlated_entries_over_one_cap() -> None:
    w = accepted(2, correlation_limit=0.8)
    w.intents[0].contracts = 40.0
    assert audit_entries(w, NOW) == 0
    w.intents[0].contracts = 41.0
    assert audit_entries(w, NOW) == 2  # both are parts of the group


def test_the_audit_finds_too_many_positions() -> None:
    w = accepted(4, max_stop_risk=1.0)
    assert audit_entries(w, NOW) == 1


def test_the_audit_finds_too_much_in_total() -> None:
    w = accepted(max_stop_risk=1.0)
    for intent in w.intents:
        intent.contracts = 50.0
    assert audit_entries(w, NOW) == 0
    w.intents[2].contracts = 51.0
    assert audit_entries(w, NOW) == 1


def test_the_audit_finds_too_much_risk() -> None:
    w = accepted()
    for intent in w.intents:
        intent.contracts = 40.0  # 3 x 4,000 x 5 % = 600 = 6 %
    assert audit_entries(w, NOW) == 0
    w.intents[2].contracts = 41.0
    assert audit_entries(w, NOW) == 1


def test_the_audit_looks_at_this_cycle_only() -> None:
    w = accepted(4)
    for intent in w.intents:
        intent.time = START
    assert audit_entries(w, NOW) == 0


def test_what_the_audit_finds_is_counted_as_unresolved() -> None:
    """An entry of this cycle that nobody sized is over the cap of one position."""
    w = wishing_world(2)
    w.intents[0] = Intent(
        kind=ENTRY, time=NOW, side=LONG, contracts=61.0, reference_price=100.0, stop_distance=0.02
    )
    wish(w, 1, TREND, 2.0)
    decide(w, NOW, RUN)
    assert [intent.kind for intent in w.intents] == [ENTRY, ENTRY]
    assert w.account.collisions_unresolved == 1
