//! The numbers of a bucket's changes, its revisions (G15).
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
//!
//! A bucket of a registry draws its numbers from there, a block at a time, the first at its first
//! change. So whatever changed before, in a bucket that had this name or any other, has a smaller
//! number; no two buckets of a registry share one; and nothing is kept by name. The blocks belong
//! to the registry as its handles know it, which outlives its restarts.

use std::sync::atomic::AtomicU64 as Drawn;
use std::sync::Arc;

use crate::reclaim;
use crate::sync::{fence, AtomicU64, Ordering};

/// So many numbers are drawn at a time, a power of two.
const BLOCK: u64 = 1 << 20;

/// Where the buckets of a registry draw their numbers.
#[derive(Default)]
pub(crate) struct RevisionBlocks {
    /// A hint to nobody: a number, and nothing for the model to explore.
    drawn: Drawn,
}

impl RevisionBlocks {
    /// Numbers after the first and up to the second that are nobody else's; so many at least.
    fn draw(&self, numbers: u64) -> (u64, u64) {
        let blocks = numbers / BLOCK + 1;
        let first = self.drawn.fetch_add(blocks, Ordering::Relaxed);
        // The last of them would be a block's name: none is 0.
        (first * BLOCK, (first + blocks) * BLOCK - 1)
    }

    /// From here on all that are drawn are larger than this one.
    fn pass(&self, number: u64) {
        self.drawn.fetch_max(number / BLOCK + 1, Ordering::Relaxed);
    }
}

#[derive(Default)]
pub(crate) struct Revisions {
    begun: AtomicU64,
    committed: AtomicU64,
    /// Of the last change that came to something.
    last: AtomicU64,
    /// Up to here the numbers are this bucket's. The writer's.
    end: Drawn,
    /// None if it shares them with nobody.
    blocks: Option<Arc<RevisionBlocks>>,
}

impl Revisions {
    pub(crate) fn of(blocks: Option<Arc<RevisionBlocks>>) -> Revisions {
        Revisions {
            blocks,
            ..Revisions::default()
        }
    }

    /// The number of the last change that counts.
    #[inline(always)]
    pub(super) fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    /// The number of a change up to which all are seen by who reads from here on: that of the last,
    /// unless one is under way.
    pub(crate) fn known(&self) -> u64 {
        let committed = self.committed();
        // It may be a later change's, which is about to count.
        self.last.load(Ordering::Relaxed).min(committed)
    }

