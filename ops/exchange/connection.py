"""One WebSocket client: what it listens to, and the frames that still have to be written to it."""

import asyncio
from contextlib import suppress

from aiohttp import WSCloseCode, web

from ops.exchange.limits import Meter

CLOSE_S = 1.0  # for a client's answer to a close
MOST_FRAMES = 100  # of a client within FRAMES_MS
FRAMES_MS = 10_000
READ_S = 5.0  # for a client to read what waits for it, while market time waits
LOOK_S = 0.002


class Connection:
    """Nobody waits for a client: frames are queued, and a reader that is too slow is cut off."""

    def __init__(
        self, request: web.Request, socket: web.WebSocketResponse, name: str, most_waiting: int
    ) -> None:
        self.socket, self.name = socket, name
        self.transport = request.transport
        self.private = False
        self.spot = False
        self.unified = False
        """its frames are those of the unified API"""
        self.opened_ms = 0
        """market time"""
        self.uplink = Meter(MOST_FRAMES, FRAMES_MS)
        self.topics: set[str] = set()
        self.swapped: list[str] = []
        """frames that change places with the next one"""
        self.finished = False
        self.waiting: asyncio.Queue[str | None] = asyncio.Queue(most_waiting)
        self.reads = True
        """market time waits for it"""
        self.ended = asyncio.Event()

    def put(self, frame: str | None) -> None:
        """Queue a frame; None closes the connection behind what is queued."""
        if self.finished:
            return
        self.finished = frame is None
        try:
            self.waiting.put_nowait(frame)
        except asyncio.QueueFull:
            self.abort()

    async def until_read(self) -> None:
        """Wait until at most half of what fits is queued; once READ_S have passed, nobody waits
        before it has caught up."""
        end = asyncio.get_running_loop().time() + READ_S
        while 2 * self.waiting.qsize() > self.waiting.maxsize:
            if self.finished or not self.reads:
                return
            await asyncio.sleep(LOOK_S)
            self.reads = asyncio.get_running_loop().time() < end
        self.reads = True

    async def write(self) -> None:
        """Write what is queued until the connection ends."""
        with suppress(ConnectionError):
            while (frame := await self.waiting.get()) is not None:
                await self.socket.send_str(frame)
            await self.socket.close(code=WSCloseCode.GOING_AWAY, drain=False)

    def abort(self) -> None:
        """End the connection without a word."""
        self.finished = True
        if self.transport is not None:
            self.transport.abort()
