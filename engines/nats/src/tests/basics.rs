//! Keys of one server: types, revisions, names.

use super::*;
use std::sync::Arc;

#[test]
fn values_keep_their_types() {
    let server = Server::start();
    let bucket = Bucket::open(&server.url(), "types");
    let values = [
        Value::Nil,
        Value::Bool(false),
        Value::Bool(true),
        Value::Int(i64::MIN),
        Value::Int(i64::MAX),
        Value::Float(-0.0),
        Value::Float(0.1),
        Value::Float(f64::INFINITY),
        Value::Float(f64::NAN),
        string(""),
        string("12"),
        string("zwölf"),
        Value::Bytes(vec![].into()),
        Value::Bytes(vec![0xff, 0].into()),
        Value::Bytes(b"12".to_vec().into()),
    ];
    for value in values {
        let text = text_of(&value);
        let revision = bucket.put("k", value);
        let found = bucket.get("k").unwrap();
        assert_eq!(
            (found.value, found.revision, found.expires_ms),
            (text, revision, -1)
        );
    }
}

#[test]
fn large_values_are_stored_up_to_the_servers_limit() {
    let server = Server::start();
    let bucket = Bucket::open(&server.url(), "large");
    let large = Value::Bytes(vec![7; 1_000_000].into());
    let text = text_of(&large);
    bucket.put("k", large);
    assert_eq!(bucket.value("k"), text);
    let too_large = Value::Bytes(vec![7; 1_100_000].into());
    assert_eq!(bucket.write(&[put("k", too_large)]), Err(abi::LIMIT));
    assert_eq!(bucket.value("k"), text);
}

#[test]
fn keys_come_and_go_by_rising_revisions() {
    let server = Server::start();
    let bucket = Bucket::open(&server.url(), "keys");
    assert_eq!(bucket.get("a"), Err(abi::NOT_FOUND));
    assert_eq!(bucket.count(), (0, 0));
    let first = bucket.put("a", Value::Int(1));
    let second = bucket.put("b", Value::Int(2));
    let third = bucket.write(&[delete("a")]).unwrap();
    assert!(first < second && second < third);
    assert_eq!(bucket.get("a"), Err(abi::NOT_FOUND));
    assert_eq!(bucket.count(), (1, third));
    let fourth = bucket.write(&[delete("never")]).unwrap();
    assert_eq!(bucket.count(), (1, fourth));
    assert_eq!(bucket.keys(b"", None), ["b"]);
    // Another one that opens it finds the same.
    drop(bucket);
    let bucket = Bucket::open(&server.url(), "keys");
    assert_eq!(bucket.value("b"), "int 2");
    assert_eq!(bucket.count(), (1, fourth));
}

#[test]
fn conditions_are_on_the_revision() {
    let server = Server::start();
    let bucket = Bucket::open(&server.url(), "conditions");
    let ask = |expected| [put("k", Value::Int(1)).expecting(expected)];
    let first = bucket.write(&ask(0)).unwrap();
    assert_eq!(bucket.write(&ask(0)), Err(abi::CONFLICT));
    assert!(explained().contains("revision"));
    let second = bucket.write(&ask(first)).unwrap();
    assert_eq!(bucket.write(&ask(first)), Err(abi::CONFLICT));
    assert_eq!(
        bucket.write(&[delete("k").expecting(first)]),
        Err(abi::CONFLICT)
    );
    bucket.write(&[delete("k").expecting(second)]).unwrap();
    // A key that was deleted is absent: twice, as its marker is another one then.
    for _ in 0..2 {
        let revision = bucket.write(&ask(0)).unwrap();
        assert_eq!(bucket.get("k").unwrap().revision, revision);
        bucket.write(&[delete("k")]).unwrap();
    }
    bucket.write(&[delete("k").expecting(0)]).unwrap();
    assert_eq!(
        bucket.write(&[delete("k").expecting(first)]),
        Err(abi::CONFLICT)
    );
}

#[test]
fn scans_tell_what_is_asked() {
    let server = Server::start();
    let bucket = Bucket::open(&server.url(), "scan");
    for key in ["a", "a.b", "a.b.c", "a.bc", "b", "c.d"] {
        bucket.put(key, string(key));
    }
    bucket.write(&[delete("c.d")]).unwrap();
    assert_eq!(bucket.keys(b"", None), ["a", "a.b", "a.b.c", "a.bc", "b"]);
    assert_eq!(bucket.keys(b"a.b", None), ["a.b", "a.b.c", "a.bc"]);
    assert_eq!(bucket.keys(b"a.b.", None), ["a.b.c"]);
    assert_eq!(bucket.keys(b"c.", None), [""; 0]);
    assert_eq!(bucket.keys(b"x*.y", None), [""; 0]);
    assert_eq!(bucket.keys(b"a", Some(b"a.b")), ["a.b.c", "a.bc"]);
    let keys_only = bucket.scan(&ScanOptions::of(abi::KEYS_ONLY, b"", None));
    assert_eq!(keys_only.len(), 5);
    assert!(keys_only
        .values()
        .all(|it| it.value == "nil" && it.revision > 0));
}

