//! A shared store of an engine in C, as the core knows one.
//!
//! # The argument
//!
//! The store's address came from `open`, and is given up by `close`, when the last who had it lets go
//! of it: so nobody is in a function of it then. Who hears what it tells is a count in a box, whose
//! address the engine has from before `open` until after `close`, or `unwatch`, and which stays where
//! it is meanwhile. A change that was sent has a box too: it is the engine's until `done`, which
//! comes once.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use super::abi::{self, kvreg_engine, Event, Open, Write};
use super::adapter::{bytes_of, entry_of, lent, nanoseconds, Scanned};
use super::explanation;
use crate::capi::scan::kvreg_scan_options;
use crate::capi::status::{kvreg_status, Status};
use crate::capi::value::kvreg_value;
use crate::error::Error;
use crate::memory;
use crate::store::{Abilities, Hears, Loaded, News, Sent, SharedChange, SharedStore, Which};
use crate::time::Deadline;

/// What an engine has the address of.
pub(super) type Ear = Box<Arc<dyn Hears>>;

pub(super) fn address(ear: &Ear) -> *mut c_void {
    ptr::from_ref::<Arc<dyn Hears>>(ear).cast_mut().cast()
}

/// An engine's answer about a shared store: none of them ends the bucket.
fn checked(status: kvreg_status) -> Result<(), Error> {
    match Status::from_number(status) {
        _ if status == Status::Ok as kvreg_status => Ok(()),
        Some(Status::Conflict) => Err(Error::Conflict),
        Some(Status::OutcomeUnknown) => Err(Error::OutcomeUnknown),
        _ => super::adapter::checked(status),
    }
}

/// As `checked`, of a change: of what an engine is not to answer nobody knows whether it was made.
fn checked_change(status: kvreg_status) -> Result<(), Error> {
    let is_told = matches!(
        Status::from_number(status),
        Some(
            Status::Timeout
                | Status::OutcomeUnknown
                | Status::Conflict
                | Status::Limit
                | Status::InvalidArgument
                | Status::Unsupported
                | Status::NoMemory
                | Status::Io
        )
    );
    match is_told || status == Status::Ok as kvreg_status {
        true => checked(status),
        false => Err(Error::OutcomeUnknown),
    }
}

pub(super) struct NativeShared {
    engine: kvreg_engine,
    store: *mut c_void,
    /// After `close` nobody knows it any more.
    _ear: Ear,
}

// SAFETY: engines are called by any thread, many at once, as the header says.
unsafe impl Send for NativeShared {}
// SAFETY: as above.
unsafe impl Sync for NativeShared {}

impl NativeShared {
    /// Opens one.
    ///
    /// # Safety
    /// `opening` is whole, but for its listener, and what it lends is there meanwhile.
    pub(super) unsafe fn open(
        engine: kvreg_engine,
        mut opening: Open,
        deadline: &Deadline,
        hears: Arc<dyn Hears>,
    ) -> Result<NativeShared, Error> {
        let open = engine.open.ok_or(Error::Unsupported("opening a store"))?;
        let ear: Ear = Box::new(hears);
        opening.listener = address(&ear);
        let mut store = ptr::null_mut();
        // SAFETY: as the header says.
        checked(unsafe { open(&opening, nanoseconds(deadline), &mut store) })?;
        explanation::forget();
        Ok(NativeShared {
            engine,
            store,
            _ear: ear,
        })
    }
}

impl Drop for NativeShared {
    fn drop(&mut self) {
        if let Some(close) = self.engine.close {
            // SAFETY: opened by this engine, and closed once.
            unsafe { close(self.store) };
        }
    }
}

fn written(change: &SharedChange<'_>) -> Write {
    Write {
        size: size_of::<Write>() as u32,
        kind: match change.value {
            Some(_) => abi::PUT,
            None => abi::DELETE,
        },
        key: bytes_of(change.key),
        value: change.value.map_or(kvreg_value::NIL, lent),
        revision: 0,
        expires_ms: change.expires.unwrap_or(abi::NEVER),
        expected: change.expected.unwrap_or(abi::ANY),
    }
}

