"""Records to plain JSON-able data and back, by their type hints; floats survive exactly.

A reader ignores keys that it does not know and gives a missing key its field's default, so that two
neighbouring releases can read each other's records.
"""

import types
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from operator import attrgetter
from typing import Any, TypeAliasType, Union, get_args, get_origin, get_type_hints

from bot.core.errors import InputError

type Plain = Any
type Coder = Callable[[Any], Any]
SCALARS = (int, float, str, bool, type(None))


def encode(value: object) -> Plain:
    """Return `value` as numbers, strings, lists and dicts."""
    kind: Any = type(value)
    return _encoder(kind)(value)


def decode[T](cls: type[T], data: Plain) -> T:
    """Return the `cls` that `data` was made of.

    Raises
    ------
    InputError : `data` has another shape
    """
    kind: Any = cls
    try:
        made: T = _decoder(kind)(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"expected a stored {cls.__name__}, was {error!r}") from error
    return made


def encode_member(value: object) -> Plain:
    """Return `value` with the name of its class, for unions."""
    return {"type": type(value).__name__, **encode(value)}


def decode_member(union: Any, data: Plain) -> Any:
    """Return the member of `union` that `data` was made of by `encode_member`."""
    members = {cls.__name__: cls for cls in get_args(_bare(union))}
    if data.get("type") not in members:
        raise InputError(f"expected one of {', '.join(members)}, was {data.get('type')!r}")
    return decode(members[data["type"]], data)


def _bare(kind: Any) -> Any:
    return kind.__value__ if isinstance(kind, TypeAliasType) else kind


def _same(value: Any) -> Any:
    return value


@cache
def _encoder(kind: Any) -> Coder:
    """Return the encoder of values of exactly this class."""
    if kind in SCALARS:
        return _same
    if issubclass(kind, Enum):
        return lambda value: value.name
    if is_dataclass(kind):
        names = [field.name for field in fields(kind)]
        hints = get_type_hints(kind)
        if len(names) > 1 and all(hints[name] in SCALARS for name in names):
            values = attrgetter(*names)  # the kernel's records: many, flat, and at every commit
            return lambda value: dict(zip(names, values(value), strict=True))
        return lambda value: {name: encode(getattr(value, name)) for name in names}
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return lambda value: {name: encode(getattr(value, name)) for name in value._fields}
    if issubclass(kind, (list, tuple)):
        return lambda value: [encode(item) for item in value]
    if issubclass(kind, dict):
        return lambda value: {_key(key): encode(item) for key, item in value.items()}
    raise TypeError(f"cannot store a {kind.__name__}")


def _key(key: object) -> str:
    return key.name if isinstance(key, Enum) else str(key)


@cache
def _decoder(kind: Any) -> Coder:
    """Return the decoder for a type hint."""
    kind = _bare(kind)
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        inner = [_decoder(arg) for arg in args if arg is not type(None)]
        if len(inner) != 1:
            raise TypeError(f"cannot restore a {kind}")
        return lambda data: None if data is None else inner[0](data)
    if origin in (list, tuple):
        item = _decoder(args[0])
        return lambda data: origin(item(part) for part in data)
    if origin is dict:
        key = _decoder(args[0]) if issubclass(args[0], Enum) else args[0]
        value = _decoder(args[1])
        return lambda data: {key(name): value(part) for name, part in data.items()}
    if kind is float:
        return float
    if kind in (int, str, bool, type(None), Any):
        return _same
    if issubclass(kind, Enum):
        return lambda data: kind[data]
    return _record_decoder(kind)


def _record_decoder(kind: Any) -> Coder:
    hints = get_type_hints(kind)
    if is_dataclass(kind):
        made = [f for f in fields(kind) if f.init]
        names = [field.name for field in made]
        needed = {f.name for f in made if f.default is MISSING and f.default_factory is MISSING}
    else:
        names = list(kind._fields)
        needed = set(names) - set(kind._field_defaults)
    parts = {name: _decoder(hints[name]) for name in names}

    def restore(data: Plain) -> Any:
        if not isinstance(data, dict):  # a list, too, has no key, and would give the defaults
            raise TypeError(f"expected a record, was a {type(data).__name__}")
        for name in needed:
            if name not in data:
                raise KeyError(name)
        return kind(**{name: part(data[name]) for name, part in parts.items() if name in data})

    return restore
