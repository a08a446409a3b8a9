//! What a bucket answers without its turn: reads.

use std::sync::Arc;
use std::time::Duration;

use super::BucketServer;
use crate::error::Error;
use crate::reclaim::Guard;
use crate::server::Caller;
use crate::store::{Item, Key, Left, Many, Reader, Unread};
use crate::time::Deadline;
use crate::value::{Text, Value};

/// Bytes of keys and values that are likely to be in a processor's cache.
const NEAR: usize = 1 << 20;

/// How long a reader waits for a writer before it looks again, and how often it does at least: a
/// writer that lost its processor gets it back by then.
const WRITE_STEP: Duration = Duration::from_millis(1);
const WRITE_STEPS: usize = 100;

/// How often a snapshot is begun anew before it is taken in one piece.
const SNAPSHOTS: usize = 4;

/// What a sleeper needs to wake up, between two slices of a snapshot.
const GAP: Duration = Duration::from_micros(50);

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
        self.await_own_casts(caller)?;
        self.read_again(caller, || self.state().contents.read(key, reader))
    }

    /// As `fast_read`, with the revision of the key's last change.
    #[inline(always)]
    pub(crate) fn fast_read_entry<R: Reader>(
        &self,
        key: Key<'_>,
        pinned: &Guard,
        reader: R,
    ) -> Option<(R::Read, u64)> {
        let contents = &self.state().contents;
        contents.fast_read_entry(key, pinned, reader)
    }

    /// As `read`, with the revision of the key's last change.
    pub(crate) fn read_entry<R: Reader + Copy>(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        key: Key<'_>,
        reader: R,
    ) -> Result<(R::Read, u64), Error> {
        self.await_own_casts(caller)?;
        self.read_again(caller, || self.state().contents.read_entry(key, reader))
    }

    /// The revision of the last change; 0 if there was none.
    pub(crate) fn revision(self: &Arc<Self>, caller: &mut Caller<'_>) -> Result<u64, Error> {
        self.await_own_casts(caller)?;
        self.read_again(caller, || self.state().contents.revision())
    }

    pub(crate) fn get(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        key: &[u8],
    ) -> Result<Value, Error> {
        let key = Key::new(key);
        self.await_own_casts(caller)?;
        self.read_again(caller, || self.state().contents.get(key))
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
        self.await_own_casts(caller)?;
        if let Some(values) = self.state().contents.get_many(keys)? {
            return Ok(values);
        }
        self.with_write_lock(caller, |write| write.exclusive().get_many(keys))?
    }

    pub(crate) fn count(self: &Arc<Self>, caller: &mut Caller<'_>) -> Result<usize, Error> {
        self.await_own_casts(caller)?;
        self.state().contents.count()
    }

    /// A snapshot.
    pub(crate) fn items(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
    ) -> Result<Vec<(Text, Value)>, Error> {
        self.snapshot(caller)
    }

    /// A snapshot, with what is wanted of each entry.
    pub(super) fn snapshot<T: Item>(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
    ) -> Result<Vec<T>, Error> {
        self.await_own_casts(caller)?;
        for _ in 0..SNAPSHOTS {
            if let Some(items) = self.try_items(caller, true)? {
                return Ok(items);
            }
        }
        // It was cleared again and again.
        let items = self.try_items(caller, false)?;
        items.ok_or(Error::NoMemory)
    }

    /// A snapshot, if it is not disturbed. The write exclusion is given back between slices, and
    /// for a moment to those who sleep for it.
    fn try_items<T: Item>(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        in_slices: bool,
    ) -> Result<Option<Vec<T>>, Error> {
        let mut items = self.state().contents.items(in_slices);
        self.with_write_lock(caller, |write| write.exclusive().begin_items(&mut items))??;
        loop {
            let (left, is_wanted) = self.with_write_lock(caller, |write| {
                let left = write.exclusive().continue_items(&mut items);
                (left, write.is_wanted())
            })?;
            match left? {
                Left::More if is_wanted => std::thread::sleep(GAP),
                Left::More => {}
                Left::Nothing => return items.finish(),
                Left::All => return Ok(None),
            }
        }
    }
}
