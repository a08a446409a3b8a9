//! The guarantees, one test or more for each, named after it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{mpsc, Arc, Mutex};

use kvreg::{
    Bucket, Error, Event, Inbox, Level, Reason, Registry, Timeout, Value, ValueRef, Verdict,
};

mod common;
use common::{cast, eventually, next_event, patient, scaled, Over};

fn int(value: i64) -> Verdict {
    Verdict::Store(Value::Int(value))
}

fn number(value: Option<&Value>) -> i64 {
    match value {
        None => 0,
        Some(Value::Int(number)) => *number,
        other => panic!("{other:?}"),
    }
}

fn down(inbox: &Inbox) -> (u64, Reason) {
    match next_event(inbox) {
        Event::Down {
            reference, reason, ..
        } => (reference, reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn g1_one_message_at_a_time() {
    let bucket = patient();
    let inside = Arc::new(AtomicBool::new(false));
    let alone = |inside: &AtomicBool, current: Option<&Value>| {
        assert!(!inside.swap(true, Ordering::SeqCst), "two handlers at once");
        let next = number(current) + 1;
        std::thread::yield_now();
        inside.store(false, Ordering::SeqCst);
        int(next)
    };
    let rounds = scaled(200);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..rounds {
                    bucket.update(b"n", |n| alone(&inside, n)).unwrap();
                    let inside = Arc::clone(&inside);
                    bucket
                        .update_cast(b"n", move |n| alone(&inside, n))
                        .unwrap();
                    cast(|| bucket.put_cast(b"other", 1)).unwrap();
                }
            });
        }
    });
    // Each thread's casts are handled before its scope's end is seen by a call of its own,
    // but this thread sent none: ask until they are.
    let all = i64::from(4 * 2 * rounds);
    eventually("what was cast", || {
        number(bucket.get(b"n").ok().as_ref()) >= all
    });
    assert_eq!(bucket.get(b"n"), Ok(Value::Int(all)));
}

#[test]
fn g1_messages_of_one_thread_are_handled_in_the_order_sent() {
    let bucket = patient();
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let bucket = &bucket;
            scope.spawn(move || {
                let seen = Arc::new(Mutex::new(Vec::new()));
                for step in 0..3_000u32 {
                    let note = move |seen: &Mutex<Vec<u32>>| seen.lock().unwrap().push(step);
                    if step % 3 == 0 {
                        bucket
                            .update([thread], |_| {
                                note(&seen);
                                Verdict::Keep
                            })
                            .unwrap();
                    } else {
                        let seen = Arc::clone(&seen);
                        bucket
                            .update_cast([thread], move |_| {
                                note(&seen);
                                Verdict::Keep
                            })
                            .unwrap();
                    }
                }
                bucket.put([thread], 1).unwrap(); // after all of them
                let seen = seen.lock().unwrap();
                assert!(seen.iter().copied().eq(0..3_000), "{seen:?}");
            });
        }
    });
}

#[test]
fn g2_a_reply_means_done_for_every_thread() {
    let bucket = patient();
    let newest = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    let last = u64::from(scaled(50_000));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let before = newest.load(Ordering::Acquire);
                    let seen = number(bucket.get(b"n").ok().as_ref()) as u64;
                    assert!(seen >= before, "read {seen} after {before} was stored");
                }
            });
        }
        let _over = Over(&done);
        for value in 1..=last {
            bucket.put(b"n", value as i64).unwrap();
            newest.store(value, Ordering::Release);
        }
    });
}

#[test]
fn g2_clear_takes_effect_at_one_instant() {
    let bucket = patient();
    let done = AtomicBool::new(false);
    let keys: Vec<_> = (0..64u8).map(|key| [key]).collect();
    let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
    let all: Vec<_> = keys.iter().map(|key| (*key, ValueRef::Int(1))).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let seen = bucket.get_many::<Value>(&keys).unwrap();
                let there = seen.iter().flatten().count();
                assert!(there == 0 || there == 64, "{there} of 64");
                let items = bucket.items().unwrap().len();
                assert!(items == 0 || items == 64, "{items} of 64");
            }
        });
        let _over = Over(&done);
        for _ in 0..scaled(600) {
            bucket.put_many(all.iter().copied()).unwrap();
            bucket.clear().unwrap();
        }
    });
    assert_eq!(bucket.count(), Ok(0));
}