impl SharedStore for NativeShared {
    fn get(
        &self,
        key: &[u8],
        deadline: &Deadline,
        found: &mut dyn FnMut(Loaded<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let get = self.engine.get.ok_or(Error::Unsupported("reading a key"))?;
        let key = bytes_of(key);
        let mut scanned = Scanned::new(found);
        // SAFETY: as the header says; `out` is what `found` expects.
        let status = unsafe { get(self.store, &key, nanoseconds(deadline), scanned.out()) };
        scanned.ended(|| checked(status))
    }

    fn write(&self, changes: &[SharedChange<'_>], deadline: &Deadline) -> Result<u64, Error> {
        let write = self.engine.write.ok_or(Error::Unsupported("writing"))?;
        let mut writes = Vec::new();
        memory::reserve(&mut writes, changes.len())?;
        writes.extend(changes.iter().map(written));
        let (mut revision, deadline) = (0, nanoseconds(deadline));
        // SAFETY: as the header says; the changes are there meanwhile.
        checked_change(unsafe {
            write(
                self.store,
                writes.as_ptr(),
                writes.len(),
                deadline,
                &mut revision,
            )
        })?;
        Ok(revision)
    }

    fn send(
        &self,
        change: &SharedChange<'_>,
        deadline: &Deadline,
        then: Arc<dyn Sent>,
    ) -> Result<(), Error> {
        let send = self.engine.send.ok_or(Error::Unsupported("sending"))?;
        let sent = Box::into_raw(Box::new(then));
        let write = written(change);
        // SAFETY: as the header says; the change is there meanwhile.
        let status = unsafe { send(self.store, &write, 1, nanoseconds(deadline), sent.cast()) };
        checked_change(status).inspect_err(|_| {
            // SAFETY: it was not taken, and so there will be no `done`.
            drop(unsafe { Box::from_raw(sent) });
        })
    }

    fn scan(
        &self,
        which: &Which<'_>,
        deadline: &Deadline,
        found: &mut dyn FnMut(Loaded<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let scan = self.engine.scan.ok_or(Error::Unsupported("scanning"))?;
        let which = kvreg_scan_options::of(which);
        let mut scanned = Scanned::new(found);
        // SAFETY: as the header says; `out` is what `found` expects.
        let status = unsafe { scan(self.store, &which, nanoseconds(deadline), scanned.out()) };
        scanned.ended(|| checked(status))
    }

    fn count(&self, deadline: &Deadline) -> Result<(u64, u64), Error> {
        let count = self.engine.count.ok_or(Error::Unsupported("counting"))?;
        let (mut keys, mut revision) = (0, 0);
        // SAFETY: as the header says.
        let status = unsafe { count(self.store, nanoseconds(deadline), &mut keys, &mut revision) };
        checked(status)?;
        Ok((keys, revision))
    }

    fn watch(self: Arc<Self>, hears: Arc<dyn Hears>) -> Result<Box<dyn Send + Sync>, Error> {
        let watch = self.engine.watch.ok_or(Error::Unsupported("watching"))?;
        let ear: Ear = Box::new(hears);
        let mut begun = ptr::null_mut();
        // SAFETY: as the header says; the ear is there until `unwatch` returned.
        checked(unsafe { watch(self.store, address(&ear), &mut begun) })?;
        Ok(Box::new(NativeWatch {
            watch: begun,
            store: self,
            _ear: ear,
        }))
    }

    fn interrupt(&self) {
        if let Some(interrupt) = self.engine.interrupt {
            // SAFETY: as the header says.
            unsafe { interrupt(self.store) };
        }
    }

    fn can(&self) -> Abilities {
        let mut bits = self.engine.abilities;
        if let Some(abilities_of) = self.engine.abilities_of {
            // SAFETY: as the header says.
            bits &= unsafe { abilities_of(self.store) };
        }
        Abilities {
            batches: bits & abi::BATCHES != 0,
            ttl: bits & abi::TTL != 0,
        }
    }
}

/// A watch of a store, until it is dropped; before the store is closed.
struct NativeWatch {
    watch: *mut c_void,
    store: Arc<NativeShared>,
    /// After `unwatch` nobody knows it any more.
    _ear: Ear,
}

// SAFETY: as of the store.
unsafe impl Send for NativeWatch {}
// SAFETY: as above.
unsafe impl Sync for NativeWatch {}

impl Drop for NativeWatch {
    fn drop(&mut self) {
        if let Some(unwatch) = self.store.engine.unwatch {
            // SAFETY: begun by this engine, and ended once.
            unsafe { unwatch(self.watch) };
        }
    }
}

/// The host's `done`.
pub(super) unsafe extern "C" fn done(sent: *mut c_void, status: kvreg_status, revision: u64) {
    // SAFETY: from `send`, and told once.
    let then = unsafe { Box::from_raw(sent.cast::<Arc<dyn Sent>>()) };
    then.ended(checked_change(status).map(|()| revision));
}

/// The host's `tell`.
pub(super) unsafe extern "C" fn tell(told: *mut c_void, event: *const Event) {
    // SAFETY: by contract: an ear that is there yet, and an event that is there meanwhile.
    unsafe {
        let (Some(ear), Some(event)) = (told.cast::<Arc<dyn Hears>>().as_ref(), event.as_ref())
        else {
            return;
        };
        ear.hear(news(event));
    }
}

/// # Safety
/// What the event lends is there as long as the answer is used.
unsafe fn news(event: &Event) -> News<'_> {
    if (event.size as usize) < size_of::<Event>() {
        return News::Unreadable;
    }
    // SAFETY: by contract.
    let loaded = || unsafe { entry_of(&event.key, &event.value, event.revision, event.expires_ms) };
    match event.kind {
        abi::TOLD_PUT => loaded().map_or(News::Unreadable, News::Put),
        abi::TOLD_DELETE | abi::TOLD_EXPIRE => match loaded() {
            Err(_) => News::Unreadable,
            Ok(loaded) => News::Gone {
                key: loaded.key,
                revision: event.revision,
                is_expired: event.kind == abi::TOLD_EXPIRE,
            },
        },
        abi::TOLD_RESET => News::Reset,
        abi::TOLD_CURRENT => News::Current(event.revision),
        abi::TOLD_UP => News::Reach { is_away: false },
        abi::TOLD_AWAY => News::Reach { is_away: true },
        abi::TOLD_DELETED => News::Deleted,
        _ => News::Unreadable,
    }
}
