//! Reading many keys as they are at one instant, while others write.
//!
//! # The argument
//!
//! A snapshot has the revision of its instant, and says which keys it is about. It is noted in a
//! slot of the bucket, where the writer finds it. The writer keeps for it what it takes away: before
//! it changes or takes out an entry that a snapshot is about and that was there at its instant, it
//! puts a copy of the value among the `kept`, with the revision of the entry and that of the
//! change. So the value of a key at revision S is the present one, if its revision is at most S, or
//! else the one kept from an entry of at most S by a change after S; and if there is neither, the
//! key was absent.
//!
//! **Some keys** ([`About::Some`]) are read beside the writer. The reader puts the snapshot into a slot, passes
//! the collectors' half of the barrier, takes `begun` as S, and waits until that change counts. A
//! change after S stored its number after the barrier, so it finds the slot; it keeps more than is
//! needed as long as S is not known. A filter says which keys are wanted, and perhaps some more.
//!
//! **All keys**, or a range of them, ([`About::Rest`]) are read in slices under the write exclusion. S
//! is the revision at the first slice, and the writer keeps what is wanted and lies behind the place
//! that the scan has reached: what lies before it has been read. Of a scan with a limit it keeps
//! nothing above the largest key of as many that were read: these come before it.
//!
//! What the writer cannot keep for want of memory, or because it is too much, and `clear`, make the
//! snapshot fail: whoever takes it begins anew. A snapshot is freed through the epoch: the writer is pinned.

use std::sync::Arc;

use super::gathered::{ByKey, Gathered};
use super::items::Item;
use super::stored::Stored;
use super::ttl::life;
use super::wanted::Wanted;
use crate::error::Error;
use crate::memory;
use crate::reclaim::Guard;
use crate::sync::{lock, AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Mutex, Ordering};
use crate::table::{Found, Position};
use crate::time::{Clock, Moment};
use crate::value::Text;

/// So many snapshots of a bucket are taken beside its writer at once.
const SLOTS: usize = 4;

/// The revision is not known yet.
const UNKNOWN: u64 = u64::MAX;

/// Where the writer looks for snapshots.
#[derive(Default)]
pub(super) struct Slots([AtomicPtr<Snapshot>; SLOTS]);

/// What the writer took away.
pub(super) struct Kept {
    pub(super) hash: u64,
    pub(super) item: Item,
    /// Of the change that took it away.
    until: u64,
    /// Of the entry's time to live; `u64::MAX`: it has none.
    deadline: u64,
}

impl Kept {
    /// Whether it is what there was at a revision.
    pub(super) fn is_of(&self, revision: u64) -> bool {
        self.item.revision <= revision && revision < self.until
    }

    /// Whether its time was not over, at the moment of the clock.
    pub(super) fn lives(&self, clock: &Clock) -> bool {
        self.deadline == u64::MAX || !clock.now().is_past(self.deadline)
    }
}

pub(super) enum About {
    Some(Filter),
    Rest(Rest),
}

/// What a scan wants and has not read yet.
pub(super) struct Rest {
    pub(super) wanted: Arc<Wanted>,
    /// Of the scan's instant, if keys may have had a time to live.
    moment: Option<Moment>,
    /// Changed under the write exclusion.
    pub(super) reached: Mutex<Reached>,
    /// What the writer took away. Of the instant, which was known from the beginning; a key is there
    /// once at most. Bounded by what the scan may give.
    kept: Mutex<Gathered>,
}

/// How far a scan has come.
pub(super) struct Reached {
    pub(super) place: Reading,
    /// No larger key will be given.
    pub(super) bound: Option<Text>,
}

/// Where a scan is.
pub(super) enum Reading {
    ByHash(Position),
    /// None of the keys has been read, in their order.
    FromFirst,
    /// All keys up to this one have been read.
    ByKey(Text),
}

impl Reading {
    pub(super) fn copy(&self) -> Result<Reading, Error> {
        Ok(match self {
            Reading::ByHash(position) => Reading::ByHash(*position),
            Reading::FromFirst => Reading::FromFirst,
            Reading::ByKey(last) => Reading::ByKey(Text::copy(last)?),
        })
    }
}

impl Rest {
    pub(super) fn new(wanted: &Arc<Wanted>, moment: Option<Moment>, kept: Gathered) -> Rest {
        Rest {
            wanted: Arc::clone(wanted),
            moment,
            reached: Mutex::new(Reached {
                place: Reading::FromFirst,
                bound: None,
            }),
            kept: Mutex::new(kept),
        }
    }

    fn has(&self, hash: u64, key: &[u8]) -> bool {
        let reached = lock(&self.reached);
        let has_passed = match &reached.place {
            Reading::ByHash(position) => position.has_passed(hash),
            Reading::FromFirst => false,
            Reading::ByKey(last) => *key <= **last,
        };
        let is_beyond = reached.bound.as_ref().is_some_and(|bound| *key > **bound);
        !has_passed && !is_beyond && self.wanted.has(key)
    }
}

pub(super) struct Snapshot {
    revision: AtomicU64,
    pub(super) about: About,
    kept: Mutex<Vec<Kept>>,
    /// Bytes of what was kept.
    bytes: AtomicUsize,
    has_failed: AtomicBool,
}

/// A snapshot of some keys fails for which more is kept: its reader has stopped, or is too slow.
const MAX_KEPT: usize = 16 << 20;

/// Keys, by bits of their hashes.
pub(super) struct Filter {
    words: Vec<u64>,
}

/// Bits for each key: of those that are not wanted one in so many is kept.
const BITS: usize = 32;

