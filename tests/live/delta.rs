//! Changed large files travel as what has changed in them, and whatever is wrong at the sink, they
//! arrive.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use crate::support::operator::{LONG, Operator, Pair, SOON};
use crate::support::oracle::assert_equal;
use crate::support::proxy::Proxy;
use crate::support::until_true;
use crate::support::zoo::{Dice, content, set_time};

/// Bytes of each file at its beginning: more than what gets a signature at once.
const BYTES: usize = 20 << 20;
const MIB: u64 = 1 << 20;

/// A pair behind a proxy that counts.
struct Counted {
    pair: Pair,
    proxy: Proxy,
    source: Operator,
    sink: Operator,
}

impl Counted {
    /// Starts both over files of these names.
    fn start(names: &[&str], options: &[&str]) -> Counted {
        let (mut pair, proxy) = (Pair::new(), Proxy::start());
        pair.through(&proxy);
        for (number, name) in (1..).zip(names) {
            fs::write(pair.source_dir().join(name), content(number, BYTES)).unwrap();
        }
        let ports = proxy.data_ports.each_ref().map(String::as_str);
        let source = pair.start_source(&[&ports[..], options].concat());
        let sink = pair.start_sink(&[]);
        pair.until_ready();
        Counted { pair, proxy, source, sink }
    }

    /// Changes a file, and waits until both sides have the same: the bytes that this took.
    fn cost(&self, name: &str, change: impl FnOnce(&Path)) -> u64 {
        let [here, there] = [self.pair.source_dir(), self.pair.sink_dir()].map(|d| d.join(name));
        let before = self.proxy.bytes();
        change(&here);
        let is_same = || fs::read(&here).unwrap() == fs::read(&there).unwrap_or_default();
        until_true("the change has arrived", LONG, is_same);
        self.proxy.bytes() - before
    }

    /// Ends the session, all being equal.
    fn end(mut self) {
        self.pair.cutover().assert_code(&[0]);
        self.sink.end(LONG).assert_code(&[0]);
        self.source.end(SOON).assert_code(&[0]);
        assert_equal(&self.pair.source_dir(), &self.pair.sink_dir());
    }
}

fn open(path: &Path) -> File {
    OpenOptions::new().write(true).open(path).unwrap()
}

/// Writes a page of a database, or a block of an image.
fn write_page(path: &Path, at: u64, bytes: usize, number: u64) {
    open(path).write_all_at(&content(number, bytes), at).unwrap();
}

fn append(path: &Path, number: u64) {
    let mut file = OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(&content(number, 30_000)).unwrap();
}

/// As most editors do it: what is cut off and written anew would be seen half written.
fn insert_a_byte(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes.insert(BYTES / 3, 7);
    let aside = path.parent().unwrap().with_file_name("aside");
    fs::write(&aside, bytes).unwrap();
    fs::rename(aside, path).unwrap();
}

#[test]
fn what_has_not_changed_does_not_travel() {
    let counted = Counted::start(&["log", "database", "image", "text"], &[]);
    for round in 0..2 {
        let log = counted.cost("log", |path| append(path, 100 + round));
        assert!(log < MIB / 2, "a log: {log} bytes");
        let database = counted.cost("database", |path| {
            for page in 0..10 {
                write_page(path, (page * 250 + round) * 8_192, 8_192, 200 + page + 10 * round);
            }
        });
        assert!(database < MIB, "a database: {database} bytes");
        let image = counted.cost("image", |path| {
            write_page(path, 4 * MIB, 1 << 19, 300 + round);
            open(path).write_all_at(&vec![0; 1 << 20], 9 * MIB).unwrap();
        });
        // What is zero now did not travel, and takes room as it does here.
        assert!(image < MIB, "an image: {image} bytes");
        let there = fs::metadata(counted.pair.sink_dir().join("image")).unwrap();
        assert!(there.blocks() * 512 >= there.len(), "{} blocks", there.blocks());
        let text = counted.cost("text", insert_a_byte);
        assert!(text < MIB, "a text: {text} bytes");
    }
    counted.end();
}

