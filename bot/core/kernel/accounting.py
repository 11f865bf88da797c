"""Fills, funding, equity and finished trades, booked on two paths that must agree.

Path one keeps what people ask for: deposits, realised profit, fees, funding, and the unrealised
profit of open positions from their entry prices. Path two keeps only cash: a buy spends quantity x
price, a sell earns it, and equity is cash plus the value of what is held. The paths share no
intermediate result, so their difference is a real check (DESIGN section 3).
"""

from bot.core.kernel.codes import FLAT
from bot.core.kernel.levels import set_levels
from bot.core.kernel.params import Params, Spec
from bot.core.kernel.records import Account, Position, Trade, World
from bot.core.kernel.registry import kernel

IDENTITY_TOLERANCE = 1e-6  # USDT for every 10,000 USDT of equity, at least this much


@kernel
def book_increase(
    a: Account, pos: Position, spec: Spec, side: int, contracts: float, price: float, paid: float
) -> None:
    """Book a fill of `contracts` at `price` that opens or adds to a position on `side`; fee
    `paid`."""
    a.cash -= side * contracts * spec.multiplier * price
    a.cash -= paid
    a.fees += paid
    total = pos.contracts + contracts
    if total > 0.0:
        pos.entry_price = (pos.entry_price * pos.contracts + price * contracts) / total
    pos.side = side
    pos.contracts = total
    pos.entered += contracts
    pos.fees += paid


@kernel
def book_reduce(
    a: Account, pos: Position, spec: Spec, contracts: float, price: float, paid: float
) -> None:
    """Book a fill of `contracts` at `price` that closes all or a part of the position; fee
    `paid`."""
    quantity = contracts * spec.multiplier
    gain = pos.side * (price - pos.entry_price) * quantity
    a.cash += pos.side * quantity * price
    a.cash -= paid
    a.fees += paid
    a.realised += gain
    pos.realised += gain
    pos.fees += paid
    pos.contracts -= contracts
    pos.exited += contracts
    pos.exit_value += price * contracts


@kernel
def book_entry(w: World, k: int, time: int, contracts: float, price: float, paid: float) -> None:
    """Book a fill of the entry intended on symbol `k` and set the levels that protect it."""
    pos = w.positions[k]
    intent = w.intents[k]
    if pos.side == FLAT:
        pos.entry_time = time
        pos.strategy = intent.strategy
        pos.leverage = intent.leverage
        pos.stop_distance = intent.stop_distance
        pos.target_distance = intent.target_distance
        pos.best_close = price
    book_increase(w.account, pos, w.specs[k], intent.side, contracts, price, paid)
    set_levels(pos, w.params, w.specs[k])


@kernel
def owes_funding(side: int, opened: int, settled: int, p: Params) -> bool:
    """Return whether a position takes part in a settlement: one opened at that time does not.

    Profile `reference` knows no funding.
    """
    return side != FLAT and opened < settled and p.reference == 0


@kernel
def funding_payment(side: int, contracts: float, mark: float, rate: float, spec: Spec) -> float:
    """Return what a settlement brings us in USDT: positive is received, negative paid.

    Longs pay shorts when the rate is positive. Source: KuCoin Futures, funding = position value x
    rate.

    Example: long 2 coins at 50,000 with rate 0.0001 receives -10.
    """
    return -side * contracts * spec.multiplier * mark * rate


@kernel
def book_funding(a: Account, pos: Position, amount: float) -> None:
    """Book a settlement of `amount` USDT, received when positive."""
    a.funding += amount
    a.cash += amount
    pos.funding += amount


@kernel
def wallet(a: Account) -> float:
    """Return the money that is there without the profit of open positions, USDT."""
    return a.deposits + a.realised - a.fees + a.funding


@kernel
def mark_equity(w: World) -> float:
    """Set and return the equity at the marks, and keep the largest difference of the two paths."""
    a = w.account
    unrealised = 0.0
    held = 0.0
    positions = w.positions
    for k in range(len(positions)):
        pos = positions[k]
        if pos.side != FLAT:
            quantity = pos.contracts * w.specs[k].multiplier
            mark = w.symbols[k].mark
            unrealised += pos.side * (mark - pos.entry_price) * quantity
            held += pos.side * mark * quantity
    equity = wallet(a) + unrealised
    tolerance = IDENTITY_TOLERANCE * max(1.0, abs(equity) / 1e4)
    a.identity_error = max(a.identity_error, abs(equity - (a.cash + held)) / tolerance)
    a.equity = equity
    return equity


@kernel
def finish_trade(w: World, k: int, time: int, reason: int, trade: Trade) -> None:
    """Write the round trip of the now empty position on symbol `k` into `trade` and forget it."""
    pos = w.positions[k]
    trade.entry_time = pos.entry_time
    trade.exit_time = time
    trade.symbol = k
    trade.strategy = w.strategies[pos.strategy]
    trade.side = pos.side
    trade.contracts = pos.entered
    trade.quantity = pos.entered * w.specs[k].multiplier
    trade.entry_price = pos.entry_price
    trade.exit_price = pos.exit_value / max(pos.exited, 1e-300)
    trade.fees = pos.fees
    trade.funding = pos.funding
    trade.pnl = pos.realised - pos.fees + pos.funding
    trade.reason = reason
    w.account.trades += 1
    clear_position(pos)


@kernel
def clear_position(pos: Position) -> None:
    """Reset a position to none."""
    pos.side = FLAT
    pos.contracts = 0.0
    pos.entry_price = 0.0
    pos.entry_time = 0
    pos.strategy = 0
    pos.leverage = 1.0
    pos.stop_distance = 0.0
    pos.target_distance = 0.0
    pos.stop_price = 0.0
    pos.target_price = 0.0
    pos.liquidation_price = 0.0
    pos.best_close = 0.0
    pos.entered = 0.0
    pos.exited = 0.0
    pos.exit_value = 0.0
    pos.realised = 0.0
    pos.fees = 0.0
    pos.funding = 0.0
