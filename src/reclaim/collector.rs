//! Who is pinned, and when what was taken out may be freed.
//!
//! # The argument
//!
//! Each thread has a participant, which tells the epoch it is pinned in, or 0. To pin, a thread
//! stores the epoch there and passes the light half of a barrier before it looks at anything. A
//! grace period begins when a thread that has taken something out moves the epoch on, to n, and
//! passes the heavy half. It is over when each participant was seen at 0, or at n or more, once:
//! then what was taken out before it is freed.
//!
//! Why that is enough: let a thread be pinned that found an object before it was taken out. If it
//! pinned in epoch n or later, it had read that epoch from the thread that moved it on, or one that
//! came after, and so found the object taken out: a contradiction. So it pinned in an earlier one.
//! If its light half came after the heavy one, it saw all that came before the heavy one, and did
//! not find the object either. So it came before, and every look at its participant from then on
//! sees what it stored there or what it stored later: 0 or a later pin, when it has no use for the
//! object any more. That is so whenever the look comes: it is repeated without another barrier.
//!
//! What a thread did while it was pinned comes before its 0, which is stored with Release, and so
//! before the pin that it stores next, which is not. The language no longer says that of a plain
//! store of the same thread; the processors do, for stores of one thread to one place are seen in
//! their order (on aarch64 what a releasing store orders, later ones to its place inherit).
//! A pin with Release would have each acquiring load after it wait, and there is one in every read.
//!
//! # Who frees
//!
//! A thread keeps what it takes out in a limbo of its own, up to some kilobytes; then it goes
//! through a grace period, and frees all of it. If a reader does not let go at once, it hands its
//! limbo over to the process, and so does a thread that ends. There it waits in three stages: what
//! came since the present grace period began, what waits for the end of that, and what may be
//! freed, of which anybody takes a slice. So a reader that stopped costs each of the others a look
//! at the participants from time to time, and no barriers.
//!
//! What a thread has of its own is bounded by when it looks after it, and what it left to the
//! process by `has_room`, for which writers wait.

use std::cell::{Cell, UnsafeCell};
use std::sync::atomic::AtomicUsize;

use super::barrier;
use super::limbo::{Limbo, RetireWhole};
use crate::sync::{
    fence, lock, spin, AtomicBool, AtomicPtr, AtomicU64, Mutex, Ordering, ACQUIRED_BY_FENCE, SPINS,
};

/// What threads left may grow to, in bytes. With what each has of its own, and with what the
/// allocator adds to each block, that is 32 MiB.
const BOUND: usize = 16 << 20;

/// So little waits for more before a grace period is begun for it.
const LITTLE: usize = 16 << 10;

/// Where a thread tells that it is pinned, and what it has taken out.
#[repr(C, align(128))]
pub(crate) struct Participant {
    /// The epoch, or 0. It has cache lines of its own with what is set once.
    pinned: AtomicU64,
    is_taken: AtomicBool,
    next: *const Participant,
    limbo: Apart<UnsafeCell<Limbo>>,
}

/// In cache lines of its own.
#[repr(align(128))]
struct Apart<T>(T);

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

    /// Looks at what the thread has taken out.
    ///
    /// # Safety
    /// The participant is the calling thread's, and `look` does not come here again.
    #[inline(always)]
    pub(super) unsafe fn with_limbo<R>(&self, look: impl FnOnce(&mut Limbo) -> R) -> R {
        // SAFETY: by contract.
        look(unsafe { &mut *self.limbo.0.get() })
    }
}

pub(crate) struct Collector {
    epoch: AtomicU64,
    /// A list that only grows: a participant is given on, never freed.
    participants: AtomicPtr<Participant>,
    left: Apart<Left>,
}

/// What threads left.
struct Left {
    stages: Mutex<Stages>,
    /// Bytes of blocks, and of wholes: hints, and nothing for the model to explore.
    bytes: AtomicUsize,
    whole_bytes: AtomicUsize,
    /// How many threads have an allowance.
    allowances: AtomicUsize,
}

/// So many threads at a time.
const ALLOWANCES: usize = 4;

