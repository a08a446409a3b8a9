//! Open updates: what stands between `kvreg_bucket_update_begin` and `kvreg_update_end`.
//!
//! # The argument
//!
//! A bucket has one turn, so at most one update of it is open. What holds it is made once for each
//! bucket, with a slot of the handle table, and used again by each update under a new token.
//!
//! Who begins an update has the turn, and so is alone: it puts the update in, and then publishes
//! the token. Who ends it (by the handle, as its thread ends, or at `kvreg_shutdown`) takes the
//! token out of the table first, which one of them does, once; then the update is that one's, and
//! nobody looks here before it has given the turn back. So the cell is looked at by one thread at
//! a time. The token's swap, and the turn's, order one after the other.
//!
//! Nobody finds this by a token without taking the token out: so it need not wait for readers when
//! its bucket goes. A bucket with an open update does not go: the update has its turn, and this has a
//! count of it until the bucket has ended and its turn is free.

use std::any::Any;
use std::cell::UnsafeCell;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::sync::Arc;

use super::kinds::kvreg_update;
use super::object::{is_inherited, is_inherited_handle, missing, token};
use super::status::{Failure, Status};
use crate::bucket::{BucketServer, Deciding, Decision, Keyed, OpenUpdate};
use crate::error::Error;
use crate::handle_table::{Invalid, Kind, Removed, RemovedSlot};
use crate::process::Process;
use crate::reclaim;
use crate::runtime::platform;
use crate::server::{forget_ticket, hold_ticket, Front, Tickets};
use crate::store;
use crate::sync::{lock, raw_arc, Mutex};

/// Keys up to so many bytes lie in the holder itself.
pub(super) const SHORT: usize = 31;

/// The key of an open update. The bytes of a short one lie in words, the length in the last byte:
/// so it is moved word by word. Bytes at odd places would be moved by pieces that overlap, and a
/// processor waits for the one before each time.
pub(super) enum Key {
    Short([u64; 4]),
    Long(Box<[u8]>),
}

impl Key {
    /// Of one that has no more than `SHORT` bytes.
    #[inline(always)]
    pub(super) fn short(key: &[u8]) -> Key {
        let mut short = [0; SHORT + 1];
        short[..key.len()].copy_from_slice(key);
        short[SHORT] = key.len() as u8;
        // SAFETY: of one size, and any bytes are words.
        Key::Short(unsafe { std::mem::transmute::<[u8; 32], [u64; 4]>(short) })
    }

    pub(super) fn new(key: &[u8]) -> Result<Key, Error> {
        match key.len() <= SHORT {
            true => Ok(Key::short(key)),
            false => crate::bucket::copy_key(key).map(Key::Long),
        }
    }
}

impl Keyed for Key {
    #[inline(always)]
    fn key(&self) -> store::Key<'_> {
        store::Key::new(match self {
            Key::Short(words) => {
                // SAFETY: as in `short`; lent as long as the words.
                let bytes = unsafe { &*words.as_ptr().cast::<[u8; SHORT + 1]>() };
                &bytes[..usize::from(bytes[SHORT])]
            }
            Key::Long(key) => key,
        })
    }
}

/// Holds the open update of a bucket.
pub(super) struct Begun {
    process: &'static Process,
    inner: UnsafeCell<Inner>,
    /// Who updates the bucket needs no count of it: it keeps itself until it is vacated.
    kept: Mutex<Option<Arc<BucketServer>>>,
}

struct Inner {
    /// None once its handles are used up.
    slot: Option<RemovedSlot>,
    /// There is one as long as a token is published, or who took that out has not ended it. It is
    /// made here and used here, for it is large.
    update: MaybeUninit<OpenUpdate<Key>>,
}

// SAFETY: see the module: one thread at a time looks at the cell.
unsafe impl Send for Begun {}
// SAFETY: as above.
unsafe impl Sync for Begun {}

