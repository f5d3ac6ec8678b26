//! Reading the names of a directory: all at once when it is armed, in parts when it is listed.

use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{DirEntry, FileType};
use rustix::io::Errno;

use crate::model::attributes::Marks;
use crate::model::entry::{Entry, FileTime};
use crate::model::ledger::{Facts, Kind, Standing};
use crate::model::limits::{LISTING_BYTES_MAX, LISTING_ENTRIES_MAX, LOOK_TRIES};
use crate::model::look::{Armed, DirAddress, Found, LookDone, LookJob, Seen, Task, WatchState};
use crate::model::op::{Listed, ListingEnd};
use crate::model::path::Name;
use crate::tree::looker::{Dir, Looker, Unseen};
use crate::tree::xattrs::Object;
use crate::tree::{beneath, hold, lease, stat, xattrs};

/// A directory that is being listed.
pub(super) struct Listing {
    dir: Dir,
    reader: rustix::fs::Dir,
    watch: WatchState,
    /// The directory's ctime before it was read.
    changed: FileTime,
}

/// What one name of a listing is.
enum Item {
    There(Found),
    Gone,
    Problem(String),
}

impl Looker {
    pub(super) fn arm_and_read(&self, address: &DirAddress, max: usize) -> Result<Seen, Unseen> {
        let dir = self.resolve(address)?;
        let watch = self.arm(&dir, address.key);
        let mut armed = Armed {
            identity: dir.identity,
            watch,
            dirs: Vec::new(),
            files: Vec::new(),
            complete: true,
        };
        if self.is_beyond(&dir) {
            return Ok(Seen::Armed(armed));
        }
        let mut reader = open_reader(&dir)?;
        while let Some(entry) = reader.read() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(errno) => {
                    tracing::warn!("Can't read all of \"{}\": {errno}", address.path);
                    armed.complete = false;
                    break;
                }
            };
            let Some(name) = name_of(&entry, address) else { continue };
            if self.hides(&address.path, &name, entry.file_type()) {
                continue;
            }
            match kind_of(&dir, &entry, &name) {
                Ok(kind) if self.hides(&address.path, &name, kind) => {}
                Ok(FileType::Directory) => armed.dirs.push(name),
                Ok(_) if armed.files.len() < max => armed.files.push(name),
                Err(Errno::NOENT) => {}
                Ok(_) | Err(_) => armed.complete = false,
            }
        }
        if dir.is_removed() {
            self.forget_descriptor(address);
            return Err(Unseen::Elsewhere);
        }
        Ok(Seen::Armed(armed))
    }

    /// Completes what a listing saw, once it is known how the ledger stands to it: reading extended
    /// attributes takes a call for each entry, which those that the sink durably has are spared.
    #[must_use]
    pub fn complete(&self, job: &LookJob, mut done: LookDone) -> LookDone {
        if let (Task::List { probe, .. }, Seen::Part { entries, .. }) = (&job.task, &mut done.seen)
            && let Ok(dir) = self.through(&job.dir)
        {
            self.mark_entries(&dir, entries, *probe);
        }
        done
    }

    pub(super) fn list_first(
        &self,
        address: &DirAddress,
        number: u64,
        probe: bool,
    ) -> Result<Seen, Unseen> {
        let dir = self.resolve(address)?;
        let watch = self.arm(&dir, address.key);
        let changed = stat::of_fd(dir.fd()).map_or(FileTime::default(), |s| stat::changed(&s));
        let reader = open_reader(&dir)?;
        let listing = Mutex::new(Listing { dir, reader, watch, changed });
        hold(&self.listings).put(number, listing);
        self.list_next(address, number, probe)
    }

    pub(super) fn list_next(
        &self,
        address: &DirAddress,
        number: u64,
        probe: bool,
    ) -> Result<Seen, Unseen> {
        let listing = hold(&self.listings).get(number);
        let Some(listing) = listing else {
            let identity = address.identity.ok_or(Unseen::Elsewhere)?;
            let (entries, problems, end) = (Vec::new(), Vec::new(), ListingEnd::Abandoned);
            let watch = WatchState::Unwatched("Its listing is no longer open".into());
            let (changed, missing) = (FileTime::default(), None);
            return Ok(Seen::Part { identity, changed, watch, entries, problems, end, missing });
        };
        let mut listing = listing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut entries = Vec::new();
        let mut problems = Vec::new();
        let end = listing.read_part(self, address, &mut entries, &mut problems);
        if probe {
            self.probe_lately_changed(&listing.dir, &mut entries);
        }
        let (identity, changed) = (listing.dir.identity, listing.changed);
        let (watch, missing) = (listing.watch.clone(), None);
        if end != ListingEnd::More {
            hold(&self.listings).take(number);
        }
        if end == ListingEnd::Abandoned && listing.dir.is_removed() {
            self.forget_descriptor(address);
        }
        Ok(Seen::Part { identity, changed, watch, entries, problems, end, missing })
    }

    /// Probes files that may have been written while the source runs. A filesystem of other hosts
    /// would say of all that they have writers.
    fn probe_lately_changed(&self, dir: &Dir, entries: &mut [Found]) {
        if self.distances.kind_of(dir.fd(), dir.ground.device).is_some() {
            return;
        }
        for found in entries {
            let is_late = found.facts.ctime >= self.probed_since;
            if is_late && found.facts.kind == Kind::File {
                found.has_writer = is_written(dir, &found.listed.name);
            }
        }
    }

    /// Adds the marks of extended attributes to the entries of a part that are to be compared; one
    /// that has gone meanwhile keeps none.
    fn mark_entries(&self, dir: &Dir, entries: &mut [Found], all: bool) {
        for found in entries.iter_mut().filter(|found| all || found.standing != Standing::Durable) {
            let object = Object::Named(dir.fd(), &found.listed.name);
            if let Ok(xattrs) = xattrs::read(object, &self.carried.namespaces) {
                found.listed.entry.meta_mut().marks = Marks::of(&xattrs);
            }
        }
    }

    fn forget_descriptor(&self, address: &DirAddress) {
        hold(&self.dirs).remove(&address.key);
    }
}

