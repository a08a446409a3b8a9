//! Servers that Rust programs write.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{mpsc, Arc, Mutex};
use std::thread;
use std::time::Duration;

use kvreg::{
    Actor, Bucket, Context, Down, Error, Event, Handles, Inbox, Reason, Registry, Reply, Restart,
    Server, ServerOptions, Timeout, Unanswered, Value,
};

const PATIENCE: Duration = Duration::from_secs(if cfg!(miri) { 600 } else { 60 });

kvreg::messages! {
    /// Adds to the sum, which is the answer.
    Add(by: i64) -> i64 = "add";
    Sum() -> i64 = "sum";
    Join(left: String, right: Option<String>) -> String = "join";
    Refuse(why: String) = "refuse";
    Panic(what: String) = "panic";
    Fail() = "fail";
    Stop() -> i64 = "stop";
    Later() -> i64 = "later";
    Now() -> bool = "now";
    Tick(by: i64) -> i64 = "tick";
    Itself() = "itself";
}

kvreg::messages! {
    Unheard() -> i64 = "unheard";
    Other() -> Vec<u8> = "other";
}

/// Counts those that are there.
struct There(Arc<AtomicUsize>);

impl There {
    fn new(count: &Arc<AtomicUsize>) -> There {
        count.fetch_add(1, Ordering::Relaxed);
        There(Arc::clone(count))
    }
}

impl Drop for There {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Default)]
struct Counter {
    sum: i64,
    later: Option<Reply<Later>>,
    _there: Option<There>,
}

impl Counter {
    fn new(sum: i64) -> Counter {
        Counter {
            sum,
            ..Counter::default()
        }
    }
}

impl Actor for Counter {
    type Messages = (
        Add,
        Sum,
        Join,
        Refuse,
        Panic,
        Fail,
        Stop,
        Later,
        Now,
        Tick,
        Itself,
    );

    fn other(
        &mut self,
        tag: &str,
        values: &[Value],
        context: &Context<'_>,
    ) -> Result<Value, Unanswered> {
        match tag {
            "other" if context.is_call() => Ok(Value::from(vec![values.len() as u8])),
            _ => Err(Unanswered::Unknown),
        }
    }
}

impl Handles<Add> for Counter {
    fn handle(&mut self, Add(by): Add, _: &Context<'_>) -> Result<i64, Unanswered> {
        self.sum += by;
        Ok(self.sum)
    }
}

impl Handles<Sum> for Counter {
    fn handle(&mut self, _: Sum, _: &Context<'_>) -> Result<i64, Unanswered> {
        Ok(self.sum)
    }
}

impl Handles<Join> for Counter {
    fn handle(&mut self, join: Join, _: &Context<'_>) -> Result<String, Unanswered> {
        let Join(left, right) = join;
        Ok(left + right.as_deref().unwrap_or("."))
    }
}

impl Handles<Refuse> for Counter {
    fn handle(&mut self, Refuse(why): Refuse, _: &Context<'_>) -> Result<(), Unanswered> {
        Err(Unanswered::refused(why))
    }
}

impl Handles<Panic> for Counter {
    fn handle(&mut self, Panic(what): Panic, _: &Context<'_>) -> Result<(), Unanswered> {
        std::panic::resume_unwind(Box::new(what)) // without a word on stderr
    }
}

impl Handles<Fail> for Counter {
    fn handle(&mut self, _: Fail, _: &Context<'_>) -> Result<(), Unanswered> {
        Bucket::start()?.delete("milk")?;
        Ok(())
    }
}

impl Handles<Stop> for Counter {
    fn handle(&mut self, _: Stop, context: &Context<'_>) -> Result<i64, Unanswered> {
        context.stop();
        Ok(self.sum)
    }
}

impl Handles<Later> for Counter {
    fn handle(&mut self, _: Later, context: &Context<'_>) -> Result<i64, Unanswered> {
        self.later = Some(context.defer::<Later>()?);
        assert!(context.defer::<Later>().is_err());
        Err(Unanswered::Later)
    }
}

impl Handles<Now> for Counter {
    fn handle(&mut self, _: Now, _: &Context<'_>) -> Result<bool, Unanswered> {
        let later = self.later.take();
        Ok(later.is_some_and(|later| later.send(self.sum).is_ok()))
    }
}

impl Handles<Tick> for Counter {
    fn handle(&mut self, Tick(by): Tick, context: &Context<'_>) -> Result<i64, Unanswered> {
        if context.timer().is_some() {
            self.sum += by;
            return Ok(0);
        }
        context.send_next(Add(1))?;
        let timer = context.send_after(Duration::ZERO, Tick(by))?;
        Ok(timer as i64)
    }
}

