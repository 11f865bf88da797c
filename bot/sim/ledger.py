"""The exchange's side of the money: wallet and positions of its own, apart from the bot's books."""

from collections.abc import Sequence
from dataclasses import dataclass

from bot.core.errors import InvariantError
from bot.core.kernel.accounting import funding_payment, owes_funding
from bot.core.kernel.codes import TAKER
from bot.core.kernel.levels import bankruptcy_price, liquidation_distance
from bot.core.kernel.params import Params, Spec
from bot.core.kernel.prices import fee
from bot.core.messages import PlaceOrder


@dataclass(slots=True)
class Held:
    """One isolated net position as the exchange sees it; side 0 means none."""

    side: int = 0
    contracts: float = 0.0
    entry_price: float = 0.0
    leverage: float = 1.0
    opened_ms: int = 0


class Closable:
    """What orders that are not reduce-only find to close, each in its turn: it is there once."""

    def __init__(self, held: Sequence[Held]) -> None:
        self.left = [one.side * one.contracts for one in held]
        """contracts by symbol, with the sign of the position"""

    def opening(self, k: int, side: int, contracts: float) -> float:
        """Let an order close what it can; return how many of its contracts are beyond that."""
        closing = min(contracts, max(0.0, -side * self.left[k]))
        self.left[k] += side * closing
        return contracts - closing


class Ledger:
    """Wallet and positions of the simulated account.

    The wallet is one running number: every realised gain, fee and funding amount is added to it as
    it happens. The bot keeps sums of its own, so comparing the two is a real check.
    """

    def __init__(self, params: Params, specs: list[Spec], deposits: float) -> None:
        self.params = params
        self.specs = specs
        self.wallet = deposits
        self.held = [Held() for _ in specs]
        self.marks = [0.0 for _ in specs]

    def book_fill(
        self, order: PlaceOrder, contracts: float, price: float, liquidity: int, now: int
    ) -> float:
        """Book a trade of `contracts` of an order, its fee included; return the fee in USDT."""
        k = order.symbol
        paid = fee(contracts * self.specs[k].multiplier * price, liquidity, self.params)
        if order.reduce_only:
            self.reduce(k, contracts, price)
        else:
            self.increase(k, order.side, contracts, price, order.leverage, now)
        self.charge(paid)
        return paid

    def book_net(
        self, order: PlaceOrder, contracts: float, price: float, liquidity: int, now: int
    ) -> float:
        """Book a trade of an order that is not reduce-only, in one-way mode: it closes what is held
        on the other side, and what is left of it opens. Return the fee in USDT."""
        k = order.symbol
        paid = fee(contracts * self.specs[k].multiplier * price, liquidity, self.params)
        held = self.held[k]
        closing = min(contracts, held.contracts) if held.side == -order.side else 0.0
        if closing > 0.0:
            self.reduce(k, closing, price)
        if contracts > closing:
            self.increase(k, order.side, contracts - closing, price, order.leverage, now)
        self.charge(paid)
        return paid

    def take_over(self, k: int) -> tuple[float, float, float]:
        """Liquidate the whole position on symbol `k`; return its contracts, the price and the fee.

        The price is the one at which nothing of the isolated margin is left.
        """
        held = self.held[k]
        contracts = held.contracts
        price = bankruptcy_price(held.entry_price, held.side, held.leverage)
        paid = fee(contracts * self.specs[k].multiplier * price, TAKER, self.params)
        self.reduce(k, contracts, price)
        self.charge(paid)
        return contracts, price, paid

    def increase(
        self, k: int, side: int, contracts: float, price: float, leverage: float, now: int
    ) -> None:
        """Open or add to a position at `price`; what is added brings the margin of its leverage.

        Raises
        ------
        InvariantError : the position is on the other side; entries never reduce in this account
        """
        held = self.held[k]
        if held.side == -side:
            raise InvariantError(
                f"symbol {k}: an entry on side {side} met a position on {held.side}"
            )
        if held.side == 0:
            held.opened_ms = now
            held.leverage = leverage
        elif leverage != held.leverage:
            # Only then: the mean of equal numbers would be off by the noise of the divisions.
            before, added = held.contracts * held.entry_price, contracts * price
            margin = before / held.leverage + added / leverage
            held.leverage = (before + added) / margin
        total = held.contracts + contracts
        held.entry_price = (held.entry_price * held.contracts + price * contracts) / total
        held.side = side
        held.contracts = total

    def reduce(self, k: int, contracts: float, price: float) -> None:
        """Close all or a part of a position at `price`; the gain goes to the wallet."""
        held = self.held[k]
        self.wallet += held.side * (price - held.entry_price) * contracts * self.specs[k].multiplier
        held.contracts -= contracts
        if held.contracts <= 0.0:
            self.held[k] = Held()

    def move_margin(self, k: int, amount: float) -> None:
        """Tie up more in a position, or less (negative), USDT: its leverage becomes another."""
        held = self.held[k]
        value = held.contracts * self.specs[k].multiplier * held.entry_price
        held.leverage = value / (value / held.leverage + amount)

    def charge(self, fee: float) -> None:
        """Take a fee."""
        self.wallet -= fee

    def owes_funding(self, k: int, settled_ms: int) -> bool:
        """Return whether symbol `k` takes part in the settlement at `settled_ms`."""
        held = self.held[k]
        return owes_funding(held.side, held.opened_ms, settled_ms, self.params)

    def settle_funding(self, k: int, rate: float) -> float:
        """Settle one funding payment on symbol `k` at its mark; return what we receive, USDT."""
        held = self.held[k]
        amount = funding_payment(held.side, held.contracts, self.marks[k], rate, self.specs[k])
        self.wallet += amount
        return amount

    def liquidation_price(self, k: int) -> float:
        """Return the price at which the position on symbol `k` is liquidated; 0 for none."""
        held = self.held[k]
        if held.side == 0 or self.params.reference != 0:
            return 0.0
        distance = liquidation_distance(held.leverage, self.params, self.specs[k])
        return held.entry_price * (1.0 - held.side * distance)

    def equity(self) -> float:
        """Return wallet plus unrealised profit at the marks, USDT."""
        return self.equity_at(self.marks)

    def equity_at(self, prices: Sequence[float]) -> float:
        """Return wallet plus unrealised profit at prices by symbol, USDT."""
        unrealised = 0.0
        for k, held in enumerate(self.held):
            gap = prices[k] - held.entry_price
            unrealised += held.side * gap * held.contracts * self.specs[k].multiplier
        return self.wallet + unrealised

    def free_margin(self) -> float:
        """Return what is not tied up as isolated margin, USDT."""
        tied = 0.0
        for k, held in enumerate(self.held):
            tied += held.contracts * self.specs[k].multiplier * held.entry_price / held.leverage
        return self.wallet - tied
