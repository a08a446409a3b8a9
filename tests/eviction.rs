//! Buckets that take keys out when they are full: what goes, what stays, and what is told of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;

use kvreg::{Bucket, BucketInfo, BucketOptions, Error, OnFull, Registry, RegistryOptions, Value};

mod common;
use common::{cast, scaled};

fn evicting() -> BucketOptions {
    BucketOptions::new().on_full(OnFull::Evict)
}

fn of_keys(keys: usize) -> Bucket {
    Bucket::start_with(evicting().max_keys(keys)).unwrap()
}

fn of_bytes(bytes: usize) -> Bucket {
    Bucket::start_with(evicting().max_bytes(bytes)).unwrap()
}

fn info(bucket: &Bucket) -> BucketInfo {
    bucket.info().unwrap()
}

fn has(bucket: &Bucket, key: impl AsRef<[u8]>) -> bool {
    match bucket.get::<Value>(key) {
        Ok(_) => true,
        Err(Error::NotFound) => false,
        Err(error) => panic!("{error}"),
    }
}

/// The same numbers everywhere (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below 1.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Ranks from 0 on: each as likely as one by its rank to the power of `s`.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(ranks: usize, s: f64) -> Zipf {
        let mut sum = 0.0;
        let mut sums = Vec::new();
        for rank in 1..=ranks {
            sum += (rank as f64).powf(-s);
            sums.push(sum);
        }
        sums.iter_mut().for_each(|it| *it /= sum);
        Zipf(sums)
    }

    fn draw(&self, random: &mut Random) -> u64 {
        let fraction = random.fraction();
        self.0.partition_point(|sum| *sum < fraction) as u64
    }
}

/// How many of a hundred are found, where what is not found is stored.
fn ratio(trace: &[u64], mut find: impl FnMut(u64) -> bool) -> f64 {
    let hits = trace.iter().filter(|key| find(**key)).count();
    100.0 * hits as f64 / trace.len() as f64
}

fn ratio_of_kvreg(keys: usize, trace: &[u64]) -> f64 {
    let bucket = of_keys(keys);
    let ratio = ratio(trace, |key| {
        let is_there = has(&bucket, key.to_ne_bytes());
        if !is_there {
            bucket.put(key.to_ne_bytes(), 1).unwrap();
        }
        is_there
    });
    let info = info(&bucket);
    assert_eq!(info.keys, keys);
    assert_eq!(info.hits + info.misses, trace.len() as u64);
    assert_eq!(info.misses, info.evicted + keys as u64);
    ratio
}

fn ratio_of_lru(keys: usize, trace: &[u64]) -> f64 {
    let (mut times, mut by_time) = (HashMap::new(), BTreeMap::new());
    let mut now = 0;
    ratio(trace, |key| {
        now += 1;
        let before = times.insert(key, now);
        before.map(|before| by_time.remove(&before));
        by_time.insert(now, key);
        if times.len() > keys {
            let (_, oldest) = by_time.pop_first().unwrap();
            times.remove(&oldest);
        }
        before.is_some()
    })
}

const KEYS: usize = 1000;
const READS: usize = 200_000;

fn trace(seed: u64, key: impl Fn(usize, &mut Random) -> u64) -> Vec<u64> {
    let mut random = Random(seed);
    (0..READS).map(|at| key(at, &mut random)).collect()
}

fn zipf(s: f64) -> Vec<u64> {
    let zipf = Zipf::new(20 * KEYS, s);
    trace(7, |_, random| zipf.draw(random))
}

/// One in five thousands of reads is of keys that are read once.
fn zipf_with_scans(s: f64) -> Vec<u64> {
    let zipf = Zipf::new(20 * KEYS, s);
    trace(8, |at, random| match at / KEYS % 5 {
        4 => (1 << 40) + at as u64,
        _ => zipf.draw(random),
    })
}

fn assert_ratio(trace: &[u64], at_least: f64) {
    let (kvreg, lru) = (ratio_of_kvreg(KEYS, trace), ratio_of_lru(KEYS, trace));
    println!("kvreg {kvreg:.1} %, an LRU {lru:.1} %, to be {at_least:.1} %");
    assert!(kvreg >= at_least, "{kvreg} of {at_least}");
    assert!(kvreg >= lru - 5.0, "{kvreg}, an LRU {lru}");
}

// The figures are those of moka 0.12 on the same traces, measured in benches: 2 points below are
// as good. Hashes are seeded anew in each process, and move a ratio by a tenth of a point.

