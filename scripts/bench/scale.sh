# shellcheck shell=bash
# Millions of tiny files: memory of each operator, and whether the pace holds.
# The rig and the options are in rig.sh and bench.sh.
# shellcheck disable=SC2154,SC2034

plan_scale() { count=${files:-2000000} typical=${median:-1}; }

bench_scale() {
    local begun first watches_source=0
    say "making $count files, median $typical bytes"
    read -r made bytes < <("$pool" make "$place/pool" "$count" "$typical" 1)
    sync -f "$place"
    peaks=()
    : >"$work/progress"
    begun=$EPOCHREALTIME
    meet --once
    await "the first file" has_a_file
    first=$(seconds "$begun" "$EPOCHREALTIME")
    watch_memory look
    both_ended
    took=$(seconds "$begun" "$EPOCHREALTIME")
    same

    head_line "$made tiny files, $((bytes / 1000000)) MB"
    prose "One first copy, 1,000 files in a directory, warm caches: $took s," \
        "$(awk -v n="$made" -v t="$took" 'BEGIN { printf "%.0f", n / t }') files/s;" \
        "$(pace 0 0.1) in the first tenth, $(pace 0.9 1) in the last. The first file was at the" \
        "sink after $first s, from the start of both processes."
    echo
    echo "| Operator | Peak memory, MiB | Anonymous, MiB | Watches |"
    echo "|---|---|---|---|"
    echo "| source | $(mib "${peaks[source]}") | $(mib "${peaks[source-anon]}") |" \
        "$watches_source |"
    echo "| sink | $(mib "${peaks[sink]}") | $(mib "${peaks[sink-anon]}") | 0 |"
    echo
    prose "Peak memory has the pages of files in it that are mapped, such as the ledger's." \
        "Watches are those of inotify, in the kernel's memory; fanotify has none."
}

has_a_file() { compgen -G "$place/copy/d*/f*" >/dev/null; }

# Notes how many files are settled, and counts the watches.
look() {
    local done_files now
    done_files=$(figure files_done "$place/copy" || true)
    [ -z "$done_files" ] || echo "$EPOCHREALTIME $done_files" >>"$work/progress"
    now=$(cat "/proc/$source_pid/fdinfo/"* 2>/dev/null | grep -c ^inotify || true)
    [ "$now" -le "$watches_source" ] || watches_source=$now
}

# Between the looks that come nearest to these shares of all files.
pace() { # from, to
    awk -v n="$made" -v a="$1" -v b="$2" '
        function far(x, y) { return x < y ? y - x : x - y }
        { if (NR == 1 || far($2, a * n) < far(f, a * n)) { s = $1; f = $2 }
          if (NR == 1 || far($2, b * n) < far(g, b * n)) { t = $1; g = $2 } }
        END { if (t > s) printf "%.0f", (g - f) / (t - s); else print "too short to tell" }
    ' "$work/progress"
}
