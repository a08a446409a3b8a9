//! All that a bucket does with keys at once: times to live, eviction, order, batches, scans and
//! watches beside each other agree on what there is.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kvreg::{
    Batch, Bucket, BucketOptions, ChangeKind, Event, Inbox, OnFull, Order, Scan, Timeout, Ttl,
    Value, WatchOptions,
};

mod common;
use common::{eventually, scaled, PATIENCE};

#[path = "common/clock.rs"]
#[allow(dead_code)] // other tests use more of it
mod clock;

const KEYS: u64 = 200;
const MOST: usize = 120;
const WRITERS: u64 = 3;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn key(&mut self) -> String {
        format!("key:{:03}", self.below(KEYS))
    }

    /// On both sides of what is stored in its place, and of what is shared.
    fn value(&mut self) -> Value {
        match self.below(6) {
            0..=2 => Value::from(self.below(1000) as i64),
            3 => Value::from("x".repeat(self.below(40) as usize)),
            4 => Value::from("y".repeat(self.below(600) as usize)),
            _ => Value::from("z".repeat(4000 + self.below(2000) as usize)),
        }
    }
}

/// One change of some kind; what it answers does not matter here.
fn change(bucket: &Bucket, random: &mut Random) {
    let (key, value) = (random.key(), random.value());
    let ttl = Duration::from_millis(1 + random.below(300));
    match random.below(16) {
        0..=2 => bucket.put(&key, value).unwrap(),
        3..=5 => drop(bucket.put_for(&key, value, ttl).unwrap()),
        6 => drop(bucket.put_for(&key, value, Ttl::Keep).unwrap()),
        7 => drop(bucket.delete(&key)),
        8 => drop(bucket.add_int(&key, 1)),
        9 => drop(bucket.expire(&key, ttl)),
        10 => drop(bucket.expire(&key, Ttl::Never)),
        11 => {
            let pairs = [(random.key(), 1), (random.key(), 2), (key, 3)];
            bucket.put_many(pairs).unwrap();
        }
        12 => drop(bucket.put_if(&key, value, 0)),
        13 => drop(bucket.update(&key, |old| old.cloned().unwrap_or(Value::from(0)))),
        14 => drop(bucket.put_cast(&key, value)), // nothing is evicted for one that waits
        _ => {
            let mut batch = Batch::new();
            batch.put(random.key(), random.value());
            batch.put_for(random.key(), random.value(), ttl);
            batch.add_int(format!("sum:{}", random.below(3)), 1);
            drop(bucket.apply(&batch));
            let mut batch = Batch::new();
            batch.put(&key, value).delete(&key);
            drop(bucket.apply(&batch));
        }
    }
}

/// Each with its value and its revision.
type Keys = BTreeMap<Vec<u8>, (Value, u64)>;

/// What somebody knows who believes a watch.
#[derive(Default)]
struct Replica {
    keys: Keys,
    is_current: bool,
}

impl Replica {
    fn learn(&mut self, event: Event) {
        match event {
            Event::Reset { .. } => *self = Replica::default(),
            Event::Current { .. } => self.is_current = true,
            Event::Change {
                change: ChangeKind::Put,
                key,
                value,
                revision,
                ..
            } => {
                let before = self.keys.insert(key, (value, revision));
                assert!(before.is_none_or(|(_, before)| before < revision));
            }
            Event::Change { key, .. } => drop(self.keys.remove(&key)),
            other => panic!("{other:?}"),
        }
    }
}

/// What a scan gives, which is to be in order, and to agree with the snapshot of all.
fn scanned(bucket: &Bucket) -> Keys {
    let items = bucket.scan(&Scan::new()).unwrap();
    let keys: Vec<_> = items
        .iter()
        .map(|item| item.key.as_bytes().to_vec())
        .collect();
    assert!(keys.is_sorted_by(|one, other| one < other));
    let of = |item: kvreg::Item| (item.key.as_bytes().to_vec(), (item.value, item.revision));
    items.into_iter().map(of).collect()
}

/// What is told, of the keys whose time is not over.
fn learn_all(bucket: &Bucket, replica: &mut Replica, inbox: &Inbox, there: &Keys) -> Keys {
    loop {
        match inbox.receive_many(Timeout::Now, 64) {
            Ok(events) => events.into_iter().for_each(|event| replica.learn(event)),
            Err(kvreg::Error::Timeout) => break,
            Err(other) => panic!("{other}"),
        }
    }
    let mut told = replica.keys.clone();
    // What is over and was not swept is in no scan; its end is told later.
    told.retain(|key, _| there.contains_key(key) || bucket.get::<Value>(key).is_ok());
    told
}

fn agree(bucket: &Bucket, replica: &mut Replica, inbox: &Inbox) {
    // Casts of other threads may wait yet.
    bucket.update("key:000", |_| kvreg::Verdict::Keep).unwrap();
    let there = scanned(bucket);
    let mut told = learn_all(bucket, replica, inbox, &there);
    // The sweeper may be in the middle of a change: whoever does not wait is told no more then.
    let begin = Instant::now();
    while told != there && begin.elapsed() < PATIENCE {
        std::thread::yield_now();
        told = learn_all(bucket, replica, inbox, &there);
    }
    assert_eq!(told, there);
    assert!(replica.is_current);
    let items = bucket.items().unwrap();
    assert_eq!(items.len(), there.len());
    for (key, (value, revision)) in &there {
        let entry = bucket.entry::<Value>(key).unwrap();
        assert_eq!((&entry.value, entry.revision), (value, *revision));
    }
}

fn everything_agrees(options: BucketOptions, seed: u64) {
    clock::set(1_000_000);
    let bucket = Bucket::start_with(options)
        .unwrap()
        .with_timeout(Timeout::Never);
    let (inbox, mut replica) = (Inbox::open().unwrap(), Replica::default());
    inbox.watch_with(&bucket, WatchOptions::default()).unwrap();
    for round in 0..scaled(20) as u64 {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let mut random = Random(seed + 1 + round * WRITERS + writer);
                    let bucket = &bucket;
                    scope.spawn(move || (0..300).for_each(|_| change(bucket, &mut random)))
                })
                .collect();
            let (bucket, done) = (&bucket, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    assert!(bucket.count().unwrap() <= MOST);
                    scanned(bucket);
                    clock::advance(1);
                }
            });
            let ends: Vec<_> = writers.into_iter().map(|it| it.join()).collect();
            done.store(true, Ordering::Relaxed);
            assert!(ends.iter().all(Result::is_ok));
        });
        agree(&bucket, &mut replica, &inbox);
        if round % 7 == 6 {
            bucket.clear().unwrap();
            agree(&bucket, &mut replica, &inbox);
            eventually("all are told to be gone", || {
                learn_all(&bucket, &mut replica, &inbox, &Keys::new());
                replica.keys.is_empty()
            });
        }
    }
    let info = bucket.info().unwrap();
    assert!(info.expired > 0 && info.evicted > 0, "{info:?}");
}

#[test]
fn all_that_is_done_with_keys_agrees() {
    let options = BucketOptions::new().max_keys(MOST).on_full(OnFull::Evict);
    everything_agrees(options.clone(), 1);
    everything_agrees(options.clone().order(Order::Ordered), 1000);
    let default_ttl = Duration::from_millis(200);
    everything_agrees(options.order(Order::Ordered).default_ttl(default_ttl), 2000);
}
