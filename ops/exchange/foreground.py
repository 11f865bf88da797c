"""`radops exchange` in the foreground: from options to a server, the lines it prints, its end."""

import argparse
import asyncio
import json
import math
import signal
import sys

from bot.adapters.voice import Voice
from bot.core.errors import InputError
from bot.core.market import parse_symbol, parse_timeframe
from bot.core.messages import (
    Event,
    FundingSettled,
    Liquidated,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
)
from bot.shell.configured import period
from bot.shell.options import parse_speed
from bot.sim.ticks import MARK_PULL
from ops.exchange.auth import Credentials
from ops.exchange.names import decimal_text, side_word, wire_symbol
from ops.exchange.script import scripted
from ops.exchange.server import Server
from ops.exchange.source import Source, recorded, synthetic
from ops.exchange.wire import Options

MOST_QUOTES = 1_000
MARKS = {"lag": MARK_PULL, "last": 1.0}


def run_exchange(args: argparse.Namespace) -> int:
    """Serve what the options ask for until SIGINT or SIGTERM; return the exit code.

    Raises
    ------
    InputError : the options make no sense, or a port is taken
    """
    options = read_options(args)
    try:
        # Not inside asyncio.run: it would not hear Ctrl-C while a long history is played.
        server = Server(options)
    except KeyboardInterrupt:
        return 0
    return asyncio.run(_serve(server, as_json=args.json))


def read_options(args: argparse.Namespace) -> Options:
    """Return what the command line asks for; raise InputError when it makes no sense."""
    if not (math.isfinite(args.balance) and args.balance >= 0.0):
        raise InputError(f"balance: expected 0 or more USDT, was {args.balance!r}")
    if args.history < 1:
        raise InputError(f"history: expected at least 1, was {args.history}")
    if not 1 <= args.quotes <= MOST_QUOTES:
        raise InputError(f"quotes: expected 1 to {MOST_QUOTES}, was {args.quotes}")
    for name in ("key", "secret", "passphrase"):
        if not getattr(args, name):
            raise InputError(f"{name}: expected one, was empty")
    return Options(
        source=_source(args),
        credentials=Credentials(args.key, args.secret, args.passphrase),
        futures_port=args.futures_port,
        spot_port=args.spot_port,
        control_port=args.control_port,
        history=args.history,
        seed=args.seed,
        balance=args.balance,
        speed=parse_speed(args.speed, "step"),
        latency_ms=_latency(args.latency_ms),
        depth=args.depth,
        steps=args.quotes,
        mark_pull=MARKS[args.marks],
    )


def _source(args: argparse.Namespace) -> Source:
    source = _market(args)
    return source if args.script is None else scripted(source, args.script, args.history)


def _market(args: argparse.Namespace) -> Source:
    symbols = tuple(parse_symbol(name) for name in args.symbols.split(","))
    if len(set(map(wire_symbol, symbols))) < len(symbols):  # XBT and BTC are one on the wire
        raise InputError(f"symbols: expected each once, was {args.symbols}")
    timeframe_ms = parse_timeframe(args.timeframe)
    if args.market == "synthetic":
        if args.data or args.start or args.end:
            raise InputError("--data, --start and --end: expected with --market replay only")
        return synthetic(symbols, timeframe_ms, args.seed)
    return recorded(args.data, symbols, args.timeframe, *period(args))


def _latency(text: str) -> tuple[int, int]:
    least, _, most = text.partition("-")
    if not text.isascii() or not least.isdigit() or not (most or least).isdigit():
        raise InputError(f"latency-ms: expected two numbers like 5-40, was {text!r}")
    return int(least), int(most or least)


async def _serve(server: Server, *, as_json: bool) -> int:
    # Nobody who stops reading may hold up or spoil what clients are answered.
    voice = Voice(sys.stdout, patient=False)

    def say(event: Event) -> None:
        voice.write(f"{line_of(event, server)}\n")

    def say_over() -> None:
        voice.write(f"{server.wire.now()} the market is over: prices stand still from now on\n")

    if not as_json:
        server.wire.on_event, server.wire.on_over = say, say_over
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    try:
        addresses = await server.start()
    except OSError as error:
        raise InputError(
            f"expected free ports, was: {error.strerror or error}; end the program that has it, or "
            "give another --futures-port, --spot-port or --control-port, 0 for a free one"
        ) from None
    told = json.dumps(addresses)
    if not as_json:
        words = " ".join(f"{name} {addresses[name]} " for name in ("futures", "spot", "control"))
        told = f"{words} ({server.options.source.label})"
    voice.write(f"{told}\n")
    await server.serve(ended)
    return 0


def line_of(event: Event, server: Server) -> str:
    """Return one line for a person about what happened to the account."""
    account, symbols = server.wire.account, server.wire.market.symbols
    match event:
        case OrderFilled(client_id=name, contracts=contracts, price=price):
            order = account.orders[name]
            what = f"{side_word(order.side)} {contracts:g} at {decimal_text(price)}"
            return f"{event.now_ms} fill {order.name} {what} {order.client_oid}"
        case OrderAccepted(client_id=name) | OrderCancelled(client_id=name):
            order = account.orders[name]
            word = "open" if isinstance(event, OrderAccepted) else "cancelled"
            what = f"{side_word(order.side)} {order.size} {order.role.value}"
            return f"{event.now_ms} {word} {order.name} {what} {order.client_oid}"
        case OrderRejected(client_id=name, message=message):
            return f"{event.now_ms} refused {account.orders[name].client_oid}: {message}"
        case FundingSettled(symbol=k, amount=amount):
            return f"{event.now_ms} funding {symbols[k]} {amount:+.4f} USDT"
        case Liquidated(symbol=k, contracts=contracts, price=price, way=way):
            return f"{event.now_ms} {way.value} {symbols[k]} {contracts:g} at {decimal_text(price)}"
    return f"{event.now_ms} {type(event).__name__}"