impl Front for Begun {
    fn vacated(&self) {
        if let Some(kept) = lock(&self.kept).take() {
            // Perhaps its last count, and who calls this looks at it.
            let pinned = reclaim::pin();
            pinned.defer(move || drop(kept));
            pinned.count(size_of::<BucketServer>());
        }
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// Has a bucket keep itself while it is updated, from now on. The calling thread has its turn.
#[inline(always)]
pub(super) fn keep(bucket: &Arc<BucketServer>) -> &Arc<dyn Front> {
    bucket.front().unwrap_or_else(|| Begun::make(bucket))
}

impl Begun {
    /// That of a bucket, made if it has none.
    #[inline(always)]
    fn of(bucket: &Arc<BucketServer>) -> Result<&Begun, Failure> {
        let front = keep(bucket).as_any();
        front.downcast_ref().ok_or(Status::Internal.into())
    }

    #[cold]
    fn make(bucket: &Arc<BucketServer>) -> &Arc<dyn Front> {
        let begun = Arc::new(Begun {
            process: Process::current(),
            inner: UnsafeCell::new(Inner {
                slot: None,
                update: MaybeUninit::uninit(),
            }),
            kept: Mutex::new(Some(Arc::clone(bucket))),
        });
        // SAFETY: `kept` is its count.
        unsafe { bucket.set_front(begun) }
    }

    /// Keeps an update open, and makes its handle; drops it if that cannot be done. `own` makes the
    /// key that is kept.
    #[inline(always)]
    pub(super) fn open<K: Keyed>(
        deciding: Deciding<K>,
        own: impl FnOnce(K) -> Key,
    ) -> Result<*mut kvreg_update, Failure> {
        let bucket = deciding.decision().bucket();
        let begun: *const Begun = Begun::of(bucket)?;
        // SAFETY: the bucket keeps it, and the update the bucket.
        let begun = unsafe { &*begun };
        let process = begun.process;
        let token = begun.announce(bucket)?;
        // SAFETY: the update has the turn, and its token is not published.
        unsafe { (*begun.inner.get()).update.write(deciding.open(own)) };
        process.handles().publish(token);
        // Either `shutdown` sees this handle and ends it, or this thread sees the shutdown.
        reclaim::light();
        if process.is_shut_down() {
            drop(take_by(process, token));
            return Err(Status::ShutDown.into());
        }
        Ok(std::ptr::without_provenance_mut(token as usize))
    }

    /// Makes a token for an update of the calling thread's, which is to be put in and then published.
    #[inline(always)]
    fn announce(&self, bucket: &BucketServer) -> Result<u64, Failure> {
        let handles = self.process.handles();
        // SAFETY: the caller has the update, and so the turn.
        let inner = unsafe { &mut *self.inner.get() };
        let slot = match inner.slot.take() {
            Some(slot) => slot,
            None => Begun::reserve(bucket)?,
        };
        let token = handles.next(Kind::Update, inner.slot.insert(slot));
        hold_ticket(&OpenUpdates, token)?;
        Ok(token)
    }

    /// The bucket keeps what the slot leads to.
    #[cold]
    fn reserve(bucket: &BucketServer) -> Result<RemovedSlot, Failure> {
        let front = bucket.front().cloned().map(Front::into_any);
        match front.map(Arc::downcast::<Begun>) {
            Some(Ok(begun)) => Ok(begun.process.handles().reserve(raw_arc::pointer(&begun))?),
            _ => Err(Status::Internal.into()),
        }
    }

    /// For who has just taken the token out of the table.
    #[inline(always)]
    fn forget_used_up(&self, slot: &RemovedSlot) {
        if self.process.handles().is_used_up(slot) {
            // SAFETY: this thread took the token out.
            unsafe { (*self.inner.get()).slot = None };
        }
    }
}

/// An update that was taken out to be ended, where it lies. Dropped, it is over.
pub(super) struct Ending(*const Begun);

impl Ending {
    fn place(&self) -> *mut OpenUpdate<Key> {
        // SAFETY: it is there as long as the update has the turn. A field's address alone.
        unsafe { (&raw mut (*(*self.0).inner.get()).update).cast() }
    }

    #[inline(always)]
    pub(super) fn decision(&self) -> Decision<'_> {
        // SAFETY: it is there until this is dropped, and nobody else looks.
        unsafe { &*self.place() }.decision()
    }

    /// As a value of its own.
    pub(super) fn into_update(self) -> OpenUpdate<Key> {
        // SAFETY: taken out once.
        unsafe { ManuallyDrop::new(self).place().read() }
    }
}

impl Drop for Ending {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: nobody looks at it any more. What is there is another's once the turn is given back.
        drop(unsafe { OpenUpdate::take_turn(self.place()) });
    }
}

