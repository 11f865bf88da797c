"""`/metrics` and `/healthz` from threads of their own, which a stuck loop cannot stop.

The collector reads one object that the loop publishes by plain assignment: no lock is shared. The
table below is the list of all metrics; what is published and what is listed must agree.
"""

import errno
import json
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, override

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bot.core.errors import BotError, InputError

log = logging.getLogger("radbot")
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MOST_CLIENTS = 32
"""more at once are hung up on: any user of the host may come here, and threads and handles are
those of the bot"""
CLIENT_S = 5.0
"""a client that is not done after so long is hung up on, however busily it sends"""
NO_HANDLE_S = 0.1
"""pause where no handle is left for a client: it stays there, and would be asked for at once"""
Samples = Mapping[tuple[str, ...], float]

# name without the prefix: (type, labels, help). Base units; a share is a ratio from 0 to 1.
TABLE: dict[str, tuple[str, tuple[str, ...], str]] = {
    "build_info": (
        "gauge",
        ("version", "release_id", "content_hash", "config_hash", "python", "trading"),
        "What runs, with paper or live money; always 1.",
    ),
    "start_time_seconds": ("gauge", (), "When the process started, Unix time."),
    "resident_memory_bytes": ("gauge", (), "Resident memory of the process."),
    "memory_limit_bytes": ("gauge", (), "Resident memory above which the process restarts."),
    "ready": ("gauge", (), "1 when recovery is over and the loop may enter positions."),
    "loop_age_seconds": (
        "gauge",
        (),
        "Since the loop drew this picture; what else is here is of then, and ages grow with it.",
    ),
    "mode": ("gauge", ("mode",), "1 for the operating mode in force."),
    "cause_active": ("gauge", ("cause",), "1 for each cause that holds the bot back."),
    "latched": ("gauge", (), "1 while the kill switch is latched."),
    "cycles_total": ("counter", (), "Decision cycles since the account was opened."),
    "events_total": ("counter", (), "Events taken by this process."),
    "last_cycle_timestamp_seconds": ("gauge", (), "When the last cycle was decided, Unix time."),
    "last_account_timestamp_seconds": ("gauge", (), "When the account was read last, Unix time."),
    "reconcile_age_seconds": (
        "gauge",
        (),
        "Since the books were last compared with a whole read of the account.",
    ),
    "market_time_seconds": ("gauge", (), "Exchange time of the newest event, Unix time."),
    "data_age_seconds": ("gauge", (), "Exchange time since the newest bar with prices ended."),
    "exchange_connected": (
        "gauge",
        ("channel",),
        "1 while requests (rest) are answered, or the WebSocket is there, where one is wanted.",
    ),
    "websocket_push_age_seconds": (
        "gauge",
        (),
        "Since the newest push of the WebSocket; absent before the first.",
    ),
    "request_budget_ratio": (
        "gauge",
        (),
        "Share of the request budget that is left; absent without line.",
    ),
    "clock_offset_seconds": ("gauge", (), "Exchange clock minus host clock; absent without line."),
    "order_latency_seconds": ("gauge", (), "From sending the last answered order to its answer."),
    "order_answers_total": ("counter", (), "Orders of this process that were answered."),
    "order_wait_seconds_total": ("counter", (), "Time waited for those answers, all together."),
    "journal_commits_total": ("counter", (), "Commits of this process."),
    "journal_commit_seconds_total": ("counter", (), "Time spent in commits."),
    "journal_pending_rows": ("gauge", (), "Outcomes that could not be written yet."),
    "journal_writable": ("gauge", (), "0 while the journal cannot be written."),
    "outbox_waiting": ("gauge", (), "Messages that could not be written yet."),
    "watchdog_pings_total": ("counter", (), "Pings to the service manager."),
    "equity_usdt": ("gauge", (), "Wallet and unrealised profit."),
    "wallet_usdt": ("gauge", (), "Equity without unrealised profit."),
    "day_start_equity_usdt": ("gauge", (), "Equity at 00:00 UTC."),
    "daily_loss_ratio": ("gauge", (), "Loss since 00:00 UTC, share of that equity."),
    "drawdown_ratio": ("gauge", (), "Loss from the peak of equity."),
    "max_drawdown_ratio": ("gauge", (), "Largest drawdown so far."),
    "fast_drawdown_ratio": ("gauge", (), "Loss from the peak inside the fast window."),
    "unrealised_profit_usdt": ("gauge", (), "Profit of open positions at the marks."),
    "total_profit_usdt": ("gauge", (), "Equity less deposits."),
    "realised_profit_usdt": ("gauge", (), "Profit of closed positions before fees and funding."),
    "fees_paid_usdt": ("gauge", (), "Fees paid."),
    "funding_received_usdt": ("gauge", (), "Funding received; negative when paid."),
    "open_positions": ("gauge", (), "Positions held."),
    "position_contracts": ("gauge", ("symbol",), "Contracts held; negative is short."),
    "position_notional_usdt": ("gauge", ("symbol",), "Value of the position at the mark."),
    "position_entry_price_usdt": ("gauge", ("symbol",), "Average entry price; 0 without one."),
    "position_cap_ratio": (
        "gauge",
        ("symbol",),
        "Value of the position as a share of the most it may be; above 1 is too large.",
    ),
    "position_unrealised_usdt": ("gauge", ("symbol",), "Profit of the position at the mark."),
    "mark_price_usdt": ("gauge", ("symbol",), "Mark price."),
    "uncovered_seconds": ("gauge", ("symbol",), "How long the position has had no full stop."),
    "symbol_locked": ("gauge", ("symbol",), "1 while the symbol takes no new risk."),
    "unprotected_seconds": ("gauge", (), "The longest of the uncovered times."),
    "trades_total": ("counter", (), "Finished trades since the account was opened."),
    "win_rate_ratio": ("gauge", ("window",), "Share of winners; absent without trades."),
    "trade_duration_average_seconds": ("gauge", (), "Average of the last 20 trades."),
    "sharpe_ratio": ("gauge", (), "From daily equity, 365 days, risk-free 0; absent under 2 days."),
    "orders_total": (
        "counter",
        ("role", "outcome"),
        "Orders of this process by what was heard of them; each part of a fill counts.",
    ),
    "errors_total": ("counter", ("kind",), "Errors of this process by kind."),
    "errors_last_hour": ("gauge", (), "Exchange errors within the last hour, 11 at most."),
    "collisions_total": ("counter", ("kind",), "Collisions of strategies by kind."),
    "collisions_unresolved_total": ("counter", (), "Must be 0 always."),
}
AGES = ("reconcile_age_seconds", "data_age_seconds", "websocket_push_age_seconds")
UNCOVERED = ("uncovered_seconds", "unprotected_seconds")
"""ages, where they are not 0"""


