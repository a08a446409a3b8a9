//! The numbers of a bucket's changes.
//!
//! # The argument
//!
//! A change begins with a number, which it stores in `begun`; the entries that it makes have it as
//! their revision; when all of them count it stores the number in `committed` (Release). There is
//! one writer, so no two changes are under way. Who finds `committed` and `begun` the same, reads
//! whatever he likes, and then finds `begun` as it was, has read what was there between two
//! changes: the entries that a later change made are stored (Release) after its `begun`, and who
//! reads one of them (Acquire) finds that `begun` too.
//!
//! A number whose change came to nothing is not used again.

use crate::reclaim;
use crate::sync::{fence, AtomicU64, Ordering};

#[derive(Default)]
pub(super) struct Revisions {
    begun: AtomicU64,
    committed: AtomicU64,
}

impl Revisions {
    /// The number of the last change that counts.
    #[inline(always)]
    pub(super) fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    /// The last number of the change that was begun last. Who reads it after the collectors' half
    /// of the barrier knows that later changes see what he stored before.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Acquire)
    }

    /// Begins a change of so many numbers, and answers the first of them. The writer's.
    #[inline(always)]
    pub(super) fn begin(&self, numbers: u64) -> u64 {
        let last = self.committed.load(Ordering::Relaxed);
        self.begun.store(last + numbers, Ordering::Relaxed);
        // What the writer looks at from here on is what those stored who read an older `begun`.
        reclaim::light();
        last + 1
    }

    /// What began last counts. The writer's.
    #[inline(always)]
    pub(super) fn commit(&self) {
        let begun = self.begun.load(Ordering::Relaxed);
        self.committed.store(begun, Ordering::Release);
    }

    /// The number of the last change, if none is under way.
    pub(super) fn between_changes(&self) -> Option<u64> {
        let committed = self.committed();
        (self.begun() == committed).then_some(committed)
    }

    /// Whether no change began since the number was the last.
    pub(super) fn is_still(&self, number: u64) -> bool {
        fence(Ordering::Acquire);
        self.begun.load(Ordering::Relaxed) == number
    }
}
