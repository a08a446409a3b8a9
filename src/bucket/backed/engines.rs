//! The engines of a process, by the schemes of their URLs, and which stores are open.
//!
//! Engines are those of the program, and so of its forked children too: they are in places that no
//! lock guards, and are never given up. Which stores are open is each process's own.

use std::collections::BTreeSet;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use crate::error::Error;
use crate::store::{AnyStore, Engine, Hears, Location};
use crate::sync::lock;
use crate::time::Deadline;

/// Those that come with kvreg, as files of their own, and what is said where one is not there.
const OWN: [(&str, &str); 2] = [
    (
        "file",
        "the engine of file: URLs is not there: install libkvreg_file beside kvreg's library",
    ),
    (
        "nats",
        "the engine of nats: URLs is not there: install libkvreg_nats beside kvreg's library",
    ),
];

/// Finds the engine of a scheme that nobody registered, and registers it: the boundary's. What it
/// refuses is told; that there is none is no error.
pub(crate) type Loader = fn(scheme: &str) -> Result<(), Error>;

static LOADER: AtomicPtr<Loader> = AtomicPtr::new(ptr::null_mut());

/// An engine, and its scheme.
struct Known {
    scheme: Box<str>,
    engine: Box<dyn Engine>,
}

/// So many engines a process can have.
const MOST: usize = 16;

static KNOWN: [AtomicPtr<Known>; MOST] = [const { AtomicPtr::new(ptr::null_mut()) }; MOST];

fn known_at(place: &AtomicPtr<Known>) -> Option<&'static Known> {
    // SAFETY: null, or leaked by `register`.
    unsafe { place.load(Ordering::Acquire).as_ref() }
}

#[derive(Default)]
pub(crate) struct Engines {
    open: Mutex<BTreeSet<OpenStore>>,
    closed: Condvar,
}

/// By the registry, the URL and the bucket.
type OpenStore = (u64, Box<str>, Box<str>);

fn scheme_of(url: &str) -> Result<&str, Error> {
    let (scheme, _) = url.split_once(':').unwrap_or_default();
    let is_one = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    match !(1..=SCHEME_LIMIT).contains(&scheme.len()) || !scheme.bytes().all(is_one) {
        true => Err(Error::InvalidArgument(
            "a store is named by a URL: scheme:…",
        )),
        false => Ok(scheme),
    }
}

impl Engines {
    /// From here on this engine opens the URLs of this scheme; refused if there is one already.
    pub(crate) fn register(scheme: &str, engine: Box<dyn Engine>) -> Result<(), Error> {
        if scheme_of(&format!("{scheme}:"))? != scheme {
            return Err(Error::InvalidArgument(
                "a scheme has 1 to 15 of a-z, 0-9 and -",
            ));
        }
        let scheme = scheme.into();
        let known = Box::into_raw(Box::new(Known { scheme, engine }));
        for place in &KNOWN {
            let (null, set, seen) = (ptr::null_mut(), Ordering::AcqRel, Ordering::Acquire);
            if place.compare_exchange(null, known, set, seen).is_ok() {
                return Ok(());
            }
            // SAFETY: it is this thread's alone as long as it has no place.
            if known_at(place).is_some_and(|it| it.scheme == unsafe { &*known }.scheme) {
                // SAFETY: as above, and given up once.
                drop(unsafe { Box::from_raw(known) });
                return Err(Error::AlreadyStarted);
            }
        }
        // SAFETY: as above.
        drop(unsafe { Box::from_raw(known) });
        Err(Error::Limit("engines of a process"))
    }

    pub(crate) fn set_loader(loader: &'static Loader) {
        LOADER.store(ptr::from_ref(loader).cast_mut(), Ordering::Release);
    }

    fn known(scheme: &str) -> Option<&'static dyn Engine> {
        let known = KNOWN.iter().map_while(known_at);
        let found = known.into_iter().find(|it| *it.scheme == *scheme)?;
        Some(&*found.engine)
    }

    /// The engine of a URL, which is loaded if it lies beside kvreg's own library.
    fn of(url: &str) -> Result<&'static dyn Engine, Error> {
        let scheme = scheme_of(url)?;
        if let Some(engine) = Engines::known(scheme) {
            return Ok(engine);
        }
        // SAFETY: null, or static.
        if let Some(load) = unsafe { LOADER.load(Ordering::Acquire).as_ref() } {
            load(scheme)?;
        }
        let own = OWN.iter().find(|(own, _)| *own == scheme);
        Engines::known(scheme).ok_or(match own {
            Some((_, missing)) => Error::Unsupported(missing),
            None => Error::InvalidArgument("no engine has this scheme"),
        })
    }

    /// Whether the stores of a URL are changed by others too.
    pub(crate) fn is_shared(url: &str) -> Result<bool, Error> {
        Engines::of(url).map(|engine| engine.is_shared())
    }

    /// Opens a store that no other process of the bucket has open: that is waited for.
    pub(crate) fn open(
        &'static self,
        location: &Location<'_>,
        deadline: Deadline,
        hears: Arc<dyn Hears>,
    ) -> Result<OpenedStore, Error> {
        let engine = Engines::of(location.url)?;
        let claimed = self.claim(location, &deadline)?;
        let store = engine.open(location, deadline, hears)?;
        Ok(OpenedStore { store, claimed })
    }

    /// Erases what a store keeps of a bucket.
    pub(crate) fn destroy(
        &'static self,
        location: &Location<'_>,
        deadline: &Deadline,
    ) -> Result<(), Error> {
        let engine = Engines::of(location.url)?;
        let _claimed = self.claim(location, deadline)?;
        engine.destroy(location, deadline)
    }

    fn claim(
        &'static self,
        location: &Location<'_>,
        deadline: &Deadline,
    ) -> Result<Claimed, Error> {
        let wanted: OpenStore = (location.owner, location.url.into(), location.bucket.into());
        let mut open = lock(&self.open);
        while !open.insert(wanted.clone()) {
            open = match deadline.left() {
                None => self.closed.wait(open).unwrap_or_else(|it| it.into_inner()),
                Some(left) if left.is_zero() => return Err(Error::Timeout),
                Some(left) => {
                    let waited = self.closed.wait_timeout(open, left);
                    waited.unwrap_or_else(|it| it.into_inner()).0
                }
            };
        }
        Ok(Claimed(self, wanted))
    }
}

/// The longest scheme, in bytes.
const SCHEME_LIMIT: usize = 15;

/// What nobody else opens meanwhile.
struct Claimed(&'static Engines, OpenStore);

impl Drop for Claimed {
    fn drop(&mut self) {
        lock(&self.0.open).remove(&self.1);
        self.0.closed.notify_all();
    }
}

/// A store that is open until it is dropped.
pub(crate) struct OpenedStore {
    pub(crate) store: AnyStore,
    claimed: Claimed,
}

impl OpenedStore {
    /// Closes the store and erases what it keeps, before another can open it.
    pub(crate) fn destroy(self, location: &Location<'_>, deadline: &Deadline) -> Result<(), Error> {
        let OpenedStore { store, claimed } = self;
        drop(store);
        let destroyed = Engines::of(location.url).and_then(|it| it.destroy(location, deadline));
        drop(claimed);
        destroyed
    }

    /// Of a parent: nothing of it is touched.
    pub(crate) fn forget(self) {
        std::mem::forget(self.store);
        std::mem::forget(self.claimed);
    }
}
