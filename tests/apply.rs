//! Several changes in one step, as Rust programs have them (G15, G16).

use kvreg::{Batch, Bucket, BucketOptions, Error, Value};

fn bucket() -> Bucket {
    Bucket::start().unwrap()
}

#[test]
fn g16_all_or_none() {
    let bucket = bucket();
    bucket.put_many([("goes", 1), ("n", 40)]).unwrap();
    let goes = bucket.entry::<i64>("goes").unwrap().revision;
    let mut batch = Batch::new();
    batch
        .put("new", "text")
        .delete_if("goes", goes)
        .add_int("n", 2)
        .put_if("newer", 5, 0);
    let revisions = bucket.apply(&batch).unwrap();
    assert_eq!(revisions.len(), batch.len());
    assert!(revisions.windows(2).all(|pair| pair[1] == pair[0] + 1) && revisions[0] > goes);
    assert_eq!(bucket.revision(), Ok(revisions[3]));
    assert_eq!(bucket.get::<i64>("n"), Ok(42));
    assert_eq!(bucket.get::<Option<i64>>("goes"), Ok(None));
    assert_eq!(bucket.entry::<Value>("new").unwrap().revision, revisions[0]);

    let refused = bucket.apply(&batch).unwrap_err();
    assert_eq!((refused.at, &refused.error), (Some(1), &Error::NotFound));
    assert_eq!(refused.to_string(), "change 1: no such name or key");
    assert_eq!(bucket.revision(), Ok(revisions[3]));
}

#[test]
fn what_cannot_be_taken_note_of_is_told() {
    let bucket = bucket();
    let mut batch = Batch::new();
    assert!(batch.is_empty() && bucket.apply(&batch) == Ok(Vec::new()));
    batch.put("k", 1).put(vec![0; 65537], 2);
    let refused = bucket.apply(&batch).unwrap_err();
    assert_eq!(refused.at, Some(1));
    assert!(matches!(refused.error, Error::InvalidArgument(_)));
    assert_eq!(bucket.count(), Ok(0));
}

#[test]
fn a_limit_is_asked_once_for_all() {
    let mut options = BucketOptions::default();
    (options.max_keys, options.max_value) = (1, 8);
    let bucket = Bucket::start_with(options).unwrap();
    let mut batch = Batch::new();
    batch.put("a", 1).put("b", 2).put("c", 3);
    let refused = bucket.apply(&batch).unwrap_err();
    assert_eq!(
        (refused.at, matches!(refused.error, Error::Limit(_))),
        (Some(1), true)
    );
    batch.delete("a").delete("b");
    bucket.apply(&batch).unwrap();
    assert_eq!(bucket.count(), Ok(1));
    let mut large = Batch::new();
    large.put("c", 1).put("c", "more than 8");
    assert_eq!(bucket.apply(&large).unwrap_err().at, Some(1));
    assert_eq!(bucket.get::<i64>("c"), Ok(3));
}

#[test]
fn an_ended_bucket_is_due_to_no_change() {
    let bucket = bucket();
    let mut batch = Batch::new();
    batch.put("a", 1);
    bucket.stop().unwrap();
    let refused = bucket.apply(&batch).unwrap_err();
    assert_eq!((refused.at, refused.error), (None, Error::NoProcess));
}
