//! Who is pinned, and when what was taken out may be freed.
//!
//! # The argument
//!
//! Each thread has a participant, which tells the epoch that it pinned in last, and whether it is
//! pinned. To pin, a thread stores the epoch there and passes the light half of a barrier before it
//! looks at anything. A grace period begins when a thread that has taken something out moves the
//! epoch on, to n. It is over when of each participant one of three things was seen, once; then what
//! was taken out before it is freed:
//!
//! 1. It tells n or more. Then its thread was not pinned for a moment after it had read n, and what
//!    it looks at since, it looks at after it had read n: it finds everything taken out. So threads
//!    that call all the while end a grace period without any barrier.
//! 2. It is not pinned, and the heavy half was passed after the epoch was moved on. Let its thread
//!    be pinned nevertheless, and have found an object before that was taken out. If its light half
//!    came after the heavy one, it saw all that came before the heavy one, and did not find the
//!    object. So it came before, and every look at its participant from then on sees what it stored
//!    there or what it stored later: that it is pinned, or a later pin, when it has no use for the
//!    object any more. That is so whenever the look comes: it is repeated without another barrier.
//! 3. It is not pinned, and away: its thread will pass a full fence before it looks at anything.
//!    So it finds taken out what was before the fence with which the grace period began, or that
//!    fence came later, and its pin was seen.
//!
//! The heavy half interrupts all threads that run, which takes tens of microseconds on a virtual
//! machine. So a few looks come first, and who has it passed makes those away that did not call
//! meanwhile: before it, it writes into the participant that it is leaving, and in which period; and
//! after it, that it is away, if the former still stands there. Its thread looks for this after each
//! pin, behind the light half: a pin before the heavy half was seen, and one after it sees that it
//! is leaving. It passes a full fence then, writes that it is here, and so is none of the third kind
//! any more. Three looks tell that a participant is: not pinned, away, not pinned. The second sees
//! all pins from before it was away, and so does the third. The first is for the pins after it came
//! back: if the fence there was before that of the grace period, it sees the pin behind which that
//! fence is, or what was stored later, and then the second look sees that it came back.
//!
//! What a thread did while it was pinned comes before the end of its pin, which is stored with
//! Release, and so before the pin that it stores next, which is not (`AFTER_RELEASE`): a pin with
//! Release would have each acquiring load after it wait, and there is one in every read.
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
use crate::sync::{fence, lock, spin, AtomicBool, AtomicPtr, AtomicU64, Mutex, Ordering};
use crate::sync::{AFTER_RELEASE, SPINS};

/// What threads left may grow to, in bytes. With what each has of its own, and with what the
/// allocator adds to each block, that is 32 MiB.
const BOUND: usize = 16 << 20;

/// So little waits for more before a grace period is begun for it.
const LITTLE: usize = 16 << 10;

/// Set in an epoch, and in what a participant tells while it is pinned.
const PINNED: u64 = 1;

/// From an epoch to the next.
const STEP: u64 = 2;

/// Its thread passes a fence before it looks at anything. Neither this nor what [`leaving`] tells is
/// the address of a collector, which says that it need not.
const AWAY: u64 = 1;

/// It is being found out, by who began this grace period, whether it is away.
fn leaving(period: u64) -> u64 {
    period << 2 | 2
}

/// Where a thread tells that it is pinned, and what it has taken out.
#[repr(C, align(128))]
pub(crate) struct Participant {
    /// The epoch that it pinned in last, without `PINNED` while it is not pinned. It has cache
    /// lines of its own with what is seldom set.
    pinned: AtomicU64,
    /// [`here`](Collector::here), [`leaving`] or [`AWAY`].
    presence: AtomicU64,
    is_taken: AtomicBool,
    next: *const Participant,
    limbo: Apart<UnsafeCell<Limbo>>,
}

/// In cache lines of its own.
#[repr(align(128))]
struct Apart<T>(T);

impl Participant {
    fn begin_pin(&self, collector: &Collector) {
        // Acquire: what is found later is not found before this.
        let epoch = collector.epoch.load(Ordering::Acquire);
        self.pinned.store(epoch, AFTER_RELEASE);
        barrier::light();
    }

    /// Nothing is looked at before this.
    #[inline]
    pub(crate) fn pin(&self, collector: &Collector) {
        self.begin_pin(collector);
        if self.presence.load(Ordering::Relaxed) != collector.here() {
            self.come_back(collector);
        }
    }

    /// As `pin`; `false` if it is not pinned, since that takes longer, or is of another collector.
    #[inline(always)]
    pub(crate) fn fast_pin(&self, collector: &Collector) -> bool {
        self.begin_pin(collector);
        let is_here = self.presence.load(Ordering::Relaxed) == collector.here();
        if !is_here {
            self.unpin();
        }
        is_here
    }

    #[cold]
    fn come_back(&self, collector: &Collector) {
        fence(Ordering::SeqCst);
        self.presence.store(collector.here(), Ordering::Relaxed);
    }

    /// Nothing is looked at after this.
    #[inline]
    pub(crate) fn unpin(&self) {
        let pinned = self.pinned.load(Ordering::Relaxed);
        self.pinned.store(pinned & !PINNED, Ordering::Release);
    }

