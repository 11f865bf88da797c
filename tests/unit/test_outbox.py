"""Messages for people: whole files that sort by time, bounded, and never an exception."""

import json
import time
from pathlib import Path

import pytest

from bot.adapters.outbox import MOST_FILES, MOST_WAITING, Outbox, ulid

WEEK_S = 7 * 86_400


def test_a_message_is_a_file_with_everything_a_notifier_needs(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox", host="h1")
    before_ms = int(time.time() * 1000)
    outbox.put("CRITICAL", "uncovered", "radbot: uncovered", "x" * 9_000, 7)
    outbox.flush()
    [path] = (tmp_path / "outbox").iterdir()
    told = json.loads(path.read_text())
    assert path.stem == told["id"]
    assert told["incident_key"] == "h1/uncovered"
    assert (told["severity"], told["market_ms"]) == ("CRITICAL", 7)
    assert before_ms <= told["at_ms"] <= int(time.time() * 1000)
    assert len(told["body"]) <= 4_096
    assert told["body"].endswith("(cut here)")


def test_names_sort_by_time_also_within_a_millisecond(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    for i in range(50):
        outbox.put("INFO", "x", "t", str(i), i)
    outbox.flush()
    names = sorted(path for path in tmp_path.glob("*.json"))
    assert [json.loads(path.read_text())["body"] for path in names] == [str(i) for i in range(50)]


def test_a_message_costs_no_disk_before_it_is_time_for_that(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    for i in range(MOST_WAITING):
        outbox.put("WARNING", "x", "t", str(i), i)
    assert list(tmp_path.iterdir()) == []
    outbox.put("WARNING", "x", "t", "one too many", 0)  # nothing is lost for want of room
    assert len(list(tmp_path.iterdir())) == MOST_WAITING
    outbox.flush()
    assert len(list(tmp_path.iterdir())) == MOST_WAITING + 1


def test_ulids_sort_by_time_first() -> None:
    assert ulid(1_704_067_200_123, 2**80 - 1) < ulid(1_704_067_200_124, 0)
    assert len(ulid(0, 0)) == 26


def test_what_cannot_be_written_waits_and_goes_later(tmp_path: Path) -> None:
    blocked = tmp_path / "outbox"
    blocked.write_text("a file where the folder should be")
    outbox = Outbox(blocked)
    for i in range(MOST_WAITING + 5):
        outbox.put("WARNING", "x", "t", str(i), i)
    assert len(outbox.waiting) == MOST_WAITING
    blocked.unlink()
    outbox.flush()
    assert len(outbox.waiting) == 0
    assert len(list(blocked.glob("*.json"))) == MOST_WAITING


def test_old_messages_go_and_new_ones_are_bounded(tmp_path: Path) -> None:
    now = 5.0
    outbox = Outbox(tmp_path, monotonic=lambda: now)
    old = [tmp_path / f"{ulid(n, 0)}.json" for n in (1, 2_000_000_000_000)]
    for path in old:
        path.write_text("{}")
    outbox.prune()
    now += 1.0
    for i in range(MOST_FILES + 3):
        (tmp_path / f"{ulid(1_700_000_000_000, i)}.json").write_text("{}")
    outbox.prune()
    assert [path.exists() for path in old] == [False, True]  # the oldest beyond the bound
    assert len(list(tmp_path.glob("*.json"))) == MOST_FILES
    now += WEEK_S
    outbox.prune()
    assert not old[1].exists()
    assert len(list(tmp_path.glob("*.json"))) == MOST_FILES - 1


def test_what_is_too_old_may_be_beyond_the_bound_too(tmp_path: Path) -> None:
    """Nobody has fetched them for a week, and a bad hour adds more: that must not end the bot."""
    now = 5.0
    outbox = Outbox(tmp_path, monotonic=lambda: now)
    for i in range(MOST_FILES):
        (tmp_path / f"{ulid(1, i)}.json").write_text("{}")
    outbox.prune()
    new = tmp_path / f"{ulid(2, 0)}.json"
    new.write_text("{}")
    now += WEEK_S + 1.0
    outbox.prune()
    assert list(tmp_path.glob("*.json")) == [new]


def test_messages_go_after_a_week_of_restarts_too(tmp_path: Path) -> None:
    message = tmp_path / f"{ulid(1, 0)}.json"
    message.write_text("{}")
    day_s = WEEK_S / 7.0
    for _ in range(4):  # processes, of two days each
        now = 1_000.0
        outbox = Outbox(tmp_path, monotonic=lambda: now)  # noqa: B023
        for _ in range(3):
            assert message.exists()
            outbox.prune()
            now += day_s
    assert not message.exists()
    (tmp_path / ".ages").write_text("[]")  # or anything else
    Outbox(tmp_path).prune()


def test_a_full_queue_lets_what_is_critical_go_last(tmp_path: Path) -> None:
    blocked = tmp_path / "outbox"
    blocked.write_text("in the way")
    outbox = Outbox(blocked)
    outbox.put("CRITICAL", "x", "t", "first", 0)
    for i in range(MOST_WAITING):
        outbox.put("WARNING", "x", "t", str(i), i)
    assert [m["body"] for m in outbox.waiting][:2] == ["first", "1"]
    for i in range(2 * MOST_WAITING):
        outbox.put("CRITICAL", "x", "t", f"c{i}", i)
    assert len(outbox.waiting) == MOST_WAITING
    assert outbox.waiting[-1]["body"] == f"c{2 * MOST_WAITING - 1}"


def test_no_secret_is_left_in_a_message(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.put("CRITICAL", "x", "t", "GET /x?token=abcdef123456 failed", 1)
    outbox.flush()
    [message] = outbox.written()
    assert message["body"] == "GET /x?token=[redacted] failed"


def test_a_wrong_clock_takes_no_message_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox(tmp_path)
    outbox.put("CRITICAL", "x", "t", "nobody has read this", 1)
    outbox.flush()
    for years in (30, -30):
        there = time.time() + years * 365 * 86_400
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda there=there: there)
            for one in (outbox, Outbox(tmp_path)):
                one.prune()
    assert len(list(tmp_path.glob("*.json"))) == 1


def test_what_a_process_left_half_written_goes(tmp_path: Path) -> None:
    now = 0.0
    outbox = Outbox(tmp_path, monotonic=lambda: now)
    half = tmp_path / f".{ulid(1, 0)}.json.tmp"
    half.write_text('{"id"')
    outbox.prune()
    assert half.exists()  # somebody may be writing it
    now = 3_600.0
    outbox.prune()
    assert not half.exists()
