"""Logs: one line for each record, and no secret in any of them."""

import io
import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.logs import REDACTED, LineFormatter, file_handler, redact, set_up

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
