//! G14: memory is bounded by what is stored. One test, for it looks at the whole process.

#![cfg(target_os = "linux")]

use std::sync::atomic::{AtomicBool, Ordering};

use kvreg::{Bucket, Error, Registry, Value, ValueRef};

/// Resident memory in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

mod common;
use common::scaled;

const MIB: usize = 1 << 20;

#[test]
fn g14_memory_is_bounded_by_what_is_stored() {
    what_was_overwritten_does_not_pile_up();
    a_large_value_is_freed_with_its_key_or_bucket();
    keys_that_come_and_go_leave_nothing();
    names_that_ended_leave_nothing();
}

fn what_was_overwritten_does_not_pile_up() {
    let bucket = Bucket::start().unwrap();
    let value = vec![7u8; 16 * MIB];
    bucket.put(b"k", &value[..]).unwrap();
    let before = resident();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert_eq!(bucket.get::<Value>(b"k").unwrap(), ValueRef::Bytes(&value));
            }
        });
        let mut highest = 0;
        for _ in 0..300 {
            bucket.put(b"k", &value[..]).unwrap();
            highest = highest.max(resident());
        }
        done.store(true, Ordering::Relaxed);
        let grown = highest.saturating_sub(before) / MIB;
        assert!(grown < 8 * 16, "grown by {grown} MiB");
    });
}

fn a_large_value_is_freed_with_its_key_or_bucket() {
    let before = resident();
    let value = vec![7u8; 64 * MIB];
    for end in 0..4 {
        let bucket = Bucket::start().unwrap();
        bucket.put(b"k", &value[..]).unwrap();
        match end {
            0 => drop(bucket.delete(b"k").unwrap()),
            1 => bucket.clear().unwrap(),
            2 => bucket.put(b"k", 1).unwrap(),
            _ => bucket.stop().unwrap(),
        }
        let kept = resident().saturating_sub(before + value.len()) / MIB;
        assert!(kept < 32, "{kept} MiB kept after way {end}");
    }
}

fn keys_that_come_and_go_leave_nothing() {
    let bucket = Bucket::start().unwrap();
    let keys = u64::from(scaled(200_000));
    let round = |from: u64| {
        for key in from..from + keys {
            bucket.put(key.to_le_bytes(), "some value").unwrap();
            if key >= 1000 {
                let _ = bucket.delete((key - 1000).to_le_bytes());
            }
        }
    };
    round(0);
    let before = resident();
    round(keys);
    let grown = resident().saturating_sub(before);
    assert!(grown < 2 * MIB, "grown by {grown} bytes");
}

fn names_that_ended_leave_nothing() {
    let registry = Registry::start().unwrap();
    let names = scaled(50_000);
    let round = |from: u32| {
        for name in from..from + names {
            let bucket = registry.create(&name.to_string()).unwrap();
            bucket.put(b"milk", 1).unwrap();
            bucket.stop().unwrap();
            assert_eq!(bucket.get::<Value>(b"milk"), Err(Error::NoProcess));
        }
    };
    round(0);
    let before = resident();
    round(names);
    let grown = resident().saturating_sub(before);
    assert!(grown < 2 * MIB, "grown by {grown} bytes");
}
