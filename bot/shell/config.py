"""Load the configuration: defaults < file < environment < options, and every error at once."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path

from pydantic import ValidationError

from bot.shell.config_errors import (
    ConfigError,
    Finding,
    KeyPath,
    findings,
    key_text,
    schema_node,
)
from bot.shell.config_rules import broken_rules
from bot.shell.config_schema import Config
from bot.shell.config_sources import Origin, Sources, add_environment, add_file, add_options

__all__ = ["Config", "ConfigError", "load_config", "trading_hash"]

# What may change without changing what is traded. Everything else is in the hash, so that a new
# section is never forgotten.
NOT_TRADING = {"balance", "on_stop", "paper", "timing", "exchange"}


def load_config(
    path: Path | None, sets: Sequence[str] = (), environ: Mapping[str, str] | None = None
) -> Config:
    """Return the configuration: defaults, and over them the file, the environment, the options.

    Parameters
    ----------
    path : a YAML file; None for none
    sets : options `section.key=value`, values in YAML, the last one wins
    environ : variables; RADBOT__SECTION__KEY counts, values in YAML

    Raises
    ------
    ConfigError : what is wrong, all of it, each with its line, variable or option
    InputError : the file cannot be read
    """
    sources = Sources()
    if path is not None:
        add_file(sources, path)
    add_environment(sources, environ or {})
    add_options(sources, sets)
    for name in [key for key, value in sources.data.items() if value is None]:
        if "properties" in schema_node((name,))[1]:  # `risk:` with every key commented out
            del sources.data[name]
    config, wrong = _validated(sources.data)
    bad = [finding.keys[0] for finding in wrong]
    for finding in broken_rules(config):
        if not any(_overlap(key, other) for key in finding.keys for other in bad):
            wrong.append(finding)
    for finding in wrong:
        origin, key = _place(sources, finding)
        sources.refuse(origin, key_text(key), finding.message)
    if sources.errors:
        raise ConfigError([problem for _, problem in sorted(sources.errors)])
    return config


def _validated(data: dict[str, object]) -> tuple[Config, list[Finding]]:
    """Return the configuration and what is wrong with single keys, which then have their defaults.

    So the rules about several keys can be checked although some keys are wrong.
    """
    try:
        return Config.model_validate(data), []
    except ValidationError as error:
        wrong = findings(error)
    bad = {_named(finding.keys[0]) for finding in wrong}
    return Config.model_validate(_without(data, bad)), wrong


def _named(path: KeyPath) -> KeyPath:
    """Return the path without list positions: one bad item spoils the list."""
    return tuple(takewhile(lambda part: isinstance(part, str), path))


def _without(section: dict[str, object], bad: set[KeyPath], at: KeyPath = ()) -> dict[str, object]:
    """Return `section`, which is the value of key `at`, without the bad keys."""
    return {
        name: _without(value, bad, (*at, name)) if isinstance(value, dict) else value
        for name, value in section.items()
        if (*at, name) not in bad
    }


def _overlap(one: KeyPath, other: KeyPath) -> bool:
    """Return whether the keys are the same, or one is a section around the other."""
    return all(a == b for a, b in zip(_named(one), _named(other), strict=False))


def _place(sources: Sources, finding: Finding) -> tuple[Origin, KeyPath]:
    """Return where a finding is reported: of the keys it is about, the one that was set last.

    A key that is missing has no place of its own: the row or section around it is named.
    """
    written = [key for key in finding.keys if key in sources.origins] or finding.keys[:1]
    places = [(sources.nearest_origin(key), key) for key in written]
    return max(places, key=lambda place: place[0].layer)


def trading_hash(config: Config) -> str:
    """Return 12 hex digits of the SHA-256 of everything that decides what is traded."""
    trading = config.model_dump(mode="json", exclude=NOT_TRADING)
    text = json.dumps(trading, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
