//! The process model, a row for each cell: exit reason by what each who is concerned sees
//! (monitor, link, restart, log, waiting callers, queued casts), beside OTP's column.
//!
//! | reason | how | DOWN | logged | transient | permanent | linked |
//! |---|---|---|---|---|---|---|
//! | normal | `stop` | `normal` | no | stays down | restarts | lives |
//! | normal | `exit/2` from another process | none: a no-op | no | – | – | lives |
//! | shutdown | `exit/2` | `shutdown` | no | stays down | restarts | ends, `shutdown` |
//! | kill | `exit/2` | `killed` | yes | restarts | restarts | ends, `killed` |
//! | an exception | in a callback | `{exception, stack}` | yes | restarts | restarts | ends, same |
//! | noproc | monitor of the dead | `noproc`, at once | no | – | – | – |
//!
//! "Logged" means an error report. `stop` comes after what is queued, an exit overtakes it, and
//! a crash comes when the message that crashes is handled; as there.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use kvreg::{
    Bucket, BucketOptions, Error, Event, Inbox, Level, Reason, Registry, RegistryOptions, Restart,
    Timeout, Value, Verdict,
};

mod common;
use common::cast;

/// How a bucket ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    Stop,
    Exit(Reason),
    Crash,
}

struct Row {
    how: How,
    /// What its DOWN says.
    reason: Reason,
    is_logged: bool,
    restarts_transient: bool,
    takes_links_along: bool,
    /// Whether what was queued before is handled first.
    keeps_order: bool,
}

const TABLE: [Row; 4] = [
    Row {
        how: How::Stop,
        reason: Reason::Normal,
        is_logged: false,
        restarts_transient: false,
        takes_links_along: false,
        keeps_order: true,
    },
    Row {
        how: How::Exit(Reason::Shutdown),
        reason: Reason::Shutdown,
        is_logged: false,
        restarts_transient: false,
        takes_links_along: true,
        keeps_order: false,
    },
    Row {
        how: How::Exit(Reason::Killed),
        reason: Reason::Killed,
        is_logged: true,
        restarts_transient: true,
        takes_links_along: true,
        keeps_order: false,
    },
    Row {
        how: How::Crash,
        reason: Reason::Crashed,
        is_logged: true,
        restarts_transient: true,
        takes_links_along: true,
        keeps_order: true,
    },
];

fn end(bucket: &Bucket, how: How) {
    match how {
        How::Stop => bucket.stop().unwrap(),
        How::Exit(reason) => bucket.exit(reason, "because").unwrap(),
        How::Crash => {
            let crashed = bucket.update(b"crash", |_| Verdict::Crash);
            assert_eq!(crashed, Err(Error::ServerDown));
        }
    }
}

/// Its calls wait as long as it takes: that a machine is busy is no failure.
fn patient() -> Bucket {
    Bucket::start().unwrap().with_timeout(Timeout::Never)
}

fn with_restart(restart: Restart) -> BucketOptions {
    BucketOptions::new().restart(restart)
}

