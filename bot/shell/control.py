"""What the control socket answers: reads from what the loop published, orders through a queue.

`Commands.handle` runs in the socket's threads and never touches the loop's state. The loop calls
`publish` and `take` every turn.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from bot.core.errors import BotError
from bot.core.text import clean
from bot.shell.status import select

type Message = dict[str, Any]

READS = ("status", "positions", "balance", "trades")
ORDERS = ("kill", "close", "resume", "halt")
STALLED_S = 10.0
"""published longer ago than this: the loop stands still"""
PATIENCE_S = 15.0
"""an order that was taken may wait this long for the loop's next turn: it may be inside a slow call
to the exchange. Less than the watchdog's 20 s"""
LONGEST_S = 120.0
"""an order of a person is waited for this long; the loop goes on with it after that"""
KEEPALIVE_S = 0.5
MOST_ASKED = 64
MOST_TRADES = 1_000
PICK_UP_S = 5.0


class Request:
    """An order of a person, on its way to the loop, and its answers on their way back."""

    def __init__(self, command: str, fields: Message) -> None:
        self.command = command
        self.fields = fields
        self.answers: queue.Queue[Message] = queue.Queue()
        self.taken = False
        self._open = True
        self._lock = threading.Lock()

    def answer(self, told: Message) -> None:
        """Tell the asker how it goes."""
        self.answers.put(told)

    def finish(self, told: Message) -> None:
        """Tell the asker how it ended."""
        self.answers.put({**told, "done": True})

    def claim(self, *, taken: bool) -> bool:
        """Let the loop take the request, or its asker withdraw it: whoever comes first."""
        with self._lock:
            won, self._open = self._open, False
            self.taken = self.taken or (won and taken)
            return won


