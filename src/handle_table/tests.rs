//! Handles: tokens, their slots, and threads that keep some.

use super::*;
use crate::process::Process;
use crate::reclaim;

/// One that stays, as the process's does, and where Miri finds it: else it is a leak to it.
fn table() -> &'static HandleTable {
    static TABLES: Mutex<Vec<&HandleTable>> = Mutex::new(Vec::new());
    let table = Box::leak(Box::new(HandleTable::new()));
    lock(&TABLES).push(table);
    table
}

fn object(number: usize) -> *const () {
    std::ptr::without_provenance(number)
}

#[test]
fn every_slot_has_its_place() {
    let mut expected = (0, 0);
    for number in 0..if cfg!(miri) { 1000 } else { 100_000 } {
        assert_eq!(place(number), expected);
        expected.1 += 1;
        if expected.1 == segment_len(expected.0) {
            expected = (expected.0 + 1, 0);
        }
    }
    assert_eq!(place((1 << SLOT_BITS) - 1).0, SEGMENTS - 1);
}

#[test]
fn a_token_is_known_until_it_is_removed_and_never_again() {
    let table = table();
    Process::current();
    let guard = reclaim::pin();
    let mut old = Vec::new();
    for round in 1..if cfg!(miri) { 50 } else { 1000 } {
        let token = table.insert(Kind::Bucket, object(round), 7).unwrap();
        let found = table.get(token, Kind::Bucket, &guard).ok().unwrap();
        assert_eq!(found.object, object(round));
        assert_eq!(found.timeout.load(Ordering::Relaxed), 7);
        let wrong = table.get(token, Kind::Inbox, &guard).err();
        assert_eq!(wrong, Some(Invalid::WrongKind));
        assert_eq!(table.remove(token, Kind::Inbox), Err(Invalid::WrongKind));
        assert_eq!(table.live(Kind::Bucket), 1);
        let removed = table.remove(token, Kind::Bucket).unwrap();
        assert_eq!(removed.object, object(round));
        table.give_back(removed.slot);
        assert_eq!(table.remove(token, Kind::Bucket), Err(Invalid::Bad));
        assert_eq!(table.remove(token + 1, Kind::Bucket), Err(Invalid::Bad));
        old.push(token);
    }
    for token in old {
        assert!(table.get(token, Kind::Bucket, &guard).is_err());
    }
    assert_eq!(table.live(Kind::Bucket), 0);
}

#[test]
fn made_up_tokens_are_bad() {
    let table = table();
    Process::current();
    let guard = reclaim::pin();
    let token = table.insert(Kind::Bucket, object(8), 0).unwrap();
    let far = token | 0xff_ffff << SLOT_SHIFT;
    let renamed = token ^ (Kind::Bucket as u64 ^ Kind::Inbox as u64) << KIND_SHIFT;
    for made_up in [0, 1, u64::MAX, token + 1, far, token ^ 1 << 63, renamed] {
        for kind in Kind::ALL {
            assert_eq!(table.get(made_up, kind, &guard).err(), Some(Invalid::Bad));
            assert_eq!(table.remove(made_up, kind), Err(Invalid::Bad));
        }
    }
}

#[test]
fn tokens_are_not_canonical_addresses() {
    let table = table();
    for kind in Kind::ALL {
        let top = table.insert(kind, object(8), 0).unwrap() >> 56;
        assert!(top != 0 && top != 0xff);
    }
}

#[test]
fn a_slot_is_used_again_once_it_is_given_back() {
    let table = table();
    let first = table.insert(Kind::Bucket, object(8), 0).unwrap();
    let removed = table.remove(first, Kind::Bucket).unwrap();
    let second = table.insert(Kind::Bucket, object(8), 0).unwrap();
    assert_ne!(token_slot(first), token_slot(second));
    table.give_back(removed.slot);
    let third = table.insert(Kind::Bucket, object(8), 0).unwrap();
    assert_eq!(token_slot(first), token_slot(third));
    assert_ne!(first, third);
}

#[test]
fn one_of_many_frees_wins() {
    let table = table();
    for _ in 0..if cfg!(miri) { 20 } else { 1000 } {
        let token = table.insert(Kind::Items, object(8), 0).unwrap();
        let wins: usize = std::thread::scope(|scope| {
            let free = || table.remove(token, Kind::Items).is_ok();
            let threads = [(); 2].map(|()| scope.spawn(free));
            threads
                .map(|thread| usize::from(thread.join().unwrap()))
                .iter()
                .sum()
        });
        assert_eq!(wins, 1);
    }
}
