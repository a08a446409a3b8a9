//! A hash table with one writer at a time and readers that neither wait nor write.
//!
//! A bucket's keys and a registry's names live in one. A server's handlers have their state
//! to themselves, so writers need no order among themselves here; readers come from anywhere.
//!
//! **Argument.** An entry's key never changes once it is published; what belongs to it changes
//! only as it allows itself. The writer publishes an entry by storing a tag and then its
//! address in a cell, which is null until then (Release; readers load both with Acquire); so
//! whoever sees it found its tag. It replaces it by storing another address in the same cell, so a
//! reader sees the old or the new one; and removes it by storing null there, and then taking the
//! tag away. A reader that had seen the tag may find a later entry in the cell: it compares keys.
//! An entry never moves, so a search that passes its cell while it is there finds it. The writer grows the table by building a second array of the same entries, step by
//! step (`growth`), and publishing that. A reader that still searches the old array sees the
//! table as it was when it was replaced, which is a moment of its own read. `clear` and `close`
//! replace the array by a marker, which takes effect at one instant. What was taken out is given
//! to the epoch: a reader is pinned while it looks. The entries of a batch show what was before
//! them until all of them count (`staging`). Searches end because an array is never full, but for
//! one of a single group.
//!
//! An array is found by a word that has its length in it, and so does not point to where its
//! memory begins. Programs that look for leaks take what only such pointers lead to for lost:
//! the table notes the beginning too, which nobody reads, and what waits for the epoch has it.

mod array;
mod entry;
mod growth;
mod ordered;
mod pages;
mod scan;
mod sorted;
mod staging;
mod writer;

use std::marker::PhantomData;
use std::ptr;

use crate::reclaim::Guard;
use crate::sync::{AtomicPtr, AtomicUsize, Ordering};
use array::{closed, Array, Group};
pub(crate) use entry::{Entry, Found, Marks, NewEntry, Spot, TableValue};
pub(crate) use scan::Position;
pub(crate) use staging::{Batch, BatchRoom, Staged};
pub(crate) use writer::{FreePlace, Place, Writer};

/// The table was closed: its server has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Closed;

pub(crate) struct Table<V: TableValue> {
    /// Null: empty. `closed()`: closed. Else an array of `Array::build`.
    array: AtomicPtr<Group<V>>,
    /// Where the array's memory begins, for those who look for leaks. The writer's.
    memory: AtomicPtr<u8>,
    len: AtomicUsize,
    /// Null, or an array that is being filled. The writer's, as the two after it (`growth`).
    next: AtomicPtr<Group<V>>,
    next_memory: AtomicPtr<u8>,
    /// How many groups of the array are in `next` too.
    moved: AtomicUsize,
    /// Of a table that is read in order. The writer's.
    index: Option<Box<ordered::Index<V>>>,
    owns: PhantomData<Entry<V>>,
}

// SAFETY: the owner of its entries, which are shared with readers of any thread.
unsafe impl<V: TableValue + Send + Sync> Send for Table<V> {}
// SAFETY: as above; it is changed through the one `Writer` only.
unsafe impl<V: TableValue + Send + Sync> Sync for Table<V> {}

impl<V: TableValue> Table<V> {
    pub(crate) fn new() -> Table<V> {
        Table {
            array: AtomicPtr::new(ptr::null_mut()),
            memory: AtomicPtr::new(ptr::null_mut()),
            len: AtomicUsize::new(0),
            next: AtomicPtr::new(ptr::null_mut()),
            next_memory: AtomicPtr::new(ptr::null_mut()),
            moved: AtomicUsize::new(0),
            index: None,
            owns: PhantomData,
        }
    }

    #[inline(always)]
    fn array<'g>(&self, _pinned: &'g Guard) -> Result<Option<Array<'g, V>>, Closed> {
        let word = self.array.load(Ordering::Acquire);
        // SAFETY: retired through the epoch, and the caller is pinned for 'g.
        match unsafe { Array::of(word) } {
            None if word == closed() => Err(Closed),
            array => Ok(array),
        }
    }

    /// What belongs to a key, of this hash, now. Neither waits nor writes. Does not panic.
    #[inline(always)]
    pub(crate) fn get<'g>(
        &self,
        hash: u64,
        key: &[u8],
        pinned: &'g Guard,
    ) -> Result<Option<Found<'g, V>>, Closed> {
        let Some(array) = self.array(pinned)? else {
            return Ok(None);
        };
        let at = array.find(hash, key);
        // SAFETY: an entry of the table, and the caller is pinned.
        Ok(at.map(|at| unsafe { Found::new(at.entry) }))
    }

    /// How many keys there are; a write in flight may count or not.
    pub(crate) fn len(&self, pinned: &Guard) -> Result<usize, Closed> {
        self.array(pinned)?;
        Ok(self.len.load(Ordering::Acquire))
    }

    /// The writing side.
    ///
    /// # Safety
    /// While the writer lives the calling thread is the only one that has one for this table.
    pub(crate) unsafe fn writer<'t>(&'t self, pinned: &'t Guard) -> Writer<'t, V> {
        Writer::new(self, pinned)
    }
}

impl<V: TableValue> Drop for Table<V> {
    fn drop(&mut self) {
        // SAFETY: nobody else has the table, so nobody else has its arrays or entries.
        unsafe {
            if let Some(next) = Array::<V>::of(self.next.load(Ordering::Acquire)) {
                next.free();
            }
            if let Some(array) = Array::of(self.array.load(Ordering::Acquire)) {
                free_all(array);
            }
        }
    }
}

/// # Safety
/// The array came from `Array::build`, and nobody uses it or its entries any more.
unsafe fn free_all<V: TableValue>(array: Array<'_, V>) {
    // SAFETY: by contract.
    unsafe {
        for entry in array.entries() {
            Entry::free(entry);
        }
        array.free();
    }
}
