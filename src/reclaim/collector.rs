//! Who is pinned, and what waits to be freed.
//!
//! # The argument
//!
//! Each thread has a participant, which tells the epoch it is pinned in, or 0. To pin, a thread
//! stores the epoch there and passes the light half of a barrier before it looks at anything.
//! What is taken out of a structure is put into the thread's bag; a bag is sealed with the
//! epoch that is read after a full fence, so after all in it was taken out. The epoch moves
//! on when, after the heavy half of the barrier, every participant has 0 or the present epoch. A
//! bag sealed in epoch n is freed from n + 2 on.
//!
//! Why that is enough: let a thread pin and find an object that is taken out later. Its participant
//! was seen by every look that came after its barrier, and any look before that one's barrier
//! belongs to an epoch before the object's bag was sealed, but for one that may be under way
//! and moves the epoch by one. So from the seal's epoch n the epoch reaches n + 1, and cannot
//! reach n + 2 while the participant stands: it holds an epoch of at most n.

use std::collections::VecDeque;

use super::barrier;
use crate::sync::{
    fence, lock, AtomicBool, AtomicPtr, AtomicU64, Mutex, Ordering, ACQUIRED_BY_FENCE,
};

/// Something to be done when no thread is pinned that may still need what it frees.
pub(crate) struct Deferred {
    run: unsafe fn(&mut Words),
    words: Words,
}

type Words = [std::mem::MaybeUninit<usize>; 3];

// SAFETY: made by `Deferred::new` from what may go to another thread.
unsafe impl Send for Deferred {}

impl Deferred {
    /// # Safety
    /// `work` may be run on any thread, when it can no longer harm a reader.
    pub(crate) unsafe fn new<F: FnOnce()>(work: F) -> Deferred {
        const {
            assert!(size_of::<F>() <= size_of::<Words>());
            assert!(align_of::<F>() <= align_of::<Words>());
        }
        /// # Safety
        /// The words hold an `F`, which is taken out here.
        unsafe fn run<F: FnOnce()>(words: &mut Words) {
            // SAFETY: by contract.
            let work = unsafe { words.as_mut_ptr().cast::<F>().read() };
            work();
        }
        let mut words = [std::mem::MaybeUninit::uninit(); 3];
        // SAFETY: it fits, by size and by alignment.
        unsafe { words.as_mut_ptr().cast::<F>().write(work) };
        Deferred {
            run: run::<F>,
            words,
        }
    }

    fn run(mut self) {
        // SAFETY: written in `new`, and consumed once.
        unsafe { (self.run)(&mut self.words) }
    }
}

/// What a thread has taken out, not sealed yet.
pub(crate) type Bag = Vec<Deferred>;

/// Bags that were emptied are used again, up to so many: memory of their size makes the
/// allocator tidy up each time it is asked for.
const SPARE_BAGS: usize = 8;

/// Bags that may wait for who sealed them.
const CROWD: usize = 16;

/// Where a thread tells that it is pinned. Each has cache lines of its own.
#[repr(align(128))]
pub(crate) struct Participant {
    /// The epoch, or 0.
    pinned: AtomicU64,
    is_taken: AtomicBool,
    next: *const Participant,
}

impl Participant {
    /// Nothing is looked at before this.
    #[inline]
    pub(crate) fn pin(&self, collector: &Collector) {
        // Acquire: what is found later is not found before this.
        let epoch = collector.epoch.load(Ordering::Acquire);
        self.pinned.store(epoch, Ordering::Relaxed);
        barrier::light();
    }

    /// Nothing is looked at after this.
    #[inline]
    pub(crate) fn unpin(&self) {
        self.pinned.store(0, Ordering::Release);
    }
}

pub(crate) struct Collector {
    epoch: AtomicU64,
    /// A list that only grows: a participant is given on, never freed.
    participants: AtomicPtr<Participant>,
    /// In the order of their epochs.
    sealed: Mutex<VecDeque<(u64, Bag)>>,
    spare: Mutex<Vec<Bag>>,
    /// Bags that are sealed: a hint, and nothing for the model to explore.
    waiting: std::sync::atomic::AtomicUsize,
}

