//! Snapshots beside a writer, slice by slice.

use crate::process::Process;
use crate::reclaim;
use crate::server::Exclusive;
use crate::store::{Always, Contents, Key, Left, Pair};
use crate::value::{Text, Value, ValueRef};

/// Of each value.
const BYTES: usize = 16 << 10;

/// With so many keys a writer overwrites 24 MiB; 16 MiB are kept for a snapshot.
const KEYS: u32 = 1500;

fn with_writer<R>(contents: &Contents, work: impl FnOnce(&Exclusive<'_, Contents>) -> R) -> R {
    Process::current(); // a pin belongs to a process
                        // SAFETY: the only thread.
    let done = work(&unsafe { Exclusive::granted(contents) });
    reclaim::tidy();
    done
}

fn put(contents: &Contents, key: u32, byte: u8) {
    let pair = Pair::new(
        Key::new(&key.to_le_bytes()),
        ValueRef::Bytes(&[byte; BYTES]),
    )
    .unwrap();
    with_writer(contents, |writer| writer.put(pair, Always)).unwrap();
}

/// The bytes of a snapshot's values, if `change` is made behind its first slice.
fn snapshot_beside(change: impl FnOnce(&Contents)) -> Option<Vec<u8>> {
    let contents = Contents::new(None, None);
    (0..KEYS).for_each(|key| put(&contents, key, 1));
    let mut items = contents.items::<(Text, Value)>(true);
    with_writer(&contents, |writer| writer.begin_items(&mut items)).unwrap();
    let mut next = || with_writer(&contents, |writer| writer.continue_items(&mut items)).unwrap();
    assert_eq!(next(), Left::More);
    change(&contents);
    while next() == Left::More {}
    let pairs = items.finish().unwrap()?;
    let byte = |(_, value): &(_, Value)| value.as_bytes().unwrap()[0];
    Some(pairs.iter().map(byte).collect())
}

#[test]
fn what_is_kept_for_a_snapshot_is_bounded() {
    let seen = snapshot_beside(|contents| (0..KEYS).for_each(|key| put(contents, key, 2)));
    assert_eq!(seen, None, "it is to be begun anew");
}

#[test]
fn what_is_kept_for_a_snapshot_is_told() {
    let seen = snapshot_beside(|contents| {
        (0..KEYS / 3).for_each(|key| put(contents, key, 2));
        let remove = |key: u32| {
            let key = key.to_le_bytes();
            with_writer(contents, |writer| writer.remove(Key::new(&key))).unwrap();
        };
        (KEYS / 3..KEYS / 2).for_each(remove);
    });
    assert_eq!(seen, Some(vec![1; KEYS as usize]));
}
