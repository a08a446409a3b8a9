//! kvreg itself, as Rust programs call it: the same core without the boundary to C.

use std::hint::black_box;

use kvreg_rust::{Bucket, Text};

use super::{Delete, Map};
use crate::keys::Keys;

pub struct Rust(Bucket);

impl Rust {
    pub fn start() -> Rust {
        Rust(Bucket::start().expect("it starts"))
    }
}

fn first(bytes: &[u8]) -> u64 {
    black_box(bytes).first().map_or(0, |byte| u64::from(*byte))
}

impl Map for Rust {
    fn get(&self, keys: &Keys) -> u64 {
        let get = |key| self.0.get::<Text>(key).expect("it was put");
        keys.iter().map(|key| first(&get(key))).sum()
    }

    fn put(&self, keys: &Keys, value: &[u8]) {
        for key in keys.iter() {
            self.0.put(key, value).expect("there is room");
        }
    }
}

impl Delete for Rust {
    fn delete(&self, keys: &Keys) {
        for key in keys.iter() {
            drop(self.0.delete(key).expect("it was put"));
        }
    }
}
