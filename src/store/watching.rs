//! Who watches keys, and how they are woken.
//!
//! # The argument
//!
//! Watches come under the write exclusion, and go whenever they like, both under the lock of
//! `list`: with the first there is a log, and the bit of `heed` by which the writer knows of it;
//! with the last both go. The writer may have seen the bit and look at the log while it goes: so the
//! log is freed through the epoch, and the writer is pinned.
//!
//! A watch that found nothing is *armed*: entered among those that wait, with its bit in
//! `armed_keys`, counted in `armed`, and then, behind the collectors' half of the barrier, it looks
//! at the log's end once more. The writer adds its record, passes the readers' half, and looks at
//! `armed` and at the bit. One of the two sees the other: so either the watch takes itself out
//! again, and reads on, or the writer takes it out and tells its inbox. While all watches are awake,
//! or wait for other keys, the writer takes no lock. A change that an armed watch does not cover
//! leaves it armed, however many come; who is woken goes on from the record that woke it, and has
//! not fallen behind. A writer may be slow to wake a watch that has read that record, armed itself
//! since, and finds nothing new then.
//!
//! The lock of `list` is held for a step, and nothing is locked under it but where a watch was woken.
//! An inbox arms its watches under its own lock, so the writer tells an inbox when it has let go of
//! `list`.

use super::key_log::{At, KeyLog, Kind, WORDS};
use crate::error::Error;
use crate::memory;
use crate::reclaim::{self, Guard};
use crate::sync::{lock, Arc, AtomicPtr, AtomicU32, Mutex, Ordering, Weak, ZEROS_ARE_ATOMICS};

/// Is told when a watch has something to tell. Must not wait, and run no user code: the writer is at
/// work.
pub(crate) trait Woken: Send + Sync {
    fn wake(&self, reference: u64);
}

/// Which keys a watch is about.
pub(crate) struct Covered {
    pub(crate) prefix: Box<[u8]>,
    /// The prefix is the only key.
    pub(crate) is_one: bool,
}

impl Covered {
    pub(crate) fn has(&self, key: &[u8]) -> bool {
        match self.is_one {
            true => *key == *self.prefix,
            false => key.starts_with(&self.prefix),
        }
    }
}

/// The first bytes of a key, and of what a watch covers: most that are not covered differ there, and
/// the writer looks at many watches.
#[derive(Clone, Copy)]
struct Beginning {
    bytes: u64,
    mask: u64,
}

impl Beginning {
    fn of(key: &[u8]) -> Beginning {
        let mut bytes = [0; 8];
        let len = key.len().min(8);
        bytes[..len].copy_from_slice(&key[..len]);
        Beginning {
            bytes: u64::from_le_bytes(bytes),
            mask: u64::MAX.checked_shr(64 - 8 * len as u32).unwrap_or(0),
        }
    }

    /// Whether a key that begins so may begin as this does.
    fn may_be_of(self, key: Beginning) -> bool {
        key.bytes & self.mask == self.bytes
    }
}

/// A watch that waits.
struct Armed {
    beginning: Beginning,
    watch: Arc<Watch>,
}

/// A watch, as its bucket knows it.
pub(crate) struct Watch {
    pub(crate) covered: Covered,
    pub(super) reference: u64,
    pub(super) inbox: Weak<dyn Woken>,
    pub(super) log: Arc<KeyLog>,
    /// Where it was woken.
    woken: Mutex<Option<At>>,
}

impl Watch {
    /// For the model, which reads the log by itself.
    #[cfg(test)]
    #[allow(dead_code)]
    pub(crate) fn log_end(&self) -> At {
        self.log.end()
    }

    /// As `log_end`.
    #[cfg(test)]
    #[allow(dead_code)]
    pub(crate) fn read(
        &self,
        at: &mut At,
        key: &mut Vec<u8>,
    ) -> Result<super::key_log::Record, Error> {
        self.log.read(at, key)
    }

