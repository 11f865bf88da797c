"""From the configuration to the kernel's records: units, derived numbers, the reference profile."""

from dataclasses import fields

import pytest

from bot.core.errors import InvariantError
from bot.core.kernel.codes import EMA_CROSS, MOMENTUM, REVERSION, TREND
from bot.core.kernel.params import Params, Spec, Tier
from bot.core.market import ContractSpec
from bot.shell.build import build_world, to_params, to_spec, to_tiers
from bot.shell.config import load_config

# Defaults that the configuration works out itself, by hand from its own defaults.
DERIVED = {
    "timeframe_ms": 60_000,  # 1m
    "warmup_bars": 240,  # regime.slow, the longest period
    "slippage": 0.00025,  # (1 / 2 + 1 + 1) bps
    "momentum_scale": 48**0.5,  # alpha = 2 / 49: (2 - alpha) / alpha = 48
}


def params_of(*options: str) -> Params:
    return to_params(load_config(None, options))


def test_the_defaults_are_those_of_the_kernel() -> None:
    built, kernel = params_of(), Params()
    for field in fields(Params):
        expected = DERIVED.get(field.name, getattr(kernel, field.name))
        assert getattr(built, field.name) == pytest.approx(expected, rel=1e-15), field.name


@pytest.mark.parametrize(
    ("option", "name", "value"),
    [
        ("timeframe=5m", "timeframe_ms", 300_000),
        ("timeframe=5m", "sample_ms", 3_600_000),
        ("timeframe=4h", "sample_ms", 14_400_000),
        ("warmup_bars=7", "warmup_bars", 7),
        ("costs.maker_fee=0.001", "maker_fee", 0.001),
        ("costs.taker_fee=0.002", "taker_fee", 0.002),
        ("costs.spread_bps=4", "slippage", 0.0004),  # 4/2 + 1 + 1
        ("costs.slippage_bps=3", "slippage", 0.00045),  # 1/2 + 3 + 1
        ("costs.latency_bps=0", "slippage", 0.00015),  # 1/2 + 1 + 0
        ("costs.entry_band_bps=50", "entry_band", 0.005),
        ("risk.max_positions=5", "max_positions", 5),
        ("risk.max_total_notional=2", "max_total_share", 2.0),
        ("risk.max_stop_risk=0.05", "max_stop_risk", 0.05),
        ("risk.daily_loss_limit=0.07", "daily_loss_limit", 0.07),
        ("risk.drawdown_limit=0.17", "drawdown_limit", 0.17),
        ("risk.fast_drawdown_limit=0.08", "fast_drawdown_limit", 0.08),
        ("risk.fast_drawdown_minutes=30", "fast_window_ms", 1_800_000),
        ("risk.correlation_limit=0.7", "correlation_limit", 0.7),
        ("risk.tier_hysteresis=0.1", "tier_hysteresis", 0.1),
        ("timing.uncovered_alert_s=4", "uncovered_alert_ms", 4_000),
        ("timing.uncovered_close_s=12.5", "uncovered_close_ms", 12_500),
        ("stops.min=0.03", "stop_min", 0.03),
        ("stops.max=0.04", "stop_max", 0.04),
        ("stops.atr=3", "stop_atr", 3.0),
        ("stops.liquidation_buffer=0.5", "stop_liquidation_buffer", 0.5),
        ("stops.trail_start=1.5", "trail_start", 1.5),
        ("stops.trail_gap=0.5", "trail_gap", 0.5),
        ("trend.fast=9", "ema_fast", 0.2),  # 2 / 10
        ("trend.slow=99", "ema_slow", 0.02),  # 2 / 100
        ("trend.band_atr=0.7", "trend_band", 0.7),
        ("trend.adx=25", "trend_adx", 25.0),
        ("trend.adx_period=10", "wilder", 0.1),
        ("trend.reward=4", "trend_reward", 4.0),
        ("momentum.period=19", "momentum_alpha", 0.1),  # 2 / 20
        ("momentum.period=16", "momentum_scale", 4.0),  # alpha = 2/17: (2 - alpha)/alpha = 16
        ("momentum.entry=3", "momentum_entry", 3.0),
        ("momentum.exit=-1", "momentum_exit", -1.0),
        ("momentum.reward=2", "momentum_reward", 2.0),
        ("reversion.period=39", "reversion_alpha", 0.05),  # 2 / 40
        ("reversion.entry=2.5", "reversion_entry", 2.5),
        ("reversion.exit=-0.5", "reversion_exit", -0.5),
        ("reversion.reward=1", "reversion_reward", 1.0),
        ("regime.fast=4", "vol_fast", 0.4),  # 2 / 5
        ("regime.slow=99", "vol_slow", 0.02),  # 2 / 100
        ("regime.panic_ratio=3", "panic_ratio", 3.0),
    ],
)
def test_a_key_sets_its_parameter(option: str, name: str, value: float) -> None:
    assert getattr(params_of(option), name) == pytest.approx(value, rel=1e-15)
    assert getattr(params_of(), name) != value or name == "sample_ms"


