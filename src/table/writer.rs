//! The one writer of a table. See the module above.

use std::ptr;

use super::array::{closed, Array, At, Word};
use super::entry::{Entry, Found, Marks, NewEntry, TableValue};
use super::{Closed, Table};
use crate::error::Error;
use crate::reclaim::Guard;
use crate::sync::{AtomicUsize, Ordering};

/// What a table finds entries by of a hash: the tag, and the place in a table of up to 2^40 groups.
const LIKE: u64 = 0xff00_00ff_ffff_ffff;

/// Where the writer finds a key, or may put it.
pub(crate) enum Place<'t, V: TableValue> {
    Taken(Found<'t, V>),
    Free(FreePlace<'t, V>),
}

pub(crate) struct FreePlace<'t, V: TableValue> {
    table: &'t Table<V>,
    array: Array<'t, V>,
    hash: u64,
}

impl<V: TableValue> FreePlace<'_, V> {
    /// Stores an entry of the key that the place was found for; the tail has so many words at
    /// least.
    #[inline]
    pub(crate) fn fill(
        self,
        key: &[u8],
        value: V,
        (tail, words): (&[u8], usize),
        marks: Marks,
    ) -> Result<(), Error> {
        let entry = Entry::allocate_hashed(key, self.hash, value, tail, words)?;
        entry.set_marks(marks);
        self.put(entry)
    }

    /// Stores an entry of the key and the hash that the place was found for. Only an ordered table
    /// needs memory for that.
    pub(crate) fn put(self, entry: NewEntry<V>) -> Result<(), Error> {
        if let Some(index) = &self.table.index {
            index.put(entry.view().entry())?;
        }
        self.array.place(entry.into_raw(), self.hash);
        change_len(&self.table.len, 1);
        Ok(())
    }
}

/// An entry that can be taken out.
pub(crate) struct Removable<'t, V> {
    array: Array<'t, V>,
    at: At<V>,
}

impl<'t, V> Removable<'t, V> {
    #[inline(always)]
    pub(crate) fn found(&self) -> Found<'t, V> {
        // SAFETY: an entry of the table, and the writer, which found it, is pinned.
        unsafe { Found::new(self.at.entry) }
    }
}

/// The writer's.
pub(super) fn change_len(len: &AtomicUsize, by: isize) {
    let before = len.load(Ordering::Relaxed);
    len.store(before.wrapping_add_signed(by), Ordering::Release);
}

pub(crate) struct Writer<'t, V: TableValue> {
    pub(super) table: &'t Table<V>,
    pinned: &'t Guard,
}

impl<'t, V: TableValue> Writer<'t, V> {
    pub(super) fn new(table: &'t Table<V>, pinned: &'t Guard) -> Writer<'t, V> {
        Writer { table, pinned }
    }

    pub(super) fn array(&self) -> Result<Option<Array<'t, V>>, Closed> {
        self.table.array(self.pinned)
    }

    pub(super) fn open_array(&self) -> Result<Option<Array<'t, V>>, Error> {
        self.array().map_err(|Closed| Error::ServerDown)
    }

    pub(super) fn len(&self) -> usize {
        self.table.len.load(Ordering::Relaxed)
    }

    /// Where a key is.
    pub(super) fn at(&self, hash: u64, key: &[u8]) -> Option<At<V>> {
        self.array().ok().flatten()?.find(hash, key)
    }

    /// Where an entry is.
    pub(super) fn at_entry(&self, hash: u64, entry: *mut Entry<V>) -> Option<At<V>> {
        self.array().ok().flatten()?.find_entry(hash, entry)
    }

    pub(crate) fn get(&self, hash: u64, key: &[u8]) -> Result<Option<Found<'t, V>>, Closed> {
        self.table.get(hash, key, self.pinned)
    }

    /// The entries of a hash of which `LIKE` was noted, and perhaps others. Not within a batch.
    pub(crate) fn hashed_like(&self, hash: u64) -> impl Iterator<Item = Found<'t, V>> + use<'t, V> {
        let array = self.array().ok().flatten();
        let entries = array
            .into_iter()
            .flat_map(move |it| it.entries_like(hash, !LIKE));
        // SAFETY: entries of the table, and the writer is pinned.
        entries.map(|entry| unsafe { Found::new(entry) })
    }

    /// An entry whose hash is this one but for the bits of a mask, none of which says where an
    /// entry lies, if it is the one that is wanted. Not within a batch.
    pub(crate) fn find_like(
        &self,
        hash: u64,
        mask: u64,
        is_wanted: impl Fn(&Found<'t, V>) -> bool,
    ) -> Option<Found<'t, V>> {
        let array = self.array().ok()??;
        let entries = array.entries_like(hash, mask);
        // SAFETY: entries of the table, and the writer is pinned.
        let mut found = entries.map(|entry| unsafe { Found::new(entry) });
        found.find(is_wanted)
    }

    pub(crate) fn entries(&self) -> Result<impl Iterator<Item = Found<'t, V>>, Closed> {
        let entries = self.array()?.into_iter().flat_map(Array::entries);
        // SAFETY: entries of the table, and the writer is pinned.
        Ok(entries.map(|entry| unsafe { Found::new(entry) }))
    }
}

