#!/usr/bin/env bash
# Makes sure of a C compiler, which the race detector needs: installs one when
# it may (root on Debian), says what to do when not.
set -euo pipefail

cc=$(go env CC)
if command -v "${cc%% *}" >/dev/null; then
	exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	echo "installing gcc for the race detector"
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends gcc libc6-dev </dev/null >/dev/null
	exit 0
fi
echo "the race detector needs a C compiler and '$cc' is not there: install gcc (Debian: apt-get install gcc libc6-dev), or set CC" >&2
exit 1