@pytest.mark.parametrize(
    ("options", "bars"),
    [
        (["strategies=[trend]", "regime.slow=25"], 55),
        (["strategies=[momentum]", "regime.slow=25"], 48),
        (["strategies=[reversion]", "regime.slow=25"], 40),
        (["strategies=[reversion]", "regime.slow=25", "trend.adx_period=60"], 60),
        (["strategies=[reversion, momentum]", "regime.slow=25"], 48),
        (["trend.slow=300"], 300),
        (["strategies=[momentum]", "trend.slow=300"], 240),
        (["strategies=[ema_cross]"], 48),
        (["warmup_bars=1"], 1),
    ],
)
def test_warming_up_takes_the_longest_period_in_use(options: list[str], bars: int) -> None:
    assert params_of(*options).warmup_bars == bars


def test_every_field_has_the_type_the_record_needs() -> None:
    # Whole numbers in the file must arrive as floats: the compiled loop's records do not convert.
    options = ["stops.atr=3", "trend.adx=25", "risk.max_total_notional=2", "costs.spread_bps=2"]
    records: list[Params | Tier | Spec] = [params_of(*options), *to_tiers(load_config(None))]
    records.append(to_spec(ContractSpec("A-USDT-PERP", 10, 1, 0, 50), reference=False))
    for record in records:
        for field in fields(record):
            assert type(getattr(record, field.name)) is field.type, field.name


def test_the_reference_profile_has_the_costs_of_its_contract() -> None:
    p = params_of("strategies=[ema_cross]", "timeframe=1h")
    assert (p.reference, p.use_indicators) == (1, 0)
    assert (p.maker_fee, p.taker_fee, p.slippage) == (0.0006, 0.0006, 0.0002)
    assert (p.reference_share, p.cross_stop, p.cross_target) == (0.3, 0.02, 0.04)
    assert (p.cross_fast, p.cross_slow, p.cross_first_bar) == (2 / 13, 2 / 49, 48)


def test_the_balance_table_is_that_of_the_design() -> None:
    assert to_tiers(load_config(None)) == [
        Tier(0.0, 4.0, 0.3, 0.01, 0.0),
        Tier(100.0, 6.0, 0.4, 0.015, 0.0),
        Tier(1_000.0, 8.0, 0.5, 0.02, 0.0),
        Tier(10_000.0, 10.0, 0.6, 0.025, 0.0),
        Tier(100_000.0, 12.0, 0.6, 0.03, 50_000.0),
    ]


@pytest.mark.parametrize(
    ("tick", "ticks_per_unit"),
    [
        (0.1, 10.0),
        (0.01, 100.0),
        (0.00001, 100_000.0),
        (0.05, 20.0),
        (0.25, 4.0),
        (1.0, 1.0),
        (1e-9, 1e9),
        (0.3, 0.0),
        (2.0, 0.0),
        (5.0, 0.0),
        (0.1000001, 0.0),
    ],
)
def test_ticks_per_unit_is_whole_or_not_used(tick: float, ticks_per_unit: float) -> None:
    contract = ContractSpec("A-USDT-PERP", 0.001, tick, maintenance_rate=0.004, max_leverage=125.0)
    assert to_spec(contract, reference=False) == Spec(0.001, tick, ticks_per_unit, 0.004, 125.0)


def test_the_reference_profile_has_no_contracts_and_no_grid() -> None:
    spec = to_spec(ContractSpec("A-USDT-PERP", 0.001, 0.1), reference=True)
    assert (spec.multiplier, spec.tick, spec.ticks_per_unit) == (1.0, 0.0, 0.0)


def test_the_world_has_the_configured_order() -> None:
    config = load_config(
        None,
        ["symbols=[B-USDT-PERP, A-USDT-PERP]", "strategies=[reversion, trend]", "balance=500"],
    )
    specs = [ContractSpec("B-USDT-PERP", 10.0, 0.1), ContractSpec("A-USDT-PERP", 1.0, 0.01)]
    world = build_world(config, specs, start_ms=3 * 86_400_000 + 5)
    assert world.strategies == [REVERSION, TREND]
    assert [spec.multiplier for spec in world.specs] == [10.0, 1.0]
    assert world.account.deposits == world.account.equity == 500.0
    assert world.account.day == 3
    assert world.params == to_params(config)
    assert world.tiers == to_tiers(config)
    with pytest.raises(InvariantError, match="contracts: expected"):
        build_world(config, specs[::-1], start_ms=0)
    with pytest.raises(InvariantError, match="contracts: expected"):
        build_world(config, specs[:1], start_ms=0)


def test_the_world_of_the_reference_profile_has_no_contract_sizes() -> None:
    config = load_config(None, ["symbols=[A-USDT-PERP]", "strategies=[ema_cross]"])
    world = build_world(config, [ContractSpec("A-USDT-PERP", 10.0, 0.1)], start_ms=0)
    assert world.strategies == [EMA_CROSS]
    assert world.specs[0].multiplier == 1.0


def test_strategies_keep_their_codes() -> None:
    config = load_config(None, ["symbols=[A-USDT-PERP]"])
    world = build_world(config, [ContractSpec("A-USDT-PERP", 1.0, 0.1)], start_ms=0)
    assert world.strategies == [TREND, MOMENTUM, REVERSION]
