//! Calls of servers that are awaited.

#![cfg(feature = "aio")]

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use kvreg::{
    aio, Actor, Context, Error, Handles, Registry, Reply, Server, ServerOptions, Timeout,
    Unanswered,
};
use tokio::runtime::Builder;

/// Longer than any machine takes: what would hang fails.
const PATIENCE: Duration = Duration::from_secs(60);

kvreg::messages! {
    Add(by: i64) -> i64 = "add";
    Later() -> i64 = "later";
    Now() -> bool = "now";
    Wait() = "wait";
    Name() -> Option<String> = "name";
    Refuse() = "refuse";
}

/// What a call that waits tells when it has begun, and what it waits for.
type Gate = std::sync::Mutex<(mpsc::Sender<()>, mpsc::Receiver<()>)>;

struct Counter {
    sum: i64,
    later: Option<Reply<Later>>,
    gate: std::sync::Arc<Gate>,
}

impl Actor for Counter {
    type Messages = (Add, Later, Now, Wait, Name, Refuse);
}

impl Handles<Add> for Counter {
    fn handle(&mut self, Add(by): Add, _: &Context<'_>) -> Result<i64, Unanswered> {
        self.sum += by;
        Ok(self.sum)
    }
}

impl Handles<Later> for Counter {
    fn handle(&mut self, _: Later, context: &Context<'_>) -> Result<i64, Unanswered> {
        self.later = Some(context.defer::<Later>()?);
        Err(Unanswered::Later)
    }
}

impl Handles<Now> for Counter {
    fn handle(&mut self, _: Now, _: &Context<'_>) -> Result<bool, Unanswered> {
        let later = self.later.take();
        Ok(later.is_some_and(|later| later.send(self.sum).is_ok()))
    }
}

impl Handles<Wait> for Counter {
    fn handle(&mut self, _: Wait, _: &Context<'_>) -> Result<(), Unanswered> {
        let gate = self.gate.lock().unwrap();
        gate.0.send(()).unwrap();
        gate.1.recv().unwrap();
        Ok(())
    }
}

impl Handles<Name> for Counter {
    fn handle(&mut self, _: Name, _: &Context<'_>) -> Result<Option<String>, Unanswered> {
        Ok(thread::current().name().map(str::to_owned))
    }
}

impl Handles<Refuse> for Counter {
    fn handle(&mut self, _: Refuse, _: &Context<'_>) -> Result<(), Unanswered> {
        Err(Unanswered::refused("not today"))
    }
}

/// A server, what tells that a call waits inside, and what lets that go.
struct Set {
    hits: aio::Server<Counter>,
    begun: mpsc::Receiver<()>,
    go: mpsc::Sender<()>,
}

fn set(options: ServerOptions) -> Set {
    let ((begin, begun), (go, goes)) = (mpsc::channel(), mpsc::channel());
    let gate = std::sync::Arc::new(std::sync::Mutex::new((begin, goes)));
    let make = move || Counter {
        sum: 10,
        later: None,
        gate: gate.clone(),
    };
    let hits = Server::start_with(options, make).unwrap();
    let hits = hits.with_timeout(PATIENCE).aio();
    Set { hits, begun, go }
}

fn run(work: impl std::future::Future<Output = ()>) {
    let runtime = Builder::new_current_thread().enable_time().build();
    runtime.unwrap().block_on(work);
}

#[test]
fn a_call_that_meets_nobody_runs_where_it_is_polled() {
    let Set { hits, .. } = set(ServerOptions::new());
    run(async {
        assert_eq!(hits.call(Add(5)).await, Ok(15));
        let here = thread::current().name().map(str::to_owned);
        assert_eq!(hits.call(Name()).await, Ok(here));
        hits.cast(Add(1)).unwrap();
        assert_eq!(hits.call(Add(1)).await, Ok(17)); // after the cast
        let refused = hits.call(Refuse()).await.unwrap_err();
        assert_eq!(
            (refused.error, &refused.text[..]),
            (Error::Aborted, "not today")
        );
        hits.stop().await.unwrap();
        let gone = hits.call(Add(1)).await.unwrap_err();
        assert_eq!(gone.error, Error::NoProcess);
    });
}

