"""What the options that commands share turn into: the configuration, the period, the data."""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

from bot.core.errors import InputError
from bot.core.market import parse_symbol, parse_timeframe
from bot.shell.config import Config, load_config
from bot.shell.config_rules import is_loopback
from bot.shell.options import parse_time


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
