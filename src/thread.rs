//! What the core knows of a thread that calls: whether it sits inside a server's turn (then
//! waiting may close a circle) and whether casts of its own are still queued somewhere (then
//! a read must look whether it may pass them).

use crate::local;
use crate::sync::{thread_local, Arc, AtomicU64, AtomicUsize, Ordering};

pub(crate) struct Thread {
    id: Fixed,
    /// Turns that user code of this thread holds now.
    turns: AtomicUsize,
    /// Casts of this thread that are queued or being handled, at all servers together.
    queued: AtomicUsize,
}

/// Not the model's: a number that others only compare has no order to explore.
type Fixed = std::sync::atomic::AtomicU64;

static NEXT: Fixed = Fixed::new(1);

fn next() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

thread_local! {
    static CURRENT: Mine = Mine::new();
}

/// A thread's own, also reached without a look whether it was made: on the way of every read.
struct Mine(Arc<Thread>);

impl Mine {
    fn new() -> Mine {
        let thread = Thread::new();
        local::with(|local| local.thread.set(Arc::as_ptr(&thread)));
        Mine(thread)
    }
}

impl Drop for Mine {
    fn drop(&mut self) {
        local::with(|local| local.thread.set(std::ptr::null()));
    }
}

/// Asks the calling thread, if it was ever asked for.
#[inline]
fn ask(question: impl FnOnce(&Thread) -> bool) -> bool {
    local::with(|local| {
        // SAFETY: null, or kept by `Mine` until it takes the pointer back; this thread's own.
        unsafe { local.thread.get().as_ref() }.is_some_and(question)
    })
}

impl Thread {
    fn new() -> Arc<Thread> {
        Arc::new(Thread {
            id: Fixed::new(next()),
            turns: AtomicUsize::new(0),
            queued: AtomicUsize::new(0),
        })
    }

    /// The calling thread. One whose thread-local storage is gone (it calls from a destructor
    /// while it ends) counts as a new thread each time.
    pub(crate) fn current() -> Arc<Thread> {
        CURRENT
            .try_with(|mine| Arc::clone(&mine.0))
            .unwrap_or_else(|_| Thread::new())
    }

    pub(crate) fn id(&self) -> u64 {
        self.id.load(Ordering::Relaxed)
    }

    /// In a forked child: the thread holds nothing and has sent nothing, and is another one
    /// than the parent's.
    pub(crate) fn begin_anew() {
        // Only if it was asked for before: a child must not allocate here.
        ask(|me| {
            me.id.store(next(), Ordering::Relaxed);
            me.turns.store(0, Ordering::Relaxed);
            me.queued.store(0, Ordering::Relaxed);
            true
        });
    }

    /// Whether user code of the calling thread holds a turn: only then can anybody wait for it.
    #[inline]
    pub(crate) fn holds_a_turn() -> bool {
        ask(|me| me.turns.load(Ordering::Relaxed) > 0)
    }

    /// Whether casts of the calling thread may still wait somewhere. Once this is false, what
    /// they did is visible to this thread.
    #[inline]
    pub(crate) fn has_queued() -> bool {
        ask(|me| me.queued.load(Ordering::Acquire) > 0)
    }

    pub(crate) fn enters_turn(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn leaves_turn(&self) {
        self.turns.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The sender of a queued cast; counted at its thread until the cast was handled or dropped.
pub(crate) struct Sender {
    thread: Arc<Thread>,
    /// As it was then: in a forked child the thread is another one.
    id: u64,
}

impl Sender {
    pub(crate) fn current() -> Sender {
        let thread = Thread::current();
        thread.queued.fetch_add(1, Ordering::Relaxed);
        let id = thread.id();
        Sender { thread, id }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if self.thread.id() == self.id {
            // Release: whoever reads the lower count sees what the cast did.
            self.thread.queued.fetch_sub(1, Ordering::Release);
        }
    }
}

/// Who is inside a server's turn with user code: a thread's number, or 0.
pub(crate) struct Occupant(AtomicU64);

impl Occupant {
    pub(crate) fn nobody() -> Occupant {
        Occupant(AtomicU64::new(0))
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    pub(crate) fn set(&self, thread: u64) {
        self.0.store(thread, Ordering::Release);
    }
}
