"""Write the sample configuration from the schema: each key, its default, range and meaning."""

import inspect
import textwrap
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from bot.shell.config_errors import KeyPath, expectation, schema_node, value_text
from bot.shell.config_schema import Config

_WIDTH = 100


def example_yaml() -> str:
    """Return a configuration file that writes all defaults out; `config/paper.yml` is this text."""
    lines = _comment(inspect.getdoc(Config) or "", "")
    defaults = Config()
    for name in Config.model_fields:
        value = getattr(defaults, name)
        if isinstance(value, BaseModel):
            lines += ["", *_comment(inspect.getdoc(type(value)) or "", ""), f"{name}:"]
            for key in type(value).model_fields:
                lines += _entry((name, key), getattr(value, key), "  ")
        else:
            lines += ["", *_entry((name,), value, "")]
    return "\n".join(lines) + "\n"


def _comment(text: str, indent: str) -> list[str]:
    """Return `text` as comment lines; its paragraphs stay paragraphs."""
    lines: list[str] = []
    for paragraph in text.split("\n\n"):
        if lines:
            lines.append(f"{indent}#")
        prefix = f"{indent}# "
        lines += textwrap.wrap(
            " ".join(paragraph.split()),
            _WIDTH,
            initial_indent=prefix,
            subsequent_indent=prefix,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return lines


def _entry(path: KeyPath, value: object, indent: str) -> list[str]:
    """Return one key with its value and range, below a comment that says what it means."""
    node = schema_node(path)[1]
    lines = _comment(node["description"], indent)
    if not isinstance(value, tuple):
        return [*lines, f"{indent}{path[-1]}: {_yaml(value)}  # {expectation(node)}"]
    if isinstance(value[0], BaseModel):
        for name in type(value[0]).model_fields:
            field = schema_node((*path, 0, name))[1]
            lines += _comment(f"{name}: {field['description']} ({expectation(field)})", indent)
    items = [f"{indent}  - {_yaml(item)}" for item in value]
    return [*lines, f"{indent}{path[-1]}:  # {expectation(node)}", *items]


def _yaml(value: Any) -> str:
    """Return a value on one line of YAML; keys of a row that are null are left out."""
    if isinstance(value, BaseModel):
        shown: Mapping[str, Any] = value.model_dump(exclude_none=True)
        return "{" + ", ".join(f"{key}: {_yaml(item)}" for key, item in shown.items()) + "}"
    if value is None:
        return "null"
    return value if isinstance(value, str) else value_text(value)
