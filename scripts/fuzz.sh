#!/usr/bin/env bash
# Runs every fuzz target of the module for the time given, one after another:
# go test fuzzes one target at a time.
set -euo pipefail

fuzztime=${1:?usage: scripts/fuzz.sh TIME, for example 10s}
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
