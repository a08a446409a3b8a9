//! Keys with a time to live, beside a reader, by a clock that the writer sets. Nothing is freed
//! before a scenario is over.

use std::sync::Arc;

use loom::thread::spawn;

use crate::reading::check;
use crate::reclaim;
use crate::server::Exclusive;
use crate::store::{Always, Contents, Key, Living, Owned, Pair, Small, Stored, Ttl, Unread};
use crate::sync::AtomicU64;
use crate::time::{Clock, SET};
use crate::value::{Value, ValueRef};

const KEY: &[u8] = &[1, 0, b'a'];
const TTL: u64 = 10;

fn with_writer<R>(contents: &Contents, work: impl FnOnce(&Exclusive<'_, Contents>) -> R) -> R {
    // SAFETY: one thread of a scenario writes.
    work(&unsafe { Exclusive::granted(contents) })
}

fn put(contents: &Contents, value: i64, ttl: Ttl) {
    let put = |writer: &Exclusive<'_, Contents>| {
        writer.put_small(Key::new(KEY), ValueRef::Int(value), Living(Always, ttl))
    };
    with_writer(contents, put).unwrap();
}

/// Sets the clock, for all.
fn set_clock(ms: u64) {
    crate::sync::fence(crate::sync::Ordering::SeqCst);
    SET.set(ms);
}

/// In an entry of its own.
fn put_anew(contents: &Contents, value: i64, ttl: Ttl) {
    let pair = Pair::new(Key::new(KEY), ValueRef::Int(value)).unwrap();
    with_writer(contents, |writer| writer.put(pair, Living(Always, ttl))).unwrap();
}

fn get(contents: &Contents) -> Option<i64> {
    loop {
        match contents.get(Key::new(KEY), &Clock::new()) {
            Ok(Value::Int(value)) => return Some(value),
            Ok(_) => unreachable!("only numbers are stored"),
            Err(Unread::Busy) => loom::thread::yield_now(),
            Err(_) => return None,
        }
    }
}

/// The key is 1 and lives for `TTL`; then the writer does something, and the reader reads.
fn beside(write: fn(&Contents), read: fn(&Contents)) {
    check(move || {
        set_clock(100);
        let contents = Arc::new(Contents::new(None, None));
        put(&contents, 1, Ttl::Millis(TTL));
        let other = Arc::clone(&contents);
        // The one that is spawned, so that all orders are tried, as `many.rs` tells.
        let reader = spawn(move || read(&other));
        write(&contents);
        reader.join().unwrap();
    });
}

/// A key that is stored anew before its time was never absent.
fn is_there(contents: &Contents) {
    assert!(get(contents).is_some());
}

#[test]
fn a_key_that_is_overwritten_in_time_is_there() {
    beside(
        |contents| {
            put(contents, 2, Ttl::Never);
            set_clock(200);
        },
        is_there,
    );
}

#[test]
fn a_key_that_is_replaced_in_time_is_there() {
    beside(
        |contents| {
            put_anew(contents, 2, Ttl::Never);
            set_clock(200);
        },
        is_there,
    );
}

#[test]
fn a_key_that_is_kept_in_time_is_there() {
    beside(
        |contents| {
            let expire =
                |writer: &Exclusive<'_, Contents>| writer.expire(Key::new(KEY), Ttl::Millis(1000));
            with_writer(contents, expire).unwrap();
            set_clock(200);
        },
        is_there,
    );
}

/// What is over stays over: the reader sees the older value, then none, then the newer one.
#[test]
fn a_key_that_is_over_does_not_come_back() {
    beside(
        |contents| {
            set_clock(100 + TTL);
            let sweep = |writer: &Exclusive<'_, Contents>| {
                writer.sweep(crate::time::Moment::now(), true, 8);
            };
            with_writer(contents, sweep);
            put(contents, 2, Ttl::Default);
        },
        |contents| {
            let (first, second) = (get(contents), get(contents));
            let rank = |seen| match seen {
                Some(1) => 0,
                None => 1,
                _ => 2,
            };
            assert!(rank(first) <= rank(second), "{first:?} {second:?}");
        },
    );
}

/// What is left of its time is told as of a moment at which the key had the value.
#[test]
fn what_is_left_is_of_the_values_own_time() {
    beside(
        |contents| {
            put_anew(contents, 2, Ttl::Never);
            set_clock(100 + TTL / 2);
        },
        |contents| match contents.read_entry(Key::new(KEY), Owned, &Clock::new()) {
            Ok((Value::Int(1), facts)) => assert_eq!(facts.ttl_ms, Some(TTL)),
            Ok((_, facts)) => assert_eq!(facts.ttl_ms, None),
            Err(Unread::Busy) => {}
            Err(other) => panic!("{other:?}"),
        },
    );
}

#[test]
fn what_is_left_is_so_by_the_short_way() {
    beside(
        |contents| {
            put_anew(contents, 2, Ttl::Never);
            set_clock(100 + TTL / 2);
        },
        |contents| {
            let pinned = reclaim::pin();
            let read = contents.fast_read_timed_entry(Key::new(KEY), &pinned, Owned);
            if let Some((Value::Int(1), facts)) = read {
                assert_eq!(facts.ttl_ms, Some(TTL));
            }
        },
    );
}

#[test]
fn a_value_and_its_time_belong_together() {
    check(|| {
        let tail: Arc<[AtomicU64]> = [0, 0].map(AtomicU64::new).into();
        let number = |number| Small::of(ValueRef::Int(number)).unwrap();
        let lives = |deadline| Some(crate::store::Life::new(deadline, 7));
        let stored = Arc::new(Stored::small(&number(0), 1));
        stored.overwrite(&tail, &number(1).living(lives(10)), 2);
        let (place, words) = (Arc::clone(&stored), Arc::clone(&tail));
        let reader = spawn(move || loop {
            let Ok(look) = place.look(&words) else {
                loom::thread::yield_now();
                continue;
            };
            let (value, deadline) = (look.scalar(), look.deadline());
            if look.holds() {
                match value {
                    Some(ValueRef::Int(number)) => assert_eq!(deadline, 10 * number as u64),
                    _ => assert_eq!(deadline, u64::MAX),
                }
                break;
            }
            loom::thread::yield_now();
        });
        stored.overwrite(&tail, &number(2).living(lives(20)), 3);
        let text = Small::of(ValueRef::Bytes(b"0123456789ab")).unwrap();
        stored.overwrite(&tail, &text, 4);
        reader.join().unwrap();
    });
}
