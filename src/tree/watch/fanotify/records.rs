//! What fanotify writes into its queue: bytes to borrowed values, no system call.
//!
//! An event is a head and some records; a record is a head, the id of a filesystem, a handle, and
//! for some kinds a name. An id and a handle with its head lie side by side, and are kept as one.

use std::io;

/// Bytes of the id of a filesystem.
pub(super) const ID: usize = 8;
/// Bytes of an event's head.
const EVENT_HEAD: usize = size_of::<libc::fanotify_event_metadata>();
/// Bytes of a record's head.
const RECORD_HEAD: usize = size_of::<libc::fanotify_event_info_header>();
/// Bytes of a handle's head: how many bytes follow, and of what type they are.
const HANDLE_HEAD: usize = size_of::<libc::file_handle>();

/// A name in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// The directory: filesystem and handle.
    pub(super) dir: &'a [u8],
    /// The name; `.` for the directory itself.
    pub(super) name: &'a [u8],
}

/// One event.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// What happened, several things perhaps: their order is lost.
    pub(super) mask: u64,
    /// To which name.
    pub(super) at: Option<Entry<'a>>,
    /// Which name a rename took away.
    pub(super) from: Option<Entry<'a>>,
    /// Which name a rename gave.
    pub(super) to: Option<Entry<'a>>,
    /// What bears the name: filesystem and handle.
    pub(super) target: Option<&'a [u8]>,
}

impl Record<'_> {
    /// Whether any of these bits is set.
    pub(super) fn has(&self, bits: u64) -> bool {
        self.mask & bits != 0
    }
}

/// Takes the first event off what was read; nothing at its end.
pub(super) fn next<'a>(read: &mut &'a [u8]) -> io::Result<Option<Record<'a>>> {
    if read.is_empty() {
        return Ok(None);
    }
    let length = number(read, 0)?;
    if read.get(4) != Some(&libc::FANOTIFY_METADATA_VERSION) {
        return Err(broken());
    }
    let head = usize::from(u16::from_ne_bytes(part(read, 6)?));
    let mut record = Record { mask: u64::from_ne_bytes(part(read, 8)?), ..Record::default() };
    if head < EVENT_HEAD || length < head || length > read.len() {
        return Err(broken());
    }
    let (event, rest) = read.split_at(length);
    *read = rest;
    let mut left = &event[head..];
    while !left.is_empty() {
        let kind = left[0];
        let length = usize::from(u16::from_ne_bytes(part(left, 2)?));
        if length < RECORD_HEAD || length > left.len() {
            return Err(broken());
        }
        let (info, rest) = left.split_at(length);
        left = rest;
        note(&mut record, kind, &info[RECORD_HEAD..])?;
    }
    Ok(Some(record))
}

/// Takes what one record says; kinds that we did not ask for are passed over.
fn note<'a>(record: &mut Record<'a>, kind: u8, body: &'a [u8]) -> io::Result<()> {
    match kind {
        libc::FAN_EVENT_INFO_TYPE_FID => record.target = Some(split(body)?.0),
        libc::FAN_EVENT_INFO_TYPE_DFID_NAME => record.at = Some(entry(body)?),
        libc::FAN_EVENT_INFO_TYPE_OLD_DFID_NAME => record.from = Some(entry(body)?),
        libc::FAN_EVENT_INFO_TYPE_NEW_DFID_NAME => record.to = Some(entry(body)?),
        _ => {}
    }
    Ok(())
}

fn entry(body: &[u8]) -> io::Result<Entry<'_>> {
    let (dir, rest) = split(body)?;
    let end = rest.iter().position(|&byte| byte == 0).ok_or_else(broken)?;
    Ok(Entry { dir, name: &rest[..end] })
}

