//! Sizes, names and habits of source files.

use super::{Text, assert_none, has_word, repository};

/// Lines in one file.
const FILE_LINES: usize = 600;
/// Characters in one line.
const LINE_CHARS: usize = 100;
/// Names that say nothing.
const EMPTY_NAMES: [&str; 6] = ["util", "utils", "misc", "common", "helper", "helpers"];
/// Where bounds live.
const LIMITS: &str = "src/model/limits.rs";
/// How the name of a bound ends.
const BOUND_ENDINGS: [&str; 6] = ["_MAX", "_QUEUE", "_HWM", "_CACHE", "_CREDIT", "_CAPACITY"];
/// Facts about Linux and about a file format that lies on disks: no bounds to choose.
const FACTS: [&str; 3] = ["SOCKET_PATH_BYTES_MAX", "BLOCK_MAX", "GROUP_MAX"];
/// The least that a note on unfinished work must say.
const REASON_CHARS: usize = 20;

fn check_shape(texts: &[Text]) -> Vec<String> {
    let mut complaints = Vec::new();
    for text in texts {
        let lines = text.text.lines().count();
        if text.is("rs") {
            if !text.text.starts_with("//! ") {
                complaints.push(format!("{}: does not open with //!", text.path));
            }
            if lines > FILE_LINES {
                complaints.push(format!("{}: {lines} lines of {FILE_LINES}", text.path));
            }
        }
        if ["rs", "sh", "toml", "puml", "md"].iter().any(|extension| text.is(extension)) {
            for (number, line) in text.lines() {
                let table = line.trim_start().trim_start_matches("//! ").starts_with('|');
                let exempt = table || (text.is("md") && line.contains("]("));
                if line.chars().count() > LINE_CHARS && !exempt {
                    complaints.push(format!("{}:{number}: over 100 columns", text.path));
                }
            }
        }
        let stem = text.path.rsplit('/').next().and_then(|name| name.split('.').next());
        let parts = text.path.split('/').chain(stem);
        for part in parts {
            if EMPTY_NAMES.contains(&part) {
                complaints.push(format!("{}: the name {part} says nothing", text.path));
            }
        }
    }
    complaints
}

fn check_habits(texts: &[Text]) -> Vec<String> {
    let mut complaints = Vec::new();
    let marks: [String; 4] =
        [["TO", "DO"], ["FIX", "ME"], ["XX", "X"], ["HA", "CK"]].map(|halves| halves.concat());
    for text in texts.iter().filter(|text| text.is("rs") || text.is("sh")) {
        for (number, line) in text.lines() {
            for mark in marks.iter().filter(|mark| has_word(line, mark)) {
                let reason = line.split(mark.as_str()).nth(1).unwrap_or("");
                if mark != &marks[0] || reason.trim_start_matches(':').trim().len() < REASON_CHARS {
                    complaints.push(format!("{}:{number}: {mark} without a reason", text.path));
                }
            }
        }
        for (number, line) in text.code() {
            let endless = ["unbounded", "channel"].map(|name| [name, "()"].concat());
            // This folder has to name what it looks for.
            let own = text.path.starts_with("tests/tidy");
            if text.is("rs") && !own && endless.iter().any(|call| line.contains(call.as_str())) {
                complaints.push(format!("{}:{number}: a channel without a bound", text.path));
            }
            if let Some(name) = bound(line)
                && text.path.starts_with("src/")
                // What a person is shown or may type is the affair of the floor that shows it.
                && !text.path.starts_with("src/bin/")
                && text.path != LIMITS
                && !FACTS.contains(&name)
            {
                complaints.push(format!("{}:{number}: {name} belongs in {LIMITS}", text.path));
            }
        }
    }
    complaints
}

/// The name of the bound that a line defines, if it defines one.
fn bound(line: &str) -> Option<&str> {
    let rest = line.trim_start();
    let rest = ["pub(crate) ", "pub(super) ", "pub "]
        .iter()
        .find_map(|open| rest.strip_prefix(open))
        .unwrap_or(rest);
    let (name, value) = rest.strip_prefix("const ")?.split_once(':')?;
    let number = ["usize", "u16", "u32", "u64", "i32", "i64"]
        .iter()
        .any(|kind| value.trim_start().starts_with(kind));
    (number && BOUND_ENDINGS.iter().any(|ending| name.ends_with(ending))).then_some(name)
}

