//! An index of a table's entries in the order of their keys, for tables that are read in order.
//!
//! # The argument
//!
//! The index is the writer's: who reads in order has the right to write too, so nobody is in
//! another's way; its lock is there to say so. It has the address of each entry that stands in a
//! cell, and compares their keys, which never change. An entry never moves. It is put into the
//! index when it is put into its cell; another entry of the same key takes its place there at once,
//! and what leaves its cell leaves the index, each before it is retired. So each address is that of
//! an entry which is not freed. `clear` and `close` take the whole index away, and then no address
//! is followed any more; it is freed in slices, like the entries.
//!
//! A key is listed before its entry is put into its cell, since that may fail; a batch lists all of
//! its new keys first, and nobody reads before it is over.

use std::alloc::{dealloc, Layout};
use std::mem::MaybeUninit;
use std::ops::Bound;

use super::entry::{Entry, Found, NewEntry, TableValue};
use super::sorted::Sorted;
use super::{Table, Writer};
use crate::error::Error;
use crate::memory;
use crate::reclaim::{Guard, RetireWhole, WholeNode};
use crate::sync::{lock, Mutex};

/// An index of so many keys is freed at once.
const AT_ONCE: usize = 2048;

/// The writer's.
pub(super) struct Index<V>(Mutex<Sorted<V>>);

// SAFETY: addresses, which are followed by who has the right to write, as the argument says.
unsafe impl<V: Send + Sync> Send for Index<V> {}
// SAFETY: as above.
unsafe impl<V: Send + Sync> Sync for Index<V> {}

impl<V> Index<V> {
    pub(super) fn new() -> Index<V> {
        Index(Mutex::new(Sorted::new()))
    }

    /// Lists an entry, in the place of an older one of its key; takes memory for a new key only.
    pub(super) fn put(&self, entry: *const Entry<V>) -> Result<(), Error> {
        // SAFETY: see the argument.
        unsafe { lock(&self.0).put(entry) }
    }

    pub(super) fn has(&self, entry: *const Entry<V>) -> bool {
        // SAFETY: an entry of the table.
        lock(&self.0).has(unsafe { Entry::key(entry) })
    }

    /// Takes an entry out.
    pub(super) fn remove(&self, entry: *const Entry<V>) {
        // SAFETY: it is not freed as long as it is listed.
        lock(&self.0).remove(unsafe { Entry::key(entry) });
    }
}

impl<V: Send + Sync + 'static> Index<V> {
    /// Takes all out.
    pub(super) fn clear(&self, pinned: &Guard) {
        let all = std::mem::replace(&mut *lock(&self.0), Sorted::new());
        let len = all.len();
        if len <= AT_ONCE {
            return;
        }
        let whole = Gone::<V> {
            node: MaybeUninit::uninit(),
            left: all,
        };
        // SAFETY: the layout of what is written; and it is this one's alone.
        unsafe {
            let gone = memory::try_alloc(Gone::<V>::LAYOUT).cast::<Gone<V>>();
            if gone.is_null() {
                return; // freed here: to take out is not refused for want of memory
            }
            gone.write(whole);
            pinned.retire_whole(gone, len * size_of::<u64>() * 4);
        }
    }
}

/// An index that is being freed.
#[repr(C)]
struct Gone<V> {
    /// Written when it is retired.
    node: MaybeUninit<WholeNode>,
    left: Sorted<V>,
}

impl<V> Gone<V> {
    const LAYOUT: Layout = Layout::new::<Gone<V>>();
}

// SAFETY: it begins with its node. It has addresses alone, which nobody follows.
unsafe impl<V: Send + Sync> RetireWhole for Gone<V> {
    unsafe fn free_slice(gone: *mut Gone<V>, budget: usize) -> bool {
        // SAFETY: by contract it is this one's alone; the layout is that of its allocation.
        unsafe {
            if !(*gone).left.free_some(budget) {
                return false;
            }
            gone.drop_in_place();
            dealloc(gone.cast(), Gone::<V>::LAYOUT);
            true
        }
    }
}

impl<V: TableValue> Table<V> {
    /// A table that can be read in the order of its keys.
    pub(crate) fn ordered() -> Table<V> {
        let mut table = Table::new();
        table.index = Some(Box::new(Index::new()));
        table
    }

    pub(crate) fn is_ordered(&self) -> bool {
        self.index.is_some()
    }
}

impl<'t, V: TableValue + Send + Sync + 'static> Writer<'t, V> {
    /// Shows the entries in the order of their keys, until `show` says that it is enough; of an
    /// ordered table.
    pub(crate) fn in_order(
        &self,
        from: Bound<&[u8]>,
        mut show: impl FnMut(Found<'t, V>) -> bool,
    ) -> Result<(), Error> {
        self.open_array()?;
        let Some(index) = &self.table.index else {
            return Ok(());
        };
        // SAFETY: an entry of the table, and the writer is pinned.
        lock(&index.0).walk(from, |entry| show(unsafe { Found::new(entry) }));
        Ok(())
    }

    /// Lists the new keys of a batch, or none of them: before they are put in, which cannot fail
    /// then. What is not put in is to be taken out by `unlist`.
    pub(crate) fn list<'e>(
        &self,
        entries: impl Iterator<Item = &'e NewEntry<V>> + Clone,
    ) -> Result<(), Error>
    where
        V: 'e,
    {
        let Some(index) = &self.table.index else {
            return Ok(());
        };
        let mut all = lock(&index.0);
        for entry in entries.clone() {
            if all.has(entry.key()) {
                continue;
            }
            // SAFETY: see the argument.
            if let Err(refused) = unsafe { all.put(entry.view().entry()) } {
                drop(all);
                self.unlist(entries);
                return Err(refused);
            }
        }
        Ok(())
    }

    /// Takes back what `list` did, before any of it was put in.
    pub(crate) fn unlist<'e>(&self, entries: impl Iterator<Item = &'e NewEntry<V>>)
    where
        V: 'e,
    {
        let Some(index) = &self.table.index else {
            return;
        };
        for entry in entries.filter(|it| self.at(it.hash(), it.key()).is_none()) {
            index.remove(entry.view().entry());
        }
    }
}
