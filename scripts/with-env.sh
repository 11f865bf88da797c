#!/bin/sh
# Run a command with the settings of .env: scripts/with-env.sh COMMAND [ARGUMENT ...]
# Nothing in .env is executed, and what the environment already sets wins over it, so that
# `TEST_MODE=true make paper-trade` means what it says. Exit 2 when a line cannot be read.
set -eu

number=0
carriage_return=$(printf '\r')

refuse() {
    echo ".env, line $number: expected NAME=value, or a comment on a line of its own" >&2
    exit 2
}

[ -f .env ] || exec "$@"
while IFS= read -r line || [ -n "$line" ]; do
    number=$((number + 1))
    line=${line%"$carriage_return"} # editors on Windows
    name=${line%%=*} value=${line#*=}
    case $line in
        '' | '#'*) continue ;;
        [!A-Za-z_]* | "$name") refuse ;; # no name, or no =
    esac
    case $name in *[!A-Za-z0-9_]*) refuse ;; esac
    case $value in
        \"*\") value=${value#\"} value=${value%\"} ;;
        \'*\') value=${value#\'} value=${value%\'} ;;
        *[[:space:]\"\'#]*) refuse ;; # a half quote or a comment taken for a value could cost money
    esac
    printenv "$name" >/dev/null || export "$name=$value"
done <.env
exec "$@"
