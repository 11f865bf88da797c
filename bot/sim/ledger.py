"""The exchange's side of the money: its own wallet and positions, kept apart from the bot's books."""

from dataclasses import dataclass

from bot.core.kernel.accounting import funding_payment
from bot.core.kernel.levels import bankruptcy_price, liquidation_distance
from bot.core.kernel.records import Params, Spec


@dataclass(slots=True)
class Held:
    """One isolated net position as the exchange sees it; side 0 means none."""

    side: int = 0
    contracts: float = 0.0
    entry_price: float = 0.0
    leverage: float = 1.0
    opened_ms: int = 0


class Ledger:
    """Wallet and positions of the simulated account.

    The wallet is one running number: every realised gain, fee and funding amount is added to it as it
    happens. The bot keeps sums of its own, so comparing the two is a real check.
    """

    def __init__(self, params: Params, specs: list[Spec], deposits: float) -> None:
        self.params = params
        self.specs = specs
        self.wallet = deposits
        self.held = [Held() for _ in specs]
        self.marks = [0.0 for _ in specs]

    def increase(self, k: int, side: int, contracts: float, price: float, leverage: float, now: int) -> None:
        """Open or add to a position at `price`."""
        held = self.held[k]
        if held.side == 0:
            held.opened_ms = now
            held.leverage = leverage
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

    def charge(self, fee: float) -> None:
        """Take a fee."""
        self.wallet -= fee

    def settle_funding(self, k: int, rate: float) -> float:
        """Settle one funding payment on symbol `k` at its mark; return what the account receives."""
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

    def takeover_price(self, k: int) -> float:
        """Return the price at which a liquidation settles: the isolated margin is gone."""
        held = self.held[k]
        return bankruptcy_price(held.entry_price, held.side, held.leverage)

    def equity(self) -> float:
        """Return wallet plus unrealised profit at the marks, USDT."""
        unrealised = 0.0
        for k, held in enumerate(self.held):
            gap = self.marks[k] - held.entry_price
            unrealised += held.side * gap * held.contracts * self.specs[k].multiplier
        return self.wallet + unrealised

    def free_margin(self) -> float:
        """Return what is not tied up as isolated margin, USDT."""
        tied = 0.0
        for k, held in enumerate(self.held):
            tied += held.contracts * self.specs[k].multiplier * held.entry_price / held.leverage
        return self.wallet - tied
