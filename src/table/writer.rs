//! The one writer of a table. See the module above.

use std::ptr;

use super::array::{closed, Array, Word};
use super::entry::{Entry, Found, NewEntry};
use super::{Closed, Table};
use crate::error::Error;
use crate::hash::hash;
use crate::reclaim::Guard;
use crate::sync::{will_read, AtomicBool, AtomicUsize, Ordering};

/// Entries on their way to the processor while a table grows.
const AHEAD: usize = 16;

/// Says that a batch is being put in, until it is dropped.
struct Batch<'t>(&'t AtomicBool);

impl<'t> Batch<'t> {
    fn begin(in_batch: &'t AtomicBool) -> Batch<'t> {
        // Ahead of the entries, which are stored with Release.
        in_batch.store(true, Ordering::SeqCst);
        Batch(in_batch)
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Where the writer finds a key, or may put it.
pub(crate) enum Place<'t, V> {
    Taken(Found<'t, V>),
    Free(FreePlace<'t, V>),
}

pub(crate) struct FreePlace<'t, V> {
    len: &'t AtomicUsize,
    array: Array<'t, V>,
    hash: u64,
}

impl<V> FreePlace<'_, V> {
    /// Stores an entry of the key that the place was found for.
    #[inline]
    pub(crate) fn fill(self, key: &[u8], value: V, tail: &[u8]) -> Result<(), Error> {
        let entry = Entry::allocate_hashed(key, self.hash, value, tail)?;
        self.array.place(entry.into_raw(), self.hash);
        change_len(self.len, 1);
        Ok(())
    }
}

/// The writer's.
fn change_len(len: &AtomicUsize, by: isize) {
    let before = len.load(Ordering::Relaxed);
    len.store(before.wrapping_add_signed(by), Ordering::Release);
}

pub(crate) struct Writer<'t, V> {
    table: &'t Table<V>,
    pinned: &'t Guard,
}

impl<'t, V> Writer<'t, V> {
    pub(super) fn new(table: &'t Table<V>, pinned: &'t Guard) -> Writer<'t, V> {
        Writer { table, pinned }
    }

    fn array(&self) -> Result<Option<Array<'t, V>>, Closed> {
        self.table.array(self.pinned)
    }

    fn len(&self) -> usize {
        self.table.len.load(Ordering::Relaxed)
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Found<'t, V>>, Closed> {
        self.table.find(key, self.pinned)
    }

    /// Where a key is or would be, if no room need be made for it. Does not panic.
    #[inline(always)]
    pub(crate) fn fast_place(&self, key: &[u8]) -> Option<Place<'t, V>> {
        let array = self.array().ok()??;
        let hash = hash(key);
        if let Some(at) = array.find(hash, key) {
            // SAFETY: an entry of the table, and the writer is pinned.
            return Some(Place::Taken(unsafe { Found::new(at.entry) }));
        }
        array
            .has_room_for(self.len() + 1)
            .then_some(Place::Free(FreePlace {
                len: &self.table.len,
                array,
                hash,
            }))
    }
}

