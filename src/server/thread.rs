//! What the core knows of a thread that calls: whether it sits inside a server's turn (then
//! waiting may close a circle) and whether casts of its own are still queued somewhere (then
//! a read must look whether it may pass them).
//!
//! # The argument
//!
//! A thread calls until it is gone: from the destructors of its thread-local storage too, in any
//! order. So what says who it is lies in storage without a destructor ([`Own`]), and its number is
//! never given twice: a envelope, an occupied turn or an edge that outlives the thread belongs to
//! nobody else.
//!
//! What other threads change (they handle its casts, and may end its updates) lies in a record with
//! a count: one for the thread, one for each cast and each turn. The thread gives its count up when
//! `thread_end` tells it to, which may be followed by more calls and by no more notice. From then
//! on nothing may stay behind with it. It has a record only as long as it holds a turn, and its
//! casts are counted nowhere: `has_queued` is always true, so that its reads look at the queues,
//! where each envelope has its sender's number. Between those times `record` leads to [`late`],
//! which all such threads share.
//!
//! A turn that may outlast the call that took it stands in its thread's record (`open`). It is
//! taken out of [`Held`] once: by who ends it, or by its thread as that ends.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::sync::atomic::AtomicPtr;

use crate::error::Error;
use crate::runtime::thread_end::{self, PerThread};
use crate::sync::raw_arc::{keep, kept};
use crate::sync::{lock, Area, ThreadLocal};
use crate::sync::{Arc, AtomicU64, AtomicUsize, Mutex, Ordering};

/// So many turns a thread may hold at once: each is a frame of the user's on its stack.
const TURNS: usize = 256;

/// A thread's own, without a destructor.
struct Own {
    /// 0 until it is asked for.
    id: Cell<u64>,
    /// Null until it is needed; a count of it is this thread's, unless it is that of `late`.
    record: Cell<*const ()>,
}

// SAFETY: no number and no record yet; the area is its own.
unsafe impl ThreadLocal for Own {
    const AREA: Area = Area::Turns;
}

pub(crate) const PER_THREAD: PerThread = PerThread {
    forget: || Own::own(Own::forget_parent),
    end: |aborts| {
        if aborts {
            abort_open();
            Own::own(Own::release); // what another thread still ends has a count of its own
        }
        Own::own(Own::becomes_late);
    },
    ..PerThread::NONE
};

/// What others share with a thread.
pub(crate) struct Thread {
    /// Turns that user code of this thread holds now.
    turns: AtomicUsize,
    /// Casts of this thread that are queued or being handled, at all servers together.
    queued: AtomicUsize,
    /// What it has to give back before it is gone.
    open: Mutex<Vec<Arc<dyn Open>>>,
}

/// Holds a turn beyond the call that took it.
pub(crate) trait Open: Send + Sync {
    /// The thread that began it ends: as if it were ended with nothing changed.
    fn abort(&self);
}

/// How long a turn is held.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lasts {
    /// Until the call that takes it returns.
    Call,
    /// Until another call ends it.
    Open,
}

/// Not the model's: a number that others only compare has no order to explore.
static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);

static LATE: AtomicPtr<()> = AtomicPtr::new(std::ptr::null_mut());

/// Of all threads that are about to be gone: holds no turn, and has a cast queued for ever.
fn late() -> *const () {
    let there = LATE.load(Ordering::Acquire);
    if !there.is_null() {
        return there;
    }
    let made = keep(Thread::new(1)).cast_mut();
    match LATE.compare_exchange(
        std::ptr::null_mut(),
        made,
        Ordering::AcqRel,
        Ordering::Acquire,
    ) {
        Ok(_) => made,
        Err(faster) => {
            // SAFETY: not published.
            drop(ManuallyDrop::into_inner(unsafe { kept::<Thread>(made) }));
            faster
        }
    }
}

