//! Copies between memory of the calling thread's own and words that another thread looks at, or
//! changes, in the same moment. What was copied while it changed is thrown away by who copied
//! (a sequence lock), so a copy may be torn; but it must be no data race.
//!
//! The compiler knows no such copy but one by atomic words, which takes eight times as long as the
//! processor needs. So where the processor is known the moves are written in its own language
//! (`wide`): to the compiler they are accesses that it cannot see into, to the processor plain
//! moves. For the model checker, Miri and ThreadSanitizer, which must see every access, and for
//! other processors there are the words (`words`).
//!
//! # The argument
//!
//! A copy has no order of its own; the fences and the state of who copies give it one. The writer
//! passes a releasing fence before it copies in, and stores its state with Release after that; the
//! reader loads the state with Acquire, copies out, and passes an acquiring fence before it looks
//! at the state again.
//!
//! The compiler keeps to that: a block of assembler that does not say otherwise may touch all
//! memory that others know, and so atomics too, and what a fence holds back for these it holds back
//! for the block. The processor does, for its fences do not ask how memory is touched. On x86-64
//! neither loads nor stores are overtaken by others of their kind, so the fences are nothing but
//! the compiler's. On aarch64 they may be overtaken. There the acquiring fence is `dmb ishld`,
//! which all loads before it precede whatever follows, pairs and those of 16 bytes too; the
//! releasing one is `dmb ish`, which no later store overtakes; and the state is stored by `stlr`,
//! which all stores before it precede, and loaded by `ldar`, which precedes all loads after it.
//!
//! A move may be torn anywhere, even within a word: the state says so then.

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
        // Miri is some thousand times slower: fewer, of each rest behind whole words.
        let lens = (0..300).step_by(if cfg!(miri) { 7 } else { 1 });
        for len in lens.chain([511, 512, 513, 4095, 4096]) {
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
