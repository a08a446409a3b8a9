//! G8: who would wait for itself is told, alone or in a circle, and how many turns a thread holds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{mpsc, Barrier};

use kvreg::{Bucket, Error, Inbox, Registry, Timeout, Value, Verdict};

mod common;
use common::{cast, patient};

fn int(value: i64) -> Verdict {
    Verdict::Store(Value::Int(value))
}

#[test]
fn g8_a_server_that_calls_itself_is_told() {
    let registry = Registry::start().unwrap();
    let mut bucket = registry.create("shopping").unwrap();
    bucket.set_timeout(Timeout::Never);
    bucket.put(b"milk", 1).unwrap();
    let inbox = Inbox::open().unwrap();
    bucket
        .update(b"milk", |_| {
            assert_eq!(bucket.put(b"milk", 2), Err(Error::CallingSelf));
            assert_eq!(bucket.update(b"milk", |_| int(3)), Err(Error::CallingSelf));
            assert_eq!(bucket.clear(), Err(Error::CallingSelf));
            assert_eq!(bucket.stop(), Err(Error::CallingSelf));
            assert_eq!(registry.stop(), Err(Error::CallingSelf));
            assert_eq!(inbox.receive(Timeout::Never), Err(Error::CallingSelf));
            assert_eq!(inbox.receive(Timeout::Now), Err(Error::Timeout));
            // Reads see the state before the update, and a cast is done after it.
            cast(|| bucket.put_cast(b"eggs", 3)).unwrap();
            assert_eq!(bucket.get(b"milk"), Ok(Value::Int(1)));
            assert_eq!(bucket.count(), Ok(1));
            assert_eq!(bucket.items().unwrap().len(), 1);
            int(4)
        })
        .unwrap();
    assert_eq!(bucket.get(b"milk"), Ok(Value::Int(4)));
    assert_eq!(bucket.get(b"eggs"), Ok(Value::Int(3)));
}

fn circle(size: usize, wait: impl Fn(&Bucket) -> Result<(), Error> + Sync) {
    let buckets: Vec<_> = (0..size).map(|_| patient()).collect();
    let all_inside = Barrier::new(size);
    let told = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for place in 0..size {
            let (buckets, all_inside, told, wait) = (&buckets, &all_inside, &told, &wait);
            scope.spawn(move || {
                let update = buckets[place].update_begin(b"n").unwrap();
                all_inside.wait();
                match wait(&buckets[(place + 1) % size]) {
                    Ok(()) => {}
                    Err(Error::CallingSelf) => drop(told.fetch_add(1, Ordering::SeqCst)),
                    Err(Error::NoProcess | Error::ServerDown) => {}
                    Err(other) => panic!("{other:?}"),
                }
                drop(update);
            });
        }
    });
    // With endless timeouts: that it came this far shows that nobody waited for ever.
    assert!(told.load(Ordering::SeqCst) >= 1);
}

#[test]
fn g8_circles_end_at_once() {
    for size in [2, 3, 10] {
        for _ in 0..50 {
            circle(size, |next| next.put(b"n", 1));
            circle(size, Bucket::stop);
            circle(size, |next| {
                // A read that must wait for the thread's own cast.
                next.update_cast(b"n", |_| Verdict::Keep).unwrap();
                next.count().map(|_| ())
            });
        }
    }
}

#[test]
fn g8_a_thread_that_holds_nothing_just_waits() {
    let bucket = patient();
    let (entered, inside) = mpsc::channel();
    let (leave, left) = mpsc::channel();
    std::thread::scope(|scope| {
        let bucket = &bucket;
        scope.spawn(move || {
            bucket
                .update(b"n", |_| {
                    entered.send(()).unwrap();
                    left.recv().unwrap();
                    int(1)
                })
                .unwrap();
        });
        inside.recv().unwrap();
        assert_eq!(
            bucket.get::<Value>(b"n"),
            Err(Error::NotFound),
            "a read does not wait"
        );
        let waiting = scope.spawn(move || bucket.put(b"n", 2));
        leave.send(()).unwrap();
        waiting.join().unwrap().unwrap();
    });
    assert_eq!(bucket.get(b"n"), Ok(Value::Int(2)));
}

fn nest(buckets: &[Bucket]) -> usize {
    let Some((first, rest)) = buckets.split_first() else {
        return 0;
    };
    let mut depth = 0;
    match first.update(b"n", |_| {
        depth = 1 + nest(rest);
        Verdict::Keep
    }) {
        Ok(()) => assert!(depth > 0),
        Err(Error::Limit(_)) => assert_eq!(depth, 0),
        Err(other) => panic!("{other:?}"),
    }
    depth
}

#[test]
fn g8_a_thread_holds_256_turns_and_no_more() {
    let buckets: Vec<_> = (0..300).map(|_| Bucket::start().unwrap()).collect();
    assert_eq!(nest(&buckets), 256);
    let begin = |bucket: &Bucket| bucket.update_begin(b"n");
    let open: Result<Vec<_>, _> = buckets[..256].iter().map(begin).collect();
    let open = open.unwrap();
    assert!(matches!(begin(&buckets[256]), Err(Error::Limit(_))));
    assert!(matches!(begin(&buckets[0]), Err(Error::CallingSelf)));
    drop(open);
    assert_eq!(nest(&buckets[200..]), 100);
}

#[test]
fn g8_a_thread_that_ends_gives_its_turns_back() {
    let bucket = &Bucket::start().unwrap();
    let began = std::thread::scope(|scope| {
        let begin = || bucket.update_begin(b"n").unwrap();
        scope.spawn(begin).join().unwrap()
    });
    // Joined by what it returned, perhaps before the system's thread has ended: it will.
    let mut patient = bucket.clone();
    patient.set_timeout(Timeout::Never);
    patient.put(b"n", 1).unwrap();
    let mut late = began;
    assert_eq!(late.current(), Err(Error::Aborted));
    assert_eq!(late.end(int(2)), Err(Error::Aborted));
    assert_eq!(bucket.get(b"n"), Ok(Value::Int(1)));
}

#[test]
fn g8_the_turn_is_that_of_the_thread_that_began() {
    let bucket = &patient();
    let update = bucket.update_begin(b"n").unwrap();
    assert_eq!(bucket.put(b"n", 1), Err(Error::CallingSelf));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut other = bucket.clone();
            other.set_timeout(Timeout::Now);
            assert_eq!(other.put(b"n", 1), Err(Error::Timeout));
            update.end(int(2)).unwrap();
            bucket.put(b"m", 3).unwrap();
        });
    });
    bucket.put(b"n", 4).unwrap();
}
