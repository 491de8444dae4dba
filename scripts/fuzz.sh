#!/usr/bin/env bash
# Runs every fuzz target of the module as often (200000x) or as long (10s) as
# told, one after another: go test fuzzes one target at a time. Prefer a count:
# before Go 1.27 a duration may fail with "context deadline exceeded" when a
# worker is busy at its end (golang/go#75804).
set -euo pipefail

fuzztime=${1:?usage: scripts/fuzz.sh COUNTx|TIME, for example 200000x}
dirs=$({ git grep --untracked -lE '^func Fuzz' -- '*_test.go' || true; } | xargs -r -n1 dirname | sort -u)
if [ -z "$dirs" ]; then
	echo "no fuzz target found" >&2
	exit 1
fi
for dir in $dirs; do
	# On its own line: a package that does not compile ends the script here.
	targets=$(go test -list '^Fuzz' "./$dir" | grep '^Fuzz')
	for target in $targets; do
		echo "fuzz: $dir $target for $fuzztime"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$fuzztime" -fuzzminimizetime 20x "./$dir"
	done
done
