"""Where the values come from (a YAML file, the environment, options), and where each one stood.

YAML is read without its traps: no anchors, aliases or tags, no octal or base-60 numbers, no `yes`
for true, no key twice. Numbers are decimal, with or without exponent.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import yaml

from bot.core.errors import InputError
from bot.shell.config_errors import ConfigError, KeyPath, Problem, key_text, value_text

ENV_PREFIX = "RADBOT__"
MAX_FILE_BYTES = 1_000_000
_MAX_DEPTH = 16
_MAX_DIGITS = 40
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_WORDS: Mapping[str, bool | None] = {
    "": None,
    "~": None,
    "null": None,
    "true": True,
    "false": False,
}


class Origin(NamedTuple):
    """Where a value was written. Origins sort in the order of reporting and of precedence."""

    layer: int
    """0 is the file, then one for each variable and option: the later overrides the earlier"""
    line: int
    where: str


@dataclass(slots=True)
class Document:
    """One YAML text as plain values, with the line of each key and list item, and key errors."""

    value: object = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    errors: list[tuple[int, KeyPath, str]] = field(default_factory=list)


@dataclass(slots=True)
class Sources:
    """All layers as one tree of values, the origin of each key in it, and the errors so far."""

    data: dict[str, object] = field(default_factory=dict)
    origins: dict[KeyPath, Origin] = field(default_factory=dict)
    errors: list[tuple[Origin, Problem]] = field(default_factory=list)
    layers: int = 0

    def nearest_origin(self, path: KeyPath) -> Origin:
        """Return where the key at `path`, or the nearest key around it, was written."""
        while path and path not in self.origins:
            path = path[:-1]
        return self.origins.get(path, Origin(0, 0, "configuration"))

    def refuse(self, origin: Origin, key: str, message: str) -> None:
        """Note an error about `key` at `origin`."""
        self.errors.append((origin, Problem(origin.where, key, message)))


class _PlainLoader(yaml.SafeLoader):
    """YAML's syntax only: what a scalar means is decided in `_scalar`."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        problem = ""
        if isinstance(event, yaml.AliasEvent) or event.anchor or event.tag:
            problem = "anchors, aliases and tags are not allowed, write the value out"
        elif self.depth == _MAX_DEPTH:
            problem = f"nested more than {_MAX_DEPTH} levels deep"
        if problem:
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _scalar(node: yaml.ScalarNode) -> object:
    """Return what a scalar means. Quoted text is text; numbers are decimal (`010` is ten)."""
    text: str = node.value
    if node.style is not None or len(text) > _MAX_DIGITS:
        return text
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _plain(node: yaml.Node, at: KeyPath, document: Document) -> object:
    """Return the value of key `at`, written as `node`; note lines and errors in `document`."""
    if isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            document.lines[(*at, i)] = item.start_mark.line + 1
        return [_plain(item, (*at, i), document) for i, item in enumerate(node.value)]
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node)
    assert isinstance(node, yaml.MappingNode)
    section: dict[str, object] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            document.errors.append((line, at, "expected names as keys, was a list or a section"))
            continue
        name = key_node.value
        path = (*at, name)
        if name in section:
            first = document.lines[path]
            document.errors.append((line, path, f"expected once, was on line {first} already"))
            continue
        document.lines[path] = line
        section[name] = _plain(value_node, path, document)
    return section


def parse_yaml(text: str) -> Document:
    """Return the values of a YAML text; raise yaml.YAMLError when it is none."""
    loader = _PlainLoader(text)
    try:
        node = loader.get_single_node()
        document = Document()
        document.value = None if node is None else _plain(node, (), document)
        return document
    finally:
        loader.dispose()


