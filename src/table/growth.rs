//! A table grows and shrinks step by step: no change waits until all entries have moved.
//!
//! # The argument
//!
//! Only the writer is concerned. While a table is *moving* it has a second array, `next`, which no
//! reader knows. The array that readers know stays whole: it has all entries all the time. The
//! writer enters the entries of a few groups into `next` with each change, in the order of the
//! groups; `moved` says how many groups it has been through. So an entry that lies in a group below
//! `moved` is in both arrays, and one that lies above only in the first. Whoever puts an entry into
//! a group below `moved`, takes one out of there, or replaces one, does it in both. When all groups
//! are through, both have the same entries, and `next` is published in the place of the first.
//!
//! The first array begins to move when three quarters of its cells are taken, and each new entry
//! moves two groups, that is ten entries: it never fills up meanwhile.

use std::ptr;

use super::array::{Array, At};
use super::entry::{Entry, TableValue};
use super::writer::{change_len, Writer};
use crate::error::Error;
use crate::sync::{will_read, Ordering};

/// A table of so many groups moves at once: it takes less than a large value.
/// Only the smallest in tests: it has one group, and may be full.
const AT_ONCE: usize = if cfg!(test) { 1 } else { 128 };

/// Groups that a change moves: what a table grows by is needed sooner than what it gives back.
const STEP: usize = 2;
const SHRINKING_STEP: usize = 16;

/// Groups whose entries are on their way to the processor.
const AHEAD: usize = 4;

