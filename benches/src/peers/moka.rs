//! moka, a concurrent cache: what is put is remembered by a sketch of frequencies (TinyLFU).

use std::hint::black_box;

use foldhash::fast::RandomState;

use super::maps::Bytes;
use super::Map;
use crate::keys::Keys;

/// A map of a bounded number of keys.
pub trait Cache: Map {
    /// Puts what is not found; answers how many were.
    fn find_or_put(&self, keys: &Keys, value: &[u8]) -> u64;
}

pub struct Moka(moka::sync::Cache<Bytes, Bytes, RandomState>);

/// Reads between two of its own rounds of work.
const ROUND: usize = 64;

impl Moka {
    pub fn of_keys(keys: usize) -> Moka {
        let builder = moka::sync::Cache::builder().max_capacity(keys as u64);
        Moka(builder.build_with_hasher(RandomState::default()))
    }

    /// As `find_or_put`, where nothing of what it puts off is late.
    pub fn find_or_put_at_once(&self, keys: &Keys, value: &[u8]) -> u64 {
        let part = |part: Keys| {
            let hits = self.find_or_put(&part, value);
            self.0.run_pending_tasks();
            hits
        };
        keys.parts(ROUND).map(part).sum()
    }
}

impl Map for Moka {
    fn get(&self, keys: &Keys) -> u64 {
        let copy = |key| {
            self.0
                .get(key)
                .map_or(0, |value| u64::from(black_box(value)[0]))
        };
        keys.iter().map(copy).sum()
    }

    fn put(&self, keys: &Keys, value: &[u8]) {
        keys.iter()
            .for_each(|key| self.0.insert(key.into(), value.into()));
    }
}

impl Cache for Moka {
    fn find_or_put(&self, keys: &Keys, value: &[u8]) -> u64 {
        let mut hits = 0;
        for key in keys.iter() {
            match self.0.get(key) {
                Some(found) => hits += u64::from(!black_box(found).is_empty()),
                None => self.0.insert(key.into(), value.into()),
            }
        }
        hits
    }
}
