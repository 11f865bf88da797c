"""The scripts: which Python set-up takes, how `.env` is read, a fault matrix without a fault."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


def with_env(folder: Path, text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `env` under the settings in `text` and return what it saw."""
    (folder / ".env").write_bytes(text.encode())
    return subprocess.run(
        ["sh", SCRIPTS / "with-env.sh", "env"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        ("A=1", "A=1"),
        ("A=1\r", "A=1"),
        ("A=", "A="),
        ("A=x=y", "A=x=y"),
        ('A="two words # no comment"', "A=two words # no comment"),
        ("A='$HOME `id` $(id)'", "A=$HOME `id` $(id)"),
        ("A=$(id);id", "A=$(id);id"),
        ("RADBOT__RISK__DAILY_LOSS_LIMIT=0.08", "RADBOT__RISK__DAILY_LOSS_LIMIT=0.08"),
    ],
)
def test_setting_is_taken_literally(tmp_path: Path, line: str, seen: str) -> None:
    for text in (line, f"# comment\n\n{line}\n#Z=3\n"):
        done = with_env(tmp_path, text)
        assert (done.returncode, done.stderr) == (0, "")
        assert seen in done.stdout.splitlines()
        assert "Z=" not in done.stdout


def test_environment_wins_over_the_file(tmp_path: Path) -> None:
    done = with_env(tmp_path, "TEST_MODE=false\nEMPTY=1\n", TEST_MODE="true", EMPTY="")
    assert {"TEST_MODE=true", "EMPTY="} <= set(done.stdout.splitlines())


@pytest.mark.parametrize(
    "line",
    ["A", "=1", "1A=1", " A=1", "A =1", "A= 1", "A=1 # why", 'A="1', "A=1'", "export A=1", "A-B=1"],
)
def test_unreadable_line_stops_the_command(tmp_path: Path, line: str) -> None:
    done = with_env(tmp_path, f"B=2\n{line}\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(".env, line 2: expected NAME=value")


def find_python(path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run find-python.sh with `path` first on PATH and no home folder."""
    return subprocess.run(
        ["sh", SCRIPTS / "find-python.sh"],
        env={"PATH": f"{path}:/usr/bin:/bin", "HOME": str(path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def program(path: Path, text: str) -> Path:
    """Write an executable shell script."""
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_python_that_does_not_run_is_passed_over(tmp_path: Path) -> None:
    program(tmp_path / "python3.13", "echo 'python3.13: command not found'; exit 127")
    program(tmp_path / "python3.12", f'exec "{sys.executable}" "$@"')
    done = find_python(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    # The one behind an activated environment, so that a new one does not stand on it.
    assert Path(done.stdout.strip()).resolve() == Path(sys.executable).resolve()
    assert not Path(done.stdout.strip()).is_relative_to(sys.prefix) or sys.prefix == sys.base_prefix


def test_named_python_decides_alone(tmp_path: Path) -> None:
    program(tmp_path / "python3.13", f'exec "{sys.executable}" "$@"')
    old = program(tmp_path / "old", "[ $1 = --version ] && echo Python 3.11.2")
    done = find_python(tmp_path, PYTHON=str(old))
    assert (done.returncode, done.stdout) == (2, "")
    assert "expected CPython 3.12 or newer" in done.stderr
    assert done.stderr.endswith("was Python 3.11.2\n")


@pytest.mark.parametrize(
    ("words", "said"), [(["--only", "htlm"], "HTML with 200"), (["--seeds", "0"], "1, was 0")]
)
def test_a_fault_matrix_without_a_cell_is_refused(words: list[str], said: str) -> None:
    """It would end with 0, and nothing would have been tried."""
    done = subprocess.run(
        [sys.executable, SCRIPTS / "fault_matrix.py", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
