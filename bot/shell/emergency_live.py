"""A live account without its bot: close and cancel over the exchange, until a read says it is flat.

Rules of this file: as little as possible is read, so that nothing else can hold it up: positions
for the exits, then open orders and positions for what is left. What gets no answer is not known and
is simply tried again: every order here is reduce-only, so a second one in place of one that got
through finds nothing to do. A key that is not accepted is said at once: no try will change that.
"""

import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bot.adapters.exchange_clock import ExchangeClock
from bot.adapters.kucoin_account import AccountReader, Exposure, together
from bot.adapters.kucoin_client import CredentialsError, KucoinClient, RefusedError
from bot.adapters.kucoin_fields import wire_symbol
from bot.adapters.kucoin_orders import order_body
from bot.adapters.kucoin_site import Site
from bot.adapters.token_bucket import Priority, TokenBucket
from bot.adapters.wire_thread import WireThread
from bot.core.errors import BotError, UnreachableError
from bot.core.messages import PlaceOrder, Role
from bot.core.reconcile import Holding
from bot.shell.emergency import Done, Say, emergency_id, live_key
from bot.shell.others import order_text, position_text

WRONG_MARGIN_MODE = "330005"
TRY_FOR_S = 60.0
PAUSE_S = 0.25
CALL_S = 20.0


class LiveAccount:
    """The account on KuCoin that a state directory belongs to."""

    def __init__(self, state_dir: Path, credentials: Path | None) -> None:
        known, keys = live_key(state_dir, credentials)
        self.known = known
        self.symbols = known.symbols
        clock = ExchangeClock(known.speed)
        self.wire = WireThread()
        site = Site(known.futures_url, known.spot_url, known.timeout_s, known.ipv4)
        self.client = KucoinClient(site, keys, clock, TokenBucket())
        self.reader = AccountReader(self.client, known.symbols, clock, known.founded_ms)
        self.clock = clock
        self.asked_time = False
        self.cross: set[int] = set()
        """symbols that a person has set to cross margin: an order there has to say so"""
        self.wire.run(self.client.open(), CALL_S)

    def close(self) -> None:
        """Close every connection."""
        try:
            self.wire.run(self.client.close(), CALL_S)
        finally:
            self.wire.close()

    def is_flat(self, wanted: Sequence[int]) -> bool:
        """See EmergencyAccount."""
        seen = self.read(self.reader.read_exposure())
        held = any(seen.holdings[k].side != 0 for k in wanted)
        return not held and not any(order.symbol in wanted for order in seen.orders)

    def flatten(self, wanted: Sequence[int], say: Say) -> Done:
        """See EmergencyAccount; positions close at the market."""
        end = time.monotonic() + TRY_FOR_S
        closed: list[str] = []
        cancelled = 0
        while True:
            try:
                holdings = self.read(self.reader.read_holdings())
                held, orders = [k for k in wanted if holdings[k].side != 0], []
                if held:
                    self.send_exits(holdings, held, say)
                    closed += [self.symbols[k] for k in held if self.symbols[k] not in closed]
                else:
                    seen = self.read(self.reader.read_exposure())
                    held = [k for k in wanted if seen.holdings[k].side != 0]
                    orders = [o for o in seen.orders if o.symbol in wanted]
                    if not held and not orders:
                        return Done(closed, cancelled, [], 0, others=others_in(seen))
                    if not held:
                        ids = [self.reader.order_ids[o.client_id] for o in orders]
                        cancelled += self.cancel(ids)
            except CredentialsError:
                raise  # it answers, and will not answer otherwise
            except UnreachableError as error:
                say(f"the exchange cannot be reached, trying again: {error}")
                held, orders = list(wanted), []
            if time.monotonic() > end:
                return Done(closed, cancelled, [self.symbols[k] for k in held], len(orders))
            time.sleep(PAUSE_S)

    def read[T](self, work: Coroutine[Any, Any, T]) -> T:
        """Do a read and wait for it. Raises UnreachableError."""
        self.sync_clock()
        try:
            return self.wire.run(work, CALL_S)
        except TimeoutError as error:
            raise UnreachableError(f"no answers within {CALL_S:g} s") from error

    def sync_clock(self) -> None:
        """Ask for the exchange's time, once: where the host's own is too far off, requests are
        refused and the client asks again."""
        if self.asked_time:
            return
        self.asked_time = True
        with suppress(UnreachableError, TimeoutError):
            self.wire.run(self.client.sync_clock(), CALL_S)

    def send_exits(self, holdings: Sequence[Holding], held: Sequence[int], say: Say) -> None:
        """Send one exit for each position, all at once: one that gets no answer holds up no other.
        What becomes of them is read."""
        now = self.clock.now()
        sent = []
        for k in held:
            holding, most = holdings[k], self.known.specs[k].max_contracts
            contracts = min(holding.contracts, most or holding.contracts)  # the next one: the rest
            order = PlaceOrder(
                emergency_id(self.known.installation, now, k),
                k,
                Role.EXIT,
                -holding.side,
                contracts,
                0.0,
                1.0,
            )
            body = order_body(order, wire_symbol(self.symbols[k]), self.known.specs[k])
            if k in self.cross:
                body["marginMode"] = "CROSS"
            send = self.client.send(
                "futuresPrivatePostOrders", body, weight=2, priority=Priority.REDUCE
            )
            sent.append((k, contracts, self.wire.start(send)))
        for k, contracts, answer in sent:
            try:
                self.wire.wait(answer, CALL_S)
                say(f"closing {self.symbols[k]}: {contracts:g} contracts at the market")
            except (BotError, TimeoutError) as error:
                say(f"{self.symbols[k]}: {error}")
                if isinstance(error, RefusedError) and error.verdict.code == WRONG_MARGIN_MODE:
                    self.cross ^= {k}

    def cancel(self, order_ids: Sequence[str]) -> int:
        """Ask for the cancellation of orders; return how many were asked for."""

        async def one(order_id: str) -> None:
            try:
                await self.client.cancel("futuresPrivateDeleteOrdersOrderId", {"orderId": order_id})
            except (RefusedError, BotError):
                return  # gone already, or read again and tried again

        async def all_of_them() -> None:
            await together(*(one(order_id) for order_id in order_ids))

        with suppress(TimeoutError):  # read again, too
            self.wire.run(all_of_them(), CALL_S)
        return len(order_ids)


def others_in(seen: Exposure) -> list[str]:
    """Return what is at risk in contracts that are not configured, in words."""
    orders = [order_text(order.client_id, None) for order in seen.orders if order.symbol < 0]
    return [*map(position_text, seen.foreign), *orders]
