//! Scans (G19), as Rust programs have them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use kvreg::{Bucket, BucketOptions, Error, Order, Scan, Value};

fn both() -> [Bucket; 2] {
    [Order::Unordered, Order::Ordered].map(|order| {
        let bucket = Bucket::start_with(BucketOptions::new().order(order)).unwrap();
        assert_eq!(bucket.info().unwrap().order, order);
        bucket
    })
}

fn keys(bucket: &Bucket, scan: &Scan) -> Vec<Vec<u8>> {
    let items = bucket.scan(scan).unwrap();
    items.iter().map(|it| it.key.to_vec()).collect()
}

#[test]
fn g19_a_scan_is_as_a_sorted_map() {
    for bucket in both() {
        let mut map = BTreeMap::new();
        for number in 0..3000_u32 {
            let mixed = number.wrapping_mul(0x9e37_79b9);
            let key = mixed.to_be_bytes()[..(mixed % 5) as usize].to_vec();
            bucket.put(&key, i64::from(number)).unwrap();
            map.insert(key, i64::from(number));
        }
        for prefix in [&b""[..], b"\0", b"\xff", b"\xff\xff", b"a", b"absent"] {
            for after in [
                None,
                Some(&b""[..]),
                Some(b"\x80"),
                Some(b"\xff\xff\xff\xff"),
            ] {
                let mut scan = Scan::new().prefix(prefix);
                if let Some(after) = after {
                    scan = scan.after(after);
                }
                let is_wanted =
                    |key: &[u8]| key.starts_with(prefix) && after.is_none_or(|it| key > it);
                let wanted: Vec<_> = map.iter().filter(|(key, _)| is_wanted(key)).collect();
                let items = bucket.scan(&scan).unwrap();
                let found: Vec<_> = items
                    .iter()
                    .map(|it| (it.key.to_vec(), it.value.as_i64().unwrap()))
                    .collect();
                let expected: Vec<_> = wanted.iter().map(|(k, v)| ((*k).clone(), **v)).collect();
                assert_eq!(found, expected);
                for limit in [0, 1, 10, 10_000] {
                    let page = keys(&bucket, &scan.clone().limit(limit).keys_only());
                    let first = expected.iter().take(limit).map(|(key, _)| key.clone());
                    assert_eq!(page, first.collect::<Vec<_>>());
                }
            }
        }
    }
}

#[test]
fn an_item_has_its_revision_and_keys_alone_have_nil() {
    for bucket in both() {
        let revision = bucket.put_entry("milk", 1).unwrap();
        let items = bucket.scan(&Scan::new()).unwrap();
        assert_eq!(
            (items[0].revision, &items[0].value),
            (revision, &Value::Int(1))
        );
        let items = bucket.scan(&Scan::new().keys_only()).unwrap();
        assert_eq!(
            (items[0].revision, &items[0].value),
            (revision, &Value::Nil)
        );
        let long = [0; kvreg::KEY_LIMIT + 1];
        for wrong in [Scan::new().prefix(long), Scan::new().after(long)] {
            assert!(matches!(
                bucket.scan(&wrong),
                Err(Error::InvalidArgument(_))
            ));
        }
        bucket.stop().unwrap();
        assert_eq!(bucket.scan(&Scan::new()).err(), Some(Error::NoProcess));
    }
}

/// Slices of a snapshot are never so many that a scan sees a key twice, or half of a batch.
#[test]
fn g19_a_page_is_one_instant_beside_a_writer() {
    for bucket in both() {
        bucket
            .put_many((0..20_000).map(|it| (format!("m{it:06}"), 0)))
            .unwrap();
        bucket.put_many([("a", 0), ("z", 0)]).unwrap();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1.. {
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    let key = format!("m{:06}", round * 7919 % 20_000);
                    bucket.put_many([("a", round), ("z", round)]).unwrap();
                    bucket.delete(&key).unwrap();
                    bucket.put(&key, round).unwrap();
                }
            });
            for look in 0..20 {
                let limit = [30_000, usize::MAX][look % 2];
                let items = bucket.scan(&Scan::new().limit(limit)).unwrap();
                assert!(items.is_sorted_by(|one, other| *one.key < *other.key));
                let (first, last) = (items.first().unwrap(), items.last().unwrap());
                assert_eq!((&*first.key, &*last.key), (&b"a"[..], &b"z"[..]));
                assert_eq!(first.value, last.value);
                assert!(items.len() >= 20_001);
            }
            is_over.store(true, Ordering::Relaxed);
        });
    }
}

/// As many scans at once as there are no places for: each waits for its own.
#[test]
fn many_scans_at_once_all_give_what_is_there() {
    for bucket in both() {
        bucket
            .put_many((0..20_000).map(|it| (format!("{it:06}"), it)))
            .unwrap();
        thread::scope(|scope| {
            for _ in 0..12 {
                scope.spawn(|| {
                    for _ in 0..3 {
                        assert_eq!(bucket.scan(&Scan::new()).unwrap().len(), 20_000);
                    }
                });
            }
        });
    }
}
