"""`radbot`: the command line of the trading process."""

import argparse
import errno
import io
import json
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TextIO, cast

from bot.adapters.voice import Voice
from bot.core.errors import BotError, InputError
from bot.shell.cli_control import add_control_commands
from bot.shell.options import (
    LIVE_STATE,
    add_exchange_option,
    add_metrics_option,
    add_rule_options,
    add_run_options,
    add_symbol_options,
)

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
LIVE_EXAMPLES = """\
examples:
  radbot live --credentials ~/.config/radbot/kucoin --override-reason "first week, 500 USDT"
  radbot live --exchange http://127.0.0.1:8099 http://127.0.0.1:8098 --credentials DIR --yes
                      a rehearsal against the simulator: radops exchange --help

The folder of --credentials holds three files, each mode 0600: kucoin_key, kucoin_secret,
kucoin_passphrase. The key needs the rights General and Futures and no right to withdraw.

exit codes: 0 stopped in order; 2 bad input; 75 try again (another bot runs, the exchange cannot be
reached, a contract has changed, the metrics port is taken, memory); 77 credentials missing or
refused; 78 the account is not as live trading needs it
"""
REPLAY_EXAMPLES = """\
examples:
  radbot replay state/paper               decide every event of the journal again, and compare
  radbot replay state/paper --last 40     and show the last 40 events with what was decided on them
  radbot replay copy/of/state --json

Reads only: it works beside a bot that runs, and on a copy. The decisions are those of this release;
a journal that another release wrote may differ where a rule has changed.

exit codes: 0 every decision is reproduced; 1 something differs; 2 nothing to replay; 3 nothing
differs, but some old events have no stored state to begin from and were not decided again; 75 try
again; 78 the journal is damaged, or of a newer release
"""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
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
    add_metrics_option(service)
    paper.set_defaults(run=paper_command, lasting=True, steady=True)


def add_live_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command that trades real money."""
    parser = commands.add_parser(
        "live",
        help="trade real money on KuCoin Futures",
        description="Trade real money on KuCoin Futures. Asks for confirmation on a terminal.",
        epilog=LIVE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    rules = parser.add_argument_group("rules")
    add_symbol_options(rules)
    add_rule_options(rules, "trend,momentum,reversion in this order")
    account = parser.add_argument_group("account")
    account.add_argument(
        "--credentials",
        type=Path,
        metavar="DIR",
        help="folder with the API key (default: systemd's credentials)",
    )
    add_exchange_option(account)
    account.add_argument(
        "--override-reason",
        metavar="TEXT",
        default=os.environ.get("RADBOT_OVERRIDE_REASON"),
        help="why this may trade without a GO verdict; logged and sent (default: "
        "$RADBOT_OVERRIDE_REASON)",
    )
    account.add_argument("--yes", action="store_true", help="confirmed already; for services")
    service = parser.add_argument_group("service")
    service.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help=f"journal, latches, account (default: $RADBOT_STATE, else {LIVE_STATE})",
    )
    service.add_argument("--for", dest="duration", metavar="24h", help="stop after this long")
    add_metrics_option(service)
    service.add_argument("--json", action="store_true", help="print one JSON object at the end")
    parser.set_defaults(run=live_command, lasting=True, steady=True, balance=None)


def add_replay_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `replay`."""
    parser = commands.add_parser(
        "replay",
        help="decide the events of a journal again and compare",
        description="Decide the events of a journal again and compare what was decided.",
        epilog=REPLAY_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("state", type=Path, metavar="STATE", help="state directory of a bot")
    parser.add_argument(
        "--last", type=int, default=0, metavar="N", help="also show the last N events"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=replay_command)


# What a command needs is loaded when it runs: a kill does not wait for the rest.


def paper_command(args: argparse.Namespace) -> int:
    """Trade on paper."""
    from bot.shell.cli_paper import paper_command as run

    return run(args)


def live_command(args: argparse.Namespace) -> int:
    """Trade real money."""
    from bot.shell.cli_live import live_command as run

    return run(args)


def replay_command(args: argparse.Namespace) -> int:
    """Decide a journal's events again."""
    from bot.shell.cli_replay import replay_command as run

    return run(args)


def validate_command(args: argparse.Namespace) -> int:
    """Check a configuration file. Exit 0, or 2 with every error."""
    from bot.shell.config import load_config

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
    prepare_streams()
    args = parsed(parser, argv)
    # A service manager that is waited for to hear READY; the run takes the variable away.
    args.managed = getattr(args, "lasting", False) and "NOTIFY_SOCKET" in os.environ
    args.steady = getattr(args, "steady", False)
    with steady_output() if args.steady else nullcontext():
        try:
            code: int = args.run(args)
            sys.stdout.flush()
        except BotError as error:
            return failed(parser.prog, args, error)
        except KeyboardInterrupt:  # where nothing is to be brought to an end
            return failed(parser.prog, args, BotError("interrupted"))
        except BrokenPipeError:
            if args.steady:
                raise  # not of its output, and its exit code says what was done
            # The reader went away (`| head`): nothing is wrong, and nothing more can be said.
            drop_output()
            return 0
        except OSError as error:
            if args.steady or error.errno not in NO_ROOM:
                raise
            drop_output()
            text = f"cannot be written: {os.strerror(error.errno)}"
            return failed(parser.prog, args, BotError(text))
    return code


def drop_output() -> None:
    """Let the rest of the output go nowhere: Python would try again at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def prepare_streams() -> None:
    """See that every stream is there, and that no character spoils one."""
    # In this order: the next file to be opened, a journal maybe, gets the number of a stream that
    # the program was started without (`>&-`).
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def parsed(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the options; wrong ones end the program, and a service manager does not try again."""
    try:
        return parser.parse_args(argv)
    except SystemExit as ended:
        if ended.code == InputError.exit_code and "NOTIFY_SOCKET" in os.environ:
            raise SystemExit(REFUSED) from ended
        raise


def steady_output() -> ExitStack:
    """Return the context of a command that acts on an account: it goes on whatever becomes of its
    output."""
    both = ExitStack()
    both.enter_context(redirect_stdout(cast(TextIO, Voice(sys.stdout))))
    both.enter_context(redirect_stderr(cast(TextIO, Voice(sys.stderr))))
    return both


def failed(prog: str, args: argparse.Namespace, error: BotError) -> int:
    """Say what went wrong, to machines too; return the exit code."""
    code = error.exit_code
    if args.managed and code == InputError.exit_code:
        code = REFUSED
    text = str(error) if error.says_where else f"{prog}: {error}"
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
