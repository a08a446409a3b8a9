//! Where a listener listens: an address of TCP, or the path of a unix socket.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::error::Error;

/// Where a listener listens. Written as it was asked for: `127.0.0.1:4040`, `unix:/run/kv.sock`.
///
/// ```
/// use kvreg::{Address, Listener, ListenerOptions, Registry};
///
/// let registry = Registry::start()?;
/// let listener = Listener::start(&registry, "127.0.0.1:0", ListenerOptions::new())?;
/// if let Address::Tcp(address) = listener.address() {
///     assert_ne!(address.port(), 0);
/// }
/// # Ok::<(), kvreg::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Address {
    /// An address of TCP.
    Tcp(SocketAddr),
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// "127.0.0.1:4040", "[::1]:4040", "localhost:4040"; loopback if it is a port alone; or
/// "unix:PATH".
pub(super) fn parse(address: &str) -> Result<Address, Error> {
    match address.strip_prefix("unix:") {
        Some(path) => unix(path),
        None => tcp(address).map(Address::Tcp).ok_or(Error::InvalidArgument(
            "an address is like 127.0.0.1:4040 or unix:PATH",
        )),
    }
}

fn tcp(address: &str) -> Option<SocketAddr> {
    let (host, digits) = address.rsplit_once(':').unwrap_or(("", address));
    let port = port(digits)?;
    match host {
        "" | "localhost" => Some((Ipv4Addr::LOCALHOST, port).into()),
        _ => address.parse().ok(),
    }
}

/// Digits and nothing else: std takes a sign and zeros before them too.
fn port(digits: &str) -> Option<u16> {
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_shortest = digits == "0" || !digits.starts_with('0');
    (is_plain && is_shortest).then(|| digits.parse().ok())?
}

#[cfg(unix)]
fn unix(path: &str) -> Result<Address, Error> {
    // An empty one would be a name that the system chooses.
    if path.is_empty() || std::os::unix::net::SocketAddr::from_pathname(path).is_err() {
        let refused = "the path of a unix socket is empty, has a NUL, or is too long";
        return Err(Error::InvalidArgument(refused));
    }
    Ok(Address::Unix(path.into()))
}

#[cfg(not(unix))]
fn unix(_path: &str) -> Result<Address, Error> {
    Err(Error::Unsupported("a unix socket on this system"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_on_loopback() {
        for text in ["4040", ":4040", "localhost:4040", "127.0.0.1:4040"] {
            let wanted = Address::Tcp(([127, 0, 0, 1], 4040).into());
            assert_eq!(parse(text), Ok(wanted), "{text}");
        }
        assert_eq!(parse("0.0.0.0:0"), Ok(Address::Tcp(([0; 4], 0).into())));
        assert!(tcp("[::1]:4040").unwrap().is_ipv6());
        assert!(tcp("[fe80::1%2]:4040").unwrap().is_ipv6());
        assert_eq!(tcp("65535").unwrap().port(), 65535);
    }

    #[test]
    fn what_is_not_digits_alone_is_no_port() {
        let ports = [
            "",
            "+5",
            "-5",
            " 5",
            "5 ",
            "\t5",
            "5\n",
            "05",
            "00",
            "0x5",
            "5.",
            "5_0",
            "65536",
            "99999999999999999999",
            "\u{665}",
            "\u{ff15}",
            "\u{2075}",
            "5\0",
        ];
        let hosts = ["", ":", "localhost:", "127.0.0.1:", "[::1]:"];
        for text in hosts
            .iter()
            .flat_map(|host| ports.map(|port| format!("{host}{port}")))
        {
            assert!(parse(&text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for host in [
            "localhost",
            "127.0.0.1",
            "example.org:80",
            "1:2:3",
            "::1:80",
            "[::1]",
            "[::1]80",
            "[127.0.0.1]:80",
            "[]:80",
            "::80",
            "[::1%lo]:80",
            "127.0.0.01:80",
            "127.1:80",
            "256.0.0.1:80",
            " 127.0.0.1:80",
            "127.0.0.1 :80",
            "LOCALHOST :80",
            "tcp:80",
            "UNIX:/tmp/x",
            "unix:",
            "unix:a\0b",
        ] {
            assert!(parse(host).is_err(), "{host:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_path_is_as_long_as_the_system_takes() {
        let longest = format!("unix:/{}", "x".repeat(106));
        assert_eq!(parse(&longest).unwrap().to_string(), longest);
        assert!(parse(&format!("{longest}x")).is_err());
    }
}
