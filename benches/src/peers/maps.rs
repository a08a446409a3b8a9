//! Concurrent hash maps, called from Rust.

use std::collections::HashMap;
use std::hint::black_box;

use dashmap::DashMap;
use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::{Delete, Map};
use crate::keys::Keys;

pub type Bytes = Box<[u8]>;

fn first(bytes: &[u8]) -> u64 {
    black_box(bytes).first().map_or(0, |byte| u64::from(*byte))
}

#[derive(Default)]
pub struct Dash(pub(super) DashMap<Bytes, Bytes, RandomState>);

impl Map for Dash {
    fn get(&self, keys: &Keys) -> u64 {
        let copy = |key| self.0.get(key).expect("it was put").clone();
        keys.iter().map(|key| first(&copy(key))).sum()
    }

    fn get_into(&self, keys: &Keys) -> u64 {
        let mut buffer = [0; 64];
        let mut copy = |key| {
            buffer.copy_from_slice(&self.0.get(key).expect("it was put"));
            first(&buffer)
        };
        keys.iter().map(&mut copy).sum()
    }

    fn put(&self, keys: &Keys, value: &[u8]) {
        for key in keys.iter() {
            drop(self.0.insert(key.into(), value.into()));
        }
    }
}

impl Delete for Dash {
    fn delete(&self, keys: &Keys) {
        for key in keys.iter() {
            drop(self.0.remove(key).expect("it was put"));
        }
    }
}

#[derive(Default)]
pub struct Locked(Mutex<HashMap<Bytes, Bytes, RandomState>>);

impl Map for Locked {
    fn get(&self, keys: &Keys) -> u64 {
        let copy = |key| self.0.lock().get(key).expect("it was put").clone();
        keys.iter().map(|key| first(&copy(key))).sum()
    }

    fn put(&self, keys: &Keys, value: &[u8]) {
        for key in keys.iter() {
            let (key, value): (Bytes, Bytes) = (key.into(), value.into());
            let old = self.0.lock().insert(key, value);
            drop(old);
        }
    }
}

impl Delete for Locked {
    fn delete(&self, keys: &Keys) {
        for key in keys.iter() {
            let old = self.0.lock().remove(key);
            drop(old.expect("it was put"));
        }
    }
}

#[derive(Default)]
pub struct Papaya(pub(super) papaya::HashMap<Bytes, Bytes, RandomState>);

impl Map for Papaya {
    fn get(&self, keys: &Keys) -> u64 {
        let copy = |key| self.0.pin().get(key).expect("it was put").clone();
        keys.iter().map(|key| first(&copy(key))).sum()
    }

    fn put(&self, keys: &Keys, value: &[u8]) {
        for key in keys.iter() {
            self.0.pin().insert(key.into(), value.into());
        }
    }
}

impl Delete for Papaya {
    fn delete(&self, keys: &Keys) {
        for key in keys.iter() {
            let map = self.0.pin();
            first(map.remove(key).expect("it was put"));
        }
    }
}
