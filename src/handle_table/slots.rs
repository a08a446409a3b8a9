//! Free slots that a thread keeps for its next handles.

use std::alloc::{dealloc, Layout};
use std::cell::Cell;

use super::HandleTable;
use crate::memory;
use crate::runtime::thread_end::PerThread;
use crate::sync::{lock, Area, ThreadLocal};

/// So many a thread keeps, in a block of its own: all that may wait at once to be freed where several
/// threads free (`reclaim`), and what it got from the table beside. Else slots would go from thread
/// to thread by way of the table, and their cache lines with them.
pub(super) const KEPT: usize = 2048;
/// What it gives back when it has no room for more, and what it gets when it has none.
pub(super) const GIVEN: usize = 512;
/// What it gets of slots that were never used.
pub(super) const NEW: usize = 32;

/// Slots that a thread keeps for its next handles, so that making and freeing them takes no
/// lock. A thread whose end would not be noticed keeps none.
pub(super) struct Slots {
    /// Whose they are: another one's in a forked child.
    table: Cell<*const HandleTable>,
    /// Room for `KEPT`, or null.
    numbers: Cell<*mut u32>,
    len: Cell<u32>,
    is_open: Cell<bool>,
}

// SAFETY: no table and no slots, and not open; the area is its own.
unsafe impl ThreadLocal for Slots {
    const AREA: Area = Area::Handles;
}

pub(crate) const PER_THREAD: PerThread = PerThread {
    open: || Slots::own(Slots::open),
    forget: || Slots::own(Slots::forget_parent),
    end: |_| Slots::own(Slots::close),
};

impl Slots {
    /// The thread's end will be noticed.
    fn open(&self) {
        self.is_open.set(true);
    }

    pub(super) fn take(&self, table: &'static HandleTable) -> Option<u32> {
        let len = self.len.get();
        if len == 0 || !std::ptr::eq(self.table.get(), table) {
            return None;
        }
        self.len.set(len - 1);
        // SAFETY: so many were written by `keep`.
        Some(unsafe { self.numbers.get().add(len as usize - 1).read() })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len.get() == 0
    }

    /// Whether it may keep slots of this table. Then it has room for `KEPT`.
    #[inline]
    pub(super) fn may_keep(&self, table: &'static HandleTable) -> bool {
        std::ptr::eq(self.table.get(), table) || self.begin(table)
    }

    #[cold]
    fn begin(&self, table: &'static HandleTable) -> bool {
        if !self.is_open.get() {
            return false;
        }
        if self.numbers.get().is_null() {
            // SAFETY: not of size zero.
            let numbers = unsafe { memory::try_alloc(Slots::LAYOUT) };
            if numbers.is_null() {
                return false; // it does without
            }
            self.numbers.set(numbers.cast());
        }
        // What it has is of the process before a fork, which has no use for it here.
        self.table.set(table);
        self.len.set(0);
        true
    }

    const LAYOUT: Layout = Layout::new::<[u32; KEPT]>();

    /// `false` if it keeps none.
    #[inline]
    pub(super) fn keep(&self, table: &'static HandleTable, number: u32) -> bool {
        if !self.may_keep(table) {
            return false;
        }
        if self.len.get() as usize == KEPT {
            self.give_back();
        }
        let len = self.len.get();
        // SAFETY: there is room for so many.
        unsafe { self.numbers.get().add(len as usize).write(number) };
        self.len.set(len + 1);
        true
    }

    /// Makes room: some go to the table, those first that it has had for longest.
    #[cold]
    fn give_back(&self) {
        let (numbers, left) = (self.numbers.get(), KEPT - GIVEN);
        // SAFETY of all: a table that was `'static`, and all of the block is written.
        if let Some(table) = unsafe { self.table.get().as_ref() } {
            let given = unsafe { std::slice::from_raw_parts(numbers, GIVEN) };
            lock(&table.free.0).slots.extend_from_slice(given);
        }
        unsafe { numbers.copy_from(numbers.add(GIVEN), left) };
        self.len.set(left as u32);
    }

    /// Takes what the table gives for one that has none.
    pub(super) fn fill(&self, given: impl Iterator<Item = u32>) {
        for number in given.take(GIVEN) {
            let len = self.len.get();
            // SAFETY: it had none, and there is room for more than `GIVEN`.
            unsafe { self.numbers.get().add(len as usize).write(number) };
            self.len.set(len + 1);
        }
    }

    /// In a forked child: they are of the parent's table, which is not to be touched.
    fn forget_parent(&self) {
        self.table.set(std::ptr::null());
        self.len.set(0);
    }

    /// The thread ends.
    fn close(&self) {
        self.is_open.set(false);
        let table = self.table.replace(std::ptr::null());
        let numbers = self.numbers.replace(std::ptr::null_mut());
        let len = self.len.replace(0) as usize;
        if numbers.is_null() {
            return;
        }
        // SAFETY of all: a table that was `'static`; so many were written; and the block is from
        // `begin`, which has it no more.
        unsafe {
            if let Some(table) = table.as_ref() {
                let given = std::slice::from_raw_parts(numbers, len);
                lock(&table.free.0).slots.extend_from_slice(given);
            }
            dealloc(numbers.cast(), Slots::LAYOUT);
        }
    }
}
