//! What went of late: a few bits of the hash of each key, and about when.

use crate::memory;

/// Marks in a set; it fills a cache line.
const WAYS: usize = 16;
/// Keys that are remembered at least, and at most: more than 2^32 places have no marks.
const FEWEST: usize = 64;
const MOST: usize = 1 << 32;

/// A mark is 24 bits of the hash, and above them when the key went, in steps. All bits 0: none.
const HASH: u32 = (1 << 24) - 1;
/// So many steps back a key is remembered; the step after the last is step 1 again.
const STEPS: u32 = 64;
const LAST_STEP: u32 = 255;

/// Remembers so many keys that went last as the bucket has, and some more: a key that is found
/// here on its return was needed again soon. It may forget one early, where a set is full. Another
/// key is taken for one of them once in a million times, which costs it nothing.
#[derive(Default)]
pub(super) struct Ghost {
    marks: Vec<u32>,
    /// Keys that are remembered.
    capacity: usize,
    step: u32,
    /// Keys that went in this step.
    gone: usize,
}

impl Ghost {
    /// Remembers a key that goes from among so many. Where there is no memory it is forgotten.
    pub(super) fn add(&mut self, hash: u64, keys: usize) {
        if keys > self.capacity || keys < self.capacity / 4 {
            self.resize(keys);
        }
        self.gone += 1;
        if self.gone * STEPS as usize > self.capacity {
            self.gone = 0;
            self.step = self.step % LAST_STEP + 1;
        }
        let (step, mark) = (self.step.max(1), mark(hash));
        let Some(set) = self.set(hash) else {
            return;
        };
        // In the place of none, or of the one that went first.
        let oldest = set.iter_mut().max_by_key(|it| match **it {
            0 => u32::MAX,
            it => age(it, step),
        });
        if let Some(place) = oldest {
            *place = step << 24 | mark;
        }
    }

    /// Whether a key is remembered; it is no longer.
    pub(super) fn take(&mut self, hash: u64) -> bool {
        let (step, mark) = (self.step.max(1), mark(hash));
        let Some(set) = self.set(hash) else {
            return false;
        };
        let is_it = |it: &&mut u32| **it & HASH == mark && **it != 0 && age(**it, step) <= STEPS;
        match set.iter_mut().find(is_it) {
            Some(place) => {
                *place = 0;
                true
            }
            None => false,
        }
    }

    fn set(&mut self, hash: u64) -> Option<&mut [u32]> {
        let last = (self.marks.len() / WAYS).checked_sub(1)?; // a power of two of them, or none
        let first = (hash as usize & last) * WAYS;
        self.marks.get_mut(first..first + WAYS)
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.marks.capacity() * size_of::<u32>()
    }

    /// Begins anew, with room for a few keys more than there are: what is forgotten by that comes
    /// in once as a new one.
    #[cold]
    fn resize(&mut self, keys: usize) {
        let capacity = (keys + keys / 4).clamp(FEWEST, MOST);
        if capacity == self.capacity {
            return;
        }
        *self = Ghost::default();
        let len = capacity.next_power_of_two().max(WAYS);
        let mut marks = Vec::new();
        if memory::reserve(&mut marks, len).is_ok() {
            marks.resize(len, 0);
            self.marks = marks;
        }
        self.capacity = capacity;
    }
}

fn age(mark: u32, now: u32) -> u32 {
    (now + LAST_STEP - (mark >> 24)) % LAST_STEP
}

/// Not the bits that say which set has it, nor those that are all the same in one.
fn mark(hash: u64) -> u32 {
    (hash >> 32) as u32 & HASH
}

#[cfg(all(test, feature = "capi"))] // not in the model
mod tests {
    use super::*;

    /// A hash, the same in each process (splitmix64): the table's own has seeds that are drawn, and
    /// with some of them a hundred keys are spread worse than the bound below allows.
    fn of(number: usize) -> u64 {
        let mut mixed = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// How many of those that went last are remembered, in so many ghosts together: in a small one
    /// a set may happen to be full.
    #[test]
    fn what_went_last_is_remembered_and_what_went_long_ago_is_not() {
        for keys in [1, 10, 100, 10_000, 100_000] {
            let ghosts = (10_000 / keys).clamp(1, 100);
            let gone = ghost_size(keys) * 20;
            let (mut last_kept, mut earlier_kept) = (0, 0);
            for number in 0..ghosts {
                let mut ghost = Ghost::default();
                let first = number * gone;
                let all = first..first + gone;
                all.clone().for_each(|number| ghost.add(of(number), keys));
                let last = all.end - keys..all.end;
                let mut take = |number: usize| ghost.take(of(number));
                last_kept += last.clone().filter(|number| take(*number)).count();
                assert!(!last.into_iter().any(&mut take), "twice");
                let earlier = first..all.end - 2 * ghost_size(keys);
                earlier_kept += earlier.filter(|number| take(*number)).count();
            }
            assert!(
                last_kept * 100 >= ghosts * keys * 97,
                "{last_kept} of {ghosts} * {keys}"
            );
            assert!(
                earlier_kept * 1000 <= ghosts * gone,
                "{earlier_kept} of {ghosts} * {gone}"
            );
        }
    }

    fn ghost_size(keys: usize) -> usize {
        (keys + keys / 4).max(FEWEST)
    }
}