#[test]
fn g2_a_batch_is_one_change() {
    let bucket = patient();
    let keys: Vec<_> = (0..500u16).map(u16::to_le_bytes).collect();
    let batch = |value| -> Vec<(&[u8], ValueRef<'_>)> {
        let pairs = keys.iter().map(|key| (&key[..], ValueRef::Int(value)));
        pairs.collect()
    };
    bucket.put_many(batch(0)).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let first = number(bucket.get(keys[0]).ok().as_ref());
                let last = number(bucket.get(keys[499]).ok().as_ref());
                assert!(last >= first, "{first} of the batch, then {last}");
            }
        });
        let _over = Over(&done);
        for value in 1..i64::from(scaled(600)) {
            bucket.put_many(batch(value)).unwrap();
        }
    });
}

#[test]
fn g2_what_was_said_to_be_gone_cannot_be_read() {
    let keys: Vec<_> = (0..2_000u16).map(u16::to_le_bytes).collect();
    let pairs: Vec<(&[u8], ValueRef<'_>)> = keys.iter().map(|k| (&k[..], 1.into())).collect();
    for round in 0..scaled(40) {
        let bucket = patient();
        bucket.put_many(pairs.iter().copied()).unwrap();
        std::thread::scope(|scope| {
            // Keeps the one who ends the bucket waiting before it is closed.
            scope.spawn(|| while bucket.items().is_ok() {});
            for _ in 0..2 {
                scope.spawn(|| {
                    match round % 2 {
                        0 => drop(bucket.stop()),
                        _ => while bucket.put_cast(b"k", 1).is_ok() && bucket.stop().is_err() {},
                    }
                    assert_eq!(bucket.get::<Value>(&keys[0]), Err(Error::NoProcess));
                    assert_eq!(bucket.count(), Err(Error::NoProcess));
                });
            }
        });
    }
}

#[test]
fn g3_a_read_passes_the_callbacks_behind_its_cast() {
    let bucket = patient();
    let (leave, left) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let (queued, is_queued) = mpsc::channel();
        let (begun, has_begun) = mpsc::channel();
        let holder = bucket.clone();
        scope.spawn(move || {
            let update = holder.update_begin(b"n").unwrap();
            begun.send(()).unwrap();
            is_queued.recv().unwrap();
            drop(update);
        });
        has_begun.recv().unwrap();
        cast(|| bucket.put_cast(b"mine", 1)).unwrap();
        let other = bucket.clone();
        let behind = move |_: Option<&Value>| {
            left.recv().unwrap();
            Verdict::Keep
        };
        scope
            .spawn(move || other.update_cast(b"other", behind).unwrap())
            .join()
            .unwrap();
        queued.send(()).unwrap();
        // The callback behind it goes on only after this has been read.
        assert_eq!(bucket.get(b"mine"), Ok(Value::Int(1)));
        leave.send(()).unwrap();
    });
}

#[test]
fn g3_a_call_and_a_read_see_the_casts_of_their_thread() {
    let bucket = patient();
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let bucket = &bucket;
            scope.spawn(move || {
                for step in 0..i64::from(scaled(1_000)) {
                    let sent = match step % 2 {
                        0 => cast(|| bucket.put_cast([thread], step)),
                        _ => bucket.update_cast([thread], move |_| int(step)),
                    };
                    sent.unwrap();
                    match step % 3 {
                        0 => assert_eq!(bucket.get([thread]), Ok(Value::Int(step))),
                        1 => {
                            let seen = bucket.get_many([[thread]]).unwrap();
                            assert_eq!(seen, [Some(Value::Int(step))]);
                        }
                        _ => assert_eq!(bucket.delete([thread]), Ok(Value::Int(step))),
                    }
                }
            });
        }
    });
}

