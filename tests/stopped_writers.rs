//! Reads wait for no writer: they are answered while one is stopped in the middle of what it does,
//! as if it had lost its processor there.
#![cfg(target_os = "linux")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use kvreg::{Bucket, Error, Value};

mod common;
use common::{eventually, scaled};
#[path = "common/stopped.rs"]
mod stopped;
use stopped::{stop, Stopped};

/// Writes until it is told that it is enough. It has memory of its own: who reads beside it needs no
/// lock that it may have.
struct Writer(Option<JoinHandle<()>>);

static IS_ENOUGH: AtomicBool = AtomicBool::new(false);

impl Writer {
    fn start(bucket: &Bucket, write: impl Fn(&Bucket, u8) + Send + 'static) -> Writer {
        let bucket = bucket.clone();
        IS_ENOUGH.store(false, Ordering::Relaxed);
        write(&bucket, 0);
        Writer(Some(thread::spawn(move || {
            let mut round = 0;
            while !IS_ENOUGH.load(Ordering::Relaxed) {
                round = (round + 1) % 100;
                write(&bucket, round);
            }
        })))
    }

    /// Stops it somewhere in its turn.
    fn stop_inside(&self, hurried: &Bucket) -> Stopped {
        let mut inside = None;
        eventually("a stop inside a turn", || {
            let stopped = stop(self.0.as_ref().unwrap());
            if hurried.put(b"other", 1) == Err(Error::Timeout) {
                inside = Some(stopped);
            }
            inside.is_some()
        });
        inside.unwrap()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        IS_ENOUGH.store(true, Ordering::Relaxed);
        self.0.take().unwrap().join().unwrap();
    }
}

/// A bucket with a key that no writer writes, and a handle that waits for nobody.
fn bucket() -> (Bucket, Bucket) {
    let bucket = Bucket::start().unwrap();
    bucket.put(b"quiet", 7).unwrap();
    bucket.put(b"other", 0).unwrap();
    let hurried = bucket.clone().with_timeout(Duration::ZERO);
    (bucket, hurried)
}

// One test, for a signal stops one thread.
#[test]
fn reads_wait_for_no_writer_that_is_stopped() {
    in_a_batch();
    in_a_put();
}

/// Its keys are read too, all as they were before it or all as it leaves them.
fn in_a_batch() {
    const KEYS: u32 = 5000;
    let (bucket, hurried) = bucket();
    let writer = Writer::start(&bucket, |bucket, round| {
        let pairs = (0..KEYS).map(|key| (key.to_le_bytes(), i64::from(round)));
        bucket.put_many(pairs).unwrap();
    });
    for _ in 0..scaled(100) {
        let stopped = writer.stop_inside(&hurried);
        assert_eq!(hurried.get(b"quiet"), Ok(7));
        assert!(hurried.count().is_ok());
        let first: Result<i64, Error> = hurried.get(0u32.to_le_bytes());
        assert!(first.is_ok(), "{first:?}");
        for key in 1..KEYS {
            assert_eq!(hurried.get(key.to_le_bytes()), first);
        }
        drop(stopped);
    }
}

/// Only the key that is changed at that moment may have to wait, for as long as its reader wishes.
fn in_a_put() {
    let (bucket, hurried) = bucket();
    let writer = Writer::start(&bucket, |bucket, round| {
        bucket.put(b"k", [round; 500]).unwrap();
    });
    let (mut whole, mut refused) = (0, 0);
    while whole < scaled(20) || refused < scaled(3) {
        let stopped = writer.stop_inside(&hurried);
        assert_eq!(hurried.get(b"quiet"), Ok(7));
        assert_eq!(hurried.count(), Ok(3));
        match hurried.get::<Value>(b"k") {
            Ok(value) => {
                whole += 1;
                let bytes = value.as_bytes().unwrap();
                assert!(bytes.iter().all(|byte| *byte == bytes[0]));
            }
            Err(error) => {
                refused += 1;
                assert_eq!(error, Error::Timeout);
            }
        }
        drop(stopped);
    }
}
