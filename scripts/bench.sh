#!/bin/bash
# Measures osync beside cp, tar and rsync over ssh on many small files, alternating: the first
# copy, and a restart with nothing to do. Adds a section to BENCHMARKS.md.
#
# usage: scripts/bench.sh [--files N] [--median BYTES] [--runs N] [--dir DIR] [--new N] [--print]
#   --files   files in the pool (200,000)        --median  of their lognormal sizes (4,096)
#   --runs    runs of each tool; medians (3)     --new     new files for the live latency (50)
#   --dir     where; best on a tmpfs (/dev/shm)  --print   write nothing to BENCHMARKS.md
#
# The sshd is its own: a free port on loopback, keys made for the run, ended by its pid.
set -euo pipefail
cd "$(dirname "$0")/.."

files=200000 median=4096 runs=3 dir=/dev/shm new=50 print=
while [ $# -gt 0 ]; do
    case "$1" in
        --files) files=$2; shift 2 ;;
        --median) median=$2; shift 2 ;;
        --runs) runs=$2; shift 2 ;;
        --dir) dir=$2; shift 2 ;;
        --new) new=$2; shift 2 ;;
        --print) print=1; shift ;;
        *) sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
done

say() { printf '== %s\n' "$*" >&2; }
fail() { printf 'bench.sh: %s\n' "$*" >&2; exit 1; }

for tool in rsync ssh ssh-keygen tar; do
    command -v "$tool" >/dev/null || fail "$tool is missing (packages rsync, openssh-client)"
done
sshd=$(PATH=$PATH:/usr/sbin command -v sshd) || fail "sshd is missing (package openssh-server)"

say "building"
cargo build --locked --release --quiet --bins --example pool
target=${CARGO_TARGET_DIR:-target}
osync=$(realpath "$target/release/osync")
pool=$(realpath "$target/release/examples/pool")

work=$(mktemp -d -p "$dir" osync-bench.XXXXXX)
keys=$(mktemp -d)
pids=()
made_run_sshd=
finish() {
    local pid
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    [ -z "$made_run_sshd" ] || rmdir /run/sshd 2>/dev/null || true
    rm -rf "$work" "$keys"
}
trap finish EXIT

# --- an sshd of our own ---------------------------------------------------------------------------
start_sshd() {
    ssh-keygen -q -t ed25519 -N '' -f "$keys/host"
    ssh-keygen -q -t ed25519 -N '' -f "$keys/user"
    cp "$keys/user.pub" "$keys/authorized"
    if [ "$(id -u)" = 0 ] && [ ! -d /run/sshd ]; then
        mkdir -m 0755 /run/sshd
        made_run_sshd=1
    fi
    local try
    for try in 1 2 3 4 5; do
        ssh_port=$((RANDOM % 10000 + 20000))
        cat >"$keys/config" <<END
Port $ssh_port
ListenAddress 127.0.0.1
HostKey $keys/host
AuthorizedKeysFile $keys/authorized
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
END
        "$sshd" -D -e -f "$keys/config" 2>"$keys/log" &
        local pid=$!
        pids+=("$pid")
        remote="ssh -p $ssh_port -i $keys/user -o IdentitiesOnly=yes -o BatchMode=yes"
        remote+=" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
        local wait
        for wait in $(seq 50); do
            $remote 127.0.0.1 true 2>/dev/null && return
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
    done
    cat "$keys/log" >&2
    fail "no sshd of our own can be started"
}

# --- osync, as two processes ----------------------------------------------------------------------
# Sets peak_source and peak_sink in KiB; the last look lies at most 20 ms before the end.
watch_memory() { # $1 source pid, $2 sink pid: returns when the sink has ended
    local line
    while kill -0 "$2" 2>/dev/null; do
        line=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$1/status" 2>/dev/null || true)
        [ -z "$line" ] || peak_source=$line
        line=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$2/status" 2>/dev/null || true)
        [ -z "$line" ] || peak_sink=$line
        sleep 0.02
    done
}

start_source() { # options
    "$osync" source "$work/pool" --port 0 --bind 127.0.0.1 --state "$work/state/source" \
        "$@" >"$work/source.out" 2>"$work/source.err" &
    source_pid=$!
    pids+=("$source_pid")
    osync_port=
    until [ -n "$osync_port" ]; do
        kill -0 "$source_pid" 2>/dev/null || { cat "$work/source.err" >&2; fail "no source"; }
        sleep 0.01
        osync_port=$(sed -n 's/^osync source: command service on port //p' "$work/source.out")
    done
}

start_sink() { # options
    "$osync" sink "127.0.0.1:$osync_port" "$work/copy" --state "$work/state/sink" \
        "$@" >"$work/sink.out" 2>"$work/sink.err" &
    sink_pid=$!
    pids+=("$sink_pid")
}

# The two meet for the first time.
meet() { # options of the sink
    rm -rf "$work/state" "$work/invite"
    start_source --invite-file "$work/invite"
    until [ -s "$work/invite" ]; do sleep 0.01; done
    start_sink --invite-file "$work/invite" "$@"
}

figure() { # name, directory
    "$osync" status "$2" --json | sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p"
}

until_ready() {
    until "$osync" status "$work/copy" --json 2>/dev/null | grep -q '"state":"READY"'; do
        kill -0 "$sink_pid" 2>/dev/null || { cat "$work/sink.err" >&2; fail "the sink has ended"; }
        sleep 0.05
    done
}

stop_both() {
    kill "$sink_pid"; wait "$sink_pid" || true
    kill "$source_pid"; wait "$source_pid" || true
}

