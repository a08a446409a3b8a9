//! Why a message has no answer: as its handler says it, and as its caller is told.

use std::fmt;

use crate::error::Error;
use crate::reason::DETAIL_LIMIT;
use crate::user_server::{Refusal, Said};
use crate::value::Text;

/// Why a handler has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unanswered {
    /// Refused: who called gets [`Error::Aborted`] with this text, and the server lives.
    Refused(String),
    /// The server ends with the reason CRASHED and this detail; who called gets
    /// [`Error::ServerDown`].
    Crashed(String),
    /// The server does not know the message: [`Error::Unsupported`].
    Unknown,
    /// The answer comes later, by what [`Context::defer`](crate::Context::defer) gave.
    Later,
}

impl Unanswered {
    /// Refuses the message.
    pub fn refused(why: impl Into<String>) -> Unanswered {
        Unanswered::Refused(why.into())
    }

    pub(super) fn said(self) -> Said {
        match self {
            Unanswered::Refused(why) => Said::Abort(text(&why)),
            Unanswered::Crashed(why) => Said::Crash(text(&why)),
            Unanswered::Unknown => Said::Unhandled,
            Unanswered::Later => Said::Later,
        }
    }
}

/// What another server did not do is the end of this one, unless its handler says otherwise.
impl From<Error> for Unanswered {
    fn from(error: Error) -> Unanswered {
        Unanswered::Crashed(error.to_string())
    }
}

impl From<NotAnswered> for Unanswered {
    fn from(refused: NotAnswered) -> Unanswered {
        Unanswered::Crashed(refused.to_string())
    }
}

/// A text that is said of an end, as long as it may be.
pub(super) fn text(said: &str) -> Option<Text> {
    let most = said.len().min(DETAIL_LIMIT);
    let end = (0..=most).rev().find(|at| said.is_char_boundary(*at))?;
    match end {
        0 => None,
        end => Text::copy(&said.as_bytes()[..end]).ok(),
    }
}

/// Why a call has no answer, and what its server said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAnswered {
    /// Why.
    pub error: Error,
    /// What the server said, of [`Error::Aborted`] and a failed start; else empty.
    pub text: String,
}

impl fmt::Display for NotAnswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text.is_empty() {
            true => self.error.fmt(f),
            false => self.text.fmt(f),
        }
    }
}

impl std::error::Error for NotAnswered {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl From<Error> for NotAnswered {
    fn from(error: Error) -> NotAnswered {
        NotAnswered {
            error,
            text: String::new(),
        }
    }
}

/// What was said is lost, and why it was not answered stays.
impl From<NotAnswered> for Error {
    fn from(refused: NotAnswered) -> Error {
        refused.error
    }
}

impl From<Refusal> for NotAnswered {
    fn from(refusal: Refusal) -> NotAnswered {
        let said = refusal.text.as_ref().and_then(Text::as_str);
        NotAnswered {
            text: said.unwrap_or_default().to_owned(),
            error: refusal.error,
        }
    }
}
