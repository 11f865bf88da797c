"""Counts what happens and draws the picture that metrics and health show. Memory is bounded."""

import math
import os
import platform
import resource
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from bot.adapters.line_state import LineState
from bot.adapters.metrics import Published
from bot.core.kernel.codes import FLAT, MODE_NAMES
from bot.core.kernel.records import Trade
from bot.core.kernel.sizing import position_cap
from bot.core.market import DAY_MS
from bot.core.messages import (
    Cycle,
    Effect,
    Event,
    History,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    PlaceOrder,
    Role,
    TradeClosed,
)
from bot.core.modes import Cause
from bot.core.observations import OutcomeUnknown
from bot.core.performance import sharpe_ratio
from bot.core.state import ERROR_WINDOW_MS, State
from bot.shell.status import describe

WINDOWS = (10, 20)
KINDS = (
    *("timeout", "unreachable", "rejected", "rate_limited", "clock", "journal", "malformed"),
    "other",
)
OUTCOMES = {
    PlaceOrder: "placed",
    OrderAccepted: "accepted",
    OrderRejected: "rejected",
    OrderFilled: "filled",
    OrderCancelled: "cancelled",
    OutcomeUnknown: "unknown",
}
DENIED = "denied"
"""the outcome of an order that never left: it waited for no answer"""
DAYS = 400  # daily equities kept for the Sharpe ratio
MOST_SENT = 1_000
ONE = ()
"""the label values of a metric without labels"""


