"""The configuration: its layers, the files that ship, and the hash of what is traded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from bot.core.errors import InputError
from bot.core.kernel.codes import STRATEGY_CODES
from bot.core.market import TIMEFRAMES_MS
from bot.shell.config import NOT_TRADING, Config, load_config, trading_hash
from bot.shell.config_example import example_yaml
from bot.shell.config_schema import Paper, Strategy, TierRow, Timeframe
from bot.shell.config_sources import MAX_FILE_BYTES

ROOT = Path(__file__).parents[2]
PAPER = ROOT / "config" / "paper.yml"
REFERENCE = ROOT / "config" / "reference.yml"

type Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a text to the file `bot.yml` and returns its path."""

    def to_file(text: str) -> Path:
        path = tmp_path / "bot.yml"
        path.write_text(text, encoding="utf-8")
        return path

    return to_file


def value_of(config: Config, key: str) -> Any:
    value: Any = config
    for name in key.split("."):
        value = getattr(value, name)
    return value


def test_no_source_and_an_empty_file_give_the_defaults(write: Write) -> None:
    assert load_config(None) == Config()
    for text in ("", "# nothing\n", "---\n", "\ufeff", "risk:\n", "costs:\n\npaper:\n"):
        assert load_config(write(text)) == Config()


def test_environment_goes_over_the_file_and_options_over_both(write: Write) -> None:
    path = write("balance: 1\nrisk: {max_positions: 1, max_stop_risk: 0.04}\n")
    environ = {"RADBOT__RISK__MAX_POSITIONS": "2", "RADBOT__BALANCE": "2"}
    config = load_config(path, ["balance=3", "balance=4"], environ)
    assert config.balance == 4.0
    assert config.risk.max_positions == 2
    assert config.risk.max_stop_risk == 0.04
    assert config.risk.max_total_notional == Config().risk.max_total_notional


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("symbols", "[ETH/USDT:USDT, btc-usdt-perp]", ("ETH-USDT-PERP", "BTC-USDT-PERP")),
        ("strategies", "[reversion, trend]", ("reversion", "trend")),
        ("balance", "1e4", 10_000.0),
        ("balance", "010", 10.0),  # not the octal 8
        ("balance", "+1.5", 1.5),
        ("paper.speed", "max", "max"),
        ("paper.speed", "0.5", 0.5),
        ("paper", "{seed: 7}", Paper(seed=7)),
        ("warmup_bars", "null", None),
        ("warmup_bars", "10", 10),
        ("timeframe", '"1d"', "1d"),
        ("risk", "", Config().risk),
    ],
)
def test_values_of_variables_and_options_are_yaml(key: str, text: str, value: object) -> None:
    name = "RADBOT__" + key.upper().replace(".", "__")
    for config in (load_config(None, [f"{key}={text}"]), load_config(None, (), {name: text})):
        assert value_of(config, key) == value
        assert type(value_of(config, key)) is type(value)


def test_a_list_replaces_the_list_below_and_a_section_merges(write: Write) -> None:
    path = write("symbols: [A-USDT-PERP, B-USDT-PERP]\nrisk: {max_positions: 1}\n")
    config = load_config(path, ["symbols=[C-USDT-PERP]", "risk={max_stop_risk: 0.05}"])
    assert config.symbols == ("C-USDT-PERP",)
    assert (config.risk.max_positions, config.risk.max_stop_risk) == (1, 0.05)


def test_other_variables_do_not_matter() -> None:
    assert load_config(None, (), {"RADBOT_CONFIG": "x", "RADBOT_KEY": "x", "X": "[", "": ""}) == (
        Config()
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "can be read, was: No such file"),
        (b"balance: \xff", "expected UTF-8 text, was another encoding (byte 9)"),
        (b"#" * (MAX_FILE_BYTES + 1), f"expected at most {MAX_FILE_BYTES} bytes, was more"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    path = tmp_path / "bot.yml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)


def test_a_directory_is_refused_and_the_largest_file_is_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Is a directory"):
        load_config(tmp_path)
    path = tmp_path / "bot.yml"
    path.write_bytes(b"#" * MAX_FILE_BYTES)
    assert load_config(path) == Config()


def test_the_sample_file_is_what_the_schema_says_and_loads_as_the_defaults() -> None:
    assert PAPER.read_text(encoding="utf-8") == example_yaml()
    config = load_config(PAPER)
    assert config == Config()
    assert config.timeframe == "1m"
    assert config.symbols == tuple(f"{c}-USDT-PERP" for c in ("BTC", "ETH", "SOL", "XRP", "DOGE"))
    assert config.strategies == ("trend", "momentum", "reversion")


def test_the_sample_file_writes_every_key() -> None:
    config = load_config(PAPER)
    assert config.model_fields_set == set(Config.model_fields)
    for name in ("costs", "risk", "stops", "trend", "momentum", "reversion", "regime", "paper"):
        section = value_of(config, name)
        assert section.model_fields_set == set(type(section).model_fields)


def test_the_reference_file_is_the_reference_profile() -> None:
    config = load_config(REFERENCE)
    assert (config.symbols, config.timeframe) == (("BTC-USDT-PERP",), "1h")
    assert config.is_reference


def test_names_in_the_schema_are_those_of_the_core() -> None:
    assert get_args(Timeframe.__value__) == tuple(TIMEFRAMES_MS)
    assert get_args(Strategy.__value__) == tuple(STRATEGY_CODES)


def test_every_key_says_what_it_means() -> None:
    sections: list[type[BaseModel]] = [Config, TierRow]
    sections += [type(value) for _, value in Config() if isinstance(value, BaseModel)]
    assert len(sections) == 12
    for section in sections:
        assert section.__doc__
        for name, field in section.model_fields.items():
            assert field.description or name in Config.model_fields, name


def test_the_hash_is_stable_and_short() -> None:
    assert trading_hash(Config()) == trading_hash(load_config(PAPER))
    assert len(trading_hash(Config())) == 12
    # Fixed, so that a change of what is hashed is a decision: a verdict is bound to this value.
    assert trading_hash(load_config(REFERENCE)) == "ff2fedbc8263"
    assert trading_hash(
        load_config(None, ["balance=5", "paper.seed=2", "timing.snapshot_s=11"])
    ) == (trading_hash(Config()))
    assert trading_hash(load_config(None, ["risk.max_total_notional=2"])) == (
        trading_hash(load_config(None, ["risk.max_total_notional=2.0"]))
    )


@pytest.mark.parametrize(
    "option",
    [
        "symbols=[BTC-USDT-PERP]",
        "symbols=[ETH-USDT-PERP, BTC-USDT-PERP, SOL-USDT-PERP, XRP-USDT-PERP, DOGE-USDT-PERP]",
        "timeframe=5m",
        "strategies=[momentum, trend, reversion]",
        "warmup_bars=100",
        "costs.spread_bps=2",
        "risk.daily_loss_limit=0.09",
        "risk.tiers=[{floor: 0, leverage: 4, max_position_share: 0.3, risk_per_trade: 0.01}]",
        "stops.min=0.03",
        "trend.fast=21",
        "momentum.exit=0.1",
        "reversion.reward=2",
        "regime.panic_ratio=3",
    ],
)
def test_the_hash_changes_with_everything_that_is_traded(option: str) -> None:
    assert trading_hash(load_config(None, [option])) != trading_hash(Config())


def test_what_is_outside_the_hash_is_known() -> None:
    assert {"balance", "on_stop", "paper", "timing", "exchange"} == NOT_TRADING
