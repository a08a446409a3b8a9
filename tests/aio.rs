//! The asynchronous face: what is awaited waits without a thread, and what is dropped never runs.

#![cfg(feature = "aio")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use kvreg::{
    aio, Batch, Bucket, Error, Event, Inbox, Reason, Registry, Scan, Timeout, Update, Value,
    Verdict,
};
use tokio::runtime::Builder;
use tokio::time::{sleep, timeout};

const SOON: Duration = Duration::from_millis(20);

/// Longer than any machine takes: what would hang fails.
const PATIENCE: Duration = Duration::from_secs(60);

fn bucket() -> aio::Bucket {
    Bucket::start().unwrap().with_timeout(Timeout::Never).aio()
}

/// Has the bucket's turn until it is told to give it back.
struct Busy {
    end: mpsc::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Busy {
    fn new(bucket: &Bucket) -> Busy {
        let (bucket, (end, ended), (begun, has_begun)) =
            (bucket.clone(), mpsc::channel(), mpsc::channel());
        let thread = thread::spawn(move || {
            let update: Update = bucket.update_begin("busy").unwrap();
            begun.send(()).unwrap();
            ended.recv().unwrap();
            update.end(Verdict::Keep).unwrap();
        });
        has_begun.recv().unwrap();
        Busy { end, thread }
    }

    fn end(self) {
        self.end.send(()).unwrap();
        self.thread.join().unwrap();
    }
}

/// Until so many requests wait in the bucket's mailbox.
async fn queued_are(count: usize, bucket: &Bucket) {
    let begin = Instant::now();
    while bucket.info().unwrap().mailbox < count {
        assert!(begin.elapsed() < PATIENCE, "they are not queued");
        tokio::task::yield_now().await;
    }
}

async fn queued(bucket: &Bucket) {
    queued_are(1, bucket).await;
}

#[tokio::test]
async fn every_call_does_what_its_twin_does() {
    let registry = Registry::start().unwrap().aio();
    let shopping = registry.create("shopping").await.unwrap();
    assert!(registry.lookup("shopping").await.unwrap().is(&shopping));
    let taken = registry.create_exclusive("shopping").await;
    assert_eq!(taken.err(), Some(Error::AlreadyStarted));
    shopping.put("milk", 1).await.unwrap();
    assert_eq!(shopping.get::<i64>("milk").await, Ok(1));
    shopping.put("milk", None::<i64>).await.unwrap();
    assert!(shopping.get::<Value>("milk").await.unwrap().is_nil());
    assert_eq!(shopping.delete("eggs").await, Err(Error::NotFound));
    let pairs = [("eggs", 12), ("bread", 1)];
    shopping.put_many(pairs).await.unwrap();
    let eggs = |eggs: Option<&Value>| eggs.and_then(Value::as_i64).unwrap_or(0) + 1;
    shopping.update("eggs", eggs).await.unwrap();
    let counts = shopping.get_many::<i64>(["eggs", "tea"]).await;
    assert_eq!(counts, Ok(vec![Some(13), None]));
    assert_eq!(shopping.items().await.unwrap().len(), 3);
    assert_eq!(shopping.delete("eggs").await.unwrap(), 13);
    shopping.clear().await.unwrap();
    assert_eq!(shopping.count().await, Ok(0));
    assert_eq!(registry.names().await, Ok(vec!["shopping".to_owned()]));
    shopping.stop().await.unwrap();
    let gone = registry.lookup("shopping").await;
    assert_eq!(gone.err(), Some(Error::NotFound));
    registry.create("shopping").await.unwrap();
    registry.remove("shopping").await.unwrap();
    assert_eq!(registry.count().await, Ok(0));
    registry.stop().await.unwrap();
    assert_eq!(registry.count().await, Err(Error::NoProcess));
}

/// All of them behind a bucket that is busy, on one thread, which goes on meanwhile.
#[tokio::test]
async fn conditions_and_sums_wait_for_their_turn() {
    for busy in [false, true] {
        let bucket = bucket();
        let first = bucket.put_entry("k", "one").await.unwrap();
        let large = "x".repeat(10_000);
        let holds = busy.then(|| Busy::new(&bucket));
        let waits = async {
            let second = bucket.put_if("k", &large, first).await.unwrap();
            let stale = bucket.put_if("k", 1, first).await;
            assert_eq!(stale, Err(Error::Conflict));
            bucket
                .put_if_equal("k", Some(&*large), Some(2))
                .await
                .unwrap();
            assert_eq!(bucket.add_int("k", 3).await, Ok(5));
            let entry = bucket.entry::<i64>("k").await.unwrap();
            assert!(entry.value == 5 && entry.revision > second);
            assert_eq!(bucket.revision().await, Ok(entry.revision));
            let stale = bucket.delete_if("k", second).await;
            assert_eq!(stale, Err(Error::Conflict));
            bucket.delete_if("k", entry.revision).await.unwrap();
            assert_eq!(bucket.entry::<i64>("k").await, Err(Error::NotFound));
        };
        let ends = async {
            if let Some(holds) = holds {
                queued(&bucket).await;
                holds.end();
            }
        };
        tokio::join!(waits, ends);
    }
}

/// Behind a bucket that is busy, and one that is not.
#[tokio::test]
async fn a_batch_waits_for_its_turn() {
    for busy in [false, true] {
        let bucket = bucket();
        bucket.put("goes", 1).await.unwrap();
        let mut batch = Batch::new();
        batch.delete("goes").put("k", "text").add_int("n", 3);
        let holds = busy.then(|| Busy::new(&bucket));
        let waits = async {
            let revisions = bucket.apply(&batch).await.unwrap();
            assert_eq!(bucket.revision().await, Ok(revisions[2]));
            assert_eq!(bucket.get::<i64>("n").await, Ok(3));
            assert_eq!(bucket.count().await, Ok(2));
            let refused = bucket.apply(&batch).await.unwrap_err();
            assert_eq!((refused.at, refused.error), (Some(0), Error::NotFound));
        };
        let ends = async {
            if let Some(holds) = holds {
                queued(&bucket).await;
                holds.end();
            }
        };
        tokio::join!(waits, ends);
    }
}

#[tokio::test]
async fn scans_are_read_beside_a_busy_turn() {
    let bucket = bucket();
    bucket
        .put_many([("b", 2), ("a", 1), ("c", 3)])
        .await
        .unwrap();
    let busy = Busy::new(&bucket);
    let scan = Scan::new().after("a").limit(1);
    let page = bucket.scan(&scan).await.unwrap();
    assert_eq!((&*page[0].key, &page[0].value), (&b"b"[..], &Value::Int(2)));
    assert_eq!(
        bucket.scan(&scan.keys_only()).await.unwrap()[0].value,
        Value::Nil
    );
    busy.end();
}

#[tokio::test]
async fn buckets_are_saved_and_restored() {
    let (bucket, other) = (bucket(), bucket());
    bucket.put("milk", 1).await.unwrap();
    let path = std::env::temp_dir().join(format!("kvreg-aio-{}", std::process::id()));
    bucket.save(&path).await.unwrap();
    other.restore(&path).await.unwrap();
    assert_eq!(other.get::<i64>("milk").await, Ok(1));
    assert_eq!(other.restore(&path).await, Err(Error::Conflict));
    std::fs::remove_file(&path).unwrap();
    other.clear().await.unwrap();
    let refused = other.restore(&path).await;
    assert!(matches!(refused, Err(Error::Io { code: Some(2), .. })));
}

#[tokio::test]
async fn what_waits_blocks_no_worker() {
    let bucket = bucket();
    bucket.put("old", 1).await.unwrap();
    let busy = Busy::new(&bucket);
    let (puts, updates) = (bucket.clone(), bucket.clone());
    let puts = tokio::spawn(async move {
        puts.put("milk", "fresh").await.unwrap();
        puts.put_many([("eggs", 12), ("tea", 1)]).await.unwrap();
        puts.delete("old").await.unwrap()
    });
    let updates = tokio::spawn(async move {
        let next = |n: Option<&Value>| n.and_then(Value::as_i64).unwrap_or(0) + 1;
        updates.update("n", next).await.unwrap();
        updates.get::<i64>("n").await.unwrap()
    });
    for _ in 0..3 {
        sleep(SOON).await; // the only worker is free
        assert!(!puts.is_finished() && !updates.is_finished());
    }
    // Reads wait for no running update, nor for what this worker asked for.
    assert_eq!(bucket.get::<i64>("old").await, Ok(1));
    assert_eq!(Bucket::get::<i64>(&bucket, "old"), Ok(1));
    assert_eq!(bucket.count().await, Ok(1));
    busy.end();
    assert_eq!(puts.await.unwrap(), 1);
    assert_eq!(updates.await.unwrap(), 1);
    assert_eq!(bucket.get::<String>("milk").await, Ok("fresh".into()));
    assert_eq!(bucket.count().await, Ok(4));

    let busy = Busy::new(&bucket);
    let clears = bucket.clone();
    let ends = tokio::spawn(async move {
        clears.clear().await.unwrap();
        let count = clears.count().await;
        (count, clears.stop().await)
    });
    sleep(SOON).await;
    busy.end();
    assert_eq!(ends.await.unwrap(), (Ok(0), Ok(())));
    assert_eq!(bucket.count().await, Err(Error::NoProcess));
}

#[tokio::test]
async fn g7_what_is_dropped_before_it_begins_never_runs() {
    let bucket = bucket();
    let busy = Busy::new(&bucket);
    assert!(timeout(SOON, bucket.put("a", 1)).await.is_err());
    assert!(timeout(SOON, bucket.update("b", |_| 1)).await.is_err());
    assert!(timeout(SOON, bucket.stop()).await.is_err());
    let asked = bucket.clone();
    let asked = tokio::spawn(async move { asked.put("c", 1).await });
    queued_are(4, &bucket).await; // what was withdrawn lies there too
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled());
    busy.end();
    bucket.update("last", |_| 1).await.unwrap(); // after all of them
    let items = bucket.items().await.unwrap();
    assert_eq!(items.len(), 1, "{items:?}");
}

