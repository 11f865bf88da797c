"""What is wrong with a configuration, for the operator: where, which key, expected and found."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from difflib import get_close_matches
from functools import cache
from typing import Any, NamedTuple

from pydantic import ValidationError

from bot.core.errors import InputError
from bot.shell.config_schema import Config

type KeyPath = tuple[str | int, ...]
type Node = Mapping[str, Any]
"""A node of the JSON schema, references resolved."""

_SHOWN_CHARACTERS = 60


class Problem(NamedTuple):
    """One error. `where` is `file:line`, the environment variable or the option."""

    where: str
    key: str
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in self if part)


class ConfigError(InputError):
    """The configuration is wrong. The text has one error per line, in the order of the lines."""

    says_where = True

    def __init__(self, errors: Sequence[Problem]) -> None:
        super().__init__(errors)
        self.errors = list(errors)

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


class Finding(NamedTuple):
    """An error whose place is still to be found: the keys it is about, the most telling first."""

    keys: tuple[KeyPath, ...]
    message: str


def key_text(path: KeyPath) -> str:
    """Return the name of a key for people, always on one line.

    >>> key_text(("risk", "tiers", 2, "leverage"))
    'risk.tiers[2].leverage'
    """
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if part.isprintable() else f".{value_text(part)}"
    return text.removeprefix(".")


def value_text(value: object) -> str:
    """Return a value as it is written in YAML, shortened; lists and sections only by their size.

    >>> value_text(5e-05), value_text(10000.0), value_text(None), value_text([1, 2])
    ('0.00005', '10000', 'nothing', 'a list of 2')
    """
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, float) and abs(value) < 1e15:
        return format(Decimal(repr(value)), "f")
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    if isinstance(value, Mapping):
        return "a section of keys"
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


@cache
def _schema() -> Node:
    return Config.model_json_schema()


def _resolved(node: Node) -> Node:
    while "$ref" in node:
        rest = {key: value for key, value in node.items() if key != "$ref"}
        node = {**_schema()["$defs"][node["$ref"].rpartition("/")[2]], **rest}
    return node


def schema_node(path: KeyPath) -> tuple[KeyPath, Node]:
    """Return the part of `path` that the schema knows, and the schema of that key."""
    node, known = _resolved(_schema()), 0
    for part in path:
        child = node.get("items") if isinstance(part, int) else node.get("properties", {}).get(part)
        if child is None:
            break
        node, known = _resolved(child), known + 1
    return path[:known], node


def _range_text(node: Node) -> str:
    if "minimum" in node and "maximum" in node:
        return f"from {value_text(node['minimum'])} to {value_text(node['maximum'])}"
    words = {
        "exclusiveMinimum": "above",
        "minimum": "at least",
        "exclusiveMaximum": "below",
        "maximum": "at most",
    }
    return " and ".join(
        f"{word} {value_text(node[key])}" for key, word in words.items() if key in node
    )


def expectation(node: Node) -> str:
    """Return what the schema allows at `node`, in words.

    >>> expectation({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1})
    'a number above 0 and below 1'
    """
    if "anyOf" in node:
        return ", or ".join(expectation(_resolved(option)) for option in node["anyOf"])
    if node.get("format") == "uri":
        return "an address like https://api.example.com"
    if "enum" in node:
        return "one of " + ", ".join(node["enum"])
    if "const" in node:
        return str(node["const"])
    if node["type"] == "array":
        item = _resolved(node["items"])
        items = {"string": "names", "object": "rows"}[item["type"]]
        if "enum" in item:
            items = "of " + ", ".join(item["enum"])
        return f"a list of {node['minItems']} to {node['maxItems']} {items}"
    kinds = {
        "number": "a number",
        "integer": "a whole number",
        "string": "a name",
        "boolean": "true or false",
        "object": "a section of keys",
        "null": "null",
    }
    return f"{kinds[node['type']]} {_range_text(node)}".strip()


def _keys_in(path: KeyPath) -> list[str]:
    return list(schema_node(path)[1].get("properties", {}))


def _unknown_key(path: KeyPath) -> str:
    """Return the message for a key that does not exist, with the nearest one that does."""
    at, name = path[:-1], str(path[-1])
    near = [key_text((*at, key)) for key in get_close_matches(name, _keys_in(at), n=1)]
    if not near:
        near = [f"{section}.{name}" for section in _keys_in(()) if name in _keys_in((section,))]
    if near:
        return f"expected a known key, was {value_text(name)}; did you mean {' or '.join(near)}?"
    return f"expected one of {', '.join(_keys_in(at))}, was {value_text(name)}"


def findings(error: ValidationError) -> list[Finding]:
    """Return the errors pydantic found in words of our own, each key at most once."""
    found: dict[KeyPath, Finding] = {}
    for detail in error.errors(include_url=False):
        path, node = schema_node(detail["loc"])
        given = detail["input"]
        was = repr(given) if isinstance(given, float) else value_text(given)  # 1.0 is not whole
        message = f"expected {expectation(node)}, was {was}"
        if detail["type"] == "extra_forbidden":
            path = detail["loc"]
            message = _unknown_key(path)
        elif detail["type"] == "missing":
            message = f"expected {expectation(node)}, was missing"
        elif detail["type"] == "value_error":
            message = str(detail["ctx"]["error"])
        found.setdefault(path, Finding((path,), message))
    # pydantic counts the good items of a list only, and calls it too short; the items say it all.
    lists = {path[:i] for path in found for i, part in enumerate(path) if isinstance(part, int)}
    return [finding for path, finding in found.items() if path not in lists]
