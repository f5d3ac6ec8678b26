//! What a sink can hold, and what it will lose of what a source has (law 13).

use serde::{Deserialize, Serialize};

use crate::model::attributes::{Carried, Namespace};
use crate::model::entry::{Entry, FileTime, SpecialKind};
use crate::model::limits::NAME_BYTES_MAX;
use crate::model::path::Name;
use crate::model::session::human_bytes;

/// What the sink's filesystem and its user can hold, as probed at its root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abilities {
    /// The attributes that can be set.
    pub carried: Carried,
    /// Owner and group of what is made here.
    pub owner: (u32, u32),
    /// The step of modification times in nanoseconds.
    pub granule: u64,
    /// Whether symbolic links can be made.
    pub symlinks: bool,
    /// Whether fifos and sockets can be made.
    pub specials: bool,
    /// Whether devices can be made.
    pub devices: bool,
    /// Names that one object can have; 1 where there are no hard links.
    pub links: u64,
    /// Whether a file may have holes.
    pub sparse: bool,
    /// Whether names that differ in case alone are one.
    pub folds_case: bool,
    /// Whether a name may be any bytes.
    pub any_bytes: bool,
    /// Characters of ASCII that can't be in a name.
    pub barred: String,
    /// Those that can't end one.
    pub barred_ends: String,
    /// Bytes in the longest name.
    pub name_bytes: u64,
    /// Bytes in the largest file.
    pub file_bytes: u64,
    /// Bytes free.
    pub free_bytes: u64,
    /// Inodes free; `u64::MAX` where they are not counted.
    pub free_inodes: u64,
    /// What is used of it already.
    pub used: Usage,
    /// The name of the staging directory, left out of every comparison at the sink.
    pub staging_name: String,
}

/// What is used of a filesystem.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Bytes.
    pub bytes: u64,
    /// Inodes; 0 where they are not counted.
    pub inodes: u64,
}

impl Abilities {
    /// Those of a sink that holds everything.
    #[must_use]
    pub fn full(staging_name: &str) -> Abilities {
        Abilities {
            carried: Carried { atimes: true, ..Carried::all() },
            owner: (0, 0),
            granule: 1,
            symlinks: true,
            specials: true,
            devices: true,
            links: u64::MAX,
            sparse: true,
            folds_case: false,
            any_bytes: true,
            barred: String::new(),
            barred_ends: String::new(),
            name_bytes: NAME_BYTES_MAX as u64,
            file_bytes: u64::MAX,
            free_bytes: u64::MAX,
            free_inodes: u64::MAX,
            used: Usage::default(),
            staging_name: staging_name.to_owned(),
        }
    }

    /// What keeps an object from being carried at all, if anything does.
    #[must_use]
    pub fn refuses(&self, name: &Name, entry: &Entry) -> Option<Loss> {
        let kind = match entry {
            Entry::Symlink { .. } => (!self.symlinks).then_some(Loss::Symlink),
            Entry::Special { kind: SpecialKind::Fifo | SpecialKind::Socket, .. } => {
                (!self.specials).then_some(Loss::Special)
            }
            Entry::Special { .. } => (!self.devices).then_some(Loss::Device),
            Entry::File { size, .. } => (*size > self.file_bytes).then_some(Loss::Size),
            Entry::Dir { .. } => None,
        };
        kind.or_else(|| self.refuses_name(name))
    }

    /// Whether every name can be given.
    #[must_use]
    pub fn takes_all_names(&self) -> bool {
        self.name_bytes >= NAME_BYTES_MAX as u64
            && self.any_bytes
            && self.barred.is_empty()
            && self.barred_ends.is_empty()
    }

    /// What keeps a name from being given to anything, if anything does.
    #[must_use]
    pub fn refuses_name(&self, name: &Name) -> Option<Loss> {
        let bytes = name.as_bytes();
        let is_in = |characters: &str, byte: &u8| characters.as_bytes().contains(byte);
        if bytes.len() as u64 > self.name_bytes {
            Some(Loss::Name)
        } else if !self.any_bytes && std::str::from_utf8(bytes).is_err() {
            Some(Loss::Bytes)
        } else if (!self.barred.is_empty() && bytes.iter().any(|byte| is_in(&self.barred, byte)))
            || bytes.last().is_some_and(|byte| is_in(&self.barred_ends, byte))
        {
            Some(Loss::Characters)
        } else {
            None
        }
    }

