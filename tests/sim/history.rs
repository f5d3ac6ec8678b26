//! Changes of the source, and accidents; drawn at random or written down.

use osync::model::entry::{FileTime, SpecialKind};
use osync::model::path::{Name, RelPath};
use osync::model::target::Obstacle;

use super::dice::Dice;
use super::rulings::Ruling;
use super::tree::Changed;
use super::world::World;

/// How large a file is: brought by one look; worth a rename; sent as a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// A few bytes.
    Small,
    /// Above what is renamed rather than sent again.
    Medium,
    /// Above what a look brings.
    Large,
}

impl Size {
    fn bytes(self) -> usize {
        match self {
            Size::Small => 24,
            Size::Medium => 4_200,
            Size::Large => 6_500,
        }
    }
}

/// Bytes at the beginning of a large content that no other one has.
const LARGE_HEAD: usize = 2_000;

/// One change of the source's tree, or one accident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Create(RelPath, Size),
    /// The content is another, the length may be the same; whether the writer closes.
    Write(RelPath, Size, bool),
    Mkdir(RelPath),
    Symlink(RelPath),
    /// A second name of a file or symlink.
    Link(RelPath, RelPath),
    Chmod(RelPath, u16),
    /// An extended attribute gets a value of its own, or goes.
    Xattr(RelPath, bool),
    /// A fifo or a device.
    Node(RelPath, u64),
    Touch(RelPath, i64),
    Rename(RelPath, RelPath),
    Exchange(RelPath, RelPath),
    Remove(RelPath),
    /// A directory with all below it, name by name.
    RemoveAll(RelPath),
    /// Several directories one in the other, each with a file.
    Storm(RelPath),
    /// Out of the tree.
    Out(RelPath),
    /// What left last comes back.
    In(RelPath),
    /// The connection is lost.
    Cut(usize),
    RestartSink(usize),
    /// The sink's host loses its power: what is not durable is lost.
    CrashSink(usize),
    /// The content is another, of the same length, and the mtime is set back.
    Edit(RelPath),
    /// The content is another, of the same length, and no event tells of it; whether the mtime
    /// stays.
    Slip(RelPath, bool),
    ReplaceSink(usize),
    RestartSource,
    /// The source is started again with other rules.
    Reselect(Ruling),
    /// The sink's disk is full, or has room again.
    Full(usize, bool),
    /// Nothing happens for so many milliseconds.
    Pause(u64),
}

/// A path, from its text.
pub fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

impl World {
    /// Content that was never written before.
    pub fn content(&mut self, size: Size) -> Vec<u8> {
        self.content_of(size.bytes())
    }

    fn content_of(&mut self, bytes: usize) -> Vec<u8> {
        self.serial += 1;
        let text = format!("{:08}", self.serial);
        let text = text.bytes().cycle();
        if bytes < Size::Large.bytes() {
            return text.take(bytes).collect();
        }
        // What is behind the beginning is the same in all, here or one byte further on.
        let begin = LARGE_HEAD + self.serial as usize % 2;
        let rest = (0_u64..).map(|at| ((at * at * at) >> 5) as u8);
        text.take(begin).chain(rest).take(bytes).collect()
    }

