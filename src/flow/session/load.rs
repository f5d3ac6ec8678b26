//! What goes into one message of operations.

use crate::model::limits::{BATCH_BYTES_MAX, BATCH_OPS_MAX};
use crate::model::op::Op;

/// What a message of operations has taken up.
#[derive(Debug, Default)]
pub(super) struct Load {
    pub(super) operations: usize,
    /// Bytes of content, and of extended attributes.
    pub(super) content: u64,
    xattrs: u64,
    /// Bytes of paths.
    paths: u64,
}

impl Load {
    /// Whether one more finds room; the first always does.
    pub(super) fn takes(&self, op: &Op) -> bool {
        let content = self.content + self.xattrs + op.frame_bytes() + op.xattr_bytes();
        self.operations == 0
            || self.operations < BATCH_OPS_MAX
                && content <= BATCH_BYTES_MAX
                && self.paths + op.path_bytes() <= BATCH_BYTES_MAX
    }

    /// Whether all of another finds room too, within so many bytes of content.
    pub(super) fn takes_all(&self, other: &Load, most: u64) -> bool {
        self.operations + other.operations <= BATCH_OPS_MAX
            && self.content + self.xattrs + other.content + other.xattrs <= most
            && self.paths + other.paths <= BATCH_BYTES_MAX
    }

    pub(super) fn join(&mut self, other: &Load) {
        self.operations += other.operations;
        self.content += other.content;
        self.xattrs += other.xattrs;
        self.paths += other.paths;
    }

    pub(super) fn add(&mut self, op: &Op) {
        self.operations += 1;
        self.content += op.frame_bytes();
        self.xattrs += op.xattr_bytes();
        self.paths += op.path_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::Load;
    use crate::model::entry::{Attributes, FileTime, Hash, Meta};
    use crate::model::limits::{BATCH_BYTES_MAX, BATCH_OPS_MAX, FRAME_BYTES_MAX};
    use crate::model::op::Op;
    use crate::model::path::{Name, RelPath};

    fn loaded(op: &Op) -> Load {
        let mut load = Load::default();
        while load.takes(op) {
            load.add(op);
        }
        load
    }

    #[test]
    fn a_message_ends_by_count_by_content_and_by_paths() {
        let name = Name::new([b'x'; 250]).unwrap();
        let make =
            |bytes| (0..bytes / 251).fold(RelPath::root(), |path: RelPath, _| path.join(&name));
        let put = |size, path| {
            let attributes = Attributes::plain(Meta::plain(0, 0, 0, FileTime::default()));
            Op::Put { path, size, attributes, hash: Hash([0; 32]) }
        };
        assert_eq!(loaded(&put(1, make(300))).operations, BATCH_OPS_MAX);
        assert_eq!(loaded(&put(BATCH_BYTES_MAX / 4, make(300))).operations, 4);
        let deep = loaded(&Op::MakeDir { path: make(60_000) });
        assert!(deep.paths <= BATCH_BYTES_MAX && deep.operations > 1, "{deep:?}");
        assert!(deep.paths < FRAME_BYTES_MAX as u64 / 2);
        assert!(
            Load::default().takes(&put(BATCH_BYTES_MAX * 2, make(300))),
            "one always finds room"
        );
    }
}
