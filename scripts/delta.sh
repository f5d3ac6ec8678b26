#!/bin/bash
# What a change of a large file costs: bytes on the wire and seconds, osync beside rsync, for an
# appended log, a database with scattered pages, an image, and an inserted byte.
#
#   scripts/delta.sh [OSYNC] [MIB] [SCRATCH]
#
# Of osync the frames of messages and reports are counted (bytes_on_wire of its report), of rsync
# what it says that it has sent and received, without ssh. Both run on this host: osync encrypts.
set -euo pipefail
cd "$(dirname "$0")/.."

osync=$(realpath "${1:-target/release/osync}")
mib=${2:-256}
scratch=$(mktemp -d "${3:-${TMPDIR:-/tmp}}/osync-delta-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
source=$scratch/source ours=$scratch/ours theirs=$scratch/theirs
mkdir "$source"

noise() { # of a seed, so many KiB
    head -c "$2"K /dev/zero | openssl enc -aes-128-ctr -nosalt -pass "pass:$1" 2> /dev/null
}

change() { # the file, in the way of a case
    case $1 in
        log) noise 1 100 >> "$2" ;;
        database)
            for page in $(seq 1 200); do
                noise "$page" 8 | dd of="$2" bs=8K conv=notrunc status=none \
                    seek=$((page * 7919 % (mib * 128)))
            done ;;
        image)
            noise 1 4096 | dd of="$2" bs=64K seek=100 conv=notrunc status=none
            noise 2 2048 | dd of="$2" bs=4K seek=$((mib * 128)) conv=notrunc status=none ;;
        inserted)
            head -c $((mib * 300000)) "$2" > "$2.new"
            printf x >> "$2.new"
            tail -c +$((mib * 300000 + 1)) "$2" >> "$2.new"
            cat "$2.new" > "$2"
            rm "$2.new" ;;
    esac
}

run() { # osync: $1 the report
    "$osync" local "$source" "$ours" --once --state "$scratch/state" --report "$1" > /dev/null 2>&1
}

seconds() { # of a command
    local begin=$EPOCHREALTIME
    "$@"
    awk -v a="$begin" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.2f", b - a }' >&3
}

echo "| case ($mib MiB) | osync bytes | s | rsync bytes | s |"
echo "|---|---|---|---|---|"
for case in log database image inserted; do
    rm -rf "$ours" "$theirs" "$scratch/state"
    noise 0 $((mib * 1024)) > "$source/file"
    run "$scratch/first"
    cp -a "$source/." "$theirs"
    change "$case" "$source/file"
    seconds run "$scratch/second" 3> "$scratch/s1"
    seconds rsync -aHAX --no-whole-file --stats "$source/" "$theirs/" 3> "$scratch/s2" \
        > "$scratch/stats"
    cmp "$source/file" "$ours/file"
    cmp "$source/file" "$theirs/file"
    here=$(grep -o '"bytes_on_wire": *[0-9]*' "$scratch/second" | grep -o '[0-9]*$')
    there=$(tr -d ',' < "$scratch/stats" | awk '/^Total bytes/ { sum += $4 } END { print sum }')
    echo "| $case | $here | $(cat "$scratch/s1") | $there | $(cat "$scratch/s2") |"
done
