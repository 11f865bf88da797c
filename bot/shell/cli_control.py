"""`radbot status`, `positions`, `balance`, `trades`, `close`, `kill`, `halt`, `resume`: people and
the bot.

The bot is asked over its socket. Reads fall back to the journal, a kill and a close to the exchange
itself, so that both work when the bot hangs or is dead.
"""

import argparse
import getpass
import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from bot.adapters.control_socket import ControlUnavailable, ask
from bot.adapters.journal_errors import JournalError, JournalUnusableError
from bot.adapters.latches import Latches
from bot.core.errors import BotError, InputError
from bot.core.market import parse_symbol
from bot.core.text import clean
from bot.shell import offline
from bot.shell.state_folder import LATCHES, LOCK, control_socket
from bot.shell.tables import LINES, heading, moment, painter

type Plain = dict[str, Any]

TRY_AGAIN, REFUSED = 75, 77
TIMEOUT_S = 5.0
INTERRUPTED = "interrupted: what was begun may still happen; run it again until it says flat"
CODES = """\
exit codes: 0 ok; 2 bad input; 75 the bot does not answer or its loop stands still (status: 0 also
when the bot is down, and says so)"""
WHERE = "asks the bot of --state, else of $RADBOT_STATE, else of state/paper"
EXAMPLES = {
    "status": "radbot status\n  radbot status --json --state /var/lib/radbot",
    "positions": "radbot positions\n  radbot positions --json | jq '.positions[].symbol'",
    "balance": "radbot balance",
    "trades": "radbot trades\n  radbot trades --last 5",
    "close": "radbot close BTC\n  radbot close BTC-USDT-PERP --yes\n  radbot close BTC/USDT:USDT",
    "kill": 'radbot kill\n  radbot kill --yes --reason "exchange announces an outage"',
    "halt": 'radbot halt --reason "new contract size tomorrow"',
    "resume": 'radbot resume --reason "stops checked by hand, data feed is back"',
}
HELP = {
    "status": "mode and its causes, equity, risk, open positions",
    "positions": "open positions, their levels and orders",
    "balance": "the account's money",
    "trades": "finished trades",
    "close": "close one position at the market",
    "kill": "close everything, cancel everything, stay flat until resumed",
    "halt": "no entries and no exits of strategies until resumed; stops stay",
    "resume": "take back kill, halt and what else waits for a person",
}
ENDING = {
    "kill": """\
exit codes: 0 flat, verified, and latched; 2 bad input, or the key of another account; 75 not flat,
not latched, or not known: it says what is left; 77 the key is missing or refused""",
    "close": """\
exit codes: 0 closed, verified; 2 bad input, or the key of another account; 75 not closed, or not
known; 77 the key is missing or refused""",
}