impl Filter {
    pub(super) fn of(hashes: impl ExactSizeIterator<Item = u64>) -> Result<Filter, Error> {
        let len = (hashes.len() * BITS / 64 + 1).next_power_of_two();
        let mut words = Vec::new();
        memory::reserve(&mut words, len)?;
        words.resize(len, 0);
        let mut filter = Filter { words };
        for hash in hashes {
            let (word, bit) = filter.place(hash);
            filter.words[word] |= bit;
        }
        Ok(filter)
    }

    /// Bits of the hash that say little about where an array has the key.
    fn place(&self, hash: u64) -> (usize, u64) {
        let bits = hash >> 20;
        let word = (bits >> 6) as usize & (self.words.len() - 1);
        (word, 1 << (bits & 63))
    }

    fn has(&self, hash: u64) -> bool {
        let (word, bit) = self.place(hash);
        self.words[word] & bit != 0
    }
}

impl Snapshot {
    pub(super) fn new(about: About) -> Snapshot {
        Snapshot {
            revision: AtomicU64::new(UNKNOWN),
            about,
            kept: Mutex::new(Vec::new()),
            bytes: AtomicUsize::new(0),
            has_failed: AtomicBool::new(false),
        }
    }

    pub(super) fn set_revision(&self, revision: u64) {
        self.revision.store(revision, Ordering::Release);
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    pub(super) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    pub(super) fn fail(&self) {
        self.has_failed.store(true, Ordering::Release);
    }

    /// All that was kept until now.
    pub(super) fn take_kept(&self) -> Vec<Kept> {
        std::mem::take(&mut *lock(&self.kept))
    }

    fn is_about(&self, hash: u64, key: &[u8]) -> bool {
        match &self.about {
            About::Some(filter) => filter.has(hash),
            About::Rest(rest) => rest.has(hash, key),
        }
    }

    /// All that was kept of what a scan wants.
    pub(super) fn take_rest(&self) -> Vec<ByKey> {
        match &self.about {
            About::Some(_) => Vec::new(),
            About::Rest(rest) => {
                let nothing = Gathered::new(&rest.wanted, false);
                std::mem::replace(&mut *lock(&rest.kept), nothing).into_vec()
            }
        }
    }

    /// A change takes this entry's value away.
    fn keep(&self, found: &Found<'_, Stored>, hash: u64, until: u64) {
        let from = found.value().revision();
        let is_known = self.has_failed() || from > self.revision();
        if is_known || !self.is_about(hash, found.key()) {
            return;
        }
        let copy = || {
            if let About::Rest(rest) = &self.about {
                let mut kept = lock(&rest.kept);
                return kept.take(found, &rest.wanted, rest.moment).map(|_| ());
            }
            let item = Item::of(found, true, None)?;
            let bytes = size_of::<Kept>() + item.bytes();
            if self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > MAX_KEPT {
                return Err(Error::NoMemory);
            }
            let mut kept = lock(&self.kept);
            let grown = memory::without_reserve(|| kept.try_reserve(1));
            grown.map_err(|_| Error::NoMemory)?;
            kept.push(Kept {
                hash,
                item,
                until,
                deadline: life(found).map_or(u64::MAX, |life| life.deadline()),
            });
            Ok::<(), Error>(())
        };
        if copy().is_err() {
            self.fail(); // what was kept is freed by its reader: it may be much
        }
    }
}

impl Slots {
    fn snapshots<'g>(&'g self, _pinned: &'g Guard) -> impl Iterator<Item = &'g Snapshot> {
        self.0.iter().filter_map(|slot| {
            // SAFETY: null, or freed through the epoch after it left the slot.
            unsafe { slot.load(Ordering::Acquire).as_ref() }
        })
    }

    /// Notes a snapshot; gives it back if there is no slot for it.
    pub(super) fn add(&self, snapshot: Box<Snapshot>) -> Result<&Snapshot, Box<Snapshot>> {
        let snapshot = Box::into_raw(snapshot);
        for slot in &self.0 {
            let free = std::ptr::null_mut();
            let added = slot.compare_exchange(free, snapshot, Ordering::AcqRel, Ordering::Relaxed);
            if added.is_ok() {
                // SAFETY: freed by `remove` only, which needs it.
                return Ok(unsafe { &*snapshot });
            }
        }
        // SAFETY: made above, and in no slot.
        Err(unsafe { Box::from_raw(snapshot) })
    }

    /// Ends what `add` began.
    pub(super) fn remove(&self, snapshot: &Snapshot, pinned: &Guard) {
        let snapshot = std::ptr::from_ref(snapshot).cast_mut();
        for slot in &self.0 {
            if slot.load(Ordering::Relaxed) == snapshot {
                slot.store(std::ptr::null_mut(), Ordering::Release);
                let address = snapshot.expose_provenance();
                // The writer may be about to look at it.
                pinned.defer(move || {
                    let snapshot = std::ptr::with_exposed_provenance_mut::<Snapshot>(address);
                    // SAFETY: from `Box::into_raw`, and in no slot since long.
                    drop(unsafe { Box::from_raw(snapshot) });
                });
                return;
            }
        }
    }

    /// A change is about to take this entry's value away. The writer's.
    #[cold]
    pub(super) fn keep(&self, found: &Found<'_, Stored>, hash: u64, revision: u64, pinned: &Guard) {
        for snapshot in self.snapshots(pinned) {
            snapshot.keep(found, hash, revision);
        }
    }

    /// All entries go at once.
    pub(super) fn fail_all(&self, pinned: &Guard) {
        self.snapshots(pinned).for_each(Snapshot::fail);
    }
}
