//! Tools of scripts/bench.sh: makes a pool of many files, and measures how long new files take
//! to arrive elsewhere.
//!
//! `pool make DIR FILES MEDIAN SEED` writes files of lognormal size, 1,000 in a directory.
//! `pool latency SOURCE SINK COUNT` writes new files of 1 kB, one after the other, and prints the
//! median and the worst time in milliseconds until each stood at the sink.

// A tool for a script: it speaks to people, and what goes wrong ends it.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How broad the sizes lie: two thirds of them within a factor of e to this power.
const SIGMA: f64 = 1.0;
/// Files in one directory.
const PER_DIR: u64 = 1_000;
/// Patience with one file.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        ["make", dir, files, median, seed] => make(Path::new(dir), files, median, seed),
        ["latency", source, sink, count] => latency(Path::new(source), Path::new(sink), count),
        _ => Err("usage: pool make DIR FILES MEDIAN SEED | pool latency SOURCE SINK COUNT".into()),
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
}

fn make(dir: &Path, files: &str, median: &str, seed: &str) -> Result<(), Box<dyn Error>> {
    let (files, median): (u64, f64) = (files.parse()?, median.parse()?);
    let mut dice = Dice(seed.parse()?);
    let mut bytes = 0_u64;
    let noise: Vec<u8> = (0..1 << 20).flat_map(|_| dice.next().to_le_bytes()).collect();
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

fn latency(source: &Path, sink: &Path, count: &str) -> Result<(), Box<dyn Error>> {
    let count: usize = count.parse()?;
    let mut took = Vec::with_capacity(count);
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
        took.push(begun.elapsed().as_secs_f64() * 1_000.0);
        std::thread::sleep(Duration::from_millis(20));
    }
    took.sort_by(f64::total_cmp);
    let worst = took.last().ok_or("No files to measure")?;
    println!("{:.1} {worst:.1}", took[took.len() / 2]);
    Ok(())
}
