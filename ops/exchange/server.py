"""The listeners: guards, envelopes, and the life of the whole simulator.

`Server` lives in an event loop of its caller, `WireExchange` in a thread of its own for tests.

What happens to a request, in this order: it is counted, faults, limits, signature, the market is
played up to now, the handler. Every reply goes back with the headers of its pool.
"""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiohttp import web

from bot.core.messages import Event
from ops.exchange import orders_api, private_api, public_api, spot_api
from ops.exchange.auth import check
from ops.exchange.calls import Call, Route
from ops.exchange.control import control_app
from ops.exchange.limits import Pool
from ops.exchange.refusal import RefusedError
from ops.exchange.sockets import CLASSIC_PATH, UNIFIED_PATH, UNIFIED_PRIVATE_PATH
from ops.exchange.validation import role_of_request
from ops.exchange.wire import Options, Wire

HOST = "127.0.0.1"
TICK_S = 0.05  # how often a market that runs by itself is played while nobody asks
MOST_BODY = 1 << 20  # bytes of one request

FUTURES_ROUTES = [*public_api.ROUTES, *orders_api.ROUTES, *private_api.ROUTES]

type Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def listener(wire: Wire, routes: Sequence[Route]) -> web.Application:
    """Return the application of one REST listener."""
    known: dict[tuple[str, str], Route] = {}

    def route_of(request: web.Request) -> Route | None:
        resource = request.match_info.route.resource
        return known.get((request.method, resource.canonical)) if resource else None

    @web.middleware
    async def framed(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count a request, and send every reply with the headers of its pool."""
        route = route_of(request)
        if request.match_info.route.resource is not None:
            wire.requests[f"{request.method} {request.match_info.route.resource.canonical}"] += 1
        reply = await handler(request)
        if not reply.prepared:
            reply.headers.update(
                wire.limits.headers(route.pool if route else Pool.PUBLIC, wire.now())
            )
        return reply

    @web.middleware
    async def refusing(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Turn refusals into replies, and what no route knows into one."""
        try:
            return await handler(request)
        except RefusedError as refusal:
            return _reply({"code": refusal.code, "msg": refusal.message}, refusal.status)
        except (web.HTTPNotFound, web.HTTPMethodNotAllowed):
            return _reply({"code": "404000", "msg": "Url Not Found"}, 404)

    app = web.Application(
        middlewares=[
            framed,
            wire.faults.middleware(role_of_request),
            refusing,
        ],
        client_max_size=MOST_BODY,
    )
    for route in routes:
        added = app.router.add_route(route.method, route.path, _handling(wire, route))
        if added.resource is not None:
            known[route.method, added.resource.canonical] = route
    return app


def _handling(wire: Wire, route: Route) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        wire.limits.charge(route.pool, route.weight, wire.now())
        if route.signed:
            check(
                wire.options.credentials,
                request.headers,
                request.method,
                request.raw_path,
                body,
                wire.clocks(),
            )
            wire.rights.check(trades=route.trades)
        params = {**request.query, **request.match_info}
        call = Call(params, _parsed(body), wire.catch_up())
        return _reply({"code": "200000", "data": route.handler(wire, call)})

    return handle


async def _body(request: web.Request) -> bytes:
    """Return the body of a request; raise RefusedError when it is none for us."""
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise RefusedError("400100", f"expected at most {MOST_BODY} bytes", 413) from None
    except (web.RequestPayloadError, ConnectionError):  # of no known encoding, or not whole
        raise RefusedError("400100", "the body cannot be read", 400) from None
    if body and request.content_type != "application/json":
        raise RefusedError("415000", "Unsupported Media Type", 415)
    return body


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body) if body else {}
    except (ValueError, RecursionError):
        raise RefusedError("400100", "expected JSON") from None


def _reply(content: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(
        text=json.dumps(content, separators=(",", ":")),
        status=status,
        content_type="application/json",
    )


class Server:
    """The simulator on its three listeners, inside one event loop."""

    def __init__(
        self, options: Options, on_event: Callable[[Event], None] = lambda _: None
    ) -> None:
        self.options = options
        self.wire = Wire(options, on_event)
        self.runners: list[web.AppRunner] = []
        self.addresses: dict[str, Any] = {}
        self.ticking: asyncio.Task[None] | None = None

    async def start(self) -> dict[str, Any]:
        """Listen; return the addresses and the market time.

        Raises
        ------
        OSError : a port is taken
        """
        options = self.options
        futures = listener(self.wire, FUTURES_ROUTES)
        for path in (CLASSIC_PATH, UNIFIED_PATH, UNIFIED_PRIVATE_PATH):
            futures.router.add_get(path, self.wire.hub.handle)
        spot = listener(self.wire, spot_api.ROUTES)
        control = control_app(self.wire)
        try:
            futures_port = await self._listen(futures, options.futures_port)
            spot_port = await self._listen(spot, options.spot_port)
            control_port = await self._listen(control, options.control_port)
        except OSError:
            await self.stop()
            raise
        self.wire.endpoint = f"ws://{HOST}:{futures_port}{CLASSIC_PATH}"
        self.addresses = {
            "futures": f"http://{HOST}:{futures_port}",
            "spot": f"http://{HOST}:{spot_port}",
            "control": f"http://{HOST}:{control_port}",
        }
        if options.speed is not None:
            self.ticking = asyncio.create_task(self._tick())
        return {**self.addresses, "now_ms": self.wire.now()}

    async def _listen(self, app: web.Application, port: int) -> int:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        self.runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, HOST, port)
        await site.start()
        found: int = runner.addresses[0][1]
        return found

    async def serve(self, ended: asyncio.Event) -> None:
        """Wait until it is to end, then close everything; raise what has stopped the market."""
        waiting: set[asyncio.Task[Any]] = {asyncio.create_task(ended.wait())}
        if self.ticking is not None:
            waiting.add(self.ticking)
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        await self.stop()
        for task in done:
            task.result()

    async def _tick(self) -> None:
        while True:
            self.wire.catch_up()
            await asyncio.sleep(TICK_S)

    async def stop(self) -> None:
        """Close every socket and listener."""
        if self.ticking is not None:
            self.ticking.cancel()
            await asyncio.wait({self.ticking})
        self.wire.faults.clear()  # what waits because of a fault must not hold us up
        await self.wire.hub.close()
        for runner in self.runners:
            await runner.cleanup()


class WireExchange:
    """A simulator in a thread of its own: `with WireExchange(options) as addresses`."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.addresses: dict[str, Any] = {}
        self.failure: BaseException | None = None
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wire-exchange", daemon=True)

    def start(self) -> dict[str, Any]:
        """Listen; return the addresses and the market time. What start-up raises is raised here."""
        self._thread.start()
        self._listening.wait()
        if self.failure is not None:
            self._thread.join()
            raise self.failure
        return self.addresses

    def stop(self) -> None:
        """Close everything and end the thread; what has stopped the market is raised here."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ended.set)
            self._thread.join()
        if self.failure is not None:
            raise self.failure

    def __enter__(self) -> dict[str, Any]:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            try:
                runner.run(self._serve())
            except BaseException as error:
                self.failure = error
            finally:
                self._listening.set()

    async def _serve(self) -> None:
        server = Server(self.options)
        self.addresses = await server.start()
        self._listening.set()
        await server.serve(self._ended)
