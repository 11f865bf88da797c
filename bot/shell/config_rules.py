"""Rules about several keys of the configuration. Rules about one key are in the schema."""

from collections.abc import Iterator

from bot.core.kernel.records import WINDOW_SLOTS
from bot.shell.config_errors import Finding, KeyPath, value_text
from bot.shell.config_schema import Config


def broken_rules(config: Config) -> Iterator[Finding]:
    """Yield every rule that `config` breaks, with the keys the rule is about."""
    yield from _strategies(config)
    yield from _symbols(config)
    yield from _costs(config)
    yield from _risk(config)
    yield from _tiers(config)
    yield from _periods_and_stops(config)
    yield from _exchange(config)
    yield from _timing(config)


def _value(config: Config, key: str) -> float:
    section, _, name = key.partition(".")
    return float(getattr(getattr(config, section), name))


def _path(key: str) -> KeyPath:
    return tuple(key.split("."))


def _below(config: Config, smaller: str, larger: str, sign: str = "<") -> Iterator[Finding]:
    """Yield a finding unless key `smaller` is below (`<=`: at most) key `larger`."""
    low, high = _value(config, smaller), _value(config, larger)
    if low > high or (low == high and sign == "<"):
        yield Finding(
            (_path(smaller), _path(larger)),
            f"expected {smaller} {sign} {larger}, was {value_text(low)} and {value_text(high)}",
        )


def _repeated(name: str, values: tuple[str, ...]) -> Iterator[Finding]:
    for i, value in enumerate(values):
        first = values.index(value)
        if first < i:
            yield Finding(
                ((name, i),), f"expected each of them once, was {value} as {name}[{first}] too"
            )


def _strategies(config: Config) -> Iterator[Finding]:
    yield from _repeated("strategies", config.strategies)
    others = [name for name in config.strategies if name != "ema_cross"]
    if others and len(others) < len(config.strategies):
        at = config.strategies.index("ema_cross")
        yield Finding(
            (("strategies", at),),
            f"expected ema_cross alone (it runs without limits), was together with {others[0]}",
        )


def _symbols(config: Config) -> Iterator[Finding]:
    yield from _repeated("symbols", config.symbols)


def _costs(config: Config) -> Iterator[Finding]:
    if config.is_reference and config.costs.model_fields_set:
        yield Finding(
            (("costs",),),
            "expected no costs with the strategy ema_cross, whose costs are fixed, was a section; "
            "remove it",
        )


def _risk(config: Config) -> Iterator[Finding]:
    yield from _below(config, "risk.fast_drawdown_limit", "risk.drawdown_limit", "<=")
    yield from _below(config, "risk.min_balance", "risk.recommended_balance", "<=")
    # The window takes a sample at each bar and at each snapshot. What does not fit in is forgotten,
    # and the kill switch would act on a wrong peak.
    window_s = 60 * config.risk.fast_drawdown_minutes
    samples = window_s * (1000 / config.timeframe_ms + 1 / config.timing.snapshot_s)
    if samples > WINDOW_SLOTS:
        yield Finding(
            (
                ("risk", "fast_drawdown_minutes"),
                ("timing", "snapshot_s"),
                ("timeframe",),
            ),
            f"expected at most {WINDOW_SLOTS} bars and snapshots (each timing.snapshot_s) in "
            f"risk.fast_drawdown_minutes, was {samples:.0f}; shorten the window",
        )


def _tiers(config: Config) -> Iterator[Finding]:
    risk = config.risk
    above: float | None = None
    for i, row in enumerate(risk.tiers):
        here: KeyPath = ("risk", "tiers", i)
        if above is None and row.floor != 0.0:
            yield Finding(
                ((*here, "floor"),), f"expected 0 in the first row, was {value_text(row.floor)}"
            )
        if above is not None and row.floor <= above:
            yield Finding(
                ((*here, "floor"),),
                f"expected a number above the floor of the row before ({value_text(above)}), "
                f"was {value_text(row.floor)}",
            )
        above = row.floor
        for name, limit in (
            ("risk_per_trade", "max_stop_risk"),
            ("max_position_share", "max_total_notional"),
        ):
            value, most = getattr(row, name), getattr(risk, limit)
            if value > most:
                yield Finding(
                    ((*here, name), ("risk", limit)),
                    f"expected risk.tiers[{i}].{name} <= risk.{limit}, "
                    f"was {value_text(value)} and {value_text(most)}",
                )


def _periods_and_stops(config: Config) -> Iterator[Finding]:
    yield from _below(config, "trend.fast", "trend.slow")
    yield from _below(config, "regime.fast", "regime.slow")
    yield from _below(config, "stops.min", "stops.max", "<=")
    # Otherwise a position would be left in the very bar it was entered.
    yield from _below(config, "momentum.exit", "momentum.entry")
    if config.reversion.exit <= -config.reversion.entry:
        yield Finding(
            (("reversion", "exit"), ("reversion", "entry")),
            f"expected reversion.exit above -{value_text(config.reversion.entry)} (minus the "
            f"entry), was {value_text(config.reversion.exit)}",
        )


def _exchange(config: Config) -> Iterator[Finding]:
    exchange = config.exchange
    for name in ("futures_url", "spot_url"):
        url = str(getattr(exchange, name))
        if is_loopback(url):
            continue
        if url.startswith("http://"):
            yield Finding(
                (("exchange", name),),
                f"expected https, or a simulator on this machine (http://127.0.0.1:...), was {url}",
            )
        if exchange.speed != 1.0:
            yield Finding(
                (("exchange", "speed"), ("exchange", name)),
                f"expected 1 against {url}, was {value_text(exchange.speed)}; only a simulator on "
                "this machine runs faster",
            )
    yield from _below(config, "exchange.timeout_s", "timing.watchdog_s")


def is_loopback(url: str) -> bool:
    """Return whether an address is a simulator on this machine."""
    host = url.partition("://")[2].partition(":")[0]
    return host == "localhost" or host.startswith("127.")


def _timing(config: Config) -> Iterator[Finding]:
    yield from _below(config, "timing.uncovered_alert_s", "timing.uncovered_close_s")
    yield from _below(config, "timing.uncovered_close_s", "timing.watchdog_s")
    yield from _below(config, "timing.snapshot_s", "timing.watchdog_s")
    yield from _below(config, "timing.bar_wait_s", "timing.watchdog_s")
    wait_s, bar_s = config.timing.bar_wait_s, config.timeframe_ms / 1000
    if wait_s >= bar_s:
        yield Finding(
            (("timing", "bar_wait_s"), ("timeframe",)),
            f"expected timing.bar_wait_s < timeframe ({value_text(bar_s)} s), "
            f"was {value_text(wait_s)}",
        )
