"""What the account can read back: fills, funding, closed positions, and the ledger of its wallet.

Bounded: the newest `KEPT` of each kind are there. The ledger holds transfers, and the net result of
each position once it is closed, so that deposits and ledger add up to the wallet of a flat account.
"""

import json
from collections import deque
from dataclasses import dataclass
from typing import Any

from bot.core.kernel.params import Spec
from ops.exchange.names import decimal_text, nanoseconds, short, side_word, trade_id, wire_symbol

KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Fill:
    """One trade of the account. Price and fee USDT, contracts whole."""

    fill_id: str
    """the simulated exchange's"""
    order_id: str
    client_oid: str
    name: str
    spec: Spec
    side: int
    contracts: int
    price: float
    fee: float
    fee_rate: float
    ms: int
    maker: bool
    closed: int
    """contracts of it that closed a position; with the rest it opened one"""
    kind: str
    stop: str
    margin_mode: str
    trade_type: str = "trade"

    @property
    def value(self) -> float:
        return self.contracts * self.spec.multiplier * self.price

    @property
    def closing_fee(self) -> float:
        return self.fee * (self.closed / self.contracts)

    @property
    def trade_id(self) -> str:
        return trade_id(self.fill_id)

    def view(self) -> dict[str, Any]:
        """Return the fill as `GET /api/v1/fills` shows it."""
        fee, closing, zero = short(self.fee), short(self.closing_fee), "0"
        return {
            "symbol": wire_symbol(self.name),
            "tradeId": self.trade_id,
            "orderId": self.order_id,
            "side": side_word(self.side),
            "liquidity": "maker" if self.maker else "taker",
            "forceTaker": False,
            "price": decimal_text(self.price),
            "size": self.contracts,
            "value": decimal_text(short(self.value)),
            "openFeePay": decimal_text(short(fee - closing)),
            "closeFeePay": decimal_text(closing),
            "stop": self.stop,
            "feeRate": decimal_text(self.fee_rate),
            "fixFee": zero,
            "feeCurrency": "USDT",
            "subTradeType": None,
            "marginMode": self.margin_mode,
            "positionSide": "BOTH",
            "displayType": f"{self.kind}_stop" if self.stop else self.kind,
            "fee": decimal_text(fee),
            "settleCurrency": "USDT",
            "orderType": self.kind,
            "tradeType": self.trade_type,
            "tradeTime": nanoseconds(self.ms),
            "createdAt": self.ms,
        }

    def true_view(self) -> dict[str, Any]:
        """Return the fill as the control endpoint tells it."""
        return {
            "fill_id": self.trade_id,
            "client_id": self.client_oid,
            "order_id": self.order_id,
            "symbol": self.name,
            "side": self.side,
            "contracts": self.contracts,
            "price": self.price,
            "fee": self.fee,
            "ms": self.ms,
            "trade_type": self.trade_type,
        }


@dataclass(frozen=True, slots=True)
class FundingRecord:
    """One settlement of a position; `amount` is received when positive, USDT."""

    number: int
    name: str
    ms: int
    rate: float
    mark: float
    contracts: int
    """negative for a short"""
    cost: float
    amount: float
    margin_mode: str

    def view(self) -> dict[str, Any]:
        """Return it as `GET /api/v1/funding-history` shows it."""
        context = {"marginMode": self.margin_mode, "positionSide": "BOTH", "id": self.number}
        return {
            "id": self.number,
            "symbol": wire_symbol(self.name),
            "timePoint": self.ms,
            "fundingRate": self.rate,
            "markPrice": self.mark,
            "positionQty": self.contracts,
            "positionCost": short(self.cost),
            "funding": self.amount,
            "settleCurrency": "USDT",
            "context": json.dumps(context),
            "marginMode": self.margin_mode,
        }


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One change of the wallet."""

    offset: int
    ms: int
    type: str
    amount: float
    fee: float
    equity: float
    remark: str

    def view(self) -> dict[str, Any]:
        """Return it as `GET /api/v1/transaction-history` shows it."""
        return {
            "time": self.ms,
            "type": self.type,
            "amount": self.amount,
            "fee": self.fee,
            "accountEquity": self.equity,
            "status": "Completed",
            "remark": self.remark,
            "offset": self.offset,
            "currency": "USDT",
        }


class Statements:
    """The lists, oldest first."""

    def __init__(self) -> None:
        self.fills: deque[Fill] = deque(maxlen=KEPT)
        self.funding: deque[FundingRecord] = deque(maxlen=KEPT)
        self.ledger: deque[LedgerEntry] = deque(maxlen=KEPT)
        self.closed: deque[dict[str, Any]] = deque(maxlen=KEPT)
        """positions that are over, in the wire's shape"""
        self.entries = 0
        self.positions = 0
        """how many positions have been closed"""

    def book(
        self, ms: int, type_: str, amount: float, equity: float, remark: str, fee: float = 0.0
    ) -> None:
        """Add a line to the ledger."""
        self.entries += 1
        self.ledger.append(LedgerEntry(self.entries, ms, type_, amount, fee, equity, remark))