/// Paths that exist on the machine of whoever wrote them, and nowhere else.
fn check_machine(texts: &[Text]) -> Vec<String> {
    let alien = [["/wo", "rk/"], ["/ro", "ot/"], ["bash", "_jobs"]].map(|halves| halves.concat());
    let mut complaints = Vec::new();
    for text in texts {
        for (number, line) in text.lines() {
            if let Some(found) = alien.iter().find(|path| line.contains(path.as_str())) {
                complaints.push(format!("{}:{number}: names {found}", text.path));
            }
        }
    }
    complaints
}

fn check_runner(texts: &[Text]) -> Vec<String> {
    let runner = texts.iter().find(|text| text.path == "tests/runner.rs");
    let listed: Vec<&str> = runner
        .iter()
        .flat_map(|text| text.code())
        .filter_map(|(_, line)| line.strip_prefix("mod ")?.strip_suffix(';'))
        .collect();
    let mut complaints = Vec::new();
    for text in texts.iter().filter(|text| text.is("rs")) {
        let Some(inside) = text.path.strip_prefix("tests/") else { continue };
        let module = inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs");
        if module != "runner" && !listed.contains(&module) {
            complaints.push(format!("{}: tests/runner.rs does not list {module}", text.path));
        }
    }
    complaints
}

#[test]
fn files_are_well_shaped() {
    assert_none(&check_shape(&repository()));
}

#[test]
fn files_have_good_habits() {
    assert_none(&check_habits(&repository()));
}

#[test]
fn nothing_names_this_machine() {
    assert_none(&check_machine(&repository()));
}

#[test]
fn every_test_module_is_listed() {
    assert_none(&check_runner(&repository()));
}

#[test]
fn a_bad_shape_is_found() {
    let count = |path, text: &str| check_shape(&[Text::new(path, text)]).len();
    assert_eq!(count("src/flow/a.rs", "fn a() {}\n"), 1);
    assert_eq!(count("src/flow/a.rs", &format!("//! a\n{}", "\n".repeat(FILE_LINES))), 1);
    assert_eq!(count("src/flow/a.rs", &format!("//! {}\n", "a".repeat(LINE_CHARS))), 1);
    assert_eq!(count("src/flow/util.rs", "//! a\n"), 1);
    assert_eq!(count("src/helpers/a.rs", "//! a\n"), 1);
    assert_eq!(count("src/flow/a.rs", "//! a\n"), 0);
    assert_eq!(count("A.md", &format!("| {} |\n", "a".repeat(LINE_CHARS))), 0);
}

#[test]
fn a_bad_habit_is_found() {
    let count = |path, text: &str| check_habits(&[Text::new(path, text)]).len();
    assert_eq!(count("src/source.rs", "let (a, b) = crossbeam_channel::unbounded();"), 1);
    assert_eq!(count("src/source.rs", "let (a, b) = std::sync::mpsc::channel();"), 1);
    assert_eq!(count("src/source.rs", "let (a, b) = crossbeam_channel::bounded(8);"), 0);
    assert_eq!(count("src/flow/a.rs", "const MARKS_MAX: usize = 7;"), 1);
    assert_eq!(count("src/flow/a.rs", "    pub(super) const LOOK_QUEUE: u32 = 7;"), 1);
    assert_eq!(count(LIMITS, "pub const MARKS_MAX: usize = 7;"), 0);
    assert_eq!(count("src/flow/a.rs", "const NAME: &str = \"a\";"), 0);
    let todo = ["// TO", "DO"].concat();
    assert_eq!(count("src/flow/a.rs", &todo), 1);
    assert_eq!(count("src/flow/a.rs", &format!("{todo}: later")), 1);
    assert_eq!(count("src/flow/a.rs", &format!("{todo}: hard links need the ledger first")), 0);
    assert_eq!(count("scripts/a.sh", &["# FIX", "ME: hard links need the ledger"].concat()), 1);
}

#[test]
fn a_path_of_one_machine_is_found() {
    let text = ["cd /wo", "rk/main"].concat();
    assert_eq!(check_machine(&[Text::new("README.md", &text)]).len(), 1);
    assert_eq!(check_machine(&[Text::new("README.md", "cd /srv/framework/main")]).len(), 0);
}

#[test]
fn a_module_left_out_of_the_runner_is_found() {
    let runner = Text::new("tests/runner.rs", "mod tidy;\n");
    let texts = [runner, Text::new("tests/tidy/a.rs", ""), Text::new("tests/sim.rs", "")];
    assert_eq!(check_runner(&texts), ["tests/sim.rs: tests/runner.rs does not list sim"]);
}
