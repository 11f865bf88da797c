"""Command-line options that paper and backtest share, and what they turn into.

`radbot paper` takes every option of `radops backtest` that applies, so both are built from here.
"""

import argparse
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bot.core.errors import InputError
from bot.core.market import parse_symbol, parse_timeframe
from bot.shell.config import Config, load_config
from bot.shell.config_rules import is_loopback


def parse_time(text: str) -> int:
    """Return ms UTC of a date (`2024-01-01`), an ISO time (UTC unless it says otherwise) or epoch
    ms.

    Raises
    ------
    InputError : none of the three

    >>> parse_time("2024-01-01")
    1704067200000
    """
    if text.isdigit() and len(text) >= 12:
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
    market.add_argument(
        "--symbols", metavar="A,B", help="perpetuals, e.g. BTC-USDT-PERP,ETH-USDT-PERP"
    )
    market.add_argument(
        "--timeframe", metavar="TF", help="length of a bar: 1m, 5m, 15m, 1h, 4h, 1d"
    )
    market.add_argument("--start", metavar="DATE", help="first bar, UTC; nothing before it is read")
    market.add_argument("--end", metavar="DATE", help="end of the period, UTC, exclusive")
    rules = parser.add_argument_group("account and rules")
    rules.add_argument("--balance", type=float, metavar="USDT", help="deposits at the start")
    rules.add_argument("--config", type=Path, metavar="FILE", help="configuration, YAML")
    rules.add_argument(
        "--strategies", metavar="A,B", help="trend,momentum,reversion in this order, or ema_cross"
    )
    rules.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override one configuration key, e.g. risk.daily_loss_limit=0.08; repeatable",
    )
    output = parser.add_argument_group("output")
    output.add_argument("--trades", type=Path, metavar="FILE.csv", help="write the list of trades")
    output.add_argument(
        "--json", action="store_true", help="print one JSON object and nothing else"
    )


def add_exchange_option(group: "argparse._ArgumentGroup") -> None:
    """Add the option that puts a simulator in KuCoin's place."""
    group.add_argument(
        "--exchange",
        nargs=2,
        metavar=("FUTURES_URL", "SPOT_URL"),
        help="a simulator on this machine instead of KuCoin (radops exchange)",
    )


def exchange_settings(urls: Sequence[str]) -> list[str]:
    """Return the settings that `--exchange` stands for.

    Raises
    ------
    InputError : it is not on this machine
    """
    for url in urls:
        if not is_loopback(url):
            raise InputError(
                f"exchange: expected a simulator on this machine, as http://127.0.0.1:8099, was "
                f"{url}"
            )
    return [f"exchange.futures_url={urls[0]}", f"exchange.spot_url={urls[1]}"]


def configuration(args: argparse.Namespace) -> Config:
    """Return the configuration that file, environment and options add up to.

    Raises
    ------
    InputError : anything in it is wrong; every error at once
    """
    sets: list[str] = []
    if args.symbols is not None:
        names = [parse_symbol(name) for name in args.symbols.split(",")]
        sets.append(f"symbols={json.dumps(names)}")
    if args.timeframe is not None:
        parse_timeframe(args.timeframe)
        sets.append(f"timeframe={args.timeframe}")
    if args.balance is not None:
        sets.append(f"balance={args.balance!r}")
    if args.strategies is not None:
        sets.append(f"strategies={json.dumps(args.strategies.split(','))}")
    path = args.config or (Path(given) if (given := os.environ.get("RADBOT_CONFIG")) else None)
    return load_config(path, [*sets, *args.set], os.environ)


def period(args: argparse.Namespace) -> tuple[int | None, int | None]:
    """Return [start, end) in ms, None where it is open; raise InputError when it is empty."""
    start = parse_time(args.start) if args.start else None
    end = parse_time(args.end) if args.end else None
    if start is not None and end is not None and start >= end:
        raise InputError(f"start must be before end, was {args.start} and {args.end}")
    return start, end


def data_directories(args: argparse.Namespace) -> Sequence[Path]:
    """Return the data directories; raise InputError when none was given."""
    if not args.data:
        raise InputError("expected --data DIR with recorded candles, was none")
    return list(args.data)
