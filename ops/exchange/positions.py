"""Positions as the wire shows them, and what a position has earned and cost since it was opened.

The simulated exchange's ledger says what is held; a `Track` adds the sums that KuCoin reports with
it. Isolated margin of a position is its entry value over its leverage; margin that is added or
taken out shows as another leverage.
"""

from dataclasses import dataclass
from typing import Any

from bot.core.kernel.codes import TAKER
from bot.core.kernel.levels import bankruptcy_price
from bot.core.kernel.params import Params, Spec
from bot.core.kernel.prices import fee
from bot.sim.ledger import Held, Ledger
from ops.exchange.names import short, wire_symbol
from ops.exchange.statements import Fill

WAYS = {"liquid": "LIQUID", "adl": "ADL"}
"""how a position ended, by the trade type of its last fill"""


@dataclass(slots=True)
class Track:
    """One position from flat to flat: contracts with a sign, money in USDT."""

    contracts: int = 0
    entry: float = 0.0
    opened_ms: int = 0
    leverage: float = 1.0
    gross: float = 0.0
    """realised profit before fees and funding"""
    fees: float = 0.0
    funding: float = 0.0
    entered: int = 0
    exited: int = 0
    exit_value: float = 0.0
    """price x contracts that were closed"""
    entry_value: float = 0.0

    @property
    def net(self) -> float:
        return self.gross - self.fees + self.funding

    def closing(self, side: int, contracts: int) -> int:
        """Return how many contracts of a fill on `side` close what is there."""
        return min(contracts, max(0, -side * self.contracts))

    def add(self, side: int, contracts: int, price: float, paid: float, spec: Spec) -> None:
        """Book a fill, or the part of one that closes or that opens."""
        self.fees += paid
        if self.closing(side, contracts):
            sign = 1 if self.contracts > 0 else -1
            self.gross += sign * (price - self.entry) * contracts * spec.multiplier
            self.exited += contracts
            self.exit_value += price * contracts
        else:
            held = abs(self.contracts)
            self.entry = (self.entry * held + price * contracts) / (held + contracts)
            self.entered += contracts
            self.entry_value += price * contracts
        self.contracts += side * contracts


def unrealised(held: Held, mark: float, spec: Spec) -> float:
    """Return the profit of a position at the mark, USDT."""
    return held.side * (mark - held.entry_price) * held.contracts * spec.multiplier


def isolated_margin(held: Held, spec: Spec) -> float:
    """Return what a position ties up, USDT."""
    return held.contracts * spec.multiplier * held.entry_price / held.leverage


def spare_margin(held: Held, mark: float, spec: Spec) -> float:
    """Return what a position can do without at the contract's highest leverage, USDT."""
    value = held.contracts * spec.multiplier * max(held.entry_price, mark)
    margin = isolated_margin(held, spec) + min(unrealised(held, mark, spec), 0.0)
    return max(margin - value / spec.max_leverage, 0.0)


def closed_view(track: Track, last: Fill, number: int) -> dict[str, Any]:
    """Return a position that its last fill closed as `GET /api/v1/history-positions` shows it."""
    word = "LONG" if last.side < 0 else "SHORT"
    return {
        "closeId": str(500_000_000_000 + number),
        "positionId": str(400_000_000_000 + number),
        "uid": 100_000_001,
        "userId": "simulated",
        "symbol": wire_symbol(last.name),
        "settleCurrency": "USDT",
        "leverage": f"{track.leverage:g}",
        "type": f"{WAYS.get(last.trade_type, 'CLOSE')}_{word}",
        "side": word,
        "pnl": str(short(track.net)),
        "realisedGrossCost": str(short(-track.gross)),
        "realisedGrossCostNew": str(short(-track.gross)),
        "withdrawPnl": "0.0",
        "tradeFee": str(short(track.fees)),
        "fundingFee": str(short(track.funding)),
        "openTime": track.opened_ms,
        "closeTime": last.ms,
        "openPrice": str(track.entry_value / max(track.entered, 1)),
        "closePrice": str(track.exit_value / max(track.exited, 1)),
        "marginMode": last.margin_mode,
        "positionSide": "BOTH",
        "roe": "0.0",
        "liquidAmount": None,
        "tax": "0",
    }


