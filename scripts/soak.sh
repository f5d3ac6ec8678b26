#!/bin/bash
# The long tests: everything that `cargo test` leaves out, in release, again and again.
# usage: scripts/soak.sh [ROUNDS] [NAME]   NAME chooses tests by a part of their name
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${1:-1}
name=${2:-}
for round in $(seq "$rounds"); do
    echo "== round $round of $rounds" >&2
    cargo test --locked --release -- --include-ignored --nocapture ${name:+"$name"}
done