#[test]
fn keys_of_a_zipf_distribution_are_found_as_often_as_in_moka() {
    assert_ratio(&zipf(0.9), 56.2 - 2.0);
    assert_ratio(&zipf(1.0), 68.3 - 2.0);
}

#[test]
fn scans_leave_what_is_read_often() {
    assert_ratio(&zipf_with_scans(0.9), 43.9 - 2.0);
    assert_ratio(&zipf_with_scans(1.0), 53.5 - 2.0);
}

#[test]
fn a_loop_of_twice_the_size_finds_some() {
    // An LRU finds none, and so do CLOCK and SIEVE. It finds 31 of 100 mostly. How the keys' hashes
    // lie is one draw for a process: of 150 processes five were below 25, the least at 18.
    let mut ratios = [0, 1, 2, 3, 4].map(|number: u64| {
        let keys = number << 32;
        let trace = trace(0, |at, _| keys + (at % (2 * KEYS)) as u64);
        ratio_of_kvreg(KEYS, &trace)
    });
    ratios.sort_by(f64::total_cmp);
    println!("kvreg {ratios:.1?} %, to be 10.0 %");
    assert!(ratios[2] >= 10.0, "{ratios:?}");
}

#[test]
fn what_is_read_of_late_is_learnt() {
    let hot = (KEYS * 8 / 10) as u64;
    let shifting = trace(9, |at, random| {
        let first = (at / (20 * KEYS)) as u64 * hot;
        match random.fraction() < 0.9 {
            true => first + random.next() % hot,
            false => (1 << 40) + random.next() % (20 * KEYS as u64),
        }
    });
    assert_ratio(&shifting, 68.4 - 2.0);
}

#[test]
fn there_are_never_more_keys_than_the_limit() {
    const MOST: usize = 100;
    let bucket = of_keys(MOST);
    let is_over = Arc::new(AtomicBool::new(false));
    let reader = {
        let (bucket, is_over) = (bucket.clone(), Arc::clone(&is_over));
        thread::spawn(move || {
            let mut looks = 0u64;
            while !is_over.load(Ordering::Relaxed) || looks == 0 {
                let count = bucket.count().unwrap();
                assert!(count <= MOST, "{count}");
                let items = bucket.items().unwrap().len();
                assert!(items <= MOST, "{items}");
                looks += 1;
            }
        })
    };
    let mut random = Random(1);
    for step in 0..scaled(50_000) as u64 {
        let key = (random.next() % 1000).to_ne_bytes();
        match step % 50 {
            0 => {
                let keys = (0..20).map(|_| (random.next() % 1000).to_ne_bytes());
                bucket.put_many(keys.map(|key| (key, 1))).unwrap();
            }
            1 => drop(bucket.delete(key)),
            2 => bucket.put(key, vec![1u8; 5000]).unwrap(),
            _ => bucket.put(key, 1).unwrap(),
        }
    }
    is_over.store(true, Ordering::Relaxed);
    reader.join().unwrap();
    assert_eq!(info(&bucket).keys, MOST);
}

#[test]
fn every_kind_of_write_makes_room() {
    let bucket = of_keys(3);
    let mut evicted = 0;
    let mut went = |bucket: &Bucket, more| {
        evicted += more;
        let info = info(bucket);
        assert_eq!((info.keys, info.evicted), (3, evicted));
    };
    for key in ["a", "b", "c"] {
        bucket.put(key, 1).unwrap();
    }
    went(&bucket, 0);
    bucket.put("put", 1).unwrap();
    went(&bucket, 1);
    bucket.put("large", vec![1u8; 10_000]).unwrap();
    went(&bucket, 1);
    cast(|| bucket.put_cast("cast", 1)).unwrap();
    went(&bucket, 1);
    bucket.put_entry("entry", 1).unwrap();
    went(&bucket, 1);
    let revision = bucket.put_if("if", 1, 0).unwrap();
    went(&bucket, 1);
    assert_eq!(bucket.put_if("new", 1, revision), Err(Error::Conflict));
    went(&bucket, 0);
    bucket.put_if("if", 2, revision).unwrap();
    went(&bucket, 0);
    bucket.put_if_equal("equal", None::<i64>, Some(1)).unwrap();
    went(&bucket, 1);
    assert_eq!(bucket.add_int("sum", 5), Ok(5));
    went(&bucket, 1);
    assert_eq!(bucket.add_int("sum", 5), Ok(10));
    went(&bucket, 0);
    bucket.update("update", |_| 1).unwrap();
    went(&bucket, 1);
    let begun = bucket.update_begin("begun").unwrap();
    begun.end(1).unwrap();
    went(&bucket, 1);
    bucket.put_many([("one", 1), ("two", 2)]).unwrap();
    went(&bucket, 2);
    bucket.put("two", vec![1u8; 10_000]).unwrap();
    went(&bucket, 0);
    assert!(has(&bucket, "one") && has(&bucket, "two"));
}