#[tokio::test]
async fn g7_a_timeout_means_withdrawn() {
    let bucket = bucket();
    let short = Bucket::clone(&bucket).with_timeout(SOON).aio();
    let now = Bucket::clone(&bucket).with_timeout(Timeout::Now).aio();
    let busy = Busy::new(&bucket);
    assert_eq!(short.put("a", 1).await, Err(Error::Timeout));
    assert_eq!(now.put("b", 1).await, Err(Error::Timeout));
    assert_eq!(short.stop().await, Err(Error::Timeout));
    busy.end();
    bucket.update("last", |_| 1).await.unwrap();
    assert_eq!(bucket.count().await, Ok(1));
}

#[tokio::test]
async fn g7_what_has_begun_answers_past_its_deadline() {
    let bucket = bucket();
    // On a busy machine it may not have begun in time: then there is more time.
    let mut wait = Duration::from_millis(500);
    loop {
        let short = Bucket::clone(&bucket).with_timeout(wait).aio();
        let busy = Busy::new(&bucket);
        let has_begun = Arc::new(AtomicBool::new(false));
        let begins = Arc::clone(&has_begun);
        let slow = move |_: Option<&Value>| {
            begins.store(true, Ordering::SeqCst);
            thread::sleep(wait + SOON);
            1
        };
        let slow = tokio::spawn(async move { short.update("n", slow).await });
        queued(&bucket).await;
        busy.end();
        let answer = slow.await.unwrap();
        if has_begun.load(Ordering::SeqCst) {
            break assert_eq!(answer, Ok(()));
        }
        assert_eq!(answer, Err(Error::Timeout));
        assert_eq!(bucket.count().await, Ok(0));
        wait *= 2;
        assert!(wait < PATIENCE, "it never begins");
    }
    assert_eq!(bucket.get::<i64>("n").await, Ok(1));
}

