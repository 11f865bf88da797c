"""The live path measured over real sockets against the wire simulator, on loopback: from a closed
bar to the order on the wire, from start to READY, and resident memory.

The simulator is a process of its own. For latency its clock is moved by hand, so that nothing but
the bot's own work lies between the last answer about the bars and the first byte of the order.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import aiohttp

from bot.adapters.kucoin_client import KucoinClient
from bot.adapters.kucoin_site import Credentials, Site
from bot.adapters.token_bucket import TokenBucket
from bot.adapters.wire_thread import WireThread
from bot.core.messages import Cycle, Event
from bot.shell.assemble import Bot, begin_run, open_base
from bot.shell.config import load_config
from bot.shell.exchange_line import Line
from bot.shell.live import assemble
from bot.shell.stop import Stop
from ops.exchange.hand_clock import HandClock
from ops.research.bench_backtest import SYMBOLS
from ops.research.bench_process import MEMORY, ROOT, environment, resident_mb
from ops.research.bench_table import (
    Budget,
    NotMeasuredError,
    Row,
    Section,
    Spread,
    percentile,
    spread,
)

LATENCY = Budget(10.0, at_least=False)
READY = Budget(5.0, at_least=False)
KEYS = Credentials("bench-key", "bench-secret", "bench-passphrase")
HISTORY = 800
PATIENCE = 1_000  # looks at the wire until it is at rest
BUDGET = 10**9  # of requests: market time passes faster than the real one
SETTINGS = (
    f"symbols={json.dumps(list(SYMBOLS))}",
    "warmup_bars=60",
    "regime.slow=60",
    "stops.trail_start=0",
    "stops.atr=1.0",
    "exchange.websocket=false",
    *("momentum.period=8", "momentum.entry=0.5", "reversion.period=8", "reversion.entry=1.0"),
)
"""many orders in few bars"""


@contextmanager
def simulator(*words: str) -> Iterator[dict[str, Any]]:
    """Yield the addresses of a simulator that runs as long as the block."""
    keys = ["--key", KEYS.key, "--secret", KEYS.secret, "--passphrase", KEYS.passphrase]
    ports = ["--futures-port", "0", "--spot-port", "0", "--control-port", "0"]
    names = ["--symbols", ",".join(SYMBOLS), "--history", str(HISTORY), "--seed", "1"]
    command = [sys.executable, "-m", "ops", "exchange", "--json", *ports, *keys, *names, *words]
    with subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise NotMeasuredError("the wire simulator did not start")
            yield json.loads(line)
        finally:
            process.terminate()


def advance(control: str, by_ms: int) -> int:
    """Let market time pass; return it."""
    body = json.dumps({"by_ms": by_ms}).encode()
    request = urllib.request.Request(f"{control}/control/advance", body, method="POST")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return int(json.loads(answer.read())["now_ms"])


class Unlimited(TokenBucket):
    """A budget that the exchange does not cut to its own: market time passes in no time here."""

    def told(self, limit: int, remaining: int, reset_ms: int, *, public: bool = False) -> None:
        """Take no notice of what the headers of an answer say."""


class Stopwatch:
    """Notes when each decision began, and when the first of its orders was on the wire."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.decided: float | None = None
        self.milliseconds: list[float] = []

    def watch(self, bot: Bot[Any], session: aiohttp.ClientSession) -> None:
        """Look at the bars of a venue and at the requests of its session."""
        feed = bot.venue.bars_feed
        poll = feed.poll

        def timed(now: int) -> Event | None:
            event: Event | None = poll(now)
            if isinstance(event, Cycle):
                self.decided = self.clock()
            return event

        feed.poll = timed
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(self.sent)
        trace.freeze()
        session._trace_configs.append(trace)

    async def sent(self, _session: object, _context: object, what: Any) -> None:
        """The head of a request has been written to its socket."""
        if what.method == "POST" and what.url.path.endswith("/orders") and self.decided is not None:
            self.milliseconds.append((self.clock() - self.decided) * 1000.0)
            self.decided = None