#[test]
fn many_keys_are_scanned_in_parts_while_others_change_them() {
    const KEYS: usize = 3000;
    let server = Server::start();
    let bucket = Arc::new(Bucket::open(&server.url(), "many"));
    let sent: Vec<Sent> = (0..KEYS).map(|_| Sent::default()).collect();
    for (at, sent) in sent.iter().enumerate() {
        let key = format!("k{at}");
        assert_eq!(
            bucket.send(&[put(&key, Value::Int(0))], soon(), sent),
            abi::OK
        );
    }
    sent.iter().for_each(|it| assert_eq!(it.wait().0, abi::OK));
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writer = {
        let (bucket, stop) = (Arc::clone(&bucket), Arc::clone(&stop));
        std::thread::spawn(move || {
            for at in (0..KEYS).cycle() {
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    return;
                }
                bucket.put(&format!("k{at}"), Value::Int(1));
            }
        })
    };
    for _ in 0..3 {
        assert_eq!(bucket.scan(&ScanOptions::of(0, b"", None)).len(), KEYS);
        assert_eq!(bucket.count().0, KEYS as u64);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    writer.join().unwrap();
}

#[test]
fn keys_and_names_that_cannot_be_are_refused() {
    let server = Server::start();
    let bucket = Bucket::open(&server.url(), "names");
    for key in [
        "",
        ".",
        "a.",
        "a..b",
        "a b",
        "*",
        ">",
        "ä",
        &"k".repeat(4096),
    ] {
        assert_eq!(
            bucket.write(&[put(key, Value::Nil)]),
            Err(abi::INVALID_ARGUMENT),
            "{key}"
        );
        assert_eq!(bucket.get(key), Err(abi::INVALID_ARGUMENT), "{key}");
    }
    let long = "k".repeat(4000);
    bucket.put(&long, Value::Int(1));
    assert_eq!(bucket.value(&long), "int 1");
    assert_eq!(bucket.keys(b"", None), [long]);
    for name in ["a.b", "a b", "ä", &"b".repeat(253)] {
        let refused = Bucket::try_open(&server.url(), name, soon()).err();
        assert_eq!(refused, Some(abi::INVALID_ARGUMENT), "{name}");
    }
}

#[test]
fn coded_keys_are_any() {
    let server = Server::start();
    let url = format!("{}?keys=base64", server.url());
    let bucket = Bucket::open(&url, "coded");
    let keys = [vec![], vec![0, 255], b"a b.*".to_vec(), vec![b'x'; 3000]];
    for (at, key) in keys.iter().enumerate() {
        let ask = Ask {
            key,
            ..put("", Value::Int(at as i64))
        };
        bucket.write(&[ask]).unwrap();
    }
    for (at, key) in keys.iter().enumerate() {
        assert_eq!(
            bucket.get_by(key, soon()).unwrap().value,
            format!("int {at}")
        );
    }
    let too_long = bucket.get_by(&[b'x'; 3001], soon());
    assert_eq!(too_long, Err(abi::INVALID_ARGUMENT));
    let mut expected = keys.to_vec();
    expected.sort();
    let all = bucket.scan(&ScanOptions::of(0, b"", None));
    assert_eq!(all.into_keys().collect::<Vec<_>>(), expected);
    assert_eq!(bucket.scan(&ScanOptions::of(0, b"a ", None)).len(), 1);
    assert_eq!(bucket.count().0, 4);
}

#[test]
fn two_stores_of_one_url_see_the_same() {
    let server = Server::start();
    let url = server.url();
    let (one, other) = (Bucket::open(&url, "two"), Bucket::open(&url, "two"));
    let prefixed = Bucket::open(&format!("{url}?prefix=p_"), "two");
    let revision = one.put("k", Value::Int(1));
    assert_eq!(other.get("k").unwrap().revision, revision);
    assert_eq!(prefixed.get("k"), Err(abi::NOT_FOUND));
    drop(one);
    assert_eq!(
        other.write(&[delete("k").expecting(revision)]),
        Ok(revision + 1)
    );
    assert_eq!(Bucket::open(&url, "p_two").count(), (0, 0));
}
