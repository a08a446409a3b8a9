//! Watches: the log beside its writer, how a watch is woken, and cursors beside a bucket that changes.
//! Nothing is freed before a scenario is over. Who reads, or arms a watch, is the thread that is
//! spawned, so that all orders are tried, as `many.rs` tells.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use loom::thread::spawn;

use crate::error::Error;
use crate::reclaim::{pin, Guard};
use crate::server::Exclusive;
use crate::store::{Always, Contents, Covered, Cursor, Key, KeyLog, Kind, Record, Step, Told};
use crate::store::{Follows, Unread, Watch, Watched, Watching, Woken};
use crate::table::Position;
use crate::time::Clock;
use crate::value::{Value, ValueRef};

const A: &[u8] = &[1, 0, b'a'];
const B: &[u8] = &[2, 0, b'b'];
const C: &[u8] = &[3, 1, b'c'];

fn check(preemptions: usize, scenario: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(crate::openings::deeper(preemptions));
    model.max_branches = 20_000;
    model.check(scenario);
}

/// A reader that is passed, or not, while records go around the end of the ring.
#[test]
fn what_is_read_of_the_log_belongs_together() {
    check(3, || {
        let log = Arc::new(KeyLog::new(8).unwrap());
        let mut at = log.end();
        log.add(Kind::Put, 1, &[1; 3]);
        let other = Arc::clone(&log);
        let reader = spawn(move || {
            let (mut key, mut next) = (Vec::new(), 1);
            for _ in 0..2 {
                match other.read(&mut at, &mut key).unwrap() {
                    Record::Of(kind, revision) => {
                        assert_eq!((kind, revision), (Kind::Put, next));
                        assert_eq!(key, [revision as u8; 3]);
                        next += 1;
                    }
                    Record::None => assert!(next > 1, "the first is there"),
                    Record::Gone => break,
                }
            }
            (at, key, next)
        });
        for revision in 2..=4 {
            log.add(Kind::Put, revision, &[revision as u8; 3]);
        }
        let (mut at, mut key, next) = reader.join().unwrap();
        let read = log.read(&mut at, &mut key).unwrap();
        // Two records are in the ring: of 8 words each has 3, and the last 2 are passed over.
        assert!(
            next < 3
                || read == Record::Of(Kind::Put, next)
                || read == Record::None
                || read == Record::Gone
        );
        assert!(next > 1 || read == Record::Gone, "{next} {read:?}");
    });
}

/// Counts outside the model.
#[derive(Default)]
struct Inbox(AtomicU32);

