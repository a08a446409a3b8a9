//! G15 and G16 from Rust: revisions that rise whatever becomes of a name, and changes on a
//! condition.

use std::time::Duration;

use kvreg::{Bucket, BucketOptions, Error, Reason, Registry, RegistryOptions, Restart, ValueRef};

#[test]
fn g15_each_change_has_a_larger_revision() {
    let bucket = Bucket::start().unwrap();
    assert_eq!(bucket.revision(), Ok(0));
    let mut last = 0;
    for len in [0, 8, 100, 4096, 4097, 1 << 20, 3] {
        let text = vec![7; len];
        let revision = bucket.put_entry("k", &text).unwrap();
        assert!(revision > last);
        let entry = bucket.entry::<Vec<u8>>("k").unwrap();
        assert_eq!((entry.value, entry.revision), (text, revision));
        assert_eq!(bucket.revision(), Ok(revision));
        last = revision;
    }
    assert_eq!(bucket.entry::<i64>("none"), Err(Error::NotFound));
}

#[test]
fn g15_buckets_of_a_registry_share_no_revision() {
    let registry = Registry::start().unwrap();
    let mut seen = Vec::new();
    for n in 0..100 {
        let bucket = registry.create(&format!("bucket {}", n % 10)).unwrap();
        seen.push(bucket.put_entry("k", n).unwrap());
        if n % 3 == 0 {
            bucket.stop().unwrap();
        }
    }
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), count);
    registry.stop().unwrap();
}

#[test]
fn g15_no_revision_of_an_earlier_life_fits() {
    let options = RegistryOptions::new().name("g15");
    let registry = Registry::start_with(options).unwrap();
    let options = BucketOptions::new()
        .restart(Restart::Permanent)
        .intensity(u32::MAX, Duration::from_secs(5));
    let mut last = 0;
    for life in 0..100 {
        let bucket = registry.create_with("name", options.clone()).unwrap();
        assert_eq!(bucket.count(), Ok(0));
        let revision = bucket.put_entry("k", life).unwrap();
        assert!(revision > last);
        if last > 0 {
            assert_eq!(bucket.put_if("k", life, last), Err(Error::Conflict));
        }
        last = bucket.put_if("k", life, revision).unwrap();
        match life % 4 {
            0 => bucket.exit(Reason::Crashed, "").unwrap(),
            1 => registry.remove("name").unwrap(),
            2 => bucket.stop().unwrap(),
            _ => registry.exit(Reason::Killed, "").unwrap(),
        }
    }
    registry.stop().unwrap();
}

#[test]
fn g16_a_change_on_a_condition() {
    let bucket = Bucket::start().unwrap();
    let first = bucket.put_if("k", "one", 0).unwrap();
    assert_eq!(bucket.put_if("k", "two", 0), Err(Error::Conflict));
    assert_eq!(bucket.put_if("k", "two", first + 9), Err(Error::Conflict));
    assert_eq!(bucket.delete_if("k", first + 9), Err(Error::Conflict));
    assert_eq!(bucket.delete_if("none", first), Err(Error::NotFound));
    let second = bucket.put_if("k", "two", first).unwrap();
    assert_eq!(
        bucket.delete_if("k", second).unwrap(),
        ValueRef::String("two")
    );
    assert_eq!(bucket.put_if("k", "one", first), Err(Error::Conflict));
    assert_eq!(bucket.revision().unwrap(), second + 1);
}

#[test]
fn g16_values_are_compared_by_type_and_bytes() {
    let bucket = Bucket::start().unwrap();
    let put = |expected, value| bucket.put_if_equal("k", expected, value);
    assert_eq!(put(None::<ValueRef>, None::<ValueRef>), Ok(0));
    put(None, Some(ValueRef::Float(f64::NAN))).unwrap();
    let nan = Some(ValueRef::Float(f64::NAN));
    put(nan, Some(ValueRef::Float(0.0))).unwrap();
    let wrong = [ValueRef::Float(-0.0), ValueRef::Int(0), ValueRef::Nil];
    for wrong in wrong {
        assert_eq!(put(Some(wrong), None), Err(Error::Conflict));
    }
    put(Some(ValueRef::Float(0.0)), None).unwrap();
    assert_eq!(bucket.count(), Ok(0));
}

#[test]
fn sums() {
    let bucket = Bucket::start().unwrap();
    assert_eq!(bucket.add_int("n", i64::MAX), Ok(i64::MAX));
    assert!(matches!(bucket.add_int("n", 1), Err(Error::Limit(_))));
    assert_eq!(bucket.add_int("n", -1), Ok(i64::MAX - 1));
    bucket.put("text", "1").unwrap();
    assert_eq!(bucket.add_int("text", 1), Err(Error::WrongType));
}

#[test]
fn a_limit_of_the_bucket_holds_for_all_of_them() {
    let options = BucketOptions::new().max_keys(1).max_bytes(16);
    let bucket = Bucket::start_with(options).unwrap();
    let revision = bucket.put_if("k", 1, 0).unwrap();
    assert!(matches!(bucket.put_if("new", 1, 0), Err(Error::Limit(_))));
    assert!(matches!(bucket.add_int("new", 1), Err(Error::Limit(_))));
    let large = "x".repeat(17);
    let refused = bucket.put_if("k", &large, revision);
    assert!(matches!(refused, Err(Error::Limit(_))));
    let refused = bucket.put_if_equal("k", Some(1), Some(&*large));
    assert!(matches!(refused, Err(Error::Limit(_))));
    assert_eq!(bucket.entry::<i64>("k").unwrap().revision, revision);
    assert_eq!(bucket.add_int("k", 1), Ok(2));
}
