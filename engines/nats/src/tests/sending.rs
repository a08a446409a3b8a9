//! Changes that nobody waits for.

use super::*;

fn sents(count: usize) -> Vec<Sent> {
    (0..count).map(|_| Sent::default()).collect()
}

#[test]
fn changes_of_one_thread_are_stored_in_their_order() {
    let server = Server::start();
    let bucket = Bucket::open(&server.url(), "order");
    let sent = sents(5000);
    for (at, sent) in sent.iter().enumerate() {
        let value = Value::Int(at as i64);
        // Some with conditions, and some batches, which go alone.
        let asks = match at % 100 {
            50 => vec![put("k", value.clone()), put("other", value)],
            99 => vec![delete("k")],
            0 => vec![put("k", value).expecting(0)],
            _ => vec![put("k", value)],
        };
        assert_eq!(bucket.send(&asks, soon(), sent), abi::OK);
    }
    let mut last = 0;
    for sent in &sent {
        let (status, revision) = sent.wait();
        assert_eq!(status, abi::OK);
        assert!(revision > last, "{revision} after {last}");
        last = revision;
    }
    assert_eq!(bucket.get("k"), Err(abi::NOT_FOUND));
    assert_eq!(bucket.value("other"), "int 4950");
}

#[test]
fn closing_waits_for_what_was_sent() {
    let server = Server::start();
    let bucket = Bucket::open(&server.url(), "close");
    let sent = sents(3000);
    for (at, sent) in sent.iter().enumerate() {
        let key = format!("k{at}");
        bucket.send(&[put(&key, Value::Nil)], soon(), sent);
    }
    bucket.interrupt();
    drop(bucket);
    assert!(sent
        .iter()
        .all(|it| it.outcome().is_some_and(|it| it.0 == abi::OK)));
    let bucket = Bucket::open(&server.url(), "close");
    assert_eq!(bucket.count(), (3000, 3000));
}

#[test]
fn closing_waits_no_longer_than_the_deadlines() {
    let mut server = Server::start();
    let bucket = Bucket::open(&server.url(), "late");
    server.kill();
    bucket.listener.expect(&["away"]);
    let sent = sents(100);
    for sent in &sent {
        bucket.send(
            &[put("k", Value::Nil)],
            in_time(Duration::from_millis(200)),
            sent,
        );
    }
    drop(bucket);
    assert!(sent
        .iter()
        .all(|it| it.outcome() == Some((abi::TIMEOUT, 0))));
}

#[test]
fn a_late_one_does_not_wait_for_one_before_it_that_may() {
    let mut server = Server::start();
    let bucket = Bucket::open(&server.url(), "before");
    server.kill();
    bucket.listener.expect(&["away"]);
    let (patient, late) = (Sent::default(), Sent::default());
    bucket.send(&[put("a", Value::Nil)], i64::MAX, &patient);
    bucket.send(
        &[put("b", Value::Nil)],
        in_time(Duration::from_millis(50)),
        &late,
    );
    assert_eq!(late.wait(), (abi::TIMEOUT, 0));
    assert_eq!(patient.outcome(), None);
    server.restart();
    assert_eq!(patient.wait(), (abi::OK, 1));
}

#[test]
fn the_order_outlives_connections_that_break() {
    let server = Server::start();
    let road = Road::to(&server);
    let bucket = Bucket::open(&road.url(), "breaks");
    let sent = sents(4000);
    for (at, sent) in sent.iter().enumerate() {
        if at % 500 == 499 {
            road.block();
            road.unblock();
        }
        bucket.send(&[put("k", Value::Int(at as i64))], soon(), sent);
    }
    let mut last = 0;
    for sent in &sent {
        let (status, revision) = sent.wait();
        assert_eq!(status, abi::OK);
        assert!(revision > last, "{revision} after {last}");
        last = revision;
    }
    assert_eq!(bucket.value("k"), "int 3999");
    assert_eq!(bucket.count(), (1, 4000));
}

#[test]
fn what_cannot_be_sent_is_refused_at_once_or_told() {
    let server = Server::start();
    let bucket = Bucket::open(&server.url(), "refused");
    let sent = sents(3);
    assert_eq!(
        bucket.send(&[put("a b", Value::Nil)], soon(), &sent[0]),
        abi::INVALID_ARGUMENT
    );
    let large = Value::Bytes(vec![0; 1_100_000].into());
    assert_eq!(
        bucket.send(&[put("large", large)], soon(), &sent[1]),
        abi::OK
    );
    let conflicts = put("k", Value::Nil).expecting(7);
    assert_eq!(bucket.send(&[conflicts], soon(), &sent[2]), abi::OK);
    assert_eq!(sent[1].wait(), (abi::LIMIT, 0));
    assert_eq!(sent[2].wait(), (abi::CONFLICT, 0));
    drop(bucket);
    assert_eq!(sent[0].outcome(), None);
}