#[test]
fn a_value_that_grows_makes_room_and_stays() {
    let bucket = of_bytes(100);
    for key in ["a", "b", "c", "d"] {
        bucket.put(key, "x".repeat(24)).unwrap();
    }
    assert_eq!(info(&bucket).bytes, 100);
    // The next to go is the one that grows.
    bucket.put("a", "x".repeat(49)).unwrap();
    assert_eq!(bucket.get::<String>("a").unwrap().len(), 49);
    assert_eq!((info(&bucket).bytes, info(&bucket).evicted), (100, 1));
    bucket.update("a", |_| "x".repeat(99)).unwrap();
    assert_eq!((info(&bucket).keys, info(&bucket).evicted), (1, 3));
    assert_eq!(info(&bucket).bytes, 100);
}

#[test]
fn what_is_too_large_is_refused_and_nothing_goes() {
    let bucket = of_bytes(100);
    for key in ["a", "b", "c", "d"] {
        bucket.put(key, "x".repeat(24)).unwrap();
    }
    let large = "x".repeat(100);
    let refused = |result: Result<(), Error>| {
        assert!(matches!(result, Err(Error::Limit(_))), "{result:?}");
        let info = info(&bucket);
        assert_eq!((info.keys, info.bytes, info.evicted), (4, 100, 0));
    };
    refused(bucket.put("e", &large));
    refused(bucket.put("a", &large));
    refused(bucket.put("a", vec![1u8; 10_000]));
    refused(bucket.put_entry("e", &large).map(drop));
    refused(
        bucket
            .put_if_equal("e", None::<&str>, Some(&large))
            .map(drop),
    );
    refused(bucket.update("a", |_| large.clone()));
    let half = "x".repeat(50);
    refused(bucket.put_many([("a", &half), ("b", &half)]));
    let bucket = of_keys(2);
    bucket.put("a", 1).unwrap();
    bucket.put("b", 1).unwrap();
    let refused = bucket.put_many([("a", 2), ("c", 2), ("d", 2)]);
    assert!(matches!(refused, Err(Error::Limit(_))), "{refused:?}");
    assert_eq!(bucket.get::<i64>("a"), Ok(1));
    assert_eq!(info(&bucket).evicted, 0);
    // A key that comes twice is one.
    bucket.put_many([("c", 1), ("d", 1), ("c", 2)]).unwrap();
    assert_eq!(bucket.get::<i64>("c"), Ok(2));
    assert_eq!(info(&bucket).evicted, 2);
}

#[test]
fn a_batch_takes_none_of_its_own_keys_out() {
    let mut random = Random(3);
    let bucket = of_keys(64);
    for round in 0..scaled(500) {
        let keys = (0..1 + random.next() % 64).map(|_| random.next() % 200);
        let keys: Vec<u64> = keys.collect();
        let pairs = keys.iter().map(|key| (key.to_ne_bytes(), round));
        bucket.put_many(pairs).unwrap();
        for key in keys {
            assert_eq!(bucket.get::<u32>(key.to_ne_bytes()), Ok(round));
        }
        assert!(bucket.count().unwrap() <= 64);
    }
}

#[test]
fn a_full_registry_takes_keys_of_the_bucket_that_is_written() {
    let registry = Registry::start_with(RegistryOptions::new().max_bytes(1000)).unwrap();
    let cache = registry.create_with("cache", evicting()).unwrap();
    let kept = registry.create("kept").unwrap();
    let nine = |key: u64| (format!("{key:02}"), 1);
    for key in 0..50 {
        let (key, value) = nine(key);
        kept.put(key, value).unwrap();
    }
    for key in 0..90 {
        let (key, value) = nine(key);
        cache.put(key, value).unwrap();
    }
    let (kept_info, cache_info) = (info(&kept), info(&cache));
    assert_eq!((kept_info.keys, kept_info.bytes), (50, 500));
    assert_eq!((cache_info.keys, cache_info.evicted), (50, 40));
    assert!(matches!(kept.put("more", 1), Err(Error::Limit(_))));
    // It would not fit if the bucket were empty: nothing goes.
    let large = cache.put("large", "x".repeat(496));
    assert!(matches!(large, Err(Error::Limit(_))), "{large:?}");
    assert_eq!(info(&cache).keys, 50);
    cache.put("large", "x".repeat(495)).unwrap();
    assert_eq!(info(&cache).keys, 1);
    kept.clear().unwrap();
    cache.put("a", "x".repeat(400)).unwrap();
    assert_eq!(info(&cache).keys, 2);
    let other = registry.create_with("other", evicting()).unwrap();
    assert!(matches!(
        other.put("key", "x".repeat(200)),
        Err(Error::Limit(_))
    ));
    assert_eq!(info(&cache).keys, 2);
}

