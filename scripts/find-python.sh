#!/bin/sh
# Print the path of a Python that can run this project: CPython >= 3.12 that can make environments.
# PYTHON=/path/to/python (or a name on PATH) decides alone. Exit 2 with advice where there is none.
set -eu

# A name on PATH proves nothing: shims of version managers exist and fail, and Debian ships Python
# without ensurepip. So each candidate has to run. Inside an activated environment the interpreter
# behind it is printed, so that a new environment never stands on another one.
probe='
import sys
if sys.version_info < (3, 12) or sys.implementation.name != "cpython":
    sys.exit(1)
import ensurepip, venv
print(getattr(sys, "_base_executable", "") or sys.executable)
'

usable() { # usable COMMAND: prints the interpreter, or fails silently
    interpreter=$("$1" -c "$probe" 2>/dev/null </dev/null) && printf '%s\n' "$interpreter"
}

# One candidate a line, the versions the tests run on first.
candidates() {
    printf '%s\n' python3.13 python3.12 python3 python
    for pyenv in "${PYENV_ROOT:-}" "${HOME:-}/.pyenv"; do
        for version in 3.13 3.12 '3.1[4-9]'; do
            # shellcheck disable=SC2086 # the version is a pattern
            printf '%s\n' "$pyenv"/versions/$version*/bin/python
        done
    done
    for folder in /usr/bin /usr/local/bin /opt/homebrew/bin; do
        printf '%s\n' "$folder"/python3.1[2-9]
    done
    uv python find --managed-python '>=3.12' 2>/dev/null </dev/null || :
}

if [ -n "${PYTHON:-}" ]; then
    usable "$PYTHON" && exit 0
    was=$("$PYTHON" --version 2>&1 </dev/null | head -n 1) || was="a command that does not run"
    echo "PYTHON=$PYTHON: expected CPython 3.12 or newer with venv and ensurepip, was ${was##*: }" >&2
    exit 2
fi

found=$(candidates | while IFS= read -r candidate; do usable "$candidate" && break; done) || :
if [ -n "$found" ]; then
    printf '%s\n' "$found"
    exit 0
fi

cat >&2 <<'EOF'
Python: expected 3.12 or newer with the modules venv and ensurepip, found none.
  Debian 13, Ubuntu 24.04 or newer:  sudo apt install python3 python3-venv
  older Debian or Ubuntu:            install uv or pyenv; uv python install 3.13 or pyenv install 3.13
  macOS:                             brew install python@3.13
Then repeat the command. Python somewhere else: make setup PYTHON=/path/to/python3.13
EOF
exit 2