class PortTakenError(BotError):
    """Another program has the port. Exit code 75: a service is started again, because positions
    must not wait for a person to find out."""

    exit_code = 75


@dataclass(frozen=True, slots=True)
class Published:
    """One picture of the bot: samples by metric name, each by its label values, and its health."""

    samples: Mapping[str, Samples] = field(default_factory=dict)
    health: Mapping[str, Any] = field(default_factory=dict)
    at: float = 0.0
    """monotonic, seconds"""


def at_age(samples: Mapping[str, Samples], age: float, stalled_s: float) -> dict[str, Samples]:
    """Return what a picture of `age` seconds says now: a loop that hangs cannot draw that it does.

    >>> at_age({"reconcile_age_seconds": {(): 1.0}, "ready": {(): 1.0}}, 30.0, 20.0)["ready"]
    {(): 0.0}
    """
    now: dict[str, Samples] = {**samples, "loop_age_seconds": {(): age}}
    for name in (*AGES, *UNCOVERED):
        now[name] = {
            labels: seconds + age if seconds > 0.0 or name in AGES else seconds
            for labels, seconds in samples.get(name, {}).items()
        }
    if age > stalled_s:
        now["ready"] = {(): 0.0}
    return now


class PublishedCollector(Collector):
    """Turns the newest picture into metric families."""

    def __init__(
        self, read: Callable[[], Published], monotonic: Callable[[], float], stalled_s: float
    ) -> None:
        self.read, self.monotonic, self.stalled_s = read, monotonic, stalled_s

    def collect(self) -> Iterable[Metric]:
        picture = self.read()
        samples = at_age(picture.samples, self.monotonic() - picture.at, self.stalled_s)
        for name, (kind, labels, text) in TABLE.items():
            build = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
            family = build(f"radbot_{name}", text, labels=labels)
            for values, number in samples.get(name, {}).items():
                family.add_metric(values, number)
            yield family