impl<'t, V: Send + Sync + 'static> Writer<'t, V> {
    /// Takes the entry of `key` out, if `read` finds it as it should be; unless it is the last
    /// that keeps the array as large as it is. Does not panic.
    #[inline(always)]
    pub(crate) fn fast_remove<R>(
        &self,
        key: &[u8],
        read: impl FnOnce(&Found<'t, V>) -> Option<R>,
    ) -> Option<R> {
        let array = self.array().ok()??;
        let hash = hash(key);
        let at = array.find(hash, key)?;
        if array.is_wide_for(self.len() - 1) {
            return None;
        }
        // SAFETY: an entry of the table, and the writer is pinned.
        let answer = read(unsafe { &Found::new(at.entry) })?;
        array.remove(&at, hash);
        change_len(&self.table.len, -1);
        self.retire(at.entry);
        Some(answer)
    }

    /// Stores all entries as one change, or none; `replaced` is shown what was replaced.
    pub(crate) fn insert_all(
        &self,
        entries: Vec<NewEntry<V>>,
        replaced: impl Fn(&Found<'t, V>),
    ) -> Result<(), Error> {
        self.reserve_for(entries.iter().map(NewEntry::key))?;
        self.as_one_change(|| {
            for entry in entries {
                // With the room made above this cannot fail.
                if let Some(old) = self.insert(entry)? {
                    replaced(&old);
                }
            }
            Ok(())
        })?;
        self.shrink();
        Ok(())
    }

    /// Readers see all that `work` does, or nothing of it.
    pub(crate) fn as_one_change<R>(&self, work: impl FnOnce() -> R) -> R {
        let _batch = Batch::begin(&self.table.in_batch);
        work()
    }

    pub(crate) fn entries(&self) -> Result<impl Iterator<Item = Found<'t, V>>, Closed> {
        let entries = self.array()?.into_iter().flat_map(Array::entries);
        // SAFETY: entries of the table, and the writer is pinned.
        Ok(entries.map(|entry| unsafe { Found::new(entry) }))
    }

    /// Makes room for those of the keys that are not there yet.
    pub(crate) fn reserve_for<'k>(
        &self,
        keys: impl Iterator<Item = &'k [u8]>,
    ) -> Result<(), Error> {
        let mut new = 0;
        for key in keys {
            if self.get(key).map_err(|Closed| Error::ServerDown)?.is_none() {
                new += 1;
            }
        }
        self.reserve(new)
    }

    /// Makes room for `more` keys, so that inserting them cannot fail.
    pub(crate) fn reserve(&self, more: usize) -> Result<(), Error> {
        let array = self.array().map_err(|Closed| Error::ServerDown)?;
        let wanted = self.len().checked_add(more).ok_or(Error::NoMemory)?;
        if array.is_some_and(|array| array.has_room_for(wanted)) {
            return Ok(());
        }
        self.resize(Array::<V>::log_for(wanted)?)
    }

    fn resize(&self, log: u32) -> Result<(), Error> {
        let word = Array::<V>::build(log)?;
        // SAFETY: just built, and freed through the epoch at the earliest.
        let new: Option<Array<'t, V>> = unsafe { Array::of(word) };
        if let (Some(new), Ok(Some(old))) = (new, self.array()) {
            let place = |entry: *mut Entry<V>| {
                // SAFETY: only the writer takes entries out, and it is here.
                new.place(entry, unsafe { Entry::hash(entry) });
            };
            // Each is asked for before its turn comes: in a large table none is at hand.
            let mut ahead = [ptr::null_mut(); AHEAD];
            for (number, entry) in old.entries().enumerate() {
                will_read(entry);
                let before = std::mem::replace(&mut ahead[number % AHEAD], entry);
                if !before.is_null() {
                    place(before);
                }
            }
            ahead
                .into_iter()
                .filter(|entry| !entry.is_null())
                .for_each(place);
        }
        self.replace_array(word, false); // its entries live on in the new one
        Ok(())
    }

    /// Stores the entry, in the place of an older one of its key; that one can be read as
    /// long as the writer lives.
    pub(crate) fn insert(&self, entry: NewEntry<V>) -> Result<Option<Found<'t, V>>, Error> {
        let hash = entry.hash();
        let array = self.array().map_err(|Closed| Error::ServerDown)?;
        if let Some((array, at)) = array.and_then(|a| Some((a, a.find(hash, entry.key())?))) {
            array.replace(&at, entry.into_raw());
            return Ok(Some(self.retire(at.entry)));
        }
        self.reserve(1)?;
        let Ok(Some(array)) = self.array() else {
            return Err(Error::ServerDown);
        };
        array.place(entry.into_raw(), hash);
        change_len(&self.table.len, 1);
        Ok(None)
    }

    /// Takes the entry of `key` out; it can be read as long as the writer lives.
    pub(crate) fn remove(&self, key: &[u8]) -> Option<Found<'t, V>> {
        let array = self.array().ok().flatten()?;
        let hash = hash(key);
        let at = array.find(hash, key)?;
        array.remove(&at, hash);
        change_len(&self.table.len, -1);
        let old = self.retire(at.entry);
        self.shrink();
        Some(old)
    }

    /// Memory follows what is stored; if there is none for that, it can wait.
    fn shrink(&self) {
        let Ok(Some(array)) = self.array() else {
            return;
        };
        if array.is_wide_for(self.len()) {
            if let Ok(log) = Array::<V>::log_for(self.len() * 2) {
                let _ = self.resize(log);
            }
        }
    }

    /// Takes all entries out, at one instant.
    pub(crate) fn clear(&self) {
        let _ = self.take_all(ptr::null_mut());
    }

    /// Takes all entries out, and readers find the table closed from here on; `false` if it was
    /// already.
    pub(crate) fn close(&self) -> bool {
        self.take_all(closed())
    }

    fn take_all(&self, marker: Word<V>) -> bool {
        if self.table.array.load(Ordering::Relaxed) == closed() {
            return false;
        }
        // A reader that found the table open may look at the length yet: it must not find none.
        if marker != closed() {
            self.table.len.store(0, Ordering::Release);
        }
        self.replace_array(marker, true);
        true
    }

    /// Whether the entries of the old one go with it.
    fn replace_array(&self, new: Word<V>, with_entries: bool) {
        let old = self.table.array.swap(new, Ordering::AcqRel);
        // SAFETY of both: the writer's, or to be freed by what is deferred here at the earliest.
        let memory = unsafe { Array::of(new) }.map_or(ptr::null_mut(), Array::beginning);
        self.table.memory.store(memory, Ordering::Relaxed);
        if let Some(old) = unsafe { Array::of(old) } {
            let bytes = old.bytes(with_entries);
            // SAFETY: no reader that pins from here on finds `old`, and those who may have
            // found it are waited for; it is freed once, on any thread, as V allows.
            unsafe { self.pinned.retire_whole(old.header(with_entries), bytes) };
        }
    }

    fn retire(&self, entry: *mut Entry<V>) -> Found<'t, V> {
        // SAFETY: as above: no cell leads to the entry any more. It can be read as long as
        // the pin lasts.
        unsafe {
            self.pinned.retire(entry, Entry::bytes(entry));
            Found::new(entry)
        }
    }
}
