"""Standard output that breaks or stands still: nobody who writes to it notices."""

import io
import os
from collections.abc import Iterator
from io import RawIOBase
from pathlib import Path
from typing import TextIO

import pytest

from bot.adapters.voice import Voice

LINE = "2025-01-01 00:01  BTC  long 4 contracts\n"


@pytest.fixture
def pipe() -> Iterator[tuple[RawIOBase, TextIO]]:
    """A reader's end, and what writes to it."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with os.fdopen(reader, "rb", buffering=0) as one, os.fdopen(writer, "w") as other:
        yield one, other
        Voice(other).hush()


def test_what_is_said_is_read(pipe: tuple[RawIOBase, TextIO]) -> None:
    reader, out = pipe
    voice = Voice(out)
    print("equity 5", file=voice)
    assert not voice.isatty()
    voice.flush()
    assert reader.read(100) == b"equity 5\n"


@pytest.mark.parametrize("patient", [True, False])
def test_a_reader_that_goes_away_silences_it(pipe: tuple[RawIOBase, TextIO], patient: bool) -> None:
    reader, out = pipe
    voice = Voice(out, patient=patient)
    reader.close()
    for _ in range(1_000):  # more than any buffer holds
        voice.write(LINE)
    voice.flush()
    assert voice.out is None
    out.flush()  # what the interpreter does at exit


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a disk that is always full")
def test_a_full_disk_silences_it() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as out:
        voice = Voice(out)
        for _ in range(1_000):
            print(LINE, file=voice)
        voice.flush()
        assert voice.out is None


def test_a_reader_that_does_not_read_holds_nobody_up(pipe: tuple[RawIOBase, TextIO]) -> None:
    reader, out = pipe
    voice = Voice(out, patient=False)
    for _ in range(10_000):  # six times what a pipe holds
        voice.write(LINE)
    told = b""
    while chunk := reader.read(65_536):
        told += chunk
    assert set(told.decode().splitlines(keepends=True)) == {LINE}  # whole lines, fewer of them
    voice.write("reading again\n")
    assert reader.read(100) == b"reading again\n"


def test_without_any_output_and_after_a_close_it_is_silent() -> None:
    nowhere = Voice(None)
    nowhere.write(LINE)
    nowhere.flush()
    assert not nowhere.isatty()
    closed = io.StringIO()
    closed.close()
    voice = Voice(closed, patient=False)
    voice.write(LINE)
    voice.flush()
    assert voice.out is None


def test_a_character_that_the_terminal_does_not_have_costs_its_line_only() -> None:
    bytes_ = io.BytesIO()
    voice = Voice(io.TextIOWrapper(bytes_, encoding="ascii"), patient=False)
    voice.write("5 \u20ac\n")
    voice.write("5 EUR\n")
    assert bytes_.getvalue() == b"5 EUR\n"
