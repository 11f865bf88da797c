"""`radops exchange`: its options. What they start is imported when it is started."""

import argparse
from pathlib import Path

from bot.shell.options import parse_port

EXAMPLES = """\
examples:
  radops exchange --key K --secret S --passphrase P
      the embedded market at real speed: BTC, ETH, one-minute bars
  radops exchange --speed 60 --symbols BTC-USDT-PERP --key K --secret S --passphrase P
      an hour of market in each minute
  radops exchange --market replay --data DIR --symbols BTC-USDT-PERP --timeframe 1h \\
                  --start 2024-01-01 --speed step --json --key K --secret S --passphrase P
      recorded candles, moved on by POST /control/advance

  radops exchange --script crash.csv --key K --secret S --passphrase P
      a file with the line BTC-USDT-PERP and under it -5, -5, -5, 3: percent in each bar

A client is pointed at the two addresses that are printed (futures and spot API of KuCoin); the
third is the control endpoint. Requests may be stamped by the market's time or by this host's, so
that ccxt needs no setting for the time, whichever year is played. The sockets of the unified API
that ccxt.pro asks for marks, funding and positions are at ws:// and the futures address, with
/unified/futures and /unified/private.
  curl ADDRESS/control/truth
  curl ADDRESS/control/faults \\
       -d '{"faults": [{"kind": "slow_after", "role": "entry", "seconds": 15}]}'
  curl ADDRESS/control/outside -d '{"do": "close", "symbol": "BTC-USDT-PERP"}'
  curl ADDRESS/control/outside -d '{"do": "adl", "symbol": "BTC-USDT-PERP", "share": 0.5}'
  curl ADDRESS/control/market -d '{"do": "futures", "enabled": false}'
      a key without the right to trade; "address": not used from here; "withdrawal": may withdraw
  curl ADDRESS/control/faults -d '{"faults": [{"kind": "?"}]}'
      the answer lists every kind; so do the other two for what they can "do"

It listens on 127.0.0.1 alone, keeps nothing on disk, and ends with Ctrl-C.
exit codes: 0 ended by Ctrl-C or SIGTERM, 2 bad input, 1 anything else
"""
DEFAULT_SYMBOLS = "BTC-USDT-PERP,ETH-USDT-PERP"


def add_exchange_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `exchange` to the commands of radops."""
    parser = commands.add_parser(
        "exchange",
        help="simulate KuCoin Futures on this machine",
        description="Speak the KuCoin Futures API around a simulated market, in the foreground.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    ports = parser.add_argument_group("addresses, on 127.0.0.1; port 0 is a free one")
    ports.add_argument("--futures-port", type=parse_port, default=8099, metavar="N")
    ports.add_argument("--spot-port", type=parse_port, default=8098, metavar="N")
    ports.add_argument("--control-port", type=parse_port, default=8097, metavar="N")
    _add_market_options(parser.add_argument_group("market"))
    account = parser.add_argument_group("account")
    account.add_argument("--balance", type=float, default=10_000.0, metavar="USDT")
    account.add_argument("--key", required=True, metavar="K", help="API key that is accepted")
    account.add_argument("--secret", required=True, metavar="S", help="its secret")
    account.add_argument("--passphrase", required=True, metavar="P", help="its passphrase")
    account.add_argument(
        "--latency-ms",
        default="5-40",
        metavar="A-B",
        help="least and most market time an order is on its way (default 5-40)",
    )
    account.add_argument(
        "--depth",
        type=int,
        default=10_000,
        metavar="N",
        help="contracts at the market price with each quote (default 10000)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object when it listens, nothing else"
    )
    parser.set_defaults(run=exchange_command)


def _add_market_options(market: "argparse._ArgumentGroup") -> None:
    market.add_argument("--market", choices=("synthetic", "replay"), default="synthetic")
    market.add_argument(
        "--data",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="folder with recorded candles, for replay; repeatable",
    )
    market.add_argument(
        "--symbols", default=DEFAULT_SYMBOLS, metavar="A,B", help=f"default {DEFAULT_SYMBOLS}"
    )
    market.add_argument("--timeframe", default="1m", metavar="TF", help="length of a bar (1m)")
    market.add_argument("--start", metavar="DATE", help="first bar of a replay, UTC")
    market.add_argument("--end", metavar="DATE", help="end of a replay, UTC, exclusive")
    market.add_argument(
        "--history",
        type=int,
        default=3_000,
        metavar="N",
        help="bar times that are past when it starts (default 3000)",
    )
    market.add_argument(
        "--quotes",
        type=int,
        default=4,
        metavar="N",
        help="prices on each of the three legs of a bar's way (default 4)",
    )
    market.add_argument(
        "--marks",
        choices=("lag", "last"),
        default="lag",
        help="mark prices that follow the last price slowly, or at once (default lag)",
    )
    market.add_argument(
        "--script",
        type=Path,
        metavar="FILE",
        help="CSV of percentages by symbol: how prices move in the bars after the history",
    )
    market.add_argument("--seed", type=int, default=1, metavar="N", help="of market and latency")
    market.add_argument(
        "--speed",
        default="1",
        metavar="N|step",
        help="market time per real time, or `step`: it stands still between /control/advance",
    )


def exchange_command(args: argparse.Namespace) -> int:
    """Serve until somebody ends it."""
    from ops.exchange.foreground import run_exchange

    return run_exchange(args)
