//! Why a server ended: Erlang's exit reasons, as far as they cross a C interface.

use std::fmt;

use crate::memory;

/// Why a server ended. The numbers are those of the C interface.
///
/// ```
/// use kvreg::{Bucket, Event, Inbox, Reason, Timeout};
///
/// let (bucket, inbox) = (Bucket::start()?, Inbox::open()?);
/// inbox.monitor(&bucket)?;
/// bucket.exit(Reason::Killed, "no longer needed")?;
/// match inbox.receive(Timeout::Never)? {
///     Event::Down { reason, detail, .. } => {
///         assert_eq!((reason, &*detail), (Reason::Killed, "no longer needed"));
///     }
///     other => unreachable!("{other:?}"),
/// }
/// # Ok::<(), kvreg::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(i32)]
pub enum Reason {
    /// Stopped, after all that was queued.
    Normal = 0,
    /// Told to end, in good order; not an error.
    Shutdown = 1,
    /// Ended from outside, whatever it was at.
    Killed = 2,
    /// A handler panicked, or a callback said so.
    Crashed = 3,
    /// It had ended before it was monitored.
    NoProc = 4,
}

impl Reason {
    /// The reason of a number of the C interface.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Reason> {
        Some(match number {
            0 => Reason::Normal,
            1 => Reason::Shutdown,
            2 => Reason::Killed,
            3 => Reason::Crashed,
            4 => Reason::NoProc,
            _ => return None,
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Normal => "normal",
            Reason::Shutdown => "shutdown",
            Reason::Killed => "killed",
            Reason::Crashed => "crashed",
            Reason::NoProc => "noproc",
        })
    }
}

/// The longest detail of an exit, in bytes: each monitor's DOWN brings a copy.
pub const DETAIL_LIMIT: usize = 64 << 10;

/// A reason, and what whoever ended the server said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    pub reason: Reason,
    pub detail: String,
}

impl Exit {
    /// An end does not fail for want of memory: a detail that there is none for is left out.
    pub fn new(reason: Reason, detail: &str) -> Exit {
        Exit {
            reason,
            detail: memory::text(detail).unwrap_or_default(),
        }
    }
}