class Commands:
    """The desk between people and the loop.

    Parameters
    ----------
    pull_latch : (reason, by); makes a kill durable, in the thread of the asker
    wake : ends the loop's sleep
    stored : returns so many of the newest finished trades from the journal, in the thread of the
        asker; BotError when it cannot be read
    """

    def __init__(
        self,
        pull_latch: Callable[[str, str], object],
        wake: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
        keepalive_s: float = KEEPALIVE_S,
        stored: Callable[[int], list[Message]] = lambda last: [],
    ) -> None:
        self.pull_latch = pull_latch
        self.wake = wake
        self.monotonic = monotonic
        self.keepalive_s = keepalive_s
        self.stored = stored
        self.asked: queue.Queue[Request] = queue.Queue(MOST_ASKED)
        self.published: tuple[Message, list[Message], float] | None = None
        """description, finished trades, monotonic time; replaced as a whole"""

    # The loop's side.

    def publish(self, described: Message, trades: list[Message]) -> None:
        """Replace what readers see; a plain assignment, so nobody waits for anybody.

        Neither argument may be changed afterwards. `trades` is oldest first.
        """
        self.published = (described, trades, self.monotonic())

    def take(self) -> list[Request]:
        """Return what was asked since the last call."""
        found = []
        with suppress(queue.Empty):
            while True:
                found.append(self.asked.get_nowait())
        return [request for request in found if request.claim(taken=True)]

    # The socket's side.

    def handle(self, request: Message) -> Iterator[Message]:
        """Answer one request."""
        command = str(request.get("command"))
        if command in READS:
            yield self.read(command, request)
        elif command in ORDERS:
            yield from self.order(command, request)
        else:
            yield refuse(f"command: expected one of {', '.join(READS + ORDERS)}, was {command!r}")

    def read(self, command: str, request: Message) -> Message:
        """Answer from what was published last."""
        if self.published is None:
            return unanswered("the bot is starting: ask again when it is ready")
        described, trades, at = self.published
        age = self.monotonic() - at
        last = request.get("last")
        if command == "trades" and isinstance(last, int) and not 1 <= last <= MOST_TRADES:
            return refuse(f"last: expected 1 to {MOST_TRADES}, was {last}")
        count = last if isinstance(last, int) else MOST_TRADES
        if command == "trades":
            told: Message = {"trades": self.finished_trades(trades, count)}
        else:
            told = select(command, described)
        return {
            "source": "bot",
            "age_s": round(age, 3),
            "stalled": age > STALLED_S,
            **told,
            "done": True,
        }

    def finished_trades(self, published: list[Message], count: int) -> list[Message]:
        """Return the newest trades. The journal has all of them, the loop publishes some; where the
        journal cannot be written or read, those that it misses are among these."""
        try:
            stored = self.stored(count)
        except BotError:
            stored = []
        known = max((i + 1 for i, one in enumerate(published) if one in stored[-1:]), default=0)
        missed = published[known:] if known or not stored else []
        return [*stored, *missed][-count:]

    def order(self, command: str, request: Message) -> Iterator[Message]:
        """Hand an order of a person to the loop and pass its answers on."""
        texts = ("reason", "by", "symbol")
        given = {name: clean(request[name]) for name in texts if request.get(name) is not None}
        request = {**request, **given}
        refusal = self.refusal(command, request)
        if refusal:
            yield refuse(refusal)
            return
        if command == "kill":  # before anything else: the loop may be stuck
            try:
                self.pull_latch(str(request.get("reason")), str(request.get("by")))
            except OSError as error:  # flattening never waits for a disk
                yield {"warning": f"the latch could not be written: {error}"}
        asked = Request(command, request)
        try:
            self.asked.put_nowait(asked)
        except queue.Full:
            yield unanswered(f"{MOST_ASKED} orders wait for the bot already")
            return
        self.wake()
        began = self.monotonic()
        yield {"accepted": True}
        yield from self.follow(asked, began)

    def follow(self, asked: Request, began: float) -> Iterator[Message]:
        """Pass the loop's answers on until the last; meanwhile show that somebody is here."""
        pick_up_s = asked.fields.get("timeout_s")
        if not isinstance(pick_up_s, int | float) or not 0.0 < pick_up_s <= LONGEST_S:
            pick_up_s = PICK_UP_S
        while True:
            try:
                told = asked.answers.get(timeout=self.keepalive_s)
            except queue.Empty:
                lost = self.lost(asked, began, pick_up_s)
                yield lost or {"waiting": True}
                if lost:
                    return
                continue
            yield told
            if told.get("done"):
                return

    def lost(self, asked: Request, began: float, pick_up_s: float) -> Message | None:
        """Return why an order is not waited for any longer, None while there is hope.

        An order that the loop has not taken is withdrawn, so that it is not carried out when nobody
        expects it any more. Only a kill stays: it is never wrong.
        """
        now = self.monotonic()
        if not asked.taken:
            late = now - began >= pick_up_s
            if late and (asked.command == "kill" or asked.claim(taken=False)):
                return unanswered(f"the bot's loop did not take the order within {pick_up_s:g} s")
            return None
        turned = max(began, self.published[2] if self.published is not None else began)
        if now - turned >= PATIENCE_S:
            return unanswered(
                f"the bot's loop took the order and stands still for {PATIENCE_S:g} s"
            )
        if now - began >= LONGEST_S:
            text = f"not done within {LONGEST_S:g} s; the bot goes on trying"
            return {**unanswered(text), "why": "not_done"}
        return None

    def refusal(self, command: str, request: Message) -> str:
        """Return why an order makes no sense, or an empty text."""
        if command == "resume" and not str(request.get("reason") or "").strip():
            return "resume: expected a reason, was none"
        if command == "close":
            known = self.published[0]["symbols"] if self.published is not None else []
            if request.get("symbol") not in known:
                return f"symbol: expected one of {', '.join(known)}, was {request.get('symbol')!r}"
        return ""


def refuse(text: str) -> Message:
    """Return the answer to a request that is wrong."""
    return {"error": text, "code": 2, "done": True}


def unanswered(text: str) -> Message:
    """Return the answer where the loop gives none."""
    return {"error": text, "code": 75, "done": True}
