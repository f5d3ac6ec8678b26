//! Tools of scripts/bench.sh: makes pools and large files, changes these, and measures how long new
//! files take to arrive elsewhere.
//!
//! `pool make DIR FILES MEDIAN SEED` writes files of lognormal size, 1,000 in a directory.
//! `pool file FILE BYTES SEED` writes one file of random bytes.
//! `pool change HOW FILE SEED` changes a file in place: `append`, `pages`, `runs` or `insert`.
//! `pool latency SOURCE SINK COUNT` writes new files of 1 kB, one after the other, and prints for
//! each, in milliseconds and on a line of its own, the time until it stood at the sink.

// A tool for a script: it speaks to people, and what goes wrong ends it.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How broad the sizes lie: two thirds of them within a factor of e to this power.
const SIGMA: f64 = 1.0;
/// Files in one directory.
const PER_DIR: u64 = 1_000;
/// Patience with one file.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between one new file and the next.
const PAUSE: Duration = Duration::from_millis(5);
/// What is appended to a log.
const APPENDED_BYTES: usize = 1 << 20;
/// Pages of a database that change, scattered, and their size.
const PAGES: usize = 200;
const PAGE_BYTES: u64 = 4_096;
/// Runs of a disk image that change, as many as turn to zeros, and their size.
const RUNS: usize = 16;
const RUN_BYTES: u64 = 256 * 1024;

/// What went wrong: a sentence for whoever runs the script.
type Failure = Box<dyn Error>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        ["make", dir, files, median, seed] => make(Path::new(dir), files, median, seed),
        ["file", file, bytes, seed] => fill(Path::new(file), bytes, seed),
        ["change", how, file, seed] => change(how, Path::new(file), seed),
        ["latency", source, sink, count] => latency(Path::new(source), Path::new(sink), count),
        _ => Err("usage: pool make DIR FILES MEDIAN SEED | pool file FILE BYTES SEED | \
                  pool change append|pages|runs|insert FILE SEED | \
                  pool latency SOURCE SINK COUNT"
            .into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pool: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Seeded numbers (SplitMix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Above 0, at most 1.
    fn share(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// A size whose logarithm is normal, by the method of Box and Muller.
    fn size(&mut self, median: f64) -> usize {
        let (a, b) = (self.share(), self.share());
        let normal = (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos();
        (median * (SIGMA * normal).exp()).round() as usize
    }

    /// So many bytes, rounded up to eights.
    fn noise(&mut self, bytes: usize) -> Vec<u8> {
        (0..bytes.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).collect()
    }

    /// The beginning of one of the parts of this size that a file has, the last excluded.
    fn place(&mut self, length: u64, part: u64) -> u64 {
        self.next() % (length / part).max(1) * part
    }
}

fn make(dir: &Path, files: &str, median: &str, seed: &str) -> Result<(), Failure> {
    let (files, median): (u64, f64) = (files.parse()?, median.parse()?);
    let mut dice = Dice(seed.parse()?);
    let mut bytes = 0_u64;
    let noise = dice.noise(8 << 20);
    for number in 0..files {
        let folder = dir.join(format!("d{:05}", number / PER_DIR));
        if number % PER_DIR == 0 {
            std::fs::create_dir_all(&folder)?;
        }
        let size = dice.size(median).min(noise.len());
        let from = dice.next() as usize % (noise.len() - size + 1);
        std::fs::write(folder.join(format!("f{number:07}")), &noise[from..from + size])?;
        bytes += size as u64;
    }
    println!("{files} {bytes}");
    Ok(())
}

/// Random, so that only what was there before can save bytes, and compression can't.
fn fill(file: &Path, bytes: &str, seed: &str) -> Result<(), Failure> {
    let mut dice = Dice(seed.parse()?);
    let mut left: u64 = bytes.parse()?;
    let mut file = BufWriter::new(File::create(file)?);
    while left > 0 {
        let part = left.min(1 << 20);
        file.write_all(&dice.noise(part as usize)[..part as usize])?;
        left -= part;
    }
    Ok(file.flush()?)
}

fn change(how: &str, path: &Path, seed: &str) -> Result<(), Failure> {
    let mut dice = Dice(seed.parse()?);
    let file = File::options().read(true).write(true).open(path)?;
    let length = file.metadata()?.len();
    match how {
        "append" => file.write_all_at(&dice.noise(APPENDED_BYTES), length)?,
        "pages" => scatter(&file, &mut dice, PAGES, PAGE_BYTES)?,
        "runs" => {
            scatter(&file, &mut dice, RUNS, RUN_BYTES)?;
            for _ in 0..RUNS {
                let at = dice.place(length, RUN_BYTES);
                file.write_all_at(&vec![0; RUN_BYTES as usize], at)?;
            }
        }
        "insert" => insert(&file, length / 2, b'i')?,
        _ => return Err(format!("No change named {how}").into()),
    }
    Ok(())
}

/// Writes noise over some parts of a file, aligned.
fn scatter(file: &File, dice: &mut Dice, parts: usize, bytes: u64) -> Result<(), Failure> {
    let length = file.metadata()?.len();
    for _ in 0..parts {
        let at = dice.place(length, bytes);
        file.write_all_at(&dice.noise(bytes as usize), at)?;
    }
    Ok(())
}

/// Puts one byte between two others, as an editor does: what follows is written anew.
fn insert(file: &File, at: u64, byte: u8) -> Result<(), Failure> {
    let mut tail = vec![byte; (file.metadata()?.len() - at) as usize + 1];
    file.read_exact_at(&mut tail[1..], at)?;
    Ok(file.write_all_at(&tail, at)?)
}

fn latency(source: &Path, sink: &Path, count: &str) -> Result<(), Failure> {
    let count: usize = count.parse()?;
    for number in 0..count {
        let name = format!("new-{number}");
        let there = sink.join(&name);
        let begun = Instant::now();
        std::fs::write(source.join(&name), vec![b'n'; 1_000])?;
        while std::fs::metadata(&there).is_err() {
            if begun.elapsed() > PATIENCE {
                return Err(format!("{name} has not arrived after {PATIENCE:?}").into());
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        println!("{:.1}", begun.elapsed().as_secs_f64() * 1_000.0);
        std::thread::sleep(PAUSE);
    }
    Ok(())
}
