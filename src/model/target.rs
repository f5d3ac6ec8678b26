//! The sink's tree as the applier sees it: verbs on names, each confined below the root.
//!
//! The transfer phase implements it over the real disk, the simulation over a model tree. Every
//! verb resolves its path beneath the root without following a symlink anywhere (law 10), and
//! never removes recursively (H7).

use crate::model::delta::Signature;
use crate::model::entry::{Attributes, Entry, Hash, Meta, SpecialKind};
use crate::model::item::Differences;
use crate::model::path::{Name, RelPath};

/// Why a verb did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// The name is not there (the directory above it is).
    Missing,
    /// A directory above the name is not there.
    NoParent,
    /// Something that is no directory (a file, a symlink) stands above the name.
    NotDir,
    /// A directory stands at the name.
    IsDir,
    /// The directory is not empty.
    NotEmpty,
    /// Something stands at the name already.
    Exists,
    /// No room, or no inode, on the filesystem.
    NoRoom,
    /// The filesystem is read-only.
    ReadOnly,
    /// The filesystem takes no such name.
    Unnameable,
    /// The object has as many names as its filesystem allows, or another filesystem is meant.
    NoMoreNames,
    /// Anything else, in words, without the path.
    Other(String),
}

/// What stands at a name at the sink, with the hash of a file's content only where asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The entry, with the attributes that the sink really has.
    pub entry: Entry,
    /// Of the content, if asked for and a file.
    pub hash: Option<Hash>,
}

/// The sink's tree.
pub trait Target {
    /// A staged file or symlink, ready to be placed.
    type Staged;

    /// Stages a whole file with its attributes.
    ///
    /// # Errors
    /// `NoRoom` or `Other`.
    fn stage_file(&self, content: &[u8], attributes: &Attributes)
    -> Result<Self::Staged, Obstacle>;

    /// Stages a symlink with its attributes.
    ///
    /// # Errors
    /// `NoRoom` or `Other`.
    fn stage_symlink(
        &self,
        target: &[u8],
        attributes: &Attributes,
    ) -> Result<Self::Staged, Obstacle>;

    /// Stages a fifo, socket or device with its attributes; `device` is the number of the device
    /// kinds.
    ///
    /// # Errors
    /// `NoRoom` or `Other`.
    fn stage_special(
        &self,
        kind: SpecialKind,
        device: u64,
        attributes: &Attributes,
    ) -> Result<Self::Staged, Obstacle>;

    /// Takes what a transfer has staged, gives it its attributes, and checks length and hash.
    ///
    /// # Errors
    /// `Missing` if there is no such transfer or it is not what is said; else `NoRoom`, `Other`.
    fn take_transfer(
        &self,
        transfer: u64,
        size: u64,
        hash: &Hash,
        attributes: &Attributes,
    ) -> Result<Self::Staged, Obstacle>;

    /// What of its attributes could not be given to what is staged, in words, if anything.
    fn lack(&self, staged: &Self::Staged) -> Option<String>;

    /// Gives one more name to what stands at a name and is no directory, if that is as simple as
    /// it may be. Else false: staging the name will tell why.
    fn link(&self, from: &RelPath, path: &RelPath) -> bool;

    /// Stages one more name of what stands at a name and is no directory.
    ///
    /// # Errors
    /// `NoMoreNames`, `Missing`, `NoParent`, `NotDir`, `NoRoom`, `Other`.
    fn stage_link(&self, from: &RelPath) -> Result<Self::Staged, Obstacle>;

    /// Stages a copy of what stands at a name and is no directory, with its attributes.
    ///
    /// # Errors
    /// `Missing`, `NoParent`, `NotDir`, `NoRoom`, `Other`.
    fn stage_copy(&self, from: &RelPath) -> Result<Self::Staged, Obstacle>;

    /// How many names the object has that stands at one.
    ///
    /// # Errors
    /// As `look`.
    fn count_names(&self, path: &RelPath) -> Result<u64, Obstacle>;

    /// Makes what stands at one of several names of an object an object of its own, a copy. The
    /// times of the directory stay.
    ///
    /// # Errors
    /// `Missing`, `NoParent`, `NotDir`, `NoRoom`, `Other`.
    fn part(&self, path: &RelPath) -> Result<(), Obstacle>;

    /// Whether one object stands at both names.
    ///
    /// # Errors
    /// As `look`, for the first; of the second nothing but `Other`.
    fn is_same_object(&self, first: &RelPath, second: &RelPath) -> Result<bool, Obstacle>;

