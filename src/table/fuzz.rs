//! A table and a `HashMap` that are told the same, by whatever bytes there are. Of the tests, and
//! of a fuzzer (`tests/fuzz`), which looks for bytes that lead to new places.

use std::collections::HashMap;

use crate::hash::hash;
use crate::reclaim::Guard;
use crate::table::{Closed, Entry, Found, Marks, NewEntry, Place, Position, Table};
use crate::table::{TableValue, Writer};

type Model = HashMap<Vec<u8>, u64>;

impl TableValue for u64 {}

/// What is still to be done, told by bytes; zeros where there are none left.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// Few keys, so that they meet; some are long.
    fn key(&mut self) -> Vec<u8> {
        let (first, second) = (self.next(), self.next());
        let mut key = vec![first, second];
        key.resize(
            if first % 16 == 7 {
                40
            } else {
                2 + usize::from(first % 8)
            },
            first,
        );
        key
    }
}

fn entry(key: &[u8], value: u64) -> NewEntry<u64> {
    Entry::allocate(key, value, b"tail", 0).expect("memory")
}

fn value(found: Option<Found<'_, u64>>) -> Option<u64> {
    found.map(|found| *found.value())
}

/// Carries out all that the bytes say. Each pin lasts for a few steps.
pub(crate) fn run(bytes: &[u8], pin: impl Fn() -> Guard) {
    let table = Table::new();
    let mut model = Model::new();
    let mut bytes = Bytes(bytes);
    let mut step = 0;
    while !bytes.0.is_empty() {
        let pinned = pin();
        for _ in 0..bytes.next() % 8 + 1 {
            // SAFETY: nobody else has the table.
            let writer = unsafe { table.writer(&pinned) };
            step += 1;
            let what = bytes.next();
            if what == 0xff {
                return closed(&table, &writer, &pinned);
            }
            change(&writer, &mut model, what, step, &mut bytes);
            let key = bytes.key();
            let found = table.get(hash(&key), &key, &pinned).expect("open");
            assert!(found.as_ref().is_none_or(|it| it.key() == key));
            assert_eq!(value(found), model.get(&key).copied());
            assert_eq!(table.len(&pinned), Ok(model.len()));
        }
    }
}

fn change(writer: &Writer<'_, u64>, model: &mut Model, what: u8, step: u64, bytes: &mut Bytes<'_>) {
    match what % 8 {
        0 | 1 => {
            let key = bytes.key();
            let replaced = writer.insert(entry(&key, step)).expect("open");
            assert_eq!(value(replaced), model.insert(key, step));
        }
        2 => {
            let key = bytes.key();
            assert_eq!(value(writer.remove(hash(&key), &key)), model.remove(&key));
        }
        3 => {
            let key = bytes.key();
            match writer.fast_place(hash(&key), &key) {
                Some(Place::Taken(found)) => {
                    assert_eq!(Some(*found.value()), model.get(&key).copied());
                }
                Some(Place::Free(place)) => {
                    place
                        .fill(&key, step, (b"", 0), Marks::NONE)
                        .expect("memory");
                    assert_eq!(model.insert(key, step), None);
                }
                None => assert!(!model.contains_key(&key), "it was looked for"),
            }
        }
        4 => {
            let key = bytes.key();
            if let Some(removable) = writer.fast_find(hash(&key), &key) {
                let old = *removable.found().value();
                writer.fast_remove(removable, hash(&key));
                assert_eq!(Some(old), model.remove(&key));
            }
        }
        5 => {
            let keys: Vec<_> = (0..bytes.next() % 32).map(|_| bytes.key()).collect();
            for key in keys {
                writer.insert(entry(&key, step)).expect("open");
                model.insert(key, step);
            }
        }
        6 => {
            let mut entries = Vec::new();
            let mut position = Position::BEGINNING;
            while position != Position::End {
                position = writer.scan(position, 1, |it| {
                    entries.push((it.key().to_vec(), *it.value()));
                    1
                });
            }
            let mut expected: Vec<_> = model.iter().map(|(k, v)| (k.clone(), *v)).collect();
            entries.sort();
            expected.sort();
            assert_eq!(entries, expected);
        }
        _ if what == 7 => {
            writer.clear();
            model.clear();
        }
        _ => writer.reserve(usize::from(bytes.next())).expect("memory"),
    }
}

fn closed(table: &Table<u64>, writer: &Writer<'_, u64>, pinned: &Guard) {
    assert!(writer.close());
    assert!(!writer.close());
    assert_eq!(table.get(hash(b"key"), b"key", pinned).err(), Some(Closed));
    assert!(writer.fast_place(hash(b"key"), b"key").is_none());
    assert!(writer.insert(entry(b"key", 1)).is_err());
}
