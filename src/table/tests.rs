use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;

use crate::error::Error;
use crate::hash::hash;
use crate::process::Process;
use crate::reclaim::{self, Guard};
use crate::table::{Closed, Entry, NewEntry, Position, Table, TableValue};

#[path = "fuzz.rs"]
mod fuzz;

/// A pin belongs to a process, which must have been made.
fn pin() -> Guard {
    Process::current();
    reclaim::pin()
}

/// A small generator: the tests are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Miri is some thousand times slower.
const fn times(count: u64) -> u64 {
    if cfg!(miri) {
        count / 500
    } else {
        count
    }
}

impl TableValue for usize {}
impl TableValue for (u64, u64) {}
impl TableValue for Counted {}

fn entry<V: TableValue>(key: &[u8], value: V) -> NewEntry<V> {
    Entry::allocate(key, value, b"tail", 0).unwrap()
}

#[test]
fn it_does_what_a_hash_map_does() {
    let table = Table::new();
    let mut model: HashMap<Vec<u8>, u64> = HashMap::new();
    let mut random = Random(88172645463325252);
    for step in 0..times(200_000) {
        let pinned = pin();
        // SAFETY: the only thread.
        let writer = unsafe { table.writer(&pinned) };
        let key = random.below(600).to_string().into_bytes();
        match random.below(100) {
            0..=49 => {
                let replaced = writer.insert(entry(&key, step)).unwrap();
                let expected = model.insert(key, step);
                assert_eq!(replaced.map(|found| *found.value()), expected);
            }
            50..=97 => {
                let removed = writer.remove(hash(&key), &key).map(|found| *found.value());
                assert_eq!(removed, model.remove(&key));
            }
            98 if step % 97 == 0 => {
                writer.clear();
                model.clear();
            }
            _ => {
                let mut entries: Vec<_> = writer
                    .entries()
                    .unwrap()
                    .map(|found| (found.key().to_vec(), *found.value()))
                    .collect();
                let mut expected: Vec<_> = model.iter().map(|(k, v)| (k.clone(), *v)).collect();
                entries.sort();
                expected.sort();
                assert_eq!(entries, expected);
            }
        }
        assert_eq!(table.len(&pinned), Ok(model.len()));
        let key = random.below(600).to_string().into_bytes();
        let found = table.get(hash(&key), &key, &pinned).unwrap();
        assert_eq!(
            found.as_ref().map(|found| *found.value()),
            model.get(&key).copied()
        );
        let tail = u64::from_ne_bytes(*b"tail\0\0\0\0");
        assert!(found.is_none_or(|found| {
            found.key() == key && found.tail()[0].load(Ordering::Relaxed) == tail
        }));
    }
}

/// What a fuzzer runs for longer: `make fuzz`.
#[test]
fn it_does_so_by_whatever_bytes() {
    let mut random = Random(88172645463325252);
    for _ in 0..if cfg!(miri) { 2 } else { 500 } {
        let bytes: Vec<u8> = (0..1000).map(|_| random.below(256) as u8).collect();
        fuzz::run(&bytes, pin);
    }
}

#[test]
fn keys_of_any_length_are_apart() {
    let table = Table::new();
    let pinned = pin();
    // SAFETY: the only thread.
    let writer = unsafe { table.writer(&pinned) };
    let long = vec![7u8; 65536];
    for len in (0..=300).chain([65535, 65536]) {
        writer.insert(entry(&long[..len], len)).unwrap();
    }
    for len in (0..=300).chain([65535, 65536]) {
        let key = &long[..len];
        let found = table.get(hash(key), key, &pinned).unwrap().unwrap();
        assert_eq!(*found.value(), len);
    }
}

#[test]
fn a_closed_table_answers_so() {
    let table = Table::new();
    let pinned = pin();
    // SAFETY: the only thread.
    let writer = unsafe { table.writer(&pinned) };
    writer.insert(entry(b"a", 1u64)).unwrap();
    writer.close();
    writer.close();
    writer.clear();
    assert_eq!(table.get(hash(b"a"), b"a", &pinned).err(), Some(Closed));
    assert_eq!(table.len(&pinned), Err(Closed));
    assert_eq!(
        writer.insert(entry(b"a", 1u64)).err(),
        Some(Error::ServerDown)
    );
    assert!(writer.remove(hash(b"a"), b"a").is_none());
}

