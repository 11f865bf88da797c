"""Plant mistakes in the code, one at a time, and see whether a test notices each of them.

A mistake that no test notices (a survivor) is a missing test. The mistakes are in
scripts/mutants.toml, with why each of them would cost money. They are planted in copies of the
checkout; the checkout itself stays as it is.
"""

import argparse
import ast
import asyncio
import compileall
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from py_compile import PycInvalidationMode

ROOT = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_suffix(".toml")
LIMIT_S = 120.0  # for the tests of one mutation; the slowest take a tenth of it
UNMUTATED_LIMIT_S = 900.0

CAUGHT, SURVIVED, TIMED_OUT, BROKEN = "caught", "SURVIVED", "timed out", "BROKEN"
"""BROKEN: the tests could not run at all, which shows nothing about them"""

# Whether a test fails is all that is asked, so Hypothesis need not look for the smallest example.
CONFTEST = """
from hypothesis import Phase, settings

def pytest_configure():
    phases = (Phase.explicit, Phase.generate)
    settings.register_profile("planted", settings.get_profile("ci"), phases=phases)
    settings.load_profile("planted")
"""

EXAMPLES = """examples:
  make mutants                             plant all of them
  make mutants ARGS="--only stop --jobs 1" only those with `stop` in the name or area
  scripts/mutants.py --list                what there is, without running anything
  scripts/mutants.py --json > mutants.json for machines

exit codes: 0 all were caught; 1 one was not, or the tests fail without any; 2 bad input"""


class MutantError(Exception):
    """The list of mutations does not fit the code or is not well formed."""


@dataclass(frozen=True)
class Mutation:
    """One mistake: `old` becomes `new` in `file`, where `old` must occur exactly once."""

    name: str
    area: str
    file: str
    old: str
    new: str
    why: str
    """what it would cost, in a sentence"""
    tests: list[str]
    """test files or pytest node ids, one of which is expected to fail"""
    function: str = ""
    """`old` is looked for in this function only, `name` or `Class.name`"""
    hang_s: float = 0.0
    """tests that do not end within this many seconds have caught it; 0: they have not"""


@dataclass(frozen=True)
class Result:
    """What became of a planted mutation."""

    mutation: Mutation
    outcome: str
    seconds: float
    test: str
    """the test that failed first, if one did"""


def load(path: Path) -> list[Mutation]:
    """Return the mutations listed in a TOML file, as `[[mutation]]` tables.

    Raises
    ------
    MutantError : the file is not such a list, or a name is there twice
    """
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8")).get("mutation", [])
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise MutantError(f"{path}: expected a list of mutations, was: {error}") from error
    known = {field.name for field in fields(Mutation)}
    required = {field.name for field in fields(Mutation) if field.default is MISSING}
    for i, entry in enumerate(entries, 1):
        if not required <= entry.keys() <= known:
            raise MutantError(
                f"{path.name}: mutation {entry.get('name', i)}: expected {sorted(required)} and"
                f" perhaps {sorted(known - required)}, was {sorted(entry)}"
            )
    if not entries:
        raise MutantError(f"{path}: expected at least one [[mutation]], was none")
    mutations = [Mutation(**entry) for entry in entries]
    names = [mutation.name for mutation in mutations]
    for name in names:
        if names.count(name) > 1:
            raise MutantError(f"{path.name}: mutation {name}: expected one of that name, was two")
    return mutations


def function_span(source: str, name: str) -> tuple[int, int]:
    """Return where the function `name` or `Class.name` begins and ends in the source text."""
    body: list[ast.stmt] = ast.parse(source).body
    *classes, last = name.split(".")
    for outer in classes:
        body = [s for c in body if isinstance(c, ast.ClassDef) and c.name == outer for s in c.body]
    found = [s for s in body if isinstance(s, ast.FunctionDef) and s.name == last]
    if len(found) != 1:
        raise MutantError(f"expected one function {name}, was {len(found)}")
    lines = source.splitlines(keepends=True)
    begin, end = found[0].lineno - 1, found[0].end_lineno or 0
    return len("".join(lines[:begin])), len("".join(lines[:end]))


def source_of(mutation: Mutation, folder: Path) -> str:
    """Return the source of the mutation's file; raise MutantError where there is none."""
    path = folder / mutation.file
    if not path.is_file():
        raise MutantError(f"mutation {mutation.name}: expected a file, was {mutation.file}")
    return path.read_text(encoding="utf-8")


