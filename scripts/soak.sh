#!/bin/bash
# Kills both sides at random under churn, in release, and has rsync judge: nothing lost, nothing
# that was durable sent again.
#
# usage: scripts/soak.sh [--kills N] [--seed S] [--rounds R] [--files N] [--faults] [--bounds]
#   --kills   kills in a round (100)       --seed    of the first round (1), then one more each
#   --rounds  how many rounds (1)          --files   in the pool (10,000)
#   --faults  the whole matrix of faults as well, with what needs root
#   --bounds  storms, bursts and too few watches in full size as well, as root
# OSYNC_TEST_WATCH=fanotify runs all but the last over the other watcher.
set -euo pipefail
cd "$(dirname "$0")/.."

kills=100 seed=1 rounds=1 files=10000 faults= bounds=
while [ $# -gt 0 ]; do
    case "$1" in
        --kills) kills=$2; shift 2 ;;
        --seed) seed=$2; shift 2 ;;
        --rounds) rounds=$2; shift 2 ;;
        --files) files=$2; shift 2 ;;
        --faults) faults=1; shift ;;
        --bounds) bounds=1; shift ;;
        *) sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
done

for round in $(seq "$rounds"); do
    echo "== round $round of $rounds, seed $seed, $kills kills" >&2
    OSYNC_SOAK_KILLS=$kills OSYNC_SOAK_SEED=$seed OSYNC_SOAK_FILES=$files \
        cargo test --locked --release --test runner -- --ignored --nocapture soak_ |
        grep -v '^osync '
    seed=$((seed + 1))
done
if [ -n "$faults" ]; then
    OSYNC_FAULTS=all cargo test --locked --release --test runner -- \
        --include-ignored --test-threads 2 live::faults
fi
if [ -n "$bounds" ]; then
    cargo test --locked --release --test runner -- \
        --ignored --nocapture --test-threads 1 live::limits::a_
fi
