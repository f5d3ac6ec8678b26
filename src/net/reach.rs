//! Finds a host, and finds out by hand what listens there, for a sentence that libzmq can't give.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::model::limits::PROBE_MS;

/// What the one who listens speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoken {
    /// ZMTP under CURVE, as osync does.
    Curve,
    /// ZMTP without CURVE.
    Plain,
    /// Something else.
    Foreign,
    /// Nothing.
    Silence,
}

const PROBE: Duration = Duration::from_millis(PROBE_MS);

/// Opens every greeting, with the version of ZMTP.
const SIGNATURE: [u8; 11] = [0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3];
/// Where in a greeting the name of the mechanism stands.
const MECHANISM: std::ops::Range<usize> = 12..32;

/// Resolves a host name to the address to use: of several, the first that accepts a connection.
///
/// The error is a sentence.
pub(super) fn find(host: &str, port: u16) -> Result<SocketAddr, String> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<SocketAddr> = (bare, port)
        .to_socket_addrs()
        .map_err(|e| format!("Host \"{bare}\" can't be found ({e}): is the name right?"))?
        .collect();
    match addresses.as_slice() {
        [] => Err(format!("Host \"{bare}\" has no address: is the name right?")),
        [only] => Ok(*only),
        several => {
            let mut last = String::new();
            for address in several {
                match TcpStream::connect_timeout(address, PROBE) {
                    Ok(_) => return Ok(*address),
                    Err(e) => last = unreachable(bare, *address, &e),
                }
            }
            Err(last)
        }
    }
}

/// Connects by hand and reads the greeting.
///
/// The error is a sentence: why there is no connection.
pub(super) fn sound(host: &str, address: SocketAddr) -> Result<Spoken, String> {
    let stream =
        TcpStream::connect_timeout(&address, PROBE).map_err(|e| unreachable(host, address, &e))?;
    Ok(listen(stream).unwrap_or(Spoken::Silence))
}

fn listen(mut stream: TcpStream) -> io::Result<Spoken> {
    stream.set_read_timeout(Some(PROBE))?;
    stream.set_write_timeout(Some(PROBE))?;
    stream.write_all(&SIGNATURE)?;
    let mut greeting = [0u8; MECHANISM.end];
    let mut length = 0;
    while length < greeting.len() {
        match stream.read(&mut greeting[length..]) {
            Ok(0) | Err(_) => break,
            Ok(count) => length += count,
        }
    }
    Ok(judge(&greeting[..length]))
}

fn judge(greeting: &[u8]) -> Spoken {
    match (greeting.first(), greeting.get(9), greeting.get(MECHANISM)) {
        (None, ..) => Spoken::Silence,
        (Some(0xff), Some(0x7f), Some(mechanism)) if mechanism.starts_with(b"CURVE\0") => {
            Spoken::Curve
        }
        (Some(0xff), Some(0x7f), _) => Spoken::Plain,
        _ => Spoken::Foreign,
    }
}

fn unreachable(host: &str, address: SocketAddr, error: &io::Error) -> String {
    let (port, ip) = (address.port(), address.ip());
    match error.kind() {
        io::ErrorKind::ConnectionRefused => format!(
            "Nobody listens on port {port} of {host} ({ip}): \
             is the source running, and is this the port that it printed?"
        ),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => format!(
            "{host} ({ip}) does not answer on port {port}: \
             is the host up, and does every firewall between let this port through?"
        ),
        _ => format!("Can't reach {host} ({ip}) on port {port}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greetings() {
        let mut greeting = [0u8; 32];
        greeting[..11].copy_from_slice(&SIGNATURE);
        greeting[12..17].copy_from_slice(b"CURVE");
        assert_eq!(judge(&greeting), Spoken::Curve);
        greeting[12..17].copy_from_slice(b"NULL\0");
        assert_eq!(judge(&greeting), Spoken::Plain);
        assert_eq!(judge(&greeting[..10]), Spoken::Plain);
        assert_eq!(judge(b"SSH-2.0-whatever"), Spoken::Foreign);
        assert_eq!(judge(b""), Spoken::Silence);
    }

    #[test]
    fn an_unknown_host_and_a_closed_port_are_told_apart() {
        assert!(find("no-such-host.invalid", 1).unwrap_err().contains("can't be found"));
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let sentence = sound("127.0.0.1", closed).unwrap_err();
        assert!(sentence.contains("Nobody listens"), "{sentence}");
        assert_eq!(find("[::1]", 7).unwrap(), "[::1]:7".parse().unwrap());
    }
}
