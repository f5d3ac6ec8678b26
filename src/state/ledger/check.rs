//! Whether a store's file hangs together: asked before it is mapped.
//!
//! LMDB trusts its file: a page that points beyond the end of a damaged one kills the process. So
//! every page that can be reached is read and checked here first, by the layout of LMDB 0.9 on
//! hosts of 64 bits and little endian: two pages with meta data, and from the newer one the trees.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::model::limits::{LEDGER_BYTES_MAX, LEDGER_DEPTH_MAX};

/// Bytes in front of what a page holds.
const HEADER: usize = 16;
/// Bytes in front of the key of a node.
const NODE: usize = 8;
/// Bytes that describe one tree.
const TREE: usize = 48;
/// The first number in meta data.
const MAGIC: u32 = 0xBEEF_C0DE;
/// Where in a page with meta data what stands.
const META_TREES: usize = HEADER + 24;
const META_LAST: usize = META_TREES + 2 * TREE;
const META_TXN: usize = META_LAST + 8;

/// Flags of pages.
const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;
const OVERFLOW: u16 = 0x04;
/// Flags of nodes: the data is elsewhere, or is a tree.
const BIG: u16 = 0x01;
const TREE_NODE: u16 = 0x02;
/// No page.
const NONE: u64 = u64::MAX;

/// What is wrong, in words.
type Damage = &'static str;

/// A file under examination.
struct Examined {
    file: File,
    page_bytes: usize,
    last: u64,
    /// One bit for each page: no page belongs to two things.
    met: Vec<u64>,
}

/// Looks at a store's file. Inside: what is damaged, if anything is. A file that is not there, or
/// empty, is a store that has not begun.
///
/// # Errors
/// If the file can't be read.
pub(super) fn check(file: &Path) -> io::Result<Result<(), Damage>> {
    let file = match File::open(file) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ok(())),
        Err(error) => return Err(error),
    };
    if file.metadata()?.len() == 0 {
        return Ok(Ok(()));
    }
    match examine(file) {
        Ok(()) => Ok(Ok(())),
        Err(Trouble::Damage(what)) => Ok(Err(what)),
        Err(Trouble::Unread(error)) => Err(error),
    }
}

enum Trouble {
    Damage(Damage),
    Unread(io::Error),
}

impl From<Damage> for Trouble {
    fn from(damage: Damage) -> Trouble {
        Trouble::Damage(damage)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Trouble::Damage("its file is cut off"),
            _ => Trouble::Unread(error),
        }
    }
}

fn examine(file: File) -> Result<(), Trouble> {
    let mut first = vec![0; META_TXN + 8];
    file.read_exact_at(&mut first, 0)?;
    let page_bytes = u32_at(&first, META_TREES)? as usize;
    if !(512..=65_536).contains(&page_bytes) || !page_bytes.is_power_of_two() {
        return Err("its first page is none".into());
    }
    let mut second = vec![0; META_TXN + 8];
    file.read_exact_at(&mut second, page_bytes as u64)?;
    for meta in [&first, &second] {
        if u32_at(meta, HEADER)? != MAGIC {
            return Err("its first pages are none".into());
        }
    }
    let newer = u64_at(&second, META_TXN)? > u64_at(&first, META_TXN)?;
    let meta = if newer { second } else { first };
    let last = u64_at(&meta, META_LAST)?;
    if last > (LEDGER_BYTES_MAX / page_bytes) as u64 {
        return Err("its first pages are none".into());
    }
    let met = vec![0; last as usize / 64 + 1];
    let mut examined = Examined { file, page_bytes, last, met };
    for tree in [META_TREES, META_TREES + TREE] {
        examined.tree(&meta[tree..tree + TREE], 0)?;
    }
    Ok(())
}

impl Examined {
    /// A tree, by its description.
    fn tree(&mut self, description: &[u8], depth: usize) -> Result<(), Trouble> {
        match u64_at(description, TREE - 8)? {
            NONE => Ok(()),
            root => self.page(root, depth),
        }
    }

    fn page(&mut self, number: u64, depth: usize) -> Result<(), Trouble> {
        if depth > LEDGER_DEPTH_MAX {
            return Err("its trees are too deep".into());
        }
        self.meet(number)?;
        let page = self.read(number)?;
        let flags = u16_at(&page, 10)?;
        let (lower, upper) = (u16_at(&page, 12)? as usize, u16_at(&page, 14)? as usize);
        let is_branch = match flags & (BRANCH | LEAF | OVERFLOW) {
            BRANCH => true,
            LEAF => false,
            _ => return Err("a page is of no known kind".into()),
        };
        if u64_at(&page, 0)? != number || lower < HEADER || lower > upper || upper > page.len() {
            return Err("a page is not what it should be".into());
        }
        for slot in (HEADER..lower).step_by(2) {
            let at = u16_at(&page, slot)? as usize;
            if at < upper {
                return Err("a node lies outside of its page".into());
            }
            self.node(page.get(at..).unwrap_or_default(), is_branch, depth)?;
        }
        Ok(())
    }

