"""`radbot`: the command line of the trading process."""

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any, cast

from bot.adapters.files import check_writable
from bot.adapters.history import load_market
from bot.adapters.trades_csv import write_trades
from bot.adapters.voice import Voice
from bot.core.errors import BotError, InputError
from bot.core.kernel.codes import FLAT, SIDE_NAMES
from bot.core.market import TIMEFRAMES_MS
from bot.core.state import State
from bot.core.summary import RunResult, result_object
from bot.core.summary_text import text_summary
from bot.shell.assemble import open_paper_bot
from bot.shell.cli_control import add_control_commands, state_dir
from bot.shell.cli_live import add_live_command
from bot.shell.cli_replay import add_replay_command
from bot.shell.config import Config, ConfigError, load_config
from bot.shell.config_rules import is_loopback
from bot.shell.options import (
    add_exchange_option,
    add_run_options,
    configuration,
    data_directories,
    exchange_settings,
    parse_duration,
    parse_port,
    parse_speed,
    period,
)
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

EXAMPLES = """\
examples:
  radbot paper                                    the embedded market, one-minute bars, speed 60
  radbot paper --speed max --for 24h --json       a day of it at once, one JSON object
  radbot paper --market replay --data DIR --symbols BTC-USDT-PERP --timeframe 1h \\
               --start 2024-01-01 --end 2025-01-01 --speed max
  radbot paper --market kucoin                    KuCoin's public data in real time, no key needed
  radbot validate-config config/paper.yml

  radbot status                                   what the running bot holds and may do
  radbot kill --reason "exchange looks wrong"     close everything and stay flat, whatever happens
  radbot resume --reason "checked with support"   trade again
  radbot replay state/paper                       was every decision right? after an incident

  radbot live --help                              real money: what it needs and what it refuses

exit codes: 0 ok, 2 bad input, 75 try again (another bot runs, nobody answers), 77 credentials
refused, 78 account or configuration refused (under systemd also what is bad input elsewhere),
1 anything else
"""
REFUSED = 78
"""the exit code after which systemd does not try again (RestartPreventExitStatus)"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `radbot`."""
    parser = argparse.ArgumentParser(
        prog="radbot",
        description="A KuCoin-Futures trading bot.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_paper_command(commands)
    check = commands.add_parser(
        "validate-config",
        help="check a configuration file",
        description="Check a configuration file; print every error with its key and line.",
    )
    check.add_argument("file", type=Path)
    check.add_argument("--json", action="store_true", help="print one JSON object")
    check.set_defaults(run=validate_command)
    add_live_command(commands)
    add_control_commands(commands)
    add_replay_command(commands)
    return parser


def add_paper_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `paper`."""
    paper = commands.add_parser(
        "paper",
        help="trade without money",
        description="Trade a market without money, with the real engine.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_run_options(paper)
    pace = paper.add_argument_group("market and pace")
    pace.add_argument(
        "--market",
        choices=("synthetic", "replay", "kucoin"),
        help="embedded generator, recorded candles from --data, or KuCoin's public data in real "
        "time (default: paper.market)",
    )
    add_exchange_option(pace)
    pace.add_argument(
        "--speed",
        metavar="N|max",
        help="market time per real time; max: virtual time. KuCoin's market: 1, or that of a "
        "simulator",
    )
    pace.add_argument(
        "--for", dest="duration", metavar="24h", help="stop after this much market time"
    )
    pace.add_argument("--seed", type=int, metavar="N", help="seed of the embedded market")
    service = paper.add_argument_group("service")
    service.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help="journal, latches and the simulated account; the next run goes on with them, and the "
        "market has gone on meanwhile (default: $RADBOT_STATE, else state/paper; with --speed max: "
        "nothing is kept)",
    )
    service.add_argument(
        "--metrics-port",
        type=parse_port,
        default=9810,
        metavar="N",
        help="port of /metrics and /healthz on 127.0.0.1; 0 takes a free one (default: 9810)",
    )
    paper.set_defaults(run=paper_command, lasting=True)


def paper_source(args: argparse.Namespace, config: Config, for_ms: int | None) -> Source:
    """Return the market the options ask for."""
    market = args.market or config.paper.market
    timeframe_ms = TIMEFRAMES_MS[config.timeframe]
    if market != "kucoin" and args.exchange:
        raise InputError("--exchange goes with --market kucoin")
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


def validate_command(args: argparse.Namespace) -> int:
    """Check a configuration file. Exit 0, or 2 with every error."""
    try:
        config = load_config(args.file, (), os.environ)
    except InputError as error:
        if args.json:
            print(json.dumps({"valid": False, "errors": str(error).splitlines()}))
            return error.exit_code
        raise
    if args.json:
        print(json.dumps({"valid": True, "errors": []}))
    else:
        strategies = ", ".join(config.strategies)
        print(f"{args.file}: ok ({len(config.symbols)} symbols, {config.timeframe}, {strategies})")
    return 0


def run_cli(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
    """Parse, run, and turn what went wrong into a message and an exit code."""
    args = parsed(parser, argv)
    # A service manager that is waited for to hear READY; the run takes the variable away.
    args.managed = getattr(args, "lasting", False) and "NOTIFY_SOCKET" in os.environ
    with steady_output(args):
        try:
            code: int = args.run(args)
            sys.stdout.flush()
        except BotError as error:
            return failed(parser.prog, args, error)
        except KeyboardInterrupt:  # where nothing is to be brought to an end
            return failed(parser.prog, args, BotError("interrupted"))
        except BrokenPipeError:
            if getattr(args, "lasting", False):
                raise  # it ends with 0 for SIGTERM and SIGINT alone
            # The reader went away (`| head`): nothing is wrong, and nothing more can be said.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
    return code


def parsed(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the options; wrong ones end the program, and a service manager does not try again."""
    try:
        return parser.parse_args(argv)
    except SystemExit as ended:
        if ended.code == InputError.exit_code and "NOTIFY_SOCKET" in os.environ:
            raise SystemExit(REFUSED) from ended
        raise


def steady_output(args: argparse.Namespace) -> Any:
    """Return the context of a command: trading goes on whatever becomes of its output."""
    if not getattr(args, "lasting", False):
        return nullcontext()
    return redirect_stdout(cast(Any, Voice(sys.stdout)))


def failed(prog: str, args: argparse.Namespace, error: BotError) -> int:
    """Say what went wrong, to machines too; return the exit code."""
    code = error.exit_code
    if args.managed and code == InputError.exit_code:
        code = REFUSED
    # A configuration has one line for each error, each with its own place.
    text = str(error) if isinstance(error, ConfigError) else f"{prog}: {error}"
    if "JOURNAL_STREAM" in os.environ and logging.getLogger().handlers:
        logging.getLogger("radbot").log(logging.CRITICAL if code else logging.INFO, text)
    else:
        print(text, file=sys.stderr)
    if getattr(args, "json", False):
        print(json.dumps({"error": str(error), "code": code}))
    return code


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `radbot`; return the exit code."""
    return run_cli(build_parser(), argv)
