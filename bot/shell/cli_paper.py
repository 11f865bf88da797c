"""`radbot paper`: trade a market without money."""

import argparse
import json
from functools import partial

from bot.adapters.files import check_writable
from bot.adapters.history import load_market
from bot.adapters.trades_csv import write_trades
from bot.core.errors import InputError
from bot.core.kernel.codes import FLAT, SIDE_NAMES
from bot.core.market import TIMEFRAMES_MS
from bot.core.state import State
from bot.core.summary import RunResult, result_object
from bot.core.summary_text import text_summary
from bot.shell.assemble import open_paper_bot
from bot.shell.cli_control import state_dir
from bot.shell.config import Config
from bot.shell.config_rules import is_loopback
from bot.shell.configured import configuration, data_directories, exchange_settings, period
from bot.shell.options import parse_duration, parse_speed
from bot.shell.paper import (
    Source,
    kucoin_source,
    new_engine,
    recorded_source,
    run_paper,
    synthetic_source,
)
from bot.shell.service import Wish, run_service
from bot.shell.terminal import Terminal, open_terminal


def paper_source(args: argparse.Namespace, config: Config, for_ms: int | None) -> Source:
    """Return the market the options ask for."""
    market = args.market or config.paper.market
    timeframe_ms = TIMEFRAMES_MS[config.timeframe]
    if market != "kucoin" and args.exchange:
        raise InputError("--exchange goes with --market kucoin")
    if market != "synthetic" and args.seed is not None:
        raise InputError("--seed goes with --market synthetic")
    if market == "replay":
        start, end = period(args)
        directories = data_directories(args)
        data = load_market(directories, config.symbols, config.timeframe, start, end)
        return recorded_source(data, f"recorded candles from {', '.join(map(str, directories))}")
    if args.data or args.start or args.end:
        raise InputError("--data, --start and --end go with --market replay")
    if market == "kucoin":
        return kucoin_source(config)
    lasts = args.state is not None or parse_speed(str(args.speed or config.paper.speed)) is not None
    bars = None if for_ms is None or lasts else for_ms // timeframe_ms
    if bars is not None and bars < 1:
        raise InputError(
            f"for: expected at least one bar of {config.timeframe}, was {args.duration}"
        )
    seed = config.paper.seed if args.seed is None else args.seed
    return synthetic_source(config, timeframe_ms, seed, bars)


def paper_command(args: argparse.Namespace) -> int:
    """Trade on paper; print the summary, or the result object."""
    for_ms = parse_duration(args.duration) if args.duration else None
    config, speed = paper_pace(args)
    source = paper_source(args, config, for_ms)
    if speed is None and source.total is None and for_ms is None:
        raise InputError("--speed max on the embedded market needs an end: add --for 24h")
    if args.trades:
        check_writable(args.trades)
    terminal = open_terminal(source.symbols, as_json=args.json, lasting=speed is not None)
    if not args.json:
        print_header(config, source, speed)
    if speed is None and args.state is None:
        engine, market = new_engine(config, source)
        result = run_paper(engine, market, source, terminal, for_ms)
        state, code = engine.state, 0
    else:
        wish = Wish(
            state_dir(args.state), for_ms, args.metrics_port, partial(configuration, args), speed
        )
        result, state, code = serve_paper(config, source, terminal, wish)
    if args.trades:
        write_trades(args.trades, result.trades, result.symbols)
    report(result, config, args.json)
    if not args.json:
        print_open(state)
    return code


def paper_pace(args: argparse.Namespace) -> tuple[Config, float | None]:
    """Return the configuration and the pace; None is virtual time.

    KuCoin's market has its own pace: real time, or that of a simulator on this machine.
    """
    if args.exchange:
        args.set += exchange_settings(args.exchange)
    config = configuration(args)
    if (args.market or config.paper.market) != "kucoin":
        return config, parse_speed(
            args.speed if args.speed is not None else str(config.paper.speed)
        )
    if args.speed is None:
        return config, config.exchange.speed
    if parse_speed(args.speed) != 1.0 and not is_loopback(config.exchange.futures_url):
        raise InputError(
            f"speed: expected 1 on {config.exchange.futures_url}, was {args.speed}: only a "
            "simulator on this machine runs faster (--exchange)"
        )
    args.set.append(f"exchange.speed={args.speed}")
    config = configuration(args)
    return config, config.exchange.speed


def serve_paper(
    config: Config, source: Source, terminal: Terminal, wish: Wish
) -> tuple[RunResult, State, int]:
    """Trade until stopped, and keep the run; see `run_service`."""
    if source.identity["market"] == "kucoin":
        from bot.shell.kucoin_paper import open_kucoin_paper  # ccxt, for those who need it

        opened = partial(open_kucoin_paper, config, source, wish.state_dir)
        return run_service(opened, config, terminal, wish)
    durable = wish.speed is not None
    return run_service(
        lambda _: open_paper_bot(config, source, wish.state_dir, durable=durable, speed=wish.speed),
        config,
        terminal,
        wish,
    )


def print_header(config: Config, source: Source, speed: float | None) -> None:
    """Say what is about to be traded."""
    names = " ".join(name.removesuffix("-USDT-PERP") for name in source.symbols)
    pace = "virtual time" if speed is None else f"speed {speed:g}"
    print(f"radbot paper: {source.label}, {names}, {config.timeframe} bars, {pace}")
    print(f"{config.balance:,.2f} USDT, strategies {', '.join(config.strategies)}")
    if speed is not None:
        print("dashboard: not built yet (it will be on http://localhost:5000); Ctrl-C ends the run")
    print(flush=True)


def print_open(state: State) -> None:
    """List the positions that are still open when a person stopped the run."""
    for k, pos in enumerate(state.world.positions):
        if pos.side != FLAT:
            mark = state.world.symbols[k].mark
            gain = pos.side * (mark - pos.entry_price) * pos.contracts
            gain *= state.world.specs[k].multiplier
            print(
                f"open: {state.symbols[k]} {SIDE_NAMES[pos.side]} {pos.contracts:g} "
                f"from {pos.entry_price:g}, stop {pos.stop_price:g}, {gain:+,.2f} USDT"
            )


def report(result: RunResult, config: Config, as_json: bool) -> None:
    """Print the result of a run for a machine or for a person."""
    outcome = result_object(result, {"strategies": list(config.strategies)})
    print(json.dumps(outcome, allow_nan=False) if as_json else text_summary(outcome))
