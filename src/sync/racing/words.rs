//! Copies by atomic words.

use crate::sync::{AtomicU64, Ordering};

/// Copies `len` bytes out of the places.
///
/// # Safety
/// The places have so many bytes, and one place at least. `to` may be written for `len` bytes.
#[inline(always)]
pub(crate) unsafe fn copy_out(from: &[AtomicU64], to: *mut u8, len: usize) {
    let (whole, rest) = (len / 8, len % 8);
    // SAFETY: by contract.
    unsafe {
        for at in 0..whole {
            let word = from.get_unchecked(at).load(Ordering::Relaxed);
            to.add(at * 8).cast::<u64>().write_unaligned(word);
        }
        if rest > 0 {
            let word = from.get_unchecked(whole).load(Ordering::Relaxed);
            let word = word.to_ne_bytes();
            std::ptr::copy_nonoverlapping(word.as_ptr(), to.add(whole * 8), rest);
        }
    }
}

/// Copies bytes into the places.
///
/// # Safety
/// The places have room for them, and there is one at least.
#[inline(always)]
pub(crate) unsafe fn copy_in(to: &[AtomicU64], bytes: &[u8]) {
    let whole = bytes.chunks_exact(8);
    let rest = whole.remainder();
    let mut places = to.iter();
    for word in whole {
        let Some(place) = places.next() else { return };
        let word = word.try_into().map_or(0, u64::from_ne_bytes);
        place.store(word, Ordering::Relaxed);
    }
    if let (Some(place), 1..) = (places.next(), rest.len()) {
        let mut word = [0; 8];
        for (to, from) in word.iter_mut().zip(rest) {
            *to = *from;
        }
        place.store(u64::from_ne_bytes(word), Ordering::Relaxed);
    }
}
