//! What documents and figures name must exist, and numbers that they give must be right.

use super::{Text, assert_none, has_word, repository, root};

/// How a path begins that a document names in code type.
const PATH_OPENINGS: [&str; 7] =
    ["src/", "tests/", "uml/", "scripts/", ".ci/", "vendor/", "examples/"];
/// How it ends, where it stands at the root.
const PATH_ENDINGS: [&str; 3] = [".md", ".toml", ".rs"];

/// The lines of a document outside its code blocks, with their numbers.
fn prose(text: &Text) -> Vec<(usize, &str)> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for (number, line) in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced && !line.starts_with("    ") {
            lines.push((number, line));
        }
    }
    lines
}

/// The spans in code type of a line.
fn spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// The targets of the links of a line.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

fn looks_like_path(span: &str) -> bool {
    let plain = !span.contains([' ', '*', '<', '{', '$', '=']);
    let opens = PATH_OPENINGS.iter().any(|opening| span.starts_with(opening));
    let ends = !span.contains('/') && PATH_ENDINGS.iter().any(|ending| span.ends_with(ending));
    plain && (opens || ends)
}

/// Complains of every path and link to which `exists` says no.
fn check_paths(texts: &[Text], exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut complaints = Vec::new();
    for text in texts.iter().filter(|text| text.is("md")) {
        let folder = text.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (number, line) in prose(text) {
            let named = spans(line).filter(|span| looks_like_path(span)).map(String::from);
            let linked = links(line)
                .filter(|link| !link.contains("://") && !link.starts_with('#'))
                .map(|link| link.split('#').next().unwrap_or(link))
                .map(|link| format!("{folder}/{link}").trim_start_matches('/').to_owned());
            for path in named.chain(linked).filter(|path| !exists(path)) {
                complaints.push(format!("{}:{number}: {path} does not exist", text.path));
            }
        }
    }
    complaints
}

/// Complains of every name in code type in a figure that no source file has.
fn check_figures(texts: &[Text]) -> Vec<String> {
    let sources: Vec<&Text> =
        texts.iter().filter(|text| text.path.starts_with("src/") && text.is("rs")).collect();
    let mut complaints = Vec::new();
    for figure in texts.iter().filter(|text| text.is("puml")) {
        let drawn = figure.path.replace(".puml", ".svg");
        if !texts.iter().any(|text| text.path == drawn) {
            complaints.push(format!("{}: {drawn} is missing", figure.path));
        }
        for (number, line) in figure.lines() {
            for name in line.split("\"\"").skip(1).step_by(2) {
                let known = if name.contains('/') || name.ends_with(".rs") {
                    let path = format!("src/{name}");
                    sources.iter().any(|text| text.path.starts_with(&path))
                } else {
                    name.split(|c: char| !c.is_alphanumeric() && c != '_')
                        .filter(|word| !word.is_empty())
                        .all(|word| sources.iter().any(|text| has_word(&text.text, word)))
                };
                if !known {
                    complaints.push(format!("{}:{number}: {name} is not in src", figure.path));
                }
            }
        }
    }
    complaints
}

/// The bounds of limits.rs by name.
fn limits(source: &str) -> Vec<(&str, u64)> {
    let lines = source.lines().filter_map(|line| line.strip_prefix("pub const "));
    lines
        .filter_map(|line| {
            let (name, rest) = line.split_once(':')?;
            let value = rest.split_once('=')?.1.trim().trim_end_matches(';');
            let factors = value.split('*').map(|factor| factor.trim().replace('_', "").parse());
            let product = factors.collect::<Result<Vec<u64>, _>>().ok()?.into_iter().product();
            Some((name, product))
        })
        .collect()
}

/// A number as the documents write it: `512`, `4,096`, `64 KiB`.
fn number(text: &str) -> Option<u64> {
    let (digits, unit) = match text.trim().split_once(' ') {
        None => (text.trim(), 1),
        Some((digits, "KiB")) => (digits, 1024),
        Some((digits, "MiB")) => (digits, 1024 * 1024),
        Some(_) => return None,
    };
    digits.replace(',', "").parse::<u64>().ok().map(|value| value * unit)
}