#[tokio::test]
async fn a_bucket_that_ends_answers_those_who_wait() {
    let bucket = bucket();
    let busy = Busy::new(&bucket);
    let waits = bucket.clone();
    let waits = tokio::spawn(async move { waits.put("a", 1).await });
    queued(&bucket).await;
    let inbox = Inbox::open().unwrap();
    inbox.monitor(&bucket).unwrap();
    bucket.exit(Reason::Killed, "").unwrap();
    assert_eq!(waits.await.unwrap(), Err(Error::ServerDown));
    assert_eq!(bucket.put("a", 1).await, Err(Error::NoProcess));
    let _ = busy.end.send(());
    assert!(busy.thread.join().is_err(), "its update was told so too");
}

#[tokio::test]
async fn g6_a_panic_stays_inside() {
    fn fails(_: Option<&Value>) -> Verdict {
        panic!("inside an update");
    }
    let first = bucket();
    assert_eq!(first.update("n", fails).await, Err(Error::ServerDown));
    let second = bucket();
    let busy = Busy::new(&second);
    let waits = second.clone();
    let waits = tokio::spawn(async move { waits.update("n", fails).await });
    queued(&second).await;
    busy.end();
    assert_eq!(waits.await.unwrap(), Err(Error::ServerDown));
    assert_eq!(second.count().await, Err(Error::NoProcess));
}

