//! A network that fails on demand: every port of the source, again, on a loopback address of this
//! test's own, forwarded byte for byte until it is told otherwise.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

/// How long a thread waits before it looks whether it is to do something else.
const LOOK: Duration = Duration::from_millis(10);
/// Bytes forwarded at once.
const CHUNK: usize = 32 * 1024;
/// Ports that a source may use, the first for commands: more than the epochs of a test need.
const DATA_PORTS: u16 = 30;

/// The proxy. Dropped, all its connections end.
pub(crate) struct Proxy {
    /// Where it listens: on the same ports as the source behind it.
    pub(crate) address: Ipv4Addr,
    /// The port for the source's command service.
    pub(crate) port: u16,
    /// What the source is to be told of its ports for data.
    pub(crate) data_ports: [String; 2],
    net: Arc<Net>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Net {
    over: AtomicBool,
    held: AtomicBool,
    bytes: AtomicU64,
    /// Bytes until all connections are reset; negative for never.
    fuse: AtomicI64,
    connections: Mutex<Vec<Connection>>,
}

struct Connection {
    ends: [TcpStream; 2],
    dead: Arc<AtomicBool>,
}

impl Connection {
    fn end(&self, rudely: bool) {
        self.dead.store(true, Ordering::Release);
        for end in &self.ends {
            if rudely {
                // Without lingering, the last descriptor's end is a reset.
                let _ = set_socket_linger(end, Some(Duration::ZERO));
            } else {
                let _ = end.shutdown(Shutdown::Both);
            }
        }
    }
}

impl Proxy {
    /// A proxy that forwards the ports of a source yet to be started.
    pub(crate) fn start() -> Proxy {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let own = NEXT.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        let address =
            Ipv4Addr::new(127, 100 + (pid >> 8 & 0x7f) as u8, (pid & 0xff) as u8, 1 + own as u8);
        let base = 12_000 + (pid as u16 % 300) * 60;
        let first = (0..).map(|n| base + (own + n) % 30 * DATA_PORTS).find(|first| free(*first));
        let first = first.expect("Free ports");
        let net = Arc::new(Net { fuse: AtomicI64::new(-1), ..Net::default() });
        let last = first + DATA_PORTS - 1;
        let data_ports = ["--data-ports".to_owned(), format!("{}-{last}", first + 1)];
        let mut proxy = Proxy { address, port: first, data_ports, net, threads: Vec::new() };
        for port in first..=last {
            proxy.forward(port);
        }
        proxy
    }

    /// Forwards one port.
    fn forward(&mut self, port: u16) {
        let listener = TcpListener::bind((self.address, port)).expect("A port on loopback");
        listener.set_nonblocking(true).expect("A socket that does not block");
        let net = Arc::clone(&self.net);
        self.threads.push(std::thread::spawn(move || accept(&listener, port, &net)));
    }

    /// Bytes forwarded so far, both ways.
    pub(crate) fn bytes(&self) -> u64 {
        self.net.bytes.load(Ordering::Relaxed)
    }

    /// Ends all connections as if the peers had closed them.
    pub(crate) fn cut(&self) {
        self.net.end_all(false);
    }

    /// Resets all connections once so many bytes have gone through, in the middle of whatever
    /// message that is.
    pub(crate) fn reset_after(&self, bytes: i64) {
        self.net.fuse.store(bytes, Ordering::Release);
    }

    /// Whether the connections that were to be reset have been.
    pub(crate) fn is_reset(&self) -> bool {
        self.net.fuse.load(Ordering::Acquire) < 0
    }

    /// From now on nothing goes through, and nobody is told.
    pub(crate) fn hold(&self) {
        self.net.held.store(true, Ordering::Release);
    }

    /// All goes on where it stood still.
    pub(crate) fn release(&self) {
        self.net.held.store(false, Ordering::Release);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.net.over.store(true, Ordering::Release);
        self.net.end_all(false);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Net {
    fn end_all(&self, rudely: bool) {
        for connection in self.connections.lock().unwrap().drain(..) {
            connection.end(rudely);
        }
    }

    /// Burns the fuse; true for whoever sets it off.
    fn burn(&self, bytes: usize) -> bool {
        let before = self.fuse.load(Ordering::Acquire);
        before >= 0 && {
            let left = self.fuse.fetch_sub(bytes as i64, Ordering::AcqRel) - bytes as i64;
            left < 0 && left + bytes as i64 >= 0
        }
    }
}

/// Whether a source could listen on all these ports.
fn free(first: u16) -> bool {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let held: Vec<_> = (first..first + DATA_PORTS).map_while(|port| bind(port).ok()).collect();
    held.len() == usize::from(DATA_PORTS)
}

fn accept(listener: &TcpListener, port: u16, net: &Arc<Net>) {
    while !net.over.load(Ordering::Acquire) {
        let Ok((client, _)) = listener.accept() else {
            std::thread::sleep(LOOK);
            continue;
        };
        let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let _ = client.set_nonblocking(false);
        let dead = Arc::new(AtomicBool::new(false));
        let clones = (client.try_clone(), server.try_clone());
        let (Ok(client_too), Ok(server_too)) = clones else { continue };
        for (from, to) in [(&client, &server), (&server, &client)] {
            let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { continue };
            let (net, dead) = (Arc::clone(net), Arc::clone(&dead));
            std::thread::spawn(move || pump(from, to, &net, &dead));
        }
        let connection = Connection { ends: [client_too, server_too], dead };
        net.connections.lock().unwrap().push(connection);
    }
}

/// Forwards one direction until either end, or the proxy, has had enough.
fn pump(mut from: TcpStream, mut to: TcpStream, net: &Net, dead: &AtomicBool) {
    let _ = from.set_read_timeout(Some(LOOK));
    let mut buffer = vec![0; CHUNK];
    while !dead.load(Ordering::Acquire) {
        if net.held.load(Ordering::Acquire) {
            std::thread::sleep(LOOK);
            continue;
        }
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                net.bytes.fetch_add(read as u64, Ordering::Relaxed);
                if net.burn(read) {
                    let _ = to.write_all(&buffer[..read / 2]);
                    net.end_all(true);
                    return;
                }
                if to.write_all(&buffer[..read]).is_err() {
                    break;
                }
            }
            Err(error) if is_patience(&error) => {}
            Err(_) => break,
        }
    }
    if !dead.load(Ordering::Acquire) {
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }
}

fn is_patience(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