#[track_caller]
fn next_down(inbox: &Inbox) -> (u64, Reason, Option<String>) {
    match inbox.receive(Timeout::Now) {
        Ok(Event::Down {
            reference,
            reason,
            name,
            ..
        }) => (reference, reason, name),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_monitor_sees_the_reason() {
    for row in TABLE {
        let (registry, inbox) = (Registry::start().unwrap(), Inbox::open().unwrap());
        let bucket = registry.create("a").unwrap();
        let reference = inbox.monitor(&bucket).unwrap();
        end(&bucket, row.how);
        assert_eq!(next_down(&inbox), (reference, row.reason, Some("a".into())));
        let late = inbox.monitor(&bucket).unwrap();
        assert_eq!(next_down(&inbox).1, Reason::NoProc);
        assert!(late > reference);
        assert_eq!(inbox.receive(Timeout::Now), Err(Error::Timeout));
    }
}

#[test]
fn an_exit_with_normal_from_outside_does_nothing() {
    let (bucket, inbox) = (Bucket::start().unwrap(), Inbox::open().unwrap());
    inbox.monitor(&bucket).unwrap();
    bucket.put(b"k", 1).unwrap();
    assert_eq!(bucket.exit(Reason::Normal, ""), Ok(()));
    assert_eq!(bucket.get(b"k"), Ok(Value::Int(1)));
    assert_eq!(inbox.receive(Timeout::Now), Err(Error::Timeout));
    assert!(matches!(
        bucket.exit(Reason::NoProc, ""),
        Err(Error::InvalidArgument(_))
    ));
}

#[test]
fn who_is_logged() {
    for row in TABLE {
        let (registry, logs) = (Registry::start().unwrap(), Inbox::open().unwrap());
        // Others of this test program log too: known by the name.
        let name = format!("logged {:?}", row.how);
        let bucket = registry.create(&name).unwrap();
        logs.subscribe_logs(Level::Info).unwrap();
        end(&bucket, row.how);
        let mut seen = Vec::new();
        while let Ok(event) = logs.receive(Timeout::Now) {
            match event {
                Event::Log {
                    level, name: of, ..
                } if of.as_deref() == Some(&*name) => seen.push(level),
                _ => {}
            }
        }
        let expected: &[Level] = if row.is_logged { &[Level::Error] } else { &[] };
        assert_eq!(seen, expected, "{:?}", row.how);
    }
}

#[test]
fn who_is_restarted() {
    for row in TABLE {
        for (restart, comes_back) in [
            (Restart::Temporary, false),
            (Restart::Transient, row.restarts_transient),
            (Restart::Permanent, true),
        ] {
            let (registry, inbox) = (Registry::start().unwrap(), Inbox::open().unwrap());
            let old = registry.create_with("a", with_restart(restart)).unwrap();
            let other = registry.create("b").unwrap();
            old.put(b"k", 1).unwrap();
            old.link(&other).unwrap();
            inbox.monitor(&old).unwrap();
            end(&old, row.how);
            assert_eq!(next_down(&inbox).1, row.reason);

            // The old process is gone either way.
            assert_eq!(old.get::<Value>(b"k"), Err(Error::NoProcess));
            let found = registry.lookup("a");
            assert_eq!(found.is_ok(), comes_back, "{:?} {restart:?}", row.how);
            let Ok(new) = found else { continue };
            assert!(!new.is(&old));
            assert_eq!(new.count(), Ok(0), "a new process has an empty state");
            let info = new.info().unwrap();
            assert_eq!((info.restarts, info.last_exit), (1, Some(row.reason)));
            // Neither monitors nor links carry over.
            let survivor = registry.create("b").unwrap();
            new.exit(Reason::Killed, "").unwrap();
            assert_eq!(inbox.receive(Timeout::Now), Err(Error::Timeout));
            assert_eq!(survivor.count(), Ok(0));
        }
    }
}

#[test]
fn who_goes_along() {
    for row in TABLE {
        let inbox = Inbox::open().unwrap();
        let [one, two, three, free] = [(); 4].map(|()| Bucket::start().unwrap());
        one.link(&two).unwrap();
        three.link(&two).unwrap(); // the other way round: a link has no direction
        free.link(&one).unwrap();
        free.unlink(&one);
        for bucket in [&two, &three, &free] {
            inbox.monitor(bucket).unwrap();
        }
        end(&one, row.how);
        if row.takes_links_along {
            assert_eq!(next_down(&inbox).1, row.reason, "{:?}", row.how);
            assert_eq!(next_down(&inbox).1, row.reason, "and those linked to it");
            assert_eq!(two.count(), Err(Error::NoProcess));
            assert_eq!(one.link(&free), Err(Error::NoProcess));
            assert_eq!(free.link(&one), Err(Error::NoProcess));
        } else {
            assert_eq!(two.count(), Ok(0));
            // The link is gone with its other end.
            assert_eq!(three.exit(Reason::Killed, ""), Ok(()));
            assert_eq!(next_down(&inbox).1, Reason::Killed);
            assert_eq!(next_down(&inbox).1, Reason::Killed);
        }
        assert_eq!(inbox.receive(Timeout::Now), Err(Error::Timeout));
        assert_eq!(free.count(), Ok(0));
    }
}

#[test]
fn a_bucket_is_linked_once_and_never_to_itself() {
    let [one, two] = [(); 2].map(|()| Bucket::start().unwrap());
    one.link(&one).unwrap();
    for _ in 0..3 {
        one.link(&two).unwrap();
        two.link(&one).unwrap();
    }
    one.unlink(&two);
    one.unlink(&two);
    one.exit(Reason::Killed, "").unwrap();
    assert_eq!(two.count(), Ok(0));
    assert_eq!(one.link(&one), Err(Error::NoProcess));
}

#[test]
fn a_long_chain_of_links_ends_as_one() {
    let buckets: Vec<_> = (0..if cfg!(miri) { 100 } else { 100_000 })
        .map(|_| Bucket::start().unwrap())
        .collect();
    for pair in buckets.windows(2) {
        pair[0].link(&pair[1]).unwrap();
    }
    buckets[0].exit(Reason::Killed, "").unwrap();
    assert!(buckets
        .iter()
        .all(|bucket| bucket.count() == Err(Error::NoProcess)));
}

/// Everyone who had a request there gets an answer, and what was queued before is handled or
/// dropped, as the reason says.
#[test]
fn what_waiting_callers_and_queued_casts_see() {
    for row in TABLE {
        let bucket = patient();
        let update = bucket.update_begin(b"k").unwrap();
        let (queued, waiting) = (bucket.clone(), bucket.clone());
        let (handled, was_handled) = mpsc::channel();
        let (asked, has_asked) = mpsc::channel();
        let caster = std::thread::spawn(move || {
            cast(|| queued.put_cast(b"cast", 1)).unwrap();
            queued
                .update_cast(b"cast", move |_| {
                    let _ = handled.send(());
                    Verdict::Keep
                })
                .unwrap();
        });
        caster.join().unwrap();
        let caller = std::thread::spawn(move || {
            asked.send(()).unwrap();
            waiting.put(b"call", 1)
        });
        has_asked.recv().unwrap();

        match row.how {
            How::Exit(reason) => {
                // It overtakes what is queued, and the callback that runs.
                bucket.exit(reason, "").unwrap();
                assert_eq!(update.end(Verdict::Keep), Err(Error::ServerDown));
            }
            How::Crash => {
                assert_eq!(update.end(Verdict::Crash), Err(Error::ServerDown));
            }
            How::Stop => {
                let stopper = bucket.clone();
                let stopper = std::thread::spawn(move || stopper.stop());
                assert_eq!(update.end(Verdict::Keep), Ok(()));
                assert_eq!(stopper.join().unwrap(), Ok(()));
            }
        }
        let answer = caller.join().unwrap();
        match row.how {
            How::Stop => assert!(
                matches!(
                    answer,
                    Ok(()) | Err(Error::NoProcess) | Err(Error::ServerDown)
                ),
                "before the stop or after it: {answer:?}"
            ),
            _ => assert!(
                matches!(answer, Err(Error::NoProcess | Error::ServerDown)),
                "{answer:?}"
            ),
        }
        // The cast's callback ran, or was dropped with its sender: there is no third way.
        let ran = was_handled.recv_timeout(Duration::from_secs(60));
        assert_ne!(ran, Err(RecvTimeoutError::Timeout), "{:?}", row.how);
        assert_eq!(ran.is_ok(), row.how == How::Stop, "{:?}", row.how);
        assert_eq!(bucket.get::<Value>(b"cast"), Err(Error::NoProcess));
        // A crash comes after what was queued before it, if it is queued itself.
        if row.keeps_order {
            let bucket = patient();
            let (handled, was_handled) = mpsc::channel();
            let update = bucket.update_begin(b"k").unwrap();
            let (queued, how) = (bucket.clone(), row.how);
            let caster = std::thread::spawn(move || {
                queued
                    .update_cast(b"k", move |_| {
                        handled.send(()).unwrap();
                        Verdict::Keep
                    })
                    .unwrap();
                end(&queued, how);
            });
            update.end(Verdict::Keep).unwrap();
            caster.join().unwrap();
            was_handled.try_recv().unwrap();
        }
    }
}

#[test]
fn beyond_the_intensity_it_stays_down_and_the_registry_lives() {
    let (registry, logs) = (Registry::start().unwrap(), Inbox::open().unwrap());
    let options = with_restart(Restart::Permanent).intensity(2, Duration::from_secs(3600));
    registry.create_with("often", options).unwrap();
    registry.create("other").unwrap();
    logs.subscribe_logs(Level::Error).unwrap();
    for restarts in 0..=2 {
        let bucket = registry.lookup("often").unwrap();
        assert_eq!(bucket.info().unwrap().restarts, restarts);
        bucket.stop().unwrap();
    }
    assert!(matches!(registry.lookup("often"), Err(Error::NotFound)));
    let mut told = 0;
    while let Ok(Event::Log { name, message, .. }) = logs.receive(Timeout::Now) {
        told += u32::from(name.as_deref() == Some("often") && message.contains("too often"));
    }
    assert_eq!(told, 1);
    assert_eq!(registry.names().unwrap(), ["other"]);
    // The name is free, and whoever takes it begins anew.
    let bucket = registry
        .create_with("often", with_restart(Restart::Permanent))
        .unwrap();
    assert_eq!(bucket.info().unwrap().restarts, 0);
}

#[test]
fn restarts_long_ago_are_forgotten() {
    let registry = Registry::start().unwrap();
    let options = with_restart(Restart::Permanent).intensity(1, Duration::ZERO);
    registry.create_with("a", options).unwrap();
    for restarts in 0..50 {
        let bucket = registry.lookup("a").unwrap();
        assert_eq!(bucket.info().unwrap().restarts, restarts);
        bucket.stop().unwrap();
        // The clock moves on between two restarts.
        let now = std::time::Instant::now();
        while now.elapsed().is_zero() {}
    }
}

#[test]
fn remove_ends_it_for_good() {
    for restart in [Restart::Temporary, Restart::Transient, Restart::Permanent] {
        let (registry, inbox) = (Registry::start().unwrap(), Inbox::open().unwrap());
        let bucket = registry.create_with("a", with_restart(restart)).unwrap();
        inbox.monitor(&bucket).unwrap();
        registry.remove("a").unwrap();
        assert_eq!(next_down(&inbox).1, Reason::Shutdown);
        assert!(matches!(registry.lookup("a"), Err(Error::NotFound)));
        assert_eq!(registry.remove("a"), Err(Error::NotFound));
        assert_eq!(registry.count(), Ok(0));
    }
}

#[test]
fn a_stopped_registry_restarts_nothing() {
    let (registry, inbox) = (Registry::start().unwrap(), Inbox::open().unwrap());
    let bucket = registry
        .create_with("a", with_restart(Restart::Permanent))
        .unwrap();
    inbox.monitor(&bucket).unwrap();
    inbox.monitor_registry(&registry).unwrap();
    registry.stop().unwrap();
    assert_eq!(next_down(&inbox).1, Reason::Shutdown);
    assert_eq!(next_down(&inbox).1, Reason::Normal);
    assert_eq!(registry.lookup("a").err(), Some(Error::NoProcess));
    assert_eq!(registry.stop(), Err(Error::NoProcess));
}

#[test]
fn a_registry_that_crashes_comes_back_empty_behind_its_handles_and_its_name() {
    for reason in [Reason::Killed, Reason::Crashed] {
        let inbox = Inbox::open().unwrap();
        let name = format!("comes back after {reason}");
        let options = RegistryOptions::new().name(&name).max_buckets(2);
        let registry = Registry::start_with(options).unwrap();
        let clone = registry.clone();
        let bucket = registry
            .create_with("a", with_restart(Restart::Permanent))
            .unwrap();
        registry.create("b").unwrap();
        let of_bucket = inbox.monitor(&bucket).unwrap();
        let of_registry = inbox.monitor_registry(&registry).unwrap();
        for round in 1..=10 {
            registry.exit(reason, "on purpose").unwrap();
            assert_eq!(registry.info().unwrap().restarts, round);
        }
        assert_eq!(
            next_down(&inbox),
            (of_bucket, Reason::Shutdown, Some("a".into()))
        );
        assert_eq!(next_down(&inbox), (of_registry, reason, Some(name.clone())));
        assert_eq!(bucket.count(), Err(Error::NoProcess));
        for registry in [&registry, &clone, &Registry::whereis(&name).unwrap()] {
            assert_eq!(registry.count(), Ok(0));
            assert_eq!(registry.info().unwrap().last_exit, Some(reason));
        }
        clone.create("a").unwrap();
        registry.create("b").unwrap();
        assert!(
            matches!(registry.create("c"), Err(Error::Limit(_))),
            "as it was"
        );
        registry.exit(Reason::Normal, "").unwrap();
        assert_eq!(registry.count(), Ok(2));
        registry.exit(Reason::Shutdown, "").unwrap();
        assert_eq!(registry.count(), Err(Error::NoProcess));
        assert_eq!(Registry::whereis(&name).err(), Some(Error::NotFound));
    }
}

#[test]
fn a_name_keeps_its_registry_until_it_stops() {
    let options = RegistryOptions::new().name("kept");
    let registry = Registry::start_with(options.clone()).unwrap();
    registry.create("a").unwrap();
    let taken = Registry::start_with(options.clone()).err();
    assert_eq!(taken, Some(Error::AlreadyStarted));
    drop(registry);
    let found = Registry::whereis("kept").unwrap();
    assert_eq!(found.count(), Ok(1));
    found.stop().unwrap();
    assert_eq!(Registry::whereis("kept").err(), Some(Error::NotFound));
    let again = Registry::start_with(options).unwrap();
    assert_eq!(again.count(), Ok(0));
    assert_eq!(
        found.count(),
        Err(Error::NoProcess),
        "the old one stays dead"
    );
    again.stop().unwrap();
}
