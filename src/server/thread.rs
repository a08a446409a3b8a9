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
//! A thread notes where it queued casts, and the number of the last one at each server (`mail`). A
//! server tells how far it is ([`Progress`]), which a note knows, so that the thread looks for
//! itself whether it may pass: nobody searches a queue, and handling a cast touches no count of its
//! sender. A note whose cast was handled is forgotten at the next look. Notes are told apart by the
//! server's address: a server that is freed is done with its mail, so a note that is not done names
//! a server that is there.
//!
//! What other threads change (they may end its updates) lies in a record with a count: one for the
//! thread, one for each turn. The thread gives its count up when `thread_end` tells it to, which
//! may be followed by more calls and by no more notice. From then on nothing may stay behind with
//! it: it notes nothing, and if it ever queued something (`EVERYWHERE`) its reads look at the
//! queues, where each envelope has its sender's number.
//!
//! A turn that ends with the call that took it is counted by the thread alone (`calls`). One that
//! may outlast its call can be given back by any thread, so the record counts it; and the thread
//! itself lists it (`open`), for nobody else looks at the list: an entry that another thread has
//! ended stays there until the thread begins more, and is told from an open one by its ticket.
//! Whoever ends such a turn takes it out once, by what [`Open`] says: who ends it, or its thread as
//! that ends.

use std::any::Any;
use std::cell::Cell;
use std::mem::ManuallyDrop;

use super::sent::{LastSent, Progress, Sent};
use crate::error::Error;
use crate::memory;
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
    /// Null until it is needed; a count of it is this thread's.
    record: Cell<*const ()>,
    /// Turns that calls of this thread hold, which are under way.
    calls: Cell<usize>,
    /// Null, or boxed: what it has to give back before it is gone.
    open: Cell<*mut Opened>,
    /// Null, or boxed: where casts of it may be queued.
    mail: Cell<*mut Vec<Sent>>,
    /// How many of these there are, or `EVERYWHERE`.
    queued: Cell<usize>,
}

/// The thread notes no more where it has queued something.
const EVERYWHERE: usize = usize::MAX;

/// What a thread left open, with the tickets.
type Opened = Vec<(Arc<dyn Open>, u64)>;

// SAFETY: no number and no record yet; the area is its own.
unsafe impl ThreadLocal for Own {
    const AREA: Area = Area::Turns;
}

pub(crate) const PER_THREAD: PerThread = PerThread {
    forget: || Own::own(Own::forget_parent),
    end: |aborts| {
        if aborts {
            abort_open();
            Own::own(Own::forget_open);
            Own::own(Own::release); // what another thread still ends has a count of its own
        }
        Own::own(Own::becomes_late);
    },
    ..PerThread::NONE
};

/// What others share with a thread.
pub(crate) struct Thread {
    /// Turns that user code of this thread holds beyond the calls that took them.
    turns: AtomicUsize,
}

/// Holds a turn beyond the call that took it. One object may hold one after the other: each has a
/// ticket of its own.
pub(crate) trait Open: Send + Sync {
    /// Whether nobody has ended it yet.
    fn is_open(&self, ticket: u64) -> bool;

    /// The thread that began it ends: as if it were ended with nothing changed.
    fn abort(&self, ticket: u64);

    /// What holds it, if that wants to be found by its thread.
    fn place(self: Arc<Self>) -> Option<Arc<dyn Any + Send + Sync>> {
        None
    }
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

impl Own {
    #[inline(always)]
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
        self.record.get().is_null()
    }