    /// Where it is to go on, if it was woken since it was armed.
    pub(crate) fn take_woken(&self) -> Option<At> {
        lock(&self.woken).take()
    }
}

/// How many are told at once.
const TOLD: usize = 8;

/// Bits of so many that are armed no longer do no harm.
const STALE: usize = if ZEROS_ARE_ATOMICS { 16 } else { 0 };

pub(crate) struct Watching {
    /// Null without watches. The writer's way to the log.
    log: AtomicPtr<KeyLog>,
    /// How many watches are armed.
    armed: AtomicU32,
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    log: Option<Arc<KeyLog>>,
    /// Of all.
    count: usize,
    /// Has room for all.
    armed: Vec<Armed>,
    /// How many have left a bit in the log's `armed` since that was made anew.
    stale: usize,
    is_closed: bool,
}

impl Default for Watching {
    fn default() -> Watching {
        Watching {
            log: AtomicPtr::new(std::ptr::null_mut()),
            armed: AtomicU32::new(0),
            list: Mutex::new(List::default()),
        }
    }
}

impl Watching {
    /// Adds a watch; `mark` is run if it is the first, before it counts. Under the write exclusion.
    pub(crate) fn add(
        &self,
        reference: u64,
        covered: Covered,
        inbox: Weak<dyn Woken>,
        mark: impl FnOnce(),
    ) -> Result<Arc<Watch>, Error> {
        self.add_with(WORDS, reference, covered, inbox, mark)
    }

    /// As `add`, with a log of so many words if there is none.
    pub(crate) fn add_with(
        &self,
        words: usize,
        reference: u64,
        covered: Covered,
        inbox: Weak<dyn Woken>,
        mark: impl FnOnce(),
    ) -> Result<Arc<Watch>, Error> {
        let mut list = lock(&self.list);
        if list.is_closed {
            return Err(Error::NoProcess);
        }
        let count = list.count + 1 - list.armed.len();
        memory::without_reserve(|| list.armed.try_reserve(count)).map_err(|_| Error::NoMemory)?;
        let log = match &list.log {
            Some(log) => Arc::clone(log),
            None => Arc::new(KeyLog::new(words)?),
        };
        if list.log.is_none() {
            self.log
                .store(Arc::as_ptr(&log).cast_mut(), Ordering::Release);
            list.log = Some(Arc::clone(&log));
            mark();
        }
        list.count += 1;
        Ok(Arc::new(Watch {
            covered,
            reference,
            inbox,
            log,
            woken: Mutex::new(None),
        }))
    }

    /// Takes a watch away; `unmark` is run if it was the last.
    pub(crate) fn remove(&self, watch: &Arc<Watch>, unmark: impl FnOnce(), pinned: &Guard) {
        let mut list = lock(&self.list);
        self.disarm(&mut list, watch);
        if list.is_closed {
            return;
        }
        list.count -= 1;
        if list.count == 0 {
            unmark();
            let (log, armed) = (self.take_log(&mut list), std::mem::take(&mut list.armed));
            drop(list);
            drop(armed);
            retire(log, pinned);
        }
    }

    /// There will be no more changes. Under the write exclusion.
    pub(crate) fn close(&self, pinned: &Guard) {
        let mut list = lock(&self.list);
        list.is_closed = true;
        let (log, armed) = (self.take_log(&mut list), std::mem::take(&mut list.armed));
        self.armed.store(0, Ordering::Relaxed);
        drop(list);
        drop(armed);
        retire(log, pinned);
    }

    fn take_log(&self, list: &mut List) -> Option<Arc<KeyLog>> {
        self.log.store(std::ptr::null_mut(), Ordering::Release);
        list.log.take()
    }

    /// A watch looks again by itself.
    pub(crate) fn unarm(&self, watch: &Arc<Watch>) {
        let mut list = lock(&self.list);
        self.disarm(&mut list, watch);
        let _ = watch.take_woken(); // or it would be taken for that of a later time
    }

