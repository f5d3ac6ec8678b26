# shellcheck shell=bash
# One large file of random bytes.
# The rig and the options are in rig.sh and bench.sh.
# shellcheck disable=SC2154,SC2034

plan_large() { size_mib=${size:-2048}; }

run_ssh_cat() {
    mkdir "$place/copy"
    "${remote[@]}" "$reach" "cat >$place/copy/large" <"$place/pool/large"
}

bench_large() {
    mkdir "$place/pool"
    made=1 bytes=$((size_mib * 1048576))
    "$pool" file "$place/pool/large" "$bytes" 1
    start_sshd
    peaks=()
    alternate osync cp ssh_cat rsync

    head_line "one file of $size_mib MiB"
    prose "Random bytes. Medians of $runs runs, alternating; warm caches."
    table "First copy"
    row "osync source + osync sink --once" osync osync
    row "cp -a" cp osync
    row "ssh cat" ssh_cat osync
    row "rsync -aHAX over ssh" rsync osync
    echo
    peak_line
}
