//! Names of streams, and keys as subjects of them: `$KV.<prefix><bucket>.<key>`.
//!
//! A key is written as it is, if it is one that NATS has, or in base64 as one token, with letters
//! that a key may have; the empty key is `=` then, which no other key is. A subject has a bound:
//! the line that announces a message, which also has a subject for the answer and two numbers, is at
//! most 4,096 bytes, or the server ends the connection.

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::Engine;

use crate::failure::Failure;

/// The most bytes of a key in base64.
const MAX_CODED: usize = 3000;
const MAX_LINE: usize = 4096;
/// The most that is on the line beside the subject: see `replies.rs`.
const BESIDE_SUBJECT: usize = 56;
const MAX_NAME: usize = 252;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Coding {
    Plain,
    Base64,
}

/// What a bucket is called on the cluster.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) stream: String,
    /// `$KV.<name>.`
    before_key: String,
    coding: Coding,
}

impl Names {
    pub(crate) fn new(prefix: &str, bucket: &[u8], coding: Coding) -> Result<Names, Failure> {
        let is_right = |it: &u8| it.is_ascii_alphanumeric() || b"-_".contains(it);
        let bucket = std::str::from_utf8(bucket).unwrap_or_default();
        let name = format!("{prefix}{bucket}");
        if bucket.is_empty() || name.len() > MAX_NAME || !name.bytes().all(|it| is_right(&it)) {
            return Err(Failure::invalid(format!(
                "a bucket of nats: has a name of letters, digits, - and _, with its prefix at most \
                 {MAX_NAME} bytes"
            )));
        }
        Ok(Names {
            stream: format!("KV_{name}"),
            before_key: format!("$KV.{name}."),
            coding,
        })
    }

    /// The subject of a key.
    pub(crate) fn subject(&self, key: &[u8]) -> Result<String, Failure> {
        let token = match self.coding {
            Coding::Plain => plain(key).ok_or_else(|| {
                Failure::invalid(
                    "a key of nats: has letters, digits and -/_=. with no dot at an end or after \
                     another, or the URL says keys=base64",
                )
            })?,
            Coding::Base64 if key.is_empty() => "=".to_owned(),
            Coding::Base64 if key.len() > MAX_CODED => {
                return Err(Failure::invalid("a key of nats: has at most 3,000 bytes"))
            }
            Coding::Base64 => URL_SAFE_NO_PAD.encode(key),
        };
        let subject = format!("{}{token}", self.before_key);
        match subject.len() > MAX_LINE - BESIDE_SUBJECT {
            true => Err(Failure::invalid("the key is too long for nats:")),
            false => Ok(subject),
        }
    }

    /// The key of a subject. `None`: others have stored it, and it is none.
    pub(crate) fn key(&self, subject: &str) -> Option<Vec<u8>> {
        let token = subject.strip_prefix(&self.before_key)?;
        match (self.coding, token) {
            (Coding::Plain, token) => Some(token.as_bytes().to_vec()),
            (Coding::Base64, "=") => Some(Vec::new()),
            (Coding::Base64, token) => URL_SAFE_NO_PAD.decode(token).ok(),
        }
    }

    /// All subjects of the bucket.
    pub(crate) fn all(&self) -> String {
        format!("{}>", self.before_key)
    }

    /// Subjects among which are those of all keys that begin with this: the whole tokens of it.
    /// `None`: no key does.
    pub(crate) fn beginning(&self, prefix: &[u8]) -> Option<String> {
        if self.coding == Coding::Base64 {
            return Some(self.all());
        }
        let tokens = match prefix.iter().rposition(|it| *it == b'.') {
            Some(at) => &prefix[..at],
            None => return Some(self.all()),
        };
        let subject = format!("{}{}.>", self.before_key, plain(tokens)?);
        (subject.len() <= MAX_LINE).then_some(subject)
    }
}

/// The key, if it is one that NATS has.
fn plain(key: &[u8]) -> Option<String> {
    let is_right = |it: &u8| it.is_ascii_alphanumeric() || b"-/_=.".contains(it);
    let has_empty_token = key.split(|it| *it == b'.').any(<[u8]>::is_empty);
    match key.iter().all(is_right) && !has_empty_token {
        true => String::from_utf8(key.to_vec()).ok(),
        false => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi;

    fn names(coding: Coding) -> Names {
        Names::new("p_", b"b", coding).unwrap()
    }

    #[test]
    fn buckets_have_the_names_of_streams() {
        assert_eq!(names(Coding::Plain).stream, "KV_p_b");
        let long = [b'a'; MAX_NAME];
        assert!(Names::new("", &long, Coding::Plain).is_ok());
        for (prefix, bucket) in [
            ("", &b""[..]),
            ("p", b""),
            ("", b"a.b"),
            ("a.", b"b"),
            ("", b"a b"),
            ("", "ä".as_bytes()),
            ("", b"\xff"),
            ("", b"*"),
            ("p", &long),
        ] {
            let failure = Names::new(prefix, bucket, Coding::Plain).unwrap_err();
            assert_eq!(failure.status, abi::INVALID_ARGUMENT);
        }
    }

    #[test]
    fn keys_are_subjects_and_back() {
        let plain = names(Coding::Plain);
        assert_eq!(plain.subject(b"a/B.c=_-9").unwrap(), "$KV.p_b.a/B.c=_-9");
        assert_eq!(plain.key("$KV.p_b.a.b").unwrap(), b"a.b");
        for key in [
            &b""[..],
            b".",
            b"a.",
            b".a",
            b"a..b",
            b"a b",
            b"a*",
            b">",
            b"\xc3\xa4",
            b"a\0",
        ] {
            assert!(plain.subject(key).is_err(), "{key:?}");
        }
        assert!(plain.subject(&[b'a'; 4096]).is_err());
        let coded = names(Coding::Base64);
        for key in [&b""[..], b".", b"=", b"\0\xff", &[7; MAX_CODED]] {
            let subject = coded.subject(key).unwrap();
            assert!(plain
                .subject(&subject.as_bytes()["$KV.p_b.".len()..])
                .is_ok());
            assert_eq!(coded.key(&subject).unwrap(), key);
        }
        assert!(coded.subject(&[7; MAX_CODED + 1]).is_err());
        assert_eq!(coded.key("$KV.p_b.a.b"), None);
        assert_eq!(coded.key("$KV.other.a"), None);
    }

    #[test]
    fn a_prefix_asks_for_its_whole_tokens() {
        let plain = names(Coding::Plain);
        for (prefix, expected) in [
            (&b""[..], Some("$KV.p_b.>")),
            (b"a", Some("$KV.p_b.>")),
            (b"a.", Some("$KV.p_b.a.>")),
            (b"a.b.c", Some("$KV.p_b.a.b.>")),
            (b"a*.b", None),
            (b".a", None),
        ] {
            assert_eq!(plain.beginning(prefix).as_deref(), expected, "{prefix:?}");
        }
        let coded = names(Coding::Base64);
        assert_eq!(coded.beginning(b"a.b").as_deref(), Some("$KV.p_b.>"));
    }
}
