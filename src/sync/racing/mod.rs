//! Copies between memory of the calling thread's own and words that another thread looks at, or
//! changes, in the same moment. What was copied while it changed is thrown away by who copied
//! (a sequence lock), so a copy may be torn; but it must be no data race.
//!
//! The compiler knows no such copy but one by atomic words, which takes eight times as long as the
//! processor needs. So where the processor is known the moves are written in its own language
//! (`wide`): to the compiler they are accesses that it cannot see into, to the processor plain
//! moves. For the model checker, Miri and ThreadSanitizer, which must see every access, and for
//! other processors there are the words (`words`).

#[cfg(all(
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(any(miri, kvreg_tsan))
))]
mod wide;
#[cfg(any(
    test,
    miri,
    kvreg_tsan,
    not(any(target_arch = "x86_64", target_arch = "aarch64"))
))]
#[cfg_attr(not(any(miri, kvreg_tsan)), allow(dead_code))] // compared with, in the tests
mod words;

#[cfg(all(
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(any(miri, kvreg_tsan))
))]
pub(crate) use wide::{copy_in, copy_out};
#[cfg(any(
    miri,
    kvreg_tsan,
    not(any(target_arch = "x86_64", target_arch = "aarch64"))
))]
pub(crate) use words::{copy_in, copy_out};

#[cfg(test)]
mod tests {
    use super::words;
    use crate::sync::AtomicU64;

    #[test]
    fn both_ways_copy_the_same() {
        let text: Vec<u8> = (0..5000u32).map(|number| (number % 251) as u8).collect();
        for len in (0..300).chain([511, 512, 513, 4095, 4096]) {
            let places: Vec<AtomicU64> = (0..len / 8 + 1).map(|_| AtomicU64::new(0)).collect();
            for is_wide in [false, true] {
                let mut copy = vec![0xff; len + 1];
                // SAFETY: there is room for `len` bytes in both.
                unsafe {
                    if is_wide {
                        super::copy_in(&places, &text[..len]);
                        super::copy_out(&places, copy.as_mut_ptr(), len);
                    } else {
                        words::copy_in(&places, &text[..len]);
                        words::copy_out(&places, copy.as_mut_ptr(), len);
                    }
                }
                assert_eq!(copy[..len], text[..len]);
                assert_eq!(copy[len], 0xff, "nothing is written behind {len} bytes");
            }
        }
    }
}
