//! Two threads beside one: what is independent should be twice as fast.

use std::sync::atomic::{AtomicBool, Ordering};

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::calls::pairs;
use super::clock::{medians, rate, repeated, with_keys};
use super::rows::Rows;
use crate::keys::Keys;
use crate::kvreg::{Bucket, Registry};
use crate::measure::Work;

const DISTINCT: usize = 200;

/// Keys of this thread alone.
fn own_keys(thread: usize) -> Keys {
    Keys::numbered(thread * DISTINCT..(thread + 1) * DISTINCT)
}

/// The medians of two threads and of one, in millions a second; `work` is that of a thread.
fn two_and_one<'a>(work: impl Fn(usize) -> Work<'a>) -> [f64; 2] {
    medians([&mut || rate((0..2).map(&work).collect()), &mut || {
        rate(vec![work(0)])
    }])
}

fn scale<'a>(rows: &mut Rows, what: &str, aim: f64, work: impl Fn(usize) -> Work<'a>) {
    let name = format!("{what}: 2 threads, M/s / 1 thread");
    rows.rates(&name, two_and_one(work), aim);
}

type Map = HashMap<Box<[u8]>, Box<[u8]>, RandomState>;

/// The same by kvreg, and by maps that threads do not share, which shows what the machine can do.
fn beside_maps<'a>(
    rows: &mut Rows,
    what: &str,
    kvreg: impl Fn(usize) -> Work<'a>,
    unshared: impl Fn(usize) -> Work<'a>,
) {
    let [two, one, maps_two, maps_one] = medians([
        &mut || rate((0..2).map(&kvreg).collect()),
        &mut || rate(vec![kvreg(0)]),
        &mut || rate((0..2).map(&unshared).collect()),
        &mut || rate(vec![unshared(0)]),
    ]);
    let name = format!("{what}: 2 threads, M/s / 1 thread");
    rows.rates(&name, [two, one], 1.8);
    let name = format!("{what}: 2 threads over 1 / that of two unshared maps");
    rows.rates(&name, [two / one, maps_two / maps_one], 0.93);
}

fn buckets_of_their_own(rows: &mut Rows) {
    let buckets = [Bucket::start(), Bucket::start()];
    let kvreg = |thread: usize| {
        let bucket = &buckets[thread];
        repeated(move || {
            bucket.put_one(b"new-key", &[3; 64]);
            bucket.delete_one(b"new-key");
        })
    };
    let unshared = |_| {
        let mut map = Map::default();
        repeated(move || {
            map.insert(b"new-key"[..].into(), [3; 64].into());
            map.remove(&b"new-key"[..]);
        })
    };
    beside_maps(rows, "put and delete, a bucket each", kvreg, unshared);
    let keys = [own_keys(0), own_keys(1)];
    let kvreg = |thread: usize| {
        let bucket = &buckets[thread];
        with_keys(&keys[thread], |key| bucket.put_one(key, &[3; 1024]))
    };
    let unshared = |thread: usize| {
        let mut map = Map::default();
        with_keys(&keys[thread], move |key| {
            map.insert(key.into(), [3; 1024].into());
        })
    };
    beside_maps(rows, "put over 1 KiB, a bucket each", kvreg, unshared);
}

fn one_bucket(rows: &mut Rows) {
    let bucket = &Bucket::start();
    let keys = [own_keys(0), own_keys(1)];
    scale(
        rows,
        "put over 64 B, keys of their own in one bucket",
        0.7,
        |thread| with_keys(&keys[thread], |key| bucket.put_one(key, &[3; 64])),
    );
}

fn registries(rows: &mut Rows) {
    let registry = &Registry::start();
    let names = ["first", "second"];
    let _buckets = names.map(|name| registry.bucket(name));
    scale(rows, "lookup and free, a bucket each", 1.8, |thread| {
        repeated(move || registry.look_up_one(names[thread]))
    });
    let registries = &[Registry::start(), Registry::start()];
    scale(rows, "create and stop, a registry each", 1.7, |thread| {
        repeated(move || registries[thread].create_and_stop("bucket"))
    });
}

fn large_values(rows: &mut Rows) {
    let bucket = &Bucket::start();
    for size in [513, 1024, 4096] {
        bucket.put_one(b"large", &vec![3; size]);
        scale(
            rows,
            &format!("get of {size} B, shared, one key"),
            1.5,
            |_| repeated(|| bucket.get_one(b"large")),
        );
        scale(
            rows,
            &format!("get of {size} B, copied, one key"),
            1.5,
            |_| {
                let mut buffer = vec![0; size];
                repeated(move || bucket.copy_one(b"large", &mut buffer))
            },
        );
    }
}

fn many_at_once(rows: &mut Rows) {
    let bucket = &Bucket::start();
    let keys = &Keys::numbered(0..100_000);
    keys.iter().for_each(|key| bucket.put_one(key, &[3; 64]));
    for count in [10, 1000] {
        scale(
            rows,
            &format!("get_many of {count}, one bucket"),
            1.8,
            |_| {
                let mut pairs = pairs(keys.iter().take(count));
                Box::new(move || {
                    bucket.get_many(&mut pairs);
                    1
                })
            },
        );
    }
    let put = || with_keys(keys, |key| bucket.put_one(key, &[3; 64]));
    let done = &AtomicBool::new(false);
    let beside = || {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut pairs = pairs(keys.iter().take(1000));
                while !done.load(Ordering::Relaxed) {
                    bucket.get_many(&mut pairs);
                }
            });
            let rate = rate(vec![put()]);
            done.store(true, Ordering::Relaxed);
            rate
        })
    };
    let figures = medians([
        &mut || {
            done.store(false, Ordering::Relaxed);
            beside()
        },
        &mut || rate(vec![put()]),
    ]);
    rows.rates(
        "put beside a loop of get_many(1000), M/s / alone",
        figures,
        0.8,
    );
}

pub fn measure(rows: &mut Rows) {
    buckets_of_their_own(rows);
    one_bucket(rows);
    registries(rows);
    large_values(rows);
    many_at_once(rows);
}