    /// Makes a change; one that can't be made changes nothing.
    #[allow(clippy::too_many_lines)] // One arm for each change.
    pub fn apply(&mut self, change: &Change) -> Changed {
        self.note(|| format!("CHANGE {change:?}"));
        match change {
            Change::Create(path, size) => {
                let content = self.content(*size);
                self.source.create(path, &content)
            }
            Change::Write(path, size, closes) => {
                let content = self.content(*size);
                self.source.write(path, &content, *closes)
            }
            Change::Mkdir(path) => self.source.mkdir(path),
            Change::Symlink(path) => {
                self.serial += 1;
                let target = format!("to {}", self.serial);
                self.source.symlink(path, target.as_bytes())
            }
            Change::Link(from, to) => self.source.hard_link(from, to),
            Change::Chmod(path, mode) => self.source.chmod(path, *mode),
            Change::Xattr(path, goes) => {
                self.serial += 1;
                let value = self.serial.to_string();
                let value = (!goes).then_some(value.as_bytes());
                self.source.set_xattr(path, "user.serial", value)
            }
            Change::Node(path, 0) => self.source.make_node(path, SpecialKind::Fifo, 0),
            Change::Node(path, device) => {
                self.source.make_node(path, SpecialKind::Character, *device)
            }
            Change::Touch(path, seconds) => {
                self.serial += 1;
                let nanos = self.serial as u32;
                self.source.touch(path, FileTime { seconds: *seconds, nanos })
            }
            Change::Rename(from, to) => self.source.rename(from, to),
            Change::Exchange(a, b) => self.source.exchange(a, b),
            Change::Remove(path) => {
                self.source.remove_file(path).or_else(|_| self.source.rmdir(path))
            }
            Change::RemoveAll(path) => {
                let below: Vec<RelPath> = self
                    .source
                    .snapshot()
                    .into_keys()
                    .filter(|at| at.is_at_or_below(path) && !at.is_root())
                    .collect();
                self.parts.extend(below.into_iter().rev().map(Change::Remove));
                Ok(())
            }
            Change::Storm(path) => {
                let mut at = path.clone();
                for _ in 0..3 {
                    self.parts.push_back(Change::Mkdir(at.clone()));
                    self.parts.push_back(Change::Create(at.join(&name("f")), Size::Small));
                    at.push(&name("d"));
                }
                Ok(())
            }
            Change::Out(path) => self.source.move_out(path),
            Change::In(path) => self.source.move_in(path),
            Change::Cut(sink) => {
                self.cut(*sink);
                Ok(())
            }
            Change::RestartSink(sink) => {
                self.restart_sink(*sink);
                Ok(())
            }
            Change::CrashSink(sink) => {
                self.crash_sink(*sink);
                Ok(())
            }
            Change::Edit(path) => {
                let stands = self.source.stands(path).ok_or(Obstacle::Missing)?;
                let content = self.content_of(stands.content.len());
                self.source.write(path, &content, true)?;
                self.source.touch(path, stands.entry.meta().mtime)
            }
            Change::Slip(path, keeps_mtime) => {
                let stands = self.source.stands(path).ok_or(Obstacle::Missing)?;
                let content = self.content_of(stands.content.len());
                self.has_slips = true;
                self.source.write_silently(path, &content, *keeps_mtime)
            }
            Change::ReplaceSink(sink) => {
                self.replace_sink(*sink);
                Ok(())
            }
            Change::RestartSource => {
                self.restart_source();
                Ok(())
            }
            Change::Reselect(ruling) => {
                self.restart_source();
                self.select(ruling.selection());
                Ok(())
            }
            Change::Full(sink, full) => {
                self.sinks[*sink].tree.set_no_room(*full);
                Ok(())
            }
            Change::Pause(ms) => {
                self.run(std::time::Duration::from_millis(*ms));
                Ok(())
            }
        }
    }

    /// Makes a change and all its parts at once.
    #[allow(clippy::needless_pass_by_value)] // Scripts read better so.
    pub fn make(&mut self, change: Change) {
        self.apply(&change).unwrap();
        while let Some(part) = self.parts.pop_front() {
            self.apply(&part).unwrap();
        }
    }
}

/// A name.
pub fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// A path of up to three names, each one of four.
pub fn draw_path(dice: &mut Dice) -> RelPath {
    let depth = 1 + dice.below(3);
    let mut path = RelPath::root();
    for _ in 0..depth {
        path.push(&name(NAMES[dice.below(NAMES.len())]));
    }
    path
}

fn draw_size(dice: &mut Dice) -> Size {
    [Size::Small, Size::Small, Size::Medium, Size::Large][dice.below(4)]
}

/// Draws a change that no event tells of; of a tree without files it changes nothing.
pub fn draw_slip(dice: &mut Dice, world: &World, may_keep_mtime: bool) -> Change {
    let all = world.source.snapshot().into_iter();
    let files: Vec<RelPath> =
        all.filter(|(_, stands)| !stands.content.is_empty()).map(|(at, _)| at).collect();
    let at = dice.pick(&files).cloned().unwrap_or_else(|| path("a"));
    Change::Slip(at, may_keep_mtime && dice.one_in(2))
}