#[test]
fn reads_are_counted_and_what_is_read_stays() {
    let bucket = of_keys(20);
    for key in 0..20u64 {
        bucket.put(key.to_ne_bytes(), 1).unwrap();
    }
    let counts = |bucket: &Bucket| (info(bucket).hits, info(bucket).misses);
    assert_eq!(counts(&bucket), (0, 0));
    let (first, second, absent) = (0u64.to_ne_bytes(), 1u64.to_ne_bytes(), 99u64.to_ne_bytes());
    assert_eq!(bucket.get::<i64>(first), Ok(1));
    assert_eq!(counts(&bucket), (1, 0));
    assert!(bucket.get::<i64>(absent).is_err());
    assert_eq!(counts(&bucket), (1, 1));
    assert!(bucket.entry::<i64>(second).is_ok());
    assert!(bucket.entry::<i64>(absent).is_err());
    assert_eq!(counts(&bucket), (2, 2));
    bucket
        .get_many::<Value>([2u64, 3, 99].map(u64::to_ne_bytes))
        .unwrap();
    assert_eq!(counts(&bucket), (4, 3));
    bucket
        .update(4u64.to_ne_bytes(), |_| kvreg::Verdict::Keep)
        .unwrap();
    assert_eq!(counts(&bucket), (5, 3));
    // These read nothing of a key.
    assert_eq!(bucket.items().unwrap().len(), 20);
    assert_eq!(bucket.count(), Ok(20));
    assert_eq!(counts(&bucket), (5, 3));
    bucket.put(5u64.to_ne_bytes(), 2).unwrap();
    // Of those that came first these were used.
    for key in 100..110u64 {
        bucket.put(key.to_ne_bytes(), 1).unwrap();
    }
    for key in 0..6u64 {
        assert!(has(&bucket, key.to_ne_bytes()), "{key}");
    }
    for key in 6..16u64 {
        assert!(!has(&bucket, key.to_ne_bytes()), "{key}");
    }
    // Where nothing is taken out nothing is counted.
    let plain = Bucket::start().unwrap();
    plain.put("key", 1).unwrap();
    assert!(has(&plain, "key") && !has(&plain, "absent"));
    assert_eq!(counts(&plain), (0, 0));
}

#[test]
fn g15_an_eviction_is_a_change_before_the_one_that_it_makes_room_for() {
    let bucket = of_keys(2);
    let first = bucket.put_entry("a", 1).unwrap();
    let second = bucket.put_entry("b", 1).unwrap();
    assert_eq!(second, first + 1);
    let third = bucket.put_entry("c", 1).unwrap();
    assert_eq!(third, second + 2);
    let large = bucket.put_entry("d", vec![1u8; 10_000]).unwrap();
    assert_eq!(large, third + 2);
    assert_eq!(bucket.revision(), Ok(large));
    assert_eq!(bucket.put_if("a", 1, first), Err(Error::Conflict));
    let again = bucket.put_if("a", 1, 0).unwrap();
    assert_eq!(again, large + 2);
}

#[test]
fn a_bucket_that_was_cleared_or_emptied_fills_again() {
    let bucket = of_keys(50);
    let fill = |from: u64| {
        for key in from..from + 200 {
            bucket.put(key.to_ne_bytes(), 1).unwrap();
        }
        assert_eq!(bucket.count(), Ok(50));
    };
    fill(0);
    bucket.clear().unwrap();
    fill(1000);
    for (key, _) in bucket.items().unwrap() {
        bucket.delete(key.as_bytes()).unwrap();
    }
    fill(2000);
    // One key, over and over: it leaves places behind.
    for _ in 0..scaled(10_000) {
        bucket.delete(2199u64.to_ne_bytes()).unwrap();
        bucket.put(2199u64.to_ne_bytes(), 1).unwrap();
    }
    fill(3000);
}