/// Takes out the update of a token.
#[inline(always)]
fn end_by(process: &'static Process, token: u64) -> Result<Ending, Invalid> {
    let removed = process.handles().remove(token, Kind::Update)?;
    forget_ticket(token);
    Ok(ending(&removed))
}

fn take_by(process: &'static Process, token: u64) -> Result<OpenUpdate<Key>, Invalid> {
    end_by(process, token).map(Ending::into_update)
}

/// What a handle stood for that was just taken out of the table.
#[inline(always)]
fn ending(removed: &Removed) -> Ending {
    // SAFETY: slots of this kind are reserved for these, by `reserve`; and it is still there, for its
    // update has the turn of the bucket that keeps it.
    let begun = unsafe { raw_arc::kept::<Begun>(removed.object) };
    begun.forget_used_up(&removed.slot);
    Ending(Arc::as_ptr(&begun))
}

/// As `ending`, as a value of its own.
pub(super) fn taken(removed: &Removed) -> OpenUpdate<Key> {
    ending(removed).into_update()
}

/// Takes the update of a handle out to be ended, by the short way: `None` if there is none.
#[inline(always)]
pub(super) fn fast_take(handle: *mut kvreg_update) -> Option<Ending> {
    if platform::is_ending() {
        return None;
    }
    end_by(Process::if_any()?, token(handle)).ok()
}

/// Takes the update of a handle out to be ended.
pub(super) fn take(handle: *mut kvreg_update) -> Result<OpenUpdate<Key>, Failure> {
    if platform::is_ending() {
        return Err(Status::ShutDown.into());
    }
    let token = token(handle);
    let process = Process::if_any().ok_or_else(|| missing(token, Invalid::Bad))?;
    take_by(process, token).map_err(|invalid| missing(token, invalid))
}

/// Ends the update of a handle with nothing changed. NULL is fine, and after `shutdown` every
/// handle is.
pub(super) fn free(handle: *mut kvreg_update) -> Result<(), Failure> {
    if handle.is_null() || platform::is_ending() {
        return Ok(());
    }
    let token = token(handle);
    if is_inherited_handle(token) {
        return Ok(()); // the parent's, and none of the child's business
    }
    match take(handle) {
        Ok(update) => {
            drop(update);
            Ok(())
        }
        Err(_) if Process::if_any().is_some_and(Process::is_shut_down) => Ok(()),
        Err(_) if is_inherited(token) => Ok(()),
        Err(failure) => Err(failure),
    }
}

/// As a thread knows those that it has begun: by their handles, which go with them.
struct OpenUpdates;

impl Tickets for OpenUpdates {
    fn is_open(&self, ticket: u64) -> bool {
        Process::if_any().is_some_and(|process| process.handles().knows(ticket))
    }

    fn abort(&self, ticket: u64) {
        if let Some(process) = Process::if_any() {
            drop(take_by(process, ticket));
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let slot = self.inner.get_mut().slot.take();
        // A forked child leaves the parent's alone.
        if let (Some(slot), true) = (slot, self.process.system().is_current()) {
            self.process.handles().give_back(slot);
        }
    }
}
