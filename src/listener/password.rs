//! The password of a listener.

use std::fmt;
use std::hint::black_box;

use crate::error::Error;

/// The longest password, in bytes.
const LIMIT: usize = 1024;

/// What the first line of a connection must tell.
///
/// ```
/// use kvreg::Password;
///
/// let password = Password::new("open sesame")?;
/// assert_eq!(format!("{password:?}"), "Password");
/// assert!(Password::new("two\nlines").is_err());
/// # Ok::<(), kvreg::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Box<[u8]>);

/// It is not shown.
impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

impl Password {
    /// 1 to 1,024 bytes, any but NUL and those that end a line.
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Password, Error> {
        let bytes = bytes.as_ref();
        if bytes.is_empty() || bytes.len() > LIMIT {
            let refused = "a password has 1 to 1024 bytes";
            return Err(Error::InvalidArgument(refused));
        }
        if bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            let refused = "a password has no line break and no NUL";
            return Err(Error::InvalidArgument(refused));
        }
        Ok(Password(bytes.into()))
    }

    /// The bytes of the line that tells it, without the line's end.
    pub(super) fn line_len(&self) -> usize {
        b"AUTH ".len() + self.0.len()
    }

    /// Whether this line is `AUTH` and the password: after one blank, to the end of the line.
    pub(super) fn is_told_by(&self, line: &[u8]) -> bool {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        line.strip_prefix(b"AUTH ")
            .is_some_and(|given| self.is(given))
    }

    /// Takes a time that depends neither on where the two differ nor on how long the password
    /// is: it goes through as many bytes whatever is given.
    fn is(&self, given: &[u8]) -> bool {
        let byte = |bytes: &[u8], at: usize| black_box(bytes.get(at).copied().unwrap_or(0));
        let differ = (0..LIMIT).fold(self.0.len() ^ given.len(), |differ, at| {
            black_box(differ | usize::from(byte(&self.0, at) ^ byte(given, at)))
        });
        black_box(differ) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_password_opens() {
        let password = Password::new("open sesame ").unwrap();
        for line in [
            "AUTH open sesame ",
            "AUTH open sesame \n",
            "AUTH open sesame \r\n",
        ] {
            assert!(password.is_told_by(line.as_bytes()), "{line:?}");
        }
        let long = format!("AUTH open sesame {}", "\0".repeat(2000));
        for line in [
            "",
            "AUTH",
            "AUTH ",
            "AUTH open sesame",
            "AUTH open sesame  ",
            "AUTH open sesame \r\r\n",
            "AUTH  open sesame ",
            "AUTH open sesamE ",
            "AUTH pen sesame ",
            "auth open sesame ",
            " AUTH open sesame ",
            "open sesame ",
            "AUTH open sesame \0",
            &long,
        ] {
            assert!(!password.is_told_by(line.as_bytes()), "{line:?}");
        }
    }

    #[test]
    fn what_cannot_be_told_in_a_line_is_none() {
        for bytes in [&b""[..], b"a\nb", b"a\r", b"\0", &[b'x'; LIMIT + 1]] {
            assert!(Password::new(bytes).is_err());
        }
        let longest = Password::new([b'x'; LIMIT]).unwrap();
        assert!(longest.is_told_by(&[b"AUTH ", &[b'x'; LIMIT][..]].concat()));
        assert!(!longest.is_told_by(&[b"AUTH ", &[b'x'; LIMIT + 1][..]].concat()));
        assert_eq!(format!("{longest:?}"), "Password");
    }
}
