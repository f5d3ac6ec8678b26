# shellcheck shell=bash
# What every part of scripts/bench.sh stands on: programs, places, an sshd, both operators, lists of
# times and rows of tables. Sourced by it; its options are read here.
#
# A part is a file of this directory with a function bench_PART. It works below $place, which is
# made for it and removed after it, and prints its section of BENCHMARKS.md on standard output.
# The options are set by scripts/bench.sh; much of what is set here is read by the parts.
# shellcheck disable=SC2154,SC2034

# Seconds that one run of a tool, and one step of a session, may take.
run_patience=7200 step_patience=120

say() { printf '== %s\n' "$*" >&2; }
fail() { printf 'bench.sh: %s\n' "$*" >&2; exit 1; }
is_root() { [ "$(id -u)" = 0 ]; }

# --- programs and places --------------------------------------------------------------------------
prepare() {
    local tool
    for tool in rsync ssh ssh-keygen tar cmp; do
        command -v "$tool" >/dev/null || fail "$tool is missing (packages rsync, openssh-client)"
    done
    sshd=$(PATH=$PATH:/usr/sbin command -v sshd) || fail "sshd is missing (package openssh-server)"
    if [ -z "$bin" ]; then
        say "building"
        cargo build --locked --release --quiet --bins --example pool --example delay
        bin=${CARGO_TARGET_DIR:-target}/release
    fi
    osync=$(realpath "$bin/osync")
    pool=$(program pool)
    delay=$(program delay)
    keys=$(mktemp -d)
    work='' mounted='' made_run_sshd='' spaces=()
    trap finish EXIT
    trap 'exit 130' INT TERM
    ssh-keygen -q -t ed25519 -N '' -f "$keys/host"
    ssh-keygen -q -t ed25519 -N '' -f "$keys/user"
    cp "$keys/user.pub" "$keys/authorized"
}

program() { # name of an example
    if [ -x "$bin/$1" ]; then realpath "$bin/$1"; else realpath "$bin/examples/$1"; fi
}

# Ends what still runs of ours: the shell's own children, so no process number is taken twice.
end_children() {
    local pid
    for pid in $(jobs -pr); do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
}

finish() {
    end_children
    leave_spaces
    leave_place
    [ -z "$made_run_sshd" ] || rmdir /run/sshd 2>/dev/null || true
    rm -rf "$keys"
}

leave_spaces() {
    local space
    for space in "${spaces[@]}"; do ip netns del "$space" || true; done
    spaces=()
}

# Makes $work, and $place in it: on an ext4 in a file if asked for.
enter_place() { # directory, ext4 or nothing
    work=$(mktemp -d -p "$1" osync-bench.XXXXXX)
    place=$work/place
    mkdir "$place"
    [ "${2:-}" = ext4 ] || return 0
    is_root || fail "only root can mount an ext4"
    # Room for pool and copies, and an inode for each 16 KiB, as mkfs.ext4 has it by default.
    truncate -s $(((1 << 30) + count * (48 * 1024 + 4 * mean_size))) "$work/ext4"
    # All is laid out now, so that no thread of the kernel does it during the runs.
    mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 "$work/ext4"
    mount -o loop "$work/ext4" "$place"
    mounted=$place
}

leave_place() {
    [ -n "$work" ] || return 0
    if [ -n "$mounted" ]; then
        umount "$mounted" || umount --lazy "$mounted" || true
        mounted=
    fi
    rm -rf --one-file-system "$work"
    work=
}

# Runs one part and keeps its section.
measure() { # part, ext4 or nothing
    local default=/dev/shm section
    [ "$1" != scale ] || default=/var/tmp
    say "part $1${2:+ on $2}"
    # shellcheck source=/dev/null
    source "scripts/bench/$1.sh"
    "plan_$1"
    enter_place "${dir:-$default}" "${2:-}"
    options_source=(--watch "$watch") options_sink=() source_in=() sink_in=()
    ports=(--port 0) listen=127.0.0.1 reach=127.0.0.1
    times=()
    "bench_$1" >"$work/section"
    end_children
    section=$(cat "$work/section")
    leave_spaces
    leave_place
    printf '%s\n\n' "$section"
    if [ -z "$print" ]; then
        printf '\n%s\n' "$section" >>BENCHMARKS.md
    fi
}

