//! How many handles lead to a server: it stops when nobody can reach it any more.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;

use super::{Server, State};

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

/// Handles are counted where it matters: a server with a name goes on without.
impl<S: State> Server<S> {
    #[inline]
    pub(crate) fn is_registered(&self) -> bool {
        self.state().place().is_some()
    }

    fn counted_handles(&self) -> Option<&HandleCount> {
        match self.is_registered() {
            true => None,
            false => self.state().handles(),
        }
    }

    pub(crate) fn add_handle(&self) {
        if let Some(handles) = self.counted_handles() {
            handles.add();
        }
    }

    /// From a handle that may be freed meanwhile: `false` if it was the last.
    pub(crate) fn add_another_handle(&self) -> bool {
        self.counted_handles().is_none_or(HandleCount::add_another)
    }

    /// One that nobody can reach any more is told so.
    pub(crate) fn drop_handle(self: &Arc<Self>) {
        if self.counted_handles().is_some_and(HandleCount::remove) {
            S::unreachable(self);
        }
    }

    pub(crate) fn is_unreachable(&self) -> bool {
        self.counted_handles().is_some_and(HandleCount::is_none)
    }
}
