# shellcheck shell=bash
# Many small files: the first copy, then a restart of both sides with nothing to do.
# The rig and the options are in rig.sh and bench.sh.
# shellcheck disable=SC2154,SC2034

plan_small() {
    count=${files:-200000} typical=${median:-4096}
    # The mean of a lognormal distribution of this median and a sigma of 1.
    mean_size=$((typical * 165 / 100))
}

bench_small() {
    local tools=(osync cp tar rsync)
    [ -z "$mounted" ] || tools=(osync cp cp_sync tar rsync)
    say "making $count files, median $typical bytes"
    read -r made bytes < <("$pool" make "$place/pool" "$count" "$typical" 1)
    start_sshd
    peaks=()
    alternate "${tools[@]}"
    run_restarts

    head_line "$made small files, $((bytes / 1000000)) MB"
    prose "Sizes lognormal, median $typical bytes. Medians of $runs runs, alternating; warm caches."
    table "First copy"
    row "osync source + osync sink --once" osync osync
    row "cp -a" cp osync
    [ -z "$mounted" ] || row "cp -a, then sync -f, as osync's is on the disk" cp_sync osync
    row "tar to tar" tar osync
    row "rsync -aHAX over ssh" rsync osync
    table "Nothing to do"
    row "osync, both sides restarted, until READY" restart restart
    row "rsync -aHAX over ssh" idle_rsync restart
    echo
    peak_line
    prose "The restart sent $wire_restart bytes; the source then peaked at" \
        "$(mib "$peak_restart") MiB."
}

# Restarts and rsync in turn, from a copy that is whole and on the disk.
run_restarts() {
    local run
    say "with nothing to do"
    rm -rf "$place/copy"
    meet
    await_long_backlog
    await_barrier
    stop_both
    for run in $(seq "$runs"); do
        say "run $run of $runs"
        start_source
        timed restart restart_sink
        read_memory "$source_pid"
        peak_restart=$high
        wire_restart=$(figure bytes_on_wire "$place/copy")
        stop_both
        timed idle_rsync run_rsync
    done
}

restart_sink() {
    start_sink
    await "READY" is_ready
}

await_long_backlog() {
    local step_patience=$run_patience
    await "READY" is_ready
}