# The head of a section: what, on which machine, by which command.
head_line() { # what was measured
    local model memory disk
    model=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
    memory=$(awk '/^MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo)
    disk=$(findmnt -n -o FSTYPE -T "$place" | tail -n 1)
    [ -z "$mounted" ] || disk+=" in a file on $(findmnt -n -o FSTYPE -T "$work")"
    echo "## $(date -u +%Y-%m-%d), $1"
    echo
    prose "$(nproc) x ${model:-unknown processor}, $memory, Linux $(uname -r)," \
        "$disk, $("$osync" --version)."
    # shellcheck disable=SC2001 # A pattern of more than one shape.
    prose "By \`$(sed 's/ --\(dir\|bin\) [^ ]*//g' <<<"$command_line")\`."
}

# Sentences, in lines as the documents have them.
prose() { printf '%s ' "$@" | fold -s -w 100 | sed 's/ *$//'; echo; }

# --- an sshd of our own ---------------------------------------------------------------------------
# Sets remote, the command line of ssh. It runs where the source is, listens on $listen.
start_sshd() { # port, else a free one
    if is_root && [ ! -d /run/sshd ]; then
        mkdir -m 0755 /run/sshd
        made_run_sshd=1
    fi
    local try port pid wait
    for try in 1 2 3 4 5; do
        port=${1:-$((RANDOM % 10000 + 20000))}
        cat >"$keys/config" <<END
Port $port
ListenAddress $listen
HostKey $keys/host
AuthorizedKeysFile $keys/authorized
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
END
        "${source_in[@]}" "$sshd" -D -e -f "$keys/config" 2>"$keys/log" &
        pid=$!
        remote=(ssh -p "$port" -i "$keys/user" -o IdentitiesOnly=yes -o BatchMode=yes
            -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR)
        for wait in $(seq 50); do
            "${sink_in[@]}" "${remote[@]}" "$reach" true 2>/dev/null </dev/null && return
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        say "sshd: try $try on port $port failed after $wait looks"
    done
    cat "$keys/log" >&2
    fail "no sshd of our own can be started"
}

# --- osync, as two processes ----------------------------------------------------------------------
# Waits until a command succeeds, as long as the operators live.
await() { # what for, command
    local what=$1 last=$((SECONDS + step_patience))
    shift
    until "$@"; do
        operators_live
        [ "$SECONDS" -lt "$last" ] || fail "waited in vain for $what"
        sleep 0.01
    done
}

operators_live() {
    kill -0 "$source_pid" 2>/dev/null || { tail "$work/source.err" >&2; fail "no source any more"; }
    [ -z "$sink_pid" ] || kill -0 "$sink_pid" 2>/dev/null ||
        { tail "$work/sink.err" >&2; fail "no sink any more"; }
}

start_source() { # options
    : >"$work/source.out"
    "${source_in[@]}" "$osync" source "$place/pool" "${ports[@]}" --bind "$listen" \
        --state "$place/state/source" "${options_source[@]}" "$@" \
        >"$work/source.out" 2>"$work/source.err" &
    source_pid=$! sink_pid='' osync_port=''
    await "the source" source_listens
}

source_listens() {
    osync_port=$(sed -n 's/^osync source: command service on port //p' "$work/source.out")
    [ -n "$osync_port" ]
}

start_sink() { # options
    "${sink_in[@]}" "$osync" sink "$reach:$osync_port" "$place/copy" --state "$place/state/sink" \
        "${options_sink[@]}" "$@" >"$work/sink.out" 2>"$work/sink.err" &
    sink_pid=$!
}

# The two meet for the first time.
meet() { # options of the sink
    rm -rf "$place/state" "$work/invite"
    start_source --invite-file "$work/invite"
    await "the invite" test -s "$work/invite"
    start_sink --invite-file "$work/invite" "$@"
}

figure() { # name, directory: nothing while the operator does not answer
    "$osync" status "$2" --json 2>/dev/null | sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p"
}

is_ready() { "$osync" status "$place/copy" --json 2>/dev/null | grep -q '"state":"READY"'; }

# Until a barrier has told the source that all is on the sink's disk: there is one every 5 s.
await_barrier() { sleep 6; }

stop_both() {
    kill "$sink_pid"; wait "$sink_pid" || true
    kill "$source_pid"; wait "$source_pid" || true
}

# Sets high and anon, in KiB. Fails once the process has gone.
read_memory() { # pid
    local text=
    { read -r -d '' text <"/proc/$1/status" || true; } 2>/dev/null
    [[ $text =~ VmHWM:[[:space:]]+([0-9]+) ]] || return
    high=${BASH_REMATCH[1]}
    [[ $text =~ RssAnon:[[:space:]]+([0-9]+) ]] || return
    anon=${BASH_REMATCH[1]}
}

# Raises the entries source, sink, source-anon and sink-anon of peaks, in KiB, until the sink has
# ended; looks twice a second, and runs a command, as `true`, at every look.
declare -A peaks
watch_memory() { # command
    local high=0 anon=0 last=$((SECONDS + run_patience))
    while kill -0 "$sink_pid" 2>/dev/null; do
        if read_memory "$source_pid"; then raise source; fi
        if read_memory "$sink_pid"; then raise sink; fi
        "$@"
        [ "$SECONDS" -lt "$last" ] || fail "the run has taken $run_patience s"
        # A look costs the two cores something: few of them, and the end is noticed at once.
        timeout 0.5 tail -s 0.02 --pid="$sink_pid" -f /dev/null || true
    done
}

raise() { # operator
    [ "$high" -le "${peaks[$1]:-0}" ] || peaks[$1]=$high
    [ "$anon" -le "${peaks[$1-anon]:-0}" ] || peaks[$1-anon]=$anon
}

ended() { # pid, its messages
    wait "$1" || { tail -n 20 "$2" >&2; fail "osync has not ended well"; }
}

both_ended() {
    ended "$sink_pid" "$work/sink.err"
    ended "$source_pid" "$work/source.err"
}

# --- the tools beside each other: from $place/pool to $place/copy ---------------------------------
run_osync() {
    meet --once
    watch_memory true
    both_ended
}
run_cp() { cp -a "$place/pool" "$place/copy"; }
run_cp_sync() { run_cp; sync -f "$place"; }
run_tar() { mkdir "$place/copy"; tar -C "$place/pool" -cf - . | tar -C "$place/copy" -xpf -; }
run_rsync() { rsync -aHAX -e "${remote[*]}" "$place/pool/" "$reach:$place/copy/"; }

# Runs each tool in turn, as often as asked for, each into an empty place.
alternate() { # tools
    local run tool
    for run in $(seq "$runs"); do
        for tool in "$@"; do
            rm -rf "$place/copy"
            sync -f "$place"
            say "run $run of $runs"
            timed "$tool" "run_$tool"
            [ "$tool" != osync ] || same
        done
    done
}

same() {
    local left
    left=$(rsync -naHAXS --delete --modify-window=-1 -i "$place/pool/" "$place/copy/")
    [ -z "$left" ] || fail "the copy differs: $(head -n 3 <<<"$left")"
}

# --- times and tables -----------------------------------------------------------------------------
declare -A times
keep() { times[$1]+="$2"$'\n'; } # list, number

timed() { # list, command: sets took
    local list=$1 begun
    shift
    begun=$EPOCHREALTIME
    "$@"
    took=$(seconds "$begun" "$EPOCHREALTIME")
    keep "$list" "$took"
    say "$list: $took s"
}

seconds() { # from, to
    awk -v a="$1" -v b="$2" -v d="${digits:-2}" 'BEGIN { printf "%.*f", d, b - a }'
}
# Of numbers, one a line: the smallest that so large a share does not surpass.
quantile() { # share
    sort -n | awk -v share="$1" '{ v[NR] = $1 }
        END { x = share * NR - 1e-9; i = int(x); if (i < x) i++; print v[i < 1 ? 1 : i] }'
}
median_of() { printf '%s' "${times[$1]}" | quantile 0.5; } # list
runs_of() { printf '%s' "${times[$1]}" | paste -s -d ' '; } # list
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { if (b > 0) printf "%.2f", a / b; else print "-" }'; }
mib() { awk -v k="${1:-0}" 'BEGIN { printf "%.0f", k / 1024 }'; }

table() { # first heading
    echo
    echo "| $1 | Seconds | Files/s | MB/s | osync / it | All runs |"
    echo "|---|---|---|---|---|---|"
}
# Of $made files with $bytes bytes.
row() { # label, list, list of osync
    local own base
    own=$(median_of "$2")
    base=$(median_of "$3")
    awk -v label="$1" -v t="$own" -v n="$made" -v b="$bytes" -v r="$(ratio "$base" "$own")" \
        -v all="$(runs_of "$2")" \
        'BEGIN { if (t <= 0) t = 0.005
                 printf "| %s | %.2f | %s | %.0f | %s | %s |\n",
                        label, t, (n > 1 ? int(n / t) : "-"), b / t / 1e6, r, all }'
}
peak_line() {
    prose "Peak memory: source $(mib "${peaks[source]}") MiB, sink $(mib "${peaks[sink]}") MiB;" \
        "of this anonymous $(mib "${peaks[source-anon]}") and $(mib "${peaks[sink-anon]}") MiB."
}
