//! Watches (G18): what they tell of any history, how far they may be behind, and how they end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kvreg::{
    Bucket, BucketOptions, ChangeKind, Error, Event, Inbox, Reason, Registry, Restart, Timeout,
    Value, WatchOptions,
};

mod common;
use common::{cast, eventually, next_event, scaled, Over, PATIENCE};

/// A generator of numbers, the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

fn patient() -> Bucket {
    Bucket::start().unwrap().with_timeout(Timeout::Never)
}

type Keys = BTreeMap<Vec<u8>, Value>;

/// What somebody knows who believes a watch.
#[derive(Default)]
struct Replica {
    keys: Keys,
    revisions: BTreeMap<Vec<u8>, u64>,
    /// Of the last change after `Current`.
    last: Option<u64>,
    is_current: bool,
    resets: u64,
    currents: u64,
    revision: u64,
    down: Option<Reason>,
}

impl Replica {
    fn learn(&mut self, event: Event) {
        assert!(self.down.is_none(), "after its DOWN: {event:?}");
        match event {
            Event::Reset { .. } => {
                let (resets, currents) = (self.resets + 1, self.currents);
                *self = Replica {
                    resets,
                    currents,
                    ..Replica::default()
                };
            }
            Event::Current { revision, .. } => {
                assert!(!self.is_current && self.resets == self.currents + 1);
                assert!(revision >= self.revision);
                self.revision = revision;
                self.currents += 1;
                self.is_current = true;
                self.last = Some(revision);
            }
            Event::Change {
                change,
                key,
                value,
                revision,
                ..
            } => {
                assert!(self.resets > 0, "RESET comes first");
                let before = self.revisions.insert(key.clone(), revision);
                assert!(before < Some(revision), "rising: {before:?} {revision}");
                if self.is_current {
                    assert!(self.last < Some(revision), "rising for all keys");
                    self.last = Some(revision);
                }
                match change {
                    ChangeKind::Put => drop(self.keys.insert(key, value)),
                    _ => {
                        assert!(self.is_current, "a round tells what there is");
                        assert_eq!(value, Value::Nil);
                        self.keys.remove(&key);
                    }
                }
            }
            Event::Down { reason, .. } => self.down = Some(reason),
            other => panic!("{other:?}"),
        }
    }

    /// All that waits.
    fn catch_up(&mut self, inbox: &Inbox) {
        while let Ok(events) = inbox.receive_many(Timeout::Now, 100) {
            events.into_iter().for_each(|event| self.learn(event));
        }
    }

    fn follow_until_current(&mut self, inbox: &Inbox) {
        let currents = self.currents;
        while self.currents == currents {
            self.learn(next_event(inbox));
        }
    }
}

fn contents(bucket: &Bucket, prefix: &[u8]) -> Keys {
    let items = bucket.items().unwrap().into_iter();
    let items = items.map(|(key, value)| (key.as_bytes().to_vec(), value));
    items.filter(|(key, _)| key.starts_with(prefix)).collect()
}

/// One step of a history: any kind of change.
fn change(bucket: &Bucket, random: &mut Random, keys: u64) {
    let key = |random: &mut Random| match random.below(keys) {
        number if number % 3 == 0 => format!("user:{number}"),
        number => format!("other:{number}"),
    };
    let one = key(random);
    let value = random.below(1 << 40) as i64;
    match random.below(100) {
        0..40 => bucket.put(&one, value).unwrap(),
        40..50 => bucket
            .put(&one, vec![b'x'; (value % 9000) as usize].as_slice())
            .unwrap(),
        50..75 => drop(bucket.delete(&one)),
        75..80 => drop(bucket.add_int(&one, 1)),
        80..85 => bucket
            .update(&one, |_| kvreg::Verdict::Store(Value::Int(value)))
            .unwrap(),
        85..88 => drop(bucket.update(&one, |_| kvreg::Verdict::Remove)),
        88..92 => {
            let pairs: Vec<(String, Value)> = (0..random.below(60) + 1)
                .map(|_| (key(random), Value::Int(value)))
                .collect();
            let pairs = pairs
                .iter()
                .map(|(key, value)| (key.as_bytes(), value.as_ref()));
            bucket.put_many(pairs).unwrap();
        }
        92..96 => cast(|| bucket.put_cast(&one, value)).unwrap(),
        96..99 => bucket.delete_cast(&one).unwrap(),
        _ if random.below(20) == 0 => bucket.clear().unwrap(),
        _ => {}
    }
}