    fn disarm(&self, list: &mut List, watch: &Arc<Watch>) {
        if let Some(at) = list
            .armed
            .iter()
            .position(|it| Arc::ptr_eq(&it.watch, watch))
        {
            drop(list.armed.swap_remove(at));
            self.count_armed(list);
            list.forget(1);
        }
    }

    fn count_armed(&self, list: &List) {
        self.armed.store(list.armed.len() as u32, Ordering::Relaxed);
    }

    /// Has a watch that has read all up to a place told when there is more; `false` if there is
    /// already.
    pub(crate) fn arm(&self, watch: &Arc<Watch>, at: At) -> bool {
        let mut list = lock(&self.list);
        if list.is_closed {
            return true; // there will be nothing more
        }
        // There is room, since it was added.
        list.armed.push(Armed {
            beginning: Beginning::of(&watch.covered.prefix),
            watch: Arc::clone(watch),
        });
        watch.log.armed.add(&watch.covered);
        self.count_armed(&list);
        // Where the system refuses it, it is not known who sees whom: it looks again.
        if reclaim::heavy() && watch.log.ends_at(at) {
            return true;
        }
        drop(list.armed.pop());
        self.count_armed(&list);
        list.forget(1);
        false
    }

    /// Notes a change that counts. The writer's.
    pub(crate) fn note(&self, kind: Kind, revision: u64, key: &[u8], _pinned: &Guard) {
        // SAFETY: null, or freed through the epoch after it left this place.
        let Some(log) = (unsafe { self.log.load(Ordering::Acquire).as_ref() }) else {
            return;
        };
        let at = log.add(kind, revision, key);
        reclaim::light();
        if self.armed.load(Ordering::Relaxed) != 0
            && (kind == Kind::Cleared || log.armed.may_have(key))
        {
            self.wake(kind, key, at);
        }
    }

    /// Has all look whether there is anything to tell but changes. Anybody's.
    pub(crate) fn wake_all(&self) {
        self.wake(Kind::Cleared, b"", At::default());
    }

    #[cold]
    fn wake(&self, kind: Kind, key: &[u8], at: At) {
        let beginning = Beginning::of(key);
        let concerns = |armed: &Armed| {
            let may_be = armed.beginning.may_be_of(beginning);
            kind == Kind::Cleared || may_be && armed.watch.covered.has(key)
        };
        loop {
            let mut told = [const { None }; TOLD];
            let mut count = 0;
            let mut list = lock(&self.list);
            let mut next = 0;
            while let (Some(armed), true) = (list.armed.get(next), count < TOLD) {
                if !concerns(armed) {
                    next += 1;
                    continue;
                }
                *lock(&armed.watch.woken) = Some(at);
                told[count] = Some(list.armed.swap_remove(next));
                count += 1;
            }
            if count > 0 {
                self.count_armed(&list);
                list.forget(count);
            }
            drop(list);
            for Armed { watch, .. } in told.iter().flatten() {
                if let Some(inbox) = watch.inbox.upgrade() {
                    inbox.wake(watch.reference);
                }
            }
            if count < TOLD {
                return;
            }
        }
    }
}

impl List {
    /// So many are armed no longer. What they have left is cleared away once it is more than the
    /// others have.
    fn forget(&mut self, count: usize) {
        self.stale += count;
        if let (true, Some(log)) = (self.stale >= self.armed.len() + STALE, &self.log) {
            log.armed
                .renew(self.armed.iter().map(|it| &it.watch.covered));
            self.stale = 0;
        }
    }
}

/// The writer may be about to look at it.
fn retire(log: Option<Arc<KeyLog>>, pinned: &Guard) {
    if let Some(log) = log {
        pinned.defer(move || drop(log));
        pinned.count(WORDS * size_of::<u64>()); // freed soon
    }
}
