use super::*;
use crate::backend::Op;
use crate::disk::chaos::Plan;

/// What a crash would leave: a copy of the file as it is.
fn keys_after_crash(folder: &Folder, path: &Path, bucket: &str) -> Vec<String> {
    let copy = folder.at("copy");
    std::fs::copy(path, &copy).unwrap();
    keys(&open(&copy, Sync::Always, bucket))
}

#[test]
fn what_is_written_is_stored_within_a_second() {
    let folder = Folder::new();
    let path = folder.at("db");
    let store = open(&path, Sync::Interval, "b");
    for key in ["a", "b", "c"] {
        put(&store, key, 1).unwrap();
    }
    let begin = Instant::now();
    while keys_after_crash(&folder, &path, "b").len() < 3 {
        assert!(begin.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn closing_stores() {
    let folder = Folder::new();
    let path = folder.at("db");
    let (one, other) = (
        open(&path, Sync::Interval, "one"),
        open(&path, Sync::Always, "other"),
    );
    put(&one, "a", 1).unwrap();
    drop(one);
    assert_eq!(keys_after_crash(&folder, &path, "one"), ["a"]);
    let one = open(&path, Sync::Interval, "one");
    assert_eq!(keys(&one), ["a"]);
    put(&one, "b", 2).unwrap();
    // What came before a write that is synced is stored with it.
    put(&other, "c", 1).unwrap();
    assert_eq!(keys_after_crash(&folder, &path, "one"), ["a", "b"]);
    put(&one, "d", 3).unwrap();
    drop(other);
    drop(one);
    assert_eq!(keys(&open(&path, Sync::Interval, "one")), ["a", "b", "d"]);
}

#[test]
fn who_brings_much_stores_it() {
    let folder = Folder::new();
    let path = folder.at("db");
    let store = open(&path, Sync::Interval, "b");
    let value = vec![1; 3 << 20];
    for number in 0..20 {
        put_all(&store, &[&number.to_string()], &value, number).unwrap();
    }
    drop(store);
    assert_eq!(keys(&open(&path, Sync::Always, "b")).len(), 20);
}

#[cfg(unix)]
fn refuse(store: &Store, op: Op, times: u32) {
    let os_error = match op {
        Op::Sync => libc::EIO,
        _ => libc::ENOSPC,
    };
    store.lease.file.disk().chaos.set(Some(Plan {
        op,
        after: 0,
        times,
        os_error,
    }));
}

#[cfg(unix)]
#[test]
fn what_has_no_room_waits() {
    let folder = Folder::new();
    let path = folder.at("db");
    let store = open(&path, Sync::Interval, "b");
    put(&store, "a", 1).unwrap();
    refuse(&store, Op::SetLen, u32::MAX);
    let large = vec![1; 200_000];
    put_all(&store, &["large"], &large, 2).unwrap();
    let stored = store.lease.file.store_waiting();
    assert_eq!(status(stored), abi::LIMIT);
    // Nothing is stored behind a gap, and what was answered is not lost.
    assert_eq!(status(put(&store, "b", 3)), abi::LIMIT);
    let copied = keys_after_crash(&folder, &path, "b");
    assert!(copied.is_empty() || copied == ["a"]);
    store.lease.file.disk().chaos.set(None);
    put_patiently(&store, "b", 3);
    drop(store);
    let store = open(&path, Sync::Interval, "b");
    assert_eq!(keys(&store), ["a", "b", "large"]);
}

#[cfg(unix)]
#[test]
fn what_there_is_room_for_is_stored() {
    let folder = Folder::new();
    let path = folder.at("db");
    let store = open(&path, Sync::Interval, "b");
    refuse(&store, Op::SetLen, u32::MAX);
    put(&store, "a", 1).unwrap();
    put(&store, "b", 2).unwrap();
    put_all(&store, &["large"], &vec![1; 200_000], 3).unwrap();
    put(&store, "c", 4).unwrap();
    drop(store);
    let store = open(&path, Sync::Interval, "b");
    assert_eq!(keys(&store), ["a", "b"]);
}

#[cfg(unix)]
#[test]
fn what_waits_for_room_keeps_nobody_from_reading() {
    let folder = Folder::new();
    let path = folder.at("db");
    let store = open(&path, Sync::Interval, "b");
    let other = open(&path, Sync::Always, "other");
    put(&other, "a", 1).unwrap();
    refuse(&store, Op::SetLen, u32::MAX);
    put_all(&store, &["large"], &vec![1; 200_000], 1).unwrap();
    drop(store);
    let third = open(&path, Sync::Always, "third");
    assert_eq!(keys(&third), Vec::<String>::new());
    assert_eq!(keys(&other), ["a"]);
    let store = open(&path, Sync::Interval, "b");
    assert_eq!(status(contents(&store)), abi::LIMIT);
    drop(store);
    // What is to be erased need not be stored.
    assert_eq!(status(destroy(&path, "b")), abi::NOT_FOUND);
    let store = open(&path, Sync::Interval, "b");
    assert_eq!(keys(&store), Vec::<String>::new());
    put(&store, "small", 2).unwrap();
}

#[cfg(unix)]
#[test]
fn what_may_be_lost_ends_the_bucket() {
    let folder = Folder::new();
    let path = folder.at("db");
    let store = open(&path, Sync::Interval, "b");
    let other = open(&path, Sync::Interval, "other");
    put(&store, "a", 1).unwrap();
    store.lease.file.store_waiting().unwrap();
    put(&store, "b", 2).unwrap();
    refuse(&store, Op::Sync, u32::MAX);
    assert_eq!(status(store.lease.file.store_waiting()), abi::IO);
    for _ in 0..2 {
        assert_eq!(status(put(&store, "c", 3)), abi::IO);
    }
    store.lease.file.disk().chaos.set(None);
    // Who has nothing in what failed goes on.
    put(&other, "x", 1).unwrap();
    drop(store);
    let store = open(&path, Sync::Interval, "b");
    let found = keys(&store);
    assert!(found == ["a"] || found == ["a", "b"], "{found:?}");
    put(&store, "d", 4).unwrap();
    assert_eq!(keys(&store).len(), found.len() + 1);
    assert_eq!(keys(&other), ["x"]);
}
