#!/bin/bash
# All checks, in the order of their speed; CI runs this and nothing else. Ends with the summary of
# the tests.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '== %s\n' "$*" >&2; }

say "format"
cargo fmt --check

say "figures"
if command -v plantuml >/dev/null; then
    scripts/uml.sh --check
elif [ "${CI:-}" = true ]; then
    echo "check.sh: plantuml is missing, and CI has to check the figures" >&2
    exit 1
else
    echo "plantuml is not installed: the figures are not checked" >&2
fi

say "scripts"
for script in scripts/*.sh scripts/bench/*.sh .ci/run; do bash -n "$script"; done

say "lints"
cargo clippy --locked --all-targets -- -D warnings

say "documentation"
RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" \
    cargo doc --locked --no-deps --document-private-items --quiet

# Filesystems of their own: only root may mount them, and not in every container.
can_mount() {
    [ "$(id -u)" = 0 ] || return 1
    local probe
    probe=$(mktemp -d)
    local can=1
    if mount -t tmpfs -o size=64k osync-probe "$probe" 2>/dev/null; then
        umount "$probe"
        can=0
    fi
    rmdir "$probe"
    return "$can"
}
# Whole filesystems are marked only by root outside of any user namespace.
can_mark() { can_mount && [ "$(awk '{print $3}' /proc/self/uid_map)" = 4294967295 ]; }
if can_mark; then
    say "tests that need root"
    cargo test --locked --lib --test runner -- --ignored needs_root
    say "live tests by fanotify, on a filesystem of their own"
    (
        own=$(mktemp -d)
        mount -t tmpfs osync-check "$own"
        trap 'umount --lazy "$own" && rmdir "$own"' EXIT
        TMPDIR=$own OSYNC_TEST_WATCH=fanotify cargo test --locked --test runner live::
    )
else
    say "no root: tests of fanotify, of a full disk and of the kernel's bounds are left out"
fi

# Power cuts and broken disks need block devices of their own, with three filesystems.
can_loop() {
    [ "$(id -u)" = 0 ] || return 1
    local probe kind can=0
    probe=$(mktemp -d -p /dev/shm)
    mkdir "$probe/at"
    for kind in ext4 xfs btrfs; do
        truncate -s 320M "$probe/$kind"
        if "mkfs.$kind" -q "$probe/$kind" && mount -o loop "$probe/$kind" "$probe/at"; then
            umount "$probe/at"
        else
            can=1
        fi
    done >/dev/null 2>&1
    rm -rf --one-file-system "$probe"
    return "$can"
}
if can_loop; then
    say "tests that need loop devices"
    cargo test --locked --test runner -- --ignored needs_loop --test-threads 2
else
    say "no loop device with ext4, xfs and btrfs here: tests of failing disks are left out"
fi
# Filesystems of other systems: by daemons, for not every kernel has them.
can_fuse() {
    can_mount && [ -e /dev/fuse ] || return 1
    local program
    for program in losetup mkfs.exfat mount.exfat-fuse mkfs.ntfs ntfs-3g mkfs.vfat fusefat; do
        command -v "$program" >/dev/null || return 1
    done
    local probe loop can=1
    probe=$(mktemp -d)
    truncate -s 16M "$probe/image"
    mkdir "$probe/at"
    if mkfs.exfat "$probe/image" && loop=$(losetup -f --show "$probe/image"); then
        if mount.exfat-fuse "$loop" "$probe/at"; then
            umount "$probe/at"
            can=0
        fi
        losetup -d "$loop"
    fi >/dev/null 2>&1
    rm -rf --one-file-system "$probe"
    return "$can"
}
if can_fuse; then
    say "tests that need daemons of FUSE"
    cargo test --locked --test runner -- --ignored needs_fuse --test-threads 2
else
    say "no exfat-fuse, ntfs-3g or fusefat: tests of other systems' filesystems are left out"
fi
if [ -e /usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1 ]; then
    say "tests that need faketime"
    cargo test --locked --test runner -- --ignored needs_faketime
else
    say "faketime is not installed: the test of clocks that step is left out"
fi

say "tests"
cargo test --locked
