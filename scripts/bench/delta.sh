# shellcheck shell=bash
# Large files that both sides have, changed at the source: bytes on the wire, and the time until the
# sink is equal. rsync starts from a copy of its own.
# The rig and the options are in rig.sh and bench.sh.
# shellcheck disable=SC2154,SC2034

plan_delta() { size_mib=${size:-512}; }

# Each case: file, its share of the size in eighths, how it changes, and what that is.
cases=(
    "log 2 append 1 MiB appended to a log"
    "database 4 pages 200 scattered pages of 4 KiB of a database"
    "image 8 runs 16 runs of 256 KiB of a disk image changed, 16 zeroed"
    "text 1 insert one byte inserted in the middle"
)

bench_delta() {
    local name eighths how what run row bytes seed=0 digits=3
    mkdir "$place/pool"
    for row in "${cases[@]}"; do
        read -r name eighths how what <<<"$row"
        "$pool" file "$place/pool/$name" $((size_mib * 1048576 * eighths / 8)) "$eighths"
    done
    start_sshd
    meet
    await "READY" is_ready
    await_barrier
    cp -a "$place/pool" "$place/other"
    for run in $(seq "$runs"); do
        for row in "${cases[@]}"; do
            read -r name eighths how what <<<"$row"
            seed=$((seed + 1))
            say "run $run of $runs"
            change_and_wait
            change_by_rsync
        done
    done
    stop_both

    head_line "changed large files"
    prose "Random bytes, so that compression saves nothing; changed in place. Medians of $runs" \
        "runs, alternating; warm caches. osync runs already, its seconds begin before the change," \
        "and it may send a state in the midst of it as well; rsync is" \
        "\`rsync -aHAX --no-whole-file\` over ssh, started after it. Bytes of both ways and" \
        "before encryption: \`bytes_on_wire\` of \`osync status\`, \`--stats\` of rsync."
    echo
    echo "| Change | File, MiB | osync, bytes | rsync, bytes | osync / rsync |" \
        "osync, s | rsync, s | osync / rsync |"
    echo "|---|---|---|---|---|---|---|---|"
    for row in "${cases[@]}"; do
        read -r name eighths how what <<<"$row"
        delta_row
    done
}

# Two readings in a row that agree: the answers to the last message have come.
wire_bytes() {
    local before='' now=''
    for _ in $(seq 50); do
        now=$(figure bytes_on_wire "$place/copy")
        [ -n "$now" ] && [ "$now" = "$before" ] && break
        before=$now
        sleep 0.2
    done
    echo "$now"
}

# Size and time of modification, to the nanosecond: the sink gives both in one step.
arrived() {
    local both
    mapfile -t both < <(stat -c '%s %.9Y' "$place/pool/$name" "$place/copy/$name")
    [ "${both[0]}" = "${both[1]:-}" ]
}

change_and_wait() {
    local before
    before=$(wire_bytes)
    timed "$name" apply_change
    cmp "$place/pool/$name" "$place/copy/$name" || fail "$name differs"
    bytes=$(($(wire_bytes) - before))
    keep "$name-bytes" "$bytes"
    say "$name: $bytes bytes"
}

apply_change() {
    "$pool" change "$how" "$place/pool/$name" "$seed"
    await "$name" arrived
}

change_by_rsync() {
    timed "$name-rsync" run_rsync_delta
    cmp "$place/pool/$name" "$place/other/$name" || fail "rsync's $name differs"
    bytes=$(awk '/^Total bytes (sent|received)/ { gsub(/[^0-9]/, ""); n += $0 } END { print n }' \
        "$work/stats")
    keep "$name-rsync-bytes" "$bytes"
    say "$name-rsync: $bytes bytes"
}

run_rsync_delta() {
    rsync -aHAX --no-whole-file --stats -e "${remote[*]}" "$place/pool/" "$reach:$place/other/" \
        >"$work/stats"
}

delta_row() {
    local own rsync own_bytes rsync_bytes
    own=$(median_of "$name") rsync=$(median_of "$name-rsync")
    own_bytes=$(median_of "$name-bytes") rsync_bytes=$(median_of "$name-rsync-bytes")
    echo "| $what | $((size_mib * eighths / 8)) | $own_bytes | $rsync_bytes |" \
        "$(ratio "$own_bytes" "$rsync_bytes") | $own | $rsync | $(ratio "$own" "$rsync") |"
}