    /// For who is not pinned, nor will be for a while: nobody waits for this thread.
    pub(crate) fn step_aside(&self) {
        // Release: who sees it sees that it is not pinned.
        self.presence.swap(AWAY, Ordering::Release);
    }

    /// Whether it has no part in a grace period any more.
    fn is_past(&self, period: &Period) -> bool {
        let is_unpinned = |pinned: u64| pinned & PINNED == 0;
        let first = self.pinned.load(Ordering::Acquire);
        first | PINNED >= period.number
            || is_unpinned(first)
                && (period.has_barrier
                    || self.presence.load(Ordering::Acquire) == AWAY
                        && is_unpinned(self.pinned.load(Ordering::Acquire)))
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

/// A grace period that has begun.
#[derive(Clone, Copy)]
struct Period {
    number: u64,
    /// The heavy half of the barrier was passed since it began.
    has_barrier: bool,
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
    /// What waits for the end of `period`, if that has begun.
    waiting: Limbo,
    period: Option<Period>,
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
            epoch: AtomicU64::new(PINNED),
            participants: AtomicPtr::new(std::ptr::null_mut()),
            left: Apart(Left {
                stages: Mutex::new(Stages {
                    come: Limbo::EMPTY,
                    waiting: Limbo::EMPTY,
                    period: None,
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

    /// What a participant says whose thread passes no fence to pin.
    fn here(&self) -> u64 {
        std::ptr::from_ref(self).addr() as u64
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
            presence: AtomicU64::new(AWAY),
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
        participant.step_aside();
        participant.is_taken.store(false, Ordering::Release);
    }

    /// Begins a grace period for all that was taken out before, by who is not pinned.
    fn begin(&self, own: Option<&Participant>) -> Period {
        // Release: whoever pins in this epoch finds taken out what was.
        let number = self.epoch.fetch_add(STEP, Ordering::AcqRel) + STEP;
        fence(Ordering::SeqCst); // whoever comes back later finds it taken out
        if let Some(own) = own {
            own.pinned.store(number & !PINNED, Ordering::Release);
        }
        Period {
            number,
            has_barrier: false,
        }
    }

    /// Whether a grace period is over.
    fn is_over(&self, period: &Period) -> bool {
        self.participants().all(|it| it.is_past(period))
    }

    /// Looks a few times: a pin lasts for some hundred nanoseconds, unless its thread does not run.
    fn is_soon_over(&self, period: &Period) -> bool {
        for _ in 0..=SPINS {
            if self.is_over(period) {
                return true;
            }
            (0..SPINS).for_each(|_| spin());
        }
        false
    }

    /// Has all threads pass a barrier, and finds out who is away; `false` if the system refused it.
    fn pass_barrier(&self, period: &mut Period) -> bool {
        let leaving = leaving(period.number);
        for participant in self.participants() {
            let presence = participant.presence.load(Ordering::Relaxed);
            let is_pinned = participant.pinned.load(Ordering::Relaxed) & PINNED != 0;
            if presence != AWAY && !is_pinned && !participant.is_past(period) {
                let _ = participant.presence.compare_exchange(
                    presence,
                    leaving,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
            }
        }
        period.has_barrier = barrier::heavy();
        if period.has_barrier {
            for participant in self.participants() {
                // Release: who sees it sees each pin that was before the barrier.
                let _ = participant.presence.compare_exchange(
                    leaving,
                    AWAY,
                    Ordering::Release,
                    Ordering::Relaxed,
                );
            }
        }
        period.has_barrier
    }

    /// Sees to it that a grace period which has just begun ends, unless a reader does not let go;
    /// `false` if it has not ended.
    fn go_through(&self, period: &mut Period) -> bool {
        self.is_soon_over(period) || self.pass_barrier(period) && self.is_soon_over(period)
    }

    /// Whether a reader was seen pinned through a grace period: the next one would wait for it too.
    fn is_held_up(&self) -> bool {
        let epoch = self.epoch.load(Ordering::Relaxed);
        let is_late = |participant: &Participant| {
            let pinned = participant.pinned.load(Ordering::Relaxed);
            pinned & PINNED != 0 && pinned < epoch
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
        let is_over = || {
            let mut period = self.begin(Some(participant));
            last.set(period.number);
            self.go_through(&mut period)
        };
        if self.is_held_up() || !is_over() {
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
    /// `own` is the calling thread's, which is not pinned.
    pub(crate) fn take_left(&self, own: Option<&Participant>) -> Option<Taken> {
        let mut stages = self.left.0.stages.try_lock().ok()?;
        while stages.free.is_empty() {
            if stages.waiting.is_empty() {
                if stages.come.is_empty() {
                    return None;
                }
                stages.waiting = stages.come.take();
                stages.period = None;
            }
            let is_over = match &mut stages.period {
                None if self.is_held_up() => return None,
                begun @ None => self.go_through(begun.insert(self.begin(own))),
                Some(period) if period.has_barrier => self.is_over(period),
                Some(period) => self.go_through(period), // it was refused
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
