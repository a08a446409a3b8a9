//! Reading what others may replace: a pinned thread can follow the pointers it finds, and
//! what is taken out meanwhile is freed when no thread is pinned that may have seen it.
//!
//! A thread never sleeps and never runs user code while it is pinned. What it takes out is
//! freed by [`tidy`], where it is neither pinned nor inside a server. The epoch belongs to the
//! [`Domain`] of a process: in a forked child the parent's threads would stay pinned for ever, and
//! what they took out is left where it is.
//!
//! To retire takes no memory (`limbo.rs`), and what waits to be freed is bounded (`collector.rs`):
//! a thread frees what it took out one by one before it has 16 KiB of it (where several do so, a
//! few may have 96 KiB, so that they disturb each other less), and what it cannot free goes to the
//! process, which has a bound too. Who writes waits for room there before it takes a
//! turn ([`wait_for_room`]); what releases does not. What was taken out as a whole, however large,
//! is freed in slices: by a thread of the runtime, or where there is none by those who call.
//!
//! This is kvreg's own because a pin is on the way of every call: it costs a store here, and
//! an atomic read-modify-write in the libraries there are.

mod barrier;
mod collector;
mod freeing;
mod limbo;

use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::atomic::AtomicBool;

use crate::runtime::thread_end::{self, PerThread};
use crate::runtime::{self, Base};
use crate::sync::{Area, ThreadLocal};

pub(crate) use barrier::{heavy, light, prepare};
pub(crate) use collector::Collector;
use collector::Participant;
pub(crate) use freeing::{free_for_writer, has_room, tidy, wait_for_room};
pub(crate) use limbo::{Retire, RetireWhole, WholeNode};

/// What a process has of this once; it begins with the state of the floor below.
#[repr(C)]
pub(crate) struct Domain {
    base: Base,
    collector: Collector,
    /// A thread of the runtime frees what was left, or is about to.
    is_swept: AtomicBool,
}

impl Domain {
    pub(crate) fn new(base: Base) -> Domain {
        Domain {
            base,
            collector: Collector::new(),
            is_swept: AtomicBool::new(false),
        }
    }

    pub(crate) fn base(&self) -> &Base {
        &self.base
    }

    fn collector(&self) -> &Collector {
        &self.collector
    }

    /// The present one, made if there is none.
    fn current() -> &'static Domain {
        let state = runtime::current_or_made();
        // SAFETY: what is published begins with a `Domain`, which begins with its base.
        unsafe { state.cast().as_ref() }
    }
}

/// A thread that took out so many bytes sees to it: a short way may add a little yet, and at rest it
/// has no more than 16 KiB, without an allowance.
const MUCH: usize = 12 << 10;
/// What a thread may have beside that has an allowance.
const ALLOWANCE: usize = 80 << 10;

const DEPTH: u32 = 0xffff;
/// It has taken much out.
const DUE: u32 = 1 << 16;
/// All that can be freed is to be freed, however long it takes.
const LAST: u32 = 1 << 17;
/// It has pinned before, and not forked since.
const IS_JOINED: u32 = 1 << 18;
/// The thread ends, or its end would not be noticed: nothing may stay.
const ENDING: u32 = 1 << 19;
/// The process has no room for more: nothing takes a short way.
const FULL: u32 = 1 << 20;
/// It is freeing something.
const FREES: u32 = 1 << 21;

/// What a thread has pinned, and what it has taken out.
pub(crate) struct Pins {
    /// Null until it first pins.
    participant: Cell<*const Participant>,
    domain: Cell<*const Domain>,
    /// How often it is pinned, and what else there is to say of it: `IS_JOINED` alone, most of
    /// the time, says that it is not pinned but ready to be.
    state: Cell<u32>,
    /// How often it does not look whether others left something that can be freed now.
    patience: Cell<u32>,
    /// 0, or [`ALLOWANCE`].
    allowance: Cell<usize>,
    /// Of the grace period that it last went through.
    period: Cell<u64>,
}

// SAFETY: no participant and no domain, and not pinned; the area is its own.
unsafe impl ThreadLocal for Pins {
    const AREA: Area = Area::Pins;
}

/// Told first of a thread's end: forgets what belongs to the process before a fork.
pub(crate) const PARENT_PER_THREAD: PerThread = PerThread {
    forget: forget_parent,
    end: |_| Pins::own(Pins::leave_parent),
    ..PerThread::NONE
};

