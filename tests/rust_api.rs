//! What a Rust programmer writes without looking it up, a statement each.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt::Debug;
use std::process::Command;
use std::time::Duration;

use kvreg::{
    AsValue, Bucket, BucketInfo, BucketOptions, Error, Event, FromValue, Inbox, Level, Listener,
    ListenerOptions, Names, Options, Reason, Registry, RegistryInfo, RegistryOptions, Text,
    Timeout, Update, Value, ValueRef, Verdict,
};

fn bucket() -> Bucket {
    Bucket::start().unwrap()
}

#[test]
fn a_key_and_a_literal() {
    let bucket = bucket();
    bucket.put("milk", 1).unwrap();
    assert_eq!(bucket.get::<i64>("milk"), Ok(1));
    bucket.put(b"milk", 2.5).unwrap();
    assert_eq!(bucket.get::<f64>(String::from("milk")), Ok(2.5));
    bucket.put(vec![109, 105], true).unwrap();
    assert_eq!(bucket.get::<bool>("mi"), Ok(true));
}

#[test]
fn an_integer_of_any_width() {
    let bucket = bucket();
    bucket.put("n", 1u32).unwrap();
    assert_eq!(bucket.get::<u32>("n"), Ok(1));
    bucket.put("n", u32::MAX).unwrap();
    assert_eq!(bucket.get::<u64>("n"), Ok(u64::from(u32::MAX)));
    assert_eq!(
        bucket.get::<i32>("n"),
        Err(Error::WrongType),
        "it does not fit"
    );
    bucket.put("n", -1i8).unwrap();
    assert_eq!(bucket.get::<usize>("n"), Err(Error::WrongType));
}

#[test]
fn raw_bytes() {
    let bucket = bucket();
    bucket.put("raw", b"raw").unwrap();
    assert_eq!(bucket.get::<Vec<u8>>("raw"), Ok(b"raw".to_vec()));
    assert_eq!(bucket.get::<Value>("raw").unwrap(), ValueRef::Bytes(b"raw"));
    assert_eq!(bucket.get::<String>("raw"), Err(Error::WrongType));
}

#[test]
fn a_string() {
    let bucket = bucket();
    let text = String::from("rye");
    bucket.put("bread", &text).unwrap();
    bucket.put("bread", text).unwrap();
    assert_eq!(bucket.get::<String>("bread"), Ok("rye".into()));
}

#[test]
fn a_vector_of_bytes() {
    let bucket = bucket();
    bucket.put("photo", vec![0xff_u8; 600]).unwrap();
    assert_eq!(bucket.get::<Vec<u8>>("photo"), Ok(vec![0xff; 600]));
    bucket.put("photo", &[1_u8, 2][..]).unwrap();
    assert_eq!(bucket.get::<Text>("photo").unwrap().as_bytes(), [1, 2]);
}

#[test]
fn every_handle_has_a_debug_form() {
    let options = RegistryOptions::new().name("debug");
    let registry = Registry::start_with(options).unwrap();
    assert_eq!(
        format!("{registry:?}"),
        r#"Registry { name: Some("debug"), .. }"#
    );
    let shopping = registry.create("shopping").unwrap();
    assert_eq!(
        format!("{shopping:?}"),
        r#"Bucket { name: Some("shopping"), .. }"#
    );
    let inbox = Inbox::open().unwrap();
    assert_eq!(format!("{inbox:?}"), "Inbox { .. }");
    let update = shopping.update_begin("milk").unwrap();
    assert_eq!(format!("{update:?}"), "Update { .. }");
    let listener = Listener::start(&registry, "0", ListenerOptions::new()).unwrap();
    let shown = format!("{listener:?}");
    assert!(
        shown.starts_with("Listener { address: Tcp(127.0.0.1:"),
        "{shown}"
    );
    drop(update);
    registry.stop().unwrap();
}

#[test]
fn a_value_as_a_text() {
    let bucket = bucket();
    bucket.put("bread", "rye").unwrap();
    let value: Value = bucket.get("bread").unwrap();
    assert_eq!(value.as_str(), Some("rye"));
    assert_eq!(value.as_i64(), None);
    assert_eq!(value, "rye");
    assert_eq!(value.to_string(), "rye");
}

