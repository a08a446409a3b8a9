//! How long somebody waits.

use std::time::{Duration, Instant};

use crate::error::Error;

/// How long a call may wait for its turn.
///
/// Whatever takes one takes a [`Duration`] too, where none at all is [`Timeout::Now`]. A call
/// that timed out is withdrawn: it has not run and never will.
///
/// ```
/// use std::time::Duration;
/// use kvreg::{Bucket, Error, Inbox, Timeout};
///
/// let bucket = Bucket::start()?.with_timeout(Duration::from_millis(500));
/// bucket.put("milk", 1)?;
/// assert_eq!(Inbox::open()?.receive(Timeout::Now), Err(Error::Timeout));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// Do it only if there is nothing to wait for, queued messages included.
    Now,
    /// Wait so long, and no longer.
    After(Duration),
    /// Wait as long as it takes.
    Never,
}

impl From<Duration> for Timeout {
    fn from(wait: Duration) -> Timeout {
        match wait.is_zero() {
            true => Timeout::Now,
            false => Timeout::After(wait),
        }
    }
}

impl Timeout {
    /// What a call gets unless its handle says otherwise (OTP's `GenServer.call`).
    pub const DEFAULT: Timeout = Timeout::from_millis_const(5000);

    const fn from_millis_const(millis: u64) -> Timeout {
        Timeout::After(Duration::from_millis(millis))
    }

    /// Milliseconds, as the C interface has them: -1 is for ever, 0 only if it need not wait.
    pub fn from_millis(millis: i64) -> Result<Timeout, Error> {
        match millis {
            -1 => Ok(Timeout::Never),
            0 => Ok(Timeout::Now),
            1.. => Ok(Timeout::from_millis_const(millis as u64)),
            _ => Err(Error::InvalidArgument("a timeout is -1 or more")),
        }
    }

    /// As `from_millis` takes it; a part of a millisecond is a whole one.
    pub(crate) fn to_millis(self) -> i64 {
        match self {
            Timeout::Now => 0,
            Timeout::After(wait) => {
                i64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
            }
            Timeout::Never => -1,
        }
    }

    /// Starts the clock.
    pub(crate) fn deadline(self) -> Deadline {
        match self {
            Timeout::Now => Deadline(When::Now),
            // What lies beyond the clock's range is never.
            Timeout::After(wait) => Deadline(
                Instant::now()
                    .checked_add(wait)
                    .map_or(When::Never, When::At),
            ),
            Timeout::Never => Deadline(When::Never),
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Deadline(When);

#[derive(Clone, Copy)]
enum When {
    Now,
    At(Instant),
    Never,
}

impl Deadline {
    /// So long from now.
    pub(crate) fn after(wait: Duration) -> Deadline {
        Timeout::After(wait).deadline()
    }

    pub(crate) fn has_passed(&self) -> bool {
        match self.0 {
            When::Now => true,
            When::At(at) => Instant::now() >= at,
            When::Never => false,
        }
    }

    /// What is left to wait; `None` is for ever.
    pub(crate) fn left(&self) -> Option<Duration> {
        match self.0 {
            When::Now => Some(Duration::ZERO),
            When::At(at) => Some(at.saturating_duration_since(Instant::now())),
            When::Never => None,
        }
    }
}