#[test]
fn a_key_that_is_read_has_a_value_that_was_put() {
    const KEYS: u64 = 300;
    let bucket = of_keys(100);
    let mut threads = Vec::new();
    for seed in 0..4 {
        let bucket = bucket.clone();
        threads.push(thread::spawn(move || {
            let mut random = Random(seed);
            for step in 0..scaled(20_000) {
                let number = random.next() % KEYS;
                let key = number.to_ne_bytes();
                // A number, a short text or a long one: of the key, whoever put it.
                let text = || number.to_string().repeat(1 + random_len(step));
                match step % 8 {
                    0 => bucket.put(key, number as i64).unwrap(),
                    1 => bucket.put(key, text()).unwrap(),
                    2 => bucket.put_many([(key, number as i64)]).unwrap(),
                    3 => drop(bucket.delete(key)),
                    4 => bucket.update(key, |_| number as i64).unwrap(),
                    _ => match bucket.get::<Value>(key) {
                        Ok(Value::Int(value)) => assert_eq!(value, number as i64),
                        Ok(Value::String(read)) => {
                            let part = number.to_string();
                            assert_eq!(read.as_str().unwrap().replace(&part, ""), "");
                        }
                        Err(Error::NotFound) => {}
                        other => panic!("{other:?}"),
                    },
                }
                assert!(bucket.count().unwrap() <= 100);
            }
        }));
    }
    threads.into_iter().for_each(|it| it.join().unwrap());
    let info = info(&bucket);
    assert!(info.keys <= 100 && info.evicted > 0 && info.hits > 0);
}

fn random_len(step: u32) -> usize {
    match step % 97 {
        0 => 3000,
        it => it as usize % 20,
    }
}

/// Each key is one thread's, which puts larger and larger numbers: it reads its last one or none,
/// and others never an older one after a newer.
#[test]
fn g2_histories_of_a_full_bucket_have_an_order() {
    const THREADS: u64 = 4;
    const KEYS: u64 = 80;
    let bucket = of_keys(40);
    let history = |me: u64| {
        let mut random = Random(me + 1);
        let mut last = vec![0i64; KEYS as usize];
        let mut is_gone = vec![true; KEYS as usize];
        for step in 1..=i64::from(scaled(20_000)) {
            let number = random.next() % KEYS;
            let (at, key) = (number as usize, number.to_ne_bytes());
            let read = match bucket.get::<i64>(key) {
                Err(Error::NotFound) => None,
                read => Some(read.unwrap()),
            };
            if number % THREADS != me {
                if let Some(read) = read {
                    assert!(read >= last[at], "{read} after {}", last[at]);
                    last[at] = read;
                }
                continue;
            }
            match read {
                Some(read) => assert!(read == last[at] && !is_gone[at], "{read} {}", last[at]),
                None => is_gone[at] = true, // and so it stays until it is put again
            }
            match random.next() % 6 {
                0 => {
                    let sum = bucket.add_int(key, step).unwrap();
                    // From what was there, or from nothing; brought up to what comes next.
                    assert!(sum == last[at] + step && !is_gone[at] || sum == step);
                    bucket.put(key, step << 20).unwrap();
                }
                1 => match bucket.put_if(key, step << 20, 0) {
                    Ok(_) => {}
                    Err(Error::Conflict) => {
                        assert!(!is_gone[at]);
                        continue;
                    }
                    Err(error) => panic!("{error}"),
                },
                2 => {
                    let equal = (!is_gone[at]).then_some(last[at]);
                    match bucket.put_if_equal(key, equal, Some(step << 20)) {
                        Ok(_) => {}
                        Err(Error::Conflict) => {
                            assert!(!is_gone[at]); // it went meanwhile
                            is_gone[at] = true;
                            continue;
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
                3 => {
                    let other = ((number + THREADS) % KEYS).to_ne_bytes();
                    bucket
                        .put_many([(key, step << 20), (other, step << 20)])
                        .unwrap();
                    let other = u64::from_ne_bytes(other) as usize;
                    (last[other], is_gone[other]) = (step << 20, false);
                }
                4 => {
                    let found = bucket.delete(key).is_ok();
                    assert!(!found || !is_gone[at]);
                    is_gone[at] = true;
                    continue;
                }
                _ => bucket.put(key, step << 20).unwrap(),
            }
            (last[at], is_gone[at]) = (step << 20, false);
        }
    };
    thread::scope(|scope| {
        for me in 0..THREADS {
            let history = &history;
            scope.spawn(move || history(me));
        }
    });
    let info = info(&bucket);
    assert!(info.keys <= 40 && info.evicted > 0);
}
