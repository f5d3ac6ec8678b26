//! What is selected, held against rsync: rule by rule through the source's looks, and whole pairs
//! while names come and go, also across the rules.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use osync::model::look::{DirAddress, LookJob, Seen, Task};
use osync::model::op::ListingEnd;
use osync::model::path::RelPath;
use osync::model::selection::{Bounds, Rules, Selection, Style, size};
use osync::model::stamp::DirKey;
use osync::tree::looker::Looker;

use crate::support::churn::{Churn, Plan, Verb};
use crate::support::mount::Mount;
use crate::support::operator::{LONG, Pair, SOON};
use crate::support::oracle::differences_under;
use crate::support::until_true;
use crate::support::zoo::{self, Dice};

/// A tree with names that patterns may mean, three directories deep.
fn tree(root: &Path) {
    let dirs = ["a", "b", "foo", "a/a", "a/b", "a/foo", "b/foo", "a/b/a", "a/b/foo", "foo/b/a"];
    let files = ["x.o", "x.c", "xa", "bar", "a b", "[x]", "a*b", "back\\slash", "-dash", ".dot"];
    for dir in [""].into_iter().chain(dirs) {
        let dir = root.join(dir);
        fs::create_dir_all(&dir).unwrap();
        for (at, file) in files.iter().enumerate() {
            fs::write(dir.join(file), vec![7; at * 700]).unwrap();
        }
        symlink("x.c", dir.join("link")).unwrap();
    }
    fs::write(root.join("a/b/c"), "a file where others have directories").unwrap();
    fs::create_dir_all(root.join("b/c/c")).unwrap();
}

/// What rsync would send, a slash behind each directory; nothing if it refuses the options.
fn by_rsync(root: &Path, options: &[String]) -> Option<BTreeSet<String>> {
    let empty = tempfile::tempdir().unwrap();
    let output = Command::new("rsync")
        .args(["-an8", "--out-format=%n"])
        .args(options)
        .arg(root.join(""))
        .arg(empty.path().join(""))
        .output()
        .expect("These tests need rsync: install the package rsync");
    let text = String::from_utf8(output.stdout).unwrap();
    let names = text.lines().filter(|line| *line != "./").map(str::to_owned);
    output.status.success().then(|| names.collect())
}

/// The selection that options mean; nothing if one is refused.
fn selection(options: &[String]) -> Option<Selection> {
    let (mut rules, mut bounds) = (Rules::default(), Bounds::default());
    let mut read = |file: &[u8]| {
        fs::read(String::from_utf8(file.to_vec()).unwrap()).map_err(|error| error.to_string())
    };
    for option in options {
        let (name, value) = option.split_once('=').unwrap();
        let style = match name {
            "--exclude" | "--exclude-from" => Style::Exclude,
            "--include" | "--include-from" => Style::Include,
            "--filter" => Style::Filter,
            "--max-size" => {
                bounds.max_size = Some(size(value).unwrap());
                continue;
            }
            "--min-size" => {
                bounds.min_size = Some(size(value).unwrap());
                continue;
            }
            _ => panic!("{option}"),
        };
        if name.ends_with("-from") {
            rules.add_all(&fs::read(value).unwrap(), style, &mut read).ok()?;
        } else {
            rules.add(value.as_bytes(), style, &mut read).ok()?;
        }
    }
    Some(Selection::new(rules, bounds))
}

/// What the source's looks show, a slash behind each directory.
fn by_looks(root: &Path, selection: Selection) -> BTreeSet<String> {
    let looker = Looker::open(root, None).unwrap().select(selection.into());
    let mut found = BTreeSet::new();
    let mut left = vec![RelPath::root()];
    while let Some(path) = left.pop() {
        for part in 0.. {
            let task = Task::List { listing: 1, first: part == 0, recall: false, probe: false };
            let key = if path.is_root() { DirKey::ROOT } else { DirKey(left.len() as u64 + 1) };
            let dir = DirAddress { key, path: path.clone(), identity: None };
            let job = LookJob { id: 1, sink: None, urgent: false, dir, task };
            let Seen::Part { entries, problems, end, .. } = looker.run(&job).seen else {
                panic!("{path} can't be listed");
            };
            assert!(problems.is_empty(), "{problems:?}");
            for listed in entries.into_iter().map(|entry| entry.listed) {
                let at = path.join(&listed.name);
                let text = String::from_utf8(at.as_bytes().to_vec()).unwrap();
                if listed.entry.is_dir() {
                    found.insert(text + "/");
                    left.push(at);
                } else {
                    found.insert(text);
                }
            }
            if end != ListingEnd::More {
                break;
            }
        }
    }
    found
}

