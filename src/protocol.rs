//! The text protocol of the guide's KVServer: `CREATE`, `PUT`, `GET`, `DELETE`.
//!
//! Words are split on runs of ASCII white space, without quoting; commands are matched by
//! case and by their number of words. The reply is what a connection would get, CRLF included.

use std::sync::Arc;

use crate::bucket::{check_key, BucketServer};
use crate::error::Error;
use crate::memory;
use crate::registry::{check_name, RegistryServer};
use crate::server::Caller;
use crate::store::Change;
use crate::value::{Value, ValueRef};

pub(crate) const OK: &[u8] = b"OK\r\n";
pub(crate) const NOT_FOUND: &[u8] = b"NOT FOUND\r\n";
const UNKNOWN_COMMAND: &[u8] = b"UNKNOWN COMMAND\r\n";
/// What a connection gets for a failure, before it is closed.
pub(crate) const ERROR: &[u8] = b"ERROR\r\n";

#[derive(Debug, PartialEq, Eq)]
enum Command<'a> {
    Create {
        bucket: &'a [u8],
    },
    Put {
        bucket: &'a [u8],
        key: &'a [u8],
        value: &'a [u8],
    },
    Get {
        bucket: &'a [u8],
        key: &'a [u8],
    },
    Delete {
        bucket: &'a [u8],
        key: &'a [u8],
    },
}

/// The words of a line: the longest command has four, a fifth tells a line that is too long.
fn split(line: &[u8]) -> [Option<&[u8]>; 5] {
    // Vertical tab too, which Rust's own notion of ASCII white space leaves out.
    let is_space = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'\x0b';
    let mut words = line.split(is_space).filter(|word| !word.is_empty());
    std::array::from_fn(|_| words.next())
}

fn parse(line: &[u8]) -> Option<Command<'_>> {
    Some(match split(line) {
        [Some(b"CREATE"), Some(bucket), None, ..] => Command::Create { bucket },
        [Some(b"PUT"), Some(bucket), Some(key), Some(value), None] => {
            Command::Put { bucket, key, value }
        }
        [Some(b"GET"), Some(bucket), Some(key), None, _] => Command::Get { bucket, key },
        [Some(b"DELETE"), Some(bucket), Some(key), None, _] => Command::Delete { bucket, key },
        _ => return None,
    })
}

/// The bucket that a SUBSCRIBE line names: a command of connections only.
pub(crate) fn subscription(line: &[u8]) -> Option<&[u8]> {
    match split(line) {
        [Some(b"SUBSCRIBE"), Some(bucket), None, ..] => Some(bucket),
        _ => None,
    }
}

/// Whether a line that begins so is HTTP: a web page can have a browser send such lines to any
/// port of its machine, and what it likes after them. Its other methods have a `Host:` too.
pub(crate) fn is_http(line: &[u8]) -> bool {
    [&b"POST "[..], b"Host:"].iter().any(|http| {
        line.get(..http.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(http))
    })
}

/// The bucket that a request line may have to wait for; empty for the registry.
pub(crate) fn waits_for(line: &[u8]) -> &[u8] {
    match parse(line) {
        Some(
            Command::Put { bucket, .. }
            | Command::Get { bucket, .. }
            | Command::Delete { bucket, .. },
        ) => bucket,
        Some(Command::Create { .. }) | None => b"",
    }
}