# Sets took, peak_restart (the source's, in KiB) and wire_restart (in bytes).
run_restart() {
    start_source
    begun=$EPOCHREALTIME
    start_sink
    until_ready
    took=$(seconds "$begun" "$EPOCHREALTIME")
    peak_restart=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$source_pid/status")
    wire_restart=$(figure bytes_on_wire "$work/copy")
    stop_both
}

ended() { # pid, its messages
    wait "$1" || { tail -n 20 "$2" >&2; fail "osync ended with exit code $?"; }
}

run_osync() {
    meet --once
    watch_memory "$source_pid" "$sink_pid"
    ended "$sink_pid" "$work/sink.err"
    ended "$source_pid" "$work/source.err"
}
run_cp() { cp -a "$work/pool" "$work/copy"; }
run_tar() { mkdir "$work/copy"; tar -C "$work/pool" -cf - . | tar -C "$work/copy" -xpf -; }
run_rsync() { rsync -aHAX -e "$remote" "$work/pool/" "127.0.0.1:$work/copy/"; }

seconds() { # from, to
    awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", b - a }'
}
middle() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

# --- the runs -------------------------------------------------------------------------------------
say "making $files files, median $median bytes, in $work"
read -r made bytes < <("$pool" make "$work/pool" "$files" "$median" 1)
start_sshd

tools=(osync cp tar rsync)
declare -A times
peak_source=0 peak_sink=0 worst_source=0 worst_sink=0
for run in $(seq "$runs"); do
    for tool in "${tools[@]}"; do
        rm -rf "$work/copy"
        sync -f "$work"
        begun=$EPOCHREALTIME
        "run_$tool"
        took=$(seconds "$begun" "$EPOCHREALTIME")
        times[$tool]+="$took"$'\n'
        say "run $run: $tool $took s"
        if [ "$tool" = osync ]; then
            [ "$peak_source" -le "$worst_source" ] || worst_source=$peak_source
            [ "$peak_sink" -le "$worst_sink" ] || worst_sink=$peak_sink
            left=$(rsync -naHAXS --delete --modify-window=-1 -i "$work/pool/" "$work/copy/")
            [ -z "$left" ] || fail "the copy differs: $(head -n 3 <<<"$left")"
        fi
    done
done

say "restarts of both sides, and rsync, with nothing to do"
rm -rf "$work/copy"
meet
until_ready
# Until a barrier has told the source that all is on the sink's disk: there is one every 5 s.
sleep 6
stop_both
peak_restart=0 wire_restart=0
for run in $(seq "$runs"); do
    run_restart
    times[restart]+="$took"$'\n'
    say "run $run: restart $took s"
    begun=$EPOCHREALTIME
    run_rsync
    took=$(seconds "$begun" "$EPOCHREALTIME")
    times[idle_rsync]+="$took"$'\n'
    say "run $run: rsync with nothing to do $took s"
done

say "latency of $new new files during the backlog"
rm -rf "$work/copy"
meet
until compgen -G "$work/copy/d*" >/dev/null; do
    kill -0 "$sink_pid" 2>/dev/null || { cat "$work/sink.err" >&2; fail "the sink has ended"; }
    sleep 0.01
done
read -r latency_median latency_worst < <("$pool" latency "$work/pool" "$work/copy" "$new")
status=$(figure backlog_files "$work/pool")
"$osync" cutover "$work/copy" >/dev/null 2>&1 || fail "the cutover ended with exit code $?"
ended "$sink_pid" "$work/sink.err"
ended "$source_pid" "$work/source.err"

# --- the table ------------------------------------------------------------------------------------
row() { # label, tool
    local middle_time
    middle_time=$(printf '%s' "${times[$2]}" | middle)
    awk -v label="$1" -v t="$middle_time" -v n="$made" -v b="$bytes" -v all="${times[$2]}" \
        'BEGIN { gsub("\n", " ", all); sub(" $", "", all)
                 printf "| %s | %.2f | %.0f | %.0f | %s |\n", label, t, n / t, b / t / 1e6, all }'
}
mib() { awk -v k="$1" 'BEGIN { printf "%.0f", k / 1024 }'; }
model=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
memory=$(awk '/^MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo)
section=$(
    echo "## $(date -u +%Y-%m-%d), $made files, $((bytes / 1000000)) MB"
    echo
    echo "$(nproc) x ${model:-unknown processor}, $memory, Linux $(uname -r)," \
        "$(stat -f -c %T "$work"), $("$osync" --version)."
    echo "Sizes lognormal, median $median bytes. Medians of $runs runs, alternating; warm caches."
    echo
    echo "| Tool | Seconds | Files/s | MB/s | All runs |"
    echo "|---|---|---|---|---|"
    row "osync source + osync sink --once" osync
    row "cp -a" cp
    row "tar to tar" tar
    row "rsync -aHAX over ssh" rsync
    echo
    echo "| Nothing to do | Seconds | Files/s | MB/s | All runs |"
    echo "|---|---|---|---|---|"
    row "osync, both sides restarted, until READY" restart
    row "rsync -aHAX over ssh" idle_rsync
    echo
    echo "The restart sent $wire_restart bytes; the source then peaked at" \
        "$(mib "$peak_restart") MiB."
    echo "Peak memory: source $(mib "$worst_source") MiB, sink $(mib "$worst_sink") MiB."
    echo "A new file of 1 kB during the backlog is at the sink after $latency_median ms (median of"
    echo "$new) and $latency_worst ms (worst); ${status:-?} files of the backlog were left then."
)
printf '%s\n' "$section"
if [ -z "$print" ]; then
    text=$(sed '/^Not measured yet\.$/d' BENCHMARKS.md)
    printf '%s\n\n%s\n' "$text" "$section" >BENCHMARKS.md
fi
