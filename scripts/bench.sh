#!/bin/bash
# Measures osync beside cp, tar, ssh and rsync over ssh, alternating. Prints a section for each part
# and adds it to BENCHMARKS.md.
#
# usage: scripts/bench.sh [small|large|delta|live|link|scale|all] [options]
#   small  first copy of many small files, then a restart with nothing to do
#   large  one large file                  live   delay of new files during the backlog
#   delta  large files that changed        link   a link of 100 Mbit/s, 50 ms there and back (root)
#   scale  memory and pace over millions   all    all of them; small on ext4 as well (root)
#
#   --files  N     files: small, live 200,000; link 20,000; scale 2,000,000
#   --median BYTES of their lognormal sizes (4,096; scale 1)
#   --size   MIB   of the large file: large 2,048; delta 512; live 256; link 200
#   --new    N     new files whose delay is measured (500)
#   --runs   N     runs of each tool; medians (3)
#   --dir    DIR   where; /dev/shm is best but for scale, which takes the disk (/var/tmp)
#   --watch  HOW   osync watches by this means: inotify, fanotify, sweep (auto)
#   --ext4         small: on a journalled ext4 made for the run in a file there (root)
#   --bin    DIR   programs that are built already: osync, pool, delay
#   --print        write nothing to BENCHMARKS.md
#
# The sshd is its own: a free port on loopback, keys made for the run, ended by its pid.
set -euo pipefail
command_line="scripts/bench.sh $*"
cd "$(dirname "$0")/.."
# shellcheck source=scripts/bench/rig.sh
source scripts/bench/rig.sh

usage() { sed -n '2,24s/^# \{0,1\}//p' "$0" >&2; exit 2; }

# Read by the rig and the parts.
# shellcheck disable=SC2034
part=all files='' median='' size='' new=500 runs=3 dir='' watch=auto ext4='' bin='' print=''
while [ $# -gt 0 ]; do
    case "$1" in
        small|large|delta|live|link|scale|all) part=$1; shift ;;
        --ext4) ext4=1; shift ;;
        --print) print=1; shift ;;
        --files|--median|--size|--new|--runs|--dir|--watch|--bin)
            [ $# -ge 2 ] || usage
            printf -v "${1#--}" '%s' "$2"
            shift 2 ;;
        *) usage ;;
    esac
done
[ -z "$ext4" ] || [ "$part" = small ] || fail "--ext4 is for the part small"

prepare
case "$part" in
    all)
        measure small
        if is_root; then measure small ext4; else say "no root: no ext4, no link"; fi
        measure large
        measure delta
        measure live
        if is_root; then measure link; fi
        measure scale
        ;;
    small) measure small ${ext4:+ext4} ;;
    *) measure "$part" ;;
esac