#[test]
fn g18_what_is_told_is_what_there_is() {
    for seed in 1..=scaled(12) as u64 {
        let bucket = patient();
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let keys = [10, 300, 5000][seed as usize % 3];
        for _ in 0..random.below(3000) {
            change(&bucket, &mut random, keys);
        }
        // Each change, now and then, and hardly ever.
        let inboxes = [(); 3].map(|()| Inbox::open().unwrap());
        let mut replicas = [(); 3].map(|()| Replica::default());
        let prefixes: [&[u8]; 3] = [b"", b"user:", b""];
        for ((inbox, prefix), max_pending) in inboxes.iter().zip(prefixes).zip([0, 0, 100]) {
            let options = WatchOptions::new().prefix(prefix).max_pending(max_pending);
            inbox.watch_with(&bucket, options).unwrap();
        }
        for _ in 0..4000 {
            change(&bucket, &mut random, keys);
            for (at, every) in [1, 7, 50].into_iter().enumerate() {
                if random.below(every) == 0 {
                    for _ in 0..random.below(4) {
                        if let Ok(event) = inboxes[at].receive(Timeout::Now) {
                            let is_current = matches!(event, Event::Current { .. });
                            replicas[at].learn(event);
                            // Nobody changes it meanwhile, but some keys changed since.
                            if is_current && replicas[at].revision == bucket.revision().unwrap() {
                                assert_eq!(replicas[at].keys, contents(&bucket, prefixes[at]));
                            }
                        }
                    }
                }
            }
            if random.below(400) == 0 {
                let at = random.below(3) as usize;
                replicas[at].catch_up(&inboxes[at]);
                assert_eq!(
                    replicas[at].keys,
                    contents(&bucket, prefixes[at]),
                    "seed {seed}"
                );
            }
        }
        for ((inbox, replica), prefix) in inboxes.iter().zip(&mut replicas).zip(prefixes) {
            replica.catch_up(inbox);
            assert!(replica.is_current);
            assert_eq!(replica.keys, contents(&bucket, prefix), "seed {seed}");
        }
        assert!(replicas[2].resets > 1, "it fell behind");
        bucket.exit(Reason::Killed, "").unwrap();
        for (inbox, replica) in inboxes.iter().zip(&mut replicas) {
            replica.catch_up(inbox);
            assert_eq!(replica.down, Some(Reason::Killed));
        }
    }
}

/// Beside four writers, while the table grows and shrinks.
#[test]
fn g18_beside_writers() {
    for round in 0..scaled(4) as u64 {
        let bucket = patient();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let over = Over(&done);
            let followers: Vec<_> = [(0, 64), (0, 1), (500, 8)]
                .map(|(max_pending, at_once)| {
                    let (bucket, done) = (&bucket, &done);
                    scope.spawn(move || {
                        let inbox = Inbox::open().unwrap();
                        let options = WatchOptions::new().max_pending(max_pending);
                        inbox.watch_with(bucket, options).unwrap();
                        let mut replica = Replica::default();
                        loop {
                            let is_over = done.load(Ordering::Acquire);
                            match inbox.receive_many(Duration::from_millis(1), at_once) {
                                Ok(events) => events.into_iter().for_each(|it| replica.learn(it)),
                                Err(Error::Timeout) if is_over => break,
                                Err(Error::Timeout) => {}
                                Err(error) => panic!("{error}"),
                            }
                        }
                        replica
                    })
                })
                .into();
            let writers: Vec<_> = (0..4u64)
                .map(|number| {
                    let bucket = &bucket;
                    scope.spawn(move || {
                        let mut random = Random(round * 4 + number + 1);
                        for _ in 0..5000 {
                            change(bucket, &mut random, 2000);
                        }
                    })
                })
                .collect();
            writers
                .into_iter()
                .for_each(|writer| writer.join().unwrap());
            // What others cast may wait yet: a call comes after it, as no read does.
            bucket.update("none", |_| kvreg::Verdict::Keep).unwrap();
            drop(over);
            for follower in followers {
                let replica = follower.join().unwrap();
                assert!(replica.is_current);
                assert_eq!(replica.keys, contents(&bucket, b""));
            }
        });
    }
}