#[test]
fn all_of_it_travels_where_that_is_wanted() {
    let counted = Counted::start(&["log"], &["-W"]);
    let log = counted.cost("log", |path| append(path, 100));
    assert!(log > BYTES as u64, "{log} bytes");
    counted.end();
}

/// Another's hand changes the sink's file, whose length and time stay: no difference to it can be
/// told, and it gets all of the source's.
#[test]
fn a_file_that_was_edited_at_the_sink_is_replaced_whole() {
    let counted = Counted::start(&["log"], &[]);
    let there = counted.pair.sink_dir().join("log");
    let time = fs::metadata(&there).unwrap().modified().unwrap();
    write_page(&there, 5 * MIB, 100, 55);
    open(&there).set_modified(time).unwrap();
    let log = counted.cost("log", |path| append(path, 100));
    assert!(log > BYTES as u64, "{log} bytes");
    let log = counted.cost("log", |path| append(path, 101));
    assert!(log < MIB, "the next time it is right: {log} bytes");
    fs::write(&there, "another file").unwrap();
    counted.cost("log", |path| append(path, 102));
    fs::remove_file(&there).unwrap();
    counted.cost("log", |path| append(path, 103));
    counted.end();
}

#[test]
fn what_the_sink_keeps_of_attributes_and_holes_stays() {
    let counted = Counted::start(&["image"], &[]);
    counted.cost("image", |path| {
        let file = open(path);
        file.set_len(0).unwrap();
        file.set_len(2 * BYTES as u64).unwrap();
        file.write_all_at(&content(9, 3_000_000), BYTES as u64).unwrap();
    });
    counted.cost("image", |path| {
        write_page(path, BYTES as u64 + 9_000, 5_000, 10);
        open(path).set_len(3 * BYTES as u64).unwrap();
        set_time(path, 1_500_000_000, 77);
    });
    counted.end();
}

/// What somebody else has copied is asked for its signature, as is what is smaller than what gets
/// one at once.
#[test]
fn a_copy_of_anothers_making_is_made_use_of() {
    let (mut pair, proxy) = (Pair::new(), Proxy::start());
    pair.through(&proxy);
    for (dir, change) in [(pair.source_dir(), 1), (pair.sink_dir(), 2)] {
        fs::write(dir.join("image"), content(1, BYTES)).unwrap();
        write_page(&dir.join("image"), 7 * MIB, 8_192, change);
    }
    fs::write(pair.source_dir().join("small"), content(2, 2 << 20)).unwrap();
    let ports = proxy.data_ports.each_ref().map(String::as_str);
    let source = pair.start_source(&ports);
    let sink = pair.start_sink(&[]);
    pair.until_ready();
    assert!(proxy.bytes() < 3 * MIB, "the image: {} bytes", proxy.bytes());
    let counted = Counted { pair, proxy, source, sink };
    let small = counted.cost("small", |path| append(path, 7));
    assert!(small < MIB, "{small} bytes");
    counted.end();
}

/// Either side dies, again and again, while large files change.
#[test]
fn kills_in_the_middle_leave_nothing_wrong() {
    let Counted { mut pair, proxy, mut source, mut sink } =
        Counted::start(&["log", "database", "text"], &[]);
    let ports = proxy.data_ports.each_ref().map(String::as_str);
    let mut dice = Dice::new(3);
    for round in 0..6 {
        let tree = pair.source_dir();
        append(&tree.join("log"), round);
        for _ in 0..5 {
            let at = dice.next() % BYTES as u64;
            write_page(&tree.join("database"), at, 8_192, dice.next());
        }
        insert_a_byte(&tree.join("text"));
        let before = proxy.bytes();
        until_true("something travels", SOON, || proxy.bytes() > before + 20_000);
        if round % 2 == 0 {
            sink.kill();
            sink = pair.start_sink(&[]);
        } else {
            source.kill();
            source = pair.start_source(&ports);
        }
    }
    pair.until_ready();
    Counted { pair, proxy, source, sink }.end();
}
