//! Watches: what they are told, and that they go on.

use super::*;

#[test]
fn a_watch_is_told_what_is_there_and_then_changes() {
    let server = Server::start();
    let bucket = Bucket::open(&server.url(), "watch");
    let empty = bucket.watch();
    empty.told.expect(&["reset", "current 0"]);
    bucket.put("a", Value::Int(1));
    bucket.put("b", string("x"));
    bucket.write(&[delete("a")]).unwrap();
    empty
        .told
        .expect(&["1 a = int 1", "2 b = string x", "3 a deleted"]);
    let later = bucket.watch();
    later.told.expect(&["reset", "2 b = string x", "current 3"]);
    bucket.put("b", Value::Nil);
    later.told.expect(&["4 b = nil"]);
    empty.told.expect(&["4 b = nil"]);
    drop(later);
    bucket.put("c", Value::Bool(true));
    empty.told.expect(&["5 c = bool true"]);
    assert!(bucket.listener.is_silent());
}

#[test]
fn many_changes_are_told_in_their_order() {
    const CHANGES: u64 = 3000;
    let server = Server::start();
    let bucket = Bucket::open(&server.url(), "order");
    let watch = bucket.watch();
    watch.told.expect(&["reset", "current 0"]);
    let sent: Vec<Sent> = (0..CHANGES).map(|_| Sent::default()).collect();
    for (at, sent) in sent.iter().enumerate() {
        let key = format!("k{at}");
        bucket.send(&[put(&key, Value::Int(at as i64))], soon(), sent);
    }
    for at in 0..CHANGES {
        assert_eq!(watch.told.next(), format!("{} k{at} = int {at}", at + 1));
    }
    let later = bucket.watch();
    assert_eq!(later.told.next(), "reset");
    (0..CHANGES).for_each(|_| drop(later.told.next()));
    assert_eq!(later.told.next(), format!("current {CHANGES}"));
}

#[test]
fn a_watch_goes_on_after_a_restart() {
    let mut server = Server::start();
    let bucket = Bucket::open(&server.url(), "resumes");
    bucket.put("a", Value::Int(1));
    let watch = bucket.watch();
    watch.told.expect(&["reset", "1 a = int 1", "current 1"]);
    server.kill();
    bucket.listener.expect(&["away"]);
    server.restart();
    bucket.listener.expect(&["up"]);
    bucket.put("b", Value::Int(2));
    watch.told.expect(&["2 b = int 2"]);
}

#[test]
fn what_changes_while_a_watch_is_cut_off_is_told_later() {
    let server = Server::start();
    let road = Road::to(&server);
    let bucket = Bucket::open(&road.url(), "cut");
    let near = Bucket::open(&server.url(), "cut");
    near.put("a", Value::Int(1));
    let watch = bucket.watch();
    watch.told.expect(&["reset", "1 a = int 1", "current 1"]);
    road.block();
    bucket.listener.expect(&["away"]);
    near.put("b", Value::Int(2));
    near.write(&[delete("b")]).unwrap();
    near.put("c", Value::Int(3));
    road.unblock();
    bucket.listener.expect(&["up"]);
    watch.told.expect(&["3 b deleted", "4 c = int 3"]);
}

#[test]
fn a_bucket_made_anew_is_told_anew() {
    let server = Server::start();
    let road = Road::to(&server);
    let bucket = Bucket::open(&road.url(), "anew");
    bucket.put("a", Value::Int(1));
    bucket.put("b", Value::Int(1));
    let watch = bucket.watch();
    watch.told.until("current 2");
    road.block();
    bucket.listener.expect(&["away"]);
    assert_eq!(erase(&server.url(), "anew"), abi::OK);
    let near = Bucket::open(&server.url(), "anew");
    for at in 2..6 {
        near.put("c", Value::Int(at));
    }
    road.unblock();
    bucket.listener.expect(&["up"]);
    watch.told.expect(&["reset", "4 c = int 5", "current 4"]);
    bucket.put("d", Value::Nil);
    watch.told.expect(&["5 d = nil"]);
}

#[test]
fn a_bucket_that_lost_changes_is_told_anew() {
    let mut server = Server::start();
    let bucket = Bucket::open(&server.url(), "lost");
    bucket.put("a", Value::Int(1));
    let watch = bucket.watch();
    watch.told.until("current 1");
    server.kill();
    bucket.listener.expect(&["away"]);
    server.forget_all();
    // The same port leads to a server that has a bucket of this name.
    let stand_in = Server::start();
    Bucket::open(&stand_in.url(), "lost").put("b", Value::Int(2));
    let road = Road::on(server.port, &stand_in);
    bucket.listener.expect(&["up"]);
    watch.told.expect(&["reset", "1 b = int 2", "current 1"]);
    drop(road);
}

#[test]
fn a_bucket_that_others_erase_is_deleted() {
    let server = Server::start();
    let bucket = Bucket::open(&server.url(), "deleted");
    let watch = bucket.watch();
    watch.told.expect(&["reset", "current 0"]);
    assert_eq!(erase(&server.url(), "deleted"), abi::OK);
    // The watch finds it.
    bucket.listener.expect(&["deleted"]);
    assert_eq!(bucket.write(&[put("a", Value::Nil)]), Err(abi::IO));
    assert!(explained().contains("erased"));
    assert_eq!(bucket.get("a"), Err(abi::IO));
}

#[test]
fn calls_find_that_a_bucket_is_deleted() {
    let server = Server::start();
    let bucket = Bucket::open(&server.url(), "gone");
    assert_eq!(erase(&server.url(), "gone"), abi::OK);
    assert_eq!(erase(&server.url(), "gone"), abi::NOT_FOUND);
    assert_eq!(bucket.write(&[put("a", Value::Nil)]), Err(abi::IO));
    bucket.listener.expect(&["deleted"]);
}