#[test]
fn g18_a_sleeper_comes_back_by_reset() {
    let (bucket, inbox) = (patient(), Inbox::open().unwrap());
    inbox.watch(&bucket, "").unwrap();
    let mut replica = Replica::default();
    replica.catch_up(&inbox);
    assert_eq!((replica.resets, replica.currents), (1, 1));
    bucket.put("stays", 1).unwrap();
    // Ten million where there is time for it.
    for number in 0..scaled(300_000) {
        let key = format!("key {number}");
        bucket.put(&key, 1).unwrap();
        bucket.delete(&key).unwrap();
    }
    replica.catch_up(&inbox);
    assert_eq!((replica.resets, replica.currents), (2, 2));
    assert_eq!(replica.keys, contents(&bucket, b""));
    assert_eq!(replica.keys.len(), 1);
}

#[test]
fn g18_one_round_is_enough() {
    let (bucket, inbox) = (patient(), Inbox::open().unwrap());
    let keys = scaled(20_000) as u64;
    for number in 0..keys {
        bucket.put(number.to_ne_bytes(), 0).unwrap();
    }
    let options = WatchOptions::new().max_pending(1000);
    inbox.watch_with(&bucket, options).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let over = Over(&done);
        let writer = scope.spawn(|| {
            let mut random = Random(1);
            let mut value = 0i64;
            while !done.load(Ordering::Acquire) {
                value += 1;
                bucket.put(random.below(keys).to_ne_bytes(), value).unwrap();
            }
        });
        let mut replica = Replica::default();
        let mut before = 0;
        for _ in 0..5 {
            // However fast it reads, it has fallen behind: that makes a round.
            eventually("more changes than may wait", || {
                bucket.revision().unwrap() > replica.revision + 2000
            });
            replica.follow_until_current(&inbox);
            // Complete, and as it was at the round's beginning or later.
            assert_eq!(replica.keys.len() as u64, keys);
            assert!(replica.revision >= before);
            before = replica.revision;
        }
        drop(over);
        writer.join().unwrap();
        replica.catch_up(&inbox);
        assert_eq!(replica.keys, contents(&bucket, b""));
    });
}

/// What somebody is told at once.
fn told(inbox: &Inbox) -> Vec<String> {
    let mut all = Vec::new();
    while let Ok(events) = inbox.receive_many(Timeout::Now, 3) {
        all.extend(events.iter().map(|event| match event {
            Event::Reset { .. } => "reset".to_owned(),
            Event::Current { .. } => "current".to_owned(),
            Event::Change {
                change, key, value, ..
            } => {
                format!("{change:?} {} {value:?}", String::from_utf8_lossy(key))
            }
            Event::Down { reason, .. } => format!("down {reason:?}"),
            other => panic!("{other:?}"),
        }));
    }
    all
}

#[test]
fn what_is_new_is_so_from_the_watch_on() {
    let (bucket, inbox) = (patient(), Inbox::open().unwrap());
    bucket.put("a", 1).unwrap();
    let new = || WatchOptions::new().only_new(true);
    inbox.watch_with(&bucket, new()).unwrap();
    // Before anything is received.
    bucket.put("a", 2).unwrap();
    bucket.put("b", 3).unwrap();
    let expected = ["reset", "current", "Put a Int(2)", "Put b Int(3)"];
    assert_eq!(told(&inbox), expected);
    // Who has fallen behind by then is told all.
    inbox.watch_with(&bucket, new().max_pending(2)).unwrap();
    for number in 4..8 {
        bucket.put("a", number).unwrap();
    }
    let events = told(&inbox);
    assert_eq!(events[events.len() - 4..][..1], ["reset"]);
    assert_eq!(events.last().unwrap(), "current");
    assert!(events.contains(&"Put a Int(7)".into()));
}

