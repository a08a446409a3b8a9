//! The table of keys: readers beside its writer. Nothing is freed before a scenario is over;
//! when it may be is the epoch's part (`reading`).

use std::sync::Arc;

use loom::thread::spawn;

use crate::hash::hash;
use crate::reading::check;
use crate::reclaim::Guard;
use crate::table::{Entry, Marks, NewEntry, Place, Table, TableValue};

/// Tag, group, and something to tell keys apart.
type Key = [u8; 3];

const A: Key = [1, 0, b'a'];
const B: Key = [2, 0, b'b'];
/// Of the same group and tag as `A`.
const LIKE_A: Key = [1, 0, b'c'];

impl TableValue for u64 {}

fn table() -> Arc<Table<u64>> {
    Arc::new(Table::new())
}

fn get(table: &Table<u64>, key: Key) -> Option<u64> {
    let guard = Guard::new();
    let found = table.get(hash(&key), &key, &guard);
    let found = found.expect("it is not closed");
    found.map(|found| *found.value())
}

fn entry(key: Key, value: u64) -> NewEntry<u64> {
    Entry::allocate(&key, value, b"", 0).unwrap()
}

/// The calling thread is the table's only writer.
fn put(table: &Table<u64>, key: Key, value: u64) {
    let guard = Guard::new();
    // SAFETY: by the scenario.
    let writer = unsafe { table.writer(&guard) };
    match writer.fast_place(hash(&key), &key) {
        Some(Place::Free(place)) => place.fill(&key, value, (b"", 0), Marks::NONE).unwrap(),
        _ => drop(writer.insert(entry(key, value)).unwrap()),
    }
}

fn remove(table: &Table<u64>, key: Key) {
    let guard = Guard::new();
    // SAFETY: by the scenario.
    let writer = unsafe { table.writer(&guard) };
    assert!(writer.remove(hash(&key), &key).is_some());
}

/// Reads on a thread that is spawned, while this one writes: so that all orders are tried, as
/// `many.rs` tells.
fn beside(
    table: &Arc<Table<u64>>,
    read: impl FnOnce(&Table<u64>) + Send + 'static,
    write: impl FnOnce(&Table<u64>),
) {
    let other = Arc::clone(table);
    let reader = spawn(move || read(&other));
    write(table);
    reader.join().unwrap();
}

#[test]
fn a_key_is_found_while_others_come_and_go() {
    check(|| {
        let table = table();
        put(&table, A, 1);
        put(&table, B, 2);
        let write = |table: &Table<u64>| {
            remove(table, B);
            put(table, LIKE_A, 3);
        };
        beside(&table, |table| assert_eq!(get(table, A), Some(1)), write);
        assert_eq!(get(&table, LIKE_A), Some(3));
    });
}

#[test]
fn a_value_is_the_old_or_the_new_one() {
    check(|| {
        let table = table();
        put(&table, A, 1);
        let read = |table: &Table<u64>| {
            let first = get(table, A).unwrap();
            let second = get(table, A).unwrap();
            assert!((1..=2).contains(&first) && second >= first);
        };
        beside(&table, read, |table| put(table, A, 2));
        assert_eq!(get(&table, A), Some(2));
    });
}

#[test]
fn a_cell_that_is_used_again_shows_no_other_key() {
    check(|| {
        let table = table();
        put(&table, A, 1);
        let read = |table: &Table<u64>| {
            assert!(matches!(get(table, A), None | Some(1)));
            assert!(matches!(get(table, LIKE_A), None | Some(3)));
        };
        let write = |table: &Table<u64>| {
            remove(table, A);
            put(table, LIKE_A, 3);
        };
        beside(&table, read, write);
        assert_eq!(get(&table, A), None);
    });
}

/// Once a key that comes back was seen, it stays.
#[test]
fn a_key_that_comes_back_is_not_missed_again() {
    check(|| {
        let table = table();
        put(&table, A, 1);
        let read = |table: &Table<u64>| {
            let (first, second) = (get(table, A), get(table, A));
            let stays = first != Some(2) || second == Some(2);
            assert!(stays, "{first:?} {second:?}");
        };
        let write = |table: &Table<u64>| {
            remove(table, A);
            put(table, A, 2);
        };
        beside(&table, read, write);
    });
}

/// Fills the first of two groups, so that one more of its keys goes to the second.
fn crowd(table: &Table<u64>) {
    for number in 0..8u8 {
        put(table, [10 + number, 0, 0], number.into());
    }
}

#[test]
fn a_key_in_the_next_group_is_found() {
    check(|| {
        let table = table();
        crowd(&table);
        let read = |table: &Table<u64>| assert_eq!(get(table, [17, 0, 0]), Some(7));
        let write = |table: &Table<u64>| {
            remove(table, [10, 0, 0]);
            put(table, A, 1);
        };
        beside(&table, read, write);
        remove(&table, [17, 0, 0]);
        assert_eq!(get(&table, [17, 0, 0]), None);
        assert_eq!(get(&table, A), Some(1));
    });
}

#[test]
fn a_key_is_found_while_the_table_grows() {
    check(|| {
        let table = table();
        for number in 0..7u8 {
            put(&table, [10 + number, 0, 0], number.into());
        }
        let read = |table: &Table<u64>| assert_eq!(get(table, [16, 0, 0]), Some(6));
        beside(&table, read, |table| put(table, A, 1));
        assert_eq!(get(&table, [16, 0, 0]), Some(6));
        assert_eq!(get(&table, A), Some(1));
    });
}

/// What is put, replaced and taken out while the table moves from one array to the next, a group
/// or two at a time.
#[test]
fn a_key_is_found_while_the_table_moves() {
    check(|| {
        let table = table();
        for number in 0..21u8 {
            put(&table, [10 + number, number % 4, 0], number.into());
        }
        let read = |table: &Table<u64>| {
            assert!(matches!(get(table, [10, 0, 0]), Some(0 | 100)));
            assert_eq!(get(table, [13, 3, 0]), Some(3));
        };
        let write = |table: &Table<u64>| {
            put(table, A, 1); // it begins to move
            put(table, [10, 0, 0], 100);
            remove(table, [11, 1, 0]);
            put(table, B, 2);
        };
        beside(&table, read, write);
        let found = [A, B, [10, 0, 0], [11, 1, 0]].map(|key| get(&table, key));
        assert_eq!(found, [Some(1), Some(2), Some(100), None]);
    });
}