#[test]
fn with_hand_over_it_runs_elsewhere() {
    let Set { hits, .. } = set(ServerOptions::new().hand_over());
    run(async {
        let here = thread::current().name().map(str::to_owned);
        assert_ne!(hits.call(Name()).await, Ok(here));
        assert_eq!(hits.call(Add(5)).await, Ok(15));
        let refused = hits.call(Refuse()).await.unwrap_err();
        assert_eq!(
            (refused.error, &refused.text[..]),
            (Error::Aborted, "not today")
        );
    });
}

#[test]
fn one_that_has_to_wait_blocks_no_thread() {
    for options in [ServerOptions::new(), ServerOptions::new().hand_over()] {
        let Set { hits, begun, go } = set(options);
        let inside = (*hits).clone();
        let busy = thread::spawn(move || inside.call(Wait()));
        begun.recv().unwrap();
        run(async {
            let dropped = hits.call(Add(1000));
            assert!(tokio::time::timeout(Duration::ZERO, dropped).await.is_err());
            let short = (*hits).clone().with_timeout(Duration::from_millis(1)).aio();
            assert_eq!(
                short.call(Add(1000)).await.unwrap_err().error,
                Error::Timeout
            );
            let never = (*hits).clone().with_timeout(Timeout::Now).aio();
            assert_eq!(
                never.call(Add(1000)).await.unwrap_err().error,
                Error::Timeout
            );
            let lets_go = async { go.send(()).unwrap() };
            let (sum, ()) = tokio::join!(hits.call(Add(1)), lets_go);
            assert_eq!(sum, Ok(11)); // of the others none has run
        });
        assert_eq!(busy.join().unwrap(), Ok(()));
    }
}

#[test]
fn an_answer_that_comes_later_is_awaited() {
    for hands_over in [false, true] {
        let options = match hands_over {
            true => ServerOptions::new().hand_over(),
            false => ServerOptions::new(),
        };
        let Set { hits, .. } = set(options);
        run(async {
            let (later, now) = tokio::join!(hits.call(Later()), hits.call(Now()));
            assert_eq!((later, now), (Ok(10), Ok(true)));
            let short = (*hits).clone().with_timeout(Duration::from_millis(1)).aio();
            let late = short.call(Later()).await.unwrap_err();
            // Another thread may not have begun in so short a time.
            let is_withdrawn = hands_over && late.error == Error::Timeout;
            assert!(is_withdrawn || late.error == Error::OutcomeUnknown);
            assert_eq!(hits.call(Now()).await, Ok(false));
            let abandoned = hits.call(Later());
            assert!(tokio::time::timeout(Duration::ZERO, abandoned)
                .await
                .is_err());
            let ends = async { hits.stop().await };
            let (later, stopped) = tokio::join!(hits.call(Later()), ends);
            assert_eq!(
                (later.unwrap_err().error, stopped),
                (Error::ServerDown, Ok(()))
            );
        });
    }
}

#[test]
fn many_tasks_one_state() {
    let registry = Registry::start().unwrap();
    let ((begin, _begun), (_go, goes)) = (mpsc::channel(), mpsc::channel());
    let gate: std::sync::Arc<Gate> = std::sync::Arc::new(std::sync::Mutex::new((begin, goes)));
    let make = move || Counter {
        sum: 0,
        later: None,
        gate: gate.clone(),
    };
    let hits = registry.start_server("hits", make).unwrap().aio();
    let runtime = Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build();
    runtime.unwrap().block_on(async {
        let tasks: Vec<_> = (0..100)
            .map(|_| {
                let hits = hits.clone();
                tokio::spawn(async move {
                    for _ in 0..100 {
                        hits.call(Add(1)).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(hits.call(Add(0)).await, Ok(10_000));
    });
    registry.stop().unwrap();
}
