//! A limit that several may draw on: what is used, and what waits in mailboxes to be used.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use crate::error::Error;

#[derive(Debug)]
pub(crate) struct Budget {
    what: &'static str,
    limit: usize,
    used: AtomicUsize,
    reserved: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(what: &'static str, limit: usize) -> Arc<Budget> {
        Arc::new(Budget {
            what,
            limit,
            used: AtomicUsize::new(0),
            reserved: AtomicUsize::new(0),
        })
    }

    /// `None` where there is no limit to be kept.
    pub(crate) fn limited(what: &'static str, limit: usize) -> Option<Arc<Budget>> {
        (limit != usize::MAX).then(|| Budget::new(what, limit))
    }

    /// Uses `more` in the place of `less`; refused if that is beyond the limit.
    pub(crate) fn change(&self, less: usize, more: usize) -> Result<(), Error> {
        if more <= less {
            self.give_back(less - more);
            return Ok(());
        }
        let grown = |used: usize| used.checked_add(more - less).filter(|it| *it <= self.limit);
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown)
            .map(|_| ())
            .map_err(|_| Error::Limit(self.what))
    }

    /// Whether `change` would do it, as it is now.
    pub(crate) fn has_room(&self, less: usize, more: usize) -> bool {
        let used = self.used.load(Ordering::Relaxed);
        more <= less || used.saturating_add(more - less) <= self.limit
    }

    /// Whether `more` would fit if `gone` of what is used were not.
    pub(crate) fn could_hold(&self, gone: usize, more: usize) -> bool {
        let rest = self.used.load(Ordering::Relaxed).saturating_sub(gone);
        rest.saturating_add(more) <= self.limit
    }

    /// Undoes a `change`, whatever others have used since: this may pass the limit.
    pub(crate) fn undo(&self, less: usize, more: usize) {
        self.used.fetch_add(less, Ordering::Relaxed);
        self.give_back(more);
    }

    pub(crate) fn give_back(&self, less: usize) {
        self.used.fetch_sub(less, Ordering::Relaxed);
    }

    /// Counts what waits to be used, as if nothing were replaced by it; refused if it would
    /// not fit. Two threads may both be refused where one would have fitted.
    pub(crate) fn reserve(self: &Arc<Self>, more: usize) -> Result<Reservation, Error> {
        let before = self.reserved.fetch_add(more, Ordering::Relaxed);
        let reservation = Reservation(Arc::clone(self), more);
        let used = self.used.load(Ordering::Relaxed);
        match used.saturating_add(before).saturating_add(more) <= self.limit {
            true => Ok(reservation),
            false => Err(Error::Limit(self.what)),
        }
    }
}

/// What waits, until it is dropped.
#[derive(Debug)]
pub(crate) struct Reservation(Arc<Budget>, usize);

impl Drop for Reservation {
    fn drop(&mut self) {
        self.0.reserved.fetch_sub(self.1, Ordering::Relaxed);
    }
}
