//! What a dry run tells of one name: what would be done there, itemised as rsync does it.

use crate::model::entry::{Entry, SpecialKind};
use crate::model::path::RelPath;

/// In what an object at the sink differs from the source's, as far as the sink keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Differences {
    /// The content, told by its hash; the target of a symlink; the number of a device.
    pub content: bool,
    /// The size of a file.
    pub size: bool,
    /// The modification time.
    pub time: bool,
    /// The mode.
    pub mode: bool,
    /// The owner.
    pub owner: bool,
    /// The group.
    pub group: bool,
    /// The access control lists.
    pub acl: bool,
    /// Other extended attributes, or inode flags, for which rsync has no letter.
    pub xattrs: bool,
}

impl Differences {
    /// Whether there is any.
    #[must_use]
    pub fn is_any(&self) -> bool {
        *self != Differences::default()
    }
}

/// What would be done at a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Something is made, or takes the place of another kind.
    Make,
    /// Something of the same kind is written anew.
    Replace(Differences),
    /// Attributes are set.
    Retouch(Differences),
    /// The name becomes one more of an object; nothing stands there.
    Link,
    /// The name becomes one more of an object, and what stands there goes.
    Relink(Differences),
    /// What stands there is removed.
    Remove,
}

/// What stands at a name, by rsync's letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A character or block device.
    Device,
    /// A fifo or a socket.
    Special,
}

impl ItemKind {
    /// The kind of an entry.
    #[must_use]
    pub fn of(entry: &Entry) -> ItemKind {
        match entry {
            Entry::File { .. } => ItemKind::File,
            Entry::Dir { .. } => ItemKind::Dir,
            Entry::Symlink { .. } => ItemKind::Symlink,
            Entry::Special { kind: SpecialKind::Fifo | SpecialKind::Socket, .. } => {
                ItemKind::Special
            }
            Entry::Special { .. } => ItemKind::Device,
        }
    }

    fn letter(self) -> char {
        match self {
            ItemKind::File => 'f',
            ItemKind::Dir => 'd',
            ItemKind::Symlink => 'L',
            ItemKind::Device => 'D',
            ItemKind::Special => 'S',
        }
    }
}

/// One line of a dry run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The name.
    pub path: RelPath,
    /// What is, or will be, there.
    pub kind: ItemKind,
    /// What would be done.
    pub deed: Deed,
    /// The target of a symlink, or the path that a name is linked to.
    pub to: Option<Vec<u8>>,
    /// Bytes of content that would have to travel.
    pub bytes: u64,
}

impl Item {
    /// Something that is to be made at a name, or be written anew if `differs` says in what.
    #[must_use]
    pub fn put(path: RelPath, entry: &Entry, differs: Option<Differences>) -> Item {
        let deed = differs.map_or(Deed::Make, Deed::Replace);
        let to = match entry {
            Entry::Symlink { target, .. } => Some(target.clone()),
            _ => None,
        };
        Item { path, kind: ItemKind::of(entry), deed, to, bytes: entry.content_bytes() }
    }

    /// Something without content of its own that travels: attributes, links, removals.
    #[must_use]
    pub fn bare(path: RelPath, kind: ItemKind, deed: Deed) -> Item {
        Item { path, kind, deed, to: None, bytes: 0 }
    }

    /// What is done, in the eleven characters of rsync's `%i`.
    #[must_use]
    pub fn code(&self) -> String {
        let (first, differs) = match self.deed {
            Deed::Remove => return "*deleting  ".to_owned(),
            Deed::Make => (self.bringing(), None),
            Deed::Replace(differs) => (self.bringing(), Some(differs)),
            Deed::Retouch(differs) => ('.', Some(differs)),
            Deed::Link => ('h', None),
            Deed::Relink(differs) => ('h', Some(differs)),
        };
        let rest = match differs {
            None => "+".repeat(9),
            // Spaces where rsync has them: nothing but the link is new.
            Some(differs) if !differs.is_any() => " ".repeat(9),
            Some(differs) => letters(&differs),
        };
        format!("{first}{}{rest}", self.kind.letter())
    }

    /// The path as rsync shows it: a directory bears a slash, the root is a dot.
    #[must_use]
    pub fn shown_path(&self) -> Vec<u8> {
        let mut bytes = self.path.as_bytes().to_vec();
        if self.path.is_root() {
            bytes.push(b'.');
        }
        if self.kind == ItemKind::Dir {
            bytes.push(b'/');
        }
        bytes
    }

    /// What stands between the path and `to`.
    #[must_use]
    pub fn arrow(&self) -> &'static str {
        match self.deed {
            Deed::Link | Deed::Relink(_) => " => ",
            _ => " -> ",
        }
    }

    /// Content is received, all else is made here.
    fn bringing(&self) -> char {
        if self.kind == ItemKind::File { '>' } else { 'c' }
    }
}

fn letters(differs: &Differences) -> String {
    let letter = |is: bool, letter: char| if is { letter } else { '.' };
    [
        letter(differs.content, 'c'),
        letter(differs.size, 's'),
        letter(differs.time, 't'),
        letter(differs.mode, 'p'),
        letter(differs.owner, 'o'),
        letter(differs.group, 'g'),
        '.',
        letter(differs.acl, 'a'),
        letter(differs.xattrs, 'x'),
    ]
    .into_iter()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::{Deed, Differences, Item, ItemKind};
    use crate::model::path::RelPath;

    #[test]
    fn the_letters_are_those_of_rsync() {
        let none = Differences::default();
        let (size, time) = (Differences { size: true, ..none }, Differences { time: true, ..none });
        let acl = Differences { acl: true, xattrs: true, ..none };
        for (kind, deed, code) in [
            (ItemKind::File, Deed::Make, ">f+++++++++"),
            (ItemKind::Dir, Deed::Make, "cd+++++++++"),
            (ItemKind::File, Deed::Replace(size), ">f.s......."),
            (
                ItemKind::Symlink,
                Deed::Replace(Differences { content: true, ..none }),
                "cLc........",
            ),
            (ItemKind::Dir, Deed::Retouch(time), ".d..t......"),
            (ItemKind::File, Deed::Retouch(acl), ".f.......ax"),
            (ItemKind::Special, Deed::Link, "hS+++++++++"),
            (ItemKind::File, Deed::Relink(none), "hf         "),
            (ItemKind::Device, Deed::Remove, "*deleting  "),
        ] {
            assert_eq!(Item::bare(RelPath::root(), kind, deed).code(), code);
        }
        assert_eq!(Item::bare(RelPath::root(), ItemKind::Dir, Deed::Make).shown_path(), b"./");
    }
}