#[test]
fn what_is_wanted_is_told() {
    let (bucket, inbox) = (patient(), Inbox::open().unwrap());
    bucket.put("a", 1).unwrap();
    let watch = |options| {
        let inbox = Inbox::open().unwrap();
        inbox.watch_with(&bucket, options).unwrap();
        inbox
    };
    let new = WatchOptions::new;
    let keys_only = watch(new().keys_only(true));
    let only_new = watch(new().only_new(true));
    let one = watch(new().key("a"));
    let nobody = watch(new().prefix("aa"));
    inbox.watch(&bucket, "").unwrap();
    assert_eq!(told(&keys_only), ["reset", "Put a Nil", "current"]);
    assert_eq!(told(&only_new), ["reset", "current"]);
    assert_eq!(told(&one), ["reset", "Put a Int(1)", "current"]);
    assert_eq!(told(&nobody), ["reset", "current"]);
    bucket.put("ab", 2).unwrap();
    bucket.put("a", 3).unwrap();
    bucket.put("a", 4).unwrap(); // overtakes the one before
    bucket.delete("ab").unwrap();
    assert_eq!(bucket.delete("ab").unwrap_err(), Error::NotFound);
    assert_eq!(told(&keys_only), ["Put a Nil", "Delete ab Nil"]);
    assert_eq!(told(&only_new), ["Put a Int(4)", "Delete ab Nil"]);
    assert_eq!(told(&one), ["Put a Int(4)"]);
    assert_eq!(told(&nobody), [""; 0]);
    bucket.clear().unwrap();
    bucket.put("b", 5).unwrap();
    for inbox in [&keys_only, &only_new] {
        let all = told(inbox);
        assert_eq!((&*all[0], &*all[2]), ("reset", "current"));
        assert!(all[1].starts_with("Put b"));
    }
    assert_eq!(told(&one), ["reset", "current"]);
    assert_eq!(told(&nobody), ["reset", "current"]);
    // Not received until now.
    assert_eq!(told(&inbox), ["reset", "Put b Int(5)", "current"]);
}

#[test]
fn g18_behind_by_more_than_may_wait() {
    for (changes, anew) in [(8, false), (9, true)] {
        let (bucket, inbox) = (patient(), Inbox::open().unwrap());
        inbox
            .watch_with(&bucket, WatchOptions::new().max_pending(8))
            .unwrap();
        assert_eq!(told(&inbox), ["reset", "current"]);
        for number in 0..changes {
            bucket.put(format!("{number}"), number).unwrap();
        }
        let all = told(&inbox);
        assert_eq!(all[0] == "reset", anew);
        assert_eq!(all.len(), changes as usize + if anew { 2 } else { 0 });
    }
}

/// Who sleeps is not behind by what does not concern him.
#[test]
fn g18_what_is_not_covered_costs_no_round() {
    let (bucket, inbox) = (patient(), Inbox::open().unwrap());
    let options = WatchOptions::new().prefix("user:").max_pending(10);
    inbox.watch_with(&bucket, options).unwrap();
    assert_eq!(told(&inbox), ["reset", "current"]);
    for number in 0..200_000 {
        bucket
            .put(format!("other:{}", number % 1000), number)
            .unwrap();
    }
    bucket.put("user:1", 1).unwrap();
    assert_eq!(told(&inbox), ["Put user:1 Int(1)"]);
}

