"""Logs: one line for each record, and no secret in any of them."""

import argparse
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.locks import LockedError
from bot.adapters.logs import REDACTED, LineFormatter, file_handler, redact, set_up
from bot.shell.cli import failed

ROOT = Path(__file__).parents[2]
SECRET = 'p4ss"phräse\n9'


def line(message: str, *args: object, as_json: bool = True, **extra: object) -> str:
    record = logging.LogRecord("radbot", logging.WARNING, "f.py", 1, message, args, None)
    record.__dict__.update(extra)
    return LineFormatter(as_json=as_json, secrets=[SECRET]).format(record)


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    handlers, level = list(logger.handlers), logger.level
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)


def test_a_line_of_json_has_everything() -> None:
    told = json.loads(line("order %s refused", "t-1", kind="order_rejected", n=3))
    assert told.pop("time").endswith("Z")
    assert told == {
        "level": "WARNING",
        "logger": "radbot",
        "message": "order t-1 refused",
        "kind": "order_rejected",
        "n": 3,
    }


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("api_key=64ab9f", "64ab9f"),
        ('{"passphrase": "hush-hush"}', "hush-hush"),
        ("KC-API-SIGN: c2lnbg==", "c2lnbg"),
        ("Authorization: Bearer abc.def", "abc.def"),
        ("https://me:hunter2@example.org/x", "hunter2"),
        ("tgram://123:AbC/456", "AbC"),
        ("discord://4174216298/JHMHI8qBe7", "JHMHI8qBe7"),
    ],
)
def test_what_looks_like_a_secret_goes(text: str, left: str) -> None:
    assert left not in redact(text)
    assert REDACTED in redact(text)


def test_ordinary_words_stay() -> None:
    text = "BTC-USDT-PERP: stop at 100.5, keyless monkey, https://example.org/a@b?x=1"
    assert redact(text) == text


@given(st.text(), st.text(), st.booleans())
def test_a_known_secret_never_appears(before: str, after: str, as_json: bool) -> None:
    texts = [
        line(before.replace("%", "") + SECRET + after.replace("%", ""), as_json=as_json),
        line("%s", before + SECRET + after, as_json=as_json),
        line("x", as_json=as_json, field=before + SECRET + after),
    ]
    for text in texts:
        assert SECRET not in text
        assert json.dumps(SECRET)[1:-1] not in text


@given(st.text())
def test_a_record_is_one_line_of_json(message: str) -> None:
    text = line("%s", message)
    assert "\n" not in text
    json.loads(text)


def test_tracebacks_are_in_and_clean(root: logging.Logger) -> None:
    out = io.StringIO()
    set_up(out, as_json=True, secrets=[SECRET])
    try:
        raise ValueError(f"wrong {SECRET}")
    except ValueError:
        logging.getLogger("radbot").exception("failed")
    told = json.loads(out.getvalue())
    assert "ValueError: wrong [redacted]" in told["exception"]


DIES = """
import sys, threading
from bot.adapters.logs import set_up
from bot.shell import cli

def dies(argv=None):
    set_up(sys.stderr, as_json=True, secrets=["hunter2hunter2"])
    other = threading.Thread(target=int, args=("token=abc123",))
    other.start()
    other.join()
    raise ValueError("wrong hunter2hunter2")

cli.main = dies
import runpy
runpy.run_module("bot", run_name="__main__")
"""


def test_what_ends_the_process_or_a_thread_is_a_clean_line_too() -> None:
    done = subprocess.run(
        [sys.executable, "-c", DIES], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 1
    first, second = (json.loads(text) for text in done.stderr.splitlines())
    assert (first["level"], second["level"]) == ("CRITICAL", "CRITICAL")
    assert "token=[redacted]" in first["exception"]
    assert "ValueError: wrong [redacted]" in second["exception"]
    assert "abc123" not in done.stderr
    assert "hunter2" not in done.stderr


def test_why_a_service_ends_is_a_line_of_its_log(
    root: logging.Logger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = io.StringIO()
    set_up(out, as_json=True, secrets=[SECRET])
    args = argparse.Namespace(managed=True, json=False)
    error = LockedError(f"another one: {SECRET}")
    monkeypatch.setenv("JOURNAL_STREAM", "8:1234")
    assert failed("radbot", args, error) == 75
    told = json.loads(out.getvalue())
    assert (told["level"], told["message"]) == ("CRITICAL", "radbot: another one: [redacted]")
    assert capsys.readouterr() == ("", "")
    monkeypatch.delenv("JOURNAL_STREAM")
    assert failed("radbot", args, LockedError("another one")) == 75
    assert capsys.readouterr().err == "radbot: another one\n"


def test_what_a_command_without_a_log_dies_of_is_told_as_usual() -> None:
    code = DIES.replace("set_up(", "(lambda *_, **__: 0)(")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 1
    assert done.stderr.endswith("ValueError: wrong hunter2hunter2\n")


def test_a_wrong_format_and_a_broken_stream_harm_nobody(root: logging.Logger) -> None:
    assert "not enough arguments" in line("%s %s", "x")
    closed = io.StringIO()
    set_up(closed, as_json=True)
    closed.close()
    logging.getLogger("radbot").warning("nobody hears this")


def test_a_log_file_is_clean_and_its_trouble_is_silent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = logging.Logger("file")
    handler = file_handler(tmp_path / "bot.log", [SECRET])
    logger.addHandler(handler)
    logger.info("order %s refused: token=abc123", SECRET)
    text = (tmp_path / "bot.log").read_text(encoding="utf-8")
    assert SECRET not in text
    assert "abc123" not in text
    assert text.endswith(f"order {REDACTED} refused: token={REDACTED}\n")
    logger.removeHandler(handler)
    handler.close()
    if Path("/dev/full").exists():  # a disk without room
        full = file_handler(Path("/dev/full"))
        logger.addHandler(full)
        for _ in range(3):
            logger.info("no room for this")
        logger.removeHandler(full)
        with suppress(OSError):
            full.close()
    assert capsys.readouterr() == ("", "")
