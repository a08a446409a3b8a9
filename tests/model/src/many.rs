//! What a bucket holds: several keys read and stored as one. Nothing is freed before a scenario is
//! over.

use std::sync::Arc;

use loom::thread::spawn;

use crate::reading::check;
use crate::server::Exclusive;
use crate::store::{Always, Contents, Key, Pair};
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

/// Once one of its keys is seen as the batch left it, so is the other.
fn seen_whole(before: &'static [&'static [u8]], store: fn(&Contents)) {
    check(move || {
        let contents = contents(before);
        let other = Arc::clone(&contents);
        let writer = spawn(move || store(&other));
        let first = get(&contents, A);
        let second = get(&contents, B);
        assert!(
            first != Some(2) || second == Some(2),
            "{first:?} {second:?}"
        );
        writer.join().unwrap();
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
    check(move || {
        let contents = contents(before);
        let other = Arc::clone(&contents);
        let writer = spawn(move || change(&other));
        let keys = [A, B].map(Key::new);
        // Without the write exclusion it need not come to its end.
        if let Some(values) = contents.get_many(&keys).unwrap() {
            let number = |value: &Option<Value>| match value {
                Some(Value::Int(number)) => Some(*number),
                _ => None,
            };
            let (first, second) = (number(&values[0]), number(&values[1]));
            assert!(may_be(first, second), "{first:?} {second:?}");
        }
        writer.join().unwrap();
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
