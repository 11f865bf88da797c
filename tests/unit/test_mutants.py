"""The list of planted mistakes fits the code, and the program that plants them tells the truth."""

import asyncio
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.mutants import (
    LIST,
    ROOT,
    MutantError,
    Mutation,
    chosen,
    load,
    needed_tests,
    planted,
    try_mutation,
)

MUTATIONS = load(LIST)
AREAS = {"indicators", "sizing", "risk", "collision", "stops", "funding", "accounting"}

HARMLESS = """
[[mutation]]
name = "harmless"
area = "risk"
file = "bot/core/kernel/limits.py"
old = "max(a.max_drawdown, a.drawdown)"
new = "max(a.drawdown, a.max_drawdown)"
why = "Nothing: both orders give the same."
tests = ["tests/unit/test_planted.py"]
"""


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_mutation_fits_the_code(mutation: Mutation) -> None:
    source = (ROOT / mutation.file).read_text(encoding="utf-8")
    compile(planted(source, mutation), mutation.file, "exec")
    assert mutation.why.endswith(".")
    assert mutation.tests
    for test in mutation.tests:
        assert (ROOT / test.split("::")[0]).is_file()


def test_the_list_is_long_and_covers_every_area() -> None:
    assert len(MUTATIONS) >= 20
    assert {mutation.area for mutation in MUTATIONS} >= AREAS
    for area in AREAS:
        assert len(chosen(MUTATIONS, [area])) >= 2


MUTATION = replace(MUTATIONS[0], file="x.py", old="a < b", new="a <= b")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"old": "a + b"}, "expected its old text once, was 0 times"),
        ({"old": "a"}, "expected its old text once, was 4 times"),
        ({"new": "(a < b)"}, "expected a change, was the same code"),
        ({"new": "a <"}, "invalid syntax"),
        ({"function": "h"}, "expected one function h, was 0"),
        ({"function": "C.h"}, "expected one function C.h, was 0"),
    ],
)
def test_a_mutation_that_does_not_fit_is_refused(change: dict[str, str], error: str) -> None:
    text = "def f(a, b):\n    return a < b\n\ndef g(a):\n    return -a\n"
    with pytest.raises(MutantError, match=error):
        planted(text, replace(MUTATION, **change))  # type: ignore[arg-type]


@pytest.mark.parametrize(("function", "line"), [("f", 1), ("C.f", 4), ("C.g", 6)])
def test_a_function_is_where_the_old_text_is_looked_for(function: str, line: int) -> None:
    body = "(a, b): return a < b"
    text = f"\ndef f{body}\n\nclass C:\n    def f{body}\n\n    def g{body}\n"
    lines = planted(text, replace(MUTATION, function=function)).splitlines()
    assert [i for i, found in enumerate(lines) if "<=" in found] == [line]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "expected at least one"),
        ("[[mutation]", "expected a list of mutations"),
        (HARMLESS + 'typo = "x"', "mutation harmless: expected"),
        (HARMLESS.replace("why", "reason"), "mutation harmless: expected"),
        (HARMLESS + HARMLESS, "expected one of that name, was two"),
    ],
)
def test_a_list_that_is_not_well_formed_is_refused(tmp_path: Path, text: str, error: str) -> None:
    path = tmp_path / "list.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(MutantError, match=error):
        load(path)


def test_only_takes_names_and_areas() -> None:
    funding = chosen(MUTATIONS, ["funding"])
    assert {m.area for m in funding} == {"funding"}
    assert chosen(MUTATIONS, ["funding", "funding-sign"]) == funding
    assert chosen(MUTATIONS, []) == MUTATIONS
    with pytest.raises(MutantError, match="'no such'"):
        chosen(MUTATIONS, ["funding", "no such"])


def test_a_test_file_stands_for_its_tests() -> None:
    lists = (["a.py", "b.py::x"], ["a.py::y", "b.py::x", "b.py::z"])
    mutations = [replace(MUTATION, tests=tests) for tests in lists]
    assert needed_tests(mutations) == ["a.py", "b.py::x", "b.py::z"]


@pytest.mark.parametrize(("hang_s", "outcome"), [(0.0, "timed out"), (0.4, "caught")])
def test_tests_that_do_not_end_are_stopped(tmp_path: Path, hang_s: float, outcome: str) -> None:
    code = "def test_x():\n    a, b = 1, 1\n    while not a < b:\n        pass\n"
    path = tmp_path / "x.py"
    path.write_text(code, encoding="utf-8")
    mutation = replace(MUTATION, tests=["x.py"], new="a > b", hang_s=hang_s)
    result = asyncio.run(try_mutation(mutation, tmp_path, 0.5))
    assert (result.outcome, result.test) == (outcome, "(tests did not end)")
    assert path.read_text(encoding="utf-8") == code


def test_tests_that_cannot_run_have_caught_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("a, b = 1, 1\na < b\n", encoding="utf-8")
    mutation = replace(MUTATION, tests=["x.py"], new="a < c")
    assert asyncio.run(try_mutation(mutation, tmp_path, 60.0)).outcome == "BROKEN"


def mutants(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the program as make does."""
    return subprocess.run(
        [sys.executable, "scripts/mutants.py", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_mistake_is_caught_and_the_checkout_stays_as_it_is() -> None:
    path = ROOT / "bot/core/kernel/accounting.py"
    before = path.read_bytes()
    done = mutants("--only", "funding-sign", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    printed = json.loads(done.stdout)
    assert (printed["planted"], printed["caught"]) == (1, 1)
    [result] = printed["results"]
    assert (result["mutation"]["name"], result["outcome"]) == ("funding-sign", "caught")
    assert result["test"].startswith("tests/unit/test_kernel_accounting.py::test_")
    assert path.read_bytes() == before


def test_a_mistake_that_no_test_notices_is_reported_as_a_survivor(tmp_path: Path) -> None:
    path = tmp_path / "list.toml"
    path.write_text(HARMLESS, encoding="utf-8")
    done = mutants("--file", str(path))
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("SURVIVED")
    assert "risk               1       0" in done.stdout
    assert "Nothing: both orders give the same." in done.stdout


def test_without_tests_that_pass_nothing_is_planted(tmp_path: Path) -> None:
    path = tmp_path / "list.toml"
    path.write_text(HARMLESS.replace("test_planted.py", "test_planted.py::test_no_such"))
    done = mutants("--file", str(path))
    assert (done.returncode, done.stdout) == (1, "")
    assert "test_no_such" in done.stderr
    assert done.stderr.endswith("expected the tests to pass without any mutation\n")


def test_wrong_options_are_told_apart_from_survivors() -> None:
    for words in (["--only", "no such"], ["--jobs", "0"], ["--file", "no such"]):
        done = mutants(*words)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("mutants: ")
        assert "expected" in done.stderr


def test_the_list_can_be_read() -> None:
    done = mutants("--list", "--only", "funding-sign")
    assert done.returncode == 0
    assert "bot/core/kernel/accounting.py" in done.stdout
    assert len(json.loads(mutants("--list", "--json").stdout)) == len(MUTATIONS)