impl Collector {
    pub(crate) fn new() -> Collector {
        Collector {
            epoch: AtomicU64::new(1),
            participants: AtomicPtr::new(std::ptr::null_mut()),
            sealed: Mutex::new(VecDeque::new()),
            spare: Mutex::new(Vec::new()),
            waiting: std::sync::atomic::AtomicUsize::new(0),
        }
    }

    fn participants(&self) -> impl Iterator<Item = &Participant> {
        // SAFETY: null, or a participant of this list, none of which is freed while it is used.
        let at = |participant: *const Participant| unsafe { participant.as_ref() };
        std::iter::successors(
            at(self.participants.load(Ordering::Acquire)),
            move |participant| at(participant.next),
        )
    }

    /// A participant for the calling thread, until it is given back.
    pub(crate) fn join(&self) -> &Participant {
        let free = |participant: &&Participant| {
            !participant.is_taken.load(Ordering::Relaxed)
                && !participant.is_taken.swap(true, Ordering::Acquire)
        };
        if let Some(participant) = self.participants().find(free) {
            return participant;
        }
        let participant = Box::into_raw(Box::new(Participant {
            pinned: AtomicU64::new(0),
            is_taken: AtomicBool::new(true),
            next: std::ptr::null(),
        }));
        let mut first = self.participants.load(Ordering::Acquire);
        loop {
            // SAFETY: not published yet.
            unsafe { (*participant).next = first };
            match self.participants.compare_exchange(
                first,
                participant,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                // SAFETY: never freed while the collector is used.
                Ok(_) => return unsafe { &*participant },
                Err(other) => first = other,
            }
        }
    }

    pub(crate) fn leave(participant: &Participant) {
        participant.is_taken.store(false, Ordering::Release);
    }

    /// Whether so many bags wait that somebody should see to them.
    #[inline]
    pub(crate) fn is_crowded(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > CROWD
    }

    /// An empty bag, for `len` at least.
    pub(crate) fn bag(&self, len: usize) -> Bag {
        let spare = lock(&self.spare).pop();
        let mut bag = spare.unwrap_or_default();
        bag.reserve(len);
        bag
    }

    /// Closes a bag: what is in it waits for the epoch from now on.
    pub(crate) fn seal(&self, bag: Bag) {
        if bag.is_empty() {
            return;
        }
        fence(Ordering::SeqCst);
        let mut sealed = lock(&self.sealed);
        // Under the lock, so that the queue is in order.
        sealed.push_back((self.epoch.load(Ordering::Relaxed), bag));
        self.waiting.store(sealed.len(), Ordering::Relaxed);
    }

    /// Moves the epoch on if no thread is pinned in an older one.
    pub(crate) fn advance(&self) {
        let epoch = self.epoch.load(Ordering::Acquire);
        if !barrier::heavy() {
            return;
        }
        let is_present = |participant: &Participant| {
            let pinned = participant.pinned.load(ACQUIRED_BY_FENCE);
            pinned == 0 || pinned == epoch
        };
        if !self.participants().all(is_present) {
            return;
        }
        fence(Ordering::SeqCst);
        let next = epoch + 1;
        // Refused if another thread was as fast.
        let _ = self
            .epoch
            .compare_exchange(epoch, next, Ordering::SeqCst, Ordering::Relaxed);
    }

    /// Frees what may be freed; `true` if nothing is left waiting.
    pub(crate) fn free(&self) -> bool {
        loop {
            let bag = {
                let mut sealed = lock(&self.sealed);
                match sealed.front() {
                    None => return true,
                    Some((epoch, _)) if epoch + 2 > self.epoch.load(Ordering::Acquire) => {
                        return false;
                    }
                    Some(_) => {
                        let bag = sealed.pop_front();
                        self.waiting.store(sealed.len(), Ordering::Relaxed);
                        bag
                    }
                }
            };
            let Some((_, mut bag)) = bag else { continue };
            for deferred in bag.drain(..) {
                deferred.run();
            }
            let mut spare = lock(&self.spare);
            if spare.len() < SPARE_BAGS {
                spare.push(bag);
            }
        }
    }
}
