//! Why a request was not done: one variant for each status of the C interface that the core
//! can answer.

use std::fmt;
use std::io;

/// Why a request was not done.
///
/// ```
/// use kvreg::{Bucket, Error};
///
/// let bucket = Bucket::start()?;
/// match bucket.get::<i64>("milk") {
///     Ok(milk) => println!("{milk}"),
///     Err(Error::NotFound) => println!("no milk"),
///     Err(error) => return Err(error.into()),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// No such name or key.
    NotFound,
    /// The name is taken, and the caller wanted it for itself.
    AlreadyStarted,
    /// The server had ended: not delivered (OTP: `noproc`).
    NoProcess,
    /// The server ended while it had the request.
    ServerDown,
    /// Withdrawn: it has not run and never will.
    Timeout,
    /// The time was up when another thread had begun, and would finish it.
    OutcomeUnknown,
    /// The caller would wait for itself (OTP: `calling_self`).
    CallingSelf,
    /// Not the kind of server that was asked for.
    WrongKind,
    /// The value is of another type, or does not fit into the one that was asked for.
    WrongType,
    /// The argument named here is not one that the function takes.
    InvalidArgument(&'static str),
    /// The key is not as it was expected to be; nothing was changed.
    Conflict,
    /// The limit named here is reached; nothing was changed.
    Limit(&'static str),
    /// An allocation failed; nothing was changed.
    NoMemory,
    /// The update decided to abort.
    Aborted,
    /// What was inherited through `fork` does not work in the child.
    Forked,
    /// The library was shut down.
    ShutDown,
    /// The inbox was closed while it was waited for.
    Closed,
    /// Not possible, for the reason named here.
    Unsupported(&'static str),
    /// The operating system refused what is named here. Its error number is there if it gave one.
    Io {
        /// What was refused.
        what: &'static str,
        /// The system's error number.
        code: Option<i32>,
    },
}

impl Error {
    /// What the operating system refused, and why.
    pub(crate) fn io(what: &'static str, error: &io::Error) -> Error {
        if error.kind() == io::ErrorKind::OutOfMemory {
            return Error::NoMemory;
        }
        let code = error.raw_os_error();
        Error::Io { what, code }
    }

    /// What the operating system refused by the last call of this thread.
    pub(crate) fn last_io(what: &'static str) -> Error {
        Error::io(what, &io::Error::last_os_error())
    }
}

/// What was refused, and what the system says of its error number.
pub(crate) fn refused(what: &str, code: Option<i32>) -> String {
    match code.map(io::Error::from_raw_os_error) {
        Some(error) => format!("{what}: {error}"),
        None => what.to_owned(),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::NotFound => "no such name or key",
            Error::AlreadyStarted => "the name is taken",
            Error::NoProcess => "the server has ended",
            Error::ServerDown => "the server ended while it had the request",
            Error::Timeout => "timed out; the request was withdrawn",
            Error::OutcomeUnknown => "timed out after the request had begun",
            Error::CallingSelf => "the caller would wait for itself",
            Error::WrongKind => "another kind of server",
            Error::WrongType => "the value is of another type",
            Error::Conflict => "the key was changed meanwhile",
            Error::InvalidArgument(what) => return write!(f, "invalid argument: {what}"),
            Error::Limit(what) => return write!(f, "limit reached: {what}"),
            Error::NoMemory => "out of memory",
            Error::Aborted => "the request was refused",
            Error::Forked => "inherited through fork",
            Error::ShutDown => "the library was shut down",
            Error::Closed => "the inbox was closed",
            Error::Unsupported(what) => return write!(f, "not supported: {what}"),
            Error::Io { what, code } => {
                let what = refused(what, *code);
                return write!(f, "the operating system refused: {what}");
            }
        })
    }
}

impl std::error::Error for Error {}