def planted(source: str, mutation: Mutation) -> str:
    """Return the source of the mutation's file with the mutation in it.

    Raises
    ------
    MutantError : the old text is not there exactly once, or the new source is no Python or the same
    """
    try:
        begin, end = function_span(source, mutation.function) if mutation.function else (0, None)
        part = source[begin:end]
        if part.count(mutation.old) != 1:
            raise MutantError(f"expected its old text once, was {part.count(mutation.old)} times")
        rest = "" if end is None else source[end:]
        text = source[:begin] + part.replace(mutation.old, mutation.new) + rest
        if ast.dump(ast.parse(text)) == ast.dump(ast.parse(source)):
            raise MutantError("expected a change, was the same code")
    except (MutantError, SyntaxError) as error:
        raise MutantError(f"mutation {mutation.name}: {mutation.file}: {error}") from error
    return text


def copy_checkout(folder: Path) -> None:
    """Copy what is or would be committed into `folder` and compile it.

    The compiled files are checked by content: by time and size, as usual, Python could take the
    code from before a mutation for the code after it.
    """
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode != 0:
        raise MutantError(f"expected a git checkout in {ROOT}, was: {listing.stderr.strip()}")
    for name in listing.stdout.rstrip("\0").split("\0"):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    mode = PycInvalidationMode.CHECKED_HASH
    compileall.compile_dir(folder, quiet=1, invalidation_mode=mode)


async def run_tests(folder: Path, tests: Sequence[str], limit_s: float) -> tuple[int | None, str]:
    """Run tests in a copy up to the first failure; return pytest's exit code and what it printed.

    The code is None when the tests did not end within the limit.
    """
    inherited = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests),
        cwd=folder,
        env={**inherited, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), limit_s)
    except TimeoutError:
        return None, ""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, output.decode(errors="replace")


async def try_mutation(mutation: Mutation, folder: Path, limit_s: float) -> Result:
    """Plant a mutation in a copy, run its tests and take it out again."""
    path, source = folder / mutation.file, source_of(mutation, folder)
    path.write_text(planted(source, mutation), encoding="utf-8")
    began = time.monotonic()
    try:
        code, output = await run_tests(folder, mutation.tests, mutation.hang_s or limit_s)
    finally:
        path.write_text(source, encoding="utf-8")
    if code is None:
        outcome = CAUGHT if mutation.hang_s else TIMED_OUT
        return Result(mutation, outcome, time.monotonic() - began, "(tests did not end)")
    outcome = {0: SURVIVED, 1: CAUGHT}.get(code, BROKEN)
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", output, flags=re.MULTILINE)
    return Result(mutation, outcome, time.monotonic() - began, failed[1] if failed else "")


def needed_tests(mutations: Sequence[Mutation]) -> list[str]:
    """Return the tests of all mutations, each once; a file stands for the tests in it."""
    wanted = dict.fromkeys(test for mutation in mutations for test in mutation.tests)
    return [test for test in wanted if "::" not in test or test.split("::")[0] not in wanted]


async def check_unmutated(tests: Sequence[str], folders: Sequence[Path]) -> str:
    """Run the tests on the code as it is, shared among the copies; return what failed, or ''."""
    shares = [(folder, tests[i :: len(folders)]) for i, folder in enumerate(folders)]
    runs = [run_tests(folder, share, UNMUTATED_LIMIT_S) for folder, share in shares if share]
    failures = [output[-3000:] for code, output in await asyncio.gather(*runs) if code != 0]
    return "\n".join(failures)


async def try_all(
    mutations: Sequence[Mutation],
    folders: Sequence[Path],
    limit_s: float,
    report: Callable[[Result], None],
) -> list[Result]:
    """Try every mutation, as many at once as there are copies; return the results in order."""
    free: asyncio.Queue[Path] = asyncio.Queue()
    for folder in folders:
        free.put_nowait(folder)

    async def try_one(mutation: Mutation) -> Result:
        folder = await free.get()
        result = await try_mutation(mutation, folder, limit_s)
        free.put_nowait(folder)
        report(result)
        return result

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(try_one(mutation)) for mutation in mutations]
    return [task.result() for task in tasks]


class Reporter:
    """Writes a line for each result; between them a progress line, when a person watches."""

    def __init__(self, total: int, *, quiet: bool) -> None:
        self.total = total
        self.quiet = quiet
        self.done = 0
        self.watched = sys.stderr.isatty()

    def progress(self, text: str) -> None:
        if self.watched:
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)

    def result(self, result: Result) -> None:
        self.done += 1
        if not self.quiet:
            self.progress("")
            m = result.mutation
            row = f"{result.outcome:9} {result.seconds:5.1f} s  {m.area:11} {m.name:35}"
            print(f"{row} {result.test}".rstrip(), flush=True)
        self.progress(f"{self.done}/{self.total} mutations tried")