/// Draws a change of names that objects have, or of what stands at them. One that keeps size and
/// mtime is found only by those who saw its event.
pub fn draw_link(dice: &mut Dice, world: &World, may_keep_mtime: bool) -> Change {
    let all = world.source.snapshot();
    let (dirs, files): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|(_, stands)| stands.entry.is_dir());
    let groups: Vec<RelPath> = world.source.groups().into_keys().collect();
    let fresh = |dice: &mut Dice| {
        let parent = dice.pick(&dirs).map(|(at, _)| at.clone()).unwrap_or_default();
        parent.join(&name(NAMES[dice.below(NAMES.len())]))
    };
    let file = |dice: &mut Dice| {
        let any = dice.pick(&files).map_or_else(|| path("a"), |(at, _)| at.clone());
        let grouped = dice.pick(&groups).cloned().filter(|_| dice.one_in(2));
        grouped.unwrap_or(any)
    };
    match dice.below(12) {
        0..=4 => Change::Link(file(dice), fresh(dice)),
        5 => Change::Remove(file(dice)),
        6..=7 => Change::Write(file(dice), draw_size(dice), dice.one_in(2)),
        8 => Change::Rename(file(dice), fresh(dice)),
        9 => Change::Rename(file(dice), file(dice)),
        10 if may_keep_mtime => Change::Edit(file(dice)),
        _ => Change::Chmod(file(dice), [0o600, 0o640, 0o711, 0o755][dice.below(4)]),
    }
}

/// Draws a change that can be made, as far as one look at the source can tell.
pub fn draw_change(dice: &mut Dice, world: &World, sorts: usize) -> Change {
    let all: Vec<(RelPath, bool)> = world
        .source
        .snapshot()
        .into_iter()
        .filter(|(at, _)| !at.is_root())
        .map(|(at, stands)| (at, stands.entry.is_dir()))
        .collect();
    let dirs: Vec<RelPath> =
        all.iter().filter(|(_, is_dir)| *is_dir).map(|(at, _)| at.clone()).collect();
    let files: Vec<RelPath> =
        all.iter().filter(|(_, is_dir)| !*is_dir).map(|(at, _)| at.clone()).collect();
    let any = |dice: &mut Dice| {
        dice.pick(&all).map_or_else(|| RelPath::new("a").unwrap(), |(at, _)| at.clone())
    };
    let fresh = |dice: &mut Dice| {
        let parent = if dice.one_in(3) { None } else { dice.pick(&dirs).cloned() };
        let parent = parent.filter(|at| at.names().count() < 4).unwrap_or_default();
        parent.join(&name(NAMES[dice.below(NAMES.len())]))
    };
    let file = |dice: &mut Dice| dice.pick(&files).cloned().unwrap_or_else(|| path("a"));
    match dice.below(sorts) {
        0..=3 => Change::Create(fresh(dice), draw_size(dice)),
        4..=6 => Change::Write(file(dice), draw_size(dice), dice.one_in(2)),
        7..=9 => Change::Mkdir(fresh(dice)),
        10 if dice.one_in(2) => Change::Xattr(any(dice), dice.one_in(3)),
        10 => Change::Chmod(any(dice), [0o600, 0o640, 0o711, 0o755][dice.below(4)]),
        11 => Change::Touch(any(dice), dice.below(2_000_000) as i64),
        12 if dice.one_in(2) => Change::Node(fresh(dice), dice.below(3) as u64),
        12 => Change::Symlink(fresh(dice)),
        13..=14 => Change::Remove(any(dice)),
        15 => Change::RemoveAll(any(dice)),
        16 => Change::Storm(fresh(dice)),
        17..=19 => Change::Rename(any(dice), fresh(dice)),
        20..=21 => Change::Rename(dice.pick(&dirs).cloned().unwrap_or_default(), fresh(dice)),
        22 => Change::Rename(any(dice), any(dice)),
        23..=24 => Change::Exchange(any(dice), any(dice)),
        25 => Change::Out(any(dice)),
        26 => Change::In(fresh(dice)),
        27 => Change::Pause([1, 20, 100, 1_000][dice.below(4)]),
        28 => Change::Cut(dice.below(world.sinks.len())),
        29 => Change::RestartSource,
        30 if dice.one_in(2) => Change::CrashSink(dice.below(world.sinks.len())),
        30 => Change::RestartSink(dice.below(world.sinks.len())),
        31 => Change::Full(dice.below(world.sinks.len()), dice.one_in(2)),
        _ => Change::ReplaceSink(dice.below(world.sinks.len())),
    }
}
