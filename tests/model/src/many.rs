//! What a bucket holds: several keys read and stored as one. Nothing is freed before a scenario is
//! over.
//!
//! The reader is the thread that is spawned. The checker remembers of each atomic only who used it
//! last: were the writer to run second, and to load what it stores afterwards, its own load would
//! stand before the reader's, and no other order be tried.

use std::sync::Arc;

use loom::thread::{spawn, JoinHandle};

use crate::error::Error;
use crate::openings::check_bounded;
use crate::reading::check;
use crate::server::Exclusive;
use crate::store::{Always, Contents, Key, Limits, Many, Op, Pair, Plan, Ttl, What};
use crate::time::Clock;
use crate::value::{Value, ValueRef};

const A: &[u8] = &[1, 0, b'a'];
const B: &[u8] = &[2, 0, b'b'];

fn contents(keys: &[&[u8]]) -> Arc<Contents> {
    let contents = Arc::new(Contents::new(None, None));
    for key in keys {
        put(&contents, key, 1);
    }
    contents
}

fn with_writer<R>(contents: &Contents, work: impl FnOnce(&Exclusive<'_, Contents>) -> R) -> R {
    // SAFETY: one thread of a scenario writes.
    work(&unsafe { Exclusive::granted(contents) })
}

fn put(contents: &Contents, key: &[u8], value: i64) {
    with_writer(contents, |writer| {
        writer
            .put_small(Key::new(key), ValueRef::Int(value), Always)
            .unwrap();
    });
}

fn get(contents: &Contents, key: &[u8]) -> Option<i64> {
    loop {
        match contents.get(Key::new(key), &Clock::new()) {
            Ok(Value::Int(value)) => return Some(value),
            Ok(_) => unreachable!("only numbers are stored"),
            Err(crate::store::Unread::Busy) => loom::thread::yield_now(),
            Err(_) => return None,
        }
    }
}

/// A thread that reads two keys, one after the other.
fn reads(
    contents: &Arc<Contents>,
    keys: [&'static [u8]; 2],
    may_be: impl Fn(Option<i64>, Option<i64>) -> bool + Send + 'static,
) -> JoinHandle<()> {
    let contents = Arc::clone(contents);
    spawn(move || {
        let first = get(&contents, keys[0]);
        let second = get(&contents, keys[1]);
        assert!(may_be(first, second), "{first:?} {second:?}");
    })
}

/// Once one of its keys is seen as the batch left it, so is the other.
fn seen_whole(before: &'static [&'static [u8]], store: fn(&Contents)) {
    check(move || {
        let contents = contents(before);
        let reader = reads(&contents, [A, B], |first, second| {
            first != Some(2) || second == Some(2)
        });
        store(&contents);
        reader.join().unwrap();
        assert_eq!(get(&contents, A), Some(2));
        assert_eq!(get(&contents, B), Some(2));
    });
}

fn pair(key: &[u8], value: i64) -> Pair {
    Pair::new(Key::new(key), ValueRef::Int(value)).unwrap()
}

#[test]
fn a_batch_of_new_keys_is_seen_whole() {
    seen_whole(&[], |contents| {
        with_writer(contents, |writer| {
            writer.put_many(vec![pair(A, 2), pair(B, 2)]).unwrap();
        });
    });
}

#[test]
fn a_batch_over_old_keys_is_seen_whole() {
    seen_whole(&[A, B], |contents| {
        with_writer(contents, |writer| {
            writer.put_many(vec![pair(B, 2), pair(A, 2)]).unwrap();
        });
    });
}

#[test]
fn of_a_key_that_comes_twice_the_last_counts() {
    seen_whole(&[B], |contents| {
        with_writer(contents, |writer| {
            let pairs = vec![pair(A, 7), pair(B, 2), pair(A, 2)];
            writer.put_many(pairs).unwrap();
        });
    });
}

#[test]
fn a_short_batch_in_its_places_is_seen_whole() {
    seen_whole(&[A, B], |contents| {
        with_writer(contents, |writer| {
            let pairs = [A, B].map(|key| (Key::new(key), ValueRef::Int(2)));
            assert!(writer.overwrite_all(&pairs));
        });
    });
}

/// Reads two keys at one instant, while others are changed one after the other.
fn at_one_instant(
    before: &'static [&'static [u8]],
    change: fn(&Contents),
    may_be: fn(Option<i64>, Option<i64>) -> bool,
) {
    by(Contents::get_many, before, change, may_be);
}