#[test]
fn a_value_into_a_number() {
    let bucket = bucket();
    bucket.put("milk", 7).unwrap();
    let value: Value = bucket.delete("milk").unwrap();
    assert_eq!(i64::try_from(&value), Ok(7));
    assert_eq!(i64::try_from(value), Ok(7));
    assert_eq!(i64::try_from(Value::from("7")), Err(Error::WrongType));
}

#[test]
fn a_verdict_with_a_text() {
    let bucket = bucket();
    bucket
        .update("name", |_| Verdict::Store("x".into()))
        .unwrap();
    assert_eq!(bucket.get::<String>("name"), Ok("x".into()));
}

#[test]
fn a_loop_over_the_names() {
    let registry = Registry::start().unwrap();
    for name in ["a", "b", "c"] {
        registry.create(name).unwrap();
    }
    let mut names = Vec::new();
    for name in &registry {
        names.push(name);
    }
    names.sort();
    assert_eq!(names, ["a", "b", "c"]);
    registry.stop().unwrap();
    assert_eq!((&registry).into_iter().len(), 0);
}

#[test]
fn a_duration_for_a_timeout() {
    let mut bucket = bucket().with_timeout(Duration::from_millis(20));
    let update = bucket.update_begin("n").unwrap();
    let (short, inbox) = (bucket.clone(), Inbox::open().unwrap());
    let waited = std::thread::spawn(move || short.put("n", 1));
    assert_eq!(waited.join().unwrap(), Err(Error::Timeout));
    drop(update);
    let empty = inbox.receive(Duration::from_millis(1));
    assert_eq!(empty, Err(Error::Timeout));
    bucket.set_timeout(Duration::ZERO);
    assert_eq!(bucket.timeout(), Timeout::Now);
    assert_eq!(bucket.get::<Option<i64>>("n"), Ok(None), "it was withdrawn");
}

#[path = "../examples/shopping.rs"]
mod shopping;

/// Runs a test of this program in a process of its own: what it prints.
fn alone(test: &str) -> String {
    let itself = std::env::current_exe().unwrap();
    let child = Command::new(itself)
        .args(["--exact", test, "--nocapture"])
        .env("KVREG_TEST_ALONE", "1")
        .output()
        .unwrap();
    assert!(child.status.success(), "{child:?}");
    String::from_utf8(child.stdout).unwrap()
}

fn is_alone() -> bool {
    std::env::var_os("KVREG_TEST_ALONE").is_some()
}

#[test]
fn configure_and_shutdown() {
    if is_alone() {
        hold_for_the_whole_process();
    } else {
        alone("configure_and_shutdown");
    }
}

