//! Copies by the processor's widest moves that every machine has; long ones by wider moves, where this
//! machine has them.
//!
//! A length from 8 bytes on, or what wider moves leave of it, is covered by moves of one width, of
//! which the last may overlap the one before: there is no rest to be looked at.

use crate::sync::{AtomicU64, Ordering};

#[cfg(target_arch = "aarch64")]
use aarch64 as moves;
#[cfg(target_arch = "x86_64")]
use x86_64 as moves;

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::asm;

    /// # Safety
    /// There are 16 bytes at both.
    #[inline(always)]
    pub(super) unsafe fn move16(from: *const u8, to: *mut u8) {
        // SAFETY: by contract.
        unsafe {
            asm!(
                "movdqu {bytes}, [{from}]",
                "movdqu [{to}], {bytes}",
                bytes = out(xmm_reg) _, from = in(reg) from, to = in(reg) to,
                options(nostack, preserves_flags));
        }
    }

    /// # Safety
    /// There are 64 bytes at both.
    #[inline(always)]
    pub(super) unsafe fn move64(from: *const u8, to: *mut u8) {
        // SAFETY: by contract.
        unsafe {
            asm!(
                "movdqu {a}, [{from}]",
                "movdqu {b}, [{from} + 16]",
                "movdqu {c}, [{from} + 32]",
                "movdqu {d}, [{from} + 48]",
                "movdqu [{to}], {a}",
                "movdqu [{to} + 16], {b}",
                "movdqu [{to} + 32], {c}",
                "movdqu [{to} + 48], {d}",
                a = out(xmm_reg) _, b = out(xmm_reg) _, c = out(xmm_reg) _, d = out(xmm_reg) _,
                from = in(reg) from, to = in(reg) to,
                options(nostack, preserves_flags));
        }
    }

    /// From so many bytes on a copy is long.
    const LONG: usize = 128;

    /// Moves as much of a long copy as this machine has wider moves for, from the beginning on; how
    /// much that was.
    ///
    /// # Safety
    /// There are `len` bytes at both.
    #[inline(always)]
    pub(super) unsafe fn move_long(from: *const u8, to: *mut u8, len: usize) -> usize {
        if len < LONG || !std::arch::is_x86_feature_detected!("avx") {
            return 0;
        }
        let end = len - len % LONG;
        // SAFETY: by contract.
        unsafe { move_by_avx(from, to, end) };
        end
    }

    /// A function of its own, never inlined: it clears the upper halves of all wide registers, which
    /// no call keeps, but which code around a block of assembler might. Not to clear them makes
    /// what has no wide moves slow.
    ///
    /// # Safety
    /// There are `len` bytes at both, a multiple of `LONG` that is not 0, and this machine has AVX.
    #[inline(never)]
    unsafe extern "C" fn move_by_avx(from: *const u8, to: *mut u8, len: usize) {
        // SAFETY: by contract.
        unsafe {
            asm!(
                "2:",
                "vmovdqu ymm0, [{from} + {at}]",
                "vmovdqu ymm1, [{from} + {at} + 32]",
                "vmovdqu ymm2, [{from} + {at} + 64]",
                "vmovdqu ymm3, [{from} + {at} + 96]",
                "vmovdqu [{to} + {at}], ymm0",
                "vmovdqu [{to} + {at} + 32], ymm1",
                "vmovdqu [{to} + {at} + 64], ymm2",
                "vmovdqu [{to} + {at} + 96], ymm3",
                "add {at}, 128",
                "cmp {at}, {len}",
                "jb 2b",
                "vzeroupper",
                from = in(reg) from, to = in(reg) to, len = in(reg) len,
                at = inout(reg) 0_usize => _,
                out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
                options(nostack));
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
    use std::arch::asm;

    /// # Safety
    /// There are 16 bytes at both.
    #[inline(always)]
    pub(super) unsafe fn move16(from: *const u8, to: *mut u8) {
        // SAFETY: by contract.
        unsafe {
            asm!(
                "ldr {bytes:q}, [{from}]",
                "str {bytes:q}, [{to}]",
                bytes = out(vreg) _, from = in(reg) from, to = in(reg) to,
                options(nostack, preserves_flags));
        }
    }

    /// # Safety
    /// There are 64 bytes at both.
    #[inline(always)]
    pub(super) unsafe fn move64(from: *const u8, to: *mut u8) {
        // SAFETY: by contract.
        unsafe {
            asm!(
                "ldp {a:q}, {b:q}, [{from}]",
                "ldp {c:q}, {d:q}, [{from}, 32]",
                "stp {a:q}, {b:q}, [{to}]",
                "stp {c:q}, {d:q}, [{to}, 32]",
                a = out(vreg) _, b = out(vreg) _, c = out(vreg) _, d = out(vreg) _,
                from = in(reg) from, to = in(reg) to,
                options(nostack, preserves_flags));
        }
    }

    /// There are no wider ones.
    ///
    /// # Safety
    /// None is needed.
    #[inline(always)]
    pub(super) unsafe fn move_long(_from: *const u8, _to: *mut u8, _len: usize) -> usize {
        0
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
        let mut at = moves::move_long(from, to, len);
        let mut left = len - at;
        while left >= 64 {
            moves::move64(from.add(at), to.add(at));
            (at, left) = (at + 64, left - 64);
        }
        if left == 0 {
            return;
        }
        while left > 16 {
            moves::move16(from.add(at), to.add(at));
            (at, left) = (at + 16, left - 16);
        }
        moves::move16(from.add(len - 16), to.add(len - 16));
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
