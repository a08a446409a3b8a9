//! How many handles lead to a server: it stops when nobody can reach it any more.

use std::sync::atomic::{AtomicU32, Ordering};

#[derive(Default)]
pub(crate) struct HandleCount(AtomicU32);

impl HandleCount {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// From a handle that may be freed meanwhile: `false` if it was the last.
    pub(crate) fn add_another(&self) -> bool {
        let another = |handles: u32| (handles > 0).then_some(handles + 1);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, another)
            .is_ok()
    }

    /// `true` if it was the last.
    pub(crate) fn remove(&self) -> bool {
        self.0.fetch_sub(1, Ordering::AcqRel) == 1
    }

    pub(crate) fn is_none(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }
}