def resident_bytes() -> int:
    """Return the resident memory of this process.

    Its own measurement, because the sandbox of the service hides what monitoring would read.
    """
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not Linux: the peak has to do
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class Telemetry:
    """Fed by the loop; `latest` is read by other threads."""

    def __init__(
        self, identity: dict[str, str], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`identity` has version, release_id, content_hash, config_hash, trading and run_id."""
        self.identity = identity
        self.monotonic = monotonic
        self.started_s = time.time()
        self.latest = Published(at=monotonic())
        self.orders = {(role.value, o): 0 for role in Role for o in (*OUTCOMES.values(), DENIED)}
        self.errors = dict.fromkeys(KINDS, 0)
        self.pnls: deque[float] = deque(maxlen=max(WINDOWS))
        self.durations: deque[float] = deque(maxlen=max(WINDOWS))
        self.daily: deque[float] = deque(maxlen=DAYS)
        self.events = self.commits = self.wins = self.losses = self.pending = 0
        self.commit_s = self.cycle_s = self.account_s = 0.0
        self.latency_s = self.waited_s = 0.0
        self.read_at = monotonic()
        """when the books were last compared with the account; before, when the process began"""
        self.data_ms = 0
        """end of the newest bar with prices, 0 before the first"""
        self.answers = 0
        self.sent: dict[str, float] = {}
        """orders without an answer, and when they went out (monotonic); the newest MOST_SENT"""
        self.writable = True

    def restore(
        self,
        trades: Sequence[Trade],
        daily: Sequence[tuple[int, float]],
        counts: tuple[int, int],
    ) -> None:
        """Take in what earlier processes left in the journal: the newest trades, the equities of
        days, and how many of all trades have won and have not."""
        for trade in trades:
            self._add_trade(trade)
        self.wins, self.losses = counts
        self.daily.extend(equity for _, equity in daily)

    def saw(self, event: Event, effects: Sequence[Effect], state: State) -> None:
        """Count one event and its effects."""
        self.events += 1
        outcome = OUTCOMES.get(type(event))
        if isinstance(event, OrderRejected):
            if event.local:
                outcome = DENIED
                self.sent.pop(event.client_id, None)
            else:
                self.errors["rejected"] += 1
        if outcome is not None:
            self._answered(str(getattr(event, "client_id", "")), outcome)
        if isinstance(event, Cycle | History):
            self._saw_bars(event, state)
        for effect in effects:
            if isinstance(effect, PlaceOrder):
                self.sent[effect.client_id] = self.monotonic()
                if len(self.sent) > MOST_SENT:
                    self.sent.pop(next(iter(self.sent)))
                self.orders[effect.role.value, OUTCOMES[PlaceOrder]] += 1
            elif isinstance(effect, TradeClosed):
                self._add_trade(effect.trade)

    def _saw_bars(self, event: Cycle | History, state: State) -> None:
        if any(event.bars):
            self.data_ms = max(self.data_ms, event.now_ms)
        if isinstance(event, Cycle):
            self.cycle_s = time.time()
            if event.now_ms % DAY_MS == 0:
                self.daily.append(state.world.account.equity)

    def _answered(self, client_id: str, outcome: str) -> None:
        """Count what became of an order, and how long its first answer took."""
        role = client_id.rpartition("-")[2]
        if (role, outcome) in self.orders:
            self.orders[role, outcome] += 1
        sent = self.sent.pop(client_id, None)
        if sent is not None:
            self.latency_s = self.monotonic() - sent
            self.waited_s += self.latency_s
            self.answers += 1

    def _add_trade(self, trade: Trade) -> None:
        self.pnls.append(trade.pnl)
        self.durations.append((trade.exit_time - trade.entry_time) / 1000.0)
        if trade.pnl > 0.0:
            self.wins += 1
        else:
            self.losses += 1

    def error(self, kind: str) -> None:
        """Count an error of one of the known kinds."""
        self.errors[kind if kind in self.errors else "other"] += 1

    def commit(self, seconds: float, writable: bool, pending: int) -> None:
        """Count a commit and note how the journal is."""
        self.commits += 1
        self.commit_s += seconds
        self.writable, self.pending = writable, pending

    def account_read(self) -> None:
        """Note that the account was read, and the books compared with it."""
        self.account_s = time.time()
        self.read_at = self.monotonic()

    def publish(
        self, state: State, ready: bool, extra: dict[str, float], line: LineState | None = None
    ) -> dict[str, Any]:
        """Draw a new picture; return the description of the state that is in it."""
        told = describe(state)
        numbers = self._numbers(told) | extra
        samples: dict[str, Mapping[Any, float]] = {name: {ONE: n} for name, n in numbers.items()}
        account = state.world.account
        samples["fast_drawdown_ratio"] = {ONE: account.fast_drawdown}
        samples["collisions_unresolved_total"] = {ONE: float(account.collisions_unresolved)}
        recent = [t for t in state.error_times if t > state.now_ms - ERROR_WINDOW_MS]
        samples["errors_last_hour"] = {ONE: float(len(recent))}
        samples["ready"] = {ONE: float(ready)}
        labelled = self._labelled(state, told)
        health = {
            **self.identity,
            "mode": told["mode"],
            "causes": [cause["cause"] for cause in told["causes"]],
            "ready": ready,
            "cycles": told["cycles"],
            "positions": len(told["positions"]),
            "unprotected_seconds": told["unprotected_seconds"],
        }
        samples |= line_samples(state, line)
        self.latest = Published({**samples, **labelled}, health, self.monotonic())
        return told | {"run_id": self.identity["run_id"], "ready": ready}

    def _numbers(self, told: dict[str, Any]) -> dict[str, float]:
        """Return the metrics without labels."""
        numbers = {
            "start_time_seconds": self.started_s,
            "resident_memory_bytes": float(resident_bytes()),
            "cycles_total": told["cycles"],
            "events_total": self.events,
            "last_cycle_timestamp_seconds": self.cycle_s,
            "last_account_timestamp_seconds": self.account_s,
            "reconcile_age_seconds": self.monotonic() - self.read_at,
            "order_latency_seconds": self.latency_s,
            "order_answers_total": self.answers,
            "order_wait_seconds_total": self.waited_s,
            "market_time_seconds": told["now_ms"] / 1000.0,
            "journal_commits_total": self.commits,
            "journal_commit_seconds_total": self.commit_s,
            "journal_pending_rows": self.pending,
            "journal_writable": float(self.writable),
            "equity_usdt": told["equity"],
            "wallet_usdt": told["wallet"],
            "day_start_equity_usdt": told["day_equity"],
            "daily_loss_ratio": told["daily_loss"],
            "drawdown_ratio": told["drawdown"],
            "max_drawdown_ratio": told["max_drawdown"],
            "unrealised_profit_usdt": told["unrealised"],
            "total_profit_usdt": told["equity"] - told["deposits"],
            "realised_profit_usdt": told["realised"],
            "fees_paid_usdt": told["fees"],
            "funding_received_usdt": told["funding"],
            "open_positions": len(told["positions"]),
            "unprotected_seconds": told["unprotected_seconds"],
            "trades_total": told["trades"],
        }
        if self.durations:
            numbers["trade_duration_average_seconds"] = sum(self.durations) / len(self.durations)
        if len(self.daily) > 1:
            daily = list(self.daily)
            returns = [b / a - 1.0 for a, b in pairwise(daily) if a > 0.0]
            if (sharpe := sharpe_ratio(returns)) is not None:
                numbers["sharpe_ratio"] = sharpe
        return numbers

    def _labelled(self, state: State, told: dict[str, Any]) -> dict[str, dict[Any, float]]:
        """Return the metrics with labels; every label value is there from the first picture on."""
        causes = state.modes.causes
        held = {position["symbol"]: position for position in told["positions"]}
        names = state.symbols
        account = state.world.account
        python = platform.python_version()
        identity = self.identity
        build = [identity[n] for n in ("version", "release_id", "content_hash", "config_hash")]
        rates: dict[Any, float] = {}
        for window in WINDOWS:
            last = list(self.pnls)[-window:]
            if last:
                rates[str(window),] = sum(pnl > 0.0 for pnl in last) / len(last)
        if self.wins + self.losses:
            rates["all",] = self.wins / (self.wins + self.losses)
        return {
            "build_info": {(*build, python, identity["trading"]): 1.0},
            "mode": {(name,): float(told["mode"] == name) for name in MODE_NAMES.values()},
            "cause_active": {(cause.label,): float(cause in causes) for cause in Cause},
            "position_contracts": {
                (name,): pos.side * pos.contracts
                for name, pos in zip(names, state.world.positions, strict=True)
            },
            "position_notional_usdt": {
                (n,): held[n]["notional"] if n in held else 0.0 for n in names
            },
            "position_entry_price_usdt": {
                (name,): pos.entry_price if pos.side != FLAT else 0.0
                for name, pos in zip(names, state.world.positions, strict=True)
            },
            "position_cap_ratio": {
                (n,): share_of_cap(state, held[n]["notional"]) if n in held else 0.0 for n in names
            },
            "position_unrealised_usdt": {
                (n,): held[n]["unrealised"] if n in held else 0.0 for n in names
            },
            "mark_price_usdt": {
                (name,): symbol.mark
                for name, symbol in zip(names, state.world.symbols, strict=True)
            },
            "uncovered_seconds": {
                (name,): (state.now_ms - guard.uncovered_since) / 1000.0
                if guard.uncovered_since and state.world.positions[k].side != FLAT
                else 0.0
                for k, (name, guard) in enumerate(zip(names, state.guards, strict=True))
            },
            "symbol_locked": {
                (name,): float(symbol.locked)
                for name, symbol in zip(names, state.world.symbols, strict=True)
            },
            "win_rate_ratio": rates,
            "orders_total": dict(self.orders),
            "errors_total": {(kind,): count for kind, count in self.errors.items()},
            "collisions_total": {
                ("opposite",): account.collisions_opposite,
                ("owned",): account.collisions_owned,
                ("cap",): account.collisions_cap,
                ("correlated",): account.collisions_correlated,
            },
        }


def line_samples(state: State, line: LineState | None) -> dict[str, dict[Any, float]]:
    """Return the metrics of the line to the exchange, as far as there is one."""
    connected: dict[Any, float] = {
        ("rest",): float(Cause.EXCHANGE_UNREACHABLE not in state.modes.causes)
    }
    samples: dict[str, dict[Any, float]] = {"exchange_connected": connected}
    if line is None:
        return samples
    samples["request_budget_ratio"] = {ONE: line.budget}
    samples["clock_offset_seconds"] = {ONE: line.clock_offset_s}
    if line.pushing is not None:
        connected["websocket",] = float(line.pushing)
    if line.push_age_s is not None:
        samples["websocket_push_age_seconds"] = {ONE: line.push_age_s}
    return samples


def share_of_cap(state: State, notional: float) -> float:
    """Return a position's value as a share of the most it may be in the present tier."""
    world = state.world
    cap = position_cap(world.account.equity, world.tiers[max(world.account.tier, 0)])
    return notional / cap if cap > 0.0 else math.inf