/// Counts its copies that are alive.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(alive: &Arc<AtomicUsize>) -> Counted {
        alive.fetch_add(1, Ordering::SeqCst);
        Counted(Arc::clone(alive))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Frees what was retired; other tests in this process may be pinned for a while.
fn drained(alive: &AtomicUsize, expected: usize) {
    while alive.load(Ordering::SeqCst) != expected {
        reclaim::tidy_all();
        reclaim::tidy();
        std::thread::yield_now();
    }
}

#[test]
fn everything_is_dropped_once() {
    const KEYS: u32 = if cfg!(miri) { 20 } else { 1000 };
    let alive = Arc::new(AtomicUsize::new(0));
    let table = Table::new();
    for round in 0..3 {
        let pinned = pin();
        // SAFETY: the only thread.
        let writer = unsafe { table.writer(&pinned) };
        for number in 0..KEYS {
            let key = number.to_le_bytes();
            writer.insert(entry(&key, Counted::new(&alive))).unwrap();
            writer.insert(entry(&key, Counted::new(&alive))).unwrap();
            if number % 2 == 0 {
                writer.remove(hash(&key), &key).unwrap();
            }
        }
        if round == 1 {
            writer.clear();
        }
    }
    drained(&alive, KEYS as usize / 2);
    drop(table);
    drained(&alive, 0);
}

/// How often the array grows and shrinks: under Miri each time takes seconds.
const ROUND: u64 = if cfg!(miri) { 150 } else { 5000 };

/// A value is written as a pair that is always equal; readers must never see another.
#[test]
fn readers_see_whole_values_while_the_table_changes() {
    let table: Arc<Table<(u64, u64)>> = Arc::new(Table::new());
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|seed| {
            let (table, done) = (Arc::clone(&table), Arc::clone(&done));
            std::thread::spawn(move || {
                let mut random = Random(seed + 1);
                let mut newest = vec![0; 64];
                while !done.load(Ordering::Relaxed) {
                    let number = random.below(64);
                    let pinned = pin();
                    let key = number.to_le_bytes();
                    let found = table.get(hash(&key), &key, &pinned).unwrap();
                    let Some(found) = found else { continue };
                    let (first, second) = *found.value();
                    assert_eq!(first, second);
                    assert!(first >= newest[number as usize], "went back in time");
                    newest[number as usize] = first;
                }
            })
        })
        .collect();
    let mut random = Random(99);
    for step in 1..times(300_000) {
        let pinned = pin();
        // SAFETY: the only thread that writes.
        let writer = unsafe { table.writer(&pinned) };
        let key = random.below(64).to_le_bytes();
        match random.below(3) {
            0 => drop(writer.remove(hash(&key), &key)),
            _ => drop(writer.insert(entry(&key, (step, step))).unwrap()),
        }
        if step % ROUND == 0 {
            // Grows and shrinks the array under the readers.
            for other in 1000..1000 + times(50_000).min(1000) {
                let key = other.to_le_bytes();
                writer.insert(entry(&key, (step, step))).unwrap();
            }
            for other in 1000..1000 + times(50_000).min(1000) {
                let key = other.to_le_bytes();
                writer.remove(hash(&key), &key).unwrap();
            }
        }
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().unwrap();
    }
}

/// What is there all the time is seen once, whatever comes, goes and moves meanwhile.
#[test]
fn a_scan_sees_what_stays_once() {
    let table = Table::new();
    let mut random = Random(17);
    let stays: Vec<u64> = (0..times(2000).max(20)).collect();
    // It grows by a power of what comes at each step of the scan.
    let most_at_a_step = if cfg!(miri) { 6 } else { 12 };
    let pinned = pin();
    // SAFETY: the only thread.
    let writer = unsafe { table.writer(&pinned) };
    for key in &stays {
        writer.insert(entry(&key.to_le_bytes(), *key)).unwrap();
    }
    for round in 0..20 {
        let mut seen = HashMap::new();
        let mut position = Position::BEGINNING;
        let mut others = Vec::new();
        while position != Position::End {
            position = writer.scan(position, 1, |found| {
                *seen.entry(*found.value()).or_insert(0) += 1;
                1
            });
            // First it grows, then it shrinks again.
            for _ in 0..random.below(most_at_a_step) {
                let key = (1 << 32) + random.below(1 << 20);
                if random.below(20) > round {
                    writer.insert(entry(&key.to_le_bytes(), key)).unwrap();
                    others.push(key.to_le_bytes());
                } else if let Some(key) = others.pop() {
                    writer.remove(hash(&key), &key);
                }
            }
        }
        assert!(stays.iter().all(|key| seen[key] == 1));
        for key in others {
            writer.remove(hash(&key), &key);
        }
    }
}

