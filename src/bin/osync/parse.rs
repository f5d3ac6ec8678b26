//! From single words of the command line to values. Pure.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use osync::config::{Address, MaxDelete, PORT_DEFAULT, PortRange, WatchKind};
use osync::model::bandwidth::Bandwidth;
use osync::model::priority::{IoPriority, Nice};
use osync::model::setting::{self, Setting};

/// `HOST`, `HOST:PORT`, `[IPV6]`, `[IPV6]:PORT`, or a bare IPv6 address.
pub fn address(text: &str) -> Result<Address, String> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let Some((host, port)) = rest.split_once(']') else {
            return Err("the bracket of the IPv6 address is not closed".into());
        };
        match port.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if port.is_empty() => (host, None),
            None => return Err("after the bracket only `:PORT` may follow".into()),
        }
    } else if text.matches(':').count() > 1 {
        if text.parse::<IpAddr>().is_err() {
            return Err("write an IPv6 address with a port as [ADDRESS]:PORT".into());
        }
        (text, None)
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    if host.is_empty() {
        return Err("the host is missing".into());
    }
    if host.contains('/') {
        return Err("give HOST:PORT first and the directory after it".into());
    }
    if host.contains(|letter: char| letter.is_whitespace() || letter.is_control()) {
        return Err("a host has no spaces in its name".into());
    }
    let port = port.map_or(Ok(PORT_DEFAULT), port_number)?;
    Ok(Address { host: host.to_owned(), port })
}

/// An address to listen on: IPv4 or IPv6, `*` for all, `localhost` for loopback.
pub fn bind(text: &str) -> Result<IpAddr, String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    match bare {
        "*" => Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        "localhost" => Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        _ => bare.parse().map_err(|_| "give an IP address of this host".into()),
    }
}

/// `A-B`, or one port that is both.
pub fn ports(text: &str) -> Result<PortRange, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = PortRange { first: port_number(first)?, last: port_number(last)? };
    if range.first > range.last {
        return Err("the first port lies above the last".into());
    }
    Ok(range)
}

fn port_number(text: &str) -> Result<u16, String> {
    match text.trim().parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(format!("`{text}` is no port: give a number from 1 to 65535")),
    }
}

/// A means of watching.
pub fn watch(text: &str) -> Result<WatchKind, String> {
    match text {
        "auto" => Ok(WatchKind::Auto),
        "inotify" => Ok(WatchKind::Inotify),
        "fanotify" => Ok(WatchKind::Fanotify),
        "sweep" => Ok(WatchKind::Sweep),
        _ => Err("use auto, inotify, fanotify or sweep".into()),
    }
}

/// A count of names, or a share of the pool.
pub fn max_delete(text: &str) -> Result<MaxDelete, String> {
    match text.strip_suffix('%') {
        Some(share) => match share.parse() {
            Ok(percent) if percent <= 100 => Ok(MaxDelete::Percent(percent)),
            _ => Err("a share goes from 0% to 100%".into()),
        },
        None => text
            .parse()
            .map(MaxDelete::Names)
            .map_err(|_| "give a number of names, or a share such as 10%".into()),
    }
}

/// Seconds above 0, fractions allowed.
pub fn seconds(text: &str) -> Result<Duration, String> {
    text.strip_suffix('s')
        .unwrap_or(text)
        .parse()
        .ok()
        .filter(|seconds: &f64| *seconds > 0.0)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "give a number of seconds above 0".into())
}

/// `NAME=VALUE` for a setting that this version has; `resume` may stand alone.
pub fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, value),
        None if text == "resume" => (text, "yes"),
        None => return Err("give NAME=VALUE, or resume".into()),
    };
    Setting::parse(name, value)?;
    Ok((name.to_owned(), value.to_owned()))
}

/// A rate, or a timetable of rates.
pub fn bandwidth(text: &str) -> Result<Bandwidth, String> {
    text.parse()
}

/// Operations a second; a type of its own, for `Option` would mean an option that may be left out.
pub fn iops(text: &str) -> Result<Iops, String> {
    setting::iops(text).map(Iops)
}

/// A limit on operations, if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Iops(pub Option<u64>);

/// How nice the backlog is.
pub fn nice(text: &str) -> Result<Nice, String> {
    text.parse()
}

/// A class of the disk's scheduler.
pub fn ionice(text: &str) -> Result<IoPriority, String> {
    text.parse()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use osync::config::{MaxDelete, PortRange, WatchKind};

    #[test]
    fn addresses() {
        for (text, expected) in [
            ("oldhost", Some(("oldhost", 9753))),
            ("oldhost:1", Some(("oldhost", 1))),
            ("192.0.2.7:65535", Some(("192.0.2.7", 65535))),
            ("[fe80::1]:9", Some(("fe80::1", 9))),
            ("[fe80::1]", Some(("fe80::1", 9753))),
            ("fe80::1", Some(("fe80::1", 9753))),
            ("", None),
            (":9753", None),
            ("oldhost:", None),
            ("oldhost:0", None),
            ("oldhost:65536", None),
            ("oldhost:http", None),
            ("[fe80::1", None),
            ("[fe80::1]9", None),
            ("old:host:9", None),
            ("/data", None),
            ("old host:9", None),
        ] {
            let address = super::address(text).ok();
            let found = address.as_ref().map(|address| (address.host.as_str(), address.port));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn ports_limits_and_times() {
        assert_eq!(super::ports("9-12"), Ok(PortRange { first: 9, last: 12 }));
        assert_eq!(super::ports("9"), Ok(PortRange { first: 9, last: 9 }));
        assert!(super::ports("12-9").is_err() && super::ports("0-9").is_err());
        assert_eq!(super::max_delete("10%"), Ok(MaxDelete::Percent(10)));
        assert_eq!(super::max_delete("10"), Ok(MaxDelete::Names(10)));
        assert!(super::max_delete("101%").is_err() && super::max_delete("-1").is_err());
        assert_eq!(super::seconds("1.5"), Ok(Duration::from_millis(1_500)));
        for text in ["0", "-1", "nan", "inf", "1e300", "", "soon"] {
            assert!(super::seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn settings_are_checked_before_anybody_is_asked() {
        assert_eq!(super::setting("bwlimit=5M"), Ok(("bwlimit".into(), "5M".into())));
        assert!(super::setting("bwlimit=fast").unwrap_err().contains("no rate"));
        assert!(super::setting("bwlimit").unwrap_err().contains("NAME=VALUE"));
        assert!(super::setting("speed=5").unwrap_err().contains("bwlimit"));
        assert_eq!(super::setting("resume"), Ok(("resume".into(), "yes".into())));
        assert!(super::setting("resume=no").is_err());
    }

    #[test]
    fn means_of_watching() {
        assert_eq!(super::watch("auto"), Ok(WatchKind::Auto));
        assert_eq!(super::watch("fanotify"), Ok(WatchKind::Fanotify));
        assert_eq!(super::watch("sweep"), Ok(WatchKind::Sweep));
        assert!(super::watch("kqueue").is_err());
    }

    #[test]
    fn addresses_to_listen_on() {
        assert_eq!(super::bind("*").unwrap().to_string(), "0.0.0.0");
        assert_eq!(super::bind("[::1]").unwrap().to_string(), "::1");
        assert!(super::bind("eth0").is_err());
    }
}
