//! Where to listen: a fixed port, or a free one outside the system's ephemeral range, so that a
//! socket that reconnects to a port nobody holds can't meet itself there.

use std::io;
use std::net::IpAddr;
use std::str::FromStr;

use crate::error::Error;
use crate::net::sys;

/// The port of the command service if nothing else is said.
pub const COMMAND_PORT: u16 = 9753;
/// The first port that a data socket tries if nothing else is said.
pub const DATA_PORT_FIRST: u16 = 9754;
/// Where the system says which ports it deals out by itself.
const EPHEMERAL_FILE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// Ports from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// The ports from one to another.
    ///
    /// # Errors
    /// When the first is 0 or comes after the last.
    pub fn new(first: u16, last: u16) -> Result<PortRange, Error> {
        if first == 0 || first > last {
            return Err(Error::Usage(format!(
                "\"{first}-{last}\" is no range of ports: give the lower one first, as in 9754-9780"
            )));
        }
        Ok(PortRange { first, last })
    }

    /// All ports from one up to where the system's ephemeral range begins.
    #[must_use]
    pub fn below_ephemeral(first: u16) -> PortRange {
        let low = std::fs::read_to_string(EPHEMERAL_FILE)
            .ok()
            .and_then(|text| text.split_whitespace().next()?.parse::<u16>().ok())
            .unwrap_or(32_768);
        // A system that deals out nearly all ports leaves no room below: then any will do.
        let last = if low > first { low - 1 } else { u16::MAX };
        PortRange { first, last }
    }
}

impl FromStr for PortRange {
    type Err = Error;

    fn from_str(text: &str) -> Result<PortRange, Error> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str| {
            text.trim().parse::<u16>().map_err(|_| {
                Error::Usage(format!("\"{text}\" is no port: give a range such as 9754-9780"))
            })
        };
        PortRange::new(number(first)?, number(last)?)
    }
}

impl std::fmt::Display for PortRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// Binds to the first free port of a range.
pub(super) fn bind_free(
    socket: &mut zmq::Socket,
    address: &str,
    range: PortRange,
) -> Result<u16, Error> {
    for port in range.first..=range.last {
        match bind_at(socket, address, port) {
            Ok(()) => return Ok(port),
            Err(e) if is_taken(&e) => {}
            Err(e) => return Err(cannot_listen(address, port, &e)),
        }
    }
    Err(Error::Network(format!(
        "All ports of {range} are in use: give a larger range with --data-ports A-B \
         (each sink needs three)"
    )))
}

/// Binds to one port.
pub(super) fn bind_one(socket: &mut zmq::Socket, address: &str, port: u16) -> Result<(), Error> {
    bind_at(socket, address, port).map_err(|e| cannot_listen(address, port, &e))
}

fn bind_at(socket: &mut zmq::Socket, address: &str, port: u16) -> io::Result<()> {
    match sys::bind(socket, &endpoint(address, port)) {
        // A kernel without IPv6 can't listen on "everywhere" of both kinds.
        Err(e) if is_everywhere(address) && lacks_ipv6(&e) => {
            sys::bind(socket, &endpoint("0.0.0.0", port))
        }
        other => other,
    }
}

fn endpoint(address: &str, port: u16) -> String {
    if is_everywhere(address) {
        return format!("tcp://*:{port}");
    }
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(IpAddr::V6(_)) => format!("tcp://[{bare}]:{port}"),
        _ => format!("tcp://{address}:{port}"),
    }
}

fn is_everywhere(address: &str) -> bool {
    address.is_empty() || address == "*"
}

/// Somebody listens there already, or only root may.
fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied)
}

fn lacks_ipv6(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

fn cannot_listen(address: &str, port: u16, error: &io::Error) -> Error {
    let place = if is_everywhere(address) { String::new() } else { format!(" of {address}") };
    let text = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "Port {port}{place} is in use, perhaps by another osync source: \
             choose another with --port N, or let one be found with --port 0"
        ),
        io::ErrorKind::PermissionDenied => {
            format!("Port {port}{place} is reserved for root: choose one above 1023 with --port N")
        }
        io::ErrorKind::AddrNotAvailable => format!(
            "This host has no address {address}: give one that it has with --bind ADDR \
             (\"ip addr\" lists them)"
        ),
        _ if error.raw_os_error() == Some(libc::ENODEV) => format!(
            "This host has no address or interface {address}: give one that it has with \
             --bind ADDR (\"ip addr\" lists them)"
        ),
        _ => format!("Can't listen on port {port}{place}: {error}"),
    };
    Error::Network(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!("9754-9780".parse::<PortRange>().unwrap().to_string(), "9754-9780");
        assert_eq!("9754".parse::<PortRange>().unwrap().to_string(), "9754-9754");
        for bad in ["", "0-5", "9-8", "a-b", "1-70000"] {
            assert!(bad.parse::<PortRange>().is_err(), "{bad}");
        }
        let free = PortRange::below_ephemeral(9753);
        assert!(free.first == 9753 && free.last > 9753);
    }

    #[test]
    fn endpoints() {
        assert_eq!(endpoint("*", 1), "tcp://*:1");
        assert_eq!(endpoint("", 1), "tcp://*:1");
        assert_eq!(endpoint("::1", 1), "tcp://[::1]:1");
        assert_eq!(endpoint("[::1]", 1), "tcp://[::1]:1");
        assert_eq!(endpoint("127.0.0.1", 1), "tcp://127.0.0.1:1");
    }
}