fn hold_for_the_whole_process() {
    let wrong = kvreg::configure(Options::new().thread_name("longer than the system has"));
    assert!(matches!(wrong, Err(Error::InvalidArgument(_))));
    let options = Options::new()
        .worker_threads(1)
        .thread_name("shop")
        .default_timeout(Duration::from_millis(1500));
    kvreg::configure(options).unwrap();
    assert_eq!(kvreg::configure(Options::new()), Err(Error::AlreadyStarted));

    let (bucket, registry) = (bucket(), Registry::start().unwrap());
    assert_eq!(
        bucket.timeout(),
        Timeout::After(Duration::from_millis(1500))
    );
    let (shopping, inbox) = (registry.create("shopping").unwrap(), Inbox::open().unwrap());
    let listener = Listener::start(&registry, "0", ListenerOptions::new()).unwrap();
    let address = listener.address().to_string();
    shopping.put("bread", "rye").unwrap();
    let value: Value = shopping.get("bread").unwrap();

    let (begun, has_begun) = std::sync::mpsc::channel();
    let (go, may_go) = std::sync::mpsc::channel::<()>();
    let stuck = move |_: Option<&Value>| {
        begun.send(()).unwrap();
        let _ = may_go.recv();
        Verdict::Keep
    };
    shopping.update_cast("bread", stuck).unwrap();
    has_begun.recv().unwrap();
    let inside = bucket.update("n", |_| {
        assert_eq!(
            kvreg::shutdown(Duration::from_secs(1)),
            Err(Error::CallingSelf)
        );
        Verdict::Keep
    });
    assert_eq!(inside, Ok(()));
    let shut_down = kvreg::shutdown(Duration::from_millis(50));
    assert_eq!(
        shut_down,
        Err(Error::Timeout),
        "a callback is still running"
    );
    drop(go);

    assert_eq!(kvreg::shutdown(Timeout::Never), Err(Error::ShutDown));
    for refused in [
        bucket.put("n", 1),
        bucket.get::<i64>("n").map(drop),
        shopping.update("n", |_| 1),
        registry.create("other").map(drop),
        registry.count().map(drop),
        inbox.receive(Timeout::Now).map(drop),
        inbox.monitor(&bucket).map(drop),
        Bucket::start().map(drop),
        Registry::whereis("shop").map(drop),
        kvreg::configure(Options::new()),
    ] {
        assert_eq!(refused, Err(Error::ShutDown));
    }
    assert!(std::net::TcpStream::connect(address).is_err());
    assert_eq!(value, "rye", "values stay valid");
    assert_eq!(shopping.name(), Some("shopping"));
}

#[test]
fn an_event_is_an_enum_with_fields() {
    let (bucket, inbox) = (bucket(), Inbox::open().unwrap());
    let monitor = inbox.monitor(&bucket).unwrap();
    bucket.exit(Reason::Killed, "why").unwrap();
    match inbox.receive(Timeout::Never).unwrap() {
        Event::Down {
            reference,
            reason,
            name,
            detail,
            ..
        } => {
            assert_eq!((reference, reason), (monitor, Reason::Killed));
            assert_eq!((name, &*detail), (None, "why"));
        }
        Event::Log { level, message, .. } => panic!("{level:?} {message}"),
        Event::Lost { count, .. } => panic!("{count}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_error_through_a_question_mark() {
    fn read(bucket: &Bucket) -> Result<i64, Box<dyn StdError>> {
        Ok(bucket.get::<i64>("milk")? + "1".parse::<i64>()?)
    }
    fn sent(bucket: &Bucket) -> Result<i64, Box<dyn StdError + Send + Sync>> {
        Ok(bucket.get("milk")?)
    }
    let bucket = bucket();
    let error = read(&bucket).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Error::NotFound));
    assert_eq!(
        sent(&bucket).unwrap_err().to_string(),
        "no such name or key"
    );
    bucket.put("milk", 1).unwrap();
    assert_eq!(read(&bucket).unwrap(), 2);
}

#[test]
fn a_value_of_a_type() {
    let bucket = bucket();
    bucket.put("milk", 1).unwrap();
    assert_eq!(bucket.get::<i64>("milk").unwrap(), 1);
    let milk: i64 = bucket.get("milk").unwrap();
    assert_eq!(milk, 1);
    assert_eq!(bucket.get::<i64>("eggs"), Err(Error::NotFound));
    assert_eq!(bucket.get::<Option<i64>>("eggs"), Ok(None));
    bucket.put("milk", None::<i64>).unwrap();
    assert!(bucket.get::<Value>("milk").unwrap().is_nil());
    assert_eq!(bucket.get::<Option<i64>>("milk"), Ok(None));
    assert_eq!(bucket.get::<i64>("milk"), Err(Error::WrongType));
}

#[test]
fn an_update_by_a_closure() {
    let bucket = bucket();
    for _ in 0..3 {
        let next = |old: Option<&Value>| old.and_then(Value::as_i64).unwrap_or(0) + 1;
        bucket.update("n", next).unwrap();
    }
    assert_eq!(bucket.get::<i64>("n"), Ok(3));
    bucket.update("n", |old| old.map(Value::to_string)).unwrap();
    assert_eq!(bucket.get::<String>("n"), Ok("3".into()));
    bucket.update("n", |_| Verdict::Remove).unwrap();
    assert_eq!(bucket.count(), Ok(0));
}

