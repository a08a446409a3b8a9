//! The guide's own tests (Elixir's "Client-server communication with GenServer" and "Agents"),
//! in Rust.

use kvreg::{Bucket, Error, Event, Inbox, Reason, Registry, Timeout, Value, ValueRef, Verdict};

#[test]
fn an_unknown_name_is_not_found() {
    let registry = Registry::start().unwrap();
    assert_eq!(registry.lookup("shopping").err(), Some(Error::NotFound));
}

#[test]
fn spawns_buckets() {
    let registry = Registry::start().unwrap();
    registry.create("shopping").unwrap();
    let bucket = registry.lookup("shopping").unwrap();
    bucket.put(b"milk", 1).unwrap();
    assert_eq!(bucket.get(b"milk"), Ok(Value::Int(1)));
}

#[test]
fn a_missing_key_is_not_found() {
    let bucket = Bucket::start().unwrap();
    assert_eq!(bucket.get::<Value>(b"milk"), Err(Error::NotFound));
    assert_eq!(bucket.delete(b"milk"), Err(Error::NotFound));
}

#[test]
fn delete_answers_the_value() {
    let bucket = Bucket::start().unwrap();
    bucket.put(b"milk", "3").unwrap();
    assert_eq!(bucket.delete(b"milk").unwrap(), ValueRef::String("3"));
    assert_eq!(bucket.get::<Value>(b"milk"), Err(Error::NotFound));
}

#[test]
fn removes_buckets_on_exit() {
    let registry = Registry::start().unwrap();
    let bucket = registry.create("shopping").unwrap();
    bucket.stop().unwrap();
    assert_eq!(registry.lookup("shopping").err(), Some(Error::NotFound));
}

#[test]
fn removes_buckets_on_shutdown() {
    let registry = Registry::start().unwrap();
    let bucket = registry.create("shopping").unwrap();
    let inbox = Inbox::open().unwrap();
    let reference = inbox.monitor(&bucket).unwrap();
    bucket.exit(Reason::Shutdown, "").unwrap();
    assert_eq!(registry.lookup("shopping").err(), Some(Error::NotFound));
    let down = inbox.receive(Timeout::Never).unwrap();
    assert!(
        matches!(
            &down,
            Event::Down { reference: of, reason: Reason::Shutdown, name: Some(name), .. }
                if *of == reference && name == "shopping"
        ),
        "{down:?}"
    );
}

#[test]
fn a_bucket_can_crash_at_any_time() {
    let registry = Registry::start().unwrap();
    let bucket = registry.create("shopping").unwrap();
    bucket.exit(Reason::Shutdown, "").unwrap();
    assert_eq!(bucket.put(b"milk", 3), Err(Error::NoProcess));
    assert_eq!(bucket.get::<Value>(b"milk"), Err(Error::NoProcess));

    let bucket = registry.create("shopping").unwrap();
    let crashed = bucket.update(b"milk", |_| Verdict::Crash);
    assert_eq!(crashed, Err(Error::ServerDown));
    assert_eq!(bucket.count(), Err(Error::NoProcess));
    assert_eq!(registry.lookup("shopping").err(), Some(Error::NotFound));
}

#[test]
fn creating_twice_gives_the_same_bucket() {
    let registry = Registry::start().unwrap();
    let first = registry.create("shopping").unwrap();
    let second = registry.create("shopping").unwrap();
    assert!(first.is(&second));
    let exclusive = registry.create_exclusive("shopping");
    assert_eq!(exclusive.err(), Some(Error::AlreadyStarted));
    assert_eq!(registry.count(), Ok(1));
}

#[test]
fn a_cast_create_is_seen_by_the_next_lookup_a_million_times() {
    let registry = Registry::start().unwrap();
    for number in 0..1_000_000 {
        let name = number.to_string();
        registry.create_cast(&name).unwrap();
        let bucket = registry.lookup(&name).unwrap();
        bucket.stop().unwrap();
    }
    assert_eq!(registry.count(), Ok(0));
}

/// The same while others keep the registry busy, so that casts are queued.
#[test]
fn a_cast_create_is_seen_by_the_next_lookup_in_a_crowd() {
    let registry = Registry::start().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let registry = &registry;
            scope.spawn(move || {
                for number in 0..50_000 {
                    let name = format!("{thread} {number}");
                    registry.create_cast(&name).unwrap();
                    registry.lookup(&name).unwrap().stop().unwrap();
                }
            });
        }
    });
    assert_eq!(registry.count(), Ok(0));
}
