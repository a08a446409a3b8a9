//! Disks that refuse: after each refusal a write is stored as a whole or not at all, as it was
//! answered, and the store works when there is room again.

use std::io;

use super::*;
use crate::backend::Op;
use crate::disk::chaos::Plan;
use crate::store::Store;

#[cfg(unix)]
const FULL: i32 = libc::ENOSPC;
#[cfg(unix)]
const BROKEN: i32 = libc::EIO;
#[cfg(windows)]
const FULL: i32 = 112;
#[cfg(windows)]
const BROKEN: i32 = 1117;

fn plan(store: &Store, plan: Option<Plan>) {
    store.lease.file.disk().chaos.set(plan);
}

/// So large that the file grows.
fn large() -> Vec<u8> {
    vec![1; 200_000]
}

/// Writes two keys to a disk that refuses, and answers the status. `None`: it refused nothing.
fn write_refused(refusal: Plan, value: &[u8]) -> Option<abi::Status> {
    let folder = Folder::new();
    let path = folder.at("db");
    let store = open(&path, Sync::Always, "b");
    put(&store, "before", 1).unwrap();
    plan(&store, Some(refusal));
    let written = put_all(&store, &["one", "other"], value, 2);
    let is_refused = store.lease.file.disk().chaos.refused() > 0;
    plan(&store, None);
    let said = format!("{refusal:?}: {written:?}");
    let status = status(written);
    let store = match status {
        // As a bucket that is started in the place of the one that ended.
        abi::IO => {
            drop(store);
            open(&path, Sync::Always, "b")
        }
        _ => store,
    };
    let found = keys(&store);
    match status {
        abi::OK => assert_eq!(found, ["before", "one", "other"], "{said}"),
        abi::LIMIT => assert_eq!(found, ["before"], "{said}"),
        _ => assert!(found.len() == 1 || found.len() == 3, "{said}: {found:?}"),
    }
    put_patiently(&store, "behind", 3);
    let mut expected = found;
    expected.push("behind".into());
    expected.sort();
    assert_eq!(keys(&store), expected, "{said}");
    drop(store);
    assert_eq!(keys(&open(&path, Sync::Always, "b")), expected, "{said}");
    is_refused.then_some(status)
}

/// Refuses each operation of this kind in turn, and looks at what is answered.
fn refuse_each(op: Op, os_error: i32, times: u32, value: &[u8], expected: &[abi::Status]) {
    let mut refused = 0;
    for after in 0.. {
        let refusal = Plan {
            op,
            after,
            times,
            os_error,
        };
        let Some(status) = write_refused(refusal, value) else {
            break;
        };
        assert!(expected.contains(&status), "{refusal:?}: {status}");
        refused += 1;
    }
    assert!(refused > 0);
}

#[test]
fn a_full_disk_is_a_limit() {
    for value in [&b"small"[..], &large()] {
        refuse_each(Op::Write, FULL, 1, value, &[abi::LIMIT, abi::OK]);
    }
    refuse_each(Op::SetLen, FULL, 1, &large(), &[abi::LIMIT]);
}

#[test]
fn a_disk_that_stays_full_is_a_limit_or_unknown() {
    // Then the file cannot be opened again, which writes.
    refuse_each(Op::Write, FULL, 1000, b"small", &[abi::IO]);
    refuse_each(Op::SetLen, FULL, 1000, &large(), &[abi::LIMIT]);
}

#[test]
fn a_failed_sync_is_unknown() {
    for os_error in [FULL, BROKEN] {
        for times in [1, 1000] {
            refuse_each(Op::Sync, os_error, times, b"small", &[abi::IO]);
        }
    }
    refuse_each(Op::Sync, BROKEN, 1, &large(), &[abi::IO]);
}

#[test]
fn a_broken_disk_is_unknown() {
    refuse_each(Op::Write, BROKEN, 1, b"small", &[abi::IO, abi::OK]);
    refuse_each(Op::Write, BROKEN, 1000, b"small", &[abi::IO]);
    refuse_each(Op::SetLen, BROKEN, 1, &large(), &[abi::IO]);
}

#[test]
fn what_cannot_be_read_is_read_anew() {
    let folder = Folder::new();
    let path = folder.at("db");
    let store = open(&path, Sync::Always, "b");
    let value = vec![1; 1 << 20]; // all of them are more than redb remembers
    for number in 0..50 {
        put_all(&store, &[&number.to_string()], &value, 1).unwrap();
    }
    for after in 0..5 {
        let refusal = Plan {
            op: Op::Read,
            after,
            times: 1,
            os_error: BROKEN,
        };
        plan(&store, Some(refusal));
        assert_eq!(status(contents(&store)), abi::IO);
        assert_eq!(keys(&store).len(), 50);
        put(&store, "0", 2).unwrap();
        put_all(&store, &["0"], &value, 2).unwrap();
    }
}

#[test]
fn a_full_disk_refuses_others_nothing_that_they_have() {
    let folder = Folder::new();
    let path = folder.at("db");
    let (one, other) = (
        open(&path, Sync::Always, "one"),
        open(&path, Sync::Always, "other"),
    );
    put(&one, "a", 1).unwrap();
    put(&other, "b", 1).unwrap();
    let refusal = Plan {
        op: Op::Write,
        after: 0,
        times: 1,
        os_error: FULL,
    };
    plan(&one, Some(refusal));
    assert_eq!(status(put(&one, "c", 2)), abi::LIMIT);
    put_patiently(&other, "d", 2);
    assert_eq!(keys(&one), ["a"]);
    assert_eq!(keys(&other), ["b", "d"]);
}

#[test]
fn a_new_file_that_has_no_room_is_made_later() {
    let folder = Folder::new();
    let path = folder.at("db");
    for error in [FULL, BROKEN] {
        let error = io::Error::from_raw_os_error(error);
        let failure = Failure::of_system(&path, &error);
        assert_eq!(
            failure.may_be_repeated(),
            crate::failure::is_no_room(&error)
        );
        assert_eq!(Some(failure.os_error), error.raw_os_error());
    }
    let erased = Plan {
        op: Op::Write,
        after: 0,
        times: 1,
        os_error: FULL,
    };
    let store = open(&path, Sync::Always, "b");
    let other = open(&path, Sync::Always, "other");
    put(&store, "a", 1).unwrap();
    drop(store);
    plan(&other, Some(erased));
    assert_eq!(status(destroy(&path, "b")), abi::LIMIT);
    assert_eq!(keys(&open(&path, Sync::Always, "b")), ["a"]);
}