def position_view(
    k: int, name: str, ledger: Ledger, track: Track, params: Params, mode: str, now: int
) -> dict[str, Any]:
    """Return a position, or the want of one, as `GET /api/v1/position` shows it.

    With margin mode CROSS the wire leaves the fields of isolated margin out.
    """
    held, mark, spec = ledger.held[k], ledger.marks[k], ledger.specs[k]
    signed = int(held.side * held.contracts)
    view = {
        "id": str(400_000_000_000 + k + 1),
        "symbol": wire_symbol(name),
        "crossMode": mode == "CROSS",
        "delevPercentage": 0.1 if signed else 0.0,
        "openingTimestamp": held.opened_ms or None,
        "currentTimestamp": now,
        "currentQty": signed,
        "isOpen": signed != 0,
        "markPrice": mark,
        "avgEntryPrice": held.entry_price,
        "liquidationPrice": short(ledger.liquidation_price(k)),
        "bankruptPrice": (
            short(bankruptcy_price(held.entry_price, held.side, held.leverage)) if signed else 0.0
        ),
        "settleCurrency": "USDT",
        "isInverse": False,
        "marginMode": mode,
        "positionSide": "BOTH",
        "leverage": held.leverage,
        "riskLimitLevel": 1,
    }
    view |= _results(track) | _values(held, mark, spec)
    return view if mode == "CROSS" else view | _isolated(held, mark, spec, track, params)


def _results(track: Track) -> dict[str, float]:
    """Return what a position has earned and cost since it was opened."""
    return {
        "currentComm": short(track.fees),
        "dealComm": short(track.fees),
        "fundingFee": short(track.funding),
        "realisedGrossCost": short(-track.gross),
        "realisedCost": short(track.fees - track.gross - track.funding),
        "realisedGrossPnl": short(track.gross),
        "realisedPnl": short(track.net),
        "tax": 0.0,
        "withdrawPnl": 0.0,
    }


def _values(held: Held, mark: float, spec: Spec) -> dict[str, float]:
    """Return what a position is worth, with its sign, and what it ties up."""
    quantity = held.contracts * spec.multiplier
    cost, initial = quantity * held.entry_price, isolated_margin(held, spec)
    profit = unrealised(held, mark, spec)
    return {
        "currentCost": short(held.side * cost),
        "unrealisedCost": short(held.side * cost),
        "markValue": short(held.side * quantity * mark),
        "posCost": short(held.side * cost),
        "posInit": short(initial),
        "posMargin": short(initial),
        "unrealisedPnl": short(profit),
        "unrealisedPnlPcnt": round(profit / cost, 4) if cost else 0.0,
        "unrealisedRoePcnt": round(profit / initial, 4) if initial else 0.0,
    }


def _isolated(
    held: Held, mark: float, spec: Spec, track: Track, params: Params
) -> dict[str, float | bool]:
    """Return the fields of isolated margin."""
    quantity = held.contracts * spec.multiplier
    cost = quantity * held.entry_price
    margin = isolated_margin(held, spec) + unrealised(held, mark, spec)
    closing_fee = fee(cost, TAKER, params)
    return {
        "autoDeposit": False,
        "maintMarginReq": spec.maintenance_rate,
        "riskLimit": 100_000_000,
        "realLeverage": round(quantity * mark / margin, 2) if margin > 0.0 else 0.0,
        "posCross": 0.0,
        "posCrossMargin": 0.0,
        "posComm": short(closing_fee),
        "posCommCommon": short(closing_fee),
        "posLoss": 0.0,
        "posFunding": short(track.funding),
        "posMaint": short(cost * spec.maintenance_rate + closing_fee),
        "maintMargin": short(margin),
        "maintainMargin": spec.maintenance_rate,
    }
