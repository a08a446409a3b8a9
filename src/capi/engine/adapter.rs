//! An engine in C as the core knows one.
//!
//! # The argument
//!
//! The engine's functions are good for ever, as the header asks of who registers them; so is the
//! host's table. A store is the engine's address, which is given to it as it came, by one thread at a
//! time (`store/engine.rs`), and given up once, by `close`. What is lent to a call is there as long
//! as it runs. `out` of a scan is the address of what takes over, on the stack of who scans.

use std::ffi::{c_char, c_void};
use std::ptr;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::abi::{self, kvreg_engine, Entry, Host, Open, Text, Write};
use super::explanation;
use super::shared::{done, tell, NativeShared};
use crate::capi::argument;
use crate::capi::scan::kvreg_scan_options;
use crate::capi::status::{kvreg_status, Failure, Status};
use crate::capi::value::kvreg_value;
use crate::error::Error;
use crate::memory;
use crate::store::KEY_LIMIT;
use crate::store::{AnyStore, Engine, Found, Hears, Loaded, Loading, Location, Store, Written};
use crate::time::Deadline;
use crate::value::ValueRef;

/// A checked engine.
pub(super) struct Native(pub(super) kvreg_engine);

/// An open store of an engine's.
struct NativeStore {
    engine: kvreg_engine,
    store: *mut c_void,
}

// SAFETY: engines are called by any thread, as the header says; for a store one at a time.
unsafe impl Send for NativeStore {}
// SAFETY: as above.
unsafe impl Sync for NativeStore {}

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

fn text_of(text: &str) -> Text {
    Text {
        data: text.as_ptr().cast(),
        len: text.len(),
    }
}

pub(super) fn bytes_of(bytes: &[u8]) -> Text {
    Text {
        data: bytes.as_ptr().cast(),
        len: bytes.len(),
    }
}

fn opening(location: &Location<'_>) -> Open {
    Open {
        size: size_of::<Open>() as u32,
        reserved: 0,
        url: text_of(location.url),
        bucket: text_of(location.bucket),
        owner: location.owner,
        max_value: location.max_value as u64,
        host: &HOST,
        listener: ptr::null_mut(),
    }
}

/// What an engine's answer is to the core. What it is not to answer is as if nobody knew.
pub(super) fn checked(status: kvreg_status) -> Result<(), Error> {
    let is = |one: Status| status == one as kvreg_status;
    if is(Status::Ok) {
        return Ok(());
    }
    Err(if is(Status::NotFound) {
        Error::NotFound
    } else if is(Status::Timeout) {
        Error::Timeout
    } else if is(Status::InvalidArgument) {
        Error::InvalidArgument(explanation::URL)
    } else if is(Status::Limit) {
        Error::Limit(explanation::ROOM)
    } else if is(Status::NoMemory) {
        Error::NoMemory
    } else if is(Status::Unsupported) {
        Error::Unsupported(explanation::ABILITY)
    } else {
        Error::Io {
            what: explanation::STORE,
            code: explanation::os_error(),
        }
    })
}

/// By the host's clock.
pub(super) fn nanoseconds(deadline: &Deadline) -> i64 {
    match deadline.left() {
        None => i64::MAX,
        Some(left) => clock_ns().saturating_add(left.as_nanos().try_into().unwrap_or(i64::MAX)),
    }
}

impl Engine for Native {
    fn is_shared(&self) -> bool {
        self.0.abilities & abi::SHARED != 0
    }

    fn open(
        &self,
        location: &Location<'_>,
        deadline: Deadline,
        hears: Arc<dyn Hears>,
    ) -> Result<AnyStore, Error> {
        let engine = self.0;
        if self.is_shared() {
            // SAFETY: whole, and what is lent is there meanwhile.
            let opened = unsafe { NativeShared::open(engine, opening(location), &deadline, hears) };
            return Ok(AnyStore::Shared(Arc::new(opened?)));
        }
        let open = engine.open.ok_or(Error::Unsupported("opening a store"))?;
        let mut store = ptr::null_mut();
        // SAFETY: as the header says; what is lent is there meanwhile.
        checked(unsafe { open(&opening(location), nanoseconds(&deadline), &mut store) })?;
        explanation::forget();
        Ok(AnyStore::Exclusive(Box::new(NativeStore { engine, store })))
    }

    fn destroy(&self, location: &Location<'_>, deadline: &Deadline) -> Result<(), Error> {
        let destroy = self.0.destroy;
        let destroy = destroy.ok_or(Error::Unsupported("erasing a store"))?;
        // SAFETY: as the header says; what is lent is there meanwhile.
        checked(unsafe { destroy(&opening(location), nanoseconds(deadline)) })
    }
}

impl Store for NativeStore {
    fn load(&self, into: &mut dyn Loading) -> Result<(), Error> {
        let scan = self
            .engine
            .scan
            .ok_or(Error::Unsupported("reading a store"))?;
        let mut last = 0;
        let mut take = |loaded: Loaded<'_>| into.entry(loaded);
        let mut scanned = Scanned::new(&mut take);
        scanned.last = Some(&mut last);
        // SAFETY: as the header says; `out` is what `found` expects.
        let status = unsafe {
            scan(
                self.store,
                &kvreg_scan_options::ALL,
                i64::MAX,
                scanned.out(),
            )
        };
        scanned.ended(|| checked(status))?;
        into.used_up_to(last);
        Ok(())
    }

