# shellcheck shell=bash
# A slow link with a long way: two namespaces, 100 Mbit/s each way between them, and a proxy at the
# sink's end that holds every byte for 25 ms in each direction.
# The rig and the options are in rig.sh and bench.sh.
# shellcheck disable=SC2154,SC2034

plan_link() { count=${files:-20000} typical=${median:-4096} size_mib=${size:-200}; }

# Ports may be fixed: nobody else is in these namespaces.
ssh_fixed=9700 command_port=9753 data_first=9754 data_last=9769 far=10.77.0.1

bench_link() {
    is_root || fail "only root can make namespaces"
    command -v ip tc >/dev/null || fail "ip or tc is missing (package iproute2)"
    make_link
    source_in=(ip netns exec "${spaces[0]}") sink_in=(ip netns exec "${spaces[1]}")
    listen=$far reach=127.0.0.1
    ports=(--port "$command_port" --data-ports "$data_first-$data_last")
    : >"$work/delay.out"
    # shellcheck disable=SC2046 # One word for each port.
    "${sink_in[@]}" "$delay" "$reach" "$far" 25 \
        "$ssh_fixed" "$command_port" $(seq "$data_first" "$data_last") >"$work/delay.out" \
        2>"$work/delay.err" &
    until grep -q ready "$work/delay.out"; do
        kill -0 $! 2>/dev/null || { cat "$work/delay.err" >&2; fail "no proxy"; }
        sleep 0.01
    done
    start_sshd "$ssh_fixed"

    mkdir "$place/pool"
    "$pool" file "$place/pool/large" $((size_mib * 1048576)) 1
    local -A content=([large]=$((size_mib * 1048576)))
    alternate_on_link large
    rm -rf "$place/pool"
    read -r made "content[small]" < <("$pool" make "$place/pool" "$count" "$typical" 1)
    alternate_on_link small

    head_line "a link of 100 Mbit/s, 50 ms there and back"
    prose "Two namespaces, \`tbf\` at both ends, a delay proxy of 25 ms each way; rsync pulls by" \
        "ssh through the same. Medians of $runs runs, alternating. Content: the share of 100" \
        "Mbit/s that the files' bytes have over the whole time, from the start of the processes" \
        "to their end. Sent: what left the source's end in that time, with all headers. Midway:" \
        "the same in the middle half of those bytes, without the beginning and the end. TCP in" \
        "frames of 1,500 bytes carries at most 95.6 percent content."
    echo
    echo "| What | Tool | Seconds | Content, % | Sent, % | Midway, % | osync / it | All runs |"
    echo "|---|---|---|---|---|---|---|---|"
    link_row "one file of $size_mib MiB" large osync "osync source + osync sink --once"
    link_row "" large rsync "rsync -aHAX over ssh"
    link_row "$made small files, $((content[small] / 1000000)) MB" small osync \
        "osync source + osync sink --once"
    link_row "" small rsync "rsync -aHAX over ssh"
}

make_link() {
    local space
    for space in "osync-bench-a-$$" "osync-bench-b-$$"; do
        ip netns add "$space"
        spaces+=("$space")
        ip -n "$space" link set lo up
    done
    ip -n "${spaces[0]}" link add link0 type veth peer name link0 netns "${spaces[1]}"
    ip -n "${spaces[0]}" address add "$far/24" dev link0
    ip -n "${spaces[1]}" address add 10.77.0.2/24 dev link0
    for space in "${spaces[@]}"; do
        ip -n "$space" link set link0 up
        tc -n "$space" qdisc add dev link0 root tbf rate 100mbit burst 64kb latency 50ms
    done
}

sent_bytes() {
    tc -s -n "${spaces[0]}" qdisc show dev link0 | sed -n 's/^ *Sent \([0-9]*\) bytes.*/\1/p'
}

# Notes time and bytes sent, five times a second, until it is ended.
watch_link() {
    while sleep 0.2; do echo "$EPOCHREALTIME $(sent_bytes)"; done
}

# The share of 100 Mbit/s, in percent, between a quarter and three quarters of what was sent.
midway() {
    awk '{ at[NR] = $1; sent[NR] = $2 }
         END { first = sent[1]; all = sent[NR] - first
               for (i = 1; i <= NR; i++) {
                   if (!a && sent[i] >= first + all / 4) a = i
                   if (!b && sent[i] >= first + all * 3 / 4) b = i
               }
               if (b > a) printf "%.1f", (sent[b] - sent[a]) * 8 / (at[b] - at[a]) / 1e6
               else print 0 }' "$work/sent"
}

run_rsync_link() {
    "${sink_in[@]}" rsync -aHAX -e "${remote[*]}" "$reach:$place/pool/" "$place/copy/"
}

alternate_on_link() { # large or small
    local run tool before watcher
    for run in $(seq "$runs"); do
        say "run $run of $runs"
        for tool in osync rsync; do
            rm -rf "$place/copy"
            before=$(sent_bytes)
            watch_link >"$work/sent" &
            watcher=$!
            if [ "$tool" = osync ]; then
                timed "$1-osync" run_osync
            else
                timed "$1-rsync" run_rsync_link
            fi
            kill "$watcher"; wait "$watcher" || true
            keep "$1-$tool-midway" "$(midway)"
            keep "$1-$tool-sent" $(($(sent_bytes) - before))
            same
        done
    done
}

link_row() { # what, large or small, tool, its name
    local own sent mid
    mid=$(median_of "$2-$3-midway")
    own=$(median_of "$2-$3") sent=$(median_of "$2-$3-sent")
    awk -v what="$1" -v name="$4" -v t="$own" -v mid="$mid" \
        -v content="${content[$2]}" -v sent="$sent" \
        -v r="$(ratio "$(median_of "$2-osync")" "$own")" -v all="$(runs_of "$2-$3")" \
        'BEGIN { full = t * 1e8 / 8 / 100
                 printf "| %s | %s | %.2f | %.1f | %.1f | %s | %s | %s |\n",
                        what, name, t, content / full, sent / full, mid, r, all }'
}
