//! How a caller waits: for how long, and what it lets go of first.

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

/// The caller of one request.
pub struct Caller<'a> {
    timeout: Timeout,
    /// Set when it first has to wait: a request of several steps has one.
    deadline: Option<Deadline>,
    let_go: Option<&'a mut dyn FnMut()>,
}

impl<'a> Caller<'a> {
    pub fn new(timeout: Timeout) -> Caller<'a> {
        Caller {
            timeout,
            deadline: None,
            let_go: None,
        }
    }

    /// A caller that must do something before it waits or runs other people's messages. The
    /// boundary gives up its epoch pin there: a pinned thread that sleeps would keep all
    /// that is replaced meanwhile from being freed.
    pub(crate) fn letting_go(timeout: Timeout, let_go: &'a mut dyn FnMut()) -> Caller<'a> {
        Caller {
            timeout,
            deadline: None,
            let_go: Some(let_go),
        }
    }

    pub(crate) fn timeout(&self) -> Timeout {
        self.timeout
    }

    /// Called before the calling thread may sleep.
    pub(crate) fn let_go(&mut self) {
        if let Some(let_go) = self.let_go.take() {
            let_go();
        }
    }

    /// Called when the short way is barred; starts the clock, once.
    pub(crate) fn settle_in(&mut self) -> Deadline {
        self.let_go();
        let timeout = self.timeout;
        *self.deadline.get_or_insert_with(|| timeout.deadline())
    }
}
