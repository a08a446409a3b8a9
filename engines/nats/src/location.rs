//! URLs of stores:
//! `nats://HOST:PORT,…?replicas=1…5&storage=file|memory&prefix=P&keys=plain|base64&creds=PATH&tls=1`.
//! Before the hosts there may be `USER:PASSWORD@` or `TOKEN@`. What is said of a URL that cannot be
//! never repeats a part of it, which might be a secret.

use std::path::PathBuf;

use crate::failure::Failure;
use crate::keys::Coding;

pub(crate) const SCHEME: &str = "nats";
const DEFAULT_PORT: u16 = 4222;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Login {
    #[default]
    None,
    Password(String, String),
    Token(String),
    /// A file of a user's JWT and seed.
    Credentials(PathBuf),
}

/// Which cluster, and as whom: stores with the same one share a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Servers {
    /// `HOST:PORT` each.
    pub(crate) hosts: Vec<String>,
    pub(crate) login: Login,
    pub(crate) tls: bool,
}

/// How a stream that is not there is made, and what it is called.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layout {
    pub(crate) replicas: u8,
    pub(crate) in_memory: bool,
    pub(crate) prefix: String,
    pub(crate) coding: Coding,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Location {
    pub(crate) servers: Servers,
    pub(crate) layout: Layout,
}

impl Location {
    pub(crate) fn parse(url: &[u8]) -> Result<Location, Failure> {
        let url = std::str::from_utf8(url);
        let url = url.map_err(|_| Failure::invalid("the URL is not UTF-8"))?;
        let rest = url.strip_prefix("nats://");
        let rest = rest.ok_or_else(|| Failure::invalid("the URL does not begin with nats://"))?;
        let (authority, parameters) = match rest.split_once('?') {
            Some((authority, parameters)) => (authority, Some(parameters)),
            None => (rest, None),
        };
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (parse_login(login)?, hosts),
            None => (Login::None, authority),
        };
        let mut location = Location {
            servers: Servers {
                hosts: hosts.split(',').map(parse_host).collect::<Result<_, _>>()?,
                login,
                tls: false,
            },
            layout: Layout {
                replicas: 1,
                in_memory: false,
                prefix: String::new(),
                coding: Coding::Plain,
            },
        };
        let mut seen = Vec::new();
        for parameter in parameters.into_iter().flat_map(|it| it.split('&')) {
            let name = location.set(parameter)?;
            if seen.contains(&name) {
                let text = format!("the parameter {name} of nats: is there twice");
                return Err(Failure::invalid(text));
            }
            seen.push(name);
        }
        Ok(location)
    }

    /// Takes a parameter, and answers its name.
    fn set(&mut self, parameter: &str) -> Result<&'static str, Failure> {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let (servers, layout) = (&mut self.servers, &mut self.layout);
        let refused = |text: &str| Err(Failure::invalid(text));
        match (name, value) {
            ("replicas", value) => match value.parse() {
                Ok(number @ 1..=5) if value.len() == 1 => layout.replicas = number,
                _ => return refused("replicas of nats: is 1 to 5"),
            },
            ("storage", "file") => layout.in_memory = false,
            ("storage", "memory") => layout.in_memory = true,
            ("storage", _) => return refused("storage of nats: is file or memory"),
            ("prefix", value) => value.clone_into(&mut layout.prefix), // `keys.rs` looks at it
            ("keys", "plain") => layout.coding = Coding::Plain,
            ("keys", "base64") => layout.coding = Coding::Base64,
            ("keys", _) => return refused("keys of nats: is plain or base64"),
            ("tls", "1") => servers.tls = true,
            ("tls", _) => return refused("tls of nats: is 1"),
            ("creds", value) => {
                if servers.login != Login::None {
                    return refused("nats: has either creds or a user before its host");
                }
                let path = decoded(value).filter(|it| !it.is_empty() && !it.contains('\0'));
                let Some(path) = path else {
                    return refused("creds of nats: is no path");
                };
                servers.login = Login::Credentials(path.into());
            }
            _ => {
                return refused(
                    "nats: has the parameters replicas, storage, prefix, keys, creds and tls",
                )
            }
        }
        let names = ["replicas", "storage", "prefix", "keys", "tls", "creds"];
        Ok(names.into_iter().find(|it| *it == name).unwrap_or_default())
    }
}

impl Servers {
    /// For people.
    pub(crate) fn describe(&self) -> String {
        self.hosts.join(", ")
    }
}

