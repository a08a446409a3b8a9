//! How long somebody waits.

use std::time::{Duration, Instant};

use crate::error::Error;

/// How long a call may wait for its turn. In milliseconds at the C interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// Do it only if there is nothing to wait for, queued messages included.
    Now,
    After(Duration),
    Never,
}

impl Timeout {
    /// What a call gets unless its handle says otherwise (OTP's `GenServer.call`).
    pub const DEFAULT: Timeout = Timeout::from_millis_const(5000);

    const fn from_millis_const(millis: u64) -> Timeout {
        Timeout::After(Duration::from_millis(millis))
    }

    /// Milliseconds; -1 is for ever, 0 only if it need not wait.
    pub fn from_millis(millis: i64) -> Result<Timeout, Error> {
        match millis {
            -1 => Ok(Timeout::Never),
            0 => Ok(Timeout::Now),
            1.. => Ok(Timeout::from_millis_const(millis as u64)),
            _ => Err(Error::InvalidArgument("a timeout is -1 or more")),
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
