//! What the queues take of memory, and what becomes of a key without a place.

use std::sync::{Arc, Mutex};

use super::*;
use crate::process::Process;
use crate::reclaim;
use crate::store::{Always, Change, Key, Limits, Observer, Pair};
use crate::sync::lock;
use crate::value::ValueRef;

fn of_keys(keys: usize) -> Contents {
    Contents::new(Limits::new(keys, usize::MAX, None), None).evicting()
}

fn with_writer<R>(contents: &Contents, work: impl FnOnce(&Exclusive<'_, Contents>) -> R) -> R {
    Process::current(); // a pin belongs to a process
                        // SAFETY: the only thread.
    let done = work(&unsafe { Exclusive::granted(contents) });
    reclaim::tidy();
    done
}

fn put(contents: &Contents, key: usize) {
    let key = key.to_ne_bytes();
    let put = |writer: &Exclusive<'_, Contents>| {
        writer.put_small(Key::new(&key), ValueRef::Int(1), Always)
    };
    with_writer(contents, put).unwrap();
}

fn remove(contents: &Contents, key: usize) -> Result<(), Error> {
    let key = key.to_ne_bytes();
    with_writer(contents, |writer| writer.remove(Key::new(&key)))
}

fn with_queues<R>(contents: &Contents, look: impl FnOnce(&mut Queues) -> R) -> R {
    // SAFETY: used here alone.
    with_writer(contents, |writer| unsafe {
        look(writer.queues().expect("it evicts"))
    })
}

/// The bytes of a bucket's queues, and of what it remembers.
fn memory(contents: &Contents) -> usize {
    with_queues(contents, |queues| {
        queues.small.bytes() + queues.main.bytes() + queues.ghost.bytes()
    })
}

const KEYS: usize = 100_000;

#[test]
#[cfg_attr(miri, ignore = "what is measured needs so many keys")]
fn a_key_takes_at_most_twenty_bytes_of_the_queues() {
    let contents = of_keys(KEYS);
    (0..KEYS).for_each(|key| put(&contents, key));
    assert!(memory(&contents) <= 9 * KEYS, "{}", memory(&contents));
    // Through the small queue, and some by way of the main one.
    for key in KEYS..4 * KEYS {
        put(&contents, if key % 3 == 0 { key - KEYS } else { key });
        if key % 10_000 == 0 {
            assert!(memory(&contents) <= 20 * KEYS, "{}", memory(&contents));
        }
    }
    assert_eq!(contents.count(), Ok(KEYS));
    with_writer(&contents, |writer| writer.clear());
    assert_eq!(memory(&contents), 0);
}

#[test]
#[cfg_attr(miri, ignore = "what is measured needs so many keys")]
fn places_of_keys_that_went_are_bounded() {
    let contents = of_keys(KEYS);
    let is_bounded = |keys: usize| {
        let places = with_queues(&contents, |queues| queues.places());
        assert!(places <= 3 * keys + STALE, "{keys}: {places}");
    };
    (0..1000).for_each(|key| put(&contents, key));
    // One key that comes and goes, and one after the other.
    for round in 0..100_000 {
        let key = if round % 2 == 0 { 1000 } else { 2000 + round };
        put(&contents, key);
        is_bounded(1001);
        remove(&contents, key).unwrap();
        is_bounded(1001);
    }
    // The last goes first, and then the first.
    (1000..100_000).for_each(|key| put(&contents, key));
    for key in (50_000..100_000).rev().chain(0..50_000) {
        remove(&contents, key).unwrap();
        is_bounded(contents.count().unwrap() + 1);
    }
}

