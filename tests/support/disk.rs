//! Block devices of a test's own: a file behind a loop device, with a filesystem in it. Needs root.
//!
//! The files lie on a btrfs of their own, in memory, so that a copy of an image is what the device
//! held at one instant: a clone is one step, a copy byte for byte is not.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Room for all images of one test, most of it holes.
const STORE_BYTES: u64 = 2 << 30;
/// Of one image: xfs wants no less.
const IMAGE_BYTES: u64 = 320 << 20;
/// Of an image for another system.
const FOREIGN_BYTES: u64 = 200 << 20;

/// A place for images. Dropped, it is gone with all of them.
pub(crate) struct Store {
    home: TempDir,
}

/// A mounted image. Dropped, it is unmounted.
pub(crate) struct Disk {
    /// The file.
    pub(crate) image: PathBuf,
    at: PathBuf,
}

/// Runs a command of the system that has to succeed.
#[track_caller]
pub(crate) fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output();
    let output = output.unwrap_or_else(|error| panic!("{program} can't be run: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?} failed, as root? It said: {said}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("Temporary paths are UTF-8")
}

fn make_file(path: &Path, bytes: u64) {
    File::create(path).and_then(|file| file.set_len(bytes)).expect("A file full of holes");
}

/// Makes a filesystem in an image.
#[track_caller]
pub(crate) fn format(image: &Path, kind: &str) {
    let quiet = match kind {
        "ext4" => vec!["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"],
        _ => vec!["-q", "-f"],
    };
    let args: Vec<&str> = quiet.into_iter().chain([text(image)]).collect();
    run(&format!("mkfs.{kind}"), &args);
}

impl Store {
    /// An empty place.
    #[track_caller]
    pub(crate) fn new() -> Store {
        let home = TempDir::with_prefix_in("osync-test-", "/dev/shm").expect("Room in memory");
        let (image, at) = (home.path().join("store.img"), home.path().join("store"));
        fs::create_dir(&at).expect("A directory");
        make_file(&image, STORE_BYTES);
        format(&image, "btrfs");
        run("mount", &["-o", "loop", text(&image), text(&at)]);
        Store { home }
    }

    /// Where an image lies.
    pub(crate) fn image(&self, name: &str) -> PathBuf {
        self.home.path().join("store").join(name)
    }

    /// A new image with a filesystem in it, mounted over a directory.
    #[track_caller]
    pub(crate) fn disk(&self, name: &str, kind: &str, at: &Path) -> Disk {
        let image = self.image(name);
        make_file(&image, IMAGE_BYTES);
        format(&image, kind);
        Disk::mount(&image, at)
    }

    /// What an image holds at this instant, as another image.
    #[track_caller]
    pub(crate) fn snapshot(&self, of: &Path, name: &str) -> PathBuf {
        let copy = self.image(name);
        let (from, to) = (File::open(of).unwrap(), File::create(&copy).unwrap());
        rustix::fs::ioctl_ficlone(to.as_fd(), from.as_fd()).expect("A clone");
        copy
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.home.path().join("store")).status();
    }
}

impl Disk {
    /// Mounts an image over a directory.
    #[track_caller]
    pub(crate) fn mount(image: &Path, at: &Path) -> Disk {
        run("mount", &["-o", "loop", text(image), text(at)]);
        Disk { image: image.to_owned(), at: at.to_owned() }
    }

    /// Mounts it again with other options.
    #[track_caller]
    pub(crate) fn remount(&self, options: &str) {
        run("mount", &["-o", &format!("remount,{options}"), text(&self.at)]);
    }

    /// Unmounts it, and waits until nothing of it is left; returns its image.
    #[track_caller]
    pub(crate) fn unmount(self) -> PathBuf {
        run("umount", &[text(&self.at)]);
        self.image.clone()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // It may be unmounted already.
        let mut umount = Command::new("umount");
        let _ = umount.arg("--quiet").arg("--lazy").arg(&self.at).output();
    }
}

/// A filesystem of another system, by a daemon of FUSE, in an image of its own. Dropped, it is
/// gone.
pub(crate) struct Foreign {
    _home: TempDir,
    device: String,
    at: PathBuf,
}

impl Foreign {
    /// Mounts an empty one over a directory: `exfat`, `ntfs`, `vfat`, or `windows`, an NTFS that
    /// takes the names of its own system alone.
    #[track_caller]
    pub(crate) fn mount(kind: &str, at: &Path) -> Foreign {
        let home = TempDir::with_prefix_in("osync-test-", "/dev/shm").expect("Room in memory");
        let image = home.path().join("image");
        make_file(&image, FOREIGN_BYTES);
        // Some daemons take devices alone.
        let losetup = Command::new("losetup").args(["--find", "--show"]).arg(&image).output();
        let losetup = losetup.expect("losetup can be run");
        let device = String::from_utf8_lossy(&losetup.stdout).trim().to_owned();
        assert!(!device.is_empty(), "This test needs a loop device, as root: {losetup:?}");
        let (device_text, at_text) = (device.as_str(), text(at));
        match kind {
            "exfat" => {
                run("mkfs.exfat", &[device_text]);
                run("mount.exfat-fuse", &[device_text, at_text]);
            }
            "ntfs" | "windows" => {
                let options = if kind == "ntfs" { "rw" } else { "windows_names" };
                run("mkfs.ntfs", &["--quick", "--quiet", device_text]);
                run("ntfs-3g", &["-o", options, device_text, at_text]);
            }
            _ => {
                run("mkfs.vfat", &["-F", "32", device_text]);
                run("fusefat", &["-o", "rw+", device_text, at_text]);
            }
        }
        Foreign { _home: home, device: device.clone(), at: at.to_owned() }
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.at).status();
        let _ = Command::new("losetup").arg("--detach").arg(&self.device).status();
    }
}