/// Complains of rows `| names | values | ... |` whose names are bounds of another value, and of
/// names in capitals that no source file has.
fn check_limits(protocol: &Text, source: &str, all_sources: &[&str]) -> Vec<String> {
    let known = limits(source);
    let mut complaints = Vec::new();
    for (line_number, line) in prose(protocol) {
        for span in spans(line) {
            let capital = span.contains('_') && span.chars().all(|c| c == '_' || c.is_uppercase());
            if capital && !all_sources.iter().any(|source| has_word(source, span)) {
                complaints.push(format!("{}:{line_number}: no {span}", protocol.path));
            }
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, names, values, ..] = cells[..] else { continue };
        let values = split_values(values);
        for (name, value) in spans(names).zip(values) {
            let real = known.iter().find(|(known, _)| *known == name);
            if let (Some((_, real)), Some(said)) = (real, number(&value))
                && *real != said
            {
                complaints
                    .push(format!("{}:{line_number}: {name} is {real}, not {said}", protocol.path));
            }
        }
    }
    complaints
}

/// Splits at commas that a blank follows.
fn split_values(text: &str) -> Vec<String> {
    text.split(", ").map(String::from).collect()
}

#[test]
fn documents_name_what_exists() {
    assert_none(&check_paths(&repository(), &|path| root().join(path).exists()));
}

#[test]
fn figures_name_what_exists() {
    assert_none(&check_figures(&repository()));
}

#[test]
fn the_protocol_gives_the_limits_of_the_code() {
    let texts = repository();
    let find = |path: &str| texts.iter().find(|text| text.path == path).expect("It is there");
    let sources: Vec<&str> = texts
        .iter()
        .filter(|text| text.path.starts_with("src/"))
        .map(|text| text.text.as_str())
        .collect();
    let limits = &find("src/model/limits.rs").text;
    assert_none(&check_limits(find("PROTOCOL.md"), limits, &sources));
}

#[test]
fn a_dead_path_is_found() {
    let count = |text| {
        let exists = |path: &str| path == "src/lib.rs" || path == "doc/A.md" || path == "B.md";
        check_paths(&[Text::new("doc/A.md", text)], &exists).len()
    };
    assert_eq!(count("see `src/lib.rs` and `src/gone.rs`"), 1);
    assert_eq!(count("see `GONE.md`"), 1);
    assert_eq!(count("see [this](A.md#part) and [that](GONE.md)"), 1);
    assert_eq!(count("see [this](https://example.org/GONE.md) and [there](#part)"), 0);
    assert_eq!(count("```\n`src/gone.rs`\n```\n    `src/gone.rs`"), 0);
    assert_eq!(count("all of `tests/*`, `osync source DIR`, `src/{a,b}.rs`"), 0);
}

#[test]
fn a_dead_name_in_a_figure_is_found() {
    let source = Text::new("src/net/stream.rs", "pub struct Stream;");
    let drawn = Text::new("uml/a.svg", "");
    let figure = Text::new(
        "uml/a.puml",
        "A -> B : \"\"Stream\"\"\nB -> C : \"\"Gone::open\"\"\nC : \"\"net/stream.rs\"\"",
    );
    let complaints = check_figures(&[source, drawn, figure]);
    assert_eq!(complaints, ["uml/a.puml:2: Gone::open is not in src"]);
    assert_eq!(check_figures(&[Text::new("uml/b.puml", "")]).len(), 1);
}

#[test]
fn a_wrong_limit_is_found() {
    let source = "pub const A_MAX: usize = 64 * 1024;\npub const B_MAX: u32 = 4_096;\n";
    let check = |text| check_limits(&Text::new("PROTOCOL.md", text), source, &[source]);
    assert_none(&check("| `A_MAX`, `B_MAX` | 64 KiB, 4,096 | sizes |"));
    assert_eq!(check("| `A_MAX` | 63 KiB | size |").len(), 1);
    assert_eq!(check("never over `C_MAX`").len(), 1);
}
