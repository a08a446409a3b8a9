//! One thread, values of each size on either side of what kvreg treats in another way.

use std::hint::black_box;
use std::sync::Arc;

use dashmap::DashMap;
use foldhash::fast::RandomState;

use super::clock::{medians, per_key};
use super::rows::Rows;
use crate::keys::Keys;
use crate::kvreg::Bucket;
use crate::peers::{Dash, Store};

/// A bucket with so many keys, all with a value of one size, and the order in which they are used.
pub struct Sized {
    pub bucket: Bucket,
    pub dash: Dash,
    pub keys: Keys,
    pub value: Vec<u8>,
}

impl Sized {
    pub fn new(size: usize) -> Sized {
        let distinct = if size < 65536 { 1000 } else { 16 };
        let calls = (50_000_000 / (size + 500)).clamp(100, 100_000);
        let sized = Sized {
            bucket: Bucket::start(),
            dash: Dash::default(),
            keys: Keys::shuffled(distinct, calls.max(distinct)),
            value: vec![7; size],
        };
        for key in sized.keys.iter() {
            sized.bucket.put_one(key, &sized.value);
            sized.dash.write(key, &sized.value);
        }
        sized
    }

    /// The medians of kvreg and of a peer, in ns.
    fn compare(&self, kvreg: impl FnMut(&[u8]), peer: impl FnMut(&[u8])) -> [f64; 2] {
        let (mut kvreg, mut peer) = (kvreg, peer);
        medians([&mut || per_key(&self.keys, &mut kvreg), &mut || {
            per_key(&self.keys, &mut peer)
        }])
    }

    pub fn get(&self) -> [f64; 2] {
        let mut buffers = [(); 2].map(|()| vec![0; self.value.len()]);
        let [mine, theirs] = &mut buffers;
        self.compare(
            |key| self.bucket.copy_one(key, black_box(mine)),
            |key| self.dash.read(key, black_box(theirs)),
        )
    }

    pub fn put(&self) -> [f64; 2] {
        self.compare(
            |key| self.bucket.put_one(key, &self.value),
            |key| self.dash.write(key, &self.value),
        )
    }
}

fn put_beside_arc(sized: &Sized) -> [f64; 2] {
    let dash = DashMap::<Box<[u8]>, Arc<[u8]>, RandomState>::default();
    sized.compare(
        |key| sized.bucket.put_one(key, &sized.value),
        |key| drop(dash.insert(key.into(), sized.value[..].into())),
    )
}

fn put_beside_copy(sized: &Sized) -> [f64; 2] {
    // As many live at a time as the bucket has keys.
    let mut copies = vec![Vec::new(); 16];
    let mut place = 0;
    sized.compare(
        |key| sized.bucket.put_one(key, &sized.value),
        |_| {
            place = (place + 1) % copies.len();
            copies[place] = black_box(&sized.value).clone();
        },
    )
}

fn new_keys(rows: &mut Rows) {
    let sized = Sized::new(64);
    let map = DashMap::<Box<[u8]>, Box<[u8]>, RandomState>::default();
    for key in sized.keys.iter() {
        map.insert(key.into(), sized.value[..].into());
    }
    let new = Keys::numbered(500_000..600_000);
    let figures = medians([
        &mut || {
            per_key(&new, |key| {
                sized.bucket.put_one(key, &sized.value);
                sized.bucket.delete_one(key);
            })
        },
        &mut || {
            per_key(&new, |key| {
                map.insert(key.into(), sized.value[..].into());
                map.remove(key);
            })
        },
    ]);
    rows.times("put of a new key and delete, ns / DashMap", figures, 0.9);
}

pub fn measure(rows: &mut Rows) {
    for size in [64, 65, 128, 256, 512] {
        let name = format!("get of {size} B into a buffer, ns / DashMap, under its guard");
        rows.times(&name, Sized::new(size).get(), 0.8);
    }
    for (size, aim) in [(64, 0.8), (512, 0.8), (513, 0.6), (1024, 0.6), (4096, 0.6)] {
        let sized = Sized::new(size);
        let name = format!("put over {size} B, ns / DashMap, in place");
        rows.times(&name, sized.put(), aim);
        if size > 512 {
            let name = format!("put over {size} B, ns / DashMap, insert of an Arc");
            rows.times(&name, put_beside_arc(&sized), 1.2);
        }
    }
    for (size, aim) in [(64 << 10, 0.8), (1 << 20, 0.95)] {
        let name = format!("put over {} KiB, ns / malloc and copy", size >> 10);
        rows.times(&name, put_beside_copy(&Sized::new(size)), aim);
    }
    new_keys(rows);
}
