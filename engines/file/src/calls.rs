//! The functions that kvreg calls, and what they are lent.
//!
//! # The argument
//!
//! What is lent is there until the call returns, and the host's table for ever (`kvreg_engine.h`).
//! A store is a `Bound` in a box: made by `open`, given back to one thread at a time, and freed by
//! `close`, after which it is not given again. Each call is within `contain`, so none unwinds into
//! C.

use std::ffi::c_void;

use crate::abi::{self, Engine, Entry, Host, Open, Status, Text, Value, Write};
use crate::failure::Failure;
use crate::location::Location;
use crate::panics::contain;
use crate::record::Record;
use crate::store::{self, Store};

pub(crate) static ENGINE: Engine = Engine {
    size: size_of::<Engine>() as u32,
    abi: abi::ABI,
    abilities: abi::EXCLUSIVE,
    open,
    close,
    write,
    scan,
    destroy,
    #[cfg(unix)]
    forked: Some(forked),
    #[cfg(not(unix))]
    forked: None,
    shared: [None; 7],
};

/// A store, and whom it tells why something failed.
struct Bound {
    store: Store,
    host: &'static Host,
}

/// Answers what `work` does, and tells the host why it fails.
fn answer(host: &Host, work: impl FnOnce() -> Result<(), Refused>) -> Status {
    match contain(work) {
        Some(Ok(())) => abi::OK,
        Some(Err(Refused::ByHost(status))) => status,
        Some(Err(Refused::Here(failure))) => {
            let text = &failure.text;
            // SAFETY: the host's function, and a text that is there meanwhile.
            unsafe { (host.explain)(text.as_ptr().cast(), text.len(), failure.os_error) };
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

/// What is to be opened, or erased.
struct Given {
    location: Location,
    bucket: String,
    owner: u64,
    host: &'static Host,
}

impl Given {
    /// # Safety
    /// As the header says.
    unsafe fn get(open: &Open, host: &'static Host) -> Result<Given, Failure> {
        // SAFETY: by contract.
        let (url, bucket) = unsafe { (open.url.get(), open.bucket.get()) };
        let bucket = std::str::from_utf8(bucket).ok();
        let bucket = bucket.filter(|it| !it.is_empty() && !it.contains('\0'));
        let bucket = bucket.ok_or_else(|| {
            Failure::new(
                abi::INVALID_ARGUMENT,
                "the name of the bucket is not a name",
            )
        })?;
        Ok(Given {
            location: Location::parse(url)?,
            bucket: bucket.to_owned(),
            owner: open.owner,
            host,
        })
    }

    /// Whether this moment of the host's clock is over; who has no deadline waits for nobody.
    fn is_late(&self, deadline: i64) -> bool {
        // SAFETY: the host's function, which only reads a clock.
        deadline == i64::MAX || unsafe { (self.host.clock_ns)() } >= deadline
    }
}

unsafe extern "C" fn open(open: *const Open, deadline: i64, out: *mut *mut c_void) -> Status {
    // SAFETY: by contract; the host's table stays.
    let (open, host) = unsafe { (&*open, &*(*open).host) };
    answer(host, || {
        // SAFETY: by contract.
        let given = unsafe { Given::get(open, host) }?;
        let is_late = || given.is_late(deadline);
        let store = Store::open(&given.location, &given.bucket, given.owner, &is_late)?;
        let bound = Box::into_raw(Box::new(Bound { store, host }));
        // SAFETY: by contract, a place for it.
        unsafe { *out = bound.cast() };
        Ok(())
    })
}

unsafe extern "C" fn close(store: *mut c_void) {
    // SAFETY: made by `open`, and given up now.
    let bound = unsafe { Box::from_raw(store.cast::<Bound>()) };
    contain(|| drop(bound));
}

unsafe extern "C" fn write(
    store: *mut c_void,
    writes: *const Write,
    count: usize,
    _deadline: i64,
    _given: *mut u64,
) -> Status {
    // SAFETY: made by `open`, and used by this thread alone.
    let bound = unsafe { &*store.cast::<Bound>() };
    answer(bound.host, || {
        let mut batch = bound.store.batch(count)?;
        for at in 0..count {
            // SAFETY: by contract there are so many, with what they lend.
            let (write, key) = unsafe { (&*writes.add(at), (*writes.add(at)).key.get()) };
            match write.kind {
                abi::PUT => {
                    // SAFETY: by contract.
                    let value = unsafe { write.value.get() };
                    let record = Record {
                        value: value.ok_or_else(|| unknown("value"))?,
                        revision: write.revision,
                        expires_ms: write.expires_ms,
                    };
                    batch.put(key, &record)?;
                }
                abi::DELETE => batch.delete(key, write.revision)?,
                abi::CLEAR => batch.clear(write.revision)?,
                _ => return Err(unknown("change").into()),
            }
        }
        Ok(bound.store.write(batch)?)
    })
}

fn unknown(what: &str) -> Failure {
    Failure::new(abi::UNSUPPORTED, format!("a {what} of an unknown kind"))
}

unsafe extern "C" fn scan(
    store: *mut c_void,
    _all: *const c_void,
    _deadline: i64,
    out: *mut c_void,
) -> Status {
    // SAFETY: made by `open`, and used by this thread alone.
    let bound = unsafe { &*store.cast::<Bound>() };
    let host = bound.host;
    answer(host, || {
        bound.store.scan(
            // SAFETY: the host's function, and what it gave for it.
            |revision| checked(unsafe { (host.last_revision)(out, revision) }),
            |key, record| {
                let entry = Entry {
                    size: size_of::<Entry>() as u32,
                    reserved: 0,
                    key: Text::of(key),
                    value: Value::of(record.value),
                    revision: record.revision,
                    expires_ms: record.expires_ms,
                };
                // SAFETY: as above; what is lent is there meanwhile.
                checked(unsafe { (host.found)(out, &entry) })
            },
        )
    })
}

unsafe extern "C" fn destroy(open: *const Open, deadline: i64) -> Status {
    // SAFETY: by contract; the host's table stays.
    let (open, host) = unsafe { (&*open, &*(*open).host) };
    answer(host, || {
        // SAFETY: by contract.
        let given = unsafe { Given::get(open, host) }?;
        let is_late = || given.is_late(deadline);
        store::destroy(&given.location, &given.bucket, given.owner, &is_late)?;
        Ok(())
    })
}

/// Async-signal-safe: both parts store to atomics, and close.
#[cfg(unix)]
unsafe extern "C" fn forked() {
    crate::world::forked();
    crate::descriptors::close_all();
}
