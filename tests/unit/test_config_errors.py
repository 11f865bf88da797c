"""Errors of the configuration: all at once, each with its place, its key and what was expected."""

import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from bot.core.market import TIMEFRAMES_MS
from bot.shell.config import Config, ConfigError, load_config

type Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a text to the file `bot.yml` and returns its path."""

    def to_file(text: str) -> Path:
        path = tmp_path / "bot.yml"
        path.write_text(text, encoding="utf-8")
        return path

    return to_file


def errors_of(
    path: Path | None, sets: Sequence[str] = (), environ: Mapping[str, str] | None = None
) -> list[tuple[str, str, str]]:
    """Return the errors as (place without the directory, key, message)."""
    with pytest.raises(ConfigError) as caught:
        load_config(path, sets, environ)
    folder = f"{path.parent}/" if path else ""
    return [
        (error.where.removeprefix(folder), error.key, error.message)
        for error in caught.value.errors
    ]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("balance: 1\nrisk: [1\n", "bot.yml:3:1", "expected ',' or ']'"),
        ("a: 1\n\tb: 2\n", "bot.yml:2:1", "cannot start any token"),
        ("a: &x 1\n", "bot.yml:1:4", "anchors, aliases and tags are not allowed"),
        ("a: 1\nb: *x\n", "bot.yml:2:4", "anchors, aliases and tags are not allowed"),
        ("a: !!python/name:os.system x\n", "bot.yml:1:4", "anchors, aliases and tags"),
        ("balance: !!str 5\n", "bot.yml:1:10", "anchors, aliases and tags"),
        ("a: 1\n---\nb: 2\n", "bot.yml:2:1", "expected a single document"),
        ("a: 1\nb: \x07\n", "bot.yml:2:4", "the character U+0007 is not allowed"),
        ("[" * 5000, "bot.yml:1:17", "nested more than 16 levels deep"),
    ],
)
def test_what_is_no_yaml_is_named_with_line_and_column(
    write: Write, text: str, place: str, words: str
) -> None:
    [(where, key, message)] = errors_of(write(text))
    assert (where, key) == (place, "")
    assert message.startswith("expected valid YAML: ")
    assert words in message


def test_every_error_is_told_at_once_in_the_order_of_the_lines(write: Write) -> None:
    path = write(
        "symbols: [BTC-USDT-PERP, FOO, 5]\n"
        "timeframe: 7m\n"
        "risk:\n"
        "  daily_loss_limit: -3\n"
        "  max_positions: 2\n"
        "  max_positions: 3\n"
        "  tiers:\n"
        "    - {floor: 0, leverage: 4, max_position_share: 0.3, risk_per_trade: 0.01}\n"
        "    - floor: 100\n"
        "      leverage: 600\n"
        "      max_position_share: yes\n"
        "timing:\n"
        "  uncovered_close_s: 30\n"
        "max_stop_risk: 1\n"
    )
    found = errors_of(
        path,
        ["balance=0", "paper.speed=[", "trend", "trend.fast=60"],
        {"RADBOT__STOPS__MIN": "0.06", "RADBOT__NO__SUCH": "1"},
    )
    tier = "risk.tiers[1]"
    assert [(where, key) for where, key, _ in found] == [
        ("bot.yml:1", "symbols[1]"),
        ("bot.yml:1", "symbols[2]"),
        ("bot.yml:2", "timeframe"),
        ("bot.yml:4", "risk.daily_loss_limit"),
        ("bot.yml:6", "risk.max_positions"),
        ("bot.yml:9", f"{tier}.risk_per_trade"),
        ("bot.yml:10", f"{tier}.leverage"),
        ("bot.yml:11", f"{tier}.max_position_share"),
        ("bot.yml:13", "timing.uncovered_close_s"),
        ("bot.yml:14", "max_stop_risk"),
        ("RADBOT__NO__SUCH", "no"),
        ("RADBOT__STOPS__MIN", "stops.min"),
        ("--set balance", "balance"),
        ("--set paper.speed", "paper.speed"),
        ("--set trend", ""),
        ("--set trend.fast", "trend.fast"),
    ]


def test_a_variable_that_is_meant_for_a_key_and_has_no_name_for_it_is_told() -> None:
    """A limit that a person has set, and that the bot does not keep, is found out by its loss."""
    found = errors_of(None, [], {"RADBOT_RISK__DAILY_LOSS_LIMIT": "0.05", "RADBOT_STATE": "s"})
    name = "RADBOT_RISK__DAILY_LOSS_LIMIT"
    assert found == [(name, "", "expected the name RADBOT__RISK__DAILY_LOSS_LIMIT")]


def test_the_text_has_one_line_per_error_with_place_key_and_message(write: Write) -> None:
    path = write("risk:\n  daily_loss_limit: -3\nbalance: x\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value).splitlines() == [
        f"{path}:2: risk.daily_loss_limit: expected a number above 0 and below 1, was -3",
        f"{path}:3: balance: expected a number above 0 and at most 1000000000, was 'x'",
    ]
    assert caught.value.exit_code == 2
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.errors) == (str(caught.value), caught.value.errors)


SECONDS = "a number above 0 and at most 3600"
UNIT = "a number above 0 and below 1"
ROWS = "a list of 1 to 50 rows"
STRATEGIES = "a list of 1 to 3 of trend, momentum, reversion, ema_cross"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ('balance="1"', "expected a number above 0 and at most 1000000000, was '1'"),
        ("balance=yes", "expected a number above 0 and at most 1000000000, was 'yes'"),
        ("balance=true", "expected a number above 0 and at most 1000000000, was true"),
        ("balance=.nan", "expected a number above 0 and at most 1000000000, was '.nan'"),
        ("balance=1e999", "expected a number above 0 and at most 1000000000, was inf"),
        ("balance=", "expected a number above 0 and at most 1000000000, was nothing"),
        ("balance=[1]", "expected a number above 0 and at most 1000000000, was a list of 1"),
        ("balance=1_000", "expected a number above 0 and at most 1000000000, was '1_000'"),
        ("balance=1:30", "expected a number above 0 and at most 1000000000, was '1:30'"),
        ("symbols=[]", "expected a list of 1 to 50 names, was a list of 0"),
        ("symbols=A-USDT-PERP", "expected a list of 1 to 50 names, was 'A-USDT-PERP'"),
        ("strategies=[]", f"expected {STRATEGIES}, was a list of 0"),
        ("strategies={a: 1}", f"expected {STRATEGIES}, was a section of keys"),
        ("risk=5", "expected a section of keys, was 5"),
        ("costs.taker_fee=0.06", "expected a number from 0 to 0.01, was 0.06"),
        ("costs.maker_fee=-0.002", "expected a number from -0.001 to 0.01, was -0.002"),
        ("costs.spread_bps=-1", "expected a number from 0 to 100, was -1"),
        ("costs.entry_band_bps=0", "expected a number above 0 and at most 500, was 0"),
        ("risk.max_positions=2.0", "expected a whole number from 1 to 50, was 2.0"),
        ("risk.max_positions=0", "expected a whole number from 1 to 50, was 0"),
        ("risk.daily_loss_limit=1", f"expected {UNIT}, was 1"),
        ("risk.max_stop_risk=0", f"expected {UNIT}, was 0"),
        ("risk.correlation_limit=1.01", "expected a number above 0 and at most 1, was 1.01"),
        ("risk.tier_hysteresis=1", "expected a number at least 0 and below 1, was 1"),
        ("risk.fast_drawdown_minutes=0", "expected a whole number from 1 to 1440, was 0"),
        ("risk.tiers=[]", f"expected {ROWS}, was a list of 0"),
        ("stops.min=0.004", "expected a number from 0.005 to 0.2, was 0.004"),
        ("stops.max=0.21", "expected a number from 0.005 to 0.2, was 0.21"),
        ("stops.atr=0", "expected a number above 0 and at most 100, was 0"),
        ("stops.liquidation_buffer=1", f"expected {UNIT}, was 1"),
        ("trend.fast=1", "expected a whole number from 2 to 5000, was 1"),
        ("trend.adx=101", "expected a number from 0 to 100, was 101"),
        ("regime.panic_ratio=0.9", "expected a number from 1 to 100, was 0.9"),
        ("warmup_bars=0", "expected a whole number from 1 to 50000, or null, was 0"),
        ("paper.speed=0", "expected a number above 0 and at most 1000000, or max, was 0"),
        ("paper.speed=fast", "expected a number above 0 and at most 1000000, or max, was 'fast'"),
        ("paper.market=binance", "expected one of synthetic, replay, kucoin, was 'binance'"),
        ("paper.seed=-1", "expected a whole number from 0 to 2147483647, was -1"),
        ("timing.bar_wait_s=0", f"expected {SECONDS}, was 0"),
        ("timeframe=60", f"expected one of {', '.join(TIMEFRAMES_MS)}, was 60"),
        ("timeframe=7m", f"expected one of {', '.join(TIMEFRAMES_MS)}, was '7m'"),
        ("risk={max_positions: 1, max_positions: 2}", "expected once, was on line 1 already"),
        ("paper.speed=[", "expected valid YAML: while parsing a flow node, expected the node "
         "content, but found '<stream end>'"),
        ("=1", "expected a key and a value, as in risk.max_positions=2"),
        ("risk.=1", "expected a key and a value, as in risk.max_positions=2"),
        ("balance", "expected a key and a value, as in risk.max_positions=2"),
    ],
)  # fmt: skip
def test_one_bad_value_is_one_error_in_the_house_form(option: str, message: str) -> None:
    [(where, _, found)] = errors_of(None, [option])
    assert where == "--set " + option.partition("=")[0]
    assert found == message


@pytest.mark.parametrize(
    ("option", "key", "message"),
    [
        ("risk.daily_los_limit=1", "risk.daily_los_limit",
         "expected a known key, was 'daily_los_limit'; did you mean risk.daily_loss_limit?"),
        ("timefram=1h", "timefram",
         "expected a known key, was 'timefram'; did you mean timeframe?"),
        ("seed=1", "seed", "expected a known key, was 'seed'; did you mean paper.seed?"),
        ("stops.entry=1", "stops.entry",
         "expected a known key, was 'entry'; did you mean momentum.entry or reversion.entry?"),
        ("paper.qqq=1", "paper.qqq", "expected one of speed, seed, market, was 'qqq'"),
        ('{"a\\nb"}.x=1', '{"a\\nb"}', None),
    ],
)  # fmt: skip
def test_an_unknown_key_is_refused_with_the_closest_known_one(
    option: str, key: str, message: str | None
) -> None:
    [(_, found, text)] = errors_of(None, [option])
    assert found == key
    assert message is None or text == message


def test_a_strange_key_stays_on_one_line(write: Write) -> None:
    path = write('"a\\nb": 1\n? [c]\n: 2\n')
    assert [(where, key) for where, key, _ in errors_of(path)] == [
        ("bot.yml:1", r"'a\nb'"),
        ("bot.yml:2", ""),
    ]


def test_a_file_that_is_no_section_is_refused(write: Write) -> None:
    assert errors_of(write("- 1\n- 2\n")) == [
        ("bot.yml:1", "", "expected keys such as `timeframe: 1h`, was a list of 2")
    ]


# Rules about several keys


def rows(*rows: str) -> str:
    """Return an option with one balance-table row per text: the values in the order of the keys."""
    names = ("floor", "leverage", "max_position_share", "risk_per_trade")
    shown = [", ".join(map(": ".join, zip(names, row.split(), strict=True))) for row in rows]
    return "risk.tiers=[" + ", ".join(f"{{{row}}}" for row in shown) + "]"


GOOD = [
    ["strategies=[ema_cross]", "timeframe=1h"],
    ["strategies=[ema_cross]", "costs="],
    ["risk.drawdown_limit=0.1"],
    ["risk.min_balance=500"],
    ["risk.fast_drawdown_minutes=73"],  # 73 bars and 438 snapshots: 511 of 512
    ["risk.fast_drawdown_minutes=465", "timing.snapshot_s=600", "timing.watchdog_s=601"],
    [rows("0 100 1.5 0.06")],
    [rows("0 1 0.3 0.01", "0.5 2 0.3 0.01")],
    ["stops.min=0.05"],
    ["stops.min=0.2", "stops.max=0.2"],
    ["trend.fast=54"],
    ["reversion.exit=-1.9", "momentum.exit=1.9"],
    ["timing.uncovered_close_s=19.9"],
    ["timing.bar_wait_s=19.9"],
    ["timing.snapshot_s=19.9"],
]
BAD = [
    (["strategies=[trend, ema_cross]"], "strategies[1]",
     "expected ema_cross alone (it runs without limits), was together with trend"),
    (["strategies=[ema_cross, trend]"], "strategies[0]",
     "expected ema_cross alone (it runs without limits), was together with trend"),
    (["strategies=[trend, momentum, trend]"], "strategies[2]",
     "expected each of them once, was trend as strategies[0] too"),
    (["symbols=[BTC-USDT-PERP, BTC/USDT:USDT]"], "symbols[1]",
     "expected each of them once, was BTC-USDT-PERP as symbols[0] too"),
    (["costs.spread_bps=1", "strategies=[ema_cross]"], "costs",
     "expected no costs with the strategy ema_cross, whose costs are fixed, was a section; "
     "remove it"),
    (["risk.drawdown_limit=0.09"], "risk.drawdown_limit",
     "expected risk.fast_drawdown_limit <= risk.drawdown_limit, was 0.1 and 0.09"),
    (["risk.min_balance=501"], "risk.min_balance",
     "expected risk.min_balance <= risk.recommended_balance, was 501 and 500"),
    (["risk.fast_drawdown_minutes=74"], "risk.fast_drawdown_minutes",
     "expected at most 512 bars and snapshots (each timing.snapshot_s) in "
     "risk.fast_drawdown_minutes, was 518; shorten the window"),
    (["timing.snapshot_s=5"], "timing.snapshot_s",
     "expected at most 512 bars and snapshots (each timing.snapshot_s) in "
     "risk.fast_drawdown_minutes, was 780; shorten the window"),
    ([rows("1 4 0.3 0.01")], "risk.tiers[0].floor", "expected 0 in the first row, was 1"),
    ([rows("0 4 0.3 0.01", "0 4 0.3 0.01")], "risk.tiers[1].floor",
     "expected a number above the floor of the row before (0), was 0"),
    ([rows("0 4 0.3 0.01", "9 4 0.3 0.01", "8 4 0.3 0.01")], "risk.tiers[2].floor",
     "expected a number above the floor of the row before (9), was 8"),
    ([rows("0 4 0.3 0.061")], "risk.tiers[0].risk_per_trade",
     "expected risk.tiers[0].risk_per_trade <= risk.max_stop_risk, was 0.061 and 0.06"),
    (["risk.max_stop_risk=0.026"], "risk.max_stop_risk",
     "expected risk.tiers[4].risk_per_trade <= risk.max_stop_risk, was 0.03 and 0.026"),
    ([rows("0 4 1.51 0.01")], "risk.tiers[0].max_position_share",
     "expected risk.tiers[0].max_position_share <= risk.max_total_notional, was 1.51 and 1.5"),
    (["stops.min=0.051"], "stops.min", "expected stops.min <= stops.max, was 0.051 and 0.05"),
    (["trend.slow=20"], "trend.slow", "expected trend.fast < trend.slow, was 20 and 20"),
    (["regime.fast=241"], "regime.fast", "expected regime.fast < regime.slow, was 241 and 240"),
    (["momentum.exit=2"], "momentum.exit",
     "expected momentum.exit < momentum.entry, was 2 and 2"),
    (["reversion.exit=-2"], "reversion.exit",
     "expected reversion.exit above -2 (minus the entry), was -2"),
    (["timing.uncovered_alert_s=15"], "timing.uncovered_alert_s",
     "expected timing.uncovered_alert_s < timing.uncovered_close_s, was 15 and 15"),
    (["timing.uncovered_close_s=20"], "timing.uncovered_close_s",
     "expected timing.uncovered_close_s < timing.watchdog_s, was 20 and 20"),
    (["timing.watchdog_s=15"], "timing.watchdog_s",
     "expected timing.uncovered_close_s < timing.watchdog_s, was 15 and 15"),
    (["timing.snapshot_s=20"], "timing.snapshot_s",
     "expected timing.snapshot_s < timing.watchdog_s, was 20 and 20"),
    (["timing.bar_wait_s=20"], "timing.bar_wait_s",
     "expected timing.bar_wait_s < timing.watchdog_s, was 20 and 20"),
    (["timing.bar_wait_s=60", "timing.watchdog_s=61"], "timing.bar_wait_s",
     "expected timing.bar_wait_s < timeframe (60 s), was 60"),
]  # fmt: skip


@pytest.mark.parametrize("options", GOOD)
def test_what_just_holds_is_accepted(options: list[str]) -> None:
    assert load_config(None, options) != Config()


@pytest.mark.parametrize(("options", "key", "message"), BAD)
def test_a_broken_rule_names_its_key_and_states_the_relation(
    options: list[str], key: str, message: str
) -> None:
    assert [(name, text) for _, name, text in errors_of(None, options)] == [(key, message)]


def test_a_rule_is_reported_where_the_last_of_its_keys_was_set(write: Write) -> None:
    path = write("timing:\n  watchdog_s: 20\n  uncovered_close_s: 15\n")
    assert errors_of(path, ["timing.watchdog_s=12"]) == [
        (
            "--set timing.watchdog_s",
            "timing.watchdog_s",
            "expected timing.uncovered_close_s < timing.watchdog_s, was 15 and 12",
        )
    ]
    assert [e[:2] for e in errors_of(write("timing:\n  snapshot_s: 11\n  watchdog_s: 10\n"))] == [
        ("bot.yml:2", "timing.snapshot_s"),
        ("bot.yml:3", "timing.watchdog_s"),
    ]


def test_an_overridden_list_is_no_longer_the_file_s(write: Write) -> None:
    path = write("risk:\n  tiers:\n    - {floor: 0, leverage: 4, risk_per_trade: 0.01}\n")
    option = "risk.tiers=[{floor: 0, max_position_share: 0.3, risk_per_trade: 0.01}]"
    assert errors_of(path, [option]) == [
        (
            "--set risk.tiers",
            "risk.tiers[0].leverage",
            "expected a number from 1 to 100, was missing",
        )
    ]


def test_rules_are_checked_beside_other_errors_but_not_on_wrong_values(write: Write) -> None:
    path = write("balance: x\ntimeframe: 1x\ntiming: {bar_wait_s: 70, watchdog_s: 12}\n")
    assert [key for _, key, _ in errors_of(path)] == [
        "balance",
        "timeframe",
        "timing.bar_wait_s",  # against the watchdog; the timeframe is not known
        "timing.watchdog_s",
    ]
    # The rows of the default table must not be judged in place of those that are wrong.
    path = write("risk:\n  max_stop_risk: 0.011\n  tiers:\n    - {floor: 0, leverage: 0}\n")
    assert {key for _, key, _ in errors_of(path)} == {
        "risk.tiers[0].leverage",
        "risk.tiers[0].max_position_share",
        "risk.tiers[0].risk_per_trade",
    }