/// Told of a thread's end when those above are done, which may still pin and take out.
pub(crate) const PER_THREAD: PerThread = PerThread {
    end: |_| Pins::own(Pins::end_of_thread),
    ..PerThread::NONE
};

impl Pins {
    fn has(&self, flag: u32) -> bool {
        self.state.get() & flag != 0
    }

    fn set(&self, flag: u32) {
        self.state.set(self.state.get() | flag);
    }

    /// Whether the flag was set.
    fn clear(&self, flag: u32) -> bool {
        let had = self.has(flag);
        self.state.set(self.state.get() & !flag);
        had
    }

    fn depth(&self) -> u32 {
        self.state.get() & DEPTH
    }

    fn domain(&self) -> Option<&'static Domain> {
        // SAFETY: null, or that of a process, which is never freed.
        unsafe { self.domain.get().as_ref() }
    }

    fn collector(&self) -> Option<&'static Collector> {
        self.domain().map(Domain::collector)
    }

    fn participant(&self) -> Option<&'static Participant> {
        // SAFETY: as above.
        unsafe { self.participant.get().as_ref() }
    }

    /// Whether it may pin by the participant it has. It may have none, or that of the process that
    /// this one forked from: whichever thread of the child comes first notices the fork for all,
    /// but only the one that forked has something to let go of.
    fn is_ready(&self) -> bool {
        self.has(IS_JOINED) && self.is_of_this_process()
    }

    fn is_of_this_process(&self) -> bool {
        runtime::current().is_some_and(|state| ptr::eq(state.as_ptr(), self.domain.get().cast()))
    }

    /// Gives up what belongs to the process that this one forked from.
    fn leave_parent(&self) {
        if !self.domain.get().is_null() && !self.is_of_this_process() {
            thread_end::forget_parent();
        }
    }

    #[cold]
    fn join(&self) -> &'static Participant {
        self.leave_parent();
        let domain = Domain::current();
        let participant = domain.collector.join();
        self.domain.set(domain);
        self.participant.set(participant);
        self.set(IS_JOINED);
        if !thread_end::may_keep() {
            self.set(ENDING);
        }
        participant
    }

    /// Leaves nothing behind.
    #[cold]
    fn end(&self) {
        if let (Some(collector), Some(participant)) = (self.collector(), self.participant()) {
            // SAFETY: the thread's own, until here.
            unsafe { collector.leave(participant) };
            self.end_allowance(collector);
        }
        self.participant.set(ptr::null());
        self.clear(IS_JOINED);
    }

    /// Whether it may keep for a while what it took out. A barrier disturbs all other threads that
    /// run; alone, a thread needs no allowance.
    fn has_allowance(&self, collector: &Collector) -> bool {
        let bytes = self.participant().map_or(0, |participant| {
            // SAFETY: the thread's own.
            unsafe { participant.with_limbo(|limbo| limbo.bytes()) }
        });
        let period = self.period.get();
        let is_alone = period == 0 || collector.is_last_period(period);
        if self.allowance.get() == 0 && bytes >= MUCH && !is_alone {
            let has = collector.take_allowance();
            self.allowance.set(if has { ALLOWANCE } else { 0 });
        }
        bytes < MUCH + self.allowance.get() && bytes >= MUCH
    }

    /// Whether it had one.
    fn end_allowance(&self, collector: &Collector) -> bool {
        let had = self.allowance.replace(0) > 0;
        if had {
            collector.give_allowance_back();
        }
        had
    }

    fn end_of_thread(&self) {
        self.end();
        self.clear(DUE);
        tidy(); // for threads that end one after the other
    }
}

/// Proof that the calling thread is pinned.
pub(crate) struct Guard(PhantomData<*const ()>);

#[inline]
pub(crate) fn pin() -> Guard {
    Pins::own(|pins| {
        let is_first = pins.depth() == 0;
        let participant = match pins.participant() {
            Some(participant) if !is_first || pins.is_ready() => participant,
            _ => pins.join(),
        };
        pins.state.set(pins.state.get() + 1);
        if is_first {
            if let Some(collector) = pins.collector() {
                participant.pin(collector);
            }
        }
        Guard(PhantomData)
    })
}

