//! Looking at single names, and reading files of which the whole is wanted.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::fs::FileType;
use rustix::io::Errno;

use crate::model::entry::{Entry, Hash, Identity, Sighting};
use crate::model::limits::{BATCH_BYTES_MAX, LIVE_BYTES_MAX, LOOK_TRIES};
use crate::model::look::{ReadContent, Seen, Sight, Want};
use crate::model::path::{Name, RelPath};
use crate::tree::content::hash_of;
use crate::tree::looker::{Dir, Looker, no_xattrs};
use crate::tree::xattrs::Object;
use crate::tree::{beneath, stat};

/// Bytes that most small files do not have.
const FIRST_BYTES: usize = 16 * 1024;

/// Why a look at a name has no answer yet.
enum Stop {
    /// Something else stands there now.
    Changed,
    /// A problem, in words.
    Problem(String),
}

impl Looker {
    pub(super) fn look_at_names(&self, dir: &Dir, path: &RelPath, names: &[(Name, Want)]) -> Seen {
        let mut content = room_for(names);
        let mut sights = Vec::with_capacity(names.len());
        let is_beyond = self.is_beyond(dir);
        for (name, want) in names {
            let sight = if is_beyond {
                Sight::Withheld
            } else {
                self.look_at_name(dir.fd(), path, name, *want, &mut content)
            };
            sights.push((name.clone(), sight));
        }
        Seen::Names { sights, content, notes: Vec::new() }
    }

