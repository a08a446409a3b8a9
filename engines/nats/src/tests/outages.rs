//! Servers that are away: what calls answer, and what became of their changes.

use super::*;
use std::sync::Arc;

const SHORT: Duration = Duration::from_millis(400);
/// No call is later than this after its deadline.
const LATE: Duration = Duration::from_millis(50);

/// Runs a call with a deadline, and checks that it keeps it. A machine that is busy may be late
/// itself: so it is asked again, and once is enough.
fn in_short<T>(mut call: impl FnMut(i64) -> T) -> Vec<T> {
    let mut answers = Vec::new();
    loop {
        let begin = Instant::now();
        answers.push(call(in_time(SHORT)));
        if begin.elapsed() <= SHORT + LATE {
            return answers;
        }
        assert!(answers.len() < 20, "a call is late");
    }
}

#[test]
fn a_server_that_is_down_gets_nothing_later() {
    let mut server = Server::start();
    let bucket = Bucket::open(&server.url(), "down");
    bucket.put("before", Value::Int(1));
    server.kill();
    bucket.listener.expect(&["away"]);
    for answer in in_short(|deadline| bucket.write_by(&[put("k", Value::Nil)], deadline)) {
        assert_eq!(answer, Err(abi::TIMEOUT));
    }
    let batch = [put("k", Value::Nil), put("l", Value::Nil)];
    for answer in in_short(|deadline| bucket.write_by(&batch, deadline)) {
        assert_eq!(answer, Err(abi::TIMEOUT));
    }
    for answer in in_short(|deadline| bucket.get_by(b"before", deadline)) {
        assert_eq!(answer, Err(abi::TIMEOUT));
    }
    let sent = Sent::default();
    assert_eq!(
        bucket.send(&[put("k", Value::Nil)], in_time(SHORT), &sent),
        abi::OK
    );
    assert_eq!(sent.wait(), (abi::TIMEOUT, 0));
    server.restart();
    bucket.listener.expect(&["up"]);
    // What was put after is the next: nothing of the others was done.
    assert_eq!(bucket.put("after", Value::Int(2)), 2);
    assert_eq!(bucket.keys(b"", None), ["after", "before"]);
}

#[test]
fn a_deadline_that_is_over_lets_nothing_be_done() {
    let server = Server::start();
    let bucket = Bucket::open(&server.url(), "over");
    assert_eq!(
        bucket.write_by(&[put("k", Value::Nil)], clock()),
        Err(abi::TIMEOUT)
    );
    assert_eq!(bucket.get_by(b"k", clock()), Err(abi::TIMEOUT));
    let sent = Sent::default();
    bucket.send(&[put("k", Value::Nil)], clock(), &sent);
    assert_eq!(sent.wait(), (abi::TIMEOUT, 0));
    assert_eq!(bucket.count(), (0, 0));
}

#[test]
fn a_call_waits_for_a_server_that_comes_back() {
    let mut server = Server::start();
    let bucket = Arc::new(Bucket::open(&server.url(), "back"));
    server.kill();
    bucket.listener.expect(&["away"]);
    let writer = {
        let bucket = Arc::clone(&bucket);
        std::thread::spawn(move || bucket.write(&[put("k", Value::Int(1))]))
    };
    let sent = Sent::default();
    bucket.send(&[put("l", Value::Int(1))], i64::MAX, &sent);
    assert_eq!(sent.outcome(), None);
    server.restart();
    writer.join().unwrap().unwrap();
    assert_eq!(sent.wait().0, abi::OK);
    assert_eq!(bucket.keys(b"", None), ["k", "l"]);
    assert_eq!(bucket.count(), (2, 2));
}

#[test]
fn a_frozen_server_leaves_the_outcome_unknown() {
    let server = Server::start();
    let bucket = Bucket::open(&server.url(), "frozen");
    let one = |key: &str, deadline| bucket.write_by(&[put(key, Value::Int(1))], deadline);
    let batch = |deadline| {
        bucket.write_by(
            &[put("c", Value::Int(1)), put("d", Value::Int(1))],
            deadline,
        )
    };
    let send = |deadline| {
        let sent = Sent::default();
        bucket.send(&[put("e", Value::Int(1))], deadline, &sent);
        match sent.wait() {
            (abi::OK, revision) => Ok(revision),
            (status, _) => Err(status),
        }
    };
    let read = |deadline| bucket.get_by(b"a", deadline).map(|it| it.revision);
    let mut last = bucket.put("a", Value::Int(0));
    // Each with the changes that it makes, once the server goes on.
    let mut check = |call: &dyn Fn(i64) -> Result<u64, Status>, expected, changes: u64| {
        let mut frozen = |deadline| {
            server.freeze();
            let answer = call(deadline);
            let was_late = clock() > deadline + LATE.as_nanos() as i64;
            server.thaw();
            assert_eq!(answer, Err(expected));
            let next = bucket.put("after", Value::Int(1));
            assert_eq!(next, last + changes + 1, "all was done, and once");
            last = next;
            was_late
        };
        // A machine that is busy may be late itself: once in time is enough.
        let is_late = (0..20).all(|_| frozen(in_time(SHORT)));
        assert!(!is_late, "a call is late");
    };
    check(&|deadline| one("b", deadline), abi::OUTCOME_UNKNOWN, 1);
    check(&batch, abi::OUTCOME_UNKNOWN, 2);
    check(&send, abi::OUTCOME_UNKNOWN, 1);
    check(&read, abi::TIMEOUT, 0);
    assert_eq!(bucket.keys(b"", None), ["a", "after", "b", "c", "d", "e"]);
}