/// Options that each select something of the tree, as on a command line.
const OPTIONS: [&str; 84] = [
    "--exclude=*.o",
    "--exclude=foo",
    "--exclude=foo/",
    "--exclude=x.c/",
    "--exclude=/foo",
    "--exclude=/a/b",
    "--exclude=/b/a",
    "--exclude=a/b",
    "--exclude=b/a",
    "--exclude=a/b/",
    "--exclude=a/b/a",
    "--exclude=a/*/a",
    "--exclude=*/foo",
    "--exclude=/*/foo",
    "--exclude=/*/*/foo",
    "--exclude=a/**",
    "--exclude=/a/**",
    "--exclude=a/**/x.o",
    "--exclude=/a/**/x.o",
    "--exclude=/a/**/foo/",
    "--exclude=**/foo",
    "--exclude=**/a/foo",
    "--exclude=**.o",
    "--exclude=**b/foo",
    "--exclude=b**",
    "--exclude=b**foo",
    "--exclude=foo/***",
    "--exclude=/a/***",
    "--exclude=a/b/***",
    "--exclude=***",
    "--exclude=f***",
    "--exclude=**/b/***",
    "--exclude=?",
    "--exclude=x?",
    "--exclude=x.?",
    "--exclude=a?b",
    "--exclude=a/?/a",
    "--exclude=[ab]",
    "--exclude=[!ab]",
    "--exclude=[^ab]*",
    "--exclude=[a-f]",
    "--exclude=[f-a]",
    "--exclude=x.[[:alpha:]]",
    "--exclude=[[:punct:]]*",
    "--exclude=[[:nothing:]]*",
    "--exclude=[x]",
    "--exclude=[[]x]",
    "--exclude=[[]x[]]",
    "--exclude=\\[x]",
    "--exclude=\\[x\\]",
    "--exclude=[]-a]*",
    "--exclude=[!]x-]*",
    "--exclude=[x",
    "--exclude=a\\*b",
    "--exclude=a*b",
    "--exclude=a\\ b",
    "--exclude=a\\ ?",
    "--exclude=back\\slash",
    "--exclude=back\\\\slash",
    "--exclude=back\\\\*",
    "--exclude=back\\*",
    "--exclude=*\\",
    "--exclude=-dash",
    "--exclude=- -dash",
    "--exclude=+ -dash --exclude=*",
    "--exclude=.*",
    "--exclude=*",
    "--exclude=*/",
    "--exclude=/",
    "--exclude=//",
    "--exclude=a//b",
    "--exclude=foo//",
    "--include=*/ --include=*.c --exclude=*",
    "--include=a/ --include=/a/b/ --include=x.o --exclude=*",
    "--include=/a/ --include=/a/b/*** --exclude=*",
    "--include=foo/*** --exclude=foo --exclude=x*",
    "--filter=+_x.c --filter=-_x*",
    "--filter=-!_*/",
    "--filter=-!_a/**",
    "--filter=H,_foo --filter=P,_*",
    "--filter=hide,!_*/ --filter=risk_x",
    "--filter=-s_foo --filter=-r_bar --filter=-p_xa",
    "--exclude=foo --filter=! --exclude=bar",
    "--max-size=2.1k --min-size=1 --exclude=x.c",
];

