"""Command-line options that commands share.

`radbot paper` takes every option of `radops backtest` that applies, and `radbot live` those that go
with a real account, so all are built from here.
"""

import argparse
from datetime import UTC, datetime
from pathlib import Path

from bot.core.errors import InputError

LIVE_STATE = Path("state", "live")


def parse_time(text: str) -> int:
    """Return ms UTC of a date (`2024-01-01`), an ISO time (UTC unless it says otherwise) or epoch
    ms.

    Raises
    ------
    InputError : none of the three

    >>> parse_time("2024-01-01")
    1704067200000
    """
    if text.isascii() and text.isdigit() and len(text) >= 12:
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(
            f"time: expected a date like 2024-01-01 or 2024-01-01T12:00 (UTC), was {text!r}"
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)


def parse_duration(text: str) -> int:
    """Return ms of a duration like 90s, 30m, 24h or 7d; raise InputError otherwise.

    >>> parse_duration("24h")
    86400000
    """
    units = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
    number, unit = text[:-1], text[-1:]
    try:
        amount = float(number)
    except ValueError:
        amount = 0.0
    if unit not in units or not 0.0 < amount < 1e6:
        raise InputError(f"duration: expected a number with s, m, h or d (24h), was {text!r}")
    return int(amount * units[unit])


def parse_speed(text: str, other: str = "max") -> float | None:
    """Return market seconds per second, None for the `other` word; raise InputError otherwise.

    >>> parse_speed("60"), parse_speed("max")
    (60.0, None)
    """
    if text == other:
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0.0 < speed <= 1e6:
        raise InputError(f"speed: expected a number above 0, or {other}, was {text!r}")
    return speed


def parse_port(text: str) -> int:
    """Return the number of a port, 0 for a free one; argparse says what is wrong.

    >>> parse_port("9810")
    9810
    """
    if not (text.isascii() and text.isdigit() and int(text) <= 65_535):
        raise argparse.ArgumentTypeError(f"expected 0 to 65535, was {text!r}")
    return int(text)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is traded, on which data and with which configuration."""
    market = parser.add_argument_group("market and period")
    market.add_argument(
        "--data",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="folder with SYMBOL-INTERVAL.csv.gz files, sub-folders too; repeatable",
    )
    add_symbol_options(market)
    market.add_argument("--start", metavar="DATE", help="first bar, UTC; nothing before it is read")
    market.add_argument("--end", metavar="DATE", help="end of the period, UTC, exclusive")
    rules = parser.add_argument_group("account and rules")
    rules.add_argument("--balance", type=float, metavar="USDT", help="deposits at the start")
    add_rule_options(rules, "trend,momentum,reversion in this order, or ema_cross")
    output = parser.add_argument_group("output")
    output.add_argument("--trades", type=Path, metavar="FILE.csv", help="write the list of trades")
    output.add_argument(
        "--json", action="store_true", help="print one JSON object and nothing else"
    )


def add_symbol_options(group: "argparse._ArgumentGroup") -> None:
    """Add the options that say what is traded."""
    group.add_argument(
        "--symbols", metavar="A,B", help="perpetuals, e.g. BTC-USDT-PERP,ETH-USDT-PERP"
    )
    group.add_argument("--timeframe", metavar="TF", help="length of a bar: 1m, 5m, 15m, 1h, 4h, 1d")


def add_rule_options(group: "argparse._ArgumentGroup", strategies: str) -> None:
    """Add the options that say by which rules; `strategies` is what that option may be."""
    group.add_argument("--config", type=Path, metavar="FILE", help="configuration, YAML")
    group.add_argument("--strategies", metavar="A,B", help=strategies)
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override one configuration key, e.g. risk.daily_loss_limit=0.08; repeatable",
    )


def add_metrics_option(group: "argparse._ArgumentGroup") -> None:
    """Add the option that says where a bot shows how it is."""
    group.add_argument(
        "--metrics-port",
        type=parse_port,
        default=9810,
        metavar="N",
        help="port of /metrics and /healthz on 127.0.0.1; 0 takes a free one (default: 9810)",
    )


def add_exchange_option(group: "argparse._ArgumentGroup") -> None:
    """Add the option that puts a simulator in KuCoin's place."""
    group.add_argument(
        "--exchange",
        nargs=2,
        metavar=("FUTURES_URL", "SPOT_URL"),
        help="a simulator on this machine instead of KuCoin (radops exchange)",
    )