impl Listing {
    fn read_part(
        &mut self,
        looker: &Looker,
        address: &DirAddress,
        entries: &mut Vec<Found>,
        problems: &mut Vec<(Name, String)>,
    ) -> ListingEnd {
        if looker.is_beyond(&self.dir) {
            return ListingEnd::Complete;
        }
        let mut bytes = 0;
        while entries.len() + problems.len() < LISTING_ENTRIES_MAX && bytes < LISTING_BYTES_MAX {
            let entry = match self.reader.read() {
                Some(Ok(entry)) => entry,
                Some(Err(errno)) => {
                    tracing::warn!("Can't read all of \"{}\": {errno}", address.path);
                    return ListingEnd::Abandoned;
                }
                None if self.dir.is_removed() => return ListingEnd::Abandoned,
                None => return ListingEnd::Complete,
            };
            let Some(name) = name_of(&entry, address) else { continue };
            if looker.hides(&address.path, &name, entry.file_type()) {
                continue;
            }
            bytes += name.as_bytes().len();
            match self.item(&name) {
                Item::There(found) if !looker.offers(&address.path, &found.listed) => {}
                Item::There(found) => {
                    if let Entry::Symlink { target, .. } = &found.listed.entry {
                        bytes += target.len();
                    }
                    entries.push(found);
                }
                Item::Gone => {}
                Item::Problem(text) => problems.push((name, text)),
            }
        }
        ListingEnd::More
    }

    fn item(&self, name: &Name) -> Item {
        let dir = self.dir.fd();
        let look = || {
            let stat = stat::of_name(dir, name)?;
            Ok((stat::sighting_at(dir, name, &stat)?, stat::takes(&stat)))
        };
        for _ in 0..LOOK_TRIES {
            match look() {
                Ok((seen, takes)) => {
                    let facts = Facts::of(&seen, Some(self.dir.identity));
                    let listed = Listed { name: name.clone(), entry: seen.entry };
                    let standing = Standing::Unknown;
                    let beside = None;
                    return Item::There(Found {
                        listed,
                        facts,
                        standing,
                        beside,
                        has_writer: false,
                        takes,
                    });
                }
                // A symlink may have gone between two calls, and another thing may stand there.
                Err(Errno::NOENT) if stat::of_name(dir, name).is_ok() => {}
                Err(Errno::NOENT) => return Item::Gone,
                Err(errno) => return Item::Problem(stat::words("Can't look at it", errno)),
            }
        }
        Item::Problem("It is replaced faster than it can be looked at".into())
    }
}

/// Which of these files somebody has open for writing.
pub(super) fn probe(dir: &Dir, names: &[Name]) -> Seen {
    Seen::Writers(names.iter().filter(|name| is_written(dir, name)).cloned().collect())
}

fn is_written(dir: &Dir, name: &Name) -> bool {
    let file = beneath::open_file(dir.fd(), name).ok();
    file.and_then(lease::has_writer).unwrap_or(false)
}

fn open_reader(dir: &Dir) -> Result<rustix::fs::Dir, Unseen> {
    beneath::open_to_read(dir.fd()).and_then(rustix::fs::Dir::new).map_err(|errno| {
        if beneath::leads_nowhere(errno) {
            return Unseen::Elsewhere;
        }
        Unseen::Unreadable(stat::words("Can't read the directory", errno))
    })
}

/// The name of an entry, but for the two that are none.
fn name_of(entry: &DirEntry, address: &DirAddress) -> Option<Name> {
    let bytes = entry.file_name().to_bytes();
    if bytes == b"." || bytes == b".." {
        return None;
    }
    let name = Name::new(bytes);
    if let Err(error) = &name {
        let shown = bytes.escape_ascii();
        tracing::warn!("\"{shown}\" in \"{}\" can't be carried: {error}", address.path);
    }
    name.ok()
}

/// What an entry is; filesystems that do not say so are asked by name.
fn kind_of(dir: &Dir, entry: &DirEntry, name: &Name) -> Result<FileType, Errno> {
    match entry.file_type() {
        FileType::Unknown => Ok(stat::file_type(&stat::of_name(dir.fd.as_fd(), name)?)),
        known => Ok(known),
    }
}
