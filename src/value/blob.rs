//! The bytes of a large value, shared: their count, their length and they themselves are one
//! block of memory.
//!
//! # The argument
//!
//! As in `Arc`: who has a [`Shared`] has a count, another count is made from one that is there
//! (Relaxed: its owner keeps the block), and who gives the last one back has seen all that others
//! did with the bytes (Release, then Acquire) before it frees the block. The bytes are written once,
//! before the first count is given away. std's `Arc<[u8]>` would do, but for two words where one
//! must do, and for memory that may be refused.

use std::alloc::{dealloc, Layout};
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::sync::atomic::{fence, AtomicUsize, Ordering}; // nothing for the model to explore

use crate::error::Error;
use crate::memory;

#[repr(C)]
struct Head {
    count: AtomicUsize,
    /// Without the NUL behind them.
    len: usize,
    // followed by the bytes, and a NUL
}

/// A count of some bytes.
pub(crate) struct Shared(NonNull<Head>);

// SAFETY: the bytes do not change, and the count is an atomic.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    fn layout(len: usize) -> Option<Layout> {
        let bytes = Layout::array::<u8>(len.checked_add(1)?).ok()?;
        Some(Layout::new::<Head>().extend(bytes).ok()?.0)
    }

    /// Fails if there is no memory: the size is the caller's choice.
    pub(crate) fn new(bytes: &[u8]) -> Result<Shared, Error> {
        let len = bytes.len();
        let layout = Shared::layout(len).ok_or(Error::NoMemory)?;
        // SAFETY: not of size zero; the head is written before it is used, and the bytes and
        // the NUL fit behind it by the same layout.
        unsafe {
            let head =
                NonNull::new(memory::try_alloc(layout).cast::<Head>()).ok_or(Error::NoMemory)?;
            let count = AtomicUsize::new(1);
            head.write(Head { count, len });
            let place = head.add(1).cast::<u8>();
            ptr::copy_nonoverlapping(bytes.as_ptr(), place.as_ptr(), len);
            place.add(len).write(0);
            Ok(Shared(head))
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: written by `new`, and not freed while this has a count.
        unsafe {
            let len = self.0.as_ref().len;
            std::slice::from_raw_parts(self.0.add(1).cast::<u8>().as_ptr(), len)
        }
    }

    /// The address that stands for it; the count remains its own.
    pub(crate) fn address(&self) -> usize {
        self.0.as_ptr().expose_provenance()
    }

    /// Gives the count away, as an address.
    pub(crate) fn into_address(self) -> usize {
        ManuallyDrop::new(self).address()
    }

    /// What an address stands for; to drop it drops the count.
    ///
    /// # Safety
    /// The address is one's, and a count of it lasts as long as the answer is
    /// used.
    #[inline(always)]
    pub(crate) unsafe fn at(address: usize) -> ManuallyDrop<Shared> {
        let head = ptr::with_exposed_provenance_mut(address);
        // SAFETY: by contract it is one's, so not null.
        ManuallyDrop::new(Shared(unsafe { NonNull::new_unchecked(head) }))
    }
}

impl Clone for Shared {
    #[inline]
    fn clone(&self) -> Shared {
        // SAFETY: this has a count.
        unsafe { self.0.as_ref() }
            .count
            .fetch_add(1, Ordering::Relaxed);
        Shared(self.0)
    }
}

impl Drop for Shared {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: this has a count until here.
        let before = unsafe { self.0.as_ref() }
            .count
            .fetch_sub(1, Ordering::Release);
        if before == 1 {
            fence(Ordering::Acquire);
            let len = self.bytes().len();
            if let Some(layout) = Shared::layout(len) {
                // SAFETY: it was the last count, and this is the layout it was allocated with.
                unsafe { dealloc(self.0.as_ptr().cast(), layout) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_there_until_the_last_count_goes() {
        let first = Shared::new(b"milk").unwrap();
        let address = first.clone().into_address();
        drop(first);
        // SAFETY: the count that was given away.
        let last = unsafe { Shared::at(address) };
        assert_eq!(last.bytes(), b"milk");
        drop(ManuallyDrop::into_inner(last));
    }
}
