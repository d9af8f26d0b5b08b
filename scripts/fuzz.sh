#!/bin/sh
# Runs every fuzz target in the tree for FUZZTIME, one after the other: go test
# takes only one at a time.
set -eu
cd "$(dirname "$0")/.."
go=${GO:-go}

targets=$(grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sed 's/func //' | sort)
for target in $targets; do
	file=${target%%:*}
	name=${target##*:}
	echo "fuzz: $name in $(dirname "$file") for ${FUZZTIME:-20s}"
	# Minimising an input that is only interesting would take most of so short a time.
	$go test -run '^$' -fuzz "^$name\$" -fuzztime "${FUZZTIME:-20s}" -fuzzminimizetime 10x "$(dirname "$file")"
done