/// Runs `work` pinned, where nothing else is to be done before or after it: the thread has
/// pinned before, in the process that has this domain and not in one that it forked from, is
/// not pinned now, and has nothing to free. `work` must not panic, nor pin.
#[inline(always)]
pub(crate) fn fast_pin<R>(
    domain: &'static Domain,
    work: impl FnOnce(&Guard) -> Option<R>,
) -> Option<R> {
    Pins::own(|pins| {
        if pins.state.get() != IS_JOINED {
            return None;
        }
        // SAFETY: the thread has a participant, of a collector that is never freed.
        let participant = unsafe { &*pins.participant.get() };
        pins.state.set(IS_JOINED + 1);
        if !participant.fast_pin(&domain.collector) {
            pins.state.set(pins.state.get() - 1);
            return None;
        }
        let done = work(&ManuallyDrop::new(Guard(PhantomData)));
        participant.unpin();
        pins.state.set(pins.state.get() - 1);
        done
    })
}

impl Drop for Guard {
    #[inline]
    fn drop(&mut self) {
        Pins::own(|pins| {
            pins.state.set(pins.state.get() - 1);
            if pins.depth() == 0 {
                if let Some(participant) = pins.participant() {
                    participant.unpin();
                }
                if pins.has(ENDING) {
                    pins.end();
                }
            }
        });
    }
}

impl Guard {
    /// Frees a block when no thread is pinned that is pinned now. Takes no memory.
    ///
    /// # Safety
    /// No reader finds the block from here on, and it is retired once. `bytes` is what freeing it
    /// gives back.
    #[inline(always)]
    pub(crate) unsafe fn retire<T: Retire>(&self, block: *mut T, bytes: usize) {
        Pins::own(|pins| {
            // SAFETY: a thread that is pinned has a participant, and it is its own; by contract.
            let much = unsafe {
                (*pins.participant.get()).with_limbo(|limbo| {
                    limbo.push(block, bytes);
                    limbo.bytes() >= MUCH + pins.allowance.get()
                })
            };
            if much {
                pins.set(DUE);
            }
        });
    }

    /// Counts bytes that go with a block that was just retired.
    pub(crate) fn count(&self, bytes: usize) {
        Pins::own(|pins| {
            // SAFETY: as in `retire`.
            let much = unsafe {
                (*pins.participant.get()).with_limbo(|limbo| {
                    limbo.count(bytes);
                    limbo.bytes() >= MUCH + pins.allowance.get()
                })
            };
            if much {
                pins.set(DUE);
            }
        });
    }

    /// As `retire`, of what is freed in slices: it may be large. Takes no memory.
    ///
    /// # Safety
    /// As of `retire`, for all that belongs to it.
    pub(crate) unsafe fn retire_whole<T: RetireWhole>(&self, whole: *mut T, bytes: usize) {
        Pins::own(|pins| {
            if let Some(collector) = pins.collector() {
                // SAFETY: by contract.
                unsafe { collector.retire_whole(whole, bytes) };
            }
            pins.set(DUE);
        });
    }

    /// Runs `work` when no thread is pinned that is pinned now. It takes memory: what releases
    /// something retires it instead.
    pub(crate) fn defer<F: FnOnce() + Send + 'static>(&self, work: F) {
        let link = ptr::null_mut();
        let deferred = Box::into_raw(Box::new(Deferred { link, work }));
        // SAFETY: boxed just now, and it depends on no reader.
        unsafe { self.retire(deferred, size_of::<Deferred<F>>()) };
    }
}

struct Deferred<F> {
    link: *mut (),
    work: F,
}

// SAFETY: its own word; and the work may go to any thread.
unsafe impl<F: FnOnce() + Send + 'static> Retire for Deferred<F> {
    unsafe fn link(block: *mut Self) -> *mut *mut () {
        // SAFETY: by contract.
        unsafe { &raw mut (*block).link }
    }

    unsafe fn free(block: *mut Self) {
        // SAFETY: boxed by `defer`.
        let deferred = unsafe { Box::from_raw(block) };
        (deferred.work)();
    }
}

/// In a forked child: the calling thread has pinned nothing and taken nothing out.
fn forget_parent() {
    Pins::own(|pins| {
        pins.participant.set(ptr::null());
        pins.domain.set(ptr::null());
        pins.state.set(0);
        pins.allowance.set(0);
    });
}

/// Has the next `tidy` free all that can be freed, however long that takes: for the end of all.
pub(crate) fn tidy_all() {
    Pins::own(|pins| pins.set(DUE | LAST));
}
