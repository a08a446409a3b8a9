//! The engine by its table of functions, as kvreg calls it, against real servers.

mod basics;
mod batches;
mod changes;
mod clusters;
mod foreign;
#[cfg(target_os = "linux")]
mod forks;
mod opening;
mod outages;
mod sending;
mod server;
mod ttl;
mod watches;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{c_char, c_void};
use std::ptr::null_mut;
use std::sync::{Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use crate::abi::{self, Engine, Entry, Event, Host, Open, ScanOptions, Status, Text, Write};
use crate::value::Value;
use server::{Road, Server};

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn engine() -> &'static Engine {
    // SAFETY: it stays for ever.
    unsafe { &*crate::kvreg_nats_engine() }
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "it is not so: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What a value is, in a form that compares.
fn text_of(value: &Value) -> String {
    match value {
        Value::Nil => "nil".into(),
        Value::Bool(it) => format!("bool {it}"),
        Value::Int(it) => format!("int {it}"),
        Value::Float(it) => format!("float {:016x}", it.to_bits()),
        Value::String(it) => format!("string {}", String::from_utf8_lossy(it)),
        Value::Bytes(it) => format!("bytes {it:?}"),
    }
}

fn string(text: &str) -> Value {
    Value::String(text.as_bytes().to_vec().into())
}

// --- The host ---

fn clock() -> i64 {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    BEGIN.get_or_init(Instant::now).elapsed().as_nanos() as i64
}

unsafe extern "C" fn clock_ns() -> i64 {
    clock()
}

fn in_time(timeout: Duration) -> i64 {
    clock() + timeout.as_nanos() as i64
}

fn soon() -> i64 {
    in_time(PATIENCE)
}

#[derive(Clone, Debug, PartialEq)]
struct Found {
    value: String,
    revision: u64,
    expires_ms: i64,
}

type All = BTreeMap<Vec<u8>, Found>;

unsafe extern "C" fn found(out: *mut c_void, entry: *const Entry) -> Status {
    let (all, entry) = unsafe { (&mut *out.cast::<All>(), &*entry) };
    let found = Found {
        value: text_of(&unsafe { entry.value.get() }.unwrap()),
        revision: entry.revision,
        expires_ms: entry.expires_ms,
    };
    let before = all.insert(unsafe { entry.key.get() }.to_vec(), found);
    assert!(before.is_none(), "a key is told once");
    abi::OK
}

unsafe extern "C" fn last_revision(_out: *mut c_void, _revision: u64) -> Status {
    abi::OK
}

thread_local! {
    static EXPLAINED: RefCell<String> = const { RefCell::new(String::new()) };
}

unsafe extern "C" fn explain(text: *const c_char, len: usize, _os_error: i32) {
    let text = unsafe { std::slice::from_raw_parts(text.cast(), len) };
    let text = String::from_utf8(text.to_vec()).unwrap();
    assert!(!text.is_empty() && !text.ends_with('.'), "{text}");
    EXPLAINED.set(text);
}

/// What the last refusal of this thread was explained by.
fn explained() -> String {
    EXPLAINED.with_borrow(String::clone)
}

/// What became of a change that was sent.
#[derive(Default)]
struct Sent {
    outcome: Mutex<Option<(Status, u64)>>,
    told: Condvar,
}

impl Sent {
    fn outcome(&self) -> Option<(Status, u64)> {
        *self.outcome.lock().unwrap()
    }

    fn wait(&self) -> (Status, u64) {
        let outcome = self.outcome.lock().unwrap();
        let waited = self
            .told
            .wait_timeout_while(outcome, PATIENCE, |it| it.is_none());
        waited.unwrap().0.expect("a change that is never done")
    }
}

unsafe extern "C" fn done(sent: *mut c_void, status: Status, revision: u64) {
    let sent = unsafe { &*sent.cast::<Sent>() };
    let before = sent.outcome.lock().unwrap().replace((status, revision));
    assert!(before.is_none(), "a change is done once");
    sent.told.notify_all();
}

/// What a listener was told: one line each.
#[derive(Default)]
struct Told {
    lines: Mutex<Vec<String>>,
    told: Condvar,
}

impl Told {
    /// Waits for the next line, and takes it.
    fn next(&self) -> String {
        let lines = self.lines.lock().unwrap();
        let waited = self
            .told
            .wait_timeout_while(lines, PATIENCE, |it| it.is_empty());
        let mut lines = waited.unwrap().0;
        assert!(!lines.is_empty(), "nothing is told");
        lines.remove(0)
    }

    fn expect(&self, expected: &[&str]) {
        for it in expected {
            assert_eq!(&self.next(), it);
        }
    }

    /// Waits for this line, and drops those before.
    fn until(&self, expected: &str) {
        while self.next() != expected {}
    }

    fn is_silent(&self) -> bool {
        self.lines.lock().unwrap().is_empty()
    }
}

unsafe extern "C" fn tell(told: *mut c_void, event: *const Event) {
    let (told, event) = unsafe { (&*told.cast::<Told>(), &*event) };
    let key = String::from_utf8_lossy(unsafe { event.key.get() });
    let value = text_of(&unsafe { event.value.get() }.unwrap());
    let revision = event.revision;
    let line = match event.kind {
        abi::TOLD_PUT if event.expires_ms >= 0 => format!("{revision} {key} = {value} for a while"),
        abi::TOLD_PUT => format!("{revision} {key} = {value}"),
        abi::TOLD_DELETE => format!("{revision} {key} deleted"),
        abi::TOLD_EXPIRE => format!("{revision} {key} expired"),
        abi::TOLD_RESET => "reset".into(),
        abi::TOLD_CURRENT => format!("current {revision}"),
        abi::TOLD_UP => "up".into(),
        abi::TOLD_AWAY => "away".into(),
        abi::TOLD_DELETED => "deleted".into(),
        _ => panic!("told something unknown"),
    };
    told.lines.lock().unwrap().push(line);
    told.told.notify_all();
}

static HOST: Host = Host {
    size: size_of::<Host>() as u32,
    reserved: 0,
    found,
    last_revision,
    explain,
    clock_ns,
    done,
    tell,
};

// --- The calls ---

/// A change to be made.
struct Ask<'a> {
    key: &'a [u8],
    /// `None`: it is a delete.
    value: Option<Value>,
    expected: u64,
    /// From now on.
    ttl: Option<Duration>,
}

