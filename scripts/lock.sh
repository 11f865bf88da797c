#!/bin/sh
# Rewrite the three locks from requirements/*.in. Usage: scripts/lock.sh [--upgrade]
# The locks hold for every Python >= 3.12 and every platform, and name no package index.
set -eu

cd "$(dirname "$0")/.."
uv_version=0.13.9
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT

python=$(sh scripts/find-python.sh)
"$python" -m venv "$tools"
"$tools/bin/python" -m pip install -qq "uv==$uv_version"

# A local index or mirror may list fewer files per version, and so fewer hashes, than the public one:
# neither uv's settings files nor its environment may choose the source.
unset UV_INDEX_URL UV_EXTRA_INDEX_URL UV_INDEX UV_DEFAULT_INDEX UV_FIND_LINKS

compile() { # compile SOURCE LOCK [OPTION ...]
    source=$1 lock=$2
    shift 2
    echo "locking $lock" >&2
    "$tools/bin/uv" pip compile --quiet --no-config --universal --python-version 3.12 \
        --generate-hashes --custom-compile-command 'make lock' \
        --output-file "$lock" "$@" "$source"
}

compile requirements/all.in requirements.lock "$@"
# The host runs what was tested: its pins are the development environment's.
compile requirements/host.in requirements-host.lock --constraint requirements.lock "$@"
compile requirements/bench.in requirements-bench.lock "$@"
