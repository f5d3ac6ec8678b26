//! The floors of the house: what each may import, and where each outside crate lives.

use super::{Text, assert_none, has_word, repository};

/// Each floor with the floors that it may import. Itself is always allowed.
const FLOORS: [(&str, &[&str]); 19] = [
    ("model", &[]),
    ("flow", &["model"]),
    ("error", &["model"]),
    ("wire", &["model", "error"]),
    ("tree", &["model", "error"]),
    ("state", &["model", "error"]),
    ("os", &["model"]),
    ("monitor", &["model", "error"]),
    ("config", &["model", "error"]),
    ("stop", &[]),
    ("ended", &["model", "error"]),
    ("control", &["ended", "stop", "config", "monitor", "model", "error"]),
    ("net", &["wire", "model", "error"]),
    ("keyring", &["phases", "state", "model", "error"]),
    ("phases", &PHASES),
    ("source", &OPERATOR),
    ("sink", &OPERATOR),
    ("local", &OPERATOR),
    ("bin", &BIN),
];

const PHASES: [&str; 13] = [
    "net", "tree", "flow", "wire", "state", "os", "model", "monitor", "config", "control", "ended",
    "stop", "error",
];
/// The operators wire threads, sockets and disk together: they see every floor below them.
const OPERATOR: [&str; 15] = [
    "phases", "source", "sink", "net", "tree", "flow", "wire", "config", "monitor", "control",
    "ended", "stop", "state", "error", "model",
];
const BIN: [&str; 12] = [
    "source", "sink", "local", "config", "monitor", "control", "ended", "stop", "state", "error",
    "model", "keyring",
];

/// Each outside crate (or function) that has a home, with the places where it may be named.
const HOMES: [(&str, &[&str]); 16] = [
    ("zmq", &["src/net/"]),
    ("zmq_sys", &["src/net/"]),
    ("inotify", &["src/tree/watch"]),
    ("walkdir", &["src/tree/"]),
    ("rmp_serde", &["src/wire/codec.rs"]),
    (
        "crossbeam_channel",
        &["src/source.rs", "src/sink.rs", "src/local.rs", "src/phases/", "src/tree/watch"],
    ),
    ("zstd", &["src/wire/packing.rs"]),
    ("heed", &["src/state/ledger/store.rs"]),
    ("indicatif", &["src/bin/"]),
    ("ctrlc", &["src/bin/"]),
    ("signal_hook", &["src/bin/"]),
    ("clap", &["src/bin/"]),
    ("clap_complete", &["src/bin/"]),
    ("clap_mangen", &["src/bin/"]),
    ("tracing_subscriber", &["src/bin/"]),
    ("process::exit", &["src/bin/"]),
];

/// The floor that a source file belongs to; none for the face of the library.
fn floor(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let first = inside.split('/').next()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    (name != "lib").then_some(name)
}

