//! What a bucket answers without its turn: reads.

use std::sync::Arc;
use std::time::Duration;

use super::{BucketServer, BucketState};
use crate::error::Error;
use crate::reclaim::Guard;
use crate::server::{Caller, Writing};
use crate::store::{EntryFacts, Item, Items, Key, Left, Many, Owned, Reader, Unread, Wanted};
use crate::time::{Clock, Deadline, Moment};
use crate::value::Value;

/// Bytes of keys and values that are likely to be in a processor's cache.
const NEAR: usize = 1 << 20;

/// How long a reader waits for a writer before it looks again, and how often it does at least: a
/// writer that lost its processor gets it back by then.
const WRITE_STEP: Duration = Duration::from_millis(1);
const WRITE_STEPS: usize = 100;

/// How often a snapshot is begun anew before it is taken in one piece.
const SNAPSHOTS: usize = 4;

/// What a sleeper needs to wake up, between two slices of a snapshot, if a processor is free.
const GAP: Duration = Duration::from_micros(50);

/// How many of these it is waited for after one slice, where none is free.
const GAPS: u32 = 400;

/// How many of these one scan waits for all its slices together: ten seconds and more, which it takes
/// only where processors have much else to do. Without patience others wait for the rest of it.
const PATIENCE: u32 = 200_000;

/// How long a snapshot waits for its next slice, whatever time its caller has.
const NEXT_SLICE: Duration = Duration::from_secs(1);

/// How long a snapshot waits before it looks again whether there is a place for it.
const SLOT_STEP: Duration = Duration::from_millis(1);

/// Each as `BucketState` of the module's server. All but the short way may block like a call.
impl BucketServer {
    /// The short way of a read, where casts of the calling thread are not waiting: `None` if
    /// anything is out of the ordinary. Does not panic.
    #[inline(always)]
    pub(crate) fn fast_read<R: Reader>(
        &self,
        key: Key<'_>,
        pinned: &Guard,
        reader: R,
    ) -> Option<R::Read> {
        let contents = &self.state().contents;
        contents.fast_read(key, pinned, reader)
    }

    /// As `fast_read`, where that found nothing: perhaps the key has a time to live.
    pub(crate) fn fast_read_timed<R: Reader>(
        &self,
        key: Key<'_>,
        pinned: &Guard,
        reader: R,
    ) -> Option<R::Read> {
        let contents = &self.state().contents;
        contents.times.are_used().then_some(())?;
        contents.fast_read_timed(key, pinned, reader)
    }

    /// As `fast_read_timed`, with what else there is to know.
    pub(crate) fn fast_read_timed_entry<R: Reader>(
        &self,
        key: Key<'_>,
        pinned: &Guard,
        reader: R,
    ) -> Option<(R::Read, EntryFacts)> {
        let contents = &self.state().contents;
        contents.times.are_used().then_some(())?;
        contents.fast_read_timed_entry(key, pinned, reader)
    }

    /// Whether it holds more than a processor keeps near.
    #[inline(always)]
    pub(crate) fn is_large(&self) -> bool {
        self.state().contents.bytes() > NEAR
    }

    /// The value of a key, as the reader makes it.
    pub(crate) fn read<R: Reader + Copy>(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        key: Key<'_>,
        reader: R,
    ) -> Result<R::Read, Error> {
        if let Some(shared) = self.reads_at_store() {
            return Ok(self.shared_read(caller, shared, key, reader)?.0);
        }
        self.await_own_casts(caller)?;
        self.read_again(caller, || self.state().contents.read(key, reader))
    }

    /// As `fast_read`, with what else there is to know of the key.
    #[inline(always)]
    pub(crate) fn fast_read_entry<R: Reader>(
        &self,
        key: Key<'_>,
        pinned: &Guard,
        reader: R,
    ) -> Option<(R::Read, EntryFacts)> {
        let contents = &self.state().contents;
        contents.fast_read_entry(key, pinned, reader)
    }

    /// As `read`, with what else there is to know of the key.
    pub(crate) fn read_entry<R: Reader + Copy>(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        key: Key<'_>,
        reader: R,
    ) -> Result<(R::Read, EntryFacts), Error> {
        if let Some(shared) = self.reads_at_store() {
            return self.shared_read(caller, shared, key, reader);
        }
        self.await_own_casts(caller)?;
        self.read_again(caller, || {
            let contents = &self.state().contents;
            contents.read_entry(key, reader, &Clock::new())
        })
    }

    /// The revision of the last change; 0 if there was none.
    pub(crate) fn revision(self: &Arc<Self>, caller: &mut Caller<'_>) -> Result<u64, Error> {
        if let Some(shared) = self.reads_at_store() {
            return Ok(self.shared_count(caller, shared)?.1);
        }
        self.await_own_casts(caller)?;
        self.read_again(caller, || self.state().contents.revision())
    }

    pub(crate) fn get(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        key: &[u8],
    ) -> Result<Value, Error> {
        let key = Key::new(key);
        if let Some(shared) = self.reads_at_store() {
            return Ok(self.shared_read(caller, shared, key, Owned)?.0);
        }
        self.await_own_casts(caller)?;
        self.read_again(caller, || self.state().contents.get(key, &Clock::new()))
    }