fn put(key: &str, value: Value) -> Ask<'_> {
    Ask {
        key: key.as_bytes(),
        value: Some(value),
        expected: abi::ANY,
        ttl: None,
    }
}

fn delete(key: &str) -> Ask<'_> {
    Ask {
        value: None,
        ..put(key, Value::Nil)
    }
}

impl Ask<'_> {
    fn expecting(self, expected: u64) -> Self {
        Ask { expected, ..self }
    }

    fn living(self, ttl: Duration) -> Self {
        let ttl = Some(ttl);
        Ask { ttl, ..self }
    }

    fn as_write(&self) -> Write {
        let expires_ms = self.ttl.map_or(-1, |ttl| now_ms() + ttl.as_millis() as i64);
        Write {
            size: size_of::<Write>() as u32,
            kind: match self.value {
                Some(_) => abi::PUT,
                None => abi::DELETE,
            },
            key: Text::of(self.key),
            value: abi::Value::of(self.value.as_ref().unwrap_or(&Value::Nil)),
            revision: 0,
            expires_ms,
            expected: self.expected,
        }
    }
}

fn now_ms() -> i64 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis() as i64
}

/// A store that is open, with what its listener was told.
struct Bucket {
    store: *mut c_void,
    listener: Box<Told>,
}
// SAFETY: kvreg calls a store by any thread.
unsafe impl Send for Bucket {}
// SAFETY: as above, at the same time.
unsafe impl Sync for Bucket {}

fn open_of(url: &str, bucket: &str, listener: *mut c_void) -> Open {
    Open {
        size: size_of::<Open>() as u32,
        reserved: 0,
        url: Text::of(url.as_bytes()),
        bucket: Text::of(bucket.as_bytes()),
        owner: 1,
        max_value: 512 << 20,
        host: &HOST,
        listener,
    }
}

fn erase(url: &str, bucket: &str) -> Status {
    unsafe { (engine().destroy)(&open_of(url, bucket, null_mut()), soon()) }
}