/// Carries out one line. `NOT FOUND` and `UNKNOWN COMMAND` are replies; a failure is an error.
/// May block like a call.
pub(crate) fn execute(
    registry: &Arc<RegistryServer>,
    caller: &mut Caller<'_>,
    line: &[u8],
) -> Result<Vec<u8>, Error> {
    let Some(command) = parse(line) else {
        return Ok(UNKNOWN_COMMAND.to_vec());
    };
    let done = match command {
        Command::Create { bucket } => {
            let created = registry.create(caller, name(bucket)?, false, None);
            match created {
                Ok(_) => Ok(OK.to_vec()),
                Err(Error::WrongKind) => Ok(NOT_FOUND.to_vec()),
                Err(refused) => return Err(refused),
            }
        }
        Command::Put { bucket, key, value } => {
            let value = match std::str::from_utf8(value) {
                Ok(text) => ValueRef::String(text),
                Err(_) => ValueRef::Bytes(value),
            };
            find(registry, caller, bucket)?
                .map_or(Err(Error::NoProcess), |bucket| {
                    bucket.put(caller, check_key(key)?, value)
                })
                .map(|()| OK.to_vec())
        }
        Command::Get { bucket, key } => find(registry, caller, bucket)?
            .map_or(Err(Error::NoProcess), |bucket| {
                absent_is_none(bucket.get(caller, check_key(key)?))
            })
            .and_then(|value| print(value.as_ref())),
        Command::Delete { bucket, key } => find(registry, caller, bucket)?
            .map_or(Err(Error::NoProcess), |bucket| {
                absent_is_none(bucket.remove(caller, check_key(key)?))
            })
            .map(|_| OK.to_vec()),
    };
    match done {
        // It ended between the lookup and the request, or while it had it; or a user's server has
        // the name.
        Err(Error::NoProcess | Error::ServerDown | Error::WrongKind) => Ok(NOT_FOUND.to_vec()),
        done => done,
    }
}

fn name(bytes: &[u8]) -> Result<&str, Error> {
    let name = std::str::from_utf8(bytes);
    check_name(name.map_err(|_| Error::InvalidArgument("a name is UTF-8"))?)
}

/// The bucket, if there is one: what cannot be a name is none's.
pub(crate) fn find(
    registry: &Arc<RegistryServer>,
    caller: &mut Caller<'_>,
    bucket: &[u8],
) -> Result<Option<Arc<BucketServer>>, Error> {
    match name(bucket) {
        Ok(name) => match registry.lookup(caller, name) {
            Ok(bucket) => Ok(Some(bucket)),
            Err(Error::NotFound | Error::WrongKind) => Ok(None),
            Err(error) => Err(error),
        },
        Err(_) => Ok(None),
    }
}

fn absent_is_none<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Error::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A value and `OK`, two lines. An absent key prints as nil does: nothing.
fn print(value: Option<&Value>) -> Result<Vec<u8>, Error> {
    let mut reply = Vec::new();
    if let Some(value) = value {
        print_value(&mut reply, value.as_ref())?;
    }
    reply.extend_from_slice(b"\r\n");
    reply.extend_from_slice(OK);
    Ok(reply)
}

fn print_value(line: &mut Vec<u8>, value: ValueRef<'_>) -> Result<(), Error> {
    match value {
        ValueRef::Nil => Ok(()),
        ValueRef::Bool(value) => print_text(line, value.to_string().as_bytes()),
        ValueRef::Int(value) => print_text(line, value.to_string().as_bytes()),
        // Debug is the shortest form that reads back, and stays a float.
        ValueRef::Float(value) => print_text(line, format!("{value:?}").as_bytes()),
        ValueRef::String(text) => print_text(line, text.as_bytes()),
        ValueRef::Bytes(bytes) => print_text(line, bytes),
    }
}

/// Adds the line a subscriber is told of a change. What no line can tell is told as `CHANGED`:
/// a value with a line break, or one for which there is no memory; and whatever happens to a
/// key with a line break, which has `\r` and `\n` in their places.
pub(crate) fn print_change(lines: &mut Vec<u8>, change: &Change) -> Result<(), Error> {
    if has_line_break(&change.key) {
        let key = change.key.iter().flat_map(|byte| match byte {
            b'\r' => b"\\r",
            b'\n' => b"\\n",
            byte => std::slice::from_ref(byte),
        });
        let key: Vec<u8> = key.copied().collect();
        print_text(lines, &key)?;
        lines.extend_from_slice(b" CHANGED\r\n");
        return Ok(());
    }
    print_text(lines, &change.key)?;
    match &change.value {
        Some(value) => {
            let key_end = lines.len();
            lines.extend_from_slice(b" SET TO ");
            if print_value(lines, value.as_ref()).is_err() {
                lines.truncate(key_end);
                lines.extend_from_slice(b" CHANGED");
            }
        }
        None => lines.extend_from_slice(b" DELETED"),
    }
    lines.extend_from_slice(b"\r\n");
    Ok(())
}

fn has_line_break(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n'))
}

