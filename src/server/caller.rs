//! How a caller waits: for how long, and what it gives up first.

use crate::time::{Deadline, Timeout};

/// The caller of one request.
pub struct Caller<'a> {
    timeout: Timeout,
    /// Set when it first has to wait: a request of several steps has one.
    deadline: Option<Deadline>,
    unpin: Option<&'a mut dyn FnMut()>,
}

impl<'a> Caller<'a> {
    pub fn new(timeout: Timeout) -> Caller<'a> {
        Caller {
            timeout,
            deadline: None,
            unpin: None,
        }
    }

    /// A caller that must do something before it waits or runs other people's messages. The
    /// boundary gives up its epoch pin there: a pinned thread that sleeps would keep all
    /// that is replaced meanwhile from being freed.
    pub(crate) fn unpinning(timeout: Timeout, unpin: &'a mut dyn FnMut()) -> Caller<'a> {
        Caller {
            timeout,
            deadline: None,
            unpin: Some(unpin),
        }
    }

    pub(crate) fn timeout(&self) -> Timeout {
        self.timeout
    }

    /// Called before the calling thread may sleep.
    pub(crate) fn unpin(&mut self) {
        if let Some(unpin) = self.unpin.take() {
            unpin();
        }
    }

    /// Called when the short way is barred; starts the clock, once.
    pub(crate) fn begin_blocking(&mut self) -> Deadline {
        self.unpin();
        let timeout = self.timeout;
        *self.deadline.get_or_insert_with(|| timeout.deadline())
    }
}