struct Stages {
    /// What no grace period was begun for.
    come: Limbo,
    /// What waits for the end of `period`, which is 0 as long as its barrier was not passed.
    waiting: Limbo,
    period: u64,
    /// What may be freed.
    free: Limbo,
    /// Bytes of what somebody is freeing, and how many do.
    taken: usize,
    takers: usize,
    /// Bytes of wholes, as long as there are any.
    whole_bytes: usize,
}

/// What may be freed by who took it. What is left of it is given back.
pub(crate) struct Taken {
    limbo: Limbo,
    bytes: usize,
}

impl Taken {
    /// As `Limbo::free`.
    pub(crate) fn free(&mut self, is_enough: impl FnMut() -> bool) -> bool {
        // SAFETY: its grace period is over.
        unsafe { self.limbo.free(is_enough) }
    }
}

impl Collector {
    pub(crate) fn new() -> Collector {
        Collector {
            epoch: AtomicU64::new(1),
            participants: AtomicPtr::new(std::ptr::null_mut()),
            left: Apart(Left {
                stages: Mutex::new(Stages {
                    come: Limbo::EMPTY,
                    waiting: Limbo::EMPTY,
                    period: 0,
                    free: Limbo::EMPTY,
                    taken: 0,
                    takers: 0,
                    whole_bytes: 0,
                }),
                bytes: AtomicUsize::new(0),
                whole_bytes: AtomicUsize::new(0),
                allowances: AtomicUsize::new(0),
            }),
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
            limbo: Apart(UnsafeCell::new(Limbo::EMPTY)),
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

    /// Gives up a participant of the calling thread, and leaves what it took out to the process.
    ///
    /// # Safety
    /// As of `Participant::with_limbo`; the thread does not use it any more.
    pub(crate) unsafe fn leave(&self, participant: &Participant) {
        // SAFETY: by contract.
        self.hand_over(unsafe { participant.with_limbo(Limbo::take) });
        participant.is_taken.store(false, Ordering::Release);
    }

    /// Begins a grace period for all that was taken out before; `None` if the system refused it.
    fn begin(&self) -> Option<u64> {
        // Release: whoever pins in this epoch finds taken out what was.
        let period = self.epoch.fetch_add(1, Ordering::AcqRel) + 1;
        barrier::heavy().then_some(period)
    }

    /// Whether a grace period is over, whose barrier was passed.
    fn is_over(&self, period: u64) -> bool {
        let is_past = |participant: &Participant| {
            let pinned = participant.pinned.load(ACQUIRED_BY_FENCE);
            pinned == 0 || pinned >= period
        };
        let is_over = self.participants().all(is_past);
        fence(Ordering::SeqCst);
        is_over
    }

    /// Looks a few times: a pin lasts for some hundred nanoseconds, unless its thread does not run.
    fn is_soon_over(&self, period: u64) -> bool {
        for _ in 0..=SPINS {
            if self.is_over(period) {
                return true;
            }
            (0..SPINS).for_each(|_| spin());
        }
        false
    }

    /// Whether a reader was seen pinned through a grace period: the next one would wait for it too.
    fn is_held_up(&self) -> bool {
        let epoch = self.epoch.load(Ordering::Relaxed);
        let is_late = |participant: &Participant| {
            let pinned = participant.pinned.load(Ordering::Relaxed);
            pinned != 0 && pinned < epoch
        };
        self.participants().any(is_late)
    }

    /// Goes through a grace period for what the calling thread took out, which it may free then, and
    /// tells its number.
    /// If a reader does not let go, it is left to the process.
    ///
    /// # Safety
    /// As of `Participant::with_limbo`, and the thread is not pinned.
    pub(crate) unsafe fn take_own(
        &self,
        participant: &Participant,
        last: &Cell<u64>,
    ) -> Option<Taken> {
        // SAFETY: by contract.
        let limbo = unsafe { participant.with_limbo(Limbo::take) };
        if limbo.is_empty() {
            return None;
        }
        let is_over = |period| {
            last.set(period);
            self.is_soon_over(period)
        };
        if self.is_held_up() || !self.begin().is_some_and(is_over) {
            self.hand_over(limbo);
            return None;
        }
        Some(Taken { limbo, bytes: 0 })
    }

    /// Whether nobody has begun a grace period since this one.
    pub(crate) fn is_last_period(&self, period: u64) -> bool {
        self.epoch.load(Ordering::Relaxed) == period
    }

    /// Whether the calling thread may have more than others, until it gives this back.
    pub(crate) fn take_allowance(&self) -> bool {
        let allowances = &self.left.0.allowances;
        let has = allowances.fetch_add(1, Ordering::Relaxed) < ALLOWANCES;
        if !has {
            self.give_allowance_back();
        }
        has
    }

    pub(crate) fn give_allowance_back(&self) {
        self.left.0.allowances.fetch_sub(1, Ordering::Relaxed);
    }

    /// Leaves a limbo to the process.
    fn hand_over(&self, limbo: Limbo) {
        if !limbo.is_empty() {
            let mut stages = lock(&self.left.0.stages);
            stages.come.append(limbo);
            self.note(&mut stages);
        }
    }

    /// Retires as a whole: it is the process' at once.
    ///
    /// # Safety
    /// No reader finds it from here on, and nobody else frees it or a part of it.
    pub(crate) unsafe fn retire_whole<T: RetireWhole>(&self, whole: *mut T, bytes: usize) {
        let mut stages = lock(&self.left.0.stages);
        // SAFETY: by contract.
        unsafe { stages.come.push_whole(whole) };
        stages.whole_bytes += bytes;
        self.note(&mut stages);
    }

    fn note(&self, stages: &mut Stages) {
        let all = [&stages.come, &stages.waiting, &stages.free];
        let bytes = stages.taken + all.iter().map(|limbo| limbo.bytes()).sum::<usize>();
        if stages.takers == 0 && !all.iter().any(|limbo| limbo.has_wholes()) {
            stages.whole_bytes = 0;
        }
        self.left.0.bytes.store(bytes, Ordering::Relaxed);
        let whole_bytes = stages.whole_bytes;
        self.left
            .0
            .whole_bytes
            .store(whole_bytes, Ordering::Relaxed);
    }

    /// Whether nothing is left, as far as is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.left.0.bytes.load(Ordering::Relaxed) == 0 && self.whole_bytes() == 0
    }

    /// Whether so much waits that somebody should see to it.
    #[inline]
    pub(crate) fn is_crowded(&self) -> bool {
        self.left.0.bytes.load(Ordering::Relaxed) > LITTLE || self.whole_bytes() > 0
    }

    /// Of what threads left, and was retired one by one.
    pub(crate) fn left_bytes(&self) -> usize {
        self.left.0.bytes.load(Ordering::Relaxed)
    }

    /// Of what was taken out as a whole, until all of it is freed.
    pub(crate) fn whole_bytes(&self) -> usize {
        self.left.0.whole_bytes.load(Ordering::Relaxed)
    }

    /// Whether a writer may take more out.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.left.0.bytes.load(Ordering::Relaxed) <= BOUND
    }

    /// Takes what threads left and may be freed, if there is any and nobody else looks for it.
    pub(crate) fn take_left(&self) -> Option<Taken> {
        let mut stages = self.left.0.stages.try_lock().ok()?;
        while stages.free.is_empty() {
            if stages.waiting.is_empty() {
                if stages.come.is_empty() {
                    return None;
                }
                stages.waiting = stages.come.take();
                stages.period = 0;
            }
            let is_over = match stages.period {
                0 if self.is_held_up() => return None,
                0 => {
                    stages.period = self.begin()?;
                    self.is_soon_over(stages.period)
                }
                period => self.is_over(period),
            };
            if !is_over {
                return None;
            }
            stages.free = stages.waiting.take();
        }
        let limbo = stages.free.take();
        let bytes = limbo.bytes();
        stages.taken += bytes;
        stages.takers += 1;
        Some(Taken { limbo, bytes })
    }

    /// Gives back what is left of what was taken by `take_left`.
    pub(crate) fn give_back(&self, taken: Taken) {
        let mut stages = lock(&self.left.0.stages);
        stages.taken -= taken.bytes;
        stages.takers -= 1;
        stages.free.append(taken.limbo);
        self.note(&mut stages);
    }
}
