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
use common::{eventually, scaled, Over};

const MIB: usize = 1 << 20;

/// Rounds after which memory may have grown for once: where others have the processor, what was
/// taken out waits longer for who frees it, and the allocator does not give back what it had for
/// that. What leaks grows in each round.
const ROUNDS: u64 = 6;

/// Does the round of each number, and again, until one leaves nothing.
fn leaves_nothing(what: &str, round: impl Fn(u64)) {
    round(0);
    let mut grown = Vec::new();
    for number in 1..ROUNDS {
        let before = resident();
        round(number);
        grown.push(resident().saturating_sub(before));
        if grown.last() < Some(&(2 * MIB)) {
            return;
        }
    }
    panic!("{what} left so many bytes behind, in each round: {grown:?}");
}

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
        let _over = Over(&done);
        let mut highest = 0;
        for _ in 0..300 {
            bucket.put(b"k", &value[..]).unwrap();
            highest = highest.max(resident());
        }
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
        // By and by, and by others.
        eventually(&format!("freed after way {end}"), || {
            resident().saturating_sub(before + value.len()) < 32 * MIB
        });
    }
}

fn keys_that_come_and_go_leave_nothing() {
    let bucket = Bucket::start().unwrap();
    let keys = u64::from(scaled(200_000));
    leaves_nothing("keys that came and went", |round| {
        let from = round * keys;
        for key in from..from + keys {
            bucket.put(key.to_le_bytes(), "some value").unwrap();
            if key >= 1000 {
                let _ = bucket.delete((key - 1000).to_le_bytes());
            }
        }
    });
}

fn names_that_ended_leave_nothing() {
    let registry = Registry::start().unwrap();
    let names = u64::from(scaled(50_000));
    leaves_nothing("names that ended", |round| {
        let from = round * names;
        for name in from..from + names {
            let bucket = registry.create(&name.to_string()).unwrap();
            bucket.put(b"milk", 1).unwrap();
            bucket.stop().unwrap();
            assert_eq!(bucket.get::<Value>(b"milk"), Err(Error::NoProcess));
        }
    });
}