impl Handles<Itself> for Counter {
    fn handle(&mut self, _: Itself, context: &Context<'_>) -> Result<(), Unanswered> {
        let refused = context.server().call(Sum()).unwrap_err();
        assert_eq!(refused.error, Error::CallingSelf);
        Ok(())
    }
}

fn waits_for(what: impl Fn() -> bool) {
    let begin = std::time::Instant::now();
    while !what() {
        assert!(begin.elapsed() < PATIENCE, "it did not come");
        thread::yield_now();
    }
}

#[test]
fn calls_have_types() {
    let registry = Registry::start().unwrap();
    let hits = registry.start_server("hits", || Counter::new(10)).unwrap();
    assert_eq!(hits.call(Add(5)), Ok(15));
    hits.cast(Add(1)).unwrap();
    hits.send(Add(1)).unwrap();
    assert_eq!(hits.call(Sum()), Ok(17));
    assert_eq!(hits.call(Join("a".into(), Some("b".into()))).unwrap(), "ab");
    assert_eq!(hits.ask("join", &["a"]).unwrap(), "a.");
    assert_eq!(hits.ask("add", &[1, 2]).unwrap_err().error, Error::Aborted);
    assert_eq!(hits.ask("add", &["1"]).unwrap_err().error, Error::Aborted);
    assert_eq!(hits.ask::<i64>("other", &[]).unwrap(), &[0u8][..]);
    hits.call(Itself()).unwrap();
    assert_eq!(
        (hits.name(), hits.info().unwrap().handled >= 8),
        (Some("hits"), true)
    );
    assert_eq!(registry.servers().unwrap(), ["hits"]);
    assert_eq!(registry.names().unwrap(), [""; 0]);

    let found = registry.lookup_server("hits").unwrap();
    assert!(found.is(&hits));
    assert_eq!(found.call(Sum()), Ok(17));
    assert_eq!(found.call(Other()).unwrap(), [0]);
    let unheard = found.call(Unheard()).unwrap_err();
    assert!(matches!(unheard.error, Error::Unsupported(_)));
    let again = registry.start_server("hits", || Counter::new(0)).unwrap();
    assert_eq!(again.call(Sum()), Ok(17));
    registry.create("bucket").unwrap();
    let wrong = registry.start_server("bucket", || Counter::new(0));
    assert_eq!(wrong.unwrap_err().error, Error::WrongKind);
    for tag in ["", "a\0b", &"x".repeat(256)] {
        let refused = hits.ask::<i64>(tag, &[]).unwrap_err();
        assert!(matches!(refused.error, Error::InvalidArgument(_)));
    }
    registry.stop().unwrap();
    assert_eq!(hits.call(Sum()).unwrap_err().error, Error::NoProcess);
}

#[test]
fn a_panic_is_a_crash_and_a_refusal_is_not() {
    let (registry, inbox) = (Registry::start().unwrap(), Inbox::open().unwrap());
    let count = Arc::default();
    let made = Arc::clone(&count);
    let options = ServerOptions::new().restart(Restart::Transient);
    let make = move || Counter {
        sum: 10,
        _there: Some(There::new(&made)),
        ..Counter::default()
    };
    let hits = registry.start_server_with("hits", options, make).unwrap();
    let refused = hits.call(Refuse("not today".into())).unwrap_err();
    assert_eq!(
        (refused.error, &refused.text[..]),
        (Error::Aborted, "not today")
    );
    assert_eq!(hits.call(Add(5)), Ok(15));

    for (crash, detail) in [
        (hits.call(Panic("on purpose".into())), "on purpose"),
        (
            registry.lookup_server("hits").unwrap().call(Fail()),
            "no such name or key",
        ),
    ] {
        assert_eq!(crash.unwrap_err().error, Error::ServerDown, "{detail}");
    }
    let monitor = inbox.monitor_server(&hits).unwrap();
    let Event::Down {
        reference, reason, ..
    } = inbox.receive(PATIENCE).unwrap()
    else {
        panic!("no DOWN");
    };
    assert_eq!((reference, reason), (monitor, Reason::NoProc));
    let again = registry.lookup_server("hits").unwrap();
    assert_eq!(again.call(Sum()), Ok(10));
    assert_eq!(again.info().unwrap().restarts, 2);
    let monitor = inbox.monitor_server(&again).unwrap();
    assert!(again.call(Panic("détail".into())).is_err());
    match inbox.receive(PATIENCE).unwrap() {
        Event::Down {
            reference,
            reason,
            detail,
            ..
        } => {
            assert_eq!((reference, reason), (monitor, Reason::Crashed));
            assert_eq!(detail, "détail");
        }
        other => panic!("{other:?}"),
    }
    registry.stop().unwrap();
    waits_for(|| count.load(Ordering::Relaxed) == 0);
}

