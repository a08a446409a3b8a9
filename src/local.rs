//! What each thread has, in one place: to find it costs a call in a shared library, so that
//! every function of the interface should do it once.

use std::cell::Cell;

use crate::epoch::Pins;
use crate::handle::Slots;
use crate::leaving::Leaving;
use crate::spare::Spares;
use crate::thread::Own;

/// Nothing here is dropped by itself: it is there until the thread is gone. It begins with all
/// bytes zero, which is a value of every part: null, 0, `false`.
pub(crate) struct Local {
    /// How many levels of calls catch the panics of this thread; see `panic`.
    pub(crate) contained: Cell<u32>,
    /// One of kvreg's own threads.
    pub(crate) is_own: Cell<bool>,
    pub(crate) pins: Pins,
    pub(crate) spares: Spares,
    pub(crate) slots: Slots,
    pub(crate) thread: Own,
    pub(crate) leaving: Leaving,
}

thread_local! {
    // SAFETY: see `Local`.
    static LOCAL: Local = const { unsafe { std::mem::zeroed() } };
}

#[inline(always)]
pub(crate) fn with<R>(work: impl FnOnce(&Local) -> R) -> R {
    LOCAL.with(work)
}
