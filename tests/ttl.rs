//! Times to live (G17), by a clock that the test sets.
#![cfg(target_os = "linux")]

#[path = "common/clock.rs"]
mod clock;
mod common;
use common::{cast, eventually};

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use kvreg::{Batch, Bucket, BucketOptions, Error, OnFull, Registry, Ttl, Value, Verdict};

/// The clock is one: tests take turns.
static TURNS: Mutex<()> = Mutex::new(());

const START: i64 = 1_000_000_000;

fn begin() -> MutexGuard<'static, ()> {
    let turn = TURNS.lock().unwrap_or_else(|broken| broken.into_inner());
    clock::set(START);
    turn
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn bucket_with(options: BucketOptions) -> Bucket {
    Bucket::start_with(options).unwrap()
}

/// Small numbers that look drawn.
fn draw(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Puts keys until the sweeper was there: it is woken by who finds that it is late.
fn swept(bucket: &Bucket, done: impl Fn() -> bool) {
    eventually("the sweeper", || {
        let is_done = done();
        if !is_done {
            bucket.put_for("prod", 1, ms(1 << 30)).unwrap();
        }
        is_done
    });
}

fn check_all(bucket: &Bucket, deadlines: &[i64], now: i64) {
    let key = |at: usize| format!("k{at}");
    let is_there = |at: usize| deadlines[at] > now;
    for (at, chunk) in deadlines.chunks(1000).enumerate() {
        let keys: Vec<_> = (0..chunk.len()).map(|i| key(at * 1000 + i)).collect();
        let values = bucket
            .get_many::<i64>(keys.iter().map(String::as_bytes))
            .unwrap();
        for (i, value) in values.into_iter().enumerate() {
            let at = at * 1000 + i;
            assert_eq!(value, is_there(at).then_some(at as i64), "{at} at {now}");
        }
    }
    let present = (0..deadlines.len()).filter(|at| is_there(*at)).count();
    let items = bucket.items().unwrap();
    let items = items.iter().filter(|(key, _)| key.as_bytes() != b"prod");
    assert_eq!(items.count(), present);
}

#[test]
fn g17_a_key_is_there_before_its_time_and_gone_after_it() {
    let _turn = begin();
    let bucket = Bucket::start().unwrap();
    let (count, mut random) = (common::scaled(100_000) as usize, 88172645463325252);
    const LONGEST: u64 = 100_000;
    let mut deadlines = Vec::new();
    for at in 0..count {
        let ttl = draw(&mut random) % LONGEST + 1;
        bucket
            .put_for(format!("k{at}"), at as i64, ms(ttl))
            .unwrap();
        deadlines.push(START + ttl as i64);
    }
    check_all(&bucket, &deadlines, START);
    let mut now = START;
    for _ in 0..8 {
        // To the millisecond: one before the time of some key, its time, and one after it.
        let next = deadlines[draw(&mut random) as usize % count].max(now + 2);
        for at in [next - 1, next, next + 1] {
            now = at;
            clock::set(now);
            let probes = 2000.min(count);
            for probe in 0..probes {
                let at = (probe * 7919) % count;
                let is_there = deadlines[at] > now;
                let key = format!("k{at}");
                assert_eq!(bucket.get::<i64>(&key).is_ok(), is_there);
                let entry = bucket.entry::<i64>(&key);
                let left = entry
                    .as_ref()
                    .map(|entry| entry.ttl.unwrap().as_millis() as i64);
                assert_eq!(left.ok(), is_there.then_some(deadlines[at] - now));
                let refused = bucket.put_if_equal(&key, Some(-1), Some(1)).err();
                assert_eq!(refused, Some(Error::Conflict));
                let deleted = bucket.delete_if(&key, u64::MAX).err();
                let expected = if is_there {
                    Error::Conflict
                } else {
                    Error::NotFound
                };
                assert_eq!(deleted, Some(expected));
            }
        }
        check_all(&bucket, &deadlines, now);
    }
    clock::set(START + LONGEST as i64 + 2000);
    check_all(&bucket, &deadlines, START + LONGEST as i64);
    swept(&bucket, || bucket.count().unwrap() <= 1);
    let info = bucket.info().unwrap();
    // Some were found over by a delete, which took them out as a sweep does.
    assert_eq!(info.expired as usize, count);
    assert!(info.keys <= 1, "the prod, if there was one");
}

#[test]
fn g17_what_gives_a_time_to_live_and_what_keeps_it() {
    let _turn = begin();
    let bucket = bucket_with(BucketOptions::new().default_ttl(ms(5000)));
    let left = |key: &str| {
        bucket
            .entry::<Value>(key)
            .unwrap()
            .ttl
            .map(|ttl| ttl.as_millis())
    };
    bucket.put("put", 1).unwrap();
    cast(|| bucket.put_cast("cast", 1)).unwrap();
    bucket.put_many([("many", 1), ("more", 2)]).unwrap();
    bucket.update("updated", |_| Verdict::from(1)).unwrap();
    bucket.add_int("sum", 1).unwrap();
    bucket.put_if_equal("equal", None::<i64>, Some(1)).unwrap();
    bucket.put_for("kept", 1, Ttl::Keep).unwrap();
    for key in [
        "put", "cast", "many", "more", "updated", "sum", "equal", "kept",
    ] {
        assert_eq!(left(key), Some(5000), "{key}");
    }
    clock::advance(1000);
    bucket.put("put", 2).unwrap();
    bucket.put_many([("many", 1)]).unwrap();
    cast(|| bucket.put_cast("cast", 1)).unwrap();
    bucket
        .update("updated", |n| n.unwrap().as_i64().unwrap() + 1)
        .unwrap();
    bucket.add_int("sum", 1).unwrap();
    bucket.put_if_equal("equal", Some(1), Some(2)).unwrap();
    bucket
        .put_for("kept", "a text that has no room in a word", Ttl::Keep)
        .unwrap();
    let long = vec![7u8; 10_000];
    bucket.put_for("more", long.as_slice(), Ttl::Keep).unwrap();
    for key in ["put", "many", "cast"] {
        assert_eq!(left(key), Some(5000), "{key}");
    }
    for key in ["updated", "sum", "equal", "kept", "more"] {
        assert_eq!(left(key), Some(4000), "{key}");
    }
    // A time of its own, none, and that of a shared value.
    bucket.put_for("put", 3, ms(7)).unwrap();
    bucket.put_for("kept", 3, Ttl::Never).unwrap();
    let revision = bucket.expire("more", ms(50)).unwrap();
    assert_eq!(bucket.revision().unwrap(), revision);
    assert_eq!(
        (left("put"), left("kept"), left("more")),
        (Some(7), None, Some(50))
    );
    let persisted = bucket.expire("put", Ttl::Never).unwrap();
    assert!(persisted > revision);
    assert_eq!(bucket.entry::<i64>("put").unwrap().revision, persisted);
    bucket.put_for("put", 4, Ttl::Keep).unwrap();
    assert_eq!(left("put"), None);
    bucket.expire("kept", ms(60)).unwrap();
    bucket.put_for("kept", true, Ttl::Keep).unwrap();
    bucket.put_for("kept", "text", Ttl::Keep).unwrap();
    assert_eq!(left("kept"), Some(60));
    clock::advance(60);
    assert_eq!(bucket.expire("kept", ms(60)), Err(Error::NotFound));
    assert_eq!(bucket.get::<Value>("more"), Err(Error::NotFound));
    assert_eq!(bucket.get::<i64>("put"), Ok(4));
    assert!(matches!(
        bucket.expire("put", Ttl::Keep),
        Err(Error::InvalidArgument(_))
    ));
    assert!(matches!(
        bucket.put_for("put", 1, ms(0)),
        Err(Error::InvalidArgument(_))
    ));
    let century = Duration::from_secs(101 * 366 * 24 * 3600);
    assert!(matches!(
        bucket.put_for("put", 1, century),
        Err(Error::InvalidArgument(_))
    ));
}

#[test]
fn g17_a_key_whose_time_is_over_is_absent_to_conditions() {
    let _turn = begin();
    let bucket = Bucket::start().unwrap();
    let first = bucket.put_for("k", 1, ms(10)).unwrap();
    assert_eq!(bucket.put_if("k", 2, 0), Err(Error::Conflict));
    clock::advance(10);
    assert_eq!(bucket.count().unwrap(), 1, "it is not swept yet");
    assert_eq!(bucket.put_if("k", 2, first), Err(Error::Conflict));
    assert_eq!(
        bucket.put_if_equal("k", Some(1), Some(2)),
        Err(Error::Conflict)
    );
    assert_eq!(bucket.delete_if("k", first), Err(Error::NotFound));
    let second = bucket.put_if("k", 3, 0).unwrap();
    assert!(second > first);
    // The sweeper leaves it, however often it looks.
    clock::advance(10_000);
    bucket.put_for("other", 1, ms(1)).unwrap();
    clock::advance(10_000);
    swept(&bucket, || bucket.info().unwrap().expired == 1);
    assert_eq!(bucket.entry::<i64>("k").unwrap().revision, second);
    // A sum begins anew, and a delete finds nothing but takes it out.
    bucket.put_for("sum", 5, ms(10)).unwrap();
    clock::advance(10);
    assert_eq!(bucket.add_int("sum", 1), Ok(1));
    bucket.put_for("sum", 5, ms(10)).unwrap();
    clock::advance(10);
    let before = bucket.revision().unwrap();
    assert_eq!(bucket.delete("sum"), Err(Error::NotFound));
    assert_eq!(bucket.info().unwrap().expired, 2);
    assert!(bucket.revision().unwrap() > before, "to go is a change");
}

#[test]
fn g17_an_update_looks_at_the_time_once() {
    let _turn = begin();
    let bucket = Bucket::start().unwrap();
    bucket.put_for("k", 1, ms(10)).unwrap();
    let before = bucket.revision().unwrap();
    let stored = bucket.update("k", |current| {
        clock::advance(20);
        assert_eq!(current.map(|it| it.as_i64()), Some(Some(1)));
        Verdict::from(2)
    });
    stored.unwrap();
    // Stored, with what was left; which is over.
    assert_eq!(bucket.revision().unwrap(), before + 1);
    assert_eq!(bucket.count().unwrap(), 1);
    assert_eq!(bucket.get::<i64>("k"), Err(Error::NotFound));
    clock::advance(1000);
    swept(&bucket, || bucket.info().unwrap().expired == 1);
    // One that finds it over stores it anew.
    bucket.put_for("k", 1, ms(10)).unwrap();
    clock::advance(10);
    let stored = bucket.update("k", |current| {
        assert_eq!(current, None);
        Verdict::from(3)
    });
    stored.unwrap();
    assert_eq!(bucket.entry::<i64>("k").unwrap().ttl, None);
}

#[test]
fn g17_a_full_bucket_takes_out_what_is_due_before_it_refuses() {
    let _turn = begin();
    let bucket = bucket_with(BucketOptions::new().max_keys(100));
    for key in 0..100 {
        bucket
            .put_for(format!("{key}"), key, ms(100 + key as u64))
            .unwrap();
    }
    assert!(matches!(bucket.put("more", 1), Err(Error::Limit(_))));
    clock::advance(100);
    bucket.put("more", 1).unwrap();
    assert!(matches!(bucket.put("another", 1), Err(Error::Limit(_))));
    clock::advance(2);
    bucket.put_many([("a", 1), ("b", 2)]).unwrap();
    assert!(matches!(bucket.put_many([("c", 1)]), Err(Error::Limit(_))));
    assert_eq!(bucket.count().unwrap(), 100);
    assert_eq!(bucket.info().unwrap().expired, 3);
}

#[test]
fn g17_a_full_bucket_takes_out_what_is_due_before_a_batch_is_refused() {
    let _turn = begin();
    let bucket = bucket_with(BucketOptions::new().max_keys(2));
    bucket.put_for("a", 1, ms(100)).unwrap();
    bucket.put("b", 1).unwrap();
    let mut batch = Batch::new();
    batch.put("c", 1).put("b", 2);
    let refused = bucket.apply(&batch).unwrap_err();
    assert!(matches!(refused.error, Error::Limit(_)));
    clock::advance(100);
    bucket.apply(&batch).unwrap();
    assert_eq!(bucket.count().unwrap(), 2);
    assert_eq!(bucket.info().unwrap().expired, 1);
}

#[test]
fn g17_an_untimed_key_reads_no_clock() {
    let _turn = begin();
    let bucket = Bucket::start().unwrap();
    let before = clock::reads();
    bucket.put("k", 1).unwrap();
    bucket.put("k", 2).unwrap();
    bucket.get::<i64>("k").unwrap();
    bucket.entry::<i64>("k").unwrap();
    bucket.put_if_equal("k", Some(2), Some(3)).unwrap();
    bucket.add_int("k", 1).unwrap();
    bucket.items().unwrap();
    bucket.get_many::<i64>(["k", "l"]).unwrap();
    bucket.update("k", |_| Verdict::Keep).unwrap();
    bucket.delete("k").unwrap();
    bucket.put_for("k", 1, Ttl::Never).unwrap();
    assert_eq!(clock::reads(), before);
}

#[test]
fn g17_a_bucket_that_is_occupied_is_swept_later() {
    let _turn = begin();
    let bucket = bucket_with(BucketOptions::new().max_mailbox(1));
    let update = bucket.update_begin("held").unwrap();
    drop(update);
    bucket.put_for("k", 1, ms(10)).unwrap();
    let handled = bucket.info().unwrap().handled;
    let other = Bucket::start().unwrap();
    let update = bucket.update_begin("held").unwrap();
    clock::advance(5000);
    // The sweeper has been here when it has swept another bucket, which comes after this.
    other.put_for("o", 1, ms(1)).unwrap();
    clock::advance(5000);
    swept(&other, || other.info().unwrap().expired == 1);
    assert_eq!(bucket.get::<i64>("k"), Err(Error::NotFound));
    let info = bucket.info().unwrap();
    assert_eq!((info.keys, info.expired, info.mailbox), (1, 0, 0));
    drop(update);
    eventually("a sweep of what was busy", || {
        bucket.info().unwrap().expired > 0
    });
    assert_eq!(
        bucket.info().unwrap().handled,
        handled + 1,
        "the update alone"
    );
}

#[test]
fn g17_a_bucket_ends_whatever_its_keys_wait_for() {
    let _turn = begin();
    let registry = Registry::start().unwrap();
    let bucket = registry.create("b").unwrap();
    bucket.put_for("k", 1, ms(10)).unwrap();
    bucket.clear().unwrap();
    bucket.put_for("k", 1, ms(1 << 40)).unwrap();
    bucket.stop().unwrap();
    assert_eq!(bucket.get::<i64>("k"), Err(Error::NoProcess));
    registry.stop().unwrap();
}

/// A reader has found an entry and looks at the clock, late; meanwhile the key was stored anew, in
/// time. It was never absent.
#[test]
fn g17_a_key_that_is_stored_anew_in_time_is_there() {
    let _turn = begin();
    let long = "a text that has no room where a number was";
    for after in 0..3 {
        for value in [Value::from(2), Value::from(long)] {
            let bucket = Bucket::start().unwrap();
            clock::set(START);
            bucket.put_for("k", 1, ms(10)).unwrap();
            let (other, new) = (bucket.clone(), value.clone());
            clock::surprise(after, move || {
                other.put_for("k", &new, Ttl::Never).unwrap();
                clock::advance(10);
            });
            let seen: Vec<_> = (0..4).map(|_| bucket.get::<Value>("k").unwrap()).collect();
            assert_eq!(seen[3], value, "the surprise came");
        }
    }
}

/// Advances the clock, and waits until all keys are gone but the one that wakes the sweeper.
fn all_go(bucket: &Bucket) {
    clock::advance(2000);
    bucket.put_for("prod", 1, ms(1 << 30)).unwrap();
    swept(bucket, || bucket.count() == Ok(1));
    bucket.clear().unwrap();
}

/// Each of many keys that come at once is noted, whatever is noted, reviewed and taken out meanwhile.
#[test]
fn g17_many_keys_at_once_all_go() {
    let _turn = begin();
    const COUNT: usize = 1000;
    let keys: Vec<_> = (0..COUNT).map(|at| format!("k{at}")).collect();
    let pairs = || keys.iter().map(|key| (key, 1));
    let bucket = bucket_with(BucketOptions::new().default_ttl(ms(1000)));
    for rounds in [1, 7] {
        for _ in 0..rounds {
            bucket.put_many(pairs()).unwrap();
        }
        all_go(&bucket);
    }
    // Written in their places.
    for _ in 0..100 {
        bucket.put_many(pairs().take(20)).unwrap();
    }
    all_go(&bucket);
    for rounds in [1, 7] {
        for _ in 0..rounds {
            let mut batch = Batch::new();
            for key in &keys {
                batch.put(key, "text");
            }
            bucket.apply(&batch).unwrap();
        }
        all_go(&bucket);
    }
    bucket.put_many(pairs()).unwrap();
    let path = std::env::temp_dir().join(format!("kvreg-ttl-{}", std::process::id()));
    bucket.save(&path).unwrap();
    bucket.clear().unwrap();
    bucket.restore(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(bucket.count(), Ok(COUNT));
    let left = bucket.entry::<i64>("k7").unwrap().ttl;
    assert!(left.is_some_and(|left| left <= ms(1000)), "{left:?}");
    all_go(&bucket);
}

/// The only key with a time to live goes by the change that stores another one.
#[test]
fn g17_a_key_that_takes_the_place_of_the_last_one_goes() {
    let _turn = begin();
    let bucket = Bucket::start().unwrap();
    bucket.put_for("a", 1, ms(1000)).unwrap();
    let mut rename = Batch::new();
    rename.delete("a").put_for("b", 1, ms(1000));
    bucket.apply(&rename).unwrap();
    all_go(&bucket);
    bucket.put_for("a", 1, ms(1000)).unwrap();
    let mut stays = Batch::new();
    stays.put("a", 2).put_for("b", 1, ms(1000));
    bucket.apply(&stays).unwrap();
    bucket.delete("a").unwrap();
    all_go(&bucket);

    let options = BucketOptions::new().max_keys(1).on_full(OnFull::Evict);
    let small = bucket_with(options);
    for value in [
        "text",
        "a text that is put another way, as it is too long for its place",
    ] {
        small.put_for("a", value, ms(1000)).unwrap();
        small.put_for("b", value, ms(1000)).unwrap();
        assert_eq!(small.count(), Ok(1));
        bucket.put_for("wakes", 1, ms(1000)).unwrap();
        clock::advance(2000);
        swept(&bucket, || small.count() == Ok(0));
        bucket.clear().unwrap();
    }
}

/// What an update stores when its key's time is over is not for ever, though there was no room
/// until the key itself was swept.
#[test]
fn g17_an_update_that_needs_room_keeps_what_is_left() {
    let _turn = begin();
    let bucket = bucket_with(BucketOptions::new().max_bytes(100));
    bucket.put_for("k", "x".repeat(40), ms(10)).unwrap();
    bucket.put("other", "y".repeat(40)).unwrap();
    let mut update = bucket.update_begin("k").unwrap();
    assert!(update.current().unwrap().is_some());
    clock::advance(20);
    update.end(Verdict::Store("z".repeat(50).into())).unwrap();
    assert_eq!(bucket.get::<Option<String>>("k"), Ok(None));
}
