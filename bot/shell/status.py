"""What the bot says of itself: one description for CLI, health page and dashboard, of a live State
or of one that was read from the journal.

Money is USDT, prices USDT per base coin, times ms UTC, drawdown and daily loss fractions of equity.
"""

from typing import Any

from bot.core.kernel.accounting import wallet
from bot.core.kernel.codes import FLAT, MODE_NAMES, SIDE_NAMES
from bot.core.kernel.records import Account, Position
from bot.core.orders import Order
from bot.core.owners import strategy_name
from bot.core.state import State
from bot.core.summary import collisions_by_kind

type Plain = dict[str, Any]

ACCOUNT_KEYS = (
    "now_ms", "mode", "equity", "wallet", "unrealised", "deposits", "realised", "fees", "funding",
    "peak_equity", "day_equity", "drawdown", "max_drawdown", "daily_loss",
)  # fmt: skip
POSITION_KEYS = ("now_ms", "mode", "positions", "orders", "locked", "unprotected_seconds")


def describe(state: State) -> Plain:
    """Return everything a person may ask about `state`, as plain data that shares nothing with it.

    Costs some ten microseconds and a few for each position and order: the loop calls it every turn.
    Of a contract whose size is not known (multiplier 0: a journal that does not say) the figures
    that need it are None.
    """
    account = state.world.account
    positions = [
        describe_position(state, k, pos)
        for k, pos in enumerate(state.world.positions)
        if pos.side != FLAT
    ]
    gains = [p["unrealised"] for p in positions]
    uncovered = [guard.uncovered_since for guard in state.guards if guard.uncovered_since]
    return {
        "symbols": list(state.symbols),
        "mode": state.modes.name,
        "causes": [
            {
                "cause": cause.label,
                "since_ms": since,
                "mode": MODE_NAMES[cause.mode],
                "cleared_by": cause.clearer.value,
            }
            for cause, since in state.modes.causes.items()
        ],
        "now_ms": state.now_ms,
        "decided_ms": state.decided_ms,
        "cycles": account.cycles,
        **describe_account(account),
        "unrealised": None if None in gains else sum(gains),
        "positions": positions,
        "orders": [describe_order(state, order) for order in state.orders.values()],
        "locked": [
            name
            for name, seen in zip(state.symbols, state.world.symbols, strict=True)
            if seen.locked
        ],
        "unprotected_seconds": (state.now_ms - min(uncovered)) / 1000 if uncovered else 0.0,
        "trades": account.trades,
        "collisions": {
            **collisions_by_kind(account),
            "unresolved": account.collisions_unresolved,
        },
    }


def describe_account(account: Account) -> Plain:
    """Return the money; equity, drawdown and daily loss are those of the last cycle."""
    return {
        "equity": account.equity,
        "peak_equity": account.peak_equity,
        "day_equity": account.day_equity,
        "drawdown": account.drawdown,
        "max_drawdown": account.max_drawdown,
        "daily_loss": account.daily_loss,
        "wallet": wallet(account),
        "deposits": account.deposits,
        "realised": account.realised,
        "fees": account.fees,
        "funding": account.funding,
    }


def describe_position(state: State, k: int, pos: Position) -> Plain:
    """Return the position on symbol `k`, which is not flat."""
    world = state.world
    mark = world.symbols[k].mark
    quantity = pos.contracts * world.specs[k].multiplier or None
    known = pos.strategy < len(world.strategies)
    return {
        "symbol": state.symbols[k],
        "side": SIDE_NAMES[pos.side],
        "contracts": pos.contracts,
        "quantity": quantity,
        "notional": None if quantity is None else quantity * mark,
        "entry_price": pos.entry_price,
        "mark": mark,
        "unrealised": None if quantity is None else pos.side * (mark - pos.entry_price) * quantity,
        "stop_price": pos.stop_price,
        "target_price": pos.target_price,
        "liquidation_price": pos.liquidation_price,
        "strategy": strategy_name(world.strategies[pos.strategy]) if known else None,
        "entry_time": pos.entry_time,
        "covered": state.covered(k),
        "leverage": pos.leverage,
    }


def describe_order(state: State, order: Order) -> Plain:
    """Return an order that may still trade."""
    request = order.request
    return {
        "client_id": request.client_id,
        "symbol": state.symbols[request.symbol],
        "role": request.role.value,
        "side": "buy" if request.side > 0 else "sell",
        "contracts": request.contracts,
        "filled": order.filled,
        "price": request.price,
        "status": order.status.value,
    }


def select(command: str, described: Plain) -> Plain:
    """Return the part of a description that `status`, `positions` or `balance` asks for."""
    if command == "status":
        return described
    keys = POSITION_KEYS if command == "positions" else ACCOUNT_KEYS
    return {key: described[key] for key in keys}