#[test]
fn g4_every_monitor_gives_one_down() {
    let registry = Registry::start().unwrap().with_timeout(Timeout::Never);
    let mut expected = Vec::new();
    let inbox = Inbox::open().unwrap();
    for round in 0..scaled(400) {
        let bucket = registry.create("shopping").unwrap();
        let early = inbox.monitor(&bucket).unwrap();
        let (reason, late) = std::thread::scope(|scope| {
            let ending = scope.spawn(|| match round % 3 {
                0 => {
                    bucket.stop().unwrap();
                    Reason::Normal
                }
                1 => {
                    bucket.exit(Reason::Killed, "").unwrap();
                    Reason::Killed
                }
                _ => {
                    let crashed = bucket.update(b"milk", |_| Verdict::Crash);
                    assert_eq!(crashed, Err(Error::ServerDown));
                    Reason::Crashed
                }
            });
            // Before, while or after it ends.
            let late = inbox.monitor(&bucket).unwrap();
            (ending.join().unwrap(), late)
        });
        expected.push((early, vec![reason]));
        expected.push((late, vec![reason, Reason::NoProc]));
    }
    for _ in 0..expected.len() {
        let (reference, reason) = down(&inbox);
        let place = expected.iter().position(|(one, _)| *one == reference);
        let (_, reasons) = expected.swap_remove(place.expect("one DOWN for each reference"));
        assert!(reasons.contains(&reason), "{reason:?}");
    }
    assert_eq!(inbox.receive(Timeout::Now), Err(Error::Timeout));
}

#[test]
fn g4_none_comes_after_demonitor_with_flush() {
    let inbox = Inbox::open().unwrap();
    for _ in 0..scaled(1_000) {
        let bucket = patient();
        let reference = inbox.monitor(&bucket).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| bucket.exit(Reason::Killed, "").unwrap());
            inbox.demonitor(reference, true).unwrap();
        });
        assert_eq!(inbox.receive(Timeout::Now), Err(Error::Timeout));
    }
    inbox.demonitor(12345, true).unwrap();
}

#[test]
fn g5_names_go_first() {
    let mut registry = Registry::start().unwrap();
    registry.set_timeout(Timeout::Never);
    let found = |bucket: &Bucket| {
        let now = registry.lookup("shopping");
        now.is_ok_and(|now| now.is(bucket))
    };
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (registry, found) = (&registry, &found);
            scope.spawn(move || {
                let inbox = Inbox::open().unwrap();
                for step in 0..scaled(2_000) {
                    let bucket = registry.create("shopping").unwrap();
                    match (thread + step) % 4 {
                        0 => drop(bucket.stop()),
                        1 => drop(bucket.exit(Reason::Killed, "")),
                        2 => {
                            // Somebody ends it: whoever hears of it finds the name gone.
                            inbox.monitor(&bucket).unwrap();
                            bucket.exit(Reason::Shutdown, "").ok();
                            down(&inbox);
                        }
                        // Used, while the others may end it.
                        _ => drop((0..50).find(|_| bucket.put(b"milk", 1).is_err())),
                    }
                    let gone = bucket.get::<Value>(b"none") == Err(Error::NoProcess);
                    assert!(
                        !gone || !found(&bucket),
                        "it ended, and its name is still there"
                    );
                }
            });
        }
    });
}

#[test]
fn g5_a_late_notice_never_removes_a_newer_bucket() {
    let registry = Registry::start().unwrap().with_timeout(Timeout::Never);
    for _ in 0..scaled(1_000) {
        let old = registry.create("shopping").unwrap();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| old.exit(Reason::Killed, "").ok());
            }
            eventually("a newer bucket", || {
                !registry.create("shopping").unwrap().is(&old)
            });
            let new = registry.lookup("shopping").unwrap();
            assert!(!new.is(&old));
        });
        // Both ends are through, and the newer one has kept its name.
        registry
            .lookup("shopping")
            .unwrap()
            .put(b"milk", 1)
            .unwrap();
    }
}