impl<'t, V: TableValue + Send + Sync + 'static> Writer<'t, V> {
    /// Where a key is or would be, if no room need be made for it. Does not panic.
    #[inline(always)]
    pub(crate) fn fast_place(&self, hash: u64, key: &[u8]) -> Option<Place<'t, V>> {
        let array = self.array().ok()??;
        if let Some(at) = array.find(hash, key) {
            // SAFETY: an entry of the table, and the writer is pinned.
            return Some(Place::Taken(unsafe { Found::new(at.entry) }));
        }
        let has_room = array.has_room_for(self.len() + 1) && !self.is_moving();
        has_room.then_some(Place::Free(FreePlace {
            table: self.table,
            array,
            hash,
        }))
    }

    /// Where the entry of a key is, if it can be taken out by `fast_remove`: unless the table is
    /// moving or should, or is ordered. Does not panic.
    #[inline(always)]
    pub(crate) fn fast_find(&self, hash: u64, key: &[u8]) -> Option<Removable<'t, V>> {
        let array = self.array().ok()??;
        let at = array.find(hash, key)?;
        let stays = !array.is_wide_for(self.len() - 1) && !self.is_moving();
        let stays = stays && !self.table.is_ordered();
        stays.then_some(Removable { array, at })
    }

    /// Takes out what was just found. Does not panic.
    #[inline(always)]
    pub(crate) fn fast_remove(&self, found: Removable<'t, V>, hash: u64) {
        found.array.remove(&found.at, hash);
        change_len(&self.table.len, -1);
        self.retire(found.at.entry);
    }

    /// Stores the entry, in the place of an older one of its key; that one can be read as
    /// long as the writer lives.
    pub(crate) fn insert(&self, entry: NewEntry<V>) -> Result<Option<Found<'t, V>>, Error> {
        let hash = entry.hash();
        self.open_array()?;
        if let Some(at) = self.at(hash, entry.key()) {
            self.replace_at(&at, entry.into_raw(), hash);
            return Ok(Some(self.retire(at.entry)));
        }
        self.reserve_one()?;
        if let Some(index) = &self.table.index {
            index.put(entry.view().entry())?;
        }
        self.place_new(entry.into_raw(), hash);
        Ok(None)
    }

    /// Takes the entry of `key` out; it can be read as long as the writer lives.
    pub(crate) fn remove(&self, hash: u64, key: &[u8]) -> Option<Found<'t, V>> {
        let at = self.at(hash, key)?;
        self.remove_at(&at, hash);
        let old = self.retire(at.entry);
        self.shrink();
        Some(old)
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
        self.stop_moving();
        if let Some(index) = &self.table.index {
            index.clear(self.pinned);
        }
        // A reader that found the table open may look at the length yet: it must not find none.
        if marker != closed() {
            self.table.len.store(0, Ordering::Release);
        }
        self.replace_array(marker, true);
        true
    }

    /// Whether the entries of the old array go with it.
    pub(super) fn replace_array(&self, new: Word<V>, with_entries: bool) {
        let old = self.table.array.swap(new, Ordering::AcqRel);
        // SAFETY of both: the writer's, or to be freed by what is deferred here at the earliest.
        let memory = unsafe { Array::of(new) }.map_or(ptr::null_mut(), Array::beginning);
        self.table.memory.store(memory, Ordering::Relaxed);
        if let Some(old) = unsafe { Array::of(old) } {
            let bytes = old.bytes(with_entries);
            // SAFETY: no reader that pins from here on finds `old`, and those who may have
            // found it are waited for; it is freed once, on any thread, as V allows.
            unsafe { self.pinned.retire_whole(old.head(with_entries), bytes) };
        }
    }

    pub(super) fn retire(&self, entry: *mut Entry<V>) -> Found<'t, V> {
        // SAFETY: as above: no cell leads to the entry any more. It can be read as long as
        // the pin lasts.
        unsafe {
            self.pinned.retire(entry, Entry::bytes(entry));
            Found::new(entry)
        }
    }
}
