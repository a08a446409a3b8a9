//! Turns that outlast the call that took them: what a thread has to give back before it is gone.
//!
//! # The argument
//!
//! Each thread lists the turns that it began for longer than a call, and looks at its list alone.
//! Any thread may end such a turn, and cannot tell the one that began it. So what is listed may be
//! over: who wants to know how many turns the thread holds looks at each, and forgets those that
//! are over. Whoever ends a turn takes it out of its place first, which one does, once; its own
//! thread forgets it at once, if that is the one, and as that ends it ends what is left.
//!
//! A turn is listed by a ticket, a number that its place was given for it and that is never given
//! again ([`Tickets`]): that costs no count, and what the ticket leads to may be gone. Or it is
//! listed by its place itself ([`Open`]), which has a count.

use super::thread::Own;
use crate::error::Error;
use crate::memory;
use crate::sync::{lock, try_lock, Arc, Mutex, ThreadLocal};

/// Knows turns by tickets.
pub(crate) trait Tickets: Sync {
    /// Whether nobody has ended it yet, nor taken it from its thread.
    fn is_open(&self, ticket: u64) -> bool;

    /// The thread that began it ends: as if it were ended with nothing changed.
    fn abort(&self, ticket: u64);
}

/// The place of one turn, which is held beyond the call that took it.
pub(crate) trait Open: Send + Sync {
    /// Whether nobody has ended it yet. Takes no lock that its user may have.
    fn is_open(&self) -> bool;

    /// As [`Tickets::abort`].
    fn abort(&self);
}

pub(super) enum Entry {
    Ticket(&'static dyn Tickets, u64),
    Place(Arc<dyn Open>),
}

impl Entry {
    fn is_open(&self) -> bool {
        match self {
            Entry::Ticket(tickets, ticket) => tickets.is_open(*ticket),
            Entry::Place(place) => place.is_open(),
        }
    }

    pub(super) fn abort(&self) {
        match self {
            Entry::Ticket(tickets, ticket) => tickets.abort(*ticket),
            Entry::Place(place) => place.abort(),
        }
    }
}

/// So many entries a thread may list before it looks which are still open.
const LISTED: usize = 8;

/// What a thread left open, or others have ended since.
#[derive(Default)]
pub(super) struct Opened {
    all: Vec<Entry>,
    /// Where it looks again which are open.
    full: usize,
}

impl Opened {
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// So many are open.
    pub(super) fn count(&mut self) -> usize {
        self.all.retain(Entry::is_open);
        self.len()
    }

    pub(super) fn pop(&mut self) -> Option<Entry> {
        self.all.pop()
    }

    #[inline(always)]
    fn push(&mut self, entry: Entry) -> Result<(), Error> {
        if self.len() >= self.full {
            self.make_room()?;
        }
        self.all.push(entry);
        Ok(())
    }

    #[cold]
    fn make_room(&mut self) -> Result<(), Error> {
        self.full = LISTED.max(2 * self.count());
        let more = self.full - self.len();
        memory::without_reserve(|| self.all.try_reserve(more)).map_err(|_| {
            self.full = 0;
            Error::NoMemory
        })
    }
}

fn tell(entry: Entry) -> Result<(), Error> {
    Own::own(|own| own.with_open(|open| open.push(entry)))
}

/// Tells the calling thread that it has this to give back.
pub(crate) fn hold(open: Arc<impl Open + 'static>) -> Result<(), Error> {
    tell(Entry::Place(open))
}

/// As `hold`, of what is known by a ticket.
#[inline(always)]
pub(crate) fn hold_ticket(tickets: &'static dyn Tickets, ticket: u64) -> Result<(), Error> {
    tell(Entry::Ticket(tickets, ticket))
}

/// The tickets of turns that the calling thread has begun, and perhaps not ended.
pub(crate) fn held_tickets() -> Vec<u64> {
    let found = Own::own(|own| {
        own.with_any_open(|open| {
            let tickets = open.all.iter().filter_map(|entry| match entry {
                Entry::Ticket(_, ticket) => Some(*ticket),
                Entry::Place(_) => None,
            });
            tickets.collect()
        })
    });
    found.unwrap_or_default()
}

fn forget(is_it: impl Fn(&Entry) -> bool) {
    let forgotten = Own::own(|own| {
        own.with_any_open(|open| {
            let place = open.all.iter().rposition(is_it);
            place.map(|place| open.all.swap_remove(place))
        })
    });
    drop(forgotten); // outside the list
}

/// The calling thread has ended this. If it began it, it need not give it back.
#[inline(always)]
pub(crate) fn forget_ticket(ticket: u64) {
    forget(|entry| matches!(entry, Entry::Ticket(_, it) if *it == ticket));
}

/// The place of a turn, or of what has one, until it is ended or its thread is.
pub(crate) struct Held<T>(Mutex<Option<T>>);

impl<T> Held<T> {
    /// To be told to its thread by [`hold`].
    pub(crate) fn new(what: T) -> Held<T> {
        Held(Mutex::new(Some(what)))
    }

    /// Takes it out to be ended: `None` if it was. `open` is what `hold` was told.
    pub(crate) fn take<O: Open>(&self, open: &Arc<O>) -> Option<T> {
        let what = self.give_up();
        let ended = Arc::as_ptr(open).cast::<()>();
        forget(|entry| matches!(entry, Entry::Place(it) if Arc::as_ptr(it).cast() == ended));
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

    /// Whether it is still there: it is, while somebody looks at it.
    pub(crate) fn is_there(&self) -> bool {
        try_lock(&self.0).is_none_or(|what| what.is_some())
    }
}
