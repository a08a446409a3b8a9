//! Small buffers that a thread keeps for its next copy: a get needs one and
//! `kvreg_value_clear` is done with it, again and again, and to ask the allocator each time
//! takes as long as the lookup.
//!
//! Only the thread itself looks at its buffers. They are a few of each size, come from
//! `malloc` and go back to it when the thread ends; a thread whose end would not be noticed
//! keeps none.

use std::cell::Cell;
use std::ptr::{self, NonNull};

use crate::sync::{Area, ThreadLocal};

/// Buffers differ by so many bytes.
const STEP: usize = 16;
/// So many sizes are kept: up to 128 bytes.
const SIZES: usize = 8;
/// So many of each size.
const KEPT: u8 = 16;

struct Buffers {
    /// By size; each leads to the next by its first word.
    first: [Cell<*mut u8>; SIZES],
    /// How many more of each size it would keep.
    room: [Cell<u8>; SIZES],
}

// SAFETY: no buffers, and room for none; the area is its own.
unsafe impl ThreadLocal for Buffers {
    const AREA: Area = Area::Buffers;
}

/// The calling thread's end will be noticed: it may keep buffers.
pub(crate) fn open() {
    Buffers::own(Buffers::open);
}

/// The calling thread ends.
pub(crate) fn close() {
    Buffers::own(Buffers::close);
}

/// Room for `len` bytes and a NUL; `None` if there is no memory.
#[inline(always)]
pub(crate) fn take(len: usize) -> Option<NonNull<u8>> {
    Buffers::own(|buffers| buffers.take(len))
}

/// Gives a buffer back that was taken for `len` bytes, on any thread.
///
/// # Safety
/// Once, and nobody reads it any more.
#[inline(always)]
pub(crate) unsafe fn give(buffer: *mut u8, len: usize) {
    // SAFETY: by contract.
    Buffers::own(|buffers| unsafe { buffers.give(buffer, len) });
}

impl Buffers {
    #[cfg(test)]
    fn new() -> Buffers {
        Buffers {
            first: [const { Cell::new(ptr::null_mut()) }; SIZES],
            room: [const { Cell::new(0) }; SIZES],
        }
    }

    fn open(&self) {
        for (first, room) in self.first.iter().zip(&self.room) {
            // Else it was open before a fork, and goes on.
            if first.get().is_null() {
                room.set(KEPT);
            }
        }
    }

    #[inline(always)]
    fn take(&self, len: usize) -> Option<NonNull<u8>> {
        let size = len / STEP;
        if let Some(place) = self.first.get(size) {
            let first = place.get();
            if let Some(buffer) = NonNull::new(first) {
                // SAFETY: `give` wrote the next one there.
                place.set(unsafe { first.cast::<*mut u8>().read() });
                self.room[size].set(self.room[size].get() + 1);
                return Some(buffer);
            }
        }
        allocate(size)
    }

    /// # Safety
    /// As the function of this name.
    #[inline(always)]
    unsafe fn give(&self, buffer: *mut u8, len: usize) {
        let size = len / STEP;
        if size < SIZES && self.room[size].get() > 0 {
            // SAFETY: it has at least `STEP` bytes, and malloc aligns them.
            unsafe { buffer.cast::<*mut u8>().write(self.first[size].get()) };
            self.first[size].set(buffer);
            self.room[size].set(self.room[size].get() - 1);
            return;
        }
        // SAFETY: from malloc, and nobody else's.
        unsafe { free(buffer) };
    }

    fn close(&self) {
        for (place, room) in self.first.iter().zip(&self.room) {
            let mut first = place.replace(ptr::null_mut());
            room.set(0);
            while !first.is_null() {
                // SAFETY: this thread's own, each leading to the next.
                unsafe {
                    let next = first.cast::<*mut u8>().read();
                    free(first);
                    first = next;
                }
            }
        }
    }
}

// Apart, for what a call needs would burden the way that makes none.

#[cold]
#[inline(never)]
fn allocate(size: usize) -> Option<NonNull<u8>> {
    // SAFETY: any size will do.
    NonNull::new(unsafe { libc::malloc((size + 1) * STEP) }.cast())
}

/// # Safety
/// It came from `allocate`, and nobody uses it any more.
#[cold]
#[inline(never)]
unsafe fn free(buffer: *mut u8) {
    // SAFETY: by contract.
    unsafe { libc::free(buffer.cast()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again() {
        let buffers = Buffers::new();
        buffers.open();
        for len in [0, 15, 16, 64, 127] {
            let first = buffers.take(len).unwrap();
            // SAFETY: given once.
            unsafe { buffers.give(first.as_ptr(), len) };
            assert_eq!(buffers.take(len), Some(first));
            unsafe { buffers.give(first.as_ptr(), len) };
        }
        buffers.close();
    }

    #[test]
    fn it_keeps_a_few_and_none_when_closed() {
        let buffers = Buffers::new();
        let give_many = || {
            let taken: Vec<_> = (0..100).map(|_| buffers.take(64).unwrap()).collect();
            for buffer in taken {
                // SAFETY: given once.
                unsafe { buffers.give(buffer.as_ptr(), 64) };
            }
            let mut kept = 0;
            let mut next = buffers.first[64 / STEP].get();
            while !next.is_null() {
                kept += 1;
                // SAFETY: each leads to the next.
                next = unsafe { next.cast::<*mut u8>().read() };
            }
            kept
        };
        assert_eq!(give_many(), 0);
        buffers.open();
        assert_eq!(give_many(), KEPT);
        assert_eq!(give_many(), KEPT);
        buffers.close();
        assert_eq!(give_many(), 0);
    }
}
