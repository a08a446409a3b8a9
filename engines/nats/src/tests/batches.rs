//! Several changes, all or none.

use super::*;

#[test]
fn a_batch_has_rising_revisions() {
    let server = Server::start();
    let bucket = Bucket::open(&server.url(), "batch");
    assert_eq!(bucket.abilities(), abi::BATCHES | abi::TTL);
    bucket.put("x", Value::Int(0));
    let first = bucket.write(&[
        put("a", Value::Int(1)),
        put("b", string("2")),
        delete("x"),
        put("c", Value::Float(3.0)),
    ]);
    assert_eq!(first, Ok(2));
    assert_eq!(bucket.get("a").unwrap().revision, 2);
    assert_eq!(bucket.get("b").unwrap().revision, 3);
    assert_eq!(bucket.get("x"), Err(abi::NOT_FOUND));
    assert_eq!(bucket.get("c").unwrap().revision, 5);
    assert_eq!(bucket.write(&[]), Ok(0));
}

#[test]
fn a_batch_with_a_condition_that_fails_is_not_done() {
    let server = Server::start();
    let bucket = Bucket::open(&server.url(), "conditions");
    let revision = bucket.put("k", Value::Int(0));
    bucket.put("gone", Value::Int(0));
    bucket.write(&[delete("gone")]).unwrap();
    let attempt = |k, a, gone| {
        bucket.write(&[
            put("other", Value::Int(1)),
            put("k", Value::Int(1)).expecting(k),
            put("a", Value::Int(1)).expecting(a),
            put("gone", Value::Int(1)).expecting(gone),
        ])
    };
    assert_eq!(attempt(revision + 1, 0, 0), Err(abi::CONFLICT));
    assert_eq!(attempt(revision, 1, 0), Err(abi::CONFLICT));
    assert_eq!(attempt(0, 0, 0), Err(abi::CONFLICT));
    assert_eq!(bucket.keys(b"", None), ["k"]);
    assert_eq!(bucket.count(), (1, 3));
    // Absent is a key that never was, and one that was deleted.
    assert_eq!(attempt(revision, 0, 0), Ok(4));
    assert_eq!(bucket.keys(b"", None), ["a", "gone", "k", "other"]);
}

#[test]
fn a_batch_has_at_most_a_thousand_changes() {
    let server = Server::start();
    let bucket = Bucket::open(&server.url(), "thousand");
    let keys: Vec<String> = (0..1001).map(|at| format!("k{at}")).collect();
    let asks: Vec<Ask<'_>> = keys.iter().map(|key| put(key, Value::Nil)).collect();
    assert_eq!(bucket.write(&asks), Err(abi::LIMIT));
    assert_eq!(bucket.count(), (0, 0));
    assert_eq!(bucket.write(&asks[1..]), Ok(1));
    assert_eq!(bucket.count(), (1000, 1000));
    let sent = Sent::default();
    assert_eq!(bucket.send(&asks[..1000], soon(), &sent), abi::OK);
    assert_eq!(sent.wait(), (abi::OK, 1001));
    assert_eq!(bucket.count(), (1001, 2000));
}

#[test]
fn a_batch_too_large_for_a_message_is_not_done() {
    let server = Server::start();
    let bucket = Bucket::open(&server.url(), "large");
    let large = Value::Bytes(vec![0; 1_100_000].into());
    for asks in [
        [put("a", Value::Nil), put("b", large.clone())],
        [put("b", large), put("a", Value::Nil)],
    ] {
        assert_eq!(bucket.write(&asks), Err(abi::LIMIT));
    }
    assert_eq!(bucket.count().0, 0);
    bucket
        .write(&[put("a", Value::Nil), put("b", Value::Nil)])
        .unwrap();
}