#[test]
fn a_start_that_fails_leaves_nothing() {
    let registry = Registry::start().unwrap();
    let refused = registry
        .start_server::<Counter, _, _>("no", || Err(Unanswered::refused("not today")))
        .unwrap_err();
    assert_eq!(
        (refused.error, &refused.text[..]),
        (Error::Aborted, "not today")
    );
    let panicked = Server::<Counter>::start(|| -> Counter {
        std::panic::resume_unwind(Box::new("made of glass"))
    })
    .unwrap_err();
    assert_eq!(
        (panicked.error, &panicked.text[..]),
        (Error::ServerDown, "made of glass")
    );
    assert_eq!(registry.lookup_server("no").unwrap_err(), Error::NotFound);
    let permanent = ServerOptions::new().restart(Restart::Permanent);
    let refused = Server::start_with(permanent, || Counter::new(0)).unwrap_err();
    assert!(matches!(refused.error, Error::InvalidArgument(_)));
}

#[test]
fn timers_infos_and_monitors() {
    let registry = Registry::start().unwrap();
    let hits = registry.start_server("hits", || Counter::new(0)).unwrap();
    hits.call(Tick(10)).unwrap();
    waits_for(|| hits.call(Sum()) == Ok(11));
    let timer = hits.send_after(Duration::from_secs(3600), Add(1)).unwrap();
    let left = hits.cancel(timer).unwrap();
    assert!(left > Duration::from_secs(3000) && left <= Duration::from_secs(3600));
    assert_eq!(hits.cancel(timer), Err(Error::NotFound));

    kvreg::messages! {
        Seen() -> String = "seen";
    }
    struct Watcher {
        seen: String,
        target: Bucket,
    }
    impl Actor for Watcher {
        type Messages = (Seen,);
        fn started(&mut self, context: &Context<'_>) -> Result<(), Unanswered> {
            context.demonitor(context.monitor(&self.target)?);
            context.monitor(&self.target)?;
            Ok(())
        }
        fn down(&mut self, down: &Down<'_>, _: &Context<'_>) -> Result<(), Unanswered> {
            self.seen += &format!("{} {:?} {}", down.name.unwrap(), down.reason, down.detail);
            Ok(())
        }
    }
    impl Handles<Seen> for Watcher {
        fn handle(&mut self, _: Seen, _: &Context<'_>) -> Result<String, Unanswered> {
            Ok(self.seen.clone())
        }
    }
    let shopping = registry.create("shopping").unwrap();
    let watched = shopping.clone();
    let make = move || Watcher {
        seen: String::new(),
        target: watched.clone(),
    };
    let watcher = registry.start_server("watcher", make).unwrap();
    shopping.exit(Reason::Killed, "on purpose").unwrap();
    assert_eq!(watcher.call(Seen()).unwrap(), "shopping Killed on purpose");

    let garage = registry.create("garage").unwrap();
    hits.link(&garage).unwrap();
    hits.unlink(&garage);
    hits.link(&watcher).unwrap();
    watcher.exit(Reason::Killed, "").unwrap();
    assert_eq!(hits.call(Sum()).unwrap_err().error, Error::NoProcess);
    garage.put("k", 1).unwrap();
    registry.stop().unwrap();
}