#[test]
fn a_frozen_server_is_away_until_it_answers() {
    let server = Server::start();
    let bucket = Bucket::open(&server.url(), "thaw");
    server.freeze();
    assert_eq!(bucket.get_by(b"k", in_time(SHORT * 2)), Err(abi::TIMEOUT));
    bucket.listener.expect(&["away"]);
    server.thaw();
    bucket.listener.expect(&["up"]);
    assert_eq!(bucket.get("k"), Err(abi::NOT_FOUND));
}

#[test]
fn a_change_that_is_repeated_is_done_once() {
    let server = Server::start();
    let bucket = Arc::new(Bucket::open(&server.url(), "repeat"));
    let revision = bucket.put("c", Value::Int(0));
    server.freeze();
    let change = |asks: fn(u64) -> Vec<Ask<'static>>| {
        let bucket = Arc::clone(&bucket);
        std::thread::spawn(move || bucket.write(&asks(1)))
    };
    assert_eq!(revision, 1);
    let writers = [
        change(|_| vec![put("a", Value::Int(1))]),
        change(|_| vec![put("b", Value::Int(1)).expecting(0)]),
        change(|revision| vec![put("c", Value::Int(1)).expecting(revision)]),
        change(|_| vec![put("d", Value::Int(1)), put("e", Value::Int(1))]),
    ];
    let sent = Sent::default();
    bucket.send(&[put("f", Value::Int(1))], soon(), &sent);
    // Each was repeated by then.
    std::thread::sleep(crate::apply::PATIENCE + SHORT);
    server.thaw();
    for writer in writers {
        writer.join().unwrap().unwrap();
    }
    assert_eq!(sent.wait().0, abi::OK);
    // Seven changes: so many revisions.
    assert_eq!(bucket.count(), (6, 7));
}

#[test]
fn a_connection_that_breaks_is_no_harm() {
    let server = Server::start();
    let road = Road::to(&server);
    let bucket = Arc::new(Bucket::open(&road.url(), "breaks"));
    const CHANGES: i64 = 300;
    let writer = {
        let bucket = Arc::clone(&bucket);
        std::thread::spawn(move || {
            let mut revision = 0;
            for number in 0..CHANGES {
                // Each depends on the one before: none is lost, and none done twice.
                let ask = put("k", Value::Int(number)).expecting(revision);
                revision = bucket.write(&[ask]).unwrap();
            }
        })
    };
    while !writer.is_finished() {
        road.block();
        road.unblock();
        std::thread::sleep(Duration::from_millis(30));
    }
    writer.join().unwrap();
    assert_eq!(bucket.value("k"), format!("int {}", CHANGES - 1));
    assert_eq!(bucket.count(), (1, CHANGES as u64));
}

#[test]
fn who_waits_is_let_go() {
    let mut server = Server::start();
    let bucket = Arc::new(Bucket::open(&server.url(), "interrupt"));
    server.kill();
    bucket.listener.expect(&["away"]);
    let begin = Instant::now();
    let writer = {
        let bucket = Arc::clone(&bucket);
        std::thread::spawn(move || bucket.write_by(&[put("k", Value::Nil)], i64::MAX))
    };
    let reader = {
        let bucket = Arc::clone(&bucket);
        std::thread::spawn(move || bucket.get_by(b"k", i64::MAX))
    };
    std::thread::sleep(Duration::from_millis(20));
    bucket.interrupt();
    assert_eq!(writer.join().unwrap(), Err(abi::TIMEOUT));
    assert_eq!(reader.join().unwrap(), Err(abi::TIMEOUT));
    // Who comes later too.
    assert_eq!(bucket.get("k"), Err(abi::TIMEOUT));
    assert!(begin.elapsed() < PATIENCE);
}

#[test]
fn who_waits_for_an_answer_is_let_go_with_an_unknown_outcome() {
    let server = Server::start();
    let bucket = Arc::new(Bucket::open(&server.url(), "interrupt"));
    server.freeze();
    let writer = {
        let bucket = Arc::clone(&bucket);
        std::thread::spawn(move || bucket.write_by(&[put("k", Value::Nil)], i64::MAX))
    };
    // It is handed over when the server's side of it has been asked for a look.
    bucket.listener.expect(&["away"]);
    bucket.interrupt();
    assert_eq!(writer.join().unwrap(), Err(abi::OUTCOME_UNKNOWN));
    server.thaw();
}
