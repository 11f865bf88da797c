"""`radops`: the command line of everything around the bot."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bot.shell.cli import run_cli
from bot.shell.options import add_run_options
from ops.exchange.cli import add_exchange_command

EXAMPLES = """\
examples:
  radops backtest --data DIR --symbols BTC-USDT-PERP,ETH-USDT-PERP --timeframe 1h \\
                  --start 2024-01-01 --end 2025-01-01 --balance 10000
  radops backtest --data DIR --symbols BTC-USDT-PERP --timeframe 1h \\
                  --trades trades.csv --plot report.html
  radops backtest --data DIR --symbols BTC-USDT-PERP --timeframe 1h --strategies ema_cross --json
  radops exchange --speed 60 --key K --secret S --passphrase P

exit codes: 0 ok, 2 bad input, 1 anything else
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `radops`."""
    parser = argparse.ArgumentParser(
        prog="radops",
        description="Research and operations around the trading bot.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    backtest = commands.add_parser(
        "backtest",
        help="replay recorded candles",
        description="Replay recorded candles through the rules that trade.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_run_options(backtest)
    backtest.add_argument("--plot", type=Path, metavar="FILE.html", help="write the HTML report")
    backtest.add_argument(
        "--engine",
        choices=("auto", "plain", "compiled"),
        default="auto",
        help="plain runs without Numba; the result is the same in every bit (default: by size)",
    )
    backtest.set_defaults(run=backtest_command)
    add_exchange_command(commands)
    return parser


def progress_bar(quiet: bool) -> Callable[[int, int], None] | None:
    """Return a progress callback when a person watches, else None."""
    if quiet or not sys.stderr.isatty():
        return None
    from tqdm import tqdm

    bar = tqdm(total=0, unit="cycle", unit_scale=True, leave=False, file=sys.stderr)

    def update(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)
        if done >= total:
            bar.close()

    return update


def backtest_command(args: argparse.Namespace) -> int:
    """Run one backtest; print the summary, or the result object."""
    from bot.adapters.files import check_writable
    from bot.adapters.history import load_market
    from bot.adapters.trades_csv import write_trades
    from bot.shell.cli_paper import report
    from bot.shell.configured import configuration, data_directories, period
    from ops.research.backtest import run_backtest

    for path in (args.trades, args.plot):
        if path is not None:
            check_writable(path)
    config = configuration(args)
    start, end = period(args)
    data = load_market(data_directories(args), config.symbols, config.timeframe, start, end)
    done = run_backtest(config, data, args.engine, progress_bar(args.json))
    if args.trades:
        write_trades(args.trades, done.result.trades, done.result.symbols)
    if args.plot:
        from ops.research.report_html import write_report

        write_report(args.plot, done.result, done.points(), data, "Backtest")
    report(done.result, config, args.json)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `radops`; return the exit code."""
    return run_cli(build_parser(), argv)
