//! The functions that kvreg calls, and what they are lent.
//!
//! # The argument
//!
//! What is lent is there until the call returns, so what goes to a task or over the wire is a copy;
//! the host's table is there for ever (`kvreg_engine.h`). A store is a box made by `open`,
//! used by several threads at once, and freed by `close`, when nobody uses it; so is a watch. Each
//! call is within `contain`, so none unwinds into C. `found` and `explain` are called by the thread
//! that kvreg has called on, and by no task.

use std::ffi::c_void;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::abi::{self, Engine, Entry, Host, Open, ScanOptions, Status, Text, Value, Write};
use crate::apply::Applying;
use crate::change::{Change, Condition, Part};
use crate::credentials;
use crate::entry::{Kind, Stored};
use crate::failure::Failure;
use crate::keys::Names;
use crate::location::{Layout, Location};
use crate::panics::contain;
use crate::scan::Scan;
use crate::store::{Core, Listener, Store};
use crate::waiting::Calls;
use crate::watch::Watch;
use crate::world::world;

pub(crate) static ENGINE: Engine = Engine {
    size: size_of::<Engine>() as u32,
    abi: abi::ABI,
    abilities: abi::SHARED | abi::BATCHES | abi::TTL,
    open,
    close,
    write,
    scan,
    destroy,
    #[cfg(unix)]
    forked: Some(forked),
    #[cfg(not(unix))]
    forked: None,
    get,
    count,
    send,
    watch,
    unwatch,
    interrupt,
    abilities_of,
};

/// Answers what `work` does, and tells the host why it fails.
fn answer(host: &Host, work: impl FnOnce() -> Result<(), Refused>) -> Status {
    match contain(work) {
        Some(Ok(())) => abi::OK,
        Some(Err(Refused::ByHost(status))) => status,
        Some(Err(Refused::Here(failure))) => {
            let text = &failure.text;
            // SAFETY: the host's function, and a text that is there meanwhile.
            unsafe { (host.explain)(text.as_ptr().cast(), text.len(), 0) };
            failure.status
        }
        None => abi::INTERNAL,
    }
}

enum Refused {
    Here(Failure),
    /// It knows why.
    ByHost(Status),
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Refused {
        Refused::Here(failure)
    }
}

fn checked(status: Status) -> Result<(), Refused> {
    match status {
        abi::OK => Ok(()),
        status => Err(Refused::ByHost(status)),
    }
}

/// The moment of a deadline by the host's clock; `None`: there is none.
fn moment(host: &Host, deadline: i64) -> Option<Instant> {
    if deadline == i64::MAX {
        return None;
    }
    // SAFETY: the host's function, which only reads a clock.
    let left = deadline.saturating_sub(unsafe { (host.clock_ns)() });
    Some(Instant::now() + Duration::from_nanos(left.max(0) as u64))
}

/// Waits for what is asked of a store that was opened.
fn wait<T>(
    store: &Store,
    deadline: Option<Instant>,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let done = store.calls.wait(store.handle(), deadline, work);
    done.unwrap_or_else(|| Err(Failure::timeout()))
}

/// What is to be opened, or erased.
struct Given {
    layout: Layout,
    core: Arc<Core>,
}

impl Given {
    /// # Safety
    /// As the header says.
    unsafe fn get(open: &Open) -> Result<Given, Failure> {
        // SAFETY: by contract.
        let (url, bucket) = unsafe { (open.url.get(), open.bucket.get()) };
        let location = Location::parse(url)?;
        let layout = &location.layout;
        let names = Names::new(&layout.prefix, bucket, layout.coding)?;
        if !credentials::are_there(&location.servers.login) {
            return Err(Failure::io("the file of creds= cannot be read"));
        }
        let cluster = world().cluster(&location.servers)?;
        Ok(Given {
            layout: location.layout,
            core: Arc::new(Core::new(cluster, names)),
        })
    }

    /// Waits for what is asked of a store that is not open.
    fn wait<T>(
        &self,
        deadline: Option<Instant>,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let cluster = &self.core.cluster;
        let done = Calls::default().wait(cluster.handle(), deadline, work);
        done.unwrap_or_else(|| Err(Failure::io(cluster.why_down())))
    }
}

