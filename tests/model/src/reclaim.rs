//! Reclaiming: the collector, with both halves of its barrier as full fences: what `membarrier`
//! makes of the readers' half is the system's promise. Or without any barrier, where the system
//! refuses it: the readers' half is nothing then.

use crate::runtime::Base;

pub(crate) mod barrier {
    use std::sync::atomic::AtomicBool;

    use crate::sync::{fence, Ordering};

    /// Outside the model; of a scenario, which has a process of its own.
    static IS_REFUSED: AtomicBool = AtomicBool::new(false);

    pub(crate) fn refuse() {
        IS_REFUSED.store(true, Ordering::SeqCst);
    }

    fn is_passed() -> bool {
        let is_passed = !IS_REFUSED.load(Ordering::SeqCst);
        if is_passed {
            fence(Ordering::SeqCst);
        }
        is_passed
    }

    pub(crate) fn light() {
        is_passed();
    }

    pub(crate) fn heavy() -> bool {
        is_passed()
    }
}

#[path = "../../../src/reclaim/collector.rs"]
mod collector;
#[path = "../../../src/reclaim/limbo.rs"]
mod limbo;

pub(crate) use collector::{Collector, Participant};
pub(crate) use limbo::{Retire, RetireWhole, WholeNode};

/// As `Guard::retire` does.
///
/// # Safety
/// The participant is the calling thread's; no reader finds the block from here on.
pub(crate) unsafe fn retire<T: Retire>(participant: &Participant, block: *mut T) {
    // SAFETY: by contract.
    unsafe { participant.with_limbo(|limbo| limbo.push(block, 1 << 20)) };
}

/// Of a process, for the servers of a scenario.
pub(crate) struct Domain(Base);

impl Domain {
    pub(crate) fn new(base: Base) -> Domain {
        Domain(base)
    }

    pub(crate) fn base(&self) -> &Base {
        &self.0
    }
}

/// Stands for a pin where freeing is not explored: what is retired is never freed.
pub(crate) struct Guard(());

impl Guard {
    pub(crate) fn new() -> Guard {
        Guard(())
    }

    pub(crate) fn defer(&self, work: impl FnOnce() + Send + 'static) {
        std::mem::forget(work);
    }

    /// # Safety
    /// None is needed: it is not freed.
    pub(crate) unsafe fn retire<T: Retire>(&self, _block: *mut T, _bytes: usize) {}

    /// # Safety
    /// None is needed: it is not freed.
    pub(crate) unsafe fn retire_whole<T: RetireWhole>(&self, _whole: *mut T, _bytes: usize) {}

    pub(crate) fn count(&self, _bytes: usize) {}
}

/// Nothing waits here.
pub(crate) fn has_room() -> bool {
    true
}

pub(crate) fn pin() -> Guard {
    Guard::new()
}

pub(crate) use barrier::{heavy, light};
