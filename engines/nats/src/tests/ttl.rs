//! Times to live: the server ends them, and leaves a marker.

use super::*;

const LONG: Duration = Duration::from_secs(1000);

#[test]
fn a_key_goes_when_its_time_is_over() {
    let server = Server::start();
    let bucket = Bucket::open(&server.url(), "ttl");
    let watch = bucket.watch();
    watch.told.expect(&["reset", "current 0"]);
    let before = now_ms();
    // Rounded up to whole seconds, at least one.
    for (key, ttl) in [("a", 1), ("b", 900)] {
        bucket
            .write(&[put(key, Value::Int(1)).living(Duration::from_millis(ttl))])
            .unwrap();
    }
    watch
        .told
        .expect(&["1 a = int 1 for a while", "2 b = int 1 for a while"]);
    watch.told.expect(&["3 a expired", "4 b expired"]);
    assert!(now_ms() - before >= 990, "not before its time");
    assert_eq!(bucket.get("a"), Err(abi::NOT_FOUND));
    assert_eq!(bucket.count(), (0, 4));
    // Its marker is in nobody's way.
    bucket
        .write(&[put("a", Value::Int(2)).expecting(0)])
        .unwrap();
    watch.told.expect(&["5 a = int 2"]);
    let later = bucket.watch();
    later.told.expect(&["reset", "5 a = int 2", "current 5"]);
}

#[test]
fn entries_tell_when_they_go() {
    let server = Server::start();
    let bucket = Bucket::open(&server.url(), "when");
    let asked = now_ms() + LONG.as_millis() as i64;
    bucket
        .write(&[put("a", Value::Int(1)).living(LONG)])
        .unwrap();
    let found = bucket.get("a").unwrap();
    // Up to a whole second later, and what the write took.
    let is_about = |it: i64| (asked - 1..asked + 61_000).contains(&it);
    assert!(
        is_about(found.expires_ms),
        "{} for {asked}",
        found.expires_ms
    );
    let all = bucket.scan(&ScanOptions::of(0, b"", None));
    assert_eq!(all[&b"a"[..]], found);
    bucket.put("a", Value::Int(2));
    assert_eq!(bucket.get("a").unwrap().expires_ms, -1);
}

#[test]
fn batches_have_times_to_live_too() {
    let server = Server::start();
    let bucket = Bucket::open(&server.url(), "both");
    let batch = [
        put("a", Value::Int(1)).living(LONG),
        put("b", Value::Int(1)),
    ];
    bucket.write(&batch).unwrap();
    assert!(bucket.get("a").unwrap().expires_ms > now_ms());
    assert_eq!(bucket.get("b").unwrap().expires_ms, -1);
}

#[test]
fn a_key_that_went_while_a_watch_was_cut_off_is_told() {
    let server = Server::start();
    let road = Road::to(&server);
    let bucket = Bucket::open(&road.url(), "cut");
    let watch = bucket.watch();
    watch.told.expect(&["reset", "current 0"]);
    bucket
        .write(&[put("a", Value::Int(1)).living(Duration::from_secs(1))])
        .unwrap();
    watch.told.expect(&["1 a = int 1 for a while"]);
    road.block();
    bucket.listener.expect(&["away"]);
    let near = Bucket::open(&server.url(), "cut");
    eventually("it is gone", || near.get("a") == Err(abi::NOT_FOUND));
    road.unblock();
    watch.told.expect(&["2 a expired"]);
}
