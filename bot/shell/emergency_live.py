"""A live account without its bot: close and cancel over the exchange, until a read says it is flat.

Rules of this file: as little as possible is read, so that nothing else can hold it up: positions
for the exits, then open orders and positions for what is left. What gets no answer is not known and
is simply tried again: every order here is reduce-only, so a second one in place of one that got
through finds nothing to do. A key that is not accepted is said at once: no try will change that.

A row that cannot be read is of one position and spoils no other: those are closed, and so is that
one, by an order that works out side and size at the exchange; but it is not called flat.
"""

import math
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bot.adapters.exchange_clock import ExchangeClock
from bot.adapters.kucoin_account import together
from bot.adapters.kucoin_client import CredentialsError, KucoinClient, RefusedError
from bot.adapters.kucoin_emergency import NO_SENSE, EmergencyReader, Exposure, Resting
from bot.adapters.kucoin_errors import Treat, Verdict
from bot.adapters.kucoin_fields import wire_symbol
from bot.adapters.kucoin_orders import Body, close_body, order_body
from bot.adapters.kucoin_site import Site
from bot.adapters.token_bucket import Priority, TokenBucket
from bot.adapters.wire_thread import WireThread
from bot.core.errors import BotError, UnreachableError
from bot.core.messages import PlaceOrder, Role
from bot.shell.emergency import Done, Say, emergency_id, live_key
from bot.shell.others import order_text, position_text