#[test]
fn nothing_remains_of_what_was_unwatched() {
    let (bucket, inbox) = (patient(), Inbox::open().unwrap());
    let one = inbox.watch(&bucket, "").unwrap();
    let other = inbox.watch(&bucket, "").unwrap();
    assert_ne!(one, other);
    assert_eq!(told(&inbox).len(), 4);
    bucket.put("a", 1).unwrap();
    inbox.unwatch(one).unwrap();
    bucket.put("b", 1).unwrap();
    assert_eq!(told(&inbox), ["Put a Int(1)", "Put b Int(1)"]);
    inbox.unwatch(one).unwrap(); // unknown by now
    inbox.demonitor(other, true).unwrap(); // no monitor
    bucket.exit(Reason::Killed, "").unwrap();
    inbox.unwatch(other).unwrap(); // its DOWN too
    assert_eq!(inbox.receive(Timeout::Now).unwrap_err(), Error::Timeout);
    // A monitor is no watch.
    let monitor = inbox.monitor(&bucket).unwrap();
    inbox.unwatch(monitor).unwrap();
    assert_eq!(told(&inbox), ["down NoProc"]);
}

#[test]
fn g18_an_end_is_the_last_that_is_told() {
    let registry = Registry::start().unwrap().with_timeout(Timeout::Never);
    let options = BucketOptions::new().restart(Restart::Permanent);
    let bucket = registry.create_with("shopping", options).unwrap();
    let inbox = Inbox::open().unwrap();
    let reference = inbox.watch(&bucket, "").unwrap();
    bucket.put("a", 1).unwrap();
    bucket.exit(Reason::Killed, "").unwrap();
    match next_event(&inbox) {
        Event::Down {
            reference: of,
            reason,
            name,
            ..
        } => {
            assert_eq!((of, reason), (reference, Reason::Killed));
            assert_eq!(name.as_deref(), Some("shopping"));
        }
        other => panic!("what was not received is dropped: {other:?}"),
    }
    // The next of its name is another.
    let next = registry
        .lookup("shopping")
        .unwrap()
        .with_timeout(Timeout::Never);
    next.put("b", 1).unwrap();
    assert_eq!(inbox.receive(Timeout::Now).unwrap_err(), Error::Timeout);
    inbox.watch(&next, "").unwrap();
    assert_eq!(told(&inbox), ["reset", "Put b Int(1)", "current"]);
    // Of one that has ended nothing is told but that.
    let other = Inbox::open().unwrap();
    other.watch(&bucket, "").unwrap();
    assert_eq!(told(&other), ["down NoProc"]);
}

#[test]
fn a_name_is_watched_as_a_key() {
    let registry = Registry::start().unwrap().with_timeout(Timeout::Never);
    let (all, some) = (Inbox::open().unwrap(), Inbox::open().unwrap());
    registry.create("old").unwrap();
    all.watch_names(&registry, WatchOptions::new()).unwrap();
    some.watch_names(&registry, WatchOptions::new().prefix("shop"))
        .unwrap();
    assert_eq!(told(&all), ["reset", "Put old Nil", "current"]);
    assert_eq!(told(&some), ["reset", "current"]);
    let options = BucketOptions::new().restart(Restart::Transient);
    let bucket = registry.create_with("shopping", options).unwrap();
    assert_eq!(told(&all), ["Put shopping Nil"]);
    bucket.exit(Reason::Killed, "").unwrap();
    assert_eq!(told(&all), ["Put shopping Nil"]); // it was started again
    registry.remove("shopping").unwrap();
    registry.lookup("old").unwrap().stop().unwrap();
    assert_eq!(told(&all), ["Delete shopping Nil", "Delete old Nil"]);
    assert_eq!(told(&some), ["Delete shopping Nil"]);
    registry.stop().unwrap();
    assert_eq!(told(&all), ["down Normal"]);
    assert_eq!(told(&some), ["down Normal"]);
}