impl<'t, V: TableValue + Send + Sync + 'static> Writer<'t, V> {
    /// The array that is being filled, if the table is moving.
    fn next(&self) -> Option<Array<'t, V>> {
        // SAFETY: it is the writer's until it is published, and then retired.
        unsafe { Array::of(self.table.next.load(Ordering::Relaxed)) }
    }

    pub(super) fn is_moving(&self) -> bool {
        !self.table.next.load(Ordering::Relaxed).is_null()
    }

    fn moved(&self) -> usize {
        self.table.moved.load(Ordering::Relaxed)
    }

    /// The second array, if an entry that lies in this group of the first is in both.
    fn other_for(&self, group: usize) -> Option<Array<'t, V>> {
        self.next().filter(|_| group < self.moved())
    }

    /// Puts an entry of a new key into the table, which has room for it; it was listed.
    pub(super) fn place_new(&self, entry: *mut Entry<V>, hash: u64) {
        let Ok(Some(array)) = self.array() else {
            return debug_assert!(false, "room was made");
        };
        let index = self.table.index.as_ref();
        debug_assert!(index.is_none_or(|it| it.has(entry)), "it was listed");
        let group = array.place(entry, hash);
        if let Some(other) = self.other_for(group) {
            other.place(entry, hash);
        }
        change_len(&self.table.len, 1);
    }

    /// Puts another entry of the same key into a cell.
    pub(super) fn replace_at(&self, at: &At<V>, entry: *mut Entry<V>, hash: u64) {
        let Ok(Some(array)) = self.array() else {
            return debug_assert!(false, "the cell was found");
        };
        array.replace(at, entry);
        if let Some(other) = self.other_for(array.group_of(at)) {
            if let Some(at) = other.find_entry(hash, at.entry) {
                other.replace(&at, entry);
            }
        }
        if let Some(index) = &self.table.index {
            let _ = index.put(entry); // its key is listed
        }
    }

    /// Takes an entry out of its cell.
    pub(super) fn remove_at(&self, at: &At<V>, hash: u64) {
        let Ok(Some(array)) = self.array() else {
            return debug_assert!(false, "the cell was found");
        };
        array.remove(at, hash);
        if let Some(other) = self.other_for(array.group_of(at)) {
            if let Some(at) = other.find_entry(hash, at.entry) {
                other.remove(&at, hash);
            }
        }
        if let Some(index) = &self.table.index {
            index.remove(at.entry);
        }
        change_len(&self.table.len, -1);
    }

    /// Makes room for one more key, as part of a change; and moves on.
    pub(super) fn reserve_one(&self) -> Result<(), Error> {
        self.step(STEP);
        let array = self.open_array()?;
        let wanted = self.len() + 1;
        if let Some(next) = self.next() {
            if next.has_room_for(wanted) {
                return Ok(());
            }
            self.stop_moving(); // it began to shrink, and is needed again
        }
        if array.is_some_and(|array| array.has_room_for(wanted)) {
            return Ok(());
        }
        self.begin_moving(Array::<V>::log_for(wanted)?)
    }

    /// Whether there is room for `more` keys, so that inserting them cannot fail.
    pub(crate) fn has_room_for(&self, more: usize) -> bool {
        let wanted = self.len().saturating_add(more);
        let array = self.array().ok().flatten();
        array.is_some_and(|array| array.has_room_for(wanted)) && !self.is_moving()
    }

    /// Makes room for `more` keys, so that inserting them cannot fail.
    pub(crate) fn reserve(&self, more: usize) -> Result<(), Error> {
        let wanted = self.len().checked_add(more).ok_or(Error::NoMemory)?;
        let array = self.open_array()?;
        if self.has_room_for(more) {
            return Ok(());
        }
        if self.next().is_some_and(|next| next.has_room_for(wanted)) {
            self.step(usize::MAX);
            return Ok(());
        }
        self.stop_moving();
        if array.is_some_and(|array| array.has_room_for(wanted)) {
            return Ok(());
        }
        self.begin_moving(Array::<V>::log_for(wanted)?)?;
        self.step(usize::MAX);
        Ok(())
    }

    /// Memory follows what is stored; if there is none for that, it can wait.
    pub(super) fn shrink(&self) {
        self.step(SHRINKING_STEP);
        let Ok(Some(array)) = self.array() else {
            return;
        };
        if array.is_wide_for(self.len()) && !self.is_moving() {
            if let Ok(log) = Array::<V>::log_for(self.len() * 2) {
                let _ = self.begin_moving(log);
            }
        }
    }

    fn begin_moving(&self, log: u32) -> Result<(), Error> {
        let word = Array::<V>::build(log)?;
        // SAFETY: just built.
        let memory = unsafe { Array::of(word) }.map_or(ptr::null_mut(), Array::beginning);
        self.table.next_memory.store(memory, Ordering::Relaxed);
        self.table.next.store(word, Ordering::Relaxed);
        self.table.moved.store(0, Ordering::Relaxed);
        let groups = self.array().ok().flatten().map_or(0, Array::groups);
        if groups <= AT_ONCE {
            self.step(usize::MAX);
        }
        Ok(())
    }

    /// Moves some groups, if the table is moving; publishes the second array once all are through.
    fn step(&self, groups: usize) {
        let Some(next) = self.next() else {
            return;
        };
        if let Ok(Some(array)) = self.array() {
            let moved = self.moved();
            let until = array.groups().min(moved.saturating_add(groups));
            for group in moved..until {
                move_group(array, next, group);
            }
            self.table.moved.store(until, Ordering::Relaxed);
            if until < array.groups() {
                return;
            }
        }
        let word = self.table.next.swap(ptr::null_mut(), Ordering::Relaxed);
        let memory = &self.table.next_memory;
        memory.store(ptr::null_mut(), Ordering::Relaxed);
        self.replace_array(word, false); // its entries live on in the new one
    }

    /// Gives up the second array, which nobody but the writer has seen.
    pub(super) fn stop_moving(&self) {
        let word = self.table.next.swap(ptr::null_mut(), Ordering::Relaxed);
        let memory = &self.table.next_memory;
        memory.store(ptr::null_mut(), Ordering::Relaxed);
        // SAFETY: its own, and never published.
        if let Some(next) = unsafe { Array::<V>::of(word) } {
            unsafe { next.free() };
        }
    }
}

/// Enters the entries of a group into another array.
fn move_group<V>(array: Array<'_, V>, next: Array<'_, V>, group: usize) {
    // In a large table no entry is at hand.
    for entry in array.entries_of((group + AHEAD) % array.groups()) {
        will_read(entry);
    }
    for entry in array.entries_of(group) {
        // SAFETY: only the writer takes entries out, and stages them, and it is here.
        next.place(entry, unsafe { Entry::hash(entry) });
    }
}
