//! Which keys concern watches that wait: asked by the writer after each change, without a lock.
//!
//! A bit for each watch, at the hash of what it covers: a key, or the beginning of keys. The writer
//! hashes its key, and as much of it as some watch covers the beginning of. Where the bit is not
//! set no watch waits for the key; where it is, perhaps none does.
//!
//! Changed under the lock of the watches. A bit is there before its watch counts as armed, and as
//! long as it is: when the bits are made anew each word goes at once from what it was to what is
//! needed.

use super::watching::Covered;
use crate::hash::hash;
use crate::sync::{AtomicU64, Ordering, ZEROS_ARE_ATOMICS};

/// 4096 bits, so that with a hundred watches one key in forty is asked for in vain.
const WORDS: usize = if ZEROS_ARE_ATOMICS { 64 } else { 2 };

/// In `lengths`: some watch is about one key, by the hash of all of it.
const ONE: u64 = 1 << 63;

/// In `lengths`: some watch is about all keys, which nothing need be looked for.
const ALL: u64 = 1;

/// Of a beginning no more bytes are looked at.
const LONGEST: usize = 62;

/// With beginnings of more lengths the watches are looked at one by one.
const LENGTHS: u32 = 8;

pub(super) struct ArmedKeys {
    /// Bit n: some watch is about keys by their first n bytes.
    lengths: AtomicU64,
    bits: [AtomicU64; WORDS],
}

/// What is looked for of a watch: a bit of `lengths`, and the hash.
fn mark(covered: &Covered) -> (u64, u64) {
    match covered.is_one {
        true => (ONE, hash(&covered.prefix)),
        false if covered.prefix.is_empty() => (ALL, 0),
        false => {
            let len = covered.prefix.len().min(LONGEST);
            (1 << len, hash(&covered.prefix[..len]))
        }
    }
}

fn place(hash: u64) -> (usize, u64) {
    (hash as usize / 64 % WORDS, 1 << (hash % 64))
}

impl ArmedKeys {
    pub(super) fn new() -> ArmedKeys {
        ArmedKeys {
            lengths: AtomicU64::new(0),
            bits: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    pub(super) fn add(&self, covered: &Covered) {
        let set = |word: &AtomicU64, bit| {
            word.store(word.load(Ordering::Relaxed) | bit, Ordering::Relaxed);
        };
        let (length, hash) = mark(covered);
        let (word, bit) = place(hash);
        set(&self.bits[word], bit);
        set(&self.lengths, length);
    }

    /// What these need, and nothing more.
    pub(super) fn renew<'a>(&self, all: impl Iterator<Item = &'a Covered>) {
        let (mut lengths, mut bits) = (0, [0; WORDS]);
        for covered in all {
            let (length, hash) = mark(covered);
            let (word, bit) = place(hash);
            lengths |= length;
            bits[word] |= bit;
        }
        for (word, bits) in self.bits.iter().zip(bits) {
            word.store(bits, Ordering::Relaxed);
        }
        self.lengths.store(lengths, Ordering::Relaxed);
    }

    fn has(&self, hash: u64) -> bool {
        let (word, bit) = place(hash);
        self.bits[word].load(Ordering::Relaxed) & bit != 0
    }

    /// Whether a watch may wait for this key.
    pub(super) fn may_have(&self, key: &[u8]) -> bool {
        let all = self.lengths.load(Ordering::Relaxed);
        if all & ALL != 0 || all & ONE != 0 && self.has(hash(key)) {
            return true;
        }
        let mut lengths = all & !ONE;
        if lengths.count_ones() > LENGTHS {
            return true;
        }
        // From the shortest on.
        while lengths != 0 {
            let Some(beginning) = key.get(..lengths.trailing_zeros() as usize) else {
                return false;
            };
            if self.has(hash(beginning)) {
                return true;
            }
            lengths &= lengths - 1;
        }
        false
    }
}

#[cfg(all(test, feature = "capi"))] // not in the model, whose atomics need a scenario
mod tests {
    use super::*;

    fn covered(prefix: &[u8], is_one: bool) -> Covered {
        Covered {
            prefix: prefix.into(),
            is_one,
        }
    }

    #[test]
    fn who_waits_for_a_key_is_found() {
        let long = [b'x'; 200];
        let all = [
            covered(b"", true),
            covered(b"one", true),
            covered(&long, true),
            covered(b"user:", false),
            covered(&long, false),
        ];
        let keys = [&b""[..], b"one", &long, b"user:", b"user:7", &[b'x'; 201]];
        let armed = ArmedKeys::new();
        for key in keys {
            assert!(!armed.may_have(key));
        }
        for is_anew in [false, true] {
            match is_anew {
                false => all.iter().for_each(|it| armed.add(it)),
                true => armed.renew(all.iter()),
            }
            for key in keys {
                assert!(armed.may_have(key), "{key:?}");
            }
            let others = (0..1000).filter(|it| armed.may_have(format!("other:{it}").as_bytes()));
            assert!(others.count() < 100);
            assert!(!armed.may_have(b"use"), "shorter than any beginning");
        }
        armed.renew([covered(b"", false)].iter());
        assert!(armed.may_have(b"") && armed.may_have(b"any"));
        armed.renew([].iter());
        assert!(!armed.may_have(b"any") && !armed.may_have(b"one"));
    }

    #[test]
    fn beginnings_of_many_lengths_say_nothing() {
        let armed = ArmedKeys::new();
        for len in 1..=LENGTHS as usize + 1 {
            armed.add(&covered(&b"abcdefghijkl"[..len], false));
        }
        assert!(armed.may_have(b"other"));
    }
}