    fn look_at_name(
        &self,
        dir: BorrowedFd<'_>,
        path: &RelPath,
        name: &Name,
        want: Want,
        content: &mut Vec<u8>,
    ) -> Sight {
        for _ in 0..LOOK_TRIES {
            let stat = match stat::of_name(dir, name) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => return Sight::Gone,
                Err(_) if self.hides(path, name, FileType::Unknown) => return Sight::Gone,
                Err(errno) => return Sight::Problem(stat::words("Can't look at it", errno)),
            };
            let kind = stat::file_type(&stat);
            if self.hides(path, name, kind) {
                return Sight::Gone;
            }
            if self.withholds(&stat) {
                return Sight::Withheld;
            }
            let is_file = kind == FileType::RegularFile;
            let sight = match want {
                Want::Meta => self.sight_of_meta(dir, name, &stat),
                _ if !is_file => self.sight_of_meta(dir, name, &stat),
                Want::Content => self.read_content(dir, name, stat::identity(&stat), content),
                Want::Hash => self.read_hash(dir, name, stat::identity(&stat)),
                Want::Open { transfer } => {
                    let opened = self.open_checked(dir, name, stat::identity(&stat));
                    opened.map(|(file, seen)| {
                        self.keep_transfer(transfer, file, &seen);
                        Sight::There { sighting: seen, read: None }
                    })
                }
            };
            match sight {
                Ok(sight) => return sight,
                Err(Stop::Changed) => {}
                Err(Stop::Problem(text)) => return Sight::Problem(text),
            }
        }
        Sight::Problem("It is replaced faster than it can be looked at".into())
    }

    fn sight_of_meta(
        &self,
        dir: BorrowedFd<'_>,
        name: &Name,
        stat: &rustix::fs::Statx,
    ) -> Result<Sight, Stop> {
        let is_symlink = stat::file_type(stat) == FileType::Symlink;
        match stat::sighting_at(dir, name, stat) {
            // A file that has just taken a symlink's place is to be read like any other.
            Ok(seen) if is_symlink && matches!(seen.entry, Entry::File { .. }) => {
                Err(Stop::Changed)
            }
            Ok(mut sighting) => {
                let dressed = self.dress(Object::Named(dir, name), stat, &mut sighting);
                match dressed {
                    Ok(()) => Ok(Sight::There { sighting, read: None }),
                    Err(Errno::NOENT) => Err(Stop::Changed),
                    Err(errno) => Err(Stop::Problem(no_xattrs(errno))),
                }
            }
            Err(Errno::NOENT) => Err(Stop::Changed),
            Err(errno) => Err(Stop::Problem(stat::words("Can't read the symlink", errno))),
        }
    }

    /// Opens a file and looks at it through its descriptor: it must be what stood at the name.
    fn open_checked(
        &self,
        dir: BorrowedFd<'_>,
        name: &Name,
        expected: Identity,
    ) -> Result<(OwnedFd, Sighting), Stop> {
        let file = beneath::open_file(dir, name).map_err(|errno| match errno {
            Errno::NOENT | Errno::LOOP | Errno::NXIO | Errno::NODEV => Stop::Changed,
            Errno::AGAIN => Stop::Problem(
                "Another program holds a lease on the file; it was asked to give it up".into(),
            ),
            _ => Stop::Problem(stat::words("Can't open the file", errno)),
        })?;
        let stat = stat::of_fd(file.as_fd())
            .map_err(|errno| Stop::Problem(stat::words("Can't look at the file", errno)))?;
        let is_file = stat::file_type(&stat) == FileType::RegularFile;
        if !is_file || stat::identity(&stat) != expected {
            return Err(Stop::Changed);
        }
        let mut sighting = stat::sighting(&stat);
        self.dress(Object::Open(file.as_fd()), &stat, &mut sighting)
            .map_err(|errno| Stop::Problem(no_xattrs(errno)))?;
        Ok((file, sighting))
    }

    /// Reads a small file whole; of one that is, or grows, too large only the attributes come.
    fn read_content(
        &self,
        dir: BorrowedFd<'_>,
        name: &Name,
        expected: Identity,
        content: &mut Vec<u8>,
    ) -> Result<Sight, Stop> {
        let (file, sighting) = self.open_checked(dir, name, expected)?;
        let size = sighting.entry.content_bytes();
        if size > LIVE_BYTES_MAX {
            return Ok(Sight::There { sighting, read: None });
        }
        let start = content.len();
        // One byte more than the file has: what is left free shows the end.
        let mut room = usize::try_from(size).unwrap_or(0) + 1;
        loop {
            content.reserve(room);
            match rustix::io::read(&file, spare_capacity(content)) {
                Ok(0) => break,
                // The kernel hands out less than there is room for only where the file ends.
                Ok(_) if size > 0 && (content.len() - start) as u64 == size => break,
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(errno) => {
                    content.truncate(start);
                    return Err(unreadable(errno));
                }
            }
            let read = content.len() - start;
            if read as u64 > LIVE_BYTES_MAX {
                content.truncate(start);
                return Ok(Sight::There { sighting, read: None });
            }
            room = (size as usize + 1).saturating_sub(read).max(4_096);
        }
        let brought = &content[start..];
        let hash = Hash(*blake3::hash(brought).as_bytes());
        Ok(with_read(sighting, ReadContent { hash, bytes: brought.len() as u64, brought: true }))
    }

    /// Reads a file for its hash alone, as far as it reached when it was opened.
    fn read_hash(
        &self,
        dir: BorrowedFd<'_>,
        name: &Name,
        expected: Identity,
    ) -> Result<Sight, Stop> {
        let (file, sighting) = self.open_checked(dir, name, expected)?;
        let size = sighting.entry.content_bytes();
        let (hash, bytes) = hash_of(file.as_fd(), size).map_err(unreadable)?;
        Ok(with_read(sighting, ReadContent { hash, bytes, brought: false }))
    }
}

/// Room for what these names may bring: one that is too small would be copied as it grows. What is
/// not used is never touched, and given back.
fn room_for(names: &[(Name, Want)]) -> Vec<u8> {
    let contents = names.iter().filter(|(_, want)| *want == Want::Content).take(2).count();
    match contents {
        0 => Vec::new(),
        1 => Vec::with_capacity(FIRST_BYTES),
        _ => Vec::with_capacity(BATCH_BYTES_MAX as usize + FIRST_BYTES),
    }
}

fn unreadable(errno: Errno) -> Stop {
    Stop::Problem(stat::words("Can't read the file", errno))
}

/// The size that travels is that of what was read.
fn with_read(mut sighting: Sighting, read: ReadContent) -> Sight {
    if let Entry::File { size, .. } = &mut sighting.entry {
        *size = read.bytes;
    }
    Sight::There { sighting, read: Some(read) }
}