fn parse_login(text: &str) -> Result<Login, Failure> {
    let part = |text| {
        let part = decoded(text).filter(|it| !it.is_empty());
        part.ok_or_else(|| Failure::invalid("what is before the host of nats: is no user"))
    };
    match text.split_once(':') {
        Some((user, password)) => Ok(Login::Password(part(user)?, part(password)?)),
        None => Ok(Login::Token(part(text)?)),
    }
}

/// `HOST`, `HOST:PORT`, `[IPv6]` or `[IPv6]:PORT`, with its port.
fn parse_host(text: &str) -> Result<String, Failure> {
    let invalid = || Failure::invalid("nats: has a host that is no HOST:PORT");
    let (host, port) = match text.strip_prefix('[').and_then(|it| it.split_once(']')) {
        Some((address, behind)) => {
            address
                .parse::<std::net::Ipv6Addr>()
                .map_err(|_| invalid())?;
            (&text[..address.len() + 2], behind)
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let is_name = |it: char| it.is_ascii_alphanumeric() || "-._".contains(it);
    if host.is_empty() || !(host.starts_with('[') || host.chars().all(is_name)) {
        return Err(invalid());
    }
    let port = match port.strip_prefix(':') {
        Some(port) if port.bytes().all(|it| it.is_ascii_digit()) => port
            .parse()
            .ok()
            .filter(|it| *it != 0)
            .ok_or_else(invalid)?,
        None if port.is_empty() => DEFAULT_PORT,
        _ => return Err(invalid()),
    };
    Ok(format!("{host}:{port}"))
}

/// With `%41` as `A`.
fn decoded(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, behind @ ..] = rest {
        rest = behind;
        bytes.push(match first {
            b'%' => {
                let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
                rest = &rest[2..];
                u8::from_str_radix(digits, 16).ok()?
            }
            it => *it,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi;

    #[test]
    fn urls_say_servers_and_a_layout() {
        let parse = |url: &str| Location::parse(url.as_bytes()).unwrap();
        let simple = parse("nats://host");
        assert_eq!(simple.servers.hosts, ["host:4222"]);
        assert_eq!(
            (simple.layout.replicas, simple.layout.in_memory),
            (1, false)
        );
        let all = parse(
            "nats://u%40:p%2f@a:1,b-c.d:22,[::1]:3?replicas=3&storage=memory&prefix=p_&keys=base64&tls=1",
        );
        assert_eq!(all.servers.hosts, ["a:1", "b-c.d:22", "[::1]:3"]);
        assert_eq!(all.servers.login, Login::Password("u@".into(), "p/".into()));
        assert!(all.servers.tls && all.layout.in_memory);
        assert_eq!((all.layout.replicas, &*all.layout.prefix), (3, "p_"));
        assert_eq!(all.layout.coding, Coding::Base64);
        assert_eq!(parse("nats://t@a").servers.login, Login::Token("t".into()));
        let path = Login::Credentials("/a b".into());
        assert_eq!(parse("nats://a?creds=/a%20b").servers.login, path);
    }

    #[test]
    fn what_a_url_cannot_be_is_said_without_secrets() {
        for url in [
            "nats:",
            "nats:a",
            "nat://a",
            "nats://",
            "nats://a,",
            "nats://a:0",
            "nats://a:x",
            "nats://a:+1",
            "nats://a:70000",
            "nats://a b",
            "nats://[::1",
            "nats://[x]:1",
            "nats://:secret@a",
            "nats://secret:@a",
            "nats://secret%@a",
            "nats://secret%ff@a",
            "nats://a?",
            "nats://a?secret=1",
            "nats://a?replicas=0",
            "nats://a?replicas=6",
            "nats://a?replicas=+3",
            "nats://a?storage=secret",
            "nats://a?keys=",
            "nats://a?tls=0",
            "nats://a?creds=",
            "nats://a?creds=%00",
            "nats://secret@a?creds=/x",
            "nats://a?tls=1&tls=1",
            "nats://a/secret",
        ] {
            let failure = Location::parse(url.as_bytes()).expect_err(url);
            assert_eq!(failure.status, abi::INVALID_ARGUMENT, "{url}");
            assert!(!failure.text.is_empty() && !failure.text.ends_with('.'));
            assert!(!failure.text.contains("secret"), "{}", failure.text);
        }
    }
}