#[test]
fn every_set_of_rules_selects_what_rsync_selects() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("root");
    tree(&root);
    let rules = home.path().join("rules");
    fs::write(&rules, "# a comment\n; another\n\n+ x.c\n- x*\r\n").unwrap();
    let patterns = home.path().join("patterns");
    fs::write(&patterns, "#x\n;x\nfoo\n+ bar\n a b\n- b*\n").unwrap();
    let files = [
        format!("--filter=.\u{20}{}", rules.display()),
        format!("--filter=merge,- {}", patterns.display()),
        format!("--exclude-from={}", patterns.display()),
        format!("--include-from={}\n--exclude=b*", patterns.display()),
        "--exclude= a b".to_owned(),
        "--exclude=a b".to_owned(),
    ];
    let split = |text: &str, by| text.split(by).map(str::to_owned).collect::<Vec<String>>();
    // A space belongs to a rule unless another option follows.
    let on_lines = |text: &&str| text.replace(" --", "\n--");
    let all = OPTIONS.iter().map(on_lines).chain(files);
    for options in all.map(|text| split(&text, '\n')) {
        assert_same(&root, &options).unwrap_or_else(|| panic!("{options:?} are refused"));
    }
}

/// Fails unless rsync and the looks agree; nothing if either refuses the options.
fn assert_same(root: &Path, options: &[String]) -> Option<()> {
    let (theirs, ours) = (by_rsync(root, options)?, by_looks(root, selection(options)?));
    let more: Vec<&String> = ours.difference(&theirs).collect();
    let less: Vec<&String> = theirs.difference(&ours).collect();
    assert!(
        more.is_empty() && less.is_empty(),
        "{options:?} show {more:?} besides, and lack {less:?}"
    );
    Some(())
}

const PIECES: [&str; 26] = [
    "a",
    "b",
    "foo",
    "x",
    ".",
    "c",
    "*",
    "*",
    "**",
    "***",
    "?",
    "/",
    "/",
    "/",
    "[ab]",
    "[!a]",
    "[^x-]",
    "[a-c]",
    "[[:alnum:]]",
    "[]f]",
    "\\",
    "\\*",
    "-",
    " ",
    "o",
    "x.o",
];

/// Options with rules drawn from pieces of patterns.
fn draw(dice: &mut Dice) -> Vec<String> {
    let words = ["-", "+", "-!", "+!", "H", "S", "-s", "-p", "P"];
    let count = 1 + dice.below(4);
    (0..count)
        .map(|_| {
            let length = 1 + dice.below(6);
            let pieces = (0..length).map(|_| PIECES[dice.below(PIECES.len())]);
            let pattern: String = pieces.collect();
            let weight = dice.below(words.len() * 2);
            format!("--filter={} {pattern}", words.get(weight).unwrap_or(&"-"))
        })
        .collect()
}

