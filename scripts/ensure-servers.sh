#!/usr/bin/env bash
# Makes sure of the servers that the tests of connectors start: installs those
# that are missing when it may (root on Debian), says what to do when not. It
# never fails: a test whose server is missing says so itself.
set -euo pipefail

# The packages' own commands need not be on PATH, so they are looked for where
# Debian has them, too.
missing=()
need() {
	PATH="$PATH:/usr/sbin:/usr/lib/rabbitmq/bin" command -v "$2" >/dev/null || missing+=("$1")
}
need redis-server redis-server
need nats-server nats-server
need mosquitto mosquitto
need rabbitmq-server rabbitmq-server
[ -n "$(ls /usr/lib/postgresql/*/bin/postgres 2>/dev/null)" ] || command -v initdb >/dev/null || missing+=(postgresql)

if [ ${#missing[@]} = 0 ]; then
	exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "tests of connectors will be skipped, for want of: ${missing[*]} (Debian: apt-get install ${missing[*]})" >&2
	exit 0
fi

# Debian starts a service as soon as it is installed. None is wanted: the tests
# start servers of their own. This is the policy that Debian asks beforehand.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	trap 'rm -f "$policy"' EXIT
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi
echo "installing servers for the tests of connectors: ${missing[*]}"
if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	-o DPkg::Lock::Timeout=120 "${missing[@]}"; } </dev/null >/dev/null; then
	echo "not all of them could be installed: ${missing[*]}; the tests that need them will say so" >&2
fi