    /// The record, made if there is none.
    fn record(&self) -> Arc<Thread> {
        if self.has_none() {
            self.record.set(keep(Thread::new()));
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

    /// From here on nothing may stay behind with the thread, and nobody would say when. Its record
    /// stays until the turns that it counts are left.
    fn becomes_late(&self) {
        let mail = self.mail.replace(std::ptr::null_mut());
        if !mail.is_null() {
            // SAFETY: made by `with_mail`, and nobody has it any more.
            drop(unsafe { Box::from_raw(mail) });
        }
        if self.queued.get() != 0 {
            self.queued.set(EVERYWHERE);
        }
        if !self.ask(|me| me.turns.load(Ordering::Relaxed) > 0) {
            self.release();
        }
    }

    /// Looks at the notes of what was sent, which are made if there are none.
    fn with_mail<R>(&self, look: impl FnOnce(&mut Vec<Sent>) -> R) -> R {
        if self.mail.get().is_null() {
            self.mail.set(Box::into_raw(Box::default()));
        }
        // SAFETY: this thread's own, and nobody else looks meanwhile: `look` does no more than
        // change the notes.
        look(unsafe { &mut *self.mail.get() })
    }

    /// In a forked child: the thread holds nothing and has sent nothing, and is another one
    /// than the parent's.
    fn forget_parent(&self) {
        self.id.set(0);
        self.calls.set(0);
        // What these lead to is the parent's.
        self.open.set(std::ptr::null_mut());
        self.mail.set(std::ptr::null_mut());
        self.queued.set(0);
        if !self.has_none() {
            // SAFETY: this thread's count. One that the parent's objects know too is theirs.
            let mine = unsafe { kept::<Thread>(self.record.get()) };
            if Arc::strong_count(&mine) > 1 {
                self.record.set(std::ptr::null());
            }
        }
    }

    /// Looks at the list of what is open, which is made if there is none.
    fn with_open<R>(&self, look: impl FnOnce(&mut Opened) -> R) -> R {
        if self.open.get().is_null() {
            self.open.set(Box::into_raw(Box::default()));
        }
        // SAFETY: this thread's own, and nobody else looks meanwhile: `look` does no more than
        // change the list.
        look(unsafe { &mut *self.open.get() })
    }

    fn pop_open(&self) -> Option<(Arc<dyn Open>, u64)> {
        match self.open.get().is_null() {
            true => None,
            false => self.with_open(Vec::pop),
        }
    }

    fn forget_open(&self) {
        let open = self.open.replace(std::ptr::null_mut());
        if !open.is_null() {
            // SAFETY: made by `with_open`, and nobody has it any more. It is empty.
            drop(unsafe { Box::from_raw(open) });
        }
    }

    /// So many turns the thread holds.
    #[inline(always)]
    fn turns(&self) -> usize {
        let record = self.record.get();
        let open = match record.is_null() {
            true => 0,
            // SAFETY: as in `ask`.
            false => unsafe { kept::<Thread>(record) }
                .turns
                .load(Ordering::Relaxed),
        };
        self.calls.get() + open
    }
}

/// Gives back what the calling thread still holds.
pub(crate) fn abort_open() {
    // Each without the thread's own at hand: it may ask for that, and take any lock.
    while let Some((open, ticket)) = Own::own(Own::pop_open) {
        open.abort(ticket);
    }
}

impl Thread {
    fn new() -> Arc<Thread> {
        Arc::new(Thread {
            turns: AtomicUsize::new(0),
        })
    }

    /// The number of the calling thread.
    pub(crate) fn id() -> u64 {
        Own::own(Own::id)
    }

    /// Whether user code of the calling thread holds a turn: only then can anybody wait for it.
    #[inline]
    pub(crate) fn holds_a_turn() -> bool {
        Own::own(|own| own.turns() > 0)
    }

    /// Whether the calling thread may take another turn.
    pub(crate) fn may_hold_another(lasts: Lasts) -> Result<(), Error> {
        if Own::own(Own::turns) >= TURNS {
            return Err(Error::Limit("256 turns of a thread"));
        }
        if lasts == Lasts::Open && !thread_end::may_keep() {
            return Err(Error::Limit("updates left open by a thread that ends"));
        }
        Ok(())
    }

    /// Whether casts of the calling thread may still wait somewhere: a hint, for
    /// [`last_sent`](Thread::last_sent) to look into.
    #[inline]
    pub(crate) fn has_queued() -> bool {
        Own::own(|own| own.queued.get() != 0)
    }

    /// Which envelope of the server at this address the calling thread sent last, as long as that
    /// is not handled.
    pub(super) fn last_sent(server: usize) -> LastSent {
        Own::own(|own| match own.queued.get() {
            0 => LastSent::None,
            EVERYWHERE => LastSent::Unknown,
            _ => own.with_mail(|mail| {
                mail.retain(|sent| !sent.is_done());
                own.queued.set(mail.len());
                let here = mail.iter().find(|sent| sent.is_to(server));
                here.map_or(LastSent::None, |sent| LastSent::Number(sent.number))
            }),
        })
    }

    /// The calling thread is about to queue something that its reads will wait for. The answer is
    /// its number; an error if there is no memory for the note.
    pub(super) fn will_send() -> Result<u64, Error> {
        let may_keep = thread_end::may_keep();
        Own::own(|own| {
            if !may_keep {
                own.queued.set(EVERYWHERE);
            } else if own.queued.get() != EVERYWHERE {
                own.with_mail(|mail| {
                    if mail.len() == mail.capacity() {
                        mail.retain(|sent| !sent.is_done());
                    }
                    memory::without_reserve(|| mail.try_reserve(1)).map_err(|_| Error::NoMemory)
                })?;
            }
            Ok(own.id())
        })
    }

    /// The calling thread, which said so, has queued the envelope of this number.
    pub(super) fn has_sent(progress: &Arc<Progress>, number: u64) {
        Own::own(|own| {
            if own.queued.get() == EVERYWHERE {
                return;
            }
            own.with_mail(|mail| {
                let here = |sent: &&mut Sent| sent.is_of(progress);
                match mail.iter_mut().find(here) {
                    Some(sent) => sent.number = number,
                    None => mail.push(Sent {
                        progress: Arc::clone(progress),
                        number,
                    }),
                }
                own.queued.set(mail.len());
            });
        });
    }

    /// A call of the calling thread takes a turn, to be left by `leaves_call`. The answer is the
    /// thread's number.
    #[inline]
    pub(super) fn enters_call() -> u64 {
        Own::own(|own| {
            own.calls.set(own.calls.get() + 1);
            own.id()
        })
    }

    /// As `enters_call`, if it may hold another turn: `None` if not.
    #[inline(always)]
    pub(super) fn fast_enters_call(lasts: Lasts) -> Option<u64> {
        if lasts == Lasts::Open && !thread_end::may_keep() {
            return None;
        }
        Own::own(|own| {
            if own.turns() >= TURNS {
                return None;
            }
            own.calls.set(own.calls.get() + 1);
            Some(own.id())
        })
    }

    /// In a forked child the thread may have forgotten what its parent held.
    #[inline]
    pub(super) fn leaves_call() {
        Own::own(|own| own.calls.set(own.calls.get().saturating_sub(1)));
    }

    /// A turn of a call goes on beyond it, to be left by `leaves_turn`, on any thread.
    pub(super) fn keeps_turn() -> Arc<Thread> {
        let thread = Own::own(Own::record);
        thread.turns.fetch_add(1, Ordering::Relaxed);
        Thread::leaves_call();
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
}

/// A turn, or what has one, until it is ended or its thread is.
pub(crate) struct Held<T>(Mutex<Option<T>>);

impl<T> Held<T> {
    /// To be told to its thread by [`hold`].
    pub(crate) fn new(what: T) -> Held<T> {
        Held(Mutex::new(Some(what)))
    }

    /// Takes it out to be ended: `None` if it was. `open` is what `hold` was told.
    pub(crate) fn take<O: Open>(&self, open: &Arc<O>) -> Option<T> {
        let what = self.give_up();
        forget(Arc::as_ptr(open).cast());
        what
    }

    /// Takes it out to be ended, for a thread that has forgotten it: `None` if it was taken.
    pub(crate) fn give_up(&self) -> Option<T> {
        lock(&self.0).take()
    }

    /// Looks at it, if it is still there.
    pub(crate) fn with<R>(&self, look: impl FnOnce(&mut T) -> R) -> Option<R> {
        lock(&self.0).as_mut().map(look)
    }
}

/// So many entries a thread may list before it looks which are still open.
const LISTED: usize = 8;

/// Tells the calling thread that it has this to give back.
pub(crate) fn hold(open: Arc<impl Open + 'static>, ticket: u64) -> Result<(), Error> {
    Own::own(|own| {
        let turns = own.turns();
        own.with_open(|all| {
            memory::without_reserve(|| all.try_reserve(1)).map_err(|_| Error::NoMemory)?;
            if all.len() >= LISTED.max(2 * turns) {
                // What another thread ended holds nothing any more.
                all.retain(|(open, ticket)| open.is_open(*ticket));
            }
            all.push((open as _, ticket));
            Ok(())
        })
    })
}

/// What holds turns that the calling thread has begun, and perhaps not ended, with their tickets:
/// of those that want to be found.
pub(crate) fn held_by_thread() -> Vec<(Arc<dyn Any + Send + Sync>, u64)> {
    Own::own(|own| {
        if own.open.get().is_null() {
            return Vec::new();
        }
        own.with_open(|all| {
            let found = all.iter();
            let found =
                found.filter_map(|(open, ticket)| Some((Arc::clone(open).place()?, *ticket)));
            found.collect()
        })
    })
}

/// The calling thread has ended this. If it began it, it need not give it back.
pub(crate) fn forget(open: *const ()) {
    let forgotten = Own::own(|own| {
        if own.open.get().is_null() {
            return None;
        }
        own.with_open(|all| {
            let place = all
                .iter()
                .rposition(|(it, _)| Arc::as_ptr(it).cast() == open);
            place.map(|place| all.swap_remove(place))
        })
    });
    drop(forgotten); // outside the list
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