impl Bucket {
    fn try_open(url: &str, bucket: &str, deadline: i64) -> Result<Bucket, Status> {
        let listener = Box::<Told>::default();
        let told = (&raw const *listener).cast_mut().cast();
        let mut store = null_mut();
        match unsafe { (engine().open)(&open_of(url, bucket, told), deadline, &mut store) } {
            abi::OK => Ok(Bucket { store, listener }),
            status => Err(status),
        }
    }

    fn open(url: &str, bucket: &str) -> Bucket {
        Bucket::try_open(url, bucket, soon())
            .unwrap_or_else(|status| panic!("{status}: {}", explained()))
    }

    fn write_by(&self, asks: &[Ask<'_>], deadline: i64) -> Result<u64, Status> {
        let writes: Vec<Write> = asks.iter().map(Ask::as_write).collect();
        let mut revision = 0;
        let write = engine().write;
        match unsafe {
            write(
                self.store,
                writes.as_ptr(),
                writes.len(),
                deadline,
                &mut revision,
            )
        } {
            abi::OK => Ok(revision),
            status => Err(status),
        }
    }

    fn write(&self, asks: &[Ask<'_>]) -> Result<u64, Status> {
        self.write_by(asks, soon())
    }

    fn put(&self, key: &str, value: Value) -> u64 {
        self.write(&[put(key, value)])
            .unwrap_or_else(|it| panic!("{it}: {}", explained()))
    }

    fn send(&self, asks: &[Ask<'_>], deadline: i64, sent: &Sent) -> Status {
        let writes: Vec<Write> = asks.iter().map(Ask::as_write).collect();
        let sent = (&raw const *sent).cast_mut().cast();
        unsafe { (engine().send)(self.store, writes.as_ptr(), writes.len(), deadline, sent) }
    }

    fn get_by(&self, key: &[u8], deadline: i64) -> Result<Found, Status> {
        let mut all = All::new();
        let out = (&raw mut all).cast();
        match unsafe { (engine().get)(self.store, &Text::of(key), deadline, out) } {
            abi::OK => Ok(all.remove(key).unwrap()),
            status => Err(status),
        }
    }

    fn get(&self, key: &str) -> Result<Found, Status> {
        self.get_by(key.as_bytes(), soon())
    }

    /// The value of a key that is there.
    fn value(&self, key: &str) -> String {
        self.get(key).unwrap().value
    }

    fn scan(&self, which: &ScanOptions) -> All {
        let mut all = All::new();
        let out = (&raw mut all).cast();
        let status = unsafe { (engine().scan)(self.store, which, soon(), out) };
        assert_eq!(status, abi::OK, "{}", explained());
        all
    }

    fn keys(&self, prefix: &[u8], after: Option<&[u8]>) -> Vec<String> {
        let all = self.scan(&ScanOptions::of(0, prefix, after));
        let text = |key: Vec<u8>| String::from_utf8(key).unwrap();
        all.into_keys().map(text).collect()
    }

    fn count(&self) -> (u64, u64) {
        let (mut count, mut revision) = (0, 0);
        let status = unsafe { (engine().count)(self.store, soon(), &mut count, &mut revision) };
        assert_eq!(status, abi::OK, "{}", explained());
        (count, revision)
    }

    fn abilities(&self) -> u64 {
        unsafe { (engine().abilities_of)(self.store) }
    }

    fn interrupt(&self) {
        unsafe { (engine().interrupt)(self.store) }
    }

    fn watch(&self) -> Watch {
        let told = Box::<Told>::default();
        let watcher = (&raw const *told).cast_mut().cast();
        let mut watch = null_mut();
        let status = unsafe { (engine().watch)(self.store, watcher, &mut watch) };
        assert_eq!(status, abi::OK);
        Watch { watch, told }
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        unsafe { (engine().close)(self.store) }
    }
}

struct Watch {
    watch: *mut c_void,
    told: Box<Told>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        unsafe { (engine().unwatch)(self.watch) }
    }
}

/// What another program does, by async-nats alone.
fn others<T>(url: &str, work: impl AsyncFnOnce(async_nats::jetstream::Context) -> T) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().unwrap();
    runtime.block_on(async {
        let client = async_nats::connect(url).await.unwrap();
        work(async_nats::jetstream::new(client)).await
    })
}