    fn node(&mut self, node: &[u8], is_branch: bool, depth: usize) -> Result<(), Trouble> {
        let low = u64::from(u16_at(node, 0)?) | u64::from(u16_at(node, 2)?) << 16;
        let flags = u16_at(node, 4)?;
        let data = NODE + u16_at(node, 6)? as usize;
        if data > node.len() {
            return Err("a key reaches out of its page".into());
        }
        if is_branch {
            return self.page(low | u64::from(flags) << 32, depth + 1);
        }
        if flags & BIG != 0 {
            return self.big(u64_at(node, data)?, low);
        }
        let held = node.get(data..data + low as usize).ok_or("a value reaches out of its page")?;
        if flags & TREE_NODE != 0 {
            return self.tree(held.get(..TREE).ok_or("a table is not described")?, depth + 1);
        }
        Ok(())
    }

    /// A value with pages of its own.
    fn big(&mut self, number: u64, bytes: u64) -> Result<(), Trouble> {
        self.meet(number)?;
        let page = self.read(number)?;
        let pages = u64::from(u32_at(&page, 12)?);
        let is_long_enough = pages * self.page_bytes as u64 >= bytes + HEADER as u64;
        if u16_at(&page, 10)? & OVERFLOW == 0 || !is_long_enough {
            return Err("a long value is cut off".into());
        }
        (1..pages).try_for_each(|more| self.meet(number + more))
    }

    /// Notes that a page belongs to something.
    fn meet(&mut self, number: u64) -> Result<(), Trouble> {
        if number < 2 || number > self.last {
            return Err("a page lies outside of the file".into());
        }
        let (word, bit) = (number as usize / 64, 1 << (number % 64));
        if self.met[word] & bit != 0 {
            return Err("a page belongs to two others".into());
        }
        self.met[word] |= bit;
        Ok(())
    }

    fn read(&self, number: u64) -> Result<Vec<u8>, Trouble> {
        let mut page = vec![0; self.page_bytes];
        self.file.read_exact_at(&mut page, number * self.page_bytes as u64)?;
        Ok(page)
    }
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Damage> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk());
    found.copied().ok_or("a value is cut off")
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Damage> {
    bytes_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, Damage> {
    bytes_at(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64, Damage> {
    bytes_at(bytes, at).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::os::unix::fs::FileExt;

    use super::check;
    use crate::state::ledger::store::{Read, Store};

    fn filled() -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        for round in 0..3_u32 {
            let mut change = store.change().unwrap();
            for number in 0..3_000_u32 {
                let key = [&number.to_be_bytes()[..], b"name"].concat();
                change.put_name(&key, &[round as u8; 90]).unwrap();
                if number % 7 == round {
                    change.drop_name(&key).unwrap();
                }
            }
            change.put_value("long", &vec![7; 20_000 * round as usize]).unwrap();
            change.commit().unwrap();
        }
        let file = dir.path().join("data.mdb");
        (dir, file)
    }

    #[test]
    fn what_is_whole_is_whole() {
        let (dir, file) = filled();
        check(&file).unwrap().unwrap();
        check(&dir.path().join("none")).unwrap().unwrap();
        std::fs::write(&file, "").unwrap();
        check(&file).unwrap().unwrap();
    }

    #[test]
    fn what_is_cut_off_is_damaged() {
        let (_dir, file) = filled();
        let bytes = std::fs::metadata(&file).unwrap().len();
        for part in [1, 3, 7] {
            OpenOptions::new().write(true).open(&file).unwrap().set_len(bytes * part / 8).unwrap();
            assert!(check(&file).unwrap().is_err(), "{part} eighths");
        }
        std::fs::write(&file, "junk").unwrap();
        assert!(check(&file).unwrap().is_err());
    }

    #[test]
    fn pages_that_were_overwritten_are_never_followed() {
        let (dir, file) = filled();
        let whole = std::fs::read(&file).unwrap();
        let mut found = 0;
        for seed in 0..200_u64 {
            let open = OpenOptions::new().write(true).open(&file).unwrap();
            open.write_all_at(&whole, 0).unwrap();
            let draw = blake3::hash(&seed.to_le_bytes());
            let at = u64::from_le_bytes(*draw.as_bytes().first_chunk().unwrap());
            open.write_all_at(draw.as_bytes(), at % (whole.len() as u64 - 64)).unwrap();
            if check(&file).unwrap().is_err() {
                found += 1;
                continue;
            }
            // What is let through can be read to its end.
            let store = Store::open(dir.path()).unwrap();
            let view = store.view().unwrap();
            for number in 0..3_000_u32 {
                let _ = view.name(&[&number.to_be_bytes()[..], b"name"].concat());
            }
            let _ = view.names(&[], |_, _| true);
        }
        assert!(found > 20, "{found} of 200");
    }
}
