#!/bin/bash
# A migration to look at: a small tree that changes all the time, a source, a sink, a cutover. It
# happens in a temporary directory that is removed at the end.
# usage: scripts/demo.sh [SECONDS]   how long the tree changes (default 8)
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-8}
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

say "Building osync"
cargo build --locked --release --quiet
osync=${CARGO_TARGET_DIR:-target}/release/osync

# What vanishes while it is counted is none of our business.
count() { find "$1" -type f -not -path '*/.osync-*' 2>/dev/null | wc -l; }

home=$(mktemp -d)
pids=()
finish() {
    local pid
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$home"
}
trap finish EXIT
old=$home/old-host new=$home/new-host
mkdir "$old" "$new"

say "A pool on the old host: 2,000 files in 40 directories"
for dir in $(seq 40); do
    mkdir "$old/dir-$dir"
    for file in $(seq 50); do echo "content $dir $file" >"$old/dir-$dir/file-$file"; done
done

say "People go on using it"
(
    count=0
    while :; do
        count=$((count + 1))
        dir=$old/dir-$((RANDOM % 40 + 1))
        case $((RANDOM % 6)) in
            0) echo "new $count" >"$dir/new-$count" ;;
            1) echo "more $count" >>"$dir/file-$((RANDOM % 50 + 1))" ;;
            2) rm -f "$dir/file-$((RANDOM % 50 + 1))" ;;
            3) mv "$dir/file-$((RANDOM % 50 + 1))" "$old/moved-$count" ;;
            4) mkdir -p "$old/made-$((count % 20))/deeper" ;;
            5) mv "$dir" "$old/for-a-moment" && mv "$old/for-a-moment" "$dir" ;;
        esac 2>/dev/null || true
        sleep 0.02
    done
) &
writers=$!
pids+=("$writers")

say "old\$ osync source $old"
"$osync" source "$old" --port 0 --bind 127.0.0.1 --state "$home/old-state" \
    --invite-file "$home/invite" >"$home/source.out" 2>"$home/source.err" &
source=$!
pids+=("$source")
until [ -s "$home/invite" ] && [ -s "$home/source.out" ]; do
    kill -0 "$source" || { cat "$home/source.err"; exit 1; }
    sleep 0.05
done
cat "$home/source.out"
port=$(sed -n 's/^osync source: command service on port //p' "$home/source.out")

say "new\$ osync sink oldhost:$port $new"
"$osync" sink "127.0.0.1:$port" "$new" --state "$home/new-state" \
    --invite-file "$home/invite" --report "$home/report.json" 2>"$home/sink.err" &
sink=$!
pids+=("$sink")

for second in $(seq "$seconds"); do
    sleep 1
    printf '%2d s: %5d files at the old host, %5d at the new one\n' "$second" \
        "$(count "$old")" "$(count "$new")"
done

say "The writers stop; new\$ osync cutover $new"
kill "$writers"
wait "$writers" 2>/dev/null || true
begun=$EPOCHREALTIME
"$osync" cutover "$new"
wait "$sink"
wait "$source"
awk -v a="$begun" -v b="$EPOCHREALTIME" 'BEGIN { printf "The cutover took %.2f s\n", b - a }'

say "What differs, says diff -r"
diff -r "$old" "$new" && echo "nothing"
