"""What the records and codes promise to everything around the kernel."""

import ast
import dataclasses
from pathlib import Path

import pytest

from bot.core.kernel import codes, params, records
from bot.core.kernel import replay as _replay  # noqa: F401  (registers every kernel function)
from bot.core.kernel.records import CORRELATION_SLOTS, WINDOW_SLOTS, new_world
from bot.core.kernel.registry import KERNEL_FUNCTIONS
from tests.support.worlds import DAY, START, design_tiers, make_spec

RECORDS: list[type] = [
    record
    for module in (params, records)
    for record in vars(module).values()
    if isinstance(record, type)
    and hasattr(record, "__dataclass_fields__")
    and record.__module__ == module.__name__
]
CODES = ast.parse(Path(codes.__file__).read_text()).body


def assigned(kind: type[ast.expr]) -> dict[str, ast.expr]:
    """Return name -> value of the module's assignments of one kind of expression."""
    return {
        node.targets[0].id: node.value
        for node in CODES
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, kind)
    }


def test_all_records_are_looked_at() -> None:
    names = {record.__name__ for record in RECORDS}
    state = {"SymbolState", "Position", "Account", "Intent", "Trade"}
    assert names == {"Params", "Tier", "Spec"} | state


@pytest.mark.parametrize("record", RECORDS)
def test_fields_are_ints_and_floats_with_defaults_of_their_type(record: type) -> None:
    """A compiled record truncates anything else silently."""
    for field in dataclasses.fields(record):
        assert field.type in (int, float), f"{record.__name__}.{field.name}"
        assert type(field.default) is field.type, f"{record.__name__}.{field.name}"
    assert hasattr(record, "__slots__")


INSIDE = {"NO_INTENT", "ENTRY", "EXIT", "TAKER", "MAKER"}  # no person meets these


def test_every_code_that_people_meet_has_a_name() -> None:
    numbers = set(assigned(ast.Constant)) | set(assigned(ast.UnaryOp))
    named = {
        key.id
        for table in assigned(ast.Dict).values()
        if isinstance(table, ast.Dict)
        for key in table.keys
        if isinstance(key, ast.Name)
    }
    assert numbers - named == INSIDE


@pytest.mark.parametrize("table", sorted(assigned(ast.Dict)))
def test_no_two_codes_of_a_table_share_a_value_or_a_name(table: str) -> None:
    written, found = assigned(ast.Dict)[table], getattr(codes, table)
    assert isinstance(written, ast.Dict)
    assert len(found) == len(written.keys)
    assert len(set(found.values())) == len(found)


def test_strategy_names_and_codes_are_inverse() -> None:
    assert codes.STRATEGY_CODES["ema_cross"] == codes.EMA_CROSS
    assert {v: k for k, v in codes.STRATEGY_CODES.items()} == codes.STRATEGY_NAMES


def test_modes_form_a_ladder() -> None:
    assert codes.RUN < codes.REDUCE_ONLY < codes.HALT < codes.FLATTEN


def test_kernel_functions_have_one_name_each() -> None:
    """The compiler finds them by name: a second one would silently replace the first."""
    names = [function.__name__ for function in KERNEL_FUNCTIONS]
    assert len(names) == len(set(names)) > 60


def test_a_new_world() -> None:
    specs = [make_spec(), make_spec(), make_spec()]
    w = new_world(params.Params(), design_tiers(), [0, 1], specs, 500.0, START + DAY - 1)
    a = w.account
    assert (a.deposits, a.cash, a.equity, a.peak_equity, a.day_equity) == (500.0,) * 5
    assert (a.day, a.tier, a.killed_at, a.daily_locked) == (START // DAY, -1, 0, 0)
    assert [len(part) for part in (w.symbols, w.positions, w.intents)] == [3, 3, 3]
    assert (len(w.wishes), len(w.verdicts)) == (6, 6)
    assert w.samples == [-1] * (3 * CORRELATION_SLOTS)
    assert len(w.returns) == 3 * CORRELATION_SLOTS
    assert len(w.window_times) == len(w.window_equity) == WINDOW_SLOTS


def test_designs_numbers_are_the_defaults() -> None:
    """DESIGN section 4; every one can be overridden in the configuration."""
    p = params.Params()
    assert (p.max_positions, p.max_total_share, p.max_stop_risk) == (3, 1.5, 0.06)
    assert (p.stop_min, p.stop_max, p.stop_liquidation_buffer) == (0.02, 0.05, 0.25)
    assert (p.tier_hysteresis, p.entry_band) == (0.05, 0.003)
    assert (p.daily_loss_limit, p.drawdown_limit, p.fast_drawdown_limit) == (0.10, 0.15, 0.10)
    assert (p.fast_window_ms, p.correlation_limit) == (3_600_000, 0.8)
    assert CORRELATION_SLOTS == 168
    # DESIGN section 11: ema_cross
    assert (p.cross_fast, p.cross_slow, p.cross_first_bar) == (2.0 / 13.0, 2.0 / 49.0, 48)
    assert (p.cross_stop, p.cross_target, p.reference_share) == (0.02, 0.04, 0.3)