class _Handler(BaseHTTPRequestHandler):
    timeout = CLIENT_S
    server: "MetricsServer"

    def do_GET(self) -> None:
        if self.path == "/metrics":
            self.reply(200, CONTENT_TYPE, generate_latest(self.server.registry))
        elif self.path == "/healthz":
            code, body = self.server.health()
            self.reply(code, "application/json", json.dumps(body).encode() + b"\n")
        else:
            self.reply(404, "text/plain", b"expected /metrics or /healthz\n")

    def reply(self, code: int, kind: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep scrapes out of the log."""


class MetricsServer(ThreadingHTTPServer):
    """Serves until `close`. `port` is the real one when 0 was asked for."""

    daemon_threads = True
    request_queue_size = MOST_CLIENTS

    def __init__(
        self,
        host: str,
        port: int,
        read: Callable[[], Published],
        monotonic: Callable[[], float],
        stalled_s: float,
    ) -> None:
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            kind = PortTakenError if error.errno == errno.EADDRINUSE else InputError
            raise kind(
                f"metrics: expected a free port on {host}, was {port}: {error.strerror}; "
                "give --metrics-port N"
            ) from error
        self.clients: dict[socket.socket, float] = {}
        """who is being served, and since when (monotonic)"""
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(PublishedCollector(read, monotonic, stalled_s))
        self.read, self.monotonic, self.stalled_s = read, monotonic, stalled_s
        self.port: int = self.server_address[1]
        threading.Thread(target=self.serve_forever, name="metrics", daemon=True).start()

    def health(self) -> tuple[int, dict[str, Any]]:
        """Return the status code and the body of /healthz."""
        picture = self.read()
        age = self.monotonic() - picture.at
        stalled = age > self.stalled_s
        ready = bool(picture.health.get("ready")) and not stalled
        body = {**picture.health, "ready": ready, "stalled": stalled, "age_s": round(age, 3)}
        return (200 if ready else 503), body

    @override
    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            return super().get_request()
        except OSError:
            time.sleep(NO_HANDLE_S)
            raise

    @override
    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Return whether there is room for one more; it is hung up on otherwise."""
        return len(self.clients) < MOST_CLIENTS

    @override
    def process_request(self, request: Any, client_address: Any) -> None:
        self.clients[request] = time.monotonic()
        super().process_request(request, client_address)

    @override
    def shutdown_request(self, request: Any) -> None:
        self.clients.pop(request, None)
        super().shutdown_request(request)

    @override
    def service_actions(self) -> None:
        """Hang up on who takes too long; called about twice a second, and for each client."""
        oldest = time.monotonic() - CLIENT_S
        for client, since in list(self.clients.items()):
            if since < oldest:
                with suppress(OSError):  # its thread was faster
                    client.shutdown(socket.SHUT_RDWR)

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what went wrong, unless it is only a client that went away."""
        if not isinstance(sys.exception(), OSError):
            log.exception("metrics: a request has failed")

    def close(self) -> None:
        """Stop serving."""
        self.shutdown()
        self.server_close()
