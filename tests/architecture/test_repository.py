"""The repository as a whole: locks, tracked files, make targets, documented settings."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = {
    "requirements.lock": "requirements/all.in",
    "requirements-host.lock": "requirements/host.in",
    "requirements-bench.lock": "requirements/bench.in",
}
MARKET_DATA = (".csv", ".csv.gz", ".parquet", ".feather", ".arrow", ".sqlite3")

# The stable list of DESIGN section 9; scripts outside the repository call these.
TARGETS = (
    "setup install validate-config test test-unit test-integration backtest stress optimize"
    " paper-trade live go-nogo release lint bench help"
)

PIN = re.compile(
    r"(?P<name>[a-z0-9]+(-[a-z0-9]+)*)==(?P<version>[0-9][0-9a-z.+!]*)"
    r"( ; [a-z_]+ [^;@:/]*)?"  # an environment marker
    r"( --hash=sha256:[0-9a-f]{64})+"
)
NOT_IN_LOCKS = re.compile(r"://|file:|@ |--index|--extra-index|--find-links|--trusted-host|(^|\s)/")
SETTING = re.compile(r"\b(RADBOT_[A-Z_]*[A-Z]|TEST_MODE)\b")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the checkout, without the variables of a make that may have started us."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def repository_files() -> list[str]:
    """Return what is or would be committed: tracked files, and new ones that are not ignored."""
    listing = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    assert listing.returncode == 0, listing.stderr
    return [name for name in listing.stdout.split("\0") if (ROOT / name).is_file()]


def lock_entries(text: str) -> list[str]:
    """Return the entries of a lock, one line each, comments left out."""
    lines = (line.strip() for line in text.replace("\\\n", " ").splitlines())
    return [re.sub(r"\s+", " ", line) for line in lines if line and not line.startswith("#")]


def lock_errors(text: str) -> list[str]:
    """Return the entries without pin or hash, and the lines that tie a lock to a place."""
    unpinned = [entry for entry in lock_entries(text) if not PIN.fullmatch(entry)]
    return unpinned + [line for line in text.splitlines() if NOT_IN_LOCKS.search(line)]


def pins(lock: str) -> dict[str, str]:
    """Return package name -> version of a lock."""
    entries = lock_entries((ROOT / lock).read_text(encoding="utf-8"))
    found = [match for entry in entries if (match := PIN.fullmatch(entry))]
    return {match["name"]: match["version"] for match in found}


def wanted(source: str) -> set[str]:
    """Return the names a requirements source asks for, as locks spell them."""
    names: set[str] = set()
    path = ROOT / source
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("-r "):
            names |= wanted(str(path.parent / line.removeprefix("-r ")))
        elif line and not line.startswith("#"):
            names.add(re.split(r"[ =<>~!\[;]", line)[0].lower().replace("_", "-"))
    return names


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_pins_and_hashes_everything(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert lock_entries(text)
    assert lock_errors(text) == []


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_holds_what_its_source_asks_for(lock: str) -> None:
    assert wanted(LOCKS[lock]) <= pins(lock).keys()


def test_host_runs_the_versions_that_were_tested() -> None:
    assert pins("requirements-host.lock").items() <= pins("requirements.lock").items()


HASH = "--hash=sha256:" + "0" * 64


@pytest.mark.parametrize(
    "entry",
    [
        "numpy==2.0.0",
        "numpy==2.0.0 \\\n    --hash=sha256:abc",
        f"numpy>=2.0.0 \\\n    {HASH}",
        f"numpy==2.* \\\n    {HASH}",
        f"numpy @ https://example.org/numpy.whl \\\n    {HASH}",
        f"numpy==2.0.0 ; python_version >= '3.12' @ file:numpy.whl \\\n    {HASH}",
        "-r other.lock",
        "./wheels/numpy.whl",
        "--index-url https://example.org/simple",
        "# --find-links wheels",
        "# from /home/somebody/all.in",
    ],
)
def test_wrong_lock_entry_is_reported(entry: str) -> None:
    marker = "sys_platform == 'win32'"
    good = f"tqdm==4.70.1 ; {marker} \\\n    {HASH} \\\n    {HASH}\n    # via -r all.in\n"
    assert lock_errors(good) == []
    assert lock_errors(good + entry + "\n")


def test_no_market_data_is_committed() -> None:
    assert [name for name in repository_files() if name.endswith(MARKET_DATA)] == []


def test_every_stable_target_exists_and_is_explained() -> None:
    dry = run("make", "--dry-run", *TARGETS.split())
    assert dry.returncode == 0, dry.stderr
    explained = re.findall(r"^  make (\S+) +\S", run("make", "help").stdout, flags=re.MULTILINE)
    assert set(TARGETS.split()) <= set(explained)


def test_help_is_what_make_alone_prints() -> None:
    assert run("make").stdout == run("make", "help").stdout != ""


def test_a_target_that_is_not_built_says_so_and_fails() -> None:
    lines = run("make", "help").stdout.splitlines()
    for target in [line.split()[1] for line in lines if "not built yet" in line]:
        done = run("make", target)
        assert done.returncode != 0
        assert f"make {target}: not built yet" in done.stderr
        assert done.stdout == ""


def test_backtest_without_options_says_how_to_call_it() -> None:
    done = run("make", "backtest")
    assert done.returncode == 2
    assert 'make backtest ARGS="--data DIR --symbols' in done.stderr


def test_every_setting_in_the_code_is_in_the_example() -> None:
    code = [
        name
        for name in repository_files()
        if name.startswith(("bot/", "ops/", "scripts/", ".ci/")) or name == "Makefile"
    ]
    used = {
        setting
        for name in code
        for setting in SETTING.findall((ROOT / name).read_bytes().decode(errors="replace"))
        if not setting.startswith("RADBOT__")  # a key of the configuration, documented as a whole
    }
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert "RADBOT_CACHE_DIR" in used
    assert used - set(re.findall(r"^#([A-Z_]+)=", example, flags=re.MULTILINE)) == set()
    assert re.search(r"^#RADBOT__[A-Z]+__[A-Z_]+=", example, flags=re.MULTILINE)


def test_example_settings_change_nothing_until_uncommented() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == []


def test_programs_are_executable() -> None:
    programs = [ROOT / ".ci/run", *(ROOT / "scripts").glob("*.sh")]
    assert len(programs) > 1
    assert [path for path in programs if not os.access(path, os.X_OK)] == []
