//! Files of one record a line, as JSON, so that people can read and mend them.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::state::dir::{Privacy, StateDir};

/// Reads all records of a file; none if there is no file.
pub(super) fn load<T: DeserializeOwned>(state: &StateDir, name: &str) -> Result<Vec<T>, Error> {
    let text = state.read(name, Privacy::Ours)?.unwrap_or_default();
    let mut records = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let record = serde_json::from_str(line).map_err(|e| {
            let text = format!("line {} is damaged ({e}): mend it or delete it", index + 1);
            Error::disk("Can't read", state.file(name), io::Error::other(text))
        })?;
        records.push(record);
    }
    Ok(records)
}

/// Reads all records of a file that can be done without: one that is damaged is moved aside, where
/// it is told of.
pub(super) fn load_dispensable<T: DeserializeOwned>(
    state: &StateDir,
    name: &str,
) -> Result<Vec<T>, Error> {
    // What can't be read at all stays.
    state.read(name, Privacy::Ours)?;
    load(state, name).or_else(|error| {
        let (file, aside) = (state.file(name), state.file(&format!("{name}.damaged")));
        std::fs::rename(&file, &aside).map_err(|e| Error::disk("Can't move aside", &file, e))?;
        tracing::warn!("{error}. It is moved to \"{}\", and made anew", aside.display());
        Ok(Vec::new())
    })
}

/// Replaces a file by these records, under a heading for people.
pub(super) fn store<T: Serialize>(
    state: &StateDir,
    name: &str,
    heading: &str,
    records: &[T],
) -> Result<(), Error> {
    let mut text = format!("# {heading}\n");
    for record in records {
        let line = serde_json::to_string(record)
            .map_err(|e| Error::disk("Can't write", state.file(name), io::Error::from(e)))?;
        text.push_str(&line);
        text.push('\n');
    }
    state.write(name, &text)
}

/// A path in JSON: text or, if it is no UTF-8, `{"base64": "..."}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub(super) struct Place(pub(super) PathBuf);

impl Place {
    pub(super) fn is(&self, path: &Path) -> bool {
        self.0.as_os_str() == path.as_os_str()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Bytes { base64: String },
}

impl From<Place> for Written {
    fn from(place: Place) -> Written {
        match place.0.to_str() {
            Some(text) => Written::Text(text.to_owned()),
            None => Written::Bytes { base64: BASE64.encode(place.0.as_os_str().as_bytes()) },
        }
    }
}

impl TryFrom<Written> for Place {
    type Error = String;

    fn try_from(written: Written) -> Result<Place, String> {
        match written {
            Written::Text(text) => Ok(Place(PathBuf::from(text))),
            Written::Bytes { base64 } => BASE64
                .decode(base64.as_bytes())
                .map(|bytes| Place(PathBuf::from(OsString::from_vec(bytes))))
                .map_err(|e| format!("no base64: {e}")),
        }
    }
}

/// A moment as people write it, in UTC.
pub(super) fn moment(unix: u64) -> String {
    let (days, second) = (unix / 86_400, unix % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z", second % 60)
}

/// The date that lies so many days after the first of January 1970.
fn civil(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    loop {
        let length = if leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_line_is_named() {
        let base = tempfile::tempdir().unwrap();
        let state = StateDir::open(Some(base.path())).unwrap();
        store(&state, "file", "Numbers", &[1, 2]).unwrap();
        assert_eq!(load::<u32>(&state, "file").unwrap(), [1, 2]);
        state.write("file", "# Numbers\n\n1\ntwo\n").unwrap();
        let sentence = load::<u32>(&state, "file").unwrap_err().to_string();
        assert!(sentence.contains("file\": line 4 is damaged"), "{sentence}");
        assert!(load::<u32>(&state, "none").unwrap().is_empty());
    }

    #[test]
    fn paths_of_any_bytes() {
        for bytes in [b"/a b\n".to_vec(), b"/\xff".to_vec()] {
            let place = Place(PathBuf::from(OsString::from_vec(bytes)));
            let json = serde_json::to_string(&place).unwrap();
            assert_eq!(serde_json::from_str::<Place>(&json).unwrap(), place, "{json}");
        }
    }

    #[test]
    fn moments() {
        assert_eq!(moment(0), "1970-01-01T00:00:00Z");
        assert_eq!(moment(951_868_799), "2000-02-29T23:59:59Z");
        assert_eq!(moment(1_767_225_600), "2026-01-01T00:00:00Z");
    }
}
