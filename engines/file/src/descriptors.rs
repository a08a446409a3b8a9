//! The descriptors that this engine has open, for a child of a fork, which closes them.
//!
//! # The argument
//!
//! A place is -1 or the number of a descriptor. Who opens one notes it afterwards and takes its
//! lock after that; who closes one gives up its lock first, takes the note away, and closes it
//! last. So what is noted is open: a child never closes a number that is another's. A fork between
//! opening and noting, or between the last two, leaves the child with a descriptor that it does not
//! know of. It keeps nobody from the file, since its lock is given up by name and not by closing,
//! and it ends when the child executes something.
//!
//! `close_all` swaps numbers and closes them: no lock, no memory.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, Ordering};

/// More files than a process may commonly have open.
const MOST: usize = 1024;

static OPEN: [AtomicI32; MOST] = [const { AtomicI32::new(-1) }; MOST];

/// Notes an open one. `None`: there are too many.
pub(crate) fn note(descriptor: RawFd) -> Option<usize> {
    OPEN.iter().position(|place| {
        let swapped = place.compare_exchange(-1, descriptor, Ordering::Relaxed, Ordering::Relaxed);
        swapped.is_ok()
    })
}

/// This one is about to be closed.
pub(crate) fn forget(place: usize) {
    OPEN[place].store(-1, Ordering::Relaxed);
}

/// Closes all, in a child of a fork, where nobody uses them.
pub(crate) fn close_all() {
    for place in &OPEN {
        let descriptor = place.swap(-1, Ordering::Relaxed);
        if descriptor >= 0 {
            // SAFETY: noted, so it is open, and was inherited by a child that does nothing with it;
            // the values that own it are the parent's, and are not dropped here.
            unsafe { libc::close(descriptor) };
        }
    }
}