def latencies(
    bars: int, say: Callable[[str], None], seconds: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Return the milliseconds from closed bar to order on the wire, over so many bars."""
    with simulator("--speed", "step", "--depth", "1000000") as at, Stop() as stop:
        urls = [f"exchange.futures_url={at['futures']}", f"exchange.spot_url={at['spot']}"]
        config = load_config(None, [*SETTINGS, *urls])
        clock = HandClock(int(at["now_ms"]))
        wire = WireThread()
        site = Site(at["futures"], at["spot"])
        client = KucoinClient(site, KEYS, clock, Unlimited(BUDGET))
        wire.run(client.open(), 5.0)
        line = Line(wire, client, clock, site, clock.seconds)
        with tempfile.TemporaryDirectory() as folder:
            os.environ["RADBOT_LOCK_DIR"] = folder
            base = open_base(Path(folder, "s"), KEYS.key, durable=True)
            bot = assemble(config, KEYS, base, line, None, stop)
            begin_run(bot, config, {})
            journal(bot)
            try:
                bot.recover(config, clock.now())
                watch = Stopwatch(seconds)
                assert client.session is not None
                watch.watch(bot, client.session)
                for number in range(bars):
                    say(f"bar {number} of {bars}: latency")
                    play_bar(bot, clock, at["control"], stop)
            finally:
                bot.close(clean=True)
    return watch.milliseconds


def journal(bot: Bot[Any]) -> None:
    """Let the engine commit durably, as the daemon does."""

    def commit(outcomes: Any, state: Any) -> bool:
        bot.journal.commit(outcomes, state)
        return True

    bot.engine.commit = commit


def play_bar(bot: Bot[Any], clock: HandClock, control: str, stop: Stop) -> None:
    """Go to the next closed bar, decide, and let what follows from it settle."""
    due = bot.venue.bars_feed.begins_ms() - clock.now()
    for by_ms in (max(1, due), 300, 700, 1_500):
        clock.now_ms = advance(control, by_ms)
        for _ in range(PATIENCE):
            bot.engine.pump(clock.now())
            bot.engine.audit(clock.now())
            if bot.venue.idle() and not bot.venue.answers and bot.venue.read.pending is None:
                break
            stop.wait(0.05)
    bot.journal.cut_log()


def seconds_to_ready(folder: Path, at: dict[str, Any]) -> tuple[float, subprocess.Popen[bytes]]:
    """Start `radbot live` as an operator does; return how long until READY, and the process."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        address = folder / "n"
        address.unlink(missing_ok=True)
        manager.bind(str(address))
        manager.settimeout(60.0)
        words = ["--exchange", at["futures"], at["spot"], "--credentials", str(folder / "keys")]
        words += ["--state", str(folder / "s"), "--yes", "--json", "--metrics-port", "0"]
        sets = [f"--set={setting}" for setting in SETTINGS if "websocket" not in setting]
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "bot", "live", *words, *sets],
            cwd=folder,
            env={
                **environment(str(folder)),
                "NOTIFY_SOCKET": str(address),
                "RADBOT_LOCK_DIR": str(folder),
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while manager.recv(4096) != b"READY=1":
                pass
        except TimeoutError as error:
            process.kill()
            raise NotMeasuredError("radbot live was not ready within 60 s") from error
        return time.perf_counter() - began, process


def process_rows(starts: int, steady_s: float, say: Callable[[str], None]) -> list[Row]:
    """Measure a real process: its starts, and its memory with the live adapter loaded."""
    ready: list[float] = []
    with simulator("--speed", "1") as at, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "keys").mkdir(mode=0o700)
        for part, value in zip(("key", "secret", "passphrase"), KEYS_TEXT, strict=True):
            path = folder / "keys" / f"kucoin_{part}"
            path.write_text(value, encoding="ascii")
            path.chmod(0o600)
        for number in range(starts + 1):
            say(f"start {number} of {starts}: radbot live")
            seconds, process = seconds_to_ready(folder, at)
            if number > 0:  # the first one writes the bytecode and founds the account
                ready.append(seconds)
            if number < starts:
                process.terminate()
                process.wait(timeout=30)
        say(f"radbot live for {steady_s:g} s")
        found = []
        for _ in range(2):
            time.sleep(steady_s / 2)
            found.append(resident_mb(process.pid))
        process.terminate()
        process.wait(timeout=30)
    half, end = found
    grown = f"ten symbols; {end - half:+.1f} MB in the second half of {steady_s:g} s"
    return [
        Row("radbot live, start to READY", "s", spread(ready), READY, "account checked, recovered"),
        Row("radbot live, resident", "MB", Spread(end, half, end, 2), MEMORY, grown),
    ]


KEYS_TEXT = (KEYS.key, KEYS.secret, KEYS.passphrase)


def live_section(quick: bool, say: Callable[[str], None]) -> Section:
    """Measure the live path."""
    bars, starts, steady_s = (20, 1, 4.0) if quick else (400, 5, 60.0)
    found = sorted(latencies(bars, say))
    if not found:
        raise NotMeasuredError("no order was sent")
    remark = f"{len(found)} orders over {bars} bars of ten symbols, durable commits"
    rows = [
        Row("closed bar to order on the wire, p50", "ms", spread([percentile(found, 0.5)])),
        Row(
            "closed bar to order on the wire, p99",
            "ms",
            spread([percentile(found, 0.99)]),
            LATENCY,
            remark,
        ),
    ]
    try:
        rows += process_rows(starts, steady_s, say)
    except NotMeasuredError as reason:
        rows.append(Row("radbot live", "s", None, READY, str(reason)))
    return Section("the live path over the wire simulator, loopback", rows)