def print_summary(results: Sequence[Result], seconds: float) -> None:
    """Print the table of areas, and what was not caught with why it matters."""
    print(f"\n{'area':12} planted  caught  seconds")
    for area in dict.fromkeys(result.mutation.area for result in results):
        of_area = [result for result in results if result.mutation.area == area]
        caught = sum(result.outcome == CAUGHT for result in of_area)
        spent = sum(result.seconds for result in of_area)
        print(f"{area:12} {len(of_area):7} {caught:7} {spent:8.1f}")
    caught = sum(result.outcome == CAUGHT for result in results)
    print(f"{'all':12} {len(results):7} {caught:7} {seconds:8.1f} (wall clock)")
    for result in results:
        if result.outcome != CAUGHT:
            m = result.mutation
            print(f"\n{result.outcome}: {m.name} ({m.file})\n  {m.why}\n  tests: {m.tests}")


def as_json(results: Sequence[Result], seconds: float) -> str:
    """Return the results as one JSON object."""
    rows = [asdict(result) for result in results]
    caught = sum(result.outcome == CAUGHT for result in results)
    totals = {"planted": len(rows), "caught": caught, "seconds": round(seconds, 1)}
    return json.dumps({**totals, "results": rows}, indent=2)


def chosen(mutations: Sequence[Mutation], texts: Sequence[str]) -> list[Mutation]:
    """Return the mutations with one of the texts in their area or name; all without a text.

    Raises
    ------
    MutantError : a text is in none of them
    """
    found: dict[str, Mutation] = {}
    for text in texts:
        matching = {m.name: m for m in mutations if text in f"{m.area} {m.name}"}
        if not matching:
            raise MutantError(f"--only: expected part of a name or area (--list), was {text!r}")
        found |= matching
    return [m for m in mutations if m.name in found or not texts]


def list_mutations(mutations: Sequence[Mutation], *, machine: bool) -> None:
    """Print what there is."""
    if machine:
        print(json.dumps([asdict(mutation) for mutation in mutations], indent=2))
    else:
        for m in mutations:
            print(f"{m.area:11} {m.name:35} {m.file}\n            {m.why}")


def run(mutations: Sequence[Mutation], options: argparse.Namespace) -> int:
    """Try the mutations and report; return the exit code."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutants-") as temporary:
        reporter = Reporter(len(mutations), quiet=options.json)
        folders = [Path(temporary, str(i)) for i in range(min(options.jobs, len(mutations)))]
        for folder in folders:
            copy_checkout(folder)
        for mutation in mutations:  # before anything runs: a list that does not fit is bad input
            planted(source_of(mutation, folders[0]), mutation)
        tests = needed_tests(mutations)
        reporter.progress(f"{len(tests)} test files or tests, without any mutation ...")
        failures = asyncio.run(check_unmutated(tests, folders))
        if failures:
            reporter.progress("")
            print(failures, file=sys.stderr)
            print("mutants: expected the tests to pass without any mutation", file=sys.stderr)
            return 1
        results = asyncio.run(try_all(mutations, folders, options.limit, reporter.result))
        reporter.progress("")
    seconds = time.monotonic() - began
    if options.json:
        print(as_json(results, seconds))
    else:
        print_summary(results, seconds)
    return 0 if all(result.outcome == CAUGHT for result in results) else 1


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        prog="mutants.py",
        description="Plant mistakes in copies of the code and see whether a test notices each.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--list", action="store_true", help="print the mutations, run nothing")
    parser.add_argument(
        "--only", action="append", default=[], metavar="TEXT", help="part of a name or area"
    )
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="copies at once (2)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--file", type=Path, default=LIST, help="another list of mutations")
    parser.add_argument(
        "--limit", type=float, default=LIMIT_S, metavar="S", help=f"seconds for one ({LIMIT_S:g})"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Run the program; return its exit code."""
    options = parse(arguments)
    try:
        if options.jobs < 1:
            raise MutantError(f"--jobs: expected at least 1, was {options.jobs}")
        mutations = chosen(load(options.file), options.only)
        if options.list:
            list_mutations(mutations, machine=options.json)
            return 0
        return run(mutations, options)
    except MutantError as error:
        print(f"mutants: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