/// Keys that share beginnings of all lengths, are prefixes of each other, and have zeros at the end.
fn some_key(random: &mut Random) -> Vec<u8> {
    let beginnings: [&[u8]; 5] = [
        b"",
        b"user:",
        b"user:\0",
        b"\xff\xff",
        b"a very long beginning of a key:",
    ];
    let mut next = |below: u64| random.below(below);
    let mut key = beginnings[next(5) as usize].to_vec();
    for _ in 0..next(6) {
        key.push([0, 1, b'a', b'b', 0xff][next(5) as usize]);
    }
    if next(3) == 0 {
        key.extend_from_slice(&next(5000).to_be_bytes());
    }
    key
}

/// As a table in order has them.
fn in_order(table: &Table<usize>, from: Bound<&[u8]>) -> Vec<Vec<u8>> {
    let pinned = pin();
    // SAFETY: the only writer.
    let writer = unsafe { table.writer(&pinned) };
    let mut keys = Vec::new();
    writer
        .in_order(from, |found| {
            assert!(writer
                .get(hash(found.key()), found.key())
                .unwrap()
                .is_some());
            keys.push(found.key().to_vec());
            true
        })
        .unwrap();
    keys
}

#[test]
fn an_ordered_table_does_what_a_tree_does() {
    let (steps, looks, places) = if cfg!(miri) {
        (180, 4, 2)
    } else {
        (60_000, 30, 20)
    };
    let (table, mut tree) = (Table::ordered(), BTreeSet::new());
    let mut random = Random(88172645463325252);
    for step in 0..steps {
        let key = some_key(&mut random);
        // It grows, shrinks and grows again.
        let removes = (step / (steps / 6)) % 2 == 1 && random.below(4) != 0;
        let pinned = pin();
        // SAFETY: the only writer.
        let writer = unsafe { table.writer(&pinned) };
        if removes {
            // One that is there, mostly.
            let key = tree.range(key.clone()..).next().cloned().unwrap_or(key);
            assert_eq!(writer.remove(hash(&key), &key).is_some(), tree.remove(&key));
        } else {
            let old = writer.insert(entry(&key, 0)).unwrap();
            assert_eq!(old.is_none(), tree.insert(key));
        }
        if step % (steps / looks) == 0 {
            let all: Vec<_> = tree.iter().cloned().collect();
            assert_eq!(in_order(&table, Bound::Unbounded), all);
            for _ in 0..places {
                let from = some_key(&mut random);
                let (above, with): (Vec<_>, Vec<_>) = (
                    tree.range::<[u8], _>((Bound::Excluded(&from[..]), Bound::Unbounded))
                        .cloned()
                        .collect(),
                    tree.range::<[u8], _>((Bound::Included(&from[..]), Bound::Unbounded))
                        .cloned()
                        .collect(),
                );
                assert_eq!(in_order(&table, Bound::Excluded(&from)), above);
                assert_eq!(in_order(&table, Bound::Included(&from)), with);
            }
        }
    }
    let pinned = pin();
    // SAFETY: the only writer.
    unsafe { table.writer(&pinned) }.clear();
    assert_eq!(in_order(&table, Bound::Unbounded), Vec::<Vec<u8>>::new());
}

#[test]
fn keys_that_rise_or_fall_are_in_order() {
    let count = if cfg!(miri) { 300 } else { 20_000u32 };
    let (rising, falling) = (Table::ordered(), Table::ordered());
    for number in 0..count {
        for (table, number) in [(&rising, number), (&falling, count - 1 - number)] {
            let key = format!("key:{number:08}");
            let pinned = pin();
            // SAFETY: the only writer.
            let writer = unsafe { table.writer(&pinned) };
            writer.insert(entry(key.as_bytes(), 0)).unwrap();
        }
    }
    let all: Vec<_> = (0..count)
        .map(|it| format!("key:{it:08}").into_bytes())
        .collect();
    assert_eq!(in_order(&rising, Bound::Unbounded), all);
    assert_eq!(in_order(&falling, Bound::Unbounded), all);
}
