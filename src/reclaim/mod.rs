//! Reading what others may replace: a pinned thread can follow the pointers it finds, and
//! what is taken out meanwhile is freed when no thread is pinned that may have seen it.
//!
//! A thread never sleeps and never runs user code while it is pinned. What it takes out is
//! freed by [`tidy`], where it is neither pinned nor inside a server. The epoch belongs to the
//! [`Domain`] of a process: in a forked child the parent's threads would stay pinned for ever.
//!
//! This is kvreg's own because a pin is on the way of every call: it costs a store here, and
//! an atomic read-modify-write in the libraries there are.

mod barrier;
mod collector;

use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr;

use crate::runtime::thread_end::{self, PerThread};
use crate::runtime::{self, platform, Base};
use crate::sync::{Area, ThreadLocal};

pub(crate) use barrier::{heavy, light, prepare};
pub(crate) use collector::Collector;
use collector::{Bag, Deferred, Participant};

/// What a process has of this once; it begins with the state of the floor below.
#[repr(C)]
pub(crate) struct Domain {
    base: Base,
    collector: Collector,
}

impl Domain {
    pub(crate) fn new(base: Base) -> Domain {
        Domain {
            base,
            collector: Collector::new(),
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

/// A bag of so many is sealed: each costs the collectors' half of the barrier.
const BAG: usize = 256;

const DEPTH: u32 = 0xffff;
/// The bag is full, or holds something large.
const DUE: u32 = 1 << 16;
const LARGE: u32 = 1 << 17;
/// It has pinned before, and not forked since.
const IS_JOINED: u32 = 1 << 18;
/// The thread ends, or its end would not be noticed: nothing may stay.
const ENDING: u32 = 1 << 19;

/// How often freeing what is large is tried before it is left to the next call.
const ATTEMPTS: usize = 64;

/// What a thread has pinned, and what it has taken out.
pub(crate) struct Pins {
    /// Null until it first pins.
    participant: Cell<*const Participant>,
    domain: Cell<*const Domain>,
    /// How often it is pinned, and what else there is to say of it: `IS_JOINED` alone, most of
    /// the time, says that it is not pinned but ready to be.
    state: Cell<u32>,
    /// Null, or boxed: given up when the thread ends.
    bag: Cell<*mut Bag>,
}

// SAFETY: no participant, no domain and no bag, and not pinned; the area is its own.
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
    end: |_| Pins::own(Pins::end),
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

    fn collector(&self) -> Option<&'static Collector> {
        // SAFETY: null, or that of a process, which is never freed.
        unsafe { self.domain.get().as_ref() }.map(Domain::collector)
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

    #[inline]
    fn push(&self, deferred: Deferred) {
        if self.bag.get().is_null() {
            self.take_new_bag();
        }
        // SAFETY: not null, and this thread's own until `take_bag`.
        let bag = unsafe { &mut *self.bag.get() };
        bag.push(deferred);
        if bag.len() >= BAG {
            self.seal(); // so that anybody can free it
            self.set(DUE);
        }
    }

    #[cold]
    fn take_new_bag(&self) {
        let bag = self.collector().map(|collector| collector.bag(BAG));
        self.bag
            .set(Box::into_raw(Box::new(bag.unwrap_or_default())));
    }

    fn take_bag(&self) -> Option<Box<Bag>> {
        let bag = self.bag.replace(ptr::null_mut());
        // SAFETY: from `Box::into_raw`.
        (!bag.is_null()).then(|| unsafe { Box::from_raw(bag) })
    }

    fn seal(&self) {
        if let (Some(collector), Some(bag)) = (self.collector(), self.take_bag()) {
            collector.seal(*bag);
        }
    }

    /// Leaves nothing behind.
    #[cold]
    fn end(&self) {
        self.seal();
        if let Some(participant) = self.participant() {
            Collector::leave(participant);
        }
        self.participant.set(ptr::null());
        self.clear(IS_JOINED);
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
        if pins.state.get() != IS_JOINED || !ptr::eq(pins.domain.get(), domain) {
            return None;
        }
        // SAFETY: the thread has a participant, of a collector that is never freed.
        let participant = unsafe { &*pins.participant.get() };
        pins.state.set(IS_JOINED + 1);
        participant.pin(&domain.collector);
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
    /// Runs `work` when no thread is pinned that is pinned now.
    pub(crate) fn defer(&self, work: impl FnOnce() + Send + 'static) {
        // SAFETY: it may go to any thread, and depends on no reader.
        unsafe { self.defer_unchecked(work) };
    }

    /// # Safety
    /// `work` may be run on any thread, at any time when no thread is pinned that is now.
    pub(crate) unsafe fn defer_unchecked<F: FnOnce()>(&self, work: F) {
        // SAFETY: by contract.
        let deferred = unsafe { Deferred::new(work) };
        Pins::own(|pins| pins.push(deferred));
    }
}

/// In a forked child: the calling thread has pinned nothing and taken nothing out.
fn forget_parent() {
    Pins::own(|pins| {
        std::mem::forget(pins.take_bag());
        pins.participant.set(ptr::null());
        pins.domain.set(ptr::null());
        pins.state.set(0);
    });
}

/// Notes that the calling thread has retired something large.
pub(crate) fn note_large() {
    Pins::own(|pins| pins.set(DUE | LARGE));
}

/// Frees what the calling thread has taken out, once it is enough or large. Called where the
/// thread is not pinned and holds no turn: what is freed may be anything.
#[inline]
pub(crate) fn tidy() {
    Pins::own(|pins| {
        // What threads left behind that retired little, and are gone, is for all to free.
        let is_crowded = || pins.collector().is_some_and(Collector::is_crowded);
        if pins.depth() == 0 && (pins.has(DUE) || is_crowded()) {
            tidy_now(pins);
        }
    });
}

#[cold]
fn tidy_now(pins: &Pins) {
    if platform::is_ending() {
        return;
    }
    pins.leave_parent();
    pins.clear(DUE);
    pins.seal();
    let Some(collector) = pins.collector() else {
        return;
    };
    collector.advance();
    // What is large must not wait for chance. It takes two steps of the epoch, and each needs
    // every pinned thread to have pinned anew; so this yields between tries, and leaves the
    // rest to the next call in the end.
    let mut is_done = collector.free();
    if pins.clear(LARGE) {
        for attempt in 0..ATTEMPTS {
            if is_done {
                return;
            }
            if attempt > 3 {
                std::thread::yield_now();
            }
            collector.advance();
            is_done = collector.free();
        }
    }
}