impl Own {
    fn id(&self) -> u64 {
        if self.id.get() == 0 {
            self.id.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        self.id.get()
    }

    /// Asks the record, if there is one.
    #[inline]
    fn ask(&self, question: impl FnOnce(&Thread) -> bool) -> bool {
        let record = self.record.get();
        if record.is_null() {
            return false;
        }
        // SAFETY: kept by this thread's count, or never freed.
        let record = unsafe { kept::<Thread>(record) };
        question(&record)
    }

    fn is_record(&self, other: &Thread) -> bool {
        self.ask(|me| std::ptr::eq(me, other))
    }

    fn has_none(&self) -> bool {
        let record = self.record.get();
        record.is_null() || std::ptr::eq(record, LATE.load(Ordering::Acquire))
    }

    /// The record, made if there is none.
    fn record(&self) -> Arc<Thread> {
        if self.has_none() {
            // What was sent while nothing was counted counts for ever.
            let is_counted = thread_end::may_keep() && self.record.get().is_null();
            let made = Thread::new(usize::from(!is_counted));
            self.record.set(keep(made));
        }
        // SAFETY: this thread's count.
        let record = unsafe { kept::<Thread>(self.record.get()) };
        Arc::clone(&record)
    }

    /// Gives the thread's count up.
    fn release(&self) {
        if !self.has_none() {
            // SAFETY: the thread's own count, which it has no more.
            let record = unsafe { kept::<Thread>(self.record.replace(std::ptr::null())) };
            drop(ManuallyDrop::into_inner(record));
        }
    }

    /// From here on the record may be needed no more, and nobody would say when.
    fn becomes_late(&self) {
        if self.ask(|me| me.turns.load(Ordering::Relaxed) > 0) {
            self.ask(|me| me.queued.fetch_add(1, Ordering::Relaxed) > 0);
        } else {
            self.release();
            self.record.set(late());
        }
    }

    /// In a forked child: the thread holds nothing and has sent nothing, and is another one
    /// than the parent's.
    fn forget_parent(&self) {
        self.id.set(0);
        if !self.has_none() {
            // SAFETY: this thread's count. One that the parent's objects know too is theirs.
            let mine = unsafe { kept::<Thread>(self.record.get()) };
            if Arc::strong_count(&mine) > 1 {
                self.record.set(std::ptr::null());
            }
        }
    }

    fn pop_open(&self) -> Option<Arc<dyn Open>> {
        if self.has_none() {
            return None;
        }
        // SAFETY: this thread's count.
        let record = unsafe { kept::<Thread>(self.record.get()) };
        let last = lock(&record.open).pop();
        last
    }
}

/// Gives back what the calling thread still holds.
pub(crate) fn abort_open() {
    // Each without the lock and outside the thread's own: it may take any other, and ask for those.
    while let Some(open) = Own::own(Own::pop_open) {
        open.abort();
    }
}

impl Thread {
    fn new(queued: usize) -> Arc<Thread> {
        Arc::new(Thread {
            turns: AtomicUsize::new(0),
            queued: AtomicUsize::new(queued),
            open: Mutex::new(Vec::new()),
        })
    }

    /// The number of the calling thread.
    pub(crate) fn id() -> u64 {
        Own::own(Own::id)
    }

    /// Whether user code of the calling thread holds a turn: only then can anybody wait for it.
    #[inline]
    pub(crate) fn holds_a_turn() -> bool {
        Own::own(|own| own.ask(|me| me.turns.load(Ordering::Relaxed) > 0))
    }

    /// Whether the calling thread may take another turn.
    pub(crate) fn may_hold_another(lasts: Lasts) -> Result<(), Error> {
        let is_full = |me: &Thread| me.turns.load(Ordering::Relaxed) >= TURNS;
        if Own::own(|own| own.ask(is_full)) {
            return Err(Error::Limit("256 turns of a thread"));
        }
        if lasts == Lasts::Open && !thread_end::may_keep() {
            return Err(Error::Limit("updates left open by a thread that ends"));
        }
        Ok(())
    }

    /// Whether casts of the calling thread may still wait somewhere. Once this is false, what
    /// they did is visible to this thread.
    #[inline]
    pub(crate) fn has_queued() -> bool {
        Own::own(|own| own.ask(|me| me.queued.load(Ordering::Acquire) > 0))
    }