#[test]
fn many_at_once() {
    let bucket = bucket();
    let stock = BTreeMap::from([("eggs".to_owned(), 12), ("milk".to_owned(), 1)]);
    bucket.put_many(&stock).unwrap();
    bucket.put_many([("bread", "rye")]).unwrap();
    let counts = bucket.get_many::<i64>(stock.keys()).unwrap();
    assert_eq!(counts, [Some(12), Some(1)]);
    let values = bucket.get_many::<Value>(["bread", "tea"]).unwrap();
    assert_eq!(values, [Some(Value::from("rye")), None]);
    let mixed = [("a", ValueRef::from(1)), ("b", "x".into())];
    bucket.put_many(mixed).unwrap();
    let mut keys: Vec<_> = bucket.items().unwrap();
    keys.sort_by(|one, other| one.0.cmp(&other.0));
    let keys: Vec<_> = keys.iter().map(|(key, _)| key.to_string()).collect();
    assert_eq!(keys, ["a", "b", "bread", "eggs", "milk"]);
    let long = bucket.put_many([(vec![0; kvreg::KEY_LIMIT + 1], 1)]);
    assert!(matches!(long, Err(Error::InvalidArgument(_))));
}

#[test]
fn options_are_built() {
    let options = BucketOptions::new().max_keys(1).max_value(8);
    let registry = Registry::start().unwrap();
    let small = registry.create_with("small", options).unwrap();
    small.put("k", 1).unwrap();
    assert!(matches!(small.put("l", 1), Err(Error::Limit(_))));
    assert!(matches!(small.put("k", "123456789"), Err(Error::Limit(_))));
}

#[test]
fn all_that_is_shared_between_threads_may_be() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Bucket>();
    shared::<Registry>();
    shared::<Inbox>();
    shared::<Listener>();
    shared::<Update>();
    shared::<Names>();
    shared::<Value>();
    shared::<Text>();
    shared::<Event>();
    shared::<Error>();
    shared::<Verdict>();
    shared::<Timeout>();
    shared::<(BucketInfo, BucketOptions, RegistryInfo, RegistryOptions)>();
    shared::<(Options, ListenerOptions, Level, Reason)>();
    fn both_ways<T: AsValue + FromValue + Debug>() {}
    both_ways::<i64>();
    both_ways::<Option<String>>();
    both_ways::<Value>();
}

/// The program of the examples: 60 lines, as a stranger would write them.
#[test]
fn the_shop_runs() {
    if is_alone() {
        return shopping::main().unwrap();
    }
    let printed = alone("the_shop_runs");
    for line in [
        "sold milk 15 times, left None",
        "dairy is down: the cooling failed",
        "bakery has 1 kinds",
        "dairy has 0 kinds",
    ] {
        assert!(printed.lines().any(|it| it.ends_with(line)), "{printed}");
    }
}

/// What was inherited through `fork` is refused, and may be dropped (G11).
#[cfg(target_os = "linux")]
#[test]
fn g11_a_forked_child_is_told_so() {
    let registry = Registry::start().unwrap();
    let (shopping, inbox) = (registry.create("shopping").unwrap(), Inbox::open().unwrap());
    // SAFETY: the child does nothing that needs other threads, and leaves by `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let refused = [
            shopping.put("milk", 1),
            shopping.get::<i64>("milk").map(drop),
            registry.lookup("shopping").map(drop),
            inbox.receive(Timeout::Now).map(drop),
        ];
        drop((registry, shopping, inbox));
        let works = Bucket::start().and_then(|bucket| bucket.put("milk", 1));
        let is_right = refused.iter().all(|it| *it == Err(Error::Forked)) && works.is_ok();
        // SAFETY: it does not return.
        unsafe { libc::_exit(i32::from(!is_right)) };
    }
    let mut status = -1;
    // SAFETY: a child of this process, and a place for its status.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0);
    assert_eq!(shopping.put("milk", 1), Ok(()));
}