    /// The last number of the change that was begun last. Who reads it after the collectors' half
    /// of the barrier knows that later changes see what he stored before.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Acquire)
    }

    /// Begins a change of so many numbers, and answers the first of them. The writer's.
    #[inline(always)]
    pub(crate) fn begin(&self, numbers: u64) -> u64 {
        let mut last = self.committed.load(Ordering::Relaxed);
        if self.end.load(Ordering::Relaxed) - last < numbers {
            last = self.draw(last, numbers);
        }
        self.begun.store(last + numbers, Ordering::Relaxed);
        // What the writer looks at from here on is what those stored who read an older `begun`.
        reclaim::light();
        last + 1
    }

    /// Begins a change of this number, which is larger than all before. The writer's.
    pub(crate) fn begin_at(&self, number: u64) {
        self.begun.store(number, Ordering::Relaxed);
        reclaim::light(); // as `begin`
    }

    /// What began last counts, and this is its number, whatever was before. The writer's.
    pub(crate) fn start_over(&self, number: u64) {
        self.begun.store(number, Ordering::Relaxed);
        self.commit();
    }

    /// The first number that `begin` will answer for so many, if nothing begins before. The writer's.
    pub(crate) fn next(&self, numbers: u64) -> u64 {
        let last = self.committed.load(Ordering::Relaxed);
        if self.end.load(Ordering::Relaxed) - last >= numbers {
            return last + 1;
        }
        let before = self.draw(last, numbers);
        // As if what lies between had come to nothing.
        self.begun.store(before, Ordering::Relaxed);
        self.committed.store(before, Ordering::Release);
        before + 1
    }

    /// Goes on behind a number that was used before. The writer's, before there are readers.
    pub(crate) fn go_on_behind(&self, number: u64) {
        if let Some(blocks) = &self.blocks {
            blocks.pass(number);
        }
        let end = match self.blocks {
            Some(_) => number,
            None => u64::MAX,
        };
        self.end.store(end, Ordering::Relaxed);
        self.begun.store(number, Ordering::Relaxed);
        self.commit();
    }

    #[cold]
    fn draw(&self, last: u64, numbers: u64) -> u64 {
        let (before, end) = match &self.blocks {
            Some(blocks) => blocks.draw(numbers),
            None => (last, u64::MAX),
        };
        self.end.store(end, Ordering::Relaxed);
        before
    }

    /// What began last counts. The writer's.
    #[inline(always)]
    pub(crate) fn commit(&self) {
        let begun = self.begun.load(Ordering::Relaxed);
        self.last.store(begun, Ordering::Relaxed);
        self.committed.store(begun, Ordering::Release);
    }

    /// As `commit`, of a change of one number. The writer's.
    #[inline(always)]
    pub(crate) fn commit_one(&self, number: u64) {
        self.last.store(number, Ordering::Relaxed);
        self.committed.store(number, Ordering::Release);
    }

    /// What began last came to nothing. The writer's.
    pub(crate) fn abandon(&self) {
        let begun = self.begun.load(Ordering::Relaxed);
        self.committed.store(begun, Ordering::Release);
    }

    /// The number of the last change that was made, 0 if there was none; `None` while one is under
    /// way, which readers may see already.
    pub(super) fn last(&self) -> Option<u64> {
        let number = self.between_changes()?;
        let last = self.last.load(Ordering::Relaxed);
        self.is_still(number).then_some(last)
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

#[cfg(all(test, feature = "capi"))] // not in the model, whose atomics need a scenario
mod tests {
    use super::*;

    fn change(revisions: &Revisions, numbers: u64) -> u64 {
        let first = revisions.begin(numbers);
        revisions.commit();
        assert_eq!(revisions.last(), Some(first + numbers - 1));
        first
    }

    #[test]
    fn two_buckets_share_no_number() {
        let blocks: Arc<RevisionBlocks> = Arc::default();
        let (one, other) = (
            Revisions::of(Some(Arc::clone(&blocks))),
            Revisions::of(Some(blocks)),
        );
        assert_eq!(one.last(), Some(0));
        assert_eq!(change(&one, 1), 1);
        assert_eq!(change(&other, 1), BLOCK + 1);
        // The rest of a block, but for its last number, and then one more.
        assert_eq!(change(&one, BLOCK - 2), 2);
        assert_eq!(change(&one, 1), 2 * BLOCK + 1);
        // More than a block has, side by side.
        assert_eq!(change(&one, 2 * BLOCK), 3 * BLOCK + 1);
        assert_eq!(change(&other, BLOCK), 6 * BLOCK + 1);
    }

    #[test]
    fn what_came_to_nothing_is_no_last_change() {
        let revisions = Revisions::default();
        assert_eq!(change(&revisions, 1), 1);
        revisions.begin(5);
        assert_eq!(revisions.last(), None);
        revisions.abandon();
        assert_eq!(revisions.last(), Some(1));
        assert_eq!(change(&revisions, 1), 7);
    }

    #[test]
    fn those_of_a_store_go_on() {
        let blocks: Arc<RevisionBlocks> = Arc::default();
        let (one, other) = (
            Revisions::of(Some(Arc::clone(&blocks))),
            Revisions::of(Some(blocks)),
        );
        one.go_on_behind(3 * BLOCK + 5);
        assert_eq!(one.last(), Some(3 * BLOCK + 5));
        assert_eq!(one.next(2), 4 * BLOCK + 1);
        assert_eq!(change(&one, 2), 4 * BLOCK + 1);
        assert_eq!(one.next(1), 4 * BLOCK + 3);
        assert_eq!(change(&other, 1), 5 * BLOCK + 1);
        let alone = Revisions::default();
        alone.go_on_behind(7);
        assert_eq!((alone.next(1), change(&alone, 1)), (8, 8));
    }
}
