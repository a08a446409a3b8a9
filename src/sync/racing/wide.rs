//! Copies by the processor's widest moves that every machine has.
//!
//! A length from 8 bytes on is covered by moves of one width, of which the last may overlap the
//! one before: there is no rest to be looked at.

use crate::sync::{AtomicU64, Ordering};

#[cfg(target_arch = "aarch64")]
use aarch64 as moves;
#[cfg(target_arch = "x86_64")]
use x86_64 as moves;

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::asm;
    use std::arch::x86_64::__m128i;

    /// # Safety
    /// There are 16 bytes.
    #[inline(always)]
    pub(super) unsafe fn load16(from: *const u8) -> __m128i {
        let bytes;
        // SAFETY: by contract.
        unsafe {
            asm!("movdqu {}, [{}]", out(xmm_reg) bytes, in(reg) from,
                options(nostack, preserves_flags));
        }
        bytes
    }

    /// # Safety
    /// There are 16 bytes.
    #[inline(always)]
    pub(super) unsafe fn store16(to: *mut u8, bytes: __m128i) {
        // SAFETY: by contract.
        unsafe {
            asm!("movdqu [{}], {}", in(reg) to, in(xmm_reg) bytes,
                options(nostack, preserves_flags));
        }
    }

    /// # Safety
    /// There are 8 bytes.
    #[inline(always)]
    pub(super) unsafe fn load8(from: *const u8) -> u64 {
        let word;
        // SAFETY: by contract.
        unsafe {
            asm!("mov {}, [{}]", out(reg) word, in(reg) from, options(nostack, preserves_flags));
        }
        word
    }

    /// # Safety
    /// There are 8 bytes.
    #[inline(always)]
    pub(super) unsafe fn store8(to: *mut u8, word: u64) {
        // SAFETY: by contract.
        unsafe {
            asm!("mov [{}], {}", in(reg) to, in(reg) word, options(nostack, preserves_flags));
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod aarch64 {
    use std::arch::aarch64::uint8x16_t;
    use std::arch::asm;

    /// # Safety
    /// There are 16 bytes.
    #[inline(always)]
    pub(super) unsafe fn load16(from: *const u8) -> uint8x16_t {
        let bytes;
        // SAFETY: by contract.
        unsafe {
            asm!("ldr {:q}, [{}]", out(vreg) bytes, in(reg) from,
                options(nostack, preserves_flags));
        }
        bytes
    }

    /// # Safety
    /// There are 16 bytes.
    #[inline(always)]
    pub(super) unsafe fn store16(to: *mut u8, bytes: uint8x16_t) {
        // SAFETY: by contract.
        unsafe {
            asm!("str {:q}, [{}]", in(vreg) bytes, in(reg) to, options(nostack, preserves_flags));
        }
    }

    /// # Safety
    /// There are 8 bytes.
    #[inline(always)]
    pub(super) unsafe fn load8(from: *const u8) -> u64 {
        let word;
        // SAFETY: by contract.
        unsafe {
            asm!("ldr {}, [{}]", out(reg) word, in(reg) from, options(nostack, preserves_flags));
        }
        word
    }

    /// # Safety
    /// There are 8 bytes.
    #[inline(always)]
    pub(super) unsafe fn store8(to: *mut u8, word: u64) {
        // SAFETY: by contract.
        unsafe {
            asm!("str {}, [{}]", in(reg) word, in(reg) to, options(nostack, preserves_flags));
        }
    }
}

/// Moves 16 bytes and more.
///
/// # Safety
/// There are `len` bytes at both, and `len` is 16 at least.
#[inline(always)]
unsafe fn copy_wide(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: each move lies within the first `len` bytes.
    unsafe {
        let mut at = 0;
        while at + 64 <= len {
            let first = moves::load16(from.add(at));
            let second = moves::load16(from.add(at + 16));
            let third = moves::load16(from.add(at + 32));
            let fourth = moves::load16(from.add(at + 48));
            moves::store16(to.add(at), first);
            moves::store16(to.add(at + 16), second);
            moves::store16(to.add(at + 32), third);
            moves::store16(to.add(at + 48), fourth);
            at += 64;
        }
        while at + 16 <= len {
            moves::store16(to.add(at), moves::load16(from.add(at)));
            at += 16;
        }
        if at < len {
            let last = len - 16;
            moves::store16(to.add(last), moves::load16(from.add(last)));
        }
    }
}

/// Moves 8 to 15 bytes.
///
/// # Safety
/// There are `len` bytes at both.
#[inline(always)]
unsafe fn copy_two_words(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: two words that lie within `len` bytes.
    unsafe {
        let (first, last) = (moves::load8(from), moves::load8(from.add(len - 8)));
        moves::store8(to, first);
        moves::store8(to.add(len - 8), last);
    }
}

/// Copies `len` bytes out of the places.
///
/// # Safety
/// The places have so many bytes, and one place at least. `to` may be written for `len` bytes.
#[inline(always)]
pub(crate) unsafe fn copy_out(from: &[AtomicU64], to: *mut u8, len: usize) {
    let bytes = from.as_ptr().cast::<u8>();
    // SAFETY: by contract.
    unsafe {
        match len {
            16.. => copy_wide(bytes, to, len),
            8..16 => copy_two_words(bytes, to, len),
            _ => {
                let word = from.get_unchecked(0).load(Ordering::Relaxed);
                write_bytes(to, word, len);
            }
        }
    }
}

/// Writes the first bytes of a word, up to 7.
///
/// # Safety
/// `to` may be written for `len` bytes.
#[inline(always)]
unsafe fn write_bytes(to: *mut u8, word: u64, len: usize) {
    // SAFETY: by contract.
    unsafe { std::ptr::copy_nonoverlapping(word.to_ne_bytes().as_ptr(), to, len) }
}

/// Copies bytes into the places.
///
/// # Safety
/// The places have room for them, and there is one at least.
#[inline(always)]
pub(crate) unsafe fn copy_in(to: &[AtomicU64], bytes: &[u8]) {
    let place = to.as_ptr().cast::<u8>().cast_mut();
    // SAFETY: by contract; the places are atomics, so they may be written.
    unsafe {
        match bytes.len() {
            16.. => copy_wide(bytes.as_ptr(), place, bytes.len()),
            8..16 => copy_two_words(bytes.as_ptr(), place, bytes.len()),
            len => {
                let mut word = [0; 8];
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), word.as_mut_ptr(), len);
                let word = u64::from_ne_bytes(word);
                to.get_unchecked(0).store(word, Ordering::Relaxed);
            }
        }
    }
}