    /// What of an object's attributes is lost here; `wanted` is what is to be carried.
    pub fn losses(&self, wanted: &Carried, entry: &Entry, mut lost: impl FnMut(Loss)) {
        let (meta, kept) = (entry.meta(), &self.carried);
        let is_symlink = matches!(entry, Entry::Symlink { .. });
        let mut note = |loss, wanted: bool, kept: bool, has: bool| {
            if wanted && !kept && has {
                lost(loss);
            }
        };
        let other = (meta.uid, meta.gid) != self.owner;
        note(Loss::Owner, wanted.owners || wanted.groups, kept.owners || kept.groups, other);
        note(Loss::Mode, wanted.modes, kept.modes, !is_symlink);
        note(Loss::Flags, wanted.flags, kept.flags, !meta.flags.is_empty());
        note(Loss::Time, true, self.keeps_time(meta.mtime), true);
        let marks = meta.marks.unwrap_or_default();
        for namespace in Namespace::ALL {
            let at = namespace.index();
            let (wanted, kept) = (wanted.namespaces[at], kept.namespaces[at]);
            note(Loss::Xattrs(namespace), wanted, kept, marks.0[at] != 0);
        }
    }

    /// Why what a source's filesystem holds hardly finds room here, even if all that is used here
    /// is part of it. An estimate: filesystems differ in what a file takes beside its content, so
    /// that a sixteenth more is no matter.
    #[must_use]
    pub fn is_too_small_for(&self, held: Usage) -> Option<String> {
        let room = self.free_bytes.saturating_add(self.used.bytes);
        let inodes = self.free_inodes.saturating_add(self.used.inodes);
        let at_least = |much: u64| much - much / 16;
        if at_least(held.bytes) > room {
            let (held, room) = (human_bytes(held.bytes), human_bytes(room));
            let free = human_bytes(self.free_bytes);
            return Some(format!(
                "room: the source's filesystem holds about {held}, the sink's takes {room} in all, \
                 of which {free} are free"
            ));
        }
        (at_least(held.inodes) > inodes).then(|| {
            format!(
                "room: the source's filesystem holds about {} inodes, the sink's takes {inodes}",
                held.inodes
            )
        })
    }

    /// Whether a modification time is a multiple of the step.
    fn keeps_time(&self, time: FileTime) -> bool {
        let nanos = i128::from(time.seconds) * i128::from(GIGA) + i128::from(time.nanos);
        nanos.rem_euclid(i128::from(self.granule.max(1))) == 0
    }

    /// What a source may have that is lost here, whatever its objects bear.
    #[must_use]
    pub fn table(&self, wanted: &Carried) -> Vec<Loss> {
        let (kept, mut table) = (&self.carried, Vec::new());
        let mut note = |loss, wanted: bool, kept: bool| {
            if wanted && !kept {
                table.push(loss);
            }
        };
        note(Loss::Owner, wanted.owners || wanted.groups, kept.owners || kept.groups);
        note(Loss::Mode, wanted.modes, kept.modes);
        note(Loss::Time, true, self.granule == 1);
        note(Loss::Flags, wanted.flags, kept.flags);
        for namespace in Namespace::ALL {
            let at = namespace.index();
            note(Loss::Xattrs(namespace), wanted.namespaces[at], kept.namespaces[at]);
        }
        note(Loss::Symlink, true, self.symlinks);
        note(Loss::Special, true, self.specials);
        note(Loss::Device, true, self.devices);
        note(Loss::Link, wanted.links, self.links > 1);
        note(Loss::Name, true, self.name_bytes >= NAME_BYTES_MAX as u64);
        note(Loss::Bytes, true, self.any_bytes);
        note(Loss::Characters, true, self.barred.is_empty() && self.barred_ends.is_empty());
        note(Loss::Case, true, !self.folds_case);
        note(Loss::Size, true, self.file_bytes >= LARGE_FILE);
        note(Loss::Hole, true, self.sparse);
        table
    }
}

const GIGA: u64 = 1_000_000_000;

/// A sink whose largest file is below this is one that a person must know of before any is met:
/// ext4 with its smallest blocks holds this much. Larger ones are counted as they are met.
const LARGE_FILE: u64 = 16 << 30;

/// What may be lost on the way, each kind counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Loss {
    /// The owner or the group.
    Owner,
    /// The permission bits.
    Mode,
    /// The modification time, beyond the sink's granule.
    Time,
    /// Inode flags.
    Flags,
    /// Extended attributes of one namespace.
    Xattrs(Namespace),
    /// A symbolic link as a whole.
    Symlink,
    /// A fifo or a socket as a whole.
    Special,
    /// A device as a whole.
    Device,
    /// A name that is too long.
    Name,
    /// A name that is not UTF-8.
    Bytes,
    /// A name with a character that means something else there.
    Characters,
    /// A file that is too large.
    Size,
    /// That two names are one object.
    Link,
    /// Names that differ in case alone.
    Case,
    /// Holes: the file takes more room.
    Hole,
}

/// Kinds of losses.
const LOSSES: usize = 18;

impl Loss {
    /// All of them, in the order in which they are told.
    pub const ALL: [Loss; LOSSES] = [
        Loss::Owner,
        Loss::Mode,
        Loss::Time,
        Loss::Flags,
        Loss::Xattrs(Namespace::User),
        Loss::Xattrs(Namespace::Acl),
        Loss::Xattrs(Namespace::Security),
        Loss::Xattrs(Namespace::Trusted),
        Loss::Symlink,
        Loss::Special,
        Loss::Device,
        Loss::Name,
        Loss::Bytes,
        Loss::Characters,
        Loss::Size,
        Loss::Link,
        Loss::Case,
        Loss::Hole,
    ];