type Read = fn(&Contents, &[Key<'_>]) -> Result<Option<Many>, Error>;

/// The same by one way of two.
fn by(
    read: Read,
    before: &'static [&'static [u8]],
    change: fn(&Contents),
    may_be: fn(Option<i64>, Option<i64>) -> bool,
) {
    check_bounded(2, move || {
        let contents = contents(before);
        let other = Arc::clone(&contents);
        let reader = spawn(move || {
            let keys = [A, B].map(Key::new);
            // Without the write exclusion it need not come to its end.
            if let Some(values) = read(&other, &keys).unwrap() {
                let number = |value: &Option<Value>| match value {
                    Some(Value::Int(number)) => Some(*number),
                    _ => None,
                };
                let (first, second) = (number(&values[0]), number(&values[1]));
                assert!(may_be(first, second), "{first:?} {second:?}");
            }
        });
        change(&contents);
        reader.join().unwrap();
    });
}

#[test]
fn many_keys_are_read_at_one_instant() {
    at_one_instant(
        &[A, B],
        |contents| {
            put(contents, A, 2);
            put(contents, B, 2);
        },
        |first, second| {
            let seen = (first, second);
            [(1, 1), (2, 1), (2, 2)].contains(&(seen.0.unwrap(), seen.1.unwrap()))
        },
    );
}

/// One that was changed after the first was read is given as it was.
#[test]
fn what_is_read_beside_the_writer_is_no_newer_than_its_instant() {
    by(
        Contents::get_many_beside_writer,
        &[A, B],
        |contents| {
            put(contents, A, 2);
            put(contents, B, 2);
        },
        |first, second| {
            let seen = (first, second);
            [(1, 1), (2, 1), (2, 2)].contains(&(seen.0.unwrap(), seen.1.unwrap()))
        },
    );
}

#[test]
fn many_keys_are_read_beside_what_comes_and_goes() {
    at_one_instant(
        &[A],
        |contents| {
            put(contents, B, 2);
            with_writer(contents, |writer| writer.remove(Key::new(A)).unwrap());
        },
        |first, second| {
            [(Some(1), None), (Some(1), Some(2)), (None, Some(2))].contains(&(first, second))
        },
    );
}

fn op<'a>(key: &'a [u8], what: What<'a>) -> Op<'a> {
    Op {
        key: Key::new(key),
        what,
        expected: None,
        ttl: Ttl::Default,
    }
}

fn apply(contents: &Contents, ops: &[Op<'_>]) {
    with_writer(contents, |writer| {
        let mut plan = Plan::of(ops).unwrap();
        writer.apply(&mut plan).unwrap();
    });
}

/// Takes A out and puts B.
fn exchange(contents: &Contents) {
    let two = What::Put(ValueRef::Int(2));
    apply(contents, &[op(A, What::Delete), op(B, two)]);
}

/// Once A is seen to be gone B is seen.
#[test]
fn what_goes_and_what_comes_are_seen_whole() {
    check(|| {
        let contents = contents(&[A]);
        let reader = reads(&contents, [A, B], |first, second| {
            first.is_some() || second == Some(2)
        });
        exchange(&contents);
        reader.join().unwrap();
        assert_eq!((get(&contents, A), get(&contents, B)), (None, Some(2)));
    });
}

/// Once B is seen A is gone.
#[test]
fn what_comes_and_what_goes_are_seen_whole() {
    check(|| {
        let contents = contents(&[A]);
        let reader = reads(&contents, [B, A], |first, second| {
            first.is_none() || second.is_none()
        });
        exchange(&contents);
        reader.join().unwrap();
    });
}

/// A reader may have found the tombstone, and the key comes back.
#[test]
fn a_key_that_goes_in_a_batch_and_comes_back_is_not_missed_again() {
    check(|| {
        let contents = contents(&[A]);
        let reader = reads(&contents, [A, A], |first, second| match first {
            Some(1) => true,
            None => second != Some(1),
            Some(_) => second == Some(3),
        });
        apply(&contents, &[op(A, What::Delete)]);
        put(&contents, A, 3);
        reader.join().unwrap();
        assert_eq!(get(&contents, A), Some(3));
    });
}

#[test]
fn many_keys_are_read_beside_a_batch_of_all_kinds() {
    at_one_instant(&[A], exchange, |first, second| {
        [(Some(1), None), (None, Some(2))].contains(&(first, second))
    });
}

#[test]
fn short_changes_in_their_places_are_seen_whole() {
    seen_whole(&[A, B], |contents| {
        let two = What::Put(ValueRef::Int(2));
        apply(contents, &[op(A, What::Add(1)), op(B, two)]);
    });
}

/// Each change of a key but the last is of no account.
#[test]
fn changes_of_one_key_are_seen_as_one() {
    seen_whole(&[B], |contents| {
        let (seven, two) = (ValueRef::Int(7), ValueRef::Int(2));
        let all = [
            op(A, What::Put(seven)),
            op(B, What::Delete),
            op(A, What::Delete),
            op(A, What::Add(2)),
            op(B, What::Put(two)),
        ];
        apply(contents, &all);
    });
}

/// The key that makes room is gone before the other is there; its reader notes a use of it, wherever
/// it is by then.
#[test]
fn a_key_that_makes_room_goes_first() {
    check(|| {
        let limits = Limits::new(1, usize::MAX, None);
        let contents = Arc::new(Contents::new(limits, None).evicting());
        put(&contents, A, 1);
        let other = Arc::clone(&contents);
        let reader = spawn(move || {
            let (second, first) = (get(&other, B), get(&other, A));
            assert!(matches!(first, None | Some(1)) && matches!(second, None | Some(2)));
            assert!(first.is_none() || second.is_none(), "both at once");
        });
        put(&contents, B, 2);
        reader.join().unwrap();
        assert_eq!((get(&contents, A), get(&contents, B)), (None, Some(2)));
    });
}