    /// Reads, and where a writer is in the middle of a change and does not come to its end reads
    /// again under the write exclusion, which that one has. It is waited for in short steps: another
    /// writer may have it by then, for longer and with nothing in the reader's way.
    fn read_again<T>(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        read: impl Fn() -> Result<T, Unread>,
    ) -> Result<T, Error> {
        let mut steps = 0;
        loop {
            match read() {
                Ok(read) => return Ok(read),
                Err(Unread::Error(error)) => return Err(error),
                Err(Unread::Busy) => {}
            }
            let deadline = caller.begin_blocking();
            let soon = Deadline::after(WRITE_STEP);
            match self.with_write_lock_before(soon, |_| read()) {
                Ok(Ok(read)) => return Ok(read),
                Ok(Err(Unread::Error(error))) => return Err(error),
                Ok(Err(Unread::Busy)) | Err(Error::Timeout) => {}
                Err(refused) => return Err(refused),
            }
            steps += 1;
            if steps >= WRITE_STEPS && deadline.has_passed() {
                return Err(Error::Timeout);
            }
        }
    }

    /// Many values as they are at one instant; `None` where a key is absent.
    pub(crate) fn get_many<'k>(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        keys: &[Key<'k>],
    ) -> Result<Many, Error> {
        if let Some(shared) = self.reads_at_store() {
            return self.shared_get_many(caller, shared, keys);
        }
        self.await_own_casts(caller)?;
        if let Some(values) = self.state().contents.get_many(keys)? {
            return Ok(values);
        }
        self.with_write_lock(caller, |write| write.exclusive().get_many(keys))?
    }

    pub(crate) fn count(self: &Arc<Self>, caller: &mut Caller<'_>) -> Result<usize, Error> {
        if let Some(shared) = self.reads_at_store() {
            return Ok(self.shared_count(caller, shared)?.0);
        }
        self.await_own_casts(caller)?;
        self.state().contents.count()
    }

    /// A snapshot of all keys, in no order.
    pub(crate) fn items(self: &Arc<Self>, caller: &mut Caller<'_>) -> Result<Vec<Item>, Error> {
        self.scan(caller, Wanted::all())
    }

    /// As `items`, and their instant, if keys may have had a time to live then.
    pub(super) fn items_at(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
    ) -> Result<(Vec<Item>, Option<Moment>), Error> {
        self.scan_at(caller, Wanted::all())
    }

    /// A snapshot of the keys that are wanted.
    pub(crate) fn scan(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        wanted: Wanted,
    ) -> Result<Vec<Item>, Error> {
        Ok(self.scan_at(caller, wanted)?.0)
    }

    fn scan_at(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        wanted: Wanted,
    ) -> Result<(Vec<Item>, Option<Moment>), Error> {
        if let Some(shared) = self.reads_at_store() {
            return Ok((self.shared_scan(caller, shared, &wanted)?, None));
        }
        self.await_own_casts(caller)?;
        let wanted = Arc::new(wanted);
        let mut failed = 0;
        loop {
            // In one piece where it was cleared again and again.
            let in_slices = failed < SNAPSHOTS;
            match self.try_items(caller, &wanted, in_slices)? {
                Taken::Items(items, moment) => return Ok((items, moment)),
                Taken::Failed if in_slices => failed += 1,
                Taken::TooMany if caller.begin_blocking().has_passed() => {
                    return Err(Error::Timeout);
                }
                Taken::TooMany => std::thread::sleep(SLOT_STEP),
                Taken::Failed => return Err(Error::NoMemory),
            }
        }
    }

    /// A snapshot, if it is not disturbed. The write exclusion is given back between slices, to a
    /// call that sleeps for it.
    fn try_items(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        wanted: &Arc<Wanted>,
        in_slices: bool,
    ) -> Result<Taken, Error> {
        let mut items = self.state().contents.items(wanted, in_slices);
        let mut patience = PATIENCE;
        let read = |items: &mut Items<'_>, write: &Writing<'_, BucketState>| {
            let _kept = write.keep_long();
            write.exclusive().continue_items(items)
        };
        items.make_room()?;
        let mut slice = self.with_write_lock(caller, |write| read(&mut items, write))?;
        loop {
            match slice? {
                Left::More => self.let_others_write(&mut patience),
                Left::Nothing => {
                    let moment = items.moment();
                    let items = items.finish()?;
                    return Ok(items.map_or(Taken::Failed, |items| Taken::Items(items, moment)));
                }
                Left::All => return Ok(Taken::Failed),
                Left::TooMany => return Ok(Taken::TooMany),
            }
            items.make_room()?;
            // What was read would be lost; and others keep it no longer than a change takes.
            let soon = Deadline::after(NEXT_SLICE);
            slice = match self.with_write_lock_before(soon, |write| read(&mut items, write)) {
                Err(Error::Timeout) => {
                    self.with_write_lock(caller, |write| read(&mut items, write))?
                }
                locked => locked?,
            };
        }
    }

    /// Lets those come who were woken. For a call it has patience, for another scan it waits a moment:
    /// each would wait for all after each slice.
    fn let_others_write(&self, patience: &mut u32) {
        if self.is_anybody_on_its_way() {
            std::thread::sleep(GAP);
        }
        for _ in 0..GAPS {
            if *patience == 0 || !self.is_call_on_its_way() {
                return;
            }
            *patience -= 1;
            std::thread::sleep(GAP);
        }
    }
}

/// What became of a snapshot.
enum Taken {
    Items(Vec<Item>, Option<Moment>),
    /// It is to be begun anew.
    Failed,
    /// So many are taken at once that there is no place for another.
    TooMany,
}