impl Woken for Inbox {
    fn wake(&self, reference: u64) {
        assert_eq!(reference, 7);
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn covered(prefix: &[u8]) -> Covered {
    Covered {
        prefix: prefix.into(),
        is_one: false,
    }
}

/// A watch that found nothing is woken by what comes, once, or finds it itself.
fn is_woken(beside_another: bool) {
    check(3, move || {
        let watching = Arc::new(Watching::default());
        let inbox = Arc::new(Inbox::default());
        let weak: Weak<Inbox> = Arc::downgrade(&inbox);
        let watch = watching.add(7, covered(A), weak.clone(), || {}).unwrap();
        let other = watching.add(8, covered(C), weak, || {}).unwrap(); // another bit
        let mut at = watch.log_end();
        assert!(!beside_another || watching.arm(&other, at));
        let (shared, mine) = (Arc::clone(&watching), Arc::clone(&watch));
        let receiver = spawn(move || shared.arm(&mine, at));
        watching.note(Kind::Put, 1, A, &pin());
        watching.note(Kind::Put, 2, A, &pin());
        let is_armed = receiver.join().unwrap();
        let woken = inbox.0.load(Ordering::SeqCst);
        assert_eq!(
            woken,
            u32::from(is_armed),
            "told of the first, and of nothing else"
        );
        if is_armed {
            at = watch.take_woken().expect("it was woken");
        }
        let mut key = Vec::new();
        let read = watch.read(&mut at, &mut key).unwrap();
        assert_eq!(read, Record::Of(Kind::Put, 1));
    });
}

#[test]
fn no_change_is_slept_through() {
    is_woken(false);
}

#[test]
fn no_change_is_slept_through_beside_one_that_sleeps() {
    is_woken(true);
}

/// The bits are made anew beside the writer when a watch leaves that slept too.
#[test]
fn no_change_is_slept_through_while_another_leaves() {
    check(3, || {
        let watching = Arc::new(Watching::default());
        let inbox = Arc::new(Inbox::default());
        let weak: Weak<Inbox> = Arc::downgrade(&inbox);
        let watch = watching.add(7, covered(A), weak.clone(), || {}).unwrap();
        let other = watching.add(8, covered(C), weak, || {}).unwrap();
        assert!(watching.arm(&watch, watch.log_end()));
        assert!(watching.arm(&other, watch.log_end()));
        let shared = Arc::clone(&watching);
        let writer = spawn(move || shared.note(Kind::Put, 1, A, &pin()));
        watching.remove(&other, || {}, &pin());
        writer.join().unwrap();
        assert_eq!(inbox.0.load(Ordering::SeqCst), 1);
    });
}

/// What is watched, in the library a server; and whether its store is out of reach.
struct Bucket(Contents, crate::sync::AtomicU32);

impl Watched for Bucket {
    fn watching(&self) -> &Watching {
        self.0.watching()
    }

    fn unwatch(&self, watch: &Arc<Watch>) {
        self.0.unwatch(watch);
    }

    fn is_away(&self) -> bool {
        self.1.load(crate::sync::Ordering::Acquire) != 0
    }

    fn known(&self) -> u64 {
        self.0.known()
    }

    fn now(&self, key: Key<'_>, with_value: bool) -> Result<Option<(Value, u64)>, Unread> {
        self.0.now(key, with_value)
    }

    fn page(
        &self,
        from: Position,
        _enough: usize,
        pinned: &Guard,
        show: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<Position, Error> {
        self.0.page(from, 1, pinned, show)
    }
}

impl Bucket {
    fn new() -> Arc<Bucket> {
        let away = crate::sync::AtomicU32::new(0);
        Arc::new(Bucket(Contents::new(None, None), away))
    }

    fn with_writer<R>(&self, work: impl FnOnce(&Exclusive<'_, Contents>) -> R) -> R {
        // SAFETY: one thread of a scenario writes.
        work(&unsafe { Exclusive::granted(&self.0) })
    }

    fn put(&self, key: &[u8], value: i64) {
        self.with_writer(|writer| {
            let value = ValueRef::Int(value);
            writer.put_small(Key::new(key), value, Always).unwrap();
        });
    }

    fn get(&self, key: &[u8]) -> Option<Value> {
        self.0.get(Key::new(key), &Clock::new()).ok()
    }
}

/// What is known by who believes a cursor.
#[derive(Default)]
struct Replica {
    keys: BTreeMap<Vec<u8>, (Value, u64)>,
    rounds: u32,
    is_current: bool,
    is_away: bool,
}

impl Replica {
    fn learn(&mut self, told: Told) {
        match told {
            Told::Reset => {
                self.keys.clear();
                (self.rounds, self.is_current) = (self.rounds + 1, false);
            }
            Told::Current(_) => self.is_current = true,
            Told::Reach { is_away } => self.is_away = is_away,
            Told::Change {
                kind,
                key,
                value,
                revision,
            } => {
                let before = self.keys.get(&key).map(|(_, revision)| *revision);
                assert!(before < Some(revision), "{before:?} {revision}");
                match kind {
                    Kind::Put => drop(self.keys.insert(key, (value, revision))),
                    _ => drop(self.keys.insert(key, (Value::Nil, revision))),
                }
            }
        }
    }

    /// As far as it goes now; `true` if it is armed.
    fn follow(&mut self, cursor: &mut Cursor, steps: usize) -> bool {
        for _ in 0..steps {
            match cursor.next().unwrap() {
                Step::Told(told) => self.learn(told),
                Step::Again { .. } => loom::thread::yield_now(),
                Step::Nothing | Step::Ended => return true,
            }
        }
        false
    }

    fn value(&self, key: &[u8]) -> Option<Value> {
        let value = self.keys.get(key).map(|(value, _)| value.clone());
        value.filter(|value| *value != Value::Nil)
    }
}

/// Which thread of a scenario is spawned.
#[derive(Clone, Copy, PartialEq)]
enum Spawned {
    Reader,
    /// Fewer orders are tried: for a scenario of many steps.
    Writer,
}

/// Follows a bucket while another thread changes it, and knows in the end what there is.
fn is_followed(
    spawned: Spawned,
    preemptions: usize,
    max_pending: u64,
    before: fn(&Bucket),
    steps: usize,
    change: fn(&Bucket),
    keys: &'static [&'static [u8]],
) {
    check(preemptions, move || {
        let bucket = Bucket::new();
        before(&bucket);
        let inbox = Arc::new(Inbox::default());
        let weak: Weak<Inbox> = Arc::downgrade(&inbox);
        let watch = bucket.with_writer(|writer| writer.watch(7, covered(b""), weak).unwrap());
        let watched: Weak<Bucket> = Arc::downgrade(&bucket);
        let wanted = Follows {
            max_pending,
            ..Follows::default()
        };
        let mut cursor = Cursor::new(watched, watch, wanted);
        let follow = move || {
            let mut replica = Replica::default();
            let rests = replica.follow(&mut cursor, steps);
            (replica, cursor, rests)
        };
        let (mut replica, mut cursor, rests) = match spawned {
            Spawned::Reader => {
                let reader = spawn(follow);
                change(&bucket);
                reader.join().unwrap()
            }
            Spawned::Writer => {
                let other = Arc::clone(&bucket);
                let writer = spawn(move || change(&other));
                let followed = follow();
                writer.join().unwrap();
                followed
            }
        };
        let woken = inbox.0.load(Ordering::SeqCst);
        assert!(rests || woken == 0);
        if !rests || woken > 0 {
            assert!(replica.follow(&mut cursor, 1000));
        }
        assert!(replica.is_current);
        for key in keys {
            assert_eq!(replica.value(key), bucket.get(key), "{key:?}");
        }
    });
}

#[test]
fn a_cursor_knows_what_there_is_beside_puts_and_removals() {
    is_followed(
        Spawned::Reader,
        1,
        100,
        |bucket| bucket.put(A, 1),
        1000,
        |bucket| {
            bucket.with_writer(|writer| writer.remove(Key::new(A)).unwrap());
            bucket.put(B, 3);
        },
        &[A, B],
    );
}

/// Whether a store is out of reach is told to one that rests, or is about to.
#[test]
fn no_reach_is_slept_through() {
    check(2, || {
        let bucket = Bucket::new();
        let inbox = Arc::new(Inbox::default());
        let weak: Weak<Inbox> = Arc::downgrade(&inbox);
        let watch = bucket.with_writer(|writer| writer.watch(7, covered(b""), weak).unwrap());
        let watched: Weak<Bucket> = Arc::downgrade(&bucket);
        let wanted = Follows {
            max_pending: 100,
            ..Follows::default()
        };
        let mut cursor = Cursor::new(watched, watch, wanted);
        let reader = spawn(move || {
            let mut replica = Replica::default();
            let rests = replica.follow(&mut cursor, 100);
            (replica, cursor, rests)
        });
        bucket.1.store(1, crate::sync::Ordering::Release);
        bucket.0.watching().wake_all();
        let (mut replica, mut cursor, rests) = reader.join().unwrap();
        if !rests || inbox.0.load(Ordering::SeqCst) > 0 {
            assert!(replica.follow(&mut cursor, 100));
        }
        assert!(replica.is_away && replica.is_current);
    });
}

#[test]
fn a_cursor_knows_what_there_is_beside_clear() {
    is_followed(
        Spawned::Reader,
        1,
        100,
        |bucket| bucket.put(A, 1),
        1000,
        |bucket| {
            bucket.with_writer(|writer| writer.clear());
            bucket.put(B, 3);
        },
        &[A, B],
    );
}

#[test]
fn a_cursor_that_falls_behind_begins_anew() {
    is_followed(
        Spawned::Writer,
        1,
        0,
        |_| {},
        3,
        |bucket| {
            for value in 0..2 {
                bucket.put(A, value);
            }
        },
        &[A],
    );
}

/// Groups of four, in an array that is left for another meanwhile.
#[test]
fn a_round_tells_all_while_the_table_grows() {
    is_followed(
        Spawned::Writer,
        1,
        100,
        |bucket| {
            for number in 0..21u8 {
                bucket.put(&[10 + number, number % 4, 0], number.into());
            }
        },
        12,
        |bucket| {
            bucket.put(A, 1); // it begins to move
            bucket.put(B, 2);
            bucket.put(C, 3); // and is in another array
        },
        &[A, B, C, &[10, 0, 0], &[13, 3, 0], &[30, 0, 0], &[29, 3, 0]],
    );
}
