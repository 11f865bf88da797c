#!/bin/sh
# See that the system has what the project needs: make, git and a Python that scripts/find-python.sh
# accepts; and promtool, which only tests need. As root on Debian or Ubuntu what is missing is
# installed with apt. Exit 2 when it stays so; without promtool it is said, and its tests fail.
set -eu

cd "$(dirname "$0")/.."

missing() { # prints the Debian packages that would bring what is not there
    command -v make >/dev/null 2>&1 || echo make
    command -v git >/dev/null 2>&1 || echo git
    sh scripts/find-python.sh >/dev/null 2>&1 || echo python3 python3-venv
}

packages=$(missing | tr '\n' ' ')
if [ -n "$packages" ] && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "system: installing $packages" >&2
    apt-get update -qq
    # shellcheck disable=SC2086 # one word per package
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $packages >/dev/null
fi

for program in make git; do
    command -v "$program" >/dev/null 2>&1 && continue
    echo "$program: expected on PATH, found nowhere. Debian, Ubuntu: sudo apt install $program;" \
        "macOS: xcode-select --install" >&2
    exit 2
done
# Says itself what to do where the distribution's Python is too old.
sh scripts/find-python.sh >/dev/null

fetch_promtool() ( # promtool alone: the package would bring a server that starts by itself
    [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1 || return 1
    echo "system: fetching promtool" >&2
    folder=$(mktemp -d) || return 1
    trap 'rm -rf "$folder"' EXIT
    apt-get update -qq &&
        (cd "$folder" && apt-get download -qq -o APT::Sandbox::User=root prometheus) &&
        dpkg-deb -x "$folder"/prometheus_*.deb "$folder/unpacked" &&
        install -m 0755 "$folder/unpacked/usr/bin/promtool" /usr/local/bin/promtool
)

# Only tests need it, so its absence stops nothing.
if ! command -v promtool >/dev/null 2>&1 && ! fetch_promtool; then
    echo "promtool: expected on PATH, found nowhere; it comes with Prometheus" \
        "(https://prometheus.io/download). Its tests fail without it." >&2
fi