unsafe extern "C" fn open(open: *const Open, deadline: i64, out: *mut *mut c_void) -> Status {
    // SAFETY: by contract; the host's table stays.
    let (open, host) = unsafe { (&*open, &*(*open).host) };
    answer(host, || {
        let deadline = moment(host, deadline);
        // SAFETY: by contract.
        let given = unsafe { Given::get(open) }?;
        let listener = Listener::new(host, open.listener);
        let core = Arc::clone(&given.core);
        let store = given.wait(deadline, Store::open(&given.layout, core, listener))?;
        // SAFETY: by contract, a place for it.
        unsafe { *out = Box::into_raw(Box::new(store)).cast() };
        Ok(())
    })
}

unsafe extern "C" fn close(store: *mut c_void) {
    // SAFETY: made by `open`, and given up now.
    let store = unsafe { Box::from_raw(store.cast::<Store>()) };
    contain(|| store.close());
}

/// # Safety
/// `store` is one, made by `open`, that is not closed.
unsafe fn lent<'a>(store: *mut c_void) -> &'a Store {
    // SAFETY: by contract.
    unsafe { &*store.cast::<Store>() }
}

/// # Safety
/// As the header says.
unsafe fn change(store: &Store, writes: *const Write, count: usize) -> Result<Change, Failure> {
    let names = &store.core.names;
    let part = |at: usize| {
        // SAFETY: by contract there are so many, with what they lend.
        let (write, key) = unsafe { (&*writes.add(at), (*writes.add(at)).key.get()) };
        let condition = match write.expected {
            abi::ANY => Condition::None,
            0 => Condition::Absent,
            revision => Condition::Revision(revision),
        };
        match write.kind {
            abi::PUT => {
                // SAFETY: by contract.
                let value = unsafe { write.value.get() };
                let value = value.ok_or_else(|| unknown("value"))?;
                Part::put(names, key, value, write.expires_ms, condition)
            }
            abi::DELETE => Part::delete(names, key, condition),
            _ => Err(unknown("change")),
        }
    };
    let parts = (0..count).map(part).collect::<Result<Vec<_>, _>>()?;
    Change::new(parts, store.core.abilities())
}

fn unknown(what: &str) -> Failure {
    Failure::unsupported(format!("a {what} of an unknown kind"))
}

unsafe extern "C" fn write(
    store: *mut c_void,
    writes: *const Write,
    count: usize,
    deadline: i64,
    revision: *mut u64,
) -> Status {
    // SAFETY: made by `open`.
    let store = unsafe { lent(store) };
    answer(store.host, || {
        let deadline = moment(store.host, deadline);
        // SAFETY: by contract.
        let change = unsafe { change(store, writes, count) }?;
        let work = Applying::new(&store.core, &change).run();
        let done = store.calls.wait(store.handle(), deadline, work);
        let first = done.unwrap_or_else(|| Err(change.handing.give_up()))?;
        // SAFETY: by contract, a place for it.
        unsafe { *revision = first };
        Ok(())
    })
}

unsafe extern "C" fn send(
    store: *mut c_void,
    writes: *const Write,
    count: usize,
    deadline: i64,
    sent: *mut c_void,
) -> Status {
    // SAFETY: made by `open`.
    let store = unsafe { lent(store) };
    answer(store.host, || {
        let deadline = moment(store.host, deadline);
        // SAFETY: by contract.
        let change = unsafe { change(store, writes, count) }?;
        Ok(store.queue.send(change, deadline, sent)?)
    })
}

/// Hands an entry to the host. `with_value`: else it is nil.
fn found(
    store: &Store,
    out: *mut c_void,
    key: &[u8],
    stored: &Stored,
    with_value: bool,
) -> Result<(), Refused> {
    let value = match with_value {
        true => stored.value(),
        false => crate::value::Value::Nil,
    };
    let entry = Entry {
        size: size_of::<Entry>() as u32,
        reserved: 0,
        key: Text::of(key),
        value: Value::of(&value),
        revision: stored.sequence,
        expires_ms: stored.expires_ms(store.core.max_age_ms()),
    };
    // SAFETY: the host's function, and what it gave for it; what is lent is there meanwhile.
    checked(unsafe { (store.host.found)(out, &entry) })
}