    /// The calling thread takes a turn, to be left by `leaves_turn`, on any thread.
    pub(crate) fn enters_turn() -> Arc<Thread> {
        let thread = Own::own(Own::record);
        thread.turns.fetch_add(1, Ordering::Relaxed);
        thread
    }

    pub(crate) fn leaves_turn(&self) {
        let was_last = self.turns.fetch_sub(1, Ordering::Relaxed) == 1;
        if was_last && !thread_end::may_keep() {
            Own::own(|own| {
                // Perhaps another thread's turn, that this one ends.
                if own.is_record(self) {
                    own.becomes_late();
                }
            });
        }
    }

    fn forget(&self, open: *const ()) {
        let forgotten = {
            let mut all = lock(&self.open);
            let place = all.iter().rposition(|it| Arc::as_ptr(it).cast() == open);
            place.map(|place| all.swap_remove(place))
        };
        drop(forgotten); // outside the lock
    }
}

/// A turn, or what has one, until it is ended or its thread is.
pub(crate) struct Held<T> {
    thread: Arc<Thread>,
    what: Mutex<Option<T>>,
}

impl<T> Held<T> {
    /// For the thread that took the turn; to be told to it by [`hold`].
    pub(crate) fn new(thread: Arc<Thread>, what: T) -> Held<T> {
        Held {
            thread,
            what: Mutex::new(Some(what)),
        }
    }

    /// Takes it out to be ended: `None` if it was. `open` is what `hold` was told.
    pub(crate) fn take<O: Open>(&self, open: &Arc<O>) -> Option<T> {
        let what = self.give_up();
        self.thread.forget(Arc::as_ptr(open).cast());
        what
    }

    /// Takes it out to be ended, for a thread that has forgotten it: `None` if it was taken.
    pub(crate) fn give_up(&self) -> Option<T> {
        lock(&self.what).take()
    }

    /// Looks at it, if it is still there.
    pub(crate) fn with<R>(&self, look: impl FnOnce(&mut T) -> R) -> Option<R> {
        lock(&self.what).as_mut().map(look)
    }
}

/// Tells the thread that it has this to give back.
pub(crate) fn hold<T, O: Open + 'static>(held: &Held<T>, open: &Arc<O>) -> Result<(), Error> {
    let mut all = lock(&held.thread.open);
    all.try_reserve(1).map_err(|_| Error::NoMemory)?;
    all.push(Arc::clone(open) as _);
    Ok(())
}

/// The sender of a queued cast; counted at its thread until the cast was handled or dropped.
pub(crate) struct Sender {
    /// Of a thread that may be gone before its next call: none.
    thread: Option<Arc<Thread>>,
    id: u64,
}

impl Sender {
    pub(crate) fn current() -> Sender {
        let is_counted = thread_end::may_keep();
        Own::own(|own| {
            let thread = is_counted.then(|| own.record());
            match &thread {
                Some(thread) => {
                    thread.queued.fetch_add(1, Ordering::Relaxed);
                }
                None if own.has_none() => own.record.set(late()),
                None => {} // inside a turn: its record says that casts are queued
            }
            let id = own.id();
            Sender { thread, id }
        })
    }

    /// Of what somebody else waits for: no thread's reads wait for it.
    #[cfg(feature = "aio")]
    pub(crate) fn nobody() -> Sender {
        Sender {
            thread: None,
            id: 0,
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if let Some(thread) = &self.thread {
            // Release: whoever reads the lower count sees what the cast did.
            thread.queued.fetch_sub(1, Ordering::Release);
        }
    }
}

/// Who is inside a server's turn with user code: a thread's number, or 0.
pub(crate) struct TurnOwner(AtomicU64);

impl TurnOwner {
    pub(crate) fn nobody() -> TurnOwner {
        TurnOwner(AtomicU64::new(0))
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    pub(crate) fn set(&self, thread: u64) {
        self.0.store(thread, Ordering::Release);
    }
}