WRONG_MARGIN_MODE = "330005"
TRY_FOR_S = 60.0
PAUSE_S = 0.25
CALL_S = 20.0
WITNESS_S = 5.0
DUST = 0.001  # USDT; less is rounding
MOST_PARTS = 20  # orders on one symbol at once


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
        self.reader = EmergencyReader(self.client, known.symbols)
        self.clock = clock
        self.asked_time = False
        self.cross: set[int] = set()
        """symbols that a person has set to cross margin: an order there has to say so"""
        self.most = {k: spec.max_contracts for k, spec in enumerate(known.specs)}
        """the largest order by symbol, as far as known; 0 where none is"""
        self.wire.run(self.client.open(), CALL_S)

    def close(self) -> None:
        """Close every connection."""
        self.wire.close(self.client.close)

    def is_flat(self, wanted: Sequence[int]) -> bool:
        """See EmergencyAccount; raise UnreachableError where something could not be read."""
        seen = self.read(self.reader.read_exposure())
        if seen.at_risk(wanted) or self.orders_on(wanted, seen):
            return False
        doubts = self.doubts(wanted, seen)
        if doubts:
            raise UnreachableError("; ".join(doubts))
        return True

    def flatten(self, wanted: Sequence[int], say: Say) -> Done:
        """See EmergencyAccount; positions close at the market."""
        end = time.monotonic() + TRY_FOR_S
        done = Done([], 0, [], 0)
        while True:
            said = done.why
            try:
                self.go_round(wanted, done, say)
            except CredentialsError:
                raise  # it answers, and will not answer otherwise
            except UnreachableError as error:
                done.left, done.orders = [self.symbols[k] for k in wanted], 0
                done.why = f"the exchange cannot be reached: {error}"
            if not done.left and not done.orders:
                return done
            if done.why not in ("", said):
                say(f"trying again: {done.why}")
            if time.monotonic() > end:
                return done
            time.sleep(PAUSE_S)

    def go_round(self, wanted: Sequence[int], done: Done, say: Say) -> None:
        """Close what is held; where nothing is that can be read, cancel what rests. Let `done` say
        what is left by then: nothing is, only when positions and orders were read and none seen."""
        seen = self.read(self.reader.read_positions())
        self.close_all(seen.held, seen.at_risk(wanted), done, say)
        doubts, resting = seen.doubts(wanted), list[Resting]()
        if all(seen.held[k] is None for k in seen.at_risk(wanted)):
            seen = self.read(self.reader.read_exposure())
            doubts, resting = self.doubts(wanted, seen), self.orders_on(wanted, seen)
            held = seen.at_risk(wanted)
            done.cancelled += self.cancel(
                [o.order_id for o in resting if o.order_id and may_go(o, held)]
            )
            doubts += [f"an open order, {o.name}" for o in resting if o.symbol is None]
            if doubts and not held and not resting:
                self.close_all([None] * len(self.symbols), wanted, done, say)
        unsure = seen.at_risk(wanted) or (wanted if doubts else ())
        done.left, done.orders = [self.symbols[k] for k in unsure], len(resting)
        done.why, done.others = "; ".join(doubts), others_in(seen)

    def orders_on(self, wanted: Sequence[int], seen: Exposure) -> list[Resting]:
        """Return the open orders that may be on some symbols."""
        return [order for order in seen.orders if order.symbol is None or order.symbol in wanted]

    def doubts(self, wanted: Sequence[int], seen: Exposure) -> list[str]:
        """Return why some symbols are not known to be flat although nothing of them is seen, in
        words; [] when they are.

        What positions tie up is the third witness: lists and answers of single positions have been
        seen to be empty together. It speaks of the whole account, so only where nothing is seen at
        all; and it need not say anything.
        """
        found = seen.doubts(wanted)
        if found or seen.foreign or any(contracts != 0.0 for contracts in seen.held):
            return found
        with suppress(*NO_SENSE, TimeoutError):
            margin = self.wire.run(self.reader.read_margin(), WITNESS_S)
            if abs(margin) > DUST:
                return [f"positions tie up {margin:,.2f} USDT, and none is listed"]
        return []

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

    def close_all(
        self,
        held: Sequence[float | None],
        wanted: Sequence[int],
        done: Done,
        say: Say,
    ) -> None:
        """Send the exits of positions, all at once: one that gets no answer holds up no other. What
        becomes of them is read."""
        now = self.clock.now()
        sent = []
        for k in wanted:
            for part, contracts in enumerate(self.parts(k, held[k])):
                body = self.exit_body(k, contracts, now + part)
                send = self.client.send(
                    "futuresPrivatePostOrders", body, weight=2, priority=Priority.REDUCE
                )
                sent.append((k, contracts, self.wire.start(send)))
        known = [k for k in wanted if held[k] is not None]
        refused: dict[int, str] = {}
        for k, contracts, answer in sent:
            try:
                self.wire.wait(answer, CALL_S)
                amount = "all there is" if contracts is None else f"{abs(contracts):g} contracts"
                say(f"closing {self.symbols[k]}: {amount} at the market")
                known.append(k)
                self.draw_lesson(k, contracts, None)
            except (BotError, TimeoutError) as error:
                verdict = error.verdict if isinstance(error, RefusedError) else None
                if verdict and contracts is None and verdict.treat is Treat.NOTHING_TO_CLOSE:
                    continue
                if str(error) != refused.get(k):
                    say(f"{self.symbols[k]}: {error}")
                refused[k] = str(error)
                if verdict:
                    self.draw_lesson(k, contracts, verdict)
        done.closed = list(dict.fromkeys([*done.closed, *(self.symbols[k] for k in known)]))

    def parts(self, k: int, contracts: float | None) -> list[float | None]:
        """Return the orders that close a position, as contracts with its sign: none larger than the
        exchange takes. What is more than MOST_PARTS of them is for the next round."""
        most = self.most[k]
        if contracts is None or not most:
            return [contracts]
        whole, rest = divmod(abs(contracts), most)
        sizes = [most] * int(min(whole, MOST_PARTS)) + ([rest] if rest else [])
        return [math.copysign(size, contracts) for size in sizes[:MOST_PARTS]]

    def exit_body(self, k: int, contracts: float | None, number: int) -> Body:
        """Return an order that closes so much; None is whatever there is."""
        name = emergency_id(self.known.installation, number, k)
        wire = wire_symbol(self.symbols[k])
        if contracts is None:
            body = close_body(name, wire)
        else:
            side = -1 if contracts > 0.0 else 1
            order = PlaceOrder(name, k, Role.EXIT, side, abs(contracts), 0.0, 1.0)
            body = order_body(order, wire, self.known.specs[k])
        return body | ({"marginMode": "CROSS"} if k in self.cross else {})

    def draw_lesson(self, k: int, contracts: float | None, verdict: Verdict | None) -> None:
        """Let the next orders on a symbol be other ones than one that was refused: it may be larger
        than the exchange takes by now, although the bot has seen the contract. Orders grow again
        when one is taken: that may not have been why."""
        if verdict is None:
            if contracts is not None and self.most[k]:
                limit = self.known.specs[k].max_contracts or math.inf
                self.most[k] = max(self.most[k], min(2.0 * abs(contracts), limit))
        elif verdict.code == WRONG_MARGIN_MODE:
            self.cross ^= {k}
        elif verdict.treat is Treat.REJECTED and contracts is not None:
            self.most[k] = math.ceil(abs(contracts) / 2.0)

    def cancel(self, order_ids: Sequence[str]) -> int:
        """Ask for the cancellation of orders; return how many were asked for."""

        async def one(order_id: str) -> None:
            try:
                await self.client.cancel("futuresPrivateDeleteOrdersOrderId", {"orderId": order_id})
            except BotError:
                return  # gone already, or read again and tried again

        async def all_of_them() -> None:
            await together(*(one(order_id) for order_id in order_ids))

        with suppress(TimeoutError):  # read again, too
            self.wire.run(all_of_them(), CALL_S)
        return len(order_ids)


def may_go(order: Resting, held: Sequence[int]) -> bool:
    """Return whether an order may be cancelled: it is on a symbol that is flat. One that may be in
    another contract is not ours to touch."""
    return order.symbol is not None and order.symbol not in held


def others_in(seen: Exposure) -> list[str]:
    """Return what is at risk in contracts that are not configured, in words."""
    orders = [order_text(order.name, None) for order in seen.orders if order.symbol == -1]
    return [*map(position_text, seen.foreign), *orders]