unsafe extern "C" fn get(
    store: *mut c_void,
    key: *const Text,
    deadline: i64,
    out: *mut c_void,
) -> Status {
    // SAFETY: made by `open`; the key by contract.
    let (store, key) = unsafe { (lent(store), (*key).get()) };
    answer(store.host, || {
        let deadline = moment(store.host, deadline);
        let subject = store.core.names.subject(key)?;
        let last = wait(store, deadline, store.core.last_of(&subject))?;
        match last.filter(|it| it.kind() == Kind::Put) {
            Some(stored) => found(store, out, key, &stored, true),
            None => Err(Refused::ByHost(abi::NOT_FOUND)),
        }
    })
}

unsafe extern "C" fn scan(
    store: *mut c_void,
    which: *const ScanOptions,
    deadline: i64,
    out: *mut c_void,
) -> Status {
    // SAFETY: made by `open`; the rest by contract.
    let (store, which) = unsafe { (lent(store), &*which) };
    // SAFETY: by contract.
    let (prefix, after) = unsafe { (which.prefix(), which.after()) };
    answer(store.host, || {
        let deadline = moment(store.host, deadline);
        let names = &store.core.names;
        let Some(subjects) = names.beginning(prefix) else {
            return Ok(());
        };
        let keys_only = which.flags & abi::KEYS_ONLY != 0;
        let started = Scan::start(Arc::clone(&store.core), subjects, keys_only);
        let mut scan = wait(store, deadline, started)?;
        loop {
            let part = wait(store, deadline, scan.part())?;
            if part.is_empty() {
                return Ok(());
            }
            for stored in &part {
                let key = names.key(&stored.subject).unwrap_or_default();
                let is_asked = key.starts_with(prefix) && after.is_none_or(|it| &*key > it);
                if is_asked && names.key(&stored.subject).is_some() {
                    found(store, out, &key, stored, !keys_only)?;
                }
            }
        }
    })
}

unsafe extern "C" fn count(
    store: *mut c_void,
    deadline: i64,
    count: *mut u64,
    revision: *mut u64,
) -> Status {
    // SAFETY: made by `open`.
    let store = unsafe { lent(store) };
    answer(store.host, || {
        let deadline = moment(store.host, deadline);
        let (keys, last) = wait(store, deadline, async {
            let (core, all) = (Arc::clone(&store.core), store.core.names.all());
            Scan::start(core, all, true).await?.count().await
        })?;
        // SAFETY: by contract, places for them.
        unsafe {
            *count = keys;
            *revision = last;
        }
        Ok(())
    })
}

unsafe extern "C" fn destroy(open: *const Open, deadline: i64) -> Status {
    // SAFETY: by contract; the host's table stays.
    let (open, host) = unsafe { (&*open, &*(*open).host) };
    answer(host, || {
        let deadline = moment(host, deadline);
        // SAFETY: by contract.
        let given = unsafe { Given::get(open) }?;
        Ok(given.wait(deadline, given.core.erase())?)
    })
}

unsafe extern "C" fn watch(
    store: *mut c_void,
    watcher: *mut c_void,
    out: *mut *mut c_void,
) -> Status {
    // SAFETY: made by `open`.
    let store = unsafe { lent(store) };
    answer(store.host, || {
        let watch = Watch::start(Arc::clone(&store.core), store.host, watcher);
        // SAFETY: by contract, a place for it.
        unsafe { *out = Box::into_raw(Box::new(watch)).cast() };
        Ok(())
    })
}

unsafe extern "C" fn unwatch(watch: *mut c_void) {
    // SAFETY: made by `watch`, and given up now.
    let watch = unsafe { Box::from_raw(watch.cast::<Watch>()) };
    contain(|| drop(watch));
}

unsafe extern "C" fn interrupt(store: *mut c_void) {
    // SAFETY: made by `open`.
    let store = unsafe { lent(store) };
    contain(|| store.calls.interrupt());
}

unsafe extern "C" fn abilities_of(store: *mut c_void) -> u64 {
    // SAFETY: made by `open`.
    let store = unsafe { lent(store) };
    contain(|| store.core.abilities()).unwrap_or(0)
}

/// Async-signal-safe: stores to an atomic.
#[cfg(unix)]
unsafe extern "C" fn forked() {
    crate::world::forked();
}
