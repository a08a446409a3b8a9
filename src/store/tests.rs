//! Snapshots beside a writer, slice by slice.

use std::sync::Arc;

use crate::process::Process;
use crate::reclaim;
use crate::server::Exclusive;
use crate::store::{Always, Contents, Item, Key, Left, Pair, Wanted};
use crate::value::ValueRef;

/// Of each value.
const BYTES: usize = 16 << 10;

/// More than a slice, whatever is read of it.
const KEYS: u32 = 1500;

fn with_writer<R>(contents: &Contents, work: impl FnOnce(&Exclusive<'_, Contents>) -> R) -> R {
    Process::current(); // a pin belongs to a process
                        // SAFETY: the only thread.
    let done = work(&unsafe { Exclusive::granted(contents) });
    reclaim::tidy();
    done
}

fn put(contents: &Contents, key: u32, byte: u8) {
    put_value(contents, key, &[byte; BYTES]);
}

fn put_value(contents: &Contents, key: u32, bytes: &[u8]) {
    let key = key.to_le_bytes();
    let pair = Pair::new(Key::new(&key), ValueRef::Bytes(bytes)).unwrap();
    with_writer(contents, |writer| writer.put(pair, Always)).unwrap();
}

/// The bytes of a snapshot's values, if `change` is made behind its first slice.
fn snapshot_beside(
    contents: Contents,
    wanted: Wanted,
    change: impl FnOnce(&Contents),
) -> Option<Vec<u8>> {
    (0..KEYS).for_each(|key| put(&contents, key, 1));
    let mut items = contents.items(&Arc::new(wanted), true);
    let mut next = || {
        items.make_room().unwrap();
        with_writer(&contents, |writer| writer.continue_items(&mut items)).unwrap()
    };
    assert_eq!(next(), Left::More);
    change(&contents);
    while next() == Left::More {}
    let pairs = items.finish().unwrap()?;
    let byte = |it: &Item| it.value.as_bytes().unwrap()[0];
    Some(pairs.iter().map(byte).collect())
}

fn unordered() -> Contents {
    Contents::new(None, None)
}

fn smallest(limit: u32) -> Wanted {
    Wanted::in_order(b"", None, limit as usize, false).unwrap()
}

fn clear(contents: &Contents) {
    with_writer(contents, |writer| writer.clear());
}

fn overwrite_all(contents: &Contents) {
    (0..KEYS).for_each(|key| put(contents, key, 2));
}

fn overwrite_and_remove_some(contents: &Contents) {
    (0..KEYS / 3).for_each(|key| put(contents, key, 2));
    let remove = |key: u32| {
        let key = key.to_le_bytes();
        with_writer(contents, |writer| writer.remove(Key::new(&key))).unwrap();
    };
    (KEYS / 3..KEYS / 2).for_each(remove);
    (KEYS..KEYS * 2).for_each(|key| put(contents, key, 3));
}

#[test]
fn what_is_kept_for_a_snapshot_is_told() {
    for change in [overwrite_all, overwrite_and_remove_some] {
        for contents in [unordered(), unordered().ordered()] {
            let seen = snapshot_beside(contents, Wanted::all(), change);
            assert_eq!(seen, Some(vec![1; KEYS as usize]));
        }
        for contents in [unordered(), unordered().ordered()] {
            let seen = snapshot_beside(contents, smallest(KEYS - 1), change);
            assert_eq!(seen, Some(vec![1; KEYS as usize - 1]));
        }
    }
}

#[test]
fn a_snapshot_fails_by_clear() {
    for wanted in [Wanted::all(), smallest(KEYS)] {
        assert_eq!(snapshot_beside(unordered(), wanted, clear), None);
    }
}

#[test]
fn a_slice_needs_no_more_room_than_was_made_for_it() {
    for wanted in [Wanted::all, || smallest(KEYS * 3), || smallest(KEYS * 20)] {
        for contents in [unordered(), unordered().ordered()] {
            (0..KEYS * 10).for_each(|key| put_value(&contents, key, b"small"));
            let mut items = contents.items(&Arc::new(wanted()), true);
            let mut slices = 0;
            loop {
                items.make_room().unwrap();
                let room = items.room();
                let left = with_writer(&contents, |writer| writer.continue_items(&mut items));
                assert_eq!(items.room(), room);
                slices += 1;
                match left.unwrap() {
                    Left::More => {}
                    left => break assert_eq!(left, Left::Nothing),
                }
            }
            assert!(slices > 2);
        }
    }
}