    /// In words, for people and scripts.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Loss::Owner => "owners and groups",
            Loss::Mode => "permissions",
            Loss::Time => "fractions of modification times",
            Loss::Flags => "inode flags",
            Loss::Xattrs(namespace) => namespace.words(),
            Loss::Symlink => "symbolic links",
            Loss::Special => "fifos and sockets",
            Loss::Device => "devices",
            Loss::Name => "names that are too long",
            Loss::Bytes => "names that are not UTF-8",
            Loss::Characters => "names with reserved characters",
            Loss::Size => "files that are too large",
            Loss::Link => "hard links",
            Loss::Case => "names that differ in case alone",
            Loss::Hole => "holes in files",
        }
    }

    /// Whether only root can hold it, whatever the filesystem.
    #[must_use]
    pub fn is_of_privilege(self) -> bool {
        matches!(
            self,
            Loss::Owner
                | Loss::Flags
                | Loss::Device
                | Loss::Xattrs(Namespace::Security | Namespace::Trusted)
        )
    }

    fn index(self) -> usize {
        Loss::ALL.iter().position(|loss| *loss == self).unwrap_or_default()
    }
}

/// How many objects lose what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Losses([u64; LOSSES]);

impl Losses {
    /// One more.
    pub fn add(&mut self, loss: Loss) {
        self.0[loss.index()] += 1;
    }

    /// Those of others too.
    pub fn add_all(&mut self, others: &Losses) {
        for (count, other) in self.0.iter_mut().zip(others.0) {
            *count += other;
        }
    }

    /// Those that there are.
    pub fn iter(&self) -> impl Iterator<Item = (Loss, u64)> + '_ {
        let all = Loss::ALL.into_iter().zip(self.0);
        all.filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::{Abilities, Loss, Usage};
    use crate::model::attributes::{Carried, Meta};
    use crate::model::entry::{Entry, FileTime};
    use crate::model::path::Name;

    #[test]
    fn each_name_is_refused_for_its_own_reason() {
        let full = Abilities::full("staging");
        let barred = ":?".to_owned();
        let ends = ".".to_owned();
        let less = Abilities {
            any_bytes: false,
            barred,
            barred_ends: ends,
            name_bytes: 10,
            ..full.clone()
        };
        let names: [(&[u8], Option<Loss>); 7] = [
            (b"plain", None),
            (b".hidden", None),
            (b"longer names", Some(Loss::Name)),
            (b"\xff", Some(Loss::Bytes)),
            (b"a:b", Some(Loss::Characters)),
            (b"end.", Some(Loss::Characters)),
            (b"?", Some(Loss::Characters)),
        ];
        for (bytes, loss) in names {
            let name = Name::new(bytes).unwrap();
            assert_eq!(full.refuses_name(&name), None, "{name}");
            assert_eq!(less.refuses_name(&name), loss, "{name}");
        }
        assert!(full.takes_all_names() && !less.takes_all_names());
    }

    #[test]
    fn odd_seconds_are_lost_where_the_step_is_two() {
        let abilities = Abilities { granule: 2_000_000_000, ..Abilities::full("staging") };
        let lost = |seconds, nanos| {
            let meta = Meta::plain(0o644, 0, 0, FileTime { seconds, nanos });
            let mut lost = Vec::new();
            let entry = Entry::File { size: 0, meta };
            abilities.losses(&Carried::all(), &entry, |loss| lost.push(loss));
            lost
        };
        assert_eq!(lost(-2, 0), []);
        assert_eq!(lost(1, 0), [Loss::Time]);
        assert_eq!(lost(2, 1), [Loss::Time]);
    }

    #[test]
    fn a_sink_is_too_small_only_if_what_it_holds_already_does_not_help() {
        let used = Usage { bytes: 6 << 30, inodes: 90 };
        let sink =
            Abilities { free_bytes: 3 << 30, free_inodes: 10, used, ..Abilities::full("staging") };
        let held = |gib: u64, inodes| Usage { bytes: gib << 30, inodes };
        assert_eq!(sink.is_too_small_for(held(9, 100)), None, "It may be here already");
        let words = sink.is_too_small_for(held(12, 100)).unwrap();
        assert!(words.contains("holds about 12.0 GiB, the sink's takes 9.0 GiB in all"), "{words}");
        assert!(sink.is_too_small_for(held(1, 200)).unwrap().contains("200 inodes"));
        let endless = Abilities { free_inodes: u64::MAX, ..sink };
        assert_eq!(endless.is_too_small_for(held(1, u64::MAX)), None, "It does not count them");
    }
}