/// The id and the handle, and what follows them.
fn split(body: &[u8]) -> io::Result<(&[u8], &[u8])> {
    let end = ID + HANDLE_HEAD + number(body, ID)?;
    body.split_at_checked(end).ok_or_else(broken)
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> io::Result<[u8; N]> {
    let found = bytes.get(at..at + N).and_then(|found| found.try_into().ok());
    found.ok_or_else(broken)
}

fn number(bytes: &[u8], at: usize) -> io::Result<usize> {
    Ok(u32::from_ne_bytes(part(bytes, at)?) as usize)
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "fanotify wrote what can't be understood")
}

#[cfg(test)]
mod tests {
    use super::{Entry, Record, next};

    /// A record: kind, handle, and a name that ends in NUL, or none.
    fn info(kind: u8, handle: &[u8], name: &[u8]) -> Vec<u8> {
        let mut body = vec![7; 8];
        body.extend((handle.len() as u32).to_ne_bytes());
        body.extend(1_i32.to_ne_bytes());
        body.extend(handle);
        body.extend(name);
        body.resize(body.len().next_multiple_of(4), 0);
        let mut bytes = vec![kind, 0];
        bytes.extend((body.len() as u16 + 4).to_ne_bytes());
        bytes.extend(body);
        bytes
    }

    fn event(mask: u64, infos: &[Vec<u8>]) -> Vec<u8> {
        let infos = infos.concat();
        let mut bytes = (infos.len() as u32 + 24).to_ne_bytes().to_vec();
        bytes.extend([3, 0]);
        bytes.extend(24_u16.to_ne_bytes());
        bytes.extend(mask.to_ne_bytes());
        bytes.extend((-1_i32).to_ne_bytes());
        bytes.extend(1_i32.to_ne_bytes());
        bytes.extend(infos);
        bytes
    }

    fn place(handle: &[u8]) -> Vec<u8> {
        info(1, handle, b"")[4..].to_vec()
    }

    #[test]
    fn events_are_taken_one_after_the_other() {
        let (d, e) = (place(b"dddd"), place(b"eeee"));
        let bytes = [
            event(libc::FAN_CREATE, &[info(2, b"dddd", b"f\0"), info(1, b"eeee", b"")]),
            event(libc::FAN_RENAME, &[info(10, b"dddd", b"f\0"), info(12, b"eeee", b"longer\0")]),
            event(libc::FAN_Q_OVERFLOW, &[]),
            event(libc::FAN_ATTRIB, &[info(4, b"dddd", b""), info(1, b"dddd", b"")]),
        ]
        .concat();
        let mut left = &bytes[..];
        let mut taken = Vec::new();
        while let Some(record) = next(&mut left).unwrap() {
            taken.push(record);
        }
        let f = Entry { dir: &d, name: b"f" };
        let created = Record { mask: libc::FAN_CREATE, at: Some(f), target: Some(&e), ..none() };
        let longer = Entry { dir: &e, name: b"longer" };
        let renamed = Record { mask: libc::FAN_RENAME, from: Some(f), to: Some(longer), ..none() };
        let overflow = Record { mask: libc::FAN_Q_OVERFLOW, ..none() };
        let unknown = Record { mask: libc::FAN_ATTRIB, target: Some(&d), ..none() };
        assert_eq!(taken, [created, renamed, overflow, unknown]);
    }

    fn none() -> Record<'static> {
        Record::default()
    }

    #[test]
    fn what_is_cut_short_or_spoiled_is_an_error_and_no_panic() {
        let whole = event(libc::FAN_CREATE, &[info(2, b"dddd", b"f\0"), info(1, b"eeee", b"")]);
        for end in 1..whole.len() {
            assert!(next(&mut &whole[..end]).is_err(), "{end} bytes");
        }
        for at in 0..whole.len() {
            let mut spoiled = whole.clone();
            spoiled[at] = 0xff;
            // Some bytes may be anything.
            let _ = next(&mut &spoiled[..]);
        }
        let mut nameless = whole.clone();
        let name = nameless.iter().position(|&byte| byte == b'f').unwrap();
        nameless[name..name + 4].fill(b'x');
        assert!(next(&mut &nameless[..]).is_err());
    }
}
