//! What many threads write and few read: each thread has a part of its own.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Area, ThreadLocal};

/// On cache lines of its own; the processor fetches two at a time.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct Apart<T>(pub(crate) T);

/// More threads share them, which costs time only.
const STRIPES: usize = 16;

/// Counts what is there. What was counted before a look, as threads see it, is in the answer;
/// what is counted meanwhile may be.
#[derive(Default)]
pub(crate) struct Counter([Apart<AtomicUsize>; STRIPES]);

/// Which part a thread has; 0 until it is asked for.
struct Stripe(Cell<usize>);

// SAFETY: none yet; the area is its own.
unsafe impl ThreadLocal for Stripe {
    const AREA: Area = Area::Stripe;
}

static NEXT: AtomicUsize = AtomicUsize::new(1);

impl Counter {
    /// One more.
    pub(crate) fn add(&self) {
        self.own().fetch_add(1, Ordering::Relaxed);
    }

    /// So many more.
    pub(crate) fn add_many(&self, more: usize) {
        self.own().fetch_add(more, Ordering::Relaxed);
    }

    /// One less, whoever counted it.
    pub(crate) fn remove(&self) {
        self.own().fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> usize {
        let parts = self.0.iter().map(|part| part.0.load(Ordering::Relaxed));
        // One that was counted out by another thread than in leaves less than nothing there; and
        // of one that comes and goes meanwhile only the second step may be seen.
        let sum = parts.fold(0, usize::wrapping_add);
        usize::try_from(sum as isize).unwrap_or(0)
    }

    fn own(&self) -> &AtomicUsize {
        let stripe = Stripe::own(|stripe| {
            if stripe.0.get() == 0 {
                stripe.0.set(NEXT.fetch_add(1, Ordering::Relaxed));
            }
            stripe.0.get()
        });
        &self.0[stripe % STRIPES].0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_thread_counts_in_another_counts_out() {
        let counter = Counter::default();
        let step = |change: fn(&Counter)| {
            std::thread::scope(|scope| {
                drop(scope.spawn(|| (0..100).for_each(|_| change(&counter))))
            });
        };
        step(Counter::add);
        step(Counter::add);
        assert_eq!(counter.count(), 200);
        step(Counter::remove);
        assert_eq!(counter.count(), 100);
        step(Counter::remove);
        assert_eq!(counter.count(), 0);
    }
}