/// A runtime inside an update is not awaited by the bucket it would wait for.
#[test]
fn g8_who_would_wait_for_itself_is_told_so() {
    let (bucket, other) = (bucket(), bucket());
    let busy = Busy::new(&other);
    let inbox = Inbox::open().unwrap();
    let inside = Bucket::update(&bucket, "n", |_| {
        let runtime = Builder::new_current_thread().enable_time().build();
        runtime.unwrap().block_on(async {
            assert_eq!(bucket.put("a", 1).await, Err(Error::CallingSelf));
            assert_eq!(other.put("a", 1).await, Err(Error::CallingSelf));
            assert_eq!(inbox.next_event().await, Err(Error::CallingSelf));
        });
        1
    });
    assert_eq!(inside, Ok(()));
    busy.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_share_buckets_and_a_registry() {
    const TASKS: i64 = 64;
    const ROUNDS: i64 = 50;
    let registry = Registry::start().unwrap().aio();
    let shared = registry.create("shared").await.unwrap();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (registry, shared) = (registry.clone(), shared.clone());
            tokio::spawn(async move {
                for round in 0..ROUNDS {
                    let next = |n: Option<&Value>| n.and_then(Value::as_i64).unwrap_or(0) + 1;
                    shared.update("n", next).await.unwrap();
                    let name = format!("{task} {round}");
                    let own = registry.create(&name).await.unwrap();
                    own.put("round", round).await.unwrap();
                    let found = registry.lookup(&name).await.unwrap();
                    assert_eq!(found.get::<i64>("round").await, Ok(round));
                    own.stop().await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(shared.get::<i64>("n").await, Ok(TASKS * ROUNDS));
    assert_eq!(registry.count().await, Ok(1));
}

#[tokio::test]
async fn an_event_wakes_who_waits_for_it() {
    let inbox = Arc::new(Inbox::open().unwrap());
    assert!(timeout(SOON, inbox.next_event()).await.is_err());
    let buckets: Vec<_> = (0..4).map(|_| bucket()).collect();
    let waiting = buckets.iter().map(|bucket| {
        inbox.monitor(bucket).unwrap();
        let inbox = Arc::clone(&inbox);
        tokio::spawn(async move { inbox.next_event().await })
    });
    let waiting: Vec<_> = waiting.collect();
    sleep(SOON).await;
    let killer = thread::spawn(move || {
        for bucket in &buckets {
            bucket.exit(Reason::Killed, "").unwrap();
        }
    });
    for event in waiting {
        let event = event.await.unwrap().unwrap();
        assert!(matches!(event, Event::Down { .. }), "{event:?}");
    }
    killer.join().unwrap();
    assert_eq!(inbox.receive(Timeout::Now), Err(Error::Timeout));
}

#[test]
fn futures_go_from_thread_to_thread() {
    fn sent<T: Send>(_: T) {}
    let (bucket, registry) = (bucket(), Registry::start().unwrap().aio());
    let inbox = Inbox::open().unwrap();
    sent(bucket.get::<i64>("k"));
    sent(bucket.put("k", String::new()));
    sent(bucket.put_many(vec![(String::new(), 1)]));
    sent(bucket.get_many::<String>(vec![String::new()]));
    sent(bucket.update("k", |_| 1));
    sent(bucket.items());
    sent(registry.create("b"));
    sent(inbox.next_event());
}
