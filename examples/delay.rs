//! A long way for scripts/bench.sh: forwards TCP connections, and each byte comes out a fixed time
//! after it came in. It holds back nothing else: the rate is the affair of the link below.
//!
//! `delay LISTEN TARGET MILLIS PORT...` forwards each of these ports of the address `LISTEN` to the
//! same port of `TARGET`, in both directions, until it is killed. Says `ready` once it listens.
//! Each direction has a thread that reads and stamps, and one that waits and writes; between them
//! lie at most `READS_QUEUED` reads of `READ_BYTES`.

// A tool for a script: it speaks to people, and what goes wrong ends it.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// Bytes of one read at most.
const READ_BYTES: usize = 16 * 1024;
/// Reads on their way in one direction: 8 MiB, or half a second of full frames at 12 MB/s.
const READS_QUEUED: usize = 512;

/// What was read, and when.
type Stamped = (Instant, Vec<u8>);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match &args[..] {
        [listen, target, millis, ports @ ..] if !ports.is_empty() => {
            forward_all(listen, target, millis, ports)
        }
        _ => Err("usage: delay LISTEN TARGET MILLIS PORT...".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("delay: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Listens on all ports before it says so; then serves them until an accept fails.
fn forward_all(
    listen: &str,
    target: &str,
    millis: &str,
    ports: &[String],
) -> Result<(), Box<dyn Error>> {
    let (listen, target): (IpAddr, IpAddr) = (listen.parse()?, target.parse()?);
    let delay = Duration::from_millis(millis.parse()?);
    let mut listeners = Vec::with_capacity(ports.len());
    for port in ports {
        let port: u16 = port.parse()?;
        listeners.push((TcpListener::bind((listen, port))?, SocketAddr::new(target, port)));
    }
    println!("ready");
    let serve = |(listener, target)| std::thread::spawn(move || accept(&listener, target, delay));
    let threads: Vec<_> = listeners.into_iter().map(serve).collect();
    for thread in threads {
        thread.join().map_err(|_| "A thread has ended badly")??;
    }
    Ok(())
}

/// Serves one port. A target that refuses costs only the connection meant for it.
fn accept(listener: &TcpListener, target: SocketAddr, delay: Duration) -> io::Result<()> {
    loop {
        let (near, _) = listener.accept()?;
        match TcpStream::connect(target).and_then(|far| join(near, far, delay)) {
            Ok(()) => {}
            Err(error) => eprintln!("delay: {target}: {error}"),
        }
    }
}

/// Starts the threads of both directions.
fn join(near: TcpStream, far: TcpStream, delay: Duration) -> io::Result<()> {
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    direction(near.try_clone()?, far.try_clone()?, delay);
    direction(far, near, delay);
    Ok(())
}

fn direction(from: TcpStream, to: TcpStream, delay: Duration) {
    let (put, take) = sync_channel(READS_QUEUED);
    std::thread::spawn(move || read(from, &put));
    std::thread::spawn(move || write(to, &take, delay));
}

/// Reads until the end, or until the writer has gone.
fn read(mut from: TcpStream, put: &SyncSender<Stamped>) {
    let mut buffer = vec![0; READ_BYTES];
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 || put.send((Instant::now(), buffer[..count].to_vec())).is_err() {
            break;
        }
    }
}

/// Writes each read when its time has come; then passes the end on.
fn write(mut to: TcpStream, take: &Receiver<Stamped>, delay: Duration) {
    for (stamp, bytes) in take {
        std::thread::sleep((stamp + delay).saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            // Wakes the reader of the other direction as well: nobody is there any more.
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