#[test]
fn each_place_leads_to_its_key_and_to_no_other() {
    const KEPT: usize = if cfg!(miri) { 5 } else { 1000 };
    let contents = of_keys(KEPT);
    for step in 0..50 * KEPT {
        let key = (step.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % (16 * KEPT);
        match step % 7 {
            0 => drop(remove(&contents, key)),
            _ => put(&contents, key),
        }
    }
    let keys = contents.count().unwrap();
    let found = with_writer(&contents, |writer| {
        let pinned = reclaim::pin();
        let table = writer.writer(&pinned);
        // SAFETY: used here alone.
        let queues = unsafe { writer.queues() }.unwrap();
        let mut found = std::collections::HashSet::new();
        for queue in [SMALL, MAIN] {
            loop {
                let place = match queue {
                    SMALL => queues.small.pop(),
                    _ => queues.main.pop(),
                };
                let Some(place) = place else { break };
                if let Some(entry) = at(&table, place, queue) {
                    found.insert(entry.key().to_vec());
                }
            }
        }
        found.len()
    });
    assert_eq!(found, keys);
    // Nothing has a place any more, as where there is no memory: keys go all the same.
    (0..5 * KEPT).for_each(|key| put(&contents, 1_000_000 + key));
    assert_eq!(contents.count(), Ok(KEPT));
}

#[test]
fn the_next_key_goes_after_a_number_of_steps_however_many_are_used() {
    const KEYS: usize = if cfg!(miri) { 100 } else { 10_000 };
    const ROUNDS: usize = if cfg!(miri) { 2 } else { 100 };
    let contents = of_keys(KEYS);
    (0..KEYS).for_each(|key| put(&contents, key));
    for key in 0..ROUNDS {
        use_all(&contents);
        put(&contents, 2 * KEYS + key);
        let passed = count_less_used(&contents);
        assert!(passed <= STEPS + 1, "{passed}");
    }
    assert_eq!(contents.count(), Ok(KEYS));
    assert_eq!(contents.cache_counts().evicted, ROUNDS as u64);
}

fn with_entries<R>(
    contents: &Contents,
    look: impl FnOnce(&mut dyn Iterator<Item = Found<'_, Stored>>) -> R,
) -> R {
    with_writer(contents, |writer| {
        let pinned = reclaim::pin();
        let table = writer.writer(&pinned);
        let mut entries = table.entries().unwrap();
        look(&mut entries)
    })
}

/// As much as is counted.
fn use_all(contents: &Contents) {
    with_entries(contents, |entries| {
        for found in entries {
            (0..5).for_each(|_| found.note_use());
            assert_eq!(found.marks().uses, 3);
        }
    });
}

fn count_less_used(contents: &Contents) -> usize {
    with_entries(contents, |entries| {
        entries.filter(|found| found.marks().uses < 3).count()
    })
}

/// Keys, and whether they were stored.
#[derive(Default)]
struct Heard(Mutex<Vec<(usize, bool)>>);

impl Observer for Heard {
    fn is_wanted(&self) -> bool {
        true
    }

    fn changed(&self, change: Change) {
        let key = usize::from_ne_bytes(change.key[..].try_into().unwrap());
        lock(&self.0).push((key, change.value.is_some()));
    }

    fn close(&self) {}
}

#[test]
fn who_observes_is_told_what_made_room_before_what_it_made_room_for() {
    let contents = of_keys(2);
    let heard = Arc::new(Heard::default());
    let observer = || Arc::clone(&heard) as Arc<dyn Observer>;
    with_writer(&contents, |writer| writer.observe(observer));
    (0..4).for_each(|key| put(&contents, key));
    let stored = |key| (key, true);
    let gone = |key| (key, false);
    let all = [stored(0), stored(1), gone(0), stored(2), gone(1), stored(3)];
    assert_eq!(*lock(&heard.0), all);
    let pairs = [10usize, 11].map(|key| {
        let key = key.to_ne_bytes();
        Pair::new(Key::new(&key), ValueRef::Int(1)).unwrap()
    });
    with_writer(&contents, |writer| writer.put_many(pairs.into())).unwrap();
    let more = [gone(2), gone(3), stored(10), stored(11)];
    assert_eq!(lock(&heard.0)[6..], more);
}