#[test]
fn answers_come_later() {
    for hands_over in [false, true] {
        let options = match hands_over {
            true => ServerOptions::new().hand_over(),
            false => ServerOptions::new(),
        };
        let hits = Server::start_with(options, || Counter::new(7)).unwrap();
        let inbox = Inbox::open().unwrap();
        thread::scope(|threads| {
            let waits = threads.spawn(|| hits.call(Later()));
            waits_for(|| hits.call(Now()) == Ok(true));
            assert_eq!(waits.join().unwrap(), Ok(7));
        });
        let first = inbox.request(&hits, Later()).unwrap();
        waits_for(|| hits.call(Now()) == Ok(true));
        match inbox.receive(PATIENCE).unwrap() {
            Event::Reply {
                reference, answer, ..
            } => {
                assert_eq!((reference, answer), (first, Ok(Value::from(7))));
            }
            other => panic!("{other:?}"),
        }
        let short = hits.clone().with_timeout(Duration::from_millis(1));
        let late = short.call(Later()).unwrap_err();
        // Another thread may not have begun in so short a time.
        let is_withdrawn = hands_over && late.error == Error::Timeout;
        assert!(is_withdrawn || late.error == Error::OutcomeUnknown);
        assert_eq!(hits.call(Now()), Ok(false));
        let gone = inbox.request(&hits, Later()).unwrap();
        assert_eq!(hits.call(Sum()), Ok(7));
        assert_eq!(inbox.abandon(gone), Err(Error::OutcomeUnknown));
        assert_eq!(inbox.abandon(gone), Err(Error::NotFound));
        let refused = inbox.request(&hits, Later()).unwrap();
        hits.stop().unwrap();
        match inbox.receive(PATIENCE).unwrap() {
            Event::Reply {
                reference, answer, ..
            } => assert_eq!((reference, answer), (refused, Err(Error::ServerDown))),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_server_stops_by_itself_and_in_order() {
    struct Orderly(mpsc::Sender<Reason>);
    impl Actor for Orderly {
        type Messages = ();
        fn terminate(&mut self, reason: Reason, _: &Context<'_>) {
            self.0.send(reason).unwrap();
        }
    }
    let hits = Server::start(|| Counter::new(3)).unwrap();
    assert_eq!(hits.call(Stop()), Ok(3));
    assert_eq!(hits.stop(), Err(Error::NoProcess));
    let (told, hears) = mpsc::channel();
    let told = Mutex::new(told);
    let options = ServerOptions::new().wants_terminate(PATIENCE);
    let make = move || Orderly(told.lock().unwrap().clone());
    let orderly = Server::start_with(options, make).unwrap();
    orderly.stop().unwrap();
    assert_eq!(hears.recv(), Ok(Reason::Normal));
}

#[test]
fn many_threads_one_state() {
    const CALLS: i64 = if cfg!(miri) { 20 } else { 1000 };
    let hits = Server::start(|| Counter::new(0)).unwrap();
    thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                for _ in 0..CALLS {
                    hits.call(Add(1)).unwrap();
                    hits.cast(Add(1)).unwrap();
                }
            });
        }
    });
    assert_eq!(hits.call(Sum()), Ok(8 * CALLS));
    let never = hits.clone().with_timeout(Timeout::Never);
    assert_eq!(never.timeout(), Timeout::Never);
}

#[cfg(feature = "capi")]
mod from_c {
    use std::ffi::{c_char, c_void};

    use super::*;

    extern "C" {
        fn kvreg_registry_whereis(name: *const c_char, len: usize, found: *mut *mut c_void) -> i32;
        fn kvreg_registry_call(
            registry: *mut c_void,
            name: *const c_char,
            name_len: usize,
            tag: *const c_char,
            tag_len: usize,
            values: *const c_void,
            count: usize,
            reply: *mut c_void,
        ) -> i32;
        fn kvreg_registry_free(registry: *mut c_void) -> i32;
    }

    /// A program in C calls a server in Rust.
    #[test]
    fn a_call_from_c() {
        let options = kvreg::RegistryOptions::new().name("shared");
        let registry = Registry::start_with(options).unwrap();
        let hits = registry.start_server("hits", || Counter::new(5)).unwrap();
        let (nul, none) = (usize::MAX, std::ptr::null());
        let (name, mut found) = (c"hits".as_ptr(), std::ptr::null_mut());
        // SAFETY: texts that end in a NUL, and outputs or NULL.
        let whereis = |found| unsafe { kvreg_registry_whereis(c"shared".as_ptr(), nul, found) };
        assert_eq!(whereis(&mut found), 0);
        let call = |tag: &std::ffi::CStr| {
            let (tag, reply) = (tag.as_ptr(), std::ptr::null_mut());
            // SAFETY: as above.
            unsafe { kvreg_registry_call(found, name, nul, tag, nul, none, 0, reply) }
        };
        assert_eq!(call(c"sum"), 0);
        assert_eq!(call(c"unheard"), 18, "KVREG_UNSUPPORTED");
        assert_eq!(call(c"add"), 15, "KVREG_ABORTED");
        assert_eq!(call(c"fail"), 4, "KVREG_SERVER_DOWN");
        assert_eq!(call(c"sum"), 1, "KVREG_NOT_FOUND");
        // SAFETY: it is this one's to free.
        assert_eq!(unsafe { kvreg_registry_free(found) }, 0);
        assert_eq!(hits.call(Sum()).unwrap_err().error, Error::NoProcess);
        registry.stop().unwrap();
    }
}