fn print_text(line: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Error> {
    if has_line_break(bytes) {
        return Err(Error::Unsupported("a value with a line break in a reply"));
    }
    // With room for the end of the reply.
    memory::without_reserve(|| line.try_reserve(bytes.len() + 16)).map_err(|_| Error::NoMemory)?;
    line.extend_from_slice(bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The guide's doctests.
    #[test]
    fn lines_are_parsed_as_in_the_guide() {
        assert_eq!(
            parse(b"CREATE shopping\r\n"),
            Some(Command::Create {
                bucket: b"shopping"
            })
        );
        assert_eq!(
            parse(b"CREATE  shopping  \r\n"),
            Some(Command::Create {
                bucket: b"shopping"
            })
        );
        assert_eq!(
            parse(b"PUT shopping milk 1\r\n"),
            Some(Command::Put {
                bucket: b"shopping",
                key: b"milk",
                value: b"1"
            })
        );
        assert_eq!(
            parse(b"GET shopping milk\r\n"),
            Some(Command::Get {
                bucket: b"shopping",
                key: b"milk"
            })
        );
        assert_eq!(
            parse(b"DELETE shopping eggs\r\n"),
            Some(Command::Delete {
                bucket: b"shopping",
                key: b"eggs"
            })
        );
        assert_eq!(parse(b"UNKNOWN shopping eggs\r\n"), None);
        assert_eq!(parse(b"GET shopping\r\n"), None);
    }

    #[test]
    fn anything_else_is_unknown() {
        for line in [
            &b""[..],
            b"\r\n",
            b"create shopping",
            b"CREATE",
            b"CREATE a b",
            b"PUT a b",
            b"PUT a b c d",
            b"GET a b c",
            b"GET a b c d e",
            b"DELETE a",
            b"SUBSCRIBE a",
            b"\xff\xfe",
        ] {
            assert_eq!(parse(line), None, "{}", line.escape_ascii());
        }
        let tabs = parse(b"\t GET\x0b\x0ca \x0b b\r\n");
        assert_eq!(
            tabs,
            Some(Command::Get {
                bucket: b"a",
                key: b"b"
            })
        );
    }

    #[test]
    fn http_is_told_by_how_a_line_begins() {
        for line in [
            "POST ",
            "post / HTTP/1.1\r\n",
            "pOsT b",
            "Host:",
            "hOST:x",
            "HOST: a",
        ] {
            assert!(is_http(line.as_bytes()), "{line:?}");
        }
        for line in [
            "",
            "POST",
            "POS",
            "POSTS b",
            "Host",
            "Host :",
            " POST /",
            "PUT b k POST ",
        ] {
            assert!(!is_http(line.as_bytes()), "{line:?}");
        }
    }

    #[test]
    fn what_no_line_can_tell_has_changed() {
        let told = |key: &[u8], value: Option<&[u8]>| {
            let value = value.map(|bytes| Value::new(ValueRef::Bytes(bytes)).unwrap());
            let mut lines = b"before\r\n".to_vec();
            let key = key.into();
            print_change(&mut lines, &Change { key, value }).unwrap();
            String::from_utf8(lines.split_off(8)).unwrap()
        };
        assert_eq!(told(b"k", Some(b"v")), "k SET TO v\r\n");
        assert_eq!(told(b"k", Some(b"v\n")), "k CHANGED\r\n");
        assert_eq!(told(b"k", Some(b"\r")), "k CHANGED\r\n");
        assert_eq!(told(b"k", None), "k DELETED\r\n");
        assert_eq!(told(b"a\r\nb", Some(b"v")), "a\\r\\nb CHANGED\r\n");
        assert_eq!(told(b"\n", None), "\\n CHANGED\r\n");
    }

    #[test]
    fn floats_print_in_the_shortest_form_that_reads_back() {
        for (value, text) in [
            (1.0, "1.0"),
            (0.1, "0.1"),
            (-2.5e-8, "-2.5e-8"),
            (1e300, "1e300"),
            (f64::INFINITY, "inf"),
        ] {
            let reply = print(Some(&Value::Float(value))).unwrap();
            assert_eq!(reply, format!("{text}\r\nOK\r\n").into_bytes());
        }
    }
}
