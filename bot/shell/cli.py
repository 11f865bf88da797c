"""`radbot`: the command line of the trading process."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bot.adapters.files import check_writable
from bot.adapters.history import load_market
from bot.adapters.logs import set_up
from bot.adapters.trades_csv import write_trades
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
from bot.shell.options import (
    add_run_options,
    configuration,
    data_directories,
    parse_duration,
    period,
)
from bot.shell.paper import Source, new_engine, recorded_source, run_paper, synthetic_source
from bot.shell.service import Wish, notices, run_service
from bot.shell.terminal import Terminal, file_log

EXAMPLES = """\
examples:
  radbot paper                                    the embedded market, one-minute bars, speed 60
  radbot paper --speed max --for 24h --json       a day of it at once, one JSON object
  radbot paper --market replay --data DIR --symbols BTC-USDT-PERP --timeframe 1h \\
               --start 2024-01-01 --end 2025-01-01 --speed max
  radbot validate-config config/paper.yml

  radbot status                                   what the running bot holds and may do
  radbot kill --reason "exchange looks wrong"     close everything and stay flat, whatever happens
  radbot resume --reason "checked with support"   trade again
  radbot replay state/paper                       was every decision right? after an incident

  radbot live --help                              real money: what it needs and what it refuses

exit codes: 0 ok, 2 bad input, 75 try again (another bot runs, nobody answers), 77 credentials
refused, 78 account or configuration refused, 1 anything else
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `radbot`."""
    parser = argparse.ArgumentParser(
        prog="radbot",
        description="A KuCoin-Futures trading bot.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
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
        choices=("synthetic", "replay"),
        help="embedded generator, or recorded candles from --data (default: paper.market)",
    )
    pace.add_argument(
        "--speed", metavar="N|max", help="market time per real time; max: virtual time"
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
        type=int,
        default=9810,
        metavar="N",
        help="port of /metrics and /healthz on 127.0.0.1; 0 takes a free one (default: 9810)",
    )
    paper.set_defaults(run=paper_command)
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


def parse_speed(text: str) -> float | None:
    """Return market seconds per second, None for `max`; raise InputError otherwise."""
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0.0 < speed <= 1e6:
        raise InputError(f"speed: expected a number above 0, or max, was {text!r}")
    return speed


def paper_source(args: argparse.Namespace, config: Config, for_ms: int | None) -> Source:
    """Return the market the options ask for."""
    market = args.market or config.paper.market
    timeframe_ms = TIMEFRAMES_MS[config.timeframe]
    if market == "replay":
        start, end = period(args)
        directories = data_directories(args)
        data = load_market(directories, config.symbols, config.timeframe, start, end)
        return recorded_source(data, f"recorded candles from {', '.join(map(str, directories))}")
    if args.data or args.start or args.end:
        raise InputError("--data, --start and --end go with --market replay")
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
    config = configuration(args)
    speed = parse_speed(args.speed if args.speed is not None else str(config.paper.speed))
    source = paper_source(args, config, for_ms)
    if speed is None and source.total is None and for_ms is None:
        raise InputError("--speed max on the embedded market needs an end: add --for 24h")
    if args.trades:
        check_writable(args.trades)
    journald = "JOURNAL_STREAM" in os.environ  # the service manager's log takes our stderr
    set_up(sys.stderr, as_json=journald)
    notices.disabled = not journald  # elsewhere the terminal shows them
    log = file_log(Path("logs")) if speed is not None else None
    terminal = Terminal(source.symbols, args.json or journald, sys.stdout, log)
    if not args.json:
        print_header(config, source, speed)
    if speed is None and args.state is None:
        engine, market = new_engine(config, source)
        result = run_paper(engine, market, source, terminal, for_ms)
        state, code = engine.state, 0
    else:
        folder, reread = state_dir(args.state), partial(configuration, args)
        wish = Wish(folder, for_ms, args.metrics_port, reread, speed)
        opened = partial(
            open_paper_bot, config, source, folder, durable=speed is not None, speed=speed
        )
        result, state, code = run_service(lambda _: opened(), config, terminal, wish)
    if args.trades:
        write_trades(args.trades, result.trades, result.symbols)
    report(result, config, args.json)
    if not args.json:
        print_open(state)
    return code


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
    args = parser.parse_args(argv)
    try:
        code: int = args.run(args)
    except ConfigError as error:  # one line for each error, each with its own place
        print(error, file=sys.stderr)
        return error.exit_code
    except BotError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # The reader went away (`| head`): nothing is wrong, and nothing more can be said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `radbot`; return the exit code."""
    return run_cli(build_parser(), argv)
