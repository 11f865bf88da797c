"""`radbot live`: trade real money, after a person has said so in so many words."""

import argparse
import json
import os
import sys
from functools import partial
from pathlib import Path

from bot.adapters.kucoin_site import Credentials
from bot.core.errors import InputError
from bot.core.summary import result_object
from bot.core.summary_text import text_summary
from bot.shell.cli_control import operator, typed
from bot.shell.config import Config
from bot.shell.config_rules import is_loopback
from bot.shell.configured import configuration, exchange_settings
from bot.shell.credentials import load_credentials
from bot.shell.options import LIVE_STATE, parse_duration
from bot.shell.service import Wish, run_service
from bot.shell.terminal import open_terminal

WORD = "live"


def live_command(args: argparse.Namespace) -> int:
    """Trade; print the summary of the account's life with this bot."""
    refuse_test_mode()
    if args.exchange:
        args.set += exchange_settings(args.exchange)
    config = configuration(args)
    if config.is_reference:
        raise InputError("strategies: ema_cross is the reference for comparing engines, never live")
    simulated = is_loopback(config.exchange.futures_url)
    credentials = load_credentials(args.credentials)
    reason = (args.override_reason or "").strip()
    if not simulated and not reason:
        raise InputError(
            "live: expected a GO verdict of the gate, which is not built yet; a person may insist "
            "with --override-reason TEXT"
        )
    for_ms = parse_duration(args.duration) if args.duration else None
    folder = args.state or Path(os.environ.get("RADBOT_STATE") or LIVE_STATE)
    if not confirmed(args, config, folder, simulated):
        print("nothing was done", file=sys.stderr)
        return 2
    reread = partial(configuration, args)
    wish = Wish(folder, for_ms, args.metrics_port, reread, config.exchange.speed, "live")
    return trade(args, config, credentials, wish, reason)


def refuse_test_mode() -> None:
    """Raise InputError where TEST_MODE forces paper, or may be meant to."""
    value = os.environ.get("TEST_MODE", "").strip()
    if value.lower() not in ("", "false", "0", "no", "off"):
        raise InputError(
            f"live: TEST_MODE is set ({value}), which allows paper trading only; unset it first"
        )


def confirmed(args: argparse.Namespace, config: Config, folder: Path, simulated: bool) -> bool:
    """Ask the person at the terminal; where nobody can be asked, `--yes` must have been given."""
    if args.yes:
        return True
    if not sys.stdin.isatty():
        raise InputError("live: expected a terminal to confirm on, or --yes, was neither")
    where = config.exchange.futures_url + (" (a simulator)" if simulated else "")
    risk = config.risk
    print(
        f"radbot live: REAL MONEY on {where}\n"
        f"  symbols      {', '.join(config.symbols)}\n"
        f"  bars         {config.timeframe}, strategies {', '.join(config.strategies)}\n"
        f"  limits       daily loss {100 * risk.daily_loss_limit:g} %, "
        f"drawdown {100 * risk.drawdown_limit:g} %, at most {risk.max_positions} positions\n"
        f"  state        {folder}\n",
        file=sys.stderr,
    )
    print(f'Type "{WORD}" to trade: ', end="", file=sys.stderr, flush=True)
    return typed() == WORD


def trade(
    args: argparse.Namespace, config: Config, credentials: Credentials, wish: Wish, reason: str
) -> int:
    """Run the service until somebody stops it."""
    from bot.shell.live import open_live_bot  # ccxt is loaded by those who trade only

    secrets = (credentials.key, credentials.secret, credentials.passphrase)
    terminal = open_terminal(config.symbols, as_json=args.json, lasting=True, secrets=secrets)
    override = f"live without a GO verdict, by {operator()}: {reason}" if reason else ""
    if not terminal.quiet:
        names = " ".join(name.removesuffix("-USDT-PERP") for name in config.symbols)
        print(f"radbot live: {config.exchange.futures_url}, {names}, {config.timeframe} bars")
        print("dashboard: not built yet; Ctrl-C ends the bot, positions stay under their stops\n")
    open_bot = partial(open_live_bot, config, credentials, wish.state_dir, override=override)
    result, _, code = run_service(open_bot, config, terminal, wish)
    outcome = result_object(result, {"strategies": list(config.strategies)})
    print(json.dumps(outcome, allow_nan=False) if args.json else text_summary(outcome))
    return code
