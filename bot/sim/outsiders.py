"""What a person, another program or the exchange itself does to an account beside the bot."""

from bot.core.kernel.prices import round_near
from bot.core.messages import PlaceOrder, Role
from bot.sim.ledger import Ledger
from bot.sim.paper_market import PaperMarket
from bot.sim.tick_market import TickMarket

APP = "app"
"""begins the ids of orders that are not ours"""


def close_order(ledger: Ledger, symbol: int, share: float, number: int) -> PlaceOrder | None:
    """Return the order with which a person closes a share of a position, None without one."""
    held = ledger.held[symbol]
    contracts = float(max(1, int(held.contracts * share)))
    if held.side == 0:
        return None
    return PlaceOrder(
        f"{APP}{number}", symbol, Role.EXIT, -held.side, contracts, 0.0, held.leverage
    )


def far_order(ledger: Ledger, symbol: int, number: int) -> PlaceOrder:
    """Return a stop of somebody else, so far from the market that it never does anything."""
    held, spec = ledger.held[symbol], ledger.specs[symbol]
    side = held.side or 1
    price = round_near(ledger.marks[symbol] * (1.0 - 0.5 * side), spec)
    return PlaceOrder(f"{APP}{number}", symbol, Role.STOP, -side, 1.0, price, 1.0)


class PaperOutsider:
    """Others on a PaperMarket; the bot hears of it by reading only."""

    def __init__(self, market: PaperMarket) -> None:
        self.market = market
        self.number = 0

    def close(self, symbol: int, share: float, now: int) -> None:
        self.number += 1
        order = close_order(self.market.exchange.ledger, symbol, share, self.number)
        if order is not None:
            self.market.trade_now(order, now)

    def liquidate(self, symbol: int, now: int) -> None:
        exchange = self.market.exchange
        if exchange.ledger.held[symbol].side != 0:
            self.market.records.keep(exchange.liquidate(symbol, now))

    def rest(self, symbol: int, now: int) -> None:
        del now
        self.number += 1
        exchange = self.market.exchange
        exchange.book.add(far_order(exchange.ledger, symbol, self.number))


class TickOutsider:
    """Others on a TickMarket; the bot hears of their trades as an exchange tells them."""

    def __init__(self, market: TickMarket) -> None:
        self.market = market
        self.exchange = market.exchange
        self.number = 0

    def close(self, symbol: int, share: float, now: int) -> None:
        self.number += 1
        order = close_order(self.exchange.ledger, symbol, share, self.number)
        if order is not None:
            self.market.submit(order, now)

    def liquidate(self, symbol: int, now: int) -> None:
        del now
        if self.exchange.ledger.held[symbol].side != 0:
            self.exchange.liquidate(symbol)

    def rest(self, symbol: int, now: int) -> None:
        del now
        self.number += 1
        self.exchange.book.add(far_order(self.exchange.ledger, symbol, self.number))
