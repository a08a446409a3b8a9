//! Watches of many keys (G18), beside a writer that nothing slows down: `make proof` has the time
//! for it. All is counted and nothing timed: so many changes pass for each event that is received.
//! SCALE=20 has 200 of them, as a writer at two million changes a second beside a receiver of
//! 10,000 events.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

mod common;
use common::scaled;

use kvreg::{Bucket, ChangeKind, Event, Inbox, Timeout, Value};

const MIB: usize = 1 << 20;

/// What a watch of a bucket may keep: its log, and what it read of keys to be told.
const WATCH_BOUND: usize = 16 * MIB;

/// Bytes that were allocated and not freed.
fn in_use() -> usize {
    // SAFETY: takes nothing.
    let info = unsafe { libc::mallinfo2() };
    info.uordblks + info.hblkhd
}

/// The most of it, looked at now and then.
struct Most {
    before: usize,
    most: usize,
}

impl Most {
    fn since_now() -> Most {
        Most {
            before: in_use(),
            most: 0,
        }
    }

    fn look(&mut self) {
        self.most = self.most.max(in_use().saturating_sub(self.before));
    }
}

fn patient() -> Bucket {
    Bucket::start().unwrap().with_timeout(Timeout::Never)
}

fn number_of(key: &[u8]) -> usize {
    u64::from_ne_bytes(key.try_into().expect("eight bytes")) as usize
}

/// Numbers in an order that hits all of them, by chance as far as a watch knows.
struct Shuffled {
    at: u64,
    count: u64,
}

impl Shuffled {
    fn next(&mut self) -> u64 {
        // A prime that does not divide a power of ten.
        self.at = (self.at + 618_033_989) % self.count;
        self.at
    }
}

/// One test, for its parts look at the memory of the whole process.
#[test]
#[ignore = "it takes a minute or two: make proof"]
fn g18_watches_of_many_keys() {
    a_million_keys_and_a_writer_at_full_speed();
    a_sleeper_beside_ten_million_keys_that_go();
}

/// Each round is complete when it becomes current,
/// however far the writer is ahead by then.
fn a_million_keys_and_a_writer_at_full_speed() {
    const KEYS: usize = 1_000_000;
    const ROUNDS: usize = 2;
    let changes_per_event = scaled(10);
    let (bucket, inbox) = (patient(), Inbox::open().unwrap());
    let mut now = vec![0i64; KEYS];
    for number in 0..KEYS as u64 {
        bucket.put(number.to_ne_bytes(), 0).unwrap();
    }
    inbox.watch(&bucket, "").unwrap();
    let (mut at_beginning, mut revision) = (Vec::new(), 0);
    let (mut known, mut seen) = (vec![-1i64; KEYS], vec![0u64; KEYS]);
    let (mut rounds, mut written, mut events) = (0, 0i64, 0usize);
    let mut order = Shuffled {
        at: 0,
        count: KEYS as u64,
    };
    let mut memory = Most::since_now();
    while rounds < ROUNDS {
        for _ in 0..changes_per_event {
            let number = order.next();
            written += 1;
            bucket.put(number.to_ne_bytes(), written).unwrap();
            now[number as usize] = written;
        }
        events += 1;
        if events % 10_000 == 0 {
            memory.look();
        }
        match inbox.receive(Timeout::Now).unwrap() {
            Event::Reset { .. } => {
                at_beginning.clone_from(&now);
                revision = bucket.revision().unwrap();
                known.fill(-1);
                seen.fill(0);
                if rounds == 0 {
                    memory = Most::since_now();
                }
            }
            Event::Change {
                change: ChangeKind::Put,
                key,
                value: Value::Int(value),
                revision,
                ..
            } => {
                let number = number_of(&key);
                assert!(seen[number] < revision, "rising");
                (known[number], seen[number]) = (value, revision);
            }
            Event::Current { revision: of, .. } => {
                assert_eq!(of, revision, "of the round's beginning");
                for number in 0..KEYS {
                    let range = at_beginning[number]..=now[number];
                    assert!(range.contains(&known[number]), "key {number}");
                }
                rounds += 1;
                println!("round {rounds}: {events} events beside {written} changes");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(written as usize > ROUNDS * KEYS * changes_per_event as usize);
    memory.look();
    println!("the most beside the bucket: {} bytes", memory.most);
    assert!(memory.most < WATCH_BOUND, "{} bytes", memory.most);
    // And when the writer rests, all that there is.
    while let Ok(event) = inbox.receive(Timeout::Now) {
        match event {
            Event::Reset { .. } => known.fill(-1),
            Event::Change { key, value, .. } => {
                known[number_of(&key)] = value.as_i64().expect("a number");
            }
            Event::Current { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(known == now);
}

/// What sleeps costs its log, and wakes to what there is.
fn a_sleeper_beside_ten_million_keys_that_go() {
    const KEYS: u64 = 10_000_000;
    let (bucket, inbox) = (patient(), Inbox::open().unwrap());
    bucket.put("stays", 1).unwrap();
    let mut memory = Most::since_now();
    inbox.watch(&bucket, "").unwrap();
    let next = || match inbox.receive(Timeout::Now) {
        Ok(Event::Reset { .. }) => "reset",
        Ok(Event::Change { key, .. }) if key == b"stays" => "stays",
        Ok(Event::Current { .. }) => "current",
        other => panic!("{other:?}"),
    };
    let round = ["reset", "stays", "current"];
    assert_eq!([next(), next(), next()], round);
    assert!(inbox.receive(Timeout::Now).is_err(), "it sleeps");
    for number in 0..KEYS {
        bucket.put(number.to_ne_bytes(), 1).unwrap();
        bucket.delete(number.to_ne_bytes()).unwrap();
        if number % 100_000 == 0 {
            memory.look();
        }
    }
    println!("the most that a sleeper has: {} bytes", memory.most);
    assert!(memory.most < WATCH_BOUND, "{} bytes", memory.most);
    assert_eq!([next(), next(), next()], round, "it wakes to what there is");
    assert!(inbox.receive(Timeout::Now).is_err());
    bucket.put("stays", 2).unwrap();
    assert_eq!(next(), "stays");
}
