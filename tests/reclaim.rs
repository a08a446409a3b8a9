//! What is replaced is freed, whoever replaced it and however (G14).
#![cfg(target_os = "linux")]

use kvreg::{Bucket, Registry, Value, ValueRef, Verdict};

mod common;
use common::cast;

/// Bytes that the process has in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    let number = line.split_whitespace().nth(1).unwrap();
    number.parse::<usize>().unwrap() << 10
}

/// Does the work a first time, and then must not need much more for doing it again. For once it
/// may: where others have the processor, what was replaced waits longer for who frees it. What is
/// not freed is left by each work.
fn stays_within(what: &str, mut work: impl FnMut()) {
    work();
    let mut grown = [0; 5];
    for grown in &mut grown {
        let before = resident();
        work();
        *grown = resident().saturating_sub(before);
        if *grown < 8 << 20 {
            return;
        }
    }
    panic!("{what} left so many bytes behind, each time: {grown:?}");
}

// One test, for they would count each other's memory.
#[test]
fn g14_what_is_replaced_is_freed() {
    const COUNT: usize = 50_000;
    let (bucket, value) = (Bucket::start().unwrap(), [7u8; 600]);
    let bytes = || ValueRef::Bytes(&value);
    stays_within("put", || {
        (0..COUNT).for_each(|_| bucket.put(b"k", bytes()).unwrap());
    });
    stays_within("put_cast", || {
        (0..COUNT).for_each(|_| cast(|| bucket.put_cast(b"k", bytes())).unwrap());
    });
    stays_within("put_many", || {
        (0..COUNT).for_each(|_| bucket.put_many([(b"k", bytes())]).unwrap());
    });
    stays_within("update", || {
        for _ in 0..COUNT {
            let store = |_: Option<&Value>| Verdict::Store(Value::new(bytes()).unwrap());
            bucket.update(b"k", store).unwrap();
        }
    });
    let registry = Registry::start().unwrap();
    registry.create("shopping").unwrap();
    let line = format!("PUT shopping milk {}\r\n", "x".repeat(600)).into_bytes();
    stays_within("execute", || {
        (0..COUNT).for_each(|_| drop(registry.execute(&line).unwrap()));
    });
    stays_within("threads that do little", || {
        for _ in 0..COUNT / 50 {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    for _ in 0..50 {
                        bucket.put(b"k", bytes()).unwrap();
                        drop(registry.lookup("shopping").unwrap());
                    }
                });
            });
        }
    });
}