    /// Renames what is staged to its name, replacing anything but a directory. On an error the
    /// staged object is kept, so that the caller can clear the way and try again.
    ///
    /// # Errors
    /// `NoParent`, `NotDir`, `IsDir`, `Unnameable`, `NoRoom`, `Other`. A filesystem may answer
    /// `NoParent` where it means `Unnameable`.
    fn place(&self, staged: &mut Self::Staged, path: &RelPath) -> Result<(), Obstacle>;

    /// What stands at a name.
    ///
    /// # Errors
    /// `Missing`, `NoParent`, `NotDir`, `Other`.
    fn look(&self, path: &RelPath, want_hash: bool) -> Result<Standing, Obstacle>;

    /// Whether the file at a name has this content. `expected` is compared with what is read now.
    ///
    /// # Errors
    /// As `look`.
    fn has_content(&self, path: &RelPath, expected: &Hash) -> Result<bool, Obstacle> {
        Ok(self.look(path, true)?.hash.as_ref() == Some(expected))
    }

    /// A signature to tell of the file at a name, read now; none of what is no file, or can't be
    /// read.
    fn sign(&self, path: &RelPath) -> Option<Signature>;

    /// Whether the file at a name may hold other content than its size and time tell: it was
    /// changed shortly before a power cut, or before the disk failed (law 11).
    fn is_doubtful(&self, _path: &RelPath) -> bool {
        false
    }

    /// Makes a directory, mode 0700.
    ///
    /// # Errors
    /// `Exists`, `NoParent`, `NotDir`, `Unnameable`, `NoRoom`, `Other`; of `NoParent` as with
    /// `place`.
    fn make_dir(&self, path: &RelPath) -> Result<(), Obstacle>;

    /// Unlinks anything but a directory.
    ///
    /// # Errors
    /// `Missing`, `NoParent`, `NotDir`, `IsDir`, `Other`.
    fn unlink(&self, path: &RelPath) -> Result<(), Obstacle>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `Missing`, `NoParent`, `NotDir` (also when the name itself is none), `NotEmpty`, `Other`.
    fn remove_dir(&self, path: &RelPath) -> Result<(), Obstacle>;

    /// Moves a name, replacing a file or an empty directory; the old name goes also when both are
    /// names of one object.
    ///
    /// # Errors
    /// `Missing`, `NoParent`, `NotDir`, `IsDir`, `NotEmpty`, `Other`.
    fn rename(&self, from: &RelPath, to: &RelPath) -> Result<(), Obstacle>;

    /// Exchanges two names.
    ///
    /// # Errors
    /// `Missing`, `NoParent`, `NotDir`, `Other`.
    fn exchange(&self, a: &RelPath, b: &RelPath) -> Result<(), Obstacle>;

    /// Sets the attributes of what stands at a name (the mode of a symlink excepted). Tells in
    /// words what of them could not be set, if anything.
    ///
    /// # Errors
    /// `Missing`, `NoParent`, `NotDir`, `Other`.
    fn set_attributes(
        &self,
        path: &RelPath,
        attributes: &Attributes,
    ) -> Result<Option<String>, Obstacle>;

    /// In what attributes differ on this sink: what it cannot hold is left out.
    fn differences(&self, theirs: &Meta, ours: &Meta, is_symlink: bool) -> Differences;

    /// Whether attributes on this sink agree: what the sink cannot hold is left out.
    fn same_meta(&self, theirs: &Meta, ours: &Meta, is_symlink: bool) -> bool {
        !self.differences(theirs, ours, is_symlink).is_any()
    }

    /// What stands in a directory, without the staging directory, in bounded steps: calls `each`
    /// until it returns false.
    ///
    /// # Errors
    /// `Missing`, `NoParent`, `NotDir`, `Other`.
    fn read_dir(&self, path: &RelPath, each: &mut dyn FnMut(Name) -> bool) -> Result<(), Obstacle>;

    /// Looks at many names of one directory, without hashes; one result for each, in order.
    ///
    /// # Errors
    /// `Missing`, `NoParent`, `NotDir`, `Other` for the directory itself.
    fn look_many(
        &self,
        dir: &RelPath,
        names: &[&Name],
    ) -> Result<Vec<Result<Entry, Obstacle>>, Obstacle>;

    /// Whether a directory holds no name (the staging directory left out).
    ///
    /// # Errors
    /// As `read_dir`.
    fn is_empty(&self, path: &RelPath) -> Result<bool, Obstacle> {
        let mut empty = true;
        self.read_dir(path, &mut |_| {
            empty = false;
            false
        })?;
        Ok(empty)
    }
}
