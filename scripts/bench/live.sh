# shellcheck shell=bash
# The delay of new files of 1 kB: under the full backlog, and under a limit with a large file on its
# way.
# The rig and the options are in rig.sh and bench.sh.
# shellcheck disable=SC2154,SC2034

plan_live() { count=${files:-200000} typical=${median:-4096} size_mib=${size:-256}; }

bench_live() {
    local run left='' each=$(((new + runs - 1) / runs))
    say "making $count files, median $typical bytes"
    read -r made bytes < <("$pool" make "$place/pool" "$count" "$typical" 1)
    # A backlog does not last for all of them: some in each of several sessions.
    for run in $(seq "$runs"); do
        say "run $run of $runs: the backlog"
        rm -rf "$place/copy" "$place"/pool/new-*
        meet
        await "the first files" has_begun
        delays backlog "$each"
        left+=" $(figure backlog_files "$place/copy")"
        stop_both
    done
    rm -rf "$place/pool" "$place/copy"
    limited

    head_line "delay of new files of 1 kB, in milliseconds"
    prose "From the first byte written at the source until the name stands at the sink; looked" \
        "for every half millisecond."
    echo
    echo "| During | New files | Median | 99th percentile | Worst |"
    echo "|---|---|---|---|---|"
    delay_row "the backlog of $made files, $((bytes / 1000000)) MB" backlog
    delay_row "\`--bwlimit 1M\`, a file of $size_mib MiB on its way" limited
    echo
    prose "Files of the backlog that were left when the last new file of a run was there:$left." \
        "The large file was still on its way then: $large_left of $size_mib MiB left."
}

has_begun() { compgen -G "$place/copy/d*" >/dev/null; }

delays() { # list, count
    local step
    "$pool" latency "$place/pool" "$place/copy" "$2" >"$work/delays"
    while read -r step; do keep "$1" "$step"; done <"$work/delays"
}

limited() {
    say "a limit, and a large file on its way"
    mkdir "$place/pool"
    "$pool" file "$place/pool/large" $((size_mib * 1048576)) 2
    options_source+=(--bwlimit 1M)
    meet
    await "the large file" is_on_its_way
    delays limited "$new"
    [ ! -e "$place/copy/large" ] || fail "the large file was there too early: take a larger --size"
    large_left=$((size_mib - $(figure bytes_on_wire "$place/copy") / 1048576))
    stop_both
}

is_on_its_way() {
    local bytes
    bytes=$(figure bytes_on_wire "$place/copy")
    [ "${bytes:-0}" -gt 1000000 ]
}

delay_row() { # label, list
    local list="${times[$2]}"
    echo "| $1 | $(printf '%s' "$list" | wc -l) | $(printf '%s' "$list" | quantile 0.5) |" \
        "$(printf '%s' "$list" | quantile 0.99) | $(printf '%s' "$list" | quantile 1) |"
}
