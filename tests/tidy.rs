//! Taste as a test: who may import whom, how large things may grow, what documents may promise.
//!
//! Each check is a pure function from texts to complaints, so that it can be shown bad samples:
//! every check has a test of its own that it complains, and one that the repository passes.

mod documents;
mod floors;
mod sources;

use std::path::Path;

use walkdir::WalkDir;

/// A text file of the repository.
struct Text {
    /// Below the repository's root, with `/`.
    path: String,
    /// All of it.
    text: String,
}

impl Text {
    fn new(path: &str, text: &str) -> Text {
        Text { path: path.into(), text: text.into() }
    }

    fn is(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }

    /// The lines with their numbers, from 1.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// The lines that are no comments, with their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines().filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

/// What is no text of ours: built, fetched, foreign or binary.
const LEFT_OUT: [&str; 6] = ["target", ".git", "vendor", "golden", "snapshots", "Cargo.lock"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file of the repository that the house rules are for.
fn repository() -> Vec<Text> {
    let walk = WalkDir::new(root()).sort_by_file_name().into_iter();
    let ours = walk.filter_entry(|entry| {
        entry.depth() == 0 || !LEFT_OUT.iter().any(|name| entry.file_name() == *name)
    });
    let mut texts = Vec::new();
    for entry in ours {
        let entry = entry.expect("The repository can be read");
        if !entry.file_type().is_file() {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(entry.path()) else { continue };
        let path = entry.path().strip_prefix(root()).expect("Below the root");
        texts.push(Text { path: path.display().to_string(), text });
    }
    assert!(texts.len() > 20, "Only {} files found in {}", texts.len(), root().display());
    texts
}

/// Fails with all complaints at once.
fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}

/// Whether `word` stands in `text` with no letter, digit or underscore beside it.
fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(part) && !text[at + word.len()..].starts_with(part))
}

#[test]
fn words_are_whole() {
    assert!(has_word("a zmq::Context", "zmq"));
    assert!(!has_word("use zmq_sys;", "zmq"));
    assert!(!has_word("myzmq", "zmq"));
}
