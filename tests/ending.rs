//! G3 and G5 while a server ends, and how many are told that they ended it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use kvreg::{
    Bucket, BucketOptions, Error, Reason, Registry, RegistryOptions, Restart, Timeout, Value,
    Verdict,
};

mod common;
use common::scaled;

const ROUNDS: u32 = 25;

/// Runs `end` while this thread casts and reads, from the same moment on; each round anew.
fn race<T: Sync>(start: impl Fn() -> T, play: impl Fn(&T), end: impl Fn(&T) + Sync) {
    for round in 0..scaled(ROUNDS) {
        let subject = start();
        let begin = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                begin.wait();
                for _ in 0..round % 64 {
                    thread::yield_now();
                }
                end(&subject);
            });
            begin.wait();
            play(&subject);
        });
    }
}

/// Casts until the bucket has gone: what was accepted is read, or the bucket is gone.
fn cast_and_read(bucket: &Bucket, cast: impl Fn(&Bucket, i64) -> Result<(), Error>) {
    for number in 0.. {
        if let Err(gone) = cast(bucket, number) {
            return assert_eq!(gone, Error::NoProcess);
        }
        match bucket.get(b"k") {
            Ok(Value::Int(seen)) => assert_eq!(seen, number, "a read passed its own cast"),
            Err(Error::NoProcess | Error::ServerDown) => return,
            other => panic!("{other:?}"),
        }
    }
}

fn put(bucket: &Bucket, number: i64) -> Result<(), Error> {
    common::cast(|| bucket.put_cast(b"k", number))
}

fn update(bucket: &Bucket, number: i64) -> Result<(), Error> {
    bucket.update_cast(b"k", move |_| Verdict::Store(Value::Int(number)))
}

/// Its calls wait as long as it takes: that a machine is busy is no failure.
fn patient() -> Registry {
    Registry::start().unwrap().with_timeout(Timeout::Never)
}

/// One with something to clean away, which takes the end a while.
fn filled(bucket: Bucket) -> Bucket {
    let bucket = bucket.with_timeout(Timeout::Never);
    for key in 0..500 {
        bucket.put(format!("{key}").as_bytes(), key).unwrap();
    }
    bucket
}

#[test]
fn g3_no_read_passes_a_cast_while_a_bucket_stops() {
    let stop = |bucket: &Bucket| bucket.stop().unwrap();
    let start = || filled(Bucket::start().unwrap());
    race(start, |bucket| cast_and_read(bucket, put), stop);
    race(start, |bucket| cast_and_read(bucket, update), stop);
}

#[test]
fn g3_no_read_passes_a_cast_while_a_bucket_is_killed() {
    let kill = |bucket: &Bucket| bucket.exit(Reason::Killed, "").unwrap();
    let start = || filled(Bucket::start().unwrap());
    race(start, |bucket| cast_and_read(bucket, put), kill);
    race(start, |bucket| cast_and_read(bucket, update), kill);
}

#[test]
fn g3_no_read_passes_a_cast_while_a_bucket_is_removed() {
    let registry = patient();
    let remove = |_: &Bucket| registry.remove("b").unwrap();
    let start = || filled(registry.create("b").unwrap());
    race(start, |bucket| cast_and_read(bucket, put), remove);
    race(start, |bucket| cast_and_read(bucket, update), remove);
}

#[test]
fn g3_no_read_passes_a_cast_while_a_linked_bucket_takes_it_along() {
    let start = || {
        let both = [(); 2].map(|()| filled(Bucket::start().unwrap()));
        both[0].link(&both[1]).unwrap();
        both
    };
    let kill = |both: &[Bucket; 2]| both[1].exit(Reason::Killed, "").unwrap();
    race(start, |both| cast_and_read(&both[0], update), kill);
}

fn create_and_look_up(registry: &Registry) {
    for number in 0.. {
        let name = format!("x{number}");
        if let Err(gone) = registry.create_cast(&name) {
            return assert_eq!(gone, Error::NoProcess);
        }
        match registry.lookup(&name) {
            Ok(_) => {}
            Err(Error::NoProcess | Error::ServerDown) => return,
            Err(other) => panic!("a lookup passed its own create_cast: {other:?}"),
        }
    }
}

#[test]
fn g3_no_lookup_passes_a_create_cast_while_a_registry_stops() {
    let start = patient;
    race(start, create_and_look_up, |registry| {
        registry.stop().unwrap();
    });
}

#[test]
fn g5_who_stops_a_registry_too_returns_when_its_buckets_have_gone() {
    for _ in 0..scaled(ROUNDS) {
        let registry = patient();
        let buckets: Vec<Bucket> = (0..20)
            .map(|number| registry.create(&format!("{number}")).unwrap())
            .collect();
        let begin = Barrier::new(2);
        let stop = || {
            begin.wait();
            let _ = registry.stop(); // the second may be told that it was gone
            for bucket in &buckets {
                assert_eq!(bucket.put(b"k", 1), Err(Error::NoProcess));
            }
        };
        thread::scope(|scope| {
            scope.spawn(stop);
            stop();
        });
    }
}

#[test]
fn of_several_who_remove_a_bucket_one_is_told_that_it_did() {
    let registry = patient();
    for round in 0..scaled(ROUNDS) {
        registry.create("b").unwrap();
        let removed = AtomicUsize::new(0);
        let begin = Barrier::new(3);
        let remove = || {
            begin.wait();
            match registry.remove("b") {
                Ok(()) => {
                    removed.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => assert_eq!(error, Error::NotFound),
            }
            assert_eq!(registry.lookup("b").err(), Some(Error::NotFound));
        };
        thread::scope(|scope| {
            scope.spawn(remove);
            scope.spawn(remove);
            remove();
        });
        assert_eq!(removed.into_inner(), 1, "in round {round}");
    }
}

#[test]
fn a_removed_bucket_does_not_come_back_whoever_ends_it() {
    let bucket = BucketOptions::new()
        .restart(Restart::Permanent)
        .intensity(u32::MAX, Duration::from_secs(5));
    let options = RegistryOptions::new().bucket(bucket);
    let registry = Registry::start_with(options)
        .unwrap()
        .with_timeout(Timeout::Never);
    for _ in 0..scaled(ROUNDS) {
        let bucket = Arc::new(registry.create("b").unwrap());
        let begin = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                begin.wait();
                // Gone already, or in the middle of it.
                let _ = bucket.exit(Reason::Killed, "");
            });
            begin.wait();
            registry.remove("b").unwrap();
        });
        assert_eq!(registry.lookup("b").err(), Some(Error::NotFound));
    }
}