def _syntax_error(error: yaml.YAMLError, text: str) -> tuple[int, int, str]:
    """Return line, column (both from 1) and message of a syntax error."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        what = ", ".join(part for part in (error.context, error.problem) if part)
        return mark.line + 1, mark.column + 1, f"expected valid YAML: {what}"
    assert isinstance(error, yaml.reader.ReaderError)  # the only kind without a mark
    before = text[: error.position]
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    code = int(error.character)  # a code point where text is read, whatever the stubs say
    return line, column, f"expected valid YAML: the character U+{code:04X} is not allowed"


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"{path}: expected a configuration file that can be read, was: {error.strerror}"
        ) from error
    if len(raw) > MAX_FILE_BYTES:
        raise InputError(f"{path}: expected at most {MAX_FILE_BYTES} bytes, was more")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: expected UTF-8 text, was another encoding (byte {error.start}); "
            "save the file as UTF-8"
        ) from error


def add_file(sources: Sources, path: Path) -> None:
    """Lay the configuration file under everything else.

    Raises
    ------
    InputError : the file cannot be read, or is no YAML; then nothing else can be said about it
    """
    text = _read_text(path)
    try:
        document = parse_yaml(text)
    except yaml.YAMLError as error:
        line, column, message = _syntax_error(error, text)
        raise ConfigError([Problem(f"{path}:{line}:{column}", "", message)]) from error

    def at_line(line: int) -> Origin:
        return Origin(0, line, f"{path}:{line}")

    for line, key, message in document.errors:
        sources.refuse(at_line(line), key_text(key), message)
    if isinstance(document.value, dict):
        _merge(sources, document.value, lambda key: at_line(document.lines[key]))
    elif document.value is not None:
        found = value_text(document.value)
        sources.refuse(at_line(1), "", f"expected keys such as `timeframe: 1h`, was {found}")


def add_environment(sources: Sources, environ: Mapping[str, str]) -> None:
    """Lay the variables RADBOT__SECTION__KEY over what is there; their values are YAML."""
    for name in sorted(environ):
        if name.startswith(ENV_PREFIX):
            keys = name.removeprefix(ENV_PREFIX).lower().split("__")
            _add_value(sources, name, keys, environ[name])
        elif name.startswith("RADBOT_") and "__" in name:
            sources.layers += 1
            meant = f"{ENV_PREFIX}{name.removeprefix('RADBOT_')}"
            sources.refuse(Origin(sources.layers, 0, name), "", f"expected the name {meant}")


def add_options(sources: Sources, sets: Sequence[str]) -> None:
    """Lay the values of `--set section.key=value` over what is there; the last one wins."""
    for text in sets:
        key, equals, value = text.partition("=")
        key = key.strip()
        _add_value(sources, f"--set {key}", key.split("."), value if equals else None)


def _add_value(sources: Sources, where: str, keys: Sequence[str], text: str | None) -> None:
    sources.layers += 1
    origin = Origin(sources.layers, 0, where)
    if text is None or not all(keys):
        sources.refuse(origin, "", "expected a key and a value, as in risk.max_positions=2")
        return
    try:
        document = parse_yaml(text)
    except yaml.YAMLError as error:
        sources.refuse(origin, ".".join(keys), _syntax_error(error, text)[2])
        return
    for _, path, message in document.errors:
        sources.refuse(origin, key_text((*keys, *path)), message)
    tree = document.value
    for key in reversed(keys):
        tree = {key: tree}
    assert isinstance(tree, dict)
    _merge(sources, tree, lambda _: origin)


def _merge(
    sources: Sources, section: Mapping[str, object], origin_of: Callable[[KeyPath], Origin]
) -> None:
    """Lay `section` over the tree: sections merge key by key, lists and values replace."""

    def lay(base: dict[str, object], over: Mapping[str, object], at: KeyPath) -> None:
        for name, value in over.items():
            path, old = (*at, name), base.get(name)
            if isinstance(value, dict) and (old is None or isinstance(old, dict)):
                sources.origins[path] = origin_of(path)
                base[name] = dict(old or {})
                lay(base[name], value, path)  # type: ignore[arg-type]
                continue
            if name in base:
                for stale in _paths(old, path):
                    del sources.origins[stale]
            base[name] = value
            for key in _paths(value, path):
                sources.origins[key] = origin_of(key)

    lay(sources.data, section, ())


def _paths(value: object, at: KeyPath) -> Iterator[KeyPath]:
    """Yield the path of a value and of everything inside it."""
    yield at
    items: Iterator[tuple[str | int, object]] = iter(())
    if isinstance(value, dict):
        items = iter(value.items())
    elif isinstance(value, list):
        items = iter(enumerate(value))
    for key, child in items:
        yield from _paths(child, (*at, key))