/// `OSYNC_TEST_SEED` sets where it begins; a failing set of rules is printed.
#[test]
fn rules_drawn_at_random_select_what_rsync_selects() {
    let seed = std::env::var("OSYNC_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let mut dice = Dice::new(seed.unwrap_or(20_261_121));
    let home = tempfile::tempdir().unwrap();
    tree(home.path());
    let mut compared = 0;
    while compared < 300 {
        let options = draw(&mut dice);
        compared += usize::from(assert_same(home.path(), &options).is_some());
    }
}

/// Rules over the names of a churn: by name, by place, for directories, by size.
const CHURNED: [&str; 9] = [
    "--include=/d0/d0/n1?",
    "--exclude=n1?",
    "--exclude=/d0/d1/",
    "--exclude=d2/n2",
    "--exclude=/d1/d2/d*",
    "--exclude=**/d3/n3",
    "--filter=- n4/",
    "--filter=- own",
    "--max-size=50k",
];

#[test]
fn churn_within_a_selection_arrives_equal() {
    let mut pair = Pair::new();
    let pool = zoo::pool(&pair.source_dir(), 500, 700);
    let own = pair.sink_dir().join("own");
    fs::write(&own, "the sink's").unwrap();
    let source = pair.start_source(&CHURNED);
    let sink = pair.start_sink(&[]);
    let plan = Plan {
        root: pair.source_dir(),
        seed: 20_261_121,
        writers: 3,
        verbs: Verb::ALL,
        rest: Duration::from_millis(2),
        pool,
    };
    let churn = Churn::start(&plan);
    until_true("the churn has done enough", LONG, || churn.done() > 4_000);
    churn.stop();
    fs::write(pair.source_dir().join("own"), "the source's").unwrap();
    pair.cutover().assert_code(&[0]);
    sink.end(LONG).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
    assert_eq!(differences_under(&CHURNED, &pair.source_dir(), &pair.sink_dir()), "");
    assert_eq!(fs::read(own).unwrap(), b"the sink's");
    assert!(!pair.sink_dir().join("d0/d1").exists());
}

#[test]
fn one_command_line_means_the_same_to_both() {
    let mut pair = Pair::new();
    tree(&pair.source_dir());
    let rules = pair.path("rules");
    fs::write(&rules, "+ x.c\n- /a/b/***\n").unwrap();
    let from = format!("--exclude-from={}", rules.display());
    let order = ["--include=foo/x.o", "--exclude", "*.o", &from, "-f", "- x*", "--include=xa"];
    let words = [&["-aHAXS", "--numeric-ids", "--once"][..], &order].concat();
    pair.start_local(&words).end(LONG).assert_code(&[0]);
    assert_eq!(differences_under(&order, &pair.source_dir(), &pair.sink_dir()), "");
    assert!(pair.sink_dir().join("b/x.c").exists() && !pair.sink_dir().join("b/xa").exists());
}

/// More than one answer of the sink names.
const MANY: usize = 5_000;

#[test]
fn a_sink_with_many_names_of_its_own_comes_to_rest() {
    let mut pair = Pair::new();
    fs::write(pair.source_dir().join("a"), "a").unwrap();
    for number in 0..MANY {
        fs::write(pair.sink_dir().join(format!("own-{number}")), "").unwrap();
    }
    let count = |pair: &Pair| fs::read_dir(pair.sink_dir()).unwrap().count();
    pair.start_local(&["--once", "--exclude=own*", "--delete=all"]).end(LONG).assert_code(&[0]);
    assert_eq!(count(&pair), MANY + 1);
    pair.start_local(&["--once", "--exclude=own*/", "--max-delete=100%"])
        .end(LONG)
        .assert_code(&[0]);
    let path = pair.arg("report.json");
    pair.start_local(&["--once", "--report", &path]).end(LONG).assert_code(&[0]);
    assert_eq!(pair.report("report.json")["foreign"], MANY, "each is counted, and once");
    assert_eq!(count(&pair), MANY + 1);
    // What the rules protect does not hide what comes behind it.
    fs::write(pair.sink_dir().join("z"), "").unwrap();
    pair.start_local(&["--once", "--exclude=own*", "--delete=all"]).end(LONG).assert_code(&[0]);
    assert!(!pair.sink_dir().join("z").exists());
    assert_eq!(count(&pair), MANY + 1);
    pair.start_local(&["--once", "--delete=all", "--max-delete=100%"]).end(LONG).assert_code(&[0]);
    assert_eq!(count(&pair), 1);
}

#[test]
#[ignore = "mounts a tmpfs, so it needs root: scripts/check.sh runs it when it can"]
fn needs_root_what_is_mounted_below_is_an_empty_directory() {
    let mut pair = Pair::new();
    let (volume, at_sink) = (pair.source_dir().join("volume"), pair.sink_dir().join("volume"));
    fs::create_dir(&volume).unwrap();
    let mount = Mount::small(&volume, "24m");
    zoo::pool(&volume, 30, 100);
    zoo::pool(&pair.source_dir(), 30, 100);
    fs::create_dir_all(at_sink.join("pool-000")).unwrap();
    fs::write(at_sink.join("kept"), "from before").unwrap();
    let source = pair.start_source(&["-x"]);
    let sink = pair.start_sink(&["--delete", "all"]);
    pair.until_ready();
    fs::write(volume.join("new"), "not carried").unwrap();
    fs::create_dir(volume.join("pool-000/new")).unwrap();
    zoo::set_time(&volume, 1_500_000_000, 7);
    fs::write(pair.source_dir().join("later"), "carried").unwrap();
    pair.cutover().assert_code(&[0]);
    sink.end(LONG).assert_code(&[0]);
    source.end(SOON).assert_code(&[0]);
    assert_eq!(differences_under(&["-x"], &pair.source_dir(), &pair.sink_dir()), "");
    assert_eq!(fs::read(at_sink.join("kept")).unwrap(), b"from before");
    assert_eq!(fs::read_dir(at_sink.join("pool-000")).unwrap().count(), 0);
    drop(mount);
}
