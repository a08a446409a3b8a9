//! The hash of keys and names.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::SeedableRandomState;
use foldhash::SharedSeed;
use once_cell::race::OnceBox;

/// Keys are chosen by the program's users: the seeds are drawn anew in every process. By who
/// comes first, without a lock: a fork may happen in the middle of it.
static SEEDS: OnceBox<Seeds> = OnceBox::new();

struct Seeds {
    own: u64,
    shared: SharedSeed,
}

#[cold]
fn draw_seeds() -> Box<Seeds> {
    // std's own random source, a different number each time.
    let draw = || std::hash::RandomState::new().build_hasher().finish();
    Box::new(Seeds {
        own: draw(),
        shared: SharedSeed::from_u64(draw()),
    })
}

/// Long keys are hashed elsewhere: what a call needs would burden the short ones.
#[inline(always)]
pub(crate) fn hash(key: &[u8]) -> u64 {
    match key.len() {
        0..=16 => hash_here(key),
        _ => hash_elsewhere(key),
    }
}

#[inline(never)]
fn hash_elsewhere(key: &[u8]) -> u64 {
    hash_here(key)
}

#[inline(always)]
fn hash_here(key: &[u8]) -> u64 {
    let seeds = SEEDS.get_or_init(draw_seeds);
    let mut hasher = SeedableRandomState::with_seed(seeds.own, &seeds.shared).build_hasher();
    hasher.write(key);
    hasher.finish()
}
