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
//! From when the thread's end is noticed nothing may stay behind with it: it notes nothing, and if
//! it ever queued something (`EVERYWHERE`) its reads look at the queues, where each envelope has its
//! sender's number.
//!
//! A turn that ends with the call that took it is counted by the thread (`calls`). One that may
//! outlast its call can be given back by any thread: its own thread lists it (`held.rs`), and looks
//! if it is still there where it matters.

use std::cell::Cell;
use std::marker::PhantomData;

use super::held::Opened;
use super::sent::{LastSent, Progress, Sent};
use crate::error::Error;
use crate::memory;
use crate::runtime::thread_end::{self, PerThread};
use crate::sync::{Arc, AtomicU64, Ordering};
use crate::sync::{Area, ThreadLocal};

/// So many turns a thread may hold at once: each is a frame of the user's on its stack.
const TURNS: usize = 256;

/// A thread's own, without a destructor.
pub(super) struct Own {
    /// 0 until it is asked for.
    id: Cell<u64>,
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

// SAFETY: no number, and nothing listed yet; the area is its own.
unsafe impl ThreadLocal for Own {
    const AREA: Area = Area::Turns;
}

pub(crate) const PER_THREAD: PerThread = PerThread {
    forget: || Own::own(Own::forget_parent),
    end: |aborts| {
        if aborts {
            abort_open();
            Own::own(Own::forget_open);
        }
        Own::own(Own::becomes_late);
    },
    ..PerThread::NONE
};

/// What is asked of the calling thread.
pub(crate) struct Thread;

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

    /// From here on nothing may stay behind with the thread, and nobody would say when.
    fn becomes_late(&self) {
        let mail = self.mail.replace(std::ptr::null_mut());
        if !mail.is_null() {
            // SAFETY: made by `with_mail`, and nobody has it any more.
            drop(unsafe { Box::from_raw(mail) });
        }
        if self.queued.get() != 0 {
            self.queued.set(EVERYWHERE);
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
    }

    /// Looks at the list of what is open, which is made if there is none.
    pub(super) fn with_open<R>(&self, look: impl FnOnce(&mut Opened) -> R) -> R {
        if self.open.get().is_null() {
            self.open.set(Box::into_raw(Box::default()));
        }
        // SAFETY: this thread's own, and nobody else looks meanwhile: `look` does no more than
        // change the list.
        look(unsafe { &mut *self.open.get() })
    }

    /// As `with_open`: `None` if there is no list.
    #[inline(always)]
    pub(super) fn with_any_open<R>(&self, look: impl FnOnce(&mut Opened) -> R) -> Option<R> {
        let open = self.open.get();
        // SAFETY: as in `with_open`.
        unsafe { open.as_mut() }.map(look)
    }

    fn forget_open(&self) {
        let open = self.open.replace(std::ptr::null_mut());
        if !open.is_null() {
            // SAFETY: made by `with_open`, and nobody has it any more. It is empty.
            drop(unsafe { Box::from_raw(open) });
        }
    }

    /// So many turns the thread holds, or more: others may have ended some.
    #[inline(always)]
    fn most_turns(&self) -> usize {
        let open = self.with_any_open(|open| open.len());
        self.calls.get() + open.unwrap_or(0)
    }

    /// So many turns the thread holds.
    #[inline]
    fn turns(&self) -> usize {
        let open = self.with_any_open(Opened::count);
        self.calls.get() + open.unwrap_or(0)
    }
}

/// Gives back what the calling thread still holds.
pub(crate) fn abort_open() {
    // Each without the thread's own at hand: it may ask for that, and take any lock.
    while let Some(Some(open)) = Own::own(|own| own.with_any_open(Opened::pop)) {
        open.abort();
    }
}

impl Thread {
    /// The number of the calling thread.
    pub(crate) fn id() -> u64 {
        Own::own(Own::id)
    }

    /// Whether user code of the calling thread holds a turn: only then can anybody wait for it.
    #[inline]
    pub(crate) fn holds_a_turn() -> bool {
        Own::own(|own| own.most_turns() > 0 && (own.calls.get() > 0 || own.turns() > 0))
    }

    /// Whether the calling thread may take another turn.
    pub(crate) fn may_hold_another(lasts: Lasts) -> Result<(), Error> {
        if Own::own(Own::most_turns) >= TURNS && Own::own(Own::turns) >= TURNS {
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
            if own.most_turns() >= TURNS {
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
}

/// The calling thread counts as inside a turn until this is dropped: who ends a turn was told so no
/// more, and may run user code before it is given back.
pub(crate) struct StillInside(PhantomData<*const ()>);

impl StillInside {
    pub(crate) fn new() -> StillInside {
        Thread::enters_call();
        StillInside(PhantomData)
    }
}

impl Drop for StillInside {
    fn drop(&mut self) {
        Thread::leaves_call();
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
