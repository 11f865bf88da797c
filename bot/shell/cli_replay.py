"""`radbot replay STATE`: check a journal against the code, and show how it went."""

import argparse
import json
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from bot.adapters.journal_reader import JournalReader
from bot.core.errors import InputError
from bot.shell.replay import MOST_SHOWN, Difference, Replay, describe, newest, replay
from bot.shell.state_folder import JOURNAL
from bot.shell.tables import moment

NOT_ALL = 3


def replay_command(args: argparse.Namespace) -> int:
    """Replay; return 0 when every decision of the journal is reproduced."""
    if not 0 <= args.last <= 10_000:
        raise InputError(f"last: expected 0 to 10000, was {args.last}")
    path = args.state / JOURNAL
    with closing(JournalReader(path)) as reader:
        identity = reader.identity()
        shown: list[dict[str, Any]] = [
            {"n": n, "event": describe(event), "decided": [describe(e) for e in effects]}
            for n, event, effects in newest(reader, args.last)
        ]
        result = with_progress(reader, quiet=args.json)
    if args.json:
        release = {name: identity.get(name) for name in ("run_id", "release_id", "config_hash")}
        equal = result.different == 0
        found = {"equal": equal, "complete": result.skipped == 0, **asdict(result)}
        print(json.dumps({**found, **release, "last": shown}))
    else:
        for one in shown:
            print(f"{one['n']:>8}  {one['event']}")
            for text in one["decided"]:
                print(f"{'':>8}    -> {text}")
        print_result(args.state, result, str(identity.get("release_id", "unknown")))
    if result.different:
        return 1
    return NOT_ALL if result.skipped else 0


def with_progress(reader: JournalReader, *, quiet: bool) -> Replay:
    """Replay with a bar on a terminal."""
    oldest, last = reader.oldest_event() or 0, reader.last_event() or 0
    with tqdm(total=last - oldest + 1, unit=" events", disable=quiet or None, leave=False) as bar:

        def told(done: int) -> None:
            bar.update(done - bar.n)

        return replay(reader, told)


def print_result(state: Path, result: Replay, release: str) -> None:
    """Say what came of it."""
    print(
        f"{state}: {result.runs} runs ({result.unclean} not ended in order), written by release "
        f"{release}"
    )
    if result.events:
        print(f"{moment(result.first_ms)} to {moment(result.last_ms)}, market time")
    print(
        f"{result.events:,} events with {result.effects:,} decisions, "
        f"{result.states} stored states, {result.seconds:.1f} s"
    )
    if result.skipped:
        print(
            f"NOT DECIDED AGAIN: {result.skipped:,} events; they are older than the stored states, "
            "or of a start whose stored state has made room for newer ones",
            file=sys.stderr,
        )
    if result.different == 0:
        what = "of these " if result.skipped else ""
        print(f"equal: every decision {what}and every stored state is reproduced")
        return
    print(f"DIFFERENT: {result.different} times", file=sys.stderr)
    for one in result.differences:
        print_difference(one)
    if result.different > MOST_SHOWN:
        print(f"... and {result.different - MOST_SHOWN} more", file=sys.stderr)


def print_difference(one: Difference) -> None:
    """Show one difference."""
    print(f"event {one.n}, {moment(one.now_ms)}, run {one.run_id}: {one.what}", file=sys.stderr)
    for mark, texts in (("journal", one.was), ("replay ", one.now)):
        for text in texts:
            print(f"    {mark}  {text}", file=sys.stderr)