    fn write(&self, changes: &[Written<'_>]) -> Result<(), Error> {
        let write = self.engine.write.ok_or(Error::Unsupported("writing"))?;
        let mut writes = Vec::new();
        memory::reserve(&mut writes, changes.len())?;
        writes.extend(changes.iter().map(written));
        // SAFETY: as the header says; the changes are there meanwhile.
        checked(unsafe { write(self.store, writes.as_ptr(), writes.len(), i64::MAX, &mut 0) })
    }
}

impl Drop for NativeStore {
    fn drop(&mut self) {
        if let Some(close) = self.engine.close {
            // SAFETY: opened by this engine, and closed once.
            unsafe { close(self.store) };
        }
    }
}

fn written(change: &Written<'_>) -> Write {
    let none = Write {
        size: size_of::<Write>() as u32,
        kind: abi::CLEAR,
        key: text_of(""),
        value: kvreg_value::NIL,
        revision: 0,
        expires_ms: abi::NEVER,
        expected: abi::ANY,
    };
    match *change {
        Written::Put {
            key,
            value,
            revision,
            expires,
        } => Write {
            kind: abi::PUT,
            key: bytes_of(key),
            value: lent(value),
            revision,
            expires_ms: expires.unwrap_or(abi::NEVER),
            ..none
        },
        Written::Delete { key, revision } => Write {
            kind: abi::DELETE,
            key: bytes_of(key),
            revision,
            ..none
        },
        Written::Clear { revision } => Write { revision, ..none },
    }
}

/// A view of a value that stays where it is.
pub(super) fn lent(value: ValueRef<'_>) -> kvreg_value {
    match value {
        ValueRef::String(text) => kvreg_value::string(text.as_ptr(), text.len()),
        ValueRef::Bytes(bytes) => kvreg_value::bytes(bytes.as_ptr(), bytes.len()),
        scalar => kvreg_value::of_scalar(scalar),
    }
}

/// Where an engine hands over what it has found.
pub(super) struct Scanned<'a> {
    take: Found<'a>,
    /// The last revision that it tells by itself.
    last: Option<&'a mut u64>,
    /// Why the rest is not wanted.
    refused: Option<Error>,
}

impl<'a> Scanned<'a> {
    pub(super) fn new(take: Found<'a>) -> Scanned<'a> {
        Scanned {
            take,
            last: None,
            refused: None,
        }
    }

    /// What the engine is given for it.
    pub(super) fn out(&mut self) -> *mut c_void {
        ptr::from_mut(self).cast()
    }

    /// What came of it: what was refused here, or else what the engine answered.
    pub(super) fn ended(self, answered: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
        match self.refused {
            Some(refused) => Err(refused),
            None => answered(),
        }
    }

    fn found(&mut self, loaded: Result<Loaded<'_>, Failure>) -> kvreg_status {
        let taken = match loaded {
            Ok(loaded) => (self.take)(loaded),
            Err(_) => Err(Error::Io {
                what: "a store that tells what is no entry",
                code: None,
            }),
        };
        match taken {
            Ok(()) => Status::Ok as kvreg_status,
            Err(refused) => {
                let status = Failure::from(refused.clone()).status();
                self.refused = Some(refused);
                status as kvreg_status
            }
        }
    }
}

/// # Safety
/// As the header says.
unsafe fn loaded<'a>(entry: *const Entry) -> Result<Loaded<'a>, Failure> {
    // SAFETY: by contract.
    unsafe {
        let entry = entry.as_ref().ok_or_else(|| argument::invalid("NULL"))?;
        if (entry.size as usize) < size_of::<Entry>() {
            return Err(argument::invalid("the size of an entry is not set"));
        }
        entry_of(&entry.key, &entry.value, entry.revision, entry.expires_ms)
    }
}

/// # Safety
/// What key and value lend is there as long as the answer is used.
pub(super) unsafe fn entry_of<'a>(
    key: &Text,
    value: &'a kvreg_value,
    revision: u64,
    expires_ms: i64,
) -> Result<Loaded<'a>, Failure> {
    // SAFETY: by contract.
    let key = unsafe { argument::bytes(key.data.cast(), key.len) }?;
    if key.len() > KEY_LIMIT {
        return Err(argument::invalid("a key has at most 65536 bytes"));
    }
    Ok(Loaded {
        key,
        // SAFETY: by contract.
        value: unsafe { value.get() }?,
        revision,
        expires: (expires_ms != abi::NEVER).then_some(expires_ms),
    })
}

unsafe extern "C" fn found(out: *mut c_void, entry: *const Entry) -> kvreg_status {
    // SAFETY: from who scans, and waits for it; the entry by contract.
    let (scanned, loaded) = unsafe { (&mut *out.cast::<Scanned<'_>>(), loaded(entry)) };
    scanned.found(loaded)
}

unsafe extern "C" fn last_revision(out: *mut c_void, revision: u64) -> kvreg_status {
    // SAFETY: from who scans, and waits for it.
    let scanned = unsafe { &mut *out.cast::<Scanned<'_>>() };
    if let Some(last) = &mut scanned.last {
        **last = revision.max(**last);
    }
    Status::Ok as kvreg_status
}

unsafe extern "C" fn explain(text: *const c_char, len: usize, os_error: i32) {
    // SAFETY: by contract.
    let text = unsafe { argument::text(text, len) };
    explanation::keep(text.unwrap_or("its engine says what is no text"), os_error);
}

extern "C" fn clock_ns() -> i64 {
    static BEGINNING: OnceLock<Instant> = OnceLock::new();
    let since = BEGINNING.get_or_init(Instant::now).elapsed();
    since.as_nanos().try_into().unwrap_or(i64::MAX)
}
