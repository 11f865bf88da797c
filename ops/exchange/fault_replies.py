"""Broken replies of the REST side: connections that are cut, gateway pages, missing values."""

import json
import math
from collections.abc import Callable, Collection
from http import HTTPStatus
from random import Random
from typing import Any

from aiohttp import web

PAGE = "<html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>\n"
STATUS_PATH = "/api/v1/status"
TRADING_PATHS = ("/orders", "/st-orders", "/stopOrders")  # behind /api/<version>
SUSPENDED = ("300002", "The trading of this contract is suspended.")
UNAVAILABLE = ("503000", "Service unavailable: under maintenance.")
TOO_MANY = ("429000", "Too many requests in a short period of time, please retry later.")


def cut(request: web.Request) -> web.Response:
    """Close the connection; what is returned finds nobody to read it."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def envelope(code: str, msg: str, status: int = 200) -> web.Response:
    """Return an error as the exchange words it."""
    return web.json_response({"code": code, "msg": msg}, status=status)


def page(title: str, status: int = 200) -> web.Response:
    """Return a web page where JSON is expected."""
    return web.Response(status=status, text=PAGE.format(title), content_type="text/html")


def plain(status: int, body: Any) -> web.Response:
    """Return a reply with a status of its own; without a body what stands in front would say."""
    if isinstance(body, str):
        return web.Response(status=status, text=body)
    if body is not None:
        return web.json_response(body, status=status)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return envelope(*TOO_MANY, status)
    known = {known.value for known in HTTPStatus}
    phrase = HTTPStatus(status).phrase if status in known else "Error"
    return page(f"{status} {phrase}", status)


def is_maintained(request: web.Request) -> bool:
    """Return whether maintenance concerns a request: private calls and the status itself."""
    return request.path == STATUS_PATH or "KC-API-KEY" in request.headers


def maintained(request: web.Request) -> web.Response:
    """Return what a call is answered under maintenance."""
    if request.path == STATUS_PATH:
        told = {"status": "close", "msg": "under maintenance"}
        return web.json_response({"code": "200000", "data": told})
    behind = "/" + request.path.removeprefix("/api/").partition("/")[2]
    if request.method != "GET" and behind.startswith(TRADING_PATHS):
        return envelope(*SUSPENDED)
    return envelope(*UNAVAILABLE, HTTPStatus.SERVICE_UNAVAILABLE)


def altered(reply: web.StreamResponse, change: Callable[[Any], Any]) -> web.StreamResponse:
    """Send the `data` of a reply through `change`; what is no JSON object stays as it is."""
    if not isinstance(reply, web.Response) or not isinstance(reply.body, bytes | bytearray):
        return reply
    try:
        body = json.loads(reply.body)
    except ValueError:
        return reply
    if isinstance(body, dict):
        body["data"] = change(body.get("data"))
        reply.body = json.dumps(body, separators=(",", ":")).encode()
    return reply


def blanked(data: Any, named: Collection[str], rng: Random) -> Any:
    """Return a copy of a JSON value whose objects and rows have values set to null.

    The named ones, or a third (at least one) of the plain values of each object and of each list.
    """
    if isinstance(data, list):
        places = set() if named else set(drawn(dict(enumerate(data)), rng))
        return [None if i in places else blanked(item, named, rng) for i, item in enumerate(data)]
    if not isinstance(data, dict):
        return data
    filled = {name: blanked(value, named, rng) for name, value in data.items()}
    lost = named or drawn(data, rng)
    return {name: None if name in lost else value for name, value in filled.items()}


def blanked_of(data: Any, symbol: str, named: Collection[str], rng: Random) -> Any:
    """Return a copy of a JSON value in which only the objects of one contract are `blanked`; ""
    means all of it."""
    if not symbol or (isinstance(data, dict) and data.get("symbol") == symbol):
        return blanked(data, named, rng)
    if isinstance(data, list):
        return [blanked_of(item, symbol, named, rng) for item in data]
    if not isinstance(data, dict):
        return data
    return {name: blanked_of(value, symbol, named, rng) for name, value in data.items()}


def drawn[K: (str, int)](data: dict[K, Any], rng: Random) -> list[K]:
    """Return a third of the names of plain values, at least one where there is one."""
    names = sorted(name for name, value in data.items() if not isinstance(value, dict | list))
    return rng.sample(names, math.ceil(len(names) / 3))
