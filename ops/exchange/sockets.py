"""The sockets of KuCoin Futures: bullet tokens, subscriptions, pushes and their faults.

Classic connections and those of the unified API differ in the form of their frames alone. A token
admits for 24 hours of market time, and a connection lasts as long. Every push of a topic has the
next `sn`, whether somebody hears of it or not, so a lost one leaves a hole.
"""

import asyncio
import base64
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Container
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiohttp import WSMsgType, web

from ops.exchange import unified_topics as unified
from ops.exchange.connection import CLOSE_S, MOST_FRAMES, Connection
from ops.exchange.fault_specs import AT_ONCE, PUSH_KINDS
from ops.exchange.faults import Fault, Faults, Seen
from ops.exchange.limits import Meter
from ops.exchange.outgoing import Outgoing
from ops.exchange.socket_topics import FrameError, compact, error, forms, message, read_topics

CLASSIC_PATH = "/endpoint"
UNIFIED_PATH = "/unified/futures"  # asks for no token
UNIFIED_PRIVATE_PATH = "/unified/private"
LIFE_MS = 86_400_000
PING_TIMEOUT_MS = 10_000
SOON_S = 0.001
MOST_TOKENS = 1_000
MOST_SOCKETS = 50
MOST_CONNECTS = 30  # within CONNECTS_MS
CONNECTS_MS = 60_000
MOST_TOPICS = 300  # of one connection
MOST_WAITING = 20_000  # frames of one connection
MOST_BYTES = 65_536  # of one frame of a client
MOST_GAP = 50


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a bullet token stands for."""

    private: bool
    spot: bool
    issued_ms: int


class Hub:
    """All sockets of one simulator. `now_ms` is market time."""

    def __init__(
        self,
        faults: Faults,
        now_ms: Callable[[], int],
        ping_interval_ms: int = 18_000,
        *,
        seed: int = 0,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self.faults, self.now_ms = faults, now_ms
        self.ping_interval_ms, self.seed, self.most_waiting = ping_interval_ms, seed, most_waiting
        self.tickets: dict[str, Ticket] = {}
        self.issued = 0
        self.opened = 0
        self.closed = False
        self.connections: list[Connection] = []
        self.connects = Meter(MOST_CONNECTS, CONNECTS_MS)
        self.contracts: Container[str] | None = None
        """the symbols that can be listened to; None is any"""
        self.numbers: Counter[str] = Counter()
        """the newest `sn` of each topic"""
        self.outgoing = Outgoing(faults)
        faults.strikes.append(self.strike)

    def issue(self, *, private: bool, base_url: str, spot: bool = False) -> dict[str, Any]:
        """Return the `data` of a bullet reply: a new token, and where to connect with it."""
        self.issued += 1
        digest = hashlib.sha512(f"{self.seed}/{self.issued}".encode()).digest()
        token = base64.urlsafe_b64encode(digest).decode()
        self.tickets[token] = Ticket(private, spot, self.now_ms())
        if len(self.tickets) > MOST_TOKENS:
            del self.tickets[next(iter(self.tickets))]
        server = {
            "endpoint": base_url,
            "encrypt": False,
            "protocol": "websocket",
            "pingInterval": self.ping_interval_ms,
            "pingTimeout": PING_TIMEOUT_MS,
        }
        return {"token": token, "instanceServers": [server]}

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one connection from its handshake to its end."""
        if self.closed:
            raise web.HTTPServiceUnavailable
        socket = web.WebSocketResponse(timeout=CLOSE_S, autoping=False, max_msg_size=MOST_BYTES)
        await socket.prepare(request)
        self.opened += 1
        name = request.query.get("connectId") or f"connection-{self.opened}"
        connection = Connection(request, socket, name, self.most_waiting)
        connection.unified = request.path != CLASSIC_PATH
        self.connections.append(connection)
        writer = asyncio.create_task(connection.write())
        try:
            self.admit(connection, request.query.get("token", ""), request.path)
            await self.listen(connection)
        except FrameError as refusal:
            self.refuse(connection, name, refusal)
        finally:
            connection.put(None)
            try:
                await asyncio.wait({writer}, timeout=CLOSE_S)
            finally:
                writer.cancel()
                self.connections.remove(connection)
                connection.ended.set()
                # What is written last still goes out, but not to one who never reads it.
                asyncio.get_running_loop().call_later(CLOSE_S, connection.abort)
        return socket

    def admit(self, connection: Connection, token: str, path: str) -> None:
        """Welcome a client. Raises FrameError when its token does not admit it."""
        now = self.now_ms()
        ticket = self.tickets.get(token) if path != UNIFIED_PATH else Ticket(False, False, now)
        if len(self.connections) > MOST_SOCKETS:
            raise FrameError(509, f"exceed max session count limitation of {MOST_SOCKETS}")
        if not self.connects.take(now):
            raise FrameError(509, f"exceed max connect count {MOST_CONNECTS} per minute")
        expired = ticket is not None and now >= ticket.issued_ms + LIFE_MS
        if self.faults.take(["ws_expired_token"], Seen()) is not None or expired:
            raise FrameError(401, "token is expired")
        if ticket is None:
            raise FrameError(401, "token is invalid")
        connection.private, connection.spot = ticket.private, ticket.spot
        connection.opened_ms = now
        self.outgoing.send(connection, self.welcome(connection))

    def welcome(self, connection: Connection) -> str:
        if connection.unified:
            return unified.welcome(connection.name, self.ping_interval_ms, PING_TIMEOUT_MS)
        return compact({"id": connection.name, "type": "welcome"})

    def refuse(self, connection: Connection, name: str, refusal: FrameError) -> None:
        """Send an error in the form that the client understands."""
        if connection.unified:
            self.outgoing.send(connection, unified.answer(name, refusal.text))
        else:
            self.outgoing.send(connection, error(name, refusal.code, refusal.text))

    async def listen(self, connection: Connection) -> None:
        """Answer a client until it is gone. Raises FrameError when it says nothing for too long; a
        ping of the WebSocket protocol is nothing."""
        time = asyncio.get_running_loop().time
        silence_s = (self.ping_interval_ms + PING_TIMEOUT_MS) / 1000
        until_s = time() + silence_s
        while True:
            try:
                heard = await connection.socket.receive(max(until_s - time(), SOON_S))
            except TimeoutError:
                raise FrameError(400, "ping timeout") from None
            if heard.type is WSMsgType.PING:
                if not self.faults.stands("ws_silent"):
                    await connection.socket.pong(heard.data)
            elif heard.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                until_s = time() + silence_s
                self.take_frame(connection, heard.data)
            elif heard.type is not WSMsgType.PONG:
                return

    def take_frame(self, connection: Connection, text: str | bytes) -> None:
        """Answer a frame, or refuse it when its client says too much."""
        if connection.uplink.take(self.now_ms()):
            self.answer(connection, text)
            return
        refusal = FrameError(509, f"exceed max message count {MOST_FRAMES} per 10 seconds")
        self.refuse(connection, connection.name, refusal)

    def answer(self, connection: Connection, text: str | bytes) -> None:
        """Do what a frame of a client asks for, and say so."""
        asked: Any = None
        with suppress(ValueError, RecursionError):
            asked = json.loads(text)
        asked = asked if isinstance(asked, dict) else {}
        name = str(asked.get("id", connection.name))
        if asked.get("type") == "ping":
            self.pong(connection, name)
            return
        verb = "action" if connection.unified else "type"
        try:
            match asked.get(verb):
                case "subscribe":
                    self.subscribe(connection, asked)
                case "unsubscribe":
                    connection.topics.difference_update(self.wanted(connection, asked))
                case _:
                    raise FrameError(415, f"{verb} is not supported")
        except FrameError as refusal:
            self.refuse(connection, name, refusal)
            return
        if connection.unified:
            self.outgoing.send(connection, unified.answer(name))
        elif asked.get("response") is True:
            self.outgoing.send(connection, compact({"id": name, "type": "ack"}))

    def pong(self, connection: Connection, name: str) -> None:
        """Answer a ping; time may be over although nothing is pushed."""
        self.retire()
        if self.faults.take(["ws_no_pong"], Seen()) is None:
            stamp_us = self.now_ms() * 1000
            self.outgoing.send(
                connection, compact({"id": name, "type": "pong", "timestamp": stamp_us})
            )

    def subscribe(self, connection: Connection, asked: dict[str, Any]) -> None:
        """Add what is asked for, all of it or nothing."""
        topics = connection.topics.union(self.wanted(connection, asked))
        if len(topics) > MOST_TOPICS:
            text = f"exceed max subscription count limitation of {MOST_TOPICS} per session"
            raise FrameError(509, text)
        connection.topics = topics

    def wanted(self, connection: Connection, asked: dict[str, Any]) -> list[str]:
        private, contracts = connection.private, self.contracts
        if connection.unified:
            return unified.read_channel(asked, private=private, contracts=contracts)
        return read_topics(
            asked.get("topic"), private=private, spot=connection.spot, contracts=contracts
        )

    def publish(self, topic: str, subject: str, data: dict[str, Any], *, private: bool) -> int:
        """Push an event to all who listen; a private one only to those with a private token. Return
        how many numbers a fault has left out."""
        names = forms(topic, subject, data)
        readers = [
            (form, connection)
            for form in names
            for connection in self.connections
            if form[0] in connection.topics and (connection.private or not private)
        ]
        # The last form has the longest name, so a fault may ask for a topic with or without symbol.
        fault = self.faults.take(PUSH_KINDS, Seen(names[-1][0])) if readers else None
        step = 1
        if fault is not None and fault.kind == "ws_gap":
            step += self.faults.random(fault).randint(1, MOST_GAP)
        for form in names:
            self.numbers[form[0]] += step
        heard = {form for form, _ in readers}
        frames = {form: self.frame(*form, data) for form in heard}
        if fault is not None and fault.kind in AT_ONCE:
            self.strike(fault)
        self.outgoing.deliver(fault, [(connection, frames[form]) for form, connection in readers])
        self.retire()
        return step - 1

    def frame(self, topic: str, subject: str, data: dict[str, Any]) -> str:
        if topic.startswith("/"):
            return message(topic, subject, self.numbers[topic], data)
        return unified.push(subject, self.now_ms(), data)

    def retire(self) -> None:
        """Close the connections whose time is over."""
        now = self.now_ms()
        for connection in self.connections:
            if now >= connection.opened_ms + LIFE_MS:
                connection.put(None)

    def strike(self, fault: Fault) -> None:
        """Close every connection, or send it an error."""
        code, text = fault.spec.get("code", 500), fault.spec.get("msg", "internal error")
        refusal = FrameError(int(code), str(text))
        for connection in self.connections:
            if fault.kind == "ws_close":
                connection.put(None)
            else:
                self.refuse(connection, connection.name, refusal)

    async def until_read(self) -> None:
        """Wait for the clients that have much to read."""
        for connection in list(self.connections):
            await connection.until_read()

    async def close(self) -> None:
        """End all connections; clients hear of it when they listen."""
        self.closed = True
        self.outgoing.close()
        for connection in self.connections:
            connection.put(None)
        await self.until_ended()
        for connection in self.connections:
            connection.abort()
        await self.until_ended()

    async def until_ended(self) -> None:
        """Wait for the end of all connections, but not for long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                for connection in list(self.connections):
                    await connection.ended.wait()