#[test]
fn g6_a_crash_stays_inside_its_server() {
    let registry = Registry::start().unwrap().with_timeout(Timeout::Never);
    let crashing = registry.create("crashing").unwrap();
    let other = registry.create("other").unwrap();
    other.put(b"milk", 1).unwrap();
    let inbox = Inbox::open().unwrap();
    let reference = inbox.monitor(&crashing).unwrap();
    inbox.subscribe_logs(Level::Error).unwrap();

    let panicked = crashing.update(b"milk", |_| -> Verdict {
        std::panic::resume_unwind(Box::new(()))
    });
    assert_eq!(panicked, Err(Error::ServerDown));
    // Both are there when the call returns. Others of this test program log too: known by the name.
    let (mut downs, mut logs) = (Vec::new(), Vec::new());
    while let Ok(event) = inbox.receive(Timeout::Now) {
        match event {
            Event::Down {
                reference, reason, ..
            } => downs.push((reference, reason)),
            Event::Log {
                level,
                name: Some(name),
                ..
            } if name == "crashing" => logs.push(level),
            _ => {}
        }
    }
    assert_eq!(downs, [(reference, Reason::Crashed)]);
    assert_eq!(logs, [Level::Error]);

    assert_eq!(registry.lookup("crashing").err(), Some(Error::NotFound));
    assert_eq!(other.get(b"milk"), Ok(Value::Int(1)));
    let again = registry.create("crashing").unwrap();
    assert_eq!(
        again.get::<Value>(b"milk"),
        Err(Error::NotFound),
        "its state is lost"
    );
}

#[test]
fn g6_a_crash_on_the_runtime_too() {
    let bucket = Bucket::start().unwrap();
    let inbox = Inbox::open().unwrap();
    let reference = inbox.monitor(&bucket).unwrap();
    bucket
        .update_cast(b"milk", |_| -> Verdict { panic!("inside a callback") })
        .unwrap();
    assert_eq!(down(&inbox), (reference, Reason::Crashed));
    assert_eq!(bucket.get::<Value>(b"milk"), Err(Error::NoProcess));
}

#[test]
fn g7_a_call_that_timed_out_never_runs() {
    let bucket = Bucket::start().unwrap();
    let done = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (bucket, done) = (&bucket, &done);
            scope.spawn(move || {
                let mut bucket = bucket.clone();
                let waits = [
                    Timeout::Now,
                    Timeout::from_millis(1).unwrap(),
                    Timeout::Never,
                ];
                for step in 0..scaled(2_000) {
                    bucket.set_timeout(waits[(step % 3) as usize]);
                    let busy = step % 64 == thread;
                    let answer = bucket.update(b"n", |n| {
                        if busy {
                            std::thread::sleep(std::time::Duration::from_micros(500));
                        }
                        int(number(n) + 1)
                    });
                    match answer {
                        Ok(()) => drop(done.fetch_add(1, Ordering::SeqCst)),
                        Err(Error::Timeout) => {}
                        Err(other) => panic!("{other:?}"),
                    }
                    if step % 7 == 0 {
                        bucket.update_cast(b"m", |_| Verdict::Keep).unwrap();
                    }
                }
            });
        }
    });
    let done = done.load(Ordering::SeqCst) as i64;
    assert_eq!(
        bucket.get(b"n"),
        Ok(Value::Int(done)),
        "those that were answered, and no other"
    );
}

#[test]
fn g13_a_value_stays_as_it_was_read() {
    let registry = Registry::start().unwrap();
    for len in [0, 1, 64, 512, 513, 70_000, 1 << 20] {
        let bucket = registry.create("shopping").unwrap();
        let text = "x".repeat(len);
        bucket.put(b"milk", &*text).unwrap();
        let read = bucket.get::<Value>(b"milk").unwrap();
        let items = bucket.items().unwrap();
        bucket.put(b"milk", "overwritten").unwrap();
        let deleted = bucket.delete(b"milk").unwrap();
        bucket.clear().unwrap();
        bucket.stop().unwrap();
        drop(bucket);
        assert_eq!(read, ValueRef::String(&text));
        assert_eq!(items[0].1, ValueRef::String(&text));
        assert_eq!(deleted, ValueRef::String("overwritten"));
    }
}