def add_control_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands that speak to a bot, running or not."""
    runs: dict[str, Callable[[argparse.Namespace], int]] = {
        **dict.fromkeys(LINES, read_command),
        "close": close_command,
        "kill": kill_command,
        "halt": order_command,
        "resume": order_command,
    }
    for name, run in runs.items():
        parser = commands.add_parser(
            name,
            help=HELP[name],
            description=f"{HELP[name].capitalize()}. The command {WHERE}.",
            epilog=f"examples:\n  {EXAMPLES[name]}\n\n{ENDING.get(name, CODES)}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.add_argument("--state", type=Path, metavar="DIR", help="the bot's state directory")
        parser.add_argument(
            "--socket",
            type=Path,
            metavar="PATH",
            help="its control socket (default: $RUNTIME_DIRECTORY/control.sock, else in --state)",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        parser.add_argument(
            "--timeout",
            type=float,
            default=TIMEOUT_S,
            metavar="S",
            help="how long the bot may take to answer (default: %(default)g s)",
        )
        if name == "trades":
            parser.add_argument("--last", type=int, default=20, metavar="N", help="default: 20")
        if name == "close":
            parser.add_argument("symbol", metavar="SYMBOL", help="BTC, BTC-USDT-PERP, ...")
        if name in ("kill", "close"):
            parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
            parser.add_argument(
                "--credentials",
                type=Path,
                metavar="DIR",
                help="folder with the API key, for when the bot does not answer (live only; "
                "default: systemd's credentials)",
            )
        if name not in LINES:
            parser.add_argument("--reason", type=clean, metavar="TEXT", help="kept in the journal")
        parser.set_defaults(run=run, name=name, steady=name not in LINES)


def state_dir(given: Path | None) -> Path:
    """Return the state directory: the option, else $RADBOT_STATE, else state/paper."""
    return given or Path(os.environ.get("RADBOT_STATE") or Path("state", "paper"))


def place(args: argparse.Namespace) -> tuple[Path, Path]:
    """Return state directory and control socket.

    On a host the socket is in the service's runtime directory, which only the service is told of;
    the bot leaves a note in its lock file.
    """
    if not 0.0 < args.timeout <= 60.0:
        raise InputError(f"timeout: expected a number above 0 and at most 60, was {args.timeout:g}")
    folder = state_dir(args.state)
    if args.socket is not None:
        return folder, args.socket
    existing(folder)
    socket = control_socket(folder)
    if socket.parent == folder:
        with suppress(OSError, ValueError, AttributeError):
            noted = json.loads((folder / LOCK).read_bytes()).get("socket")
            socket = Path(noted) if isinstance(noted, str) else socket
    return folder, socket


def operator() -> str:
    """Return who is at the keyboard, also behind sudo."""
    try:
        return clean(os.environ.get("SUDO_USER") or getpass.getuser())
    except (KeyError, OSError):  # a user without a name
        return f"uid {os.getuid()}"


def read_command(args: argparse.Namespace) -> int:
    """Answer a question from the bot, else from its journal."""
    folder, socket = place(args)
    if args.name == "trades" and not 1 <= args.last <= 1_000:
        raise InputError(f"last: expected 1 to 1000, was {args.last}")
    last = getattr(args, "last", 1)
    why = None
    try:
        [answer] = ask(socket, {"command": args.name, "last": last}, args.timeout)
    except ControlUnavailable as error:
        why = error.why
        try:
            answer = offline.from_journal(folder, args.name, last, str(error))
        except JournalError as missing:
            return no_answer(args, folder, why, missing)
    answer.pop("done", None)
    if args.name == "status":
        answer |= offline.latch_of(folder)
    if args.json:
        print(json.dumps(answer))
    else:
        paint = painter(sys.stdout)
        print("\n".join([*heading(answer, paint), *LINES[args.name](answer, paint)]))
    silent = answer.get("stalled") or why not in (None, "not_running")
    return TRY_AGAIN if silent else 0


def no_answer(args: argparse.Namespace, folder: Path, why: str, error: JournalError) -> int:
    """Say that neither bot nor journal knows; for `status` a bot that is down is an answer."""
    if args.name != "status" or why != "not_running":
        raise error
    latch = offline.latch_of(folder)
    code = error.exit_code if isinstance(error, JournalUnusableError) else 0
    if args.json:
        print(json.dumps({"source": "none", "note": str(error), **latch}))
        return code
    print(error)
    if latch["latch"]:
        found = latch["latch"]
        print(f"latched {moment(found['at_ms'])} by {found['by']}: {found['reason']}")
    return code


def told(socket: Path, args: argparse.Namespace, fields: Plain) -> Plain:
    """Send an order to the bot, show how it goes, return its last answer.

    Raises ControlUnavailable, and InputError with the bot's words.
    """
    request = {"command": args.name, "by": operator(), "timeout_s": args.timeout, **fields}
    last: Plain = {}
    for answer in ask(socket, request, args.timeout + 1.0):
        last = answer
        if not args.json:
            show(answer)
    last.pop("done", None)
    return last


def show(answer: Plain) -> None:
    """Print one line of progress."""
    if "warning" in answer:
        print(f"warning: {answer['warning']}", file=sys.stderr)
    if answer.get("accepted"):
        print("the bot has the order", flush=True)
    if "closing" in answer:
        left = ", ".join(answer["closing"]) or "nothing known; cancelling and reading"
        print(f"{answer['seconds']:6.2f} s  still open: {left}", flush=True)


def confirmed(args: argparse.Namespace, question: str) -> bool:
    """Ask a person at a terminal; whatever is not a terminal has decided already."""
    if args.yes or not sys.stdin.isatty():
        return True
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return typed().lower() in ("y", "yes")


def typed() -> str:
    """Return the line that is typed at the terminal; Ctrl-C types nothing."""
    try:
        return sys.stdin.readline().strip()
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return ""


def kill_command(args: argparse.Namespace) -> int:
    """Latch, then flatten: through the bot, else over the exchange."""
    folder, socket = place(args)
    existing(folder)
    if not confirmed(args, f"close and cancel everything on {folder}, and stay flat?"):
        print("nothing was done")
        return 2
    reason, by = args.reason or "operator", operator()
    try:
        Latches(folder / LATCHES).pull("kill_switch", reason, by, int(time.time() * 1000))
    except OSError as error:  # flattening never waits for a disk
        print(f"warning: the latch could not be written: {error}", file=sys.stderr)
    return flatten(args, folder, socket, {"reason": reason}, None)


def close_command(args: argparse.Namespace) -> int:
    """Close one position: through the bot, else over the exchange."""
    folder, socket = place(args)
    existing(folder)
    symbol = known_symbol(args, folder, socket)
    if not confirmed(args, f"close {symbol} at the market?"):
        print("nothing was done")
        return 2
    fields = {"symbol": symbol, "reason": args.reason or "operator"}
    return flatten(args, folder, socket, fields, symbol)


def existing(folder: Path) -> None:
    """Raise InputError when there is no such state directory: an emergency must not found one."""
    if not folder.is_dir():
        raise InputError(f"{folder}: expected the state directory of a bot, was none: give --state")


def known_symbol(args: argparse.Namespace, folder: Path, socket: Path) -> str:
    """Return the symbol that was meant; raise InputError with the known ones."""
    short = f"{args.symbol}-USDT-PERP" if args.symbol.isalnum() else args.symbol
    name = parse_symbol(short)
    try:
        [answer] = ask(socket, {"command": "status"}, args.timeout)
    except ControlUnavailable as error:
        try:
            answer = offline.from_journal(folder, "status", 1, str(error))
        except JournalError:
            return name  # nobody can say; the exchange will
    if name not in answer["symbols"]:
        known = ", ".join(answer["symbols"])
        raise InputError(f"symbol: expected one of {known}, was {args.symbol!r}")
    return name


def flatten(
    args: argparse.Namespace, folder: Path, socket: Path, fields: Plain, symbol: str | None
) -> int:
    """Ask the bot to close; where it cannot, do it over the exchange; say whether it is flat."""
    try:
        answer = {**told(socket, args, fields), "through": "bot"}
    except ControlUnavailable as error:
        if error.why == "not_done":
            return report(args, folder, {"flat": False, "through": "bot", "note": str(error)})
        say(args, f"{error}: closing over the exchange")
        answer = {**over_exchange(args, folder, fields["reason"], symbol), "through": "exchange"}
    except KeyboardInterrupt:
        answer = {"flat": False, "through": "bot", "note": INTERRUPTED}
    if symbol is not None:
        answer["symbol"] = symbol
    return report(args, folder, answer)


def over_exchange(args: argparse.Namespace, folder: Path, reason: str, symbol: str | None) -> Plain:
    """Flatten without the bot; what goes wrong is part of the answer."""
    from bot.shell import emergency

    try:
        return emergency.flatten(
            folder, reason, symbol, lambda text: say(args, text), args.credentials
        )
    except KeyboardInterrupt:
        return {"flat": False, "note": INTERRUPTED}
    except (BotError, OSError, sqlite3.Error, ValueError) as error:
        code = getattr(error, "exit_code", TRY_AGAIN)
        if code == InputError.exit_code and symbol is not None:
            raise  # a kill has a latch to tell of
        note = str(error) or type(error).__name__
        if code == REFUSED:
            note = f"{note}: put the key right and run it again, {emergency.BY_HAND}"
        code = code if code in (InputError.exit_code, REFUSED) else TRY_AGAIN
        return {"flat": False, "note": note, "code": code}


def say(args: argparse.Namespace, text: str) -> None:
    """Print a line of progress; where the output is one JSON object, beside it."""
    print(text, file=sys.stderr if args.json else sys.stdout, flush=True)


def report(args: argparse.Namespace, folder: Path, answer: Plain) -> int:
    """Print the end of a kill or close; return the exit code."""
    flat = bool(answer.get("flat"))
    if args.name == "kill":
        answer["latched"] = Latches(folder / LATCHES).read() is not None
    note = f" ({answer['note']})" if "note" in answer else ""
    if args.json:
        print(json.dumps(answer))
    elif flat:
        name = f"{answer['symbol']}: " if "symbol" in answer else ""
        print(f"{name}flat, verified, after {answer['seconds']:.2f} s{note}")
    else:
        left = ", ".join(answer.get("left", [])) or "not known"
        print(f"NOT FLAT: left: {left}{note}", file=sys.stderr)
    if args.name == "kill" and not args.json:
        if answer["latched"]:
            print("latched: the bot stays flat until `radbot resume --reason TEXT`")
        else:
            print("NOT LATCHED: the next start of the bot would trade again", file=sys.stderr)
    code: int = answer.get("code", TRY_AGAIN)
    return 0 if flat and answer.get("latched", True) else code


def order_command(args: argparse.Namespace) -> int:
    """Halt or resume, which the bot does at once; a resume also works when it is down."""
    folder, socket = place(args)
    reason = (args.reason or "").strip()
    if args.name == "resume" and not reason:
        raise InputError("resume: expected --reason TEXT, was none: it is kept for the audit")
    by, at_ms = operator(), int(time.time() * 1000)
    try:
        answer = {**told(socket, args, {"reason": reason or "operator"}), "through": "bot"}
    except ControlUnavailable as error:
        if args.name != "resume" or error.why != "not_running":
            raise
        existing(folder)
        offline.resume(folder, reason, by, at_ms)
        answer = {"resumed": True, "through": "files"}
        say(args, "the bot is not running: the latch is released; its next start takes the rest")
    answer |= {"reason": reason, "by": by, "at_ms": at_ms}
    if args.json:
        print(json.dumps(answer))
        return 0
    done = "resumed" if args.name == "resume" else "halted"
    mode = f", mode {answer['mode']}" if "mode" in answer else ""
    print(f"{done} {moment(at_ms)} by {by}{mode}: {reason or 'operator'}")
    return 0
