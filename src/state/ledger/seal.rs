//! The seal of a ledger: whether what lies on the disk may be read at all.
//!
//! While a ledger is open its seal names the boot of the host; when it is closed, the hash of the
//! whole file. A ledger that a crash of the host found open may be torn, one whose hash differs is
//! damaged: neither is opened. One that this boot left open is opened if its pages hang together.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::state::ledger::check::check;
use crate::state::ledger::store::DATA_FILE;

const OPEN: &str = "open";
const CLOSED: &str = "closed";
/// The file that holds the seal.
pub(super) const SEAL: &str = "seal";

/// Checks the seal of a ledger's directory, and names the present boot in it.
///
/// The inner error says why the ledger can't be used.
pub(super) fn break_open(dir: &Path) -> io::Result<Result<(), String>> {
    let is_new = !dir.join(DATA_FILE).try_exists()?;
    let boot = boot_id()?;
    let seal = match std::fs::read_to_string(dir.join(SEAL)) {
        Ok(seal) => seal,
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_new => String::new(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Err("it bears no seal".to_owned()));
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Ok(Err("its seal can't be read".to_owned()));
        }
        Err(error) => return Err(error),
    };
    let complaint = match seal.trim_end().split_once(' ') {
        None if is_new => None,
        // What was closed bears a hash; of what was not the pages are looked at.
        Some((OPEN, then)) if then == boot => match check(&dir.join(DATA_FILE)) {
            Ok(checked) => checked.err(),
            Err(_) => Some("it can't be read"),
        },
        Some((OPEN, _)) => Some("the host went down while it was in use"),
        Some((CLOSED, hash)) if !is_new && hash_of(&dir.join(DATA_FILE))? == hash => None,
        Some((CLOSED, _)) => Some("it is not what was written"),
        _ => Some("its seal can't be read"),
    };
    if let Some(complaint) = complaint {
        return Ok(Err(complaint.to_owned()));
    }
    write(dir, &format!("{OPEN} {boot}\n"))?;
    Ok(Ok(()))
}

/// Seals a ledger that is on disk and will not change any more.
pub(super) fn close(dir: &Path) -> io::Result<()> {
    write(dir, &format!("{CLOSED} {}\n", hash_of(&dir.join(DATA_FILE))?))
}

fn write(dir: &Path, text: &str) -> io::Result<()> {
    let (new, seal): (PathBuf, PathBuf) = (dir.join("seal.new"), dir.join(SEAL));
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, &seal)?;
    File::open(dir)?.sync_all()
}

fn hash_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finalize().to_hex().to_string()),
            count => hasher.update(&buffer[..count]),
        };
    }
}

fn boot_id() -> io::Result<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(id.trim().to_owned())
}
