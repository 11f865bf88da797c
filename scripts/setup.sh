#!/bin/sh
# Build a virtual environment from a lock: scripts/setup.sh ENVIRONMENT LOCK
# ENVIRONMENT/.stamp is written last, so make does an interrupted build again.
set -eu

cd "$(dirname "$0")/.."
environment=$1 lock=$2

sh scripts/system.sh
python=$(sh scripts/find-python.sh)
echo "setup: $environment with $("$python" --version) from $lock; takes about a minute" >&2
rm -rf "$environment"
"$python" -m venv "$environment"
# Wheels only: building a source package would run code that no hash covers.
"$environment/bin/python" -m pip install -qq --disable-pip-version-check --no-input \
    --only-binary :all: --require-hashes -r "$lock"

# The commands radbot and radops, which run this checkout from any folder.
packages=$("$environment/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
pwd >"$packages/radbot-checkout.pth"
for entry in radbot:bot radops:ops; do
    command=$environment/bin/${entry%%:*}
    # shellcheck disable=SC2016 # expanded when the command runs
    printf '#!/bin/sh\nexec "$(dirname "$0")/python" -m %s "$@"\n' "${entry##*:}" >"$command"
    chmod +x "$command"
done
touch "$environment/.stamp"