#[test]
fn names_beside_who_makes_and_ends_them() {
    let registry = Registry::start().unwrap().with_timeout(Timeout::Never);
    let inbox = Inbox::open().unwrap();
    inbox.watch_names(&registry, WatchOptions::new()).unwrap();
    let mut replica = Replica::default();
    std::thread::scope(|scope| {
        for thread in 0..2u64 {
            let registry = &registry;
            scope.spawn(move || {
                let mut random = Random(thread + 1);
                for _ in 0..scaled(2000) {
                    let name = format!("{}", random.below(40));
                    match random.below(2) {
                        0 => drop(registry.create(&name).unwrap()),
                        _ => drop(registry.remove(&name)),
                    }
                }
            });
        }
        for _ in 0..1000 {
            replica.catch_up(&inbox);
            std::thread::yield_now();
        }
    });
    replica.catch_up(&inbox);
    let names: Vec<Vec<u8>> = replica.keys.into_keys().collect();
    let mut present = registry.names().unwrap();
    present.sort_unstable();
    assert_eq!(
        names,
        present.iter().map(|it| it.as_bytes()).collect::<Vec<_>>()
    );
}

/// Sources take turns: a watch that always has something holds nobody up.
#[test]
fn g18_others_have_their_turn() {
    let (busy, quiet, inbox) = (patient(), patient(), Inbox::open().unwrap());
    for number in 0..1000u64 {
        busy.put(number.to_ne_bytes(), 1).unwrap();
    }
    inbox.watch(&busy, "").unwrap();
    let monitor = inbox.monitor(&quiet).unwrap();
    next_event(&inbox);
    quiet.stop().unwrap();
    let events = inbox.receive_many(PATIENCE, 2).unwrap();
    let is_down = |it: &Event| matches!(it, Event::Down { reference, .. } if *reference == monitor);
    assert!(events.iter().any(is_down), "{events:?}");
}

#[test]
fn who_waits_is_woken() {
    let (bucket, other) = (patient(), patient());
    let inbox = Inbox::open().unwrap();
    let watches = [&bucket, &other].map(|bucket| inbox.watch(bucket, "k").unwrap());
    for _ in 0..4 {
        next_event(&inbox);
    }
    std::thread::scope(|scope| {
        for bucket in [&bucket, &other] {
            scope.spawn(|| {
                for number in 0..scaled(3000) as i64 {
                    bucket.put("not covered", number).unwrap();
                    bucket.put("key", number).unwrap();
                }
            });
        }
        let mut last = [-1; 2];
        while last != [scaled(3000) as i64 - 1; 2] {
            let event = next_event(&inbox);
            let Event::Change {
                reference,
                value: Value::Int(value),
                ..
            } = event
            else {
                panic!("{event:?}");
            };
            let at = watches.iter().position(|it| *it == reference).unwrap();
            assert!(value > last[at]);
            last[at] = value;
        }
    });
}

#[test]
fn an_inbox_is_closed_while_it_is_written_to() {
    let (bucket, done) = (&patient(), &AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut random = Random(1);
            while !done.load(Ordering::Acquire) {
                bucket.put(random.below(100).to_ne_bytes(), 1).unwrap();
            }
        });
        let _over = Over(done);
        for _ in 0..scaled(500) {
            let inbox = Inbox::open().unwrap();
            let watch = inbox.watch(bucket, "").unwrap();
            inbox.watch(bucket, "").unwrap();
            inbox.receive_many(PATIENCE, 5).unwrap();
            inbox.unwatch(watch).unwrap();
            let events = inbox.receive_many(Timeout::Now, 1000).unwrap_or_default();
            let is_gone =
                |it: &Event| !matches!(it, Event::Change { reference, .. } if *reference == watch);
            assert!(events.iter().all(is_gone));
        }
    });
}

#[test]
fn the_longest_key_and_none() {
    let (bucket, inbox) = (patient(), Inbox::open().unwrap());
    inbox.watch(&bucket, "").unwrap();
    let mut replica = Replica::default();
    replica.catch_up(&inbox);
    let long = vec![b'k'; 65_536];
    for number in 0..200 {
        bucket
            .put(&long[..65_536 - number % 3], number as i64)
            .unwrap();
        bucket.put("", number as i64).unwrap();
        if number % 50 == 0 {
            replica.catch_up(&inbox);
            assert_eq!(replica.keys, contents(&bucket, b""));
        }
    }
    replica.catch_up(&inbox);
    assert_eq!(replica.keys, contents(&bucket, b""));
    assert_eq!(replica.keys.len(), 4);
}
