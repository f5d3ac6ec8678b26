//! What a dry run tells, as people and scripts see it: a line for each name, a sum at the end.

use indicatif::{HumanBytes, HumanCount};
use osync::control::JsonName;
use osync::model::item::{Deed, Item, ItemKind};
use serde::Serialize;

/// The sums of a dry run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Plan {
    made: u64,
    replaced: u64,
    retouched: u64,
    linked: u64,
    removed: u64,
    files: u64,
    bytes: u64,
}

/// One name, for scripts.
#[derive(Debug, Serialize)]
pub struct ItemEvent {
    event: &'static str,
    change: String,
    path: JsonName,
    /// The target of a symlink, or what the name is linked to.
    to: Option<JsonName>,
    bytes: u64,
}

impl Plan {
    /// Counts one name.
    pub fn add(&mut self, item: &Item) {
        let count = match item.deed {
            Deed::Make => &mut self.made,
            Deed::Replace(_) => &mut self.replaced,
            Deed::Retouch(_) => &mut self.retouched,
            Deed::Link | Deed::Relink(_) => &mut self.linked,
            Deed::Remove => &mut self.removed,
        };
        *count += 1;
        let travels = matches!(item.deed, Deed::Make | Deed::Replace(_));
        self.files += u64::from(travels && item.kind == ItemKind::File);
        self.bytes += item.bytes;
    }

    /// The sums, in one sentence.
    pub fn words(&self) -> String {
        format!(
            "would make {}, replace {}, change the attributes of {}, link {}, remove {}; content \
             of {} files would travel, {}",
            HumanCount(self.made),
            HumanCount(self.replaced),
            HumanCount(self.retouched),
            HumanCount(self.linked),
            HumanCount(self.removed),
            HumanCount(self.files),
            HumanBytes(self.bytes),
        )
    }
}

/// One name on a line, as rsync itemises it.
pub fn line(item: &Item) -> String {
    let to = item.to.as_ref().map(|to| format!("{}{}", item.arrow(), as_rsync(to)));
    format!("{} {}{}", item.code(), as_rsync(&item.shown_path()), to.unwrap_or_default())
}

/// A name as rsync prints it: what is no character of text is a backslash, `#` and three octal
/// digits for each byte.
fn as_rsync(name: &[u8]) -> String {
    let octal = |byte: &u8| format!("\\#{byte:03o}");
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for (at, char) in chunk.valid().char_indices() {
            let rest = &chunk.valid().as_bytes()[at..];
            let is_like_octal = matches!(rest, [b'\\', b'#', digits @ ..]
                if digits.len() >= 3 && digits[..3].iter().all(u8::is_ascii_digit));
            if char.is_control() || is_like_octal {
                text.extend(rest[..char.len_utf8()].iter().map(octal));
            } else {
                text.push(char);
            }
        }
        text.extend(chunk.invalid().iter().map(octal));
    }
    text
}

/// The same for scripts.
pub fn event(item: &Item) -> ItemEvent {
    ItemEvent {
        event: "item",
        change: item.code().trim_end().to_owned(),
        path: JsonName(item.path.as_bytes().to_vec()),
        to: item.to.clone().map(JsonName),
        bytes: item.bytes,
    }
}

#[cfg(test)]
mod tests {
    use osync::model::item::{Deed, Differences, Item, ItemKind};
    use osync::model::path::RelPath;

    use super::{Plan, as_rsync, line};

    #[test]
    fn lines_are_escaped_and_summed_up() {
        let path = |name: &[u8]| RelPath::new(name).unwrap();
        let bare = |name: &[u8], kind, deed| Item::bare(path(name), kind, deed);
        let file = Item { bytes: 2048, ..bare(b"a\n", ItemKind::File, Deed::Make) };
        let link = Item { to: Some(b"a\xff".to_vec()), ..bare(b"b", ItemKind::File, Deed::Link) };
        let dir = bare(
            b"",
            ItemKind::Dir,
            Deed::Retouch(Differences { time: true, ..Default::default() }),
        );
        let gone = bare(b"old", ItemKind::Dir, Deed::Remove);
        let all = [file, link, dir, gone];
        let lines: Vec<String> = all.iter().map(line).collect();
        let expected = [
            ">f+++++++++ a\\#012",
            "hf+++++++++ b => a\\#377",
            ".d..t...... ./",
            "*deleting   old/",
        ];
        assert_eq!(lines, expected);
        let mut plan = Plan::default();
        all.iter().for_each(|item| plan.add(item));
        assert_eq!(
            plan.words(),
            "would make 1, replace 0, change the attributes of 1, link 1, remove 1; content of 1 \
             files would travel, 2.00 KiB"
        );
    }

    #[test]
    fn names_are_written_as_rsync_writes_them() {
        assert_eq!(as_rsync("plain é\\n".as_bytes()), "plain é\\n");
        assert_eq!(as_rsync(b"\xff\n\x01x"), "\\#377\\#012\\#001x");
        assert_eq!(as_rsync(b"\\#123"), "\\#134#123");
    }
}