/// The floors that a line of code names: what follows `crate::` (in bin `osync::`), braces too.
fn imports(line: &str, root: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices(root) {
        let before = line[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = &line[at + root.len()..];
        let Some(inner) = rest.strip_prefix('{') else {
            found.push(first_word(rest));
            continue;
        };
        let mut depth = 0;
        let mut start = true;
        for (offset, c) in inner.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                c if start && depth == 0 && !c.is_whitespace() => {
                    found.push(first_word(&inner[offset..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    found
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == '*').collect()
}

fn check_floors(texts: &[Text]) -> Vec<String> {
    let mut complaints = Vec::new();
    for text in texts.iter().filter(|text| text.is("rs")) {
        let Some(here) = floor(&text.path) else { continue };
        let Some((_, allowed)) = FLOORS.iter().find(|(name, _)| *name == here) else {
            complaints
                .push(format!("{}: the floor {here} is not in the list of floors", text.path));
            continue;
        };
        let root = if here == "bin" { "osync::" } else { "crate::" };
        for (number, line) in text.code() {
            for name in imports(line, root) {
                let own = name == here || (here == "bin" && name == "bin");
                let face = name.is_empty() || name == "*" || name.starts_with(char::is_uppercase);
                if face {
                    complaints.push(format!(
                        "{}:{number}: imports through the root of the crate",
                        text.path
                    ));
                } else if !own && !allowed.contains(&name.as_str()) {
                    complaints.push(format!("{}:{number}: {here} imports {name}", text.path));
                }
            }
        }
    }
    complaints
}

fn check_homes(texts: &[Text]) -> Vec<String> {
    let mut complaints = Vec::new();
    for text in texts.iter().filter(|text| text.path.starts_with("src/") && text.is("rs")) {
        for (crate_name, homes) in HOMES {
            if homes.iter().any(|home| text.path.starts_with(home)) {
                continue;
            }
            let named = text.code().find(|(_, line)| names_crate(line, crate_name));
            if let Some((number, _)) = named {
                complaints.push(format!(
                    "{}:{number}: {crate_name} lives in {}",
                    text.path,
                    homes.join(", ")
                ));
            }
        }
    }
    complaints
}

/// Whether a line takes something from an outside crate of this name.
fn names_crate(line: &str, name: &str) -> bool {
    if name.contains("::") {
        return has_word(line, name);
    }
    let by_use = line
        .trim_start()
        .trim_start_matches("pub ")
        .strip_prefix("use ")
        .is_some_and(|rest| first_word(rest.trim_start_matches(':')) == name);
    let by_path = line.match_indices(&format!("{name}::")).any(|(at, _)| {
        !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':' || c == '"')
    });
    by_use || by_path
}

#[test]
fn imports_go_down_only() {
    assert_none(&check_floors(&repository()));
}

#[test]
fn outside_crates_stay_at_home() {
    assert_none(&check_homes(&repository()));
}

#[test]
fn an_upward_import_is_found() {
    let bad = |path, line| check_floors(&[Text::new(path, line)]).len();
    assert_eq!(bad("src/model/path.rs", "use crate::error::Error;"), 1);
    assert_eq!(bad("src/flow/lanes.rs", "use crate::wire::data::Header;"), 1);
    assert_eq!(bad("src/net/curve.rs", "    let x = crate::tree::walk::Walk::new();"), 1);
    assert_eq!(bad("src/flow/lanes.rs", "use crate::{model::path, tree};"), 1);
    assert_eq!(bad("src/phases/init.rs", "use crate::*;"), 1);
    assert_eq!(bad("src/phases/init.rs", "use crate::Error;"), 1);
    assert_eq!(bad("src/bin/osync/main.rs", "use osync::phases::init;"), 1);
    assert_eq!(bad("src/attic/old.rs", ""), 1);
}

#[test]
fn a_downward_import_is_not() {
    let good = |path, line| check_floors(&[Text::new(path, line)]);
    assert_none(&good("src/flow/lanes.rs", "use crate::{model::{op, path}, flow::credit};"));
    assert_none(&good("src/flow/lanes.rs", "/// See `crate::phases`.\n// crate::phases"));
    assert_none(&good("src/bin/osync/main.rs", "use osync::source;"));
    assert_none(&good("src/lib.rs", "pub mod model;"));
}

#[test]
fn a_crate_away_from_home_is_found() {
    let count = |path, line| check_homes(&[Text::new(path, line)]).len();
    assert_eq!(count("src/phases/init.rs", "use zmq::Context;"), 1);
    assert_eq!(count("src/phases/init.rs", "let c = zmq::Context::new();"), 1);
    assert_eq!(count("src/tree/walk.rs", "std::process::exit(1)"), 1);
    assert_eq!(count("src/net/curve.rs", "use zmq::Context;"), 0);
    assert_eq!(count("src/phases/init.rs", "use crate::tree::inotify::Thing;"), 0);
    assert_eq!(count("src/phases/init.rs", "use zmq_tools::Context;"), 0);
}
