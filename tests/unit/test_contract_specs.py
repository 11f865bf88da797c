"""Contract specs: from contracts.json, else the built-in table, else assumed from the price."""

import json
from pathlib import Path
from typing import Any

import pytest

from bot.adapters.history import load_market, read_contracts
from bot.core.errors import InputError
from bot.core.market import ContractSpec, assumed_spec
from bot.core.specs import BUILTIN
from tests.support.market_files import HOUR, T0, assert_refused, candle_lines, write, write_candles

BTC = "BTC-USDT-PERP"
SOL = "SOL-USDT-PERP"  # has no built-in spec
SPEC = {"multiplier": 0.5, "tick": 0.25, "maintenance_rate": 0.01, "max_leverage": 20}


@pytest.mark.parametrize(
    ("given", "symbols", "source"),
    [
        ([BTC, SOL], [BTC, SOL], "file"),
        ([], [BTC], "builtin"),
        ([], [SOL], "assumed"),
        ([], [BTC, SOL], "mixed"),
        ([SOL], [BTC, SOL], "mixed"),
        ([SOL], [SOL], "file"),
        ([SOL], [BTC], "builtin"),
    ],
)
def test_specs_come_from_the_file_then_the_table_then_the_price(
    tmp_path: Path, given: list[str], symbols: list[str], source: str
) -> None:
    for symbol in symbols:
        write_candles(tmp_path / f"{symbol}-1h.csv", candle_lines(10))
    if given:
        write(tmp_path / "more" / "contracts.json", json.dumps(dict.fromkeys(given, SPEC)))
    market = load_market([tmp_path], symbols, "1h", T0 + 3 * HOUR, None)
    assert market.spec_source == source
    first_close = 104.0  # of the period, not of the file
    for symbol, spec in zip(symbols, market.specs, strict=True):
        if symbol in given:
            assert spec == ContractSpec(symbol, 0.5, 0.25, 0.01, 20.0)
        elif symbol == BTC:
            assert spec == BUILTIN[BTC]
        else:
            assert spec == assumed_spec(symbol, first_close)


def test_the_first_close_of_the_period_sets_the_assumed_spec(tmp_path: Path) -> None:
    lines = [f"{T0},5,5,5,5,1", f"{T0 + HOUR},500,500,500,500,1"]
    write_candles(tmp_path / f"{SOL}-1h.csv", lines)
    assert load_market([tmp_path], [SOL], "1h", None, None).specs[0].multiplier == 0.1
    assert load_market([tmp_path], [SOL], "1h", T0 + HOUR, None).specs[0].multiplier == 0.001


def test_maintenance_rate_and_leverage_may_be_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "contracts.json", json.dumps({BTC: {"multiplier": 1, "tick": 0.5}}))
    assert read_contracts(path) == {BTC: ContractSpec(BTC, 1.0, 0.5)}


def test_two_contract_files_are_refused(tmp_path: Path) -> None:
    write_candles(tmp_path / f"{BTC}-1h.csv", candle_lines(3))
    paths = [write(tmp_path / name / "contracts.json", "{}") for name in ("a", "b")]
    with pytest.raises(InputError) as error:
        load_market([tmp_path], [BTC], "1h", None, None)
    assert_refused(error, "contracts.json: expected one file", *paths)


def changed_spec(**change: Any) -> str:
    return json.dumps({BTC: SPEC | change})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "expected a readable JSON file"),
        (b"\xff\xfe", "expected a readable JSON file"),
        ("[" * 100_000, "expected a readable JSON file"),
        ("[]", "expected an object keyed by symbol, was list"),
        (json.dumps({BTC: 1}), f"{BTC}: expected an object, was 1"),
        (json.dumps({"BTCUSDT": SPEC}), "was 'BTCUSDT'"),
        (json.dumps({"BTC/USDT:USDT": SPEC}), f"expected the name {BTC}, was 'BTC/USDT:USDT'"),
        (f'{{"{BTC}": {{}}, "{BTC}": {{}}}}', f"{BTC}: expected once, was given twice"),
        (json.dumps({BTC: {"multiplier": 1}}), f"{BTC}: tick: expected a number, was missing"),
        (json.dumps({BTC: {"tick": 1}}), f"{BTC}: multiplier: expected a number, was missing"),
        (changed_spec(lot=1), f"{BTC}: expected only multiplier, tick,"),
        (changed_spec(lot=1), "was 'lot'"),
        (changed_spec(tick="0.1"), f"{BTC}: tick: expected a number, was '0.1'"),
        (changed_spec(tick=True), f"{BTC}: tick: expected a number, was True"),
        (changed_spec(tick=None), f"{BTC}: tick: expected a number, was None"),
        (changed_spec(tick=float("nan")), f"{BTC}: tick: expected a number, was nan"),
        (changed_spec(max_leverage=float("inf")), f"{BTC}: max_leverage: expected a number, was"),
        (changed_spec(max_leverage=10**400), f"{BTC}: max_leverage: expected a number, was"),
        (changed_spec(multiplier=0), f"{BTC}: multiplier: expected a number above 0, was 0.0"),
        (changed_spec(maintenance_rate=0.5), f"{BTC}: maintenance_rate: expected 0 to 0.5"),
    ],
)
def test_a_wrong_contract_file_is_refused(
    tmp_path: Path, content: str | bytes, message: str
) -> None:
    path = write(tmp_path / "contracts.json", content)
    with pytest.raises(InputError) as error:
        read_contracts(path)
    assert_refused(error, f"{path}: ", message)


def test_the_built_in_table_is_keyed_by_its_symbols() -> None:
    assert {symbol: spec.symbol for symbol, spec in BUILTIN.items()} == {s: s for s in BUILTIN}
    assert BUILTIN[BTC] == ContractSpec(BTC, 0.001, 0.1, 0.004, 125.0, 1e6)
